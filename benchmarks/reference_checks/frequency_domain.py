"""Checks of the frequency-domain operator: closed forms, reflection of the layer, adjoint, reciprocity, the largest problem of a memory budget.

Input: nothing. Output: `CHECKS`. The environment variable HELMHOLTZ_GIGABYTES sets the budget of the largest problem (default 20, or what is free).
"""

import multiprocessing
import os
import resource
import time
from pathlib import Path

import numpy as np

from pinnsiren.reference_solvers.closed_forms import penetrable_disc, point_source
from pinnsiren.reference_solvers.evaluation import cell_average
from pinnsiren.reference_solvers.frequency_domain import (
    SCHEMES,
    Discretisation,
    Grid,
    Illumination,
    Shots,
    check_memory,
    estimated_bytes,
    free_memory,
    simulate,
)

from ..evidence_checks import Check, Quantity

WAVENUMBER, DEVIATION = 20.0, 0.05
WAVELENGTH = 2 * np.pi / WAVENUMBER
SQUARE = ((-0.5, 0.5), (-0.5, 0.5))
ORDER_SENSE = "within 0.2 of"
POINTS_FOR_ORDER = {"order2": (16, 20, 26, 32), "order4": (10, 13, 17, 22), "order6": (9, 11, 13, 16)}
REFLECTION_BARS = {0.5: -60.0, 1.0: -80.0}
RIGHT_HAND_SIDES = 100
FREE_SHARE = 0.92  # the rest is for the fields, and for an estimate that is off


def measure_accuracy() -> list[Quantity]:
    """Return errors against Hankel and the cylinder series at 16 points per wavelength, and observed orders."""
    found = []
    for scheme, bar in (("order4", 1e-3), ("order6", 1e-4)):
        error = _hankel_error(scheme, 16, WAVENUMBER, DEVIATION)
        name = f"Helmholtz {scheme} against Hankel, 16 points per wavelength"
        found.append(Quantity(name, error, bar, "at most", "complex relative L2, total form"))
        narrow = _hankel_error(scheme, 16, WAVENUMBER, 0.01, background=0.9)
        note = "variance 1e-4, in a variable medium, against order 6 on a grid twice as fine"
        found.append(Quantity(f"Helmholtz {scheme}, narrow source in scattered form", narrow, bar, "at most", note))
    for scheme, points in POINTS_FOR_ORDER.items():
        errors = [_hankel_error(scheme, p, 13.0, 0.1) for p in points]
        slope = -float(np.polyfit(np.log(points), np.log(errors), 1)[0])
        note = f"errors {errors[0]:.1e} to {errors[-1]:.1e}, {points[0]} to {points[-1]} points per wavelength"
        found.append(Quantity(f"Helmholtz operator, observed order of {scheme}", slope, float(SCHEMES[scheme].order), ORDER_SENSE, note))
    for scheme in ("order4", "order6", "nine_point"):
        for radius, speed, source in ((0.1, 2.0, (-0.35, 0.0)), (0.17, 0.8, (0.1, -0.4))):
            error = _disc_error(scheme, radius, speed, source)
            note = f"r = {radius:g}, c = {speed:g}, 16 points per shortest wavelength"
            found.append(Quantity(f"penetrable disc, {scheme}, against the cylinder series", error, 5e-3, "at most", note))
    return found


def measure_reflection() -> list[Quantity]:
    """Return the error of the whole interior field that layers of half and one wavelength leave, dB, at 12 points per wavelength."""
    box = ((-1.5 * WAVELENGTH, 1.5 * WAVELENGTH), (-1.5 * WAVELENGTH, 1.5 * WAVELENGTH))
    found = []
    for scheme in SCHEMES:
        fields = {}
        for wavelengths in (3.0, *REFLECTION_BARS):
            grid = Grid.over(box, WAVELENGTH / 12)
            discretisation = Discretisation(grid, WAVENUMBER, np.ones(grid.shape), scheme=scheme, layer_wavelengths=wavelengths)
            fields[wavelengths] = _field(discretisation, Shots.at([(0.0, 0.0)], 1, DEVIATION**2), np.ones(grid.shape), None)
            layer = discretisation.layers[0]
            if wavelengths in REFLECTION_BARS:
                decibel = 20 * float(np.log10(_relative(fields[wavelengths], fields[3.0])))
                note = f"{layer.cells} cells, a = {layer.strength:.2f}, power {layer.power:g}; computed {20 * np.log10(layer.reflection):.0f} dB"
                name = f"layer of {wavelengths:g} wavelength, {scheme} (dB)"
                found.append(Quantity(name, decibel, REFLECTION_BARS[wavelengths], "at most", note))
    return found


def measure_symmetries() -> list[Quantity]:
    """Return the dot-product test of forward and adjoint, reciprocity and linearity, in a variable medium."""
    grid = Grid.over(SQUARE, WAVELENGTH / 12)
    x, y = grid.nodes
    model = 1 + 0.4 * np.exp(-((x - 0.1) ** 2 + (y + 0.05) ** 2) / 0.02) + 0.1 * np.sin(5 * x * y)
    rng = np.random.default_rng(0)
    found = []
    for scheme in SCHEMES:
        discretisation = Discretisation(grid, WAVENUMBER, model, scheme=scheme)
        operator = discretisation.operator(model)
        f, g = (rng.normal(size=discretisation.size) + 1j * rng.normal(size=discretisation.size) for _ in range(2))
        u = operator.solve(f)
        gap = abs(np.vdot(g, u) - np.vdot(operator.solve_adjoint(g), f)) / (np.linalg.norm(g) * np.linalg.norm(u))
        found.append(Quantity(f"dot-product test of {scheme}", float(gap), 1e-12, "at most", "random vectors on all unknowns"))
    points = rng.uniform(-0.45, 0.45, (6, 2))
    discretisation = Discretisation(grid, WAVENUMBER, model, scheme="order4")
    table = simulate(discretisation, model, Shots.at(points), points)
    found.append(Quantity("reciprocity of point sources off the grid", float(np.abs(table - table.T).max() / np.abs(table).max()), 1e-10, "at most"))
    factors = rng.normal(size=6) + 1j * rng.normal(size=6)
    scaled = simulate(discretisation, model, Shots.at(points, factors), points)
    gap = float(np.abs(scaled - factors[:, None] * table).max() / np.abs(table).max())
    found.append(Quantity("linearity in the source", gap, 1e-10, "at most"))
    return found


def measure_largest() -> list[Quantity]:
    """Return memory against its estimate, and the cost of a source, of the largest problem within the budget."""
    budget = min(1e9 * float(os.environ.get("HELMHOLTZ_GIGABYTES", "20")), FREE_SHARE * free_memory())
    nodes = max(n for n in range(100, 20_000, 10) if estimated_bytes((n, n), SCHEMES["nine_point"]) <= budget)
    check_memory((nodes, nodes), SCHEMES["nine_point"])
    # A process of its own, so that its peak is that of this factorisation.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        used, factorisation, solve, unknowns = pool.apply(_factorise, (nodes,))
    estimate = estimated_bytes((nodes, nodes), SCHEMES["nine_point"])
    note = f"{nodes} x {nodes} = {unknowns} unknowns, nine points, 10 per wavelength; used {used / 1e9:.2f} GB, factorised in {factorisation:.1f} s"
    return [
        Quantity("memory of the factorisation over its estimate, away from one", abs(used / estimate - 1), 0.3, "at most", note),
        Quantity(
            "one more source over the factorisation, time",
            solve / factorisation,
            0.05,
            "at most",
            f"mean of {RIGHT_HAND_SIDES} right-hand sides, {solve:.3f} s each",
        ),
    ]


def _factorise(nodes: int) -> tuple[float, float, float, int]:
    """Peak bytes and seconds of the factorisation, seconds per right-hand side, unknowns."""
    layer = 10
    grid = Grid.over(((0, 1), (0, 1)), 1 / (nodes - 1 - 2 * layer))
    one = np.ones(grid.shape)
    discretisation = Discretisation(grid, 2 * np.pi / (10 * grid.step[0]), one, scheme="nine_point")
    before = _peak()
    start = time.perf_counter()
    operator = discretisation.operator(one)
    factorised = time.perf_counter() - start
    used = _peak() - before
    rng = np.random.default_rng(0)
    start, block = time.perf_counter(), 10
    for _ in range(RIGHT_HAND_SIDES // block):
        operator.solve(rng.normal(size=(discretisation.size, block)).astype(complex))
    return used, factorised, (time.perf_counter() - start) / RIGHT_HAND_SIDES, discretisation.size


def _peak() -> float:
    """Largest memory of this process so far, bytes; the figure of `getrusage` would be inherited from the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(1024.0 * int(line.split()[1]) for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _hankel_error(scheme: str, points: float, k: float, deviation: float, background: float | None = None) -> float:
    grid = Grid.over(SQUARE, 2 * np.pi / k / points)
    at = (0.02, -0.03)
    if background is None:
        discretisation = Discretisation(grid, k, np.ones(grid.shape), scheme=scheme)
        field = _field(discretisation, Shots.at([at], 1 + 1j, deviation**2), np.ones(grid.shape), None)
        return _relative(field, point_source(k, at, deviation**2, 1 + 1j)(*grid.nodes))
    # Split at its own medium the field is exact; so the medium of the grid differs smoothly from that of the source, against a finer grid.
    fields = []
    for refinement in (1, 2):
        finer = Grid(grid.low, (grid.step[0] / refinement, grid.step[1] / refinement), tuple(refinement * (n - 1) + 1 for n in grid.shape))
        x, y = finer.nodes
        model = background + (1 - background) / (1 + np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2 - 0.06) / 0.02))
        discretisation = Discretisation(finer, k, model, scheme=scheme if refinement == 1 else "order6")
        field = _field(discretisation, Shots.at([at], 1 + 1j, deviation**2), model, background)
        fields.append(field[::refinement, ::refinement])
    return _relative(fields[0], fields[1])


def _disc_error(scheme: str, radius: float, speed: float, source: tuple[float, float]) -> float:
    grid = Grid.over(SQUARE, WAVELENGTH * min(1.0, speed) / 16)
    model = cell_average(lambda x, y: np.where(x**2 + y**2 < radius**2, speed**-2.0, 1.0), grid.axes, grid.step)
    discretisation = Discretisation(grid, WAVENUMBER, model, scheme=scheme)
    field = _field(discretisation, Shots.at([source], 1 + 1j, 1e-4), model, 1.0)
    return _relative(field, penetrable_disc(k=WAVENUMBER, radius=radius, inner_speed=speed, at=source, variance=1e-4, amplitude=1 + 1j)(*grid.nodes))


def _field(discretisation: Discretisation, shots: Shots, model: np.ndarray, background: float | None) -> np.ndarray:
    illumination = Illumination(discretisation, shots, background)
    return discretisation.restrict(illumination.total(illumination.solve(discretisation.operator(model))))[0]


def _relative(values: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(values - truth) / np.linalg.norm(truth))


CHECKS: tuple[Check, ...] = (
    Check("helmholtz_accuracy", "Helmholtz on grids", measure_accuracy),
    Check("helmholtz_layer", "Absorbing layer", measure_reflection),
    Check("helmholtz_symmetries", "Adjoint and reciprocity", measure_symmetries),
    Check("helmholtz_largest", "Largest factorisation", measure_largest),
)
