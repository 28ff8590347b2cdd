"""Arrays as a caller gave them: real numbers, or an error in the caller's words.

Input: anything array-like. Output: an array of floats. Text, ragged lists and complex numbers would otherwise fail, or lose a part, far from where
they were given.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

Array = NDArray[Any]


def real_array(what: str, given: ArrayLike) -> Array:
    """The values as floats; an array of floats is not copied.

    Args:
        what: name of the argument, for the message.
        given: what the caller passed.

    Raises:
        ReferenceSolverError: text, lists of different lengths, or complex numbers.

    Example:
        >>> real_array("the speed map", [[1, 2], [3, 4]])
        array([[1., 2.],
               [3., 4.]])
    """
    try:
        values = np.asarray(given)
        if values.dtype.kind not in "fiub":
            raise TypeError(f"an array of {values.dtype}")
    except (TypeError, ValueError) as error:
        raise ReferenceSolverError(f"{what} must be an array of real numbers, rows of equal length; it was given {_described(given)}") from error
    return values.astype(float, copy=False)


def _described(given: Any) -> str:
    if isinstance(given, np.ndarray):
        return f"an array of {given.dtype}"
    text = repr(given)
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"
