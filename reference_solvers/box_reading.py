"""All that a declaration on a box says, in the words of the grid solvers.

Input: a `Problem` with one field. Output: `BoxReading`: the linear form, the conditions face by face, and what decides grid and method: wavenumbers,
jumps, whether a constant may be added to the solution, whether the operator is definite.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Box, Problem, select_shot
from pinnsiren.language.symbols import declaration_of

from .coefficients import LinearForm, linear_form
from .declaration import BoxConditions, box_conditions, face_names
from .evaluation import evaluator, may_jump

Array = NDArray[Any]
# Points per axis at which coefficients are looked at.
_SAMPLES = {1: 201, 2: 41, 3: 15}
# Data written in two ways on opposite faces differ by rounding.
_AGREEMENT = 1e-9


@dataclass(frozen=True)
class BoxReading:
    """One linear second-order equation on a box.

    Attributes:
        problem: the declaration.
        form: coefficients of the equation.
        conditions: what stands on each face.
        shots: number of shots, or None.
        is_complex: whether the field is.
        jumps: whether a coefficient or source jumps, also where two periodic faces meet.
        flux_jumps: whether a coefficient inside a flux does.
        wavenumbers: sqrt(max(Re C/A, 0)) on a coarse sample of the box, faces included.
        is_definite: real coefficients, no layer, and a reaction of the sign that only damps: the matrix is definite or nearly so.
    """

    problem: Problem
    form: LinearForm
    conditions: BoxConditions
    shots: int | None
    is_complex: bool
    jumps: bool
    flux_jumps: bool
    wavenumbers: Array
    is_definite: bool

    @property
    def measure(self) -> float:
        """Size of the declared box."""
        return float(np.prod([high - low for low, high in self.conditions.bounds]))

    @property
    def longest(self) -> float:
        """Length of the longest side."""
        return max(high - low for low, high in self.conditions.bounds)

    @property
    def free_constant(self) -> str | None:
        """The conditions under which the solution is defined up to a constant only, None when it is unique."""
        rows = self.conditions.rows
        closed = not self.conditions.layers and all(row.is_neumann for row in rows)
        if not closed or self.form.reaction != 0 or any(term.towards is None for term in self.form.fluxes):
            return None
        return "pure Neumann" if not self.conditions.joined else "Neumann and periodic" if rows else "periodic"


def read_box(problem: Problem) -> BoxReading:
    """Read a problem.

    Raises:
        ReferenceSolverError: anything else than one linear elliptic equation on a box with a condition on every face; the message says what.
    """
    if not isinstance(problem.domain, Box):
        raise ReferenceSolverError(f"the domain {problem.domain} is no box or interval")
    form = linear_form(problem)
    check_coordinates(form, problem.domain)
    conditions = box_conditions(problem, problem.domain, form.coordinates)
    if conditions.free:
        raise ReferenceSolverError(f"the faces {face_names(conditions.free, form.coordinates)} of `{problem.name}` carry no condition and no layer")
    declaration = declaration_of(problem.fields[0])
    diffusivities, reaction = sampled_coefficients(form, conditions, problem.name)
    ratio = reaction * np.exp(-1j * np.angle(diffusivities[0])) / np.maximum.reduce([np.abs(d) for d in diffusivities])
    wavenumbers = np.asarray(np.sqrt(np.maximum(ratio.real, 0)))
    _check_layers_absorb(wavenumbers, conditions, form, problem.name)
    for expression in (*form.source, *(e for row in conditions.rows for e in (row.a, row.b, select_shot(row.value, 0)))):
        evaluator(expression, form.coordinates)
    inside_fluxes = [term.inner for term in form.fluxes]
    flux_jumps = any(may_jump(e) for e in inside_fluxes) or jumps_between_joined_faces(inside_fluxes, form.coordinates, conditions)
    data = [*form.expressions(), *form.source]
    factors = [e for row in conditions.rows for e in (row.a, row.b)]
    is_real = all(np.all(np.imag(values) == 0) for values in (*diffusivities, reaction)) and not any(sp.sympify(e).has(sp.I) for e in factors)
    return BoxReading(
        problem=problem,
        form=form,
        conditions=conditions,
        shots=declaration.shots,
        is_complex=bool(declaration.is_complex),
        jumps=flux_jumps or any(may_jump(e) for e in data) or jumps_between_joined_faces(data, form.coordinates, conditions),
        flux_jumps=flux_jumps,
        wavenumbers=wavenumbers,
        is_definite=is_real and not conditions.layers and not np.any(wavenumbers > 0),
    )


def check_coordinates(form: LinearForm, domain: Box) -> None:
    """The field depends on the coordinates of the box, three at most."""
    if len(form.coordinates) > 3 or set(form.coordinates) != set(domain.coordinates):
        raise ReferenceSolverError(f"the field depends on {form.coordinates}, the box on {domain.coordinates}; expected the same, three at most")


def jumps_between_joined_faces(expressions: Iterable[Any], coordinates: tuple[Any, ...], conditions: BoxConditions) -> bool:
    """Whether data differ between two periodic faces, which are one place."""
    if not conditions.joined:
        return False
    points = np.meshgrid(*[np.linspace(low, high, _SAMPLES[len(coordinates)]) for low, high in conditions.bounds], indexing="ij")
    for expression in expressions:
        values = evaluator(select_shot(expression, 0), coordinates)(*points)
        size = float(np.max(np.abs(values)))
        for axis in conditions.joined:
            if np.max(np.abs(np.take(values, -1, axis=axis) - np.take(values, 0, axis=axis))) > _AGREEMENT * size:
                return True
    return False


def sampled_coefficients(form: LinearForm, conditions: BoxConditions, name: str) -> tuple[list[Array], Array]:
    """Second-derivative coefficients per axis and that of u on a coarse sample.

    Raises:
        ReferenceSolverError: the equation is not elliptic in its second derivatives.
    """
    points = np.meshgrid(*[np.linspace(low, high, _SAMPLES[len(form.coordinates)]) for low, high in conditions.bounds], indexing="ij")
    diffusivities = []
    for axis, symbol in enumerate(form.coordinates):
        index = tuple(2 * (i == axis) for i in range(len(form.coordinates)))
        total = evaluator(form.coefficient(*index), form.coordinates)(*points).astype(complex)
        for term in form.fluxes:
            if term.along == axis and term.towards == axis:
                total = total + evaluator(term.outer * term.inner, form.coordinates)(*points)
        if np.any(total == 0) or not np.all(np.isfinite(total)):
            raise ReferenceSolverError(
                f"the equation of `{name}` has no second derivative along `{symbol}`, or one that vanishes or is infinite somewhere"
            )
        diffusivities.append(total)
    first = diffusivities[0]
    if any(np.any((other / first).real <= 0) for other in diffusivities[1:]):
        raise ReferenceSolverError(f"the second derivatives of `{name}` have different signs: the equation is not elliptic")
    return diffusivities, np.asarray(evaluator(form.reaction, form.coordinates)(*points), dtype=complex)


def _check_layers_absorb(wavenumbers: Array, conditions: BoxConditions, form: LinearForm, name: str) -> None:
    for axis, side in conditions.layers:
        if np.min(np.take(wavenumbers, 0 if side < 0 else -1, axis=axis)) <= 0:
            face = face_names(frozenset({(axis, side)}), form.coordinates)
            raise ReferenceSolverError(f"the layer on {face} of `{name}` absorbs nothing: no wave propagates there (coefficient of u not positive)")
