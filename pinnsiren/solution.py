"""Solutions: callable on NumPy points, with derivatives, status, estimated error, history and plan.

Input: a fitted model and the record of its run. Output: what the user holds.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.plan import Plan
from pinnsiren.errors import EvaluationError, EvaluationWarning
from pinnsiren.ir import MultiIndex
from pinnsiren.language.problem import Problem
from pinnsiren.language.symbols import declaration_of
from pinnsiren.status import Status
from pinnsiren.training.method import FittedModel
from pinnsiren.training.probes import source_cores
from pinnsiren.training.row_system import residual_system
from pinnsiren.training.sampling import sample_residual
from pinnsiren.training.scaling import residual_scale


@dataclass(frozen=True)
class History:
    """Numbers of every step of a run, column by column."""

    columns: dict[str, list[float]]

    def __len__(self) -> int:
        return max((len(column) for column in self.columns.values()), default=0)

    def __getitem__(self, name: str) -> list[float]:
        return self.columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


@dataclass(frozen=True)
class ResidualSample:
    """A residual at fresh points, scaled as in training: 1 means as large as the operator makes a unit wave."""

    label: str
    points: NDArray[np.float64]
    values: NDArray[Any]


def _real_array(what: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biufO":
            raise TypeError(f"type {array.dtype}")
        return np.asarray(array, dtype=float)
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"{what} was given as `{values!r}`; expected real numbers") from error


@dataclass(frozen=True)
class SolutionField:
    """One field, or one coefficient field, of a solution; coefficient fields are numbered behind the fields.

    Calling it with the coordinates by name evaluates it; NumPy broadcasting, the first axis of the result is the shot if the field has shots.
    """

    solution: "Solution"
    index: int
    orders: MultiIndex

    def __call__(self, **coordinates: ArrayLike) -> Any:
        """Evaluate at coordinates given by name, physical units.

        Raises:
            EvaluationError: a coordinate is missing, unknown or no real number, or the shapes do not broadcast.
        """
        return self.broadcast(coordinates)

    def broadcast(self, coordinates: Mapping[str, ArrayLike]) -> Any:
        """Evaluate at coordinates given by name; a call of the field or of its solution is one frame above, for the place of a warning."""
        names = [symbol.name for symbol in self.symbols]
        if set(coordinates) != set(names):
            raise EvaluationError(f"the field was asked for with the coordinates {sorted(coordinates)}; it depends on {names}: pass each by name")
        given = [_real_array(f"the coordinate `{name}`", coordinates[name]) for name in names]
        try:
            arrays = np.broadcast_arrays(*given)
        except ValueError as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in zip(names, given, strict=True))
            raise EvaluationError(f"coordinates of the shapes {shapes} do not broadcast against each other; see numpy.broadcast_arrays") from error
        values = self._evaluate(np.stack([array.ravel() for array in arrays], axis=1), stacklevel=5)
        shaped = values.reshape((*values.shape[:-1], *arrays[0].shape))
        return shaped[()] if shaped.ndim == 0 else shaped

    def at(self, points: ArrayLike) -> NDArray[Any]:
        """Evaluate at points (n, n_coordinates); returns (n,), or (n_shots, n) for a field with shots."""
        array = _real_array("the array of points", points)
        symbols = self.symbols
        if array.ndim != 2 or array.shape[1] != len(symbols):
            raise EvaluationError(f"points of shape {array.shape} were given; expected (n, {len(symbols)}) with the columns {symbols}")
        return self._evaluate(array, stacklevel=4)

    def _evaluate(self, array: NDArray[np.float64], stacklevel: int) -> NDArray[Any]:
        points = self._embedded(array)
        self._warn_outside(points, stacklevel)
        values = self.solution.evaluate(self.index, points, self.orders)
        has_shots = self.solution.problem.n_shots is not None and self.index < len(self.solution.problem.fields)
        return values.T if has_shots else values[:, 0]

    @property
    def symbols(self) -> tuple[sp.Symbol, ...]:
        """The coordinates that the field was declared with."""
        problem = self.solution.problem
        return tuple([*problem.fields, *problem.coefficients][self.index].args)

    def _embedded(self, array: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points of the whole domain; coordinates that a coefficient field does not depend on are put in the middle."""
        problem = self.solution.problem
        if self.symbols == problem.coordinates:
            return array
        middles = [0.5 * sum(problem.domain.bounds[symbol]) for symbol in problem.coordinates]
        points = np.tile(np.array(middles), (len(array), 1))
        for column, symbol in enumerate(self.symbols):
            points[:, problem.coordinates.index(symbol)] = array[:, column]
        return points

    def derivative(self, *variables: Any) -> "SolutionField":
        """Return a partial derivative: `derivative(x, 2)` or `derivative(x, y)`.

        Raises:
            EvaluationError: a variable that is no coordinate, or more than second order.
        """
        symbols = self.solution.problem.coordinates
        own = [symbol.name for symbol in self.symbols]
        orders = list(self.orders)
        last: int | None = None
        for variable in variables:
            if isinstance(variable, (int, sp.Integer)) and last is not None:
                if variable < 1:
                    raise EvaluationError(f"a derivative of order {variable} along `{symbols[last]}` was asked for; expected 1 or 2")
                orders[last], last = orders[last] + int(variable) - 1, None
                continue
            names = [symbol.name for symbol in symbols]
            if str(variable) not in own:
                raise EvaluationError(f"a derivative along `{variable}` was asked for; expected a coordinate of {own}, then its order if not 1")
            last = names.index(str(variable))
            orders[last] += 1
        if sum(orders) > 2:
            raise EvaluationError(f"a derivative of order {sum(orders)} was asked for; solutions give derivatives up to order two")
        return type(self)(self.solution, self.index, tuple(orders))

    def _warn_outside(self, points: NDArray[np.float64], stacklevel: int) -> None:
        domain = self.solution.problem.domain
        if self.symbols == domain.coordinates:
            outside = ~domain.contains(points, 1e-9)
        else:  # the other coordinates were put in the middle, which a hole may hold
            limits = np.array([domain.bounds[symbol] for symbol in domain.coordinates])
            slack = 1e-9 * (limits[:, 1] - limits[:, 0])
            outside = np.any((points < limits[:, 0] - slack) | (points > limits[:, 1] + slack), axis=1)
        if np.any(outside):
            extent = ", ".join(f"{symbol} from {low:g} to {high:g}" for symbol, (low, high) in domain.bounds.items())
            warnings.warn(
                f"{int(outside.sum())} of {len(points)} points lie outside the declared domain ({extent}); values there mean nothing",
                EvaluationWarning,
                stacklevel=stacklevel,
            )


@dataclass(frozen=True)
class StandardErrorField(SolutionField):
    """Standard error of a coefficient field, or of its derivative, at points; called like the field itself."""

    def _evaluate(self, array: NDArray[np.float64], stacklevel: int) -> NDArray[Any]:
        points = self._embedded(array)
        self._warn_outside(points, stacklevel)
        model: Any = self.solution.model
        return np.asarray(model.standard_error(self.index, points, self.orders))


@dataclass(frozen=True)
class Solution:
    """The result of `solve`.

    Attributes:
        problem: the declaration.
        plan: what was done and why.
        status: how the run ended; only `status.success` means that the estimate met the tolerance.
        estimated_error: estimated relative L2 error inside the declared domain, outside the cores of narrow sources.
        history: numbers of every step.
        tolerance: relative error that was asked for.
        seconds: time used by the run.
        seed: seed of the run.
        device: torch device name.
        precision: floating-point type that the run has used, or `"3xtf32"`: float32 with products on TF32 tensor cores.
        versions: package versions.
        model: the fitted unknown part of the fields.
        writer: how `save` writes; storage supplies it, so that imports point one way.
    """

    problem: Problem
    plan: Plan
    status: Status
    estimated_error: float
    history: History
    tolerance: float
    seconds: float
    seed: int
    device: str
    precision: str
    versions: dict[str, str]
    model: FittedModel = dataclass_field(repr=False)
    writer: Callable[["Solution", Any], None] = dataclass_field(repr=False, compare=False)

    @property
    def compiled(self) -> CompiledProblem:
        """Result of the compiler's stages."""
        return self.plan.compiled

    @property
    def cores(self) -> tuple[tuple[tuple[float, ...], float], ...]:
        """(centre, radius) of the cores of narrow sources, which errors leave out and report separately."""
        return source_cores(self.compiled)

    @property
    def method_text(self) -> str:
        """Method, and network if one was trained."""
        network = f" on {self.plan.network!r}" if self.plan.network is not None else ""
        return f"{type(self.plan.method).__name__}{network}"

    @property
    def structure_text(self) -> str:
        """Structure of the problem."""
        return str(self.compiled.structure)

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of a whole field, known part included, (n_points, n_shots); of a coefficient field (n_points, 1)."""
        unknown = self.model.evaluate(field_index, points, orders)
        if field_index >= len(self.problem.fields):
            return np.real(unknown)
        values = unknown + self.compiled.known_part(field_index, points, orders)
        return values if self.compiled.ir.is_complex[field_index] else np.real(values)

    def __call__(self, *unnamed: Any, **coordinates: ArrayLike) -> Any:
        """Evaluate the only field; with several fields, name one: `solution["u"](x=..., y=...)`.

        Raises:
            EvaluationError: coordinates that are not passed by name, or several fields.
        """
        if unnamed:
            named = ", ".join(f"{symbol}=..." for symbol in self.problem.coordinates)
            raise EvaluationError(f"the solution was asked for with {len(unnamed)} coordinates without a name; expected solution({named})")
        if len(self.problem.fields) != 1:
            names = [declaration_of(candidate).name for candidate in self.problem.fields]
            raise EvaluationError(f"the solution has the fields {names}; name one, such as solution[\"{names[0]}\"](...)")
        return self._field(0).broadcast(coordinates)

    def _field(self, index: int) -> SolutionField:
        return SolutionField(self, index, (0,) * len(self.problem.coordinates))

    def __getitem__(self, name: str) -> Any:
        """Return a field or a coefficient field by name, or the value of an unknown scalar.

        Raises:
            EvaluationError: neither a field nor an unknown has the name; the message lists both.
        """
        fields = [declaration_of(candidate).name for candidate in (*self.problem.fields, *self.problem.coefficients)]
        scalars = [declaration_of(candidate).name for candidate in self.problem.scalars]
        if name in fields:
            return self._field(fields.index(name))
        if name in scalars:
            value = complex(self.model.unknowns[scalars.index(name)])
            return value if declaration_of(self.problem.scalars[scalars.index(name)]).is_complex else value.real
        n_fields = len(self.problem.fields)
        unknowns = [*fields[n_fields:], *scalars]
        raise EvaluationError(f"the solution has no `{name}`; it has the fields {fields[:n_fields]} and the unknowns {unknowns}")

    @property
    def standard_errors(self) -> dict[str, Any]:
        """Standard errors of what was solved for besides the fields, from the Gauss-Newton matrix and the noise of the observations.

        A number per unknown scalar; per coefficient field a function of its coordinates by name: `solution.standard_errors["a"](x=0.5, y=0.5)`. Empty
        for methods that do not know them.
        """
        if not hasattr(self.model, "scalar_errors"):
            return {}
        zero, n_fields = (0,) * len(self.problem.coordinates), len(self.problem.fields)
        names = [declaration_of(candidate).name for candidate in self.problem.scalars]
        errors: dict[str, Any] = dict(zip(names, self.model.scalar_errors(), strict=True))
        for index, candidate in enumerate(self.problem.coefficients):
            errors[declaration_of(candidate).name] = StandardErrorField(self, n_fields + index, zero)
        return errors

    @property
    def rests_on(self) -> tuple[str, ...]:
        """Penalties and priors that the result rests on besides equations and data, in words with their weights; empty for none."""
        return tuple(getattr(self.model, "rests_on", ()))

    @property
    def undetermined(self) -> tuple[str, ...]:
        """What the observations do not determine, in words: which unknown and where; empty when everything is, or the method does not ask."""
        return tuple(getattr(self.model, "undetermined", ()))

    def residual_samples(self, n_points: int = 2000, seed: int = 90_001) -> list[ResidualSample]:
        """Return every residual, scaled as in training, at fresh points of the computational domain."""
        system = residual_system(self.compiled)
        samples = []
        for index, (residual, program) in enumerate(zip(self.compiled.ir.residuals, self.compiled.programs, strict=True)):
            drawn = sample_residual(self.compiled, residual, n_points, seed + index)
            scale = residual_scale(self.compiled, program, drawn, system.unknowns(program, self.model))
            samples.append(ResidualSample(residual.label, drawn.points, system.residual(program, drawn, self.model) / scale))
        return samples

    def save(self, path: Any) -> None:
        """Write the solution to an HDF5 file, atomically; `pinnsiren.load` reads it back.

        Raises:
            StorageError: the file cannot be written.
        """
        self.writer(self, path)

    def __str__(self) -> str:
        return f"solution of `{self.problem.name}`: estimated error {self.estimated_error:.2g}, {self.seconds:.1f} s, {self.status}"
