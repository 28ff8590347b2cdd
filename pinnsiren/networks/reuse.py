"""Memory that one training step leaves to the next.

Every step keeps the same tens of megabytes between forward and backward. Fresh memory of that size comes from the operating system page by page,
zeroed at first touch: 10,000 page faults at 4096 points of a 256-wide network, 3 to 5 % of the step. A block goes to the next step once nobody else
holds its storage, however long the graph that saved it lives; each thread has blocks of its own.
"""

import threading

import torch
from torch import Tensor

HELD_BYTES = 1 << 27
"""Most that a thread holds between steps: 128 MiB, the blocks of 10,000 points of a 256-wide network of three layers."""

_FRESH_BELOW = 1 << 20  # smaller blocks come from the heap, already mapped


class _Reservoir(threading.local):
    """Blocks of this thread, the most recently used last, each with the number of holders that it has when it is free."""

    def __init__(self) -> None:
        self.blocks: list[tuple[Tensor, int]] = []


_RESERVOIR = _Reservoir()


def _holders(block: Tensor) -> int:
    count: int = torch._C._storage_Use_Count(block.untyped_storage()._cdata)
    return count


def reusable_empty(like: Tensor, n_elements: int) -> Tensor:
    """Uninitialised memory (n_elements,) of the type and device of `like`; on accelerators torch's own allocator does the same."""
    n_bytes = n_elements * like.element_size()
    if like.device.type != "cpu" or not _FRESH_BELOW <= n_bytes <= HELD_BYTES or not hasattr(torch._C, "_storage_Use_Count"):
        return like.new_empty(n_elements)
    blocks = _RESERVOIR.blocks
    for index, (block, alone) in enumerate(blocks):
        if block.numel() == n_elements and block.dtype == like.dtype and _holders(block) == alone:
            blocks.append(blocks.pop(index))
            return block.view(-1)
    block = torch.empty(n_elements, dtype=like.dtype)
    blocks.append((block, _holders(block)))
    while sum(held.numel() * held.element_size() for held, _ in blocks) > HELD_BYTES:
        blocks.pop(0)
    return block.view(-1)
