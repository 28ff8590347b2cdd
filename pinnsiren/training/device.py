"""Devices and precisions: names checked before a run, so that an absent one is an error at once and not at the first step."""

import logging
from typing import Any

import torch

from pinnsiren.errors import ProblemError, TrainingError
from pinnsiren.networks import Siren
from pinnsiren.networks.split_products import why_no_tf32

PRECISIONS = ("auto", "float64", "float32", "3xtf32")
WITHOUT_NETWORK = "the method trains no network, and its linear systems need every digit"

_log = logging.getLogger(__name__)


def resolve_device(name: str) -> str:
    """Return the torch device name for a user's choice; `"auto"` takes CUDA where torch sees it.

    Raises:
        ProblemError: no device name.
        TrainingError: CUDA was asked for and torch sees none.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError as error:
        raise ProblemError(f"device=\"{name}\" is unknown; expected \"auto\", \"cpu\" or \"cuda\"") from error
    if kind not in ("cpu", "cuda"):
        raise ProblemError(f"device=\"{name}\" is not supported; expected \"auto\", \"cpu\" or \"cuda\"")
    if kind == "cuda" and not torch.cuda.is_available():
        raise TrainingError(f"device=\"{name}\" was asked for and torch sees no CUDA device; use device=\"cpu\", or install a CUDA build of torch")
    return name


def resolve_precision(precision: str, device: str, network: Any) -> str:
    """Return what a run computes in; where that is not what was asked for, the reason is logged.

    Without a network everything is `"float64"`: least squares on features, marches and grid solvers lose all but a few digits below. `"3xtf32"`,
    float32 numbers whose products between sine layers run on TF32 tensor cores, is plain `"float32"` where there are no such products, or where the
    device has no TF32 or loses digits by it. Others stay.

    Args:
        precision: one of `PRECISIONS`.
        device: name from `resolve_device`.
        network: record of the network that is trained, or None.
    """
    if network is None and precision != "float64":
        _log.warning("precision=\"%s\" runs as \"float64\": %s", precision, WITHOUT_NETWORK)
        return "float64"
    if precision != "3xtf32":
        return precision
    if isinstance(network, Siren) and network.depth > 1:
        reason = why_no_tf32(torch.device(device))
    else:
        reason = "only products between two sine layers of a Siren are split, and this run trains none"
    if reason is None:
        return precision
    _log.warning("precision=\"3xtf32\" runs as \"float32\": %s", reason)
    return "float32"


def torch_version() -> str:
    """Return the version of torch."""
    return str(torch.__version__)
