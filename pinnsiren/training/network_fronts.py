"""Inputs of a network stretched across fronts: where a coarse solve sees a front, the network gets the stretched coordinate as a further input.

Input: a plan with a network. Output: the plan with a chart and a network input per stretched axis, unchanged where the solution is evenly spread. The
coarse solve is the first march of least squares on stretched axes, a few seconds; nothing of it but the map of each axis is handed on. Prescribed
values then hold by construction where they can: an error of the initial values is carried into the front, where it counts most.
"""

from dataclasses import replace

import numpy as np
import sympy as sp

from pinnsiren.charts.front_stretch import Stretch, stretch_from_scales
from pinnsiren.compiler.apply_hard_conditions import NAME as HARD_CONDITIONS
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.plan import Plan
from pinnsiren.errors import NonFiniteError
from pinnsiren.ir import Chart
from pinnsiren.language.locations import space_of
from pinnsiren.training.front_points import stretches_of
from pinnsiren.training.method import RunSettings
from pinnsiren.training.stretched_evidence import has_layers
from pinnsiren.training.stretched_least_squares import StretchedLeastSquares

FRONT = 9.0  # local scales along an axis; a sine over the axis has 7
RELIABLE = 0.3  # residual of the coarse solve over the field: above, its fronts are noise
TIME_UNITS = 3.0  # local units that the half time stands for among the features that estimate the error
COARSE_SHARE = 0.5  # of the budget, at most, for the coarse solve
SHARE = 2.0  # of such features, against those on the even box


def with_fronts(plan: Plan, settings: RunSettings) -> Plan:
    """Return the plan of a network with the inputs that a coarse solve proposes.

    Args:
        plan: with a network.
        settings: of the run of the network.

    Raises:
        OutOfTimeError: the coarse solve took too much of the budget: nobody knows whether there are fronts.
    """
    charts = front_charts(plan.compiled, settings)
    if not charts:
        return plan
    built = plan.including(HARD_CONDITIONS)
    return built.with_charts((*built.compiled.charts, *charts))


def front_charts(compiled: CompiledProblem, settings: RunSettings) -> tuple[Chart, ...]:
    """Return the charts that a coarse solve proposes for a network.

    Args:
        compiled: the problem.
        settings: of the run of the network.

    Raises:
        OutOfTimeError: the coarse solve took too much of the budget.
    """
    if not wants_coarse_solve(compiled):
        return ()
    run = StretchedLeastSquares().start(compiled, replace(settings, network=None))
    run.deadline.allow(COARSE_SHARE * settings.seconds)
    try:
        run.step()
    except NonFiniteError:
        return ()
    if not run.residual < RELIABLE:
        return ()
    space = space_of(compiled.ir.domain)
    found: dict[int, Stretch] = {}
    for axis in range(len(space.coordinates)):
        stretches = [fit.shape.stretches[axis] for fit in run.fits]
        if max(stretch.length for stretch in stretches) > FRONT:
            found[axis] = merged(stretches)
    return _charts(compiled, found)


def wants_coarse_solve(compiled: CompiledProblem) -> bool:
    """Whether fronts may be there that the declaration does not show, and a coarse solve is cheap: one axis of space, nonlinear or with layers."""
    if not StretchedLeastSquares().suits(compiled).ok or len(space_of(compiled.ir.domain).coordinates) > 1 or stretches_of(compiled):
        return False
    return compiled.structure.in_fields == "nonlinear" or has_layers(compiled)


def merged(stretches: list[Stretch]) -> Stretch:
    """Return the stretch that is as dense everywhere as the densest of several."""
    first = stretches[0]
    table = np.unique(np.concatenate([stretch.table() for stretch in stretches]))
    densest = np.max([stretch.density(table) for stretch in stretches], axis=0)
    return stretch_from_scales(table, 1 / densest, first.low, first.high, first.periodic)


def _charts(compiled: CompiledProblem, stretches: dict[int, Stretch]) -> tuple[Chart, ...]:
    symbols = compiled.ir.coordinates
    local = list(compiled.scales.local(symbols))
    half_lengths = [TIME_UNITS] * len(symbols)
    for axis in range(len(symbols)):
        local[axis] = local[axis] * sp.Float(TIME_UNITS / float(compiled.scales.half_lengths[axis]))
    for axis, stretch in stretches.items():
        local[axis], half_lengths[axis] = stretch.expression(symbols[axis]), 0.5 * stretch.length
    return tuple(
        Chart(
            name=f"front along {symbols[axis]}",
            reason=f"a coarse solve has {stretch.length:.3g} local scales; the network takes the stretched coordinate as an input",
            coordinates=tuple(local),
            window=1,
            half_lengths=tuple(half_lengths),
            share=SHARE / len(stretches),
            network_input=local[axis] / sp.Float(0.5 * stretch.length),
        )
        for axis, stretch in stretches.items()
    )
