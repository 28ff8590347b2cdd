"""Probe points: fixed points of the declared domain, outside the source cores, on which errors and amplitudes are measured.

A constant that the declaration leaves open is no error: it is taken off before anything is measured.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem

N_PROBES = 2000
FEWEST = 0.05  # of the probe points: where the cores of many shots leave less, they cover the domain, and each shot is far from nearly all of them
PROBE_SEED = 20_011  # far from the seeds of collocation points


def probe_points(compiled: CompiledProblem) -> NDArray[np.float64]:
    """Return points (n, n_coordinates) of the declared domain outside the cores of narrow sources, unless these cover it."""
    points = compiled.original.domain.sample_interior(N_PROBES, PROBE_SEED)
    keep = np.ones(len(points), dtype=bool)
    for centre, radius in source_cores(compiled):
        keep &= np.linalg.norm(points - np.array(centre), axis=1) > radius
    return points[keep] if np.mean(keep) >= FEWEST else points


def without_free_constants(compiled: CompiledProblem, values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Return the values of the fields at probe points, (n, n_shots) each, less their mean where the declaration leaves a constant open."""
    return [v - np.mean(v, axis=0) if index in compiled.free_constants else v for index, v in enumerate(values)]


def source_cores(compiled: CompiledProblem) -> tuple[tuple[tuple[float, ...], float], ...]:
    """Return (centre, six standard deviations) of the sources that are narrow against the declared domain."""
    cores = [core for addition in compiled.rewritten.additions for core in addition.core]
    size = compiled.original.domain.size
    cores += [(centre, 6 * deviation) for centre, deviation in compiled.scales.sources if 6 * deviation < 0.2 * size]
    return tuple(dict.fromkeys(cores))
