"""Surveys and velocity models: files, units, transforms, and every mistake that is found in them."""

import sys

import h5py
import numpy as np
import pytest
import sympy as sp
from scipy.io import savemat

import pinnsiren as ps
from pinnsiren.errors import ProblemError
from pinnsiren.language.seismic import (
    FrequencyGathers,
    Scaling,
    TimeGathers,
    VelocityModel,
    check_convention,
    check_positions,
    check_units,
    efficient_frequencies,
    read_arrays,
    read_gathers,
    read_model,
    write_gathers,
)
from pinnsiren.problems import load
from pinnsiren.reference_solvers.closed_forms import PenetrableDisc, penetrable_discs

SOURCES = np.array([[100.0, 50.0], [900.0, 50.0]])
RECEIVERS = np.stack([np.linspace(0, 1000, 7), np.full(7, 20.0)], axis=1)
INTERVAL = 4e-3
SPEED = 1500.0


def ricker(t, frequency=12.0, delay=0.15):
    a = (np.pi * frequency * (t - delay)) ** 2
    return (1 - 2 * a) * np.exp(-a)


def delayed_gathers(**settings):
    """Every trace is the wavelet, later by distance over speed."""
    times = INTERVAL * np.arange(400)
    delay = np.hypot(*np.moveaxis(RECEIVERS[None] - SOURCES[:, None], -1, 0)) / SPEED
    return TimeGathers(ricker(times - delay[:, :, None]), INTERVAL, SOURCES, RECEIVERS, **{"wavelet": ricker(times), **settings})


def layered(shape=(41, 21), spacing=25.0):
    z = spacing * np.arange(shape[1])
    return VelocityModel(np.tile(1500 + 2 * z, (shape[0], 1)), (spacing, spacing))


# units


@pytest.mark.parametrize("numbers", [np.array([67.142857, 1e-3, 12345.678]), np.linspace(0.1, 9999, 200)])
def test_powers_of_two_leave_no_rounding_on_the_way_back(numbers):
    units = Scaling.fitting(length=7990, speed=1500)
    assert units.is_exact
    for there, back in (("lengths", "metres"), ("times", "seconds"), ("frequencies", "hertz"), ("speeds", "metres_per_second")):
        np.testing.assert_array_equal(getattr(units, back)(getattr(units, there)(numbers)), numbers)


def test_other_units_come_back_to_the_last_digit():
    units = Scaling(1000, 1500)
    assert not units.is_exact and "last bit" not in str(units)
    numbers = np.linspace(0.1, 9999, 200)
    np.testing.assert_allclose(units.metres(units.lengths(numbers)), numbers, rtol=3e-16)
    np.testing.assert_allclose(units.speeds_of(units.squared_slowness(numbers)), numbers, rtol=1e-15)


def test_the_number_of_wavelengths_is_that_of_the_survey():
    units = Scaling.fitting(length=8000, speed=1500)
    across = units.wavenumbers(4.0) * np.sqrt(units.squared_slowness(1600.0)) * units.lengths(8000.0) / (2 * np.pi)
    assert across == pytest.approx(4.0 * 8000 / 1600)
    printed = units.summary(metres=[0, 8000], hertz=[2, 4], metres_per_second=[1600, 4000])
    assert "0 to 8000 m -> 0 to 0.97656" in printed and "4 to 20 wavelengths across" in printed


@pytest.mark.parametrize("wrong", [0, -1, np.inf, "km", True])
def test_a_unit_is_a_positive_number(wrong):
    with pytest.raises(ProblemError, match="expected a positive number of metres"):
        Scaling(wrong, 1.0)


def test_consistent_units_pass():
    check_units([2, 8], 8000, [1500, 4500], spacing=25)


MISTAKEN_UNITS = {
    "km/s for m/s": (([2, 8], 8000, [1.5, 4.5]), {"spacing": 25}, r"0.0075 grid points per wavelength.*look like km/s: multiply them by 1000"),
    "ms for s": (([2e-3, 8e-3], 8000, [1500, 4500]), {"interval": 4.0}, "interval 4 looks like milliseconds: divide it by 1000"),
    "km for m": (([2, 8], 8, [1500, 4500]), {}, "lengths look like kilometres: multiply them by 1000"),
    "kHz for Hz": (([2e-3, 8e-3], 8000, [1500, 4500]), {}, "frequencies look like kHz"),
}


@pytest.mark.parametrize("case", MISTAKEN_UNITS)
def test_a_unit_that_is_a_thousand_times_off_is_told(case):
    arguments, settings, message = MISTAKEN_UNITS[case]
    with pytest.raises(ProblemError, match=message):
        check_units(*arguments, **settings)


def test_milliseconds_in_traces_are_told_by_their_own_band():
    gathers = delayed_gathers(wavelet=None)
    check_units(gathers.heard_band(), 1000, [SPEED, 3000], interval=INTERVAL)
    with pytest.raises(ProblemError, match=r"looks like milliseconds: give interval=0.004"):
        TimeGathers(gathers.traces, 1000 * INTERVAL, SOURCES, RECEIVERS)
    with pytest.raises(ProblemError, match="below 125 Hz.*milliseconds would be a thousand times too long"):
        gathers.at_frequencies([200.0])


def test_a_survey_of_no_unit_keeps_its_interval():
    """Lengths and speeds of order one: nothing says metres."""
    gathers = delayed_gathers(wavelet=None)
    assert TimeGathers(gathers.traces, 2.0, SOURCES / 1000, RECEIVERS / 1000).interval == 2.0


# geometry


def test_receivers_in_the_layer_outside_and_on_a_source_are_told_apart():
    box = ((0, 1000), (0, 500))
    check_positions(SOURCES, RECEIVERS, box, layer=100)
    with pytest.raises(ProblemError, match=r"7 of 7 receivers.*absorbing layer, the first at \(0, -30\): the layer of width 100 lies AROUND"):
        check_positions(SOURCES, RECEIVERS - [0, 50], box, layer=100)
    with pytest.raises(ProblemError, match="1 of 7 receivers.*outside the domain"):
        check_positions(SOURCES, RECEIVERS + np.array([60, 0]), box, layer=50)
    with pytest.raises(ProblemError, match="2 of 2 sources of the survey lie outside"):
        check_positions(SOURCES + np.array([0, 900]), RECEIVERS, box, layer=50)
    on_source = np.concatenate([RECEIVERS, SOURCES[1:] + 1e-4])
    with pytest.raises(ProblemError, match="receiver 7 of shot 1 at .*hears the source and not the medium"):
        check_positions(SOURCES, on_source, box, layer=50)
    with pytest.raises(ProblemError, match="Leave out traces nearer than 20"):
        check_positions(SOURCES, np.array([[110.0, 50.0]]), box, deviation=10)


def test_data_and_geometry_of_different_lengths_are_refused():
    traces = np.zeros((2, 7, 5))
    with pytest.raises(ProblemError, match="2 shots were given with 3 source positions"):
        TimeGathers(traces, INTERVAL, np.zeros((3, 2)), RECEIVERS)
    with pytest.raises(ProblemError, match="7 shots were given with 2 source positions.*look exchanged"):
        TimeGathers(np.zeros((7, 2, 5)), INTERVAL, SOURCES, RECEIVERS)
    with pytest.raises(ProblemError, match=r"2 shots of 7 traces were given with receivers of shape \(6, 2\)"):
        TimeGathers(traces, INTERVAL, SOURCES, RECEIVERS[:6])
    with pytest.raises(ProblemError, match=r"shape \(2, 2, 7\) for 3 frequencies"):
        FrequencyGathers([1, 2, 3], np.zeros((2, 2, 7)), SOURCES, RECEIVERS)
    with pytest.raises(ProblemError, match="the traces have 5 samples"):
        TimeGathers(traces, INTERVAL, SOURCES, RECEIVERS, wavelet=np.zeros(4))
    with pytest.raises(ProblemError, match=r"shape \(2, 3\); expected positions"):
        TimeGathers(traces, INTERVAL, np.zeros((2, 3)), RECEIVERS)
    with pytest.raises(ProblemError, match="interval=0"):
        TimeGathers(traces, 0, SOURCES, RECEIVERS)


def test_traces_that_are_not_finite_are_named():
    traces = np.zeros((2, 7, 5))
    traces[1, 3, 2] = np.nan
    with pytest.raises(ProblemError, match="1 of 14 traces hold NaN or infinite samples, the first is shot 1, receiver 3"):
        TimeGathers(traces, INTERVAL, SOURCES, RECEIVERS)
    with pytest.raises(ProblemError, match="first is shot 0, receiver 6"):
        FrequencyGathers([2.0], np.where(np.arange(7) == 6, np.inf, 1.0) * np.ones((1, 2, 1)), SOURCES, RECEIVERS)


# time to frequency


def test_a_delay_is_the_phase_of_an_outgoing_wave():
    frequencies = np.array([6.0, 13.0, 21.5])
    found = delayed_gathers().at_frequencies(frequencies, noise=0.02)
    distance = np.hypot(*np.moveaxis(RECEIVERS[None] - SOURCES[:, None], -1, 0))
    # The Ricker wavelet vanishes at both ends to 1e-10, so that the sum is the integral.
    np.testing.assert_allclose(found.values, np.exp(-2j * np.pi * frequencies[:, None, None] * distance / SPEED), atol=1e-8)
    assert found.noise.tolist() == [0.02] * 3
    np.testing.assert_allclose(found.conjugated().chosen(1).values[0], np.conj(found.values[1]))


def test_the_band_of_a_wavelet_is_found():
    low, high = delayed_gathers().heard_band()
    assert 1 < low < 4 and 25 < high < 40


def test_efficient_frequencies_leave_no_gap():
    chosen = efficient_frequencies(1.5, 12, half_offset=3000, depth=1500)
    assert chosen[0] == 1.5 and chosen[-1] == pytest.approx(12)
    assert np.all(chosen[1:] / chosen[:-1] <= np.hypot(1, 2) * (1 + 1e-9))
    assert len(chosen) == 4 and efficient_frequencies(2, 2, half_offset=1, depth=1).tolist() == [2]
    with pytest.raises(ProblemError, match="positive numbers, in order"):
        efficient_frequencies(3, 2, half_offset=1, depth=1)


# the time convention


def disc_data(k=20.0, shots=3, radius=0.1, speed=2.0):
    at = 0.4 * np.stack([np.cos(np.arange(shots)), np.sin(np.arange(shots))], axis=1)
    heard = 0.45 * np.stack([np.cos(0.3 + 0.37 * np.arange(17)), np.sin(0.3 + 0.37 * np.arange(17))], axis=1)
    field = penetrable_discs(k=k, discs=[PenetrableDisc((0.02, -0.03), radius, speed)], at=at, variance=1e-4, amplitude=0.3 - 2j)
    return field(*heard.T), at, heard, k


@pytest.mark.parametrize(("k", "radius", "speed"), [(20, 0.1, 2.0), (8, 0.1, 2.0), (26, 0.12, 1.3), (15, 0.2, 0.7)])
def test_conjugated_measurements_are_told_with_the_remedy(k, radius, speed):
    values, at, heard, k = disc_data(k, radius=radius, speed=speed)
    check_convention(values, at, heard, k)
    check_convention(np.conj(values), at, heard, k, sign=-1)
    with pytest.raises(ProblemError, match=r"look conjugated.*conjugate them \(np.conj\), or declare the layer with time_convention=\"-\""):
        check_convention(np.conj(values), at, heard, k)
    with pytest.raises(ProblemError, match=r"for exp\(-i w t\) misses them.*time_convention=\"\+\""):
        check_convention(values, at, heard, k, sign=-1)


def declared(values, at, heard, k, **layer):
    x, y = ps.coordinates("x y")
    u, m = ps.field("u", x, y, complex=True, shots=len(at)), ps.unknown_field("m", x, y, initial=1, bounds=(0.1, 3))
    sources = ps.SourceFamily([ps.GaussianSource(at={x: a, y: b}, variance=1e-4) for a, b in at.tolist()])
    return ps.Problem(
        name="survey",
        fields=[u],
        domain=ps.Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}),
        equations=[sp.Eq(ps.laplacian(u) + k**2 * m * u, sources)],
        conditions=[ps.PML(u, **layer), ps.Observations(u, heard, values, noise=0.02)],
    )


def test_a_declaration_with_conjugated_data_is_refused():
    values, at, heard, k = disc_data()
    declared(values, at, heard, k)
    declared(np.conj(values), at, heard, k, time_convention="-")
    with pytest.raises(ProblemError, match=r"measurements of `u\(x, y\)` in problem `survey` look conjugated"):
        declared(np.conj(values), at, heard, k)


def test_a_declaration_with_receivers_in_the_layer_or_on_a_source_is_refused():
    values, at, heard, k = disc_data()
    with pytest.raises(ProblemError, match="lie in the absorbing layer.*Enlarge the domain"):
        declared(values, at, 1.4 * heard, k, width=0.2)
    with pytest.raises(ProblemError, match="outside the domain"):
        declared(values, at, 4 * heard, k, width=0.2)
    with pytest.raises(ProblemError, match="coincide with a source"):
        declared(values[:, :3], at, at + 0.01, k, width=0.2)


@pytest.mark.parametrize("name", ["fwi_disc_paper", "fwi_anomalies"])
def test_the_catalogue_has_the_declared_convention(name, load_problem):
    """Otherwise the declaration itself would have been refused; here the conjugate is."""
    problem = load_problem(name)

    def conjugated(c):
        return ps.Observations(c.expression, c.points, np.conj(c.values), noise=c.noise) if isinstance(c, ps.Observations) else c

    conditions = [conjugated(condition) for condition in problem.conditions]
    with pytest.raises(ProblemError, match="look conjugated"):
        ps.Problem(name=name, fields=problem.fields, domain=problem.domain, equations=problem.equations, conditions=conditions)


# velocity models


def test_regridding_keeps_the_travel_time_down():
    model = layered()
    coarse, fine = model.regridded(50.0), model.regridded(10.0)
    assert coarse.values.shape == (21, 11) and fine.values.shape == (101, 51)
    times = [np.trapezoid(1 / m.values[3], dx=m.spacing[1]) for m in (model, coarse, fine)]
    np.testing.assert_allclose(times, times[0], rtol=2e-3)
    np.testing.assert_allclose(model.at([12.5, 1e9], [37.5, 0]), [1575, 1500], rtol=1e-3)


def test_smoothing_keeps_the_water_and_lowers_the_contrast():
    values = np.full((40, 30), 1500.0)
    values[:, 10:], values[:, 20:] = 2000.0, 3000.0
    model = VelocityModel(values, 20.0)
    smooth = model.smoothed(60.0, fixed_above=180.0)
    np.testing.assert_array_equal(smooth.values[:, :10], 1500.0)
    assert np.ptp(smooth.values[:, 10:]) < 1000 and smooth.values[:, 10].min() > 1990
    trend = model.depth_trend(fixed_above=180.0)
    assert np.ptp(trend.values, axis=0).max() < 1e-9
    np.testing.assert_allclose(np.diff(trend.values[0, 12:18], 2), 0, atol=1e-6)
    layers = model.depth_trend(degree=None)
    np.testing.assert_allclose(layers.values, values)
    np.testing.assert_array_equal(smooth.with_water_of(model, 1e9).values, values)


def test_a_model_is_declared_in_the_units_of_a_scaling():
    x, z = ps.coordinates("x z")
    units, model = Scaling.fitting(length=1000, speed=1500), layered()
    m = model.squared_slowness("m0", (x, z), units)
    found = type(m).declaration.evaluate(units.lengths(500.0), units.lengths(250.0))
    assert units.speeds_of(found) == pytest.approx(2000.0)


def test_a_model_in_kilometres_per_second_is_told():
    with pytest.raises(ProblemError, match="from 1.5 to 4.5 where m/s are expected; these look like km/s: multiply by 1000"):
        VelocityModel([[1.5, 2.0], [3.0, 4.5]], 10.0)
    with pytest.raises(ProblemError, match="finite positive speeds"):
        VelocityModel([[1500, np.nan], [1500, 1500]], 10.0)
    with pytest.raises(ProblemError, match=r"spacing=\(10, 0\)"):
        VelocityModel(np.full((3, 3), 2000), (10, 0))
    with pytest.raises(ProblemError, match="room for two nodes"):
        layered().regridded(1e5)


# files


@pytest.mark.parametrize("ending", [".mat", ".npz", ".npy", ".h5"])
def test_a_model_comes_back_from_every_kind_of_file(ending, tmp_path):
    model, path = layered(), tmp_path / f"model{ending}"
    if ending == ".mat":
        savemat(path, {"vp": model.values, "dx": 25.0, "dz": 25.0, "title": "a text"})
    elif ending == ".npy":
        np.save(path, model.values)
    elif ending == ".npz":
        np.savez(path, velocity=model.values, h=25.0)
    else:
        with h5py.File(path, "w") as file:
            file["model/c"] = model.values
    spacing = None if ending in (".mat", ".npz") else 25.0
    found = read_model(path, spacing=spacing, shape=(41, 21))
    np.testing.assert_array_equal(found.values, model.values)
    assert found.spacing == (25.0, 25.0)
    with pytest.raises(ProblemError, match="axes are exchanged, transpose the values"):
        read_model(path, spacing=spacing, shape=(21, 41))
    assert read_model(path, spacing=spacing, shape=(21, 41), axes="zx").values.shape == (21, 41)


def test_what_a_file_lacks_is_said_with_what_it_holds(tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, vp=np.full((3, 4), 2000.0), vs=np.full((3, 4), 2000.0))
    with pytest.raises(ProblemError, match=r"holds no spacing \(dx, hx, h, spacing\); give spacing"):
        read_model(path)
    with pytest.raises(ProblemError, match=r"holds no `v_p` for a velocity model; it holds `vp` \(3, 4\), `vs` \(3, 4\)"):
        read_model(path, values="v_p")
    with pytest.raises(ProblemError, match="unit='ft/s'"):
        read_model(path, unit="ft/s")
    assert read_model(tmp_path / "model.npz", spacing=5.0, values="vs").values.shape == (3, 4)
    np.savez(path, vp=np.full((3, 4), 2.0))
    assert read_model(path, spacing=5.0, unit="km/s").values.max() == 2000
    with pytest.raises(ProblemError, match="there is no file"):
        read_arrays(tmp_path / "absent.npz")
    (tmp_path / "a.txt").write_text("1 2 3", encoding="utf-8")
    with pytest.raises(ProblemError, match="ends in `.txt`; known are .mat, .npy, .npz, .h5, .hdf5 for arrays"):
        read_arrays(tmp_path / "a.txt")
    (tmp_path / "a.mat").write_bytes(b"not a matlab file at all" * 20)
    with pytest.raises(ProblemError, match="cannot be read as .mat"):
        read_arrays(tmp_path / "a.mat")


@pytest.mark.parametrize("ending", [".npz", ".h5"])
@pytest.mark.parametrize("kind", ["time", "frequency"])
def test_gathers_come_back_as_they_were(kind, ending, tmp_path):
    gathers = delayed_gathers(start=0.1) if kind == "time" else delayed_gathers().at_frequencies([3.0, 5.0], noise=0.1)
    write_gathers(tmp_path / f"g{ending}", gathers)
    found = read_gathers(tmp_path / f"g{ending}")
    assert type(found) is type(gathers)
    for name, value in vars(gathers).items():
        np.testing.assert_array_equal(getattr(found, name), value)


def test_arrays_may_be_called_otherwise_and_miss_their_geometry(tmp_path):
    path = tmp_path / "g.mat"
    savemat(path, {"d": np.ones((1, 2, 7)) * 1j, "f": 3.0})
    with pytest.raises(ProblemError, match=r"lacks values, frequencies, sources, receivers; it holds d, f"):
        read_gathers(path)
    found = read_gathers(path, names={"values": "d", "frequencies": "f"}, sources=SOURCES, receivers=RECEIVERS)
    assert found.values.shape == (1, 2, 7) and found.values.dtype == complex
    with pytest.raises(ProblemError, match="was given picture"):
        read_gathers(path, names={"picture": "d"})
    with pytest.raises(ProblemError, match="expected .npz or"):
        write_gathers(tmp_path / "g.txt", found)


# SEG-Y


def write_segy(path, *, coordinates=True, scalar=-10, elevation_scalar=-100, units=1, short=False):
    segyio = pytest.importorskip("segyio")
    gathers = delayed_gathers()
    spec = segyio.spec()
    spec.format, spec.sorting, spec.samples = 5, None, 1000 * INTERVAL * np.arange(gathers.traces.shape[2])
    spec.tracecount = 13 if short else 14
    divide = np.array([1 / scalar if scalar > 0 else -scalar, 1 / elevation_scalar if elevation_scalar > 0 else -elevation_scalar])
    field = segyio.TraceField
    with segyio.create(str(path), spec) as file:
        file.bin.update(hdt=round(1e6 * INTERVAL))
        for number in range(spec.tracecount):
            shot, receiver = divmod(number, 7)
            at, heard = SOURCES[shot] * divide, RECEIVERS[receiver] * divide
            header = {field.TRACE_SAMPLE_INTERVAL: round(1e6 * INTERVAL), field.DelayRecordingTime: 8, field.CoordinateUnits: units}
            if coordinates:
                header |= {
                    field.SourceX: round(at[0]), field.SourceDepth: round(at[1]), field.GroupX: round(heard[0]),
                    field.ReceiverGroupElevation: -round(heard[1]), field.SourceGroupScalar: scalar, field.ElevationScalar: elevation_scalar,
                }  # fmt: skip
            file.header[number] = header
            file.trace[number] = gathers.traces[shot, receiver].astype(np.float32)
    return gathers


@pytest.mark.parametrize(("scalar", "elevation_scalar"), [(-10, -100), (1, 10), (0, -1)])
def test_segy_coordinates_follow_their_scalars(scalar, elevation_scalar, tmp_path):
    gathers = write_segy(tmp_path / "g.sgy", scalar=scalar or -1, elevation_scalar=elevation_scalar)
    found = read_gathers(tmp_path / "g.sgy")
    np.testing.assert_allclose(found.sources, SOURCES, atol=0.06 if scalar == -10 else 0.5)
    np.testing.assert_allclose(found.receivers, RECEIVERS, atol=0.06 if scalar == -10 else 0.5)
    np.testing.assert_allclose(found.traces, gathers.traces, atol=1e-6)
    assert found.interval == pytest.approx(INTERVAL) and found.start == pytest.approx(0.008)


def test_segy_without_coordinates_is_refused_with_the_remedy(tmp_path):
    gathers = write_segy(tmp_path / "g.sgy", coordinates=False)
    with pytest.raises(ProblemError, match=r"SEG-Y without coordinates.*Give the geometry, read_gathers\(path, sources=..., receivers=...\)"):
        read_gathers(tmp_path / "g.sgy")
    found = read_gathers(tmp_path / "g.sgy", sources=SOURCES, receivers=RECEIVERS)
    np.testing.assert_allclose(found.traces, gathers.traces, atol=1e-6)
    with pytest.raises(ProblemError, match="14 traces for 2 sources and 6 receivers each; expected 12"):
        read_gathers(tmp_path / "g.sgy", sources=SOURCES, receivers=RECEIVERS[:6])
    with pytest.raises(ProblemError, match="expected both or none"):
        read_gathers(tmp_path / "g.sgy", sources=SOURCES)


def test_segy_geometry_that_cannot_be_used_is_refused(tmp_path):
    write_segy(tmp_path / "g.sgy", units=2)
    with pytest.raises(ProblemError, match=r"geographic coordinates \(unit 2\); project them to metres"):
        read_gathers(tmp_path / "g.sgy")
    write_segy(tmp_path / "short.sgy", short=True)
    with pytest.raises(ProblemError, match="2 shots of 6 to 7 traces; expected as many for every shot"):
        read_gathers(tmp_path / "short.sgy")
    with pytest.raises(ProblemError, match='plane=\'yz\'; expected "xz"'):
        read_gathers(tmp_path / "g.sgy", plane="yz")
    (tmp_path / "broken.sgy").write_bytes(b"\0" * 100)
    with pytest.raises(ProblemError, match="cannot be read as SEG-Y"):
        read_gathers(tmp_path / "broken.sgy")
    with pytest.raises(ProblemError, match="holds traces and no named arrays"):
        read_arrays(tmp_path / "short.sgy")


def test_a_model_is_read_from_segy(tmp_path):
    segyio = pytest.importorskip("segyio")
    segyio.tools.from_array2D(str(tmp_path / "model.segy"), layered().values.astype(np.float32))
    found = read_model(tmp_path / "model.segy", spacing=25.0, shape=(41, 21))
    np.testing.assert_allclose(found.values, layered().values)


def test_the_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "segyio", None)
    with pytest.raises(ProblemError, match=r"pip install pinnsiren\[segy\]"):
        read_gathers(tmp_path / "g.sgy")


def test_the_room_is_reached_from_the_package():
    assert ps.seismic.Scaling is Scaling and load("fwi_anomalies").n_shots == 8
