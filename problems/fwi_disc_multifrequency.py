"""A fast disc from scattered waves of five frequencies around it; the data are a closed form.

    Lap u_k + k^2 m u_k = amplitude * N(x; source, variance)   for every k and source,   in (-1/2, 1/2)^2, absorbing layers around it
    m = 1/c^2 = 1/4 for |x| < 0.1, 1 outside;   unknown for |x|, |y| < 0.3

k = 8, 12, 16, 20, 26; 8 sources of variance 1e-4 and amplitude 1 + i, 40 receivers, both on the circle of radius 0.42. The data are the Bessel series
of the penetrable disc at the receivers, with complex normal noise of 2 % of their root mean square per frequency; no grid made them. The search
starts from a uniform medium within 0.05 < m < 3.

Reference: setting of Sitzmann et al. (2020), section 4.3, at more frequencies and seen from all sides. Series: Martin (2006), section 4.5.
"""

import numpy as np
import sympy as sp

from pinnsiren.language import PML, Box, Observations, Problem, coordinates, laplacian, unknown_field

from ..reference_solvers.closed_forms import PenetrableDisc, penetrable_discs
from ._surveys import field_per_frequency, noisy, ring, shots


def declare(
    *,
    wavenumbers: tuple[float, ...] = (8, 12, 16, 20, 26),
    radius: float = 0.1,
    speed: float = 2.0,
    centre: tuple[float, float] = (0.0, 0.0),
    sources: int = 8,
    receivers: int = 40,
    noise: float = 0.02,
    seed: int = 0,
) -> Problem:
    """Declare the problem.

    Args:
        wavenumbers: where the speed is 1.
        radius, speed, centre: of the disc.
        sources, receivers: how many on the circle.
        noise: standard deviation relative to the data of each frequency; 0 for none.
        seed: of the noise.
    """
    x, y = coordinates("x y")
    m = unknown_field("m", x, y, initial=1, bounds=(0.05, 3), support=Box({x: (-0.3, 0.3), y: (-0.3, 0.3)}))
    # No source stands in a corner of the unknown medium, nor on a receiver: half a spacing lies between.
    at, heard = ring(sources, 0.42, turn=np.pi / sources), ring(receivers, 0.42, turn=np.pi / sources + np.pi / receivers)
    disc = PenetrableDisc(centre, radius, speed)
    exact = [penetrable_discs(k=k, discs=[disc], at=at, variance=1e-4, amplitude=1 + 1j) for k in wavenumbers]
    fields = field_per_frequency(wavenumbers, sources, x, y)
    values = [noisy(truth(*heard.T), noise, seed + number) for number, truth in enumerate(exact)]
    source = shots(at, (x, y), 1e-4, 1 + 1j)
    inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
    return Problem(
        name="fwi_disc_multifrequency",
        fields=fields,
        domain=Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}),
        equations=[sp.Eq(laplacian(u) + k**2 * m * u, source) for u, k in zip(fields, wavenumbers, strict=True)],
        conditions=[
            *[PML(u, width=0.5, strength=5) for u in fields],
            *[Observations(u, heard, data, noise=noise or None) for u, data in zip(fields, values, strict=True)],
        ],
        exact={**dict(zip(fields, exact, strict=True)), m: sp.Piecewise((speed**-2, inside), (1, True))},
    )
