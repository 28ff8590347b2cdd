"""Command line: `pinnsiren list | explain NAME | solve NAME | validate RUN.h5 | plot RUN.h5`; NAME may also be `file.py:problem`.

Input: arguments. Output: text, files, and an exit code: 0 for success, 1 for a run that missed its tolerance or a verdict other than "pass", 2 for
an error, which is printed without a traceback.
"""

import ast
import importlib
import importlib.util
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
    from typer.core import TyperGroup
except ImportError as error:
    missing = "pinnsiren: the command line needs typer, which is not installed: pip install typer; from Python, pinnsiren works without it"
    raise SystemExit(missing) from error

from pinnsiren.errors import PinnsirenError, ProblemError, StorageError, UnknownNameError

DEFAULT_ATTRIBUTE = "problem"
RUN_FILE = "run.h5"


class _Group(TyperGroup):
    """Commands whose deliberate errors end as a message, not as a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except PinnsirenError as error:
            typer.echo(f"pinnsiren: {error}", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=_Group, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Solve declared PDE problems and check the answers."
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A problem of the catalogue, or file.py:problem.")]
Run = Annotated[Path, typer.Argument(metavar="RUN.h5", help="A file written by `solve`.")]
Declared = Annotated[str | None, typer.Option("--problem", help="The problem, to attach exact solutions that files do not hold.")]


@app.command("list")
def list_problems() -> None:
    """List the problems of the catalogue."""
    for name, line in catalogue_lines().items():
        typer.echo(f"{name:24s}  {line}")


@app.command()
def explain(name: Name, method: Annotated[str, typer.Option(help="Name of a method.")] = "auto") -> None:
    """Print what `solve` would do with a problem, and why."""
    problem = problem_named(name)
    # Imported late, here and below: torch and the figures take seconds, which `list` and every typing error would pay.
    typer.echo(str(importlib.import_module("pinnsiren.solving").plan(problem, method=method)))


@app.command()
def solve(
    name: Name,
    seconds: Annotated[float | None, typer.Option(help="Budget, 60 by default.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Wanted relative L2 error, 1e-3 by default.")] = None,
    method: Annotated[str, typer.Option(help="Name of a method, such as LeastSquares.")] = "auto",
    network: Annotated[str | None, typer.Option(help="Name of a network, such as Siren.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float64, float32 or 3xtf32; float64 without a network.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for run.h5 and the report; out/NAME by default.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="File to resume from and to write to.")] = None,
    report: Annotated[bool, typer.Option(help="Validate and write the report.")] = True,
    progress: Annotated[bool, typer.Option(help="Show progress.")] = True,
) -> None:
    """Solve a problem, write run.h5 and a report; exit code 1 when the tolerance was not reached."""
    problem = problem_named(name)
    solution = importlib.import_module("pinnsiren.solving").solve(
        problem, method=method, network=network, tolerance=tolerance, seconds=seconds, device=device, precision=precision, seed=seed,
        progress=progress, checkpoint=checkpoint,
    )
    folder = out if out is not None else Path("out") / problem.name
    folder.mkdir(parents=True, exist_ok=True)
    solution.save(folder / RUN_FILE)
    typer.echo(f"status           {solution.status}")
    typer.echo(f"estimated error  {solution.estimated_error:.2e}")
    typer.echo(f"seconds          {solution.seconds:.1f}")
    typer.echo(f"saved            {folder / RUN_FILE}")
    if report:
        _report(solution, folder)
    raise typer.Exit(0 if solution.status.success else 1)


@app.command()
def validate(
    run: Run,
    out: Annotated[Path | None, typer.Option(help="Folder for the report; beside the run by default.")] = None,
    against: Annotated[str, typer.Option(help="auto, exact or reference.")] = "auto",
    tolerance: Annotated[float | None, typer.Option(help="Wanted relative L2 error; that of the run by default.")] = None,
    problem: Declared = None,
) -> None:
    """Compare a saved run with the exact and the grid solution; exit code 1 unless the verdict is "pass"."""
    solution = load_run(run, problem)
    passed = _report(solution, out if out is not None else run.parent, against, tolerance)
    raise typer.Exit(0 if passed else 1)


@app.command()
def plot(
    run: Run,
    out: Annotated[Path | None, typer.Option(help="Folder for the figures; beside the run by default.")] = None,
    problem: Declared = None,
) -> None:
    """Draw a saved run: fields, history, residual; beside the exact solution where one is declared."""
    solution = load_run(run, problem)
    for path in importlib.import_module("pinnsiren.validation").save_figures(solution, out if out is not None else run.parent):
        typer.echo(str(path))


def _report(solution: Any, folder: Path, against: str = "auto", tolerance: float | None = None) -> bool:
    found = importlib.import_module("pinnsiren.validation").validate(solution, against=against, tolerance=tolerance)
    typer.echo(str(found))
    typer.echo(f"report           {found.save(folder)}")
    return bool(found.passed)


def catalogue_lines() -> dict[str, str]:
    """Return name and first docstring line of every problem, without importing one: the files are parsed."""
    package = importlib.util.find_spec("pinnsiren.problems")
    folders = list(package.submodule_search_locations or []) if package is not None else []
    files = sorted(path for folder in folders for path in Path(folder).glob("*.py") if not path.name.startswith("_"))
    return {path.stem: (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0] for path in files}


def problem_named(name: str) -> Any:
    """Return a problem of the catalogue, or of a file given as `file.py:problem`.

    Raises:
        UnknownNameError: no such problem in the catalogue; the message lists the known ones.
        ProblemError: the file is missing or fails, or what it names is no problem.
    """
    if name.endswith(".py") or ".py:" in name:
        path, _, attribute = name.rpartition(":") if ".py:" in name else (name, "", "")
        return _problem_in_file(Path(path), attribute or DEFAULT_ATTRIBUTE)
    return importlib.import_module("pinnsiren.problems").load(name)


def _problem_in_file(path: Path, attribute: str) -> Any:
    if not path.is_file():
        raise ProblemError(f"the file `{path}` does not exist; give a path such as problems/mine.py:problem")
    spec = importlib.util.spec_from_file_location(f"declared_in_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ProblemError(f"the file `{path}` cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except PinnsirenError:
        raise
    except Exception as error:
        raise ProblemError(f"the file `{path}` fails when it is read: {type(error).__name__}: {error}") from error
    problem_class = importlib.import_module("pinnsiren.language").Problem
    if not hasattr(module, attribute):
        known = [name for name, value in vars(module).items() if isinstance(value, problem_class)]
        raise ProblemError(f"the file `{path}` has no `{attribute}`; its problems are {', '.join(known) or 'none'}")
    found = getattr(module, attribute)
    # A function such as `declare` of the catalogue stands for the problem that it returns.
    problem = found() if callable(found) and not isinstance(found, (type, problem_class)) else found
    if not isinstance(problem, problem_class):
        raise ProblemError(f"`{attribute}` of the file `{path}` is a {type(problem).__name__}; expected a Problem, or a function that returns one")
    return problem


def load_run(path: Path, name: str | None) -> Any:
    """Return a saved solution, with the exact solution of the named problem, or of the catalogue's problem of the same name if it is the same.

    Raises:
        StorageError: the file is missing, damaged, or holds another problem than the one named.
    """
    storage = importlib.import_module("pinnsiren.storage")
    if name is not None:
        return storage.load(path, problem=problem_named(name))
    solution = storage.load(path)
    try:
        return storage.load(path, problem=problem_named(solution.problem.name))
    except (UnknownNameError, StorageError):
        # A user's own problem, or the catalogue's with other constants: what the file holds is enough.
        return solution


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
