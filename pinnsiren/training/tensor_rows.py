"""Rows of least squares on tensor products of cosines, without the matrix.

Input: a compiled problem whose equations are affine, and the number of cosines per axis. Output: `TensorRows`: the product with all rows, with their
transpose, and the norms of the columns. Equations are collocated on a tensor grid, where the sums over the axes are done one after the other; all
other residuals at scattered points, where the table of one axis is contracted at a time. N functions cost N^(1 + 1/d) operations on a grid instead of
N^2, and no memory beyond the tables of the axes.
"""

from dataclasses import dataclass
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.ir import MultiIndex
from pinnsiren.language.cosine_series import cosines
from pinnsiren.training.row_system import RowSystem
from pinnsiren.training.sampling import PointSet, sample_residual
from pinnsiren.training.scaling import linear_weights, residual_scale

Array = NDArray[np.float64]
Key = tuple[int, MultiIndex]  # index of the field, orders of differentiation
SEED_STEP = 31


@dataclass(frozen=True)
class RowBlock:
    """Weighted rows of one residual.

    Attributes:
        weights: {(field, orders): (n_points,)}, the linear operator at each point times the weight of the row.
        right: (n_points,), weighted right-hand sides.
        tables: per axis {order: (n_nodes or n_points, n_cosines)}.
        grid: nodes per axis when the points form a tensor grid, None when they are scattered.
    """

    weights: dict[Key, Array]
    right: Array
    tables: tuple[dict[int, Array], ...]
    grid: tuple[int, ...] | None

    def forward(self, coefficients: Array) -> Array:
        """Apply the rows to coefficients (n_fields, n_1, ..., n_d)."""
        total = np.zeros(len(self.right))
        for (index, orders), weight in self.weights.items():
            total += weight * self._values(coefficients[index], self._chosen(orders))
        return total

    def transpose(self, rows: Array, shape: tuple[int, ...]) -> Array:
        """Apply the transposed rows to (n_points,)."""
        result = np.zeros(shape)
        for (index, orders), weight in self.weights.items():
            result[index] += self._sums(weight * rows, self._chosen(orders))
        return result

    def column_squares(self, shape: tuple[int, ...]) -> Array:
        """Return the squared norm of every column."""
        result = np.zeros(shape)
        for ((i, first), a), ((j, second), b) in product(self.weights.items(), repeat=2):
            if i == j:
                tables = [x * y for x, y in zip(self._chosen(first), self._chosen(second), strict=True)]
                result[i] += self._sums(a * b, tables)
        return result

    def _chosen(self, orders: MultiIndex) -> list[Array]:
        return [table[order] for table, order in zip(self.tables, orders, strict=True)]

    def _values(self, coefficients: Array, tables: list[Array]) -> Array:
        if self.grid is not None:
            # tensordot moves the contracted axis to the end: after all of them the axes stand in their order again.
            return np.asarray(reduce(lambda total, table: np.tensordot(total, table, axes=(0, 1)), tables, coefficients)).ravel()
        total = np.tensordot(tables[0], coefficients, axes=1)
        for table in tables[1:]:
            total = np.einsum("pk,pk...->p...", table, total)
        return np.asarray(total)

    def _sums(self, rows: Array, tables: list[Array]) -> Array:
        if self.grid is not None:
            return np.asarray(reduce(lambda total, table: np.tensordot(total, table, axes=(0, 0)), tables, rows.reshape(self.grid)))
        total = tables[-1] * rows[:, None]
        for table in tables[-2:0:-1]:
            total = np.einsum("pk,p...->pk...", table, total)
        return np.asarray(np.tensordot(tables[0], total, axes=(0, 0))) if len(tables) > 1 else total.sum(axis=0)


class TensorRows:
    """All rows of a problem.

    Args:
        compiled: the problem.
        counts: cosines per axis.
        nodes: collocation nodes per axis, at the centres of equal cells.
        seed: of the scattered points.
    """

    def __init__(self, compiled: CompiledProblem, counts: tuple[int, ...], nodes: tuple[int, ...], seed: int) -> None:
        self.compiled = compiled
        self.shape = (len(compiled.ir.is_complex), *counts)
        self.limits = tuple(compiled.ir.domain.bounds[symbol] for symbol in compiled.ir.coordinates)
        self._system = RowSystem(compiled, (), "cpu", float)  # type: ignore[arg-type]
        lines = [low + (high - low) * (np.arange(n) + 0.5) / n for (low, high), n in zip(self.limits, nodes, strict=True)]
        grid = np.stack([axis.ravel() for axis in np.meshgrid(*lines, indexing="ij")], axis=1)
        self.blocks = []
        for index, program in enumerate(compiled.programs):
            if program.residual.kind == "equation":
                self.blocks.append(self._block(program, PointSet(grid), lines, nodes))
                continue
            drawn = sample_residual(compiled, program.residual, len(grid), seed + SEED_STEP * index)
            self.blocks.append(self._block(program, drawn, list(drawn.points.T), None))

    def _block(self, program: Any, drawn: PointSet, columns: list[Array], grid: tuple[int, ...] | None) -> RowBlock:
        coefficients = program.coefficients(drawn.points, drawn.normals)
        zeros = [np.zeros((len(drawn.points), 1)) for _ in program.jets]
        partials, residual = linear_weights(program, coefficients, zeros, [], len(drawn.points))
        right = -np.broadcast_to(residual, (len(drawn.points), 1))[:, 0]
        right = right if drawn.values is None else right + drawn.values[:, 0]
        weight = np.ones(len(drawn.points)) if drawn.weights is None else np.sqrt(drawn.weights)
        weight = weight / (residual_scale(self.compiled, program, drawn, []) * np.sqrt(len(drawn.points)))
        weights = {(jet.field, jet.orders): weight * partial[:, 0] for jet, partial in zip(program.jets, partials, strict=True)}
        tables = tuple(
            {order: cosines(column, low, high, count, order) for order in {orders[axis] for _, orders in weights}}
            for axis, (column, (low, high), count) in enumerate(zip(columns, self.limits, self.shape[1:], strict=True))
        )
        return RowBlock(weights, weight * right, tables, grid)

    def right(self) -> Array:
        """Return all weighted right-hand sides."""
        return np.concatenate([block.right for block in self.blocks])

    def forward(self, coefficients: Array) -> Array:
        """Apply all rows to a vector of coefficients."""
        shaped = coefficients.reshape(self.shape)
        return np.concatenate([block.forward(shaped) for block in self.blocks])

    def transpose(self, rows: Array) -> Array:
        """Apply the transposed rows."""
        parts = np.split(rows, np.cumsum([len(block.right) for block in self.blocks])[:-1])
        total = np.zeros(self.shape)
        for block, part in zip(self.blocks, parts, strict=True):
            total += block.transpose(part, self.shape)
        return total.ravel()

    def column_norms(self) -> Array:
        """Return the norms of the columns; one where a column vanishes up to rounding, such as the constant under derivatives alone."""
        squares = np.zeros(self.shape)
        for block in self.blocks:
            squares += block.column_squares(self.shape)
        norms = np.sqrt(np.maximum(squares.ravel(), 0.0))
        return np.where(norms > 1e-12 * float(norms.max()), norms, np.inf)
