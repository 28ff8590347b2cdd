"""The conditions on the faces of a box, field by field.

Input: a `Problem` of one or several fields. Output: `FieldFaces` per field. Reads one field at a time by `declaration.box_conditions`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Box, InitialCondition, Observations, Problem

from ..assembly import FaceRow
from ..declaration import Face, box_conditions


@dataclass(frozen=True)
class FieldFaces:
    """What stands on the faces of a box for one field.

    Attributes:
        rows: Dirichlet, Neumann and Robin faces.
        free: faces without a condition.
        periodic: axes whose ends are one point.
    """

    rows: tuple[FaceRow, ...]
    free: frozenset[Face]
    periodic: frozenset[int]


def field_faces(problem: Problem, space: Box, number: int) -> FieldFaces:
    """The faces of the field with this number.

    Raises:
        ReferenceSolverError: a condition that a grid on a box does not support, or a layer.
    """
    field = problem.fields[number]
    # Conditions that belong to no field are kept, so that they are refused by name.
    own = [c for c in problem.conditions if isinstance(c, InitialCondition | Observations) or getattr(c, "field", field) == field]
    conditions = box_conditions(problem.rewritten(equations=problem.equations, conditions=own), space, tuple(space.coordinates))
    if conditions.layers:
        raise ReferenceSolverError(f"`{problem.name}` has an absorbing layer, which the solvers of linear equations offer")
    return FieldFaces(conditions.rows, conditions.free, conditions.joined)


def periodic_axes(problem: Problem, faces: tuple[FieldFaces, ...]) -> frozenset[int]:
    """Axes along which all fields are periodic.

    Raises:
        ReferenceSolverError: one field is periodic along an axis and another is not.
    """
    if len({f.periodic for f in faces}) > 1:
        raise ReferenceSolverError(f"the fields of `{problem.name}` are periodic along different axes; one grid holds them all only if they agree")
    return faces[0].periodic
