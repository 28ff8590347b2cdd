"""Checks of the eikonal solvers: accuracy beside scikit-fmm, observed orders, honesty of the error estimate, agreement with independent packages.

Input: nothing. Output: `CHECKS`. scikit-fmm and eikonalfm come with the extra `oracles`; what needs them is left out, and said so, without it.
"""

import importlib
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import sympy as sp

import pinnsiren as ps
from pinnsiren.reference_solvers.closed_forms import (
    ball_distance,
    constant_gradient_speed,
    constant_gradient_squared_slowness,
    homogeneous_travel_time,
)
from pinnsiren.reference_solvers.eikonal_sweeping import EikonalSweepingSolver

from ..evidence_checks import Check, Quantity

NODES = 101
ERROR_BAR, TIMES_BELOW = 5e-4, 10.0
HONEST = 3.0
CELLS = (40, 56, 80, 112)
CELLS_3D = (20, 26, 34, 44)
ESTIMATED_AT = (30, 50, 80)
# Orders that the packages keep at the least: plain marching loses up to 0.4 to the cone at the source, factored marching of second order nothing.
SAFE_ORDER = {"scikit-fmm": 0.6, "eikonalfm": 1.0}
# 2 km square, v = 2000 m/s + 1/s z: the medium of the table that the bar was taken from, and one with a slanted gradient and a source off the grid.
SIDE = 2000.0
MEDIA = {"central source": ((1000.0, 1000.0), 3000.0, (0.0, 1.0)), "source off the grid": ((713.0, 377.0), 1500.0, (0.4, 0.9))}

Exact = Callable[..., np.ndarray]
x, y, z = ps.coordinates("x y z")
T, T3 = ps.field("T", x, y), ps.field("T", x, y, z)
UNIT = ps.Box({x: (-1, 1), y: (-1, 1)})
CUBE = ps.Box({x: (-1, 1), y: (-1, 1), z: (-1, 0.5)})


def _optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _missing(what: str, package: str) -> Quantity:
    """A line that says what was left out; it meets its bar, since nothing was measured."""
    return Quantity(f"{what}: left out", 0.0, 0.0, "at most", f"{package} is not installed (pip install pinnsiren[oracles])")


def _declare(squared_slowness: Any, conditions: list[Any], domain: Any = UNIT, field: Any = T) -> ps.Problem:
    equation = ps.grad(field).dot(ps.grad(field)) - squared_slowness
    return ps.Problem(name="eikonal", fields=[field], domain=domain, equations=[equation], conditions=conditions)


def _source(*at: float, value: float = 0.0, field: Any = T) -> ps.Dirichlet:
    return ps.Dirichlet(field, value, on=dict(zip(field.args, at, strict=True)))


def _points(solution: Any) -> list[np.ndarray]:
    return np.meshgrid(*solution.axes.values(), indexing="ij")


def _relative_l2(solution: Any, exact: Exact) -> float:
    truth = exact(*_points(solution))
    (values,) = solution.values.values()
    return float(np.linalg.norm(values - truth) / np.linalg.norm(truth))


def _mean_relative(values: np.ndarray, truth: np.ndarray) -> float:
    away = truth > 0
    return float(np.mean(np.abs(values - truth)[away] / truth[away]))


def measure_constant_gradient() -> list[Quantity]:
    """Return the mean relative error on 101 x 101 nodes, and by how much it stays below that of scikit-fmm in the same run."""
    found = []
    for label, (at, speed, gradient) in MEDIA.items():
        medium = speed + gradient[0] * (x - at[0]) + gradient[1] * (y - at[1])
        problem = _declare(1 / medium**2, [_source(*at)], ps.Box({x: (0, SIDE), y: (0, SIDE)}))
        exact = constant_gradient_speed(at, speed, gradient)
        second, first = (EikonalSweepingSolver(order=order, cells=NODES - 1).solve(problem) for order in (2, 1))
        truth = exact(*_points(second))
        error, plain = (_mean_relative(solution.values["T"], truth) for solution in (second, first))
        note = f"three grids in {second.seconds:.1f} s; estimated relative L2 {second.error_estimate:.1e}; uncorrected sweeping {plain:.1e}"
        found.append(Quantity(f"eikonal, speed of constant gradient, {label}, {NODES}^2", error, ERROR_BAR, "at most", note))
        found.append(_beside_scikit_fmm(label, error, at, sp.lambdify((x, y), medium, "numpy"), exact))
    return found


def _beside_scikit_fmm(label: str, error: float, at: tuple[float, float], speed: Exact, exact: Exact) -> Quantity:
    """Second order, started from the circle about the source with exact times: better than from a single node, which is tried too."""
    skfmm = _optional("skfmm")
    name = f"error of scikit-fmm over ours, {label}"
    if skfmm is None:
        return _missing(name, "scikit-fmm")
    points = np.meshgrid(*[np.linspace(0, SIDE, NODES)] * 2, indexing="ij")
    start = time.perf_counter()
    theirs = {how: _scikit_fmm(skfmm, points, at, speed, exact, how) for how in ("one node", "circle")}
    seconds = (time.perf_counter() - start) / 2
    errors = {how: _mean_relative(times, exact(*points)) for how, times in theirs.items()}
    note = f"scikit-fmm, order 2: {errors['circle']:.1e} from a circle with exact times, {errors['one node']:.1e} from one node, {seconds:.2f} s each"
    return Quantity(name, min(errors.values()) / error, TIMES_BELOW, "at least", note)


def _scikit_fmm(skfmm: ModuleType, points: list[np.ndarray], at: tuple[float, float], speed: Exact, exact: Exact, how: str) -> np.ndarray:
    step = float(points[0][1, 0] - points[0][0, 0])
    radius = np.hypot(points[0] - at[0], points[1] - at[1])
    if how == "one node":
        front = np.ones(radius.shape)
        front.flat[np.argmin(radius)] = -1
        return np.asarray(skfmm.travel_time(front, np.broadcast_to(speed(*points), radius.shape), dx=step, order=2))
    front = radius - 1.5 * step
    times = np.asarray(skfmm.travel_time(front, np.broadcast_to(speed(*points), radius.shape), dx=step, order=2))
    # What the wave needs to the circle: the mean time on it, since scikit-fmm starts everywhere at zero.
    angle = np.linspace(0, 2 * np.pi, 100)
    reached = float(np.mean(exact(at[0] + 1.5 * step * np.cos(angle), at[1] + 1.5 * step * np.sin(angle))))
    return np.where(front > 0, times + reached, exact(*points))


def measure_orders() -> list[Quantity]:
    """Return the observed orders, fitted over four grids, of factored and plain sweeping in variable media."""
    found = []
    speed, manufactured = 2 + sp.Rational(3, 10) * x + y, y / 5 + x + x**2 * y / 2
    plane = _declare(
        manufactured.diff(x) ** 2 + manufactured.diff(y) ** 2,
        [ps.Dirichlet(T, y / 5, on="x-"), ps.Dirichlet(T, manufactured, on="y-")],
        ps.Box({x: (0, 1), y: (0, 2)}),
    )
    at, gradient = (0.1, 0.2, -0.3), (0.3, 0.2, 1.0)
    space = _declare(1 / (2 + sp.Rational(3, 10) * x + y / 5 + z) ** 2, [_source(*at, field=T3)], CUBE, T3)
    cases: dict[str, tuple[ps.Problem, Exact, tuple[int, ...]]] = {
        "point source": (_declare(1 / speed**2, [_source(0.213, -0.37)]), constant_gradient_speed((0.213, -0.37), 1.6939, (0.3, 1.0)), CELLS),
        "times on two faces": (plane, sp.lambdify((x, y), manufactured, "numpy"), CELLS),
        "point source, 3-D": (space, constant_gradient_speed(at, 2 + float(np.dot(gradient, at)), gradient), CELLS_3D),
    }
    for label, (problem, exact, cells) in cases.items():
        for order in (1, 2):
            errors = [_relative_l2(EikonalSweepingSolver(order=order, cells=n).solve(problem), exact) for n in cells]
            slope = -float(np.polyfit(np.log(cells), np.log(errors), 1)[0])
            note = f"errors {errors[0]:.1e} to {errors[-1]:.1e}, {cells[0]} to {cells[-1]} cells"
            found.append(Quantity(f"observed order of sweeping of order {order}, {label}", slope, float(order), "within 0.2 of", note))
    return found


def measure_honesty() -> list[Quantity]:
    """Return how far the error estimate lies above and below the true error, over smooth media, kinks, a jump, distances."""
    first, second = constant_gradient_speed((-0.5, 0.4), 2.25, (0.3, 1.0)), constant_gradient_speed((0.6, -0.7), 1.48, (0.3, 1.0))
    medium = 2 + sp.Rational(3, 10) * x + y
    jump = sp.Piecewise((1, x < sp.Rational(237, 1000)), (4, True))
    direct = homogeneous_travel_time((-0.6, 0.1, 0.0), 1.0)
    cases: dict[str, tuple[ps.Problem, Exact]] = {
        "linear speed": (_declare(1 / medium**2, [_source(-0.5, 0.4)]), first),
        "linear squared slowness": (
            _declare(2.16 + sp.Rational(2, 5) * (x - 0.1) - sp.Rational(3, 5) * (y + 0.2), [_source(0.1, -0.2)]),
            constant_gradient_squared_slowness((0.1, -0.2), 2.16**0.5, (0.2, -0.3)),
        ),
        "two sources": (_declare(1 / medium**2, [_source(-0.5, 0.4), _source(0.6, -0.7)]), lambda *p: np.minimum(first(*p), second(*p))),
        "ball": (
            _declare(1, [ps.Dirichlet(T, 0, on=ps.Ball({x: 0.1, y: -0.05}, 0.3))]),
            lambda *p: np.maximum(ball_distance((0.1, -0.05), 0.3)(*p), 0),
        ),
        "slow half": (_declare(jump, [_source(-0.6, 0.1)]), lambda a, b: _across_an_interface(a, b, 0.237, 2.0, direct)),
    }
    worst: dict[str, tuple[float, str]] = {"above": (0.0, ""), "below": (0.0, "")}
    for label, (problem, exact) in cases.items():
        for cells in ESTIMATED_AT:
            for order in (1, 2):
                solution = EikonalSweepingSolver(order=order, cells=cells).solve(problem)
                ratio = solution.error_estimate / _relative_l2(solution, exact)
                worst["above"] = max(worst["above"], (ratio, f"{label}, order {order}, {cells} cells"))
                worst["below"] = max(worst["below"], (1 / ratio, f"{label}, order {order}, {cells} cells"))
    tried = f"worst of {len(cases)} problems, {len(ESTIMATED_AT)} grids, 2 orders"
    return [
        Quantity("eikonal estimate over error", worst["above"][0], HONEST, "at most", f"{worst['above'][1]}; {tried}"),
        Quantity("eikonal error over estimate", worst["below"][0], HONEST, "at most", f"{worst['below'][1]}; {tried}"),
    ]


def _across_an_interface(a: np.ndarray, b: np.ndarray, place: float, slowness: float, direct: Exact) -> np.ndarray:
    """From (-0.6, 0.1) in slowness 1 into a slower half-space x > place: Snell's law by bisection; nothing returns from the slower side."""
    near, far, offset = place + 0.6, np.maximum(a - place, 1e-12), np.abs(b - 0.1)
    low, high = np.zeros(offset.shape), offset.copy()
    for _ in range(60):
        middle = (low + high) / 2
        beyond = middle / np.hypot(middle, near) > slowness * (offset - middle) / np.hypot(offset - middle, far)
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return np.where(a < place, direct(a, b, np.zeros_like(a)), np.hypot(low, near) + slowness * np.hypot(offset - low, far))


def measure_agreement() -> list[Quantity]:
    """Return differences from independent packages in a medium without closed form, over the sum of both error bars."""
    medium, at = 1 + sp.sin(3 * x) * sp.cos(2 * y) / 3, (0.2, -0.36)
    solution = EikonalSweepingSolver(cells=NODES - 1).solve(_declare(1 / medium**2, [_source(*at)]))
    ours = solution.values["T"]
    speed = sp.lambdify((x, y), medium, "numpy")
    found = []
    for package, march in (("scikit-fmm", _by_scikit_fmm), ("eikonalfm", _by_eikonalfm)):
        module = _optional({"scikit-fmm": "skfmm"}.get(package, package))
        name = f"difference from {package} over the sum of both error bars"
        if module is None:
            found.append(_missing(name, package))
            continue
        # The source is a node of both grids.
        coarse, fine = (march(module, nodes, at, speed) for nodes in (NODES // 2 + 1, NODES))
        bar = float(np.linalg.norm(fine[::2, ::2] - coarse) / np.linalg.norm(coarse) / (2 ** SAFE_ORDER[package] - 1))
        difference = float(np.linalg.norm(ours - fine) / np.linalg.norm(fine))
        note = f"relative L2 difference {difference:.1e}; bars {solution.error_estimate:.1e} (ours), {bar:.1e} (theirs)"
        found.append(Quantity(name, difference / (bar + solution.error_estimate), 1.0, "at most", note))
    return found


def _by_scikit_fmm(skfmm: ModuleType, nodes: int, at: tuple[float, float], speed: Exact) -> np.ndarray:
    points = np.meshgrid(*[np.linspace(-1, 1, nodes)] * 2, indexing="ij")
    front = np.ones((nodes, nodes))
    front.flat[np.argmin(np.hypot(points[0] - at[0], points[1] - at[1]))] = -1
    return np.asarray(skfmm.travel_time(front, speed(*points), dx=2 / (nodes - 1), order=2))


def _by_eikonalfm(eikonalfm: ModuleType, nodes: int, at: tuple[float, float], speed: Exact) -> np.ndarray:
    points = np.meshgrid(*[np.linspace(-1, 1, nodes)] * 2, indexing="ij")
    step = 2 / (nodes - 1)
    index = tuple(round((place + 1) / step) for place in at)
    factor = eikonalfm.factored_fast_marching(np.asarray(speed(*points)), index, (step, step), 2)
    return np.asarray(factor * np.hypot(points[0] - at[0], points[1] - at[1]))


CHECKS: tuple[Check, ...] = (
    Check("eikonal_constant_gradient", "Eikonal beside scikit-fmm", measure_constant_gradient),
    Check("eikonal_orders", "Eikonal orders", measure_orders),
    Check("eikonal_honesty", "Eikonal error estimate", measure_honesty),
    Check("eikonal_agreement", "Eikonal, independent packages", measure_agreement),
)
