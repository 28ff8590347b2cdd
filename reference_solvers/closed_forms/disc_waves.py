"""Closed form: waves in time from Gaussian sources outside penetrable discs, in the plane.

The equation is `m u_tt - Lap u = w(t) N(x; at, variance)` at rest for t <= 0, m = 1/c_j^2 inside disc j and 1 outside. By the Laplace transform at
s = a + i w it is that of Helmholtz with k = -i s = w - i a, whose fields are multipole series (`penetrable_discs`), and back by Fourier's series:

    u(t) = exp(a t)/P * sum_j U(a + i w_j) exp(i w_j t),     w_j = 2 pi j / P,     0 <= t <= T

What a series of period P folds back onto [0, T] is weighted by exp(-a P).

Reference: Martin (2006), Multiple Scattering, section 4.5; Abate and Whitt (1992), Queueing Systems 10, 5-88, for the damped Fourier series.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

from .penetrable_discs import PenetrableDisc, penetrable_discs

Array = NDArray[Any]

# The period, times T, and the weight of what it folds back: 2-D waves of a wavelet without a mean have fallen to 1e-4 by then, so that 1e-7 is left.
PERIODS, FOLDED = 2.0, 1e-3
# Of the largest transform of the wavelet: what is sent below is left out.
UNHEARD = 1e-7
SAMPLES = 8192  # of the wavelet: its transform is exact to rounding with two per period of what it sends


@dataclass(frozen=True, eq=False)
class WavesAroundDiscs:
    """Fields of several shots, callable at points and instants: shots first.

    Attributes:
        discs: of other speeds, 1 outside.
        at: centre of the source of each shot, (n_shots, 2).
        variance: of the sources, 0 for points.
        wavelet: w as a function of instants; zero at 0, and ended by twice `end`.
        end: T, the last instant that is asked for.
    """

    discs: tuple[PenetrableDisc, ...]
    at: Array
    variance: float
    wavelet: Callable[[Array], Array]
    end: float

    def __call__(self, x: ArrayLike, y: ArrayLike, t: ArrayLike) -> Array:
        """Fields (n_shots, ...) at points and instants, broadcast."""
        points = np.broadcast_arrays(*[np.asarray(value, dtype=float) for value in (x, y, t)])
        flat = np.stack([p.ravel() for p in points], axis=1)
        places, which = np.unique(flat[:, :2], axis=0, return_inverse=True)
        fields = self._transformed(places)[..., which.ravel()]
        return np.asarray(self._sum(fields, flat[:, 2]).reshape(len(self.at), *points[0].shape))

    def traces(self, receivers: ArrayLike, instants: ArrayLike) -> Array:
        """Return what receivers (n, 2) record at instants (n_times,): (n_shots, n, n_times)."""
        fields, when = self._transformed(np.asarray(receivers, dtype=float)), np.asarray(instants, dtype=float)
        return np.stack([self._sum(np.repeat(fields[..., n : n + 1], len(when), axis=-1), when) for n in range(fields.shape[-1])], axis=1)

    @property
    def _period(self) -> float:
        return PERIODS * self.end

    @cached_property
    def _transform(self) -> tuple[Array, Array]:
        """s (n,) and W(s) (n,) where something is sent."""
        instants = np.linspace(0, self._period, SAMPLES + 1)
        sent = np.asarray(self.wavelet(instants), dtype=float)
        if not np.all(np.isfinite(sent)) or np.abs(sent[[0, -1]]).max() > 1e-3 * np.abs(sent).max():
            raise ReferenceSolverError("the wavelet of waves around discs is not finite, or does not begin at 0 and end by twice the last instant")
        decay = -np.log(FOLDED) / self._period
        spectrum = np.fft.rfft(sent[:-1] * np.exp(-decay * instants[:-1])) * instants[1]
        heard = np.flatnonzero(np.abs(spectrum) > UNHEARD * np.abs(spectrum).max())
        if heard[-1] > SAMPLES // 4:
            raise ReferenceSolverError("the wavelet of waves around discs is too rough for its series; expected a smooth one")
        return decay + 2j * np.pi * np.arange(heard[-1] + 1) / self._period, spectrum[: heard[-1] + 1]

    def _transformed(self, places: Array) -> Array:
        """U(s), (n_s, n_shots, n_places)."""
        discs: Sequence[PenetrableDisc] = self.discs
        # m u_tt - Lap u = f has the sign of `Lap U + k^2 m U = -F`.
        fields = [
            -w * penetrable_discs(k=complex(-1j * s), discs=discs, at=self.at, variance=self.variance)(*places.T)
            for s, w in zip(*self._transform, strict=True)
        ]
        return np.stack(fields)

    def _sum(self, fields: Array, instants: Array) -> Array:
        """The series at one instant per place: fields (n_s, n_shots, n), instants (n,); returns (n_shots, n)."""
        s, _ = self._transform
        weights = np.exp(s[:, None] * instants) * np.where(s.imag > 0, 2, 1)[:, None] / self._period
        return np.asarray(np.einsum("sn,skn->kn", weights, fields).real)
