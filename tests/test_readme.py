"""What the documents print is run: the program of the README, and every doctest of the package."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"
PACKAGES = ("pinnsiren.language", "pinnsiren.charts", "pinnsiren.compiler", "pinnsiren.networks", "pinnsiren.problems", "pinnsiren.reference_solvers")


def modules():
    """Every module of the packages, found on the disk and not imported."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        yield name
        yield from (module.name for module in pkgutil.walk_packages(package.__path__, f"{name}."))


def test_the_program_of_the_readme_passes_its_own_validation(tmp_path, monkeypatch):
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    namespace = {}
    exec(compile(program, str(README), "exec"), namespace)
    assert namespace["report"].verdict == "pass" and namespace["report"].passed
    assert namespace["solution"].status.success
    assert (tmp_path / "run.h5").is_file() and {"report.html", "report.json"} <= {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize("name", list(modules()))
def test_the_examples_of_a_module_print_what_they_say(name):
    results = doctest.testmod(importlib.import_module(name), raise_on_error=False)
    assert results.failed == 0


def test_some_examples_are_found():
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [test for name in modules() for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(examples) >= 10
