"""Synthetic measurements of a declared survey: the data that a medium would give, by another discretisation than the one that inverts.

Input: an inverse problem whose observations hold positions (their values do not matter), and a medium. Output: the same problem with data. Inversions
read a problem with the nine-point scheme at 16 points per wavelength; data are made with the fourth-order star on a grid of another step, and on a
coarser one again, which tells how far they can be trusted. Data made and inverted with one scheme on one grid hide its error from everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import PML, Observations, Problem, declaration_of

from ..evaluation import cell_average, evaluator
from ..frequency_domain import Discretisation, Grid, Shots, simulate
from .acquisition import with_noise
from .declared import read_inversion

Array = NDArray[Any]

SCHEME = "order4"
# Neither divides the 16 points per wavelength of the inversion. The coarser run is the check.
POINTS_PER_WAVELENGTH = 22.0
COARSER = 1.5
# Where m is the same beside all sources to this share, their field is split off in closed form.
_UNIFORM = 1e-9


@dataclass(frozen=True)
class SyntheticData:
    """A problem with data, and what is known of them.

    Attributes:
        problem: the declaration with measured values and their noise.
        numerical_errors: relative distance of the values from those of a grid 1.5 times as coarse, per field: an upper estimate of their error.
        steps: of the grids, per field.
    """

    problem: Problem
    numerical_errors: Mapping[str, float]
    steps: Mapping[str, float]

    def __str__(self) -> str:
        lines = [f"`{self.problem.name}`: data of another scheme (`{SCHEME}`) than inversions use"]
        lines += [f"  {name}: grid step {self.steps[name]:.4g}, numerical error {error:.1e}" for name, error in self.numerical_errors.items()]
        return "\n".join(lines)


def single_frequencies(problem: Problem, *, noise: float | None = None, values: float | None = None) -> tuple[Problem, ...]:
    """Return one problem per field: its equation, its layers and its observations.

    Args:
        problem: with one equation per field.
        noise: level for observations that declare none.
        values: number to put in place of all observed values, where only positions matter.
    """
    found = []
    for candidate in problem.fields:
        equations = [equation for equation in problem.equations if sp.sympify(equation).has(candidate)]
        conditions: list[Any] = [c for c in problem.conditions if isinstance(c, PML) and c.field == candidate]
        for c in _observed(problem, candidate):
            held = c.values if values is None else np.full(np.shape(c.values), values, dtype=complex)
            conditions.append(Observations(c.expression, c.points, held, noise=c.noise or noise, weights=c.weights))
        found.append(Problem(name=problem.name, fields=[candidate], domain=problem.domain, equations=equations, conditions=conditions))
    return tuple(found)


def with_synthetic_data(
    problem: Problem,
    medium: Any,
    *,
    noise: float = 0.0,
    seed: int = 0,
    points_per_wavelength: float = POINTS_PER_WAVELENGTH,
    exact: bool = True,
) -> SyntheticData:
    """Measure a medium with a declared survey.

    Args:
        problem: an inverse problem that `read_inversion` reads; the observed values are replaced.
        medium: squared slowness, a SymPy expression of the coordinates or a callable of their arrays.
        noise: standard deviation of complex normal noise, relative to the data of each field.
        seed: of the noise.
        points_per_wavelength: of the shortest wave in the medium.
        exact: whether the medium is put into the problem as the exact one.

    Returns:
        The problem with data; its observations declare the noise together with the numerical error.

    Raises:
        ReferenceSolverError: another kind of problem, or a medium that is not positive.
    """
    evaluate = medium if callable(medium) and not isinstance(medium, sp.Basic) else evaluator(sp.sympify(medium), problem.coordinates)
    replaced: dict[int, Observations] = {}
    errors: dict[str, float] = {}
    steps: dict[str, float] = {}
    for number, (candidate, single) in enumerate(zip(problem.fields, single_frequencies(problem, noise=1.0, values=1.0), strict=True)):
        name = declaration_of(candidate).name
        steps[name], fine, coarse = _measured(single, evaluate, points_per_wavelength)
        size = float(np.linalg.norm(np.concatenate([values.ravel() for values in fine])))
        errors[name] = float(np.linalg.norm(np.concatenate([(a - b).ravel() for a, b in zip(fine, coarse, strict=True)]))) / size
        for c, values in zip(_observed(problem, candidate), fine, strict=True):
            heard = with_noise(values[None], noise, seed + number)[0] if noise else values
            level = float(np.hypot(noise, errors[name]))
            replaced[id(c)] = Observations(c.expression, c.points, heard.reshape(np.shape(c.values)), noise=level, weights=c.weights)
    (unknown,) = problem.coefficients
    made = Problem(
        name=problem.name,
        fields=problem.fields,
        domain=problem.domain,
        equations=problem.equations,
        conditions=[replaced.get(id(c), c) for c in problem.conditions],
        exact={unknown: medium} if exact else None,
    )
    return SyntheticData(made, errors, steps)


def _measured(problem: Problem, evaluate: Callable[..., Array], points_per_wavelength: float) -> tuple[float, list[Array], list[Array]]:
    """Step, and values of every set of observations on the finer and on the coarser grid, (n_shots, n) each."""
    # A coarse step: only sources, wavenumber and box are read from it.
    box = [problem.domain.bounds[symbol] for symbol in problem.coordinates]
    declared = read_inversion(problem, step=max(high - low for low, high in box) / 16)
    acquisition = declared.acquisition
    w = float(acquisition.angular_frequencies[0])
    probes = np.meshgrid(*[np.linspace(low, high, 201) for low, high in box], indexing="ij")
    seen = np.broadcast_to(np.asarray(evaluate(*probes), dtype=float), probes[0].shape)
    if not np.all(np.isfinite(seen)) or seen.min() <= 0:
        raise ReferenceSolverError(
            f"the medium given to `{problem.name}` runs from {seen.min():g} to {seen.max():g}; expected positive squared slowness"
        )
    beside = np.broadcast_to(np.asarray(evaluate(*acquisition.sources.T), dtype=float), (len(acquisition.sources),))
    background = float(beside[0]) if np.ptp(beside) <= _UNIFORM * beside.max() else None
    step = 2 * np.pi / (w * float(np.sqrt(seen.max())) * points_per_wavelength)
    shots = Shots.at(acquisition.sources, acquisition.amplitudes[0], acquisition.variance)
    conjugate = np.conj if next(c for c in problem.conditions if isinstance(c, PML)).sign > 0 else np.asarray
    runs = []
    for h in (step, COARSER * step):
        grid = Grid.over(tuple(box), h)
        model = cell_average(evaluate, grid.axes, grid.step)
        discretisation = Discretisation(grid, w, model, scheme=SCHEME)
        found = []
        for c in _observed(problem, problem.fields[0]):
            points = np.asarray(c.points)
            flat = simulate(discretisation, model, shots, points.reshape(-1, 2), background=background)
            lines = flat if points.ndim == 2 else np.stack([flat[s].reshape(points.shape[:2])[s] for s in range(len(shots))])
            found.append(np.asarray(conjugate(lines)))
        runs.append(found)
    return step, runs[0], runs[1]


def _observed(problem: Problem, candidate: Any) -> list[Observations]:
    return [c for c in problem.conditions if isinstance(c, Observations) and c.expression == candidate]
