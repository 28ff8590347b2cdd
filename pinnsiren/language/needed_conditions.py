"""Which conditions an equation needs, and whether they are there.

Elliptic and parabolic second-order equations need one condition on every face or a layer; first-order equations none; hyperbolic ones an initial
value and an initial time derivative, while a face without a condition then means free space.
"""

import warnings
from typing import Any

import sympy as sp

from pinnsiren.errors import ProblemError, ProblemWarning
from pinnsiren.language.conditions import PML, InitialCondition, Observations, space_of
from pinnsiren.language.declaration import Declaration
from pinnsiren.language.domains import SpaceTime
from pinnsiren.language.operators import expand_operators
from pinnsiren.language.symbols import declaration_of


def derivative_orders(problem: Declaration, candidate: Any) -> dict[sp.Symbol, int]:
    """Return the highest order of differentiation of a field along each coordinate, over all equations."""
    orders = dict.fromkeys(problem.domain.coordinates, 0)
    for equation in problem.equations:
        for node in expand_operators(equation).atoms(sp.Derivative):
            if node.expr == candidate:
                for symbol, count in node.variable_count:
                    orders[symbol] = max(orders[symbol], int(count))
    return orders


def check_conditions_present(problem: Declaration) -> None:
    """Raise `ProblemError` that names the face or instant where a condition is missing."""
    for candidate in problem.fields:
        orders = derivative_orders(problem, candidate)
        domain = problem.domain
        if isinstance(domain, SpaceTime):
            _check_initial_conditions(problem, candidate, orders[domain.time])
            _check_hyperbolic_sign(problem, candidate)
            if orders[domain.time] >= 2:
                continue
        _check_faces(problem, candidate, orders)


def _check_faces(problem: Declaration, candidate: Any, orders: dict[sp.Symbol, int]) -> None:
    name = declaration_of(candidate).name
    space = space_of(problem.domain)
    covered: set[str] = set()
    for condition in problem.conditions:
        concerned = [sp.sympify(expression).has(candidate) for expression in condition.expressions()]
        if isinstance(condition, PML):
            covered |= set(condition.faces(problem.domain)) if condition.field == candidate else set()
        elif any(concerned):
            covered |= {residual.region.part for residual in condition.residuals(problem.domain) if residual.region.part}
        if isinstance(condition, Observations) and any(concerned):
            return
    for part in space.boundary_parts():
        symbols = [symbol for symbol in space.coordinates if part in (f"{symbol}-", f"{symbol}+")] or list(space.coordinates)
        if max(orders[symbol] for symbol in symbols) >= 2 and part not in covered:
            raise ProblemError(
                f"field `{name}` of problem `{problem.name}` has no condition on the face `{part}`; a second-order equation needs one on every face: "
                "add Dirichlet, Neumann, Robin or PML there"
            )


def _check_initial_conditions(problem: Declaration, candidate: Any, time_order: int) -> None:
    name = declaration_of(candidate).name
    time = problem.domain.time  # type: ignore[attr-defined]
    given = {c.time_order for c in problem.conditions if isinstance(c, InitialCondition) and sp.sympify(c.expression).has(candidate)}
    observed = any(isinstance(c, Observations) and c.expression.has(candidate) for c in problem.conditions)
    if time_order >= 1 and 0 not in given:
        if not observed:
            raise ProblemError(
                f"field `{name}` of problem `{problem.name}` has no initial value; add InitialCondition({name}, value), or observations of the field"
            )
        text = f"field `{name}` of problem `{problem.name}` has no initial value; the observations stand in for it"
        warnings.warn(text, ProblemWarning, stacklevel=5)
    if time_order >= 2 and 1 not in given and not observed:
        raise ProblemError(
            f"field `{name}` of problem `{problem.name}` has no initial time derivative; add InitialCondition({name}.diff({time}), value)"
        )


def _check_hyperbolic_sign(problem: Declaration, candidate: Any) -> None:
    """An initial value problem of second order in time needs space and time derivatives of opposite sign."""
    domain = problem.domain
    assert isinstance(domain, SpaceTime)
    for equation in problem.equations:
        expanded = sp.expand_mul(expand_operators(equation))
        in_time = expanded.coeff(sp.Derivative(candidate, (domain.time, 2)))
        for symbol in domain.space.coordinates:
            in_space = expanded.coeff(sp.Derivative(candidate, (symbol, 2)))
            ratio = sp.simplify(in_space / in_time) if in_time != 0 and in_space.is_number and in_time.is_number else None
            if ratio is not None and ratio.is_positive:
                raise ProblemError(
                    f"the equation of `{candidate}` in problem `{problem.name}` has a squared wave speed of {-ratio} along `{symbol}`; "
                    "expected u_tt - c**2 u_xx with a positive c"
                )
            if in_time != 0 and not any(symbol in [s for s, _ in node.variable_count] for node in expanded.atoms(sp.Derivative)):
                raise ProblemError(
                    f"the equation of `{candidate}` in problem `{problem.name}` holds no derivative along `{symbol}`; "
                    "a wave speed of zero is the usual cause: expected a positive one"
                )
