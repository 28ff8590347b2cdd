"""Stream plans: the smallest closed set of streams, their cost against nested differentiation, and the algebra written in them."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
import torch

from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.compiler.stream_algebra import stream_algebra
from pinnsiren.compiler.stream_plan import nested_sweeps
from pinnsiren.language import (
    PML,
    Box,
    Constraint,
    Dirichlet,
    InitialCondition,
    Interval,
    Neumann,
    Observations,
    Problem,
    SpaceTime,
    coordinates,
    div,
    field,
    grad,
    laplacian,
)
from pinnsiren.networks import Siren
from pinnsiren.training.network_model import NetworkModel
from pinnsiren.training.network_problem import NetworkProblem

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
    conditions = [Dirichlet(W, 0), InitialCondition(W, sp.sin(sp.pi * x) * sp.sin(sp.pi * y)), InitialCondition(W.diff(t), 0)]
    return compiled(W, [W.diff(t, 2) - (1 + x) * laplacian(W)], conditions, domain)


def layered_helmholtz():
    u = field("u", x, y, complex=True)
    return compiled(u, [laplacian(u) + 100 * u], [PML(u, width=0.3, strength=4)], Box({x: (0, 1), y: (0, 1)}))


def two_operators():
    u, v = field("u", x, y, z), field("v", x, y, z)
    domain = Box({s: (0, 1) for s in (x, y, z)})
    equations = [laplacian(u) + v, v.diff(x, 2) + 2 * v.diff(y, 2) + 3 * v.diff(z, 2) - u]
    return compile_problem(Problem(name="two", fields=[u, v], domain=domain, equations=equations, conditions=[Dirichlet(u, 0), Dirichlet(v, 0)]))


def sizes(problem):
    return [streams.layout.size for streams in problem.streams.residuals]


def test_values_alone_need_one_stream():
    assert sizes(interpolation(U2)) == [1, 1]


def test_a_first_order_equation_carries_the_gradient_that_it_reads():
    plan = compiled(U3, [U3.diff(y) + U3], [Dirichlet(U3, 0, on="y-")]).streams
    assert plan.layout.names == ("value", "d1")
    assert compiled(U2, [grad(U2).dot(grad(U2)) - 1], [Dirichlet(U2, 0, on={x: 0.5, y: 0.5})]).streams.layout.size == 3


def test_transport_is_one_derivative_along_its_direction():
    assert compiled(U3, [U3.diff(y) + 2 * U3.diff(x) + U3], [Dirichlet(U3, 0, on="y-")]).streams.layout.size == 2


@pytest.mark.parametrize("u", [U1, U2, U3], ids=["1-D", "2-D", "3-D"])
def test_the_laplacian_needs_d_plus_two_streams(u):
    plan = compiled(u, [laplacian(u) - x]).streams
    dimension = len(u.args)
    assert plan.layout.size == dimension + 2
    assert plan.layout.closed[-1].operator == tuple((tuple(2 * (i == j) for j in range(dimension)), 1.0) for i in range(dimension))


def test_rows_of_a_condition_carry_what_the_condition_reads():
    problem = compiled(U2, [laplacian(U2) - 1], [Dirichlet(U2, x, on=("x-", "x+")), Neumann(U2, 0, on=("y-", "y+"))])
    assert sizes(problem) == [4, 1, 1, 2, 2]


def test_a_common_factor_stays_in_the_algebra():
    plan = compiled(U2, [sp.exp(x) * laplacian(U2) + y * U2.diff(x)]).streams
    assert plan.layout.size == 4


def test_a_flux_with_a_variable_coefficient_needs_no_further_stream():
    assert compiled(U2, [div((2 + sp.sin(x)) * grad(U2)) - 1]).streams.layout.size == 4


def test_a_wave_equation_with_variable_speed_carries_two_operators():
    layout = wave_equation().streams.layout
    assert layout.size == 6
    assert [len(stream.operator) for stream in layout.closed] == [1, 1, 1, 2, 1]


def test_a_wave_equation_with_constant_speed_carries_one_operator():
    domain = SpaceTime(Box({x: (0, 1), y: (0, 1)}), {t: (0, 1)})
    conditions = [Dirichlet(W, 0), InitialCondition(W, sp.sin(sp.pi * x) * sp.sin(sp.pi * y)), InitialCondition(W.diff(t), 0)]
    layout = compiled(W, [W.diff(t, 2) - 4 * laplacian(W)], conditions, domain).streams.layout
    assert layout.names == ("value", "d0", "d1", "d2", "L4")
    operator = dict(layout.closed[-1].operator)
    assert operator[0, 0, 2] / operator[2, 0, 0] == -0.25


def test_a_layer_separates_the_second_derivatives_in_the_plane():
    assert layered_helmholtz().streams.layout.names == ("value", "d0", "d1", "d00", "d11")


def test_an_equation_of_schroedinger_reads_real_and_imaginary_parts():
    v = field("v", x, t, complex=True)
    domain = SpaceTime(Interval({x: (0, 1)}), {t: (0, 1)})
    conditions = [Dirichlet(v, 0), InitialCondition(v, sp.sin(sp.pi * x))]
    layout = compiled(v, [sp.I * v.diff(t) + v.diff(x, 2)], conditions, domain).streams.layout
    assert layout.names == ("value", "d0", "d1", "d00")


def test_a_modulus_reads_every_derivative():
    v = field("v", x, y, complex=True)
    problem = compiled(v, [sp.Abs(v.diff(x) + 2 * v.diff(y)) - 1], [Dirichlet(v, 0, on="x-")], Box({x: (0, 1), y: (0, 1)}))
    assert problem.streams.layout.size == 3


def test_each_of_two_equations_has_its_own_operator():
    assert sizes(two_operators())[:2] == [5, 5]


def test_two_operators_in_one_equation_travel_together():
    equation = laplacian(U3) * (U3.diff(x, 2) + 2 * U3.diff(y, 2) + 3 * U3.diff(z, 2)) - 1
    assert compiled(U3, [equation]).streams.layout.size == 6


def test_a_second_derivative_in_a_condition_is_carried_there():
    conditions = [Dirichlet(U2, 0, on=("x-", "x+", "y-")), Constraint(U2.diff(x, y), on="y+")]
    problem = compiled(U2, [laplacian(U2) - 1], conditions)
    assert problem.streams.residuals[-1].layout.names == ("value", "d0", "d1", "d01")


UNITS = [
    # problem, streams, products of nested differentiation: 3 (1 + outputs (1 + 2 coordinates)), and 12 (1 + coordinates)^2
    (lambda: compiled(U1, [laplacian(U1) - 1], domain=Interval({x: (0, 1)})), 3, 12),
    (lambda: compiled(U2, [laplacian(U2) - 1]), 4, 18),
    (lambda: compiled(U3, [laplacian(U3) - 1]), 5, 24),
    (layered_helmholtz, 5, 33),
    (lambda: plate(U2), 9, 108),
]


def plate(u):
    return compiled(u, [laplacian(laplacian(u)) - 1], [Dirichlet(u, 0), Constraint(laplacian(u), on="boundary")])


@pytest.mark.parametrize(("build", "streams", "nested"), UNITS)
def test_streams_cost_less_than_nested_differentiation(build, streams, nested):
    plan = build().streams
    assert (plan.largest.units, plan.largest.nested_units) == (PRODUCTS_PER_STREAM * streams, nested)
    assert f"{3 * streams} matrix products per layer and step; nested: {nested}" in str(plan)


@pytest.mark.parametrize(
    ("wanted", "sweeps"),
    [
        # u and its gradient; all of u_xx, u_xy, u_yy; u, u_t, u_x, u_xx, u_xxx: 24 products in all, 3 (1 + 7).
        ([(1, 0), (0, 1)], 1),
        ([(2, 0), (1, 1), (0, 2)], 5),
        ([(0, 1), (1, 0), (3, 0)], 7),
        ([(4, 0), (2, 2), (0, 4)], 35),
    ],
)
def test_nested_differentiation_is_counted_sweep_by_sweep(wanted, sweeps):
    assert nested_sweeps(wanted) == sweeps


def test_nested_differentiation_is_taken_where_it_is_cheaper():
    # One output, three coordinates, first order: 3 (1 + 1) products against 3 (1 + 3).
    travel_time = compiled(U3, [grad(U3).dot(grad(U3)) - 1], [Dirichlet(U3, 0, on={x: 0.5, y: 0.5, z: 0.5})])
    assert travel_time.streams.largest.reverse and "which is taken" in str(travel_time.streams)
    assert not compiled(U3, [laplacian(U3) - 1]).streams.largest.reverse


def test_both_ways_give_one_gradient():
    problem = compiled(U3, [grad(U3).dot(grad(U3)) - 1 - x * y], [Dirichlet(U3, z, on="x-")])
    assert problem.streams.largest.reverse
    gradients = []
    for reverse in (True, False):
        chosen = tuple(replace(streams, reverse=reverse and streams.reverse) for streams in problem.streams.residuals)
        trained = NetworkProblem(replace(problem, streams=replace(problem.streams, residuals=chosen)), torch.device("cpu"), torch.float64)
        module = Siren(width=8, depth=2, omega_0=2.0).build(trained.n_inputs, trained.n_outputs, seed=1)
        loss = trained.loss(module, trained.prepare(32, 5), torch.zeros(0, dtype=torch.float64))
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))]))
    assert float((gradients[0] - gradients[1]).norm()) < ROUNDING * float(gradients[1].norm())


def vibrating_plate():
    domain = SpaceTime(Box({x: (0, 1), y: (0, 1)}), {t: (0, 1)})
    start = InitialCondition(W, sp.sin(sp.pi * x) * sp.sin(sp.pi * y))
    conditions = [Dirichlet(W, 0), Constraint(laplacian(W), on="boundary"), start, InitialCondition(W.diff(t), 0)]
    return compiled(W, [W.diff(t, 2) + (1 + x**2) * laplacian(laplacian(W)) + W**3], conditions, domain)


def korteweg_de_vries():
    v = field("v", x, t)
    domain = SpaceTime(Interval({x: (0, 1)}), {t: (0, 1)})
    return compiled(v, [v.diff(t) + 6 * v * v.diff(x) + v.diff(x, 3)], [Dirichlet(v, 0), InitialCondition(v, sp.sin(sp.pi * x))], domain)


def test_fourth_order_residuals_of_a_network_agree_with_the_exact_ones():
    """Streams of the network through scaling, envelope and algebra against nested differentiation of the field itself."""
    problem = vibrating_plate()
    trained = NetworkProblem(problem, torch.device("cpu"), torch.float64)
    module = Siren(width=8, depth=2, omega_0=2.0).build(trained.n_inputs, trained.n_outputs, seed=1)
    points = problem.ir.domain.sample_interior(12, 3)
    prepared = trained.prepare_points(points, 0)
    computed = trained.side_values(module.streams(prepared.inputs, None, prepared.layout), prepared, 0, torch.zeros(0))
    program = problem.programs[0]
    model = NetworkModel(trained, module, torch.zeros(0))
    jets = [nested_field(problem, trained, module, points, jet.orders) for jet in program.jets]
    expected = program.compile([program.algebra])(program.coefficients(points), jets, [])[0]
    np.testing.assert_allclose(computed.detach().numpy(), expected, rtol=0, atol=1e-11 * np.max(np.abs(expected)))
    for jet, values in zip(program.jets, jets, strict=True):
        np.testing.assert_allclose(model.evaluate(0, points, jet.orders), values, rtol=0, atol=1e-11 * np.max(np.abs(values)))


def nested_field(problem, trained, module, points, orders):
    """A derivative of envelope * network by nested autograd, with respect to the physical coordinates."""
    inputs = sp.lambdify(problem.ir.coordinates, list(trained.input_expressions), "torch")
    envelope = sp.lambdify(problem.ir.coordinates, problem.ir.envelope[0], "torch")
    physical = torch.tensor(points, requires_grad=True)
    columns = physical.unbind(1)
    local = torch.stack([torch.as_tensor(value).expand(len(points)) for value in inputs(*columns)], dim=1)
    value = (module(local)[:, 0] * envelope(*columns))
    for axis, count in enumerate(orders):
        for _ in range(count):
            value = torch.autograd.grad(value.sum(), physical, create_graph=True)[0][:, axis]
    return value.detach().numpy()[:, None]


def nonlinear():
    return compiled(U2, [laplacian(U2) + sp.exp(U2) * U2.diff(x) ** 2 - U2**3])


PROBLEMS = [wave_equation, layered_helmholtz, two_operators, nonlinear, korteweg_de_vries, vibrating_plate]


@pytest.mark.parametrize("build", [*PROBLEMS, lambda: compiled(U2, [laplacian(U2)])])
def test_the_algebra_in_streams_equals_the_algebra_in_jets(build):
    problem = build()
    plan, generator = problem.streams, np.random.default_rng(3)
    points = problem.ir.domain.sample_interior(16, 2)
    random = {}
    for jet in problem.ir.jets:
        random[jet.field, jet.orders] = generator.normal(size=(16, 1)) + 1j * generator.normal(size=(16, 1)) * problem.is_complex
    for streams, program, algebra in zip(plan.residuals, problem.programs, stream_algebra(problem.programs, plan), strict=True):
        for index in range(len(problem.ir.is_complex)):
            for orders in {orders for stream in streams.layout.closed for orders, _ in stream.operator}:
                random.setdefault((index, orders), generator.normal(size=(16, 1)))
        coefficients = program.coefficients(points, np.ones_like(points))
        jets = [random[jet.field, jet.orders] for jet in program.jets]
        in_jets = program.compile([program.algebra])(coefficients, jets, [])[0]
        values = [stream_value(streams.layout, random, f, s) for f, s, _ in algebra.symbols]
        in_streams = sp.lambdify(algebra.arguments(), algebra.expression, modules="numpy")(coefficients, values, [])
        np.testing.assert_allclose(in_streams, in_jets, rtol=0, atol=ROUNDING * (1 + np.max(np.abs(in_jets))))


def stream_value(layout, random, field_index, stream):
    if stream == 0:
        return random[field_index, (0,) * layout.n_coordinates]
    return sum(c * random[field_index, orders] for orders, c in layout.closed[stream - 1].operator)


def test_coefficients_that_are_no_binary_fractions_cancel():
    ratio = sp.Rational(7, 3)
    problem = compiled(U2, [3 * U2.diff(x, 2) + 7 * U2.diff(y, 2) + sp.Float(0.1) * U2])
    (algebra, *_) = stream_algebra(problem.programs, problem.streams)
    assert dict(problem.streams.layout.closed[-1].operator)[0, 2] == float(ratio)
    assert algebra.expression.coeff(algebra.symbols[-1][2]) == 3
