"""Signed distance of a torus from 20,000 oriented points on it, with the terms of the SIREN paper.

    |grad u| = 1   in (-1, 1)^3,   u = 0 and grad u . n = 1 on the points,   exp(-100 |u|) small elsewhere

Radii 0.55 and 0.22, axis z; u is negative inside. The exact distance is sqrt((sqrt(x^2 + y^2) - R)^2 + z^2) - r.

Reference: Sitzmann et al. (2020), Implicit neural representations with periodic activation functions, equation 6.
"""

import numpy as np
import sympy as sp

from pinnsiren.language import Box, Constraint, Dirichlet, Neumann, PointCloud, Problem, coordinates, field, grad


def declare(*, radius: float = 0.55, tube: float = 0.22, n_points: int = 20_000, seed: int = 1) -> Problem:
    """Declare the problem.

    Args:
        radius: of the circle in the middle of the tube.
        tube: radius of the tube.
        n_points: oriented points, evenly by area.
        seed: of the points.
    """
    x, y, z = coordinates("x y z")
    u = field("u", x, y, z)
    cloud = PointCloud((x, y, z), *_torus(radius, tube, n_points, seed))
    everywhere = Box({symbol: (-1, 1) for symbol in (x, y, z)})
    return Problem(
        name="sdf_torus",
        fields=[u],
        domain=everywhere,
        equations=[sp.Eq(grad(u).dot(grad(u)), 1)],
        conditions=[Dirichlet(u, 0, on=cloud), Neumann(u, 1, on=cloud), Constraint(sp.exp(-100 * sp.Abs(u)), on=everywhere)],
        exact={u: lambda a, b, c: np.hypot(np.hypot(a, b) - radius, c) - tube},
    )


def _torus(radius: float, tube: float, n_points: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw points evenly by area, and their normals: the area element is proportional to the distance from the axis."""
    around, chance, choice = np.random.default_rng(seed).uniform(size=(3, 4 * n_points))
    angle, turn = 2 * np.pi * chance, 2 * np.pi * around
    kept = choice < (radius + tube * np.cos(angle)) / (radius + tube)
    angle, turn = angle[kept][:n_points], turn[kept][:n_points]
    normals = np.stack([np.cos(turn) * np.cos(angle), np.sin(turn) * np.cos(angle), np.sin(angle)], axis=1)
    return radius * np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1) + tube * normals, normals
