"""Start of a trained run: frequencies from the declared wavenumber and sizes, the last layer at its least-squares optimum.

Input: a network record and a problem. Output: the record with its frequencies filled in, and the built module.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pinnsiren.networks.jacobian import last_layer_columns
from pinnsiren.networks.layered import LayeredModule
from pinnsiren.training.front_points import stretches_of
from pinnsiren.training.method import RunSettings
from pinnsiren.training.network_problem import NetworkProblem, PreparedResidual
from pinnsiren.training.network_waves import start_on_waves, wave_relation

SMALLEST_FREQUENCY = 3.0  # a half wave and a little more over the scaled box
EXTRA_FREQUENCY = 3.0  # of inputs that charts add, which vary once


def suggested_frequency(problem: NetworkProblem) -> float:
    """Return the frequency of the first layer at which the fastest sines have the declared wavenumber.

    First-layer weights are uniform in omega_0 / n_in times [-1, 1] per input, so omega_0 = n_in * wavenumber reaches it along each axis.
    """
    scales = problem.compiled.scales
    wavenumber = max(scales.wavenumber * float(np.max(scales.half_lengths)), SMALLEST_FREQUENCY)
    return problem.n_inputs * wavenumber


def start_network(problem: NetworkProblem, settings: RunSettings, residuals: Sequence[PreparedResidual]) -> tuple[Any, Any]:
    """Fill in the frequencies and build the module.

    Returns:
        (resolved record, module).
    """
    record = settings.network
    options: dict[str, Any] = {"seed": settings.seed, "dtype": problem.dtype, "device": problem.device}
    relation = wave_relation(problem.compiled, record)
    if relation is not None and not problem.compiled.ir.by_construction and not problem.compiled.rewritten.factors:
        return start_on_waves(problem, record, residuals, relation, settings.seed, lambda module: solve_last_layer(problem, module, residuals))
    dimension = len(problem.compiled.ir.coordinates)
    frequency = suggested_frequency(problem)
    extra = (EXTRA_FREQUENCY * problem.n_inputs,) * (problem.n_inputs - dimension)
    stretches = stretches_of(problem.compiled)
    if stretches:
        # What is fast is fast in the stretched coordinates alone, and there by about a radian in two local units.
        frequency = SMALLEST_FREQUENCY * problem.n_inputs
        sharpest = max(0.25 * stretch.length for stretch in stretches.values())
        extra = (max(EXTRA_FREQUENCY, sharpest) * problem.n_inputs,) * len(extra)
    resolved = record.with_frequencies((*(frequency,) * dimension, *extra))
    module = resolved.build(problem.n_inputs, problem.n_outputs, **options)
    if resolved != record and isinstance(module, LayeredModule):
        solve_last_layer(problem, module, residuals)
    return resolved, module


def solve_last_layer(problem: NetworkProblem, module: Any, residuals: Sequence[PreparedResidual]) -> float:
    """Set the last layer to its least-squares optimum (one Gauss-Newton step where the problem is nonlinear); return the sum of squares left."""
    unknowns = torch.tensor([complex(u).real for u in problem.initial_unknowns()], dtype=problem.dtype, device=problem.device)
    rows, jacobian = problem.jacobian_columns(module, residuals, unknowns)
    step = -solve_damped(jacobian, rows, 0.0)
    shift_parameters(module, last_layer_columns(module), step)
    return float((rows + jacobian @ step).detach().pow(2).sum())


def column_norms(matrix: torch.Tensor) -> torch.Tensor:
    """Return the norms of the columns, 1 for columns of zeros."""
    norms = torch.linalg.vector_norm(matrix, dim=0)
    return torch.where(norms > 0, norms, torch.ones_like(norms))


def solve_damped(matrix: torch.Tensor, right: torch.Tensor, damping: float) -> torch.Tensor:
    """Solve min |A x - b|^2 + damping |D x|^2, D the column norms, by the normal equations of the scaled matrix with one refinement.

    A matrix that is not finite, of a step that went too far for instance, gives a solution that is not finite; LAPACK would refuse it.
    """
    norms = column_norms(matrix)
    scaled = matrix / norms
    n = matrix.shape[1]
    ridge = max(float(damping), 1e-13 if matrix.dtype == torch.float64 else 1e-5)
    factor, failed = torch.linalg.cholesky_ex(scaled.T @ scaled + ridge * torch.eye(n, dtype=matrix.dtype, device=matrix.device))
    if int(failed):
        if not bool(torch.isfinite(scaled).all()):
            return torch.full_like(norms, torch.nan)
        stacked = torch.cat([scaled, ridge**0.5 * torch.eye(n, dtype=matrix.dtype, device=matrix.device)])
        padded = torch.cat([right, torch.zeros(n, dtype=right.dtype, device=right.device)])
        direct: torch.Tensor = torch.linalg.lstsq(stacked, padded[:, None], driver="gels").solution[:, 0] / norms
        return direct
    solution = torch.cholesky_solve((scaled.T @ right)[:, None], factor)
    # Refinement on the true residual recovers the digits that squaring the condition number costs.
    rest = right[:, None] - scaled @ solution
    refined: torch.Tensor = solution + torch.cholesky_solve(scaled.T @ rest - damping * solution, factor)
    return refined[:, 0] / norms


def shift_parameters(module: Any, columns: slice, step: torch.Tensor) -> None:
    """Add a step to a slice of the parameter vector."""
    vector = torch.nn.utils.parameters_to_vector(module.parameters()).detach().clone()
    vector[columns] += step
    torch.nn.utils.vector_to_parameters(vector, module.parameters())
