"""The march of waves through time: what it solves, that it knows how wrong it is, and what it refuses."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.training.wave_march import WaveMarch
from pinnsiren.training.wave_march_model import MarchModel, nodes, on_nodes, panel_coefficients

N_POINTS = 400
SEED = 5
HONEST = 10
X, Y, T = ps.coordinates("x y t")
LINE, PLANE = ps.field("u", X, T), ps.field("u", X, Y, T)
DAMPED = (1 + sp.sin(X) / 3) * LINE.diff(X, 2) - X**2 * LINE.diff(T) / 5 - 2 * LINE
# Speeds inside a divergence, a source that changes in time, Robin, Neumann and moving Dirichlet data: nothing here is a mode or a plane wave.
FLUX = ps.div((1 + X / 2) * ps.grad(LINE)) - LINE.diff(T) / 10


def of_expression(right, exact, conditions, *, end, name="march", field=LINE, space=None):
    """The problem of u_tt = right + source whose solution is an expression."""
    space = space or ps.Interval({X: (-0.5, 1)})
    bare = ps.Problem(
        name=name, fields=[field], domain=ps.SpaceTime(space, {T: (0, end)}), equations=[sp.Eq(field.diff(T, 2), right)],
        conditions=[ps.InitialCondition(field, 0), ps.InitialCondition(field.diff(T), 0), *conditions],
    )  # fmt: skip
    return ps.manufactured(bare, {field: exact})


def solved(problem, **settings):
    return ps.solve(problem, progress=False, device="cpu", **{"seconds": 300, "tolerance": 1e-4, **settings})


def assert_honest(solution, bar):
    problem = solution.problem
    points = problem.domain.sample_interior(N_POINTS, SEED)
    (exact,) = problem.exact.values()
    true = np.real(evaluate_on(exact, problem.coordinates, points))
    error = np.linalg.norm(solution.evaluate(0, points, (0,) * points.shape[1])[:, 0] - true) / np.linalg.norm(true)
    assert solution.status.success, solution.status
    assert error < min(bar, HONEST * solution.estimated_error)


PROBLEMS = {
    "damping that varies, walls": lambda: of_expression(DAMPED, sp.sin(4 * X - 5 * T) + X * sp.cos(T), [ps.Dirichlet(LINE, 0)], end=2),
    "flux, Robin and Neumann": lambda: of_expression(
        FLUX, sp.cos(3 * X + 4 * T), [ps.Robin(LINE, 1, 2, 0, on="x-"), ps.Neumann(LINE, 0, on="x+")], end=2
    ),
    "flux, a moving wall and an outlet": lambda: of_expression(
        FLUX, sp.exp(-X) * sp.sin(6 * T + X),
        [ps.Dirichlet(LINE, 0, on="x-"), ps.Constraint(LINE.diff(T) + LINE.diff(X) + LINE / 2, on="x+")], end=2,
    ),
    "plane with different speeds along its axes": lambda: of_expression(
        4 * PLANE.diff(X, 2) + (1 + X * Y / 4) * PLANE.diff(Y, 2) - PLANE.diff(T) * X / 3, sp.cos(2 * X - Y + 3 * T) + X,
        [ps.Dirichlet(PLANE, 0, on=("x-", "y+")), ps.Neumann(PLANE, 0, on=("x+", "y-"))], end=1, field=PLANE,
        space=ps.Box({X: (0, 1), Y: (-0.5, 0.5)}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROBLEMS)
def test_waves_without_modes(name):
    solution = solved(PROBLEMS[name]())
    assert isinstance(solution.plan.method, WaveMarch)
    assert_honest(solution, 1e-5)


def test_long_times_cost_a_march_no_resolution():
    """Eight periods of a string in a medium that varies, with damping that does: features of space and time at once fail at five."""
    exact = sp.sin(sp.pi * X) * sp.cos(2 * sp.pi * T) + sp.sin(3 * sp.pi * X) * sp.sin(7 * T) / 3
    right = (2 + sp.cos(2 * X)) * LINE.diff(X, 2) - X * (1 - X) * LINE.diff(T) / 2
    solution = solved(of_expression(right, exact, [ps.Dirichlet(LINE, 0)], end=8, space=ps.Interval({X: (0, 1)})))
    assert isinstance(solution.plan.method, WaveMarch)
    assert_honest(solution, 1e-5)


def test_differences_on_the_stretched_nodes_are_spectral():
    errors = []
    for n in (24, 48):
        x = 2 + 1.5 * (nodes(n) + 1)
        errors.append(np.max(np.abs(on_nodes(n, 3.0) @ np.sin(4 * x) - 4 * np.cos(4 * x))))
    assert errors[0] < 1e-5
    assert errors[1] < 1e-8


def test_a_model_differentiates_between_its_nodes():
    panel, x = panel_coefficients(20), 1 + nodes(40)
    edges, instants = np.array([0.0, 0.7, 1.4]), 0.5 * (1 - np.cos(np.pi * np.arange(20) / 19)) * 0.7
    values = np.stack([panel @ np.cos(3 * x[None, :] - 2 * (start + instants)[:, None]) for start in edges[:-1]])
    model = MarchModel(np.array([[0.0, 2.0]]), edges, values)
    points = np.random.default_rng(0).uniform(0, 1.4, (50, 2))
    phase = 3 * points[:, 0] - 2 * points[:, 1]
    for orders, wanted in (((0, 0), np.cos(phase)), ((2, 0), -9 * np.cos(phase)), ((1, 1), 6 * np.cos(phase)), ((0, 2), -4 * np.cos(phase))):
        assert np.max(np.abs(model.evaluate(0, points, orders)[:, 0] - wanted)) < 1e-6


def test_a_solution_can_be_stored_and_a_run_resumed(tmp_path):
    problem = PROBLEMS["flux, Robin and Neumann"]()
    solution = solved(problem, tolerance=1e-3)
    solution.save(tmp_path / "run.h5")
    loaded = ps.load(tmp_path / "run.h5")
    points = problem.domain.sample_interior(20, SEED)
    assert np.array_equal(loaded.evaluate(0, points, (0, 1)), solution.evaluate(0, points, (0, 1)))
    assert isinstance(loaded.plan.method, WaveMarch)


def test_refusals_name_the_reason():
    line = ps.SpaceTime(ps.Interval({X: (0, 1)}), {T: (0, 1)})
    start = [ps.InitialCondition(LINE, 0), ps.InitialCondition(LINE.diff(T), 1), ps.Dirichlet(LINE, 0)]
    jump = sp.Piecewise((1, X < 0.5), (4, True))
    for right, conditions, reason in (
        (jump * LINE.diff(X, 2), start, "jump or change in time"),
        ((2 + sp.sin(T)) * LINE.diff(X, 2), start, "jump or change in time"),
        (LINE.diff(X, 2) + LINE**3, start, "no part of a linear wave equation"),
        (LINE.diff(X, 2) + LINE.diff(X, T), start, "mixed derivatives"),
        (LINE.diff(X, 2), start[:2], "2 faces have no condition"),
    ):
        problem = ps.Problem(name="p", fields=[LINE], domain=line, equations=[sp.Eq(LINE.diff(T, 2), right)], conditions=conditions)
        judgement = WaveMarch().suits(compile_problem(problem))
        assert not judgement.ok
        assert reason in judgement.reason


@pytest.mark.parametrize("settings", [{"nodes": 2}, {"nodes": 2.5}, {"growth": 1.0}], ids=str)
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(ps.ProblemError, match="WaveMarch was given"):
        WaveMarch(**settings)
