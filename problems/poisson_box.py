"""Poisson equation on a rectangle with a smooth solution that is no sine of the box.

    Lap u = f   in (0, 1) x (0, 2),   u given on the boundary
    u = sin(a x) cos(b y) exp(x/2) + x y/4

a = 4, b = 3; f and the boundary data follow from u. The calibration problem: every method should reach rounding here.
"""

import sympy as sp

from pinnsiren.language import Box, Dirichlet, Problem, coordinates, field, laplacian


def declare(*, a: float = 4, b: float = 3) -> Problem:
    """Declare the problem.

    Args:
        a: angular frequency along x.
        b: angular frequency along y.
    """
    x, y = coordinates("x y")
    u = field("u", x, y)
    exact = sp.sin(a * x) * sp.cos(b * y) * sp.exp(x / 2) + x * y / 4
    return Problem(
        name="poisson_box",
        fields=[u],
        domain=Box({x: (0, 1), y: (0, 2)}),
        equations=[sp.Eq(laplacian(u), exact.diff(x, 2) + exact.diff(y, 2))],
        conditions=[Dirichlet(u, exact)],
        exact={u: exact},
    )
