"""From a declared inverse problem to an acquisition: squared slowness as `unknown_field`, shots as `SourceFamily`, data as `Observations`.

Input: a `Problem` whose one equation is `laplacian(u) + k^2 m u = f` with a number k, a layer (`PML`) on every face and observations of u.
Output: `DeclaredInversion`: acquisition, modelling, start, bounds, and where m may change. Problems for exp(-i w t) are conjugated on the way.
"""

from __future__ import annotations

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
from ..frequency_domain import Grid
from .acquisition import Acquisition
from .simulator import Modelling

Array = NDArray[Any]

# The nine points carry a disc to 0.1 % at 16 points per wavelength of the start; where m triples there are still nine.
_POINTS_PER_WAVELENGTH = 16.0
_UNIFORM = 1e-9


@dataclass(frozen=True)
class DeclaredInversion:
    """What a declared inverse problem gives to an inversion: `inversion.run(d.acquisition, d.modelling, d.start, active=d.active)`.

    Attributes:
        acquisition: sources, receivers, data, noise.
        modelling: grid over the declared box, form.
        start: squared slowness (n_x, n_y), cell averages of the declared initial value.
        bounds: of the squared slowness.
        active: (n_x, n_y), the declared support.
    """

    acquisition: Acquisition
    modelling: Modelling
    start: Array
    bounds: tuple[float, float]
    active: Array


@dataclass(frozen=True)
class _Equation:
    """Lap u + wavenumber^2 unknown u = source of every shot."""

    wavenumber: float
    unknown: Any
    sources: tuple[Any, ...]


def read_inversion(problem: Problem, *, step: float | None = None) -> DeclaredInversion:
    """Read a declared inverse problem.

    Args:
        problem: one complex field of two coordinates on a box.
        step: of the grid; None gives 16 points per shortest wavelength of the declared start.

    Raises:
        ReferenceSolverError: not of this form; the message says what was found and what is expected.
    """
    if len(problem.fields) != 1 or len(problem.equations) != 1 or not isinstance(problem.domain, Box) or len(problem.domain.coordinates) != 2:
        raise ReferenceSolverError(f"`{problem.name}` is no inversion for a grid: expected one equation for one field on a box of the plane")
    field = problem.fields[0]
    equation = _read_equation(problem, field)
    bounds_of = problem.domain.bounds
    box = tuple(bounds_of[symbol] for symbol in field.args)
    declaration = declaration_of(equation.unknown)
    initial = evaluator(declaration.initial, field.args)
    coarse = np.meshgrid(*[np.linspace(low, high, 101) for low, high in box], indexing="ij")
    largest = float(np.max(initial(*coarse)))
    if largest <= 0 or not 0 < declaration.bounds[0] < declaration.bounds[1] < np.inf:
        raise ReferenceSolverError(
            f"the squared slowness `{declaration.name}` starts at {largest:g} with bounds {declaration.bounds}; expected a positive start and "
            "positive finite bounds"
        )
    grid = Grid.over(box, step or 2 * np.pi / (equation.wavenumber * np.sqrt(largest) * _POINTS_PER_WAVELENGTH))
    start = cell_average(initial, grid.axes, grid.step)
    active = np.ones(grid.shape, dtype=bool)
    if declaration.support is not None:
        columns = dict(zip(field.args, grid.nodes, strict=True))
        points = np.stack([columns[symbol].ravel() for symbol in declaration.support.coordinates], axis=-1)
        active = np.asarray(declaration.support.contains(points)).reshape(grid.shape)
    acquisition = _read_acquisition(problem, field, equation, _time_sign(problem))
    at_sources = initial(*acquisition.sources.T)
    uniform = bool(np.ptp(at_sources) <= _UNIFORM * largest)
    modelling = Modelling(grid=grid, background=float(at_sources[0]) if uniform else None)
    return DeclaredInversion(acquisition, modelling, start, (float(declaration.bounds[0]), float(declaration.bounds[1])), active)


def _read_equation(problem: Problem, field: Any) -> _Equation:
    """Coefficients of u_xx, u_yy, m u, and the sources divided by the first."""
    expression = sp.sympify(problem.equations[0])
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
    if factors or not factor.is_number or not squared.is_number or not sp.sympify(squared).is_positive or rest.has(value, medium, *seconds):
        raise ReferenceSolverError(
            f"the equation of `{problem.name}` is not `laplacian(u) + k**2 * {unknowns[0]} * u = f` with a number k; grid inversion knows no other"
        )
    source = sp.expand(-rest / factor).xreplace({mark: node for node, mark in heads.items()})
    count = declaration_of(field).shots or 1
    families = source.atoms(SourceFamily)
    if any(len(family.args) != count for family in families):
        raise ReferenceSolverError(f"`{problem.name}` declares {count} shots and a family of another number of sources")
    shots = tuple(source.xreplace({family: family.args[number] for family in families}) for number in range(count))
    return _Equation(float(sp.sqrt(squared)), unknowns[0], shots)


def _time_sign(problem: Problem) -> int:
    layers = [condition for condition in problem.conditions if isinstance(condition, PML)]
    faces = {face for layer in layers for face in layer.faces(problem.domain)}
    if len(faces) != 4:
        raise ReferenceSolverError(f"`{problem.name}` carries a layer on {sorted(faces)}; grid inversion needs free space on all four faces")
    return layers[0].sign


def _read_acquisition(problem: Problem, field: Any, equation: _Equation, sign: int) -> Acquisition:
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
    observed = [condition for condition in problem.conditions if isinstance(condition, Observations) and condition.expression == field]
    if not observed or any(condition.noise is None or condition.noise == 0 for condition in observed):
        raise ReferenceSolverError(f"`{problem.name}` needs Observations of `{field}` with a level such as noise=0.02: the inversion stops there")
    receivers, values, mask = _merged(observed, len(places))
    conjugate = np.conj if sign > 0 else np.asarray
    # Several sets: the root mean square, weighted by what they hold.
    power = [float(np.sum(np.abs(np.asarray(condition.values)) ** 2)) for condition in observed]
    noise = float(np.sqrt(np.average([float(condition.noise or 0) ** 2 for condition in observed], weights=power)))
    return Acquisition.of(
        angular_frequencies=equation.wavenumber,
        sources=places,
        receivers=receivers,
        measurements=conjugate(values),
        noise=noise,
        amplitudes=conjugate(np.array(amplitudes))[None, :],
        variance=variances.pop(),
        observed=None if mask.all() else mask,
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
