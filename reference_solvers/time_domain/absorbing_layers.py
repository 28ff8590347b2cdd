"""Convolutional perfectly matched layers for second-order time stepping, with two memory fields per layer.

In a layer d/dx becomes (1/e) d/dx, so that `u_xx` becomes `(1/e) (u_xx + d/dx psi)`, where

    1/e = 1 - sigma/(s + sigma + alpha),    psi = (1/e - 1) u_x,    zeta = (1/e - 1) (u_xx + psi_x)

and s = d/dt. The two memory fields psi and zeta follow one-pole filters in time by the trapezoidal rule: a filter that changes the time response
only is another layer without reflection, so what returns is due to the differences in space alone, and to the end of the layer. Profiles over the
relative depth d in [0, 1]: `sigma = sigma_max d^4`, `alpha = pi f (1 - d)` for the dominant frequency f; u = 0 behind the layer.

First differences are centred and antisymmetric, so the whole operator stays symmetric in the weight of the stretch: reciprocity survives the layer.

Reference: Roden and Gedney (2000), Microw. Opt. Technol. Lett. 27, 334-339; Pasalic and McGarry (2010), SEG Expanded Abstracts, for second order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError

from .line_operators import LineOperator, first_difference

Array = NDArray[Any]

# The fourth power keeps three derivatives of the stretch continuous at the face: differences of high order see a smooth medium. Measured on a
# Gaussian pulse at 25 points per dominant wavelength, layers of 1.5 wavelengths: 10 times less returns than with the third power, 100 times less
# than with the second.
_POWER = 4
# Amplitude left after the way in and out at normal incidence, in the continuous layer.
_REFLECTION = 1e-10
FEWEST_CELLS = 24
WAVELENGTHS = 1.5
# Thinner than this, in dominant wavelengths, a layer reflects visibly whatever its strength.
THINNEST = 0.25


@dataclass(frozen=True)
class LayerDesign:
    """Thickness and strength of the layers.

    Attributes:
        cells: nodes of the layer beyond the face.
        frequency: dominant frequency f, cycles per unit of time; sets alpha.
        reflection: of the continuous layer at normal incidence; sets sigma.
    """

    cells: int
    frequency: float
    reflection: float = _REFLECTION

    def __str__(self) -> str:
        return f"C-PML of {self.cells} cells, continuous reflection {self.reflection:.0e}, shift pi * {self.frequency:.3g}"


def design_layer(h: float, speed: float, frequency: float, *, cells: int | None = None, wavelengths: float = WAVELENGTHS) -> LayerDesign:
    """Choose a layer: one and a half dominant wavelengths, 24 cells at least.

    Args:
        h: step.
        speed: largest speed at the layer.
        frequency: dominant frequency of what arrives.
        cells: thickness, instead of the chosen one.
        wavelengths: thickness in dominant wavelengths, where that is more than 24 cells.

    Raises:
        ReferenceSolverError: a thickness below a quarter of the dominant wavelength.
    """
    wavelength = speed / frequency
    if cells is None:
        cells = max(FEWEST_CELLS, int(np.ceil(wavelengths * wavelength / h)))
    if cells * h < THINNEST * wavelength:
        needed = int(np.ceil(THINNEST * wavelength / h))
        raise ReferenceSolverError(
            f"a PML of {cells} cells is {cells * h:.3g} thick, thinner than a quarter of the wavelength {wavelength:.3g}; "
            f"use {needed} cells or more ({FEWEST_CELLS} at least are advised)"
        )
    return LayerDesign(cells, frequency)


class AbsorbingLayer:
    """The memory of one layer: what `apply` adds to the second difference along its axis.

    Args:
        line: operator of the axis.
        design: thickness and strength.
        face: number of the axis, and -1 before or +1 behind.
        speed: largest speed.
        dt: time step.
        shape: of the grid.
        n_levels: fields that are differenced per time step, each with memory of its own.
        dtype: of the fields.
    """

    def __init__(
        self,
        line: LineOperator,
        design: LayerDesign,
        *,
        face: tuple[int, int],
        speed: float,
        dt: float,
        shape: tuple[int, ...],
        n_levels: int,
        dtype: type = float,
    ) -> None:
        if line.n_nodes < design.cells + 2 * line.reach + 1:
            raise ReferenceSolverError(f"a layer of {design.cells} cells does not fit an axis of {line.n_nodes} nodes; refine or enlarge the grid")
        axis, self._side = face
        self._axis, self._line, self._cells = axis, line, design.cells
        # Node 0 is the outermost, on either side: the views below are mirrored behind.
        depth = (design.cells - np.arange(design.cells)) / design.cells
        column = (-1, *(1 for _ in shape[1:]))
        strongest = -(_POWER + 1) * speed * np.log(design.reflection) / (2 * design.cells * line.h)
        sigma = (strongest * depth**_POWER).reshape(column)
        decay = sigma + (np.pi * design.frequency * (1 - depth)).reshape(column)
        # Trapezoidal rule for y' = -decay y - sigma x: y_n = pole y_(n-1) + gain (x_n + x_(n-1)).
        self._pole = (1 - decay * dt / 2) / (1 + decay * dt / 2)
        self._gain = -(sigma * dt / 2) / (1 + decay * dt / 2)
        rest = shape[:axis] + shape[axis + 1 :]
        self._psi: Array = np.zeros((n_levels, design.cells, *rest), dtype=dtype)
        self._zeta: Array = np.zeros_like(self._psi)
        self._slope = np.array(first_difference(line.order)) / line.h

    @property
    def n_values(self) -> int:
        """Numbers held in memory."""
        return int(self._psi.size + self._zeta.size)

    def reset(self) -> None:
        """Forget the past."""
        self._psi[...] = 0
        self._zeta[...] = 0

    def apply(self, u: Array, out: Array, level: int) -> None:
        """Add what the layer changes to `out`, and step its memory of this level once in time."""
        moved, target = self._mirrored(u), self._mirrored(out)
        cells, reach = self._cells, self._line.reach
        first, second = np.zeros((2, cells, *moved.shape[1:]), dtype=u.dtype)
        self._differences(moved, first, second)
        psi = self._filter(self._psi[level], first)
        # Antisymmetric differences of psi, which vanishes outside the layer, reach a little into the grid.
        bend = np.zeros((cells + reach, *moved.shape[1:]), dtype=u.dtype)
        for distance in range(1, reach + 1):
            scaled = self._slope[distance] * psi
            bend[distance : distance + cells] -= scaled
            bend[: cells - distance] += scaled[distance:]
        second += bend[:cells]
        target[: cells + reach] += bend
        target[:cells] += self._filter(self._zeta[level], second)

    def _mirrored(self, u: Array) -> Array:
        moved = np.moveaxis(u, self._axis, 0)
        return moved if self._side < 0 else moved[::-1]

    def _differences(self, moved: Array, first: Array, second: Array) -> None:
        """First (pointing inwards) and second differences on the nodes of the layer."""
        cells, weights = self._cells, self._line.stencil
        second += weights[0] * moved[:cells]
        for distance in range(1, self._line.reach + 1):
            ahead, behind = moved[distance : distance + cells], moved[: cells - distance]
            first += self._slope[distance] * ahead
            first[distance:] -= self._slope[distance] * behind
            second += weights[distance] * ahead
            second[distance:] += weights[distance] * behind

    def _filter(self, state: Array, signal: Array) -> Array:
        """The filtered signal; `state` keeps gain x_(n-1) + pole y_(n-1) in one array."""
        pushed = self._gain * signal
        filtered: Array = pushed + state
        np.multiply(self._pole, filtered, out=state)
        state += pushed
        return filtered
