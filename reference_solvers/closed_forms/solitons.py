"""Closed forms of nonlinear waves on a line that keep their shape.

* sine-Gordon, `u_tt - u_xx + sin u = 0`: kink `4 arctan exp(g (x - x0 - v t))`, g = 1/sqrt(1 - v^2), and breather
  `4 arctan( sqrt(1 - w^2)/w * cos(w t)/cosh(sqrt(1 - w^2) (x - x0)) )`;
* Korteweg-de Vries, `u_t + 6 u u_x + u_xxx = 0`: `c/2 sech^2(sqrt(c)/2 (x - x0 - c t))`;
* cubic Schroedinger, `i u_t + u_xx/2 + |u|^2 u = 0`: `a sech(a (x - x0 - v t)) exp(i (v x + (a^2 - v^2) t/2))`.

Reference: Drazin and Johnson (1989), Solitons: an Introduction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

Array = NDArray[Any]


def _sech(z: Array) -> Array:
    """1/cosh without overflow."""
    decayed = np.exp(-np.abs(z))
    return np.asarray(2 * decayed / (1 + decayed**2))


@dataclass(frozen=True)
class SineGordonKink:
    """A kink of the sine-Gordon equation from 0 to 2 pi, callable as `kink(x, t)`."""

    speed: float
    at: float

    def __call__(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Values, broadcast."""
        z = self._steepness * (np.asarray(x, dtype=float) - self.at - self.speed * np.asarray(t, dtype=float))
        # exp overflows far ahead, where the arc tangent is pi/2 all the same.
        return np.asarray(4 * np.arctan(np.exp(np.minimum(z, 700.0))))

    def time_derivative(self, x: ArrayLike, t: ArrayLike) -> Array:
        """u_t, for initial data."""
        z = self._steepness * (np.asarray(x, dtype=float) - self.at - self.speed * np.asarray(t, dtype=float))
        return np.asarray(-2 * self._steepness * self.speed * _sech(z))

    @property
    def _steepness(self) -> float:
        return float(1 / np.sqrt(1 - self.speed**2))


def sine_gordon_kink(speed: float = 0.0, at: float = 0.0) -> SineGordonKink:
    """Kink of `u_tt - u_xx + sin u = 0` that travels at the given speed, centred at `at` for t = 0.

    Raises:
        ReferenceSolverError: a speed of 1, that of light, or more.

    Example:
        >>> round(float(sine_gordon_kink(0.5)(0.0, 0.0)), 6)
        3.141593
    """
    if not abs(speed) < 1:
        raise ReferenceSolverError(f"a kink was given the speed {speed}; expected less than 1, the speed of linear waves")
    return SineGordonKink(float(speed), float(at))


@dataclass(frozen=True)
class SineGordonBreather:
    """A standing breather of the sine-Gordon equation, callable as `breather(x, t)`."""

    frequency: float
    at: float

    def __call__(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Values, broadcast."""
        decay = np.sqrt(1 - self.frequency**2)
        shape = _sech(decay * (np.asarray(x, dtype=float) - self.at))
        return np.asarray(4 * np.arctan(decay / self.frequency * np.cos(self.frequency * np.asarray(t, dtype=float)) * shape))


def sine_gordon_breather(frequency: float, at: float = 0.0) -> SineGordonBreather:
    """Breather of `u_tt - u_xx + sin u = 0` at rest, with u_t = 0 at t = 0.

    Raises:
        ReferenceSolverError: a frequency outside (0, 1).

    Example:
        >>> round(float(sine_gordon_breather(0.6)(0.0, 0.0)), 6)
        3.709181
    """
    if not 0 < frequency < 1:
        raise ReferenceSolverError(f"a breather was given the frequency {frequency}; expected a number between 0 and 1")
    return SineGordonBreather(float(frequency), float(at))


@dataclass(frozen=True)
class KdVSoliton:
    """A soliton of the Korteweg-de Vries equation, callable as `soliton(x, t)`."""

    speed: float
    at: float

    def __call__(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Values, broadcast."""
        z = np.sqrt(self.speed) / 2 * (np.asarray(x, dtype=float) - self.at - self.speed * np.asarray(t, dtype=float))
        return np.asarray(self.speed / 2 * _sech(z) ** 2)


def kdv_soliton(speed: float, at: float = 0.0) -> KdVSoliton:
    """Soliton of `u_t + 6 u u_x + u_xxx = 0` of height speed/2.

    Raises:
        ReferenceSolverError: a speed that is not positive.

    Example:
        >>> float(kdv_soliton(4.0)(0.0, 0.0))
        2.0
    """
    if not speed > 0:
        raise ReferenceSolverError(f"a soliton was given the speed {speed}; expected a positive number")
    return KdVSoliton(float(speed), float(at))


@dataclass(frozen=True)
class SchroedingerSoliton:
    """A bright soliton of the cubic Schroedinger equation, callable as `soliton(x, t)`; complex."""

    height: float
    speed: float
    at: float

    def __call__(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Values, broadcast."""
        x, t = np.asarray(x, dtype=float), np.asarray(t, dtype=float)
        phase = self.speed * x + (self.height**2 - self.speed**2) * t / 2
        return np.asarray(self.height * _sech(self.height * (x - self.at - self.speed * t)) * np.exp(1j * phase))


def schroedinger_soliton(height: float, speed: float = 0.0, at: float = 0.0) -> SchroedingerSoliton:
    """Bright soliton of `i u_t + u_xx/2 + |u|^2 u = 0`.

    Raises:
        ReferenceSolverError: a height that is not positive.

    Example:
        >>> complex(schroedinger_soliton(2.0)(0.0, 0.0))
        (2+0j)
    """
    if not height > 0:
        raise ReferenceSolverError(f"a soliton was given the height {height}; expected a positive number")
    return SchroedingerSoliton(float(height), float(speed), float(at))
