"""Oriented points: distance and membership against closed forms, and what is refused."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.language.serialisation import problem_from_tree, problem_to_tree

x, y, z = ps.coordinates("x y z")
SPACE = ps.Box({x: (-1, 1), y: (-1, 1), z: (-1, 1)})
N_POINTS = 8000
CURVED = 5e-4  # spacing^2 over the radius, a few times
EDGED = 2e-3  # a tenth of the spacing at edges


def sphere(radius=0.6, n_points=N_POINTS):
    return ps.PointCloud.of(ps.Ball({x: 0, y: 0, z: 0}, radius), n_points)


def test_the_distance_from_a_sphere_of_points():
    points = SPACE.sample_interior(4000, seed=3)
    truth = np.linalg.norm(points, axis=1) - 0.6
    assert np.mean(np.abs(sphere().signed_distance(points) - truth)) < CURVED
    clear = np.abs(truth) > 0.01
    assert np.array_equal(sphere().contains(points)[clear], truth[clear] < 0)


def test_edges_and_corners_of_a_box_of_points():
    box = ps.Box({x: (-0.5, 0.5), y: (-0.4, 0.4), z: (-0.3, 0.3)})
    points = SPACE.sample_interior(4000, seed=3)
    error = np.abs(ps.PointCloud.of(box, N_POINTS).signed_distance(points) - box.signed_distance(points))
    assert np.mean(error) < EDGED / 4 and np.quantile(error, 0.98) < 2 * EDGED


def test_a_concave_corner_in_the_plane():
    corner = ps.Polygon({x: (0, 1, 1, 0.4, 0.4, 0), y: (0, 0, 0.5, 0.5, 1, 1)})
    cloud = ps.PointCloud.of(corner, 2000)
    plane = ps.Box({x: (-0.5, 1.5), y: (-0.5, 1.5)})
    points = plane.sample_interior(3000, seed=3)
    assert np.mean(np.abs(cloud.signed_distance(points) - corner.signed_distance(points))) < EDGED


def test_two_points_on_the_line():
    cloud = ps.PointCloud((x,), [[0.0], [1.0]], [[-1.0], [1.0]])
    assert np.allclose(cloud.signed_distance(np.array([[-0.5], [0.25], [2.0]])), [0.5, -0.25, 1.0])


def test_normals_are_made_unit_vectors():
    cloud = ps.PointCloud((x, y), [[0, 0], [1, 0]], [[-3, 0], [0.5, 0]])
    assert np.allclose(np.linalg.norm(cloud.normals, axis=1), 1)


@pytest.mark.parametrize(
    ("points", "normals", "message"),
    [
        ([[0, 0], [1, 1]], None, "no normals"),
        ([[0, 0], [1, 1]], [[0, 0], [1, 0]], "1 normals of length zero, the first at point 0"),
        ([[0, 0], [1, np.nan]], [[1, 0], [1, 0]], "NaN"),
        ([[0, 0], [1, 1]], [[1, 0]], "expected the same"),
        ([[0, 0, 0]], [[1, 0, 0]], r"expected \(n, 2\)"),
        ([[0, 0], [1]], [[1, 0], [1, 0]], "rows of equal length"),
    ],
)
def test_bad_clouds_are_refused(points, normals, message):
    with pytest.raises(ps.ProblemError, match=message):
        ps.PointCloud((x, y), points, normals)


def distance_problem(cloud, domain=SPACE):
    u = ps.field("u", *domain.coordinates)
    conditions = [ps.Dirichlet(u, 0, on=cloud), ps.Neumann(u, 1, on=cloud)]
    return ps.Problem(name="distance", fields=[u], domain=domain, equations=[sp.Eq(ps.grad(u).dot(ps.grad(u)), 1)], conditions=conditions)


def test_points_outside_the_domain_are_named():
    with pytest.raises(ps.ProblemError, match="lie outside the domain"):
        distance_problem(sphere(1.5, 100))


def test_other_coordinates_are_refused():
    with pytest.raises(ps.ProblemError, match="other coordinates"):
        distance_problem(ps.PointCloud((x, y), [[0, 0], [1, 1]], [[1, 0], [1, 0]]))


def test_a_cloud_survives_its_file():
    problem = distance_problem(sphere(n_points=200))
    again = problem_from_tree(*problem_to_tree(problem))
    assert again.conditions[0].on == problem.conditions[0].on
