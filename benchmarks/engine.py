"""The derivative engine against its peers, on a CPU core or a GPU: `make bench`, or one command for a GPU.

    python -m benchmarks                                    # one CPU core, some minutes
    python -m benchmarks --device cuda                      # under 8 minutes, no network
    python -m benchmarks --quick                            # a trial

All ways of a case see the same network, points and functional, and are timed in turns within one loop, so that a busy machine slows all alike; a
ratio is the median of the ratios within a round. On the CPU processor time of one thread counts. The matrix-product rate that the engine is measured
by takes its turn in the same loop. Results go to `benchmarks/results/engine_<device>.json` and a page of plots beside it.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from .derivative_step import machine
from .engine_gpu import run_cuda
from .engine_rows import attempt, measure, measure_bandwidth, measure_bytes
from .engine_ways import DEPTH, WIDTH, Case
from .gauss_newton_step import measure_gauss_newton

RESULTS = Path(__file__).parent / "results"
BARS = {"nested": {1: 1.5, 2: 2.8}, "compiled nested": {2: 2.3}, "biharmonic": 7.0, "share": 0.8, "bytes": 14_000, "memory growth": 1.05}
"""What the engine must reach on one CPU core: ratios by number of outputs, share of the product rate, bytes per point, peak memory."""


MEMORY_SIZES = (100_000, 10_000_000)
_MEMORY = """
import resource, sys, torch
from pathlib import Path
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.language import Box, Dirichlet, Problem, coordinates, field, laplacian
from pinnsiren.networks import Siren
from pinnsiren.training.accumulation import accumulate_gradient, draw_chunks
from pinnsiren.training.network_problem import NetworkProblem
torch.set_num_threads(1)
x, y = coordinates("x y")
u = field("u", x, y)
declared = Problem(name="p", fields=[u], domain=Box({x: (0, 1), y: (0, 1)}), equations=[laplacian(u) + u**3 - x], conditions=[Dirichlet(u, 1)])
problem = NetworkProblem(compile_problem(declared), torch.device("cpu"), torch.float32)
module = Siren(width=8, depth=2).build(problem.n_inputs, 1, dtype=torch.float32)
for n_points in map(int, sys.argv[1:]):
    accumulate_gradient(problem, module, draw_chunks(problem, n_points, 1), torch.zeros(0))
    # On Linux, ru_maxrss begins with the peak of the process that started this one.
    status = Path("/proc/self/status")
    lines = [line.split() for line in status.read_text().splitlines() if line.startswith("VmHWM")] if status.exists() else []
    print(n_points, lines[0][1] if lines else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def measure_memory(sizes: tuple[int, ...]) -> dict[str, Any]:
    """Peak memory of a loss and its gradient at growing numbers of points, in a process of its own."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", _MEMORY, *map(str, sizes)], capture_output=True, text=True, check=True)
    peaks = {int(n): 1024 * int(kib) for n, kib in (line.split() for line in done.stdout.splitlines())}
    return {"peak_bytes": peaks, "growth": peaks[sizes[-1]] / peaks[sizes[0]], "seconds": time.perf_counter() - start}


def run_cpu(rounds: int, *, quick: bool) -> dict[str, Any]:
    """All rows of one core."""
    torch.set_num_threads(1)
    sizes = (256,) if quick else (4096, 2048, 1024, 256)
    results = [measure(Case("laplacian", sizes[0], 2), rounds, compile_nested=not quick)]
    results += [measure(Case("laplacian", n, 2), rounds) for n in sizes[1:]]
    results.append(measure(Case("laplacian", sizes[0], 1), rounds))
    results.append(measure(Case("laplacian", 256, 2, torch.float64), rounds))
    results.append(measure(Case("biharmonic", 64 if quick else 256, 2), rounds))
    results.append(measure(Case("biharmonic", 64 if quick else 256, 1), rounds))
    return {
        "results": results,
        "bytes_per_point": {name: measure_bytes(Case(name, 128, 2)) for name in ("laplacian", "biharmonic")},
        "memory": attempt(lambda: measure_memory((10_000, 100_000) if quick else MEMORY_SIZES)),
        "gauss_newton": measure_gauss_newton(60 if quick else 240, WIDTH, "cpu", max(2, rounds // 4)),
    }


def print_summary(record: dict[str, Any]) -> None:
    """One line per case."""
    for row in record["results"]:
        ratios = ", ".join(f"{name} {value['median']:.2f}x" for name, value in row["over_hand_adjoint"].items())
        hand = row["milliseconds"]["hand adjoint"]["median"]
        share = row["share_of_product_rate"]["median"]
        label = f"{row['operator']:>10} N={row['n_points']:<6} m={row['n_out']} {row['dtype']:>8}"
        print(f"{label}: {hand:8.2f} ms, {share:4.0%} of the product rate; {ratios}")
        for name, reason in row["missing"].items():
            print(f"{'':>10} {name} is missing: {reason}")
    for claim, found in record.get("claims", {}).items():
        said = {None: "not measured", True: "reached", False: "missed"}[found["reached"]]
        print(f"{claim}: {found['measured']}, bar {found['bar']:g}, {said}")
    for name in ("bytes_per_point", "memory", "gauss_newton", "graph", "training", "problems", "split_products", "failed"):
        if name in record:
            print(f"{name}: {json.dumps(record[name])}")


def main() -> None:
    """Read the arguments, measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=12, help="rounds per case")
    parser.add_argument("--quick", action="store_true", help="small sizes, no compiled peer")
    parser.add_argument("--output", type=Path, default=None, help="folder for the record and the page")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here")
    run = run_cuda if arguments.device == "cuda" else run_cpu
    start = time.perf_counter()
    record: dict[str, Any] = {"benchmark": "engine", "network": f"2 -> {WIDTH} x {DEPTH} sine -> m", "bars": BARS}
    record.update(run(arguments.rounds, quick=arguments.quick))
    record |= attempt(lambda: {"bytes_per_second": measure_bandwidth(arguments.device)}) if record["results"] else {}
    record["machine"] = machine(arguments.device)
    record["seconds"] = time.perf_counter() - start
    print_summary(record)
    folder = arguments.output or (Path("out") if arguments.quick else RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"engine_{arguments.device}.json").write_text(json.dumps(record, indent=2) + "\n")
    drawn = attempt(lambda: draw_page(record, folder / f"engine_{arguments.device}.html"))
    if "failed" in drawn:
        print(f"no page of plots: {drawn['failed']}")


def draw_page(record: dict[str, Any], path: Path) -> dict[str, Any]:
    """Draw the plots; a machine without matplotlib keeps the record all the same."""
    from .engine_page import write_page

    write_page(record, path)
    return {"page": str(path)}


if __name__ == "__main__":
    main()
