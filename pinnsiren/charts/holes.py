"""Chart: log-polar coordinates around a hole.

Around a disc of radius R the solution varies along the angle k times and decays like (R/r)^k: evenly spread in log r and the angle, on all scales
between the hole and the domain in x and y. Waves have whole numbers of periods around the hole.
"""

from typing import Any

import numpy as np
import sympy as sp

from pinnsiren.charts.gradings import RingGrading
from pinnsiren.charts.polar_spectra import RingSpectrum
from pinnsiren.charts.scales import Scales
from pinnsiren.ir import Chart, ProblemIR, Rewritten
from pinnsiren.language.domains.outline import Hole, holes_of
from pinnsiren.language.locations import space_of

SHARE = 0.3


def propose(ir: ProblemIR, rewritten: Rewritten, scales: Scales) -> tuple[Chart, ...]:
    """Proposed for every hole of the declared domain in the plane."""
    space = space_of(rewritten.original.domain)
    if len(space.coordinates) != 2:
        return ()
    return tuple(_chart(hole, ir, scales, space) for hole in holes_of(space))


def _chart(hole: Hole, ir: ProblemIR, scales: Scales, space: Any) -> Chart:
    x, y = (s - sp.Float(c) for s, c in zip(space.coordinates, hole.centre, strict=True))
    limits = np.array([space.bounds[s] for s in space.coordinates])
    largest = float(np.linalg.norm(np.maximum(limits[:, 1] - hole.centre, hole.centre - limits[:, 0])))
    depth = sp.log((x**2 + y**2) / sp.Float(hole.radius) ** 2) / 2
    further = scales.local(ir.coordinates)[2:]
    shown = ", ".join(f"{c:g}" for c in hole.centre)
    return Chart(
        name=f"hole at ({shown})",
        reason=f"the domain lies around a hole of radius {hole.radius:.3g}: log-polar coordinates, whole waves around it",
        coordinates=(depth, sp.atan2(y, x), *further),
        window=1,
        half_lengths=(0.5 * float(np.log(largest / hole.radius)), float(np.pi), *map(float, scales.half_lengths[2:])),
        share=SHARE,
        decays=(depth,),
        spectrum=RingSpectrum(len(further)),
        grading=RingGrading(hole.centre, hole.radius, largest),
    )
