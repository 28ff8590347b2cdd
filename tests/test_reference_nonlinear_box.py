"""The solver of steady nonlinear problems: observed orders, honest estimates, several fields, several solutions, refusals."""

import numpy as np
import pytest
import sympy as sp

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import (
    PML,
    Box,
    Constraint,
    Dirichlet,
    GaussianSource,
    Interval,
    Neumann,
    Periodic,
    Problem,
    Robin,
    SourceFamily,
    coordinates,
    declaration_of,
    div,
    field,
    grad,
    laplacian,
    manufactured,
    sampled,
    select_shot,
)
from pinnsiren.problems import load
from pinnsiren.reference_solvers import find
from pinnsiren.reference_solvers.nonlinear.newton import continued_newton, damped_newton
from pinnsiren.reference_solvers.nonlinear.tensor_operators import Line, TensorGrid
from pinnsiren.reference_solvers.nonlinear_box import NonlinearBoxSolver

ORDER_TOLERANCE = 0.2
HONEST = 3.0
SEED = 5

x, y, z = coordinates("x y z")
u, v, w = field("u", x, y), field("v", x, y), field("w", x)
LINE, SQUARE = Interval({x: (0, 1)}), Box({x: (0, 1), y: (0, 1)})
WAVY = sp.sin(3 * x + y) * sp.exp(y / 2) + x
CALM = sp.cos(2 * x - 3 * y) + 2


def relative_error(solution, exact, count=4000):
    """The worst field, at scattered points."""
    errors = []
    for unknown, expression in exact.items():
        grid = solution[declaration_of(unknown).name]
        rng = np.random.default_rng(SEED)
        points = [rng.uniform(axis[0], axis[-1], count) for axis in grid.axes]
        truth = sp.lambdify(unknown.args, expression, "numpy")(*points)
        errors.append(np.linalg.norm(grid(*points) - truth) / np.linalg.norm(truth))
    return max(errors)


def rod():
    """Plain derivatives with nonlinear variable coefficients; a wave that reaches both walls."""
    k = 2 + w**2 / 2 + x
    equation = -k * w.diff(x, 2) - (1 + w * x) * w.diff(x) ** 2 + w**3 + sp.sin(x) * w.diff(x) * w
    walls = [Dirichlet(w, 0, on="x-"), Robin(w, 2, 1, 0, on="x+")]
    problem = Problem(name="rod", fields=[w], domain=LINE, equations=[equation], conditions=walls)
    exact = {w: sp.cos(14 * x + 1) + x / 2}
    return manufactured(problem, exact), exact


def ring():
    """A nonlinear flux, periodic along x."""
    equation = -div((2 + u**2 / 2 + sp.cos(2 * sp.pi * x) * y) * grad(u)) + u**3 + u * u.diff(y)
    walls = [Periodic(u, x), Dirichlet(u, 0, on="y-"), Neumann(u, 0, on="y+")]
    problem = Problem(name="ring", fields=[u], domain=SQUARE, equations=[equation], conditions=walls)
    exact = {u: sp.cos(6 * sp.pi * x) * sp.exp(-20 * (y - sp.Rational(1, 2)) ** 2) + y / 2 + sp.sin(2 * sp.pi * x) / 4}
    return manufactured(problem, exact), exact


def mixed_derivatives():
    equation = -div((2 + u**2 / 2 + x) * grad(u)) + u**3 + sp.sin(x * y) * u.diff(x) - u.diff(x, y) / 3
    walls = [Dirichlet(u, 0, on=("x-", "y-", "y+")), Robin(u, 2, 1, 0, on="x+")]
    problem = Problem(name="mixed", fields=[u], domain=Box({x: (0, 1), y: (0, 1.2)}), equations=[equation], conditions=walls)
    return manufactured(problem, {u: WAVY}), {u: WAVY}


def two_fields():
    equations = [laplacian(u) - u * v + u.diff(x) * v, laplacian(v) - u**2 + v.diff(y) * (1 + x)]
    walls = [Dirichlet(u, 0, on=("x-", "x+")), Neumann(u, 0, on=("y-", "y+")), Dirichlet(v, 0)]
    problem = Problem(name="two_fields", fields=[u, v], domain=SQUARE, equations=equations, conditions=walls)
    exact = {u: WAVY, v: CALM}
    return manufactured(problem, exact), exact


def complex_field():
    c = field("c", x, y, complex=True)
    equation = laplacian(c) + c * sp.conjugate(c) * c + sp.I * c
    problem = Problem(name="schroedinger", fields=[c], domain=SQUARE, equations=[equation], conditions=[Dirichlet(c, 0)])
    exact = {c: sp.exp(2 * sp.I * x) * (1 + y * x / 2)}
    return manufactured(problem, exact), exact


def radiating_rod():
    walls = [Dirichlet(w, 2, on="x-"), Neumann(w, -(w**4), on="x+")]
    problem = Problem(name="radiation", fields=[w], domain=LINE, equations=[div((1 + x) * grad(w))], conditions=walls)
    # u = 2 + b log(1 + x): the flux b/2 at x = 1 leaves by radiation.
    b = sp.Symbol("b")
    slope = sp.nsolve(b / 2 + (2 + b * sp.log(2)) ** 4, -1)
    return problem, {w: 2 + slope * sp.log(1 + x)}


def first_order_on_a_line():
    problem = Problem(name="decay", fields=[w], domain=Interval({x: (0, 2)}), equations=[w.diff(x) + w**2], conditions=[Dirichlet(w, 1, on="x-")])
    return problem, {w: 1 / (1 + x)}


CASES = {make.__name__: make for make in (rod, mixed_derivatives, two_fields, complex_field, radiating_rod, first_order_on_a_line)}
COARSE = {"rod": (rod, 80), "ring": (ring, 48), "mixed_derivatives": (mixed_derivatives, 36)}


@pytest.mark.parametrize(
    ("make", "order", "cells"),
    [
        (rod, 2, (60, 80, 100, 120)),
        (rod, 4, (60, 80, 100, 120)),
        (rod, 6, (80, 100, 120, 150)),
        (ring, 2, (32, 40, 48, 56)),
        (ring, 4, (32, 40, 48, 56)),
    ],
)
def test_observed_order_with_variable_nonlinear_coefficients(make, order, cells):
    problem, exact = make()
    errors = [relative_error(NonlinearBoxSolver(order=order, cells=n).solve(problem), exact) for n in cells]
    measured = -np.polyfit(np.log(cells), np.log(errors), 1)[0]
    assert abs(measured - order) < ORDER_TOLERANCE


@pytest.mark.parametrize("name", CASES)
def test_estimates_are_honest_and_small(name):
    problem, exact = CASES[name]()
    solver = find(problem)
    assert solver.name == "nonlinear_box"
    solution = solver.solve(problem)
    error = relative_error(solution, exact)
    assert error < HONEST * solution.error_estimate
    # Below 1e-11 rounding decides.
    assert solution.error_estimate < max(HONEST * error, 2e-11)
    assert solution.error_estimate < 1e-6


@pytest.mark.parametrize("order", [2, 4, 6])
@pytest.mark.parametrize("name", COARSE)
def test_estimates_of_coarse_grids_are_honest(name, order):
    make, cells = COARSE[name]
    problem, exact = make()
    solution = NonlinearBoxSolver(order=order, cells=cells).solve(problem)
    error = relative_error(solution, exact)
    # At order 6 closures decide on coarse grids, and errors fall faster than declared: estimates stay above them.
    slack = HONEST if order < 6 else HONEST**2
    assert error < HONEST * solution.error_estimate < HONEST * slack * error


def test_the_catalogue_problem_is_solved_to_its_exact_solution():
    problem = load("bump_nonlinear")
    solver = find(problem)
    assert solver.name == "nonlinear_box"
    assert relative_error(solver.solve(problem), problem.exact) < 1e-6


def test_three_dimensions():
    q = field("q", x, y, z)
    exact = {q: sp.sin(2 * x) * sp.cos(y) * sp.exp(z)}
    box = Box({x: (0, 1), y: (0, 1), z: (0, 1)})
    problem = Problem(name="cube", fields=[q], domain=box, equations=[laplacian(q) - q**3], conditions=[Dirichlet(q, 0)])
    solution = NonlinearBoxSolver(order=4, cells=14).solve(manufactured(problem, exact))
    error = relative_error(solution, exact)
    assert error < 2e-5
    assert error < HONEST * solution.error_estimate


def test_a_jump_inside_a_nonlinear_flux_keeps_second_order():
    a = sp.Piecewise((5, x < sp.Rational(37, 100)), (1, True))
    problem = Problem(name="jump", fields=[w], domain=LINE, equations=[div(a * (1 + w**2) * grad(w))], conditions=[Dirichlet(w, x)])
    solution = find(problem).solve(problem)
    assert solution.order == 2
    # Kirchhoff's transform w + w^3/3 is piecewise linear, from 0 to 4/3.
    points = np.linspace(0, 1, 1001)
    flux = (4 / 3) / (0.37 / 5 + 0.63)
    truth = np.where(points < 0.37, flux * points / 5, 4 / 3 - flux * (1 - points))
    values = solution(points)
    error = np.linalg.norm(values + values**3 / 3 - truth) / np.linalg.norm(truth)
    assert error < min(HONEST * solution.error_estimate, 1e-4)


def test_shots_with_narrow_and_wide_sources():
    s = field("s", x, y, shots=2)
    family = SourceFamily([GaussianSource(at={x: 0.4, y: 0.5}, variance=0.01), GaussianSource(at={x: 0.6, y: 0.3}, variance=0.04, amplitude=3)])
    problem = Problem(name="shots", fields=[s], domain=SQUARE, equations=[sp.Eq(-laplacian(s) + s**3, family)], conditions=[Dirichlet(s, 0)])
    together = find(problem).solve(problem)
    for shot in range(2):
        source = select_shot(family, shot)
        alone = Problem(name="one", fields=[u], domain=SQUARE, equations=[sp.Eq(-laplacian(u) + u**3, source)], conditions=[Dirichlet(u, 0)])
        single = find(alone).solve(alone)
        difference = together(0.45, 0.4)[shot] - single(0.45, 0.4)
        assert abs(difference) < 10 * (single.error_estimate + together.error_estimate) * abs(single(0.45, 0.4))


def test_sampled_coefficients_equal_declared_ones():
    axis = np.linspace(0, 1, 201)
    table = sampled("k", {x: axis}, 2 + np.sin(3 * axis), order=5)
    values = []
    for coefficient in (2 + sp.sin(3 * x), table):
        problem = Problem(name="k", fields=[w], domain=LINE, equations=[div(coefficient * grad(w)) - w**3 + 1], conditions=[Dirichlet(w, 0)])
        values.append(NonlinearBoxSolver(cells=40).solve(problem).values["w"])
    assert np.max(np.abs(values[0] - values[1])) < 1e-7


def bratu(strength):
    return Problem(name="bratu", fields=[w], domain=LINE, equations=[w.diff(x, 2) + strength * sp.exp(w)], conditions=[Dirichlet(w, 0)])


def bratu_exact(strength, start):
    """The classical closed form: u = -2 log(cosh((x - 1/2) q/2)/cosh(q/4)), q = sqrt(2 c) cosh(q/4)."""
    q = float(sp.nsolve(sp.Symbol("q") - sp.sqrt(2 * strength) * sp.cosh(sp.Symbol("q") / 4), start))
    return lambda s: -2 * np.log(np.cosh((s - 0.5) * q / 2) / np.cosh(q / 4))


@pytest.mark.parametrize("strength", [1, 3.4])
def test_bratu_follows_the_lower_branch_up_to_the_fold(strength):
    solution = find(bratu(strength)).solve(bratu(strength))
    points = np.linspace(0, 1, 101)
    assert np.max(np.abs(solution(points) - bratu_exact(strength, 1.5)(points))) < 1e-7


def test_a_second_solution_is_noted():
    notes = " ".join(find(bratu(1)).solve(bratu(1)).notes)
    assert "not unique" in notes
    monotone = Problem(name="monotone", fields=[w], domain=LINE, equations=[w.diff(x, 2) - w**3 + 1], conditions=[Dirichlet(w, 0)])
    assert "not unique" not in " ".join(find(monotone).solve(monotone).notes)


def test_beyond_the_fold_the_user_is_told():
    with pytest.raises(ReferenceSolverError, match=r"found no solution of `bratu`[\s\S]*% of the way[\s\S]*fold"):
        NonlinearBoxSolver().solve(bratu(5))


def test_damping_and_continuation_find_what_plain_newton_misses():
    def residual(s):
        return np.arctan(s - 2.0)

    def factorise(s):
        return lambda right: right * (1 + (s - 2.0) ** 2)

    assert abs(damped_newton(residual, factorise, np.array([40.0])).values[0] - 2) < 1e-9
    assert continued_newton(residual, factorise, np.array([-1e3])).converged


@pytest.mark.parametrize("order", [2, 4, 6])
def test_difference_operators_reproduce_polynomials(order):
    grid = TensorGrid((Line(0.0, 1.0, 20, order), Line(-1.0, 1.0, 22, order)))
    power = order - 1

    def values(points):
        return points[0] ** power * points[1]

    nodes, half = grid.points(), grid.points(half=0)
    assert np.max(np.abs(grid.operator((0, 0), 0) @ values(nodes) - values(half))) < 1e-11
    assert np.max(np.abs(grid.operator((1, 1)) @ values(nodes) - power * nodes[0] ** (power - 1))) < 1e-9
    assert np.max(np.abs(grid.operator((1, 0), 0) @ values(nodes) - power * half[0] ** (power - 1) * half[1])) < 1e-9
    assert np.max(np.abs(grid.divergence(0) @ values(half) - power * nodes[0] ** (power - 1) * nodes[1])) < 1e-9


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("order", [2, 4, 6])
def test_periodic_differences_have_their_order(order, count):
    errors = []
    for n in (40, 80):
        line = Line(0.0, 2.0, n, order, periodic=True)
        wave = np.sin(np.pi * line.nodes + 0.3)
        errors.append(np.max(np.abs(line.derivative(count) @ wave - np.pi**count * np.sin(np.pi * line.nodes + 0.3 + count * np.pi / 2))))
    assert abs(np.log2(errors[0] / errors[1]) - order) < ORDER_TOLERANCE


def refusals():
    boundary = [Dirichlet(u, 0)]
    line = [Dirichlet(w, 0)]
    c = field("c", x, y, complex=True)
    return {
        "linear in its only field": Problem(name="p", fields=[u], domain=SQUARE, equations=[laplacian(u) - 1], conditions=boundary),
        "no second derivative along": Problem(
            name="p", fields=[u], domain=SQUARE, equations=[grad(u).dot(grad(u)) - 1], conditions=[Dirichlet(u, 0, on="x-")]
        ),
        "derivative of order 4": Problem(name="p", fields=[w], domain=LINE, equations=[w.diff(x, 4) - w**2], conditions=line),
        "absorbing layer": Problem(name="p", fields=[c], domain=SQUARE, equations=[laplacian(c) + c**3], conditions=[PML(c, width=1)]),
        "`Constraint`": Problem(name="p", fields=[w], domain=LINE, equations=[w.diff(x, 2) - w**2], conditions=[Constraint(w)]),
    }


@pytest.mark.parametrize("reason", refusals())
def test_refusals_give_their_reason(reason):
    support = NonlinearBoxSolver().supports(refusals()[reason])
    assert not support.ok
    assert reason in support.reason


def test_a_linear_problem_of_one_field_is_left_to_the_linear_solvers():
    problem = Problem(name="poisson", fields=[u], domain=SQUARE, equations=[sp.Eq(laplacian(u) + x * u, 1)], conditions=[Dirichlet(u, 0)])
    assert find(problem).name != "nonlinear_box"


def test_orders_are_checked():
    with pytest.raises(ReferenceSolverError, match="orders are 2, 4 and 6"):
        NonlinearBoxSolver(order=3)
