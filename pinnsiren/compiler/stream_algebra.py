"""Residuals in streams: the algebra of a residual program, rewritten from jets to the streams that a network carries.

Input: residual programs and a stream plan. Output: expressions in stream symbols. Where the plan carries a combination of second derivatives, one of
them is eliminated in favour of the combination; the others must then cancel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from pinnsiren.compiler.residual_program import ResidualProgram
from pinnsiren.compiler.stream_plan import StreamPlan
from pinnsiren.errors import CompileError
from pinnsiren.ir import Jet


@dataclass(frozen=True)
class StreamAlgebra:
    """One residual as an expression in streams.

    Attributes:
        program: the residual program; coefficients and unknowns are its own.
        symbols: stream symbols that occur, as (field index, stream index, symbol).
        expression: the residual.
        unknown_partials: its derivatives with respect to the unknown scalars.
    """

    program: ResidualProgram
    symbols: tuple[tuple[int, int, sp.Symbol], ...]
    expression: Any
    unknown_partials: tuple[Any, ...]

    def arguments(self) -> list[Any]:
        """Return the argument lists of the compiled function: coefficients, streams, unknowns."""
        return [list(self.program.coefficient_names), [symbol for _, _, symbol in self.symbols], list(self.program.unknowns)]


def stream_algebra(programs: Sequence[ResidualProgram], plan: StreamPlan) -> tuple[StreamAlgebra, ...]:
    """Rewrite all programs.

    Raises:
        CompileError: derivatives above second order.
    """
    if not plan.supported:
        raise CompileError("a network was asked for derivatives above second order; the stream plan carries first and second ones. Use LeastSquares")
    return tuple(_rewrite(program, plan) for program in programs)


def _rewrite(program: ResidualProgram, plan: StreamPlan) -> StreamAlgebra:
    expression = program.algebra
    for index in sorted({jet.field for jet in program.jets}):
        for position, operator in enumerate(plan.operators):
            (leading, factor), *others = operator
            lead = Jet(index, leading).symbol
            if lead in expression.free_symbols:
                rest = sp.Add(*[sp.Float(c) * Jet(index, orders).symbol for orders, c in others])
                stream = stream_symbol(index, plan.layout.operator_start + position)
                replaced = expression.xreplace({lead: (stream - rest) / sp.Float(factor)})
                expression = sp.expand(replaced) if others else replaced
    names = {}
    for jet in program.jets:
        if jet.order == 0:
            names[jet.symbol] = stream_symbol(jet.field, 0)
        elif jet.order == 1:
            names[jet.symbol] = stream_symbol(jet.field, 1 + plan.layout.gradient.index(jet.orders.index(1)))
    expression = expression.xreplace(names)
    left = [symbol for symbol in expression.free_symbols if symbol.name.startswith("jet")]
    if left:
        raise CompileError(f"{program.residual.label}: the stream plan {plan.operators} does not carry {left}")
    symbols = []
    for symbol in sorted(expression.free_symbols, key=str):
        if symbol.name.startswith("stream"):
            head, position_text = symbol.name[6:].split("_")
            symbols.append((int(head), int(position_text), symbol))
    partials = tuple(sp.diff(expression, unknown) for unknown in program.unknowns)
    return StreamAlgebra(program, tuple(symbols), expression, partials)


def stream_symbol(field_index: int, stream_index: int) -> sp.Symbol:
    """Return the symbol of one stream of one field."""
    return sp.Symbol(f"stream{field_index}_{stream_index}")
