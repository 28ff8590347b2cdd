"""The tables of evidence, from the JSON records alone.

Input: the folder of records. Output: Markdown, the whole page and the short form for the README. A record that does not say on which machine it was
made is refused.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

HEADER = ("problem", "method", "seconds (median)", "bar", "aim", "median error", "worst error", "median estimate", "reached", "honest", "elsewhere")
CHECK_HEADER = ("quantity", "value", "bar", "met", "how")
DRAWN_HEADER = ("random constants", "method", "bar", "at or below", "needed", "median error", "worst", "estimate", "seconds (median)", "honest")
DRAW_HEADER = ("draw", "constants", "error", "estimate", "status", "seconds")
SHORT_HEADER = ("problem", "method", "seconds", "bar", "median error", "worst", "estimate", "elsewhere")
HEADLINES = (
    "point_source_auto", "disc_auto", "disc_trained", "square_auto", "poisson_four_holes", "poisson_l_shape", "poisson_ball", "eikonal_crossing",
    "wave_pulse_auto", "wave_variable_medium_auto", "burgers_auto", "allen_cahn_auto", "conductivity_noisy", "sdf_torus", "fwi_paper_auto",
    "inversion_penalty_paper", "fwi_two_objects", "fwi_marmousi2_smooth",
)  # fmt: skip
"""The rows of the README, one or two per family; what misses its bar is named below them whether it stands among them or not."""
MARKERS = ("<!-- measured: written by `python -m benchmarks.evidence --table` -->", "<!-- end of measured -->")
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
        "outside six standard deviations around narrow sources. The bar holds for the median over the seeds, the worst may be three times as large, "
        "1.5 times for inversions. "
        "Honest: no run that reports success has an error above ten times its own estimate.",
        "",
        *_machines(records),
        "",
    ]
    if solved:
        parts += [*_markdown(HEADER, [_solved_row(record) for record in solved]), ""]
    if drawn:
        parts += ["Random constants, no setting touched; each draw stands below.", "", *_markdown(DRAWN_HEADER, map(_drawn_row, drawn)), ""]
    if checked:
        rows = [_check_row(quantity) for record in checked for quantity in record["quantities"]]
        parts += [*_markdown(CHECK_HEADER, rows), ""]
    for record in drawn:
        parts += [f"{record['title']}, {record['method']}:", "", *_markdown(DRAW_HEADER, map(_draw_row, record["rows"])), ""]
    return "\n".join(parts)


def build_short_table(records: Sequence[Record]) -> str:
    """Return what the README shows: `HEADLINES`, how many rows and draws reached their bars, and which did not."""
    networks = {record["case"]: record for record in records if "quantities" not in record}
    solved = {name: record for name, record in networks.items() if record["allowed_to_miss"] is None}
    drawn = {name: record for name, record in networks.items() if record["allowed_to_miss"] is not None}
    shown = [networks[name] for name in HEADLINES if name in networks]
    parts = [f"Measured on {'; '.join(sorted({_machine(r) for r in shown}))}. Relative complex L2 unless the row says otherwise.", ""]
    parts += [*_markdown(SHORT_HEADER, map(_short_row, shown)), ""]
    parts += [f"Of {len(solved)} rows {_reached(solved)} Of {len(drawn)} families of random constants {_reached(drawn)}", ""]
    dishonest = [f"`{name}`" for name, record in networks.items() if record["summary"]["dishonest_seeds"]]
    who = f"In {', '.join(dishonest)} a run" if dishonest else "No run"
    parts += [f"{who} that reports success is wrong by more than ten times its own estimate.", ""]
    return "\n".join(parts)


def _reached(records: Mapping[str, Record]) -> str:
    """Return how many records reach their bars, and name those that do not or have runs missing."""
    missed = [f"`{name}`" for name, record in records.items() if not record["summary"]["bar_met"]]
    unfinished = [f"`{name}`" for name, record in records.items() if not record["summary"]["complete"]]
    text = f"{len(records) - len(missed)} reach their bar" + (f" ({', '.join(missed)} not)" if missed else "")
    return text + (f"; runs are missing of {', '.join(unfinished)}." if unfinished else ".")


def replace_measured(text: str, table: str) -> str:
    """Return a document with the table between its markers replaced.

    Raises:
        ValueError: the markers are not there.
    """
    head, found, rest = text.partition(MARKERS[0])
    _, closed, tail = rest.partition(MARKERS[1])
    if not found or not closed:
        raise ValueError(f"the document has no lines `{MARKERS[0]}` and `{MARKERS[1]}` for the table to stand between")
    return f"{head}{found}\n\n{table}\n{closed}{tail}"


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


def _machines(records: Sequence[Record]) -> list[str]:
    """Return one line per machine and state of the sources."""
    groups: dict[str, list[str]] = {}
    for record in records:
        commit = record["commit"][:10] + (f" with changes ({record['numerics']})" if record["modified"] else "")
        line = f"{_machine(record)}; commit {commit}"
        groups.setdefault(line, []).append(record["case"])
    if len(groups) == 1:
        return [f"Measured on {next(iter(groups))}."]
    return [f"- {', '.join(cases)}: {line}" for line, cases in groups.items()]


def _machine(record: Record) -> str:
    hardware = record["hardware"]
    cores, threads = (f"{n} {unit}{'s' * (n > 1)}" for n, unit in ((hardware["cpu_count"], "core"), (hardware["torch_threads"], "torch thread")))
    return f"{hardware['cpu_model']}, {cores}, {threads}, torch {record['versions']['torch']}"


def _short_row(record: Record) -> list[str]:
    title, method, seconds, bar, _, median, worst, estimate, reached, _, elsewhere = _solved_row(record)
    return [title, method, seconds, bar if reached in ("bar", "aim") else f"{bar}, {reached}", median, worst, estimate, elsewhere]


def _drawn_row(record: Record) -> list[str]:
    s = record["summary"]
    return [
        record["title"], record["method"], _bar(record["bar"]), f"{s['under_bar']} of {s['runs']}" + ("" if s["bar_met"] else ", **missed**"),
        f"{s['expected'] - record['allowed_to_miss']} of {s['expected']}", _error(s["median_error"]), _error(s["worst_error"]),
        _error(s["median_estimate"]), f"{_seconds(s['median_seconds'])} of {record['request']['seconds']:g}", _honesty(s),
    ]  # fmt: skip


def _solved_row(record: Record) -> list[str]:
    s = record["summary"]
    reached = "**missed**" if not s["bar_met"] else "**too slow**" if not s["in_time"] else "aim" if s["aim_met"] else "bar"
    return [
        record["title"], record["method"], f"{_seconds(s['median_seconds'])} of {record['request']['seconds']:g}", _bar(record["bar"]),
        "" if record["aim"] is None else _bar(record["aim"]), _error(s["median_error"]), _error(s["worst_error"]), _error(s["median_estimate"]),
        reached if s["complete"] else f"{reached} ({s['runs']} of {s['expected']} runs)", _honesty(s), record["elsewhere"],
    ]  # fmt: skip


def _draw_row(row: Mapping[str, Any]) -> list[str]:
    constants = ", ".join(f"{name} {_constant(value)}" for name, value in row["constants"].items() if value is not None and name != "seed")
    return [str(row["seed"]), constants, _error(row["true_error"]), _error(row["estimated_error"]), row["status"], _seconds(row["seconds"])]


def _constant(value: Any) -> str:
    """Return a drawn constant, or a list of them, in three digits."""
    if isinstance(value, list):
        return f"({', '.join(map(_constant, value))})"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _check_row(quantity: Mapping[str, Any]) -> list[str]:
    bar = f"{quantity['sense']} {quantity['bar']:g}"
    return [quantity["name"], f"{quantity['value']:.3g}", bar, "yes" if quantity["met"] else "**no**", quantity["note"]]


def _honesty(summary: Mapping[str, Any]) -> str:
    if summary["dishonest_seeds"]:
        return f"**no**, seeds {', '.join(map(str, summary['dishonest_seeds']))}"
    return f"yes, {summary['successes']} of {summary['runs']} claim success"


def _bar(value: float) -> str:
    """Return 1e-3 for 0.001 and 1.5e-2 for 0.015, as people write bars; 1 and 10 as they are."""
    if 1 <= value < 100:
        return f"{value:g}"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _error(value: float | None) -> str:
    return "none" if value is None else f"{value:.1e}"


def _seconds(value: float | None) -> str:
    return "none" if value is None else f"{value:.1f}"


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
