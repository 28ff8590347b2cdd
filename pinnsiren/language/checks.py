"""Checks of a declaration, one mistake each, run when a `Problem` is constructed.

Input: the problem. Output: nothing, or a `ProblemError` in the user's words.
"""

from typing import Any

import numpy as np
import sympy as sp

from pinnsiren.errors import ProblemError
from pinnsiren.language.compatibility import check_neumann_compatibility
from pinnsiren.language.conditions import PML, AbstractCondition, Dirichlet, Observations, parts_of, regions_of
from pinnsiren.language.declaration import Declaration
from pinnsiren.language.domains import AbstractDomain, Box, SpaceTime
from pinnsiren.language.needed_conditions import check_conditions_present
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.operators import expand_operators, operator_coordinates
from pinnsiren.language.sources import GaussianSource, SourceFamily, select_shot
from pinnsiren.language.symbols import applied_symbols, declaration_of, is_field

N_PROBES = 257  # points at which expressions are probed for values that are complex or not finite


def check_problem(problem: Declaration) -> None:
    """Run every check, the most basic first, so that the first message names the root of the trouble."""
    check_types(problem)
    check_fields(problem)
    for place, expression in labelled_expressions(problem):
        check_finite(problem, place, expression)
        check_symbols(problem, place, expression)
        check_applications(problem, place, expression)
        check_time_is_not_space(problem, place, expression)
        check_sources(problem, place, expression)
    check_shots(problem)
    check_layers(problem)
    for condition in problem.conditions:
        condition.residuals(problem.domain)
    check_realness(problem)
    check_exact(problem)
    check_conditions_present(problem)
    check_neumann_compatibility(problem)


def labelled_expressions(problem: Declaration) -> list[tuple[str, Any]]:
    """Return (place, expression) for all equations and conditions."""
    places = [(f"equation {index}", equation) for index, equation in enumerate(problem.equations)]
    for condition in problem.conditions:
        places += [(f"a {type(condition).__name__} condition", sp.sympify(expression)) for expression in condition.expressions()]
    return places


def check_types(problem: Declaration) -> None:
    """Domain, fields, equations and conditions are of the kinds that the language makes."""
    if not isinstance(problem.domain, AbstractDomain):
        raise ProblemError(f"problem `{problem.name}` was given domain={problem.domain!r}; expected a shape such as Box({{x: (0, 1)}})")
    if not problem.fields:
        raise ProblemError(f"problem `{problem.name}` was given no fields; list what is solved for, such as fields=[u]")
    if not problem.equations:
        raise ProblemError(f"problem `{problem.name}` was given no equations; give at least one sp.Eq")
    for condition in problem.conditions:
        if not isinstance(condition, AbstractCondition):
            raise ProblemError(f"problem `{problem.name}` was given the condition {condition!r}; expected for instance Dirichlet(u, 0)")


def check_fields(problem: Declaration) -> None:
    """Fields are made by `field`, have different names, and depend on the coordinates of the domain, in its order."""
    names = []
    for candidate in problem.fields:
        if not is_field(candidate):
            raise ProblemError(f"problem `{problem.name}` was given `{candidate}` as a field; expected a symbol made by `field`")
        names.append(declaration_of(candidate).name)
        if tuple(candidate.args) != problem.domain.coordinates:
            raise ProblemError(
                f"field `{candidate}` of problem `{problem.name}` depends on {candidate.args}; the domain has {problem.domain.coordinates}. "
                "Declare the field with the coordinates of the domain, in its order"
            )
    if len(set(names)) != len(names):
        raise ProblemError(f"problem `{problem.name}` has two fields of one name among {names}; rename one")


def check_finite(problem: Declaration, place: str, expression: Any) -> None:
    """No infinity or NaN stands in an expression."""
    if expression.has(sp.nan, sp.zoo, sp.oo, -sp.oo):
        raise ProblemError(
            f"{place} of problem `{problem.name}` holds an infinite or undefined number: `{expression}`. "
            "A wave speed of zero, or another division by zero, is the usual cause"
        )


def check_symbols(problem: Declaration, place: str, expression: Any) -> None:
    """Every free symbol is a coordinate of the domain."""
    strangers = expression.free_symbols - set(problem.domain.coordinates)
    if strangers:
        names = ", ".join(sorted(f"`{symbol}`" for symbol in strangers))
        raise ProblemError(
            f"{place} of problem `{problem.name}` holds the unknown symbol {names}; known are the coordinates {problem.domain.coordinates} "
            "and the fields. Give it a number, or declare it with `unknown`"
        )


def check_applications(problem: Declaration, place: str, expression: Any) -> None:
    """Fields stand in `fields` and carry their declared arguments; other functions are of the language."""
    declared = {declaration_of(candidate).name: candidate for candidate in problem.fields}
    for applied in applied_symbols(expression):
        declaration = declaration_of(applied)
        if declaration is None:
            raise ProblemError(f"{place} of problem `{problem.name}` holds the unknown function `{applied}`; make fields with `field`")
        if not is_field(applied):
            continue
        candidate = declared.get(declaration.name)
        if candidate is None or candidate.func != applied.func:
            raise ProblemError(
                f"field `{declaration.name}` stands in {place} of problem `{problem.name}` but is missing from fields={list(problem.fields)}; "
                "add it there"
            )
        if applied.args != candidate.args:
            raise ProblemError(
                f"field `{declaration.name}` is used as `{applied}` in {place} of problem `{problem.name}`; it was declared as `{candidate}`. "
                "Use it with the coordinates of its declaration"
            )


def check_time_is_not_space(problem: Declaration, place: str, expression: Any) -> None:
    """`grad`, `div` and `laplacian` did not act along the time of SpaceTime."""
    domain = problem.domain
    if isinstance(domain, SpaceTime) and domain.time in operator_coordinates(expression):
        space = ", ".join(map(str, domain.space.coordinates))
        raise ProblemError(
            f"{place} of problem `{problem.name}` differentiates the time `{domain.time}` as a spatial coordinate; "
            f"restrict the operator: laplacian(u, over=({space},)), or name the time t"
        )


def check_sources(problem: Declaration, place: str, expression: Any) -> None:
    """Gaussian sources are centred in the domain and lie in its coordinates."""
    bounds = problem.domain.bounds
    for source in expression.atoms(GaussianSource):
        for symbol, value in zip(source.coordinates, source.centre, strict=True):
            if symbol not in bounds:
                raise ProblemError(f"a source in {place} of problem `{problem.name}` names `{symbol}`; the domain has {problem.domain.coordinates}")
            low, high = bounds[symbol]
            if value.is_number and not low <= float(value) <= high:
                raise ProblemError(
                    f"a source in {place} of problem `{problem.name}` stands at {symbol}={float(value):g}, outside the domain ({low:g} to {high:g}); "
                    "move the source or enlarge the domain"
                )


def check_shots(problem: Declaration) -> None:
    """Source families and observations have one member per shot."""
    counts = {declaration_of(candidate).shots for candidate in problem.fields}
    if len(counts) > 1:
        raise ProblemError(f"the fields of problem `{problem.name}` have different numbers of shots: {sorted(map(str, counts))}; use one number")
    shots = counts.pop()
    for place, expression in labelled_expressions(problem):
        for family in expression.atoms(SourceFamily):
            if len(family.args) != (shots or -1):
                raise ProblemError(
                    f"a SourceFamily in {place} of problem `{problem.name}` has {len(family.args)} members; the fields have shots={shots}. "
                    "Declare field(..., shots=<number of members>)"
                )
    for condition in problem.conditions:
        if isinstance(condition, Observations):
            for array, axes in ((np.asarray(condition.values), 2), (np.asarray(condition.points), 3)):
                if array.ndim == axes and array.shape[0] != shots:
                    given = f"a first axis of {array.shape[0]}"
                    raise ProblemError(f"observations of problem `{problem.name}` have {given}; the fields have shots={shots}")


def check_layers(problem: Declaration) -> None:
    """A layer lies on a box and on faces without another condition."""
    for layer in (condition for condition in problem.conditions if isinstance(condition, PML)):
        if not isinstance(problem.domain, Box):
            raise ProblemError(
                f"problem `{problem.name}` has an absorbing layer on {problem.domain}; layers are defined around a Box or Interval only"
            )
        faces = set(layer.faces(problem.domain))
        for other in problem.conditions:
            if other is layer or isinstance(other, (PML, Observations)):
                continue
            shared = faces & set(parts_of(getattr(other, "on", ()), problem.domain))
            if shared:
                raise ProblemError(
                    f"problem `{problem.name}` has a layer and a {type(other).__name__} condition on the faces {', '.join(sorted(shared))}; "
                    "keep one of them on each face"
                )
        symbols = [problem.domain.coordinates[problem.domain.face(face)[0]] for face in faces]
        for equation in problem.equations:
            if not any(node.has(layer.field) for node in expand_operators(equation).atoms(sp.Derivative)):
                continue
            if not set(symbols) <= equation.free_symbols | set(layer.field.args):
                raise ProblemError(f"the layer of problem `{problem.name}` acts along {symbols}, which the equation does not hold")


def check_realness(problem: Declaration) -> None:
    """Real fields have real sources and data; coefficients are finite inside the domain."""
    points = problem.domain.sample_interior(N_PROBES, seed=1)
    all_real = not any(declaration_of(candidate).is_complex for candidate in problem.fields)
    for place, expression in labelled_expressions(problem):
        for shot in range(problem.n_shots or 1):
            for part in coordinate_parts(select_shot(expand_operators(expression), shot)):
                values = evaluate_on(part, problem.domain.coordinates, points)
                if place.startswith("equation") and not np.all(np.isfinite(values)):
                    where = f"{place} of problem `{problem.name}`"
                    raise ProblemError(f"`{part}` in {where} is NaN or infinite inside the domain; check for a zero wave speed")
                if all_real and np.any(np.abs(np.imag(values)) > 1e-14 * (1e-300 + np.abs(values))):
                    raise ProblemError(
                        f"`{part}` in {place} of problem `{problem.name}` is complex while the field `{problem.fields[0]}` is real; "
                        "declare field(..., complex=True), or make the source real"
                    )


def coordinate_parts(expression: Any) -> list[Any]:
    """Return coefficients and sources: the field-free factors of every term of an expanded expression."""
    parts = []
    for term in sp.Add.make_args(sp.expand_mul(expression)):
        free = [factor for factor in sp.Mul.make_args(term) if not _holds_unknowns(factor)]
        product = sp.Mul(*free)
        if product is not sp.S.One:
            parts.append(product)
    return parts


def _holds_unknowns(expression: Any) -> bool:
    kinds = ("FieldDeclaration", "UnknownDeclaration", "UnknownFieldDeclaration", "NormalComponent")
    return any(type(declaration_of(node)).__name__ in kinds or type(node).__name__ in kinds for node in expression.atoms(sp.Function))


def check_exact(problem: Declaration) -> None:
    """Exact solutions belong to declared fields."""
    for candidate, solution in (problem.exact or {}).items():
        if candidate not in problem.fields and not declaration_of(candidate):
            raise ProblemError(f"exact= of problem `{problem.name}` names `{candidate}`; expected one of {list(problem.fields)}")
        if not callable(solution) or isinstance(solution, sp.Basic):
            check_symbols(problem, f"exact solution of `{candidate}`", sp.sympify(solution))


def covered_parts(problem: Declaration, condition: AbstractCondition) -> set[str]:
    """Return the boundary parts on which a condition stands."""
    if isinstance(condition, (Dirichlet, PML)):
        return {region.part for region in regions_of(condition.on, problem.domain) if region.part}
    return {residual.region.part for residual in condition.residuals(problem.domain) if residual.region.part}
