"""The language: what a user writes. Input: SymPy expressions. Output: a checked, frozen `Problem`."""

from pinnsiren.language.conditions import (
    PML,
    AbstractCondition,
    ConditionResidual,
    Constraint,
    Dirichlet,
    InitialCondition,
    Neumann,
    Observations,
    Periodic,
    Robin,
)
from pinnsiren.language.domains import (
    AbstractDomain,
    AbstractShape,
    Ball,
    Boundary,
    Box,
    Disk,
    Interval,
    PointCloud,
    Polygon,
    SpaceTime,
    TriangleMesh,
)
from pinnsiren.language.locations import Region
from pinnsiren.language.manufactured import manufactured
from pinnsiren.language.operators import (
    Divergence,
    Laplacian,
    NormalComponent,
    SpatialDerivative,
    div,
    expand_operators,
    grad,
    laplacian,
    normal,
)
from pinnsiren.language.penalties import Penalty, Prior
from pinnsiren.language.problem import Problem
from pinnsiren.language.sampled import SampledDeclaration, sampled
from pinnsiren.language.sources import GaussianSource, RickerWavelet, SourceFamily, expand_sources, select_shot
from pinnsiren.language.symbols import (
    FieldDeclaration,
    UnknownDeclaration,
    UnknownFieldDeclaration,
    coordinates,
    declaration_of,
    field,
    is_field,
    is_unknown,
    unknown,
    unknown_field,
)

__all__ = [
    "PML", "AbstractCondition", "AbstractDomain", "AbstractShape", "Ball", "Boundary", "Box", "ConditionResidual", "Constraint", "Dirichlet",
    "Disk", "Divergence", "FieldDeclaration", "GaussianSource", "InitialCondition", "Interval", "Laplacian", "Neumann", "NormalComponent",
    "Observations", "Penalty", "Periodic", "PointCloud", "Polygon", "Prior", "Problem", "Region", "RickerWavelet", "Robin", "SampledDeclaration",
    "SourceFamily", "SpaceTime", "SpatialDerivative", "TriangleMesh", "UnknownDeclaration", "UnknownFieldDeclaration", "coordinates",
    "declaration_of", "div", "expand_operators",
    "expand_sources", "field", "grad", "is_field", "is_unknown", "laplacian", "manufactured", "normal", "sampled", "select_shot", "unknown",
    "unknown_field",
]  # fmt: skip
