"""Plans: what they print, what can be left out, and that they do not depend on the run of the interpreter."""

import os
import subprocess
import sys

import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.errors import UnknownNameError
from pinnsiren.problems import load


def test_the_plan_prints_its_parts():
    text = str(ps.plan(load("helmholtz_disc")))
    for part in ("structure", "rewrite", "residual", "chart", "wavenumber", "streams", "sampling", "method", "absorbing layer", "source splitting"):
        assert part in text, part


def test_the_source_splitting_can_be_left_out():
    plan = ps.plan(load("helmholtz_point_source"))
    without = plan.without("source splitting")
    assert "left out by hand" in str(without) and not without.compiled.rewritten.additions and plan.compiled.rewritten.additions


def test_a_chart_can_be_left_out():
    plan = ps.plan(load("helmholtz_point_source"))
    names = {chart.name for chart in plan.compiled.charts}
    assert {chart.name for chart in plan.without("layer").compiled.charts} == names - {"layer"}


def test_equations_that_may_have_several_solutions_say_so():
    """-u'' = exp(u), u = 0 at both ends, has two; the heat equation with the same source has one."""
    x, t = ps.coordinates("x t")
    u, v = ps.field("u", x), ps.field("v", x, t)
    line = ps.Interval({x: (0, 1)})
    two = ps.Problem(name="bratu", fields=[u], domain=line, equations=[u.diff(x, 2) + sp.exp(u)], conditions=[ps.Dirichlet(u, 0)])
    one = ps.Problem(name="poisson", fields=[u], domain=line, equations=[u.diff(x, 2) + sp.exp(x)], conditions=[ps.Dirichlet(u, 0)])
    evolves = ps.Problem(
        name="ignition", fields=[v], domain=ps.SpaceTime(line, {t: (0, 1)}), equations=[v.diff(t) - v.diff(x, 2) - sp.exp(v)],
        conditions=[ps.Dirichlet(v, 0), ps.InitialCondition(v, 0)],
    )  # fmt: skip
    assert ["there may be several" in str(ps.plan(problem)) for problem in (two, one, evolves)] == [True, False, False]


def test_leaving_out_an_unknown_name_lists_the_known_ones():
    plan = ps.plan(load("helmholtz_point_source"))
    with pytest.raises(UnknownNameError, match=r'"splitting"; it can leave out "source splitting", "factored eikonal", "box", "layer"'):
        plan.without("splitting")


DIGEST = """
import hashlib, numpy as np, pinnsiren as ps
from pinnsiren.problems import load
from pinnsiren.compiler.pipeline import compile_problem
for name in ("helmholtz_disc", "poisson_diffusion_jump", "bump_nonlinear"):
    plan = ps.plan(load(name))
    digest = hashlib.sha256(str(plan).encode())
    digest.update(repr(plan.compiled.charts).encode())
    for program in plan.compiled.programs:
        points = plan.compiled.ir.domain.sample_interior(16, 0)
        digest.update(str(program.algebra).encode())
        for array in program.coefficients(points, np.ones_like(points)):
            digest.update(np.ascontiguousarray(array).tobytes())
    print(digest.hexdigest())
"""


def test_plans_and_coefficients_do_not_depend_on_the_hash_seed(tmp_path):
    def digests(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run([sys.executable, "-c", DIGEST], env=environment, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    assert digests("1") == digests("4242")
