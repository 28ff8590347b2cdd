"""Scales of residuals: every residual is divided by what its operator makes of a wave of unit amplitude, so that all are comparable to the field.

Input: a residual program and points. Output: one number. No weight has to be guessed by hand.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.residual_program import ResidualProgram
from pinnsiren.training.sampling import PointSet

CONDITION_WEIGHT = 10.0  # conditions and observations against equations: an error on the boundary is not damped inside


def linear_weights(
    program: ResidualProgram, coefficients: list[NDArray[Any]], jets: list[NDArray[Any]], unknowns: list[float], n_points: int
) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    """Evaluate the linearisation at given jets.

    Returns:
        per jet the partial derivative (n_points, 1 or n_shots), and the residual there (n_points, n_shots or 1).
    """
    evaluate = program.compile([*program.partials, program.algebra])
    *partials, value = evaluate(coefficients, jets, unknowns)
    shape = (n_points, 1)
    return [np.broadcast_to(p, np.broadcast_shapes(np.shape(p), shape)) for p in partials], np.broadcast_to(
        value, np.broadcast_shapes(np.shape(value), shape)
    )


def residual_scale(compiled: CompiledProblem, program: ResidualProgram, point_set: PointSet, unknowns: list[float]) -> float:
    """Return the magnitude of the operator on a unit wave at the problem's wavenumber."""
    scales = compiled.scales
    wavenumber = max(scales.wavenumber, 0.5 * np.pi / float(np.max(scales.half_lengths)))
    coefficients = program.coefficients(point_set.points, point_set.normals)
    ones = [np.ones((len(point_set.points), 1)) for _ in program.jets]
    partials, _ = linear_weights(program, coefficients, ones, unknowns, len(point_set.points))
    total = 0.0
    for jet, partial in zip(program.jets, partials, strict=True):
        growth = float(np.prod([(wavenumber / unit) ** order for unit, order in zip(scales.unit, jet.orders, strict=True)]))
        total += float(np.sqrt(np.mean(np.abs(partial) ** 2))) * growth
    weight = 1.0 if program.residual.kind == "equation" else CONDITION_WEIGHT
    return max(total, 1e-300) / weight
