"""A pulse in a square drum whose wave speed varies smoothly.

    u_tt = c^2 Lap u   in (-1, 1)^2 x (0, T),   u = 0 on the sides,   u = exp(-|x - x0|^2 / (2 v)),   u_t = 0   at t = 0
    c^2 = 1 + b sin(pi x) cos(pi y)

b = 0.4, so that the speed goes from 0.77 to 1.18; x0 = (-0.2, 0.1), v = 0.01, T = 1, when the front has met all sides. No closed form is known; the
reference is `reference_solvers.wave_leapfrog`, or another grid solver that supports it. A harder relative, with more modes, is PINNacle's Wave2d-CG:
Hao et al. (2023), PINNacle, appendix B.
"""

import sympy as sp

from pinnsiren.language import Box, Dirichlet, InitialCondition, Problem, SpaceTime, coordinates, field, laplacian


def declare(*, b: float = 0.4, at: tuple[float, float] = (-0.2, 0.1), variance: float = 0.01, end: float = 1) -> Problem:
    """Declare the problem.

    Args:
        b: contrast of the squared speed, below 1.
        at: centre of the pulse.
        variance: v.
        end: T.
    """
    x, y, t = coordinates("x y t")
    u = field("u", x, y, t)
    squared_speed = 1 + b * sp.sin(sp.pi * x) * sp.cos(sp.pi * y)
    start = sp.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * variance))
    return Problem(
        name="wave_variable_medium",
        fields=[u],
        domain=SpaceTime(Box({x: (-1, 1), y: (-1, 1)}), {t: (0, end)}),
        equations=[sp.Eq(u.diff(t, 2), squared_speed * laplacian(u))],
        conditions=[Dirichlet(u, 0), InitialCondition(u, start), InitialCondition(u.diff(t), 0)],
    )
