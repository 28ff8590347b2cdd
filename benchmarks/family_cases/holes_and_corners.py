"""Cases of Poisson's equation on domains with holes and corners, and in a ball, with draws of their constants.

Input: nothing. Output: `CASES`, and per family a function of a seed that draws constants nobody tuned.
"""

from typing import Any

import numpy as np
import sympy as sp

import pinnsiren as ps
from pinnsiren.problems import load

from ..evidence_cases import Case, solve_auto

SECONDS = 120
DRAW_SEEDS = tuple(range(301, 311))
ALLOWED_TO_MISS = 0  # draws stay within ten times the bar


def draw_annulus(seed: int) -> dict[str, Any]:
    """Return the constants of an eccentric annulus: hole of radius 0.1 to 0.6, at least 0.05 away from the outer circle."""
    chance = np.random.default_rng(seed)
    inner = float(chance.uniform(0.1, 0.6))
    distance, angle = float(chance.uniform(0, 0.95 - inner)), float(chance.uniform(0, 2 * np.pi))
    return {
        "inner": inner,
        "centre": (distance * float(np.cos(angle)), distance * float(np.sin(angle))),
        "a": float(chance.uniform(-2, 2)),
        "b": float(chance.uniform(1, 5)),
        "charge": float(chance.normal()),
        "dipole": float(chance.normal()),
    }


def draw_holes(seed: int) -> dict[str, Any]:
    """Return one to five discs of one radius, 0.04 to 0.15, at least 0.04 away from each other and from the square."""
    chance = np.random.default_rng(seed)
    radius, wanted = float(chance.uniform(0.04, 0.15)), int(chance.integers(1, 6))
    centres: list[tuple[float, float]] = []
    for _ in range(1000):
        at = chance.uniform(-0.46 + radius, 0.46 - radius, 2)
        if len(centres) < wanted and all(np.hypot(*(at - other)) > 2 * radius + 0.04 for other in centres):
            centres.append((float(at[0]), float(at[1])))
    return {"centres": tuple(centres), "radius": radius, "outer": float(chance.normal()), "inner": float(chance.normal())}


def draw_ball(seed: int) -> dict[str, Any]:
    """Return the constants of a ball."""
    chance = np.random.default_rng(seed)
    return {
        "radius": float(chance.uniform(0.5, 2)),
        "contrast": float(chance.uniform(-0.15, 0.8)),
        "p": float(chance.uniform(0.5, 2.5)),
        "q": float(chance.uniform(0.5, 2.5)),
    }


def declare_sector(seed: int) -> ps.Problem:
    """Declare a disc without a wedge: opening 190 to 345 degrees, turned; a singular part, not harmonic, plus a smooth one.

    u = r^p (1 + c x) sin(p theta) + cos(a x) exp(b y), p = pi/opening, theta from one side to the other, x and y about the corner.
    """
    chance = np.random.default_rng(seed)
    opening, turn = float(np.radians(chance.uniform(190, 345))), float(chance.uniform(0, 2 * np.pi))
    corner, (a, b, c) = chance.uniform(-0.3, 0.3, 2), chance.uniform(-2, 2, 3)
    x, y = ps.coordinates("x y")
    u = ps.field("u", x, y)
    to_x, to_y = x - sp.Float(corner[0]), y - sp.Float(corner[1])
    along, across = (f(sp.Float(turn)) for f in (sp.cos, sp.sin))
    angle = sp.atan2(along * to_y - across * to_x, along * to_x + across * to_y)  # zero along the middle of the domain
    p = sp.Float(np.pi / opening)
    exact = (to_x**2 + to_y**2) ** (p / 2) * sp.cos(p * angle) * (1 + c * to_x) + sp.cos(a * to_x) * sp.exp(b * to_y)
    wedge = [turn + np.pi - (np.pi - opening / 2), turn + np.pi + (np.pi - opening / 2)]
    far = 10 / max(np.cos(np.pi - opening / 2), 0.05)  # the third side of the wedge stays outside of the disc
    points = [tuple(corner), *((corner[0] + far * np.cos(w), corner[1] + far * np.sin(w)) for w in wedge)]
    domain = ps.Disk({x: 0, y: 0}, 1) - ps.Polygon((x, y), [(float(v), float(w)) for v, w in points])
    declared = ps.Problem(
        name=f"sector_{seed}", fields=[u], domain=domain, equations=[ps.laplacian(u)], conditions=[ps.Dirichlet(u, 0)]
    )
    return ps.manufactured(declared, {u: exact})


def _catalogue(name: str) -> Any:
    return lambda seed: load(name)


def _drawn(name: str, draw: Any) -> Any:
    return lambda seed: load(name, **draw(seed))


def _draws(name: str, title: str, bar: float, declare: Any, constants: Any = None) -> Case:
    return Case(
        name, title, "`auto`", SECONDS, 10 * bar, None, "", declare, solve_auto, seeds=DRAW_SEEDS, allowed_to_miss=ALLOWED_TO_MISS,
        constants=constants or (lambda seed: {}),
    )  # fmt: skip


CASES: tuple[Case, ...] = (
    Case(
        "poisson_annulus", "`poisson_annulus`", "`auto`", SECONDS, 1e-6, 1e-12, "FastLSQ: 1e-7 on smooth data", _catalogue("poisson_annulus"),
        solve_auto,
    ),
    Case(
        "poisson_four_holes", "`poisson_four_holes` (PINNacle Poisson2d-C)", "`auto`", SECONDS, 1e-4, 1e-6,
        "PINNacle: 1.2e-2; preconditioned network 4e-3", _catalogue("poisson_four_holes"), solve_auto,
    ),
    Case(
        "poisson_four_holes_screened", "`poisson_four_holes_screened` (PINNacle Poisson2d-CG), against the grid", "`auto`", SECONDS, 5e-4, None,
        "PINNacle: 1.4e-2; preconditioned network 5e-3", _catalogue("poisson_four_holes_screened"), solve_auto, reference="grid",
    ),
    Case("poisson_l_shape", "`poisson_l_shape`", "`auto`", SECONDS, 1e-4, 1e-8, "", _catalogue("poisson_l_shape"), solve_auto),
    Case("poisson_ball", "`poisson_ball`", "`auto`", SECONDS, 1e-4, 1e-6, "", _catalogue("poisson_ball"), solve_auto),
    _draws("annulus_draws", "annuli, random constants", 1e-6, _drawn("poisson_annulus", draw_annulus), draw_annulus),
    _draws("holes_draws", "squares with holes, random constants", 1e-4, _drawn("poisson_four_holes", draw_holes), draw_holes),
    _draws("sector_draws", "re-entrant corners, random constants", 1e-4, declare_sector),
    _draws("ball_draws", "balls, random constants", 1e-4, _drawn("poisson_ball", draw_ball), draw_ball),
)  # fmt: skip
