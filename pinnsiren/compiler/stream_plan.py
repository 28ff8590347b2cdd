"""Stream plan: the smallest set of derivative streams, closed under a sine layer, that carries the residuals.

Input: residual programs. Output: `StreamPlan`. A sine layer maps v_i to cos(v) v_i and L v to cos(v) L v - sin(v) sum_ij a_ij v_i v_j, so the set
{value, gradient, operators} is closed as soon as it holds v_i for every coordinate that an operator differentiates. The plan carries either every
second derivative that occurs or, when fewer, the linear combinations of them that the residuals read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from pinnsiren.compiler.residual_program import ResidualProgram
from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.ir import MultiIndex, ProblemIR

Operator = tuple[tuple[MultiIndex, float], ...]  # ((multi-index, constant coefficient), ...)


@dataclass(frozen=True)
class StreamPlan:
    """Streams of every network output.

    Attributes:
        layout: value, gradient coordinates, number of second-order operators.
        operators: per operator its constant coefficients by multi-index; a single entry is a plain second derivative.
        units: matrix products per hidden layer and step, parameter gradient included.
        nested_units: the same for nested reverse mode.
        supported: False when derivatives above second order occur; a network then cannot carry them.
    """

    layout: StreamLayout
    operators: tuple[Operator, ...]
    units: int
    nested_units: int
    supported: bool

    def __str__(self) -> str:
        if not self.supported:
            return "derivatives above second order: no stream plan"
        names = ", ".join(self.layout.names)
        return f"{self.layout.size} streams ({names}), {self.units} matrix products per layer and step; nested: {self.nested_units}"


def plan_streams(ir: ProblemIR, programs: Sequence[ResidualProgram]) -> StreamPlan:
    """Choose the cheaper of individual second derivatives and contracted operators."""
    dimension = len(ir.coordinates)
    jets = [jet for jet in ir.jets if jet.field < ir.n_fields]
    supported = all(jet.order <= 2 for jet in jets)
    first = {axis for jet in jets if jet.order == 1 for axis in range(dimension) if jet.orders[axis]}
    second = sorted({jet.orders for jet in jets if jet.order == 2}, reverse=True)
    operators = _contracted(programs, second, ir.n_fields)
    if operators is None or len(operators) >= len(second):
        operators = tuple(((orders, 1.0),) for orders in second)
    gradient = tuple(sorted(first | {axis for orders in second for axis in range(dimension) if orders[axis]}))
    layout = StreamLayout(dimension, gradient, len(operators))
    n_outputs = sum(1 + is_complex for is_complex in ir.is_complex) * ir.n_shots
    g = len(gradient)
    nested = 3 * (1 + n_outputs * (1 + 2 * g)) if second else 3 * (1 + n_outputs * bool(g))
    return StreamPlan(layout, operators, 3 * layout.size, nested, supported)


def _contracted(programs: Sequence[ResidualProgram], second: list[MultiIndex], n_fields: int) -> tuple[Operator, ...] | None:
    """Find constant-coefficient combinations of second derivatives that serve every residual, or None."""
    found: list[Operator] = []
    for program in programs:
        for index in sorted({jet.field for jet in program.jets if jet.order == 2 and jet.field < n_fields}):
            operator = combination(program, index)
            if operator is None:
                return None
            if operator not in found:
                found.append(operator)
    return tuple(found)


def combination(program: ResidualProgram, field_index: int) -> Operator | None:
    """Return the one combination of second derivatives of a field that a residual reads, or None.

    The partial derivatives of the residual are then proportional to constants; their common factor stays in the algebra.
    """
    partials = zip(program.jets, program.partials, strict=True)
    second = {jet.orders: partial for jet, partial in partials if jet.field == field_index and jet.order == 2}
    pairs = sorted(second.items(), reverse=True, key=lambda pair: pair[0])
    ratios = [(orders, sp.simplify(partial / pairs[0][1])) for orders, partial in pairs]
    if not all(ratio.is_number and ratio.is_real for _, ratio in ratios):
        return None
    return tuple((orders, float(ratio)) for orders, ratio in ratios)
