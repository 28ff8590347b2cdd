"""Cases of full-waveform inversion of Marmousi2: the catalogue's declaration from its smooth start and from a trend with depth, nothing else set.

The number of a row is the larger of RMSE over the opponent's and of 1 - SSIM over the opponent's, of the speed below the water: below one, the medium
is closer than that of classical FWI by both. The opponent has the same data, bounds and start, and as many wave solves at least: a run that takes
more does not count. Input: the frozen scores of `reference_checks/inversion_marmousi2.py`, without which there are no rows.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

import pinnsiren as ps
from pinnsiren.problems import load
from pinnsiren.problems.fwi_marmousi2 import MODELS, UNITS

from ..evidence_cases import Case, solve_auto
from ..reference_checks.inversion_marmousi2 import KEPT, crop_nodes, kept_methods, kept_scores, score_speed, true_model

SECONDS = 1200
STARTS = {"smooth": "its smooth version", "trend": "a trend with depth"}
NAMES = {"smooth": "fwi_marmousi2_smooth", "trend": "fwi_marmousi2_1d"}


def declare_from(start: str) -> Callable[[int], ps.Problem]:
    """Return a function that declares the problem: one draw of the noise, that of the opponents. Seeds draw network and traces held back."""

    def declare(seed: int) -> ps.Problem:
        del seed
        problem = load("fwi_marmousi2", start=start)
        # `judge_against` looks at the medium only: zero stands for the fields.
        return replace(problem, exact={**dict.fromkeys(problem.fields, sp.Integer(0)), **(problem.exact or {})})

    return declare


def judge_against(start: str) -> Callable[[ps.Problem, Any], tuple[float, dict[str, float]]]:
    """Return a function that compares a solution with the opponent's scores from the same start."""

    def judge(problem: ps.Problem, solution: Any) -> tuple[float, dict[str, float]]:
        del problem
        opponent, (x, z, below) = kept_scores(start), crop_nodes()
        found = np.asarray(solution["m"](x=x, z=z))
        true = UNITS.squared_slowness(true_model().values)
        scores = score_speed(UNITS.speed * found**-0.5)
        solves = float(solution.history.columns["wave_solves"][-1])
        ratios = scores["rmse"] / opponent["rmse"], (1 - scores["ssim"]) / (1 - opponent["ssim"])
        measures = {
            **scores,
            "wave_solves": solves,
            **{f"opponent_{name}": float(opponent[name]) for name in ("rmse", "ssim", "wave_solves")},
            "estimated": float(np.linalg.norm((found - true)[below]) / np.linalg.norm(true[below])),
        }
        return max(ratios) if solves <= opponent["wave_solves"] else np.inf, measures

    return judge


def describe_opponents(start: str) -> str:
    """Return the frozen scores, and what was published elsewhere."""
    rows = {method: kept_scores(start, method) for method in kept_methods(start)}
    named = {"classical": "classical FWI", "ir_wri": "IR-WRI"}
    scores = "; ".join(f"{named[method]}: RMSE {row['rmse']:.0f} m/s, SSIM {row['ssim']:.3f}" for method, row in rows.items())
    return f"{scores}; implicit FWI on a larger crop: SSIM 0.38 to 0.61 in 9.6 h on a GPU"


CASES: tuple[Case, ...] = tuple(
    Case(
        NAMES[start], f"Marmousi2 crop from {text}, against classical FWI (RMSE, 1 - SSIM)", "`auto`", SECONDS, 1.0, None,
        describe_opponents(start), declare_from(start), solve_auto, measure=judge_against(start),
    )
    for start, text in STARTS.items() if MODELS.is_dir() and KEPT.is_file()
)  # fmt: skip
