"""Gaussian sources that reach into an absorbing layer: the estimate of the error knows what the layer makes of them."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.reference_solvers.closed_forms import point_source
from pinnsiren.training.error_estimate import known_errors

X, Y = ps.coordinates("x y")
VARIANCE = 4e-3
K = 5.0
HONEST = 10.0  # what an estimate may be below the error at worst


def survey(places, variance=VARIANCE, width=0.5, strength=5, k=K, amplitudes=None):
    u = ps.field("u", X, Y, complex=True, shots=len(places))
    strengths = amplitudes or [1] * len(places)
    sources = [ps.GaussianSource(at={X: a, Y: b}, variance=variance, amplitude=c) for (a, b), c in zip(places, strengths, strict=True)]
    return ps.Problem(
        name="survey",
        fields=[u],
        domain=ps.Box({X: (-0.5, 0.5), Y: (-0.5, 0.5)}),
        equations=[sp.Eq(ps.laplacian(u) + k**2 * u, ps.SourceFamily(sources))],
        conditions=[ps.PML(u, width=width, strength=strength)],
    )


def tails_of(places, **changes):
    return compile_problem(survey(places, **changes)).rewritten.layers[0].tails


def error_of(solution, places, k=K, variance=VARIANCE):
    points = np.random.default_rng(3).uniform(-0.5, 0.5, (400, 2))
    exact = np.stack([point_source(k, place, variance, 1.0)(*points.T) for place in places])
    return float(np.linalg.norm(np.asarray(solution["u"].at(points)) - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize(("n_shots", "strength", "centre"), [(3, 5, (0.45, 0.1)), (2, 12, (0.2, -0.47)), (70, 5, (0.46, -0.44))])
def test_sources_at_the_rim_are_no_better_than_their_estimate(n_shots, strength, centre):
    places = np.array(centre) + np.random.default_rng(n_shots).uniform(-0.02, 0.02, (n_shots, 2))
    problem = survey([tuple(place) for place in places], strength=strength)
    solution = ps.solve(problem, method=ps.LeastSquares(maximum_features=700), tolerance=1e-5, seconds=200, progress=False)
    error = error_of(solution, places)
    assert error > 3e-3, "the layer spoils sources inside it, whatever the features"
    assert solution.status.code == "tolerance_not_reached"
    assert error / HONEST < solution.estimated_error < 5 * error


def test_a_run_ends_where_only_the_layers_are_left():
    """What the layers neglect is no matter of features: the run does not spend its budget on more of them."""
    solution = ps.solve(survey([(0.45, 0.1), (0.1, 0.44)]), tolerance=1e-5, seconds=200, progress=False)
    assert "declared layers" in solution.status.text and solution.status.code == "tolerance_not_reached"
    assert solution.estimated_error < 1.1 * known_errors(solution.plan.compiled)


def test_sources_away_from_the_layers_have_no_tails():
    assert tails_of([(0.0, 0.0), (0.05, -0.02)], variance=1e-3) < 1e-15


def test_tails_follow_from_the_second_moment_inside_a_weak_layer():
    """For a source on the edge and few depths, |1 - e| = strength (d / width)^2: half the variance times strength over the square of the width."""
    variance, width, strength = 1e-6, 0.5, 3.0
    assert tails_of([(0.5, 0.0)], variance=variance, width=width, strength=strength) == pytest.approx(0.5 * variance * strength / width**2, rel=0.01)


def test_strong_shots_count_by_their_energy():
    near, far = (0.5, 0.0), (0.0, 0.0)
    alone = tails_of([near])
    assert tails_of([near, far], amplitudes=[1, 3]) == pytest.approx(alone / np.sqrt(10), rel=1e-6)
