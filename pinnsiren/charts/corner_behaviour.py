"""How a solution behaves at a corner: the exponents that the angle and the kinds of conditions leave, and whether the data fit together.

Input: a lowered problem and a corner of its domain. Output: `CornerBehaviour`. The homogeneous problem in a sector of opening w has the solutions
r^p sin(p angle + phase), p = m pi/w between conditions of one kind, p = (m - 1/2) pi/w between value and slope (Kondratiev 1967; Grisvard 1985,
section 4.4). Where p is a whole number they are polynomials; then only data that no smooth function satisfies leave a singularity, r^n log r.
"""

from dataclasses import dataclass
from itertools import product
from math import floor, log
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.charts.gradings import CornerGrading
from pinnsiren.ir import Jet, MultiIndex, ProblemIR, Residual, partial_derivative
from pinnsiren.language.domains import AbstractDomain
from pinnsiren.language.domains.outline import Corner
from pinnsiren.language.numeric import evaluate_on, evaluator
from pinnsiren.language.operators import NormalComponent
from pinnsiren.language.sources import SourceFamily

Array = NDArray[np.float64]
LARGEST_EXPONENT = 4.0  # r^p above is approximated by waves of bandwidth W to W^-(p + 1): nothing that a chart would improve
WHOLE = 1e-6
DEGREE = 8  # of the polynomials that are fitted near the corner
NEAR = 0.05  # radius of the fit in units of the shorter side; the second radius is a quarter of it
SMALL = 1e-11  # of the solution: misfits below are rounding, and singularities of this size nobody sees
SHORTEST_INSIDE = 1e-6  # of the radius: fits need no points closer to the corner
PLAIN = "equation"


@dataclass(frozen=True)
class CornerBehaviour:
    """What to expect at a corner.

    Attributes:
        lowest: smallest exponent of the singular part.
        spacing: of the exponents.
        is_logarithmic: whether the exponents are whole numbers and logarithms occur.
        reason: for `explain`.
        scaling: (2, 2) linear map of the offset from the corner that makes the principal part the Laplacian.
    """

    lowest: float
    spacing: float
    is_logarithmic: bool
    reason: str
    scaling: tuple[tuple[float, float], tuple[float, float]] = ((1.0, 0.0), (0.0, 1.0))


def behaviour_at(corner: Corner, ir: ProblemIR, space: AbstractDomain) -> CornerBehaviour | None:
    """Return how the solution behaves at a corner, None where it is smooth or where nothing can be said."""
    sides = [conditions_on(ir, side.part) for side in (corner.first, corner.last)]
    if not sides[0] or not sides[1]:
        return None
    orders = [max(residual_order(ir, residual) for residual in side) for side in sides]
    scaling = principal_scaling(ir, corner.point)
    opening = _opening_after(corner, scaling)
    spacing = np.pi / opening
    mixed = (orders[0] > 0) != (orders[1] > 0)
    exponents = [p for p in (spacing * (m - 0.5 if mixed else m) for m in range(1, 30)) if p < LARGEST_EXPONENT]
    broken = [p for p in exponents if abs(p - round(p)) > WHOLE]
    degrees = f"opening of {np.degrees(corner.opening):.4g} degrees"
    kinds = " between a value and a slope" if mixed else ""
    tupled = ((float(scaling[0, 0]), float(scaling[0, 1])), (float(scaling[1, 0]), float(scaling[1, 1])))
    degree = _incompatible_degree(corner, ir, space, sides) if len(ir.is_complex) == 1 and len(ir.coordinates) == 2 else None
    if degree == 0:
        told = f"{degrees}: the boundary data jump, so that the solution depends on the angle up to the point"
        return CornerBehaviour(0.0, float(spacing), True, told, tupled)
    if broken:
        return CornerBehaviour(float(broken[0]), float(spacing), False, f"{degrees}{kinds}: the solution behaves like r^{broken[0]:.3g}", tupled)
    if degree is not None:
        return CornerBehaviour(
            float(degree), float(spacing), True, f"{degrees}{kinds}: no smooth function fits equation and conditions, r^{degree} log r occurs", tupled
        )
    if exponents and corner.first.curvature != corner.last.curvature:
        lowest = float(exponents[0])
        return CornerBehaviour(lowest, float(spacing), True, f"{degrees} between curves: r^{lowest + 1:.3g} log r may occur", tupled)
    return None


def conditions_on(ir: ProblemIR, part: str) -> list[Residual]:
    """Return the residuals of the conditions on a boundary part, those that an envelope satisfies included."""
    found = [residual for residual in ir.residuals if residual.region.part == part and residual.region.opposite is None]
    for condition in ir.problem.conditions:
        for item in condition.residuals(ir.domain):
            if item.label in ir.by_construction and item.region.part == part:
                # Envelopes are made of homogeneous Dirichlet conditions.
                found.append(Residual(item.label, "condition", _value(ir).symbol, item.region))
    return found


def _value(ir: ProblemIR) -> Jet:
    """Return the jet of the first field itself, which need not occur in a residual."""
    return Jet(0, (0,) * len(ir.coordinates))


def _jets_of(ir: ProblemIR, residual: Residual) -> list[Jet]:
    return [jet for jet in dict.fromkeys((*ir.jets, _value(ir))) if residual.expression.has(jet.symbol)]


def residual_order(ir: ProblemIR, residual: Residual) -> int:
    """Return the highest order of differentiation in a residual."""
    return max((jet.order for jet in _jets_of(ir, residual)), default=0)


def principal_scaling(ir: ProblemIR, point: tuple[float, float]) -> Array:
    """Return the symmetric map S with S A S = a I, A the coefficients of second order at a point; the identity where they are not elliptic."""
    for residual in ir.residuals:
        if residual.kind != PLAIN:
            continue
        matrix = np.zeros((2, 2))
        for first, second in product(range(2), repeat=2):
            orders = tuple(int(first == axis) + int(second == axis) for axis in range(len(ir.coordinates)))
            coefficient = _coefficients(ir, residual).get(orders)
            if coefficient is None or coefficient.free_symbols - set(ir.coordinates[:2]):
                continue
            value = complex(evaluate_on(coefficient, ir.coordinates[:2], np.array([point]))[0])
            matrix[first, second] = value.real if first == second else 0.5 * value.real
        matrix = matrix if np.trace(matrix) >= 0 else -matrix
        values, vectors = np.linalg.eigh(matrix) if np.all(np.isfinite(matrix)) else (np.zeros(2), np.eye(2))
        if values[0] > 1e-9 * values[1] and values[1] > 0:
            return np.asarray(vectors @ np.diag(np.sqrt(np.sqrt(values[0] * values[1]) / values)) @ vectors.T)
    return np.eye(2)


def vanishing_order(ir: ProblemIR, corner: Corner) -> int:
    """Return the power of r with which the envelope of the first field vanishes at a corner."""
    if not sp.sympify(ir.envelope[0]).free_symbols:
        return 0
    distances = 1e-4 * min(corner.first.length, corner.last.length) * np.array([[1.0], [0.1]])
    points = np.array(corner.point) + distances * np.array([np.cos(corner.bisector), np.sin(corner.bisector)])
    values = np.abs(evaluate_on(ir.envelope[0], ir.coordinates[:2], points))
    return round(float(np.log10(values[0] / values[1])))


def _coefficients(ir: ProblemIR, residual: Residual) -> dict[MultiIndex, Any]:
    """Return the coefficients of the derivatives of the first field."""
    own = [jet for jet in ir.jets if jet.field == 0 and residual.expression.has(jet.symbol)]
    return {jet.orders: partial_derivative(residual.expression, jet.symbol) for jet in own}


def _opening_after(corner: Corner, scaling: Array) -> float:
    """Return the opening of the corner in the scaled coordinates."""
    angles = corner.first.angle + np.linspace(0, corner.opening, 65)
    x, y = scaling @ np.stack([np.cos(angles), np.sin(angles)])
    return float(np.sum(np.diff(np.unwrap(np.arctan2(y, x)))))


def _incompatible_degree(corner: Corner, ir: ProblemIR, space: AbstractDomain, sides: list[list[Residual]]) -> int | None:
    """Return n where the data leave r^n log r (a jump for 0), None where polynomials fit equation and conditions near the corner.

    The misfit of polynomials of high degree falls like h^n with the size h of the neighbourhood, and like h^(DEGREE + 1) where all is smooth.
    """
    radius = NEAR * min(corner.first.length, corner.last.length)
    misfits = [_misfit(corner, ir, space, sides, h) for h in (radius, 0.25 * radius)]
    if misfits[0] is None or misfits[1] is None or misfits[1] <= SMALL * _amplitude(ir, space):
        return None
    if not np.isfinite(misfits[0]):
        return 0
    degree = log(misfits[0] / misfits[1], 4)
    return max(0, floor(degree + 0.5)) if degree < LARGEST_EXPONENT + 0.5 else None


def _amplitude(ir: ProblemIR, space: AbstractDomain) -> float:
    """Return the size of the solution that the data suggest: those of each residual over its coefficients, derivatives in units of the domain."""
    largest = 0.0
    for residual in ir.residuals:
        part = residual.region.part
        points, normals = (space.sample_interior(256, seed=4), None) if part is None else space.sample_boundary(part, 256, seed=4)
        if residual.kind in (PLAIN, "condition") and residual.level_set is None:
            found = _polynomial_rows(ir, residual, points, normals, tuple(points.mean(axis=0)), 0.5 * space.size)
            if found is not None and np.max(np.abs(found[0])) > 0:
                largest = max(largest, float(np.nanmax(np.abs(found[1]))) / float(np.nanmax(np.abs(found[0]))))
    return largest


def _misfit(corner: Corner, ir: ProblemIR, space: AbstractDomain, sides: list[list[Residual]], h: float) -> float | None:
    """Return the root mean square of what a polynomial leaves of equation and conditions within h; None for what is not affine."""
    ends = tuple((side.part, side.angle, side.curvature, h) for side in (corner.first, corner.last))
    grading = CornerGrading(corner.point, corner.bisector, corner.opening, SHORTEST_INSIDE * h, h, ends)
    inside = grading.draw(4 * (DEGREE + 1) ** 2, seed=1)
    inside = inside[space.contains(inside)]
    rows, rights = [], []
    places = [(residual, inside, None) for residual in ir.residuals if residual.kind == PLAIN]
    for end, group in zip(ends, sides, strict=True):
        one = CornerGrading(corner.point, corner.bisector, corner.opening, SHORTEST_INSIDE * h, h, (end,))
        points = one.draw_on_part(end[0], 8 * (DEGREE + 1), seed=2)
        places += [(residual, points, space.outward_normals(end[0], points)) for residual in group]  # type: ignore[misc, arg-type]
    for residual, points, normals in places:
        found = _polynomial_rows(ir, residual, points, normals, corner.point, h)
        if found is None:
            return None
        scale = max(float(np.max(np.abs(found[0]))), 1e-300)
        rows.append(found[0] / scale)
        rights.append(found[1] / scale)
    matrix, right = np.concatenate(rows), np.concatenate(rights)
    if not np.all(np.isfinite(matrix)):
        return None
    if not np.all(np.isfinite(right)):
        return float("inf")
    left = right - matrix @ np.linalg.lstsq(matrix, right, rcond=1e-14)[0]
    return float(np.sqrt(np.mean(np.abs(left) ** 2)))


def _polynomial_rows(
    ir: ProblemIR, residual: Residual, points: Array, normals: Array | None, corner: tuple[float, float], h: float
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Apply a residual to all monomials of the offset from the corner in units of h."""
    own = _jets_of(ir, residual)
    known = {jet.symbol for jet in own}
    rest = residual.expression.xreplace(dict.fromkeys(known, sp.Integer(0)))
    partials = [partial_derivative(residual.expression, jet.symbol) for jet in own]
    if any(partial.free_symbols & known for partial in partials) or residual.expression.has(SourceFamily):
        return None
    names = {NormalComponent(symbol): sp.Symbol(f"normal_{symbol}", real=True) for symbol in ir.coordinates}
    expressions = [expression.xreplace(names) for expression in (*partials, rest)]
    symbols = [*ir.coordinates, *names.values()]
    if any(expression.free_symbols - set(symbols) for expression in expressions):
        return None
    values = evaluator(expressions, symbols)(np.hstack([points, np.zeros_like(points) if normals is None else normals]))
    offset = (points - np.array(corner)) / h
    exponents = [(a, b) for a, b in product(range(DEGREE + 1), repeat=2) if a + b <= DEGREE]
    matrix = np.zeros((len(points), len(exponents)), dtype=np.result_type(*values, float))
    for jet, value in zip(own, values[:-1], strict=True):
        for column, powers in enumerate(exponents):
            term = np.ones(len(points))
            for axis, (power, order) in enumerate(zip(powers, jet.orders, strict=True)):
                factor = float(np.prod([power - i for i in range(order)])) / h**order
                term = term * (factor * offset[:, axis] ** max(power - order, 0))
            matrix[:, column] += value * term
    return matrix, -values[-1]
