"""Ways to solve one Helmholtz problem with a penetrable disc: this package, DeepXDE, fastlsq, and the settings of the SIREN paper.

Input: a `Statement` with the constants and a `Watch` with the budget. Every way works until the watch says that it is done; on the watch's look the
clock stands still while the error is measured. Peers get the equation with complex stretched coordinates written out by hand,

    u_xx/e^2 - (e'/e^3) u_x + the same in y + k^2 m u = f,    e(x) = 1 - i strength (d/width)^2,    u = 0 on the outer edge,

split into real and imaginary parts, and, where a row says `scattered`, also the incident field by hand: v = u - u_inc, f = k^2 (1 - m) u_inc, so
that they never meet the narrow source. What no run of theirs would know is a favour: they stop as soon as their true error is small enough, and
fastlsq takes the best of several bandwidths without paying for the search. Their settings are those of their own Helmholtz examples.

Reference: Sitzmann et al. (2020), section 4.3 and released code; DeepXDE, examples `Helmholtz_Dirichlet_2d` and `Helmholtz_Sound_hard_ABC_2d`;
fastlsq 0.7, `problems.linear.Helmholtz2D`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import pinnsiren as ps
from pinnsiren.problems import load
from pinnsiren.reference_solvers.closed_forms import point_source
from pinnsiren.validation.references import exact_reference

from .evidence import declared_cores, sample_points

Array = NDArray[np.float64]
Field = Callable[[Array], NDArray[np.complex128]]
POINTS_PER_WAVELENGTH = 10  # DeepXDE's Helmholtz example
NEAR_SOURCE = 0.05  # radius of the disc with points of their own in the released SIREN code
DRAWN_NEAR_SOURCE = 100  # how many


class Finished(Exception):
    """The bar is reached or the budget is spent."""


@dataclass(frozen=True)
class Statement:
    """The constants of `helmholtz_disc`; box (-1/2, 1/2)^2 with a layer around it.

    Attributes:
        k: wavenumber outside the disc.
        radius: of the disc at the origin.
        squared_slowness: m inside it.
        at: centre of the source.
        variance: of the source.
        amplitude: of the source.
        width: of the layer.
        strength: of the layer.
    """

    k: float = 20.0
    radius: float = 0.1
    squared_slowness: float = 0.25
    at: tuple[float, float] = (-0.35, 0.0)
    variance: float = 1e-4
    amplitude: complex = 1 + 1j
    width: float = 0.5
    strength: float = 5.0

    @cached_property
    def problem(self) -> ps.Problem:
        """The declaration."""
        constants = ("k", "radius", "squared_slowness", "at", "variance", "amplitude", "width", "strength")
        return load("helmholtz_disc", **{name: getattr(self, name) for name in constants})

    @property
    def half(self) -> float:
        """Half the side of the box with its layer."""
        return 0.5 + self.width

    def stretch(self, x: Array) -> NDArray[np.complex128]:
        """e along one axis."""
        return 1.0 - 1j * self.strength * (np.maximum(np.abs(x) - 0.5, 0.0) / self.width) ** 2

    def operator(self, points: Array) -> list[tuple[tuple[int, int], NDArray[np.complex128]]]:
        """Multi-indices and complex coefficients (n,) of the equation."""
        terms: list[tuple[tuple[int, int], NDArray[np.complex128]]] = [((0, 0), self.k**2 * self.slowness(points) + 0j)]
        for axis in (0, 1):
            x = points[:, axis]
            depth = np.maximum(np.abs(x) - 0.5, 0.0)
            e, slope = self.stretch(x), -2j * self.strength * depth * np.sign(x) / self.width**2
            terms.append((((2, 0), (0, 2))[axis], e**-2))
            terms.append((((1, 0), (0, 1))[axis], -slope / e**3))
        return terms

    def slowness(self, points: Array) -> Array:
        """m at points."""
        return np.where(np.linalg.norm(points, axis=1) < self.radius, self.squared_slowness, 1.0)

    def source(self, points: Array, *, scattered: bool) -> NDArray[np.complex128]:
        """f at points."""
        if not scattered:
            squares = ((points - np.array(self.at)) ** 2).sum(axis=1)
            return self.amplitude * np.exp(-squares / (2 * self.variance)) / (2 * np.pi * self.variance)
        values = np.zeros(len(points), dtype=complex)
        inside = np.linalg.norm(points, axis=1) < self.radius
        values[inside] = self.k**2 * (1 - self.squared_slowness) * self.incident(points[inside])
        return values

    def incident(self, points: Array) -> NDArray[np.complex128]:
        """The field without the disc."""
        field = point_source(self.k, self.at, self.variance, self.amplitude)
        return np.asarray(field(points[:, 0], points[:, 1]))

    def total(self, unknown: Field, *, scattered: bool) -> Field:
        """The field u from what a peer solves for."""
        return (lambda points: unknown(points) + self.incident(points)) if scattered else unknown

    def near_source(self, n: int, seed: int) -> Array:
        """Points uniform in a small disc around the source, which a uniform cloud would miss."""
        draw = np.random.default_rng(seed)
        radius, angle = NEAR_SOURCE * np.sqrt(draw.random(n)), 2 * np.pi * draw.random(n)
        return np.array(self.at) + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


@dataclass
class Watch:
    """Processor time of this process, standing still while the error is measured.

    Attributes:
        statement: what is solved.
        bar: relative error to reach.
        budget: processor seconds.
        trace: (seconds, relative error) at every look.
    """

    statement: Statement
    bar: float
    budget: float
    trace: list[tuple[float, float]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = self.statement.problem
        self._points = sample_points(problem.domain, declared_cores(problem)).outside
        self._exact = exact_reference(problem).fields["u"](self._points)
        self._start = time.process_time()

    @property
    def seconds(self) -> float:
        """Spent so far."""
        return time.process_time() - self._start

    @property
    def due(self) -> bool:
        """Whether it is time to look again: a tenth later than the last look, or at the end."""
        last = self.trace[-1][0] if self.trace else 0.0
        return self.seconds > min(1.1 * last + 0.1, self.budget)

    def look(self, field: Field) -> None:
        """Measure the error of the field that there is now.

        Raises:
            Finished: that was the last look.
        """
        before = time.process_time()
        error = float(np.linalg.norm(field(self._points) - self._exact) / np.linalg.norm(self._exact))
        self.trace.append((before - self._start, error))
        self._start += time.process_time() - before
        if error <= self.bar or self.seconds > self.budget:
            raise Finished


def solve_here(watch: Watch, network: ps.Siren | None, seed: int) -> None:
    """This package, from the declaration on: compiling counts, and it stops by its own estimate of the error. No network leaves the choice to it.

    Its budget is in seconds of a clock, which on a machine that other programs share give less processor time.
    """
    solution = ps.solve(watch.statement.problem, network=network, tolerance=watch.bar, seconds=2 * watch.budget, seed=seed, progress=False)
    watch.settings.update(status=str(solution.status.code), estimated_error=float(solution.estimated_error))
    watch.look(lambda points: np.asarray(solution["u"].at(points)))


def deepxde_equation(statement: Statement, *, scattered: bool) -> Callable[[Any, Any], list[Any]]:
    """The residuals of real and imaginary part as DeepXDE takes them; `import deepxde` has been done."""
    import deepxde as dde

    kept: dict[int, list[Any]] = {}

    def coefficients(x: Any) -> list[Any]:
        # The points stay the same from step to step; so do their coefficients.
        if len(x) not in kept:
            points = x.detach().numpy().astype(np.float64)
            rows = [c for _, c in statement.operator(points)] + [statement.source(points, scattered=scattered)]
            kept[len(x)] = [torch.as_tensor(part, dtype=x.dtype)[:, None] for row in rows for part in (row.real, row.imag)]
        return kept[len(x)]

    def equation(x: Any, y: Any) -> list[Any]:
        *numbers, f, f_i = coefficients(x)
        real, imag = -f, -f_i
        derivatives = []
        for part in (0, 1):
            first = dde.grad.jacobian(y, x, i=part)
            second = [dde.grad.hessian(y, x, component=part, i=axis, j=axis) for axis in (0, 1)]
            derivatives.append((y[:, part : part + 1], second[0], first[:, :1], second[1], first[:, 1:]))
        for a, b, re, im in zip(numbers[::2], numbers[1::2], *derivatives, strict=True):
            real, imag = real + a * re - b * im, imag + b * re + a * im
        return [real, imag]

    return equation


def solve_deepxde(watch: Watch, scattered: bool, seed: int) -> None:
    """DeepXDE, with the network, optimizer, density of points and weights of its Helmholtz example (sine, 3 x 150, Adam 1e-3, weight 100)."""
    import deepxde as dde

    statement = watch.statement
    dde.config.set_random_seed(seed)
    half, wavelength = statement.half, 2 * np.pi / statement.k
    per_axis = int(np.ceil(2 * half / wavelength * POINTS_PER_WAVELENGTH))
    geometry = dde.geometry.Rectangle([-half, -half], [half, half])
    edges = [dde.icbc.DirichletBC(geometry, lambda _: 0.0, lambda _, on_boundary: on_boundary, component=part) for part in (0, 1)]
    anchors = None if scattered else statement.near_source(DRAWN_NEAR_SOURCE, seed)
    equation = deepxde_equation(statement, scattered=scattered)
    data = dde.data.PDE(geometry, equation, edges, num_domain=per_axis**2, num_boundary=4 * per_axis, anchors=anchors)
    model = dde.Model(data, dde.nn.FNN([2] + [150] * 3 + [2], "sin", "Glorot uniform"))
    model.compile("adam", lr=1e-3, loss_weights=[1, 1, 100, 100], verbose=0)
    watch.settings.update(points=per_axis**2, network="2 -> 150 x 3 sine -> 2", optimizer="Adam 1e-3", precision="float32", layer="written by hand")

    def current(points: Array) -> NDArray[np.complex128]:
        with torch.no_grad():
            y = model.net(torch.as_tensor(points, dtype=torch.float32)).double().numpy()
        return np.asarray(y[:, 0] + 1j * y[:, 1])

    class Look(dde.callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_epoch_end(self) -> None:
            watch.settings["steps"] = watch.settings.get("steps", 0) + 1
            if watch.due:
                watch.look(statement.total(current, scattered=scattered))

    model.train(iterations=1_000_000, display_every=1_000_000, callbacks=[Look()], verbose=0)


def solve_fastlsq(watch: Watch, scattered: bool, scale: float, seed: int) -> None:
    """fastlsq: sine features by blocks of 500 as in its examples, more blocks until the bar or the budget; three points per feature and more."""
    import fastlsq

    statement = watch.statement
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    attempts = watch.settings.setdefault("attempts", [])
    for n_blocks in (1, 2, 3, 4, 6):
        before = watch.seconds
        solver = fastlsq.FastLSQSolver(2)
        for _ in range(n_blocks):
            solver.add_block(hidden_size=500, scale=scale)
        half, n = statement.half, solver.n_features
        points = draw.uniform(-half, half, (max(5000, 3 * n), 2))
        if not scattered:
            points = np.concatenate([points, statement.near_source(DRAWN_NEAR_SOURCE * n_blocks, seed)])
        edge = draw.uniform(-half, half, (n, 2))
        edge[np.arange(n), draw.integers(0, 2, n)] = half * draw.choice([-1.0, 1.0], n)
        parts = {}
        for part in ("real", "imag"):
            terms = [(torch.as_tensor(getattr(c, part).copy()), order) for order, c in statement.operator(points)]
            columns = [fastlsq.Op.field(lambda _, c=c: c, order).apply(solver.basis, torch.as_tensor(points)) for c, order in terms]
            parts[part] = sum(columns[1:], columns[0])
        # The weight 100 of the edge is that of its own Helmholtz problem.
        border = 100.0 * solver.basis.evaluate(torch.as_tensor(edge))
        matrix = fastlsq.block_concat([[parts["real"], -parts["imag"]], [parts["imag"], parts["real"]], [border, None], [None, border]])
        f = torch.as_tensor(statement.source(points, scattered=scattered))
        right = torch.cat([f.real, f.imag, torch.zeros(2 * n)])[:, None]
        solver.beta = fastlsq.unpack_beta(fastlsq.solve_lstsq(matrix, right), n, 2)

        def current(x: Array, solver: Any = solver) -> NDArray[np.complex128]:
            y = solver.predict(torch.as_tensor(x)).numpy()
            return np.asarray(y[:, 0] + 1j * y[:, 1])

        attempts.append({"features": n, "seconds": watch.seconds - before})
        try:
            watch.look(statement.total(current, scattered=scattered))
        finally:
            attempts[-1]["error"] = watch.trace[-1][1]
    raise Finished


class _Sine(torch.nn.Module):
    """The network of the paper: sin(30 (W x + b)) four times, then a linear layer, with the initial weights of the released code."""

    def __init__(self, width: int = 256, n_hidden: int = 3) -> None:
        super().__init__()
        sizes = [2] + [width] * (n_hidden + 1) + [2]
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in pairwise(sizes))
        for index, layer in enumerate(self.layers):
            bound = 1 / layer.in_features if index == 0 else np.sqrt(6 / layer.in_features) / 30
            torch.nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 2) to (N, 2)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = torch.sin(30 * layer(x))
        return last(x)


def divergence_residual(module: torch.nn.Module, statement: Statement, points: Array) -> torch.Tensor:
    """H u - f of the paper, (n,): d/dx((e_y/e_x) u_x) + d/dy((e_x/e_y) u_y) + e_x e_y k^2 m u - f, all derivatives by nested reverse mode."""
    dtype = next(module.parameters()).dtype
    x = torch.as_tensor(points, dtype=dtype).requires_grad_(True)
    y = module(x)
    slopes = [torch.autograd.grad(y[:, part].sum(), x, create_graph=True)[0] for part in (0, 1)]
    e = [_stretch(x[:, axis], statement) for axis in (0, 1)]
    mass = statement.k**2 * torch.as_tensor(statement.slowness(points), dtype=dtype)
    f = statement.source(points, scattered=False)
    total = e[0] * e[1] * mass * torch.complex(y[:, 0], y[:, 1]) - torch.as_tensor(f).to(e[0].dtype)
    for axis in (0, 1):
        flux = e[1 - axis] / e[axis] * torch.complex(slopes[0][:, axis], slopes[1][:, axis])
        parts = [torch.autograd.grad(part.sum(), x, create_graph=True)[0][:, axis] for part in (flux.real, flux.imag)]
        total = total + torch.complex(parts[0], parts[1])
    return total


def _stretch(x: torch.Tensor, statement: Statement) -> torch.Tensor:
    depth = torch.clamp(x.abs() - 0.5, min=0.0) / statement.width
    return torch.complex(torch.ones_like(x), -statement.strength * depth**2)


def solve_original_siren(watch: Watch, n_points: int, seed: int) -> None:
    """The released SIREN setting: sums of absolute residuals in divergence form, source weighted by N/1000, Adam 2e-5, nested differentiation.

    The sum over the points is taken in chunks, which changes nothing but the memory; no condition stands on the outer edge, as in the paper.
    """
    statement = watch.statement
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    module = _Sine()
    optimizer = torch.optim.Adam(module.parameters(), lr=2e-5)
    watch.settings.update(points=n_points, network="2 -> 256 x 4 sine -> 2", optimizer="Adam 2e-5", precision="float32", steps=0)

    def current(points: Array) -> NDArray[np.complex128]:
        with torch.no_grad():
            y = module(torch.as_tensor(points, dtype=torch.float32)).double().numpy()
        return np.asarray(y[:, 0] + 1j * y[:, 1])

    while True:
        points = draw.uniform(-statement.half, statement.half, (n_points, 2))
        points[-DRAWN_NEAR_SOURCE:] = statement.near_source(DRAWN_NEAR_SOURCE, int(draw.integers(2**31)))
        optimizer.zero_grad()
        for chunk in np.array_split(points, -(-n_points // 2048)):
            rest = divergence_residual(module, statement, chunk)
            weight = torch.as_tensor(np.where(np.abs(statement.source(chunk, scattered=False)) > 1e-5, n_points / 1000, 1.0), dtype=torch.float32)
            (weight * (rest.real.abs() + rest.imag.abs())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        watch.settings["steps"] += 1
        if watch.due:
            watch.look(current)

