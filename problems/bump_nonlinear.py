"""Nonlinear Poisson equation with a cubic term, manufactured around a smooth bump.

    -Lap u + u^3 = f   in (-1, 1)^2,   u given on the boundary
    u = height exp(-((x - x0)^2 + (y - y0)^2)/(2 s^2))

height = 2, centre (0.1, -0.2), s = 0.35. The cubic term is monotone, so that the solution is unique, and at the top it is a quarter of
the Laplacian: a method that linearises around zero fails visibly. The grid solver `nonlinear_box` and the exact solution judge.
"""

import sympy as sp

from pinnsiren.language import Box, Dirichlet, Problem, coordinates, field, laplacian


def declare(*, height: float = 2, centre: tuple[float, float] = (0.1, -0.2), spread: float = 0.35) -> Problem:
    """Declare the problem.

    Args:
        height: of the bump.
        centre: (x0, y0).
        spread: s, standard deviation of the bump.
    """
    x, y = coordinates("x y")
    u = field("u", x, y)
    exact = height * sp.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * spread**2))
    source = -exact.diff(x, 2) - exact.diff(y, 2) + exact**3
    return Problem(
        name="bump_nonlinear",
        fields=[u],
        domain=Box({x: (-1, 1), y: (-1, 1)}),
        equations=[sp.Eq(-laplacian(u) + u**3, source)],
        conditions=[Dirichlet(u, exact)],
        exact={u: exact},
    )
