"""Charts and spectra: coordinates in which a solution is smooth and evenly spread, and the frequencies that live on them.

Input: a lowered problem and its scales. Output: candidate charts, each with its reason; every module of this folder with a function `propose` takes
part.
"""

from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from pinnsiren.charts.gradings import AbstractGrading, grading_from_tree, grading_to_tree
from pinnsiren.charts.jets import FeatureJets, compile_jets
from pinnsiren.charts.level_sets import LevelSet, level_sets
from pinnsiren.charts.scales import Scales, find_scales
from pinnsiren.charts.spectra import (
    AbstractSpectrum,
    Frequencies,
    bandwidth_for_features,
    draw_frequencies,
    features_for_bandwidth,
    spectrum_from_tree,
    spectrum_to_tree,
)
from pinnsiren.ir import Chart, ProblemIR, Rewritten

FIRST = "scaled_box"  # the chart that the shares of all others refer to


@lru_cache(maxsize=1)
def proposers() -> tuple[Any, ...]:
    """Return the modules of this folder that propose charts: the scaled box, then the others by name."""
    names = sorted((module.name for module in iter_modules(__path__)), key=lambda name: (name != FIRST, name))
    modules = (import_module(f"{__name__}.{name}") for name in names)
    return tuple(module for module in modules if hasattr(module, "propose"))


def propose_charts(ir: ProblemIR, rewritten: Rewritten, scales: Scales) -> tuple[Chart, ...]:
    """Return the charts that every proposer finds fit for the problem."""
    return tuple(chart for proposer in proposers() for chart in proposer.propose(ir, rewritten, scales))


__all__ = [
    "AbstractGrading", "AbstractSpectrum", "FeatureJets", "Frequencies", "LevelSet", "Scales", "bandwidth_for_features", "compile_jets",
    "draw_frequencies", "features_for_bandwidth", "find_scales", "grading_from_tree", "grading_to_tree", "level_sets",
    "propose_charts", "spectrum_from_tree", "spectrum_to_tree",
]
