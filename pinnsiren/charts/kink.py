"""Chart: the kink of the solution at a jump of a coefficient.

Where the coefficient multiplies u, u is C1 and its second derivative jumps: features carry the squared positive part of the level-set function.
Where it stands inside a divergence, the first derivative jumps: features carry the first power too.
"""

from typing import Any

import numpy as np
import sympy as sp

from pinnsiren.charts.level_sets import LevelSet, level_sets
from pinnsiren.charts.right_angles import rectangle_of
from pinnsiren.charts.scales import Scales
from pinnsiren.ir import Chart, ProblemIR, Rewritten
from pinnsiren.language.heads import PositivePart
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.operators import Divergence

SHARE = 0.05  # the factor that multiplies the kink is as smooth as the wave inside the inclusion
REDUNDANCY = 2.0


def propose(ir: ProblemIR, rewritten: Rewritten, scales: Scales) -> tuple[Chart, ...]:
    """Proposed for every surface of a `Piecewise` coefficient in the declared equations."""
    points = rewritten.original.domain.sample_interior(2048, seed=7)
    charts: list[Chart] = []
    for equation in rewritten.original.equations:
        in_flux: set[LevelSet] = set()
        for head in equation.atoms(Divergence):
            in_flux |= set(level_sets(head, ir.coordinates))
        for surface in level_sets(equation, ir.coordinates):
            largest = surface.maximum(ir.coordinates, points)
            if largest <= 0 or (surface not in in_flux and rectangle_of(surface, ir.coordinates) is not None):
                continue
            part = PositivePart(surface.function / sp.Float(largest))
            powers = (1, 2) if surface in in_flux else (2,)
            focus = _focus(surface, ir, scales, rewritten)
            if focus is None:
                continue
            local = tuple((s - sp.Float(0.5 * (a + b))) / sp.Float(0.5 * (b - a)) for s, (a, b) in zip(ir.coordinates, focus, strict=True))
            for power in powers:
                charts.append(
                    Chart(
                        name=f"kink (power {power})",
                        reason=f"a coefficient jumps across {surface.function} = 0",
                        coordinates=local,
                        window=part**power,
                        half_lengths=(1.0,) * len(local),
                        share=SHARE,
                        redundancy=REDUNDANCY,
                        focus=focus,
                        network_input=part**power,
                    )
                )
    return tuple(charts)


def _focus(surface: LevelSet, ir: ProblemIR, scales: Scales, rewritten: Rewritten) -> Any:
    """Return the bounding box of the region where the function and its siblings are positive, slightly enlarged."""
    from_points = rewritten.original.domain.sample_interior(16384, seed=11)
    inside = np.ones(len(from_points), dtype=bool)
    for function in (surface.function, *surface.siblings):
        inside &= evaluate_on(function, ir.coordinates, from_points).real > 0
    if not np.any(inside):
        return None
    low, high = from_points[inside].min(axis=0), from_points[inside].max(axis=0)
    margin = 0.15 * (high - low)
    bounds = np.array([rewritten.original.domain.bounds[s] for s in ir.coordinates])
    return tuple((float(max(a, c)), float(min(b, d))) for a, b, (c, d) in zip(low - margin, high + margin, bounds, strict=True))
