"""The result of an inversion of waves in time: the medium that its Helmholtz twin found, and the field in time in that medium.

Input: the model of the twin. Output: `TimeModel`. The field is computed at first use, by the explicit scheme of the reference solvers.
"""

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.helmholtz_twin import HelmholtzTwin, helmholtz_twin
from pinnsiren.compiler.pipeline import CompiledProblem, compile_problem
from pinnsiren.ir import MultiIndex
from pinnsiren.training.method import FittedModel, StateTree
from pinnsiren.training.penalty.model import penalty_model_from_state
from pinnsiren.training.reduced.model import reduced_model_from_state
from pinnsiren.training.reduced.waves_in_time import Medium, SentFilter, WavesInTime

Array = NDArray[Any]

KIND, PENALTY = "waves in time", "penalty"
SHARING = (
    "the field in time of this solution comes from the explicit scheme of the grid solvers, in the medium that was found per frequency by another; "
    "only "
    "the search for the medium shares no code"
)


@dataclass(frozen=True)
class TimeModel:
    """Medium and field.

    Attributes:
        compiled: the problem in time.
        twin: the same per frequency.
        inner: what was found for it.
        sent: what the sources send relative to the declaration, None for as declared.
    """

    compiled: CompiledProblem
    twin: HelmholtzTwin
    inner: FittedModel
    sent: SentFilter | None = dataclass_field(default=None, repr=False)
    independence: str = SHARING

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of the field's unknown part, (n_points, n_shots), or of the squared slowness, (n_points, 1)."""
        if field_index:
            if orders[self._time]:
                return np.zeros((len(points), 1))
            return self.inner.evaluate(len(self.twin.frequencies), *self._in_space(points, orders))
        return np.asarray(self._waves.field(points, orders) - self.compiled.known_part(0, points, orders))

    def standard_error(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[np.float64]:
        """Return the standard error of the squared slowness at points, (n_points,); NaN where the inversion knows none."""
        known = getattr(self.inner, "standard_error", None)
        if known is None or any(orders):
            return np.full(len(points), np.nan)
        return np.asarray(known(len(self.twin.frequencies), *self._in_space(points, orders)))

    def scalar_errors(self) -> tuple[float, ...]:
        """No scalars are solved for."""
        return ()

    @property
    def rests_on(self) -> tuple[str, ...]:
        """What the inversion rests on besides equations and data."""
        return tuple(getattr(self.inner, "rests_on", ()))

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """No scalars are solved for."""
        return ()

    def predicted_traces(self) -> list[Array]:
        """Return what the receivers would record in the found medium, one (n_shots, n_receivers, n_samples) per set of observations."""
        return self._waves.traces()

    def state(self) -> StateTree:
        """Return the state of the inversion; the field is computed again."""
        sent = self.sent or SentFilter(np.zeros(0), np.zeros((0, 0)))
        return {"kind": KIND, "inner": self.inner.state(), "lags": sent.lags, "taps": sent.taps}

    @cached_property
    def _waves(self) -> WavesInTime:
        return WavesInTime(self.twin, medium_of(self.inner, self.twin), self.sent)

    @cached_property
    def _time(self) -> int:
        return list(self.twin.survey.field.args).index(self.twin.survey.time)

    def _in_space(self, points: NDArray[np.float64], orders: MultiIndex) -> tuple[NDArray[np.float64], MultiIndex]:
        return np.delete(points, self._time, axis=1), tuple(int(n) for n in np.delete(np.array(orders), self._time))


def medium_of(inner: FittedModel, twin: HelmholtzTwin) -> Medium:
    """Return the squared slowness of a model of the twin as a function of points (n, 2)."""
    return lambda points: np.real(inner.evaluate(len(twin.frequencies), points, (0, 0))[:, 0])


def time_model_from_state(compiled: CompiledProblem, state: StateTree) -> TimeModel:
    """Rebuild a model from its stored parameters."""
    twin = helmholtz_twin(compiled.original)
    build = penalty_model_from_state if state["inner"]["kind"] == PENALTY else reduced_model_from_state
    inner: FittedModel = build(compile_problem(twin.problem), state["inner"])
    lags, taps = np.atleast_1d(np.asarray(state["lags"])), np.asarray(state["taps"])
    return TimeModel(compiled, twin, inner, SentFilter(lags, taps) if lags.size else None)
