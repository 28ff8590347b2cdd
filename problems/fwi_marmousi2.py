"""A crop of Marmousi2 from a marine survey: five frequencies, 14 shots, 58 receivers on the sea floor.

    Lap u_f + (2 pi f)^2 m u_f = N(x; source, variance)   for every f and source,   layers all around;   m = 1/c^2 unknown below the water

f = 1.5, 2, 2.6, 3.3, 4.2 Hz; sources 134 m deep, receivers 336 m deep in 440 m of water. The crop (120 x 53 nodes, 67.14 m) is read from
`marmousi2_true.mat`; lengths, speeds and frequencies are divided by 1024 m, 1024 m/s and 1 Hz. The data come from a grid solver of the
catalogue's own, whose scheme and grid nobody inverts with, with complex normal noise of 2 % of their root mean square per frequency. The search
starts from the smooth model of the same source, or from its trend with depth (`start="trend"`), within 1400 and 5500 m/s.

Reference: Martin, Wiley and Marfurt (2006), The Leading Edge 25; crop and smooth start of ADSeismic.jl (Xu and Weiqiang 2020, MIT licence).
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

import pinnsiren as ps
from pinnsiren.errors import ProblemError
from pinnsiren.language import PML, Box, Observations, Problem, coordinates, declaration_of, laplacian, unknown_field

from ._marine_modelling import simulate
from ._surveys import field_per_frequency, noisy, shots

MODELS = Path(__file__).resolve().parents[2] / "shared" / "data"
UNITS = ps.seismic.Scaling(1024, 1024)
SEA_FLOOR = 440.0
# Of the sources: small against the wavelength, and resolved by the grid that makes the data.
DEVIATION = 45.0
BOUNDS = (1400.0, 5500.0)


def declare(
    *,
    frequencies: tuple[float, ...] = (1.5, 2.0, 2.6, 3.3, 4.2),
    start: str = "smooth",
    every: int = 8,
    noise: float = 0.02,
    seed: int = 0,
    models: str | Path = MODELS,
) -> Problem:
    """Declare the problem.

    Args:
        frequencies: Hz; five points per wavelength of the crop allow 4.4 at most.
        start: `"smooth"`, or `"trend"` for a linear trend with depth.
        every: nodes of the crop from shot to shot.
        noise: standard deviation relative to the data of each frequency; 0 for none.
        seed: of the noise.
        models: folder of `marmousi2_true.mat` and `marmousi2_smooth.mat`.

    Raises:
        ProblemError: the files are not there, or another start.
    """
    x, z = coordinates("x z")
    true, begin = (_model(Path(models), kind).squared_slowness("m_true", (x, z), UNITS) for kind in ("true", start))
    (low, high), (top, bottom) = (_limits(metres) for metres in _model(Path(models), "true").bounds)
    below = Box({x: (low, high), z: (float(UNITS.lengths(SEA_FLOOR)), bottom)})
    m = unknown_field("m", x, z, initial=begin, bounds=tuple(UNITS.squared_slowness(BOUNDS[::-1])), support=below)
    at, heard = _positions(Path(models), every)
    data = _measured(Path(models), frequencies, every)
    fields = field_per_frequency(frequencies, len(at), x, z)
    source = shots(at, (x, z), float(UNITS.lengths(DEVIATION)) ** 2, 1)
    return Problem(
        name="fwi_marmousi2",
        fields=fields,
        domain=Box({x: (low, high), z: (top, bottom)}),
        equations=[sp.Eq(laplacian(u) + (2 * sp.pi * sp.Float(f)) ** 2 * m * u, source) for u, f in zip(fields, frequencies, strict=True)],
        conditions=[
            *[PML(u) for u in fields],
            *[Observations(u, heard, noisy(d, noise, seed + i), noise=noise or None) for i, (u, d) in enumerate(zip(fields, data, strict=True))],
        ],
        exact={m: true},
    )


@cache
def _model(folder: Path, kind: str) -> ps.seismic.VelocityModel:
    """The true model, or a start that has its water."""
    if kind not in ("true", "smooth", "trend"):
        raise ProblemError(f"fwi_marmousi2 was given start={kind!r}; expected \"smooth\" or \"trend\"")
    path = folder / f"marmousi2_{'true' if kind == 'true' else 'smooth'}.mat"
    if not path.is_file():
        raise ProblemError(
            f"Marmousi2 is not at `{path}`: put marmousi2_true.mat and marmousi2_smooth.mat (ADSeismic.jl) into a folder and give its path, "
            'load("fwi_marmousi2", models=...)'
        )
    model = ps.seismic.read_model(path, values="vp", shape=(120, 53))
    if kind == "true":
        return model
    smooth = model if kind == "smooth" else model.depth_trend(fixed_above=SEA_FLOOR)
    return smooth.with_water_of(_model(folder, "true"), SEA_FLOOR)


def _positions(folder: Path, every: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sources and receivers, (n, 2) each, in the units of the declaration."""
    along, depth = (UNITS.lengths(axis) for axis in _model(folder, "true").axes)
    sources, receivers = along[4:116:every], along[2:118:2]
    return np.stack([sources, np.full(len(sources), depth[2])], axis=-1), np.stack([receivers, np.full(len(receivers), depth[5])], axis=-1)


def _limits(metres: tuple[float, float]) -> tuple[float, float]:
    low, high = UNITS.lengths(metres)
    return float(low), float(high)


@cache
def _measured(folder: Path, frequencies: tuple[float, ...], every: int) -> list[NDArray[Any]]:
    """Data without noise, (n_shots, n_receivers) per frequency."""
    model = _model(folder, "true")
    x, z = coordinates("x z")
    medium = declaration_of(model.squared_slowness("m_true", (x, z), UNITS)).evaluate
    sources, receivers = _positions(folder, every)
    found = []
    for f in frequencies:
        shortest = model.values.min() / f
        found.append(
            simulate(
                box=(_limits(model.bounds[0]), _limits(model.bounds[1])),
                # Ten points per wavelength, and less than the cells of the crop: 0.5 % of the data at most, against a grid of a third of the crop's.
                spacing=float(UNITS.lengths(min(0.6 * model.spacing[0], shortest / 10))),
                squared_slowness=medium,
                wavenumber=2 * np.pi * f,
                sources=sources,
                receivers=receivers,
                variance=float(UNITS.lengths(DEVIATION)) ** 2,
            )
        )
    return found
