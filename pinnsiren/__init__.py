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
    TriangleMesh,
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
    from pinnsiren.language import seismic
    from pinnsiren.networks import MLP, FourierFeatureMLP, ModuleNetwork, RBFNetwork, Siren
    from pinnsiren.solution import Solution
    from pinnsiren.solving import plan, solve
    from pinnsiren.storage import load
    from pinnsiren.training.cloud_distance import CloudDistance
    from pinnsiren.training.cosine_least_squares import CosineLeastSquares
    from pinnsiren.training.diffusion_march import DiffusionMarch
    from pinnsiren.training.first_arrivals import FirstArrivals
    from pinnsiren.training.gauss_newton import GaussNewton
    from pinnsiren.training.gradient_methods import LBFGS, Adam
    from pinnsiren.training.joint_least_squares import JointLeastSquares
    from pinnsiren.training.joint_profile import ScalarProfile
    from pinnsiren.training.least_squares import LeastSquares
    from pinnsiren.training.network_schedules import CausalWeighting, ResidualAdaptive, TangentBalance, TimeCurriculum
    from pinnsiren.training.penalty.method import PenaltyInversion
    from pinnsiren.training.plane_waves import PlaneWaves
    from pinnsiren.training.reduced.reduced_inversion import ReducedInversion
    from pinnsiren.training.stages import Stages
    from pinnsiren.training.stretched_least_squares import StretchedLeastSquares
    from pinnsiren.training.time_windows import TimeWindows
    from pinnsiren.training.wave_lattice import WaveLattice
    from pinnsiren.training.wave_march import WaveMarch
    from pinnsiren.training.wave_modes import WaveModes

__version__ = "0.1.0"

_LOADED_ON_USE = {
    "Adam": "pinnsiren.training.gradient_methods",
    "CausalWeighting": "pinnsiren.training.network_schedules",
    "CloudDistance": "pinnsiren.training.cloud_distance",
    "CosineLeastSquares": "pinnsiren.training.cosine_least_squares",
    "DiffusionMarch": "pinnsiren.training.diffusion_march",
    "FirstArrivals": "pinnsiren.training.first_arrivals",
    "FourierFeatureMLP": "pinnsiren.networks",
    "GaussNewton": "pinnsiren.training.gauss_newton",
    "JointLeastSquares": "pinnsiren.training.joint_least_squares",
    "LBFGS": "pinnsiren.training.gradient_methods",
    "LeastSquares": "pinnsiren.training.least_squares",
    "load": "pinnsiren.storage",
    "MLP": "pinnsiren.networks",
    "ModuleNetwork": "pinnsiren.networks",
    "PenaltyInversion": "pinnsiren.training.penalty.method",
    "Plan": "pinnsiren.compiler.plan",
    "plan": "pinnsiren.solving",
    "PlaneWaves": "pinnsiren.training.plane_waves",
    "RBFNetwork": "pinnsiren.networks",
    "ReducedInversion": "pinnsiren.training.reduced.reduced_inversion",
    "ResidualAdaptive": "pinnsiren.training.network_schedules",
    "ScalarProfile": "pinnsiren.training.joint_profile",
    "seismic": "pinnsiren.language.seismic",
    "Siren": "pinnsiren.networks",
    "Solution": "pinnsiren.solution",
    "solve": "pinnsiren.solving",
    "Stages": "pinnsiren.training.stages",
    "StretchedLeastSquares": "pinnsiren.training.stretched_least_squares",
    "TangentBalance": "pinnsiren.training.network_schedules",
    "TimeCurriculum": "pinnsiren.training.network_schedules",
    "TimeWindows": "pinnsiren.training.time_windows",
    "WaveLattice": "pinnsiren.training.wave_lattice",
    "WaveMarch": "pinnsiren.training.wave_march",
    "WaveModes": "pinnsiren.training.wave_modes",
}


def __getattr__(name: str) -> Any:
    """Load what needs torch when it is first asked for."""
    if name in _LOADED_ON_USE:
        module = import_module(_LOADED_ON_USE[name])
        return module if module.__name__.endswith(f".{name}") else getattr(module, name)
    raise AttributeError(f"module `pinnsiren` has no attribute `{name}`; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "Adam", "Ball", "Box", "CausalWeighting", "CloudDistance", "CompileError", "Constraint", "CosineLeastSquares",
    "DiffusionMarch", "Dirichlet", "Disk",
    "EvaluationError", "EvaluationWarning", "FirstArrivals", "FourierFeatureMLP", "GaussNewton", "GaussianSource", "InitialCondition", "Interval",
    "JointLeastSquares", "LBFGS", "LeastSquares", "MLP", "ModuleNetwork", "Neumann", "Observations", "PML", "Penalty", "PenaltyInversion",
    "Periodic", "PinnsirenError", "PinnsirenWarning", "Plan", "PlaneWaves", "PointCloud", "Polygon", "Prior", "Problem", "ProblemError",
    "ProblemWarning", "RBFNetwork", "ReducedInversion", "ReferenceSolverError", "ResidualAdaptive", "RickerWavelet", "Robin", "ScalarProfile",
    "Siren", "Solution", "SourceFamily", "SpaceTime", "Stages", "Status", "StorageError", "StretchedLeastSquares", "TangentBalance",
    "TimeCurriculum", "TimeWindows", "TrainingError", "TriangleMesh", "UnknownNameError", "WaveLattice", "WaveMarch", "WaveModes", "coordinates",
    "div", "field", "grad", "laplacian", "load", "manufactured", "normal", "plan", "sampled", "seismic", "solve", "unknown", "unknown_field",
]  # fmt: skip
