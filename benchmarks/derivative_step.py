"""One derivative step: value, gradient, Laplacian and parameter gradient of a network, three ways.

    hand adjoint    packed streams, reverse sweep written by hand (`Siren.streams`)
    tape            packed streams, reverse sweep by torch (`taped_streams`)
    nested          the textbook way: `autograd.grad(create_graph=True)` per output and coordinate

All three see the same network (2 -> 256 x 3 -> m), points and loss, and are timed in turns within one loop,
so that a busy machine slows all alike; the ratio is the median of the ratios within a round. On the CPU one
core is used.

    python benchmarks/derivative_step.py --repeats 15 --output benchmarks/results/derivative_step_cpu.json
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.networks import Siren, SirenModule

WIDTH, DEPTH, N_COORDINATES = 256, 3, 2
LAYOUT = StreamLayout(n_coordinates=N_COORDINATES, gradient=(0, 1), n_operators=1)
LAPLACIAN = torch.eye(N_COORDINATES, dtype=torch.float64)[None]
# Units of one hidden matrix product (2 N W^2 FLOP each) per hidden layer, parameter gradient included: 3 (d +
# 2) with streams.
STREAM_UNITS = 3 * (N_COORDINATES + 2)


def build_case(n_points: int, n_out: int, dtype: torch.dtype, device: str) -> tuple[SirenModule, Tensor, Tensor, Tensor]:
    """Network, points (N, 2), input streams (S, N, 2) and weights (S, N, m) of the loss."""
    module = Siren(width=WIDTH, depth=DEPTH, omega_0=10.0).build(N_COORDINATES, n_out, seed=0, dtype=dtype, device=device)
    generator = torch.Generator().manual_seed(1)
    points = 2.0 * torch.rand((n_points, N_COORDINATES), generator=generator, dtype=torch.float64) - 1.0
    inputs = torch.zeros(LAYOUT.size, n_points, N_COORDINATES, dtype=torch.float64)
    inputs[0] = points
    inputs[1:3] = torch.eye(N_COORDINATES, dtype=torch.float64)[:, None]
    seeds = torch.randn((LAYOUT.size, n_points, n_out), generator=generator, dtype=torch.float64)
    # The Laplacian is of the order omega_0^2 and the gradient omega_0; the weights bring all to one size.
    seeds *= torch.tensor([1.0, 0.1, 0.1, 0.01], dtype=torch.float64)[:, None, None]
    return module, points.to(device, dtype), inputs.to(device, dtype), seeds.to(device, dtype)


def build_steps(module: SirenModule, points: Tensor, inputs: Tensor, seeds: Tensor) -> dict[str, Callable[[], tuple[Tensor, ...]]]:
    """The three ways to the same parameter gradient."""
    contraction = LAPLACIAN.to(points.dtype)
    parameters = list(module.parameters())

    def gradient_of(streams: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((streams * seeds).sum(), parameters)

    return {
        "hand adjoint": lambda: gradient_of(module.streams(inputs, contraction, LAYOUT)),
        "tape": lambda: gradient_of(module.taped_streams(inputs, contraction, LAYOUT)),
        "nested": lambda: gradient_of(textbook_streams(module, points)),
    }


def textbook_streams(module: torch.nn.Module, points: Tensor) -> Tensor:
    """Value, gradient and Laplacian as every introduction writes them."""
    x = points.detach().requires_grad_(True)
    u = module(x)
    columns = []
    for channel in range(u.shape[1]):
        (gradient,) = torch.autograd.grad(u[:, channel].sum(), x, create_graph=True)
        second = [torch.autograd.grad(gradient[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(points.shape[1])]
        columns.append(torch.stack([u[:, channel], *gradient.unbind(1), sum(second[1:], second[0])]))
    return torch.stack(columns, dim=-1)


def seconds_of(step: Callable[[], object], device: str) -> float:
    """Wall time of one call."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def busy_seconds(step: Callable[[], object], device: str) -> float:
    """Processor time of one call on one core, which other programs lengthen least; wall time on a GPU."""
    if device != "cpu":
        return seconds_of(step, device)
    start = time.process_time()
    step()
    return time.process_time() - start


def relative_difference(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> float:
    """Relative L2 distance of two parameter gradients."""
    x, y = (torch.cat([g.flatten().double() for g in gradients]) for gradients in (a, b))
    return float((x - y).norm() / y.norm())


def spread(values: list[float]) -> dict[str, float]:
    """Median, quartiles and extremes."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {
        "median": middle,
        "lower_quartile": low,
        "upper_quartile": high,
        "minimum": min(values),
        "maximum": max(values),
    }


def measure(n_points: int, n_out: int, dtype: torch.dtype, device: str, repeats: int) -> dict[str, object]:
    """Time one size; the rounds interleave the three ways."""
    case = build_case(n_points, n_out, dtype, device)
    steps = build_steps(*case)
    exact = build_steps(*build_case(n_points, n_out, torch.float64, device))["nested"]() if n_points <= 4096 else None
    errors = {name: relative_difference(step(), exact) for name, step in steps.items()} if exact is not None else {}
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    # Short steps suffer more from a busy machine and cost less to repeat.
    rounds = repeats * max(1, min(8, 2048 // n_points))
    for _ in range(rounds):
        for name, step in steps.items():
            seconds[name].append(seconds_of(step, device))
    ratios = {name: spread([slow / fast for slow, fast in zip(seconds["nested"], seconds[name], strict=True)]) for name in ("hand adjoint", "tape")}
    hidden_flop = STREAM_UNITS * (DEPTH - 1) * 2 * n_points * WIDTH**2
    median = statistics.median(seconds["hand adjoint"])
    return {
        "n_points": n_points,
        "n_out": n_out,
        "rounds": rounds,
        "dtype": str(dtype).removeprefix("torch."),
        "milliseconds": {name: spread([1e3 * s for s in values]) for name, values in seconds.items()},
        "nested_over": ratios,
        "hand_adjoint_gflops": hidden_flop / median / 1e9,
        "hand_adjoint_points_per_second": n_points / median,
        "gradient_error_against_float64": errors,
    }


def machine(device: str) -> dict[str, object]:
    """What the numbers were measured on."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else processor_name()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.system(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "fp32_matmul_precision": torch.get_float32_matmul_precision(),
    }


def processor_name() -> str:
    """The model name of the processor, where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def print_table(results: list[dict[str, object]]) -> None:
    """One line per size."""
    header = ["N", "m", "dtype", "hand", "tape", "nested", "nested/hand", "nested/tape", "GFLOP/s"]
    print("".join(f"{title:>13}" for title in header))
    for row in results:
        ms, ratio = row["milliseconds"], row["nested_over"]
        assert isinstance(ms, dict) and isinstance(ratio, dict)
        cells = [str(row["n_points"]), str(row["n_out"]), str(row["dtype"])]
        cells += [f"{ms[name]['median']:.1f} ms" for name in ("hand adjoint", "tape", "nested")]
        cells += [f"{ratio[name]['median']:.2f}x" for name in ("hand adjoint", "tape")]
        print("".join(f"{cell:>13}" for cell in [*cells, f"{row['hand_adjoint_gflops']:.1f}"]))


def main() -> None:
    """Read the arguments, measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15, help="rounds at 2048 points or more; smaller sizes get up to eight times as many")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--output", type=Path, default=None, help="JSON file to write")
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 1024, 256], help="numbers of points")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases = [(arguments.sizes[0], 1, torch.float32)]
    cases += [(n, 2, torch.float32) for n in arguments.sizes] + [(min(arguments.sizes), 2, torch.float64)]
    results = [measure(n, m, dtype, arguments.device, arguments.repeats) for n, m, dtype in cases]
    print_table(results)
    if arguments.output is not None:
        record = {
            "benchmark": "derivative_step",
            "network": f"{N_COORDINATES} -> {WIDTH} x {DEPTH} sine -> m",
            "machine": machine(arguments.device),
            "repeats": arguments.repeats,
            "results": results,
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
