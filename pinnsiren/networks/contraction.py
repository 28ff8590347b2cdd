"""Second-order operators as lists of products of first derivatives.

Under an activation, `L_k sigma(v) = sigma'(v) L_k v + sigma''(v) q_k` with `q_k = sum_ij A^k_ij v_i v_j`.
Input: the matrices `A^k`, constant `(K, G, G)` or per point `(K, N, G, G)`. Output: for each operator the
terms `c_ij v_i v_j`, i <= j, that are not identically zero, so that a Laplacian costs G products and not G^2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.errors import CompileError


@dataclass(frozen=True)
class OperatorTerm:
    """The product `coefficient * v_i * v_j`; i and j count within the gradient streams.

    Attributes:
        first: i.
        second: j >= i.
        coefficient: `A_ii`, or `A_ij + A_ji`: a number, or a tensor that broadcasts against (n_points,
            width).
    """

    first: int
    second: int
    coefficient: float | Tensor

    def restrict(self, start: int, stop: int) -> "OperatorTerm":
        """The same term on the points start..stop-1."""
        if isinstance(self.coefficient, float) or self.coefficient.shape[0] == 1:
            return self
        return OperatorTerm(self.first, self.second, self.coefficient[start:stop])


Terms = tuple[tuple[OperatorTerm, ...], ...]


def check_stream_inputs(inputs: Tensor, contraction: Tensor | None, layout: StreamLayout, n_in: int) -> None:
    """Check the shapes of a packed input and of its operator matrices.

    Args:
        inputs: (S, N, n_in) streams of the network's inputs.
        contraction: (K, G, G) or (K, N, G, G); may be None if the layout has no operators.
        layout: order of the streams.
        n_in: number of inputs of the network.

    Raises:
        CompileError: the shapes do not fit the layout.
    """
    if inputs.ndim != 3 or inputs.shape[0] != layout.size or inputs.shape[2] != n_in:
        raise CompileError(
            f"the network was given input streams of shape `{tuple(inputs.shape)}`; expected (S, N, n_in) = "
            f"({layout.size}, N, {n_in}) with the streams {', '.join(layout.names)}."
        )
    if contraction is None:
        if layout.n_operators:
            raise CompileError(f"the layout has {layout.n_operators} second-order operators; pass their matrices as `contraction`.")
        return
    g, k, n = len(layout.gradient), layout.n_operators, inputs.shape[1]
    if tuple(contraction.shape) not in {(k, g, g), (k, n, g, g)}:
        raise CompileError(
            f"`contraction` has shape `{tuple(contraction.shape)}`; expected ({k}, {g}, {g}) for "
            "constant coefficients or "
            f"({k}, {n}, {g}, {g}) for one matrix per point."
        )


def operator_terms(contraction: Tensor | None, layout: StreamLayout, like: Tensor) -> Terms:
    """List the products of first derivatives in each operator, without those that vanish.

    Constant matrices on the CPU become numbers, whatever device the streams are on: keep them there, since
    reading them from another device would stall it. Matrices elsewhere, or with a gradient of their own, keep
    all their entries.

    Args:
        contraction: (K, G, G) or (K, N, G, G), real; only the symmetric part counts.
        layout: order of the streams.
        like: the streams; coefficients that stay tensors move to their device and type.

    Returns:
        For each of the K operators its terms.
    """
    if contraction is None or layout.n_operators == 0:
        return ()
    readable = contraction.device.type == "cpu" and not contraction.requires_grad
    width = len(layout.gradient)
    folded = contraction + contraction.transpose(-1, -2)
    operators: list[tuple[OperatorTerm, ...]] = []
    for matrix in folded:
        terms: list[OperatorTerm] = []
        for i in range(width):
            for j in range(i, width):
                entry = matrix[..., i, j] if i < j else 0.5 * matrix[..., i, i]
                if readable and not bool(torch.any(entry != 0)):
                    continue
                constant = readable and entry.ndim == 0
                terms.append(OperatorTerm(i, j, float(entry) if constant else entry.to(like).reshape(-1, 1)))
        operators.append(tuple(terms))
    return tuple(operators)


def restrict_terms(terms: Terms, start: int, stop: int) -> Terms:
    """The terms on the points start..stop-1."""
    return tuple(tuple(term.restrict(start, stop) for term in operator) for operator in terms)


def quadratic_form(first_derivatives: Tensor, terms: Sequence[OperatorTerm]) -> Tensor:
    """q = sum_ij A_ij v_i v_j.

    Args:
        first_derivatives: (G, N, width), the v_i.
        terms: the products of one operator.

    Returns:
        (N, width).
    """
    total = torch.zeros_like(first_derivatives[0])
    for term in terms:
        v, w = first_derivatives[term.first], first_derivatives[term.second]
        if isinstance(term.coefficient, float):
            total = torch.addcmul(total, v, w, value=term.coefficient)
        else:
            total = torch.addcmul(total, v * w, term.coefficient)
    return total
