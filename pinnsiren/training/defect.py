"""Error of a trained model by defect correction: solve the linearised equations for the error itself, in another space of functions.

L e = -r with r the residual of the model; the sine features of least squares are rich enough for the part of e that the operator amplifies, and they
share nothing with the network that made r.
"""

import numpy as np
import torch

from pinnsiren.charts import features_for_bandwidth
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.training.error_estimate import RESIDUAL_SHARE, ROUNDING
from pinnsiren.training.feature_model import FeatureModel, build_bases, draw_all
from pinnsiren.training.least_squares import RowSystem, solve_least_squares
from pinnsiren.training.method import FittedModel, RunSettings
from pinnsiren.training.probes import probe_points

SAFETY = 1.5  # the features see most, not all of the error
SMALLEST, LARGEST = 300, 1500
REDUNDANCY, OVERSAMPLING = 1.3, 2.5
SEED = 77_003


def estimate_by_defect(compiled: CompiledProblem, settings: RunSettings, model: FittedModel) -> float:
    """Return the estimated relative L2 error of a model inside the declared domain."""
    scales = compiled.scales
    size = int(np.clip(2.5 * features_for_bandwidth(1.5 * scales.wavenumber, scales.half_lengths), SMALLEST, LARGEST))
    if len(scales.half_lengths) == 1:
        size = min(size, 200)
    frequencies = tuple(draw_all(compiled, size, REDUNDANCY, SEED + settings.seed))
    bases = build_bases(compiled, frequencies)
    dtype = torch.complex128 if compiled.is_complex else torch.float64
    system = RowSystem(compiled, bases, torch.device(settings.device), dtype)
    n_points = int(OVERSAMPLING * sum(basis.n_features for basis in bases) / len(bases))
    matrix, right = system.rows(system.samples(n_points, SEED + 1), model)
    correction = FeatureModel(bases, frequencies, system.split(solve_least_squares(matrix, right)))
    probes, zero = probe_points(compiled), (0,) * len(compiled.ir.coordinates)
    worst, squares = 0.0, 0.0
    for index in range(len(bases)):
        whole = model.evaluate(index, probes, zero) + compiled.known_part(index, probes, zero)
        norm = float(np.linalg.norm(whole))
        worst = max(worst, float(np.linalg.norm(correction.evaluate(index, probes, zero))) / max(norm, 1e-300))
        squares += norm**2 / len(probes)
    residual = float(right.abs().pow(2).sum().sqrt()) / np.sqrt(right.shape[1]) / max(np.sqrt(squares / len(bases)), 1e-300)
    return float(max(SAFETY * worst, RESIDUAL_SHARE * residual, ROUNDING))
