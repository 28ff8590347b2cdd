"""Travel times of one point source: one expansion where no rays cross, else one per sector of rays, of which the earliest counts.

Input: the problem of one source, its rays. Output: runs of least squares that live on a part of the domain each, `BranchModel`, and how far the
result is from the times of the rays, which were integrated by themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from pinnsiren.charts.expansion import FeatureBasis
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import TrainingError
from pinnsiren.ir import MultiIndex
from pinnsiren.training.feature_model import FeatureModel, feature_model_from_state
from pinnsiren.training.least_squares import LeastSquares, LeastSquaresRun
from pinnsiren.training.method import RunSettings, StateTree
from pinnsiren.training.rays import ArrivalMap, RayFan
from pinnsiren.training.row_system import RowSystem, solve_least_squares
from pinnsiren.training.sampling import PointSet

Array = NDArray[np.float64]
Cells = NDArray[np.bool_]

ASKED, TRAINED = 1, 3  # cells beyond its own nodes where a branch is asked for its time, and where its equation is solved
N_RAY_POINTS = 4000
UNREACHED_ERROR = 0.1  # relative error of the time at nodes that no ray reaches: nothing is known of it there
MOST_DRAWS = 12
STILL = 0.97  # a step that lowers the residual by less is the last
RAY_WEIGHT = 10.0  # of the times along rays against the equation, as for other conditions
BRANCH_NEWTON_STEPS = 6  # each size starts from the rays or from the size before


@dataclass(frozen=True)
class BranchModel:
    """Earliest of the branches of one source.

    Attributes:
        compiled: the problem of this source.
        branches: fitted unknown parts.
        axes: of the coarse grid; None with a single branch that is asked everywhere.
        asked: (n_branches, n_cells_x, n_cells_y), where a branch takes part.
    """

    compiled: CompiledProblem
    branches: tuple[FeatureModel, ...]
    axes: tuple[Array, Array] | None = None
    asked: Cells | None = None

    def evaluate(self, points: Array, orders: MultiIndex) -> Array:
        """Return a derivative of the time, (n_points,)."""
        zero = (0,) * points.shape[1]
        if self.axes is None or self.asked is None:
            return self._whole(0, points, orders)
        columns = cells_of(self.axes, points)
        times, owner = np.full(len(points), np.inf), np.zeros(len(points), dtype=int)
        for index in range(len(self.branches)):
            here = self.asked[index][columns]
            found = self._whole(index, points[here], zero)
            earlier = found < times[here]
            chosen = np.flatnonzero(here)[earlier]
            times[chosen], owner[chosen] = found[earlier], index
        if orders == zero:
            return times
        values = np.zeros(len(points))
        for index in range(len(self.branches)):
            values[owner == index] = self._whole(index, points[owner == index], orders)
        return values

    def _whole(self, index: int, points: Array, orders: MultiIndex) -> Array:
        unknown = self.branches[index].evaluate(0, points, orders)
        return np.asarray(np.real(unknown + self.compiled.known_part(0, points, orders))[:, 0])

    def state(self) -> StateTree:
        """Return the branches and where each takes part."""
        stored: StateTree = {"branches": {str(i): branch.state() for i, branch in enumerate(self.branches)}}
        if self.axes is not None and self.asked is not None:
            stored |= {"first_axis": self.axes[0], "second_axis": self.axes[1], "asked": self.asked.astype(np.uint8)}
        return stored


def branch_model_from_state(compiled: CompiledProblem, state: StateTree) -> BranchModel:
    """Rebuild the model of one source."""
    branches = tuple(feature_model_from_state(compiled, state["branches"][str(i)]) for i in range(len(state["branches"])))
    if "asked" not in state:
        return BranchModel(compiled, branches)
    axes = (np.asarray(state["first_axis"]), np.asarray(state["second_axis"]))
    return BranchModel(compiled, branches, axes, np.asarray(state["asked"]).astype(bool))


def cells_of(axes: tuple[Array, Array], points: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the cell of each point, (n,) twice; points outside belong to the nearest cell."""
    columns = []
    for axis, column in zip(axes, points.T, strict=True):
        position = np.floor((column - axis[0]) / (axis[1] - axis[0]))
        columns.append(np.clip(np.nan_to_num(position), 0, len(axis) - 2).astype(np.int64))
    return columns[0], columns[1]


def branch_cells(arrivals: ArrivalMap, sector: int, beyond: int) -> Cells:
    """Return the cells that hold a node of a sector, and `beyond` more around them, (n_x - 1, n_y - 1)."""
    own = arrivals.labels == sector
    if beyond > 1:
        own = np.asarray(binary_dilation(own, np.ones((3, 3), dtype=bool), iterations=beyond - 1))
    return np.asarray(own[:-1, :-1] | own[1:, :-1] | own[:-1, 1:] | own[1:, 1:])


@dataclass
class BranchRun(LeastSquaresRun):
    """Least squares on the part of the domain that one sector of rays reaches first."""

    arrivals: ArrivalMap | None = None
    sector: int = 0
    ray_points: Array | None = None  # (n, 2) on rays of the sector where they are first
    ray_values: Array | None = None  # (n,) the unknown part of the time there

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.arrivals is not None
        self.trained = branch_cells(self.arrivals, self.sector, TRAINED)
        inside = branch_cells(self.arrivals, self.sector, ASKED)[cells_of(self.arrivals.axes, self.probes)]
        # A sector too small to hold probe points is judged on all of them.
        if np.sum(inside) > 20:
            self.probes = self.probes[inside]
            self.known = [part[inside] for part in self.known]

    def row_system(self, bases: tuple[FeatureBasis, ...]) -> RowSystem:
        """Draw the points of the equation where this branch lives."""
        assert self.arrivals is not None
        return _BranchRows(self.compiled, bases, self.device, self.dtype, self.arrivals.axes, self.trained)

    def first_guess(self, zero: FeatureModel, training: list[PointSet]) -> FeatureModel:
        """Fit the times that the rays of the sector bring to the nodes; later sizes start from the one before."""
        arrivals = self.arrivals
        assert arrivals is not None
        order = (0,) * len(self.compiled.ir.coordinates)
        if self.fits:
            points = training[0].points
            wanted = self.fits[-1].model.evaluate(0, points, order)
        else:
            nodes = (arrivals.labels == self.sector) & np.isfinite(arrivals.times)
            mesh = np.stack(np.meshgrid(*arrivals.axes, indexing="ij"), axis=-1)
            points = mesh[nodes]
            wanted = arrivals.times[nodes][:, None] - self.compiled.known_part(0, points, order)
        matrix = zero.bases[0].matrix(points, {order: np.ones(len(points))})
        solved = solve_least_squares(torch.from_numpy(matrix).to(self.dtype), torch.from_numpy(np.real(wanted)).to(self.dtype))
        return FeatureModel(zero.bases, zero.frequencies, (solved.numpy(),))

    def _newton(self, system: RowSystem, training: list[PointSet], model: FeatureModel) -> FeatureModel:
        """Newton's method on the equation and the times along rays, on the sum of moduli, by weights that follow the residuals.

        The time is not smooth at the tip where two branches part. The sum of squares would spread what cannot be fitted there over all rays that
        lead to it; the sum of moduli leaves it where it is.

        Reference: Guermond and Popov 2008, SIAM J. Numer. Anal. 47, for Hamilton-Jacobi equations by the sum of moduli.
        """
        values = self._ray_matrix(model)
        for _ in range(self.method.newton_steps):
            residual = np.abs(system.residual(self.compiled.programs[0], training[0], model))[:, 0]
            misfit = self._misfit(model)
            points = [PointSet(training[0].points, weights=_moduli(residual))]
            on_rays = torch.from_numpy(RAY_WEIGHT * np.sqrt(_moduli(np.abs(misfit)) / len(misfit)))[:, None]
            norm = self._norm(system, points, on_rays, model)
            matrix, right = system.rows(points, model)
            stacked = torch.cat([matrix, values * on_rays]), torch.cat([right, torch.from_numpy(misfit)[:, None] * on_rays])
            change = system.split(solve_least_squares(*stacked))
            for halving in range(5):
                coefficients = tuple(c + d * 0.5**halving for c, d in zip(model.coefficients, change, strict=True))
                trial = FeatureModel(model.bases, model.frequencies, coefficients)
                trial_norm = self._norm(system, points, on_rays, trial)
                if trial_norm < norm:
                    break
            else:
                return model
            model = trial
            if trial_norm > STILL * norm:
                break
        return model

    def _ray_matrix(self, model: FeatureModel) -> torch.Tensor:
        assert self.ray_points is not None
        order = (0,) * self.ray_points.shape[1]
        return torch.from_numpy(model.bases[0].matrix(self.ray_points, {order: np.ones(len(self.ray_points))}))

    def _misfit(self, model: FeatureModel) -> Array:
        """Return how much later the rays are than the model, (n_ray_points,)."""
        assert self.ray_points is not None and self.ray_values is not None
        return np.asarray(self.ray_values - model.evaluate(0, self.ray_points, (0,) * self.ray_points.shape[1])[:, 0])

    def _norm(self, system: RowSystem, points: list[PointSet], on_rays: torch.Tensor, model: FeatureModel) -> float:
        return float(np.hypot(system.residual_norm(points, model), np.linalg.norm(self._misfit(model) * on_rays.numpy()[:, 0])))

    def _redundancies(self) -> tuple[float, ...]:
        """Try all at the first size only: near kinks and foci the residual hardly tells them apart later."""
        return super()._redundancies() if self.redundancy is None else (self.redundancy,)

    def _confirm(self) -> None:
        """The times of the rays confirm a branch; elsewhere in the domain its residual means nothing."""


def _moduli(residual: Array) -> Array:
    """Return weights of mean 1 that make of squares moduli, for residuals above their median."""
    weights = 1 / np.maximum(residual, np.median(residual) + 1e-300)
    return np.asarray(weights / np.mean(weights))


class _BranchRows(RowSystem):
    """Rows at points of the cells of a branch."""

    def __init__(
        self, compiled: CompiledProblem, bases: tuple[Any, ...], device: torch.device, dtype: torch.dtype, axes: tuple[Array, Array], cells: Cells
    ) -> None:
        super().__init__(compiled, bases, device, dtype)
        self.axes, self.cells = axes, cells

    def samples(self, n_points: int, seed: int) -> list[PointSet]:
        """Draw Sobol points of the domain and keep those in the cells."""
        wanted = int(1.1 * n_points / max(float(np.mean(self.cells)), 1e-3)) + 32
        for _ in range(MOST_DRAWS):
            drawn = self.compiled.ir.domain.sample_interior(wanted, seed)
            kept = drawn[self.cells[cells_of(self.axes, drawn)]]
            if len(kept) >= n_points:
                return [PointSet(kept[:n_points]) for _ in self.compiled.ir.residuals]
            wanted *= 2
        raise TrainingError("a sector of rays reaches a part of the domain too small to sample; loosen the contrast of the medium")


@dataclass(frozen=True)
class RayCheck:
    """Points on rays with their times.

    Attributes:
        points: (n, 2).
        times: (n,) of the rays.
        first: (n,) whether the ray is still the first there; of others it is only known that the first arrival is not later.
        floor: relative L2 distance that the rays' own error, nodes without rays and the pressed paths leave open.
    """

    points: Array
    times: Array
    first: NDArray[np.bool_]
    floor: float

    def error(self, model: BranchModel) -> float:
        """Return the relative L2 distance of a model from the rays."""
        difference = model.evaluate(self.points, (0, 0)) - self.times
        counted = np.where(self.first, difference, np.maximum(difference, 0.0))
        return float(np.linalg.norm(counted) / np.linalg.norm(self.times))


def points_on_rays(fan: RayFan, arrivals: ArrivalMap, n_points: int, seed: int) -> tuple[Array, Array, NDArray[np.int64], NDArray[np.bool_]]:
    """Draw points on rays inside the box: places, times, sectors, and whether the ray is the first arrival there."""
    steps, rays = np.nonzero(fan.inside[1:])
    steps = steps + 1
    # Even in the plane: rays that crowd would else crowd their points.
    chance = np.random.default_rng(seed)
    weights = np.linalg.norm(fan.points[steps, rays] - fan.points[0, 0], axis=1) * _spacing(fan)[rays]
    chosen = chance.choice(len(steps), size=min(n_points, len(steps)), replace=False, p=weights / weights.sum())
    steps, rays = steps[chosen], rays[chosen]
    points, times = fan.points[steps, rays], fan.times[steps]
    i, j = cells_of(arrivals.axes, points)
    corners = [(i, j), (i + 1, j), (i, j + 1), (i + 1, j + 1)]
    sector = arrivals.sector_of(fan.angles[rays])
    same = np.all([arrivals.labels[corner] == sector for corner in corners], axis=0)
    latest = np.max([arrivals.times[corner] for corner in corners], axis=0)
    return points, times, sector, same & (times < latest)


def _spacing(fan: RayFan) -> Array:
    """Return the angle to both neighbours of each ray."""
    following = np.append(fan.angles[1:], fan.angles[0] + 2 * np.pi)
    gap = following - fan.angles
    return np.asarray(gap + np.roll(gap, 1))


def check_by_rays(fan: RayFan, arrivals: ArrivalMap, start: float, seed: int) -> RayCheck:
    """Draw the points of a check, and say what rays leave open."""
    points, times, _, first = points_on_rays(fan, arrivals, N_RAY_POINTS, seed)
    known = ~np.isnan(arrivals.times)
    total = float(np.sqrt(np.mean(arrivals.times[known] ** 2)))
    late = float(np.sqrt(np.mean(arrivals.excess[known] ** 2))) / total
    floor = float(np.sqrt(late**2 + UNREACHED_ERROR**2 * arrivals.missed))
    return RayCheck(points, start + times, first, floor)


def start_branches(
    method: LeastSquares, compiled: CompiledProblem, settings: RunSettings, fan: RayFan, arrivals: ArrivalMap
) -> tuple[BranchRun, ...]:
    """Begin one run per sector of rays."""
    method = replace(method, newton_steps=min(method.newton_steps, BRANCH_NEWTON_STEPS))
    points, times, sectors, first = points_on_rays(fan, arrivals, 4 * N_RAY_POINTS, settings.seed + 29)
    wanted = times - compiled.known_part(0, points, (0, 0))[:, 0] + compiled.known_part(0, fan.points[0, :1], (0, 0))[0, 0]
    runs = []
    for sector in np.unique(arrivals.labels):
        own = first & (sectors == sector)
        runs.append(
            BranchRun(method, compiled, settings, arrivals=arrivals, sector=int(sector), ray_points=points[own], ray_values=np.real(wanted[own]))
        )
    return tuple(runs)


def assemble(compiled: CompiledProblem, runs: Sequence[LeastSquaresRun]) -> BranchModel:
    """Return the model of one source from its runs."""
    branches = tuple(run.model() for run in runs)
    own = [run for run in runs if isinstance(run, BranchRun) and run.arrivals is not None]
    if not own or own[0].arrivals is None:
        return BranchModel(compiled, branches)
    arrivals = own[0].arrivals
    return BranchModel(compiled, branches, arrivals.axes, np.stack([branch_cells(arrivals, run.sector, ASKED) for run in own]))
