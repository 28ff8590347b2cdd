"""One gradient of full-waveform inversion in time against deepwave: processor seconds of one core, the same map, shot, steps and layers.

    pip install deepwave                           # the peer
    python -m benchmarks.wave_gradient
    python -m benchmarks.wave_gradient --nodes 101 61 --steps 200 --rounds 2 --output out/trial.json

A faster lens in a speed that grows with depth; one shot, receivers along the surface; J = 1/2 sum (traces - observed)^2, the observed traces from the
map without the lens. Ours is the exact adjoint of the NumPy reference propagator of order 8 in space, and of order 2 or 4 in time; deepwave's is its
compiled propagator of order 8 in space and 2 in time under torch's backward pass. Both gradients are compared where the lens can be seen from the
layers, and each with the difference quotient of its own misfit. Results: `benchmarks/results/wave_gradient.json`.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.reference_solvers.time_domain import AcousticPropagator, misfit_and_gradient, ricker

from .derivative_step import machine
from .evidence_store import CHECKOUT

RESULT = CHECKOUT / "benchmarks" / "results" / "wave_gradient.json"
Array = NDArray[np.float64]
SPACING, FREQUENCY, SLOW, GROWTH, LENS = 10.0, 12.0, 1800.0, 1.0, 250.0
COURANT = 0.4
MARGIN = 12  # nodes at the rim, whose gradient depends on how the layers continue the map


def maps(nodes: tuple[int, int]) -> tuple[Array, Array]:
    """Return the speed with and without the lens, m/s."""
    x, z = np.meshgrid(*(SPACING * np.arange(n) for n in nodes), indexing="ij")
    width, depth = (SPACING * (n - 1) for n in nodes)
    smooth = SLOW + GROWTH * z
    lens = LENS * np.exp(-((x - 0.5 * width) ** 2 + (z - 0.5 * depth) ** 2) / (0.12 * depth) ** 2)
    return smooth + lens, smooth


class Survey:
    """One shot and its receivers on nodes of the grid."""

    def __init__(self, nodes: tuple[int, int], steps: int) -> None:
        self.lens, self.smooth = maps(nodes)
        self.dt = COURANT * SPACING / float(self.lens.max())
        self.wavelet = ricker(self.dt * np.arange(steps), FREQUENCY)
        self.source = np.array([nodes[0] // 2, 3])
        self.receivers = np.stack([np.arange(4, nodes[0] - 4, 2), np.full(len(range(4, nodes[0] - 4, 2)), 3)], axis=-1)

    def ours(self, time_order: int) -> Callable[[Array], tuple[float, Array]]:
        """Return a function from speed to misfit and gradient; its own traces of the map without the lens are the data."""

        def propagator(speed: Array) -> AcousticPropagator:
            return AcousticPropagator(speed, SPACING, self.dt, frequency=FREQUENCY, order=8, time_order=time_order)

        where = (SPACING * self.source[None], self.wavelet, SPACING * self.receivers)
        observed = propagator(self.smooth).shoot(*where).traces
        return lambda speed: misfit_and_gradient(propagator(speed), *where, observed)

    def theirs(self) -> Callable[[Array], tuple[float, Array]]:
        """The same of deepwave."""
        import deepwave

        def traces(speed: torch.Tensor) -> torch.Tensor:
            found = deepwave.scalar(
                speed,
                SPACING,
                self.dt,
                source_amplitudes=torch.tensor(self.wavelet)[None, None],
                source_locations=torch.tensor(self.source)[None, None],
                receiver_locations=torch.tensor(self.receivers)[None],
                accuracy=8,
                pml_freq=FREQUENCY,
            )
            # Its source has the other sign and is not divided by the volume of a cell.
            return -found[-1][0] / SPACING**2

        with torch.no_grad():
            observed = traces(torch.tensor(self.smooth))

        def gradient(speed: Array) -> tuple[float, Array]:
            unknown = torch.tensor(speed, requires_grad=True)
            misfit = 0.5 * torch.sum((traces(unknown) - observed) ** 2)
            misfit.backward()
            assert unknown.grad is not None
            return float(misfit.detach()), np.asarray(unknown.grad.numpy())

        return gradient


def quotient_error(way: Callable[[Array], tuple[float, Array]], speed: Array, seed: int) -> float:
    """Relative difference of the derivative along a smooth random change and its central difference quotient."""
    rng = np.random.default_rng(seed)
    change = np.zeros_like(speed)
    inside = tuple(slice(MARGIN, n - MARGIN) for n in speed.shape)
    change[inside] = rng.normal(size=change[inside].shape)
    slope = float(np.sum(way(speed)[1] * change))
    step = 1e-2
    found = (way(speed + step * change)[0] - way(speed - step * change)[0]) / (2 * step)
    return abs(found - slope) / abs(slope)


def measure(nodes: tuple[int, int], steps: int, rounds: int) -> dict[str, Any]:
    """Time the ways in turns and compare their gradients."""
    torch.set_num_threads(1)
    survey = Survey(nodes, steps)
    ways = {"reference, order 2 in time": survey.ours(2), "reference, order 4 in time": survey.ours(4)}
    missing = {}
    try:
        ways["deepwave"] = survey.theirs()
    except ImportError as error:
        missing["deepwave"] = f"not installed ({error})"
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    gradients = {name: way(survey.lens)[1] for name, way in ways.items()}
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.process_time()
            way(survey.lens)
            seconds[name].append(time.process_time() - begun)
    inside = tuple(slice(MARGIN, n - MARGIN) for n in nodes)
    ours = gradients["reference, order 2 in time"][inside]
    return {
        "benchmark": "gradient of full-waveform inversion in time",
        "nodes": nodes,
        "steps": steps,
        "receivers": len(survey.receivers),
        "seconds": {name: {"median": statistics.median(found), "least": min(found), "most": max(found)} for name, found in seconds.items()},
        "over_deepwave": {
            name: statistics.median(a / b for a, b in zip(seconds[name], seconds["deepwave"], strict=True)) for name in ways if "deepwave" in ways
        },
        "difference_from_ours": {name: float(np.linalg.norm(found[inside] - ours) / np.linalg.norm(ours)) for name, found in gradients.items()},
        "error_against_difference_quotient": {name: quotient_error(way, survey.lens, 1) for name, way in ways.items()},
        "missing": missing,
        "machine": machine("cpu"),
    }


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs=2, default=(201, 101))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    record = measure(tuple(arguments.nodes), arguments.steps, arguments.rounds)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
