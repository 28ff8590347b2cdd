"""The solver of declared wave equations: observed orders, closed forms, honest estimates, refusals."""

import numpy as np
import pytest
import sympy as sp

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import (
    Box,
    Dirichlet,
    GaussianSource,
    InitialCondition,
    Interval,
    Neumann,
    Problem,
    RickerWavelet,
    Robin,
    SourceFamily,
    SpaceTime,
    coordinates,
    field,
    laplacian,
)
from pinnsiren.reference_solvers import find
from pinnsiren.reference_solvers.closed_forms import gaussian_pulse, half_space_pulse
from pinnsiren.reference_solvers.evolution_box import EvolutionBoxSolver
from pinnsiren.reference_solvers.time_domain.declared_run import DeclaredRun, Scheme
from pinnsiren.reference_solvers.time_domain.declared_wave import read_wave
from pinnsiren.reference_solvers.wave_leapfrog import WaveLeapfrogSolver

ORDER_TOLERANCE = 0.2

x, y, t = coordinates("x y t")
v, u = field("v", x, t), field("u", x, y, t)


def relative_error(solution, exact, every=1):
    (values,) = solution.values.values()
    values = values[(slice(None, None, every),) * values.ndim]
    truth = exact(*np.meshgrid(*[axis[::every] for axis in solution.axes.values()], indexing="ij"))
    return np.linalg.norm(values - truth) / np.linalg.norm(truth)


def fitted_order(steps, errors):
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


def manufactured(speed, exact, unknown, space, conditions):
    right = exact.diff(t, 2) - speed**2 * sum(exact.diff(s, 2) for s in space)
    initial = [InitialCondition(unknown, exact.subs(t, 0)), InitialCondition(unknown.diff(t), exact.diff(t).subs(t, 0))]
    box = Box({s: (0, 1) for s in space}) if len(space) > 1 else Interval({space[0]: (0, 1)})
    equation = sp.Eq(unknown.diff(t, 2) - speed**2 * laplacian(unknown), right)
    domain = SpaceTime(box, {t: (0, 1)})
    return Problem(name="manufactured", fields=[unknown], domain=domain, equations=[equation], conditions=[*initial, *conditions])


def between_mirrors():
    """Speed even, solution odd about the walls across x and even about those across y."""
    pi = sp.pi
    exact = sp.sin(2 * pi * x) * sp.cos(pi * y) * sp.cos(5 * t) + sp.sin(pi * x) * sp.cos(2 * pi * y) * sp.sin(4 * t + 1)
    speed = 1 + sp.cos(2 * pi * x) * sp.cos(2 * pi * y) / 4
    conditions = [Dirichlet(u, 0, on=("x-", "x+")), Neumann(u, 0, on=("y-", "y+"))]
    return manufactured(speed, exact, u, (x, y), conditions), sp.lambdify((t, x, y), exact, "numpy")


def between_moving_walls():
    exact = sp.sin(3 * x + 1) * sp.cos(4 * t + x)
    conditions = [Dirichlet(v, exact, on="x-"), Neumann(v, exact.diff(x), on="x+")]
    return manufactured(sp.sqrt(2 + sp.sin(x)), exact, v, (x,), conditions), sp.lambdify((t, x), exact, "numpy")


def run_error(problem, exact, cells, order, time_order, mirrors, of_limit):
    run = DeclaredRun(read_wave(problem), Scheme(1 / cells, order, time_order, mirrors, 1.0, of_limit=of_limit))
    (history,) = run.integrate()
    truth = exact(*np.meshgrid(run.instants, *[a.nodes[a.inside] for a in run.axes], indexing="ij"))
    return np.linalg.norm(history - truth) / np.linalg.norm(truth), run


@pytest.mark.parametrize(("order", "cells"), [(2, (24, 32, 40, 50)), (4, (24, 32, 40, 50)), (8, (22, 26, 32, 38))])
def test_observed_order_in_space_with_variable_speed(order, cells):
    problem, exact = between_mirrors()
    # Order 8 in time: its error is negligible.
    errors = [run_error(problem, exact, n, order, 8, True, 0.5)[0] for n in cells]
    assert abs(fitted_order(1 / np.array(cells), errors) - order) < ORDER_TOLERANCE


def shaken_string():
    """Fifty times as fast in time as in space: the error in time outweighs that in space."""
    exact = sp.sin(sp.pi * x) * sp.cos(50 * t) + sp.sin(2 * sp.pi * x) * sp.sin(40 * t + 1)
    return manufactured(1 + sp.cos(2 * sp.pi * x) / 4, exact, v, (x,), [Dirichlet(v, 0)]), sp.lambdify((t, x), exact, "numpy")


@pytest.mark.parametrize("time_order", [2, 4, 6, 8])
def test_observed_order_in_time_with_variable_speed(time_order):
    problem, exact = shaken_string()
    fractions = (0.95, 0.7, 0.5, 0.35) if time_order < 6 else (0.95, 0.75, 0.6, 0.45)
    measured = [run_error(problem, exact, 60, 8, time_order, True, fraction) for fraction in fractions]
    assert abs(fitted_order([run.dt for _, run in measured], [error for error, _ in measured]) - time_order) < ORDER_TOLERANCE


@pytest.mark.parametrize(("order", "time_order"), [(2, 2), (4, 4)])
def test_observed_order_between_walls_with_data_and_variable_speed(order, time_order):
    problem, exact = between_moving_walls()
    cells = (60, 84, 118, 164)
    errors = [run_error(problem, exact, n, order, time_order, False, 0.9)[0] for n in cells]
    assert abs(fitted_order(1 / np.array(cells), errors) - order) < ORDER_TOLERANCE


def free_pulse(duration):
    start = sp.exp(-((x - sp.Rational(1, 10)) ** 2 + y**2) * 200)
    domain = SpaceTime(Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}), {t: (0, duration)})
    conditions = [InitialCondition(u, start), InitialCondition(u.diff(t), 0)]
    problem = Problem(name="pulse", fields=[u], domain=domain, equations=[sp.Eq(u.diff(t, 2), laplacian(u))], conditions=conditions)
    return problem, gaussian_pulse((0.1, 0.0), 1 / 400)


def half_spaces():
    start = sp.exp(-((x + sp.Rational(1, 2)) ** 2) * 200)
    speed = sp.Piecewise((1, x < 0), (2, True))
    domain = SpaceTime(Interval({x: (-1, 1)}), {t: (0, 1)})
    conditions = [InitialCondition(v, start), InitialCondition(v.diff(t), 0)]
    equation = sp.Eq(v.diff(t, 2) / speed**2, laplacian(v))
    problem = Problem(name="half_spaces", fields=[v], domain=domain, equations=[equation], conditions=conditions)
    return problem, half_space_pulse(lambda s: np.exp(-((s + 0.5) ** 2) * 200), (1.0, 2.0))


def moving_walls():
    problem, exact = between_moving_walls()
    return problem, lambda position, instant: exact(instant, position)


def mirrors():
    problem, exact = between_mirrors()
    return problem, lambda first, second, instant: exact(instant, first, second)


@pytest.mark.parametrize("declared", [lambda: free_pulse(1.5), lambda: free_pulse(0.4), half_spaces, moving_walls])
def test_error_estimate_is_within_a_factor_of_three(declared):
    problem, exact = declared()
    solution = WaveLeapfrogSolver(tolerance=3e-4).solve(problem)
    error = relative_error(solution, exact, every=3)
    assert error < 3e-4
    assert error / 3 < solution.error_estimate < 3 * error


def test_error_estimate_far_below_the_tolerance_errs_on_the_safe_side():
    problem, exact = mirrors()
    solution = WaveLeapfrogSolver().solve(problem)
    error = relative_error(solution, exact, every=3)
    # At 1e-10 the splines between the nodes, which the estimate includes, outweigh the nodes.
    assert error < 1e-8
    assert error < solution.error_estimate < 20 * error


def test_values_between_the_nodes_are_covered_by_the_estimate():
    problem, exact = free_pulse(0.4)
    solution = WaveLeapfrogSolver().solve(problem)
    rng = np.random.default_rng(5)
    points = (*rng.uniform(-0.5, 0.5, (2, 400)), rng.uniform(0, 0.4, 400))
    error = np.linalg.norm(solution(*points) - exact(*points)) / np.linalg.norm(exact(*points))
    assert error < 2 * solution.error_estimate


def test_the_leapfrog_solver_is_found_first_and_agrees_with_the_method_of_lines():
    problem, _ = between_moving_walls()
    solver = find(problem)
    assert solver.name == WaveLeapfrogSolver.name
    ours, theirs = solver.solve(problem), EvolutionBoxSolver().solve(problem)
    gap = ours.values["v"] - theirs(*np.meshgrid(*ours.axes.values(), indexing="ij"))
    assert np.linalg.norm(gap) < (ours.error_estimate + theirs.error_estimate) * np.linalg.norm(ours.values["v"])


def test_shots_share_the_equation_and_keep_their_sources():
    w = field("w", x, y, t, shots=2)
    sources = [GaussianSource(at={x: a, y: 0.5}, variance=0.01) * RickerWavelet(t, 2.0) for a in (0.3, 0.7)]
    conditions = [InitialCondition(w, 0), InitialCondition(w.diff(t), 0), Dirichlet(w, 0)]
    domain = SpaceTime(Box({x: (0, 1), y: (0, 1)}), {t: (0, 1)})
    equation = sp.Eq(w.diff(t, 2) - laplacian(w), SourceFamily(sources))
    problem = Problem(name="shots", fields=[w], domain=domain, equations=[equation], conditions=conditions)
    values = WaveLeapfrogSolver(tolerance=1e-2).solve(problem).values["w"]
    assert values.shape[0] == 2
    # The second shot is the mirror image of the first.
    assert np.max(np.abs(values[0] - values[1][::-1])) < 1e-10 * np.max(np.abs(values))


def test_complex_data_superpose():
    w = field("w", x, t, complex=True)
    domain = SpaceTime(Interval({x: (0, 1)}), {t: (0, 1)})
    conditions = [InitialCondition(w, sp.sin(sp.pi * x) + 2 * sp.I * sp.sin(2 * sp.pi * x)), InitialCondition(w.diff(t), 0), Dirichlet(w, 0)]
    problem = Problem(name="complex", fields=[w], domain=domain, equations=[sp.Eq(w.diff(t, 2), laplacian(w))], conditions=conditions)

    def exact(position, instant):
        return np.sin(np.pi * position) * np.cos(np.pi * instant) + 2j * np.sin(2 * np.pi * position) * np.cos(2 * np.pi * instant)

    assert relative_error(WaveLeapfrogSolver().solve(problem), exact) < 1e-4


def refused(**changes):
    settings = {"equation": sp.Eq(v.diff(t, 2), laplacian(v)), "conditions": [Dirichlet(v, 0)], "start": sp.sin(sp.pi * x)} | changes
    conditions = [InitialCondition(v, settings["start"]), InitialCondition(v.diff(t), 0), *settings["conditions"]]
    domain = SpaceTime(Interval({x: (0, 1)}), {t: (0, 1)})
    return Problem(name="refused", fields=[v], domain=domain, equations=[settings["equation"]], conditions=conditions)


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (lambda: refused(equation=sp.Eq(v.diff(t, 2) + v.diff(t), laplacian(v))), "terms besides u_tt and the Laplacian"),
        (lambda: refused(conditions=[Robin(v, 1, 1, 0)]), "Robin condition"),
        (lambda: refused(conditions=[Dirichlet(v, 0, on="x-")], start=sp.sin(sp.pi * x / 2)), r"reaches the face x\+ into free space"),
    ],
)
def test_what_is_not_a_plain_wave_problem_is_refused_with_the_reason(problem, reason):
    support = WaveLeapfrogSolver().supports(problem())
    assert not support.ok
    with pytest.raises(ReferenceSolverError, match=reason):
        WaveLeapfrogSolver().solve(problem())
