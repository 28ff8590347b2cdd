"""The model that trained methods fit: a network behind the envelopes of the fields.

Input: a module and its problem. Output: `NetworkModel`. Derivatives come from the same streams that training uses, in layouts of their own.
"""

from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.compiler.stream_closure import MAXIMUM_ORDER, close_streams
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
    def _full(self) -> StreamLayout:
        """Every first and second derivative as a stream, for evaluation."""
        dimension = len(self._problem.compiled.ir.coordinates)
        return close_streams([((orders, 1.0),) for orders in product(range(3), repeat=dimension) if sum(orders) == 2], dimension)

    def _layout(self, orders: MultiIndex) -> StreamLayout:
        """The layout that carries a derivative: one for all of them up to second order.

        Raises:
            EvaluationError: above fourth order.
        """
        if sum(orders) <= 2:
            return self._full
        if sum(orders) > MAXIMUM_ORDER:
            raise EvaluationError(f"a network was asked for the derivative {orders}; it gives derivatives up to order {MAXIMUM_ORDER}")
        return close_streams([((tuple(orders), 1.0),)], len(orders))

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of a field's unknown part, (n_points, n_shots)."""
        layout = self._layout(orders)
        stream = layout.position(tuple(orders))
        assert stream is not None
        pieces = []
        for start in range(0, len(points), CHUNK):
            prepared = self._problem.prepare_layout(points[start : start + CHUNK], layout)
            with torch.no_grad():
                streams = self.module.streams(prepared.inputs, None, layout)
                pieces.append(self._problem.field_streams(streams, prepared, field_index)[stream].cpu().numpy())
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


def load_parameters(module: Any, parameters: dict[str, Any]) -> None:
    """Copy stored parameters into a module."""
    module.load_state_dict({name: torch.as_tensor(np.asarray(value)) for name, value in parameters.items()})
