"""Rows of the engine benchmark: one case timed in all ways, bytes kept for the backward pass, bandwidth; and what a row is that fails.

Input: a `Case`. Output: records that JSON holds. `engine` puts those of a CPU core together, `engine_gpu` those of a GPU.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from pinnsiren.networks.split_products import as_factor, multiply

from .derivative_step import busy_seconds, relative_difference, spread
from .engine_ways import Case, Step, build, bytes_kept, captured, compiled_step, deepxde_step, forward_step, nested_step, streams_step

PRODUCTS = 3  # in a row: the first alone would find a cold cache
GRAPHED = "hand adjoint, one graph"


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
    if case.device == "cuda":
        try:
            steps[GRAPHED] = captured(streams_step(built))
        except Exception as error:
            missing[GRAPHED] = f"{type(error).__name__}: {error}".splitlines()[0]
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
    best = seconds.get(GRAPHED, hand)
    return {
        "operator": case.operator,
        "n_points": case.n_points,
        "n_out": case.n_out,
        "dtype": case.label,
        "rounds": rounds,
        "products_per_layer": {"streams": 3 * case.layout.size, "nested": case.nested_units},
        "milliseconds": {name: spread([1e3 * s for s in seconds[name]]) for name in steps},
        "over_hand_adjoint": {name: spread([a / b for a, b in zip(seconds[name], hand, strict=True)]) for name in steps if name != "hand adjoint"},
        "over_best_adjoint": {name: statistics.median(a / b for a, b in zip(seconds[name], best, strict=True)) for name in steps},
        "product_gflops": flop / statistics.median(seconds["product"]) / 1e9,
        "hand_adjoint_gflops": case.flop / statistics.median(hand) / 1e9,
        "share_of_product_rate": spread(shares),
        "points_per_second": case.n_points / statistics.median(hand),
        "best_points_per_second": case.n_points / statistics.median(best),
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


def attempt(run: Callable[[], dict[str, Any]], deadline: float = float("inf")) -> dict[str, Any]:
    """A row, or why there is none; nothing starts after the deadline."""
    if time.perf_counter() > deadline:
        return {"failed": "out of time"}
    try:
        return run()
    except Exception as error:  # one row that fails must not cost the others
        return {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}
