"""Methods on two processes of one launch: points or shots are split, every process has the whole result, and it is that of one process."""


import numpy as np
import pytest

ROUNDING = 1e-8  # sums in another order, after some steps whose damped equations have a condition of up to 1e8
FIELD_ROUNDING = 1e-14  # of fields of order one, from which small estimates are differences
SPLIT = 0.8  # of the work of one process: half of what is split, and what every process does for itself

SCRIPT = """
import os, sys
import numpy as np
import sympy as sp
import torch
import pinnsiren as ps
from pinnsiren.networks import row_factors
from pinnsiren.training import dual_system, least_squares, sketched_system
from pinnsiren.training.network_problem import NetworkProblem
from pinnsiren.training.shot_mixing import Factor
torch.set_num_threads(1)
row_factors.TILE_ROWS["cpu"], row_factors.ELEMENT_COST["cpu"] = 10, -1e9  # factors for narrow layers, too
work = {}

def counted(owner, name, amount):
    plain = getattr(owner, name)

    def wrapped(*arguments, **options):
        work[name] = work.get(name, 0) + amount(*arguments)
        return plain(*arguments, **options)

    setattr(owner, name, wrapped)

counted(NetworkProblem, "loss", lambda problem, module, residuals, *_: sum(len(r.weights) for r in residuals))
counted(NetworkProblem, "jacobian", lambda problem, module, residuals, *_: sum(len(r.weights) for r in residuals))
counted(Factor, "solve", lambda factor, right: right.shape[1])
counted(least_squares, "solve_rows", lambda *_: 1)
counted(dual_system, "gram", lambda left, right, tiles, total: len(tiles))
counted(sketched_system.StreamedRows, "product", lambda matrix, vector: sum(len(piece.weights) for piece in matrix.pieces))
x = ps.coordinates("x")
S = 66

def interval(right, shots=None):
    u = ps.field("u", x, shots=shots)
    return ps.Problem(name="p", fields=[u], domain=ps.Interval({x: (0, 1)}), equations=[right(u)], conditions=[ps.Dirichlet(u, 1)])

def bent(u):
    return u.diff(x, 2) - 2 * u**3 + sp.sin(3 * x)

def straight(u):
    return u.diff(x, 2) + sp.sin(3 * x)

def linear_shots(u):
    return sp.Eq(u.diff(x, 2), ps.SourceFamily([sp.sin((1 + s % 5) * x) * (1 + s) / S for s in range(S)]))

def bent_shots(u):
    return sp.Eq(u.diff(x, 2) - u**3, ps.SourceFamily([sp.sin((1 + s) * x) for s in range(3)]))

small, features = ps.Siren(width=8, depth=2, omega_0=3.0), ps.LeastSquares(features=24, redundancy=2.0, growth=1.3)
CASES = {
    "adam": (interval(straight), ps.Adam(points=64, iterations=4, maximum_steps=2), small),
    "L-BFGS": (interval(bent), ps.LBFGS(points=100, iterations=5, maximum_steps=3), small),
    "L-BFGS, last layer eliminated": (interval(straight), ps.LBFGS(points=100, iterations=4, maximum_steps=3), small),
    "Jacobian": (interval(bent), ps.GaussNewton(points=300, maximum_steps=4), small),
    "Jacobian, last layer eliminated": (interval(straight), ps.GaussNewton(points=300, maximum_steps=4), small),
    "sums": (interval(bent), ps.GaussNewton(points=300, maximum_steps=4, jacobian_bytes=1), small),
    "factors": (interval(bent), ps.GaussNewton(points=50, maximum_steps=4), small),
    "factors, last layer eliminated": (interval(straight), ps.GaussNewton(points=50, maximum_steps=4), small),
    "sketch": (interval(bent), ps.GaussNewton(points=300, maximum_steps=3, exact_rows=60), small),
    "stages": (interval(bent), ps.Stages((ps.Adam(points=64, maximum_steps=1), ps.LBFGS(points=60, maximum_steps=1))), small),
    "shots": (interval(linear_shots, S), features, None),
    "shots, not linear": (interval(bent_shots, 3), features, None),
}
rank, found = int(os.environ.get("RANK", 0)), {}
points = np.linspace(0, 1, 9)
for name, (problem, method, network) in CASES.items():
    solution = ps.solve(problem, method=method, network=network, seconds=600, tolerance=1e-6, device="cpu", progress=False)
    found[name] = solution["u"](x=points)
    found |= {f"work: {name}, {part}": amount for part, amount in work.items()}
    work.clear()
    found[name + ": estimate"] = solution.estimated_error
    if "LOCAL_RANK" in os.environ:
        assert solution.status.code != "interrupted", solution.status
for name, (problem, method, text) in {
    "one field": (interval(straight), ps.LeastSquares(), "one factorisation is not split"),
    "few shots": (interval(lambda u: u.diff(x, 2) - ps.SourceFamily([x, x**2]), 2), ps.LeastSquares(), "64 or more are split"),
    "march": (interval(straight), ps.StretchedLeastSquares(), "nothing of it is split"),
}.items():
    try:
        ps.solve(problem, method=method, seconds=20, progress=False)
        message = ""
    except ps.TrainingError as error:
        message = str(error)
    found["refused: " + name] = text in message and "Start it without torchrun" in message
np.savez(f"{sys.argv[1]}/{os.environ.get('WORLD_SIZE', 1)}_{rank}.npz", **found)
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory, launch):
    folder = tmp_path_factory.mktemp("split")
    for processes in (1, 2):
        done = launch(SCRIPT, folder, processes=processes, restarts=2)
        assert done.returncode == 0, done.stderr
    return [dict(np.load(folder / f"{name}.npz")) for name in ("1_0", "2_0", "2_1")]


def test_every_process_has_the_result_of_one(results):
    alone, first, second = results
    cases = [name for name in alone if not name.startswith(("refused", "work"))]
    assert len(cases) == 24
    for name in cases:
        assert np.array_equal(first[name], second[name]), name
        allowed = ROUNDING * np.max(np.abs(alone[name])) + FIELD_ROUNDING
        np.testing.assert_allclose(first[name], alone[name], rtol=0, atol=allowed, err_msg=name)
    assert alone["shots"].shape == (66, 9)


def test_what_is_not_split_is_refused_and_runs_alone(results):
    alone, first, second = results
    for name in (name for name in alone if name.startswith("refused")):
        assert not alone[name] and first[name] and second[name], name


def test_points_tiles_and_shots_are_split(results):
    alone, first, second = results
    work = [name for name in alone if name.startswith("work")]
    parts = {name.rpartition(" ")[2] for name in work}
    assert parts == {"loss", "jacobian", "solve", "solve_rows", "gram", "product"} and len(work) > 11
    for name in work:
        assert 0 < first[name] < SPLIT * alone[name] and 0 < second[name] < SPLIT * alone[name], (name, first[name], second[name], alone[name])
