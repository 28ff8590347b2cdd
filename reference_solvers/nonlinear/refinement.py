"""Error estimates from a ladder of grids, for the solvers of nonlinear problems.

Input: the fields of successive grids. Output: relative L2 estimates. Solutions are compared at scattered points of the declared domain, so that the
error of the splines between the nodes counts, and no instant or place is favoured: phase errors can vanish at evenly spaced ones.

The order is observed region by region: where the data are incompatible (a corner of the initial and the wall data, a kink) errors shrink slowly,
and a single observed order, dominated by the smooth rest on coarse grids, would promise too much there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from ..observed_order import where_grids_approach
from ..protocol import FieldOnGrid

Array = NDArray[Any]

# 2^16: what incompatible data leave in a corner that fills a thousandth of the domain is still seen by 65 points.
_POINTS_LOG2 = 16
_SEED = 7
# Regions: products of these intervals, finer towards the faces and the first instant, where data meet.
_EDGES = np.array([0.01, 0.04, 0.12, 0.3, 0.5, 0.7, 0.88, 0.96, 0.99])
# Beside the leading term of the error there are others, and what is left of time; without it estimates fell to 0.8 of the true error.
_SAFETY = 1.25
# Order assumed while there are two grids only.
_UNKNOWN_ORDER = 2.0
_LOWEST_ORDER, _HIGHEST_ORDER = 1.0, 12.0
_MOST_EXCESS = 6.0
# Equal grids, both at the fewest points that the stencils need, say nothing; the ratio of the steps is kept off 1.
_SMALLEST_RATIO = 1.05


class Ladder:
    """Compares successive grids and says how far the last one is from the solution.

    Args:
        bounds: of the declared domain, one pair per coordinate.
        order: of the scheme; an observed order is not trusted beyond it.
    """

    def __init__(self, bounds: Sequence[tuple[float, float]], order: int) -> None:
        unit = qmc.Sobol(len(bounds), seed=_SEED).random_base2(_POINTS_LOG2)
        self._points = [low + (high - low) * column for (low, high), column in zip(bounds, unit.T, strict=True)]
        digits = [np.searchsorted(_EDGES, column) for column in unit.T]
        self._regions = np.ravel_multi_index(digits, (len(_EDGES) + 1,) * len(bounds))
        self._order = order
        self._cells: list[float] = []
        self._values: list[Array] = []
        self._before: tuple[Array, float] | None = None
        self.observed: float | None = None

    def __len__(self) -> int:
        """Number of grids."""
        return len(self._cells)

    def notes(self) -> list[str]:
        """What was observed, for the report."""
        return [] if self.observed is None else [f"observed order {self.observed:.1f}, declared {self._order}"]

    def restarted(self) -> None:
        """Forget the grids so far: they resolved too little to be compared with."""
        self._cells, self._values, self._before, self.observed = [], [], None, None

    def add(self, cells: float, fields: Sequence[FieldOnGrid]) -> float:
        """The relative L2 error estimate of this grid, infinite for the first one.

        Args:
            cells: along an axis; only ratios count.
            fields: all fields. Each is compared with itself on the grid before; the worst one counts.
        """
        values = [np.asarray(field(*self._points)).reshape(-1, len(self._regions)) for field in fields]
        last, self._values = self._values, values
        self._cells.append(cells)
        if not last:
            return float(np.inf)
        ratio = max(cells / self._cells[-2], _SMALLEST_RATIO)
        squares = np.stack([self._by_region(new - old) for new, old in zip(values, last, strict=True)])
        sizes = np.array([float(np.sum(np.abs(v) ** 2)) for v in values])
        sizes = np.where(sizes > 0, sizes, 1.0)
        orders: Any = min(_UNKNOWN_ORDER, self._order)
        squares_seen = squares
        if self._before is not None:
            before, ratio_before = self._before
            seen = observed_order(before, squares, ratio_before, ratio)
            orders = np.clip(seen, _LOWEST_ORDER, self._order)
            # Steeper than declared: closures still dominate, or the error changes its sign between two grids and the last difference is small by
            # accident. Halfway, on the scale of logarithms, between what the last and what the difference before predict.
            squares_seen = squares * ratio ** np.clip(seen - self._order, 0.0, _MOST_EXCESS)
            worst = int(np.argmax(np.sum(squares, axis=1) / sizes))
            total = observed_order(np.sum(before[worst]), np.sum(squares[worst]), ratio_before, ratio)
            self.observed = float(total)
        self._before = (squares, ratio)
        errors = np.sum(squares_seen / (ratio**orders - 1) ** 2, axis=1) / sizes
        apart = float(np.sqrt(np.max(np.sum(squares, axis=1) / sizes)))
        return where_grids_approach(_SAFETY * float(np.sqrt(np.max(errors))), apart, np.inf if self.observed is None else self.observed)

    def _by_region(self, difference: Array) -> Array:
        squares = np.sum(np.abs(difference) ** 2, axis=0)
        return np.bincount(self._regions, weights=squares, minlength=(len(_EDGES) + 1) ** len(self._points))


def observed_order(before: Any, after: Any, ratio_before: float, ratio: float) -> Array:
    """The p for which two successive differences fit an error C h^p, elementwise.

    With e = C h^p the squares of the differences are C^2 h0^2p (1 - r0^-p)^2 and C^2 h0^2p r0^-2p (1 - r^-p)^2; solved by bisection, since the
    ratios r0 and r of the steps may differ.

    Args:
        before: squared differences of the first and the second grid.
        after: of the second and the third grid.
        ratio_before: of the steps of the first and the second grid.
        ratio: of the second and the third.

    Example:
        >>> round(float(observed_order((1 - 2.0**-4) ** 2, (2.0**-4 - 4.0**-4) ** 2, 2.0, 2.0)), 6)
        4.0
    """
    tiny = 1e-300
    quotient = np.sqrt((np.asarray(before) + tiny) / (np.asarray(after) + tiny))
    low, high = np.full(quotient.shape, 0.05), np.full(quotient.shape, _HIGHEST_ORDER)
    for _ in range(60):
        middle = (low + high) / 2
        steeper = quotient > (ratio_before**middle - 1) / (1 - ratio**-middle)
        low, high = np.where(steeper, middle, low), np.where(steeper, high, middle)
    return np.asarray((low + high) / 2)
