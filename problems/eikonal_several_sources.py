"""First arrivals from three sources in one declaration: each has a time field of its own.

    |grad T_s|^2 = 1/v^2   in (0, 2) x (0, 1),   T_s = 0 at the source s,   v = 1.5 + 0.9 z + 0.4 exp(-|x - c|^2 / (2 0.2^2))

v in km/s, c = (1.1, 0.5) km, sources at (0.2, 0.1), (1, 0.05) and (1.8, 0.1) km. The field has a shot axis and the times at the sources are
observations, shot by shot. Naming several points in Dirichlet conditions of a field without shots asks for the earliest of them instead.
Judge: factored sweeping.

Reference: Cerveny (2001), Seismic Ray Theory, section 3.1.
"""

import numpy as np
import sympy as sp

from pinnsiren.language import Box, Observations, Problem, coordinates, field, grad


def declare(
    *, amplitude: float = 0.4, centre: tuple[float, float] = (1.1, 0.5), at: tuple[tuple[float, float], ...] = ((0.2, 0.1), (1.0, 0.05), (1.8, 0.1))
) -> Problem:
    """Declare the problem.

    Args:
        amplitude: of the anomaly of the speed, km/s.
        centre: of the anomaly, km.
        at: position of the source of each shot, km.
    """
    x, z = coordinates("x z")
    travel_time = field("T", x, z, shots=len(at))
    slope = grad(travel_time)
    squared = (x - sp.Float(centre[0])) ** 2 + (z - sp.Float(centre[1])) ** 2
    v = sp.Float(1.5) + sp.Float(0.9) * z + sp.Float(amplitude) * sp.exp(-squared / sp.Float(0.08))
    return Problem(
        name="eikonal_several_sources",
        fields=[travel_time],
        domain=Box({x: (0, 2), z: (0, 1)}),
        equations=[sp.Eq(slope.dot(slope), 1 / v**2)],
        conditions=[Observations(travel_time, np.array(at)[:, None, :], np.zeros((len(at), 1)))],
    )
