"""Derivative streams of a sine network with a hand-written adjoint.

A layer is `v = A z + b`, `u = sin v` (frequencies folded into A and b). With s = sin v_0, c = cos v_0 and, for stream k, the sums p2_k, p3_k, p4_k of
its products of two, three and four streams (all zero for a first derivative):

    even_k = p2_k - p4_k             odd_k = v_k - p3_k
    forward    u_0 = s               u_k = c odd_k - s even_k
    adjoint    v_0* = c (u_0* - sum_k u_k* even_k) - s sum_k u_k* odd_k
               v_i* = c u_i* - sum_k (s u_k* d even_k / d v_i + c u_k* d p3_k / d v_i)

Points are independent, so the whole network runs on one chunk of points after another, small enough that a
layer stays in cache. In a chunk every matrix product acts on all streams at once: forward, input adjoint and
weight gradient are one product each per layer. Kept for the adjoint are c, s and v_k of every layer (S + 1
blocks), c and s alone of a first layer with few inputs, whose v_k cost next to nothing to compute again; activations
are rebuilt, and adjoints overwrite the cotangents they came from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.errors import CompileError

from .contraction import StreamTerm, Terms, restrict_terms, stream_terms
from .reuse import reusable_empty
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


def _add_product(total: Tensor, v: Tensor, w: Tensor, coefficient: float | Tensor, scratch: Tensor) -> None:
    """total += coefficient * v * w, in place."""
    if isinstance(coefficient, float):
        total.addcmul_(v, w, value=coefficient)
    else:
        torch.mul(v, w, out=scratch)
        total.addcmul_(scratch, coefficient)


def _is_narrow(weight: Tensor) -> bool:
    return weight.shape[1] < weight.shape[0]


def _zeros_for_products(weight: Tensor) -> Tensor:
    """Zeros like a weight, stored by columns if it has few: its gradient by rows would be a product that BLAS runs ten times slower."""
    return weight.new_zeros(weight.shape[::-1]).t() if _is_narrow(weight) else weight.new_zeros(weight.shape)


def _add_weight_gradient(gradient: Tensor, dual: Tensor, z: Tensor) -> None:
    """gradient += dual^T z over all streams and points."""
    if _is_narrow(gradient):
        gradient.t().addmm_(z.t(), dual)
    else:
        gradient.addmm_(dual.t(), z)


def _multiply(streams: Tensor, factors: Sequence[int], out: Tensor) -> Tensor:
    """v_i v_j ... of at least two streams, in `out`."""
    torch.mul(streams[factors[0]], streams[factors[1]], out=out)
    for factor in factors[2:]:
        out.mul_(streams[factor])
    return out


def _sum_products_(total: Tensor, streams: Tensor, terms: Sequence[StreamTerm], sign: dict[int, float], scratch: Tensor, *, first: bool) -> None:
    """total += sign * coefficient * v_i v_j ..., in place; `first` overwrites instead."""
    for term in terms:
        *head, last = term.factors
        left = streams[head[0]] if len(head) == 1 else _multiply(streams, head, scratch)
        weight = sign[len(term.factors)]
        if not isinstance(term.coefficient, float):
            torch.mul(left, streams[last], out=scratch)
            left, right, coefficient = scratch, term.coefficient, weight
        else:
            right, coefficient = streams[last], weight * term.coefficient
        if first and isinstance(term.coefficient, float) and coefficient == 1.0:
            torch.mul(left, right, out=total)
        elif first:
            torch.mul(left, right, out=total).mul_(coefficient)
        else:
            total.addcmul_(left, right, value=coefficient)
        first = False


_EVEN = {2: 1.0, 4: -1.0}
_ODD = {3: -1.0}


@dataclass(frozen=True)
class _Rule:
    """The products of one stream, by the parity of their number of factors.

    Attributes:
        stream: k.
        even: products of two and four streams.
        odd: products of three.
        slots: positions of even_k and odd_k in the scratch memory for forms; -1 without such products.
    """

    stream: int
    even: tuple[StreamTerm, ...]
    odd: tuple[StreamTerm, ...]
    slots: tuple[int, int]

    @property
    def n_slots(self) -> int:
        return (self.slots[0] >= 0) + (self.slots[1] >= 0)


def _rules(terms: Terms) -> tuple[_Rule, ...]:
    """The streams that have products, in order: factors come before the streams they enter."""
    rules: list[_Rule] = []
    slot = 0
    for k, products in enumerate(terms, start=1):
        even = tuple(term for term in products if len(term.factors) in _EVEN)
        odd = tuple(term for term in products if len(term.factors) in _ODD)
        if even or odd:
            slots = (slot if even else -1, slot + bool(even) if odd else -1)
            rules.append(_Rule(k, even, odd, slots))
            slot += bool(even) + bool(odd)
    return tuple(rules)


@dataclass(frozen=True)
class _Scratch:
    """Memory that every chunk and layer reuses.

    Attributes:
        activations: (S * n * width) flat.
        first: the same size for the pre-activations of a first layer that are not kept, or empty.
        cotangents: two of the same size, used in turns.
        forms: (number of even_k and odd_k * n * width) flat.
        products: two of (n * width) flat.
    """

    activations: Tensor
    first: Tensor
    cotangents: tuple[Tensor, Tensor]
    forms: Tensor
    products: tuple[Tensor, Tensor]

    @staticmethod
    def allocate(like: Tensor, size: int, n_forms: int, block: int, *, narrow: bool, reverse: bool) -> "_Scratch":
        cotangent = size * block if reverse else 0
        return _Scratch(
            like.new_empty(size * block),
            like.new_empty(size * block if narrow else 0),
            (like.new_empty(cotangent), like.new_empty(cotangent)),
            like.new_empty(n_forms * block),
            (like.new_empty(block), like.new_empty(block)),
        )


class _SineLayer:
    """One sine layer on one chunk of points: views of the kept blocks and of the scratch memory.

    `packed` holds S blocks (n, width) that the matrix product writes. Kept are S + 1 blocks: c replaces v_0 and s fills the
    last; or, for a narrow first layer, two blocks for c and s while `packed` lies in scratch memory.
    """

    def __init__(self, kept: Tensor, rules: tuple[_Rule, ...], size: int, n_points: int, width: int, scratch: _Scratch, *, narrow: bool) -> None:
        block = n_points * width
        blocks = kept.view(-1, n_points, width)
        streams = scratch.first[: size * block].view(size, n_points, width) if narrow else blocks[:size]
        self.packed = streams.view(size * n_points, width)
        self.value, self.cosine, self.sine = streams[0], blocks[0], blocks[1 if narrow else size]
        self.streams, self.derivatives = streams, streams[1:]
        self.rules = rules
        self.n_points = n_points
        self.activations = scratch.activations[: size * block].view(size, n_points, width)
        n_forms = sum(rule.n_slots for rule in rules)
        self.forms = scratch.forms[: n_forms * block].view(n_forms, n_points, width)
        self.product, self.other = (memory[:block].view(n_points, width) for memory in scratch.products)

    def evaluate(self, bias: Tensor) -> None:
        """Cosine and sine of the value pre-activation, which they may replace."""
        torch.add(self.value, bias, out=self.sine)
        torch.cos(self.sine, out=self.cosine)
        torch.sin(self.sine, out=self.sine)

    def restore(self, derivative_rows: Tensor, weight: Tensor) -> None:
        """Compute the derivative pre-activations of a narrow layer again from the rows (S - 1) * n of its input."""
        if len(self.derivatives):
            torch.mm(derivative_rows, weight.t(), out=self.packed[self.n_points :])

    def even(self, rule: _Rule) -> Tensor:
        return self.forms[rule.slots[0]]

    def odd(self, rule: _Rule) -> Tensor:
        """v_k less its products of three."""
        return self.forms[rule.slots[1]] if rule.odd else self.streams[rule.stream]

    def rebuild(self) -> Tensor:
        """Activations as rows (S * n, width) in scratch memory; leaves even_k and odd_k in `forms`."""
        u = self.activations
        u[0].copy_(self.sine)
        if len(u) > 1:
            torch.mul(self.derivatives, self.cosine, out=u[1:])
        for rule in self.rules:
            target = u[rule.stream]
            if rule.odd:
                form = self.odd(rule).copy_(self.streams[rule.stream])
                _sum_products_(form, self.streams, rule.odd, _ODD, self.product, first=False)
                torch.mul(form, self.cosine, out=target)
            if rule.even:
                form = self.even(rule)
                _sum_products_(form, self.streams, rule.even, _EVEN, self.product, first=True)
                target.addcmul_(self.sine, form, value=-1.0)
        return u.view(-1, u.shape[-1])

    def adjoint_(self, cotangent: Tensor) -> None:
        """Overwrite cotangents (S, n, width) of the activations by those of the pre-activations; needs
        `forms` from `rebuild`."""
        value, derivatives = cotangent[0], cotangent[1:]
        for rule in self.rules:
            if rule.even:
                value.addcmul_(cotangent[rule.stream], self.even(rule), value=-1.0)
        value.mul_(self.cosine)
        if len(derivatives) == 0:
            return
        primals = list(self.derivatives)
        for rule in self.rules:
            primals[rule.stream - 1] = self.odd(rule)
        product = self.product
        torch.mul(derivatives[0], primals[0], out=product)
        for dual, primal in zip(derivatives[1:], primals[1:], strict=True):
            product.addcmul_(dual, primal)
        value.addcmul_(self.sine, product, value=-1.0)
        # The forms have served: their memory takes s u_k* and c u_k*.
        for rule in self.rules:
            if rule.even:
                torch.mul(cotangent[rule.stream], self.sine, out=self.even(rule))
        derivatives.mul_(self.cosine)
        for rule in self.rules:
            if rule.odd:
                self.odd(rule).copy_(cotangent[rule.stream])
        for rule in self.rules:
            for terms, sign in ((rule.even, _EVEN), (rule.odd, _ODD)):
                for term in terms:
                    weight = self.even(rule) if sign is _EVEN else self.odd(rule)
                    self._add_term_adjoint(cotangent, weight, term, -1.0 if sign is _ODD else -sign[len(term.factors)])

    def _add_term_adjoint(self, cotangent: Tensor, weight: Tensor, term: StreamTerm, sign: float) -> None:
        """v_i* += sign * weight * d(term) / d v_i for every factor."""
        coefficient = term.coefficient
        if not isinstance(coefficient, float):
            weight = torch.mul(weight, coefficient, out=self.product)
            coefficient = 1.0
        for factor in dict.fromkeys(term.factors):
            rest = list(term.factors)
            rest.remove(factor)
            left = weight
            for other in rest[:-1]:
                left = torch.mul(left, self.streams[other], out=self.other)
            cotangent[factor].addcmul_(left, self.streams[rest[-1]], value=sign * coefficient * term.factors.count(factor))


@dataclass(frozen=True)
class _Sweep:
    """A sine network on all points, cut into chunks.

    Attributes:
        inputs: (S, N, n_in).
        maps: effective weight and bias of each layer, the last one linear.
        terms: products of every stream behind the value.
        layout: order of the streams.
    """

    inputs: Tensor
    maps: Sequence[AffineMap]
    terms: Terms
    layout: StreamLayout

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

    def scratch(self, *, reverse: bool) -> _Scratch:
        n_forms = sum(rule.n_slots for rule in _rules(self.terms))
        return _Scratch.allocate(self.inputs, self.layout.size, n_forms, self.chunk * self.width, narrow=self.narrow, reverse=reverse)

    def blocks(self, index: int) -> int:
        """Number of blocks (n, width) that sine layer `index` keeps."""
        return 2 if self.narrow and index == 0 else self.layout.size + 1

    def allocate_kept(self, n_points: int) -> list[Tensor]:
        """Flat memory for c, s, v_k of every sine layer."""
        return [reusable_empty(self.inputs, self.blocks(index) * n_points * self.width) for index in range(len(self.maps) - 1)]

    def rows(self, streams: Tensor, start: int, stop: int) -> Tensor:
        """Rows (S * n, channels) of a chunk of (S, N, channels)."""
        return streams[:, start:stop].reshape(-1, streams.shape[2])

    def layers(self, kept: Sequence[Tensor], start: int, stop: int, scratch: _Scratch, *, keep: bool) -> list[_SineLayer]:
        """The sine layers on a chunk; without `keep`, every chunk uses the same memory."""
        rules = _rules(restrict_terms(self.terms, start, stop))
        offset, n = start if keep else 0, stop - start
        result = []
        for index, memory in enumerate(kept):
            step = self.blocks(index) * self.width
            window = memory[offset * step : (offset + n) * step]
            result.append(_SineLayer(window, rules, self.layout.size, n, self.width, scratch, narrow=self.narrow and index == 0))
        return result

    def restore(self, layers: Sequence[_SineLayer], start: int, stop: int) -> None:
        """Compute again what a narrow first layer did not keep."""
        if self.narrow:
            layers[0].restore(self.rows(self.inputs[1:], start, stop), self.maps[0][0])

    def forward_chunk(self, layers: Sequence[_SineLayer], start: int, stop: int) -> Tensor:
        """Run the sine layers of a chunk; returns the activations of the last one as rows in scratch
        memory."""
        z = self.rows(self.inputs, start, stop)
        for layer, (weight, bias) in zip(layers, self.maps[:-1], strict=True):
            torch.mm(z, weight.t(), out=layer.packed)
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

    def backward(self, kept: Sequence[Tensor], cotangent: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
        """Gradients with respect to the inputs and to every weight and bias.

        Args:
            kept: from `forward`.
            cotangent: (S, N, n_out).
            wanted: one flag for the inputs, then weight and bias of each layer.

        Returns:
            One gradient, or None, per flag.
        """
        gradients: list[Tensor | None] = [None] * len(wanted)
        if wanted[0]:
            gradients[0] = torch.empty_like(self.inputs)
        for index, (weight, bias) in enumerate(self.maps):
            if wanted[1 + 2 * index]:
                gradients[1 + 2 * index] = _zeros_for_products(weight)
            gradients[2 + 2 * index] = torch.zeros_like(bias) if wanted[2 + 2 * index] else None
        # Below this layer nobody asks for a gradient.
        lowest = 0 if wanted[0] else min(((i - 1) // 2 for i, flag in enumerate(wanted) if flag), default=len(self.maps))
        scratch = self.scratch(reverse=True)
        for start, stop in self.ranges():
            layers = self.layers(kept, start, stop, scratch, keep=True)
            self._backward_chunk(layers, cotangent, gradients, start, stop, lowest, scratch)
        return [gradient if gradient is None else gradient.contiguous() for gradient in gradients]

    def _backward_chunk(
        self,
        layers: Sequence[_SineLayer],
        cotangent: Tensor,
        gradients: list[Tensor | None],
        start: int,
        stop: int,
        lowest: int,
        scratch: _Scratch,
    ) -> None:
        n, size = stop - start, self.layout.size
        dual = self.rows(cotangent, start, stop)
        for index in range(len(self.maps) - 1, lowest - 1, -1):
            if index == 1:
                self.restore(layers, start, stop)
            z = layers[index - 1].rebuild() if index else self.rows(self.inputs, start, stop)
            weight_gradient, bias_gradient = gradients[1 + 2 * index], gradients[2 + 2 * index]
            if weight_gradient is not None:
                _add_weight_gradient(weight_gradient, dual, z)
            if bias_gradient is not None:
                bias_gradient += dual[:n].sum(0)
            if index > lowest:
                dual = self._through_layer(layers[index - 1], dual, index, scratch)
        if gradients[0] is not None:
            gradients[0][:, start:stop] = torch.mm(dual, self.maps[0][0]).view(size, n, -1)

    def _through_layer(self, layer: _SineLayer, dual: Tensor, index: int, scratch: _Scratch) -> Tensor:
        """Carry the cotangent of a layer's pre-activation to that of the layer below; needs that layer's
        `rebuild`."""
        below = scratch.cotangents[index % 2][: layer.packed.numel()].view_as(layer.packed)
        torch.mm(dual, self.maps[index][0], out=below)
        layer.adjoint_(below.view(self.layout.size, -1, self.width))
        return below


class _SineStreams(torch.autograd.Function):
    """Autograd node of the whole network; differentiable once."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        layout: StreamLayout,
        contraction: Tensor | None,
        inputs: Tensor,
        *flat: Tensor,
    ) -> Tensor:
        sweep = _Sweep(inputs, _pairs(flat), stream_terms(contraction, layout, inputs), layout)
        output, kept = sweep.forward(keep=True)
        ctx.save_for_backward(inputs.new_empty(0) if contraction is None else contraction, inputs, *flat, *kept)
        ctx.layout = layout  # type: ignore[attr-defined]
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
        sweep = _Sweep(inputs, _pairs(flat), stream_terms(contraction, layout, inputs), layout)
        wanted = ctx.needs_input_grad[2:]  # type: ignore[attr-defined]
        return (None, None, *sweep.backward(kept, cotangents[0], wanted))


def _pairs(flat: Sequence[Tensor]) -> list[AffineMap]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def sine_streams(inputs: Tensor, maps: Sequence[AffineMap], contraction: Tensor | None, layout: StreamLayout) -> Tensor:
    """Streams through a sine network.

    Args:
        inputs: (S, N, n_in).
        maps: effective weight and bias of each layer; every hidden layer has the same width, the last layer
            is linear.
        contraction: (K, G, G), (K, N, G, G), or None without operators.
        layout: order of the streams.

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
        node = _SineStreams.apply(layout, contraction, inputs, *flat)  # type: ignore[no-untyped-call]
        output: Tensor = node
        return output
    return _Sweep(inputs, maps, stream_terms(contraction, layout, inputs), layout).forward(keep=False)[0]


@torch.no_grad()
def sine_features(inputs: Tensor, maps: Sequence[AffineMap], contraction: Tensor | None, layout: StreamLayout) -> Tensor:
    """Streams (S, N, width) of the last sine layer, without autograd history; arguments as in
    `sine_streams`."""
    return _Sweep(inputs, maps, stream_terms(contraction, layout, inputs), layout).forward(keep=False, head=False)[0]


@torch.no_grad()
def sine_layer_factors(
    inputs: Tensor, maps: Sequence[AffineMap], contraction: Tensor | None, layout: StreamLayout, seeds: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Input streams of every layer and the adjoints of its pre-activation, one reverse sweep per row of
    `seeds`.

    Args:
        inputs: (S, N, n_in).
        maps: effective weight and bias of each layer.
        contraction: operator matrices.
        layout: order of the streams.
        seeds: (R, S, N, n_out).

    Returns:
        For each layer (S, N, width_in) and (R, S, N, width_out).
    """
    sweep = _Sweep(inputs, maps, stream_terms(contraction, layout, inputs), layout)
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
                dual = sweep._through_layer(layers[index - 1], dual, index, scratch)
                adjoints[index - 1][r, :, start:stop] = dual.view(size, stop - start, -1)
    return list(zip(activations, adjoints, strict=True))
