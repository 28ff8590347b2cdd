"""Shots that differ in numbers are evaluated together, to the numbers that each gives alone."""

import time

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.errors import ProblemError
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.shot_families import ShotEvaluator, group_shots
from pinnsiren.language.sources import SourceFamily, select_shot

X, Y = ps.coordinates("x y")
POINTS = np.random.default_rng(0).uniform(-1, 1, (60, 2))


def gaussians(n, complex_every=3):
    draw = np.random.default_rng(1)
    at = draw.uniform(-0.5, 0.5, (n, 2))
    amplitudes = [1 + 0.5j * a if index % complex_every == 0 else a for index, a in enumerate(draw.uniform(1, 2, n))]
    variances = draw.uniform(0.01, 0.1, n)
    return [ps.GaussianSource(at={X: a, Y: b}, variance=v, amplitude=c) for (a, b), v, c in zip(at, variances, amplitudes, strict=True)]


def one_by_one(expression, n):
    return np.stack([evaluate_on(select_shot(expression, shot), (X, Y), POINTS) for shot in range(n)], axis=1)


MIXED = [sp.Integer(0), 3 * X, X**2, sp.Rational(1, 2) * X**2, X**3, sp.sin(2.5 * X + Y), 1 / (2 + X), sp.Integer(7), 5 * X]
MIXED += [sp.exp(-3 * Y), sp.Abs(X - 0.3)]
EXPRESSIONS = {
    "gaussians": (SourceFamily(gaussians(7)), 7),
    "shapes of all kinds": (SourceFamily(MIXED), len(MIXED)),
    "affine": ((2 + X) * SourceFamily(gaussians(5)) - sp.sin(Y) * SourceFamily([k * X for k in range(5)]) + Y**2, 5),
    "not affine": (SourceFamily([k + X for k in range(4)]) ** 2 * SourceFamily([k * Y for k in range(4)]), 4),
    "wavelets": (SourceFamily([ps.RickerWavelet(X, f, d) for f, d in ((3, 0.1), (4.5, 0.2), (6, 0.3))]), 3),
    "conditions": (SourceFamily([sp.Piecewise((k * X, Y < sp.Rational(k, 5)), (1, True)) for k in range(4)]), 4),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_family_has_the_values_of_its_members(name):
    expression, n = EXPRESSIONS[name]
    expected = one_by_one(expression, n)
    found = ShotEvaluator.of(expression, n, (X, Y))(POINTS)
    assert found.shape == expected.shape
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_shots_of_one_shape_share_one_expression():
    groups = group_shots(SourceFamily(gaussians(50, complex_every=51)), 50)
    assert [len(group.shots) for group in groups] == [1, 49]
    assert all(not group.expression.has(SourceFamily) for group in groups)


def test_blocks_of_points_change_nothing(monkeypatch):
    expression, n = EXPRESSIONS["gaussians"]
    whole = ShotEvaluator.of(expression, n, (X, Y))(POINTS)
    monkeypatch.setattr("pinnsiren.language.shot_families.BLOCK", 20)
    assert np.array_equal(ShotEvaluator.of(expression, n, (X, Y))(POINTS), whole)


def survey(members, *, real=False):
    u = ps.field("u", X, Y, complex=not real, shots=len(members))
    equation = sp.Eq(ps.laplacian(u) + 25 * u, SourceFamily(members))
    return ps.Problem(name="survey", fields=[u], domain=ps.Box({X: (-1, 1), Y: (-1, 1)}), equations=[equation], conditions=[ps.Dirichlet(u, 0)])


def test_the_shot_whose_source_is_not_finite_is_named():
    with pytest.raises(ProblemError, match="NaN or infinite"):
        survey([sp.sqrt(X + k) for k in (3.5, 4.5, 0.5)])


def test_a_complex_source_of_a_real_field_is_refused():
    with pytest.raises(ProblemError, match="is complex while the field is real"):
        survey(gaussians(5), real=True)


def test_declaring_and_compiling_many_shots_costs_little_per_shot():
    # Preparing an expression for NumPy takes SymPy 10 ms and more; reading the numbers of a shot, a tenth of one.
    def seconds(n):
        start = time.process_time()
        ps.plan(survey(gaussians(n, complex_every=n)), method=ps.LeastSquares())
        return time.process_time() - start

    seconds(2)
    few, many = seconds(10), seconds(210)
    assert (many - few) / 200 < 4e-3
