"""A fast and a slow disc from scattered waves of two frequencies around them; the data are a closed form with all multiple scattering.

    Lap u_k + k^2 m u_k = amplitude * N(x; source, variance)   for every k and source,   in (-1/2, 1/2)^2, absorbing layers around it
    m = 1/c^2,   c = 1.4 for |x - (-0.12, 0.06)| < 0.09,   c = 0.75 for |x - (0.13, -0.08)| < 0.075,   1 elsewhere;   unknown for |x|, |y| < 0.3

k = 12, 20; 8 sources of variance 1e-4 and amplitude 1 + i on the circle of radius 0.42, 32 receivers on that of radius 0.46. The data are multipole
series of both discs at the receivers, with complex normal noise of 2 % of their root mean square per frequency. The search starts from a uniform
medium within 0.05 < m < 3. What favours one sign of the anomaly is found out here.

Reference: Martin (2006), Multiple Scattering, section 4.5.
"""

import sympy as sp

from pinnsiren.language import PML, Box, Observations, Problem, coordinates, laplacian, unknown_field

from ..reference_solvers.closed_forms import PenetrableDisc, penetrable_discs
from ._surveys import field_per_frequency, noisy, ring, shots

Disc = tuple[tuple[float, float], float, float]


def declare(
    *,
    discs: tuple[Disc, ...] = (((-0.12, 0.06), 0.09, 1.4), ((0.13, -0.08), 0.075, 0.75)),
    wavenumbers: tuple[float, ...] = (12, 20),
    sources: int = 8,
    receivers: int = 32,
    noise: float = 0.02,
    seed: int = 0,
) -> Problem:
    """Declare the problem.

    Args:
        discs: centre, radius and speed of each, apart from each other.
        wavenumbers: where the speed is 1.
        sources, receivers: how many on their circles.
        noise: standard deviation relative to the data of each frequency; 0 for none.
        seed: of the noise.
    """
    x, y = coordinates("x y")
    m = unknown_field("m", x, y, initial=1, bounds=(0.05, 3), support=Box({x: (-0.3, 0.3), y: (-0.3, 0.3)}))
    at, heard = ring(sources, 0.42, turn=0.1), ring(receivers, 0.46, turn=0.2)
    objects = [PenetrableDisc(centre, radius, speed) for centre, radius, speed in discs]
    exact = [penetrable_discs(k=k, discs=objects, at=at, variance=1e-4, amplitude=1 + 1j) for k in wavenumbers]
    fields = field_per_frequency(wavenumbers, sources, x, y)
    values = [noisy(truth(*heard.T), noise, seed + number) for number, truth in enumerate(exact)]
    source = shots(at, (x, y), 1e-4, 1 + 1j)
    pieces = [(d.speed**-2, (x - d.centre[0]) ** 2 + (y - d.centre[1]) ** 2 < d.radius**2) for d in objects]
    return Problem(
        name="fwi_anomalies",
        fields=fields,
        domain=Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}),
        equations=[sp.Eq(laplacian(u) + k**2 * m * u, source) for u, k in zip(fields, wavenumbers, strict=True)],
        conditions=[
            *[PML(u, width=0.5, strength=5) for u in fields],
            *[Observations(u, heard, data, noise=noise or None) for u, data in zip(fields, values, strict=True)],
        ],
        exact={**dict(zip(fields, exact, strict=True)), m: sp.Piecewise(*pieces, (1, True))},
    )
