"""Viscous Burgers equation: a sine steepens into a shock layer that stands at the origin.

    u_t + u u_x = nu u_xx   in (-1, 1) x (0, 1),   u(x, 0) = -sin(pi x),   u(-1, t) = u(1, t) = 0

nu = 0.01/pi. The layer forms at t = 1/pi and is about 4 nu wide. The Cole-Hopf transformation gives the solution.
Reference: Basdevant et al. (1986), Computers and Fluids 14; Raissi, Perdikaris, Karniadakis (2019), J. Comput. Phys. 378, for these constants.
"""

from math import pi

import sympy as sp

from pinnsiren.language import Dirichlet, InitialCondition, Interval, Problem, SpaceTime, coordinates, field

from ..reference_solvers.closed_forms import burgers_sine


def declare(*, viscosity: float = 0.01 / pi, duration: float = 1) -> Problem:
    """Declare the problem.

    Args:
        viscosity: nu.
        duration: length of the time interval.
    """
    x, t = coordinates("x t")
    u = field("u", x, t)
    return Problem(
        name="burgers",
        fields=[u],
        domain=SpaceTime(Interval({x: (-1, 1)}), {t: (0, duration)}),
        equations=[sp.Eq(u.diff(t) + u * u.diff(x), viscosity * u.diff(x, 2))],
        conditions=[Dirichlet(u, 0), InitialCondition(u, -sp.sin(sp.pi * x))],
        exact={u: burgers_sine(viscosity)},
    )
