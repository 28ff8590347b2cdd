"""The report of a validation: numbers, verdict, and the files that show them.

Input: comparisons of one solution with its references. Output: a printable record; `save` writes report.html, report.json and the figures.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pinnsiren.solution import Solution

from .figures import draw_figures
from .html_report import Entry, Row, write_page
from .machine import hardware_record
from .plotting import png
from .references import Reference, exact_reference

# Below what rounding leaves between two different computations of one field on a grid.
SAME_FORMULA = 1e-14


@dataclass(frozen=True)
class Comparison:
    """Errors of a solution against one reference.

    Attributes:
        reference: what it was compared with.
        relative_l2: complex relative L2 error per field, over the declared domain outside the source cores; of an unknown scalar the relative error.
        max_error: largest modulus of the difference per field, boundary included, units of the field.
        inside_cores: relative L2 error per field within the source cores; empty without cores.
        seconds: wall time of the comparison, the reference's solve included.
    """

    reference: Reference
    relative_l2: Mapping[str, float]
    max_error: Mapping[str, float]
    inside_cores: Mapping[str, float]
    seconds: float

    @property
    def kind(self) -> str:
        """`"exact"`, `"grid"` or `"given"`."""
        return self.reference.kind

    @property
    def label(self) -> str:
        """What the reference is, in words."""
        return self.reference.label

    @property
    def reference_error(self) -> float:
        """The reference's own relative L2 error."""
        return self.reference.error

    @property
    def largest_error(self) -> float:
        """The relative L2 error of the worst field, infinite when one is not finite."""
        worst = max(self.relative_l2.values(), default=math.inf)
        return worst if all(math.isfinite(error) for error in self.relative_l2.values()) else math.inf

    def as_record(self) -> dict[str, Any]:
        """Return the numbers for storage."""
        return {
            "reference": self.label,
            "kind": self.kind,
            "relative_l2": dict(self.relative_l2),
            "max_error": dict(self.max_error),
            "inside_cores": dict(self.inside_cores),
            "reference_error": self.reference_error,
            "independent": self.reference.independent,
            "independence": self.reference.independence,
            "seconds": self.seconds,
            "notes": list(self.reference.notes),
        }


@dataclass(frozen=True)
class Report:
    """What `validate` found.

    Attributes:
        solution: what was judged.
        tolerance: the relative L2 error that was wanted.
        judge: the comparison that the verdict rests on: exact if declared, else grid; None when there is neither.
        against_exact: comparison with the exact solution, or with what the caller gave.
        against_grid: comparison with the grid solver.
        grid_true_error: relative L2 error of the grid solver against the exact solution, where both exist.
        verdict: `"pass"`, `"fail"` or `"undecidable"`.
        reason: the verdict in a sentence.
        honest: whether the true error is at most ten times the error that the solution estimated itself; None when nothing judges.
        refusals: why no grid solver answered; empty when one did.
        notes: what was left out or removed, one line each.
        seconds: wall time of the validation.
    """

    solution: Solution = dataclass_field(repr=False)
    tolerance: float
    judge: Comparison | None
    against_exact: Comparison | None
    against_grid: Comparison | None
    grid_true_error: float | None
    verdict: str
    reason: str
    honest: bool | None
    refusals: str
    notes: tuple[str, ...]
    seconds: float

    @property
    def problem(self) -> str:
        """Name of the problem."""
        return str(self.solution.problem.name)

    @property
    def passed(self) -> bool:
        """Whether the verdict is `"pass"`."""
        return self.verdict == "pass"

    @property
    def relative_l2(self) -> dict[str, float]:
        """Relative L2 error per field against the judge."""
        return dict(self.judge.relative_l2) if self.judge else {}

    @property
    def max_error(self) -> dict[str, float]:
        """Largest modulus of the difference per field against the judge."""
        return dict(self.judge.max_error) if self.judge else {}

    @property
    def inside_cores(self) -> dict[str, float]:
        """Relative L2 error per field within the source cores."""
        return dict(self.judge.inside_cores) if self.judge else {}

    @property
    def reference(self) -> str:
        """What judged, in words."""
        return self.judge.label if self.judge else "none"

    @property
    def reference_error(self) -> float:
        """The judge's own relative L2 error; NaN without a judge."""
        return self.judge.reference_error if self.judge else math.nan

    @property
    def independent(self) -> bool:
        """Whether the judge shares no code with the network side."""
        return self.judge.reference.independent if self.judge else False

    @property
    def independence(self) -> str:
        """Why the judge is independent, or not."""
        return self.judge.reference.independence if self.judge else "nothing was compared"

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """All comparisons, the judge first."""
        return tuple(c for c in (self.against_exact, self.against_grid) if c is not None)

    def __str__(self) -> str:
        rows = [("reference", "field", "relative L2", "max error", "in cores", "own error", "seconds")]
        for comparison in self.comparisons:
            for name, error in comparison.relative_l2.items():
                core = comparison.inside_cores.get(name)
                rows.append((
                    comparison.label, name, f"{error:.2e}", f"{comparison.max_error[name]:.2e}", "-" if core is None else f"{core:.2e}",
                    f"{comparison.reference_error:.1e}" if comparison.reference_error else "0", f"{comparison.seconds:.1f}",
                ))
        lines = [f"{self.problem}: {self.verdict.upper()}: {self.reason}", *(aligned(rows, left=2) if len(rows) > 1 else [])]
        lines.append(f"  estimated error {self.solution.estimated_error:.1e}{self._honesty()}; solved in {self.solution.seconds:.1f} s")
        lines.append(f"  status {self.solution.status}")
        lines.append(f"  independent: {'yes' if self.independent else 'no'}, {self.independence}")
        lines += [f"  {line}" for line in (*self._grid_check(), *self._sharing())]
        lines += [f"  {note}" for note in self.notes]
        if self.refusals:
            lines += ["  no grid reference:", *(f"    {line.strip()}" for line in self.refusals.splitlines())]
        return "\n".join(lines)

    def _honesty(self) -> str:
        if self.honest is None:
            return ""
        return ", honest (true error at most ten times larger)" if self.honest else ", NOT honest: the true error is more than ten times larger"

    def _grid_check(self) -> list[str]:
        """What the exact solution says of the grid solver."""
        if self.grid_true_error is None:
            return []
        if self.grid_true_error < SAME_FORMULA:
            return ["the grid solver split the whole solution off in closed form: here it is the exact solution once more, no second check"]
        return [f"the grid solver itself is off the exact solution by {self.grid_true_error:.1e}"]

    def _sharing(self) -> list[str]:
        """What a grid solver that stands beside the judge has in common with the solution."""
        grid = self.against_grid
        if grid is None or grid is self.judge or grid.reference.independent:
            return []
        return [f"the grid solver is no stranger: {grid.reference.independence}"]

    def as_record(self) -> dict[str, Any]:
        """Return every number of the report for report.json: numbers, texts, lists and dictionaries only."""
        solution = self.solution
        return {
            "problem": self.problem,
            "verdict": self.verdict,
            "passed": self.passed,
            "reason": self.reason,
            "tolerance": self.tolerance,
            "relative_l2": self.relative_l2,
            "max_error": self.max_error,
            "inside_cores": self.inside_cores,
            "reference": self.reference,
            "reference_error": self.reference_error,
            "independent": self.independent,
            "independence": self.independence,
            "seconds": self.seconds,
            "estimated_error": solution.estimated_error,
            "honest": self.honest,
            "grid_true_error": self.grid_true_error,
            "against": [comparison.as_record() for comparison in self.comparisons],
            "refusals": self.refusals,
            "notes": list(self.notes),
            "solution": {
                "status": {"code": solution.status.code, "text": solution.status.text},
                "structure": solution.structure_text,
                "method": solution.method_text,
                "seconds": solution.seconds,
                "seed": solution.seed,
                "device": str(solution.device),
                "precision": str(solution.precision),
                "versions": dict(solution.versions),
                "history": {name: list(column) for name, column in solution.history.columns.items()},
            },
            "hardware": hardware_record(),
        }

    def figures(self) -> dict[str, Figure]:
        """Draw the figures, by name."""
        judge = self.judge.reference if self.judge else None
        return draw_figures(self.solution, None if judge is None else judge.fields, "" if judge is None else judge.kind, self.tolerance)

    def save(self, folder: str | Path) -> Path:
        """Write report.html (self-contained), report.json and the figures as PNG; return the path of the page."""
        return save_reports([self], folder)


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Return the rows as lines of aligned columns, the first `left` of them flush left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    cells = [[cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))] for row in rows]
    return ["  " + "  ".join(row) for row in cells]


def save_reports(reports: Sequence[Report], folder: str | Path) -> Path:
    """Write one page for several reports; return its path."""
    return write_page([_entry(report) for report in reports], Path(folder))


def save_figures(solution: Solution, folder: str | Path) -> list[Path]:
    """Write the figures of a solution as PNG, beside the exact solution where one is declared; return their paths."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    exact = exact_reference(solution.problem)
    figures = draw_figures(solution, None if exact is None else exact.fields, "" if exact is None else exact.kind, solution.tolerance)
    paths = []
    for name, figure in figures.items():
        paths.append(target / f"{name}.png")
        paths[-1].write_bytes(png(figure))
    return paths


def _entry(report: Report) -> Entry:
    rows = tuple(
        Row(
            reference=comparison.label,
            field=name,
            relative_l2=error,
            max_error=comparison.max_error[name],
            inside_cores=comparison.inside_cores.get(name),
            own_error=comparison.reference_error,
            seconds=comparison.seconds,
            judges=comparison is report.judge,
        )
        for comparison in report.comparisons
        for name, error in comparison.relative_l2.items()
    )
    facts = {
        "Structure": report.solution.structure_text,
        "Method": report.solution.method_text,
        "Status": str(report.solution.status),
        "Estimated error": f"{report.solution.estimated_error:.2e}{report._honesty()}",
        "Solved in": f"{report.solution.seconds:.1f} s on {report.solution.device}, {report.solution.precision}, seed {report.solution.seed}",
        "Independence": report.independence,
    }
    for line in report._grid_check():
        facts["Grid against exact"] = line
    if report.refusals:
        facts["No grid reference"] = report.refusals
    problem = report.solution.problem
    declaration = [f"{equation} = 0" for equation in problem.equations] + [str(condition) for condition in problem.conditions] + [str(problem.domain)]
    return Entry(
        name=report.problem,
        verdict=report.verdict,
        reason=report.reason,
        facts=facts,
        rows=rows,
        notes=report.notes,
        texts={"Declaration": "\n".join(declaration), "Plan": str(report.solution.plan)},
        figures=report.figures(),
        record=report.as_record(),
    )
