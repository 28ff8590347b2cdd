"""The rows of the derivative engine on one GPU: `python -m benchmarks --device cuda`, below eight minutes, without a network connection.

Input: rounds per row. Output: a record with every row that ran, why the others did not, and a table of what was claimed against what was measured.
Each row stands by itself: one that fails, or finds too little time left, costs no other.
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from pinnsiren.networks import Siren
from pinnsiren.networks.split_products import Arithmetic, product_error, tf32_allowed
from pinnsiren.training.accumulation import accumulate_gradient, draw_chunks
from pinnsiren.training.gradient_methods import Adam
from pinnsiren.training.method import RunSettings
from pinnsiren.training.network_problem import NetworkProblem

from .derivative_step import busy_seconds
from .engine_rows import attempt, measure
from .engine_ways import DEPTH, WIDTH, Case, Step, build, captured
from .gauss_newton_step import measure_gauss_newton, membrane

GPU_SECONDS = 450  # of a run: what is saved and drawn after it takes the rest of eight minutes
MEMORY_SIZES = (100_000, 100_000_000)
MEMORY_SECONDS = 60  # for the larger size: fewer points where the sampler, which runs on the host, is slower than that
MEMORY_CHUNK = 65_536
SOLVE_SECONDS = 60


@dataclass(frozen=True)
class Row:
    """One row of the record.

    Attributes:
        name: what it is, unique.
        group: key of the record that it goes to.
        run: measures it.
        seconds: that have to be left when it starts.
    """

    name: str
    group: str
    run: Callable[[], dict[str, Any]]
    seconds: float


def measure_graph(n_points: int, rounds: int, arithmetic: Arithmetic = "ieee", dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Optimizer steps per second with the whole step as one CUDA graph: points drawn on the device, streams, adjoint and Adam."""
    case = Case("laplacian", n_points, 2, dtype, "cuda", arithmetic=arithmetic)
    built = build(case)
    module, points = built.module, built.inputs[0]
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4, capturable=True, fused=True)

    def step() -> list[torch.Tensor]:
        optimizer.zero_grad()
        points.uniform_(-1.0, 1.0)
        loss = (module.streams(built.inputs, None, case.layout) * built.weights).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return [loss.detach()]

    replay: Step = captured(step)
    before = points.clone()
    replay()
    moved = not bool(torch.equal(points, before))
    times = [busy_seconds(replay, "cuda") for _ in range(20 * rounds)]
    row = _rates(n_points, case.label, rounds, replay)
    eager = [busy_seconds(step, "cuda") for _ in range(rounds)]
    return {**row, "draws_new_points": moved, "seconds_of_one_step": statistics.median(times), "eager_steps_per_second": 1 / statistics.median(eager)}


def _rates(n_points: int, label: str, rounds: int, replay: Step, in_a_row: int = 50) -> dict[str, Any]:
    """Steps per second in a row, as training takes them: the host waits once and not after each."""

    def many() -> None:
        for _ in range(in_a_row):
            replay()

    per_second = in_a_row / statistics.median([busy_seconds(many, "cuda") for _ in range(rounds)])
    return {"n_points": n_points, "dtype": label, "graph_steps_per_second": per_second, "graph_points_per_second": n_points * per_second}


def measure_training(n_points: int, rounds: int, device: str = "cuda", iterations: int = 500) -> dict[str, Any]:
    """Steps per second of `Adam` as a run takes them: points are drawn on the host once per reported step, every step is a replayed graph."""
    method = Adam(points=n_points, iterations=iterations)
    run = method.start(membrane(), RunSettings(0, 1e-9, False, 3600.0, device, "float32", Siren(width=WIDTH, depth=DEPTH, omega_0=10.0)))
    run.advance()  # warm-up and capture
    seconds = [busy_seconds(run.advance, device) for _ in range(max(2, rounds // 4))]
    graphed = run._graphed
    return {
        "n_points": n_points,
        "steps_per_second": iterations / statistics.median(seconds),
        "no_graph_because": "nothing was captured" if graphed is None else graphed.reason,
    }


def measure_memory(sizes: tuple[int, int], device: str = "cuda", limit: float = MEMORY_SECONDS) -> dict[str, Any]:
    """Peak device memory of a loss and its gradient at two numbers of points; the larger one is what `limit` seconds allow, by a first trial."""
    problem = NetworkProblem(membrane(), torch.device(device), torch.float32)
    module = Siren(width=8, depth=2).build(problem.n_inputs, 1, dtype=torch.float32, device=device)

    def peak(n_points: int) -> tuple[int, float]:
        gc.collect()
        torch.cuda.reset_peak_memory_stats()
        before, start = torch.cuda.memory_allocated(), time.perf_counter()
        accumulate_gradient(problem, module, draw_chunks(problem, n_points, 1, MEMORY_CHUNK), torch.zeros(0, device=device))
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before, time.perf_counter() - start

    peak(MEMORY_CHUNK)
    small, large = sizes
    small_bytes, _ = peak(small)
    _, seconds = peak(8 * MEMORY_CHUNK)
    affordable = int(8 * MEMORY_CHUNK * limit / seconds)
    n_points = min(large, max(small, affordable))
    large_bytes, seconds = peak(n_points)
    peaks = {small: small_bytes, n_points: large_bytes}
    return {"peak_bytes": peaks, "growth": large_bytes / small_bytes, "seconds": seconds, "wanted": large}


def measure_problem(name: str, *, trained: bool, seconds: float = SOLVE_SECONDS, device: str = "cuda") -> dict[str, Any]:
    """Solve a problem of the catalogue within a budget; relative L2 error outside the cores of its sources."""
    import pinnsiren as ps  # what a machine lacks for these rows alone must not cost the others
    from pinnsiren.problems import load
    from pinnsiren.validation.references import exact_reference

    from .evidence import measure_errors

    problem = load(name)
    reference = exact_reference(problem)
    assert reference is not None
    network = Siren(width=64, depth=2) if trained else None
    start = time.perf_counter()
    solution = ps.solve(problem, network=network, seconds=seconds, seed=0, device=device, progress=False)
    wall = time.perf_counter() - start
    return {
        "problem": name,
        "way": "trained" if trained else "auto",
        "budget": seconds,
        "seconds": wall,
        "error": measure_errors(problem, solution, reference)[0],
        "estimated_error": float(solution.estimated_error),
        "status": str(solution.status.code),
        "precision": solution.precision,
    }


def _with_tf32(case: Case, rounds: int) -> dict[str, Any]:
    with tf32_allowed(torch.device("cuda")):
        return {**measure(case, rounds), "dtype": "tf32"}


def rows(rounds: int, *, quick: bool) -> list[Row]:
    """All rows: what is short first, then the compiler, whose time nothing limits, and what keeps a budget of its own last."""
    gpu = Case("laplacian", 1024 if quick else 4096, 2, device="cuda")
    found = [
        Row(f"graph, {n} points, {kind}", "graph", partial(measure_graph, n, rounds, kind), 20) for n in (1024, 4096) for kind in ("ieee", "3xtf32")
    ]
    found.append(Row("graph, 4096 points, float64", "graph", partial(measure_graph, 4096, rounds, "ieee", torch.float64), 20))
    n_residuals = 400 if quick else 4000
    found.append(Row("Gauss-Newton", "gauss_newton", partial(measure_gauss_newton, n_residuals, WIDTH, "cuda", rounds), 30))
    cases = {"ieee": gpu, "float64": replace(gpu, dtype=torch.float64), "3xtf32": replace(gpu, arithmetic="3xtf32")}
    if not quick:
        cases |= {f"ieee, {n} points": replace(gpu, n_points=n) for n in (1024, 65_536)}
        cases |= {"3xtf32, 65536 points": replace(gpu, n_points=65_536, arithmetic="3xtf32")}
    cases["biharmonic"] = Case("biharmonic", 1024, 2, device="cuda")
    found += [Row(name, "results", partial(measure, case, rounds), 20) for name, case in cases.items()]
    found.append(Row("tf32", "results", partial(_with_tf32, gpu, rounds), 20))
    found.append(Row("training, 1024 points", "training", partial(measure_training, 1024, rounds), 30))
    found.append(Row("split products", "split_products", lambda: {"error_against_float64": product_error(torch.device("cuda"))}, 10))
    if not quick:
        found.append(Row("compiled", "results", partial(measure, gpu, rounds, compile_nested=True), 90))
    sizes, limit = ((100_000, 1_000_000), 10) if quick else (MEMORY_SIZES, MEMORY_SECONDS)
    found.append(Row("memory", "memory", partial(measure_memory, sizes, limit=limit), limit + 30))
    for trained in (False, True):
        for name in ("helmholtz_point_source", "helmholtz_disc"):
            label = f"{name}, {'trained' if trained else 'auto'}"
            budget = 5 if quick else SOLVE_SECONDS
            found.append(Row(label, "problems", partial(measure_problem, name, trained=trained, seconds=budget), budget + 20))
    return found


def run_cuda(rounds: int, *, quick: bool) -> dict[str, Any]:
    """Measure what the time allows."""
    end = time.perf_counter() + GPU_SECONDS
    record: dict[str, Any] = {"results": [], "failed": {}, "row_seconds": {}}
    for row in rows(rounds, quick=quick):
        start = time.perf_counter()
        measured = attempt(row.run, end - row.seconds)
        record["row_seconds"][row.name] = time.perf_counter() - start
        if "failed" in measured:
            record["failed"][row.name] = measured["failed"]
        else:
            record.setdefault(row.group, []).append({"row": row.name, **measured})
    record["claims"] = claims(record)
    return record


def claims(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What has to be shown on an H200 beside what a record holds; a claim without its row says None."""

    def value(group: str, row: str, *keys: str) -> Any:
        found: Any = next((entry for entry in record.get(group, []) if entry["row"] == row), None)
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def claim(measured: Any, bar: float, *, most: bool = False) -> dict[str, Any]:
        reached = None if measured is None else bool(measured <= bar if most else measured >= bar)
        return {"measured": measured, "bar": bar, "reached": reached}

    compiled = value("results", "compiled", "over_best_adjoint", "compiled nested")
    gauss_newton = value("gauss_newton", "Gauss-Newton", "milliseconds", "factors", "median")
    found = {
        "points per second, IEEE float32": claim(value("graph", "graph, 4096 points, ieee", "graph_points_per_second"), 15e6),
        "over nested autograd, eager": claim(value("results", "ieee", "over_best_adjoint", "nested"), 12),
        "over nested autograd, compiled": claim(compiled, 4),
        "points per second, 3xTF32": claim(value("graph", "graph, 4096 points, 3xtf32", "graph_points_per_second"), 30e6),
        "points per second, float64": claim(value("graph", "graph, 4096 points, float64", "graph_points_per_second"), 12e6),
        "optimizer steps per second, 1,024 points": claim(value("graph", "graph, 1024 points, ieee", "graph_steps_per_second"), 8000),
        "Gauss-Newton step, milliseconds": claim(gauss_newton, 30, most=True),
        "memory growth": claim(value("memory", "memory", "growth"), 1.05, most=True),
    }
    for row, dtype, bar in (("ieee", "float32", 5e-5), ("3xtf32", "3xTF32", 5e-5), ("float64", "float64", 1e-12)):
        error = value("results", row, "gradient_error_against_float64", "hand adjoint")
        found[f"gradient error, {dtype}"] = claim(error, bar, most=True)
    for way, bar in (("auto", 1e-4), ("trained", 2e-3)):
        for name in ("helmholtz_point_source", "helmholtz_disc"):
            found[f"{name}, {way}"] = claim(value("problems", f"{name}, {way}", "error"), bar, most=True)
    return found
