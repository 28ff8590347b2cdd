"""Holes and corners: what is read off the declared domain and its data, and that charts there solve what waves in x and y do not."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.charts import grading_from_tree, grading_to_tree
from pinnsiren.charts.gradings import CornerGrading, RingGrading
from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language.domains.outline import corners_of, holes_of
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.problems import load
from pinnsiren.reference_solvers.closed_forms import perforated_square

HONEST = 10.0
SECONDS = 60.0

x, y = ps.coordinates("x y")
u = ps.field("u", x, y)


def box(a, b, c, d):
    return ps.Box({x: (a, b), y: (c, d)})


def disk(a, b, radius):
    return ps.Disk({x: a, y: b}, radius)


L_SHAPE = ps.Polygon((x, y), [(-1, -1), (0, -1), (0, 0), (1, 0), (1, 1), (-1, 1)])
OUTLINES = {
    "disc": (disk(0, 0, 1), [], 0),
    "annulus": (disk(0, 0, 1) - disk(0.1, 0, 0.3), [], 1),
    "square with two holes": (box(-1, 1, -1, 1) - disk(0.4, 0, 0.2) - disk(-0.4, 0, 0.2), [90] * 4, 2),
    "L-shape": (L_SHAPE, [90] * 5 + [270], 0),
    "L-shape of boxes": (box(-1, 1, -1, 1) - box(0, 2, -2, 0), [90] * 5 + [270], 0),
    "square with a square hole": (box(-1, 1, -1, 1) - box(-0.2, 0.3, -0.1, 0.2), [90] * 4 + [270] * 4, 1),
    "square with a notch": (box(-1, 1, -1, 1) - disk(1, 0, 0.3), [90] * 6, 1),
    "two discs": (disk(0, 0, 1) | disk(1, 0, 1), [240] * 2, 0),
    "hole of two discs": (box(-1, 1, -1, 1) - (disk(0, 0, 0.2) | disk(0.2, 0, 0.2)), [90] * 4 + [120] * 2, 2),
}


@pytest.mark.parametrize("name", OUTLINES)
def test_openings_and_holes_are_those_of_the_shape(name):
    domain, openings, n_holes = OUTLINES[name]
    corners = corners_of(domain)
    np.testing.assert_allclose(sorted(np.degrees(corner.opening) for corner in corners), openings, atol=1e-6)
    assert len(holes_of(domain)) == n_holes
    for corner in corners:
        step = 1e-3 * np.array([np.cos(corner.bisector), np.sin(corner.bisector)])
        assert domain.contains(np.array([corner.point + step]))[0] and not domain.contains(np.array([corner.point - step]))[0]
    for hole in holes_of(domain):
        assert not domain.contains(np.array([hole.centre]))[0]


CORNER = CornerGrading((0.2, -0.1), 0.7, 2.0, 1e-4, 1.5, (("a", -0.3, 0.4, 0.8), ("b", 1.7, 0.0, 0.5)))
RINGS = [RingGrading((0.1, 0.2), 0.3, 2.0), RingGrading((0.1, 0.2, 0.0), 0.3, 2.0)]


@pytest.mark.parametrize("grading", [CORNER, *RINGS])
def test_points_have_the_density_that_a_grading_says(grading):
    points = grading.draw(2**14, seed=1)
    # The integral of r^4 over the region is the mean of r^4 / density.
    distance, dimension = grading.distance(points), points.shape[1]
    angle = grading.opening if isinstance(grading, CornerGrading) else {2: 2 * np.pi, 3: 4 * np.pi}[dimension]
    wanted = angle * (grading.largest ** (4 + dimension) - grading.smallest ** (4 + dimension)) / (4 + dimension)
    assert np.mean(distance**4 / grading.density(points)) == pytest.approx(wanted, rel=1e-2)
    assert grading_from_tree(grading_to_tree(grading)) == grading


def test_sides_are_followed_along_their_curve():
    points = CORNER.draw_on_part("a", 64, seed=2)
    normal = np.array([-np.sin(-0.3), np.cos(-0.3)])
    centre = np.array(CORNER.corner) + normal / 0.4
    np.testing.assert_allclose(np.linalg.norm(points - centre, axis=1), 1 / 0.4, rtol=1e-12)
    assert CORNER.draw_on_part("elsewhere", 64, seed=2) is None


def charts_at_corners(equation, conditions, domain):
    problem = ps.Problem(name="p", fields=[u], domain=domain, equations=[equation], conditions=conditions)
    return {chart.name: chart for chart in ps.plan(problem).compiled.charts if chart.name.startswith("corner")}


SMOOTH = sp.sin(2 * x) * sp.exp(y)


def test_smooth_data_at_right_angles_need_no_chart():
    square = box(0, 1, 0, 2)
    assert not charts_at_corners(sp.Eq(ps.laplacian(u), SMOOTH.diff(x, 2) + SMOOTH.diff(y, 2)), [ps.Dirichlet(u, SMOOTH)], square)
    mixed = [ps.Dirichlet(u, SMOOTH, on=("x-", "x+")), ps.Neumann(u, -SMOOTH.diff(y), on="y-"), ps.Neumann(u, SMOOTH.diff(y), on="y+")]
    assert not charts_at_corners(sp.Eq(ps.laplacian(u), SMOOTH.diff(x, 2) + SMOOTH.diff(y, 2)), mixed, square)


INCOMPATIBLE = {
    "a source at a corner where the value vanishes": (sp.Eq(ps.laplacian(u), -1), [ps.Dirichlet(u, 0)], "r^2 log r", 4),
    "values that jump": (ps.laplacian(u), [ps.Dirichlet(u, 1, on="y+"), ps.Dirichlet(u, 0, on=("x-", "x+", "y-"))], "jump", 2),
    "a slope that contradicts the value": (
        ps.laplacian(u), [ps.Neumann(u, 1, on="x-"), ps.Dirichlet(u, 0, on=("x+", "y-", "y+"))], "r^1 log r", 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("equation", "conditions", "words", "n"), INCOMPATIBLE.values(), ids=INCOMPATIBLE.keys())
def test_data_that_no_smooth_function_fits_are_told(equation, conditions, words, n):
    charts = charts_at_corners(equation, conditions, box(0, 1, 0, 1))
    assert len(charts) == n and all(words in chart.reason for chart in charts.values())


def test_value_and_slope_on_one_line_leave_a_square_root():
    half = ps.Polygon((x, y), [(-1, 0), (0, 0), (1, 0), (1, 1), (-1, 1)])
    exact = (x**2 + y**2) ** sp.Rational(1, 4) * sp.sin(sp.atan2(y, x) / 2)
    conditions = [ps.Neumann(u, 0, on="side1"), ps.Dirichlet(u, exact, on=("side2", "side3", "side4", "side5"))]
    assert "r^0.5" in charts_at_corners(ps.laplacian(u), conditions, half)["corner at (0, 0)"].reason


def test_a_jump_of_the_data_is_solved_to_its_series():
    walls = [ps.Dirichlet(u, 1, on="y+"), ps.Dirichlet(u, 0, on=("x-", "x+", "y-"))]
    problem = ps.Problem(name="jump", fields=[u], domain=box(0, 1, 0, 1), equations=[ps.laplacian(u)], conditions=walls)
    found = ps.solve(problem, seconds=SECONDS, progress=False)
    points = problem.domain.sample_interior(2000, seed=9)
    points = points[points[:, 1] < 0.9]  # the series decays like exp(-n pi (1 - y))
    n = np.arange(1, 200, 2)
    growth = np.exp(n * np.pi * (points[:, 1:] - 1)) * (1 - np.exp(-2 * n * np.pi * points[:, 1:])) / (1 - np.exp(-2 * n * np.pi))
    exact = np.sum(4 / (np.pi * n) * np.sin(n * np.pi * points[:, :1]) * growth, axis=1)
    error = np.linalg.norm(found.evaluate(0, points, (0, 0))[:, 0] - exact) / np.linalg.norm(exact)
    assert found.status.success and error < 1e-3 and error < HONEST * found.estimated_error


def test_a_singular_solution_that_is_not_harmonic_is_solved_and_stored(tmp_path):
    # Turned and off centre; the factor 1 + x/2 takes the singular part out of the span of the known functions of the corner.
    angle = sp.atan2(y, x)
    wedge = ps.Polygon((x, y), [(0, 0), (-20, -4), (-20, 4)])
    p = sp.Float(np.pi / (2 * np.pi - 2 * np.arctan(0.2)))
    exact = (x**2 + y**2) ** (p / 2) * sp.cos(p * angle) * sp.exp(x / 2) + sp.sin(2 * y)
    declared = ps.Problem(name="crack", fields=[u], domain=disk(0.1, 0.1, 1) - wedge, equations=[ps.laplacian(u)], conditions=[ps.Dirichlet(u, 0)])
    problem = ps.manufactured(declared, {u: exact})
    found = ps.solve(problem, seconds=SECONDS, progress=False)
    points = problem.domain.sample_interior(5000, seed=9)
    true, values = evaluate_on(exact, (x, y), points), found.evaluate(0, points, (0, 0))[:, 0]
    error = np.linalg.norm(values - true) / np.linalg.norm(true)
    assert found.status.success and error < 1e-4 and error < HONEST * found.estimated_error
    found.save(tmp_path / "crack.h5")
    again = ps.load(tmp_path / "crack.h5")
    np.testing.assert_array_equal(again.evaluate(0, points, (0, 0))[:, 0], values)


def test_the_series_around_discs_meets_its_bound_on_the_boundary():
    discs = ((0.2, 0.1, 0.15), (-0.25, -0.2, 0.1))
    field = perforated_square(0.5, discs, outer=2, inner=-1)
    assert field.error_bound < 1e-9
    turn = np.linspace(0, 6, 50)
    for a, b, radius in discs:
        assert np.max(np.abs(field(a + radius * np.cos(turn), b + radius * np.sin(turn)) + 1)) < 1e-9
    assert np.max(np.abs(field(0.5, np.linspace(-0.5, 0.5, 50)) - 2)) < 1e-9


def test_discs_that_touch_are_refused():
    with pytest.raises(ReferenceSolverError, match="touches the square"):
        perforated_square(0.5, [(0.45, 0, 0.1)], 1, 0)


def test_a_solution_has_a_value_at_its_corner():
    problem = load("poisson_l_shape")
    solution = ps.solve(problem, seconds=20, tolerance=1e-3, progress=False)
    corner = np.array(next(chart.grading.corner for chart in solution.plan.compiled.charts if chart.grading is not None))
    (u,) = problem.fields
    value, beside = (solution(**dict(zip(map(str, u.args), point, strict=True))) for point in (corner, corner + 1e-9))
    assert np.isfinite(value) and abs(value - beside) < 1e-4
