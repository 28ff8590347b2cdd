"""Reference solver for one constant-coefficient equation on a box, diagonalised by fast sine, cosine and Fourier transforms.

    sum_i a_i d2u/dx_i2 + c u = f     in 1-D to 3-D; along every coordinate Dirichlet, Neumann or one of each, or periodic

Three-point differences commute with a transform along their axis: DST-I (two Dirichlet ends), DCT-I (two Neumann ends), DST-III and DCT-III (one of
each), the Fourier transform (periodic). One solve costs O(N log N). The error of this scheme of second order is a series in h^2 for smooth solutions,
inhomogeneous data included, so that the grids h, h/2, h/3 and h/4 together give order 8 as long as at most one axis is not periodic. Where faces
meet at corners, the second term of the series is no longer smooth there, and order 5 remains, or 4 where a Dirichlet face meets a Neumann face.
Data that are not compatible at a corner lower the order further, which the estimate sees. A periodic axis takes the eigenvalues of the derivative
itself.

The error estimate compares three such solutions, each on half the step of the one before: the last difference times q/(1-q), q the observed ratio of
the differences, at least that of the declared order, and a margin of one half.

Reference: Hockney (1965), J. ACM 12, 95; Swarztrauber (1977), SIAM Review 19, 490; Marchuk, Shaidurov (1983), Difference Methods and Their
Extrapolations, section 2.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
import sympy as sp
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Problem, select_shot
from pinnsiren.language.symbols import declaration_of

from .assembly import FaceRow
from .box_reading import BoxReading, read_box
from .coefficients import LinearForm
from .evaluation import check_finite, evaluator
from .incident import narrowest_source
from .observed_order import where_grids_approach
from .protocol import AbstractReferenceSolver, FieldOnGrid, GridSolution, Support
from .resolution import with_unseen

Array = NDArray[Any]

ORDER = 8
# Observed in the L2 norm where two faces meet, of one kind and of two kinds.
CORNER_ORDER, MIXED_CORNER_ORDER = 5, 4
MULTIPLES = (1, 2, 3, 4)
# Points of the finest grid: some seconds of transforms on one core, below 2 GB.
MOST_POINTS = {1: 70_000, 2: 5_000_000, 3: 5_000_000}
# Cells of the coarsest of the four grids along the longest side, on the first level.
FIRST_CELLS = 8
_CELLS_PER_WAVELENGTH = 4.0
# A source narrower than this share of the longest side is left to solvers that split it off in closed form.
_NARROWEST_SOURCE = 1 / 48
# A ratio of differences above this says that nothing converges.
_LARGEST_RATIO = 0.7
# A relative difference below which the ratios of further ones fall evenly, or rounding has been reached.
_RESOLVED = 1e-3
_SAFETY = 1.5
# Sum of the moduli of the extrapolation's weights (6) times rounding of the transforms.
_ROUNDING = 1e-14
_SPLINE_DEGREE = 5
_INCOMPATIBLE = 1e-6
_RESONANT = 1e-10


@dataclass(frozen=True)
class _Line:
    """One coordinate: its interval, coefficient a_i and the transform that its ends ask for.

    Attributes:
        ends: `"D"`, `"N"` or `"P"` at the low and the high end.
    """

    low: float
    high: float
    diffusivity: complex
    ends: str

    def unknowns(self, cells: int) -> slice:
        """The nodes that are solved for, among the `cells + 1`."""
        return slice(self.ends[0] == "D", cells + (self.ends[1] == "N"))

    def eigenvalues(self, cells: int) -> Array:
        """Of the difference operator along the line, times a_i."""
        h = (self.high - self.low) / cells
        if self.ends == "PP":
            return np.asarray(-self.diffusivity * (2 * np.pi * np.fft.fftfreq(cells) / h) ** 2)
        shift = {"DD": 1.0, "NN": 0.0}.get(self.ends, 0.5)
        count = self.unknowns(cells).stop - self.unknowns(cells).start
        angles = np.pi * (np.arange(count) + shift) / cells
        return np.asarray(-self.diffusivity * (2 / h * np.sin(angles / 2)) ** 2)

    def transform(self, values: Array, axis: int, inverse: bool) -> Array:
        """Expand in the eigenvectors, or back."""
        if self.ends == "PP":
            fourier: Callable[..., Array] = scipy.fft.ifft if inverse else scipy.fft.fft
            return np.asarray(fourier(values, axis=axis))
        sine = self.ends[0] == "D"
        kind = 1 if self.ends[0] == self.ends[1] else 3
        name = ("i" if inverse else "") + ("dst" if sine else "dct")
        return np.asarray(getattr(scipy.fft, name)(values, type=kind, axis=axis))


@dataclass(frozen=True)
class _System:
    """Lines, reaction and the data of one problem."""

    reading: BoxReading
    lines: tuple[_Line, ...]
    reaction: complex

    @property
    def is_periodic(self) -> bool:
        """Along all coordinates, so that the scheme is spectral and needs no extrapolation."""
        return all(line.ends == "PP" for line in self.lines)

    @property
    def order(self) -> int:
        """Order of the extrapolated scheme for smooth solutions."""
        closed = [line.ends for line in self.lines if line.ends != "PP"]
        if len(closed) < 2:
            return ORDER
        return CORNER_ORDER if len(set("".join(closed))) == 1 else MIXED_CORNER_ORDER


class FastPoissonSolver(AbstractReferenceSolver):
    """Fast transforms, extrapolated to order 8.

    Args:
        tolerance: relative L2 error estimate at which the refinement stops.
        cells: cells of the longest side on the finest grid, instead of the ladder; for convergence studies, a multiple of 16.
        most_points: of the finest grid; None for the default of the dimension.
    """

    name = "fast_poisson"
    order = ORDER

    def __init__(self, *, tolerance: float = 1e-10, cells: int | None = None, most_points: int | None = None) -> None:
        if cells is not None and (cells < 32 or cells % 16):
            raise ReferenceSolverError(f"the fast Poisson solver was given cells={cells}; expected a multiple of 16, 32 at least")
        self._tolerance, self._cells, self._most_points = tolerance, cells, most_points

    def supports(self, problem: Problem) -> Support:
        """Whether the problem is one constant-coefficient equation on a box with faces that transforms know."""
        try:
            system = _read(problem)
        except ReferenceSolverError as error:
            return Support(False, str(error))
        return Support(True, f"constant coefficients on a box, {len(system.lines)}-D, faces {', '.join(line.ends for line in system.lines)}")

    def solve(self, problem: Problem) -> GridSolution:
        """Halve the step until the error estimate meets the tolerance, the differences no longer fall, or the grid has its largest size.

        Raises:
            ReferenceSolverError: not supported; incompatible Neumann or periodic data; a resonance.
        """
        start = time.perf_counter()
        system = _read(problem)
        base = self._base(system)
        limit = self._most_points or MOST_POINTS[len(base)]
        (finest, rounding), estimate, level = _solve_level(system, base), np.inf, 0
        differences: list[float] = []
        while True:
            level += 1
            coarser, (finest, rounding) = finest, _solve_level(system, tuple(n * 2**level for n in base))
            shared = finest[(slice(None), *(slice(None, None, 2),) * len(base))]
            differences.append(float(np.linalg.norm(shared - coarser)) / max(float(np.linalg.norm(shared)), 1e-300))
            estimate = max(_error_estimate(differences, system.order), rounding)
            estimate = with_unseen(estimate, problem, _axes(system, finest))
            # Large differences may grow before they fall: beside a resonance, each grid has its own.
            stalls = len(differences) > 1 and differences[-1] > _LARGEST_RATIO * differences[-2] and differences[-1] < _RESOLVED
            too_large = np.prod([float(n) * 2 ** (level + 1) * _finest_multiple(system) for n in base]) > limit
            if level > 1 and ((level == 2 and self._cells is not None) or estimate <= self._tolerance or stalls or too_large):
                break
        return self._solution(system, finest, estimate, time.perf_counter() - start)

    def _base(self, system: _System) -> tuple[int, ...]:
        """Cells of the coarsest grid of the first level, per axis; two more levels follow at least."""
        longest = system.reading.longest
        waves = longest * float(np.max(system.reading.wavenumbers)) / (2 * np.pi)
        wanted = max(float(FIRST_CELLS), float(np.ceil(_CELLS_PER_WAVELENGTH * waves)))
        if self._cells is not None:
            wanted = self._cells / 4 / _finest_multiple(system)
        return tuple(max(2 if self._cells else 4, round(wanted * (line.high - line.low) / longest)) for line in system.lines)

    def _solution(self, system: _System, stack: Array, estimate: float, seconds: float) -> GridSolution:
        reading = system.reading
        symbols = reading.form.coordinates
        axes = tuple(_axes(system, stack).values())
        declaration = declaration_of(reading.problem.fields[0])
        smooth = stack if reading.shots is not None else stack[0]
        field = FieldOnGrid(declaration.name, axes, smooth, (None,) * len(stack), reading.shots, symbols)
        method = "Fourier transforms" if system.is_periodic else f"fast transforms on four grids, extrapolated to order {system.order}"
        notes = [f"cells: {', '.join(f'{s}: {len(a) - 1}' for s, a in zip(symbols, axes, strict=True))}", method]
        if reading.free_constant:
            notes.append(f"{reading.free_constant} conditions: the mean-free solution")
        if not np.isfinite(estimate):
            notes.append("the grids do not approach each other: the data are at, or very close to, a resonance of the closed box")
        return GridSolution(
            problem=reading.problem.name,
            coordinates=symbols,
            axes=dict(zip(symbols, axes, strict=True)),
            values={field.name: field.values},
            error_estimate=estimate,
            seconds=seconds,
            n_unknowns=int(np.prod(stack.shape[1:])),
            solver=self.name,
            order=system.order,
            notes=tuple(notes),
            fields={field.name: field},
        )


def _axes(system: _System, stack: Array) -> dict[Any, Array]:
    symbols = system.reading.form.coordinates
    return {s: np.linspace(line.low, line.high, n) for s, line, n in zip(symbols, system.lines, stack.shape[1:], strict=True)}


def _read(problem: Problem) -> _System:
    reading = read_box(problem)
    conditions, name = reading.conditions, problem.name
    if conditions.layers:
        raise ReferenceSolverError(f"`{name}` has an absorbing layer, in which the coefficients vary")
    diffusivities, reaction = _constant_coefficients(reading.form, name)
    if reading.jumps:
        raise ReferenceSolverError(f"the source of `{name}` jumps, and the extrapolation needs a smooth one")
    if narrowest_source(reading.form.source) < _NARROWEST_SOURCE * reading.longest:
        raise ReferenceSolverError(f"a source of `{name}` is narrower than 1/48 of the box, too narrow for a uniform grid")
    for row in conditions.rows:
        if row.a != 0 and row.b != 0:
            raise ReferenceSolverError(f"`{name}` has a Robin condition, which no sine or cosine transform diagonalises")
        if not sp.sympify(row.a + row.b).is_number:
            raise ReferenceSolverError(f"`{name}` has a condition with the variable factor `{row.a + row.b}`")
    lines = []
    for axis, ((low, high), diffusivity) in enumerate(zip(conditions.bounds, diffusivities, strict=True)):
        kinds = {row.side: "N" if row.is_neumann else "D" for row in conditions.rows if row.axis == axis}
        lines.append(_Line(low, high, diffusivity, "PP" if axis in conditions.joined else kinds[-1] + kinds[1]))
    return _System(reading, tuple(lines), reaction)


def _constant_coefficients(form: LinearForm, name: str) -> tuple[list[complex], complex]:
    """a_i per coordinate and c.

    Raises:
        ReferenceSolverError: a coefficient that varies, a first-order or a mixed term.
    """
    dimension = len(form.coordinates)
    factors: dict[tuple[int, ...], Any] = dict(form.derivatives)
    for term in form.fluxes:
        if term.along != term.towards:
            raise ReferenceSolverError(f"`{name}` has a flux across its gradient, which no transform diagonalises")
        if not sp.sympify(term.inner).is_number:
            raise ReferenceSolverError(f"the coefficient `{term.inner}` of `{name}` is not constant")
        index = tuple(2 * (axis == term.along) for axis in range(dimension))
        factors[index] = factors.get(index, sp.Integer(0)) + term.outer * term.inner
    for index, factor in factors.items():
        if sum(index) == 1 or max(index) == 1:
            raise ReferenceSolverError(f"`{name}` has a first-order or mixed derivative, which no sine or cosine transform diagonalises")
        if not sp.sympify(factor).is_number:
            raise ReferenceSolverError(f"the coefficient `{factor}` of `{name}` is not constant")
    plain = {index: _plain(complex(factor)) for index, factor in factors.items()}
    return [plain[tuple(2 * (i == axis) for i in range(dimension))] for axis in range(dimension)], plain.get((0,) * dimension, 0.0)


def _plain(value: complex) -> complex:
    return value.real if value.imag == 0 else value


def _finest_multiple(system: _System) -> int:
    return 1 if system.is_periodic else MULTIPLES[-1]


def _solve_level(system: _System, cells: tuple[int, ...]) -> tuple[Array, float]:
    """Values on the nodes of the finest grid of a level, both ends included, shots first, and the relative error that rounding may have left."""
    multiples = (1,) if system.is_periodic else MULTIPLES
    weights = [float(np.prod([m**2 / (m**2 - j**2) for j in multiples if j != m])) for m in multiples]
    solved = [_solve_shots(system, tuple(n * m for n in cells)) for m in multiples]
    _check_compatible(system, [(integral, size) for _, integral, size, _ in solved], weights)
    finest, stride, rounding = solved[-1][0], multiples[-1], max(s[3] for s in solved)
    if stride == 1:
        return finest, rounding
    every = (slice(None),)
    on_coarsest = [values[every + (slice(None, None, m),) * len(cells)] for (values, *_), m in zip(solved, multiples, strict=True)]
    extrapolated = sum(w * values for w, values in zip(weights, on_coarsest, strict=True))
    # What the finest grid lacks is smooth and small: interpolated from the coarsest nodes by quintic splines, it keeps the order 2 + 6.
    correction = np.asarray(extrapolated - on_coarsest[-1])
    for axis, n in enumerate(cells):
        spline = make_interp_spline(np.arange(n + 1.0), np.moveaxis(correction, axis + 1, 0), k=min(_SPLINE_DEGREE, n))
        correction = np.moveaxis(spline(np.arange(n * stride + 1) / stride), 0, axis + 1)
    return np.asarray(finest + correction), rounding


def _solve_shots(system: _System, cells: tuple[int, ...]) -> tuple[Array, Array, Array, float]:
    """Values (shots, nodes), the integral that must vanish and the integral of the moduli, per shot; the relative size of rounding errors."""
    eigenvalues = np.asarray(system.reaction)
    for axis, (line, n) in enumerate(zip(system.lines, cells, strict=True)):
        eigenvalues = eigenvalues + line.eigenvalues(n).reshape([-1 if i == axis else 1 for i in range(len(cells))])
    magnitude = np.abs(eigenvalues)
    singular = system.reading.free_constant is not None
    if not singular and np.min(magnitude) <= _RESONANT * abs(system.reaction):
        raise ReferenceSolverError(f"`{system.reading.problem.name}` is at a resonance of the closed box: {np.min(magnitude):.1e} is an eigenvalue")
    axes = [np.linspace(line.low, line.high, n + 1) for line, n in zip(system.lines, cells, strict=True)]
    results, integrals, sizes, rounding = [], [], [], 0.0
    for shot, source in enumerate(system.reading.form.source):
        whole, right = _load(system, source, shot, cells, axes)
        unknowns = tuple(line.unknowns(n) for line, n in zip(system.lines, cells, strict=True))
        integrals.append(_mean(system, right) * system.reading.measure)
        sizes.append(_mean(system, np.abs(right)) * system.reading.measure)
        spectrum = right
        for axis, line in enumerate(system.lines):
            spectrum = line.transform(spectrum, axis, inverse=False)
        if singular:
            spectrum[(0,) * len(cells)] = 0.0
            eigenvalues[(0,) * len(cells)] = 1.0
        # Rounding spreads over all modes evenly; the one beside a resonance, or the mean of nearly free data, is amplified most.
        noise = np.linalg.norm(spectrum) / np.sqrt(spectrum.size)
        spectrum = spectrum / eigenvalues
        amplified = float(noise / max(float(np.min(np.abs(eigenvalues))), 1e-300))
        rounding = max(rounding, _ROUNDING * amplified / max(float(np.linalg.norm(spectrum)), 1e-300))
        for axis, line in enumerate(system.lines):
            spectrum = line.transform(spectrum, axis, inverse=True)
        whole[unknowns] = spectrum if np.iscomplexobj(whole) else spectrum.real
        for axis, line in enumerate(system.lines):
            if line.ends == "PP":
                whole[(slice(None),) * axis + (-1,)] = np.take(whole, 0, axis=axis)
        results.append(whole)
    return np.stack(results), np.array(integrals), np.array(sizes), rounding


def _load(system: _System, source: Any, shot: int, cells: tuple[int, ...], axes: list[Array]) -> tuple[Array, Array]:
    """An array of all nodes with the Dirichlet values in it, and the right-hand side of the unknowns with what the faces add."""
    reading = system.reading
    coordinates = reading.form.coordinates
    points = list(np.meshgrid(*axes, indexing="ij"))
    right = np.array(evaluator(source, coordinates)(*points), dtype=complex if reading.is_complex else None)
    check_finite(right, source, points, coordinates)
    if np.iscomplexobj(right) and not reading.is_complex:
        raise ReferenceSolverError(f"`{reading.problem.name}` has a complex source and a real field; declare it with complex=True")
    whole = np.zeros(right.shape, dtype=right.dtype)
    for axis, line in enumerate(system.lines):
        if line.ends == "PP":
            first = (slice(None),) * axis + (0,)
            right[first] = 0.5 * (right[first] + np.take(right, -1, axis=axis))
    # Neumann before Dirichlet: where both meet, the node keeps its value.
    for row in sorted(reading.conditions.rows, key=lambda row: not row.is_neumann):
        _add_face(system, row, shot, cells, points, right, whole)
    return whole, right[tuple(line.unknowns(n) for line, n in zip(system.lines, cells, strict=True))]


def _add_face(system: _System, row: FaceRow, shot: int, cells: tuple[int, ...], points: list[Array], right: Array, whole: Array) -> None:
    """Move what is known of a face to the right-hand side: a_i g/h^2 beside a Dirichlet face, 2 a_i g/h on a Neumann face."""
    line = system.lines[row.axis]
    h = (line.high - line.low) / cells[row.axis]
    before = (slice(None),) * row.axis
    on_face = (*before, 0 if row.side < 0 else -1)
    value = evaluator(select_shot(row.value, shot) / (row.a + row.b), system.reading.form.coordinates)(*[p[on_face] for p in points])
    if np.iscomplexobj(value) and not np.iscomplexobj(right):
        raise ReferenceSolverError(f"`{system.reading.problem.name}` has complex data and a real field; declare it with complex=True")
    if row.is_neumann:
        right[on_face] -= 2 * line.diffusivity * value / h
        return
    right[(*before, 1 if row.side < 0 else -2)] -= line.diffusivity * value / h**2
    whole[on_face] = value


def _mean(system: _System, values: Array) -> Any:
    """Trapezoidal mean over the unknowns, for boxes without a Dirichlet face."""
    for line in reversed(system.lines):
        weights = np.ones(values.shape[-1])
        if line.ends == "NN":
            weights[[0, -1]] = 0.5
        values = values @ weights / weights.sum()
    return values


def _check_compatible(system: _System, integrals: list[tuple[Array, Array]], weights: list[float]) -> None:
    """Raise when the data of a problem that ignores constants do not balance; trapezoidal sums are extrapolated like the solution."""
    if system.reading.free_constant is None:
        return
    total = np.asarray(sum(w * integral for w, (integral, _) in zip(weights, integrals, strict=True)))
    worst = int(np.argmax(np.abs(total)))
    doubt = abs(total[worst] - integrals[-1][0][worst])
    if abs(total[worst]) > max(_INCOMPATIBLE * float(integrals[-1][1][worst]), float(doubt)):
        shown = f"{total[worst].real:.4g}" if np.imag(total[worst]) == 0 else f"{total[worst]:.4g}"
        raise ReferenceSolverError(
            f"`{system.reading.problem.name}` has {system.reading.free_constant} data whose integral is {shown}: the source minus what flows through "
            "the boundary must integrate to zero, else no solution exists"
        )


def _error_estimate(differences: list[float], order: int) -> float:
    """Error of the last of three or more solutions from the differences of successive ones; infinite for two."""
    if len(differences) < 2:
        return np.inf
    # Order 8 in full is seen at the nodes of the coarsest grid only; the splines between them converge less evenly.
    smallest = 0.5 ** min(order, ORDER - 1)
    ratio = float(np.clip(differences[-1] / max(differences[-2], 1e-300), smallest, _LARGEST_RATIO))
    estimate = _SAFETY * differences[-1] * ratio / (1 - ratio)
    observed = float(np.log2(max(differences[-2], 1e-300) / max(differences[-1], 1e-300)))
    return where_grids_approach(max(_ROUNDING, estimate), differences[-1], observed)
