"""A survey of waves in time, read from a declaration: shots with their wavelets, traces, an unknown squared slowness, free space around.

    m u_tt - Lap u = w_s(t) N(x; x_s, variance)   for every shot s,     u = u_t = 0 at the first instant,     m unknown

Input: a problem on SpaceTime(Box, ...) of the plane with one field. Output: `WaveSurvey`; or a `CompileError` that says what is another form, and a
`ProblemError` where the form is this one and a number in it is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import CompileError, ProblemError
from pinnsiren.language.conditions import PML, InitialCondition, Observations
from pinnsiren.language.domains import Box, SpaceTime
from pinnsiren.language.operators import expand_operators
from pinnsiren.language.penalties import Penalty, Prior
from pinnsiren.language.problem import Problem
from pinnsiren.language.sources import GaussianSource, SourceFamily
from pinnsiren.language.symbols import FieldDeclaration, UnknownFieldDeclaration, declaration_of

Array = NDArray[np.float64]

FORM = "m*u.diff(t, 2) - laplacian(u) = wavelet(t) * GaussianSource(...) with one unknown_field m, the squared slowness"
# Of the side of the box, and of the time: two positions or instants nearer than that are one.
SAME_PLACE, SAME_INSTANT = 1e-9, 1e-9
# A trace is a course in time: fewer samples are scattered observations, which other methods take.
FEWEST_SAMPLES = 8


@dataclass(frozen=True)
class TraceSet:
    """The traces of one `Observations`, sorted by receiver and time.

    Attributes:
        receivers: (n_shots, n_receivers, 2), the same in all rows where they are the same for all shots.
        shared: whether they are.
        instants: (n_receivers, n_samples) or (n_shots, n_receivers, n_samples), counted from the first instant of the domain, increasing.
        values: (n_shots, n_receivers, n_samples).
        noise: declared level relative to the root mean square of all values, None where none is declared.
    """

    receivers: Array
    shared: bool
    instants: Array
    values: Array
    noise: float | None

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the noise, in the units of the values; receivers that recorded nothing have none."""
        return None if not self.noise else float(self.noise * np.sqrt(np.mean(self.values[self.heard] ** 2)))

    @property
    def heard(self) -> NDArray[np.bool_]:
        """Traces that hold more than zeros, (n_shots, n_receivers)."""
        return np.asarray(np.any(self.values != 0, axis=-1))

    def instants_of(self, shot: int, receiver: int) -> Array:
        """Return the instants of one trace, (n_samples,)."""
        return np.asarray(self.instants[receiver] if self.instants.ndim == 2 else self.instants[shot, receiver])


@dataclass(frozen=True)
class WaveSurvey:
    """A declared survey in time.

    Attributes:
        problem: the declaration.
        field: u.
        medium: the unknown, as it is applied.
        factor: c of `c m u_tt - Lap u`; one where m is the squared slowness in the units of the coordinates.
        space: both coordinates, in the order of the field.
        time: its symbol.
        span: first and last instant.
        sources: (n_shots, 2).
        variance: of the Gaussian sources.
        wavelets: one expression of the time per shot.
        traces: one per set of observations.
        beliefs: declared penalties and priors.
    """

    problem: Problem
    field: Any
    medium: Any
    factor: float
    space: tuple[sp.Symbol, sp.Symbol]
    time: sp.Symbol
    span: tuple[float, float]
    sources: Array
    variance: float
    wavelets: tuple[Any, ...]
    traces: tuple[TraceSet, ...]
    beliefs: tuple[Any, ...]

    @property
    def duration(self) -> float:
        """Time between the first and the last instant of the domain."""
        return self.span[1] - self.span[0]

    @property
    def box(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Limits of the domain per coordinate of space."""
        bounds = self.problem.domain.bounds
        return bounds[self.space[0]], bounds[self.space[1]]


def is_wave_inversion(problem: Problem) -> bool:
    """Whether a problem looks like an inversion of waves in time: second derivatives in time, an unknown field beside derivatives, observations."""
    if not isinstance(problem.domain, SpaceTime) or not problem.coefficients or not any(isinstance(c, Observations) for c in problem.conditions):
        return False
    return any(_is_wave_equation(equation, problem) for equation in problem.equations)


def _is_wave_equation(equation: Any, problem: Problem) -> bool:
    """Whether an equation holds a second derivative in time, and an unknown field times a derivative of a field."""
    assert isinstance(problem.domain, SpaceTime)
    terms = sp.Add.make_args(sp.expand(expand_operators(sp.sympify(equation))))
    moved = [(term, [d for d in term.atoms(sp.Derivative) if d.expr in problem.fields]) for term in terms]
    accelerated = any(dict(d.variable_count).get(problem.domain.time, 0) == 2 for _, derivatives in moved for d in derivatives)
    return accelerated and any(derivatives and term.has(*problem.coefficients) for term, derivatives in moved)


def read_wave_survey(problem: Problem) -> WaveSurvey:
    """Read a declared survey.

    Raises:
        CompileError: another form; the message says what was found and what is expected.
        ProblemError: traces that are no courses in time, or shots that do not fit their sources.
    """
    candidate, medium, time = _check_symbols(problem)
    assert isinstance(problem.domain, SpaceTime)
    declaration = declaration_of(candidate)
    assert isinstance(declaration, FieldDeclaration) and isinstance(declaration_of(medium), UnknownFieldDeclaration)
    if declaration.is_complex or len(problem.equations) != 1:
        raise CompileError(f"`{problem.name}` has a complex field or several equations; expected one real field with {FORM}")
    space = tuple(symbol for symbol in candidate.args if symbol != time)
    factor, source = _read_equation(problem, candidate, medium, space, time)
    n_shots = declaration.shots or 1
    shots = [_read_shot(problem, expression, space, time) for expression in _per_shot(problem, source, n_shots)]
    variances = {variance for _, variance, _ in shots}
    if len(variances) != 1:
        raise CompileError(f"the sources of `{problem.name}` have the variances {sorted(variances)}; expected one for all")
    beliefs = _check_conditions(problem, candidate)
    return WaveSurvey(
        problem=problem,
        field=candidate,
        medium=medium,
        factor=factor,
        space=(space[0], space[1]),
        time=time,
        span=problem.domain.time_bounds,
        sources=np.array([place for place, _, _ in shots]),
        variance=variances.pop(),
        wavelets=tuple(wavelet for _, _, wavelet in shots),
        traces=tuple(_read_traces(problem, c, candidate, n_shots) for c in problem.conditions if isinstance(c, Observations)),
        beliefs=beliefs,
    )


def _check_symbols(problem: Problem) -> tuple[Any, Any, Any]:
    """Return the field, the unknown field and the time of a problem that has one of each and a box of the plane."""
    if not is_wave_inversion(problem) or not isinstance(problem.domain, SpaceTime):
        raise CompileError(f"`{problem.name}` is no survey of waves in time: expected observations of a field on a box of the plane, and {FORM}")
    space, time = problem.domain.space, problem.domain.time
    dimension = len(space.coordinates)
    if dimension != 2 or not isinstance(space, Box):
        raise CompileError(
            f"`{problem.name}` is declared on {type(space).__name__}, {dimension}-dimensional, and time; waves in time are inverted per frequency on "
            "a Box of two coordinates only. Declare a section of the plane, or see what the other method says of its error"
        )
    if len(problem.fields) != 1 or len(problem.coefficients) != 1 or problem.scalars:
        raise CompileError(
            f"`{problem.name}` solves for {len(problem.fields)} fields, {len(problem.coefficients)} unknown fields and {len(problem.scalars)} "
            "unknown scalars; waves in time are inverted for one field and one unknown_field, the squared slowness: give the others their values"
        )
    (candidate,), (medium,) = problem.fields, problem.coefficients
    expected = tuple(symbol for symbol in candidate.args if symbol != time)
    if tuple(medium.args) != expected:
        raise CompileError(
            f"`{medium}` of `{problem.name}` is an unknown of {medium.args}; expected a squared slowness of {expected}, the coordinates of the field "
            "in their order"
        )
    return candidate, medium, time


def _read_equation(problem: Problem, candidate: Any, medium: Any, space: tuple[Any, ...], time: Any) -> tuple[float, Any]:
    """Return c and the source of `c m u_tt - Lap u = source`."""
    expression = sp.sympify(problem.equations[0])
    heads = {node: sp.Dummy("source") for node in (expression.atoms(SourceFamily) or expression.atoms(GaussianSource))}
    plain = sp.expand(expand_operators(expression.xreplace(heads)))
    seconds = [sp.Dummy("second") for _ in space]
    acceleration, value, slowness = sp.Dummy("acceleration"), sp.Dummy("value"), sp.Dummy("medium")
    plain = plain.xreplace({sp.Derivative(candidate, (symbol, 2)): mark for symbol, mark in zip(space, seconds, strict=True)})
    plain = plain.xreplace({sp.Derivative(candidate, (time, 2)): acceleration}).xreplace({candidate: value, medium: slowness})
    factors = {sp.simplify(sp.diff(plain, mark)) for mark in seconds}
    stiffness = factors.pop()
    if factors or stiffness == 0 or not stiffness.is_number:
        raise CompileError(
            f"the equation of `{problem.name}` does not hold a number times the Laplacian of `{candidate}`; expected {FORM}: divide by what "
            "stands in front of the Laplacian, and seek m = 1/c**2 instead of a speed c"
        )
    inertia = sp.simplify(-sp.diff(plain, acceleration, slowness) / stiffness)
    rest = sp.expand(plain - stiffness * sum(seconds) + stiffness * inertia * slowness * acceleration)
    if not inertia.is_number or not inertia.is_positive or rest.has(acceleration, value, slowness, *seconds, sp.Derivative):
        raise CompileError(
            f"the equation of `{problem.name}` is not {FORM}: the unknown has to stand beside the second derivative in time alone, and nothing else "
            "may hold the field (damping, density, an unknown speed in front of the Laplacian)"
        )
    return float(inertia), (rest / stiffness).xreplace({mark: node for node, mark in heads.items()})


def _per_shot(problem: Problem, source: Any, n_shots: int) -> list[Any]:
    families = source.atoms(SourceFamily)
    if any(len(family.args) != n_shots for family in families):
        raise ProblemError(f"`{problem.name}` declares {n_shots} shots and a family of another number of sources; expected one source per shot")
    return [source.xreplace({family: family.args[number] for family in families}) for number in range(n_shots)]


def _read_shot(problem: Problem, expression: Any, space: tuple[Any, ...], time: Any) -> tuple[list[float], float, Any]:
    """Return place, variance and wavelet of one shot."""
    lit = sorted(expression.atoms(GaussianSource), key=str)
    expected = f"expected one GaussianSource(at={{{space[0]}: ..., {space[1]}: ...}}, variance=...) times a wavelet, a function of `{time}`"
    if len(lit) != 1:
        raise CompileError(f"a shot of `{problem.name}` holds {len(lit)} Gaussian sources; {expected}")
    (blob,) = lit
    mark = sp.Dummy("blob")
    marked = expression.xreplace({blob: mark})
    factor = sp.diff(marked, mark)
    wavelet = factor * blob.amplitude
    numbers = (*blob.centre, blob.variance)
    if factor.has(mark) or sp.expand(marked - factor * mark) != 0 or wavelet.free_symbols - {time} or set(blob.coordinates) != set(space):
        raise CompileError(f"a shot of `{problem.name}` is `{expression}`; {expected}")
    if not all(sp.sympify(number).is_number for number in numbers):
        raise CompileError(f"a source of `{problem.name}` has the centre {blob.centre} and the variance {blob.variance}; expected numbers")
    place = dict(zip(blob.coordinates, blob.centre, strict=True))
    return [float(place[symbol]) for symbol in space], float(blob.variance), wavelet


def _check_conditions(problem: Problem, candidate: Any) -> tuple[Any, ...]:
    """Return declared beliefs; everything else is rest at the start, free space, or a refusal."""
    beliefs, at_rest = [], set()
    for condition in problem.conditions:
        if isinstance(condition, (Penalty, Prior)):
            beliefs.append(condition)
        elif isinstance(condition, InitialCondition):
            if sp.sympify(condition.value) != 0:
                raise CompileError(f"`{problem.name}` starts from {condition.value}; inversion in time needs rest at the start: u = u_t = 0")
            at_rest.add(condition.time_order)
        elif isinstance(condition, Observations):
            if condition.expression != candidate:
                raise CompileError(f"`{problem.name}` observes `{condition.expression}`; inversion in time knows traces of `{candidate}` itself")
            if condition.weights is not None:
                raise CompileError(f"the observations of `{problem.name}` carry weights; inversion in time weighs traces by their noise: drop them")
        elif not isinstance(condition, PML):
            raise CompileError(
                f"`{problem.name}` has a {type(condition).__name__} condition; inversion in time needs free space on all four faces (PML, or no "
                "condition): leave it out if the records end before its echoes arrive"
            )
    if at_rest != {0, 1}:
        raise CompileError(f"`{problem.name}` does not say that it starts at rest; add InitialCondition(u, 0) and InitialCondition(u.diff(t), 0)")
    return tuple(beliefs)


def _read_traces(problem: Problem, observed: Observations, candidate: Any, n_shots: int) -> TraceSet:
    domain = problem.domain
    assert isinstance(domain, SpaceTime)
    points, values = np.asarray(observed.points, dtype=float), np.asarray(observed.values)
    if np.iscomplexobj(values):
        raise ProblemError(f"the observations of `{problem.name}` are complex; traces of waves in time are real numbers")
    column = list(candidate.args).index(domain.time)
    places, instants = np.delete(points, column, axis=-1), points[..., column] - domain.time_bounds[0]
    side = max(high - low for low, high in (domain.bounds[s] for s in candidate.args if s != domain.time))
    values = np.broadcast_to(np.atleast_2d(values).astype(float), (n_shots, values.shape[-1]))
    if points.ndim == 2:
        receivers, order, count = _sorted_traces(problem, places, instants, side)
        shape = (len(receivers), count)
        everywhere = np.broadcast_to(receivers, (n_shots, *receivers.shape))
        return TraceSet(everywhere, True, instants[order].reshape(shape), values[:, order].reshape(n_shots, *shape), observed.noise or None)
    if len(points) != n_shots:
        raise ProblemError(f"the observations of `{problem.name}` name points for {len(points)} shots; the field has {n_shots}")
    parts = [_sorted_traces(problem, places[shot], instants[shot], side) for shot in range(n_shots)]
    if len({(len(receivers), count) for receivers, _, count in parts}) != 1:
        found = sorted({len(receivers) for receivers, _, _ in parts})
        raise ProblemError(f"the shots of `{problem.name}` have {found} receivers in one Observations; give those with as many receivers one each")
    each = (n_shots, len(parts[0][0]), parts[0][2])
    moved = [(instants[shot][order], values[shot][order]) for shot, (_, order, _) in enumerate(parts)]
    when, heard = (np.stack(rows).reshape(each) for rows in zip(*moved, strict=True))
    return TraceSet(np.stack([receivers for receivers, _, _ in parts]), False, when, heard, observed.noise or None)


def _sorted_traces(problem: Problem, places: Array, instants: Array, side: float) -> tuple[Array, NDArray[np.int64], int]:
    """Return receivers (n, 2), the order of the points by receiver and time, and the number of samples of each trace."""
    rounded = np.round(places / (SAME_PLACE * side)).astype(np.int64)
    _, first, which, counts = np.unique(rounded, axis=0, return_index=True, return_inverse=True, return_counts=True)
    if counts.min() < FEWEST_SAMPLES:
        raise CompileError(
            f"the observations of `{problem.name}` hold {len(counts)} positions, one of them at {counts.min()} instants; inversion in time needs "
            f"traces, {FEWEST_SAMPLES} instants and more at every receiver; of receivers that move, give the samples of each place as "
            "a trace of its own"
        )
    if counts.min() != counts.max():
        raise ProblemError(
            f"the traces of `{problem.name}` have {counts.min()} to {counts.max()} samples in one Observations; give traces of each length one of "
            "their own"
        )
    # Receivers stay in the order in which they were given.
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    order = np.lexsort((instants, rank[which.ravel()]))
    count = int(counts[0])
    gaps = np.diff(instants[order].reshape(-1, count), axis=1)
    if gaps.min() <= SAME_INSTANT * float(np.ptp(instants)):
        raise ProblemError(f"a receiver of `{problem.name}` has two values at one instant; expected one value per receiver and instant")
    return places[np.sort(first)], order, count
