"""Surfaces and lines where a field takes a value, and files for other programs."""

import importlib

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.validation import extract_lines, extract_surface, save_vtk, surfaces
from pinnsiren.validation.figures import draw_figures

pytest.importorskip("skimage")
x, y, z = ps.coordinates("x y z")
RADIUS, AT = 0.5, (0.1, -0.05, 0.0)
# What few cells leave of the distance of a ball; the triangles themselves add the square of the step over the radius.
FIT, STEP = 2e-3, 2 / 31


def distance(shape, domain):
    u, cloud = ps.field("u", *domain.coordinates), ps.PointCloud.of(shape, 3000)
    conditions = [ps.Dirichlet(u, 0, on=cloud), ps.Neumann(u, 1, on=cloud)]
    return ps.Problem(name="ball", fields=[u], domain=domain, equations=[sp.Eq(ps.grad(u).dot(ps.grad(u)), 1)], conditions=conditions)


@pytest.fixture(scope="module")
def ball():
    problem = distance(ps.Ball(dict(zip((x, y, z), AT, strict=True)), RADIUS), ps.Box({symbol: (-1, 1) for symbol in (x, y, z)}))
    return ps.solve(problem, method=ps.CloudDistance(features=100, cells=64), tolerance=0.5, seconds=60, progress=False)


@pytest.fixture(scope="module")
def disk():
    problem = distance(ps.Disk({x: 0.1, y: -0.05}, RADIUS), ps.Box({x: (-1, 1), y: (-1, 1)}))
    return ps.solve(problem, method=ps.CloudDistance(cells=32), seconds=20, progress=False)


def test_the_surface_of_a_ball_lies_on_it_and_faces_outwards(ball):
    surface = extract_surface(ball, points_per_axis=32)
    assert np.max(np.abs(np.linalg.norm(surface.vertices - AT, axis=1) - RADIUS)) < FIT
    body = surface.as_domain()  # closed, oriented outwards, without crossings
    assert body.measure == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=3 * STEP**2 / RADIUS + 3 * FIT / RADIUS)


def test_another_level_is_a_parallel_surface(ball):
    surface = extract_surface(ball, level=0.2, points_per_axis=32)
    assert np.mean(np.abs(np.linalg.norm(surface.vertices - AT, axis=1) - RADIUS - 0.2)) < 3 * FIT


@pytest.mark.parametrize("ending", ["stl", "obj", "ply"])
def test_a_saved_surface_is_read_back(ball, tmp_path, ending):
    pytest.importorskip("trimesh")
    surface = extract_surface(ball, points_per_axis=24)
    again = ps.TriangleMesh.from_file((x, y, z), surface.save(tmp_path / f"ball.{ending}"))
    assert again.measure == pytest.approx(surface.as_domain().measure, rel=1e-5)


def test_lines_in_the_plane_lie_on_the_circle_and_close(disk):
    (line,) = extract_lines(disk, points_per_axis=60)
    assert np.max(np.abs(np.linalg.norm(line - AT[:2], axis=1) - RADIUS)) < FIT
    assert np.linalg.norm(line[0] - line[-1]) < 1e-12


def test_fields_on_a_grid_and_at_points_are_read_back(ball, disk, tmp_path):
    meshio = pytest.importorskip("meshio")
    for solution, cell, dimension in ((ball, "hexahedron", 3), (disk, "quad", 2)):
        mesh = meshio.read(save_vtk(solution, tmp_path / "field.vtu", points_per_axis=6))
        places = mesh.points[:, :dimension]
        assert np.allclose(mesh.point_data["u"], solution["u"].at(places), atol=1e-12) and np.all(mesh.points[:, dimension:] == 0)
        # Cells that are numbered around fill the domain.
        corners = mesh.points[mesh.cells_dict[cell]][:, :, :dimension]
        assert np.sum(np.prod(np.ptp(corners, axis=1), axis=1)) == pytest.approx(2.0**dimension)
        assert np.allclose(np.linalg.norm(np.diff(corners[:, :4], axis=1), axis=2), 0.4)
    places = np.array([[0.1, 0.2, 0.3], [0.0, 0.0, 0.9]])
    mesh = meshio.read(save_vtk(ball, tmp_path / "points.vtk", points=places))
    assert np.allclose(mesh.points, places) and np.allclose(mesh.point_data["u"], ball["u"].at(places))


def test_plots_of_a_distance_in_space_show_its_zero_set(ball, disk):
    assert "zero_set" in draw_figures(ball) and "zero_set" not in draw_figures(disk)


def test_what_cannot_be_extracted_or_saved_is_named(ball, disk, tmp_path):
    with pytest.raises(ps.ProblemError, match="takes values from .* but not 9; choose another level"):
        extract_surface(ball, level=9, points_per_axis=12)
    with pytest.raises(ps.ProblemError, match="but not 9"):
        extract_lines(disk, level=9, points_per_axis=12)
    with pytest.raises(ps.ProblemError, match="field `u` is a function of x, y; expected a real field of 3 coordinates"):
        extract_surface(disk)
    with pytest.raises(ps.ProblemError, match="field `w` is unknown; the problem has u"):
        extract_surface(ball, "w")
    with pytest.raises(ps.ProblemError, match=r"ends in \.stl, \.obj, \.ply"):
        extract_surface(ball, points_per_axis=12).save(tmp_path / "ball.step")
    with pytest.raises(ps.ProblemError, match=r"ends in \.vtu or \.vtk"):
        save_vtk(ball, tmp_path / "ball.csv")
    with pytest.raises(ps.ProblemError, match=r"expected \(n, 3\)"):
        save_vtk(ball, tmp_path / "ball.vtu", points=[[0.0, 1.0]])


@pytest.mark.parametrize(("library", "named"), [("skimage.measure", "scikit-image"), ("trimesh", "trimesh"), ("meshio", "meshio")])
def test_without_a_library_the_extra_is_named(ball, tmp_path, monkeypatch, library, named):
    surface = extract_surface(ball, points_per_axis=12)

    def without(name):
        if name == library:
            raise ImportError(name)
        return importlib.import_module(name)

    monkeypatch.setattr(surfaces, "import_module", without)
    calls = {
        "skimage.measure": lambda: extract_surface(ball),
        "trimesh": lambda: surface.save(tmp_path / "a.stl"),
        "meshio": lambda: save_vtk(ball, tmp_path / "a.vtu"),
    }
    with pytest.raises(ps.ProblemError, match=rf"needs {named}, which is not installed: pip install pinnsiren\[meshes\]"):
        calls[library]()
