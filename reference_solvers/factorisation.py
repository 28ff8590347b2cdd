"""Direct solution of the sparse systems of tensor grids, unknowns numbered by nested dissection.

Separators as wide as the stencil make the fill of a 2-D grid O(N log N). SuperLU gets the numbering and factorises; one step of iterative
refinement and a check of the residual guard against the weak pivoting that keeps the fill low.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg as sparse_linalg
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError

Array = NDArray[Any]
_RESIDUAL = 1e-9


def nested_dissection(shape: tuple[int, ...], separator: int, joined: Collection[int] = ()) -> NDArray[np.int64]:
    """Order of elimination of the points of a tensor grid: halves first, the separating slab last, recursively.

    Along `joined` axes the grid is a loop; it is cut open by a slab at its beginning.
    """
    numbered: list[NDArray[np.int64]] = []

    def dissect(block: NDArray[np.int64]) -> None:
        axis = int(np.argmax(block.shape))
        length = block.shape[axis]
        if length <= 4 * separator:
            numbered.append(block.ravel())
            return
        middle = (length - separator) // 2
        parts = np.split(block, [middle, middle + separator], axis=axis)
        dissect(parts[0])
        dissect(parts[2])
        numbered.append(parts[1].ravel())

    block = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    cuts: list[NDArray[np.int64]] = []
    for axis in sorted(joined):
        cut, block = np.split(block, [min(separator, block.shape[axis] - 1)], axis=axis)
        cuts.append(cut.ravel())
    dissect(block)
    return np.concatenate([*numbered, *reversed(cuts)])


class Factorisation:
    """LU factors of a matrix whose leading unknowns live on a tensor grid; further ones (multipliers) are eliminated last."""

    def __init__(self, matrix: Any, shape: tuple[int, ...], separator: int, joined: Collection[int] = ()) -> None:
        self._matrix = sparse.csc_matrix(matrix)
        order = nested_dissection(shape, separator, joined)
        self._order = np.concatenate([order, np.arange(len(order), matrix.shape[0])])
        permuted = sparse.csc_matrix(self._matrix[self._order][:, self._order])
        try:
            self._factors = sparse_linalg.splu(
                permuted, permc_spec="NATURAL", diag_pivot_thresh=0.01, options={"SymmetricMode": True}
            )
        except RuntimeError as error:
            raise ReferenceSolverError(
                "the discrete operator is singular: the homogeneous problem has a solution of its own (a resonance, or a "
                "condition is missing)"
            ) from error

    def solve(self, right: Array) -> Array:
        """Solve for one or several columns.

        Raises:
            ReferenceSolverError: the residual stays large, the operator is singular to working precision.
        """
        solution = self._raw(right)
        solution = solution + self._raw(right - self._matrix @ solution)
        residual = np.linalg.norm(right - self._matrix @ solution)
        size = np.linalg.norm(right) + sparse_linalg.norm(self._matrix) * np.linalg.norm(solution) * 1e-6
        if not residual <= _RESIDUAL * max(size, 1e-300):
            raise ReferenceSolverError(
                f"the linear solve leaves a relative residual of {residual / max(size, 1e-300):.1e}: the operator is close to singular "
                "(a resonance of the closed box, or a missing condition)"
            )
        return solution

    def _raw(self, right: Array) -> Array:
        permuted = np.asarray(right[self._order], dtype=self._matrix.dtype)
        result = np.empty_like(permuted)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            result[self._order] = self._factors.solve(permuted)
        return result
