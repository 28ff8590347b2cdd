"""Every shape: membership, sampling, normals and measures against closed forms."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pinnsiren as ps
from pinnsiren.errors import ProblemError, StorageError, UnknownNameError
from pinnsiren.language import AbstractShape
from pinnsiren.language.domains.base import sobol
from pinnsiren.language.serialisation import condition_from_tree, problem_from_tree, problem_to_tree
from pinnsiren.language.tree_parts import ArrayShelf, domain_from_tree, domain_to_tree

X, Y, Z, T = ps.coordinates("x y z t")
N_POINTS = 1024
SEED = 5
# Sobol points of a smooth integrand over a cut shape; the error of a mean falls a little faster than 1 / sqrt(n).
QUADRATURE = 0.02

SQUARE = ps.Box({X: (-1, 1), Y: (-1, 1)})
HOLE = ps.Disk({X: 0, Y: 0}, 0.4)
CUBE = ps.Box({X: (-1, 1), Y: (-1, 1), Z: (-1, 1)})
CAVITY = ps.Ball({X: 0, Y: 0, Z: 0}, 0.5)
# Symmetric about the centres of their bounding boxes, as every shape below.
KITE = ps.Polygon({X: (0, 1, 0, -1), Y: (-2, 0, 2, 0)})
LENS = ps.Disk({X: -0.5, Y: 0}, 1) & ps.Disk({X: 0.5, Y: 0}, 1)
OCTAHEDRON = ps.TriangleMesh(
    (X, Y, Z), [[0.5, 0, 0], [-0.5, 0, 0], [0, 0.5, 0], [0, -0.5, 0], [0, 0, 0.7], [0, 0, -0.7]],
    [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]],
)  # fmt: skip
# Each of its faces has the corners 0.5, 0.5 and 0.7 on the axes.
OCTAHEDRON_AREA = 4 * math.sqrt(0.25**2 + 2 * 0.35**2)
LENS_AREA = 2 * math.pi / 3 - math.sqrt(3) / 2

SHAPES = {
    "interval": ps.Interval({X: (-1, 2)}),
    "rectangle": ps.Box({X: (0, 1), Y: (-1, 1)}),
    "box": ps.Box({X: (0, 1), Y: (0, 2), Z: (-1, 2)}),
    "ball in one dimension": ps.Ball({X: 0.5}, 2),
    "disk": ps.Disk({X: 1, Y: -2}, 0.7),
    "ball": ps.Ball({X: 0, Y: 1, Z: -1}, 1.5),
    "interval and time": ps.SpaceTime(ps.Interval({X: (0, 2)}), {T: (1, 4)}),
    "disk and time": ps.SpaceTime(ps.Disk({X: 0, Y: 0}, 2), {T: (0, 0.5)}),
    "kite": KITE,
    "square with a hole": SQUARE - HOLE,
    "two intervals": ps.Interval({X: (0, 1)}) | ps.Interval({X: (2, 3)}),
    "lens": LENS,
    "cross of touching boxes": ps.Box({X: (-3, 3), Y: (-1, 1)}) | ps.Box({X: (-1, 1), Y: (1, 3)}) | ps.Box({X: (-1, 1), Y: (-3, -1)}),
    "kite with a lens out of it": KITE - LENS,
    "cube with a cavity": CUBE - CAVITY,
    "rounded cube": CUBE & ps.Ball({X: 0, Y: 0, Z: 0}, 1.2),
    "square with a hole and time": ps.SpaceTime(SQUARE - HOLE, {T: (0, 2)}),
    "octahedron": OCTAHEDRON,
    "cube with an octahedron out of it": CUBE - OCTAHEDRON,
}
CAP = math.pi * 0.2**2 * (3 * 1.2 - 0.2) / 3  # what a face of the cube cuts off the ball of radius 1.2
ON_FACE = math.pi * (1.2**2 - 1)  # area of the disk in which it does
MEASURES = {
    "interval": 3,
    "rectangle": 2,
    "box": 6,
    "ball in one dimension": 4,
    "disk": math.pi * 0.49,
    "ball": 4 / 3 * math.pi * 1.5**3,
    "interval and time": 6,
    "disk and time": 2 * math.pi,
    "kite": 4,
    "square with a hole": 4 - math.pi * 0.16,
    "two intervals": 2,
    "lens": LENS_AREA,
    "cross of touching boxes": 20,
    "kite with a lens out of it": 4 - LENS_AREA,
    "cube with a cavity": 8 - math.pi / 6,
    "rounded cube": 4 / 3 * math.pi * 1.2**3 - 6 * CAP,
    "square with a hole and time": 8 - math.pi * 0.32,
    "octahedron": 4 / 3 * 0.5 * 0.5 * 0.7,
    "cube with an octahedron out of it": 8 - 4 / 3 * 0.5 * 0.5 * 0.7,
}
SIDE, ROUND = math.sqrt(5), 2 * math.pi * 0.4
BOUNDARIES = {
    "interval": {"x-": 1, "x+": 1},
    "rectangle": {"x-": 2, "x+": 2, "y-": 1, "y+": 1},
    "box": {"x-": 6, "x+": 6, "y-": 3, "y+": 3, "z-": 2, "z+": 2},
    "ball in one dimension": {"surface": 2},
    "disk": {"surface": 2 * math.pi * 0.7},
    "ball": {"surface": 4 * math.pi * 1.5**2},
    "interval and time": {"x-": 3, "x+": 3, "t-": 2, "t+": 2},
    "disk and time": {"surface": 2 * math.pi, "t-": 4 * math.pi, "t+": 4 * math.pi},
    "kite": {"side1": SIDE, "side2": SIDE, "side3": SIDE, "side4": SIDE},
    "square with a hole": {"x-": 2, "x+": 2, "y-": 2, "y+": 2, "surface": ROUND},
    "two intervals": {"x-": 1, "x+": 1, "x-@2": 1, "x+@2": 1},
    "lens": {"surface": 2 * math.pi / 3, "surface@2": 2 * math.pi / 3},
    # The inner faces of the arms are hidden; of the long box what the arms leave free is seen.
    "cross of touching boxes": {
        "x-": 2, "x+": 2, "y-": 4, "y+": 4, "x-@2": 2, "x+@2": 2, "y+@2": 2, "x-@3": 2, "x+@3": 2, "y-@3": 2,
    },
    "kite with a lens out of it": {
        "side1": SIDE, "side2": SIDE, "side3": SIDE, "side4": SIDE, "surface": 2 * math.pi / 3, "surface@3": 2 * math.pi / 3,
    },
    "cube with a cavity": {"x-": 4, "x+": 4, "y-": 4, "y+": 4, "z-": 4, "z+": 4, "surface": math.pi},
    "rounded cube": dict.fromkeys(("x-", "x+", "y-", "y+", "z-", "z+"), ON_FACE) | {"surface": 2 * math.pi * 1.2 * (2 * 1.2 - 6 * 0.2)},
    "square with a hole and time": {"x-": 4, "x+": 4, "y-": 4, "y+": 4, "surface": 2 * ROUND, "t-": 4 - math.pi * 0.16, "t+": 4 - math.pi * 0.16},
    "octahedron": {"surface": OCTAHEDRON_AREA},
    "cube with an octahedron out of it": {"x-": 4, "x+": 4, "y-": 4, "y+": 4, "z-": 4, "z+": 4, "surface": OCTAHEDRON_AREA},
}  # fmt: skip
# Visible shares of surfaces in space are sampled; everything else is exact.
SAMPLED = {"rounded cube": 2e-3}
every_shape = pytest.mark.parametrize("name", SHAPES)


def box_of(shape):
    return np.array([shape.bounds[symbol] for symbol in shape.coordinates]).T


@every_shape
def test_the_measure_is_the_closed_form_and_that_of_the_membership(name):
    shape = SHAPES[name]
    assert shape.measure == pytest.approx(MEASURES[name], rel=SAMPLED.get(name, 1e-12))
    low, high = box_of(shape)
    share = np.mean(shape.contains(low + (high - low) * sobol(len(low), 2**14, SEED)))
    assert share * np.prod(high - low) == pytest.approx(shape.measure, rel=QUADRATURE)


@every_shape
def test_the_interior_is_sampled_evenly_and_reproducibly(name):
    shape = SHAPES[name]
    points = shape.sample_interior(N_POINTS, SEED)
    assert points.shape == (N_POINTS, len(shape.coordinates)) and np.all(shape.contains(points))
    np.testing.assert_array_equal(points, shape.sample_interior(N_POINTS, SEED))
    assert not np.array_equal(points, shape.sample_interior(N_POINTS, SEED + 1))
    centre = box_of(shape).mean(axis=0)
    np.testing.assert_allclose(points.mean(axis=0), centre, atol=QUADRATURE * shape.size)


@every_shape
def test_boundary_parts_have_their_names_and_measures(name):
    shape = SHAPES[name]
    assert {part: shape.boundary_measure(part) for part in shape.boundary_parts()} == pytest.approx(BOUNDARIES[name], rel=SAMPLED.get(name, 1e-12))
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
        np.testing.assert_allclose(shape.boundary_distance(part, points), 0, atol=1e-12 * shape.size)
        np.testing.assert_allclose(shape.outward_normals(part, points), normals, atol=1e-12)
        np.testing.assert_allclose(shape.signed_distance(points), 0, atol=1e-12 * shape.size)
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
    assert type(shape).__name__ in repr(shape) or f" {shape.sign} " in repr(shape)


def test_faces_of_a_box_name_axis_and_side():
    assert SHAPES["box"].face("y+") == (1, 1) and SHAPES["box"].face("z-") == (2, -1)


def test_space_time_adds_the_time_last():
    shape = SHAPES["interval and time"]
    assert shape.coordinates == (X, T) and shape.duration == 3 and shape.space == ps.Interval({X: (0, 2)})
    times = shape.sample_boundary("x-", 64, SEED)[0][:, 1]
    assert times.min() < 1.2 and times.max() > 3.8


@every_shape
def test_the_level_function_has_the_sign_of_membership_and_never_exceeds_the_distance(name):
    shape = SHAPES[name]
    low, high = box_of(shape)
    points = low + (high - low) * (1.5 * np.random.default_rng(SEED).uniform(size=(500, len(low))) - 0.25)
    level = shape.signed_distance(points)
    np.testing.assert_array_equal(level <= 0, shape.contains(points))
    if name in SAMPLED:
        return  # distances from its parts count hidden pieces
    nearest = np.min([shape.boundary_distance(part, points) for part in shape.boundary_parts()], axis=0)
    assert np.all(np.abs(level) <= nearest + 1e-12)
    if name in ("interval", "rectangle", "disk", "ball", "kite", "square with a hole", "cube with a cavity"):
        # One convex shape, or holes that do not touch: exact inside.
        np.testing.assert_allclose(-level[level < 0], nearest[level < 0], atol=1e-12)


@every_shape
def test_shapes_survive_a_file(name):
    tree = json.loads(json.dumps(domain_to_tree(SHAPES[name])))
    assert domain_from_tree(tree) == SHAPES[name]


def test_files_hold_no_foreign_shapes_inside_set_operations():
    class Blob(ps.Disk):
        pass

    with pytest.raises(StorageError, match="`Blob`"):
        domain_to_tree(SQUARE - Blob({X: 0, Y: 0}, 0.1))
    tree = domain_to_tree(SQUARE - HOLE)
    tree["shape"]["members"] = tree["shape"]["members"][:1]
    with pytest.raises(StorageError, match="two or more shapes"):
        domain_from_tree(tree)


coordinate = st.floats(-1, 1)


@st.composite
def random_shapes(draw):
    """A box, disk or triangle about the origin, which it contains, so that every set of them overlaps."""
    kind = draw(st.sampled_from(("box", "disk", "triangle")))
    low, high = draw(st.tuples(coordinate, coordinate)), draw(st.tuples(coordinate, coordinate))
    if kind == "box":
        return ps.Box({X: (-1.5 - low[0] / 2, 1 + high[0] / 2), Y: (-1 - low[1] / 2, 1.5 + high[1] / 2)})
    if kind == "disk":
        return ps.Disk({X: low[0] / 2, Y: low[1] / 2}, 1.2 + high[0] / 3)
    turn = low[0] + 2 * math.pi / 3 * np.arange(3)
    size = 2 + high[0]
    return ps.Polygon({X: tuple(size * np.cos(turn)), Y: tuple(size * np.sin(turn))})


@settings(max_examples=25)
@given(random_shapes(), random_shapes(), random_shapes())
def test_measures_of_set_operations_add_up(first, second, third):
    """|A or B| + |A and B| = |A| + |B|, and |A without B| + |A and B| = |A|, to rounding: the pieces of the boundary are cut exactly."""
    union, both = first | second, first & second
    assert union.measure + both.measure == pytest.approx(first.measure + second.measure, rel=1e-9)
    if first.measure - both.measure > 1e-6:
        assert (first - second).measure == pytest.approx(first.measure - both.measure, abs=1e-9)
    assert ((union & third).measure) == pytest.approx(((first & third) | (second & third)).measure, rel=1e-9)


@settings(max_examples=25)
@given(random_shapes(), random_shapes(), random_shapes())
def test_the_flux_of_a_linear_field_through_a_visible_boundary_vanishes(first, second, third):
    """The integral of the normal over a closed boundary is zero: pieces and normals of the combined shape fit together."""
    shape = (first | second) & third
    flux = np.zeros(2)
    for part in shape.boundary_parts():
        points, normals = shape.sample_boundary(part, 512, SEED)
        flux += shape.boundary_measure(part) * normals.mean(axis=0)
        inside = shape.signed_distance(points - 1e-7 * normals) < 0
        assert np.mean(inside) > 0.99 and np.mean(shape.signed_distance(points + 1e-7 * normals) < 0) < 0.01
    perimeter = sum(shape.boundary_measure(part) for part in shape.boundary_parts())
    assert np.linalg.norm(flux) < QUADRATURE * perimeter


def test_set_operations_name_the_boundary_of_their_shapes():
    holes = [ps.Disk({X: a, Y: 0}, 0.2) for a in (-0.5, 0.5)]
    shape = SQUARE - holes[0] - holes[1]
    assert shape == SQUARE - holes[0] - holes[1] != SQUARE - holes[1] - holes[0]
    assert shape.boundary_parts() == ("x-", "x+", "y-", "y+", "surface", "surface@3")
    assert shape.parts_of_boundary(holes[1]) == ("surface@3",)
    assert shape.parts_of_boundary(SQUARE) == ("x-", "x+", "y-", "y+")
    assert shape.parts_of_boundary(holes[0] | holes[1]) == ("surface", "surface@3")
    assert "radius=0.2" in shape.described_part("surface@3")
    with pytest.raises(ProblemError, match="the domain is made of .*Name one of these"):
        shape.parts_of_boundary(HOLE)
    with pytest.raises(ProblemError, match="no part of the domain"):
        KITE.parts_of_boundary(HOLE)


def test_conditions_stand_on_the_boundary_of_a_hole():
    u = ps.field("u", X, Y)
    conditions = [ps.Dirichlet(u, 1, on=SQUARE.boundary), ps.Neumann(u, X, on=HOLE.boundary)]
    problem = ps.Problem(name="plate", fields=[u], domain=SQUARE - HOLE, equations=[ps.laplacian(u)], conditions=conditions)
    regions = [residual.region.part for condition in problem.conditions for residual in condition.residuals(problem.domain)]
    assert regions == ["x-", "x+", "y-", "y+", "surface"]
    both = ps.Dirichlet(u, 1, on=("x-", HOLE.boundary))
    assert [residual.region.part for residual in both.residuals(problem.domain)] == ["x-", "surface"]
    v = ps.field("v", X, Y, T)
    heat = ps.Dirichlet(v, 0, on=HOLE.boundary).residuals(ps.SpaceTime(SQUARE - HOLE, {T: (0, 1)}))
    assert [residual.region.part for residual in heat] == ["surface"]


def test_conditions_on_the_boundary_of_a_hole_survive_a_file():
    u = ps.field("u", X, Y)
    conditions = [ps.Dirichlet(u, 1, on=("x-", "x+", HOLE.boundary)), ps.Neumann(u, X, on=("y-", "y+"))]
    problem = ps.Problem(name="plate", fields=[u], domain=SQUARE - HOLE, equations=[ps.laplacian(u)], conditions=conditions)
    alone = problem.rewritten(equations=problem.equations, conditions=[ps.Dirichlet(u, 1), ps.Robin(u, 1, 2, Y, on=HOLE.boundary)])
    for declared in (problem, alone):
        tree, arrays = problem_to_tree(declared)
        tree = json.loads(json.dumps(tree))
        assert tuple(condition_from_tree(part, ArrayShelf(arrays)) for part in tree["conditions"]) == declared.conditions
    assert problem_from_tree(tree | {"conditions": problem_to_tree(problem)[0]["conditions"]}, {}) == problem


def test_a_hole_without_a_condition_is_named():
    u = ps.field("u", X, Y)
    with pytest.raises(ProblemError, match=r"no condition on the face `surface of Disk\(.*radius=0.4\)`"):
        ps.Problem(name="p", fields=[u], domain=SQUARE - HOLE, equations=[ps.laplacian(u)], conditions=[ps.Dirichlet(u, 1, on=SQUARE.boundary)])


def test_where_two_shapes_share_a_piece_of_boundary_it_is_counted_once():
    left, right = ps.Box({X: (0, 1), Y: (0, 1)}), ps.Box({X: (0.5, 2), Y: (0, 1)})
    shape = left | right
    assert sum(shape.boundary_measure(part) for part in shape.boundary_parts()) == pytest.approx(6, rel=1e-12)
    assert shape.boundary_measure("y-") == pytest.approx(1) and shape.boundary_measure("y-@2") == pytest.approx(1)


def test_a_shape_of_the_user_joins_set_operations_by_sampling():
    class Ellipse(ps.Disk):
        """No exact curves: they are not known for an ellipse."""

        def boundary_curves(self, part):
            return ()

    shape = SQUARE - Ellipse({X: 0, Y: 0}, 0.4)
    assert isinstance(shape, AbstractShape)
    assert shape.measure == pytest.approx(4 - math.pi * 0.16, rel=1e-6)
    assert shape.boundary_measure("surface") == pytest.approx(ROUND)


MISTAKES = {
    "the hole .* lies outside of": lambda: SQUARE - ps.Disk({X: 5, Y: 5}, 1),
    "nothing is left of": lambda: HOLE - SQUARE,
    "the intersection .* is empty": lambda: SQUARE & ps.Disk({X: 5, Y: 5}, 1),
    "the intersection Box.* is empty": lambda: CUBE & ps.Ball({X: 5, Y: 5, Z: 5}, 1),
    "the same coordinates in the same order": lambda: SQUARE - ps.Disk({X: 0, Z: 0}, 0.5),
    "something that is none; expected two shapes": lambda: SQUARE - 3,
    "add the time last": lambda: SQUARE - ps.SpaceTime(HOLE, {T: (0, 1)}),
    "combine the spaces": lambda: ps.SpaceTime(HOLE, {T: (0, 1)}) - SQUARE,
    r"sides that cross or touch: side2 .* and side4": lambda: ps.Polygon({X: (0, 1, 0, 1), Y: (0, 0, 1, 1)}),
    r"cross or touch: side1 .*\(0, 0\) to \(2, 0\)": lambda: ps.Polygon({X: (0, 2, 2, 1, 0), Y: (0, 0, 1, 0, 1)}),
    "run back|cross or touch": lambda: ps.Polygon({X: (0, 2, 1, 1), Y: (0, 0, 0, 1)}),
    "twice in a row": lambda: ps.Polygon({X: (0, 1, 1, 0), Y: (0, 0, 0, 1)}),
    "enclose no area": lambda: ps.Polygon({X: (0, 1, 2), Y: (0, 1, 2)}),
    "three or more": lambda: ps.Polygon({X: (0, 1), Y: (0, 1)}),
    "2 positions along `x` and 3 along `y`": lambda: ps.Polygon({X: (0, 1), Y: (0, 1, 2)}),
    "expected two symbols": lambda: ps.Polygon({X: (0, 1, 0), Y: (0, 1, 2), Z: (1, 2, 3)}),
    "expected finite numbers": lambda: ps.Polygon({X: (0, 1, math.inf), Y: (0, 1, 2)}),
    "expected positions per coordinate": lambda: ps.Polygon([(0, 0), (1, 0), (0, 1)]),
    "was given the points": lambda: ps.Polygon((X, Y), [(0, 0), (1,), (0, 1)]),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_told_in_the_words_of_the_user(message):
    with pytest.raises(ProblemError, match=message):
        MISTAKES[message]()


def test_a_polygon_is_the_same_in_both_notations_and_senses_of_rotation():
    pairs = ps.Polygon((X, Y), [(0, -2), (1, 0), (0, 2), (-1, 0)])
    assert pairs == KITE and hash(pairs) == hash(KITE)
    mirrored = ps.Polygon({X: (0, -1, 0, 1), Y: (-2, 0, 2, 0)})
    points = mirrored.sample_interior(100, SEED)
    assert mirrored.measure == KITE.measure and np.all(KITE.contains(points))
    np.testing.assert_allclose(mirrored.outward_normals("side1", points[:1]), [[-2 / SIDE, -1 / SIDE]])
