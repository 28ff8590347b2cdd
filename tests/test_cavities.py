"""Spherical cavities in space: found in the declaration, and solved by a chart around them."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.language.numeric import evaluate_on

HONEST = 10.0
BAR = 5e-3  # two sizes of a few hundred features; without the chart the error is one

x, y, z = ps.coordinates("x y z")
u = ps.field("u", x, y, z)
CUBE = ps.Box({x: (-1, 1), y: (-1, 1), z: (-1, 1)})


def ball(centre, radius):
    return ps.Ball(dict(zip((x, y, z), centre, strict=True)), radius)


def poisson(domain):
    return ps.Problem(name="hollow", fields=[u], domain=domain, equations=[ps.laplacian(u)], conditions=[ps.Dirichlet(u, 0)])


DOMAINS = {
    "one": (CUBE - ball((0.1, -0.2, 0.15), 0.12), 1),
    "two": (CUBE - ball((0.4, 0, 0), 0.2) - ball((-0.4, 0, 0), 0.1), 2),
    "shell": (ball((0, 0, 0), 1) - ball((0.2, 0, 0), 0.3), 1),
    "ball": (ball((0, 0, 0), 1), 0),
    "cut by a wall": (CUBE - ball((1, 0, 0), 0.3), 0),
}


@pytest.mark.parametrize(("domain", "count"), DOMAINS.values(), ids=DOMAINS.keys())
def test_a_chart_lies_around_every_ball_that_is_cut_out_as_a_whole(domain, count):
    charts = compile_problem(poisson(domain)).charts
    assert sum(chart.name.startswith("cavity") for chart in charts) == count


@pytest.mark.parametrize(("centre", "radius"), [((0.1, -0.2, 0.15), 0.12), ((0.5, 0.4, -0.3), 0.05)])
def test_a_charge_and_a_dipole_in_a_cavity_are_resolved(centre, radius):
    offset = [symbol - sp.Float(c) for symbol, c in zip((x, y, z), centre, strict=True)]
    r = sp.sqrt(sp.Add(*[part**2 for part in offset]))
    solution = 1 / r + sp.Float(radius) * offset[0] / r**3 + x * y
    problem = ps.manufactured(poisson(CUBE - ball(centre, radius)), {u: solution})
    found = ps.solve(problem, method=ps.LeastSquares(features=400), tolerance=1e-2, seconds=60, progress=False)
    points = problem.domain.sample_interior(3000, seed=5)
    exact = evaluate_on(solution, problem.coordinates, points)
    error = np.linalg.norm(found.evaluate(0, points, (0, 0, 0))[:, 0] - exact) / np.linalg.norm(exact)
    assert error < BAR
    assert error <= HONEST * found.estimated_error
