"""Least squares on sine features in stretched coordinates, marched through time windows.

A first march finds the fronts: each window is solved on the stretch of its initial values, then on that of its own coarse solution, and halved until
its residual is small. Every further march takes stretches and first guesses from the last one, more functions per local scale, and more windows where
the solution is not smooth in time. Two marches differ by about the error of the coarser one, with all that windows have handed on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.charts.front_stretch import HIGHEST, Stretch, even_stretch, layer_stretch, stretch_from_coarse
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import NonFiniteError, ProblemError
from pinnsiren.language.conditions import Periodic
from pinnsiren.language.domains import SpaceTime
from pinnsiren.language.locations import space_of
from pinnsiren.training.deadline import Deadline, OutOfTimeError
from pinnsiren.training.error_estimate import estimate_from_sizes, with_the_unseen
from pinnsiren.training.march_clock import SAFETY, SHARES, MarchWatch, largest_share
from pinnsiren.training.method import AbstractMethod, AbstractRun, FittedModel, RunSettings, StateTree, Suitability
from pinnsiren.training.repeated_least_squares import RepeatedLeastSquares
from pinnsiren.training.row_system import residual_system
from pinnsiren.training.stretched_evidence import has_layers, is_smooth_spread, layer_widths, tails, why_not_stretched
from pinnsiren.training.stretched_model import InitialExtension, LastInstant, StretchedModel, stretched_model, stretched_model_from_state
from pinnsiren.training.stretched_window import Evaluators, WindowFit, WindowShape, fit_window, grid

Array = NDArray[np.float64]
FIRST_WINDOWS = 8
FIRST_TARGET = 1e-2  # residual of a window times its length over the field, in the first march: fronts are then in place
SHARPER = 20.0  # from march to march
SHORTEST = 1e-7  # of the whole time: below, initial data with a kink or a jump are left as they are
RETRIES = 3  # denser functions in a window, before it is halved
DENSER, LEAST_GAIN = 1.2, 0.5  # functions per local scale; they must lower the residual by that
MOST_PIECES = 8  # of a window in the next march
N_INSTANTS, N_LINES = 3, 9  # at which stretches are read from a window
SMALLEST_HARMONICS = 5
FINEST_SHARE = 0.1
LOOKS = 3
LAYER_SHARE = 0.5  # of the width of a layer: its first scale
FIRST_LOOKS = 8  # at a stationary problem, whose layers may lie far below the first scales
MORE_IN_TIME = 1  # harmonics in time, at most, above those of the first march: shorter windows are cheaper
STATIONARY_SHARE = 2.0  # without a time, a residual of the size of one term may be the work of a larger error: transport adds it up along the axis
RESIDUAL_SHARE = 0.1  # rows of initial values count ten times: an error of the field is at least that share of the residual it makes
ENOUGH = 1e-11
ROUNDING = 1e-9  # of sums of shares
SMOOTH_TARGET = 0.1  # in place of the first target: diffusion damps what a window does not resolve: errors lie below residuals
SMOOTH_RETRIES, SMOOTH_DENSER, SMOOTH_GAIN = 6, 1.3, 0.9  # more functions along axes with that share of the largest tail, while the residual falls
SMOOTH_SHARE, SMOOTH_OVERSAMPLING = 0.05, 1.25  # along three axes: twice as many points as functions
TOO_MANY_AXES = 1.5  # cost: above least squares on a ball of frequencies
CHEAP_SECONDS, CHEAP = 3.0, 0.75  # of what is left: a march gains a factor of `SHARPER`, and one that would take longer is given up early


@dataclass(frozen=True)
class StretchedLeastSquares(AbstractMethod):
    """Settings of least squares on stretched axes.

    Attributes:
        density: functions per local scale of the solution in the first march.
        growth: of the density from march to march.
        time_harmonics: harmonics in time per window in the first march; one more from the third march on.
        oversampling: collocation points per function, along each axis.
        newton_steps: most linear systems per window.
        maximum_functions: largest number of functions of a window.
    """

    density: float = 2.5
    growth: float = 1.3
    time_harmonics: int = 3
    oversampling: float = 1.5
    newton_steps: int = 10
    maximum_functions: int = 4000

    def __post_init__(self) -> None:
        for name, low in (("density", 0), ("growth", 1), ("time_harmonics", 0), ("oversampling", 1), ("newton_steps", 0), ("maximum_functions", 0)):
            if not getattr(self, name) > low:
                raise ProblemError(f"StretchedLeastSquares was given {name}={getattr(self, name)}; expected a number above {low}")

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits evolutions on boxes of one or two dimensions that are of first order in time and nonlinear, or whose coefficients vary."""
        refusal = why_not_stretched(compiled)
        if refusal:
            return Suitability(False, refusal, np.inf)
        if is_smooth_spread(compiled):
            return Suitability(True, "diffusion smooths in two dimensions: products of functions along the axes, window by window in time", 1.1)
        if len(space_of(compiled.ir.domain).coordinates) > 1:
            return Suitability(True, "axes are stretched where the solution is steep; products along several axes are many", TOO_MANY_AXES)
        if not isinstance(compiled.ir.domain, SpaceTime):
            if has_layers(compiled):
                return Suitability(True, "the highest derivative is small: axes are stretched across the layers of a coarse solution", 0.9)
            return Suitability(True, "axes are stretched where the solution is steep", 1.1)
        if compiled.structure.in_fields == "nonlinear":
            return Suitability(True, "fronts may form and move: axes are stretched across them, window by window in time", 0.9)
        return Suitability(True, "axes are stretched where the solution of a window is steep", 1.1)

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "StretchedRun":
        """Begin with the march that finds the fronts."""
        return StretchedRun(self, compiled, settings)


@dataclass
class StretchedRun(AbstractRun):
    """Marches, each finer than the last."""

    method: StretchedLeastSquares
    compiled: CompiledProblem
    settings: RunSettings
    level: int = 0
    estimate: float = np.inf
    residual: float = np.inf
    ratio: float = 1.0
    rate: float = 0.0  # seconds per cube of unknowns in a linear system, of the last march
    depth: float = 0.0  # whole refinements up to the last march
    share: float = 1.0  # of a refinement, in the next march
    confirmed: int = 0
    fits: list[WindowFit] = dataclass_field(default_factory=list)
    densities: list[Array] = dataclass_field(default_factory=list)
    amplitude: float = 0.0
    handed: float = 0.0  # residual of the window before, relative to the field: how far its end can be trusted

    def __post_init__(self) -> None:
        self.evaluators, self.deadline = Evaluators(self.compiled), Deadline(self.settings.clock)
        domain = self.compiled.ir.domain
        self.times = domain.time_bounds if isinstance(domain, SpaceTime) else None
        periodic = {c.axis for c in self.compiled.ir.problem.conditions if isinstance(c, Periodic)}
        space = space_of(domain)
        self.smooth = is_smooth_spread(self.compiled)
        self.even = tuple(even_stretch(*space.bounds[symbol], symbol in periodic) for symbol in space.coordinates)
        if self.times is None:
            widths = layer_widths(self.compiled)
            self.even = tuple(
                layer_stretch(s.low, s.high, LAYER_SHARE * w) if w < s.high - s.low and not s.periodic else s
                for s, w in zip(self.even, widths, strict=True)
            )

    # -- one march

    def step(self) -> dict[str, float]:
        """March once through all windows.

        Raises:
            OutOfTimeError: it would end after the deadline; the last march stands.
        """
        self.evaluators.factored = RepeatedLeastSquares()  # a march that is resumed then repeats every digit
        expected = self.predicted_seconds() / max(sum(work for _, _, work in self._work()), 1e-300)
        self.watch = MarchWatch(self.deadline, [(first, last, expected * work) for first, last, work in self._work()])
        amplitude = self.amplitude
        previous = stretched_model(self.fits) if self.fits else None
        try:
            fits, densities = self._march(previous)
        except OutOfTimeError as error:
            self.amplitude = amplitude
            self.rate *= error.needed / max(self.predicted_seconds(), 1e-300)
            raise
        self._judge(fits, densities, previous)
        self.rate = (self.settings.clock() - self.watch.begun) / max(self.watch.done, 1.0)
        return {
            "size": float(sum(sum(basis.n_features for basis in fit.model.bases) for fit in fits)),
            "windows": float(len(fits)),
            "largest_window": float(max(fit.model.bases[0].n_features for fit in fits)),
            "linear_systems": float(sum(fit.steps for fit in fits)),
            "training_residual": float(np.sqrt(sum(fit.training**2 for fit in fits))) / self.amplitude,
            "fresh_residual": self.residual,
            "estimated_error": self.estimate,
        }

    def _march(self, previous: StretchedModel | None) -> tuple[list[WindowFit], list[Array]]:
        """Return the windows of a march and their densities."""
        pending, self.known, self.handed = self._pending(), self.even, 0.0
        fits: list[WindowFit] = []
        densities: list[Array] = []
        while pending:
            times, density = pending.pop()
            if times is None:
                fit, density = self._stationary(density, previous)
            else:
                if self.smooth and densities:
                    density = np.maximum(density, densities[-1])  # the matrix of the last window then comes back
                solve = self._smooth_window if self.smooth else self._window
                fit, density, split = solve(times, density, fits[-1].model if fits else None, previous)
                if split:
                    # What starts with a kink or a jump is similar to itself at four times the time.
                    middle = times[0] + (0.5 if fits else 0.25) * (times[1] - times[0])
                    pending += [((middle, times[1]), density), ((times[0], middle), density)]
                    continue
            fits.append(fit)
            densities.append(density)
            self.known, self.handed = fit.shape.stretches, fit.fresh / max(self.amplitude, 1e-300)
            if times is not None:
                self.watch.reached(times[1])
        return fits, densities

    def _pending(self) -> list[tuple[tuple[float, float] | None, Array]]:
        """Return windows and densities to begin a march with, the first window last."""
        if self.fits:
            growth = self.method.growth ** (self.share / len(self.even) if self.smooth else self.share)
            return [(fit.shape.times, d * growth) for fit, d in zip(self.fits, self.densities, strict=True)][::-1]
        density = np.array([2 * SMALLEST_HARMONICS / s.length if self.smooth else self.method.density for s in self.even])
        if self.times is None:
            return [(None, density)]
        edges = list(map(float, np.linspace(*self.times, FIRST_WINDOWS + 1)))
        return [((edges[i], edges[i + 1]), density) for i in reversed(range(FIRST_WINDOWS))]

    def _stationary(self, density: Array, previous: StretchedModel | None) -> tuple[WindowFit, Array]:
        """Solve a problem without a time: again and again on the stretch of the last solution, as long as that lowers the residual."""
        target = FIRST_TARGET / SHARPER**self._exponent()
        guess: Any = previous or InitialExtension(self.compiled)
        known = self.fits[-1].shape.stretches if self.fits else self.even
        seen = density / self.method.growth**self.share  # functions per local scale of the last march
        stretches = self._stretches(guess, None, known, None, RESIDUAL_SHARE * self.residual, seen) if previous else known
        best: WindowFit | None = None
        found = density
        for attempt in range(FIRST_LOOKS if previous is None else RETRIES + 1):
            shape = WindowShape(None, stretches, self._harmonics(stretches, density))
            try:
                fit = fit_window(self.evaluators, shape, None, guess, self.method.oversampling, self.method.newton_steps, self.watch)
            except OutOfTimeError:
                if best is None:
                    raise
                break
            self.amplitude = self._size(fit)
            if best is None or fit.fresh < best.fresh:
                best, found = fit, density
            if fit.fresh <= target * self.amplitude or not np.isfinite(fit.fresh):
                break
            if fit.fresh < self.amplitude:
                stretches = self._stretches(fit.model, None, stretches, None, fit.fresh / self.amplitude, density)
            guess, density = fit.model, density * (DENSER if attempt % 2 else 1.0)
        assert best is not None
        return best, found

    def _window(
        self, times: tuple[float, float], density: Array, start: FittedModel | None, previous: StretchedModel | None
    ) -> tuple[WindowFit, Array, bool]:
        """Solve a window; the last value says that it has to be halved instead."""
        target = FIRST_TARGET / SHARPER**self._exponent()
        guess: Any = previous or (InitialExtension(self.compiled) if start is None else LastInstant(start, times[0]))
        error = RESIDUAL_SHARE * self.residual if previous else self.handed
        seen = density / self.method.growth**self.share  # functions per local scale of the last march
        stretches = self._stretches(guess, times, self.fits_at(times) if previous else self.known, start, error, seen if previous else None)
        if start is None:
            # Declared initial values are exact: what the first look does not resolve is looked at again on its own stretch.
            initial, known = InitialExtension(self.compiled), self.even
            for _ in range(LOOKS):
                known = self._stretches(initial, (times[0], times[0]), known)
            stretches = tuple(max(pair, key=lambda stretch: stretch.length) for pair in zip(stretches, known, strict=True))
        assert self.times is not None
        shortest = max(SHORTEST * (self.times[1] - self.times[0]), self._parent(times) / MOST_PIECES)
        wanted, last, best = density, np.inf, density
        for attempt in range(RETRIES + 1):
            shape = WindowShape(times, stretches, self._harmonics(stretches, wanted))
            fit = fit_window(self.evaluators, shape, start, guess, self.method.oversampling, self.method.newton_steps, self.watch)
            if previous is None:
                self.amplitude = max(self.amplitude, self._size(fit))
            limit = target * self.amplitude
            if fit.fresh <= limit:
                return fit, wanted, False
            gains = fit.fresh < LEAST_GAIN * last
            if not gains or attempt == RETRIES or not np.isfinite(fit.fresh):
                break
            in_space, in_time = tails(fit)
            if fit.conditions < 0.5 * fit.fresh and in_time >= max(in_space):
                break
            if previous is None:
                stretches = self._stretches(fit.model, times, stretches, start, fit.fresh / self.amplitude, wanted)
            wanted, last, guess, best = wanted * DENSER, fit.fresh, fit.model, wanted
        in_time = not np.isfinite(fit.fresh) or fit.conditions < 0.5 * fit.fresh
        split = in_time and times[1] - times[0] > shortest
        return fit, density if split else best, split

    def _smooth_window(
        self, times: tuple[float, float], density: Array, start: FittedModel | None, previous: StretchedModel | None
    ) -> tuple[WindowFit, Array, bool]:
        """Solve a window on even axes, more functions where a spectrum ends too early; the last value says that it has to be halved."""
        assert self.times is not None
        target = SMOOTH_TARGET / SHARPER**self._exponent()
        shortest = max(SHORTEST * (self.times[1] - self.times[0]), self._parent(times) / MOST_PIECES)
        guess: Any = previous or (InitialExtension(self.compiled) if start is None else LastInstant(start, times[0]))
        last = np.inf
        for attempt in range(SMOOTH_RETRIES + 1):
            shape = WindowShape(times, self.even, self._harmonics(self.even, density))
            fit = fit_window(self.evaluators, shape, start, guess, SMOOTH_OVERSAMPLING, self.method.newton_steps, self.watch)
            if previous is None:
                self.amplitude = max(self.amplitude, self._size(fit))
            if fit.fresh <= target * self.amplitude:
                return fit, density, False
            in_space, in_time = tails(fit)
            larger = np.where(np.array(in_space) > SMOOTH_SHARE * max(in_space), SMOOTH_DENSER * density, density)
            full = self._harmonics(self.even, larger) == shape.harmonics
            in_vain = fit.fresh > SMOOTH_GAIN * last or not np.isfinite(fit.fresh)
            if in_time >= max(in_space) or in_vain or full or attempt == SMOOTH_RETRIES:
                break
            density, last = larger, fit.fresh
        return fit, density, in_time >= max(in_space) and times[1] - times[0] > shortest

    def _parent(self, times: tuple[float, float]) -> float:
        """Return the length of the window of the last march that holds a window."""
        middle = 0.5 * (times[0] + times[1])
        known = [fit.shape.times for fit in self.fits if fit.shape.times is not None]
        lengths = [last - first for first, last in known if first <= middle < last]
        return lengths[0] if lengths and self.times is not None and times[0] > self.times[0] else 0.0

    def fits_at(self, times: tuple[float, float]) -> tuple[Stretch, ...]:
        """Return the stretches of the last march in the middle of a window."""
        middle = 0.5 * (times[0] + times[1])
        for fit in self.fits:
            if fit.shape.times is not None and fit.shape.times[1] >= middle:
                return fit.shape.stretches
        return self.even

    def _harmonics(self, stretches: tuple[Stretch, ...], density: Array) -> tuple[int, ...]:
        space = [max(SMALLEST_HARMONICS, int(np.ceil(0.5 * d * stretch.length))) for stretch, d in zip(stretches, density, strict=True)]
        in_time = () if self.times is None else (self._in_time(),)
        most = self.method.maximum_functions / np.prod([2 * n + 1 for n in in_time])
        while np.prod([2 * n + 1 for n in space]) > most:
            space = [max(1, int(0.95 * n)) for n in space]
        return (*space, *in_time)

    def _stretches(
        self,
        model: FittedModel,
        times: tuple[float, float] | None,
        last: tuple[Stretch, ...],
        start: FittedModel | None = None,
        error: float = 0.0,
        density: Array | None = None,
    ) -> tuple[Stretch, ...]:
        """Read the stretch of each axis from a coarse solution, and from the field that a window starts from, at some instants along some lines."""
        # A kink of slope 1 rounded over a width w errs by about w^(3/2) in the mean.
        finest = FINEST_SHARE * (FIRST_TARGET / SHARPER**self._exponent()) ** (2 / 3)
        n_fields, instants = len(self.compiled.ir.is_complex), [] if times is None else [np.linspace(*times, N_INSTANTS)]
        seen = [(model, instants)] + ([] if start is None else [(start, [at[:1] for at in instants])])

        def along(axis: int, line: Array, field: int) -> Array:
            axes = [other.physical(np.linspace(-0.5, 0.5, N_LINES + 2)[1:-1] * other.length) for other in last]
            axes[axis] = line
            values = []
            for source, at in seen:
                points = grid([*axes, *at])
                sampled = np.asarray(source.evaluate(field, points, (0,) * points.shape[1])).real.reshape(*map(len, axes), -1)
                values.append(np.moveaxis(sampled, axis, -1).reshape(-1, len(line)))
            return np.concatenate(values)

        result = []
        for axis, stretch in enumerate(last):
            known = stretch.lines()[0]
            parts = [along(axis, known, field) for field in range(n_fields)]
            ranges = np.repeat([np.ptp(part) for part in parts], [len(part) for part in parts])
            highest = HIGHEST if density is None else max(HIGHEST, 0.5 * float(density[axis]) * stretch.length * stretch.step())
            result.append(stretch_from_coarse(partial(_stacked, along, axis, n_fields), stretch, ranges, finest, error, highest))
        return tuple(result)

    def _size(self, fit: WindowFit) -> float:
        points, weights = fit.shape.quadrature(4, 3)
        values = [fit.model.evaluate(i, points, (0,) * points.shape[1])[:, 0] for i in range(len(fit.model.bases))]
        return float(np.sqrt(np.mean([weights @ value**2 for value in values]) / np.sum(weights)))

    # -- how wrong it is

    def _judge(self, fits: list[WindowFit], densities: list[Array], previous: StretchedModel | None) -> None:
        """Compare a march with the last one at points that resolve the fronts."""
        sampled = [fit.shape.quadrature(8, 5) for fit in fits]
        points = np.concatenate([pair[0] for pair in sampled])
        roots = np.sqrt(np.concatenate([pair[1] for pair in sampled]))[:, None]
        zero = (0,) * points.shape[1]
        model = stretched_model(fits)
        values = [roots * model.evaluate(i, points, zero) for i in range(len(self.compiled.ir.is_complex))]
        self.amplitude = float(np.sqrt(np.mean([np.sum(v**2) for v in values]) / np.sum(roots**2))) or 1.0
        residual = float(np.sqrt(sum(fit.fresh**2 for fit in fits))) / self.amplitude
        if not np.isfinite(residual):
            raise NonFiniteError("a residual of a time window")
        if previous is not None:
            self.ratio = residual / max(self.residual, 1e-300)
            before = [roots * previous.evaluate(i, points, zero) for i in range(len(values))]
            self.estimate = estimate_from_sizes(values, before, [np.zeros_like(v) for v in values], self.ratio, residual)
            self.estimate = max(self.estimate, (STATIONARY_SHARE if self.times is None else RESIDUAL_SHARE) * residual)
        self.residual, self.fits, self.densities = residual, fits, densities
        self.level, self.depth = self.level + 1, self.depth + self.share

    def _confirm(self) -> None:
        """Look once, before a march is called a success, for what the collocation points missed."""
        if self.confirmed == self.level:
            return
        self.confirmed = self.level
        system, model = residual_system(self.compiled), self.model()
        seed = 1_000_003 * self.settings.seed + 7919 * self.level
        fresh = system.residual_norm(system.samples(8192, seed), model) / self.amplitude
        cost = max(fit.model.bases[0].n_features for fit in self.fits)
        self.estimate = with_the_unseen(self.estimate, self.compiled, model, fresh, self.amplitude, cost, seed + 3)

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Decide after each march whether there is another, and how far it refines."""
        settings, left = self.settings, self.settings.seconds - elapsed
        if self.level == 0:
            return None
        met = self.estimate <= settings.tolerance
        allowed = min(left, max(CHEAP * left, CHEAP_SECONDS)) if met else left
        self.share = largest_share(self.cost, allowed)
        self.deadline.allow(allowed)
        too_large = max(fit.model.bases[0].n_features for fit in self.fits) * self.method.growth > self.method.maximum_functions
        if met:
            if settings.refine_while_cheap and self.share and self.estimate > ENOUGH and self.ratio < 1 and not too_large:
                return None
            self._confirm()
            if self.estimate <= settings.tolerance:
                return "success", f"the estimated error {self.estimate:.2g} is at or below the tolerance {settings.tolerance:.2g}"
            self.share = largest_share(self.cost, left)
            self.deadline.allow(left)
        wanted = f"the estimated error is {self.estimate:.2g}, above the tolerance {settings.tolerance:.2g}"
        if self.level == 1:
            wanted = "only two marches say how wrong the second is, and one was made"
        if self.ratio > 1 and self.level > 3:
            return "tolerance_not_reached", (
                f"{wanted}: a finer march no longer lowers the residual ({self.residual:.2g}). Something is not smooth along the axes (fronts "
                "oblique to them, jumps of coefficients or data), or equations and conditions contradict each other"
            )
        if too_large and self.level > 1:
            return "tolerance_not_reached", f"{wanted}: raise StretchedLeastSquares(maximum_functions=...)"
        if not self.share:
            text = f"{wanted}: the next march needs about {SAFETY * self.cost(SHARES[-1]):.0f} s, {max(left, 0):.0f} s are left"
            return "out_of_time", f"{text}. Raise seconds, or loosen tolerance"
        return None

    def predicted_seconds(self) -> float:
        """Return the cost of the next march."""
        return SAFETY * self.cost(self.share or SHARES[-1])

    def cost(self, share: float) -> float:
        """Return the seconds of a march that refines by a share, every window solved once."""
        in_space, in_time = self.method.growth**share, (2 * self._in_time(share) + 1) / (2 * self._in_time(0.0) + 1)
        return float(self.rate * sum(work for _, _, work in self._work()) * (in_space * in_time) ** 3)

    def _work(self) -> list[tuple[float, float, float]]:
        """Return first and last instant of the windows of the last march, and the cubes of unknowns of their linear systems."""
        spans = [(fit.shape.times or (0.0, 1.0), sum(basis.n_features for basis in fit.model.bases), fit.steps) for fit in self.fits]
        return [(*times, steps * float(n) ** 3) for times, n, steps in spans]

    def _exponent(self, share: float | None = None) -> float:
        """Return how often the targets of the first march are sharpened in the next one."""
        return max(self.depth + (self.share if share is None else share) - 1, 0.0)

    def _in_time(self, share: float | None = None) -> int:
        """Return the harmonics in time of the next march."""
        return self.method.time_harmonics + min(int(self._exponent(share) + ROUNDING) // 2, MORE_IN_TIME)

    def error_estimate(self) -> float:
        """Return the estimate of the last march."""
        return self.estimate

    def model(self) -> StretchedModel:
        """Return the last march."""
        return stretched_model(self.fits)

    def state(self) -> StateTree:
        """Return the last march and the counters."""
        numbers = ("level", "estimate", "residual", "ratio", "rate", "depth", "confirmed", "amplitude")
        return {
            **{name: getattr(self, name) for name in numbers},
            "densities": np.array(self.densities).reshape(len(self.densities), len(self.even)),
            "fits": np.array([(fit.training, fit.fresh, fit.conditions, fit.steps) for fit in self.fits]),
            "model": self.model().state(),
        }

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        for name in ("level", "confirmed"):
            setattr(self, name, int(state[name]))
        for name in ("estimate", "residual", "ratio", "rate", "depth", "amplitude"):
            setattr(self, name, float(state[name]))
        self.densities = list(np.asarray(state["densities"]))
        model = stretched_model_from_state(self.compiled, state["model"])
        rows = np.asarray(state["fits"])
        self.fits = [
            WindowFit(shape, fitted, float(row[0]), float(row[1]), float(row[2]), int(row[3]))
            for shape, fitted, row in zip(model.shapes, model.models, rows, strict=True)
        ]


def _stacked(along: Callable[[int, Array, int], Array], axis: int, n_fields: int, line: Array) -> Array:
    """Return the values of all fields along a line."""
    return np.concatenate([along(axis, line, field) for field in range(n_fields)])
