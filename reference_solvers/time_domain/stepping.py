"""Explicit time steps of `u_tt = c^2 Lap u + f` of even order, by the modified equation (Lax-Wendroff).

    u(t + dt) - 2 u(t) + u(t - dt) = 2 sum_{k=1..m} dt^(2k)/(2k)! v_k,    v_0 = u,  v_k = c^2 Lap v_(k-1) + d^(2k-2) f/dt^(2k-2)

m = 1 is the leapfrog scheme. The largest stable `dt sqrt(radius)` of each order is found from its amplification polynomial.

Reference: Dablain (1986), Geophysics 51, 54-66; Cohen (2002), Higher-Order Numerical Methods for Transient Wave Equations, section 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError

from .absorbing_layers import AbsorbingLayer
from .line_operators import LineOperator, add_corrections, apply_along, spectral_radius

Array = NDArray[Any]
# Adds to v_k what drives it (source, slopes at walls) and sets its given values: `drive(k, v_k)`.
Drive = Callable[[int, Array], None]

TIME_ORDERS = (2, 4, 6, 8)
# Values that all passes over a block of rows find in the cache: 3 arrays of 256 kB.
_BLOCK = 32_768


@lru_cache(maxsize=8)
def stability_limit(time_order: int, *, layers: bool = False) -> float:
    """Largest x = dt sqrt(radius) below which the amplification polynomial T = 1 + sum_k (-x^2)^k/(2k)! stays within [-1, 1].

    With absorbing layers T must also fall with x: where it rises again, the step answers to higher frequencies with slower oscillation, and the
    layer amplifies instead of damping.

    Example:
        >>> [round(stability_limit(order), 3) for order in (2, 4)]
        [2.0, 3.464]
        >>> [round(stability_limit(order, layers=True), 3) for order in (2, 4)]
        [2.0, 2.449]
    """
    if time_order not in TIME_ORDERS:
        raise ReferenceSolverError(f"time steps were asked for order {time_order}; known are {', '.join(map(str, TIME_ORDERS))}")
    amplification = np.polynomial.Polynomial([(-1.0) ** k / factorial(2 * k) for k in range(time_order // 2 + 1)])
    # In y = x^2; a double root inside only touches the bound.
    bounds = [y for y in _positive_roots(amplification**2 - 1) if abs(float(amplification(y * (1 + 1e-6)))) > 1]
    turns = _positive_roots(amplification.deriv()) if layers else []
    return float(np.sqrt(min(bounds + turns)))


def _positive_roots(polynomial: np.polynomial.Polynomial) -> list[float]:
    roots = [complex(root) for root in polynomial.roots()]
    return [root.real for root in roots if abs(root.imag) < 1e-6 * abs(root) and root.real > 1e-6]


def largest_time_step(speed: float, lines: Sequence[LineOperator], time_order: int, *, layers: bool) -> float:
    """The CFL limit: stability_limit / (c_max sqrt(sum_i radius_i / h_i^2)), a bound for any speed map."""
    radius = sum(spectral_radius(line.order, line.ends) / line.h**2 for line in lines)
    return stability_limit(time_order, layers=layers) / (speed * float(np.sqrt(radius)))


class WaveOperator:
    """`c^2 Lap` on a tensor grid with walls and layers.

    Args:
        squared_speed: c^2 on the nodes, layers included.
        lines: second difference per axis.
        layers: the absorbing layers.
    """

    def __init__(self, squared_speed: Array, lines: Sequence[LineOperator], layers: Sequence[AbsorbingLayer] = ()) -> None:
        self.shape = squared_speed.shape
        self.squared_speed, self.lines, self.layers = squared_speed, tuple(lines), tuple(layers)
        self._rows = max(1, _BLOCK // max(1, int(np.prod(self.shape[1:]))))

    @property
    def node_volumes(self) -> Array:
        """The volume that every node stands for, shaped as the grid."""
        volumes: Array = np.ones(())
        for line in self.lines:
            volumes = np.multiply.outer(volumes, line.weights)
        return volumes

    def reset(self) -> None:
        """Forget what the layers remember."""
        for layer in self.layers:
            layer.reset()

    def apply(self, u: Array, out: Array, level: int) -> None:
        """Write `c^2 Lap u` to `out`; the layers step their memory of this level once in time."""
        self._laplacian(u, out)
        for layer in self.layers:
            layer.apply(u, out, level)
        out *= self.squared_speed

    def apply_without_layers(self, u: Array, out: Array) -> None:
        """As `apply` for a field that vanishes in the layers."""
        self._laplacian(u, out)
        out *= self.squared_speed

    def energy(self, before: Array, after: Array, dt: float) -> float:
        """The energy that the leapfrog scheme conserves between walls, from two consecutive fields.

        1/2 |(u_after - u_before)/dt|^2 in the weight 1/c^2, plus 1/2 <u_after, -Lap u_before>.
        """
        rate = (after - before) / dt
        stretched = np.empty(self.shape)
        self._laplacian(before, stretched)
        return float(0.5 * np.sum(self.node_volumes * (rate**2 / self.squared_speed - after * stretched)))

    def _laplacian(self, u: Array, out: Array) -> None:
        scratch = np.empty((min(self._rows, self.shape[0]), *self.shape[1:]), dtype=u.dtype)
        for first in range(0, self.shape[0], self._rows):
            last = min(first + self._rows, self.shape[0])
            self._block(u, out[first:last], first, last, scratch[: last - first])
        add_corrections(self.lines[0], u, out)

    def _block(self, u: Array, out: Array, first: int, last: int, scratch: Array) -> None:
        """Rows first to last of the Laplacian, without the corrections at the ends of the first axis."""
        across, count = self.lines[0], last - first
        np.multiply(u[first:last], across.stencil[0], out=out)
        for distance in range(1, across.reach + 1):
            low = min(max(distance - first, 0), count)
            high = max(min(self.shape[0] - distance - first, count), 0)
            if low == 0 and high == count:
                np.add(u[first + distance : last + distance], u[first - distance : last - distance], out=scratch)
            else:
                scratch[...] = 0
                scratch[:high] += u[first + distance : first + distance + high]
                scratch[low:] += u[first + low - distance : last - distance]
            scratch *= across.stencil[distance]
            out += scratch
        for axis, line in enumerate(self.lines[1:], start=1):
            apply_along(line, u[first:last], out, axis, scratch)


class TimeStepper:
    """Two time levels of the field, stepped in place.

    Args:
        operator: `c^2 Lap`.
        dt: time step; the caller has checked it against `largest_time_step`.
        time_order: 2, 4, 6 or 8.
        dtype: float or complex.
    """

    def __init__(self, operator: WaveOperator, dt: float, time_order: int, dtype: type = float) -> None:
        self.operator, self.dt, self.n_levels = operator, dt, time_order // 2
        self.before: Array = np.zeros(operator.shape, dtype=dtype)
        self.now: Array = np.zeros_like(self.before)
        self._work: list[Array] = [np.empty_like(self.before) for _ in range(min(self.n_levels, 2))]
        self._scratch: Array = np.empty_like(self.before)

    def start(self, value: Array, rate: Array, drive: Drive, rate_drive: Drive) -> None:
        """Take the first step from initial value and rate, by the Taylor series of the solution.

        Args:
            value: u at the start, with its given values at walls.
            rate: u_t at the start; value and rate vanish in the layers.
            drive: as in `advance`, at the start.
            rate_drive: the same for the rate: one more time derivative of everything.
        """
        self.operator.reset()
        self.before[...], self.now[...] = value, value
        for k, v in enumerate(self._levels(value, drive, remember=True), start=1):
            self.now += self.dt ** (2 * k) / factorial(2 * k) * v
        self.now += self.dt * rate
        for k, v in enumerate(self._levels(rate, rate_drive, remember=False), start=1):
            if k < self.n_levels:
                self.now += self.dt ** (2 * k + 1) / factorial(2 * k + 1) * v

    def advance(self, drive: Drive) -> None:
        """Step once: `now` becomes `before`. The caller sets the given values of the new `now` at walls."""
        after, scratch = self.before, self._scratch
        np.negative(after, out=after)
        np.multiply(self.now, 2, out=scratch)
        after += scratch
        for k, v in enumerate(self._levels(self.now, drive, remember=True), start=1):
            np.multiply(v, 2 * self.dt ** (2 * k) / factorial(2 * k), out=scratch)
            after += scratch
        self.before, self.now = self.now, after

    def _levels(self, u: Array, drive: Drive, *, remember: bool) -> Any:
        """v_1, ..., v_m in turn; each is overwritten two levels later."""
        v = u
        for k in range(1, self.n_levels + 1):
            out = self._work[k % len(self._work)]
            if remember:
                self.operator.apply(v, out, k - 1)
            else:
                self.operator.apply_without_layers(v, out)
            drive(k, out)
            yield out
            v = out
