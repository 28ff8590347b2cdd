"""The discrete Helmholtz operator: one factorisation for all sources and for the adjoint.

    A(m) u = (K + w^2 M(m)) u = M(1) f,      convention exp(+i w t),  w - i damping in place of w for waves weighted by exp(-damping t)

Input: `Discretisation` (grid, frequency, scheme, layers: all that does not depend on the medium) and a model of squared slowness on the nodes.
Output: `HelmholtzOperator`, whose `solve` and `solve_transposed` share the factors. Unknowns are the nodes of the box and of its layers,
flattened; `pad` and `restrict` go between the two. Behind the faces the model continues as a constant along the normal.

M is linear in m, so derivatives are exact: w' M(dm) u = sum over nodes of dm times `mass_gradient(w, u)`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg as sparse_linalg
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

from ..factorisation import nested_dissection
from .grid import Grid
from .layers import FaceLayer, layer_for_face
from .memory import check_memory
from .schemes import Scheme, across, mass_weights, scheme_named, stiffness

Array = NDArray[Any]

FACES = ("x-", "x+", "y-", "y+")
# A residual above the first is refined once, above the second it is an error; fp64 factors of good operators leave 1e-15.
_REFINED, _SINGULAR = 1e-12, 1e-8
# Right-hand sides solved at a time.
_BLOCK = 16


class Discretisation:
    """All of the operator that does not depend on the medium inside.

    Args:
        grid: nodes of the box.
        angular_frequency: w, so that k = w sqrt(m).
        model: squared slowness (n_x, n_y) for which the layers are laid out and the resolution is checked.
        scheme: `order2`, `order4`, `order6`, or `nine_point` (few points per wavelength).
        layer_wavelengths: thickness of the layers in wavelengths of their face.
        most_layer_cells: beyond which a layer is made no thicker, unless a quarter of the longest wavelength needs more; None for as thick as asked.
        layers: of the four faces x-, x+, y-, y+, instead of chosen ones.
        damping: of the complex frequency w - i damping; layers and resolution follow w.

    Raises:
        ReferenceSolverError: fewer than four points per wavelength, a layer thinner than a quarter wavelength, a bad model, too little memory.
    """

    def __init__(
        self,
        grid: Grid,
        angular_frequency: float,
        model: ArrayLike,
        *,
        scheme: str = "order4",
        layer_wavelengths: float = 1.0,
        most_layer_cells: int | None = None,
        layers: tuple[FaceLayer, FaceLayer, FaceLayer, FaceLayer] | None = None,
        damping: float = 0.0,
    ) -> None:
        if not 0 <= damping < np.inf:
            raise ReferenceSolverError(f"the Helmholtz operator was given damping={damping}; expected a number that is not negative")
        if not 0 < angular_frequency < np.inf:
            raise ReferenceSolverError(f"the Helmholtz operator was given angular_frequency={angular_frequency}; expected a positive number")
        if not 0 <= layer_wavelengths < np.inf:
            raise ReferenceSolverError(f"the Helmholtz operator was given layer_wavelengths={layer_wavelengths}; expected a number, 1 is usual")
        # Before anything of its size is made; with the layers once more below.
        check_memory(grid.shape, scheme_named(scheme))
        medium = grid.checked_model(model)
        grid.check_resolution(angular_frequency, medium)
        self.grid = grid
        self.angular_frequency = float(angular_frequency)
        self.damping = float(damping)
        self.scheme: Scheme = scheme_named(scheme)
        self.layers = layers or _chosen_layers(self.scheme, grid, self.angular_frequency, medium, layer_wavelengths, most_layer_cells)
        before = (self.layers[0].cells, self.layers[2].cells)
        behind = (self.layers[1].cells, self.layers[3].cells)
        self.padded_shape = (before[0] + grid.shape[0] + behind[0], before[1] + grid.shape[1] + behind[1])
        self._before = before
        check_memory(self.padded_shape, self.scheme)

    @property
    def squared_frequency(self) -> complex:
        """(w - i damping)^2, the factor of the mass; real without damping."""
        return complex(self.angular_frequency, -self.damping) ** 2 if self.damping else self.angular_frequency**2

    @property
    def size(self) -> int:
        """Number of unknowns, layers included."""
        return self.padded_shape[0] * self.padded_shape[1]

    @cached_property
    def elimination_order(self) -> NDArray[np.int64]:
        """Nested dissection of the nodes."""
        return nested_dissection(self.padded_shape, self.scheme.reach)

    @cached_property
    def stiffness(self) -> sparse.csr_matrix:
        """K of both directions, (size, size), symmetric."""
        lines = [self._stretch(axis) for axis in (0, 1)]
        k = [stiffness(self.scheme, n, h, e) for n, h, e in zip(self.padded_shape, self.grid.step, lines, strict=True)]
        s = [across(self.scheme, n, e) for n, e in zip(self.padded_shape, lines, strict=True)]
        return sparse.csr_matrix(sparse.kron(k[0], s[1]) + sparse.kron(s[0], k[1]))

    @cached_property
    def stretch(self) -> Array:
        """ex ey on all unknowns, flattened."""
        x, y = (self._stretch(axis)(np.arange(n, dtype=float)) for axis, n in enumerate(self.padded_shape))
        return np.outer(x, y).ravel()

    @cached_property
    def weights(self) -> sparse.csr_matrix:
        """W, the spread of the mass."""
        return mass_weights(self.scheme, self.padded_shape)

    @cached_property
    def _source_node(self) -> NDArray[np.int64]:
        """For every unknown, the node of the box whose model value it carries."""
        x, y = (np.clip(np.arange(n) - b, 0, m - 1) for n, b, m in zip(self.padded_shape, self._before, self.grid.shape, strict=True))
        return (x[:, None] * self.grid.shape[1] + y[None, :]).ravel()

    @cached_property
    def inside(self) -> NDArray[np.int64]:
        """Indices of the unknowns that are nodes of the box, in the order of the box."""
        numbers = np.arange(self.size).reshape(self.padded_shape)
        corner = numbers[self._before[0] : self._before[0] + self.grid.shape[0], self._before[1] : self._before[1] + self.grid.shape[1]]
        return corner.ravel()

    @cached_property
    def complex_nodes(self) -> tuple[Array, Array]:
        """Stretched coordinates of all unknowns, flattened: real in the box, complex in the layers."""
        lines = []
        for axis, n in enumerate(self.padded_shape):
            position = np.arange(n, dtype=float) - self._before[axis]
            last = self.grid.shape[axis] - 1
            low, high = self.layers[2 * axis], self.layers[2 * axis + 1]
            moved = position.astype(complex)
            moved[position < 0] = -low.stretched_depth(-position[position < 0])
            moved[position > last] = last + high.stretched_depth(position[position > last] - last)
            lines.append(self.grid.low[axis] + self.grid.step[axis] * moved)
        x, y = np.meshgrid(*lines, indexing="ij")
        return x.ravel(), y.ravel()

    def operator(self, model: ArrayLike) -> HelmholtzOperator:
        """The operator of a medium, factorised.

        Args:
            model: squared slowness (n_x, n_y) on the nodes of the box.
        """
        return HelmholtzOperator(self, model)

    def extend(self, model: Array) -> Array:
        """A model of the box continued into the layers, flattened."""
        return np.asarray(model).ravel()[self._source_node]

    def pad(self, values: Array) -> Array:
        """Values on the box, (n_x, n_y) or (n_x, n_y, n), as columns on all unknowns, zero in the layers."""
        flat = np.asarray(values).reshape(self.grid.shape[0] * self.grid.shape[1], -1)
        padded = np.zeros((self.size, flat.shape[1]), dtype=complex)
        padded[self.inside] = flat
        return padded

    def restrict(self, columns: Array) -> Array:
        """Columns on all unknowns as (n, n_x, n_y) on the box."""
        return np.moveaxis(np.asarray(columns)[self.inside].reshape((*self.grid.shape, -1)), -1, 0)

    def mass(self, extended: Array) -> sparse.csr_matrix:
        """M(m) = (W E m + E m W)/2 of a model on all unknowns."""
        diagonal = sparse.diags(self.stretch * extended)
        if self.scheme.is_star:
            return sparse.csr_matrix(diagonal)
        return sparse.csr_matrix((self.weights @ diagonal + diagonal @ self.weights) / 2)

    def apply_mass(self, extended: Array, columns: Array) -> Array:
        """M(m) u of several columns."""
        weighted = (self.stretch * extended)[:, None]
        if self.scheme.is_star:
            return np.asarray(weighted * columns)
        return np.asarray((self.weights @ (weighted * columns) + weighted * (self.weights @ columns)) / 2)

    def mass_gradient(self, adjoint: Array, columns: Array) -> Array:
        """Derivative of sum_s w_s' M(m) u_s in the model of the box, complex (n_x, n_y); adjoint and columns are (size, n)."""
        if self.scheme.is_star:
            product = np.einsum("is,is->i", adjoint, columns)
        else:
            spread = np.einsum("is,is->i", self.weights @ adjoint, columns) + np.einsum("is,is->i", adjoint, self.weights @ columns)
            product = spread / 2
        return self.collect(self.stretch * product)

    def collect(self, extended: Array) -> Array:
        """The transpose of `extend`: sums over the unknowns that carry each node's value, (n_x, n_y)."""
        return np.asarray(self.collector @ extended).reshape(self.grid.shape)

    @cached_property
    def collector(self) -> sparse.csr_matrix:
        """The transpose of `extend` as a matrix, (n_x n_y, size)."""
        ones = np.ones(self.size)
        return sparse.csr_matrix((ones, (self._source_node, np.arange(self.size))), shape=(self.grid.shape[0] * self.grid.shape[1], self.size))

    def _stretch(self, axis: int) -> Any:
        low, high = self.layers[2 * axis], self.layers[2 * axis + 1]
        first, last = self._before[axis], self._before[axis] + self.grid.shape[axis] - 1

        def e(position: Array) -> Array:
            return np.asarray(low.stretch(first - position) + high.stretch(position - last) - 1)

        return e


class HelmholtzOperator:
    """The operator of one medium and frequency, factorised once.

    Attributes:
        discretisation: what does not depend on the medium.
        model: squared slowness (n_x, n_y).
        matrix: A, sparse, symmetric.
        wave_solves: number of right-hand sides solved so far, adjoint ones included.
    """

    def __init__(self, discretisation: Discretisation, model: ArrayLike) -> None:
        self.discretisation = discretisation
        self.model = discretisation.grid.checked_model(model)
        discretisation.grid.check_resolution(discretisation.angular_frequency, self.model)
        mass = discretisation.mass(discretisation.extend(self.model))
        self.matrix = sparse.csc_matrix(discretisation.stiffness + discretisation.squared_frequency * mass)
        self.wave_solves = 0
        self._order = discretisation.elimination_order
        permuted = sparse.csc_matrix(self.matrix[self._order][:, self._order])
        try:
            # The diagonal is large where the grid resolves the wave, and a low threshold keeps the fill of the dissection: a part that resonates has
            # pivots below a hundredth, and giving way to them doubled the memory on 900^2 nodes. What they cost in digits, refinement restores.
            self._factors = sparse_linalg.splu(permuted, permc_spec="NATURAL", diag_pivot_thresh=1e-3, options={"SymmetricMode": True})
        except RuntimeError as error:
            raise ReferenceSolverError("the discrete Helmholtz operator is singular to working precision: the medium resonates") from error

    @property
    def fill(self) -> int:
        """Number of entries of both factors."""
        return int(self._factors.nnz)

    def solve(self, right: Array) -> Array:
        """u of A u = right, columns (size,) or (size, n).

        Raises:
            ReferenceSolverError: the residual stays large.
        """
        return self._solve(right)

    def solve_transposed(self, right: Array) -> Array:
        """w of A' w = right (transposed, not conjugated), by the same factors: A is symmetric."""
        return self._solve(right)

    def solve_adjoint(self, right: Array) -> Array:
        """w of A* w = right (transposed and conjugated), by the same factors."""
        return np.conj(self._solve(np.conj(right)))

    def fields(self, source: ArrayLike) -> Array:
        """Fields (n, n_x, n_y) of distributed sources f (n_x, n_y) or (n_x, n_y, n), zero in the layers."""
        d = self.discretisation
        return d.restrict(self.solve(np.asarray(d.weights @ d.pad(np.asarray(source)))))

    def _solve(self, right: Array) -> Array:
        right = np.asarray(right, dtype=complex)
        if right.shape[:1] != (self.discretisation.size,):
            raise ReferenceSolverError(
                f"the Helmholtz operator was given a right-hand side of shape {right.shape}; expected ({self.discretisation.size},) or "
                f"({self.discretisation.size}, n): all nodes, layers included (see `Discretisation.pad`)"
            )
        if right.ndim == 1:
            return np.asarray(self._solve(right[:, None])[:, 0])
        self.wave_solves += right.shape[1]
        solution = np.empty_like(right)
        # Blocks, so that hundreds of shots need no more memory than their own fields.
        for first in range(0, right.shape[1], _BLOCK):
            block = slice(first, first + _BLOCK)
            solution[:, block] = self._checked(right[:, block])
        return solution

    def _checked(self, right: Array) -> Array:
        solution = self._raw(right)
        size = max(float(np.linalg.norm(right)), 1e-300)
        residual = right - self.matrix @ solution
        if np.linalg.norm(residual) > _REFINED * size:
            solution = solution + self._raw(residual)
            residual = right - self.matrix @ solution
            if not np.linalg.norm(residual) <= _SINGULAR * size:
                raise ReferenceSolverError(
                    f"the Helmholtz solve leaves a relative residual of {np.linalg.norm(residual) / size:.1e}: the operator is close to singular"
                )
        return np.asarray(solution)

    def _raw(self, right: Array) -> Array:
        result = np.empty_like(right)
        result[self._order] = self._factors.solve(np.asfortranarray(right[self._order]))
        return result


def _chosen_layers(
    scheme: Scheme, grid: Grid, angular_frequency: float, model: Array, wavelengths: float, most_cells: int | None
) -> tuple[FaceLayer, FaceLayer, FaceLayer, FaceLayer]:
    chosen = []
    for number, face in enumerate(FACES):
        axis, side = divmod(number, 2)
        along = np.take(model, -side, axis=axis)
        shortest, longest = (2 * np.pi / (angular_frequency * float(np.sqrt(value))) for value in (along.max(), along.min()))
        chosen.append(layer_for_face(scheme, wavelengths, shortest, longest, grid.step[axis], face, most_cells))
    return chosen[0], chosen[1], chosen[2], chosen[3]
