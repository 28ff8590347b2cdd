"""Pieces of plane boundaries, straight and circular, in closed form: points, normals, lengths, areas, intersections.

Input: corners, centres, angles. Output: `Segment` and `Arc`. Both run counter-clockwise about their shape, so that the outward normal stands to the
right of the direction of travel. Set operations cut such curves where others cross them and keep the pieces that bound the result.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SHORTEST_PIECE = 1e-12  # of the curve: shorter ones are rounding of two cuts at one point


class AbstractCurve(ABC):
    """A curve with a parameter s that runs from 0 to 1 in proportion to the length."""

    @property
    @abstractmethod
    def length(self) -> float:
        """Length of the curve."""

    @property
    @abstractmethod
    def swept_area(self) -> float:
        """Integral of x . n / 2 along the curve; summed over a closed boundary it is the area."""

    @abstractmethod
    def points(self, s: Array) -> Array:
        """Return points, shape (n, 2)."""

    @abstractmethod
    def normals(self, s: Array) -> Array:
        """Return outward unit normals, shape (n, 2)."""

    @abstractmethod
    def extremes(self) -> Array:
        """Return points whose bounding box is that of the curve, shape (n, 2)."""

    @abstractmethod
    def distance(self, points: Array) -> Array:
        """Return the distance of points (n, 2) from the curve, shape (n,)."""

    @abstractmethod
    def piece(self, start: float, end: float) -> "AbstractCurve":
        """Return the part of the curve between two parameters."""

    @abstractmethod
    def crossings(self, other: "AbstractCurve") -> list[float]:
        """Return the parameters in (0, 1) where the line or circle that carries another curve crosses this one."""

    def cut_by(self, others: "tuple[AbstractCurve, ...]") -> "list[AbstractCurve]":
        """Return the pieces between the crossings with other curves."""
        cuts = sorted({0.0, 1.0, *(s for other in others for s in self.crossings(other))})
        return [self.piece(start, end) for start, end in pairwise(cuts) if end - start > SHORTEST_PIECE]


@dataclass(frozen=True)
class Segment(AbstractCurve):
    """Straight line from one point to another."""

    start: tuple[float, float]
    end: tuple[float, float]

    @property
    def _direction(self) -> Array:
        return np.subtract(self.end, self.start)

    @property
    def length(self) -> float:
        """Distance of the ends."""
        return float(np.hypot(*self._direction))

    @property
    def swept_area(self) -> float:
        """Area of the triangle with the origin."""
        return 0.5 * (self.start[0] * self.end[1] - self.end[0] * self.start[1])

    def points(self, s: Array) -> Array:
        """Return points between the ends."""
        return np.asarray(np.array(self.start) + np.asarray(s)[:, None] * self._direction)

    def normals(self, s: Array) -> Array:
        """Return the constant normal."""
        along = self._direction / self.length
        return np.tile([along[1], -along[0]], (len(s), 1))

    def extremes(self) -> Array:
        """Return the ends."""
        return np.array([self.start, self.end])

    def distance(self, points: Array) -> Array:
        """Return the distance from the nearest point between the ends."""
        offset, along = points - np.array(self.start), self._direction
        s = np.clip(offset @ along / (along @ along), 0, 1)
        return np.asarray(np.linalg.norm(offset - s[:, None] * along, axis=1))

    def piece(self, start: float, end: float) -> "Segment":
        """Return a shorter segment; an end that is kept stays exact."""
        first, last = self.points(np.array([start, end]))
        return Segment(self.start if start == 0 else (float(first[0]), float(first[1])), self.end if end == 1 else (float(last[0]), float(last[1])))

    def crossings(self, other: AbstractCurve) -> list[float]:
        """Return where a line or circle crosses."""
        along = self._direction
        if isinstance(other, Segment):
            across = np.array([other._direction[1], -other._direction[0]])
            slope = float(across @ along)
            if abs(slope) <= 1e-14 * self.length * other.length:
                return []
            return _inside([float(across @ np.subtract(other.start, self.start)) / slope])
        assert isinstance(other, Arc)
        offset = np.subtract(self.start, other.centre)
        a, b, c = along @ along, offset @ along, offset @ offset - other.radius**2
        root = b**2 - a * c
        return _inside([float(-b - np.sqrt(root)) / float(a), float(-b + np.sqrt(root)) / float(a)]) if root > 0 else []


@dataclass(frozen=True)
class Arc(AbstractCurve):
    """Part of a circle, counter-clockwise from one angle to a larger one, radians."""

    centre: tuple[float, float]
    radius: float
    first: float = -np.pi
    last: float = np.pi

    @property
    def length(self) -> float:
        """Radius times the angle."""
        return self.radius * (self.last - self.first)

    @property
    def swept_area(self) -> float:
        """Sector about the centre plus the triangles with the origin."""
        x, y = self.centre
        shift = x * (np.sin(self.last) - np.sin(self.first)) - y * (np.cos(self.last) - np.cos(self.first))
        return float(0.5 * self.radius * (self.length + shift))

    def points(self, s: Array) -> Array:
        """Return points of the circle."""
        return np.asarray(np.array(self.centre) + self.radius * self.normals(s))

    def normals(self, s: Array) -> Array:
        """Return the directions away from the centre."""
        angle = self.first + np.asarray(s) * (self.last - self.first)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def extremes(self) -> Array:
        """Return the ends and the points furthest along the coordinates."""
        quarters = np.pi / 2 * np.arange(np.ceil(self.first / (np.pi / 2)), np.floor(self.last / (np.pi / 2)) + 1)
        return self.points((np.array([self.first, *quarters, self.last]) - self.first) / (self.last - self.first))

    def distance(self, points: Array) -> Array:
        """Return the distance along the radius, or from the nearer end."""
        offset = points - np.array(self.centre)
        angle = (np.arctan2(offset[:, 1], offset[:, 0]) - self.first) % (2 * np.pi)
        ends = [np.linalg.norm(points - end, axis=1) for end in self.points(np.array([0.0, 1.0]))]
        radial = np.abs(np.linalg.norm(offset, axis=1) - self.radius)
        return np.asarray(np.where(angle <= self.last - self.first, radial, np.minimum(*ends)))

    def piece(self, start: float, end: float) -> "Arc":
        """Return a shorter arc."""
        turn = self.last - self.first
        return Arc(self.centre, self.radius, self.first + start * turn, self.first + end * turn)

    def crossings(self, other: AbstractCurve) -> list[float]:
        """Return where a line or circle crosses."""
        if isinstance(other, Segment):
            across = np.array([other._direction[1], -other._direction[0]]) / other.length
            distance = float(across @ np.subtract(other.start, self.centre))
        else:
            assert isinstance(other, Arc)
            across = np.subtract(other.centre, self.centre)
            between = float(np.hypot(*across))
            if between <= 1e-14 * self.radius:
                return []
            # The line through both intersections (radical line) stands at this distance from the centre.
            distance = (between**2 + self.radius**2 - other.radius**2) / (2 * between)
        if abs(distance) >= self.radius:
            return []
        middle, half = np.arctan2(across[1], across[0]), np.arccos(distance / self.radius)
        turns = (np.array([middle - half, middle + half]) - self.first) % (2 * np.pi)
        return _inside(list(turns / (self.last - self.first)))


def _inside(parameters: list[float]) -> list[float]:
    return [float(s) for s in parameters if SHORTEST_PIECE < s < 1 - SHORTEST_PIECE]


def polygon_curves(vertices: Array) -> tuple[Segment, ...]:
    """Return the sides of a polygon, counter-clockwise, in the order of the vertices (n, 2): side i leaves vertex i."""
    ends = np.roll(vertices, -1, axis=0)
    pairs = zip(vertices.tolist(), ends.tolist(), strict=True)
    if signed_area(vertices) > 0:
        return tuple(Segment((a[0], a[1]), (b[0], b[1])) for a, b in pairs)
    return tuple(Segment((b[0], b[1]), (a[0], a[1])) for a, b in pairs)


def signed_area(vertices: Array) -> float:
    """Return the area of a polygon (n, 2), positive when its vertices run counter-clockwise."""
    # About the first vertex: a polygon far from the origin loses no digits.
    x, y = (vertices - vertices[0]).T
    return float(0.5 * (x @ np.roll(y, -1) - y @ np.roll(x, -1)))
