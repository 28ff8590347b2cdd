"""The medium as a network behind a bounded transform: squared slowness on the nodes of a grid, and its derivative in the parameters.

    log m(x) = log low + (log high - log low) * sigmoid(t(x) + s(x) / slope(x)),    s = N(x; theta) - N(x; theta_0)

t is the start behind the inverse transform and `slope` the derivative there: m starts where it was declared, and log m moves as s does at first.

Waves feel the mean of m over the cell of a node, not its value there. Where edges are believed to be sharp, nodes carry means over points of their
cells, so that the network may have an edge between two nodes; a prior that counts edges by differences between nodes would draw it to the rims of
cells (its search then ends in other minima), so that nodes carry values for it.

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
# Per side of a cell: an edge along the axes is placed to a sixth of the step, the mean of a smooth medium is exact to a percent of its curvature.
CELL_POINTS = 3
UNIFORM = 1e-6  # relative


class NetworkMedium:
    """A network that stands for the squared slowness where it may change.

    Args:
        network: record of the network.
        grid: nodes.
        start: (n_x, n_y), squared slowness.
        active: (n_x, n_y), where it may change.
        bounds: of the squared slowness.
        seed: of the initialisation.
        cells: whether nodes carry means over their cells; around a start that varies they never do.

    Attributes:
        active: (n_nodes,), where the medium may change.
    """

    def __init__(
        self, network: AbstractNetwork, grid: Grid, start: Array, active: Array, bounds: tuple[float, float], seed: int, cells: bool = False
    ) -> None:
        self._start, self.active = start, active.ravel()
        self._low, self._range = float(np.log(bounds[0])), float(np.log(bounds[1] / bounds[0]))
        nodes = np.stack([axis.ravel() for axis in grid.nodes], axis=-1)
        self._centre = 0.5 * (np.array(grid.low) + np.array(grid.high))
        # One unit for both axes keeps the network isotropic.
        self._unit = 0.5 * float(np.max(np.array(grid.high) - np.array(grid.low)))
        self._layout = StreamLayout(2, (), 0)
        self.module = network.build(2, 1, seed=seed)
        self._first = network.build(2, 1, seed=seed)
        changing = start.ravel()[self.active]
        self._cell_points = CELL_POINTS if cells and np.ptp(changing) <= UNIFORM * np.max(changing) else 1
        self._inputs = self._scaled(self.points_of_cells(nodes[self.active], np.array(grid.step)))
        self._offset = self._network(self._inputs)
        self._logit, self._slope = self._transform(changing)

    def points_of_cells(self, centres: Array, step: Array) -> Array:
        """Return the points over which nodes take the mean, (n_points * n, 2): a point of all cells after the other."""
        inside = (np.arange(self._cell_points) + 0.5) / self._cell_points - 0.5
        offsets = np.stack(np.meshgrid(inside, inside, indexing="ij"), axis=-1).reshape(-1, 1, 2) * step
        return np.asarray((centres + offsets).reshape(-1, 2))

    def vector(self) -> Array:
        """Return a copy of the parameters as one vector."""
        return torch.nn.utils.parameters_to_vector(self.module.parameters()).detach().numpy().copy()

    def move_to(self, parameters: Array) -> None:
        """Set the parameters."""
        with torch.no_grad():
            torch.nn.utils.vector_to_parameters(torch.from_numpy(np.array(parameters)), self.module.parameters())

    def log_model(self) -> Array:
        """Return log m of the nodes where the medium may change, (n_active,)."""
        return log_mean(self.log_model_in_cells())

    def log_model_in_cells(self) -> Array:
        """Return log m at the points of the cells, (n_points, n_active)."""
        return np.asarray(self._low + self._range * self._share())

    def model(self) -> Array:
        """Return m on all nodes, (n_x, n_y)."""
        flat = self._start.ravel().copy()
        flat[self.active] = np.exp(self.log_model())
        return np.asarray(flat.reshape(self._start.shape))

    def jacobian(self) -> Array:
        """Return d log m / d parameters of the nodes where the medium may change, (n_active, n_parameters)."""
        share = self._share()
        slopes = self._range * share * (1 - share) / self._slope
        return self.raw_slopes(slopes * shares_of_mean(self._low + self._range * share))

    def raw_change(self) -> Array:
        """Return s at the points of the cells, (n_points, n_active)."""
        return np.asarray(self._network(self._inputs) - self._offset).reshape(self._cell_points**2, -1)

    def raw_slopes(self, weights: Array) -> Array:
        """Return the sums over the points of each cell of weights (n_points, n_active) times ds / d parameters, (n_active, n_parameters)."""
        total = None
        parts = self._inputs.reshape(1, len(weights), -1, 2)
        for number, factors in enumerate(weights):
            seeds = torch.from_numpy(np.ascontiguousarray(factors)).reshape(1, 1, -1, 1)
            part = residual_jacobian(self.module, parts[:, number], None, self._layout, seeds)
            total = part if total is None else total.add_(part)
        return np.asarray(total.numpy() if total is not None else np.zeros((0, 0)))

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


def log_mean(log_model: Array) -> Array:
    """Return log of the mean of m over the points of each cell, of log m (n_points, n_active)."""
    return np.asarray(log_model[0] if len(log_model) == 1 else np.log(np.mean(np.exp(log_model), axis=0)))


def shares_of_mean(log_model: Array) -> Array:
    """Return the derivative of `log_mean`, (n_points, n_active): what each point has of the sum."""
    parts = np.exp(log_model - log_model.max(axis=0))
    return np.asarray(parts / parts.sum(axis=0))


def log_means_at(medium: Any, nodes: Array, start: Array, step: Array) -> Array:
    """Return log m of nodes (n, 2) of another grid of this step, means over their cells, given m of the start there, (n,)."""
    points = medium.points_of_cells(nodes, step)
    repeated = np.tile(start, len(points) // len(nodes))
    return log_mean(medium.log_model_at(points, repeated).reshape(-1, len(nodes)))
