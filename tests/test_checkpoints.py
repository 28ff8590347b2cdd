"""Checkpoints: a run that was stopped continues as if it had not been, and nobody else's checkpoint is taken."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import sympy as sp

from pinnsiren import plan, solve
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.errors import StorageError, TrainingError
from pinnsiren.language import Dirichlet, Interval, Observations, Problem, coordinates, field, unknown
from pinnsiren.networks import Siren
from pinnsiren.training.checkpoint import fingerprint, read_checkpoint
from pinnsiren.training.gauss_newton import GaussNewton
from pinnsiren.training.gradient_methods import LBFGS, Adam
from pinnsiren.training.least_squares import LeastSquares
from pinnsiren.training.loop import train
from pinnsiren.training.method import RunSettings
from pinnsiren.training.stages import Stages

STOP_AFTER = 4  # steps before the key is pressed
UNBOUNDED = 1e6  # seconds: the clock must not decide what a test sees
SMALL = Siren(width=8, depth=2)

x = coordinates("x")

METHODS = {
    "LeastSquares": LeastSquares(features=10, growth=1.3, maximum_features=60),
    "GaussNewton": GaussNewton(maximum_steps=9),
    "GaussNewton without elimination": GaussNewton(maximum_steps=9, eliminate=False),
    "LBFGS": LBFGS(maximum_steps=9, iterations=5, history=7),
    "LBFGS without elimination": LBFGS(maximum_steps=9, iterations=5, eliminate=False),
    "Adam": Adam(points=50, maximum_steps=9, iterations=5),
    "Stages": Stages((Adam(points=50, maximum_steps=2, iterations=5), LBFGS(maximum_steps=4, iterations=5), GaussNewton(maximum_steps=4))),
}


def reaction(coefficient=None, name="reaction"):
    """u'' + q u = 0 with u = sin(3 x), q = 9 given or found from observations."""
    u = field("u", x)
    q = sp.Integer(9) if coefficient is None else coefficient
    points = np.linspace(0.1, 0.9, 9)[:, None]
    observed = [] if coefficient is None else [Observations(u, points, np.sin(3 * points[:, 0]))]
    conditions = [Dirichlet(u, sp.sin(3 * x)), *observed]
    return Problem(name=name, fields=[u], domain=Interval({x: (0, 1)}), equations=[u.diff(x, 2) + q * u], conditions=conditions)


def start(method, problem=None, seed=0):
    settings = RunSettings(seed, 1e-14, False, UNBOUNDED, "cpu", "float64", SMALL if method.trains_network else None)
    return method.start(compile_problem(problem or reaction()), settings), settings


def press_after(steps):
    """A progress callback that presses Ctrl-C after some steps."""
    seen = []

    def callback(numbers, elapsed, seconds):
        seen.append(numbers)
        if len(seen) == steps:
            raise KeyboardInterrupt

    return callback


def values(run):
    return run.model().evaluate(0, np.linspace(0, 1, 31)[:, None], (0,)), run.model().unknowns


def assert_same_history(found, expected):
    """The run itself is repeated bit for bit; the estimate factorises a matrix, whose rounding depends on where memory happens to lie."""
    assert found.keys() == expected.keys()
    for name, column in expected.items():
        if name == "estimated_error":
            np.testing.assert_allclose(found[name], column, rtol=1e-6)
        else:
            assert found[name] == column, name


def assert_same(resumed, whole):
    (first, first_unknowns), (second, second_unknowns) = values(resumed), values(whole)
    assert np.array_equal(first, second) and first_unknowns == second_unknowns


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("stop_after", [1, STOP_AFTER])
def test_a_stopped_run_continues_as_if_it_had_not_been_stopped(name, stop_after, tmp_path):
    method, path = METHODS[name], tmp_path / "run.h5"
    whole, settings = start(method)
    record = train(whole, settings)
    stopped, _ = start(method)
    interrupted = train(stopped, settings, press_after(stop_after), path)
    assert interrupted.status.code == "interrupted" and "stopped from the keyboard" in interrupted.status.text
    assert len(interrupted.history["fresh_residual"]) == stop_after
    resumed, _ = start(method)
    continued = train(resumed, settings, checkpoint=path)
    assert continued.history == record.history
    assert continued.status.code == record.status.code
    assert_same(resumed, whole)


@pytest.mark.parametrize(
    "method", [GaussNewton(maximum_steps=8), LBFGS(maximum_steps=8, iterations=4), Adam(points=50, maximum_steps=8, iterations=5)]
)
def test_an_unknown_scalar_is_kept(method, tmp_path):
    problem = reaction(unknown("q", 2.0, bounds=(0.5, 20)))
    whole, settings = start(method, problem)
    record = train(whole, settings)
    stopped, _ = start(method, problem)
    train(stopped, settings, press_after(3), tmp_path / "run.h5")
    resumed, _ = start(method, problem)
    assert_same_history(train(resumed, settings, checkpoint=tmp_path / "run.h5").history, record.history)
    assert_same(resumed, whole)


def interrupt_inside(run, steps):
    """Press Ctrl-C in the middle of a step, when parameters have moved already."""
    inner = run.run if hasattr(run, "run") else run
    original = inner.advance if hasattr(inner, "advance") else inner.step
    calls = []

    def cut_short():
        result = original()
        calls.append(result)
        if len(calls) == steps + 1:
            raise KeyboardInterrupt
        return result

    setattr(inner, "advance" if hasattr(inner, "advance") else "step", cut_short)


@pytest.mark.parametrize("name", ["LeastSquares", "GaussNewton", "LBFGS", "Adam"])
def test_a_step_that_was_cut_short_is_taken_again(name, tmp_path):
    method, path = METHODS[name], tmp_path / "run.h5"
    whole, settings = start(method)
    record = train(whole, settings)
    stopped, _ = start(method)
    interrupt_inside(stopped, 3)
    interrupted = train(stopped, settings, checkpoint=path)
    assert interrupted.status.code == "interrupted" and len(interrupted.history["fresh_residual"]) == 3
    resumed, _ = start(method)
    assert train(resumed, settings, checkpoint=path).history == record.history
    assert_same(resumed, whole)


def test_the_model_after_an_interrupted_step_is_that_of_the_last_finished_one():
    method = METHODS["LBFGS"]
    finished, settings = start(method)
    train(finished, settings, press_after(3))
    stopped, _ = start(method)
    interrupt_inside(stopped, 3)
    train(stopped, settings)
    assert_same(stopped, finished)


def test_an_interrupt_before_the_first_step_says_that_there_is_nothing_yet():
    run, settings = start(METHODS["GaussNewton"])
    interrupt_inside(run, 0)
    with pytest.raises(TrainingError, match="before its first step was done. interrupted"):
        train(run, settings)


def test_checkpoints_are_written_at_the_cadence_that_was_asked_for(tmp_path):
    written = []

    def look(numbers, elapsed, seconds):
        written.append((tmp_path / "often.h5").exists())

    run, settings = start(METHODS["GaussNewton"])
    train(run, settings, look, tmp_path / "often.h5", checkpoint_seconds=0.0)
    assert all(written) and len(written) == 9
    seldom, _ = start(METHODS["GaussNewton"])
    train(seldom, settings, lambda *_: written.append((tmp_path / "seldom.h5").exists()), tmp_path / "seldom.h5", checkpoint_seconds=UNBOUNDED)
    assert not any(written[9:]) and (tmp_path / "seldom.h5").exists()


ENDLESS = """
import sys
sys.path.insert(0, {folder!r})
import test_checkpoints as t
method = t.LBFGS(iterations=5)
run, settings = t.start(method)
t.train(run, settings, lambda *_: print("step", flush=True), {path!r}, checkpoint_seconds=0.0)
"""


def test_a_killed_process_leaves_a_checkpoint_from_which_the_run_continues(tmp_path):
    path = tmp_path / "run.h5"
    script = ENDLESS.format(folder=str(__file__).rsplit("/", 1)[0], path=str(path))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    deadline = time.monotonic() + 60
    for _ in range(8):
        assert process.stdout.readline().startswith("step") and time.monotonic() < deadline
    process.kill()
    process.wait()
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL
    found = read_checkpoint(path, {})
    assert found is not None
    n_steps = len(found[1]["fresh_residual"])
    assert n_steps >= 7
    resumed, settings = start(LBFGS(iterations=5))
    continued = train(resumed, settings, press_after(2), path)
    whole, _ = start(LBFGS(iterations=5))
    assert continued.history == train(whole, settings, press_after(n_steps + 2)).history
    assert_same(resumed, whole)


def test_a_finished_run_is_not_taken_further(tmp_path):
    run, settings = start(METHODS["GaussNewton"])
    record = train(run, settings, checkpoint=tmp_path / "run.h5")
    again, _ = start(METHODS["GaussNewton"])
    assert train(again, settings, checkpoint=tmp_path / "run.h5").history == record.history
    assert_same(again, run)


def test_seconds_of_earlier_sessions_count(tmp_path):
    run, settings = start(METHODS["Adam"])
    first = train(run, settings, press_after(2), tmp_path / "run.h5")
    again, _ = start(METHODS["Adam"])
    assert train(again, settings, press_after(1), tmp_path / "run.h5").seconds > first.seconds


def prints(**changed):
    return fingerprint(**{"declaration": "a" * 300, "method": METHODS["Adam"], "network": SMALL, "seed": 0, **changed})


@pytest.mark.parametrize(
    ("part", "other"), [("declaration", "b" * 300), ("method", METHODS["LBFGS"]), ("network", Siren(width=9, depth=2)), ("seed", 1)]
)
def test_a_checkpoint_of_another_run_is_refused_by_what_differs(part, other, tmp_path):
    run, settings = start(METHODS["Adam"])
    train(run, settings, press_after(2), tmp_path / "run.h5", prints())
    fresh, _ = start(METHODS["Adam"])
    with pytest.raises(TrainingError, match=f"belongs to another run: {part} differs. Use the settings of that run"):
        train(fresh, settings, checkpoint=tmp_path / "run.h5", prints=prints(**{part: other}))


def test_everything_that_differs_is_named(tmp_path):
    run, settings = start(METHODS["Adam"])
    train(run, settings, press_after(2), tmp_path / "run.h5", prints())
    with pytest.raises(TrainingError, match="method, seed differ. Use"):
        read_checkpoint(tmp_path / "run.h5", prints(method=LBFGS(), seed=7))


def test_solve_refuses_the_checkpoint_of_another_declaration_method_network_or_seed(tmp_path):
    path, problem = tmp_path / "run.h5", reaction()
    method = Adam(points=50, iterations=2, maximum_steps=2)
    options = {"method": method, "network": SMALL, "seconds": 600.0, "checkpoint": path, "progress": False}
    solve(problem, **options)
    for changed, named in [
        ({"seed": 1}, "seed differs"),
        ({"network": Siren(width=9, depth=2)}, "network differs"),
        ({"method": Adam(points=50, iterations=2, maximum_steps=3)}, "method differs"),
        ({"precision": "float32"}, "precision differs"),
    ]:
        with pytest.raises(TrainingError, match=named):
            solve(problem, **{**options, **changed})
    with pytest.raises(TrainingError, match="declaration differs"):
        solve(reaction(sp.Integer(8)), **options)
    continued = solve(problem, **options)
    assert len(continued.history) == 2
    assert plan(problem, method=method, network=SMALL).network == SMALL


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.h5"
    run, settings = start(METHODS["Adam"])
    train(run, settings, press_after(2), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    fresh, _ = start(METHODS["Adam"])
    with pytest.raises(StorageError):
        train(fresh, settings, checkpoint=path)
