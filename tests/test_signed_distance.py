"""Signed distances from oriented points: accuracy at the surface, signs, and an estimate that knows of the kinks."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.training.cloud_distance import CloudDistance, cloud_of

x, y, z = ps.coordinates("x y z")
PLANE = ps.Box({x: (-1, 1), y: (-1, 1)})
NEAR, ZERO_SET, WRONG_SIGNS = 1e-3, 5e-4, 1e-3  # the bars of the family for smooth surfaces


def declared(cloud, domain, *more):
    u = ps.field("u", *domain.coordinates)
    conditions = [ps.Dirichlet(u, 0, on=cloud), ps.Neumann(u, 1, on=cloud), *(condition(u) for condition in more)]
    return ps.Problem(name="distance", fields=[u], domain=domain, equations=[sp.Eq(ps.grad(u).dot(ps.grad(u)), 1)], conditions=conditions)


def test_a_circle_and_an_honest_estimate():
    circle = ps.Disk({x: 0.1, y: -0.05}, 0.45)
    found = ps.solve(declared(ps.PointCloud.of(circle, 4000), PLANE), seconds=30, progress=False)
    surface, normals = circle.sample_boundary("surface", 1000, 9)
    offsets = np.linspace(-0.05, 0.05, 1000)
    near = np.abs(found["u"].at(surface + offsets[:, None] * normals) - offsets)
    points = PLANE.sample_interior(4000, seed=9)
    truth, values = circle.signed_distance(points), found["u"].at(points)
    error = np.linalg.norm(values - truth) / np.linalg.norm(truth)
    assert isinstance(found.plan.method, CloudDistance)
    assert np.mean(near) < NEAR and np.mean(np.abs(found["u"].at(surface))) < ZERO_SET
    assert np.mean(np.sign(values) != np.sign(truth)) < WRONG_SIGNS
    assert error < 3 * found.estimated_error and found.status.success == (found.estimated_error <= found.tolerance)


def test_a_distance_survives_its_file(tmp_path):
    problem = declared(ps.PointCloud.of(ps.Disk({x: 0, y: 0}, 0.5), 300), PLANE)
    found = ps.solve(problem, method=CloudDistance(features=60), seconds=20, progress=False)
    found.save(tmp_path / "distance.h5")
    points = PLANE.sample_interior(50, seed=5)
    assert np.array_equal(ps.load(tmp_path / "distance.h5")["u"].at(points), found["u"].at(points))


def test_only_distances_from_clouds_are_taken():
    cloud = ps.PointCloud.of(ps.Disk({x: 0, y: 0}, 0.5), 100)
    assert cloud_of(declared(cloud, PLANE, lambda u: ps.Constraint(sp.exp(-50 * sp.Abs(u)), on=PLANE))) == cloud
    assert cloud_of(declared(cloud, PLANE, lambda u: ps.Dirichlet(u, 1, on="x-"))) is None
    assert cloud_of(declared(cloud, PLANE, lambda u: ps.Constraint(u - x, on=PLANE))) is None
    u = ps.field("u", x, y)
    slow = ps.Problem(name="slow", fields=[u], domain=PLANE, equations=[ps.grad(u).dot(ps.grad(u)) - 4], conditions=[ps.Dirichlet(u, 0, on=cloud)])
    assert cloud_of(slow) is None


def test_the_plan_says_what_becomes_of_the_term_against_stray_zeros():
    cloud = ps.PointCloud.of(ps.Disk({x: 0, y: 0}, 0.5), 100)
    text = str(ps.plan(declared(cloud, PLANE, lambda u: ps.Constraint(sp.exp(-50 * sp.Abs(u)), on=PLANE))))
    assert "exp(-50*Abs(u(x, y))) asks for no zeros away from the surface, which the values given all over the domain see to" in text


def test_points_that_settle_no_sides_bring_no_success():
    circle = ps.PointCloud.of(ps.Disk({x: 0, y: 0}, 0.5), 400)
    turned = ps.PointCloud((x, y), circle.points, np.where(np.arange(400)[:, None] % 4 == 0, -1, 1) * circle.normals)
    found = ps.solve(declared(turned, PLANE), seconds=10, progress=False)
    assert not found.status.success and found.estimated_error > 0.05
    assert "their normals settle no sides" in found.status.text


@pytest.mark.parametrize("settings", [{"features": 4}, {"features": 20.0}, {"cells": 0}, {"cells": True}])
def test_settings_that_make_no_sense_are_named(settings):
    ((name, value),) = settings.items()
    with pytest.raises(ps.ProblemError, match=f"CloudDistance was given {name}={value!r}; expected a whole number"):
        CloudDistance(**settings)
