"""From an inversion of waves in time to one of Helmholtz equations: the same medium, one field per frequency.

    c m u_tt - Lap u = w_s(t) N(x; x_s)      ->      Lap U + c (w - i sigma)^2 m U = - W_s(s) N(x; x_s),      s = sigma + i w

The data are the transformed traces, their noise is what white noise of the declared level makes of the transform, together with what records that
were cut off leave out. sigma is zero where the records hold the waves to their end, and else the smallest multiple of 1/T that makes the rest small.

Input: a declared problem. Output: `HelmholtzTwin`, whose `problem` any inversion of Helmholtz equations takes.

Reference: Shin and Cha (2009), Waveform inversion in the Laplace-Fourier domain, Geophys. J. Int. 177, 1067-1079, for damped waves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.compiler.time_transform import (
    EVEN,
    LEAST_DAMPING_CONTINUED,
    Band,
    WaveletSpectrum,
    check_sampling,
    quadrature,
    tail_deviation,
    wavelet_spectrum,
)
from pinnsiren.errors import CompileError, ProblemError
from pinnsiren.language.conditions import PML, Observations
from pinnsiren.language.domains import Box
from pinnsiren.language.numeric import evaluator
from pinnsiren.language.operators import laplacian
from pinnsiren.language.problem import Problem
from pinnsiren.language.sources import GaussianSource, SourceFamily
from pinnsiren.language.survey_checks import check_positions, check_units
from pinnsiren.language.symbols import declaration_of, field
from pinnsiren.language.wave_surveys import TraceSet, WaveSurvey, read_wave_survey

Array = NDArray[Any]

MOST_FREQUENCIES = 5  # in a Ricker wavelet, loud over a factor of 7, neighbours in the ratio 1.6; every one has operators of its own to factorise
ABOVE_NOISE = 4.0  # root mean square of the data over that of the noise, below which a frequency tells little
DAMPINGS = (0.0, 1.0, 2.0, 3.0, 4.0)  # times 1/T; beyond, nothing but the first arrivals counts
SMALL_TAIL = 0.5  # of the noise: what is cut off and smaller is hidden by it
LEAST_NOISE = 3e-3  # relative to the data; no grid of the inversion is better
LOST = 0.3  # of the data: records that end so early are no records of these waves
CLEAR_START = 0.05  # of the largest value: a record that begins late and stands at more than this has missed the first arrival
SAMPLE = 41  # of the start, per axis, for the speeds that units are judged by


@dataclass(frozen=True)
class HelmholtzTwin:
    """The same inversion per frequency.

    Attributes:
        survey: what was declared.
        problem: Helmholtz equations.
        frequencies: cycles per unit of time, from low to high.
        sigma: damping, per unit of time.
        noise: per frequency, relative to the data, None where none is declared.
        cut_off: per frequency, what the end of the records leaves out, relative to the data.
        spectrum: of the wavelets.
        sizes: (n_frequencies,), root mean square of the transformed traces.
        per_noise: (n_frequencies,), the same of the transform of white noise of deviation one.
    """

    survey: WaveSurvey
    problem: Problem
    frequencies: tuple[float, ...]
    sigma: float
    noise: tuple[float | None, ...]
    cut_off: tuple[float, ...]
    spectrum: WaveletSpectrum
    sizes: Array
    per_noise: Array

    @property
    def text(self) -> str:
        """What was done, for plans."""
        levels = [f"{100 * level:.2g} %" for level in self.noise if level is not None]
        noise = f", noise {', '.join(levels)} of the data" if levels else ""
        damped = (
            f" The records end before the waves have: all is weighted by exp(-{self.sigma:.3g} t), which leaves out {100 * max(self.cut_off):.2g} % "
            "of the data at most, counted as noise."
            if self.sigma
            else f" What the end of the records leaves out is {100 * max(self.cut_off):.2g} % of the data at most, counted as noise."
        )
        count = len(self.frequencies)
        return (
            f"the traces are transformed in time (an equation of Helmholtz for the same medium) at {count} "
            f"{'frequency' if count == 1 else 'frequencies'}, {', '.join(f'{f:.4g}' for f in self.frequencies)}, where the wavelet (peak "
            f"{self.spectrum.peak:.3g}) is loud and the data stand above the noise{noise}.{damped} The found medium is checked in time, by a "
            "leapfrog scheme against the traces themselves"
        )

    @cached_property
    def deviation(self) -> float | None:
        """Standard deviation of the declared noise in time, root mean square over the traces; None where a set declares none."""
        levels = [traces.deviation for traces in self.survey.traces]
        if any(level is None for level in levels):
            return None
        counts = [traces.values.size for traces in self.survey.traces]
        return float(np.sqrt(np.average([float(level or 0) ** 2 for level in levels], weights=counts)))


def helmholtz_twin(problem: Problem) -> HelmholtzTwin:
    """Transform a declared inversion in time.

    Raises:
        CompileError: the problem is of another form, or its traces hold nothing that can be inverted.
        ProblemError: traces, wavelets or units that cannot be right.
    """
    survey = read_wave_survey(problem)
    deviation = float(np.sqrt(survey.variance))
    for traces in survey.traces:
        check_positions(survey.sources, traces.receivers, survey.box, deviation=deviation, name=f"`{problem.name}`")
    begin = survey.span[0]
    courses = [evaluator([wavelet], [survey.time]) for wavelet in survey.wavelets]
    spectrum = wavelet_spectrum(lambda after: np.stack([c(begin + after[:, None])[0] for c in courses]), survey.duration, problem.name)
    for traces in survey.traces:
        _check_traces(traces, spectrum, survey)
    _check_units(survey, spectrum)
    transform = _Transform(survey)
    sigma, frequencies = _choose(survey, spectrum, transform)
    s = sigma + 2j * np.pi * frequencies
    parts = [transform.of(traces, s) for traces in survey.traces]
    sent = spectrum.at(s)
    size = np.sqrt(sum(part.power for part in parts) / sum(part.count for part in parts))
    cut_off = transform.tail(spectrum.peak, sigma) / size
    if cut_off.max() > LOST:
        raise ProblemError(
            f"the records of `{problem.name}` end while the waves are still passing: with a weight exp(-{sigma:.3g} t) they leave out "
            f"{cut_off.max():.0%} of what "
            f"a transform needs. Give longer records, or declare the domain of time no longer than they are"
        )
    levels = [
        [None if part.noise is None else float(np.hypot(part.noise[n], cut_off[n] * size[n]) / part.size[n]) for n in range(len(s))] for part in parts
    ]
    fields = [field(f"{declaration_of(survey.field).name}_{n + 1}", *survey.space, complex=True, shots=len(survey.sources)) for n in range(len(s))]
    conditions: list[Any] = [*[PML(u) for u in fields], *survey.beliefs]
    for part, level in zip(parts, levels, strict=True):
        conditions += [Observations(u, part.receivers, part.values[n], noise=level[n]) for n, u in enumerate(fields)]
    x, y = survey.space
    equations = []
    for n, u in enumerate(fields):
        k = sp.Float(2 * np.pi * float(frequencies[n])) - sp.I * sp.Float(sigma) if sigma else sp.Float(2 * np.pi * float(frequencies[n]))
        shots = [
            GaussianSource(at={x: float(a), y: float(b)}, variance=survey.variance, amplitude=-complex(sent[shot, n]))
            for shot, (a, b) in enumerate(survey.sources)
        ]
        equations.append(sp.Eq(laplacian(u) + sp.expand(sp.Float(survey.factor) * k**2) * survey.medium * u, SourceFamily(shots)))
    exact = (problem.exact or {}).get(survey.medium)
    twin = Problem(
        name=problem.name,
        fields=fields,
        domain=Box({x: survey.box[0], y: survey.box[1]}),
        equations=equations,
        conditions=conditions,
        exact=None if exact is None else {survey.medium: exact},
    )
    noise = tuple(_together([level[n] for level in levels], parts, n) for n in range(len(s)))
    per_noise = np.sqrt(sum(part.count * part.per_noise**2 for part in parts) / sum(part.count for part in parts))
    return HelmholtzTwin(
        survey=survey,
        problem=twin,
        frequencies=tuple(float(f) for f in frequencies),
        sigma=sigma,
        noise=noise,
        cut_off=tuple(float(c) for c in cut_off),
        spectrum=spectrum,
        sizes=size,
        per_noise=per_noise,
    )


def _together(levels: list[float | None], parts: list[_Part], number: int) -> float | None:
    """Return the level of all sets at one frequency, None where a set has none."""
    known = [level for level in levels if level is not None]
    return float(np.sqrt(np.average(np.square(known), weights=[part.power[number] for part in parts]))) if len(known) == len(levels) else None


@dataclass(frozen=True)
class _Part:
    """One set of traces, transformed.

    Attributes:
        receivers: as declared.
        values: (n_s, n_shots, n_receivers).
        power: (n_s,), sum of squares.
        count: traces.
        per_noise: (n_s,), root mean square of the transform of white noise of deviation one.
        level: deviation of the noise, None where none is declared.
    """

    receivers: Array
    values: Array
    power: Array
    count: int
    per_noise: Array
    level: float | None

    @property
    def noise(self) -> Array | None:
        """Root mean square of the noise per frequency."""
        return None if self.level is None else self.level * self.per_noise

    @property
    def size(self) -> Array:
        """Root mean square per frequency."""
        return np.asarray(np.sqrt(self.power / self.count))


class _Transform:
    """The traces of a survey and what they hold at any s."""

    def __init__(self, survey: WaveSurvey) -> None:
        self.survey = survey

    def of(self, traces: TraceSet, s: Array) -> _Part:
        """Return the transformed traces of a set."""
        values = np.empty((len(s), *traces.values.shape[:2]), dtype=complex)
        variance = np.zeros(len(s))
        shots, receivers = traces.values.shape[:2]
        known: dict[bytes, Array] = {}
        for shot in range(shots):
            for receiver in range(receivers):
                instants = traces.instants_of(shot, receiver)
                weights = known.setdefault(instants.tobytes(), np.zeros(0))
                if not weights.size:
                    weights = known[instants.tobytes()] = quadrature(instants, s)
                values[:, shot, receiver] = weights @ traces.values[shot, receiver]
                variance += np.sum(np.abs(weights) ** 2, axis=1)
        count = shots * receivers
        where = traces.receivers[0] if traces.shared else traces.receivers
        return _Part(where, values, np.sum(np.abs(values) ** 2, axis=(1, 2)), count, np.sqrt(variance / count), traces.deviation)

    def band(self, spectrum: WaveletSpectrum, sigma: float) -> Band:
        """Return what is heard over the whole spectrum, two frequencies per 1/T."""
        survey = self.survey
        count = max(int(2 * survey.duration * spectrum.highest), 1)
        frequencies = np.arange(1, count + 1) / (2 * survey.duration)
        parts = [self.of(traces, sigma + 2j * np.pi * frequencies) for traces in survey.traces]
        total = sum(part.count for part in parts)
        data = np.sqrt(sum(part.power for part in parts) / total)
        noise = np.sqrt(sum(part.count * (0 if part.noise is None else part.noise) ** 2 for part in parts) / total)
        return Band(frequencies, data, np.broadcast_to(noise, data.shape), spectrum.amplitude(frequencies))

    def tail(self, peak: float, sigma: float) -> float:
        """Return the standard deviation of what the end of the records leaves out of the transform, root mean square over the traces."""
        total, count = 0.0, 0
        for traces in self.survey.traces:
            ends = np.broadcast_to(traces.instants[..., -1], traces.values.shape[:2])
            before_end = (ends[..., None] - np.broadcast_to(traces.instants, traces.values.shape)) * peak
            earlier, last = (self._power(traces, (before_end >= periods) & (before_end < periods + 1)) for periods in (1, 0))
            total += ends.size * tail_deviation((earlier, last), peak, float(ends.min()), sigma) ** 2
            count += ends.size
        return float(np.sqrt(total / count))


    def _power(self, traces: TraceSet, where: Array) -> float:
        """Return the mean square of some samples beyond what noise alone shows, within two deviations of its chance."""
        alone = (traces.deviation or 0.0) ** 2 * (1 + 2 * np.sqrt(2 / max(where.sum(), 1)))
        return max(float(np.mean(traces.values[where] ** 2)) - alone, 0.0) if where.any() else 0.0


def _choose(survey: WaveSurvey, spectrum: WaveletSpectrum, transform: _Transform) -> tuple[float, Array]:
    """Return the damping and the frequencies: the weakest damping that hides what is cut off behind the noise."""
    shortest = min(float(traces.instants[..., -1].min()) for traces in survey.traces)
    least = 0.0 if spectrum.ended else LEAST_DAMPING_CONTINUED
    frequencies = np.zeros(0)
    for times in [d for d in DAMPINGS if d >= least]:
        sigma = times / shortest
        band = transform.band(spectrum, sigma)
        frequencies = band.chosen(MOST_FREQUENCIES, ABOVE_NOISE, shortest)
        if not len(frequencies):
            continue
        data, noise = (np.interp(frequencies, band.frequencies, row) for row in (band.data, band.noise))
        if np.all(transform.tail(spectrum.peak, sigma) <= SMALL_TAIL * np.maximum(noise, LEAST_NOISE * data)):
            break
    if not len(frequencies):
        raise CompileError(
            f"the traces of `{survey.problem.name}` hold no frequency where the wavelet is loud (a fifth of its peak) and the data are "
            f"{ABOVE_NOISE:g} times the "
            f"declared noise, between 1/T = {1 / shortest:.3g} and {spectrum.highest:.3g}: is the wavelet that of the data, and are the records long "
            "enough?"
        )
    return sigma, frequencies


def _check_units(survey: WaveSurvey, spectrum: WaveletSpectrum) -> None:
    """Lengths, times and speeds belong together."""
    axes = np.meshgrid(*[np.linspace(low, high, SAMPLE) for low, high in survey.box], indexing="ij")
    start = np.real(evaluator([declaration_of(survey.medium).initial], survey.space)(np.stack([a.ravel() for a in axes], axis=1))[0])
    if not np.all(np.isfinite(start)) or start.min() <= 0:
        raise CompileError(f"the squared slowness of `{survey.problem.name}` starts at {start.min():g}; expected positive numbers")
    extent = max(high - low for low, high in survey.box)
    interval = max(float(np.diff(traces.instants, axis=-1).max()) for traces in survey.traces)
    check_units([spectrum.peak], extent, (survey.factor * start) ** -0.5, interval=interval)


def _check_traces(traces: TraceSet, spectrum: WaveletSpectrum, survey: WaveSurvey) -> None:
    """Samples are dense enough, and begin before the waves arrive."""
    name = survey.problem.name
    rows = traces.instants.reshape(-1, traces.instants.shape[-1])
    for row in np.unique(rows, axis=0):
        check_sampling(row, spectrum.highest, name)
    if not np.any(traces.values):
        raise ProblemError(f"the traces of `{name}` hold nothing but zeros")
    late = rows[:, 0].max() > EVEN * survey.duration
    if late and np.abs(traces.values[..., 0]).max() > max(CLEAR_START * np.abs(traces.values).max(), ABOVE_NOISE * (traces.deviation or 0.0)):
        raise ProblemError(
            f"the traces of `{name}` begin {rows[:, 0].max():.4g} after the first instant, when waves have already arrived "
            f"({np.abs(traces.values[..., 0]).max() / np.abs(traces.values).max():.0%} of the largest value): give records from the first instant on"
        )
