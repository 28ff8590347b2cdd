"""The model of the penalty formulation: a network for the medium and a radial network of waves for the fields of every frequency.

Input: what a run ends with, or its stored state. Output: `PenaltyModel`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.ir import MultiIndex
from pinnsiren.networks import Siren
from pinnsiren.training.method import StateTree
from pinnsiren.training.penalty.declared import read_medium, read_surveys
from pinnsiren.training.penalty.medium import NetworkMedium
from pinnsiren.training.penalty.waves import Waves, place_centres

Array = NDArray[Any]

KIND = "penalty"


@dataclass(frozen=True)
class PenaltyModel:
    """Fitted medium and the fields that obey the equation in it.

    Attributes:
        compiled: the problem.
        network: record of the network.
        medium: the network behind its transform.
        waves: per frequency.
        charges: per frequency (n_centres, n_shots).
        pretrained: whether the medium started as declared.
    """

    compiled: CompiledProblem
    network: Siren
    medium: NetworkMedium
    waves: tuple[Waves, ...]
    charges: tuple[Array, ...]
    pretrained: bool

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of a field without its known part, (n_points, n_shots), or of the medium, (n_points, 1)."""
        if field_index >= len(self.waves):
            return self.medium.evaluate(points, orders)[:, None]
        waves = self.waves[field_index]
        total = waves.total(points, orders, self.charges[field_index])
        declared = total.conj() if waves.survey.conjugated else total
        return np.asarray(declared - self.compiled.known_part(field_index, points, orders))

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """No scalars."""
        return ()

    def state(self) -> StateTree:
        """Return parameters and charges; the rest follows from the declaration."""
        return {
            "kind": KIND,
            "network": {"width": self.network.width, "depth": self.network.depth, "omega_0": self.network.omega_0},
            "pretrained": int(self.pretrained),
            "initial": self.medium.initial_vector(),
            "parameters": self.medium.vector(),
            "charges": {str(index): charges for index, charges in enumerate(self.charges)},
        }


def penalty_model_from_state(compiled: CompiledProblem, state: StateTree) -> PenaltyModel:
    """Rebuild a model from its stored state."""
    declared, surveys = read_medium(compiled.original), read_surveys(compiled.original)
    centres, _ = place_centres(declared, max(survey.wavenumber for survey in surveys))
    stored = state["network"]
    network = Siren(width=int(stored["width"]), depth=int(stored["depth"]), omega_0=float(stored["omega_0"]))
    pretrained = bool(state["pretrained"])
    medium = NetworkMedium(declared, network, centres.points, 0, pretrained, initial=np.asarray(state["initial"]))
    medium.move_to(np.asarray(state["parameters"]))
    waves = tuple(Waves(survey, centres, declared.background) for survey in surveys)
    charges = tuple(np.asarray(state["charges"][str(index)]) for index in range(len(waves)))
    return PenaltyModel(compiled, network, medium, waves, charges, pretrained)
