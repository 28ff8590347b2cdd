"""Oriented points: a surface (in the plane a curve, on the line two points) known by points on it and the outward normals there.

Input: coordinates, points, normals. Output: `PointCloud`, a location of conditions, `on=cloud`, with the distance to the surface.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from pinnsiren.errors import ProblemError
from pinnsiren.language.domains.base import AbstractDomain, Array, sobol
from pinnsiren.language.domains.local_surface import SMOOTH, LocalSurface
from pinnsiren.language.domains.triangle_mesh import TriangleMesh
from pinnsiren.language.entries import array_entry, check_entries_finite

NEIGHBOURS = 12  # nearest points whose tangent planes are asked for the distance
SMALLEST_NORMAL = 1e-12
UNIT = 1e-14
FLAT = 0.1  # of the spacing: how far points of one side may lie above the plane of another
SWEEPS = 20  # of the projection: planes at right angles need one


class PointCloud:
    """Points of a closed surface and the outward normals there.

    Args:
        coordinates: symbols, one to three.
        points: (n_points, n_coordinates), physical units.
        normals: (n_points, n_coordinates), outward, of any length but zero; stored as unit vectors.

    A point that is given several times with the same normal is kept once.

    Raises:
        ProblemError: no normals, zero normals, entries that are not finite, shapes that do not fit, fewer points than an orientation needs.

    >>> x, y = sp.symbols("x y", real=True)
    >>> angle = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    >>> circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    >>> PointCloud((x, y), circle, circle).signed_distance(np.array([[2.0, 0.0]])).round(6).tolist()
    [1.0]
    """

    def __init__(self, coordinates: Sequence[sp.Symbol], points: ArrayLike, normals: ArrayLike | None) -> None:
        self.coordinates = tuple(coordinates)
        if not 1 <= len(self.coordinates) <= 3 or not all(isinstance(symbol, sp.Symbol) for symbol in self.coordinates):
            raise ProblemError(f"PointCloud was given the coordinates {coordinates!r}; expected one to three symbols such as (x, y, z)")
        if normals is None:
            raise ProblemError("PointCloud was given no normals; expected an outward normal for every point: points alone do not say what is inside")
        self.points, self.normals = _real("points", points), _real("normals", normals)
        expected = f"(n, {len(self.coordinates)})"
        if self.points.ndim != 2 or self.points.shape[1] != len(self.coordinates) or len(self.points) < 2:
            raise ProblemError(f"PointCloud was given points of shape {self.points.shape}; expected {expected}, two points or more")
        if self.normals.shape != self.points.shape:
            raise ProblemError(f"PointCloud was given normals of shape {self.normals.shape} for points {self.points.shape}; expected the same")
        lengths = np.linalg.norm(self.normals, axis=1)
        bad = int(np.sum(lengths < SMALLEST_NORMAL))
        if bad:
            raise ProblemError(f"PointCloud was given {bad} normals of length zero, the first at point {int(np.argmin(lengths))}; drop these points")
        # Normals that have length one already keep their digits, so that a stored cloud equals the one it was made from.
        self.normals = np.where(np.abs(lengths - 1)[:, None] < UNIT, self.normals, self.normals / lengths[:, None])
        # A point given again with its normal says nothing new and would leave its neighbours without a distance.
        kept = np.sort(np.unique(np.hstack([self.points, self.normals]), axis=0, return_index=True)[1])
        if len(kept) < len(self.points):
            self.points, self.normals = self.points[kept], self.normals[kept]
        if len(kept) < 2:
            raise ProblemError("PointCloud was given one point several times; expected two different points or more")
        self._refuse_shared_places()

    def _refuse_shared_places(self) -> None:
        """Refuse clouds most of whose points have several normals; at edges and corners of a surface two or three are right."""
        counts = np.unique(self.points, axis=0, return_counts=True)[1]
        shared = int(counts[counts > 1].sum())
        if 2 * shared >= len(self.points):
            raise ProblemError(
                f"PointCloud was given {len(self.points)} points at {len(counts)} places, {shared} of them with other normals at the same place, as "
                "files store a vertex of a mesh once per face; expected one normal per point. Give the faces: PointCloud.from_mesh(TriangleMesh(...))"
            )

    @classmethod
    def of(cls, shape: AbstractDomain, n_points: int, seed: int = 0) -> "PointCloud":
        """Draw points of the boundary of a shape with their exact normals, evenly by length or area."""
        parts = shape.boundary_parts()
        sizes = np.array([shape.boundary_measure(part) for part in parts])
        counts = np.maximum(1, np.rint(n_points * sizes / sizes.sum())).astype(int)
        drawn = [shape.sample_boundary(part, int(count), seed + index) for index, (part, count) in enumerate(zip(parts, counts, strict=True))]
        return cls(shape.coordinates, np.concatenate([points for points, _ in drawn]), np.concatenate([normals for _, normals in drawn]))

    @classmethod
    def from_mesh(cls, mesh: TriangleMesh, n_points: int, seed: int = 0) -> "PointCloud":
        """Draw points of a triangle mesh evenly by area, each with the normal of its face; read files by `TriangleMesh.from_file`.

        Raises:
            ProblemError: something else than a `TriangleMesh`, which is known to be closed and oriented.
        """
        if not isinstance(mesh, TriangleMesh):
            raise ProblemError(
                f"PointCloud.from_mesh was given {type(mesh).__name__}; expected a TriangleMesh, which checks that the surface is closed: "
                "TriangleMesh((x, y, z), vertices, faces), or TriangleMesh.from_file((x, y, z), path)"
            )
        return cls.of(mesh, n_points, seed)

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.points)

    @cached_property
    def _patches(self) -> LocalSurface:
        return LocalSurface(self.points, self.normals, self._tree)

    @cached_property
    def spacing(self) -> float:
        """Median distance of a point from its nearest neighbour."""
        distances = np.asarray(self._tree.query(self.points, 2)[0])
        return float(np.median(distances[:, 1]))

    def signed_distance(self, points: Array) -> Array:
        """Return the distance from the surface, (n,), negative inside.

        Distance from patches of second order through the nearest points, off by about spacing^3 times what the curvature changes by. Where the
        nearest normals differ, the distance from the edge of their planes.
        """
        count = min(NEIGHBOURS, len(self.points))
        places = np.asarray(points, dtype=float)
        nearest = np.asarray(self._tree.query(places, count)[1]).reshape(len(places), count)
        signed, doubtful = self._patches.distance(places)
        agree = np.einsum("nki,ni->nk", self.normals[nearest], self.normals[nearest[:, 0]])
        edge = np.min(agree, axis=1) < SMOOTH
        if np.any(edge):
            signed[edge], met = self._beside_edges(places[edge], nearest[edge], signed[edge])
            doubtful[np.flatnonzero(edge)[met]] = False
        if np.any(doubtful) and len(self.coordinates) > 1:
            inside = self._patches.winding_number(places[doubtful]) > 0.5
            signed[doubtful] = np.where(inside, -1, 1) * np.abs(signed[doubtful])
        return np.asarray(signed)

    def _beside_edges(self, points: Array, nearest: NDArray[np.int64], otherwise: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Return the distance from the wedge of the tangent planes where the nearest normals differ, `otherwise` at saddles; and where it is one.

        A convex edge is the boundary of the intersection of the half spaces behind the planes, a concave one that of the half spaces before them.
        """
        feet, normals = self.points[nearest], self.normals[nearest]
        above = np.einsum("nkli,nki->nkl", feet[:, None, :, :] - feet[:, :, None, :], normals)
        tolerance = FLAT * self.spacing
        result, met = otherwise.copy(), np.zeros(len(points), dtype=bool)
        for side in (1.0, -1.0):
            fits = np.max(side * above, axis=(1, 2)) <= tolerance
            if np.any(fits):
                result[fits] = side * _distance_from_wedge(points[fits], feet[fits], side * normals[fits])
                met |= fits
        return result, met

    def winding_number(self, points: Array) -> Array:
        """Return the share of directions in which the surface is seen from inside, (n,): 1 inside, 0 outside, between beside holes."""
        return self._patches.winding_number(np.asarray(points, dtype=float))

    def contains(self, points: Array, tolerance: float = 1e-12) -> NDArray[np.bool_]:
        """Return for each point whether it lies inside the surface."""
        return np.asarray(self.signed_distance(points) <= tolerance)

    def sample(self, n_points: int, seed: int) -> tuple[Array, Array]:
        """Draw some of the points without repetition, with their normals; all of them when fewer are there."""
        if n_points >= len(self.points):
            return self.points, self.normals
        order = np.argsort(sobol(1, len(self.points), seed)[:, 0])[:n_points]
        return self.points[order], self.normals[order]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PointCloud) or self.coordinates != other.coordinates:
            return False
        return np.array_equal(self.points, other.points) and np.array_equal(self.normals, other.normals)

    def __hash__(self) -> int:
        return hash((self.coordinates, self.points.tobytes()))

    def __repr__(self) -> str:
        return f"PointCloud({', '.join(map(str, self.coordinates))}; {len(self.points)} points)"


def _distance_from_wedge(points: Array, feet: Array, normals: Array) -> Array:
    """Return the signed distance of points (n, d) from the intersection of half spaces (y - feet) . normals <= 0, each (n, k, d).

    Reference: Dykstra 1983, J. Amer. Stat. Assoc. 78, for the projection.
    """
    heights = np.einsum("nkd,nkd->nk", points[:, None, :] - feet, normals)
    position, steps = points.copy(), np.zeros_like(heights)
    for _ in range(SWEEPS):
        for index in range(feet.shape[1]):
            normal = normals[:, index]
            moved = position + steps[:, index, None] * normal
            steps[:, index] = np.maximum(np.sum((moved - feet[:, index]) * normal, axis=1), 0)
            position = moved - steps[:, index, None] * normal
    outside = np.linalg.norm(points - position, axis=1)
    deepest = np.max(heights, axis=1)
    return np.asarray(np.where(deepest < 0, deepest, outside))


def _real(name: str, values: Any) -> Array:
    array = array_entry(f"{name} of PointCloud", values)
    if array.dtype.kind != "f":
        raise ProblemError(f"{name} of PointCloud are complex; expected real numbers")
    check_entries_finite(f"{name} of PointCloud", array)
    return np.asarray(array, dtype=float)
