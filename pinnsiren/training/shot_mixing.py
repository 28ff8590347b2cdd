"""Many shots of one linear operator: sizes are chosen on a few random mixtures of the shots, then all are solved with one factorisation.

With R the residuals (or errors) of S shots, one column each, and W an (S, K) matrix of random signs over sqrt(S), the columns of R W are those of K
problems whose sources are mixtures of the declared ones, since the operator is linear; and |R W|^2 / K has the expectation |R|^2 / S. So everything
that decides when to stop, differences of two sizes and residuals at fresh points, costs as much as for K shots. The factorisation of the last size
is kept for the solution of all; then the residual of every shot is measured, and may only raise the estimate of the error.

Input: a compiled problem, rows. Output: the mixing matrix, rows of the mixtures, coefficients of all shots.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.residual_program import ResidualProgram
from pinnsiren.training.method import FittedModel
from pinnsiren.training.parallel import ALONE, Ranks
from pinnsiren.training.row_blocks import WHOLE_BYTES, solve_rows
from pinnsiren.training.row_system import RIDGE, RowSystem, jets_of, residual_system
from pinnsiren.training.sampling import PointSet
from pinnsiren.training.scaling import linear_weights

N_MIXTURES = 16
"""Two shots that err alike count for one: the worst relative deviation of a mean square is sqrt(2/16) = 0.35, far inside what an estimate leaves."""

FEWEST_SHOTS = 4 * N_MIXTURES  # below, mixing saves less than a factor of four of what is not the factorisation
N_PROBES = 32


def mixing_of(compiled: CompiledProblem, seed: int) -> NDArray[np.float64] | None:
    """Return random signs (n_shots, N_MIXTURES) over sqrt(n_shots); None for few shots, or where the operator is not linear and one for all."""
    n_shots = compiled.ir.n_shots
    if n_shots < FEWEST_SHOTS or not all(program.is_affine for program in compiled.programs):
        return None
    system = residual_system(compiled)
    for program, drawn in zip(compiled.programs, system.samples(N_PROBES, seed), strict=True):
        if len(drawn.points):
            partials, _ = _linearised(system, program, drawn.points, drawn.normals)
            if any(partial.shape[1] > 1 for partial in partials):
                return None
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (n_shots, N_MIXTURES))
    return np.asarray(signs / np.sqrt(n_shots))


def mixed(values: NDArray[Any], mixing: NDArray[np.float64]) -> NDArray[Any]:
    """Return the mixtures (n, K) of values (n, n_shots), or of (n, 1) that all shots share."""
    return np.asarray(np.broadcast_to(values, (len(values), len(mixing))) @ mixing)


def _linearised(system: RowSystem, program: ResidualProgram, points: NDArray[np.float64], normals: Any) -> tuple[list[Any], NDArray[Any]]:
    jets = [np.zeros((len(points), 1)) for _ in program.jets]
    return linear_weights(program, program.coefficients(points, normals), jets, system.unknowns(program, None), len(points))


@dataclass(frozen=True)
class Factor:
    """Householder QR of a matrix with unit columns over the ridge.

    Attributes:
        reflectors: (n_rows + n_columns, n_columns), LAPACK's layout.
        tau: scales of the reflectors.
        norms: of the columns.
        samples: the points of the rows.
    """

    reflectors: torch.Tensor
    tau: torch.Tensor
    norms: torch.Tensor
    samples: list[PointSet]

    @classmethod
    def of(cls, matrix: torch.Tensor, samples: list[PointSet]) -> "Factor":
        """Factorise; scaling and ridge as in `solve_least_squares`."""
        norms = torch.linalg.vector_norm(matrix, dim=0)
        norms = torch.where(norms > 0, norms, torch.ones_like(norms))
        ridge = RIDGE * torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
        reflectors, tau = torch.geqrf(torch.cat([matrix / norms, ridge]))
        return cls(reflectors, tau, norms, samples)

    def solve(self, right: torch.Tensor) -> torch.Tensor:
        """Return the coefficients (n_columns, n_right) of right-hand sides (n_rows, n_right)."""
        n_columns = self.reflectors.shape[1]
        padded = torch.cat([right, torch.zeros(n_columns, right.shape[1], dtype=right.dtype, device=right.device)])
        rotated = torch.ormqr(self.reflectors, self.tau, padded, left=True, transpose=True)[:n_columns]
        solution: torch.Tensor = torch.linalg.solve_triangular(self.reflectors[:n_columns].triu(), rotated, upper=True)
        result: torch.Tensor = solution / self.norms[:, None]
        return result


class MixedRows(RowSystem):
    """Rows whose right-hand sides are mixtures of the shots."""

    def __init__(
        self,
        compiled: CompiledProblem,
        bases: tuple[Any, ...],
        device: torch.device,
        dtype: torch.dtype,
        mixing: NDArray[Any],
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__(compiled, bases, device, dtype)
        self.mixing, self.ranks = mixing, ranks
        self._fitted: list[PointSet] | None = None
        self._fitted_norm = 0.0

    def zeros(self) -> tuple[NDArray[Any], ...]:
        """Return coefficients of vanishing mixtures."""
        kind = complex if self.dtype.is_complex else float
        return tuple(np.zeros((basis.n_features, self.mixing.shape[1]), dtype=kind) for basis in self.bases)

    def block(self, program: ResidualProgram, point_set: PointSet, base: FittedModel | None, shot: int) -> tuple[torch.Tensor, torch.Tensor]:
        """As `RowSystem.block`, right-hand sides mixed."""
        block, right = super().block(program, point_set, base, shot)
        return block, self.convert(mixed(right.cpu().numpy(), self.mixing))

    def residual(self, program: ResidualProgram, point_set: PointSet, base: FittedModel) -> NDArray[Any]:
        """Return the residual of a model of the mixtures, (n_points, K)."""
        total = 0.0 if point_set.values is None else -mixed(point_set.values, self.mixing)
        for sign, points in ((1.0, point_set.points), (-1.0, point_set.other_side)):
            if points is not None:
                partials, rest = _linearised(self, program, points, point_set.normals)
                moved = sum(partial * jet for partial, jet in zip(partials, jets_of(base, program, points), strict=True))
                total = total + sign * (moved + mixed(rest, self.mixing))
        return np.asarray(total)

    def residual_norm(self, samples: list[PointSet], base: FittedModel) -> float:
        """As `RowSystem.residual_norm`, per mixture; what `fit` left at its own points comes from its rows, without derivatives."""
        if samples is self._fitted:
            return self._fitted_norm
        n_shots, n_mixtures = self.mixing.shape
        return super().residual_norm(samples, base) * float(np.sqrt(n_shots / n_mixtures))

    def fit(self, samples: list[PointSet], whole_bytes: int = WHOLE_BYTES) -> tuple[torch.Tensor, Factor | None]:
        """Solve the mixtures; the factor is kept unless rows had to be folded block by block."""
        if self._is_large(samples, whole_bytes):
            return solve_rows(self, samples, None, whole_bytes=whole_bytes), None
        matrix, right = self.rows(samples, None)
        factor = Factor.of(matrix, samples)
        coefficients = factor.solve(right)
        left = torch.linalg.vector_norm(matrix @ coefficients - right)
        self._fitted, self._fitted_norm = samples, float(left) / float(np.sqrt(self.mixing.shape[1]))
        return coefficients, factor

    def _is_large(self, samples: list[PointSet], whole_bytes: int = WHOLE_BYTES) -> bool:
        n_columns = sum(basis.n_features for basis in self.bases)
        return bool(sum(len(drawn.points) for drawn in samples) * n_columns * self.dtype.itemsize > whole_bytes)

    def solve_all(self, samples: list[PointSet], factor: Factor | None) -> torch.Tensor:
        """Return the coefficients of all shots, (n_columns, n_shots); each process of the run solves its share."""
        n_shots, own = len(self.mixing), self.ranks.columns
        if factor is None:
            if self._is_large(samples):
                plain = RowSystem(self.compiled, self.bases, self.device, self.dtype)
                return self.ranks.join_columns(solve_rows(plain, samples, None, own), n_shots)
            # A run that was resumed: the factor is not stored, and the same factor gives the same bits.
            factor = Factor.of(self.rows(samples, None)[0], samples)
        return self.ranks.join_columns(factor.solve(self._right_sides(factor.samples)[:, own]), n_shots)

    def _right_sides(self, samples: list[PointSet]) -> torch.Tensor:
        """Return the weighted right-hand sides of all shots, (n_rows, n_shots); the matrix is not assembled."""
        pieces = []
        for program, drawn in zip(self.compiled.programs, samples, strict=True):
            if len(drawn.points):
                right = np.zeros((len(drawn.points), len(self.mixing))) if drawn.values is None else drawn.values
                for sign, points in ((-1.0, drawn.points), (1.0, drawn.other_side)):
                    if points is not None:
                        right = right + sign * _linearised(self, program, points, drawn.normals)[1]
                weighted = self.convert(np.broadcast_to(right, (len(drawn.points), len(self.mixing)))) * self.row_weight(program, drawn)
                pieces.append(weighted.to(self.dtype))
        return torch.cat(pieces)

    def norm_of_all(self, samples: list[PointSet], coefficients: torch.Tensor) -> float:
        """Return what `residual_norm` is for all shots: one product with the matrix, which costs less than their derivatives one by one."""
        matrix, right = RowSystem(self.compiled, self.bases, self.device, self.dtype).rows(samples, None)
        own = self.ranks.columns
        squares = (matrix @ coefficients[:, own] - right[:, own]).abs().pow(2).sum()
        return float(torch.sqrt(self.ranks.add(squares) / len(self.mixing)))
