"""Fields as radial networks: the known incident wave plus waves of Gaussian charges, each of which satisfies the equation of the surrounding medium.

    u(x) = u0(x) + sum_j c_j Gamma(|x - x_j|),     laplacian(Gamma) + kappa^2 Gamma = g,     kappa^2 = k^2 m0

g is a Gaussian of unit integral whose deviation is a fraction of the spacing of its centres, Gamma its outgoing wave, known in closed form. What is
left of `laplacian(u) + k^2 m u - f` is sum_j c_j g(x - x_j) + k^2 (m - m0) u: no derivative is approximated, and jumps of a coefficient stay in c.

Input: `Survey`, centres. Output: `Waves`: the matrices of one frequency, and values of u anywhere.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.incident import IncidentField
from pinnsiren.ir import MultiIndex
from pinnsiren.training.penalty.declared import DeclaredMedium, PointSource, Survey

Array = NDArray[Any]

# Discs of squared slowness 0.25 and 1.8, radius 5 and 6 spacings, against the series: 0.23 % and 0.13 % for 0.75 and 0.9, 0.27 % and 0.33 % for 0.6;
# wider charges are harder to tell apart: the condition number of their matrix at 0.75 is about 300, at 0.9 about 3000.
DEVIATION = 0.75
POINTS_PER_WAVELENGTH = 16.0  # of the start at the highest frequency, as a grid for the same waves takes
FEWEST_POINTS_PER_WAVELENGTH = 8.0
MOST_CENTRES = 3000  # dense matrices: 150 MB and about 10 s per factorisation
CHUNK = 4000


@dataclass(frozen=True)
class Centres:
    """Centres of the charges: middles of square cells that tile the support.

    Attributes:
        points: (n, 2).
        spacing: side of a cell.
        indices: (n, 2), column and row of each cell.
    """

    points: Array
    spacing: float
    indices: Array


def place_centres(medium: DeclaredMedium, largest_wavenumber: float) -> tuple[Centres, float]:
    """Return the centres and the points per shortest wavelength of the start; a large support makes them wider apart."""
    bounds = np.array([medium.support.bounds[symbol] for symbol in medium.coordinates], dtype=float)
    extent = bounds[:, 1] - bounds[:, 0]
    wavelength = 2 * np.pi / (largest_wavenumber * np.sqrt(medium.background))
    spacing = max(wavelength / POINTS_PER_WAVELENGTH, float(np.sqrt(np.prod(extent) / MOST_CENTRES)))
    counts = np.ceil(extent / spacing - 1e-9).astype(int)
    # Square cells: the longer side is tiled exactly, the other overlaps its ends by less than a cell.
    longest = int(np.argmax(extent))
    spacing = float(extent[longest] / counts[longest])
    axes = [middle + spacing * (np.arange(n) - (n - 1) / 2) for middle, n in zip(bounds.mean(axis=1), counts, strict=True)]
    indices = np.stack(np.meshgrid(*[np.arange(n) for n in counts], indexing="ij"), axis=-1).reshape(-1, 2)
    points = np.stack([axes[0][indices[:, 0]], axes[1][indices[:, 1]]], axis=-1)
    inside = np.asarray(medium.support.contains(points))
    return Centres(points[inside], spacing, indices[inside]), wavelength / spacing


class Waves:
    """One frequency.

    Args:
        survey: sources, receivers, data.
        centres: of the charges.
        background: m0.

    Attributes:
        charges: (n, n), g at the centres times the area of a cell.
        inside: (n, n), Gamma at the centres times that area; coefficients are densities of charge.
        to_receivers: (n_receivers, n), Gamma at the receivers, times that area.
        incident: (n, n_shots), u0 at the centres.
        direct: (n_receivers, n_shots), u0 at the receivers.
    """

    def __init__(self, survey: Survey, centres: Centres, background: float) -> None:
        self.survey, self.centres = survey, centres
        self.k_squared = survey.wavenumber**2
        self._kappa = survey.wavenumber * float(np.sqrt(background))
        self._deviation = DEVIATION * centres.spacing
        self._area = centres.spacing**2
        self._charge = IncidentField(self._kappa, self._deviation, 1.0, 2, False)
        offsets = centres.indices[:, None] - centres.indices[None]
        squares, place = np.unique(np.sum(offsets**2, axis=-1), return_inverse=True)
        radii = centres.spacing * np.sqrt(squares)
        place = place.reshape(offsets.shape[:2])
        density = np.exp(-0.5 * (radii / self._deviation) ** 2) / (2 * np.pi * self._deviation**2)
        self.charges = (self._area * density)[place]
        self.inside = (self._area * self._charge.radial(radii)[0])[place]
        self.to_receivers = self._spread(survey.receivers, (0, 0))
        self.incident = self.incoming(centres.points, (0, 0))
        self.direct = self.incoming(survey.receivers, (0, 0))

    def incoming(self, points: Array, orders: MultiIndex) -> Array:
        """Return a derivative of u0, (n_points, n_shots)."""
        result = np.zeros((len(points), len(self.survey.sources)), dtype=complex)
        for shot, sources in enumerate(self.survey.sources):
            for source in sources:
                result[:, shot] += self._wave_of(source).derivative(points - np.array(source.centre), orders)
        return result

    def _wave_of(self, source: PointSource) -> IncidentField:
        return IncidentField(self._kappa, source.deviation, source.amplitude, 2, False)

    def total(self, points: Array, orders: MultiIndex, charges: Array) -> Array:
        """Return a derivative of u at points, (n_points, n_shots), for densities of charge (n, n_shots)."""
        step = max(CHUNK * 50 // max(len(charges), 1), 1)
        pieces = [self._spread(points[first : first + step], orders) @ charges for first in range(0, len(points), step)]
        scattered = np.concatenate(pieces) if pieces else np.zeros((0, charges.shape[1]), dtype=complex)
        return np.asarray(self.incoming(points, orders) + scattered)

    def _spread(self, points: Array, orders: MultiIndex) -> Array:
        """Return a derivative of Gamma around every centre, (n_points, n), times the area of a cell."""
        offsets = (points[:, None] - self.centres.points[None]).reshape(-1, 2)
        return np.asarray(self._area * self._charge.derivative(offsets, orders).reshape(len(points), len(self.centres.points)))
