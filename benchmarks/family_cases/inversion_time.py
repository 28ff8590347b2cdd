"""Cases of full-waveform inversion from traces in time: the two discs of the catalogue, one disc with a badly known wavelet, random discs.

The error is that of `inversion.judge_speed`. Data are multipole series at complex frequencies, summed to instants, with normal noise of every seed;
neither the frequency-domain scheme that inverts nor the explicit one that checks in time made them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import pinnsiren as ps
from pinnsiren.problems import load

from ..evidence_cases import DRAWS_ALLOWED_TO_MISS, Case
from .inversion import DRAW_BAR, WORST, judge_speed

SECONDS = 180
DRAW_SEEDS = tuple(range(501, 511))
# An amplitude a fifth too large and a phase thirty degrees off.
WRONG_WAVELET = {"amplitude": 1.2, "phase": float(np.pi / 6)}
ONE_DISC = (((0.04, -0.03), 0.12, 1.5),)


def draw_survey(seed: int) -> dict[str, Any]:
    """Return the constants of one random survey: disc, wavelet, length of the records, sampling, geometry, noise."""
    chance = np.random.default_rng(seed)
    radius = float(chance.uniform(0.07, 0.14))
    reach = 0.24 - radius
    speed = float(chance.uniform(0.7, 0.88) if chance.random() < 0.4 else chance.uniform(1.2, 2.0))
    frequency = float(chance.uniform(1.3, 2.3))
    end = float(chance.uniform(2.2, 3.4) + 1 / frequency)
    return {
        "discs": ((tuple(float(value) for value in chance.uniform(-reach, reach, 2)), radius, speed),),
        "frequency": frequency,
        "end": end,
        "samples": int(end * frequency * chance.uniform(9, 16)),
        "sources": int(chance.integers(4, 9)),
        "receivers": int(chance.integers(18, 33)),
        "noise": float(chance.uniform(0.01, 0.05)),
        "seed": seed,
    }


def declare_drawn(seed: int) -> ps.Problem:
    """Declare a random survey."""
    return load("fwi_wave_time", **draw_survey(seed))


def solve(problem: ps.Problem, seconds: float, seed: int) -> Any:
    """Solve with nothing set."""
    return ps.solve(problem, seconds=seconds, seed=seed, device="cpu", progress=False)


def solve_estimating(problem: ps.Problem, seconds: float, seed: int) -> Any:
    """Solve with the wavelet estimated."""
    return ps.solve(problem, method=ps.ReducedInversion(estimate_amplitudes=True), seconds=seconds, seed=seed, device="cpu", progress=False)


def _case(name: str, title: str, bar: float, aim: float | None, declare: Callable[[int], ps.Problem], solver: Any = solve, **more: Any) -> Case:
    method = "`auto`" if solver is solve else "`ReducedInversion(estimate_amplitudes=True)`"
    return Case(name, title, method, SECONDS, bar, aim, "", declare, solver, measure=judge_speed, worst=WORST, **more)


CASES: tuple[Case, ...] = (
    _case("fwi_time_two_discs", "traces in time, two discs of different sign, 2 % noise", 0.05, 0.03, lambda seed: load("fwi_wave_time", seed=seed)),
    _case(
        "fwi_time_wrong_wavelet", "traces in time, one disc, wavelet wrong by 20 % and 30 degrees, 2 % noise", 0.06, None,
        lambda seed: load("fwi_wave_time", discs=ONE_DISC, seed=seed, **WRONG_WAVELET), solve_estimating,
    ),
    _case(
        "fwi_time_draws", "traces in time, one disc, random constants", DRAW_BAR, None, declare_drawn, seeds=DRAW_SEEDS,
        allowed_to_miss=DRAWS_ALLOWED_TO_MISS, constants=draw_survey,
    ),
)  # fmt: skip
