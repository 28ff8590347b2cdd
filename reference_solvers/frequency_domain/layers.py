"""The absorbing layer of a discrete operator: thickness asked in wavelengths, profile and strength chosen by its computed reflection.

Input: scheme, cells, points per wavelength. Output: `FaceLayer`, the stretch e = 1 - i a (d/L)^p behind one face.

Past the optimum a discretised layer reflects more the stronger it is, so no formula of the continuous layer gives the strength. A plane wave on
the grid that falls on the layer is a one-dimensional discrete problem (the other direction is a phase): its reflection is computed exactly for
several angles, and (a, p) minimise the largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar

from pinnsiren.errors import ReferenceSolverError

from .schemes import Scheme, across, stiffness

Array = NDArray[Any]

# Angles of incidence at which the largest reflection is minimised; grazing waves need longer paths to reach the layer at all.
_ANGLES = (0.0, 20.0, 40.0, 55.0)
_POWERS = (2.0, 3.0, 4.0)
_STRENGTHS = (0.3, 30.0)
THINNEST_IN_WAVELENGTHS = 0.25


@dataclass(frozen=True)
class FaceLayer:
    """The layer behind one face.

    Attributes:
        cells: thickness L in steps.
        strength: a, dimensionless.
        power: p.
        reflection: computed largest reflection coefficient over the angles 0 to 55 degrees.
    """

    cells: int
    strength: float
    power: float
    reflection: float

    def stretch(self, depth: Array) -> Array:
        """e at a depth in steps (0 at the face, negative inside)."""
        return 1 - 1j * self.strength * self._relative(depth) ** self.power

    def stretched_depth(self, depth: Array) -> Array:
        """The integral of e over the depth, in steps: the complex coordinate in which outgoing waves decay."""
        return np.asarray(depth - 1j * self.strength * self.cells * self._relative(depth) ** (self.power + 1) / (self.power + 1))

    def _relative(self, depth: Array) -> Array:
        return np.clip(np.asarray(depth) / self.cells, 0, 1)


def plane_wave(scheme: Scheme, points_per_wavelength: float, angle: float) -> tuple[float, float]:
    """Phases per step, along and across, of the discrete plane wave at an angle (radians) to the normal.

    Raises:
        ReferenceSolverError: the wave does not propagate on the grid.
    """
    squared = (2 * np.pi / points_per_wavelength) ** 2

    def dispersion(phase: float) -> float:
        x, y = phase * np.cos(angle), phase * np.sin(angle)
        moved = scheme.stiffness_symbol(x) * scheme.row_symbol(y) + scheme.stiffness_symbol(y) * scheme.row_symbol(x)
        return moved - squared * scheme.mass_symbol(x, y)

    high = np.pi
    if dispersion(high) < 0:
        raise ReferenceSolverError(f"a wave of {points_per_wavelength:.2g} points per wavelength does not propagate on the grid of `{scheme.name}`")
    phase = float(brentq(dispersion, 1e-6, high))
    return phase * float(np.cos(angle)), phase * float(np.sin(angle))


def reflection(scheme: Scheme, layer: FaceLayer, points_per_wavelength: float, angle: float) -> float:
    """Modulus of the reflection coefficient of the discrete layer for the discrete plane wave at an angle (radians)."""
    along, sideways = plane_wave(scheme, points_per_wavelength, angle)
    # A wave is sent from the first node; the two plane waves are read where the other modes of wide stencils have died out.
    free = 16 + 4 * scheme.reach
    n = free + layer.cells

    def stretch(position: Array) -> Array:
        return layer.stretch(position - (free - 1))

    e = stretch(np.arange(n, dtype=float))
    beside = scheme.side / 4 + scheme.corner / 2 * np.cos(sideways)
    weights = np.diag(np.full(n, 1 - scheme.side - scheme.corner + scheme.side / 2 * np.cos(sideways)))
    weights += beside * (np.eye(n, k=1) + np.eye(n, k=-1))
    mass = (weights * e + e[:, None] * weights) / 2
    matrix = (
        stiffness(scheme, n, 1.0, stretch).toarray() * scheme.row_symbol(sideways)
        - scheme.stiffness_symbol(sideways) * across(scheme, n, stretch).toarray()
        + (2 * np.pi / points_per_wavelength) ** 2 * mass
    )
    sent = np.zeros(n, dtype=complex)
    sent[0] = 1
    read = np.arange(scheme.reach + 5, free - scheme.reach)
    waves = np.exp(-1j * along * np.outer(read, (1, -1)))
    outgoing, returning = np.linalg.lstsq(waves, np.linalg.solve(matrix, sent)[read], rcond=None)[0]
    return float(abs(returning / outgoing))


@lru_cache(maxsize=256)
def best_layer(scheme: Scheme, cells: int, points_per_wavelength: tuple[float, ...]) -> FaceLayer:
    """The layer of that many cells whose largest reflection is smallest.

    Args:
        scheme: of the operator.
        cells: thickness in steps.
        points_per_wavelength: of the waves that reach it; in a variable medium the shortest and the longest.
    """

    def largest(strength: float, power: float) -> float:
        layer = FaceLayer(cells, strength, power, 0.0)
        return max(reflection(scheme, layer, p, np.radians(angle)) for p in points_per_wavelength for angle in _ANGLES)

    found = []
    for power in _POWERS:
        coarse = np.geomspace(*_STRENGTHS, 12)
        values = [largest(strength, power) for strength in coarse]
        i = int(np.argmin(values))
        bracket = (np.log(coarse[max(i - 1, 0)]), np.log(coarse[min(i + 1, len(coarse) - 1)]))
        best = minimize_scalar(lambda s, p=power: np.log(largest(float(np.exp(s)), p)), bounds=bracket, method="bounded", options={"xatol": 0.02})
        found.append(FaceLayer(cells, float(np.exp(best.x)), power, float(np.exp(best.fun))))
    return min(found, key=lambda layer: layer.reflection)


def layer_for_face(
    scheme: Scheme, wavelengths: float, shortest: float, longest: float, step: float, face: str, most_cells: int | None = None
) -> FaceLayer:
    """The layer behind one face.

    Args:
        scheme: of the operator.
        wavelengths: thickness asked for, in mean wavelengths along the face.
        shortest, longest: wavelengths along the face, physical units.
        step: of the grid along the normal, the same units.
        face: name for messages.
        most_cells: beyond which it is made no thicker, unless the longest wave needs more; None for as thick as asked.

    Raises:
        ReferenceSolverError: thinner than a quarter of the longest wavelength.
    """
    thickness = wavelengths * float(np.sqrt(shortest * longest))
    if most_cells is not None and thickness > most_cells * step:
        thickness = max(most_cells * step, THINNEST_IN_WAVELENGTHS * longest)
    cells = int(np.ceil(thickness / step - 1e-6))
    if thickness < THINNEST_IN_WAVELENGTHS * longest * (1 - 1e-9) or cells < 2:
        raise ReferenceSolverError(
            f"the layer behind `{face}` was asked {wavelengths:g} wavelengths thick = {thickness:.3g}, {cells} cells; it absorbs nothing below "
            f"a quarter of the longest wavelength there, {THINNEST_IN_WAVELENGTHS * longest:.3g}: ask for "
            f"{max(THINNEST_IN_WAVELENGTHS * longest, 2 * step) / float(np.sqrt(shortest * longest)):.2g} wavelengths at least (1 is usual)"
        )
    # Two significant digits of the points per wavelength: faces and frequencies share their layers.
    rounded = tuple(sorted({float(f"{length / step:.2g}") for length in (shortest, longest)}))
    return best_layer(scheme, cells, rounded)
