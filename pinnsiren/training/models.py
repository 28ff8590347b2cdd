"""Fitted models out of their stored states."""

from typing import Any

import numpy as np
import torch

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import StorageError
from pinnsiren.training.feature_model import feature_model_from_state
from pinnsiren.training.joint_model import joint_model_from_state
from pinnsiren.training.method import FittedModel, StateTree
from pinnsiren.training.network_model import NetworkModel, load_parameters
from pinnsiren.training.network_problem import NetworkProblem


def model_from_state(compiled: CompiledProblem, network: Any, state: StateTree) -> FittedModel:
    """Rebuild a model.

    Raises:
        StorageError: an unknown kind of model.
    """
    kind = state["kind"]
    if kind == "features":
        return feature_model_from_state(compiled, state)
    if kind == "joint":
        return joint_model_from_state(compiled, state)
    if kind == "network":
        problem = NetworkProblem(compiled, torch.device("cpu"), torch.float64)
        module = network.build(problem.n_inputs, problem.n_outputs, seed=0, dtype=torch.float64, device="cpu")
        load_parameters(module, state["parameters"])
        return NetworkModel(problem, module, torch.as_tensor(np.asarray(state["unknowns"])))
    raise StorageError(f"the file holds a model of kind `{kind}`; this version knows features, joint and networks. Upgrade pinnsiren")
