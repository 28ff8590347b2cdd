"""Checks of the grid solvers for `make evidence`: one file per topic, each with a tuple `CHECKS`, found by discovery."""

import importlib
import pkgutil

from ..evidence_checks import Check


def discover() -> dict[str, Check]:
    """Return the checks of every file of this folder by name."""
    topics = (importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
    return {check.name: check for topic in topics for check in topic.CHECKS}
