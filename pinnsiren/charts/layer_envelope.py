"""Chart: decaying envelopes along the depth of an absorbing layer.

The quadratic profile of the layer has a jump in its second derivative at the edge; products of sines with exp(-a d^3) carry that jump.
"""

import sympy as sp

from pinnsiren.charts.scales import Scales
from pinnsiren.ir import Chart, ProblemIR, Rewritten
from pinnsiren.language.heads import PositivePart

LARGEST_DECAY = 1.5  # in units of the attenuation exponent of the layer, k strength width / 3


def propose(ir: ProblemIR, rewritten: Rewritten, scales: Scales) -> tuple[Chart, ...]:
    """Proposed when the problem has absorbing layers."""
    if not rewritten.layers:
        return ()
    decays: dict[int, sp.Expr] = {}
    largest = 0.0
    for record in rewritten.layers:
        for axis, side, edge, width, strength in record.faces:
            depth = PositivePart(side * (ir.coordinates[axis] - sp.Float(edge))) / sp.Float(width)
            # The attenuation of a wave of wavenumber k through the depth d is exp(-k strength width d^3 / 3), d in units of the width.
            wavenumber = scales.wavenumber / float(scales.unit[axis])
            rate = max(1.0, wavenumber * strength * width / 3)
            decays[axis] = decays.get(axis, sp.Integer(0)) + sp.Float(rate) * depth**3
            largest = max(largest, LARGEST_DECAY)
    return (
        Chart(
            name="layer",
            reason="the absorbing layer damps the field along its depth and leaves a kink of the second derivative at its edge",
            coordinates=scales.local(ir.coordinates),
            window=1,
            decays=tuple(decays.values()),
            decay_range=largest,
            share=0.5,
            half_lengths=tuple(scales.half_lengths),
        ),
    )
