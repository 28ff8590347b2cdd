"""Models made of windows that follow each other in time, and what is known before the first of them.

Input: expansions on windows. Output: `StretchedModel`, one model of the whole time; `InitialExtension` and `LastInstant`, first guesses in a window.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.charts.front_stretch import Stretch
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.ir import Jet, MultiIndex
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.training.method import FittedModel, StateTree
from pinnsiren.training.stretched_basis import ProductModel
from pinnsiren.training.stretched_window import WindowShape

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StretchedModel:
    """Expansions on windows; an instant between two belongs to the later one."""

    shapes: tuple[WindowShape, ...]
    models: tuple[ProductModel, ...]

    def evaluate(self, field_index: int, points: Array, orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of a field's unknown part, (n_points, 1)."""
        if len(self.models) == 1:
            return self.models[0].evaluate(field_index, points, orders)
        starts = np.array([shape.times[0] for shape in self.shapes[1:] if shape.times is not None])
        window = np.searchsorted(starts, points[:, -1], side="right")
        result = np.zeros((len(points), 1))
        for index in np.unique(window):
            here = window == index
            result[here] = self.models[index].evaluate(field_index, points[here], orders)
        return result

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """Least squares solves for no scalars."""
        return ()

    def state(self) -> StateTree:
        """Return stretches, harmonics and coefficients of every window."""
        states = [_window_state(shape, model) for shape, model in zip(self.shapes, self.models, strict=True)]
        return {"kind": "stretched_windows", **{f"{index}": state for index, state in enumerate(states)}}


def _window_state(shape: WindowShape, model: ProductModel) -> StateTree:
    return {
        "times": np.array([] if shape.times is None else shape.times),
        "harmonics": np.array(shape.harmonics),
        "stretches": {
            f"{i}": {
                "ends": np.array([stretch.low, stretch.high, float(stretch.periodic)]),
                "kernels": np.array([stretch.centres, stretch.widths, stretch.masses]),
            }
            for i, stretch in enumerate(shape.stretches)
        },
        "coefficients": {f"{i}": c for i, c in enumerate(model.coefficients)},
    }


def stretched_model_from_state(compiled: CompiledProblem, state: StateTree) -> StretchedModel:
    """Rebuild a model from its stored windows."""
    shapes, models = [], []
    for index in range(sum(key.isdigit() for key in state)):
        window = state[str(index)]
        stretches = []
        for i in range(len(window["stretches"])):
            low, high, periodic = map(float, window["stretches"][str(i)]["ends"])
            kernels = [tuple(map(float, row)) for row in np.asarray(window["stretches"][str(i)]["kernels"])]
            stretches.append(Stretch(low, high, bool(periodic), *kernels))
        times = tuple(map(float, np.asarray(window["times"])))
        shape = WindowShape((times[0], times[1]) if times else None, tuple(stretches), tuple(map(int, np.asarray(window["harmonics"]))))
        coefficients = tuple(np.asarray(window["coefficients"][str(i)]) for i in range(len(window["coefficients"])))
        shapes.append(shape)
        models.append(ProductModel(shape.bases(compiled), coefficients))
    return StretchedModel(tuple(shapes), tuple(models))


class InitialExtension:
    """The declared initial values, constant in time; zero for fields without one."""

    def __init__(self, compiled: CompiledProblem) -> None:
        self.symbols = compiled.ir.coordinates
        self.values: list[Any] = [sp.Integer(0)] * len(compiled.ir.is_complex)
        zero = (0,) * len(self.symbols)
        for residual in compiled.ir.residuals:
            for index in range(len(self.values)):
                jet = Jet(index, zero).symbol
                slope = sp.diff(residual.expression, jet)
                if residual.kind == "initial" and slope != 0 and not slope.has(jet):
                    self.values[index] = -residual.expression.xreplace({jet: sp.Integer(0)}) / slope

    def evaluate(self, field_index: int, points: Array, orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative, (n_points, 1); where the data have none, zero."""
        if orders[-1] or self.values[field_index] == 0:
            return np.zeros((len(points), 1))
        expression = self.values[field_index]
        for symbol, order in zip(self.symbols, orders, strict=True):
            expression = sp.diff(expression, symbol, order) if order else expression
        return np.asarray(np.nan_to_num(np.real(evaluate_on(expression, self.symbols, points)))[:, None])

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """No scalars."""
        return ()

    def state(self) -> StateTree:
        """Nothing to keep."""
        return {}


@dataclass(frozen=True)
class LastInstant:
    """A model frozen at one instant, constant in time."""

    model: FittedModel
    instant: float

    def evaluate(self, field_index: int, points: Array, orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative, (n_points, 1)."""
        if orders[-1]:
            return np.zeros((len(points), 1))
        frozen = np.hstack([points[:, :-1], np.full((len(points), 1), self.instant)])
        return self.model.evaluate(field_index, frozen, orders)

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """No scalars."""
        return ()

    def state(self) -> StateTree:
        """Nothing to keep."""
        return {}


def stretched_model(fits: Sequence[Any]) -> StretchedModel:
    """Return the model of a list of solved windows."""
    return StretchedModel(tuple(fit.shape for fit in fits), tuple(fit.model for fit in fits))
