"""Closed form: the viscous Burgers equation by the Cole-Hopf transformation.

    u_t + u u_x = nu u_xx,   u(x, 0) = -sin(pi x)
    u(x, t) = - int sin(pi (x - s)) f(x - s) exp(-s^2/(4 nu t)) ds  /  int f(x - s) exp(-s^2/(4 nu t)) ds,   f(y) = exp(-cos(pi y)/(2 pi nu))

The solution is odd and has period 2, so that it vanishes at x = -1, 0, 1. The integrand is a sum of narrow peaks where nu is small: the integral is
a trapezoidal sum over two periods either side, which converges geometrically for an analytic integrand that vanishes at the ends, with the exponent
shifted by its largest value.

Reference: Cole (1951), Quart. Appl. Math. 9; Basdevant et al. (1986), Computers and Fluids 14, for this initial value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

RealArray = NDArray[Any]

# exp(-38) = 3e-17.
_NEGLIGIBLE = 38.0
# The trapezoidal sum of exp(-s^2/(2 w^2)) with step w/2 errs by 2 exp(-2 pi^2 w^2/step^2) = 1e-34; a third of the narrowest peak leaves room.
_STEPS_PER_WIDTH = 3.0
_CHUNK = 2_000_000


@dataclass(frozen=True)
class BurgersSine:
    """The solution for u(x, 0) = -sin(pi x), callable as `solution(x, t)`.

    Attributes:
        viscosity: nu.
    """

    viscosity: float

    def __call__(self, x: ArrayLike, t: ArrayLike) -> RealArray:
        """Values at points and times >= 0, broadcast.

        Raises:
            ReferenceSolverError: a negative time.
        """
        x, t = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(t, dtype=float))
        if t.size and t.min() < 0:
            raise ReferenceSolverError(f"the solution of Burgers' equation starts at t = 0; it was asked at t = {t.min():g}")
        result = np.array(-np.sin(np.pi * x))
        for instant in np.unique(t[t > 0]):
            chosen = t == instant
            result[chosen] = self._at(x[chosen], float(instant))
        return result

    def _at(self, x: RealArray, instant: float) -> RealArray:
        offsets = self._offsets(instant)
        result = np.empty(x.shape)
        rows = max(1, _CHUNK // len(offsets))
        for start in range(0, len(x), rows):
            y = x[start : start + rows, None] - offsets
            exponent = -np.cos(np.pi * y) / (2 * np.pi * self.viscosity) - offsets**2 / (4 * self.viscosity * instant)
            weight = np.exp(exponent - exponent.max(axis=1, keepdims=True))
            result[start : start + rows] = -np.sum(np.sin(np.pi * y) * weight, axis=1) / np.sum(weight, axis=1)
        return result

    def _offsets(self, instant: float) -> RealArray:
        """Nodes of the trapezoidal sum: as far as the integrand is not negligible, as fine as its narrowest peak.

        The second derivative of the exponent is at most 1/(2 nu t) + pi/(2 nu): a peak is a Gaussian of variance 1/that or wider. The cosine gives
        the exponent at s at most 1/(pi nu) more than at 0, the square takes s^2/(4 nu t): the reach follows from both.
        """
        nu = self.viscosity
        width = np.sqrt(1 / (1 / (2 * nu * instant) + np.pi / (2 * nu)))
        reach = np.sqrt(4 * nu * instant * (_NEGLIGIBLE + 1 / (np.pi * nu)))
        count = int(np.ceil(reach / width * _STEPS_PER_WIDTH))
        return np.linspace(-reach, reach, 2 * count + 1)


def burgers_sine(viscosity: float = 0.01 / np.pi) -> BurgersSine:
    """Viscous Burgers equation on (-1, 1) with u(x, 0) = -sin(pi x) and u = 0 at both ends.

    Args:
        viscosity: nu; 0.01/pi is the usual test, whose front is steepest (slope -152) at t = 0.51.

    Raises:
        ReferenceSolverError: a viscosity that is not positive.

    Example:
        >>> solution = burgers_sine()
        >>> round(float(solution(-0.5, 0.5)), 6)
        0.59277
    """
    if not viscosity > 0:
        raise ReferenceSolverError(f"Burgers' equation was given the viscosity {viscosity}; expected a positive number")
    return BurgersSine(float(viscosity))
