"""Plane waves per medium: least squares on waves that satisfy the equation identically, coupled at the interfaces of the media.

Only initial values, conditions on faces and the continuity across interfaces are left to fit: a few hundred columns, and rows on lines instead of
areas. It is a Fourier method in the clothes of sine features. In one dimension of space, where every solution in a medium is the restriction of one
on the whole line, so that waves with real wavenumbers suffice.
"""

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import NonFiniteError, ProblemError
from pinnsiren.language.domains.base import sobol
from pinnsiren.training.error_estimate import estimate_from_sizes, with_the_unseen
from pinnsiren.training.feature_model import FeatureModel, build_bases, draw_all
from pinnsiren.training.least_squares import CHEAP, CHEAP_SECONDS, ENOUGH, STAGNATION
from pinnsiren.training.media import MediaModel, Medium, cut_media, media_model_from_state
from pinnsiren.training.method import AbstractMethod, AbstractRun, RunSettings, StateTree, Suitability
from pinnsiren.training.probes import probe_points
from pinnsiren.training.row_system import RowSystem, solve_least_squares
from pinnsiren.training.scaling import CONDITION_WEIGHT
from pinnsiren.training.wave_cell import in_free_space

FIRST_SIZE = 120  # plane waves in all media
LARGEST_SIZE = 4000
GROWTH = 1.4
OVERSAMPLING = 1.0  # points on each line per feature of the medium: with four lines around it, four rows per feature
FEWEST = 40
RESOLVED = 0.3  # scaled residual: above, the waves are too long for the data, and a residual that stays says nothing
COST = 0.5
WITH_SOURCE = 1.1  # a source needs general features and its equation's rows: in one medium, least squares on those alone does as well
SOURCE_REDUNDANCY = 4.0  # of the general features: the field of a smooth source, which the plane waves make fit the data


@dataclass(frozen=True)
class PlaneWaves(AbstractMethod):
    """Settings of the fit.

    Attributes:
        features: plane waves in all media at the first size.
        maximum_features: largest number.
        growth: ratio of one size to the next.
    """

    features: int = FIRST_SIZE
    maximum_features: int = LARGEST_SIZE
    growth: float = GROWTH

    def __post_init__(self) -> None:
        for name, low in (("features", 8), ("maximum_features", 8), ("growth", 1)):
            if not getattr(self, name) > low - (name != "growth"):
                raise ProblemError(f"PlaneWaves was given {name}={getattr(self, name)!r}; expected a number of {low} or more")

    @property
    def knows_free_space(self) -> bool:
        """Faces without a condition are free space."""
        return True

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits one linear equation on an interval and a time, with coefficients that are constant between jumps."""
        if compiled.structure.in_fields == "nonlinear":
            return Suitability(False, "the problem is not linear", np.inf)
        media = cut_media(in_free_space(compiled))
        if isinstance(media, str):
            return Suitability(False, media, np.inf)
        text = "plane waves on the dispersion relation, a Fourier method"
        text += f", in {len(media)} media coupled at their interfaces" if len(media) > 1 else ""
        return Suitability(True, text, WITH_SOURCE if len(media) == 1 and media[0].has_source and not media[0].is_open else COST)

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "PlaneWavesRun":
        """Begin at the smallest size."""
        free = in_free_space(compiled)
        media = cut_media(free)
        assert not isinstance(media, str)
        return PlaneWavesRun(self, free, settings, media)


@dataclass
class PlaneWavesRun(AbstractRun):
    """Sizes that grow until the estimate meets the tolerance."""

    method: PlaneWaves
    compiled: CompiledProblem
    settings: RunSettings
    media: tuple[Medium, ...]
    level: int = 0
    estimate: float = np.inf
    last_seconds: float = 0.0
    confirmed: int = 0
    residuals: list[float] = dataclass_field(default_factory=list)
    models: list[MediaModel] = dataclass_field(default_factory=list)  # the last two

    def __post_init__(self) -> None:
        self.probes = probe_points(self.compiled)
        self.dtype = torch.complex128 if self.compiled.is_complex else torch.float64

    def step(self) -> dict[str, float]:
        """Fit the next size."""
        begun = perf_counter()
        model, training, fresh = self._fit(self._counts(self.level))
        zero = (0, 0)
        values = model.evaluate(0, self.probes, zero)
        if self.models:
            before = self.models[-1].evaluate(0, self.probes, zero)
            ratio = fresh / max(self.residuals[-1], 1e-300)
            self.estimate = estimate_from_sizes([values], [before], [np.zeros((1, 1))], ratio, fresh, training)
        self.residuals.append(fresh)
        self.models = [*self.models[-1:], model]
        self.level += 1
        self.last_seconds = perf_counter() - begun
        return {
            "size": float(sum(m.bases[0].n_features for m in model.models)),
            "training_residual": training,
            "fresh_residual": fresh,
            "estimated_error": self.estimate,
        }

    def _counts(self, level: int) -> list[int]:
        """Return the plane waves of each medium: all media get the same highest frequency, as waves keep theirs across interfaces."""
        sizes = np.array([medium.period / medium.speed for medium in self.media])
        return [max(8, round(n)) for n in self.method.features * self.method.growth**level * sizes / sizes.sum()]

    def _fit(self, counts: list[int]) -> tuple[MediaModel, float, float]:
        seed = 1_000_003 * self.settings.seed + 7919 * self.level
        models, systems = [], []
        for index, (medium, count) in enumerate(zip(self.media, counts, strict=True)):
            frequencies = tuple(draw_all(medium.compiled, count, SOURCE_REDUNDANCY, seed + 1009 * index))
            bases = build_bases(medium.compiled, frequencies)
            system = RowSystem(medium.compiled, bases, torch.device(self.settings.device), self.dtype)
            models.append(FeatureModel(bases, frequencies, system.zeros()))
            systems.append(system)
        matrix, right = self._rows(systems, seed + 1)
        if not bool(torch.isfinite(matrix).all() and torch.isfinite(right).all()):
            raise NonFiniteError("a condition or an initial value")
        solution = solve_least_squares(matrix, right)
        training = float((matrix @ solution - right).abs().pow(2).sum().sqrt())
        checked, wanted = self._rows(systems, seed + 2)
        fresh = float((checked @ solution - wanted).abs().pow(2).sum().sqrt())
        parts = torch.split(solution, [system.bases[0].n_features for system in systems])
        fitted = tuple(FeatureModel(m.bases, m.frequencies, (part.cpu().numpy(),)) for m, part in zip(models, parts, strict=True))
        model = MediaModel(tuple(medium.limits[1] for medium in self.media[:-1]), fitted)
        amplitude = self._amplitude(model)
        return model, training / amplitude, fresh / amplitude

    def _amplitude(self, model: MediaModel) -> float:
        return float(np.sqrt(np.mean(np.abs(model.evaluate(0, self.probes, (0, 0))) ** 2))) or 1.0

    def _rows(self, systems: list[RowSystem], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows of all media, columns side by side, and those of the interfaces."""
        sizes = [system.bases[0].n_features for system in systems]
        blocks, rights = [], []
        for index, system in enumerate(systems):
            on_lines = max(FEWEST, int(OVERSAMPLING * sizes[index]))
            n_interior = (on_lines // 2) ** 2 if not self.media[index].has_source else max(int(2.5 * sizes[index]), (on_lines // 4) ** 2)
            matrix, right = system.rows(system.samples(n_interior, seed + 101 * index), None)
            before, after = sum(sizes[:index]), sum(sizes[index + 1 :])
            blocks.append(torch.nn.functional.pad(matrix, (before, after)))
            rights.append(right)
        for index in range(len(systems) - 1):
            rows = self._interface(systems, index, max(FEWEST, int(OVERSAMPLING * max(sizes[index : index + 2]))), seed + 53 * index)
            blocks.append(torch.nn.functional.pad(rows, (sum(sizes[:index]), sum(sizes[index + 2 :]))))
            rights.append(torch.zeros(len(rows), 1, dtype=self.dtype, device=rows.device))
        return torch.cat(blocks), torch.cat(rights)

    def _interface(self, systems: list[RowSystem], index: int, n_points: int, seed: int) -> torch.Tensor:
        """Return the jumps of u and of the flux across an interface, scaled like conditions."""
        left, right = self.media[index : index + 2]
        start, end = self.compiled.original.domain.bounds[self.compiled.original.coordinates[-1]]
        times = start + (end - start) * sobol(1, n_points, seed)[:, 0]
        points = np.stack([np.full(n_points, left.limits[1]), times], axis=1)
        weight = CONDITION_WEIGHT / np.sqrt(n_points)
        length = max(medium.limits[1] - medium.limits[0] for medium in self.media)
        largest = max(abs(left.flux), abs(right.flux)) * np.pi / length
        rows = []
        for orders, factors, scale in (((0, 0), (1.0, 1.0), 1.0), ((1, 0), (left.flux, right.flux), largest)):
            sides = [
                system.bases[0].matrix(points, {orders: np.full(n_points, factor * weight / scale)}, torch, _tensor).to(self.dtype)
                for system, factor in zip(systems[index : index + 2], factors, strict=True)
            ]
            rows.append(torch.hstack([sides[0], -sides[1]]))
        return torch.cat(rows).to(systems[0].device)

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Decide after each size from the second on."""
        if len(self.models) < 2:
            return None
        settings, next_seconds = self.settings, self.predicted_seconds()
        left = settings.seconds - elapsed
        ratios = [later / max(earlier, 1e-300) for earlier, later in pairwise(self.residuals[-3:])]
        stalls = len(ratios) == 2 and min(ratios) > STAGNATION and self.residuals[-1] < RESOLVED
        is_last = sum(self._counts(self.level)) > self.method.maximum_features
        if self.estimate <= settings.tolerance:
            cheap = next_seconds < min(left, max(CHEAP * left, CHEAP_SECONDS))
            done = self.estimate < ENOUGH or ratios[-1] > 1 or stalls or is_last
            if settings.refine_while_cheap and cheap and not done:
                return None
            self._confirm()
            if self.estimate <= settings.tolerance:
                return "success", f"the estimated error {self.estimate:.2g} is at or below the tolerance {settings.tolerance:.2g}"
        wanted = f"the estimated error is {self.estimate:.2g}, above the tolerance {settings.tolerance:.2g}"
        if stalls:
            return "tolerance_not_reached", (
                f"{wanted}: more plane waves no longer lower the residual of the data ({self.residuals[-1]:.2g}). Initial values and conditions on "
                "the faces do not fit together where they meet, or the initial values have a kink, which the waves carry along"
            )
        if is_last:
            allowed = f"{self.method.maximum_features} plane waves are allowed"
            return "tolerance_not_reached", f"{wanted}: {allowed}; raise PlaneWaves(maximum_features=...)"
        if next_seconds > left:
            used = f"{elapsed:.0f} s of {settings.seconds:g} s are used"
            return "out_of_time", f"{wanted}: the next size needs about {next_seconds:.0f} s, {used}. Raise seconds, or loosen tolerance"
        return None

    def _confirm(self) -> None:
        """Look once, before a size is called a success, at the residuals of the whole declaration on dense points."""
        if self.confirmed == self.level:
            return
        self.confirmed, model = self.level, self.models[-1]
        for medium, part in zip(self.media, model.models, strict=True):
            cost, seed = part.bases[0].n_features, 1_000_003 * self.settings.seed + 3
            self.estimate = max(
                self.estimate,
                with_the_unseen(self.estimate, medium.compiled, part, self.residuals[-1], self._amplitude(model), cost, seed),
            )

    def predicted_seconds(self) -> float:
        """Return the cost of the next size: QR grows with the third power."""
        return float(self.last_seconds * self.method.growth**3)

    def error_estimate(self) -> float:
        """Return the estimate of the last size."""
        return self.estimate

    def model(self) -> MediaModel:
        """Return the last size."""
        return self.models[-1]

    def state(self) -> StateTree:
        """Return the last two sizes and the counters."""
        return {
            "level": self.level,
            "estimate": self.estimate,
            "last_seconds": self.last_seconds,
            "confirmed": self.confirmed,
            "residuals": np.array(self.residuals),
            "models": {str(index): model.state() for index, model in enumerate(self.models)},
        }

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        self.level, self.confirmed = int(state["level"]), int(state["confirmed"])
        self.estimate, self.last_seconds = float(state["estimate"]), float(state["last_seconds"])
        self.residuals = [float(value) for value in state["residuals"]]
        self.models = [media_model_from_state(self.compiled, state["models"][str(i)]) for i in range(len(state["models"]))]


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.array(array))
