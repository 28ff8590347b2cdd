"""One window in time of a problem: the same equations and conditions between two instants, started from the solution of the window before.

Input: a compiled problem whose domain is a product of space and time, two instants, the model that ends at the first of them. Output:
`CompiledProblem` of the window, with charts proposed anew, and `WindowedModel`, the models of all windows as one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.charts import propose_charts
from pinnsiren.compiler.pipeline import CompiledProblem, compile_problem
from pinnsiren.ir import Chart, MultiIndex, Residual
from pinnsiren.language.conditions import AbstractCondition, InitialCondition, Observations
from pinnsiren.language.domains import SpaceTime
from pinnsiren.language.needed_conditions import derivative_orders
from pinnsiren.language.problem import Problem
from pinnsiren.training.feature_model import feature_model_from_state
from pinnsiren.training.method import FittedModel, StateTree
from pinnsiren.training.row_system import residual_system
from pinnsiren.training.sampling import PointSet


def refusal(compiled: CompiledProblem) -> str | None:
    """Return why a problem cannot be cut into windows, None when it can."""
    problem, domain = compiled.original, compiled.original.domain
    if not isinstance(domain, SpaceTime):
        return "the domain has no time"
    if compiled.rewritten.applied:
        return f"the rewrite {compiled.rewritten.applied[0][0]} is not made for windows"
    if compiled.ir.n_shots > 1:
        return "shots are solved in one window"
    if compiled.ir.unknowns:
        return "unknown scalars are shared by all times"
    for candidate in problem.fields:
        order = derivative_orders(problem, candidate)[domain.time]
        given = {c.time_order for c in problem.conditions if isinstance(c, InitialCondition) and c.expression.has(candidate)}
        if order < 1 or given != set(range(order)):
            return f"the field `{candidate}` has time derivatives of order {order} and initial conditions on those of the orders {sorted(given)}"
    for residual in compiled.ir.residuals:
        inside = residual.kind in ("equation", "initial", "observation", "interface") or residual.region.kind == "pair"
        if not inside and (residual.region.kind != "part" or residual.region.part not in domain.space.boundary_parts()):
            return f"{residual.label} does not hold at all times"
    return None


def hand_edited_charts(compiled: CompiledProblem) -> tuple[Chart, ...] | None:
    """Return the charts of the plan where somebody chose them, None where windows may propose their own."""
    return None if compiled.charts == propose_charts(compiled.ir, compiled.rewritten, compiled.scales) else compiled.charts


def restricted(problem: Problem, start: float, end: float, is_first: bool) -> Problem:
    """Return the problem between two instants; what later windows start from is zero until `started_from` fills it in."""
    domain = problem.domain
    assert isinstance(domain, SpaceTime)
    conditions: list[AbstractCondition] = []
    for condition in problem.conditions:
        if isinstance(condition, InitialCondition):
            conditions.append(condition if is_first else InitialCondition(condition.expression, 0))
        elif isinstance(condition, Observations):
            conditions += _observed_between(condition, start, end, is_first)
        else:
            conditions.append(condition)
    window = SpaceTime(domain.space, {domain.time: (start, end)})
    return problem.rewritten(equations=problem.equations, conditions=conditions, domain=window)


def _observed_between(condition: Observations, start: float, end: float, is_first: bool) -> list[Observations]:
    """Return the observations of a window: none, or one condition."""
    times = np.asarray(condition.points)[:, -1]
    keep = (times <= end) & ((times >= start) if is_first else (times > start))
    if not np.any(keep):
        return []
    points, values = np.asarray(condition.points)[keep], np.asarray(condition.values)[..., keep]
    weights = None if condition.weights is None else np.asarray(condition.weights)[keep]
    return [Observations(condition.expression, points, values, condition.noise, weights)]


def started_from(window: CompiledProblem, before: CompiledProblem, model: FittedModel) -> CompiledProblem:
    """Return the window with initial values, and initial time derivatives, read off the model of the window before."""
    system = residual_system(before)
    residuals, programs = [], []
    for residual, program in zip(window.ir.residuals, window.programs, strict=True):
        if residual.kind == "initial":

            def given(points: NDArray[np.float64], program: Any = program) -> NDArray[Any]:
                return system.residual(program, PointSet(points), model)

            residual = replace(residual, given=given)
            program = replace(program, residual=residual)
        residuals.append(residual)
        programs.append(program)
    return replace(window, ir=replace(window.ir, residuals=tuple(residuals)), programs=tuple(programs))


def compile_window(compiled: CompiledProblem, start: float, end: float, charts: tuple[Chart, ...] | None = None) -> CompiledProblem:
    """Compile the window between two instants.

    Args:
        compiled: the whole problem.
        start: first instant.
        end: last instant.
        charts: charts to use in every window, None to propose them anew.
    """
    domain = compiled.original.domain
    assert isinstance(domain, SpaceTime)
    return compile_problem(restricted(compiled.original, start, end, start <= domain.time_bounds[0]), charts=charts)


def initial_residuals(compiled: CompiledProblem) -> tuple[Residual, ...]:
    """Return the residuals of the initial conditions."""
    return tuple(residual for residual in compiled.ir.residuals if residual.kind == "initial")


@dataclass(frozen=True)
class WindowedModel:
    """Models of consecutive windows as one.

    Attributes:
        edges: (n_windows + 1,), instants; windows that are not solved yet have no model.
        models: of the windows that are solved, in their order.
        is_complex: per field, whether its values are complex.
        n_shots: length of the shot axis.
    """

    edges: tuple[float, ...]
    models: tuple[FittedModel, ...]
    is_complex: tuple[bool, ...]
    n_shots: int = 1

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of a field, (n_points, n_shots); NaN at times that no window has reached."""
        kind = complex if self.is_complex[field_index] else float
        result = np.full((len(points), self.n_shots), np.nan, dtype=kind)
        window = np.searchsorted(np.array(self.edges[1:-1]), points[:, -1], side="left")
        for index, model in enumerate(self.models):
            chosen = window == index
            if np.any(chosen):
                values = model.evaluate(field_index, points[chosen], orders)
                result[chosen] = values if kind is complex else np.real(values)
        return result

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """Windows solve for no scalars."""
        return ()

    def state(self) -> StateTree:
        """Return edges and the states of all models."""
        models = {str(index): model.state() for index, model in enumerate(self.models)}
        return {"kind": "windows", "edges": np.array(self.edges), "models": models}


def windowed_model_from_state(compiled: CompiledProblem, state: StateTree) -> WindowedModel:
    """Rebuild a model from its stored windows."""
    edges = tuple(float(edge) for edge in state["edges"])
    charts = hand_edited_charts(compiled)
    models = rebuilt_models(compiled, edges, [state["models"][str(index)] for index in range(len(state["models"]))], charts)
    return WindowedModel(edges, models, compiled.ir.is_complex, compiled.ir.n_shots)


def rebuilt_models(
    compiled: CompiledProblem, edges: Sequence[float], states: Sequence[StateTree], charts: tuple[Chart, ...] | None
) -> tuple[FittedModel, ...]:
    """Rebuild the models of the first windows from their states."""
    return tuple(
        feature_model_from_state(compile_window(compiled, start, end, charts), state)
        for (start, end), state in zip(pairwise(edges), states, strict=False)
    )
