"""Least squares on sine features, i.e. on the last layer of a one-hidden-layer SIREN whose first layer is drawn on charts.

min_c sum_r |A_r c - b_r|^2 over all residuals r, each scaled to the field; rows are collocation points, columns features of unit norm; Householder QR
of the matrix with a ridge at rounding level, all shots as right-hand sides at once (many shots: see `shot_mixing`). The number of features grows
until the estimated error meets the tolerance. Equations that are not affine are linearised by Newton's method at each size.
"""

from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.charts import features_for_bandwidth
from pinnsiren.charts.expansion import FeatureBasis
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import NonFiniteError, ProblemError
from pinnsiren.training.error_estimate import estimate_from_sizes, known_errors, with_the_unseen
from pinnsiren.training.feature_model import FeatureModel, build_bases, draw_all, feature_model_from_state
from pinnsiren.training.method import AbstractMethod, AbstractRun, RunSettings, StateTree, Suitability
from pinnsiren.training.parallel import ALONE, Ranks, join_ranks
from pinnsiren.training.probes import probe_points, without_free_constants
from pinnsiren.training.row_blocks import solve_rows
from pinnsiren.training.row_system import RowSystem
from pinnsiren.training.sampling import PointSet
from pinnsiren.training.shot_mixing import FEWEST_SHOTS, Factor, MixedRows, mixed, mixing_of

REDUNDANCIES = (1.3, 2.5, 5.0)  # features per independent function: little for oscillating fields, much for smooth ones
NOMINAL_SPEED = 4e10  # floating-point operations per second of a QR factorisation on two cores
SMALLEST = {1: 40, 2: 300, 3: 600}
PILOT_SIZE = 1050  # features on the scaled box up to which all redundancies are tried: a size and not a time, so that runs repeat
STAGNATION = 0.9  # a size that lowers the residual by less than this factor does not help
ENOUGH = 1e-11  # estimates below are at the level of rounding: nothing more is to be had
LAYERS_SHARE = 1.1  # of what the layers neglect: an estimate below is theirs, what more features could take off is less than half of it
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
        if compiled.ir.unknowns or compiled.ir.coefficients:
            return Suitability(False, "the problem solves for coefficients, which are not in the last layer", np.inf)
        if not compiled.structure.is_analytic and compiled.is_complex:
            return Suitability(False, "a conjugate or modulus of a complex field occurs", np.inf)
        if len(set(compiled.ir.is_complex)) > 1:
            return Suitability(False, "real and complex fields are mixed", np.inf)
        if compiled.structure.in_fields == "nonlinear":
            return Suitability(True, "Newton's method makes the equations affine step by step; the frequencies stay fixed", 1.2)
        return Suitability(True, f"the residuals are {compiled.structure.in_fields} in the fields: one linear solve for the last layer is exact", 1.0)

    def refuses_processes(self, compiled: CompiledProblem) -> str:
        """Shots are split: what each costs beyond a factorisation that all share, or its own linearised equations."""
        n_shots = compiled.ir.n_shots
        if n_shots == 1:
            return "the field has no shots, and one factorisation is not split"
        if n_shots < FEWEST_SHOTS and all(program.is_affine for program in compiled.programs):
            return f"{n_shots} shots of one linear operator share a factorisation beside which they cost nothing; {FEWEST_SHOTS} or more are split"
        return ""

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "LeastSquaresRun":
        """Begin at the smallest size."""
        ranks = ALONE if self.refuses_processes(compiled) else join_ranks(torch.device(settings.device))
        settings = replace(settings, seconds=ranks.agree(settings.seconds))
        return LeastSquaresRun(self, compiled, settings, mixing=mixing_of(compiled, settings.seed), ranks=ranks)


@dataclass(frozen=True)
class Fit:
    """One size: the model and what was measured of it."""

    model: FeatureModel
    size: int
    training_residual: float
    fresh_residual: float
    values: tuple[NDArray[Any], ...]  # per field the unknown part at the probe points
    factor: Factor | None = None  # of the matrix, for the shots behind the mixtures


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
    first: int = 0  # features at the first size
    confirmed: int = 0  # level at which the dense check was made
    ratios: list[float] = dataclass_field(default_factory=list)
    fits: list[Fit] = dataclass_field(default_factory=list)  # the last two sizes
    mixing: NDArray[np.float64] | None = None  # of many shots, on which the sizes are tried
    ranks: Ranks = ALONE  # processes that share the shots
    all_shots: tuple[int, FeatureModel] | None = None  # level and model behind the mixtures

    def __post_init__(self) -> None:
        self.device = torch.device(self.settings.device)
        self.first = self.first_size()
        self.dtype = torch.complex128 if self.compiled.is_complex else torch.float64
        self.probes = probe_points(self.compiled)
        zero = (0,) * len(self.compiled.ir.coordinates)
        known = [self.compiled.known_part(i, self.probes, zero) for i in range(len(self.compiled.ir.is_complex))]
        self.known = without_free_constants(self.compiled, known)
        if self.mixing is not None:
            self.known = [mixed(values, self.mixing) for values in self.known]

    def first_size(self) -> int:
        """Features that carry one and a half times the wavenumber; a step less where that is large, since an estimate needs two sizes."""
        if self.method.features is not None:
            return self.method.features
        scales = self.compiled.scales
        needed = REDUNDANCIES[0] * features_for_bandwidth(1.5 * scales.wavenumber, scales.half_lengths)
        if needed > self._pilot_size():
            needed /= self.method.growth
        needed = min(needed, self._affordable_size(), self.method.maximum_features / self.method.growth)
        return int(max(SMALLEST.get(len(scales.half_lengths), 800), needed))

    def _affordable_size(self) -> float:
        """Return the first of two sizes whose factorisations fill the budget on a nominal machine: a count and not a clock, so that runs repeat."""
        method, fields = self.method, len(self.compiled.ir.is_complex)
        columns = fields * sum(chart.share for chart in self.compiled.charts)
        passes = 1 if all(program.is_affine for program in self.compiled.programs) else method.newton_steps
        work = 2 * (method.oversampling + 1) * columns**3 * (4 if self.compiled.is_complex else 1) * passes * (1 + method.growth**3)
        return float((self.settings.seconds * NOMINAL_SPEED / work) ** (1 / 3))

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
        self.fits = [*(replace(older, factor=None) for older in self.fits[-1:]), fit]
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
        return int(self.first * self.method.growth**level)

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Decide after each size."""
        if len(self.fits) < 2:
            return None
        # Clocks of processes differ, and what follows asks all of them.
        elapsed, self.last_seconds, self.estimate = self.ranks.agree((elapsed, self.last_seconds, self.estimate))
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
        if self._is_left_to_layers():
            self._confirm()
        bound_by_layers = self._is_left_to_layers()
        if not (bound_by_layers or stagnated or too_large or elapsed + next_seconds > settings.seconds):
            return None
        # What a run claims at its end was looked at, however it ends.
        self._confirm()
        wanted = f"the estimated error is {self.estimate:.2g}, above the tolerance {settings.tolerance:.2g}"
        if bound_by_layers:
            return "tolerance_not_reached", (
                f"{wanted}: the declared layers reflect waves, or Gaussian sources reach into them, which makes {known_errors(self.compiled):.2g}. "
                "Give PML more width or strength, and keep sources six deviations away from its faces"
            )
        if stagnated:
            return "tolerance_not_reached", (
                f"{wanted}: more features no longer lower the residual at fresh points ({self.fits[-1].fresh_residual:.2g}). "
                "Something in the solution is not smooth in the coordinates of the charts (declare jumps as Piecewise, or try a trained network), "
                "or equations and conditions contradict each other or leave the solution open (a missing inflow value, a resonance)"
            )
        if too_large:
            return "tolerance_not_reached", f"{wanted}: {self.method.maximum_features} features are allowed; raise LeastSquares(maximum_features=...)"
        return "out_of_time", (
            f"{wanted}: the next size ({self._size(self.level)} features) needs about {next_seconds:.0f} s of the {settings.seconds:g} s given, "
            f"{elapsed:.0f} s are used. Raise seconds, or loosen tolerance"
        )

    def _is_left_to_layers(self) -> bool:
        """Whether the estimate is what declared layers neglect, and above the tolerance."""
        neglected = known_errors(self.compiled)
        return self.settings.tolerance < neglected and self.estimate <= LAYERS_SHARE * neglected

    def _confirm(self) -> None:
        """Look once, before a size is handed out, for what the collocation points missed."""
        if self.confirmed == self.level:
            return
        self.confirmed = self.level
        fit = self.fits[-1]
        cost, seed = fit.model.bases[0].n_features, self._seed() + 3
        system = None if self.mixing is None else self.row_system(())
        self.estimate = with_the_unseen(
            self.estimate, self.compiled, fit.model, fit.fresh_residual, self._amplitude(fit.values), cost, seed, system
        )
        if self.mixing is not None:
            self.estimate *= max(1.0, self._fresh_of_all() / max(fit.fresh_residual, 1e-300))

    def _fresh_of_all(self) -> float:
        """Return the residual of all shots at the fresh points of the last size."""
        fit, system = self.fits[-1], self.row_system(self.fits[-1].model.bases)
        assert isinstance(system, MixedRows)
        coefficients = torch.cat([system.convert(part) for part in self.model().coefficients])
        fresh = system.samples(self._n_points(fit.model.bases) // 2, self._seed(self.level - 1) + 2)
        return system.norm_of_all(fresh, coefficients, self._seed() + 4) / self._amplitude(fit.values)

    def predicted_seconds(self) -> float:
        """Return the cost of the next size: QR grows with the third power."""
        return float(len(self._redundancies()) * self.last_seconds * self.method.growth**3)

    def error_estimate(self) -> float:
        """Return the estimate of the last size."""
        return self.estimate

    def model(self) -> FeatureModel:
        """Return the last size, for all shots if it was tried on mixtures."""
        if self.mixing is None:
            return self.fits[-1].model
        if self.all_shots is None or self.all_shots[0] != self.level:
            fit = self.fits[-1]
            system = self.row_system(fit.model.bases)
            assert isinstance(system, MixedRows)
            samples = [] if fit.factor else system.samples(self._n_points(fit.model.bases), self._seed(self.level - 1) + 1)
            coefficients = system.split(system.solve_all(samples, fit.factor))
            self.all_shots = self.level, replace(fit.model, coefficients=coefficients)
        return self.all_shots[1]

    def state(self) -> StateTree:
        """Return the last size and the counters."""
        return {
            "level": self.level,
            "first": self.first,
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
        self.level, self.first, self.redundancy = int(state["level"]), int(state["first"]), state["redundancy"]
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
        values = [model.evaluate(index, self.probes, zero) for index in range(len(model.bases))]
        return tuple(without_free_constants(self.compiled, values))

    def row_system(self, bases: tuple[FeatureBasis, ...]) -> RowSystem:
        """Return the rows of the least-squares problem; a run on a part of the domain draws its points there."""
        if self.mixing is not None:
            return MixedRows(self.compiled, bases, self.device, self.dtype, self.mixing, self.ranks)
        return RowSystem(self.compiled, bases, self.device, self.dtype)

    def first_guess(self, zero: FeatureModel, training: list[PointSet]) -> FeatureModel:
        """Return where Newton's method starts: a vanishing unknown part, unless a run knows better."""
        del training
        return zero

    def _fit(self, size: int, redundancy: float) -> Fit:
        seed = self._seed()
        frequencies = tuple(draw_all(self.compiled, size, redundancy, seed))
        bases = build_bases(self.compiled, frequencies)
        n_points = self._n_points(bases)
        system = self.row_system(bases)
        training = system.samples(n_points, seed + 1)
        factor = None
        if isinstance(system, MixedRows):
            coefficients, factor = system.fit(training)
            model = FeatureModel(bases, frequencies, system.split(coefficients))
        else:
            model = self._newton(system, training, self.first_guess(FeatureModel(bases, frequencies, system.zeros()), training))
        values = self._probe_values(model)
        amplitude = self._amplitude(values)
        training_residual = system.residual_norm(training, model) / amplitude
        fresh_residual = system.residual_norm(system.samples(n_points // 2, seed + 2), model) / amplitude
        if not np.isfinite(training_residual + fresh_residual):
            raise NonFiniteError("a residual at fresh points")
        return Fit(model, size, training_residual, fresh_residual, values, factor)

    def _n_points(self, bases: tuple[FeatureBasis, ...]) -> int:
        """Return the number of collocation points of an equation."""
        return int(self.method.oversampling * sum(basis.n_features for basis in bases) / len(bases))

    def _amplitude(self, values: tuple[NDArray[Any], ...]) -> float:
        """Return the root mean square of the whole fields at the probe points."""
        squares = [np.mean(np.abs(value + known) ** 2) for value, known in zip(values, self.known, strict=True)]
        return float(np.sqrt(np.mean(squares))) or 1.0

    def _seed(self, level: int | None = None) -> int:
        return 1_000_003 * self.settings.seed + 7919 * (self.level if level is None else level)

    def _correction(self, system: RowSystem, training: list[PointSet], model: FeatureModel) -> torch.Tensor:
        """Solve the equations linearised at the field of each shot; each process of the run its share."""
        n_shots = self.compiled.ir.n_shots
        own = [solve_rows(system, training, model, shot) for shot in self.ranks.share(range(n_shots))]
        empty = torch.zeros(sum(basis.n_features for basis in model.bases), 0, dtype=self.dtype, device=self.device)
        return self.ranks.join_columns(torch.cat([empty, *own], dim=1), n_shots)

    def _newton(self, system: RowSystem, training: list[PointSet], model: FeatureModel) -> FeatureModel:
        """Solve once where the residuals are affine, else by Newton's method with steps halved until the residual falls."""
        if all(program.is_affine for program in self.compiled.programs):
            return FeatureModel(model.bases, model.frequencies, system.split(solve_rows(system, training, None)))
        norm = system.residual_norm(training, model)
        for _ in range(self.method.newton_steps):
            change = system.split(self._correction(system, training, model))
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
