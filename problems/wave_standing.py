"""Standing wave on a string, two modes over four periods of the lower one.

    u_tt = c^2 u_xx   in (0, 1) x (0, T),   u = 0 at both ends,   u_t = 0 at t = 0
    u = sum_j a_j sin(m_j pi x) cos(m_j pi c t)

c = 2, so that the period of the first mode is 1 and T = 4; modes m = 1 and 3 with amplitudes 1 and 1/2. Long times show whether a method keeps
phase and energy. Reference: Evans (1998), Partial Differential Equations, section 2.4.
"""

from collections.abc import Sequence

import sympy as sp

from pinnsiren.language import Dirichlet, InitialCondition, Interval, Problem, SpaceTime, coordinates, field


def declare(
    *, c: float = 2, modes: Sequence[int] = (1, 3), amplitudes: Sequence[float] = (1.0, 0.5), periods: float = 4
) -> Problem:
    """Declare the problem.

    Args:
        c: wave speed.
        modes: m_j, positive whole numbers.
        amplitudes: a_j, one per mode.
        periods: length of the time interval in periods 2/c of the first mode.
    """
    x, t = coordinates("x t")
    u = field("u", x, t)
    parts = [a * sp.sin(m * sp.pi * x) * sp.cos(m * sp.pi * c * t) for a, m in zip(amplitudes, modes, strict=True)]
    exact = sp.Add(*parts)
    return Problem(
        name="wave_standing",
        fields=[u],
        domain=SpaceTime(Interval({x: (0, 1)}), {t: (0, 2 * periods / c)}),
        equations=[sp.Eq(u.diff(t, 2), c**2 * u.diff(x, 2))],
        conditions=[Dirichlet(u, 0), InitialCondition(u, exact.subs(t, 0)), InitialCondition(u.diff(t), 0)],
        exact={u: exact},
    )
