"""Ways to one derivative step: values, derivatives and the parameter gradient of a functional of them.

Input: a `Case`. Output: functions that return the same parameter gradient: packed streams with the hand-written adjoint or torch's tape, nested
reverse mode as textbooks write it, eager and compiled, and forward over forward mode (`torch.func.jvp` of `jvp`) with one reverse sweep.
"""

import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pinnsiren.compiler.stream_closure import close_streams
from pinnsiren.compiler.streams import Operator, StreamLayout
from pinnsiren.networks import Siren, SirenModule
from pinnsiren.networks.split_products import Arithmetic
from pinnsiren.training.graphed_step import WARM_UP

WIDTH, DEPTH = 256, 3
LAPLACIAN: Operator = (((2, 0), 1.0), ((0, 2), 1.0))
BIHARMONIC: Operator = (((4, 0), 1.0), ((2, 2), 2.0), ((0, 4), 1.0))
OPERATORS = {"laplacian": LAPLACIAN, "biharmonic": BIHARMONIC}
Step = Callable[[], Sequence[Tensor]]


@dataclass(frozen=True)
class Case:
    """One size of one operator.

    Attributes:
        operator: `"laplacian"` (value, gradient and Laplacian are read) or `"biharmonic"` (value and operator are read).
        n_points: N.
        n_out: m.
        dtype: floating type.
        device: cpu or cuda.
        width: neurons of each of the three hidden layers.
        arithmetic: of the hidden products of the hand-written adjoint; the other ways compute in the floating type.
    """

    operator: str
    n_points: int
    n_out: int
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    width: int = WIDTH
    arithmetic: Arithmetic = "ieee"

    @property
    def label(self) -> str:
        """What the hand-written adjoint computes in."""
        return str(self.dtype).removeprefix("torch.") if self.arithmetic == "ieee" else self.arithmetic

    @property
    def layout(self) -> StreamLayout:
        return close_streams([OPERATORS[self.operator]], 2)

    @property
    def nested_units(self) -> int:
        """Matrix products per hidden layer of nested reverse mode, parameter gradient included."""
        sweeps = 5 if self.operator == "laplacian" else 35
        return 3 * (1 + self.n_out * sweeps)

    @property
    def flop(self) -> int:
        """Of the hidden products of the streams."""
        return 3 * self.layout.size * (DEPTH - 1) * 2 * self.n_points * self.width**2


@dataclass(frozen=True)
class Built:
    """A case with its tensors: points (N, 2), input streams (S, N, 2), and weights (S, N, m) of the functional, zero where nothing is read."""

    case: Case
    module: SirenModule
    points: Tensor
    inputs: Tensor
    weights: Tensor


def build(case: Case) -> Built:
    """Draw network, points and weights; streams differ by powers of the frequency, and the weights bring all to one size."""
    layout = case.layout
    module = Siren(width=case.width, depth=DEPTH, omega_0=10.0).build(2, case.n_out, seed=0, dtype=case.dtype, device=case.device)
    module.arithmetic = case.arithmetic
    generator = torch.Generator().manual_seed(1)
    points = 2.0 * torch.rand((case.n_points, 2), generator=generator, dtype=torch.float64) - 1.0
    inputs = torch.zeros(layout.size, case.n_points, 2, dtype=torch.float64)
    inputs[0] = points
    inputs[1, :, 0] = inputs[2, :, 1] = 1.0
    weights = torch.randn((layout.size, case.n_points, case.n_out), generator=generator, dtype=torch.float64)
    orders = torch.tensor([0.0, *(max(sum(orders) for orders, _ in stream.operator) for stream in layout.closed)], dtype=torch.float64)
    weights *= (0.1**orders)[:, None, None]
    if case.operator == "biharmonic":
        weights[1:-1] = 0.0
    return Built(case, module, *(tensor.to(case.device, case.dtype) for tensor in (points, inputs, weights)))


def streams_step(built: Built, *, tape: bool = False) -> Step:
    """Packed streams."""
    module, layout, parameters = built.module, built.case.layout, list(built.module.parameters())
    streams = module.taped_streams if tape else module.streams

    def step() -> Sequence[Tensor]:
        return torch.autograd.grad((streams(built.inputs, None, layout) * built.weights).sum(), parameters)

    return step


def _gradient(scalar: Tensor, x: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(scalar, x, create_graph=True)
    return result


def _laplacian(values: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    gradient = _gradient(values.sum(), x)
    return gradient, _gradient(gradient[:, 0].sum(), x)[:, 0] + _gradient(gradient[:, 1].sum(), x)[:, 1]


def _nested_functional(operator: str, function: Callable[[Tensor], Tensor], points: Tensor, weights: Tensor) -> Tensor:
    x = points.detach().requires_grad_(True)
    u = function(x)
    total = (u * weights[0]).sum()
    for channel in range(u.shape[1]):
        gradient, curvature = _laplacian(u[:, channel], x)
        if operator == "biharmonic":
            curvature = _laplacian(curvature, x)[1]
        else:
            total = total + (gradient * weights[1:3, :, channel].t()).sum()
        total = total + (curvature * weights[-1, :, channel]).sum()
    return total


def captured(step: Step) -> Step:
    """The step as one CUDA graph, after a few calls on a stream of its own; the result is overwritten by the next call.

    Raises:
        RuntimeError: no CUDA device, or a step that a graph cannot hold.
    """
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()

    def replay() -> Sequence[Tensor]:
        graph.replay()
        return result

    return replay


def nested_step(built: Built) -> Step:
    """`autograd.grad(create_graph=True)` per output and coordinate, as every introduction writes it."""
    parameters = list(built.module.parameters())

    def step() -> Sequence[Tensor]:
        return torch.autograd.grad(_nested_functional(built.case.operator, built.module, built.points, built.weights), parameters)

    return step


def deepxde_step(built: Built) -> Step:
    """The derivatives through DeepXDE's `grad.jacobian` and `grad.hessian`, which share what they can; second order.

    Raises:
        ImportError: DeepXDE is not installed: `pip install deepxde`.
        RuntimeError: on a GPU, since importing DeepXDE would move all new tensors of this process there.
    """
    if built.case.device != "cpu":
        raise RuntimeError("measured on the CPU only")
    os.environ.setdefault("DDE_BACKEND", "pytorch")
    import deepxde as dde  # optional, and chosen by the variable above

    parameters = list(built.module.parameters())

    def step() -> Sequence[Tensor]:
        x = built.points.detach().requires_grad_(True)
        u = built.module(x)
        total = (u * built.weights[0]).sum()
        for channel in range(u.shape[1]):
            slope = dde.grad.jacobian(u, x, i=channel)
            curvature = sum(dde.grad.hessian(u, x, component=channel, i=axis, j=axis) for axis in (0, 1))
            total = total + (slope * built.weights[1:3, :, channel].t()).sum() + (curvature[:, 0] * built.weights[-1, :, channel]).sum()
        dde.grad.clear()
        return torch.autograd.grad(total, parameters)

    return step


def forward_step(built: Built) -> Step:
    """`jvp` of `jvp` along each coordinate, then one reverse sweep; second order."""
    parameters = list(built.module.parameters())
    axes = torch.eye(2, dtype=built.case.dtype, device=built.case.device)

    def along(function: Callable[[Tensor], Tensor], axis: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        return lambda x: torch.func.jvp(function, (x,), (axis.expand_as(x),))

    def step() -> Sequence[Tensor]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # forward mode announces its own rewriting
            rows: list[Tensor] = []
            curvature: Any = 0.0
            for axis in axes:
                (u, slope), (_, second) = torch.func.jvp(along(built.module, axis), (built.points,), (axis.expand_as(built.points),))
                rows.append(slope)
                curvature = curvature + second
            return torch.autograd.grad((torch.stack([u, *rows, curvature]) * built.weights).sum(), parameters)

    return step


def compiled_step(built: Built) -> Step:
    """Nested reverse mode traced as one graph, parameter gradient included, and compiled by Inductor.

    Raises:
        RuntimeError: no compiler on this machine.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # imported here: only this way needs it

    if built.case.device == "cpu" and not any(map(shutil.which, ("g++", "clang++"))):
        raise RuntimeError("no C++ compiler")
    names = [name for name, _ in built.module.named_parameters()]

    def whole(points: Tensor, weights: Tensor, *parameters: Tensor) -> Sequence[Tensor]:
        leaves = [p.detach().requires_grad_(True) for p in parameters]

        def function(x: Tensor) -> Tensor:
            result: Tensor = torch.func.functional_call(built.module, dict(zip(names, leaves, strict=True)), (x,))
            return result

        return torch.autograd.grad(_nested_functional(built.case.operator, function, points, weights), leaves)

    arguments = (built.points, built.weights, *(p.detach() for p in built.module.parameters()))
    compiled = torch.compile(make_fx(whole)(*arguments))
    return lambda: compiled(*arguments)


def bytes_kept(case: Case, way: Callable[[Built], Step]) -> float:
    """Bytes per point that autograd keeps between forward and backward: the slope between N and 2N points, so that weights do not count."""
    small, large = (_saved_bytes(way(build(replace(case, n_points=n)))) for n in (case.n_points, 2 * case.n_points))
    return (large - small) / case.n_points


def _saved_bytes(step: Step) -> int:
    # Held until the end, so that no two tensors share an address in turns.
    held: list[Tensor] = []

    def hold(tensor: Tensor) -> Tensor:
        held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        step()
    return sum({tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in held}.values())
