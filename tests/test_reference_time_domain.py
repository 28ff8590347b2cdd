"""Waves in time on given grids: stability, layers, reciprocity, adjoints, closed forms, points off the grid, bad input."""

import numpy as np
import pytest

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.reference_solvers.closed_forms import PlaneWall, gaussian_pulse, half_space_pulse, point_source_wave
from pinnsiren.reference_solvers.off_grid import interpolation_matrix
from pinnsiren.reference_solvers.time_domain import (
    AcousticPropagator,
    LineOperator,
    free_memory,
    highest_frequency,
    largest_time_step,
    misfit_and_gradient,
    peak_frequency,
    ricker,
    stability_limit,
)

RECIPROCITY = 1e-10
DOT_TEST = 1e-12
TAYLOR_TOLERANCE = 0.05
# Twenty points per full width at half maximum are 8.5 per standard deviation; the tests run on coarser grids.
PULSE_VARIANCE, PULSE_AMPLITUDE = 5e-4, 0.02


def fitted_order(steps, errors):
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


@pytest.mark.parametrize("ends", [("open", "open"), ("odd", "even"), ("pinned", "flux"), ("flux", "flux")])
@pytest.mark.parametrize("order", [2, 4, 8])
def test_second_differences_are_symmetric_and_not_positive(order, ends):
    if order == 8 and {"pinned", "flux"} & set(ends):
        with pytest.raises(ReferenceSolverError, match="closures of order 2 and 4 only"):
            LineOperator(40, 1.0, order, ends)
        return
    line = LineOperator(40, 0.5, order, ends)
    keep = slice(int(ends[0] in ("odd", "pinned")), None)
    form = (line.weights[:, None] * line.matrix())[keep, keep]
    assert np.max(np.abs(form - form.T)) < 1e-12
    assert np.linalg.eigvalsh(form)[-1] < 1e-12


@pytest.mark.parametrize("faces", [None, (("free_surface", "layer"), ("neumann", "layer"))])
@pytest.mark.parametrize(("order", "time_order"), [(2, 2), (4, 4), (8, 4)])
def test_rough_fields_stay_bounded_at_the_cfl_limit(order, time_order, faces):
    rng = np.random.default_rng(0)
    speed = 1 + rng.random((24, 30))
    settings = {"frequency": 0.1, "order": order, "time_order": time_order, "faces": faces}
    limit = AcousticPropagator(speed, 1.0, 1e-3, **settings).largest_dt
    peaks = []
    propagator = AcousticPropagator(speed, 1.0, 0.9999 * limit, **settings)
    propagator.evolve(rng.standard_normal(speed.shape), n_times=600, observe=lambda step, before, now: peaks.append(np.max(np.abs(now))))
    # At the very limit a mode may grow to a few times its start; an unstable one has grown by hundreds of orders of magnitude.
    assert max(peaks[-100:]) < 3 * peaks[0]


def test_leapfrog_conserves_its_energy_between_walls():
    rng = np.random.default_rng(1)
    speed = 1 + rng.random((30, 26))
    faces = (("dirichlet", "neumann"), ("free_surface", "neumann"))
    energies = []
    propagator = AcousticPropagator(speed, 1.0, 0.25, order=4, time_order=2, faces=faces)
    operator = propagator.operator
    observe = lambda step, before, now: energies.append(operator.energy(before, now, propagator.dt)) if step else None  # noqa: E731
    propagator.evolve(rng.standard_normal(speed.shape), n_times=500, observe=observe)
    assert np.ptp(energies) < 1e-12 * energies[0]


def test_layers_shorten_the_step_where_the_amplification_turns():
    assert stability_limit(4) == pytest.approx(np.sqrt(12))
    assert stability_limit(4, layers=True) == pytest.approx(np.sqrt(6))


def pulse_energies(half, boxed, spacing, duration, rate):
    cells, inner = round(half / spacing), round(boxed / spacing)
    axis = spacing * np.arange(-cells, cells + 1)
    start = PULSE_AMPLITUDE * np.exp(-((axis[:, None] - 0.03) ** 2 + axis**2) / (2 * PULSE_VARIANCE))
    dt = 0.3 * spacing
    frequency = 1 / (2 * np.pi * np.sqrt(PULSE_VARIANCE))
    box = (slice(cells - inner, cells + inner + 1),) * 2
    energies = []

    def observe(step, before, now):
        if step:
            middle, slope = 0.5 * (before + now)[box], (now - before)[box] / dt
            energies.append(np.sum(slope**2 + sum(g**2 for g in np.gradient(middle, spacing))))

    propagator = AcousticPropagator(np.ones(start.shape), spacing, dt, frequency=frequency)
    n_times = round(duration / dt)
    propagator.evolve(None if rate else start, start if rate else None, n_times=n_times, observe=observe)
    return np.array(energies)


@pytest.mark.parametrize("rate", [False, True])
def test_what_a_layer_returns_is_below_1e_8_of_the_energy(rate):
    spacing, boxed, duration = np.sqrt(PULSE_VARIANCE) / 3, 0.15, 0.6
    layered = pulse_energies(boxed, boxed, spacing, duration, rate)
    # Out and back takes longer than the duration.
    free = pulse_energies(boxed + 0.55 * duration, boxed, spacing, duration, rate)
    left = np.arange(len(free)) > 0.7 * len(free)
    assert np.max(np.abs(layered - free)[left]) < 1e-8 * np.max(free)


def seismic(order=8, time_order=4, faces=None):
    depth = np.arange(46)[None, :]
    speed = np.broadcast_to(1500 + 12.0 * depth, (52, 46)) + 100 * np.sin(np.arange(52)[:, None] / 6)
    return AcousticPropagator(speed, 10.0, 8e-4, frequency=12.0, order=order, time_order=time_order, faces=faces)


SCHEMES = [(2, 2), (4, 4), (8, 4)]
FACES = [None, (("layer", "layer"), ("free_surface", "layer")), (("neumann", "dirichlet"), ("layer", "layer"))]


@pytest.mark.parametrize("faces", FACES)
@pytest.mark.parametrize(("order", "time_order"), SCHEMES)
def test_source_and_receiver_are_exchangeable(order, time_order, faces):
    propagator = seismic(order, time_order, faces)
    wavelet = ricker(propagator.dt * np.arange(300), 12.0)
    # Off the grid, one of them beside a face.
    here, there = [[123.4, 234.5]], [[441.0, 7.0]]
    trace, exchanged = propagator.shoot(here, wavelet, there).traces, propagator.shoot(there, wavelet, here).traces
    assert np.max(np.abs(trace)) > 0
    assert np.max(np.abs(trace - exchanged)) < RECIPROCITY * np.max(np.abs(trace))


@pytest.mark.parametrize("faces", FACES)
@pytest.mark.parametrize(("order", "time_order"), SCHEMES)
def test_dot_product_of_forward_and_adjoint(order, time_order, faces):
    rng = np.random.default_rng(3)
    propagator, n_times = seismic(order, time_order, faces), 350
    sources, receivers = rng.uniform(0, 450, (3, 2)), rng.uniform(0, 450, (5, 2))
    pulse = ricker(propagator.dt * np.arange(-150, 151), 12.0, 0.0)
    wavelets = np.array([np.convolve(rng.standard_normal(n_times), pulse, "same") for _ in range(3)]) * np.hanning(n_times)
    residuals = rng.standard_normal((5, n_times))
    traces = propagator.shoot(sources, wavelets, receivers).traces
    back = propagator.adjoint(sources, residuals, receivers)
    gap = np.sum(traces * residuals) - np.sum(wavelets * back)
    assert abs(gap) < DOT_TEST * np.linalg.norm(traces) * np.linalg.norm(residuals)


@pytest.mark.parametrize(("scheme", "faces"), list(zip(SCHEMES, FACES, strict=True)))
def test_taylor_remainder_of_the_speed_gradient_is_quadratic(scheme, faces):
    first, second = np.arange(40)[:, None], np.arange(36)[None, :]
    speed = 1600 + 100 * np.sin(first / 7) * np.cos(second / 5)
    # The largest speed sets the strength of the layers: far from the change, it stays.
    speed[0, 0] = 1800.0
    # Vanishes on the outermost nodes, which the layers continue.
    direction = 40 * np.sin(np.pi * first / 39) * np.sin(np.pi * second / 35) * np.cos(first * second / 50)
    direction *= (first < 39) * (second < 35)
    wavelet, source, receivers = ricker(1e-3 * np.arange(260), 12.0), [[103.0, 77.0]], [[333.0, 300.0], [33.0, 220.0]]

    def propagator(scale):
        order, time_order = scheme
        return AcousticPropagator(speed + scale * direction, 10.0, 1e-3, frequency=12.0, order=order, time_order=time_order, faces=faces)

    observed = propagator(1.0).shoot(source, wavelet, receivers).traces
    misfit, gradient = misfit_and_gradient(propagator(0.0), source, wavelet, receivers, observed)
    scales, remainders = 0.5 ** np.arange(3, 8), []
    for scale in scales:
        traces = propagator(scale).shoot(source, wavelet, receivers).traces
        remainders.append(abs(0.5 * np.sum((traces - observed) ** 2) - misfit - scale * np.sum(gradient * direction)))
    assert misfit > 0
    assert abs(fitted_order(scales, remainders) - 2) < TAYLOR_TOLERANCE


def test_traces_are_linear_in_the_sources():
    propagator = seismic()
    times = propagator.dt * np.arange(250)
    wavelets = np.stack([ricker(times, 12.0), 0.5 * ricker(times, 9.0)])
    places, receivers = np.array([[100.0, 57.0], [333.0, 250.0]]), [[222.0, 111.0], [10.0, 400.0]]
    together = propagator.shoot(places, 3 * wavelets, receivers).traces
    apart = sum(propagator.shoot([place], 3 * wavelet, receivers).traces for place, wavelet in zip(places, wavelets, strict=True))
    assert np.max(np.abs(together - apart)) < RECIPROCITY * np.max(np.abs(apart))


def course(s):
    return np.where(s > 0, np.sin(3 * s) ** 3 * np.exp(-s), 0.0)


def test_closed_forms_of_point_sources_descend_from_three_dimensions():
    speed, distance, instant = 1.7, 0.6, 2.3
    nodes, weights = np.polynomial.legendre.leggauss(800)
    space = point_source_wave((0, 0, 0), course, speed)
    half = np.sqrt((speed * instant) ** 2 - distance**2)
    line = half * np.sum(weights * space(distance, 0.0, half * nodes, instant))
    assert point_source_wave((0, 0), course, speed)(distance, 0.0, instant) == pytest.approx(line, rel=1e-9)
    reach = 0.5 * (speed * instant - distance)
    radius = distance + reach * (nodes + 1)
    plane = reach * np.sum(weights * space(radius, 0.0, 0.0, instant) * 2 * np.pi * radius)
    assert point_source_wave((0,), course, speed)(distance, instant) == pytest.approx(plane, rel=1e-9)


def test_two_half_spaces_match_at_their_interface():
    pulse = half_space_pulse(lambda s: np.exp(-((s + 1) ** 2) / 0.02) + 0.5 * np.exp(-((s - 1) ** 2) / 0.02), (1.0, 3.0), 0.25)
    instants, step = np.linspace(0, 3, 200), 1e-6
    left, right = pulse(0.25 - step, instants), pulse(0.25 + step, instants)
    assert np.max(np.abs(left - right)) < 1e-4
    inner, outer = (left - pulse(0.25 - 2 * step, instants)) / step, (pulse(0.25 + 2 * step, instants) - right) / step
    assert np.max(np.abs(inner - outer)) < 1e-3 * np.max(np.abs(inner))


@pytest.mark.parametrize(("wall", "face"), [(-1, "free_surface"), (1, "neumann")])
def test_a_shot_beside_a_wall_is_the_source_and_its_image(wall, face):
    spacing, frequency = 0.02, 4.0
    propagator = AcousticPropagator(
        np.ones((61, 61)), spacing, 0.008, frequency=frequency, faces=(("layer", "layer"), (face, "layer")), half_width=8
    )
    times = propagator.dt * np.arange(190)
    source, receivers = (0.533, 0.287), np.array([[0.911, 0.151], [0.207, 0.789]])
    traces = propagator.shoot([source], ricker(times, frequency), receivers).traces
    exact = point_source_wave(source, lambda s: ricker(s, frequency), 1.0, PlaneWall(1, 0.0, wall))(
        receivers[:, :1], receivers[:, 1:], times[None, :]
    )
    assert np.linalg.norm(traces - exact) < 1e-3 * np.linalg.norm(exact)


def test_a_shot_in_three_dimensions_arrives_at_the_retarded_time():
    spacing, frequency = 0.05, 2.0
    propagator = AcousticPropagator(np.ones((21, 21, 21)), spacing, 0.022, frequency=frequency, layer_cells=12, half_width=8)
    times = propagator.dt * np.arange(60)
    source, receiver = (0.31, 0.52, 0.47), (0.72, 0.61, 0.58)
    (trace,) = propagator.shoot([source], ricker(times, frequency), [receiver]).traces
    exact = point_source_wave(source, lambda s: ricker(s, frequency))(*receiver, times)
    assert np.linalg.norm(trace - exact) < 2e-3 * np.linalg.norm(exact)


def test_pulse_in_the_plane_against_the_hankel_integral():
    spacing, instant = np.sqrt(PULSE_VARIANCE) / 5, 0.4
    cells = round(0.5 / spacing)
    axis = spacing * np.arange(-cells, cells + 1)
    start = PULSE_AMPLITUDE * np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * PULSE_VARIANCE))
    steps = int(np.ceil(instant / (0.4 * spacing)))
    propagator = AcousticPropagator(np.ones(start.shape), spacing, instant / steps, frequency=7.0)
    last = propagator.evolve(start, n_times=steps + 1, snapshot_every=steps).snapshots[-1]
    exact = gaussian_pulse((0.0, 0.0), PULSE_VARIANCE, PULSE_AMPLITUDE)(axis[:, None], axis[None, :], instant)
    assert np.linalg.norm(last - exact) < 1e-3 * np.linalg.norm(exact)


def test_interpolation_is_exact_on_nodes_and_close_between_them():
    axis = np.linspace(0, 2, 81)
    rng = np.random.default_rng(7)
    points = rng.uniform(0.4, 1.6, (200, 2))
    wave = lambda a, b: np.exp(1j * 2 * np.pi / (6 * 0.025) * (0.6 * a + 0.8 * b))  # noqa: E731
    values = wave(axis[:, None], axis[None, :]).ravel()
    for half_width, bound in ((4, 3e-3), (6, 2e-4), (8, 1e-5)):
        sampled = interpolation_matrix([axis, axis], points, half_width) @ values
        assert np.max(np.abs(sampled - wave(*points.T))) < bound
    assert interpolation_matrix([axis, axis], [[0.5, 1.0]]).nnz == 1


@pytest.mark.parametrize(("parity", "shape"), [(-1, np.sin), (1, np.cos)])
def test_images_continue_a_field_behind_the_wall(parity, shape):
    axis = np.linspace(0, 1, 41)
    points = np.linspace(0, 0.1, 23)[:, None]
    sampled = interpolation_matrix([axis], points, 8, parities=[(parity, parity)]) @ shape(9 * axis)
    assert np.max(np.abs(sampled - shape(9 * points[:, 0]))) < 1e-5


def test_interpolation_refuses_points_outside_and_uneven_axes():
    axis = np.linspace(0, 1, 41)
    with pytest.raises(ReferenceSolverError, match="1 points lie outside"):
        interpolation_matrix([axis], [[1.2], [0.3]])
    with pytest.raises(ReferenceSolverError, match="not uniform"):
        interpolation_matrix([axis**2], [[0.3]])


def test_spectrum_of_a_ricker_wavelet():
    times = 1e-3 * np.arange(2000)
    wavelet = ricker(times, 8.0)
    assert peak_frequency(wavelet, 1e-3) == pytest.approx(8.0, rel=0.02)
    assert highest_frequency(wavelet, 1e-3) == pytest.approx(2.5 * 8.0, rel=0.02)


def test_cfl_violation_names_the_largest_step():
    with pytest.raises(ReferenceSolverError, match=r"violates the CFL condition: .* stable up to dt=") as raised:
        AcousticPropagator(np.full((40, 40), 3000.0), 10.0, 0.01, frequency=10.0)
    largest = float(str(raised.value).split("stable up to dt=")[1].split(";")[0])
    lines = [LineOperator(40, 10.0, 8, ("open", "open"))] * 2
    assert largest == pytest.approx(largest_time_step(3000.0, lines, 4, layers=True), rel=1e-5)
    AcousticPropagator(np.full((40, 40), 3000.0), 10.0, 0.9999 * largest, frequency=10.0)


def test_too_few_points_per_wavelength_names_the_grid_needed():
    propagator = AcousticPropagator(np.full((40, 30), 1500.0), 10.0, 1e-3, frequency=40.0)
    with pytest.raises(ReferenceSolverError, match=r"The grid needs four at least: a step of 3\.\d+ or less, 1\d\d x \d+ nodes"):
        propagator.shoot([[100.0, 100.0]], ricker(1e-3 * np.arange(500), 40.0), [[200.0, 200.0]])


@pytest.mark.parametrize(
    ("speed", "message"),
    [
        (np.zeros((4, 4, 4, 4)), "expected one, two or three axes"),
        (np.where(np.arange(100).reshape(10, 10) == 7, -1500.0, 1500.0), "1 values that are not positive numbers, such as -1500"),
        (np.full((10, 10), np.nan), "100 values that are not positive"),
    ],
)
def test_bad_speed_maps_are_refused(speed, message):
    with pytest.raises(ReferenceSolverError, match=message):
        AcousticPropagator(speed, 10.0, 1e-4, frequency=10.0)


@pytest.mark.parametrize(("sources", "receivers", "kind"), [([[100, 100]], [[100, 401]], "receivers"), ([[-5, 100]], [[9, 9]], "sources")])
def test_positions_in_the_layer_are_refused(sources, receivers, kind):
    propagator = AcousticPropagator(np.full((41, 41), 1500.0), 10.0, 1e-3, frequency=10.0)
    with pytest.raises(ReferenceSolverError, match=rf"1 {kind} lie in the absorbing layer or outside the grid \[0, 400\] x \[0, 400\]"):
        propagator.shoot(sources, ricker(1e-3 * np.arange(300), 10.0), receivers)


def test_a_layer_thinner_than_a_quarter_wavelength_is_refused():
    with pytest.raises(ReferenceSolverError, match=r"thinner than a quarter of the wavelength 150; use 4 cells or more"):
        AcousticPropagator(np.full((41, 41), 1500.0), 10.0, 1e-3, frequency=10.0, layer_cells=3)


def test_memory_is_estimated_before_the_start(monkeypatch):
    propagator = AcousticPropagator(np.full((41, 41), 1500.0), 10.0, 1e-3, frequency=10.0)
    monkeypatch.setattr(free_memory, "free_memory", lambda: 1_000_000)
    with pytest.raises(ReferenceSolverError, match=r"300 snapshots .* need about 0\.004\d* GB; 0\.001 GB are free"):
        propagator.shoot([[100.0, 100.0]], ricker(1e-3 * np.arange(300), 10.0), [[200.0, 200.0]], snapshot_every=1)


def test_agreement_with_deepwave():
    deepwave = pytest.importorskip("deepwave", reason="needs the optional package deepwave")
    torch = pytest.importorskip("torch")
    propagator = seismic(8, 4)
    times = propagator.dt * np.arange(400)
    wavelet = ricker(times, 12.0)
    traces = propagator.shoot([[200.0, 200.0]], wavelet, [[100.0, 100.0], [400.0, 310.0]]).traces
    theirs = deepwave.scalar(
        torch.tensor(propagator.speed),
        10.0,
        propagator.dt,
        source_amplitudes=torch.tensor(wavelet)[None, None],
        source_locations=torch.tensor([[[20, 20]]]),
        receiver_locations=torch.tensor([[[10, 10], [40, 31]]]),
        accuracy=8,
        pml_freq=12.0,
    )[-1][0].numpy()
    # Its source has the other sign and is not divided by the volume of a cell; its error is of second order in time, (w dt)^2/24 per radian.
    assert np.linalg.norm(-theirs / 10.0**2 - traces) < 5e-3 * np.linalg.norm(traces)
