"""Weights of values and derivatives at scattered points, by polynomials fitted to what is known nearby.

Input: nodes that carry values, boundary points that carry conditions, query points, a degree. Output: for each query the weights of values and data.
The fit is a weighted least-squares one, exact for polynomials of its degree; what is near the query counts most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import comb, factorial, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Array = NDArray[Any]
MultiIndex = tuple[int, ...]

# Nodes and conditions per coefficient. At a straight boundary the half disc about a query holds a row of nodes for each degree; with
# fewer nodes the fits at corners become one-sided enough to spoil the system (measured on polygons with Neumann conditions).
_NODES_PER_COEFFICIENT = 2.4
_CONDITIONS_PER_COEFFICIENT = 0.67
# Gaussian importance exp(-s d^2 / 2), d in units of the furthest node.
_SHARPNESS = 8.0
# A condition holds exactly, a polynomial only nearly: it counts for more than a value.
_IMPORTANCE_OF_CONDITIONS = 3.0
_WORST_CONDITION = 1e-7
_CHUNK = 20_000


@dataclass(frozen=True)
class PointConditions:
    """a u + b du/dn = data at points.

    Attributes:
        points: (n, n_coordinates).
        a, b: (n,).
        normals: (n, n_coordinates).
    """

    points: Array
    a: Array
    b: Array
    normals: Array


@dataclass(frozen=True)
class Weights:
    """A functional of u at each query: sum of `values` times u at `nodes`, plus `of_data` times the data of `conditions`; all (n_queries, ...)."""

    nodes: Array
    values: Array
    conditions: Array
    of_data: Array


@lru_cache
def monomials(dimension: int, degree: int) -> tuple[MultiIndex, ...]:
    """Exponents of all monomials up to a degree, lowest degree first."""
    every = product(range(degree + 1), repeat=dimension)
    return tuple(sorted((index for index in every if sum(index) <= degree), key=sum))


class LocalPolynomials:
    """Fits about arbitrary points.

    Args:
        nodes: (n_nodes, n_coordinates), physical units.
        degree: of the polynomials; the error of a value is of order degree + 1, that of a second derivative of order degree - 1.
        conditions: what else the polynomials satisfy.
    """

    def __init__(self, nodes: Array, degree: int, conditions: PointConditions | None = None) -> None:
        dimension = nodes.shape[1]
        coefficients = comb(dimension + degree, degree)
        self._nodes, self._degree, self._conditions = nodes, degree, conditions
        self._tree = KDTree(nodes)
        self._count = min(round(_NODES_PER_COEFFICIENT * coefficients), len(nodes))
        if conditions is not None:
            self._condition_tree = KDTree(conditions.points)
            self._condition_count = min(max(2, round(_CONDITIONS_PER_COEFFICIENT * coefficients)), len(conditions.points))

    def functionals(self, queries: Array, operator: Mapping[MultiIndex, Array]) -> Weights:
        """The weights of a differential operator.

        Args:
            queries: (n_queries, n_coordinates).
            operator: its coefficients (n_queries,) by multi-index; `{(0, 0): 1}` is the value.
        """
        parts = []
        for start in range(0, max(len(queries), 1), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            parts.append(self._chunk(queries[chunk], {index: coefficient[chunk] for index, coefficient in operator.items()}))
        return Weights(
            np.concatenate([part.nodes for part in parts]),
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.conditions for part in parts]),
            np.concatenate([part.of_data for part in parts]),
        )

    def _chunk(self, queries: Array, operator: Mapping[MultiIndex, Array]) -> Weights:
        indices = monomials(queries.shape[1], self._degree)
        distances, near = nearest(self._tree, queries, self._count)
        radius = distances[:, -1]
        importance = np.exp(-0.5 * _SHARPNESS * (distances / radius[:, None]) ** 2)
        matrix = importance[:, :, None] * _derivatives((self._nodes[near] - queries[:, None]) / radius[:, None, None], indices)
        close, scale = np.zeros((len(queries), 0), dtype=np.int64), np.zeros((len(queries), 0))
        if self._conditions is not None:
            close, scale, rows = self._condition_rows(queries, radius, indices)
            matrix = np.concatenate([matrix, scale[:, :, None] * rows], axis=1)
        functional = np.zeros((len(queries), len(indices)), dtype=np.result_type(float, *operator.values()))
        for index, coefficient in operator.items():
            # Derivatives of (x / r)^m at the query vanish for every other monomial.
            functional[:, indices.index(index)] = coefficient * prod(map(factorial, index)) / radius ** sum(index)
        weights = _least_squares_weights(matrix, functional)
        return Weights(near, weights[:, : self._count] * importance, close, weights[:, self._count :] * scale)

    def _condition_rows(self, queries: Array, radius: Array, indices: tuple[MultiIndex, ...]) -> tuple[Array, Array, Array]:
        conditions = self._conditions
        assert conditions is not None
        distances, close = nearest(self._condition_tree, queries, self._condition_count)
        offsets = (conditions.points[close] - queries[:, None]) / radius[:, None, None]
        a, b = conditions.a[close], conditions.b[close] / radius[:, None]
        rows = a[:, :, None] * _derivatives(offsets, indices)
        for axis in range(queries.shape[1]):
            rows = rows + (b * conditions.normals[close][:, :, axis])[:, :, None] * _derivatives(offsets, indices, axis)
        size = np.abs(a) + np.abs(b)
        return close, _IMPORTANCE_OF_CONDITIONS * np.exp(-0.5 * _SHARPNESS * (distances / radius[:, None]) ** 2) / size, rows


def nearest(tree: KDTree, queries: Array, count: int) -> tuple[Array, Array]:
    """Distances and numbers of the nearest points, both (n_queries, count), the nearest first."""
    distances, numbers = tree.query(queries, k=[*range(1, count + 1)])
    return np.asarray(distances), np.asarray(numbers)


def _derivatives(offsets: Array, indices: tuple[MultiIndex, ...], axis: int | None = None) -> Array:
    """Monomials at offsets (..., n_coordinates), or their derivatives along an axis; shape (..., n_monomials)."""
    highest = max(map(max, indices))
    # By repeated multiplication: ten times faster than powers.
    powers = np.ones((highest + 1, *offsets.shape))
    np.cumprod(np.broadcast_to(offsets, (highest, *offsets.shape)), axis=0, out=powers[1:])
    columns = np.empty((*offsets.shape[:-1], len(indices)))
    for number, index in enumerate(indices):
        factor, exponents = 1, list(index)
        if axis is not None:
            factor, exponents[axis] = exponents[axis], max(exponents[axis] - 1, 0)
        columns[..., number] = factor
        for coordinate, exponent in enumerate(exponents):
            if exponent:
                columns[..., number] *= powers[exponent, ..., coordinate]
    return columns


def _least_squares_weights(matrices: Array, functionals: Array) -> Array:
    """w of least norm with w A = f: from A = Q R, w = conj(Q) R^-T f; for stacks of A (n, k, m) and f (n, m)."""
    orthogonal, triangular = np.linalg.qr(matrices)
    diagonal = np.abs(np.diagonal(triangular, axis1=1, axis2=2))
    sound = diagonal.min(axis=1) > _WORST_CONDITION * diagonal.max(axis=1)
    weights = np.zeros(matrices.shape[:2], dtype=np.result_type(matrices, functionals))
    if matrices.shape[1] >= matrices.shape[2]:
        solved = np.linalg.solve(np.swapaxes(triangular[sound], 1, 2), functionals[sound][:, :, None])
        weights[sound] = (np.conj(orthogonal[sound]) @ solved)[:, :, 0]
    else:
        sound[:] = False
    if not np.all(sound):
        # What is known lies on too few lines for the degree: the polynomial of least norm.
        weights[~sound] = np.einsum("nm,nmk->nk", functionals[~sound], np.linalg.pinv(matrices[~sound], rcond=_WORST_CONDITION))
    return weights
