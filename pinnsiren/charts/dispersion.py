"""Dispersion relations: plane waves that satisfy an equation with constant coefficients identically.

Input: a lowered equation. Output: `Dispersion`, its symbol

    P(i k, s) = sum_alpha a_alpha (i k)^alpha' s^alpha_t,   u = exp(i k . x + s t) solves the equation iff P(i k, s) = 0,

with the roots s(k): -i c |k| and i c |k| for u_tt = c^2 Lap u, a pair with a negative real part under damping, one root for advection. What is made
of such waves has only data left to fit: it is a Fourier method in the clothes of sine features, and no more than that.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from pinnsiren.charts.spectra import AbstractSpectrum, Frequencies
from pinnsiren.ir import Jet, MultiIndex, ProblemIR, partial_derivative
from pinnsiren.language.domains import SpaceTime

LARGE = 1e4  # wavenumber per unit length at which the principal part alone speaks
STEADY = 1e-6  # of |s|: a real part below it at a large wavenumber neither decays nor grows with the wavenumber
ROUNDING = 1e-9  # of the largest term of the symbol


@dataclass(frozen=True)
class Dispersion:
    """Symbol of a scalar equation with constant coefficients; the last coordinate is the time.

    Attributes:
        terms: (multi-index, coefficient), physical units.
    """

    terms: tuple[tuple[MultiIndex, complex], ...]

    @property
    def time_order(self) -> int:
        """Highest order of differentiation in time."""
        return max(orders[-1] for orders, _ in self.terms)

    def roots(self, waves: NDArray[np.float64]) -> NDArray[np.complex128]:
        """Return s(k), shape (n_waves, time_order), those with the smallest imaginary part first.

        Args:
            waves: (n_waves, n_space), wavenumbers per unit length.
        """
        coefficients = self._in_time(waves)
        if self.time_order == 1:
            return -coefficients[:, :1] / coefficients[:, 1:2]
        c, b, a = coefficients.T
        middle, root = -b / (2 * a), np.sqrt((b / (2 * a)) ** 2 - c / a)
        pair = np.stack([middle - root, middle + root], axis=1)
        return np.asarray(np.take_along_axis(pair, np.argsort(pair.imag, axis=1), axis=1))

    def _in_time(self, waves: NDArray[np.float64]) -> NDArray[np.complex128]:
        """Return the coefficients of the polynomial in s, (n_waves, time_order + 1), lowest power first."""
        result = np.zeros((len(waves), self.time_order + 1), dtype=complex)
        for orders, value in self.terms:
            result[:, orders[-1]] += value * prod((1j * waves[:, axis]) ** order for axis, order in enumerate(orders[:-1]))
        return result

    def defect(self, waves: NDArray[np.float64]) -> float:
        """Return the largest |P(i k, s(k))| relative to its largest term: rounding, if the roots are roots."""
        roots, coefficients = self.roots(waves), self._in_time(waves)
        terms = np.stack([coefficients[:, [power]] * roots**power for power in range(self.time_order + 1)])
        return float(np.max(np.abs(terms.sum(axis=0)) / np.maximum(np.abs(terms).max(axis=0), 1e-300)))

    def speed(self) -> float:
        """Return the largest |omega| / |k| of short waves over all directions; infinite if their frequency or damping grows without bound."""
        dimension = len(self.terms[0][0]) - 1
        chance = np.random.default_rng(3)
        directions = np.concatenate([np.eye(dimension), chance.normal(size=(32 * (dimension > 1), dimension))])
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        roots, faster = self.roots(LARGE * directions), self.roots(2 * LARGE * directions)
        grows = np.max(np.abs(faster)) > 2.1 * np.max(np.abs(roots)) or np.max(np.abs(roots)) == 0
        bounded = np.all(np.abs(faster.real) <= 1.1 * np.abs(roots.real) + STEADY * LARGE)
        return float(np.max(np.abs(roots.imag)) / LARGE) if bounded and not grows else np.inf


@dataclass(frozen=True)
class DispersionSpectrum(AbstractSpectrum):
    """Frequencies (k, omega(k)) and decay rates of plane waves in one dimension of space, k on a regular lattice that leaves out zero.

    Attributes:
        terms: (multi-index, real part, imaginary part) of the coefficients of the equation.
        period: length of the lattice's cell; k = 2 pi (j + 1/2) / period, so that waves which grow linearly in time are no exception.
    """

    terms: tuple[tuple[MultiIndex, float, float], ...]
    period: float

    def draw(self, n_features: int, bandwidth: float, seed: int) -> Frequencies:
        """Return the lowest wavenumbers with all their roots, a sine and a cosine each."""
        relation = Dispersion(tuple((orders, complex(real, imaginary)) for orders, real, imaginary in self.terms))
        count = max(1, n_features // (2 * relation.time_order))
        waves: NDArray[np.float64] = (2 * np.pi / self.period) * np.arange(0.5, count, dtype=np.float64)[:, None]
        roots = relation.roots(waves)
        frequencies = np.stack([np.repeat(waves[:, 0], roots.shape[1]), roots.imag.ravel()], axis=1)
        return Frequencies(frequencies, -roots.real.reshape(-1, 1), np.zeros(len(frequencies)))


def read_dispersion(ir: ProblemIR, allow_source: bool = False) -> Dispersion | str:
    """Return the dispersion relation of the only equation, or why it has none: what hinders, in the user's words."""
    equations = [residual for residual in ir.residuals if residual.kind == "equation"]
    if len(equations) != 1 or len(ir.is_complex) != 1:
        return "there is more than one equation or field"
    if not isinstance(ir.domain, SpaceTime):
        return "the domain has no time"
    expression, terms = equations[0].expression, []
    jets: list[Jet] = [jet for jet in ir.jets if jet.symbol in expression.free_symbols]
    for jet in jets:
        coefficient = partial_derivative(expression, jet.symbol)
        if coefficient.free_symbols:
            return "its coefficients are not constant" if not coefficient.free_symbols & {j.symbol for j in jets} else "the equation is not linear"
        terms.append((jet.orders, complex(coefficient)))
    if not allow_source and expression.xreplace({jet.symbol: 0 * jet.symbol for jet in jets}) != 0:
        return "the equation has a source"
    relation = Dispersion(tuple(terms))
    if relation.time_order not in (1, 2) or any(orders[-1] and sum(orders[:-1]) and orders[-1] == relation.time_order for orders, _ in terms):
        return "the highest derivative in time does not stand alone"
    if not np.isfinite(relation.speed()):
        return "its waves have no finite speed"
    checked = np.random.default_rng(7).normal(size=(64, len(terms[0][0]) - 1)) * 50
    return relation if relation.defect(checked) < ROUNDING else "the roots of its symbol are not accurate"
