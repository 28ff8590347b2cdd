"""Bodies bounded by a triangle mesh.

Input: three coordinates, vertices and faces, or a file (STL, OBJ, PLY, OFF). Output: `TriangleMesh`, a shape with exact distance, membership, volume
and normals.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from pinnsiren.errors import ProblemError
from pinnsiren.language.domains.base import Array, sobol
from pinnsiren.language.domains.shape import AbstractShape
from pinnsiren.language.domains.triangles import EDGE_PAIRS, FACE, Faces, check_surface, doubled_areas, nearest_on_triangles
from pinnsiren.language.entries import array_entry, check_entries_finite

FIRST_CANDIDATES = 8
# Faces are searched by the middles of pieces; twice as many pieces as faces of the mean area keep long faces from widening every search.
PIECES_PER_FACE, MOST_PIECES_PER_FACE = 2, 30
POINTS_AT_ONCE = 20_000


class TriangleMesh(AbstractShape):
    """The body inside a closed surface of triangles; its one boundary part is `"surface"`.

    Args:
        coordinates: three symbols.
        vertices: (n_vertices, 3), physical units.
        faces: (n_faces, 3), indices of vertices, counterclockwise as seen from outside.

    Raises:
        ProblemError: a mesh that is open, crosses itself, has faces without area, or is not oriented outwards.

    >>> x, y, z = sp.symbols("x y z", real=True)
    >>> corner = TriangleMesh((x, y, z), [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    >>> round(corner.measure, 6), corner.signed_distance(np.array([[0.1, 0.2, 0.3], [0, 0, -2]])).tolist()
    (0.166667, [-0.1, 2.0])
    """

    def __init__(self, coordinates: Sequence[sp.Symbol], vertices: ArrayLike, faces: ArrayLike) -> None:
        self._coordinates = tuple(coordinates)
        if len(self._coordinates) != 3 or not all(isinstance(symbol, sp.Symbol) for symbol in self._coordinates):
            raise ProblemError(f"TriangleMesh was given the coordinates {coordinates!r}; expected three symbols such as (x, y, z)")
        self.vertices = np.asarray(array_entry("vertices of TriangleMesh", vertices), dtype=float)
        indices = array_entry("faces of TriangleMesh", faces)
        for name, array in (("vertices", self.vertices), ("faces", indices)):
            if array.ndim != 2 or array.shape[1] != 3 or len(array) < 4:
                raise ProblemError(f"TriangleMesh was given {name} of shape {array.shape}; expected (n, 3), four or more")
        check_entries_finite("vertices of TriangleMesh", self.vertices)
        if not np.array_equal(indices, np.rint(indices)) or np.min(indices) < 0 or np.max(indices) >= len(self.vertices):
            raise ProblemError(f"faces of TriangleMesh name vertices that are not there; expected whole numbers from 0 to {len(self.vertices) - 1}")
        self.faces: Faces = np.asarray(indices, dtype=np.int64)
        check_surface(self.vertices, self.faces)

    @classmethod
    def from_file(cls, coordinates: Sequence[sp.Symbol], path: str | Path) -> "TriangleMesh":
        """Read a mesh; vertices that coincide are merged, since STL repeats them in every face.

        Raises:
            ProblemError: the file is missing or holds no triangles or no closed surface, or trimesh is not installed.
        """
        try:
            import trimesh  # type: ignore[import-not-found,import-untyped,unused-ignore] # an optional library
        except ImportError as error:
            raise ProblemError(f"reading the mesh `{path}` needs trimesh, which is not installed: pip install pinnsiren[meshes]") from error
        if not Path(path).is_file():
            raise ProblemError(f"the mesh `{path}` does not exist; give the path of an STL, OBJ, PLY or OFF file")
        try:
            mesh: Any = trimesh.load_mesh(str(path))
            mesh.merge_vertices(merge_tex=True, merge_norm=True)
            vertices, faces = np.asarray(mesh.vertices, dtype=float), np.asarray(mesh.faces)
        # Readers of a dozen formats fail in their own ways; what they say is passed on.
        except Exception as error:
            raise ProblemError(f"the file `{path}` cannot be read as a triangle mesh: {error}") from error
        try:
            return cls(coordinates, vertices, faces)
        except ProblemError as error:
            raise ProblemError(f"the mesh in the file `{path}` bounds no body: {error}") from error

    def placed(self, centre: Sequence[float], size: float) -> "TriangleMesh":
        """Return the body moved and scaled: the middle of its bounding box at `centre`, its longest side `size`."""
        low, high = self.vertices.min(axis=0), self.vertices.max(axis=0)
        vertices = (self.vertices - (low + high) / 2) * (size / np.max(high - low)) + np.asarray(centre, dtype=float)
        return TriangleMesh(self._coordinates, vertices, self.faces)

    @property
    def coordinates(self) -> tuple[sp.Symbol, ...]:
        """The coordinate symbols, in the order of the declaration."""
        return self._coordinates

    @cached_property
    def bounds(self) -> dict[sp.Symbol, tuple[float, float]]:
        """Bounding box."""
        low, high = self.vertices.min(axis=0), self.vertices.max(axis=0)
        return {symbol: (float(a), float(b)) for symbol, a, b in zip(self._coordinates, low, high, strict=True)}

    @cached_property
    def measure(self) -> float:
        """Volume, by the divergence theorem."""
        # Relative to a vertex, lest a body far from the origin loses digits.
        heights = np.sum(self._doubled * (self.vertices[self.faces[:, 0]] - self.vertices[0]), axis=1)
        return float(np.sum(heights) / 6)

    @cached_property
    def _doubled(self) -> Array:
        return doubled_areas(self.vertices, self.faces)

    @cached_property
    def face_normals(self) -> Array:
        """Outward unit normals, (n_faces, 3)."""
        return np.asarray(self._doubled / np.linalg.norm(self._doubled, axis=1, keepdims=True))

    @cached_property
    def _feature_normals(self) -> Array:
        """Normals by face and feature, (n_faces, 7, 3), whose sign tells inside from outside where the feature is nearest.

        Reference: Baerentzen and Aanaes 2005, IEEE Trans. Vis. Comput. Graph. 11, equation 6: faces around a vertex count by their angles.
        """
        corners = self.vertices[self.faces]
        found = np.empty((len(self.faces), 7, 3))
        found[:, FACE] = self.face_normals
        at_vertex = np.zeros_like(self.vertices)
        for index in range(3):
            ahead, back = (corners[:, (index + step) % 3] - corners[:, index] for step in (1, 2))
            cosine = np.sum(ahead * back, axis=1) / np.linalg.norm(ahead, axis=1) / np.linalg.norm(back, axis=1)
            np.add.at(at_vertex, self.faces[:, index], np.arccos(np.clip(cosine, -1, 1))[:, None] * self.face_normals)
        directed = np.concatenate([np.sort(self.faces[:, pair], axis=1) for pair in EDGE_PAIRS])
        _, edge = np.unique(directed, axis=0, return_inverse=True)
        edge = np.asarray(edge).ravel()
        at_edge = np.zeros((int(edge.max()) + 1, 3))
        np.add.at(at_edge, edge, np.tile(self.face_normals, (3, 1)))
        found[:, 1:4] = at_edge[edge].reshape(3, -1, 3).swapaxes(0, 1)
        found[:, 4:7] = at_vertex[self.faces]
        return found

    @cached_property
    def _pieces(self) -> tuple[KDTree, NDArray[np.int64], float]:
        """Middles of pieces of the faces, the face of each, and the largest radius of a piece around its middle."""
        corners, owner = self.vertices[self.faces], np.arange(len(self.faces))
        wanted = np.sqrt(np.sum(np.linalg.norm(self._doubled, axis=1)) / (PIECES_PER_FACE * len(self.faces)))
        while len(corners) < MOST_PIECES_PER_FACE * len(self.faces):
            long = _radii(corners) > wanted
            if not np.any(long):
                break
            corners = np.concatenate([corners[~long], _quarters(corners[long])])
            owner = np.concatenate([owner[~long], np.repeat(owner[long], 4)])
        return KDTree(corners.mean(axis=1)), owner, float(np.max(_radii(corners)))

    def _nearest(self, points: Array) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
        """Return nearest points of the surface, their faces and features."""
        tree, owner, reach = self._pieces
        place, face, feature = np.empty_like(points), np.zeros(len(points), dtype=np.int64), np.zeros(len(points), dtype=np.int64)
        open_, count = np.arange(len(points)), min(FIRST_CANDIDATES, len(owner))
        while len(open_):
            middle, candidates = (np.asarray(part) for part in tree.query(points[open_], count))
            found = owner[candidates]
            repeated = np.repeat(points[open_], count, axis=0)
            feet, codes = nearest_on_triangles(repeated, self.vertices[self.faces[found.ravel()]])
            distance = np.linalg.norm(feet - repeated, axis=1).reshape(found.shape)
            row, best = np.arange(len(open_)), np.argmin(distance, axis=1)
            place[open_] = feet.reshape(*found.shape, 3)[row, best]
            face[open_], feature[open_] = found[row, best], codes.reshape(found.shape)[row, best]
            # A piece not looked at is no nearer than its middle less its radius.
            unsure = middle[:, -1] - reach < distance[row, best]
            open_, count = (open_[unsure], min(2 * count, len(owner))) if count < len(owner) else (open_[:0], count)
        return place, face, feature

    def signed_distance(self, points: Array) -> Array:
        """Return the exact distance from the surface, negative inside; the shape of `points` without its last axis."""
        given = np.asarray(points, dtype=float)
        flat = given.reshape(-1, 3)
        known = np.flatnonzero(np.all(np.isfinite(flat), axis=1))
        found = np.full(len(flat), np.nan)
        for begin in range(0, len(known), POINTS_AT_ONCE):
            chosen = known[begin : begin + POINTS_AT_ONCE]
            found[chosen] = self._signed(flat[chosen])
        return found.reshape(given.shape[:-1])

    def _signed(self, points: Array) -> Array:
        place, face, feature = self._nearest(points)
        offset = points - place
        outside = np.sum(offset * self._feature_normals[face, feature], axis=1) >= 0
        distance = np.linalg.norm(offset, axis=1)
        return np.asarray(np.where(outside, distance, -distance))

    def boundary_parts(self) -> tuple[str, ...]:
        """The surface."""
        return ("surface",)

    def boundary_measure(self, part: str) -> float:
        """Area of the surface."""
        self.check_part(part)
        return float(np.sum(np.linalg.norm(self._doubled, axis=1)) / 2)

    def sample_boundary(self, part: str, n_points: int, seed: int) -> tuple[Array, Array]:
        """Draw points evenly by area, with the normals of their faces."""
        self.check_part(part)
        choice, first, second = sobol(3, n_points, seed).T
        ends = np.cumsum(np.linalg.norm(self._doubled, axis=1))
        face = np.minimum(np.searchsorted(ends, choice * ends[-1], side="right"), len(ends) - 1)
        root = np.sqrt(first)
        weights = np.stack([1 - root, root * (1 - second), root * second], axis=1)
        return np.einsum("nk,nki->ni", weights, self.vertices[self.faces[face]]), self.face_normals[face]

    def boundary_distance(self, part: str, points: Array) -> Array:
        """Return the distance from the surface."""
        self.check_part(part)
        return np.abs(self.signed_distance(points))

    def outward_normals(self, part: str, points: Array) -> Array:
        """Return the normals of the nearest faces."""
        self.check_part(part)
        return np.asarray(self.face_normals[self._nearest(np.asarray(points, dtype=float))[1]])

    def as_record(self) -> dict[str, Any]:
        """Return vertices and faces, and the names of the coordinates."""
        names = [str(symbol) for symbol in self._coordinates]
        return {"kind": "TriangleMesh", "coordinates": names, "vertices": self.vertices.tolist(), "faces": self.faces.tolist()}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TriangleMesh) or self._coordinates != other._coordinates:
            return False
        return np.array_equal(self.vertices, other.vertices) and np.array_equal(self.faces, other.faces)

    def __hash__(self) -> int:
        return hash((self._coordinates, self.vertices.tobytes(), self.faces.tobytes()))

    def __repr__(self) -> str:
        names = ", ".join(map(str, self._coordinates))
        return f"TriangleMesh({names}; {len(self.vertices)} vertices, {len(self.faces)} faces)"


def _radii(corners: Array) -> Array:
    middle = corners.mean(axis=1, keepdims=True)
    return np.asarray(np.max(np.linalg.norm(corners - middle, axis=2), axis=1))


def _quarters(corners: Array) -> Array:
    """Split triangles (n, 3, 3) at the middles of their edges, in four each, (4 n, 3, 3), those of one triangle together."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    pieces = [np.stack(piece, axis=1) for piece in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return np.asarray(np.stack(pieces, axis=1).reshape(-1, 3, 3))
