"""Figures of a field beside its reference: maps in the plane and in space-time, curves on a line.

Input: values on a `View`. Output: a figure. Solution and reference share one colour scale; source cores are circled and do not set it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from .plotting import BLUE, ERROR_MAP, INK, MODULUS_MAP, ORANGE, SIGNED_MAP, add_colour_bar, calm, decades, new_figure, styled, symbol_label
from .points import Core, in_cores
from .views import View

Array = NDArray[Any]

_ERROR_DECADES = 4.0
_ONE_SIGNED = 0.15


@dataclass(frozen=True)
class Picture:
    """One field on a view, with its reference if there is one.

    Attributes:
        title: of the figure.
        name: of the field.
        view: where.
        found, true: values on the view's grid; `true` None without a reference.
        reference: what the reference is, a word or two.
        cores: source cores.
    """

    title: str
    name: str
    view: View
    found: Array
    true: Array | None
    reference: str
    cores: Sequence[Core]

    @property
    def is_complex(self) -> bool:
        """Whether imaginary parts are to be shown."""
        return bool(np.iscomplexobj(self.found))

    @property
    def symbol(self) -> str:
        """Name of the field in mathematical type, without dollar signs."""
        return self.name if len(self.name) == 1 else rf"\mathrm{{{self.name}}}".replace("_", r"\_")

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which points set the scales: in the domain, outside the cores."""
        return (self.view.inside & ~in_cores(self.view.points, self.cores)).reshape(self.view.shape)

    @property
    def scale(self) -> float:
        """Largest modulus outside the cores."""
        shown = self.true if self.true is not None else self.found
        return float(np.nanmax(np.abs(np.where(self.counted, shown, 0)))) or 1.0

    @property
    def real_colours(self) -> dict[str, Any]:
        """Colours of real parts: symmetric about zero, unless the field has next to no values of one sign."""
        shown = self.true if self.true is not None else self.found
        values = shown.real[self.counted & np.isfinite(shown)]
        low, high = float(np.min(values, initial=0.0)), float(np.max(values, initial=0.0))
        if min(-low, high) < _ONE_SIGNED * max(-low, high):
            return {"cmap": MODULUS_MAP, "vmin": low, "vmax": high}
        return {"cmap": SIGNED_MAP, "vmin": -self.scale, "vmax": self.scale}

    @property
    def relative_error(self) -> Array | None:
        """Modulus of the difference over the root mean square of the reference."""
        if self.true is None:
            return None
        rms = float(np.sqrt(np.mean(np.abs(self.true[self.counted]) ** 2))) or 1.0
        return np.asarray(np.abs(self.found - self.true) / rms)


@styled
def draw_field(picture: Picture) -> Figure:
    """Draw a field: curves on a line, maps elsewhere."""
    return _draw_line(picture) if len(picture.view.symbols) == 1 else _draw_maps(picture)


def _draw_maps(picture: Picture) -> Figure:
    panels = _map_panels(picture)
    columns = 3 if picture.is_complex and picture.true is not None else 2
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(rows, columns, width=4.35 * columns, height=3.75 * rows + 0.3, title=picture.title)
    for place, draw in zip(axes.flat, panels, strict=True):
        draw(figure, place)
    return figure


def _map_panels(picture: Picture) -> list[Callable[[Figure, Axes], None]]:
    scale, symbol = picture.scale, picture.symbol
    part = rf"\mathrm{{Re}}\,{symbol}" if picture.is_complex else symbol

    def real(values: Array, source: str) -> Callable[[Figure, Axes], None]:
        return lambda figure, axes: _map(figure, axes, picture, values.real, f"${part}$, {source}", **picture.real_colours)

    def modulus(values: Array, source: str) -> Callable[[Figure, Axes], None]:
        return lambda figure, axes: _map(
            figure, axes, picture, np.abs(values), f"$|{symbol}|$, {source}", cmap=MODULUS_MAP, vmin=0.0, vmax=scale
        )

    def cut(figure: Figure, axes: Axes) -> None:
        _cut(axes, picture)

    def error(figure: Figure, axes: Axes) -> None:
        _error_map(figure, axes, picture)

    panels = [real(picture.found, "network")]
    if picture.true is None:
        return [*panels, modulus(picture.found, "network") if picture.is_complex else cut]
    panels += [real(picture.true, picture.reference), error]
    if picture.is_complex:
        panels += [modulus(picture.found, "network"), modulus(picture.true, picture.reference)]
    return [*panels, cut]


def _error_map(figure: Figure, axes: Axes, picture: Picture) -> None:
    error = picture.relative_error
    assert error is not None
    low, high = decades(error[picture.counted], _ERROR_DECADES)
    title = rf"Error $|{picture.symbol} - {picture.symbol}_\mathrm{{ref}}|\,/\,\mathrm{{rms}}$"
    _map(figure, axes, picture, np.maximum(error, low), title, cmap=ERROR_MAP, norm=LogNorm(low, high), ring="white")


def _map(figure: Figure, axes: Axes, picture: Picture, values: Array, title: str, *, ring: str = INK, **colours: Any) -> None:
    view = picture.view
    (left, right), (bottom, top) = ((axis[0], axis[-1]) for axis in view.axes)
    image = axes.imshow(
        values.T, origin="lower", extent=(left, right, bottom, top), aspect="auto" if view.is_space_time else "equal",
        interpolation="bilinear", interpolation_stage="data", **colours,
    )
    name_axes(axes, view)
    axes.set_title(title)
    draw_cores(axes, view, picture.cores, ring)
    add_colour_bar(figure, axes, image)


def name_axes(axes: Axes, view: View) -> None:
    """Label the axes of a map."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.set_xlabel(symbol_label(view.symbols[0]) + (f"   ({view.fixed})" if view.fixed else ""))
    axes.set_ylabel(symbol_label(view.symbols[1]), rotation=0 if view.is_space_time else 90)


def draw_cores(axes: Axes, view: View, cores: Sequence[Core], colour: str) -> None:
    """Circle the source cores that lie in a spatial map."""
    if not view.is_space_time:
        for centre, radius in cores:
            axes.add_patch(Circle((centre[0], centre[1]), radius, fill=False, edgecolor=colour, linewidth=0.9, linestyle=(0, (3, 2))))


def _cut(axes: Axes, picture: Picture) -> None:
    """Values along the first coordinate: through the middle of the second, or at the last instant."""
    view = picture.view
    index = len(view.axes[1]) - 1 if view.is_space_time else len(view.axes[1]) // 2
    at = f"{symbol_label(view.symbols[1])} = {view.axes[1][index]:.3g}"
    found = picture.found[:, index]
    true = None if picture.true is None else picture.true[:, index]
    counted = picture.counted[:, index]
    _curves(axes, picture, view.axes[0], found, true, counted)
    axes.set_title(f"Cut at {at}")
    axes.set_xlabel(symbol_label(view.symbols[0]))


def _curves(axes: Axes, picture: Picture, positions: Array, found: Array, true: Array | None, counted: NDArray[np.bool_]) -> None:
    calm(axes)
    parts: list[tuple[str, Callable[[Array], Array], str]] = [(f"${picture.symbol}$", np.real, BLUE)]
    if picture.is_complex:
        parts = [(rf"$\mathrm{{Re}}\,{picture.symbol}$", np.real, BLUE), (rf"$\mathrm{{Im}}\,{picture.symbol}$", np.imag, ORANGE)]
    lows, highs = [], []
    for label, part, colour in parts:
        axes.plot(positions, part(found), color=colour, label=f"{label}, network")
        if true is not None:
            # Dashes of dark ink on the coloured line: agreement shows as a two-coloured line.
            axes.plot(positions, part(true), color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label=f"{label}, {picture.reference}")
        shown = part(found)[counted & np.isfinite(found)]
        lows.append(np.min(shown, initial=0.0))
        highs.append(np.max(shown, initial=0.0))
    axes.set_xlim(positions[0], positions[-1])
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    low, high = min(lows), max(highs)
    span = (high - low) or 1.0
    # The head room takes the legend.
    axes.set_ylim(low - 0.08 * span, high + (0.3 if true is not None else 0.18) * span)
    axes.legend(loc="upper center", ncols=len(parts), columnspacing=1.2, handlelength=1.8, borderaxespad=0.2)


def _draw_line(picture: Picture) -> Figure:
    panels = 1 if picture.true is None else 2
    figure, axes = new_figure(panels, 1, width=7.6, height=2.9 * panels + 0.3, title=picture.title)
    (positions,) = picture.view.axes
    _curves(axes[0, 0], picture, positions, picture.found, picture.true, picture.counted)
    axes[-1, 0].set_xlabel(symbol_label(picture.view.symbols[0]))
    error = picture.relative_error
    if error is not None:
        calm(axes[1, 0])
        axes[1, 0].semilogy(positions, np.maximum(error, 1e-17), color=BLUE)
        axes[1, 0].set_title(rf"Error $|{picture.symbol} - {picture.symbol}_\mathrm{{ref}}|\,/\,\mathrm{{rms}}$")
        axes[1, 0].set_xlim(positions[0], positions[-1])
    return figure
