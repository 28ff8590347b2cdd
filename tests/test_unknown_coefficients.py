"""Coefficient fields in the language and the compiler: declared, checked, lowered to jets, stored, manufactured."""

import json
import warnings

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.compiler.numpy_oracle import oracle_residuals
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.language import SpaceTime
from pinnsiren.language.serialisation import declaration_digest, problem_from_tree, problem_to_tree

X, Y, T = ps.coordinates("x y t")
U = ps.field("u", X, Y)
A = ps.unknown_field("a", X, Y, initial=0.4, bounds=(0.05, 5))
BOX = ps.Box({X: (0, 1), Y: (0, 1)})
POINTS = BOX.sample_interior(60, seed=4)
ROUNDING = 1e-11
WRONG = 1e-3  # what a coefficient that is off by one percent must exceed


def conductivity(a=A, *more, points=POINTS, **settings):
    """div(a grad u) = -1 with observations of u."""
    conditions = [ps.Dirichlet(U, 0), ps.Observations(U, points, np.zeros(len(points))), *more]
    return ps.Problem(name="p", fields=[U], domain=BOX, equations=[sp.Eq(ps.div(a * ps.grad(U)), -1)], conditions=conditions, **settings)


def helmholtz(medium):
    """Two shots with sources outside the support of the medium."""
    w = ps.field("w", X, Y, complex=True, shots=2)
    sources = ps.SourceFamily([ps.GaussianSource(at={X: at, Y: 0.1}, variance=1e-4) for at in (0.2, 0.8)])
    observed = ps.Observations(w, POINTS, np.ones((2, len(POINTS)), dtype=complex))
    equation = sp.Eq(ps.laplacian(w) + 15**2 * medium * w, sources)
    return ps.Problem(name="fwi", fields=[w], domain=BOX, equations=[equation], conditions=[ps.PML(w, width=0.3, strength=5), observed])


def speed_of_x():
    """u_tt = div(m(x) grad u), m a function of one of the two coordinates."""
    u, m = ps.field("u", X, T), ps.unknown_field("m", X, initial=1 + X / 2, bounds=(0.2, 4))
    exact = {u: sp.sin(sp.pi * X) * sp.cos(T) + X, m: 1 + X**2 / 3}
    domain = SpaceTime(ps.Interval({X: (0, 1)}), {T: (0, 1)})
    conditions = [
        ps.Dirichlet(u, 0), ps.InitialCondition(u, 0), ps.InitialCondition(u.diff(T), 0),
        ps.Observations(m * u.diff(X), [[0.5, 0.5], [0.2, 0.7]], [1, 2]),
    ]  # fmt: skip
    declared = ps.Problem(name="w", fields=[u], domain=domain, equations=[u.diff(T, 2) - ps.div(m * ps.grad(u))], conditions=conditions)
    return ps.manufactured(declared, exact), exact


CASES = {
    "conductivity": lambda: _made(conductivity(), {U: sp.sin(sp.pi * X) * sp.sin(sp.pi * Y), A: 1 / (2 + X * Y)}),
    "a coefficient of one coordinate": speed_of_x,
}


def _made(problem, exact):
    return ps.manufactured(problem, exact), exact


@pytest.mark.parametrize("declare", CASES.values(), ids=CASES)
def test_manufactured_coefficients_leave_no_residual(declare):
    problem, exact = declare()
    compiled = compile_problem(problem)
    assert max(size for _, size in oracle_residuals(compiled, exact)) < ROUNDING
    (coefficient,) = problem.coefficients
    wrong = dict(oracle_residuals(compiled, {**exact, coefficient: 1.01 * exact[coefficient]}))
    assert wrong["equation 0"] > WRONG


def test_an_equation_with_a_coefficient_field_is_bilinear():
    compiled = compile_problem(conductivity())
    assert compiled.structure.overall == "bilinear"
    assert str(compiled.structure) == "bilinear (affine in the fields, affine in the unknown coefficients)"
    assert compile_problem(conductivity(sp.exp(A))).structure.overall == "nonlinear"


def test_the_coefficient_is_numbered_behind_the_fields_and_carries_its_own_derivatives():
    ir = compile_problem(speed_of_x()[0]).ir
    jets = {jet.orders for jet in ir.jets if jet.field == 1}
    assert ir.n_fields == 1 and jets == {(0, 0), (1, 0)}


def test_sizes_are_read_at_the_initial_value():
    w = ps.field("w", X, Y, complex=True)
    medium = ps.unknown_field("m", X, Y, initial=4, bounds=(1, 9))
    data = ps.Observations(w, POINTS, np.ones(len(POINTS), dtype=complex))
    known, sought = (
        ps.Problem(name="h", fields=[w], domain=BOX, equations=[ps.laplacian(w) + 100 * m * w], conditions=[ps.Dirichlet(w, 1), data])
        for m in (4, medium)
    )
    assert compile_problem(sought).scales.wavenumber == pytest.approx(compile_problem(known).scales.wavenumber)


def test_sources_are_split_off_where_the_medium_keeps_its_initial_value():
    inner = ps.Box({X: (0.3, 0.7), Y: (0.3, 0.7)})
    kept = ps.unknown_field("m", X, Y, initial=1, bounds=(0.2, 3), support=inner)
    free = ps.unknown_field("m", X, Y, initial=1, bounds=(0.2, 3))
    names = [[name for name, _ in compile_problem(helmholtz(m)).rewritten.applied] for m in (kept, free)]
    assert names == [["absorbing layer", "source splitting"], ["absorbing layer"]]


def test_a_declaration_with_coefficients_and_priors_is_stored_and_read_back():
    support = ps.Box({X: (0.2, 0.8), Y: (0.2, 0.8)})
    a = ps.unknown_field("a", X, Y, initial=1 + X * Y, bounds=(0.5, sp.oo), support=support)
    problem = conductivity(a, ps.Prior(a, "total variation", weight=2), ps.Prior(a.diff(X)), ps.Penalty(a - 1, on=support, norm=1), exact={a: 1 + X})
    tree, arrays = problem_to_tree(problem)
    again = problem_from_tree(json.loads(json.dumps(tree)), arrays)
    assert again.coefficients == problem.coefficients and again.exact == problem.exact
    assert again.conditions == problem.conditions
    assert declaration_digest(again) == declaration_digest(problem)


def test_priors_are_lowered_to_groups_of_jets():
    ir = compile_problem(conductivity(A, ps.Prior(A, "total variation"), ps.Prior(A, "hessian", weight=3), ps.Penalty(A * U, norm=1))).ir
    assert [(len(term.expressions), term.weight, term.norm) for term in ir.penalties] == [(2, None, 1), (4, 3, 2), (1, None, 1)]
    assert {jet.orders for jet in ir.jets if jet.field == 1} >= {(1, 0), (2, 0), (1, 1), (0, 2)}
    assert not any("prior" in residual.label for residual in ir.residuals)


def refused(cases):
    return pytest.mark.parametrize(("declare", "message"), list(cases.values()), ids=list(cases))


@refused({
    "a start outside the bounds somewhere": (
        lambda: conductivity(ps.unknown_field("a", X, Y, initial=2 * X, bounds=(0.5, 5))), r"starts at `2\*x`, which is .* at x=.*outside its bounds"
    ),
    "a complex start": (lambda: conductivity(ps.unknown_field("a", X, Y, initial=sp.log(X - 2), bounds=(0.5, 5))), "complex, NaN or infinite"),
    "a start in another coordinate": (lambda: ps.unknown_field("a", X, initial=Y, bounds=(0, 1)), r"starts at `y`, which holds y; .*\(x,\) only"),
    "a coordinate that the domain lacks": (
        lambda: conductivity(ps.unknown_field("a", X, T, initial=1, bounds=(0.5, 5))), r"depends on t; expected some of the coordinates \(x, y\)"
    ),
    "a support in other coordinates": (
        lambda: ps.unknown_field("a", X, initial=1, bounds=(0, 2), support=BOX), r"a support in \(x, y\); expected the same coordinates"
    ),
    "one name with two settings": (
        lambda: conductivity(A + ps.unknown_field("a", X, Y, initial=0.5, bounds=(0.05, 5))), "two symbols of one name with different settings"
    ),
    "nothing that was measured": (
        lambda: ps.Problem(name="p", fields=[U], domain=BOX, equations=[ps.div(A * ps.grad(U))], conditions=[ps.Dirichlet(U, X)]),
        r"solves for the coefficient field `a\(x, y\)`, and nothing in it was measured.*Add Observations",
    ),
    "a prior of an unknown kind": (lambda: ps.Prior(A, "smooth"), 'kind=\'smooth\'; known are "total variation", "hessian"'),
    "a total variation of an expression": (lambda: ps.Prior(A + 1, "total variation"), r"was given `a\(x, y\) \+ 1`; expected a coefficient field"),
    "a negative weight": (lambda: ps.Penalty(A, weight=-1), "weight=-1; expected a positive number, or None"),
    "a norm above two": (lambda: ps.Penalty(A, norm=3), "norm=3; expected a number above 0 and at most 2"),
    "a penalty on a face that is not there": (lambda: conductivity(A, ps.Penalty(A, on="z+")), "part `z[+]` is unknown"),
    "no manufactured coefficient": (lambda: ps.manufactured(conductivity(), {U: X}), r"no expression for a\(x, y\); give one per"),
})  # fmt: skip
def test_what_does_not_fit_is_named(declare, message):
    with pytest.raises(ps.PinnsirenError, match=message):
        declare()


def test_cauchy_data_may_stand_in_for_observations():
    conditions = [ps.Dirichlet(U, X), ps.Neumann(U, 1, on="x+")]
    problem = ps.Problem(name="p", fields=[U], domain=BOX, equations=[ps.div(A * ps.grad(U))], conditions=conditions)
    assert problem.coefficients == (A,)


def test_fewer_observations_than_unknowns_warn():
    first, second = (ps.unknown(name, 1) for name in ("c", "d"))
    with pytest.warns(ps.ProblemWarning, match=r"solves for `a\(x, y\)`, `c\(\)`, `d\(\)` from 1 observed value: at least 2 .* not determined"):
        conductivity(first * A + second, points=POINTS[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conductivity(first * A + second, points=POINTS[:3])
