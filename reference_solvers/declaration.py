"""What stands on each face of a box: this package's own reading of the conditions.

Input: a `Problem` on a box. Output: `BoxConditions`, one entry per face, or `ReferenceSolverError` with the reason of the refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import PML, Box, Dirichlet, InitialCondition, Neumann, Observations, Periodic, Problem, Robin

from .assembly import FaceRow

Face = tuple[int, int]


@dataclass(frozen=True)
class BoxConditions:
    """Faces are (coordinate index, -1 or +1), coordinates in the order of the field.

    Attributes:
        bounds: limits per coordinate.
        rows: Dirichlet, Neumann and Robin faces.
        layers: faces with an absorbing layer.
        sign: of the stretch, -1 for exp(+i w t).
        free: faces without a condition.
        joined: coordinate indices along which the field is periodic.
    """

    bounds: tuple[tuple[float, float], ...]
    rows: tuple[FaceRow, ...]
    layers: frozenset[Face]
    sign: int
    free: frozenset[Face]
    joined: frozenset[int] = frozenset()


def box_conditions(problem: Problem, space: Box, coordinates: tuple[Any, ...]) -> BoxConditions:
    """Read the conditions on the faces of a box.

    Raises:
        ReferenceSolverError: a condition that is none of Dirichlet, Neumann, Robin, periodic, layer; two on one face; mixed time conventions.
    """
    rows: dict[Face, FaceRow] = {}
    layers: dict[Face, int] = {}
    joined: set[Face] = set()
    for condition in problem.conditions:
        if isinstance(condition, Observations | InitialCondition):
            # Observations pin nothing in a forward problem; initial data are read elsewhere.
            continue
        kind = type(condition).__name__
        if not isinstance(condition, PML | Dirichlet | Neumann | Robin | Periodic):
            raise ReferenceSolverError(f"`{problem.name}` has a condition `{kind}`, which a grid on a box does not support")
        on = condition.faces(problem.domain) if isinstance(condition, Periodic) else condition.on
        for face in _faces(on, space, coordinates, problem.name, kind):
            if face in rows or face in layers or face in joined:
                raise ReferenceSolverError(f"`{problem.name}` has two conditions on the face {_face_name(face, coordinates)}")
            if isinstance(condition, Periodic):
                joined.add(face)
            elif isinstance(condition, PML):
                layers[face] = -1 if condition.time_convention == "+" else 1
            elif isinstance(condition, Dirichlet):
                rows[face] = FaceRow(*face, sp.Integer(1), sp.Integer(0), condition.value)
            elif isinstance(condition, Neumann):
                rows[face] = FaceRow(*face, sp.Integer(0), sp.Integer(1), condition.value)
            else:
                rows[face] = FaceRow(*face, condition.a, condition.b, condition.value)
    if len(set(layers.values())) > 1:
        raise ReferenceSolverError(f"the layers of `{problem.name}` mix the time conventions exp(+i w t) and exp(-i w t)")
    every = {(axis, side) for axis in range(len(coordinates)) for side in (-1, 1)}
    bounds = tuple(space.bounds[symbol] for symbol in coordinates)
    sign = next(iter(layers.values()), -1)
    free = frozenset(every - set(rows) - set(layers) - joined)
    return BoxConditions(bounds, tuple(rows.values()), frozenset(layers), sign, free, frozenset(axis for axis, _ in joined))


def face_names(faces: frozenset[Face], coordinates: tuple[Any, ...]) -> str:
    """Names such as `x-, y+` for messages."""
    return ", ".join(_face_name(face, coordinates) for face in sorted(faces))


def _face_name(face: Face, coordinates: tuple[Any, ...]) -> str:
    return f"{coordinates[face[0]]}{'-' if face[1] < 0 else '+'}"


def _faces(on: Any, space: Box, coordinates: tuple[Any, ...], name: str, kind: str) -> list[Face]:
    named = {_face_name((axis, side), coordinates): (axis, side) for axis in range(len(coordinates)) for side in (-1, 1)}
    if isinstance(on, str) and on == "boundary":
        return list(named.values())
    wanted = (on,) if isinstance(on, str) else on
    if not isinstance(wanted, tuple) or not all(isinstance(face, str) and face in named for face in wanted):
        raise ReferenceSolverError(f"`{name}` puts a {kind} condition on `{on}`; on a box the grid knows {', '.join(named)}")
    return [named[face] for face in wanted]
