"""Surveys in time that are declared: numbers that cannot be right, other forms and what the user is told of them, traces in any order."""

import re
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

import pinnsiren as ps
from pinnsiren.compiler.helmholtz_twin import helmholtz_twin
from pinnsiren.compiler.time_transform import wavelet_spectrum
from pinnsiren.errors import CompileError, ProblemError
from pinnsiren.language.wave_surveys import is_wave_inversion, read_wave_survey
from pinnsiren.problems import load

PEAK = 2.0


def ricker(t, frequency=PEAK):
    a = (np.pi * frequency * (np.asarray(t) - 1.5 / frequency)) ** 2
    return (1 - 2 * a) * np.exp(-a)


def small():
    return load("fwi_wave_time", discs=(((0.05, -0.03), 0.12, 1.3),), frequency=1.2, end=3.2, samples=81, sources=4, receivers=12)


# -- what is refused ------------------------------------------------------------------------------------------------------------------------------


def declared(wavelet=None, points=None, values=None, conditions=(), scale=1.0, speed=1.0, at=(0.3, 0.0), **more):
    """Declare a survey of one shot and twelve receivers without data worth a solution."""
    x, y, t = ps.coordinates("x y t")
    u, m = ps.field("u", x, y, t), ps.unknown_field("m", x, y, initial=speed**-2, bounds=(0.05 * speed**-2, 3 * speed**-2))
    angle, instants = np.arange(12) * np.pi / 6, np.linspace(0, 3 * scale, 121)
    heard = 0.45 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    if points is None:
        points = np.column_stack([np.repeat(heard, 121, axis=0), np.tile(instants, 12)])
    values = ricker(points[:, 2] / scale - 0.4) if values is None else values
    sent = ps.RickerWavelet(t, PEAK / scale) if wavelet is None else wavelet(t)
    source = sent * ps.GaussianSource(at={x: at[0], y: at[1]}, variance=1e-4)
    rest = [ps.InitialCondition(u, 0), ps.InitialCondition(u.diff(t), 0)]
    return ps.Problem(
        name="survey", fields=[u], domain=ps.SpaceTime(ps.Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}), {t: (0, 3 * scale)}),
        equations=[sp.Eq(m * u.diff(t, 2) - ps.laplacian(u), source)],
        conditions=[*rest, ps.Observations(u, points, values, **{"noise": 0.02, **more}), *[make(u, x, y) for make in conditions]],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"wavelet": lambda t: ps.RickerWavelet(t, PEAK, 0.1)}, "at rest"),
        ({"wavelet": lambda t: ps.RickerWavelet(t, PEAK, 9)}, "zero at all instants"),
        ({"wavelet": lambda t: ps.RickerWavelet(t, 30)}, "two samples per period|sampled every"),
        ({"wavelet": lambda t: ps.RickerWavelet(t, 2000)}, "milliseconds"),
        ({"scale": 1000.0}, "milliseconds"),
        ({"at": (0.45, 0.0)}, "coincide with a source"),
        ({"wavelet": lambda t: sp.exp(-(((t - 0.5) / 0.1) ** 2))}, "they have a mean"),
        ({"values": np.zeros(12 * 121)}, "nothing but zeros"),
        ({"values": np.zeros(12 * 121), "noise": None}, "nothing but zeros"),
        ({"speed": 1e-3}, "look like km/s"),
        ({"speed": 1e3}, "look like kilometres"),
    ],
    ids=[
        "begun", "silent", "coarse", "samples in milliseconds", "all in milliseconds", "receiver on the source", "a pulse with a mean",
        "no waves", "no waves, no noise", "km/s", "km",
    ],
)
def test_numbers_that_cannot_be_right_are_named(broken, message):
    with pytest.raises(ProblemError, match=message):
        helmholtz_twin(declared(**broken))


def test_records_that_begin_late_are_named():
    late = np.column_stack([np.full((40, 2), (0.0, 0.45)), np.linspace(1.2, 2.0, 40)])
    with pytest.raises(ProblemError, match="from the first instant on"):
        helmholtz_twin(declared(points=late))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"conditions": [lambda u, x, y: ps.Dirichlet(u, 0, on="x-")]}, "free space on all four faces"),
        ({"weights": np.ones(12 * 121)}, "weights"),
        ({"points": np.random.default_rng(0).uniform((-0.4, -0.4, 0), (0.4, 0.4, 3), (200, 3))}, "at every receiver"),
        ({"wavelet": lambda t: 1 + 0 * t}, "all is at rest"),
    ],
    ids=["wall", "weights", "scattered", "constant"],
)
def test_other_forms_are_refused_with_the_reason(broken, message):
    with pytest.raises((CompileError, ProblemError), match=message):
        helmholtz_twin(declared(**broken))


def of_other_equation(change):
    problem = declared()
    (u,), (m,), t = problem.fields, problem.coefficients, problem.domain.time
    return problem.rewritten(equations=[change(problem.equations[0], u, m, t)], conditions=problem.conditions)


def on_a_line():
    x, t = ps.coordinates("x t")
    u, m = ps.field("u", x, t), ps.unknown_field("m", x, initial=1, bounds=(0.1, 3))
    points = np.column_stack([np.repeat([-0.4, 0.4], 60), np.tile(np.linspace(0, 3, 60), 2)])
    source = ps.RickerWavelet(t, PEAK) * ps.GaussianSource(at={x: 0.1}, variance=1e-3)
    return ps.Problem(
        name="line", fields=[u], domain=ps.SpaceTime(ps.Interval({x: (-0.5, 0.5)}), {t: (0, 3)}),
        equations=[sp.Eq(m * u.diff(t, 2) - u.diff(x, 2), source)],
        conditions=[ps.InitialCondition(u, 0), ps.InitialCondition(u.diff(t), 0), ps.Observations(u, points, ricker(points[:, 1] - 0.4), noise=0.02)],
    )  # fmt: skip


def without_a_start():
    problem = declared()
    kept = [c for c in problem.conditions if not (isinstance(c, ps.InitialCondition) and c.time_order == 1)]
    return problem.rewritten(equations=problem.equations, conditions=kept)


MISSED = {
    "wall": (lambda: declared(conditions=[lambda u, x, y: ps.Dirichlet(u, 0, on="x-")]), "free space on all four faces.*leave it out"),
    "no rest": (without_a_start, r"add InitialCondition\(u, 0\) and InitialCondition\(u.diff\(t\), 0\)"),
    "receivers that move": (
        lambda: declared(points=np.random.default_rng(0).uniform((-0.4, -0.4, 0), (0.4, 0.4, 3), (200, 3))), "each place as a trace of its own"
    ),
    "one dimension": (on_a_line, "on Interval, 1-dimensional.*Box of two coordinates"),
    "damping": (lambda: of_other_equation(lambda e, u, m, t: e + u.diff(t)), "beside the second derivative in time alone"),
    "a speed": (lambda: of_other_equation(lambda e, u, m, t: u.diff(t, 2) - m**2 * ps.laplacian(u) - ricker_source(u)), "m = 1/c..2 instead"),
}  # fmt: skip


def ricker_source(u):
    x, y, t = u.args
    return ps.RickerWavelet(t, PEAK) * ps.GaussianSource(at={x: 0.3, y: 0}, variance=1e-4)


@pytest.mark.filterwarnings("ignore:field `u`.*stand in for it")
@pytest.mark.parametrize("case", MISSED)
def test_a_plan_says_why_waves_were_not_inverted_per_frequency_and_what_to_change(case):
    build, message = MISSED[case]
    made = ps.plan(build())
    assert type(made.method).__name__ != "ReducedInversion"
    ((name, reason),) = made.missed
    assert name == "ReducedInversion"
    assert re.search(message, reason)
    assert f"NOT TAKEN   ReducedInversion, which was made for such problems: {reason}" in str(made)


def test_the_status_says_so_too_unless_the_method_was_named(tmp_path):
    problem = on_a_line()
    solution = ps.solve(problem, seconds=0.5, device="cpu", progress=False)
    assert not solution.status.success
    assert "This is the answer of JointLeastSquares; ReducedInversion, which was made for such problems, did not take it" in solution.status.text
    assert "Box of two coordinates" in solution.status.text
    solution.save(tmp_path / "run.h5")
    assert ps.load(tmp_path / "run.h5").plan.missed == solution.plan.missed
    assert ps.plan(problem, method="JointLeastSquares").missed == ()


def test_waves_whose_speed_is_known_are_no_inversion_of_waves():
    x, y, t = ps.coordinates("x y t")
    u, q = ps.field("u", x, y, t), ps.unknown_field("q", x, y, initial=1, bounds=(0.1, 3))
    problem = declared()
    points = problem.conditions[2].points
    other = ps.Problem(
        name="potential", fields=[u], domain=ps.SpaceTime(ps.Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}), {t: (0, 3)}),
        equations=[u.diff(t, 2) - ps.laplacian(u) + q * u],
        conditions=[ps.InitialCondition(u, 0), ps.InitialCondition(u.diff(t), 0), ps.Observations(u, points, ricker(points[:, 2]), noise=0.02)],
    )  # fmt: skip
    assert not is_wave_inversion(other)
    assert is_wave_inversion(problem)


def test_every_shot_may_have_its_own_wavelet():
    problem = small()
    sources = sp.sympify(problem.equations[0]).atoms(ps.SourceFamily).pop().args
    others = ps.SourceFamily([2 * sources[0], *sources[1:3], sources[3].replace(ps.RickerWavelet, lambda t, f, d: ps.RickerWavelet(t, 0.8 * f))])
    equation = problem.equations[0].xreplace({ps.SourceFamily(*sources): others})
    twin = helmholtz_twin(problem.rewritten(equations=[equation], conditions=problem.conditions))
    lit = [source.atoms(ps.GaussianSource).pop() for source in twin.problem.equations[1].atoms(ps.SourceFamily).pop().args]
    amplitudes = [complex(source.amplitude) for source in lit]
    s = np.array([twin.sigma + 2j * np.pi * twin.frequencies[1]])
    expected = -wavelet_spectrum(lambda t: ricker(t, 0.96)[None], 3.2, "test").at(s)[0, 0]
    assert abs(amplitudes[0] - 2 * amplitudes[1]) < 1e-9 * abs(amplitudes[0])
    assert abs(amplitudes[3] - expected) < 1e-6 * abs(expected)


def test_gathers_in_metres_and_seconds_become_observations():
    problem, survey = small(), read_wave_survey(small())
    scaling = ps.seismic.Scaling(length=1000.0, speed=2000.0)
    instants = survey.traces[0].instants[0]
    gathers = ps.seismic.TimeGathers(
        survey.traces[0].values, float(scaling.seconds(instants[1])), scaling.metres(survey.sources), scaling.metres(survey.traces[0].receivers[0])
    )
    points, values = gathers.observed(scaling)
    (given,) = [c for c in problem.conditions if isinstance(c, ps.Observations)]
    assert np.allclose(points, given.points, rtol=0, atol=1e-12)
    assert np.array_equal(values, given.values)
    assert np.allclose(gathers.observed()[0] * (1e-3, 1e-3, 2), points)


def test_traces_are_sorted_by_receiver_and_time_and_shots_may_differ():
    problem = small()
    survey = read_wave_survey(problem)
    (observed,) = [c for c in problem.conditions if isinstance(c, ps.Observations)]
    order = np.random.default_rng(6).permutation(len(observed.points))
    mixed = replace(observed, points=np.asarray(observed.points)[order], values=np.asarray(observed.values)[:, order])
    each = np.broadcast_to(mixed.points, (4, *np.shape(mixed.points)))
    for other in (mixed, replace(mixed, points=each)):
        again = read_wave_survey(problem.rewritten(equations=problem.equations, conditions=[*problem.conditions[:3], other]))
        ranks = [np.argmin(np.linalg.norm(again.traces[0].receivers[0] - place, axis=1)) for place in survey.traces[0].receivers[0]]
        assert np.array_equal(again.traces[0].values[:, ranks], survey.traces[0].values)
        assert again.traces[0].shared == (other is mixed)
