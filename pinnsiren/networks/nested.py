"""Derivative streams by nested reverse-mode autograd: slow, and right for any module.

It is the reference in tests and benchmarks, and what carries modules of the user, whose layers the package
cannot see. With m outputs and G gradient coordinates it runs `m (1 + G)` reverse sweeps that are themselves
recorded.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.errors import ProblemError

from .base import AbstractNetwork, AbstractNetworkModule, check_counts
from .contraction import StreamTerm, check_stream_inputs, stream_terms


def _derivative(scalar: Tensor, variable: Tensor) -> Tensor:
    """d scalar / d variable with history; zero where the scalar does not depend on it."""
    if not scalar.requires_grad:
        return torch.zeros_like(variable)
    (result,) = torch.autograd.grad(scalar, variable, create_graph=True, materialize_grads=True)
    return result


def _batched(contraction: Tensor | None, layout: StreamLayout, like: Tensor) -> Tensor:
    """(K, N or 1, G, G) matrices on the device and in the type of `like`."""
    g = len(layout.gradient)
    matrices = like.new_zeros(0, g, g) if contraction is None else contraction.to(like)
    return matrices if matrices.ndim == 4 else matrices[:, None]


def nested_streams(function: Callable[[Tensor], Tensor], points: Tensor, contraction: Tensor | None, layout: StreamLayout) -> Tensor:
    """Streams of a function of the coordinates themselves.

    Args:
        function: (N, n_coordinates) to (N, n_out), each row on its own: a module, or a module after a map of
            the coordinates.
        points: (N, n_coordinates).
        contraction: (K, G, G), (K, N, G, G), or None without operators.
        layout: order of the streams.

    Returns:
        (S, N, n_out), with autograd history to whatever the function depends on.
    """
    with torch.enable_grad():
        x = points if points.requires_grad else points.detach().requires_grad_(True)
        value = function(x)
        matrices = _batched(contraction, layout, value)
        columns = [_nested_column(value[:, channel], x, matrices, layout) for channel in range(value.shape[1])]
        return torch.stack(columns, dim=-1)


def _nested_column(value: Tensor, x: Tensor, matrices: Tensor, layout: StreamLayout) -> Tensor:
    """(S, N) streams of one output."""
    rows = [value]
    if layout.gradient:
        gradient = _derivative(value.sum(), x)
        rows += [gradient[:, i] for i in layout.gradient]
    if layout.n_operators:
        wanted = list(layout.gradient)
        hessian = torch.stack([_derivative(gradient[:, i].sum(), x)[:, wanted] for i in wanted], dim=1)
        rows += list((matrices * hessian).sum((-1, -2)))
    known = {(0,) * x.shape[1]: value}
    for stream in layout.closed:
        rows.append(torch.stack([coefficient * _partial(known, orders, x) for orders, coefficient in stream.operator]).sum(0))
    return torch.stack(rows)


def _partial(known: dict[tuple[int, ...], Tensor], orders: tuple[int, ...], x: Tensor) -> Tensor:
    """One partial derivative (N,), by differentiating a lower one; `known` collects them."""
    if orders not in known:
        axis = max(range(len(orders)), key=lambda i: orders[i])
        lower = tuple(count - (i == axis) for i, count in enumerate(orders))
        known[orders] = _derivative(_partial(known, lower, x).sum(), x)[:, axis]
    return known[orders]


def nested_input_streams(function: Callable[[Tensor], Tensor], inputs: Tensor, contraction: Tensor | None, layout: StreamLayout) -> Tensor:
    """Streams of a function of inputs xi whose own streams are given.

    By the chain rule `d_i f = xi_i . grad f` and `L f = (L xi) . grad f + sum_ij A_ij xi_i . (hess f) xi_j`; higher
    streams read higher derivatives of f along the streams of xi.

    Args:
        function: (N, n_in) to (N, n_out), each row on its own.
        inputs: (S, N, n_in).
        contraction: (K, G, G), (K, N, G, G), or None without operators.
        layout: order of the streams.

    Returns:
        (S, N, n_out).
    """
    terms = stream_terms(contraction, layout, inputs)
    with torch.enable_grad():
        xi = inputs[0] if inputs.requires_grad else inputs[0].detach().requires_grad_(True)
        value = function(xi)
        columns = []
        for channel in range(value.shape[1]):
            directions = _Directions(value[:, channel], xi, inputs)
            rows = [value[:, channel]]
            for k, products in enumerate(terms, start=1):
                row = directions.along((k,))
                for term in products:
                    row = row + _weighted(directions.along(term.factors), term)
                rows.append(row)
            columns.append(torch.stack(rows))
        return torch.stack(columns, dim=-1)


class _Directions:
    """Derivatives of one output along input streams, each held constant; gradients that several of them share are swept once."""

    def __init__(self, value: Tensor, xi: Tensor, inputs: Tensor) -> None:
        self._known: dict[tuple[int, ...], Tensor] = {(): value}
        self._gradients: dict[tuple[int, ...], Tensor] = {}
        self._xi, self._inputs = xi, inputs

    def along(self, factors: tuple[int, ...]) -> Tensor:
        """(N,), the derivative along the streams of `factors`."""
        if factors not in self._known:
            lower = factors[1:]
            if lower not in self._gradients:
                self._gradients[lower] = _derivative(self.along(lower).sum(), self._xi)
            self._known[factors] = (self._gradients[lower] * self._inputs[factors[0]]).sum(-1)
        return self._known[factors]


def _weighted(values: Tensor, term: StreamTerm) -> Tensor:
    return term.coefficient * values if isinstance(term.coefficient, float) else term.coefficient[:, 0] * values


class WrappedModule(AbstractNetworkModule):
    """A module of the user with streams by nested autograd; built by `ModuleNetwork`.

    Attributes:
        module: (N, n_in) to (N, n_out).
    """

    def __init__(self, n_in: int, n_out: int, module: torch.nn.Module) -> None:
        super().__init__(n_in, n_out)
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Values: (N, n_in) to (N, n_out)."""
        result: Tensor = self.module(x)
        return result

    def streams(self, inputs: Tensor, contraction: Tensor | None, layout: StreamLayout) -> Tensor:
        """Values and derivatives; see `AbstractNetworkModule.streams`."""
        check_stream_inputs(inputs, contraction, layout, self.n_in)
        streams = nested_input_streams(self.module, inputs, contraction, layout)
        return streams if torch.is_grad_enabled() else streams.detach()


@dataclass(frozen=True)
class ModuleNetwork(AbstractNetwork):
    """Any torch module where a network is expected.

    Attributes:
        module: maps (N, n_in) to (N, n_out), each row on its own (no batch normalisation), twice
            differentiable. `build` copies it with its parameters, so that one record can be built again;
            `seed` has no effect.
    """

    module: torch.nn.Module

    @property
    def description(self) -> str:
        """One line for plans and reports."""
        return f"user module {type(self.module).__name__}, derivatives by nested autograd"

    def build(
        self,
        n_in: int,
        n_out: int,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> WrappedModule:
        """Copy the module to the type and device.

        Raises:
            ProblemError: the module does not map (N, n_in) to (N, n_out).
        """
        check_counts("ModuleNetwork", n_in=n_in, n_out=n_out)
        module = copy.deepcopy(self.module).to(dtype=dtype, device=device)
        name, wanted = type(module).__name__, f"(N, {n_in}) to (N, {n_out})"
        try:
            with torch.no_grad():
                shape = tuple(module(torch.zeros(3, n_in, dtype=dtype, device=device)).shape)
        except RuntimeError as error:
            raise ProblemError(f"the module `{name}` failed on 3 points with {n_in} inputs ({error}); expected a map {wanted}.") from error
        if shape != (3, n_out):
            raise ProblemError(f"the module `{name}` returned shape `{shape}` for 3 points; expected a map {wanted}.")
        return WrappedModule(n_in, n_out, module)
