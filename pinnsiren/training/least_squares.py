"""Least squares on sine features, i.e. on the last layer of a one-hidden-layer SIREN whose first layer is drawn on charts.

min_c sum_r |A_r c - b_r|^2 over all residuals r, each scaled to the field; rows are collocation points, columns features of unit norm; Householder QR
of the matrix with a ridge at rounding level, all shots as right-hand sides at once. The number of features grows until the estimated error meets the
tolerance. Equations that are not affine are linearised by Newton's method at each size.
"""

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.charts import features_for_bandwidth
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.residual_program import ResidualProgram
from pinnsiren.errors import NonFiniteError, ProblemError
from pinnsiren.training.error_estimate import estimate_from_sizes, known_errors, unseen_factor
from pinnsiren.training.feature_model import FeatureModel, build_bases, draw_all, feature_model_from_state
from pinnsiren.training.method import AbstractMethod, AbstractRun, FittedModel, RunSettings, StateTree, Suitability
from pinnsiren.training.probes import probe_points
from pinnsiren.training.sampling import PointSet, sample_residual
from pinnsiren.training.scaling import linear_weights, residual_scale

RIDGE = 1e-14  # relative to columns of unit norm: keeps QR defined for redundant features without touching digits that matter
REDUNDANCIES = (1.3, 2.5, 5.0)  # features per independent function: little for oscillating fields, much for smooth ones
SMALLEST = {1: 40, 2: 300, 3: 600}
PILOT_SIZE = 1050  # features on the scaled box up to which all redundancies are tried: a size and not a time, so that runs repeat
STAGNATION = 0.9  # a size that lowers the residual by less than this factor does not help
ENOUGH = 1e-11  # estimates below are at the level of rounding: nothing more is to be had
CHEAP_SECONDS = 3.0  # and so is one below this
CHEAP = 0.25  # of what is left of the budget: a further step below this is taken even when the tolerance is met


@dataclass(frozen=True)
class LeastSquares(AbstractMethod):
    """Settings of the least-squares method.

    Attributes:
        features: features on the scaled box at the first size; None chooses from the declared wavenumber.
        maximum_features: largest number of features on the scaled box.
        redundancy: features per independent function of the bandwidth; None tries `REDUNDANCIES` while sizes are small.
        oversampling: collocation points of an equation per feature.
        growth: ratio of one size to the next.
        newton_steps: most linearisations per size for equations that are not affine.
    """

    features: int | None = None
    maximum_features: int = 20_000
    redundancy: float | None = None
    oversampling: float = 2.5
    growth: float = 1.5
    newton_steps: int = 12

    def __post_init__(self) -> None:
        for name, low in (("features", 1), ("maximum_features", 1), ("redundancy", 0), ("oversampling", 1), ("growth", 1), ("newton_steps", 0)):
            value = getattr(self, name)
            if value is not None and not value > low - (name in ("features", "maximum_features")):
                raise ProblemError(f"LeastSquares was given {name}={value}; expected a number above {low}")

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits problems without unknown coefficients whose residuals are complex differentiable."""
        if compiled.ir.unknowns:
            return Suitability(False, "the problem solves for coefficients, which are not in the last layer", np.inf)
        if not compiled.structure.is_analytic and compiled.is_complex:
            return Suitability(False, "a conjugate or modulus of a complex field occurs", np.inf)
        if len(set(compiled.ir.is_complex)) > 1:
            return Suitability(False, "real and complex fields are mixed", np.inf)
        if compiled.structure.in_fields == "nonlinear":
            return Suitability(True, "Newton's method makes the equations affine step by step; the frequencies stay fixed", 1.2)
        return Suitability(True, f"the residuals are {compiled.structure.in_fields} in the fields: one linear solve for the last layer is exact", 1.0)

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "LeastSquaresRun":
        """Begin at the smallest size."""
        return LeastSquaresRun(self, compiled, settings)


@dataclass(frozen=True)
class Fit:
    """One size: the model and what was measured of it."""

    model: FeatureModel
    size: int
    training_residual: float
    fresh_residual: float
    values: tuple[NDArray[Any], ...]  # per field the unknown part at the probe points


@dataclass
class LeastSquaresRun(AbstractRun):
    """Sizes that grow until the estimate meets the tolerance."""

    method: LeastSquares
    compiled: CompiledProblem
    settings: RunSettings
    level: int = 0
    redundancy: float | None = None
    estimate: float = np.inf
    last_seconds: float = 0.0
    confirmed: int = 0  # level at which the dense check was made
    ratios: list[float] = dataclass_field(default_factory=list)
    fits: list[Fit] = dataclass_field(default_factory=list)  # the last two sizes

    def __post_init__(self) -> None:
        self.device = torch.device(self.settings.device)
        self.dtype = torch.complex128 if self.compiled.is_complex else torch.float64
        self.probes = probe_points(self.compiled)
        zero = (0,) * len(self.compiled.ir.coordinates)
        self.known = [self.compiled.known_part(i, self.probes, zero) for i in range(len(self.compiled.ir.is_complex))]

    def first_size(self) -> int:
        """Features that carry one and a half times the wavenumber; a step less where that is large, since an estimate needs two sizes."""
        if self.method.features is not None:
            return self.method.features
        scales = self.compiled.scales
        needed = REDUNDANCIES[0] * features_for_bandwidth(1.5 * scales.wavenumber, scales.half_lengths)
        if needed > self._pilot_size():
            needed /= self.method.growth
        return int(max(SMALLEST.get(len(scales.half_lengths), 800), needed))

    def step(self) -> dict[str, float]:
        """Fit the next size."""
        start = perf_counter()
        size = self._size(self.level)
        tried = self._redundancies()
        candidates = [(self._fit(size, redundancy), redundancy) for redundancy in tried]
        fit, self.redundancy = min(candidates, key=lambda pair: pair[0].fresh_residual)
        if self.fits:
            self.ratios.append(fit.fresh_residual / max(self.fits[-1].fresh_residual, 1e-300))
            previous = self.fits[-1].values
            self.estimate = estimate_from_sizes(
                fit.values, previous, self.known, self.ratios[-1], fit.fresh_residual, fit.training_residual
            )
            self.estimate = float(np.hypot(self.estimate, known_errors(self.compiled)))
        self.fits = [*self.fits[-1:], fit]
        self.level += 1
        self.last_seconds = (perf_counter() - start) / len(tried)
        return {
            "size": float(fit.model.bases[0].n_features),
            "training_residual": fit.training_residual,
            "fresh_residual": fit.fresh_residual,
            "estimated_error": self.estimate,
        }

    def _redundancies(self) -> tuple[float, ...]:
        """Try all redundancies as long as that is cheap: what is best changes while the residual falls.

        A large first size means a field that oscillates, which needs the least redundancy; more is taken when the residual no longer falls.
        """
        if self.method.redundancy is not None:
            return (self.method.redundancy,)
        if self._size(self.level) <= self._pilot_size():
            return REDUNDANCIES
        if self.redundancy is None:
            return REDUNDANCIES[:1]
        stalls = bool(self.ratios) and self.ratios[-1] > STAGNATION
        more = [value for value in REDUNDANCIES if value > self.redundancy]
        return (more[0],) if stalls and more else (self.redundancy,)

    def _pilot_size(self) -> int:
        """Complex matrices cost four times as much, and oscillating fields settle their redundancy early."""
        return PILOT_SIZE // 2 if self.compiled.is_complex else PILOT_SIZE

    def _size(self, level: int) -> int:
        return int(self.first_size() * self.method.growth**level)

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Decide after each size."""
        if len(self.fits) < 2:
            return None
        settings, next_seconds = self.settings, self.predicted_seconds()
        reached = self.estimate <= settings.tolerance
        stagnated = len(self.ratios) >= 2 and min(self.ratios[-2:]) > STAGNATION
        too_large = self._size(self.level) > self.method.maximum_features
        if reached:
            left = settings.seconds - elapsed
            cheap = next_seconds < min(left, max(CHEAP * left, CHEAP_SECONDS))
            done = self.estimate < ENOUGH or self.ratios[-1] > 1 or stagnated or too_large
            if not done and settings.refine_while_cheap and cheap:
                return None
            self._confirm()
            if self.estimate <= settings.tolerance:
                return "success", f"the estimated error {self.estimate:.2g} is at or below the tolerance {settings.tolerance:.2g}"
        wanted = f"the estimated error is {self.estimate:.2g}, above the tolerance {settings.tolerance:.2g}"
        if stagnated:
            return "tolerance_not_reached", (
                f"{wanted}: more features no longer lower the residual at fresh points ({self.fits[-1].fresh_residual:.2g}). "
                "Something in the solution is not smooth in the coordinates of the charts: declare jumps as Piecewise, or try a trained network"
            )
        if too_large:
            return "tolerance_not_reached", f"{wanted}: {self.method.maximum_features} features are allowed; raise LeastSquares(maximum_features=...)"
        if elapsed + next_seconds > settings.seconds:
            return "out_of_time", (
                f"{wanted}: the next size ({self._size(self.level)} features) needs about {next_seconds:.0f} s of the {settings.seconds:g} s given, "
                f"{elapsed:.0f} s are used. Raise seconds, or loosen tolerance"
            )
        return None

    def _confirm(self) -> None:
        """Look once, before a size is called a success, for what the collocation points missed."""
        if self.confirmed == self.level:
            return
        self.confirmed = self.level
        fit = self.fits[-1]
        cost, seed = fit.model.bases[0].n_features, self._seed() + 3
        self.estimate *= unseen_factor(self.compiled, fit.model, fit.fresh_residual, self._amplitude(fit.values), cost, seed)

    def predicted_seconds(self) -> float:
        """Return the cost of the next size: QR grows with the third power."""
        return float(len(self._redundancies()) * self.last_seconds * self.method.growth**3)

    def error_estimate(self) -> float:
        """Return the estimate of the last size."""
        return self.estimate

    def model(self) -> FeatureModel:
        """Return the last size."""
        return self.fits[-1].model

    def state(self) -> StateTree:
        """Return the last size and the counters."""
        return {
            "level": self.level,
            "redundancy": self.redundancy,
            "estimate": self.estimate,
            "last_seconds": self.last_seconds,
            "confirmed": self.confirmed,
            "ratios": np.array(self.ratios),
            "fits": {
                str(i): {"model": fit.model.state(), "size": fit.size, "training": fit.training_residual, "fresh": fit.fresh_residual}
                for i, fit in enumerate(self.fits)
            },
        }

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        self.level, self.redundancy = int(state["level"]), state["redundancy"]
        self.estimate, self.last_seconds = float(state["estimate"]), float(state["last_seconds"])
        self.confirmed = int(state["confirmed"])
        self.ratios = [float(r) for r in state["ratios"]]
        self.fits = []
        for i in range(len(state["fits"])):
            entry = state["fits"][str(i)]
            model = feature_model_from_state(self.compiled, entry["model"])
            self.fits.append(Fit(model, int(entry["size"]), float(entry["training"]), float(entry["fresh"]), self._probe_values(model)))

    def _probe_values(self, model: FeatureModel) -> tuple[NDArray[Any], ...]:
        zero = (0,) * len(self.compiled.ir.coordinates)
        return tuple(model.evaluate(index, self.probes, zero) for index in range(len(model.bases)))

    def _fit(self, size: int, redundancy: float) -> Fit:
        seed = self._seed()
        frequencies = tuple(draw_all(self.compiled, size, redundancy, seed))
        bases = build_bases(self.compiled, frequencies)
        n_columns = sum(basis.n_features for basis in bases)
        n_points = int(self.method.oversampling * n_columns / len(bases))
        system = RowSystem(self.compiled, bases, self.device, self.dtype)
        training = system.samples(n_points, seed + 1)
        model = self._newton(system, training, FeatureModel(bases, frequencies, system.zeros()))
        values = self._probe_values(model)
        amplitude = self._amplitude(values)
        training_residual = system.residual_norm(training, model) / amplitude
        fresh_residual = system.residual_norm(system.samples(n_points // 2, seed + 2), model) / amplitude
        if not np.isfinite(training_residual + fresh_residual):
            raise NonFiniteError("a residual at fresh points")
        return Fit(model, size, training_residual, fresh_residual, values)

    def _amplitude(self, values: tuple[NDArray[Any], ...]) -> float:
        """Return the root mean square of the whole fields at the probe points."""
        squares = [np.mean(np.abs(value + known) ** 2) for value, known in zip(values, self.known, strict=True)]
        return float(np.sqrt(np.mean(squares))) or 1.0

    def _seed(self) -> int:
        return 1_000_003 * self.settings.seed + 7919 * self.level

    def _newton(self, system: "RowSystem", training: list[PointSet], model: FeatureModel) -> FeatureModel:
        """Solve once where the residuals are affine, else by Newton's method with steps halved until the residual falls."""
        if all(program.is_affine for program in self.compiled.programs):
            matrix, right = system.rows(training, None)
            return FeatureModel(model.bases, model.frequencies, system.split(solve_least_squares(matrix, right)))
        norm = system.residual_norm(training, model)
        for _ in range(self.method.newton_steps):
            matrix, right = system.rows(training, model)
            change = system.split(solve_least_squares(matrix, right))
            for halving in range(8):
                coefficients = tuple(c + d * 0.5**halving for c, d in zip(model.coefficients, change, strict=True))
                trial = FeatureModel(model.bases, model.frequencies, coefficients)
                trial_norm = system.residual_norm(training, trial)
                if trial_norm < norm:
                    break
            else:
                return model
            model, previous, norm = trial, norm, trial_norm
            if norm > 0.999 * previous:
                break
        return model


def solve_least_squares(matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Solve min |A c - b|^2 + ridge by Householder QR with columns of unit norm."""
    norms = torch.linalg.vector_norm(matrix, dim=0)
    norms = torch.where(norms > 0, norms, torch.ones_like(norms))
    n_columns = matrix.shape[1]
    ridge = RIDGE * torch.eye(n_columns, dtype=matrix.dtype, device=matrix.device)
    stacked = torch.cat([matrix / norms, ridge])
    padded = torch.cat([right, torch.zeros(n_columns, right.shape[1], dtype=right.dtype, device=right.device)])
    solution: torch.Tensor = torch.linalg.lstsq(stacked, padded, driver="gels").solution
    return solution / norms[:, None]


class RowSystem:
    """Rows of the least-squares problem: one block per residual, columns of all fields side by side."""

    def __init__(self, compiled: CompiledProblem, bases: tuple[Any, ...], device: torch.device, dtype: torch.dtype) -> None:
        self.compiled, self.bases, self.device, self.dtype = compiled, bases, device, dtype

    def samples(self, n_points: int, seed: int) -> list[PointSet]:
        """Draw the points of every residual."""
        residuals = self.compiled.ir.residuals
        return [sample_residual(self.compiled, residual, n_points, seed + 31 * index) for index, residual in enumerate(residuals)]

    def _convert(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.array(array)).to(self.device)

    def split(self, coefficients: torch.Tensor) -> tuple[NDArray[Any], ...]:
        """Cut the solution into the coefficients of each field."""
        sizes = [basis.n_features for basis in self.bases]
        return tuple(part.cpu().numpy() for part in torch.split(coefficients, sizes))

    def zeros(self) -> tuple[NDArray[Any], ...]:
        """Return coefficients of a vanishing field."""
        kind = complex if self.dtype.is_complex else float
        return tuple(np.zeros((basis.n_features, self.compiled.ir.n_shots), dtype=kind) for basis in self.bases)

    def rows(self, samples: list[PointSet], base: FittedModel | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Assemble matrix and right-hand sides of the linearised equations for the correction of a model (of zero for None)."""
        blocks, rights = [], []
        for program, point_set in zip(self.compiled.programs, samples, strict=True):
            if len(point_set.points) == 0:
                continue
            weight = self._row_weight(program, point_set)
            block, right = self._block(program, point_set, base)
            if not bool(torch.isfinite(block).all() and torch.isfinite(right).all() and torch.isfinite(weight).all()):
                raise NonFiniteError(f"the residual of `{program.residual.label}`")
            blocks.append(block * weight)
            rights.append(right * weight)
        return torch.cat(blocks).to(self.dtype), torch.cat(rights).to(self.dtype)

    def _row_weight(self, program: ResidualProgram, point_set: PointSet) -> torch.Tensor:
        scale = residual_scale(self.compiled, program, point_set, self._unknowns(program, None))
        weights = np.ones(len(point_set.points)) if point_set.weights is None else np.sqrt(point_set.weights)
        return self._convert(weights[:, None] / (scale * np.sqrt(len(point_set.points))))

    def _unknowns(self, program: ResidualProgram, base: FittedModel | None) -> list[float]:
        values = [complex(type(u).declaration.initial) for u in self.compiled.ir.unknowns] if base is None else list(base.unknowns)
        names = [f"unknown_{type(u).declaration.name}" for u in self.compiled.ir.unknowns]
        return [values[names.index(str(symbol))].real for symbol in program.unknowns]

    def _block(self, program: ResidualProgram, point_set: PointSet, base: FittedModel | None) -> tuple[torch.Tensor, torch.Tensor]:
        block, right = self._side(program, point_set.points, point_set.normals, base)
        if point_set.other_side is not None:
            other, other_right = self._side(program, point_set.other_side, point_set.normals, base)
            block, right = block - other, right - other_right
        if point_set.values is not None:
            right = right + self._convert(point_set.values)
        return block, right

    def _side(
        self, program: ResidualProgram, points: NDArray[np.float64], normals: Any, base: FittedModel | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the linearised operator on all features and minus the residual of the model, at one set of points."""
        jets = [np.zeros((len(points), 1)) if base is None else base.evaluate(jet.field, points, jet.orders) for jet in program.jets]
        partials, residual = linear_weights(program, program.coefficients(points, normals), jets, self._unknowns(program, base), len(points))
        blocks = []
        for index, basis in enumerate(self.bases):
            weights = {jet.orders: partial[:, 0] for jet, partial in zip(program.jets, partials, strict=True) if jet.field == index}
            if weights:
                blocks.append(basis.matrix(points, weights, torch, self._convert).to(self.dtype))
            else:
                blocks.append(torch.zeros(len(points), basis.n_features, dtype=self.dtype, device=self.device))
        right = np.broadcast_to(-residual, (len(points), self.compiled.ir.n_shots))
        return torch.hstack(blocks), self._convert(right)

    def residual_norm(self, samples: list[PointSet], base: FittedModel) -> float:
        """Return the root of the sum over residuals of the mean squared scaled residual of a model."""
        total = 0.0
        for program, point_set in zip(self.compiled.programs, samples, strict=True):
            if len(point_set.points):
                total += float((self._residual(program, point_set, base) * self._row_weight(program, point_set)).abs().pow(2).sum())
        return float(np.sqrt(total / self.compiled.ir.n_shots))

    def _residual(self, program: ResidualProgram, point_set: PointSet, base: FittedModel) -> torch.Tensor:
        sides = []
        for points in [point_set.points] if point_set.other_side is None else [point_set.points, point_set.other_side]:
            jets = [base.evaluate(jet.field, points, jet.orders) for jet in program.jets]
            value = program.compile([program.algebra])(program.coefficients(points, point_set.normals), jets, self._unknowns(program, base))[0]
            sides.append(np.broadcast_to(value, (len(points), self.compiled.ir.n_shots)))
        value = sides[0] if len(sides) == 1 else sides[0] - sides[1]
        return self._convert(value if point_set.values is None else value - point_set.values)
