"""Heat in a square whose conductivity varies, driven by a source that oscillates in time.

    u_t = a(x, y) Lap u + 200 sin(pi x) sin(5 pi y) sin(pi t)   in (0, 1)^2 x (0, 5),   u = 0 on the boundary and at t = 0
    a = exp(contrast (cos(2 pi x + 1) cos(pi y) + sin(3 pi y - 2 x) / 2))

contrast = 0.5: a lies between 0.5 and 2.1. The equation, source, box and times are those of PINNacle's Heat2d-VC, whose a is one draw of a random
field on a grid of 256 x 256 points; this a is smooth and written out. The method of lines judges.
Reference: Hao et al. (2024), PINNacle, NeurIPS 37, appendix B.
"""

import sympy as sp

from pinnsiren.language import Box, Dirichlet, InitialCondition, Problem, SpaceTime, coordinates, field, laplacian


def declare(*, contrast: float = 0.5, amplitude: float = 200, duration: float = 5) -> Problem:
    """Declare the problem.

    Args:
        contrast: of the logarithm of the conductivity.
        amplitude: of the source.
        duration: length of the time interval.
    """
    x, y, t = coordinates("x y t")
    u = field("u", x, y, t)
    conductivity = sp.exp(contrast * (sp.cos(2 * sp.pi * x + 1) * sp.cos(sp.pi * y) + sp.sin(3 * sp.pi * y - 2 * x) / 2))
    source = amplitude * sp.sin(sp.pi * x) * sp.sin(5 * sp.pi * y) * sp.sin(sp.pi * t)
    return Problem(
        name="heat_variable_conductivity",
        fields=[u],
        domain=SpaceTime(Box({x: (0, 1), y: (0, 1)}), {t: (0, duration)}),
        equations=[sp.Eq(u.diff(t), conductivity * laplacian(u) + source)],
        conditions=[Dirichlet(u, 0), InitialCondition(u, 0)],
    )
