"""How wrong a solution is, estimated without a reference.

Two sizes of one method differ by about the error of the smaller one; the error of the larger one follows from the ratio q of their residuals at fresh
points as for a geometric sequence, difference * q / (1 - q). What the declaration itself neglects, the reflection of its layers, is added.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.lowering import unknown_symbol
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.training.method import FittedModel
from pinnsiren.training.sampling import PointSet
from pinnsiren.training.scaling import residual_scale

SMALLEST_RATIO, LARGEST_RATIO = 0.2, 0.9  # a lucky residual is not trusted beyond a factor of five, a stagnating one counts ninefold
RESIDUAL_SHARE = 0.02  # of the scaled residual at fresh points; errors below this share of it were never seen
UNRESOLVED = 1.0  # a scaled residual above this, also at the points of the fit: two sizes may then agree and both be far off
ROUNDING = 1e-13
DENSE_WORK = 2.5e7  # points times features of the dense check, about a second
DENSE_POINTS = (4096, 65536)
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
    return max(difference * q / (1 - q), RESIDUAL_SHARE * fresh_residual, unresolved if unresolved > UNRESOLVED else 0.0, ROUNDING)


def unseen_factor(compiled: CompiledProblem, model: FittedModel, fresh_residual: float, amplitude: float, cost: int, seed: int) -> float:
    """Return how much larger the residual of the equations is on a dense set of points than on the fresh ones, at least 1.

    What is narrower than the distance between collocation points, a source written out by hand for instance, is seen by neither training nor fresh
    points, and two sizes of a method agree on missing it.

    Args:
        compiled: the problem.
        model: the model about to be called a success.
        fresh_residual: its scaled residual at fresh points, relative to the amplitude.
        amplitude: root mean square of the fields.
        cost: work per point, such as the number of features; the number of points is chosen accordingly.
        seed: of the dense points.
    """
    n_points = int(np.clip(DENSE_WORK / max(cost, 1), *DENSE_POINTS))
    total = 0.0
    unknowns = dict(zip((unknown_symbol(u) for u in compiled.ir.unknowns), (complex(v).real for v in model.unknowns), strict=True))
    for program in compiled.programs:
        if program.residual.kind != "equation":
            continue
        drawn = PointSet(compiled.ir.domain.sample_interior(n_points, seed))
        used = [unknowns[symbol] for symbol in program.unknowns]
        jets = [model.evaluate(jet.field, drawn.points, jet.orders) for jet in program.jets]
        value = program.compile([program.algebra])(program.coefficients(drawn.points), jets, used)[0]
        modulus = np.abs(np.broadcast_to(value, (n_points, compiled.ir.n_shots)) / residual_scale(compiled, program, drawn, used))
        total += float(np.mean(modulus**2))
    dense = np.sqrt(total) / max(amplitude, 1e-300)
    return float(max(1.0, dense / max(EXPECTED_SPREAD * fresh_residual, RESIDUAL_FLOOR)))


def known_errors(compiled: CompiledProblem) -> float:
    """Return what the declared layers reflect at normal incidence: a declared layer stands for free space."""
    return max((layer.reflection for layer in compiled.rewritten.layers), default=0.0)
