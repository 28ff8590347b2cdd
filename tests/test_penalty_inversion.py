"""The penalty formulation: waves of the radial network, elimination of the fields, the medium's network, whole inversions, refusals."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.errors import CompileError, ProblemError
from pinnsiren.reference_solvers.closed_forms import penetrable_disc
from pinnsiren.training.penalty.declared import read_medium, read_surveys
from pinnsiren.training.penalty.elimination import eliminate
from pinnsiren.training.penalty.medium import NetworkMedium
from pinnsiren.training.penalty.roughness import Roughness
from pinnsiren.training.penalty.search import balanced_rho
from pinnsiren.training.penalty.waves import Waves, place_centres

X, Y = ps.coordinates("x y")
U = ps.field("u", X, Y)
K, RADIUS, SPEED = 10.0, 0.11, 1.5
NOISE = 0.02
SIDE, SUPPORT = 0.5, 0.2
VARIANCE, AMPLITUDE = 4e-4, 1 + 1j
# A disc of three cells' radius, cells 1/16 of a wavelength: averaging m in cut cells costs about the square of k times a cell.
DISC_TOLERANCE = 0.01
ZERO = (0, 0)
SMALL, BRIEF = ps.PenaltyInversion(width=24, omega_0=15.0), ps.PenaltyInversion(width=12, iterations=2)


def ring(n, radius, turn):
    angle = turn + 2 * np.pi * np.arange(n) / n
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


SOURCES, RECEIVERS = ring(4, 0.4, 0.1), ring(14, 0.45, 0.3)


def disc_data(k=K):
    waves = [penetrable_disc(k=k, radius=RADIUS, inner_speed=SPEED, at=s, variance=VARIANCE, amplitude=AMPLITUDE) for s in SOURCES]
    return np.stack([wave(*RECEIVERS.T) for wave in waves])


def noisy(values, seed=3):
    real, imaginary = np.random.default_rng(seed).normal(size=(2, *values.shape))
    return values + NOISE * np.sqrt(np.mean(np.abs(values) ** 2) / 2) * (real + 1j * imaginary)


def declare(wavenumbers=(K,), measured=None, *, initial=1, support=True, convention="+", layers=True, noise=NOISE, bounds=(0.1, 3), prior=False):
    window = ps.Box({X: (-SUPPORT, SUPPORT), Y: (-SUPPORT, SUPPORT)}) if support else None
    m = ps.unknown_field("m", X, Y, initial=initial, bounds=bounds, support=window)
    fields = [ps.field(f"u{number}", X, Y, complex=True, shots=len(SOURCES)) for number in range(len(wavenumbers))]
    amplitude = AMPLITUDE if convention == "+" else np.conj(AMPLITUDE)
    shots = ps.SourceFamily([ps.GaussianSource(at={X: a, Y: b}, variance=VARIANCE, amplitude=complex(amplitude)) for a, b in SOURCES])
    measured = measured if measured is not None else [noisy(disc_data(k)) for k in wavenumbers]
    conditions = [ps.Prior(m, "total variation")] if prior else []
    for u, values in zip(fields, measured, strict=True):
        conditions.append(ps.Observations(u, RECEIVERS, values if convention == "+" else np.conj(values), noise=noise))
        if layers:
            conditions.append(ps.PML(u, width=0.5, strength=5, time_convention=convention))
    equations = [sp.Eq(ps.laplacian(u) + k**2 * m * u, shots) for u, k in zip(fields, wavenumbers, strict=True)]
    domain = ps.Box({X: (-SIDE, SIDE), Y: (-SIDE, SIDE)})
    return ps.Problem(name="penalty", fields=fields, domain=domain, equations=equations, conditions=conditions)


def built(problem):
    medium, surveys = read_medium(problem), read_surveys(problem)
    centres, _ = place_centres(medium, max(survey.wavenumber for survey in surveys))
    return medium, centres, [Waves(survey, centres, medium.background) for survey in surveys]


def disc_in_cells(centres, finer=20):
    inner = centres.spacing * ((np.arange(finer) + 0.5) / finer - 0.5)
    shifts = np.stack(np.meshgrid(inner, inner), axis=-1).reshape(-1, 2)
    inside = np.hypot(*np.moveaxis(centres.points[:, None] + shifts[None], -1, 0)) < RADIUS
    return 1 + (SPEED**-2 - 1) * inside.mean(axis=1)


def solved(problem, **settings):
    chosen = {"formulation": "penalty", "seconds": 600, "device": "cpu", "progress": False} | settings
    return ps.solve(problem, **chosen)


# -- waves and fields ---------------------------------------------------------------------------------------------------------------------------


def test_waves_of_gaussian_charges_carry_the_field_of_a_disc():
    _, centres, (waves,) = built(declare())
    found = eliminate(waves, disc_in_cells(centres), 1.0, np.inf, np.zeros_like(waves.incident), derivative=False)
    exact = disc_data().T
    at_receivers = waves.total(RECEIVERS, ZERO, found.obedient)
    assert np.linalg.norm(at_receivers - exact) < DISC_TOLERANCE * np.linalg.norm(exact)


def test_fields_satisfy_the_surrounding_equation_outside_the_support_exactly():
    _, centres, (waves,) = built(declare())
    charges = np.random.default_rng(0).normal(size=(len(centres.points), len(SOURCES)))
    points = ring(5, 0.33, 0.2) + np.array([0.04, -0.07])
    points = points[np.min(np.linalg.norm(points[:, None] - SOURCES[None], axis=-1), axis=1) > 0.2]
    curved = waves.total(points, (2, 0), charges) + waves.total(points, (0, 2), charges)
    left = curved + K**2 * waves.total(points, ZERO, charges)
    assert np.max(np.abs(left)) < 1e-6 * np.max(np.abs(curved))


@pytest.mark.parametrize("multiplied", [False, True])
def test_elimination_is_the_least_squares_solution_of_data_and_equation(multiplied):
    _, centres, (waves,) = built(declare())
    n = len(centres.points)
    rng = np.random.default_rng(1)
    model, rho = 1 + 0.3 * rng.uniform(-1, 1, n), 0.02
    multipliers = (1 + 1j) * rng.normal(size=waves.incident.shape) * (0.1 if multiplied else 0)
    found = eliminate(waves, model, 1.0, rho, multipliers)
    contrast = waves.k_squared * (model - 1)
    survey = waves.survey
    noise = survey.deviation[:, :1]
    matrix = np.concatenate([waves.to_receivers / noise, np.sqrt(rho) * (waves.charges + contrast[:, None] * waves.inside)])
    right = np.concatenate([(survey.values - waves.direct) / noise, np.sqrt(rho) * (-contrast[:, None] * waves.incident - multipliers)])
    charges, *_ = np.linalg.lstsq(matrix, right, rcond=None)
    least = np.linalg.norm(matrix @ charges - right) ** 2 / survey.observed.sum()
    assert found.residual @ found.residual == pytest.approx(least, rel=1e-8)
    assert np.linalg.norm(found.charges - charges) < 1e-6 * np.linalg.norm(charges)


def test_the_jacobian_of_obedient_fields_is_exact():
    _, centres, (waves,) = built(declare())
    rng = np.random.default_rng(2)
    model, direction = 1 + 0.3 * rng.uniform(-1, 1, len(centres.points)), rng.normal(size=len(centres.points))
    none, h = np.zeros_like(waves.incident), 1e-6
    here = eliminate(waves, model, 1.0, np.inf, none)
    above, below = (eliminate(waves, model + sign * h * direction, 1.0, np.inf, none, derivative=False).residual for sign in (1, -1))
    assert here.jacobian @ direction == pytest.approx((above - below) / (2 * h), rel=1e-5, abs=1e-5 * np.max(np.abs(here.jacobian @ direction)))
    assert here.residual @ here.residual == pytest.approx(here.physical)


def test_multipliers_make_the_equation_hold_at_a_weight_that_lets_it_go():
    _, centres, (waves,) = built(declare())
    model, multipliers = disc_in_cells(centres), np.zeros_like(waves.incident)
    model[len(model) // 3] += 0.2
    free = eliminate(waves, model, 1.0, np.inf, multipliers, derivative=False)
    rho = balanced_rho(free.sensitivity, free.physical)
    defects = []
    for _ in range(30):
        found = eliminate(waves, model, 1.0, rho, multipliers, derivative=False)
        multipliers = found.multipliers
        defects.append(found.defect)
    assert defects[0] > 1e-3
    assert defects[-1] < 0.1 * defects[0]


def test_dead_traces_are_left_out_and_noise_counts_trace_by_trace():
    values, weights = noisy(disc_data()), np.ones(len(RECEIVERS))
    weights[3] = 0
    spoiled = values.copy()
    spoiled[:, 3] = 1e3
    u = ps.field("u0", X, Y, complex=True, shots=len(SOURCES))
    problem = declare(measured=[values])
    conditions = [c for c in problem.conditions if not isinstance(c, ps.Observations)]
    dead = ps.Problem(
        name="dead", fields=problem.fields, domain=problem.domain, equations=problem.equations,
        conditions=[*conditions, ps.Observations(u, RECEIVERS, spoiled, noise=NOISE, weights=weights)],
    )  # fmt: skip
    (survey,) = read_surveys(dead)
    assert survey.observed.sum() == values.size - len(SOURCES)
    assert not np.any(np.abs(survey.values) > 100)


def test_a_silent_receiver_is_left_out_and_the_result_says_so():
    spoiled = noisy(disc_data())
    spoiled[:, 3] = 0
    (survey,) = read_surveys(declare(measured=[spoiled]))
    assert survey.silent == 1 and survey.observed.sum() == spoiled.size - len(SOURCES)
    (whole,) = read_surveys(declare())
    assert survey.deviation.max() == pytest.approx(whole.deviation.max(), rel=0.2)
    found = solved(declare(measured=[spoiled]), method=BRIEF)
    assert "1 of 14 receivers recorded nothing but zeros and were left out" in found.status.text


# -- medium and prior ---------------------------------------------------------------------------------------------------------------------------


def a_medium(initial=1, pretraining=True, seed=0):
    declared, centres, _ = built(declare(initial=initial))
    return NetworkMedium(declared, ps.Siren(width=12, depth=2, omega_0=8.0), centres.points, seed, pretraining), centres


def test_the_medium_starts_as_declared_unless_told_otherwise():
    assert np.allclose(a_medium()[0].log_model(), 0, atol=1e-12)
    assert np.std(a_medium(pretraining=False)[0].log_model()) > 1e-4


def test_slopes_of_the_medium_are_exact():
    medium, _ = a_medium(seed=4)
    rng = np.random.default_rng(0)
    base = medium.vector() + 0.1 * rng.normal(size=medium.vector().shape)
    direction = rng.normal(size=base.shape)
    medium.move_to(base)
    slope = medium.jacobian() @ direction
    values = []
    for sign in (1, -1):
        medium.move_to(base + sign * 1e-6 * direction)
        values.append(medium.log_model())
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-6 * np.max(np.abs(slope)))


@pytest.mark.parametrize("orders", [(1, 0), (0, 1), (2, 0), (1, 1), (0, 2)])
def test_derivatives_of_the_medium_agree_with_differences(orders):
    medium, _ = a_medium(seed=5)
    medium.move_to(medium.vector() + 0.05 * np.random.default_rng(1).normal(size=medium.vector().shape))
    points, h = np.array([[0.03, -0.11], [-0.15, 0.02], [0.3, 0.1]]), 1e-4
    axis = 0 if orders[0] else 1
    lower = tuple(count - (position == axis) for position, count in enumerate(orders))
    shift = h * np.eye(2)[axis]
    differences = (medium.evaluate(points + shift, lower) - medium.evaluate(points - shift, lower)) / (2 * h)
    values = medium.evaluate(points, orders)
    assert values == pytest.approx(differences, rel=1e-4, abs=1e-4 * np.max(np.abs(values)))
    assert values[2] == 0


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_the_prior_lies_below_its_majorant_and_touches_it(power):
    _, centres = a_medium()
    prior = Roughness.on(centres, power, 0.02)
    rng = np.random.default_rng(2)
    here, other = rng.normal(size=(2, len(centres.points)))
    curvature = prior.curvature(here)
    constant = prior.value(here) - here @ (curvature @ here) / 2
    assert prior.value(other) <= constant + other @ (curvature @ other) / 2
    h = 1e-6
    slope = (prior.value(here + h * other) - prior.value(here - h * other)) / (2 * h)
    assert (curvature @ here) @ other == pytest.approx(slope, rel=1e-4)


def test_a_step_into_the_support_costs_as_much_as_one_inside_it():
    _, centres = a_medium()
    prior = Roughness.on(centres, 1.0, 1e-6)
    columns = centres.indices[:, 0]
    rows = len(np.unique(centres.indices[:, 1]))
    places = prior.differences[0].shape[0]
    everywhere = prior.value(np.ones(len(columns)))
    # The perimeter of a square of n cells counts 4 n steps; two of them meet in one corner place as a diagonal.
    assert everywhere == pytest.approx((4 * rows - 2 + np.sqrt(2)) / places, rel=1e-3)


# -- whole inversions ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def solution():
    return solved(declare(), method=SMALL)


def medium_error(solution, problem=None):
    _, centres, _ = built(problem or solution.problem)
    found, truth = solution["m"].at(centres.points), disc_in_cells(centres)
    start = np.ones_like(truth)
    return np.linalg.norm(found - truth) / np.linalg.norm(truth), np.linalg.norm(start - truth) / np.linalg.norm(truth)


def test_a_disc_is_found_from_a_uniform_start(solution):
    error, start = medium_error(solution)
    assert error < 0.6 * start
    assert solution.status.code == "tolerance_not_reached"
    assert min(solution.history["phi"]) <= 1


def test_the_result_says_that_it_rests_on_a_prior_and_covers_its_error(solution):
    assert "rests on a prior" in solution.status.text
    error, start = medium_error(solution)
    assert error < solution.estimated_error < 2 * start


def test_fields_meet_the_data_at_the_noise(solution):
    measured = np.asarray(next(c for c in solution.problem.conditions if isinstance(c, ps.Observations)).values)
    predicted = solution["u0"].at(RECEIVERS)
    assert np.linalg.norm(predicted - measured) < 1.05 * NOISE * np.linalg.norm(measured)


def test_a_stored_solution_is_the_same(solution, tmp_path):
    solution.save(tmp_path / "run.h5")
    loaded = ps.load(tmp_path / "run.h5")
    points = np.random.default_rng(0).uniform(-0.45, 0.45, (20, 2))
    assert np.allclose(loaded["m"].at(points), solution["m"].at(points), rtol=1e-12)
    assert np.allclose(loaded["u0"].at(points), solution["u0"].at(points), rtol=1e-12)
    assert loaded["m"].derivative(X).at(points) == pytest.approx(solution["m"].derivative(X).at(points))
    assert loaded.plan.method == solution.plan.method


def test_the_other_time_convention_is_conjugated_on_the_way(solution):
    (survey,), (other,) = read_surveys(solution.problem), read_surveys(declare(convention="-"))
    assert np.allclose(other.values, survey.values) and np.allclose(other.deviation, survey.deviation)
    assert other.sources == survey.sources and other.conjugated and not survey.conjugated
    found = solved(declare(convention="-"), method=BRIEF)
    points = np.random.default_rng(0).uniform(-0.3, 0.3, (20, 2))
    waves = found.model.waves[0].total(points, ZERO, found.model.charges[0])
    assert np.allclose(found["u0"].at(points), waves.conj().T)


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    path = tmp_path / "run.ckpt"
    whole = solved(declare(), method=BRIEF)
    first = solved(declare(), method=BRIEF, seconds=1e-3, checkpoint=path)
    assert first.status.code == "out_of_time" and len(first.history) == 1
    rest = solved(declare(), method=BRIEF, checkpoint=path)
    assert len(rest.history) == len(whole.history) == 4
    # The first run had no time for all of its steps; what counts is that it went on from them.
    assert rest.history["phi"][0] == first.history["phi"][0]
    assert rest.history["phi"][-1] < rest.history["phi"][0]


def test_several_frequencies_begin_with_the_lowest():
    problem = declare((K, 7.0))
    found = solved(problem, method=BRIEF)
    assert found.history["frequencies"][0] == 1
    assert "Not all frequencies were used yet" in found.status.text
    assert found["u1"].at(RECEIVERS).shape == found["u0"].at(RECEIVERS).shape == (len(SOURCES), len(RECEIVERS))


def test_data_that_no_medium_explains_are_no_success():
    # Every receiver reports what its neighbour heard.
    found = solved(declare(measured=[np.roll(disc_data(), 1, axis=-1)]), method=BRIEF, tolerance=0.9)
    assert not found.status.success
    assert "not explained" in found.status.text


# -- refusals -----------------------------------------------------------------------------------------------------------------------------------

REFUSED = {
    "a start that is not uniform around": (lambda: declare(initial=1 + X / 5, support=False), "not uniform outside its support"),
    "no layers": (lambda: declare(layers=False), "expected a PML on all four faces"),
    "no noise level": (lambda: declare(noise=None), "needs Observations with a level such as noise=0.02"),
    "a declared prior": (lambda: declare(prior=True), "JointLeastSquares weighs it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_of_the_form_is_refused(case):
    build, message = REFUSED[case]
    with pytest.raises(CompileError, match=message):
        solved(build())


def test_a_problem_for_fields_only_is_refused():
    unit_square = ps.Box({X: (0, 1), Y: (0, 1)})
    plain = ps.Problem(name="plain", fields=[U], domain=unit_square, equations=[ps.laplacian(U)], conditions=[ps.Dirichlet(U, 0)])
    with pytest.raises(CompileError, match="expected one, a squared slowness"):
        solved(plain)


def test_a_method_of_another_formulation_is_refused():
    with pytest.raises(ProblemError, match="leave one out"):
        solved(declare(), method="JointLeastSquares")


@pytest.mark.parametrize("settings", [{"width": 0}, {"steps": 0}, {"prior_power": 3}, {"omega_0": -1}], ids=str)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ProblemError, match=next(iter(settings))):
        ps.PenaltyInversion(**settings)
