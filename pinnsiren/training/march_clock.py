"""How far the next march may refine, and whether a march that has begun will end in time.

Input: a deadline, and what the last march cost window by window. Output: the share of a whole refinement that fits what is left; while a march runs,
`OutOfTimeError` as soon as its own first windows show that it cannot end in time. A linear system of n unknowns costs n^3: rates are measured, in
seconds per such unit, by the march that they are used in.
"""

from collections.abc import Callable, Sequence

from pinnsiren.training.deadline import Deadline, OutOfTimeError

SHARES = (1.0, 2 / 3, 1 / 3)  # of a refinement, in the exponent of its growth: few values, so that a run that the clock limits often repeats
PRIOR = 0.5  # of a march, that expectation counts beside what is seen: the first windows of Burgers' layers took up to five times what was expected
MARGIN = 1.25  # a march is given up early where it would take that much longer than is left
SAFETY = 1.6  # of a march planned: those of Burgers' layers took 1.2 to 2.3 times what one takes whose windows are all solved once


def largest_share(cost: Callable[[float], float], allowed: float) -> float:
    """Return the largest share of a refinement whose cost, in seconds, is safely below what is allowed; 0 where none is."""
    return next((share for share in SHARES if SAFETY * cost(share) <= allowed), 0.0)


class MarchWatch:
    """Watches one march.

    Args:
        deadline: when it has to be over.
        expected: first instant, last instant and expected seconds of the windows to come; empty where nothing is known.

    Attributes:
        begun: when it began.
        done: linear systems solved so far, in cubes of their unknowns.
    """

    def __init__(self, deadline: Deadline, expected: Sequence[tuple[float, float, float]]) -> None:
        self.deadline, self.expected, self.begun, self.done = deadline, expected, deadline.clock(), 0.0
        self.needed = sum(each for _, _, each in expected)

    def before_system(self, n_unknowns: int) -> None:
        """Give the march up if one more linear system would end too late.

        Raises:
            OutOfTimeError: it would.
        """
        spent, unit = self.deadline.clock() - self.begun, float(n_unknowns) ** 3
        following = spent * unit / self.done if self.done else 0.0
        if following > self.deadline.left():
            raise OutOfTimeError(max(spent + following, self.needed))
        self.done += unit

    def reached(self, instant: float) -> None:
        """Give the march up if the windows after an instant would end too late, by what was expected of them and what those before it took.

        Raises:
            OutOfTimeError: they would.
        """
        total = sum(each for _, _, each in self.expected)
        if not total:
            return
        seen = sum(each * min(max((instant - first) / (last - first), 0.0), 1.0) for first, last, each in self.expected)
        spent = self.deadline.clock() - self.begun
        following = (total - seen) * (spent + PRIOR * total) / (seen + PRIOR * total)
        self.needed = spent + following
        if following > MARGIN * self.deadline.left():
            raise OutOfTimeError(self.needed)
