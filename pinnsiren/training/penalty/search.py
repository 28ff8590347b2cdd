"""One search for the medium: from low to high frequency, the equation by multipliers, the weight of the prior by the noise.

Every iteration takes a few Gauss-Newton steps, then
- adds what the fields leave of the equation to its multipliers;
- raises rho, the weight of the equation, to what the data still say of its defects: obedient fields leave phi times the noise, which defects of the
  variance 1 / rho = (phi - 1) / sensitivity would explain. At the start the data are met and the equation is loose, in the end the other way;
- lowers the weight of the prior where phi, the misfit of obedient fields over the noise, does not fall by itself;
- takes the next frequency where phi is near the noise.
With all frequencies at the noise the multipliers stop, since they would fit the noise next, and the medium settles under the prior; where that lifts
phi above the noise again, the weight is lowered once more.

Input: medium, waves of all frequencies, prior. Output: the medium, moved, and how far it got.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.training.method import StateTree
from pinnsiren.training.penalty.descent import FIRST_DAMPING, Descent, Frequency, Linearised
from pinnsiren.training.penalty.elimination import eliminate
from pinnsiren.training.penalty.medium import NetworkMedium
from pinnsiren.training.penalty.roughness import Roughness
from pinnsiren.training.penalty.waves import Waves

Array = NDArray[Any]

FIRST_WEIGHT = 40.0  # of the prior, against a misfit that rho keeps near one: edges along a fortieth of the cells weigh as much as the data
LOWERING = 0.5
FALLS = 0.6  # phi that falls below this share of its last value falls by itself
AT_THE_NOISE = 1.0
NEAR_THE_NOISE = 2.0  # of a frequency before the last: the next ones know the details better
MOST_ITERATIONS_BEFORE_THE_LAST = 8
BETTER = 0.98
PATIENCE = 6  # iterations without a better phi
SETTLED = 0.005  # relative decrease of the objective in one iteration below which the medium has settled
MOST_SETTLING = 10  # iterations


@dataclass
class Search:
    """A search on its way.

    Attributes:
        medium: the network.
        waves: of all frequencies, in the order of the declaration.
        prior: on the change of log m.
        steps: Gauss-Newton steps per iteration.
        expired: asked before every step whether the budget is spent.
        stage: number of frequencies in use beyond the lowest.
        weight: of the prior.
        outcome: `""` on the way, then `"noise"` or `"stalled"`.
        best: parameters of the last medium at the noise, or of the least phi of the stage as long as there is none.
        settling: iterations since the noise was reached with all frequencies.
        objective: misfit and prior of the last iteration.
    """

    medium: NetworkMedium
    waves: tuple[Waves, ...]
    prior: Roughness
    steps: int
    expired: Callable[[], bool]
    stage: int = 0
    weight: float = FIRST_WEIGHT
    outcome: str = ""
    phi: float = np.inf
    best_phi: float = np.inf
    idle: int = 0
    in_stage: int = 0
    settling: int = 0
    objective: float = np.inf
    damping: float = FIRST_DAMPING
    best: Array = field(default_factory=lambda: np.zeros(0))
    frequencies: list[Frequency] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.order = sorted(range(len(self.waves)), key=lambda index: self.waves[index].survey.wavenumber)
        if not self.frequencies:
            self._open_stage()

    @property
    def is_last_stage(self) -> bool:
        """Whether all frequencies are in use."""
        return self.stage == len(self.waves) - 1

    def _open_stage(self) -> None:
        """Take the frequencies of the stage, with loose equations and the first weight."""
        model, background = np.exp(self.medium.log_model()), self.medium.declared.background
        self.frequencies = []
        for index in self.order[: self.stage + 1]:
            waves = self.waves[index]
            none = np.zeros_like(waves.incident)
            obedient = eliminate(waves, model, background, np.inf, none, derivative=False)
            self.frequencies.append(Frequency(waves, balanced_rho(obedient.sensitivity, obedient.physical), none))
        self.weight, self.phi, self.best_phi, self.idle, self.in_stage, self.damping = FIRST_WEIGHT, np.inf, np.inf, 0, 0, FIRST_DAMPING

    def advance(self) -> dict[str, float]:
        """Do one iteration; return its numbers."""
        descent = Descent(self.medium, self.frequencies, self.prior, self.expired, damping=self.damping)
        here = descent.descend(self.weight, self.steps)
        self.damping = descent.damping
        numbers = {
            "frequencies": float(len(self.frequencies)),
            "prior_weight": self.weight,
            "equation_weight": float(np.mean([each.rho for each in self.frequencies])),
            "misfit": here.misfit,
            "phi": here.physical,
            "relative_misfit": float(np.mean([part.relative for part in here.parts])),
            "defect": here.defect,
            "roughness": self.prior.value(descent.change()),
        }
        if not np.isfinite(here.physical):
            return numbers
        self._keep(here.physical)
        if self.settling or (self.is_last_stage and here.physical <= AT_THE_NOISE):
            self._settle(here.physical, descent.objective(here, self.weight))
        else:
            self._approach(here)
        self.phi = here.physical
        return numbers

    def _keep(self, phi: float) -> None:
        """Remember the medium if it is the best so far: among those at the noise the last, which has settled most."""
        self.idle = 0 if phi < BETTER * self.best_phi else self.idle + 1
        if phi <= max(AT_THE_NOISE, self.best_phi):
            self.best_phi, self.best = phi, self.medium.vector()

    def _approach(self, here: Linearised) -> None:
        """Update multipliers and weights on the way to the noise."""
        for each, part in zip(self.frequencies, here.parts, strict=True):
            rho = max(each.rho, balanced_rho(part.sensitivity, part.physical))
            # b is the multiplier over rho.
            each.multipliers, each.rho = part.multipliers * (each.rho / rho), rho
        self.in_stage += 1
        if here.physical > FALLS * self.phi:
            self.weight *= LOWERING
        over = self.idle >= PATIENCE
        near = here.physical <= NEAR_THE_NOISE or self.in_stage >= MOST_ITERATIONS_BEFORE_THE_LAST
        if not self.is_last_stage and (over or near):
            self.stage += 1
            self._open_stage()
        elif self.is_last_stage and over:
            self._end("stalled")

    def _settle(self, phi: float, objective: float) -> None:
        """Let the medium settle under the prior, and lower its weight where that lifts phi above the noise."""
        self.settling += 1
        if objective > (1 - SETTLED) * self.objective and phi > AT_THE_NOISE:
            self.weight, self.objective = self.weight * LOWERING, np.inf
        elif objective > (1 - SETTLED) * self.objective or self.settling >= MOST_SETTLING:
            self._end("noise")
        else:
            self.objective = objective

    def believe(self, prior: Roughness) -> None:
        """Go on from the medium that was found under another prior; the equations hold as they do."""
        self.medium.move_to(self.best if len(self.best) else self.medium.vector())
        self.prior, self.outcome, self.settling, self.objective, self.damping = prior, "", 1, np.inf, FIRST_DAMPING
        self.best_phi, self.best, self.idle = np.inf, np.zeros(0), 0

    def _end(self, outcome: str) -> None:
        self.outcome = outcome
        self.medium.move_to(self.best)

    def state(self) -> StateTree:
        """Return everything that the search needs to go on."""
        numbers = (self.stage, self.weight, self.phi, self.best_phi, self.idle, self.in_stage, self.damping, self.settling, self.objective)
        return {
            "parameters": self.medium.vector(),
            "initial": self.medium.initial_vector(),
            "best": self.best,
            "numbers": np.array(numbers, dtype=float),
            "outcome": self.outcome,
            "rho": np.array([each.rho for each in self.frequencies]),
            "multipliers": {str(i): each.multipliers for i, each in enumerate(self.frequencies)},
        }

    def restore(self, state: StateTree) -> None:
        """Go on from a state."""
        numbers = [float(number) for number in state["numbers"]]
        stage, self.weight, self.phi, self.best_phi, idle, in_stage, self.damping, settling, self.objective = numbers
        self.stage, self.idle, self.in_stage, self.settling = int(stage), int(idle), int(in_stage), int(settling)
        self.outcome, self.best = str(state["outcome"]), np.asarray(state["best"])
        self.medium.move_to(np.asarray(state["parameters"]))
        stored = zip(self.order, np.atleast_1d(state["rho"]), strict=False)
        self.frequencies = [
            Frequency(self.waves[index], float(rho), np.asarray(state["multipliers"][str(i)])) for i, (index, rho) in enumerate(stored)
        ]


def balanced_rho(sensitivity: float, physical: float) -> float:
    """Return the weight of the equation at which its defects explain what obedient fields leave of the data beyond the noise."""
    return sensitivity / max(physical - 1, 1.0)
