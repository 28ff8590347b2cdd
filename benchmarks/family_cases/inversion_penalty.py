"""Full-waveform inversion by the penalty formulation: the SIREN paper's measurements, and media that nobody tuned.

Input: nothing; the paper's file lies beside the checkout in `../shared/data`, its case is left out where it is absent. Output: `CASES`, whose error
is that of the worst of fields and squared slowness at points of the declared box, edges of the medium included; `draw_medium`; and, by
`python -m benchmarks.family_cases.inversion_penalty [paper|draws] SEED ...`, the error of the speed in |x|, |y| < 0.3 on 31 x 31 points
against the squared slowness averaged over their cells, beside its estimate.

Data of drawn discs come from their series, of two objects and bumps from a fourth-order grid of half the spacing: neither inverts them.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import sympy as sp
from scipy.io import loadmat

import pinnsiren as ps
from pinnsiren.reference_solvers.closed_forms import penetrable_disc
from pinnsiren.reference_solvers.evaluation import cell_average
from pinnsiren.reference_solvers.frequency_domain import Discretisation, Grid, Shots, simulate

from ..evidence_cases import Case
from .inversion import WORST, judge_speed

PAPER = Path(__file__).resolve().parents[3] / "shared" / "data" / "siren_fwi_cylinder.mat"
PAPER_NOISE, NOISE = 0.0173, 0.02
K, VARIANCE, AMPLITUDE = 20.0, 1e-4, 1 + 1j
HALF_SIDE, WINDOW, STEP = 0.5, 0.3, 0.02
BOUNDS = (0.05, 3.0)
SECONDS = 120
BAR, AIM = 0.07, 0.025
DRAW_SEEDS = tuple(range(301, 311))
DRAW_WAVENUMBERS = (12.0, 20.0)
N_SOURCES, N_RECEIVERS = 8, 32
X, Y = ps.coordinates("x y")
Medium = Callable[[Any, Any], Any]


def disc(radius: float, speed: float, centre: tuple[float, float] = (0.0, 0.0)) -> Medium:
    """Return the squared slowness of a disc in a medium of speed one."""
    return lambda x, y: np.where((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2, speed**-2, 1.0)


def draw_medium(seed: int) -> tuple[str, dict[str, Any], Medium]:
    """Return the kind, the constants and the squared slowness of a random medium: a disc, two discs of different sign, or a smooth bump."""
    chance = np.random.default_rng(seed)
    kind = ("disc", "two discs", "bump")[seed % 3]
    if kind == "disc":
        speed = float(chance.uniform(1.3, 2) if chance.uniform() < 0.5 else chance.uniform(0.7, 0.9))
        one = {"radius": float(chance.uniform(0.07, 0.15)), "speed": speed, "centre": tuple(map(float, chance.uniform(-0.1, 0.1, 2)))}
        return kind, one, disc(**one)
    if kind == "two discs":
        turn = chance.uniform(0, np.pi)
        apart = chance.uniform(0.12, 0.15) * np.array([np.cos(turn), np.sin(turn)])
        fast = {"radius": float(chance.uniform(0.07, 0.1)), "speed": float(chance.uniform(1.25, 1.6)), "centre": tuple(map(float, apart))}
        slow = {"radius": float(chance.uniform(0.06, 0.09)), "speed": float(chance.uniform(0.7, 0.85)), "centre": tuple(map(float, -apart))}
        return kind, {"fast": fast, "slow": slow}, lambda x, y: disc(**fast)(x, y) + disc(**slow)(x, y) - 1
    width, height = float(chance.uniform(0.06, 0.09)), float(chance.uniform(0.2, 0.5) * chance.choice([-1, 1]))
    centre = chance.uniform(-0.08, 0.08, 2)
    constants = {"width": width, "height": height, "centre": tuple(map(float, centre))}
    return kind, constants, lambda x, y: 1 + height * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2))


def declare(
    name: str, k: tuple[float, ...], sources: Any, receivers: Any, data: Any, noise: float, exact: Callable[..., Any] | None = None
) -> ps.Problem:
    """Declare an inversion: one field per wavenumber, loose bounds, a uniform start.

    Args:
        name: of the problem.
        k: wavenumbers.
        sources: (n_shots, 2).
        receivers: (n_receivers, 2).
        data: (n_wavenumbers, n_shots, n_receivers).
        noise: relative to the root mean square.
        exact: (fields, medium symbol) -> exact solution, if known.
    """
    m = ps.unknown_field("m", X, Y, initial=1, bounds=BOUNDS, support=ps.Box({X: (-WINDOW, WINDOW), Y: (-WINDOW, WINDOW)}))
    fields = [ps.field(f"u{number}", X, Y, complex=True, shots=len(sources)) for number in range(len(k))]
    shots = ps.SourceFamily([ps.GaussianSource(at={X: float(a), Y: float(b)}, variance=VARIANCE, amplitude=AMPLITUDE) for a, b in sources])
    return ps.Problem(
        name=name,
        fields=fields,
        domain=ps.Box({X: (-HALF_SIDE, HALF_SIDE), Y: (-HALF_SIDE, HALF_SIDE)}),
        equations=[sp.Eq(ps.laplacian(u) + wavenumber**2 * m * u, shots) for u, wavenumber in zip(fields, k, strict=True)],
        conditions=[
            *[ps.PML(u, width=0.5, strength=5) for u in fields],
            *[ps.Observations(u, receivers, values, noise=noise) for u, values in zip(fields, data, strict=True)],
        ],
        exact=None if exact is None else exact(fields, m),
    )


def declare_paper(seed: int = 0) -> ps.Problem:
    """Declare the inversion of the paper's measurements: a disc of radius 0.1 and speed 2."""
    del seed
    file = loadmat(PAPER)
    exact = _exact_disc((K,), file["source"], {"radius": 0.1, "speed": 2.0, "centre": (0.0, 0.0)})
    return declare("fwi_paper", (K,), file["source"], file["receivers"], file["rec_val"].T[None], PAPER_NOISE, exact)


def declare_draw(seed: int) -> ps.Problem:
    """Declare the inversion of a drawn medium, with 2 % noise of the same seed."""
    kind, constants, medium = draw_medium(seed)
    sources, receivers = _ring(N_SOURCES, 0.42, 0.1), _ring(N_RECEIVERS, 0.46, 0.2)
    exact = _exact_disc(DRAW_WAVENUMBERS, sources, constants) if kind == "disc" else None
    clean = _disc_data(sources, receivers, constants) if kind == "disc" else _grid_data(sources, receivers, medium)
    real, imaginary = np.random.default_rng(seed + 1).normal(size=(2, *clean.shape))
    rms = np.sqrt(np.mean(np.abs(clean) ** 2, axis=(1, 2), keepdims=True))
    return declare(f"fwi_draw_{seed}", DRAW_WAVENUMBERS, sources, receivers, clean + NOISE * rms * (real + 1j * imaginary) / np.sqrt(2), NOISE, exact)


def window_error(solution: Any, medium: Medium) -> float:
    """Return the relative L2 error of the speed in the open window, against the squared slowness averaged over the cells."""
    axis = np.linspace(-WINDOW, WINDOW, round(2 * WINDOW / STEP) + 1)
    truth = cell_average(medium, (axis, axis), (STEP, STEP))
    x, y = np.meshgrid(axis, axis, indexing="ij")
    inside = np.maximum(np.abs(x), np.abs(y)) < WINDOW - 0.5 * STEP
    found, speed = solution["m"](x=x[inside], y=y[inside]) ** -0.5, truth[inside] ** -0.5
    return float(np.linalg.norm(found - speed) / np.linalg.norm(speed))


def solve_penalty(problem: ps.Problem, seconds: float, seed: int) -> Any:
    """Solve by the penalty formulation, with nothing else set."""
    return ps.solve(problem, formulation="penalty", seconds=seconds, seed=seed, device="cpu", progress=False)


def _ring(count: int, radius: float, turn: float) -> np.ndarray:
    angle = turn + 2 * np.pi * np.arange(count) / count
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _waves(k: float, sources: Any, constants: dict[str, Any]) -> list[Callable[..., Any]]:
    centre = constants["centre"]
    inner = {"radius": constants["radius"], "inner_speed": constants["speed"], "centre": centre}
    return [penetrable_disc(k=k, at=tuple(at), variance=VARIANCE, amplitude=AMPLITUDE, **inner) for at in np.asarray(sources)]


def _disc_data(sources: Any, receivers: Any, constants: dict[str, Any]) -> np.ndarray:
    return np.stack([[wave(*receivers.T) for wave in _waves(k, sources, constants)] for k in DRAW_WAVENUMBERS])


def _grid_data(sources: Any, receivers: Any, medium: Medium) -> np.ndarray:
    grid = Grid.over(((-HALF_SIDE, HALF_SIDE), (-HALF_SIDE, HALF_SIDE)), 0.5 * STEP)
    cells, shots = cell_average(medium, grid.axes, grid.step), Shots.at(sources, AMPLITUDE, VARIANCE)
    operators = (Discretisation(grid, k, cells, scheme="order4") for k in DRAW_WAVENUMBERS)
    return np.stack([simulate(operator, cells, shots, receivers, background=1.0) for operator in operators])


def _exact_disc(wavenumbers: tuple[float, ...], sources: Any, constants: dict[str, Any]) -> Callable[..., Any]:
    def exact(fields: list[Any], m: Any) -> dict[Any, Any]:
        stacks = [_waves(k, sources, constants) for k in wavenumbers]
        solutions: dict[Any, Any] = {
            u: lambda x, y, waves=waves: np.stack([wave(x, y) for wave in waves]) for u, waves in zip(fields, stacks, strict=True)
        }
        a, b = constants["centre"]
        inside = (X - a) ** 2 + (Y - b) ** 2 < constants["radius"] ** 2
        return {**solutions, m: sp.Piecewise((constants["speed"] ** -2, inside), (1, True))}

    return exact


def _case(name: str, title: str, declared: Callable[[int], ps.Problem], **more: Any) -> Case:
    return Case(name, title, "penalty formulation", SECONDS, BAR, AIM, "IR-WRI", declared, solve_penalty, measure=judge_speed, worst=WORST, **more)


CASES: tuple[Case, ...] = (
    *((_case("inversion_penalty_paper", "the paper's measurements", declare_paper),) if PAPER.exists() else ()),
    _case(
        "inversion_penalty_draws", "ten drawn discs, two wavenumbers, 2 % noise", lambda seed: declare_draw(3 * seed), seeds=DRAW_SEEDS,
        allowed_to_miss=1, constants=lambda seed: draw_medium(3 * seed)[1],
    ),
)  # fmt: skip


def report(which: str, seeds: list[int]) -> None:
    """Print error of the speed, estimate, misfit and cost per seed."""
    for seed in seeds:
        kind, constants, medium = ("paper", {}, disc(0.1, 2.0)) if which == "paper" else draw_medium(seed)
        problem = declare_paper() if which == "paper" else declare_draw(seed)
        begun = process_time()
        solution = solve_penalty(problem, SECONDS * 10, seed)
        error, cost = window_error(solution, medium), process_time() - begun
        print(f"{kind} {seed}: speed {error:.4f}, estimate {solution.estimated_error:.4f}, {solution.status.code}, ", end="")
        print(f"phi {solution.history['phi'][-1]:.2f}, {len(solution.history)} iterations, {cost:.0f} s of the processor; {constants}", flush=True)


if __name__ == "__main__":
    report(sys.argv[1] if len(sys.argv) > 1 else "paper", [int(seed) for seed in sys.argv[2:]] or [0])
