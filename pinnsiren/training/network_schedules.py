"""What changes the points of a trained run, or their weights, while it goes on: optional records of methods on fixed points.

Input: records such as `ResidualAdaptive()` in `GaussNewton(schedules=(...))` or `LBFGS(schedules=(...))`. Output: the collocation points and row
weights of the next step. All of it depends on seed, step and network only, so that the same seed gives the same history; what cannot be computed
anew from the network is part of the checkpoint.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import ProblemError
from pinnsiren.language.domains import SpaceTime
from pinnsiren.training.method import StateTree
from pinnsiren.training.network_problem import NetworkProblem, PreparedResidual
from pinnsiren.training.sampling import PointSet, sample_residual

Array = NDArray[np.float64]
SEED_STEP = 104_729  # a prime far from the steps between residuals, charts and chunks


class ScheduledRun(Protocol):
    """What a schedule sees of a run."""

    compiled: CompiledProblem
    problem: NetworkProblem
    module: Any
    unknowns: torch.Tensor
    steps: int
    stuck: bool

    @property
    def seed(self) -> int:
        """Seed of the run."""

    def amplitude(self) -> float:
        """Return the root mean square of the fields."""


@dataclass
class Collocation:
    """The points of a run: as drawn, as they are trained on, and what the schedules remember.

    Attributes:
        drawn: per residual its points over the whole time.
        horizon: share of the time that is trained on.
        factors: per residual, what the rows are multiplied by.
        reached: step at which the horizon last moved.
        training: prepared for the network.
        base: the same before weights that follow the residual.
    """

    drawn: dict[int, PointSet]
    horizon: float = 1.0
    reached: int = 0
    factors: dict[int, float] | None = None
    training: list[PreparedResidual] | None = None
    base: list[PreparedResidual] | None = None

    def prepare(self, problem: NetworkProblem) -> None:
        """Evaluate all that does not depend on the parameters."""
        prepared = problem.prepare_sets({index: within(problem.compiled, points, self.horizon) for index, points in self.drawn.items()})
        factors = self.factors or {}
        self.base = [replace(r, weights=r.weights * factors.get(r.index, 1.0)) for r in prepared]
        self.training = self.base

    def state(self) -> StateTree:
        """Return what has to be kept to continue."""
        tree: StateTree = {"horizon": self.horizon, "reached": self.reached}
        for index, points in self.drawn.items():
            tree[f"points_{index}"] = points.points
            if points.weights is not None:
                tree[f"weights_{index}"] = points.weights
            tree[f"factor_{index}"] = (self.factors or {}).get(index, 1.0)
        return tree

    def restore(self, tree: StateTree, problem: NetworkProblem) -> None:
        """Continue from a state."""
        self.horizon, self.reached = float(tree["horizon"]), int(tree["reached"])
        self.factors = {index: float(tree[f"factor_{index}"]) for index in self.drawn}
        for index, points in self.drawn.items():
            weights = np.asarray(tree[f"weights_{index}"]) if f"weights_{index}" in tree else None
            self.drawn[index] = replace(points, points=np.asarray(tree[f"points_{index}"]), weights=weights)
        self.prepare(problem)


@dataclass(frozen=True)
class AbstractSchedule(ABC):
    """A record that changes points or weights between steps."""

    @abstractmethod
    def update(self, run: ScheduledRun, points: Collocation) -> bool:
        """Change points or weights before a step; return whether the loss is another one now."""

    def refusal(self, compiled: CompiledProblem) -> str:
        """Say why a problem has no use for the record; empty if it has."""
        return ""

    def keeps_going(self, points: Collocation) -> bool:
        """Whether the run must not end yet, although no step lowers the residual."""
        return False


@dataclass(frozen=True)
class ResidualAdaptive(AbstractSchedule):
    """Residual-adaptive points: some of the collocation points are drawn again where the residual is large.

    Attributes:
        every: steps between two draws.
        share: of the points of an equation that follow the residual; the others stay where they were drawn.
        power: the density of the new points is proportional to |residual|^power.
        candidates: candidates per new point.

    Reference: Wu, Zhu, Tan, Kartha, Lu (2023), Comput. Methods Appl. Mech. Eng. 403, with the even part kept.
    """

    every: int = 10
    share: float = 0.5
    power: float = 1.0
    candidates: int = 4

    def __post_init__(self) -> None:
        _check_positive(self, "every", "power", "candidates")
        if not 0 < self.share < 1:
            raise ProblemError(f"ResidualAdaptive was given share={self.share}; expected a number between 0 and 1")

    def update(self, run: ScheduledRun, points: Collocation) -> bool:
        """Draw again at every so-many-th step."""
        if not run.steps or run.steps % self.every:
            return False
        for index, drawn in points.drawn.items():
            residual = run.compiled.ir.residuals[index]
            if residual.kind == "equation":
                points.drawn[index] = self._redrawn(run, points, index, drawn)
        points.prepare(run.problem)
        return True

    def _redrawn(self, run: ScheduledRun, points: Collocation, index: int, drawn: PointSet) -> PointSet:
        n_points = len(drawn.points)
        n_new = int(self.share * n_points)
        residual, seed = run.compiled.ir.residuals[index], run.seed + SEED_STEP * run.steps + 31 * index
        crowd = sample_residual(run.compiled, residual, max(self.candidates * n_new, 2), seed)
        even = sample_residual(run.compiled, residual, n_points, run.seed + 31 * index)
        prepared = run.problem.prepare_sets({index: within(run.compiled, crowd, points.horizon)})
        with torch.no_grad():
            rows = run.problem.rows(run.module, prepared[0], run.unknowns).cpu().double().numpy()
        sizes = np.maximum(np.sqrt(np.sum(rows**2, axis=0)), 1e-300) ** self.power
        # The largest of log(size) + Gumbel noise are a sample without replacement, in proportion to the sizes.
        keys = np.log(sizes) + np.random.default_rng(seed).gumbel(size=len(sizes))
        chosen = np.argsort(-keys, kind="stable")[:n_new]
        kept = np.random.default_rng(seed + 1).permutation(len(even.points))[: n_points - n_new]
        weights = None
        if even.weights is not None and crowd.weights is not None:
            weights = np.concatenate([even.weights[kept], crowd.weights[chosen]])
        return replace(drawn, points=np.concatenate([even.points[kept], crowd.points[chosen]]), weights=weights)


@dataclass(frozen=True)
class TimeCurriculum(AbstractSchedule):
    """Time curriculum: the network learns the first part of the time before the next is added.

    Attributes:
        stages: number of parts; the horizon is 1/stages of the time at first.
        steps: most steps before the horizon moves on.
        target: root mean square of the scaled residual, over that of the fields, at which it moves on before.

    Reference: Wight and Zhao (2021), Commun. Comput. Phys. 29 (growing intervals); Krishnapriyan et al. (2021), NeurIPS 34.
    """

    stages: int = 5
    steps: int = 10
    target: float = 1e-2

    def __post_init__(self) -> None:
        _check_positive(self, "stages", "steps", "target")

    def refusal(self, compiled: CompiledProblem) -> str:
        """Fits evolutions."""
        return _needs_time(self, compiled)

    def keeps_going(self, points: Collocation) -> bool:
        """The run ends with the whole time only."""
        return points.horizon < 1

    def update(self, run: ScheduledRun, points: Collocation) -> bool:
        """Move the horizon when the part before it is learned."""
        if run.steps == 0 and not points.reached and points.horizon == 1:
            points.horizon = 1 / self.stages
        elif points.horizon == 1 or not self._is_learned(run, points):
            return False
        else:
            points.horizon, points.reached = min(1.0, points.horizon + 1 / self.stages), run.steps
            if points.horizon > 1 - 0.5 / self.stages:
                points.horizon = 1.0
        run.stuck = False
        points.prepare(run.problem)
        return True

    def _is_learned(self, run: ScheduledRun, points: Collocation) -> bool:
        if run.stuck or run.steps - points.reached >= self.steps:
            return True
        return _relative_residual(run, points) <= self.target


@dataclass(frozen=True)
class CausalWeighting(AbstractSchedule):
    """Causal weights: rows count little as long as rows of earlier times are not satisfied.

    The equations of the i-th of `bins` intervals of time get the weight exp(-strength * S_i / S), S_i the sum of the squared rows of all earlier
    intervals and S that of all: free of scales, so that no tolerance has to be guessed.

    Attributes:
        bins: intervals of time.
        strength: the last interval counts exp(-strength) when all of the residual lies before it. With 4, a reaction front still
            fell for the solution zero; 30 and 100 did not.

    Reference: Wang, Sankaran, Perdikaris (2024), Comput. Methods Appl. Mech. Eng. 421, equation (3.6), without its scale epsilon.
    """

    bins: int = 16
    strength: float = 30.0

    def __post_init__(self) -> None:
        _check_positive(self, "bins", "strength")

    def refusal(self, compiled: CompiledProblem) -> str:
        """Fits evolutions."""
        return _needs_time(self, compiled)

    def update(self, run: ScheduledRun, points: Collocation) -> bool:
        """Weight the rows by what the network leaves before them, anew at every step."""
        assert points.base is not None
        domain = run.compiled.ir.domain
        assert isinstance(domain, SpaceTime)
        low, high = domain.time_bounds
        bins: dict[int, NDArray[np.int64]] = {}
        squares = np.zeros(self.bins)
        for residual in points.base:
            if run.compiled.ir.residuals[residual.index].kind == "equation":
                times = within(run.compiled, points.drawn[residual.index], points.horizon).points[:, -1]
                bins[residual.index] = np.clip(((times - low) / (high - low) * self.bins).astype(np.int64), 0, self.bins - 1)
                with torch.no_grad():
                    rows = run.problem.rows(run.module, residual, run.unknowns).cpu().double().numpy()
                squares += np.bincount(bins[residual.index], np.sum(rows**2, axis=0), self.bins)
        before = np.concatenate([[0.0], np.cumsum(squares)[:-1]]) / max(float(np.sum(squares)), 1e-300)
        roots = torch.from_numpy(np.exp(-0.5 * self.strength * before))
        factors = {index: roots[torch.from_numpy(positions)][:, None] for index, positions in bins.items()}
        points.training = [replace(r, weights=r.weights * factors[r.index].to(r.weights)) if r.index in factors else r for r in points.base]
        return True


@dataclass(frozen=True)
class TangentBalance(AbstractSchedule):
    """Automatic balance of the terms by the network: rows of every equation and condition get tangents of equal mean square.

    Without this record the declaration alone balances them: every residual is divided by what its operator makes of a unit wave, and conditions count
    tenfold (`training.scaling`). The tangents, rows of the Jacobian, say besides how strongly the network acts on each. That balance stays the
    default: this one has gained on some problems and lost on others.

    Attributes:
        every: steps between two changes of the balance; the first comes before the first step.
        strongest: largest factor between the rows of two terms that it may bring in.

    Reference: Wang, Yu, Perdikaris (2022), J. Comput. Phys. 449, algorithm 1.
    """

    every: int = 50
    strongest: float = 1e3

    def __post_init__(self) -> None:
        _check_positive(self, "every", "strongest")

    def update(self, run: ScheduledRun, points: Collocation) -> bool:
        """Measure the tangents and set the factors."""
        if run.steps % self.every:
            return False
        points.factors = None
        points.prepare(run.problem)
        assert points.base is not None
        sizes: dict[int, float] = {}
        for residual in points.base:
            jacobian = run.problem.jacobian(run.module, [residual], run.unknowns)[1]
            sizes[residual.index] = float(torch.linalg.matrix_norm(jacobian))
        mean = float(np.exp(np.mean(np.log(np.maximum(list(sizes.values()), 1e-300)))))
        bound = self.strongest**0.5
        points.factors = {index: float(np.clip(mean / max(size, 1e-300), 1 / bound, bound)) for index, size in sizes.items()}
        points.prepare(run.problem)
        return True


SCHEDULES = (ResidualAdaptive, TimeCurriculum, CausalWeighting, TangentBalance)


def within(compiled: CompiledProblem, points: PointSet, horizon: float) -> PointSet:
    """Return the points with their time shrunk to a share of the whole; measured values stay where they were measured."""
    if horizon >= 1 or points.values is not None:
        return points
    assert isinstance(compiled.ir.domain, SpaceTime)
    low, _ = compiled.ir.domain.time_bounds
    moved = [None if array is None else array.copy() for array in (points.points, points.other_side)]
    for array in moved:
        if array is not None:
            array[:, -1] = low + horizon * (array[:, -1] - low)
    assert moved[0] is not None
    return replace(points, points=moved[0], other_side=moved[1])


def check_schedules(name: str, schedules: Any) -> tuple[AbstractSchedule, ...]:
    """Return schedules as a tuple.

    Raises:
        ProblemError: something that is no schedule, or two of a kind.
    """
    found = (schedules,) if isinstance(schedules, AbstractSchedule) else tuple(schedules)
    for schedule in found:
        if not isinstance(schedule, AbstractSchedule):
            known = ", ".join(record.__name__ for record in SCHEDULES)
            raise ProblemError(f"{name} was given the schedule {schedule!r}; expected records of {known}")
    if len({type(schedule) for schedule in found}) < len(found):
        raise ProblemError(f"{name} was given two schedules of one kind; expected each at most once")
    # The horizon comes first, then the points, then what is measured on them.
    order = (TimeCurriculum, ResidualAdaptive, TangentBalance, CausalWeighting)
    return tuple(sorted(found, key=lambda schedule: order.index(type(schedule)) if type(schedule) in order else len(order)))


def _relative_residual(run: ScheduledRun, points: Collocation) -> float:
    assert points.base is not None
    rows = run.problem.all_rows(run.module, points.base, run.unknowns)
    return float(rows.norm()) / max(run.amplitude(), 1e-300)


def _needs_time(schedule: AbstractSchedule, compiled: CompiledProblem) -> str:
    if isinstance(compiled.ir.domain, SpaceTime):
        return ""
    return f"{type(schedule).__name__} orders the points by time, and the domain {compiled.ir.domain} has none"


def _check_positive(record: AbstractSchedule, *names: str) -> None:
    for name in names:
        value = getattr(record, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise ProblemError(f"{type(record).__name__} was given {name}={value!r}; expected a positive number")
