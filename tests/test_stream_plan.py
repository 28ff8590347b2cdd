"""Stream plans: the smallest closed set of streams, their cost against nested differentiation, and the algebra written in them."""

import numpy as np
import pytest
import sympy as sp

from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.compiler.stream_algebra import stream_algebra
from pinnsiren.errors import CompileError
from pinnsiren.language import (
    PML,
    Box,
    Constraint,
    Dirichlet,
    InitialCondition,
    Interval,
    Observations,
    Problem,
    SpaceTime,
    coordinates,
    div,
    field,
    grad,
    laplacian,
)

ROUNDING = 1e-12  # relative to the largest term: the eliminated derivative cancels up to rounding
PRODUCTS_PER_STREAM = 3  # forward, gradient of the input, gradient of the weights

x, y, z, t = coordinates("x y z t")
U1, U2, U3 = field("u", x), field("u", x, y), field("u", x, y, z)
W = field("w", x, y, t)


def compiled(u, equations, conditions=None, domain=None):
    domain = domain or Box({symbol: (0, 1) for symbol in u.args})
    return compile_problem(Problem(name="p", fields=[u], domain=domain, equations=equations, conditions=conditions or [Dirichlet(u, 0)]))


def interpolation(u):
    observed = Observations(u, np.full((3, len(u.args)), 0.5), np.zeros(3))
    return compile_problem(Problem(name="v", fields=[u], domain=Box({s: (0, 1) for s in u.args}), equations=[u - x], conditions=[observed]))


def wave_equation():
    domain = SpaceTime(Box({x: (0, 1), y: (0, 1)}), {t: (0, 1)})
    conditions = [Dirichlet(W, 0), InitialCondition(W, sp.sin(x)), InitialCondition(W.diff(t), 0)]
    return compiled(W, [W.diff(t, 2) - (1 + x) * laplacian(W)], conditions, domain)


def layered_helmholtz():
    u = field("u", x, y, complex=True)
    return compiled(u, [laplacian(u) + 100 * u], [PML(u, width=0.3, strength=4)], Box({x: (0, 1), y: (0, 1)}))


def two_operators():
    u, v = field("u", x, y, z), field("v", x, y, z)
    domain = Box({s: (0, 1) for s in (x, y, z)})
    equations = [laplacian(u) + v, v.diff(x, 2) + 2 * v.diff(y, 2) + 3 * v.diff(z, 2) - u]
    return compile_problem(Problem(name="two", fields=[u, v], domain=domain, equations=equations, conditions=[Dirichlet(u, 0), Dirichlet(v, 0)]))


def test_values_alone_need_one_stream():
    plan = interpolation(U2).streams
    assert plan.layout.names == ("value",)


def test_a_first_order_equation_carries_the_gradient_that_it_reads():
    plan = compiled(U3, [U3.diff(y) + U3], [Dirichlet(U3, 0, on="y-")]).streams
    assert plan.layout.names == ("value", "d1")
    assert compiled(U2, [grad(U2).dot(grad(U2)) - 1], [Dirichlet(U2, 0, on={x: 0.5, y: 0.5})]).streams.layout.size == 3


@pytest.mark.parametrize("u", [U1, U2, U3], ids=["1-D", "2-D", "3-D"])
def test_the_laplacian_needs_d_plus_two_streams(u):
    plan = compiled(u, [laplacian(u) - x]).streams
    dimension = len(u.args)
    assert plan.layout.size == dimension + 2
    assert plan.operators == (tuple((tuple(2 * (i == j) for j in range(dimension)), 1.0) for i in range(dimension)),)


def test_a_common_factor_stays_in_the_algebra():
    plan = compiled(U2, [sp.exp(x) * laplacian(U2) + y * U2.diff(x)]).streams
    assert plan.layout.size == 4


def test_a_flux_with_a_variable_coefficient_needs_no_further_stream():
    assert compiled(U2, [div((2 + sp.sin(x)) * grad(U2)) - 1]).streams.layout.size == 4


def test_a_wave_equation_with_variable_speed_carries_its_own_second_derivatives():
    plan = wave_equation().streams
    assert plan.layout.n_operators == 3 and plan.layout.size == 7


def test_a_wave_equation_with_constant_speed_carries_one_operator():
    domain = SpaceTime(Box({x: (0, 1), y: (0, 1)}), {t: (0, 1)})
    conditions = [Dirichlet(W, 0), InitialCondition(W, sp.sin(x)), InitialCondition(W.diff(t), 0)]
    plan = compiled(W, [W.diff(t, 2) - 4 * laplacian(W)], conditions, domain).streams
    assert plan.layout.names == ("value", "d0", "d1", "d2", "L0")
    assert dict(plan.operators[0])[(0, 0, 2)] / dict(plan.operators[0])[(2, 0, 0)] == -0.25


def test_a_layer_separates_the_second_derivatives_in_the_plane():
    plan = layered_helmholtz().streams
    assert plan.layout.names == ("value", "d0", "d1", "L0", "L1")
    assert {orders for operator in plan.operators for orders, _ in operator} == {(2, 0), (0, 2)}


def test_two_operators_travel_together_when_they_are_fewer_than_the_derivatives():
    plan = two_operators().streams
    assert plan.layout.n_operators == 2 and plan.layout.size == 6


def test_a_second_derivative_in_a_condition_joins_the_plan():
    plan = compiled(U2, [laplacian(U2) - 1], [Dirichlet(U2, 0, on=("x-", "x+", "y-")), Constraint(U2.diff(x, y), on="y+")]).streams
    assert {orders for operator in plan.operators for orders, _ in operator} >= {(1, 1)}


UNITS = [
    # problem, streams, products of nested differentiation: 3 (1 + outputs (1 + 2 coordinates))
    (lambda: compiled(U1, [laplacian(U1) - 1], domain=Interval({x: (0, 1)})), 3, 12),
    (lambda: compiled(U2, [laplacian(U2) - 1]), 4, 18),
    (lambda: compiled(U3, [laplacian(U3) - 1]), 5, 24),
    (layered_helmholtz, 5, 33),
]


@pytest.mark.parametrize(("build", "streams", "nested"), UNITS)
def test_streams_cost_less_than_nested_differentiation(build, streams, nested):
    plan = build().streams
    assert (plan.units, plan.nested_units) == (PRODUCTS_PER_STREAM * streams, nested)
    assert plan.units < plan.nested_units
    assert str(plan.units) in str(plan) and str(plan.nested_units) in str(plan)


def test_fourth_order_equations_have_no_stream_plan():
    problem = compiled(U2, [laplacian(laplacian(U2)) - 1], [Dirichlet(U2, 0), Constraint(laplacian(U2), on="boundary")])
    assert not problem.streams.supported
    with pytest.raises(CompileError, match="above second order"):
        stream_algebra(problem.programs, problem.streams)


def nonlinear():
    return compiled(U2, [laplacian(U2) + sp.exp(U2) * U2.diff(x) ** 2 - U2**3])


@pytest.mark.parametrize("build", [wave_equation, layered_helmholtz, two_operators, nonlinear, lambda: compiled(U2, [laplacian(U2)])])
def test_the_algebra_in_streams_equals_the_algebra_in_jets(build):
    problem = build()
    plan, generator = problem.streams, np.random.default_rng(3)
    points = problem.ir.domain.sample_interior(16, 2)
    random = {}
    for jet in problem.ir.jets:
        random[jet.field, jet.orders] = generator.normal(size=(16, 1)) + 1j * generator.normal(size=(16, 1)) * problem.is_complex
    for index in range(len(problem.ir.is_complex)):
        for orders in {orders for operator in plan.operators for orders, _ in operator}:
            random.setdefault((index, orders), generator.normal(size=(16, 1)))
    for program, algebra in zip(problem.programs, stream_algebra(problem.programs, plan), strict=True):
        coefficients = program.coefficients(points, np.ones_like(points))
        jets = [random[jet.field, jet.orders] for jet in program.jets]
        in_jets = program.compile([program.algebra])(coefficients, jets, [])[0]
        streams = [stream_value(plan, random, f, s) for f, s, _ in algebra.symbols]
        in_streams = sp.lambdify(algebra.arguments(), algebra.expression, modules="numpy")(coefficients, streams, [])
        np.testing.assert_allclose(in_streams, in_jets, rtol=0, atol=ROUNDING * (1 + np.max(np.abs(in_jets))))


def stream_value(plan, random, field_index, stream):
    layout = plan.layout
    if stream >= layout.operator_start:
        return sum(c * random[field_index, orders] for orders, c in plan.operators[stream - layout.operator_start])
    if stream == 0:
        return random[field_index, (0,) * layout.n_coordinates]
    axis = layout.gradient[stream - 1]
    return random[field_index, tuple(int(i == axis) for i in range(layout.n_coordinates))]


def test_coefficients_that_are_no_binary_fractions_cancel():
    ratio = sp.Rational(7, 3)
    problem = compiled(U2, [3 * U2.diff(x, 2) + 7 * U2.diff(y, 2) + sp.Float(0.1) * U2])
    (algebra, *_) = stream_algebra(problem.programs, problem.streams)
    assert problem.streams.operators[0][1][1] == float(ratio)
    assert algebra.expression.coeff(algebra.symbols[-1][2]) == 3
