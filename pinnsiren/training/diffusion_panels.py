"""Linear systems of ordinary differential equations u' = A u + g(t) in panels of time, each solved by collocation at Radau's points.

Input: A, g, initial values. Output: the polynomials in time of all panels. A polynomial of degree s takes the value at the start of a panel and
fulfils the equation at s points, the last of them its end: order 2 s - 1 there, and whatever decays much faster than a panel is damped, not only
bounded. The matrix of d/dt on the points is diagonalised, so that a panel costs s solutions with A - lambda / length, of which one of each conjugate
pair is made; factors are kept as long as panels keep their length. Lengths are the time over powers of two, chosen by how fast the polynomials fall
off.

Reference: Hairer and Wanner (1996), Solving ordinary differential equations II, section IV.8 (the transformation), IV.5 (Radau IIA).
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.linalg import lu_factor, lu_solve
from scipy.special import roots_jacobi

Array = NDArray[np.float64]
STAGES = 8
MOST_HALVINGS = 40
KEPT = 3  # lengths whose factors are kept
MOST_PANELS = 20_000
MOST_BYTES = 2 << 30  # for the values of all panels, as for the matrices of least squares
COPIES = 3  # values, those with the walls, polynomials


@dataclass(frozen=True)
class RadauRule:
    """Radau's points on a panel of unit length and the matrices that belong to them.

    Attributes:
        instants: (s + 1,), 0 and the points, the last of them 1.
        start: (s,), what the derivative at the points takes of the first value.
        rates: (s,), eigenvalues of the derivative at the points of a polynomial that vanishes at 0.
        modes, inverse: (s, s), its eigenvectors, and their inverse.
        coefficients: (s + 1, s + 1), values at the instants to coefficients of Chebyshev's polynomials.
    """

    instants: Array
    start: Array
    rates: NDArray[np.complex128]
    modes: NDArray[np.complex128]
    inverse: NDArray[np.complex128]
    coefficients: Array


def radau_rule(stages: int = STAGES) -> RadauRule:
    """Return the rule with a number of points."""
    unit = np.concatenate([[-1.0], roots_jacobi(stages - 1, 1, 0)[0], [1.0]])
    values = chebyshev.chebvander(unit, stages)
    slopes = np.stack([chebyshev.chebval(unit, chebyshev.chebder(row)) for row in np.eye(stages + 1)], axis=1)
    coefficients = np.linalg.inv(values)
    matrix = 2 * slopes @ coefficients
    rates, modes = np.linalg.eig(matrix[1:, 1:])
    return RadauRule(0.5 * (unit + 1), matrix[1:, 0], rates, modes, np.linalg.inv(modes), coefficients)


@dataclass
class Panels:
    """The march.

    Attributes:
        matrix: A, (n, n).
        data: instant -> g, (n,).
        span: first and last instant.
        accuracy: of the polynomial of a panel, relative to the largest field so far.
        fewest: panels are no longer than the time over 2 to this power.
        most_bytes: memory for their values.
    """

    matrix: Array
    data: Callable[[float], Array]
    span: tuple[float, float]
    accuracy: float
    fewest: int
    most_bytes: int = MOST_BYTES

    def __post_init__(self) -> None:
        self.rule = radau_rule()
        self.factors: OrderedDict[int, dict[int, Any]] = OrderedDict()

    def march(self, start: Array) -> tuple[Array, Array] | None:
        """Return the edges of the panels (n_panels + 1,) and the values at all their instants (n_panels, s + 1, n), None where they are too many.

        Raises:
            MemoryError: they would need more memory than is allowed.
        """
        begin, whole = self.span[0], self.span[1] - self.span[0]
        halvings, position, largest = self.fewest, 0, 0.0
        edges, fields = [begin], []
        while position < 1 << halvings:
            length = whole / (1 << halvings)
            values = self._panel(begin + position * length, length, halvings, start)
            size = max(largest, float(np.sqrt(np.mean(values**2, axis=1)).max()))
            tail = self._tail(values) / max(size, 1e-300)
            if not tail <= self.accuracy and halvings < MOST_HALVINGS:
                halvings, position = halvings + 1, 2 * position
                continue
            position, start, largest = position + 1, values[-1], size
            edges.append(begin + position * length)
            fields.append(values)
            if COPIES * values.nbytes * len(fields) > self.most_bytes:
                raise MemoryError(
                    f"{len(fields)} panels of time with {values.shape[1]} values at {len(values)} instants each, up to {edges[-1]:.3g} of "
                    f"{self.span[1]:.3g}, fill {self.most_bytes >> 20} MiB: declare a shorter time, or smoother data"
                )
            if not np.all(np.isfinite(start)) or len(fields) > MOST_PANELS:
                return None
            # The tail of a panel twice as long is 2^s times as large where the solution is smooth.
            if tail < 0.5 ** (self.rule.rates.size + 1) * self.accuracy and halvings > self.fewest and position % 2 == 0:
                halvings, position = halvings - 1, position // 2
        return np.array(edges), np.stack(fields)

    def _panel(self, begin: float, length: float, halvings: int, start: Array) -> Array:
        rule = self.rule
        right = np.stack([self.data(begin + length * float(instant)) for instant in rule.instants[1:]])
        turned = rule.inverse @ (right - np.outer(rule.start, start) / length)
        inside = np.zeros(right.shape)
        for index, factor in self._factors(halvings, length).items():
            twice = 1.0 if rule.rates[index].imag == 0 else 2.0
            inside += twice * np.real(np.outer(rule.modes[:, index], lu_solve(factor, turned[index], check_finite=False)))
        return np.concatenate([start[None], inside])

    def _factors(self, halvings: int, length: float) -> dict[int, Any]:
        """Return the factors of rate / length - A, one of each conjugate pair of rates."""
        if halvings not in self.factors:
            self.factors[halvings] = {}
            for index, rate in enumerate(self.rule.rates):
                if rate.imag >= 0:
                    shifted = -self.matrix.astype(complex)
                    shifted[np.diag_indices(len(shifted))] += rate / length
                    self.factors[halvings][index] = lu_factor(shifted, overwrite_a=True, check_finite=False)
            while len(self.factors) > KEPT:
                self.factors.popitem(last=False)
        self.factors.move_to_end(halvings)
        return self.factors[halvings]

    def _tail(self, values: Array) -> float:
        """Return the root mean square of the last two coefficients in time."""
        return float(np.sqrt(np.mean((self.rule.coefficients[-2:] @ values) ** 2, axis=1)).max())
