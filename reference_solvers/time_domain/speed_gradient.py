"""Misfit of one shot and its exact gradient in the speed map, for inversion in time.

    J = 1/2 sum (traces - observed)^2,    dJ/dc on the nodes of the map

One forward run keeps `v_1, ..., v_m` of every step (see `stepping`); one run back in time, driven by the residuals at the receivers, gives the
adjoint field mu. With the volumes H of the nodes and s = c^2, for the two levels of order 4 in time,

    dJ/ds = (H/s^2) sum_n [ v_1 (dt^2 mu + dt^4/12 A mu) + dt^4/12 v_2 mu ],

because `H/s` times the operator A is symmetric. The speed in the layers around the map is held: the gradient is exact for changes that leave the
outermost nodes of the map, which the layers continue, as they are.

Reference: Plessix (2006), Geophys. J. Int. 167, 495-503.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

from .free_memory import check_memory
from .propagator import AcousticPropagator
from .stepping import Drive

Array = NDArray[Any]


def misfit_and_gradient(
    propagator: AcousticPropagator, sources: ArrayLike, wavelets: ArrayLike, receivers: ArrayLike, observed: ArrayLike
) -> tuple[float, Array]:
    """Misfit of the traces of one shot and its derivative in the speed at every node.

    Args:
        propagator: with the speed at which the gradient is taken.
        sources, wavelets, receivers: as in `AcousticPropagator.shoot`.
        observed: (n_receivers, n_times).

    Returns:
        J, and dJ/dc of the shape of the speed map.

    Raises:
        ReferenceSolverError: as `shoot`; observed traces of another shape; no memory for the history (n_times x nodes x time_order/2 numbers).
    """
    injection, sampling = propagator.point_weights("sources", sources), propagator.point_weights("receivers", receivers)
    signals = propagator.checked_wavelets(wavelets, injection.shape[0])
    data = np.atleast_2d(np.asarray(observed, dtype=float))
    n_times, stepper = signals.shape[-1], propagator.stepper
    if data.shape != (sampling.shape[0], n_times):
        raise ReferenceSolverError(f"observed traces of shape {data.shape}; expected ({sampling.shape[0]}, {n_times}), receivers and instants")
    check_memory(8 * n_times * propagator.speed.size, stepper.n_levels, f"the history of {n_times} steps for the gradient")
    history = np.empty((n_times, stepper.n_levels, *propagator.speed.shape))
    traces = np.empty_like(data)
    _rest(propagator)
    forces = propagator.source_terms(injection, signals)
    for step in range(n_times):
        stepper.advance(_recorded(forces(step), history[step], propagator))
        propagator.pin_walls(stepper.now)
        traces[:, step] = sampling @ stepper.now.ravel()
    residuals = traces - data
    return 0.5 * float(np.sum(residuals**2)), 2 * propagator.speed * _backward(propagator, sampling, residuals, history)


def _rest(propagator: AcousticPropagator) -> None:
    propagator.operator.reset()
    propagator.stepper.before[...], propagator.stepper.now[...] = 0, 0


def _recorded(drive: Drive, levels: Array, propagator: AcousticPropagator) -> Drive:
    def record(k: int, v: Array) -> None:
        drive(k, v)
        levels[k - 1] = v[propagator.box]

    return record


def _backward(propagator: AcousticPropagator, sampling: Any, residuals: Array, history: Array) -> Array:
    """dJ/dc^2: the adjoint field is a run of the same propagator with time reversed."""
    stepper, operator, box = propagator.stepper, propagator.operator, propagator.box
    scale = operator.squared_speed / operator.node_volumes
    transposed = sampling.T.tocsr()
    touched = np.flatnonzero(np.diff(transposed.indptr))
    increments = scale.ravel()[touched, None] * (transposed[touched] @ residuals)
    total = np.zeros(propagator.speed.shape)
    last = residuals.shape[1] - 1
    _rest(propagator)
    for back in range(last + 2):
        # The levels of this step belong to the adjoint field that the previous one left.
        stepper.advance(_collected(total, history[last - back + 1] if back else None, propagator))
        if back > last:
            break
        stepper.now.reshape(-1)[touched] += increments[:, last - back]
        propagator.pin_walls(stepper.now)
        total += propagator.dt**2 * history[last - back, 0] * stepper.now[box]
        if stepper.n_levels > 1:
            total += propagator.dt**4 / 12 * history[last - back, 1] * stepper.now[box]
    return total / (scale * operator.squared_speed)[box]


def _collected(total: Array, levels: Array | None, propagator: AcousticPropagator) -> Drive:
    """Adds `dt^4/12 v_1 A mu` while the step computes A mu."""

    def collect(k: int, v: Array) -> None:
        propagator.pin_walls(v)
        if k == 1 and levels is not None and propagator.stepper.n_levels > 1:
            total[...] += propagator.dt**4 / 12 * levels[0] * v[propagator.box]

    return collect
