"""What a coarse march says of networks across fronts, and the bent steps of Gauss-Newton that get them there."""

from math import pi

import numpy as np
import pytest
import torch

import pinnsiren as ps
from pinnsiren.problems import load
from pinnsiren.reference_solvers.closed_forms import burgers_sine
from pinnsiren.training.damped_system import PROBE, DampedSystem
from pinnsiren.training.front_witness import FrontWitness
from pinnsiren.training.method import RunSettings
from pinnsiren.training.network_fronts import with_fronts

VISCOSITY, SHIFT = 0.03 / pi, 0.03
HONEST = 10


class Moved:
    """The exact solution with its front in the wrong place, as a network with hard conditions would hold it."""

    def __init__(self, compiled, shift):
        self.compiled, self.shift, self.exact = compiled, shift, burgers_sine(VISCOSITY)

    def evaluate(self, field_index, points, orders):
        whole = self.exact(points[:, 0] - self.shift * points[:, 1], points[:, 1])[:, None]
        return whole - self.compiled.known_part(field_index, points, orders)


@pytest.fixture(scope="module")
def compiled():
    problem, settings = load("burgers", viscosity=VISCOSITY), settings_of(60)
    return with_fronts(ps.plan(problem, method="GaussNewton", network=ps.Siren(width=8, depth=2)), settings).compiled


def settings_of(seconds):
    return RunSettings(0, 1e-3, False, seconds, "cpu", "float64", ps.Siren(width=8, depth=2))


@pytest.mark.parametrize("seconds", [10, 60])
def test_a_front_in_the_wrong_place_is_seen(compiled, seconds):
    """A shock that drifts by three hundredths: wrong by a tenth and more, where equations hold almost everywhere."""
    witness, moved = FrontWitness(compiled, settings_of(seconds)), Moved(compiled, SHIFT)
    points = compiled.original.domain.sample_interior(20_000, 3)
    true = burgers_sine(VISCOSITY)(*points.T)
    wrong = burgers_sine(VISCOSITY)(points[:, 0] - SHIFT * points[:, 1], points[:, 1])
    error = np.linalg.norm(wrong - true) / np.linalg.norm(true)
    assert error > 0.1
    assert 0.7 * error < witness.least_error(moved) < 1.1 * error


def test_the_exact_solution_is_not_blamed(compiled):
    assert FrontWitness(compiled, settings_of(60)).least_error(Moved(compiled, 0.0)) == 0


def test_trained_fronts_are_honest_from_a_start_that_fails():
    """Few steps: the front is wrong yet, and the run says so."""
    problem = load("burgers", viscosity=VISCOSITY)
    method = ps.GaussNewton(maximum_steps=6)
    solution = ps.solve(problem, network=ps.Siren(width=12, depth=2), method=method, seconds=300, seed=3, device="cpu", progress=False)
    points = problem.domain.sample_interior(4000, 3)
    true = burgers_sine(VISCOSITY)(*points.T)
    error = np.linalg.norm(solution["u"](x=points[:, 0], t=points[:, 1]) - true) / np.linalg.norm(true)
    assert error < HONEST * solution.estimated_error
    assert not solution.status.success


def test_a_step_is_bent_by_half_the_acceleration():
    """Rows A x + |x|^2 c: the second derivative along a step v is 2 |v|^2 c, and the acceleration -(A^T A + mu D^2)^-1 A^T of that."""
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    rows, direction = torch.randn(9, generator=generator, dtype=torch.float64), 1e-2 * torch.ones(9, dtype=torch.float64)
    damping = 0.3
    system = DampedSystem(matrix, rows)
    step, _ = system.step(damping)
    there = rows + matrix @ (PROBE * step) + (PROBE * step).pow(2).sum() * direction
    bent = system.bent(step, there)
    shifted = matrix.T @ matrix + damping * torch.diag((matrix**2).sum(dim=0))
    acceleration = -torch.linalg.solve(shifted, matrix.T @ (2 * step.pow(2).sum() * direction))
    assert bent is not None
    torch.testing.assert_close(bent, step + 0.5 * acceleration, rtol=1e-8, atol=1e-12)


def test_a_step_that_leaves_its_valley_is_refused():
    matrix, rows = torch.eye(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    system = DampedSystem(matrix, rows)
    step, _ = system.step(0.1)
    there = rows + PROBE * step + 100 * (PROBE * step).pow(2).sum() * torch.ones(3, dtype=torch.float64)
    assert system.bent(step, there) is None
