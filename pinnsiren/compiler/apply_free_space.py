"""Rewrite: layers around waves in time become a larger domain, from which nothing comes back before the end.

Input: a problem in space and time with `PML` conditions. Output: the same equations on a box whose faces with a layer lie so far outside that a wave
which leaves the declared box and is reflected there arrives after the last instant; coefficients and initial values are continued as constants along
the normal, the outer faces carry u = 0. A stretch of coordinates absorbs one frequency well and a pulse approximately; this is exact, for equations
with any lower-order terms, and costs the larger domain. Errors are counted inside the declared box only.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from pinnsiren.compiler.apply_absorbing_layer import clamp_coordinates, continue_condition
from pinnsiren.compiler.open_faces import N_POINTS, SEED, arrivals, data_sizes, speed_range
from pinnsiren.errors import CompileError
from pinnsiren.ir import Rewritten
from pinnsiren.language.conditions import PML, AbstractCondition, Dirichlet, InitialCondition
from pinnsiren.language.domains import Box, SpaceTime
from pinnsiren.language.heads import Clamp
from pinnsiren.language.problem import Problem
from pinnsiren.language.symbols import declaration_of

NAME = "free space"
ORDER = 5
OPTIONAL = False
AT_FACE = 1e-6  # of the largest value: data above it on a face with a layer go on beyond it, and nobody said how
QUIET = 1e-13  # of the largest value: where the data begin
BEYOND = 1.03  # of the way out and back: the fastest speed is known by samples
MINIMUM = 0.05  # of the side: a face that no wave reaches moves a little all the same, since its wall carries u = 0


def applies(problem: Problem) -> str | None:
    """Return the reason why the rewrite applies, or None."""
    if not isinstance(problem.domain, SpaceTime) or not any(isinstance(condition, PML) for condition in problem.conditions):
        return None
    faces = [face for condition in problem.conditions if isinstance(condition, PML) for face in condition.faces(problem.domain)]
    return (
        f"nothing may come back through {', '.join(faces)}: the waves run on into a larger domain, from which nothing returns before "
        f"{problem.domain.time} = {problem.domain.time_bounds[1]:g}. This is exact; width and strength of the layer play no part"
    )


def without_layers(problem: Problem) -> Problem:
    """Return the problem with faces without a condition in place of layers, for methods that know free space."""
    kept = [condition for condition in problem.conditions if not isinstance(condition, PML)]
    return problem.rewritten(equations=problem.equations, conditions=kept)


def apply(rewritten: Rewritten) -> Rewritten:
    """Enlarge the domain.

    Raises:
        CompileError: the speed of the waves cannot be read off the equation, or data reach a face with a layer.
    """
    problem = rewritten.problem
    reason = applies(problem)
    if reason is None:
        return rewritten
    domain = problem.domain
    assert isinstance(domain, SpaceTime) and isinstance(domain.space, Box)
    limits = {symbol: list(domain.space.bounds[symbol]) for symbol in domain.space.coordinates}
    conditions: list[AbstractCondition] = []
    for condition in problem.conditions:
        if isinstance(condition, PML):
            faces = condition.faces(domain)
            for face, distance in _distances(problem, condition.field, faces).items():
                axis, side = domain.space.face(face)
                limits[domain.space.coordinates[axis]][side > 0] += side * distance
            conditions.append(Dirichlet(condition.field, 0, on=faces))
    space = Box({symbol: (low, high) for symbol, (low, high) in limits.items()})
    clamps: dict[sp.Symbol, Any] = {
        symbol: Clamp(symbol, *map(sp.Float, domain.space.bounds[symbol]))
        for symbol in space.coordinates
        if space.bounds[symbol] != domain.space.bounds[symbol]
    }
    conditions += [_continued(condition, clamps) for condition in problem.conditions if not isinstance(condition, PML)]
    larger = problem.rewritten(
        domain=SpaceTime(space, {domain.time: domain.time_bounds}),
        equations=[clamp_coordinates(equation, clamps) for equation in problem.equations],
        conditions=conditions,
    )
    return replace(rewritten, problem=larger, applied=(*rewritten.applied, (NAME, reason)))


def _continued(condition: AbstractCondition, clamps: dict[sp.Symbol, Any]) -> AbstractCondition:
    if isinstance(condition, InitialCondition):
        return replace(condition, value=clamp_coordinates(sp.sympify(condition.value), clamps))
    return continue_condition(condition, clamps)


def _distances(problem: Problem, candidate: Any, faces: tuple[str, ...]) -> dict[str, float]:
    """Return how far each face has to move, so that what its wall reflects is not back in the declared box at the end."""
    domain = problem.domain
    assert isinstance(domain, SpaceTime) and isinstance(domain.space, Box)
    space = domain.space
    speeds, name = _speeds(problem, candidate), declaration_of(candidate).name
    if speeds is None:
        raise CompileError(
            f"problem `{problem.name}` has a layer for waves of the field `{name}`, and its equation does not give their speed: expected "
            "u_tt - c**2 u_xx with a known c; enlarge the domain by hand, so that nothing returns in the time declared"
        )
    _check_quiet(problem, candidate, faces)
    first = {arrival.face: arrival.earliest for arrival in arrivals(without_layers(problem), candidate, QUIET)}
    start, end = domain.time_bounds
    distances = {}
    for face in faces:
        axis, _ = space.face(face)
        low, high = space.bounds[space.coordinates[axis]]
        distances[face] = max(MINIMUM * (high - low), 0.5 * BEYOND * speeds[1] * (end - min(first.get(face, start), end)))
    return distances


def _speeds(problem: Problem, candidate: Any) -> tuple[float, float] | None:
    """Return the range of speeds; an unknown medium may take any value between its bounds, and counts with them and with its start."""
    known = speed_range(problem, candidate)
    if known is not None or not problem.coefficients:
        return known
    found = []
    for number in range(3):
        values = {}
        for medium in problem.coefficients:
            declared = declaration_of(medium)
            values[medium] = sp.sympify((declared.initial, *declared.bounds)[number])
        if all(value.is_finite is not False for value in values.values()):
            assumed = problem.rewritten(equations=[equation.xreplace(values) for equation in problem.equations], conditions=problem.conditions)
            found.append(speed_range(assumed, candidate))
    given = [pair for pair in found if pair is not None]
    return (min(pair[0] for pair in given), max(pair[1] for pair in given)) if given else None


def _check_quiet(problem: Problem, candidate: Any, faces: tuple[str, ...]) -> None:
    """Data that reach a layer would have to go on beyond it, and a layer says that nothing starts there."""
    space = problem.domain.space  # type: ignore[attr-defined]
    largest = [float(np.max(size)) for _, size in data_sizes(problem, candidate, space.sample_interior(N_POINTS, SEED))]
    for face in faces:
        points, _ = space.sample_boundary(face, N_POINTS // 10, SEED)
        for inside, (_, size) in zip(largest, data_sizes(problem, candidate, points), strict=True):
            if float(np.max(size)) > AT_FACE * inside:
                raise CompileError(
                    f"initial values or a source of problem `{problem.name}` reach the face `{face}` ({float(np.max(size)):.1e} there, {inside:.1e} "
                    "at most), which has a layer: beyond it is free space, where nothing starts. Enlarge the domain until the data vanish there"
                )
