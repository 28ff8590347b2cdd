"""Axes of the grid and the absorbing layer around the declared box, by complex stretching.

A declared `PML` says that the box lies in free space. Its width and strength are tuned for a network; a coarse grid reflects at so strong a
layer, so this solver builds its own: the stretch `e = 1 - i a (d/L)^3` (conjugated for the other time convention), d/dx -> (1/e) d/dx, over 1.5
wavelengths, with the coefficients continued as constants along the normal and u = 0 behind it.

The power 3, not 2, keeps the second derivative of the stretch continuous: with 2 the sixth-order scheme loses its order at the face of the layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RealArray = NDArray[Any]
LAYER_POWER = 3


@dataclass(frozen=True)
class Axis:
    """Nodes of one coordinate: the declared interval, and layers before and behind it, or a closed loop.

    Attributes:
        low, high: the declared interval.
        cells: number of cells inside it.
        before, behind: number of cells of the layers, 0 for none.
        strength: a, dimensionless.
        sign: -1 for exp(+i w t), +1 for exp(-i w t).
        joined: whether the ends are one point (periodic faces); the last node is then left out.
    """

    low: float
    high: float
    cells: int
    before: int = 0
    behind: int = 0
    strength: float = 0.0
    sign: int = -1
    joined: bool = False

    @property
    def h(self) -> float:
        """Step."""
        return (self.high - self.low) / self.cells

    @property
    def n(self) -> int:
        """Number of cells, layers included."""
        return self.before + self.cells + self.behind

    @property
    def n_nodes(self) -> int:
        """Number of unknowns along the axis: n + 1, on a loop n."""
        return self.n + (not self.joined)

    @property
    def nodes(self) -> RealArray:
        """Positions of the unknowns, (n_nodes,)."""
        return self.closed_nodes[: self.n_nodes]

    @property
    def closed_nodes(self) -> RealArray:
        """Positions of the n + 1 nodes, both ends included."""
        return self.low + self.h * (np.arange(self.n + 1) - self.before)

    @property
    def half_nodes(self) -> RealArray:
        """Positions of the n half nodes."""
        return self.low + self.h * (np.arange(self.n) + 0.5 - self.before)

    @property
    def inside(self) -> slice:
        """The nodes of the declared interval."""
        return slice(self.before, self.before + self.cells + 1)

    def clipped(self, x: RealArray) -> RealArray:
        """Where data are read: the nearest point of the declared interval, or the same point of a loop."""
        if self.joined:
            return np.where((x < self.low) | (x > self.high), self.low + np.mod(x - self.low, self.high - self.low), x)
        return np.clip(x, self.low, self.high)

    def stretch(self, x: RealArray) -> NDArray[Any]:
        """e(x) = 1 + sign * i a (d/L)^p."""
        depth, _ = self._depth(x)
        return 1 + 1j * self.sign * self.strength * depth**LAYER_POWER

    def stretch_slope(self, x: RealArray) -> NDArray[Any]:
        """de/dx."""
        depth, slope = self._depth(x)
        return 1j * self.sign * self.strength * LAYER_POWER * depth ** (LAYER_POWER - 1) * slope

    def stretched(self, x: RealArray) -> NDArray[Any]:
        """The complex coordinate int e dx, in which outgoing waves decay."""
        depth, slope = self._depth(x)
        safe = np.where(slope == 0, 1, slope)
        return x + 1j * self.sign * self.strength * depth ** (LAYER_POWER + 1) / (LAYER_POWER + 1) / safe

    def _depth(self, x: RealArray) -> tuple[RealArray, RealArray]:
        """Relative depth d/L in the layer, and its derivative."""
        depth, slope = np.zeros(x.shape), np.zeros(x.shape)
        if self.before:
            length = self.before * self.h
            chosen = x < self.low
            depth[chosen], slope[chosen] = (self.low - x[chosen]) / length, -1 / length
        if self.behind:
            length = self.behind * self.h
            chosen = x > self.high
            depth[chosen], slope[chosen] = (x[chosen] - self.high) / length, 1 / length
        return depth, slope
