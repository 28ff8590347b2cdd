"""Closed forms of waves from sources in time, of images at a plane wall, and of two half-spaces on a line.

Point source, `c^-2 u_tt - Lap u = w(t) delta(x - x_s)`, at rest before t = 0:

    1-D  u = (c/2) int_0^(t - r/c) w(s) ds
    2-D  u = (1/2 pi) int_0^arcosh(ct/r) w(t - (r/c) cosh q) dq
    3-D  u = w(t - r/c)/(4 pi r)

Two half-spaces, `alpha u_tt = (a u_x)_x` with constants on either side of an interface where u and a u_x are continuous; with the impedances
Z = sqrt(a alpha) a wave that comes from medium 1 is reflected by R = (Z1 - Z2)/(Z1 + Z2) and transmitted by T = 1 + R. A free surface (u = 0)
is Z2 = infinity, R = -1; a Neumann wall Z2 = 0, R = 1.

Reference: Morse and Feshbach (1953), Methods of Theoretical Physics, section 7.3; Evans (1998), section 2.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

RealArray = NDArray[Any]
Course = Callable[[RealArray], RealArray]

# Gauss-Legendre nodes of the integrals over the wavelet: 1e-12 for a record of 20 periods.
_NODES = 400
_CHUNK = 4096


@dataclass(frozen=True)
class PlaneWall:
    """A wall x_axis = position: `sign` -1 for u = 0 (free surface), +1 for du/dn = 0."""

    axis: int
    position: float
    sign: int


@dataclass(frozen=True)
class PointSourceWave:
    """The wave of one point source, callable as `wave(x, ..., t)`."""

    at: tuple[float, ...]
    wavelet: Course
    speed: float
    wall: PlaneWall | None

    def __call__(self, *coordinates: ArrayLike) -> RealArray:
        """Field at points and times, broadcast; it is infinite at the source in 2-D and 3-D."""
        *space, time = np.broadcast_arrays(*[np.asarray(c, dtype=float) for c in coordinates])
        if len(space) != len(self.at):
            raise ReferenceSolverError(f"the source lives in {len(self.at)} dimensions; pass as many coordinates, then the time")
        total = self._from(self.at, space, time)
        if self.wall is not None:
            image = list(self.at)
            image[self.wall.axis] = 2 * self.wall.position - image[self.wall.axis]
            total = total + self.wall.sign * self._from(tuple(image), space, time)
        return total

    def _from(self, at: tuple[float, ...], space: list[RealArray], time: RealArray) -> RealArray:
        delay = np.sqrt(sum((x - centre) ** 2 for x, centre in zip(space, at, strict=True))) / self.speed
        retarded = np.asarray(time - delay)
        if len(at) == 3:
            with np.errstate(divide="ignore"):
                return np.where(retarded > 0, self.wavelet(retarded), 0.0) / (4 * np.pi * self.speed * delay)
        integrate = self._line if len(at) == 1 else self._plane
        flat, late = delay.ravel(), retarded.ravel()
        parts = [integrate(flat[i : i + _CHUNK], late[i : i + _CHUNK]) for i in range(0, max(len(flat), 1), _CHUNK)]
        return np.concatenate(parts).reshape(delay.shape)

    def _line(self, delay: RealArray, retarded: RealArray) -> RealArray:
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        length = np.maximum(retarded, 0.0)
        return np.asarray(0.25 * self.speed * length * (self.wavelet(0.5 * length[:, None] * (nodes + 1)) @ weights))

    def _plane(self, delay: RealArray, retarded: RealArray) -> RealArray:
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        late = retarded > 0
        with np.errstate(divide="ignore"):
            longest = np.arccosh(np.where(late, 1 + retarded / np.where(delay > 0, delay, 1e-300), 1.0))
        q = 0.5 * longest[:, None] * (nodes + 1)
        # t - (r/c) cosh q, written so that nothing cancels at the front.
        instants = retarded[:, None] - 2 * delay[:, None] * np.sinh(q / 2) ** 2
        return np.where(late, 0.5 * longest * (self.wavelet(instants) @ weights), 0.0) / (2 * np.pi)


def point_source_wave(at: Sequence[float], wavelet: Course, speed: float = 1.0, wall: PlaneWall | None = None) -> PointSourceWave:
    """Wave of a point source `wavelet(t) delta(x - at)` in a uniform medium, in front of a plane wall if one is given.

    Args:
        at: position, one to three numbers.
        wavelet: function of an array of times; what it says before t = 0 is not used.
        speed: c.
        wall: adds the image of the source.

    Raises:
        ReferenceSolverError: a speed that is not positive, or another number of dimensions.

    Example:
        >>> wave = point_source_wave((0.0, 0.0, 0.0), lambda t: np.sin(t), speed=2.0)
        >>> round(float(wave(1.0, 0.0, 0.0, 1.0)) * 4 * np.pi, 6), round(float(np.sin(0.5)), 6)
        (0.479426, 0.479426)
    """
    if not speed > 0 or len(at) not in (1, 2, 3):
        raise ReferenceSolverError(f"a point source needs speed > 0 and 1 to 3 coordinates; got {speed} and {len(at)}")
    return PointSourceWave(tuple(float(c) for c in at), wavelet, float(speed), wall)


@dataclass(frozen=True)
class HalfSpacePulse:
    """A pulse at rest beside an interface, on a line: d'Alembert's solution with reflection and transmission; callable as `pulse(x, t)`."""

    profile: Course
    speeds: tuple[float, float]
    impedances: tuple[float, float]
    interface: float

    @property
    def reflection(self) -> float:
        """R of a wave from the left; -R from the right."""
        left, right = self.impedances
        return (left - right) / (left + right) if np.isfinite(right) else -1.0

    def __call__(self, x: ArrayLike, t: ArrayLike) -> RealArray:
        """Field at points and times, broadcast."""
        position, time = np.broadcast_arrays(np.asarray(x, dtype=float) - self.interface, np.asarray(t, dtype=float))
        (c1, c2), r = self.speeds, self.reflection
        on_left = self._part(-1, position - c1 * time) + self._part(-1, position + c1 * time) + r * self._part(-1, -c1 * time - position)
        on_left = on_left + (1 - r) * self._part(1, c2 * (time + position / c1))
        on_right = self._part(1, position - c2 * time) + self._part(1, position + c2 * time) - r * self._part(1, c2 * time - position)
        on_right = on_right + (1 + r) * self._part(-1, -c1 * (time - position / c2))
        return np.where(position < 0, on_left, on_right)

    def _part(self, side: int, s: RealArray) -> RealArray:
        """Half of the initial value on one side of the interface, zero on the other."""
        return np.where(side * s > 0, 0.5 * self.profile(s + self.interface), 0.0)


def half_space_pulse(
    profile: Course, speeds: tuple[float, float], interface: float = 0.0, impedances: tuple[float, float] | None = None
) -> HalfSpacePulse:
    """Wave on a line of two media that starts at rest as `profile(x)`, which should vanish at the interface.

    Args:
        profile: initial value, a function of an array of positions.
        speeds: left and right of the interface.
        interface: its position.
        impedances: Z = sqrt(a alpha) left and right; 1/c each when not given, which is `u_tt = c(x)^2 u_xx`.

    Raises:
        ReferenceSolverError: speeds or impedances that are not positive.

    Example:
        >>> round(half_space_pulse(lambda x: np.exp(-((x + 1) ** 2)), (1.0, 3.0)).reflection, 12)
        0.5
    """
    if not min(speeds) > 0 or (impedances is not None and not (impedances[0] > 0 and impedances[1] >= 0)):
        raise ReferenceSolverError(f"two half-spaces need positive speeds and impedances; got {speeds} and {impedances}")
    chosen = (1 / speeds[0], 1 / speeds[1]) if impedances is None else impedances
    return HalfSpacePulse(profile, (float(speeds[0]), float(speeds[1])), (float(chosen[0]), float(chosen[1])), float(interface))
