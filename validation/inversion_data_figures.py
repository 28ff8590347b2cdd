"""Pictures of the data of an inversion: gathers with one clip, misfit against the noise floor, map of sources and receivers.

Input: arrays. Output: figures. Nothing here knows a solution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from .plotting import BLUE, GREEN, GRID, INK, MUTED, ORANGE, PINK, SIGNED_MAP, add_colour_bar, calm, new_figure, styled, symbol_label

Array = NDArray[Any]

# Receivers beside a source would hide everything else.
CLIP_PERCENTILE = 95.0
NOISE_CLIP = 3.0  # standard deviations: what is white noise shows no pattern
MOST_ROWS = 5
_CYCLE = (BLUE, ORANGE, GREEN, PINK, MUTED)
_LAYER = "#e8ecf0"
_SHOWN_OF_LAYER = 0.08  # of the longer side


@dataclass(frozen=True)
class Gather:
    """One panel of data: observed and predicted.

    Attributes:
        label: such as "k = 8".
        observed, predicted: (n_rows, n_columns), real, or complex of which the real part is shown.
        noise: declared relative level, or None.
        rows, columns: what the axes are, such as "shot" and "receiver", or "time (s)" and "receiver".
        extent: (first, last) of the rows, or None to number them.
    """

    label: str
    observed: Array
    predicted: Array
    noise: float | None = None
    rows: str = "shot"
    columns: str = "receiver"
    extent: tuple[float, float] | None = None

    @property
    def clip(self) -> float:
        """What the darkest colours stand for, in all three panels: the 95th percentile of the observed values."""
        return float(np.percentile(np.abs(np.real(self.observed)), CLIP_PERCENTILE)) or 1.0

    @property
    def misfit(self) -> float:
        """|predicted - observed| / |observed|."""
        return float(np.linalg.norm(self.predicted - self.observed) / (np.linalg.norm(self.observed) or 1.0))

    @property
    def in_noise(self) -> Array | None:
        """Difference in standard deviations of the noise (of the real part where complex), or None where no noise is declared."""
        if not self.noise:
            return None
        deviation = self.noise * float(np.sqrt(np.mean(np.abs(self.observed) ** 2)))
        parts = np.sqrt(2) if np.iscomplexobj(self.observed) else 1.0
        return np.asarray(np.real(self.predicted - self.observed) * parts / deviation)


@styled
def draw_gathers(title: str, gathers: Sequence[Gather]) -> Figure:
    """Draw observed, predicted and difference, one gather per row, one clip per row, and the difference over the noise where it is declared.

    At most five rows, spread over what is given.
    """
    if len(gathers) > MOST_ROWS:
        gathers = [gathers[number] for number in np.unique(np.linspace(0, len(gathers) - 1, MOST_ROWS).round().astype(int))]
    columns = 4 if any(gather.noise for gather in gathers) else 3
    figure, axes = new_figure(len(gathers), columns, width=13.6 if columns == 4 else 11.4, height=1.95 * len(gathers) + 0.75, title=title)
    for row, gather in zip(axes, gathers, strict=True):
        part = r"$\mathrm{Re}$ " if np.iscomplexobj(gather.observed) else ""
        panels = (
            (gather.observed, f"{gather.label}: {part}observed"),
            (gather.predicted, "predicted"),
            (gather.predicted - gather.observed, f"difference, misfit {gather.misfit:.1%}"),
        )
        for place, (values, name) in zip(row, panels, strict=False):
            image = _gather_panel(place, gather, np.real(values), gather.clip)
            place.set_title(name)
        add_colour_bar(figure, row[2], image)
        row[0].set_ylabel(gather.rows)
        if columns == 4:
            _noise_panel(figure, row[3], gather)
    for place in axes[-1]:
        place.set_xlabel(gathers[-1].columns)
    return figure


def _noise_panel(figure: Figure, axes: Axes, gather: Gather) -> None:
    values = gather.in_noise
    if values is None:
        axes.set_axis_off()
        return
    image = _gather_panel(axes, gather, values, NOISE_CLIP)
    axes.set_title(f"difference / noise of {gather.noise:.1%}")
    add_colour_bar(figure, axes, image)


def _gather_panel(axes: Axes, gather: Gather, values: Array, clip: float) -> Any:
    first, last = gather.extent or (0.5, len(values) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=gather.extent is None))
    return axes.imshow(
        values, aspect="auto", extent=(0.5, values.shape[1] + 0.5, last, first), cmap=SIGNED_MAP, vmin=-clip, vmax=clip,
        interpolation="nearest",
    )  # fmt: skip


@styled
def draw_misfits(
    title: str,
    labels: Sequence[str],
    final: Sequence[float],
    noise: Sequence[float | None],
    start: Sequence[float | None],
    history: Mapping[str, Any],
    together: Array | None = None,
) -> Figure:
    """Draw the misfit per frequency: over the iterations where a history is given, and at start and end, beside the noise floor.

    Args:
        title: of the figure.
        labels: one per frequency.
        final: relative misfit per frequency.
        noise: declared level per frequency, the floor.
        start: relative misfit of the start per frequency, None where unknown.
        history: label -> relative misfits of the iterations, NaN where a frequency took no part.
        together: misfits of the iterations, all frequencies, in units of the noise; drawn where the history tells of no single one.
    """
    curves = {label: np.asarray(history[label], dtype=float) for label in labels if label in history and len(history[label]) > 1}
    all_in_one = not curves and together is not None and len(together) > 1
    figure, axes = new_figure(1, 2 if curves or all_in_one else 1, width=10.6 if curves or all_in_one else 6.6, height=3.7, title=title)
    if curves:
        _iterations(axes[0, 0], labels, curves, noise)
    elif all_in_one:
        _iterations(axes[0, 0], ["all frequencies"], {"all frequencies": np.asarray(together)}, [1.0])
    _bars(axes[0, -1], labels, final, noise, start)
    return figure


def _iterations(axes: Axes, labels: Sequence[str], curves: Mapping[str, Array], noise: Sequence[float | None]) -> None:
    """Misfits in units of the floor where every frequency has one, so that all share the line at one."""
    calm(axes)
    levels = dict(zip(labels, noise, strict=True))
    in_floors = all(level for level in noise)
    for number, (label, values) in enumerate(curves.items()):
        unit = float(levels[label] or 1.0) if in_floors else 1.0
        shown = np.where(values > 0, values / unit, np.nan)
        axes.semilogy(np.arange(1, len(values) + 1), shown, color=_CYCLE[number % len(_CYCLE)], marker="o", markersize=3, label=label)
    if in_floors:
        axes.axhline(1.0, color=INK, linewidth=1.0, linestyle=(0, (5, 3)), label="noise floor")
    axes.set_xlabel("iteration")
    axes.set_ylabel("misfit / noise" if in_floors else "relative misfit")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_title("Misfit over the iterations")
    axes.legend(loc="best", ncols=2)


def _bars(axes: Axes, labels: Sequence[str], final: Sequence[float], noise: Sequence[float | None], start: Sequence[float | None]) -> None:
    calm(axes)
    axes.grid(False, axis="x")
    positions = np.arange(len(labels))
    known = [value is not None for value in start]
    if all(known):
        axes.bar(positions - 0.19, [float(v or 0) for v in start], 0.36, color=GRID, edgecolor=MUTED, linewidth=0.6, label="start")
    axes.bar(positions + (0.19 if all(known) else 0), final, 0.36, color=BLUE, label="solution")
    drawn = False
    for position, level in zip(positions, noise, strict=True):
        if level:
            label = None if drawn else "declared noise"
            axes.plot([position - 0.42, position + 0.42], [level, level], color=ORANGE, linewidth=1.8, label=label, solid_capstyle="butt")
            drawn = True
    axes.set_yscale("log")
    values = [v for v in (*final, *noise, *start) if v]
    axes.set_ylim(0.4 * min(values), 4 * max(values))
    axes.set_xticks(positions, labels)
    axes.set_ylabel("relative misfit")
    axes.set_title("Misfit of the data, start and solution")
    axes.legend(loc="upper center", ncols=3)


@styled
def draw_survey(
    title: str,
    symbols: Sequence[Any],
    box: tuple[tuple[float, float], tuple[float, float]],
    sources: Array,
    receivers: Array,
    *,
    layer: float | None = None,
    support: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> Figure:
    """Draw a map of sources and receivers in the domain, with the layer around it and where the medium is sought.

    Args:
        title: of the figure.
        symbols: the coordinates; one called z points down.
        box: (low, high) per coordinate.
        sources: (n_shots, 2).
        receivers: (n, 2).
        layer: width of the absorbing layer, or None.
        support: box of the unknown medium, or None.
    """
    (left, right), (bottom, top) = box
    ratio = (top - bottom) / (right - left)
    figure, axes = new_figure(1, 1, width=6.6, height=float(np.clip(6.0 * ratio + 1.2, 2.9, 6.6)), title=title)
    place = axes[0, 0]
    # Of a wide layer the beginning is enough.
    margin = min(layer if layer is not None else np.inf, _SHOWN_OF_LAYER * max(right - left, top - bottom))
    place.add_patch(Rectangle((left - margin, bottom - margin), right - left + 2 * margin, top - bottom + 2 * margin, color=_LAYER, linewidth=0))
    place.add_patch(Rectangle((left, bottom), right - left, top - bottom, facecolor="white", edgecolor=MUTED, linewidth=0.9))
    if support is not None:
        (a, b), (c, d) = support
        dashed: Any = {"edgecolor": BLUE, "linewidth": 0.9, "linestyle": (0, (4, 3)), "label": "medium sought"}
        place.add_patch(Rectangle((a, c), b - a, d - c, facecolor="#f3f8fc", **dashed))
    size = float(np.clip(320 / max(len(receivers), 1), 10, 34))
    place.scatter(*receivers.T, s=size, marker="v", color=BLUE, linewidths=0, label=f"{len(receivers)} receivers", zorder=3)
    place.scatter(*sources.T, s=70, marker="*", color=ORANGE, linewidths=0, label=f"{len(sources)} sources", zorder=4)
    place.set_xlim(left - margin, right + margin)
    place.set_ylim(bottom - margin, top + margin)
    if str(symbols[1]) == "z":
        place.invert_yaxis()
    place.set_aspect("equal")
    place.set_xlabel(symbol_label(symbols[0]))
    place.set_ylabel(symbol_label(symbols[1]))
    shaded = f"absorbing layer, {layer:g} wide" if layer is not None else "absorbing layer (width chosen)"
    place.set_title(f"Shaded: {shaded}")
    place.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13 if ratio > 0.8 else -0.24), ncols=3, borderaxespad=0.0)
    return figure
