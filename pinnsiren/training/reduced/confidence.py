"""How wrong a recovered medium may be, without the truth: two beliefs that explain the same data, and what noise moves.

    deviation of log m = |difference of the two media| and the standard deviation from noise,     var l = S S',  S = 2 K (M K + d)^-1 J' / sqrt(rows)

Two media that explain the data equally well differ by what the data do not see; where a prior fills that in, the difference is its share. Where
traces that were held back tell the two apart, the answer is charged with a part of the distance only: as far as those traces want it to move towards
its witness, r_a the residual of the answer and r_w that of the witness,

    t = argmin |r_a + t (r_w - r_a)|^2,    share = |t| + 2 sigma_t.

Input: the answer, its witness. Output: `Estimate`: relative errors of the medium and the fields, the largest of them, and a deviation per node.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sparse
from numpy.typing import NDArray

from pinnsiren.training.reduced.gauss_newton import parameter_curvature
from pinnsiren.training.reduced.search import Search
from pinnsiren.training.reduced.survey import Survey

Array = NDArray[Any]

# Of the distance to the witness: a margin, not a bound. The answer was 0.25 to 1.2 of it away in a handful of runs on discs and bumps; media that
# both beliefs miss in the same way, without a prior the edges that the data hide, are not seen by it.
SAFETY = 1.8
# Of the distance, however clearly the traces speak: what both media miss in the same way does not lie between them. Where the witness was proven
# wrong, the answer was 0.25 to 0.6 of the distance away from discs.
LEAST_SHARE = 0.4
DEVIATIONS = 2.0
FAINT, AUDIBLE = 1.5, 3.0  # times the noise that the start misses the data by: below, nothing is claimed; below the second, the change counts too
EXPLAINED = 1.5  # times the noise: a misfit above says that the model is wrong
UNPREDICTED = 3.0  # times the noise, of the traces held back
# Of the larger change from the start: two media that explain the data and have nothing in common are sqrt(2) of it apart, this is half the way.
APART = 0.7
DAMPING = 1e-6
CLEAR = 2.0  # standard errors of the difference of two misfits


@dataclass(frozen=True)
class Estimate:
    """How wrong a result may be.

    Attributes:
        medium: relative error of squared slowness or speed, the larger.
        fields: of the worst frequency, in the box.
        deviation: (n_active,), standard deviation of log m.
    """

    medium: float
    fields: float
    deviation: Array

    @property
    def value(self) -> float:
        """The larger of both."""
        return max(self.medium, self.fields)


def estimate_error(survey: Survey, answer: Search, witness: Search, heard: float, share: float = 1.0) -> Estimate:
    """Estimate the errors of an answer.

    Args:
        survey: the data.
        answer: the result.
        witness: another medium that was asked to explain the data.
        heard: misfit of the start, times the noise.
        share: of the distance to the witness, see `share_of_distance`.
    """
    log_model = answer.medium.log_model()
    noise = noise_deviation(survey, answer)
    deviation = np.hypot(np.abs(log_model - witness.medium.log_model()), noise)
    distances = [share * _relative_distance(log_model, witness.medium.log_model(), power) for power in (1.0, -0.5)]
    from_noise = [_weighted(log_model, noise, power) for power in (1.0, -0.5)]
    medium = SAFETY * max(float(np.hypot(a, b)) for a, b in zip(distances, from_noise, strict=True))
    fields = SAFETY * share * _field_distance(survey, answer, witness)
    if heard <= FAINT:
        return Estimate(float(np.inf), float(np.inf), deviation)
    start = np.log(survey.declared.start.ravel()[survey.declared.active.ravel()])
    change = max(_relative_distance(log_model, start, power) for power in (1.0, -0.5))
    if heard <= AUDIBLE:
        medium = float(np.hypot(medium, change / heard))
    misfit = float(np.sqrt(answer.phi))
    if misfit > EXPLAINED or _disagreement(answer, witness) > APART:
        # In a wrong minimum the truth may be further off than the start: what is left unexplained counts too.
        medium = max(medium, change) * max(misfit / EXPLAINED, 1.0)
    return Estimate(float(medium), float(fields), deviation)


def share_of_distance(answer: Array, witness: Array, checked: float) -> float:
    """Return the share of the distance to its witness that an answer has to own up to, by traces that neither was shown.

    Args:
        answer: (n,), residual of the traces held back; the sum of squares of noise alone is one.
        witness: the same of the witness.
        checked: sum of squares of the answer: where that is above one, the noise is larger than was thought.
    """
    apart = witness - answer
    size = float(apart @ apart)
    if size == 0:
        return 1.0
    moved = abs(float(answer @ apart)) / size
    deviation = np.sqrt(max(checked, 1.0) / (len(answer) * size))
    return float(np.clip(moved + DEVIATIONS * deviation, LEAST_SHARE, 1.0))


def chance_of_difference(first: Array, second: Array) -> float:
    """Return the standard error of the difference of two sums of squares, by residuals of the same traces whose noise has a sum of squares of one.

    Args:
        first: (n,), residual of one medium.
        second: the same of another: |first|^2 - |second|^2 = (first - second) . (first + second) varies by 2 |first - second| times the deviation
            of a trace. Where both are above the noise, what neither explains is the deviation.
    """
    level = max(1.0, min(float(first @ first), float(second @ second)))
    return float(2 * np.linalg.norm(first - second) * np.sqrt(level / len(first)))


def choice_texts(first: Array, second: Array) -> list[str]:
    """Return what has to be said of a choice between two media by their residuals of the traces held back: nothing where it is clear."""
    gain, chance = abs(float(first @ first - second @ second)), chance_of_difference(first, second)
    if chance and gain >= CLEAR * chance:
        return []
    apart = f"{gain / chance:.1f} standard errors apart" if chance else "not apart"
    return [f"by the traces held back both priors are {apart}, so that chance has a say in the choice: name one by prior=... where more is known"]


def noise_deviation(survey: Survey, answer: Search) -> Array:
    """Return the standard deviation of log m that the noise of the data makes, (n_active,)."""
    here = survey.linearised(survey.order).linearise(answer.medium.model())
    rows = here.jacobian * np.exp(answer.medium.log_model())
    slopes = answer.medium.jacobian()
    curvature = sparse.csr_matrix((rows.shape[1], rows.shape[1]))
    if answer.fit.prior is not None:
        penalty = answer.fit.prior.rows(answer.fit.change())
        curvature = answer.weight_of_rounds * (penalty.T @ penalty)
    if slopes.shape[1] < slopes.shape[0]:
        return deviation_from_parameters(rows, slopes, curvature, len(here.residual))
    kernel = slopes @ slopes.T
    product = (2 * rows.T @ rows + curvature.toarray()) @ kernel
    size = float(np.linalg.norm(product))
    response = kernel @ scipy.linalg.solve(product + DAMPING * size * np.eye(len(product)), 2 * rows.T)
    # Residuals at the noise floor have a sum of squares of one.
    return np.asarray(np.linalg.norm(response, axis=1) / np.sqrt(len(here.residual)))


def deviation_from_parameters(rows: Array, slopes: Array, curvature: Any, count: int) -> Array:
    """Return the same where the nodes are more than the parameters: S = 2 G (G'M G + d)^-1 (J G)' / sqrt(count)."""
    product = parameter_curvature(rows, slopes, curvature)
    data = parameter_curvature(rows, slopes, sparse.csr_matrix(curvature.shape))
    product[np.diag_indices_from(product)] += DAMPING * float(np.linalg.norm(product))
    inverse = scipy.linalg.inv(product)
    # S S' = G C G', C = 2 inverse data inverse / count.
    covariance = inverse @ data @ inverse * (2 / count)
    return np.asarray(np.sqrt(np.maximum(np.einsum("ij,ij->i", slopes @ covariance, slopes), 0)))


def doubts(survey: Survey, answer: Search, witness: Search | None, checked: float) -> list[str]:
    """Return what speaks against the result: data that are not met, traces that are not predicted, beliefs that end in different media.

    Args:
        survey: the data.
        answer: the result.
        witness: the search with the other belief, None where it did not come to an end.
        checked: phi of the traces held back.
    """
    remedy = "Declare lower frequencies beside this one" if len(survey.order) == 1 else "Declare lower frequencies, or a better start"
    misfit, texts = float(np.sqrt(answer.phi)), []
    # Where no noise was declared, the traces held back are its measure: they cannot be missed by more.
    unpredicted = float(np.sqrt(checked)) if np.isfinite(checked) and not any(survey.declared.undeclared) else 0.0
    if np.isfinite(misfit) and misfit > EXPLAINED:
        texts.append(
            f"WARNING: {misfit:.2f} times is more than noise: the search may sit in a wrong minimum because the frequency is too high for the start "
            f"(cycle skipping), the noise may be larger than declared, the wavelet another than declared (estimate_amplitudes=True fits it), or the "
            f"data may belong to another geometry. {remedy}"
        )
    elif unpredicted > UNPREDICTED:
        texts.append(
            f"WARNING: traces held back are missed by {unpredicted:.1f} times the noise: the medium fits the traces it was shown and not those "
            f"between them, as with too few receivers or cycles skipped. {remedy}"
        )
    if witness is not None and (apart := _disagreement(answer, witness)) > APART:
        texts.append(
            f"WARNING: a second search, with {witness.belief.text}, ended in another medium, {apart:.0%} of the change from the start away: wrong "
            f"minima are near, because the frequency is too high for the start (cycle skipping) or the data see too little, and that the answer is "
            f"none of them rests on its prior alone. {remedy}"
        )
    return texts


def misfit_texts(answer: Search, heard: float) -> list[str]:
    """Return how well the data are met and how much they say, one line each."""
    texts = []
    misfit = float(np.sqrt(answer.phi))
    if np.isfinite(misfit):
        texts.append(f"the data are met to {misfit:.2f} times the noise")
    if heard <= FAINT:
        texts.append(f"the declared start misses the data by {heard:.2g} times the noise, so that they say nothing about the medium")
    elif heard <= AUDIBLE:
        texts.append(f"the declared start misses the data by {heard:.2g} times the noise only: the change from the start counts as error too")
    return texts


def _disagreement(answer: Search, witness: Search) -> float:
    """Return how far the changes of log m are apart, relative to the larger."""
    first, second = answer.fit.change(), witness.fit.change()
    size = max(float(np.linalg.norm(first)), float(np.linalg.norm(second)))
    return float(np.linalg.norm(first - second)) / size if size else 0.0


def _relative_distance(first: Array, second: Array, power: float) -> float:
    """Distance of two media, m to the power, relative to the first: 1 for squared slowness, -1/2 for speed."""
    a, b = np.exp(power * first), np.exp(power * second)
    return float(np.linalg.norm(a - b) / np.linalg.norm(a))


def _weighted(log_model: Array, deviation: Array, power: float) -> float:
    values = np.exp(power * log_model)
    return float(np.linalg.norm(power * values * deviation) / np.linalg.norm(values))


def _field_distance(survey: Survey, answer: Search, witness: Search) -> float:
    """The largest relative distance of the fields of both media inside the box, over the frequencies."""
    distances = []
    for number in survey.order:
        d = survey.simulator.frequency(number).discretisation
        a, b = (d.restrict(survey.simulator.fields(number, search.medium.model())[1]) for search in (answer, witness))
        distances.append(float(np.linalg.norm(a - b) / np.linalg.norm(a)))
    return max(distances)
