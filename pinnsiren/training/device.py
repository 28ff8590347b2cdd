"""Devices: names checked before a run, so that an absent one is an error at once and not at the first step."""

import torch

from pinnsiren.errors import ProblemError, TrainingError


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


def torch_version() -> str:
    """Return the version of torch."""
    return str(torch.__version__)
