"""First arrivals: travel times of several sources, and of media in which rays cross.

The equation |grad T|^2 = s^2 alone has many solutions where arrivals cross; wanted is the earliest, the viscosity solution. Each source is a problem
of its own; rays show which directions tie where, and the time of each sector between two such directions is smooth: least squares on sine features
solve the equation there, and the earliest sector and source counts. Integrated rays, which share nothing with the features, check the result.

Reference: Crandall and Lions 1983 for viscosity solutions; the cut locus of a source for the sectors.
"""

from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from time import perf_counter
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.compiler.apply_factored_eikonal import PointSource, point_sources, source_of, squared_slowness
from pinnsiren.compiler.pipeline import CompiledProblem, compile_problem
from pinnsiren.errors import NonFiniteError, ProblemError, TrainingError
from pinnsiren.ir import MultiIndex
from pinnsiren.language.conditions import Dirichlet
from pinnsiren.language.domains import Box
from pinnsiren.language.operators import grad
from pinnsiren.language.problem import Problem
from pinnsiren.language.sources import SourceFamily
from pinnsiren.language.symbols import declaration_of, field
from pinnsiren.training.least_squares import LeastSquares, LeastSquaresRun
from pinnsiren.training.method import AbstractMethod, AbstractRun, RunSettings, StateTree, Suitability
from pinnsiren.training.rays import ArrivalMap, RayFan, first_arrivals, trace
from pinnsiren.training.wave_branches import BranchModel, assemble, branch_model_from_state, check_by_rays, start_branches

RAY_SAFETY = 1.5  # rays see a finite number of points
NEGLIGIBLE = 1e-9  # relative lateness of paths that leave the box, below which they do not matter
FOCUS = 0.35  # rays nearer to each other than this share of their distance in a uniform medium: one expansion by squares was seen to fall short
NEAR = 0.05  # of the domain: nearer to the source the medium is taken as uniform
RAY_NOISE = 3.0  # times the drift of the slowness along the rays: their own error


@dataclass(frozen=True)
class FirstArrivals(AbstractMethod):
    """Settings of the method.

    Attributes:
        expansion: least squares for each branch.
    """

    expansion: LeastSquares = dataclass_field(default_factory=LeastSquares)

    def __post_init__(self) -> None:
        if not isinstance(self.expansion, LeastSquares):
            raise ProblemError(f"FirstArrivals was given expansion={self.expansion!r}; expected a record LeastSquares(...)")

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits travel times of point sources, where one smooth expansion is not enough."""
        problem = compiled.original
        groups = point_sources(problem)
        square = None if groups is None else squared_slowness(problem)
        if groups is None or square is None or square.has(SourceFamily):
            return Suitability(False, "no travel times of point sources are declared", np.inf)
        sources = distinct(groups)
        text = f"travel times of {len(sources)} sources: each is solved by itself" if len(sources) > 1 else ""
        if len(problem.coordinates) == 2 and isinstance(problem.domain, Box) and not _jumps(square):
            found = [arrivals_of(problem, square, source) for source in sources]
            maps = [arrivals for _, arrivals in found]
            crossing = sum(arrivals.n_sectors > 1 for arrivals in maps)
            focusing = any(strongest_focus(f, problem) < FOCUS for f, _ in found)
            leaving = any(np.nanmax(a.excess) > NEGLIGIBLE * np.nanmax(a.times) for a in maps)
            if crossing:
                text += "; " * bool(text) + f"rays cross: the earliest of {max(a.n_sectors for a in maps)} smooth branches counts"
            elif focusing:
                text += "; " * bool(text) + "rays nearly cross: the equation is solved together with the times along them"
            elif leaving:
                text += "; " * bool(text) + "first arrivals along paths outside the box are looked at"
        elif len(sources) > 1 and not isinstance(problem.domain, Box):
            return Suitability(False, f"several sources need a box; the domain is {problem.domain}", np.inf)
        if not text and problem.n_shots is None:
            return Suitability(False, "no rays cross and there is one source: one smooth expansion holds the travel time", np.inf)
        return Suitability(True, text or "each shot has a source of its own", 0.8)

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "FirstArrivalsRun":
        """Begin with the first source."""
        return FirstArrivalsRun(self, compiled, settings)


def distinct(groups: tuple[tuple[PointSource, ...], ...]) -> tuple[PointSource, ...]:
    """Return the sources of all shots, each once."""
    return tuple(dict.fromkeys(source for group in groups for source in group))


def strongest_focus(fan: RayFan, problem: Problem) -> float:
    """Return the smallest distance of neighbouring rays in the box, relative to a uniform medium at the same distance from the source."""
    gaps = np.linalg.norm(np.roll(fan.points, -1, axis=1) - fan.points, axis=2)
    turn = np.append(np.diff(fan.angles), fan.angles[0] + 2 * np.pi - fan.angles[-1])
    distance = np.linalg.norm(fan.points - fan.points[0, 0], axis=2)
    counted = fan.inside & (distance > NEAR * problem.domain.size)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.nanmin(np.where(counted, gaps / (turn * distance), np.inf)))


def _jumps(square: Any) -> bool:
    return bool(square.has(sp.Piecewise, sp.Abs, sp.Max, sp.Min, sp.Heaviside, sp.sign, sp.floor))


def arrivals_of(problem: Problem, square: Any, source: PointSource) -> tuple[RayFan, ArrivalMap]:
    """Return the rays of a source in a box of the plane and where they arrive first."""
    box = tuple(problem.domain.bounds[symbol] for symbol in problem.coordinates)
    fan = trace(square, problem.coordinates, box, source.at)
    return fan, first_arrivals(fan, box, source.at)


def problem_of(problem: Problem, square: Any, source: PointSource) -> Problem:
    """Declare the travel time of one source."""
    time = field(declaration_of(problem.fields[0]).name, *problem.coordinates)
    slope = grad(time, over=problem.coordinates)
    place = dict(zip(problem.coordinates, source.at, strict=True))
    return Problem(
        name=problem.name,
        fields=[time],
        domain=problem.domain,
        equations=[slope.dot(slope) - square],
        conditions=[Dirichlet(time, sp.Float(source.time), on=place)],
    )


def component_problems(compiled: CompiledProblem) -> tuple[tuple[CompiledProblem, ...], tuple[tuple[int, ...], ...]]:
    """Compile the problem of each source, and return which sources belong to each shot."""
    problem = compiled.original
    groups, square = point_sources(problem), squared_slowness(problem)
    if groups is None or square is None:
        raise TrainingError(f"`{problem.name}` declares no travel times of point sources")
    sources = distinct(groups)
    # The only source of a problem keeps its charts, which the user may have chosen.
    alone = compiled if source_of(problem) is not None and compiled.rewritten.additions else None
    parts = tuple(alone or compile_problem(problem_of(problem, square, source)) for source in sources)
    return parts, tuple(tuple(sources.index(source) for source in group) for group in groups)


class FirstArrivalsModel:
    """Earliest of the sources of each shot."""

    def __init__(self, compiled: CompiledProblem, parts: tuple[BranchModel, ...], groups: tuple[tuple[int, ...], ...]) -> None:
        self.compiled, self.parts, self.groups = compiled, parts, groups

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """No scalars are solved for."""
        return ()

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of the time without what the rewrites split off, (n_points, n_shots)."""
        zero = (0,) * points.shape[1]
        needed = {index for group in self.groups for index in group}
        times = {index: self.parts[index].evaluate(points, zero) for index in needed}
        wanted = times if orders == zero else {index: self.parts[index].evaluate(points, orders) for index in needed}
        columns = []
        for group in self.groups:
            first = np.argmin([times[index] for index in group], axis=0)
            columns.append(np.choose(first, [wanted[index] for index in group]) if len(group) <= 32 else _pick(first, [wanted[i] for i in group]))
        whole: NDArray[Any] = np.stack(columns, axis=1)
        return np.asarray(whole - self.compiled.known_part(field_index, points, orders))

    def state(self) -> StateTree:
        """Return the branches of each source."""
        return {"kind": "first arrivals", "parts": {str(i): part.state() for i, part in enumerate(self.parts)}}


def _pick(owner: NDArray[np.int64], values: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.asarray(np.take_along_axis(np.array(values), owner[None, :], axis=0)[0])


def first_arrivals_from_state(compiled: CompiledProblem, state: StateTree) -> FirstArrivalsModel:
    """Rebuild a model."""
    parts, groups = component_problems(compiled)
    return FirstArrivalsModel(
        compiled, tuple(branch_model_from_state(part, state["parts"][str(i)]) for i, part in enumerate(parts)), groups
    )


class _Component:
    """One source: its branches, and the rays that check them."""

    def __init__(self, method: FirstArrivals, compiled: CompiledProblem, settings: RunSettings) -> None:
        self.compiled = compiled
        source, square = source_of(compiled.original), squared_slowness(compiled.original)
        assert source is not None
        self.check, self.drift = None, 0.0
        self.runs: tuple[LeastSquaresRun, ...] = (LeastSquaresRun(method.expansion, compiled, settings),)
        if len(compiled.original.coordinates) == 2 and isinstance(compiled.original.domain, Box) and not _jumps(square):
            fan, arrivals = arrivals_of(compiled.original, square, source)
            self.check, self.drift = check_by_rays(fan, arrivals, source.time, settings.seed + 17), fan.drift
            if arrivals.n_sectors > 1 or strongest_focus(fan, compiled.original) < FOCUS:
                self.runs = start_branches(method.expansion, compiled, settings, fan, arrivals)
        self.by_rays = np.inf

    @property
    def ready(self) -> bool:
        """Whether every branch has an estimate."""
        return all(np.isfinite(run.estimate) for run in self.runs)

    def model(self) -> BranchModel:
        return assemble(self.compiled, self.runs)

    def estimate(self) -> float:
        """Return the larger of what the branches estimate and what the rays see."""
        if not self.ready:
            return float(np.inf)
        found = max(run.estimate for run in self.runs)
        if self.check is not None:
            self.by_rays = self.check.error(self.model())
            noise = RAY_NOISE * self.drift
            # Sizes of a branch differ most next to a kink, where another is earlier; the rays judge what counts.
            by_rays = RAY_SAFETY * self.by_rays
            found = max(by_rays, noise) if len(self.runs) > 1 else max(found, by_rays - noise)
            found = max(found, self.check.floor)
        return float(found)


class FirstArrivalsRun(AbstractRun):
    """Branches of all sources, the worst first."""

    def __init__(self, method: FirstArrivals, compiled: CompiledProblem, settings: RunSettings) -> None:
        self.method, self.compiled, self.settings = method, compiled, settings
        self.problems, self.groups = component_problems(compiled)
        starting = perf_counter()
        self.parts = [_Component(method, part, settings) for part in self.problems]
        count = sum(len(part.runs) for part in self.parts)
        spent = perf_counter() - starting
        share = replace(settings, seconds=max(settings.seconds - spent, 0.1 * settings.seconds) / count)
        for run in self.runs:
            run.settings = share
        self.used, self.over = [0.0] * count, [""] * count
        self.estimate = float(np.inf)

    @property
    def runs(self) -> list[LeastSquaresRun]:
        """The runs of all branches."""
        return [run for part in self.parts for run in part.runs]

    def _next(self) -> int | None:
        """Return the run that is worst among those that can go on; every one takes two sizes first."""
        left = [index for index, code in enumerate(self.over) if not code]
        return max(left, key=lambda index: (self.runs[index].estimate, -len(self.runs[index].fits)), default=None)

    def step(self) -> dict[str, float]:
        """Take the next size of the worst branch."""
        index = self._next()
        assert index is not None
        start = perf_counter()
        run = self.runs[index]
        try:
            numbers = run.step()
        except NonFiniteError:
            if not run.fits:
                raise
            # The size before stands; the rays say how good it is.
            self.over[index], numbers = "non_finite", {}
        self.used[index] += perf_counter() - start
        if not self.over[index]:
            reason = run.stop_reason(self.used[index])
            self.over[index] = "" if reason is None else reason[0]
        if all(part.ready for part in self.parts):
            self.estimate = max(part.estimate() for part in self.parts)
        return {"branch": float(index), "estimated_error": self.estimate, **{k: v for k, v in numbers.items() if k != "estimated_error"}}

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Stop when no branch can or need go on."""
        if not all(part.ready for part in self.parts) or (self._next() is not None and not self._met()):
            late = elapsed > self.settings.seconds and all(part.ready for part in self.parts)
            return self._failure("out_of_time") if late else None
        if self.estimate <= self.settings.tolerance:
            return "success", f"the estimated error {self.estimate:.2g} is at or below the tolerance {self.settings.tolerance:.2g}"
        return self._failure("out_of_time" if "out_of_time" in self.over else "tolerance_not_reached")

    def _met(self) -> bool:
        """An explicit tolerance ends the run as soon as it is met."""
        return not self.settings.refine_while_cheap and self.estimate <= self.settings.tolerance

    def _failure(self, code: str) -> tuple[str, str]:
        text = f"the estimated error is {self.estimate:.2g}, above the tolerance {self.settings.tolerance:.2g}: "
        floor = max((part.check.floor for part in self.parts if part.check is not None), default=0.0)
        if floor > self.settings.tolerance:
            return "tolerance_not_reached", text + (
                "the earliest paths to some places leave the domain, where the declaration says nothing of the medium, or no ray arrives there; "
                "enlarge the box"
            )
        if code == "out_of_time":
            return code, text + f"{self.settings.seconds:g} s were given for {len(self.over)} branches; raise seconds, or loosen tolerance"
        return code, text + "more features bring the branches no closer to the times along rays; the medium is too rough for this method"

    def predicted_seconds(self) -> float:
        """Return the cost of the next size."""
        index = self._next()
        return 0.0 if index is None else self.runs[index].predicted_seconds()

    def error_estimate(self) -> float:
        """Return the estimate of the worst source."""
        return self.estimate

    def model(self) -> FirstArrivalsModel:
        """Return the last sizes."""
        return FirstArrivalsModel(self.compiled, tuple(part.model() for part in self.parts), self.groups)

    def state(self) -> StateTree:
        """Return the runs and their clocks."""
        runs = {str(i): run.state() for i, run in enumerate(self.runs)}
        return {"runs": runs, "used": np.array(self.used), "over": list(self.over), "estimate": self.estimate}

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        for index, run in enumerate(self.runs):
            run.restore(state["runs"][str(index)])
        self.used = [float(value) for value in state["used"]]
        self.over, self.estimate = [str(code) for code in state["over"]], float(state["estimate"])
