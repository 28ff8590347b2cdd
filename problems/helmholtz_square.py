"""Helmholtz equation with a faster square, lit by a narrow Gaussian source beside it.

    Lap u + k^2 m(x) u = amplitude N(x; at, variance)   in (-1/2, 1/2)^2,   absorbing layer around it
    m = 1/c^2 = 1/4 for |x| < 0.3 and |y| < 0.3, 1 outside

k = 20, variance 1e-4, amplitude 1 + i. No closed form is known: the grid solver is the only judge. The released code does not say where its source
stands; here it is at (-0.4, 0), a third of a wavelength outside the square.

Reference: Sitzmann et al. (2020), the code they released (option "square").
"""

import sympy as sp

from pinnsiren.language import PML, Box, GaussianSource, Problem, coordinates, field, laplacian


def declare(
    *,
    k: float = 20,
    half_side: float = 0.3,
    squared_slowness: float = 0.25,
    at: tuple[float, float] = (-0.4, 0.0),
    variance: float = 1e-4,
    amplitude: complex = 1 + 1j,
    width: float = 0.5,
    strength: float = 5.0,
) -> Problem:
    """Declare the problem.

    Args:
        k: wavenumber outside the square.
        half_side: of the square, centred at the origin.
        squared_slowness: m inside the square.
        at: centre of the source, outside the square.
        variance: square of the standard deviation of the source.
        amplitude: integral of the source.
        width: thickness of the absorbing layer.
        strength: of the absorbing layer, dimensionless.
    """
    x, y = coordinates("x y")
    u = field("u", x, y, complex=True)
    m = sp.Piecewise((squared_slowness, (sp.Abs(x) < half_side) & (sp.Abs(y) < half_side)), (1, True))
    source = GaussianSource(at={x: at[0], y: at[1]}, variance=variance, amplitude=amplitude)
    return Problem(
        name="helmholtz_square",
        fields=[u],
        domain=Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}),
        equations=[laplacian(u) + k**2 * m * u - source],
        conditions=[PML(u, width=width, strength=strength)],
    )
