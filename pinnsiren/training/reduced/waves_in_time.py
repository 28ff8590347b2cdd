"""Waves in time in a found medium, by the explicit scheme of the reference solvers: traces at the receivers and the field everywhere.

    c m u_tt - Lap u = w_s(t) N(x; x_s),     u = u_t = 0 at the first instant

Order 8 in space and 4 in time; the inversion itself knows the waves per frequency only, by another scheme on another grid. A Gaussian source acts as
a few points, the nodes of Gauss and Hermite.

Input: a survey, a medium as a function of points. Output: `WavesInTime`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, NdBSpline, make_interp_spline

from pinnsiren.compiler.helmholtz_twin import HelmholtzTwin
from pinnsiren.ir import MultiIndex
from pinnsiren.language.numeric import evaluator
from pinnsiren.language.wave_surveys import TraceSet, WaveSurvey
from pinnsiren.reference_solvers.time_domain import AcousticPropagator, design_layer
from pinnsiren.reference_solvers.time_domain.absorbing_layers import THINNEST

Array = NDArray[Any]
Medium = Callable[[NDArray[np.float64]], Array]

# Of the shortest wave that the wavelet sends, in the slowest medium: order 8 is below 1e-3 per wavelength from 5 on.
POINTS_PER_WAVELENGTH = 8.0
COARSER = 1.4  # step of the grid whose difference tells the error
OF_LIMIT = 0.9
SUBCELLS = 4  # points per axis over which the squared slowness of a cell is averaged
MARGIN = 8  # cells around the box: the interpolation of the field, and the points of a source, reach beyond it
INSTANTS_PER_PERIOD = 8.0  # of the shortest, for the field between stored instants
DEGREE = 5
MOST_STORED = 40_000_000  # numbers of a field, 320 MB; beyond, fewer instants are kept
FEWEST_CELLS = 36  # along the shorter side of the box: a medium may have more detail than its waves
# Of the filter of an estimated wavelet: before (the wavelet must not reach beyond the first instant) and after, in periods of its peak; taps per
# shortest period; damping of what no record tells. A wavelet turned by 30 degrees, which no short filter makes, is met to 3 %, its traces to 4.5 %.
BEFORE, AFTER, TAPS_PER_PERIOD, TAP_DAMPING = 0.8, 1.5, 3.0, 3e-3
FILTER_ERROR = 0.045
MOST_NODES = 9  # of a Gaussian source along an axis


@dataclass(frozen=True)
class SentFilter:
    """What the sources were found to send: sum over lags of taps times the declared wavelet at t - lag.

    Attributes:
        lags: (n,), on both sides of zero.
        taps: (n, n_shots).
    """

    lags: Array
    taps: Array


@dataclass(frozen=True)
class WavesInTime:
    """The shots of a survey in one medium.

    Attributes:
        twin: survey and wavelets.
        medium: squared slowness at points (n, 2).
        sent: what the sources send, relative to the declaration; None for as declared.
        coarser: step of the grid, relative to the usual one.
        longer: time beyond the last instant of the domain that is computed too.
    """

    twin: HelmholtzTwin
    medium: Medium
    sent: SentFilter | None = None
    coarser: float = 1.0
    longer: float = 0.0

    @property
    def survey(self) -> WaveSurvey:
        """The declaration."""
        return self.twin.survey

    def traces(self) -> list[Array]:
        """Return what the receivers record, one (n_shots, n_receivers, n_samples) per set of traces."""
        found = [np.empty_like(traces.values) for traces in self.survey.traces]
        for shot in range(len(self.survey.sources)):
            times, records = self.records(shot)
            rows = iter(records)
            for traces, values in zip(self.survey.traces, found, strict=True):
                for receiver in range(values.shape[1]):
                    values[shot, receiver] = CubicSpline(times, next(rows))(traces.instants_of(shot, receiver))
        return found

    def records(self, shot: int) -> tuple[Array, Array]:
        """Return the instants of the scheme (n_times,) and what all receivers of a shot record then, set by set, (n_receivers, n_times)."""
        receivers = np.concatenate([traces.receivers[shot] for traces in self.survey.traces])
        record = self._propagator.shoot(*self._source(shot), receivers)
        return record.times, record.traces

    def field(self, points: NDArray[np.float64], orders: MultiIndex) -> Array:
        """Return a derivative of the field of all shots, (n_points, n_shots); columns of the points in the order of the declared field."""
        arguments = list(self.survey.field.args)
        time = arguments.index(self.survey.time)
        columns = [points[:, time] - self.survey.span[0], *np.delete(points, time, axis=1).T]
        order = [orders[time], *np.delete(np.array(orders), time)]
        first, *axes = self._spline.t
        inside = [np.clip(column, knots[0], knots[-1]) for column, knots in zip(columns, (first, *axes), strict=True)]
        return np.asarray(self._spline(np.stack(inside, axis=-1), nu=tuple(int(n) for n in order)))

    # -- grid ---------------------------------------------------------------------------------------------------------------------------------

    @cached_property
    def _grid(self) -> tuple[Array, tuple[Array, Array]]:
        """Speed on the nodes, and their positions."""
        survey, highest = self.survey, self.twin.spectrum.highest
        box = np.array(survey.box)
        probes = np.meshgrid(*[np.linspace(low, high, 101) for low, high in box], indexing="ij")
        slowest = float(np.max(survey.factor * self.medium(np.stack([p.ravel() for p in probes], axis=1)))) ** -0.5
        step = self.coarser * min(slowest / (highest * POINTS_PER_WAVELENGTH), float(np.ptp(box, axis=1).min()) / FEWEST_CELLS)
        reach = MARGIN * step + 3 * float(np.sqrt(survey.variance))
        axes = tuple(low - reach + step * np.arange(int(np.ceil((high - low + 2 * reach) / step)) + 1) for low, high in box)
        offsets = ((np.arange(SUBCELLS) + 0.5) / SUBCELLS - 0.5) * step
        fine = [np.clip((axis[:, None] + offsets).ravel(), low, high) for axis, (low, high) in zip(axes, box, strict=True)]
        nodes = np.stack([p.ravel() for p in np.meshgrid(*fine, indexing="ij")], axis=1)
        means = self.medium(nodes).reshape(len(axes[0]), SUBCELLS, len(axes[1]), SUBCELLS).mean(axis=(1, 3))
        return (survey.factor * means) ** -0.5, (axes[0], axes[1])

    @cached_property
    def _propagator(self) -> AcousticPropagator:
        speed, axes = self._grid
        spacing, origin = tuple(float(axis[1] - axis[0]) for axis in axes), tuple(float(axis[0]) for axis in axes)
        # Layers begin where the medium ends: a fast spot inside, which a wrong medium may have, must not make them many times as wide as the box.
        peak, rim = self.twin.spectrum.peak, max(float(np.take(speed, (0, -1), axis=axis).max()) for axis in (0, 1))
        cells = max(design_layer(min(spacing), rim, peak).cells, int(np.ceil(THINNEST * float(speed.max()) / (peak * min(spacing)))))
        settings: dict[str, Any] = {"frequency": peak, "origin": origin, "layer_cells": cells}
        limit = AcousticPropagator(speed, spacing, 1e-3 * min(spacing) / float(speed.max()), **settings).largest_dt
        steps = int(np.ceil(self.survey.duration / (OF_LIMIT * limit)))
        return AcousticPropagator(speed, spacing, self.survey.duration / steps, **settings)

    @property
    def _times(self) -> Array:
        """Instants of the scheme, one more than the domain has for the spline of the field."""
        dt = self._propagator.dt
        return dt * np.arange(round((self.survey.duration + self.longer) / dt) + 2)

    def _source(self, shot: int) -> tuple[Array, Array]:
        """Return points (n, 2) and their wavelets (n, n_times)."""
        survey, deviation = self.survey, float(np.sqrt(self.survey.variance))
        wavenumber = 2 * np.pi * self.twin.spectrum.highest / float(self._grid[0].min())
        count = min(3 + int(np.ceil(2 * wavenumber * deviation)), MOST_NODES)
        nodes, weights = np.polynomial.hermite_e.hermegauss(count)
        weights = weights / weights.sum()
        x, y = np.meshgrid(nodes, nodes, indexing="ij")
        points = survey.sources[shot] + deviation * np.stack([x.ravel(), y.ravel()], axis=1)
        return points, np.outer(np.outer(weights, weights).ravel(), self._wavelet(shot))

    def _wavelet(self, shot: int) -> Array:
        """Return what a source sends at the instants of the scheme: as declared, or as its filter says."""
        survey, times = self.survey, self._times
        evaluate = evaluator([survey.wavelets[shot]], [survey.time])
        if self.sent is None:
            return np.asarray(evaluate(survey.span[0] + times[:, None])[0], dtype=float)
        moved = (times[:, None] - self.sent.lags).ravel()
        courses = np.asarray(evaluate(survey.span[0] + moved[:, None])[0], dtype=float)
        return np.asarray(np.where(moved > 0, courses, 0).reshape(len(times), -1) @ self.sent.taps[:, shot])

    @cached_property
    def _spline(self) -> NdBSpline:
        """The field of all shots as one spline of time and space."""
        _, axes = self._grid
        times, shots = self._times, len(self.survey.sources)
        wanted = 1 / (INSTANTS_PER_PERIOD * self.twin.spectrum.highest)
        every = max(int(wanted / times[1]), 1)
        nodes = len(axes[0]) * len(axes[1]) * shots
        every = max(every, int(np.ceil(len(times) * nodes / MOST_STORED)))
        # The last stored instant is at the end of the domain or beyond.
        count = int(np.ceil((self.survey.duration / times[1]) / every - 1e-9)) + 1
        stored = np.empty((count, len(axes[0]), len(axes[1]), shots))
        receiver = self.survey.sources[:1]
        for shot in range(shots):
            points, wavelets = self._source(shot)
            # Beyond the last instant of the scheme the wavelet goes on as it ended; what it sends then is heard nowhere yet.
            missing = (count - 1) * every + 1 - wavelets.shape[1]
            longer = np.pad(wavelets, ((0, 0), (0, max(missing, 0))), mode="edge")
            record = self._propagator.shoot(points, longer, receiver, snapshot_every=every)
            stored[..., shot] = record.snapshots[:count]
        instants = times[1] * every * np.arange(count)
        coefficients, knots = stored, []
        for axis, positions in enumerate((instants, *axes)):
            spline = make_interp_spline(positions, np.moveaxis(coefficients, axis, 0), k=DEGREE)
            coefficients = np.moveaxis(spline.c, 0, axis)
            knots.append(spline.t)
        return NdBSpline(tuple(knots), np.ascontiguousarray(coefficients), DEGREE)


def estimated_filter(waves: WavesInTime, kept: list[Array]) -> SentFilter:
    """Return what the sources send by the records: per shot the short filter of the declared wavelet that meets the observed traces best.

    Args:
        waves: of the declared wavelets in the found medium.
        kept: traces that count, (n_shots, n_receivers) per set.
    """
    spectrum, survey = waves.twin.spectrum, waves.survey
    per_period = TAPS_PER_PERIOD * spectrum.highest / spectrum.peak
    lags = np.arange(-int(BEFORE * per_period), int(AFTER * per_period) + 1) / (TAPS_PER_PERIOD * spectrum.highest)
    taps, waves = np.zeros((len(lags), len(survey.sources))), replace(waves, longer=float(-lags[0]))
    for shot in range(len(survey.sources)):
        rows, right = [], []
        times, records = waves.records(shot)
        receivers = iter(records)
        for traces, counts in zip(survey.traces, kept, strict=True):
            for receiver in range(traces.values.shape[1]):
                course, instants = CubicSpline(times, next(receivers)), traces.instants_of(shot, receiver)
                if not counts[shot, receiver]:
                    continue
                moved = instants[:, None] - lags
                rows.append(np.where(moved > 0, course(np.maximum(moved, 0)), 0))
                right.append(traces.values[shot, receiver])
        if not rows:
            taps[np.argmin(np.abs(lags)), shot] = 1.0
            continue
        matrix, observed = np.concatenate(rows), np.concatenate(right)
        # A little damping: beyond the band of the wavelet taps move nothing.
        ridge = TAP_DAMPING * np.linalg.norm(matrix, 2) * np.eye(len(lags))
        taps[:, shot] = np.linalg.lstsq(np.concatenate([matrix, ridge]), np.concatenate([observed, np.zeros(len(lags))]), rcond=None)[0]
    return SentFilter(lags, taps)


def trace_misfit(found: list[Array], sets: tuple[TraceSet, ...], kept: list[Array], deviations: list[float]) -> float:
    """Return the root mean square of observed minus predicted traces that count, in units of a standard deviation per set."""
    gaps = zip(found, sets, kept, deviations, strict=True)
    total = sum(float(np.sum((values - traces.values)[counts] ** 2)) / level**2 for values, traces, counts, level in gaps)
    return float(np.sqrt(total / sum(traces.values[counts].size for traces, counts in zip(sets, kept, strict=True))))


def relative_misfit(found: list[Array], sets: tuple[TraceSet, ...], kept: list[Array]) -> float:
    """Return |observed - predicted| / |observed| over all traces that count."""
    gap = sum(float(np.sum((values - traces.values)[counts] ** 2)) for values, traces, counts in zip(found, sets, kept, strict=True))
    return float(np.sqrt(gap / sum(float(np.sum(traces.values[counts] ** 2)) for traces, counts in zip(sets, kept, strict=True))))
