"""SIREN: a network of sines, with streams by a hand-written adjoint."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.errors import ProblemError

from .activations import SINE
from .base import AbstractNetwork, check_counts, check_positive, draw_uniform, frequencies_per_input
from .contraction import check_stream_inputs
from .layered import AffineLayer, LayeredModule, LayerFactors
from .sine_adjoint import sine_features, sine_layer_factors, sine_streams
from .split_products import Arithmetic

DEFAULT_FREQUENCY = 30.0
"""Frequency of every sine layer in the released code, for inputs in [-1, 1]."""


class SirenModule(LayeredModule):
    """Sine layers `sin(omega (W z + b))` and a linear last layer; built by `Siren`.

    Attributes:
        arithmetic: of the products of streams with the weights between two sine layers, and of their adjoints, where the module is float32:
            `"ieee"`, `"3xtf32"` (as accurate, on tensor cores) or `"tf32"` (four digits less). Values alone (`forward`) and `taped_streams` are
            always IEEE, and so are Gram matrices, which square the condition number.
    """

    def __init__(self, n_in: int, n_out: int, layers: list[AffineLayer]) -> None:
        super().__init__(n_in, n_out, layers, SINE)
        self.arithmetic: Arithmetic = "ieee"

    def streams(self, inputs: Tensor, contraction: Tensor | None, layout: StreamLayout) -> Tensor:
        """Values and derivatives by the hand-written adjoint, differentiable once; see
        `AbstractNetworkModule.streams`."""
        check_stream_inputs(inputs, contraction, layout, self.n_in)
        return sine_streams(inputs, self.affine_maps(), contraction, layout, self.arithmetic)

    def features(self, inputs: Tensor, contraction: Tensor | None, layout: StreamLayout) -> Tensor:
        """Streams of the last sine layer, (S, N, width), without autograd history."""
        check_stream_inputs(inputs, contraction, layout, self.n_in)
        return sine_features(inputs, self.affine_maps(), contraction, layout, self.arithmetic)

    def layer_factors(self, inputs: Tensor, contraction: Tensor | None, layout: StreamLayout, seeds: Tensor) -> list[LayerFactors]:
        """Factors of the Jacobian; see `LayeredModule.layer_factors`."""
        check_stream_inputs(inputs, contraction, layout, self.n_in)
        with torch.no_grad():
            maps = self.affine_maps()
        factors = sine_layer_factors(inputs.detach(), maps, contraction, layout, seeds, self.arithmetic)
        return [
            LayerFactors(z, adjoints, layer.weight_frequency, layer.bias_frequency)
            for (z, adjoints), layer in zip(factors, self.affine_layers(), strict=True)
        ]


@dataclass(frozen=True)
class Siren(AbstractNetwork):
    """Sine network with the published initialisation.

    Hidden layers are `sin(omega (W z + b))`, the last layer is linear. `W ~ U(-1/n_in, 1/n_in)` in the first
    layer, `U(-sqrt(6/n)/omega, sqrt(6/n)/omega)` in the other sine layers, `b ~ U(-1/sqrt(n), 1/sqrt(n))`.
    The pre-activations, bias apart, then have unit standard deviation from the second layer on, and the
    activations follow the arcsine law. The released code divides the weights of the last layer by omega too,
    although nothing multiplies its output by omega; here they are `U(-sqrt(6/n), sqrt(6/n)) * output_scale`.

    Attributes:
        width: neurons of each sine layer.
        depth: number of sine layers.
        omega_0: frequency of the first layer, for inputs scaled to [-1, 1]: one number, or one per input
            where the inputs differ in kind (the bias then takes the largest). None leaves it to the solver,
            which knows the wavenumber; `build` then takes 30.
        omega_hidden: frequency of the other sine layers; None means 30. It cancels in the initial weights and
            speeds their training by gradient descent.
        output_scale: nearly the standard deviation of the initial outputs; 1/30 gives the weights of the
            released code.

    Raises:
        ProblemError: a setting that is not positive.

    Reference: Sitzmann et al. 2020, section 3.2, and the authors' released code.

    >>> Siren(width=32, depth=3).with_frequencies(12.0).omega_0
    12.0
    """

    width: int = 64
    depth: int = 2
    omega_0: float | tuple[float, ...] | None = None
    omega_hidden: float | None = None
    output_scale: float = 1.0

    def __post_init__(self) -> None:
        check_counts("Siren", width=self.width, depth=self.depth)
        check_positive("Siren", output_scale=self.output_scale)
        if self.omega_hidden is not None:
            check_positive("Siren", omega_hidden=self.omega_hidden)
        if isinstance(self.omega_0, tuple):
            if not self.omega_0:
                raise ProblemError("Siren was given an empty `omega_0`; give one positive number per input, or one for all.")
            for value in self.omega_0:
                check_positive("Siren", omega_0=value)
        elif self.omega_0 is not None:
            check_positive("Siren", omega_0=self.omega_0)

    @property
    def description(self) -> str:
        """One line for plans and reports."""
        omega_0 = "omega_0 to be chosen" if self.omega_0 is None else f"omega_0 = {self.omega_0}"
        return f"Siren, {self.depth} sine layers of {self.width}, {omega_0}"

    def with_frequencies(self, omega_0: float | tuple[float, ...], omega_hidden: float | None = None) -> "Siren":
        """A copy whose unset frequencies are filled in; see `AbstractNetwork.with_frequencies`."""
        hidden = DEFAULT_FREQUENCY if omega_hidden is None else omega_hidden
        return replace(
            self,
            omega_0=omega_0 if self.omega_0 is None else self.omega_0,
            omega_hidden=hidden if self.omega_hidden is None else self.omega_hidden,
        )

    def build(
        self,
        n_in: int,
        n_out: int,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> SirenModule:
        """Build the module; see `AbstractNetwork.build`."""
        check_counts("Siren", n_in=n_in, n_out=n_out)
        resolved = self.with_frequencies(DEFAULT_FREQUENCY)
        assert resolved.omega_0 is not None and resolved.omega_hidden is not None
        omega_0 = frequencies_per_input("Siren", "omega_0", resolved.omega_0, n_in)
        omega_hidden = resolved.omega_hidden
        generator = torch.Generator().manual_seed(seed)
        layers = []
        for index in range(self.depth + 1):
            first, last = index == 0, index == self.depth
            fan_in = n_in if first else self.width
            fan_out = n_out if last else self.width
            scale = self.output_scale if last else 1.0
            unit = math.sqrt(6.0 / fan_in)
            bound = 1.0 / n_in if first else (unit * scale if last else unit / omega_hidden)
            layers.append(
                AffineLayer(
                    draw_uniform((fan_out, fan_in), bound, generator),
                    draw_uniform((fan_out,), scale / math.sqrt(fan_in), generator),
                    frequency=omega_0 if first else ((1.0,) if last else (omega_hidden,)),
                    bias_frequency=max(omega_0) if first else (1.0 if last else omega_hidden),
                    dtype=dtype,
                    device=device,
                )
            )
        return SirenModule(n_in, n_out, layers)
