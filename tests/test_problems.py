"""The catalogue: every file is declared and documented, and its exact solution satisfies what it declares."""

import ast
import importlib
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from pinnsiren import problems
from pinnsiren.errors import ProblemError, ReferenceSolverError, UnknownNameError
from pinnsiren.language import Box, Problem, SpaceTime, expand_operators, expand_sources
from pinnsiren.language.locations import sample_pair
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.problems import load as load_declared
from pinnsiren.problems import names
from pinnsiren.reference_solvers import find

N_POINTS = 400
SEED = 3
# SymPy differentiates exactly; what is left is rounding, relative to the largest term.
EXPRESSION_TOLERANCE = 1e-11
# Central differences of fourth order: (k h)^4/90 = 3e-8 at k = 20; rounding of the closed forms over h^2 stays below.
STEP = 2e-3
DIFFERENCE_TOLERANCE = 3e-7
HOLE_TOLERANCE = 1e-4
# Differences across a jump or through the log-like peak of a source mean nothing.
CLEARANCE = 0.13
# Estimates should err on the safe side. The standing wave is the worst: 2.7, since phase errors of its third mode vanish at the evenly spaced
# instants that the evolution solver compares.
ESTIMATE_FACTOR = 3

OTHER_CONSTANTS = {
    "allen_cahn": {"diffusion": 1e-3, "rate": 3, "duration": 0.5},
    "burgers": {"viscosity": 0.02, "duration": 0.5},
    "bump_nonlinear": {"height": 1.5, "centre": (0.0, 0.1), "spread": 0.4},
    "convection_diffusion": {"diffusion": 0.02},
    "heat_variable_conductivity": {"contrast": 0.2, "amplitude": 50, "duration": 0.5},
    "conductivity_field": {"centre": (0.2, 0.7), "sharpness": 4, "side": 20},
    "fwi_anomalies": {"discs": (((0.1, 0.1), 0.06, 0.8),), "wavenumbers": (9.5,), "sources": 3, "receivers": 11, "noise": 0, "seed": 4},
    "fwi_disc_multifrequency": {"wavenumbers": (7, 15), "radius": 0.13, "speed": 0.7, "centre": (0.05, -0.1), "sources": 3, "receivers": 10},
    "fwi_marmousi2": {"frequencies": (1.7,), "start": "trend", "every": 20, "noise": 0.05, "seed": 2},
    "fwi_wave_time": {"discs": (((0.1, 0.1), 0.06, 0.8),), "frequency": 1.5, "sources": 2, "receivers": 9, "noise": 0.05, "seed": 4},
    "fwi_disc_paper": {"noise": 0.03, "half_side": 0.2},
    "heated_wall": {"length": 1.3, "height": 0.7, "stripes": 1},
    "helmholtz_disc": {"k": 17, "radius": 0.08, "squared_slowness": 0.4, "at": (-0.3, 0.05)},
    "helmholtz_plane_wave": {"k": 11.5, "amplitudes": (1, 2j), "directions": (0.1, 2.0)},
    "helmholtz_point_source": {"k": 14, "variance": 4e-4, "amplitude": 2 - 1j, "at": (0.1, -0.1)},
    "helmholtz_square": {"half_side": 0.2, "squared_slowness": 0.5},
    "image_from_gradient": {"image": "coins", "size": 32},
    "image_from_laplacian": {"image": "moon", "size": 24},
    "image_fusion": {"images": ("brick", "rocket"), "size": 20, "share": 0.3},
    "sdf_box": {"half_sides": (0.3, 0.6, 0.2), "n_points": 500},
    "sdf_mesh": {"mesh": "sphere", "size": 0.9, "n_points": 500},
    "sdf_torus": {"radius": 0.4, "tube": 0.1, "n_points": 500},
    "poisson_annulus": {"inner": 0.2, "centre": (0.3, -0.2), "a": 2, "charge": -1},
    "poisson_ball": {"radius": 0.7, "contrast": 0.8, "q": 3},
    "poisson_box": {"a": 2, "b": 5},
    "poisson_diffusion_jump": {"conductivity": 0.2, "radius": 0.6, "heating": 2},
    "poisson_four_holes": {"centres": ((0.2, 0.1), (-0.25, -0.2)), "radius": 0.15, "inner": -2},
    "poisson_four_holes_screened": {"k": 3, "holes": ((0.1, 0.3, 0.25), (-0.5, -0.4, 0.3))},
    "poisson_l_shape": {"side": 0.6, "turn": 0.7, "smooth": 2},
    "wave_absorbing": {"c": 2, "variance": 0.0025, "at": (-0.1, 0.1), "end": 0.5},
    "wave_layered": {"speeds": (3, 1), "at": 0.4, "variance": 0.002, "end": 0.5, "in_divergence": False},
    "wave_pulse": {"c": 2, "variance": 2e-3, "amplitude": 1, "at": (0.1, -0.2), "end": 0.2},
    "wave_speed": {"c": 3.3, "observations": 50, "start": 0.8, "seed": 5},
    "wave_standing": {"c": 3, "modes": (2,), "amplitudes": (0.7,), "periods": 2},
    "wave_two_modes": {"c": 0.5, "amplitudes": {2: 1, 3: 0.2}, "end": 2},
    "wave_variable_medium": {"b": -0.3, "at": (0.1, 0.2), "variance": 0.02, "end": 0.5},
}
# The grid solver resolves every wave of an image: a minute for the 64 x 64 cells of the catalogue, seconds for fewer.
FOR_THE_GRID = {"image_from_laplacian": {"size": 12}}


def at_hand(name):
    """Whether the files that a problem reads are there; it says so itself where they are not."""
    module = importlib.import_module(f"pinnsiren.problems.{name}")
    return all(path.exists() for path in vars(module).values() if isinstance(path, Path))


HERE = [name for name in names() if at_hand(name)]
CASES = [(name, {}) for name in HERE] + sorted((name, constants) for name, constants in OTHER_CONSTANTS.items() if name in HERE)
IDS = [f"{name}{'-other' if constants else ''}" for name, constants in CASES]
each_case = pytest.mark.parametrize(("name", "constants"), CASES, ids=IDS)


def load(name, **constants):
    """A problem of the catalogue; one that needs an optional library skips the test when it is missing."""
    try:
        return load_declared(name, **constants)
    except ProblemError as error:
        if "is not installed: pip install" not in str(error):
            raise
        pytest.skip(str(error))


def has_an_exact_expression(name):
    try:
        return is_expression(load(name))
    except pytest.skip.Exception:
        return False


def is_expression(problem):
    exact = problem.exact or {}
    return set(problem.fields) <= set(exact) and all(isinstance(value, sp.Basic) for value in exact.values())


def substituted(expression, problem):
    """The expression with the exact solution in place of the fields, as plain SymPy."""
    inserted = expand_sources(expand_operators(sp.sympify(expression))).xreplace(dict(problem.exact))
    return inserted.doit()


def relative_residual(expression, problem, points):
    terms = sp.Add.make_args(sp.expand_mul(expand_sources(expand_operators(sp.sympify(expression)))))
    values = [evaluate_on(substituted(term, problem), problem.coordinates, points) for term in terms]
    scale = max(np.max(np.abs(value)) for value in values)
    return np.max(np.abs(np.sum(values, axis=0))) / max(scale, 1.0)


@each_case
def test_it_is_declared_under_its_own_name(name, constants):
    problem = load(name, **constants)
    assert isinstance(problem, Problem)
    assert problem.name == name


@each_case
def test_an_exact_expression_satisfies_equations_and_conditions(name, constants):
    problem = load(name, **constants)
    if not is_expression(problem):
        pytest.skip("its exact solution is no expression")
    interior = problem.domain.sample_interior(N_POINTS, SEED)
    for equation in problem.equations:
        assert relative_residual(equation, problem, interior) < EXPRESSION_TOLERANCE
    for condition in problem.conditions:
        for residual in condition.residuals(problem.domain):
            if residual.region.opposite is not None:
                inserted, sides = substituted(residual.expression, problem), sample_pair(residual.region, problem.domain, 64, SEED)
                here, there = (evaluate_on(inserted, problem.coordinates, side) for side in sides)
                assert np.max(np.abs(here - there)) < EXPRESSION_TOLERANCE * max(np.max(np.abs(here)), 1.0), residual.label
                continue
            points = residual.region.points
            if points is None:
                points, _ = problem.domain.sample_boundary(residual.region.part, 64, SEED)
            if residual.values is not None:
                measured = evaluate_on(substituted(residual.expression, problem), problem.coordinates, points)
                assert np.max(np.abs(measured - residual.values)) < EXPRESSION_TOLERANCE * np.max(np.abs(measured)), residual.label
                continue
            assert relative_residual(residual.expression, problem, points) < EXPRESSION_TOLERANCE, residual.label


def laplacian_by_differences(function, x, y):
    weights = {-2: -1 / 12, -1: 4 / 3, 0: -5 / 2, 1: 4 / 3, 2: -1 / 12}
    return sum(w * (function(x + i * STEP, y) + function(x, y + i * STEP)) for i, w in weights.items()) / STEP**2


def away_from_jumps(problem, points):
    """Points whose whole stencil sees one value of the coefficient of u."""
    coefficient = sp.diff(expand_sources(expand_operators(problem.equations[0])), problem.fields[0])
    here = evaluate_on(coefficient, problem.coordinates, points)
    shifts = 3 * STEP * np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])
    return np.all([evaluate_on(coefficient, problem.coordinates, points + shift) == here for shift in shifts], axis=0)


@each_case
def test_a_closed_form_satisfies_its_equation_by_differences(name, constants):
    problem = load(name, **constants)
    if not problem.exact or is_expression(problem) or isinstance(problem.domain, SpaceTime) or len(problem.coordinates) != 2:
        pytest.skip("its exact solution is no closed form of a Helmholtz equation in the plane")
    if len(problem.exact) > 1 or problem.coefficients:
        pytest.skip("several fields and a medium: tests/test_fwi_catalogue.py")
    ((u, exact),) = problem.exact.items()
    points = problem.domain.sample_interior(N_POINTS, SEED)
    points = points[away_from_jumps(problem, points)]
    for at in source_positions(problem):
        points = points[np.linalg.norm(points - np.asarray(at), axis=1) > CLEARANCE]
    if not isinstance(problem.domain, Box):
        points = points[problem.domain.signed_distance(points) < -4 * STEP]
    assert len(points) > N_POINTS / 2
    coefficient = evaluate_on(sp.diff(expand_sources(expand_operators(problem.equations[0])), u), problem.coordinates, points)
    reaction = coefficient * exact(*points.T)
    leftover = laplacian_by_differences(exact, *points.T) + reaction
    if np.any(reaction):
        assert np.max(np.abs(leftover)) < DIFFERENCE_TOLERANCE * np.max(np.abs(reaction))
    else:
        # Harmonic around holes: the sixth derivative near a disc of radius R makes (h/R)^4 out of the second.
        x, y = points.T
        bending = (exact(x + STEP, y) - 2 * exact(x, y) + exact(x - STEP, y)) / STEP**2
        assert np.max(np.abs(leftover)) < HOLE_TOLERANCE * np.max(np.abs(bending))


def source_positions(problem):
    sources = [node for node in problem.equations[0].atoms(sp.Function) if type(node).__name__ == "GaussianSource"]
    return [[float(value) for value in source.centre] for source in sources]


@pytest.mark.parametrize("name", HERE)
def test_something_can_judge_it(name):
    problem = load(name)
    if not problem.exact:
        assert find(problem).supports(problem).ok


@pytest.mark.parametrize("name", HERE)
def test_the_grid_solver_agrees_with_the_exact_expression(name):
    problem = load(name, **FOR_THE_GRID.get(name, {}))
    if not is_expression(problem):
        pytest.skip("its exact solution is no expression")
    try:
        grid = find(problem).solve(problem)
    except ReferenceSolverError as refusal:
        pytest.skip(str(refusal))
    (exact,) = problem.exact.values()
    points = problem.domain.sample_interior(4 * N_POINTS, SEED)
    true = evaluate_on(exact, problem.coordinates, points)
    assert np.linalg.norm(grid(*points.T) - true) < ESTIMATE_FACTOR * grid.error_estimate * np.linalg.norm(true)


@pytest.mark.parametrize("name", names())
def test_its_file_says_what_it_is(name):
    tree = ast.parse((Path(problems.__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree) or ""
    assert " = " in docstring, "the equation stands in the docstring"
    (declare,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "declare"]
    assert not declare.args.args, "constants are keyword-only"
    assert all(default is not None for default in declare.args.kw_defaults), "the constants of the source are the defaults"


def test_the_constants_of_the_helmholtz_experiments_are_those_of_the_paper():
    problem = load("helmholtz_point_source")
    (source,) = [node for node in problem.equations[0].atoms(sp.Function) if type(node).__name__ == "GaussianSource"]
    (layer,) = problem.conditions
    assert problem.equations[0].coeff(problem.fields[0]) == 400
    assert (float(source.variance), complex(source.amplitude)) == (1e-4, 1 + 1j)
    assert (layer.width, layer.strength) == (0.5, 5.0)
    assert load("helmholtz_disc").exact[load("helmholtz_disc").fields[0]].inner_wavenumber == 10


def test_names_are_sorted_and_complete():
    files = {path.stem for path in Path(problems.__file__).parent.glob("[!_]*.py")}
    assert names() == tuple(sorted(files))


def test_an_unknown_name_is_answered_with_the_known_ones_and_the_closest():
    with pytest.raises(UnknownNameError, match="helmholtz_disc, .*wave_standing.*Did you mean `helmholtz_disc`"):
        load("helmholz_disk")
