"""Normal equations of more rows than memory: J^T J and J^T r, summed over blocks of rows in float64.

Input: blocks of a Jacobian and of its residuals. Output: `NormalEquations`, whose size does not depend on the number of rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class NormalEquations:
    """J^T J and J^T r, accumulated in float64 over blocks of rows.

    Attributes:
        n_parameters: P.
        device: where they live.
        gram: (P, P).
        right: (P,).
        squares: sum of r^2.
    """

    n_parameters: int
    device: torch.device
    gram: Tensor = field(init=False)
    right: Tensor = field(init=False)
    squares: float = 0.0

    def __post_init__(self) -> None:
        self.gram = torch.zeros(self.n_parameters, self.n_parameters, dtype=torch.float64, device=self.device)
        self.right = torch.zeros(self.n_parameters, dtype=torch.float64, device=self.device)

    def add(self, jacobian: Tensor, rows: Tensor, weight: float = 1.0) -> None:
        """Add a block (n, P) of the Jacobian and its residuals (n,), both times sqrt(weight)."""
        jacobian, rows = jacobian.double(), rows.double()
        self.gram.addmm_(jacobian.t(), jacobian, alpha=weight)
        self.right.addmv_(jacobian.t(), rows, alpha=weight)
        self.squares += weight * float(rows.pow(2).sum())

    def join(self, add: Callable[[Tensor], Tensor]) -> None:
        """Sum the equations of the processes of a run, `add` summing a tensor over them."""
        self.gram, self.right = add(self.gram), add(self.right)
        self.squares = float(add(self.right.new_tensor(self.squares)))
