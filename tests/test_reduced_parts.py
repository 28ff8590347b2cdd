"""The parts of the reduced inversion: exact derivatives, bounds, priors, and the reading of several frequencies."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sparse
from small_inversion import ACTIVE, BOUNDS, DERIVATIVE_TOLERANCE, GRID, START, STEP, declared, medium, simulator

import pinnsiren as ps
from pinnsiren.networks import Siren
from pinnsiren.reference_solvers.inversion import read_inversion
from pinnsiren.training.reduced import gauss_newton
from pinnsiren.training.reduced.beliefs import BELIEFS, TwoPhaseMedium, beliefs_of
from pinnsiren.training.reduced.confidence import LEAST_SHARE, deviation_from_parameters, share_of_distance
from pinnsiren.training.reduced.gauss_newton import MediumFit, parameter_curvature
from pinnsiren.training.reduced.linearised import LinearisedSimulator
from pinnsiren.training.reduced.medium import NetworkMedium, log_mean, log_means_at
from pinnsiren.training.reduced.roughness import Roughness
from pinnsiren.training.reduced.search import Search, resolving
from pinnsiren.training.reduced.survey import read_survey

# -- derivatives ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["nine_point", "order4"])
@pytest.mark.parametrize("estimate", [False, True], ids=["known sources", "fitted sources"])
def test_the_gradient_of_the_misfit_is_exact(estimate, scheme):
    linearised = LinearisedSimulator(simulator(estimate=estimate, scheme=scheme), (0, 1), active=ACTIVE)
    model, direction = medium().model(), np.zeros(GRID.shape)
    direction[ACTIVE] = np.random.default_rng(1).normal(size=int(ACTIVE.sum()))
    here = linearised.linearise(model)
    exact = 2 * here.residual @ (here.jacobian @ direction[ACTIVE])
    ahead, behind = (linearised.linearise(model + sign * STEP * direction, derivative=False).misfit for sign in (1, -1))
    assert exact == pytest.approx((ahead - behind) / (2 * STEP), rel=DERIVATIVE_TOLERANCE)


@pytest.mark.parametrize("scheme", ["nine_point", "order4"])
def test_the_slope_is_exact_also_where_some_receivers_stand_for_all(scheme):
    kept = np.array([[True, True, False, True], [True, False, True, True]])
    surveys = [LinearisedSimulator(simulator(scheme=scheme), (0, 1), kept, active=ACTIVE, sampled=sampled) for sampled in (None, 2)]
    everything, some = (survey.linearise(medium().model()) for survey in surveys)
    assert len(some.jacobian) < len(everything.jacobian)
    assert some.slope == pytest.approx(everything.slope, rel=1e-9, abs=1e-9 * np.abs(everything.slope).max())
    assert everything.slope == pytest.approx(everything.jacobian.T @ everything.residual)


def test_rows_of_some_receivers_stand_for_all_on_the_average():
    linearised, first = LinearisedSimulator(simulator((7.0,)), (0,), active=ACTIVE, sampled=2), medium().model()
    # Media so close that the Hessian is the same, of different bits: each draws other receivers.
    ratios = [np.sum(linearised.linearise(first * (1 + 1e-9 * number)).jacobian ** 2) for number in range(60)]
    everything = LinearisedSimulator(simulator((7.0,)), (0,), active=ACTIVE).linearise(first)
    # 60 draws of 2 of 4 receivers whose powers differ: the mean is known to a tenth.
    assert np.mean(ratios) == pytest.approx(np.sum(everything.jacobian**2), rel=0.1)


SINGLE_PRECISION = 1e-4


def test_the_curvature_in_the_parameters_is_that_of_rows_and_prior():
    chance = np.random.default_rng(2)
    rows, slopes, differences = chance.normal(size=(30, 50)), chance.normal(size=(50, 12)), sparse.random(60, 50, 0.2, random_state=3).tocsr()
    expected = slopes.T @ (2 * rows.T @ rows + (differences.T @ differences).toarray()) @ slopes
    found = parameter_curvature(rows, slopes, differences.T @ differences)
    assert found == pytest.approx(expected, rel=SINGLE_PRECISION, abs=SINGLE_PRECISION * np.abs(expected).max())


def test_noise_moves_the_medium_as_the_covariance_of_least_squares_says():
    chance = np.random.default_rng(2)
    rows, slopes = chance.normal(size=(90, 50)), chance.normal(size=(50, 12))
    moved = rows @ slopes
    # Residuals of variance 1/90 each; parameters by least squares.
    covariance = slopes @ np.linalg.inv(moved.T @ moved) @ slopes.T / 90
    found = deviation_from_parameters(rows, slopes, sparse.csr_matrix((50, 50)), 90)
    # Damped by a millionth of the curvature.
    assert found == pytest.approx(np.sqrt(np.diag(covariance)), rel=1e-3)


@pytest.mark.parametrize("moving", [20, 1000], ids=["some parameters", "all parameters"])
def test_a_descent_with_more_nodes_than_parameters_explains_the_data(monkeypatch, moving):
    monkeypatch.setattr(gauss_newton, "MOST_MOVING", moving)
    target, found = medium(seed=4, width=4), medium(seed=0, width=4)
    assert len(found.vector()) < int(ACTIVE.sum())
    true = simulator((7.0,))
    acquisition = replace(true.acquisition, measurements=true.predicted(target.model()))
    linearised = LinearisedSimulator(true.renewed(acquisition), (0,), active=ACTIVE, sampled=3)
    before = linearised.linearise(found.model(), derivative=False).misfit
    after = MediumFit(found, None, lambda phi, objective: None, lambda: False).descend(linearised, 0.0, 12).misfit
    assert after < 0.05 * before


def test_a_descent_that_goes_on_where_the_last_one_ended_solves_nothing_twice():
    true = simulator((7.0,))
    acquisition = replace(true.acquisition, measurements=true.predicted(medium(seed=4).model()))
    renewed = true.renewed(acquisition)
    memory, some = {}, acquisition.measurements[0].real > 0
    first, again, other = (LinearisedSimulator(renewed, (0,), kept, active=ACTIVE, remembered=memory) for kept in (None, None, some))
    fit = MediumFit(medium(), None, lambda phi, objective: None, lambda: False)
    ended = fit.descend(first, 0.0, 1)
    solves = renewed.wave_solves
    assert fit.descend(again, 0.0, 0).misfit == ended.misfit and renewed.wave_solves == solves
    assert fit.descend(other, 0.0, 0).misfit != ended.misfit and renewed.wave_solves == solves


@pytest.mark.parametrize(("belief", "frequency"), [("none", 10.0), ("few edges", 30.0)])
def test_networks_keep_their_frequencies_until_the_box_holds_more_waves(belief, frequency):
    # 13 radians from the middle to the rim: k = 26 in half a unit.
    usual, shorter = (read_survey(declared((6.0, k)), step=0.02, most_nodes=4000, estimate_amplitudes=False, seed=0) for k in (9.0, 52.0))
    assert resolving(Siren(48, 2), BELIEFS[belief], usual).omega_0 == frequency
    assert resolving(Siren(48, 2), BELIEFS[belief], shorter).omega_0 == pytest.approx(2 * frequency)


def test_a_medium_that_starts_as_more_than_a_background_is_not_believed_to_have_few_edges():
    assert [belief.name for belief in beliefs_of("auto")] == ["none", "few edges"]
    assert [belief.name for belief in beliefs_of("auto", uniform=False)] == ["total variation", "smooth"]


def test_traces_that_are_left_out_leave_no_rows():
    kept = np.ones((2, 4), dtype=bool)
    kept[1] = False
    all_traces, some = (LinearisedSimulator(simulator((7.0,)), (0,), mask, active=ACTIVE).linearise(START) for mask in (None, kept))
    assert len(some.residual) == len(all_traces.residual) / 2 == some.jacobian.shape[0]


@pytest.mark.parametrize("two_phases", [False, True])
def test_media_know_their_derivative(two_phases):
    found = TwoPhaseMedium(medium(), START, BOUNDS) if two_phases else medium()
    vector, direction = found.vector(), np.random.default_rng(2).normal(size=found.vector().size)
    exact = found.jacobian() @ direction
    values = []
    # A level set bends more than its network.
    step = STEP / 100 if two_phases else STEP
    for sign in (1, -1):
        found.move_to(vector + sign * step * direction)
        values.append(found.log_model())
    assert np.allclose((values[0] - values[1]) / (2 * step), exact, atol=DERIVATIVE_TOLERANCE * np.abs(exact).max())


@pytest.mark.parametrize("two_phases", [False, True])
def test_media_are_the_same_on_their_nodes_and_between(two_phases):
    found = TwoPhaseMedium(medium(), START, BOUNDS) if two_phases else medium()
    nodes = np.stack([axis[ACTIVE] for axis in GRID.nodes], axis=-1)
    assert np.allclose(log_means_at(found, nodes, START[ACTIVE], np.array(GRID.step)), found.log_model(), atol=1e-12)


def test_nodes_carry_the_mean_over_their_cells_and_not_the_value_there():
    """Waves feel how much of a cell is fast: an edge between two nodes has to show in them, in proportion to where it lies."""
    found, (h, _) = TwoPhaseMedium(medium(), START, BOUNDS, (-1.0, 1.0)), GRID.step
    shares = []
    for place in np.linspace(0.0, h, 13):
        # A level set with a straight edge, as sharp as can be, instead of the network.
        points = found.points_of_cells(np.array([[0.0, 0.0], [h, 0.0]]), np.array(GRID.step))
        values = np.where(points[:, 0] < place, np.exp(-1.0), 1.0)
        means = np.exp(log_mean(np.log(values).reshape(-1, 2)))
        shares.append(np.sum((1 - means) / (1 - np.exp(-1.0))))
    # Cells reach half a step beyond their nodes: the edge moves through one whole cell.
    assert np.abs(np.array(shares) - (0.5 + np.linspace(0, 1, 13))).max() <= 1 / 6 + 1e-12
    assert found.log_model() == pytest.approx(log_means_at(found, nodes(), START[ACTIVE], np.array(GRID.step)), abs=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_an_answer_is_charged_with_its_part_of_the_distance_to_a_witness(share):
    """Data of a medium on the line between both: the share is where it lies, and not less."""
    chance, n = np.random.default_rng(11), 400
    apart = chance.normal(size=n) / np.sqrt(n)  # both differ by as much as the noise
    noise = chance.normal(size=n) / np.sqrt(n)
    answer, witness = noise - 4 * share * apart, noise + 4 * (1 - share) * apart
    found = share_of_distance(answer, witness, float(answer @ answer))
    # Two deviations of the noise are 2 / (4 sqrt(400)) of the distance.
    assert max(share, LEAST_SHARE) <= found + 0.03 and found <= max(share + 0.15, LEAST_SHARE)


def test_an_answer_that_traces_do_not_tell_from_its_witness_is_charged_with_the_whole_distance():
    residual = np.random.default_rng(1).normal(size=100) / 10
    assert share_of_distance(residual, residual + 1e-3, 1.0) == 1.0 == share_of_distance(residual, residual, 1.0)


def test_a_start_that_varies_keeps_its_values_on_the_nodes():
    start = START + 0.1 * GRID.nodes[0]
    found = NetworkMedium(Siren(6, 2), GRID, start, ACTIVE, BOUNDS, 0, cells=True)
    assert found.model() == pytest.approx(start, rel=1e-12)
    assert len(found.points_of_cells(nodes(), np.array(GRID.step))) == int(ACTIVE.sum())


def nodes():
    return np.stack([axis[ACTIVE] for axis in GRID.nodes], axis=-1)


def test_media_keep_their_bounds_however_far_the_network_goes():
    network = medium()
    network.move_to(100 * network.vector())
    model = network.model()
    rounding = 1e-12
    assert BOUNDS[0] - rounding <= model.min() and model.max() <= BOUNDS[1] + rounding
    assert np.all(model[~ACTIVE] == START[~ACTIVE])


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_majorant_touches_the_prior_and_lies_above(power):
    prior = Roughness.on(GRID, START, ACTIVE, power, 0.01)
    rng = np.random.default_rng(5)
    here = 0.1 * rng.normal(size=int(ACTIVE.sum()))
    rows = prior.rows(here)
    constant = prior.value(here) - 0.5 * float(np.sum((rows @ here) ** 2))
    for _ in range(20):
        other = here + rng.choice([1e-3, 0.1, 1.0]) * rng.normal(size=here.size)
        assert prior.value(other) <= constant + 0.5 * float(np.sum((rows @ other) ** 2)) + 1e-12


SAME_LENGTH, DRAWN = 0.01, 0.3  # an edge through the middle of a cell makes two jumps of a half: the square root charges 1.41 for it


def test_between_two_phases_the_total_variation_is_the_length_wherever_in_its_cells_the_interface_lies():
    (h, _), x, everywhere = GRID.step, GRID.nodes[0].ravel(), np.ones(GRID.shape, dtype=bool)
    values = {power: [] for power in (1.0, 0.5)}
    for place in np.linspace(0.0, h, 7):
        change = np.clip(0.5 + (place - x) / h, 0, 1)  # what cells hold of the left phase
        for power, found in values.items():
            found.append(Roughness.on(GRID, START, everywhere, power, 1e-4).value(change))
    spread = {power: np.ptp(found) / np.min(found) for power, found in values.items()}
    assert spread[1.0] < SAME_LENGTH and spread[0.5] > DRAWN


# -- when a weight is low enough ----------------------------------------------------------------------------------------------------------------


def search_with(*misfits, **settings):
    found = Search(BELIEFS["few edges"], MediumFit(medium(), None, lambda phi, objective: None, lambda: False), 0, weight=1.0, **settings)
    found.tried = [(1.0, misfit, misfit) for misfit in misfits]
    return found


@pytest.mark.parametrize(("misfit", "hurries", "factor"), [(500.0, True, 0.1), (5.0, True, 1 / 3), (500.0, False, 1 / 3)])
def test_far_from_the_noise_the_weight_of_a_search_that_hurries_falls_faster(misfit, hurries, factor):
    found = search_with(misfit, hurries=hurries)
    found._go_on(True)
    assert found.weight == pytest.approx(factor) and not found.done


@pytest.mark.parametrize("known", [True, False], ids=["declared noise", "undeclared noise"])
def test_a_search_ends_at_the_noise_or_the_error_of_the_grid(known):
    above, below = search_with(1.2), search_with(0.99)
    for found in (above, below):
        found._go_on(known)
    assert below.done and not above.done


def test_where_no_noise_is_declared_the_largest_weight_that_predicts_as_well_is_kept():
    """0.01 and 0.03 predict within three percent alike, 1 and 10 do not: the next frequencies begin at three times 0.03."""
    search = search_with(hurries=True)
    search.tried, search.weight, search.last = [(10.0, 9.0, 9.0), (1.0, 5.0, 5.0), (0.03, 4.0, 4.05), (0.01, 3.9, 4.0)], 0.01, 1
    search._go_on(False)
    assert search.group == 1 and search.weight == pytest.approx(0.09) and not search.tried


def test_another_unit_of_the_misfit_scales_weights_too():
    search = search_with()
    search.tried, search.weight = [(8.0, 6.0, 4.0)], 2.0
    search.change_units(0.25)
    assert search.tried == [(2.0, 1.5, 1.0)] and search.weight == 0.5


def test_the_error_of_the_grid_is_a_smaller_misfit_where_the_noise_turned_out_larger():
    found = survey(declared(noise=None))
    assert found.least_misfit((0, 1)) == 1.0
    found.estimate_noise(2 * found.noise[list(found.order)])
    assert found.least_misfit((1,)) == pytest.approx(0.25)


def test_shots_without_traces_are_solved_for_when_they_are_asked_for():
    waves, memory = simulator((7.0,)), {}
    first = np.array([[True], [False]]) & np.ones((2, 4), dtype=bool)
    some, everything, alone = (
        LinearisedSimulator(waves, (0,), kept, active=ACTIVE, remembered=shared) for kept, shared in ((first, memory), (None, memory), (None, {}))
    )
    drawn = some.linearise(START)
    assert waves.wave_solves == 1 + 4 and len(drawn.residual) == 2 * 4
    whole = everything.linearise(START, derivative=False)
    assert waves.wave_solves == 1 + 4 + 1
    np.testing.assert_allclose(whole.residual, alone.linearise(START, derivative=False).residual, rtol=1e-12)
    np.testing.assert_allclose(some.linearise(START, rows=False).slope, drawn.slope, rtol=1e-9, atol=1e-12 * np.abs(drawn.slope).max())


@pytest.mark.parametrize(("second", "done"), [(1.0195, True), (1.01, False)])
def test_a_lower_weight_has_to_gain_something(second, done):
    found = search_with(1.02, second, least_gain=2e-3)
    found._go_on(True)
    assert found.done == done


def test_a_weight_that_was_low_enough_between_two_phases_stays():
    found = search_with(1.05, 1.02, least_gain=2e-3, polishing=True, polish=0)
    found._go_on(True)
    assert found.done and found.weight == 1.0


def test_a_search_that_begins_again_starts_at_its_first_weight_and_remembers_its_misfit():
    found = search_with(1.3, 0.98, polishing=True, done=True)
    found.weight = 0.1
    found.begin_again()
    assert (found.weight, found.tried, found.done, found.polishing) == (1.0, [], False, False)
    assert found.phi == 0.98 and found.polish == 1
    restored = search_with()
    restored.restore(found.state())
    assert restored.phi == 0.98


def test_of_two_media_the_one_of_the_lower_weight_is_charged_for_the_edges_that_it_needs():
    plain, rippled = search_with(1.0), search_with(0.99)
    rng = np.random.default_rng(2)
    for found, size in ((plain, 0.0), (rippled, 0.05)):
        found.fit.prior = Roughness.on(GRID, START, ACTIVE, 1.0, 0.01)
        vector = found.medium.vector()
        found.medium.move_to(vector + size * rng.normal(size=vector.size))
    assert rippled.phi < plain.phi and rippled.objective(0.0) == rippled.phi
    assert rippled.objective(1.0) > plain.objective(1.0)


# -- the declaration ------------------------------------------------------------------------------------------------------------------------------


def test_several_frequencies_are_read_as_one_acquisition():
    problem = declared()
    found = read_inversion(problem).acquisition
    assert np.allclose(found.angular_frequencies, (6.0, 9.0)) and found.measurements.shape == (2, 3, 14)
    for number, condition in enumerate(c for c in problem.conditions if isinstance(c, ps.Observations)):
        order = [int(np.argmin(np.linalg.norm(found.receivers - place, axis=1))) for place in condition.points]
        assert np.allclose(found.measurements[number][:, order], condition.values)


def test_a_missing_layer_of_one_frequency_is_named():
    problem = declared()
    with pytest.raises(ps.ReferenceSolverError, match=r"u9.*needs free space"):
        read_inversion(ps.Problem(
            name=problem.name, fields=problem.fields, domain=problem.domain, equations=problem.equations,
            conditions=[c for c in problem.conditions if not (isinstance(c, ps.PML) and c.field == problem.fields[1])],
        ))  # fmt: skip


def test_noise_that_is_left_out_is_refused_unless_a_level_is_given():
    with pytest.raises(ps.ReferenceSolverError, match="noise=0.02"):
        read_inversion(declared(noise=None))
    found = read_inversion(declared(noise=None), noise=1e-3)
    assert np.allclose(found.acquisition.noise, 1e-3) and all(found.undeclared)


def survey(problem):
    return read_survey(problem, step=None, most_nodes=2500, estimate_amplitudes=False, seed=0)


def test_silent_receivers_are_left_out_and_named():
    found = survey(declared(dead=4))
    assert found.alive.any(axis=0).sum() == 13 and "nothing but zeros" in found.notes[0]


def test_data_of_the_other_time_convention_are_refused_with_the_remedy():
    with pytest.raises(ps.ProblemError, match=r"[Cc]onjugate them"):
        survey(declared(convention="-"))


def test_too_many_nodes_make_the_grid_coarser():
    problem = declared()
    fine, coarse = (read_survey(problem, step=None, most_nodes=n, estimate_amplitudes=False, seed=0) for n in (1000, 60))
    assert coarse.declared.active.sum() < fine.declared.active.sum()
    # A coarse grid is believed less.
    assert np.all(coarse.noise > fine.noise)


def test_a_correction_takes_the_place_of_the_one_before():
    survey = read_survey(declared(noise=None), step=0.05, most_nodes=10_000, estimate_amplitudes=False, seed=0)
    noises = []
    for _ in range(3):
        survey.correct(survey.declared.start, survey.finer.start)
        noises.append(survey.noise.copy())
    assert np.allclose(noises[1], noises[0]) and np.allclose(noises[2], noises[0])
