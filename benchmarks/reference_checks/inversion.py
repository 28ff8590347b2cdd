"""The frozen opponent of the neural inversion: classical FWI and IR-WRI on the paper's disc, on two objects and on Marmousi2.

Input: nothing; measured data and Marmousi2 lie beside the checkout in `../shared/data` and their cases are left out where it is absent. Output:
`CHECKS`; `python -m benchmarks.reference_checks.inversion` writes acquisition, frequencies, regularisation and scores to
`benchmarks/results/inversion_opponent.json`.

Data never come from the operator that inverts: they are measured, or computed by another scheme on a grid twice as fine. The declared noise is
the noise that was added and the numerical error of the inverting operator, estimated on the start.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.io import loadmat
from scipy.ndimage import gaussian_filter

from pinnsiren.reference_solvers.evaluation import cell_average
from pinnsiren.reference_solvers.frequency_domain import Discretisation, Grid, Shots, simulate
from pinnsiren.reference_solvers.inversion import (
    Acquisition,
    ClassicalInversion,
    InversionResult,
    Modelling,
    Simulator,
    WavefieldReconstruction,
    with_noise,
)

from ..evidence_checks import Check, Quantity

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
OPPONENT = Path(__file__).resolve().parents[1] / "results" / "inversion_opponent.json"
SQUARE = ((-0.5, 0.5), (-0.5, 0.5))
WINDOW = 0.3
PAPER_NOISE, NOISE = 0.0173, 0.02
# Hz: the lowest that the smooth start needs, the highest that four points per wavelength carry in water.
MARMOUSI_FREQUENCIES = (1.5, 2.0, 2.6, 3.3, 4.2)
VELOCITY_BAR, SECONDS_BAR, DATA_BAR = 0.07, 60.0, 0.019
# Of a run against the score kept in the JSON file: rounding and threads move where L-BFGS stops.
DRIFT = 1.25


@dataclass(frozen=True)
class Case:
    """One frozen inversion problem.

    Attributes:
        name: as in the JSON file.
        acquisition: measurements and noise.
        modelling: of the inversion.
        start, truth: squared slowness (n_x, n_y).
        active: where it may change, and where scores are taken.
        inversions: settings by method.
    """

    name: str
    acquisition: Acquisition
    modelling: Modelling
    start: np.ndarray
    truth: np.ndarray
    active: np.ndarray
    inversions: dict[str, ClassicalInversion | WavefieldReconstruction]


def paper_case() -> Case:
    """The measurements of the SIREN paper; truth: a disc of radius 0.1 and speed 2."""
    file = loadmat(DATA / "siren_fwi_cylinder.mat")
    grid = Grid.over(SQUARE, 0.02)
    acquisition = Acquisition.of(
        angular_frequencies=20.0,
        sources=file["source"],
        receivers=file["receivers"],
        measurements=file["rec_val"].T,
        noise=PAPER_NOISE,
        amplitudes=1 + 1j,
        variance=1e-4,
    )
    truth = cell_average(lambda x, y: np.where(x**2 + y**2 < 0.01, 0.25, 1.0), grid.axes, grid.step)
    inversions = {"classical": ClassicalInversion(bounds=(0.05, 3.0), seconds=60), "ir_wri": WavefieldReconstruction(bounds=(0.05, 3.0), seconds=60)}
    return Case("paper_disc", acquisition, Modelling(grid=grid, background=1.0), np.ones(grid.shape), truth, _window(grid), inversions)


def two_objects_case() -> Case:
    """A fast and a slow disc, two wavenumbers, eight sources and 32 receivers around them."""
    grid, fine = Grid.over(SQUARE, 0.02), Grid.over(SQUARE, 0.01)

    def medium(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        fast, slow = np.hypot(x + 0.12, y - 0.06) < 0.09, np.hypot(x - 0.13, y + 0.08) < 0.075
        return np.where(fast, 1.4**-2, np.where(slow, 0.75**-2, 1.0))

    wavenumbers = np.array([12.0, 20.0])
    sources, receivers = _ring(8, 0.42, 0.1), _ring(32, 0.46, 0.2)
    shots = Shots.at(sources, 1 + 1j, 1e-4)
    exact = cell_average(medium, fine.axes, fine.step)
    data = np.stack([simulate(Discretisation(fine, k, exact, scheme="order4"), exact, shots, receivers, background=1.0) for k in wavenumbers])
    acquisition = Acquisition.of(
        angular_frequencies=wavenumbers,
        sources=sources,
        receivers=receivers,
        measurements=with_noise(data, NOISE, seed=0),
        noise=NOISE,
        amplitudes=1 + 1j,
        variance=1e-4,
    )
    bounds = (0.2, 3.0)
    inversions = {"classical": ClassicalInversion(bounds=bounds, seconds=90), "ir_wri": WavefieldReconstruction(bounds=bounds, seconds=60)}
    truth = cell_average(medium, grid.axes, grid.step)
    return Case("two_objects", acquisition, Modelling(grid=grid, background=1.0), np.ones(grid.shape), truth, _window(grid), inversions)


def marmousi_case() -> Case:
    """A crop of Marmousi2 from its smooth version: 14 shots and 58 receivers in the water, 1.5 to 4.2 Hz, near offsets muted."""
    true, smooth = (loadmat(DATA / f"marmousi2_{kind}.mat") for kind in ("true", "smooth"))
    h = float(true["dx"].item())
    truth = true["vp"] ** -2.0
    grid = Grid((0.0, 0.0), (h, h), truth.shape)
    fine = Grid((0.0, 0.0), (h / 2, h / 2), (2 * truth.shape[0] - 1, 2 * truth.shape[1] - 1))
    active = grid.nodes[1] > 6.5 * h
    start = np.where(active, smooth["vp"] ** -2.0, truth)
    w = 2 * np.pi * np.array(MARMOUSI_FREQUENCIES)
    sources = np.stack([grid.axes[0][4:116:8], np.full(14, grid.axes[1][4])], axis=-1)
    receivers = np.stack([grid.axes[0][2:118:2], np.full(58, grid.axes[1][4])], axis=-1)
    # Point sources are singular: what receivers beside them hear depends on the grid.
    heard = np.abs(sources[:, None, 0] - receivers[None, :, 0]) > 4.5 * h

    def on_fine(model: np.ndarray) -> np.ndarray:
        return RegularGridInterpolator(grid.axes, model)(np.minimum(np.stack(fine.nodes, axis=-1), grid.high))

    def predicted(model: np.ndarray, on: Grid, scheme: str) -> np.ndarray:
        operators = (Discretisation(on, frequency, model, scheme=scheme, layer_wavelengths=0.5) for frequency in w)
        return heard * np.stack([simulate(operator, model, Shots.at(sources), receivers) for operator in operators])

    data = predicted(on_fine(truth), fine, "order4")
    size = np.linalg.norm(data, axis=(1, 2))
    numerical = np.linalg.norm(predicted(on_fine(start), fine, "order4") - predicted(start, grid, "nine_point"), axis=(1, 2)) / size
    acquisition = Acquisition.of(
        angular_frequencies=w,
        sources=sources,
        receivers=receivers,
        measurements=with_noise(data, NOISE, seed=0),
        noise=np.hypot(NOISE, numerical),
        observed=heard,
    )
    bounds = (4800.0**-2, 1450.0**-2)
    # Each frequency with the one below it, so that what was explained stays so.
    pairs = ((0,), (0, 1), (1, 2), (2, 3), (3, 4))
    inversions = {
        "classical": ClassicalInversion(bounds=bounds, iterations=10, precondition=True, groups=pairs, seconds=75),
        # The start is smooth and right on the whole: changes between neighbours are a hundredth of m, not a quarter as for an object in water.
        "ir_wri": WavefieldReconstruction(bounds=bounds, threshold=0.004, splitting=(1.0, 0.1), iterations=20, groups=pairs, seconds=75),
    }
    return Case("marmousi2", acquisition, Modelling(grid=grid, layer_wavelengths=0.5), start, truth, active, inversions)


def structural_similarity(image: np.ndarray, truth: np.ndarray, active: np.ndarray) -> float:
    """Mean SSIM over the active nodes, Gaussian window of 1.5 nodes, range of the truth (Wang et al. 2004, equation 13)."""
    span = float(np.ptp(truth[active]))
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2

    def mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, 1.5, truncate=3.5)

    a, b = mean(image), mean(truth)
    covariance, va, vb = mean(image * truth) - a * b, mean(image**2) - a**2, mean(truth**2) - b**2
    similarity = (2 * a * b + c1) * (2 * covariance + c2) / ((a**2 + b**2 + c1) * (va + vb + c2))
    return float(similarity[active].mean())


def score(case: Case, result: InversionResult) -> dict[str, object]:
    """RMSE and SSIM of the speed, cost, misfits."""
    truth, speed = case.truth**-0.5, result.speed
    return {
        "velocity_error": _velocity_error(case, result.squared_slowness),
        "rmse": float(np.sqrt(np.mean((speed - truth)[case.active] ** 2))),
        "rmse_of_start": float(np.sqrt(np.mean((case.start**-0.5 - truth)[case.active] ** 2))),
        "ssim": structural_similarity(speed, truth, case.active),
        "ssim_of_start": structural_similarity(case.start**-0.5, truth, case.active),
        "seconds": result.seconds,
        "wave_solves": result.wave_solves,
        "factorisations": result.factorisations,
        "misfits": result.misfits.tolist(),
        "weight": result.weight,
        "status": result.status,
    }


def measure_paper() -> list[Quantity]:
    """Return how well the paper's measurements are reproduced, inverted, and how exact the gradient is."""
    if not DATA.exists():
        return _left_out("paper_disc")
    case = paper_case()
    simulator = Simulator(case.acquisition, case.modelling, case.start)
    predicted = Quantity("the paper's measurements from r = 0.1, c = 2", float(simulator.misfit(case.truth, (0,)).relative[0]), DATA_BAR, "at most")
    slope = _taylor_slope(simulator, 1 + 0.5 * (case.truth - 1))
    found = [predicted, Quantity("Taylor slope of the gradient, distance from 2", abs(slope - 2), 0.05, "at most", f"slope {slope:.3f}")]
    for method, inversion in case.inversions.items():
        result = inversion.run(case.acquisition, case.modelling, case.start, active=case.active)
        scores = score(case, result)
        note = f"bounds {inversion.bounds}; misfit {result.misfits[0]:.4f}, {result.wave_solves} wave solves, SSIM {scores['ssim']:.3f}"
        error = _velocity_error(case, result.squared_slowness)
        found.append(Quantity(f"velocity error of {method} on the paper's data", error, VELOCITY_BAR, "at most", note))
        found.append(Quantity(f"seconds of {method} on the paper's data", result.seconds, SECONDS_BAR, "at most"))
    return found


def measure_two_objects() -> list[Quantity]:
    """Return the scores on two objects of different sign."""
    return _against_kept(two_objects_case())


def measure_marmousi() -> list[Quantity]:
    """Return the scores on Marmousi2."""
    return _against_kept(marmousi_case()) if DATA.exists() else _left_out("marmousi2")


def _against_kept(case: Case) -> list[Quantity]:
    """RMSE against that of the start, and against the score kept in the JSON file."""
    kept = json.loads(OPPONENT.read_text(encoding="utf-8"))[case.name]["methods"] if OPPONENT.exists() else {}
    found = []
    for method, inversion in case.inversions.items():
        scores = score(case, inversion.run(case.acquisition, case.modelling, case.start, active=case.active))
        note = f"SSIM {scores['ssim']:.3f} from {scores['ssim_of_start']:.3f}, {scores['wave_solves']} wave solves, {scores['seconds']:.0f} s"
        ratio = float(scores["rmse"]) / float(scores["rmse_of_start"])  # type: ignore[arg-type]
        found.append(Quantity(f"RMSE of {method} over that of the start, {case.name}", ratio, 1.0, "at most", note))
        if method in kept:
            drift = float(scores["rmse"]) / float(kept[method]["score"]["rmse"])  # type: ignore[arg-type]
            found.append(Quantity(f"RMSE of {method} over the score kept, {case.name}", drift, DRIFT, "at most"))
    return found


def _left_out(name: str) -> list[Quantity]:
    print(f"{name}: left out, {DATA} is absent")
    return []


def _velocity_error(case: Case, model: np.ndarray) -> float:
    c, exact = model[case.active] ** -0.5, case.truth[case.active] ** -0.5
    return float(np.linalg.norm(c - exact) / np.linalg.norm(exact))


def _taylor_slope(simulator: Simulator, model: np.ndarray) -> float:
    direction = np.random.default_rng(0).normal(size=model.shape)
    here = simulator.misfit(model, (0,))
    steps = 4e-3 * 0.5 ** np.arange(6)
    rests = [abs(simulator.misfit(model + h * direction, (0,)).value - here.value - h * np.sum(here.gradient * direction)) for h in steps]
    return float(np.polyfit(np.log(steps), np.log(rests), 1)[0])


def _window(grid: Grid) -> np.ndarray:
    return np.all(np.abs(np.array(grid.nodes)) < WINDOW, axis=0)


def _ring(count: int, radius: float, turn: float) -> np.ndarray:
    angle = turn + 2 * np.pi * np.arange(count) / count
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def freeze() -> None:
    """Run every case and write acquisition, settings and scores beside this file."""
    cases: list[Callable[[], Case]] = [two_objects_case, *((paper_case, marmousi_case) if DATA.exists() else ())]
    record = {}
    for build in cases:
        case = build()
        acquisition = {
            "angular_frequencies": case.acquisition.angular_frequencies.tolist(),
            "sources": case.acquisition.sources.tolist(),
            "receivers": case.acquisition.receivers.tolist(),
            "noise": case.acquisition.noise.tolist(),
            "variance": case.acquisition.variance,
            "pairs": case.acquisition.measurements[0].size if case.acquisition.observed is None else int(case.acquisition.observed.sum()),
        }
        methods = {}
        for method, inversion in case.inversions.items():
            result = inversion.run(case.acquisition, case.modelling, case.start, active=case.active)
            methods[method] = {"settings": dataclasses.asdict(inversion), "score": score(case, result)}
            print(case.name, method, methods[method]["score"], flush=True)
        modelling = dataclasses.asdict(case.modelling)
        record[case.name] = {"acquisition": acquisition, "modelling": modelling, "nodes_sought": int(case.active.sum()), "methods": methods}
    OPPONENT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


CHECKS: tuple[Check, ...] = (
    Check("inversion_paper", "Classical inversion", measure_paper),
    Check("inversion_two_objects", "Classical inversion, two objects", measure_two_objects),
    Check("inversion_marmousi", "Classical inversion, Marmousi2", measure_marmousi),
)

if __name__ == "__main__":
    freeze()
