"""Joint least squares: fields, coefficient fields and scalars together, from equations and observations.

Sines on charts for the fields, sines behind a bounded transform for the coefficient fields. Scalars are scanned over their bounds first, since
Gauss-Newton from half a wave speed converges to a wrong one; then one Gauss-Newton iteration moves everything. Sizes grow until the estimated error
meets the tolerance or the noise of the observations allows no more. Penalties and priors are weighed against the noise. Standard errors come from the
Gauss-Newton matrix, and are those of ignorance where the data determine nothing.
"""

from dataclasses import dataclass, replace
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
from pinnsiren.training.error_estimate import ROUNDING, estimate_from_sizes, known_errors, relative_difference, with_the_unseen
from pinnsiren.training.feature_model import build_bases
from pinnsiren.training.joint_model import JointModel
from pinnsiren.training.joint_penalties import PenalisedSolver, penalty_line, penalty_refusal, penalty_terms, rests_on
from pinnsiren.training.joint_sizes import Asked, Sized, model_values, open_scalars, sized_from_state, statistical_errors
from pinnsiren.training.joint_solver import JointFit, JointSolver
from pinnsiren.training.joint_system import HARDNESS, JointSystem, observes_exactly, relative_noise
from pinnsiren.training.joint_undetermined import FIELD_WAVE, FINEST, LARGEST_QUESTION, find_ignorance, open_places, questions
from pinnsiren.training.method import AbstractMethod, AbstractRun, RunSettings, StateTree, Suitability
from pinnsiren.training.probes import probe_points
from pinnsiren.training.scalar_rivals import as_array, explains_as_well, from_array, rival_words, rivals_of, valleys_of
from pinnsiren.training.scalar_scan import at_scalars, scalar_candidates, scalar_limits

REDUNDANCIES = (2.5, 5.0, 10.0)  # features per independent function of the fields; what is smooth needs much
COEFFICIENT_REDUNDANCY = 10.0  # a coefficient is smoother than the field that it makes; its prior chooses the band
SMALLEST = {1: 60, 2: 300, 3: 600}  # features of the fields at the first size
SHARE = 0.5  # features of a coefficient field per feature of the fields
LARGEST_COEFFICIENT = 500  # the evidence costs the third power
SMALLEST_COEFFICIENT = 40
HELD_COEFFICIENT, HELD_REDUNDANCY = 240, 4.0  # of one that a penalty holds: it may bend sharply, and the penalty takes care of the rest
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
RIVAL_RESIDUAL, RIVAL_DISTANCE = 3.0, 10.0  # residual of a rival, in that of the fit, for it to be a solution; its distance, in estimated errors


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
        if not ir.unknowns and not ir.coefficients and not ir.penalties:
            return Suitability(False, "the problem solves for fields only", np.inf)
        if not compiled.structure.is_analytic and compiled.is_complex:
            return Suitability(False, "a conjugate or modulus of a complex field occurs", np.inf)
        if len(set(ir.is_complex)) > 1:
            return Suitability(False, "real and complex fields are mixed", np.inf)
        if any(program.algebra.has(SourceFamily) for program in compiled.programs):
            return Suitability(False, "the unknowns enter sources that differ from shot to shot, not as factors", np.inf)
        refusal = penalty_refusal(compiled)
        if refusal:
            return Suitability(False, refusal, np.inf)
        sought = " and ".join(name for name, found in (("coefficient fields", ir.coefficients), ("scalars", ir.unknowns)) if found)
        found = f"fields are eliminated, {sought} found by Gauss-Newton steps with standard errors" if sought else "fields are weighed against noise"
        weighed = f"; weighs {penalty_line(compiled)}" if ir.penalties else ""
        return Suitability(True, f"{compiled.structure.overall}: {found}{weighed}", 1.0)

    @property
    def weighs_penalties(self) -> bool:
        """Joint least squares weighs what should be small against the noise of the observations."""
        return True

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "JointRun":
        """Begin at the smallest size."""
        return JointRun(self, compiled, settings)


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
    common: float | None = None  # factor of the penalties whose weight is found from the data
    resolved: float = np.inf  # the estimate without what the data leave open
    rivals: tuple[tuple[complex, ...], ...] = ()  # other scalars that the scan found to explain about as much
    rival_text: str = ""
    faced: int = 0

    def __post_init__(self) -> None:
        ir = self.compiled.ir
        self.device = torch.device(self.settings.device)
        self.noise = relative_noise(self.compiled)
        self.exact_data = observes_exactly(self.compiled)
        self.probes = probe_points(self.compiled)
        zero = (0,) * len(ir.coordinates)
        known = [self.compiled.known_part(i, self.probes, zero) for i in range(ir.n_fields)]
        self.known = [*known, *(np.zeros((len(self.probes), 1)) for _ in ir.coefficients), *(np.zeros((1, 1)) for _ in ir.unknowns)]
        self.limits = scalar_limits(ir.unknowns)
        self.terms = penalty_terms(self.compiled)

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

    def _coefficient_size(self, index: int, size: int) -> tuple[int, float]:
        """Return the features of a coefficient field, and how many share an independent function."""
        dimension, own = len(self.compiled.ir.coordinates), len(self.compiled.ir.coefficients[index].args)
        usual = int(np.clip(SHARE * size ** (own / dimension), SMALLEST_COEFFICIENT, LARGEST_COEFFICIENT))
        held = any(term.holds(self.compiled.ir.n_fields + index) for term in self.terms)
        return (max(usual, HELD_COEFFICIENT), HELD_REDUNDANCY) if held else (usual, COEFFICIENT_REDUNDANCY)

    def _seed(self, level: int) -> int:
        return 1_000_003 * self.settings.seed + 7919 * level

    def step(self) -> dict[str, float]:
        """Fit the next size."""
        start = perf_counter()
        tried = self._redundancies()
        fitted = [self._fit(self._size(self.level), redundancy) for redundancy in tried]
        best, solver, fit = min(fitted, key=lambda triple: self._merit(triple[0]))
        if self.terms:
            best, fit = self._weighed(best, solver, fit)
        best = self._questioned(best, solver, fit)
        if self.sizes:
            previous = self.sizes[-1]
            self.ratios.append(self._merit(best) / max(self._merit(previous), 1e-300))
            numerical = estimate_from_sizes(
                best.values, previous.values, self.known, best.fresh_residual / max(previous.fresh_residual, 1e-300),
                best.fresh_residual, best.training_residual,
            )  # fmt: skip
            self.resolved = float(np.hypot(np.hypot(numerical, best.statistical), known_errors(self.compiled)))
            if self._misfit_is_large(best) or self.exact_data:
                self.resolved = max(self.resolved, best.misfit)
            self.estimate = float(np.hypot(self.resolved, best.open_error))
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

    def _fit(self, size: int, redundancy: float) -> tuple[Sized, JointSolver, JointFit]:
        """Return a size, with the solver and the fit that made it."""
        n_points, seed = self._n_points(size), self._seed(self.level)
        start = self._best_start(size, redundancy, n_points, seed)
        system, model = self._empty(size, redundancy, seed, start)
        fit, solver = self._fit_from(system, model, n_points, seed, self.method.steps)
        return self._measured(fit, solver, redundancy), solver, fit

    def _n_points(self, size: int) -> int:
        return int(self.method.oversampling * size * sum(chart.share for chart in self.compiled.charts))

    def _measured(self, fit: JointFit, solver: JointSolver, redundancy: float) -> Sized:
        """Measure a fit."""
        compiled, n_points, seed = self.compiled, self._n_points(self._size(self.level)), self._seed(self.level)
        fresh = JointSolver(solver.system, solver.system.place(n_points // 2, seed + 2, fit.model), self.noise, self.limits)
        residual, misfit = fresh.norm_of_equations(fit.model) / HARDNESS, solver.norm_of_observations(fit.model)
        if not np.isfinite(residual + misfit):
            raise NonFiniteError("a residual at fresh points")
        values = model_values(compiled, fit.model, self.probes)
        seen, _ = statistical_errors(compiled, fit, fit.model, self.probes[:N_SPREAD], self.known)
        return Sized(
            model=fit.model,
            redundancy=redundancy,
            training_residual=solver.norm_of_equations(fit.model) / HARDNESS,
            fresh_residual=residual,
            misfit=misfit,
            sigma=fit.balance.sigma,
            determined=fit.balance.determined,
            statistical=seen,
            open_error=0.0,
            free=tuple(index % max(len(compiled.ir.unknowns), 1) for index in fit.balance.free if self._can_move(index)),
            values=values,
        )

    def _questioned(self, sized: Sized, solver: JointSolver, fit: JointFit) -> Sized:
        """Return the size with what the observations alone leave open."""
        compiled, ir = self.compiled, self.compiled.ir
        if not ir.coefficients:
            return sized
        seed, share = self._seed(self.level) + 13, sum(chart.share for chart in compiled.charts)
        needed = REDUNDANCIES[0] * features_for_bandwidth(FIELD_WAVE, compiled.scales.half_lengths)
        size = int(np.clip(needed, sized.model.bases[0].n_features / share, max(LARGEST_QUESTION, sized.model.bases[0].n_features / share)))
        bases, thetas = questions(compiled, sized.model.coefficient_bases, sized.model.thetas, self.probes, seed)
        system, empty = self._empty(size, REDUNDANCIES[0], seed, sized.model.unknowns)
        asking = JointSolver(system, system.place(self._n_points(size), seed + 1, empty), self.noise, self.limits)
        asked, _ = asking.solve_fields(replace(empty, coefficient_bases=bases, thetas=thetas))
        state = asking.state(asked)
        # Errors of the expansion act like noise on what observations can tell.
        level = max(sized.sigma, max(sized.fresh_residual, FINEST) / np.sqrt(max(solver.n_data, 1)))
        ignorance = find_ignorance(state.reduced, bases, thetas, level)
        model = replace(sized.model, ignorance=ignorance)
        model = replace(model, undetermined=(*open_places(ignorance, self.probes, ir.coordinates), *open_scalars(compiled, model)))
        seen, whole = statistical_errors(compiled, fit, model, self.probes[:N_SPREAD], self.known, Asked(asked, asking.answer(state)))
        return replace(sized, model=model, open_error=whole if whole > seen else 0.0)

    def _weighed(self, plain: Sized, solver: JointSolver, fit: JointFit) -> tuple[Sized, JointFit]:
        """Return the size that rests on the penalties; how far they moved it counts as an error, since nobody measured what they say."""
        weighing = PenalisedSolver(solver, self.terms, self._n_points(self._size(self.level)), self._seed(self.level) + 5, fit)
        weighed = weighing.weigh(fit, self.method.steps, self.common)
        self.common = weighed.common
        sized = self._measured(weighed.fit, solver, plain.redundancy)
        moved = relative_difference(sized.values, plain.values, self.known)
        model = replace(sized.model, rests_on=rests_on(self.terms, weighed))
        return replace(sized, model=model, statistical=float(np.hypot(sized.statistical, moved))), weighed.fit

    def _empty(self, size: int, redundancy: float, seed: int, scalars: tuple[complex, ...]) -> tuple[JointSystem, JointModel]:
        """Return a system and a model without fields, with features that suit the scalars."""
        compiled, frequencies = at_scalars(self.compiled, scalars, size, redundancy, seed)
        bases = build_bases(compiled, frequencies)
        coefficient_bases = tuple(
            build_coefficient(compiled, k, draw_coefficient(compiled, k, *self._coefficient_size(k, size), seed + 11 + k))
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
            self.scanned_at = self.level
            starts = list(dict.fromkeys([*(candidate for _, candidate in scanned[:REFINED_CANDIDATES]), *valleys_of(scanned)]))
            tried = [self._fit_from(*self._empty(size, redundancy, seed, start), n_points, seed, REFINING_STEPS) for start in starts]
            self.candidates = [min(tried, key=lambda pair: pair[0].misfit)[0].model.unknowns]
            self.rivals = rivals_of([(self._explained(fit, solver), fit.model.unknowns) for fit, solver in tried], self.candidates[0])
        return self.candidates[0]

    def _fit_from(self, system: JointSystem, model: JointModel, n_points: int, seed: int, steps: int) -> tuple[JointFit, JointSolver]:
        solver = JointSolver(system, system.place(n_points, seed + 1, model), self.noise, self.limits)
        start, _ = solver.solve_fields(model)
        return solver.fit(start, steps), solver

    def _explained(self, fit: JointFit, solver: JointSolver) -> float:
        return float(np.hypot(solver.norm_of_equations(fit.model) / HARDNESS, solver.norm_of_observations(fit.model)))

    # -- measures -----------------------------------------------------------------------------------------------------------------------------

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
            return "tolerance_not_reached", last.undetermined_words(self.compiled)
        if self.resolved <= settings.tolerance < self.estimate:
            text = f"the estimated error is {self.estimate:.2g}, above the tolerance {settings.tolerance:.2g}; without what is open it is"
            return "tolerance_not_reached", f"{text} {self.resolved:.2g}{self._remarks()}"
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
                return "success", text + self._remarks()
        if limited or stagnated or too_large:
            self._face_rivals()
        wanted = f"the estimated error is {self.estimate:.2g}, above the tolerance {settings.tolerance:.2g}"
        if self.rival_text:
            return "tolerance_not_reached", f"{wanted}{self._remarks()}"
        if limited:
            return "tolerance_not_reached", (
                f"{wanted}: the observations allow no more. Their noise leaves a standard error of {last.statistical:.2g}; more features do "
                f"not lower it. Add observations, or loosen tolerance{self._remarks()}"
            )
        if stagnated:
            return "tolerance_not_reached", (
                f"{wanted}: more features no longer lower the residual at fresh points ({last.fresh_residual:.2g}). Fields or coefficients are not "
                f"smooth in the coordinates of the charts, or equations, conditions and observations contradict each other{self._remarks()}"
            )
        if too_large:
            text = f"{self.method.maximum_features} features are allowed; raise JointLeastSquares(maximum_features=...)"
            return "tolerance_not_reached", f"{wanted}: {text}{self._remarks()}"
        if elapsed + next_seconds > settings.seconds:
            return "out_of_time", (
                f"{wanted}: the next size ({self._size(self.level)} features) needs about {next_seconds:.0f} s of the {settings.seconds:g} s given, "
                f"{elapsed:.0f} s are used. Raise seconds, or loosen tolerance{self._remarks()}"
            )
        return None

    def _remarks(self) -> str:
        """Return what a user has to know besides numbers: misfit, what is open, what the result rests on."""
        misfit = self.sizes[-1].misfit_words(self.noise) if self._misfit_is_large(self.sizes[-1]) else ""
        return misfit + self.sizes[-1].open_words + self.sizes[-1].prior_words + self.rival_text

    def _confirm(self) -> None:
        """Look once, before a size is called a success, for what the collocation points missed."""
        if self.confirmed == self.level:
            return
        self.confirmed = self.level
        last = self.sizes[-1]
        cost, seed = last.model.bases[0].n_features, self._seed(self.level) + 3
        fresh = float(np.hypot(last.fresh_residual, last.misfit))
        self.estimate = with_the_unseen(self.estimate, self.compiled, last.model, fresh, self._amplitude(), cost, seed)
        self._face_rivals()

    def _face_rivals(self) -> None:
        """Fit the last size from the rivals too, once: the distance to those that explain the data as well is an error that nothing excludes."""
        if self.faced == self.level or self.terms:
            return  # what is preferred may tell valleys apart
        self.faced, last, level, alone, stand = self.level, self.sizes[-1], self.level - 1, self.estimate, []
        size, seed = self._size(level), self._seed(level)
        for start in self.rivals:
            fit, solver = self._fit_from(*self._empty(size, last.redundancy, seed, start), self._n_points(size), seed, self.method.steps)
            solved = solver.norm_of_equations(fit.model) / HARDNESS <= max(RIVAL_RESIDUAL * last.training_residual, self.settings.tolerance)
            misfit, level_of_errors = solver.norm_of_observations(fit.model), max(self.noise or 0.0, last.fresh_residual, self.settings.tolerance)
            away = relative_difference(model_values(self.compiled, fit.model, self.probes), last.values, self.known)
            if solved and away > RIVAL_DISTANCE * alone and explains_as_well(misfit, last.misfit, solver.n_data, level_of_errors):
                stand.append(fit.model.unknowns)
                self.estimate = max(self.estimate, away)
        self.rival_text = rival_words(self.compiled.ir.unknowns, stand)

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
            "common": self.common,
            "resolved": self.resolved,
            "rivals": as_array(self.rivals, len(self.compiled.ir.unknowns)),
            "ratios": np.array(self.ratios),
            "sizes": {str(i): sized.state() for i, sized in enumerate(self.sizes)},
        }

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        self.level, self.confirmed = int(state["level"]), int(state["confirmed"])
        self.estimate, self.last_seconds = float(state["estimate"]), float(state["last_seconds"])
        self.fitted_at = None if int(state["fitted_at"]) < 0 else int(state["fitted_at"])
        self.ratios = [float(ratio) for ratio in state["ratios"]]
        self.resolved, self.common, self.rivals = float(state["resolved"]), state["common"], from_array(state["rivals"])
        self.sizes = [sized_from_state(self.compiled, state["sizes"][str(i)], self.probes) for i in range(len(state["sizes"]))]
