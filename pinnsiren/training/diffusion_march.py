"""Diffusion by a march: cosines of angles in space, whose amplitudes are followed through time, panel after panel.

Linear equations of first order in time on intervals and rectangles with anything that is smooth: diffusion and transport that vary in space, in
front of or inside a divergence, lower-order terms, sources and wall data that change in time, walls of every kind. Features of space and time at once
need a number that grows with the time, and their factorisation costs its cube; here only the functions of space are factored, and a panel of time
costs solutions with the factors. The panels shorten where data start rough or sources are fast. It is a spectral method in the clothes of features.

Reference: Trefethen (2000), Spectral methods in MATLAB, chapters 6 and 13; `diffusion_panels` for the steps in time.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import NonFiniteError, ProblemError
from pinnsiren.language.domains import Box, SpaceTime
from pinnsiren.training.diffusion_panels import Panels
from pinnsiren.training.growing_run import GrowingRun
from pinnsiren.training.method import AbstractMethod, RunSettings, StateTree, Suitability
from pinnsiren.training.wave_march_model import MarchModel, march_model_from_state
from pinnsiren.training.wave_semidiscrete import (
    N_LOOKS,
    MarchReading,
    Semidiscrete,
    built_in_faces,
    faces_of,
    linear_programs,
    lower_orders,
    partials_at,
    second_orders,
)

Array = NDArray[np.float64]
FIRST_NODES = {1: 24, 2: 14}  # along an axis of the mean length
MOST_NODES = {1: 600, 2: 52}  # complex factors of all inner nodes, four of them per length of a panel: 3000^2 numbers each
GROWTH = 1.35
COSTS = {1: 1.15, 2: 0.8}  # along one axis features of space and time are few enough
FIRST_ACCURACY, SHARPER, LAST_ACCURACY = 1e-4, 30.0, 1e-11  # of panels in time, from size to size: errors in space fall as fast
FIRST_HALVINGS = 2  # a quarter of the time is the longest panel at first, half as much at every size: what the points leap over is seen in the end


@dataclass(frozen=True)
class DiffusionMarch(AbstractMethod):
    """Settings of the march.

    Attributes:
        nodes: nodes along an axis of mean length at the first size.
        growth: ratio of one size to the next, per axis.
    """

    nodes: int | None = None
    growth: float = GROWTH

    def __post_init__(self) -> None:
        if self.nodes is not None and (isinstance(self.nodes, bool) or not isinstance(self.nodes, int) or self.nodes < 4):
            raise ProblemError(f"DiffusionMarch was given nodes={self.nodes!r}; expected a whole number of 4 or more")
        if not self.growth > 1:
            raise ProblemError(f"DiffusionMarch was given growth={self.growth!r}; expected a number above 1")

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits linear diffusion with smooth coefficients of space on intervals and rectangles with one condition on every face."""
        found = read_diffusion(compiled)
        if isinstance(found, str):
            return Suitability(False, found, np.inf)
        return Suitability(True, "cosines of angles in space, followed through time in panels", COSTS[len(found.limits)])

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "DiffusionMarchRun":
        """Begin at the first size."""
        return DiffusionMarchRun(self, compiled, settings)


def read_diffusion(compiled: CompiledProblem) -> MarchReading | str:
    """Return the parts of a linear equation of diffusion on a box with one condition on every face, or why the problem is none."""
    domain, dimension = compiled.ir.domain, len(compiled.ir.coordinates)
    if compiled.rewritten.applied:
        return "rewritten problems are not made for a march"
    programs = linear_programs(compiled, "equation of diffusion")
    if isinstance(programs, str):
        return programs
    assert isinstance(domain, SpaceTime) and isinstance(domain.space, Box), "others are refused"
    if dimension - 1 not in MOST_NODES:
        return "it serves one and two axes of space"
    if len(programs["equation"]) != 1 or len(programs["initial"]) != 1:
        return "one equation and one initial value are needed"
    faces = faces_of(programs["condition"], built_in_faces(compiled), domain, dimension)
    if isinstance(faces, str):
        return faces
    (equation,), *space, first = programs["equation"], *second_orders(dimension)[:-1], lower_orders(dimension)[dimension - 1]
    if {jet.orders for jet in equation.jets} - {*space, *lower_orders(dimension)}:
        return "it holds mixed derivatives, or is not of first order in time"
    parts = partials_at(equation, domain.sample_interior(N_LOOKS, 5), None)[0]
    none = np.zeros(1)
    with np.errstate(all="ignore"):
        diffusivities = [-parts.get(orders, none) / parts.get(first, none) for orders in space]
    if not all(np.all(np.isfinite(values)) and np.min(values) > 0 for values in diffusivities):
        return "it does not diffuse along every axis, everywhere"
    limits = np.array([domain.space.bounds[symbol] for symbol in domain.space.coordinates], dtype=float)
    reading = MarchReading(
        equation, faces, (programs["initial"][0],), limits, domain.time_bounds, float(max(np.max(values) for values in diffusivities))
    )
    try:
        if any(rate is not None for rate in Semidiscrete(compiled, reading, (4,) * len(limits)).evolving.values()):
            return "a condition holds a time derivative"
    except ValueError as error:
        return str(error)
    return reading


def counts_of(reading: MarchReading, nodes: float) -> tuple[int, ...]:
    """Return the number of cosines per axis, in the ratio of the lengths but none less than half or more than twice the mean."""
    lengths = reading.limits[:, 1] - reading.limits[:, 0]
    shares = np.clip(lengths / float(np.prod(lengths)) ** (1 / len(lengths)), 0.5, 2.0)
    return tuple(max(4, round(nodes * float(share))) for share in shares)


def fit_diffusion(compiled: CompiledProblem, reading: MarchReading, counts: tuple[int, ...], accuracy: float, fewest: int) -> MarchModel:
    """Return the solution with given numbers of cosines.

    Args:
        compiled: the problem.
        reading: its parts.
        counts: cosines per axis.
        accuracy: of panels in time, relative.
        fewest: panels are no longer than the time over 2 to this power.

    Raises:
        NonFiniteError: the system has no finite solution up to the last instant.
    """
    system = Semidiscrete(compiled, reading, counts)
    size = prod(n - 1 for n in counts)

    def rates(inner: Array, time: float) -> Array:
        field = np.zeros(system.shape)
        field[system.inside] = inner.reshape(tuple(n - 1 for n in counts))
        system.close(field, time)
        return np.asarray(-system.at_rest(time, field) / system.damping).ravel()

    start, none = reading.span[0], np.zeros(size)
    rest = rates(none, start)
    matrix = np.stack([rates(unit, start) - rest for unit in np.eye(size)], axis=1)
    panels = Panels(matrix, lambda time: rates(none, time), reading.span, accuracy, fewest)
    initial = system.initial_state().reshape(system.shape)[system.inside].ravel()
    with np.errstate(all="ignore"):
        found = panels.march(initial)
    if found is None:
        raise NonFiniteError("the march in time: the equation or a condition feeds the field without bound")
    edges, inner = found
    values = np.zeros((*inner.shape[:2], *system.shape))
    values[(slice(None), slice(None), *system.inside)] = inner.reshape(*inner.shape[:2], *(n - 1 for n in counts))
    for first, last, fields in zip(edges[:-1], edges[1:], values, strict=True):
        for share, field in zip(panels.rule.instants, fields, strict=True):
            system.close(field, float(first + share * (last - first)))
    in_time = np.moveaxis(np.tensordot(panels.rule.coefficients, values, axes=(1, 1)), 0, 1)
    return MarchModel(reading.limits, edges, np.ascontiguousarray(in_time))


class DiffusionMarchRun(GrowingRun[MarchModel]):
    """Sizes that grow until the estimate meets the tolerance; panels of time become more accurate with them."""

    def __init__(self, method: DiffusionMarch, compiled: CompiledProblem, settings: RunSettings) -> None:
        super().__init__(compiled, settings)
        found = read_diffusion(compiled)
        assert not isinstance(found, str)
        self.method, self.reading = method, found
        self.first = float(method.nodes or FIRST_NODES[len(found.limits)])

    def _nodes(self) -> float:
        return self.first * self.method.growth**self.level

    def fit(self) -> MarchModel:
        """Return the next size."""
        accuracy = max(FIRST_ACCURACY / SHARPER**self.level, LAST_ACCURACY)
        return fit_diffusion(self.compiled, self.reading, counts_of(self.reading, self._nodes()), accuracy, FIRST_HALVINGS + self.level)

    def size(self, model: MarchModel) -> int:
        """Return the number of cosines."""
        return prod(model.values.shape[2:])

    def is_last(self) -> bool:
        """Whether the next size has more nodes than are allowed."""
        return self._nodes() > MOST_NODES[len(self.reading.limits)]

    def exhausted(self) -> str:
        """Return the limit, its likely cause and the remedy."""
        return (
            f"a march allows {MOST_NODES[len(self.reading.limits)]} cosines along an axis. Something in the solution is too sharp for "
            "them: a narrow source, a layer, initial values and conditions that do not fit together where they meet"
        )

    def predicted_seconds(self) -> float:
        """Return the cost of the next size: factors of all inner nodes grow with their number to the third power."""
        return float(self.last_seconds * self.method.growth ** (3 * len(self.reading.limits)))

    def restored_model(self, state: StateTree) -> MarchModel:
        """Return a size from its state."""
        return march_model_from_state(state)
