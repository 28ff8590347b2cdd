"""The page of a report: HTML without external resources, JSON and PNG beside it.

Input: `Entry` records, one per problem; this file knows nothing of solutions. Output: report.html, report.json and the figures in a folder.
"""

import base64
import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from .plotting import png

_STYLE = """
:root{--ink:#1f2933;--muted:#616e7c;--line:#e4e7eb;--paper:#fff;--back:#f5f7fa}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:19px;margin:0;font-weight:650}
.lead{color:var(--muted);margin:0 0 24px}
section{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:22px 26px;margin:22px 0}
.head{display:flex;gap:12px;align-items:center;flex-wrap:wrap}
.badge{font-size:12px;font-weight:700;letter-spacing:.04em;padding:3px 10px;border-radius:99px;text-transform:uppercase}
.pass{background:#def7ec;color:#03543f}.fail{background:#fde8e8;color:#9b1c1c}.undecidable{background:#fdf6b2;color:#723b13}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{font-size:12px;color:var(--muted);font-weight:600;text-align:left;border-bottom:1.5px solid var(--line);padding:6px 14px 6px 0;white-space:nowrap}
td{border-bottom:1px solid var(--line);padding:7px 14px 7px 0;vertical-align:top}
td.n,th.n{text-align:right;white-space:nowrap}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 18px;margin:14px 0 0}dt{color:var(--muted)}
dd{margin:0;white-space:pre-line;overflow-wrap:anywhere}
figure{margin:18px 0 0}
img{max-width:100%;height:auto;display:block}
pre{background:var(--back);border-radius:8px;padding:12px 14px;overflow-x:auto;font-size:12.5px;line-height:1.45;margin:0}
details summary{cursor:pointer;color:var(--muted);font-size:13px;font-weight:600;margin:16px 0 6px}
a{color:inherit}footer{color:var(--muted);font-size:13px;margin-top:28px}
"""


@dataclass(frozen=True)
class Row:
    """One comparison of one field, for the table of an entry."""

    reference: str
    field: str
    relative_l2: float
    max_error: float
    inside_cores: float | None
    own_error: float
    seconds: float
    judges: bool


@dataclass(frozen=True)
class Entry:
    """One problem on the page.

    Attributes:
        name: of the problem; figures are named after it.
        verdict: `"pass"`, `"fail"` or `"undecidable"`.
        reason: the verdict in a sentence.
        facts: term and text, shown in order.
        rows: comparisons.
        notes: one line each.
        texts: title and text of longer listings.
        figures: by name.
        record: all numbers, for report.json.
    """

    name: str
    verdict: str
    reason: str
    facts: Mapping[str, str]
    rows: Sequence[Row]
    notes: Sequence[str]
    texts: Mapping[str, str]
    figures: Mapping[str, Figure]
    record: Mapping[str, Any]


def write_page(entries: Sequence[Entry], folder: Path) -> Path:
    """Write report.html, report.json and one PNG per figure; return the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = []
    prefixes = _prefixes(entries)
    for entry, prefix in zip(entries, prefixes, strict=True):
        images = {name: png(figure) for name, figure in entry.figures.items()}
        for name, image in images.items():
            (folder / f"{prefix}{name}.png").write_bytes(image)
        sections.append(_section(entry, images))
    records = [entry.record for entry in entries]
    text = json.dumps(as_json(records[0] if len(records) == 1 else {"reports": records}), indent=2, allow_nan=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    page = folder / "report.html"
    page.write_text(_page(entries, sections), encoding="utf-8")
    return page


def as_json(value: Any) -> Any:
    """Return a value in the types of JSON: NumPy numbers become numbers, complex ones pairs, what is not finite null."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (str, bool)) or value is None:
        return value
    if hasattr(value, "tolist"):
        return as_json(value.tolist())
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, complex):
        return {"real": as_json(value.real), "imag": as_json(value.imag)}
    return str(value)


def number(value: float | None) -> str:
    """Return a number as the tables print it."""
    if value is None:
        return "–"
    return "0" if value == 0 else f"{value:.2e}"


def _prefixes(entries: Sequence[Entry]) -> list[str]:
    """File name prefixes: none for one entry; names, numbered where they repeat, for several."""
    if len(entries) == 1:
        return [""]
    names = ["".join(c if c.isalnum() or c in "-_" else "_" for c in entry.name) for entry in entries]
    return [f"{name}_" if names.count(name) == 1 else f"{name}_{index + 1}_" for index, name in enumerate(names)]


def _page(entries: Sequence[Entry], sections: Sequence[str]) -> str:
    title = entries[0].name if len(entries) == 1 else f"{len(entries)} problems"
    passed = sum(entry.verdict == "pass" for entry in entries)
    lead = f"{passed} of {len(entries)} within tolerance. Errors are relative complex L2 norms over the declared domain."
    overview = _overview(entries) if len(entries) > 1 else ""
    hardware = entries[0].record.get("hardware", {}) if entries else {}
    machine = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in hardware.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Validation: {_safe(title)}</title><style>{_STYLE}</style></head><body><main>"
        f'<h1>Validation: {_safe(title)}</h1><p class="lead">{_safe(lead)}</p>{overview}{"".join(sections)}'
        f"<footer>pinnsiren; {_safe(machine)}. All numbers stand in report.json.</footer></main></body></html>\n"
    )


def _overview(entries: Sequence[Entry]) -> str:
    head = "<tr><th>Problem</th><th>Verdict</th><th>Judged by</th><th class=n>Relative L2</th><th class=n>Own error</th></tr>"
    lines = []
    for entry in entries:
        judges = [row for row in entry.rows if row.judges]
        worst = max(judges, key=lambda row: row.relative_l2, default=None)
        cells = "<td>nothing</td><td class=n>–</td><td class=n>–</td>"
        if worst is not None:
            cells = f"<td>{_safe(worst.reference)}</td><td class=n>{number(worst.relative_l2)}</td><td class=n>{number(worst.own_error)}</td>"
        lines.append(f'<tr><td><a href="#{_safe(entry.name)}">{_safe(entry.name)}</a></td><td>{_badge(entry.verdict)}</td>{cells}</tr>')
    return f'<section><div class="scroll"><table>{head}{"".join(lines)}</table></div></section>'


def _section(entry: Entry, images: Mapping[str, bytes]) -> str:
    facts = "".join(f"<dt>{_safe(term)}</dt><dd>{_safe(text)}</dd>" for term, text in entry.facts.items())
    notes = "".join(f"<dt>Note</dt><dd>{_safe(note)}</dd>" for note in entry.notes)
    pictures = "".join(_picture(f"{entry.name}: {name}", image) for name, image in images.items())
    texts = "".join(f"<details><summary>{_safe(title)}</summary><pre>{_safe(text)}</pre></details>" for title, text in entry.texts.items())
    return (
        f'<section id="{_safe(entry.name)}"><div class="head"><h2>{_safe(entry.name)}</h2>{_badge(entry.verdict)}</div><p>{_safe(entry.reason)}</p>'
        f"{_table(entry.rows)}<dl>{facts}{notes}</dl>{pictures}{texts}</section>"
    )


def _picture(title: str, image: bytes) -> str:
    return f'<figure><img alt="{_safe(title)}" src="data:image/png;base64,{base64.b64encode(image).decode("ascii")}"></figure>'


def _table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    head = (
        "<tr><th>Compared with</th><th>Field</th><th class=n>Relative L2</th><th class=n>Largest error</th><th class=n>In source cores</th>"
        "<th class=n>Its own error</th><th class=n>Seconds</th></tr>"
    )
    lines = ""
    for row in rows:
        numbers = [*map(number, (row.relative_l2, row.max_error, row.inside_cores, row.own_error)), f"{row.seconds:.1f}"]
        lines += f"<tr><td>{_safe(row.reference)}</td><td>{_safe(row.field)}</td>{''.join(f'<td class=n>{cell}</td>' for cell in numbers)}</tr>"
    return f'<div class="scroll"><table>{head}{lines}</table></div>'


def _badge(verdict: str) -> str:
    return f'<span class="badge {_safe(verdict)}">{_safe(verdict)}</span>'


def _safe(text: object) -> str:
    return html.escape(str(text), quote=True)
