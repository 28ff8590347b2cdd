"""Geometry of triangles in space: the nearest point of a triangle, and what makes a set of triangles the surface of a body.

Input: vertices (n_vertices, 3) and faces (n_faces, 3), indices of vertices, counterclockwise as seen from outside. Output: nearest points with the
feature (face, edge, vertex) they lie on; `ProblemError` for a surface that bounds nothing.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pinnsiren.errors import ProblemError
from pinnsiren.language.domains.base import Array

Faces = NDArray[np.int64]

FLAT = 1e-12  # area over the square of the longest edge below which a triangle has no normal: rounding of coordinates given in double precision
FACE, EDGES, VERTICES = 0, (1, 2, 3), (4, 5, 6)  # features: the inside, the edges from corners 0, 1, 2 to the next, the corners
PAIRS_AT_ONCE = 500_000
EDGE_PAIRS = ((0, 1), (1, 2), (2, 0))


def nearest_on_triangles(points: Array, corners: Array) -> tuple[Array, NDArray[np.int64]]:
    """Return for each point (n, 3) the nearest point of its triangle, corners (n, 3, 3), and the feature it lies on, (n,).

    Reference: Ericson 2005, Real-Time Collision Detection, section 5.1.5.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, ac = b - a, c - a
    d1, d2 = _dot(ab, points - a), _dot(ac, points - a)
    d3, d4 = _dot(ab, points - b), _dot(ac, points - b)
    d5, d6 = _dot(ab, points - c), _dot(ac, points - c)
    vc, vb, va = d1 * d4 - d3 * d2, d5 * d2 - d1 * d6, d3 * d6 - d5 * d4
    conditions = [
        (d1 <= 0) & (d2 <= 0), (d3 >= 0) & (d4 <= d3), (d6 >= 0) & (d5 <= d6),
        (vc <= 0) & (d1 >= 0) & (d3 <= 0), (va <= 0) & (d4 - d3 >= 0) & (d5 - d6 >= 0), (vb <= 0) & (d2 >= 0) & (d6 <= 0),
    ]  # fmt: skip
    feature = np.select(conditions, [*VERTICES, *EDGES], FACE)
    along_ab, along_bc, along_ac = _share(d1, d1 - d3), _share(d4 - d3, (d4 - d3) + (d5 - d6)), _share(d2, d2 - d6)
    total = va + vb + vc
    # Weights of b and c by feature, in the order of the codes: face, ab, bc, ca, a, b, c.
    one, zero = np.ones(len(points)), np.zeros(len(points))
    of_b = np.choose(feature, [_share(vb, total), along_ab, 1 - along_bc, zero, zero, one, zero])
    of_c = np.choose(feature, [_share(vc, total), zero, along_bc, along_ac, zero, zero, one])
    return a + of_b[:, None] * ab + of_c[:, None] * ac, feature.astype(np.int64)


def _dot(first: Array, second: Array) -> Array:
    return np.asarray(np.einsum("ni,ni->n", first, second))


def _share(part: Array, whole: Array) -> Array:
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole != 0))


def doubled_areas(vertices: Array, faces: Faces) -> Array:
    """Return normals of twice the area of each face as length, (n_faces, 3)."""
    a, b, c = (vertices[faces[:, index]] for index in range(3))
    return np.asarray(np.cross(b - a, c - a))


def check_surface(vertices: Array, faces: Faces) -> None:
    """Raise `ProblemError` unless the faces bound a body: areas, closed, oriented one way and outwards, without crossing itself."""
    _check_areas(vertices, faces)
    _check_closed(faces)
    if float(np.sum(doubled_areas(vertices, faces) * vertices[faces[:, 0]])) <= 0:
        raise ProblemError("the normals of the mesh point inwards (its volume is negative); turn every face, faces[:, ::-1]")
    crossing = next(crossing_faces(vertices, faces), None)
    if crossing is not None:
        first, second = crossing
        raise ProblemError(
            f"the mesh intersects itself: the faces {first} and {second} cross, near {np.round(vertices[faces[first]].mean(axis=0), 6).tolist()}. "
            "Inside and outside are not defined there; repair the mesh, or unite its bodies in the program that made it"
        )


def _check_areas(vertices: Array, faces: Faces) -> None:
    corners = vertices[faces]
    longest = np.max(np.sum((corners - np.roll(corners, 1, axis=1)) ** 2, axis=2), axis=1)
    flat = np.linalg.norm(doubled_areas(vertices, faces), axis=1) <= FLAT * longest
    if np.any(flat):
        raise ProblemError(f"{int(np.sum(flat))} faces of the mesh have no area, the first is face {int(np.argmax(flat))}; merge or drop them")


def _check_closed(faces: Faces) -> None:
    directed = np.concatenate([faces[:, pair] for pair in EDGE_PAIRS])
    edges, index, counts = np.unique(np.sort(directed, axis=1), axis=0, return_inverse=True, return_counts=True)
    if np.any(counts == 1):
        first = edges[np.argmax(counts == 1)].tolist()
        raise ProblemError(
            f"the mesh is open: {int(np.sum(counts == 1))} edges belong to one face only, the first joins the vertices {first[0]} and {first[1]}. "
            "Expected a closed surface, each edge of two faces: merge vertices that coincide, or fill the holes"
        )
    if np.any(counts > 2):
        first = edges[np.argmax(counts > 2)].tolist()
        raise ProblemError(
            f"{int(np.sum(counts > 2))} edges of the mesh belong to more than two faces, the first joins the vertices {first[0]} and {first[1]}; "
            "expected two: drop inner walls and faces given twice"
        )
    sense = np.where(directed[:, 0] < directed[:, 1], 1, -1)
    turned = np.bincount(np.asarray(index).ravel(), weights=sense) != 0
    if np.any(turned):
        first = edges[np.argmax(turned)].tolist()
        raise ProblemError(
            f"the faces of the mesh are not oriented one way: {int(np.sum(turned))} edges are run through twice in the same sense, the first from "
            f"vertex {first[0]} to {first[1]}. Expected all faces counterclockwise as seen from outside"
        )


def crossing_faces(vertices: Array, faces: Faces) -> Iterator[tuple[int, int]]:
    """Yield pairs of faces that cross each other; faces that touch or lie in one plane are not found."""
    corners = vertices[faces]
    low, high = corners.min(axis=1), corners.max(axis=1)
    for first, second in _overlapping_boxes(low, high):
        shared = np.any(faces[first][:, :, None] == faces[second][:, None, :], axis=2)
        # Neighbours along an edge meet there and nowhere else, unless they are folded onto each other.
        apart = np.sum(shared, axis=1) < 2
        first, second = first[apart], second[apart]
        for one, other in ((first, second), (second, first)):
            hit = _edges_pierce(faces, corners, one, other)
            if np.any(hit):
                yield int(one[np.argmax(hit)]), int(other[np.argmax(hit)])


def _overlapping_boxes(low: Array, high: Array) -> Iterator[tuple[Faces, Faces]]:
    """Yield index pairs of boxes that overlap, in portions: a sweep along the longest side."""
    axis = int(np.argmax(np.ptp(low, axis=0)))
    order = np.argsort(low[:, axis])
    # Boxes that begin before this one ends, after it in the order.
    ends = np.searchsorted(low[order, axis], high[order, axis], side="right")
    counts = np.maximum(ends - np.arange(len(order)) - 1, 0)
    begin = 0
    while begin < len(order):
        stop = begin + max(1, int(np.searchsorted(np.cumsum(counts[begin:]), PAIRS_AT_ONCE)))
        group = counts[begin:stop]
        first = np.repeat(np.arange(begin, min(stop, len(order))), group)
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(group) - group, group)
        first, second = order[first], order[second]
        meets = np.all((low[first] <= high[second]) & (low[second] <= high[first]), axis=1)
        yield first[meets], second[meets]
        begin = stop


def _edges_pierce(faces: Faces, corners: Array, one: Faces, other: Faces) -> NDArray[np.bool_]:
    """Whether an edge of `one` that shares no vertex with `other` passes through its inside, by the signs of five volumes."""
    hit = np.zeros(len(one), dtype=bool)
    a, b, c = (corners[other, index] for index in range(3))
    for start, end in EDGE_PAIRS:
        p, q = corners[one, start], corners[one, end]
        free = ~np.any((faces[other] == faces[one, start][:, None]) | (faces[other] == faces[one, end][:, None]), axis=1)
        sides = [_dot(np.cross(b - a, c - a), p - a), _dot(np.cross(b - a, c - a), q - a)]
        turns = [_dot(np.cross(q - p, first - p), second - p) for first, second in ((a, b), (b, c), (c, a))]
        around = (np.minimum.reduce(turns) > 0) | (np.maximum.reduce(turns) < 0)
        hit |= free & (sides[0] * sides[1] < 0) & around
    return hit
