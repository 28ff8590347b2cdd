"""The penalty formulation of full-waveform inversion: fields and medium are networks, found by variable projection.

The SIREN paper trains both on the sum of residual and misfit. Here the structure is used: the fields enter linearly and are eliminated, the medium
moves by Gauss-Newton, and multipliers as in IR-WRI take the place of a guessed weight of the equation. No grid solver is involved.

Input: a compiled problem `laplacian(u) + k^2 m u = f`, one field per frequency. Output: a run, its model, a status that says on what it rests.

Reference: Sitzmann et al. 2020, section 4.3; Aghamiry, Gholami and Operto 2019, "Improving full-waveform inversion by wavefield reconstruction with
the alternating direction method of multipliers"; van den Berg and Kleinman 1997, "A contrast source inversion method".
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import CompileError, NonFiniteError, ProblemError
from pinnsiren.networks import Siren
from pinnsiren.training.method import AbstractMethod, AbstractRun, RunSettings, StateTree, Suitability
from pinnsiren.training.penalty.declared import read_medium, read_surveys
from pinnsiren.training.penalty.elimination import eliminate
from pinnsiren.training.penalty.medium import NetworkMedium
from pinnsiren.training.penalty.model import PenaltyModel
from pinnsiren.training.penalty.roughness import Roughness
from pinnsiren.training.penalty.search import AT_THE_NOISE, Search
from pinnsiren.training.penalty.waves import FEWEST_POINTS_PER_WAVELENGTH, Waves, place_centres

Array = NDArray[Any]

COST = 50.0  # behind methods that need no prior; chosen by name
SMOOTHING = 0.02  # of log m: one per cent of the speed between neighbouring cells is no edge
SECOND_POWERS = (1.0, 0.5)  # the other belief: few jumps where edges were sought, sharp edges where jumps were
SEED_STEP = 104_729
NOT_EXPLAINED = 1.5  # phi above which the data are not explained, whatever the prior


@dataclass(frozen=True)
class PenaltyInversion(AbstractMethod):
    """Settings of the penalty formulation.

    Attributes:
        width: of the sine layers of the medium.
        depth: number of sine layers of the medium.
        omega_0: frequency of the first one, for the support scaled to [-1, 1].
        prior_power: p of the roughness of log m that is believed to be small: 1/2 for sharp edges, 1 for the total variation.
        pretraining: begin with the uniform medium and its fields, which the paper trains first and which are known here; otherwise with the medium
            that the random parameters of the network draw.
        steps: Gauss-Newton steps between two updates of the multipliers.
        iterations: most updates of one search.
    """

    width: int = 48
    depth: int = 2
    omega_0: float = 30.0
    prior_power: float = 0.5
    pretraining: bool = True
    steps: int = 3
    iterations: int = 60

    def __post_init__(self) -> None:
        for name in ("width", "depth", "omega_0", "steps", "iterations"):
            if not getattr(self, name) > 0:
                raise ProblemError(f"PenaltyInversion was given {name}={getattr(self, name)}; expected a positive number")
        if not 0 < self.prior_power <= 2:
            raise ProblemError(f"PenaltyInversion was given prior_power={self.prior_power}; expected a number above 0, at most 2")

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits the Helmholtz equation with an unknown squared slowness in a uniform surrounding."""
        try:
            medium, surveys = read_medium(compiled.original), read_surveys(compiled.original)
        except CompileError as error:
            return Suitability(False, str(error), np.inf)
        _, points = place_centres(medium, max(survey.wavenumber for survey in surveys))
        if points < FEWEST_POINTS_PER_WAVELENGTH:
            few = f"{points:.1f} cells per wavelength are left of the {FEWEST_POINTS_PER_WAVELENGTH:g} needed"
            return Suitability(False, f"the support is too large for its matrices: {few}; declare a smaller one, or formulation=\"reduced\"", np.inf)
        reason = f"{len(surveys)} frequencies: fields by least squares, `{medium.name}` by Gauss-Newton, equations by multipliers; rests on a prior"
        return Suitability(True, reason, COST)

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "PenaltyRun":
        """Begin with the declared medium."""
        return PenaltyRun(self, compiled, settings)

    @property
    def network(self) -> Siren:
        """Record of the network of the medium."""
        return Siren(width=self.width, depth=self.depth, omega_0=self.omega_0)


class PenaltyRun(AbstractRun):
    """Two searches: the answer, and a second opinion with another network and another prior, from which follows how much rests on belief."""

    def __init__(self, method: PenaltyInversion, compiled: CompiledProblem, settings: RunSettings) -> None:
        self.method, self.compiled, self.settings = method, compiled, settings
        self.declared, surveys = read_medium(compiled.original), read_surveys(compiled.original)
        self.centres, _ = place_centres(self.declared, max(survey.wavenumber for survey in surveys))
        self.waves = tuple(Waves(survey, self.centres, self.declared.background) for survey in surveys)
        other = SECOND_POWERS[0] if method.prior_power < SECOND_POWERS[0] else SECOND_POWERS[1]
        self.powers = (method.prior_power, other)
        self.searches = [self._search(0)]
        self.counts = [0, 0]
        self.last_seconds = 0.0
        self._until = np.inf

    def _search(self, number: int) -> Search:
        medium = self._medium(self.settings.seed + SEED_STEP * number)
        return self._searching(medium, number)

    def _medium(self, seed: int, initial: Array | None = None) -> NetworkMedium:
        method = self.method
        return NetworkMedium(self.declared, method.network, self.centres.points, seed, method.pretraining, initial=initial)

    def _searching(self, medium: NetworkMedium, number: int) -> Search:
        prior = Roughness.on(self.centres, self.powers[number], SMOOTHING)
        return Search(medium, self.waves, prior, self.method.steps, lambda: perf_counter() > self._until)

    # -- steps --------------------------------------------------------------------------------------------------------------------------------

    def step(self) -> dict[str, float]:
        """Do one iteration of the answer, then of the second opinion."""
        begun = perf_counter()
        if self._is_over(0) and len(self.searches) == 1:
            self.searches.append(self._search(1))
        number = len(self.searches) - 1
        numbers = self.searches[number].advance()
        self.counts[number] += 1
        if not np.isfinite(numbers["phi"]):
            raise NonFiniteError("the misfit of the data")
        self.last_seconds = perf_counter() - begun
        return {"search": float(number + 1), **numbers, "estimated_error": self.error_estimate()}

    def _is_over(self, number: int) -> bool:
        return bool(self.searches[number].outcome) or self.counts[number] >= self.method.iterations

    def predicted_seconds(self) -> float:
        """Return the cost of the last iteration."""
        return self.last_seconds

    # -- the end ------------------------------------------------------------------------------------------------------------------------------

    @property
    def phi(self) -> float:
        """Mean square misfit over the noise of the answer."""
        return self.searches[0].best_phi if self.searches[0].is_last_stage else np.inf

    def error_estimate(self) -> float:
        """Return how far a second opinion that explains the data as well lies away; all that was changed where there is none."""
        answer = self._best(0)
        start = np.exp(self.searches[0].medium.log_start())
        estimate = relative_distance(start, answer)
        if len(self.searches) == 2 and self._explains(1):
            apart = relative_distance(self._best(1), answer)
            estimate = apart if self._explains(0) else max(apart, estimate)
        return float(estimate) if self.counts[0] else np.inf

    def _explains(self, number: int) -> bool:
        search = self.searches[number]
        return search.is_last_stage and search.best_phi <= NOT_EXPLAINED * AT_THE_NOISE

    def _best(self, number: int) -> Array:
        """Return the squared slowness at the centres with the least misfit."""
        search = self.searches[number]
        if not len(search.best):
            return np.exp(search.medium.log_model())
        now = search.medium.vector()
        search.medium.move_to(search.best)
        model = np.exp(search.medium.log_model())
        search.medium.move_to(now)
        return np.asarray(model)

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Decide after every iteration."""
        self._until = perf_counter() + self.settings.seconds - elapsed
        done = len(self.searches) == 2 and self._is_over(1)
        spent = self.counts[0] > 0 and elapsed + self.last_seconds > self.settings.seconds
        if not done and not spent:
            return None
        estimate = self.error_estimate()
        wanted = f"the estimated error of `{self.declared.name}` is {estimate:.2g}"
        if done and estimate <= self.settings.tolerance and self._explains(0):
            return "success", f"{wanted}, at or below the tolerance {self.settings.tolerance:.2g}. {self._basis()}"
        if spent and not done:
            text = f"{wanted}: the {self.settings.seconds:g} s given are used. {self._basis()} Raise seconds, or declare a smaller support"
            return "out_of_time", text
        remedy = "More receivers or frequencies, or less noise, would tell more"
        return "tolerance_not_reached", f"{wanted}, above the tolerance {self.settings.tolerance:.2g}. {self._basis()} {remedy}"

    def _basis(self) -> str:
        """Say on what the result rests."""
        power = self.powers[0]
        belief = f"the result rests on a prior: few edges (roughness of power {power:g} of log {self.declared.name})."
        if not self.searches[0].is_last_stage:
            return "Not all frequencies were used yet."
        if not self._explains(0):
            return (
                f"The data are not explained: their misfit is {np.sqrt(self.phi):.2g} times the declared noise. Either this is a wrong minimum, by a "
                f"frequency too high for the start, or noise, sources or time convention are other than declared; {belief}"
            )
        fits = f"The misfit is {np.sqrt(self.phi):.2g} times the declared noise; at this noise {belief}"
        if len(self.searches) == 2 and self._explains(1):
            return f"{fits} Another one, of power {self.powers[1]:g}, explains the data as well: the estimate is how far it lies away."
        return f"{fits} No second opinion explained the data, so that all of the change counts as uncertain."

    # -- results ------------------------------------------------------------------------------------------------------------------------------

    def model(self) -> PenaltyModel:
        """Return the medium of the answer with the fields that obey the equation in it."""
        search, background = self.searches[0], self.declared.background
        medium = self._medium(0, initial=search.medium.initial_vector())
        medium.move_to(search.best if len(search.best) else search.medium.vector())
        values = np.exp(medium.log_model())
        charges = tuple(
            eliminate(waves, values, background, np.inf, np.zeros_like(waves.incident), derivative=False).obedient for waves in self.waves
        )
        return PenaltyModel(self.compiled, self.method.network, medium, self.waves, charges, self.method.pretraining)

    def state(self) -> StateTree:
        """Return both searches and the counters."""
        return {
            "counts": np.array(self.counts),
            "last_seconds": self.last_seconds,
            "searches": {str(number): search.state() for number, search in enumerate(self.searches)},
        }

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        self.counts, self.last_seconds = [int(count) for count in state["counts"]], float(state["last_seconds"])
        self.searches = []
        for number in range(len(state["searches"])):
            stored = state["searches"][str(number)]
            search = self._searching(self._medium(0, initial=np.asarray(stored["initial"])), number)
            search.restore(stored)
            self.searches.append(search)


def relative_distance(other: Array, model: Array) -> float:
    """Return the larger of the relative L2 distances of squared slowness and of speed."""
    pairs = ((other, model), (other**-0.5, model**-0.5))
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)
