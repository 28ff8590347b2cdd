"""A pulse that leaves a square and does not come back.

    u_tt = c^2 Lap u   in (-1/2, 1/2)^2 x (0, T),   u = exp(-|x - x0|^2 / (2 v)),   u_t = 0   at t = 0,   absorbing layers around the square

c = 1, x0 = (0.1, -0.05), v = 0.0036, T = 1.2: the front has left through all faces, and the wake that waves leave behind in the plane remains. What
a layer reflects shows at once, since the field that it disturbs has decayed. Reference: Berenger (1994), J. Comput. Phys. 114, for the layer; closed
form in the whole plane `reference_solvers.closed_forms.gaussian_pulse`.
"""

import sympy as sp

from pinnsiren.language import PML, Box, InitialCondition, Problem, SpaceTime, coordinates, field, laplacian

from ..reference_solvers.closed_forms import gaussian_pulse


def declare(*, c: float = 1, variance: float = 0.0036, at: tuple[float, float] = (0.1, -0.05), end: float = 1.2) -> Problem:
    """Declare the problem.

    Args:
        c: wave speed.
        variance: v, not the deviation.
        at: centre of the pulse, six deviations or more from the faces.
        end: T.
    """
    x, y, t = coordinates("x y t")
    u = field("u", x, y, t)
    start = sp.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * variance))
    return Problem(
        name="wave_absorbing",
        fields=[u],
        domain=SpaceTime(Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}), {t: (0, end)}),
        equations=[sp.Eq(u.diff(t, 2), c**2 * laplacian(u))],
        conditions=[InitialCondition(u, start), InitialCondition(u.diff(t), 0), PML(u)],
        exact={u: gaussian_pulse(at, variance, 1, c)},
    )
