"""Chart: the solution at a coefficient that jumps across the sides and right angles of a rectangle.

Where the coefficient multiplies u, the Laplacian of u jumps by a smooth factor times the indicator of the rectangle. Features carry the potential of
the indicator, a signed sum of quadrant potentials at the corners: continuous with its gradient, logarithmic in its second derivatives at the corners.
Squared positive parts of the sides alone would continue the kinks beyond the corners, where there are none.
"""

from itertools import product
from typing import Any

import numpy as np
import sympy as sp

from pinnsiren.charts.level_sets import LevelSet, level_sets
from pinnsiren.charts.scales import Scales
from pinnsiren.ir import Chart, ProblemIR, Rewritten
from pinnsiren.language.heads import QuadrantPotential
from pinnsiren.language.operators import Divergence

SHARE = 0.3  # four sides and four corners
REDUNDANCY = 1.3

Side = tuple[int, float]  # direction in which the inside lies, position
Rectangle = tuple[tuple[Side, ...], tuple[Side, ...]]  # sides across x, sides across y


def rectangle_of(surface: LevelSet, symbols: tuple[sp.Symbol, ...]) -> Rectangle | None:
    """Return the sides of the region of a surface if it is an axis-aligned rectangle (possibly unbounded) with a corner, in two dimensions."""
    if len(symbols) != 2:
        return None
    sides: tuple[list[Side], list[Side]] = ([], [])
    for function in (surface.function, *surface.siblings):
        slopes = [sp.diff(function, symbol) for symbol in symbols]
        axes = [axis for axis, slope in enumerate(slopes) if slope != 0]
        if len(axes) != 1 or not slopes[axes[0]].is_number:
            return None
        axis = axes[0]
        offset = function.subs(symbols[axis], 0)
        sides[axis].append((1 if slopes[axis] > 0 else -1, float(-offset / slopes[axis])))
    if not sides[0] or not sides[1] or max(map(len, sides)) > 2:
        return None
    return tuple(sorted(sides[0])), tuple(sorted(sides[1]))


def propose(ir: ProblemIR, rewritten: Rewritten, scales: Scales) -> tuple[Chart, ...]:
    """Proposed for every rectangle on which a coefficient of u itself jumps."""
    found: dict[Rectangle, None] = {}
    for equation in rewritten.original.equations:
        if equation.atoms(Divergence):
            continue
        for surface in level_sets(equation, ir.coordinates):
            rectangle = rectangle_of(surface, ir.coordinates)
            if rectangle is not None:
                found[rectangle] = None
    return tuple(_chart(rectangle, ir, rewritten) for rectangle in found)


def _chart(rectangle: Rectangle, ir: ProblemIR, rewritten: Rewritten) -> Chart:
    limits = [rewritten.original.domain.bounds[symbol] for symbol in ir.coordinates]
    focus, size = [], []
    for sides, (low, high) in zip(rectangle, limits, strict=True):
        start = max([low, *(position for direction, position in sides if direction > 0)])
        end = min([high, *(position for direction, position in sides if direction < 0)])
        margin = 0.15 * (end - start)
        focus.append((max(low, start - margin), min(high, end + margin)))
        size.append(end - start)
    window = potential(rectangle, ir.coordinates) / sp.Float(float(np.prod(size)))
    local = tuple((s - sp.Float(0.5 * (a + b))) / sp.Float(0.5 * (b - a)) for s, (a, b) in zip(ir.coordinates, focus, strict=True))
    corners = ", ".join(f"({x:g}, {y:g})" for (_, x), (_, y) in product(*rectangle))
    return Chart(
        name="right angles",
        reason=f"a coefficient jumps across the sides of a rectangle with corners {corners}",
        coordinates=local,
        window=window,
        half_lengths=(1.0, 1.0),
        share=SHARE,
        redundancy=REDUNDANCY,
        focus=tuple(focus),
        network_input=window,
    )


def potential(rectangle: Rectangle, symbols: tuple[sp.Symbol, ...]) -> Any:
    """Return a function whose Laplacian is the indicator of the rectangle.

    The indicator of an interval is the difference of two half lines; a product of two differences is a signed sum over the corners.
    """
    x, y = symbols
    total = sp.Integer(0)
    for first, second in product(_half_lines(rectangle[0]), _half_lines(rectangle[1])):
        (sign_x, direction_x, at_x), (sign_y, direction_y, at_y) = first, second
        total += sign_x * sign_y * QuadrantPotential(direction_x * (x - sp.Float(at_x)), direction_y * (y - sp.Float(at_y)), 0, 0)
    return total


def _half_lines(sides: tuple[Side, ...]) -> list[tuple[int, int, float]]:
    """Return (sign, direction, position) of half lines whose signed indicators add up to that of the interval."""
    if len(sides) == 1:
        direction, position = sides[0]
        return [(1, direction, position)]
    (_, upper), (_, lower) = sides  # sorted: the side whose inside lies below comes first
    return [(1, 1, lower), (-1, 1, upper)]
