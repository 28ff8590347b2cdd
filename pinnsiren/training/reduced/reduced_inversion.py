"""Full-waveform inversion in the reduced form: the medium is a network, the fields follow from it through a grid solver with its exact derivative.

    minimise phi(m) + weight * prior(m),   phi = mean over the traces of |P u(m) - d|^2 / noise^2,   laplacian(u) + k^2 m u = f,   m = exp(network)

The penalty form solves for fields and medium together instead. Frequencies are added from low to high; Gauss-Newton works in function space.
"""

from dataclasses import dataclass, replace

import numpy as np

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import ProblemError, ReferenceSolverError, UnknownNameError
from pinnsiren.language.conditions import PML, Observations
from pinnsiren.language.penalties import TOTAL_VARIATION as DECLARED_VARIATION
from pinnsiren.language.penalties import Penalty, Prior
from pinnsiren.language.problem import Problem
from pinnsiren.language.symbols import declaration_of
from pinnsiren.language.wave_surveys import is_wave_inversion
from pinnsiren.networks import Siren
from pinnsiren.reference_solvers.inversion import read_inversion
from pinnsiren.training.method import AbstractMethod, RunSettings, Suitability
from pinnsiren.training.reduced.beliefs import AUTO, PRIORS, TOTAL_VARIATION
from pinnsiren.training.reduced.run import ReducedRun
from pinnsiren.training.reduced.survey import ASSUMED_NOISE
from pinnsiren.training.reduced.time_run import TimeRun, suits_in_time

SMALL = Siren(48, 2)
COST = 0.5  # ahead of joint least squares, whose fields overfit what a few receivers leave open


@dataclass(frozen=True)
class ReducedInversion(AbstractMethod):
    """Settings of the reduced inversion.

    Attributes:
        network: of the medium; frequencies left None follow the prior: 10 without one, 30 where edges are sharp, more in a box of many wavelengths.
        prior: `"auto"` lets traces held back decide between `"none"` and `"few edges"`, or between `"total variation"` and `"smooth"` where the
            medium does not start uniform; by name also `"two phases"`, a medium that is the start or one other value. A declared
            `Prior(m, "total variation")` stands for the name.
        estimate_amplitudes: fit one complex factor per source and frequency (the wavelet).
        shots_per_step: shots drawn at random for each weight while candidates search; None takes all.
        step: of the grid, physical units; None gives 16 points per shortest wavelength of the start, fewer where nodes are too many.
        most_nodes: of the grid where the medium is sought, unless step is given.

    Raises:
        ProblemError: a setting out of its range.
        UnknownNameError: a prior that is none.
    """

    network: Siren = SMALL
    prior: str = AUTO
    estimate_amplitudes: bool = False
    shots_per_step: int | None = None
    step: float | None = None
    most_nodes: int = 1000

    def __post_init__(self) -> None:
        if self.prior not in PRIORS:
            raise UnknownNameError(f"ReducedInversion was given prior={self.prior!r}; known are {', '.join(PRIORS)}")
        if not isinstance(self.network, Siren):
            raise ProblemError(f"ReducedInversion was given network={self.network!r}; expected a Siren record: sines carry the medium")
        for name in ("shots_per_step", "step", "most_nodes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ProblemError(f"ReducedInversion was given {name}={value}; expected a positive number")

    @property
    def weighs_penalties(self) -> bool:
        """Whether declared beliefs count: `suits` refuses those that it cannot honour."""
        return True

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits Helmholtz equations that share an unknown squared slowness, with layers all around and observations; waves in time too."""
        problem = compiled.original
        if is_wave_inversion(problem):
            return suits_in_time(self, compiled)
        if len(problem.coefficients) != 1 or problem.scalars:
            return Suitability(False, "it seeks one unknown field, a squared slowness, and nothing else", np.inf)
        try:
            declared = read_inversion(problem, noise=ASSUMED_NOISE)
        except ReferenceSolverError as refusal:
            return Suitability(False, str(refusal), np.inf, made_for=_is_survey(problem))
        refused = self._refused_prior(problem)
        if refused:
            return Suitability(False, refused, np.inf, made_for=True)
        n = len(declared.acquisition.angular_frequencies)
        shots, receivers = declared.acquisition.measurements.shape[1:]
        reason = (
            f"formulation \"reduced\": the medium is a network, the fields of {n} frequenc{'y' if n == 1 else 'ies'}, {shots} shots and {receivers} "
            "receivers follow from it through a grid solver with its exact derivative, so that only the medium is sought"
        )
        return Suitability(True, reason, COST)

    def refuses_processes(self, compiled: CompiledProblem) -> str:
        """Frequencies are split: each has a factorisation of its own, which its shots and receivers share."""
        if is_wave_inversion(compiled.original):
            return "waves in time are inverted by one process"
        n = len(compiled.ir.is_complex)
        return "" if n > 1 else "one frequency has one factorisation, which all shots share"

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> ReducedRun | TimeRun:
        """Begin with the first belief at the declared start; waves in time are inverted per frequency and checked in time."""
        if is_wave_inversion(compiled.original):
            return TimeRun(self, compiled, settings)
        believed = any(isinstance(condition, Prior) for condition in compiled.original.conditions)
        return ReducedRun(replace(self, prior=TOTAL_VARIATION) if believed else self, compiled, settings)

    def _refused_prior(self, problem: Problem) -> str:
        """Why a declared belief cannot be honoured; empty where it can, or where there is none."""
        believed = [condition for condition in problem.conditions if isinstance(condition, (Penalty, Prior))]
        if not believed:
            return ""
        kept = [b for b in believed if isinstance(b, Prior) and b.kind == DECLARED_VARIATION and b.expression == problem.coefficients[0]]
        medium = problem.coefficients[0]
        if len(kept) != len(believed) or len(kept) > 1:
            return (
                f"it was given {', '.join(repr(b) for b in believed)}; of declared beliefs it knows one Prior({medium}, \"{DECLARED_VARIATION}\"). "
                "Leave the others out, or name a prior: ReducedInversion(prior=...) has "
                f"{', '.join(PRIORS)}"
            )
        if kept[0].weight is not None:
            return f"Prior({medium}, \"{DECLARED_VARIATION}\") was given weight={kept[0].weight:g}; here the noise decides on it: leave it out"
        if self.prior not in (AUTO, TOTAL_VARIATION):
            return f"Prior({medium}, \"{DECLARED_VARIATION}\") is declared and prior={self.prior!r} was given: leave one of them out"
        return ""


def _is_survey(problem: Problem) -> bool:
    """Whether a problem that is another form looks like a survey all the same: complex fields that are observed, layers, an unknown medium."""
    kinds = {type(condition) for condition in problem.conditions}
    return {PML, Observations} <= kinds and all(declaration_of(field).is_complex for field in problem.fields)
