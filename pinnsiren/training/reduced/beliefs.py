"""What can be believed of a medium, by name, and the medium of two phases, whose network is a level set.

    log m(x) = log m_0(x) + B sigmoid(sharpness (s(x) / s_half - 1)),        s the network, B the contrast, m_0 the declared start

Input: a medium that was found with few edges. Output: the same network with the levels of its medium made two.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pinnsiren.errors import TrainingError
from pinnsiren.training.reduced.medium import NetworkMedium, log_mean, shares_of_mean

Array = NDArray[Any]

NONE, SMOOTH, FEW_EDGES, TOTAL_VARIATION, TWO_PHASES, AUTO = "none", "smooth", "few edges", "total variation", "two phases", "auto"
PRIORS = (AUTO, NONE, SMOOTH, FEW_EDGES, TOTAL_VARIATION, TWO_PHASES)
# Of log m at which the medium is taken for one of the two phases: half the way from the start to the largest change.
HALF = 0.5
# The network that is read rises to twice the level over two or three cells: nine tenths of the contrast change within less than one, and cells take
# their share of both phases. What a network ripples within a phase, by a third of the level, moves the medium by 2 % of the contrast.
SHARPNESS = 12.0
# A unit of its parameter moves the contrast by three times its first value: at an interface the parameters of the network move the medium by as much,
# and a contrast that moves less is left behind by the damping of Gauss-Newton.
CONTRAST_SCALE = 0.3


@dataclass(frozen=True)
class Belief:
    """A prior and the network that goes with it.

    Attributes:
        name: one of `PRIORS`.
        frequency: of the sine layers: low where the network alone keeps the medium smooth, high where a prior does.
        power: p of the gradient of log m, None for no term.
        smoothing: differences between neighbouring nodes that count as smooth.
        text: for the status.
    """

    name: str
    frequency: float
    power: float | None
    smoothing: float
    text: str


BELIEFS = {
    NONE: Belief(NONE, 10.0, None, 0.01, "no prior but the smoothness of the network"),
    SMOOTH: Belief(SMOOTH, 10.0, 2.0, 0.01, "the prior that the medium is smooth (mean square gradient of log m)"),
    FEW_EDGES: Belief(FEW_EDGES, 30.0, 0.5, 0.01, "the prior that the medium has few edges (mean square root of the gradient of log m)"),
    TOTAL_VARIATION: Belief(TOTAL_VARIATION, 30.0, 1.0, 0.01, "the prior that the total variation of log m is small"),
}


def beliefs_of(prior: str, uniform: bool = True) -> tuple[Belief, ...]:
    """Return the belief that is asked for and, behind it, the one that bears witness; `auto` chooses between both.

    Args:
        prior: by name.
        uniform: whether the medium starts uniform. One that does not is no object in front of a background: its change from the start has edges
            everywhere, and where the data see nothing it is left as it was, not to the network.
    """
    if prior == AUTO and not uniform:
        return BELIEFS[TOTAL_VARIATION], BELIEFS[SMOOTH]
    first = {AUTO: NONE, TWO_PHASES: FEW_EDGES}.get(prior, prior)
    second = FEW_EDGES if first in (NONE, SMOOTH) else NONE
    return BELIEFS[first], BELIEFS[second]


class TwoPhaseMedium:
    """The start and one other phase; the network says where which.

    Args:
        network: a medium that was found with few edges; its network goes on.
        start: (n_x, n_y), squared slowness.
        bounds: of the squared slowness.
        contrast: B of a stored medium with its level s_half; None reads both off the network's medium.

    Raises:
        TrainingError: the medium does not differ from its start, so that there is nothing to separate.
    """

    def __init__(self, network: NetworkMedium, start: Array, bounds: tuple[float, float], contrast: tuple[float, float] | None = None) -> None:
        self.network, self.active = network, network.active
        self._start = start
        self._log_start = np.log(start.ravel()[self.active])
        self._limits = (float(np.log(bounds[0]) - self._log_start.min()), float(np.log(bounds[1]) - self._log_start.max()))
        self.first_contrast, self.half = contrast or self._read()
        self.contrast = self.first_contrast

    def _read(self) -> tuple[float, float]:
        change = self.network.log_model_in_cells() - self._log_start
        largest = float(change.flat[np.argmax(np.abs(change))])
        if largest == 0:
            raise TrainingError("the medium found with few edges equals its start: two phases cannot be told apart. Use another prior")
        inside = change / largest > HALF
        contrast = float(np.median(change[inside]))
        # The level of the network nearest to half the contrast.
        order = np.argsort(change, axis=None)[:: 1 if contrast > 0 else -1]
        return contrast, float(np.interp(HALF, (change / contrast).ravel()[order], self.network.raw_change().ravel()[order]))

    def points_of_cells(self, centres: Array, step: Array) -> Array:
        """Return the points over which nodes take the mean, see `NetworkMedium`."""
        return self.network.points_of_cells(centres, step)

    def vector(self) -> Array:
        """Return the parameters of the network and the contrast."""
        return np.append(self.network.vector(), (self.contrast / self.first_contrast - 1) * CONTRAST_SCALE)

    def move_to(self, parameters: Array) -> None:
        """Set the parameters; the contrast stays within the bounds."""
        self.network.move_to(parameters[:-1])
        self.contrast = float(np.clip(self.first_contrast * (1 + parameters[-1] / CONTRAST_SCALE), *self._limits))

    def log_model(self) -> Array:
        """Return log m of the nodes where it may change, (n_active,)."""
        return log_mean(self._log_model_in_cells(self._share(self.network.raw_change())))

    def _log_model_in_cells(self, share: Array) -> Array:
        return np.asarray(self._log_start + self.contrast * share)

    def model(self) -> Array:
        """Return m on all nodes, (n_x, n_y)."""
        flat = self._start.ravel().copy()
        flat[self.active] = np.exp(self.log_model())
        return np.asarray(flat.reshape(self._start.shape))

    def jacobian(self) -> Array:
        """Return d log m / d parameters, (n_active, n_parameters + 1)."""
        share = self._share(self.network.raw_change())
        parts = shares_of_mean(self._log_model_in_cells(share))
        slopes = self.network.raw_slopes(parts * self.contrast * share * (1 - share) * SHARPNESS / self.half)
        level = np.sum(parts * share, axis=0) * self.first_contrast / CONTRAST_SCALE
        return np.concatenate([slopes, level[:, None]], axis=1)

    def log_model_at(self, points: Array, start: Array) -> Array:
        """Return log m at points (n, 2) where it may change, given m of the start there, (n,)."""
        return np.asarray(np.log(start) + self.contrast * self._share(self.network.raw_change_at(points)))

    def _share(self, raw: Array) -> Array:
        return np.asarray(expit(SHARPNESS * (raw / self.half - 1)))
