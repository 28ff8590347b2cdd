"""Eikonal solvers and their closed forms: observed orders, ray tracing, kinks, jumps, honest error estimates, refusals."""

from itertools import pairwise

import matplotlib.path
import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from pinnsiren.errors import ProblemError, ReferenceSolverError
from pinnsiren.language import (
    Ball,
    Box,
    Dirichlet,
    Interval,
    Neumann,
    Observations,
    Problem,
    coordinates,
    field,
    grad,
    sampled,
)
from pinnsiren.reference_solvers import eikonal_sweeping, find
from pinnsiren.reference_solvers.closed_forms import (
    annulus_distance,
    ball_distance,
    box_distance,
    constant_gradient_speed,
    constant_gradient_squared_slowness,
    half_space_distance,
    homogeneous_travel_time,
    polygon_distance,
    segment_distance,
)
from pinnsiren.reference_solvers.eikonal_sweeping import EikonalSweepingSolver

x, y, z = coordinates("x y z")
T = field("T", x, y)
T3 = field("T", x, y, z)
SQUARE = Box({x: (-1, 1), y: (-1, 1)})
CUBE = Box({x: (-1, 1), y: (-1, 1), z: (-1, sp.Rational(1, 2))})
SPEED = 2 + sp.Rational(3, 10) * x + y
# Off every grid line.
SOURCE = (0.213, -0.37)
ORDER_TOLERANCE = 0.2
# The estimate may be this much above or below the error.
HONEST = 3.0


def source(*at, time=0, of=T):
    return Dirichlet(of, time, on=dict(zip(of.args, at, strict=True)))


def declare(squared_slowness, *conditions, domain=SQUARE, of=T):
    equation = grad(of).dot(grad(of)) - squared_slowness
    return Problem(name="eikonal", fields=[of], domain=domain, equations=[equation], conditions=list(conditions))


def grid_error(solution, exact):
    (values,) = solution.values.values()
    truth = exact(*np.meshgrid(*solution.axes.values(), indexing="ij"))
    return float(np.linalg.norm(values - truth) / np.linalg.norm(truth))


def linear_speed(at):
    gradient = (0.3, 1.0)
    return constant_gradient_speed(at, 2 + float(np.dot(gradient, at)), gradient)


# The machinery: orders.


@pytest.mark.parametrize(("order", "at"), [(1, SOURCE), (2, SOURCE), (2, (0.0, 0.0)), (2, (-1.0, 0.4))])
def test_observed_order_of_point_sources_in_a_variable_medium(order, at):
    cells = (32, 44, 60, 80)
    problem = declare(1 / SPEED**2, source(*at))
    errors = [grid_error(EikonalSweepingSolver(order=order, cells=n).solve(problem), linear_speed(at)) for n in cells]
    assert abs(-np.polyfit(np.log(cells), np.log(errors), 1)[0] - order) < ORDER_TOLERANCE


@pytest.mark.parametrize("order", [1, 2])
def test_observed_order_of_plain_sweeping_on_a_manufactured_solution(order):
    cells, domain = (40, 56, 80, 112), Box({x: (0, 1), y: (0, 2)})
    exact = sp.Rational(1, 5) * y + x + x**2 * y / 2
    problem = declare(exact.diff(x) ** 2 + exact.diff(y) ** 2, Dirichlet(T, y / 5, on="x-"), Dirichlet(T, exact, on="y-"), domain=domain)
    errors = [grid_error(EikonalSweepingSolver(order=order, cells=n).solve(problem), sp.lambdify((x, y), exact)) for n in cells]
    assert abs(-np.polyfit(np.log(cells), np.log(errors), 1)[0] - order) < ORDER_TOLERANCE


def test_second_order_in_three_dimensions():
    at, gradient = (0.1, 0.2, -0.3), (0.3, 0.2, 1.0)
    exact = constant_gradient_speed(at, 2 + float(np.dot(gradient, at)), gradient)
    speed = 2 + sp.Rational(3, 10) * x + y / 5 + z
    problem = declare(1 / speed**2, source(*at, of=T3), domain=CUBE, of=T3)
    coarse, fine = (EikonalSweepingSolver(cells=n).solve(problem) for n in (16, 32))
    errors = [grid_error(solution, exact) for solution in (coarse, fine)]
    assert np.log2(errors[0] / errors[1]) > 2 - ORDER_TOLERANCE
    assert errors[1] / HONEST < fine.error_estimate < HONEST * errors[1]


def test_gradient_speed_is_far_more_accurate_than_scikit_fmm():
    skfmm = pytest.importorskip("skfmm", reason="scikit-fmm comes with the extra `oracles`")
    exact = linear_speed((0.0, 0.0))
    solution = EikonalSweepingSolver(cells=100).solve(declare(1 / SPEED**2, source(0, 0)))
    axes = list(solution.axes.values())
    points = np.meshgrid(*axes, indexing="ij")
    front = np.ones(points[0].shape)
    front[50, 50] = -1
    theirs = np.asarray(skfmm.travel_time(front, 2 + 0.3 * points[0] + points[1], dx=0.02, order=2))
    truth = exact(*points)
    away = truth > 0
    ours = np.mean(np.abs(solution.values["T"] - truth)[away] / truth[away])
    assert ours < 5e-4
    assert 10 * ours < np.mean(np.abs(theirs - truth)[away] / truth[away])


def test_agrees_with_the_factored_marching_of_eikonalfm():
    eikonalfm = pytest.importorskip("eikonalfm", reason="eikonalfm comes with the extra `oracles`")
    medium = 1 + sp.sin(3 * x) * sp.cos(2 * y) / 3
    solution = EikonalSweepingSolver(cells=100).solve(declare(1 / medium**2, source(0.2, -0.4)))
    points = np.meshgrid(*solution.axes.values(), indexing="ij")
    speed = np.asarray(sp.lambdify((x, y), medium, "numpy")(*points))
    tau = eikonalfm.factored_fast_marching(speed, (60, 30), (0.02, 0.02), 2)
    theirs = tau * np.hypot(points[0] - 0.2, points[1] + 0.4)
    assert np.linalg.norm(solution.values["T"] - theirs) < 5e-4 * np.linalg.norm(theirs)


# The solver: many problems, each with an independent answer, and an estimate that says how far it is.


def two_layers(depth, at):
    """First arrivals with s = 1 below `depth`, 1/2 above: direct, head and refracted waves; the crossing point by bisection on Snell's law."""

    def exact(a, b):
        offset, rise = np.abs(a - at[0]), depth - at[1]
        direct = np.hypot(a - at[0], b - at[1])
        reach = 2 * depth - at[1] - b
        head = np.where(offset >= reach * np.tan(np.pi / 6), offset / 2 + reach * np.cos(np.pi / 6), np.inf)
        low, high = np.zeros(offset.shape), offset.copy()
        above = np.maximum(b - depth, 1e-12)
        for _ in range(60):
            crossing = (low + high) / 2
            late = crossing / np.hypot(crossing, rise) > (offset - crossing) / np.hypot(offset - crossing, above) / 2
            low, high = np.where(late, low, crossing), np.where(late, crossing, high)
        refracted = np.hypot(low, rise) + np.hypot(offset - low, above) / 2
        return np.where(b < depth, np.minimum(direct, head), refracted)

    return exact


def problems_with_answers():
    lens = 1 + sp.exp(-10 * (x**2 + y**2))
    two = (source(-0.513, 0.37), source(0.4, 0.21, time=sp.Rational(1, 10)))
    slow = sp.Piecewise((1, y < sp.Rational(237, 1000)), (sp.Rational(1, 4), True))
    first, second = linear_speed((-0.5, 0.4)), linear_speed((0.6, -0.7))
    return {
        "linear speed": (declare(1 / SPEED**2, source(*SOURCE)), linear_speed(SOURCE), 60),
        "linear squared slowness": (
            declare(2 + 2 * x / 5 - 3 * y / 5, source(0.1, -0.2)),
            constant_gradient_squared_slowness((0.1, -0.2), np.sqrt(2.16), (0.2, -0.3)),
            60,
        ),
        "two sources, kink": (declare(1 / SPEED**2, source(-0.5, 0.4), source(0.6, -0.7)), lambda *p: np.minimum(first(*p), second(*p)), 60),
        "two sources, homogeneous": (
            declare(1, *two),
            lambda a, b: np.minimum(np.hypot(a + 0.513, b - 0.37), 0.1 + np.hypot(a - 0.4, b - 0.21)),
            40,
        ),
        "distance from a ball": (
            declare(1, Dirichlet(T, 0, on=Ball({x: 0.1, y: -0.05}, 0.3))),
            lambda *p: np.maximum(ball_distance((0.1, -0.05), 0.3)(*p), 0),
            80,
        ),
        "distance from the faces": (declare(1, Dirichlet(T, 0)), lambda *p: -box_distance((-1, -1), (1, 1))(*p), 40),
        "head waves": (declare(slow, source(-0.8, -0.03)), two_layers(0.237, (-0.8, -0.03)), 80),
        "caustic behind a lens": (declare(lens**2, source(-0.8, 0.03)), None, 50),
    }


@pytest.mark.parametrize("name", list(problems_with_answers()))
def test_the_error_estimate_is_honest(name):
    problem, exact, cells = problems_with_answers()[name]
    solution = EikonalSweepingSolver(cells=cells).solve(problem)
    if exact is None:
        fine = EikonalSweepingSolver(cells=3 * cells).solve(problem)
        exact = fine["T"]
        assert fine.error_estimate < solution.error_estimate / 4
    # Where the answer is exact the estimate cannot fall below rounding.
    error = max(grid_error(solution, exact), 1e-13)
    assert error / HONEST < solution.error_estimate < HONEST * error


def test_scattered_points_are_as_accurate_as_the_grid():
    problem, exact, cells = problems_with_answers()["two sources, kink"]
    solution = EikonalSweepingSolver(cells=cells).solve(problem)
    points = np.random.default_rng(0).uniform(-1, 1, (2, 3000))
    error = np.linalg.norm(solution(*points) - exact(*points)) / np.linalg.norm(exact(*points))
    assert error < 1.5 * grid_error(solution, exact)
    # The cone at the source is not rounded off.
    near = 0.6 + 1e-3 * np.cos(np.arange(7.0)), -0.7 + 1e-3 * np.sin(np.arange(7.0))
    assert np.allclose(solution(x=near[0], y=near[1]), exact(*near), rtol=1e-3)


def test_the_ladder_stops_at_the_tolerance_and_find_prefers_it():
    problem = declare(1 / SPEED**2, source(*SOURCE))
    assert find(problem).name == EikonalSweepingSolver.name
    solution = EikonalSweepingSolver(tolerance=1e-4).solve(problem)
    assert solution.error_estimate <= 1e-4
    assert grid_error(solution, linear_speed(SOURCE)) < HONEST * solution.error_estimate


def test_reciprocity_in_a_variable_medium():
    medium = (1 + sp.sin(5 * x) * sp.cos(4 * y) / 2) ** 2
    there, back = (-0.613, 0.4), (0.55, -0.317)
    first, second = (EikonalSweepingSolver(cells=60).solve(declare(medium, source(*at))) for at in (there, back))
    # The estimates are means over the square; single points may be worse.
    assert abs(first(*back) - second(*there)) < HONEST * (first.error_estimate + second.error_estimate) * first(*back)


@pytest.mark.parametrize(
    "write",
    [
        lambda p, s: s * p.dot(p) - 1,
        lambda p, s: sp.Eq(sp.expand(3 * p.dot(p)), 3 / s),
        lambda p, s: sp.Eq(sp.sqrt(s) * sp.sqrt(p.dot(p)), 1),
        lambda p, s: sp.Eq(p.norm(), 1 / sp.sqrt(s)),
        lambda p, s: sp.Eq(1 / p.dot(p), s),
        lambda p, s: T.diff(x) ** 2 / 2 + T.diff(y) ** 2 / 2 - 1 / s / 2,
    ],
)
def test_equal_forms_of_the_equation_have_the_same_solution(write):
    squared = SPEED**2
    values = EikonalSweepingSolver(cells=14).solve(declare(1 / squared, source(*SOURCE))).values["T"]
    other = Problem(name="other", fields=[T], domain=SQUARE, equations=[write(grad(T), squared)], conditions=[source(*SOURCE)])
    assert np.max(np.abs(EikonalSweepingSolver(cells=14).solve(other).values["T"] - values)) < 1e-10


def test_shots_take_observed_zeros_as_their_sources():
    shots = field("T", x, y, shots=2)
    places = np.array([[[0.3, 0.4]], [[-0.5, 0.2]]])
    problem = declare(1 / SPEED**2, Observations(shots, places, np.zeros((2, 1))), of=shots)
    solution = EikonalSweepingSolver(cells=40).solve(problem)
    assert solution.values["T"].shape == (2, 41, 41)
    for shot, (at,) in enumerate(places):
        alone = EikonalSweepingSolver(cells=40).solve(declare(1 / SPEED**2, source(*at)))
        assert np.max(np.abs(solution.values["T"][shot] - alone.values["T"])) < 1e-12
        assert solution(*at)[shot] < 1e-12


def test_a_sampled_speed_equals_the_declared_one():
    axis = np.linspace(-1, 1, 41)
    grid_x, grid_y = np.meshgrid(axis, axis, indexing="ij")
    table = sampled("c", {x: axis, y: axis}, 2 + 0.3 * grid_x + grid_y, order=1)
    declared, tabulated = (EikonalSweepingSolver(cells=40).solve(declare(1 / c**2, source(*SOURCE))) for c in (SPEED, table))
    assert np.max(np.abs(declared.values["T"] - tabulated.values["T"])) < 1e-10


def test_grids_coarser_than_the_samples_are_told():
    axis = np.linspace(-1, 1, 201)
    table = sampled("c", {x: axis, y: axis}, 1.5 + 0.5 * np.random.default_rng(0).uniform(-1, 1, (201, 201)), order=1)
    solution = EikonalSweepingSolver(cells=40).solve(declare(1 / table**2, source(*SOURCE)))
    assert any("coarser than the samples" in note for note in solution.notes)


def test_distance_from_a_ball_in_three_dimensions_and_a_line():
    problem = declare(1, Dirichlet(T3, 0, on=Ball({x: 0.1, y: 0.2, z: -0.3}, 0.3)), domain=CUBE, of=T3)
    solution = EikonalSweepingSolver(cells=24).solve(problem)
    error = grid_error(solution, lambda *p: np.maximum(ball_distance((0.1, 0.2, -0.3), 0.3)(*p), 0))
    assert error / HONEST < solution.error_estimate < HONEST * error < 0.05
    line = field("T", x)
    problem = declare((1 + x**2) ** 2, source(0.31, of=line), domain=Interval({x: (-1, 1)}), of=line)
    solution = EikonalSweepingSolver(cells=80).solve(problem)
    assert grid_error(solution, lambda a: np.abs(a + a**3 / 3 - 0.31 - 0.31**3 / 3)) < 5e-5


def test_seismic_units_and_unequal_sides():
    domain = Box({x: (0, 9000), y: (0, 3500)})
    problem = declare(1 / (1500 + sp.Rational(4, 5) * y) ** 2, source(4321, 0), domain=domain)
    solution = EikonalSweepingSolver(cells=150).solve(problem)
    error = grid_error(solution, constant_gradient_speed((4321, 0), 1500.0, (0, 0.8)))
    assert error < 1e-4
    assert error / HONEST < solution.error_estimate < HONEST * error


def test_first_order_remains_where_newton_does_not_settle(monkeypatch):
    monkeypatch.setattr(eikonal_sweeping, "second_order", lambda *arguments: None)
    problem = declare(1 / SPEED**2, source(*SOURCE))
    solution = EikonalSweepingSolver(cells=40).solve(problem)
    assert np.allclose(solution.values["T"], EikonalSweepingSolver(order=1, cells=40).solve(problem).values["T"], rtol=1e-10)
    assert any("Newton did not settle" in note for note in solution.notes)
    error = grid_error(solution, linear_speed(SOURCE))
    assert error / HONEST < solution.error_estimate < HONEST * error


# Bad input.


def negative_table():
    axis = np.linspace(-1, 1, 11)
    return sampled("c", {x: axis, y: axis}, np.where(np.eye(11) > 0, -1.0, 2.0), order=1)


@pytest.mark.parametrize(
    ("squared", "conditions", "message"),
    [
        (1 - x - y, [source(-0.3, 0.3)], r"squared slowness .* is -\d.* expected positive values: check the sign"),
        (1 / (x - sp.Rational(1, 10)) ** 2, [source(0.3, 0.3)], "the speed `.*expected positive values"),
        (1 / negative_table() ** 2, [source(0.3, 0.3)], r"the speed `c\(x, y\)` .* is -1"),
        (1, [source(0, 0), source(0.1, 0, time=1)], r"wants T = 1 at x = 0.1, y = 0; the wave of another source arrives there at 0.1"),
        (1, [Dirichlet(T, 3 * y, on="x-")], "rises 3 times as fast as"),
        (1, [Dirichlet(T, 0, on=Ball({x: 0.01, y: 0.011}, 1e-4))], "lies between the nodes"),
    ],
)
def test_contradictions_are_told(squared, conditions, message):
    # Some are told when the problem is declared already.
    with pytest.raises((ProblemError, ReferenceSolverError), match=message):
        EikonalSweepingSolver(cells=40).solve(declare(squared, *conditions))


@pytest.mark.parametrize(
    ("equation", "conditions", "reason"),
    [
        (T.diff(x) ** 2 + 2 * T.diff(y) ** 2 - 1, [source(0, 0)], "no isotropic eikonal equation"),
        (T.diff(x) ** 2 + T.diff(y) ** 2 - T, [source(0, 0)], "no value of a field"),
        (T.diff(x) ** 2 + T.diff(y) ** 2 + T.diff(x) - 1, [source(0, 0)], "no isotropic eikonal equation"),
        (T.diff(x, 2) + T.diff(y) ** 2 - 1, [Dirichlet(T, 0)], "first derivatives only"),
        (grad(T).dot(grad(T)) - 1, [Neumann(T, 0)], "start from Dirichlet conditions"),
        (grad(T).dot(grad(T)) - 1, [], "starts no waves"),
    ],
)
def test_other_equations_and_conditions_are_refused_with_the_reason(equation, conditions, reason):
    problem = Problem(name="other", fields=[T], domain=SQUARE, equations=[equation], conditions=conditions)
    support = EikonalSweepingSolver().supports(problem)
    assert not support.ok
    assert reason in support.reason


def test_settings_are_checked():
    with pytest.raises(ReferenceSolverError, match="orders are 1 and 2"):
        EikonalSweepingSolver(order=3)
    with pytest.raises(ReferenceSolverError, match="expected 12 at least"):
        EikonalSweepingSolver(cells=4)


# Closed forms of travel times: rays, traced independently, arrive when they say.


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("kind", ["speed", "squared slowness"])
def test_rays_arrive_at_the_time_of_the_closed_form(dimension, kind):
    rng = np.random.default_rng(3)
    at, gradient = rng.uniform(-1, 1, dimension), rng.uniform(-0.4, 0.4, dimension)
    if kind == "speed":
        closed = constant_gradient_speed(at, 1.7, gradient, start=0.25)
        squared = lambda p: (1.7 + gradient @ (p - at)) ** -2.0  # noqa: E731
        slope = lambda p: -2 * gradient * (1.7 + gradient @ (p - at)) ** -3.0  # noqa: E731
    else:
        closed = constant_gradient_squared_slowness(at, 1.3, gradient, start=0.25)
        squared = lambda p: 1.69 + 2 * gradient @ (p - at)  # noqa: E731
        slope = lambda p: 2 * gradient  # noqa: E731

    def ray(_, state):
        place, momentum = state[:dimension], state[dimension:-1]
        return np.concatenate([momentum, slope(place) / 2, [squared(place)]])

    for _ in range(6):
        direction = rng.standard_normal(dimension)
        momentum = direction / np.linalg.norm(direction) * np.sqrt(squared(at))
        end = solve_ivp(ray, (0, 0.8), np.concatenate([at, momentum, [0.25]]), rtol=1e-11, atol=1e-12).y[:, -1]
        assert abs(closed(*end[:dimension]) - end[-1]) < 1e-9


def test_travel_times_near_the_source_and_without_gradient():
    exact = constant_gradient_speed((0.0, 0.0), 2.0, (0.0, 1.0))
    assert exact(0.0, 0.0) == 0
    # r/v (1 - g z/(2 v) + ...), to rounding of the quotient: no loss at small distances.
    assert abs(exact(0.0, 1e-9) / 0.5e-9 - 1) < 1e-9
    assert homogeneous_travel_time((1.0, 2.0), 4.0, start=1.0)(4.0, 6.0) == 1 + 5 / 4
    shadow = constant_gradient_squared_slowness((0.0, 0.0), 1.0, (0.0, -0.4))
    assert np.isnan(shadow(0.0, 1.3))
    with pytest.raises(ReferenceSolverError, match="the speed is -1"):
        exact(0.0, -3.0)
    with pytest.raises(ReferenceSolverError, match="expected a positive number"):
        constant_gradient_speed((0.0,), -2.0, (0.0,))


# Closed forms of distances: the nearest of very many points on the surface, and an independent test of inside.

CORNERS = ((0.0, 0.0), (2.0, 0.1), (1.2, 0.6), (1.5, 1.7), (0.2, 1.1))


def on_sphere(n, dimension):
    directions = np.random.default_rng(1).standard_normal((n, dimension))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def on_edges(corners, n):
    share = np.linspace(0, 1, n)[:, None]
    ends = np.array([*corners, corners[0]])
    return np.concatenate([a + share * (b - a) for a, b in pairwise(ends)])


def on_circle(radius):
    angle = np.linspace(0, 2 * np.pi, 20_000)
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


SHAPES = {
    "disc": (ball_distance((0.3, 0.2), 0.8), on_circle(0.8) + np.array([0.3, 0.2]), lambda p: np.hypot(p[:, 0] - 0.3, p[:, 1] - 0.2) < 0.8),
    "ball": (ball_distance((0.0, 0.0, 0.0), 1.0), on_sphere(40_000, 3), lambda p: np.sum(p**2, axis=1) < 1),
    "box": (
        box_distance((-0.5, 0.0), (1.0, 0.7)),
        on_edges(((-0.5, 0.0), (1.0, 0.0), (1.0, 0.7), (-0.5, 0.7)), 5000),
        lambda p: (p[:, 0] > -0.5) & (p[:, 0] < 1) & (p[:, 1] > 0) & (p[:, 1] < 0.7),
    ),
    "half-space": (
        half_space_distance((0.5, 0.0), (3.0, 4.0)),
        np.array([0.5, 0.0]) + np.linspace(-9, 9, 60_000)[:, None] * np.array([-0.8, 0.6]),
        lambda p: 3 * p[:, 0] + 4 * p[:, 1] < 1.5,
    ),
    "segment": (segment_distance((0.0, 0.0), (1.0, 0.5)), on_edges(((0.0, 0.0), (1.0, 0.5)), 10_000), lambda p: np.zeros(len(p), dtype=bool)),
    "annulus": (
        annulus_distance((0.0, 0.0), 0.5, 1.1),
        np.concatenate([on_circle(0.5), on_circle(1.1)]),
        lambda p: (np.hypot(*p.T) > 0.5) & (np.hypot(*p.T) < 1.1),
    ),
    "polygon": (polygon_distance(CORNERS), on_edges(CORNERS, 5000), lambda p: matplotlib.path.Path(CORNERS).contains_points(p)),
}


@pytest.mark.parametrize("name", list(SHAPES))
def test_distances_equal_those_to_the_nearest_point_of_the_surface(name):
    distance, surface, inside = SHAPES[name]
    points = np.random.default_rng(2).uniform(-2, 2, (150, distance.dimension))
    nearest = np.array([np.min(np.linalg.norm(surface - point, axis=1)) for point in points])
    expected = np.where(inside(points), -nearest, nearest)
    # The nearest sample is too far by the square of their spacing over the distance, at most by the spacing.
    assert np.max(np.abs(distance(*points.T) - expected)) < (2e-2 if name == "ball" else 1e-3)


@pytest.mark.parametrize("name", list(SHAPES))
def test_distances_solve_the_eikonal_equation(name):
    distance = SHAPES[name][0]
    points, step = np.random.default_rng(4).uniform(-2, 2, (400, distance.dimension)), 1e-6
    slopes = [(distance(*(points + step * e).T) - distance(*(points - step * e).T)) / (2 * step) for e in np.eye(distance.dimension)]
    off = np.abs(np.sqrt(sum(slope**2 for slope in slopes)) - 1)
    # Kinks (centres, skeletons) have measure zero; differences across one are the exception.
    assert np.mean(off < 1e-6) > 0.98


def test_a_thick_segment_is_a_capsule():
    capsule, bare = segment_distance((0.0, 0.0), (1.0, 0.5), thickness=0.2), segment_distance((0.0, 0.0), (1.0, 0.5))
    assert np.isclose(capsule(0.3, 0.9), bare(0.3, 0.9) - 0.2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ball_distance((0.0, 0.0), -1.0),
        lambda: box_distance((0.0, 0.0), (1.0, 0.0)),
        lambda: box_distance((0.0, 0.0), (1.0,)),
        lambda: annulus_distance((0.0, 0.0), 1.0, 0.5),
        lambda: half_space_distance((0.0, 0.0), (0.0, 0.0)),
        lambda: segment_distance((0.0, 0.0), (0.0, 0.0)),
        lambda: segment_distance((0.0, 0.0), (1.0, 0.0), thickness=-0.1),
        lambda: polygon_distance(((0.0, 0.0), (1.0, 0.0))),
        lambda: ball_distance((0.0, 0.0), 1.0)(0.0),
    ],
)
def test_shapes_that_are_none_are_refused(wrong):
    with pytest.raises(ReferenceSolverError):
        wrong()
