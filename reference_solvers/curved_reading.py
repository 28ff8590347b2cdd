"""What a declaration on a curved domain says, in the words of the grid solver.

Input: a `Problem`. Output: `CurvedReading`, or `ReferenceSolverError` with the reason of the refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import PinnsirenError, ReferenceSolverError
from pinnsiren.language import AbstractDomain, Box, Dirichlet, InitialCondition, Neumann, Observations, Problem, Robin, SpaceTime
from pinnsiren.language.locations import parts_of
from pinnsiren.language.symbols import declaration_of

from .coefficients import LinearForm, linear_form
from .evaluation import evaluator, may_jump
from .shortley_weller import PartRow, pointwise_coefficients

Array = NDArray[Any]

# Points at which coefficients are looked at.
_N_SAMPLES = 1000
_SEED = 3


@dataclass(frozen=True)
class CurvedReading:
    """One linear elliptic equation on a domain without time.

    Attributes:
        problem: the declaration.
        form: coefficients of the equation.
        domain: where it holds.
        rows: the condition on each boundary part.
        shots: number of shots, or None.
        is_complex: whether the field is.
        jumps: whether a source or the coefficient of u jumps.
        wavenumber: largest sqrt(max(Re C/A, 0)).
    """

    problem: Problem
    form: LinearForm
    domain: AbstractDomain
    rows: tuple[PartRow, ...]
    shots: int | None
    is_complex: bool
    jumps: bool
    wavenumber: float

    @property
    def is_free(self) -> bool:
        """Whether the solution is defined up to a constant only."""
        kept = self.form.reaction == 0 and not any(term.towards is None for term in self.form.fluxes)
        return kept and all(row.is_neumann for row in self.rows)


def read_curved(problem: Problem) -> CurvedReading:
    """Read a problem.

    Raises:
        ReferenceSolverError: anything else than one linear elliptic equation with a condition on every boundary part; the message says what.
    """
    domain = problem.domain
    if isinstance(domain, SpaceTime):
        raise ReferenceSolverError(f"`{problem.name}` depends on time; this solver answers steady problems")
    if isinstance(domain, Box):
        raise ReferenceSolverError("the domain is a box or interval, which the box solver treats to higher order")
    form = linear_form(problem)
    if form.coordinates != tuple(domain.coordinates) or len(form.coordinates) > 3:
        raise ReferenceSolverError(f"the field depends on {form.coordinates}, the domain on {domain.coordinates}; expected the same, three at most")
    if any(may_jump(term.inner) for term in form.fluxes):
        raise ReferenceSolverError(f"a coefficient inside a flux of `{problem.name}` jumps; on curved domains it has to be smooth")
    rows = _part_rows(problem)
    declaration = declaration_of(problem.fields[0])
    jumps = any(may_jump(e) for e in [*form.expressions(), *form.source])
    return CurvedReading(problem, form, domain, rows, declaration.shots, bool(declaration.is_complex), jumps, _wavenumber(form, problem))


def _part_rows(problem: Problem) -> tuple[PartRow, ...]:
    rows: dict[str, PartRow] = {}
    for condition in problem.conditions:
        if isinstance(condition, Observations | InitialCondition):
            # Observations pin nothing in a forward problem.
            continue
        kind = type(condition).__name__
        if not isinstance(condition, Dirichlet | Neumann | Robin):
            raise ReferenceSolverError(f"`{problem.name}` has a condition `{kind}`, which this solver does not support")
        parts = parts_of(condition.on, problem.domain)
        if not parts:
            raise ReferenceSolverError(f"`{problem.name}` puts a {kind} condition on `{condition.on}`; expected boundary parts")
        for part in parts:
            if part in rows:
                raise ReferenceSolverError(f"`{problem.name}` has two conditions on {problem.domain.described_part(part)}")
            if isinstance(condition, Dirichlet):
                rows[part] = PartRow(part, sp.Integer(1), sp.Integer(0), condition.value)
            elif isinstance(condition, Neumann):
                rows[part] = PartRow(part, sp.Integer(0), sp.Integer(1), condition.value)
            else:
                rows[part] = PartRow(part, sp.sympify(condition.a), sp.sympify(condition.b), condition.value)
    bare = [problem.domain.described_part(part) for part in problem.domain.boundary_parts() if part not in rows]
    if bare:
        raise ReferenceSolverError(f"the boundary of `{problem.name}` carries no condition on {', '.join(bare)}")
    return tuple(rows.values())


def _wavenumber(form: LinearForm, problem: Problem) -> float:
    """Largest sqrt(max(Re C/A, 0)) on a sample of the domain; checks that the equation is elliptic there."""
    try:
        points = problem.domain.sample_interior(_N_SAMPLES, _SEED)
    except PinnsirenError as error:
        raise ReferenceSolverError(f"the domain of `{problem.name}` cannot be sampled: {error}") from error
    coefficients = pointwise_coefficients(form)
    dimension = len(form.coordinates)
    tensor = np.zeros((_N_SAMPLES, dimension, dimension), dtype=complex)
    for index, coefficient in coefficients.items():
        if sum(index) == 2:
            first, *others = [axis for axis, count in enumerate(index) for _ in range(count)]
            values = evaluator(coefficient, form.coordinates)(*points.T)
            tensor[:, first, others[0]] += 0.5 * values
            tensor[:, others[0], first] += 0.5 * values
    # A common complex factor, such as that of a lossy medium, changes nothing.
    phase = np.exp(-1j * np.angle(tensor[:, 0, 0]))
    turned = np.real(tensor * phase[:, None, None])
    if not np.all(np.isfinite(turned)) or np.any(np.linalg.eigvalsh(turned)[:, 0] <= 0):
        raise ReferenceSolverError(
            f"the equation of `{problem.name}` is not elliptic: its second derivatives vanish, are infinite or have different signs somewhere"
        )
    reaction = evaluator(form.reaction, form.coordinates)(*points.T) * phase
    return float(np.sqrt(np.max(np.maximum(np.real(reaction), 0) / np.linalg.eigvalsh(turned)[:, -1])))
