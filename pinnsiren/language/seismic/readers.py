"""Readers by the ending of a file: velocity models and gathers.

Input: a path. Output: `VelocityModel`, `TimeGathers` or `FrequencyGathers`, in metres, seconds, Hz and m/s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ProblemError

from .array_files import HDF5, SEGY, hdf5_library, one_number, picked, read_arrays
from .gathers import FrequencyGathers, TimeGathers
from .segy_files import read_segy_gathers, read_segy_section
from .velocity import VelocityModel

Array = NDArray[Any]

_MODELS = ("vp", "v", "c", "velocity", "speed", "array")
_SPACINGS = (("dx", "hx", "h", "spacing"), ("dz", "hz", "dy", "h", "spacing"))
_UNITS = {"m/s": 1.0, "km/s": 1000.0}
_NAMES = ("traces", "values", "interval", "frequencies", "sources", "receivers", "start", "wavelet", "noise")


def read_model(
    path: str | Path,
    *,
    values: str | None = None,
    spacing: float | tuple[float, float] | None = None,
    origin: tuple[float, float] = (0.0, 0.0),
    axes: str = "xz",
    unit: str = "m/s",
    shape: tuple[int, int] | None = None,
) -> VelocityModel:
    """Read a velocity model.

    Args:
        path: of a .mat, .npy, .npz, HDF5 or SEG-Y file.
        values: name of the array; None where only one carries a usual name (vp, v, c, velocity, speed).
        spacing: metres between nodes; None reads dx and dz (or dy, h, spacing) of the file.
        origin: position of the first node, metres.
        axes: `"xz"` for arrays (n_x, n_z), `"zx"` for depth first.
        unit: `"m/s"` or `"km/s"`.
        shape: (n_x, n_z) that is expected; a model with exchanged axes is then told.

    Raises:
        ProblemError: what is missing or in another unit; the message lists what the file holds.
    """
    if unit not in _UNITS or axes not in ("xz", "zx"):
        raise ProblemError(f"`{path}` was read with unit={unit!r}, axes={axes!r}; expected \"m/s\" or \"km/s\", and \"xz\" or \"zx\"")
    arrays: dict[str, Array] = {}
    if isinstance(path, str | Path) and Path(path).suffix.lower() in SEGY:
        section = read_segy_section(path)
    else:
        arrays = read_arrays(path)
        section = picked(arrays, values, _MODELS, "a velocity model", path)
    steps = spacing if spacing is not None else _spacing(arrays, path)
    model = VelocityModel((section.T if axes == "zx" else section) * _UNITS[unit], steps, origin)  # type: ignore[arg-type]
    if shape is not None:
        model.check_shape(shape)
    return model


def _spacing(arrays: Mapping[str, Array], path: Any) -> tuple[float, float]:
    found = []
    for names in _SPACINGS:
        name = next((name for name in names if name in arrays and arrays[name].size == 1), None)
        if name is None:
            raise ProblemError(f"`{path}` holds no spacing ({', '.join(names)}); give spacing=..., in metres")
        found.append(float(arrays[name].ravel()[0]))
    return found[0], found[1]


def read_gathers(
    path: str | Path, *, names: Mapping[str, str] | None = None, sources: ArrayLike | None = None, receivers: ArrayLike | None = None, **segy: Any
) -> TimeGathers | FrequencyGathers:
    """Read traces with their geometry.

    Files of arrays hold `traces` (n_shots, n_receivers, n_samples) with `interval`, or `values` (n_frequencies, n_shots, n_receivers) with
    `frequencies`; `sources`, `receivers`, and if known `start`, `wavelet`, `noise`.

    Args:
        path: of a .mat, .npz, HDF5 or SEG-Y file.
        names: what the arrays are called in the file where they are called otherwise, such as {"values": "rec_val"}.
        sources, receivers: positions in metres where the file holds none.
        segy: `plane` of a SEG-Y file.

    Raises:
        ProblemError: what is missing, or does not belong together.
    """
    if isinstance(path, str | Path) and Path(path).suffix.lower() in SEGY:
        return read_segy_gathers(path, sources=sources, receivers=receivers, **segy)
    arrays = read_arrays(path)
    called = {name: name for name in _NAMES} | dict(names or {})
    unknown = set(called) - set(_NAMES)
    if unknown or segy:
        raise ProblemError(f"read_gathers was given {', '.join(sorted({*unknown, *segy}))} for `{path}`; known are {', '.join(_NAMES)}")
    absent = [label for label in dict(names or {}).values() if label not in arrays]
    if absent:
        raise ProblemError(f"`{path}` holds no {', '.join(f'`{label}`' for label in absent)}; it holds {', '.join(sorted(arrays))}")
    found = {name: arrays[label] for name, label in called.items() if label in arrays}
    found |= {name: np.asarray(given) for name, given in (("sources", sources), ("receivers", receivers)) if given is not None}
    kind = "traces" if "traces" in found else "values"
    needed = (kind, "interval" if kind == "traces" else "frequencies", "sources", "receivers")
    missing = [name for name in needed if name not in found]
    if missing:
        raise ProblemError(
            f"`{path}` lacks {', '.join(missing)}; it holds {', '.join(sorted(arrays))}. Say what they are called, names={{\"{missing[0]}\": ...}}, "
            f"or give "
            "sources=... and receivers=..."
        )
    if kind == "values":
        return FrequencyGathers(found["frequencies"].ravel(), found["values"], found["sources"], found["receivers"], found.get("noise"))
    wavelet = found.get("wavelet")
    start = one_number(found["start"], "a start", path) if "start" in found else 0.0
    interval = one_number(found["interval"], "an interval", path)
    return TimeGathers(found["traces"], interval, found["sources"], found["receivers"], start, None if wavelet is None else wavelet.ravel())


def write_gathers(path: str | Path, gathers: TimeGathers | FrequencyGathers) -> None:
    """Write gathers as .npz or HDF5, as `read_gathers` reads them.

    Raises:
        ProblemError: another ending.
    """
    record = {name: np.asarray(getattr(gathers, name)) for name in _NAMES if getattr(gathers, name, None) is not None}
    suffix = Path(path).suffix.lower()
    if suffix == ".npz":
        np.savez(path, **record)  # type: ignore[arg-type]
    elif suffix in HDF5:
        with hdf5_library().File(path, "w") as file:
            for name, array in record.items():
                file[name] = array
    else:
        raise ProblemError(f"gathers were to be written to `{path}`; expected .npz or {' or '.join(HDF5)}")
