"""Declarations that prescribe one value twice, hide a speed of zero in a square, or let waves reach a face without a condition."""

import warnings

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.compiler.open_faces import arrivals
from pinnsiren.errors import CompileError, ProblemError, ProblemWarning

X, Y, T = ps.coordinates("x y t")
U, W = ps.field("u", X, Y), ps.field("w", X, T)
SQUARE = ps.Box({X: (0, 1), Y: (0, 1)})
DISC = ps.Disk({X: 0.5, Y: 0.5}, 0.2)
RISE, REST = ps.InitialCondition(W, sp.sin(sp.pi * X)), ps.InitialCondition(W.diff(T), 0)
WIDTH = 0.05
PULSE = ps.InitialCondition(W, sp.exp(-((X - 0.5) ** 2) / (2 * WIDTH**2)))
# The tail of the pulse at a millionth of its height, in standard deviations: sqrt(2 ln 1e6).
TAIL = 5.26


def steady(*conditions, equation=None, domain=SQUARE):
    return ps.Problem(name="p", fields=[U], domain=domain, equations=[ps.laplacian(U) - 1 if equation is None else equation], conditions=conditions)


def wave(*conditions, speed=1, until=0.2, equation=None, faces=()):
    domain = ps.SpaceTime(ps.Interval({X: (0, 1)}), {T: (0, until)})
    left = W.diff(T, 2) - speed**2 * W.diff(X, 2) if equation is None else equation
    return ps.Problem(name="p", fields=[W], domain=domain, equations=[left], conditions=[*conditions, *(ps.Dirichlet(W, 0, on=f) for f in faces)])


CONTRADICTIONS = {
    "a point on a face": lambda: steady(ps.Dirichlet(U, 0), ps.Dirichlet(U, 1, on={X: 0, Y: 0.3})),
    "one point": lambda: steady(ps.Dirichlet(U, 0), ps.Dirichlet(U, 1, on={X: 0.2, Y: 0.3}), ps.Dirichlet(U, 2, on={X: 0.2, Y: 0.3})),
    "a point in a region": lambda: steady(ps.Dirichlet(U, 0), ps.Dirichlet(U, 1, on={X: 0.5, Y: 0.5}), ps.Dirichlet(U, X, on=DISC)),
    "regions that overlap": lambda: steady(
        ps.Dirichlet(U, 0), ps.Dirichlet(U, 1, on=ps.Disk({X: 0.4, Y: 0.4}, 0.2)), ps.Dirichlet(U, X, on=DISC)
    ),
    "a region at a face": lambda: steady(ps.Dirichlet(U, 0), ps.Dirichlet(U, 1, on=ps.Box({X: (0, 0.5), Y: (0, 0.5)}))),
}


@pytest.mark.parametrize("where", CONTRADICTIONS)
def test_two_values_at_one_place_are_refused_with_the_place(where):
    with pytest.raises(ProblemError, match="prescribes `u.x, y.` twice at x=.*keep one of them"):
        CONTRADICTIONS[where]()


def test_equal_values_apart_regions_and_unknown_ones_are_accepted():
    steady(ps.Dirichlet(U, X), ps.Dirichlet(U, 0, on={X: 0, Y: 0.3}), ps.Dirichlet(U, X, on=DISC))
    steady(ps.Dirichlet(U, 0), ps.Dirichlet(U, 1, on=ps.Disk({X: 0.2, Y: 0.2}, 0.1)), ps.Dirichlet(U, 2, on=ps.Disk({X: 0.8, Y: 0.8}, 0.1)))


def test_initial_values_that_are_not_the_boundary_values_warn():
    with pytest.warns(ProblemWarning, match="initial value of .* is 1 on the face `x-`, its Dirichlet value at that instant 0: they contradict"):
        wave(ps.InitialCondition(W, sp.cos(X)), REST, faces=("x-", "x+"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wave(RISE, REST, faces=("x-", "x+"))


def test_observations_stand_in_for_an_initial_rate_with_a_warning():
    seen = ps.Observations(W, [[0.5, 0.1]], [0.3])
    with pytest.warns(ProblemWarning, match="no initial time derivative; the observations stand in for it"):
        wave(RISE, seen, faces=("x-", "x+"))


SAMPLED = ps.sampled("c", {X: np.linspace(0, 1, 400)}, np.where(np.arange(400) == 123, -0.5, 1.0), order=1)
STOPPED = {
    "a speed through zero": (lambda: wave(RISE, REST, speed=X - 0.4, faces=("x-", "x+")), "speed `x - 0.4` .* is -0.4 at x="),
    "in a divergence": (
        lambda: wave(RISE, REST, equation=W.diff(T, 2) - ps.div((X - 0.4) ** 2 * ps.grad(W)), faces=("x-", "x+")), "speed `x - 0.4`"
    ),
    "one sample below zero": (lambda: wave(RISE, REST, speed=SAMPLED, faces=("x-", "x+")), r"speed `c.x.` .* is -0.5 at one of its samples"),
    "an eikonal speed": (
        lambda: steady(ps.Dirichlet(U, 0, on={X: 0.1, Y: 0.1}), equation=ps.grad(U).dot(ps.grad(U)) - 1 / (Y - 0.3) ** 2), "speed `y - 0.3`"
    ),
    "an eikonal slowness": (
        lambda: steady(ps.Dirichlet(U, 0, on={X: 0.9, Y: 0.1}), equation=ps.grad(U).dot(ps.grad(U)) - (X - 0.3)), "squared slowness `x - 0.3`"
    ),
    "Helmholtz": (lambda: steady(ps.Dirichlet(U, 0), equation=ps.laplacian(U) + 9 * U / (X - 0.6) ** 2 - 1), "speed `x - 0.6`"),
}


@pytest.mark.parametrize("what", STOPPED)
def test_a_speed_that_is_not_positive_somewhere_is_refused(what):
    declare, message = STOPPED[what]
    with pytest.raises(ProblemError, match=message):
        declare()


def test_positive_speeds_in_any_form_are_accepted():
    wave(RISE, REST, speed=1 + X**2, faces=("x-", "x+"))
    wave(RISE, REST, speed=ps.sampled("c", {X: [0, 0.5, 1]}, [1, 2, 1.5]), faces=("x-", "x+"))
    steady(ps.Dirichlet(U, 0, on={X: 0.1, Y: 0.1}), equation=ps.grad(U).dot(ps.grad(U)) - 1 / (1 + Y) ** 2)


def test_squares_that_are_only_a_part_of_a_squared_speed_are_no_speeds():
    """x**2 in 1 + x**2 vanishes inside, and so does the tanh**2 of a derivative of tanh; the squared speed does not."""
    wave(RISE, REST, equation=W.diff(T, 2) - (1 + (X - 0.4) ** 2) * W.diff(X, 2), faces=("x-", "x+"))
    wave(RISE, REST, equation=W.diff(T, 2) - ps.div((2 + sp.tanh(9 * X - 4)) * ps.grad(W)), faces=("x-", "x+"))


@pytest.mark.parametrize("speed", [0.5, 1.0, 3.0])
def test_the_arrival_at_an_open_face_is_that_of_the_tail_of_the_pulse(speed):
    problem = wave(PULSE, REST, speed=sp.Float(speed))
    for arrival in arrivals(problem, W):
        assert arrival.latest == pytest.approx((0.5 - TAIL * WIDTH) / speed, abs=2e-3)


def test_waves_that_reach_a_face_without_a_condition_are_refused_before_anything_is_solved():
    with pytest.raises(CompileError, match=r"reaches the face `x\+` at t = 0.23.*add a Dirichlet.*enlarge the domain, or end earlier"):
        ps.plan(wave(PULSE, REST, until=0.4, faces=("x-",)), method="LeastSquares")
    ps.plan(wave(PULSE, REST, until=0.2), method="LeastSquares")
    ps.plan(wave(PULSE, REST, until=0.4, faces=("x-", "x+")), method="LeastSquares")


def test_methods_that_know_free_space_take_open_faces():
    assert ps.plan(wave(PULSE, REST, until=0.4, faces=("x-",))).method.knows_free_space


def test_waves_that_may_reach_it_in_a_faster_medium_warn():
    with pytest.warns(ProblemWarning, match=r"may reach the face `x\+` at t = 0.11"):
        ps.plan(wave(PULSE, REST, speed=1 + X, until=0.2, faces=("x-",)), method="LeastSquares")


def test_a_source_counts_from_the_instant_it_speaks():
    quiet = ps.InitialCondition(W, 0)
    spot = sp.exp(-((X - 0.5) ** 2) / (2 * WIDTH**2))
    late = wave(quiet, REST, equation=W.diff(T, 2) - W.diff(X, 2) - spot * sp.Piecewise((1, T > 1), (0, True)), until=1.5)
    assert min(arrival.earliest for arrival in arrivals(late, W)) == pytest.approx(1 + 0.5 - TAIL * WIDTH, abs=0.03)
