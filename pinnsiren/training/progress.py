"""Progress of a run: the residual at fresh points, the estimated error and the time left; a live line in a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

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
    console = Console(stderr=True)
    if not console.is_terminal:
        printed = [-10.0]

        def print_line(numbers: dict[str, float], elapsed: float, seconds: float) -> None:
            if elapsed - printed[0] > 2.0:
                printed[0] = elapsed
                console.print(f"{name}: {_describe(numbers, elapsed, seconds)}", highlight=False, soft_wrap=True)

        yield print_line
        return
    with Progress(TextColumn("{task.description}"), BarColumn(bar_width=20), console=console, transient=True) as bar:
        task = bar.add_task(name, total=1.0)

        def update(numbers: dict[str, float], elapsed: float, seconds: float) -> None:
            bar.update(task, completed=min(1.0, elapsed / seconds), description=f"{name}: {_describe(numbers, elapsed, seconds)}")

        yield update
