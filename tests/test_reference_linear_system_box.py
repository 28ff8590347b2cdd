"""Systems of linear equations on boxes: observed orders, pairing of equations with fields, agreement with the scalar solver, refusals."""

import numpy as np
import pytest
import sympy as sp

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Box, Dirichlet, Interval, Neumann, Periodic, Problem, Robin, coordinates, div, field, grad, laplacian, manufactured
from pinnsiren.reference_solvers.linear_box import LinearBoxSolver
from pinnsiren.reference_solvers.linear_system_box import LinearSystemSolver

x, y = coordinates("x y")
U, V = field("u", x, y), field("v", x, y)
BOX = Box({x: (0, 1), y: (0, 1)})
TURN = 2 * sp.pi
ORDER_TOLERANCE = 0.2
# The estimate counts what splines lose between the nodes, the errors here are those of the nodes.
ESTIMATE_FACTOR = 4
EXACT = {U: sp.sin(3 * x + 1) * sp.cos(TURN * y) + 2, V: sp.exp(x / 2) * sp.cos(TURN * y) + x}
EXCHANGE = (div((2 + sp.cos(3 * x)) * grad(U)) - 4 * U + 3 * V, laplacian(V) + (1 + x) * U - 5 * V + V.diff(x))


def exchange(equations=EXCHANGE):
    conditions = [Periodic(U, y), Periodic(V, y), Dirichlet(U, 0, on="x-"), Neumann(U, 0, on="x+"), Robin(V, 1, 2, 0, on=("x-", "x+"))]
    return manufactured(Problem(name="exchange", fields=[U, V], domain=BOX, equations=equations, conditions=conditions), EXACT)


def worst_error(solution, exact):
    points = np.meshgrid(*solution.axes.values(), indexing="ij")
    symbols = tuple(solution.axes)
    truths = {str(f.func): sp.lambdify(symbols, expression, "numpy")(*points) for f, expression in exact.items()}
    return max(np.linalg.norm(solution.values[name] - truth) / np.linalg.norm(truth) for name, truth in truths.items())


@pytest.mark.parametrize("order", [2, 4, 6])
def test_observed_order_with_variable_coupling(order):
    cells = (24, 28, 34, 40)
    solutions = [LinearSystemSolver(order=order, cells=n).solve(exchange()) for n in cells]
    errors = [worst_error(solution, EXACT) for solution in solutions]
    assert abs(-np.polyfit(np.log(cells), np.log(errors), 1)[0] - order) < ORDER_TOLERANCE
    assert errors[-1] < solutions[-1].error_estimate < ESTIMATE_FACTOR * errors[-1]


def test_the_equations_may_stand_in_any_order():
    forward = LinearSystemSolver(order=4, cells=24).solve(exchange())
    backward = LinearSystemSolver(order=4, cells=24).solve(exchange(EXCHANGE[::-1]))
    assert all(np.max(np.abs(forward.values[name] - backward.values[name])) < 1e-10 for name in "uv")


def test_cross_diffusion_and_flux_coupling():
    p, q = field("p", x), field("q", x)
    exact = {p: sp.sin(4 * x) + x, q: sp.exp(-x) * sp.cos(3 * x)}
    equations = [div((1 + x) * grad(p) + sp.cos(x) / 3 * grad(q)) - p, q.diff(x, 2) + p.diff(x, 2) / 2 + p.diff(x) - q]
    problem = Problem(name="cross", fields=[p, q], domain=Interval({x: (0, 1)}), equations=equations, conditions=[Dirichlet(p, 0), Dirichlet(q, 0)])
    solution = LinearSystemSolver(tolerance=1e-7).solve(manufactured(problem, exact))
    assert worst_error(solution, exact) < solution.error_estimate < 1e-7


def test_uncoupled_equations_give_the_solutions_of_the_scalar_solver():
    source = sp.exp(x - y)
    equations = [sp.Eq(laplacian(U) - U, source), sp.Eq(laplacian(V) - 2 * V, -source)]
    problem = Problem(name="two", fields=[U, V], domain=BOX, equations=equations, conditions=[Dirichlet(U, x), Dirichlet(V, y)])
    together = LinearSystemSolver(order=4, cells=28).solve(problem)
    for candidate, equation, value in zip((U, V), equations, (x, y), strict=True):
        alone = Problem(name="one", fields=[candidate], domain=BOX, equations=[equation], conditions=[Dirichlet(candidate, value)])
        (values,) = LinearBoxSolver(order=4, cells=28).solve(alone).values.values()
        assert np.max(np.abs(together.values[str(candidate.func)] - values)) < 1e-10


def test_complex_fields_are_coupled_like_real_ones():
    a, b = field("a", x, complex=True), field("b", x, complex=True)
    exact = {a: sp.exp(3 * sp.I * x), b: sp.cos(2 * x) + sp.I * x}
    equations = [a.diff(x, 2) + (9 + sp.I) * a + sp.I * b, b.diff(x, 2) + 4 * b - a]
    problem = Problem(name="modes", fields=[a, b], domain=Interval({x: (0, 1)}), equations=equations, conditions=[Dirichlet(a, 0), Dirichlet(b, 0)])
    solution = LinearSystemSolver(order=6, cells=60).solve(manufactured(problem, exact))
    assert worst_error(solution, exact) < 1e-8


def refused():
    both = [Dirichlet(U, 0), Dirichlet(V, 0)]

    def problem(equations, conditions=None):
        return Problem(name="p", fields=[U, V], domain=BOX, equations=equations, conditions=both if conditions is None else conditions)

    one_way = [Periodic(U, x), Dirichlet(U, 0, on=("y-", "y+")), Dirichlet(V, 0)]
    return {
        "is not linear": problem([laplacian(U) - U * V - 1, laplacian(V) - V]),
        "multiplies `u` with another field": problem([laplacian(U) + V * U.diff(x) - 1, laplacian(V) - V]),
        "periodic along different axes": problem([laplacian(U) - V - 1, laplacian(V) - U], one_way),
        "no pairing of the equations": problem([laplacian(U) - V - 1, U.diff(x, 2) + V]),
    }


@pytest.mark.parametrize("reason", sorted(refused()))
def test_what_a_block_matrix_cannot_do_is_refused_with_the_reason(reason):
    support = LinearSystemSolver().supports(refused()[reason])
    assert not support.ok and reason in support.reason


def test_one_equation_is_left_to_the_scalar_solver():
    problem = Problem(name="p", fields=[U], domain=BOX, equations=[laplacian(U) - 1], conditions=[Dirichlet(U, 0)])
    assert "has 1 for 1" in LinearSystemSolver().supports(problem).reason


def test_a_system_without_unique_solution_is_told():
    equations = [laplacian(U) - U + V, laplacian(V) + U - V + sp.cos(TURN * x)]
    problem = Problem(name="p", fields=[U, V], domain=BOX, equations=equations, conditions=[Neumann(U, 0), Neumann(V, 0)])
    with pytest.raises(ReferenceSolverError, match="`p` is singular: constants may be added"):
        LinearSystemSolver(cells=24).solve(problem)
