"""Rewrite: the travel time of a point source is factored, T = T_s + T0 (1 + w) with T0 = s0 r the time in the medium at the source.

|grad T|^2 = s(x)^2 with T = T_s at the source. T has a cone there, which no smooth feature fits, and |grad T| has two branches. With T0 known, the
unknown part v = T0 w vanishes at the source by construction, w is smooth where s is, and w = 0 starts on the branch of outgoing times.

    2 grad(T0) . grad(v) + |grad(v)|^2 = s^2 - s0^2

Reference: Fomel, Luo and Zhao 2009, J. Comput. Phys. 228, for the factorisation.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.compiler.coefficients import derivatives_of, multi_index
from pinnsiren.ir import Addition, MultiIndex, Rewritten
from pinnsiren.language.conditions import Dirichlet, Observations
from pinnsiren.language.domains import SpaceTime
from pinnsiren.language.numeric import evaluate_on, evaluator
from pinnsiren.language.operators import expand_operators
from pinnsiren.language.problem import Problem
from pinnsiren.language.symbols import declaration_of

NAME = "factored eikonal"
ORDER = 30
OPTIONAL = True


@dataclass(frozen=True)
class PointSource:
    """T = time at a point."""

    at: tuple[float, ...]
    time: float


def squared_slowness(problem: Problem) -> Any | None:
    """Return s^2 of an equation |grad T|^2 = s^2 in any algebraic form, or None for any other equation."""
    if len(problem.fields) != 1 or len(problem.equations) != 1 or isinstance(problem.domain, SpaceTime):
        return None
    candidate = problem.fields[0]
    if declaration_of(candidate).is_complex or problem.unknowns:
        return None
    equation = expand_operators(problem.equations[0])
    names = {node: sp.Symbol(f"slope_{i}", real=True) for i, node in enumerate(derivatives_of(equation, candidate))}
    if {multi_index(node, candidate.args) for node in names} != {_unit(len(candidate.args), axis) for axis in range(len(candidate.args))}:
        return None
    total, slopes = sp.Dummy("total", nonnegative=True), list(names.values())
    # Turning the gradient into one direction leaves a function of its length alone, if the equation is one of the length alone.
    plain = equation.xreplace(names)
    along = [plain.xreplace({s: sp.sqrt(total) if s == chosen else sp.Integer(0) for s in slopes}) for chosen in slopes]
    if any(sp.simplify(form - along[0]) != 0 for form in along[1:]):
        return None
    oblique = plain.xreplace({s: sp.sqrt(total / len(slopes)) for s in slopes})
    if sp.simplify(oblique - along[0]) != 0:
        return None
    for unknown, power in ((total, 1), (sp.sqrt(total), 2)):
        name = sp.Dummy()
        form = along[0].xreplace({unknown: name})
        slope, rest = sp.diff(form, name), form.xreplace({name: sp.Integer(0)})
        if slope != 0 and not slope.has(total, name) and not rest.has(total):
            # As it was declared: expanding a Gaussian gives exp(a) exp(-b), which overflows.
            return (-rest / slope) ** power
    return None


def point_sources(problem: Problem) -> tuple[tuple[PointSource, ...], ...] | None:
    """Return the sources of every shot (of the only one), or None where something else than times at points is declared.

    Sources are points with `Dirichlet(T, time, on={x: .., z: ..})`, for all shots. A field with shots may instead have
    `Observations(T, points, times)` with the points (shots, n_sources, n_coordinates) of each.
    """
    if len(problem.fields) != 1:
        return None
    groups: list[list[PointSource]] = [[] for _ in range(problem.n_shots or 1)]
    for condition in problem.conditions:
        if isinstance(condition, Dirichlet):
            value = sp.sympify(condition.value)
            regions = [residual.region for residual in condition.residuals(problem.domain)]
            if not (value.is_number and value.is_real) or any(region.kind != "points" or region.points is None for region in regions):
                return None
            drawn = [PointSource(tuple(map(float, point)), float(value)) for region in regions for point in np.asarray(region.points)]
            groups = [[*group, *drawn] for group in groups]
        elif isinstance(condition, Observations) and condition.expression == problem.fields[0] and np.ndim(condition.points) == 3:
            points, times = np.asarray(condition.points), np.atleast_2d(condition.values)
            if len(points) != len(groups):
                return None
            times = np.broadcast_to(times, points.shape[:2])
            for group, at, own in zip(groups, points, times, strict=True):
                group += [PointSource(tuple(map(float, point)), float(time)) for point, time in zip(at, own, strict=True)]
        else:
            return None
    return tuple(map(tuple, groups)) if all(groups) else None


def source_of(problem: Problem) -> PointSource | None:
    """Return the only point where the time is prescribed."""
    groups = None if problem.n_shots is not None else point_sources(problem)
    return groups[0][0] if groups is not None and len(groups[0]) == 1 else None


def applies(problem: Problem) -> tuple[str, NDArray[np.float64], float, float, Any] | None:
    """Return the reason, the source, the slowness and time there, and s^2; None where the rewrite does not apply."""
    source = source_of(problem)
    square = None if source is None else squared_slowness(problem)
    if source is None or square is None:
        return None
    centre = np.array(source.at)
    at_source = float(np.real(evaluate_on(square, problem.coordinates, centre[None, :])[0]))
    if not np.isfinite(at_source) or at_source <= 0:
        return None
    reason = "the travel time has a cone at its source: the time in a uniform medium is split off, and the rest vanishes there by construction"
    return reason, centre, float(np.sqrt(at_source)), source.time, square


def apply(rewritten: Rewritten) -> Rewritten:
    """Factor the travel time, if the declared problem is an eikonal equation with one point source."""
    found = applies(rewritten.original)
    if found is None:
        return rewritten
    reason, centre, slowness, start, square = found
    problem = rewritten.problem
    candidate, symbols = problem.fields[0], problem.coordinates
    radius = sp.sqrt(sp.Add(*[(s - sp.Float(c)) ** 2 for s, c in zip(symbols, centre, strict=True)]))
    known = sp.Float(slowness) * radius
    slopes = [sp.Derivative(candidate, symbol) for symbol in symbols]
    mixed = sp.Add(*[2 * sp.diff(known, symbol) * slope for symbol, slope in zip(symbols, slopes, strict=True)])
    equation = mixed + sp.Add(*[slope**2 for slope in slopes]) - (square - sp.Float(slowness) ** 2)
    text = f"the travel time from {tuple(map(float, centre))} in a uniform medium"
    addition = Addition(candidate, _jets(sp.Float(start) + known, symbols), text=text)
    return replace(
        rewritten,
        problem=problem.rewritten(equations=[equation], conditions=[]),
        additions=(*rewritten.additions, addition),
        factors=((candidate, known / sp.Float(slowness * float(problem.domain.size))), *rewritten.factors),
        applied=(*rewritten.applied, (NAME, reason)),
    )


def _unit(dimension: int, axis: int) -> MultiIndex:
    return tuple(int(index == axis) for index in range(dimension))


def _jets(expression: Any, symbols: tuple[sp.Symbol, ...]) -> Any:
    """Return (points, orders) -> derivative (n, 1), compiled once per multi-index; at the source itself derivatives are set to zero."""
    compiled: dict[MultiIndex, Any] = {}

    def evaluate(points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        if orders not in compiled:
            derivative = expression
            for symbol, count in zip(symbols, orders, strict=True):
                derivative = derivative.diff(symbol, count) if count else derivative
            compiled[orders] = evaluator([derivative], symbols)
        with np.errstate(all="ignore"):
            values = np.real(compiled[orders](points)[0])
        return np.where(np.isfinite(values), values, 0.0)[:, None]

    return evaluate
