"""Fronts and layers: stretches read off coarse solutions, tensor features, marches through time windows, honesty of their estimates."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.charts import compile_jets
from pinnsiren.charts.front_stretch import even_stretch, layer_stretch, stretch_from_coarse, stretched_chart
from pinnsiren.charts.tensor_spectrum import TensorSpectrum
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.language import Dirichlet, InitialCondition, Interval, Periodic, Problem, SpaceTime, coordinates, field, manufactured
from pinnsiren.problems import load
from pinnsiren.reference_solvers.closed_forms import burgers_sine
from pinnsiren.training.loop import train
from pinnsiren.training.method import RunSettings
from pinnsiren.training.models import model_from_state
from pinnsiren.training.stretched_evidence import has_layers
from pinnsiren.training.stretched_least_squares import StretchedLeastSquares

ROUNDING = 1e-11
HONEST = 10.0  # a true error above ten times the estimate is a lie
UNBOUNDED = 1e6  # seconds: the clock must not decide what a test sees
N_POINTS = 4000
x, t = coordinates("x t")
u = field("u", x, t)


def settings(tolerance=1e-3):
    return RunSettings(seed=0, tolerance=tolerance, refine_while_cheap=False, seconds=UNBOUNDED, device="cpu", precision="float64", network=None)


def solved(problem, tolerance):
    run = StretchedLeastSquares().start(compile_problem(problem), settings(tolerance))
    return run, train(run, settings(tolerance))


def error(model, exact, domain):
    points = domain.sample_interior(N_POINTS, 5)
    truth = np.asarray(exact(*points.T))
    return np.linalg.norm(model.evaluate(0, points, (0,) * points.shape[1])[:, 0] - truth) / np.linalg.norm(truth)


def looked_at(function, periodic=False, looks=3, finest=1e-3):
    stretch = even_stretch(-1, 1, periodic)
    for _ in range(looks):
        stretch = stretch_from_coarse(lambda line: function(line)[None], stretch, finest=finest)
    return stretch


@pytest.mark.parametrize(("centre", "width"), [(0.2, 0.003), (-0.7, 0.05), (0.0, 0.0004)])
def test_a_stretch_finds_the_centre_and_the_width_of_a_front(centre, width):
    stretch = looked_at(lambda s: np.tanh((s - centre) / width))
    line = stretch.lines()[0]
    density = stretch.density(line)
    assert abs(line[np.argmax(density)] - centre) < width
    assert 0.5 < np.max(density) * width < 3
    assert stretch.length < 2.5 / 0.8 * np.log(2 / width) + 4, "the cost grows with the logarithm of the width"


def test_two_fronts_of_different_widths_are_both_resolved():
    stretch = looked_at(lambda s: np.tanh((s + 0.5) / 0.01) + 0.3 * np.tanh((s - 0.4) / 0.002))
    wide, narrow, smooth = 1 / stretch.density(np.array([-0.5, 0.4, 0.9]))
    assert wide < 0.02
    assert narrow < 0.006
    assert smooth > 0.1


def test_a_kink_where_a_period_closes_gets_the_finest_scale():
    stretch = looked_at(lambda s: s**2 * np.cos(np.pi * s), periodic=True, finest=1e-4)
    assert stretch.density(np.array([1.0]))[0] > 1 / 5e-4
    assert stretch.density(np.array([-1.0])) == pytest.approx(stretch.density(np.array([1.0])), rel=ROUNDING)


def test_a_smooth_function_is_not_stretched():
    stretch = looked_at(lambda s: s**2)
    assert stretch.length < 8
    assert np.ptp(np.log(stretch.density(np.linspace(-1, 1, 50)))) < 1


@pytest.mark.parametrize("periodic", [False, True])
def test_the_map_is_inverted_and_its_expression_agrees(periodic):
    stretch = looked_at(lambda s: np.tanh(np.sin(np.pi * s) / 0.05), periodic)
    xi = np.linspace(-0.499, 0.499, 301) * stretch.length
    physical = stretch.physical(xi)
    assert np.max(np.abs(stretch.local(physical) - xi)) < ROUNDING
    chart = stretched_chart((x, t), (stretch.expression(x), t), (1.0, 1.0), TensorSpectrum((1.0, 1.0), (1, 1)), "test")
    orders = ((0, 0), (1, 0), (2, 0), (3, 0))
    jets = compile_jets(chart, 1, (x, t), orders)
    points = np.stack([physical, 0 * physical], axis=1)
    assert np.max(np.abs(jets.local(points)[0][:, 0] - xi)) < ROUNDING
    slopes = [jets.operator(points, {order: np.ones(len(points))})[(1, 0)] for order in orders[1:]]
    step = 1e-5 / stretch.density(physical)
    shifted = [stretch.density(physical + s * step) for s in (-1, 0, 1)]
    assert slopes[0] == pytest.approx(shifted[1], rel=ROUNDING)
    assert np.max(np.abs(slopes[1] - (shifted[2] - shifted[0]) / (2 * step)) / shifted[1] ** 2) < 1e-7
    assert np.max(np.abs(slopes[2] - (shifted[2] - 2 * shifted[1] + shifted[0]) / step**2) / shifted[1] ** 3) < 1e-4


def test_a_layer_stretch_is_finest_at_both_ends():
    stretch = layer_stretch(0.0, 2.0, 1e-4)
    ends, middle = stretch.density(np.array([0.0, 2.0])), stretch.density(np.array([1.0]))
    assert np.all(ends > 5e3)
    assert middle[0] < 10


def test_the_lattice_spans_products_of_sines_and_cosines():
    spectrum = TensorSpectrum((0.7, 1.3), (2, 1))
    drawn = spectrum.draw(0, 0.0, 0)
    points = np.random.default_rng(0).uniform(-2, 2, (200, 2))
    theta = points @ drawn.waves.T
    features = np.hstack([np.sin(theta), np.cos(theta)])
    axes = zip((0.7, 1.3), (2, 1), points.T, strict=True)
    along = [np.stack([f(k * s * p) for k in range(n + 1) for f in (np.sin, np.cos)], 1) for s, n, p in axes]
    products = np.einsum("pi,pj->pij", *along).reshape(200, -1)
    assert np.linalg.matrix_rank(features) == spectrum.n_functions == 15
    assert np.linalg.matrix_rank(np.hstack([features, products])) == 15


@pytest.mark.parametrize(("viscosity", "bar"), [(0.1, 1e-3), (0.05, 1e-3)])
def test_burgers_shock_layer_is_found_and_resolved(viscosity, bar):
    problem = load("burgers", viscosity=viscosity, duration=0.5)
    run, record = solved(problem, 1e-2)
    true = error(run.model(), burgers_sine(viscosity), problem.domain)
    assert record.status.code == "success"
    assert true < bar
    assert true < HONEST * run.error_estimate()


def test_a_front_that_travels_is_followed():
    # u_t + u u_x = nu u_xx: u = s - tanh((x - s t - x0)/(2 nu)) moves at speed s.
    nu, speed, start = 0.03, 0.8, -0.3
    exact = speed - sp.tanh((x - speed * t - start) / (2 * nu))
    problem = Problem(
        name="travelling",
        fields=[u],
        domain=SpaceTime(Interval({x: (-1, 1)}), {t: (0, 0.4)}),
        equations=[sp.Eq(u.diff(t) + u * u.diff(x), nu * u.diff(x, 2))],
        conditions=[Dirichlet(u, exact), InitialCondition(u, exact.subs(t, 0))],
    )
    run, record = solved(problem, 1e-2)
    true = error(run.model(), sp.lambdify((x, t), exact, "numpy"), problem.domain)
    assert record.status.code == "success"
    assert true < HONEST * run.error_estimate()
    assert true < 1e-3


def test_periodic_reaction_agrees_with_a_manufactured_solution():
    declared = Problem(
        name="ring",
        fields=[u],
        domain=SpaceTime(Interval({x: (0, 2)}), {t: (0, 0.3)}),
        equations=[u.diff(t) - 0.01 * u.diff(x, 2) - 5 * (u - u**3)],
        conditions=[Periodic(u, x), InitialCondition(u, 0)],
    )
    exact = sp.tanh(4 * sp.sin(sp.pi * (x - 0.3 * t))) / 2
    run, record = solved(manufactured(declared, {u: exact}), 1e-2)
    true = error(run.model(), sp.lambdify((x, t), exact, "numpy"), declared.domain)
    assert record.status.code == "success"
    assert true < min(1e-2, HONEST * run.error_estimate())


@pytest.mark.parametrize("diffusion", [3e-3, 1e-3])
def test_boundary_layers_are_solved_by_auto(diffusion):
    problem = load("convection_diffusion", diffusion=diffusion)
    solution = ps.solve(problem, tolerance=1e-4, seconds=UNBOUNDED, progress=False)
    s = np.concatenate([np.linspace(0, 1, 500), 1 - diffusion * np.linspace(0, 10, 500)])
    true = s - np.exp((s - 1) / diffusion)
    relative = np.linalg.norm(solution(x=s) - true) / np.linalg.norm(true)
    assert solution.plan.method.name == "StretchedLeastSquares"
    assert solution.status.code == "success"
    assert relative < HONEST * max(solution.estimated_error, 1e-13)


def test_absorption_makes_layers_and_waves_do_not():
    w = field("w", x)
    box = Interval({x: (0, 1)})
    absorbing = Problem(name="a", fields=[w], domain=box, equations=[1e-5 * w.diff(x, 2) - w + 1], conditions=[Dirichlet(w, 0)])
    waves = Problem(name="b", fields=[w], domain=box, equations=[1e-5 * w.diff(x, 2) + w + 1], conditions=[Dirichlet(w, 0)])
    assert has_layers(compile_problem(absorbing))
    assert not has_layers(compile_problem(waves))


def test_a_stored_march_is_the_march():
    problem = load("burgers", viscosity=0.1, duration=0.3)
    run, _ = solved(problem, 1e-2)
    points = problem.domain.sample_interior(200, 1)
    again = model_from_state(run.compiled, None, run.model().state())
    other = StretchedLeastSquares().start(run.compiled, settings())
    other.restore(run.state())
    for orders in ((0, 0), (1, 1)):
        expected = run.model().evaluate(0, points, orders)
        assert np.array_equal(again.evaluate(0, points, orders), expected)
        assert np.array_equal(other.model().evaluate(0, points, orders), expected)
    assert other.step() == run.step()


def test_what_it_does_not_serve_is_refused_with_a_reason():
    v = field("v", x, t)
    wave = Problem(
        name="wave",
        fields=[v],
        domain=SpaceTime(Interval({x: (0, 1)}), {t: (0, 1)}),
        equations=[v.diff(t, 2) - v.diff(x, 2)],
        conditions=[Dirichlet(v, 0), InitialCondition(v, sp.sin(sp.pi * x)), InitialCondition(v.diff(t), 0)],
    )
    assert "second order in time" in StretchedLeastSquares().suits(compile_problem(wave)).reason
    with pytest.raises(ps.errors.ProblemError, match="density=-1"):
        StretchedLeastSquares(density=-1)


def test_heat_in_a_square_is_marched_on_even_axes_and_factored_once_per_length():
    y = sp.Symbol("y")
    v = field("v", x, y, t)
    declared = Problem(
        name="square",
        fields=[v],
        domain=SpaceTime(ps.Box({x: (0, 1), y: (0, 2)}), {t: (0, 0.8)}),
        equations=[v.diff(t) - sp.exp(x * y / 4) * (v.diff(x, 2) + v.diff(y, 2)) / 10],
        conditions=[Dirichlet(v, 0), InitialCondition(v, 0)],
    )
    exact = sp.sin(sp.pi * x) * sp.sin(sp.pi * y) * (1 + t) * sp.exp(-t * y / 2)
    problem = manufactured(declared, {v: exact})
    run, record = solved(problem, 1e-2)
    points = problem.domain.sample_interior(N_POINTS, 5)
    truth = sp.lambdify((x, y, t), exact, "numpy")(*points.T)
    true = np.linalg.norm(run.model().evaluate(0, points, (0, 0, 0))[:, 0] - truth) / np.linalg.norm(truth)
    assert record.status.code == "success"
    assert true < min(1e-2, HONEST * run.error_estimate())
    assert run.evaluators.factored.factorisations < sum(fit.steps for fit in run.fits)
