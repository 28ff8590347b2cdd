"""Contradictory or incomplete declarations are refused when they are written, in words that name the mistake."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps

X, Y, Z, T, TAU = ps.coordinates("x y z t tau")
A = sp.Symbol("a")
U, V = ps.field("u", X, Y), ps.field("v", X, Y)
W = ps.field("w", X, Y, complex=True)
SHOTS = ps.field("u", X, Y, shots=2)
UT = ps.field("u", X, T)
UTAU = ps.field("u", X, TAU)
UX = ps.field("u", X)
BOX = ps.Box({X: (0, 1), Y: (0, 1)})
LINE = ps.Interval({X: (0, 1)})
ZERO = ps.Dirichlet(U, 0)
FIELD_MISSING = r"field `v` stands in .* is missing from fields=\[u\(x, y\)\]; add it there"


def poisson(*, equations=None, conditions=(ZERO,), fields=(U,), domain=BOX, source=1, **others):
    equations = [sp.Eq(ps.laplacian(U), source)] if equations is None else equations
    return ps.Problem(name="p", fields=fields, domain=domain, equations=equations, conditions=conditions, **others)


def with_condition(*conditions, **others):
    return poisson(conditions=[ZERO, *conditions], **others)


def only(condition, equation):
    """A problem of whatever field the condition is about."""
    field = condition.field
    return ps.Problem(name="p", fields=[field], domain=BOX, equations=[equation], conditions=[condition])


def helmholtz(*conditions, domain=BOX):
    return ps.Problem(name="p", fields=[W], domain=domain, equations=[sp.Eq(ps.laplacian(W) + 9 * W, 1)], conditions=conditions)


def shots(source, *conditions):
    return ps.Problem(
        name="p", fields=[SHOTS], domain=BOX, equations=[sp.Eq(ps.laplacian(SHOTS), source)], conditions=[ps.Dirichlet(SHOTS, 0), *conditions]
    )


def in_time(equation, *conditions, u=UT):
    return ps.Problem(name="p", fields=[u], domain=ps.SpaceTime(LINE, {u.args[1]: (0, 1)}), equations=[equation], conditions=conditions)


def wave(*conditions, ratio=4):
    return in_time(sp.Eq(UT.diff(T, 2), ratio * UT.diff(X, 2)), *(conditions or (ps.InitialCondition(UT, 0), ps.InitialCondition(UT.diff(T), 0))))


def heat(*conditions, ratio=1):
    return in_time(sp.Eq(UT.diff(T), ratio * UT.diff(X, 2)), *(conditions or (ps.Dirichlet(UT, 0), ps.InitialCondition(UT, 0))))


def time_as_space(operator):
    return in_time(sp.Eq(UTAU.diff(TAU), operator), ps.Dirichlet(UTAU, 0), ps.InitialCondition(UTAU, 0), u=UTAU)


def gaussian(amplitude=1, variance=1e-2, **centre):
    return ps.GaussianSource(at={X: centre.get("x", 0.5), Y: centre.get("y", 0.5)}, variance=variance, amplitude=amplitude)


def neumann(source, **slopes):
    """Poisson's equation with the slopes of the faces x- and x+, zero on the others."""
    sides = [ps.Neumann(U, slopes.get("left", 0), on="x-"), ps.Neumann(U, slopes.get("right", 0), on="x+"), ps.Neumann(U, 0, on=("y-", "y+"))]
    return poisson(source=source, conditions=sides)


def refused(cases):
    return pytest.mark.parametrize(("declare", "message"), list(cases.values()), ids=list(cases))


@refused({
    "an unknown symbol": (lambda: poisson(source=A), "equation 0 of problem `p` holds the unknown symbol `a`; known are the coordinates"),
    "an unknown symbol in a condition": (lambda: with_condition(ps.Dirichlet(U, A, on="x-")), "a Dirichlet condition .* unknown symbol `a`"),
    "a coordinate that is not real": (lambda: poisson(source=sp.Symbol("x")), "another symbol of the name `x`.*that `coordinates` made"),
    "a field missing from fields": (lambda: poisson(source=V), FIELD_MISSING),
    "a field missing from fields, in a condition": (lambda: with_condition(ps.Dirichlet(U, V)), FIELD_MISSING),
    "a field declared twice in two ways": (
        lambda: with_condition(ps.Dirichlet(ps.field("u", X, Y, complex=True), 0)), "declared as .*is_complex=True.*declare the field once"
    ),
    "a field of fewer coordinates": (
        lambda: poisson(equations=[UX.diff(X, 2)], fields=[UX], conditions=[]), r"field `u\(x\)` .* depends on \(x,\); the domain has \(x, y\)"
    ),
    "a field of more coordinates": (lambda: poisson(fields=[ps.field("u", X, Y, Z)]), r"depends on \(x, y, z\); the domain has \(x, y\)"),
    "coordinates in another order": (lambda: poisson(fields=[ps.field("u", Y, X)]), "with the coordinates of the domain, in its order"),
    "swapped arguments": (lambda: poisson(source=U.func(Y, X)), r"`u` is used as `u\(y, x\)` in equation 0 .* declared as `u\(x, y\)`"),
    "a number as argument": (lambda: with_condition(ps.Dirichlet(U.subs(X, 0), 0)), r"is used as `u\(0, y\)` in a Dirichlet condition"),
    "sympy.Function in an equation": (lambda: poisson(source=sp.Function("f")(X, Y)), r"the unknown function `f\(x, y\)`; make fields with `field`"),
    "sympy.Function as a field": (lambda: poisson(fields=[sp.Function("f")(X, Y)]), "as a field; expected a symbol made by `field`"),
    "sympy.Function below an operator": (lambda: ps.laplacian(sp.Function("f")(X, Y)), r"laplacian was given `f\(x, y\)`, which holds no field"),
    "two fields of one name": (lambda: poisson(fields=[U, U]), "two fields of one name among"),
    "a field named as a coordinate": (
        lambda: poisson(fields=[ps.field("x", X, Y)], equations=[ps.laplacian(ps.field("x", X, Y))]), "a field and a coordinate of the name `x`"
    ),
    "a field without an equation": (lambda: poisson(fields=[U, V]), r"field `v\(x, y\)` of problem `p` stands in no equation"),
    "no field": (lambda: poisson(fields=[]), r"no fields; list what is solved for, such as fields=\[u\]"),
})  # fmt: skip
def test_symbols_that_do_not_belong_are_named(declare, message):
    with pytest.raises(ps.ProblemError, match=message):
        declare()


@refused({
    "SymPy decides True": (lambda: poisson(equations=[sp.Eq(ps.laplacian(U), ps.laplacian(U))]), "equation 0 of problem `p` has collapsed to True"),
    "SymPy decides False": (lambda: poisson(equations=[sp.Eq(1, 2)]), "collapsed to False.*Check that it holds a field"),
    "python decides": (lambda: poisson(equations=[U == 1]), "collapsed to False.*written with == instead of sp.Eq"),
    "a derivative along a foreign coordinate": (lambda: poisson(equations=[sp.Eq(U.diff(Z), 1)]), "collapsed to False"),
    "a matrix and a scalar": (lambda: poisson(equations=[sp.Eq(ps.grad(U), 0)]), r"differ in shape \(a matrix and a scalar\)"),
    "matrices of different shape": (lambda: poisson(equations=[sp.Eq(ps.grad(U), sp.Matrix([1, 2, 3]))]), "differ in shape"),
    "an inequality": (lambda: poisson(equations=[U > 1]), r"equation 0 .* `u\(x, y\) > 1`.*an inequality"),
    "text": (lambda: poisson(equations=["u_xx = 1"]), "`'u_xx = 1'`; expected .* SymPy expression: text is not parsed"),
    "no field": (lambda: poisson(equations=[sp.Eq(X, Y)]), "`x - y`, which holds no field"),
    "terms that cancel": (lambda: poisson(equations=[ps.laplacian(U) - ps.laplacian(U)]), "`0`, which holds no field"),
    "the normal": (lambda: poisson(equations=[ps.grad(U).dot(ps.normal(U))]), "the normal, which .* boundaries only; move it to a Constraint"),
    "no list": (lambda: poisson(equations=sp.Eq(ps.laplacian(U), 1)), r"expected a list: equations=\[...\]"),
    "none": (lambda: poisson(equations=[]), "no equations; give at least one sp.Eq"),
    "a division by zero": (lambda: poisson(equations=[ps.laplacian(U) + sp.zoo * U]), "equation 0 .* infinite or undefined .*wave speed of zero"),
    "a wave speed of zero in one medium": (lambda: poisson(source=U / sp.Piecewise((0, X < 0.5), (1, True)) ** 2), "A wave speed of zero"),
    "a coefficient that is infinite inside": (
        lambda: poisson(source=U / sp.Heaviside(X - 0.5)), "equation 0 of problem `p` is NaN or infinite at x=.*expected finite values"
    ),
})  # fmt: skip
def test_what_is_no_equation_is_told_why(declare, message):
    with pytest.raises(ps.ProblemError, match=message):
        declare()


@refused({
    "no condition on one face": (lambda: poisson(conditions=[ps.Dirichlet(U, 0, on=("x-", "x+", "y-"))]), "`u` of problem `p` .* on the face `y[+]`"),
    "no condition": (lambda: poisson(conditions=[]), "no condition on the face `x-`; a second-order equation needs one .* add Dirichlet"),
    "a layer on some faces": (lambda: helmholtz(ps.PML(W, 0.1, 5, on=("x-", "x+"))), "field `w` .* no condition on the face `y-`"),
    "heat with one end": (lambda: heat(ps.Dirichlet(UT, 0, on="x-"), ps.InitialCondition(UT, 0)), "no condition on the face `x[+]`"),
    "no initial value": (lambda: wave(ps.Dirichlet(UT, 0)), r"no initial value; add InitialCondition\(u, value\), or observations"),
    "a boundary value at the first instant": (lambda: heat(ps.Dirichlet(UT, 0), ps.Dirichlet(UT, 0, on="t-")), "no initial value"),
    "no initial derivative": (lambda: wave(ps.Dirichlet(UT, 0), ps.InitialCondition(UT, 0)), r"no initial time derivative; add .*u.diff\(t\)"),
    "one initial condition too many": (
        lambda: heat(ps.Dirichlet(UT, 0), ps.InitialCondition(UT, 0), ps.InitialCondition(UT.diff(T), 0)), "of order 1 in time .* drop the condition"
    ),
    "two layers on a face": (lambda: helmholtz(ps.PML(W, 0.1, 5), ps.PML(W, 0.2, 5, on="x-")), "two layers on the faces x-; keep one"),
    "a layer beside a Dirichlet condition": (
        lambda: helmholtz(ps.PML(W, 0.1, 5), ps.Dirichlet(W, 0, on="x-")), "a layer and a Dirichlet condition on the faces x-; keep one of them"
    ),
    "contradicting values": (lambda: with_condition(ps.Dirichlet(U, 1, on="x-")), "two Dirichlet conditions .* on `x-` .*: `0` and `1`"),
    "contradicting slopes": (
        lambda: poisson(conditions=[ps.Dirichlet(U, 0, on=("x-", "y-", "y+")), ps.Neumann(U, 1, on="x+"), ps.Neumann(U, X * Y, on="x+")]),
        "two Neumann conditions .* on `x[+]` that contradict each other: `1` and `x[*]y`",
    ),
    "contradicting initial values": (
        lambda: heat(ps.Dirichlet(UT, 0), ps.InitialCondition(UT, 0), ps.InitialCondition(UT, 1)), "two InitialCondition conditions .* on `t-`"
    ),
    "no list": (lambda: poisson(conditions=ZERO), r"expected a list: conditions=\[...\]"),
    "a class": (lambda: poisson(conditions=[ps.Dirichlet]), r"the condition <class .*expected for instance Dirichlet\(u, 0\)"),
    "a list in the list": (lambda: poisson(conditions=[[ZERO]]), r"was given the condition \[Dirichlet"),
    "a constraint without a field": (lambda: with_condition(ps.Constraint(X - Y)), r"holds no field; expected a condition on \[u\(x, y\)\]"),
    "observations without a field": (lambda: with_condition(ps.Observations(X, [[0.5, 0.5]], [1])), "holds no field"),
    "a negative diffusivity": (lambda: heat(ratio=-1), "a diffusivity of -1 along `x`.*expected u_t - a u_xx with a positive a"),
    "a negative squared wave speed": (lambda: wave(ratio=-1), "a squared wave speed of -1 along `x`.*expected u_tt - c.*2 u_xx with a positive c"),
    "one that is negative somewhere": (lambda: wave(ratio=X - 0.5), "a squared wave speed of -0.* along `x` at x=0"),
    "one that is zero somewhere": (lambda: wave(ratio=sp.Piecewise((0, X < 0.5), (1, True))), "a squared wave speed of 0 along `x` at x=0"),
    "a wave speed of zero": (lambda: wave(ratio=0), "no derivative along `x`; a wave speed of zero is the usual cause"),
})  # fmt: skip
def test_missing_and_contradicting_conditions_are_named(declare, message):
    with pytest.raises(ps.ProblemError, match=message):
        declare()


def test_equal_values_may_be_declared_twice():
    assert with_condition(ps.Dirichlet(U, sp.sin(X) - sp.sin(X), on="x-"), ps.Dirichlet(U, sp.sin(sp.pi * X), on="x+"))


def test_value_and_slope_on_one_face_warn_unless_something_is_unknown():
    with pytest.warns(ps.ProblemWarning, match="Dirichlet and Neumann conditions on the face `x-`; a second-order equation takes one"):
        with_condition(ps.Neumann(U, 1, on="x-"))
    with_condition(ps.Neumann(U, 1, on="x-"), source=ps.unknown("c", 1))


def test_observations_stand_in_for_an_initial_value_with_a_warning():
    with pytest.warns(ps.ProblemWarning, match="no initial value; the observations stand in"):
        heat(ps.Dirichlet(UT, 0), ps.Observations(UT, [[0.5, 0.5]], [1]))


@refused({
    "a constant source": (lambda: neumann(1), "flux through the boundary is 0, the integral of the source 1, their difference -1 must vanish"),
    "with a factor": (lambda: poisson(equations=[sp.Eq(-2 * ps.laplacian(U), 1)], conditions=[ps.Neumann(U, 0)]), "the integral of the source -0.5"),
    "slopes": (lambda: neumann(0, left=1, right=2), "flux through the boundary is 3, the integral of the source 0"),
    "plain derivatives": (
        lambda: poisson(equations=[sp.Eq(U.diff(X, 2) + U.diff(Y, 2), 1)], conditions=[ps.Neumann(U, 0)]), "pure Neumann data of problem `p`"
    ),
    "flux form": (lambda: poisson(equations=[sp.Eq(ps.div((1 + X) * ps.grad(U)), 1)], conditions=[ps.Neumann(U, 1)]), "is 6, .* source 1,"),
    "an interval": (
        lambda: ps.Problem(name="p", fields=[UX], domain=LINE, equations=[sp.Eq(UX.diff(X, 2), 1)], conditions=[ps.Neumann(UX, 0)]), "difference -1"
    ),
    "a narrow source": (lambda: neumann(gaussian(variance=1e-4)), "integral of the source 1,"),
    "Robin without the value": (lambda: poisson(conditions=[ps.Robin(U, 0, 2, 1)]), "flux through the boundary is 2"),
    "one shot": (
        lambda: only(ps.Neumann(SHOTS, 0), sp.Eq(ps.laplacian(SHOTS), ps.SourceFamily([sp.cos(sp.pi * X), 1]))), "one shot of pure Neumann data"
    ),
})  # fmt: skip
def test_incompatible_neumann_data_name_the_integral(declare, message):
    with pytest.raises(ps.ProblemError, match=message):
        declare()


@pytest.mark.parametrize(
    "declare",
    [
        lambda: neumann(sp.cos(sp.pi * X)),
        lambda: neumann(3, left=1, right=2),
        lambda: neumann(gaussian(variance=1e-4, x=0.3) - gaussian(variance=1e-4, x=0.7)),
        lambda: neumann(sp.Piecewise((1, X < 0.3), (-sp.Rational(3, 7), True))),
        lambda: poisson(equations=[sp.Eq(-2 * ps.div((1 + X) * ps.grad(U)), -12)], conditions=[ps.Neumann(U, 1)]),
        lambda: poisson(equations=[sp.Eq(ps.laplacian(U) - U, 1)], conditions=[ps.Neumann(U, 0)]),
        lambda: poisson(conditions=[ps.Neumann(U, 0), ps.Constraint(U, on={X: 0, Y: 0})]),
    ],
    ids=["smooth", "slopes", "two narrow sources", "a jump", "flux form", "screened", "a fixed point"],
)
def test_compatible_neumann_data_pass(declare):
    assert declare().conditions


def test_a_balance_of_an_eighth_of_the_box_is_required_in_three_dimensions():
    u = ps.field("u", X, Y, Z)
    box = ps.Box({X: (0, 1), Y: (0, 0.5), Z: (0, 0.25)})
    with pytest.raises(ps.ProblemError, match="the integral of the source 0.125"):
        ps.Problem(name="p", fields=[u], domain=box, equations=[sp.Eq(ps.laplacian(u), 1)], conditions=[ps.Neumann(u, 0)])


@refused({
    "a layer on a disk": (lambda: helmholtz(ps.PML(W, 0.1, 5), domain=ps.Disk({X: 0, Y: 0}, 1)), "a.* layer on Disk.*around a Box or Interval"),
    "a layer inside": (lambda: helmholtz(ps.PML(W, on=BOX)), "PML of `w` was given on=Box.*expected a face"),
    "a layer on a real field": (lambda: ps.PML(U), "PML was given the real field `u`.*complex=True"),
    "a source outside": (lambda: poisson(source=gaussian(x=2)), r"a source in equation 0 .* stands at x=2, outside the domain \(0 to 1\)"),
    "a source in the corner of a disk": (
        lambda: poisson(source=gaussian(x=0.9, y=0.9), domain=ps.Disk({X: 0, Y: 0}, 1)), "stands at .* outside the domain Disk"
    ),
    "a source of one shot outside": (lambda: shots(ps.SourceFamily([1, gaussian(y=-1)])), "stands at y=-1, outside the domain"),
    "a source in a foreign coordinate": (lambda: poisson(source=ps.GaussianSource(at={X: 0.5, Z: 0}, variance=1)), "the unknown symbol `z`"),
    "a complex source": (lambda: poisson(source=1j), "`-1.0[*]I` in equation 0 of problem `p` is complex while the field is real"),
    "a narrow complex source": (lambda: poisson(source=gaussian(1 + 1j, 1e-8)), r"declare field\(..., complex=True\), or make it real"),
    "complex boundary data": (lambda: with_condition(ps.Dirichlet(U, 1j, on="x-")), "in the Dirichlet condition of u on x- .* is complex"),
    "complex observations": (lambda: with_condition(ps.Observations(U, [[0.5, 0.5]], [1j])), "the observations of `u.* are complex while"),
    "complex samples": (
        lambda: poisson(source=ps.sampled("s", {X: [0, 1], Y: [0, 1]}, np.full((2, 2), 1j))), r"`-s\(x, y\)` .* is complex while the field is real"
    ),
    "a complex source for the real one of two fields": (
        lambda: poisson(fields=[U, W], equations=[ps.laplacian(U) - 1j, ps.laplacian(W) - 1j], conditions=[ZERO, ps.Dirichlet(W, 0)]),
        "equation 0 .* is complex",
    ),
    "data that are infinite on a face": (lambda: with_condition(ps.Dirichlet(U, 1 / X, on="x-")), "`-1/x` in the Dirichlet .* x- .* at x=0"),
    "observations outside": (
        lambda: with_condition(ps.Observations(U, [[0.5, 0.5], [0.5, 1.5]], [1, 2])), r"1 observations lie outside the domain Box.*at \[0.5 1.5\]"
    ),
    "points with a column too many": (lambda: with_condition(ps.Observations(U, [[0.5, 0.5, 0]], [1])), r"3 columns; the domain has .*\(x, y\)"),
    "observations of other shots": (
        lambda: shots(ps.SourceFamily([1, 2]), ps.Observations(SHOTS, [[0.5, 0.5]], np.ones((3, 1)))), "a first axis of 3; the fields have shots=2"
    ),
    "a source too many": (lambda: shots(ps.SourceFamily([1, 2, 3])), "a SourceFamily in equation 0 .* has 3 members; the fields have shots=2"),
    "sources without shots": (lambda: poisson(source=ps.SourceFamily([1, 2])), r"has 2 members; .* shots=None. Declare field\(..., shots="),
    "shots of one field only": (
        lambda: poisson(fields=[SHOTS, V], equations=[ps.laplacian(SHOTS), ps.laplacian(V)], conditions=[]), "different numbers of shots"
    ),
    "an exact solution of another field": (lambda: poisson(exact={V: X}), r"exact= of problem `p` names `v\(x, y\)`; expected one of \[u\(x, y\)\]"),
    "an exact solution by name": (lambda: poisson(exact={"u": X}), r"names `u`; expected one of"),
    "an exact solution alone": (lambda: poisson(exact=X), "expected a solution per field such as exact="),
    "a complex exact solution": (lambda: poisson(exact={U: 1j * X}), "the exact solution of `u.* is complex"),
    "an exact solution that holds the field": (lambda: poisson(exact={U: U + 1}), "which holds a field"),
    "an exact solution of points": (lambda: poisson(exact={U: lambda points: points[:, 0]}), r"cannot be called with an array for each of \(x, y\)"),
    "two unknowns of one name": (lambda: poisson(source=ps.unknown("c", 1) * U + ps.unknown("c", 2)), "two symbols of one name"),
    "an unknown named as a field": (lambda: poisson(source=ps.unknown("u", 1)), "two symbols of one name"),
    "an unknown field that starts from a foreign symbol": (
        lambda: poisson(source=ps.unknown_field("m", X, Y, initial=A, bounds=(0, 1)) * U), "starts at `a`, which holds a; expected the coordinates"
    ),
})  # fmt: skip
def test_layers_sources_and_data_that_do_not_fit_are_named(declare, message):
    with pytest.raises(ps.ProblemError, match=message):
        declare()


@pytest.mark.parametrize("operator", [ps.laplacian(UTAU), ps.div(ps.grad(UTAU)), ps.grad(UTAU).dot(ps.grad(UTAU))], ids=["laplacian", "div", "grad"])
def test_time_differentiated_as_space_is_refused(operator):
    with pytest.raises(ps.ProblemError, match=r"the time `tau` as a spatial coordinate; restrict the operator: laplacian\(u, over=\(x,\)\)"):
        time_as_space(operator)


def test_the_message_about_time_and_space_shows_what_works():
    assert time_as_space(ps.laplacian(UTAU, over=(X,))).equations


@refused({
    "a typing error": (lambda: with_condition(ps.Dirichlet(U, 0, on="boundry")), 'part `boundry` is unknown; .* x-, x[+], y-, y[+], or use'),
    "a face of another box": (lambda: with_condition(ps.Dirichlet(U, 0, on="z+")), "part `z[+]` is unknown"),
    "one face of a tuple": (lambda: with_condition(ps.Dirichlet(U, 0, on=("x-", "left"))), "part `left` is unknown"),
    "a face of a layer": (lambda: helmholtz(ps.PML(W, on="z+")), "part `z[+]` is unknown"),
})  # fmt: skip
def test_an_unknown_face_lists_the_known_ones(declare, message):
    with pytest.raises(ps.UnknownNameError, match=message):
        declare()


@refused({
    "a list": (lambda: with_condition(ps.Dirichlet(U, 0, on=["x-", "x+"])), r"on=\['x-', 'x\+'\] is no location; expected .* a tuple of parts"),
    "nothing": (lambda: with_condition(ps.Dirichlet(U, 0, on=())), r"on=\(\) is no location"),
    "a symbol": (lambda: with_condition(ps.Dirichlet(U, 0, on=X)), "on=x is no location"),
    "a point that misses a coordinate": (lambda: with_condition(ps.Dirichlet(U, 0, on={X: 0.5})), "misses the coordinates y; give a value for each"),
    "a point with a coordinate too many": (lambda: with_condition(ps.Dirichlet(U, 0, on={X: 0.5, Y: 0.5, Z: 0})), "names z; the domain has"),
    "a point outside": (lambda: with_condition(ps.Dirichlet(U, 0, on={X: 0.5, Y: 5})), "lies outside the domain Box.*move it inside"),
    "a point that is no number": (lambda: with_condition(ps.Dirichlet(U, 0, on={X: 0.5, Y: "a"})), "was given `'a'`; expected a real number"),
    "a domain that reaches outside": (lambda: with_condition(ps.Constraint(U, on=ps.Disk({X: 0, Y: 0}, 1))), "on=Disk.* reaches outside the domain"),
    "a domain of other coordinates": (lambda: with_condition(ps.Constraint(U, on=LINE)), r"has the coordinates \(x,\); the domain has \(x, y\)"),
    "a place without times": (
        lambda: heat(ps.Dirichlet(UT, 0), ps.InitialCondition(UT, 0), ps.Constraint(UT, on=LINE)), r"for all times write SpaceTime\("
    ),
    "a slope at a point": (lambda: with_condition(ps.Neumann(U, 0, on={X: 0.5, Y: 0.5})), "which has no outward normal; name boundary parts"),
    "a slope inside": (lambda: with_condition(ps.Neumann(U, 0, on=BOX)), "which has no outward normal"),
    "a slope at an instant": (lambda: wave(ps.Neumann(UT, 0, on="t-")), r"on='t-', an instant; use InitialCondition\(u.diff\(t\), ...\)"),
    "the normal inside": (lambda: with_condition(ps.Constraint(ps.grad(U).dot(ps.normal(U)), on=BOX)), "the normal, which on=Box.* does not have"),
    "an initial condition without a time": (lambda: with_condition(ps.InitialCondition(U, 0)), r"declared on Box.* which has no time; use SpaceTime"),
    "an initial slope in space": (lambda: wave(ps.InitialCondition(UT.diff(X), 0)), "a derivative along x; expected the field or its derivative"),
    "no domain": (lambda: poisson(domain={X: (0, 1)}), r"was given domain=\{x: \(0, 1\)\}; expected a shape such as Box"),
})  # fmt: skip
def test_places_that_do_not_exist_are_named(declare, message):
    with pytest.raises(ps.ProblemError, match=message):
        declare()
