"""What a user holds after `solve`: values, derivatives, status and history, the same after a way through a file."""

import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.errors import EvaluationError
from pinnsiren.solution import History

X, Y = ps.coordinates("x y")
U = ps.field("u", X, Y)
BOX = ps.Box({X: (0, 1), Y: (0, 2)})
EXACT = sp.sin(X) * sp.exp(Y / 2) + X * Y
ERROR = 1e-6  # far above what least squares reach on a smooth problem of this size in a second
STEP = 1e-3
DIFFERENCE = 1e-4  # truncation STEP**2 for a field of size e, and rounding 1e-9 / STEP**2 of what the fit leaves at high frequencies


def poisson(exact=EXACT, amplitude=1):
    return ps.Problem(
        name="small",
        fields=[U],
        domain=BOX,
        equations=[sp.Eq(ps.laplacian(U), amplitude * sp.sin(X) * sp.exp(Y / 2) * sp.Rational(-3, 4))],
        conditions=[ps.Dirichlet(U, EXACT)],
        exact={U: exact},
    )


@pytest.fixture(scope="module")
def solution():
    return ps.solve(poisson(), seconds=5, progress=False)


@pytest.fixture(scope="module")
def two_shots():
    u = ps.field("u", X, Y, complex=True, shots=2)
    waves = [sp.exp(2 * sp.I * X), sp.exp(2 * sp.I * Y)]
    problem = ps.Problem(
        name="shots", fields=[u], domain=BOX, equations=[ps.laplacian(u) + 4 * u], conditions=[ps.Dirichlet(u, ps.SourceFamily(waves))]
    )
    return ps.solve(problem, seconds=5, progress=False)


@pytest.fixture(scope="module")
def saved(solution, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run.h5"
    solution.save(path)
    return path


def exact(x, y):
    return np.sin(x) * np.exp(np.asarray(y) / 2) + np.asarray(x) * y


def test_scalars_give_a_scalar_and_arrays_broadcast(solution):
    value = solution(x=0.25, y=0.5)
    assert np.ndim(value) == 0 and value == pytest.approx(exact(0.25, 0.5), abs=ERROR)
    x, y = np.linspace(0, 1, 5), np.linspace(0, 2, 4)
    for given in ((x, 0.5), (0.25, list(y)), (x[:, None], y), (x[:4], y), (1, 2)):
        values = solution(x=given[0], y=given[1])
        assert np.shape(values) == np.broadcast_shapes(*map(np.shape, given))
        np.testing.assert_allclose(values, exact(*map(np.asarray, given)), atol=ERROR)
    assert solution(x=[], y=[]).shape == (0,)


def test_real_fields_have_real_values_whichever_way_they_are_asked_for(solution):
    points = np.array([[0.1, 0.2], [0.5, 1.5]])
    by_name = solution["u"](x=points[:, 0], y=points[:, 1])
    assert by_name.dtype == float
    np.testing.assert_array_equal(solution["u"].at(points), by_name)
    np.testing.assert_array_equal(solution(x=points[:, 0], y=points[:, 1]), by_name)


def test_the_first_axis_is_the_shot(two_shots):
    assert two_shots.status.success
    x, y = np.linspace(0, 1, 3)[:, None], np.linspace(0, 2, 4)
    values = two_shots(x=x, y=y)
    assert values.shape == (2, 3, 4) and two_shots(x=0.5, y=0.5).shape == (2,) and two_shots["u"].at([[0.5, 0.5]]).shape == (2, 1)
    np.testing.assert_allclose(values[0], np.exp(2j * x) + 0 * y, atol=1e-4)
    np.testing.assert_allclose(values[1], np.exp(2j * y) + 0 * x, atol=1e-4)


@pytest.mark.parametrize("along", [(X,), (Y,), (X, 2), (Y, 2), (X, Y)], ids=str)
def test_derivatives_agree_with_differences_and_with_the_exact_ones(solution, along):
    x, y = np.array([0.3, 0.7]), np.array([0.4, 1.6])

    def differenced(function, symbol):
        shift = {"x": (STEP if symbol == X else 0), "y": (STEP if symbol == Y else 0)}
        return lambda x, y: (function(x=x + shift["x"], y=y + shift["y"]) - function(x=x - shift["x"], y=y - shift["y"])) / (2 * STEP)

    expected = solution
    for symbol in (along[0], along[0]) if along[1:] == (2,) else along:
        expected = differenced(expected, symbol)
    derivative = solution["u"].derivative(*along)
    np.testing.assert_allclose(derivative(x=x, y=y), expected(x, y), atol=DIFFERENCE)
    np.testing.assert_allclose(derivative(x=x, y=y), sp.lambdify((X, Y), EXACT.diff(*along))(x, y) + 0 * x, atol=DIFFERENCE)


def test_derivatives_chain_and_take_names(solution):
    mixed = solution["u"].derivative(X, Y)(x=0.3, y=0.4)
    assert solution["u"].derivative("x").derivative(Y)(x=0.3, y=0.4) == mixed
    assert solution["u"].derivative(Y, X)(x=0.3, y=0.4) == mixed


def test_evaluation_outside_warns_of_the_extent(solution):
    extent = r"1 of 2 points lie outside the declared domain \(x from 0 to 1, y from 0 to 2\)"
    for ask in (lambda: solution(x=[0.5, 1.5], y=1), lambda: solution["u"](x=[0.5, 1.5], y=1), lambda: solution["u"].at([[0.5, 1], [1.5, 1]])):
        with pytest.warns(ps.EvaluationWarning, match=extent) as caught:
            ask()
        assert caught[0].filename == __file__, "the warning names the user's line"
    with pytest.warns(ps.EvaluationWarning, match="1 of 1 points"):
        solution(x=np.nan, y=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solution(x=[0, 1], y=[0, 2])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda s: s(x=0.5), r"with the coordinates \['x'\]; it depends on \['x', 'y'\]: pass each by name"),
        (lambda s: s(x=0.5, z=0.5), r"with the coordinates \['x', 'z'\]"),
        (lambda s: s(0.5, 0.5), r"without a name; expected solution\(x=..., y=...\)"),
        (lambda s: s(x="a", y=0), "coordinate `x` was given as `'a'`; expected real numbers"),
        (lambda s: s(x=0, y=1j), "coordinate `y` was given as `1j`"),
        (lambda s: s(x=[1, 2], y=[1, 2, 3]), r"x \(2,\), y \(3,\) do not broadcast"),
        (lambda s: s["v"], r"has no `v`; it has the fields \['u'\] and the unknowns \[\]"),
        (lambda s: s["u"].at([0.5, 0.5]), r"shape \(2,\) were given; expected \(n, 2\) with the columns \(x, y\)"),
        (lambda s: s["u"].at([["a", "b"]]), "expected real numbers"),
        (lambda s: s["u"].derivative(sp.Symbol("z")), r"along `z` was asked for; expected a coordinate of \['x', 'y'\]"),
        (lambda s: s["u"].derivative(X, 3), "of order 3 was asked for; solutions give derivatives up to order two"),
        (lambda s: s["u"].derivative(X, -1), "of order -1 along `x`"),
        (lambda s: s["u"].derivative(2), "along `2` was asked for"),
    ],
)
def test_what_a_solution_cannot_be_asked_is_told(solution, ask, message):
    with pytest.raises(EvaluationError, match=message):
        ask(solution)


def test_several_fields_are_asked_for_by_name_and_unknowns_are_numbers():
    x = ps.coordinates("x")
    u, v = ps.field("u", x), ps.field("v", x)
    c = ps.unknown("c", 1.0, (0.1, 5))
    pair = ps.Problem(
        name="pair",
        fields=[u, v],
        domain=ps.Interval({x: (0, 1)}),
        equations=[u.diff(x, 2) - v, v.diff(x, 2)],
        conditions=[ps.Dirichlet(u, x**3), ps.Dirichlet(v, 6 * x)],
    )
    solved = ps.solve(pair, seconds=3, progress=False)
    assert solved["u"](x=0.5) == pytest.approx(0.125, abs=ERROR) and solved["v"](x=0.5) == pytest.approx(3, abs=ERROR)
    with pytest.raises(EvaluationError, match=r"has the fields \['u', 'v'\]; name one, such as"):
        solved(x=0.5)
    samples = np.linspace(0, 1, 9)[:, None]
    inverse = ps.Problem(
        name="inverse",
        fields=[u],
        domain=ps.Interval({x: (0, 1)}),
        equations=[u.diff(x, 2) + c * u],
        conditions=[ps.Dirichlet(u, sp.sin(2 * x)), ps.Observations(u, samples, np.sin(2 * samples[:, 0]))],
    )
    found = ps.solve(inverse, seconds=5, progress=False)
    assert found["c"] == pytest.approx(4, rel=0.05)


def test_a_file_gives_back_the_same_solution(solution, saved):
    back = ps.load(saved)
    points = BOX.sample_interior(50, 1)
    for ask in (lambda s: s["u"].at(points), lambda s: s["u"].derivative(X, Y).at(points), lambda s: s["u"].derivative(Y, 2).at(points)):
        np.testing.assert_array_equal(ask(back), ask(solution))
    assert back.status == solution.status and back.history.columns == solution.history.columns
    assert str(back.plan) == str(solution.plan) and str(back) == str(solution)
    assert back.problem == solution.problem
    for attribute in ("estimated_error", "tolerance", "seconds", "seed", "device", "precision", "versions", "method_text", "structure_text", "cores"):
        assert getattr(back, attribute) == getattr(solution, attribute), attribute
    for one, other in zip(back.residual_samples(64), solution.residual_samples(64), strict=True):
        assert one.label == other.label
        np.testing.assert_array_equal(one.values, other.values)


def test_a_loaded_solution_is_saved_again(saved, tmp_path):
    again = tmp_path / "again.h5"
    ps.load(saved).save(again)
    assert ps.load(again)(x=0.3, y=0.4) == ps.load(saved)(x=0.3, y=0.4)


def test_shots_come_back_from_a_file(two_shots, tmp_path):
    two_shots.save(tmp_path / "run.h5")
    np.testing.assert_array_equal(ps.load(tmp_path / "run.h5")(x=[0.1, 0.2], y=0.3), two_shots(x=[0.1, 0.2], y=0.3))


def test_a_file_is_not_read_for_another_problem(saved):
    with pytest.raises(ps.StorageError, match="holds another declaration than the problem `small`"):
        ps.load(saved, problem=poisson(amplitude=2))
    with pytest.raises(ps.StorageError, match="problem='small'; expected the Problem that was solved"):
        ps.load(saved, problem="small")


def test_callables_are_attached_by_the_problem(tmp_path):
    def known(x, y):
        return exact(x, y)

    problem = poisson(exact=known)
    ps.solve(problem, seconds=2, progress=False).save(tmp_path / "run.h5")
    assert not ps.load(tmp_path / "run.h5").problem.exact
    assert ps.load(tmp_path / "run.h5", problem=problem).problem.exact == {U: known}


def test_the_solution_prints_what_it_is(solution):
    assert str(solution).startswith("solution of `small`: estimated error")
    assert solution.status.success and solution.method_text == "LeastSquares" and solution.structure_text
    assert len(solution.history) == len(solution.history["fresh_residual"]) >= 1


USER_MODULE = """
    import sympy as sp
    import pinnsiren as ps

    x = ps.coordinates("x")
    u = ps.field("u", x)
    problem = ps.Problem(
        name="user_beam", fields=[u], domain=ps.Interval({x: (0, 2)}), equations=[sp.Eq(u.diff(x, 2), 6 * x)],
        conditions=[ps.Dirichlet(u, 0, on="x-"), ps.Neumann(u, 12, on="x+")], exact={u: x**3},
    )
"""


def test_a_module_of_the_users_own_is_solved_and_validated_elsewhere(tmp_path):
    """In a folder without the checkout, by the installed command, as a user of the wheel would."""
    (tmp_path / "problems.py").write_text(textwrap.dedent(USER_MODULE), encoding="utf-8")

    def pinnsiren(*arguments):
        return subprocess.run([sys.executable, "-m", "pinnsiren.cli", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)

    solved = pinnsiren("solve", "problems.py:problem", "--seconds", "3", "--no-progress", "--no-report")
    assert solved.returncode == 0, solved.stderr
    assert "status           success" in solved.stdout
    run = Path("out") / "user_beam" / "run.h5"
    assert ps.load(tmp_path / run)(x=1.5) == pytest.approx(1.5**3, abs=ERROR)
    judged = pinnsiren("validate", str(run), "--problem", "problems.py:problem")
    assert judged.returncode == 0 and "user_beam: PASS" in judged.stdout, judged.stderr


def test_a_history_is_asked_for_its_columns():
    history = History({"loss": [2.0, 1.0]})
    assert "loss" in history
    assert "cells" not in history
    assert list(history) == ["loss"]
