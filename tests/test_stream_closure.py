"""Closed streams: exact for every operator up to fourth order, and as few as can be."""

from collections.abc import Iterator
from functools import cache
from itertools import combinations, product

import numpy as np
import pytest
import sympy as sp
import torch

from pinnsiren.compiler.stream_closure import close_streams
from pinnsiren.errors import CompileError
from pinnsiren.networks import ACTIVATIONS, MLP, FourierFeatureMLP, ModuleNetwork, RBFNetwork, Siren, nested_streams, residual_jacobian

AGREEMENT = 1e-12  # fp64 through three layers; the largest measured difference was 3e-14
N_POINTS, N_OUT = 7, 2
X, Y, Z = sp.symbols("x y z")  # stand for the derivatives with respect to three coordinates

# Polynomials in the derivatives, one list per problem: what its residuals read.
OPERATORS = {
    1: {
        "gradient": [X],
        "second": [X**2],
        "third": [X**3],
        "fourth": [X**4],
        "beam with tension": [X**4 - 3 * X**2],
        "mixed orders": [X**3 + X**2 / 3 - 2 * X],
        "several": [X**4 + X, X**3 - X**2],
    },
    2: {
        "gradient": [X, Y],
        "transport": [X + 2 * Y],
        "laplacian": [X**2 + Y**2],
        "wave": [Y**2 - 4 * X**2],
        "degenerate": [(X + Y) ** 2],
        "mixed second": [X * Y],
        "hessian": [X**2, X * Y, Y**2],
        "heat": [Y - X**2],
        "convection": [Y - X**2 / 7, X],
        "KdV": [Y + X**3, X],
        "KdV, unknown dispersion": [Y, X**3, X],
        "Kuramoto-Sivashinsky": [Y + X**2 + X**4, X],
        "Boussinesq": [Y**2 - X**2 - X**4, X**2, X],
        "biharmonic": [(X**2 + Y**2) ** 2],
        "biharmonic plate on springs": [(X**2 + Y**2) ** 2 - 2 * (X**2 + Y**2)],
        "gradient of the laplacian": [X**3 + X * Y**2, X**2 * Y + Y**3],
        "third mixed": [X**2 * Y],
        "fourth mixed": [X**2 * Y**2],
        "anisotropic plate": [X**4 + 3 * X**2 * Y**2 + 5 * Y**4],
        "Kadomtsev-Petviashvili": [X * Y + X**4, X**2, X],
        "stream function": [X**2 + Y**2, X**3 + X * Y**2, X**2 * Y + Y**3, (X**2 + Y**2) ** 2],
    },
    3: {
        "laplacian": [X**2 + Y**2 + Z**2],
        "wave": [Z**2 - X**2 - Y**2],
        "wave, variable speed": [Z**2, X**2 + Y**2],
        "heat": [Z - X**2 - Y**2],
        "anisotropic": [X**2 + X * Y + 3 * Y**2 + Z**2],
        "biharmonic": [(X**2 + Y**2 + Z**2) ** 2],
        "plate in time": [Z**2 + (X**2 + Y**2) ** 2],
        "Cahn-Hilliard": [Z + (X**2 + Y**2) ** 2, X**2 + Y**2, X, Y],
        "third mixed": [X * Y * Z],
        "fourth mixed": [X**2 * Y * Z],
    },
}
CASES = [
    pytest.param(dimension, polynomials, id=f"{dimension}-D {name}")
    for dimension, named in OPERATORS.items()
    for name, polynomials in named.items()
]
SIZES = {
    # value, d first derivatives, one operator; value, u_x and u_t - u_xx; ...
    (2, "laplacian"): 4,
    (3, "laplacian"): 5,
    (2, "degenerate"): 3,
    (2, "heat"): 3,
    (2, "KdV"): 4,
    (2, "Kuramoto-Sivashinsky"): 5,
    (2, "biharmonic"): 9,
    (3, "biharmonic"): 14,
    (3, "wave, variable speed"): 6,
    (3, "wave"): 5,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def operators(polynomials, dimension):
    symbols = (X, Y, Z)[:dimension]
    return [tuple((orders, float(c)) for orders, c in sp.Poly(p, *symbols).terms()) for p in polynomials]


def normal(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def box_inputs(points, layout):
    """Streams of the coordinates themselves."""
    inputs = torch.zeros(layout.size, *points.shape, dtype=points.dtype)
    inputs[0] = points
    for k, stream in enumerate(layout.closed, start=1):
        for orders, coefficient in stream.operator:
            if sum(orders) == 1:
                inputs[k, :, orders.index(1)] = coefficient
    return inputs


def gradients(streams, module, scale):
    cotangent = normal(*streams.shape, seed=4) / scale
    return torch.cat([g.flatten() for g in torch.autograd.grad((cotangent * streams).sum(), list(module.parameters()))])


def assert_close(a, b):
    assert float((a - b).detach().norm()) <= AGREEMENT * float(b.detach().norm())


def test_there_are_thirty_operators_in_one_to_three_dimensions():
    assert len(CASES) >= 30 and set(OPERATORS) == {1, 2, 3}


@pytest.mark.parametrize(("dimension", "polynomials"), CASES)
def test_streams_and_parameter_gradients_agree_with_nested_autograd(dimension, polynomials):
    layout = close_streams(operators(polynomials, dimension), dimension)
    module = Siren(width=11, depth=3, omega_0=2.0).build(dimension, N_OUT, seed=1)
    points = normal(N_POINTS, dimension, seed=2)
    inputs = box_inputs(points, layout)
    reference = nested_streams(module, points, None, layout)
    # The cotangents are of order one relative to the streams, which differ by powers of the frequency.
    scale = reference.detach().flatten(1).norm(dim=1)[:, None, None]
    expected = gradients(reference, module, scale)
    for streams in (module.streams(inputs, None, layout), module.taped_streams(inputs, None, layout)):
        for computed, exact in zip(streams, reference, strict=True):
            assert_close(computed, exact)
        assert_close(gradients(streams, module, scale), expected)


@pytest.mark.parametrize(("dimension", "polynomials"), CASES)
def test_no_closed_set_is_smaller(dimension, polynomials):
    """Whatever a layer's output reads, found from random fields without the planner's algebra, spans every stream of the plan."""
    wanted = operators(polynomials, dimension)
    layout = close_streams(wanted, dimension)
    monomials = jets(dimension, max(sum(orders) for operator in wanted for orders, _ in operator))
    rows = np.array([[dict(operator).get(orders, 0.0) for orders in monomials] for operator in wanted])
    rank = -1
    while rank < (rank := np.linalg.matrix_rank(rows, tol=1e-8)):
        rows = compressed(np.vstack([rows, *(read_by_a_layer(row, monomials) for row in compressed(rows))]))
    assert layout.size == 1 + rank


@pytest.mark.parametrize("key", SIZES, ids=str)
def test_known_sizes(key):
    dimension, name = key
    assert close_streams(operators(OPERATORS[dimension][name], dimension), dimension).size == SIZES[key]


SMALL = [(1, "third"), (1, "several")]
SMALL += [(2, name) for name in ("laplacian", "heat", "KdV", "degenerate", "wave", "convection", "third mixed")]


@pytest.mark.parametrize(("dimension", "name"), SMALL)
def test_exhaustive_search_finds_no_smaller_closed_set(dimension, name):
    """All sets drawn from partial derivatives, the operators themselves and the streams of the plan: the first closed one is the plan's."""
    wanted = operators(OPERATORS[dimension][name], dimension)
    layout = close_streams(wanted, dimension)
    monomials = jets(dimension, max(sum(orders) for operator in wanted for orders, _ in operator))
    plain = [((orders, 1.0),) for orders in monomials]
    pool = dict.fromkeys([*plain, *wanted, *(stream.operator for stream in layout.closed)])
    vectors = [np.array([dict(operator).get(orders, 0.0) for orders in monomials]) for operator in pool]
    targets = np.array([[dict(operator).get(orders, 0.0) for orders in monomials] for operator in wanted])
    reads = [read_by_a_layer(vector, monomials) for vector in vectors]
    smallest = next(
        size
        for size in range(len(vectors) + 1)
        if any(
            spans(np.array([vectors[i] for i in chosen]), np.vstack([targets, *(reads[i] for i in chosen)]))
            for chosen in combinations(range(len(vectors)), size)
        )
    )
    assert layout.size == 1 + smallest


def jets(dimension, order):
    return [orders for orders in product(range(order + 1), repeat=dimension) if 0 < sum(orders) <= order]


def spans(rows, targets):
    if len(rows) == 0:
        return False
    return np.linalg.matrix_rank(np.vstack([rows, targets]), tol=1e-8) == np.linalg.matrix_rank(rows, tol=1e-8)


def compressed(rows):
    _, values, right = np.linalg.svd(rows, full_matrices=False)
    return right[values > 1e-8]


def read_by_a_layer(row, monomials):
    """What an implementation of `D sin v` has to know of v: the span of its gradients with respect to the derivatives of v, at random ones."""
    return compressed(np.einsum("a,nab->nb", row, layer_gradients(tuple(monomials))))


@cache
def layer_gradients(monomials):
    """(samples, a, b): derivative of the partial derivative a of sin v by the partial derivative b of v."""
    dimension, order = len(monomials[0]), max(map(sum, monomials))
    values = torch.tensor(np.random.default_rng(5).normal(size=(1 + len(monomials), 2 * len(monomials))), requires_grad=True)
    series = taylor_sine({(0,) * dimension: values[0], **dict(zip(monomials, values[1:], strict=True))}, dimension, order)
    rows = [torch.autograd.grad(series[orders].sum(), values, retain_graph=True)[0][1:].T for orders in monomials]
    return torch.stack(rows, dim=1).numpy()


def taylor_sine(derivatives, dimension, order):
    """Derivatives of sin v from those of v, by multiplying power series."""
    index = [orders for orders in product(range(order + 1), repeat=dimension) if sum(orders) <= order]
    factorial = {orders: float(np.prod([float(sp.factorial(count)) for count in orders])) for orders in index}
    zero = (0,) * dimension
    rest = {orders: derivatives[orders] / factorial[orders] for orders in index if any(orders)}
    power, s, c = {zero: torch.ones_like(derivatives[zero])}, torch.sin(derivatives[zero]), torch.cos(derivatives[zero])
    result = dict.fromkeys(index, 0.0)
    for n in range(order + 1):
        slope = (s, c, -s, -c)[n % 4] / float(sp.factorial(n))
        for orders, value in power.items():
            result[orders] = result[orders] + slope * value
        following = {}
        for a, b in product(power, rest):
            key = tuple(i + j for i, j in zip(a, b, strict=True))
            if sum(key) <= order:
                following[key] = following.get(key, 0.0) + power[a] * rest[b]
        power = following
    return {orders: value * factorial[orders] for orders, value in result.items()}


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_has_four_derivatives(name):
    layout = close_streams(operators([(X**2 + Y**2) ** 2, X**3], 2), 2)
    module = MLP(width=9, depth=2, activation=name).build(2, N_OUT, seed=1)
    assert_nested(module, layout)


NETWORKS = {
    "fourier": FourierFeatureMLP(width=9, depth=1, n_features=5, scale=2.0, activation="swish"),
    "rbf": RBFNetwork(n_centres=5, deviation=0.9, width=6, depth=1),
    "module": ModuleNetwork(torch.nn.Sequential(torch.nn.Linear(2, 9), torch.nn.Tanh(), torch.nn.Linear(9, N_OUT))),
    "siren": Siren(width=9, depth=2, omega_0=2.0),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_carries_streams_of_fourth_order(name):
    layout = close_streams(operators([(X**2 + Y**2) ** 2 + Y, X * Y], 2), 2)
    assert_nested(NETWORKS[name].build(2, N_OUT, seed=1), layout)


def assert_nested(module, layout):
    points = normal(N_POINTS, 2, seed=2)
    reference = nested_streams(module, points, None, layout)
    for computed, exact in zip(module.streams(box_inputs(points, layout), None, layout), reference, strict=True):
        assert_close(computed, exact)


def test_streams_of_fourth_order_follow_a_curved_chart():
    layout = close_streams(operators([(X**2 + Y**2) ** 2], 2), 2)
    module = Siren(width=9, depth=2, omega_0=2.0).build(3, N_OUT, seed=1)

    def chart(x):
        return torch.stack((x[:, 0] * x[:, 1], x.sin().sum(1), (x**2).sum(1)), dim=1)

    points = normal(N_POINTS, 2, seed=2)
    reference = nested_streams(lambda x: module(chart(x)), points, None, layout)
    inputs = nested_streams(chart, points, None, layout).detach()
    for computed, exact in zip(module.streams(inputs, None, layout), reference, strict=True):
        assert_close(computed, exact)


@pytest.mark.parametrize("name", ["siren", "fourier"])
def test_jacobians_follow_streams_of_fourth_order(name):
    layout = close_streams(operators([Y + X**4, X], 2), 2)
    module = NETWORKS[name].build(2, N_OUT, seed=1)
    inputs, seeds = box_inputs(normal(N_POINTS, 2, seed=2), layout), normal(2, layout.size, N_POINTS, N_OUT, seed=3)
    jacobian = residual_jacobian(module, inputs, None, layout, seeds)
    values = torch.einsum("rsnm,snm->rn", seeds, module.taped_streams(inputs, None, layout)).flatten()
    for row, value in zip(jacobian, values, strict=True):
        expected = torch.cat([g.flatten() for g in torch.autograd.grad(value, list(module.parameters()), retain_graph=True)])
        assert_close(row, expected)


def test_nothing_but_the_value_is_one_stream():
    assert close_streams([], 2).names == ("value",)
    assert close_streams([(((0, 0), 3.0),)], 2).size == 1


def test_a_common_factor_and_rounded_ratios_make_no_further_stream():
    third = 1.0 / 3.0
    laplacians = [(((2, 0), 3.0), ((0, 2), 3.0)), (((2, 0), third), ((0, 2), 0.1 * third / 0.1))]
    assert close_streams(laplacians, 2).size == 4


def test_small_and_large_coefficients_are_kept():
    layout = close_streams([(((0, 2), 1.0), ((2, 0), -2.25e6)), (((1, 0), 1e-9), ((0, 1), 1.0))], 2)
    assert layout.size == 4
    assert dict(layout.closed[-1].operator)[0, 2] == pytest.approx(-1 / 2.25e6, rel=1e-15)


def test_fifth_order_is_refused():
    with pytest.raises(CompileError, match="up to order 4; one of order 5"):
        close_streams([(((5,), 1.0),)], 1)
