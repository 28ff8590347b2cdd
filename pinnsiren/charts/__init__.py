"""Charts and spectra: coordinates in which a solution is smooth and evenly spread, and the frequencies that live on them.

Input: a lowered problem and its scales. Output: candidate charts, each with its reason; every module of this folder with a function `propose` takes
part.
"""

from pinnsiren.charts import kink, layer_envelope, right_angles, scaled_box, windows
from pinnsiren.charts.jets import FeatureJets, compile_jets
from pinnsiren.charts.level_sets import LevelSet, level_sets
from pinnsiren.charts.scales import Scales, find_scales
from pinnsiren.charts.spectra import Frequencies, bandwidth_for_features, draw_frequencies, features_for_bandwidth
from pinnsiren.ir import Chart, ProblemIR, Rewritten

PROPOSERS = (scaled_box, layer_envelope, windows, kink, right_angles)


def propose_charts(ir: ProblemIR, rewritten: Rewritten, scales: Scales) -> tuple[Chart, ...]:
    """Return the charts that every proposer finds fit for the problem."""
    return tuple(chart for proposer in PROPOSERS for chart in proposer.propose(ir, rewritten, scales))


__all__ = [
    "FeatureJets", "Frequencies", "LevelSet", "Scales", "bandwidth_for_features", "compile_jets", "draw_frequencies", "features_for_bandwidth",
    "find_scales", "level_sets", "propose_charts",
]
