"""The search for one medium: frequencies from low to high, the weight of the prior lowered until the misfit meets the noise.

The weight starts where the prior hides the data and falls by a factor each time from the medium before, so that large contrasts come first; without
a prior, the noise itself ends the steps. Where the noise is not declared, traces held back end the search: it stops where they get worse. A convex
prior then gives back the contrast that it took; see `sharpening`.

Input: `Survey`, a belief, a network. Output: the medium and how well it explains the traces held back.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.networks import Siren
from pinnsiren.training.method import StateTree
from pinnsiren.training.reduced.beliefs import Belief, TwoPhaseMedium
from pinnsiren.training.reduced.gauss_newton import STALLED as STALLED_DESCENT
from pinnsiren.training.reduced.gauss_newton import MediumFit
from pinnsiren.training.reduced.linearised import Linearisation, LinearisedSimulator
from pinnsiren.training.reduced.medium import NetworkMedium
from pinnsiren.training.reduced.roughness import Distance, Roughness
from pinnsiren.training.reduced.sharpening import CHARGED, LEAST_CHARGED, Sharpening
from pinnsiren.training.reduced.sharpening import STEPS as STEPS_SHARPENING
from pinnsiren.training.reduced.survey import Survey

Array = NDArray[Any]

FIRST_WEIGHT = 20.0  # times the misfit of the start, at which a prior of a few percent of the nodes still hides the data
LOWERING, RAISING = 1 / 3, 3.0
# Far from the noise the weight of a search that hurries falls faster.
FAR, LOWERING_FAR = 30.0, 0.1
STEPS, STEPS_LARGE = 8, 4  # Gauss-Newton steps per weight; with one Jacobian for all of them no weight is worth more
ROUNDS_LARGE = 3  # that one Jacobian serves
# Relative decrease of the objective below which the next weight gains more than another step, for a search that hurries.
PASSING = 1e-2
STALLED, STALLED_ALONE = 0.97, 0.99  # of phi, with and without a prior
FEWEST_WEIGHTS = 3
MOST_WEIGHTS = 14
WORSE = 0.97  # the traces held back must get better by more, where they say when to stop
FIRST_DAMPING = 1e-3
# Of the shortest wave from the middle of the box to its rim: up to there the frequencies of the beliefs hold. Data show half a wavelength and no
# less, so that a box of more wavelengths asks for sines as many times as fast.
RADIANS = 13.0
SHARP = 30.0  # the frequency of beliefs in edges


@dataclass
class Search:
    """One search on its way.

    Attributes:
        belief: prior and frequency of the network.
        fit: medium, prior and damping of Gauss-Newton.
        last: the highest group of frequencies.
        group: the frequencies up to this one, in the survey's order, are explained now.
        weight: of the prior.
        polish: rounds at the last weight after the noise is met.
        polishing: whether the last weight is reached.
        passing: whether the last descent was left early for the next weight.
        hurries: whether weights far from the noise are passed quickly: precise data would take a dozen more. Steps left out cost contrast.
        lowering: factor from one weight to the next.
        least_gain: share of phi that a lower weight has to gain; zero for what the belief says.
        tried: (weight, phi, phi of the traces held back) of this group.
        done: whether it is over.
        relative: misfit of the traces held back relative to the data, per frequency of the last step.
        last_checked: their phi.
        phi_before: of the medium that the search begins from again.
        sharpening: the rounds that give back contrast, once they have begun.
    """

    belief: Belief
    fit: MediumFit
    last: int
    group: int = 0
    weight: float = 0.0
    polish: int = 0
    polishing: bool = False
    passing: bool = False
    hurries: bool = False
    lowering: float = LOWERING
    least_gain: float = 0.0
    tried: list[tuple[float, float, float]] = field(default_factory=list)
    done: bool = False
    relative: Array = field(default_factory=lambda: np.zeros(0))
    last_checked: float = np.inf
    phi_before: float = np.inf
    sharpening: Sharpening | None = None

    @property
    def medium(self) -> Any:
        """The medium so far."""
        return self.fit.medium

    @property
    def phi(self) -> float:
        """Misfit of the last weight."""
        return self.tried[-1][1] if self.tried else self.phi_before

    def ask_again(self, everywhere: LinearisedSimulator) -> Array:
        """Measure the misfit of the traces held back anew, in the units of the noise that is known now, and return their residual."""
        found = everywhere.linearise(self.medium.model(), derivative=False)
        self.relative, self.last_checked = found.relative, found.misfit
        if self.tried:
            weight, phi, _ = self.tried[-1]
            self.tried[-1] = (weight, phi, found.misfit)
        return found.residual

    def objective(self, weight: float) -> float:
        """Return phi and the charge of the prior at a weight."""
        return self.phi + (0.0 if self.fit.prior is None else weight * self.fit.prior.value(self.fit.change()))

    def meet_again(self, everywhere: LinearisedSimulator) -> None:
        """Measure phi anew, once it has been: with the corrections of now."""
        if np.isfinite(self.phi):
            phi = everywhere.linearise(self.medium.model(), derivative=False).misfit
            self.tried[-1:] = [(self.weight, phi, phi)]

    def begin_again(self) -> None:
        """Go through the weights of this group once more, from the medium as it is: the data have changed."""
        self.phi_before, self.weight, self.tried = self.phi, self.tried[0][0], []
        self.polish, self.polishing, self.done = max(self.polish, 1), False, False

    def change_units(self, factor: float) -> None:
        """Scale weights and misfits where phi of the same medium is so many times what it was: another noise is its unit."""
        self.weight *= factor
        self.tried = [(factor * weight, factor * phi, factor * checked) for weight, phi, checked in self.tried]

    @property
    def checked(self) -> float:
        """Misfit of the traces held back, at the last weight."""
        return self.tried[-1][2] if self.tried else np.inf

    def advance(self, survey: Survey, kept: Array | None, floor_known: bool) -> Linearisation:
        """Descend at one weight, then choose the next weight or group.

        Args:
            survey: the data.
            kept: traces that count here; None for all, without a check on those held back.
            floor_known: whether the noise is declared or estimated, so that the misfit ends the search.
        """
        # Whoever takes the run up again from here makes the same rows.
        self.fit.forget()
        found = self._descend(survey, kept, floor_known) if self.sharpening is None else self._sharpen(survey, kept)
        if self.done:
            self.fit.forget()
        return found

    def _descend(self, survey: Survey, kept: Array | None, floor_known: bool) -> Linearisation:
        # A candidate takes each frequency with the one below it, so that what was explained stays so; the answer takes all.
        frequencies = survey.order[max(0, self.group - 1) : self.group + 1] if kept is not None else survey.order[: self.group + 1]
        simulator = survey.linearised(frequencies, kept)
        has_prior = self.fit.prior is not None
        if not self.tried and self.weight == 0 and has_prior:
            self.weight = FIRST_WEIGHT * simulator.linearise(self.medium.model(), derivative=False).misfit
        self.fit.damping = min(self.fit.damping, FIRST_DAMPING)
        steps = STEPS_LARGE if survey.is_large else STEPS
        self.fit.reuse = steps - 1 if survey.reuses_rows else 0
        self.passing = has_prior and self.hurries and not self.polishing
        enough = PASSING if self.passing and not floor_known else STALLED_DESCENT
        here = self.fit.descend(simulator, self.weight, steps, 0.0 if has_prior else 1.0, enough)
        checked = here
        if kept is not None:
            checked = survey.linearised(frequencies, survey.held).linearise(self.medium.model(), derivative=False)
        self.relative, self.last_checked = checked.relative, checked.misfit
        self.tried.append((self.weight, here.misfit, checked.misfit))
        self._go_on(floor_known, survey.least_misfit(frequencies) if not floor_known else 1.0)
        if self.done and kept is not None:
            checked = survey.linearised(survey.order, survey.held).linearise(self.medium.model(), derivative=False)
            self.relative, self.tried[-1] = checked.relative, (self.weight, here.misfit, checked.misfit)
        return here

    def begin_sharpening(self) -> None:
        """Go on with rounds, all frequencies together; a medium that is the start has nothing to give back."""
        assert isinstance(self.fit.prior, Roughness)
        before, charge = (self.weight, self.phi, self.checked), self.fit.prior.value(self.fit.change())
        if charge > 0:
            self.sharpening = Sharpening(LEAST_CHARGED / charge, before=before, first=self.medium.vector())
            self.weight, self.group, self.done = CHARGED / charge, self.last, False

    def _sharpen(self, survey: Survey, kept: Array | None) -> Linearisation:
        """Rounds at a weight that hides what is small, each with the distance from the medium of the round before."""
        rounds = ROUNDS_LARGE if survey.reuses_rows else 1
        self.fit.reuse = rounds * STEPS_SHARPENING - 1 if survey.reuses_rows else 0
        for _ in range(rounds):
            here = self._sharpen_once(survey, kept)
            if self.done:
                break
        return here

    def _sharpen_once(self, survey: Survey, kept: Array | None) -> Linearisation:
        assert self.sharpening is not None
        here = self.fit.descend(survey.linearised(survey.order, kept), self.weight, STEPS_SHARPENING)
        checked = here
        if kept is not None:
            checked = survey.linearised(survey.order, survey.held).linearise(self.medium.model(), derivative=False)
        self.relative, self.last_checked = checked.relative, checked.misfit
        self.tried.append((self.weight, here.misfit, checked.misfit))
        self.done = self.sharpening.note(self.weight, here.misfit, checked.misfit, self.medium.vector())
        self.weight = self.sharpening.next_weight(self.weight)
        if self.done and kept is not None:
            self.end_sharpening()
        else:
            self.anchor()
        return here

    def end_sharpening(self) -> None:
        """Go back to the best of the rounds so far, or to before them."""
        assert self.sharpening is not None
        self.done = True
        if self.sharpening.best < self.sharpening.before[2]:
            self.medium.move_to(self.sharpening.vector)
            self.tried.append(min(self.tried[-self.sharpening.rounds :], key=lambda one: one[2]))
            self.weight, self.sharpening.strength = self.sharpening.kept
            self.anchor()
            return
        self.medium.move_to(self.sharpening.first)
        self.tried.append(self.sharpening.before)
        self.weight, self.sharpening = self.sharpening.before[0], None
        if isinstance(self.fit.prior, Distance):
            self.fit.prior = self.fit.prior.roughness

    def anchor(self) -> None:
        """Let the prior charge from here on what is new beyond the medium as it is."""
        roughness = self.fit.prior.roughness if isinstance(self.fit.prior, Distance) else self.fit.prior
        assert roughness is not None, "a medium without a prior has no distance"
        self.fit.prior = Distance(roughness, self.fit.change())

    @property
    def weight_of_rounds(self) -> float:
        """The weight of one descent that comes out as the rounds do: for a quadratic prior, one over the sum of one over theirs."""
        return self.weight if self.sharpening is None else 1 / self.sharpening.strength

    def _go_on(self, floor_known: bool, floor: float = 1.0) -> None:
        # Where no noise was declared, the error of the grid is the least that there is: no search has to go below.
        low_enough = self.phi <= floor or self._stalls() or self._overfits(floor_known) or (self.polishing and self.least_gain > 0)
        if not low_enough:
            self.weight *= min(self.lowering, LOWERING_FAR) if self.hurries and self.phi > FAR else self.lowering
            return
        if self._overfits(floor_known):
            # Weights that gained nothing on the traces held back explain noise: the largest that is as good.
            best = min(checked for _, _, checked in self.tried)
            self.weight = next(weight for weight, _, checked in self.tried if WORSE * checked <= best)
        if self.group < self.last:
            self.group, self.tried, self.weight = self.group + 1, [], RAISING * self.weight
        elif self.polish > 0 and self.fit.prior is not None and (self.passing or not self.fit.stalled):
            self.polish, self.polishing = self.polish - 1, True
        else:
            self.done = True

    def _stalls(self) -> bool:
        if len(self.tried) >= MOST_WEIGHTS:
            return True
        if self.least_gain:
            return len(self.tried) > 1 and self.phi > (1 - self.least_gain) * self.tried[-2][1]
        if self.fit.prior is None:
            return len(self.tried) > 1 and self.phi > STALLED_ALONE * self.tried[-2][1]
        return len(self.tried) > FEWEST_WEIGHTS and self.phi > STALLED * self.tried[-2][1]

    def _overfits(self, floor_known: bool) -> bool:
        return not floor_known and len(self.tried) > 2 and self.checked > WORSE * min(checked for _, _, checked in self.tried[:-1])

    def state(self) -> StateTree:
        """Return what is needed to go on."""
        return {
            "belief": self.belief.name,
            "vector": self.medium.vector(),
            "levels": np.array([self.medium.first_contrast, self.medium.half] if isinstance(self.medium, TwoPhaseMedium) else []),
            "damping": self.fit.damping,
            "group": self.group,
            "weight": self.weight,
            "polish": self.polish,
            "polishing": int(self.polishing),
            "hurries": int(self.hurries),
            "tried": np.array(self.tried, dtype=float).reshape(-1, 3),
            "done": int(self.done),
            "relative": self.relative,
            "phi_before": self.phi_before,
            "anchor": self.fit.prior.anchor if isinstance(self.fit.prior, Distance) else np.zeros(0),
            "sharpening": {} if self.sharpening is None else self.sharpening.state(),
        }

    def restore(self, state: StateTree) -> None:
        """Go on from a state."""
        self.medium.move_to(np.asarray(state["vector"]))
        self.fit.damping, self.group, self.weight = float(state["damping"]), int(state["group"]), float(state["weight"])
        self.polish, self.polishing, self.done = int(state["polish"]), bool(state["polishing"]), bool(state["done"])
        self.hurries = bool(state["hurries"])
        self.tried = [(float(a), float(b), float(c)) for a, b, c in np.asarray(state["tried"]).reshape(-1, 3)]
        self.relative, self.phi_before = np.atleast_1d(np.asarray(state["relative"])), float(state["phi_before"])
        anchor = np.atleast_1d(np.asarray(state.get("anchor", []), dtype=float))
        if anchor.size and isinstance(self.fit.prior, Roughness):
            self.fit.prior = Distance(self.fit.prior, anchor)
        if state.get("sharpening"):
            self.sharpening = Sharpening.from_state(state["sharpening"])


def resolving(network: Siren, belief: Belief, survey: Survey) -> Siren:
    """Fill in the frequencies of a network: those of the belief, raised where the waves of the survey are shorter against the box."""
    modelling, declared = survey.declared.modelling, survey.declared
    half_side = 0.5 * float(np.max(np.array(modelling.grid.high) - np.array(modelling.grid.low)))
    slowness = float(np.mean(np.sqrt(declared.start[declared.active])))
    radians = float(declared.acquisition.angular_frequencies.max()) * slowness * half_side
    # A start that is not uniform is smooth already: what is missing is what a slow network cannot say.
    frequency = (belief.frequency if survey.starts_uniform else max(belief.frequency, SHARP)) * max(1.0, radians / RADIANS)
    return network.with_frequencies(frequency, frequency)


def build_search(survey: Survey, belief: Belief, network: Siren, seed: int, expired: Callable[[], bool], cells: bool = False) -> Search:
    """Begin at the declared start; with `cells`, nodes carry the mean of the medium over their cells."""
    declared = survey.declared
    grid = declared.modelling.grid
    medium = NetworkMedium(resolving(network, belief, survey), grid, declared.start, declared.active, declared.bounds, seed, cells)
    prior = None if belief.power is None else Roughness.on(grid, declared.start, declared.active, belief.power, belief.smoothing)
    return Search(belief, MediumFit(medium, prior, lambda phi, objective: None, expired), len(survey.order) - 1)
