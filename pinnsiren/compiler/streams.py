"""Derivative streams: which derivatives of a field travel together through a network.

Input of this stage: the derivatives that the residuals need. Output: a `StreamLayout`, the order of the
blocks in every packed tensor `(size, n_points, n_channels)` that the networks take and return.
"""

from dataclasses import dataclass

from pinnsiren.errors import CompileError


@dataclass(frozen=True)
class StreamLayout:
    """Order of the streams: the value, one first derivative per coordinate in `gradient`, then second-order
    operators.

    Operator k is `L_k = sum_ij A^k_ij d_i d_j` with i, j running over `gradient`; the symmetric matrices
    `A^k` come at run time.

    Attributes:
        n_coordinates: number of coordinates of the problem.
        gradient: indices of the coordinates whose first derivative is carried, strictly increasing.
        n_operators: number of second-order operators.

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
        return self.operator_start + self.n_operators

    @property
    def operator_start(self) -> int:
        """Index of the first second-order stream."""
        return 1 + len(self.gradient)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the streams in order: `value`, `d<coordinate>`, `L<operator>`."""
        return ("value", *(f"d{i}" for i in self.gradient), *(f"L{k}" for k in range(self.n_operators)))
