"""Rewrite: the known singular part of a narrow source is split off.

Input: a problem a (laplacian(u) + k^2(x) u) = Gaussian sources + rest, layers written out. Output: a problem for v = u - chi w, where w is the field
of the source in the uniform medium that surrounds it, continued into a layer by the complex coordinate, and chi a cut-off:

    L v = f (1 - chi) - [L, chi] w - chi (L - L0) w.

The declared field and its errors stay those of u: `Addition` carries chi w.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.compiler.apply_absorbing_layer import stretched_coordinates
from pinnsiren.compiler.coefficients import linear_coefficients
from pinnsiren.compiler.incident import IncidentField, incident_expression
from pinnsiren.ir import Addition, MultiIndex, Rewritten
from pinnsiren.language.conditions import Constraint, Dirichlet, Neumann, Observations, Periodic, Robin
from pinnsiren.language.domains import Box
from pinnsiren.language.heads import PositivePart, SmoothStep
from pinnsiren.language.locations import parts_of
from pinnsiren.language.numeric import evaluate_on, evaluator
from pinnsiren.language.operators import Divergence, expand_operators
from pinnsiren.language.problem import Problem
from pinnsiren.language.sources import GaussianSource, SourceFamily, select_shot
from pinnsiren.language.symbols import applied_symbols, at_initial_values, declaration_of, is_unknown

NAME = "source splitting"
ORDER = 20
OPTIONAL = True
CUT_OFF = (0.05, 0.95)  # where chi falls, in fractions of the way from the source to the outer boundary: wide, so that it is as smooth as u
SMOOTHNESS = 5  # chi has this many continuous derivatives
CORE_DEVIATIONS = 6.0  # the Gaussian is below 2e-8 of its peak beyond
START_DEVIATIONS = 4.5  # chi starts to fall here, with many vanishing derivatives, where the Gaussian is at 4e-5 of its peak
NARROW = 1.0  # sources with wavenumber * deviation below this are narrower than the field they make
N_PROBES = 400
KNOWN_ORDER = 2  # derivatives of the incident field that are known inside the Gaussian


@dataclass(frozen=True)
class SplitSource:
    """One Gaussian source with its surroundings."""

    source: GaussianSource
    shot: int
    centre: tuple[float, ...]
    deviation: float
    amplitude: complex
    wavenumber: float


def applies(problem: Problem) -> tuple[str, tuple[SplitSource, ...]] | None:
    """Return the reason and the sources that can be split off the declared problem, or None."""
    if len(problem.fields) != 1 or not isinstance(problem.domain, Box) or len(problem.equations) != 1:
        return None
    candidate, equation = problem.fields[0], problem.equations[0]
    if not equation.has(GaussianSource) or equation.atoms(Divergence):
        return None
    split = linear_coefficients(equation, candidate)
    if split is None:
        return None
    coefficients, rest = split
    second = _isotropic_principal_part(coefficients, len(candidate.args))
    if second is None:
        return None
    zeroth = coefficients.get((0,) * len(candidate.args), sp.Integer(0))
    found = []
    for shot in range(problem.n_shots or 1):
        for source, factor in _sources(select_shot(rest, shot)):
            described = _describe(problem, source, -factor / second, zeroth / second, shot)
            if described is None:
                return None
            found.append(described)
    if not found:
        return None
    smallest = min(item.deviation for item in found)
    return f"sources of deviation {smallest:g} in a medium that is uniform around them: their field is known", tuple(found)


def _isotropic_principal_part(coefficients: dict[MultiIndex, Any], dimension: int) -> Any | None:
    """Return the constant a of a * laplacian(u) + c u, or None for any other operator."""
    units = [tuple(2 if i == j else 0 for i in range(dimension)) for j in range(dimension)]
    allowed = {*units, (0,) * dimension}
    if not set(units) <= set(coefficients) or not set(coefficients) <= allowed:
        return None
    values = {coefficients[unit] for unit in units}
    first = values.pop()
    return first if not values and first.is_number else None


def _sources(expression: Any) -> list[tuple[GaussianSource, Any]]:
    # A plain multiple of one source, as each of a thousand shots is.
    factor, source = expression.as_coeff_Mul()
    if isinstance(source, GaussianSource):
        return [(source, factor)]
    return [(source, expression.expand().coeff(source)) for source in sorted(expression.atoms(GaussianSource), key=str)]


def _describe(problem: Problem, source: GaussianSource, factor: Any, square: Any, shot: int) -> SplitSource | None:
    """Check that a source is narrow, in full dimension, and that the medium around it is uniform."""
    symbols = problem.coordinates
    if source.coordinates != symbols or not sp.sympify(factor * source.amplitude).is_number or not source.variance.is_number:
        return None
    centre = tuple(float(value) for value in source.centre)
    deviation = float(sp.sqrt(source.variance))
    directions = np.random.default_rng(0).normal(size=(N_PROBES, len(symbols)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radii = CORE_DEVIATIONS * deviation * np.linspace(0, 1, N_PROBES)[:, None]
    probes = np.array(centre) + directions * radii
    inside = problem.domain.contains(probes)
    if not _known_around(square, symbols, probes):
        return None
    known = at_initial_values(square)
    values = np.array([complex(known)]) if known.is_number else evaluate_on(known, symbols, probes[inside])
    k_squared = complex(values[0])
    uniform = np.all(np.abs(values - k_squared) <= 1e-12 * (1 + abs(k_squared)))
    if not uniform or abs(k_squared.imag) > 0 or k_squared.real <= 0:
        return None
    wavenumber = float(np.sqrt(k_squared.real))
    if wavenumber * deviation > NARROW or CORE_DEVIATIONS * deviation > 0.5 * problem.domain.size:
        return None
    amplitude = complex(factor * source.amplitude)
    if amplitude.imag == 0:
        return SplitSource(source, shot, centre, deviation, amplitude.real, wavenumber)
    return SplitSource(source, shot, centre, deviation, amplitude, wavenumber)


def _known_around(square: Any, symbols: tuple[sp.Symbol, ...], probes: NDArray[np.float64]) -> bool:
    """Whether what is solved for stays at its initial value around a source: coefficient fields do outside their support."""
    for unknown in applied_symbols(sp.sympify(square)):
        if not is_unknown(unknown):
            continue
        support = getattr(declaration_of(unknown), "support", None)
        if support is None or np.any(support.contains(probes[:, [symbols.index(argument) for argument in unknown.args]])):
            return False
    return True


def apply(rewritten: Rewritten) -> Rewritten:
    """Split the sources off, if the rewrite applies to the declared problem."""
    found = applies(rewritten.original)
    if found is None:
        return rewritten
    reason, sources = found
    problem = rewritten.problem
    candidate = problem.fields[0]
    n_shots = problem.n_shots or 1
    if any(_is_near_the_boundary(item, problem) or _meets_a_condition(item, problem) for item in sources):
        return rewritten
    cut_offs = [cut_off(item, problem.domain.bounds, problem.coordinates) for item in sources]
    new_rest: list[Any] = [sp.Integer(0)] * n_shots
    split = linear_coefficients(problem.equations[0], candidate)
    assert split is not None
    coefficients, rest = split
    replaced = {shot: select_shot(rest, shot) for shot in range(n_shots)}
    for item, chi in zip(sources, cut_offs, strict=True):
        scale = coefficients[_unit(len(candidate.args))].subs(dict(zip(problem.coordinates, map(sp.Float, item.centre), strict=True)))
        replaced[item.shot] = replaced[item.shot].subs(item.source, (1 - chi) * item.source)
        new_rest[item.shot] += _commutator(rewritten, coefficients, item, chi, scale)
    combined = [replaced[shot] + new_rest[shot] for shot in range(n_shots)]
    source_term = combined[0] if problem.n_shots is None else SourceFamily(combined)
    operator = sp.Add(*[c * _derivative(candidate, orders) for orders, c in coefficients.items()])
    addition = _addition(rewritten, sources, cut_offs)
    conditions = [
        _shift_observations(condition, candidate, rewritten, addition) or _shift_condition(condition, candidate, rewritten, sources, cut_offs)
        for condition in problem.conditions
    ]
    smooth = problem.rewritten(equations=[operator + source_term], conditions=conditions)
    return replace(
        rewritten,
        problem=smooth,
        additions=(*rewritten.additions, addition),
        applied=(*rewritten.applied, (NAME, reason)),
    )


def _is_near_the_boundary(item: SplitSource, problem: Problem) -> bool:
    """Whether the cut-off would have to fall inside the Gaussian, where the far form of its field does not hold."""
    reaches = [abs(edge - c) for symbol, c in zip(problem.coordinates, item.centre, strict=True) for edge in problem.domain.bounds[symbol]]
    return min(reaches) < 2 * CORE_DEVIATIONS * item.deviation


def _meets_a_condition(item: SplitSource, problem: Problem) -> bool:
    """Whether a condition other than observations, which are shifted by numbers, lies inside the Gaussian."""
    for condition in problem.conditions:
        if isinstance(condition, Observations):
            continue
        for residual in condition.residuals(problem.domain):
            region = residual.region
            points = region.points if region.domain is None else region.domain.sample_interior(N_PROBES, seed=0)
            if points is not None and np.any(np.linalg.norm(points - np.array(item.centre), axis=-1) < CORE_DEVIATIONS * item.deviation):
                return True
    return False


def _unit(dimension: int) -> MultiIndex:
    return tuple(2 if index == 0 else 0 for index in range(dimension))


def _derivative(candidate: Any, orders: MultiIndex) -> Any:
    pairs = [(symbol, count) for symbol, count in zip(candidate.args, orders, strict=True) if count]
    return sp.Derivative(candidate, *pairs) if pairs else candidate


def cut_off(item: SplitSource, bounds: dict[sp.Symbol, tuple[float, float]], symbols: tuple[sp.Symbol, ...]) -> Any:
    """Return chi, a product over the coordinates, equal to 1 around the source and 0 near the outer boundary.

    Each factor falls as fast as its own side allows, so that a source near one face keeps a wide cut-off towards the others.
    """
    chi: Any = sp.Integer(1)
    core = START_DEVIATIONS * item.deviation
    for symbol, centre in zip(symbols, item.centre, strict=True):
        for side in (-1, 1):
            edge = bounds[symbol][1 if side > 0 else 0]
            reach = abs(edge - centre)
            start = max(CUT_OFF[0] * reach, min(core, 0.5 * reach))
            position = (PositivePart(side * (symbol - sp.Float(centre))) - sp.Float(start)) / sp.Float(CUT_OFF[1] * reach - start)
            chi *= 1 - SmoothStep(position, SMOOTHNESS, 0)
    return chi


def _commutator(rewritten: Rewritten, coefficients: dict[MultiIndex, Any], item: SplitSource, chi: Any, scale: Any) -> Any:
    """Return [L, chi] w + chi (L - L0) w as an expression of the coordinates."""
    symbols = rewritten.problem.coordinates
    wave = incident_expression(item.wavenumber, item.deviation, item.amplitude, _offsets(rewritten, item), _real_field(rewritten))
    zeroth = coefficients.get((0,) * len(symbols), sp.Integer(0))
    total = chi * wave * (zeroth - scale * sp.Float(item.wavenumber) ** 2)
    for orders, coefficient in coefficients.items():
        for inner in multi_indices(orders):
            outer = tuple(a - b for a, b in zip(orders, inner, strict=True))
            if any(outer):
                weight = sp.Mul(*[sp.binomial(a, b) for a, b in zip(orders, inner, strict=True)])
                total += weight * coefficient * _partial(chi, symbols, outer) * _partial(wave, symbols, inner)
    return total


def _partial(expression: Any, symbols: tuple[sp.Symbol, ...], orders: MultiIndex) -> Any:
    for symbol, count in zip(symbols, orders, strict=True):
        expression = expression.diff(symbol, count) if count else expression
    return expression


def _real_field(rewritten: Rewritten) -> bool:
    return not declaration_of(rewritten.problem.fields[0]).is_complex


def _offsets(rewritten: Rewritten, item: SplitSource) -> tuple[Any, ...]:
    """Return the complex offsets from the source, stretched in the layers."""
    symbols = rewritten.problem.coordinates
    stretched: tuple[Any, ...] = symbols
    for record in rewritten.layers:
        stretched = stretched_coordinates(record, symbols)
    return tuple(coordinate - sp.Float(centre) for coordinate, centre in zip(stretched, item.centre, strict=True))


def _addition(rewritten: Rewritten, sources: tuple[SplitSource, ...], cut_offs: list[Any]) -> Addition:
    symbols = rewritten.problem.coordinates
    n_shots = rewritten.problem.n_shots or 1
    waves = [IncidentField(item.wavenumber, item.deviation, item.amplitude, len(symbols), _real_field(rewritten)) for item in sources]
    factors = [_jets(chi, symbols) for chi in cut_offs]

    def evaluate(points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        result: NDArray[Any] = np.zeros((len(points), n_shots), dtype=float if _real_field(rewritten) else complex)
        for item, wave, factor in zip(sources, waves, factors, strict=True):
            part = _leibniz(points, orders, wave, factor, np.array(item.centre))
            result[:, item.shot] += np.real(part) if _real_field(rewritten) else part
        return result

    core = tuple((item.centre, CORE_DEVIATIONS * item.deviation) for item in sources)
    text = f"{len(sources)} incident field{'s' if len(sources) > 1 else ''} times a cut-off"
    return Addition(rewritten.problem.fields[0], evaluate, core, text)


def multi_indices(orders: MultiIndex) -> list[MultiIndex]:
    """Return every multi-index that is at most `orders` in each coordinate."""
    result: list[MultiIndex] = [()]
    for order in orders:
        result = [(*head, count) for head in result for count in range(order + 1)]
    return result


def _jets(expression: Any, symbols: tuple[sp.Symbol, ...]) -> Any:
    """Return a function (points, orders) -> derivative of the cut-off, compiled once per multi-index."""
    compiled: dict[MultiIndex, Any] = {}

    def evaluate(points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        if orders not in compiled:
            compiled[orders] = evaluator([_partial(expression, symbols, orders)], symbols)
        values: NDArray[Any] = compiled[orders](points)[0]
        return values

    return evaluate


def _leibniz(points: NDArray[np.float64], orders: MultiIndex, wave: IncidentField, factor: Any, centre: NDArray[np.float64]) -> NDArray[Any]:
    total: NDArray[Any] = np.zeros(len(points), dtype=complex)
    for inner in multi_indices(orders):
        outer = tuple(a - b for a, b in zip(orders, inner, strict=True))
        weight = float(np.prod([sp.binomial(a, b) for a, b in zip(orders, inner, strict=True)]))
        total += weight * factor(points, outer) * wave.derivative(points - centre, inner)
    return total


def _shift_observations(condition: Any, candidate: Any, rewritten: Rewritten, addition: Addition) -> Any | None:
    """Subtract the known part from the observed values, its core included; None for what is not linear or not observed at common points."""
    if not isinstance(condition, Observations):
        return None
    points = np.asarray(condition.points)
    split = linear_coefficients(condition.expression, candidate)
    if split is None or points.ndim != 2 or any(sum(orders) > KNOWN_ORDER for orders in split[0]):
        return None
    known: NDArray[Any] = np.zeros((len(points), 1))
    for orders, coefficient in split[0].items():
        known = known + evaluate_on(coefficient, rewritten.problem.coordinates, points)[:, None] * addition.evaluate(points, orders)
    values = np.asarray(condition.values)
    return replace(condition, values=values - (known[:, 0] if rewritten.problem.n_shots is None else known.T))


def _shift_condition(condition: Any, candidate: Any, rewritten: Rewritten, sources: tuple[SplitSource, ...], cut_offs: list[Any]) -> Any:
    """Write the condition for v: u is replaced by v + chi w. On boundary parts chi vanishes with its derivatives, so nothing changes there."""
    on_parts = isinstance(condition, (Dirichlet, Neumann, Robin)) and bool(parts_of(condition.on, rewritten.problem.domain))
    if on_parts or isinstance(condition, Periodic) or not any(sp.sympify(expression).has(candidate) for expression in condition.expressions()):
        return condition
    n_shots = rewritten.problem.n_shots or 1
    known: list[Any] = [sp.Integer(0)] * n_shots
    for item, chi in zip(sources, cut_offs, strict=True):
        known[item.shot] += chi * incident_expression(
            item.wavenumber, item.deviation, item.amplitude, _offsets(rewritten, item), _real_field(rewritten)
        )
    total = candidate + (known[0] if rewritten.problem.n_shots is None else SourceFamily(known))
    if isinstance(condition, Dirichlet):
        return Constraint(total - condition.value, on=condition.on)
    return replace(condition, expression=expand_operators(condition.expression.xreplace({candidate: total})))
