"""Closed form: the field of one Gaussian or point source in a uniform medium, in one, two or three dimensions.

The equation is `Lap u + k^2 u = f` with `f = amplitude * N(x; centre, variance)`, the normal density (unit integral), in free space, for the
convention exp(+i w t): waves leave the source as exp(-i k r). The field is exact inside the blob too:

* 1-D: `u = (i/4k) F [exp(-ikr) erfc((i k s^2 - r)/(s sqrt 2)) + exp(ikr) erfc((i k s^2 + r)/(s sqrt 2))]`, F = exp(-k^2 s^2/2);
* 3-D: `u = -(1/(2 pi r)) du_1D/dr`, because `r f_3D = -(1/2 pi) df_1D/dr`;
* 2-D: variation of parameters,
  `u = (i pi/2) [H0(kr) int_0^r J0(kr') f r' dr' + J0(kr) int_r^inf H0(kr') f r' dr']`, tabulated on Chebyshev panels.

Reference: Abramowitz and Stegun (1964), 7.1 and 9.1; Graf's theorem for the angular mean of H0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from pinnsiren.errors import ReferenceSolverError

ComplexArray = NDArray[Any]

# exp(-9.5^2/2) = 3e-20: beyond, the blob is a point source times F.
BLOB_RADIUS_IN_STD = 9.5
_PANEL_NODES = 24
# int_0^eps r log r dr ~ eps^2 log eps: 27 halvings push the logarithm of H0 below rounding.
_HALVINGS = 27


def propagating_wavenumber(k_squared: complex) -> complex:
    """The root k of `k_squared` for which exp(-ikr) propagates outwards or decays (Re k >= 0, Im k <= 0 for passive media)."""
    root = complex(np.sqrt(complex(k_squared)))
    if root.imag > 0:
        root = -root
    return root.real if root.imag == 0 else root


@dataclass(frozen=True)
class PointSourceField:
    """The field of one Gaussian source in free space, callable at points.

    Attributes:
        k: wavenumber, real, or complex with Im k <= 0 (absorbing medium).
        at: centre of the source, one number per dimension.
        variance: s^2 of the Gaussian; 0 is a point source.
        amplitude: integral of the source.
    """

    k: complex
    at: tuple[float, ...]
    variance: float
    amplitude: complex

    @property
    def dimension(self) -> int:
        """Number of space dimensions."""
        return len(self.at)

    @property
    def blob_radius(self) -> float:
        """Beyond this distance the source is a point for fp64."""
        return BLOB_RADIUS_IN_STD * float(np.sqrt(self.variance))

    @property
    def gaussian_factor(self) -> complex:
        """F = exp(-k^2 s^2/2): what the blob radiates, relative to a point source."""
        return complex(np.exp(-(self.k**2) * self.variance / 2))

    def __call__(self, *coordinates: ArrayLike) -> ComplexArray:
        """Field at points; coordinates may be complex (stretched) outside the blob.

        Args:
            coordinates: one array per dimension, broadcast against each other.

        Returns:
            Complex array of the broadcast shape.
        """
        return self._profile(self._distance(coordinates)[0], derivative=False)

    def gradient(self, *coordinates: ArrayLike) -> tuple[ComplexArray, ...]:
        """The first derivatives of the field at points, one array per dimension."""
        distance, offsets = self._distance(coordinates)
        slope = self._profile(distance, derivative=True)
        safe = np.where(distance == 0, 1, distance)
        return tuple(slope * (offset / safe) for offset in offsets)

    def _distance(self, coordinates: Sequence[ArrayLike]) -> tuple[NDArray[Any], list[NDArray[Any]]]:
        if len(coordinates) != self.dimension:
            raise ReferenceSolverError(
                f"the point source lives in {self.dimension} dimensions, got {len(coordinates)} coordinates"
            )
        offsets = [np.asarray(x) - centre for x, centre in zip(coordinates, self.at, strict=True)]
        offsets = list(np.broadcast_arrays(*offsets))
        squared = sum(offset**2 for offset in offsets)
        return np.sqrt(squared), offsets

    def _profile(self, distance: NDArray[Any], *, derivative: bool) -> ComplexArray:
        radial = _FAR[self.dimension]
        flat = np.asarray(distance).ravel()
        # Stretched (complex) points lie outside the blob: there the point-source form holds.
        inside = (np.abs(flat) < self.blob_radius) & (np.imag(flat) == 0)
        result = np.empty(flat.shape, dtype=np.complex128)
        far = flat[~inside]
        if far.size:
            with np.errstate(divide="ignore", invalid="ignore"):
                result[~inside] = self.gaussian_factor * radial(self.k, far, derivative)
        if inside.any():
            near = np.real(flat[inside])
            result[inside] = _NEAR[self.dimension](complex(self.k), float(self.variance), near, derivative)
        return self.amplitude * result.reshape(np.shape(distance))


def point_source(
    k: complex,
    at: Sequence[float] | Mapping[object, float],
    variance: float = 0.0,
    amplitude: complex = 1.0,
) -> PointSourceField:
    """Field of a Gaussian or point source in a uniform medium, `Lap u + k^2 u = amplitude * N(x; at, variance)`.

    Args:
        k: wavenumber, not zero; Im k <= 0.
        at: centre, one number per dimension (1, 2 or 3), or `{symbol: number}` in the order of the coordinates.
        variance: of the Gaussian, 0 for a point.
        amplitude: integral of the source.

    Returns:
        A callable `field(x, y, ...)` giving complex values.

    Raises:
        ReferenceSolverError: zero or growing wavenumber, negative variance, wrong dimension.

    Example:
        >>> field = point_source(20.0, (0.0, 0.0), variance=1e-4, amplitude=1 + 1j)
        >>> complex(field(0.3, 0.1).round(6))
        (-0.109758+0.002398j)
    """
    centre = tuple(float(c) for c in (at.values() if isinstance(at, Mapping) else at))
    if len(centre) not in (1, 2, 3):
        raise ReferenceSolverError(f"a point source needs 1, 2 or 3 coordinates, got {len(centre)}")
    if k == 0 or complex(k).imag > 0:
        raise ReferenceSolverError(f"the wavenumber `{k}` must not vanish and must not amplify: Im k <= 0 for exp(+i w t)")
    if variance < 0:
        raise ReferenceSolverError(f"the variance of a Gaussian source is positive, got `{variance}`")
    number = complex(k)
    return PointSourceField(number.real if number.imag == 0 else number, centre, float(variance), complex(amplitude))


def _far_1d(k: complex, r: NDArray[Any], derivative: bool) -> ComplexArray:
    wave = np.exp(-1j * k * r)
    return 0.5 * wave if derivative else 0.5j / k * wave


def _far_2d(k: complex, r: NDArray[Any], derivative: bool) -> ComplexArray:
    return -0.25j * k * special.hankel2(1, k * r) if derivative else 0.25j * special.hankel2(0, k * r)


def _far_3d(k: complex, r: NDArray[Any], derivative: bool) -> ComplexArray:
    green = -np.exp(-1j * k * r) / (4 * np.pi * r)
    return green * (-1j * k - 1 / r) if derivative else green


def _near_1d(k: complex, variance: float, r: NDArray[Any], derivative: bool) -> ComplexArray:
    outgoing, incoming = _half_waves(k, variance, r)
    return 0.25 * (outgoing - incoming) if derivative else 0.25j / k * (outgoing + incoming)


def _half_waves(k: complex, variance: float, r: NDArray[Any]) -> tuple[ComplexArray, ComplexArray]:
    """F exp(-+ikr) erfc((i k s^2 -+ r)/(s sqrt 2)): by the scaled w(z) where erfc is small, so that nothing under- or overflows."""
    width = np.sqrt(2 * variance)
    gaussian = np.exp(-(r**2) / (2 * variance))
    # F exp(ikr) exp(-z^2) = exp(-r^2/2s^2) for z = (i k s^2 + r)/(s sqrt 2); erfc(z) = exp(-z^2) w(iz).
    incoming = gaussian * special.wofz(1j * (1j * k * variance + r) / width)
    factor = np.exp(-(k**2) * variance / 2)
    z = (1j * k * variance - r) / width
    outgoing = 2 * factor * np.exp(-1j * k * r) - gaussian * special.wofz(-1j * z)
    return outgoing, incoming


def _near_3d(k: complex, variance: float, r: NDArray[Any], derivative: bool) -> ComplexArray:
    std = np.sqrt(variance)
    small = r < 0.2 * min(std, 1 / abs(k))
    result = np.empty(r.shape, dtype=np.complex128)
    big = r[~small]
    value, slope = _near_1d(k, variance, big, False), _near_1d(k, variance, big, True)
    density = np.exp(-(big**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    curvature = density - k**2 * value
    result[~small] = (slope / big**2 - curvature / big if derivative else -slope / big) / (2 * np.pi)
    result[small] = _near_3d_series(k, variance, r[small], derivative)
    return result


def _near_3d_series(k: complex, variance: float, r: NDArray[Any], derivative: bool) -> ComplexArray:
    """Taylor series of -u_1D'(r)/(2 pi r), whose even derivatives follow from u'' = N - k^2 u."""
    even = complex(_near_1d(k, variance, np.zeros(1), False)[0])
    density = 1 / np.sqrt(2 * np.pi * variance)
    total = np.zeros(r.shape, dtype=np.complex128)
    factorial = 1.0
    for m in range(1, 10):
        even = density - k**2 * even
        density *= -(2 * m - 1) / variance
        power = 2 * m - 2
        term = even / factorial
        if not derivative:
            total += term * r**power
        elif power:
            total += term * power * r ** (power - 1)
        factorial *= (2 * m) * (2 * m + 1)
    return -total / (2 * np.pi)


def _near_2d(k: complex, variance: float, r: NDArray[Any], derivative: bool) -> ComplexArray:
    edges, values, slopes = _radial_table(k, variance)
    coefficients = slopes if derivative else values
    panel = np.clip(np.searchsorted(edges, r, side="right") - 1, 0, len(edges) - 2)
    low, high = edges[panel], edges[panel + 1]
    s = (2 * r - low - high) / (high - low)
    # Clenshaw's recurrence, panel by panel gathered per point.
    b1 = np.zeros(r.shape, dtype=np.complex128)
    b2 = np.zeros_like(b1)
    for j in range(coefficients.shape[1] - 1, 0, -1):
        b1, b2 = coefficients[panel, j] + 2 * s * b1 - b2, b1
    return np.asarray(coefficients[panel, 0] + s * b1 - b2)


@lru_cache(maxsize=32)
def _radial_table(k: complex, variance: float) -> tuple[NDArray[Any], ComplexArray, ComplexArray]:
    """Panel edges and Chebyshev coefficients of u(r) and u'(r), each (n_panels, n_nodes), for r < blob radius."""
    std = np.sqrt(variance)
    radius = BLOB_RADIUS_IN_STD * std
    count = int(np.ceil(radius / min(std, 2 / abs(k))))
    uniform = np.linspace(0, radius, count + 1)
    edges = np.concatenate([[0.0], uniform[1] * 0.5 ** np.arange(_HALVINGS, 0, -1), uniform[1:]])
    nodes = np.polynomial.chebyshev.chebpts1(_PANEL_NODES)
    to_coefficients = np.linalg.inv(np.polynomial.chebyshev.chebvander(nodes, _PANEL_NODES - 1))
    half = np.diff(edges)[:, None] / 2
    r = edges[:-1, None] + half * (nodes + 1)
    weight = r * np.exp(-(r**2) / (2 * variance)) / (2 * np.pi * variance)
    regular, outgoing = special.jv(0, k * r), special.hankel2(0, k * r)
    inner = _cumulative(regular * weight, half, to_coefficients, nodes)
    outer_from_zero = _cumulative(outgoing * weight, half, to_coefficients, nodes)
    outer = outer_from_zero[1] - outer_from_zero[0]
    factor = 0.5j * np.pi
    value = factor * (outgoing * inner[0] + regular * outer)
    slope = -factor * k * (special.hankel2(1, k * r) * inner[0] + special.jv(1, k * r) * outer)
    return edges, value @ to_coefficients.T, slope @ to_coefficients.T


def _cumulative(
    integrand: ComplexArray, half: NDArray[Any], to_coefficients: NDArray[Any], nodes: NDArray[Any]
) -> tuple[ComplexArray, complex]:
    """Integral from 0 to every node, and over all panels."""
    chebyshev = np.polynomial.chebyshev
    primitive = chebyshev.chebint(integrand @ to_coefficients.T, lbnd=-1, axis=1)
    within = half * chebyshev.chebval(nodes, primitive.T).reshape(integrand.shape)
    panels = half[:, 0] * chebyshev.chebval(1.0, primitive.T)
    before = np.concatenate([[0.0], np.cumsum(panels)])
    return within + before[:-1, None], complex(before[-1])


_FAR = {1: _far_1d, 2: _far_2d, 3: _far_3d}
_NEAR = {1: _near_1d, 2: _near_2d, 3: _near_3d}
