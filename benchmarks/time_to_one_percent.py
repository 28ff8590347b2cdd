"""Processor time to a relative error of 1 % on `helmholtz_disc`: this package and its peers, on one core each.

    python -m benchmarks.time_to_one_percent                     # the peers that are installed, 90 seconds each
    python -m benchmarks.time_to_one_percent --budget 20 --way auto --way "DeepXDE, scattered field"
    python -m benchmarks.time_to_one_percent --table             # prints the table of the record

Optional peers: `pip install deepxde fastlsq`; one that is not installed is a row that says so. Every way runs in a process of its own on one thread;
the packages are imported and the exact solution is summed before the clock starts. Results: `benchmarks/results/time_to_one_percent.json`.
`--k` and the like restate the problem with other constants, and nothing in a way knows the standard ones.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import pinnsiren as ps

from .derivative_step import machine
from .disc_peers import Finished, Statement, Watch, solve_deepxde, solve_fastlsq, solve_here, solve_original_siren
from .evidence_store import CHECKOUT

BAR, BUDGET = 1e-2, 90.0
RESULT = CHECKOUT / "benchmarks" / "results" / "time_to_one_percent.json"
SCALES = (15.0, 30.0)
"""Bandwidths for fastlsq: the largest that its own tuning tries, and twice that; the wavenumber is 20."""


@dataclass(frozen=True)
class Way:
    """One way to solve.

    Attributes:
        run: works until the watch is done.
        needs: package that has to be installed, or None.
    """

    run: Callable[[Watch, int], None]
    needs: str | None = None


def _fastlsq(scattered: bool, scale: float) -> Way:
    return Way(lambda watch, seed: solve_fastlsq(watch, scattered, scale, seed), "fastlsq")


WAYS: dict[str, Way] = {
    "auto": Way(lambda watch, seed: solve_here(watch, None, seed)),
    "trained Siren(64, 2)": Way(lambda watch, seed: solve_here(watch, ps.Siren(width=64, depth=2), seed)),
    "DeepXDE": Way(lambda watch, seed: solve_deepxde(watch, False, seed), "deepxde"),
    "DeepXDE, scattered field": Way(lambda watch, seed: solve_deepxde(watch, True, seed), "deepxde"),
    "original SIREN": Way(lambda watch, seed: solve_original_siren(watch, 52_900, seed)),
    "original SIREN, 2,048 points a step": Way(lambda watch, seed: solve_original_siren(watch, 2048, seed)),
    **{f"fastlsq, bandwidth {scale:g}": _fastlsq(False, scale) for scale in SCALES},
    **{f"fastlsq, scattered field, bandwidth {scale:g}": _fastlsq(True, scale) for scale in SCALES},
}


def run_way(name: str, statement: Statement, bar: float, budget: float, seed: int) -> dict[str, Any]:
    """Return the row of one way, in this process."""
    way = WAYS[name]
    row: dict[str, Any] = {"way": name, "seed": seed}
    if way.needs is not None:
        if importlib.util.find_spec(way.needs) is None:
            return {**row, "missing": f"{way.needs} is not installed: pip install {way.needs}"}
        importlib.import_module(way.needs)
        row["version"] = importlib.metadata.version(way.needs)
    watch = Watch(statement, bar, budget)
    try:
        way.run(watch, seed)
    except Finished:
        pass
    seconds, error = min(watch.trace, key=lambda look: look[1])
    reached = error <= bar
    spent = watch.trace[-1][0]
    row.update(seconds=seconds if reached else None, error=error, spent=spent, trace=watch.trace, settings=watch.settings)
    # The favour: a size that was tried before is not counted.
    if reached and "attempts" in watch.settings:
        row["seconds"] = watch.settings["attempts"][-1]["seconds"]
    return row


def run_apart(name: str, arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return the row of one way, from a process with one thread."""
    constants = [part for key in ("k", "radius", "squared_slowness", "variance") for part in (f"--{key}", repr(getattr(arguments, key)))]
    command = [sys.executable, "-m", "benchmarks.time_to_one_percent", "--here", name, "--seed", str(seed), *constants]
    command += ["--budget", repr(arguments.budget), "--bar", repr(arguments.bar)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DDE_BACKEND": "pytorch"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=CHECKOUT)
    if done.returncode:
        return {"way": name, "seed": seed, "missing": (done.stderr.strip() or "no message").splitlines()[-1]}
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def table(record: Mapping[str, Any]) -> str:
    """Return the rows as Markdown; of the bandwidths of fastlsq the best, by seconds where the bar is reached, else by error."""
    best: dict[str, dict[str, Any]] = {}
    for row in record["rows"]:
        family = row["way"].partition(", bandwidth")[0]
        if family not in best or _rank(row) < _rank(best[family]):
            best[family] = row
    ours = best.get("auto", {}).get("seconds")
    lines = [f"| way | seconds to {record['bar']:.0%} | over `auto` | best error | seconds spent | remarks |", "|---|---|---|---|---|---|"]
    for row in best.values():
        if "missing" in row:
            lines.append(f"| {row['way']} | - | - | - | - | {row['missing']} |")
            continue
        reached = row["seconds"] is not None
        time = f"{row['seconds']:.1f}" if reached else "not reached"
        ratio = "-" if not ours else f"{row['seconds'] / ours:.1f}" if reached else f"> {row['spent'] / ours:.0f}"
        shown = ("steps", "points", "network", "optimizer", "status")
        remarks = ", ".join(f"{key} {value}" for key, value in row["settings"].items() if key in shown)
        lines.append(f"| {row['way']} | {time} | {ratio} | {row['error']:.1e} | {row['spent']:.0f} | {remarks or _sizes(row)} |")
    return "\n".join(lines)


def _rank(row: Mapping[str, Any]) -> tuple[float, float]:
    seconds = row.get("seconds")
    return (float("inf") if seconds is None else seconds, row.get("error", float("inf")))


def _sizes(row: Mapping[str, Any]) -> str:
    return "features: " + ", ".join(f"{a['features']} gave {a['error']:.1e} in {a['seconds']:.1f} s" for a in row["settings"].get("attempts", ()))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--way", action="append", choices=sorted(WAYS), help="one of the ways; may be given several times")
    parser.add_argument("--here", choices=sorted(WAYS), help="run one way in this process and print its row")
    parser.add_argument("--budget", type=float, default=BUDGET, help="processor seconds per way")
    parser.add_argument("--bar", type=float, default=BAR)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true", help="print the table of what is recorded, run nothing")
    standard = Statement()
    for key in ("k", "radius", "squared_slowness", "variance"):
        parser.add_argument(f"--{key}", type=float, default=getattr(standard, key))
    return parser.parse_args(arguments)


def main() -> None:
    """Run the ways one after another; rows are written as they come, and a row of an earlier run stays where its way is not run again."""
    arguments = parse()
    if arguments.here:
        statement = Statement(arguments.k, arguments.radius, arguments.squared_slowness, variance=arguments.variance)
        torch.set_num_threads(1)
        print(json.dumps(run_way(arguments.here, statement, arguments.bar, arguments.budget, arguments.seed)))
        return
    statement = Statement(arguments.k, arguments.radius, arguments.squared_slowness, variance=arguments.variance)
    header = {"benchmark": "time to a relative error", "bar": arguments.bar, "problem": {**asdict(statement), "amplitude": str(statement.amplitude)}}
    header = json.loads(json.dumps(header))
    old = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    rows = {row["way"]: row for row in old.get("rows", [])} if all(old.get(key) == value for key, value in header.items()) else {}
    if not arguments.table:
        for name in arguments.way or WAYS:
            rows[name] = {**run_apart(name, arguments, arguments.seed), "machine": machine("cpu")}
            record = {**header, "rows": [rows[key] for key in WAYS if key in rows]}
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    print(table({**header, "rows": [rows[key] for key in WAYS if key in rows]}))


if __name__ == "__main__":
    main()
