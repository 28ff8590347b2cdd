"""First-order fast sweeping for `|grad T| = s` on a tensor grid, factored about point sources.

Input: a `SweepingGrid`, the slowness at its nodes and a batch of `Start` records, one per source. Output: the factor tau of each, T = T0 tau.

    |T0 grad tau + tau grad T0| = s,      T0 = s(source) |x - source|,   or T0 = 1 where nothing is factored off (T = tau)

T0 takes up the cone at the source, whose curvature costs plain upwinding its first order; tau is smooth there where s is. The upwind (Godunov)
update solves for tau with the lower neighbour along each axis; a solution counts only where it is causal, else the update falls back to fewer
axes, in the end to one with the true upwind sign. All nodes of one hyperplane i + j + k = const are updated together, since none of them is a
neighbour of another, and all sources of a batch with them.

References: Zhao (2005), A fast sweeping method for eikonal equations, Math. Comp. 74; Fomel, Luo & Zhao (2009), Fast sweeping method for the
factored eikonal equation, J. Comput. Phys. 228; Detrixhe, Gibou & Min (2013), J. Comput. Phys. 237 (hyperplanes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import AbstractDomain

Array = NDArray[Any]
Nodes = NDArray[np.float64]
Indices = NDArray[np.intp]

# Stands for "no wave has come yet" in units of the largest possible time: finite, so that no inf - inf arises, and its square still is a number.
UNREACHED = 1e30
# Relative change of T over one round of all orderings at which the sweeps have converged: rounding.
_CONVERGED = 1e-12
_MOST_ROUNDS = 200
# Steps about a starting domain in which times are given: the length of the longest difference.
_BAND = 2


@dataclass(frozen=True)
class SweepingGrid:
    """A tensor grid with one ghost layer, stored flat.

    Attributes:
        axes: equidistant positions per coordinate, (n_k,), physical units.
    """

    axes: tuple[Nodes, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Nodes per axis, without the ghost layer."""
        return tuple(len(axis) for axis in self.axes)

    @property
    def padded_shape(self) -> tuple[int, ...]:
        """Nodes per axis, with the ghost layer."""
        return tuple(n + 2 for n in self.shape)

    @property
    def size(self) -> int:
        """Number of nodes, without the ghost layer."""
        return int(np.prod(self.shape))

    @property
    def steps(self) -> tuple[float, ...]:
        """Distance between neighbours per axis."""
        return tuple(float(axis[-1] - axis[0]) / (len(axis) - 1) for axis in self.axes)

    @property
    def strides(self) -> tuple[int, ...]:
        """Distance of neighbours in the flat padded array."""
        return tuple(int(np.prod(self.padded_shape[k + 1 :])) for k in range(len(self.axes)))

    @cached_property
    def interior(self) -> Indices:
        """Flat padded indices of the true nodes, in C order."""
        numbers = np.arange(int(np.prod(self.padded_shape)), dtype=np.intp).reshape(self.padded_shape)
        return numbers[(slice(1, -1),) * len(self.axes)].ravel()

    def pad(self, values: Array, outside: float) -> Array:
        """(..., *shape) -> (..., flat padded), ghosts filled."""
        lead = values.shape[: values.ndim - len(self.axes)]
        padded = np.full((*lead, int(np.prod(self.padded_shape))), outside)
        padded[..., self.interior] = values.reshape((*lead, -1))
        return padded

    def crop(self, padded: Array) -> Array:
        """(..., flat padded) -> (..., *shape)."""
        return np.asarray(padded[..., self.interior].reshape((*padded.shape[:-1], *self.shape)))

    @cached_property
    def hyperplanes(self) -> tuple[tuple[Indices, ...], ...]:
        """For each of the 2^d orderings the nodes of the planes +-i +-j +-k = const, in the order of the sweep."""
        numbers = self.interior.reshape(self.shape)
        level = np.indices(self.shape).sum(axis=0).ravel()
        order = np.argsort(level, kind="stable")
        ends = np.cumsum(np.bincount(level))[:-1]
        orderings = []
        for flips in product((1, -1), repeat=len(self.shape)):
            flipped = numbers[tuple(slice(None, None, flip) for flip in flips)].ravel()
            orderings.append(tuple(np.split(flipped[order], ends)))
        return tuple(orderings)

    def points(self) -> list[Nodes]:
        """Coordinates of the nodes, one array of `shape` per axis."""
        return list(np.meshgrid(*self.axes, indexing="ij"))


@dataclass(frozen=True)
class Start:
    """Where the waves of one source begin.

    Attributes:
        factor: T0 at the nodes, of the grid's shape.
        slope: grad T0, (d, *shape).
        tau: T / T0 at the pinned nodes; ignored elsewhere.
        pinned: nodes whose value is given.
    """

    factor: Nodes
    slope: Nodes
    tau: Nodes
    pinned: NDArray[np.bool_]


def point_start(grid: SweepingGrid, source: Sequence[float], slowness: Callable[..., Array]) -> Start:
    """Waves from a point, on the grid or off it; T0 is the travel time in a medium that is uniform with the slowness at the source.

    The nodes within one step of the source are pinned to the travel time along the straight ray, whose relative error is
    (r |grad s| / s)^2 / 24 (Fermat: the first variation of the path vanishes).

    Args:
        grid: the grid.
        source: position.
        slowness: function of the coordinate arrays.
    """
    offsets = [points - at for points, at in zip(grid.points(), source, strict=True)]
    distance = np.sqrt(sum(offset**2 for offset in offsets))
    at_source = float(slowness(*[np.asarray(at) for at in source]))
    # The direction at the source itself does not matter: it is pinned.
    slope = at_source * np.stack([offset / np.where(distance > 0, distance, 1.0) for offset in offsets])
    pinned = np.ones(grid.shape, dtype=bool)
    for offset, step in zip(offsets, grid.steps, strict=True):
        pinned &= np.abs(offset) <= step * (1 + 1e-9)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    near = [offset[pinned] for offset in offsets]
    along = [at + 0.5 * (nodes + 1)[:, None] * offset for at, offset in zip(source, near, strict=True)]
    tau = np.ones(grid.shape)
    tau[pinned] = 0.5 * weights @ slowness(*along) / at_source
    tau[distance == 0] = 1.0
    return Start(at_source * distance, slope, tau, pinned)


def plain_start(grid: SweepingGrid, values: Nodes, pinned: NDArray[np.bool_]) -> Start:
    """Waves from nodes with given times; nothing is factored off."""
    return Start(np.ones(grid.shape), np.zeros((len(grid.axes), *grid.shape)), values, pinned)


def region_start(grid: SweepingGrid, region: AbstractDomain, time: float, slowness: Callable[..., Array], columns: Sequence[int]) -> Start:
    """Waves from a domain inside the box.

    Nodes outside within two steps are pinned to the time along the straight ray from the nearest point of the boundary, by the midpoint rule, so
    that no difference reaches into the domain. The distance is exact for balls, boxes and polygons, a lower bound at corners of set operations.

    Args:
        grid: the grid.
        region: the domain.
        time: T inside.
        slowness: function of the coordinate arrays.
        columns: place of every coordinate of the grid among those of the region.

    Raises:
        ReferenceSolverError: no node lies inside.
    """
    order = np.argsort(columns)

    def distance(points: Sequence[Nodes]) -> Nodes:
        return np.asarray(region.signed_distance(np.stack([p.ravel() for p in points], axis=-1)[:, order])).reshape(points[0].shape)

    points = grid.points()
    away = distance(points)
    if not np.any(away <= 0):
        raise ReferenceSolverError(f"{region} lies between the nodes of a grid of {grid.shape} nodes; it is too small to start waves from")
    pinned = away <= _BAND * max(grid.steps) * (1 + 1e-9)
    band = pinned & (away > 0)
    near, width = [p[band] for p in points], 1e-5 * min(grid.steps)
    shifts = width * np.eye(len(near))
    normals = [(distance([p + d for p, d in zip(near, shift, strict=True)]) - away[band]) / width for shift in shifts]
    middle = [p - 0.5 * away[band] * normal for p, normal in zip(near, normals, strict=True)]
    values = np.full(grid.shape, time)
    values[band] += away[band] * slowness(*middle)
    return plain_start(grid, values, pinned)


def sweep(grid: SweepingGrid, slowness: Nodes, starts: Sequence[Start], tolerance: float = 0.0) -> tuple[Nodes, int]:
    """First-order travel-time factors of a batch of sources.

    Args:
        grid: the grid.
        slowness: s at the nodes, of the grid's shape, positive.
        starts: one per source.
        tolerance: relative change of T over one round at which to stop; rounding at least.

    Returns:
        tau, (n_sources, *shape), and the number of rounds of 2^d sweeps.

    Raises:
        ReferenceSolverError: the sweeps do not settle.
    """
    factor = grid.pad(np.stack([start.factor for start in starts]), 1.0)
    slope = grid.pad(np.stack([start.slope for start in starts]), 0.0)
    pinned = grid.pad(np.stack([start.pinned for start in starts]), 1.0) > 0
    s = grid.pad(slowness, 1.0)
    tau = np.full(factor.shape, UNREACHED)
    given = np.stack([start.tau for start in starts])
    chosen = np.stack([start.pinned for start in starts])
    tau[:, grid.interior] = np.where(chosen, given, UNREACHED).reshape(len(starts), -1)
    update = _Update(grid, factor, slope, s, pinned)
    for rounds in range(1, _MOST_ROUNDS + 1):
        before = tau.copy()
        for planes in grid.hyperplanes:
            for plane in planes:
                update(tau, plane)
        time = factor * tau
        change = np.abs(factor * before - time)[:, grid.interior]
        if np.all(change <= max(tolerance, _CONVERGED) * np.max(np.abs(time[:, grid.interior]), axis=1, keepdims=True)):
            return grid.crop(tau), rounds
    raise ReferenceSolverError(
        f"the sweeps still change after {_MOST_ROUNDS} rounds; the slowness ranges over {slowness.min():.3g} ... {slowness.max():.3g}: "
        "check its smallest and largest values"
    )


@dataclass(frozen=True)
class _Update:
    """The upwind update of one hyperplane, in place; arrays are flat and padded, sources first."""

    grid: SweepingGrid
    factor: Nodes
    slope: Nodes
    slowness: Nodes
    pinned: NDArray[np.bool_]

    def __call__(self, tau: Nodes, plane: Indices) -> None:
        """Lower tau on the plane to what its neighbours send, where that is lower."""
        factor, slowness = self.factor[:, plane], self.slowness[plane]
        rows = [self._upwind(tau, plane, axis, factor) for axis in range(len(self.grid.axes))]
        best = np.full(factor.shape, UNREACHED)
        for count in range(1, len(rows) + 1):
            for chosen in combinations(rows, count):
                np.minimum(best, _causal_root(chosen, slowness), out=best)
        old = tau[:, plane]
        tau[:, plane] = np.where(self.pinned[:, plane], old, np.minimum(old, best))

    def _upwind(self, tau: Nodes, plane: Indices, axis: int, factor: Nodes) -> tuple[Nodes, Nodes, Nodes]:
        """(alpha, beta, sign) of dT/dx = alpha tau - beta, with the neighbour from which T is lower; sign +1 where that is the left one."""
        stride, step = self.grid.strides[axis], self.grid.steps[axis]
        left, right = plane - stride, plane + stride
        tau_left, tau_right = tau[:, left], tau[:, right]
        sign = np.where(self.factor[:, right] * tau_right < self.factor[:, left] * tau_left, -1.0, 1.0)
        weight = sign * factor / step
        return weight + self.slope[:, axis, plane], weight * np.where(sign > 0, tau_left, tau_right), sign


def _causal_root(rows: Sequence[tuple[Nodes, Nodes, Nodes]], slowness: Nodes) -> Nodes:
    """Larger root tau of sum_k (alpha_k tau - beta_k)^2 = s^2 where every component points away from its neighbour, else UNREACHED.

    The discriminant is written as A s^2 - sum_{k<l} (alpha_k beta_l - alpha_l beta_k)^2 (Lagrange's identity): without cancellation, and
    negative as soon as one neighbour is not reached.
    """
    if len(rows) == 1:
        alpha, beta, sign = rows[0]
        # sign alpha is T0/h + |d T0/dx| or T0/h - |d T0/dx|; it vanishes only one step from the source, where nodes are pinned.
        usable = sign * alpha > 0
        return np.where(usable, (beta + sign * slowness) / np.where(usable, alpha, 1.0), UNREACHED)
    a = sum(alpha**2 for alpha, _, _ in rows)
    b = sum(alpha * beta for alpha, beta, _ in rows)
    cross = sum((p[0] * q[1] - q[0] * p[1]) ** 2 for p, q in combinations(rows, 2))
    discriminant = a * slowness**2 - cross
    valid = (discriminant >= 0) & (a > 0)
    root = (b + np.sqrt(np.where(valid, discriminant, 0.0))) / np.where(a > 0, a, 1.0)
    for alpha, beta, sign in rows:
        valid &= sign * (alpha * root - beta) >= 0
    return np.where(valid, root, UNREACHED)
