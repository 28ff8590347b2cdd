"""Derivative streams: which derivatives of a field travel together through a network.

Input of this stage: the derivatives that the residuals need. Output: a `StreamLayout`, the order of the
blocks in every packed tensor `(size, n_points, n_channels)` that the networks take and return.
"""

from dataclasses import dataclass

from pinnsiren.errors import CompileError

Operator = tuple[tuple[tuple[int, ...], float], ...]
"""A differential operator with constant coefficients, `sum_a c_a d^a`, as ((multi-index a, c_a), ...)."""


@dataclass(frozen=True)
class StreamProduct:
    """One product in a stream behind an activation: `sigma^(n)(v) * coefficient * v_i v_j ...` with n factors.

    Attributes:
        coefficient: constant, the 1/n! of the chain rule included.
        factors: indices of two to four streams, not decreasing.
    """

    coefficient: float
    factors: tuple[int, ...]


@dataclass(frozen=True)
class ClosedStream:
    """A stream whose behaviour under an activation is known in full (Faa di Bruno).

    Attributes:
        operator: what the stream is of the field.
        products: what joins `sigma'(v) v_k`; every factor stands before the stream in the layout.
    """

    operator: Operator
    products: tuple[StreamProduct, ...]


@dataclass(frozen=True)
class StreamLayout:
    """Order of the streams: the value, one first derivative per coordinate in `gradient`, second-order
    operators, then closed streams.

    Operator k is `L_k = sum_ij A^k_ij d_i d_j` with i, j running over `gradient`; the symmetric matrices
    `A^k` come at run time. Closed streams have constant coefficients and any order up to four; plans consist of
    them alone (`stream_closure`).

    Attributes:
        n_coordinates: number of coordinates of the problem.
        gradient: indices of the coordinates whose first derivative is carried, strictly increasing.
        n_operators: number of second-order operators.
        closed: further streams with constant coefficients.

    Raises:
        CompileError: an index outside the coordinates or repeated, or an operator without a gradient to build
            it from.

    >>> layout = StreamLayout(n_coordinates=2, gradient=(0, 1), n_operators=1)
    >>> layout.size, layout.operator_start, layout.names
    (4, 3, ('value', 'd0', 'd1', 'L0'))
    """

    n_coordinates: int
    gradient: tuple[int, ...]
    n_operators: int
    closed: tuple[ClosedStream, ...] = ()

    def __post_init__(self) -> None:
        if self.n_coordinates < 1 or self.n_operators < 0:
            raise CompileError(
                f"a stream layout was given `n_coordinates={self.n_coordinates}`, "
                f"`n_operators={self.n_operators}`; "
                "expected at least one coordinate and a number of operators that is not negative."
            )
        increasing = all(a < b for a, b in zip(self.gradient, self.gradient[1:], strict=False))
        if not increasing or any(not 0 <= i < self.n_coordinates for i in self.gradient):
            raise CompileError(
                f"a stream layout was given `gradient={self.gradient}`; expected strictly increasing indices in 0..{self.n_coordinates - 1}."
            )
        if self.n_operators and not self.gradient:
            raise CompileError(
                f"a stream layout was given {self.n_operators} second-order operators and an empty "
                "`gradient`; "
                "list in `gradient` every coordinate that the operators differentiate."
            )

    @property
    def size(self) -> int:
        """Number of streams S."""
        return self.closed_start + len(self.closed)

    @property
    def operator_start(self) -> int:
        """Index of the first second-order stream."""
        return 1 + len(self.gradient)

    @property
    def closed_start(self) -> int:
        """Index of the first closed stream."""
        return self.operator_start + self.n_operators

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the streams in order: `value`, `d<coordinates>` for one derivative, `L<k>` for a combination."""
        plain = ("value", *(f"d{i}" for i in self.gradient), *(f"L{k}" for k in range(self.n_operators)))
        return plain + tuple(_name(stream.operator, len(plain) + k) for k, stream in enumerate(self.closed))

    def position(self, orders: tuple[int, ...]) -> int | None:
        """The stream that is the partial derivative `orders` itself, or None."""
        if not any(orders):
            return 0
        for k, stream in enumerate(self.closed):
            if stream.operator == ((orders, 1.0),):
                return self.closed_start + k
        return 1 + self.gradient.index(orders.index(1)) if sum(orders) == 1 and orders.index(1) in self.gradient else None


def _name(operator: Operator, index: int) -> str:
    if len(operator) == 1 and operator[0][1] == 1.0:
        return "d" + "".join(str(axis) * count for axis, count in enumerate(operator[0][0]))
    return f"L{index}"
