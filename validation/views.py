"""The line or plane of a domain that a figure shows.

Input: a domain. Output: a tensor grid of points: the whole domain in one and two dimensions, a plane through the middle in three; the last instant
where time is the third coordinate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.language import AbstractDomain, SpaceTime

from .plotting import symbol_label

Array = NDArray[Any]

LINE_POINTS = 801
PLANE_POINTS = 161


@dataclass(frozen=True)
class View:
    """Points of a line or a plane.

    Attributes:
        symbols: the one or two coordinates shown; with time, it is the second.
        axes: positions along them.
        points: (n, n_coordinates), the tensor grid, first axis slowest.
        inside: (n,), which of them lie in the domain.
        fixed: the other coordinates, as text.
        is_space_time: whether the second coordinate is the time.
    """

    symbols: tuple[Any, ...]
    axes: tuple[Array, ...]
    points: Array
    inside: NDArray[np.bool_]
    fixed: str
    is_space_time: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor grid."""
        return tuple(len(axis) for axis in self.axes)

    def on_grid(self, evaluate: Callable[[Array], Array]) -> Array:
        """Return values on the grid, NaN outside the domain; the first shot where there are several."""
        values = np.asarray(evaluate(self.points[self.inside]))
        first = values[0] if values.ndim == 2 else values
        result = np.full(len(self.points), np.nan, dtype=complex if np.iscomplexobj(first) else float)
        result[self.inside] = first
        return result.reshape(self.shape)


def view_of(domain: AbstractDomain, points_per_axis: int | None = None) -> View:
    """Return the view of a domain; `points_per_axis` other than the default is for transforms."""
    coordinates, bounds = domain.coordinates, domain.bounds
    time = domain.time if isinstance(domain, SpaceTime) else None
    shown = coordinates[:2] if len(coordinates) > 2 else coordinates
    count = points_per_axis or (LINE_POINTS if len(shown) == 1 else PLANE_POINTS)
    axes = tuple(np.linspace(*bounds[symbol], count) for symbol in shown)
    levels = {symbol: bounds[symbol][1] if symbol == time else 0.5 * sum(bounds[symbol]) for symbol in coordinates if symbol not in shown}
    mesh = dict(zip(shown, np.meshgrid(*axes, indexing="ij"), strict=True))
    size = count ** len(shown)
    points = np.stack([mesh[s].ravel() if s in mesh else np.full(size, levels[s]) for s in coordinates], axis=1)
    fixed = ", ".join(f"{symbol_label(symbol)} = {level:.3g}" for symbol, level in levels.items())
    return View(tuple(shown), axes, points, domain.contains(points), fixed, len(shown) == 2 and shown[1] == time)
