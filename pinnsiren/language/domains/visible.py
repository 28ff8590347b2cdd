"""What is visible of the boundaries of combined shapes: exact curves in the plane, samples on the line and in space.

Input: a set operation and the boundary parts of its shapes. Output: measures, samples and normals of the visible pieces. A point of a shape's
boundary is visible when the combined domain lies on one side of it and not on the other; where two shapes share a piece, the first one has it.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pinnsiren.language.domains.base import AbstractDomain, Array, sobol
from pinnsiren.language.domains.curves import AbstractCurve

N_FRACTION = 2**14  # Sobol points on a part in space: its visible share to about 1e-4
SEED = 1


def visible_side(domain: AbstractDomain, step: float, points: Array, normals: Array, earlier: Sequence[AbstractDomain]) -> NDArray[np.int64]:
    """Return +1 where the domain ends along the normal, -1 where it begins, 0 where the boundary point is hidden.

    Args:
        domain: the set operation.
        step: how far beside the boundary membership is asked, physical units.
        points: (n, n_coordinates), on the boundary of one of its shapes.
        normals: outward normals of that shape there.
        earlier: shapes that own the boundary where they share it.
    """
    here, there = domain.signed_distance(points - step * normals) < 0, domain.signed_distance(points + step * normals) < 0
    side = here.astype(int) - there.astype(int)
    for leaf in earlier:
        side[np.abs(leaf.signed_distance(points)) < step] = 0
    return np.asarray(side, dtype=np.int64)


class TracedBoundary:
    """The visible boundary in the plane: curves cut where others cross them.

    Args:
        domain: the set operation.
        step: as in `visible_side`.
        curves: of its shapes, by the name of the part.
        earlier: shapes that come before the one of the part.
    """

    def __init__(
        self, domain: AbstractDomain, step: float, curves: Mapping[str, tuple[AbstractCurve, ...]], earlier: Mapping[str, Sequence[AbstractDomain]]
    ) -> None:
        every = tuple(curve for group in curves.values() for curve in group)
        self._pieces: dict[str, list[tuple[AbstractCurve, int]]] = {}
        for part, group in curves.items():
            pieces = [piece for curve in group for piece in curve.cut_by(every)]
            middle = np.array([0.5])
            points = np.concatenate([piece.points(middle) for piece in pieces])
            sides = visible_side(domain, step, points, np.concatenate([piece.normals(middle) for piece in pieces]), earlier[part])
            kept = [(piece, int(side)) for piece, side in zip(pieces, sides, strict=True) if side]
            if kept:
                self._pieces[part] = kept

    def parts(self) -> list[str]:
        """Names of the visible parts."""
        return list(self._pieces)

    def pieces(self) -> tuple[tuple[str, AbstractCurve, int], ...]:
        """Every visible piece: its part, the curve, and +1 where the domain ends along the curve's normal, else -1."""
        return tuple((part, piece, side) for part, group in self._pieces.items() for piece, side in group)

    def extremes(self) -> Array | None:
        """Points whose bounding box is that of the domain, shape (n, 2); None when nothing is visible."""
        found = [piece.extremes() for pieces in self._pieces.values() for piece, _ in pieces]
        return np.concatenate(found) if found else None

    def measure(self) -> float:
        """Area enclosed."""
        return float(sum(side * piece.swept_area for pieces in self._pieces.values() for piece, side in pieces))

    def boundary_measure(self, part: str) -> float:
        """Length of what is visible."""
        return float(sum(piece.length for piece, _ in self._pieces[part]))

    def sample(self, part: str, n_points: int, seed: int) -> tuple[Array, Array]:
        """Draw points evenly by length; return them and the outward normals."""
        ends = np.cumsum([piece.length for piece, _ in self._pieces[part]])
        drawn = sobol(1, n_points, seed)[:, 0] * ends[-1]
        owner = np.minimum(np.searchsorted(ends, drawn, side="right"), len(ends) - 1)
        points, normals = np.empty((n_points, 2)), np.empty((n_points, 2))
        for index, (piece, side) in enumerate(self._pieces[part]):
            own = owner == index
            s = 1 - (ends[index] - drawn[own]) / piece.length
            points[own], normals[own] = piece.points(s), side * piece.normals(s)
        return points, normals

    def distance(self, part: str, points: Array) -> Array:
        """Distance of points (n, 2) from what is visible of a part."""
        return np.asarray(np.min([piece.distance(points) for piece, _ in self._pieces[part]], axis=0))


class SampledBoundary:
    """The visible boundary where no curves are known: on the line exact, in space by sampling the parts of the shapes.

    Args:
        domain: the set operation.
        step: as in `visible_side`.
        named: the shape, its part and the shapes that come before, by the name of the part.
    """

    def __init__(self, domain: AbstractDomain, step: float, named: Mapping[str, tuple[AbstractDomain, str, Sequence[AbstractDomain]]]) -> None:
        self._domain, self._step, self._named = domain, step, named

    @cached_property
    def _shares(self) -> dict[str, tuple[float, float]]:
        """Visible share of each part, and the integral of x . n over it."""
        shares = {}
        for name, (leaf, part, earlier) in self._named.items():
            points, normals = leaf.sample_boundary(part, N_FRACTION, SEED)
            sides = visible_side(self._domain, self._step, points, normals, earlier)
            share = float(np.mean(sides != 0))
            if share > 0:
                flux = float(np.mean(sides * np.sum(points * normals, axis=1))) * leaf.boundary_measure(part)
                if np.all(sides == sides[0]) and len(leaf.boundary_parts()) == 1:
                    # A closed surface that is visible as a whole: no sampling error.
                    flux = float(sides[0]) * len(self._domain.coordinates) * leaf.measure
                shares[name] = (share, flux)
        return shares

    def parts(self) -> list[str]:
        """Names of the visible parts."""
        return list(self._shares)

    def extremes(self) -> Array | None:
        """The visible points on the line; None in space."""
        if len(self._domain.coordinates) > 1 or not self._shares:
            return None
        return np.concatenate([self.sample(part, 2, SEED)[0] for part in self._shares])

    def measure(self) -> float:
        """Length or volume, by the divergence theorem."""
        return sum(flux for _, flux in self._shares.values()) / len(self._domain.coordinates)

    def boundary_measure(self, part: str) -> float:
        """Share of the part's measure."""
        leaf, own, _ = self._named[part]
        return self._shares[part][0] * leaf.boundary_measure(own)

    def sample(self, part: str, n_points: int, seed: int) -> tuple[Array, Array]:
        """Draw points of the part on its own shape and keep the visible ones."""
        leaf, own, earlier = self._named[part]
        wanted = int(np.ceil(1.1 * n_points / self._shares[part][0])) + 8
        while True:
            points, normals = leaf.sample_boundary(own, wanted, seed)
            sides = visible_side(self._domain, self._step, points, normals, earlier)
            kept = sides != 0
            if np.sum(kept) >= n_points or len(points) < wanted:
                return points[kept][:n_points], (sides[:, None] * normals)[kept][:n_points]
            wanted *= 2

    def distance(self, part: str, points: Array) -> Array:
        """Distance from the part on its own shape, hidden pieces included."""
        leaf, own, _ = self._named[part]
        return leaf.boundary_distance(own, points)
