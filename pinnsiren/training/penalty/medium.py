"""The medium as a network behind a bounded transform: squared slowness anywhere, its derivatives, and its slopes in the parameters.

    log m(x) = log low + (log high - log low) sigmoid(t(x) + s(x) / slope(x)),     s = N(x; theta) - N(x; theta_0)

t is the declared start behind the inverse transform and `slope` the derivative there: m starts where it was declared, and log m moves as s does at
first. Without pre-training s is the whole output of the network, and the search starts from what its random parameters draw.

Input: `DeclaredMedium`, record of a network, seed. Output: `NetworkMedium`.
"""

from typing import Any

import numpy as np
import sympy as sp
import torch
from numpy.typing import NDArray

from pinnsiren.compiler.stream_closure import close_streams
from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.ir import MultiIndex
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.networks import AbstractNetwork
from pinnsiren.networks.jacobian import residual_jacobian
from pinnsiren.training.penalty.declared import DeclaredMedium

Array = NDArray[Any]

NEAREST_BOUND = 1e-3  # of the interval: a start on a bound would have no slope to leave it by
CHUNK = 20_000
VALUE: MultiIndex = (0, 0)
UP_TO_SECOND = (VALUE, (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))


class NetworkMedium:
    """A network that stands for the squared slowness inside the support.

    Args:
        declared: bounds, start, support.
        network: record of the network.
        points: (n, 2), where the equation and the prior look at the medium.
        seed: of the initialisation.
        starts_as_declared: take the initial output off.
        initial: parameters to start from instead of those of the seed.
    """

    def __init__(
        self, declared: DeclaredMedium, network: AbstractNetwork, points: Array, seed: int, starts_as_declared: bool, initial: Array | None = None
    ) -> None:
        self.declared, self._points = declared, points
        low, high = declared.bounds
        self._low, self._range = float(np.log(low)), float(np.log(high / low))
        bounds = np.array([declared.support.bounds[symbol] for symbol in declared.coordinates], dtype=float)
        self._centre = bounds.mean(axis=1)
        # One unit for both axes keeps the network isotropic.
        self._unit = 0.5 * float(np.max(bounds[:, 1] - bounds[:, 0]))
        self.module = network.build(2, 1, seed=seed)
        self._untrained = network.build(2, 1, seed=seed)
        if initial is not None:
            for module in (self.module, self._untrained):
                _set_parameters(module, initial)
        self._starts_as_declared = starts_as_declared
        self._layout = StreamLayout(2, (), 0)
        self._inputs = self._scaled(points)
        self._start = self._transformed_start(points)
        self._offset = self._initial_output(self._inputs)
        self._share = self._shares()

    def vector(self) -> Array:
        """Return a copy of the parameters as one vector."""
        return _parameters(self.module)

    def initial_vector(self) -> Array:
        """Return the initial parameters as one vector."""
        return _parameters(self._untrained)

    def move_to(self, parameters: Array) -> None:
        """Set the parameters."""
        _set_parameters(self.module, parameters)
        self._share = self._shares()

    def log_model(self) -> Array:
        """Return log m at the points of the construction, (n,)."""
        return np.asarray(self._low + self._range * self._share)

    def log_start(self) -> Array:
        """Return the logarithm of the declared start there, (n,)."""
        return np.asarray(self._low + self._range * _sigmoid(self._start[0]))

    def jacobian(self) -> Array:
        """Return d log m / d parameters there, (n, n_parameters)."""
        seeds = torch.ones(1, 1, self._inputs.shape[1], 1, dtype=torch.float64)
        slopes = residual_jacobian(self.module, self._inputs, None, self._layout, seeds).numpy()
        return np.asarray(slopes * (self._range * self._share * (1 - self._share) / self._start[1])[:, None])

    def evaluate(self, points: Array, orders: MultiIndex) -> Array:
        """Return m or a derivative up to second order at points of the domain, (n,); outside the support that of the declared start."""
        result = self._declared_derivative(points, orders)
        inside = np.flatnonzero(np.asarray(self.declared.support.contains(points)))
        for first in range(0, len(inside), CHUNK):
            part = inside[first : first + CHUNK]
            result[part] = self._inside(points[part], orders)
        return result

    def _inside(self, points: Array, orders: MultiIndex) -> Array:
        if sum(orders) == 0:
            inputs = self._scaled(points)
            argument = self._argument(inputs, self._transformed_start(points), self._initial_output(inputs))
            return np.asarray(np.exp(self._low + self._range * _sigmoid(argument)))
        return self._derivative(points, orders)

    def _derivative(self, points: Array, orders: MultiIndex) -> Array:
        """Chain rule on log m = low + range * sigmoid(a), a the argument, whose start is uniform inside every cell of what was declared."""
        layout = close_streams([((wanted, 1.0),) for wanted in UP_TO_SECOND if sum(wanted) == 2], 2)
        rows = self._streams(self.module, points, layout)
        if self._starts_as_declared:
            rows = rows - self._streams(self._untrained, points, layout)
        start = self._transformed_start(points)
        streams = {wanted: rows[self._position(layout, wanted)] / start[1] / self._unit ** sum(wanted) for wanted in UP_TO_SECOND}
        share = _sigmoid(start[0] + streams[VALUE])
        first, second = share * (1 - share), share * (1 - share) * (1 - 2 * share)
        m = np.exp(self._low + self._range * share)
        axes = [axis for axis, count in enumerate(orders) for _ in range(count)]
        units = ((1, 0), (0, 1))
        slopes = [self._range * first * streams[units[axis]] for axis in axes]
        if len(axes) == 1:
            return np.asarray(m * slopes[0])
        bend = self._range * (first * streams[tuple(orders)] + second * streams[units[axes[0]]] * streams[units[axes[1]]])
        return np.asarray(m * (bend + slopes[0] * slopes[1]))

    @staticmethod
    def _position(layout: StreamLayout, orders: MultiIndex) -> int:
        position = layout.position(orders)
        assert position is not None
        return position

    def _streams(self, module: Any, points: Array, layout: StreamLayout) -> Array:
        inputs = torch.zeros(layout.size, len(points), 2, dtype=torch.float64)
        inputs[0] = self._scaled(points)[0]
        for axis, orders in enumerate(((1, 0), (0, 1))):
            inputs[self._position(layout, orders), :, axis] = 1.0
        with torch.no_grad():
            return np.asarray(module.streams(inputs, None, layout)[:, :, 0].numpy())

    def _declared_derivative(self, points: Array, orders: MultiIndex) -> Array:
        expression = self.declared.initial
        for symbol, count in zip(self.declared.coordinates, orders, strict=True):
            expression = sp.diff(expression, symbol, count) if count else expression
        values = np.real(evaluate_on(expression, self.declared.coordinates, points))
        return np.array(np.broadcast_to(values, (len(points),)), dtype=float)

    def _transformed_start(self, points: Array) -> tuple[Array, Array]:
        """Return the start behind the inverse transform and the slope there."""
        share = np.clip((np.log(self.declared.start(points)) - self._low) / self._range, NEAREST_BOUND, 1 - NEAREST_BOUND)
        return np.log(share / (1 - share)), self._range * share * (1 - share)

    def _shares(self) -> Array:
        return _sigmoid(self._argument(self._inputs, self._start, self._offset))

    def _argument(self, inputs: torch.Tensor, start: tuple[Array, Array], offset: Array) -> Array:
        return np.asarray(start[0] + (self._output(self.module, inputs) - offset) / start[1])

    def _initial_output(self, inputs: torch.Tensor) -> Array:
        return self._output(self._untrained, inputs) if self._starts_as_declared else np.zeros(inputs.shape[1])

    def _scaled(self, points: Array) -> torch.Tensor:
        return torch.from_numpy((points - self._centre) / self._unit)[None]

    def _output(self, module: Any, inputs: torch.Tensor) -> Array:
        with torch.no_grad():
            return np.asarray(module.streams(inputs, None, self._layout)[0, :, 0].numpy())


def _parameters(module: Any) -> Array:
    return np.array(torch.nn.utils.parameters_to_vector(module.parameters()).detach().numpy())


def _set_parameters(module: Any, parameters: Array) -> None:
    with torch.no_grad():
        torch.nn.utils.vector_to_parameters(torch.from_numpy(np.array(parameters)), module.parameters())


def _sigmoid(argument: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * argument)))
