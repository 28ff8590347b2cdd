"""Exact solutions, as callables of NumPy arrays."""

from .burgers import BurgersSine, burgers_sine
from .disc_waves import WavesAroundDiscs
from .distances import annulus_distance, ball_distance, box_distance, half_space_distance, polygon_distance, segment_distance
from .hankel import PointSourceField, point_source, propagating_wavenumber
from .heat import SpreadingGaussian, heat_kernel
from .penetrable_disc import PenetrableDiscField, penetrable_disc
from .penetrable_discs import PenetrableDisc, PenetrableDiscsField, penetrable_discs
from .perforated_square import PerforatedSquareField, perforated_square
from .poisson import (
    BoxConstantSource,
    BoxSineSeries,
    CornerSingularity,
    ShellPotential,
    box_constant_source,
    box_sine_series,
    corner_singularity,
    shell_potential,
)
from .solitons import (
    KdVSoliton,
    SchroedingerSoliton,
    SineGordonBreather,
    SineGordonKink,
    kdv_soliton,
    schroedinger_soliton,
    sine_gordon_breather,
    sine_gordon_kink,
)
from .travel_times import constant_gradient_speed, constant_gradient_squared_slowness, homogeneous_travel_time
from .travelling_waves import HalfSpacePulse, PlaneWall, PointSourceWave, half_space_pulse, point_source_wave
from .waves import GaussianPulse, gaussian_pulse

__all__ = [
    "BoxConstantSource",
    "BoxSineSeries",
    "BurgersSine",
    "CornerSingularity",
    "GaussianPulse",
    "HalfSpacePulse",
    "KdVSoliton",
    "PenetrableDisc",
    "PenetrableDiscField",
    "PenetrableDiscsField",
    "PerforatedSquareField",
    "PlaneWall",
    "PointSourceField",
    "PointSourceWave",
    "SchroedingerSoliton",
    "ShellPotential",
    "SineGordonBreather",
    "SineGordonKink",
    "SpreadingGaussian",
    "WavesAroundDiscs",
    "annulus_distance",
    "ball_distance",
    "box_constant_source",
    "box_distance",
    "box_sine_series",
    "burgers_sine",
    "constant_gradient_speed",
    "constant_gradient_squared_slowness",
    "corner_singularity",
    "gaussian_pulse",
    "half_space_distance",
    "half_space_pulse",
    "heat_kernel",
    "homogeneous_travel_time",
    "kdv_soliton",
    "penetrable_disc",
    "penetrable_discs",
    "perforated_square",
    "point_source",
    "point_source_wave",
    "polygon_distance",
    "propagating_wavenumber",
    "schroedinger_soliton",
    "segment_distance",
    "shell_potential",
    "sine_gordon_breather",
    "sine_gordon_kink",
]
