"""Records that change points and weights of a trained run: each helps where it is meant to, and all are reproducible and stored."""

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.errors import ProblemError
from pinnsiren.problems import load
from pinnsiren.training.gauss_newton import GaussNewton
from pinnsiren.training.gradient_methods import LBFGS
from pinnsiren.training.loop import train
from pinnsiren.training.method import RunSettings
from pinnsiren.training.network_schedules import CausalWeighting, ResidualAdaptive, TangentBalance, TimeCurriculum
from pinnsiren.training.records import record_from_tree, record_to_tree

UNBOUNDED = 1e6  # seconds: the clock must not decide what a test sees
SMALL = ps.Siren(width=8, depth=2, omega_0=6.0)
ALL = (TimeCurriculum(stages=2, steps=2), ResidualAdaptive(every=3), TangentBalance(every=4), CausalWeighting())

x, t = ps.coordinates("x t")


def heat(decay=1):
    """u_t = decay u_xx / pi^2 with u = exp(-decay t) sin(pi x)."""
    u = ps.field("u", x, t)
    exact = sp.exp(-decay * t) * sp.sin(sp.pi * x)
    return ps.Problem(
        name="heat", fields=[u], domain=ps.SpaceTime(ps.Interval({x: (0, 1)}), {t: (0, 1)}),
        equations=[sp.Eq(u.diff(t), decay * u.diff(x, 2) / sp.pi**2)],
        conditions=[ps.Dirichlet(u, 0), ps.InitialCondition(u, sp.sin(sp.pi * x))], exact={u: exact},
    )  # fmt: skip


def sloping_front():
    """A front oblique to the axes, narrower than the distance of a hundred points."""
    x, y = ps.coordinates("x y")
    u = ps.field("u", x, y)
    box = ps.Box({x: (-1, 1), y: (-1, 1)})
    bare = ps.Problem(name="front", fields=[u], domain=box, equations=[sp.Eq(ps.laplacian(u), 0)], conditions=[ps.Dirichlet(u, 0)])
    return ps.manufactured(bare, {u: sp.tanh(15 * (x + y / 2 - sp.Rational(3, 10)))})


def reaction():
    """u_t = 20 u (1 - u): satisfied by zero as well, so that late times pull the network away from what starts at one twentieth."""
    u = ps.field("u", x, t)
    first = (1 + sp.cos(sp.pi * x)) / 4 + sp.Rational(1, 20)
    exact = first * sp.exp(20 * t) / (first * sp.exp(20 * t) + 1 - first)
    domain = ps.SpaceTime(ps.Interval({x: (-1, 1)}), {t: (0, 1)})
    equation, start = sp.Eq(u.diff(t), 20 * u * (1 - u)), ps.InitialCondition(u, first)
    return ps.Problem(name="reaction", fields=[u], domain=domain, equations=[equation], conditions=[start], exact={u: exact})


def run_of(problem, method, network=SMALL, seed=0):
    settings = RunSettings(seed, 1e-14, False, UNBOUNDED, "cpu", "float64", network)
    return method.start(compile_problem(problem), settings), settings


def trained(problem, method, network=SMALL, seed=0):
    run, settings = run_of(problem, method, network, seed)
    return run, train(run, settings)


def error(run):
    """Relative L2 error at points that no method uses."""
    problem = run.compiled.original
    points = problem.domain.sample_interior(2000, 4242)
    exact = next(iter(problem.exact.values()))
    values = exact(*points.T) if callable(exact) and not isinstance(exact, sp.Basic) else sp.lambdify(problem.domain.coordinates, exact)(*points.T)
    found = run.model().evaluate(0, points, (0, 0))[:, 0]
    return float(np.linalg.norm(found - values) / np.linalg.norm(values))


def test_points_that_follow_the_residual_resolve_a_front_that_fixed_points_miss():
    network, few = ps.Siren(width=12, depth=2, omega_0=8.0), {"maximum_steps": 60, "points": 100}
    fixed, _ = trained(sloping_front(), GaussNewton(**few), network)
    adaptive, _ = trained(sloping_front(), GaussNewton(**few, schedules=(ResidualAdaptive(every=5, share=0.7),)), network)
    assert error(adaptive) < 0.5 * error(fixed)


@pytest.mark.parametrize("schedule", [TimeCurriculum(stages=8, steps=12, target=3e-2), CausalWeighting()], ids=["curriculum", "causal weights"])
def test_the_order_of_time_leads_to_the_solution_that_starts_where_it_should(schedule):
    network, few = ps.Siren(width=12, depth=2, omega_0=12.0), {"maximum_steps": 60, "points": 400}
    whole, _ = trained(reaction(), GaussNewton(**few), network)
    ordered, _ = trained(reaction(), GaussNewton(**few, schedules=(schedule,)), network)
    assert error(whole) > 0.5
    assert error(ordered) < 0.1


@pytest.mark.parametrize("method", [GaussNewton(maximum_steps=9, schedules=ALL), LBFGS(maximum_steps=9, iterations=3, schedules=ALL)])
def test_the_same_seed_gives_the_same_history_and_another_seed_another(method):
    columns = [trained(heat(), method, seed=seed)[1].history["training_residual"] for seed in (0, 0, 1)]
    assert columns[0] == columns[1]
    assert columns[0] != columns[2]


@pytest.mark.parametrize("schedule", ALL, ids=lambda schedule: type(schedule).__name__)
@pytest.mark.parametrize("kind", [GaussNewton, LBFGS])
def test_a_run_that_is_resumed_from_its_state_goes_on_as_if_it_had_not_stopped(kind, schedule):
    options = {} if kind is GaussNewton else {"iterations": 3}
    method = kind(maximum_steps=9, schedules=(schedule,), **options)
    whole, _ = run_of(heat(), method)
    expected = [whole.step()["training_residual"] for _ in range(9)]
    first, _ = run_of(heat(), method)
    for _ in range(5):
        first.step()
    second, _ = run_of(heat(), method)
    second.restore(first.state())
    assert [second.step()["training_residual"] for _ in range(4)] == expected[5:]


@pytest.mark.parametrize("schedule", ALL, ids=lambda schedule: type(schedule).__name__)
def test_schedules_are_stored_with_their_method(schedule):
    method = GaussNewton(schedules=(schedule,))
    assert record_from_tree(record_to_tree(method)) == method


def test_plans_name_the_schedules():
    text = str(ps.plan(heat(), method=ps.GaussNewton(schedules=(ps.ResidualAdaptive(), ps.CausalWeighting()))))
    assert "ResidualAdaptive(every=10" in text and "CausalWeighting(bins=16" in text


def test_records_of_time_refuse_problems_without_one():
    with pytest.raises(ps.CompileError, match="TimeCurriculum orders the points by time"):
        ps.plan(load("poisson_box"), method=ps.GaussNewton(schedules=(ps.TimeCurriculum(),)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ResidualAdaptive(share=1.5), "share=1.5; expected a number between 0 and 1"),
        (lambda: TimeCurriculum(stages=0), "stages=0; expected a positive number"),
        (lambda: GaussNewton(schedules=("causal",)), "expected records of ResidualAdaptive"),
        (lambda: GaussNewton(schedules=(CausalWeighting(), CausalWeighting(bins=3))), "two schedules of one kind"),
    ],
)
def test_wrong_settings_are_refused_in_words(make, words):
    with pytest.raises(ProblemError, match=words):
        make()
