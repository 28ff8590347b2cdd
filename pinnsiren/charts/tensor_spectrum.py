"""Spectrum: a regular lattice of frequencies, whose sines and cosines span the same space as products of sines and cosines along each axis.

Input: the step of the lattice and the harmonics along each local coordinate. Output: `Frequencies`. On coordinates in which a solution is evenly
spread (a stretch across its fronts) products along the axes are as rich as the solution and no richer; a ball of random frequencies wastes most of
its members there.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from pinnsiren.charts.spectra import AbstractSpectrum, Frequencies


@dataclass(frozen=True)
class TensorSpectrum(AbstractSpectrum):
    """All frequency vectors (k_1 s_1, ..., k_d s_d) with abs(k_i) <= n_i, one of each pair of opposite ones: (2 n_1 + 1) ... (2 n_d + 1) functions.

    Attributes:
        steps: s_i, lowest frequency along each local coordinate; pi over the half length times the ratio of the period to the extent of the chart.
        harmonics: n_i, largest multiple along each local coordinate.
    """

    steps: tuple[float, ...]
    harmonics: tuple[int, ...]

    def draw(self, n_features: int, bandwidth: float, seed: int) -> Frequencies:
        """Return the lattice; its size is fixed by the harmonics, so that nothing is drawn by chance."""
        del n_features, bandwidth, seed
        lattice = np.array(list(product(*(range(-n, n + 1) for n in self.harmonics))), dtype=float)
        half = lattice[len(lattice) // 2 :]  # the vectors come in opposite pairs around zero, which stands in the middle
        waves = half * np.array(self.steps)
        return Frequencies(waves, np.zeros((len(waves), 0)), np.zeros(len(waves)))

    @property
    def n_functions(self) -> int:
        """Dimension of the span; the sine of frequency zero vanishes and is one column more."""
        return int(np.prod([2 * n + 1 for n in self.harmonics]))
