"""Balls and disks."""

from collections.abc import Mapping
from math import gamma, pi
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ProblemError
from pinnsiren.language.domains.base import Array, sobol
from pinnsiren.language.domains.curves import Arc
from pinnsiren.language.domains.shape import AbstractShape
from pinnsiren.language.entries import number_entry


class Ball(AbstractShape):
    """Points within `radius` of `centre`, in 1 to 3 dimensions; its one boundary part is `"surface"`.

    Raises:
        ProblemError: a radius that is not positive, a centre that is not finite, more than three coordinates.
    """

    def __init__(self, centre: Mapping[sp.Symbol, Any], radius: float) -> None:
        kind = type(self).__name__
        if not isinstance(centre, Mapping) or not all(isinstance(symbol, sp.Symbol) for symbol in centre):
            raise ProblemError(f"{kind} was given the centre `{centre}`; expected a value per coordinate such as {{x: 0, y: 0}}")
        if not 1 <= len(centre) <= 3:
            raise ProblemError(f"{kind} was given {len(centre)} coordinates; expected one to three")
        self._centre = {symbol: number_entry(f"the centre of {kind} along `{symbol}`", value) for symbol, value in centre.items()}
        self.radius = number_entry(f"the radius of {kind}", radius)
        if not (np.isfinite(self.radius) and self.radius > 0):
            raise ProblemError(f"{kind} was given radius={radius}; expected a positive number")
        if not np.all(np.isfinite(list(self._centre.values()))):
            raise ProblemError(f"{kind} was given the centre {centre}; expected finite numbers")

    @property
    def coordinates(self) -> tuple[sp.Symbol, ...]:
        """The coordinate symbols, in the order of the declaration."""
        return tuple(self._centre)

    @property
    def centre(self) -> Array:
        """Centre, shape (n_coordinates,)."""
        return np.array(list(self._centre.values()))

    @property
    def bounds(self) -> dict[sp.Symbol, tuple[float, float]]:
        """Bounding box."""
        return {symbol: (value - self.radius, value + self.radius) for symbol, value in self._centre.items()}

    @property
    def measure(self) -> float:
        """Volume of the ball."""
        n = len(self._centre)
        return float(pi ** (n / 2) / gamma(n / 2 + 1) * self.radius**n)

    def contains(self, points: Array, tolerance: float = 1e-12) -> NDArray[np.bool_]:
        """Return for each point whether it lies in the closed ball."""
        distance = np.linalg.norm(np.asarray(points) - self.centre, axis=-1)
        return np.asarray(distance <= self.radius * (1 + tolerance))

    def signed_distance(self, points: Array) -> Array:
        """Return the distance from the surface, negative inside."""
        return np.asarray(np.linalg.norm(np.asarray(points) - self.centre, axis=-1) - self.radius)

    def boundary_parts(self) -> tuple[str, ...]:
        """The surface."""
        return ("surface",)

    def boundary_measure(self, part: str) -> float:
        """Area of the surface."""
        self.check_part(part)
        n = len(self._centre)
        return n * self.measure / self.radius

    def sample_boundary(self, part: str, n_points: int, seed: int) -> tuple[Array, Array]:
        """Draw low-discrepancy points on the surface with their outward normals."""
        self.check_part(part)
        n = len(self._centre)
        if n == 1:
            normals = np.array([[-1.0], [1.0]])
        elif n == 2:
            angle = 2 * pi * sobol(1, n_points, seed)[:, 0]
            normals = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        else:
            height, turn = sobol(2, n_points, seed).T
            z = 2 * height - 1
            flat = np.sqrt(1 - z**2)
            normals = np.stack([flat * np.cos(2 * pi * turn), flat * np.sin(2 * pi * turn), z], axis=1)
        return self.centre + self.radius * normals, normals

    def boundary_distance(self, part: str, points: Array) -> Array:
        """Return the distance from the surface."""
        self.check_part(part)
        return np.abs(self.signed_distance(points))

    def outward_normals(self, part: str, points: Array) -> Array:
        """Return the directions away from the centre."""
        self.check_part(part)
        offset = np.asarray(points) - self.centre
        return np.asarray(offset / np.linalg.norm(offset, axis=-1, keepdims=True))

    def boundary_curves(self, part: str) -> tuple[Arc, ...]:
        """Return the circle of a disk."""
        self.check_part(part)
        x, *others = self._centre.values()
        return (Arc((x, others[0]), self.radius),) if len(others) == 1 else ()

    def as_record(self) -> dict[str, Any]:
        """Return centre and radius."""
        return {"kind": type(self).__name__, "centre": [[str(s), v] for s, v in self._centre.items()], "radius": self.radius}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ball) and self.as_record() == other.as_record()

    def __hash__(self) -> int:
        return hash((tuple(self._centre.items()), self.radius))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._centre}, radius={self.radius:g})"


class Disk(Ball):
    """Ball in two dimensions.

    Raises:
        ProblemError: another number of coordinates than two.
    """

    def __init__(self, centre: Mapping[sp.Symbol, Any], radius: float) -> None:
        super().__init__(centre, radius)
        if len(self._centre) != 2:
            raise ProblemError(f"Disk was given {len(self._centre)} coordinates; expected two. Use Ball in other dimensions")
