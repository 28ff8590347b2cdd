"""Gauss-Newton matrices from the factors of the streams, without the Jacobian of all points.

The gradient of residual (r, n) with respect to a weight matrix is `sum_s outer(Delta_s, Z_s)`, with the input streams Z_s (N, width_in) and the
adjoints Delta_s (R, N, width_out) of the pre-activation. So, over layers and pairs of streams,

    dual     K = J J^T = sum_layers sum_st (Delta_s Delta_t^T) * (Z_s Z_t^T)      elementwise product, (R N, R N)
    primal   G = J^T J, accumulated in float64 over chunks of points              (P, P)

The dual form costs 2 S^2 / W of the product of an explicit Jacobian with its transpose: below a width of about 2 S^2 an explicit Jacobian is cheaper.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .layered import LayerFactors


def dual_gram(factors: Sequence[LayerFactors]) -> Tensor:
    """K = J J^T, (R N, R N), row r * N + n."""
    n_residuals, _, n_points, _ = factors[0].adjoints.shape
    rows = n_residuals * n_points
    total = factors[0].adjoints.new_zeros(rows, rows)
    blocks = total.view(n_residuals, n_points, n_residuals, n_points)
    for factor in factors:
        z = factor.inputs * factor.weight_frequency
        deltas = factor.adjoints.transpose(0, 1).reshape(z.shape[0], rows, -1)
        for s in range(len(z)):
            for t in range(s + 1):
                left = (deltas[s] @ deltas[t].t()).view_as(blocks)
                product = left.mul_((z[s] @ z[t].t())[None, :, None, :])
                blocks += product
                if t < s:
                    blocks += product.permute(2, 3, 0, 1)
        total.addmm_(deltas[0], deltas[0].t(), alpha=factor.bias_frequency**2)
    return total


def jacobian_transpose_product(factors: Sequence[LayerFactors], weights: Tensor) -> Tensor:
    """J^T y, (P,), for y of shape (R N,)."""
    pieces = []
    for factor in factors:
        n_residuals, size, n_points, width_out = factor.adjoints.shape
        weighted = torch.einsum("rsno,rn->sno", factor.adjoints, weights.view(n_residuals, n_points))
        z = factor.inputs * factor.weight_frequency
        pieces.append((weighted.reshape(size * n_points, width_out).t() @ z.reshape(size * n_points, -1)).flatten())
        pieces.append(weighted[0].sum(0) * factor.bias_frequency)
    return torch.cat(pieces)


def jacobian_product(factors: Sequence[LayerFactors], direction: Tensor) -> Tensor:
    """J v, (R N,), for v of shape (P,)."""
    total = None
    start = 0
    for factor in factors:
        width_out, width_in = factor.adjoints.shape[-1], factor.inputs.shape[-1]
        weight = direction[start : start + width_out * width_in].view(width_out, width_in) * factor.weight_frequency
        bias = direction[start + width_out * width_in : start + width_out * (width_in + 1)] * factor.bias_frequency
        moved = factor.inputs @ weight.t()
        moved[0] += bias
        part = torch.einsum("rsno,sno->rn", factor.adjoints, moved)
        total = part if total is None else total + part
        start += width_out * (width_in + 1)
    assert total is not None
    return total.flatten()


@dataclass
class NormalEquations:
    """J^T J and J^T r, accumulated in float64 over blocks of rows.

    Attributes:
        n_parameters: P.
        device: where they live.
        gram: (P, P).
        right: (P,).
        squares: sum of r^2.
    """

    n_parameters: int
    device: torch.device
    gram: Tensor = field(init=False)
    right: Tensor = field(init=False)
    squares: float = 0.0

    def __post_init__(self) -> None:
        self.gram = torch.zeros(self.n_parameters, self.n_parameters, dtype=torch.float64, device=self.device)
        self.right = torch.zeros(self.n_parameters, dtype=torch.float64, device=self.device)

    def add(self, jacobian: Tensor, rows: Tensor, weight: float = 1.0) -> None:
        """Add a block (n, P) of the Jacobian and its residuals (n,), both times sqrt(weight)."""
        jacobian, rows = jacobian.double(), rows.double()
        self.gram.addmm_(jacobian.t(), jacobian, alpha=weight)
        self.right.addmv_(jacobian.t(), rows, alpha=weight)
        self.squares += weight * float(rows.pow(2).sum())

    def join(self, add: Callable[[Tensor], Tensor]) -> None:
        """Sum the equations of the processes of a run, `add` summing a tensor over them."""
        self.gram, self.right = add(self.gram), add(self.right)
        self.squares = float(add(self.right.new_tensor(self.squares)))


def point_blocks(n_points: int, n_parameters: int, element_size: int, budget: int = 1 << 28) -> Iterator[slice]:
    """Slices of points whose Jacobian stays within a budget of bytes (256 MiB: an eighth of the memory that a small machine has to spare)."""
    step = max(1, budget // (n_parameters * element_size))
    for start in range(0, n_points, step):
        yield slice(start, min(start + step, n_points))
