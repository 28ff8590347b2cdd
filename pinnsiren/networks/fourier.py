"""Random Fourier features in front of a multilayer perceptron."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout

from .activations import COSINE, SINE, Activation, find_activation
from .base import AbstractNetwork, check_counts, check_positive, draw_normal, frequencies_per_input
from .contraction import stream_terms
from .layered import AffineLayer, LayeredModule
from .mlp import build_layers
from .tape import activation_streams, affine_streams

DEFAULT_SCALE = 10.0
"""Standard deviation of the angular frequencies for inputs in [-1, 1], where neither the user nor the solver
set one: about three waves."""


class FourierFeatureModule(LayeredModule):
    """A perceptron on `(sin(B x), cos(B x))` with a fixed matrix B; built by `FourierFeatureMLP`.

    Attributes:
        frequencies: B, (n_features, n_in), saved with the parameters but not trained.
    """

    frequencies: Tensor

    def __init__(self, n_in: int, n_out: int, layers: list[AffineLayer], activation: Activation, frequencies: Tensor) -> None:
        super().__init__(n_in, n_out, layers, activation)
        self.register_buffer("frequencies", frequencies)

    def embed(self, x: Tensor) -> Tensor:
        """(N, n_in) to (N, 2 n_features)."""
        phase = x @ self.frequencies.t()
        return torch.cat((torch.sin(phase), torch.cos(phase)), dim=-1)

    def embed_streams(self, inputs: Tensor, contraction: Tensor | None, layout: StreamLayout) -> Tensor:
        """Streams of the features, (S, N, 2 n_features)."""
        terms = stream_terms(contraction, layout, inputs)
        phase = affine_streams(inputs, self.frequencies, None)
        return torch.cat([activation_streams(phase, wave, terms, layout) for wave in (SINE, COSINE)], dim=-1)


@dataclass(frozen=True)
class FourierFeatureMLP(AbstractNetwork):
    """Multilayer perceptron on sines and cosines of random phases `B x`, `B ~ N(0, scale^2)`.

    Attributes:
        width: neurons of each hidden layer.
        depth: number of hidden layers.
        n_features: number of random frequencies; the perceptron sees twice as many inputs.
        scale: standard deviation of the angular frequencies (2 pi sigma in the reference), for inputs scaled
            to [-1, 1]: one number or one per input. None leaves it to the solver; `build` then takes 10.
        activation: one of `pinnsiren.networks.ACTIVATIONS`.

    Raises:
        ProblemError: a setting that is not positive.
        UnknownNameError: an unknown activation; the message lists the known ones.

    Reference: Tancik et al. 2020, equation 5.
    """

    width: int = 64
    depth: int = 2
    n_features: int = 64
    scale: float | tuple[float, ...] | None = None
    activation: str = "tanh"

    def __post_init__(self) -> None:
        check_counts("FourierFeatureMLP", width=self.width, depth=self.depth, n_features=self.n_features)
        given = self.scale if isinstance(self.scale, tuple) else () if self.scale is None else (self.scale,)
        for value in given:
            check_positive("FourierFeatureMLP", scale=value)
        find_activation(self.activation)

    @property
    def description(self) -> str:
        """One line for plans and reports."""
        scale = "scale to be chosen" if self.scale is None else f"scale = {self.scale}"
        layers = f"{self.depth} {self.activation} layers of {self.width}"
        return f"FourierFeatureMLP, {self.n_features} frequencies ({scale}), {layers}"

    def with_frequencies(self, omega_0: float | tuple[float, ...], omega_hidden: float | None = None) -> "FourierFeatureMLP":
        """A copy whose `scale`, if unset, is `omega_0`; see `AbstractNetwork.with_frequencies`."""
        return self if self.scale is not None else replace(self, scale=omega_0)

    def build(
        self,
        n_in: int,
        n_out: int,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> FourierFeatureModule:
        """Build the module; see `AbstractNetwork.build`."""
        check_counts("FourierFeatureMLP", n_in=n_in, n_out=n_out)
        scale = frequencies_per_input("FourierFeatureMLP", "scale", DEFAULT_SCALE if self.scale is None else self.scale, n_in)
        activation = find_activation(self.activation)
        generator = torch.Generator().manual_seed(seed)
        frequencies = draw_normal((self.n_features, n_in), 1.0, generator) * torch.tensor(scale, dtype=torch.float64)
        layers = build_layers(
            2 * self.n_features,
            n_out,
            self.width,
            self.depth,
            activation,
            generator,
            dtype=dtype,
            device=device,
        )
        return FourierFeatureModule(n_in, n_out, layers, activation, frequencies.to(dtype=dtype, device=device))
