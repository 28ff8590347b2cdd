"""A small inversion that several test modules share: its grid, its medium, its simulator, its declaration with data of a closed form."""

import numpy as np
import sympy as sp

import pinnsiren as ps
from pinnsiren.networks import Siren
from pinnsiren.reference_solvers.closed_forms import penetrable_disc
from pinnsiren.reference_solvers.frequency_domain import Grid
from pinnsiren.reference_solvers.inversion import Acquisition, Modelling, Simulator
from pinnsiren.training.reduced.medium import NetworkMedium

GRID = Grid.over(((-0.5, 0.5), (-0.5, 0.5)), 0.05)
ACTIVE = np.all(np.abs(np.array(GRID.nodes)) < 0.26, axis=0)
START = np.ones(GRID.shape)
BOUNDS = (0.2, 2.0)
# Central differences of a smooth function with this step leave its square.
STEP, DERIVATIVE_TOLERANCE = 1e-5, 1e-6


def medium(seed=0, width=12, cells=True):
    network = NetworkMedium(Siren(width, 2, omega_0=8.0, omega_hidden=8.0), GRID, START, ACTIVE, BOUNDS, seed, cells)
    vector = network.vector()
    network.move_to(vector + 0.02 * np.random.default_rng(seed).normal(size=vector.size))
    return network


def simulator(wavenumbers=(7.0, 10.0), estimate=False, scheme="nine_point"):
    rng = np.random.default_rng(3)
    sources, receivers = np.array([[-0.4, 0.0], [0.1, -0.42]]), np.array([[0.41, 0.1], [0.0, 0.43], [0.4, -0.3], [-0.2, 0.4]])
    values = rng.normal(size=(len(wavenumbers), 2, 4)) + 1j * rng.normal(size=(len(wavenumbers), 2, 4))
    acquisition = Acquisition.of(
        angular_frequencies=wavenumbers, sources=sources, receivers=receivers, measurements=values, noise=0.1, amplitudes=1 + 1j, variance=1e-4
    )
    return Simulator(acquisition, Modelling(grid=GRID, background=1.0, scheme=scheme), START, estimate_amplitudes=estimate)


def ring(count, radius, turn=0.1):
    angle = turn + 2 * np.pi * np.arange(count) / count
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def declared(wavenumbers=(6.0, 9.0), noise=0.02, convention="+", dead=None, shots=3):
    """A fast disc, data of the closed form."""
    x, y = ps.coordinates("x y")
    at, heard = ring(shots, 0.42), ring(14, 0.44, 0.3)
    m = ps.unknown_field("m", x, y, initial=1, bounds=(0.2, 2), support=ps.Box({x: (-0.25, 0.25), y: (-0.25, 0.25)}))
    source = ps.SourceFamily([ps.GaussianSource(at={x: float(a), y: float(b)}, variance=1e-4, amplitude=1 + 1j) for a, b in at])
    fields, equations, conditions = [], [], []
    for k in wavenumbers:
        u = ps.field(f"u{k:g}", x, y, complex=True, shots=shots)
        series = [penetrable_disc(k=k, radius=0.12, inner_speed=1.4, at=tuple(place), variance=1e-4, amplitude=1 + 1j) for place in at]
        data = np.stack([field(*heard.T) for field in series])
        rng = np.random.default_rng(int(k))
        scale = 0.02 * np.sqrt(np.mean(np.abs(data) ** 2) / 2)
        data = data + scale * (rng.normal(size=data.shape) + 1j * rng.normal(size=data.shape))
        if dead is not None:
            data[:, dead] = 0
        fields.append(u)
        equations.append(sp.Eq(ps.laplacian(u) + k**2 * m * u, source))
        conditions += [ps.PML(u), ps.Observations(u, heard, data if convention == "+" else np.conj(data), noise=noise)]
    return ps.Problem(
        name="small_inversion", fields=fields, domain=ps.Box({x: (-0.5, 0.5), y: (-0.5, 0.5)}), equations=equations, conditions=conditions
    )
