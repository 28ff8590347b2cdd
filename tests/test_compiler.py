"""The compiler against SymPy: residuals of manufactured solutions vanish to rounding in every class of problem."""

import numpy as np
import pytest
import sympy as sp
from scipy.special import h2vp, hankel2, jv, jvp

import pinnsiren as ps
from pinnsiren.compiler.apply_absorbing_layer import stretched_coordinates
from pinnsiren.compiler.numpy_oracle import oracle_residuals
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.errors import CompileError
from pinnsiren.language import (
    PML,
    Box,
    Constraint,
    Dirichlet,
    GaussianSource,
    InitialCondition,
    Interval,
    Neumann,
    Observations,
    Problem,
    Robin,
    SourceFamily,
    SpaceTime,
    coordinates,
    div,
    field,
    grad,
    laplacian,
    manufactured,
    sampled,
    unknown,
)
from pinnsiren.problems import load

ROUNDING = 1e-11  # relative to the terms of a residual: a few hundred roundings of terms that are themselves sums
SPLINE_ROUNDING = 1e-10  # second derivatives of splines lose a few digits more
INTERFACE_ROUNDING = 1e-9  # the two sides lie 2e-11 of the domain apart, and the flux varies between them
TRUNCATION = 1e-7  # six standard deviations: the tail of the Gaussian, exp(-18) = 1.5e-8 of its peak, is not in the far form
WRONG = 1e-3  # what a coefficient that is off by one percent must exceed

x, y, z, t = coordinates("x y z t")
UNIT = {x: (0.0, 1.0), y: (-0.5, 0.5), z: (0.2, 0.9)}
WAVY = sp.sin(2 * x + 1) * sp.exp(y / 2) + sp.cos(3 * y) * x**2


def declare(name, u, equations, conditions=None, domain=None, fields=None):
    conditions = [Dirichlet(u, 0)] if conditions is None else conditions
    domain = Box({symbol: UNIT[symbol] for symbol in u.args}) if domain is None else domain
    return Problem(name=name, fields=fields or [u], domain=domain, equations=equations, conditions=conditions)


def poisson_in(*symbols):
    u = field("u", *symbols)
    return declare("poisson", u, [laplacian(u)]), {u: sp.sin(sp.Add(*[(i + 1) * s for i, s in enumerate(symbols)])) + symbols[0] ** 3}


def helmholtz_with_complex_coefficient():
    u = field("u", x, y, complex=True)
    coefficient = (4 + sp.I * x) * sp.exp(sp.I * y)
    return declare("helmholtz", u, [laplacian(u) + coefficient**2 * u]), {u: WAVY + sp.I * sp.exp(sp.I * (2 * x - y))}


def smooth_flux():
    u = field("u", x, y)
    return declare("flux", u, [div((2 + sp.sin(x * y)) * grad(u))]), {u: WAVY}


def jumping_flux():
    u = field("u", x, y)
    a = sp.Piecewise((4, x < sp.Rational(1, 3)), (1, True))
    s = x - sp.Rational(1, 3)
    kinked = sp.Piecewise((s + y, s < 0), (4 * s + y + s**2 * y, True))
    return declare("jump", u, [div(a * grad(u))]), {u: kinked}


def circular_jump():
    u = field("u", x, y)
    square = x**2 + y**2
    a = sp.Piecewise((3, square < sp.Rational(1, 9)), (1, True))
    kinked = sp.Piecewise((square - sp.Rational(1, 9), square < sp.Rational(1, 9)), (3 * (square - sp.Rational(1, 9)), True))
    domain = Box({x: (-0.5, 0.5), y: (-0.5, 0.5)})
    return declare("disc", u, [div(a * grad(u))], domain=domain), {u: kinked}


def convection_diffusion_with_mixed_derivative():
    u = field("u", x, y)
    equation = u.diff(x, 2) + x * u.diff(x, y) + 2 * u.diff(y, 2) + y * u.diff(x) - 3 * u.diff(y) + sp.cos(x) * u
    return declare("convection", u, [equation]), {u: WAVY}


def fourth_order():
    u = field("u", x, y)
    return declare("plate", u, [laplacian(laplacian(u))], [Dirichlet(u, 0), Constraint(laplacian(u), on="boundary")]), {u: WAVY}


def wave():
    u = field("u", x, t)
    conditions = [Dirichlet(u, 0), InitialCondition(u, 0), InitialCondition(u.diff(t), 0)]
    equation = u.diff(t, 2) - (1 + x) * u.diff(x, 2)
    return declare("wave", u, [equation], conditions, SpaceTime(Interval({x: (0, 1)}), {t: (0.5, 2)})), {u: sp.sin(3 * x - 2 * t) + t * x**2}


def heat_in_the_plane():
    u = field("u", x, y, t)
    conditions = [Neumann(u, 0), InitialCondition(u, 0)]
    space = Box({x: (0, 1), y: (0, 1)})
    solution = sp.exp(-t) * sp.cos(x + 2 * y) + t**2
    return declare("heat", u, [u.diff(t) - laplacian(u)], conditions, SpaceTime(space, {t: (0, 1)})), {u: solution}


def cubic_reaction():
    u = field("u", x, y)
    return declare("cubic", u, [laplacian(u) + u**3 - sp.exp(u)]), {u: WAVY}


def eikonal():
    u = field("u", x, y)
    conditions = [Dirichlet(u, 0, on={x: 0.5, y: 0.1})]
    return declare("eikonal", u, [grad(u).dot(grad(u)) - (1 + x)], conditions), {u: WAVY}


def coupled_system():
    u, v = field("u", x, y), field("v", x, y)
    equations = [laplacian(u) + v.diff(x), laplacian(v) - u * v + u.diff(y)]
    return declare("coupled", u, equations, [Dirichlet(u, 0), Neumann(v, 0)], fields=[u, v]), {u: WAVY, v: sp.cos(x - y)}


def robin_and_constraint():
    u = field("u", x, y)
    conditions = [
        Robin(u, 1 + y, 2, 0, on=("x-", "x+")),
        Neumann(u, 0, on="y-"),
        Constraint(u + u.diff(x) * u.diff(y), on="y+"),
        Constraint(u.diff(x), on=Box({x: (0.2, 0.4), y: (0.1, 0.3)})),
    ]
    return declare("robin", u, [laplacian(u) - u], conditions), {u: WAVY}


def observed_field():
    u = field("u", x, y)
    points = np.array([[0.1, 0.2], [0.7, -0.3], [0.5, 0.0]])
    conditions = [Dirichlet(u, 0), Observations(u, points, np.zeros(3)), Observations(u.diff(x) + u**2, points, np.zeros(3))]
    return declare("observed", u, [laplacian(u)], conditions), {u: WAVY}


def unknown_speed():
    u, c = field("u", x, t), unknown("c", 1.0, bounds=(0.5, 5))
    conditions = [Dirichlet(u, sp.sin(t)), InitialCondition(u, sp.sin(2 * x)), InitialCondition(u.diff(t), sp.cos(2 * x))]
    domain = SpaceTime(Interval({x: (0, sp.pi)}), {t: (0, 1)})
    problem = declare("speed", u, [u.diff(t, 2) - c**2 * u.diff(x, 2)], [*conditions[1:], Dirichlet(u, sp.sin(1.5 * 2 * t) / 3)], domain)
    solution = sp.sin(2 * x) * sp.cos(3 * t) + sp.cos(2 * x) * sp.sin(3 * t) / 3
    return problem, {u: solution, c: 1.5}


def sampled_coefficient():
    u = field("u", x, y)
    axes = {x: np.linspace(0, 1, 9), y: np.linspace(-0.5, 0.5, 7)}
    grid = np.meshgrid(*axes.values(), indexing="ij")
    a = sampled("a", axes, 2 + np.sin(3 * grid[0]) * grid[1], order=5)
    return declare("sampled", u, [div(a * grad(u)) + a * u]), {u: WAVY}


CASES = [
    helmholtz_with_complex_coefficient, smooth_flux, jumping_flux, circular_jump, convection_diffusion_with_mixed_derivative, fourth_order, wave,
    heat_in_the_plane, cubic_reaction, eikonal, coupled_system, robin_and_constraint, observed_field, sampled_coefficient,
]  # fmt: skip


def assert_vanish(rows, tolerance=ROUNDING):
    for label, value in rows:
        allowed = max(tolerance, INTERFACE_ROUNDING) if "continuity" in label else tolerance
        assert value <= allowed, f"{label}: {value:.1e}"


@pytest.mark.parametrize("symbols", [(x,), (x, y), (x, y, z)], ids=["1-D", "2-D", "3-D"])
def test_poisson_residuals_vanish_on_the_manufactured_solution(symbols):
    problem, solutions = poisson_in(*symbols)
    assert_vanish(oracle_residuals(compile_problem(manufactured(problem, solutions)), solutions))


@pytest.mark.parametrize("case", CASES, ids=[case.__name__ for case in CASES])
def test_residuals_vanish_on_the_manufactured_solution(case):
    problem, solutions = case()
    compiled = compile_problem(manufactured(problem, solutions))
    rows = oracle_residuals(compiled, solutions)
    assert len(rows) >= len(problem.equations) + 1
    assert_vanish(rows, SPLINE_ROUNDING if case is sampled_coefficient else ROUNDING)


def test_a_flux_that_jumps_violates_the_interface_residual():
    problem, solutions = jumping_flux()
    (u, kinked), *_ = solutions.items()
    compiled = compile_problem(manufactured(problem, {u: WAVY}))
    equation, interface = dict(oracle_residuals(compiled, {u: WAVY})), dict(oracle_residuals(compiled, {u: kinked}))
    label = next(name for name in equation if "continuity" in name)
    assert equation["equation 0"] <= ROUNDING  # the strong form alone does not see the jump
    assert equation[label] > 0.1 and interface[label] <= INTERFACE_ROUNDING


@pytest.mark.parametrize("case", [helmholtz_with_complex_coefficient, smooth_flux, wave, coupled_system])
def test_the_oracle_catches_a_coefficient_that_is_one_percent_off(case):
    problem, solutions = case()
    compiled = compile_problem(manufactured(problem, solutions))
    first = problem.fields[0]
    equations = [equation + sp.Rational(1, 100) * first.diff(x, 2) for equation in compiled.original.equations]
    wrong = compile_problem(compiled.original.rewritten(equations=equations, conditions=compiled.original.conditions))
    assert dict(oracle_residuals(wrong, solutions))["equation 0"] > WRONG


def test_the_oracle_asks_for_every_field_and_unknown():
    problem, solutions = unknown_speed()
    with pytest.raises(CompileError, match=r"no expression for c\(\)"):
        oracle_residuals(compile_problem(problem), {problem.fields[0]: solutions[problem.fields[0]]})


def test_an_unknown_scalar_enters_with_its_value():
    problem, solutions = unknown_speed()
    compiled = compile_problem(problem)
    exact, wrong = dict(oracle_residuals(compiled, solutions)), dict(oracle_residuals(compiled, {**solutions, problem.unknowns[0]: 1.6}))
    assert exact["equation 0"] <= ROUNDING < WRONG < wrong["equation 0"]
    assert all(value <= ROUNDING for label, value in exact.items() if "initial" in label)


def test_each_shot_has_its_own_source():
    u = field("u", x, y, complex=True, shots=2)
    first, second = WAVY, sp.I * sp.exp(x) * sp.cos(y)
    sources = SourceFamily([sp.expand((laplacian(u) + 9 * u).doit().xreplace({u: s}).doit()) for s in (first, second)])
    problem = Problem(
        name="shots", fields=[u], domain=Box({x: (0, 1), y: (0, 1)}), equations=[laplacian(u) + 9 * u - sources],
        conditions=[Dirichlet(u, SourceFamily([first, second]))],
    )  # fmt: skip
    compiled = compile_problem(problem)
    assert_vanish(oracle_residuals(compiled, {u: SourceFamily([first, second])}))
    assert max(value for _, value in oracle_residuals(compiled, {u: SourceFamily([second, first])})) > 0.1


def test_a_first_order_equation_needs_no_condition_and_vanishes():
    u = field("u", x, y)
    problem = declare("transport", u, [u.diff(x) + 2 * u.diff(y) - sp.cos(x)], [])
    assert_vanish(oracle_residuals(compile_problem(problem), {u: sp.sin(x) + sp.exp(2 * x - y)}))


def layered(dimension, convention="+", faces="boundary"):
    symbols = (x, y)[:dimension]
    u = field("u", *symbols, complex=True)
    limits = {symbol: (-0.5, 0.5) for symbol in symbols}
    layer = PML(u, width=0.4, strength=3, time_convention=convention, on=faces)
    others = [] if faces == "boundary" else [Dirichlet(u, sp.exp(sp.I * 5), on="x-")]
    problem = Problem(
        name="layer", fields=[u], domain=Box(limits) if dimension > 1 else Interval(limits), equations=[laplacian(u) + 100 * u],
        conditions=[layer, *others],
    )  # fmt: skip
    return u, symbols, compile_problem(problem)


@pytest.mark.parametrize(("convention", "sign"), [("+", -1), ("-", 1)])
def test_an_outgoing_wave_of_the_stretched_coordinate_solves_the_layer_in_one_dimension(convention, sign):
    u, symbols, compiled = layered(1, convention, faces="x+")
    (stretched,) = stretched_coordinates(compiled.rewritten.layers[0], symbols)
    rows = dict(oracle_residuals(compiled, {u: sp.exp(sign * sp.I * 10 * stretched)}))
    assert rows["equation 0"] <= ROUNDING


def test_the_stretched_wave_decays_along_the_depth_as_the_record_says():
    _, symbols, compiled = layered(1)
    record = compiled.rewritten.layers[0]
    (stretched,) = stretched_coordinates(record, symbols)
    from_centre = complex(sp.lambdify(x, stretched, modules=[{"PositivePart": lambda v: max(v, 0.0)}])(0.9))
    assert np.exp(2 * (-1j * 10 * from_centre).real) == pytest.approx(record.reflection, rel=1e-12)


@pytest.mark.parametrize("convention", ["+", "-"])
def test_the_hankel_function_of_the_stretched_radius_solves_the_layer_in_the_plane(convention):
    u, symbols, compiled = layered(2, convention)
    first, second = stretched_coordinates(compiled.rewritten.layers[0], symbols)
    radius = sp.sqrt((first - sp.Rational(1, 10)) ** 2 + second**2)
    hankel = sp.hankel2(0, 10 * radius) if convention == "+" else sp.hankel1(0, 10 * radius)
    rows = oracle_residuals(compiled, {u: hankel}, where=lambda p: np.hypot(p[:, 0] - 0.1, p[:, 1]) > 0.1)
    assert dict(rows)["equation 0"] <= ROUNDING


def test_a_flux_is_stretched_as_a_flux():
    # div(a grad u) + k^2 u with a = 1/4 everywhere is the plain equation of twice the wavenumber.
    u = field("u", x, y, complex=True)
    problem = Problem(
        name="flux layer", fields=[u], domain=Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}),
        equations=[div(sp.Rational(1, 4) * grad(u)) + 25 * u], conditions=[PML(u, width=0.4, strength=3)],
    )  # fmt: skip
    compiled = compile_problem(problem)
    first, second = stretched_coordinates(compiled.rewritten.layers[0], (x, y))
    hankel = sp.hankel2(0, 10 * sp.sqrt(first**2 + second**2))
    assert dict(oracle_residuals(compiled, {u: hankel}, where=lambda p: np.hypot(*p.T) > 0.1))["equation 0"] <= ROUNDING


def test_coefficients_continue_into_the_layer_as_constants():
    u = field("u", x, complex=True)
    problem = Problem(
        name="graded", fields=[u], domain=Interval({x: (-0.5, 0.5)}), equations=[laplacian(u) + (100 + 40 * x) * u],
        conditions=[PML(u, width=0.4, strength=3)],
    )  # fmt: skip
    compiled = compile_problem(problem)
    (program,) = compiled.programs
    points = np.array([[0.5], [0.9], [-0.5], [-0.9]])
    wanted = np.array([120, 120, 80, 80])
    position = next(i for i, jet in enumerate(program.jets) if jet.order == 0)
    zeroth = program.compile([program.partials[position]])(program.coefficients(points), [np.ones((4, 1))] * len(program.jets), [])[0]
    np.testing.assert_allclose(np.ravel(zeroth), wanted, rtol=1e-14)


def test_the_hankel_closed_form_satisfies_the_point_source_outside_the_gaussian():
    problem = load("helmholtz_point_source")
    (u,) = problem.fields
    compiled = compile_problem(problem, skipped=("source splitting",))
    first, second = stretched_coordinates(compiled.rewritten.layers[0], problem.coordinates)
    closed = (1 + sp.I) * sp.exp(-sp.Rational(400, 20_000)) * sp.I / 4 * sp.hankel2(0, 20 * sp.sqrt(first**2 + second**2))
    rows = oracle_residuals(compiled, {u: closed}, where=lambda p: np.hypot(*p.T) > 0.06)
    assert dict(rows)["equation 0"] <= TRUNCATION
    points = np.array([[0.3, 0.1], [-0.2, 0.45]])
    values = problem.exact[u](points[:, 0], points[:, 1])
    wanted = [complex(closed.subs({first: a, second: b}).subs(dict(zip((x, y), (a, b), strict=True))).doit().evalf()) for a, b in points]
    np.testing.assert_allclose(values, wanted, rtol=1e-10)


def test_the_disc_series_satisfies_the_equation_inside_and_outside():
    problem = load("helmholtz_disc")
    (u,) = problem.fields
    compiled = compile_problem(problem, skipped=("source splitting",))
    series = disc_series(20, 10, 0.1, 0.35, orders=12)
    points = compiled.original.domain.sample_interior(8, 3)
    ours = sp.lambdify((x, y), series, modules=["scipy", "numpy"])(*points.T)
    np.testing.assert_allclose(ours, problem.exact[u](*points.T), rtol=1e-6)

    def inside_box_off_source(p):
        return np.all(np.abs(p) < 0.5, axis=1) & (np.hypot(p[:, 0] + 0.35, p[:, 1]) > 0.06) & (np.hypot(*p.T) > 1e-3)

    # Each order solves the equation by itself, so the sum does although its last orders are missing.
    assert dict(oracle_residuals(compiled, {u: series}, n_points=64, where=inside_box_off_source))["equation 0"] <= TRUNCATION


def disc_series(k, k_inner, radius, distance, orders):
    """Total field of a source at (-distance, 0) beside a disc, by matching value and slope at the rim with SciPy's Bessel functions."""
    r, angle = sp.sqrt(x**2 + y**2), sp.atan2(y, x) - sp.pi
    outside, inside = sp.hankel2(0, k * sp.sqrt((x + distance) ** 2 + y**2)), sp.Integer(0)
    for n in range(orders + 1):
        # hankel2(0, |x - s|) = sum_n eps_n H_n(k rs) J_n(k r) cos(n angle) for r < rs (Graf).
        weight = (1 if n == 0 else 2) * hankel2(n, k * distance)
        matrix = np.array([[hankel2(n, k * radius), -jv(n, k_inner * radius)], [k * h2vp(n, k * radius), -k_inner * jvp(n, k_inner * radius)]])
        right = -weight * np.array([jv(n, k * radius), k * jvp(n, k * radius)])
        b, c = np.linalg.solve(matrix, right)
        outside += complex(b) * sp.hankel2(n, k * r) * sp.cos(n * angle)
        inside += complex(c) * sp.besselj(n, k_inner * r) * sp.cos(n * angle)
    amplitude = (1 + sp.I) * sp.I / 4 * sp.exp(-sp.Rational(k**2, 20_000))
    return amplitude * sp.Piecewise((inside, x**2 + y**2 < radius**2), (outside, True))


def structure_of(equations, u, conditions=None, domain=None):
    return compile_problem(declare("s", u, equations, conditions, domain)).structure


def test_structure_is_read_off_the_declaration():
    u = field("u", x, y)
    c, k = unknown("c", 1.0), unknown("k", 1.0)
    table = [
        ([laplacian(u)], "linear", None, "linear"),
        ([laplacian(u) - sp.sin(x)], "affine", None, "affine"),
        ([laplacian(u) + u**3], "nonlinear", None, "nonlinear"),
        ([grad(u).dot(grad(u)) - 1], "nonlinear", None, "nonlinear"),
        ([laplacian(u) + sp.exp(u)], "nonlinear", None, "nonlinear"),
        ([laplacian(u) + c * u], "linear", "affine", "bilinear"),
        ([laplacian(u) - c], "affine", "affine", "bilinear"),
        ([laplacian(u) + c * k * u], "linear", "nonlinear", "nonlinear"),
        ([laplacian(u) + c**2 * u], "linear", "nonlinear", "nonlinear"),
        ([laplacian(u) + c * u**2], "nonlinear", "linear", "nonlinear"),
    ]
    for equations, in_fields, in_unknowns, overall in table:
        found = structure_of(equations, u)
        assert (found.in_fields, found.overall) == (in_fields, overall), equations
        assert (found.in_unknowns is None) == (in_unknowns is None), equations


def test_observations_and_inhomogeneous_data_make_a_linear_equation_affine():
    u = field("u", x, y)
    observed = Observations(u, np.array([[0.5, 0.0]]), np.array([1.0]))
    assert structure_of([laplacian(u)], u, [Dirichlet(u, x)]).in_fields == "affine"
    assert structure_of([laplacian(u)], u, [Dirichlet(u, 0), observed]).in_fields == "affine"


def test_the_nonlinear_residual_is_named():
    u = field("u", x, y)
    found = structure_of([laplacian(u)], u, [Constraint(u**2 - 1, on="x-"), Dirichlet(u, 0, on=("x+", "y-", "y+"))])
    assert found.in_fields == "nonlinear" and len(found.nonlinear_terms) == 1 and "x-" in found.nonlinear_terms[0]


def test_moduli_of_fields_are_not_analytic():
    u = field("u", x, y, complex=True)
    assert not structure_of([laplacian(u) + sp.Abs(u) ** 2 * u], u).is_analytic
    assert structure_of([laplacian(u) + sp.Abs(x) * u], u).is_analytic


def test_derivatives_of_fifth_order_are_refused():
    u = field("u", x)
    with pytest.raises(CompileError, match="order 5; supported are derivatives up to order 4"):
        compile_problem(declare("fifth", u, [u.diff(x, 5)], domain=Interval({x: (0, 1)})))


def test_homogeneous_dirichlet_faces_are_satisfied_by_the_envelope():
    u = field("u", x, y)
    compiled = compile_problem(declare("e", u, [laplacian(u) - 1], [Dirichlet(u, 0, on=("x-", "y+")), Neumann(u, 0, on=("x+", "y-"))]))
    (envelope,) = compiled.ir.envelope
    assert len(compiled.ir.by_construction) == 2
    assert envelope.subs(x, 0) == 0 and envelope.subs(y, sp.Float(0.5)) == 0
    assert envelope.subs({x: 1, y: -0.5}) > 0


def test_initial_data_stay_residuals_beside_an_envelope():
    problem, _solutions = wave()
    compiled = compile_problem(problem)
    assert compiled.ir.envelope[0].free_symbols == {x}
    assert [residual.kind for residual in compiled.ir.residuals] == ["equation", "initial", "initial"]


def test_a_gaussian_source_keeps_its_head_until_the_numbers():
    u = field("u", x, y)
    source = GaussianSource(at={x: 0.5, y: 0}, variance=1e-2, amplitude=2)
    exact = WAVY
    problem = declare("g", u, [laplacian(u) - source - (sp.diff(exact, x, 2) + sp.diff(exact, y, 2) - source.doit())], [Dirichlet(u, exact)])
    assert_vanish(oracle_residuals(compile_problem(problem), {u: exact}))


def test_moduli_and_conjugates_keep_their_value_in_the_program():
    u = field("u", x, y, complex=True)
    exact = WAVY + sp.I * sp.exp(sp.I * (2 * x - y))
    operator = laplacian(u) + sp.Abs(u) ** 2 * u + 3 * sp.conjugate(u) + sp.re(u)
    rest = exact.diff(x, 2) + exact.diff(y, 2) + sp.Abs(exact) ** 2 * exact + 3 * sp.conjugate(exact) + sp.re(exact)
    compiled = compile_problem(declare("schroedinger", u, [operator - rest], [Dirichlet(u, exact)]))
    assert not compiled.programs[0].is_affine
    assert_vanish(oracle_residuals(compiled, {u: exact}))


def test_a_field_that_multiplies_its_own_derivative_is_lowered():
    u = ps.field("u", x, y)
    problem = ps.Problem(
        name="burgers",
        fields=[u],
        domain=ps.Box({x: (0, 1), y: (0, 1)}),
        equations=[sp.Eq(u.diff(y) + u * u.diff(x), sp.Rational(1, 10) * u.diff(x, 2)), ps.div((1 + u**2) * ps.grad(u))],
        conditions=[ps.Dirichlet(u, 0)],
    )
    compiled = compile_problem(problem)
    assert {jet.orders for jet in compiled.ir.jets} == {(0, 0), (1, 0), (0, 1), (2, 0), (0, 2)}
    assert not any(residual.expression.has(u) for residual in compiled.ir.residuals)
