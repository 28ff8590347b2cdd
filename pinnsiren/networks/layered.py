"""Networks made of affine layers with one activation between them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout

from .activations import Activation
from .base import AbstractNetworkModule
from .contraction import check_stream_inputs, stream_terms
from .tape import AffineMap, LayerTrace, layered_streams


class AffineLayer(torch.nn.Module):
    """`v = (W * frequency) z + bias_frequency * b`, the frequencies folded into the weights before the matrix
    product.

    Attributes:
        weight: W, (width_out, width_in).
        bias: b, (width_out,).
        weight_frequency: (1,) or (width_in,), constant.
        bias_frequency: constant factor of b.
    """

    weight_frequency: Tensor

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        frequency: tuple[float, ...] = (1.0,),
        bias_frequency: float = 1.0,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight.to(dtype=dtype, device=device))
        self.bias = torch.nn.Parameter(bias.to(dtype=dtype, device=device))
        frequencies = torch.tensor(frequency, dtype=dtype, device=device)
        self.register_buffer("weight_frequency", frequencies, persistent=False)
        self.bias_frequency = bias_frequency
        self.scaled = any(value != 1.0 for value in (*frequency, bias_frequency))

    def effective(self) -> AffineMap:
        """Weight and bias as they act on the input."""
        if not self.scaled:
            return self.weight, self.bias
        return self.weight * self.weight_frequency, self.bias * self.bias_frequency

    def forward(self, z: Tensor) -> Tensor:
        """(N, width_in) to (N, width_out)."""
        weight, bias = self.effective()
        return torch.nn.functional.linear(z, weight, bias)


@dataclass(frozen=True)
class LayerFactors:
    """Factors of the Jacobian with respect to one affine layer.

    Row (r, n) of the Jacobian with respect to the weight is `sum_s outer(adjoints[r, s, n], inputs[s, n]) *
    weight_frequency`, with respect to the bias `adjoints[r, 0, n] * bias_frequency`.

    Attributes:
        inputs: (S, N, width_in), streams of the layer's input.
        adjoints: (R, S, N, width_out), derivative of residual r at a point with respect to the layer's
            pre-activation streams there.
        weight_frequency: (1,) or (width_in,).
        bias_frequency: constant factor of the bias.
    """

    inputs: Tensor
    adjoints: Tensor
    weight_frequency: Tensor
    bias_frequency: float


class LayeredModule(AbstractNetworkModule):
    """Affine layers with an activation between them, a linear last layer, and an optional fixed embedding
    before the first.

    Attributes:
        activation: sigma.
        layers: the affine layers; `parameters()` runs through weight and bias of each in order.
    """

    def __init__(self, n_in: int, n_out: int, layers: list[AffineLayer], activation: Activation) -> None:
        super().__init__(n_in, n_out)
        self.activation = activation
        self.layers = torch.nn.ModuleList(layers)

    def affine_layers(self) -> list[AffineLayer]:
        """The layers in order."""
        return [layer for layer in self.layers if isinstance(layer, AffineLayer)]

    def affine_maps(self) -> list[AffineMap]:
        """Effective weight and bias of every layer."""
        return [layer.effective() for layer in self.affine_layers()]

    def embed(self, x: Tensor) -> Tensor:
        """Input of the first layer: (N, n_in) to (N, width_in)."""
        return x

    def embed_streams(self, inputs: Tensor, contraction: Tensor | None, layout: StreamLayout) -> Tensor:
        """Streams of the input of the first layer."""
        return inputs

    def forward(self, x: Tensor) -> Tensor:
        """Values: (N, n_in) to (N, n_out)."""
        z = self.embed(x)
        *hidden, last = self.affine_layers()
        for layer in hidden:
            z = self.activation.value(layer(z))
        result: Tensor = last(z)
        return result

    def trace(self, inputs: Tensor, contraction: Tensor | None, layout: StreamLayout) -> list[LayerTrace]:
        """Streams of every layer, through the autograd tape; arguments as in `streams`."""
        check_stream_inputs(inputs, contraction, layout, self.n_in)
        embedded = self.embed_streams(inputs, contraction, layout)
        return layered_streams(embedded, self.affine_maps(), self.activation, stream_terms(contraction, layout, inputs), layout)

    def taped_streams(self, inputs: Tensor, contraction: Tensor | None, layout: StreamLayout) -> Tensor:
        """Same as `streams`, differentiable any number of times."""
        return self.trace(inputs, contraction, layout)[-1].pre_activation

    def streams(self, inputs: Tensor, contraction: Tensor | None, layout: StreamLayout) -> Tensor:
        """Values and derivatives; see `AbstractNetworkModule.streams`."""
        return self.taped_streams(inputs, contraction, layout)

    def features(self, inputs: Tensor, contraction: Tensor | None, layout: StreamLayout) -> Tensor:
        """Streams of the last hidden layer, (S, N, width): the outputs are linear in the last layer's
        parameters on them."""
        return self.trace(inputs, contraction, layout)[-1].inputs

    def layer_factors(self, inputs: Tensor, contraction: Tensor | None, layout: StreamLayout, seeds: Tensor) -> list[LayerFactors]:
        """Factors of the Jacobian of linear functionals of the output streams; one reverse sweep per
        functional.

        Args:
            inputs: (S, N, n_in).
            contraction: operator matrices, as in `streams`.
            layout: order of the streams.
            seeds: (R, S, N, n_out), derivative of residual r at a point with respect to the output streams
                there.

        Returns:
            One record per layer, without autograd history.
        """
        with torch.enable_grad():
            # A copy that requires a gradient puts every pre-activation on the tape, also when the parameters
            # are frozen.
            traces = self.trace(inputs.detach().clone().requires_grad_(True), contraction, layout)
            pre_activations = [trace.pre_activation for trace in traces]
            sweeps = [torch.autograd.grad(pre_activations[-1], pre_activations, seed, retain_graph=True) for seed in seeds]
        return [
            LayerFactors(
                trace.inputs.detach(),
                torch.stack([sweep[index] for sweep in sweeps]),
                layer.weight_frequency,
                layer.bias_frequency,
            )
            for index, (trace, layer) in enumerate(zip(traces, self.affine_layers(), strict=True))
        ]
