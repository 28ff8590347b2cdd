"""Activations with their first two derivatives, by name."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pinnsiren.errors import UnknownNameError

_Derivatives = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Activation:
    """A smooth function sigma of one variable.

    Attributes:
        name: its name in declarations.
        value: v to sigma(v).
        derivatives: v to (sigma(v), sigma'(v), sigma''(v)), which share what is costly.
    """

    name: str
    value: Callable[[Tensor], Tensor]
    derivatives: _Derivatives

    @property
    def gain(self) -> float:
        """1 / rms of sigma(v) for v ~ N(0, 1): it keeps the scale of the pre-activations from layer to
        layer."""
        # The trapezoidal rule is exact to rounding for analytic functions under a Gaussian weight.
        v = torch.linspace(-10.0, 10.0, 2001, dtype=torch.float64)
        weight = torch.exp(-0.5 * v * v)
        return math.sqrt(float(weight.sum() / (weight * self.value(v) ** 2).sum()))


def _sine(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    s = torch.sin(v)
    return s, torch.cos(v), -s


def _cosine(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    c = torch.cos(v)
    return c, -torch.sin(v), -c


def _tanh(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    t = torch.tanh(v)
    slope = 1.0 - t * t
    return t, slope, -2.0 * t * slope


def _sigmoid(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    p = torch.sigmoid(v)
    slope = p * (1.0 - p)
    return p, slope, slope * (1.0 - 2.0 * p)


def _softplus_value(v: Tensor) -> Tensor:
    # torch's softplus turns linear above a threshold, which breaks its second derivative there.
    return torch.logaddexp(v, torch.zeros_like(v))


def _softplus(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    p = torch.sigmoid(v)
    return _softplus_value(v), p, p * (1.0 - p)


def _swish(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    p = torch.sigmoid(v)
    slope = p * (1.0 - p)
    return v * p, p + v * slope, slope * (2.0 + v * (1.0 - 2.0 * p))


def _gelu(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    cumulative = 0.5 * torch.erfc(v * -math.sqrt(0.5))
    density = torch.exp(-0.5 * v * v) / math.sqrt(2.0 * math.pi)
    return v * cumulative, cumulative + v * density, density * (2.0 - v * v)


def _gaussian(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.exp(-0.5 * v * v)
    return g, -v * g, (v * v - 1.0) * g


def _first(derivatives: _Derivatives) -> Callable[[Tensor], Tensor]:
    return lambda v: derivatives(v)[0]


def _activation(name: str, derivatives: _Derivatives, value: Callable[[Tensor], Tensor] | None = None) -> Activation:
    return Activation(name, value if value is not None else _first(derivatives), derivatives)


SINE = _activation("sine", _sine, torch.sin)
COSINE = _activation("cosine", _cosine, torch.cos)

ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        SINE,
        COSINE,
        _activation("tanh", _tanh, torch.tanh),
        _activation("sigmoid", _sigmoid, torch.sigmoid),
        _activation("softplus", _softplus, _softplus_value),
        _activation("swish", _swish, torch.nn.functional.silu),
        _activation("gelu", _gelu, torch.nn.functional.gelu),
        _activation("gaussian", _gaussian),
    )
}
"""Every activation that `MLP` and `FourierFeatureMLP` know, by name."""


def find_activation(name: str) -> Activation:
    """The activation of that name.

    Raises:
        UnknownNameError: no such activation; the message lists the known ones.
    """
    if name not in ACTIVATIONS:
        raise UnknownNameError(f"unknown activation `{name}`; known are {', '.join(sorted(ACTIVATIONS))}.")
    return ACTIVATIONS[name]
