"""The fast Poisson solver: orders with and without corners, closed forms, every transform, honest estimates, singular and refused problems."""

import numpy as np
import pytest
import sympy as sp

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import (
    PML,
    Box,
    Dirichlet,
    GaussianSource,
    Interval,
    Neumann,
    Periodic,
    Problem,
    Robin,
    SourceFamily,
    coordinates,
    div,
    field,
    grad,
    laplacian,
    manufactured,
)
from pinnsiren.reference_solvers import find
from pinnsiren.reference_solvers.fast_poisson import CORNER_ORDER, MIXED_CORNER_ORDER, ORDER, FastPoissonSolver
from pinnsiren.reference_solvers.linear_box import LinearBoxSolver

x, y, z = coordinates("x y z")
ORDER_TOLERANCE = 0.2
# The estimate is 1.5 times the error once the solution is resolved and converges as declared.
ESTIMATE_FACTOR = 3
# Where corners are hardly excited the solution converges faster than declared, and the estimate does not believe it.
FASTER_THAN_DECLARED = 30
TURN = 2 * sp.pi
KINDS = {"D": Dirichlet, "N": Neumann}


def relative_error(solution, exact, symbols, every=1):
    (values,) = solution.values.values()
    shared = (slice(None, None, every),) * len(symbols)
    truth = sp.lambdify(symbols, exact, "numpy")(*np.meshgrid(*solution.axes.values(), indexing="ij"))
    return np.linalg.norm((values - truth)[shared]) / np.linalg.norm(truth[shared])


def between(ends, exact, *, reaction=1, complex_field=False):
    """Lap v - reaction v = f with conditions by two letters per axis, manufactured."""
    symbols = (x, y, z)[: len(ends)]
    v = field("v", *symbols, complex=complex_field)
    conditions = []
    for symbol, pair in zip(symbols, ends, strict=True):
        if pair == "PP":
            conditions.append(Periodic(v, symbol))
        else:
            conditions += [KINDS[kind](v, 0, on=f"{symbol}{side}") for kind, side in zip(pair, "-+", strict=True)]
    box = Box({symbol: (0, 1) for symbol in symbols})
    problem = Problem(name="box", fields=[v], domain=box, equations=[laplacian(v) - reaction * v], conditions=conditions)
    return manufactured(problem, {v: exact}), symbols


def observed_orders(ends, exact, cells):
    problem, symbols = between(ends, exact)
    solutions = [FastPoissonSolver(cells=n).solve(problem) for n in cells]
    # On the nodes that the four grids share; between them, splines of a higher power of the step blur the fit.
    errors = [relative_error(solution, exact, symbols, every=4) for solution in solutions]
    return -np.polyfit(np.log(cells), np.log(errors), 1)[0], solutions[-1].order


@pytest.mark.parametrize("ends", ["DD", "NN", "DN", "ND"])
def test_order_eight_on_a_line(ends):
    measured, declared = observed_orders((ends,), sp.sin(7 * x) * sp.exp(x / 2) + x, (48, 64, 80, 96))
    assert declared == ORDER
    assert abs(measured - ORDER) < ORDER_TOLERANCE


@pytest.mark.parametrize(
    ("ends", "order"),
    [(("DD", "DD"), CORNER_ORDER), (("NN", "NN"), CORNER_ORDER), (("DN", "DN"), MIXED_CORNER_ORDER), (("NN", "DD"), MIXED_CORNER_ORDER)],
)
def test_corners_lower_the_order_to_the_declared_one(ends, order):
    exact = sp.sin(5 * y + x) * sp.exp(y / 2) * sp.exp(sp.sin(2 * x)) + y
    measured, declared = observed_orders(ends, exact, (128, 192, 256, 384))
    assert declared == order
    assert abs(measured - order) < ORDER_TOLERANCE


@pytest.mark.parametrize("ends", [("DD", "DD"), ("NN", "NN"), ("DN", "ND"), ("PP", "DD")])
@pytest.mark.parametrize("cells", [128, 256])
def test_the_estimate_is_near_the_error_and_not_below(ends, cells):
    exact = sp.exp(sp.sin(TURN * x) / 2) * sp.sin(5 * y + 1)
    problem, symbols = between(ends, exact)
    solution = FastPoissonSolver(cells=cells).solve(problem)
    error = relative_error(solution, exact, symbols)
    assert error < solution.error_estimate < FASTER_THAN_DECLARED * error


@pytest.mark.parametrize(("ends", "cells"), [(("DD", "DD"), 128), (("DN", "DN"), 128), (("NN", "DD"), 192), (("NN", "NN"), 256)])
def test_the_estimate_is_close_where_corners_set_the_error(ends, cells):
    exact = sp.sin(5 * y + x) * sp.exp(y / 2) * sp.exp(sp.sin(2 * x)) + y
    problem, symbols = between(ends, exact)
    solution = FastPoissonSolver(cells=cells).solve(problem)
    error = relative_error(solution, exact, symbols)
    assert error < solution.error_estimate < ESTIMATE_FACTOR * error


@pytest.mark.parametrize("ends", ["DD", "NN", "DN", "ND"])
def test_rounding_is_reached_on_strips_whose_data_permit(ends):
    exact = sp.sin(3 * y + 1) * sp.exp(y / 2) * sp.exp(sp.sin(TURN * x) / 3)
    problem, symbols = between(("PP", ends), exact)
    solution = FastPoissonSolver(tolerance=1e-13, most_points=700_000).solve(problem)
    assert relative_error(solution, exact, symbols) < 5e-13
    assert solution.error_estimate < 1e-11


def test_a_torus_is_solved_to_rounding():
    exact = sp.exp(sp.sin(TURN * x)) * sp.cos(TURN * (y - sp.Rational(1, 5)))
    problem, symbols = between(("PP", "PP"), exact)
    solution = FastPoissonSolver(tolerance=1e-13).solve(problem)
    assert relative_error(solution, exact, symbols) < 1e-13 > solution.error_estimate


def test_three_dimensions_with_three_kinds_of_faces():
    exact = sp.exp(sp.sin(TURN * x) / 2) * sp.sin(2 * y + z) + y
    problem, symbols = between(("PP", "DD", "DN"), exact)
    solution = FastPoissonSolver(most_points=400_000).solve(problem)
    error = relative_error(solution, exact, symbols)
    assert error < 1e-6
    assert error < solution.error_estimate < ESTIMATE_FACTOR * error


def test_torsion_of_a_square_whose_data_are_not_compatible_at_the_corners():
    v = field("v", x, y)
    box = Box({x: (0, 1), y: (0, 1)})
    problem = Problem(name="torsion", fields=[v], domain=box, equations=[laplacian(v) + 1], conditions=[Dirichlet(v, 0)])
    solution = FastPoissonSolver(cells=64).solve(problem)
    a, b = np.meshgrid(*solution.axes.values(), indexing="ij")
    # Timoshenko, Goodier (1951), section 109; 400 terms leave 1e-9 of the maximum at the faces y = 0 and 1.
    truth = a * (1 - a) / 2
    for n in range(1, 800, 2):
        decay = np.exp(-n * np.pi * b) + np.exp(-n * np.pi * (1 - b))
        truth -= 4 / (np.pi * n) ** 3 * np.sin(n * np.pi * a) * decay / (1 + np.exp(-n * np.pi))
    error = np.linalg.norm(solution.values["v"] - truth) / np.linalg.norm(truth)
    assert error < 1e-5
    assert error < solution.error_estimate < ESTIMATE_FACTOR * error


def test_waves_in_a_closed_box_and_complex_data():
    exact = sp.exp(sp.I * (7 * x - 3 * y)) * sp.cos(2 * y)
    problem, symbols = between(("DD", "ND"), exact, reaction=-60, complex_field=True)
    solution = FastPoissonSolver(tolerance=1e-8).solve(problem)
    error = relative_error(solution, exact, symbols)
    assert error < solution.error_estimate < 1e-8


def test_anisotropic_fluxes_with_constant_coefficients_are_read():
    v = field("v", x, y)
    exact = sp.cos(sp.pi * x) * sp.sin(2 * y + 1)
    box = Box({x: (0, 1), y: (0, 3)})
    problem = Problem(name="flux", fields=[v], domain=box, equations=[div(3 * grad(v)) + 2 * v.diff(y, 2)], conditions=[Dirichlet(v, 0)])
    problem = manufactured(problem, {v: exact})
    assert relative_error(FastPoissonSolver(cells=192).solve(problem), exact, (x, y)) < 1e-8


def test_two_ways_through_one_declaration_agree():
    exact = sp.exp(x * y) + sp.sin(3 * x)
    problem, _ = between(("DN", "ND"), exact)
    fast, direct = FastPoissonSolver(tolerance=1e-9).solve(problem), LinearBoxSolver(tolerance=1e-8).solve(problem)
    points = np.random.default_rng(4).uniform(0, 1, (2, 300))
    difference = np.linalg.norm(fast(*points) - direct(*points)) / np.linalg.norm(fast(*points))
    assert difference < fast.error_estimate + direct.error_estimate


def test_it_is_found_first_where_it_applies():
    problem, _ = between(("DD", "DD"), sp.sin(x + y))
    assert find(problem).name == "fast_poisson"


def test_shots_share_the_transforms():
    shots = field("v", x, y, shots=2)
    sources = [sp.sin(sp.pi * x) * sp.sin(sp.pi * y), sp.sin(2 * sp.pi * x) * sp.sin(sp.pi * y)]
    box = Box({x: (0, 1), y: (0, 1)})
    equation = sp.Eq(laplacian(shots), SourceFamily(sources))
    problem = Problem(name="shots", fields=[shots], domain=box, equations=[equation], conditions=[Dirichlet(shots, 0)])
    solution = FastPoissonSolver().solve(problem)
    for values, source, eigenvalue in zip(solution.values["v"], sources, (2, 5), strict=True):
        truth = sp.lambdify((x, y), -source / (eigenvalue * sp.pi**2), "numpy")(*np.meshgrid(*solution.axes.values(), indexing="ij"))
        assert np.max(np.abs(values - truth)) < 1e-10 * np.max(np.abs(truth))


@pytest.mark.parametrize("ends", [("NN", "NN"), ("PP", "PP"), ("PP", "NN")])
def test_a_free_constant_gives_the_mean_free_solution(ends):
    exact = sp.cos(TURN * x) * sp.cos(sp.pi * y * 2) + sp.sin(TURN * x) * sp.cos(TURN * y)
    problem, symbols = between(ends, exact, reaction=0)
    solution = FastPoissonSolver(tolerance=1e-11).solve(problem)
    assert relative_error(solution, exact, symbols) < 1e-10
    assert any("mean-free" in note for note in solution.notes)


def test_incompatible_data_are_named_by_their_integral():
    v = field("v", x, y)
    box = Box({x: (0, 2), y: (0, 1)})
    # The flux form with two factors is more than the declaration's own check reads: source 3, area 2.
    equation = sp.Eq(div(2 * grad(v)) + laplacian(v), 3)
    problem = Problem(name="leak", fields=[v], domain=box, equations=[equation], conditions=[Neumann(v, 0)])
    with pytest.raises(ReferenceSolverError, match="`leak` has pure Neumann data whose integral is 6: the source minus what flows"):
        FastPoissonSolver().solve(problem)


def test_a_resonance_is_told():
    v = field("v", x)
    # Between walls the discrete eigenvalue differs from pi^2; on a loop the eigenvalues are exact.
    equation = sp.Eq(v.diff(x, 2) + TURN**2 * v, sp.sin(TURN * x))
    problem = Problem(name="bell", fields=[v], domain=Interval({x: (0, 1)}), equations=[equation], conditions=[Periodic(v, x)])
    with pytest.raises(ReferenceSolverError, match="`bell` is at a resonance of the closed box"):
        FastPoissonSolver().solve(problem)


def refused():
    v, w = field("v", x, y), field("w", x, y, complex=True)
    box = Box({x: (0, 1), y: (0, 1)})

    def problem(equation, *conditions, unknown=v):
        return Problem(name="p", fields=[unknown], domain=box, equations=[equation], conditions=conditions or [Dirichlet(unknown, 0)])

    return {
        "is not constant": problem(laplacian(v) - (1 + x) * v - 1),
        "first-order or mixed": problem(laplacian(v) + v.diff(x) - 1),
        "absorbing layer": problem(laplacian(w) + 100 * w - 1, PML(w), unknown=w),
        "Robin condition": problem(laplacian(v) - 1, Robin(v, 1, 1, 0)),
        "jumps": problem(sp.Eq(laplacian(v), sp.Piecewise((1, x < 0.5), (0, True)))),
        "too narrow": problem(sp.Eq(laplacian(v), GaussianSource(at={x: 0.5, y: 0.5}, variance=1e-4))),
    }


@pytest.mark.parametrize("reason", sorted(refused()))
def test_what_transforms_cannot_do_is_refused_with_the_reason(reason):
    support = FastPoissonSolver().supports(refused()[reason])
    assert not support.ok and reason in support.reason


def test_cells_that_do_not_fit_the_ladder_are_refused():
    with pytest.raises(ReferenceSolverError, match="cells=100; expected a multiple of 16"):
        FastPoissonSolver(cells=100)
