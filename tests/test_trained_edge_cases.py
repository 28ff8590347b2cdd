"""Trained networks where steps overshoot and where there is nothing to find: they end with a status, not with an error of a library."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps

x, y = ps.coordinates("x y")
u = ps.field("u", x, y)
SQUARE = ps.Box({x: (0, 1), y: (0, 1)})


def poisson(name="edge"):
    return ps.Problem(name=name, fields=[u], domain=SQUARE, equations=[ps.laplacian(u)], conditions=[ps.Dirichlet(u, 0)])


@pytest.mark.parametrize("network", [ps.RBFNetwork(32), ps.RBFNetwork(16, depth=1, width=8)], ids=["flat", "deep"])
def test_a_step_to_where_a_network_has_no_values_is_shortened(network):
    # The first bold steps of Gauss-Newton shrink bumps of these networks to nothing.
    problem = ps.manufactured(poisson(), {u: sp.sin(6 * x) * sp.exp(-y) + x * y})
    found = ps.solve(problem, method=ps.GaussNewton(maximum_steps=5), network=network, seconds=60, progress=False)
    assert np.isfinite(found.estimated_error)
    residuals = found.history["training_residual"]
    assert np.all(np.isfinite(residuals)) and residuals[-1] <= residuals[0]


@pytest.mark.parametrize("method", [ps.GaussNewton(), ps.LBFGS()], ids=["Gauss-Newton", "L-BFGS"])
def test_the_solution_zero_is_found(method):
    # A relative error means nothing here; what is left is rounding, which must not overflow where gains are divided by it.
    found = ps.solve(poisson("nothing"), method=method, network=ps.Siren(width=16, depth=2), seconds=60, progress=False)
    assert found.status.code in ("success", "tolerance_not_reached"), found.status
    points = SQUARE.sample_interior(500, seed=3)
    assert np.max(np.abs(found.evaluate(0, points, (0, 0)))) < 1e-6
