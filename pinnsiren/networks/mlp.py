"""Multilayer perceptron with any smooth activation."""

import math
from dataclasses import dataclass

import torch

from .activations import Activation, find_activation
from .base import AbstractNetwork, check_counts, draw_normal, draw_uniform
from .layered import AffineLayer, LayeredModule


def build_layers(
    fan_in: int,
    n_out: int,
    width: int,
    depth: int,
    activation: Activation,
    generator: torch.Generator,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
) -> list[AffineLayer]:
    """Affine layers with `W ~ N(0, gain^2 / n)`, which keeps the pre-activations at unit scale, and `b ~
    U(-1/sqrt(n), 1/sqrt(n))`.

    Args:
        fan_in: width of the first layer's input.
        n_out: number of outputs.
        width: neurons of each hidden layer.
        depth: number of hidden layers.
        activation: sigma; its gain belongs to every layer that reads activations.
        generator: source of the numbers.
        dtype: floating type of the parameters.
        device: where they live.
    """
    layers = []
    for index in range(depth + 1):
        n = fan_in if index == 0 else width
        m = n_out if index == depth else width
        gain = 1.0 if index == 0 else activation.gain
        weight = draw_normal((m, n), gain / math.sqrt(n), generator)
        bias = draw_uniform((m,), 1.0 / math.sqrt(n), generator)
        layers.append(AffineLayer(weight, bias, dtype=dtype, device=device))
    return layers


@dataclass(frozen=True)
class MLP(AbstractNetwork):
    """Affine layers with one activation between them and a linear last layer.

    Attributes:
        width: neurons of each hidden layer.
        depth: number of hidden layers.
        activation: one of `pinnsiren.networks.ACTIVATIONS`.

    Raises:
        ProblemError: a size that is not positive.
        UnknownNameError: an unknown activation; the message lists the known ones.
    """

    width: int = 64
    depth: int = 3
    activation: str = "tanh"

    def __post_init__(self) -> None:
        check_counts("MLP", width=self.width, depth=self.depth)
        find_activation(self.activation)

    @property
    def description(self) -> str:
        """One line for plans and reports."""
        return f"MLP, {self.depth} {self.activation} layers of {self.width}"

    def build(
        self,
        n_in: int,
        n_out: int,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> LayeredModule:
        """Build the module; see `AbstractNetwork.build`."""
        check_counts("MLP", n_in=n_in, n_out=n_out)
        activation = find_activation(self.activation)
        generator = torch.Generator().manual_seed(seed)
        layers = build_layers(n_in, n_out, self.width, self.depth, activation, generator, dtype=dtype, device=device)
        return LayeredModule(n_in, n_out, layers, activation)
