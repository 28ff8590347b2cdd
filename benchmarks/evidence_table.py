"""The table of evidence, from the JSON records alone.

Input: the folder of records. Output: Markdown. A record that does not say on which machine it was made is refused.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HEADER = ("problem", "method", "seconds (median)", "bar", "aim", "median error", "worst error", "median estimate", "reached", "honest", "elsewhere")
CHECK_HEADER = ("quantity", "value", "bar", "met", "how")
DRAW_HEADER = ("draw", "k", "deviation", "disc", "layer", "error", "estimate", "status", "seconds")
NEEDED = ("cpu_model", "cpu_count", "torch_threads")

Record = Mapping[str, Any]


def read_records(folder: Path, order: Sequence[str] = ()) -> list[Record]:
    """Return the records of a folder, those named in `order` first.

    Raises:
        ValueError: a record without hardware: a number says nothing without its machine.
    """
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    for record in records:
        missing = [key for key in NEEDED if not record.get("hardware", {}).get(key)]
        if missing or not record.get("commit"):
            raise ValueError(f"the record of `{record.get('case')}` does not say {', '.join(missing) or 'its commit'}: run it again with --force")
    ranks = {name: rank for rank, name in enumerate(order)}
    return sorted(records, key=lambda record: (ranks.get(record["case"], len(ranks)), record["case"]))


def build_table(records: Sequence[Record]) -> str:
    """Return the page."""
    solved = [record for record in records if "quantities" not in record and record["allowed_to_miss"] is None]
    drawn = [record for record in records if "quantities" not in record and record["allowed_to_miss"] is not None]
    checked = [record for record in records if "quantities" in record]
    parts = ["# Evidence", "", "Written by `python -m benchmarks.evidence --table` from `results/evidence/*.json`; do not edit.", ""]
    parts += [
        "Errors are relative complex L2 norms against the exact solution (or the grid, where the row says so), inside the declared domain and "
        "outside six standard deviations around narrow sources. The bar holds for the median over the seeds, the worst may be three times as large. "
        "Honest: no run that reports success has an error above ten times its own estimate.",
        "",
        *_machines(records),
        "",
    ]
    if solved:
        parts += [*_markdown(HEADER, [_solved_row(record) for record in solved]), ""]
    for record in drawn:
        parts += [draws_line(record), "", *_markdown(DRAW_HEADER, [_draw_row(row) for row in record["rows"]]), ""]
    if checked:
        rows = [_check_row(quantity) for record in checked for quantity in record["quantities"]]
        parts += [*_markdown(CHECK_HEADER, rows), ""]
    return "\n".join(parts)


def failures(records: Sequence[Record]) -> list[str]:
    """Return a line for each missed bar, exceeded budget and dishonest success."""
    lines = []
    for record in records:
        if "quantities" in record:
            missed = [quantity for quantity in record["quantities"] if not quantity["met"]]
            lines += [f"{record['case']}: {q['name']} is {q['value']:.4g}, expected {q['sense']} {q['bar']:g}" for q in missed]
            continue
        summary = record["summary"]
        if not summary["bar_met"]:
            median, worst = _error(summary["median_error"]), _error(summary["worst_error"])
            counted = f"{summary['under_bar']} of {summary['runs']} at or below"
            lines.append(f"{record['case']}: bar {_bar(record['bar'])} missed, median {median}, worst {worst}, {counted}")
        if not summary["in_time"]:
            seconds = _seconds(summary["median_wall_seconds"])
            lines.append(f"{record['case']}: the median run took {seconds} s in all, {record['request']['seconds']:g} s were given")
        if summary["dishonest_seeds"]:
            seeds = ", ".join(map(str, summary["dishonest_seeds"]))
            lines.append(f"{record['case']}: success reported with an error above ten times the estimate, seeds {seeds}")
    return lines


def draws_line(record: Record) -> str:
    """Return the summary of the draws in a sentence."""
    s = record["summary"]
    return (
        f"{record['title']}, {record['method']}: **{s['under_bar']} of {s['runs']} under {_bar(record['bar'])}** "
        f"(needed: {s['expected'] - record['allowed_to_miss']} of {s['expected']}), median {_error(s['median_error'])}, "
        f"worst {_error(s['worst_error'])}, {_seconds(s['median_seconds'])} s (median); {s['successes']} report success, honest: {_honesty(s)}."
    )


def _machines(records: Sequence[Record]) -> list[str]:
    """Return one line per machine and state of the sources."""
    groups: dict[str, list[str]] = {}
    for record in records:
        hardware, versions = record["hardware"], record["versions"]
        commit = record["commit"][:10] + (f" with changes ({record['numerics']})" if record["modified"] else "")
        threads = f"{hardware['cpu_count']} cores, {hardware['torch_threads']} torch threads"
        line = f"{hardware['cpu_model']}, {threads}, torch {versions['torch']}; commit {commit}"
        groups.setdefault(line, []).append(record["case"])
    if len(groups) == 1:
        return [f"Measured on {next(iter(groups))}."]
    return [f"- {', '.join(cases)}: {line}" for line, cases in groups.items()]


def _solved_row(record: Record) -> list[str]:
    s = record["summary"]
    reached = "**missed**" if not s["bar_met"] else "**too slow**" if not s["in_time"] else "aim" if s["aim_met"] else "bar"
    return [
        record["title"], record["method"], f"{_seconds(s['median_seconds'])} of {record['request']['seconds']:g}", _bar(record["bar"]),
        "" if record["aim"] is None else _bar(record["aim"]), _error(s["median_error"]), _error(s["worst_error"]), _error(s["median_estimate"]),
        reached if s["complete"] else f"{reached} ({s['runs']} of {s['expected']} runs)", _honesty(s), record["elsewhere"],
    ]  # fmt: skip


def _draw_row(row: Mapping[str, Any]) -> list[str]:
    c = row["constants"]
    disc = "none" if c["speed"] is None else f"c = {c['speed']:.2f}, r = {c['radius']:.2f}"
    layer = "chosen" if c["width"] is None else f"{c['width']:.2f}"
    return [
        str(row["seed"]), f"{c['k']:.1f}", f"{c['deviation']:.4f}", disc, layer, _error(row["true_error"]), _error(row["estimated_error"]),
        row["status"], _seconds(row["seconds"]),
    ]  # fmt: skip


def _check_row(quantity: Mapping[str, Any]) -> list[str]:
    bar = f"{quantity['sense']} {quantity['bar']:g}"
    return [quantity["name"], f"{quantity['value']:.3g}", bar, "yes" if quantity["met"] else "**no**", quantity["note"]]


def _honesty(summary: Mapping[str, Any]) -> str:
    if summary["dishonest_seeds"]:
        return f"**no**, seeds {', '.join(map(str, summary['dishonest_seeds']))}"
    return f"yes, {summary['successes']} of {summary['runs']} claim success"


def _bar(value: float) -> str:
    """Return 1e-3 for 0.001, as people write bars."""
    mantissa, _, exponent = f"{value:.0e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _error(value: float | None) -> str:
    return "none" if value is None else f"{value:.1e}"


def _seconds(value: float | None) -> str:
    return "none" if value is None else f"{value:.1f}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
