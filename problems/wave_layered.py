"""A pulse on a line of two media: reflected, transmitted, and leaving through both ends.

    u_tt = (c^2 u_x)_x   in (-1, 1) x (0, T),   u = exp(-(x - x0)^2 / (2 v)),   u_t = 0   at t = 0

c = c1 for x < 0 and c2 beyond, 1 and 2 here; x0 = -0.5, v = 0.003, T = 1. u and c^2 u_x are continuous at the interface, so that a wave from the
left is reflected by R = (c1 - c2)/(c1 + c2) and transmitted by 1 + R; with u_tt = c^2 u_xx, where u_x is continuous, the sign of R flips. The ends
have no condition: free space, into which the waves leave. Reference: Morse and Feshbach (1953), section 7.3; closed form
`reference_solvers.closed_forms.half_space_pulse`.
"""

import numpy as np
import sympy as sp

from pinnsiren.language import InitialCondition, Interval, Problem, SpaceTime, coordinates, div, field, grad

from ..reference_solvers.closed_forms import half_space_pulse


def declare(
    *, speeds: tuple[float, float] = (1, 2), at: float = -0.5, variance: float = 0.003, end: float = 1, in_divergence: bool = True
) -> Problem:
    """Declare the problem.

    Args:
        speeds: c1 and c2.
        at: centre of the pulse, six deviations or more from the interface and the ends.
        variance: v.
        end: T.
        in_divergence: whether the equation is u_tt = (c^2 u_x)_x; else it is u_tt = c^2 u_xx.
    """
    x, t = coordinates("x t")
    u = field("u", x, t)
    c = sp.Piecewise((speeds[0], x < 0), (speeds[1], True))
    force = div(c**2 * grad(u)) if in_divergence else c**2 * u.diff(x, 2)
    exact = half_space_pulse(lambda s: np.exp(-((s - at) ** 2) / (2 * variance)), speeds, impedances=speeds if in_divergence else None)
    return Problem(
        name="wave_layered",
        fields=[u],
        domain=SpaceTime(Interval({x: (-1, 1)}), {t: (0, end)}),
        equations=[sp.Eq(u.diff(t, 2), force)],
        conditions=[InitialCondition(u, sp.exp(-((x - at) ** 2) / (2 * variance))), InitialCondition(u.diff(t), 0)],
        exact={u: exact},
    )
