"""Waves on a lattice: initial values, continued to a periodic cell, as plane waves on the dispersion relation of an equation.

    u(x, t) = sum_j a_j exp(i k_j . x + s_j t),   P(i k_j, s_j) = 0,   k_j on the regular lattice 2 pi / period

The equation holds identically, walls and free space by the choice of the cell (`wave_cell`); the amplitudes follow from the initial values by a fast
Fourier transform, since on the lattice the features are orthogonal. It is a Fourier method in the clothes of sine features: what it shows is that
frequencies on a REGULAR lattice on the dispersion relation are the right ones, where random ones fail.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.charts.dispersion import Dispersion, read_dispersion
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import ProblemError
from pinnsiren.ir import MultiIndex
from pinnsiren.training.growing_run import GrowingRun
from pinnsiren.training.method import AbstractMethod, RunSettings, StateTree, Suitability
from pinnsiren.training.wave_cell import FREE, PERIODIC, WaveCell, in_free_space, initial_data, wave_cell

FIRST_CELLS = {1: 64, 2: 64, 3: 24}
LARGEST_FIRST = {1: 1024, 2: 768, 3: 96}  # data with kinks are resolved by no lattice: from here on, grow step by step as far as the tolerance asks
MOST_NODES = {1: 2**18, 2: 3072**2, 3: 192**3}
TAIL = 1e-9  # share of the largest amplitude that may be left in the outer tenth of the lattice at the first size
NEGLIGIBLE = 1e-14  # of the largest amplitude: dropped, since every wave costs at every point
GROWTH = 1.5
COST = 0.3  # of an exact method that needs no factorisation
WORK = 4_000_000  # waves times points in one block: 64 MB of complex numbers
N_FRESH = 1500  # points of the data that are looked at
DEGENERATE = 1e-12  # of the typical |s|: both roots are one


@dataclass(frozen=True)
class WaveLattice(AbstractMethod):
    """Settings of the lattice.

    Attributes:
        cells: nodes along the longest side of the cell at the first size; None refines until the data are resolved.
        growth: ratio of one size to the next.
    """

    cells: int | None = None
    growth: float = GROWTH

    def __post_init__(self) -> None:
        if self.cells is not None and (isinstance(self.cells, bool) or not isinstance(self.cells, int) or self.cells < 8):
            raise ProblemError(f"WaveLattice was given cells={self.cells!r}; expected a whole number of 8 or more")
        if not self.growth > 1:
            raise ProblemError(f"WaveLattice was given growth={self.growth!r}; expected a number above 1")

    @property
    def knows_free_space(self) -> bool:
        """Faces without a condition are free space."""
        return True

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits initial value problems of one equation with constant coefficients and no source on boxes with mirrors or free faces."""
        found = read_lattice(in_free_space(compiled))
        if isinstance(found, str):
            return Suitability(False, found, np.inf)
        return Suitability(True, "plane waves on the dispersion relation, on a regular lattice: a Fourier method, only initial data are fitted", COST)

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "WaveLatticeRun":
        """Begin at the first size that resolves the data."""
        return WaveLatticeRun(self, in_free_space(compiled), settings)


def read_lattice(compiled: CompiledProblem) -> tuple[Dispersion, WaveCell] | str:
    """Return dispersion relation and cell of a problem, or why it has none."""
    if compiled.rewritten.applied or compiled.ir.unknowns or compiled.ir.n_shots > 1:
        return "rewrites, unknown coefficients and shots are not made for lattices"
    relation = read_dispersion(compiled.ir)
    if isinstance(relation, str):
        return relation
    cell = wave_cell(compiled, relation.speed())
    if isinstance(cell, str):
        return cell
    given = sum(residual.kind == "initial" for residual in compiled.ir.residuals)
    if given != relation.time_order:
        return f"{given} initial conditions are given to an equation of order {relation.time_order} in time"
    for axis, pair in enumerate(cell.kinds):
        mirrored = any(kind not in (FREE, PERIODIC) for kind in pair)
        if mirrored and any(orders[axis] % 2 for orders, _ in relation.terms):
            return "an odd derivative is not mirrored by a wall"
    return relation, cell


@dataclass(frozen=True)
class LatticeModel:
    """Plane waves exp(i k . x + s (t - start)) with their amplitudes.

    Attributes:
        waves: (n_waves, n_space), wavenumbers per unit length.
        roots: (n_waves,), s.
        amplitudes: (n_waves,).
        drift: rate at which the mean grows, where the equation has u = t among its solutions.
        start: first instant.
        is_complex: whether the field is; the real part is meant otherwise.
    """

    waves: NDArray[np.float64]
    roots: NDArray[np.complex128]
    amplitudes: NDArray[np.complex128]
    drift: complex
    start: float
    is_complex: bool

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative, (n_points, 1)."""
        factor = self.amplitudes * self.roots ** orders[-1]
        for axis, order in enumerate(orders[:-1]):
            factor = factor * (1j * self.waves[:, axis]) ** order
        matrix = torch.from_numpy(np.concatenate([self.waves.T, self.roots.imag[None, :]]))
        decay = torch.from_numpy(self.roots.real.copy())
        amplitudes = torch.from_numpy(factor)
        shifted = points.copy()
        shifted[:, -1] -= self.start
        pieces, step = [], max(1, WORK // max(len(self.roots), 1))
        for first in range(0, len(points), step):
            part = torch.from_numpy(shifted[first : first + step])
            angle = part @ matrix
            size = torch.exp(part[:, -1:] * decay) if bool(decay.any()) else torch.ones_like(angle)
            pieces.append((torch.polar(size, angle) @ amplitudes).numpy())
        values = np.concatenate(pieces) if pieces else np.zeros(0, dtype=complex)
        if sum(orders[:-1]) == 0 and orders[-1] <= 1:
            values = values + self.drift * (shifted[:, -1] if orders[-1] == 0 else 1.0)
        return (values if self.is_complex else values.real)[:, None]

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """A lattice solves for no scalars."""
        return ()

    def state(self) -> StateTree:
        """Return waves, roots and amplitudes."""
        drift = np.array([self.drift], dtype=complex)
        return {"kind": "lattice", "waves": self.waves, "roots": self.roots, "amplitudes": self.amplitudes, "drift": drift, "start": self.start}


def lattice_model_from_state(compiled: CompiledProblem, state: StateTree) -> LatticeModel:
    """Rebuild a model from its stored waves."""
    arrays = [np.asarray(state[name]) for name in ("waves", "roots", "amplitudes")]
    return LatticeModel(arrays[0], arrays[1], arrays[2], complex(np.asarray(state["drift"])[0]), float(state["start"]), compiled.ir.is_complex[0])


def fit_lattice(compiled: CompiledProblem, relation: Dispersion, cell: WaveCell, cells: int) -> tuple[LatticeModel, float]:
    """Return the model whose initial values are those declared, on the nodes of a cell, and the share of its largest amplitude at the rim.

    Args:
        compiled: the problem.
        relation: its dispersion relation.
        cell: its periodic cell.
        cells: nodes along the longest side.
    """
    longest = max(cell.periods)
    counts = tuple(2 * max(4, int(np.ceil(0.5 * cells * period / longest))) for period in cell.periods)
    start = float(compiled.original.domain.bounds[compiled.original.coordinates[-1]][0])
    data = cell.sampled(initial_data(compiled), counts, start)
    axes = [2 * np.pi * np.fft.fftfreq(n, period / n) for n, period in zip(counts, cell.periods, strict=True)]
    waves = np.stack([array.ravel() for array in np.meshgrid(*axes, indexing="ij")], axis=1)
    shift = np.exp(-1j * waves @ np.array(cell.starts)) / waves.shape[0]
    spectra = [np.fft.fftn(values).ravel() * shift for values in data]
    fraction = np.max(np.abs(waves) * np.array(cell.periods) / np.array(counts), axis=1) / np.pi
    is_complex = compiled.ir.is_complex[0]
    half = np.ones(len(waves)) if is_complex else _halves(waves)
    keep = (fraction < 1 - 1e-9) & (half > 0)
    waves, spectra, half, fraction = waves[keep], [s[keep] for s in spectra], half[keep], fraction[keep]
    roots = relation.roots(waves)
    if relation.time_order == 1:
        amplitudes, drift = spectra[0][:, None] * half[:, None], 0j
    else:
        amplitudes, drift = _split(roots, spectra[0] * half, spectra[1] * half)
    size = np.abs(amplitudes)
    largest = float(size.max(initial=0.0))
    rim = float(size[fraction > 0.9].max(initial=0.0)) / max(largest, 1e-300)
    chosen = size > NEGLIGIBLE * largest
    which = np.broadcast_to(np.arange(len(waves))[:, None], size.shape)[chosen]
    return LatticeModel(waves[which], roots[chosen], amplitudes[chosen], drift, start, is_complex), rim


def _halves(waves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 2 for one wave of each pair k and -k, 0 for the other, 1 for k = 0: of a real field the other is the conjugate."""
    leading = np.zeros(len(waves))
    for axis in range(waves.shape[1]):
        leading = np.where(leading == 0, np.sign(waves[:, axis]), leading)
    return 1.0 + leading


def _split(roots: NDArray[np.complex128], value: NDArray[Any], rate: NDArray[Any]) -> tuple[NDArray[np.complex128], complex]:
    """Return the amplitudes of both roots from value and time derivative, and the drift of a double root at s = 0."""
    first, second = roots.T
    distance = second - first
    typical = float(np.max(np.abs(roots), initial=0.0)) or 1.0
    same = np.abs(distance) < DEGENERATE * typical
    safe = np.where(same, 1.0, distance)
    ahead = np.where(same, 0.0, (rate - first * value) / safe)
    drift = complex(np.sum(rate[same & (np.abs(first) < DEGENERATE * typical)]))
    return np.stack([value - ahead, ahead], axis=1), drift


class WaveLatticeRun(GrowingRun[LatticeModel]):
    """Lattices that grow until the estimate meets the tolerance."""

    stalls_above = 0.9  # a size that lowers the residual by less than this factor does not help

    def __init__(self, method: WaveLattice, compiled: CompiledProblem, settings: RunSettings) -> None:
        super().__init__(compiled, settings)
        found = read_lattice(compiled)
        assert not isinstance(found, str)
        self.method = method
        self.relation, self.cell = found
        dimension = len(self.cell.periods)
        self.most, self.cells = int(MOST_NODES[dimension] ** (1 / dimension)), method.cells or 0

    @cached_property
    def checked(self) -> CompiledProblem:
        """The data: the equation holds identically, whatever the amplitudes (`Dispersion.defect` has proved it)."""
        compiled = self.compiled
        data = [pair for pair in zip(compiled.ir.residuals, compiled.programs, strict=True) if pair[0].kind != "equation"]
        return replace(compiled, ir=replace(compiled.ir, residuals=tuple(r for r, _ in data)), programs=tuple(program for _, program in data))

    def n_fresh(self) -> int:
        """Return the number of points that puts `N_FRESH` on the first instant."""
        return int(N_FRESH ** (1 + 1 / len(self.cell.periods)))

    def fit(self) -> LatticeModel:
        """Return the next size; the first is the smallest that resolves the data, or the largest there is."""
        if self.level == 0 and self.method.cells is None:
            return self._first()
        if self.level > 0:
            self.cells = min(self.most, int(np.ceil(self.cells * self.method.growth)))
        return fit_lattice(self.compiled, self.relation, self.cell, self.cells)[0]

    def _first(self) -> LatticeModel:
        dimension = len(self.cell.periods)
        self.cells = FIRST_CELLS[dimension]
        while True:
            model, rim = fit_lattice(self.compiled, self.relation, self.cell, self.cells)
            larger = int(2 * self.cells)
            if rim < TAIL or larger > LARGEST_FIRST[dimension]:
                return model
            self.cells = larger

    def size(self, model: LatticeModel) -> int:
        """Return the number of waves."""
        return len(model.roots)

    def cost(self, model: LatticeModel) -> int:
        """Return two numbers per wave: they are complex."""
        return 2 * len(model.roots)

    def is_last(self) -> bool:
        """Whether the lattice has its largest size."""
        return self.cells >= self.most

    def exhausted(self) -> str:
        """Return the limit, its likely cause and the remedy."""
        return (
            f"the lattice has its largest size, {self.cells} nodes along the longest side of the cell. The initial data are too sharp "
            "for it, or the time is so long that free space needs too large a cell: declare walls, or a shorter time"
        )

    def predicted_seconds(self) -> float:
        """Return the cost of the next size: nodes and waves grow with the power of the dimension."""
        return float(self.last_seconds * self.method.growth ** len(self.cell.periods))

    def state(self) -> StateTree:
        """Return the last two sizes and the counters."""
        return {**super().state(), "cells": self.cells}

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        super().restore(state)
        self.cells = int(state["cells"])

    def restored_model(self, state: StateTree) -> LatticeModel:
        """Return a size from its state."""
        return lattice_model_from_state(self.compiled, state)
