"""Any number of points: losses, gradients and normal equations summed over chunks in float64.

Input: a network problem and chunks of prepared points. Output: sums whose memory does not depend on the number of points. `draw_chunks` makes the
points of a chunk when their turn comes; the same seed gives the same points at every evaluation, as line searches and Gauss-Newton need.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from pinnsiren.errors import TrainingError
from pinnsiren.training.network_problem import NetworkProblem, PreparedPoints, PreparedResidual
from pinnsiren.training.normal_equations import NormalEquations
from pinnsiren.training.parallel import ALONE, Ranks

CHUNK_POINTS = 8192
"""Points of an equation per chunk: weight gradients over S N >= 1e5 rows lose about sqrt(S N) eps in single precision, so sums of more are taken in
float64; 8192 points of four streams stay below it."""

_SEED_STEP = 7919  # far from the steps between residuals and charts


@dataclass(frozen=True)
class Chunk:
    """Some of the points.

    Attributes:
        weight: share of the points of the whole.
        residuals: their residuals, weighted as if they were all.
    """

    weight: float
    residuals: Sequence[PreparedResidual]


def draw_chunks(problem: NetworkProblem, n_points: int, seed: int, chunk: int = CHUNK_POINTS, ranks: Ranks = ALONE) -> Iterator[Chunk]:
    """Draw the points of every residual, one chunk after another; of many processes, the share of one."""
    for index, start in ranks.share(enumerate(range(0, n_points, chunk))):
        count = min(chunk, n_points - start)
        yield Chunk(count / n_points, problem.prepare(count, seed + _SEED_STEP * index))


def split_residual(residual: PreparedResidual, chunk: int) -> Iterator[PreparedResidual]:
    """Cut the points of one residual into chunks; row weights stay, so that sums over the chunks are sums over the whole."""
    n_points = len(residual.weights)
    for start in range(0, n_points, chunk):
        yield restrict_residual(residual, slice(start, min(start + chunk, n_points)))


def share_points(residuals: Sequence[PreparedResidual], ranks: Ranks) -> list[PreparedResidual]:
    """Every `size`-th point of each residual, of this process; sums over the processes are sums over all points.

    Raises:
        TrainingError: fewer points than processes.
    """
    if ranks.size == 1:
        return list(residuals)
    own = [restrict_residual(residual, slice(ranks.rank, None, ranks.size)) for residual in residuals if len(residual.weights) > ranks.rank]
    if not own:
        raise TrainingError(f"process {ranks.rank} of {ranks.size} has no collocation points; start fewer processes, or take more points")
    return own


def restrict_residual(residual: PreparedResidual, window: slice | torch.Tensor) -> PreparedResidual:
    """The residual at some of its points, row weights as they were."""
    return replace(
        residual,
        sides=tuple(_restrict(side, window) for side in residual.sides),
        values=None if residual.values is None else residual.values[window],
        weights=residual.weights[window],
    )


def _restrict(side: PreparedPoints, window: slice | torch.Tensor) -> PreparedPoints:
    return replace(
        side,
        inputs=side.inputs[:, window],
        envelopes=tuple(None if matrices is None else matrices[:, :, window] for matrices in side.envelopes),
        coefficients=[coefficient if len(coefficient) == 1 else coefficient[window] for coefficient in side.coefficients],
    )


def accumulate_gradient(
    problem: NetworkProblem, module: Any, chunks: Iterable[Chunk], unknowns: torch.Tensor, others: Sequence[torch.Tensor] = ()
) -> tuple[float, torch.Tensor]:
    """Return half the sum of squares and its gradient with respect to the parameters (and further tensors that require one), float64.

    Args:
        problem: residuals.
        module: network.
        chunks: points.
        unknowns: values of the unknown scalars.
        others: tensors after the parameters in the gradient, such as `unknowns` itself.
    """
    parameters = [*module.parameters(), *others]
    total, gradient = 0.0, torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64, device=problem.device)
    for chunk in chunks:
        for residual in chunk.residuals:
            for piece in split_residual(residual, CHUNK_POINTS):
                loss = chunk.weight * problem.loss(module, [piece], unknowns)
                parts = torch.autograd.grad(loss, parameters, allow_unused=True)
                flat = [torch.zeros_like(p).flatten() if part is None else part.flatten() for p, part in zip(parameters, parts, strict=True)]
                gradient += torch.cat(flat).double()
                total += float(loss.detach())
    return total, gradient


def assign_gradient(parameters: Iterable[torch.nn.Parameter], gradient: torch.Tensor) -> None:
    """Write a flat gradient where an optimizer looks for it."""
    start = 0
    for parameter in parameters:
        parameter.grad = gradient[start : start + parameter.numel()].view_as(parameter).to(parameter)
        start += parameter.numel()


def accumulate_normal_equations(problem: NetworkProblem, module: Any, chunks: Iterable[Chunk], unknowns: torch.Tensor) -> NormalEquations:
    """Return J^T J and J^T r of all rows; the Jacobian exists for `CHUNK_POINTS` / 8 points at a time."""
    n_parameters = sum(p.numel() for p in module.parameters()) + len(unknowns)
    system = NormalEquations(n_parameters, problem.device)
    for chunk in chunks:
        for residual in chunk.residuals:
            for piece in split_residual(residual, CHUNK_POINTS // 8):
                rows, jacobian = problem.jacobian(module, [piece], unknowns)
                system.add(jacobian, rows, chunk.weight)
    return system
