"""The wave equation as it was declared: speed, sources, walls and initial data, read from a `Problem`.

Input: a problem on SpaceTime(Box, ...) whose only equation is `alpha(x) u_tt - a(x) Lap u = f(x, t)`. Output: `DeclaredWave`, which stands for
`u_tt = c^2 Lap u + F` with `c^2 = a/alpha`, `F = f/alpha`; or `ReferenceSolverError` with the reason of the refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from sympy.core.function import AppliedUndef

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Box, GaussianSource, InitialCondition, Problem, RickerWavelet, SpaceTime, select_shot
from pinnsiren.language.symbols import declaration_of

from ..assembly import FaceRow
from ..coefficients import LinearForm, linear_form
from ..declaration import BoxConditions, Face, box_conditions, face_names
from ..evaluation import evaluator, may_jump

Array = NDArray[Any]

# Sample of the box for checks, per axis, by dimension.
_SAMPLE = {1: 401, 2: 61, 3: 17}
# Data at a face into free space, relative to their maximum, that count as zero there.
_QUIET = 1e-6
_PARITY_POINTS = 64
# Of the side of the box: what is smooth this far behind a wall is smooth for the differences there.
_PARITY_DEPTH = 0.05
_SYMMETRIC = 1e-9


@dataclass(frozen=True)
class DeclaredWave:
    """`slowness2 u_tt = Lap u + slowness2 F` with data.

    Attributes:
        problem: as declared.
        space: coordinates but the time, in the order of the field.
        time: symbol.
        span: begin and end.
        slowness2: 1/c^2, an expression in space.
        sources: F per shot.
        conditions: of the faces.
        initial: value and rate, expressions (with families for shots).
        jumps: whether the speed jumps.
        fastest: largest speed.
        slowest: smallest speed.
        complex_data: whether sources, walls or initial data are complex.
    """

    problem: Problem
    space: tuple[Any, ...]
    time: Any
    span: tuple[float, float]
    slowness2: Any
    sources: tuple[Any, ...]
    conditions: BoxConditions
    initial: tuple[Any, Any]
    jumps: bool
    fastest: float
    slowest: float
    complex_data: bool

    @property
    def coordinates(self) -> tuple[Any, ...]:
        """Of the field, time included, in its order."""
        return tuple(self.problem.fields[0].args)

    @property
    def open_faces(self) -> frozenset[Face]:
        """Faces into free space."""
        return self.conditions.free | self.conditions.layers

    @property
    def time_derivatives_exist(self) -> bool:
        """Whether sources and wall data are smooth in time; sampled and piecewise data are not differentiated."""
        driven = [*self.sources, *(row.value for row in self.conditions.rows)]
        return not any(_is_rough_in(e, self.time) for e in driven)

    def sample(self, count: int | None = None) -> list[Array]:
        """Points of the box on a coarse grid, faces included."""
        size = count or _SAMPLE[len(self.space)]
        return list(np.meshgrid(*[np.linspace(low, high, size) for low, high in self.conditions.bounds], indexing="ij"))

    def walls_are_mirrors(self) -> bool:
        """Whether every wall is homogeneous and speed, sources and data continue behind it as even or odd functions."""
        return all(self._is_mirror(row) for row in self.conditions.rows)

    def _is_mirror(self, row: FaceRow) -> bool:
        if sp.sympify(row.value) != 0:
            return False
        sign = 1 if row.is_neumann else -1
        functions = [(self.slowness2, 1), *((e, sign) for e in self.sources), *((e, sign) for e in self.initial)]
        return all(self._has_parity(expression, row, parity) for expression, parity in functions)

    def _has_parity(self, expression: Any, row: FaceRow, sign: int) -> bool:
        """Whether the expression, beside the wall, continues behind it as an even (+1) or odd (-1) function."""
        generator = np.random.default_rng(0)
        lows, highs = np.array(self.conditions.bounds).T
        front = list(generator.uniform(lows, highs, (_PARITY_POINTS, len(lows))).T)
        instants = generator.uniform(*self.span, _PARITY_POINTS)
        wall = lows[row.axis] if row.side < 0 else highs[row.axis]
        depth = _PARITY_DEPTH * (highs[row.axis] - lows[row.axis]) * generator.uniform(0, 1, _PARITY_POINTS)
        behind = list(front)
        front[row.axis], behind[row.axis] = wall - row.side * depth, wall + row.side * depth
        probes = [p[..., None] for p in self.sample(21)]
        for shot in range(len(self.sources)):
            evaluate = evaluator(select_shot(sp.sympify(expression), shot), (*self.space, self.time))
            size = float(np.max(np.abs(evaluate(*probes, instants[:9])), initial=0.0))
            if not np.all(np.abs(evaluate(*behind, instants) - sign * evaluate(*front, instants)) <= _SYMMETRIC * size):
                return False
        return True


def read_wave(problem: Problem) -> DeclaredWave:
    """Read a declared wave equation.

    Raises:
        ReferenceSolverError: another equation, domain or condition; the message says which.
    """
    domain = problem.domain
    if not isinstance(domain, SpaceTime) or not isinstance(domain.space, Box):
        raise ReferenceSolverError(f"the domain {domain} is not the product of a box and a time interval")
    declaration = declaration_of(problem.fields[0])
    form = linear_form(problem)
    t = domain.time
    space = tuple(symbol for symbol in form.coordinates if symbol != t)
    if set(form.coordinates) != set(domain.coordinates) or len(space) > 3:
        given = f"the field depends on {form.coordinates}, the domain on {domain.coordinates}"
        raise ReferenceSolverError(f"{given}; expected the same, three in space at most")
    alpha, stiffness = _coefficients(form, t, problem.name)
    conditions = box_conditions(problem, domain.space, space)
    if conditions.joined:
        joined = ", ".join(str(space[axis]) for axis in sorted(conditions.joined))
        raise ReferenceSolverError(f"`{problem.name}` is periodic along {joined}; the leapfrog scheme has walls and free faces only")
    for row in conditions.rows:
        if (row.a, row.b) not in ((1, 0), (0, 1)):
            raise ReferenceSolverError(f"`{problem.name}` has a Robin condition on a wall; the leapfrog scheme knows Dirichlet and Neumann walls")
    slowness2 = alpha / stiffness
    sources = tuple(_plain(source) / alpha for source in form.source)
    initial = _initial_data(problem, t)
    slowest, fastest = _speeds(slowness2, space, conditions, problem.name)
    jumps = may_jump(slowness2)
    wave = DeclaredWave(problem, space, t, domain.time_bounds, slowness2, sources, conditions, initial, jumps, fastest, slowest, False)
    return replace(wave, complex_data=_check_data(wave, bool(declaration.is_complex)))


def _coefficients(form: LinearForm, t: Any, name: str) -> tuple[Any, Any]:
    """alpha and a of `alpha u_tt - a Lap u`."""
    if form.fluxes:
        raise ReferenceSolverError(f"`{name}` holds a flux with a variable coefficient; the leapfrog scheme solves c(x)^2 Lap u")
    place = form.coordinates.index(t)
    unit = {axis: tuple(2 * (i == axis) for i in range(len(form.coordinates))) for axis in range(len(form.coordinates))}
    foreign = [index for index in form.derivatives if index not in unit.values()]
    if foreign:
        raise ReferenceSolverError(f"`{name}` is no plain wave equation: it holds terms besides u_tt and the Laplacian (multi-indices {foreign})")
    if unit[place] not in form.derivatives:
        raise ReferenceSolverError(f"`{name}` has no second time derivative")
    alpha = form.derivatives[unit[place]]
    stiffness = [-form.coefficient(*index) for axis, index in unit.items() if axis != place]
    if any(sp.simplify(other - stiffness[0]) != 0 for other in stiffness[1:]):
        raise ReferenceSolverError(f"`{name}` has different speeds along its axes; the leapfrog scheme solves c(x)^2 Lap u")
    if stiffness[0] == 0 or alpha.has(t) or stiffness[0].has(t):
        raise ReferenceSolverError(f"`{name}` has a speed that vanishes or depends on the time `{t}`")
    return alpha, stiffness[0]


def _plain(expression: Any) -> Any:
    """Source heads written out, so that they can be differentiated in time."""
    heads = (GaussianSource, RickerWavelet)
    return sp.sympify(expression).replace(lambda node: isinstance(node, heads), lambda node: node.doit())


def _is_rough_in(expression: Any, t: Any) -> bool:
    whole = sp.sympify(expression)
    if not whole.has(t):
        return False
    return may_jump(whole) or any(node.has(t) for node in whole.atoms(AppliedUndef))


def _initial_data(problem: Problem, t: Any) -> tuple[Any, Any]:
    field = problem.fields[0]
    found: dict[str, Any] = {}
    for condition in problem.conditions:
        if isinstance(condition, InitialCondition):
            expression = sp.sympify(condition.expression).doit()
            kind = "value" if expression == field else "time derivative" if expression == field.diff(t) else None
            if kind is None:
                raise ReferenceSolverError(f"`{problem.name}` prescribes `{expression}` initially; expected the field or its time derivative")
            found[kind] = _plain(condition.value)
    for kind in ("value", "time derivative"):
        if kind not in found:
            raise ReferenceSolverError(f"`{problem.name}` gives no initial {kind}")
    return found["value"], found["time derivative"]


def _speeds(slowness2: Any, space: tuple[Any, ...], conditions: BoxConditions, name: str) -> tuple[float, float]:
    points = np.meshgrid(*[np.linspace(low, high, _SAMPLE[len(space)]) for low, high in conditions.bounds], indexing="ij")
    values = evaluator(slowness2, space)(*points)
    if np.iscomplexobj(values) or not np.all(np.isfinite(values)) or np.min(values) <= 0:
        raise ReferenceSolverError(f"the coefficients of `{name}` do not describe waves of real speed everywhere in the box")
    return float(1 / np.sqrt(np.max(values))), float(1 / np.sqrt(np.min(values)))


def _check_data(wave: DeclaredWave, complex_field: bool) -> bool:
    """Whether data are complex; they can be evaluated, and are quiet at faces into free space."""
    points = wave.sample(21)
    instants = np.linspace(*wave.span, 9)
    found_complex = False
    for shot, source in enumerate(wave.sources):
        walls = [("wall data", select_shot(sp.sympify(row.value), shot)) for row in wave.conditions.rows]
        for kind, expression in (("source", source), *(("initial data", select_shot(e, shot)) for e in wave.initial), *walls):
            evaluate = evaluator(expression, (*wave.space, wave.time))
            values = np.stack([np.array(evaluate(*points, instant)) for instant in instants])
            if np.iscomplexobj(values) and np.any(values.imag):
                found_complex = True
                if not complex_field:
                    raise ReferenceSolverError(f"`{wave.problem.name}` has complex {kind} and a real field; declare it with complex=True")
            if kind != "wall data":
                _check_quiet(wave, kind, values)
    return found_complex


def _check_quiet(wave: DeclaredWave, kind: str, values: Array) -> None:
    largest = float(np.max(np.abs(values), initial=0.0))
    for axis, side in wave.open_faces:
        at_face = float(np.max(np.abs(np.take(values, 0 if side < 0 else -1, axis=axis + 1)), initial=0.0))
        if at_face > _QUIET * largest:
            face = face_names(frozenset({(axis, side)}), wave.space)
            raise ReferenceSolverError(
                f"the {kind} of `{wave.problem.name}` reaches the face {face} into free space ({at_face:.1e} there, {largest:.1e} at most)"
            )
