"""Jacobians of residuals: outer products of layer factors against row-by-row automatic differentiation."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, jacrev

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.errors import CompileError
from pinnsiren.networks import (
    MLP,
    AbstractNetworkModule,
    FourierFeatureMLP,
    LayeredModule,
    ModuleNetwork,
    RBFNetwork,
    Siren,
    features,
    last_layer_columns,
    residual_jacobian,
)

# Rounding of fp64: measured 1e-15.
AGREEMENT = 1e-12
N_POINTS, N_OUT, N_RESIDUALS = 7, 2, 3
LAYOUTS = [StreamLayout(2, (0, 1), 1), StreamLayout(2, (1,), 2), StreamLayout(2, (), 0)]
NETWORKS = {
    "siren": Siren(width=6, depth=3, omega_0=(3.0, 5.0)),
    "mlp": MLP(width=6, depth=2, activation="softplus"),
    "fourier": FourierFeatureMLP(width=6, depth=1, n_features=4, scale=2.0),
    "rbf": RBFNetwork(n_centres=5, width=4, depth=1),
    "bumps alone": RBFNetwork(n_centres=5),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    # Products this small spend their time waiting for a second thread.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _case(layout: StreamLayout) -> tuple[Tensor, Tensor, Tensor]:
    g = len(layout.gradient)
    contraction = _normal(layout.n_operators, N_POINTS, g, g, seed=1)
    inputs = _normal(layout.size, N_POINTS, 2, seed=2)
    seeds = _normal(N_RESIDUALS, layout.size, N_POINTS, N_OUT, seed=3)
    return inputs, contraction + contraction.transpose(-1, -2), seeds


class _Taped(torch.nn.Module):
    """`forward` is `taped_streams`, so that `functional_call` reaches it."""

    def __init__(self, network: LayeredModule) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, contraction: Tensor, layout: StreamLayout) -> Tensor:
        return self.network.taped_streams(inputs, contraction, layout)


def _jacrev(module: LayeredModule, inputs: Tensor, contraction: Tensor, layout: StreamLayout, seeds: Tensor) -> Tensor:
    taped = _Taped(module)

    def residuals(parameters: dict[str, Tensor]) -> Tensor:
        streams = functional_call(taped, parameters, (inputs, contraction, layout))
        return torch.einsum("rsnm,snm->rn", seeds, streams).flatten()

    rows = jacrev(residuals)({name: p.detach() for name, p in taped.named_parameters()})
    return torch.cat([block.flatten(1) for block in rows.values()], dim=1)


def _relative(a: Tensor, b: Tensor) -> float:
    return float(((a - b).norm() / b.norm()).detach())


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "-".join(layout.names))
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_jacobian_agrees_with_jacrev(name: str, layout: StreamLayout) -> None:
    module = NETWORKS[name].build(2, N_OUT, seed=4)
    assert isinstance(module, LayeredModule)
    case = _case(layout)
    jacobian = residual_jacobian(module, *case[:2], layout, case[2])
    assert jacobian.shape == (N_RESIDUALS * N_POINTS, module.n_parameters)
    assert not jacobian.requires_grad
    assert _relative(jacobian, _jacrev(module, *case[:2], layout, case[2])) < AGREEMENT


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "-".join(layout.names))
def test_jacobian_of_a_user_module_agrees_with_the_layered_one(layout: StreamLayout) -> None:
    module = NETWORKS["siren"].build(2, N_OUT, seed=4)
    case = _case(layout)
    wrapped = ModuleNetwork(module).build(2, N_OUT)
    expected = residual_jacobian(module, *case[:2], layout, case[2])
    assert _relative(residual_jacobian(wrapped, *case[:2], layout, case[2]), expected) < AGREEMENT


def test_columns_follow_parameters_to_vector() -> None:
    layout = LAYOUTS[0]
    module = NETWORKS["siren"].build(2, N_OUT, seed=4)
    inputs, contraction, seeds = _case(layout)
    jacobian = residual_jacobian(module, inputs, contraction, layout, seeds)
    start = torch.nn.utils.parameters_to_vector(module.parameters()).detach()
    direction = _normal(start.numel(), seed=5)

    def residuals(step: float) -> Tensor:
        torch.nn.utils.vector_to_parameters(start + step * direction, module.parameters())
        with torch.no_grad():
            return torch.einsum("rsnm,snm->rn", seeds, module.streams(inputs, contraction, layout)).flatten()

    # Central differences: error of order step^2 times a third derivative of order omega^3.
    step = 1e-5
    slope = (residuals(step) - residuals(-step)) / (2 * step)
    assert _relative(jacobian @ direction, slope) < 1e-5


def test_chunks_of_points_do_not_change_the_jacobian(monkeypatch: pytest.MonkeyPatch) -> None:
    layout, n_points = LAYOUTS[0], 150
    module = NETWORKS["siren"].build(2, N_OUT, seed=4)
    inputs, seeds = _normal(4, n_points, 2, seed=2), _normal(N_RESIDUALS, 4, n_points, N_OUT, seed=3)
    contraction = _normal(1, n_points, 2, 2, seed=1)
    whole = residual_jacobian(module, inputs, contraction, layout, seeds)
    monkeypatch.setattr("pinnsiren.networks.sine_sweep._CPU_CHUNK_BYTES", 1)
    assert _relative(residual_jacobian(module, inputs, contraction, layout, seeds), whole) < AGREEMENT


def test_jacobian_of_frozen_parameters_is_still_complete() -> None:
    layout = LAYOUTS[0]
    inputs, contraction, seeds = _case(layout)
    for network in NETWORKS.values():
        module = network.build(2, N_OUT, seed=4)
        expected = residual_jacobian(module, inputs, contraction, layout, seeds)
        module.requires_grad_(False)
        assert torch.equal(residual_jacobian(module, inputs, contraction, layout, seeds), expected)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_last_layer_is_linear_in_its_columns(name: str) -> None:
    layout = LAYOUTS[0]
    module: AbstractNetworkModule = NETWORKS[name].build(2, N_OUT, seed=4)
    inputs, contraction, seeds = _case(layout)
    columns = last_layer_columns(module)
    head = torch.nn.utils.parameters_to_vector(module.parameters()).detach()[columns]
    weight, bias = head[:-N_OUT].view(N_OUT, -1), head[-N_OUT:]
    streams = features(module, inputs, contraction, layout) @ weight.t()
    streams[0] += bias
    assert _relative(streams, module.streams(inputs, contraction, layout).detach()) < AGREEMENT
    residuals = torch.einsum("rsnm,snm->rn", seeds, streams).flatten()
    jacobian = residual_jacobian(module, inputs, contraction, layout, seeds)
    assert _relative(jacobian[:, columns] @ head, residuals) < AGREEMENT


def test_mistakes_are_named() -> None:
    layout = LAYOUTS[0]
    inputs, contraction, seeds = _case(layout)
    module = NETWORKS["siren"].build(2, N_OUT)
    with pytest.raises(CompileError, match=r"`seeds` has shape `\(4, 7, 2\)`; expected .* \(R, 4, 7, 2\)"):
        residual_jacobian(module, inputs, contraction, layout, seeds[0])
    wrapped = ModuleNetwork(module).build(2, N_OUT)
    with pytest.raises(CompileError, match="`WrappedModule` has no linear last layer"):
        features(wrapped, inputs, contraction, layout)
