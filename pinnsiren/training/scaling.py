"""Scales of residuals: every residual is divided by what its operator makes of a wave of unit amplitude, so that all are comparable to the field.

Input: a residual program and points. Output: one number. No weight has to be guessed by hand.
"""

from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.residual_program import ResidualProgram
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.training.front_points import smallest_size, stretches_of
from pinnsiren.training.sampling import PointSet

CONDITION_WEIGHT = 10.0  # conditions and observations against equations: an error on the boundary is not damped inside


def linear_weights(
    program: ResidualProgram, coefficients: list[NDArray[Any]], jets: list[NDArray[Any]], unknowns: list[Any], n_points: int
) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    """Evaluate the linearisation at given jets.

    Returns:
        per jet the partial derivative (n_points, 1 or n_shots), and the residual there (n_points, n_shots or 1).
    """
    evaluate = program.compile([*program.partials, program.algebra])
    *partials, value = evaluate(coefficients, jets, unknowns)
    return [_column(p, n_points) for p in partials], _column(value, n_points)


def operator_weights(
    program: ResidualProgram, coefficients: list[NDArray[Any]], jets: list[NDArray[Any]], unknowns: list[Any], n_points: int
) -> list[NDArray[Any]]:
    """Evaluate the partial derivatives of `linear_weights` alone: the residual of a thousand shots costs more than they do."""
    return [_column(p, n_points) for p in program.compile(list(program.partials))(coefficients, jets, unknowns)]


def affine_parts(
    program: ResidualProgram, coefficients: list[NDArray[Any]], unknowns: list[Any], n_points: int
) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    """As `linear_weights` of an affine residual at vanishing jets, which are left out of the sums: real data stay real beside a complex operator."""
    rest = program.algebra.xreplace({jet.symbol: sp.Integer(0) for jet in program.jets})
    zero = [np.zeros((1, 1)) for _ in program.jets]
    (value,) = program.compile([rest])(coefficients, zero, unknowns)
    return operator_weights(program, coefficients, zero, unknowns, n_points), _column(value, n_points)


def _column(value: Any, n_points: int) -> NDArray[Any]:
    return np.broadcast_to(value, np.broadcast_shapes(np.shape(value), (n_points, 1)))


def unit_jets(compiled: CompiledProblem, program: ResidualProgram, points: NDArray[np.float64]) -> list[NDArray[Any]]:
    """Return ones for the jets of fields, and the declared initial values for those of coefficient fields, each (n_points, 1)."""
    if not compiled.ir.coefficients:
        return [np.ones((len(points), 1)) for _ in program.jets]
    initial = compiled.ir.initial_values()
    return [
        np.ones((len(points), 1))
        if jet.field < compiled.ir.n_fields
        else np.real(evaluate_on(initial[jet.symbol], compiled.ir.coordinates, points))[:, None]
        for jet in program.jets
    ]


def residual_scale(compiled: CompiledProblem, program: ResidualProgram, point_set: PointSet, unknowns: list[Any]) -> float:
    """Return the magnitude of the operator on a unit wave at the problem's wavenumber."""
    stretches = stretches_of(compiled)
    if stretches and program.residual.kind == "equation":
        return smallest_size(compiled, program.residual, stretches, point_set.points)
    scales = compiled.scales
    wavenumber = max(scales.wavenumber, 0.5 * np.pi / float(np.max(scales.half_lengths)))
    coefficients = program.coefficients(point_set.points, point_set.normals)
    jets = unit_jets(compiled, program, point_set.points)
    partials = operator_weights(program, coefficients, jets, unknowns, len(point_set.points))
    n_fields = compiled.ir.n_fields
    # Coefficient fields are part of the operator; a residual that holds nothing else is scaled by them.
    holds_fields = any(jet.field < n_fields for jet in program.jets)
    total = 0.0
    for jet, partial in zip(program.jets, partials, strict=True):
        if holds_fields and jet.field >= n_fields:
            continue
        growth = float(np.prod([(wavenumber / unit) ** order for unit, order in zip(scales.unit, jet.orders, strict=True)]))
        total += float(np.sqrt(np.mean(np.abs(partial) ** 2))) * growth
    weight = 1.0 if program.residual.kind == "equation" else CONDITION_WEIGHT
    return max(total, 1e-300) / weight
