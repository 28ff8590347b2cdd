"""The medium as a network behind a bounded transform: squared slowness on the nodes of a grid, and its derivative in the parameters.

    log m(x) = log low + (log high - log low) * sigmoid(t(x) + s(x) / slope(x)),    s = N(x; theta) - N(x; theta_0)

t is the start behind the inverse transform and `slope` the derivative there: m starts where it was declared, and log m moves as s does at first.

Input: grid, bounds, start, where the medium may change, network record, seed. Output: `NetworkMedium`.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.networks import AbstractNetwork
from pinnsiren.networks.jacobian import residual_jacobian
from pinnsiren.reference_solvers.frequency_domain import Grid

Array = NDArray[Any]

NEAREST_BOUND = 1e-3  # of the interval: a start on a bound would have no slope to leave it by


class NetworkMedium:
    """A network that stands for the squared slowness where it may change.

    Args:
        network: record of the network.
        grid: nodes.
        start: (n_x, n_y), squared slowness.
        active: (n_x, n_y), where it may change.
        bounds: of the squared slowness.
        seed: of the initialisation.

    Attributes:
        active: (n_nodes,), where the medium may change.
    """

    def __init__(self, network: AbstractNetwork, grid: Grid, start: Array, active: Array, bounds: tuple[float, float], seed: int) -> None:
        self._start, self.active = start, active.ravel()
        self._low, self._range = float(np.log(bounds[0])), float(np.log(bounds[1] / bounds[0]))
        nodes = np.stack([axis.ravel() for axis in grid.nodes], axis=-1)
        self._centre = 0.5 * (np.array(grid.low) + np.array(grid.high))
        # One unit for both axes keeps the network isotropic.
        self._unit = 0.5 * float(np.max(np.array(grid.high) - np.array(grid.low)))
        self._layout = StreamLayout(2, (), 0)
        self.module = network.build(2, 1, seed=seed)
        self._first = network.build(2, 1, seed=seed)
        inside = nodes[self.active]
        self._inputs = self._scaled(inside)
        self._offset = self._network(self._inputs)
        self._logit, self._slope = self._transform(start.ravel()[self.active])

    def vector(self) -> Array:
        """Return a copy of the parameters as one vector."""
        return torch.nn.utils.parameters_to_vector(self.module.parameters()).detach().numpy().copy()

    def move_to(self, parameters: Array) -> None:
        """Set the parameters."""
        with torch.no_grad():
            torch.nn.utils.vector_to_parameters(torch.from_numpy(np.array(parameters)), self.module.parameters())

    def log_model(self) -> Array:
        """Return log m where the medium may change, (n_active,)."""
        return np.asarray(self._low + self._range * self._share())

    def model(self) -> Array:
        """Return m on all nodes, (n_x, n_y)."""
        flat = self._start.ravel().copy()
        flat[self.active] = np.exp(self.log_model())
        return np.asarray(flat.reshape(self._start.shape))

    def jacobian(self) -> Array:
        """Return d log m / d parameters where the medium may change, (n_active, n_parameters)."""
        share = self._share()
        return np.asarray(self.raw_slopes() * (self._range * share * (1 - share) / self._slope)[:, None])

    def raw_change(self) -> Array:
        """Return s where the medium may change, (n_active,)."""
        return np.asarray(self._network(self._inputs) - self._offset)

    def raw_slopes(self) -> Array:
        """Return ds / d parameters where the medium may change, (n_active, n_parameters)."""
        seeds = torch.ones(1, 1, self._inputs.shape[1], 1, dtype=torch.float64)
        return np.asarray(residual_jacobian(self.module, self._inputs, None, self._layout, seeds).numpy())

    def raw_change_at(self, points: Array) -> Array:
        """Return s at points (n, 2), wherever they lie."""
        inputs = self._scaled(points)
        return np.asarray(self._network(inputs) - self._network(inputs, self._first))

    def log_model_at(self, points: Array, start: Array) -> Array:
        """Return log m at points (n, 2) where it may change, given m of the start there, (n,)."""
        logit, slope = self._transform(start)
        return np.asarray(self._low + self._range * expit(logit + self.raw_change_at(points) / slope))

    def _transform(self, start: Array) -> tuple[Array, Array]:
        share = np.clip((np.log(start) - self._low) / self._range, NEAREST_BOUND, 1 - NEAREST_BOUND)
        return np.asarray(np.log(share / (1 - share))), np.asarray(self._range * share * (1 - share))

    def _share(self) -> Array:
        return np.asarray(expit(self._logit + self.raw_change() / self._slope))

    def _scaled(self, points: Array) -> torch.Tensor:
        return torch.from_numpy((points - self._centre) / self._unit)[None]

    def _network(self, inputs: torch.Tensor, module: Any = None) -> Array:
        with torch.no_grad():
            return np.asarray((module or self.module).streams(inputs, None, self._layout)[0, :, 0].numpy())
