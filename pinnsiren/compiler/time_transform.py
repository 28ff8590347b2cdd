"""Traces and wavelets in time as numbers per frequency: quadrature, noise, what is cut off, which frequencies are worth inverting.

    U(s) = int_0^T u(t) exp(-s t) dt,      s = sigma + i w,      convention exp(+i w t)

For a medium that does not change and rest at the start, U obeys the Helmholtz equation of the wavenumber w - i sigma. What the records do not hold
after T is missing in U; the weight exp(-sigma t) makes that small.

Input: samples at instants. Output: weights of the quadrature, a wavelet's transform, `Band`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from pinnsiren.errors import ProblemError

Array = NDArray[Any]

# Instants that deviate from even spacing by less are even: the rounding of milliseconds in files.
EVEN = 1e-3
FINER = 8  # samples of the spline for one of irregular instants
# Relative to the peak of a spectrum, below which nothing is sent: a Ricker wavelet falls to it at 2.5 times its peak frequency.
NEGLIGIBLE = 0.033
# The same for frequencies that are inverted: below, the noise of the band is all in them. A Ricker wavelet is above from 0.28 to 2.05 of its peak.
LOUD = 0.2
# At its first and last instant a wavelet has begun or ended if it is smaller than this share of its largest value: a Ricker wavelet one period
# of its peak frequency before its peak stands at 1e-3.
QUIET = 2e-3
FEWEST_POINTS, MOST_POINTS = 4096, 2**17
FASTEST_DECAY = 0.1  # of the power in a period: two periods are few to tell more from
CONTINUED = 6.0  # durations over which a wavelet that does not end is transformed
LEAST_DAMPING_CONTINUED = 2.0  # times 1/T, which leaves exp(-12) of it


def quadrature(instants: Array, s: Array) -> Array:
    """Return weights (n_s, n_instants) with U(s) = weights @ samples.

    Even instants: the trapezoidal rule, exact to rounding for what is band-limited and vanishes at both ends. Others: the integral of the cubic
    spline through the samples, which is linear in them too.

    Args:
        instants: (n,), increasing, from the start of the motion on.
        s: (n_s,), complex.
    """
    gaps = np.diff(instants)
    if np.ptp(gaps) <= EVEN * gaps.mean():
        even = instants[0] + (instants[-1] - instants[0]) * np.arange(len(instants)) / (len(instants) - 1)
        return _trapezoid(even, s)
    count = FINER * int(np.ceil((instants[-1] - instants[0]) / gaps.min()))
    fine = np.linspace(instants[0], instants[-1], min(count, MOST_POINTS // 16) + 1)
    return np.asarray(_trapezoid(fine, s) @ CubicSpline(instants, np.eye(len(instants)))(fine))


def _trapezoid(instants: Array, s: Array) -> Array:
    weights = np.full(len(instants), instants[1] - instants[0])
    weights[[0, -1]] *= 0.5
    return np.asarray(weights * np.exp(-np.asarray(s)[:, None] * instants))


@dataclass(frozen=True)
class WaveletSpectrum:
    """A wavelet, ready to be transformed.

    Attributes:
        instants: (n,), from the start of the motion on.
        samples: (n_shots, n).
        ended: whether it has ended at the last instant of the record.
        peak: frequency of the largest amplitude of all shots, cycles per unit of time.
        highest: frequency beyond which nothing is sent.
    """

    instants: Array
    samples: Array
    ended: bool
    peak: float
    highest: float

    def at(self, s: Array) -> Array:
        """Return W(s), (n_shots, n_s)."""
        return np.asarray(self.samples @ _trapezoid(self.instants, s).T)

    def amplitude(self, frequencies: Array) -> Array:
        """Return the largest amplitude of all shots relative to that at the peak, (n_frequencies,)."""
        loud = np.abs(self.at(2j * np.pi * np.append(frequencies, self.peak))).max(axis=0)
        return np.asarray(loud[:-1] / loud[-1])


def wavelet_spectrum(evaluate: Callable[[Array], Array], duration: float, name: str) -> WaveletSpectrum:
    """Sample the wavelets of a survey.

    Args:
        evaluate: the wavelets at instants (n,) after the start, (n_shots, n).
        duration: of the records.
        name: of the problem, for messages.

    Raises:
        ProblemError: a wavelet that is silent, not finite, complex, not zero at the start, or that does not oscillate.
    """
    count = FEWEST_POINTS
    while True:
        instants = np.linspace(0, duration, count + 1)
        samples = evaluate(instants)
        _check_wavelets(samples, instants, name)
        spectrum = np.abs(np.fft.rfft(samples, 4 * count, axis=1)).max(axis=0)
        frequencies = np.fft.rfftfreq(4 * count, instants[1])
        heard = np.flatnonzero(spectrum > NEGLIGIBLE * spectrum.max())
        if heard[-1] < 0.1 * len(spectrum) or count >= MOST_POINTS:
            break
        count *= 4
    largest = float(np.abs(samples).max())
    ended = bool(np.abs(samples[:, -1]).max() <= QUIET * largest)
    if not ended:
        instants = np.linspace(0, CONTINUED * duration, int(CONTINUED) * count + 1)
        samples = evaluate(instants)
    peak = frequencies[int(np.argmax(spectrum))]
    if peak * duration < 1:
        raise ProblemError(
            f"the wavelets of `{name}` are loudest at {peak:.3g}, below one period in the {duration:g} of the records: they have a mean, which waves "
            "in the plane keep for ever. Declare what oscillates (the derivative of the pulse, and traces of the derivative), or longer records"
        )
    return WaveletSpectrum(instants, samples, ended, float(peak), float(frequencies[heard[-1]]))


def _check_wavelets(samples: Array, instants: Array, name: str) -> None:
    if np.iscomplexobj(samples) or not np.all(np.isfinite(samples)):
        raise ProblemError(f"a wavelet of `{name}` is complex or not finite between the first and the last instant; expected real numbers")
    largest = np.abs(samples).max(axis=1)
    if np.any(largest == 0):
        shot = int(np.argmin(largest))
        raise ProblemError(f"the wavelet of shot {shot} of `{name}` is zero at all instants of the domain: does its delay lie beyond the end?")
    begun = np.abs(samples[:, 0]) / largest
    if np.any(begun > QUIET):
        shot = int(np.argmax(begun))
        raise ProblemError(
            f"the wavelet of shot {shot} of `{name}` stands at {begun[shot]:.2g} of its largest value at the first instant, where the declaration "
            "says "
            "that all is at rest: what it sent before is missing. Delay it (a RickerWavelet by 1.5 / frequency, which is its default), or begin "
            "earlier"
        )


def check_sampling(instants: Array, highest: float, name: str) -> None:
    """Raise where the instants of a trace are too far apart for what the wavelet sends.

    Args:
        instants: (n,).
        highest: frequency beyond which nothing is sent.
        name: of the problem.

    Raises:
        ProblemError: fewer than two samples per period, or fewer than four where they are irregular.
    """
    gaps = np.diff(instants)
    even = np.ptp(gaps) <= EVEN * gaps.mean()
    needed = 1 / ((2 if even else 4) * highest)
    if gaps.max() > needed * (1 + EVEN):
        milliseconds = " Are instants in milliseconds and the wavelet in Hz? Then divide the instants by 1000." if gaps.max() > 50 * needed else ""
        raise ProblemError(
            f"the traces of `{name}` are sampled every {gaps.max():.4g}{'' if even else ' at most, irregularly'}; the wavelet sends frequencies up "
            "to "
            f"{highest:.4g}, which need an interval of {needed:.4g} or less ({'two' if even else 'four'} samples per period).{milliseconds} Give "
            "traces with "
            "more samples, or a wavelet of lower frequency"
        )


@dataclass(frozen=True)
class Band:
    """What is heard at some frequencies.

    Attributes:
        frequencies: (n,), cycles per unit of time.
        data: (n,), root mean square of the transformed traces.
        noise: (n,), the same of the noise in them; zero where none is declared.
        sent: (n,), amplitude of the wavelet relative to its peak.
    """

    frequencies: Array
    data: Array
    noise: Array
    sent: Array

    def chosen(self, most: int, above: float, duration: float) -> Array:
        """Return the frequencies to invert, from low to high, in even ratios and no nearer than 1/T; empty where nothing is heard.

        Args:
            most: how many.
            above: how often the data have to exceed the noise.
            duration: T of the records: what lies nearer than 1/T says the same twice.
        """
        heard = (self.sent >= LOUD) & (self.data >= above * self.noise) & (self.frequencies * duration >= 1 - EVEN)
        if not heard.any():
            return np.zeros(0)
        low, high = self.frequencies[heard][[0, -1]]
        count = min(most, 1 + int((high - low) * duration))
        wanted = np.geomspace(low, high, count) if count > 1 else np.array([np.sqrt(low * high)])
        kept = [float(wanted[0])]
        for frequency in wanted[1:]:
            if frequency - kept[-1] >= (1 - EVEN) / duration:
                kept.append(float(frequency))
        return np.array(kept)


def tail_deviation(powers: tuple[float, float], peak: float, duration: float, sigma: float) -> float:
    """Return the standard deviation of what a record that is cut off at T leaves out of U.

    Waves of the mean square p in the band of the wavelet have the power p / (2 peak) per unit of frequency. They are assumed to die as they did over
    the last two periods of the wavelet, by q in each, and to last for half of the record at most: p q / (1 - q) / peak is the energy of the rest.

    Args:
        powers: mean squares of the waves in the last period but one, and in the last.
        peak: frequency of the wavelet.
        duration: T.
        sigma: damping.
    """
    earlier, last = powers
    decay = np.exp(-2 * sigma / peak)
    ratio = np.clip(last / earlier if earlier > 0 else 1.0, FASTEST_DECAY, 1.0) * decay
    periods = float(min(ratio / (1 - ratio), duration * peak / 2)) if ratio < 1 else duration * peak / 2
    return float(np.sqrt(last * periods / peak / (2 * peak)) * np.exp(-sigma * duration))
