"""Closed forms of Burgers, Poisson, heat and solitons against independent routes: their equation by differences, quadrature, series, the grid."""

import doctest
import importlib
from functools import partial

import mpmath as mp
import numpy as np
import pytest

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.reference_solvers.closed_forms.burgers import burgers_sine
from pinnsiren.reference_solvers.closed_forms.heat import heat_kernel
from pinnsiren.reference_solvers.closed_forms.poisson import box_constant_source, box_sine_series, corner_singularity, shell_potential
from pinnsiren.reference_solvers.closed_forms.solitons import kdv_soliton, schroedinger_soliton, sine_gordon_breather, sine_gordon_kink

# Central differences of order 6 for the first and the second derivative, offsets 1, 2, 3.
FIRST = (3 / 4, -3 / 20, 1 / 60)
SECOND = (3 / 2, -3 / 20, 1 / 90)
SECOND_CENTRE = -49 / 18
# Of order 4 for the third derivative.
THIRD = (-61 / 30, 169 / 120, -3 / 10, 7 / 240)
SEED = 4


def derivative(function, points, axis, order, step):
    """A derivative of a function of several coordinates, points (n_coordinates, n)."""
    unit = np.zeros((len(points), 1))
    unit[axis] = step
    if order == 2:
        total = SECOND_CENTRE * function(*points)
        total = total + sum(w * (function(*(points + j * unit)) + function(*(points - j * unit))) for j, w in enumerate(SECOND, 1))
    else:
        weights = FIRST if order == 1 else THIRD
        total = sum(w * (function(*(points + j * unit)) - function(*(points - j * unit))) for j, w in enumerate(weights, 1))
    return total / step**order


def laplacian(function, points, dimension, step):
    return sum(derivative(function, points, axis, 2, step) for axis in range(dimension))


def sample(*bounds, count=60):
    rng = np.random.default_rng(SEED)
    return np.stack([rng.uniform(low, high, count) for low, high in bounds])


@pytest.mark.parametrize("viscosity", [0.01 / np.pi, 0.05, 0.7])
def test_burgers_satisfies_its_equation(viscosity):
    u = burgers_sine(viscosity)
    points = sample((-0.97, 0.97), (0.1, 0.9))
    # Away from the front at 0, which is nu wide.
    points = points[:, np.abs(points[0]) > 0.05]
    step = 1e-3
    rate, slope, bend = (derivative(u, points, *which, step) for which in ((1, 1), (0, 1), (0, 2)))
    assert np.max(np.abs(rate + u(*points) * slope - viscosity * bend)) < 1e-7 * np.max(np.abs(rate) + np.abs(slope))


def test_burgers_equals_quadrature_in_thirty_digits():
    nu = 0.01 / np.pi
    u = burgers_sine(nu)

    def weight(s, x, t):
        y = mp.mpf(x) - s
        return mp.exp(-(mp.cos(mp.pi * y) + 1) / (2 * mp.pi * nu) - s * s / (4 * mp.mpf(nu) * t))

    with mp.workdps(30):
        # Narrower than the narrowest peak, sqrt(2 nu t) = 0.018 wide; beyond +-1.3 the weight is below 1e-20 of its peak.
        panels = [mp.mpf(j) / 64 for j in range(-84, 85)]
        for x, t in ((0.3, 0.05), (0.004, 0.5), (-0.6, 0.9), (0.001, 1.0)):
            top = mp.quad(partial(lambda s, x, t: mp.sin(mp.pi * (mp.mpf(x) - s)) * weight(s, x, t), x=x, t=t), panels)
            below = mp.quad(partial(weight, x=x, t=t), panels)
            assert abs(float(u(x, t)) + float(top / below)) < 1e-12


def test_burgers_has_the_published_slope_of_its_front():
    # Basdevant et al. (1986): largest slope 152.00516 at x = 0 when pi t = 1.6037.
    u, step = burgers_sine(), 2e-5
    slope = float(derivative(u, np.array([[0.0], [1.6037 / np.pi]]), 0, 1, step)[0])
    assert abs(slope + 152.00516) < 1e-4
    assert np.max(np.abs(u([-1.0, 0.0, 1.0], 0.7))) < 1e-12


def test_burgers_begins_with_the_sine_and_refuses_the_past():
    x = np.linspace(-1, 1, 41)
    assert np.max(np.abs(burgers_sine()(x, 0.0) + np.sin(np.pi * x))) == 0
    assert np.max(np.abs(burgers_sine()(x, 1e-9) + np.sin(np.pi * x))) < 1e-7
    with pytest.raises(ReferenceSolverError, match="starts at t = 0"):
        burgers_sine()(0.0, -1.0)
    with pytest.raises(ReferenceSolverError, match="viscosity"):
        burgers_sine(0.0)


@pytest.mark.parametrize("lengths", [(1.3,), (1.0, 2.0), (0.7, 1.1, 1.6)])
def test_sine_series_satisfies_its_equation_and_walls(lengths):
    modes = {tuple(1 + (i + j) % 3 for i in range(len(lengths))): 1.0 + j for j in range(3)}
    u = box_sine_series(lengths, modes, reaction=2.5)
    points = sample(*[(0.1 * side, 0.9 * side) for side in lengths])
    leftover = -laplacian(u, points, len(lengths), 1e-2) + 2.5 * u(*points) - u.source(*points)
    assert np.max(np.abs(leftover)) < 1e-7 * np.max(np.abs(u.source(*points)))
    on_wall = points.copy()
    on_wall[-1] = lengths[-1]
    assert np.max(np.abs(u(*on_wall))) < 1e-14


@pytest.mark.parametrize("lengths", [(1.3,), (1.0, 2.0), (0.7, 1.1, 1.6)])
def test_constant_source_satisfies_its_equation_and_walls(lengths):
    u = box_constant_source(lengths)
    points = sample(*[(0.2 * side, 0.8 * side) for side in lengths], count=12)
    assert np.max(np.abs(laplacian(u, points, len(lengths), 1e-2) + 1)) < 1e-5
    for axis, side in enumerate(lengths):
        for value in (0.0, side):
            on_wall = points.copy()
            on_wall[axis] = value
            # The tail of the series counts on the walls: n^-2 in the plane, more slowly in space.
            assert np.max(np.abs(u(*on_wall))) < (1e-7 if len(lengths) < 3 else 2e-4)


def test_constant_source_equals_the_double_sine_series():
    u, count = box_constant_source((1.0, 1.0)), 400
    n = np.arange(1, 2 * count, 2)
    sines = np.sin(n * np.pi * 0.3)[:, None] * np.sin(n * np.pi * 0.45)[None, :]
    series = np.sum(16 / np.pi**4 * sines / (n[:, None] * n[None, :] * (n[:, None] ** 2 + n[None, :] ** 2)))
    assert abs(float(u(0.3, 0.45)) - series) < 1e-8


def test_a_resonant_mode_is_refused():
    with pytest.raises(ReferenceSolverError, match="resonance"):
        box_sine_series((1.0,), {(2,): 1.0}, reaction=-4 * np.pi**2)


@pytest.mark.parametrize(("angle", "start"), [(1.5 * np.pi, 0.0), (2 * np.pi, 0.4), (1.2 * np.pi, -2.0), (0.5 * np.pi, 1.0)])
def test_corner_singularity_is_harmonic_and_vanishes_on_both_sides(angle, start):
    u = corner_singularity(angle, start, at=(0.1, -0.2))
    rng = np.random.default_rng(SEED)
    r, theta = rng.uniform(0.3, 1.0, 60), start + rng.uniform(0.2, 0.8, 60) * angle
    points = np.stack([0.1 + r * np.cos(theta), -0.2 + r * np.sin(theta)])
    step = 5e-3
    assert np.max(np.abs(laplacian(u, points, 2, step))) < 1e-6
    for axis, slope in enumerate(u.gradient(*points)):
        assert np.max(np.abs(slope - derivative(u, points, axis, 1, step))) < 1e-7
    for side in (start, start + angle * (1 - 1e-15)):
        if angle < 2 * np.pi:
            assert np.max(np.abs(u(0.1 + r * np.cos(side), -0.2 + r * np.sin(side)))) < 1e-12


@pytest.mark.parametrize("dimension", [2, 3])
def test_shell_potential_is_harmonic_and_takes_its_values(dimension):
    centre = np.array([0.3, -0.1, 0.2])[:dimension]
    u = shell_potential(tuple(centre), (0.5, 2.0), (3.0, -1.0))
    directions = sample(*[(-1, 1)] * dimension)
    directions /= np.linalg.norm(directions, axis=0)
    for radius, value in ((0.5, 3.0), (2.0, -1.0)):
        assert np.max(np.abs(u(*(centre[:, None] + radius * directions)) - value)) < 1e-13
    assert np.max(np.abs(laplacian(u, centre[:, None] + 1.2 * directions, dimension, 1e-2))) < 1e-8


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_heat_kernel_satisfies_its_equation(dimension):
    velocity = (0.7, -0.3, 0.2)[:dimension]
    u = heat_kernel((0.1,) * dimension, diffusivity=0.3, variance=0.04, amplitude=2.0, velocity=velocity)
    points = sample(*[(-0.8, 0.8)] * dimension, (0.2, 1.0))
    drift = sum(v * derivative(u, points, axis, 1, 1e-2) for axis, v in enumerate(velocity))
    leftover = derivative(u, points, dimension, 1, 1e-2) + drift - 0.3 * laplacian(u, points, dimension, 1e-2)
    assert np.max(np.abs(leftover)) < 1e-6


def test_heat_kernel_equals_its_convolution_with_the_initial_data():
    gaussian, kernel = heat_kernel((0.2,), 0.5, 0.09, 1.7), heat_kernel((0.0,), 0.5)
    s = np.linspace(-6, 6, 4001)
    whole = np.sum(kernel(0.9 - s, 0.35) * gaussian(s, 0.0)) * (s[1] - s[0])
    assert abs(float(gaussian(0.9, 0.35)) - whole) < 1e-12
    with pytest.raises(ReferenceSolverError, match="no function"):
        kernel(0.0, 0.0)


def test_sine_gordon_waves_satisfy_their_equation():
    points = sample((-4, 4), (-3, 3))
    for u in (sine_gordon_kink(0.6, at=0.4), sine_gordon_kink(-0.2), sine_gordon_breather(0.6, at=-0.3)):
        leftover = derivative(u, points, 1, 2, 1e-2) - derivative(u, points, 0, 2, 1e-2) + np.sin(u(*points))
        assert np.max(np.abs(leftover)) < 1e-7
    kink = sine_gordon_kink(0.6, at=0.4)
    assert np.max(np.abs(kink.time_derivative(*points) - derivative(kink, points, 1, 1, 1e-2))) < 1e-8
    assert abs(float(kink(500.0, 0.0) - kink(-500.0, 0.0)) - 2 * np.pi) < 1e-12


def test_kdv_soliton_satisfies_its_equation():
    u, points = kdv_soliton(3.0, at=-0.5), sample((-4, 4), (-1, 1))
    rate, slope, third = (derivative(u, points, *which, 1e-2) for which in ((1, 1), (0, 1), (0, 3)))
    assert np.max(np.abs(rate + 6 * u(*points) * slope + third)) < 2e-5


def test_schroedinger_soliton_satisfies_its_equation():
    u, points = schroedinger_soliton(1.5, speed=0.8, at=0.2), sample((-4, 4), (-1, 1))
    leftover = 1j * derivative(u, points, 1, 1, 1e-2) + derivative(u, points, 0, 2, 1e-2) / 2 + np.abs(u(*points)) ** 2 * u(*points)
    assert np.max(np.abs(leftover)) < 1e-7


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: sine_gordon_kink(1.0), "speed of linear waves"),
        (lambda: sine_gordon_breather(1.5), "between 0 and 1"),
        (lambda: kdv_soliton(-1.0), "positive"),
        (lambda: schroedinger_soliton(0.0), "positive"),
        (lambda: shell_potential((0.0, 0.0), (2.0, 1.0), (0.0, 1.0)), "inner < outer"),
        (lambda: corner_singularity(7.0), "angle"),
        (lambda: box_constant_source((1.0, -1.0)), "positive numbers"),
        (lambda: box_sine_series((1.0, 1.0), {(1,): 1.0}), "does not fit"),
        (lambda: heat_kernel((0.0,), -1.0), "diffusivity > 0"),
        (lambda: box_constant_source((1.0, 1.0))(0.5), "2 dimensions"),
    ],
)
def test_impossible_parameters_are_refused(make, match):
    with pytest.raises(ReferenceSolverError, match=match):
        make()


@pytest.mark.parametrize("name", ["burgers", "poisson", "heat", "solitons"])
def test_the_examples_of_the_docstrings_run(name):
    module = importlib.import_module(f"pinnsiren.reference_solvers.closed_forms.{name}")
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
