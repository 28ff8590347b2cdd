"""A run of the reduced inversion: two beliefs search on most of the traces, those held back choose, all traces give the answer.

    candidate, witness  ->  the better one, corrected by a finer grid, all traces  ->  (two phases, if declared, from both)  ->  uncertainty

Input: `ReducedInversion`, problem, settings. Output: `ReducedModel`, status, estimated error. The truth is used nowhere.
"""

from dataclasses import replace
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.networks import Siren
from pinnsiren.training.method import AbstractRun, RunSettings, StateTree
from pinnsiren.training.parallel import join_ranks
from pinnsiren.training.reduced.beliefs import AUTO, BELIEFS, TWO_PHASES, Belief, TwoPhaseMedium, beliefs_of
from pinnsiren.training.reduced.confidence import choice_texts, doubts, estimate_error, misfit_texts, share_of_distance
from pinnsiren.training.reduced.gauss_newton import MediumFit
from pinnsiren.training.reduced.model import ReducedModel, build_model, fine_model
from pinnsiren.training.reduced.roughness import Roughness
from pinnsiren.training.reduced.search import RAISING, Search, build_search, resolving
from pinnsiren.training.reduced.sharpening import is_convex
from pinnsiren.training.reduced.survey import read_survey

Array = NDArray[Any]

# What the second candidate has to come below on the traces held back, times the misfit of the first. A medium without a prior takes up noise that
# costs its predictions more than itself. On large surveys few steps leave a candidate a tenth of phi above where it would come.
# Where no noise is declared each candidate ends where it predicts best, and media far apart predict alike: of those a medium of few edges is the
# safer one: where there are edges it is far closer, where there are none a little further off.
BETTER, BETTER_LARGE, BETTER_ALIKE = 0.98, 0.9, 1.02
NOISY = 4.0  # phi of the traces held back where no noise is declared: noise of twice what is assumed, the error of the grid
FINE_LOWERING = 0.6  # of the weight, for the answer: the floor is met more closely
POLISH, POLISH_PHASES, POLISH_CANDIDATE = 5, 2, 1  # rounds at the last weight
# Of the sum of squares, noise of deviation one: what a third of the weight has to gain between two phases to be worth it. Two phases explain the data
# at any weight of their interface; below, its ripples explain the noise.
LEAST_GAIN = 4.0
# Times the noise: what another look at the finer grid may change in the data without the answer being sought again; a fifth moves it by a fifth of
# what the noise does.
MOVED, MOST_LOOKS = 0.2, 2
SHARES = (0.4, 0.75)  # of the budget, at which the candidates have to be done
SHARE_SHARPENED = 0.85  # the same of the rounds that give back contrast
FINAL, PHASES, MORE_PHASES = 2, 3, 4


class Choices(Protocol):
    """The settings of `ReducedInversion`."""

    @property
    def network(self) -> Siren:
        """Of the medium."""

    @property
    def prior(self) -> str:
        """By name."""

    @property
    def estimate_amplitudes(self) -> bool:
        """Whether one factor per source and frequency is fitted."""

    @property
    def shots_per_step(self) -> int | None:
        """Shots drawn for each weight."""

    @property
    def step(self) -> float | None:
        """Of the grid."""

    @property
    def most_nodes(self) -> int:
        """Of the grid where the medium is sought."""


class ReducedRun(AbstractRun):
    """Searches one after the other, one weight per step."""

    def __init__(self, method: Choices, compiled: CompiledProblem, settings: RunSettings) -> None:
        # Whoever joins others has no clock of its own.
        self.ranks = join_ranks(torch.device("cpu"))
        settings = replace(settings, seconds=self.ranks.agree(settings.seconds))
        self.method, self.compiled, self.settings = method, compiled, settings
        self.survey = read_survey(
            compiled.original,
            step=method.step,
            most_nodes=method.most_nodes,
            estimate_amplitudes=method.estimate_amplitudes,
            seed=settings.seed,
            ranks=self.ranks,
        )
        self.searches: list[Search] = [self._candidate(belief) for belief in beliefs_of(method.prior, self.survey.starts_uniform)]
        if self.survey.is_coarse:
            self.survey.correct(self.survey.declared.start, self.survey.finer.start)
        self.stage, self.winner, self.checked_receivers, self.chosen, self.finished = 0, 0, False, False, False
        self.looks = 0
        self.estimate, self.elapsed, self.last_seconds = np.inf, 0.0, 0.0
        self.deadline = np.inf
        self.deviation = np.zeros(0)
        self.shots = np.random.default_rng(settings.seed + 1)
        self.heard = self._start_misfit()

    @property
    def _hurries(self) -> bool:
        """Noise that is not declared may be none at all; with the Hessian of a medium nearby a small decrease is not the last."""
        return any(self.survey.declared.undeclared) and not self.survey.is_large

    def _search(self, belief: Belief, *, cells: bool = False) -> Search:
        """Begin a search; with bold steps where two phases are asked for, whose interface comes closer that way."""
        search = build_search(self.survey, belief, self.method.network, self.settings.seed, self._expired, cells=cells)
        search.fit.bold = self.method.prior == TWO_PHASES
        return search

    def _candidate(self, belief: Belief) -> Search:
        search = self._search(belief)
        search.hurries = self._hurries
        search.polish = POLISH_CANDIDATE if self._hurries else 0
        return search

    # -- steps --------------------------------------------------------------------------------------------------------------------------------

    def step(self) -> dict[str, float]:
        """Descend at one weight of the prior."""
        begun = perf_counter()
        search = self.searches[self.stage]
        floor_known = self.stage >= FINAL or not any(self.survey.declared.undeclared)
        weight, group = search.weight, search.group
        here = search.advance(self.survey, self._kept(), floor_known)
        if self.survey.is_coarse and self.stage < FINAL and search.group > group:
            explained = self.survey.order[group : search.group + 1]
            self.survey.correct(search.medium.model(), fine_model(search.medium, self.survey.finer), explained)
        self.last_seconds = self.ranks.agree(perf_counter() - begun)
        share = SHARE_SHARPENED if self.chosen else SHARES[min(self.stage, 1)]
        late = self.stage < FINAL and self.elapsed + self.last_seconds > share * self.settings.seconds
        if search.done or late:
            self._finish_stage()
        return {
            "stage": float(self.stage),
            "frequencies": float(group + 1),
            "weight": weight,
            "misfit": here.misfit,
            "fresh_residual": search.last_checked,
            "wave_solves": float(self.survey.total_solves),
            "estimated_error": self.estimate,
        }

    def _start_misfit(self) -> float:
        """What the data hear of the medium at all: the start against the noise."""
        start = self.survey.linearised(self.survey.order).linearise(self.survey.declared.start, derivative=False)
        return float(np.sqrt(start.misfit))

    def _expired(self) -> bool:
        return bool(self.ranks.agree(perf_counter() > self.deadline))

    def _kept(self) -> Array | None:
        """Traces that count in this step; None for all."""
        chosen = ~self.survey.held if self.stage < FINAL else None
        n_shots = len(self.survey.held)
        if self.method.shots_per_step is None or self.method.shots_per_step >= n_shots or self.stage >= FINAL:
            return chosen
        drawn = np.zeros(self.survey.held.shape, dtype=bool)
        drawn[self.shots.choice(n_shots, self.method.shots_per_step, replace=False)] = True
        return drawn if chosen is None else chosen & drawn

    def _finish_stage(self) -> None:
        """Go on to the next search."""
        if self.stage == 0 and not self.checked_receivers:
            self.checked_receivers = True
            if self.survey.drop_dead_receivers(self.searches[0].medium.model()):
                self.searches[0] = self._candidate(self.searches[0].belief)
                return
        if self.stage < FINAL and self.chosen:
            if not self.searches[self.winner].done:
                self.searches[self.winner].end_sharpening()
            self._begin_final()
        elif self.stage == 0:
            if self._hurries and self.searches[0].done and self.searches[0].checked > NOISY:
                # What the second search is measured by: in units far below the noise it would hurry past the weights that are worth its steps.
                self._estimate_noise(self.searches[0])
                self.searches[1].hurries = False
            self.stage = 1
        elif self.stage == 1:
            self._choose()
            chosen = self.searches[self.winner]
            if chosen.done and is_convex(chosen.belief):
                chosen.begin_sharpening()
            if chosen.sharpening is None:
                self._begin_final()
            else:
                self.stage, self.chosen = self.winner, True
        else:
            self._go_on()

    def _go_on(self) -> None:
        """What follows a search on all traces: another one that waits, another look at the finer grid, two phases, the end."""
        waiting = [number for number in range(FINAL, len(self.searches)) if not self.searches[number].done]
        if waiting:
            self.stage = waiting[0]
        elif self.stage == PHASES == len(self.searches) - 1 and self.searches[1 - self.winner].done:
            # Another shape to start from and another network: the better of both is the answer, the other says how far they are determined.
            self._begin_phases(self.searches[1 - self.winner])
        elif self._looks_again():
            return
        elif self.stage == FINAL and self.method.prior == TWO_PHASES:
            self.looks = 0
            self._begin_phases(self.searches[FINAL])
        else:
            self._conclude()

    def _looks_again(self) -> bool:
        """Ask the finer grid about the answer itself and, where that moves the data, seek it once more; whether it does.

        Corrections belong to a medium. Those of a candidate that was far off make the answer wrong: by 0.6 of the noise once, and no two phases met
        the data then.
        """
        members = self.searches[FINAL:] if self.stage == FINAL else self.searches[PHASES:]
        spent = self.looks >= MOST_LOOKS or self.elapsed + self.last_seconds > SHARE_SHARPENED * self.settings.seconds
        if spent or self.survey.is_large or members[0].sharpening is not None:
            return False
        moved = self._correct_by(min(members, key=lambda search: search.phi))
        if moved <= MOVED:
            return False
        self.looks += 1
        for search in members:
            search.begin_again()
        self.stage = len(self.searches) - len(members)
        return True

    def _correct_by(self, search: Search) -> float:
        """Look at the finer grid for the medium of a search; how far the data move by it, in units of the noise."""
        survey, before = self.survey, self.survey.corrections
        survey.correct(search.medium.model(), fine_model(search.medium, survey.finer))
        moved = np.where(survey.alive, survey.corrections - before, 0).reshape(len(before), -1)
        units = [survey.noise[number] * survey.acquisition.scale(number) for number in range(len(before))]
        return float(np.sqrt(np.mean((np.linalg.norm(moved, axis=1) / units) ** 2)))

    def _choose(self) -> None:
        """Choose by the traces held back; a prior that was asked for by name stays."""
        first, second = self.searches[:2]
        # Asked anew, both with the noise and the corrections of now: a search that ran out of time knows the misfit of its last frequencies only.
        everywhere = self.survey.linearised(self.survey.order, self.survey.held)
        residuals = [search.ask_again(everywhere) for search in (first, second)]
        better = BETTER_LARGE if self.survey.is_large else BETTER_ALIKE if self._hurries else BETTER
        if self.method.prior == AUTO and second.group == second.last and second.checked < better * first.checked:
            self.winner = 1
        if self.method.prior == AUTO:
            self.survey.notes += choice_texts(*residuals)
        if any(self.survey.declared.undeclared):
            self._estimate_noise(self.searches[self.winner])
            self.survey.note_noise()
            self.heard = self._start_misfit()

    def _estimate_noise(self, search: Search) -> None:
        """Take the misfit of a search on the traces held back for the noise, as the unit of misfits and, where there is much of it, of weights."""
        survey, model = self.survey, search.medium.model()
        before = survey.linearised(survey.order, survey.held).linearise(model, derivative=False).misfit
        survey.estimate_noise(search.relative)
        if before <= NOISY:
            # The weights stay: the answer then begins further up, from where edges settle anew.
            return
        after = survey.linearised(survey.order, survey.held).linearise(model, derivative=False).misfit
        for one in self.searches:
            one.change_units(after / before)

    def _begin_final(self) -> None:
        """All traces, from the medium of the winner, after a look at the finer grid."""
        chosen = self.searches[self.winner]
        self._correct_by(chosen)
        final = self._search(chosen.belief)
        final.medium.move_to(chosen.medium.vector())
        final.group, final.weight, final.polish, final.lowering = final.last, RAISING * chosen.weight, POLISH, FINE_LOWERING
        final.hurries = self._hurries
        if chosen.sharpening is not None:
            final.fit.prior, final.weight = chosen.fit.prior, chosen.weight
            # With the corrections of now: down to where the traces that counted came.
            target = self.survey.linearised(self.survey.order, ~self.survey.held).linearise(chosen.medium.model(), derivative=False).misfit
            final.sharpening = chosen.sharpening.of_all_traces(target)
        self.searches.append(final)
        self.stage = FINAL

    def _begin_phases(self, shown: Search) -> None:
        """Separate the medium of a search into two phases."""
        declared = self.survey.declared
        network = self._search(shown.belief, cells=True).medium
        network.move_to(shown.medium.vector())
        self._add_phases(TwoPhaseMedium(network, declared.start, declared.bounds), shown.belief)
        self.stage = len(self.searches) - 1

    def _add_phases(self, medium: TwoPhaseMedium, belief: Belief) -> None:
        declared, final = self.survey.declared, self.searches[FINAL]
        start = np.log(declared.start.ravel()[declared.active.ravel()])
        assert isinstance(final.fit.prior, Roughness), "two phases are told apart in a medium of few edges"
        # Between two phases the total variation is the length of their interface, wherever in its cells that lies; a lower power draws it to the
        # rims of cells. It starts with the say that the prior before it had.
        length, change = replace(final.fit.prior, power=1.0), final.fit.change()
        weight = final.weight * final.fit.prior.value(change) / length.value(change)
        fit = MediumFit(medium, length, lambda phi, objective: None, self._expired, start=start, bold=True)
        count = 2 * int(self.survey.alive.sum()) * len(self.survey.order)
        self.searches.append(Search(belief, fit, final.last, final.last, weight, POLISH_PHASES, hurries=True, least_gain=LEAST_GAIN / count))

    def _conclude(self) -> None:
        if not self.survey.is_large:
            everywhere = self.survey.linearised(self.survey.order)
            for search in self.searches[FINAL:]:
                search.meet_again(everywhere)
        # The last one is the answer: of two media of two phases the better one at the same weight. The one whose weight fell further meets the data
        # more closely for that alone, with ripples of its interface.
        weight = max((search.weight for search in self.searches[PHASES:]), default=0.0)
        self.searches[PHASES:] = sorted(self.searches[PHASES:], key=lambda search: -search.objective(weight))
        two = len(self.searches) > MORE_PHASES and np.isfinite(self.searches[PHASES].phi)
        answer, witness = self.searches[-1], self.searches[PHASES if two else 1 - self.winner]
        estimate = estimate_error(self.survey, answer, witness, self.heard, 1.0 if two else self._share_of_distance())
        self.estimate, self.deviation = estimate.value, estimate.deviation
        if np.isfinite(estimate.value):
            self.survey.notes.append(f"the estimated error of the medium is {estimate.medium:.2g}, that of the fields {estimate.fields:.2g}")
        self.finished = True

    def _share_of_distance(self) -> float:
        """How much of the distance between both beliefs counts, by the traces held back: only where both came to their end."""
        chosen, other = self.searches[self.winner], self.searches[1 - self.winner]
        if not (chosen.done and other.done):
            return 1.0
        everywhere = self.survey.linearised(self.survey.order, self.survey.held)
        first, second = (everywhere.linearise(search.medium.model(), derivative=False) for search in (chosen, other))
        return share_of_distance(first.residual, second.residual, first.misfit)

    # -- the end ------------------------------------------------------------------------------------------------------------------------------

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """End when all searches are done, or the budget is spent."""
        self.elapsed = elapsed = self.ranks.agree(elapsed)
        left = self.settings.seconds - elapsed
        # A step once begun may end: what a search has at its last weight is only worth something as a whole.
        self.deadline = perf_counter() + max(left, 0.0)
        if self.finished:
            text = self._text()
            if self.estimate <= self.settings.tolerance:
                met = f"the estimated error {self.estimate:.2g} is at or below the tolerance {self.settings.tolerance:.2g}"
                if self._doubts():
                    return "tolerance_not_reached", f"{met}, and yet the result is in doubt; {text}"
                return "success", f"{met}; {text}"
            wanted = f"the estimated error is {self.estimate:.2g}, above the tolerance {self.settings.tolerance:.2g}"
            if not all(search.done for search in self.searches[:2]):
                return "out_of_time", (
                    f"{wanted}: a search that helps to choose the prior was cut short, to leave time for the answer. Raise seconds, or give fewer "
                    f"frequencies or a larger step; {text}"
                )
            return "tolerance_not_reached", f"{wanted}: noise and geometry of the observations allow no more, not the budget; {text}"
        if left <= 0:
            if self.stage >= FINAL:
                self._conclude()
            return "out_of_time", (
                f"the search for the medium was cut short after {elapsed:.0f} s, in stage {self.stage + 1} of "
                f"{5 if self.method.prior == TWO_PHASES else 3}: raise seconds, or give fewer frequencies or a larger step; {self._text()}"
            )
        return None

    def _text(self) -> str:
        """What the result rests on, and what speaks against it."""
        first, second = self.searches[:2]
        answer = self.searches[-1] if self.stage >= FINAL else self.searches[self.stage]
        rests = BELIEFS[answer.belief.name].text
        if self.method.prior == TWO_PHASES:
            rests = "the declaration that the medium has two phases, the start and one other"
        parts = [f"the result rests on {rests}"]
        if self.stage >= FINAL and self.method.prior == AUTO:
            other = (second, first)[self.winner]
            parts[0] += (
                f", chosen because traces held back are predicted to {self._predicted_to(self.searches[self.winner])}, against "
                f"{self._predicted_to(other)} with {other.belief.text}"
            )
        return "; ".join([*parts, *misfit_texts(answer, self.heard), *self._doubts(), *self.survey.notes])

    def _predicted_to(self, search: Search) -> str:
        """How well a search predicts the traces held back; where no noise was declared, relative to the data."""
        if any(self.survey.declared.undeclared):
            return f"{100 * np.sqrt(np.mean(search.relative**2)):.2g} % of their size"
        return f"{np.sqrt(search.checked):.2f} times the noise"

    def _doubts(self) -> list[str]:
        first, second = self.searches[:2]
        late = self.stage >= FINAL
        other = (second, first)[self.winner]
        witness = other if late and other.done else None
        return doubts(self.survey, self.searches[-1] if late else self.searches[self.stage], witness, self.searches[self.winner].checked)

    def predicted_seconds(self) -> float:
        """Return the cost of the last step."""
        return self.last_seconds

    def error_estimate(self) -> float:
        """Return the estimate, infinite before the end."""
        return self.estimate

    def model(self) -> ReducedModel:
        """Return the medium of the last search."""
        answer = self.searches[-1] if self.stage >= FINAL else self.searches[self.stage]
        network = resolving(self.method.network, answer.belief, self.survey)
        return build_model(self.compiled, self.survey, network, self.settings.seed, answer.medium, self.deviation)

    # -- checkpoints --------------------------------------------------------------------------------------------------------------------------

    def state(self) -> StateTree:
        """Return searches, data as they are seen now, and counters."""
        survey = self.survey
        return {
            "searches": {str(number): search.state() for number, search in enumerate(self.searches)},
            "counters": np.array([self.stage, self.winner, int(self.checked_receivers), int(self.finished), int(self.chosen), self.looks]),
            "numbers": np.array([self.estimate, self.heard, self.last_seconds, float(survey.total_solves)]),
            "deviation": self.deviation,
            "noise": survey.noise,
            "known_noise": survey.known_noise,
            "alive": survey.alive.astype(int),
            "corrections": survey.corrections,
            "notes": {str(number): note for number, note in enumerate(survey.notes)},
            "drawn": len(self.shots.bit_generator.state["state"]) and str(self.shots.bit_generator.state["state"]["state"]),
            "increment": str(self.shots.bit_generator.state["state"]["inc"]),
        }

    def restore(self, state: StateTree) -> None:
        """Go on from a state."""
        survey = self.survey
        survey.noise, survey.corrections = np.atleast_1d(np.asarray(state["noise"], dtype=float)), np.asarray(state["corrections"])
        survey.known_noise = np.atleast_1d(np.asarray(state["known_noise"], dtype=float))
        survey.alive = np.asarray(state["alive"]).astype(bool)
        survey.notes = [str(state["notes"][str(number)]) for number in range(len(state["notes"]))]
        numbers = [float(value) for value in np.asarray(state["numbers"])]
        survey.renew()
        self.estimate, self.heard, self.last_seconds, survey.wave_solves = numbers[0], numbers[1], numbers[2], int(numbers[3])
        self.stage, self.winner, checked, finished, chosen, self.looks = (int(value) for value in np.asarray(state["counters"]))
        self.checked_receivers, self.finished, self.chosen = bool(checked), bool(finished), bool(chosen)
        self.deviation = np.atleast_1d(np.asarray(state["deviation"], dtype=float))
        bits = self.shots.bit_generator.state
        self.shots.bit_generator.state = {**bits, "state": {"state": int(state["drawn"]), "inc": int(state["increment"])}}
        stored = state["searches"]
        self.searches = []
        for number in range(len(stored)):
            self._restore_search(stored[str(number)])

    def _restore_search(self, state: StateTree) -> None:
        belief = BELIEFS[str(state["belief"])]
        levels = np.atleast_1d(np.asarray(state["levels"], dtype=float))
        search = self._search(belief, cells=levels.size == 2)
        if levels.size == 2:
            declared = self.survey.declared
            self._add_phases(TwoPhaseMedium(search.medium, declared.start, declared.bounds, (float(levels[0]), float(levels[1]))), belief)
        else:
            self.searches.append(search)
        self.searches[-1].restore(state)
