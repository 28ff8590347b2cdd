"""Shots that differ in numbers only: one symbolic expression with parameters stands for all of them.

Input: an expression with source families. Output: `ShotGroup`s, and their values at points. SymPy takes tens of milliseconds to prepare an
expression for NumPy; a survey of a thousand shots has one or two shapes of source, and a thousand sets of numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.language.numeric import evaluator
from pinnsiren.language.sources import GaussianSource, RickerWavelet, families_in

_OPEN = (sp.Add, sp.Mul, sp.Pow, sp.Tuple, GaussianSource, RickerWavelet, sp.exp, sp.sin, sp.cos)
"""Heads whose numbers may differ from shot to shot; what stands under another head has to be equal."""

BLOCK = 1 << 22  # values of one temporary array, 32 MiB


@dataclass(frozen=True)
class ShotGroup:
    """Shots of one shape.

    Attributes:
        expression: the expression of each of them, numbers replaced by `parameters`.
        parameters: symbols.
        shots: their indices.
        values: (n_parameters, n_shots of the group).
    """

    expression: Any
    parameters: tuple[sp.Symbol, ...]
    shots: tuple[int, ...]
    values: NDArray[np.float64]

    def evaluate(self, symbols: Sequence[sp.Symbol], points: NDArray[Any]) -> NDArray[Any]:
        """Return the values at points (n_points, n_symbols), (n_points, n_shots of the group)."""
        return self.evaluate_part(self.expression, symbols, points)

    def evaluate_part(self, part: Any, symbols: Sequence[sp.Symbol], points: NDArray[Any]) -> NDArray[Any]:
        """Return the values of another expression in the group's parameters."""
        compiled = evaluator([part], [*symbols, *self.parameters])
        n_shots, step = len(self.shots), max(1, BLOCK // len(self.shots))
        blocks = []
        for start in range(0, len(points), step):
            here = points[start : start + step]
            # Flat, as the functions of the language take their arguments.
            columns = np.concatenate([np.repeat(here, n_shots, axis=0), np.tile(self.values.T, (len(here), 1))], axis=1)
            blocks.append(compiled(columns)[0].reshape(len(here), n_shots))
        return np.concatenate(blocks)


def group_shots(expression: Any, n_shots: int) -> list[ShotGroup]:
    """Return the groups of an expression with source families.

    Example:
        >>> from pinnsiren.language.sources import SourceFamily
        >>> x = sp.Symbol("x", real=True)
        >>> [group.shots for group in group_shots(2 * SourceFamily([3 * x, sp.sin(x), 5 * x]), 3)]
        [(0, 2), (1,)]
    """
    families = families_in(expression)
    members: dict[Any, list[tuple[int, list[float]]]] = {}
    for shot in range(n_shots):
        numbers: list[float] = []
        shape = tuple(_shape(family.args[shot], numbers) for family in families)
        members.setdefault(shape, []).append((shot, numbers))
    return [_group(expression, families, entries) for entries in members.values()]


def _group(expression: Any, families: list[Any], entries: list[tuple[int, list[float]]]) -> ShotGroup:
    table = np.array([numbers for _, numbers in entries], dtype=np.float64).reshape(len(entries), -1).T
    first = entries[0][0]
    parameters = tuple(sp.Dummy(f"p{index}", real=True) for index in range(len(table)))
    rest = iter(parameters)
    # A group of one shot keeps its numbers, with all that SymPy knows of them.
    if len(entries) == 1:
        table, parameters = table[:0], ()
        replaced = {family: family.args[first] for family in families}
    else:
        replaced = {family: _with_parameters(family.args[first], rest) for family in families}
    return ShotGroup(expression.xreplace(replaced), parameters, tuple(shot for shot, _ in entries), table)


def _shape(node: Any, numbers: list[float]) -> Any:
    """Return what two expressions have in common when they differ in numbers only; the numbers are appended."""
    if isinstance(node, sp.Number) and node.is_finite:
        numbers.append(float(node))
        return None
    if not isinstance(node, _OPEN) or not node.args:
        return node
    if isinstance(node, sp.Pow):
        # Exponents stay: x**2 and x**3 are evaluated by different code, and a fraction says where the power is real.
        return (sp.Pow, _shape(node.base, numbers), node.exp)
    return (node.func, *(_shape(argument, numbers) for argument in node.args))


def _with_parameters(node: Any, parameters: Any) -> Any:
    """Return an expression with its numbers replaced, in the order in which `_shape` finds them."""
    if isinstance(node, sp.Number) and node.is_finite:
        return next(parameters)
    if not isinstance(node, _OPEN) or not node.args:
        return node
    if isinstance(node, sp.Pow):
        return sp.Pow(_with_parameters(node.base, parameters), node.exp)
    return node.func(*[_with_parameters(argument, parameters) for argument in node.args])


@dataclass(frozen=True)
class ShotEvaluator:
    """An expression affine in its source families, a + sum_k b_k F_k, or any other, ready for NumPy.

    Attributes:
        groups: per family its shots by shape; a single entry for an expression that is not affine in the families.
        outer: a, then the b_k, without families; None where the expression is not affine.
        n_shots: length of the shot axis.
        symbols: columns of the points.
    """

    groups: tuple[list[ShotGroup], ...]
    outer: Any
    n_shots: int
    symbols: tuple[sp.Symbol, ...]

    @classmethod
    def of(cls, expression: Any, n_shots: int, symbols: Sequence[sp.Symbol]) -> "ShotEvaluator":
        """Prepare an expression."""
        families = families_in(expression)
        names = {family: sp.Dummy(f"family{index}") for index, family in enumerate(families)}
        named = expression.xreplace(names)
        slopes = [sp.diff(named, name) for name in names.values()]
        if any(slope.free_symbols & set(names.values()) for slope in slopes):
            return cls((group_shots(expression, n_shots),), None, n_shots, tuple(symbols))
        rest = named.xreplace(dict.fromkeys(names.values(), sp.Integer(0)))
        outer = evaluator([rest, *slopes], symbols)
        return cls(tuple(group_shots(family, n_shots) for family in families), outer, n_shots, tuple(symbols))

    def __call__(self, points: NDArray[Any]) -> NDArray[Any]:
        """Return the values at points (n_points, n_symbols), (n_points, n_shots)."""
        if self.outer is None:
            return self._family(self.groups[0], points)
        rest, *slopes = self.outer(points)
        total = rest[:, None] + np.zeros((1, self.n_shots))
        for slope, groups in zip(slopes, self.groups, strict=True):
            total = total + slope[:, None] * self._family(groups, points)
        return np.asarray(total)

    def _family(self, groups: list[ShotGroup], points: NDArray[Any]) -> NDArray[Any]:
        parts = [group.evaluate(self.symbols, points) for group in groups]
        result = np.empty((len(points), self.n_shots), dtype=np.result_type(*parts))
        for group, part in zip(groups, parts, strict=True):
            result[:, list(group.shots)] = part
        return result
