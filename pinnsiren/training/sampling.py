"""Collocation points: where residuals are asked to vanish.

Input: a compiled problem, a number of points, a seed. Output: `PointSet` per residual. Low-discrepancy points in the computational domain, more of
them where charts focus, on boundary parts, on interfaces and pairs of faces (both sides), and the declared observation points.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import TrainingError
from pinnsiren.ir import Residual
from pinnsiren.language.domains import Box
from pinnsiren.language.domains.base import sobol
from pinnsiren.language.locations import sample_pair, space_of
from pinnsiren.language.numeric import evaluator
from pinnsiren.training.front_points import front_points, local_weights, stretches_of
from pinnsiren.training.front_points import part_points as moved_along
from pinnsiren.training.graded_points import gradings_of, interior_density, interior_piece, part_density, part_points, row_weights

Array = NDArray[np.float64]
DENSITY_EXPONENT = 1.0  # sums become integrals; smaller values give crowded regions more than their share
FACE_DENSITY = 2.0  # points per face in units of n_interior^((d-1)/d)
INTERFACE_OFFSET = 1e-9  # of the domain's size: distance of the two sides from the interface


@dataclass(frozen=True)
class PointSet:
    """Points of one residual.

    Attributes:
        points: (n_points, n_coordinates), physical units.
        normals: outward normals on boundary parts, else None.
        other_side: for interfaces and pairs of faces, the points on the other side, else None.
        values: (n_points, n_shots) measured values, else None.
        weights: (n_points,) relative weights.
        shot: index of the shot that the points belong to, None when they serve all.
    """

    points: Array
    normals: Array | None = None
    other_side: Array | None = None
    values: NDArray[Any] | None = None
    weights: Array | None = None


def sample_residual(compiled: CompiledProblem, residual: Residual, n_interior: int, seed: int) -> PointSet:
    """Draw the points of a residual; `n_interior` is the number an equation gets."""
    domain, dimension = compiled.ir.domain, len(compiled.ir.coordinates)
    on_faces = max(2, int(FACE_DENSITY * n_interior ** ((dimension - 1) / dimension)))
    region = residual.region
    if residual.level_set is not None:
        here, there = _interface_points(compiled, residual.level_set, on_faces, seed)
        return PointSet(here, other_side=there)
    if region.kind == "pair":
        here, there = sample_pair(region, domain, on_faces, seed)
        return PointSet(here, other_side=there)
    if region.kind == "part":
        assert region.part is not None
        drawn = _part_points(compiled, residual, on_faces, seed)
        return drawn if residual.given is None else replace(drawn, values=residual.given(drawn.points))
    if region.kind == "cloud":
        assert region.cloud is not None
        points, normals = region.cloud.sample(on_faces, seed)
        return PointSet(points, normals)
    if region.kind == "points":
        return _observed(residual)
    assert region.domain is not None
    if residual.kind == "equation":
        return _interior_points(compiled, residual, n_interior, seed)
    return PointSet(region.domain.sample_interior(n_interior, seed))


def _observed(residual: Residual) -> PointSet:
    points = residual.region.points
    assert points is not None
    if points.ndim == 3:
        raise TrainingError(
            f"{residual.label}: points that differ from shot to shot are not supported by the methods of this version; "
            "give one set of points (n, n_coordinates) and values (shots, n)"
        )
    values = None
    if residual.values is not None:
        values = np.atleast_2d(residual.values).T
    return PointSet(points, values=values, weights=residual.weights)


def _part_points(compiled: CompiledProblem, residual: Residual, n_points: int, seed: int) -> PointSet:
    """Spread points evenly over a boundary part, and add those that charts at its corners want."""
    domain, part = compiled.ir.domain, residual.region.part
    assert part is not None
    even, normals = domain.sample_boundary(part, n_points, seed)
    stretches = stretches_of(compiled)
    if stretches:
        space = space_of(domain)
        own = space.face(part)[0] if isinstance(space, Box) and part in space.boundary_parts() else None
        return PointSet(moved_along(stretches, even, own), normals)
    if not gradings_of(compiled):
        return PointSet(even, normals)
    pieces, drawn = part_points(compiled, part, n_points, seed)
    if pieces:
        normals = np.concatenate([normals, *(domain.outward_normals(part, piece) for piece in pieces)])
    points = np.concatenate([even, *pieces])
    density = len(even) / domain.boundary_measure(part) + part_density(compiled, part, drawn, points)
    weights = len(points) / domain.boundary_measure(part) / density * row_weights(compiled, residual, points)
    return PointSet(points, normals, weights=weights)


def _interior_points(compiled: CompiledProblem, residual: Residual, n_points: int, seed: int) -> PointSet:
    """Spread points over the domain, over the boxes where charts focus and by their gradings, in proportion to the features that live there.

    Weights turn sums over the points towards integrals: weight = (mean density / density)^DENSITY_EXPONENT, times that of `row_weights`.
    """
    domain = compiled.ir.domain
    stretches = stretches_of(compiled)
    if stretches:
        points = front_points(compiled, stretches, n_points, seed)
        return PointSet(points, weights=local_weights(compiled, residual, stretches, points))
    graded = gradings_of(compiled)
    shares: dict[Any, float] = {}
    for chart in compiled.charts:
        if chart.grading is None:
            shares[chart.focus] = shares.get(chart.focus, 0.0) + chart.share
    total = (sum(shares.values()) + sum(share for _, share in graded)) or 1.0
    counts = {box: int(n_points * share / total) for box, share in shares.items() if box is not None}
    pieces = [interior_piece(compiled, g, int(n_points * share / total), seed + 29 * (i + 1)) for i, (g, share) in enumerate(graded)]
    n_even = n_points - sum(counts.values()) - sum(len(piece.points) for piece in pieces)
    drawn = [domain.sample_interior(n_even, seed)]
    limits = np.array([domain.bounds[symbol] for symbol in domain.coordinates])
    boxes = []
    for index, (focus, count) in enumerate(counts.items()):
        box = np.array(focus)
        low, high = np.maximum(box[:, 0], limits[:, 0]), np.minimum(box[:, 1], limits[:, 1])
        inside = low + (high - low) * sobol(len(low), count, seed + 17 * (index + 1))
        drawn.append(inside[domain.contains(inside)])
        boxes.append((low, high, count / float(np.prod(high - low))))
    points = np.concatenate([*drawn, *(piece.points for piece in pieces)])
    density = n_even / domain.measure + interior_density(compiled, pieces, points)
    for low, high, dense in boxes:
        density += dense * np.all((points >= low) & (points <= high), axis=1)
    weights = (len(points) / domain.measure / density) ** DENSITY_EXPONENT
    weights = weights / np.mean(weights)
    return PointSet(points, weights=weights * row_weights(compiled, residual, points) if graded else weights)


def _interface_points(compiled: CompiledProblem, surface: Any, n_points: int, seed: int) -> tuple[Array, Array]:
    """Project points onto the zero set along the gradient and step off to both sides.

    Raises:
        TrainingError: the function changes its sign, yet Newton's method finds no zero (a flat or ragged function).
    """
    symbols = compiled.ir.coordinates
    domain = compiled.original.domain
    evaluate = evaluator([surface.function, *[sp.diff(surface.function, symbol) for symbol in symbols]], symbols)
    siblings = evaluator(surface.siblings, symbols) if surface.siblings else None
    points = domain.sample_interior(16 * n_points, seed)
    signs = np.sign(np.real(evaluate(points)[0]))
    gradient = np.zeros_like(points)
    for _ in range(20):
        value, *slopes = (np.real(array) for array in evaluate(points))
        gradient = np.stack(slopes, axis=1)
        points = points - (value / np.maximum(np.sum(gradient**2, axis=1), 1e-30))[:, None] * gradient
    # The distance to the zero, not the value: a flat function is small far from it, and both sides would lie on one.
    distance = np.abs(np.real(evaluate(points)[0])) / np.maximum(np.linalg.norm(gradient, axis=1), 1e-300)
    converged = np.all(np.isfinite(points), axis=1) & (distance < 0.1 * INTERFACE_OFFSET * domain.size)
    if not np.any(converged) and np.ptp(signs) > 0:
        raise TrainingError(
            f"the surface {surface.function} = 0, where a coefficient jumps, was not found by Newton's method; "
            "write the condition of the Piecewise with a function that crosses zero with a slope"
        )
    keep = domain.contains(points) & converged
    if siblings is not None:
        keep &= np.all([np.real(values) > 0 for values in siblings(np.nan_to_num(points))], axis=0)
    points, gradient = points[keep][:n_points], gradient[keep][:n_points]
    step = INTERFACE_OFFSET * domain.size * gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
    return points + step, points - step
