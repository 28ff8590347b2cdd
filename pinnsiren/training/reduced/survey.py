"""The measurements as the reduced inversion sees them: which traces count, which are held back, how far the grid and the noise can be trusted.

Input: problem, settings. Output: `Survey`, which changes as the run learns: receivers that are dropped, noise that is estimated, corrections from
a grid twice as fine.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.errors import ProblemError
from pinnsiren.language.problem import Problem
from pinnsiren.reference_solvers.inversion import Acquisition, DeclaredInversion, Simulator, read_inversion
from pinnsiren.training.parallel import ALONE, Ranks
from pinnsiren.training.reduced.linearised import LinearisedSimulator, Solved

Array = NDArray[Any]

HELD_BACK = 0.15  # of the traces: they choose the prior, and are used for the answer again; with more of them the candidates they judge are worse
# Relative error of the data on 16 points per wavelength where the medium jumps, against the closed form of a disc.
GRID_ERROR, AT_POINTS = 3e-3, 16.0
CORRECTED = 1 / 3  # of the difference to the grid twice as fine: what an error of second order leaves behind
LEAST_ERROR = 3e-4
FINER_SCHEME, FINER_COST = "order4", 4  # solves on the grid of the run that one on the finer grid counts for: its nodes are four times as many
# Of a complex Jacobian of two frequencies, 50 MB; beyond, the wave solves of its rows are what a step costs, and one Jacobian serves several.
MOST_ENTRIES = 3_000_000
# Of all frequencies, 640 MB; beyond, as many receivers as fit, these at least.
MOST_ENTRIES_IN_MEMORY, FEWEST_SAMPLED = 40_000_000, 12
UNIFORM = 1e-6
COARSE = 8.0  # points per wavelength below which the grid is wrong by as much as usual noise, and corrected from the start on
ASSUMED_NOISE = 1e-4  # where none is declared, until it is estimated
FEWEST_POINTS = 5.0  # per wavelength, where the medium has more nodes than are affordable
OUTLIER = 5.0  # a receiver whose residual is so many times the median of all, and so many times the noise, is taken for dead
CONJUGATE = 0.5  # the start explains the conjugated data so much better


@dataclass
class Survey:
    """The data of one run.

    Attributes:
        declared: what the declaration gives, on the grid of the run.
        finer: the same on the grid twice as fine.
        order: frequencies from low to high, by index.
        noise: per frequency, declared or estimated noise and numerical error together.
        held: (n_sources, n_receivers), traces held back.
        alive: (n_sources, n_receivers), traces that count at all.
        corrections: what the finer grid predicts beyond this one, (n_frequencies, n_sources, n_receivers).
        estimate_amplitudes: whether one factor per source and frequency is fitted.
        notes: what was found out about the data.
        step: of the grid as it was asked for, None for the solver's own choice.
        wave_solves: right-hand sides solved before the last `renew`.
        ranks: processes that share the frequencies.
    """

    declared: DeclaredInversion
    finer: DeclaredInversion
    order: tuple[int, ...]
    noise: Array
    held: Array
    alive: Array
    corrections: Array
    estimate_amplitudes: bool
    notes: list[str]
    step: float | None
    wave_solves: int = 0
    ranks: Ranks = ALONE

    def __post_init__(self) -> None:
        # Without what corrections leave: each of them takes the place of the one before.
        self.known_noise = self.noise.copy()
        self._first_noise = self.noise.copy()
        self._simulator: Simulator | None = None
        self._fine: Simulator | None = None
        self._stale = False
        self._remembered: dict[int, Solved] = {}

    @property
    def is_large(self) -> bool:
        """Whether wave solves are what a step costs."""
        rows = self.alive.sum() * min(2, len(self.order))
        return bool(rows * int(self.declared.active.sum()) > MOST_ENTRIES)

    @property
    def reuses_rows(self) -> bool:
        """Whether one Jacobian serves several steps; its rows know of no amplitudes that follow the medium."""
        return self.is_large and not self.estimate_amplitudes

    @property
    def sampled(self) -> int | None:
        """Receivers whose rows stand for all in the Hessian; None where memory holds all."""
        entries = float(self.alive.sum()) * len(self.order) * float(self.declared.active.sum())
        if entries <= MOST_ENTRIES_IN_MEMORY:
            return None
        return max(FEWEST_SAMPLED, int(len(self.declared.acquisition.receivers) * MOST_ENTRIES_IN_MEMORY / entries))

    @property
    def starts_uniform(self) -> bool:
        """Whether the medium is the same everywhere at first."""
        start = self.declared.start[self.declared.active]
        return bool(np.ptp(start) <= UNIFORM * start.max())

    @property
    def is_coarse(self) -> bool:
        """Whether the shortest waves of the start have few points only."""
        return bool(_points_per_wavelength(self.declared).min() < COARSE)

    @property
    def acquisition(self) -> Acquisition:
        """Measurements with the noise of this run and without dead receivers."""
        return replace(self.declared.acquisition, noise=self.noise, observed=self.alive)

    @property
    def simulator(self) -> Simulator:
        """The wave equation on the grid of the run; made anew after `renew`."""
        if self._simulator is None:
            self._simulator = Simulator(
                self.acquisition, self.declared.modelling, self.declared.start, estimate_amplitudes=self.estimate_amplitudes
            )
        if self._stale:
            self._simulator, self._stale = self._simulator.renewed(self.acquisition), False
        return self._simulator

    def renew(self) -> None:
        """Forget fields and units, because noise or receivers changed."""
        self.wave_solves, self._stale, self._remembered = self.total_solves, True, {}

    @property
    def total_solves(self) -> int:
        """Right-hand sides solved so far."""
        return self.wave_solves + (0 if self._simulator is None or self._stale else self._simulator.wave_solves)

    def linearised(self, frequencies: tuple[int, ...], kept: Array | None = None) -> LinearisedSimulator:
        """Return the measurements of some frequencies with their derivative, in units of the noise."""
        memory, active = self._remembered, self.declared.active
        return LinearisedSimulator(self.simulator, frequencies, kept, self.corrections, active, memory, self.sampled, self.ranks)

    def _predicted(self, simulator: Simulator, model: Array, frequencies: tuple[int, ...]) -> Array:
        """Measurements (n_frequencies, n_sources, n_receivers) of a model; each process solves for its share of the frequencies."""
        before = simulator.wave_solves
        found = self.ranks.map(lambda number: simulator.predicted(model, (number,))[0], frequencies)
        simulator.wave_solves = before + sum(len(part) for part in found)
        return np.stack(found)

    def fine_simulator(self) -> Simulator:
        """Return the wave equation on the finer grid."""
        acquisition = replace(self.finer.acquisition, observed=self.alive)
        if self._fine is None:
            self._fine = Simulator(acquisition, self.finer.modelling, self.finer.start)
        return self._fine.renewed(acquisition)

    def correct(self, model: Array, fine_model: Array, frequencies: tuple[int, ...] | None = None) -> None:
        """Take what the finer grid predicts beyond this one for the current medium as a correction, and its rest into the noise.

        Args:
            model: on the grid of the run.
            fine_model: the same medium on the finer grid.
            frequencies: by index; None for all. The others keep what they have.
        """
        simulator, chosen = self.fine_simulator(), tuple(sorted(self.order)) if frequencies is None else frequencies
        corrections = self.corrections.copy()
        corrections[list(chosen)] = self._predicted(simulator, fine_model, chosen) - self._predicted(self.simulator, model, chosen)
        self.corrections = corrections
        self.wave_solves += FINER_COST * simulator.wave_solves
        data = np.array([self.acquisition.scale(number) for number in range(len(self.noise))])
        size = np.linalg.norm(np.where(self.alive, self.corrections, 0).reshape(len(data), -1), axis=1)
        rest = np.maximum(CORRECTED * size / data, LEAST_ERROR)
        level = np.where(np.array(self.declared.undeclared), self.known_noise, self.declared.acquisition.noise)
        self.noise = np.hypot(level, rest)
        self.renew()

    def drop_dead_receivers(self, model: Array) -> bool:
        """Drop receivers that deviate far more than all others; whether there were any."""
        residuals = []
        for number in self.order:
            predicted = self.simulator.predicted(model, (number,))[0] + self.corrections[number]
            unit = self.noise[number] * self.acquisition.scale(number) / np.sqrt(self.alive.sum())
            factors = self.simulator.fitted_factors(number, predicted.T)[:, None]
            residuals.append(np.where(self.alive, np.abs(factors * predicted - self.declared.acquisition.measurements[number]) / unit, 0) ** 2)
        count = np.maximum(self.alive.sum(axis=0), 1)
        level = np.sqrt(np.mean(residuals, axis=0).sum(axis=0) / count)
        dead = (level > OUTLIER * np.median(level[self.alive.any(axis=0)])) & (level > OUTLIER)
        if not dead.any() or dead.sum() > 0.2 * dead.size:
            return False
        self._drop(dead, "deviate far more than all others")
        return True

    def _drop(self, dead: Array, why: str) -> None:
        places = ", ".join(f"({a:g}, {b:g})" for a, b in self.declared.acquisition.receivers[dead])
        self.notes.append(f"{int(dead.sum())} of {dead.size} receivers {why} and were left out: {places}")
        self.alive = self.alive & ~dead
        self.renew()

    def look_at_start(self) -> None:
        """Drop silent receivers and refuse data of the other time convention.

        Raises:
            ProblemError: the start explains the conjugated data far better.
        """
        data = self.declared.acquisition.measurements
        silent = np.all(np.where(self.alive, data, 0) == 0, axis=(0, 1)) & self.alive.any(axis=0)
        if silent.any():
            self._drop(silent, "recorded nothing but zeros")
        if self.estimate_amplitudes:
            return
        predicted = self._predicted(self.simulator, self.declared.start, tuple(range(len(data))))
        as_given, conjugated = (np.linalg.norm(np.where(self.alive, predicted - values, 0)) for values in (data, np.conj(data)))
        if conjugated < CONJUGATE * as_given:
            raise ProblemError(
                f"the declared start misses the data by {as_given / np.linalg.norm(data):.2g} of their size, their conjugates by "
                f"{conjugated / np.linalg.norm(data):.2g}: the observations belong to the other time convention. Conjugate them, or declare "
                "PML(..., time_convention=\"-\")"
            )

    def estimate_noise(self, relative: Array) -> None:
        """Take the misfit of traces that were held back, relative to the data per frequency in `order`, for the noise where none is declared."""
        for number, value in zip(self.order, relative, strict=True):
            if self.declared.undeclared[number]:
                self.noise[number] = self.known_noise[number] = max(float(value), LEAST_ERROR)
        self.renew()

    def least_misfit(self, frequencies: tuple[int, ...]) -> float:
        """Return phi at the error of the grid, which no search comes below, in the units of the noise that is assumed or estimated now."""
        chosen = list(frequencies)
        return float(np.mean((self._first_noise[chosen] / self.noise[chosen]) ** 2))

    def note_noise(self) -> None:
        """Say what the noise was found to be."""
        levels = ", ".join(f"{100 * self.noise[number]:.2g} %" for number in self.order)
        self.notes.append(f"the noise was not declared; with the error of the grid it is about {levels} of the data, by traces held back")


def _points_per_wavelength(declared: DeclaredInversion) -> Array:
    """Return the points of the shortest wave of the start, per frequency."""
    shortest = 2 * np.pi / (declared.acquisition.angular_frequencies * np.sqrt(declared.start.max()))
    return np.asarray(shortest / max(declared.modelling.grid.step))


def read_finer(problem: Problem, declared: DeclaredInversion) -> DeclaredInversion:
    """Return the declaration on the grid twice as fine, for another scheme: what both share is not the discretisation."""
    finer = read_inversion(problem, step=0.5 * max(declared.modelling.grid.step), noise=ASSUMED_NOISE)
    return replace(finer, modelling=replace(finer.modelling, scheme=FINER_SCHEME))


def read_survey(
    problem: Problem,
    *,
    step: float | None,
    most_nodes: int,
    estimate_amplitudes: bool,
    seed: int,
    ranks: Ranks = ALONE,
) -> Survey:
    """Read the declaration, lay out the grids and hold traces back.

    Raises:
        ReferenceSolverError: a declaration of another form.
        ProblemError: data of the other time convention.
    """
    declared = read_inversion(problem, step=step, noise=ASSUMED_NOISE)
    modelling = declared.modelling
    highest = float(declared.acquisition.angular_frequencies.max())
    if step is None and declared.active.sum() > most_nodes:
        wanted = max(modelling.grid.step) * float(np.sqrt(declared.active.sum() / most_nodes))
        largest = 2 * np.pi / (highest * float(np.sqrt(declared.start.max())) * FEWEST_POINTS)
        step = min(wanted, largest)
        declared = read_inversion(problem, step=step, noise=ASSUMED_NOISE)
    finer = read_finer(problem, declared)
    acquisition = declared.acquisition
    alive = np.ones(acquisition.measurements.shape[1:], dtype=bool) if acquisition.observed is None else acquisition.observed
    points = _points_per_wavelength(declared)
    held = np.random.default_rng(seed).random(alive.shape) < HELD_BACK
    survey = Survey(
        declared=declared,
        finer=finer,
        order=tuple(int(number) for number in np.argsort(acquisition.angular_frequencies)),
        noise=np.hypot(acquisition.noise, GRID_ERROR * (AT_POINTS / points) ** 2),
        held=held,
        alive=alive,
        corrections=np.zeros_like(acquisition.measurements),
        estimate_amplitudes=estimate_amplitudes,
        notes=[],
        step=step,
        ranks=ranks,
    )
    survey.look_at_start()
    return survey
