"""What every network is: a frozen record of settings that builds a torch module with derivative streams.

The record says what to build, the module holds parameters. A module maps (N, n_in) to (N, n_out) and carries,
besides the values, the first derivatives and second-order operators of a `StreamLayout` from its inputs to
its outputs.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.errors import ProblemError


class AbstractNetworkModule(torch.nn.Module, ABC):
    """A network with parameters.

    Attributes:
        n_in: number of inputs.
        n_out: number of outputs.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.n_in = n_in
        self.n_out = n_out

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Values: (N, n_in) to (N, n_out)."""

    @abstractmethod
    def streams(self, inputs: Tensor, contraction: Tensor | None, layout: StreamLayout) -> Tensor:
        """Values and derivatives.

        Args:
            inputs: (S, N, n_in), streams of the network's inputs: with box scaling xi = (x - c) / h the value
                block is xi, the block of d_i is e_i / h_i and operator blocks are zero.
            contraction: (K, G, G), or (K, N, G, G) if it varies from point to point; symmetric. None if there
                are no operators.
            layout: order of the streams.

        Returns:
            (S, N, n_out), streams of the outputs.

        Raises:
            CompileError: shapes that do not fit the layout.
        """

    @property
    def n_parameters(self) -> int:
        """Number of trainable scalars."""
        return sum(p.numel() for p in self.parameters())


@dataclass(frozen=True)
class AbstractNetwork(ABC):
    """Settings of a network."""

    @abstractmethod
    def build(
        self,
        n_in: int,
        n_out: int,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> AbstractNetworkModule:
        """Build the module with initial parameters that depend on `seed` only.

        Args:
            n_in: number of inputs.
            n_out: number of outputs.
            seed: seed of the initial parameters; the global random state is neither read nor changed.
            dtype: floating type; numbers are drawn in float64 and rounded.
            device: where the parameters live.

        Raises:
            ProblemError: sizes that are not positive.
        """

    @property
    @abstractmethod
    def description(self) -> str:
        """One line for plans and reports."""

    def with_frequencies(self, omega_0: float | tuple[float, ...], omega_hidden: float | None = None) -> "AbstractNetwork":
        """A copy whose unset frequencies are filled in; settings made by the user stay. Networks without
        frequencies return themselves.

        Args:
            omega_0: largest angular frequency wanted along each input (one number for all, or one per input).
            omega_hidden: frequency of the hidden layers.
        """
        return self


def check_positive(network: str, **settings: float | int) -> None:
    """Check that settings are finite and positive.

    Raises:
        ProblemError: one of them is not.
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            raise ProblemError(f"{network} was given `{name}={value!r}`; expected a positive number. Set `{name}` above zero.")


def check_counts(network: str, **settings: int) -> None:
    """Check that settings are positive whole numbers.

    Raises:
        ProblemError: one of them is not.
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ProblemError(f"{network} was given `{name}={value!r}`; expected a whole number of at least 1.")


def frequencies_per_input(network: str, name: str, given: float | Sequence[float], n_in: int) -> tuple[float, ...]:
    """One frequency per input, from one number or one per input.

    Raises:
        ProblemError: the number of frequencies is not the number of inputs.
    """
    if isinstance(given, (int, float)):
        return (float(given),) * n_in
    if len(given) != n_in:
        raise ProblemError(
            f"{network} was given `{name}={tuple(given)}`, {len(given)} frequencies for {n_in} inputs; "
            "give one number for all inputs or one per input."
        )
    return tuple(float(value) for value in given)


def draw_uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    """Draw from U(-bound, bound) in float64 on the CPU, so that every dtype and device starts from the same
    numbers."""
    return (2.0 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1.0) * bound


def draw_normal(shape: tuple[int, ...], deviation: float, generator: torch.Generator) -> Tensor:
    """Draw from N(0, deviation^2) in float64 on the CPU."""
    return torch.randn(shape, generator=generator, dtype=torch.float64) * deviation
