"""Fitted models out of their stored states."""

from typing import Any

import numpy as np
import torch

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import StorageError
from pinnsiren.training.cell_model import cell_model_from_state
from pinnsiren.training.cosine_least_squares import cosine_model_from_state
from pinnsiren.training.feature_model import feature_model_from_state
from pinnsiren.training.first_arrivals import first_arrivals_from_state
from pinnsiren.training.joint_model import joint_model_from_state
from pinnsiren.training.joint_profile import profile_model_from_state
from pinnsiren.training.media import media_model_from_state
from pinnsiren.training.method import FittedModel, StateTree
from pinnsiren.training.network_model import NetworkModel, load_parameters
from pinnsiren.training.network_problem import NetworkProblem
from pinnsiren.training.penalty.model import penalty_model_from_state
from pinnsiren.training.reduced.model import reduced_model_from_state
from pinnsiren.training.reduced.time_model import KIND as WAVES_IN_TIME
from pinnsiren.training.reduced.time_model import time_model_from_state
from pinnsiren.training.stretched_model import stretched_model_from_state
from pinnsiren.training.wave_lattice import lattice_model_from_state
from pinnsiren.training.wave_march_model import march_model_from_state
from pinnsiren.training.wave_modes import mode_model_from_state
from pinnsiren.training.window_problem import windowed_model_from_state


def model_from_state(compiled: CompiledProblem, network: Any, state: StateTree) -> FittedModel:
    """Rebuild a model.

    Raises:
        StorageError: an unknown kind of model.
    """
    kind = state["kind"]
    if kind == "features":
        return feature_model_from_state(compiled, state)
    if kind == "cells":
        return cell_model_from_state(state)
    if kind == "cosines":
        return cosine_model_from_state(state)
    if kind == "first arrivals":
        return first_arrivals_from_state(compiled, state)
    if kind == "stretched_windows":
        return stretched_model_from_state(compiled, state)
    if kind == "lattice":
        return lattice_model_from_state(compiled, state)
    if kind == "media":
        return media_model_from_state(compiled, state)
    if kind == "modes":
        return mode_model_from_state(state)
    if kind == "march":
        return march_model_from_state(state)
    if kind == "windows":
        return windowed_model_from_state(compiled, state)
    if kind == "profile":
        return profile_model_from_state(compiled, state)
    if kind == "joint":
        return joint_model_from_state(compiled, state)
    if kind == "reduced":
        return reduced_model_from_state(compiled, state)
    if kind == WAVES_IN_TIME:
        return time_model_from_state(compiled, state)
    if kind == "penalty":
        return penalty_model_from_state(compiled, state)
    if kind == "network":
        problem = NetworkProblem(compiled, torch.device("cpu"), torch.float64)
        module = network.build(problem.n_inputs, problem.n_outputs, seed=0, dtype=torch.float64, device="cpu")
        load_parameters(module, state["parameters"])
        return NetworkModel(problem, module, torch.as_tensor(np.asarray(state["unknowns"])))
    raise StorageError(f"the file holds a model of kind `{kind}`; this version does not know it. Upgrade pinnsiren")
