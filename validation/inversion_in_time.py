"""An inversion of waves in time, as the pictures want it: gathers in time, and the same solution per frequency for all else.

Input: a solution that holds a medium and waves in time. Output: gathers of observed and predicted traces; the solution of its Helmholtz twin, which
has the medium, the survey and the misfit of every frequency.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pinnsiren.solution import Solution
from pinnsiren.training.reduced.time_model import TimeModel
from pinnsiren.training.reduced.time_run import compiled_twin

from .inversion_data_figures import MOST_ROWS, Gather


def is_in_time(solution: Any) -> bool:
    """Whether a solution is that of an inversion of waves in time."""
    return isinstance(getattr(solution, "model", None), TimeModel)


def per_frequency(solution: Solution) -> Solution:
    """Return the solution of the Helmholtz equations that the traces were turned into: the same medium, fields per frequency."""
    model = solution.model
    assert isinstance(model, TimeModel)
    twin, compiled = compiled_twin(solution.problem)
    return replace(solution, problem=twin.problem, plan=replace(solution.plan, problem=twin.problem, compiled=compiled), model=model.inner)


def time_gathers(solution: Solution) -> list[Gather]:
    """Return one gather per shot, of the first set of traces: times down, receivers across."""
    model = solution.model
    assert isinstance(model, TimeModel)
    traces, predicted = model.twin.survey.traces[0], model.predicted_traces()[0]
    deviation, gathers = traces.deviation, []
    for shot in np.unique(np.linspace(0, len(predicted) - 1, MOST_ROWS).round().astype(int)):
        observed, instants = traces.values[shot], traces.instants_of(int(shot), 0) + model.twin.survey.span[0]
        rms = float(np.sqrt(np.mean(observed**2)))
        gathers.append(
            Gather(
                label=f"shot {shot + 1}",
                observed=observed.T,
                predicted=predicted[shot].T,
                # The level of all traces, relative to those of the shot.
                noise=None if deviation is None or rms == 0 else deviation / rms,
                rows=str(model.twin.survey.time),
                extent=(float(instants[0]), float(instants[-1])),
            )
        )
    return gathers
