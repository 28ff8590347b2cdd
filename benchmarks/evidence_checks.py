"""Checks of `make evidence` that solve nothing by network: orders of the grid solver, speed of the derivative step, time to a first result.

Input: nothing. Output: `CHECKS`; each measures a list of `Quantity` records, a number beside its bar.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sympy as sp
import torch

import pinnsiren as ps
from pinnsiren.reference_solvers.closed_forms import point_source
from pinnsiren.reference_solvers.linear_box import LinearBoxSolver

from .derivative_step import measure as measure_derivative_step
from .evidence_store import NUMERICS

ORDER_TOLERANCE = 0.2
CELLS = {2: (64, 80, 100, 120), 6: (60, 68, 76, 84)}
WAVENUMBER, DEVIATION = 20.0, 0.05
# 2 pi / 20 = 0.314 = 16 steps of 1/51.
CELLS_AT_SIXTEEN_PER_WAVELENGTH = 51
STEP_POINTS, STEP_OUTPUTS, STEP_BAR = 4096, 2, 2.8
REPEATS = 3

# What a newcomer types: README style, in a process of its own so that imports count.
FIRST_RESULT = """
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
import pinnsiren as ps

x, y = ps.coordinates("x y")
u = ps.field("u", x, y)
problem = ps.Problem(
    name="first", fields=[u], domain=ps.Box({x: (0, 1), y: (0, 1)}),
    equations=[sp.Eq(ps.laplacian(u), -2 * sp.pi**2 * sp.sin(sp.pi * x) * sp.sin(sp.pi * y))], conditions=[ps.Dirichlet(u, 0)],
)
solution = ps.solve(problem, device="cpu", progress=False)
assert solution.status.success, solution.status
line = np.linspace(0, 1, 101)
plt.contourf(line, line, solution(x=line[None, :], y=line[:, None]))
plt.savefig("first.png")
"""


@dataclass(frozen=True)
class Quantity:
    """A measured number and what it must be.

    Attributes:
        name: what was measured.
        value: the number.
        bar: what it is compared with.
        sense: `"at most"`, `"at least"`, or `"within 0.2 of"`.
        note: how it was measured.
    """

    name: str
    value: float
    bar: float
    sense: str
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the number is what it must be."""
        if self.sense == "at most":
            return self.value <= self.bar
        if self.sense == "at least":
            return self.value >= self.bar
        return abs(self.value - self.bar) <= ORDER_TOLERANCE


@dataclass(frozen=True)
class Check:
    """A named measurement.

    Attributes:
        name: as in `CASE=name`, and of the JSON file.
        title: for the table.
        measure: does the work.
        sources: folders whose change makes the numbers stale.
    """

    name: str
    title: str
    measure: Callable[[], list[Quantity]]
    sources: tuple[str, ...] = ("pinnsiren/language", "reference_solvers")


def measure_reference_orders() -> list[Quantity]:
    """Return the observed orders of the grid solver, and its error against a Hankel function at 16 points per wavelength."""
    problem, exact = _manufactured_with_variable_complex_coefficients()
    found = []
    for order, cells in CELLS.items():
        errors = [_grid_error(LinearBoxSolver(order=order, cells=n), problem, exact) for n in cells]
        slope = -float(np.polyfit(np.log(cells), np.log(errors), 1)[0])
        note = f"errors {errors[0]:.1e} to {errors[-1]:.1e}, {cells[0]} to {cells[-1]} cells per unit length"
        found.append(Quantity(f"observed order of the grid scheme of order {order}", slope, float(order), f"within {ORDER_TOLERANCE} of", note))
    x, y = ps.coordinates("x y")
    u = ps.field("u", x, y, complex=True)
    source = ps.GaussianSource(at={x: 0, y: 0}, variance=DEVIATION**2, amplitude=1 + 1j)
    hankel = ps.Problem(
        name="hankel",
        fields=[u],
        domain=ps.Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}),
        equations=[sp.Eq(ps.laplacian(u) + WAVENUMBER**2 * u, source)],
        conditions=[ps.PML(u)],
    )
    # split=False: with the source split off the grid would return the closed form itself.
    solver = LinearBoxSolver(order=6, cells=CELLS_AT_SIXTEEN_PER_WAVELENGTH, split=False)
    error = _grid_error(solver, hankel, point_source(WAVENUMBER, (0.0, 0.0), DEVIATION**2, 1 + 1j))
    found.append(Quantity("grid of order 6 against Hankel, 16 points per wavelength", error, 1e-4, "at most", f"deviation {DEVIATION:g}"))
    return found


def _manufactured_with_variable_complex_coefficients() -> tuple[ps.Problem, Callable[..., np.ndarray]]:
    """Return div(a grad u) + q u = f with complex a(x, y), q(x, y), and its solution."""
    x, y = ps.coordinates("x y")
    u = ps.field("u", x, y, complex=True)
    envelope = sp.exp(-8 * (x - sp.Rational(1, 2)) ** 2 - 8 * (y - sp.Rational(1, 4)) ** 2)
    exact = sp.exp(sp.I * (9 * x - 5 * y)) * sp.cos(8 * y + 2 * x) * envelope + x * y / 10
    a = 2 + sp.sin(x + 2 * y) / 2 + sp.I * sp.cos(x * y) / 5
    q = 9 * (1 + x * y / 3) + sp.I * (1 + x) / 2
    declared = ps.Problem(
        name="variable_complex_coefficients",
        fields=[u],
        domain=ps.Box({x: (0, 1), y: (-0.5, 1)}),
        equations=[ps.div(a * ps.grad(u)) + q * u],
        conditions=[ps.Dirichlet(u, 0)],
    )
    return ps.manufactured(declared, {u: exact}), sp.lambdify((x, y), exact, "numpy")


def _grid_error(solver: LinearBoxSolver, problem: ps.Problem, exact: Callable[..., np.ndarray]) -> float:
    solution = solver.solve(problem)
    truth = exact(*np.meshgrid(*solution.axes.values(), indexing="ij"))
    (values,) = solution.values.values()
    return float(np.linalg.norm(values - truth) / np.linalg.norm(truth))


def measure_speed_of_derivative_step() -> list[Quantity]:
    """Return how many times faster the hand-written adjoint is than nested autograd, on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        results = {dtype: measure_derivative_step(STEP_POINTS, STEP_OUTPUTS, dtype, "cpu", 7) for dtype in (torch.float32, torch.float64)}
    finally:
        torch.set_num_threads(threads)
    found = []
    for dtype, result in results.items():
        ratio, precision = result["nested_over"]["hand adjoint"], str(dtype).removeprefix("torch.")
        quartiles = f"{ratio['lower_quartile']:.2f} to {ratio['upper_quartile']:.2f}"
        note = f"2 -> 256 x 3 -> {STEP_OUTPUTS}, {STEP_POINTS} points, one core; quartiles {quartiles}"
        found.append(Quantity(f"derivative step, nested autograd over hand adjoint, {precision}", ratio["median"], STEP_BAR, "at least", note))
    return found


def measure_first_result() -> list[Quantity]:
    """Return the seconds to a newcomer's first picture and to the list of problems, each in a fresh process."""
    script = Path(sys.executable).parent / "pinnsiren"
    listing = [str(script), "list"] if script.exists() else [sys.executable, "-m", "pinnsiren.cli", "list"]
    return [
        _seconds("import, declare Poisson, solve, plot (s)", [sys.executable, "-c", FIRST_RESULT], 10.0),
        _seconds("`pinnsiren list` (s)", listing, 2.0),
    ]


def _seconds(name: str, command: list[str], bar: float) -> Quantity:
    taken = []
    # An empty folder: started in the checkout, Python would find its folders before the installed package.
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(REPEATS):
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, cwd=folder, text=True, timeout=300)
            if done.returncode:
                raise RuntimeError(f"{name}: the process ended with {done.returncode}: {done.stderr.strip()[-400:]}")
            taken.append(time.perf_counter() - start)
    return Quantity(name, statistics.median(taken), bar, "at most", f"median of {REPEATS}, the slowest {max(taken):.1f} s")


CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check("reference_orders", "Grid reference", measure_reference_orders),
        Check("derivative_step", "Derivative step", measure_speed_of_derivative_step, ("pinnsiren/networks",)),
        Check("first_result", "Time to a first result", measure_first_result, NUMERICS),
    )
}
