"""From the declaration to the coefficients of one linear second-order equation, symbolically.

Input: a `Problem` with one field. Output: `LinearForm`, which stands for

    sum_t outer_t d/dx_i ( inner_t du/dx_j )  +  sum_{i<=j} A_ij d2u/dx_i dx_j  +  sum_i B_i du/dx_i  +  C u  =  f

with the fluxes kept as they were declared. This is the reference solvers' own reading of the declaration; it shares nothing with the compiler.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Divergence, GaussianSource, Problem, SourceFamily
from pinnsiren.language.symbols import declaration_of, is_field, is_unknown

_SOURCES = (GaussianSource, SourceFamily)


@dataclass(frozen=True)
class FluxTerm:
    """outer * d/dx_along ( inner * du/dx_towards ); `towards` None stands for inner * u itself."""

    outer: Any
    along: int
    inner: Any
    towards: int | None


@dataclass(frozen=True)
class LinearForm:
    """Coefficients of one linear equation; all are SymPy expressions of the coordinates.

    Attributes:
        coordinates: in the order of the field.
        fluxes: terms in flux form.
        derivatives: coefficient by multi-index, one count per coordinate; `(0, 0)` is the coefficient of u.
        source: f, one expression per shot.
    """

    coordinates: tuple[sp.Symbol, ...]
    fluxes: tuple[FluxTerm, ...]
    derivatives: dict[tuple[int, ...], Any]
    source: tuple[Any, ...]

    def coefficient(self, *index: int) -> Any:
        """Coefficient of the derivative with this multi-index, zero when absent."""
        return self.derivatives.get(index, sp.Integer(0))

    @property
    def reaction(self) -> Any:
        """C, the coefficient of u."""
        return self.coefficient(*(0 for _ in self.coordinates))

    def expressions(self) -> list[Any]:
        """All coefficients, without the sources."""
        return [e for term in self.fluxes for e in (term.outer, term.inner)] + list(self.derivatives.values())


def linear_form(problem: Problem) -> LinearForm:
    """Read the one equation of a problem.

    Raises:
        ReferenceSolverError: several fields or equations, unknown coefficients, or an equation that is not linear in the field.
    """
    if len(problem.fields) != 1 or len(problem.equations) != 1:
        raise ReferenceSolverError(
            f"it solves one equation for one field; `{problem.name}` has {len(problem.equations)} for {len(problem.fields)}"
        )
    return equation_form(problem.equations[0], problem.fields[0], problem.name)


def equation_form(expression: Any, field: Any, name: str) -> LinearForm:
    """Read one equation, left side minus right side, in which one field stands.

    Raises:
        ReferenceSolverError: unknown coefficients, or an equation that is not linear in the field.
    """
    equation = sp.sympify(expression)
    for node in equation.atoms(sp.Function):
        if is_unknown(node):
            raise ReferenceSolverError(f"the coefficient `{node}` is unknown; it solves forward problems only")
    coordinates = tuple(field.args)
    fluxes: list[FluxTerm] = []
    derivatives: dict[tuple[int, ...], Any] = {}
    flux_heads = {node: sp.Dummy("divergence") for node in _outermost(equation, Divergence)}
    plain = equation.xreplace(flux_heads)
    flux_source: Any = sp.Integer(0)
    for node, mark in flux_heads.items():
        outer = sp.diff(plain, mark)
        if _has_unknown(outer, field) or outer.has(*flux_heads.values()):
            raise ReferenceSolverError(f"the equation of `{name}` is not linear in `{field.func}`")
        plain = plain.xreplace({mark: sp.Integer(0)})
        for symbol, component in zip(node.over, node.flux, strict=True):
            along = coordinates.index(symbol)
            parts, rest = _split(component, field, coordinates, name)
            for index, inner in parts.items():
                if sum(index) > 1:
                    raise ReferenceSolverError(f"a flux of `{name}` holds a second derivative; order four is not supported")
                if inner.free_symbols or inner.atoms(sp.Function):
                    fluxes.append(FluxTerm(outer, along, inner, index.index(1) if sum(index) else None))
                else:
                    # A constant leaves the divergence: the plain second derivative has the narrower stencil.
                    whole = tuple(count + (axis == along) for axis, count in enumerate(index))
                    derivatives[whole] = derivatives.get(whole, sp.Integer(0)) + outer * inner
            flux_source = flux_source + outer * sp.diff(rest, symbol)
    parts, rest = _split(plain, field, coordinates, name)
    for index, coefficient in parts.items():
        if sum(index) > 2:
            raise ReferenceSolverError(f"the equation of `{name}` holds a derivative of order {sum(index)}; two is the highest supported")
        derivatives[index] = derivatives.get(index, sp.Integer(0)) + coefficient
    shots = declaration_of(field).shots
    members = _family(-(rest + flux_source), shots, name)
    return LinearForm(coordinates, tuple(fluxes), derivatives, members)


def _outermost(expression: Any, head: type) -> list[Any]:
    if isinstance(expression, head):
        return [expression]
    return list(dict.fromkeys(node for argument in expression.args for node in _outermost(argument, head)))


def _has_unknown(expression: Any, field: Any) -> bool:
    return any(is_field(node) for node in expression.atoms(sp.Function)) or bool(expression.has(field))


def _split(expression: Any, field: Any, coordinates: tuple[Any, ...], name: str) -> tuple[dict[tuple[int, ...], Any], Any]:
    """Coefficients of the field's derivatives by multi-index, and what is free of the field."""
    sources = {node: sp.Dummy("source") for node in _outermost(expression, _SOURCES)}  # type: ignore[arg-type]
    expanded = sp.sympify(expression).xreplace(sources).doit()
    marks: dict[Any, Any] = {}
    indices: dict[Any, tuple[int, ...]] = {}
    for node in expanded.atoms(sp.Derivative):
        if node.expr == field:
            marks[node] = sp.Dummy("derivative")
            indices[marks[node]] = tuple(sum(int(c) for s, c in node.variable_count if s == x) for x in coordinates)
    marked = expanded.xreplace(marks)
    value = sp.Dummy("value")
    marked = marked.xreplace({field: value})
    indices[value] = tuple(0 for _ in coordinates)
    if _has_unknown(marked, field):
        raise ReferenceSolverError(f"the equation of `{name}` applies an operator to `{field.func}` that is no derivative of it")
    parts: dict[tuple[int, ...], Any] = {}
    for mark, index in indices.items():
        if not marked.has(mark):
            continue
        coefficient = sp.diff(marked, mark)
        if coefficient.has(*indices):
            raise ReferenceSolverError(f"the equation of `{name}` is not linear in `{field.func}`")
        if coefficient.has(*sources.values()):
            raise ReferenceSolverError(f"a source multiplies `{field.func}` in the equation of `{name}`")
        if coefficient != 0:
            parts[index] = parts.get(index, sp.Integer(0)) + coefficient
    rest = marked.xreplace(dict.fromkeys(indices, sp.Integer(0)))
    return parts, rest.xreplace({mark: node for node, mark in sources.items()})


def _family(expression: Any, shots: int | None, name: str) -> tuple[Any, ...]:
    """One right-hand side per shot."""
    families = expression.atoms(SourceFamily)
    count = shots or 1
    for family in families:
        if len(family.args) != count:
            raise ReferenceSolverError(f"`{name}` declares {count} shots and a family of {len(family.args)} sources")
    return tuple(expression.xreplace({family: family.args[s] for family in families}) for s in range(count))


def point_like_sources(expression: Any, coordinates: tuple[Any, ...]) -> tuple[list[Any], Any]:
    """Split a source into GaussianSource heads of constant amplitude in all coordinates, amplitude included, and the rest."""
    heads = {node: sp.Dummy("gaussian") for node in expression.atoms(GaussianSource)}
    marked = expression.xreplace(heads)
    found = []
    for node, mark in heads.items():
        factor = sp.diff(marked, mark)
        numbers = (factor * node.amplitude, node.variance, *node.centre)
        if set(node.coordinates) == set(coordinates) and all(sp.sympify(number).is_number for number in numbers):
            centre = dict(zip(node.coordinates, node.centre, strict=True))
            found.append(GaussianSource(at=centre, variance=node.variance, amplitude=factor * node.amplitude))
            marked = marked.xreplace({mark: sp.Integer(0)})
    return found, marked.xreplace({mark: node for node, mark in heads.items()})
