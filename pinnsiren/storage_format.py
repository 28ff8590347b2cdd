"""The file format below solutions and checkpoints: nested records and NumPy arrays in HDF5, written atomically and read with suspicion.

Input and output: a nested dictionary of arrays, text, numbers, booleans, None, lists and further dictionaries. A dictionary that holds an array
somewhere becomes an HDF5 group, an array a dataset, everything else JSON text; each dataset carries the SHA-256 of its content. The root says
`format`, `format_version`, `kind` and `package_version`. Nothing in a file is executed, no link leads out of it, and what does not fit is a
`StorageError` that names the path.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.errors import StorageError

if TYPE_CHECKING:
    import h5py

FORMAT = "pinnsiren"
FORMAT_VERSION = 1
KINDS = ("solution", "checkpoint")
NUMERIC_KINDS = "biufc"
# Headers of HDF5 1.10 carry checksums, so that damage is an error. Text of variable length, attributes included, would stand outside them: a damaged
# byte there sends the library into an endless loop or a crash, so that all text has fixed length.
LIBRARY_VERSIONS = ("v110", "v110")
MAX_DEPTH = 50  # groups within groups; the files of the package stay below ten


def hdf5_library() -> Any:
    """Return h5py, which a machine that solves and saves nothing can do without.

    Raises:
        StorageError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise StorageError("solutions and checkpoints are kept in HDF5 through h5py, which is not installed: pip install h5py") from error
    return h5py


def write_atomically(path: str | os.PathLike[str], groups: Mapping[str, Any], kind: str) -> None:
    """Write a file that appears complete or not at all; an older file of that name stays intact when anything fails.

    Args:
        path: the file; a symbolic link is followed.
        groups: what to write. Arrays may be real, complex, integer, boolean or text, of any shape, 0-d and empty included; tuples come back as lists.
        kind: `"solution"` or `"checkpoint"`.

    Raises:
        StorageError: a value that the format cannot hold, a folder that does not exist, a disk that is full.
    """
    library = hdf5_library()
    if kind not in KINDS:
        raise StorageError(f"a file of kind `{kind}` was asked for; expected one of {', '.join(KINDS)}")
    target = Path(path).resolve()
    if not target.parent.is_dir():
        raise StorageError(f"`{path}` cannot be written: the folder `{target.parent}` does not exist; create it first")
    # In the same folder, since a file can replace another one atomically only within one file system.
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    try:
        with library.File(temporary, "x", libver=LIBRARY_VERSIONS) as file:
            header = {"format": FORMAT, "kind": kind, "package_version": package_version()}
            file.attrs.update({"format_version": FORMAT_VERSION, **{name: np.bytes_(value) for name, value in header.items()}})
            _write_group(file, groups, "")
        _flush_to_disk(temporary)
        os.replace(temporary, target)
    except (OSError, RuntimeError) as error:
        raise StorageError(f"`{path}` cannot be written: {error}; check the free space and the permissions of its folder") from error
    finally:
        temporary.unlink(missing_ok=True)


def read_file(path: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """Return what `write_atomically` wrote.

    Raises:
        StorageError: no such file, a file that is damaged or foreign, of a newer version, or of another kind.
    """
    library = hdf5_library()
    if not Path(path).is_file():
        raise StorageError(f"`{path}` cannot be read: there is no file of that name; check the path")
    with _damage_named(path):
        if not library.is_hdf5(path):
            raise StorageError(f"`{path}` is no HDF5 file, or its beginning is damaged; expected a file that pinnsiren wrote")
        with library.File(path, "r") as file:
            _check_header(path, file, kind)
            return _read_group(file, {_address(file)}, 0)


def package_version() -> str:
    """Return the version of the installed package, which a file keeps so that an upgrade can be named."""
    try:
        return importlib.metadata.version("pinnsiren")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_group(group: h5py.Group, entries: Mapping[str, Any], place: str) -> None:
    for name, value in entries.items():
        where = f"{place}/{name}"
        if not isinstance(name, str) or not name or "/" in name or "\0" in name or name in (".", ".."):
            raise StorageError(f"the name `{name!r}` below `{place or '/'}` cannot stand in a file; expected text without `/`")
        if isinstance(value, Mapping) and _holds_array(value):
            _write_group(group.create_group(name, track_order=True), value, where)
        elif isinstance(value, np.ndarray) and value.dtype.kind in NUMERIC_KINDS:
            _write_dataset(group, name, value, "array")
        elif isinstance(value, np.ndarray):
            _write_text(group, name, {"shape": list(value.shape), "items": _texts(value, where)}, "text array", where)
        else:
            _write_text(group, name, value, "json", where)


def _holds_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (isinstance(value, Mapping) and any(_holds_array(part) for part in value.values()))


def _texts(array: NDArray[Any], where: str) -> list[str]:
    if array.dtype.kind != "U":
        raise StorageError(f"`{where}` is an array of dtype {array.dtype}, which files cannot hold; convert it to numbers or text")
    return [str(item) for item in array.ravel()]


def _write_text(group: h5py.Group, name: str, value: Any, encoding: str, where: str) -> None:
    try:
        encoded = json.dumps(_plain(value, where)).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise StorageError(f"`{where}` holds what files cannot hold: {error}; expected text, numbers, lists, dictionaries or arrays") from error
    _write_dataset(group, name, np.array(encoded), encoding)


def _plain(value: Any, where: str) -> Any:
    """Return the value in the types of JSON; NumPy scalars become Python's, keys that are no text are refused."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise StorageError(f"`{where}` has keys that are no text: {list(value)[:5]}; convert them")
        return {key: _plain(part, where) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part, where) for part in value]
    return value


def _write_dataset(group: h5py.Group, name: str, array: NDArray[Any], encoding: str) -> None:
    dataset = group.create_dataset(name, data=array)
    dataset.attrs.update({"encoding": np.bytes_(encoding), "sha256": np.bytes_(_content_digest(array))})


def _content_digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@contextmanager
def _damage_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Translate what HDF5, NumPy and JSON raise on a damaged file."""
    try:
        yield
    except StorageError:
        raise
    except PermissionError as error:
        raise StorageError(f"`{path}` cannot be read: {error}; ask for the permission to read it") from error
    except (OSError, LookupError, RuntimeError, TypeError, ValueError, ArithmeticError, AttributeError, MemoryError) as error:
        raise StorageError(f"`{path}` is damaged or truncated ({error}); copy it again from its source, or repeat the run") from error


def _check_header(path: str | os.PathLike[str], file: h5py.File, kind: str) -> None:
    if "format" not in file.attrs or _attribute(file, "format") != FORMAT:
        raise StorageError(f"`{path}` is an HDF5 file of another program: it says no format=\"{FORMAT}\"; expected a file that pinnsiren wrote")
    version = int(file.attrs["format_version"])
    if version > FORMAT_VERSION:
        raise StorageError(
            f"`{path}` has format version {version}, written by pinnsiren {_attribute(file, 'package_version')}; "
            f"this is pinnsiren {package_version()}, which reads versions up to {FORMAT_VERSION}: upgrade pinnsiren"
        )
    if version < 1:
        raise ValueError(f"format version {version}")
    found = _attribute(file, "kind")
    if found != kind:
        raise StorageError(f"`{path}` holds a {found}; expected a {kind}. Pass the file of a {kind}")


def _attribute(item: h5py.Group | h5py.Dataset, name: str) -> str:
    value = item.attrs[name]
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _address(item: h5py.Group | h5py.Dataset) -> int:
    return int(hdf5_library().h5o.get_info(item.id).addr)


def _read_group(group: h5py.Group, seen: set[int], depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise ValueError(f"groups nested deeper than {MAX_DEPTH}")
    library = hdf5_library()
    entries: dict[str, Any] = {}
    for name in group:
        # Soft and external links may point anywhere, also to other files of the reader.
        if not isinstance(group.get(name, getlink=True), library.HardLink):
            raise ValueError(f"`{name}` is a link")
        item = group[name]
        if not isinstance(item, (library.Group, library.Dataset)) or _address(item) in seen:
            raise ValueError(f"`{name}` is no array or record of its own")
        seen.add(_address(item))
        entries[name] = _read_group(item, seen, depth + 1) if isinstance(item, library.Group) else _read_dataset(item)
    return entries


def _read_dataset(dataset: h5py.Dataset) -> Any:
    encoding = _attribute(dataset, "encoding")
    if dataset.dtype.kind not in (NUMERIC_KINDS if encoding == "array" else "S") or dataset.is_virtual or dataset.external:
        raise ValueError(f"`{dataset.name}` has dtype {dataset.dtype} or lies outside the file")
    # Bytes that are there bound what is allocated, whatever shape a damaged header claims.
    if dataset.id.get_storage_size() != dataset.size * dataset.dtype.itemsize:
        raise ValueError(f"`{dataset.name}` is incomplete")
    array = np.asarray(dataset[()], dtype=dataset.dtype)
    if _content_digest(array) != _attribute(dataset, "sha256"):
        raise ValueError(f"the content of `{dataset.name}` has changed since it was written")
    if encoding == "array":
        return array
    value = json.loads(array.item())
    if encoding == "json":
        return value
    if encoding != "text array" or not all(isinstance(item, str) for item in value["items"]):
        raise ValueError(f"`{dataset.name}` has the unknown encoding {encoding!r}")
    return np.array(value["items"], dtype=str).reshape(value["shape"])
