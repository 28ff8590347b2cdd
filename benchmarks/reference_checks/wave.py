"""Checks of the wave equation in time: orders, the 2-D pulse, what a layer returns, reciprocity, closed forms, deepwave.

Input: nothing. Output: `CHECKS`. Every problem has constants of its own choice; the pulse is that of the SIREN paper.
"""

import importlib.util
import time

import numpy as np
import sympy as sp

import pinnsiren as ps
from pinnsiren.reference_solvers.closed_forms import gaussian_pulse, half_space_pulse, point_source_wave
from pinnsiren.reference_solvers.time_domain import AcousticPropagator, misfit_and_gradient, ricker
from pinnsiren.reference_solvers.time_domain.declared_run import DeclaredRun, Scheme
from pinnsiren.reference_solvers.time_domain.declared_wave import read_wave
from pinnsiren.reference_solvers.wave_leapfrog import WaveLeapfrogSolver

from ..evidence_checks import Check, Quantity

ORDER_SENSE = "within 0.2 of"
CELLS = {2: (30, 40, 54, 72), 4: (30, 40, 54, 72), 8: (22, 26, 32, 38)}
# For the closures at walls with data, whose order shows on finer grids.
CELLS_BETWEEN_WALLS = (60, 84, 118, 164)
FRACTIONS = {2: (0.95, 0.7, 0.5, 0.35), 4: (0.95, 0.7, 0.5, 0.35), 6: (0.95, 0.75, 0.6, 0.45), 8: (0.95, 0.75, 0.6, 0.45)}
PULSE_VARIANCE, PULSE_AMPLITUDE, PULSE_TIME = 5e-4, 0.02, 0.4
POINTS_PER_WIDTH = 20


def measure_orders() -> list[Quantity]:
    """Return the observed orders of every scheme, with variable speed."""
    problem, exact = _between_mirrors()
    found = []
    for order, cells in CELLS.items():
        errors = [_run(problem, exact, n, order, 8, mirrors=True, of_limit=0.5)[0] for n in cells]
        found.append(_order(f"order {order} in space", 1 / np.array(cells), errors, order, f"{cells[0]} to {cells[-1]} cells, order 8 in time"))
    problem, exact = _shaken_string()
    for order, fractions in FRACTIONS.items():
        runs = [_run(problem, exact, 60, 8, order, mirrors=True, of_limit=fraction) for fraction in fractions]
        note = f"{fractions[0]:g} to {fractions[-1]:g} of the CFL limit, 60 cells of order 8"
        found.append(_order(f"order {order} in time", [run.dt for _, run in runs], [error for error, _ in runs], order, note))
    problem, exact = _between_moving_walls()
    for order in (2, 4):
        errors = [_run(problem, exact, n, order, order, mirrors=False, of_limit=0.9)[0] for n in CELLS_BETWEEN_WALLS]
        note = f"Dirichlet and Neumann walls with data, {CELLS_BETWEEN_WALLS[0]} to {CELLS_BETWEEN_WALLS[-1]} cells"
        found.append(_order(f"order {order} in space and time between walls", 1 / np.array(CELLS_BETWEEN_WALLS), errors, order, note))
    return found


def _order(name: str, steps: object, errors: list[float], order: int, note: str) -> Quantity:
    slope = float(np.polyfit(np.log(np.asarray(steps)), np.log(errors), 1)[0])
    return Quantity(f"wave equation, observed {name}", slope, float(order), ORDER_SENSE, f"errors {errors[0]:.1e} to {errors[-1]:.1e}, {note}")


def _run(problem, exact, cells, order, time_order, *, mirrors, of_limit):
    run = DeclaredRun(read_wave(problem), Scheme(1 / cells, order, time_order, mirrors, 1.0, of_limit=of_limit))
    (history,) = run.integrate()
    truth = exact(*np.meshgrid(run.instants, *[a.nodes[a.inside] for a in run.axes], indexing="ij"))
    return float(np.linalg.norm(history - truth) / np.linalg.norm(truth)), run


def _manufactured(speed, exact, unknown, box, conditions):
    t = unknown.args[-1]
    right = exact.diff(t, 2) - speed**2 * sum(exact.diff(s, 2) for s in box.coordinates)
    initial = [ps.InitialCondition(unknown, exact.subs(t, 0)), ps.InitialCondition(unknown.diff(t), exact.diff(t).subs(t, 0))]
    return ps.Problem(
        name="manufactured",
        fields=[unknown],
        domain=ps.SpaceTime(box, {t: (0, 1)}),
        equations=[sp.Eq(unknown.diff(t, 2) - speed**2 * ps.laplacian(unknown), right)],
        conditions=[*initial, *conditions],
    )


def _between_mirrors():
    """Free surfaces across x, Neumann walls across y; the speed is even about all of them."""
    x, y, t = ps.coordinates("x y t")
    u = ps.field("u", x, y, t)
    pi = sp.pi
    exact = sp.sin(2 * pi * x) * sp.cos(pi * y) * sp.cos(5 * t) + sp.sin(pi * x) * sp.cos(2 * pi * y) * sp.sin(4 * t + 1)
    speed = 1 + sp.cos(2 * pi * x) * sp.cos(2 * pi * y) / 4
    conditions = [ps.Dirichlet(u, 0, on=("x-", "x+")), ps.Neumann(u, 0, on=("y-", "y+"))]
    problem = _manufactured(speed, exact, u, ps.Box({x: (0, 1), y: (0, 1)}), conditions)
    return problem, sp.lambdify((t, x, y), exact, "numpy")


def _shaken_string():
    """Fifty times as fast in time as in space: the error in time outweighs that in space."""
    x, t = ps.coordinates("x t")
    v = ps.field("v", x, t)
    exact = sp.sin(sp.pi * x) * sp.cos(50 * t) + sp.sin(2 * sp.pi * x) * sp.sin(40 * t + 1)
    conditions = [ps.Dirichlet(v, 0)]
    return _manufactured(1 + sp.cos(2 * sp.pi * x) / 4, exact, v, ps.Interval({x: (0, 1)}), conditions), sp.lambdify((t, x), exact, "numpy")


def _between_moving_walls():
    x, t = ps.coordinates("x t")
    v = ps.field("v", x, t)
    exact = sp.sin(3 * x + 1) * sp.cos(4 * t + x)
    conditions = [ps.Dirichlet(v, exact, on="x-"), ps.Neumann(v, exact.diff(x), on="x+")]
    return _manufactured(sp.sqrt(2 + sp.sin(x)), exact, v, ps.Interval({x: (0, 1)}), conditions), sp.lambdify((t, x), exact, "numpy")


def measure_pulse() -> list[Quantity]:
    """Return the error of the paper's pulse at t = 0.4 against the Hankel integral, on a given grid and by the solver of declarations."""
    # Full width at half maximum: 2.355 standard deviations.
    spacing = np.sqrt(8 * np.log(2) * PULSE_VARIANCE) / POINTS_PER_WIDTH
    cells = round(0.55 / spacing)
    axis = spacing * np.arange(-cells, cells + 1)
    start = PULSE_AMPLITUDE * np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * PULSE_VARIANCE))
    exact = gaussian_pulse((0.0, 0.0), PULSE_VARIANCE, PULSE_AMPLITUDE)(axis[:, None], axis[None, :], PULSE_TIME)
    found = []
    for order, time_order, step, bar in ((8, 4, 0.45, 1e-3), (4, 4, 0.45, 1e-3)):
        begin = time.perf_counter()
        steps = int(np.ceil(PULSE_TIME / (step * spacing)))
        propagator = AcousticPropagator(
            np.ones(start.shape), spacing, PULSE_TIME / steps, frequency=_dominant_frequency(), order=order, time_order=time_order
        )
        last = propagator.evolve(start, n_times=steps + 1, snapshot_every=steps).snapshots[-1]
        seconds = time.perf_counter() - begin
        note = f"{POINTS_PER_WIDTH} points per full width at half maximum, {len(axis)}^2 nodes, {steps} steps, {seconds:.1f} s"
        name = f"2-D pulse against the Hankel integral at t = {PULSE_TIME:g}, order {order} in space, {time_order} in time"
        found.append(Quantity(name, float(np.linalg.norm(last - exact) / np.linalg.norm(exact)), bar, "at most", note))
    return [*found, *_declared_pulse()]


def _dominant_frequency() -> float:
    return 1 / (2 * np.pi * float(np.sqrt(PULSE_VARIANCE)))


def _declared_pulse() -> list[Quantity]:
    x, y, t = ps.coordinates("x y t")
    u = ps.field("u", x, y, t)
    start = PULSE_AMPLITUDE * sp.exp(-(x**2 + y**2) / (2 * PULSE_VARIANCE))
    problem = ps.Problem(
        name="pulse",
        fields=[u],
        domain=ps.SpaceTime(ps.Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}), {t: (0, PULSE_TIME)}),
        equations=[sp.Eq(u.diff(t, 2), ps.laplacian(u))],
        conditions=[ps.InitialCondition(u, start), ps.InitialCondition(u.diff(t), 0)],
    )
    solution = WaveLeapfrogSolver().solve(problem)
    points = [axis[::4] for axis in solution.axes.values()]
    truth = gaussian_pulse((0.0, 0.0), PULSE_VARIANCE, PULSE_AMPLITUDE)(*np.meshgrid(*points, indexing="ij"))
    error = float(np.linalg.norm(solution.values["u"][::4, ::4, ::4] - truth) / np.linalg.norm(truth))
    note = f"all instants; {solution.n_unknowns} nodes, {solution.seconds:.1f} s, estimate {solution.error_estimate:.1e}"
    return [
        Quantity("declared pulse, relative L2 error", error, 1e-4, "at most", note),
        Quantity("declared pulse, error over its estimate", error / solution.error_estimate, 1.5, "at most", "1 is perfect; 3 is dishonest"),
        Quantity("declared pulse, estimate over its error", solution.error_estimate / error, 3.0, "at most", "1 is perfect; 3 is timid"),
    ]


def measure_layer() -> list[Quantity]:
    """Return how far the energy in a box with layers is from that in a box so large that nothing returns, after the pulse has left."""
    found = []
    for rate, what in ((False, "initial value"), (True, "initial rate")):
        spacing, half, duration = float(np.sqrt(PULSE_VARIANCE)) / 4, 0.2, 0.9
        layered, design = _energies(half, half, spacing, duration, rate)
        free, _ = _energies(half + 0.55 * duration, half, spacing, duration, rate)
        after = np.arange(len(free)) * 0.35 * spacing > 0.45
        returned = float(np.max(np.abs(layered - free)[after]) / np.max(free))
        name = f"energy returned by the layer after the pulse has left, {what}"
        found.append(Quantity(name, returned, 1e-8, "at most", f"{design}; of its maximum, t = 0.45 to {duration:g}, off-centre source"))
    return found


def _energies(half: float, boxed: float, spacing: float, duration: float, rate: bool) -> tuple[np.ndarray, str]:
    """1/2 int u_t^2 + |grad u|^2 over |x|, |y| < boxed after every step."""
    cells, inner = round(half / spacing), round(boxed / spacing)
    axis = spacing * np.arange(-cells, cells + 1)
    start = PULSE_AMPLITUDE * np.exp(-((axis[:, None] - 0.04) ** 2 + (axis + 0.02) ** 2) / (2 * PULSE_VARIANCE))
    dt = 0.35 * spacing
    box = (slice(cells - inner, cells + inner + 1),) * 2
    energies = []

    def observe(step: int, before: np.ndarray, now: np.ndarray) -> None:
        if step:
            middle, slope = 0.5 * (before + now)[box], (now - before)[box] / dt
            energies.append(0.5 * spacing**2 * np.sum(slope**2 + sum(g**2 for g in np.gradient(middle, spacing))))

    propagator = AcousticPropagator(np.ones(start.shape), spacing, dt, frequency=_dominant_frequency())
    propagator.evolve(None if rate else start, start if rate else None, n_times=round(duration / dt), observe=observe)
    return np.array(energies), str(propagator.design)


def measure_symmetries() -> list[Quantity]:
    """Return reciprocity, linearity and the dot-product test, worst over schemes and faces."""
    rng = np.random.default_rng(11)
    depth = np.arange(70)[None, :]
    speed = 1500 + 14.0 * depth + 150 * np.sin(np.arange(80)[:, None] / 7) + 100 * rng.random((80, 70))
    gaps = {"reciprocity": 0.0, "linearity": 0.0, "dot product": 0.0}
    faces = (None, (("layer", "layer"), ("free_surface", "layer")), (("neumann", "dirichlet"), ("layer", "layer")))
    for order, time_order in ((2, 2), (4, 4), (8, 4)):
        for walls in faces:
            propagator = AcousticPropagator(speed, 10.0, 8e-4, frequency=12.0, order=order, time_order=time_order, faces=walls)
            times = propagator.dt * np.arange(400)
            sources, receivers = rng.uniform(0, 690, (2, 2)), rng.uniform(0, 690, (4, 2))
            wavelets = np.stack([ricker(times, 12.0), -0.7 * ricker(times, 8.0, 0.2)])
            here = propagator.shoot(sources[:1], wavelets[0], receivers[:1]).traces
            there = propagator.shoot(receivers[:1], wavelets[0], sources[:1]).traces
            gaps["reciprocity"] = max(gaps["reciprocity"], _relative(here, there))
            together = propagator.shoot(sources, wavelets, receivers).traces
            apart = sum(propagator.shoot([s], w, receivers).traces for s, w in zip(sources, wavelets, strict=True))
            gaps["linearity"] = max(gaps["linearity"], _relative(together, apart))
            residuals = rng.standard_normal(together.shape)
            gap = np.sum(together * residuals) - np.sum(wavelets * propagator.adjoint(sources, residuals, receivers))
            gaps["dot product"] = max(gaps["dot product"], abs(float(gap)) / float(np.linalg.norm(together) * np.linalg.norm(residuals)))
    note = "worst of 3 schemes x 3 sets of faces, rough speed map, positions off the grid"
    bars = {"reciprocity": 1e-10, "linearity": 1e-10, "dot product": 1e-12}
    found = [Quantity(f"wave propagator, {name}", gap, bars[name], "at most", note) for name, gap in gaps.items()]
    return [*found, *_taylor_slope()]


def _taylor_slope() -> list[Quantity]:
    """Slope of the Taylor remainder of the speed gradient, order 8 in space and 4 in time, with layers and a free surface."""
    first, second = np.arange(60)[:, None], np.arange(50)[None, :]
    speed = 1700 + 120 * np.sin(first / 9) * np.cos(second / 8)
    speed[0, 0] = 1900.0
    direction = 60 * np.exp(-((first - 30) ** 2 + (second - 24) ** 2) / 40) * (first > 0) * (first < 59) * (second > 0) * (second < 49)
    wavelet, source, receivers = ricker(1e-3 * np.arange(420), 12.0), [[123.0, 87.0]], [[444.0, 350.0], [57.0, 390.0], [510.0, 40.0]]

    def propagator(scale: float) -> AcousticPropagator:
        faces = (("layer", "layer"), ("free_surface", "layer"))
        return AcousticPropagator(speed + scale * direction, 10.0, 1e-3, frequency=12.0, faces=faces)

    observed = propagator(1.0).shoot(source, wavelet, receivers).traces
    misfit, gradient = misfit_and_gradient(propagator(0.0), source, wavelet, receivers, observed)
    scales, remainders = 0.5 ** np.arange(2, 8), []
    for scale in scales:
        traces = propagator(scale).shoot(source, wavelet, receivers).traces
        remainders.append(abs(0.5 * np.sum((traces - observed) ** 2) - misfit - scale * np.sum(gradient * direction)))
    slope = float(np.polyfit(np.log(scales), np.log(remainders), 1)[0])
    name = "speed gradient, Taylor slope minus 2"
    return [Quantity(name, abs(slope - 2), 0.05, "at most", f"slope {slope:.3f} over steps 1/4 to 1/128 of an anomaly of 60 m/s")]


def _relative(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.max(np.abs(left - right)) / np.max(np.abs(right)))


def measure_closed_forms() -> list[Quantity]:
    """Return how far closed forms are from independent routes: point sources from 3-D by quadrature, two half-spaces from the grid."""
    speed, distance, instant = 1.3, 0.7, 2.9
    nodes, weights = np.polynomial.legendre.leggauss(1200)

    def course(s):
        return np.where(s > 0, np.sin(2.5 * s) ** 3 * np.exp(-s / 2), 0.0)

    space = point_source_wave((0, 0, 0), course, speed)
    half = np.sqrt((speed * instant) ** 2 - distance**2)
    line = half * np.sum(weights * space(distance, 0.0, half * nodes, instant))
    plane = float(point_source_wave((0, 0), course, speed)(distance, 0.0, instant))
    x, t = ps.coordinates("x t")
    v = ps.field("v", x, t)
    c = sp.Piecewise((1, x < 0), (sp.Rational(5, 2), True))
    problem = ps.Problem(
        name="half_spaces",
        fields=[v],
        domain=ps.SpaceTime(ps.Interval({x: (-1, 1)}), {t: (0, 1)}),
        equations=[sp.Eq(v.diff(t, 2) / c**2, ps.laplacian(v))],
        conditions=[ps.InitialCondition(v, sp.exp(-200 * (x + 0.5) ** 2)), ps.InitialCondition(v.diff(t), 0)],
    )
    solution = WaveLeapfrogSolver().solve(problem)
    exact = half_space_pulse(lambda s: np.exp(-200 * (s + 0.5) ** 2), (1.0, 2.5))
    truth = exact(*np.meshgrid(*solution.axes.values(), indexing="ij"))
    error = float(np.linalg.norm(solution.values["v"] - truth) / np.linalg.norm(truth))
    note = f"reflection, transmission; estimate {solution.error_estimate:.1e}, {solution.seconds:.1f} s"
    return [
        Quantity("2-D point source against the line integral of the 3-D one", abs(plane - line) / abs(line), 1e-9, "at most"),
        Quantity("two half-spaces on a line, grid against closed form", error, 1e-4, "at most", note),
    ]


def measure_deepwave() -> list[Quantity]:
    """Return the difference from deepwave over the sum of both error bars, each from halving step and time step; nothing without deepwave."""
    if importlib.util.find_spec("deepwave") is None:
        print("deepwave is not installed; its cross-check is left out")
        return []
    coarse, fine = (_both_propagators(refined) for refined in (1, 2))
    # Order 4 in time here, 2 there; four fifths of it, as in the error estimates of the package.
    bars = [float(np.linalg.norm(c - f[:, ::2])) / (1 - 0.5**p) for c, f, p in zip(coarse, fine, (3.2, 1.6), strict=True)]
    gap = float(np.linalg.norm(coarse[0] - coarse[1]))
    size = float(np.linalg.norm(coarse[0]))
    note = f"difference {gap / size:.1e}, error bars {bars[0] / size:.1e} (ours) and {bars[1] / size:.1e}; variable speed, 3 receivers"
    return [Quantity("deepwave, difference over the sum of both error bars", gap / sum(bars), 1.0, "at most", note)]


def _both_propagators(refined: int) -> tuple[np.ndarray, np.ndarray]:
    import deepwave
    import torch

    spacing, dt, frequency, cells = 10.0 / refined, 1e-3 / refined, 10.0, 80 * refined
    axis = spacing * np.arange(cells + 1)
    speed = 1700 + 250 * np.sin(axis[:, None] / 130) * np.cos(axis[None, :] / 170)
    propagator = AcousticPropagator(speed, spacing, dt, frequency=frequency)
    wavelet = ricker(dt * np.arange(600 * refined), frequency)
    places = np.array([[200, 240], [400, 400], [620, 180], [320, 640]])
    ours = propagator.shoot(places[:1], wavelet, places[1:]).traces
    indices = torch.tensor(np.rint(places / spacing).astype(int))
    theirs = deepwave.scalar(
        torch.tensor(speed),
        spacing,
        dt,
        source_amplitudes=torch.tensor(wavelet)[None, None],
        source_locations=indices[None, :1],
        receiver_locations=indices[None, 1:],
        accuracy=8,
        pml_width=[40 * refined] * 4,
        pml_freq=frequency,
    )[-1][0].numpy()
    # deepwave's source has the other sign and is not divided by the volume of a cell.
    return ours, -theirs / spacing**2


CHECKS: tuple[Check, ...] = (
    Check("wave_orders", "Wave equation: orders", measure_orders),
    Check("wave_pulse", "Wave equation: pulse", measure_pulse),
    Check("wave_layer", "Wave equation: layer", measure_layer),
    Check("wave_symmetries", "Wave equation: reciprocity, adjoint", measure_symmetries),
    Check("wave_closed_forms", "Wave equation: closed forms", measure_closed_forms),
    Check("wave_deepwave", "Wave equation: deepwave", measure_deepwave),
)
