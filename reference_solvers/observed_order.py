"""Error of a grid solution from its differences to coarser ones.

Input: solutions on successive grids. Output: their relative L2 differences, and the estimate for the finest. For an error C h^p the difference of the
grids h and r h is (r^p - 1) times the error of the finer; p is taken from the differences themselves, and cautiously.
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
        return JUMP_SAFETY * differences[-1] / (ratio - 1)
    if len(differences) < 2:
        power = UNSEEN_ORDER
    else:
        observed = np.log(max(differences[-2], 1e-300) / max(differences[-1], 1e-300)) / np.log(ratio)
        power = float(np.clip(observed - ORDER_MARGIN, 1.0, max(order - 1, UNSEEN_ORDER)))
    return float(differences[-1] / (ratio**power - 1))


def relative_difference(coarse: FieldOnGrid, fine: FieldOnGrid) -> tuple[float, float]:
    """Relative L2 difference on the nodes of the coarse grid, and the smallest ratio of the steps among the axes."""
    points = np.meshgrid(*coarse.axes, indexing="ij")
    bare = replace(fine, background=(None,) * len(fine.background))
    difference = coarse.smooth - bare(*points)
    total = coarse.values
    weights = np.ones(points[0].shape)
    for axis, nodes in enumerate(coarse.axes):
        shape = [1] * len(coarse.axes)
        shape[axis] = -1
        weights = weights * np.gradient(nodes).reshape(shape)
    size = np.sqrt(np.sum(weights * np.abs(total) ** 2))
    ratio = min((len(f) - 1) / (len(c) - 1) for f, c in zip(fine.axes, coarse.axes, strict=True))
    return float(np.sqrt(np.sum(weights * np.abs(difference) ** 2)) / max(size, 1e-300)), float(ratio)
