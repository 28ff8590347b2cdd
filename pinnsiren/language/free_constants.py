"""Fields that a problem defines up to a constant only, such as under pure Neumann data.

Input: the problem. Output: names of fields. The test is symbolic: a field is free when adding a constant to it changes no equation and no condition.
"""

import sympy as sp

from pinnsiren.language.conditions import PML, Dirichlet
from pinnsiren.language.operators import expand_operators
from pinnsiren.language.problem import Problem
from pinnsiren.language.symbols import declaration_of


def free_constant_fields(problem: Problem) -> tuple[str, ...]:
    """Return the names of the fields to which a constant may be added, in the order of the declaration."""
    return tuple(declaration_of(candidate).name for candidate in problem.fields if _is_free(problem, candidate))


def _is_free(problem: Problem, candidate: sp.Expr) -> bool:
    own = [condition for condition in problem.conditions if any(sp.sympify(e).has(candidate) for e in condition.expressions())]
    if any(isinstance(condition, (PML, Dirichlet)) for condition in own):
        return False
    # On a pair of faces the difference counts, which ignores constants whatever the expression.
    residuals = [residual.expression for condition in own for residual in condition.residuals(problem.domain) if residual.region.opposite is None]
    return all(_ignores_constant(expression, candidate) for expression in [*residuals, *problem.equations])


def _ignores_constant(expression: sp.Expr, candidate: sp.Expr) -> bool:
    plain = expand_operators(sp.sympify(expression))
    # Derivatives become symbols of their own: what then still holds the field holds its value.
    marks = {node: sp.Dummy("derivative") for node in plain.atoms(sp.Derivative) if node.expr == candidate}
    marked = plain.xreplace(marks)
    return not marked.has(candidate) or sp.simplify(sp.diff(marked.xreplace({candidate: (value := sp.Dummy("value"))}), value)) == 0
