"""First arrivals from a point in a medium whose speed grows with depth.

    |grad T|^2 = 1/v(z)^2   in (0, 2) x (0, 1),   T = 0 at the source,   v = v0 + g z

v0 = 1.5 km/s, g = 0.9 /s, source at (0.55, 0.2) km, T in s. Rays are arcs of circles. T has a cone at the source and two branches of the square
root; the package splits the time in a uniform medium off, and solves for a smooth rest.

    T = (1/g) arccosh(1 + g^2 r^2 / (2 v(z_s) v(z)))

Reference: Cerveny (2001), Seismic Ray Theory, section 3.7; Fomel, Luo & Zhao (2009), J. Comput. Phys. 228.
"""

import sympy as sp

from pinnsiren.language import Box, Dirichlet, Problem, coordinates, field, grad


def declare(*, speed: float = 1.5, gradient: float = 0.9, at: tuple[float, float] = (0.55, 0.2)) -> Problem:
    """Declare the problem.

    Args:
        speed: v0 at the surface z = 0, km/s.
        gradient: g of the speed with depth, 1/s, not zero.
        at: position of the source, km.
    """
    x, z = coordinates("x z")
    travel_time = field("T", x, z)
    slope = grad(travel_time)
    v = sp.Float(speed) + sp.Float(gradient) * z
    squared_distance = (x - sp.Float(at[0])) ** 2 + (z - sp.Float(at[1])) ** 2
    bend = sp.Float(gradient) ** 2 * squared_distance / (2 * v * v.subs(z, at[1]))
    return Problem(
        name="eikonal_gradient",
        fields=[travel_time],
        domain=Box({x: (0, 2), z: (0, 1)}),
        equations=[sp.Eq(slope.dot(slope), 1 / v**2)],
        conditions=[Dirichlet(travel_time, 0, on={x: at[0], z: at[1]})],
        exact={travel_time: sp.acosh(1 + bend) / sp.Float(gradient)},
    )
