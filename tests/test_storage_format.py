"""Files come back as they were written, or not at all: damage, foreign files and failures during writing are named."""

import json
import os

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pinnsiren import storage_format
from pinnsiren.errors import StorageError
from pinnsiren.storage_format import read_file, write_atomically

ARRAYS = {
    "real": np.linspace(0, 1, 7).reshape(7, 1),
    "single": np.float32([1.5, -0.0]),
    "big endian": np.array([1.0, 2.0], dtype=">f8"),
    "complex": np.array([[1 + 2j, -3j]]),
    "complex single": np.array([1 + 2j], dtype=np.complex64),
    "integer": np.array([2**62, -1]),
    "bool": np.array([[True, False], [False, True]]),
    "0-d": np.array(3.25),
    "0-d complex": np.array(1j),
    "0-d bool": np.array(True),
    "empty": np.zeros((0, 3)),
    "empty complex": np.zeros((2, 0), dtype=complex),
    "not finite": np.array([np.nan, np.inf, -np.inf]),
    "text": np.array([["x-", "Größe"], ["", "a\0b"]]),
    "empty text": np.array([], dtype=str),
    "not contiguous": np.arange(12.0).reshape(3, 4)[:, ::2],
}
RECORD = {
    "text": "Laplace ∇² \0 \n", "empty": "", "int": -(2**70), "float": 0.1, "yes": True, "no": False, "nothing": None,
    "list": [1, [2.5, None], "a", {"b": []}],
    "record": {"a": {"b": 1}}, "empty record": {}, "network": {"layers.0.weight": np.eye(2), "width": 64, "inner": {"deep": {"bias": np.zeros(2)}}},
}  # fmt: skip


def assert_same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert set(found) == set(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, np.ndarray):
        assert found.shape == expected.shape and found.dtype.kind == expected.dtype.kind
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "run.h5"
    write_atomically(path, {"problem": {"name": "disc"}, "weights": np.arange(5.0), "nested": {"a": np.ones(3), "steps": 7}}, "solution")
    return path


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_back_with_its_dtype_and_shape(tmp_path, name):
    path = tmp_path / "a.h5"
    write_atomically(path, {"array": ARRAYS[name]}, "checkpoint")
    found = read_file(path, "checkpoint")["array"]
    assert_same(found, ARRAYS[name])
    assert name in ("text", "empty text") or found.dtype == ARRAYS[name].dtype


@given(hnp.arrays(st.sampled_from(["f8", "f4", "c16", "i8", "u1", "?"]), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
def test_any_numeric_array_comes_back_bit_by_bit(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("arrays") / "a.h5"
    write_atomically(path, {"array": array}, "solution")
    found = read_file(path, "solution")["array"]
    assert found.dtype == array.dtype and found.shape == array.shape and found.tobytes() == array.tobytes()


def test_records_come_back(tmp_path):
    write_atomically(tmp_path / "r.h5", RECORD, "solution")
    assert_same(read_file(tmp_path / "r.h5", "solution"), RECORD)


def test_tuples_and_numpy_scalars_come_back_in_the_types_of_json(tmp_path):
    write_atomically(tmp_path / "r.h5", {"pair": (1, 2), "scalar": np.float32(0.5), "flag": np.bool_(True)}, "solution")
    assert read_file(tmp_path / "r.h5", "solution") == {"pair": [1, 2], "scalar": 0.5, "flag": True}


def test_the_root_says_what_the_file_is(written):
    with h5py.File(written) as file:
        assert file.attrs["format"] == b"pinnsiren" and file.attrs["format_version"] == 1
        assert file.attrs["kind"] == b"solution" and file.attrs["package_version"]
        assert json.loads(file["problem"][()]) == {"name": "disc"}


@pytest.mark.parametrize(
    "groups",
    [
        {"a/b": 1}, {"": 1}, {"..": 1}, {"a\0": np.ones(2)}, {1: 2}, {"a": {1: 2}}, {"a": object()}, {"a": 1j}, {"a": [np.ones(2)]},
        {"a": np.array([object()])}, {"a": np.array([b"x"])}, {"a": np.zeros(2, "M8[s]")}, {"a": {"x": np.ones(2), "y": {1, 2}}},
    ],
    ids=lambda content: None,
)  # fmt: skip
def test_what_the_format_cannot_hold_is_refused_and_the_old_file_stays(written, groups):
    before = written.read_bytes()
    with pytest.raises(StorageError, match="cannot|keys"):
        write_atomically(written, {"first": np.ones(3), **groups}, "solution")
    assert written.read_bytes() == before
    assert os.listdir(written.parent) == [written.name]


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_failure_during_writing_leaves_the_old_file_intact(written, monkeypatch, step):
    before = written.read_bytes()

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage_format.os, step, fail)
    with pytest.raises(StorageError, match="No space left.*free space"):
        write_atomically(written, {"a": 1}, "solution")
    assert written.read_bytes() == before
    assert os.listdir(written.parent) == [written.name]


def test_an_interrupt_during_writing_leaves_the_old_file_intact(written, monkeypatch):
    before = written.read_bytes()

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(storage_format, "_write_dataset", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(written, {"a": np.ones(4)}, "solution")
    assert written.read_bytes() == before
    assert os.listdir(written.parent) == [written.name]


def test_writing_replaces_the_older_file_also_behind_a_symbolic_link(written):
    link = written.parent / "link.h5"
    link.symlink_to(written)
    write_atomically(link, {"a": 2}, "solution")
    assert link.is_symlink() and read_file(written, "solution") == {"a": 2}


def test_a_missing_folder_and_an_unknown_kind_are_named(tmp_path):
    with pytest.raises(StorageError, match="absent.*does not exist; create it"):
        write_atomically(tmp_path / "absent" / "run.h5", {}, "solution")
    with pytest.raises(StorageError, match="kind `report`.*solution, checkpoint"):
        write_atomically(tmp_path / "run.h5", {}, "report")
    with pytest.raises(StorageError, match="cannot be written"):
        write_atomically(tmp_path, {}, "solution")


def test_an_absent_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "absent.h5", tmp_path):
        with pytest.raises(StorageError, match="there is no file of that name"):
            read_file(path, "solution")


@pytest.mark.parametrize("content", [b"", b"\x89HDF", b"just text", bytes(4096)])
def test_what_is_no_hdf5_file_is_named(tmp_path, content):
    path = tmp_path / "notes.h5"
    path.write_bytes(content)
    with pytest.raises(StorageError, match="notes.h5.*no HDF5 file"):
        read_file(path, "solution")


def test_a_truncated_file_is_damaged_at_every_length(written):
    content = written.read_bytes()
    for length in range(8, len(content), 97):
        written.write_bytes(content[:length])
        with pytest.raises(StorageError, match="run.h5.*(damaged|no HDF5)"):
            read_file(written, "solution")


def test_flipped_bytes_are_noticed_or_harmless(written):
    expected, content = read_file(written, "solution"), written.read_bytes()
    noticed = 0
    for position in range(0, len(content), 5):
        written.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        try:
            found = read_file(written, "solution")
        except StorageError:
            noticed += 1
        else:
            np.testing.assert_equal(found, expected)
    assert noticed > 0.7 * len(content) / 5  # the rest is padding


def test_a_foreign_hdf5_file_is_named(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = np.ones(3)
    with pytest.raises(StorageError, match="other.h5.*another program"):
        read_file(tmp_path / "other.h5", "solution")


def changed(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def test_a_newer_version_asks_for_an_upgrade(written):
    changed(written, lambda file: file.attrs.update({"format_version": 2, "package_version": "9.1"}))
    with pytest.raises(StorageError, match="format version 2, written by pinnsiren 9.1.*upgrade"):
        read_file(written, "solution")


def test_the_wrong_kind_is_named(written):
    with pytest.raises(StorageError, match="holds a solution; expected a checkpoint"):
        read_file(written, "checkpoint")


def _cycle(file):
    file["nested"]["loop"] = file["nested"]


def _rewrite(name, value, **attributes):
    def change(file):
        kept = dict(file[name].attrs)
        del file[name]
        file[name] = value
        file[name].attrs.update({**kept, **attributes})

    return change


def _external_storage(file):
    file.create_dataset("outside", shape=(10,), dtype="u1", external=[("/etc/hostname", 0, 10)])
    file["outside"].attrs.update({"encoding": "array", "sha256": ""})


def _claimed_shape(file):
    file.create_dataset("huge", shape=(10**13,), dtype="f8", chunks=(10**6,))
    file["huge"].attrs.update({"encoding": "array", "sha256": ""})


def _nested_groups(file):
    group = file
    for _ in range(60):
        group = group.create_group("g")


DAMAGE = {
    "no version": lambda file: file.attrs.__delitem__("format_version"),
    "version of text": lambda file: file.attrs.update({"format_version": "one"}),
    "version zero": lambda file: file.attrs.update({"format_version": 0}),
    "no kind": lambda file: file.attrs.__delitem__("kind"),
    "other values": lambda file: file["weights"].write_direct(np.zeros(5)),
    "no encoding": lambda file: file["weights"].attrs.__delitem__("encoding"),
    "no hash": lambda file: file["weights"].attrs.__delitem__("sha256"),
    "array as text": lambda file: file["weights"].attrs.update({"encoding": "json"}),
    "text as array": lambda file: file["problem"].attrs.update({"encoding": "array"}),
    "unknown encoding": lambda file: file["problem"].attrs.update({"encoding": "pickle"}),
    "soft link": lambda file: file.__setitem__("soft", h5py.SoftLink("/weights")),
    "external link": lambda file: file.__setitem__("far", h5py.ExternalLink("/etc/hostname", "/a")),
    "cycle": _cycle,
    "second name": lambda file: file.__setitem__("again", file["weights"]),
    "reference": _rewrite("weights", np.array([1], dtype=object).astype("S8")),
    "external storage": _external_storage,
    "claimed shape": _claimed_shape,
    "named type": lambda file: file.__setitem__("type", np.dtype("f8")),
    "groups without end": _nested_groups,
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named_with_the_path(written, case):
    changed(written, DAMAGE[case])
    with pytest.raises(StorageError, match="run.h5.*damaged"):
        read_file(written, "solution")


def test_json_nested_without_end_is_damage(written):
    deep = b"[" * 100_000 + b"]" * 100_000
    changed(written, _rewrite("problem", np.array(deep), sha256=storage_format._content_digest(np.array(deep))))
    with pytest.raises(StorageError, match="damaged"):
        read_file(written, "solution")
