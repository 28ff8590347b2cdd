"""Chart: log-polar coordinates at a corner where the solution is singular.

At a corner of opening w the solution behaves like r^p with p = pi/w between conditions of one kind and pi/(2 w) between value and slope
(Kondratiev 1967): smooth in log r and the angle, of unbounded derivatives in x and y.
"""

from typing import Any

import numpy as np
import sympy as sp

from pinnsiren.charts.gradings import CornerGrading
from pinnsiren.charts.polar_spectra import CornerSpectrum
from pinnsiren.charts.scales import Scales
from pinnsiren.ir import Chart, ProblemIR, Rewritten
from pinnsiren.language.domains.outline import Corner, corners_of
from pinnsiren.language.locations import space_of

SHARE = 0.3
NEGLIGIBLE = 1e-10  # relative L2 norm of r^p within the smallest distance of the graded points


def propose(ir: ProblemIR, rewritten: Rewritten, scales: Scales) -> tuple[Chart, ...]:
    """Proposed at corners whose exponents are small and no whole numbers."""
    space = space_of(rewritten.original.domain)
    if len(space.coordinates) != 2 or rewritten.layers:
        return ()
    charts = []
    for corner in corners_of(space):
        exponent = np.pi / corner.opening
        if corner.opening > np.pi * 1.001:
            charts.append(_chart(corner, exponent, exponent, ir, scales, space))
    return tuple(charts)


def _chart(corner: Corner, lowest: float, spacing: float, ir: ProblemIR, scales: Scales, space: Any) -> Chart:
    x, y = (s - sp.Float(c) for s, c in zip(space.coordinates, corner.point, strict=True))
    limits = np.array([space.bounds[s] for s in space.coordinates])
    largest = float(np.linalg.norm(np.maximum(limits[:, 1] - corner.point, corner.point - limits[:, 0])))
    smallest = largest * NEGLIGIBLE ** (1 / (1 + lowest))
    cosine, sine = sp.Float(float(np.cos(corner.bisector))), sp.Float(float(np.sin(corner.bisector)))
    angle = sp.atan2(cosine * y - sine * x, cosine * x + sine * y)
    depth = sp.log((x**2 + y**2) / sp.Float(largest) ** 2) / 2
    further = scales.local(ir.coordinates)[2:]
    return Chart(
        name=f"corner at ({corner.point[0]:g}, {corner.point[1]:g})",
        reason=f"opening of {np.degrees(corner.opening):.4g} degrees: the solution behaves like r^{lowest:.3g} there",
        coordinates=(depth, angle, *further),
        window=1,
        half_lengths=(0.5 * float(np.log(largest / smallest)), 0.5 * corner.opening, *map(float, scales.half_lengths[2:])),
        share=SHARE,
        decays=(-depth,),
        spectrum=CornerSpectrum(lowest, spacing, corner.opening, len(further), 4.0),
        grading=CornerGrading(
            corner.point, corner.bisector, corner.opening, smallest, largest,
            tuple((side.part, side.angle, side.curvature, side.length) for side in (corner.first, corner.last)),
        ),
    )  # fmt: skip
