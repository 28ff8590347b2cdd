"""Signed distance from oriented points: |grad u| = 1, u = 0 and grad u = n on a cloud.

The characteristics of the equation are the normals, u(p + t n) = t as long as p is the nearest point of the surface. Least squares on sine features
meet these values near the surface, and elsewhere the distance from patches through the nearest points. The distance has kinks, at edges and on the
medial axis: the domain is cut into cells, and those that hold a kink, or the surface, are halved again and again. The sum of moduli keeps a kink
from spoiling what is smooth in its cell.

Input: the problem. Output: a run whose cells grow in number; points that no fit has seen say how far it is off, over the domain and near the surface.

Reference: Guermond and Popov 2008, SIAM J. Numer. Anal. 47, for the sum of moduli; Doerfler 1996, SIAM J. Numer. Anal. 33, for the choice of cells.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import sympy as sp
import torch
from numpy.typing import NDArray

from pinnsiren.charts import bandwidth_for_features, draw_frequencies
from pinnsiren.compiler.apply_factored_eikonal import squared_slowness
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import ProblemError
from pinnsiren.language.conditions import Constraint, Dirichlet, Neumann
from pinnsiren.language.domains import PointCloud
from pinnsiren.language.problem import Problem
from pinnsiren.training.cell_model import CellModel, cell_features, cell_model_from_state, extended
from pinnsiren.training.cloud_labels import draw_labels, label_error
from pinnsiren.training.method import AbstractMethod, AbstractRun, RunSettings, StateTree, Suitability
from pinnsiren.training.row_system import solve_least_squares

Array = NDArray[np.float64]

FEATURES = {1: 16, 2: 60, 3: 200}  # of a cell
# Features per independent function. Many: what is left smooth on a cell is smooth on its scale, and the next cells have the next scale.
REDUNDANCY = {1: 4.0, 2: 8.0, 3: 20.0}
MOST_CELLS = {1: 64, 2: 400, 3: 1000}
FIRST = 4  # cells along the longest side at the start
EVEN = 3.0  # rows per feature, evenly in a cell
HELD_BACK = 0.15  # share of the rows that say how well the others fit
BAND = 0.03  # of the longest side: standard deviation of the offsets along normals, half the width called near, distance at which errors count half
SURFACE_WEIGHT = 3.0  # of points on the surface
STEPS = 3  # of reweighting
SMOOTH = 1e-5  # of the longest side: misfit below which a cell holds no kink
MARKED = 0.5  # share of the squared error in the cells that are halved
SAFETY = 1.5
EXHAUSTED = 0.8  # share of the estimate that is due to the points: more cells would learn their errors
N_CHECKS = 4000


@dataclass(frozen=True)
class CloudDistance(AbstractMethod):
    """Settings of the method.

    Attributes:
        features: features of a cell; None takes the usual number.
        cells: number of cells at which the run ends; None takes the usual one.
    """

    features: int | None = None
    cells: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("features", 8), ("cells", 1)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ProblemError(f"CloudDistance was given {name}={value!r}; expected a whole number of {least} at least, or None")

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits |grad u| = 1 with u = 0 on oriented points."""
        if cloud_of(compiled.original) is None:
            return Suitability(False, "no distance from oriented points is declared", np.inf)
        text = "the distance from oriented points: its characteristics are the normals, which bring its values"
        steering = steering_terms(compiled.original)
        if steering:
            text += f"; {', '.join(map(str, steering))} asks for no zeros away from the surface, which the values given all over the domain see to"
        return Suitability(True, text, 0.7)

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "CloudDistanceRun":
        """Begin with a few cells of one size."""
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


def steering_terms(problem: Problem) -> list[Any]:
    """Return the terms exp(-a |u|) that a problem declares in the domain."""
    terms = [condition.expression for condition in problem.conditions if isinstance(condition, Constraint)]
    return [term for term in terms if isinstance(term, sp.exp)]


class CloudDistanceRun(AbstractRun):
    """Cells that are halved where the error is, while the budget allows."""

    def __init__(self, method: CloudDistance, compiled: CompiledProblem, settings: RunSettings) -> None:
        cloud = cloud_of(compiled.original)
        assert cloud is not None
        self.method, self.settings, self.cloud, self.domain = method, settings, cloud, compiled.original.domain
        self.bounds = np.array([self.domain.bounds[symbol] for symbol in self.domain.coordinates])
        dimension = len(self.bounds)
        features = method.features or FEATURES[dimension]
        bandwidth = bandwidth_for_features(features, REDUNDANCY[dimension], np.ones(dimension))
        self.frequencies = draw_frequencies(features, dimension, bandwidth, 1_000_003 * settings.seed + 7919)
        self.n_even, self.band, self.most = int(EVEN * features), BAND * self.domain.size, method.cells or MOST_CELLS[dimension]
        self.checks = draw_labels(cloud, self.bounds, N_CHECKS, self.band, np.random.default_rng(31_337 + settings.seed))
        self.inside = self.domain.sample_interior(N_CHECKS, 77 + settings.seed)
        self.truth = cloud.signed_distance(self.inside)
        self.known = label_error(cloud, self.domain, 97 + settings.seed)
        self.boxes, self.coefficients, self.errors = np.empty((0, dimension, 2)), np.empty((0, self.frequencies.n_features)), np.empty(0)
        self.round, self.seconds_per_cell, self.estimate, self.near, self.stray = 0, 0.0, float(np.inf), float(np.inf), 0.0

    def step(self) -> dict[str, float]:
        """Fit a few cells, then halve those that hold half of the squared error."""
        start = perf_counter()
        chosen = self._marked()
        fresh = self._first_cells() if self.round == 0 else [half for index in chosen for half in _halves(self.boxes[index])]
        chance = np.random.default_rng((self.settings.seed, self.round))
        fits = [self._fit(box, chance) for box in fresh]
        kept = np.setdiff1d(np.arange(len(self.boxes)), chosen)
        self.boxes = np.concatenate([self.boxes[kept], fresh])
        self.coefficients = np.concatenate([self.coefficients[kept], [coefficients for coefficients, _ in fits]])
        self.errors = np.concatenate([self.errors[kept], [error for _, error in fits]])
        self.round += 1
        numbers = self._measure()
        self.seconds_per_cell = (perf_counter() - start) / len(fresh)
        return {"size": float(self.coefficients.size), "cells": float(len(self.boxes)), **numbers}

    def _first_cells(self) -> list[Array]:
        boxes = [self.bounds]
        while 2 * len(boxes) <= self.most and np.max(np.ptp(boxes[0], axis=1)) > 1.01 * self.domain.size / FIRST:
            boxes = [half for box in boxes for half in _halves(box)]
        return boxes

    def _marked(self) -> NDArray[np.int64]:
        """Return the cells with the largest errors, as few as hold their share of the squared error and not more than there is room for."""
        order = np.argsort(-self.errors, kind="stable")
        share = np.cumsum(self.errors[order])
        count = int(np.searchsorted(share, MARKED * share[-1])) + 1 if len(share) else 0
        return order[: min(count, max(self.most - len(self.boxes), 0))]

    def _fit(self, box: Array, chance: np.random.Generator) -> tuple[Array, float]:
        """Return coefficients on a cell, and its share of the squared error; errors near the surface count more."""
        around = extended(box)
        around = np.stack([np.maximum(around[:, 0], self.bounds[:, 0]), np.minimum(around[:, 1], self.bounds[:, 1])], axis=1)
        labels = draw_labels(self.cloud, around, self.n_even, self.band, chance)
        weight = self.band / (self.band + np.abs(labels.values))
        held = chance.uniform(size=len(weight)) < HELD_BACK
        rows = cell_features(labels.points, box, self.frequencies.waves, self.frequencies.phases)
        importance = torch.from_numpy((weight * np.where(labels.on_surface, SURFACE_WEIGHT, 1.0))[~held])[:, None]
        matrix, right = torch.from_numpy(rows[~held]), torch.from_numpy(labels.values[~held])[:, None]
        solved = solve_least_squares(matrix * importance, right * importance)
        for _ in range(STEPS):
            misfit = (matrix @ solved - right).abs()
            if float(misfit.max()) < SMOOTH * self.domain.size:
                break
            middle = misfit.median() + np.finfo(float).tiny
            scale = importance * torch.sqrt(middle / torch.maximum(misfit, middle))
            solved = solve_least_squares(matrix * scale, right * scale)
        coefficients = solved.numpy()[:, 0]
        off = (rows[held] @ coefficients - labels.values[held]) * weight[held]
        return coefficients, float(np.prod(np.ptp(box, axis=1)) * np.mean(off**2)) if len(off) else 0.0

    def _measure(self) -> dict[str, float]:
        """Compare with labels that no fit has seen: all over the domain, near the surface, on it, and the signs."""
        model, zero = self.model(), (0,) * len(self.bounds)
        found = model.evaluate(0, self.inside, zero)[:, 0]
        self.estimate = SAFETY * float(np.linalg.norm(found - self.truth) / np.linalg.norm(self.truth)) + self.known
        off = np.abs(model.evaluate(0, self.checks.points, zero)[:, 0] - self.checks.values)
        on, close = self.checks.on_surface, self.checks.along & (np.abs(self.checks.values) <= self.band)
        self.near = float(np.mean(off[close])) if np.any(close) else float(np.mean(off))
        wrong = np.sign(found) != np.sign(self.truth)
        self.stray = float(np.mean(wrong & (np.abs(self.truth) > self.band)))
        zero_set = float(np.mean(off[on])) if np.any(on) else 0.0
        numbers = {"estimated_error": self.estimate, "near_surface": self.near, "zero_set": zero_set}
        return {**numbers, "wrong_signs": float(np.mean(wrong)), "stray_signs": self.stray}

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Stop at the largest number of cells, at an explicit tolerance, or when the next cells do not fit the budget."""
        if self.round == 0:
            return None
        met = self.estimate <= self.settings.tolerance
        done = len(self.boxes) >= self.most or self.known > EXHAUSTED * self.estimate
        late = elapsed + self.predicted_seconds() > self.settings.seconds
        if not (done or late or (met and not self.settings.refine_while_cheap)):
            return None
        if met:
            return "success", f"the estimated error {self.estimate:.2g} is at or below the tolerance {self.settings.tolerance:.2g}"
        text = (
            f"the estimated error over the domain is {self.estimate:.2g}, above the tolerance {self.settings.tolerance:.2g}; within "
            f"{self.band:.2g} of the surface the distance is off by {self.near:.2g} on average. "
        )
        if self.stray > 0:
            text += f"In {100 * self.stray:.2g} % of the domain the sign is wrong away from the surface. "
        if self.known > self.settings.tolerance / 2:
            text += f"The points themselves say no more than {self.known:.2g}: half of them differ by this much, or their normals settle no sides; "
            text += "give more points, check their normals, or loosen tolerance"
            return ("out_of_time" if late and not done else "tolerance_not_reached"), text
        if late and not done:
            return "out_of_time", text + f"{self.settings.seconds:g} s were given; raise seconds"
        return "tolerance_not_reached", text + (
            "The distance has kinks on the medial axis, which cells of sines meet slowly: allow more cells, or loosen tolerance"
        )

    def predicted_seconds(self) -> float:
        """Return the cost of the next round."""
        return float(self.seconds_per_cell * (2 * len(self._marked()) if self.round else 1))

    def error_estimate(self) -> float:
        """Return the estimate of the last round."""
        return self.estimate

    def model(self) -> CellModel:
        """Return all cells."""
        return CellModel(self.boxes, self.frequencies.waves, self.frequencies.phases, self.coefficients)

    def state(self) -> StateTree:
        """Return the cells with their errors, and the counters."""
        return {"model": self.model().state(), "errors": self.errors, "round": self.round, "seconds_per_cell": self.seconds_per_cell}

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        model = cell_model_from_state(state["model"])
        self.boxes, self.coefficients, self.errors = model.boxes, model.coefficients, np.asarray(state["errors"])
        self.round, self.seconds_per_cell = int(state["round"]), float(state["seconds_per_cell"])
        self._measure()


def _halves(box: Array) -> tuple[Array, Array]:
    """Cut a cell across its longest side."""
    axis = int(np.argmax(np.ptp(box, axis=1)))
    lower, upper = box.copy(), box.copy()
    lower[axis, 1] = upper[axis, 0] = box[axis].mean()
    return lower, upper
