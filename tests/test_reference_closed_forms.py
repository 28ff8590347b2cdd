"""The closed forms against independent routes: mpmath quadrature, the equation by finite differences, continuity, plain series."""

import mpmath as mp
import numpy as np
import pytest

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.reference_solvers.closed_forms import gaussian_pulse, penetrable_disc, point_source

CASES = [(20.0, 1e-4), (20.0, 0.05**2), (20 - 1j, 0.05**2), (3.0, 0.2**2), (60.0, 0.05**2)]
DISCS = {
    "paper": dict(k=20.0, radius=0.1, inner_speed=2.0, at=(-0.35, 0.0)),
    "source nearly on the disc": dict(k=20.0, radius=0.3, inner_speed=2.0, at=(-0.315, 0.0)),
    "many wavelengths, off centre, slow": dict(k=100.0, radius=0.3, inner_speed=0.5, at=(-0.1, 0.35), centre=(0.1, 0.05)),
    "absorbing": dict(k=20.0, radius=0.3, inner_speed=0.7 + 0.1j, at=(-0.35, 0.0)),
}


def variation_of_parameters(dimension, k, variance, r):
    """The radial field by quadrature in 25 digits."""
    mp.mp.dps = 25
    k, variance, r = mp.mpc(k), mp.mpf(variance), mp.mpf(r)
    std = mp.sqrt(variance)

    def density(q):
        return mp.exp(-q * q / (2 * variance)) / (2 * mp.pi * variance) ** (mp.mpf(dimension) / 2)

    inner = [r * j / 4 for j in range(5)]
    outer = [r + j * std for j in range(12)]
    if dimension == 1:
        line = [r - j * std for j in range(12 + int(r / std), 0, -1)] + outer
        return complex(mp.quad(lambda q: 0.5j / k * mp.exp(-1j * k * abs(r - q)) * density(q), line))
    if dimension == 2:
        regular, outgoing, weight = (lambda q: mp.besselj(0, k * q)), (lambda q: mp.hankel2(0, k * q)), (lambda q: q)
        factor = 0.5j * mp.pi
    else:
        regular, outgoing = (lambda q: mp.sinc(k * q)), (lambda q: mp.exp(-1j * k * q) / (k * q))
        factor, weight = -k, (lambda q: q * q)
    before = mp.quad(lambda q: regular(q) * density(q) * weight(q), inner)
    behind = mp.quad(lambda q: outgoing(q) * density(q) * weight(q), outer)
    return complex(factor * (outgoing(r) * before + regular(r) * behind))


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize(("k", "variance"), CASES)
def test_gaussian_source_equals_quadrature_inside_and_outside_the_blob(dimension, k, variance):
    field = point_source(k, (0.0,) * dimension, variance)
    for relative in (0.05, 0.5, 4.0, 9.7):
        r = relative * np.sqrt(variance)
        exact = variation_of_parameters(dimension, k, variance, r)
        assert abs(complex(field(r, *[0.0] * (dimension - 1))) - exact) < 1e-12 * abs(exact)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_gradient_is_the_derivative_of_the_field(dimension):
    field = point_source(20.0, (0.1,) * dimension, 0.03**2, 1 + 1j)
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.2, 0.4, (dimension, 60))
    step = 1e-3
    ahead, behind = points.copy(), points.copy()
    ahead[0] += step
    behind[0] -= step
    far_ahead, far_behind = points.copy(), points.copy()
    far_ahead[0] += 2 * step
    far_behind[0] -= 2 * step
    slope = (8 * (field(*ahead) - field(*behind)) - (field(*far_ahead) - field(*far_behind))) / (12 * step)
    assert np.max(np.abs(slope - field.gradient(*points)[0])) < 1e-5 * np.max(np.abs(slope))


def test_point_and_gaussian_differ_by_the_gaussian_factor_far_away():
    # siren_experiments: F = exp(-k^2 s^2/2) = 0.9802 at k = 20, s^2 = 1e-4.
    ratio = point_source(20.0, (0.0, 0.0), 1e-4)(0.3, 0.2) / point_source(20.0, (0.0, 0.0))(0.3, 0.2)
    assert abs(ratio - np.exp(-0.02)) < 1e-14


def test_point_source_refuses_amplifying_media_and_four_dimensions():
    with pytest.raises(ReferenceSolverError, match="amplify"):
        point_source(20 + 1j, (0.0,))
    with pytest.raises(ReferenceSolverError, match="1, 2 or 3"):
        point_source(20.0, (0.0,) * 4)


@pytest.mark.parametrize("name", DISCS)
def test_field_and_normal_derivative_are_continuous_across_the_disc(name):
    field = penetrable_disc(**DISCS[name])
    angle = np.linspace(0, 2 * np.pi, 41)

    def on_circle(r):
        return field(field.centre[0] + r * np.cos(angle), field.centre[1] + r * np.sin(angle))

    a, step = field.radius, 1e-4 / DISCS[name]["k"]
    weights = np.array([-25, 48, -36, 16, -3]) / (12 * step)
    outwards = sum(w * on_circle(a + j * step + 1e-12) for j, w in enumerate(weights))
    inwards = -sum(w * on_circle(a - j * step - 1e-12) for j, w in enumerate(weights))
    assert np.max(np.abs(on_circle(a + 1e-12) - on_circle(a - 1e-12))) < 1e-9 * np.max(np.abs(on_circle(a)))
    assert np.max(np.abs(outwards - inwards)) < 1e-8 * np.max(np.abs(outwards))


@pytest.mark.parametrize("name", ["paper", "absorbing"])
def test_disc_series_equals_the_printed_formulas_in_forty_digits(name):
    mp.mp.dps = 40
    settings = DISCS[name]
    field = penetrable_disc(**settings)
    k, k1, a = mp.mpf(settings["k"]), settings["k"] / mp.mpc(settings["inner_speed"]), mp.mpf(settings["radius"])
    rs = -mp.mpf(settings["at"][0])

    def slope(f, n, z):
        return (f(n - 1, z) - f(n + 1, z)) / 2

    for r, angle in ((0.5 * settings["radius"], 0.3), (1.4 * settings["radius"], 2.0)):
        total = mp.mpc(0)
        if r > a:
            total += mp.hankel2(0, k * mp.sqrt(r**2 + rs**2 - 2 * r * rs * mp.cos(angle)))
        for n in range(60):
            d = k * slope(mp.hankel2, n, k * a) * mp.besselj(n, k1 * a) - k1 * mp.hankel2(n, k * a) * slope(mp.besselj, n, k1 * a)
            if r > a:
                top = k * slope(mp.besselj, n, k * a) * mp.besselj(n, k1 * a) - k1 * mp.besselj(n, k * a) * slope(mp.besselj, n, k1 * a)
                term = -top / d * mp.hankel2(n, k * rs) * mp.hankel2(n, k * r)
            else:
                term = -2j / (mp.pi * a * d) * mp.hankel2(n, k * rs) * mp.besselj(n, k1 * r)
            total += term * mp.cos(n * angle) * (2 if n else 1)
        # The source lies at angle pi.
        value = complex(field(r * np.cos(np.pi - angle), r * np.sin(np.pi - angle)))
        assert abs(value - complex(0.25j * total)) < 1e-11 * abs(value)


@pytest.mark.parametrize("inside", [True, False])
def test_disc_field_satisfies_the_helmholtz_equation(inside):
    field = penetrable_disc(**DISCS["paper"], variance=1e-4)
    x, y, h = (0.03, 0.02, 2e-3) if inside else (0.2, -0.1, 2e-3)
    weights = {0: -49 / 18, 1: 3 / 2, 2: -3 / 20, 3: 1 / 90}
    laplacian = sum(weights[abs(j)] * (field(x + j * h, y) + field(x, y + j * h)) for j in range(-3, 4)) / h**2
    k_squared = 400 / 4 if inside else 400
    assert abs(laplacian + k_squared * field(x, y)) < 1e-7 * abs(k_squared * field(x, y))


def test_disc_refuses_a_source_that_touches_it():
    with pytest.raises(ReferenceSolverError, match="standard deviations"):
        penetrable_disc(k=20.0, radius=0.1, inner_speed=2.0, at=(0.15, 0.0), variance=1e-4)


def test_gaussian_pulse_has_the_known_values():
    # siren_experiments 10.3, from a Hankel integral evaluated elsewhere.
    pulse = gaussian_pulse((0.0, 0.0), variance=5e-4, amplitude=0.02)
    known = [(0.0, 0.05, -5.63e-3), (0.0, 0.1, -1.215e-3), (0.112, 0.1, 3.288e-3), (0.262, 0.25, 2.182e-3), (0.412, 0.4, 1.747e-3)]
    for r, t, value in known:
        assert abs(float(pulse(r, 0.0, t)) - value) < 1e-6


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_gaussian_pulse_satisfies_the_wave_equation(dimension):
    pulse = gaussian_pulse((0.0,) * dimension, variance=0.04, speed=1.5)
    point, h = np.array([*[0.31, 0.12, -0.2][:dimension], 0.2]), 0.01
    weights = {0: -49 / 18, 1: 3 / 2, 2: -3 / 20, 3: 1 / 90}

    def second(axis):
        shift = np.eye(dimension + 1)[axis] * h
        return sum(weights[abs(j)] * float(pulse(*(point + j * shift))) for j in range(-3, 4)) / h**2

    assert abs(second(dimension) - 1.5**2 * sum(second(axis) for axis in range(dimension))) < 1e-6 * abs(second(dimension))
