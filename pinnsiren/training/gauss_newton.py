"""Gauss-Newton for trained networks: damped by a gain ratio, the last layer eliminated where the problem is linear in it.

At each step (J^T J + mu D^2) delta = -J^T r with D the column norms, or the dual form delta = -D^-2 J^T (J D^-2 J^T + mu)^-1 r when there are more
parameters than residuals, then without a Jacobian; `step_choice` says which equations are solved how. For affine problems the last layer is solved
exactly after every step and its columns are projected out of J (variable projection in Kaufman's form). Across fronts every step is bent along the
valley that it follows: with r'' the second derivative of the residual along the step, measured by one difference, the step is delta + a/2,
a = -(J^T J + mu D^2)^-1 J^T r''. A step whose bend is not small against it is damped more.

Reference: Golub and Pereyra 1973; Kaufman 1975; Nielsen 1999 for the damping; Transtrum and Sethna 2012, arXiv:1201.5885, for the acceleration.
"""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import ProblemError
from pinnsiren.networks.jacobian import last_layer_columns
from pinnsiren.networks.layered import LayeredModule
from pinnsiren.networks.siren import Siren
from pinnsiren.training.accumulated_system import JACOBIAN_BYTES, AccumulatedSystem
from pinnsiren.training.accumulation import Chunk, accumulate_normal_equations, share_points
from pinnsiren.training.damped_system import PROBE, AbstractDampedSystem, DampedSystem
from pinnsiren.training.dual_system import DualSystem
from pinnsiren.training.front_points import stretches_of
from pinnsiren.training.method import AbstractMethod, RunSettings, StateTree, Suitability
from pinnsiren.training.network_fronts import wants_coarse_solve
from pinnsiren.training.network_problem import NetworkProblem, PreparedResidual
from pinnsiren.training.network_run import NetworkRun
from pinnsiren.training.network_schedules import AbstractSchedule, check_schedules
from pinnsiren.training.network_start import orthonormal_basis, shift_parameters, solve_damped
from pinnsiren.training.network_waves import wave_relation
from pinnsiren.training.parallel import ALONE, join_ranks
from pinnsiren.training.sketched_system import SketchedSystem, StreamedRows
from pinnsiren.training.step_choice import StepChoice, choose_step, counted_rows

SMALLEST_DAMPING, LARGEST_DAMPING = 1e-14, 1e8
FIRST_DAMPING = 1e-2

_log = logging.getLogger(__name__)


System = AbstractDampedSystem | AccumulatedSystem | SketchedSystem


@dataclass(frozen=True)
class GaussNewton(AbstractMethod):
    """Settings of Gauss-Newton. Under `torchrun` the rows are split over the processes.

    Attributes:
        points: collocation points of an equation; None takes `rows_per_parameter`.
        rows_per_parameter: real rows per parameter when `points` is None: below three, small networks fit the points and not the equation.
        eliminate: solve the last layer exactly where the problem is linear in it.
        accelerate: bend steps along their valley, in double precision, where no layer is eliminated and the Jacobian is formed as a whole. None does
            so for networks with inputs stretched across fronts; on a reaction of five seeds that needs a curriculum it made no clear difference.
        maximum_steps: most steps.
        jacobian_bytes: a larger Jacobian is never formed; its normal equations are summed over chunks of points.
        exact_rows: residuals, or parameters where those are fewer, up to which the equations of a step are factorised. Above, they are solved by
            conjugate gradients, which a sketch of half as many rows preconditions; a step counts by what it does to all residuals.
        schedules: what changes points and weights on the way, such as `(ResidualAdaptive(),)`.
    """

    points: int | None = None
    rows_per_parameter: float = 3.5
    eliminate: bool = True
    accelerate: bool | None = None
    maximum_steps: int = 100_000
    jacobian_bytes: int = JACOBIAN_BYTES
    exact_rows: int = 8000
    schedules: tuple[AbstractSchedule, ...] = ()

    def __post_init__(self) -> None:
        for name in ("points", "rows_per_parameter", "maximum_steps", "jacobian_bytes", "exact_rows"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ProblemError(f"GaussNewton was given {name}={value}; expected a positive number")
        if self.accelerate not in (None, True, False):
            raise ProblemError(f"GaussNewton was given accelerate={self.accelerate!r}; expected True, False, or None to let the problem decide")
        object.__setattr__(self, "schedules", check_schedules("GaussNewton", self.schedules))

    @property
    def trains_network(self) -> bool:
        """Gauss-Newton trains a network."""
        return True

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits every problem whose derivatives the streams carry."""
        if compiled.ir.coefficients:
            return Suitability(False, "networks of this version solve for no coefficient fields", np.inf)
        refusals = [text for schedule in self.schedules if (text := schedule.refusal(compiled))]
        if refusals:
            return Suitability(False, "; ".join(refusals), np.inf)
        if wave_relation(compiled, Siren()) is not None:
            return Suitability(True, "plane waves: few steps from a first layer on the dispersion relation; the last is eliminated exactly", 1.4)
        reason = "trains every layer; the last is eliminated exactly" if compiled.structure.in_fields != "nonlinear" else "linearises at every step"
        if wants_coarse_solve(compiled):
            reason += "; a coarse solve looks for fronts first, across which the network gets stretched inputs"
        return Suitability(True, f"{compiled.structure.overall}: {reason}", 2.0)

    def on_network(self, compiled: CompiledProblem, network: Any) -> str:
        """Say how the equations of a step will be solved."""
        problem = NetworkProblem(compiled, torch.device("cpu"), torch.float64)
        module = network.build(problem.n_inputs, problem.n_outputs, seed=0, dtype=torch.float64, device="cpu")
        points = self.points or int(np.ceil(self.rows_per_parameter * module.n_parameters / problem.n_outputs))
        return _choose(self, compiled, module, counted_rows(compiled, points, 0), 8).reason

    def refuses_processes(self, compiled: CompiledProblem) -> str:
        """Nothing: points are split."""
        return ""

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "GaussNewtonRun":
        """Build the network and draw the points."""
        return GaussNewtonRun(self, compiled, settings)


def _eliminates(method: GaussNewton, compiled: CompiledProblem, module: Any) -> bool:
    affine = all(program.is_affine_in_jets for program in compiled.programs)
    return method.eliminate and affine and isinstance(module, LayeredModule)


def _choose(method: GaussNewton, compiled: CompiledProblem, module: Any, n_rows: int, itemsize: int) -> StepChoice:
    last = last_layer_columns(module) if _eliminates(method, compiled, module) else slice(0, 0)
    limits = {"exact_rows": method.exact_rows, "jacobian_bytes": method.jacobian_bytes, "itemsize": itemsize}
    return choose_step(compiled, module, n_rows, last.stop - last.start, **limits)


class GaussNewtonRun(NetworkRun):
    """Gauss-Newton steps on fixed points."""

    method: GaussNewton

    def __init__(self, method: GaussNewton, compiled: CompiledProblem, settings: RunSettings) -> None:
        super().__init__(method, compiled, settings, method.points, method.rows_per_parameter)
        rows = sum(residual.weights.numel() for residual in self.training) * self.problem.rows_per_point
        self.choice = _choose(method, compiled, self.module, rows, self.dtype.itemsize)
        _log.info("Gauss-Newton on %s", self.choice.reason)
        self.ranks = join_ranks(self.problem.device)
        # Where rows are never together, the last layer trains with the rest.
        self.eliminate = _eliminates(method, compiled, self.module) and self.choice.kind in ("jacobian", "factors")
        wanted = bool(stretches_of(compiled)) if method.accelerate is None else method.accelerate
        self.bends = wanted and not self.eliminate
        self.damping, self.growth = FIRST_DAMPING, 2.0

    def advance(self) -> float:
        """Take one accepted step (or give up, after the damping has grown to its limit or at the deadline); return half the sum of squares."""
        system, moving, loss = self._linearise()
        start, scalars, trial_seconds = self.parameters(), self.unknowns.clone(), 0.0
        while self.damping < LARGEST_DAMPING:
            if trial_seconds > self.deadline.left():
                break
            begun = self.settings.clock()
            step, predicted = system.step(self.damping)
            bent = self._bent(system, step, start, scalars, moving)
            trial = np.inf
            if bent is not None:
                self._move(start, scalars, bent, moving)
                trial = self._settle()
            # A gain above one says no more than one does; its cube may overflow where the loss is all rounding.
            gain = min((loss - trial) / max(predicted, 1e-300), 1.0)
            if np.isfinite(trial) and gain > 0:
                self.damping = max(self.damping * max(1 / 3, 1 - (2 * gain - 1) ** 3), SMALLEST_DAMPING)
                self.growth = 2.0
                return trial
            self.damping *= self.growth
            self.growth *= 2.0
            trial_seconds = self.settings.clock() - begun
        self.set_parameters(start)
        self.unknowns = scalars
        self.stuck = self.damping >= LARGEST_DAMPING
        return loss

    def _bent(
        self, system: System, step: torch.Tensor, start: torch.Tensor, scalars: torch.Tensor, moving: torch.Tensor
    ) -> torch.Tensor | None:
        """Return a step bent along its valley, None if the bend is too large; with a layer eliminated, or rows summed up, the step itself."""
        # In single precision the difference is noise as soon as the residual is small.
        if not self.bends or not isinstance(system, AbstractDampedSystem) or self.dtype != torch.float64:
            return step
        self._move(start, scalars, PROBE * step, moving)
        there = self.problem.all_rows(self.module, self._own_points(), self.unknowns)
        return system.bent(step, there)

    def points_changed(self) -> None:
        """Try bold steps again if the last ones failed."""
        if self.damping >= LARGEST_DAMPING:
            self.damping, self.growth = FIRST_DAMPING, 2.0

    def _linearise(self) -> tuple[System, torch.Tensor, float]:
        """Return the system of the step, the columns that it moves and half the sum of squares."""
        everything = torch.arange(self.module.n_parameters + len(self.unknowns), device=self.problem.device)
        own = self._own_points()
        if self.choice.kind == "sums":
            equations = accumulate_normal_equations(self.problem, self.module, [Chunk(1.0, own)], self.unknowns)
            equations.join(self.ranks.add)
            return AccumulatedSystem(equations), everything, 0.5 * equations.squares
        if self.choice.kind == "sketch":
            matrix = StreamedRows(self.problem, self.module, self.training, self.unknowns, self.method.jacobian_bytes, self.ranks)
            system = SketchedSystem(matrix, self.method.exact_rows // 2, 1_000_003 * self.settings.seed + 29 * self.steps)
            return system, everything, 0.5 * system.squares
        if self.choice.kind == "factors":
            pairs = [self.problem.factored_rows(self.module, residual, self.unknowns) for residual in own]
            rows = torch.cat([values for values, _ in pairs])
            basis, moving = self._last_layer(everything)
            parts = [factors if basis is None else factors.without_last_layer() for _, factors in pairs]
            return DualSystem(parts, rows, basis, self.ranks), moving, self._half_squares(rows)
        rows, jacobian = self.problem.jacobian(self.module, own, self.unknowns)
        projected, moving = self._project(jacobian)
        return DampedSystem(projected, rows, self.ranks), moving, self._half_squares(rows)

    def _own_points(self) -> list[PreparedResidual]:
        """The points whose rows this process has: all of them where the tiles of a Gram matrix are shared instead."""
        return self.training if self.choice.kind == "factors" else share_points(self.training, self.ranks)

    def _half_squares(self, rows: torch.Tensor) -> float:
        squares = rows.pow(2).sum()
        return 0.5 * float(squares if self.choice.kind == "factors" else self.ranks.add(squares))

    def _last_layer(self, everything: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Return an orthonormal basis of the columns of an eliminated layer, and the columns that move."""
        if not self.eliminate:
            return None, everything
        last = last_layer_columns(self.module)
        columns = self.problem.jacobian_columns(self.module, self.training, self.unknowns)[1]
        return orthonormal_basis(columns), everything[(everything < last.start) | (everything >= last.stop)]

    def _project(self, jacobian: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Remove the range of the last layer's columns from the others; return what moves and its column indices."""
        indices = torch.arange(jacobian.shape[1], device=jacobian.device)
        if not self.eliminate:
            return jacobian, indices
        last = last_layer_columns(self.module)
        keep = (indices < last.start) | (indices >= last.stop)
        basis = orthonormal_basis(jacobian[:, last], self.ranks)
        moving = jacobian[:, keep]
        return moving - basis @ self.ranks.add(basis.T @ moving), indices[keep]

    def _move(self, start: torch.Tensor, scalars: torch.Tensor, step: torch.Tensor, moving: torch.Tensor) -> None:
        full = torch.zeros(len(start) + len(scalars), dtype=start.dtype, device=start.device)
        full[moving] = step.to(full)
        self.set_parameters(start + full[: len(start)])
        self.unknowns = self.clip(scalars + full[len(start) :])

    def _settle(self) -> float:
        """Solve the last layer exactly where it is eliminated; return half the sum of squares."""
        own = self._own_points()
        sharing = ALONE if self.choice.kind == "factors" else self.ranks
        if self.eliminate:
            columns = last_layer_columns(self.module)
            rows, jacobian = self.problem.jacobian_columns(self.module, own, self.unknowns)
            if not bool(torch.isfinite(sharing.add(jacobian.sum()))):
                return float(np.inf)  # the step went where the network has no values, such as a deviation of zero: a shorter one is tried
            shift_parameters(self.module, columns, -solve_damped(jacobian, rows, 0.0, sharing))
        return self._half_squares(self.problem.all_rows(self.module, own, self.unknowns))

    def method_state(self) -> StateTree:
        """Return the damping."""
        return {"damping": self.damping, "growth": self.growth}

    def restore_method(self, state: StateTree) -> None:
        """Set the damping."""
        self.damping, self.growth = float(state["damping"]), float(state["growth"])
