"""Named arrays of MATLAB, NumPy and HDF5 files.

Input: a path. Output: a dictionary of numeric arrays. Nothing is unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from pinnsiren.errors import ProblemError

Array = NDArray[Any]

MATLAB, NUMPY, HDF5 = (".mat",), (".npy", ".npz"), (".h5", ".hdf5")
SEGY = (".sgy", ".segy")
_NUMERIC = "fciub"


def read_arrays(path: str | Path) -> dict[str, Array]:
    """Return the numeric arrays of a file by name; the one of a .npy file is called `array`, those in HDF5 groups `group/name`.

    Raises:
        ProblemError: no such file, another kind of file, or one without arrays.
    """
    if not isinstance(path, str | Path):
        raise ProblemError(f"path={path!r} was given; expected the path of a file")
    file = Path(path)
    if not file.is_file():
        raise ProblemError(f"there is no file `{file}`; give the path of a file that exists")
    suffix = file.suffix.lower()
    if suffix in SEGY:
        raise ProblemError(f"`{file}` is a SEG-Y file, which holds traces and no named arrays: use read_gathers or read_model")
    if suffix not in MATLAB + NUMPY + HDF5:
        raise ProblemError(f"`{file}` ends in `{suffix}`; known are {', '.join(MATLAB + NUMPY + HDF5)} for arrays and {', '.join(SEGY)} for traces")
    try:
        found = _matlab(file) if suffix in MATLAB else _numpy(file) if suffix in NUMPY else _hdf5(file)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, MatReadError) as error:
        raise ProblemError(f"`{file}` cannot be read as {suffix}: {error}") from error
    arrays = {name: array for name, array in found.items() if array.dtype.kind in _NUMERIC}
    if not arrays:
        raise ProblemError(f"`{file}` holds no numeric arrays")
    return arrays


def one_number(value: Any, what: str, path: Any) -> float:
    """Return the number that an array of one entry holds.

    Raises:
        ProblemError: no number, several, or a complex one.
    """
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "fiu":
        raise ProblemError(f"`{path}` holds {what} of shape {array.shape} and type {array.dtype}; expected one real number")
    return float(array.ravel()[0])


def picked(arrays: dict[str, Array], wanted: str | None, known: tuple[str, ...], what: str, path: Any) -> Array:
    """Return the array named by the user, or the only one of the known names.

    Raises:
        ProblemError: none, or several; the names that the file holds are listed.
    """
    shapes = ", ".join(f"`{name}` {array.shape}" for name, array in sorted(arrays.items()))
    if wanted is not None:
        if wanted not in arrays:
            raise ProblemError(f"`{path}` holds no `{wanted}` for {what}; it holds {shapes}")
        return arrays[wanted]
    names = [name for name in arrays if name.rsplit("/", 1)[-1].lower() in known]
    if len(names) != 1:
        raise ProblemError(f"`{path}` names {len(names)} arrays as {what} ({', '.join(known)}); say which of {shapes} it is")
    return arrays[names[0]]


def _matlab(file: Path) -> dict[str, Array]:
    try:
        record = loadmat(file)
    except NotImplementedError:
        # Version 7.3 is HDF5 with the axes reversed.
        return {name: array.T for name, array in _hdf5(file).items() if not name.startswith("#")}
    return {name: np.asarray(value) for name, value in record.items() if not name.startswith("__") and isinstance(value, np.ndarray)}


def _numpy(file: Path) -> dict[str, Array]:
    if file.suffix.lower() == ".npz" and not is_zipfile(file):
        raise ValueError("it is damaged, or of another kind")
    with open(file, "rb") as stream:
        content = np.load(stream, allow_pickle=False)
        return {"array": content} if isinstance(content, np.ndarray) else {name: content[name] for name in content.files}


def hdf5_library() -> Any:
    """Return h5py.

    Raises:
        ProblemError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise ProblemError("HDF5 files are read and written through h5py, which is not installed: pip install h5py") from error
    return h5py


def _hdf5(file: Path) -> dict[str, Array]:
    found: dict[str, Array] = {}
    library = hdf5_library()

    def visit(name: str, item: Any) -> None:
        if isinstance(item, library.Dataset) and item.dtype.kind in _NUMERIC + "V":
            values = np.asarray(item[()])
            # MATLAB keeps complex numbers as records of two.
            found[name] = values["real"] + 1j * values["imag"] if values.dtype.names == ("real", "imag") else values

    with library.File(file, "r") as content:
        content.visititems(visit)
    return found
