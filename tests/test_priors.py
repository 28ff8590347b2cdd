"""Penalties and priors: weighed against the noise of observations, named in plan and result, refused where a method would ignore them."""

import json

import numpy as np
import pytest
import sympy as sp
import torch

import pinnsiren as ps
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.language.serialisation import problem_from_tree, problem_to_tree
from pinnsiren.training.joint_penalties import penalty_terms

X, _ = ps.coordinates("x y")
U, A = ps.field("u", X), ps.unknown_field("a", X, initial=1.5, bounds=(0.1, 10))
LINE = ps.Interval({X: (0, 1)})
NOISE = 0.005
START = 1.5
ONE_SIZE = ps.JointLeastSquares(features=60, redundancy=2.5, maximum_features=95)
# The discrepancy principle stops within a tenth of the noise; another tenth for a noise level that this draw misses.
NEAR_NOISE = 0.2
# A weight a million times that of the data leaves the coefficient where the prior wants it, up to what the equation itself asks for.
HELD = 0.1


def jump(*beliefs, noise=NOISE, seed=0):
    """(a u')' = -4 with a from 1 to 2.5 to 1.5, u observed with noise."""
    chance, points = np.random.default_rng(seed), np.linspace(0.01, 0.99, 40)
    fine = np.linspace(0, 1, 4001)
    middle = 0.5 * (fine[1:] + fine[:-1])
    truth = np.where(middle < 0.4, 1.0, np.where(middle < 0.7, 2.5, 1.5))
    constant = np.sum(4 * middle / truth) / np.sum(1 / truth)
    u = np.concatenate([[0], np.cumsum((constant - 4 * middle) / truth * np.diff(fine))])
    values = np.interp(points, fine, u)
    values = values + noise * np.sqrt(np.mean(values**2)) * chance.normal(size=len(values))
    conditions = [ps.Dirichlet(U, 0), ps.Observations(U, points[:, None], values, noise=noise or None), *beliefs]
    return ps.Problem(name="jump", fields=[U], domain=LINE, equations=[ps.div(A * ps.grad(U)) + 4], conditions=conditions)


def solve(problem, method=ONE_SIZE):
    torch.set_num_threads(1)
    return ps.solve(problem, method=method, seconds=300, progress=False, device="cpu")


def variation(solution):
    values = solution["a"](x=np.linspace(0, 1, 400))
    return float(np.sum(np.abs(np.diff(values))))


def bend(solution):
    return float(np.sqrt(np.mean(solution["a"].derivative(X, 2)(x=np.linspace(0, 1, 400)) ** 2)))


BELIEFS = {"variation": (ps.Prior(A, "total variation"), variation), "bend": (ps.Prior(A, "hessian"), bend)}


@pytest.mark.parametrize(("belief", "measure"), BELIEFS.values(), ids=BELIEFS)
def test_a_weight_that_is_left_open_is_the_largest_that_the_noise_allows(belief, measure):
    alone, held = solve(jump()), solve(jump(belief))
    assert held.history["misfit"][-1] == pytest.approx(NOISE, rel=NEAR_NOISE)
    assert measure(held) < measure(alone)
    assert "rests on the prior on a(x)" in held.status.text and "found from the noise" in held.status.text
    assert held.rests_on and not alone.rests_on


def test_a_declared_weight_is_taken_at_its_word_and_its_pull_counts_as_an_error():
    heavy = solve(jump(ps.Prior(A - START, weight=1e7)))
    values = heavy["a"](x=np.linspace(0.05, 0.95, 50))
    assert np.max(np.abs(values - START)) < HELD
    light = solve(jump(ps.Prior(A - START, weight=1e-6)))
    moved = np.linalg.norm(values - light["a"](x=np.linspace(0.05, 0.95, 50))) / np.linalg.norm(values)
    assert heavy.estimated_error > 0.5 * moved and not heavy.status.success
    assert "with weight 1e+07 (as declared)" in heavy.status.text


def test_rows_of_a_norm_below_two_touch_it():
    term = penalty_terms(compile_problem(jump(ps.Penalty(A.diff(X), norm=1.2))))[0]
    assert term.declared.norm == 1.2 and term.holds(1) and not term.holds(0)
    robust = solve(jump(ps.Penalty(A.diff(X), norm=1.2, weight=500)))
    assert variation(robust) < variation(solve(jump()))


def test_the_plan_names_terms_and_weights():
    text = str(ps.plan(jump(ps.Prior(A, "hessian", weight=3), ps.Penalty(A * U, norm=1))))
    assert "JointLeastSquares" in text
    assert "weighs prior on a(x) (hessian), norm 2, weight 3; penalty on a(x)*u(x), norm 1, a weight found from the data" in text


def test_a_field_may_be_held_where_nothing_is_prescribed():
    chance, points = np.random.default_rng(1), np.linspace(0.05, 0.95, 30)
    data = ps.Observations(U, points[:, None], np.sin(3 * points) + 0.01 * chance.normal(size=30), noise=0.014)
    conditions = [ps.Dirichlet(U, 0, on="x-"), data, ps.Penalty(U, on="x+", weight=1e-3)]
    problem = ps.Problem(name="open", fields=[U], domain=LINE, equations=[U.diff(X, 2) + 9 * U], conditions=conditions)
    solution = solve(problem)
    assert np.max(np.abs(solution(x=points) - np.sin(3 * points))) < 0.05
    assert "rests on the penalty on u(x)" in solution.status.text


@pytest.mark.parametrize("method", [ps.LeastSquares(), ps.GaussNewton(), ps.LBFGS(), ps.Adam()], ids=lambda m: m.name)
def test_a_method_that_cannot_weigh_refuses(method):
    problem = ps.Problem(
        name="p", fields=[U], domain=LINE, equations=[U.diff(X, 2)],
        conditions=[ps.Dirichlet(U, X), ps.Observations(U, [[0.5]], [0.5]), ps.Penalty(U.diff(X))],
    )  # fmt: skip
    with pytest.raises(ps.CompileError, match=r"the penalty on Derivative\(u\(x\), x\): the method would ignore what was declared"):
        ps.plan(problem, method=method)


@pytest.mark.parametrize(
    ("belief", "message"),
    [(ps.Penalty(U**2), "is not affine in the fields"), (ps.Penalty(sp.Abs(U)), "holds a modulus")],
    ids=["squares", "moduli"],
)
def test_a_penalty_that_cannot_be_weighed_says_why(belief, message):
    with pytest.raises(ps.CompileError, match=message):
        ps.plan(jump(belief))


def test_a_penalty_without_observations_is_refused():
    conditions = [ps.Dirichlet(U, 0), ps.Neumann(U, 1), ps.Prior(A)]
    problem = ps.Problem(name="p", fields=[U], domain=LINE, equations=[ps.div(A * ps.grad(U)) + 4], conditions=conditions)
    with pytest.raises(ps.CompileError, match="nothing is observed"):
        ps.plan(problem)


def test_a_penalty_on_the_whole_domain_and_what_rests_on_it_are_stored(tmp_path):
    problem = jump(ps.Penalty(A.diff(X), weight=1))
    tree, arrays = problem_to_tree(problem)
    assert problem_from_tree(json.loads(json.dumps(tree)), arrays).conditions == problem.conditions
    solution = solve(problem)
    solution.save(tmp_path / "run.h5")
    again = ps.load(tmp_path / "run.h5")
    points = np.linspace(0, 1, 9)
    assert again.rests_on == solution.rests_on != () and again.undetermined == solution.undetermined
    assert np.array_equal(again.standard_errors["a"](x=points), solution.standard_errors["a"](x=points))
