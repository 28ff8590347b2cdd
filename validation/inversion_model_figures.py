"""Pictures of the medium of an inversion: speeds, error, profiles; the first gradient; the error per band of wavenumber.

Input: arrays. Output: figures. A second coordinate called z points down.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from .inversion_reading import Medium
from .inversion_scores import band_norms
from .plotting import BLUE, GREEN, INK, MODULUS_MAP, MUTED, ORANGE, SIGNED_MAP, add_colour_bar, calm, new_figure, styled, symbol_label

Array = NDArray[Any]

PROFILES = (0.25, 0.5, 0.75)  # of the width, along the first coordinate
# Near sources and receivers a gradient is singular: the colours serve the rest.
GRADIENT_PERCENTILE = 98.0
# Of twice the largest wavenumber: what single scattering can show at most.
BANDS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5)


@styled
def draw_medium(title: str, medium: Medium) -> Figure:
    """Draw speeds of start, solution and truth on one scale, the error, and profiles along the second coordinate."""
    true = medium.true
    wide = np.ptp(medium.axes[0]) > 1.5 * np.ptp(medium.axes[1])
    panels = ["start", "solution", *(["truth", "error"] if true is not None else [])]
    columns = 2 if wide or true is None else 3
    rows = -(-(len(panels) + 1) // columns)
    figure, axes = new_figure(rows, columns, width=11.4, height=(2.75 if wide else 3.45) * rows + 0.4, title=title)
    shown = [c for c in (medium.start, medium.found, true) if c is not None]
    # The scale is that of the truth, or of the solution where nobody knows it.
    ruler = true if true is not None else medium.found
    low, high = float(min(ruler.min(), medium.start.min())), float(max(ruler.max(), medium.start.max()))
    if high - low < 1e-9 * high:
        low, high = float(min(c.min() for c in shown)), float(max(c.max() for c in shown))
    for place, name in zip(axes.flat, panels, strict=False):
        if name == "error":
            assert true is not None
            error = medium.found - true
            span = float(np.percentile(np.abs(error[medium.sought]), 99.5)) or 1.0
            _map(figure, place, medium.symbols, medium.axes, error, "Error of the speed, solution - truth", cmap=SIGNED_MAP, vmin=-span, vmax=span)
        else:
            values = {"start": medium.start, "solution": medium.found, "truth": true}[name]
            assert values is not None
            _map(figure, place, medium.symbols, medium.axes, values, f"Speed, {name}", cmap=MODULUS_MAP, vmin=low, vmax=high)
            if name == "solution":
                for share in PROFILES:
                    place.axvline(_profile_at(medium, share)[1], color="white", linewidth=0.8, linestyle=(0, (3, 3)))
    rest = list(axes.flat)[len(panels) :]
    cells = axes[-1, 0].get_subplotspec().get_gridspec()[rows - 1, columns - len(rest) :]
    for place in rest:
        place.remove()
    _profiles(figure.add_subplot(cells), medium)
    return figure


def _profile_at(medium: Medium, share: float) -> tuple[int, float]:
    """Index and position of a profile: a share of the width where the medium is sought."""
    columns = np.flatnonzero(medium.sought.any(axis=1))
    index = int(columns[round(share * (len(columns) - 1))])
    return index, float(medium.axes[0][index])


def _profiles(axes: Axes, medium: Medium) -> None:
    """Profiles side by side, each shifted by the same speed, second coordinate upright."""
    calm(axes)
    curves = [medium.start, medium.found, *([medium.true] if medium.true is not None else [])]
    numbers = [_profile_at(medium, share) for share in PROFILES]
    rows = np.flatnonzero(medium.sought.any(axis=0))
    depth = medium.axes[1][rows]
    spread = max(float(np.ptp([c[index, rows] for c in curves for index, _ in numbers])), 1e-12)
    middle = float(np.mean([medium.start[index, rows].mean() for index, _ in numbers]))
    ticks = []
    for number, (index, position) in enumerate(numbers):
        shift = number * 1.15 * spread
        styles = (("start", MUTED, (0, (2, 2)), 1.0), ("solution", BLUE, "-", 1.7), ("truth", INK, (0, (4, 3)), 1.0))
        for values, (name, colour, dashes, width) in zip(curves, styles, strict=False):
            axes.plot(values[index, rows] + shift, depth, color=colour, linestyle=dashes, linewidth=width, label=name if number == 0 else None)
        ticks.append((middle + shift, f"{symbol_label(medium.symbols[0])} = {position:.3g}"))
    axes.set_xticks([place for place, _ in ticks], [text for _, text in ticks])
    axes.set_ylabel(symbol_label(medium.symbols[1]))
    axes.set_ylim(float(depth[0]), float(depth[-1]))
    if str(medium.symbols[1]) == "z":
        axes.invert_yaxis()
    # A bar says how much speed the shift leaves.
    unit = _round_down(0.6 * spread)
    left = float(axes.get_xlim()[0])
    arrow = {"arrowstyle": "|-|", "color": MUTED, "mutation_scale": 3}
    axes.annotate("", (left + unit, 0.03), (left, 0.03), xycoords=("data", "axes fraction"), arrowprops=arrow)
    axes.text(left + 1.1 * unit, 0.03, f"{unit:g}", transform=axes.get_xaxis_transform(), color=MUTED, fontsize=8.5, va="center")
    axes.set_title("Profiles of the speed, side by side")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3)


def _round_down(value: float) -> float:
    """Largest of 1, 2, 5 times a power of ten below a value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(step * power for step in (1, 2, 5) if step * power <= value))


@styled
def draw_gradient(title: str, symbols: Sequence[Any], axes_of: tuple[Array, Array], gradient: Array, sources: Array, receivers: Array) -> Figure:
    """Draw the derivative of the misfit in the squared slowness at the start: red where the data ask for faster, blue for slower."""
    wide = np.ptp(axes_of[0]) > 1.5 * np.ptp(axes_of[1])
    figure, axes = new_figure(1, 1, width=8.4 if wide else 6.2, height=4.2 if wide else 5.1, title=title)
    span = float(np.percentile(np.abs(gradient[gradient != 0]), GRADIENT_PERCENTILE)) if np.any(gradient) else 1.0
    place = axes[0, 0]
    shown = gradient / span
    _map(figure, place, symbols, axes_of, shown, "Derivative of the misfit at the start; red asks for faster", cmap=SIGNED_MAP, vmin=-1, vmax=1)
    place.scatter(*receivers.T, s=10, marker="v", color=INK, linewidths=0)
    place.scatter(*sources.T, s=55, marker="*", color=ORANGE, edgecolors="white", linewidths=0.4)
    return figure


@styled
def draw_bands(title: str, medium: Medium, wavenumber: float) -> Figure | None:
    """Draw the error per band of spatial wavenumber, of start and solution; None where the truth is not known.

    Args:
        title: of the figure.
        medium: speeds.
        wavenumber: largest of the waves in the start; single scattering shows no more than twice as much.
    """
    if medium.true is None:
        return None
    rows, columns = np.flatnonzero(medium.sought.any(axis=1)), np.flatnonzero(medium.sought.any(axis=0))
    cut = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    edges = 2 * wavenumber * np.array(BANDS)
    before, after = (band_norms((c - medium.true)[cut], medium.step, edges) for c in (medium.start, medium.found))
    scale = float(np.sqrt(np.mean(medium.true[cut] ** 2)))
    figure, axes = new_figure(1, 1, width=7.4, height=3.7, title=title)
    place = axes[0, 0]
    calm(place)
    place.grid(False, axis="x")
    positions = np.arange(len(before))
    place.bar(positions - 0.19, before / scale, 0.36, color="#d5dae0", edgecolor=MUTED, linewidth=0.6, label="start")
    place.bar(positions + 0.19, after / scale, 0.36, color=BLUE, label="solution")
    place.axvline(len([b for b in BANDS if b < 1]) - 0.5, color=GREEN, linewidth=1.2, linestyle=(0, (5, 3)), label=f"2 k = {2 * wavenumber:.3g}")
    place.set_xticks(positions, [f"{low:.3g}–{high:.3g}" for low, high in pairwise(edges)])
    place.set_xlabel("angular wavenumber of the medium; single scattering sees up to 2 k")
    place.set_ylabel("rms error / rms speed")
    place.set_ylim(0, 1.22 * float(max(before.max(), after.max())) / scale)
    place.set_title("Error of the speed per band of wavenumber")
    place.legend(loc="upper right", ncols=3, frameon=True, facecolor="white", edgecolor="none", framealpha=1.0)
    return figure


def _map(figure: Figure, axes: Axes, symbols: Sequence[Any], axes_of: tuple[Array, Array], values: Array, title: str, **colours: Any) -> None:
    (left, right), (bottom, top) = ((float(axis[0]), float(axis[-1])) for axis in axes_of)
    image = axes.imshow(values.T, origin="lower", extent=(left, right, bottom, top), aspect="equal", interpolation="nearest", **colours)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.set_xlabel(symbol_label(symbols[0]))
    axes.set_ylabel(symbol_label(symbols[1]))
    if str(symbols[1]) == "z":
        axes.invert_yaxis()
    axes.set_title(title)
    add_colour_bar(figure, axes, image)
