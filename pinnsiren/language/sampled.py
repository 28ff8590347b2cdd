"""Data on a grid (images, velocity maps, wavelets) as a symbol that is usable wherever an expression is.

The values are interpolated by a tensor spline or by a cosine series, so that the compiler can ask for derivatives; equality goes by the content of
the arrays.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import NdBSpline, make_interp_spline

from pinnsiren.errors import ProblemError
from pinnsiren.language.cosine_series import cosine_series, edges, is_even
from pinnsiren.language.entries import array_entry, check_entries_finite

OUTSIDE = ("nearest", "zero")
INTERPOLATIONS = ("spline", "cosine")


@dataclass(frozen=True)
class SampledDeclaration:
    """Grid data with a tensor-product spline or cosine series through them.

    Attributes:
        name: name of the symbol.
        axes: one increasing array per coordinate, physical units.
        values: array of shape (len(axes[0]), len(axes[1]), ...), real or complex.
        order: spline order, 1 (piecewise linear) to 5; a cosine series has none.
        outside: `"nearest"` continues the edge value, `"zero"` vanishes outside.
        digest: hash of the content; equality and hashing go by it.
        spline: the function through the samples.
        interpolation: `"spline"` or `"cosine"`.
    """

    name: str
    axes: tuple[NDArray[np.float64], ...] = dataclass_field(compare=False)
    values: NDArray[Any] = dataclass_field(compare=False)
    order: int
    outside: str
    digest: str
    spline: Any = dataclass_field(compare=False, repr=False)
    interpolation: str = "spline"

    @property
    def limits(self) -> tuple[tuple[float, float], ...]:
        """Where the data end, per coordinate: at the first and last sample; the cells of a cosine series reach half a spacing farther."""
        return tuple(edges(axis) if self.interpolation == "cosine" else (float(axis[0]), float(axis[-1])) for axis in self.axes)

    def evaluate(self, *points: ArrayLike, derivatives: tuple[int, ...] | None = None) -> NDArray[Any]:
        """Return values or partial derivatives at scattered points.

        Args:
            points: one array per coordinate, broadcast against each other, physical units.
            derivatives: order of differentiation per coordinate; None means the value.
        """
        orders = derivatives or (0,) * len(self.axes)
        arrays = np.broadcast_arrays(*[np.asarray(p, dtype=float) for p in points])
        clipped = [np.clip(p, low, high) for p, (low, high) in zip(arrays, self.limits, strict=True)]
        stacked = np.stack(clipped, axis=-1)
        result = np.asarray(self.spline(stacked, nu=np.asarray(orders, dtype=np.int64)))
        # A clipped value does not change along the clipped coordinate, so its derivative vanishes there.
        for order, point, (low, high) in zip(orders, arrays, self.limits, strict=True):
            beyond = (point < low) | (point > high)
            if order > 0 or self.outside == "zero":
                result = np.where(beyond, 0.0, result)
        return result


def _tensor_spline(axes: tuple[NDArray[np.float64], ...], values: NDArray[Any], order: int) -> NdBSpline:
    coefficients = values
    knots = []
    for dimension, axis in enumerate(axes):
        degree = min(order, len(axis) - 1)
        spline = make_interp_spline(axis, np.moveaxis(coefficients, dimension, 0), k=degree)
        coefficients = np.moveaxis(spline.c, 0, dimension)
        knots.append(spline.t)
    degrees = tuple(min(order, len(axis) - 1) for axis in axes)
    return NdBSpline(tuple(knots), np.ascontiguousarray(coefficients), degrees)


def _checked_axis(what: str, positions: ArrayLike) -> NDArray[np.float64]:
    axis = array_entry(what, positions)
    if axis.ndim != 1 or len(axis) < 2 or axis.dtype.kind != "f":
        raise ProblemError(f"{what} has shape {axis.shape}; expected at least two real positions in one row")
    check_entries_finite(what, axis)
    falls = np.flatnonzero(np.diff(axis) <= 0)
    if len(falls):
        first = int(falls[0])
        raise ProblemError(
            f"{what} goes from {axis[first]:g} to {axis[first + 1]:g} at entry {first + 1}; expected increasing positions: sort them, and the values "
            "with them"
        )
    return np.asarray(axis, dtype=float)


def sampled(
    name: str, axes: Mapping[sp.Symbol, ArrayLike], values: ArrayLike, order: int = 3, outside: str = "nearest", interpolation: str = "spline"
) -> Any:
    """Declare data on a rectilinear grid as a function of the coordinates.

    With `interpolation="cosine"` the samples are the cells of an image: evenly spaced, each at the centre of its cell, so that the data reach half a
    spacing beyond the first and last one. The function is the cosine series through them, even about the outer edges; its derivatives are the
    spectral derivatives of the image.

    Args:
        name: name of the symbol.
        axes: for each coordinate the increasing positions of the samples, physical units.
        values: array with one axis per coordinate, in the order of `axes`.
        order: order of the interpolating spline, 1 to 5.
        outside: `"nearest"` (constant continuation) or `"zero"`.
        interpolation: `"spline"` or `"cosine"`.

    Raises:
        ProblemError: shapes that do not match, values that are not finite, axes that do not increase, or are not even for a cosine series.

    >>> x = sp.Symbol("x", real=True)
    >>> sampled("wavelet", {x: [0, 1, 2]}, [0.0, 1.0, 4.0])
    wavelet(x)
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ProblemError(f"sampled data were named `{name}`; expected letters, digits and underscores")
    if not isinstance(axes, Mapping) or not axes or not all(isinstance(symbol, sp.Symbol) for symbol in axes):
        raise ProblemError(f"`{name}` was given the axes `{axes}`; expected positions per coordinate such as {{x: [0, 1, 2], y: [0, 1]}}")
    arrays = tuple(_checked_axis(f"axis `{symbol}` of `{name}`", axis) for symbol, axis in axes.items())
    data = array_entry(f"values of `{name}`", values)
    shape = tuple(len(axis) for axis in arrays)
    if data.shape != shape:
        raise ProblemError(f"values of `{name}` have shape {data.shape}; the axes {tuple(map(str, axes))} ask for {shape}{_shape_hint(data, shape)}")
    check_entries_finite(f"values of `{name}`", data)
    if isinstance(order, bool) or order not in (1, 2, 3, 4, 5):
        raise ProblemError(f"`{name}` was given order={order}; expected a spline order from 1 to 5")
    if outside not in OUTSIDE:
        raise ProblemError(f"`{name}` was given outside=\"{outside}\"; expected one of {OUTSIDE}")
    if interpolation not in INTERPOLATIONS:
        raise ProblemError(f"`{name}` was given interpolation={interpolation!r}; expected one of {INTERPOLATIONS}")
    if interpolation == "cosine":
        for symbol, axis in zip(axes, arrays, strict=True):
            if not is_even(axis):
                raise ProblemError(f"axis `{symbol}` of `{name}` is not evenly spaced; a cosine series needs it: resample, or use a spline")
    digest = hashlib.sha256()
    if interpolation != "spline":
        digest.update(interpolation.encode())
    for array in (*arrays, data):
        digest.update(str((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    function = cosine_series(arrays, data) if interpolation == "cosine" else _tensor_spline(arrays, data, order)
    declaration = SampledDeclaration(name, arrays, data, order, outside, digest.hexdigest(), function, interpolation)
    return sp.Function(name, declaration=declaration)(*axes)


def _shape_hint(data: NDArray[Any], shape: tuple[int, ...]) -> str:
    """Say what is usually wrong with an image: colours, rows before columns."""
    if data.ndim == len(shape) + 1 and data.shape[-1] in (2, 3, 4):
        return ": the last axis looks like colours, declare one field per colour or take their mean"
    if data.shape == shape[::-1]:
        return ": rows and columns are exchanged, transpose the values"
    return ""
