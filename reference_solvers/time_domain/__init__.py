"""The wave equation in time on a uniform grid: difference operators, absorbing layers, explicit time steps, wavelets, shots.

Input: a speed map, faces, sources, receivers. Output: traces and snapshots. The modules in the order in which they build on each other:
`line_operators`, `absorbing_layers`, `stepping`, `wavelets`, `propagator`, `speed_gradient`.
"""

from .absorbing_layers import LayerDesign, design_layer
from .line_operators import LineOperator, spectral_radius
from .propagator import AcousticPropagator, Shot
from .speed_gradient import misfit_and_gradient
from .stepping import WaveOperator, largest_time_step, stability_limit
from .wavelets import highest_frequency, peak_frequency, ricker

__all__ = [
    "AcousticPropagator",
    "LayerDesign",
    "LineOperator",
    "Shot",
    "WaveOperator",
    "design_layer",
    "highest_frequency",
    "largest_time_step",
    "misfit_and_gradient",
    "peak_frequency",
    "ricker",
    "spectral_radius",
    "stability_limit",
]
