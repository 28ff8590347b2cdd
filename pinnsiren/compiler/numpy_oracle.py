"""NumPy oracle: residuals of a lowered problem on given fields, without a network and without training.

Input: a compiled or lowered problem and a SymPy expression per field. Output: the largest relative residual of everything that must vanish. Jets come
from SymPy's differentiation of the expressions, so that on a manufactured solution every residual is zero to rounding, or the compiler is wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.residual_program import ResidualProgram, compile_residual
from pinnsiren.errors import CompileError
from pinnsiren.ir import Jet, ProblemIR, Residual, unknown_symbol
from pinnsiren.language.locations import sample_pair
from pinnsiren.language.numeric import evaluate_on, evaluator
from pinnsiren.language.sources import select_shot

Array = NDArray[np.float64]
Mask = Callable[[Array], NDArray[np.bool_]]
INTERFACE_OFFSET = 1e-11  # of the domain's size: far above rounding of the points, far below every length of a problem
NEWTON_STEPS = 30  # onto an interface along the gradient; quadratic convergence needs fewer than ten


def oracle_residuals(
    compiled: CompiledProblem | ProblemIR, solutions: Mapping[Any, Any], n_points: int = 256, seed: int = 0, where: Mask | None = None
) -> list[tuple[str, float]]:
    """Evaluate every residual on given fields.

    Args:
        compiled: the problem; after a rewrite the fields are its unknown parts.
        solutions: for every field an expression in the coordinates, with a `SourceFamily` where shots differ; for every coefficient field an
            expression, for every unknown scalar a number.
        n_points: points per residual; interfaces get fewer, where the projection leaves the domain.
        seed: of the points.
        where: points (n, n_coordinates) -> mask of those that count in the interior, for solutions that hold in a part of the domain.

    Returns:
        (label, max |residual| / mean sum of the moduli of its terms) per residual; zero where every term vanishes.

    Raises:
        CompileError: a field, a coefficient field or an unknown scalar without a value, a residual without points.
    """
    ir = compiled.ir if isinstance(compiled, CompiledProblem) else compiled
    missing = [str(symbol) for symbol in (*ir.problem.fields, *ir.coefficients, *ir.unknowns) if symbol not in solutions]
    if missing:
        wanted = "give one per field and coefficient field, and a number per unknown scalar"
        raise CompileError(f"the oracle was given no expression for {', '.join(missing)}; {wanted}")
    fields = [sp.sympify(solutions[candidate]) for candidate in (*ir.problem.fields, *ir.coefficients)]
    unknowns = {unknown_symbol(unknown): complex(solutions[unknown]) for unknown in ir.unknowns}
    programs = compiled.programs if isinstance(compiled, CompiledProblem) else [compile_residual(residual, ir) for residual in ir.residuals]
    return [(program.residual.label, _relative_residual(program, ir, fields, unknowns, n_points, seed, where)) for program in programs]


def _relative_residual(
    program: ResidualProgram, ir: ProblemIR, fields: Sequence[Any], unknowns: Mapping[Any, complex], n_points: int, seed: int, where: Mask | None
) -> float:
    sides, normals = sample_region(program.residual, ir, n_points, seed)
    if where is not None and program.residual.region.kind == "domain":
        mask = where(sides[0])
        sides = [side[mask] for side in sides]
    if not len(sides[0]):
        raise CompileError(f"{program.residual.label}: the oracle has no points; give more, or a wider mask")
    compute = program.compile([program.algebra, *sp.Add.make_args(sp.expand(program.algebra))])
    used = [_plain(unknowns[symbol]) for symbol in program.unknowns]
    total: Any = 0.0
    scale: Any = 0.0
    for sign, points in zip((1, -1), sides, strict=False):
        jets = [jet_values(fields[jet.field], jet, ir, points) for jet in program.jets]
        value, *terms = compute(program.coefficients(points, normals), jets, used)
        total = total + sign * value
        scale = scale + sum(np.abs(np.broadcast_to(term, (len(points), ir.n_shots))) for term in terms)
    if program.residual.values is not None:
        measured = np.atleast_2d(program.residual.values).T
        total, scale = total - measured, scale + np.abs(measured)
    largest, size = float(np.max(np.abs(total))), float(np.mean(scale))
    return largest / size if size > 0 else largest


def jet_values(expression: Any, jet: Jet, ir: ProblemIR, points: Array) -> NDArray[Any]:
    """Return a derivative of an expression at points, (n_points, n_shots), by SymPy's differentiation."""
    members = []
    for shot in range(ir.n_shots):
        derivative = select_shot(expression, shot)
        for symbol, order in zip(ir.coordinates, jet.orders, strict=True):
            derivative = derivative.diff(symbol, order) if order else derivative
        members.append(derivative)
    return np.stack(evaluator(members, ir.coordinates)(points), axis=1)


def sample_region(residual: Residual, ir: ProblemIR, n_points: int, seed: int) -> tuple[list[Array], Array | None]:
    """Return the points where a residual must vanish (of interfaces and pairs of faces both sides), and outward normals on boundary parts."""
    region = residual.region
    if residual.level_set is not None:
        return list(interface_sides(residual.level_set, ir, n_points, seed)), None
    if region.kind == "pair":
        return list(sample_pair(region, ir.domain, n_points, seed)), None
    if region.kind == "part":
        assert region.part is not None
        points, normals = ir.domain.sample_boundary(region.part, n_points, seed)
        return [points], normals
    if region.kind == "cloud":
        assert region.cloud is not None
        points, normals = region.cloud.sample(n_points, seed)
        return [points], normals
    if region.kind == "points":
        assert region.points is not None
        return [region.points], None
    assert region.domain is not None
    return [region.domain.sample_interior(n_points, seed)], None


def interface_sides(surface: Any, ir: ProblemIR, n_points: int, seed: int) -> tuple[Array, Array]:
    """Return points just on the positive and just on the negative side of a level set."""
    evaluate = evaluator([surface.function, *[sp.diff(surface.function, symbol) for symbol in ir.coordinates]], ir.coordinates)
    points = ir.problem.domain.sample_interior(n_points, seed)
    slopes = np.zeros_like(points)
    for _ in range(NEWTON_STEPS):
        value, *columns = (np.real(array) for array in evaluate(points))
        slopes = np.stack(columns, axis=1)
        points = points - (value / np.maximum(np.sum(slopes**2, axis=1), 1e-30))[:, None] * slopes
    keep = ir.problem.domain.contains(points)
    for sibling in surface.siblings:
        keep &= np.real(evaluate_on(sibling, ir.coordinates, points)) > 0
    points, slopes = points[keep], slopes[keep]
    step = INTERFACE_OFFSET * ir.problem.domain.size * slopes / np.linalg.norm(slopes, axis=1, keepdims=True)
    return points + step, points - step


def _plain(value: complex) -> complex | float:
    return value.real if value.imag == 0 else value
