"""Iteratively refined wavefield-reconstruction inversion: the wave equation as a penalty, refined by ADMM (IR-WRI).

    minimise  prior(m)   subject to   A(m) u = f,  P u = d,  low <= m <= high,

by alternating (scaled duals B of the equation, D of the data):

    u <- argmin |P u - d - D|^2 + lambda |A(m) u - f - B|^2         fields that follow the data where the model cannot yet
    m <- argmin lambda |A(m) u - f - B|^2 + prior + bounds           quadratic, since A is linear in m; splitting for prior and bounds
    B <- B + f - A(m) u,   D <- D + d - P u

The first step needs no other factor than that of A: with G = P A^-1,  u = A^-1 (f + B + G* y),  (G G* + lambda) y = d + D - G (f + B). G comes
from one adjoint solve per receiver and gives the misfit of the model itself, |G f - d|, on which the run stops.

References: van Leeuwen and Herrmann (2013), Geophys. J. Int. 195, 661; Aghamiry, Gholami, Operto (2019), Geophysics 84(2), R251 (arXiv 1809.00891),
and (2019) 84(6), R893 for bounds and total variation (arXiv 1902.02744).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg as sparse_linalg
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

from ..frequency_domain import Discretisation, HelmholtzOperator
from .acquisition import Acquisition
from .classical import checked_active, checked_groups
from .priors import gradient_matrices
from .result import InversionResult, Step
from .simulator import Modelling, Simulator

Array = NDArray[Any]

# The least fall of the squared misfit that counts as progress.
_PROGRESS = 0.95


@dataclass(frozen=True, kw_only=True)
class WavefieldReconstruction:
    """Settings of IR-WRI.

    Attributes:
        bounds: of the squared slowness, low and high, in its units.
        threshold: of the total variation: differences between neighbouring nodes, relative to the mean of the start, that one splitting step
            removes; 0 for none. Halved whenever the misfit has hardly fallen for `patience` iterations.
        penalty: lambda relative to the largest eigenvalue of G G* at the start.
        splitting: penalty of the total variation, and of the bounds, relative to the median curvature of the equation's residual.
        iterations: per group of frequencies.
        inner: splitting steps per update of the model; with fewer, strong total variation oscillates.
        patience: iterations in which the squared misfit must fall by a twentieth.
        groups: frequencies inverted together, by index, in order; None takes one after the other from low to high.
        seconds: budget.

    Raises:
        ReferenceSolverError: settings out of their range.
    """

    bounds: tuple[float, float]
    threshold: float = 0.04
    penalty: float = 0.1
    splitting: tuple[float, float] = (3.0, 0.1)
    iterations: int = 120
    inner: int = 10
    patience: int = 20
    groups: tuple[tuple[int, ...], ...] | None = None
    seconds: float = np.inf

    def __post_init__(self) -> None:
        low, high = self.bounds
        if not 0 < low < high:
            raise ReferenceSolverError(f"the inversion was given bounds {self.bounds} on the squared slowness; expected 0 < low < high")
        if not (self.threshold >= 0 and self.penalty > 0 and min(self.splitting) > 0 and min(self.iterations, self.inner, self.patience) > 0):
            raise ReferenceSolverError(f"{self}: penalties and counts must be positive, the threshold not negative")

    def run(
        self,
        acquisition: Acquisition,
        modelling: Modelling,
        start: ArrayLike,
        *,
        active: ArrayLike | None = None,
        progress: Callable[[Step], None] | None = None,
    ) -> InversionResult:
        """Invert; arguments as for `ClassicalInversion.run`."""
        return _Run(self, acquisition, modelling, start, active, progress).result()


@dataclass
class _Reconstruction:
    """Fields and duals of one frequency."""

    operator: HelmholtzOperator
    receivers: Array
    penalty: float
    data_dual: Array
    source_dual: Array
    computed: Array
    total: Array
    misfit: float


class _ModelStep:
    """min_q 1/2 q' N q - g' q + threshold |D q| with bounds on q: splitting steps whose duals live through the run."""

    def __init__(self, settings: WavefieldReconstruction, modelling: Modelling, active: Array, start: Array, reference: float) -> None:
        self._settings = settings
        self.threshold = settings.threshold
        kept = np.flatnonzero(active.ravel())
        step = float(np.sqrt(np.prod(modelling.grid.step)))
        whole = [step * matrix for matrix in gradient_matrices(modelling.grid)]
        self._differences = [sparse.csr_matrix(matrix[:, kept]) for matrix in whole]
        fixed = np.where(active, 0.0, start / reference).ravel()
        self._fixed = [matrix @ fixed for matrix in whole]
        self._smooth = sparse.csc_matrix(sum(d.T @ d for d in self._differences))
        self._low, self._high = (bound / reference for bound in settings.bounds)
        q = start[active] / reference
        self.bounded = q.copy()
        self._edges = [d @ q + f for d, f in zip(self._differences, self._fixed, strict=True)]
        self._edge_duals = [np.zeros_like(e) for e in self._edges]
        self._bound_dual = np.zeros_like(q)

    def update(self, normal: sparse.csc_matrix, right: Array) -> Array:
        """The new unknowns, within their bounds."""
        scale = float(np.median(normal.diagonal()))
        tv, bound = (factor * scale for factor in self._settings.splitting)
        matrix = sparse.csc_matrix(normal + tv * self._smooth + bound * sparse.identity(len(right)))
        factor = sparse_linalg.splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        for _ in range(self._settings.inner):
            target = right + bound * (self.bounded - self._bound_dual)
            for d, edge, dual, fixed in zip(self._differences, self._edges, self._edge_duals, self._fixed, strict=True):
                target = target + tv * (d.T @ (edge - dual - fixed))
            q = factor.solve(target)
            moved = [d @ q + f + dual for d, f, dual in zip(self._differences, self._fixed, self._edge_duals, strict=True)]
            length = np.hypot(*moved)
            shrink = np.maximum(length - self.threshold, 0) / np.where(length > 0, length, 1)
            self._edges = [shrink * m for m in moved]
            self._edge_duals = [m - e for m, e in zip(moved, self._edges, strict=True)]
            self.bounded = np.clip(q + self._bound_dual, self._low, self._high)
            self._bound_dual = self._bound_dual + q - self.bounded
        return self.bounded


class _Run:
    """One run: the state that the settings do not have."""

    def __init__(
        self,
        settings: WavefieldReconstruction,
        acquisition: Acquisition,
        modelling: Modelling,
        start: ArrayLike,
        active: ArrayLike | None,
        progress: Callable[[Step], None] | None,
    ) -> None:
        self._began = time.perf_counter()
        self._settings, self._acquisition = settings, acquisition
        self._simulator = Simulator(acquisition, modelling, start)
        self._start = self._simulator.start
        self._active = checked_active(active, self._start, settings.bounds)
        self._reference = float(np.mean(self._start[self._active]))
        highest = np.where(self._active, settings.bounds[1], self._start)
        modelling.grid.check_resolution(float(acquisition.angular_frequencies.max()), highest)
        self._model = self._start.copy()
        self._step = _ModelStep(settings, modelling, self._active, self._start, self._reference)
        self._progress = progress
        self._history: list[Step] = []
        self._states: dict[int, _Reconstruction] = {}

    def result(self) -> InversionResult:
        groups = checked_groups(self._settings.groups, self._acquisition)
        endings = [self._invert(number, group) for number, group in enumerate(groups)]
        final = self._simulator.misfit(self._model, tuple(range(len(self._acquisition.angular_frequencies))))
        return InversionResult(
            squared_slowness=self._model,
            misfits=final.relative,
            noise=self._acquisition.noise,
            history=tuple(self._history),
            weight=self._step.threshold,
            amplitudes=final.amplitudes,
            wave_solves=self._simulator.wave_solves,
            factorisations=self._simulator.factorisations,
            seconds=time.perf_counter() - self._began,
            reached_floor=all(met for met, _ in endings),
            status="; ".join(dict.fromkeys(note for _, note in endings)),
        )

    def _invert(self, number: int, group: tuple[int, ...]) -> tuple[bool, str]:
        best, best_model, mark, waited = np.inf, self._model, np.inf, 0
        for _ in range(self._settings.iterations):
            for frequency in group:
                self._reconstruct(frequency)
            value = float(np.mean([(self._states[frequency].misfit / self._acquisition.noise[frequency]) ** 2 for frequency in group]))
            self._record(Step(number, self._step.threshold, float(np.sqrt(value))))
            waited += 1
            if value < best:
                best, best_model = value, self._model
            if best < _PROGRESS * mark:
                mark, waited = best, 0
            elif waited >= self._settings.patience:
                self._step.threshold, waited = self._step.threshold / 2, 0
                mark = best
            if value <= 1:
                return True, "the misfit met the noise floor"
            if time.perf_counter() - self._began > self._settings.seconds:
                self._model = best_model
                return False, f"stopped after {self._settings.seconds:g} s, the budget, at {np.sqrt(best):.2f} times the noise floor"
            self._update_model(group)
        self._model = best_model
        return False, (
            f"the misfit stays at {np.sqrt(best):.2f} times the noise floor after {self._settings.iterations} iterations: "
            "more iterations, a smaller threshold, or a larger declared noise"
        )

    def _record(self, step: Step) -> None:
        self._history.append(step)
        if self._progress is not None:
            self._progress(step)

    def _reconstruct(self, frequency: int) -> None:
        """Fields that follow both equation and data, and the misfit of the model itself."""
        setting, data = self._simulator.frequency(frequency), self._acquisition.measurements[frequency].T
        d, mask = setting.discretisation, self._acquisition.observed
        operator = self._simulator.operator(frequency, self._model)
        receivers = self._solve(operator, setting.sampler.T.toarray().astype(complex))
        right = setting.illumination.right_hand_sides(self._model)
        gram = receivers.T @ np.conj(receivers)
        state = self._states.get(frequency)
        if state is None:
            penalty = self._settings.penalty * float(np.linalg.eigvalsh(gram)[-1])
            zero = np.zeros((d.size, data.shape[1]), dtype=complex)
            state = _Reconstruction(operator, receivers, penalty, np.zeros_like(data), zero, zero, zero, np.inf)
            self._states[frequency] = state
        predicted = receivers.T @ right + setting.incident
        seen = np.ones(data.shape, dtype=bool) if mask is None else mask.T
        state.misfit = float(np.linalg.norm(np.where(seen, predicted - data, 0))) / self._acquisition.scale(frequency)
        forced = right + state.source_dual
        gap = np.where(seen, data, 0) + state.data_dual - setting.incident - receivers.T @ forced
        pull = np.zeros_like(data)
        for source in range(data.shape[1]):
            here = np.flatnonzero(seen[:, source])
            block = gram[np.ix_(here, here)] + state.penalty * np.identity(len(here))
            pull[here, source] = np.linalg.solve(block, gap[here, source])
        state.operator, state.receivers = operator, receivers
        state.computed = self._solve(operator, forced + np.conj(receivers) @ pull)
        state.total = setting.illumination.total(state.computed)
        measured = setting.sampler @ state.computed + setting.incident
        state.data_dual = state.data_dual + np.where(seen, data - measured, 0)

    def _update_model(self, group: tuple[int, ...]) -> None:
        """The quadratic step in the model, then the duals of the equation."""
        count = int(self._active.sum())
        normal, right = sparse.csc_matrix((count, count)), np.zeros(count)
        frozen = np.where(self._active, 0.0, self._model)
        for frequency in group:
            state, setting = self._states[frequency], self._simulator.frequency(frequency)
            weight = state.penalty / (self._acquisition.noise[frequency] * self._acquisition.scale(frequency)) ** 2
            fixed = self._equation_residual(frequency, frozen) - state.source_dual
            for source in range(state.total.shape[1]):
                jacobian = self._jacobian(setting.discretisation, state.total[:, source])
                adjoint = jacobian.conj().T
                normal = normal + weight * (adjoint @ jacobian).real
                right = right - weight * (adjoint @ fixed[:, source]).real
        model = self._start.copy()
        model[self._active] = np.clip(self._step.update(sparse.csc_matrix(normal), right) * self._reference, *self._settings.bounds)
        self._model = model
        for frequency in group:
            state = self._states[frequency]
            state.source_dual = state.source_dual - self._equation_residual(frequency, model)

    def _equation_residual(self, frequency: int, model: Array) -> Array:
        """A(m) u - f of the reconstructed fields, (size, n_sources); affine in the model."""
        state, setting = self._states[frequency], self._simulator.frequency(frequency)
        d, illumination = setting.discretisation, setting.illumination
        residual = d.stiffness @ state.computed + d.squared_frequency * d.apply_mass(d.extend(model), state.total)
        if illumination.background is None:
            return np.asarray(residual - illumination.load)
        background = np.full(d.size, illumination.background)
        return np.asarray(residual - d.squared_frequency * d.apply_mass(background, illumination.background_field))

    def _jacobian(self, d: Discretisation, total: Array) -> sparse.csr_matrix:
        """Derivative of w^2 M(m) u in the unknowns (relative to the reference), (size, n_active)."""
        factor = d.squared_frequency * self._reference
        stretched = sparse.diags(d.stretch * total)
        if d.scheme.is_star:
            matrix = stretched
        else:
            matrix = (d.weights @ stretched + sparse.diags(d.stretch * (d.weights @ total))) / 2
        return sparse.csr_matrix(factor * (matrix @ self._carrier(d)))

    def _carrier(self, d: Discretisation) -> sparse.csr_matrix:
        """Which unknowns of the operator carry which unknown of the model, (size, n_active)."""
        column = np.full(self._active.size, -1)
        column[self._active.ravel()] = np.arange(int(self._active.sum()))
        carried = d.extend(column).astype(int)
        rows = np.flatnonzero(carried >= 0)
        return sparse.csr_matrix((np.ones(len(rows)), (rows, carried[rows])), shape=(d.size, int(self._active.sum())))

    def _solve(self, operator: HelmholtzOperator, right: Array) -> Array:
        self._simulator.wave_solves += right.shape[1]
        return operator.solve(right)
