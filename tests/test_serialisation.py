"""A declaration comes back from its tree equal, its digest is the same everywhere, and a tree that was not written by us does nothing."""

import copy
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnsiren import language as lang
from pinnsiren import problems
from pinnsiren.errors import ProblemWarning, StorageError
from pinnsiren.language import heads
from pinnsiren.language.expression_trees import HEADS, MAX_DEPTH, expression_from_tree, expression_to_tree
from pinnsiren.language.serialisation import CONDITIONS, callables_not_stored, declaration_digest, problem_from_tree, problem_to_tree
from pinnsiren.language.tree_parts import ArrayShelf, domain_from_tree, domain_to_tree

X, Y, T = lang.coordinates("x y t")
U = lang.field("u", X, Y, complex=True)
C = lang.unknown("c", 2.0, (0.5, 3))
M = lang.unknown_field("m", X, Y, initial=1 + X**2, bounds=(0, 4), support=lang.Disk({X: 0, Y: 0}, 0.5))
S = lang.sampled("s", {X: [0, 1, 2], Y: [0, 1]}, np.arange(6.0).reshape(3, 2), order=2)
R = sp.Rational


def helmholtz(reordered=False):
    source = lang.GaussianSource(at={X: 0, Y: R(1, 10)}, variance=1e-4, amplitude=1 + sp.I)
    terms = [lang.laplacian(U), (20 + sp.exp(X) * sp.Max(X, Y)) ** 2 * U, -source]
    equation = sp.Add(*terms, evaluate=not reordered)
    layer = lang.PML(U, width=0.5, strength=5)
    return lang.Problem(name="h", fields=[U], domain=lang.Box({X: (-0.5, 0.5), Y: (-0.5, 0.5)}), equations=[equation], conditions=[layer])


def heat():
    u = lang.field("u", X, T)
    a = sp.Piecewise((1, X < R(1, 2)), (R(3, 2), (X >= R(1, 2)) & (X < 2)), (2, True))
    return lang.Problem(
        name="heat",
        fields=[u],
        domain=lang.SpaceTime(lang.Interval({X: (0, 1)}), {T: (0, 0.1)}),
        equations=[sp.Eq(u.diff(T), lang.div(a * lang.grad(u)))],
        conditions=[
            lang.InitialCondition(u, sp.sin(sp.pi * X)),
            lang.Robin(u, 1, 0.1, sp.exp(-T), on="x-"),
            lang.Neumann(u, 0, on=("x+",)),
            lang.Constraint(u.diff(X) - 1, on=lang.SpaceTime(lang.Interval({X: (0.2, 0.3)}), {T: (0, 0.1)})),
        ],
        exact={u: sp.exp(-T) * sp.sin(X)},
    )


def inversion():
    u = lang.field("u", X, Y, T, shots=2)
    wavelet = lang.sampled("wavelet", {T: [0, 0.5, 1]}, [0.0, 1.0, 0.0], outside="zero")
    sources = [lang.GaussianSource(at={X: x, Y: 0.5}, variance=R(1, 100)) * wavelet for x in (0.3, 0.6)]
    ricker = lang.SourceFamily([sources[0] * lang.RickerWavelet(T, 2), sources[1] * wavelet.subs(T, T - R(1, 4))])
    points = np.random.default_rng(0).uniform(0.1, 0.9, (2, 4, 3))
    return lang.Problem(
        name="fwi",
        fields=[u],
        domain=lang.SpaceTime(lang.Box({X: (0, 1), Y: (0, 1)}), {T: (0, 1)}),
        equations=[sp.Eq(M * u.diff(T, 2) - lang.laplacian(u), ricker + S * u)],
        conditions=[
            lang.InitialCondition(u, 0),
            lang.InitialCondition(u.diff(T), 0),
            lang.Observations(u, points, np.ones((2, 4)), noise=0.01, weights=[1, 2, 3, 4]),
        ],
    )


def disk():
    u = lang.field("u", X, Y)
    return lang.Problem(
        name="disk",
        fields=[u],
        domain=lang.Disk({X: 0, Y: 0.5}, 1),
        equations=[sp.Eq(lang.laplacian(u), C * sp.besselj(0, X) + sp.erf(Y) + lang.SpatialDerivative(u, X) * 0.25)],
        conditions=[lang.Dirichlet(u, X), lang.Constraint(u - 1, on={X: 0.5, Y: R(1, 2)}), lang.Observations(u.diff(X), [[0, 0.5]], [2])],
        exact={u: lambda x, y: x, C: 2},
    )


PROBLEMS = {"helmholtz": helmholtz, "heat": heat, "inversion": inversion, "disk": disk}


def stored(problem):
    """The tree after a way through JSON, and its arrays."""
    tree, arrays = problem_to_tree(problem)
    return json.loads(json.dumps(tree, allow_nan=False)), arrays


def returned(expression):
    shelf = ArrayShelf({})
    tree = json.loads(json.dumps(expression_to_tree(expression, shelf)))
    return expression_from_tree(tree, ArrayShelf(shelf.arrays))


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_comes_back_equal(name):
    problem = PROBLEMS[name]()
    back = problem_from_tree(*stored(problem), exact=problem.exact)
    assert back == problem
    assert declaration_digest(back) == declaration_digest(problem)
    for one, other in zip(back.equations, problem.equations, strict=True):
        assert type(one) is type(other) and one.args == other.args
    for one, other in zip(back.conditions, problem.conditions, strict=True):
        for attribute in ("points", "values", "weights"):
            np.testing.assert_array_equal(getattr(one, attribute, 0), getattr(other, attribute, 0))


@pytest.mark.parametrize("name", problems.names())
def test_a_problem_of_the_catalogue_comes_back_equal(name, load_problem):
    problem = load_problem(name)
    back = problem_from_tree(*stored(problem), exact=problem.exact)
    assert back == problem
    assert declaration_digest(back) == declaration_digest(problem)


def test_declarations_of_symbols_come_back():
    for symbol in (U, C, M, S, lang.unknown("z", 1 + 2j, complex=True)):
        back = returned(symbol)
        assert back == symbol and type(back).declaration == type(symbol).declaration
        assert hash(back) == hash(symbol)
    np.testing.assert_array_equal(type(returned(S)).declaration.evaluate([0.3], [0.7]), type(S).declaration.evaluate([0.3], [0.7]))


def test_a_callable_is_noted_and_can_be_attached_again():
    problem = disk()
    tree, arrays = stored(problem)
    assert callables_not_stored(tree) == ("u",)
    assert problem_from_tree(tree, arrays).exact == {C: 2}
    assert problem_from_tree(tree, arrays, exact=problem.exact).exact == problem.exact
    assert callables_not_stored(stored(heat())[0]) == ()


def test_equal_arrays_are_stored_once_and_read_back_unchanged():
    _, arrays = problem_to_tree(inversion())
    assert sorted(name.split("-")[0] for name in arrays) == ["Observations"] * 3 + ["s"] * 3 + ["wavelet"] * 2


def test_a_warning_of_the_declaration_is_not_repeated_by_the_file():
    u = lang.field("u", X, T)
    with pytest.warns(ProblemWarning):
        problem = lang.Problem(
            name="p", fields=[u], domain=lang.SpaceTime(lang.Interval({X: (0, 1)}), {T: (0, 1)}), equations=[u.diff(T) + u.diff(X)],
            conditions=[lang.Observations(u, [[0.5, 0.5]], [1.0])],
        )  # fmt: skip
    assert problem_from_tree(*stored(problem)) == problem


@pytest.mark.parametrize(
    "domain",
    [
        lang.Interval({X: (0.1, 1)}), lang.Box({Y: (0, 1), X: (-1, 1)}), lang.Ball({X: 0, Y: 1, T: 2}, 0.3), lang.Disk({X: 0, Y: 1e-300}, 1),
        lang.SpaceTime(lang.Disk({X: 0, Y: 1}, 1), {T: (0, 1)}), lang.Box({sp.Symbol("r", positive=True): (0, 1), sp.Symbol("q"): (0, 1)}),
    ],
    ids=str,
)  # fmt: skip
def test_a_domain_comes_back(domain):
    back = domain_from_tree(json.loads(json.dumps(domain_to_tree(domain))))
    assert back == domain and type(back) is type(domain) and back.coordinates == domain.coordinates


@pytest.mark.parametrize(
    "expression",
    [
        sp.Float("0.1", 50), sp.Float(0.1, precision=1), sp.Float("1e-400"), sp.Float(-1.5e300), sp.Integer(10) ** 4000, R(-1, 3), sp.sqrt(X),
        sp.besselj(R(1, 2), X), sp.hankel2(0, sp.sqrt(X**2 + Y**2)), sp.Heaviside(X), sp.Heaviside(X, 1), sp.Abs(U), 1 / X**2,
        sp.conjugate(U) * sp.re(U) - sp.im(U),
        sp.Piecewise((X, sp.And(X > 0, sp.Or(Y < 1, sp.Ne(X, Y)))), (0, sp.Eq(X, Y)), (Y, ~sp.Eq(X, 1)), (1, True)), U.diff(X, 2, Y), S.diff(Y),
        S.subs(X, X - 0.5), M.subs(X, heads.Clamp(X, 0, 1)), heads.SmoothStep(X, 2, 1) * heads.PositivePart(Y) * heads.Step(X - Y),
        lang.NormalComponent(X) * lang.SpatialDerivative(U, Y), sp.Max(X, Y, 0) - sp.Min(X, 1), sp.Add(X, X, evaluate=False),
        sp.Mul(2, 3, evaluate=False), sp.exp(0, evaluate=False), sp.Pow(sp.E, X, evaluate=False), sp.true,
        sp.atan2(Y, X), sp.sin(-X, evaluate=False), sp.DiracDelta(X, 1),
    ],
    ids=str,
)  # fmt: skip
def test_an_expression_comes_back(expression):
    back = returned(expression)
    assert back == expression and type(back) is type(expression) and back.args == expression.args
    assert sp.srepr(back) == sp.srepr(expression)


LEAVES = st.one_of(
    st.sampled_from([X, Y, U, C, M, S, U.diff(X), S.diff(X, Y), sp.pi, sp.E, sp.I, lang.laplacian(U), lang.RickerWavelet(X, 2)]),
    st.integers(-(10**20), 10**20).map(sp.Integer),
    st.fractions(max_denominator=1000).map(sp.Rational),
    st.floats(-1e20, 1e20).map(sp.Float),
)


def combinations(parts):
    unary = st.sampled_from([sp.sin, sp.tanh, sp.exp, sp.Abs, sp.sign, sp.re, sp.conjugate, sp.erf, heads.Step, heads.PositivePart])
    evaluate = st.booleans()
    return st.one_of(
        st.builds(lambda f, a: f(a, evaluate=False), unary, parts),
        st.builds(lambda head, a, b, e: head(a, b, evaluate=e), st.sampled_from([sp.Add, sp.Mul]), parts, parts, evaluate),
        st.builds(lambda a, n: sp.Pow(a, n, evaluate=False), parts, st.sampled_from([2, -1, R(1, 2), X])),
        st.builds(lambda a, b, c: sp.Piecewise((a, X < R(1, 3)), (b, (X > 1) | (Y <= 2)), (c, True), evaluate=False), parts, parts, parts),
        st.builds(lambda a, b: lang.Divergence(sp.Tuple(a, b), sp.Tuple(X, Y)), parts, parts),
        st.builds(lambda a: sp.Derivative(a * U, (X, 2), Y, evaluate=False), parts.filter(lambda a: a != 0)),
    )


def is_within_range(expression):
    """SymPy keeps products such as exp(40000.0) that no double holds."""
    return not expression.has(sp.nan, sp.oo, -sp.oo, sp.zoo) and all(f == 0 or 1e-300 < abs(f) < 1e300 for f in expression.atoms(sp.Float))


@given(st.recursive(LEAVES, combinations, max_leaves=12).filter(is_within_range))
@settings(max_examples=150)
def test_generated_expressions_come_back(expression):
    back = returned(expression)
    assert back == expression and hash(back) == hash(expression)


def test_every_head_of_the_language_and_every_condition_is_known():
    for name in ("Laplacian", "Divergence", "SpatialDerivative", "NormalComponent", "GaussianSource", "RickerWavelet", "SourceFamily"):
        assert HEADS[name] is getattr(lang, name)
    assert {"PositivePart", "Step", "Clamp", "SmoothStep"} <= set(HEADS)
    assert {"Dirichlet", "Neumann", "Robin", "InitialCondition", "PML", "Observations", "Constraint"} <= set(CONDITIONS)


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        (sp.zeta(X), "zeta"), (sp.Integral(X, (X, 0, Y)), "Integral"), (sp.Function("f")(X), "f"), (sp.oo, "Infinity"), (sp.Dummy("x"), "Dummy"),
        (sp.Symbol("x+1"), "x+1"), (sp.Lambda(X, X), "Lambda"), (sp.Integer(10) ** 5000, "4300 digits"), (sp.Float("1e30000"), "beyond 1e20000"),
        (sp.Add(X, X, evaluate=False).func(X, sp.zeta(3, evaluate=False), evaluate=False), "zeta"),
    ],
)  # fmt: skip
def test_what_files_cannot_hold_is_named(expression, named):
    with pytest.raises(StorageError, match=named.replace("+", r"\+")):
        expression_to_tree(expression, ArrayShelf({}))


def test_a_deep_expression_is_refused_when_written_and_when_read():
    expression, tree = X, ["Symbol", "x"]
    for _ in range(MAX_DEPTH + 1):
        expression, tree = sp.sin(expression, evaluate=False), ["sin", tree]
    with pytest.raises(StorageError, match="deeper"):
        expression_to_tree(expression, ArrayShelf({}))
    with pytest.raises(StorageError, match="nested"):
        expression_from_tree(tree, ArrayShelf({}))


MARKER = "CODE_OF_A_FILE_RAN"
CODE = f"__import__('os').environ.update({MARKER}='1')"
JUNK = [
    None, True, 1, "x", {}, [], [[]], [None], [1, 2], ["__import__", "os"], ["os.system", "id"], ["eval", CODE], ["Lambda", ["Symbol", "x"], ["pi"]],
    ["Integer"], ["Integer", 3], ["Integer", CODE], ["Integer", "1" * 5000], ["Integer", "1", "2"], ["Integer", "１"], ["Integer", "1\n"],
    ["Rational", "1", "0"], ["Rational", "1"], ["Float", CODE, 53], ["Float", "1.0", "53"], ["Float", "1.0", 10**9], ["Float", "1e999999999", 53],
    ["Float", "1.0"], ["Float", "nan", 53], ["Float", "1.0", True], ["Symbol", CODE], ["Symbol"], ["Symbol", 3], ["Symbol", "x", {"__class__": True}],
    ["Symbol", "x", {"real": 1}], ["Symbol", "x", {"positive": True, "negative": True}], ["pi", ["pi"]], ["Add", ["pi"], CODE], ["Add"],
    ["Mul", ["true"], ["pi"]], ["Pow", ["pi"]], ["Pow", ["pi"], ["pi"], ["pi"]], ["sin"], ["sin", ["pi"], ["pi"]], ["And", ["pi"], ["true"]],
    ["Laplacian", ["pi"]], ["Tuple", ["Tuple"]],
    ["Piecewise"], ["Piecewise", ["pi"]], ["Piecewise", [["pi"], ["pi"]]], ["Piecewise", [["true"], ["true"]]],
    ["Laplacian", ["pi"], ["pi"]], ["Laplacian"], ["Divergence", ["Tuple", ["pi"]], ["Tuple"]], ["Divergence", ["pi"], ["pi"]],
    ["Derivative", ["pi"], ["Symbol", "x"]], ["Derivative"], ["Derivative", ["Symbol", "x"], ["Tuple", ["pi"], ["pi"]]],
    ["GaussianSource", ["pi"], ["pi"], ["pi"], ["pi"]], ["RickerWavelet", ["Symbol", "t"], ["Integer", "-1"], ["pi"]], ["SourceFamily"],
    ["field"], ["field", {}], ["field", {"name": CODE, "complex": False, "shots": None}, ["Symbol", "x"]], ["field", 3, ["Symbol", "x"]],
    ["field", {"name": "u", "complex": "no", "shots": None}, ["Symbol", "x"]],
    ["field", {"name": "u", "complex": True, "shots": 1.5}, ["Symbol", "x"]],
    ["field", {"name": "u", "complex": False, "shots": None}], ["unknown", {"name": "c", "complex": False, "bounds": [0], "initial": 1}],
    ["unknown", {"name": "c", "complex": False, "bounds": [0, 2], "initial": CODE}],
    ["unknown_field", {"name": "m", "bounds": [0, 1], "initial": CODE, "support": None}, ["Symbol", "x"]],
    ["unknown_field", {"name": "m", "bounds": [0, 1], "initial": ["pi"], "support": {"kind": "os.system"}}, ["Symbol", "x"]],
    ["sampled", {"name": "s", "order": 3, "outside": "zero", "axes": ["absent"], "values": "absent"}, ["Symbol", "x"]],
    ["sampled", {"name": "s", "order": CODE, "outside": "zero", "axes": [], "values": "absent"}], ["sampled", {"name": "s", "axes": None}],
]  # fmt: skip


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: repr(junk)[:50])
def test_junk_is_no_expression_and_no_code_of_it_runs(junk):
    for tree in (junk, ["sin", junk], ["Add", ["pi"], junk]):
        with pytest.raises(StorageError):
            expression_from_tree(copy.deepcopy(tree), ArrayShelf({}))
    assert MARKER not in os.environ


REPLACEMENTS = (None, True, -1, 1.5, CODE, [], {}, [[]], ["__import__", "os"], {"text": CODE}, {"array": "absent"}, {"part": CODE}, {"complex": [1]})


def places(tree, path=()):
    """Every place of a tree, as the keys that lead to it."""
    if path:
        yield path
    for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(part, (*path, key))


def replaced(tree, path, value):
    changed = copy.deepcopy(tree)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


@pytest.mark.filterwarnings("ignore")
def test_a_tree_with_a_part_replaced_is_refused_or_is_a_problem():
    """A thinned walk over all places and replacements: no other error than `StorageError`, and no code of the file runs."""
    tree, arrays = stored(disk())
    cases = [(path, value) for path in places(tree) for value in REPLACEMENTS]
    refused = 0
    for path, value in cases[::7]:
        try:
            assert isinstance(problem_from_tree(replaced(tree, path, value), arrays), lang.Problem)
        except StorageError:
            refused += 1
    assert refused > 0.8 * len(cases) / 7
    assert MARKER not in os.environ


@pytest.mark.parametrize("value", [{"text": CODE}, CODE, {"array": "text-0"}])
def test_text_never_reaches_the_parser_of_sympy(value):
    tree, arrays = stored(disk())
    for attribute in ("value", "field"):
        changed = replaced(tree, ("conditions", 0, "attributes", attribute), value)
        with pytest.raises(StorageError):
            problem_from_tree(changed, {**arrays, "text-0": np.array(CODE)})
    assert MARKER not in os.environ


def test_unknown_conditions_shapes_and_locations_are_named():
    tree, arrays = stored(disk())
    changes = {
        ("conditions", 0, "kind"): ("AbstractCondition", "one of the conditions Dirichlet"),
        ("conditions", 0, "attributes", "extra"): (1, "attributes of `Dirichlet` only"),
        ("conditions", 0, "attributes", "on"): ({"part": "x-"}, "not a valid problem.*`x-` is unknown"),
        ("domain", "shape", "kind"): ("Torus", "one of the shapes Interval"),
        ("domain", "shape", "radius"): (-1, "not a valid problem.*positive"),
        ("equations", 0): (["zeta", ["pi"]], "`'zeta'`; expected a head of the language.*upgrade pinnsiren.*problem="),
    }
    for path, (value, message) in changes.items():
        with pytest.raises(StorageError, match=message):
            problem_from_tree(replaced(tree, path, value), arrays)


def test_a_changed_or_absent_array_is_noticed():
    tree, arrays = stored(inversion())
    name = next(iter(arrays))
    with pytest.raises(StorageError, match="hash in its name"):
        problem_from_tree(tree, {**arrays, name: arrays[name] + 1})
    with pytest.raises(StorageError, match="name of a stored array"):
        problem_from_tree(tree, {})


def test_the_digest_does_not_depend_on_the_order_of_arguments():
    assert helmholtz().equations[0].args != helmholtz(reordered=True).equations[0].args
    assert declaration_digest(helmholtz()) == declaration_digest(helmholtz(reordered=True))


def test_the_digest_depends_on_what_a_run_depends_on_and_not_on_the_exact_solution():
    def problem(name="p", value=0, wavelet=(0.0, 1.0), exact=None, on="boundary"):
        u = lang.field("u", X)
        force = lang.sampled("f", {X: [0, 1]}, wavelet)
        domain = lang.Interval({X: (0, 1)})
        conditions = [lang.Dirichlet(u, value, on=on)]
        return lang.Problem(name=name, fields=[u], domain=domain, equations=[u.diff(X, 2) - force], conditions=conditions, exact=exact)

    digest = declaration_digest(problem())
    assert len(digest) == 64
    assert digest == declaration_digest(problem(exact={lang.field("u", X): X}))
    changed = [problem(name="q"), problem(value=1), problem(value=0.0), problem(wavelet=(0.0, 1.5)), problem(on=("x-", "x+"))]
    assert len({digest, *map(declaration_digest, changed)}) == 1 + len(changed)


DIGESTS_IN_A_PROCESS = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("declared", sys.argv[1])
declared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(declared)
print(*(declared.declaration_digest(build()) for build in declared.PROBLEMS.values()))
"""


def test_the_digest_is_the_same_in_every_process():
    expected = [declaration_digest(build()) for build in PROBLEMS.values()]
    other = "4242" if os.environ.get("PYTHONHASHSEED") != "4242" else "1"
    environment = {**os.environ, "PYTHONHASHSEED": other}
    run = subprocess.run([sys.executable, "-c", DIGESTS_IN_A_PROCESS, __file__], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == expected
