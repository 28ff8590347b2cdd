"""Cases of the wave equation in time: modes, layers, the pulse of the SIREN paper, a medium that varies, and random constants.

The lattice, the plane waves and the modes are Fourier methods in the clothes of features; the seeds move collocation points and checks only.
"""

from typing import Any

import numpy as np

import pinnsiren as ps
from pinnsiren.problems import load

from ..evidence_cases import DRAWS_ALLOWED_TO_MISS, Case, solve_auto

SECONDS = 120
DRAW_SEEDS = tuple(range(201, 211))
# Draws of several problems share one bar: ten times the strictest of those below but the modes.
LAYERED_BAR, PULSE_BAR, MODES_BAR, VARIABLE_BAR = 1e-6, 5e-3, 1e-8, 3e-2
ABSORBING_BAR = 1e-6  # -120 dB: no layer of a practical width reflects so little


def draw_wave_constants(seed: int) -> dict[str, Any]:
    """Return the constants of one random wave: in turn two modes, two layers, a pulse."""
    chance = np.random.default_rng(seed)
    kind = DRAW_SEEDS.index(seed) % 3
    if kind == 0:
        first, second = (int(m) for m in chance.choice(np.arange(1, 9), 2, replace=False))
        amplitudes = {first: float(chance.uniform(0.3, 1)), second: float(chance.uniform(-1, -0.3))}
        return {"name": "wave_two_modes", "c": float(chance.uniform(0.5, 4)), "amplitudes": amplitudes, "end": float(chance.uniform(0.5, 3))}
    if kind == 1:
        speeds = tuple(float(value) for value in np.exp(chance.uniform(np.log(0.4), np.log(2), 2)))
        deviation = float(chance.uniform(0.03, 0.06))
        at = float(chance.choice([-1, 1]) * chance.uniform(8 * deviation, 1 - 8 * deviation))
        constants = {"speeds": speeds, "at": at, "variance": deviation**2, "end": float(chance.uniform(0.5, 1.5))}
        return {"name": "wave_layered", **constants, "in_divergence": bool(chance.integers(2))}
    deviation = float(chance.uniform(0.02, 0.05))
    at = tuple(float(value) for value in chance.uniform(-0.3, 0.3, 2))
    return {"name": "wave_pulse", "c": float(chance.uniform(0.5, 1.5)), "variance": deviation**2, "amplitude": 1.0, "at": at, "end": 0.4}


def draw_medium_constants(seed: int) -> dict[str, Any]:
    """Return the constants of one random medium: contrast, place and width of the pulse, time."""
    chance = np.random.default_rng(seed)
    at = tuple(float(value) for value in chance.uniform(-0.3, 0.3, 2))
    constants = {"b": float(chance.uniform(-0.7, 0.7)), "at": at, "variance": float(chance.uniform(0.08, 0.12) ** 2)}
    return {**constants, "end": float(chance.uniform(0.5, 1.5))}


def draw_absorbing_constants(seed: int) -> dict[str, Any]:
    """Return the constants of one random pulse that leaves: speed, width, place seven deviations from the faces or more, time in which it is gone."""
    chance = np.random.default_rng(seed)
    deviation, speed = float(chance.uniform(0.03, 0.05)), float(chance.uniform(0.5, 3))
    at = tuple(float(value) for value in chance.uniform(-0.5 + 7.2 * deviation, 0.5 - 7.2 * deviation, 2))
    return {"c": speed, "variance": deviation**2, "at": at, "end": float(chance.uniform(0.8, 1.4)) / speed}


def _drawn(seed: int) -> ps.Problem:
    constants = draw_wave_constants(seed)
    return load(constants.pop("name"), **constants)


def _catalogue(name: str) -> Any:
    return lambda seed: load(name)


CASES: tuple[Case, ...] = (
    Case("wave_two_modes_auto", "`wave_two_modes`", "`auto`", SECONDS, MODES_BAR, 1e-12, "", _catalogue("wave_two_modes"), solve_auto),
    Case("wave_layered_auto", "`wave_layered`", "`auto`", SECONDS, LAYERED_BAR, 1e-12, "", _catalogue("wave_layered"), solve_auto),
    Case(
        "wave_pulse_auto", "`wave_pulse`", "`auto`", SECONDS, PULSE_BAR, 1e-5, "Sitzmann et al. (2020): pictures, 100,000 GPU steps",
        _catalogue("wave_pulse"), solve_auto,
    ),
    Case(
        "wave_variable_medium_auto", "`wave_variable_medium`, against the grid", "`auto`", SECONDS, VARIABLE_BAR, 5e-3,
        "PINNacle Wave2d-CG: 0.79", _catalogue("wave_variable_medium"), solve_auto, reference="grid",
    ),
    Case(
        "wave_absorbing_auto", "`wave_absorbing`, a pulse that leaves through layers", "`auto`", SECONDS, ABSORBING_BAR, 1e-10, "",
        _catalogue("wave_absorbing"), solve_auto,
    ),
    Case(
        "wave_absorbing_draws", "`wave_absorbing`, random constants", "`auto`", SECONDS, 10 * ABSORBING_BAR, None, "",
        lambda seed: load("wave_absorbing", **draw_absorbing_constants(seed)), solve_auto, seeds=DRAW_SEEDS,
        allowed_to_miss=DRAWS_ALLOWED_TO_MISS, constants=draw_absorbing_constants,
    ),
    Case(
        "wave_draws", "waves in uniform and layered media, random constants", "`auto`", SECONDS, 10 * LAYERED_BAR, None, "", _drawn, solve_auto,
        seeds=DRAW_SEEDS, allowed_to_miss=DRAWS_ALLOWED_TO_MISS, constants=draw_wave_constants,
    ),
    Case(
        "wave_medium_draws", "`wave_variable_medium`, random constants, against the grid", "`auto`", SECONDS, VARIABLE_BAR, None, "",
        lambda seed: load("wave_variable_medium", **draw_medium_constants(seed)), solve_auto, seeds=DRAW_SEEDS, reference="grid",
        allowed_to_miss=DRAWS_ALLOWED_TO_MISS, constants=draw_medium_constants,
    ),
)  # fmt: skip
