"""Which conditions an equation needs, and whether they are there.

Elliptic and parabolic second-order equations need one condition on every face or a layer; first-order equations none; hyperbolic ones an initial
value and an initial time derivative, while a face without a condition then means free space.
"""

import warnings
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ProblemError, ProblemWarning
from pinnsiren.language.conditions import PML, InitialCondition, Observations
from pinnsiren.language.declaration import Declaration
from pinnsiren.language.domains import SpaceTime
from pinnsiren.language.locations import space_of
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.operators import expand_operators
from pinnsiren.language.sources import SourceFamily
from pinnsiren.language.symbols import declaration_of
from pinnsiren.language.value_checks import N_PROBES, ROUNDING, holds_unknowns


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
            _check_evolution_sign(problem, candidate, orders[domain.time])
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
            covered |= {part for residual in condition.residuals(problem.domain) for part in residual.region.parts}
        if isinstance(condition, Observations) and any(concerned):
            return
    for part in space.boundary_parts():
        symbols = [symbol for symbol in space.coordinates if part in (f"{symbol}-", f"{symbol}+")] or list(space.coordinates)
        if max(orders[symbol] for symbol in symbols) >= 2 and part not in covered:
            raise ProblemError(
                f"field `{name}` of problem `{problem.name}` has no condition on the face `{space.described_part(part)}`; "
                "a second-order equation needs one on every face: add Dirichlet, Neumann, Robin, Periodic or PML there"
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
    if time_order >= 2 and 1 not in given:
        if not observed:
            raise ProblemError(
                f"field `{name}` of problem `{problem.name}` has no initial time derivative; add InitialCondition({name}.diff({time}), value)"
            )
        text = f"field `{name}` of problem `{problem.name}` has no initial time derivative; the observations stand in for it"
        warnings.warn(text, ProblemWarning, stacklevel=5)
    beyond = sorted(number for number in given if number >= max(time_order, 1))
    if beyond:
        raise ProblemError(
            f"field `{name}` of problem `{problem.name}` has an initial condition on its time derivative of order {beyond[0]}; its equation is of "
            f"order {time_order} in time and determines that itself: drop the condition"
        )


def _check_evolution_sign(problem: Declaration, candidate: Any, time_order: int) -> None:
    """Waves need space and time derivatives of opposite sign, diffusion a positive diffusivity; else the problem is ill-posed."""
    domain = problem.domain
    assert isinstance(domain, SpaceTime)
    points = domain.sample_interior(N_PROBES, seed=1)
    for equation in problem.equations:
        expanded = sp.expand_mul(expand_operators(equation))
        in_time = _coefficient(expanded, candidate, domain.time, time_order)
        if in_time == 0 or time_order not in (1, 2):
            continue
        for symbol in domain.space.coordinates:
            _check_sign(problem, candidate, -_coefficient(expanded, candidate, symbol, 2) / in_time, symbol, time_order, points)
            if time_order == 2 and not any(symbol in [s for s, _ in node.variable_count] for node in expanded.atoms(sp.Derivative)):
                raise ProblemError(
                    f"the equation of `{candidate}` in problem `{problem.name}` holds no derivative along `{symbol}`; "
                    "a wave speed of zero is the usual cause: expected a positive one"
                )


def _coefficient(expanded: Any, candidate: Any, symbol: sp.Symbol, order: int) -> Any:
    return expanded.coeff(sp.Derivative(candidate, (symbol, order)))


def _check_sign(problem: Declaration, candidate: Any, ratio: Any, symbol: sp.Symbol, time_order: int, points: NDArray[np.float64]) -> None:
    if ratio == 0 or holds_unknowns(ratio) or ratio.has(SourceFamily):
        return
    values = evaluate_on(ratio, problem.domain.coordinates, points)
    bad = (values.real < 0) | ((values == 0) & (time_order == 2))
    bad &= np.abs(values.imag) <= ROUNDING * np.abs(values)  # Schroedinger's equation has an imaginary ratio
    if np.any(bad):
        wave, diffusion = ("squared wave speed", "u_tt - c**2 u_xx with a positive c"), ("diffusivity", "u_t - a u_xx with a positive a")
        quantity, form = wave if time_order == 2 else diffusion
        place = ", ".join(f"{s}={v:.3g}" for s, v in zip(problem.domain.coordinates, points[bad][0], strict=True))
        raise ProblemError(
            f"the equation of `{candidate}` in problem `{problem.name}` has a {quantity} of {values.real[bad][0]:.3g} along `{symbol}` at {place}; "
            f"expected {form}: check the sign and the value"
        )
