"""A conductivity field from observations of the potential: PINNacle's PInv, with its source corrected.

    -div(a grad u) = f   in (0, 1)^2,   u = 0 on the boundary,   a unknown
    u = sin(pi x) sin(pi y),   a = 1 / (1 + x^2 + y^2 + (x - 1)^2 + (y - 1)^2)

f is the divergence of the true flux. PINNacle's code has 2 x + 1 and 2 y + 1 where it needs 2 x - 1 and 2 y - 1, so that its truth leaves a
residual of 36 % of the source; errors on the corrected problem do not compare with the published 2e-2. u is observed on 50 x 50 cell centres;
noise, if any, is normal with the given standard deviation (u has the maximum 1), and declared. The search starts from a uniform conductivity.
Reference: Hao et al. (2023), PINNacle, arXiv 2306.08827, section B.
"""

from typing import Any

import numpy as np
import sympy as sp

from pinnsiren.language import Box, Dirichlet, Observations, Problem, coordinates, div, field, grad, unknown_field


def declare(
    *, centre: tuple[float, float] = (0.5, 0.5), sharpness: float = 2, side: int = 50, noise: float = 0, start: float = 0.4, seed: int = 0
) -> Problem:
    """Declare the problem.

    Args:
        centre, sharpness: of the conductivity 1 / (2 + sharpness |x - centre|^2), which is PINNacle's for (0.5, 0.5) and 2.
        side: observations along each side.
        noise: standard deviation of the observations.
        start: initial value of the conductivity.
        seed: of the noise.
    """
    x, y = coordinates("x y")
    u, a = field("u", x, y), unknown_field("a", x, y, initial=start, bounds=(0.05, 5))
    potential = sp.sin(sp.pi * x) * sp.sin(sp.pi * y)
    conductivity = 1 / (2 + sharpness * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2))
    source = -sum(sp.diff(conductivity * potential.diff(symbol), symbol) for symbol in (x, y))
    points, values = _observe(sp.lambdify([x, y], potential, "numpy"), side, noise, seed)
    relative = noise / float(np.sqrt(np.mean(values**2)))
    return Problem(
        name="conductivity_field",
        fields=[u],
        domain=Box({x: (0, 1), y: (0, 1)}),
        equations=[sp.Eq(-div(a * grad(u)), source)],
        conditions=[Dirichlet(u, 0), Observations(u, points, values, noise=relative or None)],
        exact={u: potential, a: conductivity},
    )


def _observe(potential: Any, side: int, noise: float, seed: int) -> tuple[Any, Any]:
    centres = (np.arange(side) + 0.5) / side
    points = np.stack([axis.ravel() for axis in np.meshgrid(centres, centres, indexing="ij")], axis=1)
    return points, potential(*points.T) + noise * np.random.default_rng(seed).normal(size=len(points))
