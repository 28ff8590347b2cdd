"""Field of a Gaussian source in a uniform medium, as needed by source splitting.

Lap w + k^2 w = amplitude * Gaussian, convention exp(+i w t), outgoing; for a real field the standing solution. Outside the source the far form is
exact up to the tail of the Gaussian; inside, variation of parameters by Gauss quadrature.
"""

from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy import special

from pinnsiren.errors import CompileError
from pinnsiren.ir import MultiIndex

CORE_DEVIATIONS = 8.0  # beyond, the neglected tail of the Gaussian is below 1e-14
N_NODES = 64  # Gauss nodes for the radial integrals over the core


def incident_expression(wavenumber: float, deviation: float, amplitude: complex, offsets: tuple[Any, ...], real: bool) -> Any:
    """Return the far form as an expression of (complex) offsets from the source, valid outside the Gaussian."""
    # The shift keeps Hankel functions finite at the source, where they are multiplied by an exact zero.
    radius = sp.sqrt(sp.Add(*[offset**2 for offset in offsets]) + sp.Float("1e-60"))
    k = sp.Float(wavenumber)
    factor = sp.Float(float(np.exp(-0.5 * (wavenumber * deviation) ** 2))) * sp.sympify(amplitude)
    if len(offsets) == 2:
        return factor * (sp.bessely(0, k * radius) / 4 if real else sp.I / 4 * sp.hankel2(0, k * radius))
    if len(offsets) == 1:
        return factor * (sp.sin(k * radius) / (2 * k) if real else sp.I / (2 * k) * sp.exp(-sp.I * k * radius))
    return -factor / (4 * sp.pi * radius) * (sp.cos(k * radius) if real else sp.exp(-sp.I * k * radius))


class IncidentField:
    """Values and derivatives up to order two of the field of one Gaussian source.

    Args:
        wavenumber: k of the surrounding medium.
        deviation: standard deviation of the source.
        amplitude: its integral.
        dimension: 1, 2 or 3.
        real: take the standing instead of the outgoing solution.
    """

    def __init__(self, wavenumber: float, deviation: float, amplitude: complex, dimension: int, real: bool) -> None:
        if dimension not in (1, 2, 3):
            raise CompileError(f"source splitting was asked for in {dimension} dimensions; it knows 1 to 3")
        self.k, self.s, self.amplitude, self.dimension, self.real = wavenumber, deviation, amplitude, dimension, real
        self._far = float(np.exp(-0.5 * (wavenumber * deviation) ** 2))

    def _regular(self, r: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Solution regular at the origin and its radial derivative."""
        z = self.k * r
        if self.dimension == 2:
            return special.j0(z), -self.k * special.j1(z)
        if self.dimension == 1:
            return np.cos(z), -self.k * np.sin(z)
        return special.spherical_jn(0, z), self.k * special.spherical_jn(0, z, derivative=True)

    def _outgoing(self, r: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Fundamental solution and its radial derivative."""
        z = self.k * r
        if self.dimension == 2:
            if self.real:
                return special.y0(z) / 4, -self.k * special.y1(z) / 4
            return 0.25j * special.hankel2(0, z), -0.25j * self.k * special.hankel2(1, z)
        if self.dimension == 1:
            if self.real:
                return np.sin(z) / (2 * self.k), np.cos(z) / 2
            return 0.5j / self.k * np.exp(-1j * z), 0.5 * np.exp(-1j * z)
        wave = np.cos(z) if self.real else np.exp(-1j * z)
        slope = -np.sin(z) if self.real else -1j * np.exp(-1j * z)
        return -wave / (4 * np.pi * r), -(self.k * slope / r - wave / r**2) / (4 * np.pi)

    def _density(self, r: NDArray[Any]) -> NDArray[Any]:
        return np.asarray((2 * np.pi * self.s**2) ** (-self.dimension / 2) * np.exp(-0.5 * (r / self.s) ** 2))

    def radial(self, r: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return w, w' and w'' at distances r, per unit amplitude."""
        r = np.maximum(np.asarray(r, dtype=float), 1e-9 * self.s)
        outgoing, outgoing_slope = self._outgoing(r)
        value, slope = self._far * outgoing, self._far * outgoing_slope
        edge = CORE_DEVIATIONS * self.s
        inner = r < edge
        if np.any(inner):
            value, slope = np.array(value), np.array(slope)
            value[inner], slope[inner] = self._core(r[inner], edge)
        second = self._density(r) - self.k**2 * value - (self.dimension - 1) * slope / r
        return value, slope, second

    def _core(self, r: NDArray[np.float64], edge: float) -> tuple[NDArray[Any], NDArray[Any]]:
        """Variation of parameters: w = G(r) int_0^r j f dV + j(r) int_r^edge G f dV, dV the measure of spheres."""
        nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
        below = 0.5 * r[:, None] * (nodes + 1)
        below_weights = 0.5 * r[:, None] * weights
        above = r[:, None] + 0.5 * (edge - r[:, None]) * (nodes + 1)
        above_weights = 0.5 * (edge - r[:, None]) * weights
        first = np.sum(below_weights * self._regular(below)[0] * self._density(below) * self._sphere(below), axis=1)
        second = np.sum(above_weights * self._outgoing(above)[0] * self._density(above) * self._sphere(above), axis=1)
        regular, regular_slope = self._regular(r)
        outgoing, outgoing_slope = self._outgoing(r)
        return outgoing * first + regular * second, outgoing_slope * first + regular_slope * second

    def _sphere(self, r: NDArray[Any]) -> NDArray[Any]:
        """Area of the sphere of radius r; 2 in one dimension, where both sides count."""
        return np.asarray((2.0 + 0 * r, 2 * np.pi * r, 4 * np.pi * r**2)[self.dimension - 1])

    def derivative(self, offsets: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a partial derivative at offsets (n, dimension) from the source, total order at most two."""
        r = np.maximum(np.linalg.norm(offsets, axis=1), 1e-9 * self.s)
        value, slope, second = self.radial(r)
        axes = [axis for axis, count in enumerate(orders) for _ in range(count)]
        if not axes:
            return np.asarray(self.amplitude * value)
        unit = offsets / r[:, None]
        if len(axes) == 1:
            return np.asarray(self.amplitude * slope * unit[:, axes[0]])
        if len(axes) == 2:
            i, j = axes
            mixed = unit[:, i] * unit[:, j]
            return np.asarray(self.amplitude * (second * mixed + slope / r * ((i == j) - mixed)))
        raise CompileError(f"the incident field was asked for a derivative of order {len(axes)}; it knows orders up to two")
