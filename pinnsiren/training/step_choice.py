"""How the equations of a Gauss-Newton step are solved: what the counts of residuals and parameters say, with the reason.

Input: numbers of rows and parameters, memory. Output: `StepChoice`.

| residuals n, parameters P | equations of the step | work |
|---|---|---|
| n < P, n up to `exact_rows` | dual, Gram matrix n x n from the factors of the streams | 2 n^2 W S^2 per layer, or n^2 W^2 where that is less |
| P up to `exact_rows`, Jacobian fits | normal, P x P from the Jacobian; for n < P and narrow layers dual | 2 n P min(n, P) |
| P up to `exact_rows`, it does not | normal, summed over pieces of the points | 2 n P^2 |
| both above `exact_rows` | conjugate gradients on all rows, preconditioned by a sketch | 8 S n P per iteration |
"""

from dataclasses import dataclass
from typing import Any, Literal

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.networks.layered import LayeredModule
from pinnsiren.networks.row_factors import from_factors
from pinnsiren.training.sampling import sample_residual

Kind = Literal["jacobian", "sums", "factors", "sketch"]


@dataclass(frozen=True)
class StepChoice:
    """One line of the table.

    Attributes:
        kind: `"jacobian"`, `"sums"` of normal equations, `"factors"` of a dual matrix, or a `"sketch"`.
        reason: for the plan and the log.
    """

    kind: Kind
    reason: str


def choose_step(
    compiled: CompiledProblem, module: Any, n_rows: int, n_eliminated: int, *, exact_rows: int, jacobian_bytes: int, itemsize: int
) -> StepChoice:
    """Choose by counts.

    Args:
        compiled: the problem.
        module: the network.
        n_rows: real residuals.
        n_eliminated: parameters of a last layer that is solved exactly, 0 for none.
        exact_rows: largest system that is factorised.
        jacobian_bytes: largest Jacobian that is formed.
        itemsize: bytes of a number.
    """
    n_parameters = module.n_parameters + len(compiled.ir.unknowns)
    counts = f"{n_rows} residuals, {n_parameters} parameters"
    is_layered = isinstance(module, LayeredModule) and module.n_parameters == sum(p.numel() for p in module.layers.parameters())
    if is_layered and min(n_rows, n_parameters) > exact_rows:
        return StepChoice("sketch", f"{counts}: conjugate gradients on all rows, preconditioned by a sketch of {exact_rows // 2}")
    cheaper = _layers_from_factors(compiled, module) if is_layered else 0
    fits = n_rows * n_parameters * itemsize <= jacobian_bytes
    if is_layered and n_rows < n_parameters - n_eliminated and (cheaper or not fits):
        layers = f"{cheaper} of {len(module.layers)} layers"
        return StepChoice("factors", f"{counts}: Gram matrix of the residuals from the factors of the streams in {layers}, no Jacobian")
    if not fits:
        return StepChoice("sums", f"{counts}: normal equations summed over pieces of the points, no Jacobian")
    form = "dual" if n_rows < n_parameters - n_eliminated else "normal"
    return StepChoice("jacobian", f"{counts}: {form} equations of the Jacobian")


def _layers_from_factors(compiled: CompiledProblem, module: LayeredModule) -> int:
    streams = max(residual.layout.size for residual in compiled.streams.residuals)
    rows = (2 if compiled.is_complex else 1) * compiled.ir.n_shots
    shapes = [layer.weight.shape for layer in module.affine_layers()]
    device = "cuda" if shapes and module.affine_layers()[0].weight.is_cuda else "cpu"
    return sum(from_factors(width_out, width_in, rows, (streams, streams), device) for width_out, width_in in shapes)


def counted_rows(compiled: CompiledProblem, n_points: int, seed: int) -> int:
    """Real residuals that `n_points` collocation points per equation make, conditions included."""
    points = (len(sample_residual(compiled, residual, n_points, seed + 31 * i).points) for i, residual in enumerate(compiled.ir.residuals))
    return sum(points) * (2 if compiled.is_complex else 1) * compiled.ir.n_shots
