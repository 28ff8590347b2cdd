"""Rewrite: homogeneous values on the faces of a box as rows, u = 0 on a face, in place of a factor of the field that vanishes there.

A factor x (1 - x) holds u = 0 exactly, but what it multiplies is no longer a solution of the equation. Where a network starts from plane waves that
solve the equation identically, rows on the faces cost less than the factor: they select among the waves, whereas the factor spoils each of them.

On request only: everything else gains by the factor.
"""

from dataclasses import replace
from typing import Any

from pinnsiren.ir import Rewritten
from pinnsiren.language.conditions import Dirichlet, Robin
from pinnsiren.language.domains import Box
from pinnsiren.language.locations import space_of

NAME = "walls as rows"
ORDER = 50
OPTIONAL = True
ON_REQUEST = True
OFFERED = False  # methods ask for it; whoever edits a plan may too


def apply(rewritten: Rewritten) -> Rewritten:
    """Replace u = 0 by the row 1 u + 0 du/dn = 0 wherever it would have become a factor."""
    problem = rewritten.problem
    if not isinstance(space_of(problem.domain), Box):
        return replace(rewritten, applied=(*rewritten.applied, (NAME, "nothing to do: only faces of boxes hold values by a factor")))
    declared: list[Any] = list(problem.conditions)
    conditions = [_as_row(condition) for condition in declared]
    names = [str(condition.field) for condition in declared if _is_wall(condition)]
    if not names:
        return replace(rewritten, applied=(*rewritten.applied, (NAME, "nothing to do: no face holds the value zero")))
    reason = f"{', '.join(dict.fromkeys(names))} = 0 is a row, so that plane waves stay solutions of the equation"
    rows = problem.rewritten(equations=problem.equations, conditions=conditions)
    return replace(rewritten, problem=rows, applied=(*rewritten.applied, (NAME, reason)))


def _is_wall(condition: Any) -> bool:
    return isinstance(condition, Dirichlet) and condition.value == 0 and not isinstance(condition.on, dict)


def _as_row(condition: Any) -> Any:
    return Robin(condition.field, 1, 0, 0, on=condition.on) if _is_wall(condition) else condition
