"""A velocity model on an even grid of the plane, in metres and m/s: regridded, smoothed, reduced to a trend, declared.

What is averaged is the slowness, so that travel times stay. Input: an array. Output: `VelocityModel`, and `sampled` functions of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import gaussian_filter1d

from pinnsiren.errors import ProblemError
from pinnsiren.language.sampled import sampled

from .gathers import real_array
from .scaling import Scaling

Array = NDArray[Any]

# Of real media: sound in air and the fastest rock of the mantle. What lies outside by a thousand is in other units.
SLOWEST, FASTEST = 100.0, 15_000.0


@dataclass(frozen=True)
class VelocityModel:
    """Speeds at the nodes of an even grid.

    Attributes:
        values: (n_x, n_z), m/s, depth last.
        spacing: metres between nodes, along x and z.
        origin: position of the first node, metres.

    Raises:
        ProblemError: no finite positive array of two axes, speeds in km/s, or a spacing that is not positive.
    """

    values: Array
    spacing: tuple[float, float]
    origin: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        values = real_array("speeds", self.values)
        if values.ndim != 2 or min(values.shape) < 2:
            raise ProblemError(f"a velocity model was given with shape {values.shape}; expected (n_x, n_z)")
        unknown = int(np.sum(~np.isfinite(values)))
        if unknown:
            raise ProblemError(f"{unknown} of {values.size} nodes of a velocity model are NaN or infinite; expected finite positive speeds in m/s")
        if values.min() <= 0:
            raise ProblemError(f"a velocity model runs from {values.min():g} to {values.max():g}; expected finite positive speeds in m/s")
        steps = np.asarray(self.spacing, dtype=float)
        if steps.shape not in ((), (2,)) or not np.all((steps > 0) & (steps < np.inf)):
            raise ProblemError(f"a velocity model was given spacing={self.spacing}; expected a positive number of metres, one or one per axis")
        if values.max() < SLOWEST or values.max() > FASTEST or values.min() < SLOWEST / 10:
            raise ProblemError(f"a velocity model runs from {values.min():g} to {values.max():g} where m/s are expected; {_unit_hint(values)}")
        if np.shape(self.origin) != (2,) or not np.all(np.isfinite(self.origin)):
            raise ProblemError(f"a velocity model was given origin={self.origin!r}; expected the position (x, z) of its first node, in metres")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "spacing", tuple(np.broadcast_to(steps, (2,)).tolist()))
        object.__setattr__(self, "origin", (float(self.origin[0]), float(self.origin[1])))

    @property
    def axes(self) -> tuple[Array, Array]:
        """Positions of the nodes, metres."""
        first, second = (low + step * np.arange(n) for low, step, n in zip(self.origin, self.spacing, self.values.shape, strict=True))
        return first, second

    @property
    def bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """First and last node per axis, metres."""
        (x, z) = self.axes
        return (float(x[0]), float(x[-1])), (float(z[0]), float(z[-1]))

    def check_shape(self, expected: tuple[int, int]) -> None:
        """Compare with the numbers of nodes (n_x, n_z) that were expected.

        Raises:
            ProblemError: another shape; that of exchanged axes is named.
        """
        if self.values.shape == tuple(expected):
            return
        hint = ": the axes are exchanged, transpose the values or read with axes=\"zx\"" if self.values.shape == tuple(expected)[::-1] else ""
        raise ProblemError(f"a velocity model has {self.values.shape} nodes along x and depth where {tuple(expected)} are expected{hint}")

    def at(self, x: ArrayLike, z: ArrayLike) -> Array:
        """Speeds at positions (metres), piecewise linear in slowness, constant outside."""
        points = [np.clip(np.asarray(p, dtype=float), low, high) for p, (low, high) in zip((x, z), self.bounds, strict=True)]
        slowness = RegularGridInterpolator(self.axes, 1 / self.values)(np.stack(np.broadcast_arrays(*points), axis=-1))
        return np.asarray(1 / slowness)

    def regridded(self, spacing: float) -> VelocityModel:
        """Return the model at another spacing (metres): averages over the new cells where they are larger, interpolated where they are smaller.

        Raises:
            ProblemError: a spacing that leaves no two nodes.
        """
        check_length("regridded", "spacing", spacing)
        if spacing == 0 or any(high - low < spacing for low, high in self.bounds):
            raise ProblemError(f"a model of {self.values.shape} nodes was asked for a spacing of {spacing:g} m; it needs room for two nodes at least")
        slowness = 1 / self.values
        for axis, (nodes, step) in enumerate(zip(self.axes, self.spacing, strict=True)):
            new = nodes[0] + spacing * np.arange(int(np.floor((nodes[-1] - nodes[0]) / spacing + 1e-9)) + 1)
            slowness = np.apply_along_axis(_resampled, axis, slowness, nodes, new, step, spacing)
        return replace(self, values=1 / slowness, spacing=(spacing, spacing))

    def smoothed(self, length: float, *, fixed_above: float = -np.inf) -> VelocityModel:
        """Return the model with its slowness convolved by a Gaussian of this standard deviation (metres): a start.

        Args:
            length: standard deviation, metres.
            fixed_above: depth down to which the model stays as it is, such as the sea floor; nothing above it enters below.
        """
        check_length("smoothed", "length", length)
        slowness = 1 / self.values
        below = self.axes[1] > fixed_above
        part = slowness[:, below]
        for axis, step in enumerate(self.spacing):
            part = gaussian_filter1d(part, length / step, axis=axis, mode="nearest")
        slowness = slowness.copy()
        slowness[:, below] = part
        return replace(self, values=1 / slowness)

    def depth_trend(self, *, fixed_above: float = -np.inf, degree: int | None = 1) -> VelocityModel:
        """Return a one-dimensional start: the mean slowness of each depth, and a polynomial of depth through it unless `degree` is None."""
        z = self.axes[1]
        below = z > fixed_above
        if degree is not None and int(np.sum(below)) <= degree:
            raise ProblemError(
                f"a trend of degree {degree} was asked for below {fixed_above:g} m, where the model has {int(np.sum(below))} depths; expected more "
                "depths than the degree"
            )
        mean = np.mean(1 / self.values, axis=0)
        if degree is not None:
            centred = (z - z.mean()) / np.ptp(z)
            speeds = np.polyval(np.polyfit(centred[below], 1 / mean[below], degree), centred)
            mean = 1 / np.clip(speeds, self.values.min(), self.values.max())
        slowness = 1 / self.values
        slowness[:, below] = np.broadcast_to(mean, slowness.shape)[:, below]
        return replace(self, values=1 / slowness)

    def with_water_of(self, other: VelocityModel, depth: float) -> VelocityModel:
        """Return the model with the values of another one on the same nodes down to a depth (metres).

        Raises:
            ProblemError: other nodes.
        """
        other.check_shape((self.values.shape[0], self.values.shape[1]))
        water = self.axes[1] <= depth
        return replace(self, values=np.where(water, other.values, self.values))

    def squared_slowness(self, name: str, coordinates: tuple[sp.Symbol, sp.Symbol], units: Scaling) -> Any:
        """Return m' = (c / v)^2 as sampled data of two coordinates in the units of a declaration, piecewise linear."""
        x, z = coordinates
        along, down = (units.lengths(axis) for axis in self.axes)
        return sampled(name, {x: along, z: down}, units.squared_slowness(self.values), order=1)


def check_length(asked: str, name: str, value: Any) -> None:
    """A length is a number of metres that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating) or not 0 <= float(value) < np.inf:
        raise ProblemError(f"a velocity model was to be {asked} with {name}={value!r}; expected a number of metres that is not negative")


def _unit_hint(values: Array) -> str:
    low, high = float(values.min()), float(values.max())
    if high > FASTEST:
        return "these look like mm/s, or m/s read with unit=\"km/s\": divide by 1000" if low / 1000 >= SLOWEST else "no rock is as fast"
    if 1 / FASTEST <= low and high <= 1 / SLOWEST:
        return "these look like slownesses in s/m: give 1 / values"
    if high < SLOWEST:
        return "these look like km/s: multiply by 1000" if SLOWEST <= 1000 * high <= FASTEST else "SI units are read"
    return f"{int(np.sum(values < SLOWEST / 10))} of {values.size} nodes are slower than {SLOWEST / 10:g} m/s and may be in km/s"


def _resampled(line: Array, nodes: Array, new: Array, step: float, spacing: float) -> Array:
    """Values of one line at new nodes."""
    if spacing <= step:
        return np.asarray(np.interp(new, nodes, line))
    # Averages over the new cells, from the integral of the piecewise linear line, which is quadratic between the nodes.
    fine = np.linspace(nodes[0], nodes[-1], 8 * (len(nodes) - 1) + 1)
    values = np.interp(fine, nodes, line)
    integral = np.concatenate([[0.0], np.cumsum(0.5 * (values[1:] + values[:-1]) * np.diff(fine))])
    low, high = (np.clip(new + side * spacing / 2, nodes[0], nodes[-1]) for side in (-1, 1))
    return np.asarray((np.interp(high, fine, integral) - np.interp(low, fine, integral)) / (high - low))
