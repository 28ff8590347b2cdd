"""Differential operators as documented `sympy.Function` heads.

Input: expressions in fields. Output: heads that stay unevaluated until `.doit()`, so that a flux stays a flux and the compiler still sees along
which coordinates an operator was meant to act. All act on every coordinate of the fields but one called `t`, or on those in `over=`.
"""

from collections.abc import Iterable
from typing import Any

import sympy as sp

from pinnsiren.errors import ProblemError
from pinnsiren.language.entries import scalar_entry
from pinnsiren.language.symbols import is_field, is_unknown

TIME_NAME = "t"


class SpatialDerivative(sp.Function):
    """First derivative along a spatial coordinate, an entry of `grad`: `SpatialDerivative(u, x)` is du/dx."""

    nargs = (2,)

    def doit(self, **hints: Any) -> Any:
        """Return the plain SymPy derivative."""
        return sp.Derivative(self.args[0].doit(**hints), self.args[1]).doit(**hints)

    def _eval_derivative(self, symbol: Any) -> Any:
        return SpatialDerivative(self.args[0].diff(symbol), self.args[1])


class Laplacian(sp.Function):
    """Sum of the second derivatives along the given coordinates: `Laplacian(u, x, y)` is d2u/dx2 + d2u/dy2."""

    def doit(self, **hints: Any) -> Any:
        """Return the sum of plain SymPy derivatives."""
        expression = self.args[0].doit(**hints)
        return sp.Add(*[sp.Derivative(expression, (symbol, 2)).doit(**hints) for symbol in self.args[1:]])

    def _eval_derivative(self, symbol: Any) -> Any:
        return Laplacian(self.args[0].diff(symbol), *self.args[1:])


class Divergence(sp.Function):
    """Divergence of a flux, kept in flux form: `Divergence(Tuple(fx, fy), Tuple(x, y))` is d fx/dx + d fy/dy."""

    nargs = (2,)

    @property
    def flux(self) -> tuple[Any, ...]:
        """Components of the flux."""
        return tuple(self.args[0])

    @property
    def over(self) -> tuple[Any, ...]:
        """Coordinates along which the components are differentiated."""
        return tuple(self.args[1])

    def doit(self, **hints: Any) -> Any:
        """Return the sum of plain SymPy derivatives; a jump of a coefficient leaves no trace in it."""
        return sp.Add(*[sp.Derivative(f.doit(**hints), s).doit(**hints) for f, s in zip(self.flux, self.over, strict=True)])

    def _eval_derivative(self, symbol: Any) -> Any:
        return Divergence(sp.Tuple(*[component.diff(symbol) for component in self.flux]), self.args[1])


class NormalComponent(sp.Function):
    """Component along a coordinate of the outward unit normal; has a value on boundaries only."""

    nargs = (1,)

    def _eval_derivative(self, symbol: Any) -> Any:
        return sp.Integer(0)


def _spatial_coordinates(expression: Any, over: Iterable[sp.Symbol] | None, operator: str) -> tuple[sp.Symbol, ...]:
    if over is not None:
        chosen = tuple(over) if isinstance(over, Iterable) else ()
        if not chosen or not all(isinstance(symbol, sp.Symbol) for symbol in chosen):
            raise ProblemError(f"{operator} was given over={over!r}; expected one or more coordinates such as over=(x, y)")
        return chosen
    found: list[sp.Symbol] = []
    for applied in sorted(sp.sympify(expression).atoms(sp.Function), key=str):
        if is_field(applied) or is_unknown(applied):
            found += [symbol for symbol in applied.args if symbol not in found]
    if not found:
        raise ProblemError(f"{operator} was given `{expression}`, which holds no field; name the coordinates with over=(x, y)")
    spatial = tuple(symbol for symbol in found if symbol.name != TIME_NAME)
    if not spatial:
        raise ProblemError(f"{operator} was given `{expression}`, which depends on the time `{TIME_NAME}` only; name the coordinates with over=")
    return spatial


def grad(expression: Any, over: Iterable[sp.Symbol] | None = None) -> Any:
    """Gradient as an immutable column matrix; `grad(T).dot(grad(T))` is |grad T|^2.

    Raises:
        ProblemError: an expression without a field and no `over=`.
    """
    scalar = scalar_entry("grad", expression)
    return sp.ImmutableMatrix([SpatialDerivative(scalar, symbol) for symbol in _spatial_coordinates(scalar, over, "grad")])


def div(flux: Any, over: Iterable[sp.Symbol] | None = None) -> Any:
    """Divergence of a vector, kept as a flux: `div(a * grad(u))` stays in divergence form, also for the grid solver.

    Raises:
        ProblemError: no vector, or a number of components that differs from the number of coordinates.
    """
    if not isinstance(flux, (Iterable, sp.MatrixBase)):
        raise ProblemError(f"div was given the scalar `{flux}`; expected a vector such as grad(u), or a list of components")
    components = [scalar_entry("a component of div", component) for component in flux]
    symbols = _spatial_coordinates(sp.Tuple(*components), over, "div")
    if len(components) != len(symbols):
        raise ProblemError(f"div was given {len(components)} components for the coordinates {symbols}; expected one each, or name them with over=")
    return Divergence(sp.Tuple(*components), sp.Tuple(*symbols))


def laplacian(expression: Any, over: Iterable[sp.Symbol] | None = None) -> Any:
    """Laplacian of a scalar expression.

    >>> from pinnsiren.language.symbols import coordinates, field
    >>> x, t = coordinates("x t")
    >>> laplacian(field("u", x, t)).doit()
    Derivative(u(x, t), (x, 2))
    """
    scalar = scalar_entry("laplacian", expression)
    return Laplacian(scalar, *_spatial_coordinates(scalar, over, "laplacian"))


def normal(*coordinates_or_field: Any) -> Any:
    """Outward unit normal as a column matrix, for use in `Constraint` on a boundary: `grad(u).dot(normal(u))`."""
    if len(coordinates_or_field) == 1 and not isinstance(coordinates_or_field[0], sp.Symbol):
        symbols = _spatial_coordinates(coordinates_or_field[0], None, "normal")
    else:
        symbols = _spatial_coordinates(sp.Integer(0), coordinates_or_field, "normal")
    return sp.ImmutableMatrix([NormalComponent(symbol) for symbol in symbols])


def expand_operators(expression: Any) -> Any:
    """Return the expression in plain SymPy derivatives; sources and layer heads stay."""
    heads = (SpatialDerivative, Laplacian, Divergence)
    while expression.has(*heads):
        expression = expression.replace(lambda node: isinstance(node, heads), lambda node: node.doit(deep=False))
    return expression.replace(lambda node: isinstance(node, sp.Derivative), lambda node: node.doit(deep=False))


def operator_coordinates(expression: sp.Basic) -> set[Any]:
    """Return every coordinate along which an operator of this module acts (plain `diff` does not count)."""
    found: set[Any] = set()
    for node in expression.atoms(SpatialDerivative, Laplacian, Divergence):
        found |= set(node.over if isinstance(node, Divergence) else node.args[1:])
    return found
