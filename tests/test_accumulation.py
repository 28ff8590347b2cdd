"""Sums over chunks of points: equal to the whole, and of a size that does not depend on the number of points."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import sympy as sp
import torch

from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.errors import ProblemError
from pinnsiren.language import Box, Dirichlet, Problem, coordinates, div, field, grad, laplacian, unknown
from pinnsiren.networks import Siren
from pinnsiren.training.accumulation import Chunk, accumulate_gradient, accumulate_normal_equations, draw_chunks, split_residual
from pinnsiren.training.blocked_qr import BlockedQR, solve_by_blocks
from pinnsiren.training.feature_model import build_bases, draw_all
from pinnsiren.training.gauss_newton import GaussNewton
from pinnsiren.training.method import RunSettings
from pinnsiren.training.network_problem import NetworkProblem
from pinnsiren.training.normal_equations import NormalEquations
from pinnsiren.training.row_blocks import row_blocks, solve_rows
from pinnsiren.training.row_system import RowSystem, solve_least_squares

ROUNDING = 1e-12
GROWTH = 1.05  # of the peak memory, between eight times more points and as many

x, y = coordinates("x y")


def prepared(kind=torch.float64, complex_field=False, scalar=False):
    u = field("u", x, y, complex=complex_field)
    a = unknown("a", 2.0, (0, 10)) if scalar else 2
    equation = laplacian(u) + a * (1 + x * y) * u**2 - sp.sin(x)
    domain = Box({x: (0, 1), y: (0, 1)})
    declared = Problem(name="p", fields=[u], domain=domain, equations=[equation], conditions=[Dirichlet(u, 1 + y)])
    problem = NetworkProblem(compile_problem(declared), torch.device("cpu"), kind)
    module = Siren(width=7, depth=2, omega_0=3.0).build(problem.n_inputs, problem.n_outputs, seed=1, dtype=kind)
    return problem, module, torch.tensor([2.5] if scalar else [], dtype=kind)


@pytest.mark.parametrize("complex_field", [False, True])
def test_pieces_of_the_points_sum_to_the_whole(complex_field):
    problem, module, unknowns = prepared(complex_field=complex_field)
    residuals = problem.prepare(100, 3)
    pieces = [piece for residual in residuals for piece in split_residual(residual, 13)]
    assert len(pieces) > 2 * len(residuals)
    whole = problem.loss(module, residuals, unknowns)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(whole, list(module.parameters()))])
    loss, gradient = accumulate_gradient(problem, module, [Chunk(1.0, pieces)], unknowns)
    assert loss == pytest.approx(float(whole.detach()), rel=ROUNDING)
    assert float((gradient - expected).norm()) < ROUNDING * float(expected.norm())
    rows, jacobian = problem.jacobian(module, residuals, unknowns)
    system = accumulate_normal_equations(problem, module, [Chunk(1.0, pieces)], unknowns)
    for computed, exact in ((system.gram, jacobian.T @ jacobian), (system.right, jacobian.T @ rows), (system.right, expected)):
        assert float((computed - exact).norm()) < ROUNDING * float(exact.norm())
    assert system.squares == pytest.approx(2 * loss, rel=ROUNDING)


def test_unknown_scalars_take_part():
    problem, module, unknowns = prepared(scalar=True)
    residuals = problem.prepare(64, 3)
    leaf = unknowns.clone().requires_grad_()
    whole = problem.loss(module, residuals, leaf)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(whole, [*module.parameters(), leaf])])
    _, gradient = accumulate_gradient(problem, module, [Chunk(1.0, residuals)], leaf, [leaf])
    assert float((gradient - expected).norm()) < ROUNDING * float(expected.norm())
    system = accumulate_normal_equations(problem, module, [Chunk(1.0, residuals)], unknowns)
    assert float((system.right - expected).norm()) < ROUNDING * float(expected.norm())


def test_chunks_are_drawn_alike_at_every_evaluation_and_weigh_one_together():
    problem, _, _ = prepared()
    first, second = (list(draw_chunks(problem, 250, 9, chunk=100)) for _ in range(2))
    assert [chunk.weight for chunk in first] == [0.4, 0.4, 0.2]
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.residuals[0].sides[0].inputs, b.residuals[0].sides[0].inputs)
    assert all(not torch.equal(a.residuals[0].sides[0].inputs[:, :50], b.residuals[0].sides[0].inputs[:, :50]) for a, b in pairwise(first))


def test_many_chunks_approach_the_integral_as_the_whole_does():
    problem, module, unknowns = prepared()
    by_chunks, _ = accumulate_gradient(problem, module, draw_chunks(problem, 4096, 1, chunk=512), unknowns)
    whole = float(problem.loss(module, problem.prepare(4096, 2), unknowns).detach())
    assert by_chunks == pytest.approx(whole, rel=0.02)  # 512 scrambled points integrate a smooth square to better than a per cent


def test_single_precision_is_summed_in_double():
    problem, module, unknowns = prepared(torch.float32)
    chunks = [Chunk(1.0, problem.prepare(64, seed)) for seed in range(3)]
    _, gradient = accumulate_gradient(problem, module, chunks, unknowns)
    assert gradient.dtype == torch.float64
    parts = [accumulate_gradient(problem, module, [chunk], unknowns)[1] for chunk in chunks]
    assert torch.equal(gradient, parts[0] + parts[1] + parts[2])


def test_gauss_newton_steps_are_the_same_without_a_jacobian():
    """A nonlinear problem, whose last layer is not eliminated: the two systems take the same steps until squaring costs digits."""
    problem, _, _ = prepared()
    histories = []
    for limit in (1 << 30, 1):
        method = GaussNewton(points=400, jacobian_bytes=limit)
        settings = RunSettings(0, 1e-9, False, 60.0, "cpu", "float64", Siren(width=6, depth=2, omega_0=3.0))
        run = method.start(problem.compiled, settings)
        assert run.choice.kind == ("sums" if limit == 1 else "jacobian")
        histories.append([run.advance() for _ in range(4)])
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-5)
    assert histories[0][-1] < 0.5 * histories[0][0]


MEMORY = """
import resource, sys, torch
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_accumulation import prepared
from pinnsiren.training.accumulation import accumulate_gradient, draw_chunks
torch.set_num_threads(1)
problem, module, unknowns = prepared(torch.float32)
for n_points in (10_000, 80_000):
    accumulate_gradient(problem, module, draw_chunks(problem, n_points, 1), unknowns)
    # On Linux, ru_maxrss begins with the peak of the process that started this one.
    status = Path("/proc/self/status")
    lines = [line.split() for line in status.read_text().splitlines() if line.startswith("VmHWM")] if status.exists() else []
    print(lines[0][1] if lines else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_peak_memory_does_not_depend_on_the_number_of_points(request):
    done = subprocess.run([sys.executable, "-c", MEMORY, str(request.path.parent)], capture_output=True, text=True, check=True)
    small, large = map(int, done.stdout.split())
    assert large <= GROWTH * small


def test_normal_equations_by_blocks_of_points():
    generator = torch.Generator().manual_seed(0)
    jacobian, rows = torch.randn(50, 6, generator=generator), torch.randn(50, generator=generator)
    system = NormalEquations(6, torch.device("cpu"))
    for start in range(0, 50, 8):
        system.add(jacobian[start : start + 8], rows[start : start + 8], 2.0)
    exact = 2 * jacobian.double().T @ jacobian.double()
    assert float((system.gram - exact).norm()) < ROUNDING * float(exact.norm())
    assert system.squares == pytest.approx(2 * float(rows.double().pow(2).sum()), rel=ROUNDING)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_least_squares_by_blocks_are_those_of_the_whole(dtype):
    generator = torch.Generator().manual_seed(0)
    matrix, right = (torch.randn(300, n, generator=generator, dtype=dtype) for n in (20, 3))
    matrix = matrix * torch.logspace(0, -8, 20, dtype=torch.float64)
    solution, norms = solve_by_blocks((matrix[i : i + 37], right[i : i + 37]) for i in range(0, 300, 37))
    exact = solve_least_squares(matrix, right)
    assert float((solution - exact).abs().max() / exact.abs().max()) < 1e-10
    np.testing.assert_allclose(norms, torch.linalg.vector_norm(matrix @ exact - right, dim=0), rtol=1e-10)


def test_least_squares_by_blocks_keep_the_digits_that_normal_equations_lose():
    n = 12
    times = torch.linspace(0, 1, 400, dtype=torch.float64)
    matrix = torch.stack([times**k for k in range(n)], dim=1)  # condition number 1e8
    truth = torch.ones(n, 1, dtype=torch.float64)
    solution, _ = solve_by_blocks((matrix[i : i + 50], (matrix @ truth)[i : i + 50]) for i in range(0, 400, 50))
    normal = torch.linalg.solve(matrix.T @ matrix, matrix.T @ matrix @ truth)
    assert float((solution - truth).abs().max()) < 1e-6 < float((normal - truth).abs().max())


@pytest.mark.parametrize("complex_field", [False, True])
def test_rows_of_a_problem_by_blocks_give_its_coefficients(complex_field):
    u = field("u", x, y, complex=complex_field)
    domain = Box({x: (0, 1), y: (0, 1)})
    jump = sp.Piecewise((2, x < sp.Rational(1, 2)), (1, True))
    declared = Problem(name="p", fields=[u], domain=domain, equations=[div(jump * grad(u)) + u - sp.cos(y)], conditions=[Dirichlet(u, 1 + x)])
    compiled = compile_problem(declared)
    bases = build_bases(compiled, tuple(draw_all(compiled, 60, 1.5, 3)))
    system = RowSystem(compiled, bases, torch.device("cpu"), torch.complex128 if complex_field else torch.float64)
    samples = system.samples(3 * sum(basis.n_features for basis in bases), 1)
    whole = solve_rows(system, samples, None)
    blocks = list(row_blocks(system, samples, None, 0, 37))
    assert len(blocks) > 6
    for joined, expected in zip(map(torch.cat, zip(*blocks, strict=True)), system.rows(samples, None), strict=True):
        torch.testing.assert_close(joined, expected, rtol=0, atol=ROUNDING * float(expected.abs().max()))
    matrix, right = system.rows(samples, None)
    by_blocks = solve_rows(system, samples, None, whole_bytes=1)
    # Redundant features leave the coefficients open; the residual is not.
    a, b = (float(torch.linalg.vector_norm(matrix @ solution - right)) for solution in (whole, by_blocks))
    assert b == pytest.approx(a, rel=1e-6)


def test_fewer_rows_than_columns_and_redundant_columns_have_a_solution():
    matrix = torch.ones(3, 5, dtype=torch.float64)
    solution, norms = solve_by_blocks([(matrix, 2 * torch.ones(3, 1, dtype=torch.float64))])
    assert float((matrix @ solution - 2).abs().max()) < 1e-10 and float(norms) < 1e-10


def test_blocks_of_the_wrong_shape_are_named():
    with pytest.raises(ProblemError, match=r"shapes `\(4, 3\)` and `\(4, 1\)`; expected \(n, 2\)"):
        BlockedQR(2, 1).add(torch.zeros(4, 3), torch.zeros(4, 1))
    with pytest.raises(ProblemError, match="no rows"):
        solve_by_blocks([])
