"""Contrast given back: rounds of a strong convex prior, each with the Bregman distance from the medium of the round before.

A convex prior that hides the noise takes contrast away from thin layers. At a weight far above that of the noise level, and with the distance from
the last medium in the prior's place, what is large comes back first and phi falls round by round (inverse scale space: Osher, Burger, Goldfarb, Xu
and Yin 2005, https://doi.org/10.1137/040605412). From round to round the weight falls geometrically, with which a few rounds do the work of many
(Hanke and Groetsch 1998, J. Optim. Theory Appl. 98, 37-53). Noise would come back in the end: traces held back say when to stop, and for all traces
together the misfit that was best for them. Rounds that come to nothing better than there was before are forgotten.

Input: phi of every round, the medium. Output: whether to go on; the medium of the best round.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.training.method import StateTree
from pinnsiren.training.reduced.beliefs import Belief

Array = NDArray[Any]

# What the prior charges for the medium that was found, over what the noise does: in the first round, which hides several times the noise, and in the
# last ones; below, what comes back is speckle more than contrast. The weight at which a search met the noise may be ten times off either way.
CHARGED, LEAST_CHARGED = 20.0, 2.0
LOWERING = 0.7  # of the weight, from round to round
STEPS = 2  # of Gauss-Newton per round: the distance keeps what a round leaves unfinished for the next
MOST_ROUNDS, MOST_FINAL = 24, 6
PATIENCE = 2  # rounds without a gain on the traces held back


def is_convex(belief: Belief) -> bool:
    """Whether the prior of a belief has a Bregman distance."""
    return belief.power is not None and belief.power >= 1


@dataclass
class Sharpening:
    """The rounds of one search.

    Attributes:
        least: weight below which none falls.
        most: rounds at most.
        target: phi at which the rounds end where no traces are held back; zero where they are.
        rounds: how many there have been.
        best: lowest phi of the traces held back.
        vector: parameters of the medium of that round.
        worse: rounds since then.
        before: weight, phi and phi of the traces held back before the rounds.
        first: parameters of the medium before the rounds.
        strength: sum of 1 / weight over the rounds.
        kept: weight of the best round, and the sum up to it.
    """

    least: float
    most: int = MOST_ROUNDS
    target: float = 0.0
    rounds: int = 0
    best: float = np.inf
    vector: Array = field(default_factory=lambda: np.zeros(0))
    worse: int = 0
    before: tuple[float, float, float] = (0.0, np.inf, np.inf)
    first: Array = field(default_factory=lambda: np.zeros(0))
    strength: float = 0.0
    kept: tuple[float, float] = (0.0, 0.0)

    def next_weight(self, weight: float) -> float:
        """Return the weight of the round after one at this weight."""
        return max(LOWERING * weight, min(weight, self.least))

    def note(self, weight: float, phi: float, checked: float, vector: Array) -> bool:
        """Take note of a round and return whether it was the last.

        Args:
            weight: of the round.
            phi: misfit of the traces that counted.
            checked: that of the traces held back, or of all where none are.
            vector: parameters of the medium.
        """
        self.rounds, self.strength = self.rounds + 1, self.strength + 1 / weight
        if checked < self.best:
            self.best, self.vector, self.worse, self.kept = checked, vector, 0, (weight, self.strength)
        else:
            self.worse += 1
        return self.rounds >= self.most or phi <= self.target or self.worse >= PATIENCE

    def of_all_traces(self, target: float) -> "Sharpening":
        """Return the rounds with all traces that follow upon those with some of them, down to their phi."""
        return Sharpening(self.least, self.rounds + MOST_FINAL, target, self.rounds, before=self.before, strength=self.strength)

    def state(self) -> StateTree:
        """Return what is needed to go on."""
        numbers = [self.least, self.most, self.target, self.rounds, self.best, self.worse, *self.before, self.strength, *self.kept]
        return {"numbers": np.array(numbers, dtype=float), "vector": self.vector, "first": self.first}

    @classmethod
    def from_state(cls, state: StateTree) -> "Sharpening":
        """Go on from a state."""
        least, most, target, rounds, best, worse, *rest = (float(number) for number in np.asarray(state["numbers"]))
        weight, phi, checked, strength, kept, up_to = rest
        vector, first = (np.atleast_1d(np.asarray(state[name], dtype=float)) for name in ("vector", "first"))
        before = weight, phi, checked
        return cls(least, int(most), target, int(rounds), best, vector, int(worse), before, first, strength, (kept, up_to))
