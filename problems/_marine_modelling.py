"""Waves of a layered or any other medium, for problems whose data no closed form gives: a grid solver that shares nothing with those that invert.

    Lap u + k^2 m u = N(x; source, variance)   in a box, absorbing layers around it that continue m along their normal

Staggered differences of sixth order on stretched coordinates, one sparse factorisation per frequency: another scheme, on another grid, than the
compact ones of the reference solvers, and no line in common with them. Sources are Gaussians that the grid resolves; receivers are read by cubic
splines.

Input: axes, squared slowness, sources, receivers. Output: complex values for exp(+i w t).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline
from scipy.sparse.linalg import splu

Array = NDArray[Any]

# First derivative at a half point from three neighbours on each side: Fornberg (1988), table 2.
_STAGGERED = (75 / 64, -25 / 384, 3 / 640)
# Each way through the layer leaves exp(-5), on as many nodes: more of one without the other only moves the reflection.
_LAYER_NODES = 14
_ATTENUATION = 5.0


def simulate(
    *,
    box: tuple[tuple[float, float], tuple[float, float]],
    spacing: float,
    squared_slowness: Callable[[Array, Array], Array],
    wavenumber: float,
    sources: Array,
    receivers: Array,
    variance: float,
) -> Array:
    """Return the fields of all sources at the receivers, (n_sources, n_receivers).

    Args:
        box: of the medium, (low, high) per axis; sources and receivers lie in it.
        spacing: of the grid; a tenth of the shortest wavelength leaves 1e-3.
        squared_slowness: m at positions, of x and z.
        wavenumber: k.
        sources: (n_sources, 2).
        receivers: (n_receivers, 2).
        variance: of the sources, a grid spacing squared at least.
    """
    axes = [_axis(low, high, spacing) for low, high in box]
    inside = [np.clip(axis, low, high) for axis, (low, high) in zip(axes, box, strict=True)]
    m = squared_slowness(*np.meshgrid(*inside, indexing="ij"))
    fastest = 2 * np.pi / (wavenumber * np.sqrt(m.min()))
    lines = [_second_derivative(axis, limits, spacing, fastest) for axis, limits in zip(axes, box, strict=True)]
    seconds, stretches = zip(*lines, strict=True)
    # Multiplied by both stretches the operator is symmetric, and so is its factorisation.
    first = sparse.kron(seconds[0], sparse.diags(stretches[1])) + sparse.kron(sparse.diags(stretches[0]), seconds[1])
    mass = np.outer(*stretches) * m * wavenumber**2
    operator = sparse.csc_matrix(first + sparse.diags(mass.ravel()))
    factors = splu(operator, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    loads = [np.outer(*(np.exp(-((axis - c) ** 2) / (2 * variance)) for axis, c in zip(axes, at, strict=True))).ravel() for at in sources]
    fields: Array = factors.solve(np.stack(loads, axis=1).astype(complex) / (2 * np.pi * variance))
    return np.stack([_read(axes, fields[:, shot].reshape(m.shape), receivers) for shot in range(len(sources))])


def _axis(low: float, high: float, spacing: float) -> Array:
    """Nodes of the box and of the layers on both sides; the last node lies at or behind the upper face."""
    count = int(np.ceil((high - low) / spacing - 1e-9))
    return np.asarray(low + spacing * np.arange(-_LAYER_NODES, count + _LAYER_NODES + 1))


def _second_derivative(axis: Array, limits: tuple[float, float], spacing: float, fastest: float) -> tuple[Any, Array]:
    """d/dx (1/s) d/dx along one axis, symmetric, and the stretch s at the nodes."""
    n = len(axis)
    width = _LAYER_NODES * spacing
    half = axis[:-1] + spacing / 2
    # exp(-int k_edge Im s) = exp(-attenuation) one way.
    strength = 3 * _ATTENUATION * fastest / (2 * np.pi * width)

    def stretch(positions: Array) -> Array:
        depth = np.maximum(np.maximum(limits[0] - positions, positions - limits[1]), 0) / width
        return np.asarray(1 - 1j * strength * depth**2)

    diagonals, offsets = [], []
    for number, weight in enumerate(_STAGGERED):
        diagonals += [[weight / spacing], [-weight / spacing]]
        offsets += [number + 1, -number]
    difference = sparse.csr_matrix(sparse.diags(diagonals, offsets, shape=(n - 1, n)))
    return -difference.T @ sparse.diags(1 / stretch(half)) @ difference, stretch(axis)


def _read(axes: list[Array], field: Array, receivers: Array) -> Array:
    """Values of one field at the receivers."""
    along, down = receivers[:, 0], receivers[:, 1]
    parts = [RectBivariateSpline(axes[0], axes[1], part)(along, down, grid=False) for part in (field.real, field.imag)]
    return np.asarray(parts[0] + 1j * parts[1])
