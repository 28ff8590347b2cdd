"""A second opinion on networks across fronts: how far they are from least squares on stretched axes.

Input: a compiled problem whose network takes stretched inputs, and the network as it stands. Output: a lower bound of its error. Equations
linearised at a field whose front stands in the wrong place, or has not formed, see a small residual and ask for a small correction, while the field
is wrong by order one beside the front: no residual at the network tells the two apart. The coarse march that found the fronts solves the same
declaration by other functions, other points and window after window in time. By the triangle inequality the network errs at least by what they
differ less the error of the march. A march that the budget cuts short excludes nothing: the error may then be as large as the field.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem, compile_problem
from pinnsiren.errors import NonFiniteError
from pinnsiren.training.deadline import UNSEEN, Deadline, OutOfTimeError
from pinnsiren.training.front_points import densities, front_points, stretches_of
from pinnsiren.training.method import FittedModel, RunSettings
from pinnsiren.training.stretched_least_squares import StretchedLeastSquares, StretchedRun

N_POINTS = 4000
SEED = 31_013
MARCHES = 2  # whose distance says how far the second can be trusted
ENOUGH_SECONDS = 30.0  # of the budget for two marches; below there is one, trusted no further than its residual
SHARE = 0.3  # of the budget, at most, for the second
DOUBT = 2.0  # times the estimated error of the march


class FrontWitness:
    """The march and the points at which networks are compared with it.

    Args:
        compiled: the problem as the network sees it.
        settings: of the run of the network.
        deadline: of the marches; None sets none.

    Attributes:
        error: of the march, relative; infinite where it failed, and says nothing then.
        cut_short: whether the deadline came before the first march was done.
    """

    def __init__(self, compiled: CompiledProblem, settings: RunSettings, deadline: Deadline | None = None) -> None:
        self.compiled, self.error = compiled, np.inf
        stretches = stretches_of(compiled)
        self.points = front_points(compiled, stretches, N_POINTS, SEED)
        self.roots = 1 / np.sqrt(densities(stretches, self.points))[:, None]
        own = compile_problem(compiled.original)
        run = StretchedLeastSquares().start(own, replace(settings, network=None))
        run.deadline = deadline or Deadline(settings.clock)
        self.cut_short = not self._march(run, settings)
        if not run.level:
            return
        self.error = float(DOUBT * run.estimate if run.level == MARCHES else run.residual)
        model, zero = run.model(), (0,) * len(own.ir.coordinates)
        self.fields = [model.evaluate(i, self.points, zero) + own.known_part(i, self.points, zero) for i in range(len(own.ir.is_complex))]

    def _march(self, run: StretchedRun, settings: RunSettings) -> bool:
        """March as often as the budget allows; return whether it allowed for once."""
        try:
            run.step()
            if settings.seconds >= ENOUGH_SECONDS:
                end = run.deadline.end
                run.deadline = Deadline(settings.clock, min(end, settings.clock() + SHARE * settings.seconds))
                run.step()
        except NonFiniteError:
            return True
        except OutOfTimeError:
            return run.level > 0
        return True

    def least_error(self, model: FittedModel) -> float:
        """Return what a model errs by at least, relative to the field; the worst field counts."""
        if self.cut_short:
            return UNSEEN
        if not np.isfinite(self.error):
            return 0.0
        worst, zero = 0.0, (0,) * self.points.shape[1]
        for index, field in enumerate(self.fields):
            own = model.evaluate(index, self.points, zero) + self.compiled.known_part(index, self.points, zero)
            size = max(self._norm(field), 1e-300)
            worst = max(worst, self._norm(own - field) / size - self.error)
        return max(worst, 0.0)

    def _norm(self, values: NDArray[np.float64]) -> float:
        """Return the norm over the domain: points that crowd in fronts count by the room they have."""
        return float(np.linalg.norm(self.roots * values))
