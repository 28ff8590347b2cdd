"""Comparison of a solution with an exact solution and with a grid solver that shares no code with the network.

Input: a `Solution`. Output: a `Report` with errors, verdict and figures; for images, the peak signal-to-noise ratio;
for inversions, pictures and scores of the medium; surfaces where a field takes a value, and files for other programs.
"""

from .comparison import validate
from .inversion_report import inversion_figures
from .inversion_scores import SpeedScores, speed_scores
from .psnr import draw_images, psnr
from .report import Comparison, Report, save_figures, save_reports
from .surfaces import Surface, extract_lines, extract_surface, save_vtk

__all__ = [
    "Comparison", "Report", "SpeedScores", "Surface", "draw_images", "extract_lines", "extract_surface", "inversion_figures", "psnr", "save_figures",
    "save_reports", "save_vtk", "speed_scores", "validate",
]  # fmt: skip
