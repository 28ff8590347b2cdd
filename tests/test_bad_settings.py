"""Settings, files and commands that cannot work are refused with the remedy, and nothing in a file is run."""

import h5py
import numpy as np
import pytest
import sympy as sp
import torch
from typer.testing import CliRunner

import pinnsiren as ps
from pinnsiren.cli import app
from pinnsiren.storage_format import FORMAT_VERSION, write_atomically

X = ps.coordinates("x")
U = ps.field("u", X)


def line(source=0):
    return ps.Problem(
        name="line", fields=[U], domain=ps.Interval({X: (0, 1)}), equations=[sp.Eq(U.diff(X, 2), source)], conditions=[ps.Dirichlet(U, X)]
    )


PROBLEM = line()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"seconds": 0}, ps.ProblemError, "seconds=0 was given; expected a positive number"),
        ({"seconds": float("nan")}, ps.ProblemError, "seconds=nan"),
        ({"seconds": "60"}, ps.ProblemError, "seconds='60'"),
        ({"tolerance": -1e-3}, ps.ProblemError, "tolerance=-0.001 was given"),
        ({"device": "gpu"}, ps.ProblemError, 'device="gpu" is unknown; expected "auto", "cpu" or "cuda"'),
        ({"device": None}, ps.ProblemError, "device=None was given"),
        ({"precision": "float16"}, ps.ProblemError, 'precision="float16" is unknown; expected one of'),
        ({"formulation": "weak"}, ps.ProblemError, 'formulation="weak" is unknown; expected one of'),
        ({"seed": -1}, ps.ProblemError, "seed=-1 was given; expected a whole number"),
        ({"seed": 1.5}, ps.ProblemError, "seed=1.5"),
        ({"method": "LeastSquare"}, ps.UnknownNameError, "`LeastSquare` is unknown; known are LeastSquares, "),
        ({"method": ps.LeastSquares}, ps.ProblemError, "is no method record; expected .*such as LeastSquares()"),
        ({"network": "Sirene"}, ps.UnknownNameError, "`Sirene` is unknown; known are Siren, "),
        ({"network": 3}, ps.ProblemError, "network=3 is no network record; expected for instance Siren"),
        ({"network": ps.Siren(8, 1), "method": ps.LeastSquares()}, ps.ProblemError, "LeastSquares, which trains no network"),
        ({"plan": "auto"}, ps.ProblemError, r"plan='auto' is no plan; expected None, or what plan\(problem\) returned"),
        ({"plan": ps.plan(line(1))}, ps.ProblemError, r"problem `line` needs a plan of its own: plan\(problem\)"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        ps.solve(PROBLEM, progress=False, **settings)


@pytest.mark.parametrize("ask", [ps.solve, ps.plan])
def test_what_is_no_problem_is_not_solved(ask):
    with pytest.raises(ps.ProblemError, match="`'poisson_box'` is no problem; expected a Problem"):
        ask("poisson_box")


def test_a_missing_cuda_device_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ps.TrainingError, match='device="cuda" was asked for and torch sees no CUDA device; use device="cpu"'):
        ps.solve(PROBLEM, device="cuda", progress=False)
    result = CliRunner().invoke(app, ["solve", "poisson_box", "--device", "cuda"])
    assert result.exit_code == 2 and "torch sees no CUDA device" in result.stderr


@pytest.mark.parametrize("settings", [{"width": 0}, {"depth": -1}, {"omega_0": 0}], ids=str)
def test_a_network_without_size_is_refused(settings):
    ((name, value),) = settings.items()
    with pytest.raises(ps.ProblemError, match=f"Siren was given `{name}={value}`; expected a"):
        ps.Siren(**settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run.h5"
    ps.solve(PROBLEM, seconds=2, progress=False).save(path)
    return path


def damaged(run, path):
    content = bytearray(run.read_bytes())
    content[len(content) // 2 :] = b""
    path.write_bytes(content)


def foreign(run, path):
    with h5py.File(path, "w") as file:
        file["pressure"] = np.zeros(3)


def newer(run, path):
    path.write_bytes(run.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = FORMAT_VERSION + 1


def without_a_part(run, path):
    write_atomically(path, {"declaration": {"tree": {}, "arrays": {}}}, "solution")


def no_hdf5(run, path):
    path.write_text("import os; os.abort()", encoding="utf-8")


def checkpoint(run, path):
    write_atomically(path, {"state": np.zeros(3)}, "checkpoint")


def absent(run, path):
    pass


FILES = {
    damaged: "is damaged or truncated",
    foreign: 'is an HDF5 file of another program: it says no format="pinnsiren"',
    newer: f"has format version {FORMAT_VERSION + 1}, .*upgrade pinnsiren",
    without_a_part: "is damaged",
    no_hdf5: "is no HDF5 file",
    checkpoint: "holds a checkpoint; expected a solution",
    absent: "there is no file of that name; check the path",
}


@pytest.mark.parametrize("spoil", FILES, ids=lambda spoil: spoil.__name__)
def test_a_file_that_is_no_run_is_named(run, tmp_path, spoil):
    path = tmp_path / "bad.h5"
    spoil(run, path)
    with pytest.raises(ps.StorageError, match=f"bad.h5` .*{FILES[spoil]}"):
        ps.load(path)
    for command in ("validate", "plot"):
        result = CliRunner().invoke(app, [command, str(path)])
        assert result.exit_code == 2 and "bad.h5" in result.stderr and "Traceback" not in result.output


def test_a_run_is_not_saved_where_no_folder_is(run, tmp_path):
    with pytest.raises(ps.StorageError, match="the folder .* does not exist; create it first"):
        ps.load(run).save(tmp_path / "nowhere" / "run.h5")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", "helmholtz_disk"], "problem `helmholtz_disk` is not in the catalogue; known are .* Did you mean `helmholtz_disc`?"),
        (["solve", "nothing"], "known are .*bump_nonlinear, .*wave_standing"),
        (["solve", "nowhere.py:problem"], "the file `nowhere.py` does not exist"),
        (["solve", "poisson_box", "--method", "Newton"], "`Newton` is unknown; known are LeastSquares"),
        (["solve", "poisson_box", "--seconds", "-1"], "seconds=-1.0 was given; expected a positive number"),
        (["solve", "poisson_box", "--precision", "half"], 'precision="half" is unknown'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_that_cannot_work_ends_with_a_message(arguments, message):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and "Traceback" not in result.output
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(result.stderr.replace("\n", " "))
