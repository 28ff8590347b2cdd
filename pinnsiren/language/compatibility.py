"""Compatibility of pure Neumann data: the flux through the boundary must equal the integral of the sources.

Gauss-Legendre quadrature on boxes; shapes without a product rule are left to the solvers.
"""

from itertools import pairwise, product
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ProblemError
from pinnsiren.language.conditions import Neumann, parts_of
from pinnsiren.language.declaration import Declaration
from pinnsiren.language.domains import Box
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.operators import Divergence, Laplacian
from pinnsiren.language.sources import GaussianSource, expand_sources
from pinnsiren.language.symbols import is_field

N_NODES = 48  # Gauss nodes per axis: exact to rounding for data that a coarse grid resolves
TOLERANCE = 1e-6  # relative; above the quadrature error of smooth data, below any deliberate imbalance


def check_neumann_compatibility(problem: Declaration) -> None:
    """Raise `ProblemError` with the integral when a pure Neumann problem has no solution."""
    domain = problem.domain
    if not isinstance(domain, Box) or len(problem.equations) != 1 or len(problem.fields) != 1:
        return
    neumann = [condition for condition in problem.conditions if isinstance(condition, Neumann)]
    if not neumann or len(neumann) != len(problem.conditions) or problem.n_shots is not None:
        return
    flux = _flux_form(problem.equations[0], problem.fields[0], domain)
    if flux is None:
        return
    factor, diffusivity, source = flux
    interior = _integral(source / factor if factor.is_number else source, domain, None, domain.bounds)
    boundary, scale = 0.0 + 0.0j, abs(_integral(sp.Abs(source), domain, None, domain.bounds))
    for condition in neumann:
        for part in parts_of(condition.on, domain):
            value = _integral(diffusivity * condition.value, domain, part, domain.bounds)
            boundary += value
            scale += abs(value)
    imbalance = boundary - interior
    if abs(imbalance) > TOLERANCE * max(scale, 1e-12):
        raise ProblemError(
            f"pure Neumann data of problem `{problem.name}` are incompatible: the flux through the boundary is {_show(boundary)}, the integral of "
            f"the source {_show(interior)}, their difference {_show(imbalance)} must vanish. Change the data, or fix the field on one face"
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
    heads = operator.atoms(Laplacian, Divergence)
    if len(heads) != 1:
        return None
    head = heads.pop()
    factor = operator.coeff(head)
    if not factor.is_number or sp.expand(operator - factor * head) != 0:
        return None
    if isinstance(head, Laplacian):
        return (factor, sp.Integer(1), source) if head.args[0] == candidate and len(head.args) - 1 == len(domain.coordinates) else None
    slopes = [component.doit() / sp.Derivative(candidate, symbol) for component, symbol in zip(head.flux, head.over, strict=True)]
    slopes = [sp.simplify(slope) for slope in slopes]
    if any(slope != slopes[0] or slope.has(candidate) for slope in slopes):
        return None
    return factor, slopes[0], source


def _integral(integrand: Any, domain: Box, part: str | None, bounds: dict[sp.Symbol, tuple[float, float]]) -> complex:
    fixed: tuple[int, float] | None = None
    if part is not None:
        axis, side = domain.face(part)
        fixed = (axis, list(bounds.values())[axis][1 if side > 0 else 0])
    axes: list[NDArray[np.float64]] = []
    weights: list[NDArray[np.float64]] = []
    for index, (symbol, (low, high)) in enumerate(bounds.items()):
        if fixed is not None and fixed[0] == index:
            axes.append(np.array([fixed[1]]))
            weights.append(np.ones(1))
            continue
        nodes, node_weights = _panels(low, high, _breaks(integrand, symbol, low, high))
        axes.append(nodes)
        weights.append(node_weights)
    points = np.array(list(product(*axes)))
    weight = np.prod(np.array(list(product(*weights))), axis=1)
    values = evaluate_on(expand_sources(integrand), domain.coordinates, points)
    return complex(np.sum(weight * values))


def _breaks(integrand: Any, symbol: sp.Symbol, low: float, high: float) -> list[float]:
    """Return panel edges around narrow sources, so that Gauss nodes resolve them."""
    edges = {low, high}
    for source in integrand.atoms(GaussianSource):
        for coordinate, centre in zip(source.coordinates, source.centre, strict=True):
            if coordinate == symbol:
                spread = float(sp.sqrt(source.variance))
                edges |= {float(np.clip(float(centre) + shift * spread, low, high)) for shift in (-8, 0, 8)}
    return sorted(edges)


def _panels(low: float, high: float, edges: list[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
    pieces = [(0.5 * (b - a) * nodes + 0.5 * (a + b), 0.5 * (b - a) * weights) for a, b in pairwise(edges) if b > a]
    return np.concatenate([p for p, _ in pieces]), np.concatenate([w for _, w in pieces])
