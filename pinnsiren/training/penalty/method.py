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
from pinnsiren.language.wave_surveys import is_wave_inversion
from pinnsiren.networks import Siren
from pinnsiren.training.method import AbstractMethod, AbstractRun, RunSettings, StateTree, Suitability
from pinnsiren.training.penalty.confidence import heard, uncertainty
from pinnsiren.training.penalty.declared import read_medium, read_surveys
from pinnsiren.training.penalty.elimination import eliminate
from pinnsiren.training.penalty.medium import NetworkMedium
from pinnsiren.training.penalty.model import PenaltyModel
from pinnsiren.training.penalty.roughness import Roughness
from pinnsiren.training.penalty.search import AT_THE_NOISE, Search
from pinnsiren.training.penalty.waves import FEWEST_POINTS_PER_WAVELENGTH, Waves, place_centres
from pinnsiren.training.reduced.confidence import AUDIBLE, FAINT
from pinnsiren.training.reduced.time_run import TimeRun, suits_in_time

Array = NDArray[Any]

COST = 50.0  # behind methods that need no prior; chosen by name
SMOOTHING = 0.02  # of log m: one per cent of the speed between neighbouring cells is no edge
# The total variation comes first: it has fewer wrong minima. From the start on with p = 1/2, two seeds on the disc ended at 2.5 and 7 % of the speed.
FIRST_POWER, OTHER_POWER = 1.0, 0.5
NO_EDGES = 2.0  # p of the witness, which charges an edge more than the same rise in many steps
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
        iterations: most updates under one prior.
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
        """Fits the Helmholtz equation with an unknown squared slowness in a uniform surrounding; waves in time too."""
        if is_wave_inversion(compiled.original):
            return suits_in_time(self, compiled)
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

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "PenaltyRun | TimeRun":
        """Begin with the declared medium; waves in time are inverted per frequency and checked in time."""
        if is_wave_inversion(compiled.original):
            return TimeRun(self, compiled, settings)
        return PenaltyRun(self, compiled, settings)

    @property
    def network(self) -> Siren:
        """Record of the network of the medium."""
        return Siren(width=self.width, depth=self.depth, omega_0=self.omega_0)


class PenaltyRun(AbstractRun):
    """Two beliefs, one after the other: the total variation, then sharper edges. From how far apart they end follows how much rests on belief."""

    def __init__(self, method: PenaltyInversion, compiled: CompiledProblem, settings: RunSettings) -> None:
        self.method, self.compiled, self.settings = method, compiled, settings
        self.declared, surveys = read_medium(compiled.original), read_surveys(compiled.original)
        self.centres, _ = place_centres(self.declared, max(survey.wavenumber for survey in surveys))
        self.waves = tuple(Waves(survey, self.centres, self.declared.background) for survey in surveys)
        sharp = method.prior_power < FIRST_POWER
        self.powers = (FIRST_POWER, method.prior_power) if sharp else (method.prior_power, OTHER_POWER)
        self.answer = int(sharp)  # which of the two is what was asked for
        self.phase, self.counts, self.last_seconds, self._until = 0, [0, 0], 0.0, np.inf
        self.found: list[Found] = []
        self.uncertain = 0.0
        self.search = self._search(self._medium())
        self.heard = heard(self.search.medium.log_start(), self.waves, self.declared.background)

    def _medium(self, initial: Array | None = None) -> NetworkMedium:
        method = self.method
        return NetworkMedium(self.declared, method.network, self.centres.points, self.settings.seed, method.pretraining, initial=initial)

    def _search(self, medium: NetworkMedium) -> Search:
        return Search(medium, self.waves, self._prior(self.phase), self.method.steps, lambda: perf_counter() > self._until)

    def _prior(self, phase: int) -> Roughness:
        return Roughness.on(self.centres, self.powers[phase], SMOOTHING)

    # -- steps --------------------------------------------------------------------------------------------------------------------------------

    def step(self) -> dict[str, float]:
        """Do one iteration under the first belief, then under the second."""
        begun = perf_counter()
        if self._is_over() and self.phase == 0:
            self.phase = 1
            self.search.believe(self._prior(1))
        numbers = self.search.advance()
        self.counts[self.phase] += 1
        if not np.isfinite(numbers["phi"]):
            raise NonFiniteError("the misfit of the data")
        self.found = [*self.found[: self.phase], self._found()]
        self.last_seconds = perf_counter() - begun
        return {"prior_power": self.powers[self.phase], **numbers, "estimated_error": self.error_estimate()}

    def _found(self) -> "Found":
        """Return the best of the belief so far."""
        search = self.search
        now, best = search.medium.vector(), search.best if len(search.best) else search.medium.vector()
        search.medium.move_to(best)
        model = np.exp(search.medium.log_model())
        search.medium.move_to(now)
        return Found(best, model, search.best_phi if search.is_last_stage else np.inf)

    def _is_over(self) -> bool:
        return bool(self.search.outcome) or self.counts[self.phase] >= self.method.iterations

    def predicted_seconds(self) -> float:
        """Return the cost of the last iteration."""
        return self.last_seconds

    # -- the end ------------------------------------------------------------------------------------------------------------------------------

    @property
    def chosen(self) -> "Found":
        """What was asked for, or the other belief as long as that explains the data alone."""
        wanted = self.found[min(self.answer, len(self.found) - 1)]
        explaining = [found for found in self.found if found.explains]
        return wanted if wanted.explains or not explaining else explaining[0]

    def error_estimate(self) -> float:
        """Return how far other beliefs that explain the data lie away, at the end also that in no edges; all that was changed where none does."""
        if not self.found:
            return float(np.inf)
        model = self.chosen.model
        changed = relative_distance(np.exp(self.search.medium.log_start()), model)
        if len(self.found) < 2:
            return max(changed, self.uncertain)
        apart = max(relative_distance(self.found[0].model, self.found[1].model), self.uncertain)
        return apart if all(found.explains for found in self.found) else max(apart, changed)

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Decide after every iteration."""
        self._until = perf_counter() + self.settings.seconds - elapsed
        done = self.phase == 1 and self._is_over()
        spent = bool(self.found) and elapsed + self.last_seconds > self.settings.seconds
        if not done and not spent:
            return None
        smooth = Roughness.on(self.centres, NO_EDGES, SMOOTHING)
        self.uncertain = uncertainty(self.chosen.model, self.search.medium.log_start(), self.waves, self.declared.background, smooth)
        if self.heard <= AUDIBLE:
            # As in the reduced form: data that hardly tell a medium from the start bound neither.
            changed = relative_distance(np.exp(self.search.medium.log_start()), self.chosen.model)
            self.uncertain = float(np.hypot(self.uncertain, changed / self.heard)) if self.heard > FAINT else float(np.inf)
        estimate = self.error_estimate()
        text = f"the estimated error of `{self.declared.name}` is {estimate:.2g}"
        if not done:
            remedy = "Raise seconds, or declare a smaller support"
            return "out_of_time", f"{text}: the {self.settings.seconds:g} s given are used. {self._basis()} {remedy}"
        if estimate <= self.settings.tolerance and self.chosen.explains:
            return "success", f"{text}, at or below the tolerance {self.settings.tolerance:.2g}. {self._basis()}"
        remedy = "More receivers or frequencies, or less noise, would tell more"
        return "tolerance_not_reached", f"{text}, above the tolerance {self.settings.tolerance:.2g}. {self._basis()} {remedy}"

    def _basis(self) -> str:
        """Say on what the result rests."""
        chosen, name = self.chosen, self.declared.name
        belief = f"the result rests on a prior: few edges (roughness of log {name})."
        silent = max(waves.survey.silent for waves in self.waves)
        if silent:
            belief = f"{belief} {silent} of {len(self.waves[0].survey.receivers)} receivers recorded nothing but zeros and were left out."
        if self.heard <= AUDIBLE:
            belief = f"{belief} The declared start misses the data by {self.heard:.2g} times the noise only: they say little about the medium."
        if not np.isfinite(chosen.phi):
            return f"Not all frequencies were used yet; {belief}"
        misfit = f"{np.sqrt(chosen.phi):.2g} times the declared noise"
        if not chosen.explains:
            return (
                f"The data are not explained: their misfit is {misfit}. Either this is a wrong minimum, by a frequency too high for the start, or "
                f"noise, sources or time convention are other than declared; {belief}"
            )
        fits = f"The misfit is {misfit}; {belief}"
        if len(self.found) == 2 and all(found.explains for found in self.found):
            powers = " and ".join(f"{power:g}" for power in self.powers)
            alike = f"{fits} Priors of the powers {powers} explain the data alike"
            return f"{alike}: the estimate is how far they and the smoothest such medium lie apart."
        return f"{fits} No second prior explained the data yet, so that all of the change counts as uncertain."

    # -- results ------------------------------------------------------------------------------------------------------------------------------

    def model(self) -> PenaltyModel:
        """Return the medium of the answer with the fields that obey the equation in it."""
        medium = self._medium(initial=self.search.medium.initial_vector())
        medium.move_to(self.chosen.parameters)
        values, background = np.exp(medium.log_model()), self.declared.background
        charges = tuple(
            eliminate(waves, values, background, np.inf, np.zeros_like(waves.incident), derivative=False).obedient for waves in self.waves
        )
        return PenaltyModel(self.compiled, self.method.network, medium, self.waves, charges, self.method.pretraining)

    def state(self) -> StateTree:
        """Return the search, what was found and the counters."""
        found = {
            str(number): {"parameters": each.parameters, "model": each.model, "phi": each.phi} for number, each in enumerate(self.found)
        }
        return {
            "phase": self.phase,
            "counts": np.array(self.counts),
            "last_seconds": self.last_seconds,
            "search": self.search.state(),
            "found": found,
        }

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        self.phase, self.counts, self.last_seconds = int(state["phase"]), [int(n) for n in state["counts"]], float(state["last_seconds"])
        self.found = [
            Found(np.asarray(each["parameters"]), np.asarray(each["model"]), float(each["phi"]))
            for each in (state["found"][str(number)] for number in range(len(state["found"])))
        ]
        self.search = self._search(self._medium(initial=np.asarray(state["search"]["initial"])))
        self.search.restore(state["search"])


@dataclass(frozen=True)
class Found:
    """What one belief led to.

    Attributes:
        parameters: of the network.
        model: squared slowness at the centres.
        phi: mean square misfit over the noise, infinite before all frequencies are in use.
    """

    parameters: Array
    model: Array
    phi: float

    @property
    def explains(self) -> bool:
        """Whether the data are explained."""
        return self.phi <= NOT_EXPLAINED * AT_THE_NOISE


def relative_distance(other: Array, model: Array) -> float:
    """Return the larger of the relative L2 distances of squared slowness and of speed."""
    pairs = ((other, model), (other**-0.5, model**-0.5))
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)
