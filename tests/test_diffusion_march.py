"""The march of diffusion through time: what it solves, that it knows how wrong it is, and what it refuses."""

import numpy as np
import pytest
import sympy as sp
from scipy.linalg import expm

import pinnsiren as ps
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.problems import load
from pinnsiren.training.diffusion_march import DiffusionMarch, read_diffusion
from pinnsiren.training.diffusion_panels import COPIES, STAGES, Panels, radau_rule
from pinnsiren.training.method import RunSettings

N_POINTS, SEED, HONEST = 400, 5, 10
SIZES = 3  # 19, 26 and 34 nodes along an axis
X, Y, T = ps.coordinates("x y t")
LINE, PLANE = ps.field("u", X, T), ps.field("u", X, Y, T)
SQUARE = ps.Box({X: (0, 1), Y: (-0.5, 0.5)})
VARYING = (1 + X * Y / 3) * ps.laplacian(PLANE) / 5 + sp.sin(X) * PLANE.diff(Y) - 2 * Y * PLANE
FLUX = ps.div(sp.exp(X - Y) / 10 * ps.grad(PLANE))
WAVY = sp.cos(3 * X - 2 * Y + 4 * T) + X * sp.exp(-T)


def of_expression(right, exact, conditions, *, end=1, field=PLANE, space=SQUARE):
    """The problem of u_t = right + source whose solution is an expression."""
    bare = ps.Problem(
        name="diffusion", fields=[field], domain=ps.SpaceTime(space, {T: (0, end)}), equations=[sp.Eq(field.diff(T), right)],
        conditions=[ps.InitialCondition(field, 0), *conditions],
    )  # fmt: skip
    return ps.manufactured(bare, {field: exact})


def of_data(*, start=0, source=0, wall=0, end=0.2):
    """The heat equation on a square with data that may be rough."""
    return ps.Problem(
        name="heat", fields=[PLANE], domain=ps.SpaceTime(ps.Box({X: (0, 1), Y: (0, 1)}), {T: (0, end)}),
        equations=[sp.Eq(PLANE.diff(T), ps.laplacian(PLANE) + source)],
        conditions=[ps.Dirichlet(PLANE, wall), ps.InitialCondition(PLANE, start)],
    )  # fmt: skip


def solved(problem, **settings):
    return ps.solve(problem, progress=False, device="cpu", **{"seconds": 300, "tolerance": 1e-5, **settings})


def true_error(solution):
    problem = solution.problem
    points = problem.domain.sample_interior(N_POINTS, SEED)
    (exact,) = problem.exact.values()
    true = np.real(evaluate_on(exact, problem.coordinates, points))
    return np.linalg.norm(solution.evaluate(0, points, (0,) * points.shape[1])[:, 0] - true) / np.linalg.norm(true)


PROBLEMS = {
    "moving walls, transport and growth": lambda: of_expression(VARYING, WAVY, [ps.Dirichlet(PLANE, 0)]),
    "flux, Robin and Neumann": lambda: of_expression(
        FLUX, WAVY, [ps.Robin(PLANE, 1, 2, 0, on=("x-", "y+")), ps.Neumann(PLANE, 0, on="x+"), ps.Dirichlet(PLANE, 0, on="y-")]
    ),
    "long, with equal walls": lambda: of_expression(VARYING, WAVY, [ps.Neumann(PLANE, 0)], end=6),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_marches_and_is_honest(name):
    solution = solved(PROBLEMS[name]())
    assert isinstance(solution.plan.method, DiffusionMarch)
    assert solution.status.success, solution.status
    assert true_error(solution) < min(1e-5, HONEST * solution.estimated_error)


def test_an_interval_by_request():
    exact = sp.sin(3 * X + T) + X**2
    problem = of_expression((2 + sp.cos(X)) * LINE.diff(X, 2), exact, [ps.Dirichlet(LINE, 0)], field=LINE, space=ps.Interval({X: (-1, 2)}))
    solution = solved(problem, method=DiffusionMarch(), tolerance=1e-8)
    assert solution.status.success
    assert true_error(solution) < min(1e-8, HONEST * solution.estimated_error)


def test_panels_are_exact_for_stiff_systems():
    """Rates from 1 to 1e6 and one rotation, against the exponential of the matrix."""
    chance = np.random.default_rng(SEED)
    turned = np.linalg.qr(chance.normal(size=(5, 5)))[0]
    matrix = np.diag([-1.0, -50.0, -1e6, -3.0, -3.0])
    matrix[3, 4], matrix[4, 3] = 7.0, -7.0
    matrix = turned @ matrix @ turned.T
    start = chance.normal(size=5)
    found = Panels(matrix, lambda time: np.zeros(5), (0.0, 2.0), 1e-11, 2).march(start)
    assert found is not None
    edges, values = found
    assert len(edges) < 200
    middle = len(edges) // 2
    for at, value in ((2.0, values[-1, -1]), (edges[middle], values[middle, 0])):
        np.testing.assert_allclose(value, expm(at * matrix) @ start, atol=1e-9)


def test_panels_are_bounded_by_memory_and_say_how_far_they_came():
    def march(most_bytes):
        return Panels(-np.eye(5), lambda time: np.zeros(5), (0.0, 2.0), 1e-11, 4, most_bytes).march(np.ones(5))

    needed = COPIES * 16 * (STAGES + 1) * 5 * 8
    found = march(needed)
    assert found is not None and len(found[0]) == 17
    with pytest.raises(MemoryError, match=r"16 panels of time with 5 values at 9 instants each, up to 2 of 2, fill 0 MiB: declare a shorter time"):
        march(needed - 1)


def test_a_panel_has_order_two_s_minus_one():
    """At its end, for u' = -u: halving the length divides the error of one panel by 2^(2 s)."""
    rule = radau_rule(3)

    def end(length):
        slopes = rule.inverse @ (-rule.start / length)
        return float(np.real(rule.modes @ (slopes / (rule.rates / length + 1)))[-1])

    errors = [abs(end(length) - np.exp(-length)) for length in (0.2, 0.1)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2 * 3, abs=0.3)
    assert len(radau_rule().instants) == STAGES + 1


def test_a_start_that_contradicts_the_walls_is_never_called_better_than_it_is():
    """Heat 1 between walls at 0, a product of two series: at every size up to one whose factors cost seconds."""
    with pytest.warns(ps.ProblemWarning, match="contradict each other"):
        problem = of_data(start=1)
    run = DiffusionMarch().start(compile_problem(problem), RunSettings(0, 1e-3, False, 300, "cpu", "float64", None))
    run.step()
    points = problem.domain.sample_interior(N_POINTS, SEED)
    modes = np.arange(1, 400, 2)
    lines = [
        np.sum(4 / np.pi / modes * np.sin(np.pi * modes * x[:, None]) * np.exp(-((np.pi * modes) ** 2) * points[:, 2:]), axis=1)
        for x in points.T[:2]
    ]
    true = lines[0] * lines[1]
    for _ in range(SIZES):
        run.step()
        error = np.linalg.norm(run.model().evaluate(0, points, (0, 0, 0))[:, 0] - true) / np.linalg.norm(true)
        assert error < HONEST * run.error_estimate()


def test_a_pulse_between_the_instants_is_seen():
    pulse = sp.exp(-(((T - sp.Float(0.137)) / sp.Float(4e-4)) ** 2)) * 1000 * sp.sin(sp.pi * X) * sp.sin(sp.pi * Y)
    solution = solved(of_data(source=pulse + sp.sin(sp.pi * X) * sp.sin(2 * sp.pi * Y)), tolerance=1e-3)
    (before,), (after,) = (solution["u"](x=[0.5], y=[0.3], t=[at]) for at in (0.13, 0.14))
    kick = 1000 * 4e-4 * np.sqrt(np.pi) * np.sin(np.pi * 0.3)
    assert not solution.status.success or after - before == pytest.approx(kick, rel=0.1)


def test_heat_with_variable_conductivity_in_seconds():
    solution = solved(load("heat_variable_conductivity"), tolerance=1e-4)
    assert isinstance(solution.plan.method, DiffusionMarch)
    assert solution.status.success and solution.seconds < 60


def test_a_resumed_run_repeats_every_digit(tmp_path):
    problem, path = PROBLEMS["flux, Robin and Neumann"](), tmp_path / "run.h5"
    solution = solved(problem, tolerance=1e-3)
    solution.save(path)
    points = problem.domain.sample_interior(N_POINTS, SEED)
    np.testing.assert_array_equal(ps.load(path).evaluate(0, points, (0, 1, 1)), solution.evaluate(0, points, (0, 1, 1)))


REFUSED = {
    "change in time": sp.cos(T) * ps.laplacian(PLANE) + 2 * ps.laplacian(PLANE),
    "does not diffuse": PLANE.diff(X, 2) - PLANE.diff(Y),
    "no part of a linear": ps.laplacian(PLANE) + PLANE**2,
    "jump": ps.laplacian(PLANE) * sp.Piecewise((1, X > 0.5), (2, True)),
    "mixed": ps.laplacian(PLANE) + PLANE.diff(X, Y) / 2,
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refuses_in_words(reason):
    problem = ps.Problem(
        name="refused", fields=[PLANE], domain=ps.SpaceTime(SQUARE, {T: (0, 1)}), equations=[sp.Eq(PLANE.diff(T), REFUSED[reason])],
        conditions=[ps.Dirichlet(PLANE, 0), ps.InitialCondition(PLANE, 0)],
    )  # fmt: skip
    answer = read_diffusion(compile_problem(problem))
    assert isinstance(answer, str) and reason in answer


@pytest.mark.parametrize("settings", [{"nodes": 3}, {"nodes": True}, {"growth": 1.0}])
def test_settings_that_mean_nothing(settings):
    with pytest.raises(ps.ProblemError, match="DiffusionMarch was given"):
        DiffusionMarch(**settings)
