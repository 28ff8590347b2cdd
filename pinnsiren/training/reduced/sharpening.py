"""Contrast given back: rounds of a strong convex prior, each with the Bregman distance from the medium of the round before.

A convex prior that hides the noise takes contrast away from thin layers. At a weight ten times that of the noise level or more, and with the distance
from the last medium in the prior's place, what is large comes back first and phi falls round by round (inverse scale space: Osher, Burger, Goldfarb,
Xu and Yin 2005, https://doi.org/10.1137/040605412). Noise would come back in the end: traces held back say when to stop, and for all traces together
the misfit that was best for them. Rounds that come to nothing better than there was before are forgotten.

Input: phi of every round, the medium. Output: whether to go on; the medium of the best round.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.training.method import StateTree
from pinnsiren.training.reduced.beliefs import Belief

Array = NDArray[Any]

# Weight of the rounds over the one at which the prior met the noise: the larger, the finer the rounds and the more of them. The first round has to
# hide as much again as the noise, or the weight is raised: what a search has at its last weight depends on how far its few steps have come.
RAISED, HIDDEN, MOST_RAISINGS = 10.0, 2.0, 3
STEPS = 2  # of Gauss-Newton per round: the distance keeps what a round leaves unfinished for the next
MOST_ROUNDS, MOST_FINAL = 12, 2
PATIENCE = 2  # rounds without a gain on the traces held back


def is_convex(belief: Belief) -> bool:
    """Whether the prior of a belief has a Bregman distance."""
    return belief.power is not None and belief.power >= 1


@dataclass
class Sharpening:
    """The rounds of one search.

    Attributes:
        most: rounds at most.
        hidden: phi that the first round has to leave.
        raisings: how often the weight may be raised for it.
        target: phi at which the rounds end where no traces are held back; zero where they are.
        rounds: how many there have been.
        best: lowest phi of the traces held back.
        vector: parameters of the medium of that round.
        worse: rounds since then.
        before: weight, phi and phi of the traces held back before the rounds.
        first: parameters of the medium before the rounds.
    """

    most: int = MOST_ROUNDS
    hidden: float = 0.0
    raisings: int = MOST_RAISINGS
    target: float = 0.0
    rounds: int = 0
    best: float = np.inf
    vector: Array = field(default_factory=lambda: np.zeros(0))
    worse: int = 0
    before: tuple[float, float, float] = (0.0, np.inf, np.inf)
    first: Array = field(default_factory=lambda: np.zeros(0))

    def hides_too_little(self, phi: float) -> bool:
        """Whether the weight has to be raised before the first round counts."""
        if self.rounds or self.raisings == 0 or phi >= self.hidden:
            return False
        self.raisings -= 1
        return True

    def note(self, phi: float, checked: float, vector: Array) -> bool:
        """Take note of a round and return whether it was the last.

        Args:
            phi: misfit of the traces that counted.
            checked: that of the traces held back, or of all where none are.
            vector: parameters of the medium.
        """
        self.rounds += 1
        if checked < self.best:
            self.best, self.vector, self.worse = checked, vector, 0
        else:
            self.worse += 1
        return self.rounds >= self.most or phi <= self.target or self.worse >= PATIENCE

    def state(self) -> StateTree:
        """Return what is needed to go on."""
        numbers = [self.most, self.hidden, self.raisings, self.target, self.rounds, self.best, self.worse, *self.before]
        return {"numbers": np.array(numbers, dtype=float), "vector": self.vector, "first": self.first}

    @classmethod
    def from_state(cls, state: StateTree) -> "Sharpening":
        """Go on from a state."""
        most, hidden, raisings, target, rounds, best, worse, *before = (float(number) for number in np.asarray(state["numbers"]))
        vector, first = (np.atleast_1d(np.asarray(state[name], dtype=float)) for name in ("vector", "first"))
        weight, phi, checked = before
        return cls(int(most), hidden, int(raisings), target, int(rounds), best, vector, int(worse), (weight, phi, checked), first)
