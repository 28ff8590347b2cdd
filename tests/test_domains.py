"""Every shape: membership, sampling, normals and measures against closed forms."""

import math

import numpy as np
import pytest

import pinnsiren as ps
from pinnsiren.errors import UnknownNameError

X, Y, Z, T = ps.coordinates("x y z t")
N_POINTS = 1024
SEED = 5
# Sobol points of a smooth integrand over a cut shape; the error of a mean falls a little faster than 1 / sqrt(n).
QUADRATURE = 0.02

SHAPES = {
    "interval": ps.Interval({X: (-1, 2)}),
    "rectangle": ps.Box({X: (0, 1), Y: (-1, 1)}),
    "box": ps.Box({X: (0, 1), Y: (0, 2), Z: (-1, 2)}),
    "ball in one dimension": ps.Ball({X: 0.5}, 2),
    "disk": ps.Disk({X: 1, Y: -2}, 0.7),
    "ball": ps.Ball({X: 0, Y: 1, Z: -1}, 1.5),
    "interval and time": ps.SpaceTime(ps.Interval({X: (0, 2)}), {T: (1, 4)}),
    "disk and time": ps.SpaceTime(ps.Disk({X: 0, Y: 0}, 2), {T: (0, 0.5)}),
}
MEASURES = {
    "interval": 3,
    "rectangle": 2,
    "box": 6,
    "ball in one dimension": 4,
    "disk": math.pi * 0.49,
    "ball": 4 / 3 * math.pi * 1.5**3,
    "interval and time": 6,
    "disk and time": 2 * math.pi,
}
BOUNDARIES = {
    "interval": {"x-": 1, "x+": 1},
    "rectangle": {"x-": 2, "x+": 2, "y-": 1, "y+": 1},
    "box": {"x-": 6, "x+": 6, "y-": 3, "y+": 3, "z-": 2, "z+": 2},
    "ball in one dimension": {"surface": 2},
    "disk": {"surface": 2 * math.pi * 0.7},
    "ball": {"surface": 4 * math.pi * 1.5**2},
    "interval and time": {"x-": 3, "x+": 3, "t-": 2, "t+": 2},
    "disk and time": {"surface": 2 * math.pi, "t-": 4 * math.pi, "t+": 4 * math.pi},
}
every_shape = pytest.mark.parametrize("name", SHAPES)


def box_of(shape):
    return np.array([shape.bounds[symbol] for symbol in shape.coordinates]).T


@every_shape
def test_the_measure_is_the_closed_form_and_that_of_the_membership(name):
    shape = SHAPES[name]
    assert shape.measure == pytest.approx(MEASURES[name])
    low, high = box_of(shape)
    grid = np.stack(np.meshgrid(*[np.linspace(a, b, 81)[:-1] + (b - a) / 160 for a, b in zip(low, high, strict=True)]), axis=-1)
    share = np.mean(shape.contains(grid.reshape(-1, len(low))))
    assert share * np.prod(high - low) == pytest.approx(shape.measure, rel=QUADRATURE)


@every_shape
def test_the_interior_is_sampled_evenly_and_reproducibly(name):
    shape = SHAPES[name]
    points = shape.sample_interior(N_POINTS, SEED)
    assert points.shape == (N_POINTS, len(shape.coordinates)) and np.all(shape.contains(points))
    np.testing.assert_array_equal(points, shape.sample_interior(N_POINTS, SEED))
    assert not np.array_equal(points, shape.sample_interior(N_POINTS, SEED + 1))
    centre = box_of(shape).mean(axis=0)  # every shape here is symmetric about it
    np.testing.assert_allclose(points.mean(axis=0), centre, atol=QUADRATURE * shape.size)


@every_shape
def test_boundary_parts_have_their_names_and_measures(name):
    shape = SHAPES[name]
    assert {part: shape.boundary_measure(part) for part in shape.boundary_parts()} == pytest.approx(BOUNDARIES[name])
    for ask in (shape.boundary_measure, lambda part: shape.sample_boundary(part, 4, SEED)):
        with pytest.raises(UnknownNameError, match="boundary part `w-` is unknown; this domain has"):
            ask("w-")


@every_shape
def test_boundary_points_lie_on_the_boundary_and_normals_point_outwards(name):
    shape = SHAPES[name]
    for part in shape.boundary_parts():
        points, normals = shape.sample_boundary(part, 64, SEED)
        assert points.shape == normals.shape and points.shape[1] == len(shape.coordinates)
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
        step = 1e-6 * shape.size
        assert np.all(shape.contains(points, 1e-9))
        assert np.all(shape.contains(points - step * normals, 1e-9)) and not np.any(shape.contains(points + step * normals, 1e-9))


@every_shape
def test_the_divergence_theorem_holds_for_the_samples(name):
    """The flux of the position through the whole boundary is the dimension times the measure: checks normals, measures and sampling at once."""
    shape = SHAPES[name]
    flux = 0.0
    for part in shape.boundary_parts():
        points, normals = shape.sample_boundary(part, N_POINTS, SEED)
        flux += shape.boundary_measure(part) * np.mean(np.sum(points * normals, axis=1))
    assert flux == pytest.approx(len(shape.coordinates) * shape.measure, rel=QUADRATURE)


@every_shape
def test_points_outside_are_outside(name):
    shape = SHAPES[name]
    low, high = box_of(shape)
    assert not np.any(shape.contains(np.array([low - 1, high + 1, np.full(len(low), np.nan)])))


@every_shape
def test_equal_shapes_are_equal_and_print_their_extent(name):
    shape = SHAPES[name]
    assert shape != "a shape" and len({shape, *SHAPES.values()}) == len(SHAPES)
    assert type(shape).__name__ in repr(shape)


def test_faces_of_a_box_name_axis_and_side():
    assert SHAPES["box"].face("y+") == (1, 1) and SHAPES["box"].face("z-") == (2, -1)


def test_space_time_adds_the_time_last():
    shape = SHAPES["interval and time"]
    assert shape.coordinates == (X, T) and shape.duration == 3 and shape.space == ps.Interval({X: (0, 2)})
    times = shape.sample_boundary("x-", 64, SEED)[0][:, 1]
    assert times.min() < 1.2 and times.max() > 3.8
