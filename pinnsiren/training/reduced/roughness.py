"""What is believed of the medium before the data: few edges. The p-th power of the gradient of log m, smoothed, and its quadratic majorant.

    R(l) = mean over the nodes of ((|grad l|^2 h^2 + e^2)^(p/2) - e^p),      l = log m, h the step of the grid
    D(l; k) = R(l) - R(k) - R'(k) (l - k),                                   the Bregman distance from a medium k, for p >= 1

p = 1 is the total variation; p = 1/2 charges a jump hardly more than a slope of the same rise, so that edges stay sharp. log m is penalised and not
m: a fast and a slow object of the same contrast then cost the same. R takes contrast away from whatever it charges; D charges only what is new, so
that a few descents, each with the distance from the medium of the one before, give it back (Osher, Burger, Goldfarb, Xu and Yin 2005,
https://doi.org/10.1137/040605412).

Input: log m where the medium may change. Output: values, and the rows of the quadratic function that touches R from above (Huber 1981, 7.8).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from pinnsiren.reference_solvers.frequency_domain import Grid
from pinnsiren.reference_solvers.inversion.priors import gradient_matrices

Array = NDArray[Any]


@dataclass(frozen=True)
class Roughness:
    """The prior on one grid.

    Attributes:
        differences: (n_edges, n_active) along x, then along y, per step of the grid; towards nodes that are fixed too.
        power: p.
        smoothing: e, differences of log m between neighbours below it count as smooth.
    """

    differences: tuple[Any, Any]
    power: float
    smoothing: float

    @classmethod
    def on(cls, grid: Grid, start: Array, active: Array, power: float, smoothing: float) -> "Roughness":
        """Build the differences of the change from the start, which is zero at nodes that are fixed."""
        mask = active.ravel()
        lines = [sparse.csr_matrix(matrix * h)[:, mask] for matrix, h in zip(gradient_matrices(grid), grid.step, strict=True)]
        touched = np.flatnonzero(np.sum([np.asarray(abs(line).sum(axis=1)).ravel() for line in lines], axis=0))
        first, second = (sparse.csr_matrix(line[touched]) for line in lines)
        return cls((first, second), power, smoothing)

    def value(self, change: Array) -> float:
        """Return R of a change of log m."""
        return float(np.mean(self._squares(change) ** (self.power / 2) - self.smoothing**self.power))

    def rows(self, change: Array) -> Any:
        """Return sparse rows B with B'B the Hessian of the majorant at a change: R <= const + |B l|^2 / 2."""
        weights = np.sqrt(self.power * self._squares(change) ** (self.power / 2 - 1) / self.differences[0].shape[0])
        scale = sparse.diags(weights)
        return sparse.vstack([scale @ line for line in self.differences]).tocsr()

    def slope(self, change: Array) -> Array:
        """Return dR at a change of log m, (n_active,)."""
        rows = self.rows(change)
        return np.asarray(rows.T @ (rows @ change))

    def _squares(self, change: Array) -> Array:
        return np.asarray(sum((line @ change) ** 2 for line in self.differences) + self.smoothing**2)


@dataclass(frozen=True)
class Distance:
    """The Bregman distance of a convex roughness from a medium.

    Attributes:
        roughness: R, of a power one or above.
        anchor: change of log m of the medium, (n_active,).
    """

    roughness: Roughness
    anchor: Array

    @cached_property
    def _value(self) -> float:
        return self.roughness.value(self.anchor)

    @cached_property
    def _slope(self) -> Array:
        return self.roughness.slope(self.anchor)

    def value(self, change: Array) -> float:
        """Return D of a change of log m."""
        return float(self.roughness.value(change) - self._value - self._slope @ (change - self.anchor))

    def rows(self, change: Array) -> Any:
        """Return sparse rows B with B'B the Hessian of the majorant at a change."""
        return self.roughness.rows(change)

    def slope(self, change: Array) -> Array:
        """Return dD at a change of log m, (n_active,)."""
        return np.asarray(self.roughness.slope(change) - self._slope)
