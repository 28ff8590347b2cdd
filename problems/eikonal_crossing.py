"""First arrivals behind a slow lens: rays cross, and the earliest time has a kink.

    |grad T|^2 = 1/v^2   in (0, 1)^2,   T = 0 at the source,   v = 1 + 0.3 z + sum_i a_i exp(-|x - c_i|^2 / (2 s_i^2))

Distances in km, speeds in km/s: a = -0.5 at (0.45, 0.4), s = 0.15, and a = 0.4 at (0.65, 0.7), s = 0.2; source at (0.12, 0.15). Behind the slow lens
waves that passed it on both sides arrive at the same places; T is the earlier one, the viscosity solution, with a jump of its gradient where they
tie. The package follows rays to find where, and solves for the smooth time of each side. Judge: factored fast sweeping.

Reference: Crandall & Lions (1983), Trans. Amer. Math. Soc. 277; Vinje, Iversen & Gjoystdal (1993), Geophysics 58.
"""

from pinnsiren.language import Problem

from .eikonal_two_anomalies import Anomaly
from .eikonal_two_anomalies import declare as declare_anomalies


def declare(
    *,
    gradient: float = 0.3,
    anomalies: tuple[Anomaly, ...] = ((-0.5, (0.45, 0.4), 0.15), (0.4, (0.65, 0.7), 0.2)),
    at: tuple[float, float] = (0.12, 0.15),
) -> Problem:
    """Declare the problem.

    Args:
        gradient: of the speed with depth, 1/s.
        anomalies: amplitude (km/s), centre (km) and deviation (km) of each.
        at: position of the source, km.
    """
    return declare_anomalies(gradient=gradient, anomalies=anomalies, at=at, name="eikonal_crossing")
