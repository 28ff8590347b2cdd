"""Two processes on the CPU: one result with one process, decisions of process 0, and an orderly end when one is lost."""


import numpy as np
import pytest
import torch

from pinnsiren.training.checkpoint import read_checkpoint
from pinnsiren.training.parallel import Ranks, join_ranks

ROUNDING = 1e-10  # sums of one set of chunks in another order, over a few steps of Adam

SCRIPT = """
import faulthandler, os, sys, time
faulthandler.enable()
import numpy as np
import sympy as sp
import torch
import pinnsiren as ps
from pinnsiren.training.gradient_methods import AdamRun
torch.set_num_threads(1)
folder, lost = sys.argv[1], sys.argv[2] == "lost"
x = ps.coordinates("x")
u = ps.field("u", x)
problem = ps.Problem(name="p", fields=[u], domain=ps.Interval({x: (0, 1)}), equations=[u.diff(x, 2) + sp.sin(3 * x)], conditions=[ps.Dirichlet(u, 1)])
rank = int(os.environ.get("RANK", 0))
if lost:
    advance = AdamRun.advance

    def interrupted(self):
        if self.steps == 2 and self.ranks.rank == 1:
            os._exit(3)
        return advance(self)

    AdamRun.advance = interrupted
method = ps.Adam(points=9000, iterations=2, maximum_steps=1000 if lost else 2)
# Process 1 has a budget that is over at once: only process 0 may look at its clock.
solution = ps.solve(
    problem, method=method, network=ps.Siren(width=8, depth=2), seconds=600 if rank == 0 else 1e-3, device="cpu", progress=False,
    checkpoint=f"{folder}/checkpoint.h5" if lost else None,
)
points = np.linspace(0, 1, 7)
np.savez(f"{folder}/{sys.argv[2]}_{rank}.npz", values=solution(x=points), steps=len(solution.history["training_residual"]), code=solution.status.code)
"""


def test_two_processes_give_the_result_of_one_and_stop_together(tmp_path, launch):
    assert launch(SCRIPT, tmp_path, "alone").returncode == 0
    done = launch(SCRIPT, tmp_path, "pair", processes=2, restarts=2)
    assert done.returncode == 0, done.stderr
    alone, first, second = (np.load(tmp_path / f"{name}.npz") for name in ("alone_0", "pair_0", "pair_1"))
    assert np.array_equal(first["values"], second["values"]) and first["code"] == second["code"]
    assert alone["steps"] == first["steps"] == second["steps"] == 2
    np.testing.assert_allclose(first["values"], alone["values"], rtol=0, atol=ROUNDING * np.max(np.abs(alone["values"])))


def test_a_lost_process_ends_the_run_with_a_checkpoint(tmp_path, launch):
    assert launch(SCRIPT, tmp_path, "lost", processes=2).returncode != 0
    left = np.load(tmp_path / "lost_0.npz")
    assert left["code"] == "interrupted" and left["steps"] == 2
    found = read_checkpoint(tmp_path / "checkpoint.h5", {})
    assert found is not None and found[0]["steps"] == 2


def test_a_process_of_its_own_keeps_everything():
    ranks = join_ranks(torch.device("cpu"))
    assert ranks == Ranks(0, 1)
    assert ranks.sum(1.5, torch.ones(2))[0] == 1.5 and ranks.agree("x") == "x"


@pytest.mark.parametrize("size", [1, 3, 8])
def test_shares_cover_the_chunks_once(size):
    shared = [item for rank in range(size) for item in Ranks(rank, size).share(range(10))]
    assert sorted(shared) == list(range(10))
