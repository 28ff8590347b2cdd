"""Cases of unknown coefficients: a wave speed, a viscosity and a conductivity field from observations, clean and noisy, and with random constants.

The error of a row is that of the worst of field, coefficient and scalar. Every seed of a noisy case draws its own noise, and its own points where
they are random.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import pinnsiren as ps
from pinnsiren.problems import load

from ..evidence_cases import Case, solve_auto

BUDGET = 120
DRAW_SEEDS = tuple(range(201, 211))
DRAW_FACTOR = 10  # random constants stay within ten times the bar
SPEEDS = (0.8, 5.0)  # of a search within 0.5 to 8 from 1
SHARPNESSES = (0.0, 6.0)  # of the conductivity; PINNacle has 2
CLEAN_SPEED, NOISY_SPEED = 1e-7, 3e-3
CLEAN_FIELD, NOISY_FIELD = 1e-6, 2e-2
VISCOSITIES = (0.003, 0.06)  # of a search within 0.001 to 0.1 from 0.03
CLEAN_VISCOSITY = 1e-3  # the default tolerance


def draw_speed(seed: int) -> dict[str, Any]:
    """Return a random wave speed, number of observations and their seed."""
    chance = np.random.default_rng(seed)
    return {"c": float(chance.uniform(*SPEEDS)), "observations": int(chance.integers(60, 120)), "seed": seed}


def draw_conductivity(seed: int) -> dict[str, Any]:
    """Return a random centre and sharpness of the conductivity."""
    chance = np.random.default_rng(seed)
    centre = tuple(float(value) for value in chance.uniform(0, 1, 2))
    return {"centre": centre, "sharpness": float(chance.uniform(*SHARPNESSES)), "seed": seed}


def draw_viscosity(seed: int) -> dict[str, Any]:
    """Return a random viscosity, evenly by ratio, number of observations and their seed."""
    chance = np.random.default_rng(seed)
    viscosity = VISCOSITIES[0] * (VISCOSITIES[1] / VISCOSITIES[0]) ** chance.random()
    return {"viscosity": float(viscosity), "observations": int(chance.integers(60, 150)), "seed": seed}


def _declare(name: str, draw: Callable[[int], dict[str, Any]] | None = None, **constants: Any) -> Callable[[int], ps.Problem]:
    def declare(seed: int) -> ps.Problem:
        return load(name, **{"seed": seed, **constants, **({} if draw is None else draw(seed))})

    return declare


def _case(name: str, title: str, bar: float, aim: float | None, elsewhere: str, declare: Callable[[int], ps.Problem], **more: Any) -> Case:
    return Case(name, title, "`auto`", BUDGET, bar, aim, elsewhere, declare, solve_auto, **more)


CASES: tuple[Case, ...] = (
    _case("wave_speed_clean", "`wave_speed`, 80 observations", CLEAN_SPEED, 1e-10, "", _declare("wave_speed")),
    _case("wave_speed_noisy", "`wave_speed`, 1 % noise", NOISY_SPEED, 3e-4, "", _declare("wave_speed", noise=0.01)),
    _case(
        "conductivity_clean", "`conductivity_field` (PInv with its source corrected)", CLEAN_FIELD, 1e-10, "2e-2 on the faulty one",
        _declare("conductivity_field"),
    ),
    _case(
        "conductivity_noisy", "`conductivity_field`, noise 0.01", NOISY_FIELD, 7e-3, "2e-2 on the faulty one",
        _declare("conductivity_field", noise=0.01),
    ),
    _case(
        "burgers_viscosity", "`burgers_viscosity`, 100 observations", CLEAN_VISCOSITY, None, "",
        _declare("burgers_viscosity"),
    ),
    _case(
        "burgers_viscosity_draws", "Burgers viscosity, random constants", DRAW_FACTOR * CLEAN_VISCOSITY, None, "",
        _declare("burgers_viscosity", draw_viscosity), seeds=DRAW_SEEDS, allowed_to_miss=0, constants=draw_viscosity,
    ),
    _case(
        "wave_speed_noisy_draws", "wave speed, random constants, 1 % noise", DRAW_FACTOR * NOISY_SPEED, None, "",
        _declare("wave_speed", draw_speed, noise=0.01), seeds=DRAW_SEEDS, allowed_to_miss=0, constants=draw_speed,
    ),
    _case(
        "wave_speed_draws", "wave speed, random constants", DRAW_FACTOR * CLEAN_SPEED, None, "", _declare("wave_speed", draw_speed),
        seeds=DRAW_SEEDS, allowed_to_miss=0, constants=draw_speed,
    ),
    _case(
        "conductivity_draws", "conductivity, random constants, noise 0.01", DRAW_FACTOR * NOISY_FIELD, None, "",
        _declare("conductivity_field", draw_conductivity, noise=0.01), seeds=DRAW_SEEDS, allowed_to_miss=0, constants=draw_conductivity,
    ),
)  # fmt: skip
