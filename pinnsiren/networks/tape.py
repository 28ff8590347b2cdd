"""Derivative streams for any activation, through the autograd tape.

One affine layer and one activation, `u = sigma(v)`, `v = A z + b`, carry the streams by Faa di Bruno:

    value        u    = sigma(v)
    gradient     u_i  = sigma'(v) v_i
    operator     L u  = sigma'(v) L v + sigma''(v) sum_ij A_ij v_i v_j
    any stream   u_k  = sigma'(v) v_k + sum_n sigma^(n)(v) * (products of n streams)

The affine map acts on all S N rows in one matrix product. What torch records can be differentiated again
(Hessian-vector products, coefficients that depend on parameters), which the hand-written adjoint of
`sine_adjoint` cannot.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout

from .activations import Activation
from .contraction import Terms, highest_order, product_sum

AffineMap = tuple[Tensor, Tensor]
"""Weight (width_out, width_in) and bias (width_out,), frequencies folded in."""


@dataclass(frozen=True)
class LayerTrace:
    """What one affine layer saw.

    Attributes:
        inputs: (S, N, width_in) streams of the layer's input.
        pre_activation: (S, N, width_out) streams after the affine map.
    """

    inputs: Tensor
    pre_activation: Tensor


def affine_streams(streams: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply an affine map to all streams in one matrix product; the bias reaches the value stream only.

    Args:
        streams: (S, N, width_in).
        weight: (width_out, width_in).
        bias: (width_out,) or None.

    Returns:
        (S, N, width_out).
    """
    size, n_points, width_in = streams.shape
    mapped = (streams.reshape(size * n_points, width_in) @ weight.t()).view(size, n_points, weight.shape[0])
    if bias is None:
        return mapped
    return torch.cat((mapped[:1] + bias, mapped[1:]))


def activation_streams(streams: Tensor, activation: Activation, terms: Terms, layout: StreamLayout) -> Tensor:
    """Apply an activation to all streams.

    Args:
        streams: (S, N, width) pre-activations.
        activation: sigma with its derivatives.
        terms: products of every stream behind the value.
        layout: order of the streams.

    Returns:
        (S, N, width).
    """
    rows = activation.derivatives(streams[0], highest_order(terms))
    chained = rows[1] * streams[1:]
    if not any(terms):
        return torch.cat((rows[0][None], chained))
    result = [rows[0]]
    for stream, products in zip(chained, terms, strict=True):
        for order in sorted({len(term.factors) for term in products}):
            stream = torch.addcmul(stream, rows[order], product_sum(streams, [term for term in products if len(term.factors) == order]))
        result.append(stream)
    return torch.stack(result)


def layered_streams(streams: Tensor, maps: Sequence[AffineMap], activation: Activation, terms: Terms, layout: StreamLayout) -> list[LayerTrace]:
    """Run all layers; the last one is affine only, so that its `pre_activation` is the output of the network.

    Args:
        streams: (S, N, width_in) streams of the first layer's input.
        maps: weight and bias of each layer.
        activation: sigma between the layers.
        terms: products of every stream behind the value.
        layout: order of the streams.

    Returns:
        One trace per layer.
    """
    traces: list[LayerTrace] = []
    for weight, bias in maps:
        if traces:
            streams = activation_streams(traces[-1].pre_activation, activation, terms, layout)
        traces.append(LayerTrace(streams, affine_streams(streams, weight, bias)))
    return traces
