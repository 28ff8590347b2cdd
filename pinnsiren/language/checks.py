"""Checks of a declaration, one mistake each, run when a `Problem` is constructed.

Input: the problem. Output: nothing, or a `ProblemError` in the user's words.
"""

import inspect
from typing import Any

import numpy as np
import sympy as sp

from pinnsiren.errors import ProblemError
from pinnsiren.language.compatibility import check_neumann_compatibility
from pinnsiren.language.conditions import AbstractCondition, Observations
from pinnsiren.language.declaration import Declaration
from pinnsiren.language.domains import AbstractDomain, SpaceTime
from pinnsiren.language.entries import scalar_entry
from pinnsiren.language.locations import ON_BOUNDARY, space_of
from pinnsiren.language.meeting_checks import check_meeting_values, warn_of_jumping_corners
from pinnsiren.language.needed_conditions import check_conditions_present
from pinnsiren.language.operators import NormalComponent, operator_coordinates
from pinnsiren.language.overlap_checks import check_contradictions, check_layers, check_periodic, warn_of_cauchy_data
from pinnsiren.language.sources import GaussianSource, SourceFamily
from pinnsiren.language.speed_checks import check_speeds
from pinnsiren.language.survey_checks import check_declared_surveys
from pinnsiren.language.symbols import applied_symbols, declaration_of, is_field, is_unknown
from pinnsiren.language.unknown_checks import check_unknown_fields, warn_of_few_observations
from pinnsiren.language.value_checks import check_values


def check_problem(problem: Declaration) -> None:
    """Run every check, the most basic first, so that the first message names the root of the trouble."""
    check_types(problem)
    check_fields(problem)
    check_names(problem)
    for place, expression in labelled_expressions(problem):
        check_finite(problem, place, expression)
        check_symbols(problem, place, expression)
        check_applications(problem, place, expression)
        check_time_is_not_space(problem, place, expression)
        check_sources(problem, place, expression)
    check_equations_hold_fields(problem)
    check_conditions_hold_fields(problem)
    check_shots(problem)
    check_layers(problem)
    check_declared_surveys(problem)
    for condition in problem.conditions:
        condition.residuals(problem.domain)
    check_periodic(problem)
    check_exact(problem)
    check_values(problem)
    check_unknown_fields(problem)
    check_contradictions(problem)
    check_meeting_values(problem)
    check_speeds(problem)
    check_conditions_present(problem)
    check_neumann_compatibility(problem)
    warn_of_cauchy_data(problem)
    warn_of_jumping_corners(problem)
    warn_of_few_observations(problem)


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
    shared = set(names) & {symbol.name for symbol in problem.domain.coordinates}
    if shared:
        raise ProblemError(f"problem `{problem.name}` has a field and a coordinate of the name `{shared.pop()}`; rename one")


def check_names(problem: Declaration) -> None:
    """Fields and unknowns have different names, so that a solution can be asked for each; a coefficient field is used in one way."""
    known = {declaration_of(candidate).name: candidate for candidate in problem.fields}
    for _, expression in labelled_expressions(problem):
        for applied in applied_symbols(expression):
            if not is_unknown(applied):
                continue
            other = known.setdefault(declaration_of(applied).name, applied)
            if other != applied:
                raise ProblemError(
                    f"problem `{problem.name}` holds `{other}` and `{applied}`, two symbols of one name with different settings or arguments; "
                    "declare the symbol once and use that object, or rename one"
                )
            strangers = [argument for argument in applied.args if argument not in problem.domain.coordinates]
            if strangers:
                raise ProblemError(
                    f"unknown field `{applied}` of problem `{problem.name}` depends on {', '.join(sorted(map(str, strangers)))}; expected some "
                    f"of the coordinates {problem.domain.coordinates} of the domain"
                )


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
        twins = sorted({symbol.name for symbol in strangers} & {symbol.name for symbol in problem.domain.coordinates})
        if twins:
            raise ProblemError(
                f"{place} of problem `{problem.name}` holds another symbol of the name `{twins[0]}` than the coordinate of the domain; "
                "use the symbols that `coordinates` made, which are real, everywhere"
            )
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
        if candidate is not None and candidate.func != applied.func:
            raise ProblemError(
                f"field `{declaration.name}` in {place} of problem `{problem.name}` is declared as {declaration}, in fields= as "
                f"{declaration_of(candidate)}; declare the field once and use that object"
            )
        if candidate is None:
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
        _check_inside(problem, place, source)


def _check_inside(problem: Declaration, place: str, source: GaussianSource) -> None:
    """The corners of the bounding box of a disk lie outside the disk."""
    space = space_of(problem.domain)
    centre = dict(zip(source.coordinates, source.centre, strict=True))
    if set(centre) != set(space.coordinates) or not all(value.is_number for value in centre.values()):
        return
    point = np.array([[float(centre[symbol]) for symbol in space.coordinates]])
    if not space.contains(point, ON_BOUNDARY)[0]:
        raise ProblemError(
            f"a source in {place} of problem `{problem.name}` stands at {centre}, outside the domain {space}; move the source or enlarge the domain"
        )


def check_equations_hold_fields(problem: Declaration) -> None:
    """Every equation says something about what is solved for, and every field stands in an equation."""
    for index, equation in enumerate(problem.equations):
        if not any(is_field(node) or is_unknown(node) for node in equation.atoms(sp.Function)):
            raise ProblemError(
                f"equation {index} of problem `{problem.name}` is `{equation}`, which holds no field; expected an equation of {list(problem.fields)}"
            )
        if equation.has(NormalComponent):
            raise ProblemError(
                f"equation {index} of problem `{problem.name}` holds the normal, which has a value on boundaries only; move it to a Constraint"
            )
    for candidate in problem.fields:
        if not any(equation.has(candidate) for equation in problem.equations):
            raise ProblemError(
                f"field `{candidate}` of problem `{problem.name}` stands in no equation; add its equation, or drop it from fields="
            )


def check_conditions_hold_fields(problem: Declaration) -> None:
    """Every condition says something about what is solved for."""
    for condition in problem.conditions:
        nodes = {node for expression in condition.expressions() for node in sp.sympify(expression).atoms(sp.Function)}
        if not any(is_field(node) or is_unknown(node) for node in nodes):
            raise ProblemError(f"{condition} of problem `{problem.name}` holds no field; expected a condition on {list(problem.fields)}")


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


def check_exact(problem: Declaration) -> None:
    """Exact solutions belong to declared fields."""
    for candidate, solution in (problem.exact or {}).items():
        known = [*problem.fields, *_unknowns(problem)]
        if candidate not in known:
            raise ProblemError(f"exact= of problem `{problem.name}` names `{candidate}`; expected one of {known}")
        place = f"the exact solution of `{candidate}`"
        if callable(solution) and not isinstance(solution, sp.Basic):
            _check_signature(problem, place, solution, tuple(candidate.args))
            continue
        expression = scalar_entry(f"{place} in problem `{problem.name}`", solution)
        check_symbols(problem, place, expression)
        check_finite(problem, place, expression)
        if any(is_field(node) or is_unknown(node) for node in expression.atoms(sp.Function)):
            raise ProblemError(f"{place} of problem `{problem.name}` is `{expression}`, which holds a field; expected coordinates only")


def _check_signature(problem: Declaration, place: str, solution: Any, symbols: tuple[Any, ...]) -> None:
    try:
        inspect.signature(solution).bind(*symbols)
    except TypeError as error:
        raise ProblemError(f"{place} of problem `{problem.name}` cannot be called with an array for each of {symbols}: {error}") from error
    except ValueError:
        return  # a built-in function without a signature; nothing can be said before it is called


def _unknowns(problem: Declaration) -> set[Any]:
    return {node for _, expression in labelled_expressions(problem) for node in applied_symbols(expression) if is_unknown(node)}
