"""Surveys: traces with geometry and velocity models from files, in metres, seconds, Hz and m/s, on their way into a declaration.

Input: MATLAB, NumPy, HDF5 and SEG-Y files, or arrays. Output: `TimeGathers`, `FrequencyGathers`, `VelocityModel`, and `Scaling`, the one object that
turns their units into those of a declaration. Nothing here solves an equation.
"""

from pinnsiren.language.survey_checks import check_convention, check_positions, check_units

from .array_files import read_arrays
from .gathers import FrequencyGathers, TimeGathers, efficient_frequencies
from .readers import read_gathers, read_model, write_gathers
from .scaling import Scaling
from .velocity import VelocityModel

__all__ = [
    "FrequencyGathers",
    "Scaling",
    "TimeGathers",
    "VelocityModel",
    "check_convention",
    "check_positions",
    "check_units",
    "efficient_frequencies",
    "read_arrays",
    "read_gathers",
    "read_model",
    "write_gathers",
]
