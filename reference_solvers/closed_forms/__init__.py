"""Exact solutions, as callables of NumPy arrays."""

from .hankel import PointSourceField, point_source, propagating_wavenumber
from .penetrable_disc import PenetrableDiscField, penetrable_disc
from .waves import GaussianPulse, gaussian_pulse

__all__ = [
    "GaussianPulse",
    "PenetrableDiscField",
    "PointSourceField",
    "gaussian_pulse",
    "penetrable_disc",
    "point_source",
    "propagating_wavenumber",
]
