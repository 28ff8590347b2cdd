"""The benchmark of the derivative engine measures one thing in several ways, and keeps its promise on memory."""

import importlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

engine = importlib.import_module("benchmarks.engine")
page = importlib.import_module("benchmarks.engine_page")
ways = importlib.import_module("benchmarks.engine_ways")
gpu = importlib.import_module("benchmarks.engine_gpu")
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


FACTOR = 2.0


def row_of(name, group):
    """A row as a GPU would measure it, with numbers made up."""
    if group == "graph":
        return {"graph_points_per_second": 1e7, "graph_steps_per_second": 1e4}
    if group == "gauss_newton":
        return {"milliseconds": {"factors": {"median": 25.0}}}
    if group == "results":
        errors = {"gradient_error_against_float64": {"hand adjoint": 1e-13}, "over_best_adjoint": {"nested": 13.0, "compiled nested": 3.0}}
        return {"operator": "laplacian", **errors}
    return {"growth": 1.0, "error": 1e-3}


def test_every_claim_on_a_gpu_has_its_row():
    record = {}
    for row in gpu.rows(2, quick=False):
        record.setdefault(row.group, []).append({"row": row.name, **row_of(row.name, row.group)})
    found = gpu.claims(record)
    assert len(found) == 15 and all(claim["measured"] is not None for claim in found.values())
    reached = {name for name, claim in found.items() if claim["reached"]}
    assert "over nested autograd, eager" in reached and "over nested autograd, compiled" not in reached
    assert "helmholtz_disc, trained" in reached and "helmholtz_disc, auto" not in reached
    assert {claim["reached"] for claim in gpu.claims({}).values()} == {None}


def test_rows_of_a_gpu_fit_into_eight_minutes_and_have_names_of_their_own():
    rows = gpu.rows(12, quick=False)
    assert len({row.name for row in rows}) == len(rows)
    assert gpu.GPU_SECONDS <= 450 and max(row.seconds for row in rows) < gpu.GPU_SECONDS / FACTOR


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU would run the rows")
def test_rows_that_fail_cost_no_others(monkeypatch, capsys):
    kept = [row for row in gpu.rows(2, quick=True) if row.group in ("graph", "gauss_newton", "memory")]
    late = replace(kept[0], name="late", seconds=1e9)
    fine = replace(kept[0], name="fine", group="extra", run=lambda: {"value": 1})
    monkeypatch.setattr(gpu, "rows", lambda rounds, quick: [*kept, late, fine])
    record = gpu.run_cuda(2, quick=True)
    assert record["extra"] == [{"row": "fine", "value": 1}] and record["failed"]["late"] == "out of time"
    assert set(record["failed"]) == {"late", *(row.name for row in kept)}
    engine.print_summary(record)
    assert "not measured" in capsys.readouterr().out


def test_training_and_problems_are_timed_as_they_run():
    row = gpu.measure_training(32, 2, "cpu", iterations=3)
    assert row["steps_per_second"] > 0 and "no graphs on the device `cpu`" in row["no_graph_because"]


def test_a_problem_is_solved_within_its_budget_and_compared_with_its_exact_solution():
    row = gpu.measure_problem("helmholtz_point_source", trained=False, seconds=5, device="cpu")
    assert row["way"] == "auto" and row["error"] < 0.1


def test_peak_memory_is_that_of_the_device(monkeypatch):
    """A device that is faked: two gigabytes at any number of points, of which one was there before."""
    for name, value in (("reset_peak_memory_stats", None), ("memory_allocated", 1 << 30), ("max_memory_allocated", 2 << 30), ("synchronize", None)):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(gpu, "MEMORY_CHUNK", 512)
    row = gpu.measure_memory((1000, 50_000), "cpu", limit=0.5)
    assert row["growth"] == 1.0 and row["wanted"] == 50_000 and set(row["peak_bytes"].values()) == {1 << 30}
    assert max(row["peak_bytes"]) <= 50_000


def test_the_estimate_of_many_devices_counts_one_message_of_all_parameters():
    devices = importlib.import_module("benchmarks.many_devices")
    pieces = devices.measure_pieces(16, width=8)
    assert pieces["messages"] == 1 and pieces["message_bytes"] == 8 * (pieces["parameters"] + 1)
    assert 0 < pieces["launches"] < pieces["launches_in_graph"]
    few, many = (devices.estimate(pieces, n, 8)["efficiency"] for n in (1024, 65_536))
    assert few < many < 1 and devices.estimate(pieces, 1024, 1)["efficiency"] == 1
    assert devices.estimate(pieces, 1024, 2)["seconds"] < devices.estimate(pieces, 1024, 8)["seconds"]
