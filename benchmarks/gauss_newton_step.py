"""One exact Gauss-Newton step of fewer residuals than parameters, as training takes it, against an explicit Jacobian.

Input: a number of residuals and a width. Output: milliseconds of both ways and how far their steps are apart. The equations are those of a nonlinear
membrane, Lap u + u^3 = x with u = 1 on the boundary, in float64; a step is the linearisation (streams, adjoints, Gram matrix), its factorisation, the
direction, the decrease that the linear model predicts and the residual at the new place. Both ways solve the same damped dual equations with the same
norms of the columns.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pinnsiren.compiler.pipeline import CompiledProblem, compile_problem
from pinnsiren.language import Box, Dirichlet, Problem, coordinates, field, laplacian
from pinnsiren.networks import Siren
from pinnsiren.training.dual_system import DualSystem
from pinnsiren.training.gauss_newton import GaussNewton, GaussNewtonRun
from pinnsiren.training.method import RunSettings
from pinnsiren.training.step_choice import counted_rows

from .derivative_step import busy_seconds, relative_difference, spread

DAMPING = 1e-3  # as after a few accepted steps


def membrane() -> CompiledProblem:
    """A nonlinear equation with a boundary: no layer is eliminated."""
    x, y = coordinates("x y")
    u = field("u", x, y)
    domain = Box({x: (0, 1), y: (0, 1)})
    return compile_problem(Problem(name="membrane", fields=[u], domain=domain, equations=[laplacian(u) + u**3 - x], conditions=[Dirichlet(u, 1)]))


def points_for(compiled: CompiledProblem, n_residuals: int) -> int:
    """Collocation points per equation that make about `n_residuals` rows, conditions included."""
    points = n_residuals
    for _ in range(4):
        points = max(1, round(points * n_residuals / counted_rows(compiled, points, 0)))
    return points


def begin(n_residuals: int, width: int, depth: int, device: str) -> GaussNewtonRun:
    """A run that is about to take its first step."""
    compiled = membrane()
    method = GaussNewton(points=points_for(compiled, n_residuals))
    return method.start(compiled, RunSettings(0, 1e-9, False, 3600.0, device, "float64", Siren(width=width, depth=depth, omega_0=10.0)))


def ways_of(run: GaussNewtonRun) -> dict[str, Callable[[], Tensor]]:
    """The step from the factors of the streams, which `DualSystem` takes in training, and from a Jacobian; both return the step."""
    problem, module, unknowns = run.problem, run.module, run.unknowns
    parameters = run.parameters()

    def tried(step: Tensor) -> Tensor:
        run.set_parameters(parameters + step)
        problem.all_rows(module, run.training, unknowns)
        run.set_parameters(parameters)
        return step

    def factors() -> Tensor:
        pairs = [problem.factored_rows(module, residual, unknowns) for residual in run.training]
        system = DualSystem([part for _, part in pairs], torch.cat([rows for rows, _ in pairs]))
        return tried(system.step(DAMPING)[0])

    pairs = [problem.factored_rows(module, residual, unknowns) for residual in run.training]
    norms = DualSystem([part for _, part in pairs], torch.cat([rows for rows, _ in pairs])).norms

    def explicit() -> Tensor:
        rows, jacobian = problem.jacobian(module, run.training, unknowns)
        jacobian /= norms
        gram = jacobian @ jacobian.t()
        gram.diagonal().add_(DAMPING)
        scaled = -(jacobian.t() @ torch.cholesky_solve(rows[:, None], torch.linalg.cholesky(gram))[:, 0])
        (rows + jacobian @ scaled).pow(2).sum()
        return tried(scaled / norms)

    return {"factors": factors, "explicit Jacobian": explicit}


def measure_gauss_newton(n_residuals: int, width: int, device: str, rounds: int, depth: int = 3) -> dict[str, Any]:
    """Time both ways in turns.

    Raises:
        RuntimeError: training would solve the equations of this size in another way.
    """
    run = begin(n_residuals, width, depth, device)
    if run.choice.kind != "factors":
        raise RuntimeError(f"training would not take this path: {run.choice.reason}")
    ways = ways_of(run)
    difference = relative_difference((ways["factors"](),), (ways["explicit Jacobian"](),))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(busy_seconds(way, device))
    return {
        "n_residuals": sum(residual.weights.numel() for residual in run.training) * run.problem.rows_per_point,
        "n_parameters": run.module.n_parameters,
        "equations": run.choice.reason,
        "milliseconds": {name: spread([1e3 * s for s in values]) for name, values in seconds.items()},
        "explicit_over_factors": spread([b / a for a, b in zip(*seconds.values(), strict=True)]),
        "difference": difference,
    }
