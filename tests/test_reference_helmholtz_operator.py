"""The discrete Helmholtz operator: accuracy against closed forms, reflection of the layer, adjoint, memory, refusals."""

from functools import cache

import numpy as np
import pytest

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.reference_solvers.closed_forms import penetrable_disc, point_source
from pinnsiren.reference_solvers.evaluation import cell_average
from pinnsiren.reference_solvers.frequency_domain import (
    SCHEMES,
    Discretisation,
    Grid,
    Illumination,
    Shots,
    check_memory,
    estimated_bytes,
    estimated_fill,
    receiver_matrix,
    simulate,
)

K = 20.0
WAVELENGTH = 2 * np.pi / K
SQUARE = ((-0.5, 0.5), (-0.5, 0.5))
# Complex relative L2 at 16 points per wavelength against Hankel; the nine points are of order 2 with little dispersion.
HANKEL_BARS = {"order2": 5e-2, "order4": 1e-3, "order6": 1e-4, "nine_point": 5e-3}
REFLECTION_BARS = {0.5: -60.0, 1.0: -80.0}
ORDER_TOLERANCE = 0.2


def relative(values, truth):
    return np.linalg.norm(values - truth) / np.linalg.norm(truth)


def uniform(scheme, points, *, wavelengths=1.0, box=SQUARE, k=K):
    grid = Grid.over(box, 2 * np.pi / k / points)
    return Discretisation(grid, k, np.ones(grid.shape), scheme=scheme, layer_wavelengths=wavelengths)


def field_of_one_source(discretisation, shots, model=None, background=None):
    model = np.ones(discretisation.grid.shape) if model is None else model
    illumination = Illumination(discretisation, shots, background)
    return discretisation.restrict(illumination.total(illumination.solve(discretisation.operator(model))))


@cache
def between_layers(scheme, wavelengths):
    """Return the field of a source in the middle of three wavelengths of twelve points, which sends up to 45 degrees, and its layer."""
    box = ((-1.5 * WAVELENGTH, 1.5 * WAVELENGTH), (-1.5 * WAVELENGTH, 1.5 * WAVELENGTH))
    discretisation = uniform(scheme, 12, wavelengths=wavelengths, box=box)
    return field_of_one_source(discretisation, Shots.at([(0.0, 0.0)], 1, 0.05**2))[0], discretisation.layers[0]


def lens(grid, contrast=0.6):
    x, y = grid.nodes
    return 1 + contrast * np.exp(-((x - 0.1) ** 2 + (y + 0.05) ** 2) / 0.02) + 0.1 * np.sin(5 * x * y)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_error_against_hankel_at_sixteen_points_per_wavelength(scheme):
    discretisation = uniform(scheme, 16)
    (u,) = field_of_one_source(discretisation, Shots.at([(0.03, -0.02)], 1 + 1j, 0.05**2))
    exact = point_source(K, (0.03, -0.02), 0.05**2, 1 + 1j)(*discretisation.grid.nodes)
    assert relative(u, exact) < HANKEL_BARS[scheme]


@pytest.mark.parametrize(("scheme", "points"), [("order2", (16, 20, 26, 32)), ("order4", (10, 13, 17, 22)), ("order6", (9, 11, 13, 16))])
def test_observed_order_against_hankel(scheme, points):
    errors, steps = [], []
    for count in points:
        discretisation = uniform(scheme, count, k=13.0)
        (u,) = field_of_one_source(discretisation, Shots.at([(0.0, 0.0)], 1, 0.1**2))
        errors.append(relative(u, point_source(13.0, (0.0, 0.0), 0.1**2, 1)(*discretisation.grid.nodes)))
        steps.append(discretisation.grid.step[0])
    measured = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(measured - SCHEMES[scheme].order) < ORDER_TOLERANCE


def test_nine_points_carry_waves_that_five_cannot():
    # 5 points per wavelength: the phase error of five points, 6 %, is two radians and more beyond six wavelengths.
    box = ((-6 * WAVELENGTH, 6 * WAVELENGTH), (-WAVELENGTH, WAVELENGTH))
    at, variance, errors = (-4 * WAVELENGTH, 0.0), (0.25 * WAVELENGTH) ** 2, {}
    for scheme in ("order2", "nine_point"):
        discretisation = uniform(scheme, 5, box=box)
        (u,) = field_of_one_source(discretisation, Shots.at([at], 1, variance))
        far = discretisation.grid.nodes[0] > WAVELENGTH
        errors[scheme] = relative(u[far], point_source(K, at, variance, 1)(*discretisation.grid.nodes)[far])
    assert errors["order2"] > 1
    assert errors["nine_point"] < 0.15


@pytest.mark.parametrize("scheme", ["order4", "order6", "nine_point"])
@pytest.mark.parametrize(("radius", "speed", "source"), [(0.1, 2.0, (-0.35, 0.0)), (0.17, 0.8, (0.1, -0.4))])
def test_penetrable_disc_against_the_cylinder_series(scheme, radius, speed, source):
    # 16 points per shortest wavelength.
    grid = Grid.over(SQUARE, WAVELENGTH * min(1.0, speed) / 16)
    model = cell_average(lambda x, y: np.where(x**2 + y**2 < radius**2, speed**-2, 1.0), grid.axes, grid.step)
    discretisation = Discretisation(grid, K, model, scheme=scheme)
    (u,) = field_of_one_source(discretisation, Shots.at([source], 1 + 1j, 1e-4), model, background=1.0)
    exact = penetrable_disc(k=K, radius=radius, inner_speed=speed, at=source, variance=1e-4, amplitude=1 + 1j)(*grid.nodes)
    assert relative(u, exact) < 5e-3


def test_the_narrow_source_is_exact_in_scattered_form_and_refused_in_total_form():
    discretisation = uniform("order4", 16)
    shots = Shots.at([(0.0, 0.0)], 1 + 1j, 1e-4)
    (u,) = field_of_one_source(discretisation, shots, background=1.0)
    assert relative(u, point_source(K, (0.0, 0.0), 1e-4, 1 + 1j)(*discretisation.grid.nodes)) < 1e-12
    with pytest.raises(ReferenceSolverError, match="use the scattered form"):
        Illumination(discretisation, shots, None)


def test_total_and_scattered_form_agree_also_where_the_layer_holds_another_medium():
    grid = Grid.over(SQUARE, WAVELENGTH / 18)
    # The step reaches into the layers: the incident field is needed at their complex coordinates.
    model = 1 + 0.4 / (1 + np.exp(-(grid.nodes[0] - 0.15) / 0.03))
    discretisation = Discretisation(grid, K, model, scheme="order4")
    shots = Shots.at([(-0.2, 0.1)], 1j, 0.05**2)
    total, scattered = (field_of_one_source(discretisation, shots, model, background=b) for b in (None, 1.0))
    assert relative(total, scattered) < 1e-3


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("wavelengths", REFLECTION_BARS)
def test_the_layer_reflects_less_than_its_bar(scheme, wavelengths):
    thin, layer = between_layers(scheme, wavelengths)
    assert 20 * np.log10(relative(thin, between_layers(scheme, 3.0)[0])) < REFLECTION_BARS[wavelengths]
    assert layer.cells == round(12 * wavelengths)


def test_the_computed_reflection_foretells_the_error_of_the_field():
    thin, layer = between_layers("order4", 0.5)
    error = relative(thin, between_layers("order4", 3.0)[0])
    assert layer.reflection / 3 < error < 3 * layer.reflection


@pytest.mark.parametrize("scheme", SCHEMES)
def test_dot_products_of_forward_and_adjoint_agree(scheme):
    discretisation = uniform(scheme, 10)
    operator = discretisation.operator(lens(discretisation.grid, 0.3))
    rng = np.random.default_rng(1)
    f, g = (rng.normal(size=(2, discretisation.size, 2)).T @ np.array([1, 1j]) for _ in range(2))
    f, g = f.T, g.T
    forward = np.vdot(g[:, 0], operator.solve(f[:, 0]))
    backward = np.vdot(operator.solve_adjoint(g[:, 0]), f[:, 0])
    assert abs(forward - backward) < 1e-12 * np.linalg.norm(operator.solve(f[:, 0])) * np.linalg.norm(g[:, 0])
    transposed = np.sum(operator.solve_transposed(g[:, 1]) * f[:, 1])
    assert abs(transposed - np.sum(g[:, 1] * operator.solve(f[:, 1]))) < 1e-12 * np.linalg.norm(operator.solve(f[:, 1])) * np.linalg.norm(g[:, 1])


def test_transposed_solve_equals_the_solve_of_the_transposed_matrix():
    discretisation = uniform("nine_point", 10)
    operator = discretisation.operator(lens(discretisation.grid, 0.3))
    g = np.random.default_rng(2).normal(size=(discretisation.size, 1)) + 0j
    assert relative(operator.matrix.T @ operator.solve_transposed(g), g) < 1e-11
    assert relative(operator.matrix.conj().T @ operator.solve_adjoint(g), g) < 1e-11


def test_reciprocity_and_linearity():
    discretisation = uniform("order4", 10)
    model = lens(discretisation.grid, 0.3)
    points = np.array([(-0.31, -0.123), (0.22, 0.347), (0.05, -0.41)])
    table = simulate(discretisation, model, Shots.at(points), points)
    assert np.max(np.abs(table - table.T)) < 1e-10 * np.max(np.abs(table))
    scaled = simulate(discretisation, model, Shots.at(points, np.array([2j, -1.5, 0.3 + 1j])), points)
    assert np.max(np.abs(scaled - np.array([2j, -1.5, 0.3 + 1j])[:, None] * table)) < 1e-10 * np.max(np.abs(table))


def test_point_sources_off_the_nodes_radiate_hankel_waves():
    discretisation = uniform("order6", 16)
    at, receivers = (-0.2031, 0.0173), np.array([(0.301, -0.123), (0.499, 0.2), (0.1, 0.5), (-0.05, -0.31)])
    found = simulate(discretisation, np.ones(discretisation.grid.shape), Shots.at([at], 1 - 2j), receivers)
    assert relative(found[0], point_source(K, at, 0.0, 1 - 2j)(*receivers.T)) < 1e-4


def test_receivers_sample_polynomials_exactly_up_to_the_faces():
    discretisation = uniform("order2", 9)
    x, y = discretisation.grid.nodes
    points = np.random.default_rng(3).uniform(-0.5, 0.5, (40, 2))
    sampled = receiver_matrix(discretisation, points) @ discretisation.pad((x - 0.2) ** 7 * (y + 0.1) ** 5)
    assert np.max(np.abs(sampled[:, 0] - (points[:, 0] - 0.2) ** 7 * (points[:, 1] + 0.1) ** 5)) < 1e-11


@pytest.mark.parametrize(("scheme", "nodes"), [("nine_point", 260), ("order2", 260), ("order4", 150), ("order6", 110)])
def test_the_estimate_of_the_fill_is_within_30_percent(scheme, nodes):
    k = 2 * np.pi * 10
    grid = Grid.over(((0, 1), (0, 1)), 1 / (nodes - 21))
    discretisation = Discretisation(grid, k, np.ones(grid.shape), scheme=scheme, layer_wavelengths=100 * grid.step[0])
    operator = discretisation.operator(np.ones(grid.shape))
    assert operator.fill == pytest.approx(estimated_fill(discretisation.padded_shape, discretisation.scheme), rel=0.3)


def test_too_little_memory_is_said_before_the_start():
    scheme = SCHEMES["nine_point"]
    needed = estimated_bytes((2000, 2000), scheme)
    check_memory((2000, 2000), scheme, available=1.01 * needed)
    with pytest.raises(ReferenceSolverError, match=r"estimated at \d+\.\d GB and 4\.0 GB are free.*nodes fit"):
        check_memory((2000, 2000), scheme, available=4e9)


def test_bad_input_is_named():
    grid = Grid.over(SQUARE, WAVELENGTH / 10)
    one = np.ones(grid.shape)
    with pytest.raises(ReferenceSolverError, match=r"has 2.5 points .* use a step of at most"):
        Discretisation(grid, 4 * K, one)
    with pytest.raises(ReferenceSolverError, match="a quarter of the longest wavelength"):
        Discretisation(grid, K, one, layer_wavelengths=0.2)
    with pytest.raises(ReferenceSolverError, match=r"has shape \(3, 3\); the grid has"):
        Discretisation(grid, K, np.ones((3, 3)))
    for value in (0.0, -1.0, np.nan):
        with pytest.raises(ReferenceSolverError, match="expected positive finite values"):
            Discretisation(grid, K, np.where(grid.nodes[0] > 0.2, value, 1.0))
    with pytest.raises(ReferenceSolverError, match="known are order2, order4, order6, nine_point"):
        Discretisation(grid, K, one, scheme="order8")
    discretisation = Discretisation(grid, K, one)
    with pytest.raises(ReferenceSolverError, match=r"receivers lie in the absorbing layer or outside the grid, the first at \(0.6, 0.0\)"):
        receiver_matrix(discretisation, [(0.0, 0.0), (0.6, 0.0)])
    with pytest.raises(ReferenceSolverError, match="sources lie in the absorbing layer"):
        Illumination(discretisation, Shots.at([(0.0, -0.7)]), None)
    with pytest.raises(ReferenceSolverError, match="all nodes, layers included"):
        discretisation.operator(one).solve(np.ones(grid.shape))
