"""What an inversion returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Step:
    """One accepted iteration.

    Attributes:
        group: number of the group of frequencies.
        weight: of the prior.
        misfit: |P u - d| over the declared noise, root mean square over the frequencies of the group; one at the floor.
    """

    group: int
    weight: float
    misfit: float


@dataclass(frozen=True)
class InversionResult:
    """The model found, and how.

    Attributes:
        squared_slowness: (n_x, n_y).
        misfits: relative misfit of the final model per frequency.
        noise: declared noise per frequency, the floor that misfits are held against.
        history: accepted iterations in order.
        weight: of the prior in the end.
        amplitudes: factor per frequency and source, ones unless estimated.
        wave_solves: right-hand sides solved, adjoint ones included.
        factorisations: operators factorised.
        seconds: wall time.
        reached_floor: whether the misfit met the declared noise in every group.
        status: what ended the run, and what to do if it ended early.
    """

    squared_slowness: Array
    misfits: Array
    noise: Array
    history: tuple[Step, ...]
    weight: float
    amplitudes: Array
    wave_solves: int
    factorisations: int
    seconds: float
    reached_floor: bool
    status: str

    @property
    def speed(self) -> Array:
        """c = 1/sqrt(m), (n_x, n_y)."""
        return np.asarray(1 / np.sqrt(self.squared_slowness))

    def __str__(self) -> str:
        ratios = ", ".join(f"{m:.2e} (noise {n:.2e})" for m, n in zip(self.misfits, self.noise, strict=True))
        return f"{self.status}; relative misfits {ratios}; {self.wave_solves} wave solves in {self.seconds:.1f} s"
