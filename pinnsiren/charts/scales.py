"""Scales of a lowered problem: centre and unit of each coordinate, wavenumber, widths of what is narrow.

Input: `ProblemIR`. Output: `Scales`, all that charts and spectra ask about sizes. Units are chosen so that the principal part of the first equation
is isotropic: a wave equation gets time in units of length / speed, an elongated box keeps its shape.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.ir import Jet, ProblemIR, Rewritten, partial_derivative
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.sources import GaussianSource, SourceFamily

N_PROBES = 512
N_DENSE = 65536  # finds sources a few thousandths of the domain wide
CONCENTRATED = 0.05  # of the domain's size: deviations below ask for windows of their own


@dataclass(frozen=True)
class Scales:
    """Sizes of a problem.

    Attributes:
        centre: (n_coordinates,), centre of the computational box, physical units.
        unit: (n_coordinates,), physical length of one scaled unit along each coordinate.
        half_lengths: (n_coordinates,), half sides of the computational box in scaled units.
        wavenumber: largest sqrt(|c0 / c2|) inside the declared domain, per scaled unit; 0 without a zeroth-order term.
        principal: largest modulus of the second-order coefficients in scaled units, per equation residual.
        sources: (centre, deviation) of the Gaussian sources that are left in the equations, physical units.
    """

    centre: NDArray[np.float64]
    unit: NDArray[np.float64]
    half_lengths: NDArray[np.float64]
    wavenumber: float
    principal: float
    sources: tuple[tuple[tuple[float, ...], float], ...]

    @property
    def volume(self) -> float:
        """Of the computational box, physical units."""
        return float(np.prod(2 * self.half_lengths * self.unit))

    def local(self, symbols: tuple[sp.Symbol, ...]) -> tuple[Any, ...]:
        """Return the scaled coordinates (x - centre) / unit as expressions."""
        return tuple((s - sp.Float(float(c))) / sp.Float(float(h)) for s, c, h in zip(symbols, self.centre, self.unit, strict=True))


def find_scales(ir: ProblemIR, rewritten: Rewritten) -> Scales:
    """Read the sizes off the lowered problem."""
    limits = np.array([ir.domain.bounds[symbol] for symbol in ir.coordinates])
    centre, half = limits.mean(axis=1), 0.5 * (limits[:, 1] - limits[:, 0])
    points = rewritten.original.domain.sample_interior(N_PROBES, seed=5)
    second = np.array([_magnitude(ir, _unit_index(len(half), axis), points) for axis in range(len(half))])
    zeroth = _magnitude(ir, (0,) * len(half), points, largest=True)
    reference = float(np.max(second))
    if reference > 0:
        leading = int(np.argmax(np.where(second > 0, half, 0.0)))
        unit = np.where(second > 0, np.sqrt(second / second[leading]) * half[leading], half)
        wavenumber = float(np.sqrt(zeroth / second[leading]) * half[leading])
        principal = second[leading] / half[leading] ** 2
    else:
        unit, wavenumber, principal = half, 0.0, 0.0
    sources = []
    for equation in ir.problem.equations:
        for source in sorted(equation.atoms(GaussianSource), key=str):
            if source.coordinates == ir.coordinates and not _is_split(source, rewritten):
                sources.append((tuple(map(float, source.centre)), float(sp.sqrt(source.variance))))
    sources += [found for found in _concentrated(ir, rewritten) if not any(np.allclose(found[0], s, atol=2 * found[1]) for s, _ in sources)]
    return Scales(centre, unit, half / unit, wavenumber, float(principal), tuple(sources))


def _concentrated(ir: ProblemIR, rewritten: Rewritten) -> list[tuple[tuple[float, ...], float]]:
    """Find a source that was written out by hand and is concentrated in one small place: its centre and deviation.

    Of a Gaussian, the square has a deviation smaller by the root of two.
    """
    if rewritten.additions:
        return []
    points = rewritten.original.domain.sample_interior(N_DENSE, seed=3)
    found = []
    for residual in ir.residuals:
        if residual.kind != "equation":
            continue
        rest = residual.expression.xreplace({jet.symbol: sp.Integer(0) for jet in ir.jets})
        if rest.free_symbols - set(ir.coordinates) or not rest.free_symbols or rest.has(GaussianSource, SourceFamily):
            continue
        energy = np.abs(evaluate_on(rest, ir.coordinates, points)) ** 2
        total = float(energy.sum())
        if not np.isfinite(total) or total == 0:
            continue
        energy = energy / total
        middle = energy @ points
        deviation = float(np.sqrt(2 * np.max(energy @ (points - middle) ** 2)))
        if deviation < CONCENTRATED * rewritten.original.domain.size:
            found.append((tuple(map(float, middle)), max(deviation, 1e-3 * rewritten.original.domain.size)))
    return found


def _is_split(source: GaussianSource, rewritten: Rewritten) -> bool:
    centre = tuple(map(float, source.centre))
    return any(np.allclose(centre, split) for addition in rewritten.additions for split, _ in addition.core)


def _unit_index(dimension: int, axis: int) -> tuple[int, ...]:
    return tuple(2 if index == axis else 0 for index in range(dimension))


def _magnitude(ir: ProblemIR, orders: tuple[int, ...], points: NDArray[np.float64], largest: bool = False) -> float:
    """Return the typical (or largest) modulus of the coefficient of a derivative over all equations and fields."""
    values = [0.0]
    for residual in ir.residuals:
        if residual.kind != "equation":
            continue
        for index in range(len(ir.is_complex)):
            coefficient = partial_derivative(residual.expression, Jet(index, orders).symbol)
            coefficient = coefficient.xreplace(ir.initial_values())
            if coefficient.free_symbols - set(ir.coordinates):
                coefficient = coefficient.xreplace({s: sp.Integer(1) for s in coefficient.free_symbols - set(ir.coordinates)})
            if coefficient != 0:
                modulus = np.abs(evaluate_on(coefficient, ir.coordinates, points))
                values.append(float(np.max(modulus) if largest else np.median(modulus)))
    return max(values)
