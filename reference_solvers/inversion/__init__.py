"""Classical full-waveform inversion on grids: the opponent of the neural inversion."""

from .acquisition import Acquisition, with_noise
from .classical import ClassicalInversion
from .declared import DeclaredInversion, read_inversion
from .priors import Tikhonov, TotalVariation
from .result import InversionResult, Step
from .simulator import Misfit, Modelling, Simulator
from .synthetic import SyntheticData, single_frequencies, with_synthetic_data
from .wavefield_reconstruction import WavefieldReconstruction

__all__ = [
    "Acquisition",
    "with_noise",
    "Modelling",
    "Simulator",
    "Misfit",
    "TotalVariation",
    "Tikhonov",
    "ClassicalInversion",
    "WavefieldReconstruction",
    "DeclaredInversion",
    "read_inversion",
    "InversionResult",
    "SyntheticData",
    "single_frequencies",
    "with_synthetic_data",
    "Step",
]
