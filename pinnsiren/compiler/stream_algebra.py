"""Residuals in streams: the algebra of a residual program, rewritten from jets to the streams that a network carries.

Input: residual programs and a stream plan. Output: expressions in stream symbols. Where the plan carries combinations of second derivatives, each
residual reads one of them per field.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from pinnsiren.compiler.residual_program import ResidualProgram
from pinnsiren.compiler.stream_plan import StreamPlan, combination
from pinnsiren.errors import CompileError
from pinnsiren.ir import Jet, partial_derivative


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
    names: dict[Any, Any] = {}
    for index in sorted({jet.field for jet in program.jets if jet.order == 2}):
        operators = plan.operators if all(len(operator) == 1 for operator in plan.operators) else (combination(program, index),)
        for operator in operators:
            if operator is None or operator not in plan.operators:
                raise CompileError(f"{program.residual.label}: the stream plan carries {plan.operators} and no {operator}")
            (leading, factor), *others = operator
            # The residual depends on the combination alone, so the leading derivative may stand for all of it.
            stream = stream_symbol(index, plan.layout.operator_start + plan.operators.index(operator))
            names[Jet(index, leading).symbol] = stream / sp.Float(factor) if factor != 1 else stream
            names.update({Jet(index, orders).symbol: sp.Integer(0) for orders, _ in others})
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
    partials = tuple(partial_derivative(expression, unknown) for unknown in program.unknowns)
    return StreamAlgebra(program, tuple(symbols), expression, partials)


def stream_symbol(field_index: int, stream_index: int) -> sp.Symbol:
    """Return the symbol of one stream of one field."""
    return sp.Symbol(f"stream{field_index}_{stream_index}")
