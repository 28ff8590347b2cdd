"""Symbols, operators, sources, conditions and sampled data mean what the declaration says."""

import dataclasses

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren import problems
from pinnsiren.language import expand_operators, expand_sources, select_shot
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.symbols import declaration_of

X, Y, Z, T = ps.coordinates("x y z t")
U = ps.field("u", X, Y)
BOX = ps.Box({X: (-0.5, 0.5), Y: (0, 2)})
DISK = ps.Disk({X: 0.2, Y: -0.1}, 1.5)
ROUNDING = 1e-11  # relative to terms of order one, second derivatives included
SEED = 3


def values(expression, points, symbols=(X, Y)):
    return evaluate_on(expression, symbols, np.asarray(points, dtype=float))


def test_one_name_gives_one_coordinate_and_several_a_tuple():
    assert ps.coordinates("x") == X and ps.coordinates("x,") == (X,) and ps.coordinates("x, y") == (X, Y)
    assert X.is_real


def test_fields_of_one_name_and_other_settings_are_other_symbols():
    assert U == ps.field("u", X, Y)
    others = [ps.field("u", X, Y, complex=True), ps.field("u", X, Y, shots=2), sp.Function("u")(X, Y), ps.unknown("u", 1)]
    assert all(U != other for other in others) and len({U, *others}) == 1 + len(others)
    assert sp.simplify(others[0] - U) != 0


def test_problems_share_no_metadata():
    first, second = ps.field("u", X, Y, complex=True), U
    assert declaration_of(first).is_complex and not declaration_of(second).is_complex
    assert declaration_of(first.diff(X).expr).is_complex
    assert declaration_of(ps.field("u", X, Y)) is not None and not declaration_of(ps.field("u", X, Y)).is_complex


def test_an_equation_with_a_complex_number_stays_an_equation():
    for field in (U, ps.field("u", X, Y, complex=True)):
        assert isinstance(sp.Eq(field, 1 + sp.I), sp.Eq)
    assert U.is_real is None


def test_unknowns_keep_their_start_and_bounds():
    c = ps.unknown("c", sp.Rational(1, 2), (0, 1))
    assert declaration_of(c).initial == 0.5 and declaration_of(c).bounds == (0, 1)
    assert declaration_of(ps.unknown("z", 1 + 2j, complex=True)).initial == 1 + 2j


def test_operators_expand_to_the_derivatives_of_the_books():
    u, a = sp.sin(X) * Y**2, 1 + X * Y
    insert = {U: u}

    def expanded(expression):
        return expand_operators(expand_operators(expression).xreplace(insert)).doit()

    assert sp.simplify(expanded(ps.laplacian(U)) - (u.diff(X, 2) + u.diff(Y, 2))) == 0
    assert sp.simplify(expanded(ps.grad(U).dot(ps.grad(U))) - (u.diff(X) ** 2 + u.diff(Y) ** 2)) == 0
    assert sp.simplify(expanded(ps.div(a * ps.grad(U))) - ((a * u.diff(X)).diff(X) + (a * u.diff(Y)).diff(Y))) == 0
    assert sp.simplify(expanded(ps.laplacian(U, over=(Y,))) - u.diff(Y, 2)) == 0


def test_the_divergence_keeps_its_flux():
    a = sp.Piecewise((1, X < 0), (5, True))
    divergence = ps.div(a * ps.grad(U))
    assert isinstance(divergence, sp.Function) and divergence.flux == tuple(a * entry for entry in ps.grad(U))
    assert not expand_operators(divergence).has(sp.DiracDelta)


def test_operators_leave_a_coordinate_called_t_alone():
    u = ps.field("u", X, T)
    assert ps.laplacian(u).doit() == u.diff(X, 2) and len(ps.grad(u)) == 1
    assert ps.grad(u, over=(T,))[0].doit() == u.diff(T)


def test_the_gradient_is_immutable():
    with pytest.raises(TypeError):
        ps.grad(U)[0] = X


def test_the_normal_has_one_component_per_spatial_coordinate():
    assert ps.normal(U).shape == (2, 1) and ps.normal(U) == ps.normal(X, Y)
    assert ps.normal(U).diff(X) == sp.zeros(2, 1)


@pytest.mark.parametrize("symbols", [(X,), (X, Y), (X, Y, Z)], ids=["1d", "2d", "3d"])
def test_the_gaussian_source_integrates_to_its_amplitude(symbols):
    amplitude, variance = 2 - 3j, 0.04
    source = ps.GaussianSource(at={s: 0.1 * i for i, s in enumerate(symbols)}, variance=variance, amplitude=amplitude)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    nodes, weights = 2 * nodes, 2 * weights  # [-2, 2] holds nine standard deviations to each side
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*[nodes] * len(symbols))], axis=1)
    weight = np.prod(np.stack([axis.ravel() for axis in np.meshgrid(*[weights] * len(symbols))]), axis=0)
    assert np.sum(weight * values(expand_sources(source), grid, symbols)) == pytest.approx(amplitude, rel=1e-10)


def test_the_gaussian_source_is_centred_and_has_its_variance():
    source = ps.GaussianSource(at={X: 0.3}, variance=0.04)
    assert float(sp.integrate(source.doit() * (X - 0.3) ** 2, (X, -sp.oo, sp.oo))) == pytest.approx(0.04)
    assert source.diff(X).subs(X, 0.3) == 0


def test_the_ricker_wavelet_peaks_at_its_delay():
    assert ps.RickerWavelet(T, 10) == ps.RickerWavelet(T, 10, sp.Rational(3, 20))
    late = ps.RickerWavelet(T, 10, 0.5).doit()
    assert late.subs(T, 0.5) == 1 and late.diff(T).subs(T, 0.5) == 0
    spectrum = np.abs(np.fft.rfft(values(ps.RickerWavelet(T, 10, 0.5), np.arange(0, 2, 1e-3)[:, None], [T])))
    assert np.argmax(spectrum) * 0.5 == pytest.approx(10, abs=0.5)


def test_the_ricker_wavelet_starts_from_rest():
    assert abs(ps.RickerWavelet(T, 10).doit().subs(T, 0.0)) < 1e-7


def test_a_source_family_gives_each_shot_its_member():
    family = 2 * ps.SourceFamily([X, Y**2]) + 1
    assert select_shot(family, 0) == 2 * X + 1 and select_shot(family, 1) == 2 * Y**2 + 1
    assert select_shot(family.diff(Y), 1) == 4 * Y
    assert ps.SourceFamily([X, Y]) == ps.SourceFamily(X, Y)


@pytest.mark.parametrize("order", [3, 4, 5])
def test_sampled_data_reproduce_cubics_and_their_derivatives(order):
    x, y = np.linspace(-1, 2, 9), np.linspace(0, 1, 7)
    s = ps.sampled("s", {X: x, Y: y}, x[:, None] ** 3 * (1 + y**2), order=order)
    points = np.random.default_rng(0).uniform([-1, 0], [2, 1], (20, 2))
    exact = X**3 * (1 + Y**2)
    for along in ((), (X,), (X, Y), (X, X)):
        differentiated = s.diff(*along) if along else s
        np.testing.assert_allclose(values(differentiated, points), values(exact.diff(*along) if along else exact, points), atol=1e-11)


def test_sampled_data_are_continued_as_asked():
    axis, data = [0.0, 1.0, 2.0], [1.0, 2.0, 4.0]
    outside = np.array([[-1.0], [3.0]])
    nearest, zero = ps.sampled("s", {X: axis}, data), ps.sampled("s", {X: axis}, data, outside="zero")
    np.testing.assert_allclose(values(nearest, outside, [X]), [1, 4])
    np.testing.assert_allclose(values(zero, outside, [X]), 0)
    np.testing.assert_allclose(values(nearest.diff(X), outside, [X]), 0)


def test_sampled_data_may_be_complex_shifted_and_equal():
    s = ps.sampled("s", {X: [0, 1, 2]}, [0, 1j, 4j], order=1)
    np.testing.assert_allclose(values(s.subs(X, X + 1), [[0.0], [0.5]], [X]), [1j, 2.5j])
    assert s == ps.sampled("s", {X: [0, 1, 2]}, [0, 1j, 4j], order=1) != ps.sampled("s", {X: [0, 1, 2]}, [0, 1j, 5j], order=1)


def residual_of(condition, solution, domain, field=U):
    """The largest value that a condition leaves of an expression, over all its regions."""
    worst = 0.0
    for residual in condition.residuals(domain):
        region = residual.region
        normals = None
        if region.part is not None:
            points, normals = domain.sample_boundary(region.part, 32, SEED)
        else:
            points = region.points if region.domain is None else region.domain.sample_interior(32, SEED)
        inserted = expand_operators(expand_operators(residual.expression).xreplace({field: solution})).doit()
        slopes = {node: sp.Symbol(f"n_{node.args[0]}", real=True) for node in inserted.atoms(sp.Function) if type(node).__name__ == "NormalComponent"}
        columns = [points] if not slopes else [points, normals]
        symbols = [*domain.coordinates, *([sp.Symbol(f"n_{s}", real=True) for s in domain.coordinates] if slopes else [])]
        left = evaluate_on(inserted.xreplace(slopes), symbols, np.hstack(columns))
        worst = max(worst, float(np.max(np.abs(left - (0 if residual.values is None else residual.values)))))
    return worst


EXACT = sp.sin(2 * X) * sp.exp(Y / 3) + X * Y**2
RADIAL = ((X - 0.2) * EXACT.diff(X) + (Y + 0.1) * EXACT.diff(Y)) / 1.5
POINTS = [[0.1, 0.2], [0.3, 1.1]]
SATISFIED = {
    "Dirichlet": (ps.Dirichlet(U, EXACT), BOX),
    "Dirichlet on a disk": (ps.Dirichlet(U, EXACT), DISK),
    "Dirichlet inside": (ps.Dirichlet(U, EXACT, on=ps.Disk({X: 0, Y: 1}, 0.2)), BOX),
    "Dirichlet at a point": (ps.Dirichlet(U, EXACT.subs({X: 0.1, Y: 1}), on={X: 0.1, Y: 1}), BOX),
    "Neumann left": (ps.Neumann(U, -EXACT.diff(X), on="x-"), BOX),
    "Neumann above": (ps.Neumann(U, EXACT.diff(Y), on="y+"), BOX),
    "Neumann on a disk": (ps.Neumann(U, RADIAL), DISK),
    "Robin": (ps.Robin(U, 2, X, 2 * EXACT - X * EXACT.diff(Y), on="y-"), BOX),
    "Robin on a disk": (ps.Robin(U, 2, 3, 2 * EXACT + 3 * RADIAL), DISK),
    "Constraint": (ps.Constraint(sp.Eq(U.diff(X) + U, EXACT.diff(X) + EXACT), on=("x-", "y+")), BOX),
    "Constraint with the normal": (ps.Constraint(ps.grad(U).dot(ps.normal(U)) - RADIAL), DISK),
    "Observations": (ps.Observations(U.diff(Y), POINTS, values(EXACT.diff(Y), POINTS)), BOX),
}


@pytest.mark.parametrize("name", SATISFIED)
def test_a_condition_vanishes_on_a_field_built_to_satisfy_it(name):
    condition, domain = SATISFIED[name]
    assert residual_of(condition, EXACT, domain) < ROUNDING
    assert residual_of(condition, EXACT + X * Y + 1 + Y, domain) > 0.05


def test_initial_conditions_vanish_on_a_wave():
    u, wave = ps.field("u", X, T), sp.sin(X - 2 * T)
    domain = ps.SpaceTime(ps.Interval({X: (0, 1)}), {T: (0.5, 1)})
    for order in (0, 1):
        expression = u.diff(T, order) if order else u
        condition = ps.InitialCondition(expression, wave.diff(T, order).subs(T, 0.5))
        assert condition.time_order == order
        assert residual_of(condition, wave, domain, u) < ROUNDING < residual_of(condition, wave + X * T, domain, u)


def test_a_boundary_condition_in_time_holds_at_all_times():
    u = ps.field("u", X, T)
    domain = ps.SpaceTime(ps.Interval({X: (0, 1)}), {T: (0, 2)})
    (left, right) = ps.Neumann(u, T).residuals(domain)
    assert (left.region.part, right.region.part) == ("x-", "x+")
    assert residual_of(ps.Neumann(u, T, on="x+"), X * T, domain, u) < ROUNDING


def test_a_layer_leaves_no_residual_and_knows_its_sign():
    w = ps.field("w", X, Y, complex=True)
    assert ps.PML(w).residuals(BOX) == () and ps.PML(w).faces(BOX) == ("x-", "x+", "y-", "y+")
    assert ps.PML(w).sign == -1 and ps.PML(w, time_convention="-").sign == 1


def poisson(field, *conditions, domain=BOX, source=1):
    return ps.Problem(name="p", fields=[field], domain=domain, equations=[sp.Eq(ps.laplacian(field), source)], conditions=conditions)


def satisfied(problem, field, solution):
    interior = problem.domain.sample_interior(64, SEED)
    for equation in problem.equations:
        inserted = expand_operators(expand_operators(equation).xreplace({field: solution})).doit()
        assert np.max(np.abs(evaluate_on(inserted, problem.coordinates, interior))) < ROUNDING
    for condition in problem.conditions:
        assert residual_of(condition, solution, problem.domain, field) < ROUNDING, condition


REST = ps.Dirichlet(U, 0, on=("x-", "y-", "y+"))


@pytest.mark.parametrize(
    "condition",
    [
        ps.Dirichlet(U, 7, on="x+"),
        ps.Neumann(U, 7, on="x+"),
        ps.Robin(U, 1, Y, 7, on="x+"),
        ps.Constraint(U.diff(X) - U**2, on="x+"),
        ps.Constraint(U - 3, on={X: 0.5, Y: 1}),
    ],
    ids=["Dirichlet", "Neumann", "Robin", "Constraint", "Constraint at a point"],
)
def test_a_manufactured_problem_is_satisfied_by_its_solution(condition):
    conditions = (REST, condition) if condition.on == "x+" else (ps.Dirichlet(U, 0), condition)
    problem = ps.manufactured(poisson(U, *conditions, source=ps.GaussianSource(at={X: 0, Y: 1}, variance=1)), {U: EXACT})
    satisfied(problem, U, EXACT)
    assert problem.exact == {U: EXACT} and not problem.equations[0].has(ps.GaussianSource)


def test_manufactured_observations_are_those_of_the_solution():
    declared = poisson(U, ps.Dirichlet(U, 0), ps.Observations(U.diff(X), POINTS, [7, 8], noise=0.1, weights=[1, 2]))
    observed = ps.manufactured(declared, {U: EXACT}).conditions[1]
    np.testing.assert_allclose(observed.values, values(EXACT.diff(X), POINTS))
    assert observed.noise == 0.1 and list(observed.weights) == [1, 2]
    satisfied(ps.manufactured(declared, {U: EXACT}), U, EXACT)


def test_a_manufactured_layer_becomes_the_boundary_value():
    w = ps.field("w", X, Y, complex=True)
    plane = sp.exp(3 * sp.I * X)
    problem = ps.manufactured(poisson(w, ps.PML(w, 0.1, 5)), {w: plane})
    assert isinstance(problem.conditions[0], ps.Dirichlet) and problem.domain == BOX
    satisfied(problem, w, plane)


def test_a_manufactured_evolution_is_satisfied_in_flux_form_too():
    u, exact = ps.field("u", X, T), sp.sin(X) * sp.exp(-T)
    domain = ps.SpaceTime(ps.Interval({X: (0, 1)}), {T: (0.5, 1)})
    equation = sp.Eq(u.diff(T, 2), ps.div((1 + X) * ps.grad(u)))
    conditions = [ps.Dirichlet(u, 0), ps.InitialCondition(u, 0), ps.InitialCondition(u.diff(T), 0)]
    declared = ps.Problem(name="p", fields=[u], domain=domain, equations=[equation], conditions=conditions)
    satisfied(ps.manufactured(declared, {u: exact}), u, exact)


def test_a_manufactured_problem_asks_for_one_expression_per_field():
    declared = poisson(U, ps.Dirichlet(U, 0))
    with pytest.raises(ps.ProblemError, match=r"no expression for u\(x, y\); give one per field"):
        ps.manufactured(declared, {})
    with pytest.raises(ps.ProblemError, match=r"expressions for v\(x, y\); its fields are"):
        ps.manufactured(declared, {U: X, ps.field("v", X, Y): Y})
    with pytest.raises(ps.ProblemError, match=r"manufactured solution of `u\(x, y\)` was given .*write the function in SymPy"):
        ps.manufactured(declared, {U: lambda x, y: x})


def test_equations_of_matrices_are_split_by_component():
    problem = ps.Problem(name="p", fields=[U], domain=BOX, equations=[sp.Eq(ps.grad(U), sp.Matrix([Y, X]))], conditions=[])
    assert problem.equations == (ps.grad(U)[0] - Y, ps.grad(U)[1] - X)


@pytest.mark.parametrize("name", problems.names())
def test_a_problem_is_frozen(name, load_problem):
    problem = load_problem(name)
    for attribute in (entry.name for entry in dataclasses.fields(problem)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(problem, attribute, None)
    assert all(isinstance(part, tuple) for part in (problem.fields, problem.equations, problem.conditions))
    if problem.exact is not None:
        with pytest.raises(TypeError):
            problem.exact[problem.fields[0]] = 0


def test_a_problem_keeps_no_list_of_its_author():
    conditions, exact = [ps.Dirichlet(U, 0)], {U: X}
    problem = ps.Problem(name="p", fields=[U], domain=BOX, equations=[ps.laplacian(U)], conditions=conditions, exact=exact)
    conditions.clear()
    exact.clear()
    assert len(problem.conditions) == 1 and problem.exact == {U: X}
    assert problem.field_named("u") == U
    with pytest.raises(ps.ProblemError, match="no field `v`; its fields are u"):
        problem.field_named("v")


def test_observations_keep_a_copy_of_the_arrays():
    points = np.array(POINTS)
    observed = ps.Observations(U, points, [1, 2])
    points[:] = np.nan
    np.testing.assert_array_equal(observed.points, POINTS)
