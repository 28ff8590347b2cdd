"""Least squares on sine features with more rows than memory: rows are assembled, and folded into a triangular factor, block by block.

Input: a `RowSystem` and its points. Output: the coefficients of the linearised problem. Systems that fit are solved whole, as one Householder QR.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch

from pinnsiren.errors import NonFiniteError
from pinnsiren.training.blocked_qr import solve_by_blocks
from pinnsiren.training.method import FittedModel
from pinnsiren.training.row_system import RowSystem, solve_least_squares
from pinnsiren.training.sampling import PointSet

WHOLE_BYTES = 2 << 30
"""Largest matrix that is solved whole: scaling, ridge and LAPACK's copy make about four of it, 8 GiB."""


def solve_rows(
    system: RowSystem, samples: list[PointSet], base: FittedModel | None, shot: int | slice | None = None, whole_bytes: int = WHOLE_BYTES
) -> torch.Tensor:
    """Solve the equations linearised at a model (at zero for None).

    Returns:
        (n_columns, n_shots), those of a slice of the shots, or (n_columns, 1) for the right-hand side of the one `shot` at whose field they were
        linearised.
    """
    wanted = slice(None) if shot is None else shot if isinstance(shot, slice) else slice(shot, shot + 1)
    shot = shot if isinstance(shot, int) else 0
    n_columns = sum(basis.n_features for basis in system.bases)
    n_rows = sum(len(point_set.points) for point_set in samples)
    if n_rows * n_columns * system.dtype.itemsize <= whole_bytes:
        matrix, right = system.rows(samples, base, shot)
        return solve_least_squares(matrix, right[:, wanted])
    # Blocks of fewer rows than columns would spend their time on the triangle.
    rows = max(2 * n_columns, whole_bytes // (4 * n_columns * system.dtype.itemsize))
    return solve_by_blocks((matrix, right[:, wanted]) for matrix, right in row_blocks(system, samples, base, shot, rows))[0]


def row_blocks(
    system: RowSystem, samples: list[PointSet], base: FittedModel | None, shot: int, rows: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Assemble the rows of `RowSystem.rows` a block at a time.

    Raises:
        NonFiniteError: a residual is NaN or infinite.
    """
    for program, point_set in zip(system.compiled.programs, samples, strict=True):
        n_points = len(point_set.points)
        if n_points == 0:
            continue
        # Scales and numbers of points belong to the whole.
        weight = system.row_weight(program, point_set)
        for start in range(0, n_points, rows):
            window = slice(start, min(start + rows, n_points))
            block, right = system.block(program, _restrict(point_set, window), base, shot)
            if not bool(torch.isfinite(block).all() and torch.isfinite(right).all() and torch.isfinite(weight).all()):
                raise NonFiniteError(f"the residual of `{program.residual.label}`")
            yield (block * weight[window]).to(system.dtype), (right * weight[window]).to(system.dtype)


def _restrict(point_set: PointSet, window: slice) -> PointSet:
    return replace(
        point_set,
        points=point_set.points[window],
        normals=None if point_set.normals is None else point_set.normals[window],
        other_side=None if point_set.other_side is None else point_set.other_side[window],
        values=None if point_set.values is None else point_set.values[window],
        weights=None if point_set.weights is None else point_set.weights[window],
    )
