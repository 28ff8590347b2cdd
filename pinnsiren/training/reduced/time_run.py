"""A run of an inversion of waves in time: the inversion of its Helmholtz twin, and a check of what it found in time.

    traces -> frequencies (compiler.helmholtz_twin) -> a run of any inversion of Helmholtz equations -> leapfrog in the found medium -> traces?

Input: a method that inverts Helmholtz equations, a problem in time, settings. Output: `TimeModel`, status, estimated error. The check compares all
of the records, frequencies included that were not inverted, by a scheme in time that the inversion never saw: a medium that misses them is none.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.helmholtz_twin import HelmholtzTwin, helmholtz_twin
from pinnsiren.compiler.pipeline import CompiledProblem, compile_problem
from pinnsiren.errors import CompileError, ReferenceSolverError
from pinnsiren.language.problem import Problem
from pinnsiren.language.symbols import declaration_of
from pinnsiren.reference_solvers.evaluation import evaluator
from pinnsiren.training.method import AbstractRun, FittedModel, RunSettings, StateTree, Suitability
from pinnsiren.training.reduced.confidence import EXPLAINED
from pinnsiren.training.reduced.run import ReducedRun
from pinnsiren.training.reduced.time_model import TimeModel, medium_of
from pinnsiren.training.reduced.waves_in_time import COARSER, FILTER_ERROR, SentFilter, WavesInTime, estimated_filter, relative_misfit, trace_misfit

Array = NDArray[Any]

FOR_THE_CHECK = 0.1  # of the budget
# The error of the scheme from two grids, e = difference / (COARSER^p - 1). On two discs it fell with p = 4, from 5.9e-3 to 1.5e-3: squared slowness
# averaged over cells leaves second order of a jump.
ORDER = 2.0
UNEXPLAINED = 0.3  # of traces whose noise is not known: noise that large would have been told
SAMPLE = 41  # of the medium, per axis, for its change


class HelmholtzInversion(Protocol):
    """A method that inverts Helmholtz equations."""

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Say whether it fits."""

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> Any:
        """Begin a run."""


@dataclass(frozen=True)
class CheckInTime:
    """How well the found medium explains the records.

    Attributes:
        relative: |observed - predicted| / |observed|.
        in_noise: the same in units of noise and numerical error together; NaN where the noise is not known.
        numerical: error of the prediction, relative to the data: of the scheme, and of wavelets that were estimated.
    """

    relative: float
    in_noise: float
    numerical: float

    @property
    def failed(self) -> bool:
        """Whether more is left than noise; where that is not known, than anybody would call noise."""
        return bool(self.in_noise > EXPLAINED or (np.isnan(self.in_noise) and self.relative > UNEXPLAINED))

    @property
    def text(self) -> str:
        """The result in words."""
        own = f"{self.relative:.2%} of the traces are left unexplained, the prediction itself is off by {self.numerical:.2%}"
        if np.isnan(self.in_noise):
            told = f"checked in time by a leapfrog scheme: {own}; the noise is not known"
            return f"{told}. WARNING: that is hardly noise" if self.failed else told
        told = f"checked in time by a leapfrog scheme, the found medium meets the traces to {self.in_noise:.2f} times the noise ({own})"
        if not self.failed:
            return told
        return (
            f"{told}. WARNING: that is more than noise, at frequencies that were not inverted at least: the wavelet may be another than declared "
            "(estimate_amplitudes=True fits it), the medium a wrong minimum, or the records hold waves that the declaration does not"
        )


@dataclass(frozen=True, eq=False)
class _Same:
    """A problem as a key: the object itself, since to compare all of its traces would cost more than is saved."""

    problem: Problem

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.problem is other.problem

    def __hash__(self) -> int:
        return id(self.problem)


def compiled_twin(problem: Problem) -> tuple[HelmholtzTwin, CompiledProblem]:
    """Return the twin of a problem, compiled; plans and runs ask for it one after the other."""
    return _compiled_twin(_Same(problem))


@lru_cache(maxsize=1)
def _compiled_twin(same: _Same) -> tuple[HelmholtzTwin, CompiledProblem]:
    twin = helmholtz_twin(same.problem)
    return twin, compile_problem(twin.problem)


def suits_in_time(method: HelmholtzInversion, compiled: CompiledProblem) -> Suitability:
    """Say whether a method that inverts Helmholtz equations fits the twin of a problem in time."""
    try:
        twin, compiled_one = compiled_twin(compiled.original)
    except CompileError as refusal:
        return Suitability(False, str(refusal), np.inf, made_for=True)
    inner = replace(method.suits(compiled_one), made_for=True)
    if inner.ok:
        return replace(inner, reason=f"{inner.reason}; {twin.text}")
    if not twin.sigma:
        names = ", ".join(str(field) for field in twin.problem.fields)
        return replace(inner, reason=f"per frequency (fields {names} of the transformed problem): {inner.reason}")
    damped = f"the records are cut off, so that they are weighted by exp(-{twin.sigma:.3g} t) and wavenumbers are complex"
    return replace(inner, reason=f"{inner.reason} ({damped}: formulation=\"reduced\" takes these, longer records need none)")


class TimeRun(AbstractRun):
    """The run of the twin, and the check behind its last step."""

    def __init__(self, method: HelmholtzInversion, compiled: CompiledProblem, settings: RunSettings) -> None:
        self.compiled, self.settings = compiled, settings
        self.twin, self.compiled_twin = compiled_twin(compiled.original)
        self.inner: AbstractRun = method.start(self.compiled_twin, replace(settings, seconds=(1 - FOR_THE_CHECK) * settings.seconds))
        self.check: CheckInTime | None = None
        self.unchecked = "the medium was not checked in time"
        self.elapsed, self.deadline = 0.0, np.inf

    def step(self) -> dict[str, float]:
        """Do a step of the inversion; behind the last one, look at the traces in time."""
        numbers = self.inner.step()
        reason = self.inner.stop_reason(self.elapsed)
        # A run that was cut short has found no medium yet that is worth a check.
        if reason is not None and reason[0] != "out_of_time" and self.check is None:
            try:
                self.check = self._checked()
            except ReferenceSolverError as refusal:
                self.unchecked = f"the medium was not checked in time: {refusal}"
        return {**numbers, "estimated_error": self.error_estimate(), "misfit_in_time": np.nan if self.check is None else self.check.relative}

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """End with the inversion, and not as a success where the check failed."""
        self.elapsed, self.deadline = elapsed, perf_counter() + self.settings.seconds - elapsed
        reason = self.inner.stop_reason(elapsed)
        if reason is None:
            return None
        code, text = reason
        if self.check is None:
            return "out_of_time" if code == "success" else code, f"{text}; {self.unchecked}"
        if code == "success" and (self.check.failed or self.error_estimate() > self.settings.tolerance):
            code = "tolerance_not_reached"
        return code, f"{text}; {self.check.text}"

    def predicted_seconds(self) -> float:
        """Return the cost of the next step of the inversion."""
        return self.inner.predicted_seconds()

    def error_estimate(self) -> float:
        """Return the estimate of the inversion; where the records speak against the medium, all of its change counts, or all that is left of them."""
        inner = self.inner.error_estimate()
        if self.check is None:
            return inner
        inner = max(inner, self.check.numerical)
        if not self.check.failed:
            return inner
        beyond = 1.0 if np.isnan(self.check.in_noise) else self.check.in_noise / EXPLAINED
        return max(inner, max(self._change(), self.check.relative) * beyond)

    def model(self) -> TimeModel:
        """Return the medium of the inversion with the waves in time in it."""
        inner = self.inner.model()
        return TimeModel(self.compiled, self.twin, inner, self._sent(inner))

    # -- the check ----------------------------------------------------------------------------------------------------------------------------

    def _checked(self) -> CheckInTime | None:
        """Follow the waves in the found medium on two grids; None where the budget does not allow it."""
        inner = self.inner.model()
        medium = medium_of(inner, self.twin)
        needed, left = self._cost(medium), max(self.deadline - perf_counter(), FOR_THE_CHECK * self.settings.seconds)
        if needed > left:
            self.unchecked = f"the medium was not checked in time: that takes about {needed:.0f} s, and {left:.0f} s are left"
            return None
        sets, kept, sent = self.twin.survey.traces, self._kept(), self._sent(inner)
        found, coarse = (WavesInTime(self.twin, medium, sent, coarser).traces() for coarser in (1.0, COARSER))
        apart = sum(float(np.sum((a - b)[counts] ** 2)) for a, b, counts in zip(found, coarse, kept, strict=True))
        size = sum(float(np.sum(traces.values[counts] ** 2)) for traces, counts in zip(sets, kept, strict=True))
        numerical = float(np.sqrt(apart / size)) / (COARSER**ORDER - 1)
        # A filter that is found with the medium leaves a little of any wavelet.
        numerical = float(np.hypot(numerical, 0.0 if sent is None else FILTER_ERROR))
        levels = self._deviations()
        if levels is None:
            return CheckInTime(relative_misfit(found, sets, kept), float(np.nan), numerical)
        scale = float(np.sqrt(size / sum(traces.values[counts].size for traces, counts in zip(sets, kept, strict=True))))
        together = [float(np.hypot(level, numerical * scale)) for level in levels]
        return CheckInTime(relative_misfit(found, sets, kept), trace_misfit(found, sets, kept, together), numerical)

    def _kept(self) -> list[Array]:
        """Traces that count, (n_shots, n_receivers) per set: not those of receivers that were silent, or that the inversion left out."""
        sets = self.twin.survey.traces
        if not isinstance(self.inner, ReducedRun):
            return [traces.heard for traces in sets]
        survey = self.inner.survey
        dropped = survey.acquisition.receivers[~survey.alive.any(axis=0)]
        return [traces.heard & ~np.any(np.all(traces.receivers[:, :, None] == dropped, axis=-1), axis=-1) for traces in sets]

    def _cost(self, medium: Any) -> float:
        """Return the seconds of all shots on both grids, by one shot on the coarser: nodes and steps grow with the third power."""
        begun = perf_counter()
        WavesInTime(self.twin, medium, None, COARSER).records(0)
        grids = 1 + COARSER**3
        # A wavelet that is estimated takes another run on the finer grid.
        if isinstance(self.inner, ReducedRun) and self.inner.survey.estimate_amplitudes:
            grids += COARSER**3
        return (perf_counter() - begun) * grids * len(self.twin.survey.sources)

    def _deviations(self) -> list[float] | None:
        """Standard deviation of the noise per set: declared, or what traces held back say of the noise per frequency; None where nothing does."""
        declared = [traces.deviation for traces in self.twin.survey.traces]
        known = [level for level in declared if level is not None]
        if len(known) == len(declared):
            return known
        if not isinstance(self.inner, ReducedRun) or not self.inner.finished:
            return None
        # White noise of deviation one has the transform `per_noise`; the middle of the frequencies is taken, since one may hold an error of the grid.
        relative = np.asarray(self.inner.survey.noise)
        guessed = float(np.median(relative * self.twin.sizes / self.twin.per_noise))
        return [guessed if level is None else level for level in declared]

    def _sent(self, inner: FittedModel) -> SentFilter | None:
        """What the sources send, relative to the declaration, where that is estimated: by all of the records, now that the medium is known."""
        if not isinstance(self.inner, ReducedRun) or not self.inner.survey.estimate_amplitudes:
            return None
        return estimated_filter(WavesInTime(self.twin, medium_of(inner, self.twin)), self._kept())

    def _change(self) -> float:
        """Return the distance of the found medium from the start, relative to the larger of both."""
        survey = self.twin.survey
        points = np.stack([p.ravel() for p in np.meshgrid(*[np.linspace(*pair, SAMPLE) for pair in survey.box], indexing="ij")], axis=1)
        start = np.asarray(evaluator(declaration_of(survey.medium).initial, survey.space)(*points.T), dtype=float)
        found = medium_of(self.inner.model(), self.twin)(points)
        return float(np.linalg.norm(found - start) / min(np.linalg.norm(found), np.linalg.norm(np.broadcast_to(start, found.shape))))

    # -- checkpoints --------------------------------------------------------------------------------------------------------------------------

    def state(self) -> StateTree:
        """Return the state of the inversion and the check."""
        check = self.check
        numbers = np.full(3, np.nan) if check is None else np.array([check.relative, check.in_noise, check.numerical])
        return {"inner": self.inner.state(), "check": numbers}

    def restore(self, state: StateTree) -> None:
        """Go on from a state."""
        self.inner.restore(state["inner"])
        numbers = [float(value) for value in np.asarray(state["check"])]
        self.check = None if np.isnan(numbers[0]) else CheckInTime(*numbers)
