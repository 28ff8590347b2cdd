"""Pictures and scores of an inversion: what they show is right, and every solution of an inversion has them in its report."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

import pinnsiren as ps
from pinnsiren.errors import ProblemError
from pinnsiren.language import declaration_of
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.problems import load
from pinnsiren.validation import speed_scores
from pinnsiren.validation.figures import draw_figures
from pinnsiren.validation.inversion_data_figures import MOST_ROWS, Gather, draw_gathers, draw_misfits, draw_survey
from pinnsiren.validation.inversion_model_figures import draw_medium
from pinnsiren.validation.inversion_reading import exact_speed, first_gradient, is_inversion, medium_of, surveys_of
from pinnsiren.validation.inversion_report import inversion_figures
from pinnsiren.validation.inversion_scores import band_norms, structural_similarity
from pinnsiren.validation.plotting import png

PICTURES = {"medium", "gathers", "misfit", "survey", "gradient", "bands"}
SMALL = {"wavenumbers": (8, 12), "sources": 3, "receivers": 10}


@dataclass(frozen=True)
class Known:
    function: object
    symbols: tuple

    def at(self, places):
        return np.asarray(self.function(*places.T))


class StandIn(dict):
    """A solution of known functions: the exact fields, and a medium that is off by a share."""

    def __init__(self, problem, share=0.0, columns=None):
        (m,) = problem.coefficients
        media = {m: lambda *at: (1 + share) * evaluate_on(problem.exact[m], problem.coordinates, np.stack(at, axis=1))}
        super().__init__({declaration_of(s).name: Known({**problem.exact, **media}[s], tuple(s.args)) for s in (*problem.fields, m)})
        self.problem, self.tolerance, self.cores = problem, 1e-3, ()
        self.history = SimpleNamespace(columns=columns or {})


@pytest.fixture(scope="module")
def disc():
    return load("fwi_disc_multifrequency", **SMALL)


def images(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_one_clip_serves_observed_predicted_and_difference():
    chance = np.random.default_rng(0)
    observed = chance.normal(size=(5, 20)) + 1j
    figure = draw_gathers("t", [Gather("k = 1", observed, 1.1 * observed), Gather("k = 2", 3 * observed, observed)])
    limits = [image.get_clim() for image in images(figure)]
    assert len(limits) == 6 and len(set(limits[:3])) == len(set(limits[3:])) == 1
    assert limits[3][1] == pytest.approx(3 * limits[0][1]) and limits[0][0] == -limits[0][1]
    assert "misfit 10.0%" in figure.axes[2].get_title(loc="left")


def test_a_difference_of_the_noise_is_shown_as_one_deviation():
    chance = np.random.default_rng(0)
    observed = np.ones((60, 60), dtype=complex)
    noise = 0.02 * (chance.normal(size=(60, 60)) + 1j * chance.normal(size=(60, 60))) / np.sqrt(2)
    gather = Gather("k = 1", observed, observed + noise, noise=0.02)
    assert np.std(gather.in_noise) == pytest.approx(1, rel=0.05)
    assert Gather("k = 1", observed, observed).in_noise is None
    assert Gather("t", np.ones((60, 60)), 1 + np.sqrt(2) * noise.real, noise=0.02).in_noise.std() == pytest.approx(1, rel=0.05)
    assert len(images(draw_gathers("t", [gather]))) == 4


def test_many_frequencies_are_thinned_to_five_rows():
    observed = np.ones((2, 3))
    figure = draw_gathers("t", [Gather(f"{number}", observed, observed) for number in range(12)])
    assert len(images(figure)) == 3 * MOST_ROWS
    assert [figure.axes[0].get_title(loc="left").split(":")[0], figure.axes[12].get_title(loc="left").split(":")[0]] == ["0", "11"]


def test_misfits_are_drawn_in_units_of_their_floor():
    figure = draw_misfits("t", ["k = 8", "k = 9"], [0.02, 0.03], [0.02, 0.01], [0.4, 0.4], {"k = 8": [0.4, 0.02], "k = 9": [np.nan, 0.03]})
    iterations, bars = figure.axes
    np.testing.assert_allclose(iterations.lines[0].get_ydata(), [20, 1])
    assert iterations.lines[1].get_ydata()[1] == pytest.approx(3) and list(iterations.lines[2].get_ydata()) == [1, 1]
    assert len(bars.patches) == 4 and [line.get_ydata()[0] for line in bars.lines] == [0.02, 0.01]
    (without,) = draw_misfits("t", ["k = 8"], [0.02], [None], [None], {}).axes
    assert len(without.patches) == 1 and not without.lines
    together = draw_misfits("t", ["k = 8"], [0.02], [0.02], [None], {}, np.array([9.0, 1.1]))
    assert together.axes[0].get_ylabel() == "misfit / noise"


def test_depth_points_down_and_the_layer_lies_around_the_box():
    x, z, y = ps.coordinates("x z y")
    here = np.array([[1.0, 0.2]])
    down, up = (draw_survey("t", (x, other), ((0, 4), (0, 2)), here, here + 1, layer=0.1).axes[0] for other in (z, y))
    assert down.get_ylim() == (2.1, -0.1) and up.get_ylim() == (-0.1, 2.1)
    assert "0.1 wide" in down.get_title(loc="left")
    (chosen,) = draw_survey("t", (x, y), ((0, 4), (0, 2)), here, here).axes
    assert "chosen" in chosen.get_title(loc="left")


def test_the_medium_of_the_declaration_is_read(disc):
    medium = medium_of(StandIn(disc))
    assert medium.found.shape == medium.start.shape == medium.true.shape == (201, 201)
    assert medium.found.max() == medium.true.max() == 2 and np.all(medium.start == 1)
    # A box of side 0.6 in one of side 1, its faces included.
    assert medium.sought.sum() == 121**2
    inside = (medium.true > 1.0001) & (medium.true < 1.9999)
    assert 0 < inside.sum() < 300, "the rim holds averages"
    speeds = [image.get_clim() for image in images(draw_medium("t", medium))]
    assert speeds[0] == speeds[1] == speeds[2] == (1, 2)


def test_the_surveys_are_those_of_the_declaration(disc):
    first, second = surveys_of(disc)
    assert (first.label, second.label) == ("k = 8", "k = 12") and first.noise == 0.02
    assert first.sources.shape == (3, 2) and first.observed.shape == (3, 10)
    assert first.misfit(first.predicted(StandIn(disc))) == pytest.approx(0.02, rel=0.2)
    assert is_inversion(disc) and not is_inversion(load("helmholtz_disc")) and not is_inversion(load("conductivity_field"))


@pytest.mark.parametrize(("speed", "sign"), [(1.6, 1), (0.75, -1)])
def test_the_first_gradient_asks_for_what_is_there(speed, sign):
    problem = load("fwi_disc_multifrequency", wavenumbers=(8,), sources=4, receivers=12, speed=speed, noise=0)
    (x, y), gradient = first_gradient(problem)
    at_centre = gradient[np.argmin(np.abs(x)), np.argmin(np.abs(y))]
    assert sign * at_centre > 0.5 * np.max(np.abs(gradient))
    assert np.all(gradient[np.abs(x) > 0.301] == 0)


def test_the_start_scores_as_published_and_the_truth_scores_zero():
    """24.2 % against the disc averaged in squared slowness, 24.7 % averaged in speed: how much the definition matters."""
    solution = StandIn(load("fwi_disc_multifrequency", **SMALL))
    scores = speed_scores(solution)
    assert scores.of_start[0] == pytest.approx(0.242, abs=0.001) and scores.of_start[1] == pytest.approx(0.247, abs=0.001)
    # Values at nodes against averages over cells: a sharp rim is wrong by 6 %, and right only when it is averaged as the truth is.
    assert 0.04 < scores.relative_l2 < 0.08 and scores.relative_l2_of_cells < 0.01
    assert "RMSE" in str(scores)
    slower = speed_scores(StandIn(solution.problem, share=0.21))
    assert slower.relative_l2 == pytest.approx(1 - 1 / 1.1, abs=0.02)


def test_a_medium_that_nobody_knows_is_not_scored(disc):
    unknown = ps.Problem(name="p", fields=disc.fields, domain=disc.domain, equations=disc.equations, conditions=disc.conditions)
    solution = StandIn(disc)
    solution.problem = unknown
    with pytest.raises(ProblemError, match="declares no exact `m"):
        speed_scores(solution)
    assert exact_speed(unknown, (np.linspace(0, 1, 3),) * 2) is None
    figures = inversion_figures(solution)
    assert set(figures) == PICTURES - {"bands"} and len(images(figures["medium"])) == 2


def test_bands_share_out_the_whole_error():
    chance = np.random.default_rng(0).normal(size=(40, 25))
    parts = band_norms(chance, (0.1, 0.2), np.array([0, 3, 9, 20, 1e9]))
    assert np.sum(parts**2) == pytest.approx(np.mean(chance**2))
    x = 0.05 + 0.1 * np.arange(40)
    wave = np.cos(6 * np.pi * x / 4)[:, None] * np.ones(25)
    assert np.argmax(band_norms(wave, (0.1, 0.2), np.array([0, 4.5, 5, 20]))) == 1
    assert structural_similarity(chance, chance) == pytest.approx(1)


def test_every_inversion_has_its_pictures_and_nothing_else_has(disc):
    history = {"step": [1, 2, 3], "misfit_u8": [0.4, 0.1, 0.02], "misfit_u12": [np.nan, 0.2, 0.03]}
    figures = inversion_figures(StandIn(disc, share=0.05, columns=history))
    assert set(figures) == PICTURES
    assert all(png(figure)[:4] == b"\x89PNG" for figure in figures.values())
    assert "speed off by" in figures["medium"].get_suptitle()
    point_source = load("helmholtz_point_source")
    assert inversion_figures(SimpleNamespace(problem=point_source)) == {}


def test_the_report_asks_for_them(disc, monkeypatch):
    monkeypatch.setattr("pinnsiren.validation.figures._residual_figure", lambda *_: None)
    assert set(draw_figures(StandIn(disc))) >= PICTURES | {"field_u8", "field_u12"}
