"""Helmholtz equation without source, three plane waves given on the boundary.

    Lap u + k^2 u = 0   in (0, 1)^2,   u = sum_j a_j exp(-i k (x cos t_j + y sin t_j))   on the boundary

k = 20, 3.2 wavelengths across; amplitudes 1, i/2, -0.3 and directions 0.3, 1.9, 4.0 radians, so that no symmetry of the box helps. The squared
wavenumber 400 lies between the Dirichlet eigenvalues 40 pi^2 = 394.8 and 41 pi^2 = 404.7 of the box: well posed, though small data errors grow.
"""

from collections.abc import Sequence

import sympy as sp

from pinnsiren.language import Box, Dirichlet, Problem, coordinates, field, laplacian


def declare(
    *, k: float = 20, amplitudes: Sequence[complex] = (1.0, 0.5j, -0.3), directions: Sequence[float] = (0.3, 1.9, 4.0)
) -> Problem:
    """Declare the problem.

    Args:
        k: wavenumber; its square should not be a Dirichlet eigenvalue pi^2 (m^2 + n^2) of the box.
        amplitudes: a_j, one per wave.
        directions: t_j, angles of propagation in radians, one per wave.
    """
    x, y = coordinates("x y")
    u = field("u", x, y, complex=True)
    phases = [sp.exp(-sp.I * k * (x * sp.cos(angle) + y * sp.sin(angle))) for angle in directions]
    exact = sp.Add(*[sp.sympify(amplitude) * phase for amplitude, phase in zip(amplitudes, phases, strict=True)])
    return Problem(
        name="helmholtz_plane_wave",
        fields=[u],
        domain=Box({x: (0, 1), y: (0, 1)}),
        equations=[laplacian(u) + k**2 * u],
        conditions=[Dirichlet(u, exact)],
        exact={u: exact},
    )
