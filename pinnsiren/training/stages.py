"""Stages: several methods on one network, one after the other.

Each stage gets an equal share of what is left of the budget, and hands its network and unknown scalars to the next.
"""

from dataclasses import dataclass

import numpy as np

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import ProblemError
from pinnsiren.training.method import AbstractMethod, AbstractRun, RunSettings, StateTree, Suitability
from pinnsiren.training.network_model import NetworkModel
from pinnsiren.training.network_run import NetworkRun


@dataclass(frozen=True)
class Stages(AbstractMethod):
    """Methods that train one network in turn.

    Attributes:
        methods: records of trained methods, such as `Adam(maximum_steps=20)` followed by `LBFGS()`.

    Raises:
        ProblemError: no stage, or a method that trains no network.
    """

    methods: tuple[AbstractMethod, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "methods", tuple(self.methods))
        if not self.methods:
            raise ProblemError("Stages was given no methods; expected at least one, such as Stages([Adam(), LBFGS()])")
        for method in self.methods:
            if not isinstance(method, AbstractMethod) or not method.trains_network or isinstance(method, Stages):
                raise ProblemError(f"Stages was given {method!r}, which trains no network; expected Adam, LBFGS or GaussNewton")

    @property
    def trains_network(self) -> bool:
        """Every stage trains the network."""
        return True

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits when every stage fits."""
        judgements = [method.suits(compiled) for method in self.methods]
        refusals = [judgement.reason for judgement in judgements if not judgement.ok]
        if refusals:
            return Suitability(False, "; ".join(refusals), np.inf)
        return Suitability(True, ", then ".join(method.name for method in self.methods), max(j.cost for j in judgements))

    def refuses_processes(self, compiled: CompiledProblem) -> str:
        """What the first stage that refuses says."""
        return next((reason for method in self.methods if (reason := method.refuses_processes(compiled))), "")

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "StagesRun":
        """Begin with the first stage."""
        return StagesRun(self, compiled, settings)


class StagesRun(AbstractRun):
    """The stage in progress."""

    def __init__(self, method: Stages, compiled: CompiledProblem, settings: RunSettings) -> None:
        self.method, self.compiled, self.settings = method, compiled, settings
        self.index, self.stage_used = 0, 0.0
        self.run = self._begin(0)

    def _begin(self, index: int) -> NetworkRun:
        run = self.method.methods[index].start(self.compiled, self.settings)
        assert isinstance(run, NetworkRun)
        return run

    @property
    def resolved_network(self) -> object:
        """The network record with its frequencies filled in."""
        return self.run.network

    def step(self) -> dict[str, float]:
        """Advance the stage, or hand over to the next."""
        start = self.settings.clock()
        share = self.settings.seconds / len(self.method.methods)
        last = self.index == len(self.method.methods) - 1
        over = self.run.stuck or self.run.steps >= getattr(self.run.method, "maximum_steps", np.inf) or self.stage_used > share
        # Clocks of processes differ.
        if not last and self.run.steps and self.run.ranks.agree(over):
            self.index, self.stage_used = self.index + 1, 0.0
            self._hand_over(self._begin(self.index))
        numbers = {"stage": float(self.index), **self.run.step()}
        self.stage_used += self.settings.clock() - start
        return numbers

    def _hand_over(self, following: NetworkRun) -> None:
        following.adopt(self.run)
        self.run = following

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Only the last stage ends the run, unless the tolerance or the budget is met before."""
        reason = self.run.stop_reason(elapsed)
        last = self.index == len(self.method.methods) - 1
        return reason if last or (reason is not None and reason[0] in ("success", "out_of_time")) else None

    def predicted_seconds(self) -> float:
        """Return the time of the last step."""
        return self.run.predicted_seconds()

    def error_estimate(self) -> float:
        """Return the estimate of the stage."""
        return self.run.error_estimate()

    def model(self) -> NetworkModel:
        """Return the network as it stands."""
        return self.run.model()

    def state(self) -> StateTree:
        """Return the stage and its state."""
        return {"index": self.index, "stage_used": self.stage_used, "stage": self.run.state()}

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        self.index, self.stage_used = int(state["index"]), float(state["stage_used"])
        self.run = self._begin(self.index)
        self.run.restore(state["stage"])
