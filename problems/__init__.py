"""The catalogue: one file per declared problem, each with a function `declare` whose defaults are the constants of its source.

A new problem is a new file in this folder; `names` and `load` find it.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from typing import Any

from pinnsiren.errors import UnknownNameError
from pinnsiren.language import Problem

__all__ = ["load", "names"]


def names() -> tuple[str, ...]:
    """Return the names of the catalogue, sorted.

    >>> "helmholtz_disc" in names()
    True
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


def load(name: str, **constants: Any) -> Problem:
    """Return a problem of the catalogue.

    Args:
        name: one of `names()`.
        constants: of the problem's `declare`, when others than those of its source are wanted.

    Raises:
        UnknownNameError: no such problem; the message lists the known ones and the closest.
    """
    known = names()
    if name not in known:
        closest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
        guess = f" Did you mean `{closest[0]}`?" if closest else ""
        raise UnknownNameError(f"problem `{name}` is not in the catalogue; known are {', '.join(known)}.{guess}")
    problem: Problem = importlib.import_module(f"{__name__}.{name}").declare(**constants)
    return problem
