"""Shots that differ in numbers only: one symbolic expression with parameters stands for all of them.

Input: an expression with source families. Output: `ShotGroup`s, and their values at points. SymPy takes tens of milliseconds to prepare an
expression for NumPy; a survey of a thousand shots has one or two shapes of source, and a thousand sets of numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.language.numeric import compile_columns, evaluator
from pinnsiren.language.sources import GaussianSource, RickerWavelet, families_in

_OPEN = (sp.Add, sp.Mul, sp.Pow, sp.Tuple, GaussianSource, RickerWavelet, sp.exp, sp.sin, sp.cos)
"""Heads whose numbers may differ from shot to shot; what stands under another head has to be equal."""

_ELEMENTARY = (GaussianSource, RickerWavelet, sp.exp, sp.sin, sp.cos)

BLOCK = 1 << 18  # values of one temporary array, 2 MiB: what stays in cache


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

    def evaluate_part(self, part: Any, symbols: Sequence[sp.Symbol], points: NDArray[Any]) -> NDArray[Any]:
        """Return the values of an expression in the group's parameters at points (n_points, n_symbols), (n_points, n_shots of the group)."""
        return self.prepare(part, symbols)(points)

    def prepare(self, part: Any, symbols: Sequence[sp.Symbol]) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """Return `evaluate_part` as a function of the points, compiled once."""
        n_shots = len(self.shots)
        compiled = compile_columns([part], [*symbols, *self.parameters])
        # The heads of the language take flat arrays; elementary functions broadcast points against shots.
        flat = not all(isinstance(node, _ELEMENTARY) for node in part.atoms(sp.Function, sp.Piecewise))

        def evaluate(points: NDArray[Any]) -> NDArray[Any]:
            columns = [points[:, index : index + 1] for index in range(len(symbols))]
            numbers = [row[None, :] for row in self.values]
            if flat:
                columns = [np.repeat(column[:, 0], n_shots) for column in columns]
                numbers = [np.tile(number[0], len(points)) for number in numbers]
            with np.errstate(all="ignore"):
                value = np.asarray(compiled(*columns, *numbers)[0])
            return value.reshape(len(points), n_shots) if flat and value.ndim else np.broadcast_to(value, (len(points), n_shots))

        return evaluate


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


Prepared = tuple[list[int], Callable[[NDArray[Any]], NDArray[Any]]]


@dataclass(frozen=True)
class ShotEvaluator:
    """An expression affine in its source families, a + sum_k b_k F_k, or any other, ready for NumPy.

    Attributes:
        families: per family its groups, shots and their values at points; a single entry for an expression that is not affine in the families.
        outer: a, then the b_k, without families; None where the expression is not affine.
        n_shots: length of the shot axis.
    """

    families: tuple[list[Prepared], ...]
    outer: Callable[[NDArray[Any]], list[NDArray[Any]]] | None
    n_shots: int

    @classmethod
    def of(cls, expression: Any, n_shots: int, symbols: Sequence[sp.Symbol]) -> "ShotEvaluator":
        """Prepare an expression."""

        def prepared(part: Any) -> list[Prepared]:
            return [(list(group.shots), group.prepare(group.expression, symbols)) for group in group_shots(part, n_shots)]

        families = families_in(expression)
        names = {family: sp.Dummy(f"family{index}") for index, family in enumerate(families)}
        named = expression.xreplace(names)
        slopes = [sp.diff(named, name) for name in names.values()]
        if any(slope.free_symbols & set(names.values()) for slope in slopes):
            return cls((prepared(expression),), None, n_shots)
        rest = named.xreplace(dict.fromkeys(names.values(), sp.Integer(0)))
        return cls(tuple(prepared(family) for family in families), evaluator([rest, *slopes], symbols), n_shots)

    def __call__(self, points: NDArray[Any]) -> NDArray[Any]:
        """Return the values at points (n_points, n_symbols), (n_points, n_shots)."""
        step = max(1, BLOCK // self.n_shots)
        blocks = [self._block(points[start : start + step]) for start in range(0, len(points), step)] or [self._block(points)]
        return np.concatenate(blocks)

    def _block(self, points: NDArray[Any]) -> NDArray[Any]:
        if self.outer is None:
            return self._family(self.families[0], points)
        rest, *slopes = self.outer(points)
        total = rest[:, None] + np.zeros((1, self.n_shots))
        for slope, groups in zip(slopes, self.families, strict=True):
            total = total + slope[:, None] * self._family(groups, points)
        return np.asarray(total)

    def _family(self, groups: list[Prepared], points: NDArray[Any]) -> NDArray[Any]:
        if len(groups) == 1:
            return groups[0][1](points)
        parts = [evaluate(points) for _, evaluate in groups]
        result = np.empty((len(points), self.n_shots), dtype=np.result_type(*parts))
        for (shots, _), part in zip(groups, parts, strict=True):
            result[:, shots] = part
        return result
