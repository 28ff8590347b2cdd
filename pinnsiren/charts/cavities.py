"""Chart: logarithm of the distance and direction around a spherical cavity.

Around a ball of radius R the solution is a sum of (R/r)^(l + 1) times spherical harmonics of degree l: in log r and the direction (x, y, z)/r it
varies evenly on all scales between the cavity and the domain. Plane waves in the direction are spherical harmonics up to about their wave number.
"""

from typing import Any

import numpy as np
import sympy as sp

from pinnsiren.charts.gradings import RingGrading
from pinnsiren.charts.polar_spectra import CavitySpectrum
from pinnsiren.charts.scales import Scales
from pinnsiren.ir import Chart, ProblemIR, Rewritten
from pinnsiren.language.domains import Ball
from pinnsiren.language.domains.shape import AbstractShape
from pinnsiren.language.locations import space_of

SHARE = 0.5
WHOLE = 1e-6  # of the surface: the part of it that other shapes hide, as a share that is none


def propose(ir: ProblemIR, rewritten: Rewritten, scales: Scales) -> tuple[Chart, ...]:
    """Proposed for every ball that is cut out of a domain in space as a whole."""
    space = space_of(rewritten.original.domain)
    if len(space.coordinates) != 3 or not isinstance(space, AbstractShape):
        return ()
    return tuple(_chart(ball, ir, scales, space) for ball in space.leaves if isinstance(ball, Ball) and _is_cavity(ball, space))


def _is_cavity(ball: Ball, space: AbstractShape) -> bool:
    parts = space.named_parts_of(ball)
    if sum(space.boundary_measure(part) for part in parts) < (1 - WHOLE) * 4 * np.pi * ball.radius**2:
        return False
    points, normals = space.sample_boundary(parts[0], 8, seed=1)
    return bool(np.all(np.sum((points - np.array(ball.centre)) * normals, axis=1) < 0))


def _chart(ball: Ball, ir: ProblemIR, scales: Scales, space: Any) -> Chart:
    offset = [s - sp.Float(c) for s, c in zip(space.coordinates, ball.centre, strict=True)]
    limits = np.array([space.bounds[s] for s in space.coordinates])
    largest = float(np.linalg.norm(np.maximum(limits[:, 1] - ball.centre, ball.centre - limits[:, 0])))
    square = sp.Add(*[part**2 for part in offset])
    depth = sp.log(square / sp.Float(ball.radius) ** 2) / 2
    further = scales.local(ir.coordinates)[3:]
    shown = ", ".join(f"{c:g}" for c in ball.centre)
    return Chart(
        name=f"cavity at ({shown})",
        reason=f"the domain lies around a ball of radius {ball.radius:.3g}: logarithm of the distance, and direction",
        coordinates=(depth, *(part / sp.sqrt(square) for part in offset), *further),
        window=1,
        half_lengths=(0.5 * float(np.log(largest / ball.radius)), 1.0, 1.0, 1.0, *map(float, scales.half_lengths[3:])),
        share=SHARE,
        decays=(depth,),
        spectrum=CavitySpectrum(len(further)),
        grading=RingGrading(tuple(map(float, ball.centre)), float(ball.radius), largest),
    )
