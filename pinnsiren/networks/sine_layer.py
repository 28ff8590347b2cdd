"""One sine layer on one chunk of points: streams forward, cotangents backward, in place.

A layer is `v = A z + b`, `u = sin v` (frequencies folded into A and b). With s = sin v_0, c = cos v_0 and, for stream k, the sums p2_k, p3_k, p4_k of
its products of two, three and four streams (all zero for a first derivative):

    even_k = p2_k - p4_k             odd_k = v_k - p3_k
    forward    u_0 = s               u_k = c odd_k - s even_k
    adjoint    v_0* = c (u_0* - sum_k u_k* even_k) - s sum_k u_k* odd_k
               v_i* = c u_i* - sum_k (s u_k* d even_k / d v_i + c u_k* d p3_k / d v_i)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .contraction import StreamTerm, Terms


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
class Rule:
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


def rules_of(terms: Terms) -> tuple[Rule, ...]:
    """The streams that have products, in order: factors come before the streams they enter."""
    rules: list[Rule] = []
    slot = 0
    for k, products in enumerate(terms, start=1):
        even = tuple(term for term in products if len(term.factors) in _EVEN)
        odd = tuple(term for term in products if len(term.factors) in _ODD)
        if even or odd:
            slots = (slot if even else -1, slot + bool(even) if odd else -1)
            rules.append(Rule(k, even, odd, slots))
            slot += bool(even) + bool(odd)
    return tuple(rules)


@dataclass(frozen=True)
class Scratch:
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
    def allocate(like: Tensor, size: int, n_forms: int, block: int, *, narrow: bool, reverse: bool) -> "Scratch":
        cotangent = size * block if reverse else 0
        return Scratch(
            like.new_empty(size * block),
            like.new_empty(size * block if narrow else 0),
            (like.new_empty(cotangent), like.new_empty(cotangent)),
            like.new_empty(n_forms * block),
            (like.new_empty(block), like.new_empty(block)),
        )


class SineLayer:
    """One sine layer on one chunk of points: views of the kept blocks and of the scratch memory.

    `packed` holds S blocks (n, width) that the matrix product writes. Kept are S + 1 blocks: c replaces v_0 and s fills the
    last; or, for a narrow first layer, two blocks for c and s while `packed` lies in scratch memory.
    """

    def __init__(self, kept: Tensor, rules: tuple[Rule, ...], size: int, n_points: int, width: int, scratch: Scratch, *, narrow: bool) -> None:
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

    def even(self, rule: Rule) -> Tensor:
        return self.forms[rule.slots[0]]

    def odd(self, rule: Rule) -> Tensor:
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
