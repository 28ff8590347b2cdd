"""All pictures of an inversion by name, for the report.

Input: a solution of an inverse Helmholtz problem, or of waves in time that were inverted per frequency. Output: figures; none for any other problem.

A method that keeps the misfit of every iteration writes it into the history: per field as `misfit_<field>`, |P u - d| / |d|, NaN where the field took
no part; or of all frequencies together as `phi` or `misfit`, the mean square of the relative misfits over their noise, one at the floor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pinnsiren.language import PML, Box, declaration_of

from .inversion_data_figures import Gather, draw_gathers, draw_misfits, draw_survey
from .inversion_in_time import is_in_time, per_frequency, time_gathers
from .inversion_model_figures import draw_bands, draw_gradient, draw_medium
from .inversion_reading import Survey, first_gradient, is_inversion, medium_of, surveys_of
from .inversion_scores import speed_scores

Array = NDArray[Any]

MISFIT_COLUMN = "misfit_"
TOGETHER = ("phi", "misfit")


def inversion_figures(solution: Any) -> dict[str, Figure]:
    """Return the figures of an inversion: gathers, misfit, survey, medium, gradient, bands; empty for a problem that is none.

    Of waves in time the gathers are traces, and `spectra` are what was inverted.
    """
    if is_in_time(solution):
        figures = inversion_figures(per_frequency(solution))
        spectra = figures.pop("gathers")
        return {**figures, "gathers": draw_gathers(f"{solution.problem.name}: traces", time_gathers(solution)), "spectra": spectra}
    problem = solution.problem
    if not is_inversion(problem):
        return {}
    surveys = surveys_of(problem)
    medium = medium_of(solution)
    name = problem.name
    gathers = [Gather(s.label, s.observed, s.predicted(solution), s.noise) for s in surveys]
    sources, receivers = _positions(surveys)
    figures = {
        "medium": draw_medium(_headline(solution), medium),
        "gathers": draw_gathers(f"{name}: data", gathers),
        "misfit": _misfits(solution, surveys, gathers),
        "survey": _survey_map(problem, sources, receivers),
    }
    gradient = first_gradient(problem)
    if gradient is not None:
        figures["gradient"] = draw_gradient(f"{name}: first gradient", medium.symbols, *gradient, sources, receivers)
    bands = draw_bands(f"{name}: resolution", medium, max(s.wavenumber for s in surveys))
    if bands is not None:
        figures["bands"] = bands
    return figures


def _headline(solution: Any) -> str:
    (medium,) = solution.problem.coefficients
    if medium not in (solution.problem.exact or {}):
        return f"{solution.problem.name}: medium"
    scores = speed_scores(solution)
    return f"{solution.problem.name}: speed off by {scores.relative_l2:.1%} (start {scores.of_start[0]:.1%})"


def _positions(surveys: tuple[Survey, ...]) -> tuple[Array, Array]:
    """All sources and receivers, each once."""
    sources = np.unique(np.concatenate([s.sources for s in surveys]), axis=0)
    return sources, np.unique(np.concatenate([s.receivers.reshape(-1, 2) for s in surveys]), axis=0)


def _misfits(solution: Any, surveys: tuple[Survey, ...], gathers: list[Gather]) -> Figure:
    columns = solution.history.columns
    history = {}
    for survey in surveys:
        column = columns.get(f"{MISFIT_COLUMN}{survey.field}", ())
        history[survey.label] = np.array([np.nan if value is None else value for value in column], dtype=float)
    start = [next((float(v) for v in history[s.label] if np.isfinite(v)), None) for s in surveys]
    together = next((np.asarray(columns[name], dtype=float) for name in TOGETHER if name in columns), np.zeros(0))
    return draw_misfits(
        f"{solution.problem.name}: misfit",
        [s.label for s in surveys],
        [g.misfit for g in gathers],
        [s.noise for s in surveys],
        start,
        history,
        np.sqrt(np.where(together > 0, together, np.nan)),
    )


def _survey_map(problem: Any, sources: Array, receivers: Array) -> Figure:
    (medium,) = problem.coefficients
    support = declaration_of(medium).support
    box = tuple(problem.domain.bounds[symbol] for symbol in problem.coordinates)
    inner = tuple(support.bounds[symbol] for symbol in problem.coordinates) if isinstance(support, Box) else None
    layer = next((c.width for c in problem.conditions if isinstance(c, PML)), None)
    return draw_survey(f"{problem.name}: survey", problem.coordinates, box, sources, receivers, layer=layer, support=inner)  # type: ignore[arg-type]


