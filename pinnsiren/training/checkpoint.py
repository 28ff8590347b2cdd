"""Checkpoints: everything that a run needs to continue as if it had not been stopped.

Written atomically, read back only for the run that they belong to: declaration, rewrites, charts, method, network, seed and precision must match.
"""

import hashlib
from pathlib import Path
from typing import Any

from pinnsiren.errors import TrainingError
from pinnsiren.storage_format import hdf5_library, read_file, write_atomically
from pinnsiren.training.method import StateTree

KIND = "checkpoint"


def fingerprint(**parts: Any) -> dict[str, str]:
    """Return a text per part; long ones as a hash. Representations of the records are deterministic."""
    texts = {name: part if isinstance(part, str) else repr(part) for name, part in parts.items()}
    return {name: text if len(text) < 200 else hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def write_checkpoint(path: str | Path, prints: dict[str, str], state: StateTree, history: dict[str, list[float]], elapsed: float) -> None:
    """Write a checkpoint; an interrupted write leaves the last one intact."""
    write_atomically(path, {"fingerprint": dict(prints), "state": state, "history": dict(history), "elapsed": elapsed}, KIND)


def read_checkpoint(path: str | Path, prints: dict[str, str]) -> tuple[StateTree, dict[str, list[float]], float] | None:
    """Return (state, history, seconds used), or None when there is no file yet.

    Raises:
        TrainingError: the checkpoint belongs to another run; the message names what differs.
        StorageError: the file is damaged or foreign, or h5py is not installed.
    """
    hdf5_library()  # a run that could not write its first checkpoint would be found out too late
    if not Path(path).exists():
        return None
    content = read_file(path, KIND)
    stored = content["fingerprint"]
    different = [name for name in prints if stored.get(name) != prints[name]]
    if different:
        raise TrainingError(
            f"the checkpoint `{path}` belongs to another run: {', '.join(different)} differ"
            f"{'s' if len(different) == 1 else ''}. Use the settings of that run, or another checkpoint path"
        )
    history = {name: [float(value) for value in values] for name, values in content["history"].items()}
    return content["state"], history, float(content["elapsed"])
