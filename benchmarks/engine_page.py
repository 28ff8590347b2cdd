"""One page of plots from a record of `engine`: ratios, rates against the roofline, bytes per point; self-contained HTML."""

import base64
import html
import io
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

CAPTIONS = {
    "ratios": "Time over that of the hand adjoint (median of paired rounds; bars: quartiles). Dashed: the same ratio counted in matrix products.",
    "roofline": "Rate of the hidden products. Roof: measured rate of one product of a hidden layer with all rows, and of a copy in main memory. "
    "The arithmetic per byte counts what is kept for the backward pass, written and read once.",
    "bytes": "Bytes per point kept for the backward pass.",
}


def write_page(record: dict[str, Any], path: Path) -> None:
    """Write the page."""
    figures = {"ratios": _ratios(record), "roofline": _roofline(record)}
    if "bytes_per_point" in record:
        figures["bytes"] = _bytes(record)
    machine = "".join(f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(str(v))}</td></tr>" for k, v in record["machine"].items())
    parts = ["<!doctype html><meta charset='utf-8'><title>derivative engine</title>"]
    parts.append("<style>body{font:15px sans-serif;max-width:60em;margin:2em auto}</style>")
    parts.append(f"<h1>Derivative engine, {html.escape(record['network'])}</h1><table>{machine}</table>")
    for name, figure in figures.items():
        parts.append(f"<h2>{name.capitalize()}</h2><img src='data:image/png;base64,{_encode(figure)}'><p>{html.escape(CAPTIONS[name])}</p>")
    path.write_text("\n".join(parts) + "\n")


def _encode(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


def _label(row: dict[str, Any]) -> str:
    return f"{row['operator']}\nN={row['n_points']} m={row['n_out']}\n{row['dtype']}"


def _ratios(record: dict[str, Any]) -> Any:
    rows = record["results"]
    names = list(dict.fromkeys(name for row in rows for name in row["over_hand_adjoint"]))
    figure, axes = plt.subplots(figsize=(1.3 * len(rows) + 2, 4))
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        found = [(position, row["over_hand_adjoint"][name]) for position, row in enumerate(rows) if name in row["over_hand_adjoint"]]
        x = np.array([position for position, _ in found]) + (index - (len(names) - 1) / 2) * width
        middle = np.array([value["median"] for _, value in found])
        low = middle - np.array([value["lower_quartile"] for _, value in found])
        high = np.array([value["upper_quartile"] for _, value in found]) - middle
        axes.bar(x, middle, width, yerr=np.maximum([low, high], 0), label=name, capsize=2)
    for position, row in enumerate(rows):
        counted = row["products_per_layer"]["nested"] / row["products_per_layer"]["streams"]
        axes.hlines(counted, position - 0.4, position + 0.4, colors="black", linestyles="dashed", linewidth=1)
    axes.axhline(1.0, color="grey", linewidth=0.5)
    axes.set_xticks(range(len(rows)), [_label(row) for row in rows], fontsize=8)
    axes.set_yscale("log")
    axes.set_ylabel("time / hand adjoint")
    axes.legend(fontsize=8)
    return figure


def _roofline(record: dict[str, Any]) -> Any:
    figure, axes = plt.subplots(figsize=(7, 4))
    kept = record.get("bytes_per_point", {})
    for row in record["results"]:
        bytes_per_point = 2 * kept.get(row["operator"], {}).get("hand adjoint", 12_288)
        size = 2 if row["dtype"] == "float64" else 1
        flop = row["hand_adjoint_gflops"] * 1e9 / row["points_per_second"]
        intensity = flop / (size * bytes_per_point)
        axes.plot(intensity, row["hand_adjoint_gflops"], "o", label=_label(row).replace("\n", " "))
    per_byte = np.geomspace(1.0, 1000.0, 200)
    for dtype in dict.fromkeys(row["dtype"] for row in record["results"]):
        peak = max(row["product_gflops"] for row in record["results"] if row["dtype"] == dtype)
        roof = np.minimum(peak, per_byte * record["bytes_per_second"] / 1e9) if "bytes_per_second" in record else np.full(200, peak)
        axes.plot(per_byte, roof, color="black", linewidth=1, linestyle="solid" if dtype == "float32" else "dashed", label=f"roof, {dtype}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("FLOP per byte of main memory")
    axes.set_ylabel("GFLOP/s")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _bytes(record: dict[str, Any]) -> Any:
    kept = record["bytes_per_point"]
    figure, axes = plt.subplots(figsize=(6, 3))
    names = list(next(iter(kept.values())))
    for index, (operator, values) in enumerate(kept.items()):
        axes.barh(np.arange(len(names)) + 0.4 * index, [values[name] / 1024 for name in names], 0.4, label=operator)
    axes.set_yticks(np.arange(len(names)) + 0.2, names)
    axes.set_xlabel("KiB per point")
    axes.legend(fontsize=8)
    return figure
