"""Time windows: the march gives the solution of the whole, errors accumulate in the estimate, files and refusals."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.errors import CompileError, ProblemError
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.problems import load
from pinnsiren.training.method import RunSettings
from pinnsiren.training.time_windows import SolvedWindow, accumulated
from pinnsiren.training.window_gain import measure_gain
from pinnsiren.training.window_problem import WindowedModel

N_POINTS = 2000
SEED = 5
# An estimate may be smaller than the error by this factor at most.
HONEST = 3
SMALL = ps.LeastSquares(features=120, redundancy=2.5)


def wave(end=1, c=1):
    x, t = ps.coordinates("x t")
    u = ps.field("u", x, t)
    exact = sp.sin(sp.pi * x) * sp.cos(sp.pi * c * t) + sp.sin(sp.pi * x) * sp.sin(sp.pi * c * t)
    return ps.Problem(
        name="wave", fields=[u], domain=ps.SpaceTime(ps.Interval({x: (0, 1)}), {t: (0, end)}),
        equations=[sp.Eq(u.diff(t, 2), c**2 * u.diff(x, 2))],
        conditions=[ps.Dirichlet(u, 0), ps.InitialCondition(u, exact.subs(t, 0)), ps.InitialCondition(u.diff(t), exact.diff(t).subs(t, 0))],
        exact={u: exact},
    )  # fmt: skip


def growth(rate, end, nonlinear=False):
    """u_t = 0.1 u_xx + (rate + 0.1 pi^2) u [- u^2 + exact^2]: the lowest mode grows like exp(rate t)."""
    x, t = ps.coordinates("x t")
    u = ps.field("u", x, t)
    exact = sp.exp(rate * t) * sp.sin(sp.pi * x)
    extra = u**2 - exact**2 if nonlinear else 0
    return ps.Problem(
        name="growth", fields=[u], domain=ps.SpaceTime(ps.Interval({x: (0, 1)}), {t: (0, end)}),
        equations=[u.diff(t) - u.diff(x, 2) / 10 - (rate + sp.pi**2 / 10) * u + extra],
        conditions=[ps.Dirichlet(u, 0), ps.InitialCondition(u, exact.subs(t, 0))], exact={u: exact},
    )  # fmt: skip


def error_of(solution):
    problem = solution.problem
    points = problem.domain.sample_interior(N_POINTS, SEED)
    (exact,) = problem.exact.values()
    true = evaluate_on(exact, problem.coordinates, points)
    return np.linalg.norm(solution.evaluate(0, points, (0, 0))[:, 0] - true) / np.linalg.norm(true)


def march(problem, windows, tolerance=1e-4, **settings):
    return ps.solve(problem, method=ps.TimeWindows(SMALL, windows=windows), tolerance=tolerance, seconds=60, progress=False, device="cpu", **settings)


@pytest.mark.parametrize("problem", [growth(-1, 1), growth(1, 1, nonlinear=True)], ids=["first order", "nonlinear"])
def test_windows_give_the_solution_and_an_honest_estimate(problem):
    solution = march(problem, 2)
    assert solution.status.success
    assert error_of(solution) < min(1e-3, HONEST * solution.estimated_error)


def test_windows_of_second_order_give_the_solution_agree_where_they_meet_and_can_be_stored(tmp_path):
    solution = march(wave(), 2)
    assert solution.status.success
    assert error_of(solution) < min(1e-3, HONEST * solution.estimated_error)
    instant = solution.model.edges[1]
    x = np.linspace(0, 1, 50)
    before, after = (solution(x=x, t=instant + shift) for shift in (-1e-9, 1e-9))
    assert np.max(np.abs(before - after)) < 1e-3
    solution.save(tmp_path / "run.h5")
    loaded = ps.load(tmp_path / "run.h5")
    assert isinstance(loaded.model, WindowedModel)
    for t in (0.2, 0.8):
        assert np.array_equal(loaded(x=x, t=t), solution(x=x, t=t))


def test_a_window_amplifies_a_disturbance_as_the_equation_does():
    rate, end = 3, 0.5
    problem = growth(rate, end)
    solution = ps.solve(problem, tolerance=1e-4, progress=False, device="cpu")
    gain = measure_gain(solution.compiled, solution.model, seed=1)
    # The slowest disturbance is the first mode itself and grows fastest; over the window exp(rate t) has this root mean square.
    mean = np.sqrt((np.exp(2 * rate * end) - 1) / (2 * rate * end))
    assert gain.end == pytest.approx(np.exp(rate * end), rel=0.2)
    assert gain.mean == pytest.approx(mean, rel=0.2)


def test_a_wave_keeps_a_disturbance_as_it_is():
    solution = ps.solve(wave(), tolerance=1e-4, progress=False, device="cpu")
    gain = measure_gain(solution.compiled, solution.model, seed=1)
    assert 0.5 < gain.end < 2


def test_errors_accumulate():
    windows = [SolvedWindow(None, "success", 1.0, 5.0, 2.0, 3.0)] * 3
    assert accumulated(windows) == [1.0, 3.0, 1 + 2 * 4]


def test_a_window_that_fails_is_halved():
    method = ps.TimeWindows(ps.LeastSquares(features=60, maximum_features=100, redundancy=1.3), maximum_windows=8)
    solution = ps.solve(wave(end=2, c=2), method=method, tolerance=1e-3, seconds=60, progress=False, device="cpu")
    assert solution.history["windows"][-1] > solution.history["windows"][0]


def test_a_march_that_runs_out_of_time_says_how_far_it_came():
    compiled = compile_problem(wave())
    run = ps.TimeWindows(SMALL, windows=4).start(compiled, RunSettings(0, 1e-2, False, 1e9, "cpu", "float64", None))
    while len(run.solved) < 2:
        run.step()
    code, text = run.stop_reason(2e9)
    assert code == "out_of_time" and "2 of 4 windows" in text and "0.5" in text
    assert run.error_estimate() == np.inf
    values = run.model().evaluate(0, np.array([[0.5, 0.4], [0.5, 0.6]]), (0, 0))[:, 0]
    assert np.isfinite(values[0]) and np.isnan(values[1])


def test_a_march_continues_from_a_state_as_if_it_had_not_been_stopped():
    compiled = compile_problem(wave())
    settings = RunSettings(0, 1e-3, False, 60.0, "cpu", "float64", None)
    method = ps.TimeWindows(SMALL, windows=2)
    whole, first, second = (method.start(compiled, settings) for _ in range(3))
    for _ in range(3):
        whole.step()
        first.step()
    second.restore(first.state())
    while not whole.is_over:
        whole.step()
        second.step()
    points = compiled.original.domain.sample_interior(50, SEED)
    assert np.array_equal(whole.model().evaluate(0, points, (0, 0)), second.model().evaluate(0, points, (0, 0)))
    assert whole.error_estimate() == second.error_estimate()


def test_observations_go_to_the_window_they_were_made_in():
    problem = wave()
    (u,) = problem.fields
    points = np.array([[0.3, 0.1], [0.3, 0.5], [0.3, 0.9]])
    values = evaluate_on(problem.exact[u], problem.coordinates, points)
    observed = problem.rewritten(equations=problem.equations, conditions=[*problem.conditions, ps.Observations(u, points, values)])
    run = ps.TimeWindows(SMALL, windows=2).start(compile_problem(observed), RunSettings(0, 1e-3, False, 60.0, "cpu", "float64", None))
    (there,) = [residual for residual in run.window.ir.residuals if residual.kind == "observation"]
    assert there.region.points.tolist() == points[:2].tolist()


def test_a_problem_without_time_is_refused():
    with pytest.raises(CompileError, match="the domain has no time"):
        ps.plan(load("poisson_box"), method=ps.TimeWindows())


@pytest.mark.parametrize("settings", [{"windows": 0}, {"windows": 1.5}, {"maximum_windows": 0}, {"method": ps.Adam()}], ids=str)
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(ProblemError, match="TimeWindows was given"):
        ps.TimeWindows(**settings)


def test_long_waves_are_cut_into_windows_without_being_asked():
    """A speed that changes in time has no modes, lattice or march; four windows and an estimate that covers what they accumulate."""
    x, t = ps.coordinates("x t")
    u = ps.field("u", x, t)
    exact = sp.sin(sp.pi * x) * sp.cos(3 * t) + sp.sin(2 * sp.pi * x) * sp.sin(5 * t) / 4
    bare = ps.Problem(
        name="tuned", fields=[u], domain=ps.SpaceTime(ps.Interval({x: (0, 1)}), {t: (0, 5)}),
        equations=[sp.Eq(u.diff(t, 2), (1 + sp.sin(2 * t) / 3) * u.diff(x, 2))],
        conditions=[ps.Dirichlet(u, 0), ps.InitialCondition(u, 0), ps.InitialCondition(u.diff(t), 0)],
    )  # fmt: skip
    problem = ps.manufactured(bare, {u: exact})
    plan = ps.plan(problem)
    assert isinstance(plan.method, ps.TimeWindows)
    assert "One window would need" in dict(plan.reasons)["TimeWindows"]
    solution = ps.solve(problem, plan=plan, seconds=300, tolerance=1e-3, progress=False, device="cpu")
    points = problem.domain.sample_interior(400, 3)
    true = np.real(evaluate_on(exact, (x, t), points))
    error = np.linalg.norm(solution.evaluate(0, points, (0, 0))[:, 0] - true) / np.linalg.norm(true)
    assert solution.status.success, solution.status
    assert error < min(1e-3, 10 * solution.estimated_error)
