"""The viscosity of Burgers' equation from scattered observations of the velocity.

    u_t + u u_x = nu u_xx   in (-1, 1) x (0, 1),   u(x, 0) = -sin(pi x),   u(-1, t) = u(1, t) = 0,   nu unknown

nu = 0.01/pi, observed at 100 random points of space-time; the search starts at 0.03 within bounds from 0.001 to 0.1. The layer that forms at t = 1/pi
is about 4 nu wide: its width, and what it has dissipated, say what nu is. Noise, if any, is normal, relative to the root mean square, and declared.
Reference: Raissi, Perdikaris, Karniadakis (2019), J. Comput. Phys. 378, section 4.1, with 2000 observations; the Cole-Hopf transformation is exact.
"""

from math import pi

import numpy as np
import sympy as sp

from pinnsiren.language import Dirichlet, InitialCondition, Interval, Observations, Problem, SpaceTime, coordinates, field, unknown

from ..reference_solvers.closed_forms import burgers_sine


def declare(*, viscosity: float = 0.01 / pi, observations: int = 100, noise: float = 0, start: float = 0.03, seed: int = 0) -> Problem:
    """Declare the problem.

    Args:
        viscosity: true nu, between the bounds 0.001 and 0.1.
        observations: number of points.
        noise: standard deviation relative to the root mean square of the values.
        start: initial value of the viscosity.
        seed: of points and noise.
    """
    x, t = coordinates("x t")
    u, nu = field("u", x, t), unknown("nu", start, bounds=(0.001, 0.1))
    chance = np.random.default_rng(seed)
    points = chance.random((observations, 2)) * (2, 1) - (1, 0)
    values = burgers_sine(viscosity)(*points.T)
    values = values + noise * np.sqrt(np.mean(values**2)) * chance.normal(size=observations)
    return Problem(
        name="burgers_viscosity",
        fields=[u],
        domain=SpaceTime(Interval({x: (-1, 1)}), {t: (0, 1)}),
        equations=[sp.Eq(u.diff(t) + u * u.diff(x), nu * u.diff(x, 2))],
        conditions=[Dirichlet(u, 0), InitialCondition(u, -sp.sin(sp.pi * x)), Observations(u, points, values, noise=noise or None)],
        exact={u: burgers_sine(viscosity), nu: sp.sympify(viscosity)},
    )
