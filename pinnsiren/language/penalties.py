"""What should be small without having to vanish: penalties on any expression and priors on what is solved for.

Input: expressions in fields and unknown coefficients. Output: `PenaltyRecord`, which methods that solve for coefficients turn into rows. A result
that rests on one of them rests on a choice of the user, not on equations and data alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from pinnsiren.errors import ProblemError, UnknownNameError
from pinnsiren.language.conditions import AbstractCondition, ConditionResidual, PenaltyRecord
from pinnsiren.language.domains import AbstractDomain
from pinnsiren.language.entries import number_entry, scalar_entry
from pinnsiren.language.locations import Region, regions_of
from pinnsiren.language.symbols import is_field, is_unknown

TOTAL_VARIATION, HESSIAN = "total variation", "hessian"
KINDS = (TOTAL_VARIATION, HESSIAN)


def _weight_entry(what: str, weight: Any) -> float | None:
    if weight is None:
        return None
    value = number_entry(f"weight of {what}", weight)
    if not (np.isfinite(value) and value > 0):
        raise ProblemError(f"{what} was given weight={value:g}; expected a positive number, or None to have it chosen from the data")
    return value


def _norm_entry(what: str, norm: Any) -> float:
    value = number_entry(f"norm of {what}", norm)
    if not 0 < value <= 2:
        raise ProblemError(f"{what} was given norm={value:g}; expected a number above 0 and at most 2: 2 is quadratic, 1 as in total variation")
    return value


@dataclass(frozen=True)
class Penalty(AbstractCondition):
    """weight * mean |expression|^norm should be small.

    Args:
        expression: in fields, unknown coefficients and coordinates.
        on: part of the boundary, a domain or a point; None is the whole domain.
        weight: relative to the squared misfit of the observations in units of their noise; None has it chosen from the data.
        norm: 2 quadratic, 1 robust (edges are kept), anything in between.

    Raises:
        ProblemError: a weight that is not positive, a norm outside (0, 2].
    """

    expression: Any
    on: Any = None
    weight: float | None = None
    norm: float = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "expression", scalar_entry("Penalty", self.expression))
        object.__setattr__(self, "weight", _weight_entry("Penalty", self.weight))
        object.__setattr__(self, "norm", _norm_entry("Penalty", self.norm))

    def residuals(self, domain: AbstractDomain) -> tuple[ConditionResidual, ...]:
        """Return nothing: a penalty does not vanish."""
        if self.on is not None:
            regions_of(self.on, domain)
        return ()

    def penalties(self, domain: AbstractDomain) -> tuple[PenaltyRecord, ...]:
        """Return the expression on each region."""
        regions = (Region("domain", domain=domain),) if self.on is None else regions_of(self.on, domain)
        return tuple(PenaltyRecord(f"penalty on {self.expression}", (self.expression,), region, self.weight, self.norm) for region in regions)

    def expressions(self) -> tuple[Any, ...]:
        """Return the expression."""
        return (self.expression,)


@dataclass(frozen=True)
class Prior(AbstractCondition):
    """What is believed of a coefficient before any observation.

    `Prior(a, "total variation")`: mean |grad a| is small, so that a is nearly piecewise constant. `Prior(a, "hessian")`: the mean square of the
    Frobenius norm of the Hessian of a is small, so that a bends little. `Prior(expression)`: the mean square of the expression is small.

    Args:
        expression: coefficient field, or an expression when no kind is named.
        kind: `"total variation"`, `"hessian"` or None.
        weight: relative to the squared misfit of the observations in units of their noise; None has it chosen from the data.

    Raises:
        ProblemError: a kind is named and the expression is no coefficient field.
        UnknownNameError: an unknown kind; the message lists the known ones.
    """

    expression: Any
    kind: str = ""
    weight: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "expression", scalar_entry("Prior", self.expression))
        object.__setattr__(self, "weight", _weight_entry("Prior", self.weight))
        if self.kind and self.kind not in KINDS:
            known = ", ".join(f"\"{kind}\"" for kind in KINDS)
            raise UnknownNameError(f"Prior was given kind={self.kind!r}; known are {known}, or none for the mean square of an expression")
        if self.kind and not ((is_unknown(self.expression) or is_field(self.expression)) and self.expression.args):
            raise ProblemError(f"Prior(..., \"{self.kind}\") was given `{self.expression}`; expected a coefficient field made by `unknown_field`")

    def residuals(self, domain: AbstractDomain) -> tuple[ConditionResidual, ...]:
        """Return nothing: what is believed does not have to hold."""
        return ()

    def penalties(self, domain: AbstractDomain) -> tuple[PenaltyRecord, ...]:
        """Return the group of derivatives whose length is penalised."""
        region = Region("domain", domain=domain)
        symbols = tuple(self.expression.args)
        if self.kind == TOTAL_VARIATION:
            group, norm = tuple(self.expression.diff(symbol) for symbol in symbols), 1.0
        elif self.kind == HESSIAN:
            group, norm = tuple(sp.diff(self.expression, a, b) for a in symbols for b in symbols), 2.0
        else:
            group, norm = (self.expression,), 2.0
        label = f"prior on {self.expression}" + (f" ({self.kind})" if self.kind else "")
        return (PenaltyRecord(label, group, region, self.weight, norm),)

    def expressions(self) -> tuple[Any, ...]:
        """Return the expression."""
        return (self.expression,)
