"""The surface near each point of an oriented cloud: a height over the tangent plane, of second order, fitted to the neighbours.

Input: points and normals. Output: `LocalSurface`, distances from these patches, accurate to the third power of the spacing
where the surface is smooth.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from pinnsiren.language.domains.base import Array

NEIGHBOURS = {1: 1, 2: 6, 3: 12}  # to fit: about twice as many heights and slopes as a quadratic has coefficients
CANDIDATES = 6  # patches asked for the distance
SMOOTH = 0.8  # cosine between neighbouring normals below which they belong to two sides of an edge
RIDGE = 1e-8  # relative to the squared radius of a patch: a point without neighbours of its side keeps its tangent plane
REACH = 0.75  # of the distance of the farthest neighbour: how far a patch is believed
BESIDE_EDGE = 0.5  # of the distance of the nearest neighbour on the other side of an edge
STEPS = 5  # of Newton's method for the foot of a point
SQUARE = 0.9  # cosine to a normal above which the side of the surface is beyond doubt
CLEAR = 1.0  # of the reach of a patch: closer to the surface the sum over its points is no longer a winding number
PAIRS_AT_ONCE = 4_000_000
CONVEX = 0.2  # smallest eigenvalue of the Hessian of half the squared distance; below, the point is near a focus of the patch


class LocalSurface:
    """Patches h(s) = g . s + s . H s / 2 over the tangent plane of every point.

    Attributes:
        tangents: (n_points, n_coordinates - 1, n_coordinates), orthonormal, orthogonal to the normals.
        slopes: (n_points, n_coordinates - 1), g: zero but for errors of the normal.
        curvatures: (n_points, n_coordinates - 1, n_coordinates - 1), H.
        radii: (n_points,), how far each patch is believed.
        shares: (n_points,), length or area that each point stands for.
    """

    def __init__(self, points: Array, normals: Array, tree: KDTree) -> None:
        self.points, self.normals, self.tree = points, normals, tree
        dimension = points.shape[1]
        self.tangents = tangent_frames(normals)
        count = min(NEIGHBOURS[dimension] + 1, len(points))
        distances, nearest = (np.asarray(part).reshape(len(points), -1) for part in tree.query(points, count))
        # Beside an edge a patch ends before it.
        across = np.einsum("nki,ni->nk", normals[nearest], normals) <= SMOOTH
        edge = np.min(np.where(across, distances, np.inf), axis=1)
        self.radii = np.maximum(np.minimum(REACH * distances[:, -1], BESIDE_EDGE * edge), np.finfo(float).tiny)
        spread = 2 * distances[:, -1] if dimension == 2 else np.pi * distances[:, -1] ** 2
        self.shares = spread / max(count - 1, 1)
        self.slopes, self.curvatures = _fit_heights(points, normals, self.tangents, nearest[:, 1:], distances[:, -1])

    def distance(self, positions: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Return signed distances of positions (n, n_coordinates) from the nearest of the patches around the nearest points.

        With them, where the sign is in doubt and `winding_number` knows better: beside edges, but not close to the surface.
        """
        count = min(CANDIDATES, len(self.points))
        nearest = np.asarray(self.tree.query(positions, count)[1]).reshape(len(positions), count)
        offset = positions[:, None, :] - self.points[nearest]
        beside = np.einsum("nkti,nki->nkt", self.tangents[nearest], offset)
        above = np.einsum("nki,nki->nk", self.normals[nearest], offset)
        foot = self._feet(beside, above, nearest) if beside.shape[2] else beside
        height, slope = self._heights(foot, nearest)
        distance = np.hypot(np.linalg.norm(beside - foot, axis=2), above - height)
        shortest = np.min(distance, axis=1)
        # Beside an edge several patches are about as near: the one that is faced most squarely knows which side this is.
        along = (above - height - np.sum(slope * (beside - foot), axis=2)) / np.sqrt(1 + np.sum(slope**2, axis=2))
        tied = distance <= shortest[:, None] + self.radii[nearest]
        facing = np.where(tied, along / np.maximum(distance, np.finfo(float).tiny), 0)
        side = facing[np.arange(len(facing)), np.argmax(np.abs(facing), axis=1)]
        signed = np.where(side < 0, -shortest, shortest)
        doubtful = ((np.abs(side) < SQUARE) | (np.min(facing, axis=1) * np.max(facing, axis=1) < 0)) & (shortest > CLEAR * self.radii[nearest[:, 0]])
        return np.asarray(signed), doubtful

    def winding_number(self, positions: Array) -> Array:
        """Return the share of directions in which the surface is seen from inside, (n,): 1 inside and 0 outside, blurred close to the surface.

        Every point stands for the area of a disc that reaches halfway to its neighbours.

        Reference: Barill et al. 2018, ACM Trans. Graph. 37, equation 5.
        """
        dimension = self.points.shape[1]
        weights = self.normals * self.shares[:, None] / (2 * np.pi if dimension == 2 else 4 * np.pi)
        found = np.empty(len(positions))
        portion = max(1, PAIRS_AT_ONCE // len(self.points))
        at = np.sum(self.points * weights, axis=1)
        square = np.sum(self.points**2, axis=1)
        for begin in range(0, len(positions), portion):
            x = positions[begin : begin + portion]
            distance2 = np.maximum(np.sum(x**2, axis=1)[:, None] + square - 2 * x @ self.points.T, np.finfo(float).tiny)
            found[begin : begin + portion] = np.sum((at - x @ weights.T) * distance2 ** (-dimension / 2), axis=1)
        return found

    def _heights(self, foot: Array, nearest: NDArray[np.int64]) -> tuple[Array, Array]:
        bent = np.einsum("nkst,nkt->nks", self.curvatures[nearest], foot)
        slope = self.slopes[nearest]
        return np.sum(foot * (slope + 0.5 * bent), axis=2), slope + bent

    def _feet(self, beside: Array, above: Array, nearest: NDArray[np.int64]) -> Array:
        """Return the nearest points of the patches, in their tangent planes, by Newton's method on half the squared distance."""
        reach = self.radii[nearest]
        foot = _clipped(beside, reach)
        identity = np.eye(beside.shape[2])
        for _ in range(STEPS):
            height, slope = self._heights(foot, nearest)
            gradient = foot - beside + (height - above)[..., None] * slope
            hessian = identity + slope[..., :, None] * slope[..., None, :] + (height - above)[..., None, None] * self.curvatures[nearest]
            smallest = _smallest_eigenvalue(hessian)
            hessian = hessian + np.maximum(CONVEX - smallest, 0)[..., None, None] * identity
            foot = _clipped(foot - np.linalg.solve(hessian, gradient[..., None])[..., 0], reach)
        return foot


def _clipped(foot: Array, reach: Array) -> Array:
    length = np.linalg.norm(foot, axis=2)
    return np.asarray(foot * (reach / np.maximum(length, reach))[..., None])


def _smallest_eigenvalue(matrices: Array) -> Array:
    if matrices.shape[-1] == 1:
        return np.asarray(matrices[..., 0, 0])
    half = (matrices[..., 0, 0] + matrices[..., 1, 1]) / 2
    return np.asarray(half - np.hypot((matrices[..., 0, 0] - matrices[..., 1, 1]) / 2, matrices[..., 0, 1]))


def tangent_frames(normals: Array) -> Array:
    """Return orthonormal tangents (n, d - 1, d) of unit normals (n, d)."""
    count, dimension = normals.shape
    if dimension == 1:
        return np.empty((count, 0, 1))
    if dimension == 2:
        return np.stack([-normals[:, 1], normals[:, 0]], axis=1)[:, None, :]
    # The axis that the normal leans to least is far from parallel to it.
    axis = np.eye(3)[np.argmin(np.abs(normals), axis=1)]
    first = np.cross(normals, axis)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(normals, first)], axis=1)


def _fit_heights(points: Array, normals: Array, tangents: Array, nearest: NDArray[np.int64], radius: Array) -> tuple[Array, Array]:
    """Fit slopes and curvatures to heights and slopes of the neighbours whose normals agree, all in units of the radius."""
    count, size = len(points), tangents.shape[1]
    if size == 0 or nearest.shape[1] == 0:
        return np.zeros((count, size)), np.zeros((count, size, size))
    unit = np.maximum(radius, np.finfo(float).tiny)[:, None]
    offset = points[nearest] - points[:, None]
    s = np.einsum("nti,nki->nkt", tangents, offset) / unit[..., None]
    height = np.einsum("ni,nki->nk", normals, offset) / unit
    leaning = np.einsum("ni,nki->nk", normals, normals[nearest])
    weight = (leaning > SMOOTH).astype(float)
    slopes = -np.einsum("nti,nki->nkt", tangents, normals[nearest]) / np.where(weight > 0, leaning, 1)[..., None]
    pairs = [(i, j) for i in range(size) for j in range(i, size)]
    bends = np.stack([s[..., i] * s[..., j] * (0.5 if i == j else 1) for i, j in pairs], axis=2)
    rows, rights = [np.concatenate([s, bends], axis=2) * weight[..., None]], [height * weight]
    for axis in range(size):
        derivative = [np.where(i == axis, s[..., j], 0) + np.where((j == axis) & (i != j), s[..., i], 0) for i, j in pairs]
        straight = [np.full(height.shape, float(other == axis)) for other in range(size)]
        rows.append(np.stack([*straight, *derivative], axis=2) * weight[..., None])
        rights.append(slopes[..., axis] * weight)
    matrix, right = np.concatenate(rows, axis=1), np.concatenate(rights, axis=1)
    gram = np.einsum("nki,nkj->nij", matrix, matrix) + RIDGE * np.eye(matrix.shape[2])
    found = np.linalg.solve(gram, np.einsum("nki,nk->ni", matrix, right)[..., None])[..., 0]
    curvatures = np.empty((count, size, size))
    for index, (i, j) in enumerate(pairs):
        curvatures[:, i, j] = curvatures[:, j, i] = found[:, size + index] / unit[:, 0]
    return found[:, :size], curvatures
