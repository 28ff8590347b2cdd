"""Memory that a run needs, compared with what is free before it starts."""

from __future__ import annotations

import os
from pathlib import Path

from pinnsiren.errors import ReferenceSolverError

_MEMINFO = Path("/proc/meminfo")


def free_memory() -> int | None:
    """Bytes that can be allocated without swapping, or None where the system does not tell."""
    if _MEMINFO.exists():
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    try:
        return int(os.sysconf("SC_AVPHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return None


def check_memory(bytes_each: int, count: int, what: str) -> None:
    """Refuse what does not fit.

    Args:
        bytes_each: size of one array.
        count: number of arrays.
        what: in the user's words.

    Raises:
        ReferenceSolverError: more than what is free; the message gives both numbers.
    """
    needed, free = bytes_each * count, free_memory()
    if free is not None and needed > free:
        raise ReferenceSolverError(
            f"{what} need about {needed / 1e9:.3g} GB; {free / 1e9:.3g} GB are free. "
            "Use a coarser grid, fewer snapshots, or a machine with more memory"
        )
