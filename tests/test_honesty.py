"""What nobody saw must not be called a success: sources narrower than the distance between collocation points, layers that nothing resolves."""

import numpy as np
import pytest
import sympy as sp
import torch

import pinnsiren as ps
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.training.defect import estimate_by_defect
from pinnsiren.training.method import RunSettings
from pinnsiren.training.network_start import solve_damped

HONEST = 10.0  # a reported success may be wrong by this factor of its own estimate, not more
SECONDS = 4.0

x, y = ps.coordinates("x y")
u = ps.field("u", x, y)


def spike(centre_x, centre_y, width):
    return sp.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / (2 * sp.Float(width) ** 2))


CASES = {
    "a spike written out by hand": sp.sin(sp.pi * x) * sp.sin(sp.pi * y) + spike(0.37, 0.61, 0.005),
    "two spikes": sp.sin(sp.pi * x) + spike(0.37, 0.61, 0.01) + spike(0.8, 0.2, 0.01),
    "an internal layer": sp.tanh((x + y - 1) / sp.Float(0.02)),
    "many oscillations": sp.sin(60 * x) * sp.sin(50 * y),
}


@pytest.mark.parametrize("solution", CASES.values(), ids=CASES.keys())
def test_a_success_is_never_wrong_by_more_than_ten_estimates(solution):
    declared = ps.Problem(
        name="spiky", fields=[u], domain=ps.Box({x: (0, 1), y: (0, 1)}), equations=[ps.laplacian(u)], conditions=[ps.Dirichlet(u, 0)]
    )
    problem = ps.manufactured(declared, {u: solution})
    found = ps.solve(problem, seconds=SECONDS, progress=False)
    points = problem.domain.sample_interior(20_000, seed=77)
    exact = evaluate_on(solution, problem.coordinates, points)
    error = np.linalg.norm(found.evaluate(0, points, (0, 0))[:, 0] - exact) / np.linalg.norm(exact)
    assert not found.status.success or error <= HONEST * found.estimated_error
    # Beyond what any estimate needs: none of these may claim to be better than it is by two orders.
    assert found.estimated_error > error / 100


NARROW_DATA = {
    "a jump of the flux": (ps.Neumann, sp.Piecewise((200, sp.Abs(y - sp.Float(0.31831)) < 0.001), (0, True))),
    "a peak of the flux": (ps.Neumann, 300 * sp.exp(-((y - sp.Float(0.31831)) ** 2) / sp.Float(0.001) ** 2)),
    "a peak of the value": (ps.Dirichlet, 100 * sp.exp(-((y - sp.Float(0.31831)) ** 2) / sp.Float(0.0005) ** 2)),
}


@pytest.mark.parametrize(("condition", "data"), NARROW_DATA.values(), ids=NARROW_DATA.keys())
def test_boundary_data_that_fall_between_the_points_are_noticed(condition, data):
    # By the sine series, the peaks change the solution by 17 to 24 %.
    walls = [ps.Dirichlet(u, 0, on=("x+", "y-")), ps.Dirichlet(u, sp.cos(sp.pi * x / 2), on="y+")]
    problem = ps.Problem(
        name="narrow",
        fields=[u],
        domain=ps.Box({x: (0, 1), y: (0, 1)}),
        equations=[ps.laplacian(u)],
        conditions=[condition(u, data, on="x-"), *walls],
    )
    found = ps.solve(problem, seconds=SECONDS, progress=False)
    assert not found.status.success or found.estimated_error > 0.02


def test_a_pulse_at_the_boundary_shorter_than_the_steps_is_noticed():
    t = ps.coordinates("t")
    w = ps.field("u", x, t)
    pulse = 20 * sp.exp(-((t - sp.Float(0.5137)) ** 2) / 2 / sp.Float(0.0003) ** 2)
    problem = ps.Problem(
        name="pulse",
        fields=[w],
        domain=ps.SpaceTime(ps.Interval({x: (0, 1)}), {t: (0, 1)}),
        equations=[sp.Eq(w.diff(t), w.diff(x, 2))],
        conditions=[ps.Dirichlet(w, pulse, on="x-"), ps.Dirichlet(w, 0, on="x+"), ps.InitialCondition(w, sp.sin(sp.pi * x))],
    )
    found = ps.solve(problem, seconds=SECONDS, progress=False)
    assert not found.status.success or found.estimated_error > 0.02


def test_equations_that_contradict_each_other_are_no_success():
    w = ps.field("w", x)
    problem = ps.Problem(
        name="contradiction",
        fields=[w],
        domain=ps.Interval({x: (0, 1)}),
        equations=[sp.Eq(w.diff(x, 2), 1), sp.Eq(w.diff(x, 2), sp.Float(1.03))],
        conditions=[ps.Dirichlet(w, 0)],
    )
    assert not ps.solve(problem, seconds=SECONDS, progress=False).status.success


def test_an_unknown_that_nothing_determines_is_named():
    t = ps.coordinates("t")
    w = ps.field("u", x, t)
    first, second = (ps.unknown(name, initial=1, bounds=(0.1, 5)) for name in ("first", "second"))
    points = np.array([[0.3, 0.2], [0.5, 0.5], [0.7, 0.8]])
    values = np.exp(-2 * 0.1 * np.pi**2 * points[:, 1]) * np.sin(np.pi * points[:, 0])
    problem = ps.Problem(
        name="product",
        fields=[w],
        domain=ps.SpaceTime(ps.Interval({x: (0, 1)}), {t: (0, 1)}),
        equations=[sp.Eq(w.diff(t), first * second * w.diff(x, 2) / 10)],
        conditions=[ps.Dirichlet(w, 0), ps.InitialCondition(w, sp.sin(sp.pi * x)), ps.Observations(w, points, values)],
    )
    found = ps.solve(problem, seconds=SECONDS, network=ps.Siren(24, 1), progress=False)
    assert not found.status.success
    assert "do not determine first, second" in found.status.text


class Level:
    """A field that is the same everywhere: all that a network knows before it has learnt anything but the mean."""

    unknowns = ()

    def __init__(self, level):
        self.level = level

    def evaluate(self, field_index, points, orders):
        return np.full((len(points), 1), self.level if not any(orders) else 0.0)


@pytest.mark.parametrize("level", [0.0, 1e6])
def test_the_estimate_is_not_relative_to_a_constant_that_nothing_determines(level):
    declared = ps.Problem(name="free", fields=[u], domain=ps.Box({x: (0, 1), y: (0, 1)}), equations=[ps.laplacian(u)], conditions=[ps.Neumann(u, 0)])
    problem = ps.manufactured(declared, {u: sp.cos(sp.pi * x) * sp.cos(2 * sp.pi * y)})
    compiled = ps.plan(problem).compiled
    settings = RunSettings(0, 1e-3, False, 60.0, "cpu", "float64", None)
    assert estimate_by_defect(compiled, settings, Level(level)).error > 0.5


def test_a_step_that_went_too_far_gives_no_finite_solution_instead_of_an_error_of_the_library():
    matrix = torch.eye(3, dtype=torch.float64)
    assert torch.isfinite(solve_damped(matrix, matrix[0], 0.0)).all()
    matrix[1, 1] = torch.inf
    assert torch.isnan(solve_damped(matrix, matrix[0], 0.0)).all()


SMOOTH = sp.sin(3 * x + 1) * sp.exp(y)


def off_by(found, solution, *, up_to_a_constant=False):
    points = found.problem.domain.sample_interior(5000, seed=77)
    exact, values = evaluate_on(solution, found.problem.coordinates, points), found.evaluate(0, points, (0, 0))[:, 0]
    if up_to_a_constant:
        exact, values = exact - exact.mean(), values - values.mean()
    return np.linalg.norm(values - exact) / np.linalg.norm(exact)


@pytest.mark.parametrize("detuning", [1e-2, 1e-3])
def test_a_network_beside_resonance_knows_what_the_operator_hardly_sees(detuning):
    # The standing wave sin(pi x) sin(pi y) leaves a residual of the detuning only: 2 % of it are in the solution before any residual shows them.
    square = ps.Box({x: (0, 1), y: (0, 1)})
    operator = ps.laplacian(u) + (2 * sp.pi**2 + sp.Float(detuning)) * u
    declared = ps.Problem(name="resonant", fields=[u], domain=square, equations=[operator], conditions=[ps.Dirichlet(u, 0)])
    method = ps.GaussNewton(maximum_steps=6)
    problem = ps.manufactured(declared, {u: SMOOTH})
    found = ps.solve(problem, method=method, network=ps.Siren(width=24, depth=2), tolerance=1e-2, seconds=60, progress=False)
    assert off_by(found, SMOOTH) <= HONEST * found.estimated_error


@pytest.mark.parametrize("half_waves", [1, 2])
def test_a_network_at_resonance_is_no_success(half_waves):
    # sin(n pi x) may be added to any solution.
    line, v = ps.Interval({x: (0, 1)}), ps.field("v", x)
    equation = v.diff(x, 2) + (half_waves * sp.pi) ** 2 * v
    declared = ps.Problem(name="at_resonance", fields=[v], domain=line, equations=[equation], conditions=[ps.Dirichlet(v, 0)])
    problem = ps.manufactured(declared, {v: sp.exp(x)})
    method = ps.GaussNewton(maximum_steps=8)
    found = ps.solve(problem, method=method, network=ps.Siren(width=16, depth=2), tolerance=1e-2, seconds=60, progress=False)
    assert found.status.code == "tolerance_not_reached"
    assert "hardly determine v" in found.status.text


@pytest.mark.parametrize("method", [ps.LeastSquares(), ps.GaussNewton(maximum_steps=20)], ids=["features", "network"])
def test_the_constant_that_slopes_leave_open_is_no_error(method):
    annular = ps.Box({x: (0, 1), y: (0, 1)}) - ps.Disk({x: 0.45, y: 0.55}, 0.2)
    declared = ps.Problem(name="floating", fields=[u], domain=annular, equations=[ps.laplacian(u)], conditions=[ps.Neumann(u, 0)])
    network = ps.Siren(width=24, depth=2) if method.trains_network else None
    found = ps.solve(ps.manufactured(declared, {u: SMOOTH}), method=method, network=network, tolerance=1e-2, seconds=60, progress=False)
    assert found.status.success, found.status
    assert "`u` is defined up to a constant" in found.status.text
    assert off_by(found, SMOOTH, up_to_a_constant=True) <= HONEST * found.estimated_error


@pytest.mark.parametrize("unit", [1, 1e6])
@pytest.mark.parametrize("growth", [2, 14])
def test_growth_that_is_resolved_and_units_that_differ_are_no_resonance(growth, unit):
    t = ps.coordinates("t")
    v, w = ps.field("v", t), ps.field("w", t)
    line = ps.Interval({t: (0, 1)})
    equations = [sp.Eq(v.diff(t), growth * (v - unit * sp.sin(3 * t)) + 3 * unit * sp.cos(3 * t)), sp.Eq(w.diff(t), -w)]
    conditions = [ps.Dirichlet(v, 0, on="t-"), ps.Dirichlet(w, 1, on="t-")]
    problem = ps.Problem(name="growth", fields=[v, w], domain=line, equations=equations, conditions=conditions)
    method = ps.GaussNewton(maximum_steps=60)
    found = ps.solve(problem, method=method, network=ps.Siren(width=16, depth=1), tolerance=1e-2, seconds=60, progress=False)
    points = line.sample_interior(500, seed=3)
    exact = unit * np.sin(3 * points[:, 0])
    error = np.linalg.norm(found.evaluate(0, points, (0,))[:, 0] - exact) / np.linalg.norm(exact)
    assert "hardly determine" not in found.status.text
    assert error <= HONEST * found.estimated_error < 1


@pytest.mark.parametrize(("length", "angle", "network"), [(1.27, 4.9, ps.Siren(32, 2)), (1.6, 2.5, ps.Siren(24, 1))])
def test_a_plate_that_was_stopped_early_does_not_hide_its_smooth_error(length, angle, network):
    """Fourth derivatives hardly see the error of a network that has learnt little: it is smooth, and few rows of many waves do not hold it."""
    bend = u.diff(x, 4) + 2 * u.diff(x, 2, y, 2) + u.diff(y, 4) + u.diff(x, 2, y)
    declared = ps.Problem(
        name="plate",
        fields=[u],
        domain=ps.Box({x: (0, length), y: (0, 1)}),
        equations=[bend],
        conditions=[ps.Dirichlet(u, 0), ps.Constraint(ps.laplacian(u), on="boundary")],
    )
    solution = sp.sin(4 * x + angle) * sp.cos(3 * y) + sp.exp(x * y) / 2
    problem = ps.manufactured(declared, {u: solution})
    method = ps.Adam(points=600, iterations=20, maximum_steps=2)
    found = ps.solve(problem, method=method, network=network, tolerance=1e-2, seconds=300, progress=False)
    assert found.status.code == "tolerance_not_reached"
    error = off_by(found, solution)
    assert error > 0.05
    assert error / 2 < found.estimated_error < 5 * error
