"""Radial basis functions with trained centres and widths, alone or in front of a multilayer perceptron."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.errors import ProblemError

from .activations import Activation, find_activation
from .base import AbstractNetwork, check_counts, check_positive, draw_uniform
from .contraction import product_sum, stream_terms
from .layered import AffineLayer, LayeredModule
from .mlp import build_layers
from .tape import activation_streams


def _exponential(v: Tensor, order: int) -> list[Tensor]:
    return [torch.exp(v)] * (order + 1)


EXPONENTIAL = Activation("exponential", torch.exp, _exponential)
OVERLAP = 1.5
"""Deviation of the bumps in units of the mean distance of their centres, where the user set none."""


class RBFModule(LayeredModule):
    """Layers on the features `exp(-|x - c_j|^2 / (2 s_j^2))`; built by `RBFNetwork`.

    Attributes:
        centres: c, (n_centres, n_in), trained.
        log_deviations: log s, (n_centres,), trained; the logarithm keeps s positive.
    """

    def __init__(self, n_in: int, n_out: int, layers: list[AffineLayer], activation: Activation, centres: Tensor, log_deviations: Tensor) -> None:
        super().__init__(n_in, n_out, layers, activation)
        self.centres = torch.nn.Parameter(centres)
        self.log_deviations = torch.nn.Parameter(log_deviations)

    def embed(self, x: Tensor) -> Tensor:
        """(N, n_in) to (N, n_centres)."""
        offsets = x[:, None, :] - self.centres
        return torch.exp(-0.5 * offsets.pow(2).sum(-1) * torch.exp(-2 * self.log_deviations))

    def embed_streams(self, inputs: Tensor, contraction: Tensor | None, layout: StreamLayout) -> Tensor:
        """Streams of the features, (S, N, n_centres).

        The exponent v = -|x - c|^2 / (2 s^2) has v_i = -(x - c) . x_i / s^2 and L v = -((x - c) . L x + sum_ij A_ij x_i . x_j) / s^2.
        """
        terms = stream_terms(contraction, layout, inputs)
        sharpness = torch.exp(-2 * self.log_deviations)
        offsets = inputs[0][:, None, :] - self.centres
        rows = [0.5 * offsets.pow(2).sum(-1), *torch.einsum("nmx,snx->snm", offsets, inputs[1:])]
        for k, products in enumerate(terms, start=1):
            # The half square has no derivative above the second, so that longer products fall away.
            pairs = [term for term in products if len(term.factors) == 2]
            if pairs:
                rows[k] = rows[k] + product_sum(inputs, pairs).sum(-1, keepdim=True)
        return activation_streams(-torch.stack(rows) * sharpness, EXPONENTIAL, terms, layout)


@dataclass(frozen=True)
class RBFNetwork(AbstractNetwork):
    """Gaussian bumps whose centres and widths are trained, followed by `depth` hidden layers and a linear last layer.

    Attributes:
        n_centres: number of bumps.
        deviation: initial standard deviation of all bumps, for inputs scaled to [-1, 1]; None takes 1.5 times the mean distance of the centres.
        width: neurons of each hidden layer.
        depth: number of hidden layers; 0 makes the output a weighted sum of the bumps.
        activation: of the hidden layers, one of `pinnsiren.networks.ACTIVATIONS`.

    Raises:
        ProblemError: a setting that is not positive.
        UnknownNameError: an unknown activation; the message lists the known ones.

    Reference: Sitzmann et al. 2020, section 4, uses such a layer as one of its baselines.
    """

    n_centres: int = 256
    deviation: float | None = None
    width: int = 64
    depth: int = 0
    activation: str = "tanh"

    def __post_init__(self) -> None:
        check_counts("RBFNetwork", n_centres=self.n_centres, width=self.width)
        if isinstance(self.depth, bool) or not isinstance(self.depth, int) or self.depth < 0:
            raise ProblemError(f"RBFNetwork was given `depth={self.depth!r}`; expected a whole number of at least 0.")
        if self.deviation is not None:
            check_positive("RBFNetwork", deviation=self.deviation)
        find_activation(self.activation)

    @property
    def description(self) -> str:
        """One line for plans and reports."""
        layers = f", {self.depth} {self.activation} layers of {self.width}" if self.depth else ""
        return f"RBFNetwork, {self.n_centres} trained bumps{layers}"

    def build(
        self,
        n_in: int,
        n_out: int,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> RBFModule:
        """Build the module; see `AbstractNetwork.build`."""
        check_counts("RBFNetwork", n_in=n_in, n_out=n_out)
        activation = find_activation(self.activation)
        generator = torch.Generator().manual_seed(seed)
        centres = draw_uniform((self.n_centres, n_in), 1.0, generator)
        deviation = OVERLAP * 2 * self.n_centres ** (-1 / n_in) if self.deviation is None else self.deviation
        deviations = torch.full((self.n_centres,), math.log(deviation), dtype=torch.float64)
        layers = build_layers(self.n_centres, n_out, self.width, self.depth, activation, generator, dtype=dtype, device=device)
        placed = [numbers.to(dtype=dtype, device=device) for numbers in (centres, deviations)]
        return RBFModule(n_in, n_out, layers, activation, *placed)
