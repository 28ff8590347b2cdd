"""Validation in isolation: a stand-in for solutions whose errors are known by construction, then the real thing."""

import json
import re
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp
from matplotlib import rcParams

from pinnsiren.errors import ProblemError, UnknownNameError
from pinnsiren.language import Box, Dirichlet, Interval, Neumann, Problem, coordinates, field, laplacian
from pinnsiren.language.free_constants import free_constant_fields
from pinnsiren.problems import load
from pinnsiren.reference_solvers import find
from pinnsiren.reference_solvers.linear_box import LinearBoxSolver
from pinnsiren.solving import solve
from pinnsiren.status import Status
from pinnsiren.validation import save_figures, save_reports, validate
from pinnsiren.validation.comparison import estimate_holds
from pinnsiren.validation.demo import run_demo, table
from pinnsiren.validation.diagnostic_figures import amplitude_spectrum, draw_history
from pinnsiren.validation.html_report import as_json
from pinnsiren.validation.points import in_cores, sample_points
from pinnsiren.validation.residual import declared_residual

x, y, t = coordinates("x y t")
# A thousandth of a field, multiplied in: its relative L2 error is a thousandth whatever the field is.
KNOWN_ERROR = 1e-3
# Sobol integrals of these fields.
QUADRATURE = 0.02
STEP = 1e-3


@dataclass(frozen=True)
class StandInField:
    """A field made of a function of the coordinate arrays; derivatives by central differences."""

    function: object
    names: tuple[str, ...]
    symbols: tuple[sp.Symbol, ...] = ()

    def at(self, points):
        return np.asarray(self.function(*points.T))

    def derivative(self, symbol, order):
        def evaluate(**given):
            points = np.stack([given[name] for name in self.names], axis=1)
            shift = STEP * np.array([name == str(symbol) for name in self.names])
            before, here, behind = (self.at(points + side * shift) for side in (-1, 0, 1))
            return (behind - 2 * here + before) / STEP**2 if order == 2 else (behind - before) / (2 * STEP)

        return evaluate


@dataclass
class StandIn:
    """What validation asks of a solution."""

    problem: Problem
    functions: dict
    estimated_error: float = KNOWN_ERROR
    cores: tuple = ()
    tolerance: float = 1e-2
    numbers: dict = dataclass_field(default_factory=dict)
    model: object = None
    plan: str = "plan <b>& reasons</b>"
    seconds: float = 1.5
    seed: int = 0
    device: str = "cpu"
    precision: str = "float64"
    method_text: str = "LeastSquares"
    structure_text: str = "affine"

    @property
    def status(self):
        return Status("success", "the estimate met the tolerance")

    @property
    def versions(self):
        return {"numpy": np.__version__}

    @property
    def history(self):
        columns = {"size": [100.0, 200.0], "training_residual": [1e-1, 1e-3], "fresh_residual": [2e-1, 2e-3], "estimated_error": [np.inf, 3e-3]}
        return SimpleNamespace(columns=columns)

    def __getitem__(self, name):
        if name in self.numbers:
            return self.numbers[name]
        return StandInField(self.functions[name], tuple(map(str, self.problem.coordinates)), tuple(self.problem.coordinates))


def line(exact=True, conditions=None, name="line"):
    u = field("u", x)
    solution = sp.sin(3 * x) + 2
    given = conditions(u, solution) if conditions else [Dirichlet(u, solution)]
    return Problem(
        name=name, fields=[u], domain=Interval({x: (0, 1)}), equations=[u.diff(x, 2) - solution.diff(x, 2)], conditions=given,
        exact={u: solution} if exact else None,
    )


def truth(s):
    return np.sin(3 * s) + 2


def off(s):
    return truth(s) * (1 + KNOWN_ERROR)


def beam(exact=None):
    u = field("u", x)
    return Problem(
        name="beam", fields=[u], domain=Interval({x: (0, 1)}), equations=[u.diff(x, 4) - 1], conditions=[Dirichlet(u, 1)],
        exact=exact and {u: exact},
    )


def test_a_known_error_is_measured_against_both_references():
    report = validate(StandIn(line(), {"u": off}))
    assert report.relative_l2["u"] == pytest.approx(KNOWN_ERROR, rel=1e-9)
    assert report.against_grid.relative_l2["u"] == pytest.approx(KNOWN_ERROR, rel=1e-2)
    assert report.max_error["u"] == pytest.approx(3 * KNOWN_ERROR, rel=1e-4)
    assert report.reference_error == 0
    assert report.against_grid.reference_error < 1e-4
    assert report.grid_true_error < 1e-4
    assert report.passed and report.independent and report.honest
    assert report.seconds > 0


def test_only_the_error_outside_the_cores_counts_and_the_inside_is_listed_apart():
    core = (((0.0, 0.0), 0.1),)
    problem = load("poisson_box")
    exact = sp.lambdify((x, y), problem.exact[problem.fields[0]], "numpy")

    def wrong_in_the_core(a, b):
        return exact(a, b) * (1 + 0.5 * (np.hypot(a, b) <= 0.1))

    report = validate(StandIn(problem, {"u": wrong_in_the_core}, cores=core), against="exact")
    assert report.relative_l2["u"] == 0
    assert report.max_error["u"] == 0
    assert report.inside_cores["u"] == pytest.approx(0.5)
    assert "cores are left out" in str(report)


def test_complex_errors_are_complex_norms():
    problem = load("helmholtz_plane_wave", k=6)
    exact = sp.lambdify((x, y), problem.exact[problem.fields[0]], "numpy")
    report = validate(StandIn(problem, {"u": lambda a, b: exact(a, b) * (1 + KNOWN_ERROR * 1j)}), against="exact")
    assert report.relative_l2["u"] == pytest.approx(KNOWN_ERROR)


@pytest.mark.parametrize(
    ("tolerance", "verdict"), [(2 * KNOWN_ERROR, "pass"), (0.5 * KNOWN_ERROR, "fail")]
)
def test_the_exact_solution_decides(tolerance, verdict):
    report = validate(StandIn(line(), {"u": off}), against="exact", tolerance=tolerance)
    assert report.verdict == verdict
    assert report.passed is (verdict == "pass")
    assert f"{tolerance:.1e}" in report.reason


@pytest.mark.parametrize(
    ("own_error", "verdict"), [(1e-4, "pass"), (2e-3, "undecidable"), (1.0, "undecidable")]
)
def test_a_coarse_reference_decides_nothing(own_error, verdict):
    problem = line(exact=False)
    grid = find(problem).solve(problem)
    coarse = type(grid)(**{**vars(grid), "error_estimate": own_error})
    report = validate(StandIn(problem, {"u": off}), against=coarse, tolerance=2 * KNOWN_ERROR)
    assert report.verdict == verdict
    assert report.reference_error == own_error


def test_a_coarse_reference_still_sees_a_large_error():
    problem = line(exact=False)
    grid = find(problem).solve(problem)
    coarse = type(grid)(**{**vars(grid), "error_estimate": 1e-2})
    report = validate(StandIn(problem, {"u": lambda s: 1.5 * truth(s)}), against=coarse, tolerance=1e-3)
    assert report.verdict == "fail"


def test_without_exact_solution_the_grid_judges():
    report = validate(StandIn(line(exact=False), {"u": off}))
    assert report.against_exact is None
    assert report.judge is report.against_grid
    assert report.passed
    assert f"grid solver {find(line(exact=False)).name}" in report.reference


def test_nothing_to_compare_with_is_undecidable_and_lists_the_refusals():
    report = validate(StandIn(beam(), {"u": truth}))
    assert report.verdict == "undecidable"
    assert not report.independent
    assert report.honest is None
    assert report.relative_l2 == {}
    assert "linear_box: the equation of `beam` holds a derivative of order 4" in str(report)


def test_an_exact_solution_suffices_where_the_grid_refuses():
    report = validate(StandIn(beam(exact=sp.sin(3 * x) + 2), {"u": off}))
    assert report.passed
    assert "a derivative of order 4" in report.refusals


@pytest.mark.parametrize(("error", "holds"), [(1.4e-5, True), (1.6e-5, False)])
def test_a_grid_that_knows_less_than_the_solution_does_not_contradict_it(error, holds):
    assert estimate_holds(error, 1e-5, 1e-12) is holds


@pytest.mark.parametrize(("estimate", "honest"), [(KNOWN_ERROR, True), (KNOWN_ERROR / 9, True), (KNOWN_ERROR / 11, False), (np.nan, False)])
def test_an_estimate_is_honest_within_a_factor_of_ten(estimate, honest):
    report = validate(StandIn(line(), {"u": off}, estimated_error=estimate), against="exact")
    assert report.honest is honest
    assert ("NOT honest" in str(report)) is not honest


def test_values_that_are_not_finite_fail():
    report = validate(StandIn(line(), {"u": lambda s: np.where(s > 0.5, np.nan, truth(s))}), against="exact")
    assert report.verdict == "fail"
    assert "not finite" in report.reason


def test_the_free_constant_of_pure_neumann_data_is_removed_and_told():
    problem = line(conditions=lambda u, s: [Neumann(u, -s.diff(x), on="x-"), Neumann(u, s.diff(x), on="x+")], name="floating")
    report = validate(StandIn(problem, {"u": lambda s: truth(s) + 7}), against="exact")
    assert report.relative_l2["u"] < 1e-12
    assert report.max_error["u"] < 1e-12
    assert "defined up to a constant" in str(report)


def test_a_field_is_free_only_when_nothing_holds_its_value():
    u = field("u", x, y)
    box = Box({x: (0, 1), y: (0, 1)})

    def problem(equation, conditions):
        return Problem(name="p", fields=[u], domain=box, equations=[equation], conditions=conditions)

    assert free_constant_fields(problem(laplacian(u), [Neumann(u, 0)])) == ("u",)
    assert free_constant_fields(problem(laplacian(u) - u, [Neumann(u, 0)])) == ()
    assert free_constant_fields(problem(laplacian(u), [Neumann(u, 0, on=("x-", "y-", "y+")), Dirichlet(u, 0, on="x+")])) == ()


def test_a_function_can_be_compared_with():
    report = validate(StandIn(line(), {"u": off}), against=truth)
    assert report.relative_l2["u"] == pytest.approx(KNOWN_ERROR)
    assert not report.independent
    assert "given by the caller" in report.independence


def test_a_wrong_reference_is_named():
    with pytest.raises(UnknownNameError, match="against='grid'.*auto, exact, reference"):
        validate(StandIn(line(), {"u": off}), against="grid")
    other = load("poisson_box")
    with pytest.raises(ProblemError, match=r"`line` was compared with a grid solution of `poisson_box`"):
        validate(StandIn(line(), {"u": off}), against=LinearBoxSolver(cells=24).solve(other))
    with pytest.raises(ProblemError, match="expected \"auto\", \"exact\", \"reference\", a GridSolution"):
        validate(StandIn(line(), {"u": off}), against=3)


def test_points_are_the_same_for_every_run_and_keep_out_of_cores():
    core = (((-0.35, 0.0), 0.05),)
    domain = load("helmholtz_disc").domain
    first, second = (sample_points(domain, core) for _ in range(2))
    assert np.array_equal(first.outside, second.outside)
    assert not in_cores(first.outside, core).any()
    assert in_cores(first.inside, core).all()
    assert len(first.inside) > 500
    share = 1 - len(first.outside) / len(sample_points(domain, ()).outside)
    assert share == pytest.approx(np.pi * 0.05**2, rel=QUADRATURE * 5)


def test_the_declared_residual_is_small_for_the_truth_and_large_for_another_equation():
    problem = load("helmholtz_disc")
    exact = problem.exact[problem.fields[0]]
    points = problem.domain.sample_interior(500, 1)
    radius, distance = np.hypot(*points.T), np.hypot(points[:, 0] + 0.35, points[:, 1])
    points = points[(np.abs(radius - 0.1) > 0.01) & (distance > 0.1)]
    right, wrong = StandIn(problem, {"u": exact}), StandIn(load("helmholtz_disc", k=19), {"u": exact})
    # Central differences of order 2 at k h = 0.02.
    assert np.max(np.abs(declared_residual(right, points))) < 1e-3
    assert np.median(np.abs(declared_residual(wrong, points))) > 1e-2


def test_a_spectrum_peaks_at_the_wavenumber_of_the_wave():
    axes = (np.linspace(0, 1, 128), np.linspace(0, 2, 128))
    a, b = np.meshgrid(*axes, indexing="ij")
    wavenumbers, amplitude = amplitude_spectrum(np.exp(1j * (48 * a + 36 * b)), axes, None)
    # A shell is as wide as the longer wavenumber step, 2 pi.
    assert abs(wavenumbers[np.argmax(amplitude)] - 60) < 2 * np.pi
    along, amplitude = amplitude_spectrum(np.cos(40 * b), axes, 1)
    assert abs(along[np.argmax(amplitude)] - 40) < 2 * np.pi


FIGURE_CASES = ["line", "wave_standing", "helmholtz_plane_wave"]


def figure_stand_in(name):
    problem = line() if name == "line" else load(name)
    (u,) = problem.fields
    exact = sp.lambdify(problem.coordinates, problem.exact[u], "numpy")
    return StandIn(problem, {"u": lambda *columns: exact(*columns) * (1 + KNOWN_ERROR * np.cos(7 * columns[0]))})


@pytest.mark.parametrize("name", FIGURE_CASES)
def test_every_figure_is_drawn_on_lines_in_space_time_and_in_the_plane(name):
    before = dict(rcParams)
    figures = validate(figure_stand_in(name), against="exact").figures()
    assert list(figures) == ["field_u", "history", "residual"]
    titles = [axes.get_title(loc="left") for axes in figures["field_u"].axes]
    assert any("exact" in text for text in titles) or name == "line"
    assert dict(rcParams) == before


def test_a_history_of_one_entry_is_no_figure():
    assert draw_history({"size": [1.0], "fresh_residual": [0.1]}, "short", 1e-3) is None


def test_a_report_is_saved_as_one_page_without_outside_resources(tmp_path):
    report = validate(StandIn(line(name="a<b>&c"), {"u": off}))
    page = report.save(tmp_path / "out")
    text = page.read_text(encoding="utf-8")
    assert {path.name for path in page.parent.iterdir()} == {"report.html", "report.json", "field_u.png", "history.png", "residual.png"}
    assert text.count("data:image/png;base64,") == 3
    assert not re.search(r"(src|href)=\"(?!data:|#)", text) and "url(" not in text and "@import" not in text
    assert "a&lt;b&gt;&amp;c" in text and "<b>" not in text
    assert "plan &lt;b&gt;&amp; reasons" in text


def test_the_json_holds_every_number(tmp_path):
    report = validate(StandIn(line(), {"u": off}))
    report.save(tmp_path)
    record = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert record["relative_l2"]["u"] == report.relative_l2["u"]
    assert record["verdict"] == "pass" and record["passed"] is True
    assert [entry["kind"] for entry in record["against"]] == ["exact", "grid"]
    assert {"seed", "device", "seconds", "versions", "history"} <= set(record["solution"])
    assert record["hardware"]["cpu_count"] >= 1 and record["hardware"]["cpu_model"]
    assert record["solution"]["history"]["estimated_error"] == [None, 3e-3]


def test_several_reports_share_a_page(tmp_path):
    reports = [validate(StandIn(line(name=name), {"u": off}), against="exact") for name in ("first", "second")]
    text = save_reports(reports, tmp_path).read_text(encoding="utf-8")
    assert 'href="#first"' in text and 'id="second"' in text
    assert (tmp_path / "first_field_u.png").is_file() and (tmp_path / "second_history.png").is_file()
    assert len(json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["reports"]) == 2


def test_json_knows_numpy_complex_and_infinite_numbers():
    assert as_json({"a": np.float64(1.5), "b": 1 + 2j, "c": np.inf, "d": np.array([1, 2]), "e": (True, None)}) == {
        "a": 1.5, "b": {"real": 1.0, "imag": 2.0}, "c": None, "d": [1, 2], "e": [True, None],
    }


@pytest.fixture(scope="module")
def solved():
    return solve(load("poisson_box"), seconds=5, progress=False)


def test_a_real_solution_is_validated(solved):
    report = validate(solved)
    assert report.passed, str(report)
    assert report.honest, str(report)
    # The grid solver shares nothing with the network and agrees with it as well as it claims to.
    grid = report.against_grid
    assert grid.relative_l2["u"] < report.relative_l2["u"] + 3 * grid.reference_error


def test_the_declared_residual_of_a_real_solution_is_small(solved):
    points = solved.problem.domain.sample_interior(500, 5)
    assert np.sqrt(np.mean(np.abs(declared_residual(solved, points)) ** 2)) < 1e-2


def test_figures_of_a_real_solution_are_saved(solved, tmp_path):
    assert {"field_u.png", "residual.png"} <= {path.name for path in save_figures(solved, tmp_path)}


def test_the_demonstration_writes_page_and_runs(tmp_path):
    reports = run_demo(tmp_path, seconds=3, names=["poisson_box"], progress=False)
    assert (tmp_path / "report.html").is_file() and (tmp_path / "poisson_box.h5").is_file()
    lines = table(reports).splitlines()
    assert lines[0].split()[0] == "problem" and lines[1].split()[0] == "poisson_box" and lines[1].endswith("pass")
