"""Values that hold by construction: what is built in vanishes where it should, the problem keeps its solution, and refusals have reasons."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.compiler.apply_hard_conditions import NAME, Construction, construct
from pinnsiren.compiler.distance_functions import conjunction, distance_of, inner_function
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.errors import UnknownNameError
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.problems import load
from pinnsiren.validation import validate

X, Y, T = ps.coordinates("x y t")
U, W = ps.field("u", X, Y), ps.field("w", X, T)
EXACT = sp.sin(2 * X) * sp.exp(Y / 2) + X * Y
WAVE = sp.sin(sp.pi * X) * sp.cos(2 * sp.pi * T) + X * T
DISC, HOLE, BOX_HOLE = ps.Disk({X: 0, Y: 0}, 1), ps.Disk({X: 0.3, Y: 0.1}, 0.25), ps.Box({X: (-0.2, 0.2), Y: (-0.3, 0.1)})
ROUNDING = 1e-9


def poisson(*conditions, domain=None, exact=EXACT):
    domain = domain or ps.Box({X: (-1, 1), Y: (0, 1.5)})
    equation = ps.laplacian(U) - (exact.diff(X, 2) + exact.diff(Y, 2))
    return ps.Problem(name="p", fields=[U], domain=domain, equations=[equation], conditions=conditions, exact={U: exact})


def wave(*more, until=1.0):
    return ps.Problem(
        name="w", fields=[W], domain=ps.SpaceTime(ps.Interval({X: (0, 1)}), {T: (0, until)}), equations=[W.diff(T, 2) - 4 * W.diff(X, 2)],
        conditions=[
            ps.InitialCondition(W, WAVE.subs(T, 0)), ps.InitialCondition(W.diff(T), WAVE.diff(T).subs(T, 0)),
            ps.Dirichlet(W, WAVE.subs(X, 0), on="x-"), *more,
        ],
        exact={W: WAVE},
    )  # fmt: skip


CASES = {
    "all faces": lambda: poisson(ps.Dirichlet(U, EXACT)),
    "three faces and a slope": lambda: poisson(ps.Dirichlet(U, EXACT, on=("x-", "x+", "y-")), ps.Neumann(U, EXACT.diff(Y), on="y+")),
    "one face of a condition on two": lambda: poisson(ps.Dirichlet(U, EXACT, on=("x-", "y+")), ps.Robin(U, 1, 1, EXACT - EXACT.diff(Y), on="y-"),
                                                      ps.Neumann(U, EXACT.diff(X), on="x+")),
    "a point and observations": lambda: poisson(
        ps.Dirichlet(U, EXACT), ps.Dirichlet(U, EXACT.subs({X: 0.5, Y: 0.5}), on={X: 0.5, Y: 0.5}),
        ps.Observations(U.diff(X), [[0.1, 0.2]], [float(EXACT.diff(X).subs({X: 0.1, Y: 0.2}))]),
    ),
    "a wave between walls": lambda: wave(ps.Dirichlet(W, WAVE.subs(X, 1), on="x+")),
    "a wave with a free end": lambda: wave(ps.Neumann(W, WAVE.diff(X).subs(X, 1), on="x+")),
}  # fmt: skip


def hard(problem):
    return ps.plan(problem).including(NAME)


@pytest.mark.parametrize("name", CASES)
def test_the_rewritten_problem_has_the_same_solution(name):
    problem = CASES[name]()
    solution = ps.solve(problem, plan=hard(problem), seconds=20, device="cpu", progress=False)
    report = validate(solution, against="exact")
    assert max(report.relative_l2.values()) < 1e-7
    assert report.honest


@pytest.mark.parametrize("name", CASES)
def test_whatever_the_free_part_is_the_values_hold(name):
    problem = CASES[name]()
    (candidate,) = problem.fields
    built = construct(problem, candidate)
    assert isinstance(built, Construction)
    free = sp.sin(3 * candidate.args[0]) + sp.cos(2 * candidate.args[1] + 1)
    whole = built.lift + built.factor * free
    (exact,) = problem.exact.values()
    for part in built.parts:
        points = problem.domain.sample_boundary(part, 50, 1)[0]
        assert np.max(np.abs(evaluate_on(whole - exact, problem.coordinates, points))) < ROUNDING
    start = problem.domain.sample_interior(50, 1)
    for condition in built.initial:
        start[:, 1] = 0.0
        gap = sp.diff(whole - exact, T, condition.time_order) if condition.time_order else whole - exact
        assert np.max(np.abs(evaluate_on(gap, problem.coordinates, start))) < ROUNDING


def test_the_lift_knows_the_values_on_the_faces_only():
    """Data are given as an expression that is the solution everywhere: it must not leak into the domain."""
    problem = poisson(ps.Dirichlet(U, EXACT))
    built = construct(problem, U)
    inside = problem.domain.sample_interior(200, 3)
    apart = evaluate_on(built.lift - EXACT, (X, Y), inside)
    assert np.sqrt(np.mean(apart**2)) > 0.02


def test_the_residual_of_the_exact_free_part_vanishes():
    problem = wave(ps.Neumann(W, WAVE.diff(X).subs(X, 1), on="x+"))
    compiled = compile_problem(problem, included=[NAME])
    built = construct(problem, W)
    assert [residual.kind for residual in compiled.ir.residuals] == ["equation", "condition"]
    assert compiled.rewritten.additions[0].evaluate(np.array([[0.2, 0.0]]), (0, 1))[0, 0] == pytest.approx(0.2)
    assert built.factor.subs({X: 0.5, T: 0}) == 0


@pytest.mark.parametrize(("space", "n_shapes"), [(DISC, 1), (DISC - HOLE, 2), (ps.Box({X: (-1, 1), Y: (-1, 1)}) - HOLE, 2), (DISC - BOX_HOLE, 2)])
def test_distance_functions_vanish_on_their_shape_and_are_positive_inside(space, n_shapes):
    shapes = distance_of(space, space.boundary_parts())
    assert len(shapes) == n_shapes
    inside = space.sample_interior(2000, 5)
    for function, parts in shapes:
        assert np.min(evaluate_on(function, (X, Y), inside)) > 0
        for part in parts:
            points, normals = space.sample_boundary(part, 40, 5)
            assert np.max(np.abs(evaluate_on(function, (X, Y), points))) < 1e-9
            step = 1e-5
            slopes = evaluate_on(function, (X, Y), points - step * normals) / step
            assert np.median(slopes) == pytest.approx(1, abs=1e-3)


def test_a_conjunction_vanishes_where_one_of_both_does():
    a, b = sp.symbols("a b", real=True)
    joined = conjunction(a, b)
    assert joined.subs({a: 0, b: 2}) == 0
    assert joined.subs({a: 1, b: 2}) > 0
    assert joined.subs({a: -1, b: 2}) < 0
    assert inner_function(DISC - HOLE) is None


def test_a_ring_with_different_constants_is_solved():
    """u = log(r) / log(1/4) between circles of radius 1/4 and 1 about one centre."""
    inner = ps.Disk({X: 0, Y: 0}, 0.25)
    exact = sp.log(X**2 + Y**2) / (2 * sp.log(sp.Float(0.25)))
    problem = poisson(ps.Dirichlet(U, 0, on=DISC.boundary), ps.Dirichlet(U, 1, on=inner.boundary), domain=DISC - inner, exact=exact)
    plan = hard(problem)
    assert "holds its values on" in str(plan)
    report = validate(ps.solve(problem, plan=plan, seconds=15, device="cpu", progress=False), against="exact")
    assert report.relative_l2["u"] < 1e-3
    assert report.honest


REFUSED = {
    "corners": (lambda: poisson(ps.Dirichlet(U, 0, on=("x-", "x+")), ps.Dirichlet(U, 1, on=("y-", "y+"))), "do not agree where they meet"),
    "rough": (lambda: poisson(ps.Dirichlet(U, sp.Abs(X))), "not smooth"),
    "no values": (lambda: poisson(ps.Neumann(U, 0), ps.Observations(U, [[0, 0.5]], [1]), exact=sp.Integer(0) * X), "no value is prescribed"),
    "curved": (lambda: poisson(ps.Dirichlet(U, X), domain=DISC), "constant on each shape"),
    "other shapes": (lambda: poisson(ps.Dirichlet(U, 1), domain=DISC | ps.Disk({X: 1, Y: 0}, 0.5)), "known for balls, boxes"),
    "periodic": (lambda: load("heated_wall"), "joined faces"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_built_in_stays_as_rows_with_a_reason(what):
    declare, reason = REFUSED[what]
    problem = declare()
    plan = hard(problem)
    assert reason in str(plan)
    assert {r.label for r in plan.compiled.ir.residuals} == {r.label for r in ps.plan(problem).compiled.ir.residuals}


def test_the_plan_offers_it_includes_it_and_takes_it_back():
    problem = poisson(ps.Dirichlet(U, EXACT))
    plan = ps.plan(problem)
    assert f'plan.including("{NAME}")' in str(plan)
    assert plan.including(NAME).including(NAME).included == (NAME,)
    assert plan.including(NAME).without(NAME).compiled.ir.residuals == plan.compiled.ir.residuals
    with pytest.raises(UnknownNameError, match=f"it can include \"{NAME}\""):
        plan.including("source splitting")


def test_a_solution_with_built_in_values_comes_back_from_a_file(tmp_path):
    problem = poisson(ps.Dirichlet(U, EXACT))
    solution = ps.solve(problem, plan=hard(problem), seconds=10, device="cpu", progress=False)
    solution.save(tmp_path / "hard.h5")
    points = problem.domain.sample_interior(20, 1)
    back = ps.load(tmp_path / "hard.h5")
    assert np.array_equal(back["u"].at(points), solution["u"].at(points))
    assert back.plan.included == (NAME,)


def test_a_trained_network_meets_built_in_values_to_rounding():
    problem = poisson(ps.Dirichlet(U, EXACT))
    plan = ps.plan(problem, network=ps.Siren(width=12, depth=2)).including(NAME)
    solution = ps.solve(problem, plan=plan, seconds=6, device="cpu", progress=False)
    points = problem.domain.sample_boundary("x+", 30, 1)[0]
    assert np.max(np.abs(solution["u"].at(points) - evaluate_on(EXACT, (X, Y), points))) < 1e-12
