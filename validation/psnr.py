"""Peak signal-to-noise ratio of images, and their picture: the measure of the literature on image reconstruction.

Input: a solution whose exact values are sampled data. Output: decibels over the cells of the image, and a figure.
"""

from typing import Any

import numpy as np
import sympy as sp
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sympy.core.function import AppliedUndef

from pinnsiren.errors import ProblemError
from pinnsiren.language import declaration_of
from pinnsiren.language.free_constants import free_constant_fields
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.sampled import SampledDeclaration
from pinnsiren.solution import Solution

from .plotting import add_colour_bar, new_figure, styled

Array = NDArray[np.float64]


def psnr(solution: Solution, image: Any = None, *, field: str | None = None, peak: float = 1.0) -> float:
    """Return the peak signal-to-noise ratio in decibels, 10 log10(peak^2 / mean squared error) over the samples of the image.

    Where the problem leaves a constant open, the mean difference is removed first, and nothing else: no gain is fitted.

    Args:
        solution: of a problem with two coordinates.
        image: expression with sampled data; the exact solution of the problem when None.
        field: name of the field; needed when there are several.
        peak: largest value that pixels can have, 1 for values from 0 to 1, 2 for values from -1 to 1.

    Raises:
        ProblemError: no image to compare with, or a peak that is not positive.
    """
    if not peak > 0:
        raise ProblemError(f"psnr was given peak={peak}; expected a positive number, the range of the pixel values")
    found, true = on_cells(solution, image, field)
    error = float(np.mean((found - true) ** 2))
    return float(10 * np.log10(peak**2 / max(error, 1e-300)))


def on_cells(solution: Solution, image: Any = None, field: str | None = None) -> tuple[Array, Array]:
    """Return a field and its image at the samples, each (n_1, n_2); a free constant of the field is replaced by that of the image."""
    problem = solution.problem
    names = [declaration_of(candidate).name for candidate in problem.fields]
    name = str(names[0] if field is None and len(names) == 1 else field)
    if name not in names:
        raise ProblemError(f"psnr of `{problem.name}` was asked for the field {field!r}; expected one of {', '.join(names)}")
    target = (problem.exact or {}).get(problem.field_named(name)) if image is None else image
    axes = _axes_of(target, problem.coordinates) if isinstance(target, sp.Basic) else None
    if axes is None:
        raise ProblemError(
            f"psnr of `{problem.name}` has no image to compare `{name}` with; pass image=..., an expression with sampled data of "
            f"({', '.join(map(str, problem.coordinates))})"
        )
    grid = np.meshgrid(*axes, indexing="ij")
    points = np.stack([axis.ravel() for axis in grid], axis=1)
    true = np.real(evaluate_on(target, problem.coordinates, points)).reshape(grid[0].shape)
    found = np.real(solution[name].at(points)).reshape(grid[0].shape)
    if name in free_constant_fields(problem):
        found = found - found.mean() + true.mean()
    return found, true


def _axes_of(target: Any, coordinates: tuple[sp.Symbol, ...]) -> tuple[Array, ...] | None:
    """Return the positions of the finest sampled data in an expression."""
    nodes = [node for node in target.atoms(AppliedUndef) if isinstance(declaration_of(node), SampledDeclaration) and node.args == coordinates]
    if not nodes:
        return None
    finest = max((declaration_of(node) for node in nodes), key=lambda declaration: (declaration.values.size, declaration.name))
    return tuple(finest.axes)


@styled
def draw_images(solution: Solution, image: Any = None, *, field: str | None = None, peak: float = 1.0) -> Figure:
    """Draw the image, what was found, and their difference, with the signal-to-noise ratio above."""
    found, true = on_cells(solution, image, field)
    ratio = psnr(solution, image, field=field, peak=peak)
    figure, axes = new_figure(1, 3, width=11.0, height=4.1, title=f"{solution.problem.name}: {ratio:.1f} dB")
    for plot, values, title in zip(axes[0], (true, found, found - true), ("image", "found", "difference"), strict=True):
        limit = float(np.max(np.abs(values))) or 1.0
        scale = {"vmin": -limit, "vmax": limit, "cmap": "RdBu_r"} if title == "difference" else {"vmin": 0.0, "vmax": peak, "cmap": "gray"}
        shown = plot.imshow(values.T, origin="lower", interpolation="nearest", **scale)
        plot.set_title(title)
        plot.set_axis_off()
        if title == "difference":
            add_colour_bar(figure, plot, shown)
    return figure
