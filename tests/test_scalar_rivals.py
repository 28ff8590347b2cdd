"""Scalars that the data tell up to a choice only: the estimate counts the choice, and the status names it."""

import re

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.training.scalar_rivals import as_array, explains_as_well, from_array, rivals_of, valleys_of

HONEST = 10.0
X, T = ps.coordinates("x t")
U = ps.field("u", X, T)


def string(points, *, speed, bounds, mode=2):
    """A mode of a string at observed points, its speed unknown; the search starts at 1."""
    exact, c = sp.sin(mode * sp.pi * X) * sp.cos(mode * speed * sp.pi * T), ps.unknown("c", 1, bounds)
    conditions = [ps.Dirichlet(U, 0), ps.InitialCondition(U, exact.subs(T, 0)), ps.InitialCondition(U.diff(T), 0)]
    seen = ps.Observations(U, points, sp.lambdify([X, T], exact, "numpy")(*np.asarray(points).T))
    domain = ps.SpaceTime(ps.Interval({X: (0, 1)}), {T: (0, 1)})
    return ps.Problem(name="p", fields=[U], domain=domain, equations=[U.diff(T, 2) - c**2 * U.diff(X, 2)], conditions=[*conditions, seen])


def solve(problem):
    return ps.solve(problem, seconds=600, tolerance=1e-2, progress=False, device="cpu")


SCATTERED = np.random.default_rng(3).random((40, 2))
LAST_INSTANT = np.stack([np.linspace(0.1, 0.9, 15), np.ones(15)], axis=1)
AMBIGUOUS = {
    "whole periods before the only instant": (LAST_INSTANT, 3, (0.5, 4), r"explained as well by .*`c` = (2|3)"),
    "the sign of a speed that is squared": (SCATTERED, 2, (-5, 5), r"explained as well by `c` = -?2:"),
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_a_speed_that_data_tell_up_to_a_choice_is_no_success(what):
    points, speed, bounds, message = AMBIGUOUS[what]
    solution = solve(string(points, speed=speed, bounds=bounds))
    assert not solution.status.success
    assert abs(solution["c"] - speed) / speed < HONEST * solution.estimated_error
    assert re.search(message, solution.status.text)


def test_a_squared_viscosity_tells_no_sign():
    """The same by whole forward solutions, which nonlinear evolutions ask for."""
    k, exact = ps.unknown("k", 0.25, (-0.8, 0.8)), sp.sin(sp.pi * X) * sp.exp(-T) / 2
    points = SCATTERED * (1, 0.5)
    bare = ps.Problem(
        name="p", fields=[U], domain=ps.SpaceTime(ps.Interval({X: (0, 1)}), {T: (0, 0.5)}),
        equations=[sp.Eq(U.diff(T) + U * U.diff(X), k**2 * U.diff(X, 2) + exact.diff(T) + exact * exact.diff(X) - 0.16 * exact.diff(X, 2))],
        conditions=[
            ps.Dirichlet(U, 0), ps.InitialCondition(U, exact.subs(T, 0)),
            ps.Observations(U, points, sp.lambdify([X, T], exact, "numpy")(*points.T)),
        ],
    )  # fmt: skip
    solution = solve(bare)
    assert type(solution.plan.method).__name__ == "ScalarProfile"
    assert not solution.status.success and abs(solution["k"] - 0.4) / 0.4 < HONEST * solution.estimated_error
    assert re.search("explained as well by `k` = -?0.4:", solution.status.text)


def test_one_valley_has_no_rival():
    solution = solve(string(SCATTERED, speed=2, bounds=(0.5, 8), mode=1))
    assert solution.status.success and "as well" not in solution.status.text
    assert abs(solution["c"] - 2) < HONEST * 2 * solution.estimated_error


def test_valleys_are_the_bottoms_of_a_scan():
    speeds = np.linspace(0.1, 3.9, 77)
    scanned = [(abs(np.sin(np.pi * speed)), (complex(speed),)) for speed in speeds]
    assert sorted(round(scalars[0].real) for scalars in valleys_of(scanned)) in ([0, 1, 2, 3], [1, 2, 3, 4])
    assert [round(scalars[0].real, 1) for scalars in valleys_of([((speed - 2) ** 2, (complex(speed),)) for speed in speeds])] == [2.0]


def test_rivals_lie_apart_and_explain_about_as_much():
    refined = [(0.9, (4 + 0j,)), (1e-3, (1 + 0j,)), (1e-3, (1.001 + 0j,)), (2e-3, (2 + 0j,)), (2e-3, (2.001 + 0j,))]
    rivals = rivals_of(refined, (1 + 0j,))
    assert rivals == ((2 + 0j,),)
    assert from_array(as_array(rivals, 1)) == rivals
    assert from_array(as_array((), 0)) == ()


def test_many_data_tell_small_differences_of_misfit_apart():
    assert explains_as_well(0.11, 0.1, 10, 0.1)
    assert not explains_as_well(0.11, 0.1, 1000, 0.1)
