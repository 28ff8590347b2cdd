"""What speaks for stretched axes: layers that a declaration implies, diffusion that smooths, and where the spectrum of a window ends.

Input: a compiled problem, or a window solved. Output: widths, answers and sizes that `StretchedLeastSquares` decides by.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.language.conditions import Periodic
from pinnsiren.language.domains import Box, SpaceTime
from pinnsiren.language.locations import space_of
from pinnsiren.training.stretched_basis import separated
from pinnsiren.training.stretched_window import Evaluators, WindowFit, grid

THIN = 0.02  # of the domain: layers below are narrower than what features on the scaled box resolve cheaply


def why_not_stretched(compiled: CompiledProblem) -> str:
    """Say why least squares on stretched axes does not fit, in a few words; empty if it does."""
    ir = compiled.ir
    space = space_of(ir.domain)
    if not isinstance(space, Box) or len(space.coordinates) > 2:
        return "it serves intervals and rectangles, at rest or in time"
    if ir.unknowns or compiled.is_complex or ir.n_shots > 1 or compiled.rewritten.additions:
        return "it serves real fields without unknown coefficients, shots or split-off parts"
    if any(separated(envelope, ir.coordinates) is None for envelope in ir.envelope):
        return "conditions hold by a factor that is no product along the axes"
    for residual in ir.residuals:
        if residual.kind not in ("equation", "initial", "condition") or residual.region.kind not in ("part", "pair", "domain"):
            return f"it has no rows for `{residual.label}`"
        if residual.kind != "equation" and residual.region.kind == "domain":
            return f"it has no rows for `{residual.label}`"
        if isinstance(ir.domain, SpaceTime) and any(jet.orders[-1] > 1 for jet in ir.jets):
            return "the equations are of second order in time"
    for axis in space.coordinates:
        count = sum(isinstance(c, Periodic) and c.axis == axis for c in ir.problem.conditions)
        if count not in (0, len(ir.problem.fields)):
            return "some fields are periodic, others not"
    return ""


def layer_widths(compiled: CompiledProblem) -> list[float]:
    """Return the width of boundary layers along each axis, infinite where diffusion dominates.

    eps u'' against b u' has layers of width eps/b, against a u of the opposite sign sqrt(eps/a). Nonlinear equations are linearised at one.
    """
    ir = compiled.ir
    points, evaluators = ir.domain.sample_interior(256, seed=5), Evaluators(compiled)
    widths = []
    zero = (0,) * len(ir.coordinates)
    for axis in range(len(ir.coordinates)):
        unit = tuple(int(i == axis) for i in range(len(zero)))
        second = tuple(2 * order for order in unit)
        width = np.inf
        for index, program in enumerate(compiled.programs):
            if program.residual.kind != "equation":
                continue
            partials, _ = evaluators(index, program.coefficients(points), [np.ones(len(points)) for _ in program.jets])
            means: dict[Any, float] = {}
            for jet, partial_ in zip(program.jets, partials, strict=True):
                # Of a derivative, the typical size; of the field itself, the sign matters: the other one makes waves and no layers.
                value = float(np.mean(partial_) if jet.orders == zero else np.sqrt(np.mean(partial_**2)) * np.sign(np.mean(partial_) or 1.0))
                means[jet.orders] = means.get(jet.orders, 0.0) + value
            diffusion = abs(means.get(second, 0.0))
            transport, absorption = abs(means.get(unit, 0.0)), -means.get(zero, 0.0) * np.sign(means.get(second, 0.0))
            if diffusion and transport:
                width = min(width, diffusion / transport)
            if diffusion and absorption > 0:
                width = min(width, float(np.sqrt(diffusion / absorption)))
        widths.append(width)
    return widths


def has_layers(compiled: CompiledProblem) -> bool:
    """Whether boundary layers are thin against the domain."""
    lengths = [high - low for low, high in compiled.ir.domain.bounds.values()]
    return any(width < THIN * length for width, length in zip(layer_widths(compiled), lengths, strict=True))


def is_smooth_spread(compiled: CompiledProblem) -> bool:
    """Whether diffusion acts along two axes in linear equations without jumps: what starts rough is soon smooth, and even axes serve it."""
    ir = compiled.ir
    if not isinstance(ir.domain, SpaceTime) or len(ir.coordinates) != 3 or compiled.structure.in_fields == "nonlinear" or len(compiled.charts) > 1:
        return False
    spread = all(any(jet.orders[axis] == 2 for jet in ir.jets) for axis in range(2))
    return spread and any(jet.orders[-1] == 1 for jet in ir.jets)


def tails(fit: WindowFit) -> tuple[list[float], float]:
    """Return how much of a window's solution lies in the highest functions along each axis of space, and in time.

    Chebyshev coefficients on as many points as there are functions, the highest sixth of them.
    """
    shape = fit.shape
    result = []
    for axis in range(len(shape.harmonics)):
        reduced = replace(shape, harmonics=tuple(n if i == axis else min(n, 12) for i, n in enumerate(shape.harmonics)))
        axes = reduced.axes(1.0)
        count = 2 * shape.harmonics[axis] + 1
        unit = np.cos(np.pi * np.arange(count) / (count - 1))
        axes[axis] = shape.on_axis(axis, unit)
        points = grid(axes)
        worst = 0.0
        for field in range(len(fit.model.bases)):
            values = fit.model.evaluate(field, points, (0,) * len(axes))[:, 0].reshape(*map(len, axes))
            values = np.moveaxis(values, axis, 0).reshape(count, -1)
            coefficients = np.polynomial.chebyshev.chebvander(unit, count - 1)
            spectrum = np.abs(np.linalg.solve(coefficients, values))
            worst = max(worst, float(np.sqrt(np.mean(np.sum(spectrum[-max(2, count // 6) :] ** 2, axis=0)))))
        result.append(worst)
    return (result[:-1], result[-1]) if shape.times is not None else (result, 0.0)
