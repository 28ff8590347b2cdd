"""What absorbing layers do to the tails of Gaussian sources that stand near them.

A layer is free space for waves that enter it, not for sources inside it: a unit source at depth d of the layer stands, in stretched coordinates, at
x -+ i strength d^3 / (3 width^2), and counts e = 1 -+ i strength (d / width)^2 times. Its wave reaches the declared domain

    e exp(-k strength d^3 / (3 width^2))

times as large as that of the same source in free space; behind the layer there is none. With N the Gaussian along the normal, the face lies at
distance a from its centre, and the share of the field that is wrong is the integral over d of N(a + d) |1 - e exp(...)|.

Input: declared problem, faces of a layer. Output: relative error of the fields.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.language.problem import Problem
from pinnsiren.language.sources import GaussianSource

N_DEPTHS = 48  # Gauss points of the integral over half a Gaussian times a power of the depth: 1e-6 of it
DEVIATIONS = 8.0  # a Gaussian is below 2e-14 of its peak beyond

Face = tuple[int, int, float, float, float, float]
"""Coordinate index, side, edge, width, strength, and the smallest wavenumber on the face, zero where there is none."""


def tail_error(problem: Problem, field: Any, faces: Sequence[Face]) -> float:
    """Return the relative error of a field, the root mean square over its sources weighted by their amplitudes.

    Args:
        problem: the declaration.
        field: whose equations hold the sources.
        faces: with layers.
    """
    sources = set().union(*(equation.atoms(GaussianSource) for equation in problem.equations if equation.has(field)))
    weights = {source: abs(complex(source.amplitude)) ** 2 if source.amplitude.is_number else 1.0 for source in sources}
    wrong = {source: sum(_wrong_share(problem, source, face) for face in faces) for source in sources}
    # Exact sums, since a set has no order.
    total, weight = math.fsum(weights[source] * wrong[source] ** 2 for source in sources), math.fsum(weights.values())
    return math.sqrt(total / weight) if weight > 0 else 0.0


def _wrong_share(problem: Problem, source: GaussianSource, face: Face) -> float:
    """Return the share of a source that a layer falsifies; none for one that is not local along the normal: it crosses every layer."""
    axis, side, edge, *_ = face
    symbol = problem.coordinates[axis]
    if symbol not in source.coordinates:
        return 0.0
    centre = source.centre[source.coordinates.index(symbol)]
    if not (centre.is_number and source.variance.is_number):
        return 0.0
    deviation = float(source.variance) ** 0.5
    distance = side * (edge - float(centre))
    if distance > DEVIATIONS * deviation:
        return 0.0
    nodes, weights = _gauss_points()
    reach = DEVIATIONS * deviation - max(distance, 0.0)
    depths = 0.5 * reach * (nodes + 1)
    gaussian = np.exp(-0.5 * ((distance + depths) / deviation) ** 2) / (np.sqrt(2 * np.pi) * deviation)
    return float(0.5 * reach * np.sum(weights * gaussian * _falsified(depths, *face[3:])))


@cache
def _gauss_points() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(N_DEPTHS)


def _falsified(depths: NDArray[np.float64], width: float, strength: float, wavenumber: float) -> NDArray[np.float64]:
    """Return how far the waves of unit sources at these depths are from those in free space."""
    shares = np.abs(1 - (1 - 1j * strength * (depths / width) ** 2) * np.exp(-wavenumber * strength * depths**3 / (3 * width**2)))
    return np.where(depths < width, shares, 1.0)
