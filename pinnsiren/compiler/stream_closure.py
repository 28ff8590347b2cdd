"""Closure of streams: the smallest set of operators that a layer maps to itself.

Input: differential operators with constant coefficients, up to fourth order. Output: a `StreamLayout` of closed streams.

Behind an activation, `D sigma(v) = sum_n sigma^(n)(v) / n! * D_n(v, ..., v)`, where D_n is the part of `D(f_1 ... f_n)` in which every factor is
differentiated. `D_2 = sum_ab M_ab (d^a f)(d^b g)` has the symmetric matrix `M_ab = binomial(a + b, a) c_(a+b)`. A quadratic form is a function of the
rows of its matrix and of no smaller space of linear functionals, so every set of streams that serves D holds the row space of M. The least fixed
point of "add the row spaces" is therefore contained in every closed set, and it is closed: D_3 and D_4 are D_2 applied again. Arithmetic is exact.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import product
from math import comb, factorial, prod

from pinnsiren.compiler.streams import ClosedStream, Operator, StreamLayout, StreamProduct
from pinnsiren.errors import CompileError

MAXIMUM_ORDER = 4  # the activations give four derivatives

MultiIndex = tuple[int, ...]
Functional = dict[MultiIndex, Fraction]  # without zeros, without the value
Tensor = dict[tuple[int, ...], Fraction]  # entries by indices of basis functionals

_LARGEST_DENOMINATOR = 10**6
_ROUNDING = 1e-14  # a ratio this close to a simple fraction was meant to be it


def close_streams(operators: Iterable[Operator], dimension: int) -> StreamLayout:
    """Return the smallest closed layout whose streams span the operators.

    Args:
        operators: constant coefficients by multi-index; terms of order zero ride on the value stream and are dropped.
        dimension: number of coordinates.

    Raises:
        CompileError: an operator above fourth order.

    >>> close_streams([(((2, 0), 1.0), ((0, 2), 1.0))], 2).names
    ('value', 'd0', 'd1', 'L3')
    >>> close_streams([(((1, 0), 1.0), ((0, 2), -1.0))], 2).size  # heat: value, u_x and u_t - u_xx
    3
    """
    basis = reduce_rows([_functional(operator) for operator in operators])
    order = max((sum(pivot(row)) for row in basis), default=0)
    if order > MAXIMUM_ORDER:
        raise CompileError(f"streams carry derivatives up to order {MAXIMUM_ORDER}; one of order {order} was asked for")
    size = -1
    while len(basis) > size:
        size = len(basis)
        basis = reduce_rows([*basis, *(row for functional in basis for row in splitting(functional).values())])
    # A factor of a stream has a lower order than the stream, or occurs in it as a lower term: by order, factors come first.
    basis.sort(key=lambda row: (sum(pivot(row)), [-count for count in pivot(row)]))
    pivots = [pivot(row) for row in basis]
    seconds = [_coordinates(splitting(row), pivots) for row in basis]
    thirds = [_compose(second, seconds) for second in seconds]
    fourths = [_compose(second, thirds) for second in seconds]
    closed = [
        ClosedStream(_operator(row), (*_products(second), *_products(third), *_products(fourth)))
        for row, second, third, fourth in zip(basis, seconds, thirds, fourths, strict=True)
    ]
    return StreamLayout(dimension, (), 0, tuple(closed))


def pivot_orders(stream: ClosedStream) -> MultiIndex:
    """The derivative that stands for a stream: it occurs in no other stream of the layout, and here with coefficient one."""
    return pivot({orders: Fraction(coefficient) for orders, coefficient in stream.operator})


def pivot(row: Functional) -> MultiIndex:
    """The leading multi-index: highest order, then lexicographically last."""
    return max(row, key=lambda orders: (sum(orders), orders))


def reduce_rows(rows: Sequence[Functional]) -> list[Functional]:
    """Reduced row echelon form: every pivot has coefficient one and occurs in one row only, so that streams are as plain as the span allows."""
    remaining, done = [row for row in rows if row], list[Functional]()
    while remaining:
        remaining.sort(key=lambda row: (sum(pivot(row)), pivot(row)))
        top = remaining.pop()
        leading = pivot(top)
        top = {orders: value / top[leading] for orders, value in top.items()}
        done = [_subtract(row, top, row.get(leading, Fraction(0))) for row in done]
        remaining = [row for row in (_subtract(row, top, row.get(leading, Fraction(0))) for row in remaining) if row]
        done.append(top)
    return done


def splitting(functional: Functional) -> dict[MultiIndex, Functional]:
    """The rows of M: by the derivative of the one factor, the functional of the other."""
    rows: dict[MultiIndex, Functional] = {}
    for orders, value in functional.items():
        for part in product(*(range(count + 1) for count in orders)):
            other = tuple(a - b for a, b in zip(orders, part, strict=True))
            if any(part) and any(other):
                rows.setdefault(part, {})[other] = value * prod(comb(a, b) for a, b in zip(orders, part, strict=True))
    return rows


def _coordinates(rows: Mapping[MultiIndex, Functional], pivots: Sequence[MultiIndex]) -> Tensor:
    """M in the basis: a functional of the span has its entries at the pivots as coordinates."""
    entries: Tensor = {}
    for i, first in enumerate(pivots):
        for j, second in enumerate(pivots):
            value = rows.get(first, {}).get(second, Fraction(0))
            if value:
                entries[i, j] = value
    return entries


def _compose(second: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Split the first factor of D_2 again: D_(n+1) from D_n."""
    result: Tensor = {}
    for (i, j), value in second.items():
        for indices, inner in others[i].items():
            key = (*indices, j)
            result[key] = result.get(key, Fraction(0)) + value * inner
    return {key: value for key, value in result.items() if value}


def _products(tensor: Tensor) -> tuple[StreamProduct, ...]:
    """Entries with equal factors together: n! / (multiplicities) of them, divided by the n! of the chain rule."""
    products = []
    for indices in sorted({tuple(sorted(key)) for key in tensor}):
        repeats = prod(factorial(indices.count(index)) for index in set(indices))
        products.append(StreamProduct(float(tensor[indices] / repeats), tuple(1 + index for index in indices)))
    return tuple(products)


def _subtract(row: Functional, other: Functional, factor: Fraction) -> Functional:
    if not factor:
        return row
    result = {orders: row.get(orders, Fraction(0)) - factor * other.get(orders, Fraction(0)) for orders in row.keys() | other.keys()}
    return {orders: value for orders, value in result.items() if value}


def _functional(operator: Operator) -> Functional:
    entries = {orders: coefficient for orders, coefficient in operator if any(orders) and coefficient}
    if not entries:
        return {}
    leading = max(entries, key=lambda orders: (sum(orders), orders))
    return {orders: _fraction(coefficient / entries[leading]) for orders, coefficient in entries.items()}


def _fraction(value: float) -> Fraction:
    """The simple fraction that a ratio of rounded numbers was meant to be, else the number itself."""
    exact = Fraction(value)
    simple = exact.limit_denominator(_LARGEST_DENOMINATOR)
    return simple if abs(simple - exact) <= _ROUNDING * abs(exact) else exact


def _operator(row: Functional) -> Operator:
    ordered = sorted(row.items(), key=lambda item: (sum(item[0]), item[0]), reverse=True)
    return tuple((orders, float(value)) for orders, value in ordered)
