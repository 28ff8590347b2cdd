"""Measurements of a medium and their exact derivative in the squared slowness of every node.

    P u(m + dm) = P u(m) + J dm + ...,    J[(g, s), i] = - w^2 (lambda_g . dM/dm_i u_s),    A' lambda_g = P' e_g

One factorisation per frequency and one solve per source and receiver give all rows: receivers serve all sources, and the operator is symmetric.

Input: `Simulator`, squared slowness. Output: `Linearisation`: residual and Jacobian in units of the declared noise.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from pinnsiren.reference_solvers.frequency_domain import HelmholtzOperator
from pinnsiren.reference_solvers.inversion import Acquisition, Simulator

Array = NDArray[Any]


@dataclass(frozen=True)
class Linearisation:
    """Residual of a medium, in standard deviations of the noise, and its derivative.

    Rows are scaled so that the sum of squares is phi: one at the noise floor.

    Attributes:
        residual: (n_rows,), real: real and imaginary parts of all observed traces.
        jacobian: (n_rows, n_nodes), derivative in the squared slowness; empty when it was not asked for.
        relative: |P u - d| / |d| per frequency.
        amplitudes: (n_frequencies, n_sources), fitted factors, ones unless estimated.
    """

    residual: Array
    jacobian: Array
    relative: Array
    amplitudes: Array

    @property
    def misfit(self) -> float:
        """phi, mean square misfit over the noise."""
        return float(self.residual @ self.residual)


class LinearisedSimulator:
    """A simulator with its Jacobian, for a choice of frequencies and traces.

    Args:
        simulator: the wave equation and what was measured.
        frequencies: by index.
        kept: (n_sources, n_receivers), traces that count; None for all that were observed.
        corrections: (n_frequencies, n_sources, n_receivers), what a finer grid predicts beyond this one, or None.
    """

    def __init__(
        self, simulator: Simulator, frequencies: tuple[int, ...], kept: Array | None = None, corrections: Array | None = None
    ) -> None:
        self.simulator, self.frequencies, self.corrections = simulator, frequencies, corrections
        acquisition = simulator.acquisition
        observed = np.ones(acquisition.measurements.shape[1:], dtype=bool) if acquisition.observed is None else acquisition.observed
        self.kept = observed if kept is None else observed & kept

    def linearise(self, model: Array, derivative: bool = True) -> Linearisation:
        """Solve for all shots, and for all receivers when the derivative is asked for."""
        parts = [self._one(number, model, derivative) for number in self.frequencies]
        share = 1 / np.sqrt(len(parts))
        return Linearisation(
            np.concatenate([share * part.residual for part in parts]),
            np.concatenate([share * part.jacobian for part in parts]) if derivative else np.zeros((0, model.size)),
            np.concatenate([part.relative for part in parts]),
            np.concatenate([part.amplitudes for part in parts]),
        )

    def _one(self, number: int, model: Array, derivative: bool) -> Linearisation:
        simulator, acquisition = self.simulator, self.simulator.acquisition
        setting = simulator.frequency(number)
        operator, total, predicted = simulator.fields(number, model)
        if self.corrections is not None:
            predicted = predicted + self.corrections[number].T
        data = np.where(self.kept.T, acquisition.measurements[number].T, 0)
        seen = self.kept.T.astype(float)
        factors = simulator.fitted_factors(number, predicted)
        residual = seen * (factors * predicted - data)
        # The root mean square of all traces is the unit of the declared noise, also where some are held back.
        unit = acquisition.noise[number] * acquisition.scale(number) * np.sqrt(self.kept.sum() / _count(acquisition))
        rows = np.flatnonzero(self.kept.T.ravel())
        picked = residual.ravel()[rows] / unit
        jacobian = np.zeros((0, model.size))
        if derivative:
            adjoint = simulator.counted_solve(operator, setting.sampler.T.toarray().astype(complex))
            complex_rows = _jacobian(operator, adjoint, total, rows) * (np.broadcast_to(factors, data.shape).ravel()[rows] / unit)[:, None]
            jacobian = np.concatenate([complex_rows.real, complex_rows.imag])
        size = float(np.linalg.norm(np.where(self.kept.T, data, 0)))
        relative = np.array([np.linalg.norm(residual) / size])
        return Linearisation(np.concatenate([picked.real, picked.imag]), jacobian, relative, factors[None])


def _count(acquisition: Acquisition) -> int:
    return int(acquisition.measurements[0].size if acquisition.observed is None else acquisition.observed.sum())


def _jacobian(operator: HelmholtzOperator, adjoint: Array, total: Array, rows: Array) -> Array:
    """Derivative of the traces `rows`, counted receiver by receiver, in the model of the box: (n_rows, n_nodes)."""
    d = operator.discretisation
    receivers, sources = np.divmod(rows, total.shape[1])
    if d.scheme.is_star:
        product = adjoint[:, receivers] * total[:, sources]
    else:
        spread_adjoint, spread_total = d.weights @ adjoint, d.weights @ total
        product = (spread_adjoint[:, receivers] * total[:, sources] + adjoint[:, receivers] * spread_total[:, sources]) / 2
    collect = d.collector @ sparse.diags(-(d.angular_frequency**2) * d.stretch)
    return np.asarray((collect @ product).T)
