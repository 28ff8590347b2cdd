"""Sources and receivers of the discrete operator: total or scattered form, off-grid points.

Total form:      A(m) u = M(1) f.
Scattered form:  u = u0 + v,  A(m) v = -w^2 M(m - m0) u0,  u0 the closed form in the uniform medium m0 (complex coordinates in the layers).

The scattered form has no error of the source: percent-level inversion needs it. Input: `Shots`. Output: `Illumination`, which gives
right-hand sides, backgrounds and total fields for any model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

from ..closed_forms.hankel import PointSourceField, point_source, propagating_wavenumber
from ..real_arrays import real_array
from ..stencils import finite_difference_weights
from .grid import Grid
from .operator import Discretisation, HelmholtzOperator

Array = NDArray[Any]

# Points of the interpolating polynomial per axis: error 1e-6 of the field at 16 points per wavelength, 4e-3 at 5.
_POINTS_PER_AXIS = 8
# A Gaussian is put on the nodes from this many steps of standard deviation on: what the nodes add to its mean, 2 exp(-(2 pi s/h)^2/2), is 1e-12.
_RESOLVED_DEVIATION = 1.2


@dataclass(frozen=True)
class Shots:
    """Gaussian or point sources, amplitude * N(x; position, variance).

    Attributes:
        positions: (n_shots, 2), physical units.
        amplitudes: (n_shots,), complex, integral of each source.
        variance: of the Gaussians, 0 for points.
    """

    positions: Array
    amplitudes: Array
    variance: float = 0.0

    def __post_init__(self) -> None:
        positions, amplitudes = np.shape(self.positions), np.shape(self.amplitudes)
        fits = len(positions) == 2 and positions[1] == 2 and positions[0] > 0 and amplitudes == positions[:1]
        if not fits or not 0 <= self.variance < np.inf or not np.all(np.isfinite(self.positions)) or not np.all(np.isfinite(self.amplitudes)):
            given = f"positions of shape {positions}, amplitudes of shape {amplitudes} and variance {self.variance}"
            raise ReferenceSolverError(f"shots were given {given}; expected finite (n, 2), (n,) and a variance that is not negative")

    @classmethod
    def at(cls, positions: ArrayLike, amplitude: ArrayLike = 1.0, variance: float = 0.0) -> Shots:
        """Sources at positions (n_shots, 2) with one amplitude or one each.

        Raises:
            ReferenceSolverError: wrong shapes or a negative variance.
        """
        points = real_array("the positions of the shots", positions)
        if points.ndim != 2 or points.shape[1] != 2 or not len(points) or variance < 0:
            given = f"positions of shape {points.shape} and variance {variance}"
            raise ReferenceSolverError(f"shots were given {given}; expected (n, 2) and a variance that is not negative")
        amplitudes = np.asarray(amplitude, dtype=complex)
        if amplitudes.shape not in ((), (len(points),)):
            raise ReferenceSolverError(f"{len(points)} shots were given amplitudes of shape {amplitudes.shape}; expected one number or {len(points)}")
        return cls(points, np.broadcast_to(amplitudes, (len(points),)).copy(), float(variance))

    def __len__(self) -> int:
        """Number of shots."""
        return len(self.positions)


def receiver_matrix(discretisation: Discretisation, points: ArrayLike, what: str = "receivers") -> sparse.csr_matrix:
    """Values at points from values on all unknowns, (n_points, size): polynomials of degree 7 through the nodes of the box.

    Raises:
        ReferenceSolverError: a point in the layer or outside the grid.
    """
    grid = discretisation.grid
    positions = grid.check_points(points, what)
    inside = discretisation.inside.reshape(grid.shape)
    rows, columns, entries = [], [], []
    for row, point in enumerate(positions):
        (ix, wx), (iy, wy) = (_line_weights(grid, axis, float(point[axis])) for axis in (0, 1))
        columns.append(inside[np.ix_(ix, iy)].ravel())
        entries.append(np.outer(wx, wy).ravel())
        rows.append(np.full(len(columns[-1]), row))
    triplets = (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns)))
    matrix = sparse.csr_matrix(triplets, shape=(len(positions), discretisation.size))
    matrix.eliminate_zeros()
    return matrix


def _line_weights(grid: Grid, axis: int, position: float) -> tuple[NDArray[np.int64], Array]:
    """Nodes of one axis and their weights; near a face the polynomial leans inwards."""
    count = min(_POINTS_PER_AXIS, grid.shape[axis])
    offset = (position - grid.low[axis]) / grid.step[axis]
    first = int(np.clip(np.floor(offset) - count // 2 + 1, 0, grid.shape[axis] - count))
    return first + np.arange(count), finite_difference_weights(offset - first, np.arange(count, dtype=float), 0)


class Illumination:
    """The shots on one discretisation, in total or scattered form.

    Args:
        discretisation: of the operator.
        shots: sources.
        background: m0 of the scattered form; None for the total form.

    Raises:
        ReferenceSolverError: a source outside the grid, or a Gaussian too narrow for the grid in total form.
    """

    def __init__(self, discretisation: Discretisation, shots: Shots, background: float | None) -> None:
        grid = discretisation.grid
        grid.check_points(shots.positions, "sources")
        if background is not None and not background > 0:
            raise ReferenceSolverError(f"the scattered form was given the background {background}; expected a positive squared slowness")
        self.discretisation = discretisation
        self.shots = shots
        self.background = background
        self.incident: tuple[PointSourceField, ...] = ()
        if background is None:
            self.load = self._distributed()
            self.background_field = np.zeros((discretisation.size, 1), dtype=complex)
        else:
            k = propagating_wavenumber(discretisation.squared_frequency * background)
            pairs = zip(shots.positions, shots.amplitudes, strict=True)
            self.incident = tuple(point_source(k, tuple(map(float, at)), shots.variance, complex(a)) for at, a in pairs)
            self.load = np.zeros((discretisation.size, len(shots)), dtype=complex)
            self.background_field = self._incident_on_unknowns()

    def right_hand_sides(self, model: Array) -> Array:
        """Right-hand sides (size, n_shots) for a model (n_x, n_y)."""
        if self.background is None:
            return self.load
        d = self.discretisation
        return -d.squared_frequency * d.apply_mass(d.extend(model) - self.background, self.background_field)

    def solve(self, operator: HelmholtzOperator) -> Array:
        """The computed part v of the fields, (size, n_shots); all of the field in total form."""
        return operator.solve(self.right_hand_sides(operator.model))

    def total(self, computed: Array, shots: Array | None = None) -> Array:
        """Total fields on the unknowns, (size, n_shots), of all shots or of those by index whose computed part is given."""
        alone = shots is None or self.background is None
        return np.asarray(computed + (self.background_field if alone else self.background_field[:, shots]))

    def incident_at(self, points: ArrayLike) -> Array:
        """Closed-form part of the fields at points (n, 2): (n, n_shots), zero in total form."""
        positions = np.asarray(points, dtype=float)
        if self.background is None:
            return np.zeros((len(positions), len(self.shots)), dtype=complex)
        return np.stack([field(*positions.T) for field in self.incident], axis=-1)

    def _distributed(self) -> Array:
        d, shots = self.discretisation, self.shots
        if shots.variance == 0:
            spread = receiver_matrix(d, shots.positions, "sources").T.toarray() / np.prod(d.grid.step)
        else:
            deviation = float(np.sqrt(shots.variance))
            if deviation < _RESOLVED_DEVIATION * max(d.grid.step):
                raise ReferenceSolverError(
                    f"the Gaussian sources have a standard deviation of {deviation:.3g} on a grid of step {max(d.grid.step):.3g}; the total form "
                    f"needs {_RESOLVED_DEVIATION * max(d.grid.step):.3g} at least: use the scattered form (`background=`), which takes any width"
                )
            x, y = d.grid.nodes
            blobs = [np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * shots.variance)) / (2 * np.pi * shots.variance) for a, b in shots.positions]
            spread = d.pad(np.stack(blobs, axis=-1))
        return np.asarray(d.weights @ (spread * shots.amplitudes))

    def _incident_on_unknowns(self) -> Array:
        x, y = self.discretisation.complex_nodes
        return np.stack([field(x, y) for field in self.incident], axis=-1)


def simulate(
    discretisation: Discretisation, model: ArrayLike, shots: Shots, receivers: Sequence[Sequence[float]] | Array, *, background: float | None = None
) -> Array:
    """Measurements (n_shots, n_receivers) of the total field in a medium.

    Args:
        discretisation: of the operator.
        model: squared slowness (n_x, n_y).
        shots: sources.
        receivers: positions (n_receivers, 2).
        background: m0 of the scattered form; None for the total form.
    """
    illumination = Illumination(discretisation, shots, background)
    sampler = receiver_matrix(discretisation, receivers)
    computed = illumination.solve(discretisation.operator(model))
    return np.asarray((sampler @ computed + illumination.incident_at(receivers)).T)
