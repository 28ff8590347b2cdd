"""What observations do not determine: named with its place, and never surer than ignorance."""

import warnings

import numpy as np
import pytest
import sympy as sp
import torch

import pinnsiren as ps

X, Y = ps.coordinates("x y")
LINE = ps.Interval({X: (0, 1)})
U = ps.field("u", X)
A = ps.unknown_field("a", X, initial=1, bounds=(0.1, 10))
METHOD = ps.JointLeastSquares(features=60, redundancy=2.5, maximum_features=95)  # two sizes
HONEST = 10.0
BUMP = 1 + X / 2 + 2 * sp.exp(-60 * (X - 0.8) ** 2)  # where nothing is seen, smoothness guesses wrong
EVERYWHERE = np.linspace(0.02, 0.98, 40)
TWICE = 0.8  # share of points whose error lies within two standard errors; normal errors give 0.95, those of a few smooth functions vary


def observed(u, unknowns, equation, points, noise, seed=0, more=()):
    """Manufactured data with normal noise, declared."""
    data = ps.Observations(U, np.asarray(points)[:, None], np.zeros(len(points)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ps.ProblemWarning)
        made = ps.manufactured(
            ps.Problem(name="made", fields=[U], domain=LINE, equations=[equation], conditions=[ps.Dirichlet(U, 0), data, *more]), {U: u, **unknowns}
        )
        conditions = []
        for condition in made.conditions:
            if isinstance(condition, ps.Observations):
                values = np.asarray(condition.values)
                size = noise * np.sqrt(np.mean(values**2))
                values = values + size * np.random.default_rng(seed).normal(size=len(values))
                condition = ps.Observations(condition.expression, condition.points, values, noise=noise or None)
            conditions.append(condition)
        return ps.Problem(name="made", fields=[U], domain=LINE, equations=made.equations, conditions=conditions, exact=made.exact)


def flux(a=A):
    return ps.div(a * ps.grad(U))


def plateau(end, noise=0.01):
    """The gradient, and with it all that the conductivity does, vanishes beyond an end."""
    u = sp.Piecewise((8 * (end - X) ** 4, X < end), (0, True))
    return observed(u, {A: BUMP}, flux(), EVERYWHERE, noise)


def half(end, noise=0.01):
    """Only the left part is observed."""
    return observed(sp.sin(sp.pi * X) + X, {A: BUMP}, flux(), np.linspace(0.02, end, 30), noise)


def solve(problem):
    torch.set_num_threads(1)
    return ps.solve(problem, method=METHOD, seconds=300, progress=False, device="cpu")


def true_error(solution, name="a"):
    points = np.linspace(0.01, 0.99, 197)
    ((truth,),) = [[e for f, e in solution.problem.exact.items() if str(f.func) == name]]
    exact = sp.lambdify(X, truth, "numpy")(points)
    return points, solution[name](x=points) - exact, np.linalg.norm(exact)


CASES = {
    "no gradient beyond 0.6": (lambda: plateau(0.6), 0.9),
    "no gradient beyond 0.45": (lambda: plateau(0.45), 0.9),
    "nothing observed beyond 0.45": (lambda: half(0.45), 0.9),
    "nothing observed beyond 0.45, no noise": (lambda: half(0.45, 0.0), 0.9),
}


@pytest.mark.parametrize(("declare", "open_at"), CASES.values(), ids=CASES)
def test_a_place_that_the_data_do_not_reach_is_named_and_its_error_covered(declare, open_at):
    solution = solve(declare())
    points, error, size = true_error(solution)
    assert not solution.status.success
    assert np.linalg.norm(error) / size < HONEST * solution.estimated_error
    assert "The observations do not determine `a` in about" in solution.status.text and "(x from 0." in solution.status.text
    spread = solution.standard_errors["a"](x=points)
    beyond = points > open_at
    assert np.mean(np.abs(error[beyond]) < 2 * spread[beyond]) > TWICE
    assert np.max(spread[beyond]) > 0.3 * abs(float(solution["a"](x=0.95)))


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_what_the_data_determine_is_not_called_open(noise):
    solution = solve(observed(sp.sin(sp.pi * X) + X, {A: 1 + X / 2 + sp.sin(3 * X) / 3}, flux(), EVERYWHERE, noise))
    assert solution.undetermined == () and "do not determine" not in solution.status.text
    assert solution.status.success == (noise == 0)


def test_a_field_that_can_stand_in_for_a_scalar_leaves_both_open():
    c = ps.unknown("c", 1, (0.1, 10))
    solution = solve(observed(sp.sin(sp.pi * X) + X, {A: 1 + X / 2, c: 3}, flux(c * A), EVERYWHERE, 0.0))
    assert not solution.status.success
    assert "`a` anywhere" in solution.status.text and "`c`, for which a coefficient field can stand in" in solution.status.text
    assert abs(solution["c"] - 3) < 2 * solution.standard_errors["c"]
    assert np.linalg.norm(true_error(solution)[1]) / true_error(solution)[2] < HONEST * solution.estimated_error


def test_two_observations_do_not_make_a_field():
    solution = solve(observed(sp.sin(sp.pi * X) + X, {A: 1 + X / 2 + sp.sin(3 * X) / 3}, flux(), [0.3, 0.6], 0.0))
    assert "do not determine `a`" in solution.status.text and not solution.status.success
    _, error, size = true_error(solution)
    assert np.linalg.norm(error) / size < HONEST * solution.estimated_error


def test_values_declared_exact_make_a_misfit_an_error():
    points = np.linspace(0.1, 0.9, 9)[:, None]
    rough = 0.05 * (-1.0) ** np.arange(9)

    def declared(noise):
        k = ps.unknown("k", 1, (0.5, 30))
        data = ps.Observations(U, points, np.sin(3 * points[:, 0]) + rough, noise=noise)
        return ps.Problem(name="p", fields=[U], domain=LINE, equations=[U.diff(X, 2) + k * U], conditions=[ps.Dirichlet(U, sp.sin(3 * X)), data])

    exact, unknown = solve(declared(0)), solve(declared(None))
    assert exact.estimated_error >= exact.history["misfit"][-1] > 0.01
    assert unknown.estimated_error < exact.estimated_error


def test_observations_at_other_points_are_other_observations():
    first, second = (ps.Observations(U, [[at]], [1.0]) for at in (0.2, 0.3))
    assert first != second and first == ps.Observations(U, [[0.2]], [1.0]) and first != ps.Observations(U, [[0.2]], [2.0])
    assert hash(first) == hash(ps.Observations(U, [[0.2]], [1.0]))

    def declared(data):
        return ps.Problem(name="p", fields=[U], domain=LINE, equations=[U.diff(X, 2)], conditions=[ps.Dirichlet(U, X), data])

    assert declared(first) != declared(second) and declared(first) == declared(first)


def test_a_place_that_is_measured_twice_says_nothing_more():
    first, second = (ps.unknown(name, 1) for name in ("c", "d"))
    data = ps.Observations(U, [[0.5], [0.5]], [1.0, 1.1])
    with pytest.warns(ps.ProblemWarning, match=r"solves for `c\(\)`, `d\(\)` from 1 observed value: at least 1 of them"):
        ps.Problem(name="p", fields=[U], domain=LINE, equations=[U.diff(X, 2) + first * U + second], conditions=[ps.Dirichlet(U, X), data])
