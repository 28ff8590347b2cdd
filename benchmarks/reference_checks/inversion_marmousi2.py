"""The opponent of `fwi_marmousi2`: classical FWI on the data of that declaration, from both starts, and how media of the crop are scored.

Input: the catalogue's problem; its models lie beside the checkout in `../shared/data`, and the check is left out where they are absent. Output:
`CHECKS`, `score_speed`; `python -m benchmarks.reference_checks.inversion_marmousi2` writes settings and scores to
`benchmarks/results/inversion_marmousi2.json`.

The opponent inverts on the grid that the package's own reading of the declaration gives, five points per wavelength. Its noise floor is the declared
noise and the numerical error of that grid, estimated on the start against a grid twice as fine with another scheme. Frequencies as for the frozen
opponent of `inversion.py`: each with the one below it, total variation, unknowns scaled by their illumination.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
from scipy.interpolate import RegularGridInterpolator

import pinnsiren as ps
from pinnsiren.problems import load
from pinnsiren.problems.fwi_marmousi2 import MODELS, SEA_FLOOR, UNITS
from pinnsiren.reference_solvers.inversion import Acquisition, ClassicalInversion, DeclaredInversion, InversionResult, Simulator, read_inversion

from ..evidence_checks import Check, Quantity
from .inversion import DRIFT, structural_similarity

KEPT = Path(__file__).resolve().parents[1] / "results" / "inversion_marmousi2.json"
STARTS = ("smooth", "trend")
SHAPE = (120, 53)
PAIRS = ((0,), (0, 1), (1, 2), (2, 3), (3, 4))
ITERATIONS = 25  # per weight: the opponent then takes as many wave solves as the cases of this declaration; ten of them end at RMSE 282 and 285 m/s
FINER_SCHEME = "order4"


def true_model() -> ps.seismic.VelocityModel:
    """Return the crop, m/s on 120 x 53 nodes."""
    return ps.seismic.read_model(MODELS / "marmousi2_true.mat", values="vp", shape=SHAPE)


def crop_nodes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x and z of the nodes in the units of the declaration, and which lie below the water, (120, 53) each."""
    along, depth = true_model().axes
    x, z = np.meshgrid(UNITS.lengths(along), UNITS.lengths(depth), indexing="ij")
    return x, z, np.broadcast_to(depth > SEA_FLOOR, SHAPE)


def score_speed(speed: np.ndarray) -> dict[str, float]:
    """Return RMSE (m/s) and SSIM below the water of a speed on the nodes of the crop, in m/s; the water counts as known."""
    truth, below = true_model().values, crop_nodes()[2]
    found = np.where(below, speed, truth)
    return {"rmse": float(np.sqrt(np.mean((found - truth)[below] ** 2))), "ssim": structural_similarity(found, truth, below)}


def opponent(start: str) -> tuple[ClassicalInversion, DeclaredInversion, Acquisition]:
    """Return the opponent's settings, grid and data for one start."""
    problem = load("fwi_marmousi2", start=start)
    declared = read_inversion(problem)
    finer = read_inversion(problem, step=0.5 * max(declared.modelling.grid.step))
    coarse = Simulator(declared.acquisition, declared.modelling, declared.start).predicted(declared.start)
    fine = Simulator(finer.acquisition, dataclasses.replace(finer.modelling, scheme=FINER_SCHEME), finer.start).predicted(finer.start)
    size = [declared.acquisition.scale(number) for number in range(len(coarse))]
    numerical = np.linalg.norm((fine - coarse).reshape(len(coarse), -1), axis=1) / size
    acquisition = dataclasses.replace(declared.acquisition, noise=np.hypot(declared.acquisition.noise, numerical))
    return ClassicalInversion(bounds=declared.bounds, iterations=ITERATIONS, precondition=True, groups=PAIRS), declared, acquisition


def run(start: str) -> tuple[dict[str, object], np.ndarray]:
    """Return scores and cost of the opponent, and its speed on the nodes of the crop in m/s."""
    inversion, declared, acquisition = opponent(start)
    result = inversion.run(acquisition, declared.modelling, declared.start, active=declared.active)
    speed = _on_crop(declared, result)
    return {
        **score_speed(speed),
        "wave_solves": result.wave_solves,
        "factorisations": result.factorisations,
        "seconds": result.seconds,
        "noise": acquisition.noise.tolist(),
        "misfits": result.misfits.tolist(),
        "weight": result.weight,
        "status": result.status,
    }, speed


def _on_crop(declared: DeclaredInversion, result: InversionResult) -> np.ndarray:
    """Speed at the nodes of the crop, m/s, from that at the nodes of the inversion."""
    grid = declared.modelling.grid
    x, z, _ = crop_nodes()
    points = np.clip(np.stack([x, z], axis=-1), grid.low, grid.high)
    return np.asarray(UNITS.speed * RegularGridInterpolator(grid.axes, result.speed)(points))


def kept_scores(start: str) -> dict[str, float]:
    """Return the frozen scores of the opponent from one start."""
    found: dict[str, float] = json.loads(KEPT.read_text(encoding="utf-8"))["starts"][start]["score"]
    return found


def measure() -> list[Quantity]:
    """Return the RMSE from the smooth start against the start and against the score kept in the JSON file."""
    if not MODELS.exists():
        print(f"fwi_marmousi2: left out, {MODELS} is absent")
        return []
    scores, _ = run(STARTS[0])
    rmse, begun = float(str(scores["rmse"])), start_scores(STARTS[0])["rmse"]
    note = f"SSIM {scores['ssim']:.3f}, {scores['wave_solves']} wave solves, {scores['seconds']:.0f} s"
    found = [Quantity("RMSE of classical over that of the start, fwi_marmousi2", rmse / begun, 1.0, "at most", note)]
    if KEPT.is_file():
        found.append(Quantity("RMSE of classical over the score kept, fwi_marmousi2", rmse / kept_scores(STARTS[0])["rmse"], DRIFT, "at most"))
    return found


def start_scores(start: str) -> dict[str, float]:
    """Return the scores of a start."""
    smooth = ps.seismic.read_model(MODELS / "marmousi2_smooth.mat", values="vp", shape=SHAPE)
    model = smooth if start == "smooth" else smooth.depth_trend(fixed_above=SEA_FLOOR)
    return score_speed(model.with_water_of(true_model(), SEA_FLOOR).values)


def freeze(starts: tuple[str, ...] = STARTS) -> None:
    """Run the opponent from every start and write settings and scores."""
    record = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {"starts": {}}
    for start in starts:
        score, _ = run(start)
        settings = {"prior": "total variation", "iterations": ITERATIONS, "precondition": True, "groups": PAIRS}
        record["starts"][start] = {"settings": settings, "score": score, "of_start": start_scores(start)}
        print(start, record["starts"][start], flush=True)
    KEPT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


CHECKS: tuple[Check, ...] = (Check("inversion_marmousi2", "Classical inversion, the catalogue's Marmousi2", measure),)

if __name__ == "__main__":
    freeze()
