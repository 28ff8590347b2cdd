"""The reduced inversion on two processes: frequencies are split, every process has the medium of one process, and only process 0 has a clock."""

import numpy as np
import pytest

from pinnsiren.training.parallel import Ranks

ROUNDING = 1e-8  # what is gathered has the bits of one process; what remains is for libraries that round by their own mood
SPLIT = 0.75  # of the factorisations of one process: half of those in descents, and the few that every process does for itself

SCRIPT = """
import os, sys
sys.path.insert(0, sys.argv[2])
import numpy as np
import torch
import pinnsiren as ps
from pinnsiren.reference_solvers.inversion import Simulator
from test_reduced_inversion import declared
torch.set_num_threads(1)
rank, work = int(os.environ.get("RANK", 0)), [0]
plain = Simulator.operator

def counted(self, number, model):
    work[0] += 1
    return plain(self, number, model)

Simulator.operator = counted
# Process 1 has a budget that is over at once.
solution = ps.solve(
    declared(shots=3, receivers=12), method=ps.ReducedInversion(step=0.05), seconds=600 if rank == 0 else 1e-3, device="cpu", progress=False
)
spent = work[0]
axis = np.linspace(-0.2, 0.2, 9)
a, b = np.meshgrid(axis, axis, indexing="ij")
try:
    refused = ""
    ps.solve(declared(wavenumbers=(9.0,), shots=3, receivers=12), method=ps.ReducedInversion(step=0.05), seconds=600, device="cpu", progress=False)
except ps.TrainingError as error:
    refused = str(error)
np.savez(
    f"{sys.argv[1]}/{os.environ.get('WORLD_SIZE', 1)}_{rank}.npz", medium=solution["m"](x=a, y=b), misfit=solution.history["misfit"],
    estimate=solution.estimated_error, work=spent, code=solution.status.code, refused=refused,
)
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory, request, launch):
    folder = tmp_path_factory.mktemp("inversion")
    for processes in (1, 2):
        done = launch(SCRIPT, folder, str(request.path.parent), processes=processes, restarts=2)
        assert done.returncode == 0, done.stderr
    return [dict(np.load(folder / f"{name}.npz")) for name in ("1_0", "2_0", "2_1")]


def test_every_process_has_the_medium_of_one(results):
    alone, first, second = results
    assert alone["code"] == first["code"] == second["code"] != "interrupted"
    for name in ("medium", "misfit", "estimate"):
        assert np.array_equal(first[name], second[name]), name
        np.testing.assert_allclose(first[name], alone[name], rtol=ROUNDING, err_msg=name)


def test_factorisations_are_split(results):
    alone, first, second = results
    assert 0 < first["work"] < SPLIT * alone["work"] and 0 < second["work"] < SPLIT * alone["work"], [r["work"] for r in results]


def test_one_frequency_is_refused(results):
    alone, *pair = results
    assert alone["refused"] == "" and all("one frequency has one factorisation" in str(one["refused"]) for one in pair)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_what_is_shared_comes_back_in_order(size, monkeypatch):
    shares = [[10 * item for item in Ranks(rank, size).share(range(7))] for rank in range(size)]
    monkeypatch.setattr(Ranks, "gather", lambda self, own: shares)
    for rank in range(size):
        assert Ranks(rank, size).map(lambda item: 10 * item, range(7)) == [10 * item for item in range(7)]
