"""Networks compared at equal parameters and equal seconds over the families of the catalogue: the paper's figures 1 and 5 as one table and picture.

Input: nothing. Output: `network_comparison.json` in `results`, one row per family and network, written after every run, and the picture
`network_comparison.png`, the exact field beside what each network made of it. Every network sees the same declaration, points, method and budget;
only its record differs, and with it the start: sine networks begin the wave equation on its dispersion relation, with walls as rows. ReLU has no
record, since its second derivative vanishes: it enters as a torch module with nested differentiation.

    python -m benchmarks.network_comparison [--seconds 16] [--parameters 4500] [--family NAME ...] [--network NAME ...] [--output FOLDER]

Reference: Sitzmann et al. (2020), figures 1 and 5.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import pinnsiren as ps
from pinnsiren.language.free_constants import free_constant_fields
from pinnsiren.problems import load
from pinnsiren.training.network_problem import NetworkProblem
from pinnsiren.validation.plotting import new_figure, png, styled
from pinnsiren.validation.references import exact_reference

from .evidence import N_THREADS, measure_errors
from .evidence_store import CHECKOUT

RESULTS = CHECKOUT / "benchmarks" / "results"
SECONDS, PARAMETERS = 16.0, 4500
GRID = 96
WIDEST = 4096

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """A declared problem with an exact solution, and where its settings come from."""

    name: str
    title: str
    declare: Callable[[], ps.Problem]


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("poisson", "Poisson, smooth data", lambda: load("poisson_box")),
        Family("helmholtz", "Helmholtz, point source, k = 20 (figure 5)", lambda: load("helmholtz_point_source")),
        Family("wave", "wave, three modes", lambda: load("wave_standing")),
        Family("eikonal", "eikonal, constant gradient", lambda: load("eikonal_gradient")),
        Family("image", "camera 32 x 32 from its gradient (figure 1)", lambda: load("image_from_gradient", size=32)),
    )
}
NETWORKS = ("tanh", "ReLU", "softplus", "RBF", "Fourier features", "SIREN")


def count_parameters(record: Any, n_in: int, n_out: int) -> int:
    """Return the number of trained parameters of a network record."""
    module = record.build(n_in, n_out, seed=0, dtype=torch.float64, device="cpu")
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def relu_module(width: int, n_in: int, n_out: int, seed: int) -> torch.nn.Module:
    """Return a perceptron of two hidden layers with ReLU, Kaiming's initial weights (the paper's baseline)."""
    layers: list[torch.nn.Module] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for fan_in, fan_out in ((n_in, width), (width, width)):
            linear = torch.nn.Linear(fan_in, fan_out, dtype=torch.float64)
            torch.nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            layers += [linear, torch.nn.ReLU()]
        layers.append(torch.nn.Linear(width, n_out, dtype=torch.float64))
    return torch.nn.Sequential(*layers)


def record_of(name: str, size: int, n_in: int, n_out: int, seed: int) -> Any:
    """Return the record of a network; `size` is its width, or its number of centres."""
    if name == "SIREN":
        return ps.Siren(width=size, depth=2)
    if name == "RBF":
        return ps.RBFNetwork(n_centres=size)
    if name == "Fourier features":
        return ps.FourierFeatureMLP(width=size, depth=2, n_features=max(size // 2, 1))
    if name == "ReLU":
        return ps.ModuleNetwork(relu_module(size, n_in, n_out, seed))
    return ps.MLP(width=size, depth=2, activation=name)


def sized_record(name: str, n_parameters: int, n_in: int, n_out: int, seed: int) -> Any:
    """Return the largest record with at most the wanted number of parameters."""
    low, high = 1, WIDEST
    while high - low > 1:
        middle = (low + high) // 2
        fits = count_parameters(record_of(name, middle, n_in, n_out, seed), n_in, n_out) <= n_parameters
        low, high = (middle, high) if fits else (low, middle)
    return record_of(name, low, n_in, n_out, seed)


def compare(family: Family, network: str, n_parameters: int, seconds: float, seed: int) -> tuple[dict[str, Any], Array | None]:
    """Train one network on one problem.

    Returns:
        the row of the table, and the field on a grid, None where the run failed.
    """
    problem = family.declare()
    compiled = ps.plan(problem, network=ps.Siren()).compiled
    shape = NetworkProblem(compiled, torch.device("cpu"), torch.float64)
    record = sized_record(network, n_parameters, shape.n_inputs, shape.n_outputs, seed)
    row: dict[str, Any] = {
        "family": family.name, "problem": problem.name, "network": network, "seed": seed,
        "parameters": count_parameters(record, shape.n_inputs, shape.n_outputs),
    }  # fmt: skip
    start = time.perf_counter()
    try:
        # A tolerance that nobody meets: all use up their seconds.
        solution = ps.solve(problem, network=record, seconds=seconds, tolerance=1e-14, seed=seed, device="cpu", progress=False)
    except (ps.PinnsirenError, RuntimeError) as error:
        return {**row, "error": None, "status": f"{type(error).__name__}: {error}", "seconds": time.perf_counter() - start}, None
    reference = exact_reference(problem)
    assert reference is not None, f"the family `{family.name}` has no exact solution to be judged by"
    error, _ = measure_errors(problem, solution, reference)
    row |= {
        "method": type(solution.plan.method).__name__, "error": error, "estimated_error": float(solution.estimated_error),
        "status": solution.status.code, "seconds": time.perf_counter() - start, "steps": len(solution.history),
    }  # fmt: skip
    return row, field_on_grid(problem, solution[_name(problem)].at)


def _name(problem: ps.Problem) -> str:
    return str(problem.fields[0].func)


def field_on_grid(problem: ps.Problem, function: Callable[[Array], Any]) -> Array:
    """Return the real part of the first field on a grid over the domain, its free constant removed, shape (GRID, GRID)."""
    lines = [np.linspace(low, high, GRID) for low, high in problem.domain.bounds.values()]
    points = np.stack([axis.ravel() for axis in np.meshgrid(*lines, indexing="ij")], axis=1)
    values = np.real(np.asarray(function(points))).reshape(GRID, GRID)
    return np.asarray(values - values.mean() if _name(problem) in free_constant_fields(problem) else values)


@styled
def draw(families: Sequence[Family], networks: Sequence[str], rows: Sequence[dict[str, Any]], fields: dict[tuple[str, str], Array | None]) -> Any:
    """Draw one row per family: the exact field, then each network, on the colours of the exact field, with the relative error above."""
    title = "exact fields and what networks of equal size make of them in equal time"
    figure, axes = new_figure(len(families), 1 + len(networks), width=2.0 * (1 + len(networks)), height=2.25 * len(families) + 0.4, title=title)
    errors = {(row["family"], row["network"]): row["error"] for row in rows}
    for line, family in zip(axes, families, strict=True):
        problem = family.declare()
        reference = exact_reference(problem)
        assert reference is not None
        exact = field_on_grid(problem, reference.fields[_name(problem)])
        colours = {"cmap": "gray" if family.name == "image" else "RdBu_r", "vmin": np.nanpercentile(exact, 1), "vmax": np.nanpercentile(exact, 99)}
        for plot, name in zip(line, ("exact", *networks), strict=True):
            field = exact if name == "exact" else fields.get((family.name, name))
            error = errors.get((family.name, name))
            plot.set_title(family.name if name == "exact" else f"{name}: {'-' if error is None else f'{error:.1e}'}", fontsize=8.5)
            plot.set_axis_off()
            if field is not None:
                plot.imshow(field.T, origin="lower", aspect="auto", **colours)
    return figure


def run(families: Sequence[str], networks: Sequence[str], *, parameters: int, seconds: float, seed: int, folder: Path) -> list[dict[str, Any]]:
    """Run all pairs; table and picture are written to the folder, the table after every run."""
    rows: list[dict[str, Any]] = []
    fields: dict[tuple[str, str], Array | None] = {}
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"seconds": seconds, "parameters": parameters, "seed": seed, "threads": torch.get_num_threads(), "torch": torch.__version__,
             "machine": platform.machine()}  # fmt: skip
    for name in families:
        for network in networks:
            row, fields[name, network] = compare(FAMILIES[name], network, parameters, seconds, seed)
            rows.append(row)
            error = "-" if row["error"] is None else f"{row['error']:.2e}"
            print(f"{name:10s} {network:17s} {row['parameters']:6d} parameters  {error}  {row['status']}  {row['seconds']:.1f} s", flush=True)
            (folder / "network_comparison.json").write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    figure = draw([FAMILIES[name] for name in families], networks, rows, fields)
    (folder / "network_comparison.png").write_bytes(png(figure))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.network_comparison", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--family", nargs="+", choices=tuple(FAMILIES), default=tuple(FAMILIES))
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each network on each problem")
    parser.add_argument("--parameters", type=int, default=PARAMETERS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    torch.set_num_threads(N_THREADS)
    run(given.family, given.network, parameters=given.parameters, seconds=given.seconds, seed=given.seed, folder=given.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
