"""Waves that leave: layers in time, absorbing conditions of first order, and what comes back."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.problems import load

N_POINTS = 400
SEED = 5
HONEST = 10
X, Y, T = ps.coordinates("x y t")
LINE, PLANE = ps.field("u", X, T), ps.field("u", X, Y, T)
WIDTH = 0.08


def pulse(at=0.0, width=WIDTH):
    return sp.exp(-((X - at) ** 2) / (2 * width**2))


def on_line(right, conditions, *, end=1.0, limits=(-1, 1), start=None, exact=None, **settings):
    start = pulse() if start is None else start
    problem = ps.Problem(
        name="leaving", fields=[LINE], domain=ps.SpaceTime(ps.Interval({X: limits}), {T: (0, end)}), equations=[sp.Eq(LINE.diff(T, 2), right)],
        conditions=[ps.InitialCondition(LINE, start), ps.InitialCondition(LINE.diff(T), 0), *conditions], exact=exact and {LINE: exact},
    )  # fmt: skip
    return ps.solve(problem, progress=False, device="cpu", **{"seconds": 300, "tolerance": 1e-4, **settings})


def error_of(solution):
    points = solution.problem.domain.sample_interior(N_POINTS, SEED)
    (exact,) = solution.problem.exact.values()
    true = evaluate_on(exact, solution.problem.coordinates, points) if isinstance(exact, sp.Basic) else exact(*points.T)
    return np.linalg.norm(solution.evaluate(0, points, (0,) * points.shape[1])[:, 0] - true) / np.linalg.norm(true)


def outgoing(speed):
    return (pulse().subs(X, X - speed * T) + pulse().subs(X, X + speed * T)) / 2


@pytest.mark.parametrize("constants", [{}, {"c": 3, "variance": 0.0036, "at": (0.0, 0.05), "end": 0.35}], ids=["as published", "other"])
def test_nothing_comes_back_through_a_layer_in_time(constants):
    solution = ps.solve(load("wave_absorbing", **constants), progress=False, device="cpu", seconds=120)
    assert solution.status.success
    # The field at late times is the wake of the whole plane: what came back would stand out against it.
    assert error_of(solution) < 1e-9
    assert "nothing may come back through x-, x+, y-, y+" in str(solution.plan)
    assert "width and strength of the layer play no part" in str(solution.plan)


def test_a_layer_may_stand_beside_a_wall():
    solution = on_line(LINE.diff(X, 2), [ps.PML(LINE, on="x+"), ps.Dirichlet(LINE, 0, on="x-")], end=2.0)
    energy = [float(np.sqrt(np.mean(solution(x=np.linspace(-1, 1, 201), t=t) ** 2))) for t in (0.0, 1.95)]
    assert solution.status.success
    # Half of the pulse has left through the layer; the other half met the wall, changed its sign, and is back in the middle: u = -g(x + 2 - t)/2.
    assert energy[1] == pytest.approx(energy[0] / 2, rel=0.02)
    assert solution(x=-0.05, t=1.95) == pytest.approx(-0.5, abs=1e-3)


def test_a_layer_around_a_damped_medium_agrees_with_a_larger_box():
    """No lattice, mode or plane wave exists for damping that varies: the march runs on the larger domain that the layer asks for."""
    right = LINE.diff(X, 2) - (1 + X) / 2 * LINE.diff(T)
    inside = on_line(right, [ps.PML(LINE, on="x-"), ps.Dirichlet(LINE, 0, on="x+")], tolerance=1e-3, end=1.5)
    # Without the layer the wall at x = -1 answers at t = 1, and its answer fills x < t - 2: outside, both are the same wave.
    larger = on_line(right, [ps.Dirichlet(LINE, 0)], tolerance=1e-3, end=1.5)
    points = inside.problem.domain.sample_interior(N_POINTS, SEED)
    points = points[points[:, 0] > points[:, 1] - 2 + 8 * WIDTH]
    assert isinstance(inside.plan.method, ps.WaveMarch)
    assert inside.status.success and larger.status.success
    found, wanted = (s.evaluate(0, points, (0, 0)) for s in (inside, larger))
    assert np.linalg.norm(found - wanted) < HONEST * 1e-3 * np.linalg.norm(wanted)


@pytest.mark.parametrize("method", ["auto", ps.WaveMarch()], ids=["plane waves", "march"])
def test_the_condition_of_first_order_is_free_space_on_a_line(method):
    speed = 1.5
    leave = ps.Constraint(LINE.diff(T) + speed * ps.grad(LINE).dot(ps.normal(LINE)), on="boundary")
    solution = on_line(speed**2 * LINE.diff(X, 2), [leave], end=1.2, exact=outgoing(speed), method=method)
    assert solution.status.success, solution.status
    assert error_of(solution) < min(1e-4, HONEST * solution.estimated_error)


@pytest.mark.parametrize(("along", "across"), [(6.0, 1), (3.0, 2)])
def test_the_condition_of_first_order_reflects_oblique_waves_as_it_must(along, across):
    """In a guide, cos(m pi y) (cos(k (x - 1) - w t) - R cos(k (x - 1) + w t)) with R = (w - k)/(w + k) leaves through x = 1 by u_t + u_x = 0."""
    frequency = float(np.hypot(along, across * np.pi))
    reflection = (frequency - along) / (frequency + along)
    phase = along * (X - 1)
    exact = sp.cos(across * sp.pi * Y) * (sp.cos(phase - frequency * T) - reflection * sp.cos(phase + frequency * T))
    u = PLANE
    problem = ps.Problem(
        name="guide", fields=[u], domain=ps.SpaceTime(ps.Box({X: (0, 1), Y: (0, 1)}), {T: (0, 0.8)}),
        equations=[sp.Eq(u.diff(T, 2), ps.laplacian(u))],
        conditions=[
            ps.InitialCondition(u, exact.subs(T, 0)), ps.InitialCondition(u.diff(T), exact.diff(T).subs(T, 0)), ps.Neumann(u, 0, on=("y-", "y+")),
            ps.Constraint(u.diff(T) + ps.grad(u).dot(ps.normal(u)), on="x+"), ps.Dirichlet(u, exact.subs(X, 0), on="x-"),
        ],
        exact={u: exact},
    )  # fmt: skip
    solution = ps.solve(problem, progress=False, device="cpu", seconds=300, tolerance=1e-4)
    assert isinstance(solution.plan.method, ps.WaveMarch)
    assert solution.status.success, solution.status
    assert error_of(solution) < min(1e-6, HONEST * solution.estimated_error)


def test_layers_in_time_are_for_waves_only():
    domain = ps.SpaceTime(ps.Interval({X: (0, 1)}), {T: (0, 1)})
    with pytest.raises(ps.ProblemError, match=r"a layer lets waves leave, which are of order 2.*Dirichlet"):
        ps.Problem(
            name="heat", fields=[LINE], domain=domain, equations=[sp.Eq(LINE.diff(T), LINE.diff(X, 2))],
            conditions=[ps.InitialCondition(LINE, 0), ps.PML(LINE)],
        )  # fmt: skip
    with pytest.raises(ps.ProblemError, match=r"PML was given the real field `u`.*complex=True"):
        ps.Problem(
            name="steady", fields=[LINE], domain=ps.Box({X: (0, 1), T: (0, 1)}), equations=[sp.Eq(LINE.diff(X, 2) + LINE.diff(T, 2) + 9 * LINE, 1)],
            conditions=[ps.PML(LINE)],
        )  # fmt: skip


def test_data_that_reach_a_layer_are_refused():
    with pytest.raises(ps.CompileError, match=r"reach the face `x-`.*nothing starts. Enlarge the domain"):
        on_line(LINE.diff(X, 2), [ps.PML(LINE)], start=sp.cos(X))
