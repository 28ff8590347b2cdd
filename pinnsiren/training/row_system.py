"""Rows of least squares: every residual, linearised at a model, on the sine features of all fields.

Input: a compiled problem, bases, points. Output: matrix and right-hand sides, residual norms, and the solution of the linear system.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.residual_program import ResidualProgram
from pinnsiren.errors import NonFiniteError
from pinnsiren.ir import MultiIndex, unknown_symbol
from pinnsiren.language.symbols import declaration_of
from pinnsiren.training.feature_model import FeatureModel
from pinnsiren.training.method import FittedModel
from pinnsiren.training.sampling import PointSet, sample_residual
from pinnsiren.training.scaling import affine_parts, linear_weights, residual_scale

RIDGE = 1e-14  # relative to columns of unit norm: keeps QR defined for redundant features without touching digits that matter


def column_norms(matrix: torch.Tensor) -> torch.Tensor:
    """Return the norms of the columns, one for those that vanish; real and imaginary parts are squared apart, which spares a root per entry."""
    parts = torch.view_as_real(matrix).flatten(1) if matrix.is_complex() else matrix
    norms = torch.linalg.vector_norm(parts, dim=0)
    norms = norms.view(-1, 2).norm(dim=1) if matrix.is_complex() else norms
    return torch.where(norms > 0, norms, torch.ones_like(norms))


def solve_least_squares(matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Solve min |A c - b|^2 + ridge by Householder QR with columns of unit norm."""
    norms, n_columns = column_norms(matrix), matrix.shape[1]
    ridge = RIDGE * torch.eye(n_columns, dtype=matrix.dtype, device=matrix.device)
    stacked = torch.cat([matrix / norms, ridge])
    padded = torch.cat([right, torch.zeros(n_columns, right.shape[1], dtype=right.dtype, device=right.device)])
    solution: torch.Tensor = torch.linalg.lstsq(stacked, padded, driver="gels").solution
    return solution / norms[:, None]


class RowSystem:
    """Rows of the least-squares problem: one block per residual, columns of all fields side by side."""

    def __init__(self, compiled: CompiledProblem, bases: tuple[Any, ...], device: torch.device, dtype: torch.dtype) -> None:
        self.compiled, self.bases, self.device, self.dtype = compiled, bases, device, dtype

    def samples(self, n_points: int, seed: int) -> list[PointSet]:
        """Draw the points of every residual."""
        residuals = self.compiled.ir.residuals
        return [sample_residual(self.compiled, residual, n_points, seed + 31 * index) for index, residual in enumerate(residuals)]

    def convert(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.array(array)).to(self.device)

    def split(self, coefficients: torch.Tensor) -> tuple[NDArray[Any], ...]:
        """Cut the solution into the coefficients of each field."""
        sizes = [basis.n_features for basis in self.bases]
        return tuple(part.cpu().numpy() for part in torch.split(coefficients, sizes))

    def zeros(self) -> tuple[NDArray[Any], ...]:
        """Return coefficients of a vanishing field."""
        kind = complex if self.dtype.is_complex else float
        return tuple(np.zeros((basis.n_features, self.compiled.ir.n_shots), dtype=kind) for basis in self.bases)

    def rows(self, samples: list[PointSet], base: FittedModel | None, shot: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Assemble matrix and right-hand sides of the linearised equations for the correction of a model (of zero for None).

        Shots share the matrix of affine equations; others are linearised at the field of `shot`.
        """
        blocks, rights = [], []
        for program, point_set in zip(self.compiled.programs, samples, strict=True):
            if len(point_set.points) == 0:
                continue
            weight = self.row_weight(program, point_set)
            block, right = self.block(program, point_set, base, shot)
            if not bool(torch.isfinite(block).all() and torch.isfinite(right).all() and torch.isfinite(weight).all()):
                raise NonFiniteError(f"the residual of `{program.residual.label}`")
            blocks.append(block * weight)
            rights.append(right * weight)
        return torch.cat(blocks).to(self.dtype), torch.cat(rights).to(self.dtype)

    def row_weight(self, program: ResidualProgram, point_set: PointSet) -> torch.Tensor:
        """Return the weights of the rows of a residual, (n_points, 1), which make them comparable to the field."""
        scale = residual_scale(self.compiled, program, point_set, self.unknowns(program, None))
        weights = np.ones(len(point_set.points)) if point_set.weights is None else np.sqrt(point_set.weights)
        return self.convert(weights[:, None] / (scale * np.sqrt(len(point_set.points))))

    def unknowns(self, program: ResidualProgram, base: FittedModel | None) -> list[Any]:
        """Return the values of the unknown scalars that a residual reads: those of a model, or the declared initial ones."""
        declared = [declaration_of(unknown) for unknown in self.compiled.ir.unknowns]
        values = [complex(declaration.initial) for declaration in declared] if base is None else list(base.unknowns)
        known = {
            unknown_symbol(unknown): value if declaration.is_complex else value.real
            for unknown, declaration, value in zip(self.compiled.ir.unknowns, declared, values, strict=True)
        }
        return [known[symbol] for symbol in program.unknowns]

    def block(
        self, program: ResidualProgram, point_set: PointSet, base: FittedModel | None, shot: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the linearised operator on all features and minus the residual, both sides and measured values taken into account."""
        block, right = self._side(program, point_set.points, point_set.normals, base, shot)
        if point_set.other_side is not None:
            other, other_right = self._side(program, point_set.other_side, point_set.normals, base, shot)
            block, right = block - other, right - other_right
        if point_set.values is not None:
            right = right + self.convert(self.measured(point_set))
        return block, right

    def _side(
        self, program: ResidualProgram, points: NDArray[np.float64], normals: Any, base: FittedModel | None, shot: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the linearised operator on all features and minus the residual of the model, at one set of points."""
        partials, residual = self.linearised(program, points, normals, base)
        blocks = []
        for index, basis in enumerate(self.bases):
            weights = {
                jet.orders: partial[:, min(shot, partial.shape[1] - 1)]
                for jet, partial in zip(program.jets, partials, strict=True)
                if jet.field == index
            }
            if weights:
                blocks.append(basis.matrix(points, weights, torch, self.convert).to(self.dtype))
            else:
                blocks.append(torch.zeros(len(points), basis.n_features, dtype=self.dtype, device=self.device))
        right = np.broadcast_to(-residual, (len(points), self.n_right))
        return torch.hstack(blocks), self.convert(right)

    @property
    def n_right(self) -> int:
        """Right-hand sides: one per shot."""
        return self.compiled.ir.n_shots

    def measured(self, point_set: PointSet) -> NDArray[Any]:
        """Return the measured values at points, (n_points, n_right)."""
        return np.asarray(point_set.values)

    def linearised(
        self, program: ResidualProgram, points: NDArray[np.float64], normals: Any, base: FittedModel | None
    ) -> tuple[list[NDArray[Any]], NDArray[Any]]:
        """Return the partial derivatives by the jets, and the residual (n_points, n_right or 1), both at a model (at zero for None)."""
        coefficients, unknowns = program.coefficients(points, normals), self.unknowns(program, base)
        if base is None and program.is_affine:
            return affine_parts(program, coefficients, unknowns, len(points))
        jets = [np.zeros((len(points), 1)) for _ in program.jets] if base is None else jets_of(base, program, points)
        return linear_weights(program, coefficients, jets, unknowns, len(points))

    def unknown_columns(self, samples: list[PointSet], base: FittedModel) -> torch.Tensor:
        """Return the derivatives of all weighted rows with respect to the unknown scalars, (n_unknowns, n_rows, n_shots)."""
        names = [unknown_symbol(unknown) for unknown in self.compiled.ir.unknowns]
        blocks = []
        for program, point_set in zip(self.compiled.programs, samples, strict=True):
            if len(point_set.points):
                partials = dict(zip(program.unknowns, program.unknown_partials, strict=True))
                parts = [self._values(program, point_set, base, partials[name]) if name in partials else None for name in names]
                zero = np.zeros((len(point_set.points), self.compiled.ir.n_shots))
                stacked = np.stack([zero if part is None else part for part in parts])
                blocks.append(self.convert(stacked).to(self.dtype) * self.row_weight(program, point_set))
        return torch.cat(blocks, dim=1)

    def residual_norm(self, samples: list[PointSet], base: FittedModel) -> float:
        """Return the root of the sum over residuals of the mean squared scaled residual of a model."""
        total = 0.0
        for program, point_set in zip(self.compiled.programs, samples, strict=True):
            if len(point_set.points):
                total += float((self.convert(self.residual(program, point_set, base)) * self.row_weight(program, point_set)).abs().pow(2).sum())
        return float(np.sqrt(total / self.compiled.ir.n_shots))

    def residual(self, program: ResidualProgram, point_set: PointSet, base: FittedModel) -> NDArray[Any]:
        """Return the residual of a model at points, (n_points, n_shots), not weighted."""
        value = self._values(program, point_set, base, program.algebra)
        return np.asarray(value if point_set.values is None else value - point_set.values)

    def _values(self, program: ResidualProgram, point_set: PointSet, base: FittedModel, expression: Any) -> NDArray[Any]:
        """Return an expression in the jets of a model, the difference of both sides where points come in pairs."""
        sides = []
        for points in [point_set.points] if point_set.other_side is None else [point_set.points, point_set.other_side]:
            jets = jets_of(base, program, points)
            value = program.compile([expression])(program.coefficients(points, point_set.normals), jets, self.unknowns(program, base))[0]
            sides.append(np.broadcast_to(value, (len(points), self.compiled.ir.n_shots)))
        return np.asarray(sides[0] if len(sides) == 1 else sides[0] - sides[1])


def jets_of(model: FittedModel, program: ResidualProgram, points: NDArray[np.float64]) -> list[NDArray[Any]]:
    """Return the derivatives that a residual reads, (n_points, n_shots) each; features give those of a field all at once."""
    if not isinstance(model, FeatureModel):
        return [model.evaluate(jet.field, points, jet.orders) for jet in program.jets]
    found: dict[tuple[int, MultiIndex], NDArray[Any]] = {}
    for field in dict.fromkeys(jet.field for jet in program.jets):
        orders = [jet.orders for jet in program.jets if jet.field == field]
        values = model.derivatives(field, points, orders)
        found |= {(field, order): value for order, value in zip(orders, values, strict=True)}
    return [found[jet.field, jet.orders] for jet in program.jets]


def residual_system(compiled: CompiledProblem) -> RowSystem:
    """Return a system without features, which evaluates residuals of models of any kind."""
    return RowSystem(compiled, (), torch.device("cpu"), torch.complex128 if compiled.is_complex else torch.float64)
