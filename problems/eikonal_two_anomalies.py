"""First arrivals from a point in a medium with a slow and a fast anomaly, weak enough that no rays cross.

    |grad T|^2 = 1/v^2   in (0, 1)^2,   T = 0 at the source,   v = 1 + 0.3 z + sum_i a_i exp(-|x - c_i|^2 / (2 s_i^2))

Distances in km, speeds in km/s: a = 0.25 at (0.45, 0.4), s = 0.15, and a = -0.15 at (0.65, 0.7), s = 0.2; source at (0.12, 0.15). The times are
smooth but for the cone at the source, which the package splits off. Judge: factored fast sweeping.

Reference: Cerveny (2001), Seismic Ray Theory, section 3.1; Fomel, Luo & Zhao (2009), J. Comput. Phys. 228.
"""

import sympy as sp

from pinnsiren.language import Box, Dirichlet, Problem, coordinates, field, grad

Anomaly = tuple[float, tuple[float, float], float]


def declare(
    *,
    gradient: float = 0.3,
    anomalies: tuple[Anomaly, ...] = ((0.25, (0.45, 0.4), 0.15), (-0.15, (0.65, 0.7), 0.2)),
    at: tuple[float, float] = (0.12, 0.15),
    name: str = "eikonal_two_anomalies",
) -> Problem:
    """Declare the problem.

    Args:
        gradient: of the speed with depth, 1/s.
        anomalies: amplitude (km/s), centre (km) and deviation (km) of each.
        at: position of the source, km.
        name: of the problem.
    """
    x, z = coordinates("x z")
    travel_time = field("T", x, z)
    slope = grad(travel_time)
    v = 1 + sp.Float(gradient) * z
    for amplitude, centre, deviation in anomalies:
        squared = (x - sp.Float(centre[0])) ** 2 + (z - sp.Float(centre[1])) ** 2
        v += sp.Float(amplitude) * sp.exp(-squared / sp.Float(2 * deviation**2))
    return Problem(
        name=name,
        fields=[travel_time],
        domain=Box({x: (0, 1), z: (0, 1)}),
        equations=[sp.Eq(slope.dot(slope), 1 / v**2)],
        conditions=[Dirichlet(travel_time, 0, on={x: at[0], z: at[1]})],
    )
