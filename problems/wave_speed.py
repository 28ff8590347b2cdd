"""The speed of waves on a string from scattered observations of its displacement.

    u_tt = c^2 u_xx   in (0, 1) x (0, 1),   u = 0 at both ends,   u_t = 0 at t = 0,   c unknown
    u = sin(pi x) cos(c pi t) + sin(4 pi x) cos(4 c pi t) / 2

c = 2, the two modes of PINNacle's Wave1d-C, observed at 80 random points of space-time; the search starts at c = 1 within bounds from 0.5 to 8.
Noise, if any, is normal, relative to the root mean square of the values, and declared. Gauss-Newton from half the speed converges to a wrong one.
Reference: Hao et al. (2023), PINNacle, arXiv 2306.08827, section B.
"""

from typing import Any

import numpy as np
import sympy as sp

from pinnsiren.language import Dirichlet, InitialCondition, Interval, Observations, Problem, SpaceTime, coordinates, field, unknown


def declare(*, c: float = 2, observations: int = 80, noise: float = 0, start: float = 1, seed: int = 0) -> Problem:
    """Declare the problem.

    Args:
        c: true wave speed, between the bounds 0.5 and 8.
        observations: number of points.
        noise: standard deviation relative to the root mean square of the values.
        start: initial value of the speed.
        seed: of points and noise.
    """
    x, t = coordinates("x t")
    u, speed = field("u", x, t), unknown("c", start, bounds=(0.5, 8))
    exact = sp.sin(sp.pi * x) * sp.cos(c * sp.pi * t) + sp.sin(4 * sp.pi * x) * sp.cos(4 * c * sp.pi * t) / 2
    points, values = _observe(sp.lambdify([x, t], exact, "numpy"), observations, noise, seed)
    return Problem(
        name="wave_speed",
        fields=[u],
        domain=SpaceTime(Interval({x: (0, 1)}), {t: (0, 1)}),
        equations=[sp.Eq(u.diff(t, 2), speed**2 * u.diff(x, 2))],
        conditions=[
            Dirichlet(u, 0), InitialCondition(u, exact.subs(t, 0)), InitialCondition(u.diff(t), 0),
            Observations(u, points, values, noise=noise or None),
        ],
        exact={u: exact, speed: sp.sympify(c)},
    )  # fmt: skip


def _observe(exact: Any, observations: int, noise: float, seed: int) -> tuple[Any, Any]:
    chance = np.random.default_rng(seed)
    points = chance.random((observations, 2))
    values = exact(*points.T)
    return points, values + noise * np.sqrt(np.mean(values**2)) * chance.normal(size=observations)
