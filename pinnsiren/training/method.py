"""What every method has in common: a frozen record of settings, a run that advances step by step, a fitted model.

The loop that drives a run, watches the clock and writes checkpoints lives once, in `loop`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.ir import MultiIndex
from pinnsiren.training.deadline import Clock

StateTree = dict[str, Any]


@dataclass(frozen=True)
class Suitability:
    """Whether a method fits a problem, why, and a cost for ranking (lower is better).

    Attributes:
        ok: whether it fits.
        reason: why, or why not and what to change.
        cost: for ranking.
        made_for: whether it was made for problems of this kind: where it is refused and another method answers, plan and status say so.
    """

    ok: bool
    reason: str
    cost: float
    made_for: bool = False


class FittedModel(Protocol):
    """The unknown part of the fields after a run; NumPy in, NumPy out."""

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of a field's unknown part, (n_points, n_shots)."""

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """Values of the unknown scalars, in the order of the problem."""

    def state(self) -> StateTree:
        """Return what storage has to keep: nested dictionaries of arrays, numbers and texts."""


@dataclass(frozen=True)
class RunSettings:
    """What a run is given besides the problem.

    Attributes:
        seed: of every random choice.
        tolerance: wanted relative error.
        refine_while_cheap: go on below the tolerance while a further step costs little of the budget.
        seconds: budget.
        device: torch device name.
        precision: `"float64"`, `"float32"`, or `"3xtf32"`: float32 with the hidden products of sine networks split for TF32 tensor cores.
        network: record of a network for trained methods, or None.
        clock: seconds since any origin; every budget is counted by it.
        least_error: what nothing before the run has excluded, such as a front that was not looked for: no estimate of a network lies below.
    """

    seed: int
    tolerance: float
    refine_while_cheap: bool
    seconds: float
    device: str
    precision: str
    network: Any
    clock: Clock = perf_counter
    least_error: float = 0.0


class AbstractRun(ABC):
    """A run in progress: state, one step at a time."""

    @abstractmethod
    def step(self) -> dict[str, float]:
        """Advance and return the numbers of the step for the history.

        Raises:
            NonFiniteError: a residual is NaN or infinite; the message names it.
            OutOfTimeError: the step would end too late and was given up; the run is as it was before.
        """

    @abstractmethod
    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Return (status code, text) when the run is over by itself, given the seconds used so far."""

    @abstractmethod
    def predicted_seconds(self) -> float:
        """Return the expected cost of the next step."""

    @abstractmethod
    def state(self) -> StateTree:
        """Return a copy of everything that is needed to continue as if the run had not been stopped."""

    @abstractmethod
    def restore(self, state: StateTree) -> None:
        """Continue from a state."""

    @abstractmethod
    def model(self) -> FittedModel:
        """Return the best model so far."""

    @property
    def resolved_network(self) -> Any:
        """The network record with its frequencies filled in, or None for methods without a network."""
        return None

    @abstractmethod
    def error_estimate(self) -> float:
        """Return the estimated relative L2 error of the model inside the declared domain."""


class AbstractMethod(ABC):
    """Frozen record of settings of a method."""

    @abstractmethod
    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Say whether the method fits a compiled problem."""

    @abstractmethod
    def start(self, compiled: CompiledProblem, settings: RunSettings) -> AbstractRun:
        """Begin a run."""

    @property
    def trains_network(self) -> bool:
        """Whether the method trains a network, and so takes a network record."""
        return False

    @property
    def weighs_penalties(self) -> bool:
        """Whether the method weighs penalties and priors against the data; others are refused where any is declared."""
        return False

    def judge(self, compiled: CompiledProblem) -> Suitability:
        """Say whether the method fits, penalties included."""
        if compiled.ir.penalties and not self.weighs_penalties:
            labels = ", ".join(f"the {term.label}" for term in compiled.ir.penalties)
            reason = f"{labels}: the method would ignore what was declared; JointLeastSquares weighs it against observations"
            return Suitability(False, reason, np.inf)
        return self.suits(compiled)

    def refuses_processes(self, compiled: CompiledProblem) -> str:
        """Say why the work cannot be split over the processes of `torchrun`; "" where it can."""
        return "nothing of it is split over processes"

    def on_network(self, compiled: CompiledProblem, network: Any) -> str:
        """Say, for the plan, what the size of a network changes in the method; "" where nothing does."""
        return ""

    @property
    def knows_free_space(self) -> bool:
        """Whether waves leave through faces without a condition; other methods have nothing that says what comes back from there."""
        return False

    @property
    def name(self) -> str:
        """Name for reports."""
        return type(self).__name__
