"""Second differences along one axis of a grid, and what they do at its two ends.

Inside, the centred weights of order 2, 4 or 8; at the ends a small block of corrections. Every operator is `-H^-1 M` with H diagonal and positive
(`LineOperator.weights`), M symmetric and not negative. So `c^2` times it has a real spectrum that is not positive for any speed map: the leapfrog
scheme is stable up to its CFL limit, conserves energy, and is reciprocal.

| end | meaning | how |
|---|---|---|
| `open` | u = 0 beyond the last node (behind an absorbing layer) | weights cut off |
| `odd` | u = 0 at the last node: free surface, homogeneous Dirichlet wall | negative image |
| `even` | du/dn = 0 at the last node | positive image |
| `pinned` | u given at the last node | closure of Mattsson and Nordström, orders 2 and 4 |
| `flux` | du/dn given at the last node | closure of Mattsson and Nordström, orders 2 and 4 |

Images keep the order where speed and solution continue smoothly as even or odd functions; the closures (third order at the wall, fourth
globally) need no such symmetry. Reference: Mattsson and Nordström (2004), J. Comput. Phys. 199, 503-540, appendix C.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError

from ..stencils import finite_difference_weights

Array = NDArray[Any]

ENDS = ("open", "odd", "even", "pinned", "flux")
ORDERS = (2, 4, 8)
_IMAGE_SIGN = {"odd": -1.0, "even": 1.0}

# Mattsson and Nordström (2004), order 4 inside: quadrature weights and rows at the first nodes, in units of h and 1/h^2.
_CLOSURE_WEIGHTS = np.array([17 / 48, 59 / 48, 43 / 48, 49 / 48])
_CLOSURE_ROWS = np.array(
    [
        [2, -5, 4, -1, 0, 0],
        [1, -2, 1, 0, 0, 0],
        [-4 / 43, 59 / 43, -110 / 43, 59 / 43, -4 / 43, 0],
        [-1 / 49, 0, 59 / 49, -118 / 49, 64 / 49, -4 / 49],
    ]
)
# Third-order first derivative at the wall, pointing inwards.
_WALL_SLOPE = np.array([-11 / 6, 3, -3 / 2, 1 / 3])


@lru_cache(maxsize=8)
def second_difference(order: int) -> tuple[float, ...]:
    """Weights at distances 0, 1, ..., order/2, in units of 1/h^2.

    Example:
        >>> second_difference(2)
        (-2.0, 1.0)
    """
    return _centred(order, 2)


@lru_cache(maxsize=8)
def first_difference(order: int) -> tuple[float, ...]:
    """Weights at distances 0, 1, ..., order/2 ahead (negative behind), in units of 1/h."""
    return _centred(order, 1)


def _centred(order: int, derivative: int) -> tuple[float, ...]:
    if order not in ORDERS:
        raise ReferenceSolverError(f"differences in space were asked for order {order}; known are {', '.join(map(str, ORDERS))}")
    reach = order // 2
    weights = finite_difference_weights(0.0, np.arange(-reach, reach + 1, dtype=float), derivative)
    return tuple(float(w) for w in weights[reach:])


@dataclass(frozen=True)
class LineOperator:
    """Second difference along one axis.

    Attributes:
        n_nodes: along the axis.
        h: step.
        order: 2, 4 or 8.
        ends: names of the two ends, see the table above.
    """

    n_nodes: int
    h: float
    order: int
    ends: tuple[str, str]

    def __post_init__(self) -> None:
        second_difference(self.order)
        for end in self.ends:
            if end not in ENDS:
                raise ReferenceSolverError(f"an end of an axis was given as `{end}`; known are {', '.join(ENDS)}")
            if self.order == 8 and end in ("pinned", "flux"):
                raise ReferenceSolverError(f"the end `{end}` has closures of order 2 and 4 only, not 8; use order 4, or an image (`odd`, `even`)")
        fewest = 2 * max(self.order, 4) + 1
        if self.n_nodes < fewest:
            raise ReferenceSolverError(f"{self.n_nodes} nodes along an axis are too few for differences of order {self.order}; use {fewest} or more")

    @property
    def reach(self) -> int:
        """Cells to the farthest neighbour."""
        return self.order // 2

    @cached_property
    def stencil(self) -> Array:
        """Centred weights at distances 0, 1, ..., reach, in 1/length^2."""
        return np.array(second_difference(self.order)) / self.h**2

    @cached_property
    def corrections(self) -> tuple[Array, Array]:
        """What the first rows and the last rows (mirrored) need beside the weights cut off at the end; shape (rows, columns) each."""
        before, behind = (_corner(self.order, end) / self.h**2 for end in self.ends)
        return before, behind

    @cached_property
    def weights(self) -> Array:
        """Diagonal of H: the length that every node stands for, (n_nodes,)."""
        result = np.full(self.n_nodes, self.h)
        for end, view in zip(self.ends, (result, result[::-1]), strict=True):
            if end == "even" or (end == "flux" and self.order == 2):
                view[0] *= 0.5
            elif end in ("flux", "pinned") and self.order == 4:
                view[: len(_CLOSURE_WEIGHTS)] *= _CLOSURE_WEIGHTS
        return result

    def wall_gain(self, side: int) -> float:
        """What one unit of the given outward slope adds to the second difference at the wall node."""
        return 1.0 / float(self.weights[0 if side < 0 else -1])

    def matrix(self) -> Array:
        """The operator as a dense matrix, (n_nodes, n_nodes); rows of pinned nodes vanish. For tests and spectra."""
        total = np.zeros((self.n_nodes, self.n_nodes))
        apply_along(self, np.eye(self.n_nodes), total, 0)
        for end, place in zip(self.ends, (0, -1), strict=True):
            if end in ("odd", "pinned"):
                total[place] = 0
        return total


def _corner(order: int, end: str) -> Array:
    """Corrections in units of 1/h^2 at the first nodes."""
    if end == "open":
        return np.zeros((0, 0))
    if order != 4 or end in _IMAGE_SIGN:
        sign = _IMAGE_SIGN.get(end, -1.0 if end == "pinned" else 1.0)
        return _image_corner(order, sign)
    return _closure_corner(end)


def _image_corner(order: int, sign: float) -> Array:
    """The weight that falls on the ghost node -b belongs to node b."""
    weights, reach = second_difference(order), order // 2
    corner = np.zeros((reach, reach + 1))
    for row in range(reach):
        for distance in range(row + 1, reach + 1):
            corner[row, distance - row] += sign * weights[distance]
    return corner


def _closure_corner(end: str) -> Array:
    rows = _CLOSURE_ROWS.copy()
    if end == "flux":
        # The slope of the closure is exchanged for the given one, see `wall_gain`.
        rows[0, : len(_WALL_SLOPE)] += _WALL_SLOPE / _CLOSURE_WEIGHTS[0]
    weights = second_difference(4)
    for row in range(rows.shape[0]):
        for column in range(rows.shape[1]):
            distance = abs(row - column)
            if distance < len(weights):
                rows[row, column] -= weights[distance]
    return rows


def apply_along(line: LineOperator, u: Array, out: Array, axis: int, scratch: Array | None = None) -> None:
    """Add the second difference of `u` along `axis` to `out`, in place.

    Args:
        line: the operator.
        u: field; along `axis` it has `line.n_nodes` nodes.
        out: same shape.
        axis: number of the axis.
        scratch: same shape, overwritten; allocated when not given.
    """
    moved, target = np.moveaxis(u, axis, 0), np.moveaxis(out, axis, 0)
    weights = line.stencil
    scratch = np.empty_like(moved) if scratch is None else np.moveaxis(scratch, axis, 0)
    np.multiply(moved, weights[0], out=scratch)
    target += scratch
    for distance in range(1, line.reach + 1):
        np.multiply(moved, weights[distance], out=scratch)
        target[distance:] += scratch[:-distance]
        target[:-distance] += scratch[distance:]
    add_corrections(line, moved, target)


def add_corrections(line: LineOperator, moved: Array, target: Array) -> None:
    """Add the corrections at both ends along the first axis, in place."""
    for corner, source, result in zip(line.corrections, (moved, moved[::-1]), (target, target[::-1]), strict=True):
        rows, columns = corner.shape
        if rows:
            result[:rows] += np.tensordot(corner, source[:columns], axes=(1, 0))


@lru_cache(maxsize=64)
def spectral_radius(order: int, ends: tuple[str, str]) -> float:
    """Largest eigenvalue of minus the second difference, in units of 1/h^2.

    4 (order 2), 16/3 (order 4) and 6.50 (order 8) inside; closures may add a little, which a line of 48 nodes shows.
    """
    line = LineOperator(48, 1.0, order, ends)
    keep = slice(int(ends[0] in ("odd", "pinned")), 48 - int(ends[1] in ("odd", "pinned")))
    matrix, weights = line.matrix()[keep, keep], np.sqrt(line.weights[keep])
    symmetric = -(weights[:, None] * matrix / weights[None, :])
    inside = sum(abs(w) * (1 if distance == 0 else 2) for distance, w in enumerate(second_difference(order)))
    return max(float(np.linalg.eigvalsh(0.5 * (symmetric + symmetric.T))[-1]), float(inside))
