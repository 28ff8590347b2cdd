"""Activations with their first four derivatives, by name."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pinnsiren.errors import UnknownNameError

_Derivatives = Callable[[Tensor, int], list[Tensor]]


@dataclass(frozen=True)
class Activation:
    """A smooth function sigma of one variable.

    Attributes:
        name: its name in declarations.
        value: v to sigma(v).
        derivatives: (v, order) to [sigma(v), sigma'(v), ...] up to an order of at most four; they share what is costly.
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


def _sine(v: Tensor, order: int) -> list[Tensor]:
    s, c = torch.sin(v), torch.cos(v)
    return [s, c, -s, -c, s][: order + 1]


def _cosine(v: Tensor, order: int) -> list[Tensor]:
    s, c = torch.sin(v), torch.cos(v)
    return [c, -s, -c, s, c][: order + 1]


def _tanh(v: Tensor, order: int) -> list[Tensor]:
    # sigma' = 1 - sigma^2, differentiated by Leibniz.
    rows = [torch.tanh(v)]
    rows.append(1.0 - rows[0] * rows[0])
    for n in range(1, order):
        rows.append(-sum((math.comb(n, k) * rows[k] * rows[n - k] for k in range(1, n + 1)), rows[0] * rows[n]))
    return rows


def _logistic(p: Tensor, order: int) -> list[Tensor]:
    """Derivatives of the sigmoid from its value: p' = p (1 - p), differentiated by Leibniz."""
    rows = [p, p * (1.0 - p)]
    for n in range(1, order):
        rows.append(rows[n] - sum((math.comb(n, k) * rows[k] * rows[n - k] for k in range(1, n + 1)), rows[0] * rows[n]))
    return rows


def _sigmoid(v: Tensor, order: int) -> list[Tensor]:
    return _logistic(torch.sigmoid(v), order)


def _softplus_value(v: Tensor) -> Tensor:
    # torch's softplus turns linear above a threshold, which breaks its second derivative there.
    return torch.logaddexp(v, torch.zeros_like(v))


def _softplus(v: Tensor, order: int) -> list[Tensor]:
    return [_softplus_value(v), *_logistic(torch.sigmoid(v), order - 1)]


def _times_argument(v: Tensor, rows: list[Tensor]) -> list[Tensor]:
    """Derivatives of v f(v) from those of f: v f^(n) + n f^(n-1)."""
    return [v * rows[0]] + [rows[n - 1] * n + v * rows[n] for n in range(1, len(rows))]


def _swish(v: Tensor, order: int) -> list[Tensor]:
    return _times_argument(v, _sigmoid(v, order))


def _gelu(v: Tensor, order: int) -> list[Tensor]:
    cumulative = 0.5 * torch.erfc(v * -math.sqrt(0.5))
    density = [row / math.sqrt(2.0 * math.pi) for row in _gaussian(v, order - 1)]
    return _times_argument(v, [cumulative, *density])


def _gaussian(v: Tensor, order: int) -> list[Tensor]:
    # g^(n+1) = -v g^(n) - n g^(n-1).
    rows = [torch.exp(-0.5 * v * v)]
    if order:
        rows.append(-v * rows[0])
    for n in range(1, order):
        rows.append(-v * rows[n] - n * rows[n - 1])
    return rows


def _first(derivatives: _Derivatives) -> Callable[[Tensor], Tensor]:
    return lambda v: derivatives(v, 1)[0]


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
