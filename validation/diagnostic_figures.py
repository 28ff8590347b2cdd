"""Figures of a run: its history, and where in space and wavenumber its residual stands.

Input: a solution. Output: figures.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .field_figures import draw_cores, name_axes
from .plotting import BLUE, ERROR_MAP, GREEN, INK, MUTED, ORANGE, PINK, add_colour_bar, calm, decades, new_figure, styled, symbol_label
from .points import Core
from .views import View

Array = NDArray[Any]

_CURVES = {
    "training_residual": ("training residual", BLUE, "o"),
    "fresh_residual": ("residual at fresh points", ORANGE, "s"),
    "estimated_error": ("estimated error", GREEN, "D"),
}
_ABSCISSAE = {"seconds": "seconds", "size": "number of features or parameters", "step": "step"}
_RESIDUAL_DECADES = 5.0
_MOST_MARKERS = 40


@styled
def draw_history(columns: Mapping[str, Sequence[Any]], title: str, tolerance: float | None) -> Figure | None:
    """Draw residuals and estimated error against seconds and size; None when there are fewer than two entries to join."""
    curves = [name for name in _CURVES if len(columns.get(name, ())) > 1]
    abscissae = [name for name in _ABSCISSAE if len(set(columns.get(name, ()))) > 1]
    if "step" in abscissae and len(abscissae) > 1:
        abscissae.remove("step")
    if not curves:
        return None
    abscissae = abscissae or [next((name for name in _ABSCISSAE if name in columns), "")]
    figure, axes = new_figure(1, len(abscissae), width=10.6 if len(abscissae) > 1 else 7.4, height=3.7, title=title)
    for place, abscissa in zip(axes.flat, abscissae, strict=True):
        _history_panel(place, columns, curves, abscissa, tolerance)
    return figure


def _history_panel(axes: Axes, columns: Mapping[str, Sequence[Any]], curves: list[str], abscissa: str, tolerance: float | None) -> None:
    calm(axes)
    for name in curves:
        label, colour, marker = _CURVES[name]
        values = np.array([np.nan if v is None else v for v in columns[name]], dtype=float)
        if not np.any(np.isfinite(values) & (values > 0)):
            continue
        positions = np.asarray(columns[abscissa], dtype=float) if abscissa else np.arange(len(values))
        few = len(values) <= _MOST_MARKERS
        axes.plot(positions, np.where(values > 0, values, np.nan), color=colour, marker=marker if few else None, markersize=4.5, label=label)
    axes.set_yscale("log")
    if tolerance:
        axes.axhline(tolerance, color=MUTED, linewidth=1.0, linestyle=(0, (5, 3)), label=f"tolerance {tolerance:g}")
    axes.set_xlabel(_ABSCISSAE.get(abscissa, "entry"))
    axes.set_ylabel("relative size")
    axes.legend(loc="best")


@styled
def draw_residual(
    title: str, view: View, cores: Sequence[Core], residual: Array, fields: Mapping[str, Array], errors: Mapping[str, Array]
) -> Figure:
    """Draw where the residual of the declared equation stands, in space and in wavenumber.

    Args:
        title: of the figure.
        view: tensor grid on which everything was evaluated.
        cores: source cores.
        residual: relative to the largest term of the equation, on the view's grid.
        fields: solution by name, on the same grid.
        errors: difference from the reference by name; empty without a reference.
    """
    figure, axes = new_figure(1, 2, width=10.6, height=3.95, title=title)
    modulus = np.abs(residual)
    low, high = decades(modulus, _RESIDUAL_DECADES)
    place = axes[0, 0]
    place.set_title("Residual of the equation / its largest term")
    if len(view.symbols) == 1:
        calm(place)
        place.semilogy(view.axes[0], np.maximum(modulus, low), color=BLUE, linewidth=1.0)
        place.set_xlabel(symbol_label(view.symbols[0]))
    else:
        (left, right), (bottom, top) = ((axis[0], axis[-1]) for axis in view.axes)
        image = place.imshow(
            np.maximum(modulus, low).T, origin="lower", extent=(left, right, bottom, top), aspect="auto" if view.is_space_time else "equal",
            cmap=ERROR_MAP, norm=LogNorm(low, high), interpolation="nearest",
        )
        name_axes(place, view)
        draw_cores(place, view, cores, "white")
        add_colour_bar(figure, place, image)
    _spectra(axes[0, 1], view, residual, fields, errors)
    return figure


def _spectra(axes: Axes, view: View, residual: Array, fields: Mapping[str, Array], errors: Mapping[str, Array]) -> None:
    calm(axes)
    curves: list[tuple[Array, str, str]] = []
    for name, values in fields.items():
        curves.append((values, f"${name}$" if len(name) == 1 else name, BLUE))
        if name in errors:
            curves.append((errors[name], "its error", ORANGE))
    curves.append((residual, "residual", PINK))
    directions: list[tuple[int | None, Any, str]] = [(None, "-", "")]
    if view.is_space_time:
        directions = [(0, "-", f" along {symbol_label(view.symbols[0])}"), (1, (0, (2, 1.4)), f" along {symbol_label(view.symbols[1])}")]
    peaks = []
    for values, label, colour in curves:
        for direction, dashes, where in directions:
            wavenumbers, amplitude = amplitude_spectrum(values, view.axes, direction)
            peaks.append(max(float(np.max(amplitude)), 1e-18))
            axes.semilogy(wavenumbers, np.maximum(amplitude, 1e-20), color=colour, linestyle=dashes, linewidth=1.4, label=label + where)
    axes.set_title("Amplitude spectra, " + ("per axis" if view.is_space_time else "radially averaged" if len(view.axes) == 2 else "windowed"))
    axes.set_xlabel("angular wavenumber or frequency" if view.is_space_time else "angular wavenumber")
    axes.set_xlim(left=0)
    # Every curve shows its peak and the four decades below; what lies deeper is the window's leakage.
    axes.set_ylim(1e-4 * min(peaks), 10 * max(peaks))
    axes.legend(loc="upper right", ncols=len(directions))
    axes.tick_params(colors=MUTED, labelcolor=INK)


def amplitude_spectrum(values: Array, axes: Sequence[Array], direction: int | None) -> tuple[Array, Array]:
    """Return angular wavenumbers and the root mean square amplitude of the windowed transform per shell.

    Args:
        values: on the tensor grid of `axes`; NaN counts as zero.
        axes: uniform positions.
        direction: None for shells of |k|, else the axis whose wavenumber is kept; the others are averaged over.

    A Hann window keeps the jump between opposite faces out; it widens a line to four wavenumber steps.
    """
    windowed = np.where(np.isfinite(values), values, 0)
    for index, axis in enumerate(axes):
        shape = [1] * len(axes)
        shape[index] = -1
        windowed = windowed * (2 * np.hanning(len(axis))).reshape(shape)
    power = np.abs(np.fft.fftn(windowed) / windowed.size) ** 2
    each = [2 * np.pi * np.abs(np.fft.fftfreq(len(axis), axis[1] - axis[0])) for axis in axes]
    mesh = np.meshgrid(*each, indexing="ij")
    kept = np.sqrt(np.sum([k**2 for k in mesh], axis=0)) if direction is None else mesh[direction]
    steps = [k[1] for k in each] if direction is None else [each[direction][1]]
    width = max(steps)
    limit = min(k.max() for k in each) if direction is None else each[direction].max()
    shells = np.rint(kept / width).astype(int).ravel()
    count = np.bincount(shells)
    amplitude = np.sqrt(np.bincount(shells, weights=power.ravel()) / np.maximum(count, 1))
    wavenumbers = width * np.arange(len(count))
    shown = (wavenumbers <= limit) & (count > 0)
    return wavenumbers[shown], amplitude[shown]
