"""The method of lines: observed orders, honest estimates at uneven instants, closed forms, incompatible data, blow-up, refusals."""

import numpy as np
import pytest
import sympy as sp

from pinnsiren.errors import ProblemWarning, ReferenceSolverError
from pinnsiren.language import (
    Box,
    Dirichlet,
    GaussianSource,
    InitialCondition,
    Interval,
    Neumann,
    Periodic,
    Problem,
    Robin,
    SourceFamily,
    SpaceTime,
    coordinates,
    declaration_of,
    div,
    field,
    grad,
    laplacian,
    manufactured,
)
from pinnsiren.reference_solvers import find
from pinnsiren.reference_solvers.closed_forms import (
    burgers_sine,
    heat_kernel,
    kdv_soliton,
    schroedinger_soliton,
    sine_gordon_breather,
    sine_gordon_kink,
)
from pinnsiren.reference_solvers.method_of_lines import MethodOfLinesSolver

ORDER_TOLERANCE = 0.2
HONEST = 3.0
SEED = 5

x, y, t = coordinates("x y t")
u, v, q = field("u", x, t), field("v", x, t), field("q", x, y, t)
h = field("h", x, t, complex=True)
WAVY = sp.sin(3 * x + 1) * sp.cos(2 * t + x) + 2


def line(low, high, end):
    return SpaceTime(Interval({x: (low, high)}), {t: (0, end)})


def evolution(name, domain, equations, conditions, fields=(u,)):
    return Problem(name=name, fields=list(fields), domain=domain, equations=list(equations), conditions=list(conditions))


def relative_error(solution, exact, count=6000):
    """The worst field, at scattered points and instants."""
    errors = []
    for unknown, formula in exact.items():
        grid = solution[declaration_of(unknown).name]
        rng = np.random.default_rng(SEED)
        points = [rng.uniform(axis[0], axis[-1], count) for axis in grid.axes]
        truth = sp.lambdify(unknown.args, formula, "numpy")(*points) if isinstance(formula, sp.Basic) else formula(*points)
        errors.append(np.linalg.norm(grid(*points) - truth) / np.linalg.norm(truth))
    return max(errors)


def heated_rod():
    """Conductivity and heat capacity that depend on temperature, place and time, in flux form."""
    equation = (1 + x * t) * u.diff(t) - div((1 + u**2 / 4 + t * x) * grad(u)) + u**3
    walls = [Dirichlet(u, 0, on="x-"), Robin(u, 1, 2, 0, on="x+")]
    problem = evolution("heated_rod", line(0, 1, 1), [equation], [InitialCondition(u, 0), *walls])
    return manufactured(problem, {u: WAVY}), {u: WAVY}


def ring_with_drift():
    equation = u.diff(t) + (1 + t) * u * u.diff(x) - (2 + sp.sin(2 * sp.pi * x)) / 20 * u.diff(x, 2)
    exact = {u: sp.exp(sp.cos(2 * sp.pi * (x - t)))}
    problem = evolution("ring_with_drift", line(0, 1, 1), [equation], [InitialCondition(u, 0), Periodic(u, x)])
    return manufactured(problem, exact), exact


def klein_gordon():
    exact = {u: sp.cos(3 * t) * sp.sin(5 * x + 1) + x * t}
    equation = u.diff(t, 2) - (1 + x / 2) * u.diff(x, 2) + u**3 + (1 + t) * u.diff(t)
    conditions = [InitialCondition(u, 0), InitialCondition(u.diff(t), 0), Dirichlet(u, 0, on="x-"), Neumann(u, 0, on="x+")]
    return manufactured(evolution("klein_gordon", line(0, 1, 2), [equation], conditions), exact), exact


def two_coupled_fields():
    exact = {u: WAVY, v: sp.exp(-t) * sp.cos(2 * x) + 1}
    equations = [u.diff(t) - laplacian(u) + u * v.diff(x) + v.diff(t) / 3, v.diff(t) - 2 * laplacian(v) + u * v]
    conditions = [InitialCondition(u, 0), InitialCondition(v, 0), Dirichlet(u, 0), Neumann(v, 0)]
    return manufactured(evolution("two_fields", line(0, 1, 1), equations, conditions, (u, v)), exact), exact


def plane_with_nonlinear_conduction():
    exact = {q: sp.sin(2 * x + y) * sp.exp(-t) + y}
    domain = SpaceTime(Box({x: (0, 1), y: (0, 1)}), {t: (0, 1)})
    walls = [Dirichlet(q, 0, on=("x-", "x+")), Neumann(q, 0, on=("y-", "y+"))]
    problem = evolution("plane", domain, [q.diff(t) - div((1 + q**2) * grad(q))], [InitialCondition(q, 0), *walls], (q,))
    return manufactured(problem, exact), exact


def heat_with_a_conductivity_in_time():
    exact = {u: sp.exp(-(sp.pi**2) * (t + t**2 / 2)) * sp.sin(sp.pi * x)}
    conditions = [InitialCondition(u, sp.sin(sp.pi * x)), Dirichlet(u, 0)]
    return evolution("warming", line(0, 1, 0.5), [u.diff(t) - (1 + t) * u.diff(x, 2)], conditions), exact


def drifting_gaussian():
    exact = heat_kernel((0.2,), 0.02, 0.004, velocity=(0.5,))
    start = GaussianSource(at={x: 0.2}, variance=sp.Rational(4, 1000))
    conditions = [InitialCondition(u, start), Periodic(u, x)]
    # The second factor makes the coefficient depend on time in the declaration, and is 1.
    equation = u.diff(t) + u.diff(x) / 2 - (sp.cos(t) ** 2 + sp.sin(t) ** 2) / 50 * u.diff(x, 2)
    return evolution("drift", line(-2, 3, 1), [equation], conditions), {u: exact}


def kink_in_free_space():
    exact = 4 * sp.atan(sp.exp((x - t / 2) / sp.sqrt(sp.Rational(3, 4))))
    conditions = [InitialCondition(u, exact.subs(t, 0)), InitialCondition(u.diff(t), exact.diff(t).subs(t, 0))]
    equation = u.diff(t, 2) - u.diff(x, 2) + sp.sin(u)
    return evolution("kink", line(-6, 6, 5), [equation], conditions), {u: sine_gordon_kink(0.5)}


def breather_between_walls():
    decay = sp.Rational(4, 5)
    start = 4 * sp.atan(sp.Rational(4, 3) / sp.cosh(decay * x))
    conditions = [InitialCondition(u, start), InitialCondition(u.diff(t), 0), Dirichlet(u, 0)]
    problem = evolution("breather", line(-20, 20, 10), [u.diff(t, 2) - u.diff(x, 2) + sp.sin(u)], conditions)
    return problem, {u: sine_gordon_breather(0.6)}


def korteweg_de_vries():
    start = 2 * sp.sech(x + 5) ** 2
    problem = evolution("kdv", line(-16, 16, 1), [u.diff(t) + 6 * u * u.diff(x) + u.diff(x, 3)], [InitialCondition(u, start), Periodic(u, x)])
    return problem, {u: kdv_soliton(4.0, at=-5.0)}


def cubic_schroedinger():
    equation = sp.I * h.diff(t) + h.diff(x, 2) / 2 + h * sp.conjugate(h) * h
    conditions = [InitialCondition(h, 2 * sp.sech(2 * x)), Periodic(h, x)]
    return evolution("schroedinger", line(-10, 10, 1), [equation], conditions, (h,)), {h: schroedinger_soliton(2.0)}


def transport_with_outflow():
    exact = sp.exp(-40 * (x - t / 2 - sp.Rational(1, 4)) ** 2)
    conditions = [InitialCondition(u, exact.subs(t, 0)), Dirichlet(u, exact.subs(x, 0), on="x-")]
    return evolution("transport", line(0, 1, 1), [u.diff(t) + u.diff(x) / 2], conditions), {u: exact}


def viscous_string():
    """u_txx makes the waves stiff: Radau on the first-order system."""
    exact = {u: sp.cos(2 * t) * sp.sin(2 * x) + x}
    equation = u.diff(t, 2) - u.diff(x, 2) - u.diff(t, x, x) / 10 + sp.sin(u)
    conditions = [InitialCondition(u, 0), InitialCondition(u.diff(t), 0), Dirichlet(u, 0)]
    return manufactured(evolution("string", line(0, 1, 1), [equation], conditions), exact), exact


CASES = {
    make.__name__: make
    for make in (
        heated_rod,
        ring_with_drift,
        klein_gordon,
        two_coupled_fields,
        plane_with_nonlinear_conduction,
        heat_with_a_conductivity_in_time,
        drifting_gaussian,
        kink_in_free_space,
        breather_between_walls,
        korteweg_de_vries,
        cubic_schroedinger,
        transport_with_outflow,
        viscous_string,
    )
}
STUDIES = [
    (heated_rod, 4, (24, 34, 48, 68)),
    (ring_with_drift, 2, (60, 80, 110, 150)),
    (ring_with_drift, 6, (40, 56, 80, 110)),
    (klein_gordon, 4, (34, 48, 68, 96)),
]


@pytest.mark.parametrize(("make", "order", "cells"), STUDIES)
def test_observed_order_with_coefficients_that_depend_on_field_place_and_time(make, order, cells):
    problem, exact = make()
    solutions = [MethodOfLinesSolver(order=order, cells=n).solve(problem) for n in cells]
    errors = [relative_error(solution, exact) for solution in solutions]
    measured = -np.polyfit(np.log(cells), np.log(errors), 1)[0]
    assert abs(measured - order) < ORDER_TOLERANCE
    assert errors[-1] < HONEST * solutions[-1].error_estimate < HONEST**2 * errors[-1]


@pytest.mark.parametrize("name", CASES)
def test_estimates_are_honest_at_scattered_points_and_instants(name):
    problem, exact = CASES[name]()
    solver = find(problem)
    assert solver.name == "method_of_lines"
    solution = MethodOfLinesSolver(tolerance=2e-5).solve(problem)
    error = relative_error(solution, exact)
    assert error < HONEST * solution.error_estimate < HONEST**2 * error
    assert solution.error_estimate <= 2e-5


def burgers(viscosity):
    equation = u.diff(t) + u * u.diff(x) - viscosity * u.diff(x, 2)
    return evolution("burgers", line(-1, 1, 1), [equation], [InitialCondition(u, -sp.sin(sp.pi * x)), Dirichlet(u, 0)])


@pytest.mark.parametrize("viscosity", [sp.Rational(1, 100) / sp.pi, sp.Rational(1, 50)])
def test_burgers_front_against_cole_and_hopf(viscosity):
    problem = burgers(viscosity)
    assert find(problem).name == "method_of_lines"
    solution = MethodOfLinesSolver(tolerance=2e-5).solve(problem)
    error = relative_error(solution, {u: burgers_sine(float(viscosity))})
    assert error < HONEST * solution.error_estimate < HONEST**2 * error
    assert solution.error_estimate <= 2e-5


def test_allen_cahn_with_a_kink_in_its_data_agrees_between_orders():
    # The data x^2 cos(pi x) have a kink where the periodic axis closes; errors shrink more slowly there and estimates must see it.
    equation = u.diff(t) - sp.Rational(1, 10000) * u.diff(x, 2) + 5 * u**3 - 5 * u
    problem = evolution("allen_cahn", line(-1, 1, 1), [equation], [InitialCondition(u, x**2 * sp.cos(sp.pi * x)), Periodic(u, x)])
    fourth, sixth = (MethodOfLinesSolver(order=order, tolerance=5e-5).solve(problem) for order in (4, 6))
    rng = np.random.default_rng(SEED)
    points = rng.uniform(-1, 1, 20_000), rng.uniform(0, 1, 20_000)
    difference = np.linalg.norm(fourth(*points) - sixth(*points)) / np.linalg.norm(sixth(*points))
    assert difference < fourth.error_estimate + sixth.error_estimate < 1e-4


def test_incompatible_initial_and_wall_data_are_seen_by_the_estimate():
    equation = u.diff(t) - u.diff(x, 2) / 10 + sp.sin(t) * sp.Rational(1, 10**12) * u
    with pytest.warns(ProblemWarning, match="they contradict each other"):
        problem = evolution("quench", line(0, 1, 1), [equation], [InitialCondition(u, 0), Dirichlet(u, 1)])
    solution = MethodOfLinesSolver(tolerance=2e-5).solve(problem)

    def series(place, instant):
        n = np.arange(1, 800, 2)[:, None] * np.pi
        return 1 - np.sum(4 / n * np.sin(n * place) * np.exp(-(n**2) * instant / 10), axis=0)

    error = relative_error(solution, {u: series})
    assert error < HONEST * solution.error_estimate < 1e-4


def test_shots_are_marched_one_by_one():
    s = field("s", x, t, shots=2)
    family = SourceFamily([GaussianSource(at={x: 0.3}, variance=0.01), GaussianSource(at={x: 0.7}, variance=0.02, amplitude=3)])
    domain = line(0, 1, 0.2)
    walls = [InitialCondition(s, 0), Dirichlet(s, 0)]
    together = MethodOfLinesSolver(tolerance=1e-4).solve(evolution("shots", domain, [sp.Eq(s.diff(t) - laplacian(s) + s**3, family)], walls, (s,)))
    for shot in range(2):
        equation = sp.Eq(u.diff(t) - laplacian(u) + u**3, family.args[shot])
        alone = MethodOfLinesSolver(tolerance=1e-4).solve(evolution("one", domain, [equation], [InitialCondition(u, 0), Dirichlet(u, 0)]))
        for place, instant in ((0.4, 0.05), (0.55, 0.17)):
            assert abs(together(place, instant)[shot] - alone(place, instant)) < 5e-4 * abs(alone(place, instant))


def test_heat_is_conserved_on_a_closed_nonlinear_ring():
    equation = u.diff(t) - div((1 + u**2) * grad(u)) / 10
    start = 1 + sp.exp(sp.sin(2 * sp.pi * x))
    problem = evolution("ring", line(0, 1, 0.5), [equation], [InitialCondition(u, start), Periodic(u, x)])
    values = MethodOfLinesSolver(cells=60).solve(problem).values["u"][:-1]
    heat = values.mean(axis=0)
    # Fluxes telescope on the ring, whatever the grid; what is left is the tolerance of the integrator.
    assert np.max(np.abs(heat - heat[0])) < 1e-9 * heat[0]


def test_linear_problems_with_constant_coefficients_go_to_their_own_solver():
    conditions = [InitialCondition(u, sp.sin(sp.pi * x)), Dirichlet(u, 0)]
    problem = evolution("heat", line(0, 1, 0.2), [u.diff(t) - laplacian(u)], conditions)
    assert find(problem).name != "method_of_lines"
    other = MethodOfLinesSolver().solve(problem)
    assert relative_error(other, {u: sp.exp(-(sp.pi**2) * t) * sp.sin(sp.pi * x)}) < 1e-6


def test_blow_up_is_told_with_its_time():
    conditions = [InitialCondition(u, sp.sin(sp.pi * x)), Dirichlet(u, 0)]
    problem = evolution("blow_up", line(0, 1, 1), [u.diff(t) - u.diff(x, 2) - 30 * u**2], conditions)
    with pytest.raises(ReferenceSolverError, match=r"`blow_up` breaks down at 0\.045.*grows without bound"):
        MethodOfLinesSolver(most_unknowns=200).solve(problem)


def refusals():
    start = [InitialCondition(u, 0)]
    steady = field("u", x)
    return {
        "not the product of a box": Problem(
            name="p", fields=[steady], domain=Interval({x: (0, 1)}), equations=[steady.diff(x, 2) - 1], conditions=[Dirichlet(steady, 0)]
        ),
        "differentiates the highest time derivative": evolution(
            "p", line(0, 1, 1), [u.diff(t) - u.diff(x, x, t) + u * u.diff(x)], [*start, Dirichlet(u, 0)]
        ),
        "derivative of order 4": evolution("p", line(0, 1, 1), [u.diff(t) + u.diff(x, 4) + u * u.diff(x)], [*start, Dirichlet(u, 0)]),
        "not linear in its highest time derivatives": evolution("p", line(0, 1, 1), [u.diff(t) ** 3 - u.diff(x, 2)], [*start, Dirichlet(u, 0)]),
        "not linear in one field": evolution("p", line(0, 1, 1), [u.diff(t) - u.diff(x, 2)], [*start, Neumann(u, -(u**4))]),
        "is differentiated 0 times": evolution(
            "p", line(0, 1, 1), [u.diff(t) - u.diff(x, 2) + v, v.diff(x, 2) - u], [*start, Dirichlet(u, 0), Dirichlet(v, 0)], (u, v)
        ),
    }


@pytest.mark.parametrize("reason", refusals())
def test_refusals_give_their_reason(reason):
    support = MethodOfLinesSolver().supports(refusals()[reason])
    assert not support.ok
    assert reason in support.reason


def test_orders_are_checked():
    with pytest.raises(ReferenceSolverError, match="orders are 2, 4 and 6"):
        MethodOfLinesSolver(order=8)
