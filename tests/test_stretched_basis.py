"""Products of functions along axes: one axis after the other agrees with the matrix of all products, with SymPy and with the chart's lattice."""

import numpy as np
import pytest
import sympy as sp

from pinnsiren.charts import compile_jets
from pinnsiren.charts.expansion import build_basis
from pinnsiren.charts.front_stretch import even_stretch, stretch_from_coarse, stretched_chart
from pinnsiren.charts.tensor_spectrum import TensorSpectrum
from pinnsiren.training.stretched_basis import AxisFunctions, EvenAxis, ProductBasis, StretchedAxis, kronecker, on_grid, separated
from pinnsiren.training.stretched_window import grid

ROUNDING = 1e-12
x, y, t = sp.symbols("x y t")
ENVELOPE = (1.0, 0.0, -1.0)  # 1 - x^2


def front_stretch(periodic=False):
    stretch = even_stretch(-1, 1, periodic)
    for _ in range(2):
        stretch = stretch_from_coarse(lambda line: np.tanh(np.sin(np.pi * line) / 0.05)[None], stretch)
    return stretch


def basis_of(stretch):
    return ProductBasis((AxisFunctions(StretchedAxis(stretch), stretch.step(), 6, ENVELOPE), AxisFunctions(EvenAxis(0.2, 0.3), np.pi / 8, 3)))


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("orders", [(0, 0), (1, 0), (2, 1), (3, 0)])
def test_grids_and_points_agree_with_the_matrix_of_all_products(periodic, orders):
    basis = basis_of(front_stretch(periodic))
    lines = [np.linspace(-0.9, 0.9, 23), np.linspace(0.2, 0.3, 5)]
    coefficients = np.random.default_rng(0).normal(size=(basis.n_features, 1))
    factors = basis.factors(lines, orders)
    expected = kronecker(factors) @ coefficients[:, 0]
    tolerance = ROUNDING * np.max(np.abs(expected))
    assert np.max(np.abs(on_grid(factors, coefficients[:, 0]) - expected)) < tolerance
    assert np.max(np.abs(basis.evaluate(grid(lines), orders, coefficients)[:, 0] - expected)) < tolerance


def test_the_span_is_that_of_the_lattice_on_the_chart():
    stretch, orders = front_stretch(), (2, 1)
    basis = basis_of(stretch)
    locals_ = (stretch.expression(x), (t - sp.Float(0.25)) / sp.Float(0.05))
    chart = stretched_chart((x, t), locals_, (1.0, 1.0), TensorSpectrum((stretch.step(), np.pi / 8), (6, 3)), "test")
    lattice = build_basis([chart], [chart.spectrum.draw(0, 0.0, 0)], 1 - x**2, (x, t), [(0, 0), orders])
    points = np.random.default_rng(1).uniform((-1, 0.2), (1, 0.3), (400, 2))
    weights = {orders: np.ones(len(points))}
    expected = lattice.matrix(points, weights)
    products = np.hstack([basis.evaluate(points, orders, column[:, None]) for column in np.eye(basis.n_features)])
    remainder = expected - products @ np.linalg.lstsq(products, expected, rcond=None)[0]
    assert np.max(np.abs(remainder)) < 1e-8 * np.max(np.abs(expected))


def test_derivatives_agree_with_those_of_the_jets_of_the_chart():
    stretch = front_stretch()
    functions = AxisFunctions(StretchedAxis(stretch), stretch.step(), 4, ENVELOPE)
    chart = stretched_chart((x,), (stretch.expression(x),), (1.0,), TensorSpectrum((stretch.step(),), (4,)), "test")
    jets = compile_jets(chart, 1 - x**2, (x,), ((3,),))
    points = np.linspace(-0.95, 0.95, 50)
    xi = jets.local(points[:, None])[0][:, 0]
    symbol = jets.operator(points[:, None], {(3,): np.ones(50)})
    for k in range(1, 5):
        kappa = 1j * k * stretch.step()
        value = sum(coefficient * kappa ** monomial[0] for monomial, coefficient in symbol.items()) * np.exp(kappa * xi)
        found = functions.values(points, 3)[:, [k, k + 4]]
        assert np.max(np.abs(found[:, 0] + 1j * found[:, 1] - value)) < ROUNDING * np.max(np.abs(value))


def test_envelopes_are_separated_where_they_are_products():
    assert separated(4 * x * (1 - x) * (2 - y), (x, y, t)) == ((0.0, 4.0, -4.0), (2.0, -1.0), (1.0,))
    assert separated(sp.Integer(1), (x, y)) == ((1.0,), (1.0,))
    assert separated(1 - x**2 - y**2, (x, y)) is None
    assert separated(sp.sin(x), (x, y)) is None
