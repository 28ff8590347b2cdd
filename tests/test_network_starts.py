"""Where networks start on problems in time: plane waves on the dispersion relation, inputs stretched across fronts."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.charts.front_stretch import even_stretch, stretch_from_scales
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.problems import load
from pinnsiren.training.front_points import front_points, stretches_of
from pinnsiren.training.gauss_newton import GaussNewton
from pinnsiren.training.method import RunSettings
from pinnsiren.training.network_fronts import front_charts, merged
from pinnsiren.training.network_waves import plane_waves, wanted_rewrites, wave_relation

UNBOUNDED = 1e6  # seconds: the clock must not decide what a test sees
FEW_STEPS = 8
NETWORK = ps.Siren(width=24, depth=2)


def settings(network, tolerance=1e-14):
    return RunSettings(0, tolerance, False, UNBOUNDED, "cpu", "float64", network)


def error_of(run, problem):
    points = problem.domain.sample_interior(1500, 4242)
    exact = sp.lambdify(problem.domain.coordinates, next(iter(problem.exact.values())))(*points.T)
    found = run.model().evaluate(0, points, (0, 0))[:, 0] + run.compiled.known_part(0, points, (0, 0))[:, 0]
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def stepped(compiled, network, steps):
    run = GaussNewton().start(compiled, settings(network))
    for _ in range(steps):
        run.step()
    return run


@pytest.mark.parametrize("c", [0.7, 3.0])
def test_waves_of_the_first_layer_solve_the_equation_in_one_and_two_dimensions(c):
    for name in ("wave_two_modes", "wave_pulse"):
        compiled = compile_problem(load(name, c=c))
        relation = wave_relation(compiled, NETWORK)
        waves = plane_waves(relation, 9, 1.0, compiled)
        assert len(waves) == 9
        physical = waves / compiled.scales.unit
        assert np.allclose(physical[:, -1] ** 2, c**2 * np.sum(physical[:, :-1] ** 2, axis=1))


def test_plans_of_networks_on_waves_take_walls_as_rows_and_gauss_newton():
    plan = ps.plan(load("wave_two_modes"), network=NETWORK)
    assert plan.included == ("walls as rows",)
    assert type(plan.method) is GaussNewton
    assert not plan.compiled.ir.by_construction
    assert "walls as rows" in str(plan)


@pytest.mark.parametrize("network", [ps.Siren(omega_0=5.0), ps.MLP()])
def test_a_network_whose_frequencies_are_given_or_that_has_none_starts_as_ever(network):
    assert wanted_rewrites(compile_problem(load("wave_two_modes")), network) == ()


def test_damped_and_layered_media_have_no_plane_waves():
    assert wave_relation(compile_problem(load("wave_layered")), NETWORK) is None
    x, t = ps.coordinates("x t")
    u = ps.field("u", x, t)
    damped = ps.Problem(
        name="damped", fields=[u], domain=ps.SpaceTime(ps.Interval({x: (0, 1)}), {t: (0, 1)}),
        equations=[sp.Eq(u.diff(t, 2) + u.diff(t), u.diff(x, 2))],
        conditions=[ps.Dirichlet(u, 0), ps.InitialCondition(u, sp.sin(sp.pi * x)), ps.InitialCondition(u.diff(t), 0)],
    )  # fmt: skip
    assert wave_relation(compile_problem(damped), NETWORK) is None


@pytest.mark.parametrize("constants", [{}, {"c": 1.3, "amplitudes": {2: 1.0, 3: -0.6}}])
def test_plane_waves_gain_a_digit_within_a_few_steps(constants):
    problem = load("wave_two_modes", **constants)
    started = stepped(ps.plan(problem, network=NETWORK).compiled, NETWORK, FEW_STEPS)
    usual = stepped(compile_problem(problem), NETWORK, FEW_STEPS)
    assert error_of(started, problem) < 0.1 * error_of(usual, problem)
    assert error_of(started, problem) < 1e-2


def test_a_coarse_solve_finds_the_layer_of_burgers_and_nothing_in_a_smooth_solution():
    compiled = compile_problem(load("burgers"))
    (chart,) = front_charts(compiled, settings(NETWORK))
    plan = ps.plan(load("burgers"), network=NETWORK).with_charts((*compiled.charts, chart))
    stretch = stretches_of(plan.compiled)[0]
    densest = np.linspace(-1, 1, 2001)[np.argmax(stretch.density(np.linspace(-1, 1, 2001)))]
    assert abs(densest) < 0.02 and 1 / stretch.density(np.zeros(1))[0] < 0.03
    points = front_points(compiled, {0: stretch}, 1000, 0)
    assert np.mean(np.abs(points[:, 0]) < 0.05) > 0.2
    assert front_charts(compile_problem(load("burgers", viscosity=0.3)), settings(NETWORK)) == ()
    assert front_charts(compile_problem(load("wave_two_modes")), settings(NETWORK)) == ()


def test_the_merged_stretch_is_nowhere_much_coarser_than_its_parts():
    even = even_stretch(-1.0, 1.0)
    sharp = merged([even, stretches_like(0.01)])
    x = np.linspace(-1, 1, 101)
    assert np.all(sharp.density(x) > 0.5 * np.maximum(even.density(x), 0.3 * stretches_like(0.01).density(x)))


def stretches_like(width):
    axis = np.linspace(-1, 1, 801)
    return stretch_from_scales(axis, width + np.abs(axis), -1.0, 1.0)


def test_a_stored_solution_keeps_its_stretched_input(tmp_path):
    problem = load("burgers", viscosity=0.02 / np.pi)
    solution = ps.solve(problem, network=ps.Siren(8, 2), method=ps.GaussNewton(maximum_steps=3), seconds=UNBOUNDED, progress=False)
    assert "front along x" in str(solution.plan) and "hard conditions" in solution.plan.included
    solution.save(tmp_path / "run.h5")
    x, t = np.linspace(-0.9, 0.9, 7), np.linspace(0.1, 1, 7)
    assert np.array_equal(ps.load(tmp_path / "run.h5")(x=x, t=t), solution(x=x, t=t))
