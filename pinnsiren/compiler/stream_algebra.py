"""Residuals in streams: the algebra of a residual program, rewritten from jets to the streams that a network carries.

Input: residual programs and a stream plan. Output: expressions in stream symbols. A residual depends on derivatives through the operators of its plan
alone, so any derivatives on which the operators have the right values may stand in for the true ones: the leading derivative of each stream, which
occurs in no other, takes the stream's value, and all others are zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from pinnsiren.compiler.residual_program import ResidualProgram
from pinnsiren.compiler.stream_closure import pivot_orders
from pinnsiren.compiler.stream_plan import StreamPlan
from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.ir import partial_derivative


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
    """Rewrite all programs."""
    return tuple(_rewrite(program, streams.layout) for program, streams in zip(programs, plan.residuals, strict=True))


def _rewrite(program: ResidualProgram, layout: StreamLayout) -> StreamAlgebra:
    leading = {pivot_orders(stream): layout.closed_start + k for k, stream in enumerate(layout.closed)}
    names: dict[Any, Any] = {}
    for jet in program.jets:
        index = 0 if jet.order == 0 else leading.get(jet.orders)
        names[jet.symbol] = sp.Integer(0) if index is None else stream_symbol(jet.field, index)
    expression = program.algebra.xreplace(names)
    symbols = []
    for symbol in sorted(expression.free_symbols, key=str):
        if symbol.name.startswith("stream"):
            head, position_text = symbol.name[6:].split("_")
            symbols.append((int(head), int(position_text), symbol))
    partials = tuple(partial_derivative(expression, unknown) for unknown in program.unknowns)
    return StreamAlgebra(program, tuple(symbols), expression, partials)


def stream_symbol(field_index: int, stream_index: int) -> sp.Symbol:
    """Return the symbol of one stream of one field."""
    return sp.Symbol(f"stream{field_index}_{stream_index}")
