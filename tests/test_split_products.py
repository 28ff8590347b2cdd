"""Products of split factors: exact roundings, the accuracy of float32 where plain TF32 has lost it, and a setting that never stays behind."""

import json
import logging
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

import pinnsiren as ps
from pinnsiren.compiler.stream_closure import close_streams
from pinnsiren.networks import MLP, Siren, split_products
from pinnsiren.networks.split_products import BLOCK_ROWS, Split, as_factor, multiply, round_to_tf32, split, tf32_allowed
from pinnsiren.training.defect import DefectEstimate
from pinnsiren.training.device import resolve_precision

GRADIENT_BAR = 5e-5  # relative, parameter gradients against nested float64 for a random cotangent of order one
CUDA = torch.device("cuda")
MATMUL = torch.backends.cuda.matmul
OPERATORS = {"laplacian": (((2, 0), 1.0), ((0, 2), 1.0)), "wave": (((2, 0), 1.0), ((0, 2), -3.0))}
# The NaN that CUDA makes, and the quiet one of x86.
NANS = torch.tensor([0x7FFFFFFF, 0x7FC00000, -0x400000], dtype=torch.int32).view(torch.float32)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator) * 10.0 ** (4 * torch.rand(*shape, generator=generator) - 2)


def relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


def test_the_rounding_keeps_ten_bits_and_goes_to_the_nearest() -> None:
    x = draw(100_000)
    mantissa, exponent = torch.frexp(x.double())  # mantissa in [1/2, 1): ten explicit bits are eleven with the leading one
    scaled = mantissa * 2**11
    nearest = torch.sign(scaled) * torch.floor(scaled.abs() + 0.5)
    assert torch.equal(round_to_tf32(x).double(), torch.ldexp(nearest / 2**11, exponent))
    special = torch.tensor([0.0, 1.0 + 2**-11, -1.0 - 2**-11, 2.0 - 2**-12, float("inf"), -float("inf")])
    expected = torch.tensor([0.0, 1.0 + 2**-10, -1.0 - 2**-10, 2.0, float("inf"), -float("inf")])
    assert torch.equal(round_to_tf32(special), expected)
    assert bool(round_to_tf32(NANS).isnan().all())


def test_two_parts_hold_a_number_to_22_bits() -> None:
    x = draw(100_000)
    parts = split(x)
    assert parts.low is not None
    assert torch.equal(round_to_tf32(parts.high), parts.high) and torch.equal(round_to_tf32(parts.low), parts.low)
    rest = x.double() - parts.high.double() - parts.low.double()
    assert bool((rest.abs() <= 2.0**-22 * x.abs().double()).all())


@pytest.mark.parametrize("rows", [7, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS, 3 * BLOCK_ROWS + 200])
def test_split_products_have_the_accuracy_of_float32_over_any_number_of_rows(rows: int) -> None:
    left, right, before = draw(rows, 24, seed=1), draw(rows, 20, seed=2), draw(24, 20, seed=3)
    exact = left.double().t() @ right.double()
    errors = {}
    for arithmetic in ("ieee", "3xtf32", "tf32"):
        out = torch.empty(24, 20)
        multiply(as_factor(left, arithmetic).t(), as_factor(right, arithmetic), out)
        errors[arithmetic] = relative(out, exact)
        added = before.clone()
        multiply(as_factor(left, arithmetic).t(), as_factor(right, arithmetic), added, add=True)
        assert relative(added, exact + before) < 2 * errors[arithmetic] + 1e-6
    assert errors["3xtf32"] < 2 * errors["ieee"] + 2e-7
    assert errors["tf32"] > 1e-4


def test_a_nan_is_not_lost() -> None:
    x = torch.ones(3, 4)
    x[1, 2] = NANS[0]
    out = torch.empty(3, 3)
    multiply(split(x), split(torch.ones(3, 4)).t(), out)
    assert out.isnan().tolist() == [[False] * 3, [True] * 3, [False] * 3]


def test_double_precision_is_never_split() -> None:
    x = torch.ones(2, 2, dtype=torch.float64)
    assert as_factor(x, "3xtf32") is x
    assert isinstance(as_factor(x.float(), "3xtf32"), Split)


def parameter_gradient(arithmetic, dtype, operator, n_points, seed, *, depth=3, nested=False, width=256):
    """Of a random functional of all streams, each brought to order one by powers of the frequency."""
    layout = close_streams([OPERATORS[operator]], 2)
    module = Siren(width=width, depth=depth, omega_0=10.0).build(2, 2, seed=seed, dtype=dtype)
    module.arithmetic = arithmetic
    generator = torch.Generator().manual_seed(seed + 1)
    points = 2 * torch.rand(n_points, 2, generator=generator, dtype=torch.float64) - 1
    inputs = torch.zeros(layout.size, n_points, 2, dtype=torch.float64)
    inputs[0], inputs[1, :, 0], inputs[2, :, 1] = points, 1.0, 1.0
    cotangent = torch.randn(layout.size, n_points, 2, generator=generator, dtype=torch.float64)
    cotangent *= torch.tensor([1.0, 0.1, 0.1, 0.01], dtype=torch.float64)[:, None, None]
    if nested:
        x = points.requires_grad_(True)
        u = module(x)
        total = (u * cotangent[0]).sum()
        for channel in range(2):
            (slope,) = torch.autograd.grad(u[:, channel].sum(), x, create_graph=True)
            second = [torch.autograd.grad(slope[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(2)]
            curvature = sum(weight * second[orders.index(2)] for orders, weight in OPERATORS[operator])
            total = total + (slope * cotangent[1:3, :, channel].t()).sum() + (curvature * cotangent[3, :, channel]).sum()
    else:
        total = (module.streams(inputs.to(dtype), None, layout) * cotangent.to(dtype)).sum()
    return torch.cat([part.flatten() for part in torch.autograd.grad(total, list(module.parameters()))])


@pytest.mark.parametrize(("operator", "n_points", "seed"), [("laplacian", 64, 0), ("laplacian", 300, 5), ("wave", 100, 9)])
def test_three_products_keep_the_parameter_gradient_and_one_does_not(operator, n_points, seed) -> None:
    exact = parameter_gradient("ieee", torch.float64, operator, n_points, seed, nested=True)
    errors = {kind: relative(parameter_gradient(kind, torch.float32, operator, n_points, seed), exact) for kind in ("ieee", "3xtf32", "tf32")}
    assert errors["3xtf32"] < GRADIENT_BAR
    assert errors["3xtf32"] < 2 * errors["ieee"]
    assert errors["tf32"] > 5 * GRADIENT_BAR
    # Double precision does not know the setting.
    assert torch.equal(*(parameter_gradient(kind, torch.float64, operator, n_points, seed, width=16) for kind in ("ieee", "3xtf32")))


def test_only_products_between_sine_layers_are_split() -> None:
    one = [parameter_gradient(kind, torch.float32, "laplacian", 20, 0, depth=1) for kind in ("ieee", "tf32")]
    two = [parameter_gradient(kind, torch.float32, "laplacian", 20, 0, depth=2) for kind in ("ieee", "tf32")]
    assert torch.equal(*one) and not torch.equal(*two)


def test_features_and_factors_of_the_jacobian_take_the_same_products() -> None:
    layout = close_streams([OPERATORS["laplacian"]], 2)
    module, exact = (Siren(width=64, depth=3, omega_0=6.0).build(2, 1, dtype=dtype) for dtype in (torch.float32, torch.float64))
    inputs = draw(layout.size, 12, 2).clamp(-1, 1)
    seeds = draw(1, layout.size, 12, 1, seed=4)
    factors = exact.layer_factors(inputs.double(), None, layout, seeds.double())
    wanted = [exact.features(inputs.double(), None, layout), *(factor.adjoints for factor in factors)]
    errors = {}
    for module.arithmetic in ("3xtf32", "tf32"):
        found = [module.features(inputs, None, layout), *(f.adjoints for f in module.layer_factors(inputs, None, layout, seeds))]
        errors[module.arithmetic] = [relative(a, b) for a, b in zip(found, wanted, strict=True)]
    assert max(errors["3xtf32"]) < 1e-5
    assert min(errors["tf32"][:-1]) > 1e-4  # the last adjoint is the seed


@pytest.mark.parametrize("before", ["none", "ieee", "tf32"])
def test_the_setting_is_put_back(before: str) -> None:
    start = MATMUL.fp32_precision
    try:
        MATMUL.fp32_precision = before
        with tf32_allowed(CUDA):
            assert MATMUL.fp32_precision == "tf32"
        assert MATMUL.fp32_precision == before
        with pytest.raises(ZeroDivisionError), tf32_allowed(CUDA):
            raise ZeroDivisionError
        assert MATMUL.fp32_precision == before
        with tf32_allowed(torch.device("cpu")):
            assert MATMUL.fp32_precision == before
    finally:
        MATMUL.fp32_precision = start


def test_what_was_set_in_the_old_way_is_still_readable_behind_it() -> None:
    start = torch.get_float32_matmul_precision()
    try:
        for old in ("high", "highest"):
            torch.set_float32_matmul_precision(old)
            with tf32_allowed(CUDA):
                pass
            assert torch.get_float32_matmul_precision() == old
            assert MATMUL.allow_tf32 is (old == "high")  # torch refuses to read a mixture of both ways
    finally:
        torch.set_float32_matmul_precision(start)


@pytest.fixture
def a_gpu(monkeypatch):
    """Pretends to a GPU of a capability whose products have an error."""

    def pretend(capability=(9, 0), error=1e-6) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(split_products, "product_error", lambda device: error if isinstance(error, float) else error())

    split_products.why_no_tf32.cache_clear()
    yield pretend
    split_products.why_no_tf32.cache_clear()


def no_library() -> float:
    raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED\nand more")


@pytest.mark.parametrize(
    ("device", "network", "gpu", "reason"),
    [
        ("cpu", Siren(depth=2), {}, "the device `cpu` has no TF32"),
        ("cuda", Siren(depth=2), {"capability": (7, 5)}, "compute capability 7.5 has no TF32"),
        ("cuda", Siren(depth=2), {"error": 3e-4}, "differ from float64 ones by 3.0e-04 on `cuda`, more than 1e-05"),
        ("cuda", Siren(depth=2), {"error": float("nan")}, "differ from float64 ones by nan"),
        ("cuda", Siren(depth=2), {"error": no_library}, "RuntimeError: CUBLAS_STATUS_NOT_SUPPORTED"),
        ("cuda", Siren(depth=1), {}, "between two sine layers"),
        ("cuda", MLP(), {}, "between two sine layers"),
        ("cuda", Siren(depth=2), {}, None),
    ],
)
def test_a_run_that_cannot_use_it_computes_in_float32_and_says_why(device, network, gpu, reason, a_gpu, caplog) -> None:
    a_gpu(**gpu)
    with caplog.at_level(logging.WARNING):
        assert resolve_precision("3xtf32", device, network) == ("3xtf32" if reason is None else "float32")
    if reason is None:
        assert not caplog.text
    else:
        assert 'precision="3xtf32" runs as "float32": ' in caplog.text and reason in caplog.text
    assert resolve_precision("float64", device, network) == "float64"


@pytest.mark.parametrize("precision", ["float32", "3xtf32"])
def test_without_a_network_everything_is_float64_and_the_user_is_told(precision, tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        solution = ps.solve(declared(), method=ps.LeastSquares(features=40), tolerance=0.3, device="cpu", precision=precision, progress=False)
    assert f'precision="{precision}" runs as "float64": the method trains no network' in caplog.text
    assert solution.precision == "float64" and f"computed in float64: {precision} was asked for" in str(solution.plan)
    again = ps.solve(declared(), method=ps.LeastSquares(features=40), tolerance=0.3, device="cpu", precision="float64", progress=False)
    assert solution(x=0.3, y=0.4) == again(x=0.3, y=0.4) and "computed in" not in str(again.plan)
    solution.save(tmp_path / "run.h5")
    loaded = ps.load(tmp_path / "run.h5")
    assert loaded.precision == "float64" and "computed in float64" in str(loaded.plan)


def test_the_error_that_a_device_is_judged_by_is_small_here() -> None:
    assert split_products.product_error(torch.device("cpu")) < 1e-6


def declared() -> ps.Problem:
    x, y = ps.coordinates("x y")
    u = ps.field("u", x, y)
    return ps.Problem(
        name="p", fields=[u], domain=ps.Box({x: (0, 1), y: (0, 1)}), equations=[ps.laplacian(u) + u**3 - x], conditions=[ps.Dirichlet(u, y)]
    )


def solve_briefly(precision: str):
    settings = {"method": ps.Adam(points=64, maximum_steps=3), "network": Siren(width=16, depth=2), "progress": False}
    return ps.solve(declared(), device="cpu", precision=precision, seconds=60, **settings)


def test_a_solution_says_what_it_was_computed_in(tmp_path, monkeypatch) -> None:
    # Estimates of the error are no part of the claim, and take most of the time.
    monkeypatch.setattr("pinnsiren.training.network_run.estimate_by_defect", lambda *arguments: DefectEstimate(1.0, ()))
    fallen = solve_briefly("3xtf32")
    assert fallen.precision == "float32" and fallen.model.module.arithmetic == "ieee"
    # As on a device that has it: the run splits its products, and file and loaded solution say so.
    monkeypatch.setattr("pinnsiren.training.device.why_no_tf32", lambda device: None)
    solution = solve_briefly("3xtf32")
    assert solution.precision == "3xtf32" and solution.model.module.arithmetic == "3xtf32"
    solution.save(tmp_path / "run.h5")
    loaded = ps.load(tmp_path / "run.h5")
    assert loaded.precision == "3xtf32"
    assert float(loaded(x=0.3, y=0.4)) == pytest.approx(float(solution(x=0.3, y=0.4)), rel=1e-4)
    # The numbers of a step differ from those of float32 by rounding.
    first, second = (run.history["training_residual"][-1] for run in (fallen, solution))
    assert first != second and first == pytest.approx(second, rel=1e-3)


needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed here; `pip install triton` (Linux)")
INTERPRETED = """
import json, torch
from pinnsiren.compiler.stream_closure import close_streams
from pinnsiren.networks.contraction import stream_terms
from pinnsiren.networks.fused_sine import FusedSweep
from pinnsiren.networks.sine_sweep import SineSweep
from pinnsiren.networks.split_products import split, split_by_kernel
x = torch.randn(3, 701, generator=torch.Generator().manual_seed(0)) * 1e3
x[0, :4] = torch.tensor([0x7FFFFFFF, 0x7FC00000, 0x3F801000, -0x407FF000], dtype=torch.int32).view(torch.float32)
x[1, :2] = torch.tensor([1e-40, float("inf")])
found, expected = split_by_kernel(x), split(x)
pairs = [(found.high, expected.high), (found.low, expected.low)]
same = [bool(((a == b) | (a.isnan() & b.isnan())).all()) for a, b in pairs] + [bool(found.low[0, :2].isnan().all())]
layout = close_streams([(((2, 0), 1.0), ((0, 2), 1.0))], 2)
generator = torch.Generator().manual_seed(3)
draw = lambda *shape: torch.randn(*shape, generator=generator)
inputs, cotangent = draw(layout.size, 21, 2), draw(layout.size, 21, 1)
maps = [(3 * draw(20, 2), draw(20)), (draw(20, 20) / 4, draw(20)), (draw(1, 20), draw(1))]
def gradient(kind, dtype, arithmetic):
    typed = [(weight.to(dtype), bias.to(dtype)) for weight, bias in maps]
    sweep = kind(inputs.to(dtype), typed, stream_terms(None, layout, inputs.to(dtype)), layout, arithmetic)
    output, kept = sweep.forward(keep=True)
    parts = [output, *sweep.backward(kept, cotangent.to(dtype), 7 * [True])]
    return torch.cat([part.double().flatten() for part in parts])
exact = gradient(SineSweep, torch.float64, "ieee")
errors = {name: float((gradient(FusedSweep, torch.float32, name) - exact).norm() / exact.norm()) for name in ("ieee", "3xtf32", "tf32")}
print(json.dumps([same, errors]))
"""


@needs_triton
def test_the_interpreted_kernels_give_the_same_bits_and_keep_the_digits() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", INTERPRETED], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    same, errors = json.loads(done.stdout)
    assert same == [True, True, True]
    assert errors["3xtf32"] < min(5e-6, 3 * errors["ieee"]) and errors["3xtf32"] != errors["ieee"]
    assert errors["tf32"] > 1e-4


@needs_triton
def test_the_kernel_compiles_for_a_gpu_that_is_not_there(monkeypatch) -> None:
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # as torch's own compiler has it; Triton 3.9 warns where it is not set
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from pinnsiren.networks import split_kernels

    signature = {"source": "*fp32", "high": "*fp32", "low": "*fp32", "n_elements": "i32", "BLOCK": "constexpr"}
    source = ASTSource(fn=split_kernels.split_kernel, signature=signature, constexprs={"BLOCK": split_kernels.BLOCK})
    assembly = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
    assert assembly.count("st.global") >= 2 and "sub.f32" in assembly
