"""The grid on which fields are computed and models are given: a box of nodes, around which the operator adds its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

from ..real_arrays import real_array

Array = NDArray[Any]
# Fewer and no scheme of this package carries the wave.
FEWEST_POINTS_PER_WAVELENGTH = 4.0


@dataclass(frozen=True)
class Grid:
    """Nodes of a box in the plane, layers not included.

    Attributes:
        low: position of the first node, per axis, physical units.
        step: per axis.
        shape: number of nodes per axis.
    """

    low: tuple[float, float]
    step: tuple[float, float]
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        sized = len(self.low) == len(self.step) == len(self.shape) == 2 and all(n >= 2 and n == int(n) for n in self.shape)
        if not sized or not all(np.isfinite(x) for x in self.low) or not all(0 < h < np.inf for h in self.step):
            given = f"low={self.low}, step={self.step}, shape={self.shape}"
            raise ReferenceSolverError(f"a grid was given {given}; expected two numbers each: finite ones, positive ones, whole ones from 2 on")

    @classmethod
    def over(cls, bounds: Sequence[tuple[float, float]], step: float) -> Grid:
        """The grid over a box `((low, high), (low, high))` whose steps are at most `step` and divide it evenly.

        Raises:
            ReferenceSolverError: bounds out of order or a step that is not positive.
        """
        if len(bounds) != 2 or any(not low < high for low, high in bounds) or not step > 0:
            given = f"{tuple(bounds)} with step {step}"
            raise ReferenceSolverError(f"a grid was asked over {given}; expected ((low, high), (low, high)) and a positive step")
        cells = [max(1, int(np.ceil((high - low) / step - 1e-9))) for low, high in bounds]
        steps = [(high - low) / n for (low, high), n in zip(bounds, cells, strict=True)]
        return cls(low=(float(bounds[0][0]), float(bounds[1][0])), step=(steps[0], steps[1]), shape=(cells[0] + 1, cells[1] + 1))

    @property
    def high(self) -> tuple[float, float]:
        """Position of the last node."""
        return (self.low[0] + self.step[0] * (self.shape[0] - 1), self.low[1] + self.step[1] * (self.shape[1] - 1))

    @property
    def axes(self) -> tuple[Array, Array]:
        """Positions of the nodes per axis."""
        x, y = (low + h * np.arange(n) for low, h, n in zip(self.low, self.step, self.shape, strict=True))
        return x, y

    @property
    def nodes(self) -> tuple[Array, Array]:
        """Coordinates of all nodes, each (n_x, n_y)."""
        x, y = np.meshgrid(*self.axes, indexing="ij")
        return x, y

    def checked_model(self, squared_slowness: ArrayLike) -> Array:
        """The model as an array (n_x, n_y).

        Raises:
            ReferenceSolverError: another shape, or values that are not positive and finite.
        """
        model = real_array("the model of squared slowness", squared_slowness)
        if model.shape != self.shape:
            raise ReferenceSolverError(
                f"the model of squared slowness has shape {model.shape}; the grid has {self.shape} nodes: sample it on `grid.nodes`"
            )
        if not np.all(np.isfinite(model)) or model.min() <= 0:
            worst = model.ravel()[int(np.argmin(np.where(np.isfinite(model), model, -np.inf)))]
            raise ReferenceSolverError(f"the model of squared slowness holds {worst:g}; expected positive finite values, 1/c^2 everywhere")
        return model

    def check_resolution(self, angular_frequency: float, squared_slowness: Array, fewest: float = FEWEST_POINTS_PER_WAVELENGTH) -> None:
        """Check that the shortest wavelength is carried.

        Raises:
            ReferenceSolverError: fewer points than `fewest` per wavelength; the message gives the step and size that are needed.
        """
        shortest = 2 * np.pi / (angular_frequency * float(np.sqrt(squared_slowness.max())))
        points = shortest / max(self.step)
        if points < fewest * (1 - 1e-9):
            needed = shortest / fewest
            size = " x ".join(str(int(np.ceil((n - 1) * h / needed)) + 1) for n, h in zip(self.shape, self.step, strict=True))
            raise ReferenceSolverError(
                f"the shortest wavelength {shortest:.4g} has {points:.2g} points on a grid of step {max(self.step):.4g}; expected {fewest:g} at "
                f"least: use a step of at most {needed:.4g}, that is {size} nodes"
            )

    def check_points(self, points: ArrayLike, what: str) -> Array:
        """Points as an array (n, 2).

        Raises:
            ReferenceSolverError: wrong shape, or a point outside the box, where only the layer is.
        """
        positions = real_array(f"the positions of {what}", points)
        if positions.ndim != 2 or positions.shape[1] != 2 or not len(positions) or not np.all(np.isfinite(positions)):
            raise ReferenceSolverError(f"the positions of {what} have shape {positions.shape}; expected finite ones of shape (n, 2)")
        slack = 1e-9 * np.array(self.step)
        outside = np.any((positions < np.array(self.low) - slack) | (positions > np.array(self.high) + slack), axis=1)
        if outside.any():
            first = tuple(float(c) for c in positions[outside][0])
            box = ", ".join(f"{low:g} ... {high:g}" for low, high in zip(self.low, self.high, strict=True))
            raise ReferenceSolverError(
                f"{int(outside.sum())} of {len(positions)} {what} lie in the absorbing layer or outside the grid, the first at {first}; "
                f"fields are physical inside {box} only: move them or enlarge the grid"
            )
        return positions
