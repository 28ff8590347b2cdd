"""Rays of a point source in the plane: where arrivals cross, and which of them comes first.

    dx/dT = p / s^2,   dp/dT = grad(s^2) / (2 s^2),   |p| = s,   started in all directions of the source

Input: squared slowness, box, source. Output: `RayFan`, and `ArrivalMap`: first arrivals at the nodes of a coarse grid. First arrivals are smooth
functions of the place but for the curves where two of them tie; a first arrival that ties once is never first again, so the rays that are still
first cover the box once, cut along those curves. Cutting the fan at the direction of each curve's tip leaves sectors in which the time is smooth.

Rays are followed beyond the box, where the expression of the slowness continues; `excess` says how much later the same path arrives when it
is pressed into the box, which bounds the difference of the two readings of such a declaration.

Reference: Vinje, Iversen and Gjoystdal 1993, Geophysics 58, for wavefronts cut into cells.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from pinnsiren.language.numeric import evaluator

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

CELLS = 96  # of the coarse grid along the longest side
STRIDE = 0.7  # of a cell per step at the fastest place
FIRST_RAYS, MOST_RAYS, ROUNDS = 192, 6000, 6
WIDEST_GAP = 1.5  # cells between neighbouring rays; wider ones get a ray in between
MARGIN = 0.25  # of the longest side: how far beyond the box rays are followed
MOST_STEPS = 3000
WIDEST_TRIANGLE = 10  # nodes along a side of a triangle of the fan that are looked at
STEEP = 4.0  # directions of neighbouring nodes that differ by this multiple of what they do in a uniform medium are separated by a kink
LEAST_JUMP = 0.02  # radians
ELSEWHERE = 2.0  # cells: rays that pass between two neighbouring nodes are nearer than this to them
MOST_CUTS = 24


@dataclass(frozen=True)
class RayFan:
    """Rays at equal steps of time.

    Attributes:
        angles: (n_rays,) directions at the source, increasing in [0, 2 pi).
        step: time step.
        points: (n_steps, n_rays, 2), NaN once a ray has left the followed region.
        excess: (n_steps, n_rays) how much later than T the path arrives when it is pressed into the box.
        inside: (n_steps, n_rays) whether the point lies in the box.
        drift: largest relative error of |p| = s, a measure of the error of the integration.
    """

    angles: Array
    step: float
    points: Array
    excess: Array
    inside: NDArray[np.bool_]
    drift: float

    @property
    def times(self) -> Array:
        """Times of the steps, (n_steps,)."""
        return np.asarray(self.step * np.arange(len(self.points)), dtype=float)


@dataclass(frozen=True)
class ArrivalMap:
    """First arrivals at the nodes of a coarse grid.

    Attributes:
        axes: node positions along both coordinates.
        times: (n_x, n_y), NaN where no ray arrives.
        angles: (n_x, n_y) direction at the source of the ray that arrives first.
        excess: (n_x, n_y), as for the rays.
        cuts: directions at which the fan is cut into sectors; empty when nothing crosses.
        labels: (n_x, n_y) sector of each node; where no ray arrives, that of the nearest node with one.
    """

    axes: tuple[Array, Array]
    times: Array
    angles: Array
    excess: Array
    cuts: Array
    labels: Ints

    @property
    def n_sectors(self) -> int:
        """Number of sectors."""
        return max(1, len(self.cuts))

    @property
    def missed(self) -> float:
        """Share of the nodes that no ray reaches."""
        return float(np.mean(np.isnan(self.times)))

    def sector_of(self, angles: Array) -> Ints:
        """Return the sector of directions."""
        if len(self.cuts) == 0:
            return np.zeros(np.shape(angles), dtype=np.int64)
        return np.asarray((np.searchsorted(self.cuts, angles, side="right") - 1) % len(self.cuts), dtype=np.int64)


def trace(square: Any, symbols: tuple[sp.Symbol, ...], box: tuple[tuple[float, float], ...], centre: tuple[float, ...]) -> RayFan:
    """Follow the rays of a source; more of them where they spread. See `_trace`, whose last results are kept."""
    return _trace(square, symbols, box, centre)


@lru_cache(maxsize=16)
def _trace(square: Any, symbols: tuple[sp.Symbol, ...], box: tuple[tuple[float, float], ...], centre: tuple[float, ...]) -> RayFan:
    evaluate = evaluator([square, *[sp.diff(square, symbol) for symbol in symbols]], symbols)
    limits = np.array(box)
    size = float(np.max(limits[:, 1] - limits[:, 0]))
    step, n_steps = _steps(evaluate, limits, np.array(centre), size)
    angles = 2 * np.pi * np.arange(FIRST_RAYS) / FIRST_RAYS
    points, excess, drift = _integrate(evaluate, limits, np.array(centre), angles, step, n_steps, size)
    for _ in range(ROUNDS):
        gap = np.linalg.norm(points - np.roll(points, -1, axis=1), axis=2)
        near = _within(points, limits, 0.02 * size) | _within(np.roll(points, -1, axis=1), limits, 0.02 * size)
        wide = np.nanmax(np.where(near, gap, 0.0), axis=0) > WIDEST_GAP * size / CELLS
        if not np.any(wide) or len(angles) + np.sum(wide) > MOST_RAYS:
            break
        following = np.append(angles[1:], angles[0] + 2 * np.pi)
        new = np.mod(0.5 * (angles + following)[wide], 2 * np.pi)
        more, more_excess, more_drift = _integrate(evaluate, limits, np.array(centre), new, step, n_steps, size)
        order = np.argsort(np.append(angles, new))
        angles = np.append(angles, new)[order]
        points = np.concatenate([points, more], axis=1)[:, order]
        excess = np.concatenate([excess, more_excess], axis=1)[:, order]
        drift = max(drift, more_drift)
    return RayFan(angles, step, points, excess, _within(points, limits, 0.0), drift)


def _steps(evaluate: Callable[[Array], list[Array]], limits: Array, centre: Array, size: float) -> tuple[float, int]:
    """Return the time step and the number of steps until every straight path through the box has arrived."""
    along = np.linspace(0, 1, 65)
    edges = [limits[:, 0] + (limits[:, 1] - limits[:, 0]) * np.array([a, b]) for a in along for b in along]
    slowness = np.sqrt(np.real(evaluate(np.array(edges))[0]))
    step = STRIDE * float(np.nanmin(slowness)) * size / CELLS
    rim = np.array([edge for edge in edges if np.any(np.isclose(edge, limits[:, 0])) or np.any(np.isclose(edge, limits[:, 1]))])
    middle = (np.arange(128) + 0.5) / 128
    paths = centre + middle[:, None, None] * (rim - centre)
    along_path = np.sqrt(np.real(evaluate(paths.reshape(-1, 2))[0])).reshape(128, len(rim))
    longest = float(np.max(np.mean(along_path, axis=0) * np.linalg.norm(rim - centre, axis=1)))
    return step, int(min(np.ceil(longest / step) + 2, MOST_STEPS))


def _within(points: Array, limits: Array, margin: float) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.all((points >= limits[:, 0] - margin) & (points <= limits[:, 1] + margin), axis=-1))


def _integrate(
    evaluate: Callable[[Array], list[Array]], limits: Array, centre: Array, angles: Array, step: float, n_steps: int, size: float
) -> tuple[Array, Array, float]:
    """Follow rays by the classical Runge-Kutta method; return points, excess and the drift of |p| = s."""

    def rates(state: Array) -> Array:
        square, *slopes = (np.real(values) for values in evaluate(state[:, :2]))
        return np.concatenate([state[:, 2:] / square[:, None], 0.5 * np.stack(slopes, axis=1) / square[:, None]], axis=1)

    start = float(np.sqrt(np.real(evaluate(centre[None, :])[0][0])))
    state = np.concatenate([np.tile(centre, (len(angles), 1)), start * np.stack([np.cos(angles), np.sin(angles)], axis=1)], axis=1)
    points, excess = np.full((n_steps, len(angles), 2), np.nan), np.zeros((n_steps, len(angles)))
    points[0] = state[:, :2]
    alive, drift = np.arange(len(angles)), 0.0
    for number in range(1, n_steps):
        here = state[:, :2]
        with np.errstate(all="ignore"):
            first = rates(state)
            second = rates(state + 0.5 * step * first)
            third = rates(state + 0.5 * step * second)
            fourth = rates(state + step * third)
            state = state + step / 6 * (first + 2 * second + 2 * third + fourth)
            late = excess[number - 1, alive] + _pressed(evaluate, limits, here, state[:, :2], step)
        keep = _within(state[:, :2], limits, MARGIN * size) & np.all(np.isfinite(state), axis=1)
        alive, state = alive[keep], state[keep]
        if len(alive) == 0:
            break
        points[number, alive], excess[number, alive] = state[:, :2], late[keep]
    if len(alive):
        square = np.real(evaluate(state[:, :2])[0])
        drift = float(np.max(np.abs(np.sum(state[:, 2:] ** 2, axis=1) / square - 1)))
    return points, excess, drift


def _pressed(evaluate: Callable[[Array], list[Array]], limits: Array, here: Array, there: Array, step: float) -> Array:
    """Return how much longer a step takes when it is pressed into the box; zero for steps inside."""
    outside = ~(_within(here, limits, 0.0) & _within(there, limits, 0.0))
    late = np.zeros(len(here))
    if np.any(outside):
        a, b = (np.clip(points[outside], limits[:, 0], limits[:, 1]) for points in (here, there))
        slowness = np.sqrt(np.abs(np.real(evaluate(0.5 * (a + b))[0])))
        late[outside] = slowness * np.linalg.norm(b - a, axis=1) - step
    return late


def first_arrivals(fan: RayFan, box: tuple[tuple[float, float], ...], centre: tuple[float, ...]) -> ArrivalMap:
    """Cut the fan into triangles, find the first of them at every node of a grid, and the sectors in which the time is smooth."""
    spacing = max(high - low for low, high in box) / CELLS
    counts = [max(8, int(np.ceil((high - low) / spacing))) + 1 for low, high in box]
    axes = (np.linspace(*box[0], counts[0]), np.linspace(*box[1], counts[1]))
    times, angles, excess = (array.reshape(counts) for array in _earliest(fan, axes))
    cuts = _cuts(fan, axes, times, angles, np.array(centre))
    unlabelled = ArrivalMap(axes, times, angles, excess, cuts, np.zeros(counts, dtype=np.int64))
    labels = unlabelled.sector_of(np.nan_to_num(angles))
    missing = np.isnan(times)
    if np.any(missing) and not np.all(missing):
        nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
        labels = labels[tuple(nearest)]
    return ArrivalMap(axes, times, angles, excess, cuts, labels)


def _earliest(fan: RayFan, axes: tuple[Array, Array]) -> tuple[Array, Array, Array]:
    """Return time, direction and excess of the first triangle over each node, (n_nodes,) each, NaN without one."""
    scale = np.array([axis[1] - axis[0] for axis in axes])
    grid = (fan.points - np.array([axis[0] for axis in axes])) / scale
    following = np.roll(grid, -1, axis=1)
    angles = np.stack([fan.angles, np.append(fan.angles[1:], fan.angles[0] + 2 * np.pi)], axis=1)
    steps, rays = np.meshgrid(np.arange(len(grid) - 1), np.arange(grid.shape[1]), indexing="ij")
    hits = []
    # Quadrilaterals (T, T + dt) x (ray, next ray), each as two triangles; entries are (step offset, ray offset) of the corners.
    for corners in (((0, 0), (1, 0), (1, 1)), ((0, 0), (1, 1), (0, 1))):
        vertices = np.stack([(following if ray else grid)[steps + later, rays] for later, ray in corners], axis=-2).reshape(-1, 3, 2)
        known = np.stack(
            [
                np.stack([(steps + later).ravel() * fan.step for later, _ in corners], axis=-1),
                np.stack([angles[rays, ray].ravel() for _, ray in corners], axis=-1),
                np.stack([np.roll(fan.excess, -ray, axis=1)[steps + later, rays].ravel() for later, ray in corners], axis=-1),
            ],
            axis=-1,
        )
        hits.append(_covered(vertices, known, axes))
    nodes, values = (np.concatenate(parts) for parts in zip(*hits, strict=True))
    order = np.lexsort((values[:, 0], nodes))
    nodes, values = nodes[order], values[order]
    kept = np.append(True, nodes[1:] != nodes[:-1]) if len(nodes) else np.zeros(0, dtype=bool)
    result = np.full((len(axes[0]) * len(axes[1]), 3), np.nan)
    result[nodes[kept]] = values[kept]
    return result[:, 0], np.mod(result[:, 1], 2 * np.pi), result[:, 2]


def _covered(vertices: Array, known: Array, axes: tuple[Array, Array]) -> tuple[Ints, Array]:
    """Return the nodes that triangles (n, 3, 2) cover and what is known at their corners, (n, 3, q), interpolated there."""
    shape = np.array([len(axis) for axis in axes])
    usable = np.all(np.isfinite(vertices), axis=(1, 2))
    vertices, known = vertices[usable], known[usable]
    low = np.maximum(np.ceil(vertices.min(axis=1) - 1e-9), 0).astype(np.int64)
    high = np.minimum(np.floor(vertices.max(axis=1) + 1e-9), shape - 1).astype(np.int64)
    usable = np.all(high >= low, axis=1) & np.all(high - low < WIDEST_TRIANGLE, axis=1)
    vertices, known, low, high = vertices[usable], known[usable], low[usable], high[usable]
    a, b, c = vertices[:, 0], vertices[:, 1], vertices[:, 2]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    nodes, values = [np.zeros(0, dtype=np.int64)], [np.zeros((0, known.shape[2]))]
    reach = np.max(high - low, axis=0, initial=0) + 1
    for offset in np.ndindex(int(reach[0]), int(reach[1])):
        chosen = np.all(low + offset <= high, axis=1) & (area != 0)
        node = (low + offset)[chosen]
        second = _cross(node - a[chosen], c[chosen] - a[chosen]) / area[chosen]
        third = _cross(b[chosen] - a[chosen], node - a[chosen]) / area[chosen]
        weights = np.stack([1 - second - third, second, third], axis=1)
        covers = np.all(weights >= -1e-9, axis=1)
        nodes.append((node[:, 0] * shape[1] + node[:, 1])[covers])
        values.append(np.einsum("nk,nkq->nq", weights[covers], known[chosen][covers]))
    return np.concatenate(nodes), np.concatenate(values)


def _cross(a: Array, b: Array) -> Array:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def _cuts(fan: RayFan, axes: tuple[Array, Array], times: Array, angles: Array, centre: Array) -> Array:
    """Return directions such that no two neighbouring nodes with a kink between them share a sector; empty when there is no kink.

    The pairs of directions that meet along one curve are nested around the direction of its tip, so the narrowest pair is cut in its middle first.
    """
    pairs = _kinks(fan, axes, times, angles, centre)
    left = pairs
    cuts: list[float] = []
    while len(left) and len(cuts) < MOST_CUTS:
        start, width = left[np.argmin(left[:, 1])]
        cuts.append(float(np.mod(start + 0.5 * width, 2 * np.pi)))
        left = left[~_between(cuts[-1], left)]
    for pair in pairs:
        # On a circle two directions are apart only when it is cut on the way round the back as well.
        if all(_between(cut, pair[None, :])[0] for cut in cuts):
            cuts.append(float(np.mod(pair[0] + 0.5 * pair[1] + np.pi, 2 * np.pi)))
    return np.sort(np.array(cuts))


def _between(cut: float, pairs: Array) -> NDArray[np.bool_]:
    """Return whether a direction lies between the two of each pair."""
    return np.asarray(np.mod(cut - pairs[:, 0], 2 * np.pi) < pairs[:, 1])


def _kinks(fan: RayFan, axes: tuple[Array, Array], times: Array, angles: Array, centre: Array) -> Array:
    """Return (first direction, width) of neighbouring nodes with a kink between them, (n, 2).

    Their directions differ by more than in a uniform medium, and the rays in between are elsewhere at that time: where rays only converge, those
    in between pass between the nodes.
    """
    spacing = max(float(axis[1] - axis[0]) for axis in axes)
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    found = []
    for axis in (0, 1):
        here, there = (
            tuple(np.take(array, range(start, array.shape[axis] - 1 + start), axis) for array in (angles, mesh, times)) for start in (0, 1)
        )
        near = np.minimum(*(np.linalg.norm(nodes - centre, axis=-1) for nodes in (here[1], there[1])))
        turn = np.mod(there[0] - here[0] + np.pi, 2 * np.pi) - np.pi
        with np.errstate(invalid="ignore", divide="ignore"):
            wide = (np.abs(turn) > STEEP * spacing / near + LEAST_JUMP) & (near > 2 * STEEP * spacing)
        first, width = np.where(turn > 0, here[0], there[0])[wide], np.abs(turn)[wide]
        middle, time = 0.5 * (here[1] + there[1])[wide], 0.5 * (here[2] + there[2])[wide]
        away = np.zeros(len(first))
        for share in (0.25, 0.5, 0.75):
            rays = np.searchsorted(fan.angles, np.mod(first + share * width, 2 * np.pi)) % len(fan.angles)
            steps = np.clip(np.rint(time / fan.step).astype(np.int64), 0, len(fan.points) - 1)
            away = np.maximum(away, np.nan_to_num(np.linalg.norm(fan.points[steps, rays] - middle, axis=1), nan=np.inf))
        kink = away > ELSEWHERE * spacing
        found.append(np.stack([first[kink], width[kink]], axis=1))
    return np.concatenate(found)
