"""Numbers, names and arrays that no declaration can hold are refused by the object that is given them."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps

X, Y, T = ps.coordinates("x y t")
A = sp.Symbol("a")
U = ps.field("u", X, Y)
W = ps.field("w", X, Y, complex=True)
LINE = ps.Interval({X: (0, 1)})
NAN, INF = float("nan"), float("inf")
POINT = [[0.5, 0.5]]


def refused(cases):
    return pytest.mark.parametrize(("declare", "message"), list(cases.values()), ids=list(cases))


@refused({
    "no size": (lambda: ps.Box({X: (0, 0)}), "Box has size 0 along `x`"),
    "negative size": (lambda: ps.Box({X: (1, 0)}), r"Box has size -1 along `x` \(limits 1 to 0\); expected finite limits, low < high"),
    "NaN": (lambda: ps.Box({X: (0, NAN)}), "size nan along `x`"),
    "infinite": (lambda: ps.Box({X: (0, sp.oo)}), "size inf along `x`"),
    "a symbol as a limit": (lambda: ps.Box({X: (0, A)}), r"`x: \(0, a\)`; expected two numbers"),
    "one limit": (lambda: ps.Box({X: 1}), "`x: 1`; expected two numbers"),
    "a name for a coordinate": (lambda: ps.Box({"x": (0, 1)}), "`x` as a coordinate; expected a symbol made by `coordinates`"),
    "a list of limits": (lambda: ps.Box([(0, 1)]), r"`\[\(0, 1\)\]`; expected limits per coordinate"),
    "nothing": (lambda: ps.Box({}), "expected limits per coordinate"),
    "an interval in the plane": (lambda: ps.Interval({X: (0, 1), Y: (0, 1)}), "Interval .*expected one. Use Box for more"),
    "no radius": (lambda: ps.Disk({X: 0, Y: 0}, 0), "Disk was given radius=0; expected a positive number"),
    "a negative radius": (lambda: ps.Ball({X: 0}, -1), "radius=-1"),
    "a radius that is text": (lambda: ps.Disk({X: 0, Y: 0}, "1 m"), "the radius of Disk was given `'1 m'`; expected a real number"),
    "a disk in one dimension": (lambda: ps.Disk({X: 0}, 1), "1 coordinates; expected two. Use Ball"),
    "a ball in four": (lambda: ps.Ball(dict.fromkeys(sp.symbols("a:d"), 0), 1), "4 coordinates; expected one to three"),
    "a centre without names": (lambda: ps.Ball((0, 0), 1), r"the centre `\(0, 0\)`; expected a value per coordinate"),
    "a centre by names": (lambda: ps.Ball({"x": 0}, 1), "expected a value per coordinate"),
    "a centre that is a symbol": (lambda: ps.Ball({X: A}, 1), "the centre of Ball along `x` was given `a`"),
    "a centre that is NaN": (lambda: ps.Ball({X: NAN}, 1), "the centre .*expected finite numbers"),
    "time in space": (lambda: ps.SpaceTime(LINE, {X: (0, 1)}), "`x` both in space and as the time"),
    "space and time swapped": (lambda: ps.SpaceTime({T: (0, 1)}, LINE), "as its space; expected a spatial domain"),
    "time in reverse": (lambda: ps.SpaceTime(LINE, {T: (1, 0)}), "SpaceTime has size -1 along `t`"),
    "two times": (lambda: ps.SpaceTime(LINE, {T: (0, 1), Y: (0, 1)}), "SpaceTime was given 2 times; expected one"),
})  # fmt: skip
def test_shapes_without_a_size_are_refused(declare, message):
    with pytest.raises(ps.ProblemError, match=message):
        declare()


@refused({
    "no variance": (lambda: ps.GaussianSource(at={X: 0}), "no variance; pass variance=sigma"),
    "a variance of zero": (lambda: ps.GaussianSource(at={X: 0}, variance=0), "variance=0; expected a positive number, the square"),
    "a negative variance": (lambda: ps.GaussianSource(at={X: 0}, variance=-1), "variance=-1"),
    "a variance that is NaN": (lambda: ps.GaussianSource(at={X: 0}, variance=NAN), "variance=nan"),
    "a variance that is infinite": (lambda: ps.GaussianSource(at={X: 0}, variance=INF), "variance=inf"),
    "a variance that is text": (lambda: ps.GaussianSource(at={X: 0}, variance="1e-3"), "`'1e-3'`; .*text is not parsed"),
    "a variance that varies": (lambda: ps.GaussianSource(at={X: 0}, variance=X + 2), r"depends on \{x\}; expected a positive number"),
    "no centre": (lambda: ps.GaussianSource(variance=1), "was given no centre; name its arguments"),
    "a centre by position": (lambda: ps.GaussianSource({X: 0}, 1e-3), "name its arguments: GaussianSource"),
    "a centre without coordinates": (lambda: ps.GaussianSource(at=(0, 0), variance=1), r"at=\(0, 0\); expected a centre such as"),
    "a centre that is NaN": (lambda: ps.GaussianSource(at={X: NAN}, variance=1), "the centre x=nan; expected a finite real number"),
    "a complex centre": (lambda: ps.GaussianSource(at={X: 1j}, variance=1), "expected a finite real number"),
    "a function as amplitude": (lambda: ps.GaussianSource(at={X: 0}, variance=1, amplitude=np.sin), "the amplitude .*write the function in SymPy"),
    "a frequency of zero": (lambda: ps.RickerWavelet(T, 0), "frequency=0; expected a positive number of cycles"),
    "a negative frequency": (lambda: ps.RickerWavelet(T, -5), "frequency=-5"),
    "no frequency": (lambda: ps.RickerWavelet(T), "the frequency of a RickerWavelet was given `None`"),
    "a delay that is NaN": (lambda: ps.RickerWavelet(T, 5, NAN), "delay=nan; expected a finite time"),
    "no sources": (lambda: ps.SourceFamily([]), "no sources; expected one per shot"),
    "families of families": (lambda: ps.SourceFamily([ps.SourceFamily([1, 2]), 3]), "another SourceFamily as a member"),
    "a width of zero": (lambda: ps.PML(W, width=0), "PML of `w` was given width=0; expected a positive number or None"),
    "a negative width": (lambda: ps.PML(W, width=-1), "width=-1"),
    "a width that is NaN": (lambda: ps.PML(W, width=NAN), "width=nan"),
    "a width that is text": (lambda: ps.PML(W, width="wide"), "width of the PML of `w` was given `'wide'`"),
    "a strength of zero": (lambda: ps.PML(W, strength=0), "strength=0"),
    "a time convention": (lambda: ps.PML(W, time_convention="minus"), r"time_convention='minus'; expected one of \('\+', '-'\)"),
})  # fmt: skip
def test_sources_and_layers_of_no_extent_are_refused(declare, message):
    with pytest.raises(ps.ProblemError, match=message):
        declare()


@refused({
    "points that are NaN": (lambda: ps.Observations(U, [[NAN, 0]], [1]), "points of Observations hold 1 entries that are NaN or infinite"),
    "values that are NaN": (lambda: ps.Observations(U, POINT * 3, [1, NAN, INF]), "values of Observations hold 2 entries"),
    "too many values": (lambda: ps.Observations(U, POINT, [1, 2]), r"shape \(2,\) for points of shape \(1, 2\); expected one value per point"),
    "points in a row": (lambda: ps.Observations(U, [0.5, 0.5], [1, 2]), r"points of shape \(2,\); expected \(n, n_coordinates\)"),
    "no points": (lambda: ps.Observations(U, np.zeros((0, 2)), []), r"points of shape \(0, 2\).*not empty"),
    "rows of different length": (lambda: ps.Observations(U, [[0, 1], [0]], [1, 2]), "points .* cannot be read as an array.*rows of equal length"),
    "points that are text": (lambda: ps.Observations(U, [["a", "b"]], [1]), "points of Observations have the type <U1; expected numbers"),
    "complex points": (lambda: ps.Observations(U, [[1j, 0]], [1]), "expected .* real"),
    "negative noise": (lambda: ps.Observations(U, POINT, [1], noise=-1), "noise=-1; expected a number that is not negative"),
    "noise that is text": (lambda: ps.Observations(U, POINT, [1], noise="low"), "noise of Observations was given `'low'`"),
    "a negative weight": (lambda: ps.Observations(U, POINT, [1], weights=[-1]), "the weight -1; expected numbers that are not negative"),
    "too many weights": (lambda: ps.Observations(U, POINT, [1], weights=[1, 1]), r"weights of shape \(2,\); expected \(1,\)"),
    "an axis that falls": (lambda: ps.sampled("s", {X: [0, 2, 1]}, [1, 2, 3]), "axis `x` of `s` goes from 2 to 1 at entry 2; expected increasing"),
    "one sample": (lambda: ps.sampled("s", {X: [0]}, [1]), "at least two real positions"),
    "samples of another shape": (lambda: ps.sampled("s", {X: [0, 1], Y: [0, 1, 2]}, np.zeros((3, 2))), r"shape \(3, 2\); the axes .* for \(2, 3\)"),
    "samples that are NaN": (lambda: ps.sampled("s", {X: [0, 1]}, [1, NAN]), "values of `s` hold 1 entries"),
    "samples that are text": (lambda: ps.sampled("s", {X: [0, 1]}, ["a", "b"]), "values of `s` have the type <U1"),
    "an axis by name": (lambda: ps.sampled("s", {"x": [0, 1]}, [1, 2]), "expected positions per coordinate"),
    "axes without coordinates": (lambda: ps.sampled("s", [0, 1], [1, 2]), r"the axes `\[0, 1\]`; expected positions per coordinate"),
    "a spline of order 7": (lambda: ps.sampled("s", {X: [0, 1]}, [1, 2], order=7), "order=7; expected a spline order from 1 to 5"),
    "another continuation": (lambda: ps.sampled("s", {X: [0, 1]}, [1, 2], outside="wrap"), 'outside="wrap"; expected one of'),
    "a name with a space": (lambda: ps.sampled("s s", {X: [0, 1]}, [1, 2]), "named `s s`"),
})  # fmt: skip
def test_arrays_of_the_wrong_shape_or_content_are_refused(declare, message):
    with pytest.raises(ps.ProblemError, match=message):
        declare()


@refused({
    "no name": (lambda: ps.coordinates(""), "expected one or more different names"),
    "a name twice": (lambda: ps.coordinates("x x"), "`x x`; expected one or more different names"),
    "a list of names": (lambda: ps.coordinates(["x", "y"]), 'in one text, such as "x y"'),
    "a number first": (lambda: ps.coordinates("1x"), "a coordinate was named `1x`"),
    "a word of Python": (lambda: ps.field("lambda", X), "a field was named `lambda`.*no word of Python"),
    "a field without coordinates": (lambda: ps.field("u"), "no coordinates; expected for instance"),
    "a coordinate that is text": (lambda: ps.field("u", "x"), "`x` as a coordinate; expected symbols made by `coordinates`"),
    "a coordinate twice": (lambda: ps.field("u", X, X), "with a repetition"),
    "no shot": (lambda: ps.field("u", X, shots=0), "shots=0; expected a positive whole number or None"),
    "shots as a truth value": (lambda: ps.field("u", X, shots=True), "shots=True"),
    "a start outside the bounds": (lambda: ps.unknown("c", 5, (0, 1)), r"`c` starts at 5, outside its bounds \(0.0, 1.0\); move the start"),
    "a complex start": (lambda: ps.unknown("c", 1j), "declare it with complex=True"),
    "a start that is NaN": (lambda: ps.unknown("c", NAN), "starts at nan; expected a finite number"),
    "a start that is a symbol": (lambda: ps.unknown("c", A), "starts at a; expected a finite number"),
    "bounds in reverse": (lambda: ps.unknown("c", 0.5, (1, 0)), r"bounds \(1.0, 0.0\); expected low < high"),
    "one bound": (lambda: ps.unknown("c", 1, 3), r"bounds 3; expected two numbers \(low, high\)"),
    "a coefficient outside its bounds": (lambda: ps.unknown_field("m", X, initial=5, bounds=(0, 1)), "`m` starts at 5, outside its bounds"),
    "a support that is no domain": (lambda: ps.unknown_field("m", X, initial=0, bounds=(0, 1), support={X: 1}), "support=.*expected a domain"),
})  # fmt: skip
def test_names_and_unknowns_are_checked(declare, message):
    with pytest.raises(ps.ProblemError, match=message):
        declare()


@refused({
    "text": (lambda: ps.Dirichlet(U, "x + y"), r"the Dirichlet condition of `u` was given `'x \+ y'`; .*text is not parsed"),
    "a function": (lambda: ps.Neumann(U, np.sin), "write the function in SymPy, or sample it on a grid"),
    "an array": (lambda: ps.Dirichlet(U, np.zeros(3)), "data on a grid enter through `sampled`, scattered data through `Observations`"),
    "nothing": (lambda: ps.Dirichlet(U, None), "was given `None`; expected a number or a scalar SymPy expression"),
    "a truth value": (lambda: ps.InitialCondition(U, True), "was given `True`; .*a truth value"),
    "a vector": (lambda: ps.Dirichlet(U, ps.grad(U)), "give its components one by one"),
    "an expression as the field": (lambda: ps.Dirichlet(U + 1, 0), r"`u\(x, y\) \+ 1` where a field is expected"),
    "a derivative as the field": (lambda: ps.Dirichlet(U.diff(X), 0), "where a field is expected"),
    "a coordinate as the field": (lambda: ps.Neumann(X, 0), "Neumann was given `x` where a field is expected"),
    "an initial value of nothing": (lambda: ps.InitialCondition(X, 0), "`x`, which holds no field"),
    "Robin without coefficients": (lambda: ps.Robin(U, 0, 0, 1), "a = b = 0, which prescribes nothing"),
    "a constraint that python decided": (lambda: ps.Constraint(U == 1), "Constraint has collapsed to False"),
    "a constraint that is an inequality": (lambda: ps.Constraint(U > 0), "an inequality"),
    "a constraint of a vector": (lambda: ps.Constraint(ps.grad(U)), "give its components one by one"),
    "the laplacian of a number": (lambda: ps.laplacian(3), r"laplacian was given `3`, which holds no field; .*over=\(x, y\)"),
    "the laplacian of a vector": (lambda: ps.laplacian(ps.grad(U)), "give its components one by one"),
    "the gradient of a vector": (lambda: ps.grad(ps.grad(U)), "give its components one by one"),
    "the divergence of a scalar": (lambda: ps.div(U), r"div was given the scalar `u\(x, y\)`; expected a vector"),
    "a component too many": (lambda: ps.div([U, U, U]), r"3 components for the coordinates \(x, y\)"),
    "over= a symbol": (lambda: ps.laplacian(U, over=X), r"over=x; expected one or more coordinates such as over=\(x, y\)"),
    "time only": (lambda: ps.laplacian(ps.field("u", T)), "depends on the time `t` only"),
    "no name": (lambda: ps.Problem(name="", fields=[], domain=LINE, equations=[], conditions=[]), "a problem was named ''"),
})  # fmt: skip
def test_what_is_no_expression_is_refused(declare, message):
    with pytest.raises(ps.ProblemError, match=message):
        declare()


def test_an_exponential_that_sympy_has_split_is_told_with_the_remedy():
    def layer(width):
        v, inflow = ps.field("v", X), "x-"
        equation, line = v.diff(X) - sp.exp((X - 1) / width), ps.Interval({X: (0, 1)})
        return ps.Problem(name="p", fields=[v], domain=line, equations=[equation], conditions=[ps.Dirichlet(v, 0, on=inflow)])

    with pytest.raises(ps.ProblemError, match=r"split into a tiny number.*sp\.Rational in place of floats"):
        layer(sp.Float(1e-3))
    assert layer(sp.Rational(1, 1000)).name == "p"


def test_text_is_never_evaluated(tmp_path):
    witness = tmp_path / "witness"
    for declare in (ps.laplacian, lambda text: ps.Dirichlet(U, text), lambda text: ps.GaussianSource(at={X: 0}, variance=text), ps.Constraint):
        with pytest.raises(ps.ProblemError, match="text is not parsed"):
            declare(f"open({str(witness)!r}, 'w')")
    assert not witness.exists()
