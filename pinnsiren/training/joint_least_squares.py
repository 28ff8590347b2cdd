"""Joint least squares: fields, coefficient fields and scalars together, from equations and observations.

Sines on charts for the fields, sines behind a bounded transform for the coefficient fields. Scalars are scanned over their bounds first, since
Gauss-Newton from half a wave speed converges to a wrong one; then one Gauss-Newton iteration moves everything. Sizes grow until the estimated error
meets the tolerance or the noise of the observations allows no more. Standard errors come from the Gauss-Newton matrix.
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
from pinnsiren.errors import NonFiniteError, ProblemError
from pinnsiren.language.sources import SourceFamily
from pinnsiren.language.symbols import declaration_of
from pinnsiren.training.coefficient_basis import build_coefficient, draw_coefficient
from pinnsiren.training.error_estimate import ROUNDING, estimate_from_sizes, known_errors, with_the_unseen
from pinnsiren.training.feature_model import build_bases
from pinnsiren.training.joint_model import JointModel, joint_model_from_state
from pinnsiren.training.joint_solver import JointFit, JointSolver
from pinnsiren.training.joint_system import HARDNESS, JointSystem, relative_noise
from pinnsiren.training.method import AbstractMethod, AbstractRun, RunSettings, StateTree, Suitability
from pinnsiren.training.probes import probe_points
from pinnsiren.training.scalar_scan import at_scalars, scalar_candidates, scalar_limits

REDUNDANCIES = (2.5, 5.0, 10.0)  # features per independent function of the fields; what is smooth needs much
COEFFICIENT_REDUNDANCY = 10.0  # a coefficient is smoother than the field that it makes; its prior chooses the band
SMALLEST = {1: 60, 2: 300, 3: 600}  # features of the fields at the first size
SHARE = 0.5  # features of a coefficient field per feature of the fields
LARGEST_COEFFICIENT = 500  # the evidence costs the third power
SMALLEST_COEFFICIENT = 40
REFINED_CANDIDATES = 4  # of the scan, those with the least misfit are refined
REFINING_STEPS = 6
SMALL_STEP = 0.3  # of a level
STAGNATION = 0.9
ENOUGH = 1e-11
CHEAP_SECONDS, CHEAP = 3.0, 0.25
N_SPREAD = 300  # points at which standard errors of the fields are averaged
LARGE_MISFIT = 0.1  # of undeclared noise: above, the unknowns may be wrong altogether, and the scalars are scanned again with more features
MISFIT_FACTOR = 1.3  # over the declared noise: the same
NOISE_SHARE = 0.7  # of the estimate: above, the noise and not the number of features limits it


@dataclass(frozen=True)
class JointLeastSquares(AbstractMethod):
    """Settings of joint least squares.

    Attributes:
        features: features of the fields at the first size; None chooses from the declared wavenumber.
        maximum_features: largest number of features of the fields.
        redundancy: features per independent function of the fields; None tries `REDUNDANCIES` at the first size.
        oversampling: collocation points of an equation per feature.
        growth: ratio of one size to the next.
        steps: most Gauss-Newton steps per size.
    """

    features: int | None = None
    maximum_features: int = 4000
    redundancy: float | None = None
    oversampling: float = 2.5
    growth: float = 1.5
    steps: int = 20

    def __post_init__(self) -> None:
        for name, low in (("features", 0), ("maximum_features", 0), ("redundancy", 0), ("oversampling", 1), ("growth", 1), ("steps", 0)):
            value = getattr(self, name)
            if value is not None and not value > low:
                raise ProblemError(f"JointLeastSquares was given {name}={value}; expected a number above {low}")

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits problems that solve for scalars or coefficient fields and whose residuals are complex differentiable."""
        ir = compiled.ir
        if not ir.unknowns and not ir.coefficients:
            return Suitability(False, "the problem solves for fields only", np.inf)
        if not compiled.structure.is_analytic and compiled.is_complex:
            return Suitability(False, "a conjugate or modulus of a complex field occurs", np.inf)
        if len(set(ir.is_complex)) > 1:
            return Suitability(False, "real and complex fields are mixed", np.inf)
        if any(program.algebra.has(SourceFamily) for program in compiled.programs):
            return Suitability(False, "the unknowns enter sources that differ from shot to shot, not as factors", np.inf)
        if ir.penalties:
            return Suitability(False, "penalties and priors are declared, which this version of the method does not weigh", np.inf)
        sought = " and ".join(name for name, found in (("coefficient fields", ir.coefficients), ("scalars", ir.unknowns)) if found)
        reason = f"{compiled.structure.overall}: fields are eliminated, {sought} found by Gauss-Newton steps with standard errors"
        return Suitability(True, reason, 1.0)

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "JointRun":
        """Begin at the smallest size."""
        return JointRun(self, compiled, settings)


@dataclass(frozen=True)
class Sized:
    """One size: the model and what was measured of it."""

    model: JointModel
    redundancy: float
    training_residual: float
    fresh_residual: float
    misfit: float
    sigma: float
    determined: float
    statistical: float
    free: tuple[int, ...]
    values: tuple[NDArray[Any], ...]


@dataclass
class JointRun(AbstractRun):
    """Sizes that grow until the estimate meets the tolerance, or the noise."""

    method: JointLeastSquares
    compiled: CompiledProblem
    settings: RunSettings
    level: int = 0
    estimate: float = np.inf
    last_seconds: float = 0.0
    confirmed: int = 0
    ratios: list[float] = dataclass_field(default_factory=list)
    sizes: list[Sized] = dataclass_field(default_factory=list)
    candidates: list[tuple[complex, ...]] = dataclass_field(default_factory=list)  # what the scan of the scalars left
    scanned_at: int = -1  # level of the last scan
    fitted_at: int | None = None  # level of the first size that fits, if the first did not

    def __post_init__(self) -> None:
        ir = self.compiled.ir
        self.device = torch.device(self.settings.device)
        self.noise = relative_noise(self.compiled)
        self.probes = probe_points(self.compiled)
        zero = (0,) * len(ir.coordinates)
        known = [self.compiled.known_part(i, self.probes, zero) for i in range(ir.n_fields)]
        self.known = [*known, *(np.zeros((len(self.probes), 1)) for _ in ir.coefficients), *(np.zeros((1, 1)) for _ in ir.unknowns)]
        self.limits = scalar_limits(ir.unknowns)

    # -- sizes --------------------------------------------------------------------------------------------------------------------------------

    def _size(self, level: int) -> int:
        """Return the features at a level; levels that went by before anything fitted make the next one a small step, to have two that compare."""
        return int(self._first_size() * self.method.growth ** (level - (1 - SMALL_STEP) * (self.fitted_at is not None and level > self.fitted_at)))

    def _first_size(self) -> float:
        if self.method.features is not None:
            first = float(self.method.features)
        else:
            scales = self.compiled.scales
            needed = REDUNDANCIES[0] * features_for_bandwidth(1.5 * scales.wavenumber, scales.half_lengths)
            first = max(SMALLEST.get(len(scales.half_lengths), 800), min(needed, self.method.maximum_features / self.method.growth))
        return first

    def _coefficient_size(self, index: int, size: int) -> int:
        dimension, own = len(self.compiled.ir.coordinates), len(self.compiled.ir.coefficients[index].args)
        return int(np.clip(SHARE * size ** (own / dimension), SMALLEST_COEFFICIENT, LARGEST_COEFFICIENT))

    def _seed(self, level: int) -> int:
        return 1_000_003 * self.settings.seed + 7919 * level

    def step(self) -> dict[str, float]:
        """Fit the next size."""
        start = perf_counter()
        tried = self._redundancies()
        fitted = [self._fit(self._size(self.level), redundancy) for redundancy in tried]
        best = min(fitted, key=lambda sized: self._merit(sized))
        if self.sizes:
            previous = self.sizes[-1]
            self.ratios.append(self._merit(best) / max(self._merit(previous), 1e-300))
            numerical = estimate_from_sizes(
                best.values, previous.values, self.known, best.fresh_residual / max(previous.fresh_residual, 1e-300),
                best.fresh_residual, best.training_residual,
            )  # fmt: skip
            self.estimate = float(np.hypot(np.hypot(numerical, best.statistical), known_errors(self.compiled)))
            if self._misfit_is_large(best):
                self.estimate = max(self.estimate, best.misfit)
            if best.free:
                self.estimate = float(np.inf)
        if self.sizes and self._misfit_is_large(self.sizes[-1]) and not self._misfit_is_large(best):
            self.fitted_at = self.level
        self.sizes = [*self.sizes[-1:], best]
        self.level += 1
        self.last_seconds = (perf_counter() - start) / len(tried)
        return {
            "size": float(best.model.bases[0].n_features),
            "training_residual": best.training_residual,
            "fresh_residual": best.fresh_residual,
            "misfit": best.misfit,
            "standard_error": best.statistical,
            "determined": best.determined,
            "estimated_error": self.estimate,
        }

    def _misfit_is_large(self, sized: Sized) -> bool:
        """Whether the observations deviate by more than noise explains."""
        return sized.misfit > (LARGE_MISFIT if self.noise is None else MISFIT_FACTOR * self.noise)

    def _merit(self, sized: Sized) -> float:
        """Return what a size is judged by: residuals of the equations and misfit, both relative to the fields."""
        return float(np.hypot(sized.fresh_residual, sized.misfit))

    def _redundancies(self) -> tuple[float, ...]:
        if self.method.redundancy is not None:
            return (self.method.redundancy,)
        if not self.sizes:
            return REDUNDANCIES
        if self._misfit_is_large(self.sizes[-1]):
            return REDUNDANCIES[:1]  # nothing was resolved, so that nothing says which is best: the widest band
        current = self.sizes[-1].redundancy
        stalls = bool(self.ratios) and self.ratios[-1] > STAGNATION and not self._noise_limits()
        more = [value for value in REDUNDANCIES if value > current]
        return (more[0],) if stalls and more else (current,)

    def _fit(self, size: int, redundancy: float) -> Sized:
        compiled, seed = self.compiled, self._seed(self.level)
        n_points = int(self.method.oversampling * size * sum(chart.share for chart in compiled.charts))
        start = self._best_start(size, redundancy, n_points, seed)
        system, model = self._empty(size, redundancy, seed, start)
        fit, solver = self._fit_from(system, model, n_points, seed, self.method.steps)
        fresh = JointSolver(system, system.place(n_points // 2, seed + 2, fit.model), self.noise, self.limits)
        values = self._values(fit.model)
        sized = Sized(
            model=fit.model,
            redundancy=redundancy,
            training_residual=solver.norm_of_equations(fit.model) / HARDNESS,
            fresh_residual=fresh.norm_of_equations(fit.model) / HARDNESS,
            misfit=solver.norm_of_observations(fit.model),
            sigma=fit.balance.sigma,
            determined=fit.balance.determined,
            statistical=self._statistical(fit, values),
            free=tuple(index % max(len(compiled.ir.unknowns), 1) for index in fit.balance.free if self._can_move(index)),
            values=values,
        )
        if not np.isfinite(sized.training_residual + sized.fresh_residual + sized.misfit):
            raise NonFiniteError("a residual at fresh points")
        return sized

    def _empty(self, size: int, redundancy: float, seed: int, scalars: tuple[complex, ...]) -> tuple[JointSystem, JointModel]:
        """Return a system and a model without fields, with features that suit the scalars."""
        compiled, frequencies = at_scalars(self.compiled, scalars, size, redundancy, seed)
        bases = build_bases(compiled, frequencies)
        coefficient_bases = tuple(
            build_coefficient(compiled, k, draw_coefficient(compiled, k, self._coefficient_size(k, size), COEFFICIENT_REDUNDANCY, seed + 11 + k))
            for k in range(len(compiled.ir.coefficients))
        )
        kind = complex if compiled.is_complex else float
        model = JointModel(
            bases=bases,
            frequencies=frequencies,
            coefficients=tuple(np.zeros((basis.n_features, compiled.ir.n_shots), dtype=kind) for basis in bases),
            coefficient_bases=coefficient_bases,
            thetas=self._start_thetas(coefficient_bases),
            unknowns=scalars,
        )
        return JointSystem(compiled, bases, self.device), model

    def _can_move(self, index: int) -> bool:
        """Imaginary parts of real scalars have no effect and are not asked for."""
        n = len(self.compiled.ir.unknowns)
        return index < n or bool(declaration_of(self.compiled.ir.unknowns[index - n]).is_complex)

    # -- starts -------------------------------------------------------------------------------------------------------------------------------

    def _start_scalars(self) -> tuple[complex, ...]:
        """Return the scalars of the last size, at first the declared ones."""
        if self.sizes:
            return self.sizes[-1].model.unknowns
        return tuple(complex(declaration_of(unknown).initial) for unknown in self.compiled.ir.unknowns)

    def _start_thetas(self, bases: tuple[Any, ...]) -> tuple[NDArray[np.float64], ...]:
        """Return the coefficient fields of the last size in the new features, at first zero."""
        if not self.sizes:
            return tuple(np.zeros(basis.n_features) for basis in bases)
        last, zero = self.sizes[-1].model, (0,) * len(self.compiled.ir.coordinates)
        thetas = []
        for old, theta, new in zip(last.coefficient_bases, last.thetas, bases, strict=True):
            wanted = old.basis.evaluate(self.probes, zero, theta[:, None])
            matrix = new.basis.matrix(self.probes, {zero: np.ones(len(self.probes))})
            thetas.append(np.linalg.lstsq(matrix, wanted, rcond=1e-12)[0][:, 0])
        return tuple(thetas)

    def _best_start(self, size: int, redundancy: float, n_points: int, seed: int) -> tuple[complex, ...]:
        """Return the scalars of the last size, or the best of a scan as long as nothing fits the observations."""
        if not self.compiled.ir.unknowns or (self.sizes and not self._misfit_is_large(self.sizes[-1])):
            return self._start_scalars()
        if self.scanned_at != self.level:
            scanned = []
            for candidate in scalar_candidates(self.compiled.ir.unknowns):
                system, model = self._empty(size, redundancy, seed, candidate)
                solver = JointSolver(system, system.place(n_points, seed + 1, model), self.noise, self.limits)
                scanned.append((solver.solve_fields(model)[1], candidate))
            scanned.sort(key=lambda pair: pair[0])
            self.candidates = [candidate for _, candidate in scanned[:REFINED_CANDIDATES]]
            self.scanned_at = self.level
        if len(self.candidates) > 1:
            tried = [self._fit_from(*self._empty(size, redundancy, seed, start), n_points, seed, REFINING_STEPS)[0] for start in self.candidates]
            self.candidates = [min(tried, key=lambda fit: fit.misfit).model.unknowns]
        return self.candidates[0]

    def _fit_from(self, system: JointSystem, model: JointModel, n_points: int, seed: int, steps: int) -> tuple[JointFit, JointSolver]:
        solver = JointSolver(system, system.place(n_points, seed + 1, model), self.noise, self.limits)
        start, _ = solver.solve_fields(model)
        return solver.fit(start, steps), solver

    # -- measures -----------------------------------------------------------------------------------------------------------------------------

    def _values(self, model: JointModel) -> tuple[NDArray[Any], ...]:
        """Return fields and coefficient fields at the probe points, and scalars."""
        ir, zero = self.compiled.ir, (0,) * len(self.compiled.ir.coordinates)
        fields = [model.evaluate(index, self.probes, zero) for index in range(ir.n_fields + len(ir.coefficients))]
        return (*fields, *(np.array([[value]]) for value in model.unknowns))

    def _statistical(self, fit: JointFit, values: tuple[NDArray[Any], ...]) -> float:
        """Return the largest relative standard error of fields, coefficient fields and scalars."""
        ir, zero = self.compiled.ir, (0,) * len(self.compiled.ir.coordinates)
        points, worst = self.probes[:N_SPREAD], 0.0
        start = 0
        for index, basis in enumerate(fit.model.bases):
            rows = fit.field_spread[start : start + basis.n_features]
            start += basis.n_features
            spread = float(np.linalg.norm(basis.matrix(points, {zero: np.ones(len(points))}) @ rows))
            size = float(np.linalg.norm((values[index] + self.known[index])[: len(points), 0]))
            worst = max(worst, spread / max(size, 1e-300))
        for index in range(ir.n_fields, ir.n_fields + len(ir.coefficients)):
            errors = fit.model.standard_error(index, points, zero)
            worst = max(worst, float(np.linalg.norm(errors)) / max(float(np.linalg.norm(values[index][: len(points)])), 1e-300))
        for value, error in zip(fit.model.unknowns, fit.model.scalar_errors(), strict=True):
            worst = max(worst, error / max(abs(value), 1e-300))
        return worst

    def _amplitude(self) -> float:
        fields = self.sizes[-1].values[: self.compiled.ir.n_fields]
        squares = [np.mean(np.abs(value + known) ** 2) for value, known in zip(fields, self.known, strict=False)]
        return float(np.sqrt(np.mean(squares))) or 1.0

    def _noise_limits(self) -> bool:
        """Whether the noise, and not the number of features, makes most of the estimated error."""
        return bool(self.sizes) and self.sizes[-1].statistical > max(NOISE_SHARE * self.estimate, ROUNDING) and len(self.ratios) > 0

    # -- the end ------------------------------------------------------------------------------------------------------------------------------

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Decide after each size."""
        if not self.ratios:
            return None
        settings, last, next_seconds = self.settings, self.sizes[-1], self.predicted_seconds()
        if last.free:
            return "tolerance_not_reached", self._undetermined_text(last)
        stagnated = len(self.ratios) >= 2 and min(self.ratios[-2:]) > STAGNATION
        too_large = self._size(self.level) > self.method.maximum_features
        limited = self._noise_limits() and self.ratios[-1] > STAGNATION and (stagnated or not self._misfit_is_large(last))
        if self.estimate <= settings.tolerance:
            left = settings.seconds - elapsed
            cheap = next_seconds < min(left, max(CHEAP * left, CHEAP_SECONDS))
            done = self.estimate < ENOUGH or limited or stagnated or too_large
            if not done and settings.refine_while_cheap and cheap:
                return None
            self._confirm()
            if self.estimate <= settings.tolerance:
                text = f"the estimated error {self.estimate:.2g} is at or below the tolerance {settings.tolerance:.2g}"
                return "success", text + self._misfit_text()
        wanted = f"the estimated error is {self.estimate:.2g}, above the tolerance {settings.tolerance:.2g}"
        if limited:
            return "tolerance_not_reached", (
                f"{wanted}: the observations allow no more. Their noise leaves a standard error of {last.statistical:.2g}; more features do "
                f"not lower it. Add observations, or loosen tolerance{self._misfit_text()}"
            )
        if stagnated:
            return "tolerance_not_reached", (
                f"{wanted}: more features no longer lower the residual at fresh points ({last.fresh_residual:.2g}). Fields or coefficients are not "
                f"smooth in the coordinates of the charts, or equations, conditions and observations contradict each other{self._misfit_text()}"
            )
        if too_large:
            text = f"{self.method.maximum_features} features are allowed; raise JointLeastSquares(maximum_features=...)"
            return "tolerance_not_reached", f"{wanted}: {text}"
        if elapsed + next_seconds > settings.seconds:
            return "out_of_time", (
                f"{wanted}: the next size ({self._size(self.level)} features) needs about {next_seconds:.0f} s of the {settings.seconds:g} s given, "
                f"{elapsed:.0f} s are used. Raise seconds, or loosen tolerance"
            )
        return None

    def _undetermined_text(self, last: Sized) -> str:
        names = ", ".join(f"`{declaration_of(self.compiled.ir.unknowns[index]).name}`" for index in last.free)
        return (
            f"{names} cannot be told from the equations, conditions and observations: changing it, or a combination of the unknowns, changes nothing "
            "that was measured. Add observations that it affects, or give it a value"
        )

    def _misfit_text(self) -> str:
        """Say so when the data deviate from the model by more than their declared noise."""
        last = self.sizes[-1]
        if not self._misfit_is_large(last):
            return ""
        if self.noise is None:
            return f". The observations deviate by {last.misfit:.2g} of their size; if that is not noise, the unknowns may be wrong altogether"
        return (
            f". The observations deviate by {last.misfit:.2g} of their size where noise of {self.noise:.2g} was declared: equations, conditions or "
            "the declared noise do not fit the data"
        )

    def _confirm(self) -> None:
        """Look once, before a size is called a success, for what the collocation points missed."""
        if self.confirmed == self.level:
            return
        self.confirmed = self.level
        last = self.sizes[-1]
        cost, seed = last.model.bases[0].n_features, self._seed(self.level) + 3
        fresh = float(np.hypot(last.fresh_residual, last.misfit))
        self.estimate = with_the_unseen(self.estimate, self.compiled, last.model, fresh, self._amplitude(), cost, seed)

    def predicted_seconds(self) -> float:
        """Return the cost of the next size: factorisations grow with the third power."""
        ratio = self._size(self.level) / max(self.sizes[-1].model.bases[0].n_features, 1) if self.sizes else 1.0
        return float(len(self._redundancies()) * self.last_seconds * ratio**3)

    def error_estimate(self) -> float:
        """Return the estimate of the last size."""
        return self.estimate

    def model(self) -> JointModel:
        """Return the last size."""
        return self.sizes[-1].model

    def state(self) -> StateTree:
        """Return the last sizes and the counters."""
        return {
            "level": self.level,
            "estimate": self.estimate,
            "last_seconds": self.last_seconds,
            "confirmed": self.confirmed,
            "fitted_at": -1 if self.fitted_at is None else self.fitted_at,
            "ratios": np.array(self.ratios),
            "sizes": {str(i): _sized_state(sized) for i, sized in enumerate(self.sizes)},
        }

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        self.level, self.confirmed = int(state["level"]), int(state["confirmed"])
        self.estimate, self.last_seconds = float(state["estimate"]), float(state["last_seconds"])
        self.fitted_at = None if int(state["fitted_at"]) < 0 else int(state["fitted_at"])
        self.ratios = [float(ratio) for ratio in state["ratios"]]
        self.sizes = []
        for i in range(len(state["sizes"])):
            entry = state["sizes"][str(i)]
            model = joint_model_from_state(self.compiled, entry["model"])
            numbers = {name: float(entry[name]) for name in SIZED_NUMBERS}
            self.sizes.append(Sized(model=model, free=tuple(int(k) for k in np.atleast_1d(entry["free"])), values=self._values(model), **numbers))


SIZED_NUMBERS = ("redundancy", "training_residual", "fresh_residual", "misfit", "sigma", "determined", "statistical")


def _sized_state(sized: Sized) -> StateTree:
    return {"model": sized.model.state(), "free": np.array(sized.free, dtype=int), **{name: getattr(sized, name) for name in SIZED_NUMBERS}}
