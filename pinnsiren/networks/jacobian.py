"""Jacobians of residuals with respect to the parameters, for Gauss-Newton.

Points do not see each other, so one reverse sweep per residual gives, for all points at once, the adjoint
Delta_s of every layer's pre-activation streams. With the layer's input streams Z_s, the row of point n is,
per weight matrix, `sum_s outer(Delta_s[n], Z_s[n])`, and per bias `Delta_0[n]`. No row costs a sweep of its
own.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.errors import CompileError

from .base import AbstractNetworkModule
from .layered import LayeredModule, LayerFactors


def _chunk_bytes(jacobian: Tensor) -> int:
    """Bytes of one block of rows: in cache while the streams add up on it, or all rows where launches cost more than traffic."""
    return 1 << 19 if jacobian.device.type == "cpu" else 1 << 40


def residual_jacobian(
    module: AbstractNetworkModule,
    inputs: Tensor,
    contraction: Tensor | None,
    layout: StreamLayout,
    seeds: Tensor,
) -> Tensor:
    """Jacobian of R real residuals per point.

    Args:
        module: the network.
        inputs: (S, N, n_in) input streams.
        contraction: (K, G, G), (K, N, G, G), or None without operators.
        layout: order of the streams.
        seeds: (R, S, N, n_out), derivative of residual r at a point with respect to each output stream of
            that point.

    Returns:
        (R * N, P), row r * N + n, columns in the order of
        `torch.nn.utils.parameters_to_vector(module.parameters())`; no autograd history.

    Raises:
        CompileError: seeds of the wrong shape.
    """
    _check_seeds(module, inputs, layout, seeds)
    if not isinstance(module, LayeredModule) or module.n_parameters > sum(p.numel() for p in module.layers.parameters()):
        # A trained embedding has parameters outside the affine layers.
        return _mapped_jacobian(module, inputs, contraction, layout, seeds)
    factors = module.layer_factors(inputs, contraction, layout, seeds)
    n_residuals, _, n_points, _ = seeds.shape
    jacobian = inputs.new_empty(n_residuals, n_points, module.n_parameters)
    column = 0
    for factor in factors:
        column = _fill_layer(jacobian, column, factor)
    return jacobian.view(n_residuals * n_points, -1)


def _check_seeds(module: AbstractNetworkModule, inputs: Tensor, layout: StreamLayout, seeds: Tensor) -> None:
    expected = (layout.size, inputs.shape[1], module.n_out)
    if seeds.ndim != 4 or tuple(seeds.shape[1:]) != expected:
        raise CompileError(f"`seeds` has shape `{tuple(seeds.shape)}`; expected (R, S, N, n_out) = (R, {', '.join(map(str, expected))}).")


def _fill_layer(jacobian: Tensor, column: int, factor: LayerFactors) -> int:
    """Write the columns of one layer; returns the first column after them."""
    width_out, width_in = factor.adjoints.shape[-1], factor.inputs.shape[-1]
    z = factor.inputs * factor.weight_frequency
    middle = column + width_out * width_in
    chunk = max(1, _chunk_bytes(jacobian) // (width_out * width_in * jacobian.element_size()))
    for rows, adjoints in zip(jacobian, factor.adjoints, strict=True):
        torch.mul(adjoints[0], factor.bias_frequency, out=rows[:, middle : middle + width_out])
        for start in range(0, len(rows), chunk):
            window = slice(start, start + chunk)
            outer = rows[window, column:middle].unflatten(1, (width_out, width_in))
            left, right = adjoints[:, window, :, None], z[:, window, None, :]
            torch.mul(left[0], right[0], out=outer)
            for delta, stream in zip(left[1:], right[1:], strict=True):
                outer.addcmul_(delta, stream)
    return middle + width_out


def last_layer_columns(module: AbstractNetworkModule) -> slice:
    """Columns of the parameters that enter the outputs linearly: weight (n_out, width) row by row, then bias
    (n_out,).

    Raises:
        CompileError: a module whose layers the package cannot see.
    """
    if not isinstance(module, LayeredModule):
        raise CompileError(f"`{type(module).__name__}` has no linear last layer that the package knows of; use Siren, MLP or FourierFeatureMLP.")
    last = module.affine_layers()[-1]
    return slice(module.n_parameters - last.weight.numel() - last.bias.numel(), module.n_parameters)


def features(module: AbstractNetworkModule, inputs: Tensor, contraction: Tensor | None, layout: StreamLayout) -> Tensor:
    """Streams (S, N, width) of the last hidden layer F: the output streams are `F_s W^T`, plus the bias on
    the value stream.

    Raises:
        CompileError: a module whose layers the package cannot see.
    """
    last_layer_columns(module)
    assert isinstance(module, LayeredModule)
    return module.features(inputs, contraction, layout)


def _mapped_jacobian(
    module: AbstractNetworkModule,
    inputs: Tensor,
    contraction: Tensor | None,
    layout: StreamLayout,
    seeds: Tensor,
) -> Tensor:
    """The same for any module: streams of one point, differentiated and mapped over points."""
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    g = len(layout.gradient)
    matrices = inputs.new_zeros(0, g, g) if contraction is None else contraction.to(inputs)
    if matrices.ndim == 3:
        matrices = matrices[:, None].expand(-1, inputs.shape[1], -1, -1)

    def functional(p: dict[str, Tensor], xi: Tensor, matrix: Tensor, seed: Tensor) -> Tensor:
        def values(x: Tensor) -> Tensor:
            output: Tensor = torch.func.functional_call(module, p, (x[None],))
            return output[0]

        return (_point_streams(values, xi, matrix, layout) * seed).sum()

    gradient = torch.func.grad(functional)
    over_points = torch.func.vmap(gradient, in_dims=(None, 1, 1, 1))
    rows = []
    for seed in seeds:
        gradients = over_points(parameters, inputs.detach(), matrices, seed)
        rows.append(torch.cat([gradients[name].flatten(1) for name in parameters], dim=1))
    return torch.cat(rows)


def _point_streams(values: Callable[[Tensor], Tensor], xi: Tensor, matrix: Tensor, layout: StreamLayout) -> Tensor:
    """(S, n_out) streams of one point from its (S, n_in) inputs, by nested reverse mode (forward mode warns of its own deprecation)."""
    g = len(layout.gradient)
    value, tangents, curvatures = xi[0], xi[1 : 1 + g], xi[1 + g :]
    slope = torch.func.jacrev(values)

    def directional(x: Tensor) -> Tensor:
        result: Tensor = slope(x) @ tangents.t()
        return result

    rows = [values(value)[None]]
    if g:
        rows.append(directional(value).t())
    if layout.n_operators:
        # (n_out, G, n_in), contracted with A_ij xi_j.
        turned = torch.func.jacrev(directional)(value)
        rows.append(curvatures @ slope(value).t() + torch.einsum("min,kij,jn->km", turned, matrix, tangents))
    return torch.cat(rows)
