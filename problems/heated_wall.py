"""Temperature above a wall that is heated in stripes, in a channel that repeats along x.

    Lap u = 0                       in (0, length) x (0, height)
    u = cos(k x) at y = 0,          k = 2 pi stripes / length
    u = 0        at y = height,     u periodic along x
    u = cos(k x) sinh(k (height - y)) / sinh(k height)

length = 1, height = 1/2, stripes = 2. The stripes are forgotten within a wavelength above the wall. The fields of the two side faces are one: a
check of periodic faces. Reference: Carslaw, Jaeger (1959), Conduction of Heat in Solids, section 5.4.
"""

import sympy as sp

from pinnsiren.language import Box, Dirichlet, Periodic, Problem, coordinates, field, laplacian


def declare(*, length: float = 1, height: float = 0.5, stripes: int = 2) -> Problem:
    """Declare the problem.

    Args:
        length: period of the channel.
        height: distance of the cold wall.
        stripes: heated stripes per period, a positive whole number.
    """
    x, y = coordinates("x y")
    u = field("u", x, y)
    k = 2 * sp.pi * stripes / sp.sympify(length)
    exact = sp.cos(k * x) * sp.sinh(k * (height - y)) / sp.sinh(k * height)
    return Problem(
        name="heated_wall",
        fields=[u],
        domain=Box({x: (0, length), y: (0, height)}),
        equations=[sp.Eq(laplacian(u), 0)],
        conditions=[Periodic(u, x), Dirichlet(u, sp.cos(k * x), on="y-"), Dirichlet(u, 0, on="y+")],
        exact={u: exact},
    )
