"""First arrivals: rays that cross, several sources, and what the rays say of the result."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.compiler.apply_factored_eikonal import point_sources, source_of, squared_slowness
from pinnsiren.reference_solvers import find
from pinnsiren.training.first_arrivals import FirstArrivals
from pinnsiren.training.rays import first_arrivals, trace

x, z = ps.coordinates("x z")
T = ps.field("T", x, z)
BOX = ps.Box({x: (0, 1), z: (0, 1)})
LIMITS = ((0.0, 1.0), (0.0, 1.0))
CENTRE = (0.5, 0.5)
SECONDS = 5.0
COARSE = 3e-4  # of the coarse map: second order in cells of 1/96
KINKED = 1e-3  # the bar of the family for crossing arrivals, mean relative error


def lens(contrast, width=0.12):
    return 1 + sp.Float(contrast) * sp.exp(-((x - sp.Float(CENTRE[0])) ** 2 + (z - sp.Float(CENTRE[1])) ** 2) / sp.Float(2 * width**2))


def declared(speed, *sources, field=T, conditions=None):
    slope = ps.grad(field)
    points = [ps.Dirichlet(field, value, on={x: at[0], z: at[1]}) for at, value in sources]
    return ps.Problem(name="times", fields=[field], domain=BOX, equations=[slope.dot(slope) - 1 / speed**2], conditions=conditions or points)


def arrivals(speed, at):
    fan = trace(1 / speed**2, (x, z), LIMITS, at)
    return fan, first_arrivals(fan, LIMITS, at)


def test_rays_in_a_gradient_are_the_closed_form():
    fan, found = arrivals(1 + sp.Float(0.8) * z, (0.4, 0.0))
    mesh = np.stack(np.meshgrid(*found.axes, indexing="ij"), axis=-1)
    r2 = np.sum((mesh - np.array((0.4, 0.0))) ** 2, axis=-1)
    truth = np.arccosh(1 + 0.64 * r2 / (2 * (1 + 0.8 * mesh[..., 1]))) / 0.8
    assert fan.drift < 1e-7 and found.missed == 0 and found.n_sectors == 1
    assert np.max(np.abs(found.times - truth)) < COARSE
    on_ray = fan.points[40][fan.inside[40]]
    r2 = np.sum((on_ray - np.array((0.4, 0.0))) ** 2, axis=-1)
    assert np.allclose(np.arccosh(1 + 0.64 * r2 / (2 * (1 + 0.8 * on_ray[:, 1]))) / 0.8, fan.times[40], rtol=1e-8)


def test_a_slow_lens_cuts_the_fan_where_its_axis_leaves_the_source():
    _, found = arrivals(lens(-0.5), (0.1, 0.5))
    toward = np.min(np.abs(np.mod(found.cuts + np.pi, 2 * np.pi) - np.pi))
    assert found.n_sectors == 2 and toward < 0.05


def test_a_fast_lens_cuts_nothing():
    assert arrivals(lens(0.5), (0.1, 0.5))[1].n_sectors == 1


def test_crossing_arrivals_are_the_viscosity_solution():
    problem = declared(lens(-0.45), ((0.1, 0.45), 0))
    found = ps.solve(problem, seconds=SECONDS, progress=False)
    assert isinstance(found.plan.method, FirstArrivals) and "rays cross" in str(found.plan)
    grid = find(problem).solve(problem)
    points = BOX.sample_interior(3000, seed=5)
    truth = grid["T"](*points.T)
    error = np.abs(found["T"].at(points) - truth)
    assert np.mean(error / truth) < KINKED
    assert np.linalg.norm(error) / np.linalg.norm(truth) < 10 * found.estimated_error + grid.error_estimate
    slope = found["T"].derivative(z)(x=0.97, z=np.linspace(0.01, 0.99, 400))
    assert np.max(np.abs(np.diff(slope))) > 0.2 > 10 * np.median(np.abs(np.diff(slope)))  # one kink between smooth branches


def test_the_earliest_of_two_sources_counts():
    problem = declared(1 + sp.Float(0.5) * z, ((0.2, 0.3), 0), ((0.8, 0.6), 0.1))
    found = ps.solve(problem, seconds=SECONDS, progress=False)
    points = BOX.sample_interior(2000, seed=5)
    times = []
    for at, start in (((0.2, 0.3), 0), ((0.8, 0.6), 0.1)):
        r2 = np.sum((points - np.array(at)) ** 2, axis=1)
        times.append(start + np.arccosh(1 + 0.25 * r2 / (2 * (1 + 0.5 * at[1]) * (1 + 0.5 * points[:, 1]))) / 0.5)
    assert np.max(np.abs(found["T"].at(points) - np.min(times, axis=0))) < 1e-5 and found.status.success


def test_shots_have_a_source_each(tmp_path):
    shots = ps.field("T", x, z, shots=2)
    at = np.array([[[0.2, 0.3]], [[0.8, 0.1]]])
    problem = declared(1 + sp.Float(0.5) * z, field=shots, conditions=[ps.Observations(shots, at, np.zeros((2, 1)))])
    found = ps.solve(problem, seconds=SECONDS, progress=False)
    points = BOX.sample_interior(500, seed=5)
    r2 = np.sum((points - at) ** 2, axis=2)
    speed = 1 + 0.5 * points[:, 1]
    truth = np.arccosh(1 + 0.25 * r2 / (2 * (1 + 0.5 * at[:, :, 1]) * speed)) / 0.5
    assert found["T"].at(points).shape == (2, 500) and np.max(np.abs(found["T"].at(points) - truth)) < 1e-5
    found.save(tmp_path / "shots.h5")
    assert np.array_equal(ps.load(tmp_path / "shots.h5")["T"].at(points), found["T"].at(points))


def test_paths_that_leave_the_box_are_in_the_estimate():
    # Fast ground below the box: the earliest path from corner to corner would dive out of it.
    problem = declared(1 + 3 * sp.Float(1) * z**2, ((0.05, 0.9), 0))
    found = ps.solve(problem, seconds=SECONDS, progress=False)
    truth = find(problem).solve(problem)["T"]
    points = BOX.sample_interior(2000, seed=5)
    error = np.linalg.norm(found["T"].at(points) - truth(*points.T)) / np.linalg.norm(truth(*points.T))
    assert error < found.estimated_error and isinstance(found.plan.method, FirstArrivals)


@pytest.mark.parametrize(
    "conditions",
    [[ps.Dirichlet(T, 0, on="x-")], [ps.Dirichlet(T, 0, on={x: 0.5, z: 0.5}), ps.Dirichlet(T, 0, on="x-")]],
    ids=["a face", "a face and a point"],
)
def test_other_conditions_are_no_point_sources(conditions):
    problem = declared(1 + z, conditions=conditions)
    assert point_sources(problem) is None and source_of(problem) is None
    assert not FirstArrivals().suits(ps.plan(problem).compiled).ok


def test_the_slowness_of_shots_is_read():
    shots = ps.field("T", x, z, shots=2)
    problem = declared(1 + z, field=shots, conditions=[ps.Observations(shots, np.array([[[0.2, 0.3]], [[0.8, 0.1]]]), np.zeros((2, 1)))])
    assert sp.simplify(squared_slowness(problem) - 1 / (1 + z) ** 2) == 0


def test_only_least_squares_hold_a_branch():
    with pytest.raises(ps.ProblemError, match="LeastSquares"):
        FirstArrivals(expansion="fast")
