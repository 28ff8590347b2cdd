"""From a declared inverse problem to an acquisition: squared slowness as `unknown_field`, shots as `SourceFamily`, data as `Observations`.

Input: a `Problem` with one equation `laplacian(u) + k^2 m u = f` per field u, a number k each (complex, k = w - i damping, for waves that were
weighted by exp(-damping t)) and one m for all, a layer (`PML`) on every face and observations of every u: as many fields as frequencies. Output:
`DeclaredInversion`: acquisition, modelling, start, bounds, and where m may change; frequencies in the order of the fields. Problems for exp(-i w t)
are conjugated on the way.
"""

from __future__ import annotations

import cmath
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import PML, Box, GaussianSource, Observations, Problem, SourceFamily
from pinnsiren.language.symbols import UnknownFieldDeclaration, declaration_of

from ..coefficients import point_like_sources
from ..evaluation import cell_average, evaluator
from ..frequency_domain import Grid, check_memory, scheme_named
from .acquisition import Acquisition
from .simulator import Modelling

Array = NDArray[Any]

# The nine points carry a disc to 0.1 % at 16 points per wavelength of the start; where m triples there are still nine.
_POINTS_PER_WAVELENGTH = 16.0
_UNIFORM = 1e-9
_ROUNDING = 1e-9


@dataclass(frozen=True)
class DeclaredInversion:
    """What a declared inverse problem gives to an inversion: `inversion.run(d.acquisition, d.modelling, d.start, active=d.active)`.

    Attributes:
        acquisition: sources, receivers, data, noise.
        modelling: grid over the declared box, form.
        start: squared slowness (n_x, n_y), cell averages of the declared initial value.
        bounds: of the squared slowness.
        active: (n_x, n_y), the declared support.
        undeclared: per frequency, whether its noise was left out (or zero) and a level given by the caller stands in its place.
    """

    acquisition: Acquisition
    modelling: Modelling
    start: Array
    bounds: tuple[float, float]
    active: Array
    undeclared: tuple[bool, ...] = ()


@dataclass(frozen=True)
class _Equation:
    """Lap u + (wavenumber - i damping)^2 unknown u = source of every shot."""

    wavenumber: float
    damping: float
    unknown: Any
    sources: tuple[Any, ...]


def read_inversion(problem: Problem, *, step: float | None = None, noise: float | None = None) -> DeclaredInversion:
    """Read a declared inverse problem.

    Args:
        problem: complex fields of two coordinates on a box, one equation each, which share the squared slowness.
        step: of the grid; None gives 16 points per shortest wavelength of the declared start.
        noise: level, relative to the data, for observations that declare none; None refuses those.

    Raises:
        ReferenceSolverError: not of this form; the message says what was found and what is expected.
    """
    fields = tuple(problem.fields)
    if len(problem.equations) != len(fields) or not isinstance(problem.domain, Box) or len(problem.domain.coordinates) != 2:
        raise ReferenceSolverError(f"`{problem.name}` is no inversion for a grid: expected one equation for each field on a box of the plane")
    equations = [_read_equation(problem, field) for field in fields]
    if len({equation.unknown for equation in equations}) != 1 or len({declaration_of(field).shots for field in fields}) != 1:
        raise ReferenceSolverError(f"the equations of `{problem.name}` differ in their unknown field or number of shots; expected one medium for all")
    unknown, symbols = equations[0].unknown, fields[0].args
    bounds_of = problem.domain.bounds
    box = tuple(bounds_of[symbol] for symbol in symbols)
    declaration = declaration_of(unknown)
    initial = evaluator(declaration.initial, symbols)
    coarse = np.meshgrid(*[np.linspace(low, high, 101) for low, high in box], indexing="ij")
    largest = float(np.max(initial(*coarse)))
    if largest <= 0 or not 0 < declaration.bounds[0] < declaration.bounds[1] < np.inf:
        raise ReferenceSolverError(
            f"the squared slowness `{declaration.name}` starts at {largest:g} with bounds {declaration.bounds}; expected a positive start and "
            "positive finite bounds"
        )
    highest = max(equation.wavenumber for equation in equations)
    resolving = 2 * np.pi / (highest * np.sqrt(largest) * _POINTS_PER_WAVELENGTH)
    grid = Grid.over(box, step or resolving)
    if step is not None:
        # Before the medium is averaged over cells, which a step in another unit makes endless.
        _check_step(grid, step, resolving)
    start = cell_average(initial, grid.axes, grid.step)
    active = np.ones(grid.shape, dtype=bool)
    if declaration.support is not None:
        columns = dict(zip(symbols, grid.nodes, strict=True))
        points = np.stack([columns[symbol].ravel() for symbol in declaration.support.coordinates], axis=-1)
        active = np.asarray(declaration.support.contains(points)).reshape(grid.shape)
    pairs = zip(fields, equations, strict=True)
    parts = [_read_acquisition(problem, field, equation, _time_sign(problem, field), noise) for field, equation in pairs]
    acquisition = _together(problem, parts)
    at_sources = initial(*acquisition.sources.T)
    uniform = bool(np.ptp(at_sources) <= _UNIFORM * largest)
    modelling = Modelling(grid=grid, background=float(at_sources[0]) if uniform else None)
    bounds = (float(declaration.bounds[0]), float(declaration.bounds[1]))
    return DeclaredInversion(acquisition, modelling, start, bounds, active, tuple(_lacks_noise(problem, field) for field in fields))


def _check_step(grid: Grid, step: float, resolving: float) -> None:
    try:
        check_memory(grid.shape, scheme_named(Modelling(grid=grid).scheme))
    except ReferenceSolverError as refusal:
        raise ReferenceSolverError(
            f"step={step:g} was given: {refusal}. The declared frequencies ask for a step of {resolving:.3g}; are step and box in the same unit?"
        ) from refusal


def _together(problem: Problem, parts: list[Acquisition]) -> Acquisition:
    """One acquisition of several frequencies.

    Raises:
        ReferenceSolverError: positions, variances or observed traces differ from frequency to frequency.
    """
    first = parts[0]
    for part in parts[1:]:
        here, there = (np.ones(one.measurements.shape[1:], dtype=bool) if one.observed is None else one.observed for one in (part, first))
        same = np.array_equal(part.sources, first.sources) and np.array_equal(part.receivers, first.receivers)
        # The damping is what a square root leaves of (w - i damping)^2: rounding, relative to w.
        alike = part.variance == first.variance and abs(part.damping - first.damping) <= _ROUNDING * float(part.angular_frequencies[0])
        if not same or not alike or not np.array_equal(here, there):
            raise ReferenceSolverError(
                f"the fields of `{problem.name}` have different sources, receivers or damping; expected the same at every frequency"
            )
    return Acquisition.of(
        angular_frequencies=np.concatenate([part.angular_frequencies for part in parts]),
        sources=first.sources,
        receivers=first.receivers,
        measurements=np.concatenate([part.measurements for part in parts]),
        noise=np.concatenate([part.noise for part in parts]),
        amplitudes=np.concatenate([part.amplitudes for part in parts]),
        variance=first.variance,
        observed=first.observed,
        damping=first.damping,
    )


def _read_equation(problem: Problem, field: Any) -> _Equation:
    """Coefficients of u_xx, u_yy, m u, and the sources divided by the first."""
    own = [equation for equation in map(sp.sympify, problem.equations) if equation.has(field)]
    if len(own) != 1 or any(own[0].has(other) for other in problem.fields if other != field):
        raise ReferenceSolverError(
            f"the field `{field}` of `{problem.name}` occurs in {len(own)} equations, or together with other fields; expected an equation of its own"
        )
    expression = own[0]
    heads = {node: sp.Dummy("source") for node in (expression.atoms(SourceFamily) or expression.atoms(GaussianSource))}
    plain = expression.xreplace(heads).doit()
    unknowns = [node for node in plain.atoms(sp.Function) if isinstance(declaration_of(node), UnknownFieldDeclaration)]
    if len(unknowns) != 1 or tuple(unknowns[0].args) != tuple(field.args):
        raise ReferenceSolverError(f"`{problem.name}` holds {len(unknowns)} unknown fields; expected one, the squared slowness, of {field.args}")
    seconds = [sp.Dummy("second") for _ in field.args]
    value, medium = sp.Dummy("value"), sp.Dummy("medium")
    plain = plain.xreplace({sp.Derivative(field, (symbol, 2)): mark for symbol, mark in zip(field.args, seconds, strict=True)})
    plain = plain.xreplace({field: value, unknowns[0]: medium})
    factors = {sp.simplify(sp.diff(plain, mark)) for mark in seconds}
    factor = factors.pop()
    squared = sp.simplify(sp.diff(plain, value, medium) / factor) if factor != 0 else sp.Integer(0)
    rest = sp.expand(plain - factor * sum(seconds) - factor * squared * value * medium)
    root = cmath.sqrt(complex(squared)) if squared.is_number else 0j
    if factors or not factor.is_number or not root.real > abs(root.imag) or rest.has(value, medium, *seconds):
        raise ReferenceSolverError(
            f"the equation of `{problem.name}` is not `laplacian(u) + k**2 * {unknowns[0]} * u = f` with a number k, more real than imaginary; grid "
            "inversion knows no other"
        )
    source = sp.expand(-rest / factor).xreplace({mark: node for node, mark in heads.items()})
    count = declaration_of(field).shots or 1
    families = source.atoms(SourceFamily)
    if any(len(family.args) != count for family in families):
        raise ReferenceSolverError(f"`{problem.name}` declares {count} shots and a family of another number of sources")
    shots = tuple(source.xreplace({family: family.args[number] for family in families}) for number in range(count))
    return _Equation(root.real, -root.imag, unknowns[0], shots)


def _time_sign(problem: Problem, field: Any) -> int:
    layers = [condition for condition in problem.conditions if isinstance(condition, PML) and condition.field == field]
    faces = {face for layer in layers for face in layer.faces(problem.domain)}
    if len(faces) != 4:
        raise ReferenceSolverError(
            f"the field `{field}` of `{problem.name}` carries a layer on {sorted(faces)}; grid inversion needs free space on all four faces"
        )
    return layers[0].sign


def _observations(problem: Problem, field: Any) -> list[Observations]:
    return [condition for condition in problem.conditions if isinstance(condition, Observations) and condition.expression == field]


def _lacks_noise(problem: Problem, field: Any) -> bool:
    return any(not condition.noise for condition in _observations(problem, field))


def _read_acquisition(problem: Problem, field: Any, equation: _Equation, sign: int, assumed: float | None) -> Acquisition:
    places, amplitudes, variances = [], [], set()
    for expression in equation.sources:
        blobs, rest = point_like_sources(expression, tuple(field.args))
        if len(blobs) != 1 or rest != 0:
            raise ReferenceSolverError(f"a shot of `{problem.name}` is `{expression}`; expected one GaussianSource of constant amplitude")
        centre = dict(zip(blobs[0].coordinates, blobs[0].centre, strict=True))
        places.append([float(centre[symbol]) for symbol in field.args])
        amplitudes.append(complex(blobs[0].amplitude))
        variances.add(float(blobs[0].variance))
    if len(variances) != 1:
        raise ReferenceSolverError(f"the sources of `{problem.name}` have the variances {sorted(variances)}; expected one for all")
    if equation.damping * sign > _ROUNDING * equation.wavenumber:
        raise ReferenceSolverError(f"the waves of `{field}` in `{problem.name}` grow on their way: expected the conjugate of k")
    observed = _observations(problem, field)
    if not observed or (assumed is None and _lacks_noise(problem, field)):
        raise ReferenceSolverError(f"`{problem.name}` needs Observations of `{field}` with a level such as noise=0.02: the inversion stops there")
    receivers, values, mask = _merged(observed, len(places))
    conjugate = np.conj if sign > 0 else np.asarray
    # Several sets: the root mean square, weighted by what they hold.
    power = [float(np.sum(np.abs(np.asarray(condition.values)) ** 2)) for condition in observed]
    noise = float(np.sqrt(np.average([float(condition.noise or assumed or 0) ** 2 for condition in observed], weights=power)))
    return Acquisition.of(
        angular_frequencies=equation.wavenumber,
        sources=places,
        receivers=receivers,
        measurements=conjugate(values),
        noise=noise,
        amplitudes=conjugate(np.array(amplitudes))[None, :],
        variance=variances.pop(),
        observed=None if mask.all() else mask,
        damping=abs(equation.damping) if abs(equation.damping) > _ROUNDING * equation.wavenumber else 0.0,
    )


def _merged(observed: list[Observations], shots: int) -> tuple[Array, Array, Array]:
    """All receivers (n, 2), values and mask (n_shots, n)."""
    sets = []
    for condition in observed:
        points = np.asarray(condition.points, dtype=float)
        values = np.asarray(condition.values, dtype=complex)
        points = points if points.ndim == 3 else np.broadcast_to(points, (shots, *points.shape))
        sets.append((points, np.broadcast_to(values, (shots, values.shape[-1]))))
    receivers, where = np.unique(np.concatenate([p.reshape(-1, p.shape[-1]) for p, _ in sets]), axis=0, return_inverse=True)
    table = np.zeros((shots, len(receivers)), dtype=complex)
    mask = np.zeros(table.shape, dtype=bool)
    columns = iter(np.split(where.ravel(), np.cumsum([p.shape[0] * p.shape[1] for p, _ in sets])[:-1]))
    for (points, values), numbers in zip(sets, columns, strict=True):
        for shot, row in enumerate(numbers.reshape(points.shape[:2])):
            table[shot, row], mask[shot, row] = values[shot], True
    return receivers, table, mask
