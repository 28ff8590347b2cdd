"""How much of a coefficient field the data support: prior against noise by the largest evidence.

Linearised, the data y = M z + e see the parameters z of the coefficient fields through M; e is noise of one standard deviation sigma. A priori z is
normal with standard deviations tau * shape(|w|) that fall with the wavenumber w of its feature: smooth coefficients are more likely. Smoothness, tau
and, where it is not declared, sigma are those under which the data are most probable (type-II maximum likelihood). The posterior then gives both the
coefficient and its standard errors. Data without noise need no other rule: sigma falls to the level of rounding and the prior with it.

Scalars have a flat prior: their columns are projected out first.

Reference: MacKay (1992), Bayesian interpolation, Neural Computation 4, section 4; Rasmussen and Williams (2006), chapter 5.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# Lengths of correlation in half lengths of the coefficient's domain, from a fiftieth to more than the domain.
GAUSSIAN_LENGTHS = (0.05, 0.1, 0.2, 0.35, 0.6, 1.0)
ALGEBRAIC_LENGTHS = (0.15, 0.5, 1.5)
ALGEBRAIC_POWER = 1.5  # of 1 + (length w)^2: continuous coefficients with kinks
SMALLEST_SHAPE = 1e-9  # features that a prior forbids stay in the matrix without effect
N_GRID = 161  # values of noise against prior, over `DECADES`: a tenth to a fifth of a decade
DECADES = 32
ROUNDING = 1e-15
NOT_DETERMINED = 1e-9  # share of a scalar's effect that no change of the fields undoes; rounding leaves 1e-13


@dataclass(frozen=True)
class Shape:
    """Standard deviation of the features of a coefficient against their wavenumber."""

    kind: str
    length: float

    def values(self, wavenumbers: Array) -> Array:
        """Return the relative standard deviations; the constant gets that of all other features together."""
        scaled = (self.length * wavenumbers) ** 2
        raw = np.exp(-scaled / 4) if self.kind == "gaussian" else (1 + scaled) ** (-ALGEBRAIC_POWER)
        shape = np.maximum(raw, SMALLEST_SHAPE)
        constant = wavenumbers == 0
        shape[constant] = np.sqrt(0.5 * np.sum(shape[~constant] ** 2))
        return np.asarray(shape)


def all_shapes() -> tuple[Shape, ...]:
    """Return the shapes that are compared."""
    smooth = [Shape("gaussian", length) for length in GAUSSIAN_LENGTHS]
    return (*smooth, *(Shape("algebraic", length) for length in ALGEBRAIC_LENGTHS))


@dataclass(frozen=True)
class Balance:
    """The posterior of one linearisation.

    Attributes:
        shape: the smoothness that was chosen.
        sigma: standard deviation of a row.
        precision: (n_thetas,) or (n_thetas, n_thetas), prior precision of z times sigma^2: what is added to the squared misfit.
        thetas: posterior mean of the coefficient parameters.
        scalars: change of the scalars.
        spread: square root of the posterior covariance of (thetas, scalars).
        evidence: logarithm of the probability of the data, up to a constant.
        determined: number of parameters of the coefficient fields that the data determine against the prior.
        free: positions of the scalars that the data do not determine.
    """

    shape: Shape | None
    sigma: float
    precision: Array
    thetas: Array
    scalars: Array
    spread: Array
    evidence: float
    determined: float
    free: tuple[int, ...]


@dataclass(frozen=True)
class Reduced:
    """A linearisation reduced to a square system by an orthogonal transformation.

    Attributes:
        thetas: (k, n_thetas), effect of the coefficient parameters.
        scalars: (k, n_scalars), effect of a change of the scalars.
        right: (k,), what thetas (from zero) and changes of the scalars should explain.
        rest: squared norm of what none of them can explain.
        n_data: number of real observed values.
        scalar_sizes: (n_scalars,), norm of each scalar's effect before the fields answered.
    """

    thetas: Array
    scalars: Array
    right: Array
    rest: float
    n_data: int
    scalar_sizes: Array


def reduce_rows(thetas: Array, scalars: Array, right: Array, n_data: int, scalar_sizes: Array) -> Reduced:
    """Return the reduced system of many rows."""
    n_thetas, n_scalars = thetas.shape[1], scalars.shape[1]
    factor: Array = np.asarray(np.linalg.qr(np.column_stack([thetas, scalars, right]), mode="r"))
    n = n_thetas + n_scalars
    square = np.zeros((n, n + 1))
    square[: min(n, len(factor))] = factor[:n]
    rest = float(np.sum(factor[n:, -1] ** 2))
    return Reduced(square[:, :n_thetas], square[:, n_thetas:n], square[:, -1], rest, n_data, scalar_sizes)


def balance(system: Reduced, wavenumbers: Array, shapes: Iterable[Shape], noise: float | None) -> Balance:
    """Return the posterior under the most probable prior.

    Args:
        system: the reduced linearisation.
        wavenumbers: (n_thetas,) of the features.
        shapes: the smoothness classes to compare.
        noise: declared standard deviation of a row, or None. Residuals that are larger than it, as far from the solution, count as noise.
    """
    basis, inverse, free = scalar_factor(system)
    right = system.right - basis @ (basis.T @ system.right)
    matrix = system.thetas - basis @ (basis.T @ system.thetas)
    n_data = max(system.n_data - basis.shape[1], 1)
    candidates = [_posterior(matrix, right, system.rest, shape.values(wavenumbers), n_data, noise) for shape in shapes] if matrix.shape[1] else []
    if candidates:
        best = int(np.argmax([candidate.evidence for candidate in candidates]))
        chosen, shape = candidates[best], list(shapes)[best]
    else:
        total = float(right @ right) + system.rest
        sigma = max(np.sqrt(total / n_data), noise or 0.0)
        chosen, shape = _Posterior(sigma, np.zeros(0), np.zeros(0), np.zeros((0, 0)), 0.0, 0.0), None
    scalars = inverse @ (basis.T @ (system.right - system.thetas @ chosen.mean))
    spread = with_scalars(system, basis, inverse, chosen.spread, chosen.sigma)
    return Balance(shape, chosen.sigma, chosen.precision, chosen.mean, scalars, spread, chosen.evidence, chosen.determined, free)


def balance_fixed(system: Reduced, precision: Array, sigma: float) -> Balance:
    """Return the posterior under a given precision and noise, as where the user has said what is believed.

    Args:
        system: the reduced linearisation, its rows the penalties included.
        precision: (n_thetas,), prior precision of z times sigma^2, positive.
        sigma: standard deviation of a row.
    """
    basis, inverse, free = scalar_factor(system)
    n = system.thetas.shape[1]
    spread, mean = np.zeros((n, n)), np.zeros(n)
    if n:
        matrix = system.thetas - basis @ (basis.T @ system.thetas)
        u, s, vt = np.linalg.svd(matrix / np.sqrt(precision), full_matrices=True)
        seen = (u.T @ (system.right - basis @ (basis.T @ system.right)))[: len(s)]
        mean = (vt.T @ (s / (s**2 + 1) * seen)) / np.sqrt(precision)
        spread = sigma * (vt.T / np.sqrt(s**2 + 1)) / np.sqrt(precision)[:, None]
    scalars = inverse @ (basis.T @ (system.right - system.thetas @ mean))
    whole = with_scalars(system, basis, inverse, spread, sigma)
    return Balance(None, sigma, precision, mean, scalars, whole, 0.0, float(n - np.sum((spread * np.sqrt(precision)[:, None]) ** 2) / sigma**2), free)


def with_scalars(system: Reduced, basis: Array, inverse: Array, spread: Array, sigma: float) -> Array:
    """Return the square root of the covariance of (thetas, scalars) from that of the thetas."""
    response = inverse @ (basis.T @ (system.thetas @ spread)) if spread.size else np.zeros((len(inverse), 0))
    return np.block([[spread, np.zeros((len(spread), basis.shape[1]))], [-response, sigma * inverse]])


def scalar_factor(system: Reduced) -> tuple[Array, Array, tuple[int, ...]]:
    """Return an orthonormal basis of the scalars' effects, the map from it to their changes, and the scalars that are not determined."""
    n = system.scalars.shape[1]
    if not n:
        return np.zeros((len(system.right), 0)), np.zeros((0, 0)), ()
    sizes = np.where(system.scalar_sizes > 0, system.scalar_sizes, 1.0)
    u, s, vt = np.linalg.svd(system.scalars / sizes, full_matrices=False)
    keep = s > NOT_DETERMINED
    weak = np.max(np.abs(vt[~keep]), axis=0, initial=0.0) > 0.1
    inverse = (vt[keep].T / s[keep]) / sizes[:, None]
    return u[:, keep], inverse, tuple(int(index) for index in np.flatnonzero(weak))


@dataclass(frozen=True)
class _Posterior:
    sigma: float
    precision: Array
    mean: Array
    spread: Array
    evidence: float
    determined: float


def _posterior(matrix: Array, right: Array, rest: float, shape: Array, n_data: int, noise: float | None) -> _Posterior:
    u, s, vt = np.linalg.svd(matrix * shape, full_matrices=True)
    seen = u.T @ right
    largest = float(s[0]) or 1.0
    rank = min(n_data, len(s))
    squares, energy = s[:rank] ** 2, seen[:rank] ** 2
    rest = rest + float(np.sum(seen[rank:] ** 2))
    seen = seen[: len(s)]
    floor = (ROUNDING * float(np.sqrt(right @ right + rest))) ** 2 + 1e-300

    def estimate(ratio: float) -> float:
        return (float(np.sum(energy / (1 + squares / ratio))) + rest + floor) / n_data

    ratios = largest**2 * np.logspace(-DECADES + 2, 2, N_GRID)
    free_sigma = _maximise(lambda ratio: _evidence(ratio, estimate(ratio), squares, energy, rest + floor, n_data), ratios)
    ratio, variance = free_sigma, estimate(free_sigma)
    if noise is not None and noise**2 > variance:
        ratio = _maximise(lambda value: _evidence(value, noise**2, squares, energy, rest + floor, n_data), ratios)
        variance = noise**2
    gain = s / (s**2 + ratio)
    mean = shape * (vt.T @ (gain * seen))
    spread = np.sqrt(variance) * shape[:, None] * (vt.T / np.sqrt(s**2 + ratio))
    precision = ratio / shape**2
    evidence = _evidence(ratio, variance, squares, energy, rest + floor, n_data)
    return _Posterior(float(np.sqrt(variance)), precision, mean, spread, evidence, float(np.sum(squares / (squares + ratio))))


def _evidence(ratio: float, variance: float, squares: Array, energy: Array, rest: float, n_data: int) -> float:
    growth = 1 + squares / ratio
    return float(-0.5 * (np.sum(np.log(growth)) + n_data * np.log(variance) + (np.sum(energy / growth) + rest) / variance))


def _maximise(function: Callable[[float], float], grid: Array) -> float:
    """Return the place of the largest value on a grid, refined once by a parabola in the logarithm."""
    values = np.array([function(float(value)) for value in grid])
    best = int(np.argmax(values))
    if best in (0, len(grid) - 1):
        return float(grid[best])
    left, middle, right = values[best - 1 : best + 2]
    curvature = left - 2 * middle + right
    shift = 0.5 * (left - right) / curvature if curvature < 0 else 0.0
    return float(np.exp(np.log(grid[best]) + np.clip(shift, -1, 1) * (np.log(grid[best + 1]) - np.log(grid[best]))))
