"""Gauss-Newton for the medium, fields eliminated: variable projection, with the network's tangent kernel between changes of m and of the parameters.

    minimise |r + J d|^2 + weight (l + d)'C (l + d) / 2 + damping |dtheta|^2,     d = G dtheta the change of log m, G the slopes of the network

With dtheta = G'z and K = G G' follows (M K + damping) z = -g, M the Hessian and g the gradient in log m: as many unknowns as cells, however many
parameters. The derivative of the projection itself is left out (Kaufman 1975).

Input: medium, waves, prior. Output: the medium, moved.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from pinnsiren.training.penalty.elimination import Eliminated, eliminate
from pinnsiren.training.penalty.medium import NetworkMedium
from pinnsiren.training.penalty.roughness import Roughness
from pinnsiren.training.penalty.waves import Waves

Array = NDArray[Any]

FIRST_DAMPING = 1e-2  # of the largest eigenvalue
LEAST_DAMPING = 1e-12
LOWERING, RAISING = 0.2, 5.0
MOST_TRIALS = 6
POWER_STEPS = 6  # the damping needs the size of the matrix to a few per cent
STALLED = 1e-3  # relative decrease of the objective below which a descent ends


@dataclass
class Frequency:
    """One frequency on its way.

    Attributes:
        waves: its matrices.
        rho: weight of the equation.
        multipliers: (n_centres, n_shots), b.
    """

    waves: Waves
    rho: float
    multipliers: Array


@dataclass(frozen=True)
class Linearised:
    """All frequencies at a medium."""

    parts: tuple[Eliminated, ...]

    @property
    def misfit(self) -> float:
        """Mean over the frequencies of what the best fields leave unexplained."""
        return float(np.mean([part.residual @ part.residual for part in self.parts]))

    @property
    def physical(self) -> float:
        """phi: the same of fields that obey the equation."""
        return float(np.mean([part.physical for part in self.parts]))

    @property
    def defect(self) -> float:
        """Largest relative defect of the equation."""
        return max(part.defect for part in self.parts)


@dataclass
class Descent:
    """A medium on its way down.

    Attributes:
        medium: the network.
        frequencies: those that count.
        prior: on the change of log m from the declared start.
        expired: asked before every step whether the budget is spent.
        damping: relative to the largest eigenvalue.
    """

    medium: NetworkMedium
    frequencies: Sequence[Frequency]
    prior: Roughness
    expired: Callable[[], bool]
    damping: float = FIRST_DAMPING
    steps: int = field(default=0)

    def __post_init__(self) -> None:
        self._start = self.medium.log_start()

    def change(self) -> Array:
        """Return the change of log m from the declared start."""
        return np.asarray(self.medium.log_model() - self._start)

    def linearise(self, derivative: bool = True) -> Linearised:
        """Eliminate the fields of all frequencies at the medium."""
        model, background = np.exp(self.medium.log_model()), self.medium.declared.background
        found = (eliminate(each.waves, model, background, each.rho, each.multipliers, derivative) for each in self.frequencies)
        return Linearised(tuple(found))

    def objective(self, here: Linearised, weight: float) -> float:
        """Return misfit and prior together."""
        return here.misfit + weight * self.prior.value(self.change())

    def step(self, here: Linearised, weight: float) -> Linearised | None:
        """Take the first damped step that lowers the objective; None when none does."""
        log_model = self.medium.log_model()
        share = 1 / np.sqrt(len(here.parts))
        rows = share * np.concatenate([part.jacobian for part in here.parts]) * np.exp(log_model)  # dm = m dl
        residual = share * np.concatenate([part.residual for part in here.parts])
        curvature = weight * self.prior.curvature(self.change())
        hessian = 2 * rows.T @ rows + curvature.toarray()
        gradient = 2 * rows.T @ residual + curvature @ self.change()
        slopes, base = self.medium.jacobian(), self.medium.vector()
        product = hessian @ (slopes @ slopes.T)
        size, before = _largest(product), self.objective(here, weight)
        for _ in range(MOST_TRIALS):
            z = scipy.linalg.solve(product + self.damping * size * np.eye(len(product)), -gradient, check_finite=False)
            self.medium.move_to(base + slopes.T @ z)
            there = self.linearise()
            value = self.objective(there, weight)
            if np.isfinite(value) and value < before:
                self.damping = max(LOWERING * self.damping, LEAST_DAMPING)
                self.steps += 1
                return there
            self.damping *= RAISING
        self.damping = FIRST_DAMPING
        self.medium.move_to(base)
        return None

    def descend(self, weight: float, iterations: int) -> Linearised:
        """Take at most so many steps; ends where the objective stalls."""
        here = self.linearise()
        for _ in range(iterations):
            before = self.objective(here, weight)
            moved = None if self.expired() else self.step(here, weight)
            if moved is None:
                break
            here = moved
            if before - self.objective(here, weight) < STALLED * before:
                break
        return here

    def update_multipliers(self, here: Linearised) -> None:
        """Add what the fields leave of the equation to its multipliers."""
        for each, part in zip(self.frequencies, here.parts, strict=True):
            each.multipliers = part.multipliers


def _largest(product: Array) -> float:
    """Return about the largest eigenvalue, by the power method."""
    vector = np.sum(product, axis=1)
    vector /= float(np.linalg.norm(vector)) or 1.0
    size = 1.0
    for _ in range(POWER_STEPS):
        vector = product @ vector
        size = float(np.linalg.norm(vector)) or 1.0
        vector = vector / size
    return size
