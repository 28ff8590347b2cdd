"""Checks of conditions that meet on one face or instant: contradictions are errors, one condition too many is a warning.

Input: the problem. Output: nothing, a `ProblemError`, or a `ProblemWarning`.
"""

import warnings
from itertools import combinations

import numpy as np
import sympy as sp

from pinnsiren.errors import ProblemError, ProblemWarning
from pinnsiren.language.conditions import (
    PML,
    AbstractCondition,
    ConditionResidual,
    Dirichlet,
    InitialCondition,
    Neumann,
    Observations,
    Periodic,
    Robin,
)
from pinnsiren.language.declaration import Declaration
from pinnsiren.language.domains import Box, SpaceTime
from pinnsiren.language.locations import parts_of, space_of
from pinnsiren.language.needed_conditions import derivative_orders
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.operators import expand_operators
from pinnsiren.language.sources import select_shot
from pinnsiren.language.symbols import declaration_of, is_unknown
from pinnsiren.language.value_checks import N_REGION_PROBES, holds_unknowns, probe_points, shots_of

AGREEMENT = 1e-9  # relative: data written in two ways differ by rounding
BOUNDARY_VALUES = (Dirichlet, Neumann, Robin)


def check_layers(problem: Declaration) -> None:
    """A layer lies on a box and on faces without another condition."""
    layers = [condition for condition in problem.conditions if isinstance(condition, PML)]
    for layer in layers:
        if not isinstance(space_of(problem.domain), Box):
            raise ProblemError(
                f"problem `{problem.name}` has an absorbing layer on {problem.domain}; layers are defined around a Box or Interval only"
            )
        _check_layer_in_time(problem, layer)
        faces = set(layer.faces(problem.domain))
        for other in problem.conditions:
            if other is layer or isinstance(other, Observations) or (isinstance(other, PML) and other.field != layer.field):
                continue
            shared = faces & set(parts_of(getattr(other, "on", ()), problem.domain))
            if shared:
                what = "two layers" if isinstance(other, PML) else f"a layer and a {type(other).__name__} condition"
                raise ProblemError(f"problem `{problem.name}` has {what} on the faces {', '.join(sorted(shared))}; keep one of them on each face")


def _check_layer_in_time(problem: Declaration, layer: PML) -> None:
    """Only waves leave through a layer in time, and only a field in time may be real."""
    name = declaration_of(layer.field).name
    if not isinstance(problem.domain, SpaceTime):
        if not declaration_of(layer.field).is_complex:
            raise ProblemError(f"PML was given the real field `{name}` on {problem.domain}, which has no time; declare it with complex=True")
        return
    order = derivative_orders(problem, layer.field)[problem.domain.time]
    if order != 2:
        raise ProblemError(
            f"problem `{problem.name}` has an absorbing layer for the field `{name}`, whose equation is of order {order} in the time "
            f"`{problem.domain.time}`; a layer lets waves leave, which are of order 2: expected a Dirichlet, Neumann or Robin condition"
        )


def check_periodic(problem: Declaration) -> None:
    """Faces that are joined carry no further condition of the same field."""
    joined: dict[tuple[object, object], Periodic] = {}
    for condition in problem.conditions:
        if not isinstance(condition, Periodic):
            continue
        if joined.setdefault((condition.field, condition.axis), condition) is not condition:
            raise ProblemError(f"problem `{problem.name}` declares `{condition.field}` periodic along `{condition.axis}` twice; keep one of them")
        faces = set(condition.faces(problem.domain))
        for other in problem.conditions:
            if not isinstance(other, (*BOUNDARY_VALUES, PML)) or other.field != condition.field:
                continue
            shared = faces & set(parts_of(other.on, problem.domain))
            if shared:
                what = f"a {type(other).__name__} condition of `{condition.field}` on {', '.join(sorted(shared))}"
                raise ProblemError(
                    f"problem `{problem.name}` has {what}, where the field is periodic along `{condition.axis}`; keep one of them: name the other "
                    "faces in on="
                )


def check_contradictions(problem: Declaration) -> None:
    """Two conditions of one kind agree where they meet."""
    placed: dict[str, list[tuple[AbstractCondition, ConditionResidual]]] = {}
    for condition in problem.conditions:
        if isinstance(condition, (*BOUNDARY_VALUES, InitialCondition)):
            for residual in condition.residuals(problem.domain):
                if residual.region.part is not None:
                    placed.setdefault(residual.region.part, []).append((condition, residual))
    for part, meeting in placed.items():
        for (first, one), (second, other) in combinations(meeting, 2):
            if type(first) is type(second) and _contradict(problem, one, other):
                what = f"two {type(first).__name__} conditions of `{first.expressions()[0]}`"
                raise ProblemError(
                    f"problem `{problem.name}` has {what} on `{part}` that contradict each other: "
                    f"`{first.expressions()[-1]}` and `{second.expressions()[-1]}`; keep one of them"
                )


def _contradict(problem: Declaration, one: ConditionResidual, other: ConditionResidual) -> bool:
    difference = expand_operators(one.expression - other.expression).expand()
    if holds_unknowns(difference):
        return False
    points, interior = probe_points(problem, one), problem.domain.sample_interior(N_REGION_PROBES, seed=1)
    for shot in shots_of(problem, difference):
        values = evaluate_on(select_shot(difference, shot), problem.domain.coordinates, points)
        terms = sp.Add.make_args(select_shot(difference, shot))
        # Over the domain: sin(pi x) on the face x = 1 is rounding, not a value to agree with.
        scale = sum(np.max(np.abs(evaluate_on(term, problem.domain.coordinates, interior))) for term in terms)
        if np.max(np.abs(values)) > AGREEMENT * scale:
            return True
    return False


def warn_of_cauchy_data(problem: Declaration) -> None:
    """Warn when a second-order problem that is closed without it has value and slope on one face."""
    if any(isinstance(condition, Observations) for condition in problem.conditions) or _unknowns(problem):
        return
    parts = space_of(problem.domain).boundary_parts()
    for candidate in problem.fields:
        kinds: dict[str, set[str]] = {part: set() for part in parts}
        for condition in problem.conditions:
            if isinstance(condition, (*BOUNDARY_VALUES, PML)) and condition.field == candidate:
                for part in set(parts_of(condition.on, problem.domain)) & set(parts):
                    kinds[part].add(type(condition).__name__)
        doubled = [part for part, names in kinds.items() if len(names) > 1]
        if doubled and all(kinds.values()) and max(derivative_orders(problem, candidate).values()) <= 2:
            names = " and ".join(sorted(kinds[doubled[0]]))
            warnings.warn(
                f"field `{candidate}` of problem `{problem.name}` has {names} conditions on the face `{doubled[0]}`; "
                "a second-order equation takes one on each face: the data may contradict each other",
                ProblemWarning,
                stacklevel=5,
            )


def _unknowns(problem: Declaration) -> bool:
    expressions = [*problem.equations, *(e for condition in problem.conditions for e in condition.expressions())]
    return any(is_unknown(node) for expression in expressions for node in sp.sympify(expression).atoms(sp.Function))
