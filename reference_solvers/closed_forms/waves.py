"""Closed forms of the wave equation `u_tt = c^2 Lap u`: a Gaussian pulse in free space, in one, two or three dimensions.

Initial data `u = amplitude exp(-r^2/(2 variance))`, `u_t = 0`:

    1-D  u = (g(x - ct) + g(x + ct))/2
    2-D  u = amplitude * variance * int_0^inf q exp(-variance q^2/2) cos(c q t) J0(q r) dq
    3-D  u = ((r - ct) g(r - ct) + (r + ct) g(r + ct))/(2 r)

Reference: Evans (1998), Partial Differential Equations, section 2.4; the 2-D form is the Hankel transform of the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from pinnsiren.errors import ReferenceSolverError

RealArray = NDArray[Any]
# exp(-q^2 s^2/2) < 1e-16 of its maximum.
_SPECTRUM_IN_STD = 8.8


@dataclass(frozen=True)
class GaussianPulse:
    """Free-space wave of a Gaussian pulse at rest, callable as `pulse(x, ..., t)`: space first, time last."""

    at: tuple[float, ...]
    variance: float
    amplitude: float
    speed: float

    def __call__(self, *coordinates: ArrayLike) -> RealArray:
        """Field at points and times, broadcast."""
        *space, time = np.broadcast_arrays(*[np.asarray(c, dtype=float) for c in coordinates])
        if len(space) != len(self.at):
            raise ReferenceSolverError(f"the pulse lives in {len(self.at)} dimensions; pass as many coordinates, then the time")
        r = np.sqrt(sum((x - centre) ** 2 for x, centre in zip(space, self.at, strict=True)))
        travelled = self.speed * np.abs(time)
        profile = {1: self._line, 2: self._plane, 3: self._space}[len(space)]
        return self.amplitude * profile(np.asarray(r), travelled)

    def _gaussian(self, s: RealArray) -> RealArray:
        return np.asarray(np.exp(-(s**2) / (2 * self.variance)))

    def _line(self, r: RealArray, travelled: RealArray) -> RealArray:
        return 0.5 * (self._gaussian(r - travelled) + self._gaussian(r + travelled))

    def _space(self, r: RealArray, travelled: RealArray) -> RealArray:
        # (s g(s)) averaged over [ct - r, ct + r] is a quotient of differences; at the centre it is the derivative.
        small = r < 1e-5 * np.sqrt(self.variance)
        safe = np.where(small, 1.0, r)
        back, ahead = travelled - r, travelled + r
        quotient = (ahead * self._gaussian(ahead) - back * self._gaussian(back)) / (2 * safe)
        return np.where(small, (1 - travelled**2 / self.variance) * self._gaussian(travelled), quotient)

    def _plane(self, r: RealArray, travelled: RealArray) -> RealArray:
        result = np.empty(r.shape)
        for distance in np.unique(travelled):
            chosen = travelled == distance
            result[chosen] = self._plane_at(r[chosen], float(distance))
        return result

    def _plane_at(self, r: RealArray, travelled: float) -> RealArray:
        """Gauss-Legendre in the wavenumber; the phases q ct and q r are resolved by the number of nodes."""
        largest = _SPECTRUM_IN_STD / np.sqrt(self.variance)
        reach = travelled + float(np.max(r, initial=0.0))
        nodes, weights = _rule(1 + int(np.ceil(0.6 * largest * reach)) // 64)
        q = 0.5 * largest * (nodes + 1)
        spectrum = 0.5 * largest * weights * self.variance * q * np.exp(-self.variance * q**2 / 2) * np.cos(q * travelled)
        unique, back = np.unique(r, return_inverse=True)
        values = np.empty(unique.shape)
        for start in range(0, len(unique), 2048):
            part = unique[start : start + 2048]
            values[start : start + 2048] = special.j0(np.outer(part, q)) @ spectrum
        return np.asarray(values[back.reshape(r.shape)])


@lru_cache(maxsize=64)
def _rule(n_blocks: int) -> tuple[RealArray, RealArray]:
    """Nodes and weights on [-1, 1], in blocks of 64: scattered points have an instant each, and the rule costs more than its use."""
    nodes, weights = np.polynomial.legendre.leggauss(64 * (n_blocks + 1))
    return nodes, weights


def gaussian_pulse(at: Sequence[float], variance: float, amplitude: float = 1.0, speed: float = 1.0) -> GaussianPulse:
    """Wave in free space that starts at rest as `amplitude exp(-|x - at|^2/(2 variance))`.

    Raises:
        ReferenceSolverError: a variance or speed that is not positive, or more than three dimensions.

    Example:
        >>> pulse = gaussian_pulse((0.0, 0.0), variance=5e-4, amplitude=0.02)
        >>> round(float(pulse(0.0, 0.0, 0.1)), 6)
        -0.001215
    """
    if not (variance > 0 and speed > 0 and len(at) in (1, 2, 3)):
        raise ReferenceSolverError(f"a pulse needs variance > 0, speed > 0, 1 to 3 dimensions; got {variance}, {speed}, {len(at)}")
    return GaussianPulse(tuple(float(c) for c in at), float(variance), float(amplitude), float(speed))
