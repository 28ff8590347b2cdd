"""Cases of `make evidence` by family of problems: every module of this folder with `CASES`, records of `evidence_cases.Case`, takes part."""

from importlib import import_module
from pkgutil import iter_modules

from ..evidence_cases import Case


def discover() -> dict[str, Case]:
    """Return the cases of all modules of this folder, by name."""
    modules = [import_module(f"{__name__}.{module.name}") for module in sorted(iter_modules(__path__), key=lambda found: found.name)]
    return {case.name: case for module in modules for case in module.CASES}
