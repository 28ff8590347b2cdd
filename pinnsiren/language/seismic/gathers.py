"""Traces with their geometry, in time and per frequency, in metres, seconds and Hz.

Time and frequency are joined by the convention of the package, fields stand for exp(+i w t):

    U(w) = int u(t) exp(-i w t) dt,     so that a delay by r/c is a factor exp(-i w r/c): outgoing waves

Input: arrays. Output: `TimeGathers`, `FrequencyGathers`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ProblemError
from pinnsiren.language.seismic.scaling import Scaling

Array = NDArray[Any]

# Amplitude of the mean spectrum below which frequencies are taken as unheard: 26 dB below its peak.
_HEARD = 0.05
# A wavelet weaker than this share of its peak says nothing at a frequency: the quotient would be noise, a million times amplified.
_SILENT = 1e-6
# Metres from source to receiver from which on lengths are metres, not units of a scaled problem, and the slowest sound in them, m/s: in air and peat.
_METRES, _SLOWEST = 10.0, 300.0


@dataclass(frozen=True)
class TimeGathers:
    """Traces of several shots.

    Attributes:
        traces: (n_shots, n_receivers, n_samples).
        interval: seconds between samples.
        sources: (n_shots, 2), metres.
        receivers: (n_receivers, 2) or (n_shots, n_receivers, 2), metres.
        start: seconds, time of the first sample after the shot.
        wavelet: (n_samples,) of the source, on the same samples, or None where it is unknown.

    Raises:
        ProblemError: shapes that do not belong together, traces or positions that are not finite, an interval that is not positive, or one in
            milliseconds.
    """

    traces: Array
    interval: float
    sources: Array
    receivers: Array
    start: float = 0.0
    wavelet: Array | None = None

    def __post_init__(self) -> None:
        traces = real_array("traces", self.traces)
        if traces.ndim != 3 or not traces.size:
            raise ProblemError(f"traces were given with shape {traces.shape}; expected (n_shots, n_receivers, n_samples)")
        if not 0 < float(self.interval) < np.inf:
            raise ProblemError(f"traces were given with interval={self.interval}; expected a positive number of seconds between samples")
        if not np.isfinite(self.start):
            raise ProblemError(f"traces were given with start={self.start}; expected the seconds from the shot to the first sample")
        object.__setattr__(self, "traces", traces)
        _set_geometry(self, traces.shape[:2])
        check_finite_traces(traces)
        if self.wavelet is not None:
            wavelet = real_array("a wavelet", self.wavelet)
            if wavelet.shape != traces.shape[2:]:
                raise ProblemError(f"the wavelet has shape {wavelet.shape}; the traces have {traces.shape[2]} samples: expected one value per sample")
            if not np.all(np.isfinite(wavelet)) or not np.any(wavelet):
                raise ProblemError("the wavelet is zero or holds NaN or infinite entries; expected what the source sent, or None where it is unknown")
            object.__setattr__(self, "wavelet", wavelet)
        self._check_interval()

    def _check_interval(self) -> None:
        """Refuse an interval that fits in milliseconds only: waves that no trace could tell apart, and that a thousandth of it could.

        Raises:
            ProblemError: the survey is shorter than the shortest wave heard, even at 300 m/s.
        """
        if not np.any(np.ptp(self.traces, axis=2)):
            return
        offsets = np.linalg.norm(self.receivers - self.sources[:, None, :], axis=-1)
        highest, longest = self.heard_band()[1], float(offsets.max())
        waves = longest * highest / _SLOWEST
        if longest > _METRES and waves < 1 <= 1000 * waves:
            raise ProblemError(
                f"traces were given with interval={self.interval:g}: in seconds, they hold {highest:.3g} Hz at most, and the longest offset of "
                f"{longest:.3g} m is {waves:.2g} of a wavelength even at {_SLOWEST:g} m/s. This looks like milliseconds: give "
                f"interval={self.interval / 1000:g}; lengths are in metres"
            )

    @property
    def times(self) -> Array:
        """(n_samples,), seconds."""
        return np.asarray(self.start + self.interval * np.arange(self.traces.shape[2]))

    @property
    def nyquist(self) -> float:
        """Half the sampling frequency, Hz."""
        return 0.5 / self.interval

    def heard_band(self) -> tuple[float, float]:
        """Lowest and highest frequency (Hz) whose mean amplitude is at least a twentieth of the peak's, zero left out.

        Raises:
            ProblemError: all traces are constant in time.
        """
        n = self.traces.shape[2]
        amplitude = np.mean(np.abs(np.fft.rfft(self.traces, axis=2)), axis=(0, 1))
        amplitude[0] = 0
        if not np.any(amplitude):
            raise ProblemError(f"all {self.traces.shape[0] * self.traces.shape[1]} traces are constant in time: no frequency is heard")
        frequencies = np.fft.rfftfreq(n, self.interval)
        heard = np.flatnonzero(amplitude >= _HEARD * amplitude.max())
        return float(frequencies[heard[0]]), float(frequencies[heard[-1]])

    def observed(self, scaling: Scaling | None = None) -> tuple[Array, Array]:
        """Return points and values for `Observations` of a field of two coordinates and the time, in this order.

        Args:
            scaling: into its units; None keeps metres and seconds.

        Returns:
            (n, 3), or (n_shots, n, 3) where receivers differ from shot to shot; and (n_shots, n), n the receivers times the samples.
        """
        lengths, times = (self.receivers, self.times) if scaling is None else (scaling.lengths(self.receivers), scaling.times(self.times))
        n_shots, n_receivers, n_samples = self.traces.shape
        places = np.repeat(lengths, n_samples, axis=-2)
        when = np.broadcast_to(np.tile(times, n_receivers), places.shape[:-1])
        return np.concatenate([places, when[..., None]], axis=-1), self.traces.reshape(n_shots, n_receivers * n_samples)

    def at_frequencies(self, frequencies: ArrayLike, *, noise: float | None = None) -> FrequencyGathers:
        """Transform the traces at some frequencies (Hz); divided by the spectrum of the wavelet if it is known.

        Raises:
            ProblemError: a frequency that is not positive or not below that of Nyquist, or that the wavelet does not hold.
        """
        f = np.atleast_1d(real_array("frequencies", frequencies))
        if f.ndim != 1 or not f.size or not np.all(np.isfinite(f)) or np.any(f <= 0) or np.any(f >= self.nyquist):
            raise ProblemError(
                f"traces sampled every {self.interval:g} s were asked for the frequencies {f} Hz; expected numbers above 0 and below "
                f"{self.nyquist:g} Hz, "
                "half the sampling frequency (an interval in milliseconds would be a thousand times too long)"
            )
        kernel = self.interval * np.exp(-2j * np.pi * f[:, None] * self.times)
        values = np.einsum("srt,ft->fsr", self.traces, kernel, optimize=True)
        if self.wavelet is not None:
            sent = kernel @ self.wavelet
            silent = np.abs(sent) < _SILENT * self.interval * np.max(np.abs(np.fft.rfft(self.wavelet)))
            if silent.any():
                raise ProblemError(f"the wavelet sends nothing at {f[silent]} Hz, where traces would be divided by it: leave these frequencies out")
            values = values / sent[:, None, None]
        return FrequencyGathers(f, values, self.sources, self.receivers, noise=None if noise is None else np.full(len(f), noise))


@dataclass(frozen=True)
class FrequencyGathers:
    """Measurements per frequency, for exp(+i w t).

    Attributes:
        frequencies: (n_frequencies,), Hz; angular frequencies over 2 pi where lengths and speeds are dimensionless.
        values: (n_frequencies, n_shots, n_receivers), complex.
        sources: (n_shots, 2), metres.
        receivers: (n_receivers, 2) or (n_shots, n_receivers, 2), metres.
        noise: (n_frequencies,), standard deviation relative to the root mean square of the values, or None where unknown.

    Raises:
        ProblemError: shapes that do not belong together, values or positions that are not finite, frequencies that are not positive.
    """

    frequencies: Array
    values: Array
    sources: Array
    receivers: Array
    noise: Array | None = None

    def __post_init__(self) -> None:
        f, given = np.atleast_1d(real_array("frequencies", self.frequencies)), np.asarray(self.values)
        if given.dtype.kind not in "fiubc":
            raise ProblemError(f"measurements of type {given.dtype} were given; expected complex numbers")
        values = given.astype(complex)
        if f.ndim != 1 or not np.all(np.isfinite(f)) or np.any(f <= 0):
            raise ProblemError(f"measurements were given the frequencies {f}; expected positive numbers in Hz")
        if len(np.unique(f)) < len(f):
            raise ProblemError(f"measurements were given the frequencies {f}; expected each once")
        if values.ndim != 3 or len(values) != len(f):
            raise ProblemError(
                f"measurements have shape {values.shape} for {len(f)} frequencies; expected (n_frequencies, n_shots, n_receivers) = ({len(f)}, ...)"
            )
        object.__setattr__(self, "frequencies", f)
        object.__setattr__(self, "values", values)
        _set_geometry(self, values.shape[1:])
        check_finite_traces(np.moveaxis(values, 0, -1))
        if given.dtype.kind != "c" and np.any(given):
            raise ProblemError(f"measurements of type {given.dtype} were given; expected complex values with amplitude and phase, for exp(+i w t)")
        if self.noise is not None:
            noise = np.asarray(self.noise, dtype=float)
            if noise.shape != f.shape or not np.all(np.isfinite(noise)) or np.any(noise < 0):
                raise ProblemError(f"measurements were given noise={self.noise}; expected one relative level per frequency, such as 0.02")
            object.__setattr__(self, "noise", noise)

    def conjugated(self) -> FrequencyGathers:
        """Return the measurements for the other time convention."""
        return replace(self, values=np.conj(self.values))

    def chosen(self, numbers: ArrayLike) -> FrequencyGathers:
        """Return some frequencies, by index."""
        index = np.atleast_1d(np.asarray(numbers, dtype=int))
        noise = None if self.noise is None else self.noise[index]
        return replace(self, frequencies=self.frequencies[index], values=self.values[index], noise=noise)


def efficient_frequencies(lowest: float, highest: float, *, half_offset: float, depth: float) -> Array:
    """Return as few frequencies (Hz) as leave no gap in vertical wavenumber.

    A reflector at depth z seen with half offsets up to h covers wavenumbers from f / sqrt(1 + (h/z)^2) to f: f_{n+1} = f_n sqrt(1 + (h/z)^2).

    Args:
        lowest, highest: Hz; the last one is `highest` itself.
        half_offset: largest half distance between source and receiver, metres.
        depth: of the target, metres.

    Raises:
        ProblemError: numbers that are not positive, or a lowest frequency above the highest.

    Reference: Sirgue and Pratt (2004), Geophysics 69, equation 12.
    """
    if not (0 < lowest <= highest < np.inf and half_offset > 0 and depth > 0):
        raise ProblemError(
            f"frequencies from {lowest} to {highest} Hz for half_offset={half_offset}, depth={depth}: expected positive numbers, in order"
        )
    ratio = float(np.hypot(1.0, half_offset / depth))
    count = int(np.ceil(np.log(highest / lowest) / np.log(ratio) - 1e-9)) + 1
    return np.asarray(np.geomspace(lowest, highest, count)) if count > 1 else np.array([float(highest)])


def real_array(name: str, values: Any) -> Array:
    """Return numbers as an array of floats.

    Raises:
        ProblemError: text, ragged lists, or complex numbers, whose imaginary parts would be lost.
    """
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "fiub":
        raise ProblemError(f"{name} of type {array.dtype} were given; expected real numbers")
    return np.asarray(array, dtype=float)


def check_finite_traces(traces: Array) -> None:
    """Every sample of (n_shots, n_receivers, ...) is finite.

    Raises:
        ProblemError: some are not; the first trace is named.
    """
    bad = ~np.all(np.isfinite(traces), axis=tuple(range(2, traces.ndim)))
    if bad.any():
        shot, receiver = np.argwhere(bad)[0]
        raise ProblemError(
            f"{int(bad.sum())} of {bad.size} traces hold NaN or infinite samples, the first is shot {shot}, receiver {receiver}: leave these traces "
            f"out, "
            "or set them to zero if they are dead"
        )


def _set_geometry(gathers: Any, counts: tuple[int, int]) -> None:
    """Check positions against (n_shots, n_receivers) and keep them as arrays."""
    sources, receivers = (real_array(name, getattr(gathers, name)) for name in ("sources", "receivers"))
    for name, positions in (("sources", sources), ("receivers", receivers)):
        if positions.ndim not in ((2,) if name == "sources" else (2, 3)) or positions.shape[-1] != 2:
            raise ProblemError(f"the {name} have shape {positions.shape}; expected positions (n, 2) in metres")
        if not np.all(np.isfinite(positions)):
            bad = int(np.sum(~np.all(np.isfinite(positions), axis=-1)))
            raise ProblemError(f"{bad} of the {name} have positions that are NaN or infinite; expected finite positions (n, 2) in metres")
    if len(sources) != counts[0]:
        hint = ": the first two axes of the data look exchanged, transpose them" if (len(sources), receivers.shape[-2]) == counts[::-1] else ""
        raise ProblemError(f"{counts[0]} shots were given with {len(sources)} source positions; expected one each{hint}")
    if receivers.shape[-2] != counts[1] or (receivers.ndim == 3 and len(receivers) != counts[0]):
        raise ProblemError(
            f"{counts[0]} shots of {counts[1]} traces were given with receivers of shape {receivers.shape}; expected one position per trace"
        )
    object.__setattr__(gathers, "sources", sources)
    object.__setattr__(gathers, "receivers", receivers)
