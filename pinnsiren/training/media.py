"""Decomposition of a line into media: intervals between the jumps of the coefficients, each a problem of its own with constant coefficients.

Input: a compiled problem on an interval and a time. Output: `Medium` per interval, with what couples it to its neighbours: u is continuous, and so is
the flux a u_x where the equation is written with div(a grad u), else u_x, since u_tt = c(x)^2 u_xx leaves no jump in the slope. The reflection
coefficient of a wave of displacement differs by its sign between the two: R = (c1 - c2)/(c1 + c2) with div(c^2 grad u), -R with c^2 u_xx.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy.optimize import brentq

from pinnsiren.charts import level_sets
from pinnsiren.charts.dispersion import Dispersion, DispersionSpectrum, read_dispersion
from pinnsiren.compiler.pipeline import CompiledProblem, compile_problem
from pinnsiren.ir import Chart, MultiIndex
from pinnsiren.language.conditions import AbstractCondition, Constraint, InitialCondition
from pinnsiren.language.domains import Interval, SpaceTime
from pinnsiren.language.numeric import evaluate_on, evaluator
from pinnsiren.language.operators import Divergence
from pinnsiren.training.feature_model import FeatureModel, feature_model_from_state
from pinnsiren.training.method import StateTree
from pinnsiren.training.wave_cell import AT_FACE, in_free_space

LOOKS = 4097  # points where the functions of the jumps are looked at: thinner layers are not seen
INSTANTS = 65  # at which a source is looked at on a free face
EXTENSION = 1.6  # length of the lattice's cell over that of the data that reach the medium: what a smooth periodic continuation needs
BOX_SHARE = 3.0  # general features per plane wave where the equation has a source


@dataclass(frozen=True)
class Medium:
    """One interval.

    Attributes:
        limits: (low, high).
        compiled: its problem: initial values, the conditions on the outer faces that it has, and the equation only where that has a source.
        relation: its dispersion relation.
        speed: of its waves.
        flux: the factor a of the continuous flux a u_x.
        period: length of the cell of its lattice.
        has_source: whether the equation has a right-hand side.
        is_open: whether an outer face has no condition, so that waves leave there by a one-way condition.
    """

    limits: tuple[float, float]
    compiled: CompiledProblem
    relation: Dispersion
    speed: float
    flux: float
    period: float
    has_source: bool
    is_open: bool


@dataclass(frozen=True)
class MediaModel:
    """Models of intervals side by side as one.

    Attributes:
        edges: (n_media - 1,), positions of the interfaces.
        models: per medium.
    """

    edges: tuple[float, ...]
    models: tuple[FeatureModel, ...]

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative, (n_points, n_shots)."""
        medium = np.searchsorted(np.array(self.edges), points[:, 0], side="left")
        result: NDArray[Any] = np.zeros((len(points), self.models[0].coefficients[0].shape[1]), dtype=self.models[0].coefficients[0].dtype)
        for index, model in enumerate(self.models):
            chosen = medium == index
            if np.any(chosen):
                result[chosen] = model.evaluate(field_index, points[chosen], orders)
        return result

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """Media are known."""
        return ()

    def state(self) -> StateTree:
        """Return interfaces and the states of all models."""
        return {"kind": "media", "edges": np.array(self.edges), "models": {str(i): model.state() for i, model in enumerate(self.models)}}


def media_model_from_state(compiled: CompiledProblem, state: StateTree) -> MediaModel:
    """Rebuild a model from its stored parts."""
    media = cut_media(in_free_space(compiled))
    assert not isinstance(media, str)
    models = tuple(feature_model_from_state(medium.compiled, state["models"][str(index)]) for index, medium in enumerate(media))
    return MediaModel(tuple(float(edge) for edge in state["edges"]), models)


def cut_media(compiled: CompiledProblem) -> tuple[Medium, ...] | str:
    """Return the media from low to high, or why there are none."""
    problem, domain = compiled.original, compiled.original.domain
    if not isinstance(domain, SpaceTime) or not isinstance(domain.space, Interval):
        return "the space is no interval"
    if compiled.rewritten.applied or compiled.ir.unknowns or compiled.ir.n_shots > 1 or len(problem.fields) != 1 or len(problem.equations) != 1:
        return "rewrites, unknown coefficients, shots and several fields are not made for media"
    (x,) = domain.space.coordinates
    low, high = domain.space.bounds[x]
    edges = _interfaces(problem.equations[0], x, low, high)
    if isinstance(edges, str):
        return edges
    parts = _outer_conditions(compiled)
    if isinstance(parts, str):
        return parts
    bounds, media = [low, *edges, high], []
    for index, limits in enumerate(pairwise(bounds)):
        faces = {"-": parts.get("-", []) if index == 0 else None, "+": parts.get("+", []) if index == len(edges) else None}
        medium = _medium(compiled, limits, faces)
        if isinstance(medium, str):
            return medium
        media.append(medium)
    return tuple(media)


def _interfaces(equation: Any, x: sp.Symbol, low: float, high: float) -> list[float] | str:
    """Return where coefficients jump, in order."""
    found: set[float] = set()
    grid = np.linspace(low, high, LOOKS)
    for surface in level_sets(equation, (x,)):
        if surface.function.free_symbols != {x}:
            return f"the coefficients jump across {surface.function} = 0, which moves"
        values = np.real(evaluate_on(surface.function, (x,), grid[:, None]))
        function = evaluator([surface.function], (x,))
        found |= set(grid[(values == 0) & (grid > low) & (grid < high)].tolist())
        for index in np.flatnonzero(values[:-1] * values[1:] < 0):
            found.add(_zero(function, grid[index], grid[index + 1]))
    edges: list[float] = []
    for edge in sorted(found):
        if not edges or edge - edges[-1] > 1e-9 * (high - low):
            edges.append(edge)
    return edges


def _zero(function: Any, low: float, high: float) -> float:
    """Return where a function of one coordinate changes its sign."""
    return float(brentq(lambda at: float(np.real(function(np.array([[at]]))[0][0])), low, high, xtol=1e-15))


def _outer_conditions(compiled: CompiledProblem) -> dict[str, list[Any]] | str:
    """Return the expressions that vanish on the lower ("-") and the upper ("+") face."""
    domain = compiled.original.domain
    assert isinstance(domain, SpaceTime)
    names = {part: part[-1] for part in domain.space.boundary_parts()}
    result: dict[str, list[Any]] = {}
    for condition in compiled.original.conditions:
        if isinstance(condition, InitialCondition):
            continue
        for item in condition.residuals(domain):
            if item.region.kind != "part" or item.region.part not in names or item.values is not None:
                return f"{item.label} does not hold on a face at all times"
            result.setdefault(names[item.region.part], []).append(item.expression)
    return result


def _medium(compiled: CompiledProblem, limits: tuple[float, float], faces: dict[str, list[Any] | None]) -> Medium | str:
    """Compile one interval; `faces` holds the expressions on its outer faces, None where it has a neighbour."""
    problem, domain = compiled.original, compiled.original.domain
    assert isinstance(domain, SpaceTime)
    (x,), (u,), middle = domain.space.coordinates, problem.fields, 0.5 * (limits[0] + limits[1])
    equation = _inside(problem.equations[0], x, middle)
    window = SpaceTime(Interval({x: limits}), {domain.time: domain.time_bounds})
    conditions: list[AbstractCondition] = [c for c in problem.conditions if isinstance(c, InitialCondition)]
    bare = compile_problem(problem.rewritten(equations=[equation], conditions=conditions, domain=window), charts=())
    relation = read_dispersion(bare.ir, allow_source=True)
    if isinstance(relation, str):
        return relation
    if sum(residual.kind == "initial" for residual in bare.ir.residuals) != relation.time_order:
        return f"an equation of order {relation.time_order} in time needs as many initial conditions"
    has_source = isinstance(read_dispersion(bare.ir), str)
    speed = relation.speed()
    for side, expressions in faces.items():
        if expressions is not None and not expressions and relation.time_order == 2:
            open_face = _open_face(bare, relation, limits[0] if side == "-" else limits[1])
            if open_face is not None:
                return open_face
            expressions = [u.diff(domain.time) + (1 if side == "+" else -1) * sp.Float(speed) * u.diff(x)]
        conditions += [Constraint(_inside(expression, x, middle), on=f"{x}{side}") for expression in expressions or []]
    reach = limits[1] - limits[0] + speed * domain.duration * (1 if _is_pure(relation) else 2)
    charts = _charts(bare, relation, EXTENSION * reach, has_source)
    whole = compile_problem(problem.rewritten(equations=[equation], conditions=conditions, domain=window), charts=charts)
    if not has_source:
        # The plane waves satisfy the equation identically: its rows would be zero.
        pairs = [pair for pair in zip(whole.ir.residuals, whole.programs, strict=True) if pair[0].kind != "equation"]
        whole = replace(whole, ir=replace(whole.ir, residuals=tuple(r for r, _ in pairs)), programs=tuple(p for _, p in pairs))
    is_open = any(expressions == [] for expressions in faces.values())
    return Medium(limits, whole, relation, speed, _flux_factor(problem.equations[0], u, x, middle), EXTENSION * reach, has_source, is_open)


def _inside(expression: Any, x: sp.Symbol, middle: float) -> Any:
    """Return an expression with the branch of every `Piecewise` in space that holds at a position."""
    current = sp.sympify(expression)
    while True:
        found = [node for node in current.atoms(sp.Piecewise) if any(condition.has(x) for _, condition in node.args)]
        if not found:
            return current
        chosen = {}
        for node in found:
            chosen[node] = next((value for value, condition in node.args if condition == True or bool(condition.subs(x, middle))), sp.nan)  # noqa: E712
        current = current.xreplace(chosen)


def _is_pure(relation: Dispersion) -> bool:
    """Whether the equation holds second derivatives only, so that waves keep their shape."""
    return {orders for orders, _ in relation.terms} == {(2, 0), (0, 2)}


def _open_face(bare: CompiledProblem, relation: Dispersion, position: float) -> str | None:
    """Return why a face without a condition is no free space; the one-way condition is exact for waves that keep their shape."""
    if not _is_pure(relation):
        return "a face has no condition, and no local condition lets these waves out"
    (low, high), (start, end) = (bare.ir.domain.bounds[symbol] for symbol in bare.ir.coordinates)
    positions, nothing = np.append(np.linspace(low, high, LOOKS), position), {jet.symbol: sp.Integer(0) for jet in bare.ir.jets}
    for residual in bare.ir.residuals:
        data = residual.expression.xreplace(nothing)
        for time in np.linspace(start, end, INSTANTS) if residual.kind == "equation" else (start,):
            values = np.abs(evaluate_on(data, bare.ir.coordinates, np.stack([positions, np.full(len(positions), time)], axis=1)))
            if values[-1] > AT_FACE * max(float(values.max()), 1e-300):
                return "initial data or a source do not vanish at a face that has no condition"
    return None


def _flux_factor(equation: Any, u: Any, x: sp.Symbol, middle: float) -> float:
    """Return a of the continuous flux a u_x: the coefficient inside a divergence that jumps, else 1."""
    for head in equation.atoms(Divergence):
        if head.has(sp.Piecewise):
            factor = sp.expand(_inside(head.flux[0].doit(), x, middle)).coeff(u.diff(x))
            return float(factor)
    return 1.0


def _charts(bare: CompiledProblem, relation: Dispersion, period: float, has_source: bool) -> tuple[Chart, ...]:
    x, t = bare.ir.coordinates
    centre, start = 0.5 * sum(bare.ir.domain.bounds[x]), bare.ir.domain.bounds[t][0]
    local = (x - sp.Float(float(centre)), t - sp.Float(float(start)))
    terms = tuple((orders, value.real, value.imag) for orders, value in relation.terms)
    waves = Chart(
        name="dispersion relation", reason="plane waves that satisfy the equation identically; a Fourier method", coordinates=local, window=1,
        half_lengths=(0.5 * period, 0.5 * period), decays=(local[1],), spectrum=DispersionSpectrum(terms, float(period)),
    )  # fmt: skip
    if not has_source:
        return (waves,)
    box = Chart(
        name="box", reason="the field of the source", coordinates=bare.scales.local(bare.ir.coordinates), window=1, share=BOX_SHARE,
        half_lengths=tuple(bare.scales.half_lengths),
    )  # fmt: skip
    return (waves, box)
