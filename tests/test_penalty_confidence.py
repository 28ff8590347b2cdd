"""The uncertainty of the penalty formulation covers its error for media with edges and without, and grows with what the data leave open."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.reference_solvers.evaluation import cell_average, evaluator
from pinnsiren.reference_solvers.frequency_domain import Discretisation, Grid, Shots, simulate
from pinnsiren.reference_solvers.inversion import with_noise

X, Y = ps.coordinates("x y")
SQUARE, SUPPORT, VARIANCE = ((-0.5, 0.5), (-0.5, 0.5)), 0.25, 1e-4
METHOD = ps.PenaltyInversion(width=24, omega_0=15.0)
# In 9 of 10 runs the error is below the estimate, in all of these below so often; and the estimate is no more than so often the error: to cover all
# by saying nothing is none.
CLOSE, LOOSE = 1.3, 6.0
MEDIA = {
    "bump": 1 - sp.Float(0.4) * sp.exp(-((X - 0.05) ** 2 + (Y + 0.03) ** 2) / (2 * 0.06**2)),
    "rectangle": sp.Piecewise((1.5**-2, (sp.Abs(X - 0.03) < 0.09) & (sp.Abs(Y + 0.05) < 0.07)), (1, True)),
    "two signs": sp.Piecewise(
        (1.4**-2, (X + 0.12) ** 2 + (Y - 0.04) ** 2 < 0.08**2), (0.78**-2, (X - 0.12) ** 2 + (Y - 0.03) ** 2 < 0.07**2), (1, True)
    ),
}


def ring(count, radius, turn):
    angle = turn + 2 * np.pi * np.arange(count) / count
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def declare(medium, k=8.0, noise=0.03, shots=5, receivers=16, seed=0):
    """Declare a survey with data of the scheme of order 4 on a fine grid; the formulation that inverts them has no grid."""
    grid, at, heard = Grid.over(SQUARE, 0.0125), ring(shots, 0.42, 0.1), ring(receivers, 0.45, 0.2)
    exact = cell_average(evaluator(medium, (X, Y)), grid.axes, grid.step)
    data = simulate(Discretisation(grid, k, exact, layer_wavelengths=0.4), exact, Shots.at(at, 1 + 1j, VARIANCE), heard, background=1.0)
    u = ps.field("u", X, Y, complex=True, shots=shots)
    m = ps.unknown_field("m", X, Y, initial=1, bounds=(0.1, 4), support=ps.Box({X: (-SUPPORT, SUPPORT), Y: (-SUPPORT, SUPPORT)}))
    lit = ps.SourceFamily([ps.GaussianSource(at={X: float(a), Y: float(b)}, variance=VARIANCE, amplitude=1 + 1j) for a, b in at])
    return ps.Problem(
        name="confidence", fields=[u], domain=ps.Box({X: SQUARE[0], Y: SQUARE[1]}), equations=[sp.Eq(ps.laplacian(u) + k**2 * m * u, lit)],
        conditions=[ps.PML(u), ps.Observations(u, heard, with_noise(data[None], noise, seed)[0], noise=noise)],
    )  # fmt: skip


def solved(problem):
    return ps.solve(problem, method=METHOD, tolerance=0.5, seconds=2000, device="cpu", progress=False)


def error(solution, medium):
    """Relative error of squared slowness or speed, the larger, both averaged over cells."""
    grid = Grid.over(((-SUPPORT, SUPPORT), (-SUPPORT, SUPPORT)), 0.02)
    exact = cell_average(evaluator(medium, (X, Y)), grid.axes, grid.step)
    found = cell_average(lambda x, y: solution["m"](x=x, y=y), grid.axes, grid.step)
    return max(float(np.linalg.norm(found**p - exact**p) / np.linalg.norm(exact**p)) for p in (1.0, -0.5))


@pytest.mark.parametrize("name", MEDIA)
@pytest.mark.parametrize("noise", [0.01, 0.02])
def test_the_estimate_covers_the_error_of_media_with_edges_and_without(name, noise):
    solution = solved(declare(MEDIA[name], noise=noise))
    wrong = error(solution, MEDIA[name])
    assert wrong / CLOSE < solution.estimated_error < LOOSE * wrong
    assert "the smoothest such medium" in solution.status.text


def test_data_that_hardly_hear_the_medium_claim_nothing():
    faint = 1 - sp.Float(0.03) * sp.exp(-(X**2 + Y**2) / (2 * 0.06**2))
    solution = solved(declare(faint, noise=0.08))
    assert solution.estimated_error == np.inf and not solution.status.success
    assert "they say little about the medium" in solution.status.text


def test_fewer_receivers_leave_more_open():
    many, few = (solved(declare(MEDIA["bump"], receivers=receivers, shots=shots)) for receivers, shots in ((24, 8), (8, 2)))
    assert few.estimated_error > many.estimated_error
