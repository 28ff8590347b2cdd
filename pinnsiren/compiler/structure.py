"""Structure: linear, affine, bilinear or nonlinear, and in which unknown; answered symbolically.

Input: `ProblemIR`. Output: `Structure`. An expression is affine in a set of symbols when its second derivatives with respect to them vanish; it is
bilinear when it is affine in the fields for fixed coefficients and the other way round.
"""

from dataclasses import dataclass
from typing import Any

import sympy as sp

from pinnsiren.compiler.lowering import jets_in
from pinnsiren.ir import ProblemIR, partial_derivative, unknown_symbol


@dataclass(frozen=True)
class Structure:
    """How the residuals depend on what is solved for.

    Attributes:
        in_fields: `"linear"`, `"affine"` or `"nonlinear"`.
        in_unknowns: the same for unknown scalars and coefficient fields, or None without unknowns.
        overall: `"linear"`, `"affine"`, `"bilinear"` or `"nonlinear"`.
        is_analytic: no conjugate, real part or modulus of a field occurs.
        nonlinear_terms: texts of residuals that are not affine in the fields.
    """

    in_fields: str
    in_unknowns: str | None
    overall: str
    is_analytic: bool
    nonlinear_terms: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.overall} ({self.in_fields} in the fields"
        return text + (f", {self.in_unknowns} in the unknown coefficients)" if self.in_unknowns else ")")


def find_structure(ir: ProblemIR) -> Structure:
    """Classify the residuals of a lowered problem."""
    coefficient_jets = {jet.symbol for jet in ir.jets if jet.field >= ir.n_fields}
    unknowns = {unknown_symbol(unknown) for unknown in ir.unknowns} | coefficient_jets
    field_degrees, unknown_degrees, nonlinear = [], [], []
    is_analytic = True
    for residual in ir.residuals:
        jets = {jet.symbol for jet in jets_in(residual.expression) if jet.field < ir.n_fields}
        degree = affine_degree(residual.expression, jets)
        if residual.values is not None and degree == 0:
            degree = 1
        field_degrees.append(degree)
        if degree == 2:
            nonlinear.append(residual.label)
        if residual.expression.free_symbols & unknowns:
            unknown_degrees.append(affine_degree(residual.expression, unknowns))
        if any(node.free_symbols & jets for node in residual.expression.atoms(sp.conjugate, sp.re, sp.im, sp.Abs, sp.arg)):
            is_analytic = False
    names = ("linear", "affine", "nonlinear")
    in_fields = names[max(field_degrees)]
    in_unknowns = names[max(unknown_degrees)] if unknown_degrees else ("affine" if unknowns else None)
    if in_unknowns is None:
        overall = in_fields
    else:
        overall = "nonlinear" if "nonlinear" in (in_fields, in_unknowns) else "bilinear"
    return Structure(in_fields, in_unknowns, overall, is_analytic, tuple(nonlinear))


def affine_degree(expression: Any, symbols: set[Any]) -> int:
    """Return 0 (linear: vanishes with the symbols), 1 (affine) or 2 (neither)."""
    for symbol in symbols & expression.free_symbols:
        derivative = partial_derivative(expression, symbol)
        if derivative.free_symbols & symbols or derivative.has(sp.Derivative, sp.Subs):
            return 2
    rest = expression.xreplace(dict.fromkeys(symbols, sp.Integer(0)))
    return 0 if rest == 0 else 1
