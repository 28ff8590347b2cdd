"""The command line: what it prints, what it writes, how it fails."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pinnsiren.cli import app, catalogue_lines, problem_named
from pinnsiren.errors import ProblemError
from pinnsiren.problems import names

# Each takes longer to import than `list` may take; what is left, SymPy and parts of SciPy, takes one second.
SLOW_IMPORTS = ("torch", "matplotlib", "h5py")

USER_FILE = """
    import pinnsiren as ps
    import sympy as sp

    x = ps.coordinates("x")
    u = ps.field("u", x)
    exact = sp.sin(3 * x)
    number = 3


    def declare():
        return ps.Problem(
            name="mine", fields=[u], domain=ps.Interval({x: (0, 1)}), equations=[u.diff(x, 2) - exact.diff(x, 2)],
            conditions=[ps.Dirichlet(u, exact)], exact={u: exact},
        )


    problem = declare()
"""


@pytest.fixture
def user_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(USER_FILE), encoding="utf-8")
    return path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_list_names_every_problem_with_its_first_line():
    result = run("list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(names())
    assert "Helmholtz equation with a faster disc" in result.stdout


def test_the_list_is_read_without_importing_a_problem():
    code = "import sys; from pinnsiren.cli import catalogue_lines as c; c(); print([m for m in sys.modules if m.startswith('pinnsiren.problems.')])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).anchor).stdout
    assert printed.strip() == "[]"
    assert all(catalogue_lines().values())


def test_list_imports_neither_torch_nor_files_nor_figures():
    code = (
        "import sys; from typer.testing import CliRunner; from pinnsiren.cli import app; result = CliRunner().invoke(app, ['list'])\n"
        f"print(result.exit_code, len(result.stdout.splitlines()), [m for m in {SLOW_IMPORTS} if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).anchor).stdout
    assert printed.strip() == f"0 {len(names())} []"


def test_explain_prints_structure_and_method():
    result = run("explain", "helmholtz_point_source")
    assert result.exit_code == 0
    assert "structure" in result.stdout and "LeastSquares" in result.stdout


def test_an_unknown_name_lists_the_known_ones_without_a_traceback():
    result = run("explain", "helmholtz_disk")
    assert result.exit_code == 2
    assert "wave_standing" in result.stderr and "Did you mean `helmholtz_disc`?" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("attribute", ["", ":problem", ":declare"])
def test_a_problem_is_loaded_from_a_file(user_file, attribute):
    assert problem_named(f"{user_file}{attribute}").name == "mine"


def test_the_mistakes_in_naming_a_file_are_told_apart(user_file, tmp_path):
    with pytest.raises(ProblemError, match="does not exist"):
        problem_named("nowhere.py:problem")
    with pytest.raises(ProblemError, match="has no `other`; its problems are problem"):
        problem_named(f"{user_file}:other")
    with pytest.raises(ProblemError, match="`number` of the file .* is a int; expected a Problem"):
        problem_named(f"{user_file}:number")
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_this_name", encoding="utf-8")
    with pytest.raises(ProblemError, match="fails when it is read: ModuleNotFoundError"):
        problem_named(f"{broken}:problem")


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    path = folder / "mine.py"
    path.write_text(textwrap.dedent(USER_FILE), encoding="utf-8")
    result = run("solve", f"{path}:problem", "--seconds", 5, "--out", folder / "run", "--no-progress")
    return folder, path, result


def test_solve_prints_the_status_and_writes_run_and_report(solved):
    folder, _, result = solved
    assert result.exit_code == 0, result.output
    assert "status           success" in result.stdout and "estimated error" in result.stdout
    assert {"run.h5", "report.html", "report.json"} <= {path.name for path in (folder / "run").iterdir()}


def test_validate_judges_a_saved_run(solved, tmp_path):
    folder, path, _ = solved
    result = run("validate", folder / "run" / "run.h5", "--problem", f"{path}:problem", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "mine: PASS" in result.stdout and (tmp_path / "report.html").is_file()
    assert run("validate", folder / "run" / "run.h5", "--tolerance", "1e-30", "--out", tmp_path).exit_code == 1


def test_plot_draws_a_saved_run(solved, tmp_path):
    folder, _, _ = solved
    result = run("plot", folder / "run" / "run.h5", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert {"field_u.png", "residual.png"} <= {path.name for path in tmp_path.iterdir()}


def test_a_missed_tolerance_has_its_own_exit_code(user_file, tmp_path):
    result = run("solve", user_file, "--seconds", "0.3", "--tolerance", "1e-16", "--out", tmp_path, "--no-report", "--no-progress")
    assert result.exit_code == 1, result.output
    assert (tmp_path / "run.h5").is_file()


def test_a_missing_run_is_told_without_a_traceback(tmp_path):
    result = run("validate", tmp_path / "nothing.h5")
    assert result.exit_code == 2
    assert "nothing.h5" in result.stderr and "Traceback" not in result.output
