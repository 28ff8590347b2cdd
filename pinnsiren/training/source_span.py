"""Right-hand sides of many shots that span few directions: an orthonormal basis of them is solved for, and its answers are combined.

Sources of a survey are one wavelet or one bump at many places: a thousand of them are sums of a few hundred patterns as soon as digits that the
equations do not keep are left aside. With b_s the right-hand side of shot s over its norm, Q an orthonormal basis and z_s = Q^H b_s, what a basis
leaves out is d_s = sqrt(1 - |z_s|^2). Q grows by random sums of those b_s that it does not carry yet; the last few join it as they are.

Input: right-hand sides, and how much may be left out. Output: `SourceSpan`, or None where no small basis carries them.

Reference: Halko, Martinsson and Tropp 2011, section 4.4, for ranges found by random sums.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 64  # columns that join the basis at once: products with fewer lose the processor's rate
SMALLEST = 1e-7  # d_s is the root of a difference of squares, which rounding leaves at 1e-8
LARGEST_SHARE = 0.5  # of the right-hand sides: a larger basis saves less than finding it costs
SEED = 9_311


@dataclass(frozen=True)
class SourceSpan:
    """B = Q Z up to what is left out.

    Attributes:
        basis: Q, (n_rows, r), orthonormal columns.
        parts: Z, (r, n_shots), in units of the right-hand sides.
        left_out: norms of the columns of B - Q Z, (n_shots,).
    """

    basis: Tensor
    parts: Tensor
    left_out: Tensor


def span_of(right: Tensor, allowed: float) -> SourceSpan | None:
    """Find a basis.

    Args:
        right: B, (n_rows, n_shots), real or complex; a complex one without imaginary parts is treated as real.
        allowed: largest part of a right-hand side that may be left out, relative to its norm.
    """
    if allowed < SMALLEST:
        return None
    if right.is_complex() and not bool(right.imag.any()):
        right = right.real.contiguous()
    n_rows, n_shots = right.shape
    norms = torch.linalg.vector_norm(right, dim=0)
    columns = right / torch.where(norms > 0, norms, torch.ones_like(norms))
    basis, parts = columns.new_zeros(n_rows, 0), columns.new_zeros(0, n_shots)
    whole = (norms > 0).to(norms)
    left = whole
    generator = torch.Generator().manual_seed(SEED)
    while n_missing := int((left > allowed).sum()):
        if basis.shape[1] + BLOCK > LARGEST_SHARE * n_shots:
            return None
        missing = left > allowed
        if n_missing > BLOCK:
            sums = torch.randn(n_shots, BLOCK, generator=generator, dtype=norms.dtype)
            new = columns @ (sums.to(columns) * missing[:, None])
        else:
            new = columns[:, missing]
        for _ in range(2):  # once leaves what rounding made of the first subtraction
            new = new - basis @ (basis.mH @ new)
            new = torch.linalg.qr(new).Q
        basis, parts = torch.cat([basis, new], dim=1), torch.cat([parts, new.mH @ columns])
        left = (whole - parts.abs().pow(2).sum(0)).clamp_min(0.0).sqrt()
    return SourceSpan(basis, parts * norms, left * norms)
