"""One time window (or a stationary problem) on stretched axes: its features, its collocation points, its rows, Newton's method.

Input: a compiled problem, stretches of the axes, numbers of harmonics, the field at the start. Output: `FeatureModel` and how large its residual is.
Features and points are products along the axes; on a periodic axis the features are periodic, so that its condition is exact. Rows of equations are
multiplied by the length of the window: a residual r that lasts for a time T shifts the field by r T.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.charts.front_stretch import Stretch
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.residual_program import ResidualProgram
from pinnsiren.ir import Jet
from pinnsiren.language.domains import Box
from pinnsiren.language.locations import space_of
from pinnsiren.training.march_clock import MarchWatch
from pinnsiren.training.method import FittedModel
from pinnsiren.training.repeated_least_squares import RepeatedLeastSquares
from pinnsiren.training.row_system import solve_least_squares
from pinnsiren.training.stretched_basis import (
    AxisCoordinate,
    AxisFunctions,
    EvenAxis,
    ProductBasis,
    ProductModel,
    StretchedAxis,
    kronecker,
    on_grid,
    separated,
)

Array = NDArray[np.float64]
TIME_PERIOD_RATIO = 8.0  # period of the features in time over the window: low frequencies, close to polynomials, since fields are smooth in a window
CONDITION_WEIGHT = 10.0  # as for other methods: an error on the boundary or at the start is not damped inside
EDGE_SHARE = 0.5  # how far points along an axis are drawn to its ends, from even to those of Chebyshev
LEAST_DECREASE = 0.3  # Newton's method ends when a step lowers the residual by less: it converges quadratically or is at the level of the features
RESIDUAL_FLOOR = 1e-15


@dataclass(frozen=True)
class WindowShape:
    """Where a window lies and what lives there.

    Attributes:
        times: first and last instant, or None for a stationary problem.
        stretches: per spatial axis.
        harmonics: per spatial axis, then in time if there is one.
    """

    times: tuple[float, float] | None
    stretches: tuple[Stretch, ...]
    harmonics: tuple[int, ...]

    def bases(self, compiled: CompiledProblem) -> tuple[ProductBasis, ...]:
        """Return the functions of the window, per field."""
        coordinates: list[tuple[AxisCoordinate, float]] = [(StretchedAxis(stretch), stretch.step()) for stretch in self.stretches]
        if self.times is not None:
            coordinates.append((EvenAxis(*self.times), np.pi / TIME_PERIOD_RATIO))
        bases = []
        for envelope in compiled.ir.envelope:
            factors = separated(envelope, compiled.ir.coordinates)
            assert factors is not None, "such problems are refused"
            axes = zip(coordinates, self.harmonics, factors, strict=True)
            bases.append(ProductBasis(tuple(AxisFunctions(at, step, n, factor) for (at, step), n, factor in axes)))
        return tuple(bases)

    def axes(self, oversampling: float, shift: float | None = None) -> list[Array]:
        """Return points along each axis.

        Args:
            oversampling: points per function.
            shift: None places points for a fit, ends included; a number in (0, 1) places others between them, for fresh residuals.
        """
        result = []
        for index, harmonics in enumerate(self.harmonics):
            count = int(np.ceil(oversampling * (2 * harmonics + 1))) + 1
            stretch = self.stretches[index] if index < len(self.stretches) else None
            if stretch is not None and stretch.periodic:
                unit = (np.arange(count) + (shift or 0.0)) / count * 2 - 1
            else:
                even = np.linspace(-1, 1, count) if shift is None else (np.arange(count) + shift) / count * 2 - 1
                unit = (1 - EDGE_SHARE) * even + EDGE_SHARE * np.sin(0.5 * np.pi * even)
            result.append(self.on_axis(index, unit))
        return result

    def on_axis(self, index: int, unit: Array) -> Array:
        """Return the physical points of an axis whose local coordinate is that share, in [-1, 1], of the half length."""
        if index < len(self.stretches):
            return self.stretches[index].physical(0.5 * self.stretches[index].length * unit)
        assert self.times is not None
        return np.asarray(0.5 * sum(self.times) + 0.5 * (self.times[1] - self.times[0]) * unit)

    def quadrature(self, per_unit: float, n_times: int) -> tuple[Array, Array]:
        """Return points (n, n_coordinates) that resolve the fronts, and their weights in the integral over the window."""
        axes, weights = [], []
        for stretch in self.stretches:
            count = max(12, int(per_unit * stretch.length))
            xi = ((np.arange(count) + 0.5) / count - 0.5) * stretch.length
            axes.append(stretch.physical(xi))
            weights.append(stretch.length / count / stretch.density(axes[-1]))
        if self.times is not None:
            axes.append(self.times[0] + (self.times[1] - self.times[0]) * (np.arange(n_times) + 0.5) / n_times)
            weights.append(np.full(n_times, (self.times[1] - self.times[0]) / n_times))
        return grid(axes), np.prod(grid(weights), axis=1)


def grid(axes: Sequence[Array]) -> Array:
    """Return all combinations, (n, n_axes)."""
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)


class Evaluators:
    """The programs of a problem as NumPy functions, compiled once."""

    def __init__(self, compiled: CompiledProblem) -> None:
        self.compiled = compiled
        self.functions: list[Callable[..., list[Any]]] = [p.compile([*p.partials, p.algebra]) for p in compiled.programs]
        self.affine = all(program.is_affine for program in compiled.programs)
        self.factored = RepeatedLeastSquares()

    def __call__(self, index: int, coefficients: list[Any], jets: list[Array]) -> tuple[list[Array], Array]:
        """Return per jet the partial derivative and the residual, each (n_points,)."""
        n_points = len(jets[0])
        with np.errstate(all="ignore"):
            *partials, value = self.functions[index](coefficients, [jet[:, None] for jet in jets], [])
        shape = (n_points, 1)
        return [np.broadcast_to(p, shape)[:, 0] for p in partials], np.broadcast_to(value, shape)[:, 0]


@dataclass(frozen=True)
class Block:
    """Rows of one residual."""

    index: int
    program: ResidualProgram
    lines: list[Array]
    points: Array
    coefficients: list[Any]
    weights: Array
    values: Array


class WindowSystem:
    """Rows of all residuals of a window."""

    def __init__(
        self,
        evaluators: Evaluators,
        shape: WindowShape,
        bases: tuple[ProductBasis, ...],
        start: FittedModel | None,
        axes: list[Array],
        integrate: bool = False,
    ) -> None:
        self.integrate = integrate  # rows by the part of the domain that they stand for: the norm approximates an integral
        self.evaluators, self.compiled, self.shape, self.bases = evaluators, evaluators.compiled, shape, bases
        self.blocks = [block for index in range(len(self.compiled.programs)) if (block := self._block(index, start, axes)) is not None]
        self._factors: dict[tuple[int, Jet], list[Array]] = {}

    def _block(self, index: int, start: FittedModel | None, axes: list[Array]) -> Block | None:
        program = self.compiled.programs[index]
        region, domain = program.residual.region, self.compiled.ir.domain
        normals, pinned = None, list(axes)
        if program.residual.kind == "equation":
            points = grid(axes)
        elif region.kind == "pair":
            return None
        else:
            assert region.part is not None
            if program.residual.kind == "initial":
                assert self.shape.times is not None
                pinned[-1] = np.array([self.shape.times[0]])
            else:
                space = space_of(domain)
                assert isinstance(space, Box)
                axis, side = space.face(region.part)
                pinned[axis] = np.array([space.bounds[space.coordinates[axis]][(side + 1) // 2]])
            points = grid(pinned)
            normals = domain.outward_normals(region.part, points)
        coefficients = program.coefficients(points, normals)
        values = np.zeros(len(points))
        if program.residual.kind == "initial" and start is not None:
            values = self.evaluators(index, coefficients, jets_of(start, program, points))[1]
        return Block(index, program, pinned, points, coefficients, self._weights(index, coefficients, points), values)

    def _weights(self, index: int, coefficients: list[Any], points: Array) -> Array:
        """Rows of conditions by the size of their operator, rows of equations by that and by the length of the window."""
        weights = self._sizes(index, coefficients, points) / np.sqrt(len(points))
        if self.integrate:
            parts = np.prod([1 / stretch.density(points[:, axis]) for axis, stretch in enumerate(self.shape.stretches)], axis=0)
            weights = weights * np.sqrt(parts / np.mean(parts))
        return np.asarray(weights)

    def _sizes(self, index: int, coefficients: list[Any], points: Array) -> Array:
        program, n_points = self.compiled.programs[index], len(points)
        partials, _ = self.evaluators(index, coefficients, [np.ones(n_points) for _ in program.jets])
        sizes = {jet: float(np.sqrt(np.mean(np.abs(p) ** 2))) for jet, p in zip(program.jets, partials, strict=True)}
        if program.residual.kind != "equation":
            return np.full(n_points, CONDITION_WEIGHT / max(max(sizes.values()), 1e-300))
        if self.shape.times is not None:
            rate = max((size for jet, size in sizes.items() if jet.orders[-1]), default=1.0)
            return np.full(n_points, (self.shape.times[1] - self.shape.times[0]) / max(rate, 1e-300))
        # Without a time, each row is divided by what its operator makes of a feature that varies on the local scale.
        densities = [stretch.density(points[:, axis]) for axis, stretch in enumerate(self.shape.stretches)]
        total = np.zeros(n_points)
        for jet, partial in zip(program.jets, partials, strict=True):
            total += np.abs(partial) * np.prod([density**order for density, order in zip(densities, jet.orders, strict=True)], axis=0)
        return np.asarray(1 / np.maximum(total, 1e-300))

    def factors(self, block: Block, jet: Jet) -> list[Array]:
        """Return a derivative of the functions of every axis along the lines of a block; kept for the steps of Newton's method."""
        key = (block.index, jet)
        if key not in self._factors:
            self._factors[key] = self.bases[jet.field].factors(block.lines, jet.orders)
        return self._factors[key]

    def rows(self, base: Sequence[list[Array]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Linearise at given jets per block; the unknowns are the coefficients of the whole field, so that the base may be any function."""
        matrices, rights = [], []
        for block, jets in zip(self.blocks, base, strict=True):
            partials, residual = self.evaluators(block.index, block.coefficients, jets)
            right = block.values - residual + np.sum([p * j for p, j in zip(partials, jets, strict=True)], axis=0)
            pieces = []
            for field, basis in enumerate(self.bases):
                piece = np.zeros((len(block.points), basis.n_features))
                for jet, partial in zip(block.program.jets, partials, strict=True):
                    if jet.field == field:
                        matrix = kronecker(self.factors(block, jet))
                        matrix *= (partial * block.weights)[:, None]
                        piece += matrix
                pieces.append(piece)
            matrices.append(np.hstack(pieces))
            rights.append(right * block.weights)
        return torch.from_numpy(np.concatenate(matrices)), torch.from_numpy(np.concatenate(rights))[:, None]

    def jets(self, coefficients: Sequence[Array]) -> list[list[Array]]:
        """Return the jets of an expansion at the points of every block."""
        return [[on_grid(self.factors(block, jet), coefficients[jet.field]) for jet in block.program.jets] for block in self.blocks]

    def norm(self, jets: Sequence[list[Array]], equations: bool = True) -> float:
        """Return the root of the sum over residuals, those of equations included or not, of the mean squared weighted residual."""
        total = 0.0
        for block, values in zip(self.blocks, jets, strict=True):
            if not equations and block.program.residual.kind == "equation":
                continue
            residual = self.evaluators(block.index, block.coefficients, values)[1] - block.values
            total += float(np.sum((residual * block.weights) ** 2))
        return float(np.sqrt(total))


def jets_of(model: FittedModel, program: ResidualProgram, points: Array) -> list[Array]:
    """Return the jets that a residual reads of any model, each (n_points,)."""
    return [np.asarray(model.evaluate(jet.field, points, jet.orders))[:, 0].real for jet in program.jets]


@dataclass(frozen=True)
class WindowFit:
    """A window solved.

    Attributes:
        shape: of the window.
        model: the expansion.
        training: weighted residual at the points of the fit.
        fresh: the same at other points, those of a region by its measure.
        conditions: the part of initial and boundary values in it; it says nothing of time.
        steps: linear systems solved.
    """

    shape: WindowShape
    model: ProductModel
    training: float
    fresh: float
    conditions: float
    steps: int


def fit_window(
    evaluators: Evaluators,
    shape: WindowShape,
    start: FittedModel | None,
    guess: FittedModel,
    oversampling: float,
    newton_steps: int,
    watch: MarchWatch,
) -> WindowFit:
    """Solve a window by Newton's method from a guess.

    Args:
        evaluators: of the problem.
        shape: of the window.
        start: the solution at the first instant, None where the declared initial values hold.
        guess: any model; the first linearisation is made there.
        oversampling: points per function along each axis.
        newton_steps: most linear systems.
        watch: is asked before each of them.

    Raises:
        OutOfTimeError: the next linear system would end too late.
    """
    compiled = evaluators.compiled
    bases = shape.bases(compiled)
    system = WindowSystem(evaluators, shape, bases, start, shape.axes(oversampling))
    jets = [jets_of(guess, block.program, block.points) for block in system.blocks]
    current, norm, steps = None, np.inf, 0
    while steps < (1 if evaluators.affine else newton_steps):
        watch.before_system(sum(basis.n_features for basis in bases))
        matrix, right = system.rows(jets)
        if not bool(torch.isfinite(matrix).all() and torch.isfinite(right).all()):
            break
        solve = evaluators.factored.solve if evaluators.affine else solve_least_squares
        target = np.split(solve(matrix, right)[:, 0].numpy(), len(bases))
        steps += 1
        for halving in range(6):
            share = 0.5**halving
            trial = target if current is None else [c + share * (d - c) for c, d in zip(current, target, strict=True)]
            trial_jets = system.jets(trial)
            trial_norm = system.norm(trial_jets)
            if trial_norm < norm or not np.isfinite(norm):
                break
        else:
            break
        previous, current, jets, norm = norm, trial, trial_jets, trial_norm
        if norm > LEAST_DECREASE * previous or norm < RESIDUAL_FLOOR:
            break
    if current is None:
        current = [np.zeros(basis.n_features) for basis in bases]
        norm = np.inf
    model = ProductModel(bases, tuple(c[:, None] for c in current))
    fresh = WindowSystem(evaluators, shape, bases, start, shape.axes(1.0, 0.37), integrate=True)
    fresh_jets = fresh.jets(current)
    return WindowFit(shape, model, norm, fresh.norm(fresh_jets), fresh.norm(fresh_jets, equations=False), steps)
