"""Residual programs: the algebra of a residual, split into coefficients of the points and a small expression in jets.

Input: a `Residual`. Output: `ResidualProgram`, whose coefficients are evaluated once per set of points by NumPy in double precision (special
functions, sampled data and `Piecewise` never reach the network side) and whose algebra runs on NumPy arrays or torch tensors alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.compiler.lowering import jets_in
from pinnsiren.ir import Jet, ProblemIR, Residual, partial_derivative, unknown_symbol
from pinnsiren.language.numeric import evaluator
from pinnsiren.language.operators import NormalComponent
from pinnsiren.language.shot_families import ShotEvaluator
from pinnsiren.language.sources import SourceFamily

Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class ResidualProgram:
    """Compiled residual.

    Attributes:
        residual: what was compiled.
        jets: the jets that it reads.
        unknowns: symbols of the unknown scalars that it reads.
        coefficient_names: names of the coefficient symbols.
        algebra: expression in coefficient, jet and unknown symbols.
        partials: derivative of the algebra with respect to each jet.
        unknown_partials: derivative of the algebra with respect to each unknown scalar.
        is_affine: whether the algebra is affine in the jets, with coefficients that hold no unknown scalar.
        is_affine_in_jets: the same for fixed values of the unknown scalars.
        is_analytic: whether it is complex differentiable in the jets (no conjugate, real part or modulus).
    """

    residual: Residual
    jets: tuple[Jet, ...]
    unknowns: tuple[sp.Symbol, ...]
    coefficient_names: tuple[sp.Symbol, ...]
    algebra: Any
    partials: tuple[Any, ...]
    unknown_partials: tuple[Any, ...]
    is_affine: bool
    is_affine_in_jets: bool
    is_analytic: bool
    _evaluate_coefficients: Callable[[NDArray[np.float64]], list[NDArray[Any]]]

    def coefficients(self, points: NDArray[np.float64], normals: NDArray[np.float64] | None = None) -> list[NDArray[Any]]:
        """Evaluate the coefficients, each (n_points, 1) or (n_points, n_shots), real where all imaginary parts vanish.

        Args:
            points: (n_points, n_coordinates), physical units.
            normals: (n_points, n_coordinates), needed on curved boundaries.
        """
        columns = np.hstack([points, np.zeros_like(points) if normals is None else normals])
        return self._evaluate_coefficients(columns)

    def compile(self, expressions: Sequence[Any], functions: Mapping[str, Any] | str = "numpy") -> Callable[..., list[Any]]:
        """Turn expressions in coefficients, jets and unknowns into a function of (coefficients, jets, unknowns), subexpressions shared."""
        arguments = (tuple(self.coefficient_names), tuple(jet.symbol for jet in self.jets), tuple(self.unknowns))
        if isinstance(functions, str):
            compiled = _lambdified(arguments, tuple(expressions), functions)
        else:
            compiled = sp.lambdify(arguments, list(expressions), modules=[dict(functions), "math"], cse=True)
        return lambda coefficients, jets, unknowns: list(compiled(coefficients, jets, unknowns))


@lru_cache(maxsize=256)
def _lambdified(arguments: tuple[tuple[sp.Symbol, ...], ...], expressions: tuple[Any, ...], module: str) -> Callable[..., Any]:
    """Compile once what Newton's method evaluates at every step."""
    return sp.lambdify(arguments, list(expressions), modules=module, cse=True)  # type: ignore[no-any-return]


def compile_residual(residual: Residual, ir: ProblemIR) -> ResidualProgram:
    """Split a residual into coefficients and algebra."""
    residual = _families_of_coefficients(residual, {unknown_symbol(unknown) for unknown in ir.unknowns})
    jets = tuple(sorted(jets_in(residual.expression), key=lambda jet: (jet.field, jet.order, jet.orders[::-1])))
    unknown_symbols = [unknown_symbol(unknown) for unknown in ir.unknowns]
    unknowns = tuple(symbol for symbol in unknown_symbols if symbol in residual.expression.free_symbols)
    variables = {*(jet.symbol for jet in jets), *unknowns}
    derivatives = {jet: partial_derivative(residual.expression, jet.symbol) for jet in jets}
    is_analytic = not any(node.free_symbols & variables for node in residual.expression.atoms(sp.conjugate, sp.re, sp.im, sp.Abs, sp.arg))
    # The conjugate of a complex field has a constant derivative along the real direction, yet its algebra is not that derivative times the field.
    can_be_affine = is_analytic or not any(ir.is_complex)
    is_affine = can_be_affine and not any(derivative.free_symbols & variables for derivative in derivatives.values())
    in_jets = {jet.symbol for jet in jets}
    is_affine_in_jets = can_be_affine and not any(derivative.free_symbols & in_jets for derivative in derivatives.values())
    table: dict[Any, sp.Symbol] = {}
    if is_affine:
        rest = residual.expression.xreplace({jet.symbol: sp.Integer(0) for jet in jets})
        algebra = sp.Add(*[_coefficient(d, table) * jet.symbol for jet, d in derivatives.items()], _coefficient(rest, table))
    else:
        algebra = hoist(residual.expression, variables, table)
    return ResidualProgram(
        residual=residual,
        jets=jets,
        unknowns=unknowns,
        coefficient_names=tuple(table.values()),
        algebra=algebra,
        partials=tuple(partial_derivative(algebra, jet.symbol) for jet in jets),
        unknown_partials=tuple(partial_derivative(algebra, symbol) for symbol in unknowns),
        is_affine=is_affine,
        is_affine_in_jets=is_affine_in_jets,
        is_analytic=is_analytic,
        _evaluate_coefficients=_coefficient_evaluator(list(table), ir),
    )


def _families_of_coefficients(residual: Residual, scalars: set[Any]) -> Residual:
    """Take jets and unknowns out of families of sources, where each shot is affine in them: an incident field that meets an unknown coefficient."""
    variables = {jet.symbol for jet in jets_in(residual.expression)} | scalars
    replaced = {}
    for family in residual.expression.atoms(SourceFamily):
        inside = sorted(family.free_symbols & variables, key=str)
        slopes = {symbol: [sp.diff(member, symbol) for member in family.args] for symbol in inside}
        if inside and not any(slope.free_symbols & variables for column in slopes.values() for slope in column):
            rest = family.func(*[member.xreplace(dict.fromkeys(inside, sp.Integer(0))) for member in family.args])
            replaced[family] = sp.Add(rest, *[family.func(*column) * symbol for symbol, column in slopes.items()])
    return replace(residual, expression=residual.expression.xreplace(replaced)) if replaced else residual


def hoist(node: Any, variables: set[Any], table: dict[Any, sp.Symbol]) -> Any:
    """Replace every maximal part without jets and unknowns by a coefficient symbol; `table` collects them."""
    if not node.free_symbols & variables:
        return _coefficient(node, table)
    if isinstance(node, (sp.Add, sp.Mul)):
        free = [argument for argument in node.args if not argument.free_symbols & variables]
        bound = [hoist(argument, variables, table) for argument in node.args if argument.free_symbols & variables]
        head = [_coefficient(node.func(*free), table)] if free else []
        return node.func(*head, *bound)
    if not node.args:
        return node
    return node.func(*[hoist(argument, variables, table) for argument in node.args])


def _coefficient(expression: Any, table: dict[Any, sp.Symbol]) -> Any:
    # Functions of numbers, such as the depth of a fixed place in a layer, are evaluated with the coefficients: the algebra knows no heads.
    if expression.is_number and not expression.has(SourceFamily, sp.Function):
        return expression
    return table.setdefault(expression, sp.Symbol(f"c{len(table)}"))


def _coefficient_evaluator(expressions: list[Any], ir: ProblemIR) -> Callable[[NDArray[np.float64]], list[NDArray[Any]]]:
    """Compile coefficients of points and normals; source families give one column per shot."""
    normals = [sp.Symbol(f"normal_{symbol}", real=True) for symbol in ir.coordinates]
    names = {NormalComponent(symbol): normal for symbol, normal in zip(ir.coordinates, normals, strict=True)}
    symbols = [*ir.coordinates, *normals]
    plain = [expression.xreplace(names) for expression in expressions]
    shared = [index for index, expression in enumerate(plain) if not expression.has(SourceFamily)]
    compiled = evaluator([plain[index] for index in shared], symbols) if shared else None
    by_shot = {index: ShotEvaluator.of(plain[index], ir.n_shots, symbols) for index in range(len(plain)) if index not in shared}

    # Scale, rows and residual read the same coefficients one after another, and those of many shots are costly.
    last: list[tuple[NDArray[np.float64], list[NDArray[Any]]]] = []

    def evaluate(columns: NDArray[np.float64]) -> list[NDArray[Any]]:
        if last and np.array_equal(last[0][0], columns, equal_nan=True):
            return list(last[0][1])
        result = compute(columns)
        if by_shot:
            last[:] = [(columns.copy(), result)]
        return list(result)

    def compute(columns: NDArray[np.float64]) -> list[NDArray[Any]]:
        found = {} if compiled is None else dict(zip(shared, (values[:, None] for values in compiled(columns)), strict=True))
        found |= {index: family(columns) for index, family in by_shot.items()}
        return [_drop_zero_imaginary(found[index]) for index in range(len(plain))]

    return evaluate


def _drop_zero_imaginary(values: NDArray[Any]) -> NDArray[Any]:
    if np.iscomplexobj(values) and not np.any(values.imag):
        return np.ascontiguousarray(values.real)
    return values
