"""One-dimensional difference operators of a chosen order, with one-sided closures of the same order at both ends, or wrapped around.

Nodes are `0, h, ..., n h`, on a closed loop (`periodic=True`) without the last; half nodes lie between them. All
matrices are sparse and in units of 1/h or 1/h^2:

* `node_derivative(n, h, order, m)`: m-th derivative, nodes to nodes;
* `gradient_to_half_nodes(n, h, order)`: first derivative, nodes to half nodes;
* `divergence_to_nodes(n, h, order)`: first derivative, half nodes to nodes.

Reference: Fornberg (1988), Math. Comp. 51, for the weights; staggered weights of order 6: 75/64, -25/384, 3/640.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError

RealArray = NDArray[Any]

# Points of a one-sided closure beyond the order. At order 6 four more keep its error, whose constant is large, below that of the interior; orders
# up to 4 also serve the wave equation, where wider closures would make the spectrum complex.
_EXTRA_CLOSURE_POINTS = {2: 1, 4: 1, 6: 4}


def finite_difference_weights(target: float, nodes: RealArray, derivative: int) -> RealArray:
    """Weights of the `derivative`-th derivative at `target` of the polynomial through `nodes`.

    Example:
        >>> finite_difference_weights(0.0, np.array([-1.0, 0.0, 1.0]), 2)
        array([ 1., -2.,  1.])
    """
    count = len(nodes)
    weights = np.zeros((derivative + 1, count))
    weights[0, 0] = 1.0
    previous_product = 1.0
    for i in range(1, count):
        product = 1.0
        for j in range(i):
            gap = nodes[i] - nodes[j]
            product *= gap
            if j == i - 1:
                for m in range(min(i, derivative), -1, -1):
                    lower = m * weights[m - 1, i - 1] if m else 0.0
                    shifted = lower - (nodes[i - 1] - target) * weights[m, i - 1]
                    weights[m, i] = previous_product / product * shifted
            for m in range(min(i, derivative), -1, -1):
                lower = m * weights[m - 1, j] if m else 0.0
                weights[m, j] = ((nodes[i] - target) * weights[m, j] - lower) / gap
        previous_product = product
    return np.asarray(weights[derivative])


def _difference_matrix(
    targets: RealArray, nodes: RealArray, derivative: int, centred_width: int, closure_width: int
) -> sparse.csr_matrix:
    """Rows with `centred_width` nodes symmetric about the target, or the `closure_width` nodes at the near end."""
    if len(nodes) < closure_width:
        raise ReferenceSolverError(
            f"{len(nodes)} grid points cannot carry a difference of {closure_width} points; use more points per axis"
        )
    cache: dict[tuple[float, int], RealArray] = {}
    rows, columns, entries = [], [], []
    for row, target in enumerate(targets):
        first = int(np.ceil(target - centred_width / 2 - nodes[0] - 1e-9))
        width = centred_width
        if first < 0 or first + width > len(nodes):
            width = closure_width
            first = 0 if first < 0 else len(nodes) - width
        key = (target - nodes[first], width)
        if key not in cache:
            cache[key] = finite_difference_weights(key[0], np.arange(width, dtype=float), derivative)
        rows.append(np.full(width, row))
        columns.append(first + np.arange(width))
        entries.append(cache[key])
    triplets = (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_matrix(triplets, shape=(len(targets), len(nodes)))


def _wrapped_matrix(n: int, first: int, width: int, target: float, derivative: int) -> sparse.csr_matrix:
    """Circulant matrix of the row that weights the `width` nodes from `first` on for the derivative at `target`, in units of the step.

    Raises:
        ReferenceSolverError: fewer points on the loop than the row is wide.
    """
    if n < width:
        raise ReferenceSolverError(f"{n} grid points on a periodic axis cannot carry a difference of {width} points; use more points per axis")
    weights = finite_difference_weights(target - first, np.arange(width, dtype=float), derivative)
    columns = (np.arange(n)[:, None] + first + np.arange(width)[None, :]) % n
    return sparse.csr_matrix((np.tile(weights, n), columns.ravel(), np.arange(n + 1) * width), shape=(n, n))


def node_derivative(n: int, h: float, order: int, derivative: int = 1, *, periodic: bool = False) -> sparse.csr_matrix:
    """First or second derivative at the n + 1 nodes, shape (n + 1, n + 1); on a loop (n, n)."""
    if periodic:
        return sparse.csr_matrix(_wrapped_matrix(n, -(order // 2), order + 1, 0.0, derivative) / h**derivative)
    nodes = np.arange(n + 1, dtype=float)
    matrix = _difference_matrix(nodes, nodes, derivative, order + 1, order + max(derivative, _EXTRA_CLOSURE_POINTS[order]))
    return sparse.csr_matrix(matrix / h**derivative)


def gradient_to_half_nodes(n: int, h: float, order: int, *, periodic: bool = False) -> sparse.csr_matrix:
    """First derivative at the n half nodes of values at the n + 1 nodes, shape (n, n + 1); on a loop (n, n)."""
    if periodic:
        return sparse.csr_matrix(_wrapped_matrix(n, 1 - order // 2, order, 0.5, 1) / h)
    closure = order + _EXTRA_CLOSURE_POINTS[order]
    matrix = _difference_matrix(np.arange(n) + 0.5, np.arange(n + 1, dtype=float), 1, order, closure)
    return sparse.csr_matrix(matrix / h)


def divergence_to_nodes(n: int, h: float, order: int, *, periodic: bool = False) -> sparse.csr_matrix:
    """First derivative at the n + 1 nodes of values at the n half nodes, shape (n + 1, n); on a loop (n, n)."""
    if periodic:
        # Half node j lies at j + 1/2, so that node 0 lies at -1/2 in units counted from half node 0.
        return sparse.csr_matrix(_wrapped_matrix(n, -(order // 2), order, -0.5, 1) / h)
    matrix = _difference_matrix(np.arange(n + 1, dtype=float), np.arange(n) + 0.5, 1, order, order + _EXTRA_CLOSURE_POINTS[order])
    return sparse.csr_matrix(matrix / h)
