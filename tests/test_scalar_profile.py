"""Unknown scalars of nonlinear evolutions by whole forward solutions: the viscosity of Burgers' equation."""

import numpy as np
import pytest
import sympy as sp
import torch

import pinnsiren as ps
from pinnsiren.problems import load

HONEST = 10.0
STANDARD_ERRORS = 3.5  # exceeded in one of 2000 draws of normal noise
X, T = ps.coordinates("x t")
U = ps.field("u", X, T)


def solve(problem, **settings):
    torch.set_num_threads(1)
    return ps.solve(problem, seconds=600, progress=False, device="cpu", **settings)


def test_noisy_observations_give_the_viscosity_within_its_standard_error(tmp_path):
    viscosity = 0.05
    solution = solve(load("burgers_viscosity", viscosity=viscosity, noise=0.01), method=ps.ScalarProfile(scan=3))
    error, spread = abs(solution["nu"] - viscosity), solution.standard_errors["nu"]
    assert error < STANDARD_ERRORS * spread and spread < 0.05 * viscosity
    assert error / viscosity < HONEST * solution.estimated_error
    assert not solution.status.success and "the noise leaves a standard error" in solution.status.text
    solution.save(tmp_path / "run.h5")
    again = ps.load(tmp_path / "run.h5")
    assert again["nu"] == solution["nu"] and again.standard_errors == solution.standard_errors
    assert np.array_equal(again(x=[0.1, -0.4], t=[0.5, 0.9]), solution(x=[0.1, -0.4], t=[0.5, 0.9]))


def test_nonlinear_evolutions_are_profiled_and_linear_ones_are_not():
    assert type(ps.plan(load("burgers_viscosity")).method).__name__ == "ScalarProfile"
    assert type(ps.plan(load("wave_speed")).method).__name__ == "JointLeastSquares"


def bistable(*more):
    """Allen-Cahn with an unknown reaction rate."""
    rate, data = ps.unknown("r", 1, (0.1, 10)), ps.Observations(U, [[0.5, 0.5], [0.2, 0.3]], [0.1, 0.2])
    conditions = [ps.Dirichlet(U, 0), ps.InitialCondition(U, sp.sin(sp.pi * X)), data, *more]
    domain = ps.SpaceTime(ps.Interval({X: (0, 1)}), {T: (0, 1)})
    return ps.Problem(name="p", fields=[U], domain=domain, equations=[U.diff(T) - U.diff(X, 2) - rate * (U - U**3)], conditions=conditions)


def test_other_nonlinear_evolutions_fit_and_penalties_do_not():
    assert type(ps.plan(bistable()).method).__name__ == "ScalarProfile"
    with pytest.raises(ps.CompileError, match="the method would ignore what was declared"):
        ps.plan(bistable(ps.Penalty(U)), method=ps.ScalarProfile())


@pytest.mark.parametrize("settings", [{"scan": 0}, {"most_marches": 1}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ps.ProblemError, match="expected a whole number from"):
        ps.ScalarProfile(**settings)
