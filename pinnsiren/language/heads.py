"""Piecewise helpers as documented function heads, with the derivatives that classical calculus gives them away from the kink.

`Max(x, 0)**2` differentiates to a Dirac delta in SymPy and `Piecewise` grows with every product rule; these heads stay small and are evaluated by
NumPy directly.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp
from scipy.special import beta, betainc


class PositivePart(sp.Function):
    """max(x, 0); its derivative is `Step(x)`."""

    nargs = (1,)

    def fdiff(self, argindex: int = 1) -> Any:
        """Return the step."""
        return Step(self.args[0])


class Step(sp.Function):
    """1 where x > 0, else 0; its derivative vanishes away from the jump."""

    nargs = (1,)

    def fdiff(self, argindex: int = 1) -> Any:
        """Return zero."""
        return sp.Integer(0)


class Clamp(sp.Function):
    """x restricted to [low, high]: `Clamp(x, low, high)`; continues coefficients and data into a layer as constants."""

    nargs = (3,)

    def fdiff(self, argindex: int = 1) -> Any:
        """Return 1 inside and 0 outside."""
        value, low, high = self.args
        return Step(value - low) * Step(high - value) if argindex == 1 else sp.Integer(0)


class SmoothStep(sp.Function):
    """Derivative of the polynomial that rises from 0 to 1 on [0, 1]: `SmoothStep(x, degree, order)`.

    `degree` derivatives vanish at both ends, `order` says which derivative is meant (0 for the step itself); constant outside [0, 1].
    """

    nargs = (3,)

    def fdiff(self, argindex: int = 1) -> Any:
        """Return the next derivative."""
        value, degree, order = self.args
        return SmoothStep(value, degree, order + 1) if argindex == 1 else sp.Integer(0)


def smooth_step(x: Any, degree: Any, order: Any) -> Any:
    """Evaluate `SmoothStep`: the regularised incomplete beta function I_x(degree + 1, degree + 1) or its derivative."""
    n = int(degree) + 1
    clipped = np.clip(x, 0.0, 1.0)
    if order == 0:
        return betainc(n, n, clipped)
    density = np.polynomial.Polynomial([1.0])
    for _ in range(int(degree)):
        density = density * np.polynomial.Polynomial([0.0, 1.0, -1.0])
    slope = density.deriv(int(order) - 1) if order > 1 else density
    return np.where((np.asarray(x) > 0) & (np.asarray(x) < 1), slope(clipped) / beta(n, n), 0.0)


NUMERIC_HEADS: dict[str, Callable[..., Any]] = {
    "PositivePart": lambda x: np.maximum(x, 0.0),
    "Step": lambda x: np.asarray(x > 0, dtype=float),
    "SmoothStep": smooth_step,
    "Clamp": lambda x, low, high: np.clip(x, low, high),
}
