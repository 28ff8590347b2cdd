"""A network and a compiled problem put together: residual rows, loss and Jacobian as functions of the parameters.

The unknown part of a field is envelope(x) * network(inputs(x)); inputs are the scaled coordinates and what charts add. All fields and shots are
output channels of one network, a complex field two of them; rows are real and imaginary parts of residuals, scaled to the field.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.stream_algebra import StreamAlgebra, stream_algebra
from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.compiler.torch_program import TorchFunction, compile_torch
from pinnsiren.errors import NonFiniteError
from pinnsiren.networks.jacobian import features, residual_jacobian
from pinnsiren.networks.layered import LayeredModule
from pinnsiren.networks.nested import nested_input_streams
from pinnsiren.networks.row_factors import RowFactors, row_factors
from pinnsiren.training.point_streams import PointStreams
from pinnsiren.training.sampling import PointSet, sample_residual
from pinnsiren.training.scaling import residual_scale


@dataclass(frozen=True)
class PreparedPoints:
    """Points of one residual (one side of an interface), ready for the network.

    Attributes:
        inputs: (S, N, n_in) input streams.
        envelopes: per field (S, S, N): streams of envelope * v from the streams of v; None where the envelope is 1.
        coefficients: of the residual's algebra, each (N, 1) or (N, n_shots).
        layout: the streams S of the residual.
        reverse: gradients of the loss take nested differentiation, which is cheaper here.
    """

    inputs: torch.Tensor
    envelopes: tuple[torch.Tensor | None, ...]
    coefficients: list[torch.Tensor]
    layout: StreamLayout
    reverse: bool = False


@dataclass(frozen=True)
class PreparedResidual:
    """One residual on its points.

    Attributes:
        index: position among the residuals.
        sides: one entry, or two for an interface; the residual is their difference.
        values: measured values (N, n_shots) to subtract, or None.
        weights: (N, 1) row weights: scale, number of points and relative weights.
    """

    index: int
    sides: tuple[PreparedPoints, ...]
    values: torch.Tensor | None
    weights: torch.Tensor


class NetworkProblem:
    """Residuals of a compiled problem as functions of a network's output streams."""

    def __init__(self, compiled: CompiledProblem, device: torch.device, dtype: torch.dtype) -> None:
        self.compiled, self.device, self.dtype = compiled, device, dtype
        self.algebras: tuple[StreamAlgebra, ...] = stream_algebra(compiled.programs, compiled.streams)
        self.functions: list[TorchFunction] = [compile_torch(algebra) for algebra in self.algebras]
        self.unknown_functions = [compile_torch(a, a.unknown_partials) if a.unknown_partials else None for a in self.algebras]
        symbols = compiled.ir.coordinates
        extra = dict.fromkeys(chart.network_input for chart in compiled.charts if chart.network_input is not None)
        self.input_expressions = (*compiled.scales.local(symbols), *extra)
        self._point_streams: dict[StreamLayout, PointStreams] = {}

    @property
    def n_inputs(self) -> int:
        """Number of network inputs."""
        return len(self.input_expressions)

    @property
    def n_outputs(self) -> int:
        """Number of network outputs: fields, parts and shots."""
        return sum(1 + is_complex for is_complex in self.compiled.ir.is_complex) * self.compiled.ir.n_shots

    @property
    def complex_dtype(self) -> torch.dtype:
        """Complex type of the run's precision."""
        return torch.complex128 if self.dtype == torch.float64 else torch.complex64

    @property
    def rows_per_point(self) -> int:
        """Real rows of a residual at a point."""
        return (2 if self.compiled.is_complex else 1) * self.compiled.ir.n_shots

    def channels(self, field_index: int) -> tuple[slice, slice | None]:
        """Return the output channels of a field: real parts of all shots, then imaginary parts."""
        shots, start = self.compiled.ir.n_shots, 0
        for is_complex in self.compiled.ir.is_complex[:field_index]:
            start += shots * (1 + is_complex)
        real = slice(start, start + shots)
        return real, slice(start + shots, start + 2 * shots) if self.compiled.ir.is_complex[field_index] else None

    def prepare(self, n_points: int, seed: int) -> list[PreparedResidual]:
        """Draw the points of every residual and evaluate all that does not depend on the parameters."""
        return self.prepare_sets(self.sample(n_points, seed))

    def sample(self, n_points: int, seed: int) -> dict[int, PointSet]:
        """Draw the points of every residual, by its position."""
        residuals = enumerate(self.compiled.ir.residuals)
        drawn = {index: sample_residual(self.compiled, residual, n_points, seed + 31 * index) for index, residual in residuals}
        return {index: points for index, points in drawn.items() if len(points.points)}

    def prepare_sets(self, drawn: dict[int, PointSet]) -> list[PreparedResidual]:
        """Evaluate all that does not depend on the parameters, for given points of some residuals."""
        return [self._prepare(index, points) for index, points in drawn.items()]

    def _prepare(self, index: int, drawn: PointSet) -> PreparedResidual:
        program = self.compiled.programs[index]
        sides = [drawn.points] if drawn.other_side is None else [drawn.points, drawn.other_side]
        initial = dict(zip(self._unknown_names, self.initial_unknowns(), strict=True))
        unknowns = [float(np.real(initial[str(symbol)])) for symbol in program.unknowns]
        scale = residual_scale(self.compiled, program, drawn, unknowns)
        relative = np.ones(len(drawn.points)) if drawn.weights is None else np.sqrt(drawn.weights)
        prepared = tuple(self.prepare_points(points, index, drawn.normals) for points in sides)
        if not all(bool(torch.isfinite(coefficient).all()) for side in prepared for coefficient in side.coefficients):
            raise NonFiniteError(f"the residual of `{program.residual.label}`")
        return PreparedResidual(
            index=index,
            sides=prepared,
            values=None if drawn.values is None else self._tensor(drawn.values),
            weights=self._tensor((relative / (scale * np.sqrt(len(drawn.points))))[:, None]),
        )

    def prepare_points(self, points: NDArray[np.float64], index: int, normals: Any = None) -> PreparedPoints:
        """Evaluate inputs, envelopes and coefficients of a residual at points."""
        coefficients = [self._tensor(c) for c in self.compiled.programs[index].coefficients(points, normals)]
        streams = self.compiled.streams.residuals[index]
        return replace(self.prepare_layout(points, streams.layout), coefficients=coefficients, reverse=streams.reverse)

    def prepare_layout(self, points: NDArray[np.float64], layout: StreamLayout) -> PreparedPoints:
        """Evaluate inputs and envelopes at points, in any layout of closed streams."""
        if layout not in self._point_streams:
            ir = self.compiled.ir
            self._point_streams[layout] = PointStreams(layout, ir.coordinates, self.input_expressions, ir.envelope)
        evaluate = self._point_streams[layout]
        envelopes = tuple(None if matrices is None else self._tensor(matrices) for matrices in evaluate.envelopes(points))
        return PreparedPoints(self._tensor(evaluate.inputs(points)), envelopes, [], layout)

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        kind = self.complex_dtype if np.iscomplexobj(array) else self.dtype
        return torch.from_numpy(np.array(array)).to(device=self.device, dtype=kind)

    def initial_unknowns(self) -> list[complex]:
        """Return the declared initial values of the unknown scalars."""
        return [type(unknown).declaration.initial for unknown in self.compiled.ir.unknowns]

    def field_streams(self, streams: torch.Tensor, prepared: PreparedPoints, field_index: int) -> torch.Tensor:
        """Return the streams (S, N, n_shots) of the unknown part of a field, envelope applied, complex where the field is."""
        real, imaginary = self.channels(field_index)
        values = streams[:, :, real] if imaginary is None else torch.complex(streams[:, :, real], streams[:, :, imaginary])
        matrices = prepared.envelopes[field_index]
        return values if matrices is None else torch.einsum("stn,tnc->snc", matrices.to(values.dtype), values)

    def side_values(self, streams: torch.Tensor, prepared: PreparedPoints, index: int, unknowns: torch.Tensor) -> torch.Tensor:
        """Return the residual's algebra (N, n_shots) on one side, not weighted."""
        algebra = self.algebras[index]
        fields = {f: self.field_streams(streams, prepared, f) for f in {f for f, _, _ in algebra.symbols}}
        arguments = [fields[f][s] for f, s, _ in algebra.symbols]
        names = [str(symbol) for symbol in algebra.program.unknowns]
        used = [unknowns[self._unknown_names.index(name)] for name in names]
        value = self.functions[index](prepared.coefficients, arguments, used)[0]
        return torch.as_tensor(value).expand(prepared.inputs.shape[1], self.compiled.ir.n_shots)

    @property
    def _unknown_names(self) -> list[str]:
        return [f"unknown_{type(unknown).declaration.name}" for unknown in self.compiled.ir.unknowns]

    def rows(self, module: Any, residual: PreparedResidual, unknowns: torch.Tensor) -> torch.Tensor:
        """Return the weighted real rows (R, N) of one residual, with autograd history."""
        values = [self.side_values(self._loss_streams(module, side), side, residual.index, unknowns) for side in residual.sides]
        return self._real_rows(values[0] if len(values) == 1 else values[0] - values[1], residual)

    def _real_rows(self, value: torch.Tensor, residual: PreparedResidual) -> torch.Tensor:
        if residual.values is not None:
            value = value - residual.values
        value = value * residual.weights
        return torch.cat([value.real, value.imag], dim=1).T if value.is_complex() else value.T

    def _streams(self, module: Any, side: PreparedPoints) -> torch.Tensor:
        streams: torch.Tensor = module.streams(side.inputs, None, side.layout)
        return streams

    def _loss_streams(self, module: Any, side: PreparedPoints) -> torch.Tensor:
        if side.reverse and torch.is_grad_enabled():
            return nested_input_streams(module, side.inputs, None, side.layout)
        return self._streams(module, side)

    def all_rows(self, module: Any, residuals: Sequence[PreparedResidual], unknowns: torch.Tensor) -> torch.Tensor:
        """Return all rows as one vector, without autograd history."""
        with torch.no_grad():
            return torch.cat([self.rows(module, residual, unknowns).reshape(-1) for residual in residuals])

    def loss(self, module: Any, residuals: Sequence[PreparedResidual], unknowns: torch.Tensor) -> torch.Tensor:
        """Return half the sum of squares, with autograd history."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for residual in residuals:
            total = total + 0.5 * self.rows(module, residual, unknowns).pow(2).sum().to(torch.float64)
        return total

    def jacobian_columns(
        self, module: Any, residuals: Sequence[PreparedResidual], unknowns: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return all rows and the columns of the last layer alone, (n_rows, n_last_layer), from the features of the last hidden layer."""
        rows, blocks = [], []
        for residual in residuals:
            leaves = [self._streams(module, side).detach().requires_grad_() for side in residual.sides]
            values = [self.side_values(leaf, side, residual.index, unknowns) for leaf, side in zip(leaves, residual.sides, strict=True)]
            real = self._real_rows(values[0] if len(values) == 1 else values[0] - values[1], residual)
            block = torch.zeros(1, device=self.device, dtype=self.dtype)
            seeds = [torch.autograd.grad(row.sum(), leaves, retain_graph=True, allow_unused=True) for row in real]
            for position, side in enumerate(residual.sides):
                hidden = features(module, side.inputs, None, side.layout)
                stacked = torch.stack([torch.zeros_like(leaves[position]) if s[position] is None else s[position] for s in seeds])
                weights = torch.einsum("rsno,snw->rnow", stacked, hidden).flatten(2)
                block = block + torch.cat([weights, stacked[:, 0]], dim=2).flatten(0, 1)
            rows.append(real.detach().reshape(-1))
            blocks.append(block)
        return torch.cat(rows), torch.cat(blocks)

    def jacobian(self, module: Any, residuals: Sequence[PreparedResidual], unknowns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return all rows and their Jacobian (n_rows, n_parameters + n_unknowns)."""
        rows, blocks = [], []
        for residual in residuals:
            real, seeds, columns = self._seeds(module, residual, unknowns)
            block = None
            for side, seed in zip(residual.sides, seeds, strict=True):
                part = residual_jacobian(module, side.inputs, None, side.layout, seed)
                block = part if block is None else block + part
            assert block is not None
            rows.append(real)
            blocks.append(torch.cat([block, columns], dim=1) if len(unknowns) else block)
        return torch.cat(rows), torch.cat(blocks)

    def factored_rows(self, module: LayeredModule, residual: PreparedResidual, unknowns: torch.Tensor) -> tuple[torch.Tensor, RowFactors]:
        """Return the rows of one residual and the factors of their Jacobian."""
        real, seeds, columns = self._seeds(module, residual, unknowns)
        sides = [module.layer_factors(side.inputs, None, side.layout, seed) for side, seed in zip(residual.sides, seeds, strict=True)]
        return real, row_factors(sides, columns)

    def _seeds(self, module: Any, residual: PreparedResidual, unknowns: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
        """Return the rows, their derivatives with respect to the output streams of each side, and with respect to the unknown scalars."""
        leaves = [self._streams(module, side).detach().requires_grad_() for side in residual.sides]
        scalars = unknowns.detach().requires_grad_()
        values = [self.side_values(leaf, side, residual.index, scalars) for leaf, side in zip(leaves, residual.sides, strict=True)]
        real = self._real_rows(values[0] if len(values) == 1 else values[0] - values[1], residual)
        swept = [torch.autograd.grad(row.sum(), leaves, retain_graph=True, allow_unused=True) for row in real]
        seeds = [
            torch.stack([torch.zeros_like(leaf) if s[position] is None else s[position] for s in swept]) for position, leaf in enumerate(leaves)
        ]
        columns = self._unknown_columns(residual, leaves, unknowns) if len(unknowns) else real.new_zeros(real.numel(), 0)
        return real.detach().reshape(-1), seeds, columns.detach()

    def _unknown_columns(self, residual: PreparedResidual, streams: Sequence[torch.Tensor], unknowns: torch.Tensor) -> torch.Tensor:
        """Return the derivatives of the rows with respect to the unknown scalars, (n_rows, n_unknowns)."""
        algebra, function = self.algebras[residual.index], self.unknown_functions[residual.index]
        n_rows = self.rows_per_point * len(residual.weights)
        columns = torch.zeros(n_rows, len(unknowns), dtype=self.dtype, device=self.device)
        if function is None:
            return columns
        used = [unknowns[self._unknown_names.index(str(symbol))] for symbol in algebra.program.unknowns]
        for sign, leaf, side in zip((1, -1), streams, residual.sides, strict=False):
            fields = {f: self.field_streams(leaf.detach(), side, f) for f in {f for f, _, _ in algebra.symbols}}
            arguments = [fields[f][s] for f, s, _ in algebra.symbols]
            for symbol, value in zip(algebra.program.unknowns, function(side.coefficients, arguments, used), strict=True):
                weighted = torch.as_tensor(value).expand(len(residual.weights), self.compiled.ir.n_shots) * residual.weights
                real = torch.cat([weighted.real, weighted.imag], dim=1).T if weighted.is_complex() else weighted.T
                column = self._unknown_names.index(str(symbol))
                columns[: real.numel(), column] += sign * real.reshape(-1)
        return columns
