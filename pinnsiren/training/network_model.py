"""The model that trained methods fit: a network behind the envelopes of the fields.

Input: a module and its problem. Output: `NetworkModel`. Derivatives come from the same streams that training uses; those that the residuals do not
need are carried by a plan of their own.
"""

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.stream_plan import StreamPlan
from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.errors import EvaluationError
from pinnsiren.ir import MultiIndex
from pinnsiren.training.method import StateTree
from pinnsiren.training.network_problem import NetworkProblem

CHUNK = 8192


class NetworkModel:
    """A trained network with the values of the unknown scalars.

    Args:
        problem: what the network was trained on.
        module: the network.
        unknowns: values of the unknown scalars.
    """

    def __init__(self, problem: NetworkProblem, module: Any, unknowns: torch.Tensor) -> None:
        self._problem, self.module = problem, module
        self._unknowns = tuple(complex(value) for value in unknowns.tolist())

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """Values of the unknown scalars, in the order of the problem."""
        return self._unknowns

    @cached_property
    def _full(self) -> NetworkProblem:
        """The same network with every first and second derivative as a stream, for evaluation."""
        compiled = self._problem.compiled
        return NetworkProblem(replace(compiled, programs=(), streams=full_plan(compiled)), self._problem.device, self._problem.dtype)

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of a field's unknown part, (n_points, n_shots)."""
        full = self._full
        stream = stream_of(orders, full.compiled.streams)
        pieces = []
        for start in range(0, len(points), CHUNK):
            prepared = full.prepare_points(points[start : start + CHUNK])
            with torch.no_grad():
                streams = self.module.streams(prepared.inputs, full.contraction, full.layout)
                pieces.append(full.field_streams(streams, prepared, field_index)[stream].cpu().numpy())
        if not pieces:
            return np.zeros((0, self._problem.compiled.ir.n_shots))
        return np.concatenate(pieces)

    def state(self) -> StateTree:
        """Return the parameters by name, the resolved record of the network is stored with the plan."""
        return {
            "kind": "network",
            "parameters": {name: value.detach().cpu().numpy().copy() for name, value in self.module.state_dict().items()},
            "unknowns": np.array(self._unknowns),
        }


def full_plan(compiled: CompiledProblem) -> StreamPlan:
    """Return a plan that carries every first and second derivative."""
    dimension = len(compiled.ir.coordinates)
    second = [(i, j) for i in range(dimension) for j in range(i, dimension)]
    operators = tuple(((tuple((axis == i) + (axis == j) for axis in range(dimension)), 1.0),) for i, j in second)
    layout = StreamLayout(dimension, tuple(range(dimension)), len(operators))
    return StreamPlan(layout, operators, 3 * layout.size, 0, True)


def stream_of(orders: MultiIndex, plan: StreamPlan) -> int:
    """Return the stream that carries a derivative.

    Raises:
        EvaluationError: above second order.
    """
    total = sum(orders)
    if total == 0:
        return 0
    if total == 1:
        return 1 + plan.layout.gradient.index(orders.index(1))
    for index, operator in enumerate(plan.operators):
        if operator == ((orders, 1.0),):
            return plan.layout.operator_start + index
    raise EvaluationError(f"a network was asked for the derivative {orders}; it gives derivatives up to order two")


def load_parameters(module: Any, parameters: dict[str, Any]) -> None:
    """Copy stored parameters into a module."""
    module.load_state_dict({name: torch.as_tensor(np.asarray(value)) for name, value in parameters.items()})
