"""Chart: nested Gaussian windows around a source that is narrower than the wavelength, or around a small inclusion.

Each window halves the last; its bandwidth is inversely proportional to its width, so that each carries the same number of oscillations.
"""

from collections import Counter
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.charts.kink import propose as propose_kinks
from pinnsiren.charts.scales import Scales
from pinnsiren.ir import Chart, ProblemIR, Rewritten

SOURCE_WIDTH = 0.3  # of the half side of the box: the widest window around a source that is left in the equations
FIRST_WIDTH = 0.2  # the widest window elsewhere
REDUNDANCY = 4.0  # a narrow band with many features: what a window holds is smooth on its scale, the next window has the next scale
EXTENT = 1.5  # half extent of a window in its widths: beyond, its weight in the least squares is below a tenth
SHARE = 0.2
MANY = 8  # windows of one width that together cover the box: its own features carry them all, as many shots have it
INCLUSION_SHARE = 0.35  # the scattered field around an inclusion is as rich as the field around a source, and on both sides of its edge


def propose(ir: ProblemIR, rewritten: Rewritten, scales: Scales) -> tuple[Chart, ...]:
    """Proposed around narrow sources left in the equations, around split sources, and around inclusions smaller than the box."""
    centres: list[tuple[NDArray[Any], float, float, float, str]] = []
    unit = float(np.min(scales.unit))
    for at, deviation in scales.sources:
        centres.append((np.array(at), SOURCE_WIDTH, 2 * deviation, SHARE, f"a source of deviation {deviation:g} at {at}"))
    for addition in rewritten.additions:
        for at, radius in addition.core:
            centres.append((np.array(at), FIRST_WIDTH, max(2 * radius, 0.1 * unit), SHARE, f"the cut-off around the source at {at}"))
    for chart in propose_kinks(ir, rewritten, scales):
        if chart.focus is not None:
            box = np.array(chart.focus)
            size = float(np.max(box[:, 1] - box[:, 0]))
            if size < 0.8 * unit and not any(np.allclose(box.mean(axis=1), c, atol=0.1 * size) for c, *_ in centres):
                centres.append((box.mean(axis=1), FIRST_WIDTH, 0.35 * size, INCLUSION_SHARE, f"an inclusion of size {size:.3g}"))
    wanted = [(centre, width, share, text) for centre, widest, narrowest, share, text in centres for width in _widths(widest * unit, narrowest)]
    counts = Counter(width for _, width, _, _ in wanted)
    covered = {width for width, count in counts.items() if count >= MANY and count * (2 * EXTENT * width) ** len(ir.coordinates) > scales.volume}
    return tuple(_window(ir, scales, centre, width, share, text) for centre, width, share, text in wanted if width not in covered)


def _widths(widest: float, narrowest: float) -> list[float]:
    """Each window halves the last, down to the narrowest."""
    widths = [widest]
    while 0.5 * widths[-1] >= 0.9 * narrowest:
        widths.append(0.5 * widths[-1])
    return widths


def _window(ir: ProblemIR, scales: Scales, centre: Any, width: float, share: float, text: str) -> Chart:
    local = tuple((s - sp.Float(float(c))) / sp.Float(width) for s, c in zip(ir.coordinates, centre, strict=True))
    return Chart(
        name=f"window of width {width:.3g}",
        reason=text,
        coordinates=local,
        window=sp.exp(-sp.Add(*[z**2 for z in local]) / 2),
        half_lengths=(EXTENT,) * len(local),
        share=share,
        redundancy=REDUNDANCY,
        focus=tuple((float(c - 2 * width), float(c + 2 * width)) for c in centre),
    )
