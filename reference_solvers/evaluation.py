"""Numbers from coefficient expressions: SymPy, sampled data, jumps.

Input: an expression and arrays of coordinates. Output: arrays. Jumps of a coefficient are averaged over cells here, because a grid point
beside an interface stands for its whole cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from sympy.core.function import AppliedUndef

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import GaussianSource, RickerWavelet
from pinnsiren.language.symbols import declaration_of

Array = NDArray[Any]
Evaluator = Callable[..., Array]

_JUMPING = (sp.Piecewise, sp.Heaviside, sp.sign, sp.floor, sp.ceiling)
# Sub-cells per axis: area fractions to about 1/(2 * 24^1.5) of the jump.
_SUBCELLS = {1: 256, 2: 24, 3: 8}


def may_jump(expression: Any) -> bool:
    """Whether the expression is written with a head that can jump, or holds sampled data of order one (kinks)."""
    if sp.sympify(expression).has(*_JUMPING):
        return True
    return any(getattr(declaration_of(node), "order", 9) < 2 for node in expression.atoms(AppliedUndef))


def evaluator(expression: Any, coordinates: Sequence[Any]) -> Evaluator:
    """A function of the coordinate arrays, broadcast, that gives the values of the expression.

    Raises:
        ReferenceSolverError: the expression holds something that has no value, such as an unknown function.
    """
    plain = sp.sympify(expression)
    plain = plain.replace(lambda node: isinstance(node, (GaussianSource, RickerWavelet)), lambda node: node.doit())
    tables: dict[Any, Evaluator] = {}
    for node in plain.atoms(sp.Derivative):
        if isinstance(node.expr, AppliedUndef):
            tables[node] = _sampled_evaluator(node.expr, node, coordinates)
    for node in plain.atoms(AppliedUndef):
        tables[node] = _sampled_evaluator(node, None, coordinates)
    marks = {node: sp.Dummy(f"table{number}") for number, node in enumerate(tables)}
    # Derivatives hold the functions that they differentiate, so they are replaced first.
    for node in sorted(marks, key=lambda n: not isinstance(n, sp.Derivative)):
        plain = plain.xreplace({node: marks[node]})
    foreign = plain.free_symbols - set(coordinates) - set(marks.values())
    if foreign or plain.has(sp.Derivative, sp.Subs, AppliedUndef):
        raise ReferenceSolverError(f"`{expression}` cannot be evaluated: unknown are {sorted(map(str, foreign)) or 'its functions'}")
    function = sp.lambdify([*coordinates, *marks.values()], plain, modules=["scipy", "numpy"], cse=True)

    def evaluate(*points: Any) -> Array:
        arrays = [np.asarray(p, dtype=float) for p in points]
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        if plain.has(sp.Piecewise):
            arrays = list(np.broadcast_arrays(*arrays))
        columns = [tables[node](*points) for node in marks]
        with np.errstate(all="ignore"):
            values = np.asarray(function(*arrays, *columns))
        if values.dtype.kind not in "fc":
            values = values.astype(float)
        return np.broadcast_to(values, shape)

    return evaluate


def check_finite(values: Array, expression: Any, points: Sequence[Array], coordinates: Sequence[Any]) -> None:
    """Refuse data that have no value at a point of the grid.

    Raises:
        ReferenceSolverError: names the expression and the first such point.
    """
    bad = ~np.isfinite(values)
    if np.any(bad):
        first = int(np.argmax(bad.ravel()))
        place = ", ".join(f"{c} = {np.broadcast_to(p, bad.shape).ravel()[first]:.4g}" for c, p in zip(coordinates, points, strict=True))
        raise ReferenceSolverError(f"`{expression}` is {values.ravel()[first]} at {place}, a point of the grid; expected finite values everywhere")


def _sampled_evaluator(applied: Any, derivative: Any, coordinates: Sequence[Any]) -> Evaluator:
    declaration = declaration_of(applied)
    if not hasattr(declaration, "evaluate"):
        raise ReferenceSolverError(f"`{applied}` has no values: it is neither sampled data nor a known function")
    arguments = [evaluator(argument, coordinates) for argument in applied.args]
    orders = tuple(0 for _ in applied.args)
    if derivative is not None:
        orders = tuple(sum(int(c) for s, c in derivative.variable_count if s == x) for x in applied.args)

    def evaluate(*points: Any) -> Array:
        return np.asarray(declaration.evaluate(*[a(*points) for a in arguments], derivatives=orders))

    return evaluate


def cell_average(evaluate: Evaluator, axes: Sequence[NDArray[np.float64]], widths: Sequence[float]) -> Array:
    """Values at the points of a tensor grid; where the coefficient jumps inside a cell, its mean over the cell.

    Args:
        evaluate: the coefficient.
        axes: grid positions per axis.
        widths: size of the cell about every grid point, per axis.
    """
    points = np.meshgrid(*axes, indexing="ij")
    values = np.array(evaluate(*points))
    flagged = jumping_cells(evaluate, points, widths, values)
    if flagged.any():
        values[flagged] = np.mean(_subcell_values(evaluate, [p[flagged] for p in points], widths), axis=-1)
    return values


def flux_average(evaluate: Evaluator, axes: Sequence[NDArray[np.float64]], widths: Sequence[float], along: int) -> Array:
    """As `cell_average`, harmonic along the flux and arithmetic across it: the flux is continuous, the gradient is not."""
    points = np.meshgrid(*axes, indexing="ij")
    values = np.array(evaluate(*points))
    flagged = jumping_cells(evaluate, points, widths, values)
    if flagged.any():
        dimension = len(axes)
        count = _SUBCELLS[dimension]
        samples = _subcell_values(evaluate, [p[flagged] for p in points], widths)
        cube = samples.reshape((-1,) + (count,) * dimension)
        harmonic = 1 / np.mean(1 / cube, axis=1 + along)
        values[flagged] = np.mean(harmonic.reshape(len(cube), -1), axis=-1)
    return values


def jumping_cells(evaluate: Evaluator, points: Sequence[Array], widths: Sequence[float], values: Array) -> NDArray[np.bool_]:
    """Cells where a 5^d probe spreads by more than a hundredth of the range of the whole coefficient."""
    spread = np.zeros(values.shape)
    offsets = np.meshgrid(*[w * np.linspace(-0.499, 0.499, 5) for w in widths], indexing="ij")
    for offset in zip(*(o.ravel() for o in offsets), strict=True):
        probe = evaluate(*[p + o for p, o in zip(points, offset, strict=True)])
        spread = np.maximum(spread, np.abs(probe - values))
    whole = float(np.max(np.abs(values - values.ravel()[0]), initial=0.0))
    return np.asarray(spread > 0.01 * max(whole, float(np.max(spread, initial=0.0))))


def _subcell_values(evaluate: Evaluator, centres: Sequence[Array], widths: Sequence[float]) -> Array:
    count = _SUBCELLS[len(widths)]
    steps = (np.arange(count) + 0.5) / count - 0.5
    offsets = [o.ravel() for o in np.meshgrid(*[w * steps for w in widths], indexing="ij")]
    return evaluate(*[c[:, None] + o[None, :] for c, o in zip(centres, offsets, strict=True)])
