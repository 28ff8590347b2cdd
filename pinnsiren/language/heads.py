"""Piecewise helpers as documented function heads, with the derivatives that classical calculus gives them away from the kink.

`Max(x, 0)**2` differentiates to a Dirac delta in SymPy and `Piecewise` grows with every product rule; these heads stay small and are evaluated by
NumPy directly.
"""

from collections.abc import Callable
from math import factorial
from typing import Any

import numpy as np
import sympy as sp
from scipy.special import beta, betainc

from pinnsiren.errors import EvaluationError


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


class QuadrantPotential(sp.Function):
    """Function whose Laplacian is 1 where x > 0 and y > 0, else 0: `QuadrantPotential(x, y, i, j)`, differentiated i times in x and j times in y.

    (2 x y log r + theta (x^2 - y^2)) / (4 pi) plus r^2 / 4 inside the quadrant and -(x^2 - y^2) / 4 outside, theta in [0, 2 pi): continuous with its
    gradient, logarithmic second derivative at the corner, as solutions have where a coefficient jumps across a right angle.
    """

    nargs = (4,)

    def fdiff(self, argindex: int = 1) -> Any:
        """Return the next derivative."""
        x, y, i, j = self.args
        if argindex == 1:
            return QuadrantPotential(x, y, i + 1, j)
        return QuadrantPotential(x, y, i, j + 1) if argindex == 2 else sp.Integer(0)


class StretchMap(sp.Function):
    """A monotone analytic map of an axis: `StretchMap(x, order, low, high, periodic, c_1, w_1, m_1, c_2, ...)`, differentiated `order` times.

    Its slope is a sum of kernels of centre c, half width w and mass m: Cauchy's m w/(pi (w^2 + (x - c)^2)), or on a periodic axis Poisson's, the sum
    of Cauchy's over all periods.
    """

    def fdiff(self, argindex: int = 1) -> Any:
        """Return the next derivative."""
        x, order, *rest = self.args
        return StretchMap(x, order + 1, *rest) if argindex == 1 else sp.Integer(0)


def stretch_map(x: Any, order: Any, low: Any, high: Any, periodic: Any, *kernels: Any) -> Any:
    """Evaluate `StretchMap`: the kernels are imaginary parts of 1/(z - i), or real parts of 2/(1 - q) - 1 with q = exp(-k w + i k (x - c)).

    Raises:
        EvaluationError: a derivative above the fifth of a periodic map.
    """
    x, n = np.asarray(x, dtype=float)[..., None], int(order) - 1
    centres, widths, masses = np.asarray(kernels, dtype=float).reshape(-1, 3).T
    if not periodic:
        z = (x - centres) / widths
        if n < 0:
            return np.arctan(z) @ masses / np.pi
        pole = 1 / (z - 1j)
        power = pole
        for _ in range(n):  # NumPy's power of complex numbers is ten times slower
            power = power * pole
        return np.imag((-1) ** n * factorial(n) * power) @ (masses / widths ** (n + 1)) / np.pi
    k = 2 * np.pi / (high - low)
    angle, radius = k * (x - centres), np.exp(-k * widths)
    if n < 0:
        return (angle + 2 * np.arctan2(radius * np.sin(angle), 1 - radius * np.cos(angle))) @ masses / (2 * np.pi)
    q = radius * np.exp(1j * angle)
    # The numerators are Euler's polynomials: (q d/dq)^n 1/(1 - q) = q A_n(q)/(1 - q)^(n + 1).
    euler = {0: (1,), 1: (1, 0), 2: (1, 1, 0), 3: (1, 4, 1, 0), 4: (1, 11, 11, 1, 0)}
    if n not in euler:
        raise EvaluationError(
            f"a derivative of order {n + 1} of a stretched periodic axis was asked for; expected five at most. Declare equations up to order four, "
            "or choose method=\"LeastSquares\", which stretches nothing"
        )
    pole = 1 / (1 - q)
    power = pole
    for _ in range(n):
        power = power * pole
    value = 2 * (1j * k) ** n * np.polyval(euler[n], q) * power - (1 if n == 0 else 0)
    return np.real(value) @ masses * k / (2 * np.pi)


def quadrant_potential(x: Any, y: Any, i: Any, j: Any) -> Any:
    """Evaluate `QuadrantPotential` through z^2 log z, of which it is the imaginary part up to piecewise quadratics."""
    x, y = np.broadcast_arrays(np.asarray(x, dtype=float) + 0.0, np.asarray(y, dtype=float) + 0.0)
    i, j = int(i), int(j)
    order = i + j
    # The shift keeps the logarithm finite at the corner; it multiplies zeros up to first order.
    z = np.where((x == 0) & (y == 0), 1e-30, x + 1j * y)
    angle = np.mod(np.angle(z), 2 * np.pi)
    logarithm = np.log(np.abs(z)) + 1j * angle
    if order == 0:
        value = z**2 * logarithm
    elif order == 1:
        value = 2 * z * logarithm + z
    elif order == 2:
        value = 2 * logarithm + 3
    else:
        value = 2 * (-1) ** (order - 3) * factorial(order - 3) / z ** (order - 2)
    harmonic = np.imag((1j) ** j * value) / (4 * np.pi)
    square_x = _quarter_square(x, i) if j == 0 else 0.0 * x
    square_y = _quarter_square(y, j) if i == 0 else 0.0 * y
    # The branch cut of the angle lies on y = 0: there the angle is 0, which belongs to the inside.
    inside = (x > 0) & (y >= 0)
    return harmonic + np.where(inside, square_x + square_y, square_y - square_x)


def _quarter_square(x: Any, order: int) -> Any:
    """Return the derivative of x^2 / 4."""
    return (0.25 * x**2, 0.5 * x, 0.5 + 0.0 * x)[order] if order <= 2 else 0.0 * x


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
    "QuadrantPotential": quadrant_potential,
    "StretchMap": stretch_map,
    "Clamp": lambda x, low, high: np.clip(x, low, high),
}
