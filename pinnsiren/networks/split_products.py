"""Matrix products of single precision on TF32 tensor cores: three products of split factors, or one that loses digits.

TF32 keeps 10 explicit bits of the mantissa of every factor and adds in float32. A factor split into its rounding to TF32 and the rounding of the
rest, x = x_high + x_low to within 2^-22 |x|, multiplies as

    x y = x_high y_high + (x_high y_low + x_low y_high)          "3xtf32"; without the bracket "tf32"

with the small terms added first. The roundings are taken by integer operations on the bits, the same on every device; a device without TF32
multiplies the split factors in float32, which differs in the order of additions only: what a GPU will compute can be tested without one.

Input: float32 matrices. Output: their product, as accurate as float32 gives it (`"3xtf32"`) or to about 4e-4 (`"tf32"`).

Reference: Ootomo & Yokota 2022, Int. J. High Perform. Comput. Appl. 36(4), 475-491, for the split and for what tensor cores lose in additions.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Literal

import torch
from torch import Tensor

Arithmetic = Literal["ieee", "3xtf32", "tf32"]
"""Of the products between two sine layers, of float32 matrices; others are not changed by it."""

BLOCK_ROWS = 1024
"""Inner dimension of one product. Tensor cores may truncate where they add, eight products at a time: 2^10 rows lose 2^7 times 2^-24 on average,
8e-6, and that only if all partial sums are as large as the result. Longer sums are taken block by block and the blocks added in float32."""

ACCURACY = 1e-5
"""Relative difference from float64 beyond which a device's split products are not trusted: a fifth of what a parameter gradient may lose, a
thirtieth of what plain TF32 loses."""

_HALF, _KEEP = 0x1000, -0x2000  # half a unit of the 10th explicit bit of 23, and all bits down to it
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """A float32 matrix as a sum of two that TF32 represents.

    Attributes:
        high: rounded to TF32.
        low: the rest, rounded to TF32; None where it is dropped.
    """

    high: Tensor
    low: Tensor | None

    def t(self) -> "Split":
        return Split(self.high.t(), None if self.low is None else self.low.t())


Factor = Tensor | Split
"""A matrix as it enters a product."""


def round_to_tf32(x: Tensor) -> Tensor:
    """The nearest numbers with 10 explicit bits in the mantissa, halves away from zero; NaN stays NaN, whatever its bits."""
    rounded = (x.view(torch.int32) + _HALF).bitwise_and_(_KEEP).view(torch.float32)
    # The NaN that CUDA makes has all bits set: the sum above would turn it into a zero, and a broken run into one that seems to go well.
    return torch.where(x.isnan(), x, rounded)


def split(x: Tensor) -> Split:
    """Split a float32 matrix in two; by one kernel where the device has Triton."""
    x = x.contiguous()
    if x.device.type == "cuda" and why_no_kernel(x.device) is None:
        return split_by_kernel(x)
    high = round_to_tf32(x)
    return Split(high, round_to_tf32(x - high))


def split_by_kernel(x: Tensor) -> Split:
    """As `split`, for contiguous matrices: one launch that reads once and writes twice; torch's own operations read and write seven times as much."""
    high, low = torch.empty_like(x), torch.empty_like(x)
    kernels = import_module("pinnsiren.networks.split_kernels")
    kernels.split_kernel[(-(-x.numel() // kernels.BLOCK),)](x, high, low, x.numel(), BLOCK=kernels.BLOCK)
    return Split(high, low)


def as_factor(x: Tensor, arithmetic: Arithmetic) -> Factor:
    """A matrix as a factor of products in this arithmetic; float64 is never split."""
    if arithmetic == "ieee" or x.dtype != torch.float32:
        return x
    return Split(round_to_tf32(x), None) if arithmetic == "tf32" else split(x)


@contextmanager
def tf32_allowed(device: torch.device) -> Iterator[None]:
    """Let float32 products on a CUDA device use TF32 inside the block, and put the setting back behind it, also after an error.

    The setting is one per process: another thread that multiplies on a GPU meanwhile would see it. `fp32_precision` reads as what is in force, also
    where it comes from `torch.backends.fp32_precision`; written back, it stands for itself from then on.
    """
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision if device.type == "cuda" else "tf32"
    if before == "tf32":
        yield
        return
    settings.fp32_precision = "tf32"
    try:
        yield
    finally:
        settings.fp32_precision = before


def multiply(left: Factor, right: Factor, out: Tensor, *, add: bool = False) -> None:
    """out = left right, or out += left right with `add`.

    Args:
        left: (n, k).
        right: (k, m), split if `left` is.
        out: (n, m).
        add: keep what is in `out`.
    """
    if isinstance(left, Split) and isinstance(right, Split):
        with tf32_allowed(out.device):
            _multiply_split(left, right, out, add=add)
        return
    assert isinstance(left, Tensor) and isinstance(right, Tensor)
    if add:
        out.addmm_(left, right)
    else:
        torch.mm(left, right, out=out)


def _pairs(left: Split, right: Split) -> list[tuple[Tensor, Tensor]]:
    """The products to add, the small ones first."""
    if left.low is None or right.low is None:
        return [(left.high, right.high)]
    return [(left.high, right.low), (left.low, right.high), (left.high, right.high)]


def _multiply_split(left: Split, right: Split, out: Tensor, *, add: bool) -> None:
    blocks, rest = divmod(left.high.shape[1], BLOCK_ROWS)
    if blocks == 0 or (blocks == 1 and rest == 0):
        for a, b in _pairs(left, right):
            if add:
                out.addmm_(a, b)
            else:
                torch.mm(a, b, out=out)
            add = True
        return
    whole = blocks * BLOCK_ROWS
    parts: Tensor | None = None
    for a, b in _pairs(left, right):
        a = a[:, :whole].reshape(len(a), blocks, BLOCK_ROWS).transpose(0, 1)
        b = b[:whole].reshape(blocks, BLOCK_ROWS, -1)
        parts = torch.bmm(a, b) if parts is None else parts.baddbmm_(a, b)
    assert parts is not None
    total = parts.sum(0)
    if add:
        out += total
    else:
        out.copy_(total)
    if rest:
        _multiply_split(_cut(left, 1, whole), _cut(right, 0, whole), out, add=True)


def _cut(factor: Split, axis: int, start: int) -> Split:
    """The rows or columns of a factor from `start` on."""
    high, low = (None if x is None else x.narrow(axis, start, x.shape[axis] - start) for x in (factor.high, factor.low))
    assert high is not None
    return Split(high, low)


def product_error(device: torch.device) -> float:
    """The largest relative difference of split products from float64 ones on a device: a product of a hidden layer, and one over many rows."""
    generator = torch.Generator().manual_seed(0)
    rows, weight, dual = (torch.randn(n, 256, generator=generator).to(device) for n in (3 * BLOCK_ROWS + 5, 256, 3 * BLOCK_ROWS + 5))
    worst = 0.0
    for left, right, exact in (
        (split(rows), split(weight), rows.double() @ weight.double()),
        (split(dual).t(), split(rows), dual.double().t() @ rows.double()),
    ):
        out = torch.empty(exact.shape, device=device)
        multiply(left, right, out)
        worst = max(worst, float((out - exact).norm() / exact.norm()))
    return worst


@cache
def why_no_tf32(device: torch.device) -> str | None:
    """Why split products are not used on a device, or None where they are as accurate as they should be; decided once by multiplying there."""
    if device.type != "cuda":
        return f"the device `{device}` has no TF32"
    if torch.version.hip is not None:
        return "TF32 is arithmetic of NVIDIA's GPUs, and this torch was built for AMD's"
    capability = torch.cuda.get_device_capability(device)
    if capability < (8, 0):
        return f"a GPU of compute capability {capability[0]}.{capability[1]} has no TF32, which came with 8.0"
    try:
        error = product_error(device)
    except Exception as failure:  # a driver or library that fails here must not cost the run
        return f"{type(failure).__name__}: {failure}".splitlines()[0]
    if not error <= ACCURACY:
        return f"products of split factors differ from float64 ones by {error:.1e} on `{device}`, more than {ACCURACY:.0e}"
    return None


@cache
def why_no_kernel(device: torch.device) -> str | None:
    """Why torch's own operations split on a GPU, logged once, or None where the kernel gives the same bits."""
    try:
        x = torch.randn(1000, generator=torch.Generator().manual_seed(0)).to(device)
        x[7] = float("nan")
        found, high = split_by_kernel(x), round_to_tf32(x)
        low = round_to_tf32(x - high)
        same = all(torch.equal(a.nan_to_num(-1.0), b.nan_to_num(-1.0)) for a, b in ((found.high, high), (found.low, low)) if a is not None)
        reason = None if same else "it gives other bits"
    except Exception as error:  # a compiler or driver that fails here must not cost the run
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    if reason is not None:
        _log.warning("the kernel that splits factors is not used on %s: %s; torch's own operations run instead", device, reason)
    return reason
