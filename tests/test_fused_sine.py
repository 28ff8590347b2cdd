"""The fused GPU kernels: equal to torch's own operations through Triton's interpreter, compiled for a GPU, distrusted where they differ."""

import json
import logging
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from pinnsiren.compiler.stream_closure import close_streams
from pinnsiren.networks import fused_sine
from pinnsiren.networks.contraction import StreamTerm, stream_terms
from pinnsiren.networks.fused_sine import TermTable, tile_shape
from pinnsiren.networks.sine_sweep import SineSweep

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed here; `pip install triton` (Linux)")

# Triton decides on import whether kernels are interpreted, so that a process of its own does it.
INTERPRETED = """
import json, torch
from pinnsiren.compiler.stream_closure import close_streams
from pinnsiren.networks.contraction import stream_terms
from pinnsiren.networks.fused_sine import FusedSweep, largest_difference
from pinnsiren.networks.sine_sweep import SineSweep
found = {str(dtype): largest_difference(torch.device("cpu"), dtype) for dtype in (torch.float64, torch.float32)}
operators = {
    "no operator": [((1,), 1.0)], "laplacian": (((2, 0), 1.0), ((0, 2), 1.0)), "biharmonic": (((4, 0), 1.0), ((2, 2), 2.0), ((0, 4), 1.0)),
    "third": (((3, 0), 1.0), ((1, 2), -2.0)),
}
for name, operator in operators.items():
    layout = close_streams([operator] if name != "no operator" else [(((1, 0), 1.0),), (((0, 1), 1.0),)], 2)
    generator = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    # 20 neurons and 21 points: neither fills the tiles.
    inputs = draw(layout.size, 21, 2)
    maps = [(3 * draw(20, 2), draw(20)), (draw(20, 20) / 4, draw(20)), (draw(1, 20) / 4, draw(1))]
    results = []
    for kind in (SineSweep, FusedSweep):
        sweep = kind(inputs, maps, stream_terms(None, layout, inputs), layout)
        output, kept = sweep.forward(keep=True)
        results.append([output, sweep.forward(keep=False, head=False)[0], *sweep.backward(kept, output, [False] + 6 * [True])])
        assert results[-1][2] is None
    found[name] = max(float((a - b).norm() / b.norm()) for a, b in zip(*results) if a is not None)
print(json.dumps(found))
"""


@needs_triton
def test_the_interpreted_kernels_agree_with_torch() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", INTERPRETED], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("torch.float32") < 5e-6
    assert set(found) == {"torch.float64", "no operator", "laplacian", "biharmonic", "third"}
    assert max(found.values()) < 1e-13, found


@needs_triton
@pytest.mark.parametrize(("operator", "dtype"), [("laplacian", "fp32"), ("biharmonic", "fp64")])
def test_the_kernels_compile_for_a_gpu_that_is_not_there(operator: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # as torch's own compiler has it; Triton 3.9 warns where it is not set
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from pinnsiren.networks import sine_kernels

    operators = {"laplacian": (((2, 0), 1.0), ((0, 2), 1.0)), "biharmonic": (((4, 0), 1.0), ((2, 2), 2.0), ((0, 4), 1.0))}
    layout = close_streams([operators[operator]], 2)
    table = TermTable.of(stream_terms(None, layout, torch.zeros(1)), 64, torch.zeros(1))
    rows, columns = tile_shape(256, layout.size, int(dtype[2:]) // 8)
    constants = {**table.constants(layout.size), "ROWS": rows, "COLUMNS": columns}
    for name in ("forward_kernel", "backward_kernel"):
        kernel = getattr(sine_kernels, name)
        kinds = {"n_points": "i32", "width": "i32", **dict.fromkeys(constants, "constexpr")}
        signature = {parameter.name: kinds.get(parameter.name, f"*{dtype}") for parameter in kernel.params}
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        assembly = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
        # The fast sine of the hardware loses its digits beyond a few turns; the residual multiplies what it loses by the wavenumber squared.
        assert "sin.approx" not in assembly and "cos.approx" not in assembly
        assert "st.global" in assembly


def test_the_table_of_terms_keeps_numbers_and_rows_apart() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    values = torch.arange(5.0, dtype=torch.float64)[:, None]
    table = TermTable.of(((), (StreamTerm((1, 1), 2.0), StreamTerm((1, 2, 2), values))), 5, like)
    assert table.owners == (2, 2) and table.orders == (2, 3) and table.slots == (-1, 0) and table.weights == (2.0, 1.0)
    assert table.factors == (1, 1, -1, -1, 1, 2, 2, -1)
    assert torch.equal(table.coefficients, values.t())


@pytest.mark.parametrize(("width", "size", "n_bytes", "elements"), [(256, 4, 4, 512), (256, 9, 8, 256), (20, 14, 8, 128), (8, 4, 4, 512)])
def test_a_tile_shrinks_as_the_streams_grow(width: int, size: int, n_bytes: int, elements: int) -> None:
    rows, columns = tile_shape(width, size, n_bytes)
    assert rows * columns == elements
    assert columns & (columns - 1) == 0 and rows & (rows - 1) == 0


def test_kernels_are_not_asked_for_on_a_cpu() -> None:
    assert not fused_sine.fused_is_usable(torch.device("cpu"), torch.float64)


@pytest.mark.parametrize(
    ("outcome", "words"), [(3e-3, "differ from torch's own operations by 3.0e-03"), (ImportError("No module named 'triton'"), "named 'triton'")]
)
def test_a_device_that_disagrees_is_named_and_left(
    outcome: float | Exception, words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def measured(device: torch.device, dtype: torch.dtype) -> float:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(fused_sine, "largest_difference", measured)
    fused_sine._why_not.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert not fused_sine.fused_is_usable(torch.device("cuda", 7), torch.float32)
    assert words in caplog.text and "torch's own operations run instead" in caplog.text
    monkeypatch.setattr(fused_sine, "largest_difference", lambda device, dtype: 0.0)
    fused_sine._why_not.cache_clear()
    assert fused_sine.fused_is_usable(torch.device("cuda", 7), torch.float32)
    assert not fused_sine.fused_is_usable(torch.device("cuda", 7), torch.float16)
    fused_sine._why_not.cache_clear()


def test_the_plain_sweep_is_what_a_cpu_gets() -> None:
    layout = close_streams([(((2,), 1.0),)], 1)
    inputs = torch.zeros(layout.size, 3, 1, dtype=torch.float64)
    from pinnsiren.networks.sine_adjoint import sweep_over

    maps = [(torch.ones(4, 1, dtype=torch.float64), torch.zeros(4, dtype=torch.float64))] * 2
    assert type(sweep_over(inputs, maps, stream_terms(None, layout, inputs), layout)) is SineSweep
