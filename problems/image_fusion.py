"""The fusion of two images through their gradients.

    grad u = a grad f + (1 - a) grad g   in (-1, 1)^2,   f and g cosine series through the cells of two images, values from 0 to 1

Camera and astronaut, 64 x 64 cells, a = 1/2. Targets are spectral derivatives. The mixed gradient is that of u = a f + (1 - a) g; a constant
stays open.

Reference: Sitzmann et al. (2020), section 4.1 and figure 3 (gradient fusion).
"""

import sympy as sp

from pinnsiren.language import Box, Problem, coordinates, field, grad

from ._images import image_function, shipped_image


def declare(*, images: tuple[str, str] = ("camera", "astronaut"), size: int = 64, share: float = 0.5) -> Problem:
    """Declare the problem.

    Args:
        images: names of two images inside scikit-image.
        size: cells along each side.
        share: a, the share of the first image.
    """
    x, y = coordinates("x y")
    u = field("u", x, y)
    first, second = (image_function(name, shipped_image(name, size), x, y) for name in images)
    mixture = share * first + (1 - share) * second
    return Problem(
        name="image_fusion",
        fields=[u],
        domain=Box({x: (-1, 1), y: (-1, 1)}),
        equations=[sp.Eq(grad(u), grad(mixture, over=(x, y)))],
        conditions=[],
        exact={u: mixture},
    )
