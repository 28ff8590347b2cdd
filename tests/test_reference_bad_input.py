"""What cannot be computed is refused before it starts, in the words of the caller."""

import numpy as np
import pytest
import sympy as sp

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Box, Dirichlet, Disk, Neumann, Problem, coordinates, div, field, grad, laplacian
from pinnsiren.reference_solvers import find, frequency_domain
from pinnsiren.reference_solvers.linear_box import LinearBoxSolver
from pinnsiren.reference_solvers.time_domain import AcousticPropagator, ricker

X, Y = coordinates("x y")
U = field("u", X, Y)
MAP = np.ones((41, 41))
DT = 0.005
WAVELET = ricker(np.arange(300) * DT, 2.0)
HUGE = (60_000, 60_000)


def propagator(**changed):
    return AcousticPropagator(**{"speed": MAP, "spacing": 0.025, "dt": DT, "frequency": 4.0, **changed})


def helmholtz(**changed):
    grid = frequency_domain.Grid((0.0, 0.0), (0.02, 0.02), (61, 61))
    return frequency_domain.Discretisation(**{"grid": grid, "angular_frequency": 20.0, "model": np.ones((61, 61)), "scheme": "order4", **changed})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dt": 0.05}, "stable up to dt="),
        ({"dt": np.nan}, "CFL"),
        ({"dt": "fast"}, "dt must be an array of real numbers"),
        ({"speed": MAP + 1j}, "speed map must be an array of real numbers.*complex"),
        ({"speed": [[1, 2], [3]]}, "rows of equal length"),
        ({"speed": -MAP}, "speeds must be positive"),
        ({"speed": np.broadcast_to(1.0, (4000, 4000, 4000))}, "GB are free"),
        ({"origin": (0.0,)}, "one finite position per axis"),
        ({"origin": (np.nan, 0.0)}, "one finite position per axis"),
        ({"layer_cells": 1}, "thinner than a quarter"),
        ({"layer_cells": 7.5}, "whole number of cells"),
        ({"frequency": np.inf}, "dominant frequency"),
        ({"half_width": 0}, "whole number from 1 to 10"),
    ],
)
def test_a_propagator_that_cannot_run_is_refused(changed, message):
    with pytest.raises(ReferenceSolverError, match=message):
        propagator(**changed)


@pytest.mark.parametrize(
    ("sources", "wavelet", "receivers", "message"),
    [
        ([[0.5, 0.5]], WAVELET, [[1.2, 0.5]], "receivers lie in the absorbing layer or outside"),
        ([[0.5, 0.5]], WAVELET, np.zeros((0, 2)), "receivers of shape"),
        ([[0.5, 0.5]], WAVELET + 1j, [[0.2, 0.5]], "wavelets must be an array of real numbers"),
        ([[0.5, 0.5]], ricker(np.arange(60) * DT, 30.0), [[0.2, 0.5]], "four at least"),
    ],
)
def test_a_shot_that_cannot_be_recorded_is_refused(sources, wavelet, receivers, message):
    with pytest.raises(ReferenceSolverError, match=message):
        propagator().shoot(sources, wavelet, receivers)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"angular_frequency": 120.0}, "points on a grid.*nodes"),
        ({"angular_frequency": np.inf}, "positive number"),
        ({"layer_wavelengths": 0.1}, "quarter"),
        ({"layer_wavelengths": np.nan}, "layer_wavelengths=nan"),
        ({"model": np.ones((60, 61))}, "has shape"),
        ({"model": np.ones((61, 61)) * 1j}, "real numbers"),
        ({"grid": frequency_domain.Grid((0.0, 0.0), (0.02, 0.02), HUGE), "model": np.broadcast_to(1.0, HUGE)}, "is estimated at.*are free"),
    ],
)
def test_a_helmholtz_operator_that_cannot_be_built_is_refused(changed, message):
    with pytest.raises(ReferenceSolverError, match=message):
        helmholtz(**changed)


@pytest.mark.parametrize("step", [-0.02, np.nan, 0.0])
def test_a_grid_has_positive_steps(step):
    with pytest.raises(ReferenceSolverError, match="a grid was given"):
        frequency_domain.Grid((0.0, 0.0), (step, 0.02), (61, 61))


@pytest.mark.parametrize(("position", "amplitudes", "variance"), [(np.nan, [1.0], 0.1), (0.5, [1.0, 2.0], 0.1), (0.5, [1.0], -1.0)])
def test_shots_are_finite_and_match_their_amplitudes(position, amplitudes, variance):
    with pytest.raises(ReferenceSolverError, match="shots were given"):
        frequency_domain.Shots(np.array([[position, 0.5]]), np.array(amplitudes), variance)


def test_receivers_of_no_place_are_refused():
    shots = frequency_domain.Shots.at([[0.5, 0.5]])
    with pytest.raises(ReferenceSolverError, match="expected finite ones"):
        frequency_domain.simulate(helmholtz(), np.ones((61, 61)), shots, [[np.nan, 0.5]])


@pytest.mark.parametrize(("source", "flux"), [(1, 0), (2, 0.9)])
def test_incompatible_neumann_data_on_a_disk_give_the_integral(source, flux):
    problem = Problem(name="disk", fields=[U], domain=Disk({X: 0, Y: 0}, 1), equations=[laplacian(U) - source], conditions=[Neumann(U, flux)])
    integral = abs(source * np.pi - flux * 2 * np.pi)
    with pytest.raises(ReferenceSolverError, match=f"integral is {integral:.3g}"):
        find(problem).solve(problem)


@pytest.mark.parametrize("operator", [laplacian(U), div((1 + X) * grad(U))])
def test_a_source_that_is_infinite_on_a_grid_line_is_named(operator):
    problem = Problem(
        name="pole", fields=[U], domain=Box({X: (0, 1), Y: (0, 1)}), equations=[operator - 1 / (X - sp.Rational(1, 2))], conditions=[Dirichlet(U, 0)]
    )
    with pytest.raises(ReferenceSolverError, match=r"1/\(.*is -?inf at x = 0.5"):
        (LinearBoxSolver(cells=20) if operator.has(X + 1) else find(problem)).solve(problem)


def test_a_resonance_leaves_no_estimate_and_says_so():
    problem = Problem(
        name="ring", fields=[U], domain=Box({X: (0, 1), Y: (0, 1)}), equations=[laplacian(U) + 2 * np.pi**2 * U - 1], conditions=[Dirichlet(U, 0)]
    )
    solution = find(problem).solve(problem)
    assert solution.error_estimate == np.inf
    assert any("resonance" in note for note in solution.notes)
