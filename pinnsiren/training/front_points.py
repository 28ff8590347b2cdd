"""Collocation points on axes that are stretched across fronts, and the weights of their rows.

Input: a compiled problem whose charts hold a stretch, a residual, points. Output: points spread evenly over the stretched axes, their density and the
row weights. A residual r is worth r / (what its operator makes of a feature of unit size that varies on the local scale): transport holds in place
what is wrong inside a front, so that an error there is about r times the width of the front.
"""

from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.charts.front_stretch import Stretch
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.residual_program import compile_residual
from pinnsiren.ir import Residual
from pinnsiren.language.domains.base import sobol
from pinnsiren.language.heads import StretchMap

Array = NDArray[np.float64]
EVEN_SHARE = 0.25  # of the points are spread evenly over the domain: a coarse solution does not know everything


def stretches_of(compiled: CompiledProblem) -> dict[int, Stretch]:
    """Return the stretch of each axis that a network input is stretched along, by the position of its coordinate."""
    found: dict[int, Stretch] = {}
    for chart in compiled.charts:
        for head in sp.sympify(chart.network_input or 0).atoms(StretchMap):
            symbol, _, low, high, periodic, *kernels = head.args
            numbers = tuple(map(float, kernels))
            axis = compiled.ir.coordinates.index(symbol)
            found[axis] = Stretch(float(low), float(high), bool(periodic), numbers[0::3], numbers[1::3], numbers[2::3])
    return found


def densities(stretches: dict[int, Stretch], points: Array) -> Array:
    """Return the density of points that are even on the stretched axes, relative to even ones, (n,)."""
    total = np.ones(len(points))
    for axis, stretch in stretches.items():
        total = total * stretch.density(points[:, axis]) * (stretch.high - stretch.low) / stretch.length
    return EVEN_SHARE + (1 - EVEN_SHARE) * total


def front_points(compiled: CompiledProblem, stretches: dict[int, Stretch], n_points: int, seed: int) -> Array:
    """Draw points of a box, most of them even on the stretched axes."""
    bounds = np.array([compiled.ir.domain.bounds[symbol] for symbol in compiled.ir.coordinates])
    cube = sobol(len(bounds), n_points, seed)
    points = bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) * cube
    graded = np.arange(n_points) >= EVEN_SHARE * n_points
    for axis, stretch in stretches.items():
        points[graded, axis] = stretch.physical((cube[graded, axis] - 0.5) * stretch.length)
    return np.asarray(points)


def part_points(stretches: dict[int, Stretch], points: Array, part_axis: int | None) -> Array:
    """Return even points of a boundary part moved to where they are even on the stretched axes that run along it."""
    moved = points.copy()
    for axis, stretch in stretches.items():
        if axis != part_axis:
            share = (points[:, axis] - stretch.low) / (stretch.high - stretch.low)
            moved[:, axis] = stretch.physical((share - 0.5) * stretch.length)
    return moved


def smallest_size(compiled: CompiledProblem, residual: Residual, stretches: dict[int, Stretch], points: Array) -> float:
    """Return what the operator makes of a feature of unit size on the local scale, where it makes least of it."""
    return float(np.min(_operator_sizes(compiled, residual, stretches, points)))


def local_weights(compiled: CompiledProblem, residual: Residual, stretches: dict[int, Stretch], points: Array) -> Array:
    """Return the weights (n,) of squared residuals: one where the operator is weakest on the local scale, less where it is stronger."""
    sizes = _operator_sizes(compiled, residual, stretches, points)
    return np.asarray((np.min(sizes) / sizes) ** 2)


def _operator_sizes(compiled: CompiledProblem, residual: Residual, stretches: dict[int, Stretch], points: Array) -> Array:
    program = next((known for known in compiled.programs if known.residual is residual), None) or compile_residual(residual, compiled.ir)
    evaluate = program.compile([*program.partials])
    partials = evaluate(program.coefficients(points), [np.ones((len(points), 1))] * len(program.jets), [])
    bounds: list[Any] = [compiled.ir.domain.bounds[symbol] for symbol in compiled.ir.coordinates]
    rates = [
        stretches[axis].density(points[:, axis]) if axis in stretches else np.full(len(points), 1 / (high - low))
        for axis, (low, high) in enumerate(bounds)
    ]
    total = np.zeros(len(points))
    for jet, partial in zip(program.jets, partials, strict=True):
        size = np.broadcast_to(np.abs(partial), (len(points), 1))[:, 0]
        if not sum(jet.orders) and len(program.jets) > 1:
            continue
        total += size * np.prod([rate**order for rate, order in zip(rates, jet.orders, strict=True)], axis=0)
    return np.asarray(np.maximum(total, 1e-300))
