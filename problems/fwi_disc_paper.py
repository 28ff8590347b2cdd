"""The full-waveform inversion of the SIREN paper, with its measurements: a fast disc from one frequency.

    Lap u + k^2 m u = amplitude * N(x; source, variance)   for every source,   in (-1/2, 1/2)^2, absorbing layers around it
    m = 1/c^2 = 1/4 for |x| < 0.1, 1 outside;   unknown for |x|, |y| < 0.3

k = 20; 5 sources of variance 1e-4 and amplitude 1 + i in a row at y = -0.347, 30 receivers on the three other sides. The measurements are read from
`siren_fwi_cylinder.mat` (the paper's `data_cylinder_5.mat`), which holds no medium: disc and speed were identified by a fit of the exact series,
which explains the data to 1.73 %, the noise declared here. The search starts from a uniform medium within 0.05 < m < 3.

Reference: Sitzmann et al. (2020), section 4.3, and the data that they released (MIT licence).
"""

from pathlib import Path

import numpy as np
import sympy as sp
from scipy.io import loadmat

from pinnsiren.errors import ProblemError
from pinnsiren.language import PML, Box, Observations, Problem, coordinates, field, laplacian, unknown_field

from ..reference_solvers.closed_forms import PenetrableDisc, penetrable_discs
from ._surveys import shots

MEASUREMENTS = Path(__file__).resolve().parents[2] / "shared" / "data" / "siren_fwi_cylinder.mat"


def declare(*, measurements: str | Path = MEASUREMENTS, noise: float = 0.0173, half_side: float = 0.3) -> Problem:
    """Declare the problem.

    Args:
        measurements: path of the file of measurements.
        noise: standard deviation relative to the data.
        half_side: of the square where the medium is unknown.

    Raises:
        ProblemError: the file is not there, or is another one.
    """
    x, y = coordinates("x y")
    at, heard, values = _read(Path(measurements))
    u = field("u", x, y, complex=True, shots=len(at))
    m = unknown_field("m", x, y, initial=1, bounds=(0.05, 3), support=Box({x: (-half_side, half_side), y: (-half_side, half_side)}))
    disc = PenetrableDisc(centre=(0.0, 0.0), radius=0.1, speed=2.0)
    exact = penetrable_discs(k=20, discs=[disc], at=at, variance=1e-4, amplitude=1 + 1j)
    return Problem(
        name="fwi_disc_paper",
        fields=[u],
        domain=Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}),
        equations=[sp.Eq(laplacian(u) + 20**2 * m * u, shots(at, (x, y), 1e-4, 1 + 1j))],
        conditions=[PML(u, width=0.5, strength=5), Observations(u, heard, values, noise=noise)],
        exact={u: exact, m: sp.Piecewise((0.25, x**2 + y**2 < 0.01), (1, True))},
    )


def _read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sources (n_shots, 2), receivers (n, 2) and values (n_shots, n)."""
    if not path.is_file():
        raise ProblemError(
            f"the measurements of the SIREN paper are not at `{path}`: put `siren_fwi_cylinder.mat` (data_cylinder_5.mat of the code that the paper "
            "released) there, or give its path, load(\"fwi_disc_paper\", measurements=...)"
        )
    record = loadmat(path)
    missing = [name for name in ("source", "receivers", "rec_val") if name not in record]
    if missing:
        raise ProblemError(f"`{path}` holds no {', '.join(missing)}; expected the file of the SIREN paper with source, receivers and rec_val")
    return np.asarray(record["source"]), np.asarray(record["receivers"]), np.asarray(record["rec_val"]).T
