"""Gauss-Newton for the medium in function space: the network's tangent kernel turns a change of the medium into one of the parameters.

    minimise |r + J d|^2 + weight |B (l + d)|^2 / 2 + damping |dtheta|^2,     d = G dtheta the change of log m, G the network's Jacobian

With dtheta = G'z and K = G G', (M K + damping) z = -g, M the Hessian and g the gradient in log m: as many unknowns as nodes, however many parameters.
Where the nodes are more than the parameters, (G'M G + damping) dtheta = -G'g.

Input: medium, linearised simulator, prior. Output: the medium, moved; phi.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.linalg
import scipy.sparse as sparse
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.training.reduced.linearised import Linearisation, LinearisedSimulator
from pinnsiren.training.reduced.roughness import Distance, Roughness

Array = NDArray[Any]

FIRST_DAMPING = 1e-2  # of the largest eigenvalue
LOWERING, RAISING = 0.2, 5.0
# Decrease over the predicted one above which the damping is lowered, and below which it is raised (Nocedal and Wright 2006, section 4.1): lowered
# after every success it comes to where steps fail, and trials cost wave solves.
TRUSTED, DOUBTED = 0.75, 0.25
MOST_TRIALS = 6
# Parameters per step where the nodes are more than the parameters, whose cost grows with the square: all of the networks that surveys get. Eight
# hundred of 2,545 make a step three times cheaper and leave the medium of Marmousi2 far from the minimum after as many wave solves.
MOST_MOVING = 3000
LEAST_DAMPING, LEAST_SINGLE = 1e-12, 1e-6  # the second for a Hessian in single precision, whose rounding it covers
STALLED = 1e-3  # relative decrease of the objective below which nothing is to be gained


class Medium(Protocol):
    """What a medium with parameters offers; see `NetworkMedium`."""

    def vector(self) -> Array:
        """Return the parameters."""

    def move_to(self, parameters: Array) -> None:
        """Set the parameters."""

    def log_model(self) -> Array:
        """Return log m where it may change."""

    def model(self) -> Array:
        """Return m on all nodes."""

    def jacobian(self) -> Array:
        """Return d log m / d parameters."""


@dataclass
class MediumFit:
    """A medium on its way.

    Attributes:
        medium: the network behind its transform.
        prior: on the change of log m from the start, or None.
        observed: called after every accepted step with (phi, objective).
        expired: asked before every step whether the budget is spent.
        start: log m from which changes count, (n_active,); None for that of the medium as it is given.
        bold: the damping falls with every step, however well it was predicted.
        reuse: steps that the rows of one Jacobian serve beyond the first, each with the exact gradient of its own medium: the Hessian of a medium
            nearby costs a step a little, the gradient decides where the steps end. None where amplitudes are fitted.
    """

    medium: Medium
    prior: Roughness | Distance | None
    observed: Callable[[float, float], None]
    expired: Callable[[], bool]
    damping: float = FIRST_DAMPING
    start: Array | None = None
    bold: bool = False
    reuse: int = 0

    def __post_init__(self) -> None:
        self.stalled = False
        self._rows: tuple[LinearisedSimulator, Array] | None = None
        self._age = 0
        self._start = self.medium.log_model() if self.start is None else self.start

    def change(self) -> Array:
        """Return the change of log m from the start."""
        return np.asarray(self.medium.log_model() - self._start)

    def descend(
        self, simulator: LinearisedSimulator, weight: float, iterations: int, floor: float = 0.0, least: float = STALLED
    ) -> Linearisation:
        """Take at most so many steps; ends early where the objective falls by less than `least` of it, or phi is at or below the floor."""
        self.stalled = False
        here = simulator.linearise(self.medium.model(), derivative=False)
        objective = here.misfit + weight * self._roughness()
        for _ in range(iterations):
            if here.misfit <= floor or self.expired():
                break
            moved = self._step(simulator, weight, objective)
            if moved is None:
                self.stalled = True
                break
            decrease = objective - moved[1]
            here, objective = moved
            self.observed(here.misfit, objective)
            if decrease < least * objective:
                self.stalled = decrease < STALLED * objective
                break
        return here

    def _linearise(self, simulator: LinearisedSimulator) -> Linearisation:
        """Slope and rows where the medium is, or the slope alone while rows of before serve."""
        if self._rows is not None and self._age < self.reuse and self._rows[0].asks_the_same(simulator):
            self._age += 1
            return simulator.linearise(self.medium.model(), rows=False)
        self.forget()
        here = simulator.linearise(self.medium.model())
        self._rows = (simulator, here.jacobian)
        return here

    def forget(self) -> None:
        """Let go of the rows, which are large: the next step makes its own."""
        self._rows, self._age = None, 0

    def _roughness(self) -> float:
        return 0.0 if self.prior is None else self.prior.value(self.change())

    def _step(self, simulator: LinearisedSimulator, weight: float, objective: float) -> tuple[Linearisation, float] | None:
        """Take the first damped step that lowers the objective; None when none does."""
        here = self._linearise(simulator)
        assert self._rows is not None
        # d m = m d log m.
        rows = self._rows[1] * np.exp(self.medium.log_model())
        curvature, gradient = sparse.csr_matrix((rows.shape[1],) * 2), 2 * here.slope * np.exp(self.medium.log_model())
        if self.prior is not None and weight:
            penalty = self.prior.rows(self.change())
            curvature = weight * (penalty.T @ penalty)
            gradient = gradient + weight * self.prior.slope(self.change())
        slopes, base = self.medium.jacobian(), self.medium.vector()
        small = slopes.shape[1] < slopes.shape[0]
        moving = _moving(base) if small else np.arange(len(base))
        if small:
            slopes = slopes[:, moving]
            product = parameter_curvature(rows, slopes, curvature)
            gradient = slopes.T @ gradient
        else:
            product = (2 * rows.T @ rows + curvature.toarray()) @ (slopes @ slopes.T)
        size, damping = _largest(product), self.damping
        for _ in range(MOST_TRIALS):
            z = scipy.linalg.solve(product + self.damping * size * np.eye(len(product)), -gradient)
            tried = base.copy()
            tried[moving] += z if small else slopes.T @ z
            self.medium.move_to(tried)
            there = self._tried(simulator)
            value = np.inf if there is None else there.misfit + weight * self._roughness()
            if there is not None and value < objective:
                moved = z if small else slopes @ (slopes.T @ z)
                predicted = -float(gradient @ moved + 0.5 * moved @ (product @ z))
                # Without a prior the damping is all that smooths: it falls with every step, down to where the data are met.
                ratio = 1.0 if self.prior is None or self.bold else (objective - value) / predicted
                self._judge(ratio, LEAST_SINGLE if small else LEAST_DAMPING)
                return there, value
            self.damping *= RAISING
        self.medium.move_to(base)
        if self._age == 0:
            return None
        # Rows of its own may do what those of before could not.
        self.forget()
        self.damping = damping
        return self._step(simulator, weight, objective)

    def _judge(self, ratio: float, least: float) -> None:
        """Lower or raise the damping by the decrease over the predicted one."""
        if ratio > TRUSTED:
            self.damping = max(LOWERING * self.damping, least)
        elif ratio < DOUBTED:
            self.damping *= RAISING
            self._age = self.reuse

    def _tried(self, simulator: LinearisedSimulator) -> Linearisation | None:
        """Return how well the medium as it is now meets the data, None where the grid cannot carry its waves or phi is no number."""
        try:
            found = simulator.linearise(self.medium.model(), derivative=False)
        except ReferenceSolverError:
            return None
        return found if np.isfinite(found.misfit) else None


def _moving(parameters: Array) -> Array:
    """Return which parameters move in this step, by index: all, or so many drawn by a chance that their values decide."""
    if len(parameters) <= MOST_MOVING:
        return np.arange(len(parameters))
    chance = np.random.default_rng(zlib.crc32(parameters.tobytes()))
    return np.sort(chance.choice(len(parameters), MOST_MOVING, replace=False))


def parameter_curvature(rows: Array, slopes: Array, curvature: Any) -> Array:
    """Return G'(2 J'J + C)G, (n_parameters, n_parameters), for many nodes: in single precision, which a damped step does not feel, at half the cost.

    Args:
        rows: (n_rows, n_active), J in log m.
        slopes: (n_active, n_parameters), G.
        curvature: (n_active, n_active), sparse, C of the prior.
    """
    slim = slopes.astype(np.float32)
    moved = rows.astype(np.float32) @ slim
    product = 2 * (moved.T @ moved)
    if curvature.nnz:
        product += slim.T @ (curvature.astype(np.float32) @ slim)
    return product.astype(float)


def _largest(product: Array) -> float:
    """Return about the largest eigenvalue, by the power method."""
    vector = np.ones(len(product)) / np.sqrt(len(product))
    size = 1.0
    for _ in range(20):
        vector = product @ vector
        size = float(np.linalg.norm(vector)) or 1.0
        vector = vector / size
    return size
