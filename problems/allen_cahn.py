"""Allen-Cahn equation: a bump sharpens into two interfaces between the phases -1 and 1.

    u_t = diffusion u_xx + rate (u - u^3)   in (-1, 1) x (0, 1), periodic,   u(x, 0) = x^2 cos(pi x)

diffusion = 1e-4, rate = 5. The initial value has a kink where the period closes (its slope jumps by 4), which diffusion rounds. Interfaces are about
sqrt(2 diffusion/rate) = 0.006 wide. The method of lines judges.
Reference: Raissi, Perdikaris, Karniadakis (2019), J. Comput. Phys. 378, section 3.2.2, for these constants.
"""

import sympy as sp

from pinnsiren.language import InitialCondition, Interval, Periodic, Problem, SpaceTime, coordinates, field


def declare(*, diffusion: float = 1e-4, rate: float = 5, duration: float = 1) -> Problem:
    """Declare the problem.

    Args:
        diffusion: coefficient of u_xx.
        rate: of the reaction.
        duration: length of the time interval.
    """
    x, t = coordinates("x t")
    u = field("u", x, t)
    return Problem(
        name="allen_cahn",
        fields=[u],
        domain=SpaceTime(Interval({x: (-1, 1)}), {t: (0, duration)}),
        equations=[sp.Eq(u.diff(t), diffusion * u.diff(x, 2) + rate * (u - u**3))],
        conditions=[Periodic(u, x), InitialCondition(u, x**2 * sp.cos(sp.pi * x))],
    )
