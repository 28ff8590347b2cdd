"""Entries: what a user hands over, as SymPy expressions, numbers and arrays, or refused in words.

Input: any Python object. Output: what the language computes with. Text is never parsed: SymPy would evaluate it as code.
"""

from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ProblemError


def scalar_entry(what: str, value: Any) -> Any:
    """Return a scalar SymPy expression.

    Raises:
        ProblemError: text, a function, an array, a matrix, a truth value or nothing at all.

    >>> scalar_entry("Dirichlet", 0.5)
    0.500000000000000
    """
    hint = _hint(value)
    if not hint:
        try:
            expression = sp.sympify(value, strict=True)
        except sp.SympifyError:
            expression = None
        if isinstance(expression, sp.Expr) and not isinstance(expression, sp.MatrixBase):
            return expression
    raise ProblemError(f"{what} was given `{value!r}`; expected a number or a scalar SymPy expression{hint}")


def _hint(value: Any) -> str:
    if isinstance(value, str):
        return ": text is not parsed, write it with the symbols of the declaration"
    if isinstance(value, (bool, np.bool_, sp.logic.boolalg.BooleanAtom, sp.core.relational.Relational)):
        return ": a truth value or an inequality has none"
    if isinstance(value, (list, tuple, np.ndarray)) and np.ndim(np.asarray(value, dtype=object)) > 0:
        return ": data on a grid enter through `sampled`, scattered data through `Observations`"
    if isinstance(value, sp.MatrixBase):
        return ": give its components one by one"
    if callable(value) and not isinstance(value, sp.Basic):
        return ": write the function in SymPy, or sample it on a grid and pass it through `sampled`"
    return ""


def equation_entry(what: str, value: Any) -> Any:
    """Return left minus right of an equation, or the expression itself.

    Raises:
        ProblemError: an equation that Python or SymPy has decided, an inequality, or no scalar.
    """
    if isinstance(value, (bool, np.bool_, sp.logic.boolalg.BooleanAtom)):
        raise ProblemError(
            f"{what} has collapsed to {bool(value)}: it was decided when it was written, because both sides are numbers, are identical or differ in "
            "shape (a matrix and a scalar), or because it was written with == instead of sp.Eq. Check that it holds a field on one side"
        )
    if isinstance(value, sp.Equality):
        return scalar_entry(what, value.lhs) - scalar_entry(what, value.rhs)
    return scalar_entry(what, value)


def number_entry(what: str, value: Any) -> float:
    """Return a real number as float; infinities and NaN are left to the caller's bounds.

    Raises:
        ProblemError: no real number.
    """
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError("text")
        return float(value)
    except (TypeError, ValueError) as error:
        raise ProblemError(f"{what} was given `{value!r}`; expected a real number") from error


def array_entry(what: str, values: Any) -> NDArray[Any]:
    """Return a real or complex floating-point array, a copy.

    Raises:
        ProblemError: rows of different length, text or other objects.
    """
    try:
        array = np.array(values)
        if array.dtype.kind in "biu":
            array = array.astype(float)
        if array.dtype.kind == "O":
            array = array.astype(complex) if any(isinstance(entry, sp.Expr) and not entry.is_real for entry in array.flat) else array.astype(float)
    except (TypeError, ValueError) as error:
        raise ProblemError(f"{what} cannot be read as an array ({error}); expected numbers in rows of equal length") from error
    if array.dtype.kind not in "fc":
        raise ProblemError(f"{what} have the type {array.dtype}; expected numbers")
    return array


def check_entries_finite(what: str, array: NDArray[Any]) -> None:
    """Raise `ProblemError` with the number of entries that are NaN or infinite."""
    bad = int(np.sum(~np.isfinite(array)))
    if bad:
        raise ProblemError(f"{what} hold {bad} entries that are NaN or infinite; expected finite numbers: remove or repair them")
