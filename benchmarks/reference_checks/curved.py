"""Checks of the grid solver on curved domains: observed orders, honesty of the error estimate, agreement with scikit-fem.

Input: nothing. Output: `CHECKS`. scikit-fem comes with the extra `oracles`; without it the comparison is left out, and said so.
"""

import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp
from scipy.spatial import Delaunay

import pinnsiren as ps
from pinnsiren.reference_solvers.elliptic_curved import EllipticCurvedSolver

from ..evidence_checks import Check, Quantity

CELLS = (100, 125, 157, 197)
CELLS_3D = (20, 24, 29, 35)
TOLERANCES = (1e-3, 1e-4)
HONEST = 3.0
N_COMPARED = 4096

Exact = Callable[..., np.ndarray]
x, y, z = ps.coordinates("x y z")
u, w = ps.field("u", x, y), ps.field("w", x, y, z)
SMOOTH = sp.sin(3 * x + y) * sp.exp(y / 2) + x * y**2
WAVE = sp.exp(sp.I * (4 * x + 3 * y))
PLATE = ps.Box({x: (-1, 1), y: (-0.8, 0.8)}) - ps.Disk({x: 0.13, y: 0.07}, 0.35)
DOMAINS = {
    "disk": ps.Disk({x: 0.1, y: 0.05}, 0.9),
    "box with a hole": PLATE,
    "annulus off centre": ps.Disk({x: 0, y: 0}, 1) - ps.Disk({x: 0.2, y: -0.1}, 0.45),
    "polygon": ps.Polygon((x, y), [(-1, -0.7), (0.9, -0.9), (0.3, 0.1), (1, 0.8), (-0.6, 0.9)]),
    "two disks joined": ps.Disk({x: -0.4, y: 0}, 0.6) | ps.Disk({x: 0.4, y: 0.1}, 0.55),
    "disk without a wedge": ps.Disk({x: 0, y: 0}, 1) - ps.Polygon({x: (0, 1.2, 1.2), y: (0, -0.3, 0.4)}),
    "lens": ps.Disk({x: -0.5, y: 0}, 1) & ps.Disk({x: 0.5, y: 0.2}, 1),
}
SHELL = ps.Ball({x: 0, y: 0, z: 0}, 1) - ps.Ball({x: 0.2, y: 0, z: 0}, 0.4)
L_SHAPE = ps.Box({x: (-1, 1), y: (-1, 1)}) - ps.Box({x: (0, 1), y: (-1, 0)})
# A domain that no formula covers: a disk with a round and a triangular hole.
ODD_HOLE, ODD_TRIANGLE = ps.Disk({x: 0.35, y: 0.25}, 0.3), ps.Polygon({x: (-0.6, -0.1, -0.45), y: (-0.45, -0.3, 0.15)})
ODD = ps.Disk({x: 0, y: 0}, 1) - ODD_HOLE - ODD_TRIANGLE
FEM_STEPS = (0.05, 0.025)


def _conditions(domain: Any, kind: str, field: Any) -> list[Any]:
    parts = domain.boundary_parts()
    half = len(parts) // 2
    if kind == "Dirichlet":
        return [ps.Dirichlet(field, 0)]
    if kind == "Neumann":
        return [ps.Neumann(field, 0)]
    if kind == "Robin":
        return [ps.Robin(field, 1 + x**2, 2, 0)]
    return [ps.Dirichlet(field, 0, on=parts[:half]), ps.Neumann(field, 0, on=parts[half:])]


def _manufactured(domain: Any, kind: str, exact: Any, equation: Any, field: Any) -> ps.Problem:
    problem = ps.Problem(name="made", fields=[field], domain=domain, equations=[equation], conditions=_conditions(domain, kind, field))
    return ps.manufactured(problem, {field: exact})


def _variable(field: Any) -> Any:
    return ps.div((2 + sp.sin(x + 2 * y) / 2) * ps.grad(field)) + x * field.diff(x) - (1 + x**2) * field


def _error(solution: Any, domain: Any, exact: Exact) -> float:
    points = domain.sample_interior(N_COMPARED, 3)
    truth = exact(*points.T)
    return float(np.linalg.norm(solution(*points.T) - truth) / np.linalg.norm(truth))


def measure_orders() -> list[Quantity]:
    """Return the observed orders, fitted over four grids, with variable coefficients and every kind of condition."""
    v = ps.field("v", x, y, complex=True)
    lossy = ps.laplacian(v) + sp.cos(x) / 2 * v.diff(x, y) + (30 + 2 * sp.I) * (1 + x / 4) * v
    cases = [(name, "Dirichlet", u, _variable(u), SMOOTH) for name in DOMAINS]
    cases += [(name, kind, u, _variable(u), SMOOTH) for name, kind in (
        ("disk", "Neumann"), ("box with a hole", "Neumann"), ("annulus off centre", "Robin"), ("box with a hole", "Dirichlet and Neumann"),
        ("disk without a wedge", "Dirichlet and Neumann"), ("two disks joined", "Dirichlet and Neumann"),
    )]  # fmt: skip
    cases.append(("annulus off centre", "Robin", v, lossy, WAVE))
    found = [_order(f"{name}, {kind}", DOMAINS[name], kind, field, equation, exact, CELLS) for name, kind, field, equation, exact in cases]
    ball = sp.sin(2 * x + y) * sp.exp(z / 2)
    found.append(_order("ball with a cavity, Dirichlet", SHELL, "Dirichlet", w, ps.laplacian(w) - w, ball, CELLS_3D))
    return found


def _order(label: str, domain: Any, kind: str, field: Any, equation: Any, exact: Any, cells: tuple[int, ...]) -> Quantity:
    problem = _manufactured(domain, kind, exact, equation, field)
    function = sp.lambdify(domain.coordinates, exact, "numpy")
    errors = [_error(EllipticCurvedSolver(cells=n).solve(problem), domain, function) for n in cells]
    slope = -float(np.polyfit(np.log(cells), np.log(errors), 1)[0])
    what = "complex, mixed derivatives, " if np.iscomplexobj(function(*np.zeros(len(domain.coordinates)))) else ""
    note = f"errors {errors[0]:.1e} to {errors[-1]:.1e}, {cells[0]} to {cells[-1]} cells"
    return Quantity(f"observed order on a curved domain, {what}{label}", slope, 2.0, "within 0.2 of", note)


def _corner_harmonic(power: sp.Rational) -> tuple[Exact, Any]:
    """r^p sin(p theta) about the re-entrant corner of the L; the cut of the angle lies in the missing quadrant."""
    angle = sp.atan2(-x - y, y - x) + 3 * sp.pi / 4
    expression = (x**2 + y**2) ** (power / 2) * sp.sin(power * angle)
    return sp.lambdify((x, y), expression, "numpy"), expression


def measure_honesty() -> list[Quantity]:
    """Return how far the error estimate lies above and below the true error: smooth solutions, singular corners."""
    cases: dict[str, tuple[ps.Problem, Exact]] = {
        f"{name}, {kind}": (_manufactured(DOMAINS[name], kind, SMOOTH, _variable(u), u), sp.lambdify((x, y), SMOOTH, "numpy"))
        for name, kind in (("disk", "Dirichlet"), ("lens", "Dirichlet"), ("annulus off centre", "Neumann"), ("box with a hole", "Robin"))
    }
    corner, expression = _corner_harmonic(sp.Rational(2, 3))
    harmonic = {"fields": [u], "domain": L_SHAPE, "equations": [ps.laplacian(u)]}
    cases["corner of 270 degrees"] = (ps.Problem(name="l", conditions=[ps.Dirichlet(u, expression)], **harmonic), corner)
    mixed, expression = _corner_harmonic(sp.Rational(1, 3))
    others = tuple(part for part in L_SHAPE.boundary_parts() if part != "x-@2")
    conditions = [ps.Dirichlet(u, expression, on=others), ps.Neumann(u, 0, on="x-@2")]
    cases["value and slope at a corner"] = (ps.Problem(name="l", conditions=conditions, **harmonic), mixed)
    ratios = {}
    for label, (problem, exact) in cases.items():
        for tolerance in TOLERANCES:
            solution = EllipticCurvedSolver(tolerance=tolerance).solve(problem)
            ratios[f"{label}, tolerance {tolerance:g}"] = solution.error_estimate / _error(solution, problem.domain, exact)
    high, low = max(ratios, key=lambda label: ratios[label]), min(ratios, key=lambda label: ratios[label])
    tried = f"worst of {len(cases)} problems, {len(TOLERANCES)} tolerances"
    return [
        Quantity("estimate over error on curved domains", ratios[high], HONEST, "at most", f"{high}; {tried}"),
        Quantity("error over estimate on curved domains", 1 / ratios[low], HONEST, "at most", f"{low}; {tried}"),
    ]


def measure_agreement() -> list[Quantity]:
    """Return the difference from scikit-fem on a domain without closed form, over the sum of both error bars."""
    name = "difference from scikit-fem on a disk with two holes, over both error bars"
    try:
        importlib.import_module("skfem")
    except ImportError:
        return [Quantity(f"{name}: left out", 0.0, 0.0, "at most", "scikit-fem is not installed (pip install pinnsiren[oracles])")]
    a, source, slope, value = 1 + x**2 / 2 + y / 4, sp.exp(x) * sp.cos(3 * y), 1 + x, x - y**2
    conditions = [
        ps.Dirichlet(u, value, on="surface"), ps.Neumann(u, slope, on=ODD_HOLE.boundary), ps.Dirichlet(u, 0, on=ODD_TRIANGLE.boundary),
    ]  # fmt: skip
    problem = ps.Problem(name="odd", fields=[u], domain=ODD, equations=[sp.Eq(ps.div(a * ps.grad(u)) - u, source)], conditions=conditions)
    solution = EllipticCurvedSolver().solve(problem)
    points = ODD.sample_interior(N_COMPARED, 3)
    # Away from the boundary by the deviation of its polygon, which no triangle covers.
    points = points[ODD.signed_distance(points) < -(FEM_STEPS[0] ** 2)]
    ours = solution(*points.T)
    start = time.perf_counter()
    data = {key: sp.lambdify((x, y), expression, "numpy") for key, expression in (("a", a), ("f", source), ("g", slope), ("u", value))}
    coarse, fine = (_finite_elements(step, data, points) for step in FEM_STEPS)
    seconds, size = time.perf_counter() - start, np.linalg.norm(ours)
    # Halving the step shrinks the error of a corner of more than 270 degrees by less than 2^(4/3): the difference is about the error.
    bar = float(np.linalg.norm(fine - coarse) / size)
    difference = float(np.linalg.norm(fine - ours) / size)
    note = f"difference {difference:.1e}; ours {solution.error_estimate:.1e} in {solution.seconds:.1f} s, scikit-fem {bar:.1e} in {seconds:.1f} s"
    return [Quantity(name, difference / (bar + solution.error_estimate), 1.0, "at most", note)]


def _triangulation(step: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n, 2) on the boundary and on a hexagonal lattice inside, and triangles (m, 3)."""
    rings = []
    for disk in ODD.leaves[:2]:
        angle = np.linspace(0, 2 * np.pi, round(2 * np.pi * disk.radius / step), endpoint=False)
        rings.append(disk.centre + disk.radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    for start, end in zip(ODD_TRIANGLE.vertices, np.roll(ODD_TRIANGLE.vertices, -1, axis=0), strict=True):
        rings.append(start + np.linspace(0, 1, max(round(np.linalg.norm(end - start) / step), 1), endpoint=False)[:, None] * (end - start))
    rows, columns = np.meshgrid(np.arange(-1.2, 1.2, step * np.sqrt(3) / 2), np.arange(-1.2, 1.2, step), indexing="ij")
    lattice = np.stack([columns + step / 2 * (np.arange(len(rows)) % 2)[:, None], rows], axis=-1).reshape(-1, 2)
    vertices = np.concatenate([*rings, lattice[ODD.signed_distance(lattice) < -0.6 * step]])
    triangles = Delaunay(vertices).simplices
    triangles = triangles[ODD.signed_distance(vertices[triangles].mean(axis=1)) < 0]
    used, numbers = np.unique(triangles, return_inverse=True)
    return vertices[used], numbers.reshape(triangles.shape)


def _finite_elements(step: float, data: dict[str, Exact], points: np.ndarray) -> np.ndarray:
    """Values at points of the solution by quadratic elements on triangles."""
    skfem = importlib.import_module("skfem")
    helpers = importlib.import_module("skfem.helpers")
    vertices, triangles = _triangulation(step)
    mesh = skfem.MeshTri(np.ascontiguousarray(vertices.T), np.ascontiguousarray(triangles.T))
    basis = skfem.Basis(mesh, skfem.ElementTriP2())
    facets = mesh.boundary_facets()
    middles = mesh.p[:, mesh.facets[:, facets]].mean(axis=1).T
    owner = np.argmin([np.abs(leaf.signed_distance(middles)) for leaf in ODD.leaves], axis=0)
    rim = skfem.FacetBasis(mesh, skfem.ElementTriP2(), facets=facets[owner == 1])
    matrix = skfem.BilinearForm(lambda p, q, at: data["a"](*at.x) * helpers.dot(helpers.grad(p), helpers.grad(q)) + p * q).assemble(basis)
    right = skfem.LinearForm(lambda q, at: -data["f"](*at.x) * q).assemble(basis)
    right = right + skfem.LinearForm(lambda q, at: data["a"](*at.x) * data["g"](*at.x) * q).assemble(rim)
    values = np.zeros(basis.N)
    outer, triangle = (basis.get_dofs(facets[owner == index]).flatten() for index in (0, 2))
    values[outer] = data["u"](*basis.doflocs[:, outer])
    fixed = np.union1d(outer, triangle)
    found = skfem.solve(*skfem.condense(matrix, right, x=values, D=fixed))
    return np.asarray(basis.interpolator(found)(points.T))


CHECKS: tuple[Check, ...] = (
    Check("curved_orders", "Orders on curved domains", measure_orders),
    Check("curved_honesty", "Error bars on curved domains", measure_honesty),
    Check("curved_agreement", "Curved domains beside scikit-fem", measure_agreement),
)
