"""Signed distance of a box from 20,000 oriented points on it: edges and corners make kinks inside.

    |grad u| = 1   in (-1, 1)^3,   u = 0 and grad u . n = 1 on the points,   exp(-100 |u|) small elsewhere

Half sides 0.5, 0.4 and 0.3; u is negative inside.

Reference: Sitzmann et al. (2020), Implicit neural representations with periodic activation functions, equation 6.
"""

import numpy as np
import sympy as sp

from pinnsiren.language import Box, Constraint, Dirichlet, Neumann, PointCloud, Problem, coordinates, field, grad


def declare(*, half_sides: tuple[float, float, float] = (0.5, 0.4, 0.3), n_points: int = 20_000, seed: int = 1) -> Problem:
    """Declare the problem.

    Args:
        half_sides: of the box.
        n_points: oriented points, evenly by area.
        seed: of the points.
    """
    x, y, z = coordinates("x y z")
    u = field("u", x, y, z)
    shape = Box({symbol: (-half, half) for symbol, half in zip((x, y, z), half_sides, strict=True)})
    cloud, everywhere = PointCloud.of(shape, n_points, seed), Box({symbol: (-1, 1) for symbol in (x, y, z)})
    return Problem(
        name="sdf_box",
        fields=[u],
        domain=everywhere,
        equations=[sp.Eq(grad(u).dot(grad(u)), 1)],
        conditions=[Dirichlet(u, 0, on=cloud), Neumann(u, 1, on=cloud), Constraint(sp.exp(-100 * sp.Abs(u)), on=everywhere)],
        exact={u: lambda *points: shape.signed_distance(np.stack(points, axis=-1))},
    )
