"""The factored eikonal: travel times of a point source, in every form of the equation, without the cone and on the outgoing branch."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.compiler.apply_factored_eikonal import NAME, squared_slowness
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.language.numeric import evaluate_on

V0, G = 1.2, 0.8
AT = (0.37, 0.21)
ACCURATE = 1e-8  # a smooth medium: spectral
SECONDS = 5.0

x, z, t = ps.coordinates("x z t")
T = ps.field("T", x, z)
BOX = ps.Box({x: (0, 1), z: (0, 1)})
SPEED = sp.Float(V0) + sp.Float(G) * z
LENGTH = ps.grad(T).dot(ps.grad(T))

FORMS = {
    "squared": LENGTH - 1 / SPEED**2,
    "root": sp.sqrt(LENGTH) * SPEED - 1,
    "derivatives": SPEED**2 * (T.diff(x) ** 2 + T.diff(z) ** 2) - 1,
    "turned": 1 / SPEED - sp.sqrt(T.diff(x) ** 2 + T.diff(z) ** 2),
}


def declared(equation, at=AT, value=0, field=T, domain=BOX, **more):
    point = dict(zip(domain.coordinates, at, strict=True))
    return ps.Problem(name="times", fields=[field], domain=domain, equations=[equation], conditions=[ps.Dirichlet(field, value, on=point)], **more)


def first_arrival(points, at, start=0.0):
    speed = V0 + G * points[:, -1]
    r2 = np.sum((points - np.array(at)) ** 2, axis=1)
    return start + np.arccosh(1 + G**2 * r2 / (2 * (V0 + G * at[-1]) * speed)) / G


@pytest.mark.parametrize("equation", FORMS.values(), ids=FORMS.keys())
def test_every_form_gives_the_squared_slowness(equation):
    assert sp.simplify(squared_slowness(declared(equation)) - 1 / SPEED**2) == 0


@pytest.mark.parametrize(
    "equation",
    [
        T.diff(x) ** 2 + 2 * T.diff(z) ** 2 - 1,
        LENGTH - T.diff(x),
        LENGTH - 1 - T,
        T.diff(x) ** 4 + T.diff(z) ** 4 - 1,
        LENGTH**2 + LENGTH - 1,
        T.diff(x) ** 2 - 1,
    ],
    ids=["anisotropic", "drift", "of the time itself", "no length", "quartic", "one direction"],
)
def test_other_equations_are_left_alone(equation):
    assert squared_slowness(declared(equation)) is None


@pytest.mark.parametrize(("at", "value"), [(AT, 0), ((0.0, 0.0), 0), ((0.9, 0.5), 0.25)], ids=["inside", "corner", "later start"])
def test_travel_times_agree_with_the_closed_form(at, value):
    problem = declared(FORMS["squared"], at, value)
    found = ps.solve(problem, seconds=SECONDS, progress=False)
    points = BOX.sample_interior(3000, seed=5)
    truth = first_arrival(points, at, value)
    error = np.linalg.norm(found["T"].at(points) - truth) / np.linalg.norm(truth)
    assert found.status.success and error < ACCURATE and error < 10 * found.estimated_error
    assert found(x=at[0], z=at[1]) == pytest.approx(value, abs=1e-12)


def test_travel_times_in_three_dimensions():
    y = ps.coordinates("y")
    tau = ps.field("T", x, y, z)
    cube = ps.Box({x: (0, 1), y: (0, 1), z: (0, 1)})
    at = (0.4, 0.3, 0.2)
    found = ps.solve(declared(ps.grad(tau).dot(ps.grad(tau)) - 1 / SPEED**2, at, field=tau, domain=cube), seconds=SECONDS, progress=False)
    points = cube.sample_interior(3000, seed=5)
    truth = first_arrival(points, at)
    error = np.linalg.norm(found["T"].at(points) - truth) / np.linalg.norm(truth)
    assert found.status.success and error < 1e-4


def test_rays_that_cross_are_no_success_with_a_small_error():
    # Behind a slow lens the first arrival has a kink; the one smooth branch that plain least squares look for does not exist.
    lens = 1 - sp.Float(0.7) * sp.exp(-((x - sp.Float(0.5)) ** 2 + (z - sp.Float(0.5)) ** 2) / sp.Float(0.01))
    found = ps.solve(declared(LENGTH - 1 / lens**2, (0.1, 0.45)), method="LeastSquares", seconds=3, progress=False)
    assert not found.status.success and found.estimated_error > 1e-3


def test_a_narrow_lens_far_from_the_source_overflows_nowhere():
    # Expanded, exp(-(x - a)^2 / (2 s^2)) would be a product of a number beyond the largest and one below the smallest.
    lens = 1 + 2 * sp.exp(-((x - sp.Float(0.55)) ** 2 + (z - sp.Float(0.5)) ** 2) / (2 * sp.Float(0.01) ** 2))
    square = squared_slowness(declared(LENGTH - lens**2, (0.01, 0.45)))
    points = BOX.sample_interior(2000, seed=1)
    assert np.array_equal(evaluate_on(square, (x, z), points), evaluate_on(lens**2, (x, z), points))
    found = ps.solve(declared(LENGTH - lens**2, (0.01, 0.45)), seconds=2, progress=False)
    assert np.isfinite(found.estimated_error)


def test_the_rewrite_is_named_and_can_be_left_out():
    problem = declared(FORMS["squared"])
    assert NAME in dict(compile_problem(problem).rewritten.applied)
    assert NAME in str(ps.plan(problem))
    assert NAME not in dict(compile_problem(problem, skipped=[NAME]).rewritten.applied)


def test_two_sources_are_not_factored():
    first, second = (ps.Dirichlet(T, 0, on={x: position, z: sp.Rational(1, 2)}) for position in (0.2, 0.8))
    problem = ps.Problem(name="two", fields=[T], domain=BOX, equations=[FORMS["squared"]], conditions=[first, second])
    assert NAME not in dict(compile_problem(problem).rewritten.applied)


def test_a_solution_survives_its_file(tmp_path):
    found = ps.solve(declared(FORMS["squared"]), seconds=SECONDS, progress=False)
    found.save(tmp_path / "times.h5")
    again = ps.load(tmp_path / "times.h5")
    points = BOX.sample_interior(50, seed=5)
    assert np.array_equal(again["T"].at(points), found["T"].at(points))
