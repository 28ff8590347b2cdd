"""Unknown scalars of nonlinear evolutions: the misfit as a function of the scalars alone, each value from a whole forward solution.

Fronts stand elsewhere for every viscosity, so that one set of features cannot serve all values. A scan of the bounds with one coarse march each finds
the valley; Gauss-Newton follows it with a Jacobian by differences, renewed by the steps themselves (Broyden); finer marches then correct what the
coarse one erred in. Input: a problem with unknown scalars and observations. Output: `ProfileModel`, the last forward solution with the scalars.

Reference: Broyden (1965), Math. Comp. 19; Bard (1974), Nonlinear Parameter Estimation, section 7 for the standard errors.
"""

from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem, compile_problem
from pinnsiren.errors import ProblemError
from pinnsiren.ir import MultiIndex
from pinnsiren.language.conditions import Observations
from pinnsiren.language.symbols import declaration_of
from pinnsiren.training.deadline import Deadline, OutOfTimeError
from pinnsiren.training.error_estimate import ROUNDING
from pinnsiren.training.joint_system import observes_exactly, relative_noise
from pinnsiren.training.method import AbstractMethod, AbstractRun, FittedModel, RunSettings, StateTree, Suitability
from pinnsiren.training.row_system import residual_system
from pinnsiren.training.sampling import sample_residual
from pinnsiren.training.scalar_rivals import as_array, distance_of, explains_as_well, from_array, rival_words, rivals_of, valleys_of
from pinnsiren.training.scalar_scan import scalar_limits, scalar_values
from pinnsiren.training.stretched_least_squares import StretchedLeastSquares, StretchedRun
from pinnsiren.training.stretched_model import stretched_model_from_state

Array = NDArray[np.float64]
SCANNED = {1: 7, 2: 25}
MOST_SCALARS = 2
DIFFERENCE = 0.1  # relative, of the first Jacobian: coarse marches err by a thousandth or so, and the difference has to stand out
COARSE_STEPS, FINE_STEPS = 6, 3
LARGEST_STEP = 0.5  # of a scalar
AT_REST = 0.1  # a step below this share of the error of the scalars is the last
NOISE_SHARE = 0.7  # of the estimate: above, the noise and not the marches limits it
RIVAL_DISTANCE = 10.0  # of another valley, in estimated errors: nearer ones are this one
LEANING = 3.0  # an error of a march may lie that much more along the scalars than across them, beyond what the last level showed
LEAST_FREE = 10  # observations beyond the scalars, from which their misfit says anything of the errors of a march
LEAST_EFFECT = 1e-6  # of a scalar on the data, relative: below, it is not determined


@dataclass(frozen=True)
class ScalarProfile(AbstractMethod):
    """Settings of the profile of scalars.

    Attributes:
        forward: method of the forward solutions.
        scan: values tried over the bounds; None chooses by the number of scalars.
        most_marches: finest forward solution.
    """

    forward: StretchedLeastSquares = dataclass_field(default_factory=StretchedLeastSquares)
    scan: int | None = None
    most_marches: int = 5

    def __post_init__(self) -> None:
        for name, low in (("scan", 1), ("most_marches", 2)):
            value = getattr(self, name)
            if value is not None and not value >= low:
                raise ProblemError(f"ScalarProfile was given {name}={value}; expected a whole number from {low}")

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits one or two real scalars in equations that are nonlinear in the fields, with observations, where the forward method fits."""
        refusal = self._refusal(compiled)
        if refusal:
            return Suitability(False, refusal, np.inf)
        judged = self.forward.judge(compile_problem(at_values(compiled, _starts(compiled))))
        if not judged.ok:
            return Suitability(False, f"for given scalars {self.forward.name} does not fit: {judged.reason}", np.inf)
        return Suitability(True, "nonlinear in the fields: forward solutions over the bounds of the scalars, then Gauss-Newton by differences", 0.9)

    def _refusal(self, compiled: CompiledProblem) -> str:
        ir = compiled.ir
        if not ir.unknowns or ir.coefficients or len(ir.unknowns) > MOST_SCALARS:
            return f"it finds one to {MOST_SCALARS} scalars and no coefficient fields"
        if any(declaration_of(unknown).is_complex for unknown in ir.unknowns):
            return "complex scalars have no order to scan"
        if compiled.structure.in_fields != "nonlinear":
            return "the equations are not nonlinear in the fields: features serve all values of the scalars at once"
        if not any(residual.kind == "observation" for residual in ir.residuals):
            return "nothing is observed"
        observed = [residual.region.points for residual in ir.residuals if residual.kind == "observation"]
        if any(points is not None and points.ndim == 3 for points in observed):
            return "points that differ from shot to shot are not supported"
        return ""

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "ProfileRun":
        """Begin with the scan."""
        return ProfileRun(self, compiled, settings)


def _starts(compiled: CompiledProblem) -> tuple[float, ...]:
    return tuple(complex(declaration_of(unknown).initial).real for unknown in compiled.ir.unknowns)


def at_values(compiled: CompiledProblem, values: tuple[float, ...]) -> Any:
    """Return the forward problem: scalars replaced by values, observations left out."""
    problem, known = compiled.original, dict(zip(compiled.ir.unknowns, values, strict=True))
    conditions = []
    for condition in problem.conditions:
        if not isinstance(condition, Observations):
            changed = {n: v.xreplace(known) for n, v in vars(condition).items() if hasattr(v, "xreplace") and v.has(*known)}
            conditions.append(replace(condition, **changed) if changed else condition)  # type: ignore[type-var]
    return problem.rewritten(equations=[equation.xreplace(known) for equation in problem.equations], conditions=conditions)


@dataclass(frozen=True)
class ProfileModel:
    """The forward solution at the scalars that were found.

    Attributes:
        inner: forward solution.
        unknowns: scalars.
        errors: their standard errors.
    """

    inner: FittedModel
    unknowns: tuple[complex, ...]
    errors: tuple[float, ...] = ()

    def evaluate(self, field_index: int, points: Array, orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of a field, (n_points, 1)."""
        return self.inner.evaluate(field_index, points, orders)

    def scalar_errors(self) -> tuple[float, ...]:
        """Return the standard errors of the scalars."""
        return self.errors

    def state(self) -> StateTree:
        """Return forward solution and scalars."""
        scalars = {"unknowns": np.array([value.real for value in self.unknowns]), "errors": np.array(self.errors)}
        return {"kind": "profile", "inner": self.inner.state(), **scalars}


def profile_model_from_state(compiled: CompiledProblem, state: StateTree) -> ProfileModel:
    """Rebuild a model."""
    values = tuple(float(value) for value in np.atleast_1d(state["unknowns"]))
    inner = stretched_model_from_state(compile_problem(at_values(compiled, values)), state["inner"])
    return ProfileModel(inner, tuple(complex(value) for value in values), tuple(float(e) for e in np.atleast_1d(state["errors"])))


@dataclass(frozen=True)
class Forward:
    """A forward solution and what it leaves of the observations, relative to their size."""

    values: Array
    run: StretchedRun
    left: Array

    @property
    def misfit(self) -> float:
        """Root mean square, relative."""
        return float(np.linalg.norm(self.left))


def _scalars(forward: Forward) -> tuple[complex, ...]:
    return tuple(complex(value) for value in forward.values)


@dataclass
class ProfileRun(AbstractRun):
    """Scan and coarse valley first, then finer marches."""

    method: ScalarProfile
    compiled: CompiledProblem
    settings: RunSettings
    level: int = 0  # marches of the forward solutions so far
    estimate: float = np.inf
    misfit: float = np.inf
    statistical: float = np.inf  # relative standard error of the scalars by noise alone
    open_scalars: tuple[int, ...] = ()
    last_seconds: float = 0.0
    last_model: ProfileModel | None = None
    jacobian: Array = dataclass_field(default_factory=lambda: np.zeros((0, 0)))
    rivals: tuple[tuple[complex, ...], ...] = ()  # other bottoms of valleys, which explain about as much
    rival_text: str = ""
    kept: Forward | None = None  # the last forward solution, which the next level marches on from
    given_up: float = 0.0  # seconds that a level needs that was given up
    forward_seconds: float = 0.0  # of the last forward solution

    def __post_init__(self) -> None:
        self.deadline = Deadline(self.settings.clock)
        self.noise = relative_noise(self.compiled)
        self.limits = scalar_limits(self.compiled.ir.unknowns)
        self.system = residual_system(self.compiled)

    def _forward(self, values: Array, marches: int, run: StretchedRun | None = None) -> Forward:
        """Return the forward solution at some scalars after a number of marches, those that a run has done included.

        Raises:
            OutOfTimeError: it would end after the deadline.
        """
        begin = self.settings.clock()
        if run is None:
            compiled = compile_problem(at_values(self.compiled, tuple(float(value) for value in values)))
            settings = replace(self.settings, tolerance=0.1 * self.settings.tolerance, refine_while_cheap=False, network=None)
            run = self.method.forward.start(compiled, settings)
        run.deadline = self.deadline
        while run.level < marches:
            run.step()
        self.forward_seconds = self.settings.clock() - begin
        model, pieces, total = ProfileModel(run.model(), tuple(complex(v) for v in values)), [], 0
        for program in self.compiled.programs:
            if program.residual.kind == "observation":
                drawn = sample_residual(self.compiled, program.residual, 1, 0)
                left = self.system.residual(program, drawn, model)[:, 0]
                size = float(np.sqrt(np.mean(np.abs(np.asarray(program.residual.values)) ** 2))) or 1.0
                weights = np.ones(len(left)) if drawn.weights is None else np.sqrt(drawn.weights)
                pieces.append(weights * left / size)
                total += len(left)
        return Forward(np.asarray(values, dtype=float), run, np.concatenate(pieces) / np.sqrt(total))

    def step(self) -> dict[str, float]:
        """Scan and go down the valley coarsely, or correct with one more march.

        Raises:
            OutOfTimeError: the level would end after the deadline; the last one stands.
        """
        begin, stands = self.settings.clock(), dict(vars(self))
        try:
            best = self._next_level()
        except OutOfTimeError as error:
            vars(self).update({**stands, "kept": None})
            self.given_up = self.settings.clock() - begin + error.needed
            raise
        self.last_seconds, self.kept = self.settings.clock() - begin, best
        return {"marches": float(self.level), "misfit": best.misfit, **self._named(best.values), "estimated_error": self.estimate}

    def _next_level(self) -> Forward:
        """Return the best forward solution with one more march, judged and compared with its rivals."""
        self.level += 1
        before = None if self.last_model is None else np.array([value.real for value in self.last_model.unknowns])
        if before is None:
            best = self._coarse()
        else:
            run = None if self.kept is None else self.kept.run
            best = self._valley(self._forward(before, self.level, run), self.level, FINE_STEPS)
        self._judge(best, before)
        if np.isfinite(self.estimate):
            self._face_rivals(best)
        return best

    def _named(self, values: Array) -> dict[str, float]:
        return {str(declaration_of(u).name): float(v) for u, v in zip(self.compiled.ir.unknowns, values, strict=True)}

    def _coarse(self) -> Forward:
        """Return the bottom of the valley that a scan of the bounds finds, with one march."""
        n = self.method.scan or SCANNED[len(self.compiled.ir.unknowns)]
        tried = [self._forward(values, 1) for values in scalar_values(self.compiled.ir.unknowns, n)]
        best = min(tried, key=lambda forward: forward.misfit)
        valleys = [forward for forward in tried if _scalars(forward) in valleys_of([(f.misfit, _scalars(f)) for f in tried])]
        starts = [best, *(valley for valley in valleys if distance_of(_scalars(valley), _scalars(best)) > DIFFERENCE)]
        bottoms = [self._bottom(start) for start in starts]
        best, self.jacobian = min(bottoms, key=lambda pair: pair[0].misfit)
        self.rivals = rivals_of([(bottom.misfit, _scalars(bottom)) for bottom, _ in bottoms], _scalars(best))
        return best

    def _bottom(self, best: Forward) -> tuple[Forward, Array]:
        """Return the bottom of the valley of a coarse solution, and the Jacobian there."""
        columns = []
        for index, value in enumerate(best.values):
            moved = best.values.copy()
            moved[index] += DIFFERENCE * (abs(value) or 1.0) * (1 if value < self.limits[1][index] - DIFFERENCE * abs(value) else -1)
            columns.append((self._forward(moved, 1).left - best.left) / (moved[index] - value))
        self.jacobian = np.stack(columns, axis=1)
        bottom = self._valley(best, 1, COARSE_STEPS)
        return bottom, self.jacobian

    def _valley(self, best: Forward, marches: int, most: int) -> Forward:
        """Follow Gauss-Newton steps while the misfit falls; every step renews the Jacobian."""
        for _ in range(most):
            step = -np.linalg.lstsq(self.jacobian, best.left, rcond=None)[0]
            largest = LARGEST_STEP * np.maximum(np.abs(best.values), 1e-300)
            target = np.clip(best.values + np.clip(step, -largest, largest), *self.limits)
            moved = target - best.values
            if np.linalg.norm(self.jacobian @ moved) < AT_REST * self._level_of_errors(best):
                break
            if self.forward_seconds > self.deadline.left():
                raise OutOfTimeError(self.forward_seconds)
            trial = self._forward(target, marches)
            self.jacobian = self.jacobian + np.outer(trial.left - best.left - self.jacobian @ moved, moved) / (moved @ moved)
            if trial.misfit >= best.misfit:
                break
            best = trial
        return best

    def _face_rivals(self, best: Forward) -> None:
        """Follow the rivals with as many marches: the distance to those that explain the data as well is an error that nothing excludes."""
        stand, kept, alone = [], self.jacobian, self.estimate
        level_of_errors = max(self.noise or 0.0, self._level_of_errors(best), self.settings.tolerance)
        for start in self.rivals:
            rival = self._valley(self._forward(np.real(start), self.level), self.level, FINE_STEPS)
            away = distance_of(_scalars(rival), _scalars(best))
            if away > RIVAL_DISTANCE * alone and explains_as_well(rival.misfit, best.misfit, len(best.left), level_of_errors):
                stand.append(_scalars(rival))
                self.estimate = max(self.estimate, away)
        self.jacobian, self.rival_text = kept, rival_words(self.compiled.ir.unknowns, stand)

    def _level_of_errors(self, forward: Forward) -> float:
        """Return the relative error of the data that a forward solution gives."""
        run = forward.run
        return max(run.estimate if np.isfinite(run.estimate) else run.residual, ROUNDING)

    def _judge(self, best: Forward, before: Array | None) -> None:
        """Estimate the errors: of the forward solution, of the scalars through it, and of noise."""
        _, s, vt = np.linalg.svd(self.jacobian * np.maximum(np.abs(best.values), 1e-300), full_matrices=False)
        self.open_scalars = tuple(int(k) for k in np.flatnonzero(np.max(np.abs(vt[s < LEAST_EFFECT]), axis=0, initial=0.0) > DIFFERENCE))
        inverse = np.linalg.norm(vt.T / np.maximum(s, LEAST_EFFECT), axis=1)  # relative change of each scalar per relative change of the data
        n = max(len(best.left) - len(s), 1)
        sigma = max(self.noise or 0.0, best.misfit * np.sqrt(len(best.left) / n)) / np.sqrt(len(best.left))
        field, misfit_before, self.misfit = best.run.estimate, self.misfit, best.misfit
        self.statistical = float(np.max(inverse * sigma))
        moves = np.zeros(len(s)) if before is None else np.abs(best.values - before) / np.maximum(np.abs(best.values), 1e-300)
        on_data = field if np.isfinite(field) else 0.0
        relative, moved, ratio = inverse * on_data, float(np.max(moves)), min(best.run.ratio, 0.5)
        if before is not None and n >= LEAST_FREE:
            # An error of the march on the data is absorbed by the scalars along their directions and remains in the misfit across them. How the two
            # compare, the last level tells, whose scalars were wrong by what they have moved since.
            leaning = np.maximum(moves / np.maximum(inverse * misfit_before, 1e-300), 1.0)
            relative = np.minimum(relative, LEANING * leaning * inverse * best.misfit * np.sqrt(len(best.left) / n))
        relative = np.hypot(inverse * sigma, relative)
        through = float(np.linalg.norm(s * (vt @ relative)))  # what the error of the scalars makes of the field
        self.estimate = float(np.hypot(max(field, through), max(float(np.max(relative)), moved * ratio / (1 - ratio))))
        if (observes_exactly(self.compiled)) or self._misfit_is_large():
            self.estimate = max(self.estimate, best.misfit)
        if self.open_scalars or before is None:
            self.estimate = np.inf
        errors = tuple(float(e) for e in relative * np.abs(best.values))
        self.last_model = ProfileModel(best.run.model(), tuple(complex(value) for value in best.values), errors)

    def _misfit_is_large(self) -> bool:
        return self.misfit > (0.1 if self.noise is None else 1.3 * self.noise)

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Decide after each level."""
        if self.level == 0:
            return None
        left = self.settings.seconds - elapsed
        self.deadline.allow(left)
        tolerance, following = self.settings.tolerance, self.predicted_seconds()
        if self.level == 1:
            text = f"only two levels of marches say how wrong the second is, and one was made; the next needs about {following:.0f} s"
            return None if following <= left else ("out_of_time", f"{text}, {max(left, 0):.0f} s are left. Raise seconds, or loosen tolerance")
        if self.open_scalars:
            names = ", ".join(f"`{declaration_of(self.compiled.ir.unknowns[k]).name}`" for k in self.open_scalars)
            return "tolerance_not_reached", f"the observations do not determine {names}: no value of it changes them. Observe what it affects"
        remark = ""
        if self._misfit_is_large():
            remark = f". The observations deviate by {self.misfit:.2g} of their size: equations, conditions or scalars may be wrong altogether"
        if self.rival_text:
            text = f"the estimated error is {self.estimate:.2g}, above the tolerance {tolerance:.2g}"
            return "tolerance_not_reached", f"{text}{remark}{self.rival_text}"
        if self.estimate <= tolerance:
            return "success", f"the estimated error {self.estimate:.2g} is at or below the tolerance {tolerance:.2g}{remark}"
        wanted = f"the estimated error is {self.estimate:.2g}, above the tolerance {tolerance:.2g}"
        if self.noise is not None and self.statistical > NOISE_SHARE * self.estimate:
            text = f"{wanted}: the noise leaves a standard error of {self.statistical:.2g}"
            return "tolerance_not_reached", f"{text}. Add observations, or loosen tolerance{remark}"
        if self.level >= self.method.most_marches:
            return "tolerance_not_reached", f"{wanted}: raise ScalarProfile(most_marches=...){remark}"
        if following > left:
            return "out_of_time", f"{wanted}: the next march needs about {following:.0f} s. Raise seconds, or loosen tolerance{remark}"
        return None

    def predicted_seconds(self) -> float:
        """Return the cost of the next level: a scan against a few finer marches comes out even, then marches grow; more if one was given up."""
        return max(self.last_seconds * (1.0 if self.level < 2 else 3.0), self.given_up)

    def error_estimate(self) -> float:
        """Return the estimate of the last level."""
        return self.estimate

    def model(self) -> ProfileModel:
        """Return the last forward solution and its scalars."""
        assert self.last_model is not None
        return self.last_model

    def state(self) -> StateTree:
        """Return the last level."""
        numbers = ("level", "estimate", "misfit", "statistical", "last_seconds")
        free = np.array(self.open_scalars, dtype=int)
        found = {"rivals": as_array(self.rivals, len(self.compiled.ir.unknowns)), "jacobian": self.jacobian, "model": self.model().state()}
        return {**{name: getattr(self, name) for name in numbers}, "free": free, **found}

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        self.level, self.estimate = int(state["level"]), float(state["estimate"])
        self.misfit, self.last_seconds, self.statistical = (float(state[name]) for name in ("misfit", "last_seconds", "statistical"))
        self.open_scalars = tuple(int(k) for k in np.atleast_1d(state["free"]))
        self.rivals = from_array(state["rivals"])
        self.jacobian, self.last_model = np.asarray(state["jacobian"]), profile_model_from_state(self.compiled, state["model"])
