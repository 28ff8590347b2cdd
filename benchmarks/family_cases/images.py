"""Cases of `make evidence`: images from their gradient, from their Laplacian, and the fusion of two.

Input: nothing. Output: `CASES`, and `draw_image`, problems that nobody tuned. Bars are given in decibels (peak signal-to-noise ratio, values from 0
to 1, free constant removed, targets the spectral derivatives of the cosine series through the cells), and turned into relative L2 errors here.
"""

from typing import Any

import numpy as np

import pinnsiren as ps
from pinnsiren.problems import load

from ..evidence_cases import Case, solve_auto

SECONDS = 120
# Root mean square of the camera at 64 x 64: of its values, and of its deviation from the mean, which counts where a constant is free.
VALUES, DEVIATION = 0.578, 0.279
ELSEWHERE = "Sitzmann et al. (2020): pictures; SIREN 256 x 3 by hand 46 dB (64 x 64), 22 dB (128 x 128)"
DRAW_SEEDS = tuple(range(201, 211))
IMAGES = ("astronaut", "brick", "camera", "coffee", "coins", "grass", "gravel", "moon", "rocket")


def relative_error(decibels: float, size: float) -> float:
    """Return the relative L2 error of an image of root mean square `size` at a peak signal-to-noise ratio, peak 1."""
    return float(10 ** (-decibels / 20) / size)


def draw_constants(seed: int) -> dict[str, Any]:
    """Return the constants of one random problem: image, cells, kind and shares."""
    chance = np.random.default_rng(seed)
    kind = ("gradient", "laplacian", "fusion")[seed % 3]
    first, second = (str(name) for name in chance.choice(IMAGES, 2, replace=False))
    return {"kind": kind, "first": first, "second": second, "size": int(chance.integers(24, 90)), "share": float(chance.uniform(0.2, 0.8))}


def draw_image(seed: int) -> ps.Problem:
    """Declare one random image problem."""
    c = draw_constants(seed)
    if c["kind"] == "fusion":
        return load("image_fusion", images=(c["first"], c["second"]), size=c["size"], share=c["share"])
    return load(f"image_from_{c['kind']}", image=c["first"], size=c["size"])


def _camera(name: str, size: int) -> Any:
    def declare(seed: int) -> ps.Problem:
        del seed
        return load(name, size=size)

    return declare


def _case(name: str, problem: str, size: int, decibels: tuple[float, float | None], scale: float) -> Case:
    bar, aim = decibels
    text = f"{bar} dB" + (f", aim {aim} dB" if aim else "")
    title = f"`{problem}`, camera {size} x {size}, spectral targets, bar {text}"
    aimed = relative_error(aim, scale) if aim else None
    return Case(name, title, "`auto`", SECONDS, relative_error(bar, scale), aimed, ELSEWHERE, _camera(problem, size), solve_auto)


CASES: tuple[Case, ...] = (
    _case("image_gradient_64", "image_from_gradient", 64, (42, 50), DEVIATION),
    _case("image_gradient_128", "image_from_gradient", 128, (22, 28), DEVIATION),
    _case("image_laplacian_64", "image_from_laplacian", 64, (30, 36), VALUES),
    _case("image_fusion_64", "image_fusion", 64, (42, None), DEVIATION),
    Case(
        "image_draws", "images, random ones of random size", "`auto`", SECONDS, relative_error(42, DEVIATION), None, "", draw_image, solve_auto,
        seeds=DRAW_SEEDS, allowed_to_miss=0, constants=draw_constants,
    ),
)  # fmt: skip
