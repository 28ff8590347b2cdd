"""Interpolation between grids of different steps: what error estimates and finer output need.

Fields of order 8 are better on their nodes than quintic splines are between them, so these functions use splines of degree 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from ..stencils import finite_difference_weights

Array = NDArray[Any]

DEGREE = 9
# Of the splines through which grid solutions are called.
CALLED_DEGREE = 5
_SLICES = 4
_COURSES = 200


def resampled(values: Array, axis: int, nodes: Array, targets: Array, degree: int = DEGREE) -> Array:
    """Values at other positions along one axis, by a spline."""
    degree = min(degree, len(nodes) - 1)
    moved = make_interp_spline(nodes, np.moveaxis(values, axis, 0), k=degree)(targets)
    return np.asarray(np.moveaxis(moved, 0, axis))


def at_instant(history: Array, instants: Array, instant: float) -> Array:
    """Polynomial interpolation between the ten nearest instants, time first."""
    count = min(DEGREE + 1, len(instants))
    near = int(np.clip(np.searchsorted(instants, instant) - count // 2, 0, len(instants) - count))
    weights = finite_difference_weights(float(instant), instants[near : near + count], 0)
    return np.asarray(np.tensordot(weights, history[near : near + count], axes=1))


def doubled(axis: Array) -> Array:
    """Nodes and midpoints."""
    return np.linspace(axis[0], axis[-1], 2 * len(axis) - 1)


def interpolation_error(history: Array, axes: Sequence[Array]) -> float:
    """Relative error between the nodes when the field is called, per axis the difference of splines of degree 5 and 9 at midpoints.

    Args:
        history: (n_instants, *nodes).
        axes: instants, then node positions per space axis.
    """
    size = max(float(np.sqrt(np.mean(np.abs(history) ** 2))), 1e-300)
    instants = axes[0]
    slices = history[np.unique(np.linspace(1, len(instants) - 1, _SLICES).astype(int))]
    chosen = np.random.default_rng(0).integers(0, int(np.prod(history.shape[1:])), _COURSES)
    courses = history.reshape(len(instants), -1)[:, chosen]
    squares = _gap(courses, 0, instants)
    squares += sum(_gap(slices, axis, nodes) for axis, nodes in enumerate(axes[1:], start=1))
    return float(np.sqrt(squares)) / size


def _gap(values: Array, axis: int, nodes: Array) -> float:
    middle = 0.5 * (nodes[1:] + nodes[:-1])
    gap = resampled(values, axis, nodes, middle) - resampled(values, axis, nodes, middle, CALLED_DEGREE)
    return float(np.mean(np.abs(gap) ** 2))
