"""Two modes of a string.

    u_tt = c^2 u_xx   in (0, 1) x (0, 1),   u = 0 at both ends,   u = sin(pi x) + sin(4 pi x) / 2,   u_t = 0   at t = 0
    u = sum_m a_m sin(m pi x) cos(m pi c t)

c = 2, modes 1 and 4 with amplitudes 1 and 1/2: a common example of networks for the wave equation, on which their training is slow because the
modes differ. Reference: Wang, Yu and Perdikaris (2022), When and why PINNs fail to train, section 7.2.
"""

from collections.abc import Mapping

import sympy as sp

from pinnsiren.language import Dirichlet, InitialCondition, Interval, Problem, SpaceTime, coordinates, field


def declare(*, c: float = 2, amplitudes: Mapping[int, float] | None = None, end: float = 1) -> Problem:
    """Declare the problem.

    Args:
        c: wave speed.
        amplitudes: a_m by the number m of the mode; None takes {1: 1, 4: 1/2}.
        end: last instant.
    """
    x, t = coordinates("x t")
    u = field("u", x, t)
    modes = amplitudes or {1: 1, 4: sp.Rational(1, 2)}
    exact = sp.Add(*[a * sp.sin(m * sp.pi * x) * sp.cos(m * sp.pi * c * t) for m, a in modes.items()])
    return Problem(
        name="wave_two_modes",
        fields=[u],
        domain=SpaceTime(Interval({x: (0, 1)}), {t: (0, end)}),
        equations=[sp.Eq(u.diff(t, 2), c**2 * u.diff(x, 2))],
        conditions=[Dirichlet(u, 0), InitialCondition(u, exact.subs(t, 0)), InitialCondition(u.diff(t), 0)],
        exact={u: exact},
    )
