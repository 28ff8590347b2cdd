"""A run that solves at one size after another until its estimate meets the tolerance: what lattices, modes and marches share.

Input: a compiled problem of one field, the settings of the run. Output: the last model and its estimated error. A method says how it fits a size and
which size is its last; here stand the measuring at fresh points, the estimate from two sizes, the dense look before a success, and the clock.
"""

from abc import abstractmethod
from time import perf_counter
from typing import ClassVar, Generic, TypeVar

import numpy as np

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.training.error_estimate import estimate_from_sizes, with_the_unseen
from pinnsiren.training.least_squares import CHEAP, CHEAP_SECONDS, ENOUGH
from pinnsiren.training.method import AbstractRun, FittedModel, RunSettings, StateTree
from pinnsiren.training.probes import probe_points
from pinnsiren.training.row_system import residual_system
from pinnsiren.training.sampling import sample_residual

ModelT = TypeVar("ModelT", bound=FittedModel)
N_FRESH = 1200


class GrowingRun(AbstractRun, Generic[ModelT]):
    """Sizes that grow until the estimate meets the tolerance.

    Attributes:
        level: sizes solved so far.
        models: the last two.
        residuals: scaled residual at fresh points, relative to the field, of every size.
    """

    stalls_above: ClassVar[float] = 1.0  # ratio of two residuals from which on a larger size does not help

    def __init__(self, compiled: CompiledProblem, settings: RunSettings) -> None:
        self.compiled, self.settings = compiled, settings
        self.probes = probe_points(compiled)
        self.level, self.estimate, self.last_seconds, self.confirmed = 0, np.inf, 0.0, False
        self.models: list[ModelT] = []
        self.residuals: list[float] = []

    @abstractmethod
    def fit(self) -> ModelT:
        """Return the model of the size that `level` stands for."""

    @abstractmethod
    def size(self, model: ModelT) -> int:
        """Return the number of amplitudes of a model."""

    @abstractmethod
    def is_last(self) -> bool:
        """Whether the method allows no size beyond the last one."""

    @abstractmethod
    def exhausted(self) -> str:
        """Return what the user is told when the largest size does not meet the tolerance: the limit, its likely cause, the remedy."""

    @abstractmethod
    def restored_model(self, state: StateTree) -> ModelT:
        """Return a model from its state."""

    @property
    def checked(self) -> CompiledProblem:
        """The problem whose residuals are looked at."""
        return self.compiled

    def n_fresh(self) -> int:
        """Return the number of fresh points in the interior."""
        return N_FRESH

    def cost(self, model: ModelT) -> int:
        """Return the work per point of an evaluation."""
        return self.size(model)

    def step(self) -> dict[str, float]:
        """Solve at the next size."""
        begun = perf_counter()
        model = self.fit()
        self.models = [*self.models[-1:], model]
        fresh = self._fresh(model)
        if len(self.models) == 2:
            zero = (0,) * self.probes.shape[1]
            values, before = (m.evaluate(0, self.probes, zero) for m in (model, self.models[0]))
            ratio = fresh / max(self.residuals[-1], 1e-300)
            self.estimate = estimate_from_sizes([values], [before], [np.zeros((1, 1))], ratio, fresh)
        self.residuals.append(fresh)
        self.level, self.confirmed, self.last_seconds = self.level + 1, False, perf_counter() - begun
        return {"size": float(self.size(model)), "fresh_residual": fresh, "estimated_error": self.estimate}

    def _fresh(self, model: ModelT) -> float:
        """Return the scaled residual at fresh points, relative to the field."""
        system, seed = residual_system(self.checked), 1_000_003 * self.settings.seed + 17
        samples = [sample_residual(self.checked, r, self.n_fresh(), seed + 31 * i) for i, r in enumerate(self.checked.ir.residuals)]
        return system.residual_norm(samples, model) / self._amplitude(model)

    def _amplitude(self, model: ModelT) -> float:
        return float(np.sqrt(np.mean(np.abs(model.evaluate(0, self.probes, (0,) * self.probes.shape[1])) ** 2))) or 1.0

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Decide after each size from the second on."""
        if len(self.models) < 2:
            return None
        settings, next_seconds, left = self.settings, self.predicted_seconds(), self.settings.seconds - elapsed
        is_last, stalls = self.is_last(), self.residuals[-1] >= self.stalls_above * self.residuals[-2]
        if self.estimate <= settings.tolerance:
            cheap = next_seconds < min(left, max(CHEAP * left, CHEAP_SECONDS))
            if settings.refine_while_cheap and cheap and self.estimate > ENOUGH and not is_last and not stalls:
                return None
            self._confirm()
            if self.estimate <= settings.tolerance:
                return "success", f"the estimated error {self.estimate:.2g} is at or below the tolerance {settings.tolerance:.2g}"
        wanted = f"the estimated error is {self.estimate:.2g}, above the tolerance {settings.tolerance:.2g}"
        if is_last:
            return "tolerance_not_reached", f"{wanted}: {self.exhausted()}"
        if next_seconds > left:
            used = f"{elapsed:.0f} s of {settings.seconds:g} s are used"
            return "out_of_time", f"{wanted}: the next size needs about {next_seconds:.0f} s, {used}. Raise seconds, or loosen tolerance"
        return None

    def _confirm(self) -> None:
        """Look once, before a size is called a success, for what its points missed."""
        if not self.confirmed:
            self.confirmed, model = True, self.models[-1]
            seed = 1_000_003 * self.settings.seed + 3
            self.estimate = with_the_unseen(
                self.estimate, self.checked, model, self.residuals[-1], self._amplitude(model), self.cost(model), seed
            )

    def error_estimate(self) -> float:
        """Return the estimate of the last size."""
        return self.estimate

    def model(self) -> ModelT:
        """Return the last size."""
        return self.models[-1]

    def state(self) -> StateTree:
        """Return the last two sizes and the counters."""
        numbers = {name: getattr(self, name) for name in ("level", "estimate", "last_seconds", "confirmed")}
        models = {str(index): model.state() for index, model in enumerate(self.models)}
        return {**numbers, "residuals": np.array(self.residuals), "models": models}

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        self.level, self.confirmed = int(state["level"]), bool(state["confirmed"])
        self.estimate, self.last_seconds = float(state["estimate"]), float(state["last_seconds"])
        self.residuals = [float(value) for value in state["residuals"]]
        self.models = [self.restored_model(state["models"][str(index)]) for index in range(len(state["models"]))]
