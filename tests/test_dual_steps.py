"""Gauss-Newton without a Jacobian: Gram matrices from factors, dual steps and preconditioned steps against the explicit Jacobian."""

from itertools import pairwise

import numpy as np
import pytest
import sympy as sp
import torch

import pinnsiren as ps
from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.networks import Siren, row_factors
from pinnsiren.networks.row_factors import row_squares, separable_norms, squared_norms
from pinnsiren.problems import load
from pinnsiren.training import dual_system, sketched_system
from pinnsiren.training.dual_system import DualSystem, FactoredMatrix
from pinnsiren.training.gauss_newton import GaussNewton
from pinnsiren.training.method import RunSettings
from pinnsiren.training.network_problem import NetworkProblem
from pinnsiren.training.sketched_system import SketchedSystem, StreamedRows

ROUNDING = 1e-12
STEP = 1e-8  # rounding times the condition of the damped equations, 1e4 at the damping of the test
PROJECTED = 1e-6  # the Gram matrix is projected after it was summed: the squared share of the columns that the last layer carries cancels
SOLVED_STEP = 1e-3  # residual 1e-6 of the equations in the norm of the preconditioner, whose condition is 1e3 to 1e4
PROBED = 0.3  # four deviations of a mean over 400 squares of unit variance two
X, Y = ps.coordinates("x y")


def membrane(kind):
    """A nonlinear equation with what factors have to carry: two rows per point, an unknown scalar, or a jump with two sides."""
    u = ps.field("u", X, Y, complex=kind == "complex")
    a = ps.unknown("a", 2.0, (0, 10)) if kind == "scalar" else 2
    domain = ps.Box({X: (0, 1), Y: (0, 1)})
    conditions = [ps.Periodic(u, X), ps.Dirichlet(u, 1 + X, on=("y-", "y+"))] if kind == "two sides" else [ps.Dirichlet(u, 1 + Y)]
    if kind == "scalar":
        conditions.append(ps.Observations(u, np.array([[0.3, 0.4], [0.6, 0.1]]), np.array([1.0, 1.1])))
    equation = ps.laplacian(u) + a * (1 + X * Y) * u**2 - sp.sin(X)
    return ps.Problem(name="membrane", fields=[u], domain=domain, equations=[equation], conditions=conditions)


def prepared(kind="plain", width=9, points=60):
    problem = NetworkProblem(compile_problem(membrane(kind)), torch.device("cpu"), torch.float64)
    module = Siren(width=width, depth=3, omega_0=3.0).build(problem.n_inputs, problem.n_outputs, seed=1, dtype=torch.float64)
    unknowns = torch.tensor([2.5] if kind == "scalar" else [], dtype=torch.float64)
    residuals = problem.prepare(points, 3)
    pairs = [problem.factored_rows(module, residual, unknowns) for residual in residuals]
    rows, jacobian = problem.jacobian(module, residuals, unknowns)
    assert torch.equal(rows, torch.cat([values for values, _ in pairs]))
    return problem, module, unknowns, residuals, [factors for _, factors in pairs], rows, jacobian


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("kind", ["plain", "complex", "scalar", "two sides"])
@pytest.mark.parametrize("cost", [0.0, 1e9], ids=["all layers from factors", "all layers from columns"])
def test_products_norms_and_gram_matrices_are_those_of_the_jacobian(kind, cost, monkeypatch):
    monkeypatch.setitem(row_factors.ELEMENT_COST, "cpu", -1e9 if cost == 0 else cost)
    monkeypatch.setitem(row_factors.TILE_ROWS, "cpu", 17)
    *_, factors, rows, jacobian = prepared(kind)
    assert len(factors) > 1
    matrix = FactoredMatrix(factors)
    scaled = jacobian / matrix.norms
    direction = torch.randn(jacobian.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert relative(matrix.product(direction), scaled @ direction) < ROUNDING
    assert relative(matrix.transpose_product(rows), scaled.T @ rows) < ROUNDING
    assert relative(matrix.gram(), scaled @ scaled.T) < ROUNDING
    lengths = torch.cat([row_squares(part) for part in matrix.parts])
    blocks = torch.split(scaled.pow(2).sum(1), matrix.sizes)
    expected = torch.cat([block.view(-1, part.n_points).sum(0) for block, part in zip(blocks, factors, strict=True)])
    assert relative(lengths, expected) < ROUNDING


def test_separable_norms_have_the_sums_of_the_squared_columns():
    _, module, _, _, factors, _, jacobian = prepared()
    norms = separable_norms(torch.stack([squared_norms(part) for part in factors]).sum(0), factors[0])
    start = 0
    for outputs, inputs, biases in zip(norms.outputs, norms.inputs, norms.biases, strict=True):
        size = len(outputs) * len(inputs)
        squares = jacobian[:, start : start + size].pow(2).sum(0).view(len(outputs), len(inputs))
        separable = torch.outer(outputs, inputs).pow(2)
        for axis in (0, 1):
            assert relative(separable.sum(axis), squares.sum(axis)) < ROUNDING
        assert relative(biases, jacobian[:, start + size : start + size + len(outputs)].norm(dim=0)) < ROUNDING
        start += size + len(outputs)
    assert start == module.n_parameters


@pytest.mark.parametrize("eliminated", [False, True])
def test_a_dual_step_is_that_of_the_explicit_jacobian(eliminated):
    _, _, _, _, factors, rows, jacobian = prepared(points=40)
    basis = None
    if eliminated:
        n_last = factors[0].layers[-1].adjoints.shape[-1] * (factors[0].layers[-1].inputs.shape[-1] + 1)
        basis = torch.linalg.qr(jacobian[:, -n_last:]).Q
        factors = [part.without_last_layer() for part in factors]
        jacobian = jacobian[:, :-n_last] - basis @ (basis.T @ jacobian[:, :-n_last])
    system, damping = DualSystem(factors, rows, basis), 1e-3
    step, predicted = system.step(damping)
    matrix = jacobian / system.norms
    exact = -torch.linalg.solve(matrix.T @ matrix + damping * torch.eye(matrix.shape[1], dtype=torch.float64), matrix.T @ rows) / system.norms
    assert relative(step, exact) < (PROJECTED if eliminated else STEP)
    assert predicted == pytest.approx(0.5 * float(rows.pow(2).sum() - (rows + jacobian @ step).pow(2).sum()), rel=STEP)


def test_norms_behind_an_eliminated_layer_are_those_of_the_projected_columns(monkeypatch):
    monkeypatch.setattr(dual_system, "PROBES", 400)
    _, _, _, _, factors, _, jacobian = prepared(points=40)
    n_last = 10
    basis = torch.linalg.qr(jacobian[:, -n_last:]).Q
    kept = [part.without_last_layer() for part in factors]
    projected = jacobian[:, :-n_last] - basis @ (basis.T @ jacobian[:, :-n_last])
    found, start = dual_system.projected_norms(kept, basis).flat().pow(2), 0
    assert float(projected.norm()) < 0.8 * float(jacobian[:, :-n_last].norm())
    for layer in kept[0].layers:
        size = layer.adjoints.shape[-1] * layer.inputs.shape[-1]
        for part in (slice(start, start + size), slice(start + size, start + size + layer.adjoints.shape[-1])):
            assert float(found[part].sum()) == pytest.approx(float(projected[:, part].pow(2).sum()), rel=PROBED)
        start += size + layer.adjoints.shape[-1]


@pytest.mark.parametrize(("kind", "width"), [("plain", 6), ("complex", 16), ("scalar", 6)], ids=["more rows", "more parameters", "scalar"])
def test_a_sketch_costs_iterations_and_not_the_step(kind, width, monkeypatch):
    problem, module, unknowns, residuals, _, rows, jacobian = prepared(kind, width, points=200)
    damping, solutions, iterations = 1e-3, [], []
    for n_sketch, kept in ((150, 1 << 30), (5, 0)):
        system = SketchedSystem(StreamedRows(problem, module, residuals, unknowns, kept), n_sketch, seed=2)
        step, predicted = system.step(damping)
        assert predicted == pytest.approx(0.5 * float(rows.pow(2).sum() - (rows + jacobian @ step).pow(2).sum()), rel=STEP)
        solutions.append(step * system.norms)
        iterations.append(system.iterations)
    matrix = jacobian / system.norms
    exact = -torch.linalg.solve(matrix.T @ matrix + damping * torch.eye(matrix.shape[1], dtype=torch.float64), matrix.T @ rows)
    assert relative(solutions[0], exact) < SOLVED_STEP
    assert iterations[0] < 0.5 * iterations[1]
    # Cut short, a step still lowers the model by what it says.
    monkeypatch.setattr(sketched_system, "ITERATIONS", 2)
    step, predicted = system.step(damping)
    assert system.iterations == 2 and predicted > 0
    assert predicted == pytest.approx(0.5 * float(rows.pow(2).sum() - (rows + jacobian @ step).pow(2).sum()), rel=STEP)


def started(method, network, kind="plain"):
    settings = RunSettings(0, 1e-9, False, 60.0, "cpu", "float64", network)
    return method.start(compile_problem(membrane(kind)), settings)


def test_the_counts_decide_and_the_plan_says_so():
    small, wide = (Siren(width=width, depth=2, omega_0=3.0) for width in (9, 80))
    expected = {
        "factors": (GaussNewton(points=100), wide, "Gram matrix of the residuals from the factors of the streams in 1 of 3 layers"),
        "jacobian": (GaussNewton(points=20), small, "dual equations of the Jacobian"),
        "sums": (GaussNewton(jacobian_bytes=1000), small, "summed over pieces"),
        "sketch": (GaussNewton(points=400, exact_rows=300), wide, "preconditioned by a sketch of 150"),
    }
    for kind, (method, network, text) in expected.items():
        assert started(method, network).choice.kind == kind
        assert text in str(ps.plan(membrane("plain"), method=method, network=network))


@pytest.mark.parametrize("kind", ["plain", "complex"])
def test_steps_from_factors_and_sketches_lower_the_residual_of_all_points(kind, monkeypatch):
    monkeypatch.setitem(row_factors.ELEMENT_COST, "cpu", -1e9)
    network = Siren(width=16, depth=2, omega_0=3.0)
    for method in (GaussNewton(points=60), GaussNewton(points=600, exact_rows=200)):
        run = started(method, network, kind)
        assert run.choice.kind == ("factors" if method.points == 60 else "sketch")
        losses = [run.advance() for _ in range(6)]
        rows = run.problem.all_rows(run.module, run.training, run.unknowns)
        assert losses[-1] == pytest.approx(0.5 * float(rows.pow(2).sum()), rel=1e-9)
        assert all(after < before for before, after in pairwise(losses)) and losses[-1] < 0.2 * losses[0]


def test_more_than_eight_thousand_residuals_of_the_catalogue_are_solved_by_sketches():
    """A manufactured bump with a cubic term, nothing forced: few steps on a sketch of half as many rows bring the field to per cents."""
    problem = load("bump_nonlinear")
    network = Siren(width=96, depth=2)
    compiled = ps.plan(problem, method=GaussNewton(points=100), network=network).compiled
    run = GaussNewton(points=8300).start(compiled, RunSettings(0, 1e-9, False, 600.0, "cpu", "float64", network))
    assert run.choice.kind == "sketch" and "preconditioned by a sketch of 4000" in run.choice.reason
    losses = [run.advance() for _ in range(4)]
    assert all(after < before for before, after in pairwise(losses)) and losses[-1] < 0.1 * losses[0]
    points = problem.domain.sample_interior(500, 3)
    (u,) = problem.fields
    exact = np.asarray(sp.lambdify(u.args, problem.exact[u])(*points.T))
    found = compiled.known_part(0, points, (0, 0))[:, 0] + run.model().evaluate(0, points, (0, 0))[:, 0]
    assert np.linalg.norm(found - exact) < 0.02 * np.linalg.norm(exact)
