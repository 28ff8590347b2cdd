"""Where to look for unknown scalars: candidates over their bounds, since Gauss-Newton finds the nearest minimum only.

Input: unknown scalars. Output: candidate values, the declared initial ones first.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.charts import Frequencies, find_scales
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.language.domains.base import sobol
from pinnsiren.language.symbols import declaration_of, unknown
from pinnsiren.training.feature_model import draw_all

CANDIDATES = {1: 32, 2: 64}  # a wave speed needs about two per oscillation of the record; more unknowns share 128 points
MOST_CANDIDATES = 128
WIDE = 3.0  # ratio of positive bounds above which values are spread by ratio and not by difference
OPEN_RATIO = 16.0  # searched around the start where bounds are infinite


def scalar_limits(unknowns: Sequence[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lower and upper bounds, each (n_unknowns,)."""
    bounds = np.array([declaration_of(unknown).bounds for unknown in unknowns], dtype=float).reshape(-1, 2)
    return bounds[:, 0], bounds[:, 1]


def scalar_candidates(unknowns: Sequence[Any]) -> list[tuple[complex, ...]]:
    """Return values to try for all scalars together; complex ones start as declared in their imaginary part."""
    if not unknowns:
        return []
    start = tuple(complex(declaration_of(unknown).initial) for unknown in unknowns)
    n = CANDIDATES.get(len(unknowns), MOST_CANDIDATES)
    shares = (np.arange(n)[:, None] + 0.5) / n if len(unknowns) == 1 else sobol(len(unknowns), n, seed=1)
    columns = [_spread(declaration_of(unknown), shares[:, index]) for index, unknown in enumerate(unknowns)]
    return [start, *(tuple(complex(value, s.imag) for value, s in zip(row, start, strict=True)) for row in np.stack(columns, axis=1).tolist())]


def scalar_values(unknowns: Sequence[Any], n: int) -> list[NDArray[np.float64]]:
    """Return the declared initial values of real scalars, and n more spread over their bounds."""
    start = np.array([complex(declaration_of(unknown).initial).real for unknown in unknowns])
    shares = (np.arange(n)[:, None] + 0.5) / n if len(unknowns) == 1 else sobol(len(unknowns), n, seed=1)
    columns = [_spread(declaration_of(unknown), shares[:, index]) for index, unknown in enumerate(unknowns)]
    return [start, *np.stack(columns, axis=1)]


def at_scalars(
    compiled: CompiledProblem, scalars: tuple[complex, ...], n_features: int, redundancy: float, seed: int
) -> tuple[CompiledProblem, tuple[Frequencies, ...]]:
    """Return the problem with the scales that it has at some scalars, and frequencies drawn for them.

    A speed stretches time: at three times the declared start a wave oscillates three times as fast along it. The charts stay, so that files need not
    know; the frequencies on the scaled box are drawn in the units of the scalars and converted.
    """
    if not scalars:
        return compiled, tuple(draw_all(compiled, n_features, redundancy, seed))
    ir = compiled.ir
    moved = []
    for candidate, value in zip(ir.unknowns, scalars, strict=True):
        declared = declaration_of(candidate)
        moved.append(unknown(declared.name, value if declared.is_complex else value.real, (-np.inf, np.inf), complex=declared.is_complex))
    scales = find_scales(replace(ir, unknowns=tuple(moved)), compiled.rewritten)
    charts = tuple(replace(chart, half_lengths=tuple(scales.half_lengths)) if chart.name == "box" else chart for chart in compiled.charts)
    scaled = replace(compiled, scales=scales, charts=charts)
    drawn = draw_all(scaled, n_features, redundancy, seed)
    ratio = compiled.scales.unit / scales.unit
    converted = [replace(f, waves=f.waves * ratio) if chart.name == "box" else f for chart, f in zip(charts, drawn, strict=True)]
    return replace(compiled, scales=scales), tuple(converted)


def _spread(declaration: Any, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map (0, 1) onto the values of one scalar."""
    low, high = declaration.bounds
    start = complex(declaration.initial).real
    size = abs(start) or 1.0
    if not np.isfinite(low):
        low = min(-OPEN_RATIO * size, high - OPEN_RATIO * size) if np.isfinite(high) else -OPEN_RATIO * size
        if start > 0 and not np.isfinite(declaration.bounds[1]):
            low = size / OPEN_RATIO  # a start above zero speaks of a positive quantity; Gauss-Newton may still leave it
    if not np.isfinite(high):
        high = max(OPEN_RATIO * size, low + OPEN_RATIO * size)
    if low > 0 and high > WIDE * low:
        return np.asarray(low * (high / low) ** shares)
    if low == 0:
        low = high / OPEN_RATIO**2  # bounds from zero are those of a positive quantity of unknown size
        return np.asarray(low * (high / low) ** shares)
    return np.asarray(low + (high - low) * shares)
