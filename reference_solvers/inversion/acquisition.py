"""What was measured: frequencies, sources, receivers, data, noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

Array = NDArray[Any]


@dataclass(frozen=True)
class Acquisition:
    """Frequency-domain measurements of the total field, convention exp(+i w t).

    The equation is `Lap u + w^2 m u = amplitude * N(x; source, variance)`, m = 1/c^2. Data for exp(-i w t) are conjugated first. Traces that were
    weighted by exp(-damping t) before their transform have w - i damping in place of w.

    Attributes:
        angular_frequencies: (n_frequencies,), w; the wavenumber where speeds are relative to 1.
        sources: (n_sources, 2), physical units.
        receivers: (n_receivers, 2).
        measurements: (n_frequencies, n_sources, n_receivers), complex.
        noise: standard deviation of the noise relative to the root mean square of the data, one number or one per frequency.
        amplitudes: integral of each source, (n_frequencies, n_sources).
        variance: of the Gaussian sources, 0 for points.
        observed: (n_sources, n_receivers), which pairs were measured; None for all.
        damping: of the complex frequencies, the same for all.
    """

    angular_frequencies: Array
    sources: Array
    receivers: Array
    measurements: Array
    noise: Array
    amplitudes: Array
    variance: float = 0.0
    observed: Array | None = None
    damping: float = 0.0

    @classmethod
    def of(
        cls,
        *,
        angular_frequencies: ArrayLike,
        sources: ArrayLike,
        receivers: ArrayLike,
        measurements: ArrayLike,
        noise: ArrayLike,
        amplitudes: ArrayLike = 1.0,
        variance: float = 0.0,
        observed: ArrayLike | None = None,
        damping: float = 0.0,
    ) -> Acquisition:
        """Check and broadcast; one frequency may be a number and its data (n_sources, n_receivers).

        Raises:
            ReferenceSolverError: shapes that do not belong together, entries that are not finite, noise that is not positive.
        """
        w = np.atleast_1d(np.asarray(angular_frequencies, dtype=float))
        src, rec = (np.asarray(points, dtype=float) for points in (sources, receivers))
        data = np.asarray(measurements, dtype=complex)
        data = data[None] if data.ndim == 2 else data
        for name, points in (("sources", src), ("receivers", rec)):
            if points.ndim != 2 or points.shape[1] != 2 or not np.all(np.isfinite(points)):
                raise ReferenceSolverError(f"the {name} have shape {points.shape}; expected finite positions (n, 2)")
        if w.ndim != 1 or not np.all(np.isfinite(w)) or np.any(w <= 0):
            raise ReferenceSolverError(f"the angular frequencies are {w}; expected positive numbers")
        expected = (len(w), len(src), len(rec))
        if data.shape != expected:
            raise ReferenceSolverError(f"the measurements have shape {data.shape}; {expected} was expected: frequencies, sources, receivers")
        mask = None if observed is None else np.asarray(observed, dtype=bool)
        if mask is not None and (mask.shape != expected[1:] or not mask.any()):
            raise ReferenceSolverError(f"`observed` has shape {mask.shape}; expected {expected[1:]}, some of it True")
        seen = data if mask is None else data[:, mask]
        if not np.all(np.isfinite(seen)) or np.any(np.linalg.norm(seen.reshape(len(w), -1), axis=1) == 0):
            raise ReferenceSolverError("the measurements hold NaN, infinite values, or nothing but zeros at one frequency")
        level = np.asarray(noise, dtype=float)
        if level.shape not in ((), (len(w),)) or not np.all(np.isfinite(level)) or np.any(level <= 0):
            raise ReferenceSolverError(f"noise={noise!r}; expected positive numbers relative to the data, such as 0.02: the inversion stops there")
        strength = np.asarray(amplitudes, dtype=complex)
        if strength.ndim == 1 and len(strength) == len(w) != len(src):
            strength = strength[:, None]
        return cls(
            w,
            src,
            rec,
            data,
            np.broadcast_to(level, (len(w),)).copy(),
            np.broadcast_to(strength, expected[:2]).copy(),
            float(variance),
            mask,
            float(damping),
        )

    def at_frequencies(self, chosen: ArrayLike) -> Acquisition:
        """The measurements at some frequencies, by index."""
        index = np.atleast_1d(np.asarray(chosen, dtype=int))
        return replace(
            self,
            angular_frequencies=self.angular_frequencies[index],
            measurements=self.measurements[index],
            noise=self.noise[index],
            amplitudes=self.amplitudes[index],
        )

    def scale(self, frequency: int) -> float:
        """Norm of the data of one frequency."""
        data = self.measurements[frequency]
        return float(np.linalg.norm(data if self.observed is None else data[self.observed]))


def with_noise(measurements: Array, level: float, seed: int) -> Array:
    """Data with complex Gaussian noise of a standard deviation relative to their root mean square per frequency (first axis)."""
    rng = np.random.default_rng(seed)
    rms = np.sqrt(np.mean(np.abs(measurements) ** 2, axis=tuple(range(1, measurements.ndim)), keepdims=True))
    real, imaginary = rng.normal(size=(2, *measurements.shape))
    return np.asarray(measurements + level * rms * (real + 1j * imaginary) / np.sqrt(2))
