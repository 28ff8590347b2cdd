"""Signed distance from oriented points: |grad u| = 1, u = 0 and grad u = n on a cloud.

The characteristics of the equation are the normals, u(p + t n) = t as long as p is the nearest point of the surface. Least squares on sine features
meet these values, densely near the surface, and elsewhere the distance from the nearest points; the sum of moduli keeps the kinks of the distance,
at edges and on the medial axis, from spoiling what is smooth.

Input: the problem. Output: a run whose sizes grow; points that no size has seen say how far it is off, over the domain and near the surface.

Reference: Guermond and Popov 2008, SIAM J. Numer. Anal. 47, for the sum of moduli.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import sympy as sp
import torch
from numpy.typing import NDArray

from pinnsiren.compiler.apply_factored_eikonal import squared_slowness
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import ProblemError
from pinnsiren.language.conditions import Constraint, Dirichlet, Neumann
from pinnsiren.language.domains import PointCloud
from pinnsiren.language.problem import Problem
from pinnsiren.training.feature_model import FeatureModel, build_bases, draw_all, feature_model_from_state
from pinnsiren.training.method import AbstractMethod, AbstractRun, RunSettings, StateTree, Suitability
from pinnsiren.training.row_system import solve_least_squares

Array = NDArray[np.float64]

SIZES = {1: (60, 120), 2: (300, 600, 1200), 3: (500, 1000, 2000, 3000)}
REDUNDANCIES = (1.3, 5.0)  # features per independent function: little for edges, much for smooth surfaces; the first size tries both
BAND = 0.03  # of the longest side: standard deviation of the offsets along normals, and half the width called near
FAR_WEIGHT = 0.01  # of the longest side: distance at which a value counts half
SURFACE_WEIGHT = 10.0  # of points on the surface, as of other conditions
OVER = 2.0  # rows of each kind per feature
STEPS = 3  # of reweighting
SAFETY = 1.5
N_CHECKS = 4000


@dataclass(frozen=True)
class CloudDistance(AbstractMethod):
    """Settings of the method.

    Attributes:
        features: features at the last size; None takes the usual sizes.
    """

    features: int | None = None

    def __post_init__(self) -> None:
        if self.features is not None and not (isinstance(self.features, int) and self.features >= 8):
            raise ProblemError(f"CloudDistance was given features={self.features!r}; expected a whole number of 8 at least, or None")

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits |grad u| = 1 with u = 0 on oriented points."""
        if cloud_of(compiled.original) is None:
            return Suitability(False, "no distance from oriented points is declared", np.inf)
        return Suitability(True, "the distance from oriented points: its characteristics are the normals, which bring its values", 0.7)

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "CloudDistanceRun":
        """Begin at the smallest size."""
        return CloudDistanceRun(self, compiled, settings)


def cloud_of(problem: Problem) -> PointCloud | None:
    """Return the points whose signed distance a problem declares, or None.

    Allowed besides u = 0 on the cloud: du/dn = 1 or 1 - grad u . n there, and exp(-a |u|) in the domain, which steers training and is no equation.
    """
    if len(problem.fields) != 1 or problem.n_shots is not None:
        return None
    found = [c.on for c in problem.conditions if isinstance(c, Dirichlet) and isinstance(c.on, PointCloud) and c.value == 0]
    if len(found) != 1 or squared_slowness(problem) != 1:
        return None
    for condition in problem.conditions:
        if isinstance(condition, Dirichlet | Neumann):
            expected = 0 if isinstance(condition, Dirichlet) else 1
            if not isinstance(condition.on, PointCloud) or condition.on != found[0] or condition.value != expected:
                return None
        elif not isinstance(condition, Constraint) or not _steers(condition, found[0], problem.fields[0]):
            return None
    return found[0]


def _steers(condition: Constraint, cloud: PointCloud, candidate: Any) -> bool:
    if isinstance(condition.on, PointCloud):
        return bool(condition.on == cloud)
    decay = condition.expression
    return isinstance(decay, sp.exp) and bool(sp.diff(decay.args[0].subs(sp.Abs(candidate), sp.Symbol("r", positive=True)), candidate) == 0)


@dataclass(frozen=True)
class Labels:
    """Points with their signed distances.

    Attributes:
        points: (n, n_coordinates).
        values: (n,).
        weights: (n,) relative weights of the rows.
    """

    points: Array
    values: Array
    weights: Array


def draw_labels(problem: Problem, cloud: PointCloud, n_points: int, seed: int) -> tuple[Labels, Labels]:
    """Draw points along normals, where the distance is exact, with points on the surface; and points of the whole domain."""
    size, chance = problem.domain.size, np.random.default_rng(seed)
    feet, _ = cloud.sample(n_points, seed)
    again = chance.integers(0, len(cloud.points), n_points)
    offset = chance.normal(0, BAND * size, n_points)
    moved = cloud.points[again] + offset[:, None] * cloud.normals[again]
    # Another point is nearer, beyond the medial axis, where the distance of the nearest is shorter than the offset.
    first = np.abs(cloud.signed_distance(moved)) >= np.abs(offset) - 1e-3 * cloud.spacing
    kept = first & problem.domain.contains(moved)
    points, values = np.concatenate([feet, moved[kept]]), np.concatenate([np.zeros(len(feet)), offset[kept]])
    weights = np.concatenate([np.full(len(feet), SURFACE_WEIGHT), _far(offset[kept], size)])
    around = cloud.points[chance.integers(0, len(cloud.points), n_points)] + chance.normal(0, 2 * BAND * size, (n_points, cloud.points.shape[1]))
    everywhere = np.concatenate([around[problem.domain.contains(around)], problem.domain.sample_interior(2 * n_points, seed + 1)])
    distances = cloud.signed_distance(everywhere)
    return Labels(points, values, weights), Labels(everywhere, distances, _far(distances, size))


def _far(distances: Array, size: float) -> Array:
    return np.asarray(1 / (1 + np.abs(distances) / (FAR_WEIGHT * size)))


class CloudDistanceRun(AbstractRun):
    """Sizes that grow while the budget allows."""

    def __init__(self, method: CloudDistance, compiled: CompiledProblem, settings: RunSettings) -> None:
        cloud = cloud_of(compiled.original)
        assert cloud is not None
        self.method, self.compiled, self.settings, self.cloud = method, compiled, settings, cloud
        sizes = SIZES[len(compiled.ir.coordinates)]
        last = method.features
        self.sizes = sizes if last is None else (*(size for size in sizes if size < last), last)
        self.zero = (0,) * len(compiled.ir.coordinates)
        self.checks = draw_labels(compiled.original, cloud, N_CHECKS, 31_337 + settings.seed)
        self.fitted: FeatureModel | None = None
        self.redundancy: float | None = None
        self.level, self.estimate, self.near, self.last_seconds = 0, float(np.inf), float(np.inf), 0.0

    def step(self) -> dict[str, float]:
        """Fit the next size; the first with every redundancy, of which the one nearest at fresh points beside the surface stays."""
        start = perf_counter()
        tried = REDUNDANCIES if self.redundancy is None else (self.redundancy,)
        fits = []
        for redundancy in tried:
            self.fitted = self._fit(redundancy)
            fits.append((self._measure()["near_surface"], redundancy, self.fitted))
        _, self.redundancy, self.fitted = min(fits, key=lambda fit: fit[0])
        numbers = self._measure()
        self.level += 1
        self.last_seconds = (perf_counter() - start) / len(tried)
        return {"size": float(self.fitted.bases[0].n_features), **numbers}

    def _fit(self, redundancy: float) -> FeatureModel:
        size, seed = self.sizes[self.level], 1_000_003 * self.settings.seed + 7919 * self.level
        frequencies = tuple(draw_all(self.compiled, size, redundancy, seed))
        bases = build_bases(self.compiled, frequencies)
        along, everywhere = draw_labels(self.compiled.original, self.cloud, int(OVER * size), seed + 1)
        points = np.concatenate([along.points, everywhere.points])
        values, weights = np.concatenate([along.values, everywhere.values]), np.concatenate([along.weights, everywhere.weights])
        matrix = torch.from_numpy(bases[0].matrix(points, {self.zero: np.ones(len(points))}))
        right, scale = torch.from_numpy(values)[:, None], torch.from_numpy(weights)[:, None]
        for _ in range(STEPS):
            solved = solve_least_squares(matrix * scale, right * scale)
            misfit = (matrix @ solved - right).abs()
            middle = misfit.median() + 1e-300
            scale = torch.from_numpy(weights)[:, None] * torch.sqrt(middle / torch.maximum(misfit, middle))
        return FeatureModel(bases, frequencies, (solved.numpy(),))

    def _measure(self) -> dict[str, float]:
        """Compare with labels that the fit has not seen: all over the domain, near the surface, on it, and the signs."""
        assert self.fitted is not None
        along, _ = self.checks
        inside = self.compiled.original.domain.sample_interior(N_CHECKS, 77 + self.settings.seed)
        truth, found = self.cloud.signed_distance(inside), self.fitted.evaluate(0, inside, self.zero)[:, 0]
        # Labels are known to about the curvature of the surface between its points.
        known = self.cloud.spacing / max(float(np.sqrt(np.mean(truth**2))), 1e-300) * self.cloud.spacing / self.compiled.original.domain.size
        self.estimate = SAFETY * float(np.linalg.norm(found - truth) / np.linalg.norm(truth)) + known
        off = np.abs(self.fitted.evaluate(0, along.points, self.zero)[:, 0] - along.values)
        on, close = along.values == 0, (along.values != 0) & (np.abs(along.values) <= BAND * self.compiled.original.domain.size)
        self.near = float(np.mean(off[close]))
        wrong = float(np.mean(np.sign(found) != np.sign(truth)))
        return {"estimated_error": self.estimate, "near_surface": self.near, "zero_set": float(np.mean(off[on])), "wrong_signs": wrong}

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Stop at the largest size, at an explicit tolerance, or when the next size does not fit the budget."""
        if self.level == 0:
            return None
        met, done = self.estimate <= self.settings.tolerance, self.level == len(self.sizes)
        late = elapsed + self.predicted_seconds() > self.settings.seconds
        if not (done or late or (met and not self.settings.refine_while_cheap)):
            return None
        if met:
            return "success", f"the estimated error {self.estimate:.2g} is at or below the tolerance {self.settings.tolerance:.2g}"
        text = (
            f"the estimated error over the domain is {self.estimate:.2g}, above the tolerance {self.settings.tolerance:.2g}; within "
            f"{BAND * self.compiled.original.domain.size:.2g} of the surface the distance is off by {self.near:.2g} on average. "
        )
        if late and not done:
            return "out_of_time", text + f"{self.settings.seconds:g} s were given; raise seconds"
        return "tolerance_not_reached", text + (
            "The distance has kinks on the medial axis, which sines meet slowly: loosen tolerance if only the surface counts"
        )

    def predicted_seconds(self) -> float:
        """Return the cost of the next size: QR grows with the third power."""
        ahead = self.sizes[min(self.level, len(self.sizes) - 1)]
        return float(self.last_seconds * (ahead / self.sizes[max(self.level - 1, 0)]) ** 3)

    def error_estimate(self) -> float:
        """Return the estimate of the last size."""
        return self.estimate

    def model(self) -> FeatureModel:
        """Return the last size."""
        assert self.fitted is not None
        return self.fitted

    def state(self) -> StateTree:
        """Return the last size and the counters."""
        return {"model": self.model().state(), "level": self.level, "redundancy": self.redundancy, "last_seconds": self.last_seconds}

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        self.fitted = feature_model_from_state(self.compiled, state["model"])
        self.redundancy = state["redundancy"]
        self.level, self.last_seconds = int(state["level"]), float(state["last_seconds"])
        self._measure()
