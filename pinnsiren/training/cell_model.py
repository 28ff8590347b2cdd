"""Sine features on cells that overlap: a field that is smooth here and has kinks there.

Input: boxes that tile the domain, frequencies in units of a cell, coefficients per cell. Output: `CellModel`, the sum of the cells' expansions, each
under its window, over the sum of the windows; derivatives of every order by the product and quotient rules.
"""

from dataclasses import dataclass
from itertools import product
from math import comb, prod
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from pinnsiren.errors import StorageError
from pinnsiren.ir import MultiIndex
from pinnsiren.training.method import StateTree

Array = NDArray[np.float64]

OVERLAP = 0.2  # of the half side of a cell: how far its window reaches beyond it, and how far inside it begins to fall
# The step from 0 to 1 on [-1, 1] whose first three derivatives vanish at both ends: (1 - t^2)^3, integrated.
_STEP = (Polynomial([1, 0, -1]) ** 3).integ()
STEP = (_STEP - _STEP(-1)) / (_STEP(1) - _STEP(-1))
POINTS_AT_ONCE = 4096


@dataclass(frozen=True)
class CellModel:
    """A fitted field on cells.

    Attributes:
        boxes: (n_cells, n_coordinates, 2), lower and upper ends, physical units.
        waves: (n_pairs, n_coordinates), frequencies in units of the extended half side.
        phases: (n_pairs,).
        coefficients: (n_cells, 2 * n_pairs), of the cosines and then of the sines.
    """

    boxes: Array
    waves: Array
    phases: Array
    coefficients: Array

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of the field, (n_points, 1)."""
        del field_index
        given = np.asarray(points, dtype=float)
        parts = [self._portion(given[begin : begin + POINTS_AT_ONCE], orders) for begin in range(0, len(given), POINTS_AT_ONCE)]
        return np.concatenate([*parts, np.empty(0)])[:, None]

    def _portion(self, points: Array, orders: MultiIndex) -> Array:
        lower = list(product(*(range(order + 1) for order in orders)))
        top, below = ({beta: np.zeros(len(points)) for beta in lower} for _ in range(2))
        middle, half = self.boxes.mean(axis=2), np.ptp(self.boxes, axis=2) / 2
        covered = np.all(np.abs(points[:, None, :] - middle) < (1 + OVERLAP) * half, axis=2)
        for cell in np.flatnonzero(np.any(covered, axis=0)):
            chosen = np.flatnonzero(covered[:, cell])
            offset = points[chosen] - middle[cell]
            window = {beta: _window(offset, half[cell], beta) for beta in lower}
            value = self._expansions(offset, half[cell], self.coefficients[cell], lower)
            for beta in lower:
                below[beta][chosen] += window[beta]
                top[beta][chosen] += _product_rule(window, value, beta)
        found: dict[MultiIndex, Array] = {}
        for beta in lower:
            # Quotient rule: top = below * field, differentiated, holds the wanted derivative beside those of lower order.
            rest = sum((_binomial(beta, gamma) * below[_minus(beta, gamma)] * found[gamma] for gamma in _up_to(beta) if gamma != beta), np.zeros(1))
            found[beta] = (top[beta] - rest) / below[(0,) * len(beta)]
        return found[tuple(orders)]

    def _expansions(self, offset: Array, half: Array, coefficients: Array, wanted: list[MultiIndex]) -> dict[MultiIndex, Array]:
        """Return derivatives of the expansion of one cell."""
        unit = (1 + OVERLAP) * half
        angle = (offset / unit) @ self.waves.T + self.phases
        cosine, sine = np.cos(angle), np.sin(angle)
        first, second = np.split(coefficients, 2)
        found = {}
        for beta in wanted:
            factor = np.prod((self.waves / unit) ** np.array(beta), axis=1)
            # A quarter turn per derivative.
            a, b = [(first, second), (second, -first), (-first, -second), (-second, first)][sum(beta) % 4]
            found[beta] = cosine @ (factor * a) + sine @ (factor * b)
        return found

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """None is solved for."""
        return ()

    @property
    def n_features(self) -> int:
        """Over all cells."""
        return int(self.coefficients.size)

    def state(self) -> StateTree:
        """Return boxes, frequencies and coefficients."""
        return {"kind": "cells", "boxes": self.boxes, "waves": self.waves, "phases": self.phases, "coefficients": self.coefficients}


def cell_model_from_state(state: StateTree) -> CellModel:
    """Rebuild a model.

    Raises:
        StorageError: arrays that do not belong together.
    """
    model = CellModel(*(np.asarray(state[name], dtype=float) for name in ("boxes", "waves", "phases", "coefficients")))
    if len(model.boxes) != len(model.coefficients) or model.coefficients.shape[1] != 2 * len(model.phases) or len(model.waves) != len(model.phases):
        raise StorageError(f"the file holds {len(model.boxes)} cells with coefficients of shape {model.coefficients.shape}; they do not fit together")
    return model


def cell_features(points: Array, box: Array, waves: Array, phases: Array) -> Array:
    """Return cosines and sines at points of a cell's window, (n_points, 2 * n_pairs)."""
    angle = ((points - box.mean(axis=1)) / ((1 + OVERLAP) * np.ptp(box, axis=1) / 2)) @ waves.T + phases
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)


def extended(box: Array) -> Array:
    """Return the support of a cell's window, (n_coordinates, 2)."""
    grown = OVERLAP * np.ptp(box, axis=1) / 2
    return np.stack([box[:, 0] - grown, box[:, 1] + grown], axis=1)


def _window(offset: Array, half: Array, orders: MultiIndex) -> Array:
    """Return a derivative of the product of steps that fall around the ends of each side."""
    value = np.ones(len(offset))
    for axis, order in enumerate(orders):
        inner = (half[axis] - np.abs(offset[:, axis])) / (OVERLAP * half[axis])
        falling = np.abs(inner) < 1
        slope = -np.sign(offset[:, axis]) / (OVERLAP * half[axis])
        flat = (inner >= 1).astype(float) if order == 0 else np.zeros(len(offset))
        step = STEP.deriv(order) if order else STEP
        value = value * np.where(falling, step(np.clip(inner, -1, 1)) * slope**order, flat)
    return value


def _up_to(beta: MultiIndex) -> list[MultiIndex]:
    return list(product(*(range(order + 1) for order in beta)))


def _minus(beta: MultiIndex, gamma: MultiIndex) -> MultiIndex:
    return tuple(b - g for b, g in zip(beta, gamma, strict=True))


def _binomial(beta: MultiIndex, gamma: MultiIndex) -> int:
    return prod(comb(b, g) for b, g in zip(beta, gamma, strict=True))


def _product_rule(first: dict[MultiIndex, Array], second: dict[MultiIndex, Array], beta: MultiIndex) -> Array:
    return np.asarray(sum(_binomial(beta, gamma) * first[gamma] * second[_minus(beta, gamma)] for gamma in _up_to(beta)))
