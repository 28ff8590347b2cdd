"""Outline of a plane domain: its corners with their openings, and the centres around which it has holes.

Input: a shape in the plane whose boundary is known as curves. Output: `Corner` and `Hole` records, in the order in which the boundary is run through.
The domain lies to the left of the direction of travel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pinnsiren.language.domains.base import AbstractDomain, Array, sobol
from pinnsiren.language.domains.curves import AbstractCurve, Arc

COINCIDENT = 1e-9  # of the domain's size: ends of curves that are one point; cuts of curves are exact to rounding
STRAIGHT = 1e-6  # radians: two curves that meet at this angle from a straight line go on smoothly
N_POLE_PROBES = 4096  # the pole of a hole only has to lie well inside
SMALLEST_HOLLOW = np.pi / 4  # radians that an arc turns around its centre to be seen as part of a hole
SEED = 1

Piece = tuple[str, AbstractCurve, int]  # part, curve, +1 where the domain lies on the side of the curve's own shape, else -1


@dataclass(frozen=True)
class CornerSide:
    """One of the two boundary curves that end in a corner, followed away from it.

    Attributes:
        part: name of the boundary part.
        angle: direction in which the curve leaves the corner, radians.
        curvature: of the curve, positive when it bends to the left on its way.
        length: of the curve.
    """

    part: str
    angle: float
    curvature: float
    length: float


@dataclass(frozen=True)
class Corner:
    """A point where the boundary changes its direction, or one part ends and the next begins.

    Attributes:
        point: physical units.
        opening: angle of the domain at the point, radians, in (0, 2 pi).
        bisector: direction that halves the domain, radians.
        first: the side from which the domain lies counter-clockwise.
        last: the other side.
    """

    point: tuple[float, float]
    opening: float
    bisector: float
    first: CornerSide
    last: CornerSide

    @property
    def is_straight(self) -> bool:
        """Whether only the boundary part changes here, not the direction."""
        return abs(self.opening - np.pi) < STRAIGHT


@dataclass(frozen=True)
class Hole:
    """A circle, or a disc within a hole of another shape, around which the domain lies.

    Attributes:
        centre: outside of the domain, physical units.
        radius: of the circle, or of the largest disc that fits into the hole.
        is_round: whether the boundary is this circle.
        encircled: whether the domain goes all the way round.
    """

    centre: tuple[float, ...]
    radius: float
    is_round: bool
    encircled: bool


def corners_of(domain: AbstractDomain) -> tuple[Corner, ...]:
    """Return all corners of a plane domain, those of straight angles where the part changes included; none where no curves are known."""
    close = COINCIDENT * domain.size
    return tuple(
        corner for incoming, outgoing in _junctions(domain.boundary_pieces(), close) if (corner := _corner(incoming, outgoing)) is not None
    )


def holes_of(domain: AbstractDomain) -> tuple[Hole, ...]:
    """Return the circles that a plane domain lies around, then the discs in holes of other shape."""
    pieces = domain.boundary_pieces()
    close = COINCIDENT * domain.size
    turns: dict[tuple[tuple[float, float], float], float] = {}
    for _, curve, side in pieces:
        if side < 0 and isinstance(curve, Arc):
            turns[curve.centre, curve.radius] = turns.get((curve.centre, curve.radius), 0.0) + curve.last - curve.first
    found = []
    for (centre, radius), turn in turns.items():
        if turn > SMALLEST_HOLLOW and not domain.contains(np.array([centre]))[0]:
            found.append(Hole(centre, radius, is_round=True, encircled=turn > 2 * np.pi * (1 - COINCIDENT)))
    for loop in _loops(pieces, close):
        area = sum(side * curve.swept_area for _, curve, side in loop)
        if area < 0 and not any(isinstance(curve, Arc) and side < 0 for _, curve, side in loop):
            pole, radius = _pole(domain, loop)
            found.append(Hole(pole, radius, is_round=False, encircled=True))
    return tuple(found)


def _start(piece: Piece, backward: bool = False) -> Array:
    """Return the point where a piece begins in the direction of travel, or ends."""
    _, curve, side = piece
    return np.asarray(curve.points(np.array([0.0 if (side > 0) != backward else 1.0]))[0])


def _tangent(piece: Piece, at_end: bool) -> Array:
    """Return the direction of travel at the beginning or end of a piece."""
    _, curve, side = piece
    normal = side * curve.normals(np.array([1.0 if (side > 0) == at_end else 0.0]))[0]
    return np.array([-normal[1], normal[0]])


def _opening(incoming: Piece, outgoing: Piece) -> float:
    before, after = _tangent(incoming, at_end=True), _tangent(outgoing, at_end=False)
    turn = float(np.arctan2(before[0] * after[1] - before[1] * after[0], before @ after))
    return np.pi - turn


def _junctions(pieces: Sequence[Piece], close: float) -> list[tuple[Piece, Piece]]:
    """Return each piece with the one that continues it; where several do, with the one that the domain lies between."""
    pairs = []
    for incoming in pieces:
        end = _start(incoming, backward=True)
        following = [piece for piece in pieces if np.linalg.norm(_start(piece) - end) < close]
        if following:
            pairs.append((incoming, min(following, key=lambda piece: _opening(incoming, piece) % (2 * np.pi))))
    return pairs


def _loops(pieces: Sequence[Piece], close: float) -> list[list[Piece]]:
    """Return the closed curves that the boundary consists of."""
    following = {id(incoming): outgoing for incoming, outgoing in _junctions(pieces, close)}
    left = {id(piece): piece for piece in pieces}
    loops = []
    while left:
        piece = next(iter(left.values()))
        loop: list[Piece] = []
        while id(piece) in left:
            loop.append(left.pop(id(piece)))
            piece = following.get(id(piece), piece)
        loops.append(loop)
    return loops


def _corner(incoming: Piece, outgoing: Piece) -> Corner | None:
    opening = _opening(incoming, outgoing)
    if abs(opening - np.pi) < STRAIGHT and incoming[0] == outgoing[0]:
        return None
    leaving = _tangent(outgoing, at_end=False)
    first = float(np.arctan2(leaving[1], leaving[0]))
    back = -_tangent(incoming, at_end=True)
    last = float(np.arctan2(back[1], back[0]))
    point = _start(outgoing)
    return Corner(
        point=(float(point[0]), float(point[1])),
        opening=float(opening),
        bisector=first + 0.5 * float(opening),
        first=CornerSide(outgoing[0], first, _curvature(outgoing), outgoing[1].length),
        last=CornerSide(incoming[0], last, -_curvature(incoming), incoming[1].length),
    )


def _curvature(piece: Piece) -> float:
    """Return the curvature along the direction of travel."""
    _, curve, side = piece
    return side / curve.radius if isinstance(curve, Arc) else 0.0


def _pole(domain: AbstractDomain, loop: Sequence[Piece]) -> tuple[tuple[float, float], float]:
    """Return the centre and radius of about the largest disc inside a hole."""
    extremes = np.concatenate([curve.extremes() for _, curve, _ in loop])
    low, high = extremes.min(axis=0), extremes.max(axis=0)
    centroid = 0.5 * (low + high)
    best, radius = centroid, 0.0
    for spread in (1.0, 0.1, 0.01):
        # The middle of the bounding box first: symmetric holes get their exact centre.
        probes = np.concatenate([best[None], best + spread * (high - low) * (sobol(2, N_POLE_PROBES, SEED) - 0.5)])
        probes = probes[np.all((probes >= low) & (probes <= high), axis=1) & ~domain.contains(probes)]
        if len(probes) == 0:
            continue
        distance = np.min([curve.distance(probes) for _, curve, _ in loop], axis=0)
        if np.max(distance) > radius * (1 + 1e-9):
            chosen = int(np.argmax(distance > np.max(distance) * (1 - 1e-3)))
            best, radius = probes[chosen], float(distance[chosen])
    return (float(best[0]), float(best[1])), radius
