"""What runs of trained networks share: points, module, unknown scalars, stopping rules, state and error estimate."""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import NonFiniteError
from pinnsiren.networks import SirenModule
from pinnsiren.training.deadline import Deadline
from pinnsiren.training.defect import estimate_by_defect
from pinnsiren.training.error_estimate import known_errors, with_the_unseen
from pinnsiren.training.front_points import stretches_of
from pinnsiren.training.front_witness import FrontWitness
from pinnsiren.training.method import AbstractMethod, AbstractRun, RunSettings, StateTree
from pinnsiren.training.network_model import NetworkModel, load_parameters
from pinnsiren.training.network_problem import NetworkProblem
from pinnsiren.training.network_schedules import Collocation
from pinnsiren.training.network_start import start_network
from pinnsiren.training.parallel import ALONE
from pinnsiren.training.probes import probe_points, without_free_constants

ESTIMATE_SHARE = 0.15  # of the budget is kept for the error estimate
DENSE_COST = 1000  # work per point of a network, in units of one sine feature
FIRST_ESTIMATE = 5  # steps before the tolerance is tested for the first time


class NetworkRun(AbstractRun):
    """Base of trained runs.

    Args:
        method: record of the method.
        compiled: the problem.
        settings: of the run.
        points: collocation points of an equation, or None.
        rows_per_parameter: real rows per parameter when `points` is None.
    """

    ranks = ALONE  # until a method that splits its work joins the others

    def __init__(
        self, method: AbstractMethod, compiled: CompiledProblem, settings: RunSettings, points: int | None, rows_per_parameter: float
    ) -> None:
        self.method, self.compiled, self.settings = method, compiled, settings
        self.dtype = torch.float64 if settings.precision == "float64" else torch.float32
        self.problem = NetworkProblem(compiled, torch.device(settings.device), self.dtype)
        self.unknowns = torch.tensor([complex(u).real for u in self.problem.initial_unknowns()], dtype=self.dtype, device=self.problem.device)
        seed = 1_000_003 * settings.seed + 11
        if points is None:
            trial = settings.network.build(self.problem.n_inputs, self.problem.n_outputs, seed=0, dtype=self.dtype, device="cpu")
            n_parameters = sum(parameter.numel() for parameter in trial.parameters())
            points = int(np.ceil(rows_per_parameter * n_parameters / self.problem.n_outputs))
        self.n_points, self.seed = points, seed
        self.schedules = tuple(getattr(method, "schedules", ()))
        self.points = Collocation(self.problem.sample(points, seed))
        self.points.prepare(self.problem)
        self.training = self.points.training or []
        self.fresh = self.problem.prepare(max(points // 2, 64), seed + 1)
        self.network, self.module = start_network(self.problem, settings, self.training)
        if settings.precision == "3xtf32" and isinstance(self.module, SirenModule):
            self.module.arithmetic = "3xtf32"
        zero = (0,) * len(compiled.ir.coordinates)
        self.probes = probe_points(compiled)
        known = [compiled.known_part(index, self.probes, zero) for index in range(len(compiled.ir.is_complex))]
        self.known = without_free_constants(compiled, known)
        self.steps, self.estimate, self.next_estimate = 0, np.inf, FIRST_ESTIMATE
        self.stuck, self.undetermined = False, tuple[str, ...]()
        self.witness: FrontWitness | None = None
        self.deadline, self.whole = Deadline(settings.clock), Deadline(settings.clock)  # of steps, and of the run
        self.last_seconds = self.estimate_seconds = 0.0

    @abstractmethod
    def advance(self) -> float:
        """Take one step; return the loss."""

    def points_changed(self) -> None:
        """Forget what belongs to the points or weights of the last step."""

    def method_state(self) -> StateTree:
        """Return the state of the optimizer."""
        return {}

    def restore_method(self, state: StateTree) -> None:
        """Restore the state of the optimizer."""

    def adopt(self, other: "NetworkRun") -> None:
        """Take over the network and the unknown scalars of a run on the same network record."""
        self.set_parameters(other.parameters())
        self.unknowns = other.unknowns.clone()
        self.steps, self.estimate, self.next_estimate = 0, other.estimate, FIRST_ESTIMATE

    def parameters(self) -> torch.Tensor:
        """Return a copy of the parameter vector."""
        return torch.nn.utils.parameters_to_vector(self.module.parameters()).detach().clone()

    def set_parameters(self, vector: torch.Tensor) -> None:
        """Write the parameter vector into the module."""
        torch.nn.utils.vector_to_parameters(vector, self.module.parameters())

    def clip(self, unknowns: torch.Tensor) -> torch.Tensor:
        """Keep unknown scalars within their declared bounds."""
        for index, unknown in enumerate(self.compiled.ir.unknowns):
            low, high = type(unknown).declaration.bounds
            unknowns[index] = unknowns[index].clamp(float(low), float(high))
        return unknowns

    def amplitude(self) -> float:
        """Return the root mean square of the fields at the probe points."""
        model, zero = self.model(), (0,) * len(self.compiled.ir.coordinates)
        unknown = without_free_constants(self.compiled, [model.evaluate(i, self.probes, zero) for i in range(len(self.known))])
        squares = [np.mean(np.abs(value + known) ** 2) for value, known in zip(unknown, self.known, strict=True)]
        return float(np.sqrt(np.mean(squares))) or 1.0

    def step(self) -> dict[str, float]:
        """Advance and measure."""
        start = self.settings.clock()
        # No generator: every schedule has its turn.
        if any([schedule.update(self, self.points) for schedule in self.schedules]):
            self.training, self.stuck = self.points.training or [], False
            self.points_changed()
        loss = self.advance()
        self.steps += 1
        amplitude = self.amplitude()
        fresh = float(self.problem.all_rows(self.module, self.fresh, self.unknowns).norm()) / amplitude
        self._check_finite(fresh, loss)
        if self.steps >= self.next_estimate:
            self._update_estimate()
        self.last_seconds = self.settings.clock() - start
        numbers = {"training_residual": float(np.sqrt(2 * loss)) / amplitude, "fresh_residual": fresh, "estimated_error": self.estimate}
        for index, unknown in enumerate(self.compiled.ir.unknowns):
            numbers[f"unknown_{type(unknown).declaration.name}"] = float(self.unknowns[index])
        return numbers

    def _check_finite(self, fresh: float, loss: float) -> None:
        if np.isfinite(fresh) and np.isfinite(loss):
            return
        for residual in (*self.training, *self.fresh):
            if not bool(torch.isfinite(self.problem.all_rows(self.module, [residual], self.unknowns)).all()):
                raise NonFiniteError(f"the residual of `{self.compiled.ir.residuals[residual.index].label}`")
        raise NonFiniteError("the loss")

    def _update_estimate(self) -> None:
        start = self.settings.clock()
        found = estimate_by_defect(self.compiled, self.settings, self.model())
        estimate, self.undetermined = found.error, found.undetermined
        if stretches_of(self.compiled):
            self.witness = self.witness or FrontWitness(self.compiled, self.settings, self.whole)
            estimate = max(estimate, self.witness.least_error(self.model()))
        estimate = max(estimate, self.settings.least_error)
        if estimate <= self.settings.tolerance:
            amplitude, seed = self.amplitude(), 1_000_003 * self.settings.seed + 13 * self.steps
            fresh = float(self.problem.all_rows(self.module, self.fresh, self.unknowns).norm()) / amplitude
            estimate = with_the_unseen(estimate, self.compiled, self.model(), fresh, amplitude, DENSE_COST, seed)
        self.estimate = float(np.hypot(estimate, known_errors(self.compiled)))
        self.estimate_seconds = self.settings.clock() - start
        self.next_estimate = int(self.steps * 1.6) + 1

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Stop at the tolerance, at the budget, or when no step lowers the residual; of many processes, when the first does: clocks differ."""
        if self.ranks.size == 1:
            # Processes that looked at clocks of their own within a step would wait for each other's messages.
            self.deadline.allow(self._limit() - elapsed)
            self.whole.allow(self.settings.seconds - elapsed)
        reason = self._own_reason(elapsed) if self.ranks.rank == 0 else None
        agreed: tuple[str, str] | None
        agreed, self.estimate = self.ranks.agree((reason, self.estimate))
        return agreed

    def _limit(self) -> float:
        """Seconds after which only an estimate follows."""
        return max(self.settings.seconds * (1 - ESTIMATE_SHARE), self.settings.seconds - 1.5 * self.estimate_seconds)

    def _own_reason(self, elapsed: float) -> tuple[str, str] | None:
        if self.steps == 0:
            return None
        wanted = f"above the tolerance {self.settings.tolerance:.2g}"
        if self.estimate <= self.settings.tolerance:
            return "success", f"the estimated error {self.estimate:.2g} is at or below the tolerance {self.settings.tolerance:.2g}"
        reserve = 2 * self.last_seconds if self.steps < FIRST_ESTIMATE else 0.0
        out_of_time = elapsed + max(self.last_seconds, reserve) > self._limit()
        out_of_steps = self.steps >= getattr(self.method, "maximum_steps", np.inf)
        stuck = self.stuck and not any(schedule.keeps_going(self.points) for schedule in self.schedules)
        if not (stuck or out_of_time or out_of_steps):
            return None
        self._update_estimate()
        if self.estimate <= self.settings.tolerance:
            return "success", f"the estimated error {self.estimate:.2g} is at or below the tolerance {self.settings.tolerance:.2g}"
        text = f"the estimated error is {self.estimate:.2g}, {wanted}: "
        if self.undetermined and not self.compiled.ir.unknowns:
            return "tolerance_not_reached", (
                f"equations and conditions hardly determine {', '.join(self.undetermined)}: there is a function that may be added and changes none "
                "of them by what a network can resolve, as at a resonance. Change a coefficient, add a condition or observations, or let "
                'method="auto" choose'
            )
        if self.undetermined:
            names = ", ".join(self.undetermined)
            return "tolerance_not_reached", (
                f"equations, conditions and observations do not determine {names}: other values fit them as well. "
                "Add observations, or declare fewer unknowns"
            )
        if stuck:
            return "tolerance_not_reached", text + "no step lowers the residual further; a wider or deeper network, or method=\"auto\", may"
        if out_of_steps:
            return "tolerance_not_reached", text + f"{self.steps} steps were allowed; raise maximum_steps"
        if self.settings.least_error or (self.witness is not None and self.witness.cut_short):
            text += "the coarse solve that looks for fronts was cut short, and nothing else tells where they are; "
        return "out_of_time", text + f"{self.settings.seconds:.3g} s were given; raise seconds, loosen tolerance, or let method=\"auto\" choose"

    def predicted_seconds(self) -> float:
        """Return the time of the last step."""
        return self.last_seconds

    def error_estimate(self) -> float:
        """Return the last estimate."""
        if not np.isfinite(self.estimate):
            self._update_estimate()
        return self.estimate

    def model(self) -> NetworkModel:
        """Return the network as it stands."""
        return NetworkModel(self.problem, self.module, self.unknowns)

    def state(self) -> StateTree:
        """Return parameters, unknowns, counters and the optimizer's state."""
        return {
            "model": self.model().state(),
            "steps": self.steps,
            "estimate": self.estimate,
            "next_estimate": self.next_estimate,
            "last_seconds": self.last_seconds,
            "estimate_seconds": self.estimate_seconds,
            "method": self.method_state(),
            **({"points": self.points.state()} if self.schedules else {}),
        }

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        load_parameters(self.module, state["model"]["parameters"])
        self.unknowns = torch.as_tensor(np.real(np.asarray(state["model"]["unknowns"]))).to(self.unknowns)
        self.steps, self.estimate = int(state["steps"]), float(state["estimate"])
        self.next_estimate = int(state["next_estimate"])
        self.last_seconds, self.estimate_seconds = float(state["last_seconds"]), float(state["estimate_seconds"])
        if self.schedules:
            self.points.restore(state["points"], self.problem)
            self.training = self.points.training or []
        self.restore_method(state["method"])

    @property
    def resolved_network(self) -> Any:
        """The network record with its frequencies filled in, for storage."""
        return self.network
