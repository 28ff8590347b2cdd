"""Comparison of a solution with an exact solution and with a grid solver that shares no code with the network.

Input: a `Solution`. Output: a `Report` with errors, verdict and figures; for images, the peak signal-to-noise ratio.
"""

from .comparison import validate
from .psnr import draw_images, psnr
from .report import Comparison, Report, save_figures, save_reports

__all__ = ["Comparison", "Report", "draw_images", "psnr", "save_figures", "save_reports", "validate"]
