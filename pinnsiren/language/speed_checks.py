"""Checks of speeds and slownesses, whose sign is lost in a square: c**2 is never negative, yet a speed that passes through zero stops every wave.

Input: the problem. Output: nothing, or a `ProblemError` that names the speed and the place.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from sympy.core.function import AppliedUndef

from pinnsiren.errors import ProblemError
from pinnsiren.language.declaration import Declaration
from pinnsiren.language.domains import SpaceTime
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.operators import expand_operators
from pinnsiren.language.sampled import SampledDeclaration
from pinnsiren.language.sources import SourceFamily
from pinnsiren.language.symbols import declaration_of
from pinnsiren.language.value_checks import holds_unknowns

N_POINTS = 2048


def check_speeds(problem: Declaration) -> None:
    """Squared speeds and slownesses have bases of one sign; squared slownesses of the eikonal equation are positive."""
    points = problem.domain.sample_interior(N_POINTS, seed=2)
    for equation in problem.equations:
        expanded = expand_operators(equation)
        for base, what in _squared_bases(problem, expanded):
            _check_base(problem, base, what, points)
        square = _squared_slowness(problem, expanded)
        if square is not None:
            values = np.real(evaluate_on(square, problem.domain.coordinates, points))
            if np.min(values) < 0:
                place = _named(problem, points[int(np.argmin(values))])
                raise ProblemError(
                    f"the squared slowness `{square}` of problem `{problem.name}` is {np.min(values):.3g} at {place}; expected positive values: "
                    "check the sign, no travel time has such a gradient"
                )


def _squared_bases(problem: Declaration, expanded: Any) -> Iterator[tuple[Any, str]]:
    """Return what is squared in front of space derivatives of a wave equation, or in a denominator of any equation."""
    symbols = set(problem.domain.coordinates)
    for power in sorted(expanded.atoms(sp.Pow), key=str):
        base, exponent = power.as_base_exp()
        if exponent == -2 and base.free_symbols & symbols and not _is_open(base):
            yield base, "speed"
    if not isinstance(problem.domain, SpaceTime):
        return
    second = {sp.Derivative(candidate, (problem.domain.time, 2)) for candidate in problem.fields}
    if not expanded.atoms(sp.Derivative) & second:
        return
    for coefficient in _in_front_of_second_derivatives(expanded, problem.domain.time):
        for factor in sp.Mul.make_args(coefficient):
            base, exponent = factor.as_base_exp()
            if exponent == 2 and base.free_symbols & symbols and not _is_open(base):
                yield base, "speed"


def _in_front_of_second_derivatives(expanded: Any, time: Any) -> Iterator[Any]:
    """Return the whole coefficient of every derivative in space of second order: a square that is only a summand, as in 1 + x**2, is no speed."""
    summands: dict[Any, list[Any]] = {}
    for term in sp.Add.make_args(sp.expand_mul(expanded)):
        factors = sp.Mul.make_args(term)
        for spatial in [f for f in factors if isinstance(f, sp.Derivative) and time not in dict(f.variable_count) and f.derivative_count > 1]:
            summands.setdefault(spatial, []).append(sp.Mul(*[factor for factor in factors if factor is not spatial]))
    for parts in summands.values():
        yield sp.Add(*parts)


def _check_base(problem: Declaration, base: Any, what: str, points: NDArray[np.float64]) -> None:
    values = np.real(evaluate_on(base, problem.domain.coordinates, points))
    if not np.all(np.isfinite(values)):
        return
    lowest, place = float(np.min(values)), _named(problem, points[int(np.argmin(values))])
    data = [declaration_of(node) for node in base.atoms(AppliedUndef)]
    is_data = base.is_Function and len(data) == 1 and isinstance(data[0], SampledDeclaration)
    if is_data and data[0].values.dtype.kind == "f" and float(np.min(data[0].values)) <= min(lowest, 0.0):
        lowest, place = float(np.min(data[0].values)), "one of its samples"
    passes_zero = float(np.max(values)) > 0 >= lowest
    if passes_zero or (is_data and lowest <= 0):
        raise ProblemError(
            f"the {what} `{base}` of problem `{problem.name}` is {lowest:.3g} at {place}; expected positive values in the whole domain: "
            "its square hides the sign, and where it vanishes no wave goes on"
        )


def _squared_slowness(problem: Declaration, expanded: Any) -> Any | None:
    """Return s^2 of |grad T|^2 = s^2 in the plain form, else None."""
    if len(problem.fields) != 1 or isinstance(problem.domain, SpaceTime):
        return None
    (candidate,) = problem.fields
    slopes = [sp.Derivative(candidate, symbol) for symbol in problem.domain.coordinates]
    if expanded.atoms(sp.Derivative) != set(slopes):
        return None
    names = {slope: sp.Dummy() for slope in slopes}
    marked = expanded.xreplace(names)
    rest = marked.xreplace(dict.fromkeys(names.values(), sp.Integer(0)))
    sums = sp.Add(*[name**2 for name in names.values()])
    for sign in (1, -1):
        if sp.expand(marked - rest - sign * sums) == 0 and not _is_open(rest):
            return -sign * rest
    return None


def _is_open(expression: Any) -> bool:
    return bool(holds_unknowns(expression)) or bool(expression.has(SourceFamily))


def _named(problem: Declaration, point: NDArray[np.float64]) -> str:
    return ", ".join(f"{symbol}={value:.4g}" for symbol, value in zip(problem.domain.coordinates, point, strict=True))
