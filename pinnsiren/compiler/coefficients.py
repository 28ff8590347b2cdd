"""Coefficients of a linear expression in the derivatives of one field.

Input: an expression in plain SymPy derivatives. Output: {multi-index: coefficient} and the field-free rest, or None when it is not affine.
"""

from typing import Any

import sympy as sp

from pinnsiren.ir import MultiIndex
from pinnsiren.language.operators import expand_operators
from pinnsiren.language.sources import families_aside


def multi_index(node: Any, symbols: tuple[sp.Symbol, ...]) -> MultiIndex:
    """Return the orders of differentiation of a derivative (or of the field itself) along the coordinates."""
    counts = {symbol: int(count) for symbol, count in node.variable_count} if isinstance(node, sp.Derivative) else {}
    return tuple(counts.get(symbol, 0) for symbol in symbols)


def derivatives_of(expression: Any, candidate: Any) -> list[Any]:
    """Return the field and its derivatives that occur, highest order first."""
    found = {node for node in expression.atoms(sp.Derivative) if node.expr == candidate}
    # Dummies and not zeros: in u * u_x the field would vanish with its derivative.
    if expression.xreplace({node: sp.Dummy() for node in found}).has(candidate):
        found.add(candidate)
    return sorted(found, key=lambda node: (-sum(multi_index(node, candidate.args)), str(node)))


def linear_coefficients(equation: Any, candidate: Any) -> tuple[dict[MultiIndex, Any], Any] | None:
    """Split an equation into coefficients of the derivatives of one field and the rest.

    Returns:
        ({multi-index: coefficient}, rest) with equation = sum coefficient * derivative + rest; None when it is not affine in the field.
    """
    expression, families = families_aside(equation, candidate)
    expression = expand_operators(expression)
    names = {node: sp.Dummy() for node in derivatives_of(expression, candidate)}
    plain = expression.xreplace(names)
    coefficients = {}
    for node, name in names.items():
        coefficient = sp.diff(plain, name)
        if coefficient.has(*names.values()):
            return None
        coefficients[multi_index(node, candidate.args)] = _with_families(coefficient, families)
    rest = plain.xreplace(dict.fromkeys(names.values(), sp.Integer(0)))
    return coefficients, _with_families(rest, families)


def _with_families(expression: Any, families: dict[Any, Any]) -> Any:
    return expand_operators(expression.xreplace(families)) if expression.free_symbols & families.keys() else expression
