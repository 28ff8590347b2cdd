"""One optimizer step as one CUDA graph: streams, adjoint and optimizer are launched together, so that small networks do not wait for the host.

Input: a step, a function that returns its loss and changes tensors in place. Output: the same step, replayed. The graph reads and writes the memory
it was captured with; new points are copied into that memory (`copy_points`). Where capturing fails, the reason is logged and the step runs launch by
launch.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pinnsiren.training.network_problem import PreparedPoints, PreparedResidual

WARM_UP = 3
"""Calls before the capture: the first ones allocate the optimizer's moments and choose algorithms for the products, which a graph may not."""

Step = Callable[[], Tensor]
Capture = Callable[[Step], Step]

_log = logging.getLogger(__name__)


def capture_cuda(step: Step) -> Step:
    """Record a step without running it; the result replays it and returns the loss."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay() -> Tensor:
        graph.replay()
        return loss

    return replay


class GraphedStep:
    """A step that is captured after a few ordinary calls.

    Args:
        step: returns the loss, without a copy to the host.
        device: a graph exists on CUDA devices only.
        capture: turns the step into its replay.

    Attributes:
        calls: how often the step was taken, warm-up included; every call is one optimizer step.
        reason: why there is no graph; empty where there is one, or may still be.
    """

    def __init__(self, step: Step, device: torch.device, capture: Capture = capture_cuda) -> None:
        self.step, self.capture = step, capture
        self.calls = 0
        self.reason = "" if device.type == "cuda" else f"there are no graphs on the device `{device.type}`"
        self._replay: Step | None = None
        self._side: Any = torch.cuda.Stream(device) if device.type == "cuda" and capture is capture_cuda else None  # type: ignore[no-untyped-call]

    def __call__(self) -> Tensor:
        """Take one step; returns the loss on the device, overwritten by the next call."""
        self.calls += 1
        if self.reason:
            return self.step()
        if self.calls <= WARM_UP:
            return self._on_the_side()
        if self._replay is None:
            try:
                self._replay = self.capture(self.step)
            except Exception as error:  # whatever refuses to be captured can still run
                self.reason = f"{type(error).__name__}: {error}".splitlines()[0]
                _log.warning("the step is not captured as a CUDA graph: %s; it runs launch by launch", self.reason)
                return self.step()
        return self._replay()

    def _on_the_side(self) -> Tensor:
        """Run on a stream of its own, as torch wants it before a capture."""
        if self._side is None:
            return self.step()
        self._side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._side):
            loss = self.step()
        torch.cuda.current_stream().wait_stream(self._side)
        return loss


def tensors_of(points: Sequence[PreparedResidual]) -> list[Tensor]:
    """All tensors of prepared points, in one order."""
    found: list[Tensor] = []
    for residual in points:
        for side in residual.sides:
            found += _side_tensors(side)
        found += [residual.weights] if residual.values is None else [residual.values, residual.weights]
    return found


def _side_tensors(side: PreparedPoints) -> list[Tensor]:
    return [side.inputs, *(matrices for matrices in side.envelopes if matrices is not None), *side.coefficients]


def copy_points(target: Sequence[PreparedResidual], source: Sequence[PreparedResidual]) -> bool:
    """Overwrite prepared points by others; False, with nothing changed, where their shapes differ and a graph has to be captured anew."""
    into, from_ = tensors_of(target), tensors_of(source)
    if [(t.shape, t.dtype) for t in into] != [(t.shape, t.dtype) for t in from_]:
        return False
    for old, new in zip(into, from_, strict=True):
        old.copy_(new)
    return True
