"""Physics-informed PDE solving: declare in SymPy, solve on sine networks, validate against grid solvers.

Input: a `Problem`. Output: a `Solution` that estimates its own error. What needs torch is loaded on first use, so that the command line can list and
explain in a moment.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pinnsiren.errors import (
    CompileError,
    EvaluationError,
    EvaluationWarning,
    PinnsirenError,
    PinnsirenWarning,
    ProblemError,
    ProblemWarning,
    ReferenceSolverError,
    StorageError,
    TrainingError,
    UnknownNameError,
)
from pinnsiren.language import (
    PML,
    Ball,
    Box,
    Constraint,
    Dirichlet,
    Disk,
    GaussianSource,
    InitialCondition,
    Interval,
    Neumann,
    Observations,
    Penalty,
    Periodic,
    Polygon,
    Prior,
    Problem,
    RickerWavelet,
    Robin,
    SourceFamily,
    SpaceTime,
    coordinates,
    div,
    field,
    grad,
    laplacian,
    manufactured,
    normal,
    sampled,
    unknown,
    unknown_field,
)
from pinnsiren.status import Status

if TYPE_CHECKING:
    from pinnsiren.compiler.plan import Plan
    from pinnsiren.networks import MLP, FourierFeatureMLP, ModuleNetwork, RBFNetwork, Siren
    from pinnsiren.solution import Solution
    from pinnsiren.solving import plan, solve
    from pinnsiren.storage import load
    from pinnsiren.training.gauss_newton import GaussNewton
    from pinnsiren.training.gradient_methods import LBFGS, Adam
    from pinnsiren.training.joint_least_squares import JointLeastSquares
    from pinnsiren.training.least_squares import LeastSquares
    from pinnsiren.training.stages import Stages

__version__ = "0.1.0"

_LOADED_ON_USE = {
    "Adam": "pinnsiren.training.gradient_methods",
    "FourierFeatureMLP": "pinnsiren.networks",
    "GaussNewton": "pinnsiren.training.gauss_newton",
    "JointLeastSquares": "pinnsiren.training.joint_least_squares",
    "LBFGS": "pinnsiren.training.gradient_methods",
    "LeastSquares": "pinnsiren.training.least_squares",
    "MLP": "pinnsiren.networks",
    "ModuleNetwork": "pinnsiren.networks",
    "Plan": "pinnsiren.compiler.plan",
    "RBFNetwork": "pinnsiren.networks",
    "Siren": "pinnsiren.networks",
    "Solution": "pinnsiren.solution",
    "Stages": "pinnsiren.training.stages",
    "load": "pinnsiren.storage",
    "plan": "pinnsiren.solving",
    "solve": "pinnsiren.solving",
}


def __getattr__(name: str) -> Any:
    """Load what needs torch when it is first asked for."""
    if name in _LOADED_ON_USE:
        return getattr(import_module(_LOADED_ON_USE[name]), name)
    raise AttributeError(f"module `pinnsiren` has no attribute `{name}`; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "LBFGS", "MLP", "PML", "Adam", "Ball", "Box", "CompileError", "Constraint", "Dirichlet", "Disk", "EvaluationError", "EvaluationWarning",
    "FourierFeatureMLP", "GaussNewton", "GaussianSource", "InitialCondition", "Interval", "JointLeastSquares", "LeastSquares", "ModuleNetwork",
    "Neumann", "Observations", "Penalty", "Periodic", "PinnsirenError", "PinnsirenWarning", "Plan", "Polygon", "Prior", "Problem", "ProblemError",
    "ProblemWarning", "RBFNetwork", "ReferenceSolverError", "RickerWavelet", "Robin", "Siren", "Solution", "SourceFamily", "SpaceTime", "Stages",
    "Status", "StorageError", "TrainingError", "UnknownNameError", "coordinates", "div", "field", "grad", "laplacian", "load", "manufactured",
    "normal", "plan", "sampled", "solve", "unknown", "unknown_field",
]  # fmt: skip
