"""The comparison of networks: equal sizes, one table, one picture; in a tiny setting."""

import importlib
import json

import numpy as np
import pytest

import pinnsiren as ps

comparison = importlib.import_module("benchmarks.network_comparison")


@pytest.mark.parametrize("name", comparison.NETWORKS)
@pytest.mark.parametrize(("wanted", "n_in", "n_out"), [(600, 2, 1), (4500, 3, 2)])
def test_networks_have_nearly_the_same_number_of_parameters(name, wanted, n_in, n_out):
    count = comparison.count_parameters(comparison.sized_record(name, wanted, n_in, n_out, seed=0), n_in, n_out)
    assert 0.85 * wanted < count <= wanted


@pytest.mark.parametrize("name", comparison.FAMILIES)
def test_every_family_has_an_exact_field_to_draw(name):
    problem = comparison.FAMILIES[name].declare()
    reference = comparison.exact_reference(problem)
    field = comparison.field_on_grid(problem, reference.fields[str(problem.fields[0].func)])
    assert field.shape == (comparison.GRID, comparison.GRID)
    assert np.std(field) > 0


def test_a_tiny_run_writes_table_and_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "GRID", 12)
    rows = comparison.run(["poisson"], ["ReLU", "SIREN"], parameters=120, seconds=1.0, seed=0, folder=tmp_path)
    table = json.loads((tmp_path / "network_comparison.json").read_text(encoding="utf-8"))
    assert table["rows"] == rows
    assert (tmp_path / "network_comparison.png").read_bytes().startswith(b"\x89PNG")
    errors = {row["network"]: row["error"] for row in rows}
    # A network without second derivatives sees nothing of the equation.
    assert errors["ReLU"] > errors["SIREN"]


def test_a_run_that_fails_leaves_a_row_without_error(monkeypatch):
    def fail(*arguments, **settings):
        raise ps.TrainingError("no device")

    monkeypatch.setattr(comparison.ps, "solve", fail)
    row, field = comparison.compare(comparison.FAMILIES["poisson"], "tanh", 100, 1.0, 0)
    assert row["error"] is None and field is None and "no device" in row["status"]
