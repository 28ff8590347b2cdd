"""Closed forms of Poisson's and Laplace's equation.

* a box with u = 0 on its faces: sine series of the source, and the constant source, `-Lap u = 1`;
* a re-entrant corner of angle w: `r^(pi/w) sin(pi theta/w)`, harmonic, zero on both sides; the L-shape has w = 3 pi/2;
* a circular or spherical shell between two constant values: logarithm in 2-D, 1/r in 3-D.

The constant source on a box of two or three dimensions is the parabola along the first axis minus a sum of hyperbolic cosines that brings the other
faces to zero; its terms decay exponentially away from these faces, and like n^-3 on them.

Reference: Timoshenko and Goodier (1951), Theory of Elasticity, section 109, for the box; Grisvard (1985), Elliptic Problems in Nonsmooth Domains,
for the corner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

RealArray = NDArray[Any]

# The terms of the constant source fall like n^-3: the tail beyond n is below 4 L^2/(pi^3 n^2), 1.3e-7 here on the faces and nothing inside.
_TERMS_IN_PLANE = 1001
_TERMS_IN_SPACE = 61


@dataclass(frozen=True)
class BoxSineSeries:
    """u of `-Lap u + reaction u = sum A_m prod sin(m_i pi x_i/L_i)` on `(0, L_1) x ...`, zero on the faces; callable at points."""

    lengths: tuple[float, ...]
    amplitudes: tuple[tuple[tuple[int, ...], float], ...]
    reaction: float

    def __call__(self, *coordinates: ArrayLike) -> RealArray:
        """Values at points, one array per coordinate, broadcast."""
        return self._sum(coordinates, weighted=True)

    def source(self, *coordinates: ArrayLike) -> RealArray:
        """The right-hand side."""
        return self._sum(coordinates, weighted=False)

    def _sum(self, coordinates: Sequence[ArrayLike], *, weighted: bool) -> RealArray:
        points = _points(coordinates, len(self.lengths))
        total = np.zeros(points[0].shape)
        for modes, amplitude in self.amplitudes:
            wavenumbers = [m * np.pi / length for m, length in zip(modes, self.lengths, strict=True)]
            factor = self.reaction + sum(k**2 for k in wavenumbers) if weighted else 1.0
            total += amplitude / factor * np.prod([np.sin(k * x) for k, x in zip(wavenumbers, points, strict=True)], axis=0)
        return total


def box_sine_series(lengths: Sequence[float], amplitudes: Mapping[tuple[int, ...], float], reaction: float = 0.0) -> BoxSineSeries:
    """Solution of `-Lap u + reaction u = sum A_m prod sin(m_i pi x_i/L_i)` with u = 0 on the faces of `(0, L_1) x (0, L_2) x ...`.

    Args:
        lengths: of the sides.
        amplitudes: A_m by mode numbers m, whole and positive, one per side.
        reaction: coefficient of u.

    Raises:
        ReferenceSolverError: sides that are not positive, mode numbers of another count, or a mode in resonance with the reaction.

    Example:
        >>> solution = box_sine_series((1.0, 1.0), {(1, 1): 2 * np.pi**2})
        >>> round(float(solution(0.5, 0.5)), 12)
        1.0
    """
    sides = _sides(lengths)
    for modes in amplitudes:
        if len(modes) != len(sides) or any(int(m) != m or m < 1 for m in modes):
            raise ReferenceSolverError(f"the mode {modes} does not fit a box of {len(sides)} sides; expected as many positive whole numbers")
        eigenvalue = sum((m * np.pi / side) ** 2 for m, side in zip(modes, sides, strict=True))
        if abs(reaction + eigenvalue) < 1e-12 * eigenvalue:
            raise ReferenceSolverError(f"the mode {modes} is in resonance with the reaction {reaction:g}; no solution exists")
    return BoxSineSeries(sides, tuple((tuple(int(m) for m in modes), float(a)) for modes, a in amplitudes.items()), float(reaction))


@dataclass(frozen=True)
class BoxConstantSource:
    """u of `-Lap u = 1` on `(0, L_1) x ...`, zero on the faces; callable at points."""

    lengths: tuple[float, ...]

    def __call__(self, *coordinates: ArrayLike) -> RealArray:
        """Values at points inside the box, one array per coordinate, broadcast."""
        points = _points(coordinates, len(self.lengths))
        shape = points[0].shape
        flat = [p.ravel() for p in points]
        x, length = flat[0], self.lengths[0]
        total = x * (length - x) / 2
        if len(flat) > 1:
            count = _TERMS_IN_PLANE if len(flat) == 2 else _TERMS_IN_SPACE
            for n in range(1, 2 * count, 2):
                # Sine series of x (L - x)/2: amplitude 4 L^2/(n pi)^3 for odd n.
                k = n * np.pi / length
                total = total - 4 * length**2 / (n * np.pi) ** 3 * np.sin(k * x) * _bridge(k, flat[1:], self.lengths[1:], count)
        return np.asarray(total.reshape(shape))


def _bridge(k: float, points: Sequence[RealArray], lengths: Sequence[float], count: int) -> RealArray:
    """The solution of `-Lap v + k^2 v = 0` with v = 1 on all faces of a box in the remaining coordinates."""
    y, length = points[0], lengths[0]
    result = _cosh_ratio(k, y, length)
    if len(points) == 1:
        return result
    # Along the last axis v = 1 must hold too: what the first axis leaves, 1 - cosh ratio, expanded in sines.
    for n in range(1, 2 * count, 2):
        q = n * np.pi / length
        amplitude = 4 / (n * np.pi) * k**2 / (k**2 + q**2)
        result = result + amplitude * np.sin(q * y) * _cosh_ratio(float(np.hypot(k, q)), points[1], lengths[1])
    return result


def _cosh_ratio(k: float, y: RealArray, length: float) -> RealArray:
    """cosh(k (y - L/2))/cosh(k L/2), without overflow."""
    return np.asarray((np.exp(-k * y) + np.exp(-k * (length - y))) / (1 + np.exp(-k * length)))


def box_constant_source(lengths: Sequence[float]) -> BoxConstantSource:
    """Solution of `-Lap u = 1` with u = 0 on the faces of `(0, L_1) x ...`, one to three sides (torsion of a bar, flow in a duct).

    Raises:
        ReferenceSolverError: sides that are not positive, or more than three.

    Example:
        >>> round(float(box_constant_source((1.0, 1.0))(0.5, 0.5)), 8)
        0.07367135
    """
    return BoxConstantSource(_sides(lengths))


@dataclass(frozen=True)
class CornerSingularity:
    """`r^(pi/w) sin(pi theta/w)` about a corner of opening w, callable as `field(x, y)`.

    Attributes:
        angle: w, between pi and 2 pi where the corner is re-entrant.
        start: direction of the side theta = 0, from the x axis.
        at: the corner.
    """

    angle: float
    start: float
    at: tuple[float, float]

    def __call__(self, x: ArrayLike, y: ArrayLike) -> RealArray:
        """Values at points of the domain, broadcast."""
        r, theta = self._polar(x, y)
        power = np.pi / self.angle
        return np.asarray(r**power * np.sin(power * theta))

    def gradient(self, x: ArrayLike, y: ArrayLike) -> tuple[RealArray, RealArray]:
        """First derivatives; they grow like r^(pi/w - 1)."""
        r, theta = self._polar(x, y)
        power = np.pi / self.angle
        # u = Im(z^p exp(-i p start)): u_x - i u_y would conjugate; d/dz gives both.
        absolute = theta + self.start
        size = power * r ** (power - 1)
        return size * np.sin(power * theta - absolute), size * np.cos(power * theta - absolute)

    def _polar(self, x: ArrayLike, y: ArrayLike) -> tuple[RealArray, RealArray]:
        dx, dy = np.broadcast_arrays(np.asarray(x, dtype=float) - self.at[0], np.asarray(y, dtype=float) - self.at[1])
        theta = np.mod(np.arctan2(dy, dx) - self.start, 2 * np.pi)
        # Rounding on the side theta = 0 must not jump to 2 pi; the gap between both sides is cut in its middle.
        theta = np.where(theta > np.pi + self.angle / 2, theta - 2 * np.pi, theta)
        return np.hypot(dx, dy), theta


def corner_singularity(angle: float = 1.5 * np.pi, start: float = 0.0, at: tuple[float, float] = (0.0, 0.0)) -> CornerSingularity:
    """Harmonic function that vanishes on both sides of a corner; the defaults are the L-shape `(-1, 1)^2` without `x > 0, y < 0`.

    Raises:
        ReferenceSolverError: an angle outside (0, 2 pi].

    Example:
        >>> round(float(corner_singularity()(-0.5, 0.5)), 6)
        0.793701
    """
    if not 0 < angle <= 2 * np.pi:
        raise ReferenceSolverError(f"a corner was given the angle {angle:g}; expected 0 < angle <= 2 pi")
    return CornerSingularity(float(angle), float(start), (float(at[0]), float(at[1])))


@dataclass(frozen=True)
class ShellPotential:
    """Harmonic function of the radius between two spheres (circles), callable at points."""

    at: tuple[float, ...]
    radii: tuple[float, float]
    values: tuple[float, float]

    def __call__(self, *coordinates: ArrayLike) -> RealArray:
        """Values at points between the spheres, broadcast."""
        points = _points(coordinates, len(self.at))
        r = np.sqrt(sum((x - centre) ** 2 for x, centre in zip(points, self.at, strict=True)))
        inner, outer = self.radii
        if len(self.at) == 2:
            share = np.log(r / inner) / np.log(outer / inner)
        else:
            share = (1 / inner - 1 / r) / (1 / inner - 1 / outer)
        return np.asarray(self.values[0] + (self.values[1] - self.values[0]) * share)


def shell_potential(at: Sequence[float], radii: tuple[float, float], values: tuple[float, float]) -> ShellPotential:
    """Solution of `Lap u = 0` between two concentric circles (2-D) or spheres (3-D) that carry constant values.

    Args:
        at: centre, two or three numbers.
        radii: inner and outer radius.
        values: on the inner and on the outer sphere.

    Raises:
        ReferenceSolverError: radii out of order, or another dimension.

    Example:
        >>> round(float(shell_potential((0.0, 0.0), (1.0, 4.0), (0.0, 1.0))(0.0, 2.0)), 12)
        0.5
    """
    if len(at) not in (2, 3) or not 0 < radii[0] < radii[1]:
        raise ReferenceSolverError(f"a shell needs a centre of 2 or 3 numbers and radii 0 < inner < outer; got {tuple(at)}, {radii}")
    return ShellPotential(tuple(float(c) for c in at), (float(radii[0]), float(radii[1])), (float(values[0]), float(values[1])))


def _sides(lengths: Sequence[float]) -> tuple[float, ...]:
    if len(lengths) not in (1, 2, 3) or not all(side > 0 for side in lengths):
        raise ReferenceSolverError(f"a box was given the sides {tuple(lengths)}; expected one to three positive numbers")
    return tuple(float(side) for side in lengths)


def _points(coordinates: Sequence[ArrayLike], dimension: int) -> list[RealArray]:
    if len(coordinates) != dimension:
        raise ReferenceSolverError(f"the solution lives in {dimension} dimensions, got {len(coordinates)} coordinates")
    return list(np.broadcast_arrays(*[np.asarray(c, dtype=float) for c in coordinates]))
