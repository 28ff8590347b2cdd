"""Images from their derivatives: cosine series, the method that uses as many cosines, the signal-to-noise ratio, and what is refused."""

import builtins
import importlib

import numpy as np
import pytest
import sympy as sp
import torch

import pinnsiren as ps
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.errors import CompileError, ProblemError, ProblemWarning, UnknownNameError
from pinnsiren.language.cosine_series import cosine_series, cosines
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.serialisation import problem_from_tree, problem_to_tree
from pinnsiren.problems import load
from pinnsiren.training.cosine_least_squares import CosineLeastSquares
from pinnsiren.training.tensor_rows import TensorRows
from pinnsiren.validation import draw_images, psnr, validate

X, Y, Z = ps.coordinates("x y z")
U = ps.field("u", X, Y)
SQUARE = ps.Box({X: (-1, 1), Y: (-1, 1)})
# What the issue asks for, in decibels; cosines reach rounding, some 240 dB.
BARS = {("image_from_gradient", 64): 42, ("image_from_gradient", 128): 22, ("image_from_laplacian", 64): 30}
ROUNDING = 1e-11

importlib.import_module("skimage")  # the extra `images` is among the tools of the tests


def cells(n):
    return -1 + (2 * np.arange(n) + 1) / n


def picture(nx, ny, seed=0):
    return np.random.default_rng(seed).random((nx, ny))


def cosine_data(name, values):
    return ps.sampled(name, {X: cells(values.shape[0]), Y: cells(values.shape[1])}, values, interpolation="cosine")


def solved(problem, **settings):
    return ps.solve(problem, device="cpu", progress=False, **settings)


def declared(equations, conditions=(), exact=None, fields=(U,), domain=SQUARE):
    return ps.Problem(name="an_image", fields=list(fields), domain=domain, equations=list(equations), conditions=list(conditions), exact=exact)


def test_a_cosine_series_passes_through_its_samples_and_is_even_about_the_edges():
    values = picture(7, 5)
    data = ps.sampled("f", {X: np.linspace(2, 5, 7), Y: np.linspace(-1, 1, 5)}, values, interpolation="cosine")
    declaration = type(data).declaration
    grid = np.meshgrid(np.linspace(2, 5, 7), np.linspace(-1, 1, 5), indexing="ij")
    assert np.allclose(declaration.evaluate(*grid), values, atol=1e-13)
    assert declaration.limits == ((1.75, 5.25), (-1.25, 1.25))
    assert np.max(np.abs(declaration.evaluate(np.full(9, 5.25), np.linspace(-1, 1, 9), derivatives=(1, 0)))) < 1e-12


def test_derivatives_of_a_cosine_series_agree_with_differences():
    declaration = type(cosine_data("f", picture(6, 9))).declaration
    x, y = np.random.default_rng(1).uniform(-0.9, 0.9, (2, 40))
    step = 1e-4
    slope = (declaration.evaluate(x, y + step) - declaration.evaluate(x, y - step)) / (2 * step)
    assert np.allclose(declaration.evaluate(x, y, derivatives=(0, 1)), slope, rtol=1e-4, atol=1e-4)
    bend = (declaration.evaluate(x + step, y) - 2 * declaration.evaluate(x, y) + declaration.evaluate(x - step, y)) / step**2
    assert np.allclose(declaration.evaluate(x, y, derivatives=(2, 0)), bend, rtol=1e-3, atol=1e-2)


def test_points_of_a_grid_of_a_face_and_scattered_ones_give_the_same_values():
    series = cosine_series((cells(6), cells(4)), picture(6, 4) + 1j * picture(6, 4, 1))
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 8), np.linspace(-1, 1, 9), indexing="ij"), axis=-1)
    for orders in ([0, 0], [1, 2]):
        scattered = series(grid.reshape(-1, 2), np.array(orders))
        assert np.allclose(series(grid, np.array(orders)).ravel(), scattered, atol=1e-12)
        assert np.allclose(series(grid[0], np.array(orders)), scattered[:9], atol=1e-12)
    assert series(np.zeros((0, 2)), np.array([0, 0])).shape == (0,)


def test_a_cosine_series_survives_storage_and_differs_from_a_spline():
    values = picture(5, 5)
    problem = declared([sp.Eq(ps.laplacian(U), cosine_data("f", values))], [ps.Dirichlet(U, 0)])
    assert problem_from_tree(*problem_to_tree(problem)).equations == problem.equations
    assert cosine_data("f", values) != ps.sampled("f", {X: cells(5), Y: cells(5)}, values)


@pytest.mark.parametrize(("name", "size"), [pytest.param(*key, marks=pytest.mark.slow if key[1] > 64 else ()) for key in BARS])
def test_the_camera_is_found_to_rounding_far_above_the_bars(name, size):
    solution = solved(load(name, size=size))
    assert solution.status.success
    assert psnr(solution) > max(200, BARS[name, size])
    assert validate(solution, against="exact").honest


@pytest.mark.parametrize("seed", [3, 4])
def test_other_images_on_other_boxes_and_rectangles_are_found_as_well(seed):
    chance = np.random.default_rng(seed)
    nx, ny = (int(n) for n in chance.integers(9, 40, 2))
    low, width = chance.uniform(-3, 3), chance.uniform(0.5, 4)
    axes = {X: low + width * (np.arange(nx) + 0.5) / nx, Y: (np.arange(ny) + 0.5) / ny}
    target = ps.sampled("f", axes, picture(nx, ny, seed), interpolation="cosine")
    domain = ps.Box({X: (low, low + width), Y: (0, 1)})
    equations = [sp.Eq(ps.laplacian(U), ps.laplacian(target, over=(X, Y)))]
    solution = solved(declared(equations, [ps.Dirichlet(U, target)], {U: target}, domain=domain), seed=seed)
    assert solution.status.success
    report = validate(solution, against="exact")
    assert report.relative_l2["u"] < ROUNDING
    assert report.honest


def test_a_colour_image_is_three_fields_of_one_problem():
    fields = [ps.field(name, X, Y) for name in "rgb"]
    targets = [cosine_data(f"f{i}", picture(8, 8, i)) for i in range(3)]
    equations = [sp.Eq(ps.grad(u), ps.grad(f, over=(X, Y))) for u, f in zip(fields, targets, strict=True)]
    solution = solved(declared(equations, fields=fields, exact=dict(zip(fields, targets, strict=True))))
    assert all(psnr(solution, field=name) > 200 for name in "rgb")
    with pytest.raises(ProblemError, match="expected one of r, g, b"):
        psnr(solution)


def test_the_fusion_is_the_mean_of_both_images_up_to_a_constant():
    problem = load("image_fusion", size=20, share=0.25)
    solution = solved(problem)
    assert psnr(solution) > 200
    assert "constant" in str(validate(solution, against="exact"))


def test_neumann_data_and_a_reaction_are_solved_with_the_same_cosines():
    target = cosine_data("f", picture(10, 12))
    equation = sp.Eq(ps.laplacian(U) - 3 * U, ps.laplacian(target, over=(X, Y)) - 3 * target)
    solution = solved(declared([equation], [ps.Neumann(U, 0)], {U: target}))
    assert isinstance(solution.plan.method, CosineLeastSquares)
    assert validate(solution, against="exact").relative_l2["u"] < ROUNDING


def test_gradients_of_no_image_end_without_success_and_say_so():
    across, along = cosine_data("gx", picture(12, 12)), cosine_data("gy", picture(12, 12, 1))
    solution = solved(declared([sp.Eq(U.diff(X), across), sp.Eq(U.diff(Y), along)]))
    assert not solution.status.success
    assert "contradict" in solution.status.text or "even" in solution.status.text


def test_data_of_differences_are_no_success_beyond_their_own_error():
    """Forward differences stand for derivatives at the edges of cells: what comes out is at most as good as they are."""
    values = picture(16, 16)
    truth = cosine_data("f", values)
    across = np.diff(values, axis=0, append=values[-1:]) * 8
    along = np.diff(values, axis=1, append=values[:, -1:]) * 8
    solution = solved(declared([sp.Eq(U.diff(X), cosine_data("gx", across)), sp.Eq(U.diff(Y), cosine_data("gy", along))], exact={U: truth}))
    assert not solution.status.success


def test_the_products_without_a_matrix_are_those_of_the_matrix():
    target = cosine_data("f", picture(5, 4))
    compiled = compile_problem(declared([sp.Eq(ps.laplacian(U), ps.laplacian(target, over=(X, Y)))], [ps.Dirichlet(U, target)]))
    rows = TensorRows(compiled, (5, 4), (8, 6), seed=1)
    n_columns = int(np.prod(rows.shape))
    matrix = np.stack([rows.forward(unit) for unit in np.eye(n_columns)], axis=1)
    back = np.stack([rows.transpose(unit) for unit in np.eye(len(matrix))], axis=1)
    assert np.allclose(matrix.T, back, atol=1e-12)
    assert np.allclose(np.linalg.norm(matrix, axis=0), rows.column_norms())
    points = rows.limits, cosines(np.array([0.3]), -1, 1, 5, 2)
    assert points[1].shape == (1, 5)


def test_cosines_in_space_have_the_same_products():
    u = ps.field("u", X, Y, Z)
    axes = {X: cells(4), Y: cells(5), Z: cells(3)}
    target = ps.sampled("f", axes, np.random.default_rng(0).random((4, 5, 3)), interpolation="cosine")
    box = ps.Box({X: (-1, 1), Y: (-1, 1), Z: (-1, 1)})
    equation = sp.Eq(ps.laplacian(u), ps.laplacian(target, over=(X, Y, Z)))
    problem = declared([equation], [ps.Dirichlet(u, target)], {u: target}, fields=[u], domain=box)
    assert validate(solved(problem), against="exact").relative_l2["u"] < ROUNDING


def test_what_cosines_do_not_carry_is_left_to_least_squares_with_a_reason():
    smooth = declared([sp.Eq(ps.laplacian(U), sp.sin(X))], [ps.Dirichlet(U, X)])
    variable = declared([sp.Eq(ps.div((2 + X) * ps.grad(U)), cosine_data("f", picture(6, 6)))], [ps.Dirichlet(U, X)])
    smaller = declared([sp.Eq(ps.laplacian(U), ps.sampled("f", {X: cells(6) / 2, Y: cells(6)}, picture(6, 6), interpolation="cosine"))],
                       [ps.Dirichlet(U, 1)])
    for problem, reason in ((smooth, "no data are declared as a cosine series"), (variable, "constant coefficients"), (smaller, "fill the domain")):
        assert not isinstance(ps.plan(problem).method, CosineLeastSquares)
        with pytest.raises(CompileError, match=reason):
            ps.plan(problem, method=CosineLeastSquares())


def test_the_same_seed_gives_the_same_history_and_files_bring_the_solution_back(tmp_path):
    problem = load("image_from_laplacian", size=16)
    first, second = solved(problem), solved(problem)
    assert first.history.columns == second.history.columns
    first.save(tmp_path / "image.h5")
    line = np.linspace(-1, 1, 5)
    assert np.array_equal(ps.load(tmp_path / "image.h5")(x=line, y=line), first(x=line, y=line))


def test_a_run_resumes_from_its_checkpoint(tmp_path):
    problem = load("image_from_gradient", size=12)
    path = tmp_path / "run.ckpt"
    first = solved(problem, checkpoint=path)
    again = solved(problem, checkpoint=path)
    assert again.history.columns == first.history.columns
    assert again.estimated_error == first.estimated_error


def test_a_trained_siren_learns_the_image_from_the_same_declaration():
    problem = load("image_from_gradient", size=8)
    torch.set_num_threads(1)
    solution = solved(problem, network=ps.Siren(width=24, depth=2), seconds=8)
    assert psnr(solution) > 15


def test_the_picture_shows_image_result_and_difference():
    figure = draw_images(solved(load("image_from_gradient", size=8)))
    assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == ["image", "found", "difference"]


def test_psnr_follows_its_definition():
    problem = load("image_from_gradient", size=8)
    solution = solved(problem)
    (target,) = problem.exact.values()
    brighter, grid = sp.Rational(3, 2) * target, np.meshgrid(cells(8), cells(8))
    values = evaluate_on(target, problem.coordinates, np.stack([axis.ravel() for axis in grid], axis=1))
    assert psnr(solution, brighter) == pytest.approx(-10 * np.log10(np.var(values / 2)), abs=1e-6)
    assert psnr(solution, brighter, peak=2) == pytest.approx(psnr(solution, brighter) + 20 * np.log10(2))
    with pytest.raises(ProblemError, match="positive"):
        psnr(solution, peak=0)
    with pytest.raises(ProblemError, match="no image to compare"):
        psnr(solution, sp.sin(X))


BAD = {
    "nan": (lambda: cosine_data("f", np.where(picture(4, 4) > 0.5, np.nan, 1)), "NaN or infinite.*repair"),
    "transposed": (lambda: ps.sampled("f", {X: cells(4), Y: cells(6)}, picture(6, 4)), "rows and columns are exchanged"),
    "colours": (lambda: ps.sampled("f", {X: cells(4), Y: cells(6)}, np.ones((4, 6, 3))), "looks like colours"),
    "size": (lambda: ps.sampled("f", {X: cells(4), Y: cells(6)}, np.ones((4, 5))), r"shape \(4, 5\).*ask for \(4, 6\)"),
    "uneven": (lambda: ps.sampled("f", {X: [0, 1, 3]}, [1, 2, 3], interpolation="cosine"), "not evenly spaced"),
    "interpolation": (lambda: ps.sampled("f", {X: [0, 1, 3]}, [1, 2, 3], interpolation="fourier"), "expected one of"),
    "too many pixels": (lambda: load("image_from_gradient", size=4096), "ask for fewer"),
    "no size": (lambda: load("image_from_gradient", size=0), "whole number of pixels"),
    "settings": (lambda: CosineLeastSquares(growth=1), "growth=1"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_images_are_refused_in_the_users_words(what):
    make, message = BAD[what]
    with pytest.raises(ProblemError, match=message):
        make()


def test_an_unknown_image_is_answered_with_the_known_ones():
    with pytest.raises(UnknownNameError, match="astronaut, brick, camera"):
        load("image_from_gradient", image="lena")


def test_without_scikit_image_a_drawing_stands_in_with_a_warning(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **settings):
        if name.startswith("skimage"):
            raise ImportError(name)
        return real(name, *arguments, **settings)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.warns(ProblemWarning, match=r"pip install pinnsiren\[images\]"):
        problem = load("image_from_gradient", size=16)
    monkeypatch.undo()
    assert psnr(solved(problem)) > 200
