"""How wrong a medium of the penalty formulation may be: the smoothest medium that explains the data as well, to first order, and what is left open.

    w(lambda) = argmin |r + J w|^2 + lambda (l + w)'P (l + w),     P the sum of squared differences,     lambda the largest with |r + J w|^2 <= phi

    var w = (J'J + lambda P)^-1 / n,     n rows

Two beliefs in few edges end near each other, wherever the truth is: on 14 random media it was 1.2 to 39 times as far away as they were apart. A
belief in no edges ends as far from them as the data allow, and its variance counts noise and what the data do not see. With A v = s P v and v'P v = 1
for A = J'J every lambda is a sum.

Input: medium, waves of all frequencies. Output: relative error of squared slowness or speed, the larger.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from pinnsiren.training.penalty.elimination import eliminate
from pinnsiren.training.penalty.roughness import Roughness
from pinnsiren.training.penalty.waves import Waves

Array = NDArray[Any]

# Times the distance to the witness and its deviation together, which the truth was 0.5 to 1.7 times away on 20 random media: a margin, not a bound.
SAFETY = 1.8
ALIKE = 1.02  # of phi: data that are met as well
WEIGHTS = 61  # of P, from what forbids everything down to what allows everything
SPAN = (1e4, 1e-10)  # of them, times the mean eigenvalue


def uncertainty(model: Array, log_start: Array, waves: Sequence[Waves], background: float, smooth: Roughness) -> float:
    """Return how wrong a medium may be, relative.

    Args:
        model: (n_centres,), squared slowness.
        log_start: logarithm of the start there.
        waves: of all frequencies.
        background: squared slowness of the surrounding.
        smooth: roughness of the power two.
    """
    parts = [eliminate(each, model, background, np.inf, np.zeros_like(each.incident)) for each in waves]
    share = 1 / np.sqrt(len(parts))
    rows, residual = share * np.concatenate([part.jacobian for part in parts]) * model, share * np.concatenate([part.residual for part in parts])
    change, penalty = np.log(model) - log_start, smooth.curvature(np.zeros(len(model))).toarray()
    values, vectors = scipy.linalg.eigh(rows.T @ rows, penalty)
    values = np.maximum(values, 0)
    pushed, drawn = vectors.T @ (rows.T @ residual), vectors.T @ (penalty @ change)
    met = ALIKE * max(float(residual @ residual), 1.0)
    for weight in np.geomspace(*SPAN, WEIGHTS) * float(values.mean()):
        step = vectors @ (-(pushed + weight * drawn) / (values + weight))
        left = residual + rows @ step
        if left @ left <= met:
            break
    # Noise alone has a residual whose squares sum to one: its rows have the variance 1 / n.
    deviation = np.sqrt(np.sum(vectors**2 / (values + weight), axis=1) / len(residual))
    apart = [_relative(np.expm1(power * step), model**power) for power in (1.0, -0.5)]
    moved = [_relative(abs(power) * deviation, model**power) for power in (1.0, -0.5)]
    return SAFETY * max(float(np.hypot(a, b)) for a, b in zip(apart, moved, strict=True))


def heard(log_start: Array, waves: Sequence[Waves], background: float) -> float:
    """Return what the data hear of the medium at all: how far the start misses them, times the noise."""
    model = np.exp(log_start)
    parts = [eliminate(each, model, background, np.inf, np.zeros_like(each.incident), derivative=False) for each in waves]
    return float(np.sqrt(np.mean([part.physical for part in parts])))


def _relative(change: Array, values: Array) -> float:
    """Return the norm of a relative change of values, relative to theirs."""
    return float(np.linalg.norm(change * values) / np.linalg.norm(values))
