"""Figure of the zero set of a signed distance in space.

Input: a solution whose field vanishes on a cloud of oriented points. Output: the extracted surface from two sides, beside a cut.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped,unused-ignore]

from pinnsiren.errors import PinnsirenError
from pinnsiren.language import Dirichlet, PointCloud, declaration_of
from pinnsiren.solution import Solution

from .plotting import BLUE, DPI, INK, styled
from .surfaces import Surface, extract_surface

POINTS_PER_AXIS = 64
VIEWS = ((25, -60), (55, 30))  # elevation and azimuth, degrees
LIGHT = np.array([0.3, -0.5, 0.81])
AMBIENT = 0.45


def draw_zero_set(solution: Solution) -> Figure | None:
    """Draw the surface on which the field of a signed distance in space vanishes; None for other problems, or without scikit-image."""
    names = {declaration_of(c.field).name for c in solution.problem.conditions if isinstance(c, Dirichlet) and isinstance(c.on, PointCloud)}
    if len(names) != 1 or len(solution.problem.coordinates) != 3:
        return None
    try:
        surface = extract_surface(solution, names.pop(), points_per_axis=POINTS_PER_AXIS)
    except PinnsirenError:
        return None
    return draw_surface(surface, f"{solution.problem.name}: zero set, {len(surface.faces)} triangles")


@styled
def draw_surface(surface: Surface, title: str) -> Figure:
    """Draw a surface from two sides, lit from above."""
    figure = Figure(figsize=(9.0, 4.6), dpi=DPI)
    figure.suptitle(title, x=0.012, ha="left", fontsize=12, fontweight="bold", color=INK)
    corners = surface.vertices[surface.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(float).tiny)
    bright = AMBIENT + (1 - AMBIENT) * np.clip(normals @ LIGHT, 0, 1)
    blue = np.array([int(BLUE[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    colours = np.clip(bright[:, None] * (0.35 + 0.65 * blue), 0, 1)
    low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
    middle, half = (low + high) / 2, float(np.max(high - low)) / 2
    for index, (elevation, azimuth) in enumerate(VIEWS):
        axes: Any = figure.add_axes((0.01 + 0.49 * index, 0.07, 0.44, 0.84), projection="3d", computed_zorder=False)
        axes.add_collection3d(Poly3DCollection(corners, facecolors=colours, edgecolors=colours, linewidths=0.2))
        for axis, centre, symbol in zip("xyz", middle, surface.coordinates, strict=True):
            getattr(axes, f"set_{axis}lim")(centre - half, centre + half)
            getattr(axes, f"set_{axis}label")(f"${symbol}$")
            getattr(axes, f"{axis}axis").set_pane_color((1, 1, 1, 0))
        axes.set_box_aspect((1, 1, 1))
        axes.locator_params(nbins=4)
        axes.view_init(elevation, azimuth)
    return figure
