"""Manufactured problems: sources and data that make given expressions the exact solution.

Input: a problem and an expression per field. Output: the problem with every equation and condition shifted by what the expressions leave of it; a
layer becomes the exact boundary value on its faces.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ProblemError
from pinnsiren.language.conditions import (
    PML,
    AbstractCondition,
    Constraint,
    Dirichlet,
    InitialCondition,
    Neumann,
    Observations,
    Periodic,
    Robin,
    outward_derivative,
)
from pinnsiren.language.entries import scalar_entry
from pinnsiren.language.locations import parts_of, sample_pair
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.operators import expand_operators
from pinnsiren.language.penalties import Penalty, Prior
from pinnsiren.language.problem import Problem
from pinnsiren.language.sources import GaussianSource, RickerWavelet, SourceFamily, select_shot
from pinnsiren.language.symbols import is_field, is_unknown

N_PERIOD_PROBES = 33
PERIOD_AGREEMENT = 1e-9  # relative: rounding of trigonometric functions of large arguments stays far below


def manufactured(problem: Problem, solutions: Mapping[Any, Any]) -> Problem:
    """Return the problem whose sources, boundary and observed data make the expressions exact.

    The sources of the declaration are replaced: an equation L(u) = f becomes L(u) = L(expression). Heads such as a divergence stay in flux form on
    the left.

    Args:
        problem: the declaration.
        solutions: for every field and coefficient field an expression in the coordinates, for every unknown scalar a number.

    Raises:
        ProblemError: a field without an expression, an expression for something that is no field of the problem, or one that is not periodic where
            the field is.

    >>> from pinnsiren.language import Dirichlet, Interval, coordinates, field, laplacian
    >>> x = coordinates("x")
    >>> u = field("u", x)
    >>> declared = Problem(name="p", fields=[u], domain=Interval({x: (0, 1)}), equations=[laplacian(u)], conditions=[Dirichlet(u, 0)])
    >>> manufactured(declared, {u: x**2}).equations
    (Laplacian(u(x), x) - 2,)
    """
    wanted = (*problem.fields, *problem.unknowns)
    missing = [str(candidate) for candidate in wanted if candidate not in solutions]
    if missing:
        each = "give one per field" + (" and unknown" if problem.unknowns else "")
        raise ProblemError(f"manufactured(`{problem.name}`) was given no expression for {', '.join(missing)}; {each}")
    strangers = [str(candidate) for candidate in solutions if candidate not in wanted]
    if strangers:
        known = f"its fields are {list(problem.fields)}" + (f", its unknowns {list(problem.unknowns)}" if problem.unknowns else "")
        raise ProblemError(f"manufactured(`{problem.name}`) was given expressions for {', '.join(strangers)}; {known}")
    exact = {candidate: scalar_entry(f"manufactured solution of `{candidate}`", solutions[candidate]) for candidate in wanted}
    equations = []
    for equation in problem.equations:
        operator = _without_sources(equation)
        equations.append(operator - _insert(operator, exact))
    return Problem(
        name=f"{problem.name} (manufactured)",
        fields=problem.fields,
        domain=problem.domain,
        equations=equations,
        conditions=[shifted for condition in problem.conditions for shifted in _shift(condition, exact, problem)],
        exact=exact,
    )


def _without_sources(equation: Any) -> Any:
    """Drop the terms that hold neither a field nor an unknown."""
    terms = sp.Add.make_args(equation.expand(deep=False))
    heads = (GaussianSource, RickerWavelet, SourceFamily)
    kept = [term for term in terms if any(is_field(node) or is_unknown(node) for node in term.atoms(sp.Function)) and not isinstance(term, heads)]
    return sp.Add(*kept)


def _insert(expression: Any, exact: Mapping[Any, Any]) -> Any:
    return expand_operators(expand_operators(sp.sympify(expression)).xreplace(dict(exact))).doit()


def _check_periodic(condition: Periodic, solution: Any, problem: Problem) -> None:
    """The expression and its slope agree on the two faces, or no source makes it a solution."""
    shots = range(problem.n_shots or 1) if solution.has(SourceFamily) else (0,)
    interior = problem.domain.sample_interior(N_PERIOD_PROBES, seed=1)
    for residual in condition.residuals(problem.domain):
        for shot in shots:
            inserted = select_shot(_insert(residual.expression, {condition.field: solution}), shot)
            sides = sample_pair(residual.region, problem.domain, N_PERIOD_PROBES, seed=1)
            here, there = (evaluate_on(inserted, problem.coordinates, points) for points in sides)
            size = np.max(np.abs(evaluate_on(inserted, problem.coordinates, interior)))
            worst = int(np.argmax(np.abs(here - there)))
            if np.abs(here - there)[worst] > PERIOD_AGREEMENT * size:
                low, high = problem.domain.bounds[condition.axis]
                raise ProblemError(
                    f"the manufactured solution `{solution}` does not satisfy the {residual.label} of problem `{problem.name}`: {here[worst]:.6g} at "
                    f"{condition.axis} = {low:g}, {there[worst]:.6g} at {condition.axis} = {high:g}; choose an expression of period {high - low:g} "
                    f"along `{condition.axis}`"
                )


def _observed_values(condition: Observations, value: Any, problem: Problem) -> NDArray[Any]:
    """Return the values of an expression at the observation points, of every shot where the declared values have a shot axis."""
    points = np.asarray(condition.points)
    if np.asarray(condition.values).ndim == 1:
        return evaluate_on(value, problem.coordinates, points)
    shots = range(len(np.asarray(condition.values)))
    members = [evaluate_on(select_shot(value, shot), problem.coordinates, points if points.ndim == 2 else points[shot]) for shot in shots]
    return np.stack(members)


def _shift(condition: AbstractCondition, exact: Mapping[Any, Any], problem: Problem) -> list[AbstractCondition]:
    """Return the conditions that the expressions satisfy in place of one of the declaration."""
    if isinstance(condition, Periodic):
        _check_periodic(condition, exact[condition.field], problem)
        return [condition]
    if isinstance(condition, PML):
        return [Dirichlet(condition.field, exact[condition.field], on=condition.on)]
    if isinstance(condition, Dirichlet):
        return [Dirichlet(condition.field, exact[condition.field], on=condition.on)]
    if isinstance(condition, (Neumann, Robin)):
        shifted: list[AbstractCondition] = []
        for part in parts_of(condition.on, problem.domain):
            slope = outward_derivative(exact[condition.field], part, problem.domain)
            if isinstance(condition, Neumann):
                shifted.append(Neumann(condition.field, slope, on=part))
            else:
                value = condition.a * exact[condition.field] + condition.b * slope
                shifted.append(Robin(condition.field, condition.a, condition.b, value, on=part))
        return shifted
    if isinstance(condition, InitialCondition):
        start = problem.domain.time_bounds[0]  # type: ignore[attr-defined]
        value = _insert(condition.expression, exact).subs(problem.domain.time, start)  # type: ignore[attr-defined]
        return [InitialCondition(condition.expression, value)]
    if isinstance(condition, (Penalty, Prior)):
        return [condition]
    if isinstance(condition, Observations):
        values = _observed_values(condition, _insert(condition.expression, exact), problem)
        return [Observations(condition.expression, condition.points, values, condition.noise, condition.weights)]
    assert isinstance(condition, Constraint)
    return [Constraint(condition.expression - _insert(condition.expression, exact), on=condition.on)]
