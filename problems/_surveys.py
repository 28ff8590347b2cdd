"""What the inversion problems of the catalogue share: rings of sources and receivers, data with noise, shots.

Input: numbers. Output: arrays in the order of the declarations.
"""

from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ProblemError
from pinnsiren.language import GaussianSource, SourceFamily, field


def ring(count: int, radius: float, turn: float = 0.0) -> NDArray[np.float64]:
    """Return positions (count, 2) spaced evenly on a circle about the origin, the first at the angle `turn`, in radians."""
    if count < 1 or not radius > 0:
        raise ProblemError(f"a ring of {count} positions with radius {radius} was asked for; expected at least one and a positive radius")
    angles = turn + 2 * np.pi * np.arange(count) / count
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def noisy(values: NDArray[Any], noise: float, seed: int) -> NDArray[Any]:
    """Return data with complex normal noise of a standard deviation relative to their root mean square."""
    if noise < 0:
        raise ProblemError(f"noise={noise} was asked for; expected a number relative to the data that is not negative, such as 0.02")
    real, imaginary = np.random.default_rng(seed).normal(size=(2, *values.shape))
    rms = np.sqrt(np.mean(np.abs(values) ** 2))
    return np.asarray(values + noise * rms * (real + 1j * imaginary) / np.sqrt(2))


def shots(at: ArrayLike, coordinates: tuple[sp.Symbol, sp.Symbol], variance: float, amplitude: complex) -> Any:
    """Return one Gaussian source per position (n_shots, 2)."""
    x, y = coordinates
    return SourceFamily([GaussianSource(at={x: a, y: b}, variance=variance, amplitude=amplitude) for a, b in np.asarray(at, dtype=float).tolist()])


def field_per_frequency(frequencies: ArrayLike, n_shots: int, *coordinates: sp.Symbol) -> list[Any]:
    """Return one complex field per frequency, named after it: u8, u12; u3_5 for 3.5."""
    names = [f"u{number:g}".replace(".", "_").replace("-", "m").replace("+", "") for number in np.asarray(frequencies, dtype=float)]
    if len(set(names)) != len(names):
        raise ProblemError(f"the frequencies are {list(np.asarray(frequencies))}; expected each once")
    return [field(name, *coordinates, complex=True, shots=n_shots) for name in names]
