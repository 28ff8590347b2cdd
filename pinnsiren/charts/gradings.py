"""Gradings: where a chart wants collocation points, how densely, and how rows are scaled there.

Input: a number of points. Output: points in the plane or in space, their density, and the local length that scales rows. A grading is a frozen record
of numbers, stored with its chart.

Near a corner or a hole the solution varies on the scale of the distance r. In log-polar coordinates the Laplacian is r^-2 times a Laplacian without
coefficients, so that rows of a second-order equation are multiplied by r^2 and points spread evenly over (log r, angle): then the sum of squares is
the integral of (r^2 residual)^2 dx / r^2, the norm of Kondratiev (1967), in which corners are nothing special.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.charts.stored_records import record_from_tree, record_to_tree
from pinnsiren.language.domains.base import sobol

Array = NDArray[np.float64]

HAIR = 1e-13  # of the chart: the square root of it, the roughest behaviour of a corner, is below what a fit resolves


@dataclass(frozen=True)
class AbstractGrading(ABC):
    """Graded points; attributes of subclasses are numbers, texts and tuples of them, since plans are stored.

    Points have the columns of the space only, without the time.
    """

    @abstractmethod
    def draw(self, n_points: int, seed: int) -> Array:
        """Return points (n_points, n_space); some may lie outside of the domain."""

    @abstractmethod
    def density(self, points: Array) -> Array:
        """Return the probability density (n,) of `draw` at points (n, n_space), per area or volume."""

    @abstractmethod
    def distance(self, points: Array) -> Array:
        """Return the distance r (n,) from the centre: the local length."""

    def away(self, points: Array) -> Array:
        """Return the points, those at the centre moved off it by a hair where the chart has no value there; a time in the last column stays."""
        return points

    def draw_on_part(self, part: str, n_points: int, seed: int) -> Array | None:
        """Return graded points of a boundary part, None for a part that needs none."""
        return None

    def density_on_part(self, part: str, points: Array) -> Array:
        """Return the probability density (n,) of `draw_on_part`, per length."""
        return np.zeros(len(points))


@dataclass(frozen=True)
class RingGrading(AbstractGrading):
    """Points around a hole, evenly in log r and direction.

    Attributes:
        centre: of the hole.
        smallest: smallest distance, the radius of the hole.
        largest: largest distance.
    """

    centre: tuple[float, ...]
    smallest: float
    largest: float

    def draw(self, n_points: int, seed: int) -> Array:
        """Draw low-discrepancy points of the shell."""
        dimension = len(self.centre)
        cube = sobol(dimension, n_points, seed)
        distance = self.smallest * (self.largest / self.smallest) ** cube[:, 0]
        turn = 2 * np.pi * cube[:, 1]
        directions = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        if dimension == 3:
            height = 2 * cube[:, 2] - 1
            directions = np.concatenate([directions * np.sqrt(1 - height**2)[:, None], height[:, None]], axis=1)
        return np.asarray(np.array(self.centre) + distance[:, None] * directions)

    def density(self, points: Array) -> Array:
        """Return 1 / (log(largest / smallest) |S| r^d) inside the shell."""
        distance, dimension = self.distance(points), len(self.centre)
        sphere = 2 * np.pi if dimension == 2 else 4 * np.pi
        inside = (distance >= self.smallest) & (distance <= self.largest)
        return np.asarray(np.where(inside, 1 / (np.log(self.largest / self.smallest) * sphere * distance**dimension), 0.0))

    def distance(self, points: Array) -> Array:
        """Return the distance from the centre, at least the radius."""
        return np.asarray(np.maximum(np.linalg.norm(points - np.array(self.centre), axis=1), self.smallest))


@dataclass(frozen=True)
class CornerGrading(AbstractGrading):
    """Points at a corner, evenly in log r and angle, and evenly in log r on its two sides.

    Attributes:
        corner: the point.
        bisector: direction that halves the domain, radians.
        opening: angle of the domain, radians.
        smallest: smallest distance.
        largest: largest distance.
        sides: per side (part, angle, curvature, length) of the boundary curve.
    """

    corner: tuple[float, float]
    bisector: float
    opening: float
    smallest: float
    largest: float
    sides: tuple[tuple[str, float, float, float], ...]

    def draw(self, n_points: int, seed: int) -> Array:
        """Draw low-discrepancy points of the sector."""
        cube = sobol(2, n_points, seed)
        distance = self.smallest * (self.largest / self.smallest) ** cube[:, 0]
        angle = self.bisector + (cube[:, 1] - 0.5) * self.opening
        return np.asarray(np.array(self.corner) + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1))

    def density(self, points: Array) -> Array:
        """Return 1 / (log(largest / smallest) opening r^2) inside the sector."""
        offset = points - np.array(self.corner)
        distance = np.maximum(np.linalg.norm(offset, axis=1), 1e-300)
        turn = np.arctan2(offset[:, 1], offset[:, 0]) - self.bisector
        turn = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
        inside = (distance >= self.smallest) & (distance <= self.largest) & (turn <= 0.5 * self.opening)
        return np.asarray(np.where(inside, 1 / (np.log(self.largest / self.smallest) * self.opening * distance**2), 0.0))

    def distance(self, points: Array) -> Array:
        """Return the distance from the corner."""
        return np.asarray(np.maximum(np.linalg.norm(points - np.array(self.corner), axis=1), self.smallest))

    def away(self, points: Array) -> Array:
        """Move points at the corner along the bisector: the logarithm of the distance has no value there, the field has."""
        offset = points[:, :2] - np.array(self.corner)
        close = np.linalg.norm(offset, axis=1) < HAIR * self.largest
        if not np.any(close):
            return points
        moved = points.copy()
        moved[close, :2] = np.array(self.corner) + HAIR * self.largest * np.array([np.cos(self.bisector), np.sin(self.bisector)])
        return moved

    def draw_on_part(self, part: str, n_points: int, seed: int) -> Array | None:
        """Draw points of the sides that belong to a part."""
        own = [side for side in self.sides if side[0] == part]
        if not own:
            return None
        shares = np.array_split(sobol(1, n_points, seed)[:, 0], len(own))
        return np.concatenate([self._on_side(side, share) for side, share in zip(own, shares, strict=True)])

    def _on_side(self, side: tuple[str, float, float, float], share: Array) -> Array:
        _, angle, curvature, length = side
        along = self.smallest * (length / self.smallest) ** share
        turned = curvature * along
        # sin(k t)/k and (1 - cos(k t))/k without cancellation, also for straight sides.
        forward, across = along * np.sinc(turned / np.pi), 0.5 * along * turned * np.sinc(turned / (2 * np.pi)) ** 2
        tangent = np.array([np.cos(angle), np.sin(angle)])
        return np.asarray(np.array(self.corner) + forward[:, None] * tangent + across[:, None] * np.array([-tangent[1], tangent[0]]))

    def density_on_part(self, part: str, points: Array) -> Array:
        """Return 1 / (log(length / smallest) r) on each of the sides, which share the points."""
        own = [side for side in self.sides if side[0] == part]
        total, distance = np.zeros(len(points)), self.distance(points)
        for _, _, _, length in own:
            total += np.where(distance <= length, 1 / (np.log(length / self.smallest) * distance), 0.0) / len(own)
        return total / max(len(own), 1)


def grading_to_tree(grading: AbstractGrading | None) -> dict[str, Any] | None:
    """Return what storage has to keep of a grading."""
    return record_to_tree(grading)


def grading_from_tree(tree: dict[str, Any] | None) -> AbstractGrading | None:
    """Rebuild a grading."""
    grading: AbstractGrading | None = record_from_tree(AbstractGrading, tree)
    return grading
