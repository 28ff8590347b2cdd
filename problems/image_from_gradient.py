"""An image from its gradient.

    grad u = grad f   in (-1, 1)^2,   f the cosine series through the cells of an image, values from 0 to 1

Camera, 64 x 64 cells. The targets are the spectral derivatives of f, physical ones: no gain, no filter. Two equations for one field leave a constant
open, which is removed before errors and the signal-to-noise ratio are measured. Sobel filters of the released code converge to a blurred image.

Reference: Sitzmann et al. (2020), section 4.1 and figure 3.
"""

import sympy as sp

from pinnsiren.language import Box, Problem, coordinates, field, grad

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
        name="image_from_gradient",
        fields=[u],
        domain=Box({x: (-1, 1), y: (-1, 1)}),
        equations=[sp.Eq(grad(u), grad(target, over=(x, y)))],
        conditions=[],
        exact={u: target},
    )
