"""Checks of what is solved for besides the fields: bounds and start of coefficient fields, and whether anything can determine the unknowns.

Input: the problem. Output: nothing, a `ProblemError`, or a `ProblemWarning` that names what is not determined.
"""

import warnings
from typing import Any

import numpy as np
import sympy as sp

from pinnsiren.errors import ProblemError, ProblemWarning
from pinnsiren.language.conditions import Constraint, Dirichlet, Neumann, Observations, Robin
from pinnsiren.language.declaration import Declaration
from pinnsiren.language.locations import parts_of
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.symbols import declaration_of, is_field, is_unknown, is_unknown_field
from pinnsiren.language.value_checks import N_PROBES, ROUNDING


def unknowns_of(problem: Declaration) -> list[Any]:
    """Return the unknown scalars and coefficient fields of a declaration, by name."""
    expressions = [*problem.equations, *(sp.sympify(e) for condition in problem.conditions for e in condition.expressions())]
    found = {node for expression in expressions for node in expression.atoms(sp.Function) if is_unknown(node)}
    return sorted(found, key=str)


def check_unknown_fields(problem: Declaration) -> None:
    """Coefficient fields start inside their bounds at every point, and something besides a closed problem determines them."""
    fields = [unknown for unknown in unknowns_of(problem) if is_unknown_field(unknown)]
    points = problem.domain.sample_interior(N_PROBES, seed=1)
    for candidate in fields:
        _check_start(problem, candidate, points)
    if fields and not _has_more_than_a_closed_problem(problem):
        names = ", ".join(f"`{candidate}`" for candidate in fields)
        raise ProblemError(
            f"problem `{problem.name}` solves for the coefficient field {names}, and nothing in it was measured: equations and boundary values "
            "hold for many coefficients. Add Observations(expression, points, values), or a further condition on a face"
        )


def _check_start(problem: Declaration, candidate: Any, points: Any) -> None:
    declaration = declaration_of(candidate)
    low, high = declaration.bounds
    values = evaluate_on(declaration.initial, problem.domain.coordinates, points)
    if not np.all(np.isfinite(values)) or np.any(np.abs(values.imag) > ROUNDING * np.abs(values)):
        raise ProblemError(
            f"unknown field `{candidate}` of problem `{problem.name}` starts at `{declaration.initial}`, which is complex, NaN or infinite in the "
            "domain; expected a real start"
        )
    outside = (values.real < low) | (values.real > high)
    if np.any(outside):
        worst = points[outside][0]
        place = ", ".join(f"{symbol}={value:.3g}" for symbol, value in zip(problem.domain.coordinates, worst, strict=True))
        raise ProblemError(
            f"unknown field `{candidate}` of problem `{problem.name}` starts at `{declaration.initial}`, which is {values.real[outside][0]:.4g} "
            f"at {place}, outside its bounds ({low:g}, {high:g}); move the start or the bounds"
        )


def _has_more_than_a_closed_problem(problem: Declaration) -> bool:
    if any(isinstance(condition, (Observations, Constraint)) for condition in problem.conditions):
        return True
    seen: set[tuple[Any, str]] = set()
    for condition in problem.conditions:
        if isinstance(condition, (Dirichlet, Neumann, Robin)):
            for part in parts_of(condition.on, problem.domain):
                if (condition.field, part) in seen:
                    return True
                seen.add((condition.field, part))
    return len(problem.equations) > len(problem.fields)


def warn_of_few_observations(problem: Declaration) -> None:
    """Warn when fewer numbers were measured than are solved for: some combination of the unknowns stays at its start."""
    unknowns = unknowns_of(problem)
    observations = [condition for condition in problem.conditions if isinstance(condition, Observations)]
    if not unknowns or not observations:
        return
    complex_factor = {True: 2, False: 1}
    measured = sum(complex_factor[bool(np.iscomplexobj(o.values))] * _distinct(o) for o in observations if _says_something(o))
    needed = sum(2 if getattr(declaration_of(unknown), "is_complex", False) else 1 for unknown in unknowns)
    if measured < needed:
        names = ", ".join(f"`{unknown}`" for unknown in unknowns)
        plural = "" if measured == 1 else "s"
        warnings.warn(
            f"problem `{problem.name}` solves for {names} from {measured} observed value{plural}: at least {needed - measured} of them, "
            "or of their combinations, is not determined and stays near its initial value. Add observations, or give an unknown a value",
            ProblemWarning,
            stacklevel=5,
        )


def _distinct(observed: Observations) -> int:
    """Return the number of values at places of their own: a place that is measured twice is known better, and says nothing more."""
    values, points = np.asarray(observed.values), np.asarray(observed.points)
    shots = len(values) if values.ndim == 2 else 1
    if points.ndim == 3:
        return sum(len(np.unique(own, axis=0)) for own in points)
    return shots * len(np.unique(points, axis=0))


def _says_something(observed: Observations) -> bool:
    return any(is_field(node) or is_unknown(node) for node in observed.expression.atoms(sp.Function))
