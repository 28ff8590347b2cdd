"""The opponents of `fwi_marmousi2`: classical FWI and IR-WRI on the data of that declaration, from both starts, and how media of the crop are scored.

Input: the catalogue's problem; its models lie beside the checkout in `../shared/data`, and the check is left out where they are absent. Output:
`CHECKS`, `score_speed`; `python -m benchmarks.reference_checks.inversion_marmousi2 [--method NAME]` writes settings and scores to
`benchmarks/results/inversion_marmousi2.json`.

The opponents invert on the grid that the package's own reading of the declaration gives, five points per wavelength. Their noise floor is the
declared noise and the numerical error of that grid, estimated on the start against a grid twice as fine with another scheme. Frequencies as for the
frozen opponents of `inversion.py`: each with the one below it; total variation; unknowns of classical FWI scaled by their illumination.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.interpolate import RegularGridInterpolator

import pinnsiren as ps
from pinnsiren.problems import load
from pinnsiren.problems.fwi_marmousi2 import MODELS, SEA_FLOOR, UNITS
from pinnsiren.reference_solvers.inversion import (
    Acquisition,
    ClassicalInversion,
    DeclaredInversion,
    InversionResult,
    Simulator,
    WavefieldReconstruction,
    read_inversion,
)

from ..evidence_checks import Check, Quantity
from .inversion import DRIFT, structural_similarity

KEPT = Path(__file__).resolve().parents[1] / "results" / "inversion_marmousi2.json"
STARTS = ("smooth", "trend")
SHAPE = (120, 53)
PAIRS = ((0,), (0, 1), (1, 2), (2, 3), (3, 4))
ITERATIONS = 25  # per weight: classical FWI then takes as many wave solves as the cases of this declaration; ten of them end at RMSE 282 and 285 m/s
METHODS: dict[str, ClassicalInversion | WavefieldReconstruction] = {
    "classical": ClassicalInversion(bounds=(0.05, 3.0), iterations=ITERATIONS, precondition=True, groups=PAIRS),
    # As on the frozen crop of `inversion.py`; 40 iterations of a pair of frequencies and 72 sources and receivers are about 25,000 wave solves.
    "ir_wri": WavefieldReconstruction(bounds=(0.05, 3.0), threshold=0.004, splitting=(1.0, 0.1), iterations=40, groups=PAIRS),
}
"""Settings of the opponents; their bounds are those of the declaration."""
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


def read_opponent(start: str) -> tuple[DeclaredInversion, Acquisition]:
    """Return grid and data of the opponents for one start."""
    problem = load("fwi_marmousi2", start=start)
    declared = read_inversion(problem)
    finer = read_inversion(problem, step=0.5 * max(declared.modelling.grid.step))
    coarse = Simulator(declared.acquisition, declared.modelling, declared.start).predicted(declared.start)
    fine = Simulator(finer.acquisition, dataclasses.replace(finer.modelling, scheme=FINER_SCHEME), finer.start).predicted(finer.start)
    size = [declared.acquisition.scale(number) for number in range(len(coarse))]
    numerical = np.linalg.norm((fine - coarse).reshape(len(coarse), -1), axis=1) / size
    return declared, dataclasses.replace(declared.acquisition, noise=np.hypot(declared.acquisition.noise, numerical))


def run(method: str, start: str) -> dict[str, object]:
    """Return scores and cost of an opponent."""
    declared, acquisition = read_opponent(start)
    inversion = dataclasses.replace(METHODS[method], bounds=declared.bounds)
    result = inversion.run(acquisition, declared.modelling, declared.start, active=declared.active)
    return {
        **score_speed(_on_crop(declared, result)),
        "wave_solves": result.wave_solves,
        "factorisations": result.factorisations,
        "seconds": result.seconds,
        "noise": acquisition.noise.tolist(),
        "misfits": result.misfits.tolist(),
        "weight": result.weight,
        "status": result.status,
    }


def _on_crop(declared: DeclaredInversion, result: InversionResult) -> np.ndarray:
    """Speed at the nodes of the crop, m/s, from that at the nodes of the inversion."""
    grid = declared.modelling.grid
    x, z, _ = crop_nodes()
    points = np.clip(np.stack([x, z], axis=-1), grid.low, grid.high)
    return np.asarray(UNITS.speed * RegularGridInterpolator(grid.axes, result.speed)(points))


def kept_scores(start: str, method: str = "classical") -> dict[str, float]:
    """Return the frozen scores of an opponent from one start."""
    found: dict[str, float] = json.loads(KEPT.read_text(encoding="utf-8"))["starts"][start]["methods"][method]["score"]
    return found


def kept_methods(start: str) -> tuple[str, ...]:
    """Return the opponents whose scores from one start are frozen."""
    return tuple(json.loads(KEPT.read_text(encoding="utf-8"))["starts"][start]["methods"])


def measure() -> list[Quantity]:
    """Return the RMSE from the smooth start against the start and against the score kept in the JSON file."""
    if not MODELS.exists():
        print(f"fwi_marmousi2: left out, {MODELS} is absent")
        return []
    scores = run("classical", STARTS[0])
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


def freeze(methods: Sequence[str], starts: Sequence[str] = STARTS) -> None:
    """Run opponents from every start and write settings and scores; those of the others stay."""
    record = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {"starts": {}}
    for start in starts:
        kept = record["starts"].setdefault(start, {"of_start": start_scores(start), "methods": {}})
        for method in methods:
            kept["methods"][method] = {"settings": dataclasses.asdict(METHODS[method]), "score": run(method, start)}
            print(start, method, kept["methods"][method]["score"], flush=True)
            KEPT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


CHECKS: tuple[Check, ...] = (Check("inversion_marmousi2", "Classical inversion, the catalogue's Marmousi2", measure),)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", action="append", choices=tuple(METHODS), help="one of the opponents; may be given several times")
    freeze(parser.parse_args().method or tuple(METHODS))
