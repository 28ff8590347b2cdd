"""Rewrite: values on the boundary and at the first instant hold by construction, u = G + D v.

G takes the prescribed values, D vanishes where they are prescribed (and with its time derivative, where the rate is prescribed too), v is free:

    box         G by transfinite interpolation axis by axis, G <- G + P_a (g_a - G), with P_a linear between opposite faces;
                D the product of the distances from the faces; the time is one more axis, with D = t or t^2
    ball, hole  D the product of smooth distance functions of the shapes, of boxes among them by R-functions; values constant on each shape,
                G the mean of them weighted by the inverse distances

Optional, and off unless asked for: homogeneous values on the faces of a box hold by construction anyway, and rows of least squares meet all others to
rounding. G only takes from a value what it is on its face, never its continuation into the domain.

Reference: Gordon and Hall 1973, Numer. Math. 21, for transfinite interpolation; Rvachev and Sheiko 1995, Appl. Mech. Rev. 48, for R-functions;
Sukumar and Srivastava 2022, Comput. Methods Appl. Mech. Eng. 389, for their use in networks.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.compiler.coefficients import derivatives_of, multi_index
from pinnsiren.compiler.distance_functions import distance_of
from pinnsiren.ir import Addition, MultiIndex, Rewritten
from pinnsiren.language.conditions import PML, Constraint, Dirichlet, InitialCondition, Neumann, Observations, Periodic, Robin
from pinnsiren.language.domains import Box, SpaceTime
from pinnsiren.language.locations import parts_of
from pinnsiren.language.numeric import evaluate_on, evaluator
from pinnsiren.language.operators import Divergence, expand_operators
from pinnsiren.language.problem import Problem
from pinnsiren.language.sources import SourceFamily
from pinnsiren.language.symbols import declaration_of
from pinnsiren.language.value_checks import holds_unknowns

NAME = "hard conditions"
ORDER = 40
OPTIONAL = True
ON_REQUEST = True

ROUGH = (sp.Piecewise, sp.Abs, sp.Max, sp.Min, sp.Heaviside, sp.sign)
AGREEMENT = 1e-9  # relative: what G may miss a value by
N_PROBES, SEED = 64, 21


@dataclass(frozen=True)
class Construction:
    """G and D of one field, and what they satisfy.

    Attributes:
        field: the field.
        lift: G.
        factor: D.
        parts: names of boundary parts whose values hold.
        initial: conditions at the first instant that hold.
    """

    field: Any
    lift: Any
    factor: Any
    parts: tuple[str, ...]
    initial: tuple[InitialCondition, ...]


def construct(problem: Problem, candidate: Any) -> Construction | str:
    """Return G and D of a field, or why there are none."""
    conditions = [c for c in problem.conditions if isinstance(c, (Dirichlet, InitialCondition)) and _concerns(c, candidate)]
    values: dict[str, Any] = {}
    for condition in conditions:
        if isinstance(condition, Dirichlet) and not isinstance(condition.on, dict):
            for residual in condition.residuals(problem.domain):
                if residual.region.part is not None:
                    values[residual.region.part] = condition.value
    initial = tuple(c for c in conditions if isinstance(c, InitialCondition) and c.expression in _in_time(problem, candidate))
    if not values and not initial:
        return "no value is prescribed on a face or at the first instant"
    data = [*values.values(), *(c.value for c in initial)]
    if any(sp.sympify(v).has(*ROUGH, SourceFamily) or holds_unknowns(sp.sympify(v)) for v in data):
        return "prescribed values are not smooth, or depend on a shot or an unknown"
    lift, factor = _start(problem, candidate, initial)
    space = problem.domain.space if isinstance(problem.domain, SpaceTime) else problem.domain
    walls = {part: value for part, value in values.items() if part in space.boundary_parts()}
    if isinstance(space, Box):
        lift, factor = _box_walls(space, walls, lift, factor)
    elif walls:
        found = _curved_walls(space, walls, lift, isinstance(problem.domain, SpaceTime) and bool(initial))
        if isinstance(found, str):
            return found
        lift, factor = found[0], factor * found[1]
    result = Construction(candidate, lift, factor, tuple(walls), initial)
    missed = _missed(problem, result, walls)
    return missed or result


def _in_time(problem: Problem, candidate: Any) -> tuple[Any, ...]:
    return (candidate, sp.Derivative(candidate, problem.domain.time)) if isinstance(problem.domain, SpaceTime) else ()


def _concerns(condition: Any, candidate: Any) -> bool:
    return any(sp.sympify(expression).has(candidate) for expression in condition.expressions())


def _start(problem: Problem, candidate: Any, initial: tuple[InitialCondition, ...]) -> tuple[Any, Any]:
    """Return g0 + (t - t0) g1 and the power of the time that leaves them."""
    lift, factor = sp.Integer(0), sp.Integer(1)
    if not isinstance(problem.domain, SpaceTime):
        return lift, factor
    time, (begin, end) = problem.domain.time, problem.domain.time_bounds
    known = {c.time_order: sp.sympify(c.value).subs(time, begin) for c in initial}
    if 0 not in known:
        return lift, factor
    elapsed = time - sp.Float(begin)
    share = elapsed / sp.Float(end - begin)
    return known[0] + elapsed * known.get(1, 0), share ** (2 if 1 in known else 1)


def _box_walls(space: Box, walls: dict[str, Any], lift: Any, factor: Any) -> tuple[Any, Any]:
    """Correct G axis by axis, linearly between opposite faces, as a constant from a single one."""
    for symbol in space.coordinates:
        low, high = (sp.Float(edge) for edge in space.bounds[symbol])
        share = (symbol - low) / (high - low)
        # Both corrections start from the same G: the one of a face must not see that of the other.
        base, gaps = lift, {}
        for part, edge in ((f"{symbol}-", low), (f"{symbol}+", high)):
            if part in walls:
                gaps[part] = (sp.sympify(walls[part]) - base).subs(symbol, edge)
                factor = factor * (share if part.endswith("-") else 1 - share)
        for part, gap in gaps.items():
            weight = sp.Integer(1) if len(gaps) == 1 else (1 - share if part.endswith("-") else share)
            lift = lift + weight * gap
    return lift, factor


def _curved_walls(space: Any, walls: dict[str, Any], lift: Any, starts: bool) -> tuple[Any, Any] | str:
    """Return G and D for values that are constant on each shape, or why there are none."""
    shapes = distance_of(space, tuple(walls))
    if isinstance(shapes, str):
        return shapes
    constants = []
    for _, parts in shapes:
        values = {sp.sympify(walls[part]) for part in parts}
        if len(values) != 1 or not next(iter(values)).is_number:
            return "on curved boundaries and set operations, values have to be constant on each shape"
        constants.append(values.pop())
    factor = sp.Mul(*[function for function, _ in shapes])
    if starts:
        return lift, factor
    if len(set(constants)) == 1:
        return constants[0], factor
    weights = [sp.Mul(*[other for j, (other, _) in enumerate(shapes) if j != i]) for i in range(len(shapes))]
    return sp.Add(*[c * w for c, w in zip(constants, weights, strict=True)]) / sp.Add(*weights), factor


def _missed(problem: Problem, built: Construction, walls: dict[str, Any]) -> str:
    """Return where G misses a prescribed value: values that do not agree where faces meet cannot all be met by a smooth G."""
    domain, inside = problem.domain, problem.domain.sample_interior(N_PROBES, SEED)
    scale = max(float(np.max(np.abs(evaluate_on(built.lift, domain.coordinates, inside)))), 1e-300)
    checks = [(part, built.lift - sp.sympify(value), part) for part, value in walls.items()]
    if isinstance(domain, SpaceTime):
        for condition in built.initial:
            derivative = sp.diff(built.lift, domain.time, condition.time_order) if condition.time_order else built.lift
            checks.append((f"{domain.time}-", derivative - sp.sympify(condition.value), f"{domain.time} = {domain.time_bounds[0]:g}"))
    for part, gap, place in checks:
        points = domain.sample_boundary(part, N_PROBES, SEED)[0]
        if not np.max(np.abs(evaluate_on(gap, domain.coordinates, points))) <= AGREEMENT * scale:
            return f"the values prescribed on {place} and beside it do not agree where they meet"
    return ""


def apply(rewritten: Rewritten) -> Rewritten:
    """Build what can be built into every field; the rest stays as rows with automatic weights."""
    problem = rewritten.problem
    refusal = _refusal(rewritten)
    if refusal:
        return replace(rewritten, applied=(*rewritten.applied, (NAME, f"left as rows: {refusal}")))
    built, reasons = [], []
    for candidate in problem.fields:
        found = construct(problem, candidate)
        name = declaration_of(candidate).name
        if isinstance(found, str):
            reasons.append(f"`{name}` keeps its conditions as rows: {found}")
            continue
        built.append(found)
        places = [*found.parts, *(f"the start of {c.expression}" for c in found.initial)]
        reasons.append(f"`{name}` holds its values on {', '.join(places)} by construction")
    if not built:
        return replace(rewritten, applied=(*rewritten.applied, (NAME, "; ".join(reasons))))
    equations = [_inserted(equation, built) for equation in problem.equations]
    conditions = [kept for condition in problem.conditions for kept in _rest_of(condition, problem, built)]
    additions = [Addition(b.field, _jets(b.lift, problem.coordinates), text="the prescribed values, continued") for b in built if b.lift != 0]
    return replace(
        rewritten,
        problem=problem.rewritten(equations=equations, conditions=conditions),
        additions=(*rewritten.additions, *additions),
        factors=(*rewritten.factors, *((b.field, b.factor) for b in built)),
        applied=(*rewritten.applied, (NAME, "; ".join(reasons))),
    )


def _refusal(rewritten: Rewritten) -> str:
    problem = rewritten.problem
    if rewritten.additions or rewritten.factors or rewritten.layers or any(isinstance(c, PML) for c in problem.conditions):
        return "another rewrite has split the field already"
    if any(equation.atoms(Divergence) and equation.has(sp.Piecewise) for equation in problem.equations):
        return "a coefficient jumps inside a divergence, where the flux of the continued values would jump"
    if any(isinstance(c, Periodic) for c in problem.conditions):
        return "joined faces need the continued values to be periodic"
    return ""


def _inserted(expression: Any, built: list[Construction]) -> Any:
    """Replace u by u + G in fields and derivatives."""
    plain = expand_operators(sp.sympify(expression))
    names: dict[Any, Any] = {}
    for item in built:
        for node in derivatives_of(plain, item.field):
            names[node] = node + _derivative(item.lift, multi_index(node, item.field.args), item.field.args)
    return plain.xreplace(names)


def _rest_of(condition: Any, problem: Problem, built: list[Construction]) -> list[Any]:
    """Return what is left of a condition for the unknown part."""
    own = [item for item in built if _concerns(condition, item.field)]
    if not own:
        return [condition]
    if isinstance(condition, InitialCondition):
        if any(condition in item.initial for item in own):
            return []
        return [replace(condition, value=condition.value - (_inserted(condition.expression, own) - expand_operators(condition.expression)))]
    if isinstance(condition, Dirichlet):
        if isinstance(condition.on, dict):
            return [replace(condition, value=condition.value - own[0].lift)]
        left = tuple(p for p in parts_of(condition.on, problem.domain) if p not in own[0].parts) if _has_parts(condition, problem) else condition.on
        return [replace(condition, value=condition.value - own[0].lift, on=left)] if left else []
    if isinstance(condition, (Neumann, Robin)):
        return [Constraint(_inserted(residual.expression, own), on=residual.region.part) for residual in condition.residuals(problem.domain)]
    if isinstance(condition, (Observations, Constraint)):
        return [replace(condition, expression=_inserted(condition.expression, own))]
    return [condition]


def _has_parts(condition: Dirichlet, problem: Problem) -> bool:
    return all(residual.region.part is not None for residual in condition.residuals(problem.domain))


def _derivative(expression: Any, orders: MultiIndex, symbols: tuple[sp.Symbol, ...]) -> Any:
    for symbol, count in zip(symbols, orders, strict=True):
        expression = sp.diff(expression, symbol, count) if count else expression
    return expression


def _jets(expression: Any, symbols: tuple[sp.Symbol, ...]) -> Any:
    """Return (points, orders) -> derivative (n, 1), compiled once per multi-index."""
    compiled: dict[MultiIndex, Any] = {}

    def evaluate(points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        if orders not in compiled:
            compiled[orders] = evaluator([_derivative(expression, orders, symbols)], symbols)
        return np.asarray(compiled[orders](points)[0])[:, None]

    return evaluate
