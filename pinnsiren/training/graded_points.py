"""Graded collocation points: mixtures of even points with those that charts at holes and corners want, and the weights of their rows.

Input: a compiled problem, points. Output: further points, their density, row weights. Sums over rows approximate

    integral of (l^m residual)^2 dx / l^d,   l = min(distance from the centres, half side of the domain),

m the order of the residual and d the dimension of the region in space: every residual is measured on the scale on which the solution varies there, so
that no weight between equations and conditions has to be guessed. Without such charts l is constant and nothing changes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinnsiren.charts.gradings import AbstractGrading
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.ir import Residual
from pinnsiren.language.domains.base import sobol
from pinnsiren.language.locations import space_of
from pinnsiren.training.front_points import densities, local_weights, stretches_of

Array = NDArray[np.float64]
N_PROBES = 1024  # finds the share of graded points inside the domain to a few per cent, which only sets their number


@dataclass(frozen=True)
class GradedPiece:
    """Points drawn for one grading: `density` is per area or volume of the region, for all of them together."""

    points: Array
    grading: AbstractGrading
    n_drawn: int


def gradings_of(compiled: CompiledProblem) -> list[tuple[AbstractGrading, float]]:
    """Return the gradings of the charts and the share of features that live on each."""
    return [(chart.grading, chart.share) for chart in compiled.charts if chart.grading is not None]


def interior_piece(compiled: CompiledProblem, grading: AbstractGrading, n_points: int, seed: int) -> GradedPiece:
    """Draw about `n_points` points of the computational domain."""
    domain = compiled.ir.domain
    share = float(np.mean(domain.contains(_with_further(compiled, grading.draw(N_PROBES, seed), seed))))
    n_drawn = int(np.ceil(n_points / max(share, 0.05)))
    drawn = _with_further(compiled, grading.draw(n_drawn, seed), seed)
    return GradedPiece(drawn[domain.contains(drawn)], grading, n_drawn)


def interior_density(compiled: CompiledProblem, pieces: list[GradedPiece], points: Array) -> Array:
    """Return the density of all graded points together at points (n, n_coordinates)."""
    total = np.zeros(len(points))
    n_space = len(space_of(compiled.ir.domain).coordinates)
    further = _further_measure(compiled)
    for piece in pieces:
        total += piece.n_drawn * piece.grading.density(points[:, :n_space]) / further
    return total


def part_points(compiled: CompiledProblem, part: str, n_points: int, seed: int) -> tuple[list[Array], list[tuple[AbstractGrading, int]]]:
    """Draw `n_points` graded points of a boundary part for every grading that wants some."""
    points, drawn = [], []
    for index, (grading, _) in enumerate(gradings_of(compiled)):
        own = grading.draw_on_part(part, n_points, seed + 13 * (index + 1))
        if own is not None:
            points.append(_with_further(compiled, own, seed))
            drawn.append((grading, n_points))
    return points, drawn


def part_density(compiled: CompiledProblem, part: str, drawn: list[tuple[AbstractGrading, int]], points: Array) -> Array:
    """Return the density of all graded points of a boundary part together."""
    n_space = len(space_of(compiled.ir.domain).coordinates)
    total = np.zeros(len(points))
    for grading, n_points in drawn:
        total += n_points * grading.density_on_part(part, points[:, :n_space]) / _further_measure(compiled)
    return total


def row_weights(compiled: CompiledProblem, residual: Residual, points: Array) -> Array:
    """Return the weights (n,) of squared residuals under the even measure of the region (mean square, so that its size does not matter)."""
    stretches = stretches_of(compiled)
    if stretches and residual.kind == "equation":
        return densities(stretches, points) * local_weights(compiled, residual, stretches, points)
    gradings = gradings_of(compiled)
    space = space_of(compiled.ir.domain)
    part = residual.region.part
    if not gradings or (part is not None and part not in space.boundary_parts()):
        return np.ones(len(points))
    n_space = len(space.coordinates)
    half_side = 0.5 * space.size
    length = np.full(len(points), half_side)
    for grading, _ in gradings:
        length = np.minimum(length, grading.distance(points[:, :n_space]))
    order = max((jet.order for jet in compiled.ir.jets if residual.expression.has(jet.symbol)), default=0)
    dimension, extent = (n_space, 1.0) if part is None else (n_space - 1, space.boundary_measure(part) / (2 * half_side) ** (n_space - 1))
    return np.asarray(extent * (length / half_side) ** (2 * order - dimension))


def _further_measure(compiled: CompiledProblem) -> float:
    bounds = list(compiled.ir.domain.bounds.values())[len(space_of(compiled.ir.domain).coordinates) :]
    return float(np.prod([high - low for low, high in bounds]))


def _with_further(compiled: CompiledProblem, points: Array, seed: int) -> Array:
    """Append even values of the coordinates that gradings do not know, such as the time."""
    bounds = np.array(list(compiled.ir.domain.bounds.values())[points.shape[1] :]).reshape(-1, 2)
    if not len(bounds):
        return points
    even = sobol(len(bounds), len(points), seed + 5)
    return np.hstack([points, bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) * even])
