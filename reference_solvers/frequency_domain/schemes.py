"""Difference schemes of the Helmholtz operator on a tensor grid with complex stretching, in symmetric form.

    d/dx((ey/ex) du/dx) + d/dy((ex/ey) du/dy) + ex ey w^2 m u = ex ey f,          e = 1 - i s(depth)

Input: a scheme, the stretch of one axis. Output: the one-dimensional matrices from which the operator is composed,

    A = Kx (x) Sy + Sx (x) Ky + w^2 M(m),   K = -G' (1/e) G (stiffness),  S = (R E + E R)/2 (rows),  M = (W E m + E m W)/2 (mass).

G is the staggered first derivative, so K is symmetric at every order, and with it A: one factor serves A and its transpose. Dividing by ex ey
gives the separable form (1/ex) d/dx (1/ex) d/dx + ..., the same scheme row by row.

Behind the layer u = 0.

References: Chen, Cheng, Feng, Wu (2013), Int. J. Numer. Anal. Model. 10(2), for the nine points; Fornberg (1988) for staggered weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError

Array = NDArray[Any]
Stretch = Callable[[Array], Array]


@dataclass(frozen=True)
class Scheme:
    """Weights of a difference scheme.

    Attributes:
        name: as users choose it.
        order: of accuracy.
        staggered: weights of the first derivative at +-1/2, +-3/2, ... (odd), per 1/h.
        row: weight b of the own row in a derivative; (1 - b)/2 falls to each adjacent row.
        side, corner: d and e; the mass is (1 - d - e) at the centre, d/4 on each side, e/4 on each corner.
    """

    name: str
    order: int
    staggered: tuple[float, ...]
    row: float = 1.0
    side: float = 0.0
    corner: float = 0.0

    @property
    def reach(self) -> int:
        """Nodes that a row of K sees on each side: the width of a separating slab."""
        return 2 * len(self.staggered) - 1

    @property
    def is_star(self) -> bool:
        """Whether mass and rows are not spread, so that the mass matrix is diagonal."""
        return self.row == 1.0 and self.side == 0.0 and self.corner == 0.0

    def stiffness_symbol(self, phase: float) -> float:
        """h^2 times the eigenvalue of -K for exp(i phase j), without stretch."""
        first = sum(2 * weight * np.sin((2 * i + 1) * phase / 2) for i, weight in enumerate(self.staggered))
        return float(first**2)

    def row_symbol(self, phase: float) -> float:
        """Eigenvalue of the weights across rows for exp(i phase j)."""
        return float(self.row + (1 - self.row) * np.cos(phase))

    def mass_symbol(self, phase_x: float, phase_y: float) -> float:
        """Eigenvalue of the mass weights for a plane wave."""
        x, y = np.cos(phase_x), np.cos(phase_y)
        return float(1 - self.side - self.corner + self.side * (x + y) / 2 + self.corner * x * y)


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("order2", 2, (1.0,)),
        Scheme("order4", 4, (9 / 8, -1 / 24)),
        Scheme("order6", 6, (75 / 64, -25 / 384, 3 / 640)),
        # The global choice of the paper, for all numbers of points per wavelength from 4 on.
        Scheme("nine_point", 2, (1.0,), row=0.7926, side=0.3768, corner=-0.0064),
    )
}


def scheme_named(name: str) -> Scheme:
    """The scheme of that name.

    Raises:
        ReferenceSolverError: unknown name; the message lists the known ones.
    """
    if name not in SCHEMES:
        raise ReferenceSolverError(f"the Helmholtz operator was given scheme=`{name}`; known are {', '.join(SCHEMES)}")
    return SCHEMES[name]


def stiffness(scheme: Scheme, n: int, h: float, stretch: Stretch) -> sparse.csr_matrix:
    """K = -G' (1/e) G on n nodes, u = 0 beyond them.

    Args:
        scheme: supplies the staggered weights.
        n: number of nodes.
        h: step.
        stretch: e as a function of the position in steps, 0 at the first node.
    """
    width = len(scheme.staggered)
    # Half nodes beyond the ends still see the last nodes.
    half_nodes = np.arange(1 - 2 * width, 2 * n + 2 * width - 1, 2) / 2
    diagonals, offsets = [], []
    for i, weight in enumerate(scheme.staggered):
        for sign in (1, -1):
            diagonals.append(np.full(n, sign * weight))
            # Row r is the half node r - width + 1/2; it sees the node r - width + 1/2 + sign (i + 1/2).
            offsets.append(-width + (1 + sign * (2 * i + 1)) // 2)
    gradient = sparse.dia_matrix(
        (np.array([np.pad(d, (0, 2 * width)) for d in diagonals]), offsets), shape=(len(half_nodes), n)
    ).tocsr()
    return sparse.csr_matrix(-(gradient.T @ sparse.diags(1 / stretch(half_nodes)) @ gradient) / h**2)


def across(scheme: Scheme, n: int, stretch: Stretch) -> sparse.csr_matrix:
    """S = (R E + E R)/2 on n nodes: the stretch of the other direction, with the weights R of adjacent rows.

    The same mean as in the mass keeps the discrete layer matched at oblique incidence: R E or geometric means lose 20 dB at 45 degrees.
    """
    e = sparse.diags(stretch(np.arange(n, dtype=float)))
    if scheme.row == 1.0:
        return sparse.csr_matrix(e)
    beside = np.full(n - 1, (1 - scheme.row) / 2)
    diagonals: Any = [beside, np.full(n, scheme.row), beside]
    weights = sparse.diags(diagonals, [-1, 0, 1])
    return sparse.csr_matrix((weights @ e + e @ weights) / 2)


def mass_weights(scheme: Scheme, shape: tuple[int, int]) -> sparse.csr_matrix:
    """The weights W of the mass on all nodes, (n, n), symmetric; the identity for star schemes."""
    if scheme.is_star:
        return sparse.csr_matrix(sparse.identity(shape[0] * shape[1]))
    ones = [sparse.csr_matrix(sparse.identity(n)) for n in shape]
    sides = [sparse.csr_matrix(sparse.eye(n, k=1) + sparse.eye(n, k=-1)) for n in shape]
    sums = sparse.kron(sides[0], ones[1]) + sparse.kron(ones[0], sides[1])
    corners = sparse.kron(sides[0], sides[1])
    centre = (1 - scheme.side - scheme.corner) * sparse.kron(ones[0], ones[1])
    return sparse.csr_matrix(centre + scheme.side / 4 * sums + scheme.corner / 4 * corners)
