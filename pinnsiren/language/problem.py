"""The problem: a frozen declaration whose construction runs every check.

Input: fields, domain, equations, conditions. Output: `Problem`, with every equation as one scalar expression "left side minus right side".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import sympy as sp

from pinnsiren.errors import ProblemError
from pinnsiren.language import checks
from pinnsiren.language.conditions import AbstractCondition
from pinnsiren.language.declaration import Exact
from pinnsiren.language.domains import AbstractDomain
from pinnsiren.language.entries import equation_entry, scalar_entry
from pinnsiren.language.symbols import declaration_of, is_unknown


def _scalar_residuals(equation: Any, index: int, name: str) -> list[Any]:
    """Return left minus right of an equation, component by component."""
    what = f"equation {index} of problem `{name}`"
    if isinstance(equation, sp.Equality) and isinstance(equation.lhs, sp.MatrixBase):
        # SymPy has decided an equation of matrices that differ in shape, so that both sides have one shape here.
        return [scalar_entry(what, a) - scalar_entry(what, b) for a, b in zip(equation.lhs, equation.rhs, strict=True)]
    if isinstance(equation, sp.MatrixBase):
        return [scalar_entry(what, component) for component in equation]
    return [equation_entry(what, equation)]


def _listed(name: str, argument: str, given: Any) -> list[Any]:
    if isinstance(given, (str, sp.Basic, AbstractCondition)) or not isinstance(given, Iterable):
        raise ProblemError(f"problem `{name}` was given {argument}={given!r}; expected a list: {argument}=[...]")
    return list(given)


@dataclass(frozen=True, init=False)
class Problem:
    """Fields, domain, equations and conditions of a boundary value or initial value problem.

    Attributes:
        name: a name for reports and files.
        fields: the unknown functions, in the order of the declaration.
        domain: where the equations hold.
        equations: scalar expressions, left side minus right side; operator and source heads are kept.
        conditions: what holds besides.
        exact: maps a field to its exact solution, a SymPy expression or a callable of the coordinates, if known.

    Raises:
        ProblemError: anything inconsistent; the message says what was given, what was expected and what to do.
    """

    name: str
    fields: tuple[Any, ...]
    domain: AbstractDomain
    equations: tuple[Any, ...]
    conditions: tuple[AbstractCondition, ...]
    exact: Exact | None

    def __init__(
        self,
        *,
        name: str,
        fields: Iterable[Any],
        domain: AbstractDomain,
        equations: Iterable[Any],
        conditions: Iterable[AbstractCondition],
        exact: Exact | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise ProblemError(f"a problem was named {name!r}; expected a text such as \"helmholtz_disc\"")
        given = _listed(name, "equations", equations)
        residuals = [residual for index, equation in enumerate(given) for residual in _scalar_residuals(equation, index, name)]
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "fields", tuple(_listed(name, "fields", fields)))
        object.__setattr__(self, "domain", domain)
        object.__setattr__(self, "equations", tuple(residuals))
        object.__setattr__(self, "conditions", tuple(_listed(name, "conditions", conditions)))
        if exact is not None and not isinstance(exact, Mapping):
            raise ProblemError(f"problem `{name}` was given exact={exact!r}; expected a solution per field such as exact={{u: sp.sin(x)}}")
        object.__setattr__(self, "exact", None if exact is None else MappingProxyType(dict(exact)))
        checks.check_problem(self)

    def rewritten(
        self, *, equations: Iterable[Any], conditions: Iterable[AbstractCondition], domain: AbstractDomain | None = None
    ) -> "Problem":
        """Return the problem with other parts and without checks: rewrites keep what the checks of the declaration ensured."""
        result = object.__new__(Problem)
        for name in ("name", "fields", "domain", "exact"):
            object.__setattr__(result, name, getattr(self, name))
        object.__setattr__(result, "equations", tuple(equations))
        object.__setattr__(result, "conditions", tuple(conditions))
        if domain is not None:
            object.__setattr__(result, "domain", domain)
        return result

    @property
    def coordinates(self) -> tuple[sp.Symbol, ...]:
        """The coordinates of the domain."""
        return self.domain.coordinates

    @property
    def unknowns(self) -> tuple[Any, ...]:
        """Scalars and coefficient fields that are solved for, in the order of their names."""
        found = {node for expression in self.expressions() for node in expression.atoms(sp.Function) if is_unknown(node)}
        return tuple(sorted(found, key=str))

    @property
    def scalars(self) -> tuple[Any, ...]:
        """Unknown scalars, in the order of their names."""
        return tuple(unknown for unknown in self.unknowns if not unknown.args)

    @property
    def coefficients(self) -> tuple[Any, ...]:
        """Coefficient fields that are solved for, in the order of their names."""
        return tuple(unknown for unknown in self.unknowns if unknown.args)

    @property
    def n_shots(self) -> int | None:
        """Number of shots, or None when the problem has no shot axis."""
        counts = {declaration_of(f).shots for f in self.fields} - {None}
        return int(counts.pop()) if counts else None

    def expressions(self) -> list[Any]:
        """Return every expression of equations and conditions."""
        return [*self.equations, *(sp.sympify(e) for condition in self.conditions for e in condition.expressions())]

    def field_named(self, name: str) -> Any:
        """Return the field of a name.

        Raises:
            ProblemError: no field has that name; the message lists those there are.
        """
        for candidate in self.fields:
            if declaration_of(candidate).name == name:
                return candidate
        known = ", ".join(declaration_of(candidate).name for candidate in self.fields)
        raise ProblemError(f"problem `{self.name}` has no field `{name}`; its fields are {known}")

    def __hash__(self) -> int:
        return hash((self.name, self.fields, self.domain, self.equations))
