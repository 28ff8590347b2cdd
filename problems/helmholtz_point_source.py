"""Helmholtz equation in free space, driven by one narrow Gaussian source.

    Lap u + k^2 u = amplitude N(x; at, variance)   in (-1/2, 1/2)^2,   absorbing layer of width 1/2 and strength 5 around it

k = 20 (6.4 wavelengths across the box with its layer), variance 1e-4, amplitude 1 + i, source at the origin. The exact solution is the Hankel
function of the second kind smoothed by the Gaussian, for the convention exp(+i w t).

Reference: Sitzmann, Martel, Bergman, Lindell, Wetzstein (2020), Implicit neural representations with periodic activation functions, section 4.3,
with the sign of the released code (H u = +f).
"""

from pinnsiren.language import PML, Box, GaussianSource, Problem, coordinates, field, laplacian

from ..reference_solvers.closed_forms import point_source


def declare(
    *,
    k: float = 20,
    variance: float = 1e-4,
    amplitude: complex = 1 + 1j,
    at: tuple[float, float] = (0.0, 0.0),
    width: float = 0.5,
    strength: float = 5.0,
) -> Problem:
    """Declare the problem.

    Args:
        k: wavenumber, radians per unit of length.
        variance: square of the standard deviation of the source.
        amplitude: integral of the source.
        at: centre of the source.
        width: thickness of the absorbing layer.
        strength: of the absorbing layer, dimensionless.
    """
    x, y = coordinates("x y")
    u = field("u", x, y, complex=True)
    source = GaussianSource(at={x: at[0], y: at[1]}, variance=variance, amplitude=amplitude)
    return Problem(
        name="helmholtz_point_source",
        fields=[u],
        domain=Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}),
        equations=[laplacian(u) + k**2 * u - source],
        conditions=[PML(u, width=width, strength=strength)],
        exact={u: point_source(k, at, variance, amplitude)},
    )
