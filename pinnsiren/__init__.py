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
    PointCloud,
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
    from pinnsiren.training.cloud_distance import CloudDistance
    from pinnsiren.training.cosine_least_squares import CosineLeastSquares
    from pinnsiren.training.first_arrivals import FirstArrivals
    from pinnsiren.training.gauss_newton import GaussNewton
    from pinnsiren.training.gradient_methods import LBFGS, Adam
    from pinnsiren.training.joint_least_squares import JointLeastSquares
    from pinnsiren.training.joint_profile import ScalarProfile
    from pinnsiren.training.least_squares import LeastSquares
    from pinnsiren.training.plane_waves import PlaneWaves
    from pinnsiren.training.stages import Stages
    from pinnsiren.training.stretched_least_squares import StretchedLeastSquares
    from pinnsiren.training.time_windows import TimeWindows
    from pinnsiren.training.wave_lattice import WaveLattice
    from pinnsiren.training.wave_modes import WaveModes

__version__ = "0.1.0"

_LOADED_ON_USE = {
    "Adam": "pinnsiren.training.gradient_methods",
    "CloudDistance": "pinnsiren.training.cloud_distance",
    "CosineLeastSquares": "pinnsiren.training.cosine_least_squares",
    "FirstArrivals": "pinnsiren.training.first_arrivals",
    "FourierFeatureMLP": "pinnsiren.networks",
    "GaussNewton": "pinnsiren.training.gauss_newton",
    "JointLeastSquares": "pinnsiren.training.joint_least_squares",
    "ScalarProfile": "pinnsiren.training.joint_profile",
    "LBFGS": "pinnsiren.training.gradient_methods",
    "LeastSquares": "pinnsiren.training.least_squares",
    "MLP": "pinnsiren.networks",
    "ModuleNetwork": "pinnsiren.networks",
    "Plan": "pinnsiren.compiler.plan",
    "PlaneWaves": "pinnsiren.training.plane_waves",
    "RBFNetwork": "pinnsiren.networks",
    "Siren": "pinnsiren.networks",
    "Solution": "pinnsiren.solution",
    "Stages": "pinnsiren.training.stages",
    "StretchedLeastSquares": "pinnsiren.training.stretched_least_squares",
    "TimeWindows": "pinnsiren.training.time_windows",
    "WaveLattice": "pinnsiren.training.wave_lattice",
    "WaveModes": "pinnsiren.training.wave_modes",
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
    "Adam", "Ball", "Box", "CloudDistance", "CompileError", "Constraint", "CosineLeastSquares", "Dirichlet", "Disk", "EvaluationError",
    "EvaluationWarning", "FirstArrivals", "FourierFeatureMLP", "GaussNewton", "GaussianSource", "InitialCondition", "Interval", "JointLeastSquares",
    "LBFGS", "LeastSquares", "MLP", "ModuleNetwork", "Neumann", "Observations", "PML", "Penalty", "Periodic", "PinnsirenError", "PinnsirenWarning",
    "Plan", "PlaneWaves", "PointCloud", "Polygon", "Prior", "Problem", "ProblemError", "ProblemWarning", "RBFNetwork", "ReferenceSolverError",
    "RickerWavelet", "Robin", "ScalarProfile", "Siren", "Solution", "SourceFamily", "SpaceTime", "Stages", "Status", "StorageError",
    "StretchedLeastSquares", "TimeWindows", "TrainingError", "UnknownNameError", "WaveLattice", "WaveModes",
    "coordinates", "div", "field", "grad", "laplacian", "load",
    "manufactured",
    "normal", "plan", "sampled", "solve", "unknown", "unknown_field",
]  # fmt: skip
