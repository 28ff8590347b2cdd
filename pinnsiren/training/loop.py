"""The one loop: drives any run step by step, watches the clock, keeps the history, writes checkpoints, ends with a status.

Input: an `AbstractRun`. Output: `TrainingRecord`. Ctrl-C ends the run with what it has; a killed process leaves the last checkpoint.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from pinnsiren.errors import TrainingError
from pinnsiren.status import Status
from pinnsiren.training.checkpoint import read_checkpoint, write_checkpoint
from pinnsiren.training.method import AbstractRun, RunSettings

CHECKPOINT_SECONDS = 5.0  # at most this much work is lost by a killed process, or one step if that takes longer


@dataclass(frozen=True)
class TrainingRecord:
    """How a run went.

    Attributes:
        status: why it ended.
        history: column name -> one number per step.
        seconds: time used, earlier sessions of a resumed run included.
    """

    status: Status
    history: dict[str, list[float]]
    seconds: float


ProgressCallback = Callable[[dict[str, float], float, float], None]


def train(
    run: AbstractRun,
    settings: RunSettings,
    progress: ProgressCallback | None = None,
    checkpoint: str | Path | None = None,
    prints: dict[str, str] | None = None,
) -> TrainingRecord:
    """Advance a run until it is over.

    Args:
        run: the run.
        settings: what it was started with.
        progress: called after every step with its numbers, the seconds used and the budget.
        checkpoint: file to resume from if it exists, and to write to.
        prints: what a checkpoint must agree with.

    Raises:
        TrainingError: memory is exhausted before the first step is done, or the checkpoint belongs to another run.
    """
    history: dict[str, list[float]] = {}
    used = 0.0
    if checkpoint is not None:
        found = read_checkpoint(checkpoint, prints or {})
        if found is not None:
            state, history, used = found
            run.restore(state)
    start = saved_at = perf_counter()
    status: Status | None = None
    while status is None:
        elapsed = used + perf_counter() - start
        reason = run.stop_reason(elapsed)
        if reason is not None:
            status = Status(*reason)
            break
        status = _advance(run, history, settings)
        elapsed = used + perf_counter() - start
        if status is None:
            if progress is not None:
                progress({name: values[-1] for name, values in history.items()}, elapsed, settings.seconds)
            if checkpoint is not None and perf_counter() - saved_at > CHECKPOINT_SECONDS:
                write_checkpoint(checkpoint, prints or {}, run.state(), history, elapsed)
                saved_at = perf_counter()
    elapsed = used + perf_counter() - start
    if checkpoint is not None and history and status.code != "non_finite":
        write_checkpoint(checkpoint, prints or {}, run.state(), history, elapsed)
    if not history:
        raise TrainingError(f"the run ended before its first step was done. {status}")
    return TrainingRecord(status, history, elapsed)


def _advance(run: AbstractRun, history: dict[str, list[float]], settings: RunSettings) -> Status | None:
    """Take one step; translate what can go wrong into a status."""
    try:
        numbers = run.step()
    except KeyboardInterrupt:
        text = "stopped from the keyboard; the model is that of the last finished step. Pass checkpoint=path to be able to resume"
        return Status("interrupted", text)
    except (MemoryError, torch.OutOfMemoryError) as error:
        return Status("out_of_memory", f"memory is exhausted ({error}); lower the number of features or points, or the width of the network")
    except RuntimeError as error:
        if "allocate" not in str(error) and "out of memory" not in str(error):
            raise
        return Status("out_of_memory", f"memory is exhausted ({error}); lower the number of features or points, or the width of the network")
    if not np.isfinite(numbers["fresh_residual"]):
        text = "the residual is NaN or infinite; the model is that of the last good step. Check coefficients that vanish or overflow"
        return Status("non_finite", text)
    for name, value in numbers.items():
        history.setdefault(name, []).append(float(value))
    return None
