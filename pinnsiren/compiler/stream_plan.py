"""Stream plan: for every residual the smallest set of derivative streams that carries it, and whether nested differentiation would be cheaper.

Input: residual programs. Output: `StreamPlan`. A residual reads the derivatives of a field through the span of its gradient with respect to them:
where `u_tt - c(x)^2 lap u` is asked for, two operators, not three derivatives. `stream_closure` adds what a layer needs to carry them. Residuals have
points of their own and so streams of their own: Dirichlet rows carry the value alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy as sp

from pinnsiren.compiler.residual_program import ResidualProgram
from pinnsiren.compiler.stream_closure import close_streams
from pinnsiren.compiler.streams import Operator, StreamLayout
from pinnsiren.ir import Jet, MultiIndex, ProblemIR, partial_derivative
from pinnsiren.language.sources import SourceFamily

NESTED_OVERHEAD = 1.25
"""Time of a product in nested differentiation over one in streams: 517 ms / 33 against 153 ms / 12 at 4096 points and two outputs
(benchmarks/results/derivative_step_cpu.json); graphs of small products and passes over memory between them."""

_EXPANDABLE = 200  # operations: larger coefficients are compared as they stand


@dataclass(frozen=True)
class ResidualStreams:
    """Streams of one residual.

    Attributes:
        layout: the streams.
        nested_units: matrix products per hidden layer and step of nested differentiation, parameter gradient included.
        reverse: nested differentiation is cheaper, and gradients of the loss take it.
    """

    layout: StreamLayout
    nested_units: int
    reverse: bool

    @property
    def units(self) -> int:
        """Matrix products per hidden layer and step: forward, gradient of the input and gradient of the weights of every stream."""
        return 3 * self.layout.size


@dataclass(frozen=True)
class StreamPlan:
    """Streams of every residual.

    Attributes:
        residuals: in the order of the residuals.
        labels: of the residuals, for `explain`.
        coordinates: names of the coordinates, for `explain`.
    """

    residuals: tuple[ResidualStreams, ...]
    labels: tuple[str, ...]
    coordinates: tuple[str, ...]

    @property
    def largest(self) -> ResidualStreams:
        """The residual with the most streams."""
        return max(self.residuals, key=lambda streams: streams.layout.size)

    @property
    def layout(self) -> StreamLayout:
        """The largest layout."""
        return self.largest.layout

    def __str__(self) -> str:
        groups: dict[ResidualStreams, list[str]] = {}
        for streams, label in zip(self.residuals, self.labels, strict=True):
            groups.setdefault(streams, []).append(label)
        return "\n              ".join(self._line(streams, labels) for streams, labels in groups.items())

    def _line(self, streams: ResidualStreams, labels: list[str]) -> str:
        size = streams.layout.size
        names = ", ".join(["u", *(self._name(stream.operator) for stream in streams.layout.closed)])
        where = labels[0] if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1} more"
        counts = f"{streams.units} matrix products per layer and step; nested: {streams.nested_units}"
        return f"{size} {'stream' if size == 1 else 'streams'} ({names}), {counts}{', which is taken' if streams.reverse else ''} [{where}]"

    def _name(self, operator: Operator) -> str:
        text = ""
        for orders, coefficient in operator:
            derivative = "u_" + "".join(name * count for name, count in zip(self.coordinates, orders, strict=True))
            size = "" if abs(coefficient) == 1 else f"{abs(coefficient):.4g} "
            text += (" - " if coefficient < 0 else " + " if text else "") + size + derivative
        return text.strip()


def plan_streams(ir: ProblemIR, programs: Sequence[ResidualProgram]) -> StreamPlan:
    """Plan every residual."""
    residuals = tuple(_plan_residual(ir, program) for program in programs)
    return StreamPlan(residuals, tuple(program.residual.label for program in programs), tuple(map(str, ir.coordinates)))


def _plan_residual(ir: ProblemIR, program: ResidualProgram) -> ResidualStreams:
    # Coefficient fields are no outputs of the network: their jets come after those of the fields.
    layout = close_streams(wanted_operators(program, ir.n_fields), len(ir.coordinates))
    outputs = [(1 + is_complex) * ir.n_shots for is_complex in ir.is_complex]
    sweeps = {index: nested_sweeps(orders) for index, orders in _derivatives(program.jets, ir.n_fields).items()}
    nested = 3 * (1 + sum(outputs[index] * count for index, count in sweeps.items()))
    # The generic sweeps differentiate every output of the network.
    executed = 3 * (1 + sum(outputs) * max(sweeps.values(), default=0))
    return ResidualStreams(layout, nested, bool(sweeps) and NESTED_OVERHEAD * executed < 3 * layout.size)


def _derivatives(jets: Sequence[Jet], n_fields: int | None) -> dict[int, list[MultiIndex]]:
    found: dict[int, list[MultiIndex]] = {}
    for jet in jets:
        if jet.order and (n_fields is None or jet.field < n_fields):
            found.setdefault(jet.field, []).append(jet.orders)
    return found


def wanted_operators(program: ResidualProgram, n_fields: int | None = None) -> tuple[Operator, ...]:
    """The operators through which a residual reads derivatives, with constant real coefficients.

    The gradient of the residual with respect to the derivatives of a field is a sum of functions times constant vectors; the vectors are the
    operators. A residual that is not complex differentiable reads every derivative by itself.
    """
    operators: dict[Operator, None] = {}
    for index in _derivatives(program.jets, n_fields):
        jets = [jet for jet in program.jets if jet.field == index and jet.order]
        rows = _constant_vectors(program, jets) if program.is_analytic else None
        if rows is None:
            rows = [{jet.orders: 1.0} for jet in jets]
        for row in rows:
            operators[tuple(sorted(row.items(), reverse=True))] = None
    return tuple(operators)


def _constant_vectors(program: ResidualProgram, jets: Sequence[Jet]) -> list[dict[MultiIndex, float]] | None:
    """The vectors, real and imaginary parts apart; None where the gradient is not an expression of its own."""
    rows: dict[tuple[sp.Expr, bool], dict[MultiIndex, float]] = {}
    for jet in jets:
        partial = partial_derivative(program.residual.expression, jet.symbol)
        if partial.has(sp.Derivative, sp.Subs):
            return None
        for key, number in _terms(partial).items():
            for part, is_imaginary in zip(number.as_real_imag(), (False, True), strict=True):
                if part != 0:
                    rows.setdefault((key, is_imaginary), {})[jet.orders] = float(part)
    return list(rows.values())


def _terms(expression: sp.Expr) -> Mapping[sp.Expr, sp.Expr]:
    """Split a coefficient into functions and their constant factors."""
    if expression.count_ops() <= _EXPANDABLE:
        expression = sp.expand(expression)
    terms: dict[sp.Expr, sp.Expr] = {}
    for term in sp.Add.make_args(expression):
        number, function = term.as_independent(*term.free_symbols, as_Add=False) if term.free_symbols else (term, sp.S.One)
        if number.has(SourceFamily):
            number, function = sp.S.One, term
        terms[function] = terms.get(function, sp.S.Zero) + number
    return terms


def nested_sweeps(wanted: Sequence[MultiIndex]) -> int:
    """Matrix products per layer that nested reverse mode adds to the value, per output.

    Every sweep differentiates one derivative and costs as much as the graph below it: 1 for the gradient, 2 for its derivatives, 4, 8. A square of a
    second-order operator is differentiated as a whole: the operator of the operator.
    """
    needed = {order: {orders for orders in wanted if sum(orders) == order} for order in range(1, 5)}
    total = 0
    for order in range(4, 0, -1):
        parents: set[MultiIndex] = set()
        for orders in sorted(needed[order], reverse=True):
            lower = [tuple(count - (i == axis) for i, count in enumerate(orders)) for axis in range(len(orders)) if orders[axis]]
            known = [parent for parent in lower if parent in parents or parent in needed.get(order - 1, set())]
            parents.add((known or lower)[0])
        total += len(parents) * 2 ** (order - 1)
        if order > 1:
            needed[order - 1] |= parents
    axes = {axis for orders in wanted for axis, count in enumerate(orders) if count}
    squares = {orders for orders in wanted if sum(orders) == 4}
    pairs = {tuple((2 * (i == a)) + (2 * (i == b)) for i in range(len(wanted[0]))) for a in axes for b in axes} if wanted else set()
    if squares and squares == pairs and len(axes) > 1:
        return min(total, 4 * (1 + len(axes)) ** 2 - 1)
    return total
