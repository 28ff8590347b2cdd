"""Shapes that can be combined: `a | b` (union), `a & b` (intersection), `a - b` (difference), nested at will.

Input: shapes over the same coordinates. Output: a set operation, which is a shape again. Its boundary is what is visible of the boundaries of the
shapes it is made of: pieces cut exactly in the plane, points on the line, and samples in space.
"""

from abc import abstractmethod
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from pinnsiren.errors import ProblemError
from pinnsiren.language.domains.base import AbstractDomain, Array, sobol
from pinnsiren.language.domains.curves import AbstractCurve
from pinnsiren.language.domains.visible import SampledBoundary, TracedBoundary

SEED = 1
N_OVERLAP_PROBES = 4096  # an overlap below a thousandth of the smaller shape, in space, may pass for none
PROBE = 1e-9  # of the size: how far beside a boundary membership is asked; far above rounding, far below any shape
NEGLIGIBLE = 1e-12  # of the measure: what is left of two shapes that only touch is rounding


class AbstractShape(AbstractDomain):
    """A domain in space, which set operations combine with others."""

    def __or__(self, other: "AbstractShape") -> "Union":
        return Union(_members(self, other, Union, "|"))

    def __and__(self, other: "AbstractShape") -> "Intersection":
        return Intersection(_members(self, other, Intersection, "&"))

    def __sub__(self, other: "AbstractShape") -> "Difference":
        return Difference(_members(self, other, Difference, "-"))

    @property
    def leaves(self) -> "tuple[AbstractShape, ...]":
        """The primitive shapes that this one is made of, each once, in the order of the declaration."""
        return (self,)

    def named_parts_of(self, leaf: "AbstractShape") -> tuple[str, ...]:
        """Return the visible boundary parts that come from one of the leaves, possibly none."""
        return self.boundary_parts() if leaf == self else ()

    def boundary_curves(self, part: str) -> tuple[AbstractCurve, ...]:
        """Return a boundary part in the plane as exact curves; empty where the shape has none, then set operations sample it."""
        return ()

    def boundary_pieces(self) -> tuple[tuple[str, AbstractCurve, int], ...]:
        """Return the curves of all parts; their normals point out of a primitive shape."""
        return tuple((part, curve, 1) for part in self.boundary_parts() for curve in self.boundary_curves(part))


def _members(first: AbstractShape, second: Any, kind: "type[AbstractSetOperation]", sign: str) -> tuple[AbstractShape, ...]:
    """Check two operands and flatten: `a | b | c` is one union of three."""
    if not isinstance(second, AbstractShape):
        expected = "shapes in space; add the time last: SpaceTime(a - b, {t: (0, 1)})" if isinstance(second, AbstractDomain) else "two shapes"
        raise ProblemError(f"`{first} {sign} {second!r}` combines a shape with something that is none; expected {expected}")
    if first.coordinates != second.coordinates:
        raise ProblemError(
            f"`{first} {sign} {second}` combines shapes of the coordinates {first.coordinates} and {second.coordinates}; "
            "expected the same coordinates in the same order"
        )
    own = first.members if type(first) is kind and isinstance(first, AbstractSetOperation) else (first,)
    joined = second.members if type(second) is kind and isinstance(second, AbstractSetOperation) and kind is not Difference else (second,)
    return (*own, *joined)


class AbstractSetOperation(AbstractShape):
    """A set operation on shapes.

    Boundary parts keep the name that they have on their own shape, such as `"x-"` or `"surface"`; where several shapes have a part of that name,
    those of the second and later shapes carry the position of their shape, `"surface@3"`. Conditions name them more easily by `hole.boundary`.
    """

    sign: str

    def __init__(self, members: Iterable[AbstractShape]) -> None:
        self.members = tuple(members)
        self._check_members()

    @abstractmethod
    def _check_members(self) -> None:
        """Raise `ProblemError` when the operation leaves nothing, or changes nothing that was meant to change."""

    @property
    def coordinates(self) -> tuple[sp.Symbol, ...]:
        """Those of the members."""
        return self.members[0].coordinates

    @cached_property
    def leaves(self) -> tuple[AbstractShape, ...]:
        """The primitive shapes, each once."""
        return tuple(dict.fromkeys(leaf for member in self.members for leaf in member.leaves))

    @cached_property
    def _named_parts(self) -> dict[str, tuple[int, str]]:
        """Leaf and its part by name."""
        named: dict[str, tuple[int, str]] = {}
        for index, leaf in enumerate(self.leaves):
            for part in leaf.boundary_parts():
                named[part if part not in named else f"{part}@{index + 1}"] = (index, part)
        return named

    @cached_property
    def _visible(self) -> TracedBoundary | SampledBoundary:
        named = {name: (self.leaves[index], part, self.leaves[:index]) for name, (index, part) in self._named_parts.items()}
        if len(self.coordinates) == 2:
            curves = {name: leaf.boundary_curves(part) for name, (leaf, part, _) in named.items()}
            if all(curves.values()):
                return TracedBoundary(self, self._probe_step, curves, {name: earlier for name, (_, _, earlier) in named.items()})
        return SampledBoundary(self, self._probe_step, named)

    @cached_property
    def _probe_step(self) -> float:
        """Membership is asked this far beside the boundary; from the members, since the boundary is not known yet."""
        return PROBE * max(high - low for low, high in self._member_bounds().values())

    @cached_property
    def bounds(self) -> dict[sp.Symbol, tuple[float, float]]:
        """A box that holds the domain; the smallest one on the line and in the plane."""
        extremes = self._visible.extremes()
        if extremes is None:
            return self._member_bounds()
        low, high = extremes.min(axis=0), extremes.max(axis=0)
        return {symbol: (float(a), float(b)) for symbol, a, b in zip(self.coordinates, low, high, strict=True)}

    @abstractmethod
    def _member_bounds(self) -> dict[sp.Symbol, tuple[float, float]]:
        """A box that holds the domain, from those of the members."""

    @cached_property
    def measure(self) -> float:
        """Length, area or volume, from the flux of x through the visible boundary: exact on the line and in the plane."""
        return self._visible.measure()

    def boundary_parts(self) -> tuple[str, ...]:
        """Names of the parts that are visible."""
        return tuple(self._visible.parts())

    def boundary_pieces(self) -> tuple[tuple[str, AbstractCurve, int], ...]:
        """Return the visible pieces of all parts, where curves are known."""
        return self._visible.pieces() if isinstance(self._visible, TracedBoundary) else ()

    def boundary_measure(self, part: str) -> float:
        """Number of points, length or area of what is visible of a part."""
        self.check_part(part)
        return self._visible.boundary_measure(part)

    def sample_boundary(self, part: str, n_points: int, seed: int) -> tuple[Array, Array]:
        """Draw low-discrepancy points of what is visible of a part, with the outward normals of this domain."""
        self.check_part(part)
        return self._visible.sample(part, n_points, seed)

    def boundary_distance(self, part: str, points: Array) -> Array:
        """Return the distance from a part, hidden pieces of it included where they are sampled."""
        self.check_part(part)
        return self._visible.distance(part, points)

    def outward_normals(self, part: str, points: Array) -> Array:
        """Return the normals of the part's own shape, turned where this domain lies outside of it."""
        self.check_part(part)
        index, own = self._named_parts[part]
        normals = self.leaves[index].outward_normals(own, points)
        step = self._probe_step * normals
        leaves_domain = self.signed_distance(points + step) > self.signed_distance(points - step)
        return np.where(leaves_domain[:, None], normals, -normals)

    def parts_of_boundary(self, shape: AbstractDomain) -> tuple[str, ...]:
        """Return the visible parts that come from a shape, itself possibly a set operation."""
        if shape == self:
            return self.boundary_parts()
        wanted = shape.leaves if isinstance(shape, AbstractShape) else ()
        missing = [str(leaf) for leaf in wanted or (shape,) if leaf not in self.leaves]
        if missing:
            known = ", ".join(map(str, self.leaves))
            raise ProblemError(f"the boundary of {missing[0]} was named as a location; the domain is made of {known}. Name one of these")
        found = tuple(part for leaf in wanted for part in self.named_parts_of(leaf))
        if not found:
            raise ProblemError(f"the boundary of {shape} was named as a location; nothing of it bounds the domain {self}")
        return found

    def named_parts_of(self, leaf: AbstractShape) -> tuple[str, ...]:
        """Return the visible boundary parts of one of the leaves."""
        return tuple(part for part in self.boundary_parts() if self.leaves[self._named_parts[part][0]] == leaf)

    def described_part(self, part: str) -> str:
        """Return the name of a part and its shape."""
        return f"{part} of {self.leaves[self._named_parts[part][0]]}"

    def as_record(self) -> dict[str, Any]:
        """Return the members."""
        return {"kind": type(self).__name__, "members": [member.as_record() for member in self.members]}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, AbstractSetOperation) and self.members == other.members

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.members))

    def __repr__(self) -> str:
        return f" {self.sign} ".join(f"({member})" if isinstance(member, AbstractSetOperation) else str(member) for member in self.members)


class Union(AbstractSetOperation):
    """Points of any member."""

    sign = "|"

    def _check_members(self) -> None:
        """A union is never empty."""

    def signed_distance(self, points: Array) -> Array:
        """Return the smallest of the members'."""
        return np.asarray(np.min([member.signed_distance(points) for member in self.members], axis=0))

    def _member_bounds(self) -> dict[sp.Symbol, tuple[float, float]]:
        boxes = [member.bounds for member in self.members]
        return {symbol: (min(box[symbol][0] for box in boxes), max(box[symbol][1] for box in boxes)) for symbol in self.coordinates}


class Intersection(AbstractSetOperation):
    """Points of all members.

    Raises:
        ProblemError: no point lies in all of them.
    """

    sign = "&"

    def _check_members(self) -> None:
        box = self._member_bounds()
        if any(low >= high for low, high in box.values()) or not _is_left(self):
            raise ProblemError(f"the intersection {self} is empty; move or enlarge one of the shapes")

    def signed_distance(self, points: Array) -> Array:
        """Return the largest of the members'."""
        return np.asarray(np.max([member.signed_distance(points) for member in self.members], axis=0))

    def _member_bounds(self) -> dict[sp.Symbol, tuple[float, float]]:
        boxes = [member.bounds for member in self.members]
        return {symbol: (max(box[symbol][0] for box in boxes), min(box[symbol][1] for box in boxes)) for symbol in self.coordinates}


class Difference(AbstractSetOperation):
    """Points of the first member that lie in none of the others, its holes.

    Raises:
        ProblemError: a hole that removes nothing, or holes that leave nothing.
    """

    sign = "-"

    def _check_members(self) -> None:
        first, *holes = self.members
        for hole in holes:
            if not _overlap(first, hole):
                raise ProblemError(f"the hole {hole} lies outside of {first}, so that it removes nothing; move it, or leave it out")
        if not _is_left(self):
            raise ProblemError(f"nothing is left of {first} without {', '.join(map(str, holes))}; shrink the holes")

    def signed_distance(self, points: Array) -> Array:
        """Return the largest of the first member's and the negatives of the holes'."""
        first, *holes = self.members
        return np.asarray(np.max([first.signed_distance(points), *(-hole.signed_distance(points) for hole in holes)], axis=0))

    def _member_bounds(self) -> dict[sp.Symbol, tuple[float, float]]:
        return self.members[0].bounds


def _is_left(operation: AbstractSetOperation) -> bool:
    """Whether an operation has a positive measure."""
    smallest = min(member.measure for member in operation.members)
    if isinstance(operation._visible, TracedBoundary):
        return operation.measure > NEGLIGIBLE * smallest
    box = np.array(list(operation._member_bounds().values()))
    points = box[:, 0] + (box[:, 1] - box[:, 0]) * sobol(len(box), N_OVERLAP_PROBES, SEED)
    return bool(np.any(operation.signed_distance(points) < 0))


def _overlap(first: AbstractShape, second: AbstractShape) -> bool:
    try:
        Intersection((first, second))
    except ProblemError:
        return False
    return True
