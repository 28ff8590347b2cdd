"""Error of a trained model by defect correction: solve the linearised equations for the error itself, in another space of functions.

L e = -r with r the residual of the model; the sine features of least squares are rich enough for the part of e that the operator amplifies, and they
share nothing with the network that made r.
"""

from dataclasses import dataclass

import numpy as np
import torch

from pinnsiren.charts import features_for_bandwidth
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.language.symbols import declaration_of
from pinnsiren.training.error_estimate import RESIDUAL_SHARE, ROUNDING
from pinnsiren.training.feature_model import FeatureModel, build_bases, draw_all
from pinnsiren.training.front_points import stretches_of
from pinnsiren.training.method import FittedModel, RunSettings
from pinnsiren.training.probes import probe_points, without_free_constants
from pinnsiren.training.row_system import RIDGE, RowSystem, solve_least_squares

SAFETY = 1.5  # the features see most, not all of the error
SMALLEST, LARGEST = 300, 1500
REDUNDANCY, OVERSAMPLING = 1.3, 2.5
REDUNDANCY_WITH_UNKNOWNS = 5.0  # the response of a smooth field to a scalar is smooth
# A second space, of few functions with many digits. What an operator nearly annuls, such as a standing wave beside resonance, is smooth, and a space
# that holds it to two digits says that the operator does not annul it; so is what operators of fourth order hardly see, and a network that was
# stopped early leaves: a correction in the wide space alone was 2e-2 where the error was 0.38.
SMOOTH_SIZE, SMOOTH_REDUNDANCY = 400, 4.0
# Field, relative to its size, per scaled residual above which equations hardly see a function. Measured: 1 to 10 for elliptic, wave, heat and
# transport problems, 1e4 for growth by exp(8), 1e6 to 1e13 at resonance. What is left of the residual then may hide a change of the field; growth
# that is resolved to many digits hides little.
UNSEEN, HIDDEN = 1e5, 0.3
SEED = 77_003
DETERMINED = 1e-3  # share of the effect of a unit change of the unknowns that no change of the fields undoes


@dataclass(frozen=True)
class DefectEstimate:
    """What defect correction says of a model.

    Attributes:
        error: relative L2 inside the declared domain; of the unknown scalars too. Infinite when they are not determined.
        undetermined: names of the unknown scalars that equations, conditions and observations leave free, alone or in combination; those of the
            fields where the equations do not see some function at all.
    """

    error: float
    undetermined: tuple[str, ...] = ()


def estimate_by_defect(compiled: CompiledProblem, settings: RunSettings, model: FittedModel) -> DefectEstimate:
    """Return the estimated error of a model: the larger of the corrections in a wide and in a smooth space.

    Whether the equations see every function is asked of models that would do only: what a run that is not done yet leaves hides more than it will.
    """
    found = _corrected(compiled, settings, model)
    if compiled.ir.unknowns:
        return found
    smooth = _corrected(compiled, settings, model, smooth=True, weighed=found.error <= settings.tolerance)
    return DefectEstimate(max(found.error, smooth.error), smooth.undetermined)


def _corrected(
    compiled: CompiledProblem, settings: RunSettings, model: FittedModel, *, smooth: bool = False, weighed: bool = False
) -> DefectEstimate:
    scales = compiled.scales
    # Across fronts the features live on the stretched axes; a wavenumber read off a nonlinear term says nothing of them.
    wavenumber = 0.0 if stretches_of(compiled) else scales.wavenumber
    size = int(np.clip(2.5 * features_for_bandwidth(1.5 * wavenumber, scales.half_lengths), SMALLEST, LARGEST))
    if len(scales.half_lengths) == 1:
        size = min(size, 200)
    redundancy = REDUNDANCY_WITH_UNKNOWNS if compiled.ir.unknowns else REDUNDANCY
    if smooth:
        size, redundancy = min(size, SMOOTH_SIZE), SMOOTH_REDUNDANCY
    frequencies = tuple(draw_all(compiled, size, redundancy, SEED + settings.seed))
    bases = build_bases(compiled, frequencies)
    dtype = torch.complex128 if compiled.is_complex else torch.float64
    system = RowSystem(compiled, bases, torch.device(settings.device), dtype)
    n_points = int(OVERSAMPLING * sum(basis.n_features for basis in bases) / len(bases))
    samples = system.samples(n_points, SEED + 1)
    matrix, right = system.rows(samples, model)
    solved, undetermined, relative = solve_least_squares(matrix, right), tuple[str, ...](), 0.0
    if compiled.ir.unknowns:
        solved, undetermined, relative = _with_unknowns(compiled, matrix, right, system.unknown_columns(samples, model), model)
    correction = FeatureModel(bases, frequencies, system.split(solved))
    probes, zero = probe_points(compiled), (0,) * len(compiled.ir.coordinates)
    worst, squares = relative, 0.0
    fields = range(len(bases))
    wholes = without_free_constants(compiled, [model.evaluate(i, probes, zero) + compiled.known_part(i, probes, zero) for i in fields])
    if weighed:
        gain = _largest_gain(compiled, system, matrix, [float(np.sqrt(np.mean(np.abs(whole) ** 2))) or 1.0 for whole in wholes])
        left = float(torch.linalg.vector_norm(right)) / np.sqrt(right.shape[1])
        if gain > UNSEEN and gain * left > HIDDEN:
            return DefectEstimate(np.inf, tuple(str(declaration_of(field).name) for field in compiled.original.fields))
    changes = without_free_constants(compiled, [correction.evaluate(i, probes, zero) for i in fields])
    for whole, change in zip(wholes, changes, strict=True):
        norm = float(np.linalg.norm(whole))
        worst = max(worst, float(np.linalg.norm(change)) / max(norm, 1e-300))
        squares += norm**2 / len(probes)
    residual = float(right.abs().pow(2).sum().sqrt()) / np.sqrt(right.shape[1]) / max(np.sqrt(squares / len(bases)), 1e-300)
    error = float(max(SAFETY * worst, RESIDUAL_SHARE * residual, ROUNDING))
    return DefectEstimate(np.inf if undetermined else error, undetermined)


def _largest_gain(compiled: CompiledProblem, system: RowSystem, matrix: torch.Tensor, sizes: list[float]) -> float:
    """Return the largest ratio of the root mean square of the fields, in units of their sizes, to the norm of their rows.

    Args:
        compiled: the problem.
        system: its rows.
        matrix: (n_rows, n_features); all combinations of features are looked at.
        sizes: root mean square of the whole fields, by which the ratio is free of units.
    """
    probes = probe_points(compiled)
    weights = {(0,) * len(compiled.ir.coordinates): np.ones(len(probes))}
    blocks = [basis.matrix(probes, weights, torch, system.convert).to(matrix.dtype) for basis in system.bases]
    blocks = [block - block.mean(dim=0) if index in compiled.free_constants else block for index, block in enumerate(blocks)]
    blocks = [block / size for block, size in zip(blocks, sizes, strict=True)]
    norms = torch.linalg.vector_norm(matrix, dim=0)
    norms = torch.where(norms > 0, norms, torch.ones_like(norms))
    ridge = RIDGE * torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    triangle = torch.linalg.qr(torch.cat([matrix / norms, ridge]), mode="r").R
    values = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    responses = torch.linalg.solve_triangular(triangle, values / norms, upper=True, left=False)
    largest = float(torch.linalg.eigvalsh(responses.mH @ responses)[-1])
    return float(np.sqrt(max(largest, 0.0) / len(probes)))


def _with_unknowns(
    compiled: CompiledProblem, matrix: torch.Tensor, right: torch.Tensor, columns: torch.Tensor, model: FittedModel
) -> tuple[torch.Tensor, tuple[str, ...], float]:
    """Correct fields and unknown scalars together.

    A scalar whose effect on the rows some change of the fields undoes is not determined. Shots share the scalars, so their rows are stacked.

    Args:
        matrix: (n_rows, n_features).
        right: (n_rows, n_shots).
        columns: (n_unknowns, n_rows, n_shots), derivatives of the residuals with respect to the unknowns.

    Returns:
        correction of the fields (n_features, n_shots), names of the undetermined unknowns, largest relative correction of an unknown.
    """
    names = [str(declaration_of(unknown).name) for unknown in compiled.ir.unknowns]
    flat = columns.permute(1, 2, 0).reshape(len(matrix), -1)
    responses = solve_least_squares(matrix, flat)  # of the fields to the unknowns
    left = (flat - matrix @ responses).reshape(len(matrix), -1, len(names)).flatten(0, 1)
    sizes = torch.linalg.vector_norm(columns.flatten(1), dim=1)
    fields = solve_least_squares(matrix, right)
    _, singular, directions = torch.linalg.svd(left / torch.where(sizes > 0, sizes, torch.ones_like(sizes)), full_matrices=False)
    if float(singular[-1]) < DETERMINED:
        weak = directions[-1].abs()
        return fields, tuple(name for name, weight in zip(names, weak.tolist(), strict=True) if weight > 0.1), np.inf
    rest = (right - matrix @ fields).reshape(-1, 1)
    change = torch.linalg.lstsq(left, rest).solution
    moved = fields - (responses.reshape(matrix.shape[1], -1, len(names)) @ change)[:, :, 0]
    values = [max(abs(value), 1e-12) for value in model.unknowns]
    return moved, (), float(max(abs(c) / v for c, v in zip(change[:, 0].tolist(), values, strict=True)))
