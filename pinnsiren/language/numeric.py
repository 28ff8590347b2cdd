"""Numbers out of expressions of the language: the one place where SymPy is turned into NumPy for coordinate expressions.

Input: an expression without fields and points. Output: values. Sampled data and the layer's heads are evaluated by their own code, special
functions by SciPy.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.language.heads import NUMERIC_HEADS
from pinnsiren.language.operators import expand_operators
from pinnsiren.language.sampled import SampledDeclaration
from pinnsiren.language.sources import expand_sources
from pinnsiren.language.symbols import declaration_of


def _replace_sampled(expression: Any) -> tuple[Any, dict[str, Callable[..., Any]]]:
    """Replace sampled data and their derivatives by functions that SymPy can print."""
    functions: dict[str, Callable[..., Any]] = {}

    def named(declaration: SampledDeclaration, orders: tuple[int, ...]) -> Any:
        name = f"sampled_{declaration.digest[:16]}_{'_'.join(map(str, orders))}"
        functions[name] = lambda *points: declaration.evaluate(*points, derivatives=orders)
        return sp.Function(name)

    def is_sampled(node: Any) -> bool:
        return isinstance(declaration_of(node), SampledDeclaration)

    def replace_derivative(node: Any) -> Any:
        counts = {symbol: int(count) for symbol, count in node.variable_count}
        inner = node.expr
        return named(declaration_of(inner), tuple(counts.get(symbol, 0) for symbol in inner.args))(*inner.args)

    result = expression.replace(lambda node: isinstance(node, sp.Derivative) and is_sampled(node.expr), replace_derivative)
    result = result.replace(is_sampled, lambda node: named(declaration_of(node), (0,) * len(node.args))(*node.args))
    return result, functions


def compile_columns(expressions: Sequence[Any], symbols: Sequence[sp.Symbol]) -> Callable[..., list[Any]]:
    """Compile expressions into one function of as many arrays as there are symbols; values have the shape that broadcasting gives them."""
    prepared = []
    modules: dict[str, Callable[..., Any]] = dict(NUMERIC_HEADS)
    for expression in expressions:
        plain, functions = _replace_sampled(expand_sources(expand_operators(sp.sympify(expression))))
        modules.update(functions)
        prepared.append(plain)
    # cse=True shares what the expressions have in common; sampled functions are pure, so sharing them is safe.
    return sp.lambdify(list(symbols), prepared, modules=[modules, "scipy", "numpy"], cse=True)  # type: ignore[no-any-return]


def evaluator(expressions: Sequence[Any], symbols: Sequence[sp.Symbol]) -> Callable[[NDArray[Any]], list[NDArray[Any]]]:
    """Compile expressions of the coordinates into one NumPy function.

    Args:
        expressions: SymPy expressions without fields.
        symbols: columns of the points, in order.

    Returns:
        A function of points (n_points, n_coordinates) that returns one array (n_points,) per expression.
    """
    compiled = compile_columns(expressions, symbols)

    def evaluate(points: NDArray[Any]) -> list[NDArray[Any]]:
        columns = [points[:, index] for index in range(len(symbols))]
        with np.errstate(all="ignore"):
            values = compiled(*columns)
        return [np.array(np.broadcast_to(value, (len(points),))) for value in values]

    return evaluate


def evaluate_on(expression: Any, symbols: Sequence[sp.Symbol], points: NDArray[Any]) -> NDArray[Any]:
    """Return the values (n_points,) of one expression."""
    return evaluator([expression], symbols)(points)[0]
