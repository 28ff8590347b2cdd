"""Derivative streams of a sine network with a hand-written adjoint, as autograd sees it.

`SineSweep` computes with torch's own operations on any device, `FusedSweep` with one kernel per layer and pass on a GPU; which one runs is decided
here, once per device and type, and logged with the reason where it is not the fused one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.errors import CompileError

from .contraction import Terms, stream_terms
from .fused_sine import FusedSweep, fused_is_usable
from .sine_sweep import SineSweep
from .split_products import Arithmetic
from .tape import AffineMap


def sweep_over(inputs: Tensor, maps: Sequence[AffineMap], terms: Terms, layout: StreamLayout, arithmetic: Arithmetic = "ieee") -> SineSweep:
    """The fastest sweep that this device has."""
    kind = FusedSweep if fused_is_usable(inputs.device, inputs.dtype) else SineSweep
    return kind(inputs, maps, terms, layout, arithmetic)


class _SineStreams(torch.autograd.Function):
    """Autograd node of the whole network; differentiable once."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        layout: StreamLayout,
        arithmetic: Arithmetic,
        contraction: Tensor | None,
        inputs: Tensor,
        *flat: Tensor,
    ) -> Tensor:
        sweep = sweep_over(inputs, _pairs(flat), stream_terms(contraction, layout, inputs), layout, arithmetic)
        output, kept = sweep.forward(keep=True)
        ctx.save_for_backward(inputs.new_empty(0) if contraction is None else contraction, inputs, *flat, *kept)
        ctx.layout, ctx.arithmetic = layout, arithmetic  # type: ignore[attr-defined]
        ctx.n_flat = len(flat)  # type: ignore[attr-defined]
        return output

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise CompileError(
                "the hand-written adjoint of the sine streams was differentiated with "
                "`create_graph=True`; it is differentiable "
                "once. Use `taped_streams` of the module for second derivatives with respect to parameters."
            )
        contraction, inputs, *rest = ctx.saved_tensors  # type: ignore[attr-defined]
        layout: StreamLayout = ctx.layout  # type: ignore[attr-defined]
        flat, kept = rest[: ctx.n_flat], rest[ctx.n_flat :]  # type: ignore[attr-defined]
        arithmetic: Arithmetic = ctx.arithmetic  # type: ignore[attr-defined]
        sweep = sweep_over(inputs, _pairs(flat), stream_terms(contraction, layout, inputs), layout, arithmetic)
        wanted = ctx.needs_input_grad[3:]  # type: ignore[attr-defined]
        return (None, None, None, *sweep.backward(kept, cotangents[0], wanted))


def _pairs(flat: Sequence[Tensor]) -> list[AffineMap]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def sine_streams(
    inputs: Tensor, maps: Sequence[AffineMap], contraction: Tensor | None, layout: StreamLayout, arithmetic: Arithmetic = "ieee"
) -> Tensor:
    """Streams through a sine network.

    Args:
        inputs: (S, N, n_in).
        maps: effective weight and bias of each layer; every hidden layer has the same width, the last layer
            is linear.
        contraction: (K, G, G), (K, N, G, G), or None without operators.
        layout: order of the streams.
        arithmetic: of the products between two sine layers.

    Returns:
        (S, N, n_out), differentiable once with respect to the inputs and the maps.

    Raises:
        CompileError: coefficients of an operator that require a gradient, which this adjoint does not give.
    """
    if contraction is not None and contraction.requires_grad:
        raise CompileError(
            "`contraction` requires a gradient, which the hand-written adjoint of the sine streams does "
            "not give; detach it, or use "
            "`taped_streams` of the module."
        )
    flat = [tensor for pair in maps for tensor in pair]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (inputs, *flat)):
        node = _SineStreams.apply(layout, arithmetic, contraction, inputs, *flat)  # type: ignore[no-untyped-call]
        output: Tensor = node
        return output
    return sweep_over(inputs, maps, stream_terms(contraction, layout, inputs), layout, arithmetic).forward(keep=False)[0]


@torch.no_grad()
def sine_features(
    inputs: Tensor, maps: Sequence[AffineMap], contraction: Tensor | None, layout: StreamLayout, arithmetic: Arithmetic = "ieee"
) -> Tensor:
    """Streams (S, N, width) of the last sine layer, without autograd history; arguments as in
    `sine_streams`."""
    return sweep_over(inputs, maps, stream_terms(contraction, layout, inputs), layout, arithmetic).forward(keep=False, head=False)[0]


@torch.no_grad()
def sine_layer_factors(
    inputs: Tensor, maps: Sequence[AffineMap], contraction: Tensor | None, layout: StreamLayout, seeds: Tensor, arithmetic: Arithmetic = "ieee"
) -> list[tuple[Tensor, Tensor]]:
    """Input streams of every layer and the adjoints of its pre-activation, one reverse sweep per row of
    `seeds`.

    Args:
        inputs: (S, N, n_in).
        maps: effective weight and bias of each layer.
        contraction: operator matrices.
        layout: order of the streams.
        seeds: (R, S, N, n_out).
        arithmetic: of the products between two sine layers.

    Returns:
        For each layer (S, N, width_in) and (R, S, N, width_out).
    """
    sweep = sweep_over(inputs, maps, stream_terms(contraction, layout, inputs), layout, arithmetic)
    n_seeds, size, n_points = seeds.shape[0], layout.size, inputs.shape[1]
    activations = [inputs] + [inputs.new_empty(size, n_points, sweep.width) for _ in maps[1:]]
    adjoints = [inputs.new_empty(n_seeds, size, n_points, sweep.width) for _ in maps[1:]] + [seeds]
    scratch = sweep.scratch(reverse=True)
    kept = sweep.allocate_kept(sweep.chunk)
    for start, stop in sweep.ranges():
        layers = sweep.layers(kept, start, stop, scratch, keep=False)
        sweep.forward_chunk(layers, start, stop)
        for layer, activation in zip(layers, activations[1:], strict=True):
            activation[:, start:stop] = layer.rebuild().view(size, stop - start, -1)
        for r in range(n_seeds):
            dual = sweep.rows(seeds[r], start, stop)
            for index in range(len(maps) - 1, 0, -1):
                # The adjoint consumes the quadratic forms that `rebuild` leaves.
                layers[index - 1].rebuild()
                dual = sweep._through_layer(layers[index - 1], sweep.factor(index, dual), index, scratch)
                adjoints[index - 1][r, :, start:stop] = dual.view(size, stop - start, -1)
    return list(zip(activations, adjoints, strict=True))
