"""Boxes and intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ProblemError
from pinnsiren.language.domains.base import Array, check_limits, sobol
from pinnsiren.language.domains.curves import Segment, polygon_curves
from pinnsiren.language.domains.shape import AbstractShape


class Box(AbstractShape):
    """Product of intervals, `low_i <= x_i <= high_i`; faces are named `"x-"`, `"x+"`, ...

    Raises:
        ProblemError: limits that are not finite or out of order; the message names the coordinate.

    >>> x, y = sp.symbols("x y", real=True)
    >>> Box({x: (0, 1), y: (0, 2)}).measure
    2.0
    """

    def __init__(self, limits: Mapping[sp.Symbol, tuple[Any, Any]]) -> None:
        self._limits = check_limits(type(self).__name__, limits)

    @property
    def coordinates(self) -> tuple[sp.Symbol, ...]:
        """The coordinate symbols, in the order of the declaration."""
        return tuple(self._limits)

    @property
    def bounds(self) -> dict[sp.Symbol, tuple[float, float]]:
        """Limits per coordinate."""
        return dict(self._limits)

    @property
    def measure(self) -> float:
        """Product of the side lengths."""
        return float(np.prod([high - low for low, high in self._limits.values()]))

    def contains(self, points: Array, tolerance: float = 1e-12) -> NDArray[np.bool_]:
        """Return for each point whether it lies in the closed box."""
        low, high = self._corner_arrays()
        slack = tolerance * (high - low)
        return np.asarray(np.all((points >= low - slack) & (points <= high + slack), axis=-1))

    def signed_distance(self, points: Array) -> Array:
        """Return the distance from the surface, negative inside."""
        low, high = self._corner_arrays()
        beyond = np.maximum(low - points, points - high)
        return np.asarray(np.linalg.norm(np.maximum(beyond, 0), axis=-1) + np.minimum(np.max(beyond, axis=-1), 0))

    def boundary_parts(self) -> tuple[str, ...]:
        """Face names, coordinate by coordinate, lower face first."""
        return tuple(f"{symbol}{side}" for symbol in self._limits for side in "-+")

    def face(self, part: str) -> tuple[int, int]:
        """Return (coordinate index, -1 or +1) of a face name."""
        self.check_part(part)
        index = self.boundary_parts().index(part)
        return index // 2, 2 * (index % 2) - 1

    def boundary_measure(self, part: str) -> float:
        """Area of a face; 1 for the end of an interval."""
        axis, _ = self.face(part)
        sides = [high - low for index, (low, high) in enumerate(self._limits.values()) if index != axis]
        return float(np.prod(sides))

    def sample_boundary(self, part: str, n_points: int, seed: int) -> tuple[Array, Array]:
        """Draw Sobol points on a face; an end of an interval is always one point."""
        axis, side = self.face(part)
        low, high = self._corner_arrays()
        dimension = len(low)
        if dimension == 1:
            points = np.zeros((1, 1))
        else:
            points = np.insert(sobol(dimension - 1, n_points, seed), axis, 0.0, axis=1)
        points = low + (high - low) * points
        points[:, axis] = high[axis] if side > 0 else low[axis]
        normals = np.zeros_like(points)
        normals[:, axis] = side
        return points, normals

    def boundary_distance(self, part: str, points: Array) -> Array:
        """Return the distance from a face."""
        axis, side = self.face(part)
        low, high = self._corner_arrays()
        nearest = np.clip(points, low, high)
        nearest[:, axis] = high[axis] if side > 0 else low[axis]
        return np.asarray(np.linalg.norm(points - nearest, axis=-1))

    def outward_normals(self, part: str, points: Array) -> Array:
        """Return the constant normal of a face."""
        axis, side = self.face(part)
        normals = np.zeros(np.shape(points))
        normals[:, axis] = side
        return normals

    def boundary_curves(self, part: str) -> tuple[Segment, ...]:
        """Return a side of a rectangle."""
        self.check_part(part)
        if len(self._limits) != 2:
            return ()
        (left, right), (bottom, top) = self._limits.values()
        sides = polygon_curves(np.array([(left, bottom), (right, bottom), (right, top), (left, top)]))
        return (sides[{(1, -1): 0, (0, 1): 1, (1, 1): 2, (0, -1): 3}[self.face(part)]],)

    def as_record(self) -> dict[str, Any]:
        """Return the limits by coordinate name."""
        return {"kind": type(self).__name__, "limits": [[str(symbol), low, high] for symbol, (low, high) in self._limits.items()]}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and list(self._limits.items()) == list(other._limits.items())

    def __hash__(self) -> int:
        return hash(tuple(self._limits.items()))

    def __repr__(self) -> str:
        sides = ", ".join(f"{symbol}: ({low:g}, {high:g})" for symbol, (low, high) in self._limits.items())
        return f"{type(self).__name__}({{{sides}}})"


class Interval(Box):
    """Interval of one coordinate, `Interval({x: (0, 1)})`.

    Raises:
        ProblemError: more than one coordinate.
    """

    def __init__(self, limits: Mapping[sp.Symbol, tuple[Any, Any]]) -> None:
        super().__init__(limits)
        if len(self._limits) != 1:
            raise ProblemError(f"Interval was given the coordinates {tuple(map(str, self._limits))}; expected one. Use Box for more")
