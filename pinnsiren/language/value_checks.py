"""Checks that evaluate a declaration at probe points: finite coefficients and data, real ones for real fields.

Input: the problem. Output: nothing, or a `ProblemError` that names the expression and the place.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ProblemError
from pinnsiren.language.conditions import ConditionResidual, Observations
from pinnsiren.language.declaration import Declaration
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.operators import NormalComponent, expand_operators
from pinnsiren.language.shot_families import group_shots
from pinnsiren.language.sources import GaussianSource, SourceFamily, select_shot
from pinnsiren.language.symbols import declaration_of, is_field, is_unknown

N_PROBES = 257  # points at which expressions are probed for values that are complex or not finite
N_REGION_PROBES = 33
ROUNDING = 1e-14  # imaginary parts below this, relative, are rounding of complex arithmetic


def check_values(problem: Declaration) -> None:
    """Real fields have real sources and data; coefficients and data are finite where they are used."""
    interior = problem.domain.sample_interior(N_PROBES, seed=1)
    for index, equation in enumerate(problem.equations):
        _check_parts(problem, f"equation {index}", equation, interior, _is_real(problem, [equation]))
    for condition in problem.conditions:
        real = _is_real(problem, condition.expressions())
        for residual in condition.residuals(problem.domain):
            _check_parts(problem, f"the {residual.label}", residual.expression, probe_points(problem, residual), real)
        if isinstance(condition, Observations) and real and condition.expression.is_real is not False:
            _check_real_observations(problem, condition)
    for candidate, solution in (problem.exact or {}).items():
        if is_field(candidate) and isinstance(solution, sp.Expr):
            _check_parts(problem, f"the exact solution of `{candidate}`", solution, interior, not declaration_of(candidate).is_complex)


def probe_points(problem: Declaration, residual: ConditionResidual) -> NDArray[np.float64]:
    """Return a few points of the region of a residual."""
    region = residual.region
    if region.part is not None:
        return problem.domain.sample_boundary(region.part, N_REGION_PROBES, 1)[0]
    if region.domain is not None:
        return region.domain.sample_interior(N_REGION_PROBES, 1)
    if region.cloud is not None:
        return region.cloud.sample(N_REGION_PROBES, 1)[0]
    assert region.points is not None
    return region.points.reshape(-1, region.points.shape[-1])[:N_REGION_PROBES]


def shots_of(problem: Declaration, expression: Any) -> Iterable[int]:
    """Return the shots for which an expression differs."""
    return range(problem.n_shots or 1) if expression.has(SourceFamily) else (0,)


def coordinate_parts(expression: Any) -> list[Any]:
    """Return coefficients and sources: the field-free factors of every term of an expanded expression."""
    parts = []
    for term in sp.Add.make_args(sp.expand_mul(expression)):
        free = [factor for factor in sp.Mul.make_args(term) if not holds_unknowns(factor)]
        product = sp.Mul(*free)
        if product is not sp.S.One:
            parts.append(product)
    return parts


def holds_unknowns(expression: Any) -> bool:
    """Whether a field, an unknown or the normal stands in an expression, so that coordinates alone give it no value."""
    return any(is_field(node) or is_unknown(node) or isinstance(node, NormalComponent) for node in expression.atoms(sp.Function))


def _is_real(problem: Declaration, expressions: Iterable[Any]) -> bool:
    fields = {node for expression in expressions for node in sp.sympify(expression).atoms(sp.Function) if is_field(node)}
    return not any(declaration_of(candidate).is_complex for candidate in fields or problem.fields)


def _suspects(problem: Declaration, expression: Any, points: NDArray[np.float64], real: bool) -> Iterable[int]:
    """Return the shots that have to be looked at one by one: of many that differ in numbers, those with a value that is not finite or not real."""
    if not problem.n_shots or not expression.has(SourceFamily):
        return (0,)
    suspects: set[int] = set()
    for group in group_shots(expression, problem.n_shots):
        for part in coordinate_parts(expand_operators(group.expression)):
            values = group.evaluate_part(part, problem.domain.coordinates, points)
            bad = ~np.all(np.isfinite(values), axis=0)
            amplitude = part.replace(lambda node: isinstance(node, GaussianSource), lambda node: node.amplitude)
            if real and not holds_unknowns(amplitude):
                levels = group.evaluate_part(amplitude, problem.domain.coordinates, points)
                bad |= np.any(np.abs(np.imag(levels)) > ROUNDING * np.abs(levels), axis=0)
            suspects.update(shot for shot, found in zip(group.shots, bad, strict=True) if found)
    return sorted(suspects)


def _check_parts(problem: Declaration, place: str, expression: Any, points: NDArray[np.float64], real: bool) -> None:
    for shot in _suspects(problem, expression, points, real):
        for part in coordinate_parts(select_shot(expand_operators(expression), shot)):
            values = evaluate_on(part, problem.domain.coordinates, points)
            if not np.all(np.isfinite(values)):
                first = points[~np.isfinite(values)][0]
                raise ProblemError(
                    f"`{part}` in {place} of problem `{problem.name}` is NaN or infinite at {_named(problem, first)}; expected finite values. "
                    "A wave speed of zero, another division by zero, or a root of a negative number is the usual cause"
                    f"{_split_exponential(part)}"
                )
            # A narrow source underflows to zero at the probes; its amplitude alone decides whether it is real.
            amplitude = part.replace(lambda node: isinstance(node, GaussianSource), lambda node: node.amplitude)
            if real and not holds_unknowns(amplitude):
                levels = evaluate_on(amplitude, problem.domain.coordinates, points)
                if np.any(np.abs(np.imag(levels)) > ROUNDING * np.abs(levels)):
                    raise ProblemError(
                        f"`{part}` in {place} of problem `{problem.name}` is complex while the field is real; "
                        "declare field(..., complex=True), or make it real"
                    )


def _split_exponential(part: Any) -> str:
    """Return a hint where SymPy has split exp((x - 1)/0.001) into exp(-1000) exp(1000 x), whose second factor overflows."""
    tiny = any(node != 0 and abs(node) < np.finfo(float).tiny for node in part.atoms(sp.Float))
    if not (tiny and part.has(sp.exp)):
        return ""
    return (
        ". Here it is an exponential that SymPy has split into a tiny number and a factor that overflows; with whole numbers or sp.Rational in place "
        "of floats it stays in one piece, as in exp(1000*(x - 1))"
    )


def _check_real_observations(problem: Declaration, condition: Observations) -> None:
    values = np.asarray(condition.values)
    if np.any(np.imag(values) != 0):
        raise ProblemError(
            f"the observations of `{condition.expression}` in problem `{problem.name}` are complex while the field is real; "
            "declare field(..., complex=True), or pass their real part"
        )


def _named(problem: Declaration, point: NDArray[np.float64]) -> str:
    return ", ".join(f"{symbol}={value:.4g}" for symbol, value in zip(problem.domain.coordinates, point, strict=True))
