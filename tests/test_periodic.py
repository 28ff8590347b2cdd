"""Periodic faces in the language: residuals on pairs of faces, refusals, and the same condition through compiler, both methods and grids."""

import json

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.compiler.numpy_oracle import oracle_residuals
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.language.free_constants import free_constant_fields
from pinnsiren.language.locations import sample_pair
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.serialisation import declaration_digest, problem_from_tree, problem_to_tree
from pinnsiren.reference_solvers.linear_box import LinearBoxSolver
from pinnsiren.validation import validate

X, Y, T = ps.coordinates("x y t")
U = ps.field("u", X, Y)
PERIOD = 0.8
TURNS = 2 * sp.pi / sp.Rational(4, 5)
BOX = ps.Box({X: (-0.3, PERIOD - 0.3), Y: (0, 1)})
EXACT = sp.exp(sp.sin(TURNS * X) / 2) * sp.sin(3 * Y + 1)
ROUNDING = 1e-12


def declared(*conditions, equation=None, exact=EXACT, domain=BOX):
    operator = ps.div((2 + sp.cos(TURNS * X)) * ps.grad(U)) - U
    problem = ps.Problem(name="ring", fields=[U], domain=domain, equations=[operator if equation is None else equation], conditions=conditions)
    return problem if exact is None else ps.manufactured(problem, {U: exact})


def ring():
    return declared(ps.Periodic(U, "x"), ps.Dirichlet(U, 0, on=("y-", "y+")))


def leftover(condition, solution, domain, field=U):
    """The largest difference between the two faces, over the residuals of a periodic condition."""
    worst = 0.0
    for residual in condition.residuals(domain):
        inserted = residual.expression.xreplace({field: solution}).doit()
        here, there = (evaluate_on(inserted, domain.coordinates, points) for points in sample_pair(residual.region, domain, 32, 3))
        worst = max(worst, float(np.max(np.abs(here - there))))
    return worst


def test_it_vanishes_on_a_periodic_field_and_sees_value_and_slope():
    condition = ps.Periodic(U, X)
    assert leftover(condition, EXACT, BOX) < ROUNDING
    assert leftover(condition, EXACT + X, BOX) > 0.5
    centre = sp.Rational(1, 10)  # of the box, so that the values agree and the slopes do not
    assert leftover(condition, EXACT + (X - centre) ** 2, BOX) > 0.5


def test_the_axis_may_be_given_by_name_and_the_faces_are_a_pair():
    assert ps.Periodic(U, "x") == ps.Periodic(U, X)
    value, slope = ps.Periodic(U, X).residuals(BOX)
    assert value.region.parts == slope.region.parts == ("x-", "x+")
    here, there = sample_pair(value.region, BOX, 16, 0)
    assert np.all(here[:, 0] == -0.3) and np.allclose(there[:, 0], 0.5) and np.array_equal(here[:, 1], there[:, 1])


def test_it_holds_at_all_times_of_space_time():
    v = ps.field("v", X, T)
    domain = ps.SpaceTime(ps.Interval({X: (0, 1)}), {T: (0, 2)})
    (value, _) = ps.Periodic(v, X).residuals(domain)
    here, there = sample_pair(value.region, domain, 64, 0)
    assert np.ptp(here[:, 1]) > 1.5 and np.array_equal(here[:, 1], there[:, 1])
    assert leftover(ps.Periodic(v, X), sp.sin(2 * sp.pi * (X - T)), domain, v) < ROUNDING


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: ps.Periodic(U, "z"), r"Periodic of `u` was given axis='z'; expected one of its coordinates `x`, `y`"),
        (lambda: ps.Periodic(X, X), "Periodic was given `x` where a field is expected"),
        (lambda: ps.Periodic(U, X).residuals(ps.Disk({X: 0, Y: 0}, 1)), "two opposite faces"),
        (lambda: declared(ps.Periodic(U, X)), "no condition on the face `y-`.*Periodic or PML"),
        (lambda: declared(ps.Periodic(U, X), ps.Dirichlet(U, 0)), "a Dirichlet condition of `u.*` on x[+], x-, where the field is periodic"),
        (lambda: declared(ps.Periodic(U, X), ps.Periodic(U, X), ps.Dirichlet(U, 0, on=("y-", "y+"))), "periodic along `x` twice"),
        (lambda: declared(ps.Periodic(U, X), ps.Periodic(U, Y), equation=ps.laplacian(U) - 1, exact=None), "difference -0.8 must vanish"),
    ],
)
def test_mistakes_are_named(mistake, message):
    with pytest.raises(ps.ProblemError, match=message):
        mistake()


def test_the_time_is_no_periodic_axis():
    v = ps.field("v", X, T)
    domain = ps.SpaceTime(ps.Interval({X: (0, 1)}), {T: (0, 2)})
    with pytest.raises(ps.ProblemError, match="given the time `t`; expected a coordinate of the space"):
        ps.Periodic(v, T).residuals(domain)


def test_a_layer_and_a_periodic_axis_share_no_face():
    w = ps.field("w", X, Y, complex=True)
    equation = ps.laplacian(w) + 100 * w
    with pytest.raises(ps.ProblemError, match="a PML condition of"):
        ps.Problem(name="p", fields=[w], domain=BOX, equations=[equation], conditions=[ps.Periodic(w, X), ps.PML(w)])
    ps.Problem(name="p", fields=[w], domain=BOX, equations=[equation], conditions=[ps.Periodic(w, X), ps.PML(w, on=("y-", "y+"))])


@pytest.mark.parametrize("wrong", [X * Y, sp.sin(TURNS * X / 2)])
def test_a_manufactured_solution_that_is_not_periodic_is_refused(wrong):
    with pytest.raises(ps.ProblemError, match=r"does not satisfy the periodic condition of .*choose an expression of period 0.8 along `x`"):
        declared(ps.Periodic(U, "x"), ps.Dirichlet(U, 0, on=("y-", "y+")), exact=wrong)


def test_a_periodic_problem_comes_back_from_its_file():
    problem = ring()
    tree, arrays = problem_to_tree(problem)
    again = problem_from_tree(json.loads(json.dumps(tree)), arrays)
    assert again == problem and declaration_digest(again) == declaration_digest(problem)
    other = declared(ps.Dirichlet(U, 0))
    assert declaration_digest(other) != declaration_digest(problem)


def test_the_compiled_residuals_vanish_on_the_manufactured_solution_only():
    compiled = compile_problem(ring())
    assert max(value for _, value in oracle_residuals(compiled, {U: EXACT})) < ROUNDING
    wrong = dict(oracle_residuals(compiled, {U: EXACT + X}))
    assert wrong["periodic condition of u on x- and x+"] > 0.1


def relative_error(field, points):
    truth = evaluate_on(EXACT, (X, Y), points)
    return np.linalg.norm(field(x=points[:, 0], y=points[:, 1]) - truth) / np.linalg.norm(truth)


# Least squares reaches rounding on smooth fields; the small network within its seconds only what was asked.
@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [({"method": ps.LeastSquares(), "tolerance": 1e-6}, 1e-6), ({"network": ps.Siren(width=20, depth=2), "method": ps.GaussNewton()}, 3e-2)],
    ids=["least squares", "network"],
)
def test_both_ways_of_training_join_the_faces(settings, tolerance):
    solution = ps.solve(ring(), device="cpu", progress=False, seconds=8, **settings)
    points = BOX.sample_interior(500, 5)
    assert relative_error(solution, points) < tolerance
    y = np.linspace(0, 1, 21)
    low, high = BOX.bounds[X]
    left, right = (solution["u"].derivative(X, 1)(x=edge, y=y) for edge in (low, high))
    assert np.max(np.abs(left - right)) < 30 * tolerance * np.max(np.abs(left))


def test_the_grid_solves_the_same_declaration():
    points = BOX.sample_interior(500, 5)
    assert relative_error(LinearBoxSolver(tolerance=1e-6).solve(ring()), points) < 1e-6


def test_a_field_on_a_torus_is_judged_up_to_its_constant():
    solution_on_torus = sp.cos(TURNS * X) * sp.sin(2 * sp.pi * Y)
    problem = declared(ps.Periodic(U, X), ps.Periodic(U, Y), equation=ps.laplacian(U), exact=solution_on_torus)
    assert free_constant_fields(problem) == ("u",)
    assert free_constant_fields(ring()) == ()
    report = validate(ps.solve(problem, device="cpu", progress=False, seconds=8, tolerance=1e-5))
    assert report.passed and report.relative_l2["u"] < 1e-5


def test_a_plane_wave_through_a_layered_strip():
    # Periodic across, absorbing along: u'' + k^2 u = f(y) is one-dimensional, whatever the period.
    w = ps.field("w", X, Y, complex=True)
    k, deviation = 12, sp.Rational(1, 12)
    source = sp.exp(-((Y - sp.Rational(1, 2)) ** 2) / (2 * deviation**2))
    conditions = [ps.Periodic(w, X), ps.PML(w, on=("y-", "y+"))]
    problem = ps.Problem(name="strip", fields=[w], domain=BOX, equations=[sp.Eq(ps.laplacian(w) + k**2 * w, source)], conditions=conditions)
    v = ps.field("v", Y, complex=True)
    line = ps.Problem(
        name="line", fields=[v], domain=ps.Interval({Y: (0, 1)}), equations=[sp.Eq(v.diff(Y, 2) + k**2 * v, source)], conditions=[ps.PML(v)]
    )
    strip, alone = LinearBoxSolver(cells=48).solve(problem), LinearBoxSolver(cells=400).solve(line)
    y = np.linspace(0.05, 0.95, 40)
    truth = alone(y=y)
    assert np.max(np.abs(strip(x=0.1, y=y) - truth)) < 1e-4 * np.max(np.abs(truth))
