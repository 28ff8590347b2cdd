"""Checks of values that are prescribed at one place twice: at points, in overlapping regions, and at the first instant on the boundary.

Input: the problem. Output: nothing, a `ProblemError` where two values contradict each other, or a `ProblemWarning` where initial and boundary values
differ: the solution then jumps in a corner of space and time, which costs accuracy near it.
"""

import warnings
from itertools import combinations
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ProblemError, ProblemWarning
from pinnsiren.language.conditions import Dirichlet, InitialCondition
from pinnsiren.language.declaration import Declaration
from pinnsiren.language.domains import SpaceTime
from pinnsiren.language.locations import Region, space_of
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.sources import SourceFamily
from pinnsiren.language.value_checks import N_PROBES, N_REGION_PROBES, holds_unknowns

AGREEMENT = 1e-9  # relative: data written in two ways differ by rounding
CORNER_AGREEMENT = 1e-4  # relative, a tenth of the usual tolerance: tails of pulses are cut off, series end
CLOSE = 1e-9  # of the size of the domain

Array = NDArray[np.float64]
Placed = tuple[Dirichlet, Region]


def check_meeting_values(problem: Declaration) -> None:
    """Values of one field that are prescribed at one place agree; faces that coincide are checked elsewhere."""
    placed: list[Placed] = [
        (condition, residual.region)
        for condition in problem.conditions
        if isinstance(condition, Dirichlet) and not _is_open(condition.value)
        for residual in condition.residuals(problem.domain)
    ]
    for (first, here), (second, there) in combinations(placed, 2):
        if first.field != second.field or (here.part is not None and there.part is not None):
            continue
        points = _common_points(problem, here, there)
        if not len(points):
            continue
        values = [np.asarray(evaluate_on(c.value, problem.domain.coordinates, points)) for c in (first, second)]
        apart = np.abs(values[0] - values[1])
        if np.max(apart) > AGREEMENT * max(float(np.max(np.abs(values))), 1e-300):
            worst = int(np.argmax(apart))
            raise ProblemError(
                f"problem `{problem.name}` prescribes `{first.field}` twice at {_named(problem, points[worst])}, by the Dirichlet values "
                f"`{first.value}` and `{second.value}`, which are {values[0][worst]:.4g} and {values[1][worst]:.4g} there; keep one of them"
            )


def warn_of_jumping_corners(problem: Declaration) -> None:
    """Warn where the initial value of a field is not its boundary value at the first instant."""
    domain = problem.domain
    if not isinstance(domain, SpaceTime):
        return
    column = list(domain.coordinates).index(domain.time)
    initial = [c for c in problem.conditions if isinstance(c, InitialCondition) and c.time_order == 0 and not _is_open(c.value)]
    for start in initial:
        for condition in problem.conditions:
            if not isinstance(condition, Dirichlet) or condition.field != start.expression or _is_open(condition.value):
                continue
            for residual in condition.residuals(domain):
                if residual.region.part not in space_of(domain).boundary_parts():
                    continue
                points = domain.sample_boundary(residual.region.part, N_REGION_PROBES, 1)[0]
                points[:, column] = domain.time_bounds[0]
                before = np.abs(evaluate_on(start.value, domain.coordinates, _inside(domain, column)))
                values = [np.asarray(evaluate_on(v, domain.coordinates, points)) for v in (start.value, condition.value)]
                scale = max(float(np.max(before)), float(np.max(np.abs(values))), 1e-300)
                apart = np.abs(values[0] - values[1])
                if np.max(apart) > CORNER_AGREEMENT * scale:
                    worst = int(np.argmax(apart))
                    warnings.warn(
                        f"the initial value of `{start.expression}` in problem `{problem.name}` is {values[0][worst]:.4g} on the face "
                        f"`{residual.region.part}`, its Dirichlet value at that instant {values[1][worst]:.4g}: they contradict each other, and the "
                        "solution jumps there. Let them agree, unless the jump is meant",
                        ProblemWarning,
                        stacklevel=5,
                    )
                    return


def _is_open(value: Any) -> bool:
    """Whether coordinates alone give an expression no value."""
    return bool(holds_unknowns(sp.sympify(value))) or bool(sp.sympify(value).has(SourceFamily))


def _inside(domain: SpaceTime, column: int) -> Array:
    points = domain.sample_interior(N_PROBES, 1)
    points[:, column] = domain.time_bounds[0]
    return points


def _common_points(problem: Declaration, here: Region, there: Region) -> Array:
    """Return probe points that lie in both regions; points first, then the smaller domain."""
    for one, other in ((here, there), (there, here)):
        if one.points is not None:
            points = one.points.reshape(-1, one.points.shape[-1])
            return points[_lies_in(problem, points, other)]
    for one, other in ((here, there), (there, here)):
        if one.domain is not None:
            points = one.domain.sample_interior(N_PROBES, 1)
            inside = points[_lies_in(problem, points, other)]
            if len(inside):
                return inside
        elif one.part is not None:
            points = problem.domain.sample_boundary(one.part, N_REGION_PROBES, 1)[0]
            inside = points[_lies_in(problem, points, other)]
            if len(inside):
                return inside
    return np.zeros((0, len(problem.domain.coordinates)))


def _lies_in(problem: Declaration, points: Array, region: Region) -> NDArray[np.bool_]:
    close = CLOSE * problem.domain.size
    if region.points is not None:
        others = region.points.reshape(-1, region.points.shape[-1])
        return np.asarray(np.min(np.linalg.norm(points[:, None] - others[None], axis=2), axis=1) <= close)
    if region.domain is not None:
        return region.domain.contains(points)
    if region.part is not None:
        return np.asarray(problem.domain.boundary_distance(region.part, points) <= close)
    return np.zeros(len(points), dtype=bool)


def _named(problem: Declaration, point: Array) -> str:
    return ", ".join(f"{symbol}={value:.4g}" for symbol, value in zip(problem.domain.coordinates, point, strict=True))
