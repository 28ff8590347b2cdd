"""Data between the points of a grid are noticed, and resolved data are not mistaken for them."""

import numpy as np
import pytest
import sympy as sp

from pinnsiren.language import Box, Dirichlet, InitialCondition, Interval, Neumann, Problem, SpaceTime, coordinates, div, field, grad, laplacian
from pinnsiren.reference_solvers import find
from pinnsiren.reference_solvers.resolution import unseen_share

x, y, t = coordinates("x y t")
u, w = field("u", x, y), field("w", x, t)
GRID = {x: np.linspace(0, 1, 61), y: np.linspace(0, 1, 61)}
PLACE = sp.Float(0.32431)


def poisson(source=0, flux=0, conductivity=1):
    return Problem(
        name="poisson",
        fields=[u],
        domain=Box({x: (0, 1), y: (0, 1)}),
        equations=[sp.Eq(div(conductivity * grad(u)), source)],
        conditions=[Neumann(u, flux, on="x-"), Dirichlet(u, sp.cos(sp.pi * x / 2), on=("x+", "y-", "y+"))],
    )


def peak(width):
    return sp.exp(-((x - PLACE) ** 2 + (y - PLACE) ** 2) / (2 * sp.Float(width) ** 2))


MISSED = {
    "source": poisson(source=sp.sin(x) + peak(0.001) / 1e-6),
    "flux": poisson(flux=sp.Piecewise((200, sp.Abs(y - PLACE) < 0.001), (0, True))),
    "peak of the flux": poisson(flux=1 + 1e4 * sp.exp(-((y - PLACE) ** 2) / sp.Float(3e-4) ** 2)),
    "conductivity": poisson(source=1, conductivity=1 + 1e6 * peak(0.001)),
}
SEEN = {
    "smooth": poisson(source=sp.sin(3 * x + y), flux=sp.cos(4 * y), conductivity=2 + sp.sin(5 * x)),
    "jump": poisson(source=sp.Piecewise((1, x < PLACE), (0, True)), flux=sp.Piecewise((3, y < PLACE), (0, True))),
    "narrow but resolved": poisson(source=peak(0.02)),
    "waves": poisson(source=sp.sin(40 * x) * sp.cos(30 * y)),
}


@pytest.mark.parametrize("problem", MISSED.values(), ids=MISSED.keys())
def test_what_no_point_sees_is_noticed(problem):
    assert unseen_share(problem, GRID) > 0.2


@pytest.mark.parametrize("problem", SEEN.values(), ids=SEEN.keys())
def test_resolved_data_are_not_suspected(problem):
    assert unseen_share(problem, GRID) == 0


def test_a_grid_that_misses_a_flux_does_not_call_itself_exact():
    # By the sine series the patch changes the solution by 17 %.
    solution = find(MISSED["flux"]).solve(MISSED["flux"])
    assert solution.error_estimate > 0.05


PULSES = {
    "initial": [Dirichlet(w, 0), InitialCondition(w, sp.sin(sp.pi * x) + sp.exp(-((x - sp.Float(0.442)) ** 2) / sp.Float(0.0008) ** 2))],
    "boundary": [
        Dirichlet(w, 20 * sp.exp(-((t - sp.Float(0.5083)) ** 2) / 2 / sp.Float(0.0003) ** 2), on="x-"),
        Dirichlet(w, 0, on="x+"),
        InitialCondition(w, sp.sin(sp.pi * x)),
    ],
}


@pytest.mark.parametrize("conditions", PULSES.values(), ids=PULSES.keys())
def test_initial_and_boundary_pulses_between_the_points_are_noticed(conditions):
    domain = SpaceTime(Interval({x: (0, 1)}), {t: (0, 1)})
    problem = Problem(name="pulse", fields=[w], domain=domain, equations=[sp.Eq(w.diff(t), w.diff(x, 2))], conditions=conditions)
    assert unseen_share(problem, {x: GRID[x], t: np.linspace(0, 1, 61)}) > 0.01


def test_the_whole_laplacian_of_a_declaration_hides_nothing():
    problem = Problem(
        name="scaled",
        fields=[u],
        domain=Box({x: (0, 1), y: (0, 1)}),
        equations=[(1 + 1e6 * peak(0.001)) * laplacian(u) - 1],
        conditions=[Dirichlet(u, 0)],
    )
    assert unseen_share(problem, GRID) > 0.2


def test_a_pulse_in_time_is_found_between_the_instants_of_a_large_grid():
    # 750 x 320 points leave few evaluations per cell; the pulse is a hundredth of an instant's step wide.
    pulse = sp.sin(sp.pi * x) * (1 + 1000 * sp.exp(-((t - sp.Float(0.5137)) ** 2) / sp.Float(3e-5) ** 2))
    problem = Problem(
        name="pulse",
        fields=[w],
        domain=SpaceTime(Interval({x: (0, 1)}), {t: (0, 1)}),
        equations=[w.diff(t) - w.diff(x, 2) - pulse],
        conditions=[Dirichlet(w, 0), InitialCondition(w, 0)],
    )
    assert unseen_share(problem, {x: np.linspace(0, 1, 751), t: np.linspace(0, 1, 321)}) > 0.5


def test_a_source_that_acts_for_a_moment_is_not_leapt_over():
    amplitude = 1 + 3 * sp.exp(-((t - sp.Float(0.5137)) ** 2) / 2 / sp.Float(0.02) ** 2)
    exact = sp.sin(sp.pi * x) * amplitude
    problem = Problem(
        name="moment",
        fields=[w],
        domain=SpaceTime(Interval({x: (0, 1)}), {t: (0, 1)}),
        equations=[sp.Eq(w.diff(t) - w.diff(x, 2) / 10, sp.diff(exact, t) - sp.diff(exact, x, 2) / 10)],
        conditions=[Dirichlet(w, 0), InitialCondition(w, exact.subs(t, 0))],
    )
    solution = find(problem).solve(problem)
    grid = np.meshgrid(*solution.axes.values(), indexing="ij")
    truth = sp.lambdify((x, t), exact, "numpy")(*grid)
    error = np.linalg.norm(solution.values["w"] - truth) / np.linalg.norm(truth)
    assert error < 3 * solution.error_estimate < 1e-3
