"""Smooth functions that vanish on shapes and are positive inside the domain, with slope one on smooth pieces of the boundary.

Input: a domain and the boundary parts where they should vanish. Output: per shape a SymPy function and its parts. Inside a ball (R^2 - r^2) / (2 R),
beside a hole (r^2 - R^2) / (2 R); several faces of a box are joined by the R-conjunction a + b - sqrt(a^2 + b^2), which vanishes where one does.

Reference: Rvachev and Sheiko 1995, Appl. Mech. Rev. 48.
"""

from functools import reduce
from typing import Any

import sympy as sp

from pinnsiren.language.domains import Ball, Box
from pinnsiren.language.domains.shape import Difference

Shapes = list[tuple[Any, tuple[str, ...]]]


def conjunction(first: Any, second: Any) -> Any:
    """Return a function that is positive where both are, and vanishes on the boundary of that region."""
    return first + second - sp.sqrt(first**2 + second**2)


def inner_function(shape: Any) -> Any | None:
    """Return a function that is positive inside a ball or a box and zero on its boundary, None for other shapes."""
    if isinstance(shape, Ball):
        squared = sp.Add(*[(symbol - sp.Float(float(c))) ** 2 for symbol, c in zip(shape.coordinates, shape.centre, strict=True)])
        return (sp.Float(shape.radius) ** 2 - squared) / (2 * sp.Float(shape.radius))
    if isinstance(shape, Box):
        sides = [side for symbol, (low, high) in shape.bounds.items() for side in (symbol - sp.Float(low), sp.Float(high) - symbol)]
        return reduce(conjunction, sides)
    return None


def distance_of(space: Any, parts: tuple[str, ...]) -> Shapes | str:
    """Return one function per shape whose boundary carries values, or why there is none.

    Args:
        space: a ball, or a ball or box without balls and boxes.
        parts: boundary parts with values; a shape takes part when all that is visible of it is among them.
    """
    if isinstance(space, Ball):
        return [(inner_function(space), space.boundary_parts())]
    if not isinstance(space, Difference) or not all(isinstance(member, (Ball, Box)) for member in space.members):
        return "smooth distance functions are known for balls, boxes, and these without balls and boxes"
    found: Shapes = []
    for index, member in enumerate(space.members):
        own = space.named_parts_of(member)
        if not own or not set(own) & set(parts):
            continue
        if not set(own) <= set(parts):
            return f"a part of {member} carries no value"
        function = inner_function(member)
        assert function is not None, "only balls and boxes come here"
        found.append((function if index == 0 else -function, own))
    return found if found and {part for _, own in found for part in own} == set(parts) else "values lie on parts that belong to no shape"
