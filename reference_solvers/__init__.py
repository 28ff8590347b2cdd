"""Grid solvers that answer a declaration without the network's code, and closed forms.

`find(problem)` gives the best solver that supports a problem; a new solver is a new file in this folder.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Problem

from .protocol import AbstractReferenceSolver, FieldOnGrid, GridSolution, Support

__all__ = ["AbstractReferenceSolver", "FieldOnGrid", "GridSolution", "Support", "discover", "find"]


def discover() -> tuple[type[AbstractReferenceSolver], ...]:
    """The solver classes in this folder, highest order first."""
    found: dict[str, type[AbstractReferenceSolver]] = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        for _, candidate in inspect.getmembers(loaded, inspect.isclass):
            if issubclass(candidate, AbstractReferenceSolver) and not inspect.isabstract(candidate):
                found[candidate.name] = candidate
    return tuple(sorted(found.values(), key=lambda solver: -solver().order))


def find(problem: Problem) -> AbstractReferenceSolver:
    """The solver of highest order that supports the problem.

    Raises:
        ReferenceSolverError: none does; the message lists each refusal with its reason.
    """
    refusals = []
    for candidate in discover():
        solver = candidate()
        support = solver.supports(problem)
        if support.ok:
            return solver
        refusals.append(f"  {solver.name}: {support.reason}")
    raise ReferenceSolverError("\n".join([f"no reference solver supports `{problem.name}`:", *refusals]))
