"""The reduced inversion: what is said of a choice between two beliefs, the rounds that give back contrast, the trust in a step."""

import numpy as np
import pytest
import scipy.optimize
from small_inversion import ACTIVE, DERIVATIVE_TOLERANCE, GRID, START, STEP, declared, medium, simulator

import pinnsiren as ps
from pinnsiren.training.reduced import gauss_newton
from pinnsiren.training.reduced.beliefs import BELIEFS
from pinnsiren.training.reduced.confidence import chance_of_difference, choice_texts
from pinnsiren.training.reduced.gauss_newton import MediumFit
from pinnsiren.training.reduced.linearised import LinearisedSimulator
from pinnsiren.training.reduced.roughness import Distance, Roughness
from pinnsiren.training.reduced.search import build_search
from pinnsiren.training.reduced.sharpening import Sharpening, is_convex
from pinnsiren.training.reduced.survey import read_survey

# -- the choice of a belief -----------------------------------------------------------------------------------------------------------------------


def test_the_chance_of_a_difference_is_its_standard_deviation_over_draws_of_the_noise():
    rng, n = np.random.default_rng(5), 300
    first, second = (0.3 * rng.normal(size=n) / np.sqrt(n) for _ in range(2))
    noise = rng.normal(size=(4000, n)) / np.sqrt(n)
    differences = [float(a @ a - b @ b) for a, b in ((first + one, second + one) for one in noise)]
    expected = np.mean([chance_of_difference(first + one, second + one) for one in noise[:50]])
    # Of 4000 draws a deviation is known to 1.1 %; the sum of squares that sets the level scatters by as much as 8 %.
    assert np.std(differences) == pytest.approx(expected, rel=0.06)


def test_a_choice_within_chance_is_said_to_be_one():
    rng, n = np.random.default_rng(8), 400
    noise = rng.normal(size=n) / np.sqrt(n)
    near, far = (noise + size * rng.normal(size=n) / np.sqrt(n) for size in (0.1, 1.0))
    assert choice_texts(noise, far) == [] and "not apart" in choice_texts(noise, noise)[0]
    (text,) = choice_texts(noise, near)
    assert "standard errors apart" in text and "prior=" in text


# -- contrast given back --------------------------------------------------------------------------------------------------------------------------

N = int(ACTIVE.sum())


def distance(power, seed=1):
    rng = np.random.default_rng(seed)
    return Distance(Roughness.on(GRID, START, ACTIVE, power, 0.01), 0.1 * rng.normal(size=N)), rng


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_the_distance_is_zero_at_its_medium_and_positive_elsewhere(power):
    found, rng = distance(power)
    assert found.value(found.anchor) == 0 and np.allclose(found.slope(found.anchor), 0)
    for size in (1e-3, 0.1, 1.0):
        assert found.value(found.anchor + size * rng.normal(size=N)) > 0


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_the_slope_of_the_distance_is_its_derivative(power):
    found, rng = distance(power)
    at, way = 0.1 * rng.normal(size=N), rng.normal(size=N)
    expected = (found.value(at + STEP * way) - found.value(at - STEP * way)) / (2 * STEP)
    assert found.slope(at) @ way == pytest.approx(expected, rel=DERIVATIVE_TOLERANCE)


def test_priors_with_a_distance_are_the_convex_ones():
    assert {name for name, belief in BELIEFS.items() if is_convex(belief)} == {"smooth", "total variation"}


def test_rounds_end_where_traces_held_back_gain_no_more_and_keep_the_best():
    rounds = Sharpening(1.0)
    seen = [rounds.note(4.0, 1.0, checked, np.array([float(number)])) for number, checked in enumerate((2.0, 1.5, 1.6, 1.4, 1.45, 1.41))]
    assert seen == [False, False, False, False, False, True]
    assert rounds.vector == [3.0] and rounds.best == 1.4
    assert rounds.kept == (4.0, 1.0)  # the weight, and four quarters


def test_rounds_of_all_traces_end_at_the_misfit_of_the_candidate():
    rounds = Sharpening(1.0, most=9, target=0.6)
    assert [rounds.note(1.0, phi, phi, np.zeros(1)) for phi in (0.9, 0.7, 0.59)] == [False, False, True]
    few = Sharpening(1.0, most=2)
    assert [few.note(1.0, phi, phi, np.zeros(1)) for phi in (0.9, 0.7)] == [False, True]


def test_a_second_round_gives_back_the_contrast_that_total_variation_takes():
    """Rudin, Osher and Fatemi: a bar without noise loses contrast to the prior; the distance from that medium charges nothing for giving it back."""
    bar = -0.3 * (np.abs(np.array(GRID.nodes)[1]).ravel()[ACTIVE.ravel()] < 0.08)
    prior = Roughness.on(GRID, START, ACTIVE, 1.0, 1e-3)

    def closest(charge):
        def value_and_slope(change):
            return float(np.mean((change - bar) ** 2)) + 0.15 * charge.value(change), 2 * (change - bar) / N + 0.15 * charge.slope(change)

        return scipy.optimize.minimize(value_and_slope, np.zeros(N), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-14}).x

    first = closest(prior)
    second = closest(Distance(prior, first))
    lost, left = (float(np.mean((change - bar)[bar < 0])) for change in (first, second))
    assert lost > 0.05 and abs(left) < 0.2 * lost


def test_the_weight_of_the_rounds_falls_to_the_least_and_stays():
    rounds, weight = Sharpening(10.0, before=(1.0, 1.0, 1.0)), 100.0
    seen = [weight := rounds.next_weight(weight) for _ in range(12)]
    assert seen[:2] == [70.0, pytest.approx(49.0)] and seen[-2:] == [10.0, 10.0]
    assert rounds.next_weight(4.0) == 4.0  # never raised
    rounds.note(5.0, 1.0, 1.0, np.zeros(1))
    after = rounds.of_all_traces(0.5)
    assert (after.least, after.rounds, after.strength, after.before, after.target) == (10.0, 1, 0.2, rounds.before, 0.5)


def test_rows_are_of_as_many_receivers_as_memory_allows(monkeypatch):
    survey = read_survey(declared(), step=None, most_nodes=1000, estimate_amplitudes=False, seed=0)
    assert survey.linearised((0, 1)).sampled is None
    entries = survey.alive.sum() * len(survey.order) * survey.declared.active.sum()
    monkeypatch.setattr("pinnsiren.training.reduced.survey.MOST_ENTRIES_IN_MEMORY", 13.5 / 14 * entries)
    assert survey.linearised((0, 1)).sampled == 13
    monkeypatch.setattr("pinnsiren.training.reduced.survey.MOST_ENTRIES_IN_MEMORY", 1)
    assert survey.linearised((0, 1)).sampled == 12


@pytest.mark.parametrize("estimate", [False, True])
def test_rows_serve_several_steps_of_a_large_survey_without_fitted_amplitudes(monkeypatch, estimate):
    survey = read_survey(declared(), step=None, most_nodes=1000, estimate_amplitudes=estimate, seed=0)
    assert not survey.is_large and not survey.reuses_rows
    monkeypatch.setattr("pinnsiren.training.reduced.survey.MOST_ENTRIES", 1)
    assert survey.is_large and survey.reuses_rows == (not estimate)


def test_steps_with_rows_of_a_medium_nearby_come_to_the_same_medium_with_fewer_wave_solves():
    found, solves = [], []
    for reuse in (0, 5):
        waves = simulator()
        fit = MediumFit(medium(), Roughness.on(GRID, START, ACTIVE, 2.0, 1.0), lambda phi, objective: None, lambda: False, reuse=reuse)
        there = fit.descend(LinearisedSimulator(waves, (0, 1), active=ACTIVE), 1e4, 40, least=1e-12)
        found.append(there.misfit + 1e4 * fit.prior.value(fit.change()))
        solves.append(waves.wave_solves)
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert solves[1] < 0.8 * solves[0]


def test_rows_of_before_that_fail_are_made_anew():
    """Rows that are far too small send every step far too far; those of the medium itself do not."""
    linearised = LinearisedSimulator(simulator(), (0, 1), active=ACTIVE)
    fit = MediumFit(medium(), None, lambda phi, objective: None, lambda: False, reuse=10)
    first = fit.descend(linearised, 0.0, 1)
    kept, rows = fit._rows
    fit._rows, fit._age, fit.damping = (kept, 1e-6 * rows), 1, 0.1
    assert fit.descend(linearised, 0.0, 1).misfit < first.misfit
    assert fit._age == 0 and np.linalg.norm(fit._rows[1]) > 1e-3 * np.linalg.norm(rows)


@pytest.mark.parametrize(("ratio", "factor"), [(0.9, gauss_newton.LOWERING), (0.5, 1.0), (0.1, gauss_newton.RAISING)])
def test_a_step_is_trusted_by_how_well_it_was_predicted(ratio, factor):
    fit = MediumFit(medium(), None, lambda phi, objective: None, lambda: False)
    before = fit.damping
    fit._judge(ratio, 1e-12)
    assert fit.damping == pytest.approx(factor * before)


@pytest.mark.parametrize("width", [6, 12], ids=["nodes are more", "parameters are more"])
def test_the_predicted_decrease_of_a_small_step_is_what_comes(width):
    """Heavily damped, a step follows the gradient, whose decrease is known to first order whichever form the equations have."""
    seen = []
    prior = Roughness.on(GRID, START, ACTIVE, 2.0, 1.0)
    fit = MediumFit(medium(width=width), prior, lambda phi, objective: None, lambda: False, damping=1e4)
    fit._judge = lambda ratio, least: seen.append(ratio)
    fit.descend(LinearisedSimulator(simulator(), (0, 1), active=ACTIVE), 0.0, 1)
    assert seen == [pytest.approx(1.0, abs=0.02)]


@pytest.fixture(scope="module")
def rounds_begun():
    """A survey and a function that gives a search with total variation at its end, about to begin rounds."""
    survey = read_survey(declared(), step=None, most_nodes=1000, estimate_amplitudes=False, seed=0)
    search = build_search(survey, BELIEFS["total variation"], ps.Siren(16, 2), 0, lambda: False)
    while not search.done:
        search.advance(survey, ~survey.held, True)
    ended = search.state()

    def begin():
        found = build_search(survey, BELIEFS["total variation"], ps.Siren(16, 2), 0, lambda: False)
        found.restore(ended)
        found.begin_sharpening()
        return found

    return survey, search, begin


def test_rounds_begin_where_much_is_hidden_and_resume(rounds_begun):
    survey, ended, begin = rounds_begun
    search, resumed = begin(), begin()
    while search.sharpening.rounds < 2:
        search.advance(survey, ~survey.held, True)
        assert search.sharpening.rounds != 1 or search.phi > 1.5 * ended.phi
    resumed.restore(search.state())
    for one in (search, resumed):
        while not one.done:
            one.advance(survey, ~survey.held, True)
    assert search.checked < ended.checked
    np.testing.assert_allclose(resumed.medium.vector(), search.medium.vector(), rtol=1e-10, atol=1e-12)


def test_rounds_that_gain_nothing_are_forgotten(rounds_begun):
    survey, ended, begin = rounds_begun
    search = begin()
    search.sharpening.before = (search.sharpening.before[0], search.sharpening.before[1], 0.0)
    search.sharpening.most = 2
    while not search.done:
        search.advance(survey, ~survey.held, True)
    assert search.sharpening is None and search.weight == ended.weight and isinstance(search.fit.prior, Roughness)
    np.testing.assert_array_equal(search.medium.vector(), ended.medium.vector())
