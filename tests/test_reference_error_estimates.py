"""Error estimates of the grid solvers where they are hard to make: nothing may be claimed that the grids do not show."""

import numpy as np
import pytest
import sympy as sp

from pinnsiren.language import (
    Box,
    Dirichlet,
    InitialCondition,
    Interval,
    Neumann,
    Periodic,
    Problem,
    SpaceTime,
    coordinates,
    div,
    field,
    grad,
    laplacian,
    manufactured,
)
from pinnsiren.reference_solvers import find, linear_box
from pinnsiren.reference_solvers.fast_poisson import FastPoissonSolver
from pinnsiren.reference_solvers.linear_box import LinearBoxSolver
from pinnsiren.reference_solvers.multigrid import IterationError
from pinnsiren.reference_solvers.observed_order import estimate_by_observed_order

# An estimate is honest when the true error is at most three times as large.
HONESTY = 3.0
N_POINTS = 4000
X, Y, Z, T = coordinates("x y z t")
U, V, W, P = field("u", X, Y), field("v", X, Y, Z), field("w", X, T), field("p", X)
WAVY = sp.sin(3 * X + 1) * sp.exp(Y) + sp.cos(2 * X * Y)


def true_error(solution, problem, exact, mean_free=False):
    points = problem.domain.sample_interior(N_POINTS, 5).T
    found = solution(*points)
    truth = exact(*points) if not isinstance(exact, sp.Basic) else sp.lambdify(tuple(problem.domain.coordinates), exact, "numpy")(*points)
    truth = np.broadcast_to(truth, found.shape)
    if mean_free:
        truth = truth - truth.mean() + found.mean()
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


def evolution(equation, conditions, exact, end):
    domain = SpaceTime(Interval({X: (0, 1)}), {T: (0, end)})
    return manufactured(Problem(name="evolution", fields=[W], domain=domain, equations=[equation], conditions=conditions), {W: exact})


ROOMS = {
    "few cells across a long box": (div((1 + X**2 / 50) * grad(U)), Box({X: (0, 20), Y: (-0.5, 0.5)}), U, sp.sin(X) * sp.exp(Y)),
    "solved iteratively": (div((1 + X * Y) * grad(V)) - Z * V, Box({X: (0, 1), Y: (0, 1), Z: (0, 0.5)}), V, sp.sin(2 * X) * sp.exp(Y + Z)),
    "a layer of transport": (-P.diff(X, 2) / 200 + P.diff(X), Interval({X: (0, 1)}), P, X - sp.exp(200 * (X - 1))),
}


@pytest.mark.parametrize("name", ROOMS)
def test_the_estimate_is_honest_between_the_nodes(name):
    operator, domain, unknown, exact = ROOMS[name]
    problem = manufactured(
        Problem(name="room", fields=[unknown], domain=domain, equations=[operator], conditions=[Dirichlet(unknown, 0)]), {unknown: exact}
    )
    solution = LinearBoxSolver().solve(problem)
    assert true_error(solution, problem, exact) < HONESTY * solution.error_estimate


def test_the_mean_free_solution_is_compared_without_its_constant():
    declared = Problem(name="free", fields=[U], domain=Box({X: (0, 1), Y: (0, 1)}), equations=[div((1 + X) * grad(U))], conditions=[Neumann(U, 0)])
    problem = manufactured(declared, {U: WAVY})
    solution = LinearBoxSolver().solve(problem)
    assert solution.error_estimate < 1e-7
    assert true_error(solution, problem, WAVY, mean_free=True) < HONESTY * solution.error_estimate


def test_rounding_beside_a_nearly_free_constant_is_counted():
    declared = Problem(
        name="nearly free", fields=[U], domain=Box({X: (0, 1), Y: (0, 1)}), equations=[laplacian(U) - 1e-6 * U], conditions=[Neumann(U, 0)]
    )
    problem = manufactured(declared, {U: WAVY})
    solution = FastPoissonSolver().solve(problem)
    assert true_error(solution, problem, WAVY) < HONESTY * solution.error_estimate < 1e-6


def test_refinement_goes_on_beside_a_resonance():
    square = 2 * np.pi**2 + 1e-3
    declared = Problem(
        name="resonant", fields=[U], domain=Box({X: (0, 1), Y: (0, 1)}), equations=[laplacian(U) + square * U], conditions=[Dirichlet(U, 0)]
    )
    problem = manufactured(declared, {U: WAVY})
    solution = FastPoissonSolver().solve(problem)
    assert true_error(solution, problem, WAVY) < HONESTY * solution.error_estimate < 1e-5


def test_grids_that_do_not_approach_each_other_bound_nothing():
    assert estimate_by_observed_order([0.99, 0.9], 1.4, 6, False) == np.inf
    assert estimate_by_observed_order([0.99], 1.4, 6, True) == np.inf
    assert estimate_by_observed_order([0.101, 0.1], 1.4, 6, False) == np.inf
    assert estimate_by_observed_order([0.4, 0.1], 1.4, 6, False) < 0.2


def test_modes_that_outgrow_the_solution_leave_no_estimate():
    exact = sp.sin(3 * X + 1) * sp.exp(-T)
    data = [Dirichlet(W, 0), InitialCondition(W, 0), InitialCondition(W.diff(T), 0)]
    problem = evolution(W.diff(T, 2) - W.diff(X, 2) - 4000 * W + W.diff(T), data, exact, 1.5)
    assert find(problem).solve(problem).error_estimate == np.inf


@pytest.mark.parametrize("layer", [(0.4137, 0.0007, 1e-3), (0.61, 0.0011, 2e-4)])
def test_a_hidden_layer_that_hardly_conducts_is_noticed(layer):
    start, width, conductivity = layer
    a = sp.Piecewise((conductivity, (start < X) & (start + width > X)), (1, True))
    walls = [Dirichlet(U, 0, on="x-"), Dirichlet(U, 1, on="x+"), Neumann(U, 0, on=("y-", "y+"))]
    problem = Problem(name="thin", fields=[U], domain=Box({X: (0, 1), Y: (0, 1)}), equations=[div(a * grad(U))], conditions=walls)
    solution = LinearBoxSolver(most_unknowns=20_000).solve(problem)
    resistance = 1 - width + width / conductivity

    def exact(x, y):
        return np.interp(x, [0, start, start + width, 1], np.array([0, start, start + width / conductivity, resistance]) / resistance)

    assert true_error(solution, problem, exact) < HONESTY * solution.error_estimate


def test_terms_that_cancel_hide_nothing():
    growing = sp.sin(sp.pi * X) * sp.exp((12 - sp.pi**2) * T)
    problem = evolution(W.diff(T) - W.diff(X, 2) - 12 * W, [Dirichlet(W, 0), InitialCondition(W, 0)], growing, 1)
    solution = find(problem).solve(problem)
    assert true_error(solution, problem, growing) < HONESTY * solution.error_estimate < 1e-3


@pytest.mark.parametrize("end", [50, 200])
def test_long_steps_of_diffusion_lose_nothing_between_them(end):
    exact = sp.sin(3 * X + 1) * sp.cos(T / 3)
    problem = evolution(W.diff(T) - W.diff(X, 2), [Dirichlet(W, 0), InitialCondition(W, 0)], exact, end)
    solution = find(problem).solve(problem)
    assert true_error(solution, problem, exact) < HONESTY * solution.error_estimate < 1e-4


def test_periodic_waves_go_round():
    exact = sp.sin(2 * sp.pi * (X - 2 * T))
    data = [Periodic(W, X), InitialCondition(W, 0), InitialCondition(W.diff(T), 0)]
    problem = evolution(W.diff(T, 2) - 4 * W.diff(X, 2), data, exact, 3)
    solution = find(problem).solve(problem)
    assert true_error(solution, problem, exact) < HONESTY * solution.error_estimate < 1e-3


def test_the_last_good_grid_is_kept_where_multigrid_gives_up(monkeypatch):
    def give_up(*_arguments):
        raise IterationError("no convergence")

    monkeypatch.setattr(linear_box, "MultigridSolver", give_up)
    monkeypatch.setattr(linear_box, "multigrid_is_available", lambda: True)
    monkeypatch.setattr(linear_box, "ITERATIVE_ABOVE", {2: 6_000})
    walls = [Dirichlet(U, 0)]
    operator, domain = -laplacian(U) / 90 + (1 + Y) * U.diff(X), Box({X: (0, 1), Y: (0, 1)})
    declared = Problem(name="blown", fields=[U], domain=domain, equations=[operator], conditions=walls)
    problem = manufactured(declared, {U: (X - sp.exp(90 * (X - 1))) * sp.sin(sp.pi * Y)})
    solution = LinearBoxSolver(tolerance=1e-9).solve(problem)
    assert solution.n_unknowns <= 6_000
    assert np.isfinite(solution.error_estimate)
    assert any("multigrid does not converge" in note for note in solution.notes)
