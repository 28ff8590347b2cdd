"""How wrong a solution is, estimated without a reference.

Two sizes of one method differ by about the error of the smaller one; the error of the larger one follows from the ratio q of their residuals at fresh
points as for a geometric sequence, difference * q / (1 - q). What the declaration itself neglects, the reflection of its layers, is added.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem

SMALLEST_RATIO, LARGEST_RATIO = 0.2, 0.9  # a lucky residual is not trusted beyond a factor of five, a stagnating one counts ninefold
RESIDUAL_SHARE = 0.02  # of the scaled residual at fresh points; errors below this share of it were never seen
UNRESOLVED = 1.0  # a scaled residual above this, also at the points of the fit: two sizes may then agree and both be far off
ROUNDING = 1e-13


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


def known_errors(compiled: CompiledProblem) -> float:
    """Return what the declared layers reflect at normal incidence: a declared layer stands for free space."""
    return max((layer.reflection for layer in compiled.rewritten.layers), default=0.0)
