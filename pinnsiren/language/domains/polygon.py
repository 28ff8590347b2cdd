"""Polygons in the plane."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ProblemError
from pinnsiren.language.domains.base import Array, sobol
from pinnsiren.language.domains.curves import Segment, polygon_curves, signed_area
from pinnsiren.language.domains.shape import AbstractShape
from pinnsiren.language.entries import number_entry

SMALLEST_AREA = 1e-12  # of the square of the longest side: below it the vertices lie on a line up to rounding


class Polygon(AbstractShape):
    """Simple polygon; the sides are its boundary parts: `"side1"` leaves the first vertex, and so on in the order of the vertices.

    Args:
        vertices: the positions of the vertices per coordinate, `{x: (0, 1, 0), y: (0, 0, 1)}`, in either sense of rotation, the first one not
            repeated; or the two coordinates, and the vertices as pairs in `points`.
        points: pairs such as `[(0, 0), (1, 0), (0, 1)]`.

    Raises:
        ProblemError: fewer than three vertices, a repeated one, sides that cross or touch, no area, other than two coordinates.

    >>> x, y = sp.symbols("x y", real=True)
    >>> Polygon({x: (0, 2, 0), y: (0, 0, 1)}).measure
    1.0
    """

    def __init__(self, vertices: Mapping[sp.Symbol, Sequence[Any]] | Sequence[sp.Symbol], points: Sequence[Sequence[Any]] | None = None) -> None:
        self._coordinates, columns = _columns(vertices, points)
        self.vertices = _vertex_array(self._coordinates, columns)
        self._check_sides()

    def _check_sides(self) -> None:
        sides = np.roll(self.vertices, -1, axis=0) - self.vertices
        lengths = np.linalg.norm(sides, axis=1)
        if np.any(lengths == 0):
            raise ProblemError(f"Polygon was given the vertex {_shown(self.vertices[np.argmin(lengths)])} twice in a row; give each vertex once")
        offset, along = self.vertices - self.vertices[0], sides[np.argmax(lengths)]
        if np.max(np.abs(offset[:, 0] * along[1] - offset[:, 1] * along[0])) <= SMALLEST_AREA * float(np.max(lengths)) ** 2:
            raise ProblemError(f"Polygon was given vertices that enclose no area: {', '.join(map(_shown, self.vertices))}")
        meeting = _first_meeting(self.vertices)
        if meeting is not None:
            first, second = (f"{_shown(self.vertices[i])} to {_shown(self.vertices[(i + 1) % len(self.vertices)])}" for i in meeting)
            raise ProblemError(
                f"Polygon has sides that cross or touch: side{meeting[0] + 1} ({first}) and side{meeting[1] + 1} ({second}); "
                "order the vertices around the shape, or build it by set operations"
            )

    @property
    def coordinates(self) -> tuple[sp.Symbol, ...]:
        """The coordinate symbols, in the order of the declaration."""
        return self._coordinates

    @property
    def bounds(self) -> dict[sp.Symbol, tuple[float, float]]:
        """Bounding box."""
        low, high = self.vertices.min(axis=0), self.vertices.max(axis=0)
        return {symbol: (float(a), float(b)) for symbol, a, b in zip(self._coordinates, low, high, strict=True)}

    @property
    def measure(self) -> float:
        """Area."""
        return abs(signed_area(self.vertices))

    @cached_property
    def _sides(self) -> tuple[Segment, ...]:
        return polygon_curves(self.vertices)

    def signed_distance(self, points: Array) -> Array:
        """Return the distance from the nearest side, negative inside."""
        positions = np.asarray(points, dtype=float)
        flat = positions.reshape(-1, 2)
        distance = np.min([side.distance(flat) for side in self._sides], axis=0)
        return np.asarray(np.where(self._encloses(flat), -distance, distance).reshape(positions.shape[:-1]))

    def _encloses(self, points: Array) -> NDArray[np.bool_]:
        """Whether a ray along the first coordinate leaves an odd number of times."""
        inside = np.zeros(len(points), dtype=bool)
        x, y = points.T
        for (x0, y0), (x1, y1) in zip(self.vertices, np.roll(self.vertices, -1, axis=0), strict=True):
            # A vertex belongs to one of its two sides only.
            spans = (y0 > y) != (y1 > y)
            if y0 != y1:
                inside ^= spans & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        return inside

    def boundary_parts(self) -> tuple[str, ...]:
        """Side names in the order of the vertices."""
        return tuple(f"side{index + 1}" for index in range(len(self.vertices)))

    def _side(self, part: str) -> Segment:
        self.check_part(part)
        return self._sides[int(part.removeprefix("side")) - 1]

    def boundary_measure(self, part: str) -> float:
        """Length of a side."""
        return self._side(part).length

    def sample_boundary(self, part: str, n_points: int, seed: int) -> tuple[Array, Array]:
        """Draw low-discrepancy points of a side with their outward normals."""
        s = sobol(1, n_points, seed)[:, 0]
        return self._side(part).points(s), self._side(part).normals(s)

    def boundary_distance(self, part: str, points: Array) -> Array:
        """Return the distance from a side."""
        return self._side(part).distance(np.asarray(points, dtype=float))

    def outward_normals(self, part: str, points: Array) -> Array:
        """Return the constant normal of a side."""
        return self._side(part).normals(np.zeros(len(points)))

    def boundary_curves(self, part: str) -> tuple[Segment, ...]:
        """Return a side."""
        return (self._side(part),)

    def as_record(self) -> dict[str, Any]:
        """Return the vertices by coordinate name."""
        columns = zip(self._coordinates, self.vertices.T.tolist(), strict=True)
        return {"kind": "Polygon", "vertices": [[str(symbol), *column] for symbol, column in columns]}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Polygon) and self._coordinates == other._coordinates and np.array_equal(self.vertices, other.vertices)

    def __hash__(self) -> int:
        return hash((self._coordinates, self.vertices.tobytes()))

    def __repr__(self) -> str:
        columns = (f"{symbol}: ({', '.join(f'{v:g}' for v in column)})" for symbol, column in zip(self._coordinates, self.vertices.T, strict=True))
        return f"Polygon({{{', '.join(columns)}}})"


def _columns(vertices: Any, points: Any) -> tuple[tuple[sp.Symbol, ...], list[Any]]:
    """Return the coordinates and the positions along each."""
    expected = "expected positions per coordinate such as Polygon({x: (0, 1, 0), y: (0, 0, 1)}), or Polygon((x, y), [(0, 0), (1, 0), (0, 1)])"
    if isinstance(vertices, Mapping) and points is None:
        coordinates, columns = tuple(vertices), list(vertices.values())
    elif isinstance(vertices, Sequence) and points is not None:
        coordinates, rows = tuple(vertices), list(points)
        if not all(isinstance(row, (Sequence, np.ndarray)) and len(row) == len(coordinates) for row in rows):
            raise ProblemError(f"Polygon was given the points {points!r}; {expected}")
        columns = [[row[index] for row in rows] for index in range(len(coordinates))]
    else:
        raise ProblemError(f"Polygon was given `{vertices}`; {expected}")
    if len(coordinates) != 2 or len(set(coordinates)) != 2 or not all(isinstance(symbol, sp.Symbol) for symbol in coordinates):
        raise ProblemError(f"Polygon was given the coordinates {coordinates}; expected two symbols made by `coordinates`, the axes of its plane")
    if not all(isinstance(column, (Sequence, np.ndarray)) and not isinstance(column, str) for column in columns):
        raise ProblemError(f"Polygon was given `{vertices}`; {expected}")
    return coordinates, columns


def _vertex_array(coordinates: tuple[sp.Symbol, ...], columns: list[Any]) -> Array:
    counts = [len(column) for column in columns]
    if counts[0] != counts[1] or counts[0] < 3:
        given = f"{counts[0]} positions along `{coordinates[0]}` and {counts[1]} along `{coordinates[1]}`"
        raise ProblemError(f"Polygon was given {given}; expected the same number, three or more")
    vertices = np.array([
        [number_entry(f"a vertex of Polygon along `{symbol}`", value) for value in column]
        for symbol, column in zip(coordinates, columns, strict=True)
    ]).T
    if not np.all(np.isfinite(vertices)):
        raise ProblemError(f"Polygon was given the vertex {_shown(vertices[~np.all(np.isfinite(vertices), axis=1)][0])}; expected finite numbers")
    return vertices


def _first_meeting(vertices: Array) -> tuple[int, int] | None:
    """Return the first two sides that share a point other than the vertex between neighbours, or None."""
    starts, ends = vertices, np.roll(vertices, -1, axis=0)
    n = len(vertices)

    def turn(a: Array, b: Array, c: Array) -> NDArray[np.int64]:
        """Sign of the turn from a over b to c; zero within rounding."""
        u, v = b - a, c - a
        area = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
        scale = np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1)
        return np.asarray(np.where(np.abs(area) <= 1e-14 * scale, 0, np.sign(area)), dtype=np.int64)

    for i in range(n - 1):
        later = np.arange(i + 1, n)
        a, b, c, d = starts[i], ends[i], starts[later], ends[later]
        c_side, d_side, a_side, b_side = turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)
        overlap = np.all((np.minimum(c, d) <= np.maximum(a, b)) & (np.minimum(a, b) <= np.maximum(c, d)), axis=1)
        meets = overlap & (c_side * d_side <= 0) & (a_side * b_side <= 0)
        # Neighbours share a vertex; they meet elsewhere only when they run back on each other.
        following = later == i + 1
        closing = (later == n - 1) & (i == 0)
        back = np.where(following, (c_side == 0) & (d_side == 0) & (np.sum((b - a) * (d - c), axis=1) < 0), True)
        back = np.where(closing, (c_side == 0) & (d_side == 0) & (np.sum((b - a) * (d - c), axis=1) < 0), back)
        meets &= back
        if np.any(meets):
            return i, int(later[np.argmax(meets)])
    return None


def _shown(vertex: Array) -> str:
    return f"({', '.join(f'{value:g}' for value in vertex)})"
