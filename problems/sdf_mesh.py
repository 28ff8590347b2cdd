"""Signed distance of an octagonal nut, a triangle mesh that ships inside pyvista, from 20,000 oriented points on it.

    |grad u| = 1   in (-1, 1)^3,   u = 0 and grad u . n = 1 on the points,   exp(-100 |u|) small elsewhere

The mesh has 1046 faces and a hole; its longest side is scaled to 1.4, its middle moved to the origin. u is negative inside. The exact distance is
that from the triangles, which the method does not see. Without pyvista the declaration says what to install.

Reference: Sitzmann et al. (2020), Implicit neural representations with periodic activation functions, equation 6; Sullivan and Kaszynski (2019),
PyVista, J. Open Source Softw. 4, 1450, file examples/nut.ply.
"""

import numpy as np
import sympy as sp

from pinnsiren.language import Box, Constraint, Dirichlet, Neumann, PointCloud, Problem, coordinates, field, grad

from ._meshes import shipped_mesh


def declare(*, mesh: str = "nut", size: float = 1.4, n_points: int = 20_000, seed: int = 1) -> Problem:
    """Declare the problem.

    Args:
        mesh: one that ships inside pyvista, `"nut"` or `"sphere"`.
        size: longest side.
        n_points: oriented points, evenly by area.
        seed: of the points.
    """
    x, y, z = coordinates("x y z")
    u = field("u", x, y, z)
    body = shipped_mesh(mesh, (x, y, z)).placed(centre=(0, 0, 0), size=size)
    cloud, everywhere = PointCloud.from_mesh(body, n_points, seed), Box({symbol: (-1, 1) for symbol in (x, y, z)})
    return Problem(
        name="sdf_mesh",
        fields=[u],
        domain=everywhere,
        equations=[sp.Eq(grad(u).dot(grad(u)), 1)],
        conditions=[Dirichlet(u, 0, on=cloud), Neumann(u, 1, on=cloud), Constraint(sp.exp(-100 * sp.Abs(u)), on=everywhere)],
        exact={u: lambda *points: body.signed_distance(np.stack(points, axis=-1))},
    )
