"""What every test shares: no window system, no chance, and the way to the measured data."""

import configparser
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from pinnsiren.errors import ProblemError
from pinnsiren.language import Problem
from pinnsiren.problems import load

# Before any test imports matplotlib: a machine without a display has no other back end.
os.environ.setdefault("MPLBACKEND", "Agg")

settings.register_profile("reproducible", derandomize=True, database=None, deadline=None)
settings.load_profile("reproducible")

CHECKOUT = Path(__file__).resolve().parent.parent
SHARED_DATA = CHECKOUT.parent / "shared" / "data"


def _find_benchmarks() -> None:
    """Make `benchmarks` importable by path: the checkout stays off sys.path, where its folders would shadow what is installed."""
    folder = CHECKOUT / "benchmarks"
    spec = importlib.util.spec_from_file_location("benchmarks", folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None and spec.loader is not None, f"{folder} is no package"
    sys.modules["benchmarks"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["benchmarks"])


_find_benchmarks()


@pytest.fixture(scope="session")
def setup_cfg() -> configparser.ConfigParser:
    """What the build reads: metadata, folder mapping, packages, requirements."""
    parser = configparser.ConfigParser()
    parser.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="session")
def package_folders(setup_cfg: configparser.ConfigParser) -> dict[str, Path]:
    """Installed name of each mapped folder, as in ``pinnsiren.problems: <checkout>/problems``."""
    pairs = (line.split("=") for line in setup_cfg["options"]["package_dir"].strip().splitlines())
    return {name.strip(): CHECKOUT / folder.strip() for name, folder in pairs}


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of measured data beside the checkout; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the measured data in `../shared/data` beside the checkout")
    return SHARED_DATA


@pytest.fixture(scope="session")
def load_problem() -> Callable[..., Problem]:
    """`problems.load`, which skips the test where a problem needs measurements or a library that are not there."""

    def loaded(name: str, **constants: Any) -> Problem:
        try:
            return load(name, **constants)
        except ProblemError as error:
            if "give its path" not in str(error) and "is not installed: pip install" not in str(error):
                raise
            pytest.skip(str(error))

    return loaded


@pytest.fixture(scope="session")
def launch() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in processes under torchrun; `restarts` is how often it may begin anew where the machine's sockets failed a process."""

    def run(script: str, folder: Path, *arguments: str, processes: int = 1, restarts: int = 0) -> subprocess.CompletedProcess[str]:
        path = folder / "script.py"
        path.write_text(script)
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", f"--max-restarts={restarts}"]
        command = [sys.executable, *(launcher if processes > 1 else []), str(path), str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300)

    return run
