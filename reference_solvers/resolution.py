"""Data that fall between the points of a grid: what two grids agree on missing.

Input: a declaration and the axes of a grid solution. Output: the share of the data that no point of the grid sees. Comparing two grids says nothing
of a peak that neither of them samples, so every source, coefficient, boundary and initial value is also looked at inside the cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Box, Dirichlet, Divergence, GaussianSource, InitialCondition, Neumann, Problem, Robin, SpaceTime, SpatialDerivative
from pinnsiren.language.sources import SourceFamily, select_shot
from pinnsiren.language.symbols import is_field

from .evaluation import evaluator, may_jump

Array = NDArray[Any]
Axes = Mapping[Any, NDArray[np.float64]]

# A cell in which data and the straight lines between its points differ by more than this share of the data around holds something that the grid
# misses. A jump between two points gives at most 1/3 in the mean (from -1 to 1, beside a point), a wave of four points per wavelength 0.3 at most.
_UNLIKE = 0.4
_EVALUATIONS = 2_000_000
_FEWEST, _MOST = 3, 64
_LINES = 12
# Points per axis at which terms are compared, and what is left of them in fp64 where they cancel.
_PROBES = 12
_CANCELLED = 1e-12


def unseen_share(problem: Problem, axes: Axes) -> float:
    """The largest share of any source, coefficient or prescribed value that lies between the points of a grid.

    Shares are of the L2 norm, for what jumps of the mean of the modulus.

    Args:
        problem: the declaration.
        axes: grid positions of the solution inside the declared domain, per coordinate.

    Returns:
        0 when all data are seen, 1 when some are missed altogether.
    """
    worst = 0.0
    for expression, places in _data(problem, axes):
        worst = max(worst, _missed(expression, places))
    return worst


def with_unseen(estimate: float, problem: Problem, axes: Axes) -> float:
    """An error estimate from differences of grids, with what no grid saw."""
    return float(np.hypot(estimate, unseen_share(problem, axes))) if np.isfinite(estimate) else estimate


def _data(problem: Problem, axes: Axes) -> Iterator[tuple[Any, Axes]]:
    """Expressions with the axes on which they matter."""
    shots = range(problem.n_shots or 1)
    for equation in problem.equations:
        for part in _known_parts(sp.sympify(equation), set(axes)):
            for shot in shots if part.has(SourceFamily) else (0,):
                # Narrow Gaussian sources are recognised by the solvers themselves: resolved, or split off.
                yield select_shot(part, shot).replace(lambda node: isinstance(node, GaussianSource), lambda node: sp.Integer(0)), axes
    space = problem.domain.space if isinstance(problem.domain, SpaceTime) else problem.domain
    for condition in problem.conditions:
        if isinstance(condition, InitialCondition) and isinstance(problem.domain, SpaceTime):
            start = {problem.domain.time: problem.domain.time_bounds[0]}
            values: tuple[Any, ...] = (condition.value,)
            places = [start]
        elif isinstance(condition, Dirichlet | Neumann | Robin) and isinstance(space, Box):
            values = (condition.value, *((condition.a, condition.b) if isinstance(condition, Robin) else ()))
            places = _faces(condition.on, space)
        else:
            continue
        for value, fixed, shot in product(values, places, shots):
            expression = sp.sympify(select_shot(sp.sympify(value), shot)).subs(fixed)
            yield expression, {symbol: axis for symbol, axis in axes.items() if symbol not in fixed}


def _faces(on: Any, space: Box) -> list[dict[Any, float]]:
    names = space.boundary_parts() if isinstance(on, str) and on == "boundary" else (on,) if isinstance(on, str) else on
    fixed = []
    for name in names if isinstance(names, tuple) else ():
        if name in space.boundary_parts():
            axis, side = space.face(name)
            symbol = space.coordinates[axis]
            fixed.append({symbol: space.bounds[symbol][1 if side > 0 else 0]})
    return fixed


def _known_parts(node: Any, symbols: set[Any]) -> Iterator[Any]:
    """The maximal parts of an expression that hold coordinates and no field."""
    if not any(is_field(atom) for atom in sp.preorder_traversal(node)):
        # The tuple of coordinates of a divergence is no data.
        if isinstance(node, sp.Expr) and node.free_symbols & symbols:
            yield node
        return
    if is_field(node) or isinstance(node, (sp.Derivative, SpatialDerivative)):
        return
    if isinstance(node, Divergence):
        # What resists a flux counts as much as what lets it pass: a thin layer that hardly conducts is a wall.
        for term in (term for component in node.flux for term in sp.Add.make_args(component)):
            yield from _known_parts(term, symbols)
            factors = [factor for factor in sp.Mul.make_args(term) if not any(is_field(atom) for atom in sp.preorder_traversal(factor))]
            if term != sp.Mul(*factors) and sp.Mul(*factors).free_symbols & symbols:
                yield 1 / sp.Mul(*factors)
        return
    if isinstance(node, (sp.Add, sp.Mul)):
        known = [argument for argument in node.args if not any(is_field(atom) for atom in sp.preorder_traversal(argument))]
        yield from _known_parts(node.func(*known), symbols) if known else ()
        arguments = [argument for argument in node.args if argument not in known]
    else:
        arguments = [argument for argument in node.args if isinstance(argument, sp.Basic)]
    for argument in arguments:
        yield from _known_parts(argument, symbols)


def _missed(expression: Any, axes: Axes) -> float:
    used = {symbol: axis for symbol, axis in axes.items() if symbol in expression.free_symbols}
    if not used:
        return 0.0
    try:
        evaluate = evaluator(expression, tuple(used))
    except ReferenceSolverError:
        return 0.0
    nodes = list(used.values())
    if _is_rounding(expression, used):
        return 0.0
    jumps = may_jump(expression)
    every = tuple(range(len(nodes)))
    # All cells with few points each, then the cells of one coordinate with many, on some lines: pulses are often narrow in one coordinate alone.
    worst = _missed_in_cells(evaluate, nodes, every, jumps)
    for axis in every if len(nodes) > 1 else ():
        lines = [points if i == axis else points[:: max(1, len(points) // _LINES)] for i, points in enumerate(nodes)]
        worst = max(worst, _missed_in_cells(evaluate, lines, (axis,), jumps))
    return worst


def _is_rounding(expression: Any, axes: Axes) -> bool:
    """Whether terms that cancel leave nothing but rounding, as the source does that was computed from a solution of the homogeneous equation."""
    terms = sp.Add.make_args(expression)
    if len(terms) < 2:
        terms = sp.Add.make_args(sp.expand_mul(expression))
    if len(terms) < 2:
        return bool(terms[0] == 0)
    points = [nodes[np.unique(np.linspace(0, len(nodes) - 1, _PROBES).astype(int))] for nodes in axes.values()]
    # Off the nodes too, where something narrow may hide.
    points = [np.sort(np.concatenate([nodes, 0.618 * nodes[:-1] + 0.382 * nodes[1:]])) for nodes in points]
    whole = float(np.max(np.abs(_values(evaluator(expression, tuple(axes)), points)), initial=0.0))
    size = sum(float(np.max(np.abs(_values(evaluator(term, tuple(axes)), points)), initial=0.0)) for term in terms)
    return 0.0 < whole <= _CANCELLED * size


def _missed_in_cells(evaluate: Any, nodes: list[Array], scanned: tuple[int, ...], jumps: bool) -> float:
    """The share that lies between the nodes of the scanned axes, at the given positions of the others."""
    sizes = [float(len(axis) - 1 if i in scanned else len(axis)) for i, axis in enumerate(nodes)]
    count = int(np.clip((_EVALUATIONS / np.prod(sizes)) ** (1 / len(scanned)), _FEWEST, _MOST))
    inside = list(nodes)
    for i in scanned:
        inside[i] = (nodes[i][:-1, None] + np.diff(nodes[i])[:, None] * (np.arange(count) + 0.5) / count).ravel()
    dense, nodal = _values(evaluate, inside), _values(evaluate, nodes)
    drawn = nodal
    for i in scanned:
        drawn = np.apply_along_axis(partial(np.interp, inside[i], nodes[i]), i, drawn)
    # Solvers average jumps over cells, so there the mean counts; of what is smooth the points should see every peak.
    power = 1 if jumps else 2

    def cells(values: Array, reduce: Callable[..., Array]) -> Array:
        for i in scanned:
            shape = values.shape
            values = reduce(values.reshape(*shape[:i], shape[i] // count, count, *shape[i + 1 :]), axis=i + 1)
        return values

    highest, lowest = nodal, nodal
    for i in scanned:
        last = nodal.shape[i] - 1
        highest = np.maximum(np.take(highest, range(last), i), np.take(highest, range(1, last + 1), i))
        lowest = np.minimum(np.take(lowest, range(last), i), np.take(lowest, range(1, last + 1), i))
    beside = tuple(3 if i in scanned else 1 for i in range(len(nodes)))
    means = np.maximum(cells(np.abs(dense), np.mean), cells(np.abs(drawn), np.mean))
    around = maximum_filter(means, size=beside) + maximum_filter(highest, size=beside) - minimum_filter(lowest, size=beside)
    widths = np.ones(())
    for i, axis in enumerate(nodes):
        widths = np.multiply.outer(widths, np.diff(axis) if i in scanned else np.ones(len(axis)))
    apart = np.abs(dense - drawn)
    between = cells(apart, np.mean if jumps else np.max)
    missed = np.where(between > _UNLIKE * around, cells(apart**power, np.mean), 0.0)
    total = float(np.sum(cells(np.abs(dense) ** power, np.mean) * widths))
    return min(1.0, (float(np.sum(missed * widths)) / total) ** (1 / power)) if total > 0 else 0.0


def _values(evaluate: Any, axes: list[Array]) -> Array:
    values = np.real(evaluate(*np.meshgrid(*axes, indexing="ij")))
    return np.where(np.isfinite(values), values, 0.0)
