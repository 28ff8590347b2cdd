"""What every reference solver offers, and what it returns.

A reference solver reads the declaration by itself and solves it on a grid. Its answer carries its own error estimate, so that nobody judges a
network by a grid that is worse than the network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import NdBSpline, make_interp_spline

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Problem

Array = NDArray[Any]
# Quintic: its error is of order 6, that of the finest scheme.
_SPLINE_DEGREE = 5
_CHUNK = 100_000


@dataclass(frozen=True)
class Support:
    """Whether a solver can solve a problem, and why (not)."""

    ok: bool
    reason: str


@dataclass(frozen=True)
class FieldOnGrid:
    """One field of a grid solution, callable at scattered points.

    Attributes:
        name: of the field.
        axes: grid positions per coordinate, in the order of the field.
        smooth: what was computed on the grid, shots first when there are shots, then one axis per coordinate.
        background: one closed form per shot that is added to it (the singular part of narrow sources), None for none.
        shots: number of shots, or None.
        degree: of the splines between the nodes; 1 where the field has kinks everywhere, beside which higher ones would ring.
        between: what gives `smooth` between the nodes, (n_points, n_coordinates) to (n_shots, n_points); None for splines.
    """

    name: str
    axes: tuple[NDArray[np.float64], ...]
    smooth: Array
    background: tuple[Callable[..., Array] | None, ...]
    shots: int | None
    coordinates: tuple[Any, ...]
    degree: int = _SPLINE_DEGREE
    between: Callable[[Array], Array] | None = dataclass_field(default=None, repr=False, compare=False)

    @property
    def values(self) -> Array:
        """Values on the grid, shots first when there are shots."""
        points = np.meshgrid(*self.axes, indexing="ij")
        return self._add_background(np.array(self._stack), points)

    def __call__(self, *positions: ArrayLike, **named: ArrayLike) -> Array:
        """Values at points inside the grid, by splines plus the closed-form part; NaN outside a domain that does not fill its grid.

        Args:
            positions: one array per coordinate in the order of the field, broadcast; or by name, `u(x=..., y=...)`.

        Raises:
            ReferenceSolverError: a missing coordinate, or points outside the declared domain.
        """
        points = np.broadcast_arrays(*self._ordered(positions, named))
        flat = np.stack([p.ravel() for p in points], axis=-1)
        for column, axis, symbol in zip(flat.T, self.axes, self.coordinates, strict=True):
            slack = 1e-9 * (axis[-1] - axis[0])
            if column.size and (column.min() < axis[0] - slack or column.max() > axis[-1] + slack):
                raise ReferenceSolverError(
                    f"`{self.name}` was asked at {symbol} = {column.min():g} ... {column.max():g}; the grid covers "
                    f"{axis[0]:g} ... {axis[-1]:g}"
                )
        low, high = (np.array([axis[end] for axis in self.axes]) for end in (0, -1))
        inside = np.clip(flat, low, high)
        parts = [self._interpolated(inside[i : i + _CHUNK]) for i in range(0, max(len(inside), 1), _CHUNK)]
        stack = np.concatenate(parts, axis=1).reshape((len(self._stack), *points[0].shape))
        return self._add_background(stack, points)

    def _interpolated(self, points: Array) -> Array:
        return self.between(points) if self.between is not None else np.stack([spline(points) for spline in self._splines])

    @property
    def _stack(self) -> Array:
        return self.smooth if self.shots is not None else self.smooth[None]

    def _add_background(self, stack: Array, points: Sequence[Array]) -> Array:
        for shot, closed_form in enumerate(self.background):
            if closed_form is not None:
                stack[shot] = stack[shot] + closed_form(*points)
        return stack if self.shots is not None else stack[0]

    def _ordered(self, positions: tuple[ArrayLike, ...], named: dict[str, ArrayLike]) -> list[Array]:
        names = [str(symbol) for symbol in self.coordinates]
        if named and not positions:
            if set(named) != set(names):
                raise ReferenceSolverError(f"`{self.name}` was given {sorted(named)}; its coordinates are {names}")
            positions = tuple(named[n] for n in names)
        if len(positions) != len(names):
            raise ReferenceSolverError(f"`{self.name}` was given {len(positions)} coordinates; it needs {', '.join(names)}")
        return [np.asarray(p, dtype=float) for p in positions]

    @cached_property
    def _splines(self) -> list[NdBSpline]:
        return [_tensor_spline(self.axes, values, self.degree) for values in self._stack]


def _tensor_spline(axes: Sequence[NDArray[np.float64]], values: Array, highest: int) -> NdBSpline:
    coefficients, knots, degrees = values, [], []
    for dimension, axis in enumerate(axes):
        degree = min(highest, len(axis) - 1)
        spline = make_interp_spline(axis, np.moveaxis(coefficients, dimension, 0), k=degree)
        coefficients = np.moveaxis(spline.c, 0, dimension)
        knots.append(spline.t)
        degrees.append(degree)
    return NdBSpline(tuple(knots), np.ascontiguousarray(coefficients), tuple(degrees))


@dataclass(frozen=True)
class GridSolution:
    """What a reference solver computed, and how far it can be trusted.

    Attributes:
        problem: name of the problem.
        coordinates: symbols, in the order of the fields.
        axes: grid positions inside the declared domain, {symbol: (n,)}.
        values: {field name: array}, shots first when there are shots, then one axis per coordinate.
        error_estimate: relative L2 over the declared domain, estimated by refinement.
        seconds: wall time of the solve.
        n_unknowns: of the finest system.
        solver: name of the solver.
        order: of its scheme.
        notes: what was decided, one line each.
    """

    problem: str
    coordinates: tuple[Any, ...]
    axes: Mapping[Any, NDArray[np.float64]]
    values: Mapping[str, Array]
    error_estimate: float
    seconds: float
    n_unknowns: int
    solver: str
    order: int
    notes: tuple[str, ...]
    fields: Mapping[str, FieldOnGrid] = dataclass_field(repr=False)

    def __getitem__(self, name: str) -> FieldOnGrid:
        """The field of that name, callable at scattered points.

        Raises:
            ReferenceSolverError: unknown name; the message lists the known ones.
        """
        if name not in self.fields:
            raise ReferenceSolverError(f"`{name}` is no field of `{self.problem}`; known are {', '.join(self.fields)}")
        return self.fields[name]

    def __call__(self, *positions: ArrayLike, **named: ArrayLike) -> Array:
        """Values of the only field at scattered points."""
        if len(self.fields) != 1:
            raise ReferenceSolverError(f"`{self.problem}` has the fields {', '.join(self.fields)}; choose one: solution[name](...)")
        return next(iter(self.fields.values()))(*positions, **named)

    def __str__(self) -> str:
        return (
            f"{self.solver} (order {self.order}) on {self.problem}: {self.n_unknowns} unknowns, {self.seconds:.1f} s, "
            f"estimated relative L2 error {self.error_estimate:.1e}"
        )


class AbstractReferenceSolver(ABC):
    """A grid solver that answers a declaration without the network's code.

    Attributes:
        name: shown in reports.
        order: order of accuracy on smooth problems.
    """

    name: str
    order: int

    @abstractmethod
    def supports(self, problem: Problem) -> Support:
        """Whether this solver can solve the problem, with the reason."""

    @abstractmethod
    def solve(self, problem: Problem) -> GridSolution:
        """Solve the problem.

        Raises:
            ReferenceSolverError: not supported, or the discrete system has no solution.
        """
