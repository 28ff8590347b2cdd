"""The residual of the declared equations, from derivatives of the solution alone.

Input: a solution and points. Output: what is left of each equation, relative to its largest term. This reads the declaration anew, without the
compiler: a compiler that solves another equation than the declared one shows here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.language import Problem, declaration_of, expand_operators, expand_sources, is_field, is_unknown, select_shot
from pinnsiren.language.numeric import evaluator
from pinnsiren.solution import Solution

from .points import in_cores

Array = NDArray[Any]


def declared_residual(solution: Solution, points: Array, shot: int = 0) -> Array:
    """Return the root mean square over the equations of their residuals at points (n, n_coordinates), shape (n,), relative to the largest term.

    Raises:
        EvaluationError: the equation holds something that a solution cannot be asked for, such as a third derivative.
    """
    problem: Problem = solution.problem
    columns = {str(symbol): points[:, index] for index, symbol in enumerate(problem.coordinates)}
    # A narrow source peaks at a thousand times the other terms: its core does not set the scale.
    counted = ~in_cores(points, tuple(solution.cores))
    total = np.zeros(len(points))
    complex_total: list[Array] = []
    for equation in problem.equations:
        plain = sp.expand_mul(expand_sources(expand_operators(select_shot(equation, shot))))
        values = _term_values(solution, plain, problem, points, columns, shot)
        scale = max(float(np.sqrt(np.mean(np.abs(value[counted]) ** 2))) for value in values) or 1.0
        residual = np.sum(values, axis=0) / scale
        complex_total.append(residual)
        total = total + np.abs(residual) ** 2
    return complex_total[0] if len(complex_total) == 1 else np.sqrt(total / len(complex_total))


def _term_values(solution: Solution, plain: Any, problem: Problem, points: Array, columns: dict[str, Array], shot: int) -> list[Array]:
    replaced: dict[Any, Any] = {}
    symbols: list[sp.Symbol] = list(problem.coordinates)
    extended = [points[:, index] for index in range(points.shape[1])]

    def stand_in(node: Any, values: Array) -> None:
        # Two real columns per complex quantity: coordinate functions such as Piecewise compare real numbers only.
        real, imaginary = sp.Dummy("re", real=True), sp.Dummy("im", real=True)
        replaced[node] = real + sp.I * imaginary if np.iscomplexobj(values) else real
        symbols.append(real)
        extended.append(np.real(values))
        if np.iscomplexobj(values):
            symbols.append(imaginary)
            extended.append(np.imag(values))

    derivatives = sorted((node for node in plain.atoms(sp.Derivative) if is_field(node.expr) or is_unknown(node.expr)), key=str)
    for node in derivatives:
        stand_in(node, _derivative(solution, node, columns, shot))
    marked = plain.xreplace(dict(replaced))
    for node in sorted((n for n in marked.atoms(sp.Function) if is_field(n) or is_unknown(n)), key=str):
        name = declaration_of(node).name
        own = [problem.coordinates.index(symbol) for symbol in node.args]
        values = solution[name].at(points[:, own]) if node.args else np.full(len(points), solution[name])
        stand_in(node, _first(values, shot))
    finished = plain.xreplace(dict(replaced)).xreplace(dict(replaced))
    terms = sp.Add.make_args(finished)
    return list(evaluator(terms, symbols)(np.stack(extended, axis=1)))


def _derivative(solution: Solution, node: Any, columns: dict[str, Array], shot: int) -> Array:
    counts = [part for symbol, count in node.variable_count for part in (symbol, int(count))]
    function: Callable[..., Array] = solution[declaration_of(node.expr).name].derivative(*counts)
    return _first(function(**{str(symbol): columns[str(symbol)] for symbol in node.expr.args}), shot)


def _first(values: Any, shot: int) -> Array:
    array = np.asarray(values)
    return np.asarray(array[shot]) if array.ndim == 2 else array
