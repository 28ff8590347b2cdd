"""Progress of a run: the residual at fresh points, the estimated error and the time left; a live line in a terminal that rich draws, plain lines
elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pinnsiren.training.loop import ProgressCallback


def _describe(numbers: dict[str, float], elapsed: float, seconds: float) -> str:
    parts = []
    if "size" in numbers:
        parts.append(f"{int(numbers['size'])} features")
    parts.append(f"fresh residual {numbers['fresh_residual']:.2e}")
    estimate = numbers.get("estimated_error", float("inf"))
    if estimate < float("inf"):
        parts.append(f"estimated error {estimate:.1e}")
    parts.append(f"{elapsed:.0f} s used, at most {max(0.0, seconds - elapsed):.0f} s left")
    return ", ".join(parts)


@contextmanager
def show_progress(name: str, wanted: bool) -> Iterator[ProgressCallback | None]:
    """Yield a callback for the loop, or None when no progress is wanted."""
    if not wanted:
        yield None
        return
    rich = _rich()
    if rich is None or not rich.console.Console(stderr=True).is_terminal:
        printed = [-10.0]

        def print_line(numbers: dict[str, float], elapsed: float, seconds: float) -> None:
            if elapsed - printed[0] > 2.0:
                printed[0] = elapsed
                print(f"{name}: {_describe(numbers, elapsed, seconds)}", file=sys.stderr, flush=True)

        yield print_line
        return
    columns = (rich.progress.TextColumn("{task.description}"), rich.progress.BarColumn(bar_width=20))
    with rich.progress.Progress(*columns, console=rich.console.Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=1.0)

        def update(numbers: dict[str, float], elapsed: float, seconds: float) -> None:
            bar.update(task, completed=min(1.0, elapsed / seconds), description=f"{name}: {_describe(numbers, elapsed, seconds)}")

        yield update


def _rich() -> Any:
    """Return the library, or None where it is not installed: a run needs no live line."""
    try:
        import rich.console
        import rich.progress
    except ImportError:
        return None
    return rich
