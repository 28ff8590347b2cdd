"""All figures of one solution, by name: a field each, the history, the residual.

Input: a solution and, if there is one, its reference. Output: Matplotlib figures.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pinnsiren.errors import PinnsirenError
from pinnsiren.language import declaration_of
from pinnsiren.language.free_constants import free_constant_fields
from pinnsiren.solution import Solution

from .diagnostic_figures import draw_history, draw_residual
from .field_figures import Picture, draw_field
from .inversion_report import inversion_figures
from .residual import declared_residual
from .surface_figure import draw_zero_set
from .views import View, view_of

Array = NDArray[Any]
References = Mapping[str, Callable[[Array], Array]]

# Wavenumbers up to 128 pi over the side of the domain, 20 wavelengths of the catalogue's Helmholtz problems; a line can afford more.
_TRANSFORM_POINTS = {1: 1024, 2: 128}
_WORDS = {"exact": "exact", "grid": "grid solver", "given": "given"}


def draw_figures(solution: Solution, reference: References | None = None, kind: str = "", tolerance: float | None = None) -> dict[str, Figure]:
    """Draw all figures of a solution.

    Args:
        solution: what to show.
        reference: a function of points (n, n_coordinates) per field name.
        kind: of the reference: `"exact"`, `"grid"` or `"given"`.
        tolerance: drawn into the history.

    Returns:
        `field_<name>` for every field, `zero_set` of a signed distance in space, `history`, `residual`; of an inversion also `medium`, `gathers`,
        `misfit`, `survey`, `gradient`, `bands` (of waves in time also `spectra`). What cannot be drawn is left out.
    """
    name = solution.problem.name
    figures: dict[str, Figure] = {}
    view = view_of(solution.problem.domain)
    for candidate in solution.problem.fields:
        label = declaration_of(candidate).name
        true = reference.get(label) if reference else None
        found, exact = _on_view(solution, label, view, true)
        title = f"{name}: field {label}" if len(solution.problem.fields) > 1 else name
        if declaration_of(candidate).shots:
            title += " (first shot)"
        picture = Picture(title, label, view, found, exact, _WORDS.get(kind, kind), tuple(solution.cores))
        figures[f"field_{label}"] = draw_field(picture)
    figures |= inversion_figures(solution)
    zero_set = draw_zero_set(solution)
    if zero_set is not None:
        figures["zero_set"] = zero_set
    history = draw_history(solution.history.columns, f"{name}: history", tolerance)
    if history is not None:
        figures["history"] = history
    residual = _residual_figure(solution, reference)
    if residual is not None:
        figures["residual"] = residual
    return figures


def _on_view(solution: Solution, label: str, view: View, true: Callable[[Array], Array] | None) -> tuple[Array, Array | None]:
    """Values and reference on a view; a free constant is removed from both."""
    found = view.on_grid(solution[label].at)
    exact = None if true is None else view.on_grid(true)
    if exact is not None and label in free_constant_fields(solution.problem):
        found, exact = found - np.nanmean(found), exact - np.nanmean(exact)
    return found, exact


def _residual_figure(solution: Solution, reference: References | None) -> Figure | None:
    domain = solution.problem.domain
    view = view_of(domain, _TRANSFORM_POINTS[min(len(domain.coordinates), 2)])
    try:
        residual = view.on_grid(lambda points: declared_residual(solution, points))
    except PinnsirenError:
        # The equation holds what a solution cannot be asked for; the other figures stand without it.
        return None
    found: dict[str, Array] = {}
    errors: dict[str, Array] = {}
    for candidate in solution.problem.fields[:1]:
        label = declaration_of(candidate).name
        true = reference.get(label) if reference else None
        found[label], exact = _on_view(solution, label, view, true)
        if exact is not None:
            errors[label] = found[label] - exact
    return draw_residual(f"{solution.problem.name}: residual", view, tuple(solution.cores), residual, found, errors)
