"""Closed form: a Gaussian source outside a penetrable disc of another speed, in the plane.

The equation is `Lap u + k^2 m u = amplitude * N(x; at, variance)`, m = 1/c^2 with c = `inner_speed` for |x - centre| < radius and
`outer_speed` outside, in free space, for exp(+i w t); H is the Hankel function of the second kind, k0 = k/outer_speed, k1 = k/inner_speed:

    u = (i/4) S F [ H_0(k0 |x - xs|) + sum_n b_n H_n(k0 rs) H_n(k0 r) e^{in(t - ts)} ]     r >= a
    u = (i/4) S F   sum_n c_n H_n(k0 rs) J_n(k1 r) e^{in(t - ts)}                          r <= a
    D_n = k0 H'_n(k0 a) J_n(k1 a) - k1 H_n(k0 a) J'_n(k1 a),      c_n = -2i / (pi a D_n)
    b_n = -[k0 J'_n(k0 a) J_n(k1 a) - k1 J_n(k0 a) J'_n(k1 a)] / D_n

with F = exp(-k0^2 s^2/2) for the blob; the direct wave is exact inside the blob. Every product is formed from ratios such as
H_n(k0 r)/H_n(k0 a) <= 1, so that orders of several hundred neither overflow nor underflow.

Reference: Morse and Feshbach (1953), section 11.2; the form of c_n is the Wronskian J H' - J' H = -2i/(pi z).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from pinnsiren.errors import ReferenceSolverError

from .hankel import ComplexArray, PointSourceField, point_source

# Tail of the blob inside the disc: exp(-7^2/2) = 2e-11.
_CLEARANCE_IN_STD = 7.0
_MAX_ORDER = 5000


@dataclass(frozen=True)
class PenetrableDiscField:
    """Total field of a source outside a penetrable disc, callable at points.

    Attributes:
        incident: field of the source in the outer medium alone.
        centre: centre of the disc.
        radius: of the disc.
        inner_wavenumber: k1 = k/inner_speed, real or with Im <= 0.
    """

    incident: PointSourceField
    centre: tuple[float, float]
    radius: float
    inner_wavenumber: complex

    def __call__(self, x: ArrayLike, y: ArrayLike) -> ComplexArray:
        """Field at points of physical coordinates, broadcast."""
        r, angle, shape = self._polar(x, y)
        u = np.zeros(r.shape, dtype=np.complex128)
        outside = r >= self.radius
        u[outside] = self._series(r[outside], angle[outside], outer=True)
        u[~outside] = self._series(r[~outside], angle[~outside], outer=False)
        source = self.incident
        u *= 0.25j * source.amplitude * source.gaussian_factor
        points = [np.broadcast_to(np.asarray(c, dtype=float), shape).ravel()[outside] for c in (x, y)]
        u[outside] += source(*points)
        return u.reshape(shape)

    def scattered(self, x: ArrayLike, y: ArrayLike) -> ComplexArray:
        """Total minus incident field."""
        return self(x, y) - self.incident(x, y)

    @property
    def order(self) -> int:
        """Order at which the series is cut."""
        return len(self._coefficients[0]) - 1

    def _polar(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any], tuple[int, ...]]:
        dx, dy = np.broadcast_arrays(np.asarray(x, float) - self.centre[0], np.asarray(y, float) - self.centre[1])
        sx, sy = self.incident.at[0] - self.centre[0], self.incident.at[1] - self.centre[1]
        return np.hypot(dx, dy).ravel(), (np.arctan2(dy, dx) - np.arctan2(sy, sx)).ravel(), dx.shape

    def _series(self, r: NDArray[Any], angle: NDArray[Any], *, outer: bool) -> ComplexArray:
        total = np.zeros(r.shape, dtype=np.complex128)
        if not r.size:
            return total
        weights = self._coefficients[0 if outer else 1]
        terms = self._outer_ratios(r) if outer else self._inner_ratios(r)
        for n, (weight, radial) in enumerate(zip(weights, terms, strict=False)):
            total += weight * radial * (2 * np.cos(n * angle) if n else 1)
        return total

    def _outer_ratios(self, r: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Yield H_n(k0 r)/H_n(k0 a), n = 0, 1, ..."""
        k, n = self.incident.k, 0
        here, there = _HankelRatios(k * r), _HankelRatios(np.asarray(k * self.radius))
        ratio = special.hankel2(0, k * r) / special.hankel2(0, k * self.radius)
        while True:
            yield ratio
            n += 1
            ratio = ratio * here.next(n) / there.next(n)

    def _inner_ratios(self, r: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Yield J_n(k1 r), divided by J_n(k1 a) from the order on at which both are evanescent."""
        k, a, first = self.inner_wavenumber, self.radius, self._first_scaled_order
        n = 0
        while n < first:
            yield _bessel(n, k * r)
            n += 1
        # J_n(z) = (z/2)^n/n! 0F1(n + 1, -z^2/4), and n is large against z here: the series is short.
        while True:
            yield (r / a) ** n * _bessel_series(n, k * r) / _bessel_series(n, np.asarray(k * a))
            n += 1

    @cached_property
    def _first_scaled_order(self) -> int:
        """First order at which J_n(k0 a), J_n(k1 a) are both tiny, hence free of zeros and well above their arguments."""
        largest = max(abs(self.incident.k), abs(self.inner_wavenumber)) * self.radius
        n = int(np.ceil(largest)) + 1
        while abs(_bessel(n, largest)) > 1e-60:
            n += 1
        return n

    @cached_property
    def _coefficients(self) -> tuple[ComplexArray, ComplexArray]:
        """Weights of H_n(k0 r)/H_n(k0 a) outside and of the inner functions, n = 0 ... N, cut at 1e-17 of the largest."""
        k0, k1, a = self.incident.k, self.inner_wavenumber, self.radius
        rs = float(np.hypot(self.incident.at[0] - self.centre[0], self.incident.at[1] - self.centre[1]))
        at_source, at_disc = _HankelRatios(np.asarray(k0 * rs)), _HankelRatios(np.asarray(k0 * a))
        source_ratio = complex(special.hankel2(0, k0 * rs) / special.hankel2(0, k0 * a))
        outer: list[complex] = []
        inner: list[complex] = []
        largest, quiet = 0.0, 0
        for n in range(_MAX_ORDER):
            if n:
                source_ratio *= complex(at_source.next(n) / at_disc.next(n))
            direct = n < self._first_scaled_order
            b, c = _direct(n, k0, k1, a) if direct else _scaled(n, k0, k1, a)
            outer.append(b * source_ratio)
            inner.append(c * source_ratio)
            # What the terms contribute at r = a, where they are largest.
            size = max(abs(outer[-1]), abs(inner[-1]) * (abs(_bessel(n, k1 * a)) if direct else 1))
            largest = max(largest, size)
            quiet = quiet + 1 if size < 1e-17 * largest else 0
            if quiet >= 4 and n > max(abs(k0 * rs), abs(k1) * a) * (a / rs):
                return np.array(outer), np.array(inner)
        raise ReferenceSolverError(
            f"the series of the disc of radius {a:g} does not converge in {_MAX_ORDER} orders for a source at distance {rs:g}"
        )


class _HankelRatios:
    """h_n = H_n(z)/H_{n-1}(z) by h_{n+1} = 2n/z - 1/h_n, which is stable upwards."""

    def __init__(self, z: NDArray[Any]) -> None:
        self._z = z
        self._ratio: NDArray[Any] = np.asarray(special.hankel2(1, z) / special.hankel2(0, z))

    def next(self, n: int) -> NDArray[Any]:
        """Return h_n; to be called for n = 1, 2, ... in turn."""
        if n > 1:
            self._ratio = 2 * (n - 1) / self._z - 1 / self._ratio
        return self._ratio


def _bessel(n: int, z: Any) -> Any:
    """J_n(z)."""
    return special.jv(n, z)


def _bessel_series(n: int, z: NDArray[Any]) -> NDArray[Any]:
    """0F1(n + 1, -z^2/4) = n! (2/z)^n J_n(z)."""
    quarter = -(z**2) / 4
    total = np.ones_like(quarter)
    term = np.ones_like(quarter)
    for m in range(1, 200):
        term = term * quarter / (m * (n + m))
        total = total + term
        if np.max(np.abs(term), initial=0.0) < 1e-18:
            break
    return total


def _direct(n: int, k0: complex, k1: complex, a: float) -> tuple[complex, complex]:
    """(b_n H_n(k0 a)^2, c_n H_n(k0 a)) from the Bessel functions themselves."""
    j0, dj0 = _bessel(n, k0 * a), special.jvp(n, k0 * a)
    j1, dj1 = _bessel(n, k1 * a), special.jvp(n, k1 * a)
    h, dh = special.hankel2(n, k0 * a), special.h2vp(n, k0 * a)
    d = k0 * (dh / h) * j1 - k1 * dj1
    return complex(-(k0 * dj0 * j1 - k1 * j0 * dj1) * h / d), complex(-2j / (np.pi * a * d))


def _scaled(n: int, k0: complex, k1: complex, a: float) -> tuple[complex, complex]:
    """(b_n H_n(k0 a)^2, c_n H_n(k0 a) J_n(k1 a)) from logarithmic derivatives, for n large against k0 a and k1 a."""
    z0, z1 = np.asarray(k0 * a), np.asarray(k1 * a)
    bessel_0, bessel_1 = _bessel_logarithmic_slope(n, z0), _bessel_logarithmic_slope(n, z1)
    # J' H - J H' = 2i/(pi z) gives J_n H_n once both logarithmic derivatives are known.
    hankel = _hankel_logarithmic_slope(n, z0)
    product = 2j / (np.pi * z0) / (bessel_0 - hankel)
    d = k0 * hankel - k1 * bessel_1
    return complex(-product * (k0 * bessel_0 - k1 * bessel_1) / d), complex(-2j / (np.pi * a * d))


def _bessel_logarithmic_slope(n: int, z: NDArray[Any]) -> complex:
    """J'_n/J_n = n/z - J_{n+1}/J_n."""
    following = z / (2 * (n + 1)) * _bessel_series(n + 1, z) / _bessel_series(n, z)
    return complex(n / z - following)


def _hankel_logarithmic_slope(n: int, z: NDArray[Any]) -> complex:
    """H'_n/H_n = H_{n-1}/H_n - n/z."""
    ratios = _HankelRatios(z)
    ratio = np.asarray(1.0)
    for order in range(1, n + 1):
        ratio = ratios.next(order)
    return complex(1 / ratio - n / z)


def penetrable_disc(
    *,
    k: float,
    radius: float,
    inner_speed: complex,
    at: Sequence[float],
    variance: float = 0.0,
    amplitude: complex = 1.0,
    centre: Sequence[float] = (0.0, 0.0),
    outer_speed: float = 1.0,
) -> PenetrableDiscField:
    """Field of a Gaussian or point source outside a penetrable disc, `Lap u + k^2 u/c^2 = amplitude * N(x; at, variance)`.

    Args:
        k: angular frequency, the wavenumber in a medium of speed 1.
        radius: of the disc.
        inner_speed: speed inside; complex for an absorbing disc, Im >= 0.
        at: centre of the source, outside the disc by seven standard deviations at least.
        variance: of the source, 0 for a point.
        amplitude: integral of the source.
        centre: of the disc.
        outer_speed: speed outside.

    Raises:
        ReferenceSolverError: the source touches the disc, or a length or speed is not positive.

    Example:
        >>> field = penetrable_disc(k=20.0, radius=0.1, inner_speed=2.0, at=(-0.35, 0.0), variance=1e-4, amplitude=1 + 1j)
        >>> complex(field(0.2, 0.1).round(6))
        (0.018516-0.030886j)
    """
    if not (radius > 0 and outer_speed > 0 and abs(inner_speed) > 0):
        raise ReferenceSolverError(f"radius `{radius}` and speeds `{inner_speed}`, `{outer_speed}` of the disc must be positive")
    distance = float(np.hypot(at[0] - centre[0], at[1] - centre[1]))
    if distance - radius <= _CLEARANCE_IN_STD * np.sqrt(variance):
        raise ReferenceSolverError(
            f"the source at {tuple(at)} is {distance - radius:.3g} away from the disc; the series needs the blob outside, "
            f"more than {_CLEARANCE_IN_STD:g} standard deviations = {_CLEARANCE_IN_STD * np.sqrt(variance):.3g}"
        )
    inner = complex(k / inner_speed)
    wavenumber = inner.real if inner.imag == 0 else inner
    incident = point_source(k / outer_speed, tuple(at), variance, amplitude)
    return PenetrableDiscField(incident, (float(centre[0]), float(centre[1])), float(radius), wavenumber)
