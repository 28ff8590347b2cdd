"""Second-order travel times: Newton on upwind stencils that are frozen where the first-order solution points.

Input: first-order factors tau of `sweeping`. Output: tau of higher order, T = T0 tau with `|T0 grad tau + tau grad T0| = s`.

Every difference looks back along the direction from which the wave came, to nodes that it has passed before. Sorted by T the Jacobian is
therefore triangular, and a Newton step costs one substitution. A node uses fewer points where the longer stencil would look

- across the boundary or past the source (the wave there goes the other way),
- across a kink, seen by a correction of the slope that is no longer small against s.

Errors made at kinks stay there, since rays end in them. First-order differences beside a point source cost no order either: the factored equation
weights them by r, and what they leave decays along the ray.

Reference: Luo, Qian & Burridge (2014), High-order factorization based high-order hybrid fast sweeping methods for point-source eikonal
equations, SIAM J. Numer. Anal. 52 (smoothness of tau at the source); Sethian (1999), SIAM Rev. 41 (second-order upwinding by causality).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import spsolve_triangular

from .sweeping import Indices, Nodes, Start, SweepingGrid

Array = NDArray[Any]
Flags = NDArray[np.bool_]

# One-sided first derivative of order 0, 1, 2: weights of the node and of those behind it, per step.
BACKWARD = np.array([[0.0, 0.0, 0.0], [1.0, -1.0, 0.0], [1.5, -2.0, 0.5]])
# A longer stencil may change a component of grad T by this part of s: on smooth solutions the change is of order h, at a kink of order one.
_LARGEST_CORRECTION = 0.25
_CONVERGED = 1e-12
_MOST_NEWTON_STEPS = 40
# Stencils are chosen again with the corrected T; at kinks they may flicker, where it does not matter.
_PASSES = 3
# A component of grad T below this part of s adds less than 1e-16 to |grad T|^2 and would make the Jacobian singular.
_SMALLEST = 1e-8


@dataclass(frozen=True)
class Stencils:
    """Frozen upwind differences of the nodes that are solved for.

    Attributes:
        rows: their flat numbers, by increasing T.
        sign: (d, n_rows), +1 where the wave comes from the left.
        length: (d, n_rows), order of the difference, 0 where no neighbour stands on that side.
    """

    rows: Indices
    sign: NDArray[np.int64]
    length: NDArray[np.int64]


def second_order(grid: SweepingGrid, slowness: Nodes, start: Start, tau: Nodes) -> tuple[Nodes, float] | None:
    """Raise one source's factor to second order.

    Args:
        grid: the grid.
        slowness: s at the nodes.
        start: the source.
        tau: first-order factor, of the grid's shape.

    Returns:
        The new factor and the share of components that keep a shorter stencil; None where Newton fails, so that the caller keeps first order.
    """
    values = tau.ravel().copy()
    stencils: Stencils | None = None
    for _ in range(_PASSES):
        chosen = choose_stencils(grid, slowness, start, values)
        if stencils is not None and np.array_equal(chosen.rows, stencils.rows) and np.array_equal(chosen.length, stencils.length):
            break
        stencils = chosen
        solved = _newton(grid, slowness, start, values, stencils)
        if solved is None:
            return None
        values = solved
    assert stencils is not None
    used = stencils.length[stencils.length > 0]
    return values.reshape(grid.shape), float(np.mean(used < 2)) if used.size else 0.0


def choose_stencils(grid: SweepingGrid, slowness: Nodes, start: Start, tau: Nodes) -> Stencils:
    """Directions and lengths from the current T.

    Where both neighbours are later (a valley: the rays run across this axis) the component is small but, beside a source, not negligible: its
    side follows from the sign of the slope itself, and two points suffice, since their error is multiplied by the component.
    """
    time = start.factor.ravel() * tau
    free = np.flatnonzero(~start.pinned.ravel())
    rows = free[np.argsort(time[free], kind="stable")]
    factor, s = start.factor.ravel()[rows], slowness.ravel()[rows]
    places = np.unravel_index(rows, grid.shape)
    signs, lengths = [], []
    for axis, step in enumerate(grid.steps):
        stride, last, place = _stride(grid, axis), grid.shape[axis] - 1, places[axis]
        left = np.where(place > 0, time[rows - stride * (place > 0)], np.inf)
        right = np.where(place < last, time[rows + stride * (place < last)], np.inf)
        valley = np.minimum(left, right) >= time[rows]
        inward = _central_slope(grid, start, tau, rows, axis, place) < 0
        sign = np.where(valley, np.where(inward, -1, 1), np.where(right < left, -1, 1))
        room = np.where(sign > 0, place, last - place)
        near, far = (rows - sign * stride * reach * (room >= reach) for reach in (1, 2))
        change = (BACKWARD[2] - BACKWARD[1]) @ np.stack([tau[rows], tau[near], tau[far]])
        small = np.abs(factor * change / step) < _LARGEST_CORRECTION * s
        longer = (room >= 2) & ~valley & (time[far] < time[near]) & small
        signs.append(sign)
        lengths.append((room >= 1).astype(np.int64) + longer)
    return Stencils(rows, np.stack(signs), np.stack(lengths))


def _central_slope(grid: SweepingGrid, start: Start, tau: Nodes, rows: Indices, axis: int, place: Indices) -> Nodes:
    """dT/dx along one axis by central differences of tau, one-sided at faces."""
    stride, last = _stride(grid, axis), grid.shape[axis] - 1
    ahead, back = (place < last).astype(np.intp), (place > 0).astype(np.intp)
    change = tau[rows + stride * ahead] - tau[rows - stride * back]
    slope = change / ((ahead + back) * grid.steps[axis])
    return np.asarray(start.factor.ravel()[rows] * slope + tau[rows] * start.slope[axis].ravel()[rows])


def _stride(grid: SweepingGrid, axis: int) -> int:
    return int(np.prod(grid.shape[axis + 1 :]))


def _newton(grid: SweepingGrid, slowness: Nodes, start: Start, tau: Nodes, stencils: Stencils) -> Nodes | None:
    """Solve sum_k max(p_k, 0)^2 = s^2 with p_k = sign (T0 D_k tau + tau dT0/dx_k); the equations are convex in the step from below."""
    rows, n = stencils.rows, len(stencils.rows)
    number = np.full(grid.size, -1, dtype=np.intp)
    number[rows] = np.arange(n)
    factor, s = start.factor.ravel()[rows], slowness.ravel()[rows]
    differences = [_difference(grid, start, stencils, axis, factor) for axis in range(len(grid.axes))]
    # Columns of pinned nodes do not move.
    restricted = [matrix[:, rows] for matrix in differences]
    values = tau.copy()
    for _ in range(_MOST_NEWTON_STEPS):
        components = [np.maximum(matrix @ values, 0.0) for matrix in differences]
        residual = sum(p**2 for p in components) - s**2
        jacobian = sum(sparse.diags_array(2 * np.maximum(p, _SMALLEST * s)) @ matrix for p, matrix in zip(components, restricted, strict=True))
        step = spsolve_triangular(sparse.tril(jacobian, format="csr"), -residual, lower=True)
        values[rows] += step
        if not np.all(np.isfinite(values)):
            return None
        if np.max(np.abs(step * factor)) <= _CONVERGED * np.max(np.abs(start.factor.ravel() * values)):
            return values
    return None


def _difference(grid: SweepingGrid, start: Start, stencils: Stencils, axis: int, factor: Nodes) -> Any:
    """Sparse (n_rows, n_nodes): tau -> sign dT/dx along one axis; empty rows where no neighbour stands on that side."""
    rows, sign, length = stencils.rows, stencils.sign[axis], stencils.length[axis]
    stride, step = _stride(grid, axis), grid.steps[axis]
    entries, lines, columns = [], [], []
    line = np.arange(len(rows))
    for reach in range(int(length.max(initial=0)) + 1):
        weight = BACKWARD[length, reach] * factor / step
        if reach == 0:
            weight = weight + np.where(length > 0, sign * start.slope[axis].ravel()[rows], 0.0)
        used = length >= max(reach, 1)
        entries.append(weight[used])
        lines.append(line[used])
        columns.append((rows - sign * stride * reach)[used])
    parts = (np.concatenate(entries), (np.concatenate(lines), np.concatenate(columns)))
    return sparse.csr_array(parts, shape=(len(rows), grid.size))
