"""Measurements of a medium and their exact derivative in the squared slowness of every node.

    P u(m + dm) = P u(m) + J dm + ...,    J[(g, s), i] = - w^2 (lambda_g . dM/dm_i u_s),    A' lambda_g = P' e_g

One factorisation per frequency and one solve per source and receiver give all rows: receivers serve all sources, and the operator is symmetric.
Where memory does not hold all rows, some receivers stand for all, drawn anew for every model. Their slope, and that of a medium whose rows are not
asked for, is exact from one adjoint solve per source: a Hessian that is wrong by a little costs a step a little, the gradient decides where the steps
end (Byrd, Chin, Neveitt and Nocedal 2011).

Input: `Simulator`, squared slowness. Output: `Linearisation`: residual and Jacobian in units of the declared noise.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from pinnsiren.reference_solvers.frequency_domain import Discretisation, HelmholtzOperator
from pinnsiren.reference_solvers.inversion import Acquisition, Simulator
from pinnsiren.training.parallel import ALONE, Ranks

Array = NDArray[Any]


@dataclass(frozen=True)
class Linearisation:
    """Residual of a medium, in standard deviations of the noise, and its derivative.

    Rows are scaled so that the sum of squares is phi: one at the noise floor.

    Attributes:
        residual: (n_rows,), real: real and imaginary parts of all observed traces.
        jacobian: (n_rows, n_active), derivative in the squared slowness where it may change; empty when it was not asked for. Rows of some receivers
            only, scaled to stand for all, where they are sampled.
        slope: (n_active,), J' residual of all rows.
        relative: |P u - d| / |d| per frequency.
        amplitudes: (n_frequencies, n_shots), fitted factors of the sources with traces, ones unless estimated.
    """

    residual: Array
    jacobian: Array
    slope: Array
    relative: Array
    amplitudes: Array

    @property
    def misfit(self) -> float:
        """phi, mean square misfit over the noise."""
        return float(self.residual @ self.residual)


@dataclass(frozen=True)
class Solved:
    """What one model gives at one frequency.

    Attributes:
        operator: factorised; knows the model.
        shots: sources that were solved for, by index, rising.
        total: (size, n_shots), fields.
        predicted: (n_receivers, n_shots).
    """

    operator: HelmholtzOperator
    shots: Array
    total: Array
    predicted: Array


class LinearisedSimulator:
    """A simulator with its Jacobian, for a choice of frequencies and traces.

    Args:
        simulator: the wave equation and what was measured.
        frequencies: by index.
        kept: (n_sources, n_receivers), traces that count; None for all that were observed. Sources without any are not solved for.
        corrections: (n_frequencies, n_sources, n_receivers), what a finer grid predicts beyond this one, or None.
        active: (n_x, n_y), where the medium may change; None for everywhere.
        sampled: receivers whose rows stand for all in the Jacobian; None for all. Not together with fitted amplitudes.
        remembered: fields of the last model per frequency, shared by those who ask for the same simulator; None for a memory of its own.
        ranks: processes that share the frequencies.
    """

    def __init__(
        self,
        simulator: Simulator,
        frequencies: tuple[int, ...],
        kept: Array | None = None,
        corrections: Array | None = None,
        active: Array | None = None,
        remembered: "dict[int, Solved] | None" = None,
        sampled: int | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks = ranks
        self.sampled = None if simulator.estimates_amplitudes else sampled
        self.simulator, self.frequencies, self.corrections = simulator, frequencies, corrections
        shape = simulator.modelling.grid.shape
        self.active = np.ones(shape, dtype=bool).ravel() if active is None else np.asarray(active).ravel()
        self._carriers: dict[int, tuple[Array, Any]] = {}
        self._remembered: dict[int, Solved] = {} if remembered is None else remembered
        acquisition = simulator.acquisition
        observed = np.ones(acquisition.measurements.shape[1:], dtype=bool) if acquisition.observed is None else acquisition.observed
        self.kept = observed if kept is None else observed & kept
        self._shots = np.flatnonzero(self.kept.any(axis=1))

    def asks_the_same(self, other: "LinearisedSimulator") -> bool:
        """Whether another one gives the same answers: frequencies, traces, units, corrections."""
        return (
            other.simulator is self.simulator
            and other.corrections is self.corrections
            and (other.frequencies, other.sampled) == (self.frequencies, self.sampled)
            and np.array_equal(other.kept, self.kept)
            and np.array_equal(other.active, self.active)
        )

    def linearise(self, model: Array, derivative: bool = True, rows: bool = True) -> Linearisation:
        """Solve for all shots, and for all receivers when the derivative is asked for; without its rows, for the shots once more.

        Args:
            model: (n_x, n_y), squared slowness.
            derivative: whether slope and rows are wanted, or the residual alone.
            rows: whether those of the Jacobian are; the slope is exact without them. Not without where amplitudes are fitted.
        """
        before = self.simulator.wave_solves
        found = self.ranks.map(lambda number: self._counted(number, model, derivative, rows), self.frequencies)
        parts = [part for part, _ in found]
        self.simulator.wave_solves = before + sum(solves for _, solves in found)
        share = 1 / np.sqrt(len(parts))
        return Linearisation(
            np.concatenate([share * part.residual for part in parts]),
            np.concatenate([share * part.jacobian for part in parts]),
            share**2 * np.sum([part.slope for part in parts], axis=0),
            np.concatenate([part.relative for part in parts]),
            np.concatenate([part.amplitudes for part in parts]),
        )

    def _counted(self, number: int, model: Array, derivative: bool, rows: bool) -> tuple[Linearisation, int]:
        """One frequency, and how many right-hand sides it took."""
        before = self.simulator.wave_solves
        part = self._one(number, model, derivative, rows)
        return part, self.simulator.wave_solves - before

    def _one(self, number: int, model: Array, derivative: bool, with_rows: bool) -> Linearisation:
        simulator, acquisition = self.simulator, self.simulator.acquisition
        setting = simulator.frequency(number)
        operator, total, predicted = self._fields(number, model)
        if self.corrections is not None:
            predicted = predicted + self.corrections[number][self._shots].T
        kept = self.kept[self._shots].T
        data = np.where(kept, acquisition.measurements[number][self._shots].T, 0)
        seen = kept.astype(float)
        factors = simulator.fitted_factors(number, predicted, self._shots)
        residual = seen * (factors * predicted - data)
        # The root mean square of all traces is the unit of the declared noise, also where some are held back.
        unit = acquisition.noise[number] * acquisition.scale(number) * np.sqrt(self.kept.sum() / _count(acquisition))
        rows = np.flatnonzero(kept.ravel())
        picked = residual.ravel()[rows] / unit
        residual_rows = np.concatenate([picked.real, picked.imag])
        jacobian, slope = np.zeros((0, int(self.active.sum()))), np.zeros(int(self.active.sum()))
        some = self.sampled is not None and self.sampled < len(data)
        if derivative and (some or not with_rows):
            jacobian = self._sampled_rows(number, operator, total, unit) if with_rows else jacobian
            slope = self._slope(number, operator, total, residual / unit**2)
        elif derivative:
            adjoint = simulator.counted_solve(operator, setting.sampler.T.toarray().astype(complex))
            scale = np.broadcast_to(factors, data.shape).ravel()[rows] / unit
            complex_rows = self._jacobian(number, operator, adjoint, total, rows) * scale[:, None]
            if simulator.estimates_amplitudes:
                complex_rows = _without_amplitudes(complex_rows, predicted.ravel()[rows], rows % data.shape[1])
            jacobian = np.concatenate([complex_rows.real, complex_rows.imag])
            slope = jacobian.T @ residual_rows
        size = float(np.linalg.norm(data))
        relative = np.array([np.linalg.norm(residual) / size])
        return Linearisation(residual_rows, jacobian, slope, relative, factors[None])

    def _sampled_rows(self, number: int, operator: HelmholtzOperator, total: Array, unit: float) -> Array:
        """Rows of receivers drawn by chance that the model alone decides, so that a run that is taken up again draws the same."""
        heard = np.flatnonzero(self.kept.any(axis=0))
        chance = np.random.default_rng(zlib.crc32(operator.model.tobytes()))
        chosen = np.sort(chance.choice(heard, min(self.sampled or len(heard), len(heard)), replace=False))
        sampler = self.simulator.frequency(number).sampler[chosen]
        adjoint = self.simulator.counted_solve(operator, sampler.T.toarray().astype(complex))
        rows = np.flatnonzero(self.kept[self._shots].T[chosen].ravel())
        scale = np.sqrt(self.kept.sum() / len(rows)) / unit
        complex_rows = self._jacobian(number, operator, adjoint, total, rows) * scale
        return np.concatenate([complex_rows.real, complex_rows.imag])

    def _slope(self, number: int, operator: HelmholtzOperator, total: Array, residual: Array) -> Array:
        """J' residual of all rows from one adjoint solve per source; `residual` is (n_receivers, n_shots)."""
        setting = self.simulator.frequency(number)
        adjoint = self.simulator.counted_solve(operator, setting.sampler.T @ np.conj(residual))
        d = operator.discretisation
        return np.asarray(-np.real(d.squared_frequency * d.mass_gradient(adjoint, total)).ravel()[self.active])

    def _fields(self, number: int, model: Array) -> tuple[HelmholtzOperator, Array, Array]:
        """Operator, fields and predictions of the sources with traces; a step that was tried and accepted asks for them twice."""
        known, shots = self._remembered.get(number), self._shots
        if known is None or not np.array_equal(known.operator.model, model):
            operator = self.simulator.operator(number, model)
            known = Solved(operator, shots, *self.simulator.fields_of(shots, number, operator))
        elif missing := np.setdiff1d(shots, known.shots).tolist():
            solved = np.append(known.shots, missing)
            order = np.argsort(solved)
            more = self.simulator.fields_of(np.array(missing), number, known.operator)
            both = (np.concatenate([one, two], axis=1)[:, order] for one, two in zip((known.total, known.predicted), more, strict=True))
            known = Solved(known.operator, solved[order], *both)
        self._remembered[number] = known
        if len(known.shots) == len(shots):
            return known.operator, known.total, known.predicted
        here = np.searchsorted(known.shots, shots)
        return known.operator, known.total[:, here], known.predicted[:, here]

    def _jacobian(self, number: int, operator: HelmholtzOperator, adjoint: Array, total: Array, rows: Array) -> Array:
        """Derivative of the traces `rows`, counted receiver by receiver, where the medium may change: (n_rows, n_active)."""
        d = operator.discretisation
        carrying, collect = self._carrier(number, d)
        receivers, sources = np.divmod(rows, total.shape[1])
        here, field = adjoint[carrying], total[carrying]
        if d.scheme.is_star:
            product = here[:, receivers] * field[:, sources]
        else:
            spread_here, spread_field = (d.weights[carrying] @ columns for columns in (adjoint, total))
            product = (spread_here[:, receivers] * field[:, sources] + here[:, receivers] * spread_field[:, sources]) / 2
        return np.asarray((collect @ product).T)

    def _carrier(self, number: int, d: Discretisation) -> tuple[Array, Any]:
        """Return the unknowns of the operator that carry the medium where it may change, and how they add up, (n_active, n_carrying)."""
        if number not in self._carriers:
            whole = sparse.csc_matrix(d.collector[self.active] @ sparse.diags(-d.squared_frequency * d.stretch))
            carrying = np.flatnonzero(np.diff(whole.indptr))
            self._carriers[number] = (carrying, sparse.csr_matrix(whole[:, carrying]))
        return self._carriers[number]


def _without_amplitudes(jacobian: Array, predicted: Array, sources: Array) -> Array:
    """Take out of the derivative what the fitted amplitudes follow: the projection of variable projection (Kaufman 1975)."""
    projected = jacobian.copy()
    for source in np.unique(sources):
        here = np.flatnonzero(sources == source)
        direction = predicted[here] / np.linalg.norm(predicted[here])
        projected[here] -= np.outer(direction, np.conj(direction) @ jacobian[here])
    return projected


def _count(acquisition: Acquisition) -> int:
    return int(acquisition.measurements[0].size if acquisition.observed is None else acquisition.observed.sum())
