"""Closed form: a Gaussian that diffuses, and drifts, in free space.

    u_t + v . grad u = D Lap u,     u(x, 0) = amplitude * N(x; at, variance)
    u(x, t) = amplitude * N(x; at + v t, variance + 2 D t)

with N the normal density (unit integral). Variance 0 is the heat kernel.

Reference: Evans (1998), Partial Differential Equations, section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

RealArray = NDArray[Any]


@dataclass(frozen=True)
class SpreadingGaussian:
    """The solution, callable as `solution(x, ..., t)`: space first, time last."""

    at: tuple[float, ...]
    diffusivity: float
    variance: float
    amplitude: float
    velocity: tuple[float, ...]

    def __call__(self, *coordinates: ArrayLike) -> RealArray:
        """Values at points and times, broadcast.

        Raises:
            ReferenceSolverError: another number of coordinates, or a time before the Gaussian was a point.
        """
        *space, time = np.broadcast_arrays(*[np.asarray(c, dtype=float) for c in coordinates])
        if len(space) != len(self.at):
            raise ReferenceSolverError(f"the Gaussian lives in {len(self.at)} dimensions; pass as many coordinates, then the time")
        spread = self.variance + 2 * self.diffusivity * time
        if spread.size and spread.min() <= 0:
            raise ReferenceSolverError(f"the Gaussian was asked at t = {time.min():g}, where it is no function; it is one from t > {self._birth():g}")
        squared = sum((x - centre - v * time) ** 2 for x, centre, v in zip(space, self.at, self.velocity, strict=True))
        return np.asarray(self.amplitude * np.exp(-squared / (2 * spread)) / (2 * np.pi * spread) ** (len(space) / 2))

    def _birth(self) -> float:
        return -self.variance / (2 * self.diffusivity)


def heat_kernel(
    at: Sequence[float], diffusivity: float = 1.0, variance: float = 0.0, amplitude: float = 1.0, velocity: Sequence[float] | None = None
) -> SpreadingGaussian:
    """Diffusion of a Gaussian, or of a point (variance 0), in free space of one to three dimensions.

    Args:
        at: centre at t = 0.
        diffusivity: D.
        variance: of the Gaussian at t = 0.
        amplitude: its integral, which is conserved.
        velocity: of the medium, at rest when None.

    Raises:
        ReferenceSolverError: a diffusivity that is not positive, a negative variance, or another number of velocities than coordinates.

    Example:
        >>> round(float(heat_kernel((0.0,))(0.0, 0.25)), 6)
        0.56419
    """
    drift = tuple(0.0 for _ in at) if velocity is None else tuple(float(v) for v in velocity)
    if not diffusivity > 0 or variance < 0 or len(at) not in (1, 2, 3) or len(drift) != len(at):
        raise ReferenceSolverError(
            f"a heat kernel needs diffusivity > 0, variance >= 0, 1 to 3 coordinates and as many velocities; got {diffusivity}, {variance}, "
            f"{tuple(at)}, {drift}"
        )
    return SpreadingGaussian(tuple(float(c) for c in at), float(diffusivity), float(variance), float(amplitude), drift)
