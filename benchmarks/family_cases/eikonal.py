"""Cases of travel times, with constants that nobody tuned.

Input: nothing. Output: `CASES`. The bars are relative L2 here, which is close to the mean relative error of the family's table.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import pinnsiren as ps
from pinnsiren.problems import load

from ..evidence_cases import Case, solve_auto

DRAW_SEEDS = tuple(range(201, 211))
DRAWS_ALLOWED_TO_MISS = 1


def draw_anomalies(seed: int, contrast: float) -> dict[str, Any]:
    """Return the constants of a medium: two anomalies of either sign inside the unit square, a gradient, a source anywhere."""
    chance = np.random.default_rng(seed)
    anomalies = tuple(
        (float(contrast * chance.uniform(0.4, 1) * chance.choice([-1, 1])), tuple(map(float, chance.uniform(0.25, 0.75, 2))), float(deviation))
        for deviation in chance.uniform(0.1, 0.2, 2)
    )
    return {"gradient": float(chance.uniform(0, 0.5)), "anomalies": anomalies, "at": tuple(map(float, chance.uniform(0.05, 0.95, 2)))}


def _drawn(name: str, contrast: float) -> Callable[[int], ps.Problem]:
    def declare(seed: int) -> ps.Problem:
        return load(name, **draw_anomalies(seed, contrast))

    return declare


def _catalogue(name: str) -> Callable[[int], ps.Problem]:
    def declare(seed: int) -> ps.Problem:
        del seed
        return load(name)

    return declare


def declare_gradient(seed: int) -> ps.Problem:
    """Declare a speed that grows with depth, with constants of its own."""
    chance = np.random.default_rng(seed)
    at = (float(chance.uniform(0.1, 1.9)), float(chance.uniform(0, 0.4)))
    return load("eikonal_gradient", speed=float(chance.uniform(0.8, 2.5)), gradient=float(chance.uniform(0.2, 1.2)), at=at)


def _case(name: str, title: str, bar: float, aim: float, elsewhere: str, declare: Callable[[int], ps.Problem], reference: str) -> Case:
    return Case(name, title, "`auto`", 120, bar, aim, elsewhere, declare, solve_auto, reference=reference)


def _draws(name: str, title: str, bar: float, declare: Callable[[int], ps.Problem], constants: Callable[[int], Any], reference: str) -> Case:
    return Case(
        name, title, "`auto`", 120, bar, None, "", declare, solve_auto, seeds=DRAW_SEEDS, reference=reference,
        allowed_to_miss=DRAWS_ALLOWED_TO_MISS, constants=constants,
    )  # fmt: skip


_NONE: Callable[[int], dict[str, Any]] = lambda seed: {}  # noqa: E731
_SWEEPING = "factored sweeping on 401 x 401: 3e-4 with a kink"

CASES: tuple[Case, ...] = (
    _case("eikonal_gradient", "`eikonal_gradient`", 5e-5, 2e-7, "NES 2e-3, scikit-fmm 2.9e-3", _catalogue("eikonal_gradient"), "exact"),
    _case("eikonal_two_anomalies", "`eikonal_two_anomalies`, against the grid", 1e-4, 2e-5, _SWEEPING, _catalogue("eikonal_two_anomalies"), "grid"),
    _case("eikonal_crossing", "`eikonal_crossing`, against the grid", 1e-3, 3e-4, _SWEEPING, _catalogue("eikonal_crossing"), "grid"),
    _case("eikonal_several_sources", "`eikonal_several_sources`, against the grid", 1e-4, 2e-5, "", _catalogue("eikonal_several_sources"), "grid"),
    _draws("eikonal_gradient_draws", "eikonal, random gradients", 5e-4, declare_gradient, _NONE, "exact"),
    _draws(
        "eikonal_weak_draws", "eikonal, random weak anomalies", 1e-3, _drawn("eikonal_two_anomalies", 0.25),
        lambda seed: draw_anomalies(seed, 0.25), "grid",
    ),
    _draws(
        "eikonal_strong_draws", "eikonal, random strong anomalies", 1e-2, _drawn("eikonal_crossing", 0.4),
        lambda seed: draw_anomalies(seed, 0.4), "grid",
    ),
)  # fmt: skip
