"""SEG-Y: traces with their geometry, through segyio (the extra `segy`).

Coordinates are multiplied (scalar > 0) or divided (scalar < 0) by the scalars of each trace, as the standard says; feet become metres. A file whose
headers hold no coordinates is refused: a guessed geometry would invert to a wrong medium.

Reference: SEG (2002), SEG-Y revision 1; bytes 69 to 90 and 109 of the trace header.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ProblemError

from .gathers import TimeGathers

Array = NDArray[Any]

FOOT = 0.3048
_FEET = 2
_LENGTHS = (0, 1)
_MICROSECONDS, _MILLISECONDS = 1e-6, 1e-3


def _segyio() -> Any:
    try:
        import segyio  # type: ignore[import-not-found,import-untyped,unused-ignore] # an optional library
    except ImportError as error:
        raise ProblemError("SEG-Y files are read through segyio, which is not installed: pip install pinnsiren[segy]") from error
    return segyio


def read_segy_gathers(
    path: str | Path, *, plane: str = "xz", sources: ArrayLike | None = None, receivers: ArrayLike | None = None
) -> TimeGathers:
    """Read shots; traces of one source position make one shot, in the order of the file.

    Args:
        path: of the file.
        plane: `"xz"` takes x and depth, `"xy"` both horizontal coordinates.
        sources: (n_shots, 2), metres, where the headers hold no coordinates; traces are then shot by shot.
        receivers: (n_receivers, 2) or (n_shots, n_receivers, 2), metres, with `sources`.

    Raises:
        ProblemError: segyio is absent, no coordinates, geographic ones, shots of different lengths.
    """
    segyio = _segyio()
    if plane not in ("xz", "xy"):
        raise ProblemError(f"`{path}` was read with plane={plane!r}; expected \"xz\" (x and depth) or \"xy\"")
    try:
        with segyio.open(str(path), "r", ignore_geometry=True) as file:
            traces = np.asarray(file.trace.raw[:], dtype=float)
            interval = float(segyio.tools.dt(file, fallback_dt=0.0)) * _MICROSECONDS
            header = {name: np.asarray(file.attributes(getattr(segyio.TraceField, name))[:], dtype=float) for name in _HEADERS}
            feet = int(file.bin[segyio.BinField.MeasurementSystem]) == _FEET
    except (OSError, RuntimeError) as error:
        raise ProblemError(f"`{path}` cannot be read as SEG-Y: {error}") from error
    if interval <= 0:
        raise ProblemError(f"`{path}` holds no sampling interval; write it into the binary header (bytes 3217-3218, microseconds)")
    start = float(header["DelayRecordingTime"][0]) * _MILLISECONDS
    if sources is not None or receivers is not None:
        return _with_given_geometry(path, traces, interval, start, sources, receivers)
    at, heard = _positions(path, header, plane, FOOT if feet else 1.0)
    return _by_shot(path, traces, interval, start, at, heard)


_HEADERS = (
    "SourceX", "SourceY", "GroupX", "GroupY", "SourceDepth", "SourceSurfaceElevation", "ReceiverGroupElevation", "SourceGroupScalar",
    "ElevationScalar", "CoordinateUnits", "DelayRecordingTime",
)  # fmt: skip


def _positions(path: Any, header: dict[str, Array], plane: str, unit: float) -> tuple[Array, Array]:
    """Source and receiver of each trace, (n_traces, 2) each, metres."""
    if not np.all(np.isin(header["CoordinateUnits"], _LENGTHS)):
        raise ProblemError(f"`{path}` holds geographic coordinates (unit {int(header['CoordinateUnits'][0])}); project them to metres first")
    horizontal = _factors(header["SourceGroupScalar"]) * unit
    vertical = _factors(header["ElevationScalar"]) * unit
    x_source, x_receiver = header["SourceX"] * horizontal, header["GroupX"] * horizontal
    if plane == "xy":
        second = header["SourceY"] * horizontal, header["GroupY"] * horizontal
    else:
        second = (header["SourceDepth"] - header["SourceSurfaceElevation"]) * vertical, -header["ReceiverGroupElevation"] * vertical
    at, heard = np.stack([x_source, second[0]], axis=-1), np.stack([x_receiver, second[1]], axis=-1)
    if np.ptp(np.concatenate([at, heard]), axis=0).max() == 0:
        raise ProblemError(
            f"`{path}` is SEG-Y without coordinates: the trace headers place every source and receiver at ({at[0, 0]:g}, {at[0, 1]:g}). Give the "
            f"geometry, "
            "read_gathers(path, sources=..., receivers=...), in metres, or write bytes 73-88 of the trace headers"
        )
    if len(np.unique(heard, axis=0)) == 1 and len(heard) > 1:
        raise ProblemError(
            f"`{path}` places all {len(heard)} receivers at one point, ({heard[0, 0]:g}, {heard[0, 1]:g}): give sources=... and receivers=..."
        )
    return at, heard


def _factors(scalars: Array) -> Array:
    """What the scalars of the headers mean: a positive one multiplies, a negative one divides, zero does nothing."""
    size = np.maximum(np.abs(scalars), 1)
    return np.where(scalars < 0, 1 / size, size)


def _by_shot(path: Any, traces: Array, interval: float, start: float, at: Array, heard: Array) -> TimeGathers:
    _, first, shot_of = np.unique(at, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    members = [np.flatnonzero(shot_of.ravel() == number) for number in order]
    counts = {len(group) for group in members}
    if len(counts) != 1:
        raise ProblemError(
            f"`{path}` holds {len(members)} shots of {min(counts)} to {max(counts)} traces; expected as many for every shot: pad with zero traces, "
            f"or read the "
            "shots one by one"
        )
    receivers = np.stack([heard[group] for group in members])
    same = bool(np.all(receivers == receivers[0]))
    return TimeGathers(
        np.stack([traces[group] for group in members]), interval, at[first[order]], receivers[0] if same else receivers, start=start
    )


def _with_given_geometry(
    path: Any, traces: Array, interval: float, start: float, sources: ArrayLike | None, receivers: ArrayLike | None
) -> TimeGathers:
    if sources is None or receivers is None:
        raise ProblemError(f"`{path}` was read with one of sources and receivers; expected both or none")
    at, heard = np.asarray(sources, dtype=float), np.asarray(receivers, dtype=float)
    if at.ndim != 2 or len(traces) != len(at) * heard.shape[-2]:
        raise ProblemError(
            f"`{path}` holds {len(traces)} traces for {len(at)} sources and {heard.shape[-2]} receivers each; expected {len(at) * heard.shape[-2]}"
        )
    return TimeGathers(traces.reshape(len(at), heard.shape[-2], -1), interval, at, heard, start=start)


def read_segy_section(path: str | Path) -> Array:
    """Return the samples of all traces, (n_traces, n_samples): a velocity model, one trace per position along x."""
    segyio = _segyio()
    try:
        with segyio.open(str(path), "r", ignore_geometry=True) as file:
            return np.asarray(file.trace.raw[:], dtype=float)
    except (OSError, RuntimeError) as error:
        raise ProblemError(f"`{path}` cannot be read as SEG-Y: {error}") from error
