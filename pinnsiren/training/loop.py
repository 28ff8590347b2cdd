"""The one loop: drives any run step by step, watches the clock, keeps the history, writes checkpoints, ends with a status.

Input: an `AbstractRun`. Output: `TrainingRecord`. Ctrl-C ends the run with what it has; a killed process leaves the last checkpoint.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from pinnsiren.errors import NonFiniteError, TrainingError
from pinnsiren.status import Status
from pinnsiren.training.checkpoint import read_checkpoint, write_checkpoint
from pinnsiren.training.deadline import OutOfTimeError
from pinnsiren.training.method import AbstractRun, RunSettings, StateTree
from pinnsiren.training.parallel import LostRankError

ABORTED = ("interrupted", "out_of_memory", "non_finite")
MEMORY_WORDS = ("allocate", "out of memory")  # torch reports the CPU's memory as a plain RuntimeError
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
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> TrainingRecord:
    """Advance a run until it is over.

    Args:
        run: the run.
        settings: what it was started with.
        progress: called after every step with its numbers, the seconds used and the budget.
        checkpoint: file to resume from if it exists, and to write to.
        prints: what a checkpoint must agree with.
        checkpoint_seconds: time between two checkpoints.

    Raises:
        TrainingError: the run ends before its first step is done, or the checkpoint belongs to another run.
    """
    history: dict[str, list[float]] = {}
    used = 0.0
    finished: StateTree | None = None
    if checkpoint is not None:
        found = read_checkpoint(checkpoint, prints or {})
        if found is not None:
            finished, history, used = found
            run.restore(finished)
    clock = settings.clock
    start = saved_at = clock()
    status: Status | None = None
    while status is None:
        try:
            elapsed = used + clock() - start
            reason = run.stop_reason(elapsed)
            if reason is not None:
                status = Status(*reason)
                break
            numbers = run.step()
            # One assignment: a key pressed in between must not part the state from its history.
            finished, history = run.state(), _appended(history, numbers)
            elapsed = used + clock() - start
            if checkpoint is not None and clock() - saved_at > checkpoint_seconds:
                write_checkpoint(checkpoint, prints or {}, finished, history, elapsed)
                saved_at = clock()
            if progress is not None:
                progress({name: values[-1] for name, values in history.items()}, elapsed, settings.seconds)
        except OutOfTimeError as error:
            # The run knows: it goes on with a smaller step, or says why it ends.
            if finished is None:
                raise TrainingError(f"the run ended before its first step was done. {error}") from error
        except (KeyboardInterrupt, MemoryError, NonFiniteError, RuntimeError) as error:
            status = _translate(error)
    elapsed = used + clock() - start
    if finished is None:
        raise TrainingError(f"the run ended before its first step was done. {status}")
    if status.code in ABORTED:
        # A step that was cut short leaves a state between two steps.
        run.restore(finished)
    if checkpoint is not None and status.code != "non_finite":
        write_checkpoint(checkpoint, prints or {}, run.state(), history, elapsed)
    return TrainingRecord(status, history, elapsed)


def _appended(history: dict[str, list[float]], numbers: dict[str, float]) -> dict[str, list[float]]:
    return {name: [*history.get(name, []), float(value)] for name, value in numbers.items()}


def _translate(error: BaseException) -> Status:
    """Turn what ends a run from outside into a status; errors of the program stay errors."""
    if isinstance(error, KeyboardInterrupt):
        text = "stopped from the keyboard; the model is that of the last finished step. Pass checkpoint=path to be able to resume"
        return Status("interrupted", text)
    if isinstance(error, LostRankError):
        return Status("interrupted", f"{error}; the model is that of the last finished step. Pass checkpoint=path to be able to resume")
    if isinstance(error, NonFiniteError):
        return Status("non_finite", f"{error}, or, with a gradient method, lower its learning rate; the model is that of the last good step")
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(words in str(error) for words in MEMORY_WORDS):
        text = f"memory is exhausted ({error}); lower the number of features or points, or the width of the network"
        return Status("out_of_memory", text)
    raise error
