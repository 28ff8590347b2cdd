"""What the data leave open: places of coefficient fields, scalars and combinations of both.

The prior of `noise_balance` takes its size from the data: where they say nothing, it is as sure as where they speak. Here the question is put without
it. Structures not finer than `RESOLUTION`, a priori anything within a factor of e, are compared before and after the data: where less than half of
the spread is gone, the value rests on smoothness and on the start, and its standard error is that of ignorance, what the bounds allow. The question
has features of its own, since those of a fit may be too few to tell one place from another. Input: coefficients and a linearisation. Output:
`Ignorance`, and its words.
"""

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from pinnsiren.charts.spectra import Frequencies
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.ir import MultiIndex
from pinnsiren.language.symbols import declaration_of
from pinnsiren.training.coefficient_basis import CoefficientBasis, build_coefficient, draw_structures
from pinnsiren.training.method import StateTree
from pinnsiren.training.noise_balance import Reduced, Shape, scalar_factor, with_scalars

Array = NDArray[np.float64]
RESOLUTION = 0.15  # of the half length of the coefficient's domain; an algebraic spectrum is correlated over twice that, an eighth of the domain
OPEN = 0.5  # of the spread before the data: above, a value is not determined
FINEST_WAVE = 3 / RESOLUTION  # where the algebraic spectrum has fallen to a thirtieth
FIELD_WAVE = 1.5 * FINEST_WAVE  # of the fields, whose features have to carry the answer: else they speak against a coefficient that data allow
LARGEST_QUESTION = 1500  # features of the fields
REDUNDANCY, MOST_FEATURES = 6.0, 400  # of the coefficients
SMALLEST_SHARE = 0.02  # of the domain: below, nothing is said in words
FINEST = 1e-6  # relative errors of rows below this do not count: a gradient that is smaller comes from rounding, and determines nothing
GROWTH = float(np.e - 1)  # of a positive coefficient that nothing determines, relative: a factor of e
WIDE = 3.0  # ratio of positive bounds above which ignorance is a factor and not a difference
PLACED = 1e-6
MOST_PLACES = 3
NEIGHBOURS = 2.5  # mean distances of points of one place


@dataclass(frozen=True)
class Ignorance:
    """Spread before and after the data, at the resolution that is asked for.

    Attributes:
        bases: per coefficient field, the features of the question.
        thetas: per coefficient field, its place in these features.
        before: (n_thetas,), standard deviations of the parameters of all coefficient fields.
        after: (n_parameters, n_directions), square root of the covariance of all parameters and scalars; empty where it is not known.
    """

    bases: tuple[CoefficientBasis, ...] = ()
    thetas: tuple[Array, ...] = ()
    before: Array = dataclass_field(default_factory=lambda: np.zeros(0))
    after: Array = dataclass_field(default_factory=lambda: np.zeros((0, 0)))

    def spreads(self, index: int, points: Array, orders: MultiIndex) -> tuple[Array, Array]:
        """Return the spread of a coefficient field or its derivative before and after the data, each (n_points,); zero outside its support."""
        jacobian = self.bases[index].jacobian(points, {orders: np.ones(len(points))}, self.thetas[index])
        start = sum(basis.n_features for basis in self.bases[:index])
        rows = slice(start, start + self.bases[index].n_features)
        return np.linalg.norm(jacobian * self.before[rows], axis=1), np.linalg.norm(jacobian @ self.after[rows], axis=1)

    def share(self, index: int, points: Array) -> Array:
        """Return the share of the spread of a coefficient field that the data leave, (n_points,); zero outside its support."""
        before, after = self.spreads(index, points, (0,) * points.shape[1])
        return np.asarray(np.where(before > 0, after / np.maximum(before, 1e-300), 0.0))

    def scalar_error(self, index: int, n_scalars: int) -> float:
        """Return the spread of a scalar after the data, of a complex one that of its modulus."""
        if not self.bases:
            return 0.0
        first = len(self.after) - 2 * n_scalars + index
        return float(np.linalg.norm(self.after[[first, first + n_scalars]]))

    def state(self) -> StateTree:
        """Return frequencies, places and spreads."""
        return {
            "waves": {str(i): basis.frequencies.waves for i, basis in enumerate(self.bases)},
            "phases": {str(i): basis.frequencies.phases for i, basis in enumerate(self.bases)},
            "thetas": {str(i): theta for i, theta in enumerate(self.thetas)},
            "before": self.before,
            "after": self.after,
        }


def ignorance_from_state(compiled: CompiledProblem, state: StateTree) -> Ignorance:
    """Rebuild what the data leave open."""
    bases, thetas = [], []
    for i in range(len(state["thetas"])):
        waves = np.asarray(state["waves"][str(i)])
        bases.append(build_coefficient(compiled, i, Frequencies(waves, np.zeros((len(waves), 0)), np.asarray(state["phases"][str(i)]))))
        thetas.append(np.asarray(state["thetas"][str(i)]))
    return Ignorance(tuple(bases), tuple(thetas), np.atleast_1d(state["before"]), np.asarray(state["after"]))


def questions(
    compiled: CompiledProblem, old_bases: tuple[CoefficientBasis, ...], old_thetas: tuple[Array, ...], points: Array, seed: int
) -> tuple[tuple[CoefficientBasis, ...], tuple[Array, ...]]:
    """Return coefficient fields in features that can ask for structures down to the resolution, and their places in them."""
    zero, bases, thetas = (0,) * points.shape[1], [], []
    for k, (old, theta) in enumerate(zip(old_bases, old_thetas, strict=True)):
        basis = build_coefficient(compiled, k, draw_structures(compiled, k, FINEST_WAVE, REDUNDANCY, MOST_FEATURES, seed + k))
        matrix = basis.basis.matrix(points, {zero: np.ones(len(points))})
        # The linearisation is needed near the coefficient, not at it: a cut-off keeps features that the points hardly tell apart small.
        thetas.append(np.linalg.lstsq(matrix, old.basis.evaluate(points, zero, theta[:, None])[:, 0], rcond=PLACED)[0])
        bases.append(basis)
    return tuple(bases), tuple(thetas)


def deviations(bases: tuple[CoefficientBasis, ...]) -> Array:
    """Return standard deviations of the parameters under which every transformed coefficient has the standard deviation one at a point."""
    shape, pieces = Shape("algebraic", RESOLUTION), []
    for basis in bases:
        raw = shape.values(basis.wavenumbers)
        constant = basis.wavenumbers == 0
        raw[constant] = 1.0  # no more than any other long wave: what is known of the mean says little of a place
        # Features come as cosines and sines of one wave: their squares add up to one, and the sine of the constant is zero.
        variance = 0.5 * float(np.sum(raw[constant] ** 2)) + 0.5 * float(np.sum(raw[~constant] ** 2))
        pieces.append(raw / np.sqrt(variance))
    return np.concatenate(pieces) if pieces else np.zeros(0)


def find_ignorance(reduced: Reduced, bases: tuple[CoefficientBasis, ...], thetas: tuple[Array, ...], sigma: float) -> Ignorance:
    """Compare the spread before and after the data.

    Args:
        reduced: the linearisation at the model, without rows of penalties.
        bases, thetas: what `questions` returned.
        sigma: level of the errors of a row: noise, or what the expansion leaves of the equations.
    """
    before = deviations(bases)
    basis, inverse, _ = scalar_factor(reduced)
    spread = np.zeros((0, 0))
    if len(before):
        matrix = (reduced.thetas - basis @ (basis.T @ reduced.thetas)) * before
        _, s, vt = np.linalg.svd(matrix, full_matrices=True)
        spread = before[:, None] * (vt.T * (sigma / np.hypot(s, sigma)))
    return Ignorance(bases, thetas, before, with_scalars(reduced, basis, inverse, spread, sigma))


def ignorance_of(value: Array, bounds: tuple[float, float]) -> Array:
    """Return the standard error of values about which nothing is known but their bounds."""
    low, high = bounds
    size = np.maximum(np.abs(value), float(np.sqrt(np.mean(value**2))))
    if np.isfinite(low) and np.isfinite(high):
        even = np.sqrt((high - low) ** 2 / 12 + (value - 0.5 * (low + high)) ** 2)
        return np.asarray(np.minimum(even, GROWTH * size) if low >= 0 and high > WIDE * low else even)
    if np.isfinite(low) or np.isfinite(high):
        return np.asarray(GROWTH * np.maximum(size, np.abs(value - (low if np.isfinite(low) else high))))
    return size


def where(points: Array, chosen: NDArray[np.bool_], symbols: tuple[Any, ...]) -> str:
    """Describe in words the places that chosen points fill: ranges of the coordinates, the largest places first."""
    inside = points[chosen]
    limits = points.min(axis=0), points.max(axis=0)
    scaled = (points - limits[0]) / np.maximum(limits[1] - limits[0], 1e-300)
    tree = cKDTree(scaled)
    reach = NEIGHBOURS * float(np.median(np.asarray(tree.query(scaled, k=2)[0])[:, 1])) if len(points) > 1 else 1.0
    reach = max(reach, NEIGHBOURS * len(points) ** (-1 / points.shape[1]))
    graph = cKDTree(scaled[chosen]).sparse_distance_matrix(cKDTree(scaled[chosen]), reach)
    count, labels = connected_components(graph, directed=False)
    order = np.argsort(-np.bincount(labels))
    places = []
    for label in order[:MOST_PLACES]:
        own = inside[labels == label]
        places.append(", ".join(f"{symbol} from {low:.2g} to {high:.2g}" for symbol, low, high in zip(symbols, own.min(0), own.max(0), strict=True)))
    return "; ".join(places) + ("; and elsewhere" if count > MOST_PLACES else "")


def open_places(ignorance: Ignorance, points: Array, symbols: tuple[Any, ...]) -> list[str]:
    """Return a sentence part per coefficient field that is not determined somewhere."""
    parts = []
    for index, basis in enumerate(ignorance.bases):
        left = ignorance.share(index, points) > OPEN
        share = float(np.mean(left))
        if share < SMALLEST_SHARE:
            continue
        name = f"`{declaration_of(basis.candidate).name}`"
        if share > 1 - SMALLEST_SHARE:
            parts.append(f"{name} anywhere")
        else:
            places = where(points[:, list(basis.own)], left, tuple(symbols[axis] for axis in basis.own))
            parts.append(f"{name} in about {100 * share:.0f} % of the domain ({places})")
    return parts
