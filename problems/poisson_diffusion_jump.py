"""Diffusion through a disc that conducts better than its surroundings: the solution has a kink along the rim.

    div(a grad u) = 4 q   in (-1, 1)^2,   u given on the boundary
    a = a_in for r < R, 1 outside

    inside   u = q (r^2 - R^2)/a_in + 2 e x/(1 + a_in)
    outside  u = q (r^2 - R^2) + e x (1 + (1 - a_in)/(1 + a_in) R^2/r^2)

a_in = 5, R = 1/2, heating q = 1, outer field e = 1. Value and normal flux a du/dn are continuous at r = R, the gradient is not. The second summand
is the conducting cylinder in a uniform field. Reference: Jackson (1999), Classical electrodynamics, section 4.4, its analogue in the plane.
"""

import sympy as sp

from pinnsiren.language import Box, Dirichlet, Problem, coordinates, div, field, grad


def declare(*, conductivity: float = 5, radius: float = 0.5, heating: float = 1, outer_field: float = 1) -> Problem:
    """Declare the problem.

    Args:
        conductivity: a_in, inside the disc, relative to the outside.
        radius: R of the disc, centred at the origin, below 1.
        heating: q.
        outer_field: e, slope of the field far away.
    """
    x, y = coordinates("x y")
    u = field("u", x, y)
    squared = x**2 + y**2
    inside = squared < radius**2
    a = sp.Piecewise((conductivity, inside), (1, True))
    within = heating * (squared - radius**2) / conductivity + 2 * outer_field * x / (1 + conductivity)
    contrast = sp.sympify(1 - conductivity) / (1 + conductivity)
    beyond = heating * (squared - radius**2) + outer_field * x * (1 + contrast * radius**2 / squared)
    return Problem(
        name="poisson_diffusion_jump",
        fields=[u],
        domain=Box({x: (-1, 1), y: (-1, 1)}),
        equations=[sp.Eq(div(a * grad(u)), 4 * heating)],
        # The disc lies inside, so the boundary sees the outer branch only.
        conditions=[Dirichlet(u, beyond)],
        exact={u: sp.Piecewise((within, inside), (beyond, True))},
    )
