"""Time windows: a problem in space and time solved window after window, each from where the last one ended.

Long times, and solutions whose scales change on the way, ask for more features in one piece than in several: the cost of least squares grows with
the third power of the features, that of windows with their number. Every window is a problem of its own, compiled and charted anew and handed to any
method without a network, so that equations which are not affine are linearised window by window.

Errors accumulate: with l_w the error that window w makes, and g_w what it makes of a disturbance of its initial values (`window_gain`), the error at
its end is E_w = l_w + g_w E_(w-1). The estimate is the root mean square of E over all windows, relative to that of the fields.
"""

from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from time import perf_counter
from typing import Any

import numpy as np

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import ProblemError
from pinnsiren.language.domains import SpaceTime
from pinnsiren.training.least_squares import LeastSquares
from pinnsiren.training.method import AbstractMethod, AbstractRun, FittedModel, RunSettings, StateTree, Suitability
from pinnsiren.training.probes import probe_points
from pinnsiren.training.window_gain import measure_gain
from pinnsiren.training.window_problem import (
    WindowedModel,
    compile_window,
    hand_edited_charts,
    initial_residuals,
    rebuilt_models,
    refusal,
    started_from,
)

LONGEST = 1.5  # duration of a window in units of the space's length along the characteristics: beyond, a window holds little but echoes
LATE = 0.8  # of the budget: after that a window that failed is kept as it is, since its halves would not end in time
SMALLEST_TOLERANCE = 1e-12  # of a window: rounding
ONE_WINDOW_IS_BETTER = 0.5  # added to the cost, as long as nothing says that one window is too much
LONG = 3  # windows of a wave from which on one window is too much: its features grow with their number, the cost with the third power of it
WINDOWS_ARE_BETTER = -0.05  # added to the cost then


@dataclass(frozen=True)
class TimeWindows(AbstractMethod):
    """Settings of the march.

    Attributes:
        method: solves one window; a record of a method without a network.
        windows: number of windows of equal length; None chooses, and halves a window that does not reach its share of the tolerance.
        maximum_windows: no more than these when `windows` is None.

    Raises:
        ProblemError: a method that trains a network, or a number that is not positive.
    """

    method: AbstractMethod = dataclass_field(default_factory=LeastSquares)
    windows: int | None = None
    maximum_windows: int = 128

    def __post_init__(self) -> None:
        if not isinstance(self.method, AbstractMethod) or self.method.trains_network or isinstance(self.method, TimeWindows):
            raise ProblemError(f"TimeWindows was given method={self.method!r}; expected a method without a network, such as LeastSquares()")
        for name in ("windows", "maximum_windows"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ProblemError(f"TimeWindows was given {name}={value!r}; expected a whole number above 0")

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits problems in space and time with initial values whose conditions hold at all times, if the method of a window fits."""
        reason = refusal(compiled)
        if reason is not None:
            return Suitability(False, reason, np.inf)
        judgement = self.method.suits(compiled)
        if not judgement.ok:
            return judgement
        text = f"windows in time, each from where the last one ended; {judgement.reason}"
        windows = self.first_windows(compiled)
        if windows >= LONG and len(initial_residuals(compiled)) == 2 * len(compiled.original.fields):
            # Waves do not decay: the last instant is as rich as the first, and one window has to hold all of it.
            text = f"{windows} {text}. One window would need about {windows} times the features of each, and {windows**3} times the work"
            return Suitability(True, text, judgement.cost + WINDOWS_ARE_BETTER)
        return Suitability(True, text, judgement.cost + ONE_WINDOW_IS_BETTER)

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "TimeWindowsRun":
        """Begin with the first window."""
        return TimeWindowsRun(self, compiled, settings)

    def first_windows(self, compiled: CompiledProblem) -> int:
        """Return the number of windows to begin with."""
        if self.windows is not None:
            return self.windows
        *space, time = compiled.scales.half_lengths
        return int(np.clip(np.ceil(time / (LONGEST * max(space))), 1, self.maximum_windows))


@dataclass(frozen=True)
class SolvedWindow:
    """What is known of a window that is over.

    Attributes:
        model: its solution.
        code: status code that its run ended with.
        local: error that it makes itself, root mean square.
        amplitude: root mean square of the fields.
        gain: what it makes of a disturbance of its initial values, over the window.
        gain_at_end: the same at its last instant.
    """

    model: FittedModel
    code: str
    local: float
    amplitude: float
    gain: float
    gain_at_end: float


NUMBERS = ("local", "amplitude", "gain", "gain_at_end")


class TimeWindowsRun(AbstractRun):
    """The march in progress: windows that are over, and the run of the next one."""

    def __init__(self, method: TimeWindows, compiled: CompiledProblem, settings: RunSettings) -> None:
        self.method, self.compiled, self.settings = method, compiled, settings
        domain = compiled.original.domain
        assert isinstance(domain, SpaceTime)
        self.start_time, self.end_time = domain.time_bounds
        self.charts = hand_edited_charts(compiled)
        self.edges: list[float] = np.linspace(self.start_time, self.end_time, method.first_windows(compiled) + 1).tolist()
        self.solved: list[SolvedWindow] = []
        self.elapsed = 0.0
        self._begin(None)

    def _begin(self, before: CompiledProblem | None) -> None:
        """Start the run of the next window from the end of the last one."""
        index = len(self.solved)
        start, end = self.edges[index], self.edges[index + 1]
        window = compile_window(self.compiled, start, end, self.charts)
        if before is not None:
            window = started_from(window, before, self.solved[-1].model)
        self.before, self.window = before, window
        share = (end - start) / (self.end_time - self.start_time)
        inner = replace(
            self.settings,
            seed=self.settings.seed + 10_007 * index,
            tolerance=max(self.settings.tolerance * min(share, 0.5), SMALLEST_TOLERANCE) if len(self.edges) > 2 else self.settings.tolerance,
            seconds=self.settings.seconds * share,
        )
        self.run = self.method.method.start(window, inner)

    def _clock(self, elapsed: float) -> float:
        """Return the seconds used of the share of the window: those before its turn on an even schedule are a gift, or a debt."""
        passed = (self.edges[len(self.solved)] - self.start_time) / (self.end_time - self.start_time)
        return elapsed - self.settings.seconds * passed

    @property
    def is_over(self) -> bool:
        """Whether the last window is solved."""
        return len(self.solved) == len(self.edges) - 1

    def step(self) -> dict[str, float]:
        """Advance the window; end, halve or follow it."""
        begun = perf_counter()
        index = len(self.solved)
        numbers = self.run.step()
        self.elapsed += perf_counter() - begun
        reason = self.run.stop_reason(self._clock(self.elapsed))
        if reason is not None:
            self._conclude(reason[0])
        return {"window": float(index), "windows": float(len(self.edges) - 1), **numbers}

    def _conclude(self, code: str) -> None:
        """Keep a window that is good enough, or cannot be improved, else halve it."""
        index = len(self.solved)
        start, end = self.edges[index], self.edges[index + 1]
        shortest = (self.end_time - self.start_time) / self.method.maximum_windows
        can_split = self.method.windows is None and 0.5 * (end - start) >= shortest and self.elapsed < LATE * self.settings.seconds
        if code != "success" and can_split and len(self.edges) <= self.method.maximum_windows:
            self.edges.insert(index + 1, 0.5 * (start + end))
            self._begin(self.before)
            return
        model, window = self.run.model(), self.window
        gain = measure_gain(window, model, index) if index else None
        amplitude = _amplitude(window, model)
        self.solved.append(
            SolvedWindow(
                model, code, self.run.error_estimate() * amplitude, amplitude, gain.mean if gain else 0.0, gain.end if gain else 0.0
            )
        )
        if not self.is_over:
            self._begin(window)

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Decide after every window."""
        self.elapsed = elapsed
        if self.is_over:
            return self._verdict()
        if elapsed > self.settings.seconds and self.solved:
            reached = self.edges[len(self.solved)]
            return "out_of_time", (
                f"{len(self.solved)} of {len(self.edges) - 1} windows are solved in {elapsed:.0f} s, up to time {reached:.6g}; later values are NaN. "
                "Raise seconds, loosen tolerance, or declare a shorter time"
            )
        return None

    def _verdict(self) -> tuple[str, str]:
        estimate, tolerance = self.error_estimate(), self.settings.tolerance
        if estimate <= tolerance:
            return "success", f"the estimated error {estimate:.2g}, accumulated over {len(self.solved)} windows, meets the tolerance {tolerance:.2g}"
        worst = int(np.argmax([window.local / max(window.amplitude, 1e-300) for window in self.solved]))
        start, end = self.edges[worst], self.edges[worst + 1]
        local = self.solved[worst].local / max(self.solved[worst].amplitude, 1e-300)
        growth = max(window.gain_at_end for window in self.solved)
        return "tolerance_not_reached", (
            f"the estimated error is {estimate:.2g}, above the tolerance {tolerance:.2g}: the largest part, {local:.2g}, is made between the times "
            f"{start:.4g} and {end:.4g} (which ended with {self.solved[worst].code}), and a window amplifies what it is given by up to {growth:.2g}. "
            "Raise seconds, set more windows (TimeWindows(windows=...)), or look there for what is not smooth"
        )

    def predicted_seconds(self) -> float:
        """Return the cost of the next step of the window."""
        return self.run.predicted_seconds()

    def error_estimate(self) -> float:
        """Return the accumulated error relative to the fields, infinite until the last window is solved."""
        if not self.is_over:
            return np.inf
        lengths = np.diff(self.edges)
        errors = accumulated(self.solved)
        amplitudes = [window.amplitude for window in self.solved]
        return float(np.sqrt(np.sum(lengths * np.square(errors)) / max(np.sum(lengths * np.square(amplitudes)), 1e-300)))

    def model(self) -> WindowedModel:
        """Return the solved windows as one model."""
        return WindowedModel(tuple(self.edges), tuple(window.model for window in self.solved), self.compiled.ir.is_complex)

    def state(self) -> StateTree:
        """Return edges, solved windows and the run of the next one."""
        return {
            "edges": np.array(self.edges),
            "models": {str(index): window.model.state() for index, window in enumerate(self.solved)},
            "codes": {str(index): window.code for index, window in enumerate(self.solved)},
            "numbers": np.array([[getattr(window, name) for name in NUMBERS] for window in self.solved]).reshape(-1, len(NUMBERS)),
            "run": {} if self.is_over else self.run.state(),
        }

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        self.edges = [float(edge) for edge in state["edges"]]
        numbers = np.asarray(state["numbers"]).reshape(-1, len(NUMBERS))
        stored = [state["models"][str(index)] for index in range(len(numbers))]
        models = rebuilt_models(self.compiled, self.edges, stored, self.charts)
        self.solved = [
            SolvedWindow(model, str(state["codes"][str(index)]), *map(float, row))
            for index, (model, row) in enumerate(zip(models, numbers, strict=True))
        ]
        if self.is_over:
            return
        index = len(self.solved)
        self._begin(compile_window(self.compiled, self.edges[index - 1], self.edges[index], self.charts) if index else None)
        if state["run"]:
            self.run.restore(state["run"])


def accumulated(windows: list[SolvedWindow]) -> list[float]:
    """Return the error in every window, root mean square: its own and what it makes of the error it starts from."""
    errors, carried = [], 0.0
    for window in windows:
        errors.append(window.local + window.gain * carried)
        carried = window.local + window.gain_at_end * carried
    return errors


def _amplitude(window: CompiledProblem, model: Any) -> float:
    """Return the root mean square of the fields at the probe points of a window."""
    probes, zero = probe_points(window), (0,) * len(window.ir.coordinates)
    values = [model.evaluate(index, probes, zero) for index in range(len(window.ir.is_complex))]
    return float(np.sqrt(np.mean(np.abs(np.array(values)) ** 2)))
