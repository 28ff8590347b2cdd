"""Checks of the solvers of nonlinear and time-dependent problems: observed orders, closed forms, honesty of the estimates.

Input: nothing. Output: `CHECKS`. Errors are relative L2 norms at scattered points and instants, so that nothing is favoured by the grid.
"""

import time
from collections.abc import Callable

import numpy as np
import sympy as sp

import pinnsiren as ps
from pinnsiren.problems import load
from pinnsiren.reference_solvers import GridSolution, find
from pinnsiren.reference_solvers.closed_forms import burgers_sine, heat_kernel, sine_gordon_breather
from pinnsiren.reference_solvers.method_of_lines import MethodOfLinesSolver
from pinnsiren.reference_solvers.nonlinear_box import NonlinearBoxSolver

from ..evidence_checks import ORDER_TOLERANCE, Check, Quantity

Exact = Callable[..., np.ndarray]
N_POINTS, SEED = 20_000, 17
# An estimate is honest within this factor of the true error, either way.
HONEST = 3.0

x, y, t = ps.coordinates("x y t")
w, u = ps.field("w", x), ps.field("u", x, y)
v, q = ps.field("v", x, t), ps.field("q", x, y, t)


def _error(solution: GridSolution, exact: Exact) -> float:
    rng = np.random.default_rng(SEED)
    points = [rng.uniform(axis[0], axis[-1], N_POINTS) for axis in solution.axes.values()]
    truth = exact(*points)
    return float(np.linalg.norm(solution(*points) - truth) / np.linalg.norm(truth))


def _orders(
    title: str, solver: type[NonlinearBoxSolver] | type[MethodOfLinesSolver], problem: ps.Problem, exact: Exact, cells: dict[int, tuple[int, ...]]
) -> list[Quantity]:
    found = []
    for order, counts in cells.items():
        solutions = [solver(order=order, cells=n).solve(problem) for n in counts]
        errors = [_error(solution, exact) for solution in solutions]
        slope = -float(np.polyfit(np.log(counts), np.log(errors), 1)[0])
        note = f"errors {errors[0]:.1e} to {errors[-1]:.1e}, {counts[0]} to {counts[-1]} cells"
        found.append(Quantity(f"observed order {order}: {title}", slope, float(order), f"within {ORDER_TOLERANCE} of", note))
    return found


def _against(name: str, solution: GridSolution, exact: Exact, bar: float) -> list[Quantity]:
    """The error beside its bar, and how far the estimate is off, as the larger of both ratios."""
    error = _error(solution, exact)
    ratio = solution.error_estimate / error
    note = f"{solution.n_unknowns} unknowns, {solution.seconds:.1f} s, {solution.solver} of order {solution.order}"
    return [
        Quantity(f"{name}: relative L2 error", error, bar, "at most", note),
        Quantity(f"{name}: estimate off by a factor of", max(ratio, 1 / ratio), HONEST, "at most", f"estimated {solution.error_estimate:.1e}"),
    ]


def _rod() -> tuple[ps.Problem, Exact]:
    """Plain derivatives, coefficients that depend on the field, its slope and the place; Dirichlet and Robin ends."""
    equation = -(2 + w**2 / 2 + x) * w.diff(x, 2) - (1 + w * x) * w.diff(x) ** 2 + w**3 + sp.sin(x) * w.diff(x) * w
    walls = [ps.Dirichlet(w, 0, on="x-"), ps.Robin(w, 2, 1, 0, on="x+")]
    declared = ps.Problem(name="rod", fields=[w], domain=ps.Interval({x: (0, 1)}), equations=[equation], conditions=walls)
    exact = sp.cos(14 * x + 1) + x / 2
    return ps.manufactured(declared, {w: exact}), sp.lambdify(x, exact, "numpy")


def _ring() -> tuple[ps.Problem, Exact]:
    """A nonlinear flux in the plane, periodic along x."""
    equation = -ps.div((2 + u**2 / 2 + sp.cos(2 * sp.pi * x) * y) * ps.grad(u)) + u**3 + u * u.diff(y)
    walls = [ps.Periodic(u, x), ps.Dirichlet(u, 0, on="y-"), ps.Neumann(u, 0, on="y+")]
    declared = ps.Problem(name="ring", fields=[u], domain=ps.Box({x: (0, 1), y: (0, 1)}), equations=[equation], conditions=walls)
    exact = sp.cos(6 * sp.pi * x) * sp.exp(-20 * (y - sp.Rational(1, 2)) ** 2) + y / 2 + sp.sin(2 * sp.pi * x) / 4
    return ps.manufactured(declared, {u: exact}), sp.lambdify((x, y), exact, "numpy")


def _evolution(
    name: str, equation: sp.Expr, conditions: list[object], exact: sp.Expr, bounds: tuple[float, float], end: float
) -> tuple[ps.Problem, Exact]:
    domain = ps.SpaceTime(ps.Interval({x: bounds}), {t: (0, end)})
    declared = ps.Problem(name=name, fields=[v], domain=domain, equations=[equation], conditions=conditions)
    return ps.manufactured(declared, {v: exact}), sp.lambdify((x, t), exact, "numpy")


def _heated_rod() -> tuple[ps.Problem, Exact]:
    equation = (1 + x * t) * v.diff(t) - ps.div((1 + v**2 / 4 + t * x) * ps.grad(v)) + v**3
    conditions = [ps.InitialCondition(v, 0), ps.Dirichlet(v, 0, on="x-"), ps.Robin(v, 1, 2, 0, on="x+")]
    return _evolution("heated_rod", equation, conditions, sp.sin(3 * x + 1) * sp.cos(2 * t + x) + 2, (0, 1), 1)


def _drift() -> tuple[ps.Problem, Exact]:
    equation = v.diff(t) + (1 + t) * v * v.diff(x) - (2 + sp.sin(2 * sp.pi * x)) / 20 * v.diff(x, 2)
    return _evolution("drift", equation, [ps.InitialCondition(v, 0), ps.Periodic(v, x)], sp.exp(sp.cos(2 * sp.pi * (x - t))), (0, 1), 1)


def _klein_gordon() -> tuple[ps.Problem, Exact]:
    equation = v.diff(t, 2) - (1 + x / 2) * v.diff(x, 2) + v**3 + (1 + t) * v.diff(t)
    conditions = [ps.InitialCondition(v, 0), ps.InitialCondition(v.diff(t), 0), ps.Dirichlet(v, 0, on="x-"), ps.Neumann(v, 0, on="x+")]
    return _evolution("klein_gordon", equation, conditions, sp.cos(3 * t) * sp.sin(5 * x + 1) + x * t, (0, 1), 2)


def measure_steady() -> list[Quantity]:
    """Return the observed orders of the steady solver, and its error on the nonlinear problem of the catalogue."""
    line = {2: (60, 80, 100, 120), 4: (60, 80, 100, 120), 6: (80, 100, 120, 150)}
    plane = {2: (40, 48, 56, 64), 4: (40, 48, 56, 64), 6: (56, 64, 72, 80)}
    found = _orders("steady, nonlinear coefficients on a line", NonlinearBoxSolver, *_rod(), line)
    found += _orders("steady, nonlinear flux in the plane", NonlinearBoxSolver, *_ring(), plane)
    problem = load("bump_nonlinear")
    (exact,) = (problem.exact or {}).values()
    solution = find(problem).solve(problem)
    return found + _against("catalogue problem bump_nonlinear", solution, sp.lambdify(problem.coordinates, exact, "numpy"), 1e-6)


def measure_evolution() -> list[Quantity]:
    """Return the observed orders of the method of lines, and its errors against closed forms."""
    rod, waves = (24, 34, 48, 68), (34, 48, 68, 96)
    ring = {2: (60, 80, 110, 150), 4: (40, 56, 80, 110), 6: (40, 56, 80, 110)}
    found = _orders("diffusion, coefficients of field, place and time", MethodOfLinesSolver, *_heated_rod(), {2: rod, 4: rod})
    found += _orders("transport with diffusion on a ring", MethodOfLinesSolver, *_drift(), ring)
    return found + _orders("nonlinear damped waves", MethodOfLinesSolver, *_klein_gordon(), {2: waves, 4: waves})


def measure_closed_forms() -> list[Quantity]:
    """Return errors against Cole-Hopf, a breather and a drifting Gaussian in the plane, and Allen-Cahn against itself at another order."""
    nu = 0.01 / np.pi
    domain = ps.SpaceTime(ps.Interval({x: (-1, 1)}), {t: (0, 1)})
    start = [ps.InitialCondition(v, -sp.sin(sp.pi * x)), ps.Dirichlet(v, 0)]
    equation = v.diff(t) + v * v.diff(x) - sp.Rational(1, 100) / sp.pi * v.diff(x, 2)
    burgers = ps.Problem(name="burgers", fields=[v], domain=domain, equations=[equation], conditions=start)
    found = _against("Burgers, nu = 0.01/pi, against Cole-Hopf", find(burgers).solve(burgers), burgers_sine(nu), 2e-6)
    shape = 4 * sp.atan(sp.Rational(4, 3) / sp.cosh(sp.Rational(4, 5) * x))
    breather = ps.Problem(
        name="breather",
        fields=[v],
        domain=ps.SpaceTime(ps.Interval({x: (-20, 20)}), {t: (0, 10)}),
        equations=[v.diff(t, 2) - v.diff(x, 2) + sp.sin(v)],
        conditions=[ps.InitialCondition(v, shape), ps.InitialCondition(v.diff(t), 0), ps.Dirichlet(v, 0)],
    )
    found += _against("sine-Gordon breather", find(breather).solve(breather), sine_gordon_breather(0.6), 2e-6)
    kernel = heat_kernel((0.0, 0.0), 0.05, 0.04, velocity=(0.5, 0.25))
    drift = ps.Problem(
        name="drifting_gaussian",
        fields=[q],
        domain=ps.SpaceTime(ps.Box({x: (-2.5, 3), y: (-2.5, 3)}), {t: (0, 1)}),
        # cos^2 + sin^2 = 1 makes the coefficient depend on time in the declaration.
        equations=[q.diff(t) + q.diff(x) / 2 + q.diff(y) / 4 - (sp.cos(t) ** 2 + sp.sin(t) ** 2) / 20 * ps.laplacian(q)],
        conditions=[ps.InitialCondition(q, ps.GaussianSource(at={x: 0, y: 0}, variance=sp.Rational(1, 25))), ps.Dirichlet(q, 0)],
    )
    found += _against("heat in the plane against its kernel", find(drift).solve(drift), kernel, 2e-5)
    return found + _allen_cahn(domain)


def _allen_cahn(domain: ps.SpaceTime) -> list[Quantity]:
    """Two orders of the scheme on data with a kink where the axis closes; they must agree within the sum of their estimates."""
    equation = v.diff(t) - sp.Rational(1, 10_000) * v.diff(x, 2) + 5 * v**3 - 5 * v
    conditions = [ps.InitialCondition(v, x**2 * sp.cos(sp.pi * x)), ps.Periodic(v, x)]
    problem = ps.Problem(name="allen_cahn", fields=[v], domain=domain, equations=[equation], conditions=conditions)
    begin = time.perf_counter()
    fourth, sixth = (MethodOfLinesSolver(order=order).solve(problem) for order in (4, 6))
    note = f"estimates {fourth.error_estimate:.1e} and {sixth.error_estimate:.1e}, {time.perf_counter() - begin:.1f} s for both"
    apart = _error(fourth, sixth)
    return [
        Quantity("Allen-Cahn: orders 4 and 6 apart", apart, fourth.error_estimate + sixth.error_estimate, "at most", note),
        Quantity("Allen-Cahn: estimate of order 4", fourth.error_estimate, 1e-6, "at most", f"{fourth.n_unknowns} unknowns"),
    ]


CHECKS: tuple[Check, ...] = (
    Check("nonlinear_steady", "Nonlinear grid reference, steady", measure_steady),
    Check("nonlinear_evolution", "Nonlinear grid reference, in time", measure_evolution),
    Check("nonlinear_closed_forms", "Nonlinear grid reference against closed forms", measure_closed_forms),
)
