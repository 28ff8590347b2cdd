"""Points with their signed distances from an oriented cloud: what the fit learns from, and what it is checked with.

Input: a cloud and a box. Output: `Labels`: evenly in the box, along normals where the distance is the offset, on the surface; and how well they are
known, from what half of the points say.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinnsiren.language.domains import AbstractDomain, PointCloud

Array = NDArray[np.float64]

NEAREST = 0.02  # of the spacing: how much nearer than the foot of its normal another piece of the surface may seem, by errors of its patches
ALONG = 0.5  # labels along normals for each even one
ON = 1 / 3  # labels on the surface for each even one
PER_POINT = 4  # labels along the normal of one point at most
N_KNOWN = 2000
CLEAR = 5.0  # spacings from the surface beyond which the sum over its points is a winding number
UNSETTLED = 0.4  # distance of the winding number from 0 outside and 1 inside: at a half, both sides are as likely


@dataclass(frozen=True)
class Labels:
    """Points with their signed distances.

    Attributes:
        points: (n, n_coordinates).
        values: (n,).
        on_surface: (n,), which are points of the cloud.
        along: (n,), which lie on normals of the cloud.
    """

    points: Array
    values: Array
    on_surface: NDArray[np.bool_]
    along: NDArray[np.bool_]


def draw_labels(cloud: PointCloud, box: Array, n_even: int, band: float, chance: np.random.Generator) -> Labels:
    """Draw labels in a box (n_coordinates, 2); offsets along normals are normal, of standard deviation `band`."""
    even = box[:, 0] + (box[:, 1] - box[:, 0]) * chance.uniform(size=(n_even, len(box)))
    inside = np.flatnonzero(np.all((cloud.points >= box[:, 0]) & (cloud.points <= box[:, 1]), axis=1))
    moved, offset, feet = even[:0], np.empty(0), inside
    if len(inside):
        again = chance.choice(inside, min(int(ALONG * n_even), PER_POINT * len(inside)))
        offset = chance.normal(0, band, len(again))
        moved = cloud.points[again] + offset[:, None] * cloud.normals[again]
        kept = np.all((moved >= box[:, 0]) & (moved <= box[:, 1]), axis=1)
        moved, offset = moved[kept], offset[kept]
        feet = chance.choice(inside, min(int(ON * n_even), len(inside)), replace=False)
    distances = cloud.signed_distance(np.concatenate([even, moved]))
    known, beside = distances[:n_even], distances[n_even:]
    # Beyond the medial axis another piece of the surface is nearer than the foot of the normal.
    first = (np.abs(beside) >= np.abs(offset) - NEAREST * cloud.spacing) & (beside * offset >= 0)
    counts = (n_even, int(np.sum(first)), len(feet))
    return Labels(
        np.concatenate([even, moved[first], cloud.points[feet]]),
        np.concatenate([known, offset[first], np.zeros(len(feet))]),
        np.repeat([False, False, True], counts),
        np.repeat([False, True, False], counts),
    )


def label_error(cloud: PointCloud, domain: AbstractDomain, seed: int) -> float:
    """Return the root mean square error of the labels over the domain, relative to theirs: how far those of half of the points are off.

    Labels improve with the number of points, so that the difference is an upper bound unless both halves err alike. Where the surface, seen as a
    whole, does not say the same side as the nearest points (it has a hole, or normals of both orientations), the sign counts as unknown.
    """
    order = np.random.default_rng(seed).permutation(len(cloud.points))
    if len(order) < 4:
        return 0.0
    half = PointCloud(cloud.coordinates, cloud.points[order[::2]], cloud.normals[order[::2]])
    points = domain.sample_interior(N_KNOWN, seed)
    full = cloud.signed_distance(points)
    error = np.linalg.norm(half.signed_distance(points) - full)
    if len(cloud.coordinates) > 1:
        clear = np.abs(full) > CLEAR * cloud.spacing
        unsettled = np.abs(cloud.winding_number(points[clear]) - (full[clear] < 0)) > UNSETTLED
        error = np.hypot(error, np.linalg.norm(2 * full[clear][unsettled]))
    return float(error / max(np.linalg.norm(full), np.finfo(float).tiny))
