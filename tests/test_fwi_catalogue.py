"""The inversion problems of the catalogue: their closed forms, their data, and who judges them."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp

from pinnsiren.errors import ProblemError, ReferenceSolverError
from pinnsiren.language import PML, Observations, Problem, declaration_of
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.problems import load
from pinnsiren.problems._marine_modelling import simulate as simulate_marine
from pinnsiren.reference_solvers.closed_forms import PenetrableDisc, penetrable_disc, penetrable_discs, point_source
from pinnsiren.reference_solvers.evaluation import cell_average
from pinnsiren.reference_solvers.frequency_domain import Discretisation, Grid, Shots, simulate
from pinnsiren.reference_solvers.inversion import with_synthetic_data
from pinnsiren.status import Status
from pinnsiren.validation import validate

INVERSIONS = ("fwi_anomalies", "fwi_disc_multifrequency", "fwi_disc_paper", "fwi_marmousi2")
FEW = {"fwi_marmousi2": {"frequencies": (1.5,), "every": 32}}
FAST, SLOW = PenetrableDisc((-0.12, 0.06), 0.09, 1.4), PenetrableDisc((0.13, -0.08), 0.075, 0.75)
SOURCES = [(-0.4, 0.1), (0.1, 0.42)]
K = 17.0
# What rounding leaves of sums of a few dozen terms of size one.
ROUNDING = 1e-12
# Fourth-order differences of step 2e-3 at wavenumbers up to 23: (k h)^4/90 = 5e-8, and rounding over h^2.
STEP, DIFFERENCES = 2e-3, 1e-6
# Nine-point and fourth-order schemes at 24 points per wavelength where the medium jumps.
GRID_ERROR = 6e-3
# The sixth-order scheme of the catalogue at ten points per wavelength.
MARINE_ERROR = 2e-3


def two_discs(at=SOURCES, discs=(FAST, SLOW), k=K):
    return penetrable_discs(k=k, discs=discs, at=at, variance=1e-4, amplitude=1 + 1j)


def points(count=300, seed=1):
    return np.random.default_rng(seed).uniform(-0.45, 0.45, (2, count))


def test_one_disc_is_the_series_of_one_disc():
    disc = PenetrableDisc((0.05, 0.02), 0.13, 1.7)
    several = two_discs(discs=[disc])
    for number, at in enumerate(SOURCES):
        single = penetrable_disc(k=K, radius=0.13, inner_speed=1.7, at=at, centre=(0.05, 0.02), variance=1e-4, amplitude=1 + 1j)
        expected = single(*points())
        assert np.max(np.abs(several(*points())[number] - expected)) < ROUNDING * np.max(np.abs(expected))


@pytest.mark.parametrize("disc", [FAST, SLOW], ids=["fast", "slow"])
def test_fields_and_their_normal_derivative_are_continuous_at_every_rim(disc):
    angle, gap = np.linspace(0, 2 * np.pi, 37), 1e-6
    around = np.stack([np.cos(angle), np.sin(angle)])
    u = [two_discs()(*(np.array(disc.centre)[:, None] + (disc.radius + side * gap) * around)) for side in (-2, -1, 1, 2)]
    slope = np.max(np.abs(u[3] - u[2])) / gap
    # Second derivatives jump by k^2 dm u, so that slopes that are 3e-6 apart differ by that much of themselves.
    assert np.max(np.abs(u[2] - u[1])) < 3 * gap * slope
    assert np.max(np.abs((u[3] - u[2]) - (u[1] - u[0]))) / gap < 1e-3 * slope


def test_fields_satisfy_the_equation_in_every_medium():
    u = two_discs()
    x, y = points()
    clear = np.all([abs(np.hypot(x - d.centre[0], y - d.centre[1]) - d.radius) > 4 * STEP for d in u.discs], axis=0)
    clear &= np.all([np.hypot(x - a, y - b) > 0.13 for a, b in SOURCES], axis=0)
    x, y = x[clear], y[clear]
    weights = {-2: -1 / 12, -1: 4 / 3, 0: -5 / 2, 1: 4 / 3, 2: -1 / 12}
    bent = sum(w * (u(x + i * STEP, y) + u(x, y + i * STEP)) for i, w in weights.items()) / STEP**2
    reaction = K**2 * u.squared_slowness(x, y) * u(x, y)
    assert len(set(u.squared_slowness(x, y))) == 3
    assert np.max(np.abs(bent + reaction)) < DIFFERENCES * np.max(np.abs(reaction))


def test_source_and_receiver_may_change_places():
    there, back = (two_discs(at=[a])(*b)[0] for a, b in (SOURCES, SOURCES[::-1]))
    assert abs(there - back) < ROUNDING * abs(there)


def test_a_grid_solver_agrees_with_two_discs():
    grid = Grid.over(((-0.5, 0.5), (-0.5, 0.5)), 0.01)
    heard = np.stack(points(30, seed=2), axis=1)
    heard = heard[np.min([np.hypot(*(heard - at).T) for at in SOURCES], axis=0) > 0.1]
    m = cell_average(two_discs().squared_slowness, grid.axes, grid.step)
    found = simulate(Discretisation(grid, K, m, scheme="order4"), m, Shots.at(SOURCES, 1 + 1j, 1e-4), heard, background=1.0)
    expected = two_discs()(*heard.T)
    assert np.linalg.norm(found - expected) < GRID_ERROR * np.linalg.norm(expected)


def test_discs_that_touch_are_refused():
    with pytest.raises(ReferenceSolverError, match="touch; expected discs apart"):
        two_discs(discs=[FAST, PenetrableDisc((-0.05, 0.06), 0.05, 2.0)])
    with pytest.raises(ReferenceSolverError, match="standard deviations"):
        two_discs(at=[(-0.2, 0.1)])
    with pytest.raises(ReferenceSolverError, match="orders, 90 at most"):
        two_discs(discs=[FAST, PenetrableDisc((0.02, 0.06), 0.0495, 2.0)]).order  # noqa: B018


def test_the_solver_of_the_catalogue_agrees_with_a_point_source():
    at, heard = np.array([[1.0, 0.5], [3.0, 0.3]]), np.stack([np.linspace(0.2, 3.8, 24), np.full(24, 0.9)], axis=1)
    settings = {"box": ((0, 4), (0, 2)), "spacing": 0.05, "wavenumber": 12.5, "sources": at, "receivers": heard, "variance": 0.06**2}
    found = simulate_marine(squared_slowness=lambda x, z: np.ones_like(x), **settings)
    expected = np.stack([point_source(12.5, tuple(place), 0.06**2)(*heard.T) for place in at])
    assert np.linalg.norm(found - expected) < MARINE_ERROR * np.linalg.norm(expected)


def test_the_solver_of_the_catalogue_agrees_with_the_one_that_inverts_in_a_varying_medium():
    """Two codes without a line in common, layers that continue a varying medium included."""

    def m(x, z):
        return 1 / (1 + 0.4 * z + 0.15 * np.sin(2 * x)) ** 2

    at, heard = np.array([[1.0, 0.3]]), np.stack([np.linspace(0.2, 3.8, 24), np.full(24, 0.7)], axis=1)
    found = simulate_marine(
        box=((0, 4), (0, 2)), spacing=0.045, squared_slowness=m, wavenumber=11.0, sources=at, receivers=heard, variance=0.06**2
    )
    grid = Grid.over(((0, 4), (0, 2)), 0.03)
    model = m(*grid.nodes)
    expected = simulate(Discretisation(grid, 11.0, model, scheme="order4"), model, Shots.at(at, 1.0, 0.06**2), heard)
    assert np.linalg.norm(found - expected) < 2 * MARINE_ERROR * np.linalg.norm(expected)


@pytest.mark.parametrize("name", INVERSIONS)
def test_the_data_are_the_exact_fields_within_the_declared_noise(name, load_problem):
    problem = load_problem(name, **FEW.get(name, {}))
    observed = [condition for condition in problem.conditions if isinstance(condition, Observations)]
    assert [condition.expression for condition in observed] == list(problem.fields)
    for condition in observed:
        exact = problem.exact.get(condition.expression)
        if exact is None:
            continue
        true = exact(*condition.points.T)
        level = np.linalg.norm(condition.values - true) / np.linalg.norm(true)
        assert 0.8 * condition.noise < level < 1.2 * condition.noise


@pytest.mark.parametrize("name", ["fwi_anomalies", "fwi_disc_multifrequency"])
def test_data_without_noise_are_exact_and_seeds_differ(name):
    clean, one, other = load(name, noise=0), load(name, seed=1), load(name, seed=2)
    exact = clean.exact[clean.fields[0]]
    values = [next(c for c in problem.conditions if isinstance(c, Observations)) for problem in (clean, one, other)]
    np.testing.assert_array_equal(values[0].values, exact(*values[0].points.T))
    assert values[0].noise is None
    assert np.linalg.norm(values[1].values - values[2].values) > 0.02 * np.linalg.norm(values[0].values)


@pytest.mark.parametrize("name", INVERSIONS)
def test_sources_stand_outside_the_unknown_medium_and_the_start_within_its_bounds(name, load_problem):
    problem = load_problem(name, **FEW.get(name, {}))
    (m,) = problem.coefficients
    declaration = declaration_of(m)
    sources = [node for node in problem.equations[0].atoms(sp.Function) if type(node).__name__ == "GaussianSource"]
    at = np.array([[float(value) for value in source.centre] for source in sources])
    assert not declaration.support.contains(at).any()
    nodes = problem.domain.sample_interior(500, seed=0)
    for expression in (declaration.initial, problem.exact[m]):
        values = evaluate_on(expression, problem.coordinates, nodes)
        assert declaration.bounds[0] <= values.min() <= values.max() <= declaration.bounds[1]


@pytest.mark.parametrize(("name", "option"), [("fwi_disc_paper", "measurements"), ("fwi_marmousi2", "models")])
def test_files_that_are_not_there_are_asked_for(name, option, tmp_path):
    with pytest.raises(ProblemError, match=f"(?s){option}=..."):
        load(name, **{option: tmp_path / "absent"})


def test_another_start_is_refused(shared_data):
    with pytest.raises(ProblemError, match='expected "smooth" or "trend"'):
        load("fwi_marmousi2", start="flat")


def test_a_frequency_given_twice_is_refused():
    with pytest.raises(ProblemError, match="expected each once"):
        load("fwi_anomalies", wavenumbers=(12, 12))


@dataclass(frozen=True)
class Known:
    """A field of a stand-in."""

    function: object
    symbols: tuple

    def at(self, places):
        return np.asarray(self.function(*places.T))


class StandIn(dict):
    """What validation asks of a solution, with known functions for values."""

    def __init__(self, problem, functions):
        super().__init__({declaration_of(s).name: Known(functions[s], tuple(s.args)) for s in (*problem.fields, *problem.coefficients)})
        self.problem, self.status, self.tolerance, self.estimated_error = problem, Status("success", "stand-in"), 1e-3, 1e-3
        self.seconds, self.cores, self.history = 0.0, (), SimpleNamespace(columns={})


def functions_of(problem):
    (m,) = problem.coefficients
    medium = {m: lambda *places: evaluate_on(problem.exact[m], problem.coordinates, np.stack(places, axis=1))}
    return {**{u: problem.exact.get(u, lambda *places: np.ones((2, len(places[0])))) for u in problem.fields}, **medium}


@pytest.mark.parametrize("name", INVERSIONS)
def test_its_exact_medium_judges_it(name, load_problem):
    problem = load_problem(name, **FEW.get(name, {}))
    report = validate(StandIn(problem, functions_of(problem)), against="exact")
    assert report.verdict == "pass" and report.relative_l2["m"] == 0
    (m,) = problem.coefficients
    wrong = functions_of(problem)
    right = wrong[m]
    wrong[m] = lambda *places: 1.01 * right(*places)
    report = validate(StandIn(problem, wrong), against="exact")
    assert report.verdict == "fail" and report.relative_l2["m"] == pytest.approx(0.01)
    assert any("judged by m alone" in note for note in report.notes) == (name == "fwi_marmousi2")


# data that no closed form gives


def placeholder(name, **constants):
    """A problem of the catalogue whose values are ones: positions alone are read."""
    problem = load(name, **constants)
    conditions = [
        Observations(c.expression, c.points, np.ones(c.values.shape, dtype=complex)) if isinstance(c, Observations) else c for c in problem.conditions
    ]
    bare = Problem(name=name, fields=problem.fields, domain=problem.domain, equations=problem.equations, conditions=conditions)
    return problem, bare


def test_synthetic_data_agree_with_the_closed_form_within_their_own_estimate():
    truth, bare = placeholder("fwi_anomalies", noise=0, sources=3, receivers=12)
    (m,) = truth.coefficients
    made = with_synthetic_data(bare, truth.exact[m])
    for field, condition in zip(truth.fields, [c for c in made.problem.conditions if isinstance(c, Observations)], strict=True):
        exact = truth.exact[field](*condition.points.T)
        error = np.linalg.norm(condition.values - exact) / np.linalg.norm(exact)
        estimate = made.numerical_errors[declaration_of(field).name]
        assert error < 2 * estimate < 0.02
        assert condition.noise == pytest.approx(estimate)
    assert made.problem.exact == {m: truth.exact[m]}
    assert "data of another scheme" in str(made)


def test_synthetic_data_for_the_other_convention_are_conjugated():
    _, bare = placeholder("fwi_anomalies", wavenumbers=(9,), sources=2, receivers=9)
    conditions = [replace(c, time_convention="-") if isinstance(c, PML) else c for c in bare.conditions]
    other = Problem(name="other", fields=bare.fields, domain=bare.domain, equations=bare.equations, conditions=conditions)
    values = []
    for problem in (bare, other):
        # Sources of real amplitude, so that the data are conjugated and nothing else.
        real = [equation.subs(1.0 * sp.I, 0).subs(sp.I, 0) for equation in problem.equations]
        posed = Problem(name="p", fields=problem.fields, domain=problem.domain, equations=real, conditions=problem.conditions)
        made = with_synthetic_data(posed, lambda x, y: 1 + 0.3 * np.exp(-30 * (x**2 + y**2)), noise=0.01)
        values.append(next(c for c in made.problem.conditions if isinstance(c, Observations)))
    assert abs(values[0].noise - values[1].noise) < 1e-12 and values[0].noise > 0.01
    assert np.linalg.norm(values[0].values - np.conj(values[1].values)) < 0.03 * np.linalg.norm(values[0].values)


def test_a_medium_that_is_not_positive_is_refused():
    _, bare = placeholder("fwi_anomalies", wavenumbers=(9,), sources=2, receivers=9)
    with pytest.raises(ReferenceSolverError, match="expected positive squared slowness"):
        with_synthetic_data(bare, lambda x, y: x)


@pytest.mark.parametrize("k", [0.3 - 1.5j, 1 - 3j, 0.6])
def test_waves_far_longer_than_discs_of_unlike_size_go_through_their_rims(k):
    # Orders that the larger disc and the gap need are beyond the smallest number for the smaller one, and shifted beyond the largest.
    discs = [PenetrableDisc((0.05, 0.05), 0.1, 1.5), PenetrableDisc((-0.12, -0.1), 0.06, 0.8)]
    u = penetrable_discs(k=k, discs=discs, at=[(0.4, 0.1), (-0.1, 0.4)], variance=1e-4)
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for disc in discs:
        radii = disc.radius + np.array([-2e-4, -1e-4, 1e-4, 2e-4])
        rims = [(disc.centre[0] + r * np.cos(angle), disc.centre[1] + r * np.sin(angle)) for r in radii]
        first, inside, outside, last = (u(*rim) for rim in rims)
        size = np.abs(inside).max()
        assert np.all(np.isfinite(outside)) and np.abs(2 * outside - last - 2 * inside + first).max() < 1e-6 * size
        assert np.abs((last - outside) - (inside - first)).max() < 0.02 * np.abs(last - outside).max()
