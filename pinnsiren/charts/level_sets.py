"""Level sets: where the coefficients of a declaration jump.

Input: expressions with `Piecewise` coefficients. Output: functions whose zero sets are the surfaces of the jumps, positive on one side. Absolute
values are taken apart, so that each function is smooth across its own zero set.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from sympy.logic.boolalg import And, Boolean, BooleanAtom, Not, Or

from pinnsiren.language.numeric import evaluate_on


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
            for group in _conjunctions(condition):
                for index, function in enumerate(group):
                    surface = LevelSet(function, tuple(group[:index] + group[index + 1 :]))
                    if all(sp.simplify(surface.function - other.function) != 0 for other in found):
                        found.append(surface)
    return tuple(found)


def _conjunctions(condition: Boolean) -> list[list[Any]]:
    """Return the condition as alternatives of functions that are all positive."""
    if isinstance(condition, Or):
        return [group for argument in condition.args for group in _conjunctions(argument)]
    if isinstance(condition, And):
        return [[function for argument in condition.args for group in _conjunctions(argument) for function in group]]
    if isinstance(condition, Not):
        return _conjunctions(condition.args[0])
    function = condition.lhs - condition.rhs
    if isinstance(condition, (sp.StrictLessThan, sp.LessThan)):
        function = -function
    return [_without_absolute_values(function)]


def _without_absolute_values(function: Any) -> list[Any]:
    """Split c - |a| > 0 into c - a > 0 and c + a > 0; c - sqrt(a) > 0 into c^2 - a > 0."""
    absolute = sorted(function.atoms(sp.Abs), key=str)
    if absolute:
        inner = absolute[0].args[0]
        return [piece for sign in (1, -1) for piece in _without_absolute_values(function.xreplace({absolute[0]: sign * inner}))]
    roots = [node for node in function.atoms(sp.Pow) if node.exp == sp.Rational(1, 2) and node.free_symbols]
    if len(roots) == 1:
        (root,), name = roots, sp.Dummy()
        sign = sp.diff(function.xreplace({root: name}), name)
        rest = sp.simplify(function - sign * root)
        # Squaring keeps the region only where both sides of the inequality are positive.
        if sign in (1, -1) and rest.is_number and -sign * rest > 0:
            return [sp.expand((rest**2 - root.base) * -sign)]
    return [sp.expand(function)]
