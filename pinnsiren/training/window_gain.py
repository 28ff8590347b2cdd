"""How much a window in time amplifies what it is given: errors of its initial values come out of it larger or smaller.

Input: a compiled window and its model. Output: `WindowGain`, measured by the equations linearised at the model with a few disturbed initial values.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.charts import Frequencies
from pinnsiren.compiler.lowering import jets_in
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.ir import Jet
from pinnsiren.language.domains import SpaceTime
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.training.feature_model import FeatureModel, build_bases, draw_all
from pinnsiren.training.method import FittedModel
from pinnsiren.training.probes import probe_points
from pinnsiren.training.row_system import RowSystem, solve_least_squares

SIZES = {2: 300, 3: 600}  # features: disturbances are smooth, and what a window does to them needs two digits at most
LARGEST = 900
REDUNDANCY, OVERSAMPLING = 1.3, 2.5
FREQUENCIES = (0.0, 0.2, 0.4)  # of the features' bandwidth; 0 is the slowest to decay under diffusion and the first to grow
SEED = 61_001


@dataclass(frozen=True)
class WindowGain:
    """Largest ratio of a disturbance to the disturbance of the initial values, root mean squares.

    Attributes:
        mean: over the window.
        end: at its last instant.
    """

    mean: float
    end: float


def measure_gain(compiled: CompiledProblem, model: FittedModel, seed: int) -> WindowGain:
    """Disturb initial values, and initial time derivatives, by waves of a few frequencies and look at what comes out."""
    dimension = len(compiled.ir.coordinates)
    frequencies = tuple(draw_all(compiled, SIZES.get(dimension, LARGEST), REDUNDANCY, SEED + seed))
    bases = build_bases(compiled, frequencies)
    system = RowSystem(compiled, bases, torch.device("cpu"), torch.complex128 if compiled.is_complex else torch.float64)
    samples = system.samples(int(OVERSAMPLING * sum(basis.n_features for basis in bases) / len(bases)), SEED + seed + 1)
    waves = _disturbances(compiled, frequencies, seed)
    disturbed = []
    for program, drawn in zip(compiled.programs, samples, strict=True):
        values = np.zeros((len(drawn.points), 1 + len(waves)))
        if program.residual.kind == "initial":
            for column, wave in enumerate(waves):
                values[:, 1 + column] = sum(wave.values(compiled, drawn.points, jet) for jet in program.jets)
        disturbed.append(replace(drawn, values=values if drawn.values is None else values + drawn.values))
    matrix, right = system.rows(disturbed, model)
    solved = solve_least_squares(matrix, right)
    # The first column is what the features make of the model's own residual; the others hold it too.
    responses = FeatureModel(bases, frequencies, system.split(solved[:, 1:] - solved[:, :1]))
    inside = probe_points(compiled)
    domain = compiled.original.domain
    assert isinstance(domain, SpaceTime)
    first, last = inside.copy(), inside.copy()
    first[:, -1], last[:, -1] = domain.time_bounds
    norms = np.array([np.linalg.norm(wave.shape(compiled, first)) for wave in waves])
    over, at_end = (_norms(responses, points) / norms for points in (inside, last))
    return WindowGain(float(np.max(over)), float(np.max(at_end)))


@dataclass(frozen=True)
class _Disturbance:
    """envelope(x) cos(w . x + phase) as a disturbance of one field (time_order 0), or, times |w| per unit of time, of its time derivative (1)."""

    field: int
    time_order: int
    wave: tuple[float, ...]
    phase: float

    def shape(self, compiled: CompiledProblem, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return envelope times cosine, (n_points,)."""
        scales, symbols = compiled.scales, compiled.ir.coordinates
        angle = ((points - scales.centre) / scales.unit)[:, :-1] @ np.array(self.wave) + self.phase
        return np.asarray(np.real(evaluate_on(compiled.ir.envelope[self.field], symbols, points)) * np.cos(angle))

    def values(self, compiled: CompiledProblem, points: NDArray[np.float64], jet: Jet) -> NDArray[np.float64]:
        """Return what the disturbance adds to a jet in an initial condition."""
        if jet.field != self.field or jet.orders[-1] != self.time_order:
            return np.zeros(len(points))
        slowest = 0.5 * np.pi / float(np.max(compiled.scales.half_lengths))
        frequency = max(float(np.linalg.norm(self.wave)), slowest) / float(compiled.scales.unit[-1])
        return self.shape(compiled, points) * frequency**self.time_order


def _disturbances(compiled: CompiledProblem, frequencies: tuple[Frequencies, ...], seed: int) -> list[_Disturbance]:
    bandwidth = float(np.max(np.abs(frequencies[0].waves)))
    chance = np.random.default_rng(SEED + seed)
    orders = sorted({(jet.field, jet.orders[-1]) for r in compiled.ir.residuals if r.kind == "initial" for jet in jets_in(r.expression)})
    waves = []
    for field, time_order in orders:
        for share in FREQUENCIES:
            direction = chance.normal(size=len(compiled.ir.coordinates) - 1)
            wave = share * bandwidth * direction / np.linalg.norm(direction)
            waves.append(_Disturbance(field, time_order, tuple(wave.tolist()), float(0.25 * np.pi if share else 0.0)))
    return waves


def _norms(model: FeatureModel, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the norm over points and fields of every column."""
    zero = (0,) * points.shape[1]
    squares = sum(np.sum(np.abs(model.evaluate(field, points, zero)) ** 2, axis=0) for field in range(len(model.bases)))
    return np.asarray(np.sqrt(squares))
