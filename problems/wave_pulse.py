"""A narrow pulse that spreads in the plane, the wave experiment of Sitzmann et al. (2020).

    u_tt = c^2 Lap u   in (-1, 1)^2 x (0, 0.4),   u = a exp(-r^2 / (2 v)),   u_t = 0   at t = 0

c = 1, a = 0.02, v = 5e-4 (the VARIANCE; the deviation is 0.0224). No condition on the faces: free space, which the front, at r = 0.4 in the end,
does not reach. Reference: Sitzmann, Martel, Bergman, Lindell, Wetzstein (2020), Implicit Neural Representations with Periodic Activation Functions,
section 4.3 and supplement 5; closed form `reference_solvers.closed_forms.gaussian_pulse`.
"""

import sympy as sp

from pinnsiren.language import Box, InitialCondition, Problem, SpaceTime, coordinates, field, laplacian

from ..reference_solvers.closed_forms import gaussian_pulse


def declare(*, c: float = 1, variance: float = 5e-4, amplitude: float = 0.02, at: tuple[float, float] = (0, 0), end: float = 0.4) -> Problem:
    """Declare the problem.

    Args:
        c: wave speed.
        variance: v, not the deviation.
        amplitude: a.
        at: centre of the pulse.
        end: last instant.
    """
    x, y, t = coordinates("x y t")
    u = field("u", x, y, t)
    start = amplitude * sp.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * variance))
    return Problem(
        name="wave_pulse",
        fields=[u],
        domain=SpaceTime(Box({x: (-1, 1), y: (-1, 1)}), {t: (0, end)}),
        equations=[sp.Eq(u.diff(t, 2), c**2 * laplacian(u))],
        conditions=[InitialCondition(u, start), InitialCondition(u.diff(t), 0)],
        exact={u: gaussian_pulse(at, variance, amplitude, c)},
    )
