"""What a declared eikonal problem says: the squared slowness and where the waves start.

Input: a `Problem`. Output: `EikonalReading`, or `ReferenceSolverError` with the reason of the refusal. The equation may be written in any form
that fixes |grad T|: `grad(T).dot(grad(T)) - s**2`, `c**2 * |grad T|**2 = 1`, `c * |grad T| = 1`, expanded or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from sympy.core.function import AppliedUndef

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import AbstractDomain, Box, Dirichlet, Observations, Problem, SourceFamily, expand_operators, select_shot
from pinnsiren.language.symbols import declaration_of, is_field, is_unknown

from .evaluation import evaluator, may_jump

Array = NDArray[Any]


@dataclass(frozen=True)
class PointSource:
    """T = time at a point."""

    at: tuple[float, ...]
    time: float


@dataclass(frozen=True)
class FaceSource:
    """T = value on a face of the box; side -1 or +1, value a SymPy expression of the coordinates."""

    axis: int
    side: int
    value: Any


@dataclass(frozen=True)
class RegionSource:
    """T = time inside a domain."""

    region: AbstractDomain
    time: float


WaveSource = PointSource | FaceSource | RegionSource


@dataclass(frozen=True)
class EikonalReading:
    """An eikonal problem on a box.

    Attributes:
        problem: the declaration.
        coordinates: in the order of the field.
        bounds: limits per coordinate.
        squared_slowness: |grad T|^2, a SymPy expression.
        sources: of every shot; one tuple when there is no shot axis.
        shots: number of shots, or None.
    """

    problem: Problem
    coordinates: tuple[sp.Symbol, ...]
    bounds: tuple[tuple[float, float], ...]
    squared_slowness: Any
    sources: tuple[tuple[WaveSource, ...], ...]
    shots: int | None

    @property
    def jumps(self) -> bool:
        """Whether the slowness is written with something that can jump; sampled data have kinks at most."""
        tables = {node: sp.Dummy("table") for node in self.squared_slowness.atoms(AppliedUndef)}
        return may_jump(self.squared_slowness.xreplace(tables))

    @property
    def sample_spacing(self) -> float:
        """Smallest distance between samples of the data in the slowness, infinite without data."""
        spacing = np.inf
        for node in self.squared_slowness.atoms(AppliedUndef):
            axes = getattr(declaration_of(node), "axes", ())
            spacing = min([spacing, *(float(np.min(np.diff(axis))) for axis, at in zip(axes, node.args, strict=False) if at in self.coordinates)])
        return spacing

    def slowness(self) -> Callable[..., Array]:
        """|grad T| as a function of coordinate arrays."""
        squared = evaluator(self.squared_slowness, self.coordinates)

        def evaluate(*points: Any) -> Array:
            with np.errstate(invalid="ignore"):
                return np.asarray(np.sqrt(squared(*points)))

        return evaluate


def read_eikonal(problem: Problem) -> EikonalReading:
    """Read equation, box and sources.

    Raises:
        ReferenceSolverError: not an isotropic eikonal equation for one real field on a box, or conditions that start no waves.
    """
    if len(problem.fields) != 1 or len(problem.equations) != 1:
        raise ReferenceSolverError(
            f"it solves one equation for one field; `{problem.name}` has {len(problem.equations)} for {len(problem.fields)}"
        )
    field = problem.fields[0]
    coordinates, domain = tuple(field.args), problem.domain
    if not isinstance(domain, Box) or set(coordinates) != set(domain.coordinates) or len(coordinates) > 3:
        raise ReferenceSolverError(f"the domain {domain} is no box of the coordinates {coordinates}, three at most")
    if declaration_of(field).is_complex:
        raise ReferenceSolverError(f"`{field.func}` is complex; travel times are real")
    squared = sp.sympify(squared_slowness(problem))
    evaluator(squared, coordinates)
    shots = declaration_of(field).shots
    sources = tuple(_sources(problem, domain, shot) for shot in range(shots or 1))
    return EikonalReading(problem, coordinates, tuple(domain.bounds[c] for c in coordinates), squared, sources, shots)


def squared_slowness(problem: Problem) -> Any:
    """|grad T|^2 as the equation fixes it.

    Raises:
        ReferenceSolverError: the equation does not depend on the gradient through its length alone.
    """
    field = problem.fields[0]
    equation = expand_operators(sp.sympify(problem.equations[0]))
    slopes = {sp.Derivative(field, c): sp.Dummy(f"p_{c}", real=True) for c in field.args}
    for node in equation.atoms(sp.Derivative):
        if node.has(field) and node not in slopes:
            raise ReferenceSolverError(f"the equation of `{problem.name}` holds `{node}`; an eikonal equation holds first derivatives only")
    marked = equation.xreplace(slopes)
    refusal = f"the equation of `{problem.name}` is no isotropic eikonal equation, |grad {field.func}|^2 = s^2"
    if not marked.has(*slopes.values()) or any(is_field(node) or is_unknown(node) for node in marked.atoms(AppliedUndef, sp.Function)):
        raise ReferenceSolverError(f"{refusal}: it must hold the gradient, no value of a field, and no unknown coefficient")
    if marked.has(SourceFamily):
        raise ReferenceSolverError(f"{refusal} with one slowness for all shots")
    length = sp.Dummy("length", positive=True)
    for candidate in (marked, sp.fraction(sp.together(marked))[0]):
        parts = _polynomial(_by_length(candidate, tuple(slopes.values()), length), length)
        if parts is not None and not any(part.has(*slopes.values()) for part in parts):
            constant, linear, quadratic = parts
            if linear == 0 and quadratic != 0:
                return -constant / quadratic
            if quadratic == 0 and linear != 0:
                return (constant / linear) ** 2
    raise ReferenceSolverError(refusal)


def _by_length(expression: Any, slopes: Sequence[Any], length: Any) -> Any:
    """Replace sum p_k^2 by length^2, where it stands as a sum and after expansion."""
    whole = sp.Add(*[p**2 for p in slopes])
    expanded = sp.expand(expression.subs(whole, length**2))
    return sp.expand(expanded.subs(slopes[0] ** 2, length**2 - sp.Add(*[p**2 for p in slopes[1:]])))


def _polynomial(expression: Any, length: Any) -> tuple[Any, Any, Any] | None:
    """Coefficients of 1, length, length^2, or None for anything else."""
    if expression.diff(length, 3) != 0:
        return None
    constant, linear, quadratic = (expression.diff(length, k).subs(length, 0) / sp.factorial(k) for k in range(3))
    return constant, linear, quadratic


def _sources(problem: Problem, domain: Box, shot: int) -> tuple[WaveSource, ...]:
    """Dirichlet conditions of a shot; without any, observed zeros are its sources."""
    field = problem.fields[0]
    found: list[WaveSource] = []
    for condition in problem.conditions:
        if isinstance(condition, Observations):
            continue
        if not isinstance(condition, Dirichlet):
            kind = type(condition).__name__
            raise ReferenceSolverError(f"`{problem.name}` has a condition `{kind}`; travel times start from Dirichlet conditions only")
        found += _dirichlet(condition, select_shot(condition.value, shot), field.args, domain, problem.name)
    if not found:
        found = [source for c in problem.conditions if isinstance(c, Observations) for source in _observed_zeros(c, field, domain, shot)]
    if not found:
        raise ReferenceSolverError(
            f"`{problem.name}` starts no waves: give Dirichlet(T, 0, on={{x: .., y: ..}}) for a source, on=\"boundary\" for a distance, or, shot "
            "by shot, Observations(T, points, 0) with points of shape (n_shots, n_sources, n_coordinates)"
        )
    return tuple(found)


def _dirichlet(condition: Dirichlet, value: Any, coordinates: tuple[Any, ...], domain: Box, name: str) -> list[WaveSource]:
    evaluate = evaluator(value, coordinates)
    found: list[WaveSource] = []
    for residual in condition.residuals(domain):
        region = residual.region
        if region.kind == "points":
            for at in _by_coordinate(np.asarray(region.points).reshape(-1, len(coordinates)), coordinates, domain):
                found.append(PointSource(at, float(evaluate(*at))))
        elif region.kind == "domain" and region.domain is not None:
            if not sp.sympify(value).is_number:
                raise ReferenceSolverError(f"`{name}` prescribes `{value}` inside {region.domain}; a number is expected there")
            found.append(RegionSource(region.domain, float(value)))
        elif region.part is None:
            raise ReferenceSolverError(f"`{name}` prescribes `{value}` on {region.cloud}; no waves start from a cloud of points on a grid")
        else:
            axis, side = domain.face(str(region.part))
            found.append(FaceSource(coordinates.index(domain.coordinates[axis]), side, value))
    return found


def _by_coordinate(points: Array, coordinates: tuple[Any, ...], domain: Box) -> list[tuple[float, ...]]:
    """Points (n, n_coordinates) in the order of the domain as tuples in the order of the field."""
    columns = [domain.coordinates.index(c) for c in coordinates]
    return [tuple(float(v) for v in point) for point in points[:, columns]]


def _observed_zeros(condition: Observations, field: Any, domain: Box, shot: int) -> list[WaveSource]:
    points, values = np.asarray(condition.points), np.asarray(condition.values)
    if condition.expression != field or np.any(values != 0):
        return []
    chosen = points[shot] if points.ndim == 3 else points
    return [PointSource(at, 0.0) for at in _by_coordinate(chosen, tuple(field.args), domain)]


def check_slowness(reading: EikonalReading, points: Sequence[Array]) -> None:
    """Refuse speeds and slownesses that are not positive at the nodes.

    A squared slowness hides the sign of the speed, so that sampled speeds and slownesses are looked up by themselves, and a speed that passes
    through zero is found by its change of sign.

    Raises:
        ReferenceSolverError: names the value, the place and what is expected.
    """
    name = reading.problem.name
    for power in _powers(sp.sympify(reading.squared_slowness)):
        base = power.base
        if not power.exp.is_number or not base.has(*reading.coordinates):
            continue
        values = np.asarray(evaluator(base, reading.coordinates)(*points), dtype=float)
        sampled = any(node.has(*reading.coordinates) for node in base.atoms(AppliedUndef)) and abs(power.exp) == 2
        if (sampled and np.any(values <= 0)) or (power.exp.is_negative and values.min() * values.max() <= 0):
            kind = "speed" if power.exp.is_negative else "slowness"
            raise ReferenceSolverError(
                f"the {kind} `{base}` of `{name}` is {_where(values, int(np.argmin(values)), points, reading)}; expected positive values"
            )
    squared = np.asarray(evaluator(reading.squared_slowness, reading.coordinates)(*points))
    if np.iscomplexobj(squared):
        raise ReferenceSolverError(f"the squared slowness `{reading.squared_slowness}` of `{name}` is complex; expected positive values")
    bad = ~(np.isfinite(squared) & (squared > 0))
    if np.any(bad):
        raise ReferenceSolverError(
            f"the squared slowness `{reading.squared_slowness}` of `{name}` is {_where(squared, int(np.argmax(bad)), points, reading)}; expected "
            "positive values: check the sign of the equation and the speed"
        )


def _powers(expression: Any) -> list[Any]:
    """Powers of an expression; those inside a branch of a Piecewise are left out, since they hold in a part of the box only."""
    found = [expression] if isinstance(expression, sp.Pow) else []
    branches = () if isinstance(expression, sp.Piecewise) else expression.args
    return found + [power for argument in branches for power in _powers(argument)]


def _where(values: Array, number: int, points: Sequence[Array], reading: EikonalReading) -> str:
    place = ", ".join(f"{c} = {np.ravel(p)[number]:.4g}" for c, p in zip(reading.coordinates, points, strict=True))
    return f"{np.ravel(np.broadcast_to(values, np.shape(points[0])))[number]:.4g} at {place}"
