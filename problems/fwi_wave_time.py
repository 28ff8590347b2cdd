"""A fast and a slow disc from the traces of waves in time around them; the data are a closed form with all multiple scattering.

    m u_tt - Lap u = w(t) N(x; source, variance)   for every source,   u = u_t = 0 at t = 0,   in (-1/2, 1/2)^2, free space around it
    m = 1/c^2,   c = 1.4 for |x - (-0.12, 0.06)| < 0.09,   c = 0.75 for |x - (0.13, -0.08)| < 0.075,   1 elsewhere;   unknown for |x|, |y| < 0.3

w is a Ricker wavelet of the peak frequency 2, so that half a wavelength of its peak fits into the support once; T = 3. 6 sources of variance 1e-4 on
the circle of radius 0.42, 24 receivers on that of radius 0.46, 151 samples each. The data are multipole series at complex frequencies, summed to
instants, with normal noise of 2 % of their root mean square; neither the scheme that inverts nor the one that checks in time made them. The search
starts from a uniform medium within 0.05 < m < 3.

Reference: Martin (2006), Multiple Scattering, section 4.5; Ricker (1953) for the wavelet.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy import special

from pinnsiren.language import (
    PML,
    Box,
    GaussianSource,
    InitialCondition,
    Observations,
    Problem,
    RickerWavelet,
    SourceFamily,
    SpaceTime,
    coordinates,
    field,
    laplacian,
    unknown_field,
)

from ..reference_solvers.closed_forms import PenetrableDisc, WavesAroundDiscs
from ._surveys import ring

Disc = tuple[tuple[float, float], float, float]


def declare(
    *,
    discs: tuple[Disc, ...] = (((-0.12, 0.06), 0.09, 1.4), ((0.13, -0.08), 0.075, 0.75)),
    frequency: float = 2.0,
    end: float = 3.0,
    samples: int = 151,
    sources: int = 6,
    receivers: int = 24,
    noise: float = 0.02,
    amplitude: float = 1.0,
    phase: float = 0.0,
    seed: int = 0,
) -> Problem:
    """Declare the problem.

    Args:
        discs: centre, radius and speed of each, apart from each other.
        frequency: of the peak of the wavelet.
        end: T.
        samples: of each trace, evenly spaced over (0, T).
        sources, receivers: how many on their circles.
        noise: standard deviation relative to the root mean square of the data; 0 for none.
        amplitude, phase: of what the sources send, relative to the declared wavelet, the phase in radians: a wavelet that is known badly.
        seed: of the noise.
    """
    x, y, t = coordinates("x y t")
    u = field("u", x, y, t, shots=sources)
    m = unknown_field("m", x, y, initial=1, bounds=(0.05, 3), support=Box({x: (-0.3, 0.3), y: (-0.3, 0.3)}))
    at, heard, instants = ring(sources, 0.42, turn=0.1), ring(receivers, 0.46, turn=0.2), np.linspace(0, end, samples)
    wavelet = RickerWavelet(t, frequency)
    objects = tuple(PenetrableDisc(centre, radius, speed) for centre, radius, speed in discs)
    exact = WavesAroundDiscs(objects, at, 1e-4, _sent(wavelet, t, frequency, amplitude, phase), end)
    traces = exact.traces(heard, instants)
    traces = traces + noise * np.sqrt(np.mean(traces**2)) * np.random.default_rng(seed).normal(size=traces.shape)
    points = np.column_stack([np.repeat(heard, samples, axis=0), np.tile(instants, receivers)])
    pieces = [(speed**-2, (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2) for centre, radius, speed in discs]
    lit = SourceFamily([wavelet * GaussianSource(at={x: float(a), y: float(b)}, variance=1e-4) for a, b in at])
    return Problem(
        name="fwi_wave_time",
        fields=[u],
        domain=SpaceTime(Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}), {t: (0, end)}),
        equations=[sp.Eq(m * u.diff(t, 2) - laplacian(u), lit)],
        conditions=[
            InitialCondition(u, 0), InitialCondition(u.diff(t), 0), PML(u),
            Observations(u, points, traces.reshape(sources, -1), noise=noise or None),
        ],
        exact={u: exact, m: sp.Piecewise(*pieces, (1, True))},
    )  # fmt: skip


def _sent(wavelet: Any, t: Any, frequency: float, amplitude: float, phase: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return a Ricker wavelet with another amplitude and phase at all frequencies: amplitude (w cos(phase) - H[w] sin(phase)).

    With x = pi f (t - delay) the wavelet is -1/2 d^2/dx^2 exp(-x^2), and Hilbert's transform of the Gaussian is 2/sqrt(pi) times Dawson's function.
    That has tails like 1/x^3, which are faded in from rest.
    """
    declared = sp.lambdify(t, wavelet.doit(), "numpy")
    if amplitude == 1 and phase == 0:
        return lambda instants: np.asarray(declared(instants))

    def turned(instants: NDArray[Any]) -> NDArray[Any]:
        x = np.pi * (frequency * instants - 1.5)
        dawson = special.dawsn(x)
        hilbert = (2 * dawson + 2 * x - 4 * x**2 * dawson) / np.sqrt(np.pi)
        faded = 0.5 * (1 + special.erf((frequency * instants - 0.6) / 0.15))
        return np.asarray(amplitude * faded * (np.cos(phase) * declared(instants) - np.sin(phase) * hilbert))

    return turned
