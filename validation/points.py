"""Where solutions are compared: fixed low-discrepancy points of the declared domain, source cores apart.

Input: the domain and the cores of narrow sources. Output: `EvaluationPoints`. The points are no grid, so that they favour the nodes of no solver,
and they do not depend on the run, so that two reports of one problem compare like with like.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.language import AbstractDomain
from pinnsiren.language.domains.base import sobol

Array = NDArray[Any]
Core = tuple[tuple[float, ...], float]

# Integrals of squared fields that a few wavelengths fit in, to better than a hundredth: the error of an error needs no more.
N_INTERIOR = {1: 2**12, 2: 2**14, 3: 2**15, 4: 2**15}
N_PER_PART = 256
N_PER_CORE = 2**10
SEED = 20


@dataclass(frozen=True)
class EvaluationPoints:
    """Points of one comparison, physical units.

    Attributes:
        outside: (n, n_coordinates), in the domain, outside all source cores; their mean is the integral.
        boundary: (m, n_coordinates), on the boundary of the domain, outside the cores; for the largest error only.
        inside: (l, n_coordinates), within the cores; empty without cores.
    """

    outside: Array
    boundary: Array
    inside: Array


def sample_points(domain: AbstractDomain, cores: Sequence[Core]) -> EvaluationPoints:
    """Draw the points of a comparison.

    Args:
        domain: the declared domain.
        cores: centre and radius of each narrow source; a centre may name the spatial coordinates only.
    """
    dimension = len(domain.coordinates)
    interior = domain.sample_interior(N_INTERIOR[min(dimension, 4)], SEED)
    faces = [domain.sample_boundary(part, N_PER_PART, SEED)[0] for part in domain.boundary_parts()]
    boundary = np.concatenate(faces) if faces else np.empty((0, dimension))
    inside = [_core_points(domain, core) for core in cores]
    return EvaluationPoints(
        outside=interior[~in_cores(interior, cores)],
        boundary=boundary[~in_cores(boundary, cores)],
        inside=np.concatenate(inside) if inside else np.empty((0, dimension)),
    )


def in_cores(points: Array, cores: Sequence[Core]) -> NDArray[np.bool_]:
    """Return for each point whether it lies in a source core."""
    found = np.zeros(len(points), dtype=bool)
    for centre, radius in cores:
        found |= np.linalg.norm(points[:, : len(centre)] - np.asarray(centre, dtype=float), axis=1) <= radius
    return found


def _core_points(domain: AbstractDomain, core: Core) -> Array:
    centre, radius = np.asarray(core[0], dtype=float), float(core[1])
    limits = np.array([domain.bounds[symbol] for symbol in domain.coordinates], dtype=float)
    low, high = limits[:, 0].copy(), limits[:, 1].copy()
    n = len(centre)
    low[:n], high[:n] = np.maximum(low[:n], centre - radius), np.minimum(high[:n], centre + radius)
    points = low + (high - low) * sobol(len(low), N_PER_CORE, SEED)
    return np.asarray(points[in_cores(points, [core]) & domain.contains(points)])
