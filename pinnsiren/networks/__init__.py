"""Networks: frozen records of settings, and torch modules that carry derivative streams.

This stage knows torch only; it has never heard of SymPy or of equations. Input:
packed streams of the network's inputs and the matrices of the second-order operators. Output: packed streams
of the fields, their parameter gradients, and Jacobians for Gauss-Newton.
"""

from .activations import ACTIVATIONS, Activation, find_activation
from .base import AbstractNetwork, AbstractNetworkModule
from .fourier import FourierFeatureMLP, FourierFeatureModule
from .jacobian import features, last_layer_columns, residual_jacobian
from .layered import AffineLayer, LayeredModule, LayerFactors
from .mlp import MLP
from .nested import ModuleNetwork, WrappedModule, nested_input_streams, nested_streams
from .rbf import RBFModule, RBFNetwork
from .siren import Siren, SirenModule

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "AbstractNetwork",
    "AbstractNetworkModule",
    "Activation",
    "AffineLayer",
    "FourierFeatureMLP",
    "FourierFeatureModule",
    "LayerFactors",
    "LayeredModule",
    "ModuleNetwork",
    "RBFModule",
    "RBFNetwork",
    "Siren",
    "SirenModule",
    "WrappedModule",
    "features",
    "find_activation",
    "last_layer_columns",
    "nested_input_streams",
    "nested_streams",
    "residual_jacobian",
]
