"""What the checks may ask of a problem: its parts, not its class, so that imports point one way."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import sympy as sp

from pinnsiren.language.conditions import AbstractCondition
from pinnsiren.language.domains import AbstractDomain

Exact = Mapping[Any, "sp.Expr | Callable[..., Any]"]


class Declaration(Protocol):
    """The parts of a declared problem; `Problem` is the one implementation."""

    @property
    def name(self) -> str:
        """Name for messages."""

    @property
    def fields(self) -> tuple[Any, ...]:
        """Fields in the order of the declaration."""

    @property
    def domain(self) -> AbstractDomain:
        """Declared domain."""

    @property
    def equations(self) -> tuple[Any, ...]:
        """Scalar expressions, left minus right."""

    @property
    def conditions(self) -> tuple[AbstractCondition, ...]:
        """Conditions."""

    @property
    def exact(self) -> Exact | None:
        """Exact solutions, if known."""

    @property
    def n_shots(self) -> int | None:
        """Number of shots."""
