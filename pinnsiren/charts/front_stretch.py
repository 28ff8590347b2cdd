"""Chart: a stretch across fronts, layers and kinks, read from a coarse solution.

Input: a coarse solution as a plain NumPy callable, or its values along lines. Output: `Stretch`, a monotone analytic map of one axis in which the
solution is evenly spread, and the `Chart` made of one stretch per axis.

The local scale of a solution u of range U is h0 = 1/max(S sqrt((u_x/U)^2 + abs(u_xx)/U), F (abs(u_xxxx)/U)^(1/4)): a front tanh(x/d) gets d. Scales
may change no faster than in proportion to the distance, h(x) = min_y h0(y) + G abs(x - y): the graded meshes of boundary layers, with G = 1 those of
asinh(x/d). The coordinate is the integral of 1/h smoothed by Cauchy kernels as wide as h, one per unit: a sum of arc tangents whose poles are as far
from the real axis as those of the front. On a periodic axis the kernels are Poisson's, so that the map is periodic with all its derivatives.

Reference: de Boor (1973), Good approximation by splines with variable knots (equidistribution); Kopteva, Stynes (2001), SIAM J. Numer. Anal. 39
(meshes of layers from coarse solutions).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.charts.scales import Scales
from pinnsiren.charts.tensor_spectrum import TensorSpectrum
from pinnsiren.ir import Chart, ProblemIR, Rewritten
from pinnsiren.language.heads import StretchMap, stretch_map

Array = NDArray[np.float64]
STRENGTH = 2.0  # S: the scale of tanh(x/d), whose sqrt((u'/U)^2 + |u''|/U) peaks at 0.6/d, comes out as 0.8 d
FOURTH = 1.2  # F: what is small but narrow, a rounded kink, counts by its width more than by its size
HIGHEST = 5.6  # frequency of features, radians per local unit, unless the caller knows it: errors of a coarse solution are as fast
GRADING = 0.8  # G: below 1, so that neighbouring kernels overlap
WIDEST = 1 / 3  # of the axis: a smooth solution is a few units long
LONGEST = 160.0  # units: as many as a few hundred functions resolve; a noisy coarse solution would ask for any number
POOR, LENGTHENING = 1e-3, 1.5  # a coarse solution with an error above oscillates where it is not resolved: it may lengthen its axis only so far
SPACING = 1.0  # units between kernels: the ripple of Cauchy kernels as wide as their distance is 2 exp(-2 pi) = 0.4 %
MARGIN = 3  # kernels beyond each end of an axis that is not periodic, so that the density does not fall off there
N_EVEN, N_PER_UNIT = 800, 24  # points of a line: even ones find what is new, those of the last stretch resolve what is known
FINEST = 1e-3  # of the axis: scale of a kink unless more is wanted
RESOLVED = 6.0  # distances of points per local scale: with fewer, second differences say nothing of the true scale
EDGE = 5  # points at each end that four differences of neighbours spoil
SPIKE, OUTSTANDING = 4, 20.0  # points to each side that a kink is compared with, and by what factor it has to stand out
SMALLEST_KINK = 1e-3  # jump of the slope against range over axis
PERIOD_RATIO = 1.5  # period of the features over the extent of the axis: rate cot^2(pi/(4 T)) = 3 per harmonic, 2 T = 3 functions per wavelength


@dataclass(frozen=True)
class Stretch:
    """A monotone analytic map of one axis onto [-length/2, length/2].

    Attributes:
        low, high: ends of the axis, physical units.
        periodic: whether the axis is periodic.
        centres, widths, masses: of the kernels of the density; physical units, physical units, local units.
    """

    low: float
    high: float
    periodic: bool
    centres: tuple[float, ...]
    widths: tuple[float, ...]
    masses: tuple[float, ...]

    @property
    def parameters(self) -> tuple[float, ...]:
        """What `StretchMap` takes after the coordinate and the order."""
        kernels = zip(self.centres, self.widths, self.masses, strict=True)
        return (self.low, self.high, float(self.periodic), *(number for kernel in kernels for number in kernel))

    def density(self, x: Array) -> Array:
        """Return the slope of the map, (n,)."""
        return np.asarray(stretch_map(x, 1, *self.parameters))

    def _raw(self, x: Array) -> Array:
        return np.asarray(stretch_map(x, 0, *self.parameters))

    @property
    def length(self) -> float:
        """Extent of the axis in local units."""
        first, last = self._raw(np.array([self.low, self.high]))
        return float(last - first)

    def local(self, x: Array) -> Array:
        """Return the local coordinate, (n,)."""
        return self._raw(x) - float(np.mean(self._raw(np.array([self.low, self.high]))))

    def physical(self, xi: Array) -> Array:
        """Invert the map: a table, then Newton's method held inside the cell of the table."""
        table = self.table()
        image = self.local(table)
        index = np.clip(np.searchsorted(image, xi) - 1, 0, len(table) - 2)
        low, high = table[index], table[index + 1]
        x = np.interp(xi, image, table)
        for _ in range(4):
            x = np.clip(x - (self.local(x) - xi) / self.density(x), low, high)
        return np.asarray(x)

    def table(self) -> Array:
        """Return points of the axis that resolve every kernel, sorted."""
        spread = np.sinh(np.linspace(-8, 8, 65))
        near = (np.array(self.centres)[:, None] + np.array(self.widths)[:, None] * spread).ravel()
        near = near[(near > self.low) & (near < self.high)]
        return np.unique(np.concatenate([np.linspace(self.low, self.high, 129), near]))

    def expression(self, symbol: sp.Symbol) -> Any:
        """Return the map as a SymPy expression."""
        middle = float(np.mean(self._raw(np.array([self.low, self.high]))))
        return StretchMap(symbol, 0, *map(sp.Float, self.parameters)) - sp.Float(middle)

    def step(self) -> float:
        """Return the lowest frequency of features on this axis: periodic ones fit the axis, others a longer one."""
        return 2 * np.pi / (self.length * (1 if self.periodic else PERIOD_RATIO))

    def lines(self) -> tuple[Array, Array]:
        """Return two sorted lines of points from end to end: points that resolve this map, and even ones, which find what it does not know of."""
        half = 0.5 * self.length
        known = self.physical(np.linspace(-half, half, int(N_PER_UNIT * self.length)))
        known[[0, -1]] = self.low, self.high
        return known, np.linspace(self.low, self.high, N_EVEN)

    def seen_better_evenly(self, points: Array) -> NDArray[np.bool_]:
        """Return at which points even ones lie closer than those that resolve this map."""
        return np.asarray((self.high - self.low) / (N_EVEN - 1) * N_PER_UNIT * self.density(points) < 1)


def even_stretch(low: float, high: float, periodic: bool = False) -> Stretch:
    """Return the stretch of a smooth solution."""
    axis = np.linspace(low, high, N_EVEN)
    return stretch_from_scales(axis, np.full(N_EVEN, WIDEST * (high - low)), low, high, periodic)


def layer_stretch(low: float, high: float, width: float) -> Stretch:
    """Return the stretch for layers of a known width at both ends, where boundary layers stand before a coarse solution says at which."""
    return stretch_from_scales(np.array([low, high]), np.full(2, width), low, high)


def local_scales(axis: Array, values: Array, ranges: Array | None = None, periodic: bool = False, finest: float = FINEST, noise: Any = 0.0) -> Array:
    """Return the local scale h0 of a set of functions along an axis.

    Args:
        axis: (n,), sorted.
        values: (n_functions, n), on the axis.
        ranges: (n_functions,), range U of each function; None takes that on the axis.
        periodic: whether the functions continue periodically; a kink where the period closes is then seen.
        finest: scale, as a share of the axis, given to what the points do not resolve: kinks, jumps, and fronts narrower than their distance.
        noise: (n,) or a number, fourth derivative (over U) of the errors of the functions; it is taken off.

    Returns:
        (n,), physical units; the smallest over the functions.
    """
    span = axis[-1] - axis[0]
    spans = np.ptp(values, axis=1) if ranges is None else ranges
    scaled = values / np.where(spans > 0, spans, 1.0)[:, None]
    wrapped, before = axis, 0
    if periodic:
        before = min(8, len(axis) - 2)
        wrapped = np.concatenate([axis[-1 - before : -1] - span, axis, axis[1 : before + 1] + span])
        scaled = np.hstack([scaled[:, -1 - before : -1], scaled, scaled[:, 1 : before + 1]])
    slopes = np.gradient(scaled, wrapped, axis=1)
    curvatures = np.gradient(slopes, wrapped, axis=1)
    fourth = np.abs(np.gradient(np.gradient(curvatures, wrapped, axis=1), wrapped, axis=1))
    kinks = np.any(_spikes(np.abs(curvatures), wrapped), axis=0)[before : before + len(axis)]
    low = STRENGTH * np.sqrt(np.max(slopes**2 + np.abs(curvatures), axis=0))[before : before + len(axis)]
    high = FOURTH * np.maximum(np.max(fourth, axis=0)[before : before + len(axis)] - noise, 0.0) ** 0.25
    rate = np.maximum(low, high)
    if not periodic:
        # Differences of differences are one-sided at the ends: the nearest good ones stand in.
        rate[:EDGE], rate[-EDGE:] = rate[EDGE], rate[-EDGE - 1]
        kinks[:EDGE] = kinks[-EDGE:] = False
    scales = 1 / np.maximum(rate, 1e-300)
    gaps = np.diff(axis)
    widest = np.maximum(np.append(gaps[:1], gaps), np.append(gaps, gaps[-1:]))
    return np.asarray(np.where(kinks | (scales < RESOLVED * widest), np.minimum(scales, finest * span), scales))


def _spikes(curvatures: Array, axis: Array) -> NDArray[np.bool_]:
    """Return where a second difference stands out of its neighbourhood, as it does at a kink, (n_functions, n).

    Second differences of a kink live on three points; those of what the points resolve change little over four.
    """
    neighbours = np.zeros_like(curvatures)
    neighbours[:, SPIKE:] = curvatures[:, :-SPIKE]
    neighbours[:, :-SPIKE] = np.maximum(neighbours[:, :-SPIKE], curvatures[:, SPIKE:])
    jumps = curvatures * np.gradient(axis) * (axis[-1] - axis[0])
    return np.asarray((curvatures > OUTSTANDING * neighbours) & (jumps > SMALLEST_KINK))


def stretch_from_scales(axis: Array, scales: Array, low: float, high: float, periodic: bool = False, longest: float | None = None) -> Stretch:
    """Return the stretch whose density is one over the graded scales.

    Args:
        axis: (n,), sorted.
        scales: (n,), local scales there, physical units.
        low, high: ends of the axis.
        periodic: whether the axis is periodic.
        longest: most local units; None takes `LONGEST`.
    """
    span = high - low
    capped = np.minimum(scales, WIDEST * span)
    points = np.unique(np.concatenate([axis, np.linspace(low, high, N_EVEN)]))
    images = (-span, 0.0, span) if periodic else (0.0,)
    graded = np.min([_graded(axis + shift, capped, points) for shift in images], axis=0)
    cumulative = np.concatenate([[0.0], np.cumsum(np.diff(points) * 0.5 * (1 / graded[1:] + 1 / graded[:-1]))])
    total = float(cumulative[-1])
    most = LONGEST if longest is None else min(longest, LONGEST)
    if total > most:
        graded, cumulative, total = graded * total / most, cumulative * most / total, most
    count = max(3, round(total / SPACING))
    mass = total / count
    at = (np.arange(count) + 0.5) * mass
    centres = np.interp(at, cumulative, points)
    widths = np.interp(centres, points, graded)
    if not periodic:
        beyond = np.arange(MARGIN) + 0.5
        centres = np.concatenate([low - beyond * graded[0] * mass, centres, high + beyond * graded[-1] * mass])
        widths = np.concatenate([np.full(MARGIN, graded[0]), widths, np.full(MARGIN, graded[-1])])
    return Stretch(
        low, high, periodic, tuple(map(float, centres)), tuple(map(float, mass * widths)), (float(mass),) * len(centres)
    )


def _graded(at: Array, scales: Array, axis: Array) -> Array:
    """Return min_y scales(y) + G abs(x - y) over the points `at`, at the points of the axis; running minima from both sides."""
    rising = np.minimum.accumulate(scales - GRADING * at)
    falling = np.minimum.accumulate((scales + GRADING * at)[::-1])[::-1]
    left, right = np.searchsorted(at, axis, side="right") - 1, np.searchsorted(at, axis, side="left")
    from_left = np.where(left >= 0, rising[np.clip(left, 0, None)] + GRADING * axis, np.inf)
    from_right = np.where(right < len(at), falling[np.clip(right, None, len(at) - 1)] - GRADING * axis, np.inf)
    return np.asarray(np.minimum(from_left, from_right))


def stretch_from_coarse(
    coarse: Callable[[Array], Array],
    last: Stretch,
    ranges: Array | None = None,
    finest: float = FINEST,
    error: float = 0.0,
    highest: float = HIGHEST,
) -> Stretch:
    """Return the stretch of one axis for a coarse solution.

    Args:
        coarse: points of the axis (n,) -> values (n_functions, n); one function per field, instant and line across the other axes.
        last: the stretch that the coarse solution was made on; `even_stretch` at first.
        ranges: (n_functions,), range of each function; None takes that on the axis.
        finest: scale of kinks and of what stays unresolved, as a share of the axis.
        error: of the coarse solution, relative to its range; it oscillates as fast as the functions on its stretch can.
        highest: frequency of these functions, radians per local unit. Twice the density of functions makes fourth derivatives of errors 16 times as
            large, and a stretch that takes them for features of the solution grows without need.
    """
    known, even = last.lines()
    axes, found = [], []
    for line, wanted in ((known, False), (even, True)):
        keep = last.seen_better_evenly(line) == wanted
        axes.append(line[keep])
        noise = np.inf if error > POOR else error * (highest * last.density(line)) ** 4  # a poor solution has no fourth derivative
        found.append(local_scales(line, np.atleast_2d(coarse(line)), ranges, last.periodic, finest, noise)[keep])
    axis, scattered = np.concatenate(axes), np.concatenate(found)
    order = np.argsort(axis)
    most = LENGTHENING * last.length if error > POOR else None
    return stretch_from_scales(axis[order], scattered[order], last.low, last.high, last.periodic, most)


def stretched_chart(
    symbols: Sequence[sp.Symbol], locals_: Sequence[Any], half_lengths: Sequence[float], spectrum: TensorSpectrum, reason: str
) -> Chart:
    """Return the chart of stretched axes with a lattice of frequencies.

    Args:
        symbols: coordinates, for the name.
        locals_: per coordinate its local coordinate, a SymPy expression.
        half_lengths: per coordinate, local units.
        spectrum: the lattice.
        reason: what was seen.
    """
    return Chart(
        name="stretch of " + ", ".join(map(str, symbols)),
        reason=reason,
        coordinates=tuple(locals_),
        window=1,
        half_lengths=tuple(half_lengths),
        spectrum=spectrum,
    )


def propose(ir: ProblemIR, rewritten: Rewritten, scales: Scales) -> tuple[Chart, ...]:
    """Propose nothing before a coarse solution is known: where fronts stand is not in the declaration."""
    del ir, rewritten, scales
    return ()
