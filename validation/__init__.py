"""Comparison of a solution with an exact solution and with a grid solver that shares no code with the network.

Input: a `Solution`. Output: a `Report` with errors, verdict and figures; for images, the peak signal-to-noise ratio;
for inversions, pictures and scores of the medium.
"""

from .comparison import validate
from .inversion_report import inversion_figures
from .inversion_scores import SpeedScores, speed_scores
from .psnr import draw_images, psnr
from .report import Comparison, Report, save_figures, save_reports

__all__ = [
    "Comparison",
    "Report",
    "SpeedScores",
    "draw_images",
    "inversion_figures",
    "psnr",
    "save_figures",
    "save_reports",
    "speed_scores",
    "validate",
]
