"""The sweep of a sine network on a GPU: one Triton kernel per layer and pass between the matrix products.

Per layer a step launches a product and a kernel forward, and two products and a kernel backward; the bias cotangents of all tiles take one sum per
layer. Kept for the backward pass are the pre-activations alone (S blocks per layer): on a GPU sine and cosine cost less than the memory traffic that
would fetch them.

Input: as `SineSweep`. Output: the same numbers to rounding. Before the first use on a device the kernels are compared with torch's own operations
on a small network; where they are missing, do not compile or disagree, the reason is logged and the plain sweep runs.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout

from .contraction import StreamTerm, Terms, restrict_terms, stream_terms
from .sine_sweep import SineSweep, add_weight_gradient
from .split_products import multiply
from .tape import AffineMap

THREADS = 128
"""Of a program: four warps."""

AGREEMENT = {torch.float32: 1e-4, torch.float64: 1e-12}
"""Relative differences beyond which the kernels are not trusted: 100 roundings and more of sums over some hundred terms."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TermTable:
    """The terms of all streams as the kernels take them.

    Attributes:
        owners: stream of each term.
        factors: four per term, -1 behind the last.
        orders: number of factors of each term.
        weights: number in front of each term.
        slots: row of `coefficients`, or -1.
        coefficients: (n_slots, n_points), one row at least.
    """

    owners: tuple[int, ...]
    factors: tuple[int, ...]
    orders: tuple[int, ...]
    weights: tuple[float, ...]
    slots: tuple[int, ...]
    coefficients: Tensor

    @classmethod
    def of(cls, terms: Terms, n_points: int, like: Tensor) -> "TermTable":
        """Flatten the terms of a chunk of points."""
        listed: list[tuple[int, StreamTerm]] = [(k, term) for k, products in enumerate(terms, start=1) for term in products]
        rows: list[Tensor] = []
        slots, weights, factors = [], [], []
        for _, term in listed:
            fixed = isinstance(term.coefficient, float)
            slots.append(-1 if fixed else len(rows))
            weights.append(term.coefficient if isinstance(term.coefficient, float) else 1.0)
            factors += [*term.factors, *(-1,) * (4 - len(term.factors))]
            if not isinstance(term.coefficient, float):
                rows.append(term.coefficient.to(like).reshape(-1).expand(n_points))
        table = torch.stack(rows) if rows else like.new_zeros(1, 1)
        return cls(tuple(k for k, _ in listed), tuple(factors), tuple(len(term.factors) for _, term in listed), tuple(weights), tuple(slots), table)

    def constants(self, size: int) -> dict[str, Any]:
        """What the kernels are specialised to; an empty tuple would have no type, so that a table without terms gets one that nobody reads."""
        return {
            "SIZE": size,
            "N_TERMS": len(self.owners),
            "OWNERS": self.owners or (0,),
            "FACTORS": self.factors or (-1, -1, -1, -1),
            "ORDERS": self.orders or (2,),
            "WEIGHTS": self.weights or (0.0,),
            "SLOTS": self.slots or (-1,),
        }


def tile_shape(width: int, size: int, n_bytes: int) -> tuple[int, int]:
    """Points and neurons of a tile for S streams of numbers of so many bytes; neurons first, since they lie side by side in memory.

    Four elements per thread make the widest memory accesses. The backward kernel holds about two streams per element and S: compiled for sm_90 it
    takes 71 registers at S = 4 and 233 at S = 9 in single precision; beyond that 255 do not suffice and the elements are halved.
    """
    columns = 1
    while columns < min(width, THREADS):
        columns *= 2
    elements = 4
    while elements > 1 and size * n_bytes * elements > 4 * 36:
        elements //= 2
    return max(1, elements * THREADS // columns), columns


@dataclass(frozen=True)
class FusedSweep(SineSweep):
    """A sine network on all points by fused kernels."""

    def forward(self, *, keep: bool, head: bool = True) -> tuple[Tensor, list[Tensor]]:
        """As `SineSweep.forward`; kept are the pre-activations (S, n, width) of every layer, chunk by chunk."""
        size, (weight, bias) = self.layout.size, self.maps[-1]
        output = self.inputs.new_empty(size, self.n_points, weight.shape[0] if head else self.width)
        step = size * self.width
        kept = [self.inputs.new_empty(step * (self.n_points if keep else self.chunk)) for _ in self.maps[:-1]]
        activations = self.inputs.new_empty(step * self.chunk)
        for start, stop in self.ranges():
            table, n = TermTable.of(restrict_terms(self.terms, start, stop), stop - start, self.inputs), stop - start
            z = self.rows(self.inputs, start, stop)
            for index, (memory, (inner, shift)) in enumerate(zip(kept, self.maps[:-1], strict=True)):
                packed = self._part(memory, start if keep else 0, n)
                multiply(self.factor(index, z), self.factor(index, inner).t(), packed)
                z = activations[: step * n].view(size * n, self.width)
                self._launch("forward_kernel", table, n, packed, shift, table.coefficients, z)
            streams = (torch.mm(z, weight.t()) if head else z).view(size, n, -1)
            output[:, start:stop] = streams
            if head:
                output[0, start:stop] += bias
        return output, kept

    def _backward_through(
        self, kept: Sequence[Tensor], cotangent: Tensor, gradients: list[Tensor | None], chunk: tuple[int, int], lowest: int
    ) -> None:
        start, stop = chunk
        n, size = stop - start, self.layout.size
        table = TermTable.of(restrict_terms(self.terms, start, stop), n, self.inputs)
        rows = size * n
        activations, above, *turns = (self.inputs.new_empty(rows, self.width) for _ in range(4))
        dual = self.rows(cotangent, start, stop)
        if gradients[-1] is not None:
            gradients[-1] += dual[:n].sum(0)
        for index in range(len(self.maps) - 1, lowest - 1, -1):
            below, factor = None, self.factor(index, dual)
            if index == 0:
                z = self.rows(self.inputs, start, stop)
            else:
                multiply(factor, self.factor(index, self.maps[index][0]), above)
                below, z = turns[index % 2], activations
                packed, shift = self._part(kept[index - 1], start, n), self.maps[index - 1][1]
                sums = self.inputs.new_empty(self._tiles(n), self.width)
                self._launch("backward_kernel", table, n, packed, shift, table.coefficients, above, below, activations, sums)
                bias_gradient = gradients[2 * index]
                if bias_gradient is not None:
                    bias_gradient += sums.sum(0)
            weight_gradient = gradients[1 + 2 * index]
            if weight_gradient is not None:
                add_weight_gradient(weight_gradient, factor, self.factor(index, z))
            if below is not None:
                dual = below
        if gradients[0] is not None:
            gradients[0][:, start:stop] = torch.mm(dual, self.maps[0][0]).view(size, n, -1)

    def backward(self, kept: Sequence[Tensor], cotangent: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
        """As `SineSweep.backward`."""
        gradients, lowest = self.empty_gradients(wanted)
        for chunk in self.ranges():
            self._backward_through(kept, cotangent, gradients, chunk, lowest)
        return [gradient if gradient is None else gradient.contiguous() for gradient in gradients]

    def _part(self, memory: Tensor, start: int, n: int) -> Tensor:
        """Rows (S * n, width) of a chunk in the flat memory of a layer."""
        step = self.layout.size * self.width
        return memory[start * step : (start + n) * step].view(-1, self.width)

    def _tiles(self, n_points: int) -> int:
        return -(-n_points // self._tile[0])

    @property
    def _tile(self) -> tuple[int, int]:
        return tile_shape(self.width, self.layout.size, self.inputs.element_size())

    def _launch(self, name: str, table: TermTable, n_points: int, *tensors: Tensor) -> None:
        rows, columns = self._tile
        grid = (self._tiles(n_points), -(-self.width // columns))
        kernel = getattr(import_module("pinnsiren.networks.sine_kernels"), name)
        kernel[grid](*tensors, n_points, self.width, **table.constants(self.layout.size), ROWS=rows, COLUMNS=columns)


def fused_is_usable(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the fused kernels run on this device in this precision; the reason why not is logged once."""
    if device.type != "cuda":
        return False
    reason = _why_not(device, dtype)
    return reason is None


@cache
def _why_not(device: torch.device, dtype: torch.dtype) -> str | None:
    if dtype not in AGREEMENT:
        reason: str | None = f"there are no kernels for {dtype}"
    else:
        try:
            worst = largest_difference(device, dtype)
            agree = worst <= AGREEMENT[dtype]
            reason = None if agree else f"they differ from torch's own operations by {worst:.1e}, more than {AGREEMENT[dtype]:.0e}"
        except Exception as error:  # a compiler or driver that fails here must not cost the run
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
    if reason is not None:
        _log.warning("the fused kernels are not used on %s: %s; torch's own operations run instead", device, reason)
    return reason


def largest_difference(device: torch.device, dtype: torch.dtype) -> float:
    """The largest relative difference between both sweeps, streams and gradients, on a small network with terms of every kind."""
    layout = StreamLayout(3, (0, 1), 2)
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device, dtype)

    inputs = draw(layout.size, 37, 3)
    maps: list[AffineMap] = [(draw(24, 3), draw(24)), (draw(24, 24) / 5, draw(24)), (draw(2, 24) / 5, draw(2))]
    # One operator with constant coefficients, one with coefficients that differ from point to point.
    fixed = torch.tensor([[1.0, 0.5], [0.5, -2.0]], dtype=torch.float64)
    terms = list(stream_terms(torch.stack([fixed, fixed]), layout, inputs))
    terms[-1] = tuple(StreamTerm(term.factors, draw(37, 1)) for term in terms[-1])
    cotangent = draw(layout.size, 37, 2)
    wanted = [True] * 7
    results = []
    for kind in (SineSweep, FusedSweep):
        sweep = kind(inputs, maps, tuple(terms), layout)
        output, kept = sweep.forward(keep=True)
        results.append([output, *sweep.backward(kept, cotangent, wanted)])
    pairs = [(a, b) for a, b in zip(*results, strict=True) if a is not None and b is not None]
    return max(float((a - b).norm() / a.norm()) for a, b in pairs)
