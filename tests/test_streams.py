"""Derivative streams: the hand-written adjoint, the autograd tape and nested autograd are three paths to one number."""

import gc
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.errors import CompileError
from pinnsiren.networks import (
    ACTIVATIONS,
    MLP,
    AbstractNetworkModule,
    FourierFeatureMLP,
    ModuleNetwork,
    RBFNetwork,
    Siren,
    SirenModule,
    nested_streams,
)

# Rounding of fp64 through three layers: measured at most 2.4e-15, with room for other processors.
AGREEMENT = 1e-12
N_POINTS, N_OUT = 23, 2

LAYOUTS = [
    StreamLayout(1, (0,), 1),
    StreamLayout(2, (0, 1), 1),
    StreamLayout(2, (0, 1), 2),
    StreamLayout(2, (1,), 1),
    StreamLayout(3, (0, 1, 2), 1),
    StreamLayout(3, (0, 2), 3),
    StreamLayout(2, (0, 1), 0),
    StreamLayout(2, (), 0),
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    # Products this small spend their time waiting for a second thread.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=_generator(seed), dtype=torch.float64)


def _symmetric(*shape: int, seed: int) -> Tensor:
    matrix = _normal(*shape, seed=seed)
    return matrix + matrix.transpose(-1, -2)


def _random_contraction(layout: StreamLayout, pointwise: bool) -> Tensor:
    g = len(layout.gradient)
    lead = (layout.n_operators, N_POINTS) if pointwise else (layout.n_operators,)
    return _symmetric(*lead, g, g, seed=3)


def _box_streams(points: Tensor, half_width: Tensor, layout: StreamLayout) -> Tensor:
    """Streams of xi = x / h."""
    inputs = torch.zeros(layout.size, *points.shape, dtype=points.dtype)
    inputs[0] = points / half_width
    for row, coordinate in enumerate(layout.gradient):
        inputs[1 + row, :, coordinate] = 1.0 / half_width[coordinate]
    return inputs


def _gradients(streams: Tensor, module: AbstractNetworkModule) -> Tensor:
    """Parameter gradient of a random functional of order one of the streams."""
    cotangent = _normal(*streams.shape, seed=4)
    return torch.cat([g.flatten() for g in torch.autograd.grad((cotangent * streams).sum(), list(module.parameters()))])


def _assert_agree(a: Tensor, b: Tensor) -> None:
    assert a.shape == b.shape
    assert float((a - b).detach().norm()) <= AGREEMENT * float(b.detach().norm())


def _assert_streams_agree(a: Tensor, b: Tensor) -> None:
    for stream_a, stream_b in zip(a, b, strict=True):
        _assert_agree(stream_a, stream_b)


@pytest.mark.parametrize("pointwise", [False, True], ids=["constant", "pointwise"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.n_coordinates}d-{'-'.join(layout.names)}")
def test_hand_adjoint_tape_and_nested_autograd_agree(layout: StreamLayout, pointwise: bool) -> None:
    module = Siren(width=17, depth=3, omega_0=4.0).build(layout.n_coordinates, N_OUT, seed=1)
    half_width = torch.linspace(0.5, 2.0, layout.n_coordinates, dtype=torch.float64)
    points = _normal(N_POINTS, layout.n_coordinates, seed=2)
    contraction = _random_contraction(layout, pointwise)
    inputs = _box_streams(points, half_width, layout)

    reference = nested_streams(lambda x: module(x / half_width), points, contraction, layout)
    expected = _gradients(reference, module)
    for streams in (module.streams(inputs, contraction, layout), module.taped_streams(inputs, contraction, layout)):
        _assert_streams_agree(streams, reference)
        _assert_agree(_gradients(streams, module), expected)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_tape_agrees_with_nested_autograd_for_every_activation(name: str) -> None:
    layout = StreamLayout(2, (0, 1), 1)
    module = MLP(width=11, depth=2, activation=name).build(2, N_OUT, seed=1)
    _assert_box_streams_are_nested(module, layout)


def test_fourier_features_agree_with_nested_autograd() -> None:
    module = FourierFeatureMLP(width=11, depth=2, n_features=7, scale=(3.0, 5.0), activation="swish").build(2, N_OUT)
    _assert_box_streams_are_nested(module, StreamLayout(2, (0, 1), 2))


@pytest.mark.parametrize("depth", [0, 2])
def test_bumps_agree_with_nested_autograd(depth: int) -> None:
    module = RBFNetwork(n_centres=6, deviation=0.8, width=7, depth=depth).build(2, N_OUT, seed=1)
    for layout in (StreamLayout(2, (0, 1), 2), StreamLayout(2, (1,), 1), StreamLayout(2, (0,), 0), StreamLayout(2, (), 0)):
        _assert_box_streams_are_nested(module, layout)


def test_user_module_agrees_with_nested_autograd() -> None:
    torch.manual_seed(0)
    user = torch.nn.Sequential(torch.nn.Linear(2, 9), torch.nn.Tanh(), torch.nn.Linear(9, N_OUT))
    _assert_box_streams_are_nested(ModuleNetwork(user).build(2, N_OUT), StreamLayout(2, (0, 1), 2))


def _assert_box_streams_are_nested(module: AbstractNetworkModule, layout: StreamLayout) -> None:
    points = _normal(N_POINTS, layout.n_coordinates, seed=2)
    contraction = _random_contraction(layout, pointwise=True)
    half_width = torch.tensor([0.7, 1.3], dtype=torch.float64)
    reference = nested_streams(lambda x: module(x / half_width), points, contraction, layout)
    streams = module.streams(_box_streams(points, half_width, layout), contraction, layout)
    _assert_streams_agree(streams, reference)
    _assert_agree(_gradients(streams, module), _gradients(reference, module))


def _log_polar(x: Tensor) -> Tensor:
    radius_squared = (x**2).sum(1)
    angle = torch.atan2(x[:, 1], x[:, 0])
    return torch.stack((0.5 * radius_squared.log(), angle.cos(), angle.sin()), dim=1)


@pytest.mark.parametrize("kind", ["siren", "fourier", "rbf", "module"])
def test_streams_follow_a_curved_chart_with_more_inputs_than_coordinates(kind: str) -> None:
    layout = StreamLayout(2, (0, 1), 2)
    networks = {
        "siren": Siren(width=13, depth=2, omega_0=(2.0, 3.0, 4.0)),
        "fourier": FourierFeatureMLP(width=9, depth=1, n_features=5, scale=2.0),
        "rbf": RBFNetwork(n_centres=5, deviation=1.5, width=4, depth=1),
        "module": ModuleNetwork(torch.nn.Sequential(torch.nn.Linear(3, 9), torch.nn.GELU(), torch.nn.Linear(9, N_OUT))),
    }
    module = networks[kind].build(3, N_OUT, seed=1)
    points = _normal(N_POINTS, 2, seed=2)
    contraction = _random_contraction(layout, pointwise=True)
    reference = nested_streams(lambda x: module(_log_polar(x)), points, contraction, layout)
    inputs = nested_streams(_log_polar, points, contraction, layout).detach()
    _assert_streams_agree(module.streams(inputs, contraction, layout), reference)


def test_laplacian_of_a_plane_wave_is_exact() -> None:
    wave_vector = torch.tensor([[3.0, -4.0]], dtype=torch.float64)
    plane_wave = FourierFeatureMLP(width=1, depth=1, n_features=1, activation="tanh").build(2, 1)
    plane_wave.frequencies.copy_(wave_vector)
    layout = StreamLayout(2, (0, 1), 1)
    points = _normal(N_POINTS, 2, seed=2)
    inputs = _box_streams(points, torch.ones(2, dtype=torch.float64), layout)
    embedded = plane_wave.embed_streams(inputs, torch.eye(2)[None], layout)
    assert torch.allclose(embedded[3], -25.0 * embedded[0], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("n_points", [0, 1, 64, 65, 200])
def test_chunks_of_points_do_not_change_the_result(n_points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = StreamLayout(2, (0, 1), 1)
    module = Siren(width=8, depth=2, omega_0=4.0).build(2, N_OUT)
    inputs = _box_streams(_normal(n_points, 2, seed=2), torch.ones(2, dtype=torch.float64), layout)
    contraction = _symmetric(1, n_points, 2, 2, seed=3)
    monkeypatch.setattr("pinnsiren.networks.sine_sweep._CPU_CHUNK_BYTES", 1)
    streams, reference = module.streams(inputs, contraction, layout), module.taped_streams(inputs, contraction, layout)
    _assert_streams_agree(streams, reference)
    _assert_agree(_gradients(streams, module), _gradients(reference, module))
    with torch.no_grad():
        assert torch.equal(module.streams(inputs, contraction, layout), streams)


def test_input_gradients_agree_with_the_tape() -> None:
    layout = StreamLayout(2, (0, 1), 1)
    module = Siren(width=8, depth=2, omega_0=4.0).build(2, N_OUT)
    inputs = _normal(4, N_POINTS, 2, seed=2).requires_grad_(True)
    contraction = _random_contraction(layout, pointwise=False)
    cotangent = _normal(4, N_POINTS, N_OUT, seed=4)
    by_hand, taped = (
        torch.autograd.grad((cotangent * streams(inputs, contraction, layout)).sum(), inputs)[0] for streams in (module.streams, module.taped_streams)
    )
    _assert_agree(by_hand, taped)


def test_frozen_layers_get_no_gradient_and_the_others_keep_theirs() -> None:
    layout = StreamLayout(2, (0, 1), 1)
    module = Siren(width=8, depth=3, omega_0=4.0).build(2, N_OUT)
    inputs, contraction = _normal(4, N_POINTS, 2, seed=2), _random_contraction(layout, pointwise=False)
    module.streams(inputs, contraction, layout).square().sum().backward()
    expected = [p.grad for p in module.parameters()]
    module.zero_grad()
    for p in list(module.parameters())[:5]:
        p.requires_grad_(False)
    module.streams(inputs, contraction, layout).square().sum().backward()
    for index, (p, gradient) in enumerate(zip(module.parameters(), expected, strict=True)):
        assert p.grad is None if index < 5 else torch.equal(p.grad, gradient)


def test_operator_coefficients_can_be_learned_on_the_tape_only() -> None:
    layout = StreamLayout(2, (0, 1), 1)
    module = Siren(width=8, depth=2, omega_0=4.0).build(2, N_OUT)
    inputs = _normal(4, N_POINTS, 2, seed=2)
    contraction = _random_contraction(layout, pointwise=True).requires_grad_(True)
    module.taped_streams(inputs, contraction, layout)[3].sum().backward()
    assert contraction.grad is not None and bool((contraction.grad != 0).any())
    with pytest.raises(CompileError, match="`contraction` requires a gradient.*taped_streams"):
        module.streams(inputs, contraction, layout)


def test_hand_adjoint_refuses_a_second_derivative_and_the_tape_gives_it() -> None:
    layout = StreamLayout(2, (0, 1), 1)
    module = Siren(width=8, depth=2, omega_0=4.0).build(2, N_OUT)
    inputs, contraction = _normal(4, N_POINTS, 2, seed=2), _random_contraction(layout, pointwise=False)
    parameters = list(module.parameters())
    with pytest.raises(CompileError, match="differentiable once"):
        torch.autograd.grad(module.streams(inputs, contraction, layout).sum(), parameters, create_graph=True)
    taped = torch.autograd.grad(module.taped_streams(inputs, contraction, layout).sum(), parameters, create_graph=True)
    assert all(g.requires_grad for g in taped[:4])


def _live_elements() -> int:
    gc.collect()
    return sum(o.numel() for o in gc.get_objects() if issubclass(type(o), Tensor))


def test_hand_adjoint_frees_its_memory() -> None:
    layout = StreamLayout(2, (0, 1), 1)
    module = Siren(width=8, depth=2, omega_0=4.0).build(2, N_OUT)
    inputs, contraction = _normal(4, N_POINTS, 2, seed=2), _random_contraction(layout, pointwise=False)
    before = _live_elements()
    for _ in range(3):
        torch.autograd.grad(module.streams(inputs, contraction, layout).sum(), list(module.parameters()))
        module.streams(inputs, contraction, layout)
    assert _live_elements() == before


def test_single_precision_streams_are_accurate_to_single_precision() -> None:
    layout = StreamLayout(2, (0, 1), 1)
    exact, rounded = (Siren(omega_0=10.0).build(2, N_OUT, dtype=dtype) for dtype in (torch.float64, torch.float32))
    inputs = _box_streams(_normal(N_POINTS, 2, seed=2).clamp(-1, 1), torch.ones(2, dtype=torch.float64), layout)
    contraction = _random_contraction(layout, pointwise=True)
    error = rounded.streams(inputs.float(), contraction, layout) - exact.streams(inputs, contraction, layout)
    # Phases reach 10 and lose 10 eps; 2e-5 leaves a factor of ten.
    assert float((error.norm() / exact.streams(inputs, contraction, layout).norm()).detach()) < 2e-5


@pytest.mark.parametrize(
    ("shape", "contraction", "message"),
    [
        ((3, 5, 2), torch.eye(2)[None], r"input streams of shape `\(3, 5, 2\)`; expected .* \(4, N, 2\)"),
        ((4, 5, 3), torch.eye(2)[None], r"input streams of shape `\(4, 5, 3\)`"),
        ((4, 5, 2), None, "pass their matrices"),
        ((4, 5, 2), torch.eye(3)[None], r"`contraction` has shape `\(1, 3, 3\)`"),
    ],
)
def test_wrong_shapes_are_named(shape: tuple[int, ...], contraction: Tensor | None, message: str) -> None:
    module: SirenModule = Siren(width=8).build(2, 1)
    with pytest.raises(CompileError, match=message):
        module.streams(torch.zeros(shape, dtype=torch.float64), contraction, StreamLayout(2, (0, 1), 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, (), 0), "at least one coordinate"),
        ((2, (1, 0), 0), "strictly increasing"),
        ((2, (0, 2), 0), r"indices in 0\.\.1"),
        ((2, (), 1), "empty `gradient`"),
    ],
)
def test_impossible_layouts_are_refused(arguments: tuple[int, tuple[int, ...], int], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        StreamLayout(*arguments)
