"""Charts and spectra: derivatives of features against SymPy, level sets of declared jumps, frequencies within their band."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import sympy as sp

from pinnsiren.charts import (
    AbstractSpectrum,
    bandwidth_for_features,
    compile_jets,
    draw_frequencies,
    features_for_bandwidth,
    find_scales,
    level_sets,
    spectrum_from_tree,
    spectrum_to_tree,
)
from pinnsiren.charts.expansion import build_basis
from pinnsiren.charts.spectra import Frequencies
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.ir import Chart
from pinnsiren.language import (
    PML,
    Box,
    Dirichlet,
    GaussianSource,
    InitialCondition,
    Problem,
    SourceFamily,
    SpaceTime,
    coordinates,
    div,
    field,
    grad,
    laplacian,
)
from pinnsiren.language.heads import PositivePart
from pinnsiren.language.numeric import evaluate_on, evaluator
from pinnsiren.problems import load
from pinnsiren.training.feature_model import FeatureModel, build_bases, draw_all

ROUNDING = 1e-11  # relative to the largest value of the derivative: products of up to four frequencies
LATTICE_SHARE = 0.15  # Landau's count against the lattice of a finite box: the boundary of the ball is a few per cent of it
SECOND = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
HIGHER = [(3, 0), (2, 1), (4, 0), (2, 2), (1, 3)]

x, y, z, t = coordinates("x y z t")
BOX = (x / 2 - 0.1, y * 3)


def chart(coordinates_, window=1, decays=()):
    return Chart(name="c", reason="test", coordinates=coordinates_, window=window, half_lengths=(1.0,) * len(coordinates_), decays=decays)


CHARTS = {
    "box": (chart(BOX), 1),
    "box behind an envelope": (chart(BOX), (1 - x) * (y + 1)),
    "layer": (chart(BOX, decays=(PositivePart(x - 0.2) ** 3 * 2, PositivePart(-y - 0.1) ** 3 + PositivePart(y - 0.1) ** 3)), 1),
    "window": (chart(((x - 0.1) / 0.3, (y - 0.2) / 0.3), sp.exp(-((x - 0.1) ** 2 + (y - 0.2) ** 2) / (2 * 0.09))), 1),
    "kink of power 1": (chart(BOX, PositivePart(0.3 - x**2 - y**2)), 1),
    "kink of power 2": (chart(BOX, PositivePart(0.3 - x**2 - y**2) ** 2), (1 - x)),
}


def feature_columns(spec, frequencies, envelope):
    """Sine and cosine features of a chart as SymPy expressions, in the order of the columns."""
    columns = []
    for function in (sp.sin, sp.cos):
        for wave, rate, phase in zip(frequencies.waves, frequencies.rates, frequencies.phases, strict=True):
            theta = sp.Add(*[float(w) * c for w, c in zip(wave, spec.coordinates, strict=True)]) + float(phase)
            decay = sp.exp(-sp.Add(*[float(a) * d for a, d in zip(rate, spec.decays, strict=True)]))
            columns.append(envelope * spec.window * decay * function(theta))
    return columns


@pytest.mark.parametrize("name", CHARTS)
def test_derivatives_of_features_agree_with_sympy(name):
    spec, envelope = CHARTS[name]
    frequencies = draw_frequencies(6, 2, 4.0, seed=1, n_decays=len(spec.decays), decay_range=2.0)
    orders = [*SECOND, *(HIGHER if name in ("box", "window", "box behind an envelope") else ())]
    basis = build_basis([spec], [frequencies], sp.sympify(envelope), (x, y), orders)
    columns = feature_columns(spec, frequencies, envelope)
    points = np.random.default_rng(2).uniform(-0.8, 0.8, (40, 2))
    for first, second in orders:
        derivatives = [column.diff(x, first) if first else column for column in columns]
        derivatives = [derivative.diff(y, second) if second else derivative for derivative in derivatives]
        wanted = np.stack(evaluator(derivatives, (x, y))(points), axis=1)
        found = basis.matrix(points, {(first, second): np.ones(len(points))})
        np.testing.assert_allclose(found, wanted, rtol=0, atol=ROUNDING * np.max(np.abs(wanted)), err_msg=f"{name} {first, second}")


@pytest.mark.parametrize("name", ["layer", "kink of power 1", "kink of power 2"])
def test_derivatives_of_kinked_features_agree_with_differences_off_the_kink(name):
    spec, envelope = CHARTS[name]
    frequencies = draw_frequencies(6, 2, 4.0, seed=1, n_decays=len(spec.decays), decay_range=2.0)
    basis = build_basis([spec], [frequencies], sp.sympify(envelope), (x, y), SECOND)
    points = np.array([[0.31, -0.23], [0.05, 0.02], [-0.3, 0.33]])
    step, one = 1e-3, np.ones(3)
    for lower, higher, axis in [((0, 0), (1, 0), 0), ((1, 0), (2, 0), 0), ((0, 1), (1, 1), 0), ((0, 1), (0, 2), 1)]:
        shift = step * np.eye(2)[axis]
        values = [basis.matrix(points + j * shift, {lower: one}) for j in (-2, -1, 1, 2)]
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        exact = basis.matrix(points, {higher: one})
        # Fourth-order differences of features of bandwidth 12 per unit: (12 step)^4 is 2e-8.
        np.testing.assert_allclose(slope, exact, rtol=0, atol=1e-6 * (1 + np.max(np.abs(exact))))


def test_the_first_power_leaves_a_kink_and_the_second_a_jump_of_the_second_derivative():
    inside, outside = np.array([[0.5 - 1e-9, 0.0]]), np.array([[0.5 + 1e-9, 0.0]])
    one = np.ones(1)
    still = Frequencies(np.zeros((1, 2)), np.zeros((1, 0)), np.array([np.pi / 2]))
    for power, jumping, smooth in ((1, (1, 0), (0, 0)), (2, (2, 0), (1, 0))):
        basis = build_basis([chart(BOX, PositivePart(0.25 - x**2 - y**2) ** power)], [still], sp.Integer(1), (x, y), SECOND)

        def jump(orders, basis=basis):
            return float(np.max(np.abs(basis.matrix(inside, {orders: one}) - basis.matrix(outside, {orders: one}))))

        # The slope of the level set at the rim is 2 * 0.5 = 1: jumps 1 and 2 * 1^2.
        assert jump(smooth) < 1e-8 and jump(jumping) == pytest.approx(power, rel=1e-6)


def test_an_operator_is_the_weighted_sum_of_derivatives():
    spec, envelope = CHARTS["window"]
    frequencies = draw_frequencies(10, 2, 3.0, seed=4)
    basis = build_basis([spec], [frequencies], sp.sympify(envelope), (x, y), SECOND)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 2))
    weights = {(2, 0): np.ones(20), (0, 2): 1 + points[:, 0], (1, 0): 1j * points[:, 1], (0, 0): np.full(20, 9.0)}
    together = basis.matrix(points, weights)
    apart = sum(weight[:, None] * basis.matrix(points, {orders: np.ones(20)}) for orders, weight in weights.items())
    np.testing.assert_allclose(together, apart, rtol=0, atol=ROUNDING * np.max(np.abs(apart)))


def test_polynomials_of_the_plain_box_are_single_monomials():
    jets = compile_jets(chart((x, y)), sp.Integer(1), (x, y), SECOND)
    assert [len(jets.polynomials[orders]) for orders in SECOND] == [1] * len(SECOND)


LEVEL_SETS = [
    ((x < 0.3), [x - 0.3]),
    (sp.And(x > 0, y > 0.1), [x, y - 0.1]),
    (sp.Or(x > 0.4, y < -0.4), [x - 0.4, y + 0.4]),
    (sp.Not(x**2 + y**2 < 0.04), [x**2 + y**2 - 0.04]),
    (sp.Abs(x) < 0.3, [x - 0.3, x + 0.3]),
    (sp.And(sp.Abs(x) < 0.3, sp.Abs(y) < 0.2), [x - 0.3, x + 0.3, y - 0.2, y + 0.2]),
    (sp.sqrt((x - 0.1) ** 2 + y**2) < 0.2, [(x - 0.1) ** 2 + y**2 - 0.04]),
    (sp.Abs(x) + sp.Abs(y) < 0.3, [0.3 - x - y, 0.3 + x - y, 0.3 - x + y, 0.3 + x + y]),
    (sp.Max(sp.Abs(x - 0.1), sp.Abs(y)) < 0.2, [x - 0.3, x + 0.1, y - 0.2, y + 0.2]),
    (sp.Min(x, y) > 0.1, [x - 0.1, y - 0.1]),
    ((x - 0.4) ** 3 > 0, [x - 0.4]),
    (sp.exp(sp.Abs(x)) < 1.2, []),  # nothing that is smooth across its zero
]


@pytest.mark.parametrize(("condition", "surfaces"), LEVEL_SETS, ids=[str(condition) for condition, _ in LEVEL_SETS])
def test_level_sets_are_the_surfaces_of_the_condition(condition, surfaces):
    u = field("u", x, y)
    found = level_sets(sp.Piecewise((2, condition), (1, True)) * u, (x, y))
    points = np.random.default_rng(1).uniform(-1, 1, (50, 2))
    values = [evaluate_on(surface.function, (x, y), points) for surface in found]
    assert len(found) == len(surfaces)
    for wanted in surfaces:
        reference = evaluate_on(wanted, (x, y), points)
        assert any(np.allclose(np.abs(value), np.abs(reference), atol=1e-12) for value in values), wanted


@pytest.mark.parametrize(
    "condition",
    [
        x**2 + y**2 < 0.09,
        sp.And(sp.Abs(x) < 0.3, sp.Abs(y) < 0.2),
        sp.sqrt(x**2 + y**2) < 0.3,
        sp.And(x > 0, y > 0.1),
        sp.Abs(x) + sp.Abs(y) < 0.3,
        sp.Max(sp.Abs(x - 0.1), sp.Abs(y)) < 0.2,
        sp.Min(x, y) > 0.1,
    ],
)
def test_function_and_siblings_are_positive_exactly_where_the_condition_holds(condition):
    found = level_sets(sp.Piecewise((2, condition), (1, True)), (x, y))
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (200, 2))
    inside = np.array([bool(condition.subs({x: a, y: b})) for a, b in points])
    for surface in found:
        functions = (surface.function, *surface.siblings)
        positive = np.all([evaluate_on(function, (x, y), points) > 0 for function in functions], axis=0)
        assert np.array_equal(positive, inside)


def test_a_jump_that_stands_twice_is_one_surface():
    u = field("u", x, y)
    inside = x**2 + y**2 < sp.Rational(1, 9)
    expression = sp.Piecewise((2, inside), (1, True)) * u + sp.Piecewise((5, inside), (3, True))
    assert len(level_sets(expression, (x, y))) == 1


def proposed(equation, u, conditions, domain=None):
    domain = domain or Box({x: (-0.5, 0.5), y: (-0.5, 0.5)})
    return compile_problem(Problem(name="p", fields=[u], domain=domain, equations=[equation], conditions=conditions)).charts


def test_kinks_are_proposed_by_where_the_jump_stands():
    u = field("u", x, y)
    a = sp.Piecewise((4, x**2 + y**2 < 0.09), (1, True))
    beside = {c.name for c in proposed(laplacian(u) + 10 * a * u, u, [Dirichlet(u, 1)])}
    in_flux = {c.name for c in proposed(div(a * grad(u)), u, [Dirichlet(u, 1)])}
    assert "kink (power 2)" in beside and "kink (power 1)" not in beside
    assert {"kink (power 1)", "kink (power 2)"} <= in_flux


def test_nothing_but_the_box_is_proposed_for_a_smooth_problem():
    u = field("u", x, y)
    assert [c.name for c in proposed(laplacian(u) - x, u, [Dirichlet(u, x**3 / 6)])] == ["box"]


def test_layers_and_narrow_sources_have_charts_of_their_own():
    u = field("u", x, y, complex=True)
    medium = 100 + 5 * sp.sin(x)  # not uniform around the source, so that nothing is split off
    charts = proposed(laplacian(u) + medium * u - GaussianSource(at={x: 0.1, y: 0}, variance=1e-4), u, [PML(u, width=0.3, strength=4)])
    names = [c.name for c in charts]
    assert "layer" in names and sum(name.startswith("window") for name in names) >= 2
    widths = sorted(float(name.rsplit(" ", 1)[1]) for name in names if name.startswith("window"))
    assert widths[0] <= 4 * 1e-2  # the narrowest is of the size of the source


def test_every_chart_says_why():
    u = field("u", x, y, complex=True)
    charts = proposed(laplacian(u) + 100 * u - GaussianSource(at={x: 0, y: 0}, variance=1e-4), u, [PML(u, width=0.3, strength=4)])
    assert all(c.reason and len(c.half_lengths) == len(c.coordinates) for c in charts)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_frequencies_fill_the_half_ball_of_their_band(dimension):
    drawn = draw_frequencies(400, dimension, 7.5, seed=3)
    lengths = np.linalg.norm(drawn.waves, axis=1)
    assert drawn.n_features == 400 and len(drawn.waves) == 200
    assert np.max(lengths) < 7.5 and np.all(drawn.waves[:, 0] >= 0)
    # Evenly in volume: the median radius is 2^(-1/d) of the band.
    assert np.median(lengths) / 7.5 == pytest.approx(2 ** (-1 / dimension), rel=0.05)


def test_frequencies_follow_their_seed():
    first, again, other = (draw_frequencies(50, 2, 3.0, seed, n_decays=2, decay_range=1.5) for seed in (5, 5, 6))
    assert all(np.array_equal(getattr(first, name), getattr(again, name)) for name in ("waves", "rates", "phases"))
    assert not np.array_equal(first.waves, other.waves) and not np.array_equal(first.phases, other.phases)


def test_decay_rates_stay_in_their_range_and_some_are_off():
    drawn = draw_frequencies(400, 2, 3.0, seed=1, n_decays=2, decay_range=1.5)
    assert np.all((drawn.rates >= 0) & (drawn.rates <= 1.5))
    assert 0.3 < np.mean(drawn.rates == 0) < 0.5


@pytest.mark.parametrize("half_lengths", [[1.0], [1.0, 2.0], [0.5, 1.0, 3.0]])
def test_the_bandwidth_inverts_landaus_count(half_lengths):
    lengths = np.array(half_lengths)
    for bandwidth in (3.0, 20.0):
        count = features_for_bandwidth(bandwidth, lengths)
        assert bandwidth_for_features(count, 1.0, lengths) == pytest.approx(bandwidth, rel=1e-12)
        assert bandwidth_for_features(2.5 * count, 2.5, lengths) == pytest.approx(bandwidth, rel=1e-12)


def test_landaus_count_is_the_number_of_periodic_sines_on_the_box():
    lengths, bandwidth = np.array([1.0, 1.5]), 40.0
    numbers = np.arange(-40, 41)
    waves = np.stack(np.meshgrid(*[np.pi * numbers / half for half in lengths], indexing="ij"), axis=-1)
    exact = np.sum(np.linalg.norm(waves, axis=-1) < bandwidth)
    assert features_for_bandwidth(bandwidth, lengths) == pytest.approx(exact, rel=LATTICE_SHARE)


def test_scales_make_the_principal_part_isotropic():
    u = field("u", x, t)
    domain = SpaceTime(Box({x: (0, 1)}), {t: (0, 4)})
    problem = Problem(
        name="w", fields=[u], domain=domain, equations=[u.diff(t, 2) - 4 * u.diff(x, 2)],
        conditions=[Dirichlet(u, 0), InitialCondition(u, sp.sin(sp.pi * x)), InitialCondition(u.diff(t), 0)],
    )  # fmt: skip
    compiled = compile_problem(problem)
    scales = find_scales(compiled.ir, compiled.rewritten)
    # Unit length and unit time are related by the speed, 2.
    assert scales.unit[0] / scales.unit[1] == pytest.approx(2.0, rel=1e-12)
    np.testing.assert_allclose(scales.unit * scales.half_lengths, [0.5, 2.0])


def test_the_wavenumber_is_read_off_the_equation():
    u = field("u", x, y)
    problem = Problem(name="h", fields=[u], domain=Box({x: (0, 2), y: (0, 1)}), equations=[4 * laplacian(u) + 100 * u], conditions=[Dirichlet(u, 1)])
    compiled = compile_problem(problem)
    scales = compiled.scales
    np.testing.assert_allclose(scales.wavenumber / scales.unit, 5.0)


@dataclass(frozen=True)
class Comb(AbstractSpectrum):
    """Whole multiples of a step along the first coordinate."""

    step: float
    directions: tuple[tuple[float, ...], ...]

    def draw(self, n_features: int, bandwidth: float, seed: int) -> Frequencies:
        waves = self.step * np.arange(1, n_features // 2 + 1)[:, None] * np.array(self.directions)
        return Frequencies(waves, np.zeros((len(waves), 0)), np.zeros(len(waves)))


def test_a_chart_draws_from_its_own_spectrum_also_after_storage():
    problem = load("poisson_box")
    chart = replace(compile_problem(problem).charts[0], spectrum=Comb(0.5, ((1.0, 2.0),)))
    compiled = compile_problem(problem, charts=(chart,))
    drawn = draw_all(compiled, 40, 1.3, seed=2)[0]
    np.testing.assert_allclose(drawn.waves, 0.5 * np.arange(1, 21)[:, None] * [[1.0, 2.0]])
    assert spectrum_from_tree(json.loads(json.dumps(spectrum_to_tree(chart.spectrum)))) == chart.spectrum
    assert spectrum_from_tree(spectrum_to_tree(None)) is None


@pytest.mark.parametrize("name", ["helmholtz_point_source", "poisson_annulus"])
def test_several_derivatives_at_once_are_those_one_by_one(name):
    compiled = compile_problem(load(name))
    frequencies = tuple(draw_all(compiled, 60, 1.3, 0))
    bases = build_bases(compiled, frequencies)
    chance = np.random.default_rng(0)
    coefficients = chance.normal(size=(bases[0].n_features, 2)) * (1 + 1j * compiled.is_complex)
    model = FeatureModel(bases, frequencies, (coefficients,))
    points = compiled.ir.domain.sample_interior(50, 0)
    orders = [jet.orders for jet in compiled.programs[0].jets]
    for order, found in zip(orders, model.derivatives(0, points, orders), strict=True):
        wanted = model.evaluate(0, points, order)
        assert np.max(np.abs(found - wanted)) < 1e-13 * np.max(np.abs(wanted))


@pytest.mark.parametrize(("n_shots", "windows"), [(3, 3), (30, 0)])
def test_many_sources_share_the_features_of_the_box(n_shots, windows):
    """Windows of one width that cover the box together are not made: thirty shots cost hardly more than three."""
    x, y = coordinates("x y")
    u = field("u", x, y, shots=n_shots)
    places = np.random.default_rng(0).uniform(0.2, 0.8, (n_shots, 2))
    shots = SourceFamily([GaussianSource(at={x: float(a), y: float(b)}, variance=0.02, amplitude=1) for a, b in places])
    declared = Problem(
        name="shots", fields=[u], domain=Box({x: (0, 1), y: (0, 1)}), equations=[sp.Eq(laplacian(u), shots)], conditions=[Dirichlet(u, 0)]
    )
    assert sum(chart.name.startswith("window") for chart in compile_problem(declared).charts) == windows
