"""The benchmark of the derivative engine measures one thing in several ways, and keeps its promise on memory."""

import importlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

engine = importlib.import_module("benchmarks.engine")
page = importlib.import_module("benchmarks.engine_page")
ways = importlib.import_module("benchmarks.engine_ways")
Case, build, nested_step, streams_step = ways.Case, ways.build, ways.nested_step, ways.streams_step

AGREEMENT = {torch.float64: 1e-12, torch.float32: 5e-5}  # random functionals of order one


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def flat(gradient):
    return torch.cat([part.flatten().double() for part in gradient])


@pytest.mark.parametrize("dtype", list(AGREEMENT), ids=str)
@pytest.mark.parametrize("operator", ["laplacian", "biharmonic"])
def test_all_ways_give_one_gradient(operator, dtype):
    case = Case(operator, 32, 2, dtype, width=32)
    exact = flat(nested_step(build(replace(case, dtype=torch.float64)))())
    steps = [streams_step, lambda built: streams_step(built, tape=True), nested_step]
    for way in steps + [ways.forward_step] * (operator == "laplacian"):
        assert float((flat(way(build(case))()) - exact).norm() / exact.norm()) < AGREEMENT[dtype]


def test_deepxde_gives_the_same_gradient():
    pytest.importorskip("deepxde")
    case = Case("laplacian", 32, 2, torch.float64, width=32)
    found, exact = flat(ways.deepxde_step(build(case))()), flat(nested_step(build(case))())
    assert float((found - exact).norm() / exact.norm()) < AGREEMENT[torch.float64]


def test_the_hand_adjoint_keeps_few_bytes_per_point():
    kept = ways.bytes_kept(Case("laplacian", 64, 2), streams_step)
    # Blocks of 256 floats: cosine and sine in the first layer; in two more also two first derivatives and the Laplacian.
    assert (2 + 5 + 5) * 1024 <= kept <= engine.BARS["bytes"]


def test_a_row_holds_ratios_and_the_page_shows_them(tmp_path):
    row = engine.measure(Case("laplacian", 16, 1, width=16), 3)
    assert set(row["over_hand_adjoint"]) | set(row["missing"]) == {"tape", "nested", "jvp of jvp", "DeepXDE"}
    assert row["products_per_layer"] == {"streams": 12, "nested": 18}
    page.write_page({"results": [row], "machine": {"device": "a <b>"}, "network": "n"}, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text.count("data:image/png;base64") == 2 and "a &lt;b&gt;" in text


def test_a_row_of_split_products_says_so_and_keeps_the_digits():
    row = engine.measure(Case("laplacian", 64, 2, width=32, arithmetic="3xtf32"), 2)
    assert row["dtype"] == "3xtf32" and row["product_gflops"] > 0
    assert row["gradient_error_against_float64"]["hand adjoint"] < AGREEMENT[torch.float32]
    assert row["gradient_error_against_float64"]["hand adjoint"] != row["gradient_error_against_float64"]["tape"]


def test_the_timed_step_is_that_of_training_and_agrees_with_an_explicit_jacobian():
    row = engine.measure_gauss_newton(60, 48, "cpu", 2)
    # Conditioned by the damping of 1e-3: three of sixteen digits go, and as many again in the direction.
    assert row["difference"] < 1e-9
    assert abs(row["n_residuals"] - 60) <= 3 and row["n_parameters"] == 2 * 48**2 + 6 * 48 + 1
    assert "from the factors of the streams" in row["equations"]


def test_a_size_that_training_solves_otherwise_is_not_timed():
    with pytest.raises(RuntimeError, match="normal equations of the Jacobian"):
        engine.measure_gauss_newton(200, 4, "cpu", 2)
