"""Laplace equation on a square with four round holes.

    Lap u = 0   in (-1/2, 1/2)^2 without four discs,   u = 1 on the square, u = 0 on the discs

The discs have radius 0.1 and the centres (+-0.3, +-0.3). The exact solution is a series of harmonic functions, whose error the maximum principle
bounds by 1e-12.

Reference: Hao et al. (2023), PINNacle, arXiv 2306.08827, problem Poisson2d-C: 1.2e-2 in relative L2, the best of ten methods.
"""

from typing import Any

import sympy as sp

from pinnsiren.language import Box, Dirichlet, Disk, Problem, coordinates, field, laplacian

from ..reference_solvers.closed_forms import perforated_square

CENTRES = ((0.3, 0.3), (-0.3, 0.3), (0.3, -0.3), (-0.3, -0.3))


def declare(*, centres: tuple[tuple[float, float], ...] = CENTRES, radius: float = 0.1, outer: float = 1, inner: float = 0) -> Problem:
    """Declare the problem.

    Args:
        centres: of the discs, which touch neither each other nor the square.
        radius: of the discs.
        outer: value on the square.
        inner: value on the discs.
    """
    x, y = coordinates("x y")
    u = field("u", x, y)
    square = Box({x: (-0.5, 0.5), y: (-0.5, 0.5)})
    domain: Any = square
    for a, b in centres:
        domain = domain - Disk({x: a, y: b}, radius)
    exact = perforated_square(0.5, [(a, b, radius) for a, b in centres], outer, inner)
    return Problem(
        name="poisson_four_holes",
        fields=[u],
        domain=domain,
        equations=[sp.Eq(laplacian(u), 0)],
        conditions=[Dirichlet(u, outer, on=square.boundary), *(Dirichlet(u, inner, on=hole.boundary) for hole in domain.leaves[1:])],
        exact={u: exact},
    )
