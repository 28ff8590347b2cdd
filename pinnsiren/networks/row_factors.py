"""Rows of a Jacobian kept as factors of the streams: products, column norms and Gram matrices without the Jacobian.

Row (r, n) with respect to a weight matrix is `sum_s outer(adjoint_s, input_s)` over the streams s, so

    K_ab = A B^T = sum_layers sum_st (Delta_as Delta_bt^T) * (Z_as Z_bt^T) + biases + columns of further parameters

between the rows of two residuals a and b, each with streams and points of its own. An interface is one residual whose streams are those of both
sides. A layer whose columns are few costs less as columns written out: `gram` takes for every layer what its count of operations says. Columns are
measured by separable norms D_oi = a_o b_i, since these, unlike the norms of single columns, go into the factors.

Input: `LayerFactors` of the sides of a residual. Output: `RowFactors`. Parameters are ordered as `parameters_to_vector` orders them, then the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .layered import LayerFactors

ELEMENT_COST = {"cpu": 60.0, "cuda": 300.0}
"""Floating-point operations of a product in the time of one multiply-add of two tiles: 1.2 ns at 50 GFLOP/s; 24 bytes at 4 TB/s and 50 TFLOP/s."""

TILE_ROWS = {"cpu": 384, "cuda": 2048}
"""Rows of a tile: three of it stay in the second-level cache of a core (1.2 MB each); on a GPU, launches have to be few, and tiles above the
diagonal are saved."""

SMALLEST_EFFECT = 1e-10  # of the largest norm: a parameter that moves next to nothing must not be sent far away for it


@dataclass(frozen=True)
class LayerRows:
    """Factors of R residuals at N points with respect to one layer.

    Attributes:
        inputs: (S, N, width_in), frequencies included.
        adjoints: (R, S, N, width_out).
        bias: (R, N, width_out), the columns of the bias.
    """

    inputs: Tensor
    adjoints: Tensor
    bias: Tensor

    @property
    def streams(self) -> int:
        """S."""
        return len(self.inputs)

    def window(self, points: slice) -> "LayerRows":
        """The rows at some of the points."""
        return LayerRows(self.inputs[:, points], self.adjoints[:, :, points], self.bias[:, points])

    def columns(self) -> Tensor:
        """The columns of the weight written out, (R N, width_out * width_in)."""
        return torch.einsum("rsno,sni->rnoi", self.adjoints, self.inputs).flatten(2).flatten(0, 1)


@dataclass(frozen=True)
class RowFactors:
    """The rows of one residual, row r * N + n.

    Attributes:
        layers: the affine layers in order.
        others: (R N, U), columns of further parameters.
    """

    layers: tuple[LayerRows, ...]
    others: Tensor

    @property
    def n_rows(self) -> int:
        """R N."""
        return len(self.others)

    @property
    def n_points(self) -> int:
        """N."""
        return self.layers[0].inputs.shape[1]

    @property
    def n_bytes(self) -> int:
        """Memory of the factors."""
        tensors = [tensor for layer in self.layers for tensor in (layer.inputs, layer.adjoints, layer.bias)]
        return sum(tensor.numel() * tensor.element_size() for tensor in (*tensors, self.others))

    def without_last_layer(self) -> "RowFactors":
        """The same rows without the columns of the last layer."""
        return RowFactors(self.layers[:-1], self.others)

    def product(self, direction: Tensor) -> Tensor:
        """J v, (R N,)."""
        total, start = torch.zeros_like(self.layers[0].bias[..., 0]), 0
        for layer in self.layers:
            width_out, width_in = layer.adjoints.shape[-1], layer.inputs.shape[-1]
            weight = direction[start : start + width_out * width_in].view(width_out, width_in)
            start += width_out * width_in
            total = total + torch.einsum("rsno,sno->rn", layer.adjoints, layer.inputs @ weight.t())
            total = total + layer.bias @ direction[start : start + width_out]
            start += width_out
        return total.flatten() + self.others @ direction[start:]

    def transpose_product(self, weights: Tensor) -> Tensor:
        """J^T y, (P,)."""
        pieces = []
        for layer in self.layers:
            y = weights.view(layer.bias.shape[:2])
            weighted = torch.einsum("rsno,rn->sno", layer.adjoints, y)
            pieces.append((weighted.flatten(0, 1).t() @ layer.inputs.flatten(0, 1)).flatten())
            pieces.append(torch.einsum("rno,rn->o", layer.bias, y))
        return torch.cat([*pieces, self.others.t() @ weights])

    def scaled(self, norms: "SeparableNorms") -> "RowFactors":
        """J D^-1."""
        layers = [
            LayerRows(layer.inputs / norms.inputs[i], layer.adjoints / norms.outputs[i], layer.bias / norms.biases[i])
            for i, layer in enumerate(self.layers)
        ]
        return RowFactors(tuple(layers), self.others / norms.others)


def row_factors(sides: Sequence[Sequence[LayerFactors]], others: Tensor) -> RowFactors:
    """Join the factors of the sides of a residual, whose rows are sums over the sides (signs are in the adjoints)."""
    layers = []
    for parts in zip(*sides, strict=True):
        inputs = torch.cat([part.inputs * part.weight_frequency for part in parts])
        bias = torch.stack([part.adjoints[:, 0] * part.bias_frequency for part in parts]).sum(0)
        layers.append(LayerRows(inputs, torch.cat([part.adjoints for part in parts], dim=1), bias))
    return RowFactors(tuple(layers), others)


@dataclass(frozen=True)
class SeparableNorms:
    """D: for a weight D_oi = outputs_o inputs_i, with the sums of D^2 over rows and over columns those of the squared columns of the Jacobian.

    Attributes:
        outputs, inputs: per layer, (width_out,) and (width_in,).
        biases: per layer, (width_out,), norms of the columns.
        others: (U,), norms of the columns.
    """

    outputs: tuple[Tensor, ...]
    inputs: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    others: Tensor

    def flat(self) -> Tensor:
        """D as a vector, (P,)."""
        pieces = []
        for outputs, inputs, biases in zip(self.outputs, self.inputs, self.biases, strict=True):
            pieces += [torch.outer(outputs, inputs).flatten(), biases]
        return torch.cat([*pieces, self.others])


def squared_norms(rows: RowFactors) -> Tensor:
    """Sums that `separable_norms` needs, one vector that adds up over residuals: per layer over rows, columns and biases, then the others."""
    pieces = []
    for layer in rows.layers:
        products = torch.einsum("sni,tni->stn", layer.inputs, layer.inputs)
        pieces.append((layer.adjoints * torch.einsum("stn,rtno->rsno", products, layer.adjoints)).sum((0, 1, 2)))
        products = torch.einsum("rsno,rtno->stn", layer.adjoints, layer.adjoints)
        pieces.append((layer.inputs * torch.einsum("stn,tni->sni", products, layer.inputs)).sum((0, 1)))
        pieces.append(layer.bias.pow(2).sum((0, 1)))
    return torch.cat([*pieces, rows.others.pow(2).sum(0)])


def sums_of_squares(vector: Tensor, like: RowFactors) -> Tensor:
    """Squares of a vector of parameters, (P,), summed as `squared_norms` sums the squares of columns."""
    pieces, start = [], 0
    for layer in like.layers:
        width_out, width_in = layer.adjoints.shape[-1], layer.inputs.shape[-1]
        weight = vector[start : start + width_out * width_in].view(width_out, width_in).pow(2)
        start += width_out * width_in
        pieces += [weight.sum(1), weight.sum(0), vector[start : start + width_out].pow(2)]
        start += width_out
    return torch.cat([*pieces, vector[start:].pow(2)])


def row_squares(rows: RowFactors) -> Tensor:
    """Squared norms of the rows, summed over the residuals at a point, (N,)."""
    total = rows.others.pow(2).sum(1).view(-1, rows.n_points).sum(0)
    for layer in rows.layers:
        pairs = torch.einsum("rsno,rtno->stn", layer.adjoints, layer.adjoints) * torch.einsum("sni,tni->stn", layer.inputs, layer.inputs)
        total = total + pairs.sum((0, 1)) + layer.bias.pow(2).sum((0, 2))
    return total


def separable_norms(squares: Tensor, like: RowFactors) -> SeparableNorms:
    """D from the sums over all residuals."""
    sizes = [size for layer in like.layers for size in (layer.adjoints.shape[-1], layer.inputs.shape[-1], layer.bias.shape[-1])]
    pieces = torch.split(squares.clamp_min(0.0), [*sizes, like.others.shape[1]])
    outputs, inputs, biases = [], [], []
    for index in range(len(like.layers)):
        over_rows, over_columns, of_bias = pieces[3 * index : 3 * index + 3]
        total = over_rows.sum().sqrt()
        scale = torch.where(total > 0, total, torch.ones_like(total))
        outputs.append((over_rows / scale).sqrt())
        inputs.append((over_columns / scale).sqrt())
        biases.append(of_bias.sqrt())
    others = pieces[-1].sqrt()
    weights = [float(o.max() * i.max()) for o, i in zip(outputs, inputs, strict=True)]
    largest = max(*weights, *(float(norms.max()) for norms in (*biases, others) if len(norms)))
    # The product of two entries stays above the floor when each stays above its root.
    floor = SMALLEST_EFFECT * largest
    return SeparableNorms(
        tuple(_at_least(norms, floor**0.5) for norms in outputs),
        tuple(_at_least(norms, floor**0.5) for norms in inputs),
        tuple(_at_least(norms, floor) for norms in biases),
        _at_least(others, floor),
    )


def _at_least(norms: Tensor, floor: float) -> Tensor:
    return torch.where(norms > 0, norms.clamp_min(floor), torch.ones_like(norms))


def from_factors(width_out: int, width_in: int, n_outputs: int, streams: tuple[int, int], device: str) -> bool:
    """Whether the Gram matrix of a layer costs less from the factors than from columns written out, counted per pair of rows."""
    pairs = streams[0] * streams[1]
    factors = pairs * (2 * width_out + 2 * width_in / n_outputs**2 + ELEMENT_COST[device])
    return factors < 2 * width_out * width_in


def gram(left: RowFactors, right: RowFactors, tiles: Sequence[tuple[slice, slice]], total: Tensor) -> None:
    """Write tiles of A B^T into `total` (left rows, right rows).

    Args:
        left: A.
        right: B.
        tiles: windows of the points of A and of B.
        total: where the tiles go; other entries stay.
    """
    n_left, n_right = len(left.layers[0].bias), len(right.layers[0].bias)
    blocks = total.view(n_left, left.n_points, n_right, right.n_points)
    for window, other in tiles:
        tile = None
        for a, b in zip(left.layers, right.layers, strict=True):
            part = _layer_gram(a.window(window), b.window(other))
            tile = part if tile is None else tile.add_(part)
        assert tile is not None
        if left.others.shape[1]:
            rows, columns = left.others.view(n_left, left.n_points, -1)[:, window], right.others.view(n_right, right.n_points, -1)[:, other]
            tile += rows.flatten(0, 1) @ columns.flatten(0, 1).t()
        blocks[:, window, :, other] = tile.view(blocks[:, window, :, other].shape)


def _layer_gram(a: LayerRows, b: LayerRows) -> Tensor:
    n_left, n_right = len(a.bias), len(b.bias)
    total = a.bias.flatten(0, 1) @ b.bias.flatten(0, 1).t()
    width_out, width_in = a.adjoints.shape[-1], a.inputs.shape[-1]
    if not from_factors(width_out, width_in, max(n_left, n_right), (a.streams, b.streams), total.device.type):
        return total.addmm_(a.columns(), b.columns().t())
    blocks = total.view(n_left, a.bias.shape[1], n_right, b.bias.shape[1])
    for s in range(a.streams):
        for t in range(b.streams):
            deltas = a.adjoints[:, s].flatten(0, 1) @ b.adjoints[:, t].flatten(0, 1).t()
            blocks.addcmul_(deltas.view_as(blocks), (a.inputs[s] @ b.inputs[t].t())[None, :, None, :])
    return total


def tiles_of(left: RowFactors, right: RowFactors, *, symmetric: bool) -> list[tuple[slice, slice]]:
    """Windows of points that cover the Gram matrix of two residuals; of a symmetric one, its lower half."""
    device = left.others.device.type
    found = []
    for window in _windows(left, device):
        for other in _windows(right, device):
            if not symmetric or other.start <= window.start:
                found.append((window, other))
    return found


def _windows(rows: RowFactors, device: str) -> list[slice]:
    step = max(1, TILE_ROWS[device] * rows.n_points // max(rows.n_rows, 1))
    return [slice(start, min(start + step, rows.n_points)) for start in range(0, rows.n_points, step)]
