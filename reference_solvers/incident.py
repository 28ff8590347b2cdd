"""Narrow sources: the part of the solution that is known in closed form.

A Gaussian narrower than the grid cannot be put on it. Where the operator is `A (Lap u + k^2 m u)`, A constant, the solution is split,
u = u0 + us, with u0 the field of the source in a uniform medium, that of its centre (k0^2 = k^2 m there). What is left to the grid is smooth:

    A Lap us + C us = -(C - C0) u0,      conditions of us: those of u minus those of u0.

In a layer u0 is continued to the complex coordinates of the stretch, where it decays like every outgoing wave; so the split stays exact when the
medium in the layer differs from that at the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.language import GaussianSource

from .closed_forms.hankel import PointSourceField, point_source, propagating_wavenumber
from .coefficients import LinearForm, point_like_sources
from .declaration import BoxConditions
from .evaluation import evaluator

Array = NDArray[Any]
# exp(-6^2/2) = 1.5e-8 of the peak: what is left of the blob at the face of a layer.
_CLEARANCE_IN_STD = 6.0


@dataclass(frozen=True)
class Background:
    """Sum of uniform-medium fields of the narrow sources of one shot.

    Attributes:
        fields: for exp(+i w t), conjugated data when `sign` is +1.
        reactions: C0 of each, the coefficient of u at its source.
        sign: -1 for exp(+i w t).
        is_real: the real part is meant (a real field in a closed box).
    """

    fields: tuple[PointSourceField, ...]
    reactions: tuple[complex, ...]
    sign: int
    is_real: bool

    def __call__(self, *points: Any) -> Array:
        """u0 at points, complex ones included."""
        return np.asarray(sum(self.each(*points)))

    def each(self, *points: Any) -> list[Array]:
        """The field of every source."""
        arguments = [np.conj(p) for p in points] if self.sign > 0 else list(points)
        return [self._oriented(f(*arguments)) for f in self.fields]

    def slope(self, axis: int, *points: Any) -> Array:
        """du0/dx along one coordinate."""
        arguments = [np.conj(p) for p in points] if self.sign > 0 else list(points)
        return np.asarray(sum(self._oriented(f.gradient(*arguments)[axis]) for f in self.fields))

    def forcing(self, reaction: Array, points: Sequence[Array]) -> Array:
        """-(C - C0) u0 on the nodes; u0 is evaluated only where C differs from C0."""
        total = np.zeros(reaction.shape, dtype=float if self.is_real else complex)
        for f, c0 in zip(self.fields, self.reactions, strict=True):
            excess = reaction - c0
            chosen = np.abs(excess) > 1e-13 * abs(c0)
            if chosen.any():
                single = Background((f,), (c0,), self.sign, self.is_real)
                total[chosen] -= excess[chosen] * single(*[p[chosen] for p in points])
        return total

    def _oriented(self, values: Array) -> Array:
        if self.is_real:
            return np.asarray(values.real)
        return np.conj(values) if self.sign > 0 else values


def laplacian_factor(form: LinearForm) -> complex | None:
    """A if the operator is `A Lap u + C u` with constant A, else None."""
    dimension = len(form.coordinates)
    zero = (0,) * dimension
    seconds = [tuple(2 * (axis == i) for axis in range(dimension)) for i in range(dimension)]
    if form.fluxes or set(form.derivatives) - {zero, *seconds}:
        return None
    factors = {form.coefficient(*index) for index in seconds}
    if len(factors) != 1:
        return None
    factor = sp.sympify(factors.pop())
    return complex(factor) if factor.is_number and factor != 0 else None


def split_narrow_sources(
    form: LinearForm, narrower_than: float, conditions: BoxConditions, is_real: bool
) -> tuple[tuple[Background | None, ...], tuple[Any, ...]]:
    """Backgrounds and remaining sources, one per shot; None where nothing is split off.

    Args:
        form: the equation.
        narrower_than: standard deviation below which a Gaussian is split off, physical units.
        conditions: of the box; a blob that reaches into a layer is not split off.
        is_real: whether the field is real.
    """
    factor = laplacian_factor(form)
    if factor is None:
        return (None,) * len(form.source), form.source
    reaction = evaluator(form.reaction, form.coordinates)
    backgrounds: list[Background | None] = []
    rests = []
    for expression in form.source:
        gaussians, rest = point_like_sources(expression, form.coordinates)
        fields, reactions = [], []
        for source in gaussians:
            split = _uniform_field(source, form, reaction, factor, conditions.sign, is_real)
            narrow = float(sp.sqrt(source.variance)) < narrower_than
            if split is not None and narrow and _is_clear_of_layers(split[0], conditions):
                fields.append(split[0])
                reactions.append(split[1])
            else:
                rest = rest + source
        backgrounds.append(Background(tuple(fields), tuple(reactions), conditions.sign, is_real) if fields else None)
        rests.append(rest)
    return tuple(backgrounds), tuple(rests)


def _is_clear_of_layers(field: PointSourceField, conditions: BoxConditions) -> bool:
    clearance = _CLEARANCE_IN_STD * np.sqrt(field.variance)
    return all(abs(conditions.bounds[axis][(side + 1) // 2] - field.at[axis]) > clearance for axis, side in conditions.layers)


def narrowest_source(expressions: Sequence[Any]) -> float:
    """Smallest standard deviation among the Gaussian sources, infinite when there are none."""
    variances = [node.variance for e in expressions for node in sp.sympify(e).atoms(GaussianSource)]
    return min((float(sp.sqrt(v)) for v in variances if v.is_number), default=np.inf)


def _uniform_field(
    source: Any, form: LinearForm, reaction: Any, factor: complex, sign: int, is_real: bool
) -> tuple[PointSourceField, complex] | None:
    position = dict(zip(source.coordinates, source.centre, strict=True))
    at = tuple(float(position[symbol]) for symbol in form.coordinates)
    c0 = complex(reaction(*at))
    amplitude = complex(source.amplitude) / factor
    k_squared = c0 / factor
    if sign > 0:
        k_squared, amplitude = k_squared.conjugate(), amplitude.conjugate()
    k = propagating_wavenumber(k_squared)
    if k == 0 or len(at) > 3 or (is_real and (k_squared.imag != 0 or amplitude.imag != 0)):
        return None
    return point_source(k, at, float(source.variance), amplitude), c0.real if is_real else c0
