"""Budgets are kept: steps that would end too late are given up, by a clock that counts work and not seconds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import pinnsiren as ps
import pinnsiren.training.stretched_least_squares as stretched
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.errors import TrainingError
from pinnsiren.problems import load
from pinnsiren.training.deadline import UNSEEN, Deadline, OutOfTimeError
from pinnsiren.training.front_witness import FrontWitness
from pinnsiren.training.gauss_newton import GaussNewtonRun
from pinnsiren.training.loop import train
from pinnsiren.training.march_clock import SAFETY, SHARES, MarchWatch, largest_share
from pinnsiren.training.method import RunSettings
from pinnsiren.training.network_fronts import with_fronts
from pinnsiren.training.stretched_least_squares import StretchedLeastSquares

UNIT = 1e-7  # seconds of the counted clock per cube of unknowns: the first march of Burgers' layer then takes about ten
ONE_SYSTEM = 1.05  # of the budget: what is checked before a piece of work may err by the cost of that piece


class WorkClock:
    """A clock that only work moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """Every linear system of n unknowns takes n^3 units, and `clock.load` times as much after `clock.slow_after` seconds."""
    clock = WorkClock()
    clock.load, clock.slow_after = 1.0, np.inf
    before = MarchWatch.before_system

    def counted(watch, n_unknowns):
        before(watch, n_unknowns)
        clock.now += UNIT * n_unknowns**3 * (clock.load if clock.now >= clock.slow_after else 1.0)

    monkeypatch.setattr(stretched.MarchWatch, "before_system", counted)
    return clock


def settings(clock, seconds, tolerance=1e-9, refine=False):
    return RunSettings(0, tolerance, refine, seconds, "cpu", "float64", None, clock)


def marched(clock, seconds, **kind):
    chosen = settings(clock, seconds, **kind)
    run = StretchedLeastSquares().start(compile_problem(load("burgers", viscosity=0.05, duration=0.5)), chosen)
    return run, train(run, chosen)


@pytest.fixture(scope="module")
def costs():
    """Seconds of the counted clock after one, two and three marches."""
    clock, spent = WorkClock(), []
    before = MarchWatch.before_system

    def counted(watch, n_unknowns):
        before(watch, n_unknowns)
        clock.now += UNIT * n_unknowns**3

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretched.MarchWatch, "before_system", counted)
        run = StretchedLeastSquares().start(compile_problem(load("burgers", viscosity=0.05, duration=0.5)), settings(clock, 1e9))
        for _ in range(3):
            run.step()
            spent.append(clock.now)
    return spent


def test_a_march_that_would_end_too_late_is_given_up_and_the_last_one_stands(clock, costs):
    """After two marches the machine becomes twenty times slower: no prediction foresees it, the march itself notices."""
    clock.load, clock.slow_after = 20.0, costs[1]
    budget = costs[2] * 1.2
    run, record = marched(clock, budget)
    assert record.status.code == "out_of_time" and "Raise seconds" in record.status.text
    assert clock.now < ONE_SYSTEM * budget
    assert run.level == len(record.history["size"]) == 2
    again = StretchedLeastSquares().start(run.compiled, settings(WorkClock(), 1e9))
    again.step()
    again.step()
    assert np.array_equal(run.model().evaluate(0, np.full((1, 2), 0.1), (0, 0)), again.model().evaluate(0, np.full((1, 2), 0.1), (0, 0)))
    run.deadline.allow(np.inf)
    run.share = 1.0
    assert run.step() == again.step(), "a march that was given up leaves nothing behind"


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95, 1.3])
def test_no_budget_is_overrun(clock, costs, share):
    """Whatever part of three marches is paid for, from less than the second to more than the third."""
    budget = share * costs[2]
    run, record = marched(clock, budget)
    assert clock.now < ONE_SYSTEM * max(budget, costs[0])
    assert record.status.code == "out_of_time"
    assert run.error_estimate() > 1e-9


def test_a_met_tolerance_stays_met_when_a_further_march_is_given_up(clock, costs):
    clock.load, clock.slow_after = 20.0, costs[1]
    run, record = marched(clock, 3 * costs[2], tolerance=1e-2, refine=True)
    assert record.status.code == "success" and run.level == 2
    assert clock.now < 3 * ONE_SYSTEM * costs[2]


def test_a_march_that_does_not_fit_refines_less(clock, costs):
    """Two thirds of a refinement fit where a whole one does not: the estimate falls, and the budget holds."""
    third = costs[2] - costs[1]
    estimates = {}
    for name, budget in (("two", 1.2 * costs[1]), ("part", costs[1] + 0.3 * third), ("three", costs[1] + 1.2 * third)):
        clock.now = 0.0
        run, _ = marched(clock, budget)
        estimates[name] = run.error_estimate()
        assert clock.now < ONE_SYSTEM * budget
    assert estimates["three"] < 0.7 * estimates["part"] and estimates["part"] < 0.5 * estimates["two"]


def test_the_first_march_that_is_given_up_is_an_error_with_a_remedy(clock, costs):
    chosen = settings(clock, 1e9)
    run = StretchedLeastSquares().start(compile_problem(load("burgers", viscosity=0.05, duration=0.5)), chosen)
    run.deadline.allow(0.5 * costs[0])
    with pytest.raises(TrainingError, match="before its first step was done.*Raise seconds"):
        train(run, chosen)
    assert clock.now < ONE_SYSTEM * costs[0]


def test_a_march_is_given_up_as_soon_as_its_first_windows_show_that_it_cannot_end():
    clock = WorkClock()
    deadline = Deadline(clock)
    deadline.allow(10.0)
    watch = MarchWatch(deadline, [(0.0, 0.1, 1.0), (0.1, 0.5, 1.0), (0.5, 1.0, 6.0)])
    clock.now = 2.0
    watch.reached(0.1)  # the first window may take twice what was expected
    clock.now = 5.0
    with pytest.raises(OutOfTimeError) as given_up:
        watch.reached(0.5)  # five seconds for two, and six more are expected: they will take 6 * (5 + 4) / (2 + 4)
    assert given_up.value.needed == pytest.approx(14)


def test_a_linear_system_that_would_end_too_late_is_not_begun():
    clock = WorkClock()
    deadline = Deadline(clock)
    deadline.allow(10.0)
    watch = MarchWatch(deadline, [])
    watch.before_system(10)
    clock.now = 1.0
    watch.before_system(20)  # eight times the work
    clock.now = 9.0
    with pytest.raises(OutOfTimeError):
        watch.before_system(20)
    watch.before_system(9)


def test_shares_are_tried_from_the_largest():
    assert largest_share(lambda share: 10 * share, 10 * SAFETY) == SHARES[0]
    assert largest_share(lambda share: 10 * share, 7 * SAFETY) == SHARES[1]
    assert largest_share(lambda share: 10 * share, 1) == 0


class Refused(GaussNewtonRun):
    """Every trial step takes a second and is refused."""

    trials = 0

    def _settle(self):
        self.trials += 1
        self.settings.clock.now += 1.0
        return np.inf


@pytest.mark.parametrize(("seconds", "most", "stuck"), [(3.5, 3, False), (1e9, 40, True)])
def test_trial_steps_of_gauss_newton_look_at_the_clock(seconds, most, stuck):
    clock, chosen = WorkClock(), ps.Siren(width=6, depth=2)
    compiled = compile_problem(load("burgers", viscosity=0.1))
    run = Refused(ps.GaussNewton(points=40), compiled, RunSettings(0, 1e-3, False, seconds, "cpu", "float64", chosen, clock))
    before = run.parameters()
    assert run.stop_reason(0.0) is None
    run.advance()
    assert run.trials <= most and run.stuck is stuck
    assert torch.equal(run.parameters(), before), "a refused step leaves the network as it was"
    if stuck:
        assert run.trials > 7, "so many seconds it would have taken without a clock"


def witness(clock, seconds, allowed):
    network = ps.Siren(width=8, depth=2)
    plan = ps.plan(load("burgers", viscosity=0.02), method="GaussNewton", network=network)
    chosen = RunSettings(0, 1e-3, False, seconds, "cpu", "float64", network, clock)
    compiled = with_fronts(plan, replace(chosen, clock=WorkClock())).compiled
    clock.now, deadline = 0.0, Deadline(clock)
    deadline.allow(allowed)
    return FrontWitness(compiled, chosen, deadline)


def test_a_witness_that_is_cut_short_excludes_nothing(clock):
    seen = witness(clock, 1e9, np.inf)
    both = clock.now
    assert not seen.cut_short and np.isfinite(seen.error)
    none = witness(clock, 1e9, 0.01 * both)
    assert none.cut_short and none.least_error(None) == UNSEEN
    assert clock.now < 0.02 * both
    one = witness(clock, 1e9, 0.6 * both)
    assert not one.cut_short and seen.error < one.error < 0.1
    assert clock.now < ONE_SYSTEM * 0.6 * both


def test_a_network_whose_fronts_were_not_looked_for_is_no_success():
    """A thousandth of a second ends the coarse solve before its first linear system is done."""
    solution = ps.solve(
        load("burgers", viscosity=0.02), network=ps.Siren(width=6, depth=1), method=ps.GaussNewton(points=40, maximum_steps=2),
        tolerance=0.5, seconds=1e-3, device="cpu", progress=False,
    )  # fmt: skip
    assert not solution.status.success and solution.estimated_error >= UNSEEN
    assert "looks for fronts was cut short" in solution.status.text


def test_a_level_of_scalars_that_would_end_too_late_is_given_up(clock):
    """The first level is paid for, and half of the second: the scalar of the first one stands, with no claim of its error."""
    problem = load("burgers_viscosity", viscosity=0.05)
    run = ps.ScalarProfile(scan=3).start(compile_problem(problem), settings(clock, 1e9))
    run.step()
    first, stands, jacobian = clock.now, run.model().unknowns, run.jacobian
    run.step()
    second, answer = clock.now - first, run.model().unknowns
    clock.now = 0.0
    budget = first + 0.5 * second
    chosen = settings(clock, budget)
    run = ps.ScalarProfile(scan=3).start(compile_problem(problem), chosen)
    record = train(run, chosen)
    assert record.status.code == "out_of_time" and len(record.history["nu"]) == run.level == 1
    assert clock.now < ONE_SYSTEM * budget
    assert run.model().unknowns == stands and np.array_equal(run.jacobian, jacobian)
    assert run.error_estimate() == np.inf
    run.deadline.allow(np.inf)
    run.step()
    assert run.model().unknowns == answer, "a level that was given up leaves nothing behind"
