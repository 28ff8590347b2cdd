"""Networks: published initialisation, determinism, and errors in the user's words."""

import dataclasses
import math

import pytest
import torch

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.errors import ProblemError, UnknownNameError
from pinnsiren.networks import (
    ACTIVATIONS,
    MLP,
    AbstractNetwork,
    FourierFeatureMLP,
    ModuleNetwork,
    RBFNetwork,
    Siren,
    SirenModule,
)

NETWORKS: list[AbstractNetwork] = [
    Siren(width=8),
    MLP(width=8),
    FourierFeatureMLP(width=8, n_features=5),
    RBFNetwork(n_centres=9, width=8, depth=1),
    RBFNetwork(n_centres=9),
    ModuleNetwork(torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))),
]
LAYOUT = StreamLayout(2, (0, 1), 1)
# Over 512 x 512 weights and 4096 points the standard deviation of a layer scatters by 1 to 2 % between seeds.
STANDARD_DEVIATION_SCATTER = 0.03
# Kolmogorov distance from the arcsine law: sin(v) of a Gaussian v of variance 2.2 is 0.03 away from it.
ARCSINE_DISTANCE = 0.045


def _hidden_layers(module: SirenModule, n_points: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pre-activation without bias, and activation, of every sine layer at random points of [-1, 1]^2."""
    z = 2.0 * torch.rand((n_points, 2), generator=torch.Generator().manual_seed(9), dtype=torch.float64) - 1.0
    rows = []
    with torch.no_grad():
        for weight, bias in module.affine_maps()[:-1]:
            matrix_part = z @ weight.t()
            z = torch.sin(matrix_part + bias)
            rows.append((matrix_part, z))
    return rows


def _arcsine_distance(activation: torch.Tensor) -> float:
    """Kolmogorov distance from the arcsine law on (-1, 1)."""
    ordered = activation.flatten().sort().values
    law = 0.5 + torch.asin(ordered) / math.pi
    rank = (torch.arange(len(ordered), dtype=torch.float64) + 0.5) / len(ordered)
    return float((rank - law).abs().max())


@pytest.mark.parametrize("omega_hidden", [1.0, 30.0])
def test_siren_starts_with_unit_pre_activations(omega_hidden: float) -> None:
    width = 512
    module = Siren(width=width, depth=4, omega_0=30.0, omega_hidden=omega_hidden).build(2, 1, seed=0)
    # sin(v) of v ~ N(0, s^2) has mean square (1 - exp(-2 s^2)) / 2; weights of variance 2/n double it. The first layer's phases fill the circle.
    bias_variance = omega_hidden**2 / (3 * width)
    expected = 1.0
    for matrix_part, _ in _hidden_layers(module, 4096)[1:]:
        assert float(matrix_part.var()) == pytest.approx(expected, rel=2 * STANDARD_DEVIATION_SCATTER)
        assert float(matrix_part.std()) == pytest.approx(1.0, abs=0.1)
        expected = 1.0 - math.exp(-2.0 * (expected + bias_variance))


def test_activations_follow_the_arcsine_law_in_every_layer_of_the_published_network() -> None:
    module = Siren(width=256, depth=4).build(2, 1, seed=0)
    for _, activation in _hidden_layers(module, 4096):
        assert _arcsine_distance(activation) < ARCSINE_DISTANCE
        assert float(activation.var()) == pytest.approx(0.5, abs=0.03)


def test_siren_weights_fill_the_published_intervals() -> None:
    module = Siren(width=128, depth=2, omega_0=(5.0, 50.0), omega_hidden=20.0, output_scale=0.1).build(2, 4)
    first, hidden, last = module.affine_layers()
    bounds = {first: 1 / 2, hidden: math.sqrt(6 / 128) / 20.0, last: 0.1 * math.sqrt(6 / 128)}
    for layer, bound in bounds.items():
        largest = float(layer.weight.detach().abs().max())
        assert 0.95 * bound < largest <= bound
    assert torch.allclose(first.effective()[0], first.weight * torch.tensor([5.0, 50.0], dtype=torch.float64))
    assert torch.allclose(hidden.effective()[1], 20.0 * hidden.bias)


def test_siren_takes_its_frequency_from_the_user_then_the_solver_then_the_paper() -> None:
    assert Siren().with_frequencies(12.0) == Siren(omega_0=12.0, omega_hidden=30.0)
    assert Siren(omega_0=7.0).with_frequencies(12.0, 1.0) == Siren(omega_0=7.0, omega_hidden=1.0)
    assert float(Siren().build(2, 1).affine_layers()[0].weight_frequency[0]) == 30.0
    assert MLP().with_frequencies(12.0) == MLP()
    assert FourierFeatureMLP().with_frequencies((1.0, 2.0)).scale == (1.0, 2.0)


def test_siren_has_the_parameters_of_the_published_network() -> None:
    # 2 -> 256, three times 256 -> 256, 256 -> 2: 198,658 parameters.
    assert Siren(width=256, depth=4).build(2, 2).n_parameters == 198_658


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_mlp_keeps_its_pre_activations_at_unit_scale(name: str) -> None:
    activation = ACTIVATIONS[name]
    v = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(activation.value(v).square().mean().sqrt()) * activation.gain == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_build_depends_on_the_seed_only(network: AbstractNetwork) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = network.build(2, 3, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second = network.build(2, 3, seed=5)
    rounded = network.build(2, 3, seed=5, dtype=torch.float32)
    for a, b, c in zip(first.parameters(), second.parameters(), rounded.parameters(), strict=True):
        assert torch.equal(a, b)
        assert c.dtype == torch.float32
        assert torch.equal(a.float(), c)


@pytest.mark.parametrize("network", NETWORKS[:3], ids=lambda network: type(network).__name__)
def test_another_seed_gives_another_network(network: AbstractNetwork) -> None:
    first, second = (next(network.build(2, 3, seed=seed).parameters()) for seed in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_forward_is_the_value_stream(network: AbstractNetwork) -> None:
    module = network.build(2, 3)
    points = torch.linspace(-1, 1, 10, dtype=torch.float64).view(5, 2)
    inputs = torch.zeros(4, 5, 2, dtype=torch.float64)
    inputs[0] = points
    streams = module.streams(inputs, torch.eye(2)[None], LAYOUT)
    assert torch.allclose(streams[0], module(points), rtol=1e-13, atol=1e-13)
    assert torch.equal(streams[1:], torch.zeros_like(streams[1:]))
    with torch.no_grad():
        assert not module.streams(inputs, torch.eye(2)[None], LAYOUT).requires_grad


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_saved_parameters_restore_the_network(network: AbstractNetwork) -> None:
    points = torch.linspace(-1, 1, 10, dtype=torch.float64).view(5, 2)
    saved, restored = network.build(2, 3, seed=0), network.build(2, 3, seed=1)
    restored.load_state_dict(saved.state_dict())
    assert torch.equal(restored(points), saved(points))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_records_are_frozen_and_describe_themselves(network: AbstractNetwork) -> None:
    assert type(network).__name__ in network.description or "user module" in network.description
    with pytest.raises(dataclasses.FrozenInstanceError):
        network.width = 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Siren(width=0), "Siren was given `width=0`; expected a whole number of at least 1"),
        (lambda: Siren(depth=-1), "Siren was given `depth=-1`"),
        (lambda: Siren(width=2.5), "`width=2.5`"),
        (lambda: Siren(omega_0=0.0), "`omega_0=0.0`; expected a positive number"),
        (lambda: Siren(omega_0=(3.0, -1.0)), "`omega_0=-1.0`"),
        (lambda: Siren(omega_0=()), "empty `omega_0`"),
        (lambda: Siren(omega_hidden=float("nan")), "`omega_hidden=nan`"),
        (lambda: Siren(output_scale=float("inf")), "`output_scale=inf`"),
        (lambda: Siren(omega_0=(3.0, 1.0)).build(3, 1), "2 frequencies for 3 inputs"),
        (lambda: Siren().build(0, 1), "`n_in=0`"),
        (lambda: MLP(width=-3), "MLP was given `width=-3`"),
        (lambda: FourierFeatureMLP(n_features=0), "`n_features=0`"),
        (lambda: FourierFeatureMLP(scale=-2.0), "`scale=-2.0`"),
        (lambda: RBFNetwork(n_centres=0), "`n_centres=0`"),
        (lambda: RBFNetwork(deviation=-0.1), "`deviation=-0.1`"),
        (lambda: RBFNetwork(depth=-1), "`depth=-1`"),
        (lambda: NETWORKS[-1].build(3, 3), "`Sequential` failed on 3 points with 3 inputs"),
        (lambda: NETWORKS[-1].build(2, 1), r"`Sequential` returned shape `\(3, 3\)`.*\(N, 2\) to \(N, 1\)"),
    ],
)
def test_wrong_settings_fail_at_construction(build, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        build()


def test_unknown_activation_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown activation `relu`; known are cosine, gaussian, gelu"):
        MLP(activation="relu")
