"""Images for the catalogue: those shipped inside scikit-image, as fields of values from 0 to 1 on the square [-1, 1]^2.

Input: a name and a size. Output: sampled data of x (to the right) and y (upwards), a cosine series through the averages of the cells.
"""

import warnings
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

import pinnsiren as ps
from pinnsiren.errors import ProblemError, ProblemWarning, UnknownNameError

# Files inside the wheel: nothing is downloaded.
SHIPPED = ("astronaut", "brick", "camera", "coffee", "coins", "grass", "gravel", "moon", "rocket")
SMALLEST = 4


def shipped_image(name: str, size: int) -> NDArray[np.float64]:
    """Return an image as grey values from 0 to 1, shape (size, size), rows downwards: the central square, averaged over cells.

    Without scikit-image (the extra `images`) a drawing stands in, with a warning.

    Raises:
        UnknownNameError: an image that is not shipped.
        ProblemError: a size that the image does not have.
    """
    if name not in SHIPPED:
        raise UnknownNameError(f"the image `{name}` is unknown; shipped are {', '.join(SHIPPED)}")
    if isinstance(size, bool) or not isinstance(size, int) or size < SMALLEST:
        raise ProblemError(f"the image `{name}` was asked for with size={size!r}; expected a whole number of pixels, {SMALLEST} or more")
    try:
        from skimage import data  # type: ignore[import-not-found,import-untyped,unused-ignore] # an optional library
    except ImportError:
        text = f"scikit-image is not installed, so that a drawing stands in for the image `{name}`: pip install pinnsiren[images]"
        warnings.warn(text, ProblemWarning, stacklevel=4)
        return drawing(size)
    pixels = np.asarray(getattr(data, name)(), dtype=float) / 255
    grey = pixels.mean(axis=2) if pixels.ndim == 3 else pixels
    side = min(grey.shape) // size * size
    if side == 0:
        raise ProblemError(f"the image `{name}` was asked for with {size} x {size} pixels; it has {grey.shape[0]} x {grey.shape[1]}: ask for fewer")
    top, left = ((length - side) // 2 for length in grey.shape)
    square = grey[top : top + side, left : left + side]
    return np.asarray(square.reshape(size, side // size, size, side // size).mean(axis=(1, 3)))


def drawing(size: int) -> NDArray[np.float64]:
    """Return a picture with edges, a ramp and stripes, values from 0 to 1, shape (size, size)."""
    line = (np.arange(size) + 0.5) / size
    down, right = np.meshgrid(line, line, indexing="ij")
    picture = 0.2 + 0.4 * right + 0.1 * np.sin(40 * right * down)
    picture[(right - 0.4) ** 2 + (down - 0.45) ** 2 < 0.06] = 0.95
    picture[(np.abs(right - 0.65) < 0.12) & (down > 0.5)] = 0.05
    return np.asarray(np.clip(picture, 0, 1))


def image_function(name: str, pixels: NDArray[np.float64], x: sp.Symbol, y: sp.Symbol) -> Any:
    """Return an image on [-1, 1]^2 as a function of x and y; pixels are the cells, rows downwards."""
    rows, columns = pixels.shape
    axes = {x: -1 + (2 * np.arange(columns) + 1) / columns, y: -1 + (2 * np.arange(rows) + 1) / rows}
    return ps.sampled(name, axes, pixels[::-1].T, interpolation="cosine")
