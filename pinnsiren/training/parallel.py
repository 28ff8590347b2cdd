"""Many devices: points or shots of a run split over the processes that `torchrun` starts.

    torchrun --nproc-per-node 2 -m pinnsiren solve PROBLEM --method adam

Trained methods: every process holds the whole network and a share of the points. Adam and L-BFGS sum loss and gradient by one flat all-reduce in
float64 per evaluation; Gauss-Newton sums the normal equations, or the products of a step, or shares the tiles of a Gram matrix. So all processes take
the same step. Least squares on many shots: every process solves its share of the shots without communication, and all have all at the end. Reduced
inversion: every process factorises its share of the frequencies of a step, and all have residuals and Jacobian of all. What
depends on a clock is decided by process 0. A process that is lost ends the others with the model, and the checkpoint, of the last finished step. NCCL
on GPUs, gloo on CPUs. Shares do not change the sums: neither does the number of processes the result. Other methods refuse (`refuses_processes`).
"""

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from pinnsiren.errors import TrainingError

Item = TypeVar("Item")
Result = TypeVar("Result")
SHARES = 8  # a step's points are cut into at least this many chunks, so that eight devices have one each
SILENCE = timedelta(seconds=120)  # after which a process that does not answer counts as lost; a step on many points takes seconds


_ENDED = threading.Event()


class LostRankError(RuntimeError):
    """Another process of the run has ended or does not answer."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run.

    Attributes:
        rank: 0, 1, ... of this process.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    def share(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items of this process: every `size`-th."""
        return (item for index, item in enumerate(items) if index % self.size == self.rank)

    def sum(self, scalar: float, vector: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Sum a number and a vector over all processes, in one message.

        Raises:
            LostRankError: a process has ended.
        """
        if self.size == 1:
            return scalar, vector
        flat = torch.cat([vector.new_tensor([scalar]), vector])
        _guarded(lambda: dist.all_reduce(flat))
        return float(flat[0]), flat[1:]

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes, the same bits on each.

        Raises:
            LostRankError: a process has ended.
        """
        if self.size > 1:
            tensor = tensor.contiguous()
            _guarded(lambda: dist.all_reduce(tensor))
        return tensor

    def gather(self, own: Any) -> list[Any]:
        """What each process has, by rank.

        Raises:
            LostRankError: a process has ended.
        """
        found: list[Any] = [own] * self.size
        if self.size > 1:
            _guarded(lambda: dist.all_gather_object(found, own))
        return found

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """What a function gives for each item, in order; every process computes a share, and all have the same bits.

        Raises:
            LostRankError: a process has ended.
        """
        shares = self.gather([function(item) for item in self.share(items)])
        return [shares[index % self.size][index // self.size] for index in range(len(items))]

    def join_columns(self, own: torch.Tensor, n_columns: int) -> torch.Tensor:
        """All columns of a matrix, of which every process has each `size`-th; on every process.

        Raises:
            LostRankError: a process has ended.
        """
        if self.size == 1:
            return own
        whole = own.new_empty(len(own), n_columns)
        for rank, part in enumerate(self.gather(own.cpu())):
            whole[:, rank :: self.size] = part.to(own)
        return whole

    @property
    def columns(self) -> slice:
        """The columns of this process."""
        return slice(self.rank, None, self.size)

    def agree(self, value: Any) -> Any:
        """The value that process 0 has.

        Raises:
            LostRankError: a process has ended.
        """
        if self.size == 1:
            return value
        box = [value]
        _guarded(lambda: dist.broadcast_object_list(box, src=0))
        return box[0]


ALONE = Ranks()


def launched_processes() -> int:
    """Processes that `torchrun` started, this one included; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if dist.is_available() and dist.is_torchelastic_launched() else 1


def _guarded(communicate: Callable[[], object]) -> None:
    if _ENDED.is_set():
        raise LostRankError("the launcher ends the run, since another process was lost")
    try:
        communicate()
    except RuntimeError as error:
        _ENDED.set()
        raise LostRankError(f"another process of the run was lost ({str(error).splitlines()[0]})") from error


def join_ranks(device: torch.device) -> Ranks:
    """Meet the other processes if `torchrun` started this one; a single process is a run of its own.

    Raises:
        TrainingError: the processes outnumber the GPUs of the machine.
    """
    if not dist.is_available() or not dist.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        return Ranks()
    if not dist.is_initialized():
        if device.type == "cuda":
            local = int(os.environ["LOCAL_RANK"])
            if local >= torch.cuda.device_count():
                raise TrainingError(f"torchrun started process {local} on a machine with {torch.cuda.device_count()} GPUs; use one process per GPU")
            torch.cuda.set_device(local)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=SILENCE)
        atexit.register(_leave)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _terminated)
    return Ranks(dist.get_rank(), dist.get_world_size())


def _leave() -> None:
    """Leave together: gloo aborts a process whose peer hangs up while it still listens."""
    if not _ENDED.is_set():
        try:
            dist.barrier()
        except RuntimeError:
            _ENDED.set()
    dist.destroy_process_group()


def _terminated(number: int, frame: Any) -> None:
    """torchrun asks the processes that are left to end; the next message says so, since an error here could cut a checkpoint short."""
    _ENDED.set()
