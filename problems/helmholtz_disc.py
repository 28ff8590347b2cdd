"""Helmholtz equation with a faster disc, lit by a narrow Gaussian source beside it.

    Lap u + k^2 m(x) u = amplitude N(x; at, variance)   in (-1/2, 1/2)^2,   absorbing layer around it
    m = 1/c^2 = 1/4 for |x| < 0.1, 1 outside

k = 20, variance 1e-4, amplitude 1 + i, source at (-0.35, 0). The exact solution is the Bessel series of a penetrable disc; u and its gradient are
continuous, the second derivatives jump at the rim.

Reference: Sitzmann et al. (2020), section 4.3 and the code they released (case "circle"). Series: Morse and Feshbach (1953), section 11.3.
"""

import sympy as sp

from pinnsiren.language import PML, Box, GaussianSource, Problem, coordinates, field, laplacian

from ..reference_solvers.closed_forms import penetrable_disc


def declare(
    *,
    k: float = 20,
    radius: float = 0.1,
    squared_slowness: float = 0.25,
    at: tuple[float, float] = (-0.35, 0.0),
    variance: float = 1e-4,
    amplitude: complex = 1 + 1j,
    width: float = 0.5,
    strength: float = 5.0,
) -> Problem:
    """Declare the problem.

    Args:
        k: wavenumber outside the disc.
        radius: of the disc, centred at the origin.
        squared_slowness: m inside the disc; its speed is 1/sqrt(m).
        at: centre of the source, outside the disc.
        variance: square of the standard deviation of the source.
        amplitude: integral of the source.
        width: thickness of the absorbing layer.
        strength: of the absorbing layer, dimensionless.
    """
    x, y = coordinates("x y")
    u = field("u", x, y, complex=True)
    m = sp.Piecewise((squared_slowness, x**2 + y**2 < radius**2), (1, True))
    source = GaussianSource(at={x: at[0], y: at[1]}, variance=variance, amplitude=amplitude)
    exact = penetrable_disc(k=k, radius=radius, inner_speed=squared_slowness**-0.5, at=at, variance=variance, amplitude=amplitude)
    return Problem(
        name="helmholtz_disc",
        fields=[u],
        domain=Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}),
        equations=[laplacian(u) + k**2 * m * u - source],
        conditions=[PML(u, width=width, strength=strength)],
        exact={u: exact},
    )
