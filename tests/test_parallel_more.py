"""Three processes on the CPU: Adam and Gauss-Newton give the result of one, and a lost one ends the run of the others with a checkpoint."""


import numpy as np

from pinnsiren.training.checkpoint import read_checkpoint

ROUNDING = 1e-10  # sums of the same rows in another order, over a few steps
FACTORISED = 1e-7  # of normal equations, whose condition squares that of the rows, over three steps
STEPS = 3

SCRIPT = """
import os, sys
import numpy as np
import sympy as sp
import torch
import pinnsiren as ps
from pinnsiren.training.gauss_newton import GaussNewtonRun
torch.set_num_threads(1)
folder, kind = sys.argv[1:]
rank = int(os.environ.get("RANK", 0))
x = ps.coordinates("x")
u = ps.field("u", x)
equation = u.diff(x, 2) + u**2 + sp.sin(3 * x)
problem = ps.Problem(name="p", fields=[u], domain=ps.Interval({x: (0, 1)}), equations=[equation], conditions=[ps.Dirichlet(u, 1)])
methods = {"adam": ps.Adam(points=300, iterations=3, maximum_steps=3), "gauss_newton": ps.GaussNewton(points=100, maximum_steps=3)}
if kind == "lost":
    methods = {"gauss_newton": ps.GaussNewton(points=100, maximum_steps=1000)}
    advance = GaussNewtonRun.advance

    def interrupted(self):
        if self.steps == 2 and self.ranks.rank == 2:
            os._exit(3)
        return advance(self)

    GaussNewtonRun.advance = interrupted
for name, method in methods.items():
    # Only process 0 may look at its clock.
    solution = ps.solve(
        problem, method=method, network=ps.Siren(width=6, depth=2), seconds=600 if rank == 0 else 1e-3, tolerance=1e-14, device="cpu", progress=False,
        checkpoint=f"{folder}/checkpoint.h5" if kind == "lost" else None,
    )
    steps = len(solution.history["training_residual"])
    np.savez(f"{folder}/{kind}_{name}_{rank}.npz", values=solution(x=np.linspace(0, 1, 9)), steps=steps, code=solution.status.code)
"""


def test_three_processes_give_the_result_of_one(tmp_path, launch):
    assert launch(SCRIPT, tmp_path, "alone").returncode == 0
    done = launch(SCRIPT, tmp_path, "three", processes=3, restarts=2)
    assert done.returncode == 0, done.stderr
    for name, rounding in (("adam", ROUNDING), ("gauss_newton", FACTORISED)):
        alone = np.load(tmp_path / f"alone_{name}_0.npz")
        first, *others = (np.load(tmp_path / f"three_{name}_{rank}.npz") for rank in range(3))
        assert all(np.array_equal(first["values"], other["values"]) and first["code"] == other["code"] for other in others)
        assert alone["steps"] == first["steps"] == STEPS
        np.testing.assert_allclose(first["values"], alone["values"], rtol=0, atol=rounding * np.max(np.abs(alone["values"])))


def test_one_lost_of_three_ends_the_run_of_the_others_with_a_checkpoint(tmp_path, launch):
    assert launch(SCRIPT, tmp_path, "lost", processes=3).returncode != 0
    for rank in (0, 1):
        left = np.load(tmp_path / f"lost_gauss_newton_{rank}.npz")
        assert left["code"] == "interrupted" and left["steps"] == 2
    found = read_checkpoint(tmp_path / "checkpoint.h5", {})
    assert found is not None and found[0]["steps"] == 2
