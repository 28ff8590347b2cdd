"""Waves on their dispersion relation: lattices, plane waves per medium, interfaces, free faces; what they refuse, and honest estimates."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.charts.dispersion import Dispersion, read_dispersion
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.problems import load
from pinnsiren.reference_solvers import find
from pinnsiren.reference_solvers.closed_forms import gaussian_pulse
from pinnsiren.training.media import cut_media
from pinnsiren.training.mode_basis import axis_basis
from pinnsiren.training.plane_waves import PlaneWaves
from pinnsiren.training.wave_cell import EVEN, ODD, PERIODIC
from pinnsiren.training.wave_lattice import WaveLattice, read_lattice
from pinnsiren.training.wave_modes import WaveModes, read_medium

N_POINTS = 1500
SEED = 5
HONEST = 3
WAVE = Dispersion((((2, 0, 0), -4.0 + 0j), ((0, 2, 0), -4.0 + 0j), ((0, 0, 2), 1.0 + 0j)))


def on_interval(equation, exact, end=1.0, length=1.0, conditions=(), order=2, name="wave"):
    """A problem on (0, length) whose initial values are those of an expression."""
    x, t = ps.coordinates("x t")
    u = ps.field("u", x, t)
    values = exact(x, t)
    start = [ps.InitialCondition(u, values.subs(t, 0)), ps.InitialCondition(u.diff(t), values.diff(t).subs(t, 0))][:order]
    return ps.Problem(
        name=name, fields=[u], domain=ps.SpaceTime(ps.Interval({x: (0, length)}), {t: (0, end)}), equations=[equation(u, x, t)],
        conditions=[*start, *[make(u, x, t) for make in conditions]], exact={u: values},
    )  # fmt: skip


def walls(kind):
    return (lambda u, x, t: kind(u, 0),)


def error_of(solution):
    problem = solution.problem
    points = problem.domain.sample_interior(N_POINTS, SEED)
    (exact,) = problem.exact.values()
    true = evaluate_on(exact, problem.coordinates, points) if isinstance(exact, sp.Basic) else exact(*points.T)
    found = solution.evaluate(0, points, (0,) * points.shape[1])[:, 0]
    return np.linalg.norm(found - true) / np.linalg.norm(true)


def solved(problem, method="auto", **settings):
    return ps.solve(problem, method=method, progress=False, device="cpu", **{"seconds": 60, **settings})


def assert_solved(solution, bar, method=None):
    assert solution.status.success, solution.status
    assert error_of(solution) < min(bar, HONEST * solution.estimated_error)
    if method is not None:
        assert isinstance(solution.plan.method, method)


def test_roots_of_the_wave_equation_lie_on_the_cone():
    waves = np.random.default_rng(0).normal(size=(50, 2))
    speed = 2 * np.linalg.norm(waves, axis=1)
    assert np.allclose(WAVE.roots(waves), 1j * np.stack([-speed, speed], axis=1))
    assert WAVE.speed() == pytest.approx(2)


def plane(k, s):
    """exp(k x + s t) with complex k and s, real part."""
    return lambda x, t: sp.exp(sp.re(s) * t) * sp.cos(k * x + sp.im(s) * t)


EQUATIONS = {
    "wave": (lambda u, x, t: u.diff(t, 2) - 9 * u.diff(x, 2), lambda k: 3j * k, 2, 3),
    "Klein-Gordon": (lambda u, x, t: u.diff(t, 2) - 4 * u.diff(x, 2) + 25 * u, lambda k: 1j * sp.sqrt(4 * k**2 + 25), 2, 2),
    "damped": (lambda u, x, t: u.diff(t, 2) + u.diff(t) / 2 - u.diff(x, 2), lambda k: -sp.Rational(1, 4) + 1j * sp.sqrt(k**2 - 1 / 16), 2, 1),
    "advection": (lambda u, x, t: u.diff(t) + 3 * u.diff(x), lambda k: -3j * k, 1, 3),
}
each_equation = pytest.mark.parametrize("name", EQUATIONS)


def with_data(name):
    """The problem of a plane wave that comes in through the walls."""
    equation, root, order, _ = EQUATIONS[name]
    faces = ("x-", "x+") if order == 2 else ("x-",)
    exact = plane(5, root(5))
    conditions = [lambda u, x, t, face=face: ps.Dirichlet(u, exact(x, t).subs(x, 0 if face == "x-" else 1), on=face) for face in faces]
    return on_interval(equation, exact, conditions=conditions, order=order)


@each_equation
def test_features_of_the_spectrum_satisfy_the_equation_identically(name):
    compiled = compile_problem(with_data(name))
    relation = read_dispersion(compiled.ir)
    assert relation.speed() == pytest.approx(EQUATIONS[name][3], rel=1e-3)
    (medium,) = cut_media(compiled)
    frequencies = medium.compiled.charts[0].spectrum.draw(80, 0.0, 0)
    k, omega = frequencies.waves.T
    symbol = sum(value * (1j * k) ** orders[0] * (1j * omega - frequencies.rates[:, 0]) ** orders[1] for orders, value in relation.terms)
    largest = max(np.max(np.abs(value * k ** orders[0] * np.abs(omega) ** orders[1])) for orders, value in relation.terms)
    assert np.max(np.abs(symbol)) < 1e-12 * largest
    assert not any(residual.kind == "equation" for residual in medium.compiled.ir.residuals)


@each_equation
def test_a_wave_that_comes_in_through_the_walls(name):
    assert_solved(solved(with_data(name)), 1e-9, PlaneWaves)


@pytest.mark.parametrize("constants", [{}, {"c": 0.7, "amplitudes": {2: 1, 5: -0.3}, "end": 3}], ids=["as published", "other"])
def test_two_modes(constants):
    assert_solved(solved(load("wave_two_modes", **constants)), 1e-12, WaveLattice)


@pytest.mark.parametrize("in_divergence", [True, False], ids=["flux", "slope"])
@pytest.mark.parametrize("constants", [{}, {"speeds": (5, 1), "end": 0.6}, {"speeds": (1.5, 1), "variance": 0.002, "at": 0.4}], ids=str)
def test_layers_reflect_by_the_form_of_the_equation(constants, in_divergence):
    assert_solved(solved(load("wave_layered", in_divergence=in_divergence, **constants)), 1e-7, PlaneWaves)


def test_plane_waves_and_lattice_agree_on_walls():
    problem = on_interval(
        lambda u, x, t: u.diff(t, 2) - u.diff(x, 2), lambda x, t: sp.cos(sp.pi * x) * sp.cos(sp.pi * t) + t, conditions=walls(ps.Neumann)
    )
    for method in (WaveLattice(), PlaneWaves()):
        assert_solved(solved(problem, method), 1e-10)


def test_three_layers_against_a_standing_mode():
    """Layers (0, a), (a, 2a), (2a, 3a) of speeds 1, 3, 1: one mode by its matching conditions, u and u_x continuous."""
    a, fast = 1.0, 3.0
    # Even about the middle: sin(w x) outside, A cos(w (x - 1.5 a)/3) inside; w tan(w a / 6)/3 = w cot(w a) at the interface.
    w = float(sp.nsolve(sp.tan(sp.Symbol("w") / 6) / 3 - sp.cot(sp.Symbol("w")), 1.3))
    inside = np.sin(w * a) / np.cos(w * a / 6)
    x, t = ps.coordinates("x t")
    u = ps.field("u", x, t)
    speed = sp.Piecewise((1, x < a), (fast, x < 2 * a), (1, True))
    shape = sp.Piecewise((sp.sin(w * x), x < a), (inside * sp.cos(w * (x - 1.5 * a) / fast), x < 2 * a), (sp.sin(w * (3 * a - x)), True))
    problem = ps.Problem(
        name="three_layers", fields=[u], domain=ps.SpaceTime(ps.Interval({x: (0, 3 * a)}), {t: (0, 4)}),
        equations=[sp.Eq(u.diff(t, 2), speed**2 * u.diff(x, 2))],
        conditions=[ps.Dirichlet(u, 0), ps.InitialCondition(u, shape), ps.InitialCondition(u.diff(t), 0)], exact={u: shape * sp.cos(w * t)},
    )  # fmt: skip
    assert len(cut_media(compile_problem(problem))) == 3
    assert_solved(solved(problem), 1e-9, PlaneWaves)


def test_a_source_beside_plane_waves():
    exact = lambda x, t: sp.sin(sp.pi * x) * t**2 * sp.exp(-t) + sp.sin(3 * sp.pi * x) * sp.cos(6 * sp.pi * t)  # noqa: E731
    problem = on_interval(
        lambda u, x, t: u.diff(t, 2) - 4 * u.diff(x, 2) - (exact(x, t).diff(t, 2) - 4 * exact(x, t).diff(x, 2)), exact, conditions=walls(ps.Dirichlet)
    )
    assert_solved(solved(problem, PlaneWaves()), 1e-6)


def pulse(space, conditions=(), c=1.0, variance=0.004, end=0.5):
    symbols = ps.coordinates("x y z")[: len(space)]
    t = ps.coordinates("t s")[0]
    u = ps.field("u", *symbols, t)
    start = sp.exp(-sp.Add(*[s**2 for s in symbols]) / (2 * sp.Float(variance)))
    return ps.Problem(
        name="pulse", fields=[u], domain=ps.SpaceTime(ps.Box(dict(zip(symbols, space, strict=True))), {t: (0, end)}),
        equations=[sp.Eq(u.diff(t, 2), c**2 * ps.laplacian(u))],
        conditions=[ps.InitialCondition(u, start), ps.InitialCondition(u.diff(t), 0), *[make(u, symbols) for make in conditions]],
        exact={u: gaussian_pulse((0.0,) * len(space), variance, 1.0, c)},
    )  # fmt: skip


def test_a_pulse_leaves_through_free_faces():
    assert_solved(solved(pulse([(-0.6, 0.6), (-0.6, 0.8)], c=2.0, end=0.4)), 1e-9, WaveLattice)


def test_walls_are_mirrors():
    """The pulse in the corner of two Neumann walls is a quarter of the pulse in the plane; beside a Dirichlet wall its image has the other sign."""
    quarter = pulse([(0, 0.8), (0, 0.8)], [lambda u, s: ps.Neumann(u, 0, on=("x-", "y-"))])
    assert_solved(solved(quarter), 1e-9, WaveLattice)
    half = pulse([(-0.8, 0.45), (-0.8, 0.8)], [lambda u, s: ps.Dirichlet(u, 0, on="x+")])
    free, image = half.exact[half.fields[0]], gaussian_pulse((0.9, 0.0), 0.004, 1.0, 1.0)
    mirrored = half.rewritten(equations=half.equations, conditions=half.conditions)
    solution = solved(mirrored)
    points = half.domain.sample_interior(N_POINTS, SEED)
    true = free(*points.T) - image(*points.T)
    assert np.linalg.norm(solution.evaluate(0, points, (0, 0, 0))[:, 0] - true) < 1e-8 * np.linalg.norm(true)


def refusal(problem):
    found = read_lattice(compile_problem(problem))
    assert isinstance(found, str)
    return found


def test_a_lattice_refuses_what_it_cannot_continue():
    inflow = with_data("wave")
    assert "no homogeneous condition" in refusal(inflow)
    assert "do not vanish at the face" in refusal(pulse([(-0.1, 0.6), (-0.6, 0.6)]))
    variable = on_interval(lambda u, x, t: u.diff(t, 2) - (1 + x) * u.diff(x, 2), lambda x, t: 0 * x + 1 + t, conditions=walls(ps.Neumann))
    assert "not constant" in refusal(variable)


def test_data_that_do_not_fit_the_walls_are_no_success_below_what_they_allow():
    """u = x (1 - x) has u_xx = -2 on the walls, where u = 0 for all times: the wave carries a jump of u_xx along."""
    x, t = ps.coordinates("x t")
    u = ps.field("u", x, t)

    def continued(s):
        inside = np.mod(s, 2)
        return np.where(inside < 1, inside * (1 - inside), (inside - 1) * (inside - 2))

    problem = ps.Problem(
        name="parabola", fields=[u], domain=ps.SpaceTime(ps.Interval({x: (0, 1)}), {t: (0, 1)}), equations=[u.diff(t, 2) - u.diff(x, 2)],
        conditions=[ps.Dirichlet(u, 0), ps.InitialCondition(u, x * (1 - x)), ps.InitialCondition(u.diff(t), 0)],
        exact={u: lambda x, t: (continued(x - t) + continued(x + t)) / 2},
    )  # fmt: skip
    solution = solved(problem, tolerance=1e-6)
    assert 1e-12 < error_of(solution) < HONEST * solution.estimated_error
    assert solution.estimated_error < 1e-6


@pytest.mark.parametrize("problem", [load("wave_two_modes"), load("wave_layered")], ids=["lattice", "media"])
def test_solutions_can_be_stored(problem, tmp_path):
    solution = solved(problem, tolerance=1e-3)
    solution.save(tmp_path / "run.h5")
    loaded = ps.load(tmp_path / "run.h5", problem=problem)
    for t in (0.1, 0.7):
        x = np.linspace(*problem.domain.bounds[problem.coordinates[0]], 30)
        assert np.array_equal(loaded(x=x, t=t), solution(x=x, t=t))


@pytest.mark.parametrize("settings", [(WaveLattice, {"cells": 3}), (WaveLattice, {"growth": 1}), (PlaneWaves, {"features": 0})], ids=str)
def test_settings_that_mean_nothing_are_refused(settings):
    record, given = settings
    with pytest.raises(ps.ProblemError, match="was given"):
        record(**given)


def euler(n=2, length=1.5, end=2):
    """u_tt = (1 + x)^2 u_xx: sqrt(1 + x) sin(b log(1 + x)) is a mode of the frequency sqrt(b^2 + 1/4)."""
    b = n * sp.pi / sp.log(1 + length)
    shape = lambda x: sp.sqrt(1 + x) * sp.sin(b * sp.log(1 + x))  # noqa: E731
    return on_interval(
        lambda u, x, t: u.diff(t, 2) - (1 + x) ** 2 * u.diff(x, 2), lambda x, t: shape(x) * sp.cos(sp.sqrt(b**2 + sp.Rational(1, 4)) * t),
        conditions=walls(ps.Dirichlet), length=length, end=end,
    )  # fmt: skip


@pytest.mark.parametrize("end", [2, 20])
def test_modes_of_a_medium_that_varies_serve_any_time(end):
    assert_solved(solved(euler(end=end), tolerance=1e-5), 1e-5, WaveModes)


def test_modes_agree_with_a_lattice_where_the_medium_does_not_vary():
    faces = [lambda u, s: ps.Dirichlet(u, 0, on="x-"), lambda u, s: ps.Neumann(u, 0, on=("y-", "y+"))]
    problem = pulse([(-0.5, 0.8), (-0.7, 0.5)], faces, variance=0.01)
    exact, modes = solved(problem, tolerance=1e-6), solved(problem, WaveModes(), tolerance=1e-3)
    assert isinstance(exact.plan.method, WaveLattice) and exact.estimated_error < 1e-5
    points = problem.domain.sample_interior(N_POINTS, SEED)
    true, found = (s.evaluate(0, points, (0, 0, 0)) for s in (exact, modes))
    assert np.linalg.norm(found - true) < HONEST * modes.estimated_error * np.linalg.norm(true)


@pytest.mark.parametrize("kinds", [(ODD, ODD), (EVEN, EVEN), (ODD, EVEN), (EVEN, ODD), (PERIODIC, PERIODIC)], ids=str)
def test_functions_of_an_axis_are_orthonormal_and_keep_the_conditions_of_their_faces(kinds):
    basis = axis_basis(-0.5, 1.5, kinds, 12)
    matrix = basis.values(basis.nodes)
    assert np.allclose(matrix @ matrix.T, np.eye(len(basis.nodes)))
    faces = np.array([-0.5, 1.5])
    for face, kind in zip(faces, kinds, strict=True):
        if kind != PERIODIC:
            assert np.allclose(basis.values(np.array([face]), 0 if kind == ODD else 1), 0, atol=1e-12 * basis.waves.max())
    if kinds[0] == PERIODIC:
        assert np.allclose(*[basis.values(faces[[i]]) for i in (0, 1)])


def test_modes_refuse_jumps_and_sources():
    assert "jump" in read_medium(compile_problem(load("wave_layered", in_divergence=False)))
    sourced = on_interval(lambda u, x, t: u.diff(t, 2) - (1 + x) * u.diff(x, 2) - 2, lambda x, t: t**2 + 0 * x, conditions=walls(ps.Neumann))
    assert "source" in read_medium(compile_problem(sourced))


def test_waves_of_a_source_leave_through_free_ends():
    """The grid solver absorbs them by layers, the plane waves by exact one-way conditions."""
    x, t = ps.coordinates("x t")
    u = ps.field("u", x, t)
    source = sp.exp(-(x**2) / sp.Float(0.02)) * sp.sin(4 * t)
    problem = ps.Problem(
        name="source", fields=[u], domain=ps.SpaceTime(ps.Interval({x: (-1, 1)}), {t: (0, 2)}),
        equations=[sp.Eq(u.diff(t, 2), u.diff(x, 2) + source)],
        conditions=[ps.InitialCondition(u, 0), ps.InitialCondition(u.diff(t), 0)],
    )  # fmt: skip
    solution = solved(problem, tolerance=1e-3)
    assert isinstance(solution.plan.method, PlaneWaves) and solution.status.success
    grid = find(problem).solve(problem)
    points = problem.domain.sample_interior(N_POINTS, SEED)
    true = grid(*points.T)
    found = solution.evaluate(0, points, (0, 0))[:, 0]
    assert np.linalg.norm(found - true) < (HONEST * solution.estimated_error + grid.error_estimate) * np.linalg.norm(true)
