"""Iterative solution of definite systems of tensor grids: GMRES on the scheme itself, algebraic multigrid on the scheme of second order before it.

A direct factorisation of a 3-D grid needs O(N^2) operations and O(N^(4/3)) memory; multigrid needs O(N) of both. The matrix of order 2, 4 or 6 is
applied as it is, after elimination of the wall nodes by their own small factorisation. The preconditioner sees the compact scheme of second order:
the symbols of the two differ by a factor between 1 and 1.51 (order 6, shortest wave: 2 (49/36 + 3/2 + 3/20 + 1/90) / 4), so that the number
of iterations does not depend on the grid.

Reference: Ruge, Stueben (1987); Bell, Olson, Schroder (2022), PyAMG, J. Open Source Softw. 7, 4142.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg as sparse_linalg
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError

from .assembly import FaceRow, Grid, node_values, operator_matrix
from .coefficients import LinearForm

Array = NDArray[Any]

# Relative residual: far below the discretisation error of any grid that fits in memory.
RESIDUAL = 1e-11
# Of the step of iterative refinement that shows what the first solution lacked.
_REFINEMENT_RESIDUAL = 1e-2
# GMRES keeps as many vectors as fit and restarts then. Orders 2 and 4 need 15 to 25 steps, order 6 between 30 and 135, whatever the grid.
KEPT_BYTES = 1.5e9
KEPT_VECTORS = (40, 300)
MOST_STEPS = 400


class IterationError(ReferenceSolverError):
    """The iteration does not converge: a coarser grid may be solved still."""


def is_available() -> bool:
    """Whether PyAMG is installed."""
    return importlib.util.find_spec("pyamg") is not None


def _pyamg() -> Any:
    try:
        return importlib.import_module("pyamg")
    except ImportError as error:
        raise ReferenceSolverError(
            "systems of this size need multigrid, which the library PyAMG provides; it is not installed: pip install pinnsiren[oracles]"
        ) from error


class MultigridSolver:
    """A matrix on a tensor grid with wall rows, solved iteratively.

    Args:
        matrix: the whole system, wall rows included, real.
        form: the equation, for the scheme of second order.
        grid: the nodes; without layers.
        faces: wall conditions.
        owner: of every node, -2 inside, as `boundary_rows` returns it.

    Attributes:
        last_correction: size of the last step of refinement relative to the solution, a bound of the error that the iteration leaves.

    Raises:
        ReferenceSolverError: PyAMG is not installed.
    """

    def __init__(self, matrix: Any, form: LinearForm, grid: Grid, faces: Sequence[FaceRow], owner: Array) -> None:
        library = _pyamg()
        flat = owner.ravel()
        self._inner, self._wall = np.flatnonzero(flat == -2), np.flatnonzero(flat != -2)
        rows = sparse.csr_matrix(matrix)
        upper, lower = rows[self._inner], rows[self._wall]
        self._within, self._from_wall = upper[:, self._inner], upper[:, self._wall]
        self._to_wall = lower[:, self._inner]
        self._wall_factors = sparse_linalg.splu(sparse.csc_matrix(lower[:, self._wall])) if len(self._wall) else None
        compact = compact_matrix(form, grid, faces, owner)
        sign = -1.0 if compact.diagonal().mean() < 0 else 1.0
        hierarchy = library.smoothed_aggregation_solver(sparse.csr_matrix(sign * compact), symmetry="symmetric", max_coarse=200)
        self._preconditioner = hierarchy.aspreconditioner(cycle="V")
        self._sign = sign
        self.last_correction = 0.0

    def solve(self, right: Array) -> Array:
        """Solve for one or several columns.

        Raises:
            ReferenceSolverError: the iteration does not converge.
        """
        columns = []
        for column in np.asarray(right).T:
            parts = [self._solve_real(part) for part in ((column.real, column.imag) if np.iscomplexobj(column) else (column,))]
            columns.append(parts[0] if len(parts) == 1 else parts[0] + 1j * parts[1])
        return np.stack(columns, axis=-1)

    def _walls(self, data: Array) -> Array:
        return np.asarray(self._wall_factors.solve(data)) if self._wall_factors is not None else data

    def _solve_real(self, column: Array) -> Array:
        solution = np.zeros(len(column))
        at_walls = self._walls(np.ascontiguousarray(column[self._wall], dtype=float))
        load = self._sign * (column[self._inner] - self._from_wall @ at_walls)
        size = float(np.linalg.norm(load))
        if size > 0:
            count = len(self._inner)
            kept = int(np.clip(KEPT_BYTES / (8 * count), *KEPT_VECTORS))
            operator = sparse_linalg.LinearOperator((count, count), matvec=self._apply, dtype=float)
            first = self._iterate(operator, load, RESIDUAL, kept)
            rest = load - self._apply(first)
            left = float(np.linalg.norm(rest)) / size
            # Rounding of the operator, whose largest entries are 1/h^2, may keep the residual slightly above what was asked.
            if not left <= 1e3 * RESIDUAL:
                raise IterationError(
                    f"the multigrid iteration stopped at a relative residual of {left:.1e} after {MOST_STEPS} steps: first-order or "
                    "mixed derivatives outweigh the diffusion on this grid, or the operator is singular. Use a smaller grid, which is solved "
                    "directly: most_unknowns=..."
                )
            # A small residual bounds no error, the condition of the system stands between: a step of refinement shows it.
            correction = self._iterate(operator, rest, _REFINEMENT_RESIDUAL, kept)
            solution[self._inner] = first + correction
            self.last_correction = max(self.last_correction, float(np.linalg.norm(correction) / max(float(np.linalg.norm(first)), 1e-300)))
        solution[self._wall] = at_walls - self._walls(self._to_wall @ solution[self._inner])
        return solution

    def _iterate(self, operator: Any, load: Array, residual: float, kept: int) -> Array:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            found, _ = sparse_linalg.gmres(operator, load, rtol=residual, restart=kept, maxiter=-(-MOST_STEPS // kept), M=self._preconditioner)
        return np.asarray(found)

    def _apply(self, values: Array) -> Array:
        values = np.ravel(values)
        return np.asarray(self._sign * (self._within @ values - self._from_wall @ self._walls(self._to_wall @ values)))


def compact_matrix(form: LinearForm, grid: Grid, faces: Sequence[FaceRow], owner: Array) -> sparse.csr_matrix:
    """The scheme of second order on the inner nodes, walls eliminated by two-point conditions, without first-order and mixed derivatives.

    A condition a u + b du/dn = 0 between a wall node and its neighbour gives u_wall = b / (b + a h) u_neighbour.
    """
    kept = {index: value for index, value in form.derivatives.items() if sum(index) != 1 and (sum(index) == 0 or max(index) == 2)}
    principal = LinearForm(form.coordinates, tuple(term for term in form.fluxes if term.along == term.towards), kept, form.source)
    low = Grid(grid.axes, 2)
    whole = operator_matrix(principal, low)
    flat = owner.ravel()
    inner, wall = np.flatnonzero(flat == -2), np.flatnonzero(flat != -2)
    factors = np.zeros(grid.size)
    for number, face in enumerate(faces):
        owned = flat == number
        a, b = (np.real(node_values(e, form.coordinates, low).ravel()[owned]) for e in (face.a, face.b))
        factors[owned] = b / (b + a * grid.axes[face.axis].h)
    neighbours = [np.arange(a.n_nodes) if a.joined else np.clip(np.arange(a.n_nodes), 1, a.n_nodes - 2) for a in grid.axes]
    target = np.ravel_multi_index(tuple(np.meshgrid(*neighbours, indexing="ij")), grid.shape).ravel()
    fold = sparse.csr_matrix((factors[wall], (np.arange(len(wall)), np.searchsorted(inner, target[wall]))), shape=(len(wall), len(inner)))
    rows = whole[inner]
    return sparse.csr_matrix(rows[:, inner] + rows[:, wall] @ fold)
