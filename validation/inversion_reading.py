"""What the pictures of an inversion show: surveys, predictions, medium, first gradient.

Input: a problem that declares one unknown squared slowness of the plane, Helmholtz equations with a Gaussian source per shot and observations, and
its solution. Output: arrays. Speeds are c = 1/sqrt(m), in the units of the declaration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Box, Observations, Problem, declaration_of
from pinnsiren.language.numeric import evaluator
from pinnsiren.language.survey_checks import shot_sources, start_wavenumbers

from ..reference_solvers.evaluation import cell_average
from ..reference_solvers.inversion import Simulator, read_inversion, single_frequencies

Array = NDArray[Any]

MODEL_NODES = 201  # along the longer side of the maps
# For the gradient a picture's accuracy is enough; the noise only scales it.
GRADIENT_POINTS_PER_WAVELENGTH = 10.0
ANY_NOISE = 0.02


@dataclass(frozen=True)
class Survey:
    """One field and what was observed of it.

    Attributes:
        field: its name.
        label: for titles, such as "k = 8".
        wavenumber: of the declared start, mean over the sources.
        sources: (n_shots, 2).
        receivers: (n_receivers, 2), or (n_shots, n_receivers, 2).
        observed: (n_shots, n_receivers).
        noise: declared level relative to the root mean square, or None.
    """

    field: str
    label: str
    wavenumber: float
    sources: Array
    receivers: Array
    observed: Array
    noise: float | None

    def predicted(self, solution: Any) -> Array:
        """Values of the solution at the receivers, (n_shots, n_receivers)."""
        field = solution[self.field]
        if self.receivers.ndim == 2:
            return np.atleast_2d(field.at(self.receivers))
        return np.stack([np.atleast_2d(field.at(line))[shot] for shot, line in enumerate(self.receivers)])

    def misfit(self, predicted: Array) -> float:
        """|predicted - observed| / |observed|."""
        return float(np.linalg.norm(predicted - self.observed) / np.linalg.norm(self.observed))


@dataclass(frozen=True)
class Medium:
    """Speeds on an even grid of the domain.

    Attributes:
        name: of the unknown, the squared slowness.
        symbols: the two coordinates.
        axes: positions along them.
        start: declared initial speed, (n_x, n_y).
        found: of the solution.
        true: exact one, averaged in squared slowness over the cells that it jumps in, or None.
        sought: where the medium was unknown.
    """

    name: str
    symbols: tuple[sp.Symbol, ...]
    axes: tuple[Array, Array]
    start: Array
    found: Array
    true: Array | None
    sought: NDArray[np.bool_]

    @property
    def step(self) -> tuple[float, float]:
        """Distance between nodes."""
        return float(self.axes[0][1] - self.axes[0][0]), float(self.axes[1][1] - self.axes[1][0])


def is_inversion(problem: Problem) -> bool:
    """Whether a problem seeks one medium of the plane from observations of Helmholtz fields."""
    if not isinstance(problem.domain, Box) or len(problem.coordinates) != 2 or len(problem.coefficients) != 1 or problem.scalars:
        return False
    (medium,) = problem.coefficients
    return tuple(medium.args) == tuple(problem.coordinates) and bool(surveys_of(problem))


def surveys_of(problem: Problem) -> tuple[Survey, ...]:
    """Return one survey per set of observations, from low to high wavenumber."""
    found = []
    for candidate in problem.fields:
        equation = next((e for e in problem.equations if sp.sympify(e).has(candidate)), None)
        sources = None if equation is None else shot_sources(equation, declaration_of(candidate).shots or 1)
        if sources is None:
            continue
        places = [dict(zip(source.coordinates, source.centre, strict=True)) for source in sources]
        at = np.array([[float(place[symbol]) for symbol in candidate.args] for place in places])
        wavenumbers = start_wavenumbers(problem, equation, candidate, at)
        if wavenumbers is None:
            continue
        k, name = float(np.mean(wavenumbers)), declaration_of(candidate).name
        for condition in problem.conditions:
            if isinstance(condition, Observations) and condition.expression == candidate:
                values = np.broadcast_to(np.atleast_2d(np.asarray(condition.values)), (len(at), np.shape(condition.values)[-1]))
                found.append(Survey(name, f"k = {k:.3g}", k, at, np.asarray(condition.points), values, condition.noise or None))
    return tuple(sorted(found, key=lambda survey: survey.wavenumber))


def medium_of(solution: Any) -> Medium:
    """Return the speeds: start, found, true."""
    problem = solution.problem
    (medium,) = problem.coefficients
    declaration = declaration_of(medium)
    bounds = [problem.domain.bounds[symbol] for symbol in problem.coordinates]
    spacing = max(high - low for low, high in bounds) / (MODEL_NODES - 1)
    axes = tuple(np.linspace(low, high, max(round((high - low) / spacing) + 1, 2)) for low, high in bounds)
    nodes = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    shape = (len(axes[0]), len(axes[1]))
    sought = np.ones(shape, dtype=bool) if declaration.support is None else np.asarray(declaration.support.contains(nodes)).reshape(shape)
    return Medium(
        name=declaration.name,
        symbols=tuple(problem.coordinates),
        axes=(axes[0], axes[1]),
        start=on_grid(sp.sympify(declaration.initial), problem, axes) ** -0.5,
        found=np.asarray(solution[declaration.name].at(nodes), dtype=float).reshape(shape) ** -0.5,
        true=exact_speed(problem, axes),
        sought=sought,
    )


def exact_speed(problem: Problem, axes: tuple[Array, ...]) -> Array | None:
    """Return the exact speed on a grid, squared slowness averaged in the cells that it jumps in; None where it is not declared."""
    (medium,) = problem.coefficients
    exact = (problem.exact or {}).get(medium)
    return None if exact is None else on_grid(exact, problem, axes) ** -0.5


def on_grid(exact: Any, problem: Problem, axes: tuple[Array, ...]) -> Array:
    """Return an expression, or a callable of the coordinates, averaged over cells with jumps, (n_x, n_y)."""
    widths = [float(axis[1] - axis[0]) for axis in axes]
    if callable(exact) and not isinstance(exact, sp.Basic):
        return cell_average(lambda *points: np.asarray(exact(*points), dtype=float), axes, widths)
    compiled = evaluator([sp.sympify(exact)], problem.coordinates)

    def evaluate(*points: Array) -> Array:
        flat = np.stack([p.ravel() for p in np.broadcast_arrays(*points)], axis=1)
        return np.asarray(compiled(flat)[0], dtype=float).reshape(np.broadcast_shapes(*[np.shape(p) for p in points]))

    return cell_average(evaluate, axes, widths)


def first_gradient(problem: Problem) -> tuple[tuple[Array, Array], Array] | None:
    """Return axes and derivative of the squared misfit in the squared slowness at the declared start, all frequencies; None if no grid reads it.

    The exact adjoint of the grid solver, whatever method inverts: it shows what the data say at first, and sources and receivers that dominate it.
    """
    surveys = surveys_of(problem)
    (medium,) = problem.coefficients
    axes = tuple(np.linspace(*problem.domain.bounds[symbol], 41) for symbol in problem.coordinates)
    slowness = np.sqrt(on_grid(sp.sympify(declaration_of(medium).initial), problem, axes))
    # Wavenumbers are those beside the sources; the shortest wave of the start sets the grid.
    shortest = max(s.wavenumber for s in surveys) * float(slowness.max() / slowness.min())
    step = 2 * np.pi / (shortest * GRADIENT_POINTS_PER_WAVELENGTH)
    total: Any = 0.0
    grid = None
    try:
        for single in single_frequencies(problem, noise=ANY_NOISE):
            declared = read_inversion(single, step=step)
            simulator = Simulator(declared.acquisition, declared.modelling, declared.start)
            total = total + np.where(declared.active, simulator.misfit(declared.start, (0,)).gradient, 0.0)
            grid = declared.modelling.grid
    except ReferenceSolverError:
        return None
    return None if grid is None else ((grid.axes[0], grid.axes[1]), np.asarray(total))
