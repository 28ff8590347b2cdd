"""The damped step of many residuals and many parameters: conjugate gradients on all rows, preconditioned by a sketch of them.

(A^T A + mu) v = -A^T r with A = J D^-1, D the separable norms; A is never formed: products with it and its transpose come from the factors of the
streams, piece by piece of the points. The sketch B keeps a point n with the probability p_n = min(1, m (1/2N + |A_n|^2 / 2 |A|^2)) and its rows
times p_n^-1/2, so that B^T B has the expectation A^T A. M = B^T B + mu is inverted by Woodbury's identity with the Gram matrix of B, again from the
factors. A sketch that is too small costs iterations and never the step: what is returned solves the equations of all rows, or is the best step of the
Krylov space after `ITERATIONS`, whose predicted decrease is measured on all rows.

Reference: Drineas, Kannan and Mahoney 2006 for lengths as probabilities; Avron, Maymounkov and Toledo 2010 for sketches as preconditioners;
Steihaug 1983 for steps cut short.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinnsiren.networks.row_factors import RowFactors, row_squares, separable_norms, squared_norms
from pinnsiren.training.accumulation import CHUNK_POINTS, restrict_residual, split_residual
from pinnsiren.training.dual_system import FactoredMatrix
from pinnsiren.training.network_problem import NetworkProblem, PreparedResidual
from pinnsiren.training.parallel import ALONE, Ranks

ITERATIONS = 100
SOLVED = 1e-6  # residual of the equations over the first, in the norm of the preconditioner: steps agree with a factorisation to about 1e-4
LEAST_SHIFT = 1e-10  # of the trace of the Gram matrix: Woodbury's identity loses as many digits as the shift lies below


class StreamedRows:
    """A = J D^-1 of the points of this process, as factors that are kept where they fit and made anew for each product otherwise.

    Args:
        problem: residuals.
        module: a layered network.
        residuals: all points of the run.
        unknowns: values of the unknown scalars.
        kept_bytes: factors up to this size are kept.
        ranks: the processes of the run, each with every `size`-th point.
    """

    def __init__(
        self, problem: NetworkProblem, module: Any, residuals: Sequence[PreparedResidual], unknowns: Tensor, kept_bytes: int, ranks: Ranks = ALONE
    ) -> None:
        self.problem, self.module, self.unknowns, self.ranks, self.residuals = problem, module, unknowns, ranks, residuals
        own = [restrict_residual(residual, slice(ranks.rank, None, ranks.size)) for residual in residuals]
        # Factors of a piece are all that is held when they are not kept.
        self.pieces = [piece for residual in own for piece in split_residual(residual, CHUNK_POINTS // 8)]
        self.kept: list[RowFactors] | None = []
        squares, rows, used = [], [], 0
        for piece in self.pieces:
            values, factors = problem.factored_rows(module, piece, unknowns)
            rows.append(values)
            squares.append(squared_norms(factors))
            used += factors.n_bytes
            if self.kept is not None and used <= kept_bytes:
                self.kept.append(factors)
            else:
                self.kept = None
        self.rows = torch.cat(rows)
        self.norms = separable_norms(ranks.add(torch.stack(squares).sum(0)), factors)
        self.flat = self.norms.flat()

    def _factors(self) -> Iterator[RowFactors]:
        for index, piece in enumerate(self.pieces):
            yield self.kept[index] if self.kept is not None else self.problem.factored_rows(self.module, piece, self.unknowns)[1]

    def product(self, scaled: Tensor) -> Tensor:
        """A v, of the rows of this process."""
        direction = scaled / self.flat
        return torch.cat([factors.product(direction) for factors in self._factors()])

    def transpose_product(self, rows: Tensor) -> Tensor:
        """A^T y, of the rows of all processes."""
        total, start = torch.zeros_like(self.flat), 0
        for factors in self._factors():
            total += factors.transpose_product(rows[start : start + factors.n_rows])
            start += factors.n_rows
        return self.ranks.add(total / self.flat)

    def sketch(self, n_rows: int, seed: int) -> FactoredMatrix:
        """Draw B with about `n_rows` rows in expectation, the same on every process."""
        lengths = self._lengths()
        total, n_points = sum(float(part.sum()) for part in lengths), sum(len(part) for part in lengths)
        per_point = sum(r.weights.numel() * self.problem.rows_per_point for r in self.residuals) / n_points
        draw = np.random.default_rng(seed)
        found = []
        for residual, length in zip(self.residuals, lengths, strict=True):
            chance = np.minimum(1.0, n_rows / per_point * (0.5 / n_points + 0.5 * length / max(total, 1e-300)))
            chosen = np.flatnonzero(draw.uniform(size=len(length)) < chance)
            if len(chosen):
                index = torch.from_numpy(chosen).to(self.problem.device)
                scale = torch.from_numpy(chance[chosen] ** -0.5).to(residual.weights)
                part = restrict_residual(residual, index)
                part = replace(part, weights=part.weights * scale[:, None])
                found.append(self.problem.factored_rows(self.module, part, self.unknowns)[1])
        return FactoredMatrix(found, self.norms)

    def _lengths(self) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
        """Squared norms of the rows of A summed over the residuals at a point, of all points, per residual."""
        sizes = [len(residual.weights) for residual in self.residuals]
        found = torch.zeros(sum(sizes), dtype=torch.float64, device=self.problem.device)
        own = [torch.arange(self.ranks.rank, size, self.ranks.size) + sum(sizes[:k]) for k, size in enumerate(sizes)]
        places, start = torch.cat(own).to(found.device), 0
        for factors in self._factors():
            found[places[start : start + factors.n_points]] = row_squares(factors.scaled(self.norms)).to(found)
            start += factors.n_points
        return [part.cpu().numpy() for part in torch.split(self.ranks.add(found), sizes)]


class SketchedSystem:
    """The damped equations of all rows.

    Args:
        matrix: A.
        n_rows: of the sketch.
        seed: of the sketch.
    """

    def __init__(self, matrix: StreamedRows, n_rows: int, seed: int) -> None:
        self.matrix, self.norms = matrix, matrix.flat
        self.sketch = matrix.sketch(n_rows, seed)
        self.gram = self.sketch.gram(matrix.ranks)
        self.right = -matrix.transpose_product(matrix.rows)
        self.squares = float(matrix.ranks.add(matrix.rows.pow(2).sum()))
        self.iterations = 0

    def step(self, damping: float) -> tuple[Tensor, float]:
        """Return the step and the decrease of half the sum of squares that the linear model predicts."""
        shift = max(damping, LEAST_SHIFT * float(self.gram.diagonal().sum()))
        shifted = self.gram + shift * torch.eye(len(self.gram), dtype=self.gram.dtype, device=self.gram.device)
        factor, failed = torch.linalg.cholesky_ex(shifted)
        if int(failed):
            return torch.zeros_like(self.norms), 1.0
        scaled = self._solve(damping, factor, shift)
        model = self.matrix.rows + self.matrix.product(scaled)
        predicted = 0.5 * (self.squares - float(self.matrix.ranks.add(model.pow(2).sum())))
        return scaled / self.norms, predicted

    def _solve(self, damping: float, factor: Tensor, shift: float) -> Tensor:
        """Preconditioned conjugate gradients from zero, whose iterates lower the damped model at every step."""

        def preconditioned(vector: Tensor) -> Tensor:
            inner = torch.cholesky_solve(self.sketch.product(vector)[:, None], factor)[:, 0]
            return (vector - self.sketch.transpose_product(inner)) / shift

        solution, rest = torch.zeros_like(self.right), self.right.clone()
        towards = preconditioned(rest)
        direction, energy = towards.clone(), float(rest @ towards)
        first, self.iterations = energy, 0
        while self.iterations < ITERATIONS and energy > SOLVED**2 * first:
            image = self.matrix.transpose_product(self.matrix.product(direction)) + damping * direction
            length = energy / float(direction @ image)
            solution += length * direction
            rest -= length * image
            towards = preconditioned(rest)
            energy, before = float(rest @ towards), energy
            direction = towards + (energy / before) * direction
            self.iterations += 1
        return solution
