"""Helmholtz operators on grids of the plane: schemes, layers, one factorisation for all shots and the adjoint.

The parts from which `linear_box` (declared problems) is independent and on which classical inversion stands: see `inversion`.
"""

from .grid import Grid
from .layers import FaceLayer, best_layer
from .memory import check_memory, estimated_bytes, estimated_fill, free_memory
from .operator import Discretisation, HelmholtzOperator
from .schemes import SCHEMES, Scheme, scheme_named
from .shots import Illumination, Shots, receiver_matrix, simulate

__all__ = [
    "Grid",
    "Discretisation",
    "HelmholtzOperator",
    "Scheme",
    "SCHEMES",
    "scheme_named",
    "FaceLayer",
    "best_layer",
    "Shots",
    "Illumination",
    "receiver_matrix",
    "simulate",
    "check_memory",
    "estimated_bytes",
    "estimated_fill",
    "free_memory",
]
