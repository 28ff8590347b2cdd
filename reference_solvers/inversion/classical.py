"""Classical full-waveform inversion: exact adjoint gradients, L-BFGS-B with bounds, the weight of the prior from the noise floor.

    minimise  phi(m) + weight * prior(m),     low <= m <= high,

group after group of frequencies, low to high. The weight starts where the prior hides the data altogether and is lowered, each time from the model
before, until the misfit meets the declared noise (discrepancy principle); then it is raised again by bisection as far as the floor allows. The
truth is used nowhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg as sparse_linalg
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from pinnsiren.errors import ReferenceSolverError

from .acquisition import Acquisition
from .priors import Prior, TotalVariation, gradient_matrices
from .result import InversionResult, Step
from .simulator import Misfit, Modelling, Simulator

Array = NDArray[Any]

# Between two weights of the continuation, and steps of the bisection that follows.
_LOWERING = 0.5
_BISECTIONS = 3
# The weight is accepted when phi, one at the floor, lies between this and one.
_CLOSE_TO_FLOOR = 0.97
# Two halvings of the weight that lower phi by less than the first factor, once phi is below the second times that of the start, have stalled.
_STALLED, _STARTED = 0.95, 0.5
# Of the bound on the hiding weight with which the continuation starts: the bound is not sharp.
_OF_BOUND = 0.25
# A misfit phi within this factor of the lowest is as good.
_AS_GOOD = 1.15


class _OutOfTime(Exception):
    """The budget of seconds is spent."""


@dataclass(frozen=True, kw_only=True)
class ClassicalInversion:
    """Settings of classical full-waveform inversion.

    Attributes:
        bounds: of the squared slowness, low and high, in its units.
        prior: `TotalVariation()` or `Tikhonov()`, or None for bounds alone.
        weight: of the prior; None finds it by the noise floor.
        iterations: of L-BFGS-B per weight.
        lowerings: most halvings of the weight per group.
        groups: frequencies inverted together, by index, in order; None takes one after the other from low to high.
        estimate_amplitudes: fit one complex factor per source and frequency.
        precondition: scale unknowns by the illumination of the start (surface acquisitions).
        seconds: budget; the best model so far is returned when it is spent.
        memory: pairs kept by L-BFGS.

    Raises:
        ReferenceSolverError: bounds out of order or not positive.
    """

    bounds: tuple[float, float]
    prior: Prior | None = field(default_factory=TotalVariation)
    weight: float | None = None
    iterations: int = 25
    lowerings: int = 24
    groups: tuple[tuple[int, ...], ...] | None = None
    estimate_amplitudes: bool = False
    precondition: bool = False
    seconds: float = np.inf
    memory: int = 20

    def __post_init__(self) -> None:
        low, high = self.bounds
        if not 0 < low < high:
            raise ReferenceSolverError(f"the inversion was given bounds {self.bounds} on the squared slowness; expected 0 < low < high")

    def run(
        self,
        acquisition: Acquisition,
        modelling: Modelling,
        start: ArrayLike,
        *,
        active: ArrayLike | None = None,
        progress: Callable[[Step], None] | None = None,
    ) -> InversionResult:
        """Invert.

        Args:
            acquisition: what was measured, and its noise.
            modelling: grid, scheme and form.
            start: squared slowness (n_x, n_y).
            active: (n_x, n_y), where it may change; None for everywhere.
            progress: called with every accepted iteration.

        Raises:
            ReferenceSolverError: a start outside the bounds, a grid too coarse for the upper bound, positions outside the grid.
        """
        return _Run(self, acquisition, modelling, start, active, progress).result()


class _Run:
    """One run: the state that the settings do not have."""

    def __init__(
        self,
        settings: ClassicalInversion,
        acquisition: Acquisition,
        modelling: Modelling,
        start: ArrayLike,
        active: ArrayLike | None,
        progress: Callable[[Step], None] | None,
    ) -> None:
        self._began = time.perf_counter()
        self._settings, self._acquisition, self._grid = settings, acquisition, modelling.grid
        self._simulator = Simulator(acquisition, modelling, start, estimate_amplitudes=settings.estimate_amplitudes)
        self._start = self._simulator.start
        self._model = self._start.copy()
        self._active = checked_active(active, self._start, settings.bounds)
        self._reference = float(np.mean(self._start[self._active]))
        self._progress = progress
        highest = np.where(self._active, settings.bounds[1], self._start)
        modelling.grid.check_resolution(float(acquisition.angular_frequencies.max()), highest)
        self._history: list[Step] = []
        self._weight = 0.0
        self._last = 0
        self._scale = np.ones(int(self._active.sum()))

    def result(self) -> InversionResult:
        groups = checked_groups(self._settings.groups, self._acquisition)
        self._last = len(groups) - 1
        reached, notes = [], []
        try:
            for number, group in enumerate(groups):
                met, note = self._invert(number, group)
                reached.append(met)
                notes.append(note)
        except _OutOfTime:
            reached.append(False)
            notes.append(f"stopped after {self._settings.seconds:g} s, the budget; give more seconds or a coarser grid")
        final = self._simulator.misfit(self._model, tuple(range(len(self._acquisition.angular_frequencies))))
        return InversionResult(
            squared_slowness=self._model,
            misfits=final.relative,
            noise=self._acquisition.noise,
            history=tuple(self._history),
            weight=self._weight,
            amplitudes=final.amplitudes,
            wave_solves=self._simulator.wave_solves,
            factorisations=self._simulator.factorisations,
            seconds=time.perf_counter() - self._began,
            reached_floor=len(reached) == len(groups) and all(reached),
            status="; ".join(dict.fromkeys(notes)),
        )

    def _invert(self, number: int, group: tuple[int, ...]) -> tuple[bool, str]:
        """Invert one group of frequencies; whether the floor was met, and what ended it."""
        settings = self._settings
        if settings.precondition:
            self._scale = self._illumination_scale(group)
        first = self._simulator.misfit(self._model, group)
        if first.value <= 1:
            return True, "the start already explains the data within the noise"
        if settings.prior is None or settings.weight is not None:
            weight = settings.weight or 0.0
            # Without a search the floor itself ends the iterations.
            value = self._descend(number, group, weight, settings.iterations * settings.lowerings, stop_at_floor=True)
            return value <= 1, _ending(value)
        weight = self._hiding_weight(first) if number == 0 else 4 * self._weight
        return self._continue_weight(number, group, weight, first.value)

    def _continue_weight(self, number: int, group: tuple[int, ...], weight: float, hidden: float) -> tuple[bool, str]:
        """Lower the weight until the floor is met, then raise it again as far as the floor allows."""
        tried: list[tuple[float, float, Array]] = []
        for _ in range(self._settings.lowerings):
            value = self._descend(number, group, weight, self._settings.iterations)
            tried.append((weight, value, self._model.copy()))
            if value <= 1 or _has_stalled([v for _, v, _ in tried], hidden):
                break
            weight *= _LOWERING
        if tried[-1][1] > 1:
            # The floor is out of reach: the strongest prior that explains the data about as well as any weight does.
            lowest = min(value for _, value, _ in tried)
            self._weight, value, self._model = next(t for t in tried if t[1] <= _AS_GOOD * lowest)
            return False, _ending(value)
        low, _, below = tried[-1]
        # Only the last group's weight is the answer's: the others hand on a model.
        if len(tried) > 1 and number == self._last:
            low, below = self._bisect(number, group, tried[-2], tried[-1])
        self._model, self._weight = below, low
        return True, _ending(1.0)

    def _bisect(
        self, number: int, group: tuple[int, ...], above: tuple[float, float, Array], met: tuple[float, float, Array]
    ) -> tuple[float, Array]:
        """The largest weight found between two that meets the floor, and its model."""
        high, _, before = above
        low, value, below = met
        for _ in range(_BISECTIONS):
            if value >= _CLOSE_TO_FLOOR:
                break
            weight = float(np.sqrt(low * high))
            self._model = before.copy()
            value = self._descend(number, group, weight, self._settings.iterations)
            if value <= 1:
                low, below = weight, self._model.copy()
            else:
                high, before = weight, self._model.copy()
                value = 0.0
        return low, below

    def _descend(
        self, number: int, group: tuple[int, ...], weight: float, iterations: int, *, stop_at_floor: bool = False
    ) -> float:
        """L-BFGS-B at one weight from the present model; leaves the new one, returns its phi."""
        settings = self._settings
        last: dict[str, Any] = {}

        def objective(q: Array) -> tuple[float, Array]:
            if time.perf_counter() - self._began > settings.seconds:
                raise _OutOfTime
            model = self._with_unknowns(q)
            misfit = self._simulator.misfit(model, group)
            value, gradient = misfit.value, misfit.gradient * self._reference
            if weight:
                assert settings.prior is not None
                prior, slope = settings.prior.value_and_gradient(model / self._reference, self._start / self._reference, self._grid)
                value, gradient = value + weight * prior, gradient + weight * slope
            if not last or value < last["value"]:
                last.update(value=value, phi=misfit.value, model=model)
            return value, gradient[self._active] * self._scale

        def accepted(intermediate_result: Any) -> None:
            step = Step(number, weight, float(np.sqrt(last["phi"])))
            self._history.append(step)
            if self._progress is not None:
                self._progress(step)
            if stop_at_floor and last["phi"] <= 1:
                raise StopIteration

        low, high = (bound / self._reference / self._scale for bound in settings.bounds)
        start = self._model[self._active] / self._reference / self._scale
        try:
            minimize(
                objective,
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=list(zip(low, high, strict=True)),
                callback=accepted,
                options={"maxiter": iterations, "maxcor": settings.memory, "ftol": 1e-5, "gtol": 1e-9, "maxfun": 3 * iterations},
            )
        except _OutOfTime:
            if last:
                self._model = last["model"]
            self._weight = weight
            raise
        self._model, self._weight = last["model"], weight
        return float(last["phi"])

    def _with_unknowns(self, q: Array) -> Array:
        model = self._start.copy()
        low, high = self._settings.bounds
        # The product of scale and quotient may round past a bound.
        model[self._active] = np.clip(q * self._scale * self._reference, low, high)
        return model

    def _hiding_weight(self, misfit: Misfit) -> float:
        """A weight at which the start is nearly the minimum: the total variation balances g when g = div z with |z| <= weight.

        The field z = grad(inverse Laplacian of g) is one such; its largest length bounds the weight from above.
        """
        gradient = np.where(self._active, misfit.gradient * self._reference, 0.0)
        if self._active.all():
            gradient = gradient - gradient.mean()
        x, y = gradient_matrices(self._grid)
        laplacian = sparse.csc_matrix(x.T @ x + y.T @ y)
        kept = np.flatnonzero(self._active.ravel())
        if self._active.all():
            kept = kept[1:]
        potential = np.zeros(gradient.size)
        potential[kept] = sparse_linalg.spsolve(laplacian[kept][:, kept], gradient.ravel()[kept])
        length = float(np.max(np.hypot(x @ potential, y @ potential)))
        unit = self._grid.step[0] * self._grid.step[1] / float(
            np.sqrt(np.prod([b - a for a, b in zip(self._grid.low, self._grid.high, strict=True)]))
        )
        return _OF_BOUND * length / unit

    def _illumination_scale(self, group: tuple[int, ...]) -> Array:
        lit = self._simulator.illumination(self._model, group)[self._active]
        scale = 1 / np.sqrt(lit + 0.02 * lit.max())
        return np.asarray(scale / scale.mean())


def checked_active(active: ArrayLike | None, start: Array, bounds: tuple[float, float]) -> Array:
    """Where the model may change, (n_x, n_y).

    Raises:
        ReferenceSolverError: another shape, nothing active, or a start outside the bounds there.
    """
    mask = np.ones(start.shape, dtype=bool) if active is None else np.asarray(active, dtype=bool)
    if mask.shape != start.shape or not mask.any():
        raise ReferenceSolverError(f"`active` has shape {mask.shape} with {int(mask.sum())} nodes; expected {start.shape} and one node at least")
    inside = start[mask]
    slack = 1e-9 * bounds[1]
    if inside.min() < bounds[0] - slack or inside.max() > bounds[1] + slack:
        raise ReferenceSolverError(
            f"the start runs from {inside.min():.4g} to {inside.max():.4g}, the bounds from {bounds[0]:.4g} to {bounds[1]:.4g}: widen them or move "
            "the start"
        )
    return mask


def checked_groups(groups: tuple[tuple[int, ...], ...] | None, acquisition: Acquisition) -> tuple[tuple[int, ...], ...]:
    """Groups of frequencies by index; one after the other from low to high when None.

    Raises:
        ReferenceSolverError: an index that is no frequency, or an empty group.
    """
    count = len(acquisition.angular_frequencies)
    if groups is None:
        return tuple((int(number),) for number in np.argsort(acquisition.angular_frequencies))
    if not groups or any(not group or min(group) < 0 or max(group) >= count for group in groups):
        raise ReferenceSolverError(f"groups={groups}; expected tuples of indices 0 ... {count - 1} of the {count} frequencies")
    return groups


def _has_stalled(values: list[float], hidden: float) -> bool:
    return len(values) > 2 and values[-1] < _STARTED * hidden and values[-1] > _STALLED * values[-3]


def _ending(value: float) -> str:
    if value <= 1:
        return "the misfit met the noise floor"
    return (
        f"the misfit stays at {np.sqrt(value):.2f} times the noise floor: more iterations, lower frequencies, a better start, or a "
        "larger declared noise (numerical errors count as noise)"
    )
