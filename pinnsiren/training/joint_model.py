"""The model of joint least squares: fields and coefficient fields as expansions, scalars, and how well all of it is known.

Input: bases and parameters. Output: `JointModel`, which evaluates fields and, numbered behind them, coefficient fields.
"""

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.charts.expansion import FeatureBasis
from pinnsiren.charts.spectra import Frequencies
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.ir import MultiIndex
from pinnsiren.language.symbols import declaration_of
from pinnsiren.training.coefficient_basis import CoefficientBasis, build_coefficient
from pinnsiren.training.feature_model import build_bases
from pinnsiren.training.joint_undetermined import OPEN, Ignorance, ignorance_from_state, ignorance_of
from pinnsiren.training.method import StateTree

CHUNK = 4096


@dataclass(frozen=True)
class JointModel:
    """Fitted fields, coefficient fields and scalars.

    Attributes:
        bases: per field.
        frequencies: per chart of the fields.
        coefficients: per field (n_features, n_shots).
        coefficient_bases: per coefficient field.
        thetas: per coefficient field (n_features,).
        unknowns: values of the unknown scalars, in the order of the problem.
        spread: (n_parameters, n_directions), a square root of the covariance of (all thetas, then real and imaginary parts of the scalars); empty
            before it is known.
        ignorance: what the data leave open.
        rests_on: the penalties and priors that the values rest on, in words with their weights.
        undetermined: what the observations do not determine, in words.
    """

    bases: tuple[FeatureBasis, ...]
    frequencies: tuple[Frequencies, ...]
    coefficients: tuple[NDArray[Any], ...]
    coefficient_bases: tuple[CoefficientBasis, ...]
    thetas: tuple[NDArray[np.float64], ...]
    unknowns: tuple[complex, ...]
    spread: NDArray[np.float64] = dataclass_field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    ignorance: Ignorance = dataclass_field(default_factory=Ignorance, repr=False)
    rests_on: tuple[str, ...] = ()
    undetermined: tuple[str, ...] = ()

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of a field's unknown part, (n_points, n_shots), or of a coefficient field, (n_points, 1)."""
        if field_index < len(self.bases):
            return self.bases[field_index].evaluate(points, orders, self.coefficients[field_index])
        index = field_index - len(self.bases)
        pieces = [
            self.coefficient_bases[index].evaluate(points[start : start + CHUNK], orders, self.thetas[index])
            for start in range(0, len(points), CHUNK)
        ]
        return np.concatenate(pieces)[:, None] if pieces else np.zeros((0, 1))

    @property
    def n_thetas(self) -> int:
        """Number of parameters of all coefficient fields."""
        return sum(len(theta) for theta in self.thetas)

    def standard_error(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[np.float64]:
        """Return the standard error of a coefficient field or its derivative at points, (n_points,); NaN when it is not known."""
        if not self.spread.size:
            return np.full(len(points), np.nan)
        index = field_index - len(self.bases)
        start = sum(len(theta) for theta in self.thetas[:index])
        rows = self.spread[start : start + len(self.thetas[index])]
        pieces = []
        for first in range(0, len(points), CHUNK):
            part = points[first : first + CHUNK]
            jacobian = self.coefficient_bases[index].jacobian(part, {orders: np.ones(len(part))}, self.thetas[index])
            error = np.linalg.norm(jacobian @ rows, axis=1)
            pieces.append(np.hypot(error, self._ignored(index, part, orders)))
        return np.concatenate(pieces) if pieces else np.zeros(0)

    def _ignored(self, index: int, points: NDArray[np.float64], orders: MultiIndex) -> Any:
        """Return the standard error of what the data do not determine: of a value what its bounds allow, of a derivative its spread."""
        if not self.ignorance.bases:
            return 0.0
        share = self.ignorance.share(index, points)
        if any(orders):
            size = self.ignorance.spreads(index, points, orders)[1]
        else:
            values = self.coefficient_bases[index].evaluate(points, orders, self.thetas[index])
            size = share * ignorance_of(values, declaration_of(self.coefficient_bases[index].candidate).bounds)
        return np.where(share > OPEN, size, 0.0)

    def scalar_errors(self) -> tuple[float, ...]:
        """Return the standard errors of the scalars, of complex ones that of the modulus of the deviation; NaN when they are not known."""
        if not self.spread.size:
            return tuple(np.nan for _ in self.unknowns)
        n, errors = len(self.unknowns), []
        for index, value in enumerate(self.unknowns):
            own = [self.n_thetas + index, self.n_thetas + n + index]
            error = float(np.linalg.norm(self.spread[own]))
            left = self.ignorance.scalar_error(index, n)
            error = max(error, left) if left > OPEN * abs(value) else error
            errors.append(error)
        return tuple(errors)

    def state(self) -> StateTree:
        """Return frequencies and parameters."""
        return {
            "kind": "joint",
            "frequencies": {str(i): _frequencies_state(f) for i, f in enumerate(self.frequencies)},
            "coefficients": {str(i): c for i, c in enumerate(self.coefficients)},
            "coefficient_frequencies": {str(i): _frequencies_state(b.frequencies) for i, b in enumerate(self.coefficient_bases)},
            "thetas": {str(i): theta for i, theta in enumerate(self.thetas)},
            "unknowns": np.array(self.unknowns, dtype=complex),
            "spread": self.spread,
            "ignorance": self.ignorance.state(),
            "rests_on": "\n".join(self.rests_on),
            "undetermined": "\n".join(self.undetermined),
        }


def _frequencies_state(frequencies: Frequencies) -> StateTree:
    return {"waves": frequencies.waves, "rates": frequencies.rates, "phases": frequencies.phases}


def _frequencies_from(states: StateTree) -> tuple[Frequencies, ...]:
    return tuple(Frequencies(*(np.asarray(states[str(i)][name]) for name in ("waves", "rates", "phases"))) for i in range(len(states)))


def joint_model_from_state(compiled: CompiledProblem, state: StateTree) -> JointModel:
    """Rebuild a model from its stored frequencies and parameters."""
    frequencies = _frequencies_from(state["frequencies"])
    coefficient_bases = tuple(
        build_coefficient(compiled, index, drawn) for index, drawn in enumerate(_frequencies_from(state["coefficient_frequencies"]))
    )
    return JointModel(
        bases=build_bases(compiled, frequencies),
        frequencies=frequencies,
        coefficients=tuple(np.asarray(state["coefficients"][str(i)]) for i in range(len(state["coefficients"]))),
        coefficient_bases=coefficient_bases,
        thetas=tuple(np.asarray(state["thetas"][str(i)]) for i in range(len(state["thetas"]))),
        unknowns=tuple(complex(value) for value in np.atleast_1d(state["unknowns"])) if len(compiled.ir.unknowns) else (),
        spread=np.asarray(state["spread"]),
        ignorance=ignorance_from_state(compiled, state["ignorance"]),
        rests_on=tuple(part for part in str(state["rests_on"]).split("\n") if part),
        undetermined=tuple(part for part in str(state["undetermined"]).split("\n") if part),
    )
