"""Signed distances of simple shapes: solutions of `|grad d| = 1` with d = 0 on the shape, negative inside, in any dimension.

Callable as `d(x, y, ...)` with broadcasting. Shapes without an inside (a segment) have distances that are not negative; a thickness gives them one.

Reference: Osher & Fedkiw (2003), Level Set Methods and Dynamic Implicit Surfaces, chapter 2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

RealArray = NDArray[Any]


class AbstractDistance(ABC):
    """A signed distance.

    Attributes:
        dimension: number of coordinates.
    """

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Number of coordinates."""

    @abstractmethod
    def at_points(self, points: RealArray) -> RealArray:
        """Distances at points (..., dimension)."""

    def __call__(self, *coordinates: ArrayLike) -> RealArray:
        """Distances at points, one array per coordinate, broadcast.

        Raises:
            ReferenceSolverError: another number of coordinates.
        """
        if len(coordinates) != self.dimension:
            raise ReferenceSolverError(f"{self} was asked at {len(coordinates)} coordinates; expected {self.dimension}")
        return self.at_points(np.stack(np.broadcast_arrays(*[np.asarray(c, dtype=float) for c in coordinates]), axis=-1))


@dataclass(frozen=True)
class BallDistance(AbstractDistance):
    """|x - centre| - radius."""

    centre: tuple[float, ...]
    radius: float

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.centre)

    def at_points(self, points: RealArray) -> RealArray:
        """Distances at points (..., dimension)."""
        return np.asarray(np.linalg.norm(points - np.array(self.centre), axis=-1) - self.radius)


@dataclass(frozen=True)
class BoxDistance(AbstractDistance):
    """Distance from the surface of low <= x <= high."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.low)

    def at_points(self, points: RealArray) -> RealArray:
        """Distances at points (..., dimension)."""
        low, high = np.array(self.low), np.array(self.high)
        beyond = np.maximum(low - points, points - high)
        outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=-1)
        return np.asarray(outside + np.minimum(np.max(beyond, axis=-1), 0.0))


@dataclass(frozen=True)
class HalfSpaceDistance(AbstractDistance):
    """normal . (x - point), the half-space that the unit normal points away from being the inside."""

    point: tuple[float, ...]
    normal: tuple[float, ...]

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.point)

    def at_points(self, points: RealArray) -> RealArray:
        """Distances at points (..., dimension)."""
        return np.asarray((points - np.array(self.point)) @ np.array(self.normal))


@dataclass(frozen=True)
class SegmentDistance(AbstractDistance):
    """Distance from the points between two ends, less a thickness: a capsule where that is positive."""

    start: tuple[float, ...]
    end: tuple[float, ...]
    thickness: float = 0.0

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.start)

    def at_points(self, points: RealArray) -> RealArray:
        """Distances at points (..., dimension)."""
        offset, along = points - np.array(self.start), np.array(self.end) - np.array(self.start)
        share = np.clip(offset @ along / (along @ along), 0.0, 1.0)
        return np.asarray(np.linalg.norm(offset - share[..., None] * along, axis=-1) - self.thickness)


@dataclass(frozen=True)
class AnnulusDistance(AbstractDistance):
    """Distance from the surface of inner <= |x - centre| <= outer: a ring in 2-D, a shell in 3-D."""

    centre: tuple[float, ...]
    inner: float
    outer: float

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.centre)

    def at_points(self, points: RealArray) -> RealArray:
        """Distances at points (..., dimension)."""
        radius = np.linalg.norm(points - np.array(self.centre), axis=-1)
        return np.asarray(np.maximum(self.inner - radius, radius - self.outer))


@dataclass(frozen=True)
class PolygonDistance(AbstractDistance):
    """Distance from the edges of a simple polygon; corners in either sense of rotation."""

    corners: tuple[tuple[float, float], ...]

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return 2

    def at_points(self, points: RealArray) -> RealArray:
        """Distances at points (..., 2)."""
        distance = np.full(points.shape[:-1], np.inf)
        crossings = np.zeros(points.shape[:-1], dtype=int)
        x, y = points[..., 0], points[..., 1]
        for a, b in zip(self.corners, (*self.corners[1:], self.corners[0]), strict=True):
            distance = np.minimum(distance, SegmentDistance(a, b).at_points(points))
            # Edges that a ray to the right meets; half open in y, so that corners count once.
            across = (a[1] > y) != (b[1] > y)
            rise = b[1] - a[1] if b[1] != a[1] else 1.0
            crossings += across & (x < a[0] + (y - a[1]) / rise * (b[0] - a[0]))
        return np.where(crossings % 2 == 1, -distance, distance)


def ball_distance(centre: Sequence[float], radius: float) -> BallDistance:
    """Signed distance of a ball.

    Raises:
        ReferenceSolverError: a radius that is not positive.

    Example:
        >>> float(ball_distance((0.0, 0.0), 1.0)(3.0, 4.0))
        4.0
    """
    _check_positive("the radius", radius)
    return BallDistance(_numbers(centre), float(radius))


def box_distance(low: Sequence[float], high: Sequence[float]) -> BoxDistance:
    """Signed distance of a box.

    Raises:
        ReferenceSolverError: limits out of order.
    """
    _check_same(low, high)
    for below, above in zip(low, high, strict=True):
        _check_positive("a side of the box", above - below)
    return BoxDistance(_numbers(low), _numbers(high))


def half_space_distance(point: Sequence[float], normal: Sequence[float]) -> HalfSpaceDistance:
    """Signed distance of a half-space with a point on its surface and an outward normal of any length.

    Raises:
        ReferenceSolverError: a normal of length zero.
    """
    _check_same(point, normal)
    length = float(np.linalg.norm(normal))
    _check_positive("the length of the normal", length)
    return HalfSpaceDistance(_numbers(point), _numbers([n / length for n in normal]))


def segment_distance(start: Sequence[float], end: Sequence[float], thickness: float = 0.0) -> SegmentDistance:
    """Distance of a segment, or signed distance of the capsule of that thickness around it.

    Raises:
        ReferenceSolverError: ends that coincide, or a negative thickness.
    """
    _check_same(start, end)
    _check_positive("the length of the segment", float(np.linalg.norm(np.subtract(end, start))))
    if not thickness >= 0:
        raise ReferenceSolverError(f"the thickness is {thickness:g}; expected a number that is not negative")
    return SegmentDistance(_numbers(start), _numbers(end), float(thickness))


def annulus_distance(centre: Sequence[float], inner: float, outer: float) -> AnnulusDistance:
    """Signed distance of a ring or shell.

    Raises:
        ReferenceSolverError: radii that are not positive or out of order.
    """
    _check_positive("the inner radius", inner)
    _check_positive("the width of the annulus", outer - inner)
    return AnnulusDistance(_numbers(centre), float(inner), float(outer))


def polygon_distance(corners: Sequence[Sequence[float]]) -> PolygonDistance:
    """Signed distance of a simple polygon.

    Raises:
        ReferenceSolverError: fewer than three corners, or neighbours that coincide.
    """
    pairs = [(float(x), float(y)) for x, y in corners]
    if len(pairs) < 3 or any(a == b for a, b in zip(pairs, (*pairs[1:], pairs[0]), strict=True)):
        raise ReferenceSolverError(f"a polygon was given the corners {pairs}; expected three at least, neighbours distinct")
    return PolygonDistance(tuple(pairs))


def _numbers(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _check_positive(what: str, number: float) -> None:
    if not (np.isfinite(number) and number > 0):
        raise ReferenceSolverError(f"{what} is {number:g}; expected a positive number")


def _check_same(left: Sequence[float], right: Sequence[float]) -> None:
    if len(left) != len(right):
        raise ReferenceSolverError(f"points of {len(left)} and {len(right)} coordinates were given; expected as many")
