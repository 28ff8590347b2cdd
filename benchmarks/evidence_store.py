"""Records of evidence on disk: one JSON file per case, tied to the numerics, the machine and the request that made its rows.

Input: rows. Output: files written whole or not at all. A row is reused only when the sources of the numerics, the machine, the method, the budget and
the declaration are the same; the commit is for people, the digest of the sources decides, so that rows made before a commit hold after it.
"""

import hashlib
import json
import math
import os
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pinnsiren.solving import versions
from pinnsiren.validation.machine import hardware_record

from .evidence_cases import WORST_OVER_MEDIAN

CHECKOUT = Path(__file__).resolve().parent.parent
NUMERICS = ("pinnsiren", "problems", "reference_solvers", "validation")
# What a solve that is judged by a closed form depends on.
WITHOUT_GRIDS = ("pinnsiren", "problems", "reference_solvers/closed_forms", "validation")
# A run ends after a whole step; what it takes beyond the budget belongs to the last one.
OVERTIME = 1.1
# What must agree before rows of a file are kept.
IDENTITY = ("case", "numerics", "hardware", "versions", "request")

Record = dict[str, Any]


def provenance(sources: tuple[str, ...] = NUMERICS) -> Record:
    """Return the last commit of the sources, whether the tree differs from it, and a digest of them as they are."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in sources for path in (CHECKOUT / folder).rglob("*.py")):
        digest.update(str(path.relative_to(CHECKOUT)).encode() + b"\0" + path.read_bytes())
    return {
        "commit": _git("log", "-1", "--format=%H", "--", *sources) or "unknown",
        "modified": _git("status", "--porcelain", "--", *sources) != "",
        "numerics": digest.hexdigest()[:16],
    }


def _git(*arguments: str) -> str | None:
    try:
        return subprocess.run(["git", *arguments], cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def machine() -> Record:
    """Return the hardware and the threads in use."""
    return {**hardware_record(), "torch_threads": torch.get_num_threads()}


def start_record(
    path: Path, case: str, request: Mapping[str, Any], facts: Mapping[str, Any], force: bool = False, sources: tuple[str, ...] = NUMERICS
) -> Record:
    """Return the record of a case with the rows on disk that still hold.

    Args:
        path: file of the case.
        case: its name.
        request: what a row depends on beside the numerics: method and budget.
        facts: what is printed beside the rows: title, bar, aim.
        force: keep nothing.
        sources: folders whose change makes the rows stale.
    """
    state = {**provenance(sources), "hardware": machine(), "versions": versions()}
    fresh: Record = {"case": case, **facts, **state, "request": dict(request), "rows": []}
    if path.exists() and not force:
        known = json.loads(path.read_text(encoding="utf-8"))
        if all(known.get(key) == fresh[key] for key in IDENTITY):
            fresh["rows"] = known["rows"]
    return fresh


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record whole or not at all; numbers that are not finite become null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(finite(record), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def finite(value: Any) -> Any:
    """Return plain JSON: complex numbers as pairs, numbers that are not finite as None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    if isinstance(value, complex):
        return [finite(value.real), finite(value.imag)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def with_row(record: Record, row: Mapping[str, Any]) -> Record:
    """Return the record with a row in place of the one of the same seed, rows in the order of their seeds."""
    others = [other for other in record["rows"] if other["seed"] != row["seed"]]
    return {**record, "rows": sorted([*others, finite(row)], key=lambda entry: entry["seed"])}


def kept_row(record: Mapping[str, Any], seed: int, declaration: str) -> Record | None:
    """Return the row of a seed if it was made for the same declaration and did not end in an exception."""
    rows = (row for row in record["rows"] if row["seed"] == seed and row["declaration"] == declaration)
    return next((row for row in rows if row["status"] != "error"), None)


def summarise(
    rows: Sequence[Mapping[str, Any]],
    bar: float,
    aim: float | None,
    seconds: float,
    expected: int,
    allowed_to_miss: int | None = None,
    allowed_worst: float = WORST_OVER_MEDIAN,
) -> Record:
    """Return median, worst, and what they mean.

    A missing or infinite error counts as infinite. With `allowed_to_miss` the bar is met when no more rows than that lie above it; without, when the
    median is at or below the bar and the worst at most `allowed_worst` times as large. The aim is judged by the median.
    `in_time` compares the median wall time, compilation included, with the budget.
    """
    errors = [_number(row["true_error"]) for row in rows]
    median, worst = (statistics.median(errors), max(errors)) if errors else (math.inf, math.inf)
    under = sum(error <= bar for error in errors)
    if allowed_to_miss is None:
        bar_met = median <= bar and worst <= allowed_worst * bar
    else:
        bar_met = bool(rows) and len(rows) - under <= allowed_to_miss
    wall = _median([row["wall_seconds"] for row in rows])
    return {
        "runs": len(rows),
        "expected": expected,
        "complete": len(rows) >= expected,
        "median_error": median,
        "worst_error": worst,
        "median_estimate": _median([_number(row["estimated_error"]) for row in rows]),
        "median_seconds": _median([row["seconds"] for row in rows]),
        "median_wall_seconds": wall,
        "in_time": wall <= OVERTIME * seconds,
        "worst_wall_seconds": max((row["wall_seconds"] for row in rows), default=math.inf),
        "under_bar": under,
        "successes": sum(row["status"] == "success" for row in rows),
        "dishonest_seeds": [row["seed"] for row in rows if not row["honest"]],
        "estimate_too_small_seeds": [row["seed"] for row in rows if not row["within_ten_estimates"]],
        "bar_met": bar_met,
        "aim_met": None if aim is None else median <= aim,
    }


def _number(value: float | None) -> float:
    return math.inf if value is None else value


def _median(values: Sequence[float | None]) -> float:
    return statistics.median([_number(value) for value in values]) if values else math.inf
