"""A step as one graph: every call is one step, captured or not; new points reach the memory of the graph."""

import logging

import pytest
import torch
from torch import Tensor

from pinnsiren.compiler.pipeline import compile_problem
from pinnsiren.language import Box, Dirichlet, Problem, coordinates, field, laplacian
from pinnsiren.training.graphed_step import WARM_UP, GraphedStep, Step, copy_points, tensors_of
from pinnsiren.training.network_problem import NetworkProblem

CUDA = torch.device("cuda")


class Counter:
    """A step that counts itself, and a capture that records without running, as CUDA does."""

    def __init__(self) -> None:
        self.value = torch.zeros(())
        self.captures = 0

    def step(self) -> Tensor:
        return self.value.add_(1)

    def capture(self, step: Step) -> Step:
        self.captures += 1
        return step


def test_every_call_is_one_step_and_one_capture_serves_all() -> None:
    counter = Counter()
    graphed = GraphedStep(counter.step, CUDA, counter.capture)
    values = [float(graphed()) for _ in range(WARM_UP + 4)]
    assert values == [float(i) for i in range(1, WARM_UP + 5)]
    assert counter.captures == 1 and graphed.calls == WARM_UP + 4 and graphed.reason == ""


def test_a_step_that_cannot_be_captured_runs_on_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    counter = Counter()

    def refuse(step: Step) -> Step:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    graphed = GraphedStep(counter.step, CUDA, refuse)
    with caplog.at_level(logging.WARNING):
        values = [float(graphed()) for _ in range(WARM_UP + 3)]
    assert values == [float(i) for i in range(1, WARM_UP + 4)]
    assert graphed.reason == "RuntimeError: operation not permitted when stream is capturing"
    assert caplog.text.count("it runs launch by launch") == 1


def test_a_cpu_has_no_graph() -> None:
    counter = Counter()
    graphed = GraphedStep(counter.step, torch.device("cpu"), counter.capture)
    for _ in range(WARM_UP + 3):
        graphed()
    assert counter.captures == 0 and "no graphs on the device `cpu`" in graphed.reason


def _network_problem() -> NetworkProblem:
    x, y = coordinates("x y")
    u = field("u", x, y)
    equations = [laplacian(u) + (1 + x * y) * u - x]
    declared = Problem(name="p", fields=[u], domain=Box({x: (0, 1), y: (0, 1)}), equations=equations, conditions=[Dirichlet(u, y)])
    return NetworkProblem(compile_problem(declared), torch.device("cpu"), torch.float64)


def test_points_are_copied_into_place() -> None:
    problem = _network_problem()
    target, source = problem.prepare(50, 1), problem.prepare(50, 2)
    addresses = [tensor.data_ptr() for tensor in tensors_of(target)]
    assert not torch.equal(target[0].sides[0].inputs, source[0].sides[0].inputs)
    assert copy_points(target, source)
    assert [tensor.data_ptr() for tensor in tensors_of(target)] == addresses
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(target), tensors_of(source), strict=True))


def test_points_of_another_number_are_refused_and_nothing_changes() -> None:
    problem = _network_problem()
    target = problem.prepare(50, 1)
    before = [tensor.clone() for tensor in tensors_of(target)]
    assert not copy_points(target, problem.prepare(60, 1))
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(target), before, strict=True))
