"""Least squares on tensor products of cosines, for data that are declared as a cosine series: images.

An image of n x m cells asks for n m functions, too many columns for a dense factorisation from 100 x 100 on. Products of cosines (sines with a phase,
on a lattice of frequencies up to that of the cells) are orthogonal under any operator with constant coefficients, up to the conditions: columns of
unit norm are well conditioned, and LSQR without the matrix needs tens of iterations. A second, larger size tells the error.

Reference: Paige and Saunders 1982, ACM Trans. Math. Softw. 8, for LSQR.
"""

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, lsqr
from sympy.core.function import AppliedUndef

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import NonFiniteError, ProblemError
from pinnsiren.ir import MultiIndex, Residual, partial_derivative
from pinnsiren.language.cosine_series import CosineSeries
from pinnsiren.language.domains import Box
from pinnsiren.language.sampled import SampledDeclaration
from pinnsiren.language.symbols import declaration_of
from pinnsiren.training.error_estimate import estimate_from_sizes, with_the_unseen
from pinnsiren.training.method import AbstractMethod, AbstractRun, RunSettings, StateTree, Suitability
from pinnsiren.training.probes import probe_points
from pinnsiren.training.row_system import residual_system
from pinnsiren.training.sampling import sample_residual
from pinnsiren.training.tensor_rows import TensorRows

FRESH_POINTS = 2000
STAGNATION = 0.9  # a size that lowers the residual by less than this factor does not help
EDGE = 1e-9  # relative to the domain: the data end where the domain does
SMALLEST_COST = 500  # work per point of the dense check, at least


@dataclass(frozen=True)
class CosineLeastSquares(AbstractMethod):
    """Settings.

    Attributes:
        oversampling: collocation nodes of an equation per function, along each axis.
        growth: ratio of one size to the next, along each axis.
        maximum_functions: largest number of functions per field.
        iterations: most iterations of LSQR per size.
        accuracy: relative accuracy at which LSQR stops.
    """

    oversampling: float = 1.5
    growth: float = 1.25
    maximum_functions: int = 4_000_000
    iterations: int = 2000
    accuracy: float = 1e-14

    def __post_init__(self) -> None:
        for name, low in (("oversampling", 1), ("growth", 1), ("maximum_functions", 0), ("iterations", 0), ("accuracy", 0)):
            if not getattr(self, name) > low:
                raise ProblemError(f"CosineLeastSquares was given {name}={getattr(self, name)}; expected a number above {low}")

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits real affine equations with constant coefficients on a box, whose data are cosine series over that box."""
        refusal = _refusal(compiled)
        if refusal:
            return Suitability(False, refusal, np.inf)
        counts = cells_of(compiled)
        size = " x ".join(map(str, counts))
        return Suitability(True, f"the data are a cosine series of {size} cells: as many cosines, iterated without a matrix", 0.5)

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "CosineLeastSquaresRun":
        """Begin with the functions of the data."""
        return CosineLeastSquaresRun(self, compiled, settings)


def _refusal(compiled: CompiledProblem) -> str:
    """Return why cosines do not carry the solution, or an empty text."""
    ir = compiled.ir
    if ir.unknowns or compiled.is_complex or ir.n_shots > 1 or not all(program.is_affine for program in compiled.programs):
        return "it fits real affine equations without unknown coefficients and shots"
    if not isinstance(ir.domain, Box) or compiled.rewritten.additions or any(factor != 1 for factor in ir.envelope):
        return "it fits boxes without known parts and envelopes"
    if any(residual.level_set is not None or residual.region.kind == "pair" for residual in ir.residuals):
        return "it fits problems without interfaces and joined faces"
    if any(not partial_derivative(residual.expression, jet.symbol).is_number for residual in ir.residuals for jet in ir.jets):
        return "it fits equations and conditions with constant coefficients"
    series = _series_of(compiled)
    if not series:
        return "no data are declared as a cosine series: sampled(..., interpolation=\"cosine\")"
    bounds = np.array([ir.domain.bounds[symbol] for symbol in ir.coordinates])
    for node, declaration in series:
        spread = np.max(np.abs(np.array(declaration.limits) - bounds)) if node.args == ir.coordinates else np.inf
        if spread > EDGE * ir.domain.size:
            return f"the cells of `{declaration.name}` do not fill the domain"
    if not all(_is_series(term) for residual in ir.residuals for term in _data_terms(compiled, residual)):
        return "data other than numbers and cosine series occur"
    return ""


def _data_terms(compiled: CompiledProblem, residual: Residual) -> list[Any]:
    rest = residual.expression.xreplace({jet.symbol: sp.Integer(0) for jet in compiled.ir.jets})
    return list(sp.Add.make_args(sp.expand_mul(rest)))


def _is_series(term: Any) -> bool:
    """Whether a term is a number, or a number times a cosine series or a derivative of one."""
    factors = [factor for factor in sp.Mul.make_args(term) if not factor.is_number]
    if not factors:
        return True
    inner = factors[0].expr if isinstance(factors[0], sp.Derivative) else factors[0]
    declaration = declaration_of(inner)
    return len(factors) == 1 and isinstance(declaration, SampledDeclaration) and declaration.interpolation == "cosine"


def _series_of(compiled: CompiledProblem) -> list[tuple[Any, SampledDeclaration]]:
    nodes = {node for residual in compiled.ir.residuals for node in residual.expression.atoms(AppliedUndef)}
    found = [(node, declaration_of(node)) for node in sorted(nodes, key=str)]
    return [(node, d) for node, d in found if isinstance(d, SampledDeclaration) and d.interpolation == "cosine"]


def cells_of(compiled: CompiledProblem) -> tuple[int, ...]:
    """Return the largest number of cells of the data along each axis."""
    shapes = [declaration.values.shape for _, declaration in _series_of(compiled)]
    return tuple(int(count) for count in np.max(shapes, axis=0))


@dataclass(frozen=True)
class CosineModel:
    """A fitted cosine series per field.

    Attributes:
        series: per field.
    """

    series: tuple[CosineSeries, ...]

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of a field, (n_points, 1)."""
        return np.asarray(self.series[field_index](points, np.asarray(orders, dtype=np.int64)))[:, None]

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """No scalars are solved for."""
        return ()

    def state(self) -> StateTree:
        """Return limits and coefficients."""
        limits = np.array(self.series[0].limits)
        return {"kind": "cosines", "limits": limits, "coefficients": {str(i): np.asarray(s.coefficients) for i, s in enumerate(self.series)}}


def cosine_model_from_state(state: StateTree) -> CosineModel:
    """Rebuild a model from its stored limits and coefficients."""
    limits = tuple((float(low), float(high)) for low, high in np.asarray(state["limits"]))
    coefficients = state["coefficients"]
    return CosineModel(tuple(CosineSeries(limits, np.asarray(coefficients[str(i)], dtype=float)) for i in range(len(coefficients))))


@dataclass(frozen=True)
class CosineFit:
    """One size: the model and what was measured of it."""

    model: CosineModel
    training_residual: float
    fresh_residual: float
    values: tuple[NDArray[Any], ...]  # per field at the probe points


@dataclass
class CosineLeastSquaresRun(AbstractRun):
    """Sizes that grow until the estimate meets the tolerance."""

    method: CosineLeastSquares
    compiled: CompiledProblem
    settings: RunSettings
    level: int = 0
    estimate: float = np.inf
    last_seconds: float = 0.0
    confirmed: int = 0  # level at which the dense check was made
    ratios: list[float] = dataclass_field(default_factory=list)
    fits: list[CosineFit] = dataclass_field(default_factory=list)  # the last two sizes

    def __post_init__(self) -> None:
        self.probes = probe_points(self.compiled)
        self.system = residual_system(self.compiled)
        self.known = [np.zeros((len(self.probes), 1)) for _ in self.compiled.ir.is_complex]

    def counts(self, level: int) -> tuple[int, ...]:
        """Return the cosines per axis of a size."""
        return tuple(ceil(count * self.method.growth**level) for count in cells_of(self.compiled))

    def step(self) -> dict[str, float]:
        """Fit the next size."""
        start = perf_counter()
        fit, iterations = self._fit(self.counts(self.level))
        if self.fits:
            self.ratios.append(fit.fresh_residual / max(self.fits[-1].fresh_residual, 1e-300))
            previous = self.fits[-1].values
            self.estimate = estimate_from_sizes(
                fit.values, previous, self.known, self.ratios[-1], fit.fresh_residual, fit.training_residual
            )
        self.fits = [*self.fits[-1:], fit]
        self.level += 1
        self.last_seconds = perf_counter() - start
        return {
            "size": float(fit.model.series[0].coefficients.size),
            "iterations": float(iterations),
            "training_residual": fit.training_residual,
            "fresh_residual": fit.fresh_residual,
            "estimated_error": self.estimate,
        }

    def _fit(self, counts: tuple[int, ...]) -> tuple[CosineFit, int]:
        nodes = tuple(ceil(self.method.oversampling * count) for count in counts)
        seed = 1_000_003 * self.settings.seed + 7919 * self.level
        rows = TensorRows(self.compiled, counts, nodes, seed + 1)
        scale = 1 / rows.column_norms()
        right = rows.right()
        shape = (len(right), len(scale))
        operator = LinearOperator(shape, matvec=lambda c: rows.forward(scale * c), rmatvec=lambda r: scale * rows.transpose(r), dtype=float)
        accuracy = self.method.accuracy
        found = lsqr(operator, right, atol=accuracy, btol=accuracy, conlim=0.0, iter_lim=self.method.iterations)
        coefficients = (scale * found[0]).reshape(rows.shape)
        model = CosineModel(tuple(CosineSeries(rows.limits, part) for part in coefficients))
        zero = (0,) * len(counts)
        values = tuple(model.evaluate(index, self.probes, zero) for index in range(len(model.series)))
        amplitude = self._amplitude(values)
        fresh = [sample_residual(self.compiled, residual, FRESH_POINTS, seed + 2 + i) for i, residual in enumerate(self.compiled.ir.residuals)]
        training_residual = float(np.linalg.norm(rows.forward(coefficients.ravel()) - right)) / amplitude
        fresh_residual = self.system.residual_norm(fresh, model) / amplitude
        if not np.isfinite(training_residual + fresh_residual):
            raise NonFiniteError("a residual at fresh points")
        return CosineFit(model, training_residual, fresh_residual, values), int(found[2])

    def _amplitude(self, values: tuple[NDArray[Any], ...]) -> float:
        """Return the root mean square of the fields at the probe points."""
        return float(np.sqrt(np.mean([np.mean(value**2) for value in values]))) or 1.0

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Decide after each size."""
        if len(self.fits) < 2:
            return None
        settings = self.settings
        if self.estimate <= settings.tolerance:
            self._confirm()
            if self.estimate <= settings.tolerance:
                return "success", f"the estimated error {self.estimate:.2g} is at or below the tolerance {settings.tolerance:.2g}"
        wanted = f"the estimated error is {self.estimate:.2g}, above the tolerance {settings.tolerance:.2g}"
        if self.ratios[-1] > STAGNATION:
            return "tolerance_not_reached", (
                f"{wanted}: more cosines no longer lower the residual at fresh points ({self.fits[-1].fresh_residual:.2g}). Equations and conditions "
                "contradict each other, such as gradients that are those of no image, or the solution is not even about the edges: "
                "method=LeastSquares() does not need that"
            )
        if int(np.prod(self.counts(self.level))) > self.method.maximum_functions:
            return "tolerance_not_reached", f"{wanted}: raise CosineLeastSquares(maximum_functions=...)"
        if elapsed + self.predicted_seconds() > settings.seconds:
            return "out_of_time", (
                f"{wanted}: the next size needs about {self.predicted_seconds():.0f} s of the {settings.seconds:g} s given, {elapsed:.0f} s are "
                "used. Raise seconds, or loosen tolerance"
            )
        return None

    def _confirm(self) -> None:
        """Look once, before a size is called a success, for what the collocation points missed."""
        if self.confirmed != self.level:
            self.confirmed = self.level
            fit, seed = self.fits[-1], 1_000_003 * self.settings.seed + 7919 * self.level + 3
            cost = max(SMALLEST_COST, fit.model.series[0].coefficients.size)
            self.estimate = with_the_unseen(
                self.estimate, self.compiled, fit.model, fit.fresh_residual, self._amplitude(fit.values), cost, seed
            )

    def predicted_seconds(self) -> float:
        """Return the cost of the next size: the products grow with N^(1 + 1/d)."""
        dimension = len(self.compiled.ir.coordinates)
        return float(self.last_seconds * self.method.growth ** (dimension + 1))

    def error_estimate(self) -> float:
        """Return the estimate of the last size."""
        return self.estimate

    def model(self) -> CosineModel:
        """Return the last size."""
        return self.fits[-1].model

    def state(self) -> StateTree:
        """Return the last two sizes and the counters."""
        return {
            "level": self.level,
            "estimate": self.estimate,
            "last_seconds": self.last_seconds,
            "confirmed": self.confirmed,
            "ratios": np.array(self.ratios),
            "fits": {
                str(i): {"model": fit.model.state(), "training": fit.training_residual, "fresh": fit.fresh_residual}
                for i, fit in enumerate(self.fits)
            },
        }

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        self.level, self.confirmed = int(state["level"]), int(state["confirmed"])
        self.estimate, self.last_seconds = float(state["estimate"]), float(state["last_seconds"])
        self.ratios = [float(ratio) for ratio in state["ratios"]]
        self.fits = []
        zero = (0,) * len(self.compiled.ir.coordinates)
        for i in range(len(state["fits"])):
            entry = state["fits"][str(i)]
            model = cosine_model_from_state(entry["model"])
            values = tuple(model.evaluate(index, self.probes, zero) for index in range(len(model.series)))
            self.fits.append(CosineFit(model, float(entry["training"]), float(entry["fresh"]), values))
