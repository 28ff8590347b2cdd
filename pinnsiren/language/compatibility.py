"""Compatibility of pure Neumann (or periodic) data: the flux through the boundary must equal the integral of the sources.

Gauss-Legendre quadrature on boxes; shapes without a product rule are left to the solvers.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ProblemError
from pinnsiren.language.conditions import AbstractCondition, Neumann, Periodic, Robin
from pinnsiren.language.declaration import Declaration
from pinnsiren.language.domains import Box
from pinnsiren.language.locations import parts_of
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.operators import Divergence, expand_operators
from pinnsiren.language.sources import GaussianSource, expand_sources, select_shot
from pinnsiren.language.symbols import is_field
from pinnsiren.language.value_checks import holds_unknowns

# Gauss nodes per axis and panel by number of coordinates: exact to rounding for data that a coarse grid resolves, and a coarser rule beside it.
NODES = {1: (48, 40), 2: (48, 40), 3: (24, 20)}
TOLERANCE = 1e-6  # relative; above the quadrature error of smooth data, below any deliberate imbalance
SAFETY = 30.0  # two rules may agree on a jump by chance; between them lies less than the error itself


def check_neumann_compatibility(problem: Declaration) -> None:
    """Raise `ProblemError` with the integral when a pure Neumann problem has no solution."""
    domain = problem.domain
    if not isinstance(domain, Box) or len(problem.equations) != 1 or len(problem.fields) != 1:
        return
    slopes = [(condition, _slope(condition)) for condition in problem.conditions if not isinstance(condition, Periodic)]
    if any(slope is None for _, slope in slopes):
        return
    joined = {condition.axis for condition in problem.conditions if isinstance(condition, Periodic)}
    for shot in range(problem.n_shots or 1):
        flux = _flux_form(select_shot(problem.equations[0], shot), problem.fields[0], domain)
        # What leaves through one of two joined faces enters through the other, unless the diffusivity differs between them.
        if flux is not None and not flux[1].free_symbols & joined:
            placed = [(part, select_shot(slope, shot)) for condition, slope in slopes for part in parts_of(condition.on, domain)]  # type: ignore[attr-defined]
            _check_balance(problem, flux, placed, domain)


def _slope(condition: AbstractCondition) -> Any:
    """Return the prescribed slope along the normal, or None for a condition that also fixes the level of the field."""
    if isinstance(condition, Neumann):
        return condition.value
    if isinstance(condition, Robin) and condition.a == 0:
        return condition.value / condition.b
    return None


def _check_balance(problem: Declaration, flux: tuple[Any, Any, Any], slopes: list[tuple[str, Any]], domain: Box) -> None:
    factor, diffusivity, source = flux
    interior, size, doubt = _integral(source / factor, domain, None)
    boundary, scale = 0.0 + 0.0j, size
    for part, slope in slopes:
        value, size, error = _integral(diffusivity * slope, domain, part)
        boundary, scale, doubt = boundary + value, scale + size, doubt + error
    imbalance = boundary - interior
    # Where data jump, the quadrature itself errs by its doubt; a smaller imbalance proves nothing.
    if abs(imbalance) > max(TOLERANCE * scale, SAFETY * doubt):
        shot = "" if problem.n_shots is None else "one shot of "
        kind = "Neumann and periodic" if any(isinstance(condition, Periodic) for condition in problem.conditions) else "pure Neumann"
        raise ProblemError(
            f"{shot}{kind} data of problem `{problem.name}` are incompatible: the flux through the boundary is {_show(boundary)}, the integral "
            f"of the source {_show(interior)}, their difference {_show(imbalance)} must vanish. Change the data, or fix the field on one face"
        )


def _show(value: complex) -> str:
    return f"{value.real:.6g}" if abs(value.imag) <= 1e-12 * abs(value) else f"{value:.6g}"


def _flux_form(equation: Any, candidate: Any, domain: Box) -> tuple[Any, Any, Any] | None:
    """Split `factor * (div(a grad u)) - source`; None when the equation is of another form."""
    operator, source = sp.Integer(0), sp.Integer(0)
    for term in sp.Add.make_args(sp.expand_mul(equation)):
        if any(is_field(node) for node in term.atoms(sp.Function)):
            operator += term
        else:
            source -= term
    heads = operator.atoms(Divergence)
    if not heads:
        second = [sp.Derivative(candidate, (symbol, 2)) for symbol in domain.coordinates]
        expanded = sp.expand_mul(expand_operators(operator))
        factor = expanded.coeff(second[0])
        plain = factor.is_number and factor != 0 and sp.expand(expanded - factor * sp.Add(*second)) == 0
        return (factor, sp.Integer(1), source) if plain else None
    head = heads.pop()
    factor = operator.coeff(head)
    if heads or not factor.is_number or factor == 0 or sp.expand(operator - factor * head) != 0 or set(head.over) != set(domain.coordinates):
        return None
    slopes = [component.doit() / sp.Derivative(candidate, symbol) for component, symbol in zip(head.flux, head.over, strict=True)]
    slopes = [sp.simplify(slope) for slope in slopes]
    if any(slope != slopes[0] or holds_unknowns(slope) for slope in slopes) or holds_unknowns(source):
        return None
    return factor, slopes[0], source


def _integral(integrand: Any, domain: Box, part: str | None) -> tuple[complex, float, float]:
    """Return the integral over the domain or a face, that of the absolute value, and the difference between two rules."""
    values = []
    for n_nodes in NODES[len(domain.coordinates)]:
        points, weights = _rule(integrand, domain, part, n_nodes)
        at_nodes = evaluate_on(expand_sources(integrand), domain.coordinates, points)
        values.append((complex(np.sum(weights * at_nodes)), float(np.sum(weights * np.abs(at_nodes)))))
    (fine, size), (coarse, _) = values
    return fine, size, abs(fine - coarse)


def _rule(integrand: Any, domain: Box, part: str | None, n_nodes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    axes: list[NDArray[np.float64]] = []
    weights: list[NDArray[np.float64]] = []
    fixed, side = (None, 0) if part is None else domain.face(part)
    for index, (symbol, (low, high)) in enumerate(domain.bounds.items()):
        nodes, node_weights = _panels(_breaks(integrand, symbol, low, high), n_nodes)
        if fixed == index:
            nodes, node_weights = np.array([high if side > 0 else low]), np.ones(1)
        axes.append(nodes)
        weights.append(node_weights)
    points = np.stack([grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")], axis=1)
    return points, np.prod(np.stack([grid.ravel() for grid in np.meshgrid(*weights, indexing="ij")]), axis=0)


def _breaks(integrand: Any, symbol: sp.Symbol, low: float, high: float) -> list[float]:
    """Return panel edges around narrow sources, so that Gauss nodes resolve them."""
    edges = {low, high}
    for source in integrand.atoms(GaussianSource):
        for coordinate, centre in zip(source.coordinates, source.centre, strict=True):
            if coordinate == symbol:
                spread = float(sp.sqrt(source.variance))
                edges |= {float(np.clip(float(centre) + shift * spread, low, high)) for shift in (-8, 0, 8)}
    return sorted(edges)


def _panels(edges: list[float], n_nodes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    pieces = [(0.5 * (b - a) * nodes + 0.5 * (a + b), 0.5 * (b - a) * weights) for a, b in pairwise(edges) if b > a]
    return np.concatenate([p for p, _ in pieces]), np.concatenate([w for _, w in pieces])
