"""Many shots of one linear operator: sizes are chosen on a few random mixtures of the shots, then all are solved with one factorisation.

With R the residuals (or errors) of S shots, one column each, and W an (S, K) matrix of random signs over sqrt(S), the columns of R W are those of K
problems whose sources are mixtures of the declared ones, since the operator is linear; and |R W|^2 / K has the expectation |R|^2 / S. So everything
that decides when to stop, differences of two sizes and residuals at fresh points, costs as much as for K shots. The factorisation of the last size
is kept for the solution of all, by way of a basis of their right-hand sides where these span few directions; then other mixtures of all solutions are
measured, and may only raise the estimate of the error.

Input: a compiled problem, rows. Output: the mixing matrix, rows of the mixtures, coefficients of all shots.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.residual_program import ResidualProgram
from pinnsiren.training.method import FittedModel
from pinnsiren.training.parallel import ALONE, Ranks
from pinnsiren.training.row_blocks import WHOLE_BYTES, solve_rows
from pinnsiren.training.row_system import RIDGE, RowSystem, column_norms, jets_of, residual_system
from pinnsiren.training.sampling import PointSet
from pinnsiren.training.source_span import SourceSpan, span_of

N_MIXTURES = 16
"""Two shots that err alike count for one: the worst relative deviation of a mean square is sqrt(2/16) = 0.35, far inside what an estimate leaves."""

FEWEST_SHOTS = 4 * N_MIXTURES  # below, mixing saves less than a factor of four of what is not the factorisation
N_PROBES = 32
N_CHECKS = 4 * N_MIXTURES  # mixtures of the solutions that are looked at last: a relative deviation of 0.18 at worst, where 0.35 decided on the way
LEFT_OUT = 0.1  # of the residual that features leave, relative to the right-hand side: squared, it adds a hundredth to a half per cent
OWN_SHARE = 1 / 3  # a shot whose own residual is smaller than three times what a basis leaves out of it is solved by itself


def mixing_of(compiled: CompiledProblem, seed: int) -> NDArray[np.float64] | None:
    """Return random signs (n_shots, N_MIXTURES) over sqrt(n_shots); None for few shots, or where the operator is not linear and one for all."""
    n_shots = compiled.ir.n_shots
    if n_shots < FEWEST_SHOTS or not all(program.is_affine for program in compiled.programs):
        return None
    system = residual_system(compiled)
    for program, drawn in zip(compiled.programs, system.samples(N_PROBES, seed), strict=True):
        if len(drawn.points):
            partials, _ = system.linearised(program, drawn.points, drawn.normals, None)
            if any(partial.shape[1] > 1 for partial in partials):
                return None
    return _signs(n_shots, N_MIXTURES, seed)


def _signs(n_shots: int, n_mixtures: int, seed: int) -> NDArray[np.float64]:
    return np.asarray(np.random.default_rng(seed).choice([-1.0, 1.0], (n_shots, n_mixtures)) / np.sqrt(n_shots))


def mixed(values: NDArray[Any], mixing: NDArray[np.float64]) -> NDArray[Any]:
    """Return the mixtures (n, K) of values (n, n_shots), or of (n, 1) that all shots share."""
    return np.asarray(np.broadcast_to(values, (len(values), len(mixing))) @ mixing)


@dataclass(frozen=True)
class Factor:
    """Householder QR of a matrix with unit columns over the ridge.

    Attributes:
        reflectors: (n_rows + n_columns, n_columns), LAPACK's layout.
        tau: scales of the reflectors.
        norms: of the columns.
        samples: the points of the rows.
        left: residual of the mixtures over their right-hand sides.
    """

    reflectors: torch.Tensor
    tau: torch.Tensor
    norms: torch.Tensor
    samples: list[PointSet]
    left: float = 0.0

    @classmethod
    def of(cls, matrix: torch.Tensor, samples: list[PointSet]) -> "Factor":
        """Factorise; scaling and ridge as in `solve_least_squares`."""
        norms, (n_rows, n_columns) = column_norms(matrix), matrix.shape
        # LAPACK wants columns one after another: in this order it copies no more than once.
        stacked = matrix.new_zeros(n_columns, n_rows + n_columns).t()
        torch.div(matrix, norms, out=stacked[:n_rows])
        stacked[n_rows:].diagonal().fill_(RIDGE)
        reflectors, tau = torch.geqrf(stacked)
        return cls(reflectors, tau, norms, samples)

    def solve(self, right: torch.Tensor) -> torch.Tensor:
        """Return the coefficients (n_columns, n_right) of right-hand sides (n_rows, n_right)."""
        return self.solve_with_rest(right)[0]

    def solve_with_rest(self, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the coefficients, and residuals in rotated coordinates (n_rows, n_right), whose products are those of the residuals."""
        n_columns = self.reflectors.shape[1]
        padded = torch.cat([right, torch.zeros(n_columns, right.shape[1], dtype=right.dtype, device=right.device)]).to(self.reflectors.dtype)
        rotated = torch.ormqr(self.reflectors, self.tau, padded, left=True, transpose=True)
        solution = torch.linalg.solve_triangular(self.reflectors[:n_columns].triu(), rotated[:n_columns], upper=True)
        return solution / self.norms[:, None], rotated[n_columns:]


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

    @property
    def n_right(self) -> int:
        """Right-hand sides: one per mixture."""
        return int(self.mixing.shape[1])

    def measured(self, point_set: PointSet) -> NDArray[Any]:
        """As `RowSystem.measured`, mixed."""
        return mixed(super().measured(point_set), self.mixing)

    def linearised(
        self, program: ResidualProgram, points: NDArray[np.float64], normals: Any, base: FittedModel | None
    ) -> tuple[list[NDArray[Any]], NDArray[Any]]:
        """As `RowSystem.linearised` at zero, the residual mixed."""
        partials, rest = super().linearised(program, points, normals, None)
        return partials, mixed(rest, self.mixing)

    def residual(self, program: ResidualProgram, point_set: PointSet, base: FittedModel) -> NDArray[Any]:
        """Return the residual of a model of the mixtures, (n_points, K)."""
        total: Any = 0.0 if point_set.values is None else -self.measured(point_set)
        for sign, points in ((1.0, point_set.points), (-1.0, point_set.other_side)):
            if points is not None:
                partials, rest = self.linearised(program, points, point_set.normals, None)
                moved = sum(partial * jet for partial, jet in zip(partials, jets_of(base, program, points), strict=True))
                total = total + sign * (moved + rest)
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
        left = float(torch.linalg.vector_norm(matrix @ coefficients - right))
        self._fitted, self._fitted_norm = samples, left / float(np.sqrt(self.mixing.shape[1]))
        return coefficients, replace(factor, left=left / max(float(torch.linalg.vector_norm(right)), 1e-300))

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
            factor = self.fit(samples)[1]
            assert factor is not None
        right = self._right_sides(factor.samples)
        span = span_of(right, LEFT_OUT * factor.left)
        return self._each(factor, right) if span is None else self._combined(factor, right, span)

    def _each(self, factor: Factor, right: torch.Tensor) -> torch.Tensor:
        """Solve all right-hand sides; each process a share."""
        return self.ranks.join_columns(factor.solve(right[:, self.ranks.columns]), right.shape[1])

    def _combined(self, factor: Factor, right: torch.Tensor, span: SourceSpan) -> torch.Tensor:
        """Solve a basis and combine, and solve by themselves those shots whose own residual is hardly above what the basis leaves out."""
        solved = torch.cat(factor.solve_with_rest(span.basis[:, self.ranks.columns]))
        solved = self.ranks.join_columns(solved, span.basis.shape[1])
        parts = span.parts.to(solved)
        coefficients, rest = torch.split(solved, [len(factor.norms), len(right)])
        own = ((rest.mH @ rest @ parts) * parts.conj()).sum(0).real.clamp_min(0.0).sqrt()
        coefficients = coefficients @ parts
        alone = span.left_out > OWN_SHARE * own
        if bool(alone.any()):
            coefficients[:, alone] = self._each(factor, right[:, alone])
        return coefficients

    def _right_sides(self, samples: list[PointSet]) -> torch.Tensor:
        """Return the weighted right-hand sides of all shots, (n_rows, n_shots); the matrix is not assembled."""
        pieces = []
        for program, drawn in zip(self.compiled.programs, samples, strict=True):
            if len(drawn.points):
                right: Any = 0.0 if drawn.values is None else super().measured(drawn)
                for sign, points in ((-1.0, drawn.points), (1.0, drawn.other_side)):
                    if points is not None:
                        right = right + sign * super().linearised(program, points, drawn.normals, None)[1]
                right = np.broadcast_to(right, (len(drawn.points), len(self.mixing)))
                pieces.append(self.convert(right) * self.row_weight(program, drawn))
        return torch.cat(pieces)

    def norm_of_all(self, samples: list[PointSet], coefficients: torch.Tensor, seed: int) -> float:
        """Return what `residual_norm` is for all shots, from `N_CHECKS` mixtures of their solutions that no fit has seen."""
        signs = _signs(len(self.mixing), N_CHECKS, seed)
        matrix, right = MixedRows(self.compiled, self.bases, self.device, self.dtype, signs).rows(samples, None)
        left = torch.linalg.vector_norm(matrix @ (coefficients @ self.convert(signs).to(coefficients)) - right)
        return float(left) / float(np.sqrt(N_CHECKS))
