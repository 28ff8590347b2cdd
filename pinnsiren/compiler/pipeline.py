"""The stages of the compiler.

| stage | input | output | meaning |
|---|---|---|---|
| `apply_absorbing_layer` | `Problem` | `Rewritten` | layers become a larger box with complex coordinate stretching |
| `apply_source_splitting` | `Rewritten` | `Rewritten` | the known field of a narrow source is split off |
| `apply_factored_eikonal` | `Rewritten` | `Rewritten` | travel times lose the cone at their source |
| `apply_hard_conditions` | `Rewritten` | `Rewritten` | on request: prescribed values hold by construction |
| `lowering.lower_problem` | `Problem` | `ProblemIR` | residuals in jets, envelopes, interface residuals |
| `structure.find_structure` | `ProblemIR` | `Structure` | linear, affine, bilinear or nonlinear, in which unknown |
| `charts.find_scales` | `ProblemIR` | `Scales` | units, wavenumber, widths |
| `charts.propose_charts` | `ProblemIR` | `Chart`, ... | coordinates in which the solution is smooth |
| `residual_program.compile_residual` | `Residual` | `ResidualProgram` | coefficients of the points, algebra of the jets |
| `stream_plan.plan_streams` | `ResidualProgram`, ... | `StreamPlan` | the streams a network has to carry |

Rewrites run in this order because splitting continues the incident field into the layer by the complex coordinate that the layer's rewrite made.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.charts import Scales, find_scales, propose_charts
from pinnsiren.compiler.lowering import lower_problem
from pinnsiren.compiler.residual_program import ResidualProgram, compile_residual
from pinnsiren.compiler.stream_plan import StreamPlan, plan_streams
from pinnsiren.compiler.structure import Structure, find_structure
from pinnsiren.ir import Chart, MultiIndex, ProblemIR, Rewritten
from pinnsiren.language.free_constants import free_constant_fields
from pinnsiren.language.problem import Problem
from pinnsiren.language.symbols import declaration_of

PREFIX = "apply_"


@lru_cache(maxsize=1)
def rewrites() -> Mapping[str, Any]:
    """Return the rewrites of this folder by name: modules `apply_*` with NAME, ORDER, OPTIONAL and `apply`, in their order."""
    names = (module.name for module in iter_modules([str(Path(__file__).parent)]) if module.name.startswith(PREFIX))
    modules = sorted((import_module(f"{__package__}.{name}") for name in names), key=lambda module: module.ORDER)
    return {module.NAME: module for module in modules}


@dataclass(frozen=True)
class CompiledProblem:
    """Everything that a method needs to know of a problem."""

    original: Problem
    rewritten: Rewritten
    ir: ProblemIR
    structure: Structure
    scales: Scales
    charts: tuple[Chart, ...]
    programs: tuple[ResidualProgram, ...]
    streams: StreamPlan

    @property
    def is_complex(self) -> bool:
        """Whether any field is complex."""
        return any(self.ir.is_complex)

    @property
    def has_value_rows(self) -> bool:
        """Whether values on the boundary or at the first instant are met by rows."""
        return any(residual.kind in ("condition", "initial") for residual in self.ir.residuals)

    @cached_property
    def free_constants(self) -> tuple[int, ...]:
        """Positions of the fields that the declaration defines up to a constant only."""
        names = free_constant_fields(self.original)
        return tuple(index for index, field in enumerate(self.original.fields) if declaration_of(field).name in names)

    def known_part(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return what the rewrites split off a field, (n_points, n_shots)."""
        total: NDArray[Any] = np.zeros((len(points), self.ir.n_shots), dtype=complex if self.ir.is_complex[field_index] else float)
        for addition in self.rewritten.additions:
            if addition.field == self.original.fields[field_index]:
                total = total + addition.evaluate(points, orders)
        return total


def on_request(rewrite: Any) -> bool:
    """Whether a rewrite is applied only when it is asked for."""
    return bool(getattr(rewrite, "ON_REQUEST", False))


def is_offered(rewrite: Any) -> bool:
    """Whether plans name a rewrite on request to the user; others are asked for by methods."""
    return on_request(rewrite) and bool(getattr(rewrite, "OFFERED", True))


def compile_problem(
    problem: Problem, skipped: Collection[str] = (), charts: tuple[Chart, ...] | None = None, included: Collection[str] = ()
) -> CompiledProblem:
    """Run all stages.

    Args:
        problem: the declaration.
        skipped: names of optional rewrites to leave out; an absorbing layer cannot be left out.
        charts: charts to use instead of the proposed ones.
        included: names of rewrites that are applied on request only.

    Raises:
        CompileError: a declaration that no stage supports.
    """
    rewritten = Rewritten(original=problem, problem=problem)
    for name, rewrite in rewrites().items():
        if name not in skipped and not on_request(rewrite):
            rewritten = rewrite.apply(rewritten)
    for name, rewrite in rewrites().items():
        if name in included and on_request(rewrite):
            rewritten = rewrite.apply(rewritten)
    ir = lower_problem(rewritten.problem, rewritten.factors)
    scales = find_scales(ir, rewritten)
    programs = tuple(compile_residual(residual, ir) for residual in ir.residuals)
    return CompiledProblem(
        original=problem,
        rewritten=rewritten,
        ir=ir,
        structure=find_structure(ir),
        scales=scales,
        charts=propose_charts(ir, rewritten, scales) if charts is None else charts,
        programs=programs,
        streams=plan_streams(ir, programs),
    )
