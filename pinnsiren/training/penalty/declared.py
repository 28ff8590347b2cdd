"""From a declaration to surveys: what is sought, and per frequency the wavenumber, the sources and what the receivers recorded.

Input: a `Problem` whose equations are `laplacian(u) + k^2 m u = f`, one complex field and one number k per frequency, all with the same m, layers on
all faces and observations. Output: `DeclaredMedium` and `Survey`s; problems for exp(-i w t) are conjugated on the way.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.compiler.coefficients import linear_coefficients
from pinnsiren.errors import CompileError
from pinnsiren.language.conditions import PML, Observations
from pinnsiren.language.domains import Box
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.problem import Problem
from pinnsiren.language.sources import GaussianSource, select_shot
from pinnsiren.language.symbols import declaration_of

Array = NDArray[Any]

N_PROBES = 2000
UNIFORM = 1e-9  # relative deviation of a medium that counts as uniform


@dataclass(frozen=True)
class DeclaredMedium:
    """The squared slowness that is sought.

    Attributes:
        name: of the unknown field.
        coordinates: of the plane.
        initial: SymPy expression of them.
        background: value of `initial` outside the support and at the boundary.
        bounds: positive and finite.
        support: domain outside which the medium is known, the whole box when none was declared.
    """

    name: str
    coordinates: tuple[sp.Symbol, ...]
    initial: Any
    background: float
    bounds: tuple[float, float]
    support: Any

    def start(self, points: Array) -> Array:
        """Return the declared initial value at points (n, 2)."""
        values = np.real(evaluate_on(self.initial, self.coordinates, points))
        return np.asarray(np.broadcast_to(values, (len(points),)), dtype=float)


@dataclass(frozen=True)
class PointSource:
    """A Gaussian of unit integral times an amplitude, right side of `laplacian(u) + k^2 m u = f`."""

    centre: tuple[float, float]
    deviation: float
    amplitude: complex


@dataclass(frozen=True)
class Survey:
    """One frequency, in the convention exp(+i w t).

    Attributes:
        field_index: of the declared field.
        wavenumber: k.
        sources: per shot.
        receivers: (n_receivers, 2).
        values: (n_receivers, n_shots), zero where nothing was observed.
        observed: (n_receivers, n_shots), what was.
        deviation: (n_receivers, n_shots), standard deviation of the complex noise.
        conjugated: whether the declaration is that of exp(-i w t).
        silent: receivers that recorded nothing but zeros and do not count.
    """

    field_index: int
    wavenumber: float
    sources: tuple[tuple[PointSource, ...], ...]
    receivers: Array
    values: Array
    observed: Array
    deviation: Array
    conjugated: bool
    silent: int = 0


def read_medium(problem: Problem) -> DeclaredMedium:
    """Read what is sought.

    Raises:
        CompileError: not of this form; the message says what was found and what is expected.
    """
    if not isinstance(problem.domain, Box) or len(problem.domain.coordinates) != 2:
        raise CompileError(f"`{problem.name}` is not declared on a box of the plane")
    if len(problem.coefficients) != 1 or problem.scalars:
        raise CompileError(f"`{problem.name}` solves for {len(problem.coefficients)} coefficient fields; expected one, a squared slowness")
    unknown = problem.coefficients[0]
    declaration = declaration_of(unknown)
    low, high = declaration.bounds
    if not 0 < low < high < np.inf or tuple(unknown.args) != tuple(problem.domain.coordinates):
        raise CompileError(f"`{declaration.name}` has the bounds {declaration.bounds}; expected positive, finite ones and all coordinates")
    support = declaration.support if declaration.support is not None else problem.domain
    probes = problem.domain.sample_interior(N_PROBES, seed=0)
    around = [problem.domain.sample_boundary(face, N_PROBES // 20, seed=0)[0] for face in problem.domain.boundary_parts()]
    known = np.concatenate([*around, probes if declaration.support is None else probes[~np.asarray(support.contains(probes))]])
    medium = DeclaredMedium(declaration.name, tuple(unknown.args), declaration.initial, 1.0, (float(low), float(high)), support)
    values = medium.start(known)
    if not len(known) or values.min() <= 0 or np.ptp(values) > UNIFORM * values.max():
        raise CompileError(
            f"`{declaration.name}` starts from a medium that is not uniform outside its support; waves of a uniform surrounding are known in closed "
            "form, of others they are not: declare a support that holds all changes, or use the formulation \"reduced\""
        )
    return DeclaredMedium(medium.name, medium.coordinates, medium.initial, float(values[0]), medium.bounds, support)


def read_surveys(problem: Problem) -> tuple[Survey, ...]:
    """Read every frequency.

    Raises:
        CompileError: an equation, a layer or observations of another form.
    """
    return tuple(_survey(problem, index) for index in range(len(problem.fields)))


def _survey(problem: Problem, index: int) -> Survey:
    field = problem.fields[index]
    unknown = problem.coefficients[0]
    name = declaration_of(field).name
    own = [equation for equation in problem.equations if equation.has(field)]
    split = linear_coefficients(own[0], field) if len(own) == 1 else None
    wrong = f"the equation of `{name}` is not `laplacian({name}) + k**2 * {declaration_of(unknown).name} * {name} = f` with a number k"
    if split is None or not declaration_of(field).is_complex:
        raise CompileError(f"{wrong}, for one complex field")
    coefficients, rest = split
    principal, square = coefficients.get((2, 0)), coefficients.pop((0, 0), sp.Integer(0))
    if set(coefficients) != {(2, 0), (0, 2)} or principal != coefficients[(0, 2)] or not sp.sympify(principal).is_number:
        raise CompileError(wrong)
    squared = sp.simplify(square / principal / unknown)
    if not squared.is_number or not squared.is_positive or rest.has(unknown, *problem.fields):
        raise CompileError(wrong)
    sign = _time_sign(problem, field)
    shots = declaration_of(field).shots or 1
    sources = tuple(_point_sources(select_shot(-rest / principal, shot), problem, sign) for shot in range(shots))
    receivers, values, observed, deviation = _traces(problem, field, shots)
    # They would be explained by no medium.
    silent = observed.any(axis=1) & ~np.any(values, axis=1)
    observed = observed & ~silent[:, None]
    values, root = np.conj(values) if sign > 0 else values, float(sp.sqrt(squared))
    return Survey(index, root, sources, receivers, values, observed, deviation, sign > 0, int(silent.sum()))


def _time_sign(problem: Problem, field: Any) -> int:
    layers = [condition for condition in problem.conditions if isinstance(condition, PML) and condition.field == field]
    faces = {face for layer in layers for face in layer.faces(problem.domain)}
    others = [condition for condition in problem.conditions if not isinstance(condition, (PML, Observations))]
    if len(faces) != 4 or others:
        raise CompileError(
            f"`{declaration_of(field).name}` carries layers on {sorted(faces)} and the problem {len(others)} other conditions; expected a PML on all "
            "four faces and observations: the waves of this formulation go out into free space"
        )
    return layers[0].sign


def _point_sources(expression: Any, problem: Problem, sign: int) -> tuple[PointSource, ...]:
    expanded = sp.expand(expression)
    found, left = [], expanded
    for blob in sorted(expanded.atoms(GaussianSource), key=str):
        factor = expanded.coeff(blob)
        left -= factor * blob
        weight = sp.sympify(factor * blob.amplitude)
        if not weight.is_number or tuple(blob.coordinates) != tuple(problem.domain.coordinates):
            left = blob
            break
        amplitude = complex(weight)
        centre = (float(blob.centre[0]), float(blob.centre[1]))
        found.append(PointSource(centre, float(sp.sqrt(blob.variance)), amplitude.conjugate() if sign > 0 else amplitude))
    if sp.simplify(left) != 0:
        raise CompileError(f"a shot is `{expression}`; expected Gaussian sources of constant amplitude, whose waves in a uniform medium are known")
    return tuple(found)


def _traces(problem: Problem, field: Any, shots: int) -> tuple[Array, Array, Array, Array]:
    """Return receivers, values, what was observed and standard deviations, the last three (n_receivers, n_shots)."""
    declared = [condition for condition in problem.conditions if isinstance(condition, Observations) and condition.expression == field]
    if not declared or any(not condition.noise for condition in declared):
        raise CompileError(f"`{declaration_of(field).name}` needs Observations with a level such as noise=0.02: weights and stop follow from it")
    points, tables = [], []
    for condition in declared:
        values = np.broadcast_to(np.asarray(condition.values, dtype=complex), (shots, np.shape(condition.values)[-1]))
        places = np.asarray(condition.points, dtype=float)
        places = places if places.ndim == 3 else np.broadcast_to(places, (shots, *places.shape))
        size = float(np.sqrt(np.mean(np.abs(values[:, np.any(values, axis=0)]) ** 2)))
        weights = np.ones(values.shape[1]) if condition.weights is None else np.asarray(condition.weights, dtype=float)
        points.append(places)
        tables.append((values, float(condition.noise or 0) * size, weights))
    receivers, where = np.unique(np.concatenate([p.reshape(-1, 2) for p in points]), axis=0, return_inverse=True)
    values, deviation = np.zeros((len(receivers), shots), dtype=complex), np.ones((len(receivers), shots))
    observed = np.zeros(values.shape, dtype=bool)
    numbers = iter(np.split(where.ravel(), np.cumsum([p.shape[0] * p.shape[1] for p in points])[:-1]))
    for places, (table, noise, weights) in zip(points, tables, strict=True):
        rows = next(numbers).reshape(places.shape[:2])
        for shot in range(shots):
            kept = rows[shot][weights > 0]
            values[kept, shot], observed[kept, shot] = table[shot][weights > 0], True
            deviation[kept, shot] = noise / np.sqrt(weights[weights > 0])
    return receivers, values, observed, deviation
