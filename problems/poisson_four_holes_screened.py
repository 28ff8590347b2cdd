"""Screened Poisson (linear Poisson-Boltzmann) equation on a square with four holes of different size.

    -Lap u + k^2 u = a (m1^2 + x^2 + m2^2 + y^2) sin(m1 pi x) sin(m2 pi y)   in (-1, 1)^2 without four discs
    u = 0.2 on the square, u = 1 on the discs

k = 8, a = 10, m1 = 1, m2 = 4. At the corners of the square the source vanishes while k^2 u does not: no smooth function has constant values on both
sides there, and u behaves like r^2 log r. No closed form is known: the grid solver judges.

Reference: Hao et al. (2023), PINNacle, arXiv 2306.08827, problem Poisson2d-CG: 1.4e-2 in relative L2, the best of ten methods.
"""

from typing import Any

import sympy as sp

from pinnsiren.language import Box, Dirichlet, Disk, Problem, coordinates, field, laplacian

HOLES = ((0.5, 0.5, 0.2), (0.4, -0.4, 0.4), (-0.2, -0.7, 0.1), (-0.6, 0.5, 0.3))


def declare(
    *, k: float = 8, a: float = 10, m1: float = 1, m2: float = 4, holes: tuple[tuple[float, float, float], ...] = HOLES, inner: float = 1
) -> Problem:
    """Declare the problem.

    Args:
        k: inverse screening length.
        a: amplitude of the source.
        m1: half waves of the source along x.
        m2: half waves of the source along y.
        holes: centre and radius of each disc.
        inner: value on the discs.
    """
    x, y = coordinates("x y")
    u = field("u", x, y)
    square = Box({x: (-1, 1), y: (-1, 1)})
    domain: Any = square
    for centre_x, centre_y, radius in holes:
        domain = domain - Disk({x: centre_x, y: centre_y}, radius)
    source = a * (m1**2 + x**2 + m2**2 + y**2) * sp.sin(m1 * sp.pi * x) * sp.sin(m2 * sp.pi * y)
    return Problem(
        name="poisson_four_holes_screened",
        fields=[u],
        domain=domain,
        equations=[sp.Eq(-laplacian(u) + k**2 * u, source)],
        conditions=[Dirichlet(u, 0.2, on=square.boundary), *(Dirichlet(u, inner, on=hole.boundary) for hole in domain.leaves[1:])],
    )
