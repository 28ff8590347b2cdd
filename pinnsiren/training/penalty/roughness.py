"""What is believed of the medium before the data: few edges. The p-th power of the differences of log m between neighbouring cells, smoothed.

    R(l) = mean over the cells of ((|d_x l|^2 + |d_y l|^2 + e^2)^(p/2) - e^p),     l = log m minus its start

p = 1 is the total variation; p = 1/2 charges a jump hardly more than a slope of the same rise, so that edges stay sharp. The logarithm is charged and
not m: a fast and a slow object of the same contrast then cost the same.

Input: cells. Output: `Roughness`: values, and the rows of the quadratic function that touches R from above (Huber 1981, section 7.8).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from pinnsiren.training.penalty.waves import Centres

Array = NDArray[Any]


@dataclass(frozen=True)
class Roughness:
    """The prior on given cells.

    Attributes:
        differences: along x and along y, (n_places, n_cells); outside the cells the change is zero.
        power: p.
        smoothing: e; differences of log m below it count as smooth.
    """

    differences: tuple[Any, Any]
    power: float
    smoothing: float

    @classmethod
    def on(cls, centres: Centres, power: float, smoothing: float) -> "Roughness":
        """Build the differences towards the next cell along each axis, the surrounding counted as zero."""
        # One more row and column on every side: the step into the support is a difference as well.
        places = centres.indices + 1
        shape = places.max(axis=0) + 2
        numbers = np.full(tuple(shape), -1)
        numbers[places[:, 0], places[:, 1]] = np.arange(len(places))
        here = numbers[:-1, :-1].ravel()
        nexts = (numbers[1:, :-1].ravel(), numbers[:-1, 1:].ravel())
        counted = (here >= 0) | (nexts[0] >= 0) | (nexts[1] >= 0)
        first, second = (_difference(following[counted], here[counted], len(places)) for following in nexts)
        return cls((first, second), power, smoothing)

    def value(self, change: Array) -> float:
        """Return R of a change of log m."""
        return float(np.mean(self._squares(change) ** (self.power / 2) - self.smoothing**self.power))

    def curvature(self, change: Array) -> Any:
        """Return the sparse matrix C of the majorant at a change: R <= const + l'C l / 2, equal there with its gradient."""
        weights = sparse.diags(self.power * self._squares(change) ** (self.power / 2 - 1) / self.differences[0].shape[0])
        first, second = (line.T @ weights @ line for line in self.differences)
        return (first + second).tocsr()

    def _squares(self, change: Array) -> Array:
        return np.asarray(sum((line @ change) ** 2 for line in self.differences) + self.smoothing**2)


def _difference(upper: Array, lower: Array, n_cells: int) -> Any:
    rows = np.arange(len(upper))
    above, below = upper >= 0, lower >= 0
    entries = np.concatenate([np.ones(above.sum()), -np.ones(below.sum())])
    places = (np.concatenate([rows[above], rows[below]]), np.concatenate([upper[above], lower[below]]))
    return sparse.csr_matrix((entries, places), shape=(len(upper), n_cells))
