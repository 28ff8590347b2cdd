"""Torch programs: the algebra of residuals on torch tensors, common subexpressions shared.

Input: `StreamAlgebra`. Output: a function of coefficients, streams and unknowns. Only algebra and elementary functions of fields run here;
coefficients were evaluated by NumPy before.
"""

from collections.abc import Callable, Sequence
from typing import Any

import sympy as sp
import torch

from pinnsiren.compiler.stream_algebra import StreamAlgebra
from pinnsiren.errors import CompileError

TorchFunction = Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor], Sequence[torch.Tensor]], list[torch.Tensor]]

FUNCTIONS: dict[str, Any] = {
    "sin": torch.sin, "cos": torch.cos, "tan": torch.tan, "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "tanh": torch.tanh,
    "sinh": torch.sinh, "cosh": torch.cosh, "asin": torch.asin, "acos": torch.acos, "atan": torch.atan, "asinh": torch.asinh, "acosh": torch.acosh,
    "atanh": torch.atanh, "Abs": torch.abs, "sign": torch.sgn, "conjugate": torch.conj, "re": torch.real, "im": torch.imag, "erf": torch.erf,
    "Max": torch.maximum, "Min": torch.minimum, "I": 1j, "pi": torch.pi, "E": 2.718281828459045,
    "PositivePart": torch.relu, "Step": lambda x: (x > 0).to(x.dtype),
}  # fmt: skip


def compile_torch(algebra: StreamAlgebra, expressions: Sequence[Any] | None = None) -> TorchFunction:
    """Compile expressions in the symbols of an algebra (its residual when None) to a torch function.

    Raises:
        CompileError: a function of a field that torch does not have; the message names it.
    """
    wanted = [algebra.expression] if expressions is None else list(expressions)
    for expression in wanted:
        for node in sp.sympify(expression).atoms(sp.Function):
            if type(node).__name__ not in FUNCTIONS:
                raise CompileError(
                    f"{algebra.program.residual.label}: the function `{node}` of a field cannot be trained; known are {', '.join(sorted(FUNCTIONS))}"
                )
    compiled = sp.lambdify(algebra.arguments(), wanted, modules=[FUNCTIONS], cse=True)
    return lambda coefficients, streams, unknowns: list(compiled(coefficients, streams, unknowns))
