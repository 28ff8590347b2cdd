"""Declared inverse problems by classical inversion: the squared slowness from observations of the field, and the fields that go with it.

Two methods that share the wave equation and nothing else of the search answer the same data: full-waveform inversion with total variation, and
wavefield reconstruction. The model that explains the data better is the answer; how far the two are apart is what is known of its error.

Input: a problem that `inversion.read_inversion` reads. Output: `GridSolution` with the field and the coefficient.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import PML, Problem
from pinnsiren.language.symbols import UnknownFieldDeclaration, declaration_of

from .inversion import ClassicalInversion, DeclaredInversion, InversionResult, Simulator, WavefieldReconstruction, read_inversion
from .protocol import AbstractReferenceSolver, FieldOnGrid, GridSolution, Support

Array = NDArray[Any]

# Both methods believe in few edges and share that error: on five media (discs, a bump, a rectangle) their distance was 0.3 to 1.2 of the error
# of the one that explained the data better.
_SAFETY = 3.5
# Where the start misses the data by no more than this many times the noise, the data say little: both methods then agree on what they do not see.
# Below the first nothing is claimed: with sources and receivers on one side the shadow is then free.
_FAINT, _AUDIBLE = 1.5, 3.0
_ORDER = 2


@dataclass(frozen=True)
class ClassicalInversionSolver(AbstractReferenceSolver):
    """Squared slowness and fields from observations, on a grid.

    Attributes:
        step: of the grid; None gives 16 points per shortest wavelength of the declared start.
        seconds: budget of each of the two methods.
    """

    step: float | None = None
    seconds: float = 60.0

    name = "classical_inversion"
    order = _ORDER

    def supports(self, problem: Problem) -> Support:
        """Helmholtz equations of the plane, one per frequency, with an unknown squared slowness, layers all around, and observations with noise."""
        if not any(isinstance(declaration_of(unknown), UnknownFieldDeclaration) for unknown in problem.unknowns):
            return Support(False, "it inverts for an unknown field, and the problem declares none")
        try:
            read_inversion(problem, step=self.step)
        except ReferenceSolverError as refusal:
            return Support(False, str(refusal))
        return Support(True, "classical inversion of the declared observations")

    def solve(self, problem: Problem) -> GridSolution:
        """Invert twice.

        Raises:
            ReferenceSolverError: a problem of another form.
        """
        began = time.perf_counter()
        declared = read_inversion(problem, step=self.step)
        results = {
            "total variation": ClassicalInversion(bounds=declared.bounds, seconds=self.seconds).run(
                declared.acquisition, declared.modelling, declared.start, active=declared.active
            ),
            "wavefield reconstruction": WavefieldReconstruction(bounds=declared.bounds, seconds=self.seconds).run(
                declared.acquisition, declared.modelling, declared.start, active=declared.active
            ),
        }
        best = min(results, key=lambda name: float(np.max(results[name].misfits / results[name].noise)))
        fields = {name: _fields(declared, result.squared_slowness) for name, result in results.items()}
        other = next(name for name in results if name != best)
        spread = max(
            _relative(results[other].squared_slowness, results[best].squared_slowness), _relative(fields[other], fields[best])
        )
        heard, unheard = _unheard(declared, results[best], fields[best])
        return _as_solution(problem, declared, results[best], fields[best], {
            "seconds": time.perf_counter() - began,
            "error_estimate": _SAFETY * max(spread, unheard),
            "notes": (
                f"the better of two inversions by misfit: {best}",
                *(f"{name}: {result}" for name, result in results.items()),
                f"they are {spread:.1e} apart, which times {_SAFETY:g} is the error estimate; both prefer few edges: what they share is not seen",
                f"the declared start misses the data by {heard:.3g} times the noise"
                + ("" if heard > _AUDIBLE else ", so the data say little about the medium: the change from the start counts as error too"),
            ),
        })  # fmt: skip


def _unheard(declared: DeclaredInversion, result: InversionResult, fields: Array) -> tuple[float, float]:
    """Misfit of the start over the noise, and the relative change from the start as far as the noise hides it; infinite where it hides most."""
    simulator = Simulator(declared.acquisition, declared.modelling, declared.start)
    frequencies = tuple(range(len(declared.acquisition.angular_frequencies)))
    heard = float(np.max(simulator.misfit(declared.start, frequencies).relative / declared.acquisition.noise))
    if heard <= _FAINT:
        return heard, np.inf
    if heard > _AUDIBLE:
        return heard, 0.0
    change = max(_relative(declared.start, result.squared_slowness), _relative(_fields(declared, declared.start), fields))
    return heard, change / heard


def _fields(declared: DeclaredInversion, model: Array) -> Array:
    """Total fields of all frequencies and shots, (n_frequencies, n_shots, n_x, n_y)."""
    simulator = Simulator(declared.acquisition, declared.modelling, declared.start)
    return np.stack([
        simulator.frequency(number).discretisation.restrict(simulator.fields(number, model)[1])
        for number in range(len(declared.acquisition.angular_frequencies))
    ])  # fmt: skip


def _relative(first: Array, second: Array) -> float:
    return float(np.linalg.norm(first - second) / np.linalg.norm(second))


def _as_solution(problem: Problem, declared: DeclaredInversion, result: InversionResult, fields: Array, numbers: dict[str, Any]) -> GridSolution:
    field = problem.fields[0]
    unknown = next(u for u in problem.unknowns if isinstance(declaration_of(u), UnknownFieldDeclaration))
    grid, shots = declared.modelling.grid, declaration_of(field).shots
    medium = declaration_of(unknown).name
    signs = {condition.field: condition.sign for condition in problem.conditions if isinstance(condition, PML)}
    on_grid = {}
    for candidate, values in zip(problem.fields, fields, strict=True):
        name = declaration_of(candidate).name
        stack = values if signs[candidate] <= 0 else np.conj(values)
        on_grid[name] = FieldOnGrid(name, grid.axes, stack if shots is not None else stack[0], (None,) * (shots or 1), shots, tuple(field.args))
    # A medium jumps: higher splines would ring beside the edges.
    on_grid[medium] = FieldOnGrid(medium, grid.axes, result.squared_slowness, (None,), None, tuple(field.args), degree=1)
    return GridSolution(
        problem=problem.name,
        coordinates=tuple(field.args),
        axes=dict(zip(field.args, grid.axes, strict=True)),
        values={key: value.smooth for key, value in on_grid.items()},
        n_unknowns=int(declared.active.sum()),
        solver=ClassicalInversionSolver.name,
        order=_ORDER,
        fields=on_grid,
        **numbers,
    )
