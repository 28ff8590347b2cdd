"""Chart: log-polar coordinates at a corner where the solution is singular.

Near a corner the solution is smooth in log r and the angle, while its derivatives in x and y grow without bound (see `corner_behaviour`). The angle
needs a cut that the domain does not cross: it leaves the corner opposite to the domain. Where that ray meets the domain again, behind a hole or a
wall, the coordinates are those of a dipole, log((z - corner)/(z - end)) with the end of the cut halfway to there, z = x + i y.
"""

from typing import Any

import numpy as np
import sympy as sp

from pinnsiren.charts.corner_behaviour import CornerBehaviour, behaviour_at, vanishing_order
from pinnsiren.charts.gradings import CornerGrading
from pinnsiren.charts.polar_spectra import CornerSpectrum
from pinnsiren.charts.scales import Scales
from pinnsiren.ir import Chart, ProblemIR, Rewritten
from pinnsiren.language.domains import AbstractDomain
from pinnsiren.language.domains.outline import Corner, corners_of
from pinnsiren.language.locations import space_of

SHARE = 0.3
WEAK_SHARE = 0.15  # exponents of two and more leave little to be done
MOST = 12  # corners with the smallest exponents
NEGLIGIBLE = 1e-10  # relative L2 norm of r^p within the smallest distance of the graded points
SMALLEST = 1e-8  # of the largest distance: below, differences of coordinates lose their digits
N_CUT = 400
N_PROBES = 2048


def propose(ir: ProblemIR, rewritten: Rewritten, scales: Scales) -> tuple[Chart, ...]:
    """Proposed at corners of the declared domain in the plane where derivatives of a second-order problem grow without bound."""
    space = space_of(rewritten.original.domain)
    if len(space.coordinates) != 2 or rewritten.layers or not _is_second_order(ir):
        return ()
    found = [(behaviour, corner) for corner in corners_of(space) if (behaviour := behaviour_at(corner, ir, space)) is not None]
    found.sort(key=lambda pair: pair[0].lowest)
    return tuple(_chart(corner, behaviour, ir, scales, space) for behaviour, corner in found[:MOST])


def _is_second_order(ir: ProblemIR) -> bool:
    """Whether second derivatives in space occur in an equation."""
    second = [jet for jet in ir.jets if sum(jet.orders[:2]) >= 2]
    return any(residual.kind == "equation" and residual.expression.has(jet.symbol) for residual in ir.residuals for jet in second)


def _chart(corner: Corner, behaviour: CornerBehaviour, ir: ProblemIR, scales: Scales, space: AbstractDomain) -> Chart:
    further = scales.local(ir.coordinates)[2:]
    limits = np.array([space.bounds[s] for s in space.coordinates])
    largest = float(np.linalg.norm(np.maximum(limits[:, 1] - corner.point, corner.point - limits[:, 0])))
    smallest = largest * max(NEGLIGIBLE ** (1 / (1 + behaviour.lowest)), SMALLEST)
    vanishing = vanishing_order(ir, corner) if not further else 0
    depth, angle = _log_polar(corner, behaviour, space)
    return Chart(
        name=f"corner at ({corner.point[0]:.4g}, {corner.point[1]:.4g})",
        reason=behaviour.reason,
        coordinates=(depth, angle, *further),
        window=1,
        half_lengths=(0.5 * float(np.log(largest / smallest)), 0.5 * corner.opening, *map(float, scales.half_lengths[2:])),
        share=SHARE if behaviour.lowest < 2 else WEAK_SHARE,
        decays=(-depth,),
        spectrum=CornerSpectrum(behaviour.lowest, behaviour.spacing, corner.opening, behaviour.is_logarithmic, vanishing, len(further)),
        grading=CornerGrading(
            corner.point, corner.bisector, corner.opening, smallest, largest,
            tuple((side.part, side.angle, side.curvature, side.length) for side in (corner.first, corner.last)),
        ),
    )  # fmt: skip


def _log_polar(corner: Corner, behaviour: CornerBehaviour, space: AbstractDomain) -> tuple[Any, Any]:
    """Return (log r, angle) about the corner as expressions; log r is at most zero in the domain, the angle vanishes along the middle."""
    scaling, point = np.array(behaviour.scaling), np.array(corner.point)
    offset = sp.Matrix([s - sp.Float(c) for s, c in zip(space.coordinates, corner.point, strict=True)])
    x, y = sp.Matrix(scaling.tolist()) * offset if not np.allclose(scaling, np.eye(2)) else offset
    outward = -np.array([np.cos(corner.bisector), np.sin(corner.bisector)])
    distance = _end_of_cut(corner, outward, space)
    points = space.sample_interior(N_PROBES, seed=3)
    local = (points - point) @ scaling.T
    if distance is None:
        back = scaling @ outward
        back = back / np.linalg.norm(back)
        cosine, sine = (sp.Float(float(-value)) for value in back)
        ratio, real, imaginary = x**2 + y**2, cosine * x + sine * y, cosine * y - sine * x
        values = np.linalg.norm(local, axis=1)
    else:
        end = scaling @ (distance * outward)
        p, q = x - sp.Float(float(end[0])), y - sp.Float(float(end[1]))
        ratio, real, imaginary = (x**2 + y**2) / (p**2 + q**2), x * p + y * q, y * p - x * q
        values = np.linalg.norm(local, axis=1) / np.linalg.norm(local - end, axis=1)
    # Sampled, so that features stay bounded; a few per cent above one do no harm.
    return sp.log(ratio / sp.Float(float(np.max(values)) ** 2)) / 2, sp.atan2(imaginary, real)


def _end_of_cut(corner: Corner, outward: np.ndarray[Any, Any], space: AbstractDomain) -> float | None:
    """Return half the distance at which the ray opposite to the domain meets it again, None when it does not."""
    distances = np.geomspace(1e-4, 2.0, N_CUT) * space.size
    inside = space.contains(np.array(corner.point) + distances[:, None] * outward)
    return 0.5 * float(distances[np.argmax(inside)]) if np.any(inside) else None
