"""Evidence: well-formed cases, rows that are resumed only where they hold, and a table that comes from the records alone."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


evidence = importlib.import_module("benchmarks.evidence")
cases = importlib.import_module("benchmarks.evidence_cases")
checks = importlib.import_module("benchmarks.evidence_checks")
store = importlib.import_module("benchmarks.evidence_store")
table = importlib.import_module("benchmarks.evidence_table")


@pytest.fixture(autouse=True)
def sources_at_rest(monkeypatch):
    monkeypatch.setattr(store, "provenance", lambda *sources: {"commit": "f" * 40, "modified": False, "numerics": "these"})


class StubSolution:
    """The exact solution times 1 + error."""

    def __init__(self, problem, error, estimate, code):
        self._exact, self._error = evidence.exact_reference(problem), error
        self.estimated_error, self.seconds, self.method_text = estimate, 0.5, "stub"
        self.status = SimpleNamespace(code=code, text="of the stub", success=code == "success")
        self.history = SimpleNamespace(columns={"size": [10.0, 20.0]})

    def __getitem__(self, name):
        return SimpleNamespace(at=lambda points: (1 + self._error) * self._exact.fields[name](points))


def stub_case(error=1e-4, estimate=1e-4, code="success", calls=None, **changes):
    def solve(problem, seconds, seed):
        if calls is not None:
            calls.append(seed)
        return StubSolution(problem, error * (1 + seed), estimate, code)

    return replace(cases.CASES["point_source_auto"], solve=solve, **changes)


provenance = store.provenance


def test_the_state_of_the_sources_is_told_by_their_content():
    state = provenance()
    assert state["commit"] and isinstance(state["modified"], bool) and len(state["numerics"]) == 16


@pytest.mark.parametrize("name", evidence.CASES)
def test_a_case_is_well_formed_and_its_truth_is_known(name):
    case = evidence.CASES[name]
    problem = case.declare(case.seeds[0])
    assert case.name == name and case.seconds > 0 and 0 < (case.aim or case.bar) <= case.bar
    assert len(set(case.seeds)) == len(case.seeds) >= 5
    assert case.reference == "grid" or evidence.exact_reference(problem) is not None
    assert not set(evidence.CASES) & set(evidence.CHECKS)


@pytest.mark.parametrize("seed", cases.DRAW_SEEDS)
def test_a_draw_is_reproducible_and_within_the_declared_ranges(seed):
    drawn = cases.draw_constants(seed)
    assert drawn == cases.draw_constants(seed)
    assert 8 <= drawn["k"] <= 30 and 0.005 <= drawn["deviation"] <= 0.03
    assert drawn["width"] is None or 0.2 <= drawn["width"] <= 0.6
    if drawn["speed"] is not None:
        assert 0.5 <= drawn["speed"] <= 2.5 and 0.06 <= drawn["radius"] <= 0.2
        assert np.linalg.norm(np.subtract(drawn["centre"], drawn["at"])) > drawn["radius"] + 6 * drawn["deviation"]


def test_the_draws_cover_both_kinds_of_disc_and_of_layer():
    drawn = [cases.draw_constants(seed) for seed in cases.DRAW_SEEDS]
    speeds = [draw["speed"] for draw in drawn]
    assert len(drawn) == 20 and speeds.count(None) >= 5
    assert sum(speed is not None and speed < 1 for speed in speeds) >= 5 and sum(speed is not None and speed > 1 for speed in speeds) >= 5
    assert 5 <= sum(draw["width"] is None for draw in drawn) <= 10


def test_errors_are_measured_outside_six_deviations_and_apart_inside():
    case = cases.CASES["point_source_auto"]
    problem = case.declare(0)
    ((centre, radius),) = evidence.declared_cores(problem)
    assert centre == (0.0, 0.0) and radius == pytest.approx(0.06)
    solution = StubSolution(problem, 1e-3, 1e-3, "success")
    outside, inside = evidence.measure_errors(problem, solution, evidence.exact_reference(problem))
    assert outside == pytest.approx(1e-3) and inside == pytest.approx(1e-3)


def test_rows_are_kept_for_the_same_sources_and_made_again_for_others(tmp_path, monkeypatch):
    calls = []
    case = stub_case(calls=calls)
    evidence.run_case(case, tmp_path, n_seeds=2)
    record = evidence.run_case(case, tmp_path)
    assert calls == [0, 1, 2, 3, 4] and record["summary"]["complete"]
    evidence.run_case(case, tmp_path, n_seeds=1, force=True)
    assert calls[5:] == [0]
    evidence.run_case(case, tmp_path, n_seeds=1, seconds=3)
    assert calls[6:] == [0]
    monkeypatch.setattr(store, "provenance", lambda *sources: {"commit": "0" * 40, "modified": False, "numerics": "other"})
    evidence.run_case(case, tmp_path, n_seeds=1, seconds=3)
    assert calls[7:] == [0]


def test_a_record_on_disk_is_what_was_measured(tmp_path):
    evidence.run_case(stub_case(), tmp_path)
    record = json.loads((tmp_path / "point_source_auto.json").read_text())
    assert [row["seed"] for row in record["rows"]] == [0, 1, 2, 3, 4]
    assert [row["true_error"] for row in record["rows"]] == pytest.approx([1e-4, 2e-4, 3e-4, 4e-4, 5e-4])
    assert record["summary"]["median_error"] == pytest.approx(3e-4) and record["summary"]["worst_error"] == pytest.approx(5e-4)
    assert record["summary"]["bar_met"] and not record["summary"]["aim_met"]
    assert record["commit"] and record["hardware"]["cpu_model"] and record["hardware"]["torch_threads"] and record["versions"]["torch"]
    assert list(tmp_path.iterdir()) == [tmp_path / "point_source_auto.json"]


@pytest.mark.parametrize(("code", "honest"), [("success", False), ("out_of_time", True)])
def test_only_a_success_above_ten_estimates_is_dishonest(tmp_path, code, honest):
    record = evidence.run_case(stub_case(error=2e-4, estimate=1e-5, code=code), tmp_path, n_seeds=1)
    (row,) = record["rows"]
    assert row["honest"] is honest and not row["within_ten_estimates"]
    assert any("above ten times" in line for line in table.failures([record])) is not honest


def test_a_solver_that_raises_misses_the_bar_and_is_tried_again(tmp_path):
    def solve(problem, seconds, seed):
        raise ValueError("singular")

    record = evidence.run_case(replace(stub_case(), solve=solve), tmp_path, n_seeds=1)
    assert record["rows"][0]["status_text"] == "ValueError: singular" and not record["summary"]["bar_met"]
    calls = []
    evidence.run_case(stub_case(calls=calls), tmp_path, n_seeds=1)
    assert calls == [0]


def test_an_interrupted_run_leaves_no_row(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        evidence.run_case(stub_case(code="interrupted"), tmp_path, n_seeds=1)
    assert not list(tmp_path.iterdir())


def test_the_worst_seed_may_be_three_times_the_bar_and_an_infinite_error_counts():
    def rows(*errors):
        common = {"estimated_error": 1e-3, "seconds": 1.0, "wall_seconds": 1.0, "status": "success", "honest": True, "within_ten_estimates": True}
        return [{"seed": seed, "true_error": error, **common} for seed, error in enumerate(errors)]

    assert store.summarise(rows(1e-3, 1e-3, 3e-3), 1e-3, None, 60, 3)["bar_met"]
    assert not store.summarise(rows(1e-3, 1e-3, 4e-3), 1e-3, None, 60, 3)["bar_met"]
    assert not store.summarise(rows(1e-3, 1e-3, None), 1e-3, None, 60, 3)["bar_met"]
    assert not store.summarise(rows(1e-3, 1e-3, 2e-3), 1e-3, None, 60, 3, None, 1.5)["bar_met"]
    assert store.summarise(rows(*[1e-3] * 18, None, 1.0), 1e-2, None, 60, 20, 2)["bar_met"]
    assert not store.summarise(rows(*[1e-3] * 17, 1.0, None, 1.0), 1e-2, None, 60, 20, 2)["bar_met"]
    assert not store.summarise(rows(1e-3), 1e-3, None, 0.5, 1)["in_time"]


def test_the_table_is_made_from_the_records(tmp_path):
    evidence.run_case(stub_case(), tmp_path)
    draws = {name: getattr(cases.CASES["draws"], name) for name in ("title", "bar", "aim", "allowed_to_miss", "constants", "seeds", "declare")}
    evidence.run_case(replace(stub_case(error=1e-6), name="draws", **draws), tmp_path, n_seeds=3)
    check = checks.Check("speed", "Speed", lambda: [checks.Quantity("ratio", 2.5, 2.8, "at least", "how")])
    evidence.run_check(check, tmp_path)
    records = table.read_records(tmp_path, ["speed"])
    page = table.build_table(records)
    assert [record["case"] for record in records] == ["speed", "draws", "point_source_auto"]
    assert "| `helmholtz_point_source` | `auto` | 0.5 of 60 | 1e-3 | 5e-5 | 3.0e-04 | 5.0e-04 | 1.0e-04 | bar | yes, 5 of 5 claim success |" in page
    assert "| Helmholtz, random constants | `auto` | 1e-2 | 3 of 3 | 18 of 20 |" in page
    row = next(line for line in page.splitlines() if line.startswith("| 101 |"))
    assert all(constant in row for constant in ("k 15.9", "at (0.208, 0.0665)", "deviation 0.0271"))
    assert "| ratio | 2.5 | at least 2.8 | **no** | how |" in page
    assert records[0]["hardware"]["cpu_model"] in page
    assert table.failures(records) == ["speed: ratio is 2.5, expected at least 2.8"]


def test_the_table_of_the_readme_is_that_of_the_records():
    records = table.read_records(evidence.RESULTS / "evidence", (*evidence.CASES, *evidence.CHECKS))
    text = evidence.README.read_text(encoding="utf-8")
    assert table.replace_measured(text, table.build_short_table(records)) == text, "run `python -m benchmarks.evidence --table`"
    with pytest.raises(ValueError, match="for the table to stand between"):
        table.replace_measured("no markers", "")


def test_the_readme_names_what_it_does_not_show_and_misses():
    records = [dict(record) for record in table.read_records(evidence.RESULTS / "evidence")]
    assert {record["case"] for record in records} >= set(table.HEADLINES)
    hidden = next(r for r in records if r["case"] not in table.HEADLINES and "quantities" not in r and r["allowed_to_miss"] is None)
    hidden["summary"] = {**hidden["summary"], "bar_met": False, "complete": False, "dishonest_seeds": [3]}
    text = table.build_short_table(records)
    missed, unfinished = text.split("reach their bar (")[1].split(" not)")[0], text.split("runs are missing of ")[1].split(".")[0]
    assert f"`{hidden['case']}`" in missed
    assert f"`{hidden['case']}`" in unfinished
    assert f"In `{hidden['case']}` a run that reports success is wrong by more than ten times" in text


def test_no_number_is_printed_without_its_machine(tmp_path):
    record = evidence.run_case(stub_case(), tmp_path, n_seeds=1)
    del record["hardware"]["cpu_model"]
    store.write_record(tmp_path / "point_source_auto.json", record)
    with pytest.raises(ValueError, match=r"`point_source_auto` does not say cpu_model"):
        table.read_records(tmp_path)
