"""Product of a spatial domain and a time interval."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ProblemError
from pinnsiren.language.domains.base import AbstractDomain, Array, check_limits, sobol


class SpaceTime(AbstractDomain):
    """`space x [0, T]`; the coordinates are those of the space followed by the time.

    Boundary parts are the spatial parts at all times (same names), the initial instant (`"t-"` for a time named t) and the final one (`"t+"`).

    Raises:
        ProblemError: a time that is also a spatial coordinate, or not exactly one time.
    """

    def __init__(self, space: AbstractDomain, time: Mapping[sp.Symbol, tuple[Any, Any]]) -> None:
        if not isinstance(space, AbstractDomain) or isinstance(space, SpaceTime):
            raise ProblemError(f"SpaceTime was given `{space}` as its space; expected a spatial domain such as Interval or Box")
        limits = check_limits("SpaceTime", time)
        if len(limits) != 1:
            raise ProblemError(f"SpaceTime was given {len(limits)} times; expected one such as {{t: (0, 1)}}")
        self.space = space
        ((self.time, self.time_bounds),) = limits.items()
        if self.time in space.coordinates:
            raise ProblemError(f"SpaceTime was given `{self.time}` both in space and as the time; name them differently")

    def __or__(self, other: Any) -> "SpaceTime":
        raise ProblemError(f"`{self}` was combined with `{other}`; combine the spaces and add the time last: SpaceTime(a - b, {{t: (0, 1)}})")

    __and__ = __sub__ = __or__

    @property
    def coordinates(self) -> tuple[sp.Symbol, ...]:
        """Spatial coordinates, then the time."""
        return (*self.space.coordinates, self.time)

    @property
    def bounds(self) -> dict[sp.Symbol, tuple[float, float]]:
        """Limits of space and time."""
        return {**self.space.bounds, self.time: self.time_bounds}

    @property
    def duration(self) -> float:
        """Length of the time interval."""
        return self.time_bounds[1] - self.time_bounds[0]

    @property
    def measure(self) -> float:
        """Measure of the space times the duration."""
        return self.space.measure * self.duration

    def signed_distance(self, points: Array) -> Array:
        """Return the larger of the level functions of space and time."""
        start, end = self.time_bounds
        time = points[..., -1]
        return np.asarray(np.maximum(self.space.signed_distance(points[..., :-1]), np.maximum(start - time, time - end)))

    def contains(self, points: Array, tolerance: float = 1e-12) -> NDArray[np.bool_]:
        """Return for each point whether it lies in the closed product."""
        time = points[..., -1]
        slack = tolerance * self.duration
        inside = (time >= self.time_bounds[0] - slack) & (time <= self.time_bounds[1] + slack)
        return np.asarray(self.space.contains(points[..., :-1], tolerance) & inside)

    def boundary_parts(self) -> tuple[str, ...]:
        """Spatial parts, then the first and the last instant."""
        return (*self.space.boundary_parts(), f"{self.time}-", f"{self.time}+")

    def boundary_measure(self, part: str) -> float:
        """Spatial parts: their measure times the duration; instants: the measure of the space."""
        self.check_part(part)
        if part in self.space.boundary_parts():
            return self.space.boundary_measure(part) * self.duration
        return self.space.measure

    def sample_boundary(self, part: str, n_points: int, seed: int) -> tuple[Array, Array]:
        """Draw low-discrepancy points of a part at all times, or of the space at the first or last instant."""
        self.check_part(part)
        start, end = self.time_bounds
        if part in self.space.boundary_parts():
            points, normals = self.space.sample_boundary(part, n_points, seed)
            times = start + (end - start) * sobol(1, n_points, seed + 1)
            repeats = -(-n_points // len(points))
            points, normals = (np.tile(array, (repeats, 1))[:n_points] for array in (points, normals))
            return np.hstack([points, times]), np.hstack([normals, np.zeros((n_points, 1))])
        points = self.space.sample_interior(n_points, seed)
        instant = start if part.endswith("-") else end
        normals = np.zeros((n_points, len(self.coordinates)))
        normals[:, -1] = -1.0 if part.endswith("-") else 1.0
        return np.hstack([points, np.full((n_points, 1), instant)]), normals

    def boundary_distance(self, part: str, points: Array) -> Array:
        """Return the distance from a spatial part at all times, or from an instant."""
        self.check_part(part)
        start, end = self.time_bounds
        late = np.maximum(np.maximum(start - points[:, -1], points[:, -1] - end), 0)
        if part in self.space.boundary_parts():
            return np.hypot(self.space.boundary_distance(part, points[:, :-1]), late)
        instant = start if part.endswith("-") else end
        return np.hypot(np.maximum(self.space.signed_distance(points[:, :-1]), 0), points[:, -1] - instant)

    def outward_normals(self, part: str, points: Array) -> Array:
        """Return the normals in space, without a component along the time; those of an instant point along the time."""
        self.check_part(part)
        normals = np.zeros(np.shape(points))
        if part in self.space.boundary_parts():
            normals[:, :-1] = self.space.outward_normals(part, points[:, :-1])
        else:
            normals[:, -1] = -1.0 if part.endswith("-") else 1.0
        return normals

    def parts_of_boundary(self, shape: AbstractDomain) -> tuple[str, ...]:
        """Return the spatial parts that come from a shape of the space, at all times."""
        return self.boundary_parts() if shape == self else self.space.parts_of_boundary(shape)

    def described_part(self, part: str) -> str:
        """Return what the space says of its parts."""
        return self.space.described_part(part) if part in self.space.boundary_parts() else part

    def as_record(self) -> dict[str, Any]:
        """Return the space and the time limits."""
        return {"kind": "SpaceTime", "space": self.space.as_record(), "time": [str(self.time), *self.time_bounds]}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SpaceTime) and self.as_record() == other.as_record()

    def __hash__(self) -> int:
        return hash((self.space, self.time, self.time_bounds))

    def __repr__(self) -> str:
        start, end = self.time_bounds
        return f"SpaceTime({self.space}, {{{self.time}: ({start:g}, {end:g})}})"
