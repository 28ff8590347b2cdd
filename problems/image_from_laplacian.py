"""An image from its Laplacian and its values on the boundary.

    Lap u = Lap f   in (-1, 1)^2,   u = f on the boundary,   f the cosine series through the cells of an image, values from 0 to 1

Camera, 64 x 64 cells. The target is the spectral Laplacian of f, a physical one: no gain. Without the values on the boundary, which the released code
does not use, any harmonic function could be added.

Reference: Sitzmann et al. (2020), section 4.1 and figure 3.
"""

import sympy as sp

from pinnsiren.language import Box, Dirichlet, Problem, coordinates, field, laplacian

from ._images import image_function, shipped_image


def declare(*, image: str = "camera", size: int = 64) -> Problem:
    """Declare the problem.

    Args:
        image: name of an image inside scikit-image.
        size: cells along each side.
    """
    x, y = coordinates("x y")
    u = field("u", x, y)
    target = image_function(image, shipped_image(image, size), x, y)
    return Problem(
        name="image_from_laplacian",
        fields=[u],
        domain=Box({x: (-1, 1), y: (-1, 1)}),
        equations=[sp.Eq(laplacian(u), laplacian(target, over=(x, y)))],
        conditions=[Dirichlet(u, target)],
        exact={u: target},
    )
