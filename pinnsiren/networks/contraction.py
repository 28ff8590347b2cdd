"""What a layer adds to a stream besides `sigma'(v) v_k`: lists of products of other streams.

Under an activation, `D_k sigma(v) = sigma'(v) v_k + sum_n sigma^(n)(v) * (products of n streams)`. Input: the matrices `A^k`
of second-order operators `sum_ij A^k_ij d_i d_j`, constant `(K, G, G)` or per point `(K, N, G, G)`, and the closed streams of
a layout. Output: for each stream behind the value the products that are not identically zero, so that a Laplacian costs G
products and not G^2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.errors import CompileError


@dataclass(frozen=True)
class StreamTerm:
    """The product `coefficient * v_i * v_j * ...`, to be multiplied by the derivative of the activation of as many orders as there are factors.

    Attributes:
        factors: indices of two to four streams.
        coefficient: a number, or a tensor that broadcasts against (n_points, width).
    """

    factors: tuple[int, ...]
    coefficient: float | Tensor

    def restrict(self, start: int, stop: int) -> "StreamTerm":
        """The same term on the points start..stop-1."""
        if isinstance(self.coefficient, float) or self.coefficient.shape[0] == 1:
            return self
        return StreamTerm(self.factors, self.coefficient[start:stop])


Terms = tuple[tuple[StreamTerm, ...], ...]
"""Per stream 1..S-1 its products."""


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


def stream_terms(contraction: Tensor | None, layout: StreamLayout, like: Tensor) -> Terms:
    """List the products of every stream behind the value, without those that vanish.

    Constant matrices on the CPU become numbers, whatever device the streams are on: keep them there, since
    reading them from another device would stall it. Matrices elsewhere, or with a gradient of their own, keep
    all their entries.

    Args:
        contraction: (K, G, G) or (K, N, G, G), real; only the symmetric part counts.
        layout: order of the streams.
        like: the streams; coefficients that stay tensors move to their device and type.

    Returns:
        S - 1 tuples of terms.
    """
    none: tuple[StreamTerm, ...] = ()
    operators = () if contraction is None or layout.n_operators == 0 else _operator_terms(contraction, len(layout.gradient), like)
    closed = tuple(tuple(StreamTerm(product.factors, product.coefficient) for product in stream.products) for stream in layout.closed)
    return (none,) * len(layout.gradient) + operators + closed


def _operator_terms(contraction: Tensor, width: int, like: Tensor) -> Terms:
    readable = contraction.device.type == "cpu" and not contraction.requires_grad
    folded = contraction + contraction.transpose(-1, -2)
    operators: list[tuple[StreamTerm, ...]] = []
    for matrix in folded:
        terms: list[StreamTerm] = []
        for i in range(width):
            for j in range(i, width):
                entry = matrix[..., i, j] if i < j else 0.5 * matrix[..., i, i]
                if readable and not bool(torch.any(entry != 0)):
                    continue
                constant = readable and entry.ndim == 0
                terms.append(StreamTerm((1 + i, 1 + j), float(entry) if constant else entry.to(like).reshape(-1, 1)))
        operators.append(tuple(terms))
    return tuple(operators)


def restrict_terms(terms: Terms, start: int, stop: int) -> Terms:
    """The terms on the points start..stop-1."""
    return tuple(tuple(term.restrict(start, stop) for term in stream) for stream in terms)


def highest_order(terms: Terms) -> int:
    """The highest derivative of the activation that the products ask for."""
    return max((len(term.factors) for stream in terms for term in stream), default=1)


def product_sum(streams: Tensor, terms: Sequence[StreamTerm]) -> Tensor:
    """sum of coefficient * v_i * v_j * ...

    Args:
        streams: (S, N, width), the v_k.
        terms: products of one stream, at least one.

    Returns:
        (N, width).
    """
    total = torch.zeros_like(streams[0])
    for term in terms:
        *others, last = (streams[index] for index in term.factors)
        head = others[0]
        for factor in others[1:]:
            head = head * factor
        if isinstance(term.coefficient, float):
            total = torch.addcmul(total, head, last, value=term.coefficient)
        else:
            total = torch.addcmul(total, head * last, term.coefficient)
    return total
