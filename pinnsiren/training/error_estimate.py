"""How wrong a solution is, estimated without a reference.

Two sizes of one method differ by about the error of the smaller one; the error of the larger one follows from the ratio q of their residuals at fresh
points as for a geometric sequence, difference * q / (1 - q). What the declaration itself neglects, the reflection of its layers and what they make
of sources that reach into them, is added.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.residual_program import ResidualProgram
from pinnsiren.ir import Residual
from pinnsiren.training.graded_points import row_weights
from pinnsiren.training.method import FittedModel
from pinnsiren.training.row_system import RowSystem, residual_system
from pinnsiren.training.sampling import FACE_DENSITY, PointSet, sample_residual
from pinnsiren.training.scaling import residual_scale

SMALLEST_RATIO, LARGEST_RATIO = 0.2, 0.9  # a lucky residual is not trusted beyond a factor of five, a stagnating one counts ninefold
RESIDUAL_SHARE = 0.02  # of the scaled residual at fresh points; errors below this share of it were never seen
IRREDUCIBLE, IRREDUCIBLE_SHARE = 0.97, 0.3  # a residual that more features leave as it is may come from equations that contradict each other
UNRESOLVED = 1.0  # a scaled residual above this, also at the points of the fit: two sizes may then agree and both be far off
ROUNDING = 1e-13
DENSE_WORK = 2.5e7  # points times features of the dense check, about a second
DENSE_POINTS = (4096, 65536)
CROWD = 2**17  # points at which only data and coefficients are evaluated
CROWD_VALUES = 2**24  # of points and shots: the mean square is over both, so that many shots need fewer points each
SHARPEST = 512  # of them, those with the largest values
EXPECTED_SPREAD = 3.0  # a dense set of points may see a residual this much larger by the luck of the draw
RESIDUAL_FLOOR = 1e-9  # below, residuals are rounding


def relative_difference(a: Sequence[NDArray[Any]], b: Sequence[NDArray[Any]], known: Sequence[NDArray[Any]]) -> float:
    """Return the relative L2 distance of two unknown parts, relative to the whole fields; the worst field counts."""
    worst = 0.0
    for first, second, base in zip(a, b, known, strict=True):
        norm = float(np.linalg.norm(first + base))
        worst = max(worst, float(np.linalg.norm(first - second)) / max(norm, 1e-300))
    return worst


def estimate_from_sizes(
    values: Sequence[NDArray[Any]],
    previous: Sequence[NDArray[Any]],
    known: Sequence[NDArray[Any]],
    ratio: float,
    fresh_residual: float,
    training_residual: float = 0.0,
) -> float:
    """Return the estimated relative error of the larger of two sizes."""
    q = float(np.clip(ratio, SMALLEST_RATIO, LARGEST_RATIO))
    difference = relative_difference(values, previous, known)
    unresolved = min(training_residual, fresh_residual)
    share = RESIDUAL_SHARE if ratio < IRREDUCIBLE else IRREDUCIBLE_SHARE
    return max(difference * q / (1 - q), share * fresh_residual, unresolved if unresolved > UNRESOLVED else 0.0, ROUNDING)


def with_the_unseen(
    estimate: float,
    compiled: CompiledProblem,
    model: FittedModel,
    fresh_residual: float,
    amplitude: float,
    cost: int,
    seed: int,
    system: RowSystem | None = None,
) -> float:
    """Return the estimate, raised where the residual is larger on a dense set of points than on the fresh ones.

    What is narrower than the distance between collocation points, a source or boundary data written out by hand for instance, is seen by neither
    training nor fresh points, and two sizes of a method agree on missing it.

    Args:
        estimate: relative error.
        compiled: the problem.
        model: the model about to be called a success.
        fresh_residual: its scaled residual at fresh points, relative to the amplitude.
        amplitude: root mean square of the fields.
        cost: work per point, such as the number of features; the number of points is chosen accordingly.
        seed: of the dense points.
        system: evaluates the residuals of the model; None for a model of the shots themselves.
    """
    n_points = int(np.clip(DENSE_WORK / max(cost, 1), *DENSE_POINTS))
    n_crowd = int(np.clip(CROWD_VALUES // compiled.ir.n_shots, CROWD // 8, CROWD))
    conditions = [program for program in compiled.programs if program.residual.kind != "equation"]
    system = system or residual_system(compiled)
    total = 0.0
    for index, program in enumerate(compiled.programs):
        share = n_points if program.residual.kind == "equation" else max(DENSE_POINTS[0], n_points // max(len(conditions), 1))
        drawn = _dense_points(compiled, program.residual, share, seed + index)
        if drawn is not None:
            total += _mean_square(system, program, model, drawn)
        if program.residual.given is not None:
            continue  # no sharper than the features it was made of, and costly in a crowd
        crowd = _dense_points(compiled, program.residual, n_crowd, seed + 500 + index)
        if drawn is not None and crowd is not None:
            sharpest = _sharpest(system, program, crowd)
            total += _mean_square(system, program, model, sharpest, drawn) * len(sharpest.points) / len(crowd.points)
    dense = np.sqrt(total) / max(amplitude, 1e-300)
    factor = float(dense / max(EXPECTED_SPREAD * fresh_residual, RESIDUAL_FLOOR))
    return estimate if factor <= 1 else max(estimate * factor, RESIDUAL_SHARE * float(dense))


def _dense_points(compiled: CompiledProblem, residual: Residual, n_points: int, seed: int) -> PointSet | None:
    """Draw about `n_points` points where a residual lives; None for points that are all known, and for interfaces, which carry no data."""
    dimension = len(compiled.ir.coordinates)
    if residual.level_set is not None or residual.region.kind == "points":
        return None
    if residual.kind == "equation":
        points = compiled.ir.domain.sample_interior(n_points, seed)
        return PointSet(points, weights=row_weights(compiled, residual, points))
    if residual.region.kind == "domain":
        return sample_residual(compiled, residual, n_points, seed)
    if dimension == 1:
        return None
    return sample_residual(compiled, residual, int((n_points / FACE_DENSITY) ** (dimension / (dimension - 1))), seed)


def _sharpest(system: RowSystem, program: ResidualProgram, crowd: PointSet) -> PointSet:
    """Return the points of a crowd where data and coefficients are largest: there the residual has to be looked at."""
    step = max(1, CROWD // system.compiled.ir.n_shots)  # 2 MiB of complex numbers at once
    size = np.concatenate([_data_size(system, program, crowd, slice(start, start + step)) for start in range(0, len(crowd.points), step)])
    size = size if crowd.weights is None else np.sqrt(crowd.weights) * size
    chosen = np.argpartition(-size, SHARPEST)[:SHARPEST] if len(size) > SHARPEST else np.arange(len(size))
    normals, other, weights = (None if array is None else array[chosen] for array in (crowd.normals, crowd.other_side, crowd.weights))
    return PointSet(crowd.points[chosen], normals, other, weights=weights)


def _data_size(system: RowSystem, program: ResidualProgram, crowd: PointSet, window: slice) -> NDArray[np.float64]:
    """Return how large data and coefficients are at some points of a crowd, the largest of all shots."""
    points = crowd.points[window]
    ones = [np.ones((len(points), 1))] * len(program.jets)
    coefficients = program.coefficients(points, None if crowd.normals is None else crowd.normals[window])
    unknowns = system.unknowns(program, None)
    size = np.zeros(len(points))
    for jets in ([0 * one for one in ones], ones):
        with np.errstate(all="ignore"):
            value = program.compile([program.algebra])(coefficients, jets, unknowns)[0]
        size = size + np.nan_to_num(np.max(np.abs(np.broadcast_to(value, np.broadcast_shapes(np.shape(value), (len(size), 1)))), axis=1))
    return size


def _mean_square(system: RowSystem, program: ResidualProgram, model: FittedModel, drawn: PointSet, scaled_at: PointSet | None = None) -> float:
    """Return the mean square of the scaled residual; the scale is that at `scaled_at`."""
    scale = residual_scale(system.compiled, program, scaled_at or drawn, system.unknowns(program, model))
    squared = np.mean(np.abs(system.residual(program, drawn, model) / scale) ** 2, axis=1)
    return float(np.mean(squared if drawn.weights is None else drawn.weights * squared))


def known_errors(compiled: CompiledProblem) -> float:
    """Return what the declared layers reflect at normal incidence and make of sources inside them: a declared layer stands for free space."""
    return max((float(np.hypot(layer.reflection, layer.tails)) for layer in compiled.rewritten.layers), default=0.0)
