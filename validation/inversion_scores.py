"""Scores of a medium: relative L2 error of the speed, root mean square, structural similarity, error per wavenumber band.

Input: speeds on a grid. Output: numbers. What the boundary cells of an object hold decides below 4 %: the truth is averaged there in squared slowness
(waves see that), and the score against the average of the speed is given beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from pinnsiren.errors import ProblemError
from pinnsiren.language import declaration_of

from .inversion_in_time import is_in_time, per_frequency
from .inversion_reading import on_grid

Array = NDArray[Any]

# Nodes of the measure: 31 x 31 over |x|, |y| < 0.3.
SCORE_STEPS = 30
_WINDOW = 1.5
_SUBCELLS = 8  # along each side: the share of a cell inside a rim to a percent


@dataclass(frozen=True)
class SpeedScores:
    """How far a speed is from the true one where it was sought.

    Attributes:
        relative_l2: |c - c_true| / |c_true| at the nodes, squared slowness averaged in the boundary cells of the truth.
        relative_l2_of_cells: the same with the squared slowness found averaged over every cell too; a sharp rim is not blamed for being sharp.
        relative_l2_speed_averaged: the same with the speed averaged there.
        rmse: root mean square of c - c_true.
        ssim: mean structural similarity, window of 1.5 nodes, range of the truth.
        of_start: `relative_l2`, `relative_l2_speed_averaged`, `rmse` and `ssim` of the declared start.
    """

    relative_l2: float
    relative_l2_of_cells: float
    relative_l2_speed_averaged: float
    rmse: float
    ssim: float
    of_start: tuple[float, float, float, float]

    def __str__(self) -> str:
        start = self.of_start
        return (
            f"speed: relative L2 {self.relative_l2:.2%} (start {start[0]:.2%}; with the speed averaged at jumps "
            f"{self.relative_l2_speed_averaged:.2%}), "
            f"RMSE {self.rmse:.3g} (start {start[2]:.3g}), SSIM {self.ssim:.3f} (start {start[3]:.3f})"
        )


def speed_scores(solution: Any, *, axes: tuple[Array, Array] | None = None) -> SpeedScores:
    """Score the medium of a solution against the exact one of its declaration.

    Args:
        solution: of an inverse problem.
        axes: nodes; None takes 31 along the longer side of the support.

    Raises:
        ProblemError: no exact medium is declared.
    """
    if is_in_time(solution):
        return speed_scores(per_frequency(solution), axes=axes)
    problem = solution.problem
    (medium,) = problem.coefficients
    exact = (problem.exact or {}).get(medium)
    if exact is None:
        raise ProblemError(f"problem `{problem.name}` declares no exact `{medium}`, so that nothing scores it; give exact={{m: ...}}")
    declaration = declaration_of(medium)
    bounds = (declaration.support or problem.domain).bounds
    sides = [bounds[symbol] for symbol in problem.coordinates]
    step = max(high - low for low, high in sides) / SCORE_STEPS
    nodes = axes or tuple(np.linspace(low, high, round((high - low) / step) + 1) for low, high in sides)
    points = np.stack([axis.ravel() for axis in np.meshgrid(*nodes, indexing="ij")], axis=1)
    shape = tuple(len(axis) for axis in nodes)
    found = _values(solution, declaration.name, points, shape) ** -0.5
    start = on_grid(sp.sympify(declaration.initial), problem, nodes) ** -0.5
    true = on_grid(exact, problem, nodes) ** -0.5
    by_speed = on_grid(_speed_of(exact), problem, nodes)
    scores = [
        (relative(c, true), relative(c, by_speed), float(np.sqrt(np.mean((c - true) ** 2))), structural_similarity(c, true)) for c in (found, start)
    ]
    cells = np.mean([_values(solution, declaration.name, points + shift, shape) for shift in _within_cell(nodes)], axis=0) ** -0.5
    return SpeedScores(scores[0][0], relative(cells, true), *scores[0][1:], of_start=scores[1])


def _values(solution: Any, name: str, points: Array, shape: tuple[int, ...]) -> Array:
    """Squared slowness at points, none outside the domain."""
    domain = solution.problem.domain
    limits = np.array([domain.bounds[symbol] for symbol in domain.coordinates])
    return np.asarray(solution[name].at(np.clip(points, *limits.T)), dtype=float).reshape(shape)


def _within_cell(nodes: Sequence[Array]) -> Array:
    """Midpoints of the sub-cells of the cell about a node, relative to it, (n, 2)."""
    shares = (np.arange(_SUBCELLS) + 0.5) / _SUBCELLS - 0.5
    steps = [float(axis[1] - axis[0]) for axis in nodes]
    return np.stack([mesh.ravel() for mesh in np.meshgrid(*[shares * h for h in steps], indexing="ij")], axis=1)


def _speed_of(exact: Any) -> Any:
    if callable(exact) and not isinstance(exact, sp.Basic):
        return lambda *points: np.asarray(exact(*points), dtype=float) ** -0.5
    return 1 / sp.sqrt(sp.sympify(exact))


def relative(found: Array, true: Array) -> float:
    """|found - true| / |true|."""
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


def structural_similarity(image: Array, truth: Array) -> float:
    """Mean SSIM with a Gaussian window of 1.5 nodes; its range is that of the truth.

    Reference: Wang, Bovik, Sheikh and Simoncelli (2004), IEEE Transactions on Image Processing 13, equation 13.
    """
    span = float(np.ptp(truth)) or 1.0
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2

    def mean(values: Array) -> Array:
        return np.asarray(gaussian_filter(values, _WINDOW, truncate=3.5))

    a, b = mean(image), mean(truth)
    covariance, va, vb = mean(image * truth) - a * b, mean(image**2) - a**2, mean(truth**2) - b**2
    return float(np.mean((2 * a * b + c1) * (2 * covariance + c2) / ((a**2 + b**2 + c1) * (va + vb + c2))))


def band_norms(values: Array, steps: tuple[float, float], edges: Array) -> Array:
    """Return the root mean square of a field per band of angular wavenumber, by the cosine transform; all bands together give its own.

    Args:
        values: (n_x, n_y), on an even grid; continued evenly, so that what differs between opposite sides makes no high wavenumbers.
        steps: distance between nodes.
        edges: (n_bands + 1,), rising; what lies beyond the last belongs to no band.
    """
    power = dctn(values, norm="ortho") ** 2 / values.size
    k = np.hypot(*np.meshgrid(*[np.pi * np.arange(n) / (n * h) for n, h in zip(values.shape, steps, strict=True)], indexing="ij"))
    return np.sqrt([np.sum(power[(k >= low) & (k < high)]) for low, high in pairwise(edges)])
