"""The model that least squares fits: per field an expansion in sine features on charts.

Input: charts, number of features, seed. Output: bases and, once fitted, `FeatureModel`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.charts import bandwidth_for_features, draw_frequencies
from pinnsiren.charts.expansion import FeatureBasis, build_basis
from pinnsiren.charts.spectra import Frequencies
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.ir import MultiIndex
from pinnsiren.training.method import StateTree

EVALUATION_ORDER = 2  # derivatives that a solution can be asked for besides those of the residuals


def needed_orders(compiled: CompiledProblem) -> list[MultiIndex]:
    """Return the multi-indices of all jets and of all derivatives up to `EVALUATION_ORDER`."""
    dimension = len(compiled.ir.coordinates)
    wanted = {jet.orders for jet in compiled.ir.jets}
    level: set[MultiIndex] = {(0,) * dimension}
    for _ in range(EVALUATION_ORDER + 1):
        wanted |= level
        level = {tuple(o + (i == axis) for i, o in enumerate(orders)) for orders in level for axis in range(dimension)}
    return sorted(wanted, key=lambda orders: (sum(orders), orders))


def draw_all(compiled: CompiledProblem, n_features: int, redundancy: float, seed: int) -> list[Frequencies]:
    """Distribute the features over the charts; each chart's bandwidth follows from its number."""
    drawn = []
    for index, chart in enumerate(compiled.charts):
        count = max(8, round(n_features * chart.share))
        half_lengths = np.array(chart.half_lengths)
        bandwidth = bandwidth_for_features(count / chart.share if chart.decays else count, chart.redundancy or redundancy, half_lengths)
        # Decaying features fill the same band more thinly: their envelopes make them differ where sines alone would not.
        bandwidth *= 0.8 if chart.decays else 1.0
        if chart.spectrum is not None:
            drawn.append(chart.spectrum.draw(count, bandwidth, seed + 101 * index))
            continue
        drawn.append(draw_frequencies(count, len(chart.coordinates), bandwidth, seed + 101 * index, len(chart.decays), chart.decay_range))
    return drawn


def build_bases(compiled: CompiledProblem, frequencies: Sequence[Frequencies]) -> tuple[FeatureBasis, ...]:
    """Compile one basis per field; fields share the frequencies and differ by their envelopes."""
    orders = needed_orders(compiled)
    return tuple(
        build_basis(compiled.charts, frequencies, envelope, compiled.ir.coordinates, orders) for envelope in compiled.ir.envelope
    )


@dataclass(frozen=True)
class FeatureModel:
    """A fitted expansion.

    Attributes:
        bases: per field.
        frequencies: per chart.
        coefficients: per field (n_features, n_shots).
    """

    bases: tuple[FeatureBasis, ...]
    frequencies: tuple[Frequencies, ...]
    coefficients: tuple[NDArray[Any], ...]

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of a field's unknown part, (n_points, n_shots)."""
        return self.bases[field_index].evaluate(points, orders, self.coefficients[field_index])

    def derivatives(self, field_index: int, points: NDArray[np.float64], orders: Sequence[MultiIndex]) -> list[NDArray[Any]]:
        """Return several derivatives of a field's unknown part, each (n_points, n_shots)."""
        return self.bases[field_index].derivatives(points, orders, self.coefficients[field_index])

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """Least squares solves for no scalars."""
        return ()

    def state(self) -> StateTree:
        """Return frequencies and coefficients."""
        return {
            "kind": "features",
            "frequencies": {f"{i}": {"waves": f.waves, "rates": f.rates, "phases": f.phases} for i, f in enumerate(self.frequencies)},
            "coefficients": {f"{i}": c for i, c in enumerate(self.coefficients)},
        }


def feature_model_from_state(compiled: CompiledProblem, state: StateTree) -> FeatureModel:
    """Rebuild a model from its stored frequencies and coefficients."""
    frequencies = tuple(
        Frequencies(*(np.asarray(state["frequencies"][str(i)][name]) for name in ("waves", "rates", "phases")))
        for i in range(len(state["frequencies"]))
    )
    coefficients = tuple(np.asarray(state["coefficients"][str(i)]) for i in range(len(state["coefficients"])))
    return FeatureModel(build_bases(compiled, frequencies), frequencies, coefficients)
