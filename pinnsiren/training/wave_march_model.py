"""Waves as cosines of angles: products of cos(m arccos(xi)) in space, and in time on consecutive panels.

Input: values of the field on the nodes of the features at the nodes of every panel in time. Output: `MarchModel`. The angle arccos(xi) along every
axis is a stretch that crowds towards the walls, where conditions of any kind are met without loss of order; cos(m arccos(xi)) is Chebyshev's
polynomial, so that this is a spectral method in the clothes of cosine features. Its nodes crowd more than they need to, which makes explicit steps
in time short: xi = sin(a X) / sin(a) of the position X in [-1, 1] lets go of that, with sin(a) as near to 1 as `STRETCH` allows.

Reference: Kosloff and Tal-Ezer (1993), J. Comput. Phys. 104, for the map; the highest frequency of n nodes falls from 0.22 n^2 to about 7 n.
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from pinnsiren.ir import MultiIndex
from pinnsiren.training.method import StateTree

Array = NDArray[np.float64]
STRETCH = 1e-11  # accuracy that the map leaves
WORK = 4_000_000  # numbers in one block: 32 MB


def map_of(n: int) -> tuple[float, float]:
    """Return a and sin(a) of the map for n + 1 nodes."""
    sine = 1 / float(np.cosh(abs(np.log(STRETCH)) / n))
    return float(np.arcsin(sine)), sine


def angles_of(n: int) -> Array:
    """Return xi of the n + 1 nodes, -cos(pi j / n), ascending in [-1, 1]."""
    return np.asarray(-np.cos(np.pi * np.arange(n + 1) / n))


def nodes(n: int) -> Array:
    """Return the positions X of the n + 1 nodes, ascending in [-1, 1]."""
    a, sine = map_of(n)
    inside = np.arcsin(np.clip(sine * angles_of(n), -1, 1)) / a
    inside[[0, -1]] = -1, 1
    return np.asarray(inside)


def to_coefficients(n: int) -> Array:
    """Return the matrix that turns values on the nodes into coefficients, (n + 1, n + 1)."""
    return np.asarray(np.linalg.inv(chebyshev.chebvander(angles_of(n), n)))


def on_nodes(n: int, length: float) -> Array:
    """Return the matrix of d/dx on values at the nodes of an interval, (n + 1, n + 1)."""
    xi, (a, sine) = angles_of(n), map_of(n)
    weights = np.where(np.arange(n + 1) % 2 == 0, 1.0, -1.0)
    weights[[0, -1]] *= 2
    distance = xi[:, None] - xi[None, :] + np.eye(n + 1)
    matrix = np.outer(weights, 1 / weights) / distance
    # A constant has no slope: the diagonal of negative sums loses fewer digits than its closed form.
    matrix -= np.diag(matrix.sum(axis=1))
    return np.asarray((a / sine * np.sqrt(1 - (sine * xi) ** 2))[:, None] * matrix * 2 / length)


@dataclass(frozen=True)
class MarchModel:
    """Values on the nodes in space, coefficients in time.

    Attributes:
        limits: (n_space, 2), the box.
        edges: (n_panels + 1,), instants between the panels.
        values: (n_panels, n_time, n_1 + 1, ...): coefficients of cos(m arccos(tau)) on each panel, at the nodes.
    """

    limits: Array
    edges: Array
    values: Array

    def evaluate(self, field_index: int, points: Array, orders: MultiIndex) -> Array:
        """Return a derivative, (n_points, 1)."""
        result = np.zeros(len(points))
        panel = np.clip(np.searchsorted(self.edges, points[:, -1], side="right") - 1, 0, len(self.edges) - 2)
        in_space = [self._between_nodes(points[:, axis], axis, orders[axis]) for axis in range(len(self.limits))]
        step = max(1, WORK // int(np.prod(self.values.shape[2:])))
        for index in np.unique(panel):
            (inside,) = np.nonzero(panel == index)
            for first in range(0, len(inside), step):
                chosen = inside[first : first + step]
                in_time = _in_time(points[chosen, -1], self.edges[index : index + 2], self.values.shape[1], orders[-1])
                product = np.tensordot(in_time, self.values[index], axes=1)
                for weights in in_space:
                    product = np.einsum("pi...,pi->p...", product, weights[chosen])
                result[chosen] = product
        return result[:, None]

    def _between_nodes(self, positions: Array, axis: int, order: int) -> Array:
        """Return the weights of the nodes in the value, or a derivative, at positions, (n_positions, n + 1)."""
        n, (low, high) = self.values.shape[2 + axis] - 1, self.limits[axis]
        a, sine = map_of(n)
        xi = np.sin(a * (2 * positions - low - high) / (high - low)) / sine
        differentiated = np.linalg.matrix_power(on_nodes(n, float(high - low)), order)
        return np.asarray(chebyshev.chebvander(xi, n) @ (to_coefficients(n) @ differentiated))

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """Media are known."""
        return ()

    def state(self) -> StateTree:
        """Return panels and values."""
        return {"kind": "march", "limits": self.limits, "edges": self.edges, "values": self.values}


def march_model_from_state(state: StateTree) -> MarchModel:
    """Rebuild a model from its stored values."""
    return MarchModel(*[np.asarray(state[name]) for name in ("limits", "edges", "values")])


def panel_coefficients(count: int) -> Array:
    """Return the matrix that turns values at `count` instants of a panel, -cos(pi j / (count - 1)), into coefficients."""
    return to_coefficients(count - 1)


def _in_time(instants: Array, limits: Array, count: int, order: int) -> Array:
    """Return cos(m arccos(tau)), m below `count`, or a derivative, (n_instants, count)."""
    low, high = float(limits[0]), float(limits[1])
    values = chebyshev.chebvander((2 * instants - low - high) / (high - low), count - 1)
    if order == 0:
        return np.asarray(values)
    matrix = np.zeros((count, count))
    changed = chebyshev.chebder(np.eye(count), order)
    matrix[: len(changed)] = changed
    return np.asarray(values @ matrix * (2 / (high - low)) ** order)
