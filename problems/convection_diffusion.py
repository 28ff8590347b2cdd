"""Transport with little diffusion in one dimension: a boundary layer where the flow leaves.

    -eps u'' + u' = 1   in (0, 1),   u(0) = u(1) = 0
    u = x - (exp((x - 1)/eps) - exp(-1/eps)) / (1 - exp(-1/eps))

eps = 1e-3. The layer at x = 1 is eps wide. Reference: Roos, Stynes, Tobiska (2008), Robust Numerical Methods for Singularly Perturbed Differential
Equations, section I.1.
"""

import sympy as sp

from pinnsiren.language import Dirichlet, Interval, Problem, coordinates, field


def declare(*, diffusion: float = 1e-3) -> Problem:
    """Declare the problem.

    Args:
        diffusion: eps.
    """
    x = coordinates("x")
    u = field("u", x)
    eps = sp.Rational(str(diffusion))  # SymPy pulls decimal numbers out of the exponential, which then overflows
    return Problem(
        name="convection_diffusion",
        fields=[u],
        domain=Interval({x: (0, 1)}),
        equations=[sp.Eq(-eps * u.diff(x, 2) + u.diff(x), 1)],
        conditions=[Dirichlet(u, 0)],
        exact={u: x - (sp.exp((x - 1) / eps) - sp.exp(-1 / eps)) / (1 - sp.exp(-1 / eps))},
    )
