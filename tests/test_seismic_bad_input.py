"""Surveys and velocity models that cannot be meant: each is refused in the words of a survey, none is read silently as something else."""

import numpy as np
import pytest
import sympy as sp
from scipy.io import savemat

import pinnsiren as ps
from pinnsiren.errors import ProblemError
from pinnsiren.language.seismic import FrequencyGathers, Scaling, TimeGathers, VelocityModel, check_positions, check_units, read_gathers, read_model
from pinnsiren.reference_solvers.closed_forms import point_source

SOURCES = np.array([[100.0, 10.0], [300.0, 10.0]])
RECEIVERS = np.array([[50.0, 20.0], [150.0, 20.0], [250.0, 20.0]])
INTERVAL = 0.002
PULSE = np.exp(-(((np.arange(64) - 20) / 4.0) ** 2))
TRACES = np.stack([[np.roll(PULSE, 3 * r + s) for r in range(3)] for s in range(2)])
SPEEDS = np.linspace(1500.0, 2500.0, 24).reshape(6, 4)


def recorded(**changes):
    return {"traces": TRACES, "interval": INTERVAL, "sources": SOURCES, "receivers": RECEIVERS, **changes}


FILES = {
    "sample times in place of their interval": ({"interval": INTERVAL * np.arange(64)}, r"an interval of shape \(64,\).*one real number"),
    "no interval at all": ({"interval": np.array([])}, r"an interval of shape \(0,\)"),
    "a start without a number": ({"start": np.array([])}, r"a start of shape \(0,\)"),
    "complex traces": ({"traces": TRACES + 0j}, "traces of type complex128"),
    "a source at no place": ({"sources": SOURCES * [[1, np.nan], [1, 1]]}, "1 of the sources have positions that are NaN"),
}


@pytest.mark.parametrize(("changes", "message"), FILES.values(), ids=FILES.keys())
def test_a_file_of_gathers_that_cannot_be_meant_is_refused(changes, message, tmp_path):
    np.savez(tmp_path / "gathers.npz", **recorded(**changes))
    with pytest.raises(ProblemError, match=message):
        read_gathers(tmp_path / "gathers.npz")


def test_a_name_that_the_file_does_not_hold_is_told(tmp_path):
    np.savez(tmp_path / "gathers.npz", **recorded())
    with pytest.raises(ProblemError, match="holds no `seismogram`; it holds interval, receivers, sources, traces"):
        read_gathers(tmp_path / "gathers.npz", names={"traces": "seismogram"})


@pytest.mark.parametrize("ending", ["npz", "npy", "mat", "h5"])
@pytest.mark.parametrize("kept", [0, 600])
def test_a_file_that_was_cut_off_is_called_unreadable(ending, kept, tmp_path):
    whole, cut = tmp_path / f"whole.{ending}", tmp_path / f"cut.{ending}"
    if ending == "mat":
        savemat(whole, recorded())
    else:
        np.savez(tmp_path / "whole.npz", **recorded())
        whole = tmp_path / "whole.npz"
    cut.write_bytes(whole.read_bytes()[:kept])
    with pytest.raises(ProblemError, match=rf"cut\.{ending}` cannot be read as \.{ending}"):
        read_gathers(cut)


def test_a_wavelet_says_something():
    given = (TRACES, INTERVAL, SOURCES, RECEIVERS)
    for wavelet in (np.zeros(64), np.full(64, np.nan)):
        with pytest.raises(ProblemError, match="the wavelet is zero or holds NaN"):
            TimeGathers(*given, wavelet=wavelet)
    with pytest.raises(ProblemError, match=r"sends nothing at \[240\.\] Hz"):
        TimeGathers(*given, wavelet=PULSE).at_frequencies([10.0, 240.0])
    with pytest.raises(ProblemError, match="start=nan"):
        TimeGathers(*given, start=np.nan)
    with pytest.raises(ProblemError, match="all 6 traces are constant in time"):
        TimeGathers(np.ones_like(TRACES), *given[1:]).heard_band()
    with pytest.raises(ProblemError, match="frequencies of type <U4"):
        TimeGathers(*given).at_frequencies(["5 Hz"])


def test_measurements_per_frequency_are_complex_and_named_once():
    values = np.ones((2, 2, 3))
    with pytest.raises(ProblemError, match="type float64.*amplitude and phase"):
        FrequencyGathers([3.0, 5.0], values, SOURCES, RECEIVERS)
    with pytest.raises(ProblemError, match="expected each once"):
        FrequencyGathers([3.0, 3.0], values * 1j, SOURCES, RECEIVERS)


MODELS = {
    "metres per second read as kilometres": (1000 * SPEEDS, "divide by 1000"),
    "slowness": (1 / SPEEDS, r"slownesses in s/m: give 1 / values"),
    "kilometres in some nodes": (np.where(SPEEDS > 2000, SPEEDS / 1000, SPEEDS), "12 of 24 nodes are slower than 10 m/s and may be in km/s"),
    "holes": (np.where(SPEEDS > 2400, np.nan, SPEEDS), "3 of 24 nodes of a velocity model are NaN"),
    "complex speeds": (SPEEDS + 1j, "speeds of type complex128"),
}


@pytest.mark.parametrize(("values", "message"), MODELS.values(), ids=MODELS.keys())
def test_a_model_that_is_no_speed_is_refused(values, message):
    with pytest.raises(ProblemError, match=message):
        VelocityModel(values, (10.0, 10.0))


def test_what_is_asked_of_a_model_makes_sense():
    model = VelocityModel(SPEEDS, (10.0, 10.0))
    for ask in (lambda: model.smoothed(-5.0), lambda: model.smoothed(np.nan), lambda: model.regridded("20 m")):
        with pytest.raises(ProblemError, match="expected a number of metres that is not negative"):
            ask()
    with pytest.raises(ProblemError, match="trend of degree 1.*has 0 depths"):
        model.depth_trend(fixed_above=1e6)
    with pytest.raises(ProblemError, match=r"origin=5\.0"):
        VelocityModel(SPEEDS, (10.0, 10.0), 5.0)
    with pytest.raises(ProblemError, match="path=None"):
        read_model(None)


def test_numbers_of_a_survey_are_positive_and_places_exist():
    with pytest.raises(ProblemError, match=r"speeds=\[.*0.*expected finite positive"):
        check_units([5.0], 8000.0, [0.0, 1500.0])
    with pytest.raises(ProblemError, match=r"frequencies=\[\]"):
        check_units([], 8000.0, [1500.0])
    with pytest.raises(ProblemError, match="NaN or infinite"):
        check_positions([[np.nan, 0.0]], [[0.0, 0.0]], ((-1, 1), (-1, 1)))
    with pytest.raises(ProblemError, match="expected positive speeds"):
        Scaling(1.0, 1.0).squared_slowness([0.0, 1500.0])


def declared_in_hertz(*, length=1000.0, speed=2000.0, frequency=8.0, heard=0.45, silent=False):
    """Declare a survey of one frequency in metres, seconds and m/s, with the direct wave for data; the numbers may be of other units."""
    x, y = ps.coordinates("x y")
    u, m = ps.field("u", x, y, complex=True, shots=2), ps.unknown_field("m", x, y, initial=speed**-2, bounds=(0.1 * speed**-2, 4 * speed**-2))
    angle, at = np.arange(12) * np.pi / 6, length * np.array([(0.3, 0.1), (-0.2, 0.25)])
    receivers = heard * length * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    values = np.stack([point_source(8 * np.pi / 1000, tuple(place * 1000 / length), 100.0)(*(receivers * 1000 / length).T) for place in at])
    source = ps.SourceFamily([ps.GaussianSource(at={x: float(a), y: float(b)}, variance=1e-4 * length**2) for a, b in at])
    return ps.Problem(
        name="hertz", fields=[u], domain=ps.Box({x: (-length / 2, length / 2), y: (-length / 2, length / 2)}),
        equations=[sp.Eq(ps.laplacian(u) + (2 * np.pi * frequency) ** 2 * m * u, source)],
        conditions=[ps.PML(u, width=0.2 * length), ps.Observations(u, receivers, 0 * values if silent else values, noise=0.02)],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"speed": 2.0}, r"4e\+03 wavelengths across.*km/s beside metres"),
        ({"frequency": 8000.0}, r"4e\+03 wavelengths across.*milliseconds beside Hz"),
        ({"length": 1.0}, "0.004 wavelengths across.*kilometres beside m/s"),
        ({"frequency": 0.008}, "0.004 wavelengths across.*kHz beside seconds"),
        ({"heard": 0.6}, "lie in the absorbing layer"),
        ({"heard": 0.8}, "lie outside the domain"),
        ({"silent": True}, "nothing but zeros"),
    ],
    ids=["km/s", "ms", "km", "kHz", "in the layer", "outside", "silent"],
)
def test_a_declaration_per_frequency_names_what_cannot_be_right(wrong, message):
    with pytest.raises(ProblemError, match=message):
        declared_in_hertz(**wrong)
    declared_in_hertz()
