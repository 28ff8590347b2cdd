"""Spectra of log-polar charts: r^a times waves of log r and of the angle, whole wave numbers around holes, singular exponents at corners.

Input: numbers of features. Output: frequencies and decay rates in the local coordinates (log r, angle, further coordinates). One decaying coordinate
makes powers of r out of the exponentials: eta = log r outside of a hole (r^-a), eta = -log r at a corner (r^a).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinnsiren.charts.spectra import AbstractSpectrum, Frequencies
from pinnsiren.language.domains.base import sobol

SLOW = 0.05  # wave number in log r whose sine is log r, up to a cubic term a thousandth as large
SLOW_PAIR = (0.02, 0.05)  # two of them, so that their difference takes the cubic term away
KNOWN_EXPONENTS, KNOWN_SHADOWS = 12, 8  # far more than there is room for; the lowest come first
WHOLE = 1e-6


@dataclass(frozen=True)
class RingSpectrum(AbstractSpectrum):
    """Waves around a hole that the domain encircles: r^-a sin(b log r + k angle + phase) with whole k.

    The fields that the Laplacian leaves outside of a disc, r^-k sin(k angle) and log r, come first; the rest is drawn.

    Attributes:
        further: number of further coordinates, such as the time.
    """

    further: int = 0

    def draw(self, n_features: int, bandwidth: float, seed: int) -> Frequencies:
        """Return about `n_features` features; the angular and radial bandwidths grow with the square root of their number."""
        n_pairs = max(4, n_features // 2)
        highest = int(np.ceil(n_pairs ** (1 / (2 + self.further))))
        n_known = 0 if self.further else min(2 * highest, n_pairs // 2)
        orders = np.arange(n_known)
        known = np.stack([np.where(orders == 0, SLOW, 0.0), orders.astype(float)], axis=1)
        cube = sobol(3 + self.further, n_pairs - n_known, seed)
        angular = np.rint((2 * cube[:, 0] - 1) * highest)
        radial = cube[:, 1] * 0.5 * highest
        further = (2 * cube[:, 3:] - 1) * highest
        drawn = np.concatenate([np.stack([radial, angular], axis=1), further], axis=1)
        waves = np.concatenate([np.pad(known, ((0, 0), (0, self.further))), drawn])
        rates = np.concatenate([orders.astype(float), cube[:, 2] * highest])[:, None]
        phases = np.concatenate([np.zeros(n_known), 2 * np.pi * np.random.default_rng(seed).random(n_pairs - n_known)])
        return Frequencies(waves, rates, phases)


@dataclass(frozen=True)
class CavitySpectrum(AbstractSpectrum):
    """Waves around a ball that the domain encloses: r^-a sin(b log r + k . n + phase), n the direction.

    What the Laplacian leaves outside of a ball is r^-(l+1) times a harmonic of degree l, which waves with |k| near l make up: half of the features
    have b = 0 and whole a up to one and a half times |k|, since a degree l takes waves of |k| near l and above; the rest is drawn.

    Attributes:
        further: number of further coordinates, such as the time.
    """

    further: int = 0

    def draw(self, n_features: int, bandwidth: float, seed: int) -> Frequencies:
        """Return about `n_features` features; all bandwidths grow with the cubic root of their number."""
        n_pairs = max(8, n_features // 2)
        highest = n_pairs ** (1 / (3 + self.further))
        cube = sobol(6 + self.further, n_pairs, seed)
        height, turn = 2 * cube[:, 0] - 1, 2 * np.pi * cube[:, 1]
        flat = np.sqrt(1 - height**2)
        directions = np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=1)
        length = highest * cube[:, 2] ** (1 / 2)
        known = (np.arange(n_pairs) % 2 == 0) & (self.further == 0)
        radial = np.where(known, 0.0, 0.5 * highest * cube[:, 3])
        rates = np.where(known, 1 + np.floor(length * cube[:, 4] * 1.5), cube[:, 4] * highest)
        further = (2 * cube[:, 6:] - 1) * highest
        waves = np.concatenate([radial[:, None], length[:, None] * directions, further], axis=1)
        return Frequencies(waves, rates[:, None], 2 * np.pi * cube[:, 5])


@dataclass(frozen=True)
class CornerSpectrum(AbstractSpectrum):
    """Waves at a corner: r^a sin(b log r + c angle + phase), first those that the Laplacian and the conditions leave there.

    With the exponents p = lowest, lowest + spacing, ... of the corner, r^p sin(p angle) satisfies Laplace's equation and the homogeneous conditions
    on both sides; times polynomials in x and y it is r^(p + j) sin((p + j - 2 i) angle), as a smooth coefficient or a source makes of it. Where
    logarithms occur, r^n log r and r^n angle are limits of slow waves times r^n.

    Attributes:
        lowest: smallest exponent.
        spacing: of the exponents, pi / opening.
        opening: angle of the domain, radians.
        is_logarithmic: whether the exponents are whole numbers.
        vanishing: power of r with which the envelope of the field vanishes, to be divided out of the features.
        further: number of further coordinates, such as the time.
    """

    lowest: float
    spacing: float
    opening: float
    is_logarithmic: bool = False
    vanishing: int = 0
    further: int = 0

    def draw(self, n_features: int, bandwidth: float, seed: int) -> Frequencies:
        """Return about `n_features` features, half of them with known exponents; all bandwidths grow with the square root of their number."""
        n_pairs = max(4, n_features // 2)
        known = np.zeros((0, 3)) if self.further else (self._logarithms() if self.is_logarithmic else self._powers())[: n_pairs // 2]
        n_drawn = n_pairs - len(known)
        highest = n_pairs ** (1 / (2 + self.further))
        cube = sobol(3 + self.further, n_drawn, seed)
        angular = (2 * cube[:, 0] - 1) * highest * np.pi / max(self.opening, 1.0)
        radial = cube[:, 1] * 0.5 * highest
        # Rates below the lowest exponent serve nothing; above, those nearby serve most.
        rates = 0.5 * self.lowest - self.vanishing + cube[:, 2] ** 2 * highest
        further = (2 * cube[:, 3:] - 1) * highest
        drawn = np.concatenate([np.stack([radial, angular], axis=1), further], axis=1)
        waves = np.concatenate([np.pad(known[:, 1:], ((0, 0), (0, self.further))), drawn])
        phases = np.concatenate([np.zeros(len(known)), 2 * np.pi * np.random.default_rng(seed).random(n_drawn)])
        return Frequencies(waves, np.concatenate([known[:, 0], rates])[:, None], phases)

    def _powers(self) -> NDArray[np.float64]:
        """Return (a, b, c) of the known functions, lowest exponents first, those that are polynomials left out."""
        found = set()
        for p in self.lowest + self.spacing * np.arange(KNOWN_EXPONENTS):
            for j in range(KNOWN_SHADOWS):
                for i in range(j + 1):
                    power, turn = p - self.vanishing + j, abs(p - self.vanishing + j - 2 * i)
                    if abs(power - round(power)) > WHOLE:
                        found.add((round(float(power), 12), 0.0, round(float(turn), 12)))
        return np.array(sorted(found)).reshape(-1, 3)

    def _logarithms(self) -> NDArray[np.float64]:
        """Return (a, b, c) of slow waves times powers of r with whole exponents, lowest exponents first."""
        found = []
        first = round(self.lowest) - self.vanishing
        for power in range(first, first + KNOWN_SHADOWS):
            for turn in range(abs(power), -1, -2):
                for slow in SLOW_PAIR:
                    found += [(power, slow, turn), (power, -slow, turn), (power, 0.0, turn + slow), (power, 0.0, turn - slow)]
        return np.array(found, dtype=float)
