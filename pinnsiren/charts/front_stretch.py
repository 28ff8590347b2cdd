"""Chart: a stretch across fronts, layers and kinks, read from a coarse solution.

Input: a coarse solution as a plain NumPy callable, or its values along lines. Output: `Stretch`, a monotone analytic map of one axis in which the
solution is evenly spread, and the `Chart` made of one stretch per axis.

The local scale of a solution u of range U is h0 = 1/(S sqrt((u'/U)^2 + abs(u'')/U)): a front tanh(x/d) gets d, a parabola its width. Scales may
change no faster than in proportion to the distance, h(x) = min_y h0(y) + G abs(x - y): the graded meshes of boundary layers, with G = 1 those of
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
GRADING = 0.8  # G: below 1, so that neighbouring kernels overlap
WIDEST = 1 / 3  # of the axis: a smooth solution is a few units long
SPACING = 1.0  # units between kernels: the ripple of Cauchy kernels as wide as their distance is 2 exp(-2 pi) = 0.4 %
MARGIN = 3  # kernels beyond each end of an axis that is not periodic, so that the density does not fall off there
N_EVEN, N_PER_UNIT = 1600, 24  # points of a line: even ones find what is new, those of the last stretch resolve what is known
CLOSEST = 0.05  # of the distance wanted: points that nearly coincide are one
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
    def _parameters(self) -> tuple[float, ...]:
        kernels = zip(self.centres, self.widths, self.masses, strict=True)
        return (self.low, self.high, float(self.periodic), *(number for kernel in kernels for number in kernel))

    def density(self, x: Array) -> Array:
        """Return the slope of the map, (n,)."""
        return np.asarray(stretch_map(x, 1, *self._parameters))

    def _raw(self, x: Array) -> Array:
        return np.asarray(stretch_map(x, 0, *self._parameters))

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
        return StretchMap(symbol, 0, *map(sp.Float, self._parameters)) - sp.Float(middle)

    def step(self) -> float:
        """Return the lowest frequency of features on this axis: periodic ones fit the axis, others a longer one."""
        return 2 * np.pi / (self.length * (1 if self.periodic else PERIOD_RATIO))

    def line(self) -> Array:
        """Return points along the axis at which a solution is looked at, sorted."""
        half = 0.5 * self.length
        known = self.physical(np.linspace(-half, half, int(N_PER_UNIT * self.length)))
        points = np.unique(np.concatenate([np.linspace(self.low, self.high, N_EVEN), known]))
        # Points that nearly coincide would make noise of second differences.
        gaps = np.diff(points)
        wanted = np.minimum((self.high - self.low) / N_EVEN, 1 / (N_PER_UNIT * self.density(0.5 * (points[1:] + points[:-1]))))
        points = points[np.concatenate([[True], gaps > CLOSEST * wanted])]
        points[-1] = self.high
        return points


def even_stretch(low: float, high: float, periodic: bool = False) -> Stretch:
    """Return the stretch of a smooth solution."""
    axis = np.linspace(low, high, N_EVEN)
    return stretch_from_scales(axis, np.full(N_EVEN, WIDEST * (high - low)), periodic)


def local_scales(axis: Array, values: Array, ranges: Array | None = None) -> Array:
    """Return the local scale h0 of a set of functions along an axis.

    Args:
        axis: (n,), sorted.
        values: (n_functions, n), on the axis.
        ranges: (n_functions,), range U of each function; None takes that on the axis.

    Returns:
        (n,), physical units; the smallest over the functions.
    """
    spans = np.ptp(values, axis=1) if ranges is None else ranges
    slopes = np.gradient(values, axis, axis=1)
    curvatures = np.abs(np.gradient(slopes, axis, axis=1))
    scaled = np.where(spans > 0, spans, 1.0)[:, None]
    rate = STRENGTH * np.sqrt(np.max((slopes / scaled) ** 2 + curvatures / scaled, axis=0))
    return np.asarray(1 / np.maximum(rate, 1e-300))


def stretch_from_scales(axis: Array, scales: Array, periodic: bool = False) -> Stretch:
    """Return the stretch whose density is one over the graded scales.

    Args:
        axis: (n,), sorted, from end to end.
        scales: (n,), local scales, physical units.
        periodic: whether the axis is periodic.
    """
    low, high = float(axis[0]), float(axis[-1])
    span = high - low
    graded = np.minimum(scales, WIDEST * span)
    rounds = 3 if periodic else 1
    for _ in range(rounds):
        for order in (np.arange(len(axis)), np.arange(len(axis))[::-1]):
            steps = np.abs(np.diff(axis[order]))
            for i, step in enumerate(steps):
                here, there = order[i], order[i + 1]
                graded[there] = min(graded[there], graded[here] + GRADING * step)
        if periodic:
            graded[0] = graded[-1] = min(graded[0], graded[-1])
    cumulative = np.concatenate([[0.0], np.cumsum(np.diff(axis) * 0.5 * (1 / graded[1:] + 1 / graded[:-1]))])
    total = float(cumulative[-1])
    count = max(3, round(total / SPACING))
    mass = total / count
    at = (np.arange(count) + 0.5) * mass
    centres = np.interp(at, cumulative, axis)
    widths = np.interp(centres, axis, graded)
    if not periodic:
        beyond = np.arange(MARGIN) + 0.5
        centres = np.concatenate([low - beyond * graded[0] * mass, centres, high + beyond * graded[-1] * mass])
        widths = np.concatenate([np.full(MARGIN, graded[0]), widths, np.full(MARGIN, graded[-1])])
    return Stretch(
        low, high, periodic, tuple(map(float, centres)), tuple(map(float, mass * widths)), (float(mass),) * len(centres)
    )


def stretch_from_coarse(coarse: Callable[[Array], Array], last: Stretch) -> Stretch:
    """Return the stretch of one axis for a coarse solution.

    Args:
        coarse: points of the axis (n,) -> values (n_functions, n); one function per field, instant and line across the other axes.
        last: the stretch that the coarse solution was made on; `even_stretch` at first.
    """
    axis = last.line()
    return stretch_from_scales(axis, local_scales(axis, np.atleast_2d(coarse(axis))), last.periodic)


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
