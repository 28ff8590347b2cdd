"""A thousand shots of one linear operator against one shot: processor seconds of one core, declaring and compiling included.

    python -m benchmarks.many_shots                      # 1 and 1,000 Gaussian sources, in turns, three times
    python -m benchmarks.many_shots --shots 200 --rounds 1 --k 12

Helmholtz equation on (-1/2, 1/2)^2 with an absorbing layer, sources at random places; every field is compared with its closed form, the shots all
together in one relative error and the worst by itself. Each run has a process of its own. Results: `benchmarks/results/many_shots.json`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp
import torch

import pinnsiren as ps
from pinnsiren.reference_solvers.closed_forms import point_source

from .derivative_step import machine
from .evidence_store import CHECKOUT

RESULT = CHECKOUT / "benchmarks" / "results" / "many_shots.json"
BAR = 2.0
CORE_DEVIATIONS = 6.0


def run_survey(n_shots: int, *, k: float, variance: float, seed: int, budget: float, tolerance: float) -> dict[str, Any]:
    """Declare, compile, solve; return seconds and errors."""
    draw = np.random.default_rng(seed)
    places = draw.uniform(-0.4, 0.4, (n_shots, 2))
    start = time.process_time()
    x, y = ps.coordinates("x y")
    u = ps.field("u", x, y, complex=True, shots=n_shots)
    sources = ps.SourceFamily([ps.GaussianSource(at={x: a, y: b}, variance=variance, amplitude=1) for a, b in places])
    problem = ps.Problem(
        name="survey",
        fields=[u],
        domain=ps.Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}),
        equations=[sp.Eq(ps.laplacian(u) + k**2 * u, sources)],
        conditions=[ps.PML(u, width=0.5, strength=5)],
    )
    declared = time.process_time()
    solution = ps.solve(problem, seconds=budget, tolerance=tolerance, seed=seed, progress=False)
    solved = time.process_time()
    points = draw.uniform(-0.5, 0.5, (400, 2))
    exact = np.stack([point_source(k, place, variance, 1.0)(*points.T) for place in places])
    difference = np.asarray(solution["u"].at(points)) - exact
    own = np.linalg.norm(difference, axis=1) / np.linalg.norm(exact, axis=1)
    return {
        "shots": n_shots,
        "declare": declared - start,
        "solve": solved - declared,
        "total": solved - start,
        "status": str(solution.status.code),
        "features": int(solution.history["size"][-1]),
        "estimated_error": float(solution.estimated_error),
        "error": float(np.linalg.norm(difference) / np.linalg.norm(exact)),
        "worst_shot": float(own.max()),
    }


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shots", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--k", type=float, default=8.0)
    parser.add_argument("--variance", type=float, default=4e-3)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--budget", type=float, default=300.0, help="seconds that a run may take")
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--here", type=int, nargs=2, metavar=("SHOTS", "SEED"), help="one run in this process, printed")
    return parser.parse_args(arguments)


def main() -> None:
    """Run one shot and many in turns."""
    arguments = parse()
    constants = {name: getattr(arguments, name) for name in ("k", "variance", "tolerance", "budget")}
    if arguments.here:
        torch.set_num_threads(1)
        print(json.dumps(run_survey(arguments.here[0], seed=arguments.here[1], **constants)))
        return
    rows = []
    for seed in range(arguments.rounds):
        for n_shots in (1, arguments.shots):
            command = [sys.executable, "-m", "benchmarks.many_shots", "--here", str(n_shots), str(seed)]
            command += [part for name, value in constants.items() for part in (f"--{name}", repr(value))]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT, env={**os.environ, "OMP_NUM_THREADS": "1"})
            rows.append({"seed": seed, **json.loads(done.stdout.strip().splitlines()[-1])})
            print(json.dumps(rows[-1]), flush=True)
    # A single shot may be content with fewer features than the worst of many: the sizes stand beside the times.
    ratios = [many["total"] / one["total"] for one, many in zip(rows[::2], rows[1::2], strict=True)]
    record = {"benchmark": "many shots", "bar": BAR, **constants, "ratio": statistics.median(ratios), "ratios": ratios, "rows": rows}
    record["machine"] = machine("cpu")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{arguments.shots} shots take {record['ratio']:.2f} times as long as one; the bar is {BAR:g}")


if __name__ == "__main__":
    main()
