"""Diffusion with a variable coefficient in a ball.

    div(a grad u) = f   in the ball of radius 1,   u given on its surface
    a = 1 + s (x^2 + y^2)/2 + s z/3,   u = sin(p x) cos(q y) + exp(z/2) x

s = 1/2, p = 2, q = 3/2; f and the boundary data follow from u.
"""

import sympy as sp

from pinnsiren.language import Ball, Dirichlet, Problem, coordinates, div, field, grad


def declare(*, radius: float = 1, contrast: float = 0.5, p: float = 2, q: float = 1.5) -> Problem:
    """Declare the problem.

    Args:
        radius: of the ball.
        contrast: s, how much the coefficient varies.
        p: angular frequency along x.
        q: angular frequency along y.
    """
    x, y, z = coordinates("x y z")
    u = field("u", x, y, z)
    a = 1 + sp.sympify(contrast) * ((x**2 + y**2) / 2 + z / 3)
    exact = sp.sin(p * x) * sp.cos(q * y) + sp.exp(z / 2) * x
    flux = [a * exact.diff(symbol) for symbol in (x, y, z)]
    return Problem(
        name="poisson_ball",
        fields=[u],
        domain=Ball({x: 0, y: 0, z: 0}, radius),
        equations=[sp.Eq(div(a * grad(u)), sp.Add(*[f.diff(s) for f, s in zip(flux, (x, y, z), strict=True)]))],
        conditions=[Dirichlet(u, exact)],
        exact={u: exact},
    )
