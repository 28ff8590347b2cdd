"""One sweep of derivative streams through a sine network, forward and backward, chunk of points by chunk of points.

The chain rule of a layer and its adjoint stand in `sine_layer`. Points are independent, so the whole network runs on
one chunk of points after another, small enough that a layer stays in cache. In a chunk every matrix product acts on
all streams at once: forward, input adjoint and weight gradient are one product each per layer. Kept for the adjoint
are c, s and v_k of every layer (S + 1 blocks), c and s alone of a first layer with few inputs, whose v_k cost next to
nothing to compute again; activations are rebuilt, and adjoints overwrite the cotangents they came from.

Input: streams of the network's inputs, maps of its layers. Output: streams of its outputs, gradients.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout

from .contraction import Terms, restrict_terms
from .reuse import reusable_empty
from .sine_layer import Scratch, SineLayer, rules_of
from .split_products import Arithmetic, Factor, as_factor, multiply
from .tape import AffineMap

_CPU_CHUNK_BYTES = 1 << 20
"""One block of S streams per thread; on a core with 1 MiB of second-level cache 2^19 to 2^21 were equal, 2^18
and 2^22 10 % slower."""

_DEVICE_CHUNK_BYTES = 1 << 28
"""On accelerators chunks only bound the scratch memory."""


def _chunk_points(layout: StreamLayout, width: int, like: Tensor) -> int:
    if like.device.type == "cpu":
        budget = _CPU_CHUNK_BYTES * torch.get_num_threads()
    else:
        budget = _DEVICE_CHUNK_BYTES
    return max(64, budget // (layout.size * width * like.element_size()))


def _is_narrow(weight: Tensor) -> bool:
    return weight.shape[1] < weight.shape[0]


def _zeros_for_products(weight: Tensor) -> Tensor:
    """Zeros like a weight, stored by columns if it has few: its gradient by rows would be a product that BLAS runs ten times slower."""
    return weight.new_zeros(weight.shape[::-1]).t() if _is_narrow(weight) else weight.new_zeros(weight.shape)


def add_weight_gradient(gradient: Tensor, dual: Factor, z: Factor) -> None:
    """gradient += dual^T z over all streams and points."""
    if _is_narrow(gradient):
        multiply(z.t(), dual, gradient.t(), add=True)
    else:
        multiply(dual.t(), z, gradient, add=True)


@dataclass(frozen=True)
class SineSweep:
    """A sine network on all points, cut into chunks.

    Attributes:
        inputs: (S, N, n_in).
        maps: effective weight and bias of each layer, the last one linear.
        terms: products of every stream behind the value.
        layout: order of the streams.
        arithmetic: of the products between two sine layers; those of the first and last layer, a small part of the work, stay in the type of
            the inputs, since an error of the phase would be multiplied by the frequency squared.
    """

    inputs: Tensor
    maps: Sequence[AffineMap]
    terms: Terms
    layout: StreamLayout
    arithmetic: Arithmetic = "ieee"

    @property
    def narrow(self) -> bool:
        """Whether the first layer's pre-activations are computed twice instead of kept: its product costs 1/8 of the others' or less."""
        return len(self.maps) > 1 and 8 * self.maps[0][0].shape[1] <= self.width

    @property
    def width(self) -> int:
        return self.maps[0][0].shape[0]

    @property
    def n_points(self) -> int:
        return self.inputs.shape[1]

    @property
    def chunk(self) -> int:
        return max(1, min(self.n_points, _chunk_points(self.layout, self.width, self.inputs)))

    def ranges(self) -> list[tuple[int, int]]:
        """First point and end of every chunk."""
        return [(a, min(a + self.chunk, self.n_points)) for a in range(0, self.n_points, self.chunk)]

    def scratch(self, *, reverse: bool) -> Scratch:
        n_forms = sum(rule.n_slots for rule in rules_of(self.terms))
        return Scratch.allocate(self.inputs, self.layout.size, n_forms, self.chunk * self.width, narrow=self.narrow, reverse=reverse)

    def blocks(self, index: int) -> int:
        """Number of blocks (n, width) that sine layer `index` keeps."""
        return 2 if self.narrow and index == 0 else self.layout.size + 1

    def allocate_kept(self, n_points: int) -> list[Tensor]:
        """Flat memory for c, s, v_k of every sine layer."""
        return [reusable_empty(self.inputs, self.blocks(index) * n_points * self.width) for index in range(len(self.maps) - 1)]

    def rows(self, streams: Tensor, start: int, stop: int) -> Tensor:
        """Rows (S * n, channels) of a chunk of (S, N, channels)."""
        return streams[:, start:stop].reshape(-1, streams.shape[2])

    def layers(self, kept: Sequence[Tensor], start: int, stop: int, scratch: Scratch, *, keep: bool) -> list[SineLayer]:
        """The sine layers on a chunk; without `keep`, every chunk uses the same memory."""
        rules = rules_of(restrict_terms(self.terms, start, stop))
        offset, n = start if keep else 0, stop - start
        result = []
        for index, memory in enumerate(kept):
            step = self.blocks(index) * self.width
            window = memory[offset * step : (offset + n) * step]
            result.append(SineLayer(window, rules, self.layout.size, n, self.width, scratch, narrow=self.narrow and index == 0))
        return result

    def factor(self, index: int, matrix: Tensor) -> Factor:
        """A matrix as it enters the products of layer `index`."""
        return as_factor(matrix, self.arithmetic if 0 < index < len(self.maps) - 1 else "ieee")

    def restore(self, layers: Sequence[SineLayer], start: int, stop: int) -> None:
        """Compute again what a narrow first layer did not keep."""
        if self.narrow:
            layers[0].restore(self.rows(self.inputs[1:], start, stop), self.maps[0][0])

    def forward_chunk(self, layers: Sequence[SineLayer], start: int, stop: int) -> Tensor:
        """Run the sine layers of a chunk; returns the activations of the last one as rows in scratch
        memory."""
        z = self.rows(self.inputs, start, stop)
        for index, (layer, (weight, bias)) in enumerate(zip(layers, self.maps[:-1], strict=True)):
            multiply(self.factor(index, z), self.factor(index, weight).t(), layer.packed)
            layer.evaluate(bias)
            z = layer.rebuild()
        return z

    def forward(self, *, keep: bool, head: bool = True) -> tuple[Tensor, list[Tensor]]:
        """Output streams (S, N, n_out), or those of the last sine layer without `head`, and what the adjoint
        needs."""
        size = self.layout.size
        weight, bias = self.maps[-1]
        output = self.inputs.new_empty(size, self.n_points, weight.shape[0] if head else self.width)
        scratch = self.scratch(reverse=False)
        kept = self.allocate_kept(self.n_points if keep else self.chunk)
        for start, stop in self.ranges():
            z = self.forward_chunk(self.layers(kept, start, stop, scratch, keep=keep), start, stop)
            streams = (torch.mm(z, weight.t()) if head else z).view(size, stop - start, -1)
            output[:, start:stop] = streams
            if head:
                output[0, start:stop] += bias
        return output, kept

    def empty_gradients(self, wanted: Sequence[bool]) -> tuple[list[Tensor | None], int]:
        """Memory for the gradients that are wanted, and the layer below which nobody asks for one."""
        gradients: list[Tensor | None] = [None] * len(wanted)
        if wanted[0]:
            gradients[0] = torch.empty_like(self.inputs)
        for index, (weight, bias) in enumerate(self.maps):
            if wanted[1 + 2 * index]:
                gradients[1 + 2 * index] = _zeros_for_products(weight)
            gradients[2 + 2 * index] = torch.zeros_like(bias) if wanted[2 + 2 * index] else None
        lowest = 0 if wanted[0] else min(((i - 1) // 2 for i, flag in enumerate(wanted) if flag), default=len(self.maps))
        return gradients, lowest

    def backward(self, kept: Sequence[Tensor], cotangent: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
        """Gradients with respect to the inputs and to every weight and bias.

        Args:
            kept: from `forward`.
            cotangent: (S, N, n_out).
            wanted: one flag for the inputs, then weight and bias of each layer.

        Returns:
            One gradient, or None, per flag.
        """
        gradients, lowest = self.empty_gradients(wanted)
        scratch = self.scratch(reverse=True)
        for start, stop in self.ranges():
            layers = self.layers(kept, start, stop, scratch, keep=True)
            self._backward_chunk(layers, cotangent, gradients, start, stop, lowest, scratch)
        return [gradient if gradient is None else gradient.contiguous() for gradient in gradients]

    def _backward_chunk(
        self,
        layers: Sequence[SineLayer],
        cotangent: Tensor,
        gradients: list[Tensor | None],
        start: int,
        stop: int,
        lowest: int,
        scratch: Scratch,
    ) -> None:
        n, size = stop - start, self.layout.size
        dual = self.rows(cotangent, start, stop)
        for index in range(len(self.maps) - 1, lowest - 1, -1):
            if index == 1:
                self.restore(layers, start, stop)
            z = layers[index - 1].rebuild() if index else self.rows(self.inputs, start, stop)
            weight_gradient, bias_gradient = gradients[1 + 2 * index], gradients[2 + 2 * index]
            factor = self.factor(index, dual)
            if weight_gradient is not None:
                add_weight_gradient(weight_gradient, factor, self.factor(index, z))
            if bias_gradient is not None:
                bias_gradient += dual[:n].sum(0)
            if index > lowest:
                dual = self._through_layer(layers[index - 1], factor, index, scratch)
        if gradients[0] is not None:
            gradients[0][:, start:stop] = torch.mm(dual, self.maps[0][0]).view(size, n, -1)

    def _through_layer(self, layer: SineLayer, dual: Factor, index: int, scratch: Scratch) -> Tensor:
        """Carry the cotangent of a layer's pre-activation to that of the layer below; needs that layer's
        `rebuild`."""
        below = scratch.cotangents[index % 2][: layer.packed.numel()].view_as(layer.packed)
        multiply(dual, self.factor(index, self.maps[index][0]), below)
        layer.adjoint_(below.view(self.layout.size, -1, self.width))
        return below
