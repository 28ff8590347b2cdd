"""Cases of trained deep networks on problems in time: a string, a shock layer, and random constants of both.

Network and budget are given, the method, its settings and the start of the network are chosen from the declaration (and a coarse solve of it).
"""

from math import pi
from typing import Any

import numpy as np

import pinnsiren as ps
from pinnsiren.problems import load

from ..evidence_cases import DRAWS_ALLOWED_TO_MISS, Case

SECONDS = 120
DRAW_SEEDS = tuple(range(201, 211))
BURGERS_DRAW_SEEDS = tuple(range(201, 206))
DRAW_FACTOR = 10  # random constants stay within ten times the bar
WAVE_BAR, BURGERS_BAR = 3e-4, 1e-3
TOLERANCE = 1e-4  # asked for: a run that meets the usual 1e-3 stops there
ON_WAVES = f"trained `Siren(width=32, depth=2)`, tolerance {TOLERANCE:.0e}"
ON_FRONTS = f"trained `Siren(width=20, depth=3)`, Gauss-Newton, tolerance {TOLERANCE:.0e}"


def draw_wave_constants(seed: int) -> dict[str, Any]:
    """Return a random speed and two or three random modes with random amplitudes of either sign."""
    chance = np.random.default_rng(seed)
    modes = chance.choice(np.arange(1, 6), int(chance.integers(2, 4)), replace=False)
    amplitudes = {int(mode): float(chance.choice([-1, 1]) * chance.uniform(0.3, 1)) for mode in modes}
    return {"c": float(chance.uniform(0.5, 2.5)), "amplitudes": amplitudes}


def draw_viscosity(seed: int) -> dict[str, Any]:
    """Return a random viscosity in [0.01, 0.05]/pi."""
    return {"viscosity": float(np.exp(np.random.default_rng(seed).uniform(np.log(0.01), np.log(0.05))) / pi)}


def train_on_wave(problem: ps.Problem, seconds: float, seed: int) -> Any:
    """Train a deep SIREN; the method is chosen."""
    network = ps.Siren(width=32, depth=2)
    return ps.solve(problem, network=network, tolerance=TOLERANCE, seconds=seconds, seed=seed, device="cpu", progress=False)


def train_on_front(problem: ps.Problem, seconds: float, seed: int) -> Any:
    """Train a deep SIREN by Gauss-Newton."""
    network = ps.Siren(width=20, depth=3)
    return ps.solve(
        problem, network=network, method="GaussNewton", tolerance=TOLERANCE, seconds=seconds, seed=seed, device="cpu", progress=False
    )


CASES: tuple[Case, ...] = (
    Case(
        "wave_two_modes_trained", "`wave_two_modes`", ON_WAVES, SECONDS, WAVE_BAR, 3e-5,
        "JAXPI2: 1.2e-5 after 100,000 GPU steps", lambda seed: load("wave_two_modes"), train_on_wave,
    ),
    Case(
        "wave_modes_trained_draws", "modes of a string, random speed, modes and amplitudes", ON_WAVES, SECONDS,
        DRAW_FACTOR * WAVE_BAR, None, "", lambda seed: load("wave_two_modes", **draw_wave_constants(seed)), train_on_wave, seeds=DRAW_SEEDS,
        allowed_to_miss=DRAWS_ALLOWED_TO_MISS, constants=draw_wave_constants,
    ),
    Case(
        "burgers_trained", "`burgers`, nu = 0.01/pi", ON_FRONTS, SECONDS, BURGERS_BAR, 1e-5, "",
        lambda seed: load("burgers"), train_on_front,
    ),
    Case(
        "burgers_trained_draws", "Burgers, random viscosity", ON_FRONTS, SECONDS, DRAW_FACTOR * BURGERS_BAR,
        None, "", lambda seed: load("burgers", **draw_viscosity(seed)), train_on_front, seeds=BURGERS_DRAW_SEEDS,
        allowed_to_miss=1, constants=draw_viscosity,
    ),
)  # fmt: skip
