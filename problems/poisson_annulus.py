"""Poisson equation on an annulus with smooth data.

    Lap u = f   in the disc of radius 1 without the disc of radius 0.3,   u given on both circles
    u = exp(a x) sin(b y) + m log r + c x/r^2

a = 1, b = 2, m = 1, c = 1/2; f and the boundary data follow from u. The logarithm is what one charge in the hole leaves, the last summand a dipole:
no function that is smooth in the hole has them.
"""

import sympy as sp

from pinnsiren.language import Dirichlet, Disk, Problem, coordinates, field, laplacian


def declare(
    *, inner: float = 0.3, centre: tuple[float, float] = (0, 0), a: float = 1, b: float = 2, charge: float = 1, dipole: float = 0.5
) -> Problem:
    """Declare the problem.

    Args:
        inner: radius of the hole.
        centre: of the hole, which lies inside the unit disc.
        a: growth along x.
        b: angular frequency along y.
        charge: m, coefficient of log r.
        dipole: c, coefficient of x/r^2.
    """
    x, y = coordinates("x y")
    u = field("u", x, y)
    to_x, to_y = x - centre[0], y - centre[1]
    squared = to_x**2 + to_y**2
    exact = sp.exp(a * x) * sp.sin(b * y) + charge * sp.log(squared) / 2 + dipole * to_x / squared
    return Problem(
        name="poisson_annulus",
        fields=[u],
        domain=Disk({x: 0, y: 0}, 1) - Disk({x: centre[0], y: centre[1]}, inner),
        # The last two summands are harmonic.
        equations=[sp.Eq(laplacian(u), (a**2 - b**2) * sp.exp(a * x) * sp.sin(b * y))],
        conditions=[Dirichlet(u, exact)],
        exact={u: exact},
    )
