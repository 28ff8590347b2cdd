"""Shots in a speed map: sources and receivers anywhere, walls or absorbing layers on the faces.

    c^-2 u_tt - Lap u = sum_s w_s(t) delta(x - x_s)     or initial data,

on the nodes of a uniform grid that the speed map covers; layers are added around it, with the speed continued along the normal.

The map from wavelets to traces is linear and does not depend on the instant, and it is reciprocal to rounding. Its exact transpose is therefore
the same computation with sources and receivers exchanged and time reversed: `AcousticPropagator.adjoint`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

from ..off_grid import MOST_HALF_WIDTH, interpolation_matrix
from ..real_arrays import real_array
from .absorbing_layers import AbsorbingLayer, LayerDesign, design_layer
from .free_memory import check_memory
from .line_operators import LineOperator
from .stepping import Drive, TimeStepper, WaveOperator, largest_time_step
from .wavelets import highest_frequency

Array = NDArray[Any]
# Called after every step with the number of the step and the fields of the box before and after it.
Observer = Callable[[int, Array, Array], None]

FACES = ("layer", "free_surface", "dirichlet", "neumann")
FEWEST_POINTS_PER_WAVELENGTH = 4.0
_PARITY = {"layer": -1, "free_surface": -1, "dirichlet": -1, "neumann": 1}


@dataclass(frozen=True)
class Shot:
    """What the receivers recorded.

    Attributes:
        times: (n_times,).
        traces: (n_receivers, n_times).
        snapshot_times: (n_snapshots,).
        snapshots: (n_snapshots, *shape of the speed map).
    """

    times: Array
    traces: Array
    snapshot_times: Array
    snapshots: Array


class AcousticPropagator:
    """Explicit wave propagation on a grid.

    Args:
        speed: c on the nodes, 1-D to 3-D.
        spacing: step of the grid, one number or one per axis.
        dt: time step, of the wavelets and of the traces.
        frequency: dominant frequency of what is to be absorbed; needed with layers.
        origin: position of the first node; zero when not given.
        order: in space, 2, 4 or 8.
        time_order: 2 or 4.
        faces: per axis what stands before and behind: `"layer"` (everywhere when not given), `"free_surface"` or `"dirichlet"` (u = 0), `"neumann"`.
        layer_cells: thickness of the layers, instead of the chosen one.
        half_width: of the interpolation to sources and receivers, see `off_grid`.

    Raises:
        ReferenceSolverError: a speed map of wrong shape or with values that are not positive, a time step beyond the CFL limit (the message gives
            the largest one), a layer thinner than a quarter wavelength.
    """

    def __init__(
        self,
        speed: ArrayLike,
        spacing: float | Sequence[float],
        dt: float,
        *,
        frequency: float | None = None,
        origin: Sequence[float] | None = None,
        order: int = 8,
        time_order: int = 4,
        faces: Sequence[tuple[str, str]] | None = None,
        layer_cells: int | None = None,
        half_width: int = 6,
    ) -> None:
        self.speed, self.spacing = checked_speed(speed, spacing)
        self.dt, self.order, self.half_width = float(real_array("dt", dt)), order, half_width
        self.origin = (0.0,) * self.speed.ndim if origin is None else tuple(float(o) for o in real_array("the origin", origin).ravel())
        if len(self.origin) != self.speed.ndim or not np.all(np.isfinite(self.origin)):
            raise ReferenceSolverError(f"origin={origin} for a speed map of {self.speed.ndim} axes; expected one finite position per axis")
        if half_width not in range(1, MOST_HALF_WIDTH + 1):
            raise ReferenceSolverError(f"the propagator was given half_width={half_width}; expected a whole number from 1 to {MOST_HALF_WIDTH}")
        self.faces = _checked_faces(faces, self.speed.ndim)
        if time_order not in (2, 4):
            raise ReferenceSolverError(f"the propagator was given time_order={time_order}; its orders are 2 and 4")
        self.time_order = time_order
        self.design = self._design(frequency, layer_cells)
        # Undamped cells between map and layer: weights of sources and receivers do not reach into the layer, which would cost reciprocity.
        thickness = self.design.cells + half_width if self.design is not None else 0
        pads = [tuple(thickness if face == "layer" else 0 for face in pair) for pair in self.faces]
        self.box = tuple(slice(before, before + n) for (before, _), n in zip(pads, self.speed.shape, strict=True))
        padded = np.pad(self.speed, pads, mode="edge")
        check_memory(8 * padded.size, 8, f"the propagator of {' x '.join(map(str, padded.shape))} nodes")
        lines = [
            LineOperator(n, h, order, (_end(pair[0], order), _end(pair[1], order)))
            for n, h, pair in zip(padded.shape, self.spacing, self.faces, strict=True)
        ]
        fastest = float(np.max(self.speed))
        self.largest_dt = largest_time_step(fastest, lines, time_order, layers=self.design is not None)
        if not 0 < self.dt <= self.largest_dt * (1 + 1e-12):
            raise ReferenceSolverError(
                f"dt={self.dt:g} violates the CFL condition: at the speed {fastest:g} this grid (steps {', '.join(f'{h:g}' for h in self.spacing)}, "
                f"order {order} in space, {time_order} in time) is stable up to dt={self.largest_dt:.6g}; take a smaller dt"
            )
        layers = [
            AbsorbingLayer(line, self.design, face=(axis, side), speed=fastest, dt=self.dt, shape=padded.shape, n_levels=time_order // 2)
            for axis, (line, pair) in enumerate(zip(lines, self.faces, strict=True))
            for side, face in zip((-1, 1), pair, strict=True)
            if face == "layer" and self.design is not None
        ]
        self.operator = WaveOperator(padded**2, lines, layers)
        self.stepper = TimeStepper(self.operator, self.dt, time_order)
        self._walls = [
            _wall_index(axis, place, padded.ndim)
            for axis, pair in enumerate(self.faces)
            for place, face in zip((0, -1), pair, strict=True)
            if face in ("free_surface", "dirichlet")
        ]

    @property
    def axes(self) -> tuple[Array, ...]:
        """Node positions of the speed map per axis."""
        return tuple(o + h * np.arange(n) for o, h, n in zip(self.origin, self.spacing, self.speed.shape, strict=True))

    def shoot(
        self, sources: ArrayLike, wavelets: ArrayLike, receivers: ArrayLike, *, snapshot_every: int | None = None, observe: Observer | None = None
    ) -> Shot:
        """Record one shot; several sources act together.

        Args:
            sources: (n_sources, n_axes), physical units, anywhere inside the map.
            wavelets: (n_times,) for all, or (n_sources, n_times), at 0, dt, 2 dt, ...; they count as zero before, so let them begin near zero.
            receivers: (n_receivers, n_axes).
            snapshot_every: steps between snapshots; none when not given.
            observe: called after every step.

        Returns:
            Traces of shape (n_receivers, n_times), from the instant 0 on.

        Raises:
            ReferenceSolverError: positions in a layer or outside, wrong shapes, fewer than four points per shortest wavelength, too little memory.
        """
        injection = self.point_weights("sources", sources)
        signals = self.checked_wavelets(wavelets, injection.shape[0])
        return self._driven(injection, signals, self.point_weights("receivers", receivers), snapshot_every, observe)

    def adjoint(self, sources: ArrayLike, residuals: ArrayLike, receivers: ArrayLike) -> Array:
        """Apply the transpose of the map from wavelets to traces: `<shoot(w).traces, d> = <w, adjoint(d)>` to rounding.

        Args:
            sources: (n_sources, n_axes), as in `shoot`.
            residuals: (n_receivers, n_times).
            receivers: (n_receivers, n_axes), as in `shoot`.

        Returns:
            (n_sources, n_times).
        """
        injection = self.point_weights("receivers", receivers)
        signals = np.atleast_2d(np.asarray(residuals, dtype=float))
        if signals.shape[0] != injection.shape[0]:
            raise ReferenceSolverError(f"residuals of shape {signals.shape} for {injection.shape[0]} receivers; expected one trace per receiver")
        return self._driven(injection, signals[:, ::-1], self.point_weights("sources", sources), None, None).traces[:, ::-1]

    def evolve(
        self,
        value: ArrayLike,
        rate: ArrayLike | None = None,
        *,
        n_times: int,
        receivers: ArrayLike | None = None,
        snapshot_every: int | None = None,
        observe: Observer | None = None,
    ) -> Shot:
        """Propagate initial data without sources; arguments as in `shoot`.

        Args:
            value: u at the start, of the shape of the speed map; it continues as zero in the layers.
            rate: u_t at the start; zero when not given.
            n_times: number of instants, the start included.
        """
        fields = [np.zeros(self.operator.shape) for _ in range(2)]
        for field, given, name in zip(fields, (value, rate), ("value", "rate"), strict=True):
            if given is not None:
                data = real_array(f"the initial {name}", given)
                if data.shape != self.speed.shape or not np.all(np.isfinite(data)):
                    raise ReferenceSolverError(f"the initial {name} has shape {data.shape}; expected finite numbers of shape {self.speed.shape}")
                field[self.box] = data
                self.pin_walls(field)
        sampling = self.point_weights("receivers", receivers) if receivers is not None else sparse.csr_matrix((0, self.speed.size))
        recorder = _Recorder(self, sampling, n_times, snapshot_every, observe)
        recorder.record(0, fields[0], fields[0])
        self.stepper.start(fields[0], fields[1], self._at_rest, self._at_rest)
        self.pin_walls(self.stepper.now)
        for step in range(1, int(n_times)):
            recorder.record(step, self.stepper.before, self.stepper.now)
            if step < n_times - 1:
                self.stepper.advance(self._at_rest)
                self.pin_walls(self.stepper.now)
        return recorder.shot()

    def _driven(
        self, injection: sparse.csr_matrix, signals: Array, sampling: sparse.csr_matrix, snapshot_every: int | None, observe: Observer | None
    ) -> Shot:
        stepper, n_times = self.stepper, signals.shape[-1]
        stepper.operator.reset()
        stepper.before[...], stepper.now[...] = 0, 0
        recorder = _Recorder(self, sampling, n_times, snapshot_every, observe)
        forces = self.source_terms(injection, signals)
        for step in range(n_times):
            stepper.advance(forces(step))
            self.pin_walls(stepper.now)
            recorder.record(step, stepper.before, stepper.now)
        return recorder.shot()

    def source_terms(self, injection: sparse.csr_matrix, signals: Array) -> Callable[[int], Drive]:
        """What drives the step that leads to instant `n`, as a function of n.

        Args:
            injection: (n_sources, n_nodes), see `point_weights`.
            signals: (n_sources, n_times).
        """
        transposed = injection.T.tocsr()
        touched = np.flatnonzero(np.diff(transposed.indptr))
        # c^2 f on the touched nodes, f the density of the source: weight over volume.
        scale = (self.operator.squared_speed / self.operator.node_volumes).ravel()[touched]
        density = sparse.diags(scale) @ transposed[touched]
        # One instant before the first sample its second difference acts already: without that step the map would depend on the instant.
        padded = np.pad(signals, ((0, 0), (2, 1)))
        curvature = (padded[:, 2:] - 2 * padded[:, 1:-1] + padded[:, :-2]) / self.dt**2

        def forces(step: int) -> Drive:
            amplitudes = (density @ padded[:, step + 1], density @ curvature[:, step])

            def drive(k: int, v: Array) -> None:
                v.reshape(-1)[touched] += amplitudes[k - 1]
                self.pin_walls(v)

            return drive

        return forces

    def _at_rest(self, k: int, v: Array) -> None:
        self.pin_walls(v)

    def pin_walls(self, v: Array) -> None:
        """Set u = 0 on free surfaces and Dirichlet walls."""
        for wall in self._walls:
            v[wall] = 0

    def point_weights(self, kind: str, points: ArrayLike) -> sparse.csr_matrix:
        """Interpolation to points inside the map, from the nodes of the padded grid."""
        where = np.atleast_2d(real_array(kind, points))
        if where.ndim != 2 or not len(where) or where.shape[1] != self.speed.ndim or not np.all(np.isfinite(where)):
            raise ReferenceSolverError(f"{kind} of shape {np.shape(points)}; expected finite positions of shape (n, {self.speed.ndim})")
        low, high = (np.array([axis[end] for axis in self.axes]) for end in (0, -1))
        outside = np.any((where < low - 1e-9 * (high - low)) | (where > high + 1e-9 * (high - low)), axis=1)
        if np.any(outside):
            ranges = " x ".join(f"[{a:g}, {b:g}]" for a, b in zip(low, high, strict=True))
            raise ReferenceSolverError(
                f"{int(outside.sum())} {kind} lie in the absorbing layer or outside the grid {ranges}, the first at "
                f"{tuple(float(c) for c in where[outside][0])}; move them inside or enlarge the speed map"
            )
        starts = [axis[0] - h * box.start for axis, h, box in zip(self.axes, self.spacing, self.box, strict=True)]
        nodes = [start + h * np.arange(n) for start, h, n in zip(starts, self.spacing, self.operator.shape, strict=True)]
        parities = [(_PARITY[before], _PARITY[behind]) for before, behind in self.faces]
        return interpolation_matrix(nodes, where, self.half_width, parities=parities)

    def checked_wavelets(self, wavelets: ArrayLike, n_sources: int) -> Array:
        """The wavelets as (n_sources, n_times).

        Raises:
            ReferenceSolverError: wrong shape, samples that are not finite, fewer than four points per shortest wavelength.
        """
        signals = real_array("the wavelets", wavelets)
        if signals.ndim not in (1, 2) or (signals.ndim == 2 and len(signals) != n_sources) or signals.shape[-1] < 2:
            raise ReferenceSolverError(
                f"wavelets of shape {signals.shape} for {n_sources} sources; expected (n_times,) or ({n_sources}, n_times)"
            )
        if not np.all(np.isfinite(signals)):
            raise ReferenceSolverError("the wavelets hold NaN or infinite samples")
        signals = np.broadcast_to(signals, (n_sources, signals.shape[-1]))
        self._check_resolution(signals)
        return signals

    def _check_resolution(self, signals: Array) -> None:
        highest = highest_frequency(signals, self.dt)
        if highest == 0:
            return
        slowest, coarsest = float(np.min(self.speed)), max(self.spacing)
        points = slowest / highest / coarsest
        if points < FEWEST_POINTS_PER_WAVELENGTH:
            needed = slowest / highest / FEWEST_POINTS_PER_WAVELENGTH
            shape = " x ".join(str(int(np.ceil(h * (n - 1) / needed)) + 1) for h, n in zip(self.spacing, self.speed.shape, strict=True))
            raise ReferenceSolverError(
                f"the wavelet holds frequencies up to {highest:.4g}; at the speed {slowest:g} a step of {coarsest:g} gives {points:.2g} points per "
                f"wavelength. The grid needs four at least: a step of {needed:.4g} or less, {shape} nodes"
            )

    def _design(self, frequency: float | None, cells: int | None) -> LayerDesign | None:
        if not any(face == "layer" for pair in self.faces for face in pair):
            return None
        if frequency is None or not 0 < frequency < np.inf:
            raise ReferenceSolverError(f"absorbing layers were given frequency={frequency}; pass the dominant frequency of the sources")
        if cells is not None and cells != int(cells):
            raise ReferenceSolverError(f"the layers were given layer_cells={cells}; expected a whole number of cells")
        return design_layer(min(self.spacing), float(np.max(self.speed)), frequency, cells=cells)


class _Recorder:
    """Collects traces and snapshots of the box."""

    def __init__(
        self, propagator: AcousticPropagator, sampling: sparse.csr_matrix, n_times: int, snapshot_every: int | None, observe: Observer | None
    ) -> None:
        if n_times != int(n_times) or n_times < 2 or (snapshot_every is not None and snapshot_every < 1):
            given = f"n_times={n_times}, snapshot_every={snapshot_every}"
            raise ReferenceSolverError(f"a shot was given {given}; expected two instants or more, and one step or more between snapshots")
        self._sampling, self._observe, self._every = sampling, observe, snapshot_every
        self._box, self._dt = propagator.box, propagator.dt
        n_times = int(n_times)
        kept = (n_times - 1) // snapshot_every + 1 if snapshot_every else 0
        size = 8 * (kept * propagator.speed.size + n_times * sampling.shape[0])
        check_memory(size, 1, f"{kept} snapshots of {propagator.speed.size} nodes and {sampling.shape[0]} traces of {n_times} samples")
        self._traces = np.zeros((sampling.shape[0], n_times))
        self._snapshots = np.zeros((kept, *propagator.speed.shape))

    def record(self, step: int, before: Array, now: Array) -> None:
        """Keep the instant `step`."""
        if self._sampling.shape[0]:
            self._traces[:, step] = self._sampling @ now.ravel()
        if self._every and step % self._every == 0:
            self._snapshots[step // self._every] = now[self._box]
        if self._observe is not None:
            self._observe(step, before[self._box], now[self._box])

    def shot(self) -> Shot:
        """Everything collected."""
        times = self._dt * np.arange(self._traces.shape[1])
        return Shot(times, self._traces, times[:: self._every][: len(self._snapshots)] if self._every else times[:0], self._snapshots)


def checked_speed(speed: ArrayLike, spacing: float | Sequence[float]) -> tuple[Array, tuple[float, ...]]:
    """The speed map and one step per axis.

    Raises:
        ReferenceSolverError: wrong number of axes, values that are not positive and finite, steps that are not positive.
    """
    values = real_array("the speed map", speed)
    if values.ndim not in (1, 2, 3) or min(values.shape) < 2:
        raise ReferenceSolverError(f"the speed map has the shape {values.shape}; expected one, two or three axes with two nodes or more each")
    # Before anything of its size is made.
    check_memory(8 * values.size, 8, f"the propagator of {' x '.join(map(str, values.shape))} nodes")
    if not np.all(np.isfinite(values)) or np.min(values) <= 0:
        bad = int(np.sum(~(np.isfinite(values) & (values > 0))))
        worst = values[~(np.isfinite(values) & (values > 0))].ravel()[0]
        raise ReferenceSolverError(f"the speed map holds {bad} values that are not positive numbers, such as {worst:g}; speeds must be positive")
    steps = (float(spacing),) * values.ndim if np.isscalar(spacing) else tuple(float(h) for h in spacing)  # type: ignore[union-attr, arg-type]
    if len(steps) != values.ndim or not all(np.isfinite(h) and h > 0 for h in steps):
        raise ReferenceSolverError(f"spacing={spacing} does not fit a speed map of shape {values.shape}; expected one positive step, or one per axis")
    return values.copy(), steps


def _checked_faces(faces: Sequence[tuple[str, str]] | None, n_axes: int) -> tuple[tuple[str, str], ...]:
    if faces is None:
        return (("layer", "layer"),) * n_axes
    pairs = tuple((str(pair[0]), str(pair[1])) for pair in faces)
    if len(pairs) != n_axes or any(face not in FACES for pair in pairs for face in pair):
        raise ReferenceSolverError(f"faces={faces} for {n_axes} axes; expected a pair per axis, each of {', '.join(FACES)}")
    return pairs


def _end(face: str, order: int) -> str:
    """Order 4 has closures that ask for no symmetry; the other orders use images."""
    if face == "layer":
        return "open"
    if face == "neumann":
        return "flux" if order == 4 else "even"
    return "pinned" if order == 4 else "odd"


def _wall_index(axis: int, place: int, n_axes: int) -> tuple[Any, ...]:
    index: list[Any] = [slice(None)] * n_axes
    index[axis] = place
    return tuple(index)
