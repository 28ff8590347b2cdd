"""One size of joint least squares: fields, coefficient fields and scalars from equations and observations.

Variable projection: for given unknowns the fields follow from a linear solve, so the misfit is a function of the unknowns alone; Gauss-Newton steps
on it cost one factorisation each. Fields that enter nonlinearly take the same steps together with the unknowns. How strongly a coefficient field is
held back is decided anew at every step by `noise_balance`. Input: placed residuals, a start. Output: `JointFit`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsiren.training.joint_model import JointModel
from pinnsiren.training.joint_system import JointRows, JointSystem, Placed
from pinnsiren.training.noise_balance import Balance, Reduced, Shape, all_shapes, balance, reduce_rows
from pinnsiren.training.row_system import RIDGE

Array = NDArray[np.float64]
HALVINGS = 8
FIELD_STEPS = 12  # linearisations in the fields alone
RESHAPE_STEPS = (0, 1, 3, 6)  # steps at which all smoothness classes are compared again
SETTLED = 0.1  # relative decrease of the objective below which a step may be the last,
AT_REST = 0.1  # if it moves the data that the model gives by less than this share of their noise


@dataclass(frozen=True)
class State:
    """A model with the linearisation there.

    Attributes:
        model: the model; where fields enter affinely, they are optimal for the unknowns.
        rows: per group, the linearised rows.
        ranges: per group, the factorised columns of the fields.
        reduced: what is left for the unknowns to explain.
        objective: squared misfit and residuals.
    """

    model: JointModel
    rows: tuple[JointRows, ...]
    ranges: tuple["FieldRange", ...]
    reduced: Reduced
    objective: float


class FieldRange:
    """Householder factors of the columns of the fields, of unit norm, above a ridge at rounding level on the coefficients.

    The rows that no field explains follow from the orthogonal factor alone: with coefficients in between, redundant features would cost the digits.
    The ridge holds the whole coefficients and not their change: what earlier steps left in directions that no row sees has to fade.

    Args:
        columns: (n_rows, n_features).
        old: (n_features, n_shots), coefficients from which a change is sought.
    """

    def __init__(self, columns: torch.Tensor, old: torch.Tensor) -> None:
        norms = torch.linalg.vector_norm(columns, dim=0)
        self.norms = torch.where(norms > 0, norms, torch.ones_like(norms))
        ridge = RIDGE * torch.eye(columns.shape[1], dtype=columns.dtype, device=columns.device)
        factor, self.triangle = torch.linalg.qr(torch.cat([columns / self.norms, ridge]))
        self.top = factor[: len(columns)]
        self.fading = -RIDGE * (factor[len(columns) :].mH @ (old * self.norms[:, None]))

    def left(self, right: torch.Tensor) -> torch.Tensor:
        """Return what is left of the effects of the unknowns when the fields answer."""
        projected: torch.Tensor = right - self.top @ (self.top.mH @ right)
        return projected

    def left_of_rows(self, right: torch.Tensor) -> torch.Tensor:
        """Return what is left of the rows, (n_rows, n_shots), with the best fields."""
        projected: torch.Tensor = right - self.top @ (self.top.mH @ right + self.fading)
        return projected

    def response(self, effects: torch.Tensor) -> torch.Tensor:
        """Return the coefficients that answer effects of the unknowns."""
        solved: torch.Tensor = torch.linalg.solve_triangular(self.triangle, self.top.mH @ effects, upper=True)
        return solved / self.norms[:, None]

    def deviations(self) -> torch.Tensor:
        """Return a square root of the covariance of the coefficients for rows of unit noise, where fields alone are sought."""
        eye = torch.eye(len(self.triangle), dtype=self.triangle.dtype, device=self.triangle.device)
        solved: torch.Tensor = torch.linalg.solve_triangular(self.triangle, eye, upper=True)
        return solved / self.norms[:, None]

    def change(self, right: torch.Tensor) -> torch.Tensor:
        """Return the best change of the coefficients, (n_features, n_shots)."""
        solved: torch.Tensor = torch.linalg.solve_triangular(self.triangle, self.top.mH @ right + self.fading, upper=True)
        return solved / self.norms[:, None]


@dataclass(frozen=True)
class JointFit:
    """The result of a size.

    Attributes:
        model: with the spread of its unknowns.
        balance: prior, noise and posterior at the last linearisation.
        misfit: root of the objective per observed value, in units of the rows.
        field_spread: (n_features of all fields, n_directions), square root of the covariance of the first shot's coefficients.
        steps: accepted steps.
        reduced: the last linearisation with the fields eliminated.
    """

    model: JointModel
    balance: Balance
    misfit: float
    field_spread: NDArray[np.float64]
    steps: int
    reduced: Reduced


class JointSolver:
    """Gauss-Newton on placed residuals."""

    def __init__(self, system: JointSystem, placed: list[Placed], noise: float | None, limits: tuple[Array, Array]) -> None:
        self.system, self.placed, self.noise, self.limits = system, placed, noise, limits
        self.extra: list[Placed] = []  # rows that belong neither to equations nor to observations
        parts = 2 if system.is_complex else 1
        self.n_data = parts * sum(
            item.points.values.size if item.points.values is not None else len(item.points.points) * system.n_shots
            for item in placed if item.observed
        )  # fmt: skip
        self.row_noise = None if noise is None else noise / np.sqrt(max(self.n_data / parts, 1)) / np.sqrt(parts)

    def solve_fields(self, model: JointModel) -> tuple[JointModel, float]:
        """Return the model with the best fields for its unknowns, and the squared norm of all rows."""
        total = np.inf
        for _ in range(1 if self.system.is_affine_in_fields else FIELD_STEPS):
            changes, before = self._field_changes(model)
            for halving in range(HALVINGS):
                trial = self._moved(model, changes, 0.5**halving)
                value = self._norm(trial)
                if value < before or self.system.is_affine_in_fields:
                    break
            else:
                return model, before
            model, total = trial, value
            if value > 0.999 * before:
                break
        return model, total

    def _field_changes(self, model: JointModel) -> tuple[tuple[torch.Tensor, ...], float]:
        changes, before = [], 0.0
        for group in self.system.groups:
            rows = self.system.linearise([*self.placed, *self.extra], model, group, with_unknowns=False)
            changes.append(FieldRange(rows.fields, self._old(model, group)).change(rows.right))
            before += float(rows.right.abs().pow(2).sum())
        return tuple(changes), before

    def norm_of_equations(self, model: JointModel) -> float:
        """Return the root of the summed squares of the weighted rows of equations and conditions."""
        return self._norm_of([item for item in self.placed if not item.observed], model)

    def norm_of_observations(self, model: JointModel) -> float:
        """Return the root mean square misfit of the observations, relative to their size."""
        return self._norm_of([item for item in self.placed if item.observed], model)

    def _norm_of(self, placed: list[Placed], model: JointModel) -> float:
        return float(np.sqrt(self._squares(placed, model)))

    def _squares(self, placed: list[Placed], model: JointModel) -> float:
        groups = self.system.groups if placed else []
        chosen = [(group, [item for item in placed if item.shot is None or item.shot in group]) for group in groups]
        return sum(float(self.system.residual_rows(own, model, group).abs().pow(2).sum()) for group, own in chosen if own)

    def _old(self, model: JointModel, group: tuple[int, ...]) -> torch.Tensor:
        whole = np.concatenate([coefficients[:, list(group)] for coefficients in model.coefficients])
        return torch.from_numpy(whole).to(self.system.rows.device, self.system.rows.dtype)

    def _norm(self, model: JointModel) -> float:
        return self._squares([*self.placed, *self.extra], model)

    def _moved(self, model: JointModel, changes: tuple[torch.Tensor, ...], share: float) -> JointModel:
        sizes = [basis.n_features for basis in model.bases]
        new = [np.array(c) for c in model.coefficients]
        for group, change in zip(self.system.groups, changes, strict=True):
            for target, part in zip(new, torch.split(change, sizes), strict=True):
                target[:, list(group)] += share * part.cpu().numpy()
        return replace(model, coefficients=tuple(new))

    def state(self, model: JointModel) -> State:
        """Linearise at a model and eliminate the fields."""
        linearised, ranges, thetas, rights, sizes, objective = [], [], [], [], [], 0.0
        for group in self.system.groups:
            rows = self.system.linearise([*self.placed, *self.extra], model, group)
            linearised.append(rows)
            ranges.append(FieldRange(rows.fields, self._old(model, group)))
            n_parameters = rows.unknowns.shape[2]
            effects = rows.unknowns.reshape(len(rows.right), -1)
            left = ranges[-1].left(effects)
            right = ranges[-1].left_of_rows(rows.right)
            # For nonlinear fields the rows themselves count; the part that a change of the fields removes is no misfit.
            counted = right if self.system.is_affine_in_fields else rows.right
            objective += float(counted.abs().pow(2).sum())
            thetas.append(_real_rows(left.reshape(rows.right.numel(), n_parameters)))
            rights.append(_real_rows(right.reshape(-1, 1))[:, 0])
            sizes.append(np.sum(_real_rows(effects.reshape(rows.right.numel(), n_parameters)) ** 2, axis=0))
        n_thetas = model.n_thetas
        matrix, left_over = np.concatenate(thetas), np.concatenate(rights)
        whole = left_over + matrix[:, :n_thetas] @ flat(model.thetas)
        reduced = reduce_rows(matrix[:, :n_thetas], matrix[:, n_thetas:], whole, self.n_data, np.sqrt(np.sum(sizes, axis=0))[n_thetas:])
        return State(model, tuple(linearised), tuple(ranges), reduced, objective)

    def fit(self, model: JointModel, most_steps: int, shapes: tuple[Shape, ...] | None = None) -> JointFit:
        """Iterate from a model whose fields are solved for."""
        wavenumbers = np.concatenate([basis.wavenumbers for basis in model.coefficient_bases]) if model.coefficient_bases else np.zeros(0)
        state = self.state(model)
        chosen = shapes or all_shapes()
        current = balance(state.reduced, wavenumbers, chosen, self.row_noise)
        steps = 0
        for step in range(most_steps):
            change = np.concatenate([current.thetas - flat(state.model.thetas), current.scalars])
            cost = state.objective + self._prior(current, state.model)
            accepted = None
            for halving in range(HALVINGS):
                trial = self.state(self._stepped(state, change, 0.5**halving))
                value = trial.objective + self._prior(current, trial.model)
                if value < cost or (value <= cost * (1 + 1e-12) and halving == 0):
                    accepted = trial
                    break
            if accepted is None:
                break
            state, steps = accepted, steps + 1
            moved = self._visible(state.reduced, change) * 0.5**halving
            among = chosen if step + 1 in RESHAPE_STEPS or current.shape is None else (current.shape,)
            settled = value > (1 - SETTLED) * cost and moved < AT_REST * current.sigma * np.sqrt(max(self.n_data, 1))
            if settled and halving == 0:
                current = balance(state.reduced, wavenumbers, chosen, self.row_noise)
                break
            current = balance(state.reduced, wavenumbers, among, self.row_noise)
        return self.finished(state, current, steps)

    def finished(self, state: State, current: Balance, steps: int) -> JointFit:
        """Return the fit at a state, with what its posterior says of all unknowns and of the fields."""
        model = replace(state.model, spread=current.spread)
        misfit = float(np.sqrt(state.objective / max(self.n_data, 1)))
        spread = self.answer(state)(current.spread) if len(current.spread) else current.sigma * state.ranges[0].deviations().cpu().numpy()
        return JointFit(model, current, misfit, spread, steps, state.reduced)

    def answer(self, state: State) -> Callable[[Array], NDArray[Any]]:
        """Return the map from changes of the unknowns, (n_parameters, n_directions), to the first shot's coefficients of all fields."""
        effects = state.rows[0].unknowns[:, 0]

        def respond(directions: Array) -> NDArray[Any]:
            # Effects first: the answer to every single parameter is large in directions that no row sees, and would cost the digits.
            return np.asarray(-state.ranges[0].response(effects @ torch.from_numpy(directions).to(effects)).cpu().numpy())

        return respond

    def _visible(self, reduced: Reduced, change: Array) -> float:
        return float(np.linalg.norm(np.column_stack([reduced.thetas, reduced.scalars]) @ change))

    def _prior(self, current: Balance, model: JointModel) -> float:
        theta = flat(model.thetas)
        return float(np.sum(current.precision * theta**2)) if len(theta) else 0.0

    def _stepped(self, state: State, change: Array, share: float) -> JointModel:
        """Return the model moved along the change of the unknowns, fields following."""
        model = state.model
        sizes = [len(theta) for theta in model.thetas]
        n_thetas, n = sum(sizes), len(model.unknowns)
        parts = np.split(change[:n_thetas], np.cumsum(sizes)[:-1]) if sizes else []
        thetas = tuple(theta + share * part for theta, part in zip(model.thetas, parts, strict=True))
        scalars = np.array([value.real for value in model.unknowns]) + share * change[n_thetas : n_thetas + n]
        imaginary = np.array([value.imag for value in model.unknowns]) + share * change[n_thetas + n :]
        clipped = np.clip(scalars, *self.limits) if n else scalars
        unknowns = tuple(complex(a, b) for a, b in zip(clipped.tolist(), imaginary.tolist(), strict=True))
        own_share = 1.0 if self.system.is_affine_in_fields else share
        direction = torch.from_numpy(share * change).to(state.rows[0].right)
        changes = tuple(
            fields.change(own_share * rows.right - rows.unknowns @ direction) for rows, fields in zip(state.rows, state.ranges, strict=True)
        )
        return self._moved(replace(model, thetas=thetas, unknowns=unknowns), changes, 1.0)


def flat(thetas: tuple[Array, ...]) -> Array:
    """Return the parameters of all coefficient fields behind each other."""
    return np.concatenate(thetas) if thetas else np.zeros(0)


def _real_rows(rows: torch.Tensor) -> Array:
    """Return real rows, of complex ones real and imaginary parts below each other."""
    array = rows.cpu().numpy()
    return np.concatenate([array.real, array.imag]) if np.iscomplexobj(array) else np.asarray(array)

