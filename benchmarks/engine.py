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
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pinnsiren.networks.split_products import Arithmetic, as_factor, multiply, product_error, tf32_allowed

from .derivative_step import busy_seconds, machine, relative_difference, spread
from .engine_page import write_page
from .engine_ways import DEPTH, WIDTH, Case, Step, build, bytes_kept, compiled_step, deepxde_step, forward_step, nested_step, streams_step
from .gauss_newton_step import measure_gauss_newton

GPU_SECONDS = 300  # after which no further row starts: with the longest, compiled, a run ends within eight minutes
PRODUCTS = 3  # in a row: the first alone would find a cold cache
RESULTS = Path(__file__).parent / "results"
BARS = {"nested": {1: 1.5, 2: 2.8}, "compiled nested": {2: 2.3}, "biharmonic": 7.0, "share": 0.8, "bytes": 14_000, "memory growth": 1.05}
"""What the engine must reach on one CPU core: ratios by number of outputs, share of the product rate, bytes per point, peak memory."""


def ways_of(case: Case, *, compile_nested: bool) -> tuple[dict[str, Step], dict[str, str]]:
    """The steps of a case by name, and why one is missing."""
    built = build(case)
    steps: dict[str, Step] = {"hand adjoint": streams_step(built), "tape": streams_step(built, tape=True), "nested": nested_step(built)}
    missing: dict[str, str] = {}
    if case.operator == "laplacian":
        steps["jvp of jvp"] = forward_step(built)
        try:
            steps["DeepXDE"] = deepxde_step(built)
        except Exception as error:
            missing["DeepXDE"] = f"{type(error).__name__}: {error}".splitlines()[0]
    if compile_nested:
        try:
            compiled = compiled_step(built)
            compiled()
            steps["compiled nested"] = compiled
        except Exception as error:  # a peer that does not run here is a row without numbers
            missing["compiled nested"] = f"{type(error).__name__}: {error}".splitlines()[0]
    return steps, missing


def product(case: Case) -> tuple[Callable[[], object], int]:
    """The unit in which the work is counted, one product of a hidden layer with the rows of all streams and points, and its FLOP; in the arithmetic
    of the case, of factors that are split before."""
    rows = case.layout.size * case.n_points
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((rows, case.width), (case.width, case.width)))
    left, right = left.to(case.device, case.dtype), right.to(case.device, case.dtype)
    out = torch.empty_like(left)
    factors = as_factor(left, case.arithmetic), as_factor(right, case.arithmetic)

    def run() -> None:
        for _ in range(PRODUCTS):
            multiply(*factors, out)

    return run, PRODUCTS * 2 * rows * case.width**2


def measure(case: Case, rounds: int, *, compile_nested: bool = False) -> dict[str, Any]:
    """Time one case in interleaved rounds."""
    steps, missing = ways_of(case, compile_nested=compile_nested)
    exact = nested_step(build(replace(case, dtype=torch.float64, n_points=min(case.n_points, 256))))()
    small, _ = ways_of(replace(case, n_points=min(case.n_points, 256)), compile_nested=False)
    errors = {name: relative_difference(tuple(step()), tuple(exact)) for name, step in small.items()}
    multiply, flop = product(case)
    timed: dict[str, Callable[[], object]] = {**steps, "product": multiply}
    for step in timed.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, step in timed.items():
            seconds[name].append(busy_seconds(step, case.device))
    hand = seconds["hand adjoint"]
    shares = [(case.flop / a) / (flop / b) for a, b in zip(hand, seconds["product"], strict=True)]
    return {
        "operator": case.operator,
        "n_points": case.n_points,
        "n_out": case.n_out,
        "dtype": case.label,
        "rounds": rounds,
        "products_per_layer": {"streams": 3 * case.layout.size, "nested": case.nested_units},
        "milliseconds": {name: spread([1e3 * s for s in seconds[name]]) for name in steps},
        "over_hand_adjoint": {name: spread([a / b for a, b in zip(seconds[name], hand, strict=True)]) for name in steps if name != "hand adjoint"},
        "product_gflops": flop / statistics.median(seconds["product"]) / 1e9,
        "hand_adjoint_gflops": case.flop / statistics.median(hand) / 1e9,
        "share_of_product_rate": spread(shares),
        "points_per_second": case.n_points / statistics.median(hand),
        "gradient_error_against_float64": errors,
        "missing": missing,
    }


def measure_bytes(case: Case) -> dict[str, float]:
    """Bytes per point kept for the backward pass."""
    ways: dict[str, Callable[..., Step]] = {"hand adjoint": streams_step, "tape": lambda built: streams_step(built, tape=True), "nested": nested_step}
    return {name: bytes_kept(case, way) for name, way in ways.items()}


def measure_bandwidth(device: str, n_bytes: int = 1 << 28) -> float:
    """Bytes per second of main memory, read and written, by copying blocks that no cache holds."""
    source, target = torch.ones(n_bytes // 4, device=device), torch.empty(n_bytes // 4, device=device)
    return 2 * n_bytes / statistics.median([busy_seconds(lambda: target.copy_(source), device) for _ in range(7)][1:])


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


def measure_graph(n_points: int, rounds: int, arithmetic: Arithmetic = "ieee") -> dict[str, Any]:
    """Optimizer steps per second with the whole step, Adam included, as one CUDA graph; GPU only."""
    case = Case("laplacian", n_points, 2, torch.float32, "cuda", arithmetic=arithmetic)
    built = build(case)
    module = built.module
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4, capturable=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        loss = (module.streams(built.inputs, None, case.layout) * built.weights).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    times = [busy_seconds(graph.replay, "cuda") for _ in range(20 * rounds)]
    eager = [busy_seconds(step, "cuda") for _ in range(rounds)]
    per_second = 1 / statistics.median(times)
    return {
        "n_points": n_points,
        "dtype": case.label,
        "graph_steps_per_second": per_second,
        "graph_points_per_second": n_points * per_second,
        "eager_steps_per_second": 1 / statistics.median(eager),
    }


def attempt(run: Callable[[], dict[str, Any]], deadline: float = float("inf")) -> dict[str, Any]:
    """A row, or why there is none; nothing starts after the deadline."""
    if time.perf_counter() > deadline:
        return {"failed": "out of time"}
    try:
        return run()
    except Exception as error:  # one row that fails must not cost the others
        return {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}


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


def run_cuda(rounds: int, *, quick: bool) -> dict[str, Any]:
    """All rows of one GPU; every row by itself, so that one failure costs one row."""
    end = time.perf_counter() + GPU_SECONDS
    kinds: tuple[Arithmetic, ...] = ("ieee", "3xtf32")
    graphs = [attempt(lambda n=n, kind=kind: measure_graph(n, rounds, kind), end) for kind in kinds for n in (1024, 4096)]
    gauss_newton = attempt(lambda: measure_gauss_newton(400 if quick else 4000, WIDTH, "cuda", rounds), end)
    sizes = (1024,) if quick else (4096, 65_536, 1024)
    rows = [attempt(lambda n=n: measure(Case("laplacian", n, 2, device="cuda"), rounds), end) for n in sizes]
    rows.append(attempt(lambda: measure(Case("laplacian", sizes[0], 2, torch.float64, "cuda"), rounds), end))
    rows += [attempt(lambda n=n: measure(Case("laplacian", n, 2, device="cuda", arithmetic="3xtf32"), rounds), end) for n in sizes[:2]]
    with tf32_allowed(torch.device("cuda")):
        tf32 = attempt(lambda: measure(Case("laplacian", sizes[0], 2, device="cuda"), rounds), end)
    rows.append({**tf32, "dtype": "tf32"})
    rows.append(attempt(lambda: measure(Case("biharmonic", 1024, 2, device="cuda"), rounds), end))
    # Last, since compiling takes longest.
    rows.append(attempt(lambda: measure(Case("laplacian", sizes[0], 2, device="cuda"), rounds, compile_nested=True), end))
    return {
        "results": [row for row in rows if "operator" in row],
        "failed": [row["failed"] for row in rows if "failed" in row],
        "graph": graphs,
        "split_products": attempt(lambda: {"error_against_float64": product_error(torch.device("cuda"))}),
        "gauss_newton": gauss_newton,
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
    for name in ("bytes_per_point", "memory", "gauss_newton", "graph", "split_products", "failed"):
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
    record["bytes_per_second"] = measure_bandwidth(arguments.device)
    record["machine"] = machine(arguments.device)
    record["seconds"] = time.perf_counter() - start
    print_summary(record)
    folder = arguments.output or (Path("out") if arguments.quick else RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"engine_{arguments.device}.json").write_text(json.dumps(record, indent=2) + "\n")
    write_page(record, folder / f"engine_{arguments.device}.html")


if __name__ == "__main__":
    main()
