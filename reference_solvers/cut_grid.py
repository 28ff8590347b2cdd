"""A Cartesian grid cut by the boundary of a domain: nodes inside, points where grid lines meet the boundary, arms between them.

Input: a domain and a number of cells. Output: `CutGrid`. The unknowns are the nodes inside, then the boundary points; every node has two arms along
each coordinate, which end at the next node, or at the boundary if that comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.language import AbstractDomain

Array = NDArray[Any]

# Of the domain's size: nodes nearer to the boundary count as lying on it.
ON_BOUNDARY = 1e-10
# Of the domain's size: how far boundary points stand inside, to be above rounding.
_INWARDS = 1e-14
# Halvings of a step until the crossing is known to rounding.
_BISECTIONS = 52
# Positions between two nodes at which the domain is asked for slits.
_PROBES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class CutGrid:
    """Nodes, boundary points and arms.

    Attributes:
        axes: grid positions per coordinate, the bounding box of the domain included.
        number: unknown of each node of the full grid, -1 outside and on the boundary.
        nodes: (n_nodes, n_coordinates), those inside.
        boundary: (n_boundary, n_coordinates), each once.
        lengths: (n_coordinates, 2, n_nodes), of the arms towards smaller and larger coordinates.
        ends: (n_coordinates, 2, n_nodes), unknowns at their ends.
        unresolved: number of places where something thinner than a step was missed.
    """

    axes: tuple[Array, ...]
    number: Array
    nodes: Array
    boundary: Array
    lengths: Array
    ends: Array
    unresolved: int

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return len(self.nodes) + len(self.boundary)

    @property
    def points(self) -> Array:
        """Positions of all unknowns, nodes first."""
        return np.concatenate([self.nodes, self.boundary])

    @property
    def steps(self) -> tuple[float, ...]:
        """Step along each coordinate."""
        return tuple(float(axis[1] - axis[0]) for axis in self.axes)

    def arm_middles(self, axis: int, side: int) -> Array:
        """Middles of the arms of all nodes towards one side, (n_nodes, n_coordinates)."""
        middles = self.nodes.copy()
        middles[:, axis] += 0.5 * side * self.lengths[axis, (side + 1) // 2]
        return middles

    def corners(self, first: int, second: int) -> Array:
        """Unknowns diagonally beside each node, (4, n_nodes): ++, +-, -+, --; -1 where that node is not inside."""
        where = np.argwhere(self.number >= 0)
        found = []
        for step in (1, -1):
            for other in (1, -1):
                beside = where.copy()
                beside[:, first] += step
                beside[:, second] += other
                found.append(self.number[tuple(beside.T)])
        return np.stack(found)


def cut_grid(domain: AbstractDomain, cells: Sequence[int]) -> CutGrid:
    """Lay a grid over the bounding box of a domain and cut it.

    Args:
        domain: without time.
        cells: number of cells per coordinate.
    """
    axes = tuple(np.linspace(*domain.bounds[symbol], count + 1) for symbol, count in zip(domain.coordinates, cells, strict=True))
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    level = domain.signed_distance(mesh.reshape(-1, len(axes))).reshape(mesh.shape[:-1])
    slack = ON_BOUNDARY * domain.size
    inside = level < -slack
    number = np.full(level.shape, -1)
    number[inside] = np.arange(np.sum(inside))
    where = np.argwhere(inside)
    nodes = mesh[inside]
    lengths, ends = np.empty((len(axes), 2, len(nodes))), np.full((len(axes), 2, len(nodes)), -1)
    meetings: list[tuple[int, int, Array, Array]] = []
    unresolved = 0
    for axis, positions in enumerate(axes):
        for place, side in enumerate((-1, 1)):
            neighbour = where.copy()
            neighbour[:, axis] += side
            reached = tuple(neighbour.T)
            ends[axis, place] = number[reached]
            lengths[axis, place] = np.abs(positions[neighbour[:, axis]] - positions[where[:, axis]])
            cut = ends[axis, place] < 0
            fraction = np.ones(int(np.sum(cut)))
            beyond = level[reached][cut] > slack
            fraction[beyond] = _crossings(domain, nodes[cut][beyond], mesh[reached][cut][beyond])
            lengths[axis, place, cut] *= fraction
            hit = nodes[cut].copy()
            hit[:, axis] += side * lengths[axis, place, cut]
            # Inside, whatever rounding does: data may be declared with a branch that ends at the boundary.
            hit[:, axis] -= side * _INWARDS * domain.size
            meetings.append((axis, place, np.flatnonzero(cut), hit))
            if side > 0:
                near = ~cut & (level[inside] > -lengths[axis, place])
                unresolved += _slits(domain, nodes[near], mesh[reached][near], slack)
    boundary, owner = _merged(np.concatenate([hit for *_, hit in meetings]), slack)
    start = 0
    for axis, place, cut, hit in meetings:
        ends[axis, place, cut] = len(nodes) + owner[start : start + len(hit)]
        start += len(hit)
    return CutGrid(axes, number, nodes, boundary, lengths, ends, unresolved)


def _crossings(domain: AbstractDomain, inside: Array, outside: Array) -> Array:
    """Where segments from inside to outside leave the domain, as fractions of their length."""
    low, high = np.zeros(len(inside)), np.ones(len(inside))
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        within = domain.signed_distance(inside + middle[:, None] * (outside - inside)) < 0
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    # Never zero: a node at the very boundary keeps an arm.
    return np.asarray(np.maximum(high, 2.0**-_BISECTIONS))


def _slits(domain: AbstractDomain, starts: Array, ends: Array, slack: float) -> int:
    """Number of grid lines between two nodes inside that leave the domain in between."""
    outside = np.zeros(len(starts), dtype=bool)
    for share in _PROBES if len(starts) else ():
        outside |= domain.signed_distance(starts + share * (ends - starts)) > slack
    return int(np.sum(outside))


def _merged(points: Array, slack: float) -> tuple[Array, Array]:
    """Return each point once, and the number of the point that stands for each."""
    keys = np.round(points / slack).astype(np.int64)
    _, first, owner = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return points[first], owner.ravel()
