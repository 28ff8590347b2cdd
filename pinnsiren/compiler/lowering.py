"""Lowering: a rewritten problem becomes residuals in jets.

Input: `Problem`. Output: `ProblemIR`: plain derivatives of fields and coefficient fields as jet symbols, conditions as residuals on regions,
homogeneous Dirichlet conditions on faces of a box satisfied by an envelope, interface residuals where a jump of a coefficient stands inside a
divergence.
"""

from typing import Any

import sympy as sp

from pinnsiren.charts.level_sets import LevelSet, level_sets
from pinnsiren.compiler.coefficients import derivatives_of, multi_index
from pinnsiren.errors import CompileError
from pinnsiren.ir import Jet, PenaltyTerm, ProblemIR, Residual, unknown_symbol
from pinnsiren.language.conditions import Dirichlet, InitialCondition, Observations
from pinnsiren.language.domains import Box, SpaceTime
from pinnsiren.language.locations import Region
from pinnsiren.language.operators import Divergence, expand_operators
from pinnsiren.language.problem import Problem
from pinnsiren.language.symbols import declaration_of

MAXIMUM_ORDER = 4  # highest derivative that charts and streams are built for


def lower_problem(problem: Problem, factors: tuple[tuple[Any, Any], ...] = ()) -> ProblemIR:
    """Translate a problem into residuals in jets.

    Args:
        problem: after the rewrites.
        factors: (field, factor) that rewrites take out of the unknown part of a field; they join the envelope.

    Raises:
        CompileError: derivatives above `MAXIMUM_ORDER`.
    """
    residuals = [
        Residual(f"equation {index}", "equation", lower_expression(equation, problem), Region("domain", domain=problem.domain))
        for index, equation in enumerate(problem.equations)
    ]
    envelope, satisfied = _envelopes(problem)
    for candidate, factor in factors:
        envelope = tuple(e * factor if f == candidate else e for f, e in zip(problem.fields, envelope, strict=True))
    for condition in problem.conditions:
        kind = {InitialCondition: "initial", Observations: "observation"}.get(type(condition), "condition")
        for item in condition.residuals(problem.domain):
            if item.label not in satisfied:
                expression = lower_expression(item.expression, problem)
                residuals.append(Residual(item.label, kind, expression, item.region, item.values, item.noise, item.weights))
    residuals += _interface_residuals(problem)
    penalties = tuple(
        PenaltyTerm(term.label, tuple(lower_expression(expression, problem) for expression in term.expressions), term.region, term.weight, term.norm)
        for condition in problem.conditions
        for term in condition.penalties(problem.domain)
    )
    everything = [residual.expression for residual in residuals] + [expression for term in penalties for expression in term.expressions]
    jets = sorted({jet for expression in everything for jet in jets_in(expression)}, key=lambda jet: (jet.field, jet.order, jet.orders[::-1]))
    return ProblemIR(
        problem=problem,
        domain=problem.domain,
        is_complex=tuple(declaration_of(candidate).is_complex for candidate in problem.fields),
        n_shots=problem.n_shots or 1,
        residuals=tuple(residuals),
        jets=tuple(jets),
        unknowns=problem.scalars,
        envelope=envelope,
        by_construction=satisfied,
        coefficients=problem.coefficients,
        penalties=penalties,
    )


def lower_expression(expression: Any, problem: Problem) -> Any:
    """Replace fields, coefficient fields and their derivatives by jet symbols, and unknown scalars by plain symbols."""
    expanded = expand_operators(sp.sympify(expression))
    names: dict[Any, Any] = {unknown: unknown_symbol(unknown) for unknown in problem.scalars}
    for index, candidate in enumerate((*problem.fields, *problem.coefficients)):
        for node in derivatives_of(expanded, candidate):
            jet = Jet(index, multi_index(node, problem.coordinates))
            if jet.order > MAXIMUM_ORDER:
                known = f"supported are derivatives up to order {MAXIMUM_ORDER}"
                raise CompileError(f"`{node}` in problem `{problem.name}` is of order {jet.order}; {known}")
            names[node] = jet.symbol
    return expanded.xreplace(names)


def jets_in(expression: Any) -> set[Jet]:
    """Return the jets whose symbols occur in an expression."""
    found = set()
    for symbol in expression.free_symbols:
        if symbol.name.startswith("jet"):
            head, *orders = symbol.name[3:].split("_")
            found.add(Jet(int(head), tuple(map(int, orders))))
    return found


def _envelopes(problem: Problem) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """Build per field a polynomial that vanishes on faces with a homogeneous Dirichlet condition."""
    space = problem.domain.space if isinstance(problem.domain, SpaceTime) else problem.domain
    factors: list[Any] = [sp.Integer(1)] * len(problem.fields)
    satisfied: list[str] = []
    if not isinstance(space, Box):
        return tuple(factors), ()
    for condition in problem.conditions:
        if not isinstance(condition, Dirichlet) or condition.value != 0:
            continue
        index = problem.fields.index(condition.field)
        for item in condition.residuals(problem.domain):
            part = item.region.part
            if part is None or part not in space.boundary_parts():
                continue
            axis, side = space.face(part)
            symbol = space.coordinates[axis]
            low, high = space.bounds[symbol]
            edge = high if side > 0 else low
            factors[index] *= side * (sp.Float(edge) - symbol) / sp.Float(0.5 * (high - low))
            satisfied.append(item.label)
    return tuple(factors), tuple(satisfied)


def _interface_residuals(problem: Problem) -> list[Residual]:
    """The normal flux is continuous across a jump of a coefficient inside a divergence; the strong form alone does not see it."""
    result = []
    for equation in problem.equations:
        for head in sorted(equation.atoms(Divergence), key=str):
            for surface in level_sets(head, problem.coordinates):
                flux = _normal_flux(head, surface)
                label = f"continuity of the flux across {surface.function} = 0"
                region = Region("domain", domain=problem.domain)
                result.append(Residual(label, "interface", lower_expression(flux, problem), region, level_set=surface))
    return result


def _normal_flux(head: Divergence, surface: LevelSet) -> Any:
    gradient = [sp.diff(surface.function, symbol) for symbol in head.over]
    length = sp.sqrt(sp.Add(*[g**2 for g in gradient]))
    return sp.Add(*[f.doit() * g / length for f, g in zip(head.flux, gradient, strict=True)])
