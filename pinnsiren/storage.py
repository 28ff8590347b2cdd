"""Storage of solutions: HDF5, written atomically; the declaration as a tree of whitelisted heads, never text that is evaluated.

Input: a solution. Output: a file, and back.
"""

from pathlib import Path
from typing import Any

import sympy as sp

from pinnsiren.charts import grading_from_tree, grading_to_tree, spectrum_from_tree, spectrum_to_tree
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.compiler.plan import Plan
from pinnsiren.errors import PinnsirenError, StorageError
from pinnsiren.ir import Chart
from pinnsiren.language.expression_trees import expression_from_tree, expression_to_tree
from pinnsiren.language.problem import Problem
from pinnsiren.language.serialisation import declaration_digest, problem_from_tree, problem_to_tree
from pinnsiren.language.tree_parts import ArrayShelf
from pinnsiren.solution import History, Solution
from pinnsiren.status import Status
from pinnsiren.storage_format import read_file, write_atomically
from pinnsiren.training.models import model_from_state
from pinnsiren.training.records import record_from_tree, record_to_tree

KIND = "solution"


def save_solution(solution: Solution, path: Any) -> None:
    """Write a solution.

    Raises:
        StorageError: the file cannot be written, or the solution holds something that files cannot.
    """
    tree, arrays = problem_to_tree(solution.problem)
    shelf = ArrayShelf(dict(arrays))
    plan = solution.plan
    charts = None if plan.charts is None else [_chart_to_tree(chart, shelf) for chart in plan.charts]
    content = {
        "declaration": {"tree": tree, "arrays": shelf.arrays},
        "plan": {
            "method": record_to_tree(plan.method),
            "network": record_to_tree(plan.network),
            "reasons": [list(pair) for pair in plan.reasons],
            "missed": [list(pair) for pair in plan.missed],
            "skipped": list(plan.skipped),
            "included": list(plan.included),
            "charts": charts,
        },
        "result": {
            "status": [solution.status.code, solution.status.text],
            "estimated_error": solution.estimated_error,
            "tolerance": solution.tolerance,
            "seconds": solution.seconds,
            "seed": solution.seed,
            "device": solution.device,
            "precision": solution.precision,
            "versions": dict(solution.versions),
        },
        "history": dict(solution.history.columns),
        "model": solution.model.state(),
    }
    write_atomically(path, content, KIND)


def load(path: str | Path, problem: Problem | None = None) -> Solution:
    """Read a solution back.

    Args:
        path: a file written by `Solution.save`.
        problem: the declaration, to attach callables (exact solutions) that files do not hold; it must equal the stored one.

    Raises:
        StorageError: the file is missing, damaged, foreign, newer, or holds another problem than the one given.
    """
    if problem is not None and not isinstance(problem, Problem):
        raise StorageError(f"`{path}` was to be read with problem={problem!r}; expected the Problem that was solved")
    content = read_file(path, KIND)
    try:
        return _solution_from(content, problem)
    except StorageError:
        raise
    except (ArithmeticError, AttributeError, LookupError, PinnsirenError, RuntimeError, TypeError, ValueError) as error:
        raise StorageError(f"`{path}` is damaged: {type(error).__name__} {error}. Solve the problem again") from error


def _solution_from(content: dict[str, Any], problem: Problem | None) -> Solution:
    declaration, stored_plan, result = content["declaration"], content["plan"], content["result"]
    arrays = declaration["arrays"]
    stored = problem_from_tree(declaration["tree"], arrays, exact=None if problem is None else problem.exact)
    if problem is not None:
        if declaration_digest(problem) != declaration_digest(stored):
            raise StorageError(f"the file holds another declaration than the problem `{problem.name}` that was given; load it without problem=")
        stored = problem
    charts = None
    if stored_plan["charts"] is not None:
        charts = tuple(_chart_from_tree(tree, ArrayShelf(dict(arrays))) for tree in stored_plan["charts"])
    skipped, included = tuple(stored_plan["skipped"]), tuple(stored_plan.get("included", ()))
    compiled = compile_problem(stored, skipped, charts, included)
    plan = Plan(
        problem=stored,
        method=record_from_tree(stored_plan["method"]),
        network=record_from_tree(stored_plan["network"]),
        reasons=tuple((str(name), str(reason)) for name, reason in stored_plan["reasons"]),
        skipped=skipped,
        included=included,
        missed=tuple((str(name), str(reason)) for name, reason in stored_plan.get("missed", ())),
        charts=charts,
        compiled=compiled,
    )
    code, text = result["status"]
    return Solution(
        problem=stored,
        plan=plan,
        status=Status(code, text),
        estimated_error=float(result["estimated_error"]),
        history=History({name: [float(value) for value in column] for name, column in content["history"].items()}),
        tolerance=float(result["tolerance"]),
        seconds=float(result["seconds"]),
        seed=int(result["seed"]),
        device=str(result["device"]),
        precision=str(result["precision"]),
        versions={str(name): str(version) for name, version in result["versions"].items()},
        model=model_from_state(compiled, plan.network, content["model"]),
        writer=save_solution,
    )


def _chart_to_tree(chart: Chart, shelf: ArrayShelf) -> dict[str, Any]:
    return {
        "name": chart.name,
        "reason": chart.reason,
        "coordinates": [expression_to_tree(c, shelf) for c in chart.coordinates],
        "window": expression_to_tree(sp.sympify(chart.window), shelf),
        "half_lengths": list(map(float, chart.half_lengths)),
        "share": chart.share,
        "redundancy": chart.redundancy,
        "decays": [expression_to_tree(c, shelf) for c in chart.decays],
        "decay_range": chart.decay_range,
        "focus": None if chart.focus is None else [list(pair) for pair in chart.focus],
        "network_input": None if chart.network_input is None else expression_to_tree(sp.sympify(chart.network_input), shelf),
        "spectrum": spectrum_to_tree(chart.spectrum),
        "grading": grading_to_tree(chart.grading),
    }


def _chart_from_tree(tree: dict[str, Any], shelf: ArrayShelf) -> Chart:
    focus, network_input = tree["focus"], tree["network_input"]
    return Chart(
        name=str(tree["name"]),
        reason=str(tree["reason"]),
        coordinates=tuple(expression_from_tree(c, shelf) for c in tree["coordinates"]),
        window=expression_from_tree(tree["window"], shelf),
        half_lengths=tuple(map(float, tree["half_lengths"])),
        share=float(tree["share"]),
        redundancy=tree["redundancy"],
        decays=tuple(expression_from_tree(c, shelf) for c in tree["decays"]),
        decay_range=float(tree["decay_range"]),
        focus=None if focus is None else tuple((float(a), float(b)) for a, b in focus),
        network_input=None if network_input is None else expression_from_tree(network_input, shelf),
        spectrum=spectrum_from_tree(tree.get("spectrum")),
        grading=grading_from_tree(tree.get("grading")),
    )
