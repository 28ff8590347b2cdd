"""Fields eliminated: for a given medium the best fields of all shots follow by least squares, with one factorisation per frequency.

    minimise over c  |(traces - data) / noise|^2 + rho |A c - q + b|^2,     A = charges + k^2 (m - m0) inside,  q = -k^2 (m - m0) u0

With e = A c - q + b this is |y - P e|^2 + rho |e|^2, P = receivers A^-1 and y what the fields with A c = q - b leave unexplained. What the data feel
of m is therefore S^(-1/2) y with S = 1 + P P' / rho: as rho grows, fields obey the equation; for small rho they obey the data and m is judged by the
equation. b is the multiplier of the equation over rho; b <- e, as in IR-WRI (Aghamiry, Gholami and Operto 2019, section 2), makes it hold in the end
at any rho.

Input: `Waves`, squared slowness at the centres, multipliers. Output: `Eliminated`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from pinnsiren.training.penalty.waves import Waves

Array = NDArray[Any]


@dataclass(frozen=True)
class Eliminated:
    """One frequency at a medium.

    Attributes:
        residual: (n_rows,), real, what the medium has to explain; its squares sum to the objective per trace.
        jacobian: (n_rows, n_centres), derivative in m with the fields following; empty when it was not asked for.
        physical: mean square misfit over the noise of the fields that obey the equation.
        relative: misfit of these fields relative to the data.
        charges: (n_centres, n_shots) of the best fields.
        obedient: the same of the fields that obey the equation.
        multipliers: (n_centres, n_shots), the next b.
        defect: norm of what the best fields leave of the equation, relative to its right side.
        sensitivity: mean square response of a trace, over its noise, to unit defects.
    """

    residual: Array
    jacobian: Array
    physical: float
    relative: float
    charges: Array
    obedient: Array
    multipliers: Array
    defect: float
    sensitivity: float


def eliminate(waves: Waves, model: Array, background: float, rho: float, multipliers: Array, derivative: bool = True) -> Eliminated:
    """Solve for the fields of all shots.

    Args:
        waves: one frequency.
        model: (n_centres,), squared slowness.
        background: m0.
        rho: weight of the equation; infinite for fields that obey it.
        multipliers: (n_centres, n_shots), b.
        derivative: compute the Jacobian.
    """
    survey = waves.survey
    contrast = waves.k_squared * (model - background)
    factors = scipy.linalg.lu_factor(waves.charges + contrast[:, None] * waves.inside, check_finite=False)
    response = scipy.linalg.lu_solve(factors, waves.to_receivers.T, trans=1, check_finite=False).T
    right = -contrast[:, None] * waves.incident
    count = float(survey.observed.sum())
    slack, rows, slopes, best = np.zeros_like(multipliers), [], [], multipliers
    sensitivity = []
    for shots, kept in _alike(survey.observed, survey.deviation):
        noise = survey.deviation[kept, shots[0]][:, None]
        heard = response[kept] / noise
        target = right[:, shots] - (multipliers[:, shots] if np.isfinite(rho) else 0)
        left = (survey.values[np.ix_(kept, shots)] - waves.direct[np.ix_(kept, shots)]) / noise - heard @ target
        gram = heard @ heard.conj().T
        sensitivity.append(float(np.trace(gram).real) / len(kept))
        whitener = np.linalg.cholesky(np.eye(len(kept)) + gram / rho)
        white = scipy.linalg.solve_triangular(whitener, left, lower=True)
        if np.isfinite(rho):
            slack[:, shots] = heard.conj().T @ scipy.linalg.solve_triangular(whitener.conj().T, white, lower=False) / rho
        rows.append(-white.T.ravel() / np.sqrt(count))
        slopes.append((shots, scipy.linalg.solve_triangular(whitener, heard, lower=True) / np.sqrt(count)))
    defects = slack - multipliers if np.isfinite(rho) else slack
    obedient, best = np.split(scipy.linalg.lu_solve(factors, np.concatenate([right, right + defects], axis=1), check_finite=False), 2, axis=1)
    jacobian = np.zeros((0, len(model)))
    if derivative:
        fields = waves.k_squared * (waves.incident + waves.inside @ best)
        blocks = [-(heard[None] * fields[:, shots].T[:, None, :]).reshape(-1, len(model)) for shots, heard in slopes]
        stacked = np.concatenate(blocks)
        jacobian = np.concatenate([stacked.real, stacked.imag])
    complex_rows = np.concatenate(rows)
    misfit = np.where(survey.observed, waves.direct + response @ right - survey.values, 0)
    size = float(np.linalg.norm(np.where(survey.observed, survey.values, 0)))
    return Eliminated(
        residual=np.concatenate([complex_rows.real, complex_rows.imag]),
        jacobian=jacobian,
        physical=float(np.sum(np.abs(misfit / survey.deviation) ** 2) / count),
        relative=float(np.linalg.norm(misfit)) / size,
        charges=best,
        obedient=obedient,
        multipliers=slack,
        defect=float(np.linalg.norm(defects) / max(float(np.linalg.norm(right)), 1e-300)),
        sensitivity=float(np.mean(sensitivity)),
    )


def _alike(observed: Array, deviation: Array) -> list[tuple[Array, Array]]:
    """Return (shots, receivers) of shots that were observed by the same receivers with the same noise."""
    groups: dict[bytes, list[int]] = {}
    for shot in range(observed.shape[1]):
        groups.setdefault(np.where(observed[:, shot], deviation[:, shot], 0.0).tobytes(), []).append(shot)
    found = [(np.array(shots), np.flatnonzero(observed[:, shots[0]])) for shots in groups.values()]
    return [(shots, kept) for shots, kept in found if len(kept)]
