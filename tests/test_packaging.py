"""What is installed is what is on the disk, under one name and one version, with nothing unsafe in it."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pinnsiren

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def sources(package_folders):
    return [path for folder in package_folders.values() for path in sorted(folder.rglob("*.py"))]


def requirement_names(text):
    lines = filter(None, (line.strip() for line in text.splitlines()))
    return {re.split(r"[<>=!~;\[ ]", line, maxsplit=1)[0].lower() for line in lines}


def run_fresh(code):
    """What `code` prints in a new interpreter that starts outside the checkout."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True, check=True).stdout.strip()


def test_the_version_is_the_same_everywhere(setup_cfg):
    declared = setup_cfg["metadata"]["version"]
    assert importlib.metadata.version("pinnsiren") == declared
    assert pinnsiren.__version__ == declared
    assert f"## [{declared}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_package_ships_its_types(setup_cfg):
    assert (ROOT / "pinnsiren" / "py.typed").is_file()
    assert "py.typed" in setup_cfg["options.package_data"]["pinnsiren"]


def test_setup_cfg_lists_exactly_the_package_folders_on_the_disk(setup_cfg, package_folders):
    on_disk = {
        ".".join((prefix, *path.parent.relative_to(folder).parts))
        for prefix, folder in package_folders.items()
        for path in folder.rglob("__init__.py")
    }
    assert set(setup_cfg["options"]["packages"].split()) == on_disk


def test_no_folder_of_modules_lacks_its_init(sources):
    assert sorted({str(path.parent) for path in sources if not (path.parent / "__init__.py").is_file()}) == []


def test_every_top_level_name_is_ours(package_folders):
    assert {name.split(".")[0] for name in package_folders} == {"pinnsiren"}


def test_every_requirement_has_an_exact_version_in_the_constraints(setup_cfg):
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line and not line.startswith("#")}
    wanted = requirement_names(setup_cfg["options"]["install_requires"])
    for extra in setup_cfg["options.extras_require"].values():
        wanted |= requirement_names(extra)
    # A CUDA build of torch asks for the Triton it was built with.
    assert wanted - pinned == {"triton"}


def test_the_outer_folders_resolve_to_the_checkout():
    printed = run_fresh("import pinnsiren.problems as p; print(p.__file__)")
    assert Path(printed).resolve() == ROOT / "problems" / "__init__.py"


def test_importing_the_package_opens_no_plotting_library():
    assert run_fresh("import sys, pinnsiren; print('matplotlib.pyplot' in sys.modules)") == "False"


def test_importing_the_package_chooses_no_plotting_back_end():
    code = (
        "import os; before = dict(os.environ); import pinnsiren; "
        "print(os.environ.get('MPLBACKEND') == before.get('MPLBACKEND'))"
    )
    assert run_fresh(code) == "True"


UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_NAMES = {"eval", "exec", "parse_expr"}
UNSAFE_KEYWORDS = {("allow_pickle", True), ("weights_only", False)}


def imported_modules(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def unsafe_uses(source):
    """What would run code that stands in a text or in a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        found += [name for name in imported_modules(node) if name.split(".")[0] in UNSAFE_MODULES]
        # A bare name only: `network.eval()` of torch is another thing.
        if isinstance(node, ast.Name) and node.id in UNSAFE_NAMES:
            found.append(node.id)
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            if (node.arg, node.value.value) in UNSAFE_KEYWORDS:
                found.append(f"{node.arg}={node.value.value}")
    return found


def test_no_source_evaluates_text_or_unpickles(sources):
    found = {str(path.relative_to(ROOT)): unsafe_uses(path.read_text(encoding="utf-8")) for path in sources}
    assert {path: uses for path, uses in found.items() if uses} == {}


@pytest.mark.parametrize(
    "snippet",
    [
        "eval('1')",
        "exec(text)",
        "parse_expr(text)",
        "import pickle",
        "from pickle import load",
        "np.load(path, allow_pickle=True)",
        "torch.load(path, weights_only=False)",
    ],
)
def test_an_unsafe_snippet_is_found(snippet):
    assert unsafe_uses(snippet)


def test_the_eval_mode_of_a_network_is_not_mistaken_for_eval():
    assert unsafe_uses("network.eval()") == []


WITHOUT = """
import sys
for name in {absent!r}:
    sys.modules[name] = None  # an import of it fails as where it is not installed
"""


def test_solving_needs_neither_files_nor_figures_nor_a_terminal(tmp_path):
    """A machine that computes has torch and SymPy; what draws, stores and prints may be absent until it is asked for."""
    code = WITHOUT.format(absent=["h5py", "rich", "rich.console", "typer", "matplotlib"]) + f"""
import sympy as sp
import pinnsiren as ps
x = ps.coordinates("x")
u = ps.field("u", x)
conditions = [ps.Dirichlet(u, 0)]
problem = ps.Problem(name="p", fields=[u], domain=ps.Interval({{x: (0, 1)}}), equations=[sp.Eq(u.diff(x, 2), 1)], conditions=conditions)
print(ps.solve(problem, progress=True).status.code)
for ask in (lambda: ps.solve(problem, checkpoint={str(tmp_path / "run.h5")!r}), lambda: ps.solve(problem).save({str(tmp_path / "s.h5")!r})):
    try:
        ask()
    except ps.StorageError as error:
        print("pip install h5py" in str(error))
"""
    assert run_fresh(code).split() == ["success", "True", "True"]


def test_the_command_line_names_the_library_that_it_lacks():
    code = WITHOUT.format(absent=["typer"]) + "import pinnsiren.cli"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "pip install typer" in done.stderr and "Traceback" not in done.stderr
