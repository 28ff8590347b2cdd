"""Records of methods and networks as JSON trees, for storage and the command line; a whitelist, nothing is evaluated."""

from dataclasses import fields
from typing import Any

from pinnsiren.errors import StorageError, UnknownNameError
from pinnsiren.networks import MLP, FourierFeatureMLP, RBFNetwork, Siren
from pinnsiren.training.cloud_distance import CloudDistance
from pinnsiren.training.cosine_least_squares import CosineLeastSquares
from pinnsiren.training.diffusion_march import DiffusionMarch
from pinnsiren.training.first_arrivals import FirstArrivals
from pinnsiren.training.gauss_newton import GaussNewton
from pinnsiren.training.gradient_methods import LBFGS, Adam
from pinnsiren.training.joint_least_squares import JointLeastSquares
from pinnsiren.training.joint_profile import ScalarProfile
from pinnsiren.training.least_squares import LeastSquares
from pinnsiren.training.network_schedules import SCHEDULES
from pinnsiren.training.penalty.method import PenaltyInversion
from pinnsiren.training.plane_waves import PlaneWaves
from pinnsiren.training.reduced.reduced_inversion import ReducedInversion
from pinnsiren.training.stages import Stages
from pinnsiren.training.stretched_least_squares import StretchedLeastSquares
from pinnsiren.training.time_windows import TimeWindows
from pinnsiren.training.wave_lattice import WaveLattice
from pinnsiren.training.wave_march import WaveMarch
from pinnsiren.training.wave_modes import WaveModes

_METHODS = (
    LeastSquares, JointLeastSquares, CosineLeastSquares, StretchedLeastSquares, WaveLattice, PlaneWaves, WaveModes, WaveMarch, TimeWindows,
    DiffusionMarch, FirstArrivals, CloudDistance, ScalarProfile, ReducedInversion, PenaltyInversion, GaussNewton, LBFGS, Adam, Stages,
)  # fmt: skip
METHODS: dict[str, Any] = {record.__name__: record for record in _METHODS}
_SCHEDULES: dict[str, Any] = {record.__name__: record for record in SCHEDULES}
NETWORKS: dict[str, Any] = {record.__name__: record for record in (Siren, MLP, FourierFeatureMLP, RBFNetwork)}


def record_to_tree(record: Any) -> Any:
    """Return {"record": class name, "settings": {...}}; None stays None."""
    if record is None or isinstance(record, (bool, int, float, str)):
        return record
    if isinstance(record, (list, tuple)):
        return [record_to_tree(item) for item in record]
    name = type(record).__name__
    if name not in {**METHODS, **NETWORKS, **_SCHEDULES}:
        raise StorageError(f"a record of type `{name}` cannot be stored; known are {', '.join([*METHODS, *NETWORKS])}")
    return {"record": name, "settings": {f.name: record_to_tree(getattr(record, f.name)) for f in fields(record)}}


def record_from_tree(tree: Any) -> Any:
    """Return the record of a tree.

    Raises:
        StorageError: a class that is not on the whitelist, or settings that it does not have.
    """
    if isinstance(tree, list):
        return tuple(record_from_tree(item) for item in tree)
    if not isinstance(tree, dict):
        return tree
    known = {**METHODS, **NETWORKS, **_SCHEDULES}
    name = tree.get("record")
    if name not in known:
        raise StorageError(f"the file names the record `{name}`; known are {', '.join(known)}")
    settings = {key: record_from_tree(value) for key, value in tree.get("settings", {}).items()}
    try:
        return known[name](**settings)
    except TypeError as error:
        raise StorageError(f"the file gives `{name}` settings that it does not have: {error}") from error


def named_record(name: str, known: dict[str, Any]) -> Any:
    """Return a record with default settings by class name.

    Raises:
        UnknownNameError: an unknown name; the message lists the known ones.
    """
    matches = {known_name.lower(): record for known_name, record in known.items()}
    if name.lower() not in matches:
        raise UnknownNameError(f"`{name}` is unknown; known are {', '.join(known)}")
    return matches[name.lower()]()
