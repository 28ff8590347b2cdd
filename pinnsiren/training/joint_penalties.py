"""Penalties and priors as rows of joint least squares, and the weight that the data leave to them.

    sum over observations (misfit / noise)^2 + sum over terms weight * mean |group|^norm

A norm of 2 gives rows as they are. A smaller norm is solved by iteratively reweighted rows: |e|^p lies below (p/2) |e_0|^(p - 2) |e|^2 + constant and
touches it at e_0, so that no step raises the sum above. Weights that are not declared share one factor, the largest that the noise allows
(discrepancy principle): the misfit of the observations is then as large as their noise. Input: a compiled problem, placed residuals. Output:
`PenalisedSolver` and `Weighed`, a fit with the weights it rests on.

Reference: Morozov (1966), Soviet Math. Dokl. 7, for the discrepancy principle; Vogel and Oman (1996), SIAM J. Sci. Comput. 17, for the iteration on
total variation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.residual_program import ResidualProgram, compile_residual
from pinnsiren.ir import PenaltyTerm, Residual
from pinnsiren.training.joint_model import JointModel
from pinnsiren.training.joint_solver import HALVINGS, JointFit, JointSolver, flat
from pinnsiren.training.joint_system import Placed
from pinnsiren.training.noise_balance import balance_fixed
from pinnsiren.training.row_system import RIDGE
from pinnsiren.training.sampling import PointSet, sample_residual

Array = NDArray[np.float64]
CORNER = 1e-2  # of the root mean square of a group: below this length a norm under 2 is rounded, so that rows stay finite
FREE_DEVIATION = 10.0  # a coefficient with a prior of its own is otherwise held by ten units of its transform: factors of exp(10)
SETTLED = 1e-3  # relative decrease of the objective that ends the steps
TRUSTED = 0.1  # the misfit is brought this close to the noise
MOST_TRIALS = 12
LIGHTEST, HEAVIEST = 1e-8, 1e4  # range of the common factor, per observed value


@dataclass(frozen=True)
class Term:
    """A compiled penalty.

    Attributes:
        declared: the term of the problem.
        programs: one per member of the group.
    """

    declared: PenaltyTerm
    programs: tuple[ResidualProgram, ...]

    def holds(self, index: int) -> bool:
        """Whether a field or coefficient field, by its index, occurs."""
        return any(jet.field == index for program in self.programs for jet in program.jets)


@dataclass(frozen=True)
class Weighed:
    """A fit that rests on penalties.

    Attributes:
        fit: the fit.
        weights: per term, in the units of the declaration.
        found: per term, whether the weight was found and not declared.
        common: the factor that was found, per observed value; None when every weight was declared.
    """

    fit: JointFit
    weights: tuple[float, ...]
    found: tuple[bool, ...]
    common: float | None


def penalty_terms(compiled: CompiledProblem) -> tuple[Term, ...]:
    """Compile the penalties of a problem."""
    terms = []
    for declared in compiled.ir.penalties:
        members = [Residual(declared.label, "penalty", expression, declared.region) for expression in declared.expressions]
        programs = tuple(compile_residual(member, compiled.ir) for member in members)
        terms.append(Term(declared, programs))
    return tuple(terms)


def penalty_refusal(compiled: CompiledProblem) -> str:
    """Return why the penalties of a problem cannot be weighed; empty when they can."""
    if not compiled.ir.penalties:
        return ""
    if not any(residual.kind == "observation" for residual in compiled.ir.residuals):
        return "penalties are declared and nothing is observed: weights are measured in units of the noise of observations. Use Constraint"
    for term in penalty_terms(compiled):
        for program in term.programs:
            if not program.is_analytic:
                return f"the {term.declared.label} holds a modulus, conjugate, real or imaginary part; the norm of a penalty takes the modulus itself"
            in_fields = {jet.symbol for jet in program.jets if jet.field < compiled.ir.n_fields}
            pairs = zip(program.jets, program.partials, strict=True)
            if any(partial.free_symbols & in_fields for jet, partial in pairs if jet.field < compiled.ir.n_fields):
                return f"the {term.declared.label} is not affine in the fields"
    return ""


def penalty_line(compiled: CompiledProblem) -> str:
    """Return the terms with their weights, for a plan."""
    words = []
    for term in compiled.ir.penalties:
        weight = "a weight found from the data (discrepancy principle)" if term.weight is None else f"weight {term.weight:g}"
        words.append(f"{term.label}, norm {term.norm:g}, {weight}")
    return "; ".join(words)


class PenalisedSolver(JointSolver):
    """Gauss-Newton on placed residuals and penalties.

    Args:
        base: solver without penalties.
        terms: the penalties.
        n_points: points at which the mean of a term over a region is taken.
        seed: of the points.
        first: the fit without penalties; it gives the noise, and the precision of coefficients that no penalty holds.
    """

    def __init__(self, base: JointSolver, terms: tuple[Term, ...], n_points: int, seed: int, first: JointFit) -> None:
        super().__init__(base.system, base.placed, base.noise, base.limits)
        self.terms = terms
        compiled = self.system.compiled
        self.points = [sample_residual(compiled, term.programs[0].residual, n_points, seed + 31 * k) for k, term in enumerate(terms)]
        self.sigma = first.balance.sigma if self.row_noise is None else self.row_noise
        self.precision = self._precision(first)

    def _precision(self, first: JointFit) -> Array:
        """Return what holds the parameters of the coefficient fields besides the penalties: nearly nothing where a penalty does."""
        n_fields, pieces, start = self.system.compiled.ir.n_fields, [], 0
        columns = first.reduced.thetas
        floor = (RIDGE * float(np.linalg.norm(columns, axis=0).max(initial=0.0))) ** 2
        for index, basis in enumerate(first.model.coefficient_bases):
            own = first.balance.precision[start : start + basis.n_features]
            start += basis.n_features
            if any(term.holds(n_fields + index) for term in self.terms):
                # The constant and half of the squares of cosines and sines: the variance of a sum of features at a point.
                deviation = FREE_DEVIATION / np.sqrt(1 + 0.5 * basis.n_features)
                own = np.full(basis.n_features, (self.sigma / deviation) ** 2)
            pieces.append(np.maximum(own, floor))
        return np.concatenate(pieces) if pieces else np.zeros(0)

    def lengths(self, model: JointModel, k: int) -> NDArray[np.float64]:
        """Return the Euclidean length of a group at its points, (n_points, n_shots)."""
        system = self.system.rows
        squares = [np.abs(system.residual(program, self.points[k], model)) ** 2 for program in self.terms[k].programs]
        return np.asarray(np.sqrt(np.sum(squares, axis=0)), dtype=float)

    def mean(self, model: JointModel, k: int) -> float:
        """Return the mean of |group|^norm."""
        return float(np.mean(self.lengths(model, k) ** self.terms[k].declared.norm))

    def _penalty_rows(self, model: JointModel, weights: Sequence[float]) -> list[Placed]:
        """Return the rows of all terms, reweighted at a model."""
        placed = []
        for k, (term, points) in enumerate(zip(self.terms, self.points, strict=True)):
            p = term.declared.norm
            common = self.sigma * np.sqrt(weights[k] / (len(points.points) * self.system.n_shots))
            lengths = np.sqrt(np.mean(self.lengths(model, k) ** 2, axis=1))
            corner = max(CORNER * float(np.sqrt(np.mean(lengths**2))), 1e-150)
            bent = np.sqrt(0.5 * p) * np.hypot(lengths, corner) ** (0.5 * (p - 2)) if p < 2 else np.ones(len(lengths))
            placed += [Placed(program, PointSet(points.points), None, (common * bent)[:, None], False) for program in term.programs]
        return placed

    def fit_weighed(self, model: JointModel, weights: Sequence[float], most_steps: int) -> JointFit:
        """Iterate from a model with fixed weights, rows of norms below 2 reweighted at every step."""
        current, steps, state = None, 0, None
        for step in range(most_steps):
            self.extra = self._penalty_rows(model, weights)
            state = self.state(model)
            current = balance_fixed(state.reduced, self.precision, self.sigma)
            change = np.concatenate([current.thetas - flat(model.thetas), current.scalars])
            cost = state.objective + self._held(state.model)
            for halving in range(HALVINGS):
                trial, squares = self.solve_fields(self._stepped(state, change, 0.5**halving))
                value = squares + self._held(trial)
                if value < cost or (value <= cost * (1 + 1e-12) and halving == 0):
                    break
            else:
                break
            model, steps = trial, step + 1
            if value > (1 - SETTLED) * cost:
                break
        self.extra = self._penalty_rows(model, weights)
        state = self.state(model)
        current = balance_fixed(state.reduced, self.precision, self.sigma)
        return self.finished(state, current, steps)

    def _held(self, model: JointModel) -> float:
        return float(np.sum(self.precision * flat(model.thetas) ** 2))

    def weigh(self, first: JointFit, most_steps: int, common: float | None = None) -> Weighed:
        """Fit with the declared weights, and the largest common factor of the others that the noise allows.

        Args:
            first: the fit without penalties, from which the iteration starts.
            most_steps: Gauss-Newton steps of one trial.
            common: factor found before, at another size.
        """
        found = tuple(term.declared.weight is None for term in self.terms)
        sizes = [max(self.mean(first.model, k), 1e-300) for k in range(len(self.terms))]

        def weights(factor: float) -> tuple[float, ...]:
            values = [term.declared.weight for term in self.terms]
            return tuple(factor * self.n_data / size if value is None else value for value, size in zip(values, sizes, strict=True))

        if not any(found):
            return Weighed(self.fit_weighed(first.model, weights(0.0), most_steps), weights(0.0), found, None)
        target = self.sigma * np.sqrt(self.n_data)
        low, high = LIGHTEST, HEAVIEST
        factor = common or np.sqrt(low * high) * 1e-1
        best: Weighed | None = None
        model, allowed = first.model, False
        for _ in range(MOST_TRIALS):
            fit = self.fit_weighed(model, weights(factor), most_steps)
            misfit = self.norm_of_observations(fit.model)
            # Factors that the noise allows only grow from trial to trial, and the others only shrink.
            if misfit <= (1 + TRUSTED) * target or not allowed:
                best, allowed = Weighed(fit, weights(factor), found, factor), allowed or misfit <= (1 + TRUSTED) * target
            if abs(misfit / target - 1) < TRUSTED:
                break
            low, high = (factor, high) if misfit < target else (low, factor)
            factor = float(np.sqrt(low * high))
            if high < 2 * low:
                break
            model = fit.model
        assert best is not None
        return best


def rests_on(terms: tuple[Term, ...], weighed: Weighed) -> tuple[str, ...]:
    """Return one sentence part per term: what a result rests on besides equations and data."""
    parts = []
    for term, weight, found in zip(terms, weighed.weights, weighed.found, strict=True):
        origin = "found from the noise of the observations" if found else "as declared"
        parts.append(f"{term.declared.label} with weight {weight:.3g} ({origin})")
    return tuple(parts)
