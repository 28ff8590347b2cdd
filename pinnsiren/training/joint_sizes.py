"""One fitted size of joint least squares: what was measured of it, its statistical error, and what it says in words.

Input: a model, its fit and its residuals. Output: `Sized`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.language.symbols import declaration_of
from pinnsiren.training.joint_model import JointModel, joint_model_from_state
from pinnsiren.training.joint_solver import JointFit
from pinnsiren.training.joint_undetermined import OPEN, Ignorance
from pinnsiren.training.method import StateTree

Array = NDArray[np.float64]
SIZED_NUMBERS = ("redundancy", "training_residual", "fresh_residual", "misfit", "sigma", "determined", "statistical", "open_error")


@dataclass(frozen=True)
class Sized:
    """One size: the model and what was measured of it.

    Attributes:
        model: fitted.
        redundancy: features per independent function of the fields.
        training_residual, fresh_residual: of the equations.
        misfit: of the observations, relative.
        sigma: noise of a row.
        determined: number of parameters of coefficient fields that the data determine.
        statistical: largest relative standard error, of what the data do not determine left out.
        open_error: the same of what they do not determine.
        free: positions of scalars that are not determined.
        values: fields and coefficient fields at the probe points, and scalars.
    """

    model: JointModel
    redundancy: float
    training_residual: float
    fresh_residual: float
    misfit: float
    sigma: float
    determined: float
    statistical: float
    open_error: float
    free: tuple[int, ...]
    values: tuple[NDArray[Any], ...]

    @property
    def open_words(self) -> str:
        """What is not determined, as a sentence; empty when everything is."""
        if not self.model.undetermined:
            return ""
        parts = "; ".join(self.model.undetermined)
        return (
            f". The observations do not determine {parts}: there the values rest on smoothness and on the start, and the standard errors are those "
            "of ignorance. Observe what they affect, or give them a value"
        )

    @property
    def prior_words(self) -> str:
        """What the result rests on besides equations and data, as a sentence; empty for nothing."""
        if not self.model.rests_on:
            return ""
        return f". The result rests on the {' and the '.join(self.model.rests_on)}; its standard errors take that for true"

    def undetermined_words(self, compiled: CompiledProblem) -> str:
        """Say which scalars nothing determines."""
        names = ", ".join(f"`{declaration_of(compiled.ir.unknowns[index]).name}`" for index in self.free)
        return (
            f"{names} cannot be told from the equations, conditions and observations: changing it, or a combination of the unknowns, changes nothing "
            "that was measured. Add observations that it affects, or give it a value"
        )

    def misfit_words(self, noise: float | None) -> str:
        """Say that the data deviate from the model by more than their declared noise, or by much if none was declared."""
        if noise is None:
            return f". The observations deviate by {self.misfit:.2g} of their size; if that is not noise, the unknowns may be wrong altogether"
        return (
            f". The observations deviate by {self.misfit:.2g} of their size where noise of {noise:.2g} was declared: equations, conditions or "
            "the declared noise do not fit the data"
        )

    def state(self) -> StateTree:
        """Return model and numbers."""
        return {"model": self.model.state(), "free": np.array(self.free, dtype=int), **{name: getattr(self, name) for name in SIZED_NUMBERS}}


@dataclass(frozen=True)
class Asked:
    """The linearisation that asks what the data leave open.

    Attributes:
        model: in features fine enough for the question.
        respond: (n_parameters, n_directions) -> coefficients of all fields that answer changes of the unknowns.
    """

    model: JointModel
    respond: Callable[[Array], NDArray[Any]]


def model_values(compiled: CompiledProblem, model: JointModel, points: Array) -> tuple[NDArray[Any], ...]:
    """Return fields and coefficient fields at points, and scalars."""
    zero = (0,) * len(compiled.ir.coordinates)
    fields = [model.evaluate(index, points, zero) for index in range(compiled.ir.n_fields + len(compiled.ir.coefficients))]
    return (*fields, *(np.array([[value]]) for value in model.unknowns))


def sized_from_state(compiled: CompiledProblem, entry: StateTree, points: Array) -> Sized:
    """Rebuild a size from what was stored of it."""
    model = joint_model_from_state(compiled, entry["model"])
    numbers = {name: float(entry[name]) for name in SIZED_NUMBERS}
    free = tuple(int(k) for k in np.atleast_1d(entry["free"]))
    return Sized(model=model, free=free, values=model_values(compiled, model, points), **numbers)


def statistical_errors(
    compiled: CompiledProblem, fit: JointFit, model: JointModel, points: Array, known: list[NDArray[Any]], asked: Asked | None = None
) -> tuple[float, float]:
    """Return the largest relative standard error of fields, coefficient fields and scalars: of what is determined, and with all that is not.

    `asked` is the linearisation that the model's ignorance comes from.
    """
    ir, zero, start = compiled.ir, (0,) * len(compiled.ir.coordinates), 0
    seen, whole = [0.0], [0.0]
    values = model_values(compiled, model, points)
    before, after = _field_directions(model, asked)
    for index, basis in enumerate(model.bases):
        rows = slice(start, start + basis.n_features)
        start += basis.n_features
        matrix = basis.matrix(points, {zero: np.ones(len(points))})
        size = max(float(np.linalg.norm(values[index][:, 0] + known[index][: len(points), 0])), 1e-300)
        spread = np.linalg.norm(matrix @ fit.field_spread[rows], axis=1)
        seen.append(float(np.linalg.norm(spread)) / size)
        whole.append(float(np.linalg.norm(np.hypot(spread, _open_field(asked, index, points, before, after)))) / size)
    bare = _without_ignorance(model)
    for index in range(ir.n_fields, ir.n_fields + len(ir.coefficients)):
        size = max(float(np.linalg.norm(values[index])), 1e-300)
        for of, errors in ((bare, seen), (model, whole)):
            errors.append(float(np.linalg.norm(of.standard_error(index, points, zero))) / size)
    for of, errors in ((bare, seen), (model, whole)):
        errors += [error / max(abs(value), 1e-300) for value, error in zip(model.unknowns, of.scalar_errors(), strict=True)]
    return max(seen), max(whole)


def _field_directions(model: JointModel, asked: Asked | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return how the fields answer the spread of the coefficients before and after the data."""
    ignorance = model.ignorance
    if asked is None:
        return np.zeros((0, 0)), np.zeros((0, 0))
    before = np.zeros((len(ignorance.after), len(ignorance.before)))
    before[: len(ignorance.before)] = np.diag(ignorance.before)
    return asked.respond(before), asked.respond(ignorance.after)


def _open_field(asked: Asked | None, index: int, points: Array, before: NDArray[Any], after: NDArray[Any]) -> Array:
    """Return the standard error of a field where the data do not determine it, since they leave coefficients open, (n_points,)."""
    if asked is None:
        return np.zeros(len(points))
    start = sum(basis.n_features for basis in asked.model.bases[:index])
    basis = asked.model.bases[index]
    matrix, rows = basis.matrix(points, {(0,) * points.shape[1]: np.ones(len(points))}), slice(start, start + basis.n_features)
    left = np.linalg.norm(matrix @ after[rows], axis=1)
    return np.asarray(np.where(left > OPEN * np.linalg.norm(matrix @ before[rows], axis=1), left, 0.0))


def _without_ignorance(model: JointModel) -> JointModel:
    return replace(model, ignorance=Ignorance())


def open_scalars(compiled: CompiledProblem, model: JointModel) -> list[str]:
    """Return a sentence part per scalar that coefficient fields can stand in for."""
    parts = []
    for index, value in enumerate(model.unknowns):
        if model.ignorance.scalar_error(index, len(model.unknowns)) > OPEN * abs(value):
            parts.append(f"`{declaration_of(compiled.ir.unknowns[index]).name}`, for which a coefficient field can stand in")
    return parts
