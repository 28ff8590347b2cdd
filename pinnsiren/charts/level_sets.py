"""Level sets: where the coefficients of a declaration jump.

Input: expressions with `Piecewise` coefficients. Output: functions whose zero sets are the surfaces of the jumps, positive on one side. Absolute
values, maxima and minima are taken apart, so that each function is smooth across its own zero set.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from sympy.logic.boolalg import And, Boolean, BooleanAtom, Or

from pinnsiren.language.numeric import evaluate_on

NOT_SMOOTH = (sp.Abs, sp.Max, sp.Min, sp.sign, sp.Heaviside, sp.Piecewise)  # a level set with such heads has no normal everywhere


@dataclass(frozen=True)
class LevelSet:
    """A surface {function = 0}, part of the edge of the region where `siblings` are positive too."""

    function: Any
    siblings: tuple[Any, ...] = ()

    def maximum(self, symbols: tuple[sp.Symbol, ...], points: NDArray[np.float64]) -> float:
        """Return the largest value of the function at the points."""
        return float(np.max(evaluate_on(self.function, symbols, points)))


def level_sets(expression: Any, symbols: tuple[sp.Symbol, ...]) -> tuple[LevelSet, ...]:
    """Return the surfaces of all `Piecewise` in the coordinates, without repetition."""
    found: list[LevelSet] = []
    for piecewise in sorted(expression.atoms(sp.Piecewise), key=str):
        for _, condition in piecewise.args:
            if isinstance(condition, BooleanAtom) or not condition.free_symbols & set(symbols):
                continue
            for group in _conjunctions(sp.to_nnf(condition)):
                for index, function in enumerate(group):
                    if function.has(*NOT_SMOOTH) or not function.free_symbols:
                        continue
                    surface = LevelSet(function, tuple(group[:index] + group[index + 1 :]))
                    if all(sp.simplify(surface.function - other.function) != 0 for other in found):
                        found.append(surface)
    return tuple(found)


def _conjunctions(condition: Boolean) -> list[list[Any]]:
    """Return the condition as alternatives of functions that are all positive."""
    if isinstance(condition, Or):
        return [group for argument in condition.args for group in _conjunctions(argument)]
    if isinstance(condition, And):
        return _products([_conjunctions(argument) for argument in condition.args])
    function = condition.lhs - condition.rhs
    if isinstance(condition, (sp.StrictLessThan, sp.LessThan)):
        function = -function
    return _smooth_pieces(function)


def _products(alternatives: list[list[list[Any]]]) -> list[list[Any]]:
    """Return the alternatives of a conjunction: one choice from each factor, all together."""
    return [[function for group in choice for function in group] for choice in product(*alternatives)]


def _smooth_pieces(function: Any) -> list[list[Any]]:
    """Return function > 0 as alternatives of smooth functions that are all positive.

    Max(a, b), of which |a| = Max(a, -a) is a case, is above a number where one argument is, and below it where both are. Where the function
    is neither increasing nor decreasing in it, nothing is taken apart.
    """
    kinks = sorted(function.atoms(sp.Abs, sp.Max, sp.Min), key=lambda node: (-sp.count_ops(node), str(node)))
    for node in kinks:
        name = sp.Dummy()
        slope = sp.diff(function.xreplace({node: name}), name)
        if not slope.is_number or slope == 0:
            continue
        arguments = (node.args[0], -node.args[0]) if isinstance(node, sp.Abs) else node.args
        pieces = [_smooth_pieces(function.xreplace({node: argument})) for argument in arguments]
        one_is_enough = bool(slope > 0) != isinstance(node, sp.Min)
        return [group for piece in pieces for group in piece] if one_is_enough else _products(pieces)
    return [[_simple(function)]]


def _simple(function: Any) -> Any:
    """Turn c - sqrt(a) > 0 into c^2 - a > 0, and an odd power into its base."""
    while isinstance(function, sp.Pow) and function.exp.is_Integer and function.exp.is_odd and function.exp > 0:
        function = function.base
    roots = [node for node in function.atoms(sp.Pow) if node.exp == sp.Rational(1, 2) and node.free_symbols]
    if len(roots) == 1:
        (root,), name = roots, sp.Dummy()
        sign = sp.diff(function.xreplace({root: name}), name)
        rest = sp.simplify(function - sign * root)
        # Squaring keeps the region only where both sides of the inequality are positive.
        if sign in (1, -1) and rest.is_number and -sign * rest > 0:
            return sp.expand((rest**2 - root.base) * -sign)
    return sp.expand(function)
