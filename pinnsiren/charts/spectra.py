"""Spectra: which frequencies live on a chart.

Input: number of features and bandwidth. Output: frequency vectors in units of the chart's local coordinates. Each vector stands for a sine and a
cosine, so vectors fill a half ball.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import gamma, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.charts.stored_records import record_from_tree, record_to_tree
from pinnsiren.language.domains.base import sobol


@dataclass(frozen=True)
class Frequencies:
    """Frequencies and decay rates of the pairs of features on one chart.

    Attributes:
        waves: (n_pairs, n_oscillating), frequency vectors.
        rates: (n_pairs, n_decaying), decay rates, zero where a decay is inactive.
        phases: (n_pairs,), radians.
    """

    waves: NDArray[np.float64]
    rates: NDArray[np.float64]
    phases: NDArray[np.float64]

    @property
    def n_features(self) -> int:
        """Two features, sine and cosine, per frequency vector."""
        return 2 * len(self.waves)


def ball_volume(dimension: int) -> float:
    """Volume of the unit ball."""
    return float(pi ** (dimension / 2) / gamma(dimension / 2 + 1))


def features_for_bandwidth(bandwidth: float, half_lengths: NDArray[np.float64]) -> float:
    """Number of independent real sines of frequency below `bandwidth` on a box with the given half lengths (Landau's count)."""
    dimension = len(half_lengths)
    return ball_volume(dimension) * (bandwidth / pi) ** dimension * float(np.prod(half_lengths))


def bandwidth_for_features(n_features: float, redundancy: float, half_lengths: NDArray[np.float64]) -> float:
    """Bandwidth that `n_features` fill with the given redundancy; the inverse of `features_for_bandwidth`."""
    dimension = len(half_lengths)
    return float(pi * (n_features / (redundancy * ball_volume(dimension) * np.prod(half_lengths))) ** (1 / dimension))


def draw_frequencies(n_features: int, dimension: int, bandwidth: float, seed: int, n_decays: int = 0, decay_range: float = 0.0) -> Frequencies:
    """Fill the half ball |w| < bandwidth evenly (Sobol); decay rates are uniform in [0, decay_range], each active with probability 0.6."""
    n_pairs = max(1, n_features // 2)
    generator = np.random.default_rng(seed)
    wanted = int(np.ceil(1.2 * n_pairs * 2**dimension / ball_volume(dimension))) + 16
    while True:
        cube = 2 * sobol(dimension, wanted, seed) - 1
        inside = cube[np.linalg.norm(cube, axis=1) < 1]
        if len(inside) >= n_pairs:
            break
        wanted *= 2
    waves = inside[:n_pairs]
    waves = np.where(waves[:, :1] < 0, -waves, waves) * bandwidth
    active = generator.random((n_pairs, n_decays)) < 0.6
    rates = np.where(active, decay_range * generator.random((n_pairs, n_decays)), 0.0)
    return Frequencies(waves, rates, 2 * pi * generator.random(n_pairs))


@dataclass(frozen=True)
class AbstractSpectrum(ABC):
    """A frozen record that says which frequencies live on a chart, for charts whose frequencies do not fill a ball.

    Attributes of subclasses are numbers, texts and tuples of them, since plans are stored.
    """

    @abstractmethod
    def draw(self, n_features: int, bandwidth: float, seed: int) -> Frequencies:
        """Return about `n_features` features.

        Args:
            n_features: wanted, two per frequency vector.
            bandwidth: that of a ball with as many features on a chart of these half lengths, in units of the local coordinates.
            seed: of every random choice.
        """


def spectrum_to_tree(spectrum: AbstractSpectrum | None) -> dict[str, Any] | None:
    """Return what storage has to keep of a spectrum."""
    return record_to_tree(spectrum)


def spectrum_from_tree(tree: dict[str, Any] | None) -> AbstractSpectrum | None:
    """Rebuild a spectrum."""
    spectrum: AbstractSpectrum | None = record_from_tree(AbstractSpectrum, tree)
    return spectrum
