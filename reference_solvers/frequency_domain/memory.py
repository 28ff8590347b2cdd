"""What a factorisation will need, said before it starts.

Nested dissection of N unknowns of the plane fills O(N log N) numbers; the constants are fitted to measured factors of each width of stencil.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from pinnsiren.errors import ReferenceSolverError

from .schemes import Scheme

# Entries of both factors per unknown, b log2 N - a: fitted within 5 % to 100^2 ... 700^2 nodes (order 6: 250^2). The slope grows like the
# squared width of the separators.
_FILL = {"order2": (7.3, 45.7), "nine_point": (7.55, 40.7), "order4": (54.0, 427.0), "order6": (145.0, 1375.0)}
# Below, the dissection ends at once and the fill is that of a band.
_FEWEST_BITS = 12.0
# A complex number and its row index; work space, and copies of the matrix while it is assembled and reordered: measured for every stencil from 0.1
# to 20 GB, within 15 %.
_BYTES_PER_ENTRY, _BYTES_PER_UNKNOWN = 20.0, 1150.0


def estimated_fill(shape: tuple[int, int], scheme: Scheme) -> float:
    """Entries of both factors of the operator on that many nodes, layers included."""
    n = shape[0] * shape[1]
    slope, constant = _FILL[scheme.name]
    return n * (slope * max(float(np.log2(n)), _FEWEST_BITS) - constant)


def estimated_bytes(shape: tuple[int, int], scheme: Scheme) -> float:
    """Peak memory of the factorisation on that many nodes, layers included."""
    return _BYTES_PER_ENTRY * estimated_fill(shape, scheme) + _BYTES_PER_UNKNOWN * shape[0] * shape[1]


def free_memory() -> float:
    """Bytes that can still be taken, infinite where the system does not tell."""
    table = Path("/proc/meminfo")
    if table.exists():
        for line in table.read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    names = os.sysconf_names if hasattr(os, "sysconf_names") else {}
    if "SC_AVPHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return float("inf")


def check_memory(shape: tuple[int, int], scheme: Scheme, available: float | None = None) -> None:
    """Check that the factorisation fits.

    Args:
        shape: nodes per axis, layers included.
        scheme: of the operator.
        available: bytes; None asks the system.

    Raises:
        ReferenceSolverError: the estimate exceeds what is free; the message gives both, and the largest grid that fits.
    """
    needed = estimated_bytes(shape, scheme)
    free = free_memory() if available is None else available
    if needed > free:
        largest = max(n for n in range(1, 100_000, 10) if n == 1 or estimated_bytes((n, n), scheme) <= free)
        raise ReferenceSolverError(
            f"the factorisation of {shape[0]} x {shape[1]} nodes with `{scheme.name}` is estimated at {needed / 1e9:.1f} GB and "
            f"{free / 1e9:.1f} GB are free: use a coarser grid (about {largest} x {largest} nodes fit, layers included), or a scheme of lower order"
        )
