"""First-order and quasi-Newton methods for trained networks: `LBFGS` and `Adam`, both by torch's own optimizers.

For affine problems `LBFGS` eliminates the last layer: every evaluation first sets it to its least-squares optimum, so that the optimizer sees the
reduced functional of the hidden layers, whose gradient is the partial gradient at the optimum (Golub and Pereyra 1973).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import ProblemError
from pinnsiren.networks.jacobian import last_layer_columns
from pinnsiren.networks.layered import LayeredModule
from pinnsiren.training.accumulation import CHUNK_POINTS, accumulate_gradient, assign_gradient, draw_chunks, share_points
from pinnsiren.training.graphed_step import GraphedStep, Step, copy_points
from pinnsiren.training.method import AbstractMethod, RunSettings, StateTree, Suitability
from pinnsiren.training.network_problem import PreparedResidual
from pinnsiren.training.network_run import NetworkRun
from pinnsiren.training.network_schedules import AbstractSchedule, check_schedules
from pinnsiren.training.network_start import shift_parameters, solve_damped
from pinnsiren.training.parallel import SHARES, join_ranks

CURVATURE_TOLERANCE = 1e-300  # let the line search, not absolute tolerances on tiny losses, decide when to stop
FIRST_LOSS = 1e10  # the loss is scaled to start here: torch drops curvature pairs with y.s below the absolute number 1e-10


def _suits(compiled: CompiledProblem, reason: str, cost: float) -> Suitability:
    if compiled.ir.coefficients:
        return Suitability(False, "networks of this version solve for no coefficient fields", np.inf)
    return Suitability(True, reason, cost)


@dataclass(frozen=True)
class LBFGS(AbstractMethod):
    """Settings of L-BFGS with strong Wolfe line search on fixed points; under `torchrun` they are split over the processes.

    Attributes:
        points: collocation points of an equation; None takes `rows_per_parameter`.
        rows_per_parameter: real rows per parameter when `points` is None.
        history: pairs that the quasi-Newton matrix remembers.
        iterations: iterations per reported step.
        eliminate: solve the last layer exactly at every evaluation where the problem is linear in it.
        maximum_steps: most reported steps.
        schedules: what changes points and weights between reported steps, such as `(ResidualAdaptive(),)`.
    """

    points: int | None = None
    rows_per_parameter: float = 2.0
    history: int = 50
    iterations: int = 10
    eliminate: bool = True
    maximum_steps: int = 1_000_000
    schedules: tuple[AbstractSchedule, ...] = ()

    def __post_init__(self) -> None:
        _check_positive(self, "points", "rows_per_parameter", "history", "iterations", "maximum_steps")
        object.__setattr__(self, "schedules", check_schedules("LBFGS", self.schedules))

    @property
    def trains_network(self) -> bool:
        """L-BFGS trains a network."""
        return True

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits every problem whose derivatives the streams carry; best where the last layer can be eliminated."""
        refusals = [text for schedule in self.schedules if (text := schedule.refusal(compiled))]
        if refusals:
            return Suitability(False, "; ".join(refusals), np.inf)
        if compiled.structure.in_fields == "nonlinear":
            return _suits(compiled, "quasi-Newton steps on all layers", 2.5)
        return _suits(compiled, "quasi-Newton steps on the hidden layers, the last solved exactly at every evaluation", 1.5)

    def refuses_processes(self, compiled: CompiledProblem) -> str:
        """Nothing: points are split."""
        return ""

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "LBFGSRun":
        """Build the network and draw the points."""
        return LBFGSRun(self, compiled, settings)


@dataclass(frozen=True)
class Adam(AbstractMethod):
    """Settings of Adam; every reported step draws fresh points. Under `torchrun` the points are split over the processes.

    Attributes:
        points: collocation points of an equation.
        learning_rate: of Adam.
        iterations: iterations per reported step, all on the points of that step.
        maximum_steps: most reported steps.
    """

    points: int = 2000
    learning_rate: float = 1e-3
    iterations: int = 50
    maximum_steps: int = 1_000_000

    def __post_init__(self) -> None:
        _check_positive(self, "points", "learning_rate", "iterations", "maximum_steps")

    @property
    def trains_network(self) -> bool:
        """Adam trains a network."""
        return True

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits every problem, slowly."""
        return _suits(compiled, "first-order steps; slow on differential equations, useful as a warm-up", 9.0)

    def refuses_processes(self, compiled: CompiledProblem) -> str:
        """Nothing: points are split."""
        return ""

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "AdamRun":
        """Build the network."""
        return AdamRun(self, compiled, settings)


def _check_positive(record: Any, *names: str) -> None:
    for name in names:
        value = getattr(record, name)
        if value is not None and not value > 0:
            raise ProblemError(f"{type(record).__name__} was given {name}={value}; expected a positive number")


class LBFGSRun(NetworkRun):
    """L-BFGS on the reduced functional."""

    method: LBFGS

    def __init__(self, method: LBFGS, compiled: CompiledProblem, settings: RunSettings) -> None:
        super().__init__(method, compiled, settings, method.points, method.rows_per_parameter)
        affine = all(program.is_affine_in_jets for program in compiled.programs)
        self.eliminate = method.eliminate and affine and isinstance(self.module, LayeredModule)
        self.scalars = torch.nn.Parameter(self.unknowns.clone())
        trained = list(self.module.parameters())
        if self.eliminate:
            # Weight and bias of the last layer come last in the parameter vector.
            trained = trained[:-2]
        if len(self.unknowns):
            trained = [*trained, self.scalars]
        self.trained = trained
        self.scale = 1.0
        self.ranks = join_ranks(self.problem.device)
        self._new_optimizer()

    def _new_optimizer(self) -> None:
        self.optimizer = torch.optim.LBFGS(
            self.trained,
            lr=1.0,
            max_iter=self.method.iterations,
            history_size=self.method.history,
            tolerance_grad=CURVATURE_TOLERANCE,
            tolerance_change=CURVATURE_TOLERANCE,
            line_search_fn="strong_wolfe",
        )

    def points_changed(self) -> None:
        """Differences of gradients of two losses are no curvature."""
        self._new_optimizer()

    def _is_finite(self) -> bool:
        return all(bool(torch.isfinite(parameter).all()) for parameter in self.trained)

    def _closure(self) -> torch.Tensor:
        scalars, own = self.scalars, share_points(self.training, self.ranks)
        if not self._is_finite():
            # A line search may overshoot, above all in single precision: an infinite loss sends it back.
            self.optimizer.zero_grad(set_to_none=False)
            return torch.tensor(np.inf, dtype=torch.float64)
        if self.eliminate:
            columns = last_layer_columns(self.module)
            rows, jacobian = self.problem.jacobian_columns(self.module, own, scalars.detach())
            if not bool(torch.isfinite(self.ranks.add(jacobian.sum()))):
                self.optimizer.zero_grad(set_to_none=False)
                return torch.tensor(np.inf, dtype=torch.float64)
            shift_parameters(self.module, columns, -solve_damped(jacobian, rows, 0.0, self.ranks))
        self.module.zero_grad()
        self.optimizer.zero_grad()
        loss = self.scale * self.problem.loss(self.module, own, scalars)
        loss.backward()  # type: ignore[no-untyped-call]
        return self._of_all(loss.detach())

    def _of_all(self, loss: torch.Tensor) -> torch.Tensor:
        """Sum loss and gradient over the processes, in float64 and one message: the line search then decides alike on each."""
        if self.ranks.size == 1:
            return loss
        flat = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in self.trained]).double()
        total, gradient = self.ranks.sum(float(loss), flat)
        assign_gradient(self.trained, gradient)
        return loss.new_tensor(total)

    def advance(self) -> float:
        """Run a few iterations; return the loss."""
        if self.scale == 1.0:
            self.scale = FIRST_LOSS / max(float(self._closure()), 1e-300)
        before = [parameter.detach().clone() for parameter in self.trained]
        self.optimizer.step(self._closure)  # type: ignore[no-untyped-call]
        if not self._is_finite():
            with torch.no_grad():
                for parameter, value in zip(self.trained, before, strict=True):
                    parameter.copy_(value)
        with torch.no_grad():
            self.scalars.copy_(self.clip(self.scalars.detach().clone()))
        self.unknowns = self.scalars.detach().clone()
        loss = float(self._closure()) / self.scale
        if all(torch.equal(a, b) for a, b in zip(before, self.trained, strict=True)):
            self.idle += 1
            # A line search that fails once may only need a fresh start without its memory.
            self.stuck = self.idle > 1
            self._new_optimizer()
        else:
            self.idle = 0
        return loss

    idle = 0

    def adopt(self, other: NetworkRun) -> None:
        """Take over network and unknown scalars."""
        super().adopt(other)
        with torch.no_grad():
            self.scalars.copy_(self.unknowns)

    def method_state(self) -> StateTree:
        """Return the memory of the quasi-Newton matrix."""
        return {"optimizer": _lbfgs_state(self.optimizer), "idle": self.idle, "scale": self.scale}

    def restore_method(self, state: StateTree) -> None:
        """Restore the memory."""
        with torch.no_grad():
            self.scalars.copy_(self.unknowns)
        self.idle, self.scale = int(state["idle"]), float(state["scale"])
        _restore_lbfgs(self.optimizer, state["optimizer"], self.trained[0])


def _lbfgs_state(optimizer: torch.optim.LBFGS) -> StateTree:
    inner = optimizer.state[optimizer.param_groups[0]["params"][0]]
    tree: StateTree = {"empty": not inner}
    for name, value in inner.items():
        if isinstance(value, torch.Tensor):
            tree[f"tensor_{name}"] = value.detach().cpu().numpy().copy()
        elif isinstance(value, list):
            if name != "al":
                tree[f"list_{name}"] = torch.stack([torch.as_tensor(v) for v in value]).cpu().numpy() if value else np.zeros(0)
        elif value is not None:
            tree[f"number_{name}"] = float(value)
    return tree


def _restore_lbfgs(optimizer: torch.optim.LBFGS, tree: StateTree, like: torch.Tensor) -> None:
    inner = optimizer.state[optimizer.param_groups[0]["params"][0]]
    for key, value in tree.items():
        kind, _, name = key.partition("_")
        if kind == "tensor":
            inner[name] = torch.as_tensor(np.asarray(value)).to(like)
        elif kind == "list":
            inner[name] = [torch.as_tensor(np.asarray(v)).to(like) for v in value]
        elif kind == "number":
            inner[name] = int(value) if name in ("func_evals", "n_iter") else float(value)


class AdamRun(NetworkRun):
    """Adam on points drawn anew for every reported step."""

    method: Adam

    def __init__(self, method: Adam, compiled: CompiledProblem, settings: RunSettings) -> None:
        # More points than a chunk are never held together: they are drawn again, chunk by chunk, in every iteration.
        super().__init__(method, compiled, settings, min(method.points, CHUNK_POINTS), 1.0)
        self.n_points = method.points
        self.ranks = join_ranks(self.problem.device)
        self.scalars = torch.nn.Parameter(self.unknowns.clone())
        on_gpu = self.problem.device.type == "cuda"
        self.optimizer = torch.optim.Adam(self._trained, lr=method.learning_rate, capturable=on_gpu, fused=True if on_gpu else None)
        self._points: list[PreparedResidual] = []
        self._graphed: GraphedStep | None = None

    def advance(self) -> float:
        """Run some iterations on fresh points; return the loss."""
        seed = 1_000_003 * self.settings.seed + 97 * (self.steps + 1)
        whole_at_once = self.n_points <= CHUNK_POINTS and self.ranks.size == 1
        if whole_at_once:
            loss = self._descend(self.problem.prepare(self.n_points, seed))
        else:
            held = self.n_points <= CHUNK_POINTS
            if held:
                self._hold(share_points(self.problem.prepare(self.n_points, seed), self.ranks), self._own_gradient)
            for _ in range(self.method.iterations):
                self.optimizer.zero_grad()
                loss = self._share_gradient() if held else self._accumulate(seed)
                self.optimizer.step()
        with torch.no_grad():
            self.scalars.copy_(self.clip(self.scalars.detach().clone()))
        self.unknowns = self.scalars.detach().clone()
        return loss

    def _descend(self, points: list[PreparedResidual]) -> float:
        """Take the iterations of a reported step on the same points; on a GPU as one graph."""
        step, loss = self._hold(points, self._iterate), torch.tensor(0.0)
        for _ in range(self.method.iterations):
            loss = step()
        return float(loss)

    def _hold(self, points: list[PreparedResidual], step: Step) -> GraphedStep:
        """Put points where a captured step reads them; it is captured anew where their shapes are others."""
        if self._graphed is None or not copy_points(self._points, points):
            self._points, self._graphed = points, GraphedStep(step, self.problem.device)
        return self._graphed

    def _iterate(self) -> torch.Tensor:
        # Gradients that are new write where a graph keeps them, without being cleared or added to.
        self.optimizer.zero_grad()
        loss = self.problem.loss(self.module, self._points, self.scalars)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    @property
    def _trained(self) -> list[torch.nn.Parameter]:
        return [*self.module.parameters(), *([self.scalars] if len(self.scalars) else [])]

    def _own_gradient(self) -> torch.Tensor:
        """Return loss and gradient of the points of this process as one vector in float64, without a copy to the host."""
        loss = self.problem.loss(self.module, self._points, self.scalars)
        parts = torch.autograd.grad(loss, self._trained, allow_unused=True)
        flat = [torch.zeros_like(p).flatten() if part is None else part.flatten() for p, part in zip(self._trained, parts, strict=True)]
        return torch.cat([loss.detach().double().view(1), torch.cat(flat).double()])

    def _share_gradient(self) -> float:
        """Write the gradient over the points of all processes; return the loss. All up to the message is one graph on a GPU."""
        assert self._graphed is not None
        flat = self._graphed()
        loss, gradient = self.ranks.sum(float(flat[0]), flat[1:])
        assign_gradient(self._trained, gradient)
        return loss

    def _accumulate(self, seed: int) -> float:
        """Write the gradient over points that are drawn chunk by chunk, those of other processes included; return the loss."""
        scalars = [self.scalars] if len(self.scalars) else []
        chunk = max(1, min(CHUNK_POINTS, self.n_points // SHARES))
        chunks = draw_chunks(self.problem, self.n_points, seed, chunk, self.ranks)
        loss, gradient = self.ranks.sum(*accumulate_gradient(self.problem, self.module, chunks, self.scalars, scalars))
        assign_gradient(self._trained, gradient)
        return loss

    def adopt(self, other: NetworkRun) -> None:
        """Take over network and unknown scalars."""
        super().adopt(other)
        self._graphed = None
        with torch.no_grad():
            self.scalars.copy_(self.unknowns)

    def method_state(self) -> StateTree:
        """Return the moments."""
        tree: StateTree = {}
        for index, parameter in enumerate(self.optimizer.param_groups[0]["params"]):
            for name, value in self.optimizer.state[parameter].items():
                tree[f"{index}_{name}"] = torch.as_tensor(value).cpu().numpy().copy()
        return tree

    def restore_method(self, state: StateTree) -> None:
        """Restore the moments, in memory that no graph knows."""
        self._graphed = None
        with torch.no_grad():
            self.scalars.copy_(self.unknowns)
        parameters = self.optimizer.param_groups[0]["params"]
        for key, value in state.items():
            index, _, name = key.partition("_")
            parameter = parameters[int(index)]
            target = torch.as_tensor(np.asarray(value))
            self.optimizer.state[parameter][name] = target.float().to(parameter.device) if name == "step" else target.to(parameter)
