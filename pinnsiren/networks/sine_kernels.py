"""Triton kernels of one sine layer: all streams of a tile of points and neurons in one launch, forward and backward.

With the phase v_0 + b, s and c its sine and cosine, f_n the n-th derivative of the sine there and the products p of a stream's terms:

    forward    u_0 = s           u_k = c v_k + sum f_n a p(v),             n the number of factors of p
    backward   v_0* = c u_0* + sum_k u_k* (-s v_k + sum f_{n+1} a p(v))
               v_i* = c u_i* + sum over all terms with v_i  u_k* f_n a dp/dv_i

Memory traffic is the least possible: every stream is read and written once. The bias cotangent is summed per tile of points, and the tiles by the
caller, so that no atomic addition makes results differ from run to run. `tl.sin` and `tl.cos` compile to the accurate device functions with full
range reduction, in single and double precision.

Needs Triton, which the CUDA builds of torch bring along; `fused_sine` imports this file where it is there. Terms come as flat tuples of constants:
`owners[t]` is the stream that term t belongs to, `factors[4 t : 4 t + 4]` its streams (-1 behind the last), `weights[t]` its number and `slots[t]`
the row of `coefficients` with its value at every point, or -1.
"""

import triton
import triton.language as tl


@triton.jit
def _load_streams(first, offsets, block, mask, SIZE: tl.constexpr):
    """All streams of a tile, as a tuple."""
    streams = (tl.load(first + offsets, mask=mask, other=0.0),)
    for k in tl.static_range(1, SIZE):
        streams = streams + (tl.load(first + k * block + offsets, mask=mask, other=0.0),)  # noqa: RUF005  Triton knows no unpacking
    return streams


@triton.jit
def _derivative(sine, cosine, ORDER: tl.constexpr):
    """The derivative of the sine of order two to five."""
    if ORDER == 2:
        result = -sine
    elif ORDER == 3:
        result = -cosine
    elif ORDER == 4:
        result = sine
    else:
        result = cosine
    return result


@triton.jit
def _coefficient(like, coefficients, rows, inside, n_points, WEIGHT: tl.constexpr, SLOT: tl.constexpr):
    """The coefficient of a term on a tile."""
    result = tl.full(like.shape, WEIGHT, like.dtype)
    if SLOT >= 0:
        result = result * tl.load(coefficients + SLOT * n_points + rows, mask=inside, other=0.0)[:, None]
    return result


@triton.jit
def _product(streams, FACTORS: tl.constexpr, TERM: tl.constexpr, WITHOUT: tl.constexpr):
    """The product of a term's streams; the factor at position `WITHOUT` is left out."""
    result = tl.full(streams[0].shape, 1.0, streams[0].dtype)
    for position in tl.static_range(4):
        if position != WITHOUT:
            if FACTORS[4 * TERM + position] >= 0:
                result = result * streams[FACTORS[4 * TERM + position]]
    return result


@triton.jit
def _tile(n_points, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Rows and columns of this program's tile, its offsets into a block, and what of it exists."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    offsets = rows[:, None] * width + columns[None, :]
    mask = (rows < n_points)[:, None] & (columns < width)[None, :]
    return rows, columns, offsets, mask


@triton.jit
def _activations(
    streams, sine, cosine, activations, coefficients, rows, offsets, mask, n_points, block,
    SIZE: tl.constexpr, N_TERMS: tl.constexpr, OWNERS: tl.constexpr, FACTORS: tl.constexpr, ORDERS: tl.constexpr, WEIGHTS: tl.constexpr,
    SLOTS: tl.constexpr,
):  # fmt: skip
    """Store the activations of all streams."""
    tl.store(activations + offsets, sine, mask=mask)
    for k in tl.static_range(1, SIZE):
        total = cosine * streams[k]
        for t in tl.static_range(N_TERMS):
            if OWNERS[t] == k:
                weight = _coefficient(sine, coefficients, rows, rows < n_points, n_points, WEIGHTS[t], SLOTS[t])
                total += weight * _derivative(sine, cosine, ORDERS[t]) * _product(streams, FACTORS, t, -1)
        tl.store(activations + k * block + offsets, total, mask=mask)


@triton.jit
def forward_kernel(
    packed, bias, coefficients, activations, n_points, width,
    SIZE: tl.constexpr, N_TERMS: tl.constexpr, OWNERS: tl.constexpr, FACTORS: tl.constexpr, ORDERS: tl.constexpr, WEIGHTS: tl.constexpr,
    SLOTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Activations (SIZE, n_points, width) of pre-activations without their bias."""
    rows, columns, offsets, mask = _tile(n_points, width, ROWS, COLUMNS)
    block = n_points.to(tl.int64) * width
    streams = _load_streams(packed, offsets, block, mask, SIZE)
    phase = streams[0] + tl.load(bias + columns, mask=columns < width, other=0.0)[None, :]
    _activations(
        streams, tl.sin(phase), tl.cos(phase), activations, coefficients, rows, offsets, mask, n_points, block,
        SIZE, N_TERMS, OWNERS, FACTORS, ORDERS, WEIGHTS, SLOTS,
    )  # fmt: skip


@triton.jit
def backward_kernel(
    packed, bias, coefficients, above, below, activations, bias_sums, n_points, width,
    SIZE: tl.constexpr, N_TERMS: tl.constexpr, OWNERS: tl.constexpr, FACTORS: tl.constexpr, ORDERS: tl.constexpr, WEIGHTS: tl.constexpr,
    SLOTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Cotangents `below` of the pre-activations from those `above` of the activations, which are rebuilt on the way; bias sums per tile of points."""
    rows, columns, offsets, mask = _tile(n_points, width, ROWS, COLUMNS)
    inside = rows < n_points
    block = n_points.to(tl.int64) * width
    streams = _load_streams(packed, offsets, block, mask, SIZE)
    duals = _load_streams(above, offsets, block, mask, SIZE)
    phase = streams[0] + tl.load(bias + columns, mask=columns < width, other=0.0)[None, :]
    sine, cosine = tl.sin(phase), tl.cos(phase)
    _activations(
        streams, sine, cosine, activations, coefficients, rows, offsets, mask, n_points, block,
        SIZE, N_TERMS, OWNERS, FACTORS, ORDERS, WEIGHTS, SLOTS,
    )  # fmt: skip
    value = cosine * duals[0]
    for k in tl.static_range(1, SIZE):
        value -= sine * duals[k] * streams[k]
    for t in tl.static_range(N_TERMS):
        weight = _coefficient(sine, coefficients, rows, inside, n_points, WEIGHTS[t], SLOTS[t])
        value += duals[OWNERS[t]] * weight * _derivative(sine, cosine, ORDERS[t] + 1) * _product(streams, FACTORS, t, -1)
    tl.store(below + offsets, value, mask=mask)
    sums = tl.sum(tl.where(mask, value, 0.0), axis=0)
    tl.store(bias_sums + tl.program_id(0).to(tl.int64) * width + columns, sums, mask=columns < width)
    for i in tl.static_range(1, SIZE):
        total = cosine * duals[i]
        for t in tl.static_range(N_TERMS):
            for position in tl.static_range(4):
                if FACTORS[4 * t + position] == i:
                    weight = _coefficient(sine, coefficients, rows, inside, n_points, WEIGHTS[t], SLOTS[t])
                    total += duals[OWNERS[t]] * weight * _derivative(sine, cosine, ORDERS[t]) * _product(streams, FACTORS, t, position)
        tl.store(below + i * block + offsets, total, mask=mask)
