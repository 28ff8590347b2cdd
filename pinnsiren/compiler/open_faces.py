"""Open faces of a wave problem: a face without a condition stands for free space, which holds as long as no wave gets there.

Input: a problem after its rewrites. Output: nothing, a `CompileError` where a wave surely reaches such a face before the end, or a warning where the
fastest one could: from then on nothing says what leaves through the face and what comes back from it, and equations and data no longer determine the
field beside it.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.compiler.coefficients import derivatives_of
from pinnsiren.errors import CompileError, ProblemWarning
from pinnsiren.language.conditions import PML, InitialCondition, Observations
from pinnsiren.language.domains import SpaceTime
from pinnsiren.language.needed_conditions import derivative_orders
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.operators import expand_operators
from pinnsiren.language.problem import Problem
from pinnsiren.language.sources import SourceFamily, expand_sources, select_shot
from pinnsiren.language.symbols import declaration_of, is_field, is_unknown

N_POINTS = 20_000  # a pulse of a tenth of the domain across is seen by some twenty of them in three dimensions
SILENT = 1e-6  # of the largest value: tails below are no wave
SEED = 9

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Arrival:
    """When waves reach a face.

    Attributes:
        face: name of the face.
        earliest: at the largest speed of the domain.
        latest: at the smallest one.
    """

    face: str
    earliest: float
    latest: float


def check_open_faces(problem: Problem) -> None:
    """Raise or warn where waves reach a face without a condition before the end.

    Raises:
        CompileError: even the slowest wave gets there.
    """
    if not isinstance(problem.domain, SpaceTime):
        return
    end = problem.domain.time_bounds[1]
    for candidate in problem.fields:
        for arrival in arrivals(problem, candidate):
            name = declaration_of(candidate).name
            text = (
                f"a wave of field `{name}` of problem `{problem.name}` %s the face `{arrival.face}` at {problem.domain.time} = %.3g, before the end "
                f"at {end:g}. The face has no condition, which stands for free space as long as nothing gets there; from then on nothing determines "
                f"what comes back from it: add a Dirichlet, Neumann or Robin condition on `{arrival.face}`, a layer "
                f"PML({name}, on=\"{arrival.face}\") if nothing may come back, enlarge the domain, or end earlier"
            )
            if arrival.latest < end:
                raise CompileError(text % ("reaches", arrival.latest))
            if arrival.earliest < end:
                warnings.warn(text % ("may reach", arrival.earliest), ProblemWarning, stacklevel=3)


def arrivals(problem: Problem, candidate: Any, silent: float = SILENT) -> list[Arrival]:
    """Return the arrival of the nearest data at every open face; none where data are measured, unknown or written for several shots.

    Args:
        problem: the declaration.
        candidate: one of its fields.
        silent: share of the largest value below which data are no wave.
    """
    domain = problem.domain
    assert isinstance(domain, SpaceTime)
    if derivative_orders(problem, candidate)[domain.time] != 2 or any(isinstance(c, Observations) for c in problem.conditions):
        return []
    faces = [part for part in domain.space.boundary_parts() if part not in _covered(problem, candidate)]
    speeds = speed_range(problem, candidate) if faces else None
    if speeds is None:
        return []
    points = domain.space.sample_interior(N_POINTS, SEED)
    loud = _loud(problem, candidate, points, silent)
    if not len(loud[0]):
        return []
    found = []
    for face in faces:
        distance = domain.space.boundary_distance(face, loud[0])
        found.append(Arrival(face, float(np.min(loud[1] + distance / speeds[1])), float(np.min(loud[1] + distance / speeds[0]))))
    return found


def _covered(problem: Problem, candidate: Any) -> set[str]:
    covered: set[str] = set()
    for condition in problem.conditions:
        if isinstance(condition, PML):
            covered |= set(condition.faces(problem.domain)) if condition.field == candidate else set()
        elif any(sp.sympify(expression).has(candidate) for expression in condition.expressions()):
            covered |= {part for residual in condition.residuals(problem.domain) for part in residual.region.parts}
    return covered


def speed_range(problem: Problem, candidate: Any) -> tuple[float, float] | None:
    """Return the smallest and the largest speed at probe points, None where no equation gives them."""
    domain = problem.domain
    assert isinstance(domain, SpaceTime)
    points = domain.sample_interior(N_POINTS // 10, SEED)
    for equation in problem.equations:
        expanded = sp.expand_mul(expand_operators(equation))
        in_time = expanded.coeff(sp.Derivative(candidate, (domain.time, 2)))
        if in_time == 0:
            continue
        ratios = [-expanded.coeff(sp.Derivative(candidate, (symbol, 2))) / in_time for symbol in domain.space.coordinates]
        if any(_not_a_number(ratio) for ratio in ratios):
            return None
        squares = np.stack([np.real(evaluate_on(ratio, domain.coordinates, points)) for ratio in ratios])
        if np.all(np.isfinite(squares)) and np.all(squares > 0):
            return float(np.sqrt(squares.min())), float(np.sqrt(squares.max()))
    return None


def _not_a_number(expression: Any) -> bool:
    return any(is_field(node) or is_unknown(node) for node in expression.atoms(sp.Function))


def data_sizes(problem: Problem, candidate: Any, points: Array) -> Iterator[tuple[Array, Array]]:
    """Yield, for initial values, rates and sources of every shot, instants (n,) and the size of the data there at places (n, n_space), (n,)."""
    domain = problem.domain
    assert isinstance(domain, SpaceTime)
    start, end = domain.time_bounds
    column = list(domain.coordinates).index(domain.time)
    data: list[tuple[Any, Array]] = [
        (condition.value, np.full(len(points), start))
        for condition in problem.conditions
        if isinstance(condition, InitialCondition) and condition.expression.has(candidate)
    ]
    instants = start + (end - start) * np.random.default_rng(SEED).random(len(points))
    for equation in problem.equations:
        if equation.has(candidate):
            data.append((_source(equation, problem), instants))
    for expression, when in data:
        for shot in range(problem.n_shots or 1) if sp.sympify(expression).has(SourceFamily) else (0,):
            plain = expand_sources(select_shot(sp.sympify(expression), shot))
            if plain != 0 and not _not_a_number(plain):
                yield when, np.abs(evaluate_on(plain, domain.coordinates, np.insert(points, column, when, axis=1)))


def _loud(problem: Problem, candidate: Any, points: Array, silent: float) -> tuple[Array, Array]:
    """Return places (n, n_space) and instants (n,) at which initial values, rates and sources are not silent."""
    places, times = [np.zeros((0, points.shape[1]))], [np.zeros(0)]
    for when, size in data_sizes(problem, candidate, points):
        keep = size > silent * np.max(size, initial=0.0)
        places.append(points[keep])
        times.append(when[keep])
    return np.concatenate(places), np.concatenate(times)


def _source(equation: Any, problem: Problem) -> Any:
    """Return what is left of an equation without fields."""
    plain = expand_operators(equation)
    nodes = [node for f in problem.fields for node in derivatives_of(plain, f)]
    return plain.xreplace(dict.fromkeys(nodes, sp.Integer(0)))
