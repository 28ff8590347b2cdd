"""Wavelets and their spectra: what decides the grid that a shot needs.

Reference: Ricker (1953), Geophysics 18, 10-40.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

RealArray = NDArray[Any]

# Amplitude relative to the peak of the spectrum: a Ricker wavelet falls to it at 2.5 times its peak frequency.
_NEGLIGIBLE = 0.033
_PADDING = 8
# The last sample of a wavelet that has ended, relative to its largest.
_ENDED = 1e-3


def ricker(times: ArrayLike, frequency: float, delay: float | None = None) -> RealArray:
    """Ricker wavelet (1 - 2 a) exp(-a) with a = (pi frequency (t - delay))^2.

    Args:
        times: (n_times,).
        frequency: of the peak of the spectrum, cycles per unit of time.
        delay: time of the peak; 1.5/frequency when not given, where the wavelet begins at -1e-8.

    Raises:
        ReferenceSolverError: a frequency that is not positive.

    Example:
        >>> ricker([0.0, 0.15], frequency=10.0).round(6)
        array([-0.,  1.])
    """
    if not frequency > 0:
        raise ReferenceSolverError(f"a Ricker wavelet was given frequency={frequency}; expected a positive number of cycles per unit of time")
    shift = 1.5 / frequency if delay is None else delay
    exponent = (np.pi * frequency * (np.asarray(times, dtype=float) - shift)) ** 2
    return np.asarray((1 - 2 * exponent) * np.exp(-exponent))


def peak_frequency(wavelets: ArrayLike, dt: float) -> float:
    """Frequency of the largest spectral amplitude, cycles per unit of time.

    A wavelet with a mean (a Gaussian, a step) peaks at 0; then the root mean square frequency is given.

    Args:
        wavelets: (n_times,) or (n_sources, n_times).
        dt: sampling step.
    """
    frequencies, spectrum = _spectrum(wavelets, dt)
    peak = int(np.argmax(spectrum))
    if peak >= _PADDING:
        return float(frequencies[peak])
    power = spectrum**2
    mean_square = np.sum(power * frequencies**2) / max(float(np.sum(power)), 1e-300)
    return float(max(np.sqrt(mean_square), frequencies[1]))


def highest_frequency(wavelets: ArrayLike, dt: float) -> float:
    """Frequency beyond which the spectrum stays below 3.3 % of its peak: 2.5 times the peak frequency of a Ricker wavelet.

    Args:
        wavelets: (n_times,) or (n_sources, n_times).
        dt: sampling step.
    """
    samples = np.atleast_2d(np.asarray(wavelets, dtype=float))
    if np.max(np.abs(samples[:, -1])) > _ENDED * np.max(np.abs(samples), initial=0.0):
        # A record that ends before its wavelet does radiates no jump: continued by its mirror image.
        samples = np.concatenate([samples, samples[:, ::-1]], axis=-1)
    frequencies, spectrum = _spectrum(samples, dt)
    audible = np.flatnonzero(spectrum > _NEGLIGIBLE * np.max(spectrum))
    return float(frequencies[audible[-1]]) if len(audible) else 0.0


def _spectrum(wavelets: ArrayLike, dt: float) -> tuple[RealArray, RealArray]:
    """Frequencies and the largest amplitude among the wavelets, zero-padded so that peaks are found between the bins."""
    samples = np.atleast_2d(np.asarray(wavelets, dtype=float))
    length = _PADDING * samples.shape[-1]
    return np.fft.rfftfreq(length, dt), np.max(np.abs(np.fft.rfft(samples, length, axis=-1)), axis=0)
