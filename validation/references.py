"""What a solution is compared with: the exact solution of the declaration, a grid solution, or what the caller gives.

Input: the problem. Output: `Reference` records, all of one form: a function of points per field, and how far it can be trusted itself.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ProblemError, ReferenceSolverError
from pinnsiren.language import Problem, declaration_of, select_shot
from pinnsiren.language.numeric import evaluator

from ..reference_solvers import GridSolution, find

Array = NDArray[Any]
PointFunction = Callable[[Array], Array]

# Closed forms and expressions are summed in double precision; the tests of the closed forms hold them to this.
EXACT_ERROR = 1e-12


@dataclass(frozen=True)
class Reference:
    """One thing to compare with.

    Attributes:
        kind: `"exact"`, `"grid"` or `"given"`.
        label: a line for reports.
        error: its own relative L2 error as far as known; infinite when nothing is known of it.
        independent: whether it shares no code with the network side.
        independence: why (not).
        seconds: wall time of making it.
        fields: a function of points (n, n_coordinates) per name; values (n,), shots first.
        numbers: values of unknown scalars.
        notes: what was decided, one line each.
    """

    kind: str
    label: str
    error: float
    independent: bool
    independence: str
    seconds: float
    fields: Mapping[str, PointFunction] = dataclass_field(repr=False)
    numbers: Mapping[str, complex] = dataclass_field(default_factory=dict)
    notes: tuple[str, ...] = ()


def exact_reference(problem: Problem) -> Reference | None:
    """Return the exact solution that the problem declares, or None."""
    if not problem.exact:
        return None
    fields: dict[str, PointFunction] = {}
    numbers: dict[str, complex] = {}
    closed_form = False
    symbols = tuple(problem.coordinates)
    for candidate, solution in problem.exact.items():
        declaration = declaration_of(candidate)
        if not candidate.args:
            numbers[declaration.name] = complex(sp.sympify(solution))
        elif callable(solution) and not isinstance(solution, sp.Basic):
            closed_form = True
            fields[declaration.name] = _by_columns(solution, [symbols.index(symbol) for symbol in candidate.args])
        else:
            fields[declaration.name] = _expression(sp.sympify(solution), symbols, getattr(declaration, "shots", None))
    return Reference(
        kind="exact",
        label="exact solution" + (" (closed form)" if closed_form else " (expression of the declaration)"),
        error=0.0,
        independent=True,
        independence="the exact solution of the declaration; it shares no code with the network side",
        seconds=0.0,
        fields=fields,
        numbers=numbers,
    )


def grid_reference(problem: Problem) -> Reference:
    """Solve the same declaration on a grid.

    Raises:
        ReferenceSolverError: no grid solver supports the problem, or the discrete system has no solution.
    """
    return from_grid(problem, find(problem).solve(problem))


def from_grid(problem: Problem, grid: GridSolution) -> Reference:
    """Return a grid solution as a reference.

    Raises:
        ProblemError: it belongs to another problem: its coordinates or fields differ.
    """
    expected = {declaration_of(candidate).name for candidate in problem.fields}
    if tuple(grid.coordinates) != tuple(problem.coordinates) or not expected <= set(grid.fields):
        raise ProblemError(
            f"problem `{problem.name}` was compared with a grid solution of `{grid.problem}`, whose coordinates are {tuple(grid.coordinates)} and "
            f"fields {', '.join(grid.fields)}; expected {tuple(problem.coordinates)} and {', '.join(sorted(expected))}"
        )
    # An inversion brings the coefficient fields that it found, other solvers know of none.
    coefficients = {declaration_of(unknown).name for unknown in problem.coefficients} & set(grid.fields)
    return Reference(
        kind="grid",
        label=f"grid solver {grid.solver}, order {grid.order}, {grid.n_unknowns} unknowns",
        error=grid.error_estimate,
        independent=True,
        independence="finite differences that read the declaration by themselves; no code is shared with the network side",
        seconds=grid.seconds,
        fields={name: _by_columns(grid[name]) for name in sorted(expected | coefficients)},
        notes=tuple(grid.notes),
    )


def given_reference(problem: Problem, given: Any) -> Reference:
    """Return what the caller gave as a reference.

    Args:
        problem: the problem.
        given: a `GridSolution`, a function of the coordinate arrays (one field), or a mapping from field or name to such functions.

    Raises:
        ProblemError: anything else, or fields left out.
    """
    if isinstance(given, GridSolution):
        return from_grid(problem, given)
    names = [declaration_of(candidate).name for candidate in problem.fields]
    if isinstance(given, Mapping):
        functions = {key if isinstance(key, str) else declaration_of(key).name: function for key, function in given.items()}
    elif callable(given) and len(names) == 1:
        functions = {names[0]: given}
    else:
        functions = {}
    if set(functions) != set(names) or not all(callable(function) for function in functions.values()):
        raise ProblemError(
            f"problem `{problem.name}` was compared with against={given!r}; expected \"auto\", \"exact\", \"reference\", a GridSolution, "
            f"a function of ({', '.join(map(str, problem.coordinates))}), or one such function for each of {', '.join(names)}"
        )
    return Reference(
        kind="given",
        label=f"function given by the caller ({getattr(given, '__name__', type(given).__name__)})",
        error=0.0,
        independent=False,
        independence="given by the caller and taken as exact; where it comes from is not known here",
        seconds=0.0,
        fields={name: _by_columns(function) for name, function in functions.items()},
    )


def timed(make: Callable[[], Reference]) -> tuple[Reference | None, str]:
    """Return a reference, or None and the text of the refusal."""
    start = time.perf_counter()
    try:
        return make(), ""
    except ReferenceSolverError as error:
        return None, f"{error} (after {time.perf_counter() - start:.1f} s)"


def _by_columns(function: Callable[..., Any], columns: list[int] | None = None) -> PointFunction:
    """Return a function of points; `columns` are those of a coefficient field that depends on some of the coordinates only."""

    def evaluate(points: Array) -> Array:
        chosen = points if columns is None else points[:, columns]
        return np.asarray(function(*chosen.T))

    return evaluate


def _expression(expression: Any, symbols: tuple[sp.Symbol, ...], shots: int | None) -> PointFunction:
    members = [select_shot(expression, shot) for shot in range(shots or 1)]
    compiled = evaluator(members, symbols)

    def evaluate(points: Array) -> Array:
        values = compiled(points)
        return np.stack(values) if shots is not None else values[0]

    return evaluate
