"""Integration in time of the ordinary differential equations that a grid leaves, by SciPy's integrators.

Input: rates, their Jacobian, an initial state, a relative tolerance. Output: `March`, instants and states. Stiff problems (diffusion, transport with
diffusion) use Radau IIA of order 5, whose own steps become the instants: they are dense where the solution is fast, and its dense output between
them is of order 3 only. Waves, and diffusion in the plane that is slow enough, use the explicit method of order 8 without factorisations; its dense
output of order 7 gives the instants asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.integrate import DOP853, Radau
from scipy.sparse import linalg as sparse_linalg

from pinnsiren.errors import ReferenceSolverError

Array = NDArray[Any]
Rate = Callable[[float, Array], Array]

# A quintic spline in time needs some; initial layers bring their own.
FEWEST_STEPS = 24
_MOST_STEPS = 20_000
# Inner collocation points of Radau IIA of order 5, relative to the step.
_COLLOCATION = np.array([(4 - np.sqrt(6)) / 10, (4 + np.sqrt(6)) / 10])
# Neighbouring steps that differ by less than this are even enough for splines.
_EVEN = 1.15
# Growth of the state at which the solution is taken to leave every bound.
_BLOW_UP = 1e8


class BreakdownError(ReferenceSolverError):
    """The integration went no further: a finer grid may, where the cause is a grid that does not resolve a front."""


@dataclass(frozen=True)
class March:
    """Instants (n,) and states (n, n_states)."""

    instants: Array
    states: Array


def march_stiff(
    name: str,
    rate: Rate,
    jacobian: Callable[[float, Array], Any],
    start: Array,
    span: tuple[float, float],
    rtol: float,
    elimination: Array | None = None,
    longest_step: float = np.inf,
    most_growth: float = _BLOW_UP,
) -> March:
    """Radau with steps of its own choice.

    Args:
        name: of the problem.
        rate: of the state.
        jacobian: sparse derivative of the rate.
        start: the initial state.
        span: first and last instant.
        rtol: tolerance of one step relative to the size of the initial state.
        elimination: order in which unknowns are eliminated, None for SuperLU's own.
        most_growth: of the state at which the solution is taken to leave every bound; linear problems may grow as they like.
        longest_step: which no step exceeds, so that none leaps over what the data do.

    Raises:
        BreakdownError: the solution blows up, or needs too many steps.
    """
    scale = _scale(rate, start, span)
    longest = min((span[1] - span[0]) / FEWEST_STEPS, longest_step)
    solver = Radau(rate, span[0], start, span[1], rtol=rtol, atol=rtol * scale, jac=jacobian, max_step=longest)
    if elimination is not None:
        _eliminate_in_order(solver, elimination)
    instants, states, between = [span[0]], [start], []
    while solver.status == "running":
        _advance(solver, name, len(instants), scale, most_growth)
        inner = instants[-1] + (float(solver.t) - instants[-1]) * _COLLOCATION
        between.append((inner, solver.dense_output()(inner).T))
        instants.append(float(solver.t))
        states.append(np.array(solver.y))
    return _with_inner_points(np.array(instants), states, between)


def _with_inner_points(instants: Array, states: list[Array], between: list[tuple[Array, Array]]) -> March:
    """Adds the collocation points of the steps where the step size changes.

    A spline carries what a sudden start leaves from step to step; where steps grow geometrically it does not decay by itself.
    """
    steps = np.diff(instants)
    changes = np.ones(len(steps) + 1)
    changes[1:-1] = np.maximum(steps[1:] / steps[:-1], steps[:-1] / steps[1:])
    uneven = np.maximum(changes[:-1], changes[1:]) > _EVEN
    times, values = [instants[:1]], [states[0][None]]
    for number, (inner, inside) in enumerate(between):
        if uneven[number]:
            times.append(inner)
            values.append(inside)
        times.append(instants[number + 1 : number + 2])
        values.append(states[number + 1][None])
    return March(np.concatenate(times), np.concatenate(values))


def _eliminate_in_order(solver: Radau, elimination: Array) -> None:
    """Let Radau factorise with the numbering of nested dissection, several times faster in the plane than with its column ordering.

    `lu` and `solve_lu` are where the class keeps its linear algebra; should they be renamed, its own would serve as before.
    """

    def lu(matrix: Any) -> Any:
        solver.nlu += 1
        permuted = sparse.csc_matrix(sparse.csr_matrix(matrix)[elimination][:, elimination])
        return sparse_linalg.splu(permuted, permc_spec="NATURAL", diag_pivot_thresh=0.01, options={"SymmetricMode": True})

    def solve(factors: Any, right: Array) -> Array:
        result = np.empty(len(right), dtype=np.result_type(right.dtype, factors.L.dtype))
        result[elimination] = factors.solve(np.asarray(right[elimination], dtype=result.dtype))
        return result

    solver.lu, solver.solve_lu = lu, solve


def spectral_radius(matrix: Any) -> float:
    """Largest absolute eigenvalue of a sparse matrix, to a tenth; the row-sum norm, which bounds it, where the iteration does not converge."""
    begin = np.random.default_rng(0).standard_normal(matrix.shape[0])
    try:
        found = sparse_linalg.eigs(matrix, k=1, which="LM", tol=0.1, v0=begin, maxiter=50, return_eigenvectors=False)
        return float(np.max(np.abs(found)))
    except (sparse_linalg.ArpackError, TypeError, ValueError):
        return float(sparse_linalg.norm(matrix, np.inf))


def growing_instants(span: tuple[float, float], count: int) -> Array:
    """Instants that begin at a ten-thousandth of the time, spread geometrically, and are `count` per whole time later on."""
    length = span[1] - span[0]
    steps = [1e-4]
    while sum(steps) < 1:
        steps.append(min(_EVEN * steps[-1], 1 / count))
    instants = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(span[0] + length * np.append(instants[instants < 1 - 0.5 * steps[-1]], 1.0))


def march_explicit(name: str, rate: Rate, start: Array, instants: Array, rtol: float) -> March:
    """Explicit Runge-Kutta of order 8 with the wanted instants by dense output.

    Raises:
        BreakdownError: the solution blows up, or needs too many steps.
    """
    span = (float(instants[0]), float(instants[-1]))
    scale = _scale(rate, start, span)
    solver = DOP853(rate, span[0], start, span[1], rtol=rtol, atol=rtol * scale, max_step=(span[1] - span[0]) / FEWEST_STEPS)
    states, steps = [start], 0
    while solver.status == "running":
        _advance(solver, name, steps, scale)
        steps += 1
        due = instants[len(states) : np.searchsorted(instants, solver.t, side="right")]
        if len(due):
            interpolant = solver.dense_output()
            states += [np.array(solver.y) if s == solver.t else interpolant(s) for s in due]
    return March(instants, np.stack(states))


def _scale(rate: Rate, start: Array, span: tuple[float, float]) -> float:
    """Size of the state: of the initial data, or of what the sources make of nothing."""
    with np.errstate(all="ignore"):
        growth = float(np.max(np.abs(rate(span[0], start)), initial=0.0)) * (span[1] - span[0])
    largest = float(np.max(np.abs(start), initial=0.0))
    return largest if largest > 0 else max(min(growth, 1e6), 1e-3)


def _advance(solver: Any, name: str, steps: int, scale: float, most_growth: float = _BLOW_UP) -> None:
    with np.errstate(all="ignore"):
        try:
            message = solver.step()
        except (ValueError, RuntimeError, np.linalg.LinAlgError) as error:
            # Radau meets values that are not finite, or a singular matrix.
            message, solver.status = str(error), "failed"
    largest = float(np.max(np.abs(solver.y)))
    if solver.status == "failed" or not np.isfinite(largest) or largest > most_growth * scale:
        raise BreakdownError(
            f"the time integration of `{name}` breaks down at {solver.t:.4g}, where the largest value is {largest:.3g} (at first {scale:.3g}): the "
            "solution grows without bound there, or steepens to a shock that no grid resolves (viscosity would keep it smooth), or the problem is "
            "ill-posed (a diffusivity of the wrong sign, waves that run into a free face)"
            + (f"; {message}" if message else "")
        )
    if steps >= _MOST_STEPS:
        raise BreakdownError(f"the time integration of `{name}` took {steps} steps to {solver.t:.4g}; the solution oscillates too fast for this grid")
