"""Laplace equation on an L-shape: the solution is singular at the re-entrant corner.

    Lap u = 0   in (-1, 1)^2 without the quadrant x > 0, y < 0,   u given on the boundary
    u = r^(2/3) sin(2 theta/3) + c x y

theta runs from 0 on the side y = 0 to 3 pi/2 on the side x = 0, where the first summand vanishes; c = 0. The gradient of u is unbounded at
the corner. The classical test of adaptive methods.

Reference: Grisvard (1985), Elliptic problems in nonsmooth domains, section 4.4, for the exponent pi/opening.
"""

import sympy as sp

from pinnsiren.language import Dirichlet, Polygon, Problem, coordinates, field, laplacian


def declare(*, side: float = 1, turn: float = 0, smooth: float = 0) -> Problem:
    """Declare the problem.

    Args:
        side: length of the sides at the re-entrant corner.
        turn: angle by which the L is turned about its re-entrant corner, radians.
        smooth: c, coefficient of the smooth summand.
    """
    x, y = coordinates("x y")
    u = field("u", x, y)
    cosine, sine = sp.cos(sp.Float(turn)), sp.sin(sp.Float(turn))
    corners = [(a * cosine - b * sine, a * sine + b * cosine) for a, b in ((-1, -1), (0, -1), (0, 0), (1, 0), (1, 1), (-1, 1))]
    # Along and across the bisector of the corner, so that the cut of the angle lies outside.
    bisector = sp.Float(turn) + 3 * sp.pi / 4
    along, across = x * sp.cos(bisector) + y * sp.sin(bisector), y * sp.cos(bisector) - x * sp.sin(bisector)
    exact = (x**2 + y**2) ** sp.Rational(1, 3) * sp.cos(2 * sp.atan2(across, along) / 3) + smooth * x * y
    return Problem(
        name="poisson_l_shape",
        fields=[u],
        domain=Polygon((x, y), [(float(side * a), float(side * b)) for a, b in corners]),
        equations=[sp.Eq(laplacian(u), 0)],
        conditions=[Dirichlet(u, exact)],
        exact={u: exact},
    )
