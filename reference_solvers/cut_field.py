"""Values between the nodes of a cut grid.

Input: a cut grid with values at its nodes and boundary points. Output: a function of points. Where the sixteen nodes around a cell (64 in space) lie
inside, cubic interpolation; beside the boundary, cubic polynomials fitted to nodes and boundary points; NaN outside the domain.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.language import AbstractDomain

from .cut_grid import CutGrid
from .local_polynomials import LocalPolynomials

Array = NDArray[Any]

# Of the size of the domain: points that rounding has moved off the boundary belong to it.
_ON_BOUNDARY = 1e-9
_DEGREE = 3


class CutGridInterpolant:
    """Interpolates unknowns of a cut grid.

    Args:
        domain: the declared domain.
        grid: its grid.
        values: (n_shots, n_unknowns).
    """

    def __init__(self, domain: AbstractDomain, grid: CutGrid, values: Array) -> None:
        self._domain, self._grid, self._values = domain, grid, values
        self._fits = LocalPolynomials(grid.points, _DEGREE)

    def __call__(self, points: Array) -> Array:
        """Values (n_shots, n) at points (n, n_coordinates); NaN outside the domain."""
        result = np.full((len(self._values), len(points)), np.nan, dtype=self._values.dtype)
        inside = self._domain.contains(points, _ON_BOUNDARY)
        cells, offsets = self._cells(points)
        numbers = self._blocks(cells)
        regular = inside & np.all(numbers >= 0, axis=1)
        result[:, regular] = np.einsum("snk,nk->sn", self._values[:, numbers[regular]], _cubic_weights(offsets[regular]))
        beside = np.flatnonzero(inside & ~regular)
        if len(beside):
            weights = self._fits.functionals(points[beside], {(0,) * points.shape[1]: np.ones(len(beside))})
            result[:, beside] = np.einsum("snk,nk->sn", self._values[:, weights.nodes], weights.values)
        return result

    def on_axes(self) -> Array:
        """Values on the full grid (n_shots, ...), boundary points that are nodes of it included; NaN outside."""
        mesh = np.meshgrid(*self._grid.axes, indexing="ij")
        shape = (len(self._values), *mesh[0].shape)
        flat = np.stack([axis.ravel() for axis in mesh], axis=1)
        result = np.full((len(self._values), len(flat)), np.nan, dtype=self._values.dtype)
        number = self._grid.number.ravel()
        result[:, number >= 0] = self._values[:, number[number >= 0]]
        on_boundary = (number < 0) & self._domain.contains(flat, _ON_BOUNDARY)
        result[:, on_boundary] = self(flat[on_boundary])
        return result.reshape(shape)

    def _cells(self, points: Array) -> tuple[Array, Array]:
        """Lower corner of the cell of each point, and its position in the cell, 0 to 1."""
        cells, offsets = [], []
        for column, axis, step in zip(points.T, self._grid.axes, self._grid.steps, strict=True):
            position = (np.nan_to_num(column, nan=axis[0]) - axis[0]) / step
            cell = np.clip(np.floor(position).astype(int), 0, len(axis) - 2)
            cells.append(cell)
            offsets.append(position - cell)
        return np.stack(cells, axis=1), np.stack(offsets, axis=1)

    def _blocks(self, cells: Array) -> Array:
        """Unknowns of the 4^d nodes around each cell, (n, 4^d); -1 where one is outside."""
        steps = np.stack(np.meshgrid(*[np.arange(-1, 3)] * cells.shape[1], indexing="ij"), axis=-1).reshape(-1, cells.shape[1])
        places = cells[:, None, :] + steps
        shape = np.array(self._grid.number.shape)
        covered = np.all((places >= 0) & (places < shape), axis=-1)
        clipped = np.clip(places, 0, shape - 1)
        return np.where(covered, self._grid.number[tuple(np.moveaxis(clipped, -1, 0))], -1)


def _cubic_weights(offsets: Array) -> Array:
    """Lagrange weights of the nodes -1, 0, 1, 2 along each coordinate, multiplied out: (n, 4^d)."""
    t = offsets
    lines = np.stack([
        -t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2, -(t + 1) * t * (t - 2) / 2, (t + 1) * t * (t - 1) / 6,
    ], axis=-1)  # fmt: skip
    weights = lines[:, 0]
    for axis in range(1, offsets.shape[1]):
        weights = (weights[:, :, None] * lines[:, axis, None, :]).reshape(len(offsets), 4 ** (axis + 1))
    return weights
