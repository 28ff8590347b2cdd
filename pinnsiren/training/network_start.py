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
from pinnsiren.training.parallel import ALONE, Ranks

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


def column_norms(matrix: torch.Tensor, ranks: Ranks = ALONE) -> torch.Tensor:
    """Return the norms of the columns, 1 for columns of zeros; of many processes, those of the rows of all."""
    norms = torch.linalg.vector_norm(matrix, dim=0) if ranks.size == 1 else ranks.add(matrix.pow(2).sum(0)).sqrt()
    return torch.where(norms > 0, norms, torch.ones_like(norms))


def solve_damped(matrix: torch.Tensor, right: torch.Tensor, damping: float, ranks: Ranks = ALONE) -> torch.Tensor:
    """Solve min |A x - b|^2 + damping |D x|^2, D the column norms, by the normal equations of the scaled matrix with one refinement.

    A matrix that is not finite, of a step that went too far for instance, gives a solution that is not finite; LAPACK would refuse it.

    Args:
        matrix: A, of this process its rows.
        right: b, the same.
        damping: of the columns.
        ranks: the processes of the run; all get the same solution.
    """
    norms = column_norms(matrix, ranks)
    scaled = matrix / norms
    n = matrix.shape[1]
    ridge = max(float(damping), 1e-13 if matrix.dtype == torch.float64 else 1e-5)
    eye = torch.eye(n, dtype=matrix.dtype, device=matrix.device)
    normal = ranks.add(scaled.T @ scaled)
    factor, failed = torch.linalg.cholesky_ex(normal + ridge * eye)
    if int(failed):
        if not bool(torch.isfinite(normal).all()):
            return torch.full_like(norms, torch.nan)
        scaled, right = _triangle(scaled, right, ranks)
        stacked = torch.cat([scaled, ridge**0.5 * eye])
        padded = torch.cat([right, torch.zeros(n, dtype=right.dtype, device=right.device)])
        direct: torch.Tensor = torch.linalg.lstsq(stacked, padded[:, None], driver="gels").solution[:, 0] / norms
        return direct
    solution = torch.cholesky_solve(ranks.add(scaled.T @ right)[:, None], factor)
    # Refinement on the true residual recovers the digits that squaring the condition number costs.
    rest = right[:, None] - scaled @ solution
    refined: torch.Tensor = solution + torch.cholesky_solve(ranks.add(scaled.T @ rest) - damping * solution, factor)
    return refined[:, 0] / norms


def _triangle(matrix: torch.Tensor, right: torch.Tensor, ranks: Ranks) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a system with the same solution as the rows of all processes: each sends the triangle of its own."""
    if ranks.size == 1:
        return matrix, right
    triangle = torch.linalg.qr(torch.cat([matrix, right[:, None]], dim=1), mode="r").R
    stacked = torch.cat([part.to(matrix.device) for part in ranks.gather(triangle.cpu())])
    return stacked[:, :-1], stacked[:, -1]


def orthonormal_basis(matrix: torch.Tensor, ranks: Ranks = ALONE) -> torch.Tensor:
    """Return this process's rows of an orthonormal basis of the columns; of many processes by two QR factorisations (TSQR, Demmel et al. 2012)."""
    own = torch.linalg.qr(matrix / column_norms(matrix, ranks), mode="reduced")
    if ranks.size == 1:
        whole: torch.Tensor = own.Q
        return whole
    triangles = ranks.gather(own.R.cpu())
    joined = torch.linalg.qr(torch.cat(triangles).to(matrix), mode="reduced").Q
    start = sum(len(triangle) for triangle in triangles[: ranks.rank])
    basis: torch.Tensor = own.Q @ joined[start : start + len(triangles[ranks.rank])]
    return basis


def shift_parameters(module: Any, columns: slice, step: torch.Tensor) -> None:
    """Add a step to a slice of the parameter vector."""
    vector = torch.nn.utils.parameters_to_vector(module.parameters()).detach().clone()
    vector[columns] += step
    torch.nn.utils.vector_to_parameters(vector, module.parameters())
