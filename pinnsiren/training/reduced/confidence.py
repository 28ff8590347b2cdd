"""How wrong a recovered medium may be, without the truth: two beliefs that explain the same data, and what noise moves.

    deviation of log m = |difference of the two media| and the standard deviation from noise,     var l = S S',  S = 2 K (M K + d)^-1 J' / sqrt(rows)

Two media that explain the data equally well differ by what the data do not see; where a prior fills that in, the difference is its share. Input: the
answer, its witness. Output: one relative error, the largest of squared slowness, speed and fields, and a deviation per node.
"""

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from pinnsiren.training.reduced.search import Search
from pinnsiren.training.reduced.survey import Survey

Array = NDArray[Any]

# Of the distance to the witness: the answer was 0.25 to 1.2 of it away from discs and bumps; without a prior both miss what edges the data hide.
SAFETY = 1.8
FAINT, AUDIBLE = 1.5, 3.0  # times the noise that the start misses the data by: below, nothing is claimed; below the second, the change counts too
EXPLAINED = 1.5  # times the noise: a misfit above says that the model is wrong
UNPREDICTED = 3.0  # times the noise, of the traces held back
DAMPING = 1e-6


def estimate_error(survey: Survey, answer: Search, witness: Search, heard: float) -> tuple[float, Array]:
    """Return the estimated relative error and the standard deviation of log m, (n_active,)."""
    log_model = answer.medium.log_model()
    noise = noise_deviation(survey, answer)
    deviation = np.hypot(np.abs(log_model - witness.medium.log_model()), noise)
    distances = [_relative_distance(log_model, witness.medium.log_model(), power) for power in (1.0, -0.5)]
    from_noise = [_weighted(log_model, noise, power) for power in (1.0, -0.5)]
    fields = _field_distance(survey, answer, witness)
    estimate = SAFETY * max(*(float(np.hypot(a, b)) for a, b in zip(distances, from_noise, strict=True)), fields)
    if heard <= FAINT:
        return float(np.inf), deviation
    start = np.log(survey.declared.start.ravel()[survey.declared.active.ravel()])
    change = max(_relative_distance(log_model, start, power) for power in (1.0, -0.5))
    if heard <= AUDIBLE:
        estimate = float(np.hypot(estimate, change / heard))
    if np.sqrt(answer.phi) > EXPLAINED:
        estimate = max(estimate, change)
    return float(estimate), deviation


def noise_deviation(survey: Survey, answer: Search) -> Array:
    """Return the standard deviation of log m that the noise of the data makes, (n_active,)."""
    here = survey.linearised(survey.order).linearise(answer.medium.model())
    rows = here.jacobian * np.exp(answer.medium.log_model())
    slopes = answer.medium.jacobian()
    curvature = np.zeros((rows.shape[1], rows.shape[1]))
    if answer.fit.prior is not None:
        penalty = answer.fit.prior.rows(answer.fit.change())
        curvature = answer.weight * (penalty.T @ penalty).toarray()
    kernel = slopes @ slopes.T
    product = (2 * rows.T @ rows + curvature) @ kernel
    size = float(np.linalg.norm(product))
    response = kernel @ scipy.linalg.solve(product + DAMPING * size * np.eye(len(product)), 2 * rows.T)
    # Residuals at the noise floor have a sum of squares of one.
    return np.asarray(np.linalg.norm(response, axis=1) / np.sqrt(len(rows)))


def misfit_texts(survey: Survey, answer: Search, checked: float, heard: float) -> list[str]:
    """Return what the misfit says for and against the result, one line each."""
    texts = []
    misfit = float(np.sqrt(answer.phi))
    if np.isfinite(misfit):
        texts.append(f"the data are met to {misfit:.2f} times the noise")
    alone = len(survey.order) == 1
    remedy = "declare lower frequencies beside this one" if alone else "declare lower frequencies, or a better start"
    if misfit > EXPLAINED:
        texts.append(
            f"WARNING: that is more than noise: the search may sit in a wrong minimum because the frequency is too high for the start (cycle "
            f"skipping), the noise may be larger than declared, or the data may belong to another geometry. {remedy[0].upper()}{remedy[1:]}"
        )
    elif np.isfinite(checked) and np.sqrt(checked) > UNPREDICTED:
        texts.append(
            f"WARNING: traces held back are missed by {np.sqrt(checked):.1f} times the noise: the medium fits the traces it was shown and not those "
            f"between them, as with too few receivers or cycles skipped. {remedy[0].upper()}{remedy[1:]}"
        )
    if heard <= FAINT:
        texts.append(f"the declared start misses the data by {heard:.2g} times the noise, so that they say nothing about the medium")
    elif heard <= AUDIBLE:
        texts.append(f"the declared start misses the data by {heard:.2g} times the noise only: the change from the start counts as error too")
    return texts


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
