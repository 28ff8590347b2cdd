"""Efficiency of data-parallel training on up to eight GPUs, estimated on paper from pieces that one CPU core measures.

    python -m benchmarks.many_devices                       # seconds of one core; the table, and `results/many_devices.json`

A step of `Adam` on p devices, N points each, takes

    T(p) = flop N / rate + launches * launch seconds + 2 (p - 1) (latency + 8 (P + 1) / (p bandwidth)),       T(1) = flop N / rate

the hidden products, what is launched from the host after the graph that ends with the gradient of a device, and one flat ring all-reduce of loss and
gradient in float64. Measured here: the operations outside the graph (launches on a GPU) of a step as training takes it with several processes, and
the size and the number of its messages; counted: the floating-point operations. Assumed: what `ASSUMED` says, nothing of which was measured.
"""

import argparse
import json
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pinnsiren.networks import Siren
from pinnsiren.training.gradient_methods import Adam, AdamRun
from pinnsiren.training.method import RunSettings
from pinnsiren.training.parallel import Ranks

from .derivative_step import machine
from .engine_ways import DEPTH, WIDTH, Case
from .gauss_newton_step import membrane

RESULT = Path(__file__).parent / "results" / "many_devices.json"
ASSUMED = {
    "flop_per_second": 5e13,  # three quarters of the 67 TFLOP/s of IEEE float32 on an H200
    "launch_seconds": 4.5e-6,  # of one operation from the host
    "latency": 4e-6,  # of one hop of a ring over NVLink
    "bandwidth": 4e11,  # bytes per second of one direction of NVLink 4, nine tenths of 450 GB/s
}
DEVICES = (1, 2, 4, 8)
POINTS = (1024, 4096, 65_536)
COUNTED_POINTS = 64  # one block of the hand adjoint, which a CPU takes block by block through its cache and a GPU at once
VIEWS = ("_unsafe_view", "view", "t.", "transpose", "expand", "slice", "select", "detach", "alias", "as_strided")
VIEWS += ("unsqueeze", "squeeze", "permute", "unbind", "split", "empty", "new_empty")


class Counted(TorchDispatchMode):
    """Counts operations that would be launches on a GPU: all but views and allocations."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.launches += not f"{func}.".startswith(tuple(f"aten.{name}" for name in VIEWS))
        return func(*args, **(kwargs or {}))


class Listening(Ranks):
    """A process whose peers are silent: it keeps the size of every message."""

    messages: ClassVar[list[int]] = []

    def sum(self, scalar: float, vector: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Note the size, and return what was given."""
        flat = torch.cat([vector.new_tensor([scalar]), vector])
        self.messages.append(flat.numel() * flat.element_size())
        return float(flat[0]), flat[1:]


def measure_pieces(n_points: int = COUNTED_POINTS, width: int = WIDTH) -> dict[str, Any]:
    """One iteration of `Adam` as a process among several takes it, on one core."""
    torch.set_num_threads(1)
    method = Adam(points=n_points, iterations=1)
    run = method.start(membrane(), RunSettings(0, 1e-9, False, 3600.0, "cpu", "float32", Siren(width=width, depth=DEPTH, omega_0=10.0)))
    assert isinstance(run, AdamRun)
    run.ranks = Listening()
    run.optimizer = torch.optim.Adam(run._trained, lr=1e-3, fused=True)  # as on a GPU
    graph = run._hold(run.problem.prepare(n_points, 1), run._own_gradient)

    def iteration() -> None:
        run.optimizer.zero_grad()
        run._share_gradient()
        run.optimizer.step()

    iteration()
    Listening.messages.clear()
    with Counted() as counted:
        iteration()
    with Counted() as captured:
        graph()
    return {
        "parameters": run.module.n_parameters,
        "flop_per_point": Case("laplacian", n_points, 1, width=width).flop / n_points,
        "launches_in_graph": captured.launches,
        "launches": counted.launches - captured.launches,
        "messages": len(Listening.messages),
        "message_bytes": Listening.messages[0],
    }


def estimate(pieces: dict[str, Any], n_points: int, devices: int, assumed: dict[str, float] | None = None) -> dict[str, float]:
    """Seconds of a step with `n_points` per device, and the efficiency against as many devices that need not talk, each replaying a graph."""
    link = assumed or ASSUMED
    work = pieces["flop_per_point"] * n_points / link["flop_per_second"]
    if devices == 1:
        return {"seconds": work, "efficiency": 1.0}
    talk = 2 * (devices - 1) * (link["latency"] + pieces["message_bytes"] / devices / link["bandwidth"]) * pieces["messages"]
    seconds = work + pieces["launches"] * link["launch_seconds"] + talk
    return {"seconds": seconds, "efficiency": work / seconds}


def main() -> None:
    """Measure, estimate, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    pieces = measure_pieces()
    table = {f"{n} points per device": {f"{p} devices": estimate(pieces, n, p) for p in DEVICES} for n in POINTS}
    record = {"benchmark": "many devices", "measured": pieces, "assumed": ASSUMED, "estimated": table, "machine": machine("cpu")}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(pieces))
    for name, row in table.items():
        print(name, ", ".join(f"{p}: {1e3 * e['seconds']:.3f} ms, {e['efficiency']:.0%}" for p, e in row.items()))


if __name__ == "__main__":
    main()
