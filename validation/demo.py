"""Demonstration: the two Helmholtz problems of Sitzmann et al. (2020), solved, checked twice, reported on one page.

`python -m pinnsiren.validation.demo --out out/demo [--seconds S]`. Output: a table, report.html with figures, the runs as HDF5 files. The exit code
is 1 unless every verdict is "pass".
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pinnsiren.solving import solve

from ..problems import load
from .comparison import validate
from .report import Comparison, Report, aligned, save_reports

PROBLEMS = ("helmholtz_point_source", "helmholtz_disc")


def run_demo(folder: Path, seconds: float | None = None, names: Sequence[str] = PROBLEMS, progress: bool = True) -> list[Report]:
    """Solve and validate problems of the catalogue; write the runs and one page for all."""
    folder.mkdir(parents=True, exist_ok=True)
    reports = []
    for name in names:
        solution = solve(load(name), seconds=seconds, progress=progress)
        solution.save(folder / f"{name}.h5")
        reports.append(validate(solution))
    save_reports(reports, folder)
    return reports


def table(reports: Sequence[Report]) -> str:
    """Return one line per problem: what was found, chosen, estimated and measured."""
    lines = [("problem", "structure", "method", "estimated", "against exact", "against grid", "grid's own", "seconds", "verdict")]
    for report in reports:
        solution = report.solution
        lines.append((
            report.problem, solution.structure_text, solution.method_text, f"{solution.estimated_error:.1e}", _worst(report.against_exact),
            _worst(report.against_grid), f"{report.against_grid.reference_error:.1e}" if report.against_grid else "-", f"{solution.seconds:.1f}",
            report.verdict,
        ))
    return "\n".join(line.rstrip() for line in aligned(lines, left=3))


def _worst(comparison: Comparison | None) -> str:
    return "-" if comparison is None else f"{comparison.largest_error:.1e}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pinnsiren.validation.demo", description="Solve and check two Helmholtz problems.")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for the page, the figures and the runs")
    parser.add_argument("--seconds", type=float, default=None, help="budget per problem, 60 by default")
    given = parser.parse_args(arguments)
    reports = run_demo(given.out, given.seconds)
    print(table(reports))
    print(f"page: {given.out / 'report.html'}")
    return 0 if all(report.passed for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
