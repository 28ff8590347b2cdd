"""Rows of joint least squares: every residual linearised in fields, coefficient fields and scalars at a model.

Equations and conditions hold (nearly) exactly and carry a large weight; observations carry the noise. Units: a misfit row is relative to the root
mean square of its values, so that the sum of squares of all misfit rows is the mean squared relative misfit. Input: a compiled problem, a model.
Output: `JointRows`: per group of shots that share a matrix, columns of the fields, columns of the unknowns, right-hand sides.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.residual_program import ResidualProgram
from pinnsiren.errors import NonFiniteError
from pinnsiren.ir import unknown_symbol
from pinnsiren.language.symbols import declaration_of
from pinnsiren.training.joint_model import JointModel
from pinnsiren.training.row_system import RowSystem
from pinnsiren.training.sampling import PointSet, sample_residual
from pinnsiren.training.scaling import CONDITION_WEIGHT, linear_weights, residual_scale

HARDNESS = 100.0  # of equations against observations: noise that leaks into the equations is a ten-thousandth of the misfit


@dataclass(frozen=True)
class Placed:
    """A residual at its points.

    Attributes:
        program: the residual.
        points: where it is asked for.
        shot: the shot that the points belong to, None when they serve all.
        weight: (n_points, 1) of the rows.
        observed: whether the rows carry noise.
    """

    program: ResidualProgram
    points: PointSet
    shot: int | None
    weight: NDArray[np.float64]
    observed: bool


@dataclass(frozen=True)
class JointRows:
    """Rows of one group of shots.

    Attributes:
        shots: their indices.
        fields: (n_rows, n_features of all fields).
        right: (n_rows, n_shots of the group), minus the weighted residual.
        unknowns: (n_rows, n_shots of the group, n_unknown parameters), derivatives of the weighted residual.
    """

    shots: tuple[int, ...]
    fields: torch.Tensor
    right: torch.Tensor
    unknowns: torch.Tensor


def relative_noise(compiled: CompiledProblem) -> float | None:
    """Return the root mean square of the declared relative noise levels; None where none is declared."""
    declared = [r.noise for r in compiled.ir.residuals if r.kind == "observation" and r.noise]
    return float(np.sqrt(np.mean(np.square(declared)))) if declared else None


def observes_exactly(compiled: CompiledProblem) -> bool:
    """Whether every observation is declared to be without noise, by `noise=0`."""
    declared = [residual.noise for residual in compiled.ir.residuals if residual.kind == "observation"]
    return bool(declared) and all(noise == 0 for noise in declared)


class JointSystem:
    """Rows at fixed collocation points; the weights are those of the model given to `place`."""

    def __init__(self, compiled: CompiledProblem, bases: tuple[Any, ...], device: torch.device) -> None:
        self.compiled = compiled
        self.is_complex = compiled.is_complex
        self.rows = RowSystem(compiled, bases, device, torch.complex128 if self.is_complex else torch.float64)
        self.n_shots = compiled.ir.n_shots
        affine_in_fields = all(self._affine_in_fields(program) for program in compiled.programs)
        own_points = any(r.region.points is not None and r.region.points.ndim == 3 for r in compiled.ir.residuals)
        self.shares_matrix = affine_in_fields and not own_points
        self.is_affine_in_fields = affine_in_fields
        self.groups = [tuple(range(self.n_shots))] if self.shares_matrix else [(shot,) for shot in range(self.n_shots)]

    def _affine_in_fields(self, program: ResidualProgram) -> bool:
        in_fields = {jet.symbol for jet in program.jets if jet.field < self.compiled.ir.n_fields}
        pairs = zip(program.jets, program.partials, strict=True)
        return program.is_analytic and not any(p.free_symbols & in_fields for jet, p in pairs if jet.field < self.compiled.ir.n_fields)

    def place(self, n_points: int, seed: int, model: JointModel) -> list[Placed]:
        """Draw the points of every residual and weigh them; operators are scaled at the model's scalars."""
        placed = []
        total = sum(int(np.asarray(r.values).size) for r in self.compiled.ir.residuals if r.kind == "observation") or 1
        common = relative_noise(self.compiled)
        amplitude = self._amplitude(model)
        for index, program in enumerate(self.compiled.programs):
            residual = program.residual
            for shot, drawn in self._points(program, n_points, seed + 31 * index):
                if not len(drawn.points):
                    continue
                given = np.ones(len(drawn.points)) if drawn.weights is None else np.sqrt(drawn.weights)
                if residual.kind == "observation" and residual.values is not None:
                    size = float(np.sqrt(np.mean(np.abs(residual.values) ** 2))) or 1.0
                    noise = (residual.noise or common or 1.0) / (common or 1.0)
                    if residual.noise == 0 and common is not None:
                        noise = 1 / HARDNESS  # exact values among noisy ones bind like equations
                    weight = given / (size * noise * np.sqrt(total))
                else:
                    scale = residual_scale(self.compiled, program, drawn, self.rows.unknowns(program, model))
                    weight = HARDNESS * given / (scale * amplitude * np.sqrt(len(drawn.points) * self.n_shots))
                placed.append(Placed(program, drawn, shot, weight[:, None], residual.kind == "observation"))
        return placed

    def _points(self, program: ResidualProgram, n_points: int, seed: int) -> list[tuple[int | None, PointSet]]:
        residual = program.residual
        points = residual.region.points
        if points is None or points.ndim == 2:
            return [(None, sample_residual(self.compiled, residual, n_points, seed))]
        values = None if residual.values is None else np.broadcast_to(residual.values, points.shape[:2])
        return [
            (shot, PointSet(points[shot], values=None if values is None else values[shot][:, None], weights=residual.weights))
            for shot in range(len(points))
        ]

    def _amplitude(self, model: JointModel) -> float:
        """Return the size of a field that would give the observed values."""
        sizes = []
        for program in self.compiled.programs:
            residual = program.residual
            if residual.kind == "observation" and residual.values is not None and any(jet.field < self.compiled.ir.n_fields for jet in program.jets):
                (_, drawn), *_ = self._points(program, 1, 0)
                scale = CONDITION_WEIGHT * residual_scale(self.compiled, program, drawn, self.rows.unknowns(program, model))
                sizes.append(float(np.sqrt(np.mean(np.abs(residual.values) ** 2))) / scale)
        return max(sizes, default=1.0) or 1.0

    def linearise(self, placed: list[Placed], model: JointModel, shots: tuple[int, ...], with_unknowns: bool = True) -> JointRows:
        """Return the weighted rows of a group of shots.

        Raises:
            NonFiniteError: a residual is NaN or infinite.
        """
        blocks, rights, columns = [], [], []
        for item in placed:
            if item.shot is not None and item.shot not in shots:
                continue
            matrix, value, unknowns = self._block(item, model, shots, with_unknowns)
            weight = torch.from_numpy(item.weight).to(self.rows.device)
            if not bool(torch.isfinite(matrix).all() and torch.isfinite(value).all() and torch.isfinite(unknowns).all()):
                raise NonFiniteError(f"the residual of `{item.program.residual.label}`")
            blocks.append(matrix * weight)
            rights.append(-value * weight)
            columns.append(unknowns * weight[:, :, None])
        return JointRows(shots, torch.cat(blocks), torch.cat(rights), torch.cat(columns))

    def residual_rows(self, placed: list[Placed], model: JointModel, shots: tuple[int, ...]) -> torch.Tensor:
        """Return the weighted residuals of a group of shots, (n_rows, n_shots of the group)."""
        pieces = []
        for item in placed:
            value = self.rows.convert(self.rows.residual(item.program, item.points, self._of_shot(model, item))).to(self.rows.dtype)
            chosen = value[:, list(shots) if item.shot is None else [item.shot]]
            pieces.append(chosen * torch.from_numpy(item.weight).to(self.rows.device))
        return torch.cat(pieces)

    def _of_shot(self, model: JointModel, item: Placed) -> JointModel:
        """Return the model of the one shot that the points belong to."""
        if item.shot is None or self.n_shots == 1:
            return model
        return replace(model, coefficients=tuple(c[:, [item.shot]] for c in model.coefficients))

    def _block(self, item: Placed, model: JointModel, shots: tuple[int, ...], with_unknowns: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        matrix, value, unknowns = self._side(item.program, item.points.points, item.points.normals, model, shots, with_unknowns)
        if item.points.other_side is not None:
            other = self._side(item.program, item.points.other_side, item.points.normals, model, shots, with_unknowns)
            matrix, value, unknowns = matrix - other[0], value - other[1], unknowns - other[2]
        if item.points.values is not None:
            given = item.points.values
            measured = given if item.shot is not None or given.shape[1] == 1 else given[:, list(shots)]
            value = value - torch.from_numpy(np.array(np.broadcast_to(measured, value.shape))).to(value)
        return matrix, value, unknowns

    def _side(
        self, program: ResidualProgram, points: NDArray[np.float64], normals: Any, model: JointModel, shots: tuple[int, ...], with_unknowns: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return columns of the fields, the residual (n, shots) and the columns of the unknowns (n, shots, n_parameters)."""
        rows, ir = self.rows, self.compiled.ir
        jets = [self._chosen(model.evaluate(jet.field, points, jet.orders), shots) for jet in program.jets]
        scalars = rows.unknowns(program, model)
        coefficients = [self._chosen(c, shots) for c in program.coefficients(points, normals)]
        partials, value = linear_weights(program, coefficients, jets, scalars, len(points))
        blocks = []
        for index, basis in enumerate(rows.bases):
            weights = {j.orders: p[:, 0] for j, p in zip(program.jets, partials, strict=True) if j.field == index}
            if weights:
                blocks.append(basis.matrix(points, weights, torch, rows.convert).to(rows.dtype))
            else:
                blocks.append(torch.zeros(len(points), basis.n_features, dtype=rows.dtype, device=rows.device))
        shape = (len(points), len(shots))
        residual = rows.convert(np.broadcast_to(value, shape)).to(rows.dtype)
        if not with_unknowns:
            return torch.hstack(blocks), residual, torch.zeros((*shape, 0), dtype=rows.dtype, device=rows.device)
        derivatives = []
        for k, coefficient in enumerate(model.coefficient_bases):
            of_this = {j.orders: p for j, p in zip(program.jets, partials, strict=True) if j.field == ir.n_fields + k}
            derivatives.append(self._coefficient_columns(coefficient, model.thetas[k], points, of_this, shape))
        derivatives.append(self._scalar_columns(program, coefficients, jets, scalars, shape))
        return torch.hstack(blocks), residual, torch.cat(derivatives, dim=2)

    @staticmethod
    def _chosen(values: NDArray[Any], shots: tuple[int, ...]) -> NDArray[Any]:
        """Return the columns of some shots; what serves all shots has one column."""
        return values if values.shape[1] == 1 else values[:, list(shots)]

    def _coefficient_columns(
        self, coefficient: Any, theta: NDArray[np.float64], points: NDArray[np.float64], weights: dict[Any, NDArray[Any]], shape: tuple[int, int]
    ) -> torch.Tensor:
        if not weights:
            return torch.zeros((*shape, coefficient.n_features), dtype=self.rows.dtype, device=self.rows.device)
        members = max(weight.shape[1] for weight in weights.values())
        columns = [
            coefficient.jacobian(points, {orders: w[:, min(shot, w.shape[1] - 1)] for orders, w in weights.items()}, theta) for shot in range(members)
        ]
        stacked = np.broadcast_to(np.stack(columns, axis=1), (*shape, coefficient.n_features))
        return self.rows.convert(stacked).to(self.rows.dtype)

    def _scalar_columns(self, program: ResidualProgram, coefficients: Any, jets: Any, scalars: Any, shape: tuple[int, int]) -> torch.Tensor:
        """Return derivatives along the real parts of all scalars, then along the imaginary parts, zero for real scalars."""
        names = [unknown_symbol(unknown) for unknown in self.compiled.ir.unknowns]
        known = dict(zip(program.unknowns, program.compile(list(program.unknown_partials))(coefficients, jets, scalars), strict=True))
        real = [np.broadcast_to(known.get(name, 0.0), shape) for name in names]
        free = [self.is_complex and declaration_of(unknown).is_complex for unknown in self.compiled.ir.unknowns]
        imaginary = [1j * r if is_free else 0 * r for r, is_free in zip(real, free, strict=True)]
        if not names:
            return torch.zeros((*shape, 0), dtype=self.rows.dtype, device=self.rows.device)
        return self.rows.convert(np.stack([*real, *imaginary], axis=2)).to(self.rows.dtype)
