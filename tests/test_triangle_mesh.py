"""Triangle meshes: distances against independent formulas, files, and each way in which a surface bounds no body."""

import builtins

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.language.domains.triangles import crossing_faces, nearest_on_triangles
from pinnsiren.language.serialisation import problem_from_tree, problem_to_tree
from pinnsiren.problems import load

x, y, z = ps.coordinates("x y z")
BOX_FACES = [(0, 2, 1), (1, 2, 3), (4, 5, 6), (5, 7, 6), (0, 1, 4), (1, 5, 4), (2, 6, 3), (3, 6, 7), (0, 4, 2), (2, 4, 6), (1, 3, 5), (3, 7, 5)]
ROUNDING = 1e-12


def box_vertices(low, high):
    return np.array([[(low, high)[i >> axis & 1][axis] for axis in range(3)] for i in range(8)], dtype=float)


def box_mesh(low=(-0.5, -0.2, -0.9), high=(0.3, 0.6, 0.7)):
    return ps.TriangleMesh((x, y, z), box_vertices(low, high), BOX_FACES)


def bumpy_ball(n=24, seed=0):
    """A star-shaped body with random dents, as a latitude-longitude mesh: long thin triangles at the poles."""
    chance = np.random.default_rng(seed)
    theta, phi = np.pi * np.arange(1, n) / n, 2 * np.pi * np.arange(2 * n) / (2 * n)
    t, p = np.meshgrid(theta, phi, indexing="ij")
    radius = 0.6 * (1 + 0.15 * chance.uniform(-1, 1, t.shape))
    ring = (radius[..., None] * np.stack([np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)], axis=-1)).reshape(-1, 3)
    index = np.arange(len(ring)).reshape(t.shape)
    a, b, c, d = index[:-1], index[1:], np.roll(index[1:], -1, axis=1), np.roll(index[:-1], -1, axis=1)
    top, bottom = len(ring), len(ring) + 1
    sides = [np.stack(part, axis=-1).reshape(-1, 3) for part in ((a, b, c), (a, c, d))]
    first, last = index[0], index[-1]
    caps = [np.stack([np.full(2 * n, top), first, np.roll(first, -1)], axis=-1), np.stack([np.full(2 * n, bottom), np.roll(last, -1), last], axis=-1)]
    return ps.TriangleMesh((x, y, z), np.vstack([ring, [[0, 0, 0.6], [0, 0, -0.6]]]), np.concatenate(sides + caps))


def solid_angle_sum(mesh, points):
    """The winding number: 1 inside, 0 outside (van Oosterom and Strackee 1983)."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]][None] - points[:, None] for i in range(3))
    la, lb, lc = (np.linalg.norm(v, axis=2) for v in (a, b, c))
    above = np.sum(a * np.cross(b, c), axis=2)
    below = la * lb * lc + np.sum(a * b, axis=2) * lc + np.sum(b * c, axis=2) * la + np.sum(c * a, axis=2) * lb
    return np.sum(2 * np.arctan2(above, below), axis=1) / (4 * np.pi)


def test_a_box_of_triangles_has_the_distance_of_the_box():
    low, high = (-0.5, -0.2, -0.9), (0.3, 0.6, 0.7)
    box = ps.Box(dict(zip((x, y, z), zip(low, high, strict=True), strict=True)))
    points = ps.Box({symbol: (-2, 2) for symbol in (x, y, z)}).sample_interior(3000, seed=2)
    assert np.max(np.abs(box_mesh().signed_distance(points) - box.signed_distance(points))) < ROUNDING
    # Vertices and middles of edges, where the sign hangs on the normals of features.
    corners = box_vertices(low, high)
    assert np.allclose(box_mesh().signed_distance(np.vstack([1.3 * corners, 0.5 * (corners[:1] + corners[1:2]) * 1.2])) > 0, True)


def test_distances_and_signs_of_a_dented_body_by_brute_force():
    mesh = bumpy_ball()
    points = ps.Box({symbol: (-1, 1) for symbol in (x, y, z)}).sample_interior(400, seed=3)
    found = mesh.signed_distance(points)
    corners = mesh.vertices[mesh.faces]
    for point, value in zip(points, found, strict=True):
        feet, _ = nearest_on_triangles(np.broadcast_to(point, (len(corners), 3)), corners)
        assert abs(np.min(np.linalg.norm(feet - point, axis=1)) - abs(value)) < ROUNDING
    assert np.array_equal(found < 0, solid_angle_sum(mesh, points) > 0.5)


def test_points_of_a_mesh_lie_on_it_evenly_with_exact_normals():
    mesh = box_mesh()
    cloud = ps.PointCloud.from_mesh(mesh, 4000)
    assert np.max(np.abs(mesh.signed_distance(cloud.points))) < ROUNDING
    above, below = cloud.points + 1e-6 * cloud.normals, cloud.points - 1e-6 * cloud.normals
    assert np.all(mesh.signed_distance(above) > 0) and np.all(mesh.signed_distance(below) < 0)
    share = np.mean(cloud.normals[:, 2] > 0.5)
    assert share == pytest.approx(0.8 * 0.8 / mesh.boundary_measure("surface"), abs=0.01)


def test_a_placed_body_keeps_its_shape():
    mesh = bumpy_ball().placed(centre=(1, 2, 3), size=2)
    assert mesh.size == pytest.approx(2)
    assert np.allclose([sum(mesh.bounds[symbol]) / 2 for symbol in (x, y, z)], (1, 2, 3))
    assert mesh.measure == pytest.approx(bumpy_ball().measure * (2 / bumpy_ball().size) ** 3)


def test_a_mesh_survives_its_file_format_and_the_storage(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    mesh = bumpy_ball(8)
    for ending in ("stl", "ply", "obj"):
        trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(tmp_path / f"body.{ending}")
        again = ps.TriangleMesh.from_file((x, y, z), tmp_path / f"body.{ending}")
        assert len(again.faces) == len(mesh.faces) and again.measure == pytest.approx(mesh.measure, rel=1e-5)
    u = ps.field("u", x, y, z)
    problem = ps.Problem(name="inside", fields=[u], domain=mesh, equations=[sp.Eq(ps.laplacian(u), 1)], conditions=[ps.Dirichlet(u, 0)])
    assert problem_from_tree(*problem_to_tree(problem)).domain == mesh


OPEN = [face for index, face in enumerate(BOX_FACES) if index != 3]
TURNED = [face if index else face[::-1] for index, face in enumerate(BOX_FACES)]
INWARDS = [face[::-1] for face in BOX_FACES]
FLAT = np.vstack([box_vertices((0, 0, 0), (1, 1, 1)), [[0.5, 0.5, 0]]])
BOX = box_vertices((0, 0, 0), (1, 1, 1))
TWO_BOXES = np.vstack([BOX, BOX + 0.5 + 0.01 * np.arange(3)])
TWICE = BOX_FACES + [tuple(i + 8 for i in face) for face in BOX_FACES]


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (BOX, OPEN, "the mesh is open: 3 edges belong to one face only.*fill the holes"),
        (BOX, TURNED, "not oriented one way: 3 edges"),
        (BOX, INWARDS, "point inwards.*turn every face"),
        (BOX, BOX_FACES + BOX_FACES, "belong to more than two faces"),
        (FLAT, [*BOX_FACES, (1, 8, 2)], "1 faces of the mesh have no area, the first is face 12"),
        (TWO_BOXES, TWICE, "the mesh intersects itself: the faces .* cross, near"),
        (BOX, [(0, 1, 9), *BOX_FACES], "whole numbers from 0 to 7"),
        (BOX, [[0.5, 1, 2], *BOX_FACES], "whole numbers"),
        (BOX[:, :2], BOX_FACES, r"vertices of shape \(8, 2\)"),
        (np.where(BOX == 1, np.nan, BOX), BOX_FACES, "NaN"),
        (BOX, [(0, 1, 2)], r"faces of shape \(1, 3\)"),
    ],
)
def test_what_bounds_no_body_is_refused(vertices, faces, message):
    with pytest.raises(ps.ProblemError, match=message):
        ps.TriangleMesh((x, y, z), vertices, faces)


def test_bodies_beside_and_inside_each_other_do_not_cross():
    beside = np.vstack([BOX, BOX + 2.0])
    assert ps.TriangleMesh((x, y, z), beside, TWICE).measure == pytest.approx(2)
    cavity = np.vstack([BOX, 0.25 + BOX / 2])
    hollow = [*BOX_FACES, *(tuple(i + 8 for i in face[::-1]) for face in BOX_FACES)]
    mesh = ps.TriangleMesh((x, y, z), cavity, hollow)
    assert mesh.measure == pytest.approx(1 - 1 / 8) and not mesh.contains(np.array([[0.5, 0.5, 0.5]]))[0]
    assert next(crossing_faces(mesh.vertices, mesh.faces), None) is None


def test_a_dent_through_the_other_side_is_found():
    mesh = bumpy_ball()
    vertices = mesh.vertices.copy()
    vertices[200] *= -1.5
    with pytest.raises(ps.ProblemError, match="intersects itself"):
        ps.TriangleMesh((x, y, z), vertices, mesh.faces)


def test_other_things_are_no_mesh(tmp_path):
    with pytest.raises(ps.ProblemError, match="three symbols"):
        ps.TriangleMesh((x, y), BOX, BOX_FACES)
    with pytest.raises(ps.ProblemError, match=r"given ndarray; expected a TriangleMesh.*from_file"):
        ps.PointCloud.from_mesh(BOX, 100)
    pytest.importorskip("trimesh")
    with pytest.raises(ps.ProblemError, match="does not exist"):
        ps.TriangleMesh.from_file((x, y, z), tmp_path / "nothing.stl")
    (tmp_path / "words.ply").write_text("no mesh at all")
    with pytest.raises(ps.ProblemError, match="cannot be read as a triangle mesh"):
        ps.TriangleMesh.from_file((x, y, z), tmp_path / "words.ply")


def test_a_damaged_file_is_named(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    trimesh.Trimesh(BOX, OPEN, process=False).export(tmp_path / "holed.ply")
    with pytest.raises(ps.ProblemError, match=r"file `.*holed\.ply` bounds no body: the mesh is open: 3 edges"):
        ps.TriangleMesh.from_file((x, y, z), tmp_path / "holed.ply")


def test_without_trimesh_the_extra_is_named(monkeypatch, tmp_path):
    imported = builtins.__import__

    def without(name, *rest, **more):
        if name == "trimesh":
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ps.ProblemError, match=r"needs trimesh, which is not installed: pip install pinnsiren\[meshes\]"):
        ps.TriangleMesh.from_file((x, y, z), tmp_path / "body.stl")


def test_without_pyvista_the_problem_says_what_to_install(monkeypatch):
    monkeypatch.setattr("pinnsiren.problems._meshes.find_spec", lambda name: None)
    with pytest.raises(ps.ProblemError, match=r"ships inside pyvista, which is not installed: pip install pinnsiren\[pyvista\]"):
        load("sdf_mesh")
    with pytest.raises(ps.UnknownNameError, match="`ant` is unknown; .* nut, sphere"):
        load("sdf_mesh", mesh="ant")


@pytest.mark.parametrize(
    ("combine", "message"),
    [
        (lambda mesh: mesh & ps.Ball({x: 9, y: 0, z: 0}, 1), "the intersection .* is empty"),
        (lambda mesh: mesh - ps.Ball({x: 0, y: 0, z: 0}, 5), "nothing is left of TriangleMesh"),
        (lambda mesh: mesh - ps.Ball({x: 9, y: 0, z: 0}, 1), "lies outside of TriangleMesh.*removes nothing"),
    ],
)
def test_empty_set_operations_are_refused(combine, message):
    with pytest.raises(ps.ProblemError, match=message):
        combine(box_mesh())


def test_poisson_in_a_body_of_triangles():
    u = ps.field("u", x, y, z)
    domain = box_mesh()
    problem = ps.Problem(name="inside", fields=[u], domain=domain, equations=[sp.Eq(ps.laplacian(u), 0)], conditions=[ps.Dirichlet(u, 0)])
    made = ps.manufactured(problem, {u: sp.sin(3 * x + y) * sp.exp(z)})
    # The run ends where it meets the tolerance; the budget only leaves room for slow machines.
    found = ps.solve(made, tolerance=1e-2, seconds=300, progress=False)
    points = domain.sample_interior(500, seed=5)
    true = np.sin(3 * points[:, 0] + points[:, 1]) * np.exp(points[:, 2])
    error = np.linalg.norm(found["u"].at(points) - true) / np.linalg.norm(true)
    assert found.status.success and error < 1e-2 and error < 10 * found.estimated_error
