"""Surfaces and lines where a field takes a value, and files of fields for other programs.

Input: a solution. Output: `Surface` (triangles, STL, OBJ or PLY), lines in the plane, VTK files of fields on a grid or at points. Triangles and lines
need scikit-image, files trimesh and meshio, all of the extra `meshes`.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from pinnsiren.errors import ProblemError
from pinnsiren.language import SpaceTime, TriangleMesh, declaration_of
from pinnsiren.solution import Solution

Array = NDArray[np.float64]

POINTS_PER_AXIS = 96
COARSE = 3  # a coarse grid of as many times wider steps says near which nodes the value is taken
PROJECTIONS = 3  # Newton steps that bring vertices from the chords of the grid to the surface
FORMATS = (".stl", ".obj", ".ply")
CELLS = {1: "line", 2: "quad", 3: "hexahedron"}


@dataclass(frozen=True)
class Surface:
    """Triangles on which a field takes a value, counterclockwise as seen from where it is larger.

    Attributes:
        coordinates: three symbols.
        vertices: (n_vertices, 3), physical units.
        faces: (n_faces, 3).
        level: the value.
    """

    coordinates: tuple[sp.Symbol, ...]
    vertices: Array
    faces: NDArray[np.int64]
    level: float

    def as_domain(self) -> TriangleMesh:
        """Return the body that the surface bounds.

        Raises:
            ProblemError: it leaves the domain and so is open, or crosses itself.
        """
        return TriangleMesh(self.coordinates, self.vertices, self.faces)

    def save(self, path: str | Path) -> Path:
        """Write an STL, OBJ or PLY file, as the ending of the path says.

        Raises:
            ProblemError: another ending, or trimesh is not installed.
        """
        target = Path(path)
        if target.suffix.lower() not in FORMATS:
            raise ProblemError(f"the surface was to be saved as `{target}`; expected a path that ends in {', '.join(FORMATS)}")
        trimesh = _optional("trimesh", "saving a surface")
        trimesh.Trimesh(self.vertices, self.faces, process=False).export(str(target))
        return target


def extract_surface(solution: Solution, field: str | None = None, *, level: float = 0.0, points_per_axis: int = POINTS_PER_AXIS) -> Surface:
    """Return the triangles on which a real field of three coordinates takes a value.

    Marching cubes on a grid, then Newton steps along the gradient: the vertices lie on the field's own surface, the chords of the triangles off it by
    the square of the grid step. What is smaller than the coarse grid, three steps, may be missed.

    Args:
        solution: of a problem in space.
        field: its name; None where there is one only.
        level: the value, 0 for signed distances.
        points_per_axis: along the longest side of the domain.

    Raises:
        ProblemError: no real field of three coordinates, a value that the field does not take, or scikit-image is not installed.

    Reference: Lewiner et al. 2003, J. Graphics Tools 8, for the cubes.
    """
    name = _field_name(solution, field, 3)
    measure = _optional("skimage.measure", "extracting a surface")
    axes = _grid_axes(solution, points_per_axis)
    values = _near_level(solution, name, axes, level)
    if not np.nanmin(values) < level < np.nanmax(values):
        raise ProblemError(_not_taken(name, level, values))
    steps = tuple(axis[1] - axis[0] for axis in axes)
    known = np.isfinite(values)
    vertices, faces, _, _ = measure.marching_cubes(
        values, level, spacing=steps, gradient_direction="descent", allow_degenerate=False, mask=None if np.all(known) else known
    )
    vertices = _projected(solution, name, vertices + [axis[0] for axis in axes], level, max(steps))
    return Surface(tuple(solution.problem.coordinates), vertices, np.asarray(faces, dtype=np.int64), level)


def extract_lines(solution: Solution, field: str | None = None, *, level: float = 0.0, points_per_axis: int = 4 * POINTS_PER_AXIS) -> list[Array]:
    """Return the lines, each (n_points, 2), on which a real field in the plane takes a value; closed ones end where they begin.

    Raises:
        ProblemError: no real field of two coordinates, a value that the field does not take, or scikit-image is not installed.
    """
    name = _field_name(solution, field, 2)
    measure = _optional("skimage.measure", "extracting lines")
    axes = _grid_axes(solution, points_per_axis)
    values = _on_grid(solution, name, axes)
    steps = np.array([axis[1] - axis[0] for axis in axes])
    lines = measure.find_contours(values, level)
    if not lines:
        raise ProblemError(_not_taken(name, level, values))
    begin = np.array([axis[0] for axis in axes])
    return [_projected(solution, name, begin + steps * line, level, float(steps.max())) for line in lines]


def save_vtk(solution: Solution, path: str | Path, *, points: ArrayLike | None = None, points_per_axis: int = 48) -> Path:
    """Write all fields, on a grid over the domain or at given points, as a VTK file (`.vtu`, `.vtk`) that ParaView and pyvista read.

    Complex fields become two, `u_real` and `u_imag`; shots are numbered, `u_0`; values outside the domain are NaN. Fewer than three coordinates are
    filled up by zeros.

    Args:
        solution: what to write.
        path: ends in `.vtu` or `.vtk`.
        points: (n_points, n_coordinates); None takes a grid.
        points_per_axis: of the grid, along the longest side.

    Raises:
        ProblemError: another ending, points of another shape, more than three coordinates, or meshio is not installed.
    """
    target, dimension = Path(path), len(solution.problem.coordinates)
    if target.suffix.lower() not in (".vtu", ".vtk"):
        raise ProblemError(f"the fields were to be saved as `{target}`; expected a path that ends in .vtu or .vtk")
    if dimension > 3:
        raise ProblemError(f"the fields have {dimension} coordinates; VTK files hold three at most")
    meshio = _optional("meshio", "writing VTK files")
    if points is None:
        axes = _grid_axes(solution, points_per_axis)
        places, cells = _tensor(axes), [(CELLS[dimension], _grid_cells(tuple(map(len, axes))))]
    else:
        places = np.asarray(points, dtype=float)
        if places.ndim != 2 or places.shape[1] != dimension:
            raise ProblemError(f"save_vtk was given points of shape {places.shape}; expected (n, {dimension})")
        cells = [("vertex", np.arange(len(places))[:, None])]
    padded = np.concatenate([places, np.zeros((len(places), 3 - dimension))], axis=1)
    meshio.write(str(target), meshio.Mesh(padded, cells, point_data=_arrays(solution, places)))
    return target


def _optional(name: str, purpose: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        library = {"skimage.measure": "scikit-image"}.get(name, name)
        raise ProblemError(f"{purpose} needs {library}, which is not installed: pip install pinnsiren[meshes]") from error


def _field_name(solution: Solution, field: str | None, dimension: int) -> str:
    declared = {declaration_of(candidate).name: declaration_of(candidate) for candidate in solution.problem.fields}
    if field is None and len(declared) > 1:
        raise ProblemError(f"the problem has the fields {', '.join(declared)}; name one, field=\"{next(iter(declared))}\"")
    name = next(iter(declared)) if field is None else field
    if name not in declared:
        raise ProblemError(f"the field `{name}` is unknown; the problem has {', '.join(declared)}")
    in_time = isinstance(solution.problem.domain, SpaceTime)
    if declared[name].is_complex or declared[name].shots or in_time or len(solution.problem.coordinates) != dimension:
        kind = "complex" if declared[name].is_complex else f"a function of {', '.join(map(str, solution.problem.coordinates))}"
        raise ProblemError(f"the field `{name}` is {kind}; expected a real field of {dimension} coordinates in space, without shots")
    return name


def _not_taken(name: str, level: float, values: Array) -> str:
    low, high = np.nanmin(values), np.nanmax(values)
    return f"the field `{name}` takes values from {low:.3g} to {high:.3g} on the grid, but not {level:g}; choose another level"


def _grid_axes(solution: Solution, points_per_axis: int) -> list[Array]:
    """Return positions along the axes, evenly spaced by about the same step."""
    domain = solution.problem.domain
    step = domain.size / max(points_per_axis - 1, 1)
    sides = [domain.bounds[symbol] for symbol in domain.coordinates]
    return [np.linspace(low, high, max(4, round((high - low) / step) + 1)) for low, high in sides]


def _tensor(axes: list[Array]) -> Array:
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


def _on_grid(solution: Solution, name: str, axes: list[Array]) -> Array:
    """Return values on a grid, NaN outside the domain."""
    points = _tensor(axes)
    inside = solution.problem.domain.contains(points)
    values = np.full(len(points), np.nan)
    values[inside] = np.real(solution[name].at(points[inside]))
    return values.reshape([len(axis) for axis in axes])


def _near_level(solution: Solution, name: str, axes: list[Array], level: float) -> Array:
    """Return values on a grid: exact near the level, interpolated from a coarser grid where they are far from it."""
    wide = [np.linspace(axis[0], axis[-1], max(4, len(axis) // COARSE)) for axis in axes]
    coarse = _on_grid(solution, name, wide)
    # The largest change over a cell and its neighbours; where one is outside the domain, everything is evaluated.
    change = np.max([np.abs(np.gradient(coarse, axis=axis)) for axis in range(3)], axis=0)
    reach = ndimage.maximum_filter(np.nan_to_num(change, nan=np.inf), size=3)
    where = np.meshgrid(*[np.linspace(0, len(axis) - 1, len(fine)) for axis, fine in zip(wide, axes, strict=True)], indexing="ij")
    nearest = tuple(np.rint(place).astype(int) for place in where)
    values = ndimage.map_coordinates(coarse, where, order=1)
    # Three axes, each with half a cell to the nearest node and half a cell in doubt.
    near = ~(np.abs(coarse[nearest] - level) > 3 * reach[nearest])
    points = _tensor(axes)[near.ravel()]
    inside = solution.problem.domain.contains(points)
    found = np.full(len(points), np.nan)
    found[inside] = np.real(solution[name].at(points[inside]))
    values[near] = found
    return np.asarray(values)


def _projected(solution: Solution, name: str, points: Array, level: float, step: float) -> Array:
    """Move points along the gradient to where the field takes the value, not farther than a step of the grid and not out of the domain."""
    found = np.array(points, dtype=float)
    derivatives = [solution[name].derivative(symbol) for symbol in solution.problem.coordinates]
    for _ in range(PROJECTIONS):
        inside = solution.problem.domain.contains(found)
        here = found[inside]
        gradient = np.stack([np.real(derivative.at(here)) for derivative in derivatives], axis=1)
        square = np.maximum(np.sum(gradient**2, axis=1), np.finfo(float).tiny)
        move = ((level - np.real(solution[name].at(here))) / square)[:, None] * gradient
        length = np.linalg.norm(move, axis=1, keepdims=True)
        moved = here + move * np.minimum(1, step / 2 / np.maximum(length, np.finfo(float).tiny))
        kept = solution.problem.domain.contains(moved) & (np.linalg.norm(moved - points[inside], axis=1) < step)
        found[inside] = np.where(kept[:, None], moved, here)
    return found


def _grid_cells(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the corners of the cells of a grid, first axis slowest, in VTK's order: around the bottom, then around the top."""
    index = np.arange(int(np.prod(shape))).reshape(shape)
    around: list[tuple[int, ...]] = [(0, 0), (1, 0), (1, 1), (0, 1)]
    by_dimension: dict[int, list[tuple[int, ...]]] = {1: [(0,), (1,)], 2: around, 3: [(*corner, top) for top in (0, 1) for corner in around]}
    corners = by_dimension[len(shape)]
    parts = [index[tuple(slice(shift, n - 1 + shift) for shift, n in zip(corner, shape, strict=True))].ravel() for corner in corners]
    return np.stack(parts, axis=1)


def _arrays(solution: Solution, places: Array) -> dict[str, Any]:
    """Return the values of all fields by the name in the file."""
    inside, arrays = solution.problem.domain.contains(places, 1e-9), {}
    for candidate in solution.problem.fields:
        name = declaration_of(candidate).name
        values = np.atleast_2d(solution[name].at(places[inside]))
        for shot, row in enumerate(values):
            label = name if len(values) == 1 and not declaration_of(candidate).shots else f"{name}_{shot}"
            parts = {f"{label}_real": row.real, f"{label}_imag": row.imag} if declaration_of(candidate).is_complex else {label: row.real}
            for key, part in parts.items():
                arrays[key] = np.full(len(places), np.nan)
                arrays[key][inside] = part
    return arrays
