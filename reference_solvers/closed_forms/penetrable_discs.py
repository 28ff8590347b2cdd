"""Closed form: Gaussian sources outside several penetrable discs of other speeds, in the plane; all orders of multiple scattering.

The equation is `Lap u + k^2 m u = amplitude * N(x; at, variance)` in free space, m = 1/c_j^2 inside disc j and 1 outside, for exp(+i w t); H is the
Hankel function of the second kind, k_j = k/c_j, (r_j, t_j) are polar coordinates about the centre of disc j:

    u = (i/4) S F [ H_0(k |x - xs|) + sum_j sum_n B_jn H_n(k r_j) e^{in t_j} ]           outside all discs
    u = (i/4) S F   sum_n c_jn J_n(k_j r_j) e^{in t_j}                                    inside disc j
    A_jn = H_n(k r_s) e^{-in t_s} + sum_{l != j} sum_m B_lm H_{m-n}(k R) e^{i(m-n) T}     what arrives at disc j, as sum A_jn J_n(k r_j) e^{in t_j}
    B_jn = T_jn A_jn,     c_jn = -2i / (pi a_j D_jn) A_jn

with T_jn and D_jn of the single disc (`penetrable_disc`), F = exp(-k^2 s^2/2) for the blob, and (R, T) the way from the centre of disc l to that of
disc j. The sums over m and n are cut where the farthest term is below rounding; the unknowns are B_jn H_n(k a_j), so that nothing overflows.

Reference: Martin (2006), Multiple Scattering, section 4.5; Graf's addition theorem: Abramowitz and Stegun (1964), 9.1.79.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from pinnsiren.errors import ReferenceSolverError

from .hankel import ComplexArray, PointSourceField, point_source

# As for the single disc: tail of the blob inside a disc exp(-7^2/2) = 2e-11.
_CLEARANCE_IN_STD = 7.0
_ROUNDING = 1e-15
# H_{2n}(k R) overflows soon after; discs that need more nearly touch.
_MAX_ORDER = 90
_HUGE, _CUT = 1e290, 1e-9  # values beyond have no room for a factor; what a series that ends below may leave out


@dataclass(frozen=True)
class PenetrableDisc:
    """One disc.

    Attributes:
        centre: physical units.
        radius: of the disc.
        speed: inside, relative to the speed 1 outside.
    """

    centre: tuple[float, float]
    radius: float
    speed: float


@dataclass(frozen=True)
class PenetrableDiscsField:
    """Total fields of several sources among penetrable discs, callable at points: shots first.

    Attributes:
        k: wavenumber outside, real, or complex with Im k <= 0 (waves weighted by a decay in time).
        discs: of other speeds.
        incident: field of each source without the discs.
    """

    k: complex
    discs: tuple[PenetrableDisc, ...]
    incident: tuple[PointSourceField, ...]

    def __call__(self, x: ArrayLike, y: ArrayLike) -> ComplexArray:
        """Fields (n_sources, ...) at points of physical coordinates, broadcast."""
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        points = np.stack([x.ravel(), y.ravel()])
        u = np.zeros((len(self.incident), points.shape[1]), dtype=np.complex128)
        polar = [_polar(points, disc.centre) for disc in self.discs]
        outside = np.all([r >= disc.radius for (r, _), disc in zip(polar, self.discs, strict=True)], axis=0)
        for number, ((r, angle), disc) in enumerate(zip(polar, self.discs, strict=True)):
            inside = r < disc.radius
            u[:, inside] = self._inner[number] @ _inner_waves(self._orders, self.k / disc.speed, r[inside], angle[inside])
            u[:, outside] += self._outer[number] @ _outer_waves(self._orders, self.k, disc.radius, r[outside], angle[outside])
        u *= np.array([0.25j * source.amplitude * source.gaussian_factor for source in self.incident])[:, None]
        for row, source in zip(u, self.incident, strict=True):
            row[outside] += source(*points[:, outside])
        return u.reshape(len(self.incident), *x.shape)

    def squared_slowness(self, x: ArrayLike, y: ArrayLike) -> NDArray[Any]:
        """m at points: 1/speed^2 inside the discs, 1 outside."""
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        m = np.ones(x.shape)
        for disc in self.discs:
            m[np.hypot(x - disc.centre[0], y - disc.centre[1]) < disc.radius] = disc.speed**-2
        return m

    @property
    def order(self) -> int:
        """Order at which the series are cut."""
        return int(self._orders[-1])

    @cached_property
    def _orders(self) -> NDArray[Any]:
        """-N ... N: as many as the discs need by themselves, and as their neighbours and the sources need across the gaps."""
        largest = max(abs(self.k) * disc.radius * max(1, 1 / disc.speed) for disc in self.discs)
        # Terms of a disc fall beyond n = k a like exp(-(n - k a)^(3/2) ...): Wiscombe (1980) for double precision.
        own = largest + 6 * largest ** (1 / 3) + 6
        ratios = [disc.radius / (np.hypot(*np.subtract(disc.centre, source.at))) for disc in self.discs for source in self.incident]
        for disc in self.discs:
            for other in self.discs:
                if other is not disc:
                    ratios.append(disc.radius / (np.hypot(*np.subtract(disc.centre, other.centre)) - other.radius))
        across = np.log(_ROUNDING) / np.log(max(ratios)) + largest
        n = int(np.ceil(max(own, across)))
        if n > _MAX_ORDER:
            raise ReferenceSolverError(
                f"the series of {len(self.discs)} discs needs {n} orders, {_MAX_ORDER} at most: discs nearly touch each other or a source; move "
                f"them apart"
            )
        n = min(n, self._representable(n))
        if max(ratios) ** n > _CUT:
            raise ReferenceSolverError(
                f"the series of {len(self.discs)} discs at k = {self.k:.3g} needs orders beyond the largest number: waves are long for the gaps "
                "between discs that nearly touch; move them apart"
            )
        return np.arange(-n, n + 1)

    def _representable(self, most: int) -> int:
        """Largest order up to `most` whose waves, shifted from disc to disc, are still numbers: long waves have huge ones at high orders."""
        gaps = [np.hypot(*np.subtract(a.centre, b.centre)) for a in self.discs for b in self.discs if a is not b]
        shifted = [np.abs(special.hankel2(2 * np.arange(most + 1), self.k * gap)) for gap in gaps]
        return int(min((np.flatnonzero(np.isfinite(values) & (values < _HUGE))[-1] for values in shifted), default=most))

    @cached_property
    def _arriving(self) -> tuple[ComplexArray, ...]:
        """A_jn per disc, (n_sources, n_orders)."""
        n, count = self._orders, len(self._orders)
        direct = []
        for disc in self.discs:
            r, angle = _polar(np.array([source.at for source in self.incident], dtype=float).T, disc.centre)
            direct.append(special.hankel2(n[None, :], self.k * r[:, None]) * np.exp(-1j * n * angle[:, None]))
        scale = [special.hankel2(n, self.k * disc.radius) for disc in self.discs]
        matrix = np.eye(count * len(self.discs), dtype=complex)
        right = np.concatenate([(self._reflection[j] * scale[j] * direct[j]).T for j in range(len(self.discs))])
        difference, shifts = n[None, :] - n[:, None], {}
        for j, disc in enumerate(self.discs):
            for other_number, other in enumerate(self.discs):
                if other_number == j:
                    continue
                r, angle = _polar(np.array(disc.centre, dtype=float)[:, None], other.centre)
                # What waves of the other disc, by their value at its rim, are here.
                shift = special.hankel2(difference, self.k * r[0]) * np.exp(1j * difference * angle[0])
                shifts[j, other_number] = shift / scale[other_number][None, :]
                rows, columns = slice(j * count, (j + 1) * count), slice(other_number * count, (other_number + 1) * count)
                matrix[rows, columns] = -(self._reflection[j] * scale[j])[:, None] * shifts[j, other_number]
        scaled = np.linalg.solve(matrix, right)
        parts = [scaled[j * count : (j + 1) * count].T for j in range(len(self.discs))]
        # By what comes from all others: to divide by the reflection is 0/0 at the orders of a large disc beside a small one.
        return tuple(direct[j] + sum(parts[i] @ shifts[j, i].T for i in range(len(parts)) if i != j) for j in range(len(parts)))

    @cached_property
    def _denominators(self) -> tuple[ComplexArray, ...]:
        """D_jn."""
        found = []
        for disc in self.discs:
            n, k0, k1, a = self._orders, self.k, self.k / disc.speed, disc.radius
            found.append(k0 * special.h2vp(n, k0 * a) * special.jv(n, k1 * a) - k1 * special.hankel2(n, k0 * a) * special.jvp(n, k1 * a))
        return tuple(found)

    @cached_property
    def _reflection(self) -> tuple[ComplexArray, ...]:
        """T_jn."""
        found = []
        for disc, d in zip(self.discs, self._denominators, strict=True):
            n, k0, k1, a = self._orders, self.k, self.k / disc.speed, disc.radius
            found.append(-(k0 * special.jvp(n, k0 * a) * special.jv(n, k1 * a) - k1 * special.jv(n, k0 * a) * special.jvp(n, k1 * a)) / d)
        return tuple(found)

    @cached_property
    def _outer(self) -> tuple[ComplexArray, ...]:
        """B_jn H_n(k a_j), (n_sources, n_orders)."""
        waves = (special.hankel2(self._orders, self.k * disc.radius) for disc in self.discs)
        return tuple(a * t * h for a, t, h in zip(self._arriving, self._reflection, waves, strict=True))

    @cached_property
    def _inner(self) -> tuple[ComplexArray, ...]:
        """c_jn, (n_sources, n_orders)."""
        return tuple(a * -2j / (np.pi * disc.radius * d) for a, d, disc in zip(self._arriving, self._denominators, self.discs, strict=True))


def _polar(points: NDArray[Any], centre: Sequence[float]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Polar coordinates (n,), (n,) of points (2, n) about a centre."""
    dx, dy = points[0] - centre[0], points[1] - centre[1]
    return np.hypot(dx, dy), np.arctan2(dy, dx)


def _inner_waves(orders: NDArray[Any], k: complex, r: NDArray[Any], angle: NDArray[Any]) -> ComplexArray:
    """J_n(k r) e^{in t}, (n_orders, n_points)."""
    return np.asarray(special.jv(orders[:, None], k * r) * np.exp(1j * orders[:, None] * angle))


def _outer_waves(orders: NDArray[Any], k: complex, radius: float, r: NDArray[Any], angle: NDArray[Any]) -> ComplexArray:
    """H_n(k r)/H_n(k a) e^{in t}, (n_orders, n_points); the ratio is even in n."""
    most = int(orders[-1])
    ratios = np.empty((most + 1, len(r)), dtype=complex)
    # H_{n+1} = 2n/z H_n - H_{n-1} is stable upwards; Hankel functions are dear.
    waves = [special.hankel2(0, k * r), special.hankel2(1, k * r)]
    for n in range(most + 1):
        if n > 1:
            waves = [waves[1], 2 * (n - 1) / (k * r) * waves[1] - waves[0]]
        ratios[n] = waves[min(n, 1)] / special.hankel2(n, k * radius)
    return np.asarray(ratios[np.abs(orders)] * np.exp(1j * orders[:, None] * angle))


def penetrable_discs(
    *,
    k: complex,
    discs: Sequence[PenetrableDisc],
    at: ArrayLike,
    variance: float = 0.0,
    amplitude: complex = 1.0,
) -> PenetrableDiscsField:
    """Fields of Gaussian or point sources outside penetrable discs, `Lap u + k^2 m u = amplitude * N(x; at, variance)`.

    Args:
        k: wavenumber outside the discs, where the speed is 1; complex with Im k <= 0 for waves that were weighted by a decay in time.
        discs: that neither touch each other nor a source (by seven standard deviations).
        at: centres of the sources, (n_sources, 2).
        variance: of the sources, 0 for points.
        amplitude: integral of each source.

    Raises:
        ReferenceSolverError: discs or sources that touch, or a length or speed that is not positive.

    Example:
        >>> disc = PenetrableDisc(centre=(0, 0), radius=0.1, speed=2)
        >>> field = penetrable_discs(k=20, discs=[disc], at=[(-0.35, 0)], variance=1e-4, amplitude=1 + 1j)
        >>> complex(field(0.2, 0.1)[0].round(6))
        (0.018516-0.030886j)
    """
    sources = np.asarray(at, dtype=float)
    if sources.ndim != 2 or sources.shape[1] != 2 or not len(sources) or not np.all(np.isfinite(sources)):
        raise ReferenceSolverError(f"the sources have shape {sources.shape}; expected finite centres (n_sources, 2)")
    for number, disc in enumerate(discs):
        if not (disc.radius > 0 and disc.speed > 0 and complex(k).real >= 0 and abs(k) > 0):
            raise ReferenceSolverError(f"`{disc}` and k = {k}: radius, speed and wavenumber must be positive")
        gap = float(np.min(np.hypot(*(sources - np.asarray(disc.centre, dtype=float)).T))) - disc.radius
        if gap <= _CLEARANCE_IN_STD * np.sqrt(variance):
            raise ReferenceSolverError(
                f"a source is {gap:.3g} away from `{disc}`; expected more than {_CLEARANCE_IN_STD:g} standard deviations of it"
            )
        for other in discs[number + 1 :]:
            if np.hypot(*np.subtract(disc.centre, other.centre)) <= disc.radius + other.radius:
                raise ReferenceSolverError(f"`{disc}` and `{other}` touch; expected discs apart from each other")
    if not discs:
        raise ReferenceSolverError("no disc was given; `point_source` is the field without discs")
    wavenumber = complex(k) if complex(k).imag else complex(k).real
    incident = tuple(point_source(wavenumber, (float(x), float(y)), variance, amplitude) for x, y in sources)
    return PenetrableDiscsField(wavenumber, tuple(discs), incident)
