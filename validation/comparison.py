"""`validate`: how far a solution is from what it should be, and whether that can be told at all.

Input: a solution. Output: a `Report`. Errors are relative complex L2 norms over the declared domain (never over an absorbing layer), outside the
cores of narrow sources; inside them they are listed apart. The exact solution judges if there is one; the grid solver answers beside it always.
"""

import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.errors import UnknownNameError
from pinnsiren.language import Problem, declaration_of
from pinnsiren.language.free_constants import free_constant_fields
from pinnsiren.solution import Solution

from .points import EvaluationPoints, sample_points
from .references import Reference, exact_reference, given_reference, grid_reference, timed
from .report import Comparison, Report

Array = NDArray[Any]

DEFAULT_TOLERANCE = 1e-3
CHOICES = ("auto", "exact", "reference")
# An estimate is honest when the true error is at most this many times larger.
HONESTY_FACTOR = 10.0
# A grid knows its own error from two grids: the error was up to 1.31 times what it said (`make evidence`, eikonal_honesty).
REFERENCE_MARGIN = 1.5
WORTHLESS = 0.3  # a reference whose own relative error is larger decides nothing against a solution


def validate(solution: Solution, against: Any = "auto", tolerance: float | None = None) -> Report:
    """Compare a solution with what it should be.

    The verdict allows for the reference's own error r: with e the relative L2 error against it, `"pass"` means e + r <= tolerance, `"fail"` means
    e - r > tolerance, and everything between is `"undecidable"`.

    Args:
        solution: what `pinnsiren.solve` returned.
        against: `"auto"` (the exact solution judges if declared, the grid solver answers beside it), `"exact"`, `"reference"` (the grid solver
            alone), a `GridSolution`, or a function of the coordinate arrays.
        tolerance: wanted relative L2 error; that of the solution when None.

    Returns:
        The report; `print(report)`, `report.save("out/")`.

    Raises:
        UnknownNameError: another word for `against`.
        ProblemError: a reference that belongs to another problem.
    """
    start = time.perf_counter()
    problem = solution.problem
    wanted = tolerance if tolerance is not None else solution.tolerance or DEFAULT_TOLERANCE
    references, refusals = _references(problem, against)
    references = [_with_what_is_shared(reference, solution) for reference in references]
    cores = tuple(solution.cores)
    points = sample_points(problem.domain, cores)
    free = free_constant_fields(problem)
    values = _SolutionValues(solution)
    comparisons = [compare(values, reference, points, free) for reference in references]
    judge = next((c for c in comparisons if covers(c.reference, problem)), None)
    exact = next((c for c in comparisons if c.kind in ("exact", "given")), None)
    grid = next((c for c in comparisons if c.kind == "grid"), None)
    verdict, reason = decide(judge, wanted)
    return Report(
        solution=solution,
        tolerance=float(wanted),
        judge=judge,
        against_exact=exact,
        against_grid=grid,
        grid_true_error=_grid_true_error(exact, grid, points, free),
        verdict=verdict,
        reason=reason,
        honest=_is_honest(judge, solution.estimated_error),
        refusals=refusals,
        notes=_notes(problem, cores, free, judge),
        seconds=time.perf_counter() - start,
    )


def _with_what_is_shared(reference: Reference, solution: Solution) -> Reference:
    """A model that comes from a grid solver says so; a grid reference is then another scheme on another grid, but no stranger."""
    shared = getattr(getattr(solution, "model", None), "independence", "")
    return replace(reference, independent=False, independence=shared) if shared and reference.kind == "grid" else reference


def covers(reference: Reference, problem: Problem) -> bool:
    """Whether a reference says something about every field of the problem, or about every coefficient field that it solves for."""
    return any(names and names <= set(reference.fields) for names in (_named(problem.fields), _named(problem.coefficients)))


def _named(symbols: Any) -> set[str]:
    return {declaration_of(symbol).name for symbol in symbols}


def decide(judge: Comparison | None, tolerance: float) -> tuple[str, str]:
    """Return the verdict and the sentence that explains it."""
    if judge is None:
        return "undecidable", "there is neither an exact solution nor a grid solver to compare with"
    error, own = judge.largest_error, judge.reference_error
    if not np.isfinite(error):
        return "fail", "the solution is not finite at some points of the domain"
    allowance = f", known to {own:.1e}" if own else ""
    if error + own <= tolerance:
        return "pass", f"relative L2 error {error:.1e} against the {judge.label}{allowance}; tolerance {tolerance:.1e}"
    # Errors are relative to the reference: one that is off by a good part of itself bounds nothing.
    if error - own > tolerance and own < WORTHLESS:
        return "fail", f"relative L2 error {error:.1e} against the {judge.label}{allowance} is above the tolerance {tolerance:.1e}"
    return "undecidable", (
        f"relative L2 error {error:.1e} against the {judge.label}, which is itself known to {own:.1e} only: too coarse to decide on a tolerance "
        f"of {tolerance:.1e}"
    )


def compare(values: "_SolutionValues", reference: Reference, points: EvaluationPoints, free: tuple[str, ...]) -> Comparison:
    """Measure a solution against one reference."""
    start = time.perf_counter()
    relative: dict[str, float] = {}
    largest: dict[str, float] = {}
    cores: dict[str, float] = {}
    for name, function in reference.fields.items():
        true, found = function(points.outside), values.at(name, points.outside)
        true, found, shift = _without_constant(true, found) if name in free else (true, found, None)
        relative[name] = relative_l2(found, true)
        worst = _largest(found - true)
        if len(points.boundary):
            edge = values.at(name, points.boundary) - function(points.boundary)
            worst = max(worst, _largest(edge if shift is None else edge - shift))
        largest[name] = worst
        if len(points.inside):
            cores[name] = relative_l2(values.at(name, points.inside), function(points.inside))
    for name, number in reference.numbers.items():
        difference = abs(values.number(name) - number)
        relative[name], largest[name] = float(difference / abs(number)) if number else float(difference), float(difference)
    return Comparison(reference, relative, largest, cores, reference.seconds + time.perf_counter() - start)


def relative_l2(found: Array, true: Array) -> float:
    """Return |found - true| / |true| in the complex L2 norm, all shots together; the plain norm where the reference vanishes."""
    size = float(np.linalg.norm(true))
    difference = float(np.linalg.norm(found - true))
    return difference / size if size > 0 else difference / np.sqrt(max(true.size, 1))


class _SolutionValues:
    """Values of a solution at points; remembered, since several references ask for the same ones."""

    def __init__(self, solution: Solution) -> None:
        self._solution = solution
        self._known: dict[tuple[str, int], Array] = {}

    def at(self, name: str, points: Array) -> Array:
        """Return values (n,), shots first."""
        key = (name, id(points))
        if key not in self._known:
            chosen = self._solution[name]
            columns = [self._solution.problem.coordinates.index(symbol) for symbol in chosen.symbols]
            self._known[key] = np.asarray(chosen.at(points[:, columns]))
        return self._known[key]

    def number(self, name: str) -> complex:
        """Return the value of an unknown scalar."""
        return complex(self._solution[name])


def _references(problem: Problem, against: Any) -> tuple[list[Reference], str]:
    """Return the references, the judge first, and the refusals of the grid solvers."""
    if not isinstance(against, str):
        return [given_reference(problem, against)], ""
    if against not in CHOICES:
        raise UnknownNameError(f"validate was given against={against!r}; known are {', '.join(CHOICES)}, a GridSolution or a function")
    exact = exact_reference(problem) if against != "reference" else None
    if against == "exact":
        return ([exact], "") if exact else ([], f"problem `{problem.name}` declares no exact solution")
    grid, refusals = timed(lambda: grid_reference(problem))
    return [reference for reference in (exact, grid) if reference is not None], refusals


def _without_constant(true: Array, found: Array) -> tuple[Array, Array, Array]:
    true_mean, found_mean = true.mean(axis=-1, keepdims=True), found.mean(axis=-1, keepdims=True)
    return true - true_mean, found - found_mean, found_mean - true_mean


def _largest(difference: Array) -> float:
    return float(np.max(np.abs(difference), initial=0.0))


def _grid_true_error(exact: Comparison | None, grid: Comparison | None, points: EvaluationPoints, free: tuple[str, ...]) -> float | None:
    """Return the relative L2 error of the grid solution against the exact one: the check of the checker."""
    if exact is None or grid is None:
        return None
    errors = []
    for name in set(exact.reference.fields) & set(grid.reference.fields):
        true, found = exact.reference.fields[name](points.outside), grid.reference.fields[name](points.outside)
        if name in free:
            true, found, _ = _without_constant(true, found)
        errors.append(relative_l2(found, true))
    return max(errors, default=None)


def _is_honest(judge: Comparison | None, estimated: float) -> bool | None:
    if judge is None:
        return None
    return estimate_holds(judge.largest_error, judge.reference_error, estimated)


def estimate_holds(error: float, reference_error: float, estimated: float) -> bool:
    """Whether an estimate stands against an error measured with a reference: what the reference does not know is not the solution's fault."""
    return bool(max(error - REFERENCE_MARGIN * reference_error, 0.0) <= HONESTY_FACTOR * estimated)


def _notes(problem: Problem, cores: tuple[Any, ...], free: tuple[str, ...], judge: Comparison | None) -> tuple[str, ...]:
    notes = []
    if judge is not None and not _named(problem.fields) <= set(judge.reference.fields):
        notes.append(f"judged by {', '.join(sorted(judge.relative_l2))} alone: nothing is known of {', '.join(sorted(_named(problem.fields)))}")
    if cores:
        places = ", ".join(f"r < {radius:.3g} about ({', '.join(f'{c:.3g}' for c in centre)})" for centre, radius in cores)
        notes.append(f"source cores are left out and listed apart: {places}")
    for name in free:
        notes.append(f"`{name}` is defined up to a constant: compared after removal of its mean over the domain")
    return tuple(notes)
