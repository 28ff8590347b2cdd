"""What all figures share: paper, ink, colour maps and colour bars. Matplotlib's object interface on the Agg canvas; pyplot is never imported.

Drawing functions carry `@styled`: Matplotlib reads its settings when an artist is made, and the user's own settings are left alone.
"""

import functools
import io
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np
import sympy as sp
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

INK, MUTED, GRID = "#1f2933", "#616e7c", "#e4e7eb"
# Okabe and Ito (2008): told apart by colour-blind readers, in print too.
BLUE, ORANGE, GREEN, PINK = "#0072b2", "#d55e00", "#009e73", "#b0508f"
SIGNED_MAP, MODULUS_MAP, ERROR_MAP = "RdBu_r", "viridis", "inferno"
DPI = 130
STYLE: Any = {
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "mathtext.fontset": "cm",
    "lines.linewidth": 1.6,
}


_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def styled(draw: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Run a drawing function under the common style."""

    @functools.wraps(draw)
    def drawn(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


def new_figure(rows: int, columns: int, *, width: float, height: float, title: str) -> tuple[Figure, NDArray[Any]]:
    """Return a figure with its axes (rows, columns), in the common style; sizes in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.suptitle(title, x=0.012, ha="left", fontsize=12, fontweight="bold", color=INK)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08, wspace=0.03, hspace=0.04)
    return figure, axes


@styled
def png(figure: Figure) -> bytes:
    """Return the figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def symbol_label(symbol: Any) -> str:
    """Return a symbol in mathematical type."""
    return f"${sp.latex(symbol)}$"


def add_colour_bar(figure: Figure, axes: Axes, image: Any, label: str = "") -> None:
    """Add a slim colour bar to the right of an axes."""
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02, aspect=24)
    bar.outline.set_linewidth(0.0)
    bar.ax.tick_params(length=2.5, width=0.6)
    bar.set_label(label, fontsize=8.5)


def calm(axes: Axes) -> None:
    """Give a line plot its grid and take away the box."""
    axes.grid(True, which="major", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def decades(values: NDArray[Any], most: float) -> tuple[float, float]:
    """Return limits of a logarithmic scale: up to `most` decades below the largest finite value."""
    finite = np.abs(values[np.isfinite(values)])
    top = float(np.max(finite, initial=0.0)) or 1.0
    low = float(np.min(finite[finite > 0], initial=top))
    return max(low, top * 10.0**-most, 1e-300), top
