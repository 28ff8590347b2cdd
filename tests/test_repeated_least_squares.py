"""Least squares with a kept factor: the solution is that of a new factorisation, and another matrix is noticed."""

import numpy as np
import torch

from pinnsiren.training.repeated_least_squares import RepeatedLeastSquares
from pinnsiren.training.row_system import solve_least_squares

ROUNDING = 1e-12


def drawn(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def test_a_matrix_that_comes_back_is_factored_once():
    matrix, repeated = drawn(0, 60, 20), RepeatedLeastSquares()
    for seed in (1, 2, 3):
        right = drawn(seed, 60, 1)
        rounded = matrix * (1 + 1e-14 * drawn(seed + 10, 60, 20))
        assert torch.allclose(repeated.solve(rounded, right), solve_least_squares(matrix, right), rtol=0, atol=ROUNDING)
    assert repeated.factorisations == 1


def test_one_changed_row_is_noticed():
    matrix, right, repeated = drawn(0, 60, 20), drawn(1, 60, 1), RepeatedLeastSquares()
    repeated.solve(matrix, right)
    matrix[17, 3] += 1e-3
    assert torch.allclose(repeated.solve(matrix, right), solve_least_squares(matrix, right), rtol=0, atol=ROUNDING)
    assert repeated.factorisations == 2


def test_a_matrix_of_another_shape_is_factored_anew():
    repeated = RepeatedLeastSquares()
    for n_columns in (20, 12, 20):
        matrix, right = drawn(n_columns, 60, n_columns), drawn(1, 60, 1)
        assert torch.allclose(repeated.solve(matrix, right), solve_least_squares(matrix, right), rtol=0, atol=ROUNDING)
    assert repeated.factorisations == 3
