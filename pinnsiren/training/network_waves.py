"""Start of a network on a wave equation: the first layer carries plane waves, the hidden layers are nearly linear.

Input: a compiled problem and the record of a sine network. Output: the module, its last layer at its least-squares optimum.

Where the only equation has constant coefficients and a dispersion relation omega(k) without damping, every sine of the first layer that obeys it
solves the equation. Small weights b + delta (W z) of the next layer turn the network into a superposition of these waves, but for terms of the size
of delta^2: it starts as a Fourier method in the clothes of a network, on a lattice of wavenumbers that knows nothing of the data, and training then
moves frequencies, directions and phases, which no Fourier method does. How far the lattice reaches is chosen by the residual of the last layer.

Reference: Sitzmann et al. (2020), section 3.2, for the weights that are not said here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.charts.dispersion import Dispersion, read_dispersion
from pinnsiren.compiler.apply_wall_rows import NAME as WALL_ROWS
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.networks.siren import Siren
from pinnsiren.training.network_problem import NetworkProblem, PreparedResidual

NEARLY_LINEAR = 0.02  # delta: cubic terms are then 1e-4 of the waves, and rounding is amplified by 1/delta only
REACHES = tuple(2.0 ** (step / 2) for step in range(-4, 4))  # of the lattice against the one whose waves are just distinct on the domain
STEADY = 1e-9  # of |s|: real part of a root below which a wave neither decays nor grows
GOLDEN = 0.5 * (1 + 5**0.5)


def wave_relation(compiled: CompiledProblem, network: Any) -> Dispersion | None:
    """Return the dispersion relation that the first layer of a network can start on; None where there is none.

    Args:
        compiled: the problem.
        network: record of the network; one whose first frequencies the user has set keeps them.
    """
    if not isinstance(network, Siren) or network.omega_0 is not None or compiled.rewritten.additions or compiled.ir.unknowns:
        return None
    if len(compiled.ir.coordinates) > 3 or compiled.ir.n_shots > 1 or compiled.is_complex:
        return None
    relation = read_dispersion(compiled.ir)
    if isinstance(relation, str) or relation.time_order != 2:
        return None
    dimension = len(compiled.ir.coordinates) - 1
    roots = relation.roots(np.random.default_rng(1).normal(size=(64, dimension)) / compiled.scales.unit[:-1])
    return relation if bool(np.all(np.abs(roots.real) <= STEADY * np.abs(roots))) else None


def wanted_rewrites(compiled: CompiledProblem, network: Any) -> tuple[str, ...]:
    """Return the names of the rewrites that a network asks for: plane waves want no factor that vanishes on the walls."""
    return (WALL_ROWS,) if compiled.ir.by_construction and wave_relation(compiled, network) is not None else ()


def plane_waves(relation: Dispersion, n_waves: int, reach: float, compiled: CompiledProblem) -> NDArray[np.float64]:
    """Return angular frequencies (n_waves, n_coordinates) per scaled unit, that of the time last, in pairs that run to both sides.

    Wavenumbers lie on a lattice up to pi/2 * reach * (number of wavenumbers) over the half length that waves see, half length plus half duration.
    """
    unit, dimension = compiled.scales.unit, len(compiled.scales.unit) - 1
    pairs = (n_waves + 1) // 2
    extent = float(np.linalg.norm(compiled.scales.half_lengths[:-1])) + float(compiled.scales.half_lengths[-1])
    # In the plane, as many wavenumbers as fill a half disc.
    count = pairs if dimension == 1 else max(1.0, (2 * pairs / np.pi) ** 0.5)
    largest = 0.5 * np.pi * reach * count / extent
    share = (np.arange(pairs) + 0.5) / pairs
    sizes = largest * (share if dimension == 1 else share**0.5)
    directions = np.ones((pairs, 1))
    if dimension == 2:
        turn = np.pi * np.arange(pairs) / GOLDEN
        directions = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    space = sizes[:, None] * directions
    roots = relation.roots(space / unit[:-1]).imag * unit[-1]
    both = np.stack([np.column_stack([space, roots[:, 0]]), np.column_stack([space, roots[:, 1]])], axis=1)
    return np.asarray(both.reshape(2 * pairs, dimension + 1)[:n_waves])


def start_on_waves(
    problem: NetworkProblem, record: Siren, residuals: Sequence[PreparedResidual], relation: Dispersion, seed: int, fit: Any
) -> tuple[Siren, Any]:
    """Build the module with the reach whose waves leave the smallest residual.

    Args:
        problem: residuals of the network.
        record: of the network, its frequencies not set.
        residuals: points of the training.
        relation: dispersion relation of the equation.
        seed: of the network.
        fit: sets the last layer of a module to its least-squares optimum and returns the sum of squares that is left.

    Returns:
        (record with its frequencies, module).
    """
    best: tuple[float, Siren, Any] | None = None
    for reach in REACHES:
        waves = plane_waves(relation, record.width, reach, problem.compiled)
        # Frequencies of the record are what the weights of the first layer are multiplied by: weights of the usual size then make these waves.
        frequencies = tuple(float(problem.n_inputs * size) for size in np.abs(waves).max(axis=0))
        resolved = record.with_frequencies(frequencies)
        module = resolved.build(problem.n_inputs, problem.n_outputs, seed=seed, dtype=problem.dtype, device=problem.device)
        layers = module.affine_layers()
        chance = torch.Generator().manual_seed(seed)
        phases = np.pi * (2 * torch.rand(record.width, generator=chance, dtype=torch.float64) - 1)
        with torch.no_grad():
            layers[0].weight.copy_((torch.from_numpy(waves) / layers[0].weight_frequency.cpu().double()).to(problem.dtype))
            layers[0].bias.copy_((phases / layers[0].bias_frequency).to(problem.dtype))
            for layer in layers[1:2] if record.depth > 1 else ():
                layer.weight.mul_(NEARLY_LINEAR)
        left = float(fit(module))
        if best is None or left < best[0]:
            best = left, resolved, module
    assert best is not None
    return best[1], best[2]
