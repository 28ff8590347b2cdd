"""Newton's method with damping and continuation, for the residual of a grid.

Input: residual and a routine that factorises its Jacobian. Output: `NewtonResult`. Damping follows the natural monotonicity test, which compares
corrections rather than residuals and so does not depend on how rows are scaled. Where damping stalls, continuation follows the solutions of
R(u) = (1 - s) R(u0) from the start u0 (s = 0), where it is solved, to the problem itself (s = 1).

Reference: Deuflhard (2004), Newton Methods for Nonlinear Problems, algorithm NLEQ-ERR and section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError

Array = NDArray[Any]
Residual = Callable[[Array], Array]
# Gives the routine that solves with the Jacobian at a point.
Factorise = Callable[[Array], Callable[[Array], Array]]

_MOST_STEPS = 40
_SMALLEST_DAMPING = 1e-4
_SMALLEST_STRIDE = 2e-3
# Relative size of the correction at which the next one would be lost in rounding.
_CONVERGED = 1e-10
# A correction that no longer shrinks but is this small is rounding of an ill-conditioned Jacobian.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class NewtonResult:
    """Where the iteration ended.

    Attributes:
        values: the last iterate.
        converged: whether it solves the equations.
        steps: number of factorisations.
        reached: fraction s of the continuation; 1 when converged.
        reason: why it stopped, in words.
    """

    values: Array
    converged: bool
    steps: int
    reached: float = 1.0
    reason: str = ""


def damped_newton(residual: Residual, factorise: Factorise, start: Array, most_steps: int = _MOST_STEPS) -> NewtonResult:
    """Newton's method with the natural monotonicity test."""
    values, damping, before = start, 1.0, np.inf
    defect = residual(values)
    for step in range(1, most_steps + 1):
        if not np.all(np.isfinite(defect)):
            return NewtonResult(values, False, step, reason="the equations have no finite value at the iterate")
        try:
            solve = factorise(values)
            correction = -solve(defect)
        except ReferenceSolverError as error:
            return NewtonResult(values, False, step, reason=f"the linearised equations are singular ({error})")
        size, scale = float(np.linalg.norm(correction)), max(float(np.linalg.norm(values)), 1e-30)
        if not np.isfinite(size):
            return NewtonResult(values, False, step, reason="the linearised equations are singular")
        if size <= _CONVERGED * max(scale, size * 1e-3) or (size <= _ROUNDING * scale and size > 0.5 * before):
            return NewtonResult(values + correction, True, step)
        before = size
        damping = min(1.0, 2 * damping) if step > 1 else 1.0
        while True:
            trial = values + damping * correction
            new_defect = residual(trial)
            if np.all(np.isfinite(new_defect)):
                simplified = float(np.linalg.norm(solve(new_defect)))
                if simplified <= (1 - damping / 4) * size or simplified <= _CONVERGED * scale:
                    break
            damping /= 2
            if damping < _SMALLEST_DAMPING:
                if size <= _ROUNDING * scale:
                    return NewtonResult(values, True, step)
                return NewtonResult(values, False, step, reason="no fraction of the Newton step brings it closer")
        values, defect = trial, new_defect
    return NewtonResult(values, False, most_steps, reason=f"{most_steps} steps were not enough")


def continued_newton(residual: Residual, factorise: Factorise, start: Array) -> NewtonResult:
    """Damped Newton, and continuation in the defect of the start where that fails."""
    direct = damped_newton(residual, factorise, start)
    if direct.converged:
        return direct
    initial = residual(start)
    if not np.all(np.isfinite(initial)):
        return direct
    values, reached, stride, steps, reason = start, 0.0, 0.25, direct.steps, direct.reason
    while reached < 1:
        goal = min(1.0, reached + stride)

        def shifted(u: Array, goal: float = goal) -> Array:
            return residual(u) - (1 - goal) * initial

        attempt = damped_newton(shifted, factorise, values, most_steps=12)
        steps += attempt.steps
        if attempt.converged:
            values, reached, stride = attempt.values, goal, min(2 * stride, 0.5)
            continue
        stride, reason = stride / 2, attempt.reason
        if stride < _SMALLEST_STRIDE:
            return NewtonResult(values, False, steps, reached, reason)
    return NewtonResult(values, True, steps)
