"""Symbols of a declaration: coordinates, fields, unknown coefficients, sampled data.

Input: names and settings. Output: SymPy objects. A field is an applied undefined function whose class carries a frozen declaration; the
declaration takes part in SymPy's comparison of classes, so that two fields of one name and different settings are different symbols and no
registry is shared between problems. Fields carry no assumption of realness: `sp.Eq(u, 1 + 1j)` must stay an equation.
"""

import keyword
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from pinnsiren.errors import ProblemError
from pinnsiren.language.domains.base import AbstractDomain
from pinnsiren.language.entries import number_entry, scalar_entry


@dataclass(frozen=True)
class FieldDeclaration:
    """What is known of a field besides its name and coordinates."""

    name: str
    is_complex: bool
    shots: int | None


@dataclass(frozen=True)
class UnknownDeclaration:
    """A scalar that is solved for, with its initial value and bounds."""

    name: str
    initial: complex
    bounds: tuple[float, float]
    is_complex: bool


@dataclass(frozen=True)
class UnknownFieldDeclaration:
    """A coefficient field that is solved for; outside `support` it keeps its initial value. The coordinates are those of initial and support."""

    name: str
    coordinates: tuple[sp.Symbol, ...]
    initial: sp.Expr
    bounds: tuple[float, float]
    support: AbstractDomain | None


def coordinates(names: str) -> Any:
    """Return the real coordinate symbols of the given names, in order.

    Follows `sympy.symbols`: several names give a tuple, one name gives the symbol itself, one name with a trailing comma a tuple of one.

    Raises:
        ProblemError: if no name or a name twice is given.

    >>> coordinates("x y")
    (x, y)
    """
    parts = names.replace(",", " ").split() if isinstance(names, str) else []
    if not parts or len(set(parts)) != len(parts):
        raise ProblemError(f"coordinates were given as `{names}`; expected one or more different names in one text, such as \"x y\"")
    for part in parts:
        _check_name(part, "a coordinate")
    return sp.symbols(names, real=True)


def _check_name(name: str, what: str) -> None:
    # A keyword could not name an argument of a solution: solution(lambda=0.5) is no Python.
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise ProblemError(f"{what} was named `{name}`; expected a name of letters, digits and underscores such as \"u\", and no word of Python")


def _check_coordinates(name: str, symbols: Sequence[Any]) -> None:
    if not symbols:
        raise ProblemError(f"`{name}` was given no coordinates; expected for instance `{name}(x, y)`: pass the coordinates after the name")
    for symbol in symbols:
        if not isinstance(symbol, sp.Symbol):
            raise ProblemError(f"`{name}` was given `{symbol}` as a coordinate; expected symbols made by `coordinates`")
    if len(set(symbols)) != len(symbols):
        raise ProblemError(f"`{name}` was given coordinates {tuple(symbols)} with a repetition; name each coordinate once")


def field(name: str, *coordinate_symbols: sp.Symbol, complex: bool = False, shots: int | None = None) -> Any:
    """Declare an unknown function of the coordinates.

    Args:
        name: letters, digits and underscores.
        coordinate_symbols: the coordinates, in the order in which data and evaluations name them.
        complex: whether the values are complex.
        shots: number of independent right-hand sides that share the equation; the first axis of values is then the shot.

    Returns:
        An applied SymPy function; `u.diff(x)` and the operators of the language act on it.

    Raises:
        ProblemError: bad name, coordinates that are no symbols, a number of shots below one.

    >>> x, y = coordinates("x y")
    >>> field("u", x, y, complex=True).diff(x, 2)
    Derivative(u(x, y), (x, 2))
    """
    _check_name(name, "a field")
    _check_coordinates(name, coordinate_symbols)
    if shots is not None and (isinstance(shots, bool) or not isinstance(shots, int) or shots < 1):
        raise ProblemError(f"field `{name}` was given shots={shots}; expected a positive whole number or None")
    declaration = FieldDeclaration(name, bool(complex), shots)
    return sp.Function(name, declaration=declaration)(*coordinate_symbols)


def _check_bounds(name: str, bounds: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError) as error:
        raise ProblemError(f"unknown `{name}` was given bounds {bounds!r}; expected two numbers (low, high)") from error
    if not low < high:
        raise ProblemError(f"unknown `{name}` was given bounds ({low}, {high}); expected low < high")
    return low, high


def _starting_value(name: str, initial: Any, is_complex: bool) -> complex:
    expression = scalar_entry(f"unknown `{name}`", initial)
    if not expression.is_number or not expression.is_finite:
        raise ProblemError(f"unknown `{name}` starts at {initial}; expected a finite number")
    start = complex(expression)
    if start.imag and not is_complex:
        raise ProblemError(f"unknown `{name}` starts at the complex number {initial}; declare it with complex=True, or start at a real one")
    return start if is_complex else start.real


def unknown(name: str, initial: complex, bounds: tuple[float, float] = (-sp.oo, sp.oo), complex: bool = False) -> Any:
    """Declare a scalar that is solved for together with the fields.

    Raises:
        ProblemError: bounds out of order, or an initial value that is no finite number or lies outside them.
    """
    _check_name(name, "an unknown")
    low, high = _check_bounds(name, bounds)
    start = _starting_value(name, initial, complex)
    if not complex and not low <= start.real <= high:
        raise ProblemError(f"unknown `{name}` starts at {initial}, outside its bounds ({low}, {high}); move the start or the bounds")
    return sp.Function(name, declaration=UnknownDeclaration(name, start, (low, high), bool(complex)))()


def unknown_field(
    name: str, *coordinate_symbols: sp.Symbol, initial: Any, bounds: tuple[float, float], support: AbstractDomain | None = None
) -> Any:
    """Declare a coefficient field that is solved for, such as a conductivity, or the squared slowness of full-waveform inversion.

    It stands in equations and conditions as any expression does, `div(a * grad(u))` and `laplacian(u) + k**2 * m * u`, and may depend on some of the
    coordinates only: a speed c(x) in an equation for u(x, t). Observations of the fields, or of itself, determine it.

    Args:
        name: letters, digits and underscores.
        coordinate_symbols: the coordinates it depends on.
        initial: number or SymPy expression in these coordinates: where the search starts, and what is kept where the data say nothing.
        bounds: (low, high), kept at every point; infinities leave a side open.
        support: domain in these coordinates outside which the field keeps its initial value.

    Returns:
        An applied SymPy function.

    Raises:
        ProblemError: bad name, coordinates or bounds; an initial value outside the bounds or in other coordinates; a support in other coordinates.

    >>> x, y = coordinates("x y")
    >>> a = unknown_field("a", x, y, initial=1, bounds=(0.1, 10))
    >>> (a * field("u", x, y)).diff(x)
    a(x, y)*Derivative(u(x, y), x) + u(x, y)*Derivative(a(x, y), x)
    """
    _check_name(name, "an unknown field")
    _check_coordinates(name, coordinate_symbols)
    start = scalar_entry(f"unknown field `{name}`", initial)
    low, high = _check_bounds(name, bounds)
    strangers = start.free_symbols - set(coordinate_symbols)
    if strangers:
        raise ProblemError(
            f"unknown field `{name}` starts at `{start}`, which holds {', '.join(sorted(map(str, strangers)))}; expected the coordinates "
            f"{tuple(coordinate_symbols)} only: name the others as its coordinates too, or start from something else"
        )
    if start.is_number and not low <= number_entry(f"unknown field `{name}`", start) <= high:
        raise ProblemError(f"unknown field `{name}` starts at {start}, outside its bounds ({low}, {high}); move the start or the bounds")
    if support is not None and not isinstance(support, AbstractDomain):
        raise ProblemError(f"unknown field `{name}` was given support={support!r}; expected a domain such as Box({{x: (0, 1)}}), or None")
    if support is not None and support.coordinates != tuple(coordinate_symbols):
        raise ProblemError(
            f"unknown field `{name}` depends on {tuple(coordinate_symbols)} and was given a support in {support.coordinates}; expected the same "
            "coordinates in the same order"
        )
    declaration = UnknownFieldDeclaration(name, tuple(coordinate_symbols), start, (low, high), support)
    return sp.Function(name, declaration=declaration)(*coordinate_symbols)


def declaration_of(expression: Any) -> Any:
    """Return the frozen declaration behind an applied symbol of the language, or None."""
    return getattr(type(expression), "declaration", None)


def is_field(expression: Any) -> bool:
    """Whether the expression is a field made by `field`."""
    return isinstance(declaration_of(expression), FieldDeclaration)


def is_unknown(expression: Any) -> bool:
    """Whether the expression is a scalar or a coefficient field that is solved for."""
    return isinstance(declaration_of(expression), (UnknownDeclaration, UnknownFieldDeclaration))


def is_unknown_field(expression: Any) -> bool:
    """Whether the expression is a coefficient field made by `unknown_field`."""
    return isinstance(declaration_of(expression), UnknownFieldDeclaration)


def at_initial_values(expression: Any) -> Any:
    """Return an expression with unknown scalars and coefficient fields at their declared initial values, for sizes that a method starts from."""
    found = {node: sp.sympify(declaration_of(node).initial) for node in expression.atoms(AppliedUndef) if is_unknown(node)}
    replaced = expression.xreplace(found)
    return replaced.replace(lambda node: isinstance(node, sp.Derivative) and not node.atoms(AppliedUndef), lambda node: node.doit(deep=False))


def applied_symbols(expression: sp.Basic) -> list[Any]:
    """Return the applied undefined functions in an expression (fields, unknowns, sampled data), sorted by name."""
    return sorted(expression.atoms(AppliedUndef), key=str)
