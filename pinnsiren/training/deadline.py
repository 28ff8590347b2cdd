"""When a step has to be over: a clock that is passed in, looked at between the pieces of a step.

Input: the clock of `RunSettings` and the seconds left. Output: nothing while time remains; otherwise `OutOfTimeError`, which ends the step. The run
then stands as it stood before the step, and the loop asks it how to go on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from pinnsiren.errors import TrainingError

Clock = Callable[[], float]
UNSEEN = 1.0  # relative error of a field whose front stands in the wrong place: what a look that the clock has cut short does not exclude


class OutOfTimeError(TrainingError):
    """A step would end after the deadline and was given up; the loop keeps the last finished one.

    Args:
        needed: seconds that the whole step would have taken.
    """

    def __init__(self, needed: float) -> None:
        super().__init__(f"the step was given up: it needs about {needed:.0f} s, more than are left. Raise seconds")
        self.needed = needed


@dataclass
class Deadline:
    """An instant of a clock.

    Attributes:
        clock: seconds since any origin, such as `time.perf_counter`.
        end: the instant; infinite until someone sets it.
    """

    clock: Clock
    end: float = inf

    def allow(self, seconds: float) -> None:
        """Set the instant that many seconds from now."""
        self.end = self.clock() + max(seconds, 0.0)

    def left(self) -> float:
        """Return the seconds left, negative afterwards."""
        return self.end - self.clock()

    @property
    def passed(self) -> bool:
        """Whether the instant lies behind."""
        return self.left() < 0
