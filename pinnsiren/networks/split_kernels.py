"""Triton kernel that splits float32 numbers into two of TF32: one launch, one read, two writes.

Needs Triton, which the CUDA builds of torch bring along; `split_products` imports this file where it is there, and holds the definition.
"""

import triton
import triton.language as tl

BLOCK = 1024
"""Numbers per program: eight for each thread of four warps, two of the widest memory accesses."""


@triton.jit
def _round(x):
    """To 10 explicit bits, halves away from zero; NaN stays NaN."""
    bits = x.to(tl.int32, bitcast=True)
    rounded = ((bits + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
    return tl.where(x != x, x, rounded)


@triton.jit
def split_kernel(source, high, low, n_elements, BLOCK: tl.constexpr):
    """high = round(source), low = round(source - high)."""
    # In 64 bits: matrices of 2^31 numbers fit into the memory of one GPU.
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n_elements
    x = tl.load(source + offsets, mask=mask, other=0.0)
    first = _round(x)
    tl.store(high + offsets, first, mask=mask)
    tl.store(low + offsets, _round(x - first), mask=mask)
