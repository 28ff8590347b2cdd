"""Rewrite: absorbing layers become a larger box with complex coordinate stretching.

Input: a problem with `PML` conditions. Output: a problem on the box with the layers around it, every derivative along a stretched coordinate
multiplied by 1 / e, e = 1 -+ i strength (d / width)^2, fluxes differentiated as fluxes; coefficients and data are continued as constants along the
normal, Gaussian sources as themselves; the outer faces carry u = 0.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from pinnsiren.compiler.coefficients import linear_coefficients
from pinnsiren.compiler.source_tails import tail_error
from pinnsiren.errors import CompileError
from pinnsiren.ir import LayerRecord, Rewritten
from pinnsiren.language.conditions import PML, AbstractCondition, Constraint, Dirichlet, Neumann, Observations, Periodic, Robin
from pinnsiren.language.domains import Box, SpaceTime
from pinnsiren.language.heads import Clamp, PositivePart
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.operators import Divergence, Laplacian, SpatialDerivative
from pinnsiren.language.penalties import Penalty, Prior
from pinnsiren.language.problem import Problem
from pinnsiren.language.sources import GaussianSource
from pinnsiren.language.symbols import at_initial_values, declaration_of, is_field, is_unknown

NAME = "absorbing layer"
ORDER = 10
OPTIONAL = False
NORMAL_REFLECTION = 1e-8  # round-trip amplitude of a layer whose strength was not given
N_PROBES = 64


def applies(problem: Problem) -> str | None:
    """Return the reason why the rewrite applies, or None."""
    layers = [condition for condition in problem.conditions if isinstance(condition, PML)]
    if not layers or isinstance(problem.domain, SpaceTime):
        return None  # layers of waves in time are written out by `apply_free_space`
    return f"{len(layers)} declared layer{'s' if len(layers) > 1 else ''}: free space around the box by complex coordinate stretching"


def apply(rewritten: Rewritten) -> Rewritten:
    """Write the layers out.

    Raises:
        CompileError: an equation that is not linear in the stretched field.
    """
    problem = rewritten.problem
    reason = applies(problem)
    if reason is None:
        return rewritten
    domain = problem.domain
    assert isinstance(domain, Box)
    records = tuple(layer_record(problem, condition) for condition in problem.conditions if isinstance(condition, PML))
    outer = _outer_box(domain, records)
    clamps = {s: Clamp(s, *map(sp.Float, domain.bounds[s])) for s in domain.coordinates if outer.bounds[s] != domain.bounds[s]}
    equations = []
    for equation in problem.equations:
        stretched = clamp_coordinates(equation, clamps)
        for record in records:
            if equation.has(record.field):
                stretched = _stretch(stretched, stretch_factors(record, domain.coordinates))
        equations.append(stretched)
    conditions: list[AbstractCondition] = [continue_condition(c, clamps) for c in problem.conditions if not isinstance(c, PML)]
    for condition in problem.conditions:
        if isinstance(condition, PML):
            conditions.append(Dirichlet(condition.field, 0, on=condition.faces(domain)))
    layered = problem.rewritten(domain=outer, equations=equations, conditions=conditions)
    return replace(
        rewritten, problem=layered, layers=(*rewritten.layers, *records), applied=(*rewritten.applied, (NAME, reason))
    )


def layer_record(problem: Problem, layer: PML) -> LayerRecord:
    """Choose what the declaration leaves open: width one wavelength, strength for `NORMAL_REFLECTION`."""
    domain = problem.domain
    assert isinstance(domain, Box)
    faces = []
    reflection = 0.0
    for name in layer.faces(domain):
        axis, side = domain.face(name)
        wavenumber = _wavenumber(problem, layer.field, name)
        if wavenumber is None and (layer.width is None or layer.strength is None):
            raise CompileError(
                f"the layer on face `{name}` of problem `{problem.name}` needs a wavenumber to choose its width and strength, and the equation shows "
                "none: give PML(u, width=..., strength=...)"
            )
        width = layer.width if layer.width is not None else 2 * np.pi / float(wavenumber or 1.0)
        strength = layer.strength
        if strength is None:
            strength = -3 * np.log(NORMAL_REFLECTION) / (2 * float(wavenumber or 1.0) * width)
        if wavenumber is not None:
            reflection = max(reflection, float(np.exp(-2 * wavenumber * strength * width / 3)))
        edge = domain.bounds[domain.coordinates[axis]][1 if side > 0 else 0]
        faces.append((axis, side, float(edge), float(width), float(strength), float(wavenumber or 0.0)))
    tails = tail_error(problem, layer.field, faces)
    return LayerRecord(layer.field, tuple(face[:5] for face in faces), layer.sign, reflection, tails)


def _wavenumber(problem: Problem, candidate: Any, face: str) -> float | None:
    """Return the smallest wavenumber sqrt(c0 / c2) on a face, from the equation that holds the field."""
    points, _ = problem.domain.sample_boundary(face, N_PROBES, seed=0)
    for equation in problem.equations:
        split = linear_coefficients(equation, candidate)
        if split is None:
            raise CompileError(f"the layer of problem `{problem.name}` needs an equation that is linear in `{candidate}`; it is not")
        coefficients, _ = split
        axis, _ = problem.domain.face(face)  # type: ignore[attr-defined]
        dimension = len(problem.coordinates)
        zeroth = coefficients.get((0,) * dimension)
        second = coefficients.get(tuple(2 if index == axis else 0 for index in range(dimension)))
        if zeroth is None or second is None:
            continue
        ratio = np.real(evaluate_on(at_initial_values(zeroth / second), problem.coordinates, points))
        if np.min(ratio) > 0:
            return float(np.sqrt(np.min(ratio)))
    return None


def _outer_box(domain: Box, records: tuple[LayerRecord, ...]) -> Box:
    limits = {symbol: list(pair) for symbol, pair in domain.bounds.items()}
    for record in records:
        for axis, side, edge, width, _ in record.faces:
            symbol = domain.coordinates[axis]
            if side > 0:
                limits[symbol][1] = max(limits[symbol][1], edge + width)
            else:
                limits[symbol][0] = min(limits[symbol][0], edge - width)
    return Box({symbol: (low, high) for symbol, (low, high) in limits.items()})


def stretch_factors(record: LayerRecord, symbols: tuple[sp.Symbol, ...]) -> dict[sp.Symbol, Any]:
    """Return the stretch e(x) per stretched coordinate."""
    factors: dict[sp.Symbol, Any] = {}
    for axis, side, edge, width, strength in record.faces:
        symbol = symbols[axis]
        depth = PositivePart(side * (symbol - sp.Float(edge)))
        factors[symbol] = factors.get(symbol, sp.Integer(1)) + record.sign * sp.I * sp.Float(strength) * (depth / sp.Float(width)) ** 2
    return factors


def stretched_coordinates(record: LayerRecord, symbols: tuple[sp.Symbol, ...]) -> tuple[Any, ...]:
    """Return the complex coordinates, the integrals of the stretch, equal to the physical ones inside the declared box."""
    result: list[Any] = list(symbols)
    for axis, side, edge, width, strength in record.faces:
        depth = PositivePart(side * (symbols[axis] - sp.Float(edge)))
        result[axis] = result[axis] + side * record.sign * sp.I * sp.Float(strength) * depth**3 / (3 * sp.Float(width) ** 2)
    return tuple(result)


def clamp_coordinates(expression: Any, clamps: dict[sp.Symbol, Any]) -> Any:
    """Replace coordinates by clamped ones in coefficients and data; arguments of fields and variables of derivatives stay."""
    if expression in clamps:
        return clamps[expression]
    if is_field(expression) or is_unknown(expression) or isinstance(expression, GaussianSource) or not expression.args:
        return expression
    if isinstance(expression, sp.Derivative):
        return sp.Derivative(clamp_coordinates(expression.expr, clamps), *expression.variable_count)
    if isinstance(expression, Divergence):
        return Divergence(sp.Tuple(*[clamp_coordinates(f, clamps) for f in expression.flux]), expression.args[1])
    if isinstance(expression, (Laplacian, SpatialDerivative)):
        return expression.func(clamp_coordinates(expression.args[0], clamps), *expression.args[1:])
    if declaration_of(expression) is not None or isinstance(expression, sp.Function):
        return expression.func(*[clamp_coordinates(argument, clamps) for argument in expression.args])
    return expression.func(*[clamp_coordinates(argument, clamps) for argument in expression.args])


def _stretch(expression: Any, factors: dict[sp.Symbol, Any]) -> Any:
    """Multiply every derivative along a stretched coordinate by 1 / e, innermost first."""

    def along(inner: Any, symbol: Any, count: int = 1) -> Any:
        for _ in range(count):
            inner = sp.Derivative(inner, symbol).doit(deep=False) / factors.get(symbol, sp.Integer(1))
        return inner

    if is_field(expression) or not expression.args or isinstance(expression, GaussianSource):
        return expression
    if isinstance(expression, sp.Derivative):
        inner = _stretch(expression.expr, factors)
        for symbol, count in expression.variable_count:
            inner = along(inner, symbol, int(count))
        return inner
    if isinstance(expression, SpatialDerivative):
        return along(_stretch(expression.args[0], factors), expression.args[1])
    if isinstance(expression, Laplacian):
        inner = _stretch(expression.args[0], factors)
        return sp.Add(*[along(inner, symbol, 2) for symbol in expression.args[1:]])
    if isinstance(expression, Divergence):
        return sp.Add(*[along(_stretch(f, factors), symbol) for f, symbol in zip(expression.flux, expression.over, strict=True)])
    return expression.func(*[_stretch(argument, factors) for argument in expression.args])


def continue_condition(condition: AbstractCondition, clamps: dict[sp.Symbol, Any]) -> AbstractCondition:
    """Continue the data of a condition into the layer as constants."""

    def continued(value: Any) -> Any:
        return clamp_coordinates(sp.sympify(value), clamps)

    if isinstance(condition, (Dirichlet, Neumann)):
        return replace(condition, value=continued(condition.value))
    if isinstance(condition, Robin):
        return replace(condition, a=continued(condition.a), b=continued(condition.b), value=continued(condition.value))
    if isinstance(condition, Constraint):
        return replace(condition, expression=continued(condition.expression))
    assert isinstance(condition, (Observations, Penalty, Periodic, Prior))
    return condition
