"""The source-splitting rewrite: the rewritten problem has the same solution, the total field less the known part."""

import numpy as np
import pytest
import sympy as sp

from pinnsiren.compiler.apply_absorbing_layer import stretched_coordinates
from pinnsiren.compiler.apply_source_splitting import _describe, cut_off
from pinnsiren.compiler.incident import IncidentField, incident_expression
from pinnsiren.compiler.numpy_oracle import oracle_residuals
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.language import (
    PML,
    Box,
    Constraint,
    Dirichlet,
    GaussianSource,
    Interval,
    Observations,
    Problem,
    SourceFamily,
    coordinates,
    field,
    laplacian,
)
from pinnsiren.language.numeric import evaluate_on

K = 12.0
DEVIATION = 0.01
CORE = 6 * DEVIATION  # the known part is the far form outside, whose error is the tail of the Gaussian there
ROUNDING = 1e-9  # of the largest terms: derivatives of the cut-off are large and cancel
TAIL = 1e-7  # exp(-18) = 1.5e-8 of the peak, times the width of the Gaussian in wavelengths
FAR = 1e-12  # derivatives of two implementations of one function
DIFFERENCE = 1e-6  # second differences of step 1e-3 deviations of a function known to 1e-13

x, y, z = coordinates("x y z")


def free_space(sources, shots=None, symbols=(x, y), conditions=(), faces="boundary", real=False):
    """Declare Lap u + k^2 u = sources in a box with a layer around it."""
    u = field("u", *symbols, complex=not real, shots=shots)
    limits = {symbol: (-0.5, 0.6) for symbol in symbols}
    domain = Interval(limits) if len(symbols) == 1 else Box(limits)
    members = [sp.Add(*[GaussianSource(at=dict(zip(symbols, at, strict=True)), variance=DEVIATION**2, amplitude=a) for at, a in s]) for s in sources]
    right = members[0] if shots is None else SourceFamily(members)
    layers = [] if real else [PML(u, width=0.4, strength=4, on=faces)]
    return u, Problem(name="free", fields=[u], domain=domain, equations=[laplacian(u) + K**2 * u - right], conditions=[*layers, *conditions])


def rest_of_total(compiled, sources, symbols=(x, y), real=False):
    """Return per shot (total - known) = sum (1 - chi) w, the solution of the rewritten problem when the total field is the incident one."""
    stretched = symbols
    for record in compiled.rewritten.layers:
        stretched = stretched_coordinates(record, symbols)
    shots = []
    for source in sources:
        total = sp.Integer(0)
        for at, amplitude in source:
            item = next(_describe_all(compiled, at))
            offsets = tuple(s - sp.Float(float(c)) for s, c in zip(stretched, at, strict=True))
            wave = incident_expression(K, DEVIATION, amplitude, offsets, real)
            total += (1 - cut_off(item, compiled.ir.domain.bounds, symbols)) * wave
        shots.append(total)
    return shots


def _describe_all(compiled, at):
    problem = compiled.original
    source = GaussianSource(at=dict(zip(problem.coordinates, at, strict=True)), variance=DEVIATION**2)
    yield _describe(problem, source, sp.Integer(1), sp.Float(K) ** 2, 0)


def outside_cores(sources):
    centres = [np.atleast_1d(np.array(at, dtype=float)) for source in sources for at, _ in source]
    return lambda p: np.all([np.linalg.norm(p - c, axis=1) > CORE for c in centres], axis=0)


CASES = {
    "centred": ([[((0.0, 0.0), 1)]], (x, y)),
    "off-centre": ([[((0.3, -0.35), 1 + 2j)]], (x, y)),
    "two sources": ([[((0.3, -0.2), 1), ((-0.2, 0.1), -0.5j)]], (x, y)),
    "near a face": ([[((0.53, 0.0), 1)]], (x, y)),
    "line": ([[((0.1,), 2)]], (x,)),
    "volume": ([[((0.1, 0.0, -0.1), 1)]], (x, y, z)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_total_field_less_the_known_part_solves_the_rewritten_equation(name):
    sources, symbols = CASES[name]
    u, problem = free_space(sources, symbols=symbols)
    compiled = compile_problem(problem)
    assert compiled.rewritten.additions
    (rest,) = rest_of_total(compiled, sources, symbols)
    rows = oracle_residuals(compiled, {u: rest}, where=outside_cores(sources))
    assert dict(rows)["equation 0"] <= TAIL


def test_shots_are_split_one_by_one():
    sources = [[((0.3, -0.2), 1)], [((-0.1, 0.1), 2j)], [((0.0, 0.4), 1), ((0.2, 0.0), 1)]]
    u, problem = free_space(sources, shots=3)
    compiled = compile_problem(problem)
    rest = SourceFamily(rest_of_total(compiled, sources))
    assert dict(oracle_residuals(compiled, {u: rest}, where=outside_cores(sources)))["equation 0"] <= TAIL


def test_the_known_part_is_the_cut_off_times_the_incident_field_with_its_derivatives():
    sources = [[((0.3, -0.2), 1 + 1j)]]
    _, problem = free_space(sources)
    compiled = compile_problem(problem)
    points = problem.domain.sample_interior(64, 5)
    points = points[outside_cores(sources)(points)]
    wave = incident_expression(K, DEVIATION, 1 + 1j, (x - sp.Float(0.3), y + sp.Float(0.2)), False)
    known = wave - rest_of_total(compiled, sources)[0]
    for orders in [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)]:
        wanted = known
        for symbol, order in zip((x, y), orders, strict=True):
            wanted = wanted.diff(symbol, order) if order else wanted
        reference = evaluate_on(wanted, (x, y), points)
        np.testing.assert_allclose(compiled.known_part(0, points, orders)[:, 0], reference, atol=TAIL * np.max(np.abs(reference)))


def test_the_rewritten_source_is_not_narrow():
    sources = [[((0.0, 0.0), 1)]]
    _u, problem = free_space(sources)
    compiled = compile_problem(problem)
    points = compiled.ir.domain.sample_interior(4096, 1)
    program = next(p for p in compiled.programs if p.residual.kind == "equation")
    zeros = [np.zeros((len(points), 1))] * len(program.jets)
    right = np.abs(program.compile([program.algebra])(program.coefficients(points), zeros, [])[0])
    peak = 1 / (2 * np.pi * DEVIATION**2)
    assert np.max(right) < 0.1 * peak


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("real", [False, True])
def test_the_incident_field_solves_the_equation_inside_the_gaussian(dimension, real):
    wave = IncidentField(K, DEVIATION, 1.0, dimension, real)
    radii = DEVIATION * np.array([0.5, 1.0, 2.0, 4.0, 7.0])
    step = 1e-2 * DEVIATION
    # Sixth-order differences of the values alone: the class takes its own second derivative from the equation.
    offsets = np.arange(-3, 4)
    first = np.array([-1, 9, -45, 0, 45, -9, 1]) / 60 / step
    second = np.array([2, -27, 270, -490, 270, -27, 2]) / 180 / step**2
    values = np.array([wave.radial(radii + j * step)[0] for j in offsets])
    slope, curvature = first @ values, second @ values
    density = (2 * np.pi * DEVIATION**2) ** (-dimension / 2) * np.exp(-0.5 * (radii / DEVIATION) ** 2)
    residual = curvature + (dimension - 1) / radii * slope + K**2 * values[3] - density
    assert np.max(np.abs(residual)) < DIFFERENCE * (2 * np.pi * DEVIATION**2) ** (-dimension / 2)
    np.testing.assert_allclose(slope, wave.radial(radii)[1], rtol=0, atol=1e-8 * np.max(np.abs(slope)))


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_the_far_form_continues_the_core(dimension):
    wave = IncidentField(K, DEVIATION, 1.0, dimension, False)
    edge = 8 * DEVIATION
    for inner, outer in zip(wave.radial(np.array([edge * (1 - 1e-9)])), wave.radial(np.array([edge * (1 + 1e-9)])), strict=True):
        np.testing.assert_allclose(inner, outer, rtol=1e-6)


def rows_of_kind(compiled, rows, kind):
    return [value for residual, (_, value) in zip(compiled.ir.residuals, rows, strict=True) if residual.kind == kind]


def test_observations_of_the_total_field_are_shifted():
    sources = [[((0.1, 0.0), 1 + 1j)]]
    wave = incident_expression(K, DEVIATION, 1 + 1j, (x - sp.Float(0.1), y), False)
    points = np.array([[0.3, 0.2], [-0.4, -0.4], [0.2, 0.01]])
    u = field("u", x, y, complex=True)
    conditions = [
        Observations(u, points, evaluate_on(wave, (x, y), points)),
        Observations(u.diff(x) + 2 * u, points, evaluate_on(wave.diff(x) + 2 * wave, (x, y), points)),
    ]
    _, problem = free_space(sources, conditions=conditions)
    compiled = compile_problem(problem)
    rows = oracle_residuals(compiled, {u: rest_of_total(compiled, sources)[0]}, where=outside_cores(sources))
    found = rows_of_kind(compiled, rows, "observation")
    assert len(found) == 2 and max(found) <= ROUNDING


def test_observations_inside_the_gaussian_see_the_field_of_the_gaussian():
    """At the centre the far form is infinite; the field of the blob is not."""
    sources = [[((0.1, 0.0), 1.0)]]
    wave = IncidentField(K, DEVIATION, 1.0, 2, False)
    points = np.array([[0.1, 0.0], [0.1 + DEVIATION, 0.0], [0.3, 0.2]])
    offsets = points - np.array([0.1, 0.0])
    u = field("u", x, y, complex=True)
    conditions = [Observations(u, points, wave.derivative(offsets, (0, 0)))]
    _, problem = free_space(sources, conditions=conditions)
    compiled = compile_problem(problem)
    (program,) = [p for p in compiled.programs if p.residual.kind == "observation"]
    # The unknown part vanishes where the cut-off is one, and (1 - chi) w is left further out.
    rest = evaluate_on(rest_of_total(compiled, sources)[0], (x, y), points)
    rest[:2] = 0
    value = program.compile([program.algebra])(program.coefficients(points), [rest[:, None]], [])[0][:, 0] - program.residual.values
    np.testing.assert_allclose(value, 0, atol=TAIL)


def test_a_condition_on_an_interior_point_and_a_constraint_are_shifted():
    sources = [[((0.1, 0.0), 1.0)]]
    wave = incident_expression(K, DEVIATION, 1.0, (x - sp.Float(0.1), y), False)
    u = field("u", x, y, complex=True)
    at = {x: -0.3, y: 0.25}
    box = Box({x: (0.3, 0.4), y: (0.1, 0.2)})
    conditions = [Dirichlet(u, sp.N(wave.subs(at)), on=at), Constraint(u.diff(y) - wave.diff(y), on=box)]
    _, problem = free_space(sources, conditions=conditions)
    compiled = compile_problem(problem)
    rows = oracle_residuals(compiled, {u: rest_of_total(compiled, sources)[0]}, where=outside_cores(sources))
    found = rows_of_kind(compiled, rows, "condition")
    assert len(found) == 2 and max(found) <= ROUNDING


def test_a_layer_on_some_faces_leaves_the_conditions_of_the_others_alone():
    u = field("u", x, y, complex=True)
    walls = [Dirichlet(u, x, on=("y-", "y+"))]
    _, problem = free_space([[((0.1, 0.0), 1.0)]], conditions=walls, faces=("x-", "x+"))
    compiled = compile_problem(problem)
    points, _ = compiled.ir.domain.sample_boundary("y-", 64, 0)
    for orders in [(0, 0), (1, 0), (0, 1)]:
        np.testing.assert_allclose(compiled.known_part(0, points, orders), 0, atol=1e-300)


def test_a_source_in_a_medium_that_varies_around_it_is_not_split():
    u = field("u", x, y, complex=True)
    source = GaussianSource(at={x: 0, y: 0}, variance=DEVIATION**2)
    domain = Box({x: (-0.5, 0.5), y: (-0.5, 0.5)})
    for coefficient in (100 + x, sp.Piecewise((50, x > 0.03), (100, True))):
        problem = Problem(name="v", fields=[u], domain=domain, equations=[laplacian(u) + coefficient * u - source], conditions=[PML(u, 0.4, 4)])
        assert not compile_problem(problem).rewritten.additions


def test_a_real_field_keeps_a_real_known_part():
    sources = [[((0.1, 0.0), 1.0)]]
    u = field("u", x, y)
    _, problem = free_space(sources, real=True, conditions=[Dirichlet(u, 0)])
    compiled = compile_problem(problem)
    (rest,) = rest_of_total(compiled, sources, real=True)
    assert dict(oracle_residuals(compiled, {u: rest}, where=outside_cores(sources)))["equation 0"] <= TAIL
    assert not np.iscomplexobj(compiled.known_part(0, problem.domain.sample_interior(8, 0), (0, 0)))


def test_a_medium_that_changes_further_out_enters_the_rewritten_source():
    """With (1 - chi) w as the unknown part, what is left is the known (k^2(x) - k0^2) w of the other medium."""
    u = field("u", x, y, complex=True)
    source = GaussianSource(at={x: -0.2, y: 0}, variance=DEVIATION**2)
    contrast = sp.Piecewise((300, x > 0.2), (0, True))
    domain = Box({x: (-0.5, 0.6), y: (-0.5, 0.6)})
    wave = incident_expression(K, DEVIATION, 1.0, (x + sp.Float(0.2), y), False)
    equation = laplacian(u) + (K**2 + contrast) * u - source - contrast * wave
    problem = Problem(name="contrast", fields=[u], domain=domain, equations=[equation], conditions=[Dirichlet(u, wave)])
    compiled = compile_problem(problem)
    sources = [[((-0.2, 0.0), 1.0)]]
    rows = oracle_residuals(compiled, {u: rest_of_total(compiled, sources)[0]}, where=outside_cores(sources))
    assert compiled.rewritten.additions and max(value for _, value in rows) <= TAIL


def test_a_source_whose_cut_off_would_fall_inside_it_is_not_split():
    u = field("u", x, y, complex=True)
    domain = Box({x: (-0.5, 0.5), y: (-0.5, 0.5)})
    for distance, is_split in ((0.05, False), (0.2, True)):
        source = GaussianSource(at={x: 0.5 - distance, y: 0}, variance=DEVIATION**2)
        problem = Problem(name="wall", fields=[u], domain=domain, equations=[laplacian(u) + K**2 * u - source], conditions=[Dirichlet(u, 0)])
        assert bool(compile_problem(problem).rewritten.additions) == is_split


def test_a_source_under_an_interior_condition_is_not_split():
    u = field("u", x, y, complex=True)
    for condition in (Dirichlet(u, 1, on={x: 0.1, y: 0.01}), Constraint(u.diff(x), on=Box({x: (0.0, 0.2), y: (-0.1, 0.1)}))):
        _, problem = free_space([[((0.1, 0.0), 1.0)]], conditions=[condition])
        assert not compile_problem(problem).rewritten.additions
