"""Predicted measurements, misfit and its exact gradient, for one acquisition on one grid.

    phi(m) = mean over frequencies of |P u(m) - d|^2 / (noise |d|)^2,       A(m) u = f

    d phi / dm = - 2 w^2 / (noise |d|)^2 Re( M'[w_s, u_s] ),    A' w_s = P' conj(P u_s - d_s)      (adjoint of the discrete operator)

phi is one where the residual is the declared noise.

Input: `Acquisition`, `Modelling`. Output: `Misfit`. Unknown source amplitudes are eliminated: the best complex factor per source and frequency
enters the residual, and by its optimality not the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

from ..frequency_domain import Discretisation, Grid, HelmholtzOperator, Illumination, Shots, receiver_matrix
from .acquisition import Acquisition

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Modelling:
    """How the wave equation is solved inside an inversion.

    Attributes:
        grid: nodes on which the squared slowness is sought.
        scheme: of the operator; `nine_point` is as accurate as the others where media jump, and the cheapest.
        background: squared slowness m0 of the scattered form; None for the total form (point sources in a variable medium).
        layer_wavelengths: thickness of the absorbing layers.
        most_layer_cells: beyond which they are made no thicker, unless a quarter of the longest wavelength needs more. The chosen profile reflects
            3e-6 over 20 cells, however long the wave: data of a disc move by 3e-7 against layers six times as thick, whose nodes were nine of ten.
    """

    grid: Grid
    scheme: str = "nine_point"
    background: float | None = None
    layer_wavelengths: float = 0.75
    most_layer_cells: int = 20


@dataclass(frozen=True)
class Misfit:
    """Misfit of a model.

    Attributes:
        value: phi, mean square of the relative misfits over their noise: one at the noise floor.
        relative: |P u - d| / |d| per frequency asked for.
        gradient: d phi / dm, (n_x, n_y).
        amplitudes: factor per frequency asked for and source, one unless estimated.
    """

    value: float
    relative: Array
    gradient: Array
    amplitudes: Array


class _Frequency:
    """All of one frequency that does not depend on the model."""

    def __init__(self, acquisition: Acquisition, modelling: Modelling, start: Array, number: int) -> None:
        self.discretisation = Discretisation(
            modelling.grid,
            float(acquisition.angular_frequencies[number]),
            start,
            scheme=modelling.scheme,
            layer_wavelengths=modelling.layer_wavelengths,
            most_layer_cells=modelling.most_layer_cells,
            damping=acquisition.damping,
        )
        shots = Shots.at(acquisition.sources, acquisition.amplitudes[number], acquisition.variance)
        self.illumination = Illumination(self.discretisation, shots, modelling.background)
        self.sampler: sparse.csr_matrix = receiver_matrix(self.discretisation, acquisition.receivers)
        self.incident = self.illumination.incident_at(acquisition.receivers)


class Simulator:
    """The map from models to measurements.

    Args:
        acquisition: what was measured.
        modelling: how the wave equation is solved.
        start: squared slowness (n_x, n_y) for which layers are laid out.
        estimate_amplitudes: whether one complex factor per source and frequency is fitted.

    Attributes:
        wave_solves: right-hand sides solved so far, adjoint ones included.
        factorisations: operators factorised so far.
        estimates_amplitudes: whether one complex factor per source and frequency is fitted.

    Raises:
        ReferenceSolverError: receivers or sources outside the grid, a bad model, too few points per wavelength.
    """

    def __init__(self, acquisition: Acquisition, modelling: Modelling, start: ArrayLike, *, estimate_amplitudes: bool = False) -> None:
        self.acquisition, self.modelling = acquisition, modelling
        self.start = modelling.grid.checked_model(start)
        self.estimates_amplitudes = estimate_amplitudes
        self.wave_solves = 0
        self.factorisations = 0
        self._prepared: dict[int, _Frequency] = {}
        modelling.grid.check_points(acquisition.receivers, "receivers")
        modelling.grid.check_points(acquisition.sources, "sources")

    def renewed(self, acquisition: Acquisition) -> Simulator:
        """Return a simulator of the same sources, receivers and frequencies with other noise or traces; what was prepared serves both.

        The incident waves are most of what is prepared: closed forms on all nodes, layers included.
        """
        other = Simulator(acquisition, self.modelling, self.start, estimate_amplitudes=self.estimates_amplitudes)
        other._prepared = self._prepared
        return other

    def frequency(self, number: int) -> _Frequency:
        """What belongs to one frequency, prepared at first use."""
        if number not in self._prepared:
            self._prepared[number] = _Frequency(self.acquisition, self.modelling, self.start, number)
        return self._prepared[number]

    def operator(self, number: int, model: Array) -> HelmholtzOperator:
        """The factorised operator of one frequency."""
        self.factorisations += 1
        return self.frequency(number).discretisation.operator(model)

    def predicted(self, model: ArrayLike, frequencies: tuple[int, ...] | None = None) -> Array:
        """Measurements (n_frequencies, n_sources, n_receivers) of a model, without fitted amplitudes."""
        checked = self.modelling.grid.checked_model(model)
        chosen = range(len(self.acquisition.angular_frequencies)) if frequencies is None else frequencies
        return np.stack([self.fields(number, checked)[2].T for number in chosen])

    def misfit(self, model: Array, frequencies: tuple[int, ...]) -> Misfit:
        """Misfit and gradient of a model at some frequencies."""
        gradient = np.zeros(self.modelling.grid.shape)
        relative, amplitudes = [], []
        for number in frequencies:
            operator, total, predicted = self.fields(number, model)
            residual, factors = self._residual(number, predicted)
            scale = self.acquisition.scale(number)
            relative.append(float(np.linalg.norm(residual)) / scale)
            amplitudes.append(factors)
            setting = self.frequency(number)
            adjoint = self.counted_solve(operator, setting.sampler.T @ (np.conj(residual) * factors))
            floor = self.acquisition.noise[number] * scale
            squared = setting.discretisation.squared_frequency
            gradient -= 2 / (floor**2 * len(frequencies)) * np.real(squared * setting.discretisation.mass_gradient(adjoint, total))
        ratios = np.array(relative)
        in_noise = ratios / self.acquisition.noise[list(frequencies)]
        return Misfit(float(np.mean(in_noise**2)), ratios, gradient, np.stack(amplitudes))

    def illumination(self, model: Array, frequencies: tuple[int, ...]) -> Array:
        """Sum over shots of |w^2 u|^2 / |d|^2, (n_x, n_y): how strongly each node is lit."""
        lit = np.zeros(self.modelling.grid.shape)
        for number in frequencies:
            _, total, _ = self.fields(number, model)
            d = self.frequency(number).discretisation
            power = np.sum(np.abs(d.angular_frequency**2 * total) ** 2, axis=1)
            lit += power[d.inside].reshape(lit.shape) / self.acquisition.scale(number) ** 2
        return lit

    def fields(self, number: int, model: Array) -> tuple[HelmholtzOperator, Array, Array]:
        """Return the operator, total fields (size, n_sources), predictions (n_receivers, n_sources)."""
        operator = self.operator(number, model)
        return operator, *self.fields_of(np.arange(len(self.acquisition.sources)), number, operator)

    def fields_of(self, shots: Array, number: int, operator: HelmholtzOperator) -> tuple[Array, Array]:
        """Return total fields (size, n_shots) and predictions (n_receivers, n_shots) of some sources, by index."""
        setting = self.frequency(number)
        computed = self.counted_solve(operator, setting.illumination.right_hand_sides(operator.model)[:, shots])
        return setting.illumination.total(computed, shots), setting.sampler @ computed + setting.incident[:, shots]

    def counted_solve(self, operator: HelmholtzOperator, right: Array) -> Array:
        """Solve, and count the right-hand sides."""
        self.wave_solves += right.shape[1]
        return operator.solve(right)

    def _residual(self, number: int, predicted: Array) -> tuple[Array, Array]:
        """Residual (n_receivers, n_sources), zero where nothing was measured, and the factor per source."""
        data, seen = self._data(number)
        factors = self.fitted_factors(number, predicted)
        return seen * (factors * predicted - data), factors

    def _data(self, number: int) -> tuple[Array, Array]:
        """Data (n_receivers, n_sources), zero where nothing was measured, and ones where something was."""
        data = self.acquisition.measurements[number].T
        mask = self.acquisition.observed
        seen = np.ones(data.shape) if mask is None else mask.T.astype(float)
        return np.where(seen > 0, data, 0), seen

    def fitted_factors(self, number: int, predicted: Array, shots: Array | None = None) -> Array:
        """Return the best complex factor per source, ones unless amplitudes are estimated.

        Args:
            number: of the frequency.
            predicted: (n_receivers, n_shots).
            shots: sources that were predicted, by index; None for all.

        Raises:
            ReferenceSolverError: a source that no receiver sees.
        """
        data, seen = (whole if shots is None else whole[:, shots] for whole in self._data(number))
        if not self.estimates_amplitudes:
            return np.ones(data.shape[1], dtype=complex)
        power = np.sum(seen * np.abs(predicted) ** 2, axis=0)
        if np.any(power == 0):
            raise ReferenceSolverError(f"source {int(np.argmin(power))} is seen by no receiver: its amplitude cannot be estimated")
        return np.asarray(np.sum(seen * np.conj(predicted) * data, axis=0) / power)
