"""The abstract domain: membership, sampling, boundary parts and outward normals.

A new shape is a new file that implements `AbstractShape` (this class and set operations); conditions, samplers, checks and grid solvers only use
what stands here.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy.stats import qmc

from pinnsiren.errors import ProblemError, UnknownNameError

Array = NDArray[np.float64]


class AbstractDomain(ABC):
    """A bounded set of points in the declared coordinates.

    Points are arrays of shape (n_points, n_coordinates) in physical units, columns in the order of `coordinates`.
    """

    @property
    @abstractmethod
    def coordinates(self) -> tuple[sp.Symbol, ...]:
        """The coordinate symbols, in the order of the declaration."""

    @property
    @abstractmethod
    def bounds(self) -> dict[sp.Symbol, tuple[float, float]]:
        """The smallest box that holds the domain."""

    @property
    @abstractmethod
    def measure(self) -> float:
        """Length, area or volume."""

    @abstractmethod
    def signed_distance(self, points: Array) -> Array:
        """Return a level function, shape (n_points,): negative inside, zero on the boundary, positive outside.

        It is the distance to the boundary for primitive shapes. For set operations and products, which take the smaller or larger of two such
        functions, its modulus is a lower bound of the distance.
        """

    def contains(self, points: Array, tolerance: float = 1e-12) -> NDArray[np.bool_]:
        """Return for each point whether it lies in the closed domain, up to `tolerance` times its size."""
        return np.asarray(self.signed_distance(np.asarray(points, dtype=float)) <= tolerance * self.size)

    @abstractmethod
    def boundary_parts(self) -> tuple[str, ...]:
        """Names of the boundary parts; together they are the boundary."""

    @abstractmethod
    def boundary_measure(self, part: str) -> float:
        """Length or area of a boundary part (1 for a point)."""

    @abstractmethod
    def sample_boundary(self, part: str, n_points: int, seed: int) -> tuple[Array, Array]:
        """Draw low-discrepancy points of a part and the outward unit normals there, both (n_points, n_coordinates)."""

    @abstractmethod
    def boundary_distance(self, part: str, points: Array) -> Array:
        """Return the distance of each point from a boundary part, shape (n_points,)."""

    @abstractmethod
    def outward_normals(self, part: str, points: Array) -> Array:
        """Return the outward unit normals of a part at points on it, shape (n_points, n_coordinates)."""

    def parts_of_boundary(self, shape: "AbstractDomain") -> tuple[str, ...]:
        """Return the parts of this boundary that come from a shape: all of them for the domain itself.

        Raises:
            ProblemError: the shape is no part of this domain.
        """
        if shape == self:
            return self.boundary_parts()
        raise ProblemError(
            f"the boundary of {shape} was named as a location; it is no part of the domain {self}. Name a shape that the domain is made of"
        )

    def boundary_pieces(self) -> tuple[tuple[str, Any, int], ...]:
        """Return the boundary of a plane domain as curves: (part, curve, side) with side +1 where the curve's own normal points out of the domain.

        Empty where no curves are known; then neither corners nor holes are.
        """
        return ()

    def described_part(self, part: str) -> str:
        """Return what a reader needs to find a part: its name, and the shape it belongs to where the name does not say it."""
        return part

    @property
    def boundary(self) -> "Boundary":
        """The boundary of this shape as a location of conditions, `on=hole.boundary`."""
        return Boundary(self)

    @abstractmethod
    def as_record(self) -> dict[str, Any]:
        """Return the constructor's arguments for storage; numbers, strings and lists only, symbols by name."""

    def sample_interior(self, n_points: int, seed: int) -> Array:
        """Draw scrambled Sobol points inside the domain, shape (n_points, n_coordinates)."""
        low, high = self._corner_arrays()
        volume = float(np.prod(high - low))
        wanted = n_points
        for _ in range(8):
            drawn = int(np.ceil(1.1 * wanted * volume / self.measure)) + 8
            points = low + (high - low) * sobol(len(low), drawn, seed)
            inside = points[self.contains(points)]
            if len(inside) >= n_points:
                return inside[:n_points]
            wanted *= 2
        raise ProblemError(f"domain {self} could not be sampled: its declared measure {self.measure} does not fit its membership test")

    def check_part(self, part: str) -> None:
        """Raise `UnknownNameError` unless `part` names a boundary part."""
        if part not in self.boundary_parts():
            raise UnknownNameError(f"boundary part `{part}` is unknown; this domain has {', '.join(self.boundary_parts())}, or use \"boundary\"")

    def _corner_arrays(self) -> tuple[Array, Array]:
        limits = np.array([self.bounds[symbol] for symbol in self.coordinates], dtype=float)
        return limits[:, 0], limits[:, 1]

    @property
    def size(self) -> float:
        """Longest side of the bounding box."""
        low, high = self._corner_arrays()
        return float(np.max(high - low))


@dataclass(frozen=True)
class Boundary:
    """The boundary of a shape, wherever it bounds the domain of the problem; made by `shape.boundary`."""

    of: AbstractDomain

    def __repr__(self) -> str:
        return f"({self.of}).boundary"


def sobol(dimension: int, n_points: int, seed: int) -> Array:
    """Return the first `n_points` of a scrambled Sobol sequence in the unit cube, shape (n_points, dimension)."""
    exponent = max(1, int(np.ceil(np.log2(max(n_points, 2)))))
    points = qmc.Sobol(dimension, scramble=True, rng=np.random.default_rng(seed)).random_base2(exponent)
    return np.asarray(points[:n_points], dtype=float)


def check_limits(what: str, limits: Mapping[sp.Symbol, tuple[Any, Any]]) -> dict[sp.Symbol, tuple[float, float]]:
    """Return limits as floats, or raise `ProblemError` that names the coordinate."""
    if not isinstance(limits, Mapping) or not limits:
        raise ProblemError(f"{what} was given `{limits}`; expected limits per coordinate such as {{x: (0, 1)}}")
    checked = {}
    for symbol, pair in limits.items():
        if not isinstance(symbol, sp.Symbol):
            raise ProblemError(f"{what} was given `{symbol}` as a coordinate; expected a symbol made by `coordinates`")
        try:
            low, high = (float(value) for value in pair)
        except (TypeError, ValueError) as error:
            raise ProblemError(f"{what} was given `{symbol}: {pair!r}`; expected two numbers (low, high)") from error
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ProblemError(f"{what} has size {high - low:g} along `{symbol}` (limits {low:g} to {high:g}); expected finite limits, low < high")
        checked[symbol] = (low, high)
    return checked
