"""Error of a grid solution from its differences to coarser ones.

Input: solutions on successive grids. Output: their relative L2 differences, and the estimate for the finest. For an error C h^p the difference of the
grids h and r h is (r^p - 1) times the error of the finer; p is taken from the differences themselves, and cautiously. Where the grids do not approach
each other, no estimate holds: solutions that grow exponentially differ by all of themselves, however large the error is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .protocol import FieldOnGrid

# Where a coefficient jumps the error depends on where grid lines meet the interface: 30 % either way between two grids.
JUMP_SAFETY = 1.3
# What is taken off the observed order: two differences show it within half an order once a solution is resolved.
ORDER_MARGIN = 0.5
# With two grids only, no order is seen; smooth coefficients give 2 at least, kinks in the data included.
UNSEEN_ORDER = 2.0
# Grids that differ by more than this share of the solution say nothing of its error.
_APART = 0.5
# Nor do those whose differences hardly fall, unless they are small: from 0.5, the order beside the end of a slit, the sum of all further differences
# is six times the last one.
_HARDLY, _SMALL = 0.5, 0.03
# Where two grids are compared, in parts of a cell: off the nodes, so that the error of the splines between them counts; off the middle, by symmetry.
_BETWEEN = 0.5 * (np.sqrt(5) - 1)


def estimate_by_observed_order(differences: Sequence[float], ratio: float, order: int, jumps: bool) -> float:
    """Relative error of the finest grid.

    Args:
        differences: of each grid and the next finer one, coarsest first.
        ratio: of the steps of the two finest grids.
        order: of the scheme on smooth problems.
        jumps: whether a coefficient jumps; the order is then taken as one.

    Example:
        >>> round(estimate_by_observed_order([4e-4 * 1.4**4, 4e-4], 1.4, 4, False), 6)
        0.000229
    """
    if jumps:
        return where_grids_approach(JUMP_SAFETY * differences[-1] / (ratio - 1), differences[-1])
    if len(differences) < 2:
        power = UNSEEN_ORDER
    else:
        observed = np.log(max(differences[-2], 1e-300) / max(differences[-1], 1e-300)) / np.log(ratio)
        power = float(np.clip(observed - ORDER_MARGIN, 1.0, max(order - 1, UNSEEN_ORDER)))
        return where_grids_approach(float(differences[-1] / (ratio**power - 1)), differences[-1], float(observed))
    return where_grids_approach(float(differences[-1] / (ratio**power - 1)), differences[-1])


def where_grids_approach(estimate: float, difference: float, observed: float = np.inf) -> float:
    """The estimate, or infinity where two grids are so far apart, or come closer so slowly, that nothing follows from their difference.

    Args:
        estimate: relative error as the differences suggest it.
        difference: relative difference of the two finest grids.
        observed: order that the last two differences show.

    Example:
        >>> where_grids_approach(0.4, 0.9), where_grids_approach(1e-3, 1e-3, 0.1)
        (inf, 0.001)
    """
    apart = not difference < _APART or (difference > _SMALL and observed < _HARDLY)
    return float(np.inf) if apart else estimate


def relative_difference(coarse: FieldOnGrid, fine: FieldOnGrid, *, free: bool = False, kinks: bool = False) -> tuple[float, float]:
    """Relative L2 difference at one point of every cell of the coarse grid, and the smallest ratio of the steps among the axes.

    Args:
        coarse: on the coarser grid.
        fine: on the next finer one.
        free: whether a constant may be added to either.
        kinks: compare at the nodes, beside kinks splines ring more on the coarser grid than the finer one has errors.
    """
    inner = [nodes if kinks else nodes[:-1] + _BETWEEN * np.diff(nodes) for nodes in coarse.axes]
    points = np.meshgrid(*inner, indexing="ij")
    bare, rough = (replace(field, background=(None,) * len(field.background)) for field in (fine, coarse))
    difference = rough(*points) - bare(*points)
    weights = np.ones(points[0].shape)
    for axis, nodes in enumerate(coarse.axes):
        shape = [1] * len(coarse.axes)
        shape[axis] = -1
        weights = weights * (np.gradient(nodes) if kinks else np.diff(nodes)).reshape(shape)
    weights = weights / np.sum(weights)
    if free:
        space = tuple(range(-len(inner), 0))
        difference = difference - np.sum(weights * difference, axis=space, keepdims=True)
    size = np.sqrt(np.sum(weights * np.abs(coarse(*points)) ** 2))
    ratio = min((len(f) - 1) / (len(c) - 1) for f, c in zip(fine.axes, coarse.axes, strict=True))
    return float(np.sqrt(np.sum(weights * np.abs(difference) ** 2)) / max(size, 1e-300)), float(ratio)
