"""The numbers that the documents print, recomputed: `python -m benchmarks.evidence [--case NAME ...]`, or `make evidence CASE=name`.

Input: names of cases. Output: one JSON file per case in `results/evidence`, written after every run and resumed, and with `--table` the page
`results/evidence.md`. The exit code is 1 when a bar is missed or a run reports success with an error above ten times its own estimate.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pinnsiren as ps
from pinnsiren.language import declaration_of
from pinnsiren.language.free_constants import free_constant_fields
from pinnsiren.language.serialisation import declaration_digest
from pinnsiren.validation.comparison import estimate_holds, relative_l2
from pinnsiren.validation.points import sample_points
from pinnsiren.validation.references import Reference, exact_reference, grid_reference

from .evidence_cases import CASES as HELMHOLTZ_CASES
from .evidence_cases import Case
from .evidence_checks import CHECKS as OWN_CHECKS
from .evidence_checks import Check
from .evidence_store import CHECKOUT, NUMERICS, WITHOUT_GRIDS, Record, kept_row, start_record, summarise, with_row, write_record
from .evidence_table import build_short_table, build_table, failures, read_records, replace_measured
from .family_cases import discover as discover_cases
from .reference_checks import discover as discover_checks

RESULTS = CHECKOUT / "benchmarks" / "results"
# Runs with another budget than the bar's say nothing about it; they go where git does not look.
TRIALS = CHECKOUT / "out" / "evidence"
README = CHECKOUT / "README.md"
N_THREADS = min(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
CORE_DEVIATIONS = 6.0
# Among the measures of a case: the error that the solution's own estimate speaks of, where it is not that of all fields.
ESTIMATED = "estimated"
FACTS = ("title", "method", "bar", "aim", "elsewhere", "allowed_to_miss")

CASES: dict[str, Case] = {**HELMHOLTZ_CASES, **discover_cases()}
CHECKS: dict[str, Check] = {**OWN_CHECKS, **discover_checks()}
_grids: dict[str, Reference] = {}


def run_case(case: Case, folder: Path, *, n_seeds: int | None = None, seconds: float | None = None, force: bool = False) -> Record:
    """Run what is missing of a case; the file is written after every run."""
    path, budget = folder / f"{case.name}.json", seconds or case.seconds
    facts = {name: getattr(case, name) for name in FACTS}
    sources = NUMERICS if case.reference == "grid" else WITHOUT_GRIDS
    record = start_record(path, case.name, {"method": case.method, "seconds": budget, "reference": case.reference}, facts, force, sources)
    for seed in case.seeds[:n_seeds]:
        problem = case.declare(seed)
        row = kept_row(record, seed, declaration_digest(problem))
        kept = row is not None
        if row is None:
            row = run_once(case, problem, budget, seed)
            record = with_row(record, row)
        print(f"  seed {seed}: {'kept, ' if kept else ''}{_line(row)}", flush=True)
        record["summary"] = summarise(record["rows"], case.bar, case.aim, budget, len(case.seeds), case.allowed_to_miss, case.worst)
        write_record(path, record)
    return record


def run_once(case: Case, problem: ps.Problem, seconds: float, seed: int) -> Record:
    """Solve a problem once, and measure what came out by the declaration alone.

    A solver that raises leaves a row without numbers, which counts as missed.

    Raises:
        KeyboardInterrupt: the run was interrupted; half a run is no evidence.
    """
    common = {"seed": seed, "declaration": declaration_digest(problem), "date": datetime.now(UTC).isoformat(timespec="seconds")}
    common["constants"] = case.constants(seed)
    start = time.perf_counter()
    try:
        solution = case.solve(problem, seconds, seed)
    except Exception as error:
        wall = time.perf_counter() - start
        return {**common, **_nothing(), "status": "error", "status_text": f"{type(error).__name__}: {error}", "seconds": wall, "wall_seconds": wall}
    wall = time.perf_counter() - start
    if solution.status.code == "interrupted":
        raise KeyboardInterrupt
    reference = _reference(case, problem)
    judged, measures = (None, {}) if case.measure is None else case.measure(problem, solution)
    if ESTIMATED in measures:
        true_error, core_error = measures[ESTIMATED], None
    else:
        true_error, core_error = measure_errors(problem, solution, reference)
    judged = true_error if judged is None else judged
    estimate = float(solution.estimated_error)
    # The bar allows nothing for what the grid does not know of itself.
    within = estimate_holds(true_error, reference.error, estimate)
    sizes = solution.history.columns.get("size", [])
    return {
        **common,
        "true_error": judged,
        **({"relative_l2": true_error, "measures": measures} if measures else {}),
        "core_error": core_error,
        "estimated_error": estimate,
        "error_over_estimate": true_error / estimate if estimate > 0 else math.inf,
        "within_ten_estimates": within,
        "honest": within or not solution.status.success,
        "status": solution.status.code,
        "status_text": solution.status.text,
        "seconds": float(solution.seconds),
        "wall_seconds": wall,
        "method": solution.method_text,
        "size": float(sizes[-1]) if sizes else None,
        "steps": max((len(column) for column in solution.history.columns.values()), default=0),
        "reference": reference.label,
        "reference_error": reference.error,
    }


def _nothing() -> Record:
    numbers = ("true_error", "core_error", "estimated_error", "error_over_estimate", "size", "reference_error")
    # Who raises claims nothing.
    return {**dict.fromkeys(numbers), "within_ten_estimates": True, "honest": True, "method": "", "steps": 0, "reference": ""}


def measure_errors(problem: ps.Problem, solution: Any, reference: Reference) -> tuple[float, float | None]:
    """Return the relative complex L2 error outside the cores of the declared sources, and inside them (None without cores), of the worst field.

    A constant that the problem leaves open is removed from both sides.
    """
    points = sample_points(problem.domain, declared_cores(problem))
    free = free_constant_fields(problem)
    outside, inside = [], []
    for name in [declaration_of(candidate).name for candidate in problem.fields]:
        for errors, places in ((outside, points.outside), (inside, points.inside)):
            if len(places):
                found, true = np.asarray(solution[name].at(places)), reference.fields[name](places)
                if name in free:
                    found, true = (values - values.mean(axis=-1, keepdims=True) for values in (found, true))
                error = relative_l2(found, true)
                errors.append(error if math.isfinite(error) else math.inf)
    outside += _errors_of_unknowns(problem, solution, reference, points.outside)
    return max(outside), max(inside, default=None)


def _errors_of_unknowns(problem: ps.Problem, solution: Any, reference: Reference, points: Any) -> list[float]:
    """Return the relative errors of the coefficient fields and scalars that the reference knows."""
    errors = []
    for candidate in problem.coefficients:
        name = declaration_of(candidate).name
        if name in reference.fields:
            columns = [problem.coordinates.index(symbol) for symbol in candidate.args]
            errors.append(relative_l2(np.asarray(solution[name].at(points[:, columns])), reference.fields[name](points)))
    for name, number in reference.numbers.items():
        errors.append(float(abs(complex(solution[name]) - number) / abs(number)))
    return [error if math.isfinite(error) else math.inf for error in errors]


def declared_cores(problem: ps.Problem) -> tuple[tuple[tuple[float, ...], float], ...]:
    """Return centre and six standard deviations of each declared Gaussian source, whatever the solver made of it."""
    sources = sorted({source for equation in problem.equations for source in equation.atoms(ps.GaussianSource)}, key=str)
    return tuple((tuple(float(c) for c in source.centre), CORE_DEVIATIONS * float(source.variance) ** 0.5) for source in sources)


def _reference(case: Case, problem: ps.Problem) -> Reference:
    """Return what a problem of the case is compared with; a grid is solved once per process."""
    if case.reference == "grid":
        digest = declaration_digest(problem)
        if digest not in _grids:
            _grids[digest] = grid_reference(problem)
        return _grids[digest]
    exact = exact_reference(problem)
    assert exact is not None, f"the case `{case.name}` is judged by an exact solution that its problem does not declare"
    return exact


def run_check(check: Check, folder: Path, force: bool = False) -> Record:
    """Measure a check, unless its file still holds."""
    path = folder / f"{check.name}.json"
    record = start_record(path, check.name, {}, {"title": check.title}, force, check.sources)
    if not record["rows"]:
        quantities = [{**asdict(quantity), "met": quantity.met} for quantity in check.measure()]
        record["rows"] = [{"seed": 0, "date": datetime.now(UTC).isoformat(timespec="seconds"), "quantities": quantities}]
    record["quantities"] = record["rows"][0]["quantities"]
    for quantity in record["quantities"]:
        print(f"  {quantity['name']}: {quantity['value']:.4g}, {'met' if quantity['met'] else 'MISSED'}: {quantity['sense']} {quantity['bar']:g}")
    write_record(path, record)
    return record


def _line(row: Record) -> str:
    numbers = [f"{label} {row[key]:.2e}" for label, key in (("error", "true_error"), ("estimate", "estimated_error")) if row[key] is not None]
    return f"{', '.join(numbers) or row['status_text']}, {row['status']}, {row['seconds']:.1f} s{'' if row['honest'] else ', NOT HONEST'}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases that are asked for; return the exit code."""
    known = (*CASES, *CHECKS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--case", nargs="+", choices=known, metavar="NAME", help=f"all by default; one or more of {', '.join(known)}")
    parser.add_argument("--seeds", type=int, help="only the first so many seeds of a case")
    parser.add_argument("--seconds", type=float, help="another budget than the bar's; the results go to out/evidence")
    parser.add_argument("--force", action="store_true", help="keep no earlier rows")
    parser.add_argument("--list", action="store_true", help="print the cases and leave")
    parser.add_argument("--table", action="store_true", help="write evidence.md and the README's table from what is there; runs only --case")
    given = parser.parse_args(arguments)
    if given.list:
        for name in known:
            print(f"{name:22s} {CASES[name].title + ', ' + CASES[name].method if name in CASES else CHECKS[name].title}")
        return 0
    torch.set_num_threads(N_THREADS)
    folder = TRIALS if given.seconds else RESULTS / "evidence"
    names = given.case or (() if given.table else known)
    for name in names:
        print(name, flush=True)
        if name in CASES:
            run_case(CASES[name], folder, n_seeds=given.seeds, seconds=given.seconds, force=given.force)
        else:
            run_check(CHECKS[name], folder, given.force)
    records = read_records(folder, known)
    if given.table:
        page = build_table(records)
        (folder.parent / "evidence.md").write_text(page, encoding="utf-8")
        if folder.parent == RESULTS:
            README.write_text(replace_measured(README.read_text(encoding="utf-8"), build_short_table(records)), encoding="utf-8")
        print(page)
    lines = failures([record for record in records if not names or record["case"] in names])
    print("\n".join([f"missed: {line}" for line in lines] or ["every bar met, every success honest"]))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
