"""The evolution solver: stability of the closures, observed order, closed forms."""

import numpy as np
import pytest
import sympy as sp

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import (
    Box,
    Dirichlet,
    InitialCondition,
    Interval,
    Neumann,
    Periodic,
    Problem,
    SpaceTime,
    coordinates,
    div,
    field,
    grad,
    laplacian,
    manufactured,
)
from pinnsiren.reference_solvers import find
from pinnsiren.reference_solvers.closed_forms import gaussian_pulse
from pinnsiren.reference_solvers.evolution_box import ORDER, EvolutionBoxSolver
from pinnsiren.reference_solvers.stencils import divergence_to_nodes, gradient_to_half_nodes, node_derivative

x, y, t = coordinates("x y t")
v = field("v", x, t)
# The estimate takes half an order off the observed one: 1.3 to 2 times the error.
ESTIMATE_FACTOR = 3


def relative_error(solution, exact):
    (values,) = solution.values.values()
    truth = exact(*np.meshgrid(*solution.axes.values(), indexing="ij"))
    return np.linalg.norm(values - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize("walls", ["dirichlet", "neumann"])
@pytest.mark.parametrize("form", ["plain", "flux"])
def test_closures_keep_the_wave_spectrum_real(form, walls):
    n = 120
    second = node_derivative(n, 1 / n, ORDER, 2)
    if form == "flux":
        second = divergence_to_nodes(n, 1 / n, ORDER) @ gradient_to_half_nodes(n, 1 / n, ORDER)
    second, inner, ends = second.toarray(), np.arange(1, n), [0, n]
    reduced = second[np.ix_(inner, inner)]
    if walls == "neumann":
        slope = node_derivative(n, 1 / n, ORDER).toarray()[ends]
        reduced = reduced - second[np.ix_(inner, ends)] @ np.linalg.solve(slope[:, ends], slope[:, inner])
    growth = np.abs(np.sqrt(np.linalg.eigvals(-reduced).astype(complex)).imag)
    # 1e-4 per unit of time is the rounding of the double eigenvalue 0 under the square root.
    assert np.max(growth) < 1e-4


def wave_between_walls(walls):
    exact = sp.sin(3 * x + 1) * sp.cos(4 * t + x)
    c = 2 + sp.sin(x)
    right = exact.diff(t, 2) - (c * exact.diff(x)).diff(x)
    conditions = [InitialCondition(v, exact.subs(t, 0)), InitialCondition(v.diff(t), exact.diff(t).subs(t, 0))]
    if walls == "dirichlet":
        conditions.append(Dirichlet(v, exact))
    else:
        conditions += [Neumann(v, exact.diff(x), on="x+"), Neumann(v, -exact.diff(x), on="x-")]
    domain = SpaceTime(Interval({x: (0, 1)}), {t: (0, 2)})
    equation = sp.Eq(v.diff(t, 2) - div(c * grad(v)), right)
    return Problem(name="wave", fields=[v], domain=domain, equations=[equation], conditions=conditions), sp.lambdify((x, t), exact, "numpy")


# Dirichlet closures lose half an order for waves (their truncation error is of order 3).
@pytest.mark.parametrize(("walls", "lowest"), [("dirichlet", 3.3), ("neumann", 3.8)])
def test_waves_between_moving_walls_converge(walls, lowest):
    problem, exact = wave_between_walls(walls)
    cells = (24, 34, 48, 68)
    solutions = [EvolutionBoxSolver(cells=n).solve(problem) for n in cells]
    errors = [relative_error(solution, exact) for solution in solutions]
    assert -np.polyfit(np.log(cells), np.log(errors), 1)[0] > lowest
    assert errors[-1] < solutions[-1].error_estimate < 1e-4


def test_a_pulse_in_free_space_leaves_without_return():
    u = field("u", x, y, t)
    variance = sp.Rational(1, 200)
    start = sp.exp(-(x**2 + y**2) / (2 * variance))
    problem = Problem(
        name="pulse",
        fields=[u],
        domain=SpaceTime(Box({x: (-1, 1), y: (-1, 1)}), {t: (0, sp.Rational(1, 2))}),
        equations=[sp.Eq(u.diff(t, 2), laplacian(u))],
        conditions=[InitialCondition(u, start), InitialCondition(u.diff(t), 0)],
    )
    solution = EvolutionBoxSolver(tolerance=5e-3).solve(problem)
    exact = gaussian_pulse((0.0, 0.0), float(variance))
    last = solution.values["u"][..., -1]
    truth = exact(*np.meshgrid(solution.axes[x], solution.axes[y], indexing="ij"), 0.5)
    assert np.linalg.norm(last - truth) < 5e-3 * np.linalg.norm(truth)
    assert abs(float(solution(x=0.2, y=0.1, t=0.3)) - float(exact(0.2, 0.1, 0.3))) < 5e-3


def test_standing_mode_keeps_its_energy():
    domain = SpaceTime(Interval({x: (0, 1)}), {t: (0, 2)})
    conditions = [InitialCondition(v, sp.sin(sp.pi * x)), InitialCondition(v.diff(t), 0), Dirichlet(v, 0)]
    problem = Problem(name="mode", fields=[v], domain=domain, equations=[v.diff(t, 2) - laplacian(v)], conditions=conditions)
    solution = find(problem).solve(problem)
    assert np.max(np.abs(solution.values["v"][:, -1] - solution.values["v"][:, 0])) < 1e-4


def test_diffusion_decays_at_the_exact_rate():
    domain = SpaceTime(Interval({x: (0, 1)}), {t: (0, sp.Rational(1, 5))})
    conditions = [InitialCondition(v, sp.sin(sp.pi * x)), Dirichlet(v, 0)]
    problem = Problem(name="heat", fields=[v], domain=domain, equations=[sp.Eq(v.diff(t), laplacian(v))], conditions=conditions)
    solution = find(problem).solve(problem)
    assert relative_error(solution, lambda a, s: np.exp(-np.pi**2 * s) * np.sin(np.pi * a)) < 1e-6


def standing(walls, speed, modes, periods):
    shape = sp.sin if walls is Dirichlet else sp.cos
    exact = sp.Add(*[shape(m * sp.pi * x) * sp.cos(m * sp.pi * speed * t) / m for m in modes])
    domain = SpaceTime(Interval({x: (0, 1)}), {t: (0, 2 * sp.Rational(periods) / speed)})
    conditions = [InitialCondition(v, exact.subs(t, 0)), InitialCondition(v.diff(t), 0), walls(v, 0)]
    problem = Problem(name="string", fields=[v], domain=domain, equations=[v.diff(t, 2) - speed**2 * v.diff(x, 2)], conditions=conditions)
    return problem, sp.lambdify((x, t), exact, "numpy")


# Whole periods and odd fractions; at evenly spaced instants the phase errors of the first four would vanish together.
@pytest.mark.parametrize(("walls", "speed", "modes", "periods"), [
    (Dirichlet, 2, (1, 3), "4"), (Dirichlet, 3, (2,), "2"), (Neumann, 2, (1, 2, 3), "4"), (Dirichlet, 1, (1,), "1"), (Neumann, 1, (1, 4), "5/2"),
])  # fmt: skip
def test_the_estimate_is_near_the_error_of_standing_waves(walls, speed, modes, periods):
    problem, exact = standing(walls, speed, modes, periods)
    for solver in (EvolutionBoxSolver(), EvolutionBoxSolver(cells=64)):
        solution = solver.solve(problem)
        error = relative_error(solution, exact)
        assert error < solution.error_estimate < ESTIMATE_FACTOR * error


@pytest.mark.parametrize("speed", [sp.Integer(1), 2 + sp.sin(2 * sp.pi * x)])
def test_waves_around_a_loop_converge_with_order_four(speed):
    exact = sp.exp(sp.sin(2 * sp.pi * (x - t)))
    domain = SpaceTime(Interval({x: (0, 1)}), {t: (0, 2)})
    conditions = [Periodic(v, x), InitialCondition(v, 0), InitialCondition(v.diff(t), 0)]
    declared = Problem(name="loop", fields=[v], domain=domain, equations=[v.diff(t, 2) - div(speed * grad(v))], conditions=conditions)
    problem = manufactured(declared, {v: exact})
    cells = (28, 36, 48, 64)
    solutions = [EvolutionBoxSolver(cells=n).solve(problem) for n in cells]
    errors = [relative_error(solution, sp.lambdify((x, t), exact, "numpy")) for solution in solutions]
    assert abs(-np.polyfit(np.log(cells), np.log(errors), 1)[0] - ORDER) < 0.2
    assert errors[-1] < solutions[-1].error_estimate < ESTIMATE_FACTOR * errors[-1]


def test_diffusion_around_a_loop_keeps_the_mean():
    exact = 1 + sp.exp(-t) * sp.sin(2 * sp.pi * x)
    domain = SpaceTime(Interval({x: (0, 1)}), {t: (0, 1)})
    conditions = [InitialCondition(v, exact.subs(t, 0)), Periodic(v, x)]
    problem = Problem(name="ring", fields=[v], domain=domain, equations=[v.diff(t) - laplacian(v) / (4 * sp.pi**2)], conditions=conditions)
    solution = EvolutionBoxSolver(tolerance=1e-6).solve(problem)
    assert relative_error(solution, sp.lambdify((x, t), exact, "numpy")) < 1e-6
    assert np.ptp(solution.values["v"][:-1].mean(axis=0)) < 1e-9
    assert np.array_equal(solution.values["v"][0], solution.values["v"][-1])


def test_waves_in_a_channel_that_is_closed_one_way():
    u = field("u", x, y, t)
    exact = sp.sin(2 * sp.pi * x - 3 * t) * sp.cos(2 * y)
    domain = SpaceTime(Box({x: (0, 1), y: (0, 1)}), {t: (0, sp.Rational(1, 2))})
    conditions = [Periodic(u, x), Dirichlet(u, 0, on="y-"), Neumann(u, 0, on="y+"), InitialCondition(u, 0), InitialCondition(u.diff(t), 0)]
    declared = Problem(name="channel", fields=[u], domain=domain, equations=[u.diff(t, 2) - laplacian(u)], conditions=conditions)
    solution = EvolutionBoxSolver(cells=36).solve(manufactured(declared, {u: exact}))
    assert "periodic along x: wrapped stencils" in solution.notes
    error = relative_error(solution, sp.lambdify((x, y, t), exact, "numpy"))
    assert error < solution.error_estimate < 1e-4


def test_nonlinear_waves_are_refused_with_the_reason():
    domain = SpaceTime(Interval({x: (0, 1)}), {t: (0, 1)})
    conditions = [InitialCondition(v, 0), Dirichlet(v, 0)]
    problem = Problem(name="burgers", fields=[v], domain=domain, equations=[v.diff(t) + v * v.diff(x) - v.diff(x, 2)], conditions=conditions)
    assert "not linear" in EvolutionBoxSolver().supports(problem).reason
    with pytest.raises(ReferenceSolverError, match="not linear"):
        EvolutionBoxSolver().solve(problem)


@pytest.mark.parametrize(("mass", "end"), [(1e4, 0.5), (1e3, 1.0), (1e4, 3.0)])
def test_oscillations_in_time_that_cross_no_cell_are_resolved_between_the_instants(mass, end):
    exact = sp.cos(sp.sqrt(mass + sp.pi**2) * t) * sp.sin(sp.pi * x)
    domain = SpaceTime(Interval({x: (0, 1)}), {t: (0, end)})
    u = field("u", x, t)
    conditions = [InitialCondition(u, sp.sin(sp.pi * x)), InitialCondition(u.diff(t), 0), Dirichlet(u, 0)]
    problem = Problem(name="mass", fields=[u], domain=domain, equations=[u.diff(t, 2) - u.diff(x, 2) + mass * u], conditions=conditions)
    solution = EvolutionBoxSolver().solve(problem)
    points = np.random.default_rng(3).uniform(size=(2, 20_000)) * [[1], [end]]
    truth = sp.lambdify((x, t), exact)(*points)
    error = np.linalg.norm(solution(*points) - truth) / np.linalg.norm(truth)
    assert error < 1e-4 and error < 3 * solution.error_estimate
