"""Closed forms of the eikonal equation `|grad T| = s = 1/v`: first arrivals from a point, in any dimension.

    homogeneous medium                      T = start + r / v
    speed v = v0 + g . x                    T = (1/|g|) arccosh(1 + |g|^2 r^2 / (2 v_s v)) = (2/|g|) arcsinh(|g| r / (2 sqrt(v_s v)))
    squared slowness s^2 = s0^2 + 2 g . d   T = S sig - |g|^2 sig^3 / 6,  sig^2 = 2 r^2 / (S + sqrt(S^2 - |g|^2 r^2)),  S = s0^2 + g . d

with d = x - x_s, r = |d|, v_s the speed at the source and s0 the slowness there. In the first two rays are straight lines and circles. In the third
they are parabolas, and where S < |g| r no ray arrives: the shadow behind the caustic.

Reference: Cerveny (2001), Seismic Ray Theory, section 3.7; Fomel, Luo & Zhao (2009), J. Comput. Phys. 228, section 4.
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
class ConstantGradientOfSpeed:
    """First arrivals where the speed is `speed + gradient . (x - at)`; callable as `T(x, y, ...)`.

    Attributes:
        at: the source.
        speed: at the source.
        gradient: of the speed; zeros for a homogeneous medium.
        start: T at the source.
    """

    at: tuple[float, ...]
    speed: float
    gradient: tuple[float, ...]
    start: float = 0.0

    def __call__(self, *coordinates: ArrayLike) -> RealArray:
        """Travel times at points, broadcast.

        Raises:
            ReferenceSolverError: points where the speed is not positive.
        """
        offsets = _offsets(coordinates, self.at)
        speed = self.speed + _dot(self.gradient, offsets)
        if np.any(speed <= 0):
            raise ReferenceSolverError(f"the speed is {np.min(speed):.4g} at one of the points; travel times need a positive one")
        chord = np.sqrt(_dot(offsets, offsets) / (self.speed * speed))
        bend = 0.5 * float(np.linalg.norm(self.gradient)) * chord
        # arcsinh(q)/q is even and smooth, 1 - q^2/6 + ... : the quotient loses nothing but 0/0.
        flat = bend < 1e-5
        quotient = np.where(flat, 1 - bend**2 / 6, np.arcsinh(bend) / np.where(flat, 1.0, bend))
        return np.asarray(self.start + chord * quotient)


@dataclass(frozen=True)
class ConstantGradientOfSquaredSlowness:
    """First arrivals where s^2 is `slowness^2 + 2 gradient . (x - at)`; callable as `T(x, y, ...)`, NaN in the shadow.

    Attributes:
        at: the source.
        slowness: at the source.
        gradient: half the gradient of s^2.
        start: T at the source.
    """

    at: tuple[float, ...]
    slowness: float
    gradient: tuple[float, ...]
    start: float = 0.0

    def __call__(self, *coordinates: ArrayLike) -> RealArray:
        """Travel times at points, broadcast; NaN where no ray arrives."""
        offsets = _offsets(coordinates, self.at)
        squared = _dot(offsets, offsets)
        bend = float(np.dot(self.gradient, self.gradient))
        mean = self.slowness**2 + _dot(self.gradient, offsets)
        discriminant = mean**2 - bend * squared
        lit = (discriminant >= 0) & (mean > 0)
        root = np.sqrt(np.where(lit, discriminant, 0.0))
        sigma = np.sqrt(2 * squared / np.where(lit, mean + root, 1.0))
        return np.asarray(np.where(lit, self.start + mean * sigma - bend * sigma**3 / 6, np.nan))


def homogeneous_travel_time(at: Sequence[float], speed: float, start: float = 0.0) -> ConstantGradientOfSpeed:
    """Travel times `start + |x - at| / speed`.

    Raises:
        ReferenceSolverError: a speed that is not positive.
    """
    return constant_gradient_speed(at, speed, (0.0,) * len(at), start)


def constant_gradient_speed(at: Sequence[float], speed: float, gradient: Sequence[float], start: float = 0.0) -> ConstantGradientOfSpeed:
    """Travel times where the speed grows linearly; `speed` is the one AT THE SOURCE.

    Raises:
        ReferenceSolverError: a speed at the source that is not positive, or a gradient of another dimension.

    Example:
        >>> time = constant_gradient_speed((0.0, 0.0), speed=2000.0, gradient=(0.0, 1.0))
        >>> round(float(time(300.0, 400.0)), 6)
        0.227725
    """
    _check(at, gradient, speed, "speed")
    return ConstantGradientOfSpeed(tuple(map(float, at)), float(speed), tuple(map(float, gradient)), float(start))


def constant_gradient_squared_slowness(
    at: Sequence[float], slowness: float, gradient: Sequence[float], start: float = 0.0
) -> ConstantGradientOfSquaredSlowness:
    """Travel times where the squared slowness is linear, `s^2 = slowness^2 + 2 gradient . (x - at)`.

    Raises:
        ReferenceSolverError: a slowness at the source that is not positive, or a gradient of another dimension.
    """
    _check(at, gradient, slowness, "slowness")
    return ConstantGradientOfSquaredSlowness(tuple(map(float, at)), float(slowness), tuple(map(float, gradient)), float(start))


def _check(at: Sequence[float], gradient: Sequence[float], number: float, what: str) -> None:
    if len(gradient) != len(at):
        raise ReferenceSolverError(f"the gradient has {len(gradient)} components, the source {len(at)} coordinates; expected as many")
    if not (np.isfinite(number) and number > 0):
        raise ReferenceSolverError(f"the {what} at the source is {number:g}; expected a positive number")


def _offsets(coordinates: Sequence[ArrayLike], at: tuple[float, ...]) -> list[RealArray]:
    if len(coordinates) != len(at):
        raise ReferenceSolverError(f"travel times from {at} were asked at {len(coordinates)} coordinates; expected {len(at)}")
    return [np.asarray(c, dtype=float) - centre for c, centre in zip(coordinates, at, strict=True)]


def _dot(left: Sequence[Any], right: Sequence[Any]) -> RealArray:
    return np.asarray(sum(a * b for a, b in zip(left, right, strict=True)))
