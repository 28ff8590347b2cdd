"""Checks of the elliptic solvers on boxes: observed orders with every kind of face, a million unknowns in space, fast transforms, honest estimates.

Input: nothing. Output: `CHECKS`. The million unknowns of a variable coefficient need PyAMG, which comes with the extra `oracles`; without it those
rows are left out, and the note of the transforms says so.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sympy as sp

import pinnsiren as ps
from pinnsiren.reference_solvers.fast_poisson import FastPoissonSolver
from pinnsiren.reference_solvers.linear_box import LinearBoxSolver
from pinnsiren.reference_solvers.linear_system_box import LinearSystemSolver
from pinnsiren.reference_solvers.multigrid import is_available as multigrid_is_available

from ..evidence_checks import Check, Quantity

FACES = ("Dirichlet", "Neumann", "Robin", "periodic")
# Where the closures no longer outweigh the interior and rounding does not yet show.
CELLS = {
    1: {2: (80, 112, 160, 224), 4: (112, 160, 224, 320), 6: (104, 124, 148, 176)},
    2: {2: (50, 62, 76, 94), 4: (50, 62, 76, 94), 6: (52, 58, 66, 74)},
    3: {2: (16, 20, 25, 31), 4: (18, 22, 26, 31), 6: (24, 27, 30, 34)},
}
LARGE_CELLS, LARGE_ORDER = 100, 4
SECONDS_BAR, LARGE_ERROR_BAR = 60.0, 1e-6
TRANSFORM_SECONDS_BAR, TRANSFORM_ERROR_BAR = 10.0, 1e-8
ROUNDING_BAR = 1e-12
HONEST = 3.0

Exact = Callable[..., np.ndarray]
x, y, z = ps.coordinates("x y z")
TURN = 2 * sp.pi


def _error(solution: Any, exact: dict[str, Exact]) -> float:
    points = np.meshgrid(*solution.axes.values(), indexing="ij")
    worst = 0.0
    for name, function in exact.items():
        truth = function(*points)
        worst = max(worst, float(np.linalg.norm(solution.values[name] - truth) / np.linalg.norm(truth)))
    return worst


def _conditions(u: Any, symbol: sp.Symbol, kind: str) -> list[Any]:
    if kind == "periodic":
        return [ps.Periodic(u, symbol)]
    low, high = f"{symbol}-", f"{symbol}+"
    if kind == "Robin":
        return [ps.Robin(u, 2 + symbol, 1, 0, on=low), ps.Robin(u, 1, 1 + symbol, 0, on=high)]
    condition = {"Dirichlet": ps.Dirichlet, "Neumann": ps.Neumann}[kind]
    return [condition(u, 0, on=(low, high))]


def variable_coefficients(dimension: int, kind: str, flux: bool) -> tuple[ps.Problem, dict[str, Exact]]:
    """Return a manufactured problem with variable coefficients: faces of one kind along x, of the next kinds along y and z."""
    symbols = (x, y, z)[:dimension]
    u = ps.field("u", *symbols)
    kinds = [FACES[(FACES.index(kind) + shift) % len(FACES)] for shift in range(dimension)]
    # On a line the oscillation may be faster, and must: rounding shows early there.
    rate = sp.Rational(9, 2) if dimension == 1 else sp.Rational(5, 2)
    # Periodic where the faces are; elsewhere less than a turn, so that no face is special.
    phases = [TURN * (2 if dimension == 1 else 1) * s if k == "periodic" else rate * s + 1 for s, k in zip(symbols, kinds, strict=True)]
    exact = sp.exp(sp.sin(phases[0]) / 2) * sp.Mul(*[2 + sp.sin(phase) for phase in phases[1:]])
    a = 2 + sp.Add(*[sp.cos(phase) / 3 for phase in phases])
    q = 1 + sp.sin(phases[-1]) / 2
    if flux:
        operator = ps.div(a * ps.grad(u)) - q * u
    else:
        operator = sp.Add(*[(a + i) * u.diff(s, 2) for i, s in enumerate(symbols)]) + sp.sin(phases[0]) * u.diff(x) - q * u
    conditions = [c for s, k in zip(symbols, kinds, strict=True) for c in _conditions(u, s, k)]
    box = ps.Box({s: (0, 1) for s in symbols})
    declared = ps.Problem(name=f"{kind} {dimension}-D", fields=[u], domain=box, equations=[operator], conditions=conditions)
    return ps.manufactured(declared, {u: exact}), {"u": sp.lambdify(symbols, exact, "numpy")}


def _slope(cells: Sequence[int], errors: Sequence[float]) -> float:
    return -float(np.polyfit(np.log(cells), np.log(errors), 1)[0])


def measure_orders() -> list[Quantity]:
    """Return the observed orders on lines and in the plane, and that of a system."""
    return [*_orders(1), *_orders(2), _system_order()]


def measure_orders_in_space() -> list[Quantity]:
    """Return the observed orders in three dimensions."""
    return _orders(3)


def _orders(dimension: int) -> list[Quantity]:
    """Return per order the observed one that is farthest from the declared one, over all kinds of faces."""
    found = []
    for order, cells in CELLS[dimension].items():
        slopes = {}
        for number, kind in enumerate(FACES):
            problem, exact = variable_coefficients(dimension, kind, flux=dimension > 1 or number % 2 == 0)
            errors = [_error(LinearBoxSolver(order=order, cells=n).solve(problem), exact) for n in cells]
            slopes[kind] = _slope(cells, errors)
        worst = max(slopes.values(), key=lambda slope: abs(slope - order))
        note = ", ".join(f"{kind} {slope:.2f}" for kind, slope in slopes.items()) + f"; {cells[0]} to {cells[-1]} cells, variable coefficients"
        name = f"elliptic box, order {order}, {dimension}-D, worst of four kinds of faces"
        found.append(Quantity(name, worst, float(order), "within 0.2 of", note))
    return found


def _system_order() -> Quantity:
    problem, exact = coupled_fields()
    cells = (40, 50, 62, 78)
    errors = [_error(LinearSystemSolver(order=4, cells=n).solve(problem), exact) for n in cells]
    note = f"two fields coupled both ways; errors {errors[0]:.1e} to {errors[-1]:.1e}"
    return Quantity("elliptic system on a box, order 4, 2-D", _slope(cells, errors), 4.0, "within 0.2 of", note)


def coupled_fields() -> tuple[ps.Problem, dict[str, Exact]]:
    """Return two reaction-diffusion equations that exchange what they lose, with a variable diffusivity."""
    u, v = ps.field("u", x, y), ps.field("v", x, y)
    equations = [ps.div((2 + sp.cos(3 * x)) * ps.grad(u)) - 4 * u + 3 * v, ps.laplacian(v) + (1 + x) * u - 5 * v + v.diff(x)]
    exact = {u: sp.sin(3 * x + 1) * sp.cos(TURN * y) + 2, v: sp.exp(x / 2) * sp.cos(TURN * y) + x}
    conditions = [ps.Periodic(u, y), ps.Periodic(v, y), ps.Dirichlet(u, 0, on="x-"), ps.Neumann(u, 0, on="x+"), ps.Robin(v, 1, 2, 0, on=("x-", "x+"))]
    box = ps.Box({x: (0, 1), y: (0, 1)})
    problem = ps.manufactured(ps.Problem(name="exchange", fields=[u, v], domain=box, equations=equations, conditions=conditions), exact)
    return problem, {str(f.func): sp.lambdify((x, y), solution, "numpy") for f, solution in exact.items()}


def measure_large() -> list[Quantity]:
    """Return error, seconds and honesty with about a million unknowns in space, by multigrid and by transforms, and rounding on a strip."""
    found = []
    if multigrid_is_available():
        problem, exact = variable_coefficients(3, "Robin", flux=True)
        solution = LinearBoxSolver(order=LARGE_ORDER, cells=LARGE_CELLS).solve(problem)
        error = _error(solution, exact)
        note = f"{solution.n_unknowns} unknowns, order {LARGE_ORDER}, variable coefficient, Robin, periodic and Dirichlet faces, three grids"
        found += [
            Quantity("3-D with multigrid: relative error", error, LARGE_ERROR_BAR, "at most", note),
            Quantity("3-D with multigrid: seconds", solution.seconds, SECONDS_BAR, "at most", note),
            Quantity("3-D with multigrid: estimate over error", solution.error_estimate / error, HONEST, "at most"),
            Quantity("3-D with multigrid: error over estimate", error / solution.error_estimate, 1.0, "at most"),
        ]
    without = "" if multigrid_is_available() else "; PyAMG is not installed, its rows are left out"
    u = ps.field("u", x, y, z)
    exact_sum = sp.exp(sp.sin(TURN * x) / 2) * sp.sin(3 * y + z) + y
    conditions = [ps.Periodic(u, x), ps.Dirichlet(u, 0, on=("y-", "y+", "z-")), ps.Neumann(u, 0, on="z+")]
    box = ps.Box({s: (0, 1) for s in (x, y, z)})
    declared = ps.Problem(name="poisson", fields=[u], domain=box, equations=[ps.laplacian(u)], conditions=conditions)
    solution = FastPoissonSolver(cells=96).solve(ps.manufactured(declared, {u: exact_sum}))
    error = _error(solution, {"u": sp.lambdify((x, y, z), exact_sum, "numpy")})
    note = f"{solution.n_unknowns} unknowns, Fourier, sine and mixed transforms{without}"
    found += [
        Quantity("3-D Poisson by transforms: relative error", error, TRANSFORM_ERROR_BAR, "at most", note),
        Quantity("3-D Poisson by transforms: seconds", solution.seconds, TRANSFORM_SECONDS_BAR, "at most", note),
        Quantity("3-D Poisson by transforms: estimate over error", solution.error_estimate / error, HONEST, "at most"),
        Quantity("3-D Poisson by transforms: error over estimate", error / solution.error_estimate, 1.0, "at most"),
    ]
    return [*found, _rounding()]


def _rounding() -> Quantity:
    v = ps.field("v", x, y)
    exact = sp.exp(sp.sin(TURN * x) / 3) * sp.sin(3 * y + 1)
    conditions = [ps.Periodic(v, x), ps.Dirichlet(v, 0, on="y-"), ps.Neumann(v, 0, on="y+")]
    declared = ps.Problem(name="strip", fields=[v], domain=ps.Box({x: (0, 1), y: (0, 1)}), equations=[ps.laplacian(v)], conditions=conditions)
    solution = FastPoissonSolver(tolerance=1e-13, most_points=700_000).solve(ps.manufactured(declared, {v: exact}))
    error = _error(solution, {"v": sp.lambdify((x, y), exact, "numpy")})
    note = f"periodic strip, {solution.n_unknowns} unknowns, {solution.seconds:.1f} s"
    return Quantity("Poisson by transforms where the data permit rounding: relative error", error, ROUNDING_BAR, "at most", note)


CHECKS = (
    Check("elliptic_orders", "Elliptic solvers: orders", measure_orders),
    Check("elliptic_orders_3d", "Elliptic solvers: orders in space", measure_orders_in_space),
    Check("elliptic_large", "Elliptic solvers: size", measure_large),
)
